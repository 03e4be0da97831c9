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
from rollc.tools.language_server.rename import place_of, written

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
    document = read_document(Source("a.roll", text))
    assert document.diagnostics == ()

    def places(of: str, count: int) -> list[int]:
        offset = -1
        for _ in range(count + 1):
            offset = text.index(of, offset + 1)
        found = document.names.at(offset)
        assert found is not None
        spans = written(document, place_of(document, found.symbol))
        return [text[: span.start].count("\n") + 1 for span in spans]

    assert places("x", 0) == [3, 9]
    assert places("H", 0) == [2, 3, 9]
    assert places("x;", 0) == [4, 5]
    assert places("H=2", 0) == [4, 5, 9]
    assert places("back", 0) == [4, 5, 9]
    assert places("K", 0) == [2, 4, 7, 8]
    assert places("x)", 0) == [7, 7, 8]
    assert places("y = f", 0) == [9, 10]
    assert places("y {", 0) == [4, 5, 5]
