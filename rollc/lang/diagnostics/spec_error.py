"""The exception for an erroneous spec."""

from __future__ import annotations

from collections.abc import Sequence

from rollc.errors import RollcError
from rollc.lang.diagnostics.diagnostic import Diagnostic
from rollc.lang.diagnostics.source import Source


class SpecError(RollcError):
    """A spec is erroneous; the message is that of a terminal.

    ``diagnostics`` say where in ``source`` and why, in its order; both are missing where
    the text is that of a graph.
    """

    def __init__(
        self, diagnostics: Sequence[Diagnostic], message: str, source: Source | None = None
    ) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)
        self.source = source
