"""The renderer, and diagnostics as data."""

from __future__ import annotations

import json
import re

import pytest

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label, as_data, render
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.inference.cycle_errors import MOST_SHOWN
from rollc.lang.load import load_graph

TEXT = "net a\ninput x: [3]\nparam b: [4]\nh = x + b\noutput h\n"


def one(text: str, *spans: tuple[int, int, str]) -> str:
    at, *also = [Label(Span(start, end), said) for start, end, said in spans]
    return render([Diagnostic("R999", "wrong", at, tuple(also))], Source("a.roll", text))


def test_colour_adds_nothing_but_colour() -> None:
    source = Source("a.roll", TEXT)
    found = load_graph(source).diagnostics
    plain, colour = render(found, source), render(found, source, colour=True)
    assert "\x1b[" not in plain
    assert "\x1b[1;31merror[R206]" in colour
    assert re.sub(r"\x1b\[[\d;]*m", "", colour) == plain


def test_as_data_is_plain() -> None:
    source = Source("a.roll", TEXT)
    (found,) = as_data(load_graph(source).diagnostics, source)
    assert json.loads(json.dumps(found)) == found
    assert (found["severity"], found["code"], found["file"]) == ("error", "R206", "a.roll")
    labels = found["labels"]
    assert isinstance(labels, list)
    assert labels[0] == {
        "file": "a.roll",
        "line": 4,
        "column": 9,
        "end_line": 4,
        "end_column": 10,
        "text": "this is [4]",
        "primary": True,
    }
    assert [label["primary"] for label in labels] == [True, False, False, False]


def test_carets_stand_under_wide_characters_and_tabs() -> None:
    lines = one("漢字\tx + y", (3, 4, "here")).split("\n")
    assert lines[3] == "1 | 漢字    x + y"
    assert lines[4] == "  |         ^ here"


def test_nothing_reaches_the_terminal_as_it_is() -> None:
    shown = one("a\x1b[31m\x00\u202eb", (0, 1, "\x1b]0;title\x07"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", shown)


def test_what_only_a_function_reads_is_read() -> None:
    text = "net a\ninput x\nconst c = 2.0\nfn f(v) = c * v\n    grad c\no = f(x)\noutput o\n"
    assert load_graph(Source("a.roll", text)).diagnostics == ()


def test_each_operand_that_is_wrong_is_said() -> None:
    text = TEXT.replace("x + b", "where(x[2:1] > 0, x[3:3], x[0:0])")
    found = load_graph(Source("a.roll", text)).diagnostics
    assert [item.code for item in found] == ["R221"] * 3


@pytest.mark.parametrize("more", [0, 2])
def test_a_long_cycle_is_cut_and_says_how_much_is_left(more: int) -> None:
    count = MOST_SHOWN + more
    lines = [f"a{place} = x + a{(place + 1) % count}" for place in range(count)]
    text = "\n".join(["net a", "input x", *lines, "output a0"])
    ((note,),) = (item.notes for item in load_graph(Source("a.roll", text)).diagnostics)
    assert ("more" in note) == (f"… {more} more, of which the last reads" in note) == bool(more)
    assert note.count(" reads ") == MOST_SHOWN + bool(more)


@pytest.mark.parametrize(
    ("letter", "said"),
    [("§", "`§`"), ("漢", "`漢`"), ("\u202e", "U+202E"), ("\0", "U+0000")],
)
def test_an_unknown_character_is_shown_or_numbered(letter: str, said: str) -> None:
    found = load_graph(Source("a.roll", TEXT.replace("x + b", f"x {letter} b"))).diagnostics
    assert [item.message for item in found] == [f"unknown character {said}"]


def test_long_lines_are_cut_around_the_label() -> None:
    shown = one("x" * 5000 + "HERE" + "y" * 5000, (5000, 5004, "here"))
    assert max(map(len, shown.split("\n"))) < 120
    source_line, under = shown.split("\n")[3:5]
    assert source_line.index("HERE") == under.index("^^^^")


def test_labels_share_a_line() -> None:
    shown = one("a = b + c", (8, 9, "third"), (0, 1, "first"), (4, 5, ""))
    assert shown == (
        "error[R999]: wrong\n"
        " --> a.roll:1:9\n"
        "  |\n"
        "1 | a = b + c\n"
        "  | -   -   ^ third\n"
        "  | |\n"
        "  | first\n"
        "\n"
    )


@pytest.mark.parametrize("spans", [[(0, 0, "")], [(3, 9, "over the end")], [(2, 5, "two lines")]])
def test_spans_at_the_edges(spans: list[tuple[int, int, str]]) -> None:
    assert "^" in one("ab\ncd", *spans)


def test_a_message_without_a_place() -> None:
    shown = render([Diagnostic("R209", "nowhere", notes=("why",))], Source("a.roll", ""))
    assert shown == "error[R209]: nowhere\n  = note: why\n\n"


def test_no_more_messages_than_a_person_reads() -> None:
    text = "net a\n" + "\n".join(f"a{number} = $" for number in range(500))
    found = load_graph(Source("a.roll", text)).diagnostics
    assert len(found) == 100
    assert found[-1].notes == ("these are 100 of 500 messages",)
