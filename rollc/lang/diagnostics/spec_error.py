"""The exception for an erroneous spec."""

from __future__ import annotations

from collections.abc import Sequence

from rollc.errors import RollcError
from rollc.lang.diagnostics.diagnostic import Diagnostic
from rollc.lang.diagnostics.source import Source


class SpecError(RollcError):
    """A spec is erroneous; the message is that of a terminal.

    Attributes
    ----------
    diagnostics : tuple of Diagnostic
        What is wrong, and where, in the order of the text; none where it is the text of a graph.
    source : Source or None
        The text and its name.

    Examples
    --------
    >>> import rollc
    >>> try:
    ...     rollc.build_text("net loop")
    ... except rollc.SpecError as error:
    ...     print(error.diagnostics[0].code)  # which `rollc explain` explains
    R218
    """

    def __init__(
        self, diagnostics: Sequence[Diagnostic], message: str, source: Source | None = None
    ) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)
        self.source = source
