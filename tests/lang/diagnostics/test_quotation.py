"""Helps that have parts of the text."""

from __future__ import annotations

from pathlib import Path

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.quotation import LONGEST, quoted
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.load import load_graph


def helps(text: str, *parts: str) -> tuple[str, ...]:
    labels = tuple(
        Label(Span(text.index(part), text.index(part) + len(part)), "v") for part in parts
    )
    form = "`{0:tight} * f({0})`, `{0:name}`"
    diagnostic = Diagnostic("R206", "", helps=(form,), parts=labels)
    found = quoted(diagnostic, Source("n.roll", text))
    assert found.parts == ()
    return found.helps


def test_an_operand_next_to_an_operator_has_brackets_where_it_needs_them() -> None:
    assert helps("y = h", "h") == ("`h * f(h)`, `h`",)
    assert helps("y = a  +\n  b", "a  +\n  b") == ("`(a + b) * f(a + b)`, `…`",)
    for one in ("h[t-1]", "f(a, b)", "[a, b]", "m[1][t-2]", "0.5", "f(x)[2]"):
        assert helps(f"y = {one}", one) == (f"`{one} * f({one})`, `…`",)
    for several in ("-a", "f(a) + f(b)", "a[1] * b[2]", "a @ b"):
        assert helps(f"y = {several}", several) == (f"`({several}) * f({several})`, `…`",)


def test_what_is_long_or_has_a_comment_has_a_name() -> None:
    long = "x" * (LONGEST + 1)
    assert helps(f"y = {long}", long) == ("`v * f(v)`, `v`",)
    assert helps("y = (a + # b\n c)", "a + # b\n c") == ("`v * f(v)`, `v`",)


def test_edits_have_the_whole_text_and_no_comment() -> None:
    long = " + ".join(["x"] * LONGEST)
    for part, wanted in ((long, [f"f({long})"]), ("a + # b\n c", [])):
        text = f"y = {part}"
        span = Span(4, len(text))
        diagnostic = Diagnostic("R206", "", edits=(Edit(span, "f({0})"),), parts=(Label(span),))
        found = quoted(diagnostic, Source("n.roll", text))
        assert [edit.text for edit in found.edits] == wanted


def test_a_part_in_another_file(tmp_path: Path) -> None:
    cell = "cell c(left, right) -> y {\n    y = left @ right\n}\n"
    (tmp_path / "c.roll").write_text(cell, encoding="utf-8")
    text = 'net n\nuse "c.roll"\ninput x: [3]\nparam W: [4, 3]\ny = c(x, W)\noutput y\n'
    (found,) = load_graph(Source(str(tmp_path / "n.roll"), text)).diagnostics
    assert found.helps == ("a vector is multiplied from the left: `right @ left`",)
