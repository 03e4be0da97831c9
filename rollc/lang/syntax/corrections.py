"""Error recovery by a table: where parsing failed, what people write who know another language.

A notation that stands at the place is replaced by what it is here, and the statement is parsed
anew: the message is given if that leads further.  So each fault has one message, its help parses,
and the rest of the statement is read as it was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.syntax.notations import NOTATIONS, Correction
from rollc.lang.syntax.statement_splitter import SAME, Piece, cut, span_of

LONGEST = 1000  # characters of a statement, with the lines below it, that are searched
MOST = 8  # faults of one statement

Fails = Callable[[Piece], int | None]  # where a piece cannot be parsed


@dataclass(frozen=True, slots=True)
class Mended:
    """A statement as it was meant: its pieces, and what was wrong with it.

    Spans are those of the text as it is, and the statement ends at ``end``.  There are no pieces
    where it cannot be told what was meant.  Diagnostics of one fault have one key, if not an
    empty one.
    """

    pieces: tuple[Piece, ...]
    problems: tuple[tuple[str, Diagnostic], ...]
    end: int


def mended(text: str, base: int, piece: Piece, fails: Fails) -> Mended | None:
    """The statement of a piece as it was meant; None where no notation is known.

    ``base`` is the offset of the text among all texts of a spec.
    """
    start, end = span_of(piece.tokens[0]).start - base, span_of(piece.tokens[-1]).end - base
    if end - start > LONGEST:
        return None
    window = text[start : start + LONGEST].translate(SAME)
    first = base + start
    places = range(first, first + len(window) + 1)
    draft = _Draft(window, end - start, list(places), [place + 1 for place in places])
    problems: list[tuple[str, Diagnostic]] = []
    place = draft.failure(fails)
    while place is not None and len(problems) < MOST:
        step = draft.step(place, fails)
        if step is None:
            break
        draft, place = step.draft, step.failure
        problems.append((step.correction.key, step.diagnostic))
        if step.correction.instead is None:
            return Mended((), tuple(problems), draft.end)
    if not problems:
        return None
    return Mended(tuple(draft.pieces()), tuple(problems), draft.end)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A statement in which some places are replaced, and what is below it.

    It has the first ``length`` characters of ``text``; each comes from the characters from
    ``starts`` to ``ends`` of the text of the spec.
    """

    text: str
    length: int
    starts: list[int]
    ends: list[int]

    @property
    def end(self) -> int:
        return self.starts[self.length]

    def pieces(self) -> Iterator[Piece]:
        for piece in cut(self.text[: self.length]):
            for token in piece.tokens:
                span = self.span(span_of(token))
                token.start_pos, token.end_pos = span.start, span.end
            yield Piece(piece.tokens, tuple(map(self.moved, piece.problems)))

    def moved(self, problem: Diagnostic) -> Diagnostic:
        """A diagnostic of this text as one of the text of the spec."""
        at, *also = (replace(label, span=self.span(label.span)) for label in problem.labels)
        edits = tuple(replace(edit, span=self.span(edit.span)) for edit in problem.edits)
        return replace(problem, at=at, also=tuple(also), edits=edits)

    def failure(self, fails: Fails) -> int | None:
        """Where the first of its statements that cannot be parsed fails."""
        found = (fails(piece) for piece in cut(self.text[: self.length]))
        return next((place for place in found if place is not None), None)

    def step(self, place: int, fails: Fails) -> _Step | None:
        """The correction at the place where parsing fails, if it leads further."""
        for notation in NOTATIONS:
            correction = notation.at(self.text, place)
            if correction is None:
                continue
            following = self.replaced(correction)
            if correction.instead is None:
                return _Step(correction, self.diagnostic(correction), following, None)
            failure = following.failure(fails)
            left = len(self.text) - place
            if failure is None or len(following.text) - failure < left:
                return _Step(correction, self.diagnostic(correction), following, failure)
        return None

    def replaced(self, correction: Correction) -> _Draft:
        start, end, instead = correction.start, correction.end, correction.instead or ""
        length = self.length
        if end > length:  # a whole line more, for each that is begun
            line = self.text.find("\n", end)
            length = len(self.text) if line < 0 else line
        span, count = self.span(Span(start, end)), len(instead)
        return _Draft(
            self.text[:start] + instead + self.text[end:],
            length + count - (end - start),
            [*self.starts[:start], *[span.start] * count, *self.starts[end:]],
            [*self.ends[:start], *[span.end] * count, *self.ends[end:]],
        )

    def span(self, own: Span) -> Span:
        """The characters of the spec that some of this text come from."""
        first = self.starts[own.start]
        return Span(first, max(first, self.ends[own.end - 1]) if own.end > own.start else first)

    def diagnostic(self, correction: Correction) -> Diagnostic:
        span = self.span(Span(correction.start, correction.end))
        edits = () if correction.instead is None else (Edit(span, correction.instead),)
        at = Label(span, correction.label)
        helps = (correction.help,) if correction.help else ()
        return Diagnostic("R115", correction.message, at, helps=helps, edits=edits)


@dataclass(frozen=True, slots=True)
class _Step:
    correction: Correction
    diagnostic: Diagnostic
    draft: _Draft
    failure: int | None
