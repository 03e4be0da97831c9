"""What people write who know another language: its message, and its help when followed.

Each text is one spec with one of its lines replaced, or a line more.  The messages stand in
``written_elsewhere.expected`` (``pytest --renew`` writes them anew).  To follow a help is to apply
its edits; where it leaves a choice, the text behind ``=>`` is what a reader makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import Checked, load_graph
from rollc.lang.symbols.builtins import NO_OPERATIONS, functions
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.symbols.other_names import FORMS, FUNCTIONS, WITHOUT
from rollc.lang.syntax.notations import NOTATIONS

LINES = {
    "net": "net base",
    "dim": "dim D = 4, H = 4",
    "input": "input x: [D], u",
    "target": "target y: [H]",
    "param": "param W: [H, D], U: [H, H], b: [H]",
    "h": "h = tanh(W @ x + U @ h[t-1] + b)",
    "output": "output h",
    "loss": "loss mean(mse(h, y), over t)",
}
TABLE = Path(__file__).with_name("written_elsewhere")
CASES = [
    case.strip("\n")
    for case in TABLE.with_suffix(".txt").read_text(encoding="utf-8").split("\n\n")
    if not case.startswith("#")
]


def spec_of(case: str) -> tuple[str, str | None]:
    """The text of a case, and that of a reader who followed its helps."""
    wrong, _, followed = case.partition("\n=>\n")
    return _spec(wrong), _spec(followed) if followed else None


def _spec(lines: str) -> str:
    """The spec with one line for one of its own: `h: …` is what stands in the place of that."""
    name, _, text = lines.partition("| ")
    if name not in LINES:
        return "\n".join([*LINES.values(), lines]) + "\n"
    return "\n".join(text if own == name else line for own, line in LINES.items()) + "\n"


@cache
def errors(text: str) -> tuple[list[Diagnostic], Checked]:
    checked = load_graph(Source("base.roll", text))
    return [item for item in checked.diagnostics if item.severity == "error"], checked


def edited(text: str, edits: Iterable[Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: edit.span, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def mended(text: str) -> str:
    """A text with the edits of its messages applied, one after the other."""
    for _ in range(12):
        found, _ = errors(text)
        edits = next((item.edits for item in found if item.edits), None)
        if edits is None:
            return text
        text = edited(text, edits)
    return text


def test_the_spec_itself_is_good() -> None:
    assert errors("\n".join(LINES.values()) + "\n")[0] == []


def test_there_are_enough() -> None:
    assert len(CASES) == len(set(CASES)) >= 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.splitlines()[0])
def test_every_help_checks_when_it_is_followed(case: str) -> None:
    text, followed = spec_of(case)
    found, _ = errors(text)
    assert found
    assert all(item.helps for item in found), "a message without a help"
    if followed is None:
        assert any(item.edits for item in found)
        followed = mended(text)
    left, checked = errors(followed)
    assert not left, followed
    assert checked.graph is not None


def test_the_messages_are_the_expected_ones(expect: Callable[[str, Path], None]) -> None:
    expect("\n".join(map(_told, CASES)), TABLE.with_suffix(".expected"))


def _told(case: str) -> str:
    text, followed = spec_of(case)
    found, checked = errors(text)
    lines = [f"> {line}" for line in case.partition("\n=>\n")[0].splitlines()]
    for item in found:
        at = item.at
        place = ""
        if at is not None:
            line, column = checked.source.line_of(at.span.start), at.span.start
            place = f" {line}:{checked.source.column_of(column)}"
        label = f" ({at.text})" if at is not None and at.text else ""
        lines.append(f"{item.code}{place} {item.message}{label}")
        lines += [f"  note: {note}" for note in item.notes]
        lines += [f"  help: {help_}" for help_ in item.helps]
    if followed is None:
        then = mended(text).splitlines()
        lines += [f"  then: {line}" for line in then if line not in LINES.values()]
    return "\n".join(lines) + "\n"


def test_one_fault_has_one_message() -> None:
    """Where a text is mended by one change, it got one message."""
    for case in CASES:
        text, followed = spec_of(case)
        found, _ = errors(text)
        if followed is None and found[0].edits and not errors(edited(text, found[0].edits))[0]:
            assert len(found) == 1, case


def test_every_notation_is_of_some_text() -> None:
    said = {item.message for case in CASES for item in errors(spec_of(case)[0])[0]}
    fixed = {item.message for item in NOTATIONS if "\\" not in item.message}
    assert fixed - said == set()


def test_names_of_other_languages_are_none_of_this_one() -> None:
    known = {*functions(), *LIBRARY, *NO_OPERATIONS}
    assert set(FUNCTIONS.values()) <= known
    assert not {*FUNCTIONS, *FORMS, *WITHOUT} & known
