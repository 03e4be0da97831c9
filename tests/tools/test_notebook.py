"""A network in a notebook: the magic of a cell, and what shows itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rollc
from tests.helpers.paths import ROOT

TEXT = "net small\ndim H = 2\ninput x: [H]\nh = 0.5 * h[t-1] + x\noutput h\n"
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


class Shell:
    """As much of IPython's shell as an extension meets."""

    def __init__(self) -> None:
        self.magics: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        assert kind == "cell"
        self.magics[name] = function

    def push(self, variables: dict[str, Any]) -> None:
        self.variables |= variables


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("ROLLC_BACKEND", "reference")
    made = Shell()
    rollc.load_ipython_extension(made)
    return made


def test_a_cell_is_a_network(shell: Shell) -> None:
    found = shell.magics["roll"]("net --set H=3 --dtype float64", TEXT)
    assert shell.variables == {"net": found}
    assert found.inputs["x"].shape == (3,) and found.dtype == "float64"
    shell.magics["roll"]("", TEXT)
    assert set(shell.variables) == {"net", "small"}
    text = "net turn\ninput z: complex\nh = 0.5 * h[t-1] + z\noutput h\n"
    assert [*shell.magics["roll"]("", text).inputs] == ["z"]  # as for every user


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        ("", TEXT.replace("h[t-1]", "h"), "R301"),
        ("--set H=x", TEXT, "H=x"),
        ("--sets H=3", TEXT, "--sets"),
        ("--set Q=3", TEXT, "no size is called `Q`"),
    ],
)
def test_what_is_wrong_is_said(
    shell: Shell, capsys: pytest.CaptureFixture[str], line: str, text: str, message: str
) -> None:
    assert shell.magics["roll"](line, text) is None
    assert message in capsys.readouterr().err and shell.variables == {}


def test_a_text_is_a_network() -> None:
    net = rollc.build_text(TEXT, sets={"H": 3}, backend="reference")
    assert isinstance(net, rollc.Network) and net.inputs["x"].shape == (3,)


def test_a_network_shows_itself(shell: Shell) -> None:
    net = shell.magics["roll"]("net", TEXT)
    html = net._repr_html_()
    assert "<svg" in html and "<td>x</td><td>float [T, B, 2]</td>" in html
    assert repr(net.ir()) == net.ir() and "h[t-1]" in net.ir()
    assert "<pre>" in net.ir("dag", steps=2)._repr_html_() and "h.1" in net.ir("dag", steps=2)
    assert "nest" in net.ir("program") and "small" in net.ir("kernel")
    assert "through h[t-1]" in net.explain("h")


def test_wrong_stages_are_refused(shell: Shell) -> None:
    net = shell.magics["roll"]("net", TEXT)
    for call, message in (
        (lambda: net.ir("schedul"), "schedul"),
        (lambda: net.ir("dag"), "give `steps`"),
        (lambda: net.ir("schedule", kernel="gradient"), "no `gradient` kernel"),
        (lambda: net.explain("hh"), "no value of the kernel has the name `hh`"),
    ):
        with pytest.raises(rollc.InputError, match=message):
            call()


@pytest.mark.long
def test_the_notebook_of_the_documents_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLC_BACKEND", "reference")
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=where).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("<svg" in str(output.get("data", {})) for output in shown)
