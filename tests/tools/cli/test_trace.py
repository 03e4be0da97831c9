"""``rollc trace``: what it prints, and its picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rollc.tools.cli import main

TEXT = """
net far
input x
target y
param w = 0.1
h = w * h[t-1] + x
output h
loss (last(h) - last(y)) ** 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "far.roll").write_text(TEXT)
    np.savez(tmp_path / "data.npz", x=np.ones((20, 2)), y=np.zeros((20, 2)))
    return tmp_path


def test_a_gradient_that_vanishes_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trace", "far.roll", "h", "--inputs", "data.npz", "-o", "far.svg"]
    assert main(words) == 0
    printed = capsys.readouterr()
    head, row = printed.out.splitlines()
    assert head.split()[:3] == ["value", "line", "axis"] and row.split()[:3] == ["h", "6", "t"]
    assert row.endswith("▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▇▇▇██")
    assert "vanishes: at the first of 20 steps it is 1e-19 of what" in printed.err
    assert b"norm of the gradient" in (folder / "far.svg").read_bytes()


def test_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "far.roll", "--inputs", "data.npz", "--format", "json"]) == 0
    found = {flow["name"]: flow for flow in json.loads(capsys.readouterr().out)}
    assert found["h"]["value"][:2] == pytest.approx([1.0, 1.1])
    assert found["h"]["adjoint"][-1] == pytest.approx(2 / 0.9 / 2)


def test_numbers_that_are_none_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.ones((20, 2))
    x[7, 1] = np.nan
    np.savez(folder / "data.npz", x=x)
    assert main(["trace", "far.roll", "h", "--inputs", "data.npz"]) == 0
    printed = capsys.readouterr()
    assert "the value `h` is no number at step 7 of t" in printed.err
    assert "no gradients: there is no `y` among the inputs" in printed.err
    assert printed.out.splitlines()[1].endswith("!" * 13)


def test_the_first_number_that_is_none_is_named_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.ones((20, 2))
    x[7, 1] = np.nan
    np.savez(folder / "data.npz", x=x, y=np.zeros((20, 2)))
    assert main(["trace", "far.roll", "--inputs", "data.npz"]) == 0
    printed = capsys.readouterr()
    said = "the input `x` (line 3) is nan at step 7 of t, sequence 1; because of it also `h`"
    assert printed.err.splitlines()[-1] == f"note: {said}"
    assert printed.out.splitlines()[2].endswith("!" * 20)  # the slopes too


def test_steps_that_no_sequence_has_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(folder / "data.npz", x=np.ones((20, 2)), y=np.zeros((20, 2)), lengths=[3, 12])
    assert main(["trace", "far.roll", "h", "--inputs", "data.npz", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert len(found["value"]) == len(found["adjoint"]) == 12 and min(found["value"]) > 0


@pytest.mark.parametrize("columns", [60, 80, 130])
def test_rows_fit_the_terminal(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    random = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=random.normal(size=(200, 2)), y=np.zeros((200, 2)))
    assert main(["trace", "far.roll", "--inputs", "data.npz"]) == 0
    widest = max(map(len, capsys.readouterr().out.splitlines()))
    assert widest <= max(columns, 85)  # names of the columns, beside curves of eight letters


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.roll"], "there is no file `nothing.roll`"),
        (["far.roll", "k"], "no value over time has the name `k`"),
        (["far.roll"], "missing input `x`: expected float [T, B]; give `--inputs F`"),
        (["far.roll", "-o", "far.png"], "is to be written as .svg"),
    ],
)
def test_wrong_uses(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    data = ["--inputs", "data.npz"] if "k" in words else []
    assert main(["trace", *words, *data]) == 2
    assert message in capsys.readouterr().err


def test_a_complex_value_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "net n\ninput x: complex\nparam w: complex\nz = w * z[t-1] + x\noutput z\n"
    (folder / "z.roll").write_text(text)
    np.savez(folder / "z.npz", x=np.full((4, 2), 3 + 4j))
    assert main(["trace", "z.roll", "--inputs", "z.npz", "--format", "json"]) == 0
    found = {flow["name"]: flow for flow in json.loads(capsys.readouterr().out)}
    assert found["x"]["value"] == pytest.approx([5.0] * 4) and "z" in found
