"""Options and files of the command: what has no effect or cannot be written is said before the
work, and what goes wrong with a file is one line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rollc
from rollc.backends.numba.jit import object_code
from rollc.driver import artefact_store
from rollc.errors import InputError
from rollc.runtime.kernel import Kernel
from rollc.support.cache_folder import CACHE_VARIABLE, cache_folder
from tests.commands import fuzz_files
from tests.helpers.paths import ROOT
from tests.helpers.processes import plain_python
from tests.tools.cli.conftest import interpreted  # noqa: F401  (a fixture)
from tests.tools.cli.test_commands import Run, cache, run  # noqa: F401  (fixtures)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled or run: what is wrong is found before."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("this is work")

    for name in ("compile", "run"):
        monkeypatch.setattr(Kernel, name, work)


def environment(**more: str) -> dict[str, str]:
    """That of a process that runs the command of this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


# Options without effect


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run tiny.roll --inputs data.npz --memory 1MB", "`--memory` has no effect without"),
        ("run tiny.roll --inputs data.npz --checkpoint 2", "`--checkpoint` has no effect"),
        ("run tiny.roll --grad --memory 1MB --checkpoint 2", "and so does `--checkpoint`"),
        ("run tiny.roll --grad forward --checkpoint 2", "take neither `--checkpoint` nor a state"),
        ("run tiny.roll --grad forward --save-state s.npz", "nor a state"),
        ("run tiny.roll --grad --checkpoint 2 --save-state s.npz", "take no state"),
        ("train tiny.roll --data data.npz --momentum 0", "--momentum is for sgd and rmsprop"),
        ("ir tiny.roll --stage syntax --set H=3", "`--set` has no effect on `syntax`"),
        ("ir tiny.roll --stage checked --kernel forward", "`--kernel` has no effect"),
        ("ir tiny.roll --stage graph --steps 3", "`--steps` has no effect on `graph`"),
        ("ir tiny.roll --stage program --dtype float64", "`--dtype` has no effect"),
        ("draw tiny.roll --kernel forward", "`--kernel` has no effect on `checked`"),
        ("draw tiny.roll --stage simplified --kernel vjp", "`--kernel` has no effect"),
        ("explain R301 --steps 3", "`--steps` has no effect without a spec"),
        ("explain R301 h", "has no effect without a spec"),
        ("bench --list --quick", "`--quick` has no effect with `--list`"),
        ("bench build --size 1x1x1", "`--size` has no effect on build"),
        ("check tiny.roll --set H=2 --set H=3", "a size has one value"),
        ("run tiny.roll --steps t=2 --steps t=3", "are given twice"),
    ],
)
def test_an_option_without_effect_is_refused(run: Run, arguments: str, message: str) -> None:  # noqa: F811
    result = run(*arguments.split())
    assert result.status == 2
    assert message in result.err


def test_the_text_of_a_graph_has_its_sizes(run: Run, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "g.txt").write_text(run("ir", "tiny.roll", "--stage", "graph").out)
    for options in (("--set", "H=3"), ("--feed", "free")):
        for command in (("check",), ("build",), ("ir", "--stage", "checked"), ("draw",)):
            result = run(*command, "g.txt", *options)
            assert result.status == 2
            assert "the text of a graph has its own" in result.err


def test_what_the_data_make_of_options_is_said(run: Run, tmp_path: Path) -> None:  # noqa: F811
    np.savez(tmp_path / "one.npz", x=np.ones(4), y=np.ones(4))
    fit = ("train", "tiny.roll", "--data", "one.npz", "--epochs", "1")
    result = run(*fit, "--batch", "2", "--window", "4", "--stateful")
    assert result.status == 0, result.err
    assert "`--batch` has no effect here: the data are 1 sequence" in result.err
    assert "`--window` has no effect here: the sequences have no more steps" in result.err
    assert "the fitted network is not kept: give `-o RUN`" in result.err
    assert "drawn at random, from seed 0" in result.err
    result = run(*fit, "-o", "p.npz")
    assert "not kept" not in result.err
    result = run("run", "tiny.roll", "--inputs", "one.npz", "--params", "p.npz", "--seed", "3")
    assert "`--seed` has no effect here: nothing is drawn at random" in result.err
    assert "drawn at random, from" not in result.err
    assert "`--feed` has no effect" in run("check", "tiny.roll", "--feed", "taught").err


