"""``rollc fmt``: what is written, what is said, and the exit status."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from rollc.tools import cli

UGLY = "net a\ninput x\nh=0.5*h[t - 1]+x # slow\noutput h\n"
FAIR = "net a\ninput x\nh = 0.5 * h[t-1] + x                  # slow\noutput h\n"
WRONG = "net a\nh = (x\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)
    for name, text in {"ugly": UGLY, "fair": FAIR, "wrong": WRONG}.items():
        (tmp_path / f"{name}.roll").write_text(text)
    return tmp_path


def test_a_file_is_rewritten_and_keeps_its_mode(folder: Path) -> None:
    (folder / "ugly.roll").chmod(0o640)
    assert cli.main(["fmt", "ugly.roll", "fair.roll"]) == 0
    assert (folder / "ugly.roll").read_text() == FAIR
    assert (folder / "ugly.roll").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("option", "said"), [("--check", ""), ("--diff", "+h = 0.5 * h[t-1] + x")])
def test_nothing_is_written_where_one_only_looks(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    assert cli.main(["fmt", "fair.roll", option]) == 0
    assert cli.main(["fmt", "ugly.roll", "fair.roll", option]) == 1
    assert (folder / "ugly.roll").read_text() == UGLY
    out, err = capsys.readouterr()
    assert said in out
    assert "1 to be laid out, 1 unchanged" in err


def test_standard_input_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for options, status, out in (([], 0, FAIR), (["--check"], 1, "")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
        assert cli.main(["fmt", "-", *options]) == status
        assert capfdbinary.readouterr().out.decode() == out


def test_a_folder_and_a_wrong_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fmt", "."]) == 1
    assert (folder / "ugly.roll").read_text() == FAIR
    assert (folder / "wrong.roll").read_text() == WRONG
    err = capsys.readouterr().err
    assert "error[R103]" in err
    assert "1 laid out, 1 unchanged, 1 with errors" in err


def test_what_was_built_stays_as_it_is(folder: Path) -> None:
    """An artefact holds the hash of its spec, and hidden folders are not one's own work."""
    for name, beside in (("built", "manifest.json"), (".hidden", "a.txt")):
        (folder / name).mkdir()
        (folder / name / "spec.roll").write_text(UGLY)
        (folder / name / beside).write_text("{}")
    (folder / "wrong.roll").unlink()
    assert cli.main(["fmt", "."]) == 0
    assert (folder / "ugly.roll").read_text() == FAIR
    assert (folder / "built" / "spec.roll").read_text() == UGLY
    assert (folder / ".hidden" / "spec.roll").read_text() == UGLY


def test_what_is_no_file_of_a_spec(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "graph.txt").write_text("rollc graph 1  stage graph\nnet a\n")
    (folder / "empty").mkdir()
    for path, said in (
        ("lstm", "cannot read `lstm`"),  # a spec that comes with rollc is not to be written
        ("graph.txt", "is the text of a graph"),
        ("empty", "there is no `.roll` file in `empty`"),
    ):
        assert cli.main(["fmt", path]) == 2
        assert said in capsys.readouterr().err


def test_the_language_server_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygls", None)
    assert cli.main(["lsp"]) == 2
    assert "pip install 'rollc[lsp]'" in capsys.readouterr().err
