"""What an editor asks of texts that are not finished: all is answered, and nothing is a fault."""

from __future__ import annotations

import random

import pytest

from rollc.lang.diagnostics.source import Source
from rollc.support import resources
from rollc.tools.language_server.completion import proposals
from rollc.tools.language_server.document import read_document
from rollc.tools.language_server.hover import hover
from rollc.tools.language_server.outline import Entry, outline
from rollc.tools.language_server.rename import place_of, renamed, written
from rollc.tools.language_server.signature import signature

SPECS = ("sequences/stacked", "sequences/translate", "spiking/spikes", "state_space/kalman")


def begun(text: str, count: int) -> list[str]:
    """Texts as they are while one types: an end that is missing, a word too few, a line twice."""
    draw = random.Random(text)
    found = [text]
    for _ in range(count):
        place = draw.randrange(len(text))
        found.append(text[:place])
        found.append(text[:place] + text[place + draw.randrange(1, 9) :])
        lines = text.splitlines(keepends=True)
        lines.insert(draw.randrange(len(lines)), draw.choice(lines))
        found.append("".join(lines))
    return found


@pytest.mark.parametrize("name", SPECS)
def test_a_text_that_is_begun_has_answers(name: str) -> None:
    path = resources.specs()[name]
    draw = random.Random(name)
    for text in begun(path.read_text(encoding="utf-8"), count=3):
        document = read_document(Source(str(path), text))
        for each in document.names.all:
            assert each.span.end - each.span.start == len(each.symbol.name)
        for offset in [0, len(text), *draw.choices(range(len(text) + 1), k=30)]:
            hover(document, offset)
            proposals(document, offset)
            signature(document, offset)
        pending = outline(document)
        while pending:
            entry: Entry = pending.pop()
            pending.extend(entry.entries)
            assert entry.span.start <= entry.symbol.at.start
            assert entry.symbol.at.end <= entry.span.end


@pytest.mark.parametrize("name", SPECS)
def test_every_name_of_a_spec_is_known(name: str) -> None:
    """Each has a definition, a type or a number, and something that is said of it."""
    path = resources.specs()[name]
    document = read_document(Source(str(path), path.read_text(encoding="utf-8")))
    for each in document.names.all:
        symbol = each.symbol
        if not document.owns(each.span):
            continue
        found = hover(document, each.span.start)
        assert found is not None and found[0] == each.span
        text = document.source.text[each.span.start : each.span.end]
        assert text == symbol.name
        if symbol.kind not in ("net", "axis", "cell", "function") and document.owns(symbol.at):
            (known,) = document.known[symbol.at]
            assert known.type is not None or known.number is not None


def lines_of(text: str, of: str) -> list[int]:
    """The lines that have the name whose first occurrence begins as given."""
    document = read_document(Source("a.roll", text))
    assert [each for each in document.diagnostics if each.severity == "error"] == []
    found = document.names.at(text.index(of))
    assert found is not None
    spans = written(document, place_of(document, found.symbol))
    return [text[: span.start].count("\n") + 1 for span in spans]


def test_names_of_a_cell_are_not_those_of_the_spec() -> None:
    text = """\
net a
dim H = 2, K = 3
input x: [H]
cell f(x; H=2, back=K) -> y {
    y = x + y[t-back] + H
}
fn g(x) = x * K
    grad x * K
y = f(g(x); H=H, back=1)
output y
"""
    assert lines_of(text, "x: [H]") == [3, 9]
    assert lines_of(text, "H = 2") == [2, 3, 9]
    assert lines_of(text, "x; H") == [4, 5]
    assert lines_of(text, "H=2") == [4, 5, 9]
    assert lines_of(text, "back=K") == [4, 5, 9]
    assert lines_of(text, "K = 3") == [2, 4, 7, 8]
    assert lines_of(text, "x) = ") == [7, 7, 8]
    assert lines_of(text, "y = f") == [9, 10]
    assert lines_of(text, "y {") == [4, 5, 5]
    assert lines_of(text, "g(x)") == [7, 9]


def test_a_function_reads_names_of_the_spec() -> None:
    text = """\
net a
param w, b
input x
fn f(b) = w * b + x
y = f(b)
output y
"""
    assert lines_of(text, "w, b") == [2, 4]
    assert lines_of(text, "b\ninput") == [2, 5]
    assert lines_of(text, "x\nfn") == [3, 4]


