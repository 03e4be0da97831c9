"""Completion, the manual, lists, and new specs: as a person at a shell meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rollc.support import resources
from rollc.tools import cli
from rollc.tools.cli.commands import rollc
from rollc.tools.cli.text_commands.completion import SHELLS, VARIABLE
from rollc.tools.cli.text_commands.listing import items
from rollc.tools.cli.text_commands.manual import page
from tests.helpers.paths import ROOT

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)
    return tmp_path


# Completion


def completed(line: str, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> list[str]:
    """What bash is told where the last word of a line is begun."""
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert cli.main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rollc che", ["plain,check"]),
        ("rollc ir lstm --stage ke", ["plain,kernel"]),
        ("rollc check delays/hi", ["plain,delays/higher_order"]),
        ("rollc check ls", ["plain,lsmine.roll", "plain,lstm"]),
        ("rollc check my", ["file,my"]),
        ("rollc check nothing_so_named", ["file,nothing_so_named"]),
        ("rollc list cells/lstm_p", ["plain,cells/lstm_peephole", "plain,cells/lstm_projected"]),
        ("rollc new a --template spik", ["plain,spiking/spikes"]),
        ("rollc explain r115", ["plain,R115"]),
        ("rollc explain sequences/stacked h.2.c", ["plain,h.2.c"]),
        ("rollc explain nothing_so_named h", []),
    ],
)
def test_a_word_is_completed(
    line: str,
    expected: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Out,
) -> None:
    (folder / "lsmine.roll").write_text("net my\n")
    assert completed(line, monkeypatch, capsys) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_one(shell: str, folder: Path, capsys: Out) -> None:
    """Where the shell is there, it reads it without an error."""
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in script
    (folder / "script").write_text(script)
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", "script"]).returncode == 0


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_with_the_script_that_it_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = folder / "rollc"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollc "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = """
        eval "$(rollc completion bash)"
        COMP_WORDS=(rollc check sequences/t) COMP_CWORD=2
        _rollc_completion rollc
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
    assert done.stdout.split() == [
        f"sequences/{name}" for name in ("tagger", "teacher", "transducer", "translate")
    ]


# The manual


def test_the_manual_has_every_command_and_option(folder: Path) -> None:
    text = page(rollc).replace("\\-", "-")
    context = click.Context(rollc)
    for name, command in rollc.commands.items():
        assert f".SS rollc {name} " in text
        for parameter in command.get_params(click.Context(command, parent=context)):
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in text
    (folder / "rollc.1").write_text(page(rollc))
    if shutil.which("groff"):
        words = ["groff", "-man", "-Tutf8", "-wmac", "-Wbreak", "rollc.1"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Fit the parameters of a network to data." in done.stdout


# What comes with rollc


def test_the_list_has_every_spec_and_cell_with_a_line(capsys: Out) -> None:
    found = [*items()]
    assert {item.name for item in found if item.kind == "spec"} == set(resources.specs())
    files = {item.file for item in found if item.kind == "cell"}
    library = (resources.folder("specs") / "cells").glob("*.roll")
    assert {Path(file).name for file in files} == {
        path.name for path in library if "\ncell " in path.read_text(encoding="utf-8")
    }
    assert all(re.match(r"[A-Z].{10,120}$", item.what) for item in found)
    assert cli.main(["list", "lif"]) == 0
    out = capsys.readouterr().out
    row = r"\blif\(x; H, decay=0.9, threshold=1.0\) -> s, v +cells/lif.roll +Leaky"
    assert re.search(row, out)
    assert cli.main(["list", "short-term", "see", "--json"]) == 0
    assert {item["name"] for item in json.loads(capsys.readouterr().out)} == {
        "gated/peephole",
        "lstm_peephole(x; H) -> h, c",
        "slstm(x; H, heads) -> h, c, n, m",
    }
    assert cli.main(["list", "no such thing"]) == 2


# New specs


@pytest.mark.parametrize("template", [None, "lstm", "delays/biquad", "spikes", "translate"])
def test_a_new_spec_checks_without_a_message(
    template: str | None, folder: Path, capsys: Out
) -> None:
    given = [] if template is None else ["--template", template]
    assert cli.main(["new", "begun", *given]) == 0
    assert capsys.readouterr().out == "begun.roll\n"
    text = (folder / "begun.roll").read_text()
    assert "\nnet begun\n" in text
    assert text.startswith("#")
    assert cli.main(["check", "begun.roll"]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["fmt", "--check", "begun.roll"]) == 0


def test_a_new_spec_replaces_nothing(folder: Path, capsys: Out) -> None:
    (folder / "mine.roll").write_text("# mine\n")
    (folder / "own.roll").write_text("net own\n")
    for arguments, said in (
        (["mine"], "`mine.roll` exists"),
        (["mine.roll"], "`mine.roll` exists"),
        (["a b"], "cannot be the name of a net"),
        (["input"], "cannot be the name of a net"),
        (["no/such/folder"], "No such file or directory"),
        (["other", "--template", "own.roll"], "no spec `own.roll` comes with rollc"),
        (["other", "--template", "lstn"], "did you mean `lstm`"),
    ):
        assert cli.main(["new", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert (folder / "mine.roll").read_text() == "# mine\n"
    assert not (folder / "other.roll").exists()
