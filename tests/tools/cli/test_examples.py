"""The examples at the end of each command's help: all are run, in a folder that has their files."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rollc.backends.registry import VARIABLE
from rollc.support.cache_folder import CACHE_VARIABLE
from rollc.tools import cli
from rollc.tools.cli.commands import rollc
from rollc.tools.cli.examples import EXAMPLES
from tests.helpers.paths import ROOT

MY = """\
net my
input x: [2]
target y
param a: [2], k = 0.5
h = k * h[t-1] + dot(a, x)
output h
loss mean((h - y) ** 2, over t)
"""
TEXT = """\
net text
dim V = 60
input y: index(V)
param W: [V, V] = normal(0.1)
q = feed(sample(softmax(o[t-1])), y[t-1])
o = embed(W, q)
output o
loss mean(cross_entropy(o, y), over t)
"""
# They compile, or read much: with the long tests.
LONG = ("build", "lsp", "sample", "verify")
# They take minutes: their words are read, and what they do is run by `tests/tools/`.
READ = ("rollc demo", "rollc bench lstm", "rollc verify lstm")
NEEDS = {  # what has to run before
    "evaluate": ("train", 1),
    "run": ("train", 1),
    "sample": ("text", 0),
}
TEXTS = (
    "rollc train text.roll --data words.txt --text characters --window 20 --epochs 1 -o text.run",
)
CASES = [
    pytest.param(command, place, marks=[pytest.mark.long] if command in LONG else [])
    for command, both in EXAMPLES.items()
    for place in range(len(both))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with specs and data."""
    root = tmp_path_factory.mktemp("examples")
    patch = pytest.MonkeyPatch()
    patch.setenv(CACHE_VARIABLE, str(root / "cache"))
    patch.setenv(VARIABLE, "reference")  # nothing is compiled
    patch.setattr("warnings.showwarning", lambda *_: None)
    patch.chdir(root)
    (root / "my.roll").write_text(MY)
    (root / "text.roll").write_text(TEXT)
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 2))
    np.savez(root / "data.npz", x=x, y=x.sum(axis=1))
    rows = [f"{a:.3f},{b:.3f},{a + b:.3f}" for a, b in x]
    for name in ("table.csv", "more.csv"):
        (root / name).write_text("\n".join(["a,b,y", *rows]) + "\n")
    (root / "words.txt").write_text("In the beginning was a word, and then another one. " * 8)
    (root / "messages").write_text("")
    yield root
    patch.undo()


def test_each_command_has_two_examples_at_the_end_of_its_help() -> None:
    assert EXAMPLES.keys() == rollc.commands.keys()
    for command, both in EXAMPLES.items():
        assert len(set(both)) == 2
        assert all(f"rollc {command}" in example for example in both)


@pytest.mark.parametrize("command", ["check", "train"])
def test_the_help_shows_them_as_they_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-3:]] == ["Examples:", *EXAMPLES[command]]


@pytest.mark.parametrize(("command", "place"), CASES)
def test_an_example_runs(folder: Path, command: str, place: int) -> None:
    example = EXAMPLES[command][place]
    if example.startswith(READ):
        words = shlex.split(example)[2:]
        assert rollc.commands[command].make_context(command, words).params
        return
    if command in NEEDS:
        run(folder, *NEEDS[command])
    run(folder, command, place)


@cache
def run(folder: Path, command: str, place: int) -> None:
    """Run an example, once."""
    example = {**EXAMPLES, "text": TEXTS}[command][place]
    if command == "lsp" or set("|>$") & set(example):
        run_in_a_shell(folder, example)
    else:
        assert cli.main(shlex.split(example)[1:]) == 0


def run_in_a_shell(folder: Path, example: str) -> None:
    command = folder / "bin" / "rollc"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollc "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", example],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
