"""Helps in the words of the text: `transpose({0}) @ {1}` with the operands that stand there."""

from __future__ import annotations

import re
from dataclasses import replace

from rollc.lang.diagnostics.diagnostic import Diagnostic
from rollc.lang.diagnostics.source import Source

LONGEST = 40  # of a part; a longer one has a name
# A number, a name, a call or a list, and what stands behind it in brackets.
_ONE = re.compile(r"([\w.]+(\([^()]*\))?|\[[^][]*\])(\[[^][]*\])*")


class Quoted(str):
    """A part of a text; ``{0:tight}``, next to an operator, has brackets if it needs them.

    ``{0:name}`` is an ellipsis where it is no name.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if spec == "name":
            return str(self) if self.isidentifier() else "…"
        loose = spec == "tight" and _ONE.fullmatch(self) is None
        return f"({self!s})" if loose else str(self)


def quoted(diagnostic: Diagnostic, source: Source) -> Diagnostic:
    """A diagnostic whose helps have the parts of the text that they stand for."""
    if not diagnostic.parts:
        return diagnostic
    texts = [source.text_of(part.span) for part in diagnostic.parts]
    said = [
        Quoted(part.text if len(text) > LONGEST or "#" in text else " ".join(text.split()))
        for part, text in zip(diagnostic.parts, texts, strict=True)
    ]
    whole = [*map(Quoted, texts)]
    edits = diagnostic.edits
    if any("#" in text for text in texts) and any("{" in edit.text for edit in edits):
        edits = ()  # behind a comment an edit would say nothing
    return replace(
        diagnostic,
        helps=tuple(help_.format(*said) for help_ in diagnostic.helps),
        edits=tuple(replace(edit, text=edit.text.format(*whole)) for edit in edits),
        parts=(),
    )