def test_a_built_network_is_what_it_is(run: Run) -> None:  # noqa: F811
    run("build", "tiny.roll", "-o", "made")
    for command in (("run", "made", "--inputs", "data.npz"), ("ir", "made", "--stage", "kernel")):
        result = run(*command, "--dtype", "float64")
        assert result.status == 2
        assert "`made` is built, and float32; give its spec to have it float64" in result.err
        assert run(*command, "--dtype", "float32").status == 0


@pytest.mark.parametrize(
    "command",
    [
        "run made --inputs data.npz",
        "train made --data data.npz --epochs 1 -o p.npz",
        "ir made --stage kernel",
    ],
)
def test_a_command_reads_an_artefact_once(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
) -> None:
    """What is read twice could be of two versions."""
    run("build", "tiny.roll", "-o", "made")
    read, count = artefact_store.read, 0

    def once(folder: Path) -> artefact_store.Manifest:
        nonlocal count
        count += 1
        found = read(folder)
        for name in found.files:
            (folder / name).unlink()
        return found

    monkeypatch.setattr(artefact_store, "read", once)
    assert run(*command.split()).status == 0
    assert count == 1


# Files that cannot be read or written


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run tiny.roll --inputs data.npz --outputs X.txt", "is to be written as .npz"),
        ("run tiny.roll --inputs data.npz --save-state X", "is to be written as .npz"),
        ("run tiny.roll --inputs data.npz --outputs absent/o.npz", "there is no folder `absent`"),
        ("run tiny.roll --inputs data.npz --outputs data.npz", "would be lost"),
        ("run tiny.roll --inputs data.npz --outputs ./data.npz", "would be lost"),
        ("run tiny.roll --inputs data.npz --outputs o.npz --save-state o.npz", "written twice"),
        ("run tiny.roll --inputs data.npz --outputs - --save-state -", "written twice"),
        ("run tiny.roll --inputs absent.npz", "cannot read `absent.npz`: No such file"),
        ("run tiny.roll --inputs data.npz --params .", "cannot read `.`: Is a directory"),
        ("run tiny.roll --inputs data.npz --state absent", "cannot read `absent`"),
        ("run - --inputs -", "standard input can be read once"),
        ("check .", "`.` is a folder, and a spec is a file"),
        ("train tiny.roll --data absent.npz", "cannot read `absent.npz`: No such file"),
        ("train tiny.roll --data data.npz -o p.csv", "is to be a folder for the run"),
        ("train tiny.roll --data data.npz -o data.npz", "would be lost"),
        ("train tiny.roll --data data.npz -o absent/p.npz", "there is no folder"),
        ("ir tiny.roll --stage graph -o tiny.roll", "would be lost"),
        ("ir tiny.roll --stage graph -o absent/g", "there is no folder"),
        ("draw tiny.roll -o absent/g.dot", "there is no folder"),
        ("bench lstm --markdown absent/m.md", "there is no folder"),
        ("bench lstm --json .", "Is a directory"),
        ("demo --quick --save tiny.roll", "cannot make the folder"),
        ("build tiny.roll -o tiny.roll/below", "cannot write"),
        ("build tiny.roll -o /", "is the folder that you are in, or holds it"),
        ("build tiny.roll -o .", "is the folder that you are in"),
        ("build tiny.roll -o /dev", "holds files that rollc did not write"),
        ("build tiny.roll -o /proc/self/x", "cannot write `/proc/self/x`"),
        ("build tiny.roll -o tiny.roll", "is no folder"),
        ("build tiny.roll -o " + "x" * 300, "File name too long"),
    ],
)
def test_files_that_are_not_there_are_found_before_the_work(
    run: Run,  # noqa: F811
    tmp_path: Path,
    arguments: str,
    message: str,
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = run(*arguments.split())
    assert result.status == 2, result.err
    assert message in result.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_name_may_be_empty(run: Run) -> None:  # noqa: F811
    result = run("run", "tiny.roll", "--inputs", "data.npz", "--outputs", "")
    assert result.status == 2
    assert "an empty one" in result.err
    assert run("build", "tiny.roll", "-o", "").status == 2


def test_a_link_to_a_folder_is_written_through(run: Run, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        assert run("build", "tiny.roll", "-o", "link").status == 0
        assert (tmp_path / "link").is_symlink()
        assert artefact_store.read(tmp_path / "real").entries["name"] == "tiny"


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_full_disk_is_one_line(run: Run, tmp_path: Path) -> None:  # noqa: F811
    """Files may not be longer than some bytes: what is written then is as on a full disk."""
    run("build", "tiny.roll", "-o", "made")
    np.savez(tmp_path / "long.npz", x=np.ones(2000), y=np.ones(2000))
    for arguments in (
        ("run", "made", "--inputs", "long.npz", "--outputs", "o.npz"),
        ("ir", "made", "--stage", "kernel", "-o", "k.py"),
        ("build", "tiny.roll", "-o", "again"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rollc", *arguments],
            env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},  # those would be cut short
            preexec_fn=limited,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: cannot write `")
        assert "File too large" in done.stderr
        assert "internal" not in done.stderr
    assert {*os.listdir(tmp_path)} == {"made", "tiny.roll", "wrong.roll", "data.npz", "long.npz"}


# Standard output and error

COMMANDS = (
    "--help",
    "--version",
    "check wrong.roll",
    "explain",
    "explain R301",
    "ir tiny.roll --stage graph",
    "draw tiny.roll",
    "bench --list",
    "train --help",
)


def shell(command: str, folder: Path, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    own = environment(PYTHONUNBUFFERED="1" if unbuffered else "")
    line = f'"{sys.executable}" -m rollc {command}'
    return subprocess.run(["bash", "-c", line], cwd=folder, env=own, capture_output=True, text=True)


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, command: str) -> None:
    done = shell(f"{command} >/dev/full", tmp_path, unbuffered="ir" in command)
    message = "error: cannot write to standard output: No space left on device"
    *talk, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout, last) == (2, "", message)
    assert "error" not in "".join(talk)


@pytest.mark.usefixtures("run")
def test_closed_streams(tmp_path: Path) -> None:
    closed = "error: cannot write to standard output: it is closed\n"
    for command in ("--help", "ir tiny.roll --stage graph"):
        done = shell(f"{command} >&-", tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", closed)
    done = shell("check - <&-", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "error: cannot read standard input: it is closed\n",
    )
    for stream in ("2>&-", "2>/dev/full"):
        done = shell(f"check tiny.roll --format json {stream}", tmp_path)
        assert (done.returncode, done.stdout) == (0, "[]\n")


@pytest.mark.usefixtures("run")
def test_a_folder_that_was_removed(tmp_path: Path) -> None:
    done = shell("check lstm", tmp_path)
    assert done.returncode == 0
    line = f'mkdir gone; cd gone; rmdir ../gone; "{sys.executable}" -m rollc check lstm'
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "cannot use the folder that you are in" in done.stderr


# Data and settings


def test_data_without_end_are_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("rollc.tools.files._LONGEST_STREAM", 1000)
    for command in (("run", "tiny.roll", "--inputs"), ("train", "tiny.roll", "--data")):
        result = run(*command, "/dev/zero")
        assert result.status == 2
        assert "`/dev/zero` is longer than" in result.err


def test_a_spec_without_end_is_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("rollc.support.resources.LONGEST_TEXT", 1000)
    result = run("check", "/dev/zero")
    assert result.status == 2
    assert "`/dev/zero` is longer than" in result.err
    with pytest.raises(InputError, match="`/dev/zero` is longer than"):
        rollc.build("/dev/zero")


@pytest.mark.parametrize("name", ["~no such user/x", "tiny.roll", "/dev/null/x"])
def test_a_cache_that_is_none(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    no_work: None,
    name: str,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, name)
    result = run("build", "tiny.roll")
    assert result.status == 2
    assert "give -o DIR" in result.err
    assert "Traceback" not in result.err


def test_a_cache_that_can_only_be_read(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    no_work: None,
    tmp_path: Path,
) -> None:
    def closed(path: Path, mode: int = 0) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "cache").mkdir()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr("rollc.support.atomic_files._made_folder", closed)
    monkeypatch.setattr("rollc.driver.build.write_artefact", closed)  # the work
    result = run("build", "tiny.roll")
    assert (result.status, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert "cannot write" in line and "give -o DIR" in line


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: Path("~/.cache/rollc"))
    with pytest.raises(artefact_store.StoreError, match="no user has a home here"):
        cache_folder()
    assert len(object_code.code_paths(Path("x"), "name")) == 1


@pytest.mark.parametrize("command", ["run", "build", "explain"])
def test_no_name_is_no_artefact(run: Run, no_work: None, command: str) -> None:  # noqa: F811
    result = run(command, "")
    assert result.status == 2
    assert "expected the name of a spec, found an empty one" in result.err


def test_what_may_not_be_looked_at(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    no_work: None,
) -> None:
    """A folder that is closed to the user, or a name that no file can have."""
    stat = os.stat

    def closed(path: object, *given: object, **more: object) -> os.stat_result:
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied")
        return stat(path, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setenv(CACHE_VARIABLE, "closed/cache")
    for name in ("closed/x", "x" * 300):
        for command in (
            ("check", name),
            ("build", name),
            ("build", "tiny.roll", "-o", name),
            ("build", "tiny.roll"),
            ("ir", name, "--stage", "graph"),
            ("ir", "tiny.roll", "--stage", "graph", "-o", name),
            ("run", name),
            ("run", "tiny.roll", "--inputs", name),
            ("run", "tiny.roll", "--inputs", "data.npz", "--outputs", f"{name}.npz"),
            ("train", "tiny.roll", "--data", name),
            ("explain", name),
            ("demo", "--quick", "--save", name),
        ):
            result = run(*command)
            assert result.status == 2, (command, result.err)
            assert "internal" not in result.err


@pytest.mark.parametrize(("value", "plain"), [("x", False), ("", False), ("0", False), ("2", True)])
def test_numbas_setting_is_read_as_numba_does(
    monkeypatch: pytest.MonkeyPatch, value: str, plain: bool
) -> None:
    """Where it was read otherwise, what was compiled was called as if it was not."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    assert object_code.interpreted() == plain


def test_settings_of_the_compiler_are_refused(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", "nonsense")
    result = run("build", "tiny.roll", "--backend", "numba", "--no-cache", "-o", "made")
    assert result.status == 2
    assert "$NUMBA_CPU_NAME is set" in result.err
    assert not (tmp_path / "made").exists()


def test_a_file_of_settings_does_not_switch_compiling_off(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    result = run("build", "tiny.roll", "--backend", "numba", "--no-cache", "-o", "made")
    assert result.status == 2
    assert "set $NUMBA_DISABLE_JIT in its place" in result.err


# Mutations and kills, a few of them


@pytest.mark.long
@pytest.mark.parametrize("kind", fuzz_files.KINDS)
def test_mutated_files(kind: str) -> None:
    failed: list[int] = []
    fuzz_files.fuzz(kind, 60, 1, lambda _, number: failed.append(number))
    assert not failed


@pytest.mark.long
def test_killed_commands(tmp_path: Path) -> None:
    options = ("--count", "10", "--every", "10")
    done = plain_python("tests.commands.kill_processes", *options, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
