"""What a user of rollc can do wrong.  Any other exception is a fault of rollc itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollc.lang.diagnostics import Diagnostic
    from rollc.lang.source import Source


class RollcError(Exception):
    """The base of every error that is the user's to mend; ``str(error)`` says how."""


class InputError(RollcError):
    """An array, a file or an argument is missing, misshapen or cannot be read."""


class UndefinedError(InputError):
    """A result is asked for that is not defined where there are no steps or no sequences."""


class StoreError(RollcError):
    """An artefact folder is damaged, foreign or cannot be written."""


class SpecError(RollcError):
    """A spec is wrong; the message is as it is shown at a terminal.

    ``diagnostics`` say where in ``source`` and why, in its order; both are missing where
    the text is that of a graph.
    """

    def __init__(
        self, diagnostics: Sequence[Diagnostic], message: str, source: Source | None = None
    ) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)
        self.source = source
