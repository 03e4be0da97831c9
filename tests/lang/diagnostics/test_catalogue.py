"""Every code is explained by an example that gets it, and by one that gets nothing."""

from __future__ import annotations

import re

import pytest

from rollc.lang.diagnostics.catalogue import CODES
from rollc.lang.diagnostics.explain import explain
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from tests.helpers.paths import BAD_SPECS, ROOT


@pytest.mark.parametrize("code", CODES)
def test_the_bad_example_gets_its_code_alone(code: str) -> None:
    entry = CODES[code]
    checked = load_graph(Source("bad.roll", entry.bad), entry.sets)
    assert [item.code for item in checked.diagnostics] == [code]
    assert checked.diagnostics[0].severity == entry.severity
    assert (checked.graph is None) == (entry.severity == "error")


@pytest.mark.parametrize("code", CODES)
def test_the_mended_example_gets_nothing(code: str) -> None:
    entry = CODES[code]
    checked = load_graph(Source("fix.roll", entry.fix), entry.sets)
    assert checked.diagnostics == ()
    assert checked.graph is not None


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_bad_spec_with_its_message(code: str) -> None:
    expected = BAD_SPECS.glob("*.expected")
    assert any(f"[{code}]" in path.read_text(encoding="utf-8") for path in expected)


def test_every_code_in_the_source_is_in_the_catalogue() -> None:
    used = set()
    folder = ROOT / "rollc" / "lang"
    for path in {*folder.rglob("*.py")} - {*(folder / "diagnostics" / "catalogue").glob("*.py")}:
        used.update(re.findall(r"\"(R\d{3})\"", path.read_text(encoding="utf-8")))
    assert used == set(CODES)


def test_explain() -> None:
    text = explain("r301")
    assert text is not None
    assert text.startswith("error[R301]: cycle without a delay\n")
    assert "example.roll:3:10" in text
    assert explain("R999") is None
