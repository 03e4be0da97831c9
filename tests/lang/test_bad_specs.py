"""Every bad spec gets the message that stands beside it.

A first line ``# --set H=0`` overrides sizes.  ``pytest --renew`` writes the messages anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rollc.lang.diagnostics.diagnostic import has_errors, render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from tests.helpers.paths import BAD_SPECS

BAD = sorted(BAD_SPECS.glob("*.roll"))


def sets_of(text: str) -> dict[str, int]:
    first = text.split("\n", 1)[0]
    if not first.startswith("# --set"):
        return {}
    return {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", first)}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_message_is_the_expected_one(
    path: Path, expect: Callable[[str, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As bytes: the ends of lines are part of what is tested.
    monkeypatch.chdir(path.parent)  # a spec uses files beside it
    source = Source(path.name, path.read_bytes().decode())
    checked = load_graph(source, sets_of(source.text))
    assert checked.diagnostics
    assert (checked.graph is None) == has_errors(checked.diagnostics)
    expect(render(checked.diagnostics, checked.source), path.with_suffix(".expected"))