def test_every_statement_reads_its_names() -> None:
    text = """\
net a
time s, t
const k = 0.5
input x[s], y[t]
param start, W: [2, 2]
h = k * h[s-1] + x
init h = start
reset h when x > 1
a, b = split(W @ [last(h), y], 2)
c: [1] = tanh(a + c[t-1])
output c, b
loss mean(sum(c), over t)
"""
    assert lines_of(text, "s, t") == [2, 4, 6]
    assert lines_of(text, "t\nconst") == [2, 4, 10, 12]
    assert lines_of(text, "h = k") == [6, 6, 7, 8, 9]
    assert lines_of(text, "start, W") == [5, 7]
    assert lines_of(text, "x[s]") == [4, 6, 8]
    assert lines_of(text, "k = 0.5") == [3, 6]
    assert lines_of(text, "b = split") == [9, 11]
    assert lines_of(text, "c: [1]") == [10, 10, 11, 12]


def test_names_of_repetitions_and_elements() -> None:
    text = """\
net a
dim K = 3
input x: [K]
v = v[t-1]
repeat K {
    f = tanh(v + x)
    v = v + f / K
}
total = sum(v)
h[k] = k * x[k] * total for k in range(K)
h[k] = h[k-1] for k in range(K, K + 1)
o = h[2] + total
output o
"""
    assert lines_of(text, "v = v[t") == [4, 4, 6, 7, 7, 9]
    assert lines_of(text, "f = tanh") == [6, 7]
    assert lines_of(text, "total = sum") == [9, 10, 12]
    assert lines_of(text, "k in range") == [10, 10, 10, 10]
    assert lines_of(text, "K = 3") == [2, 3, 5, 7, 10, 11, 11]
    assert lines_of(text, "h[k] = k") == [10, 11, 11, 12]
    document = read_document(Source("a.roll", text))
    assert "f" in document.names.seen_from(text.index("tanh"))
    assert "f" not in document.names.seen_from(text.index("output"))


def test_names_of_repetitions_in_others_and_of_initial_values_of_elements() -> None:
    text = """\
net a
dim K = 3
static input x: [K]
v = v[t-1]
repeat K {
    w = 0.5 * v
    repeat 2 {
        g = sin(w)
        w = w + g
    }
    v = v + w
}
h[k] = h[k][t-1] + v for k in range(K)
init h[k] = k * x[k] for k in range(1, K)
reset h[k] when x[k] > 0 for k in range(K)
output v, h
"""
    assert lines_of(text, "w = 0.5") == [6, 8, 9, 9, 11]
    assert lines_of(text, "g = sin") == [8, 9]
    assert lines_of(text, "v = v[t") == [4, 4, 6, 11, 11, 13, 16]
    assert lines_of(text, "h[k] = h") == [13, 13, 14, 15, 16]
    assert lines_of(text, "k in range(1") == [14, 14, 14, 14]
    assert lines_of(text, "k in range(K)\noutput") == [15, 15, 15]
    assert lines_of(text, "K = 3") == [2, 3, 5, 13, 14, 15]


def test_the_axis_of_along_is_known() -> None:
    """It is completed, and renamed with its declaration."""
    text = "net m\ntime s, t\ninput x[t]\nk = along(x, s)\noutput k\n"
    document = read_document(Source("m.roll", text))
    begin = text.index(", s)") + 2
    assert {each.text for each in proposals(document, begin)} == {"s", "t"}
    place = place_of(document, renamed(document, begin).symbol)
    found = [text[at.start - 2 : at.end] for at in written(document, place)]
    assert found == ["e s", ", s"]


def test_a_parameter_tells_what_it_starts_as() -> None:
    """Where the text does not, and where a name has one shape."""
    text = "net n\ninput x: [3]\nparam b: [2, 3], c: [3], W: [3, 3] = orthogonal, k\n"
    document = read_document(Source("n.roll", f"{text}y = W @ (x + c) + sum(b) * k\noutput y\n"))
    said = {
        each.symbol.name: (hover(document, each.span.start) or (each.span, ""))[1]
        for each in document.names.all
    }
    assert "[2, 3], the same at every step; it starts as `glorot`" in said["b"]
    assert "[3], the same at every step; it starts as `zeros`" in said["c"]
    assert "it starts as `zeros`" in said["k"]
    assert "starts" not in said["W"]
