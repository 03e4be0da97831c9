"""What a user of rollc can do wrong.  Any other exception is a fault of rollc itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollc.lang import Diagnostic


class RollcError(Exception):
    """The base of every error that is the user's to mend; ``str(error)`` says how."""

    @property
    def message(self) -> str:
        return str(self)


class InputError(RollcError):
    """An array, a file or an argument is missing, misshapen or cannot be read."""


class StoreError(RollcError):
    """An artefact folder is damaged, foreign or cannot be written."""


class SpecError(RollcError):
    """A spec is wrong.  ``diagnostics`` say where and why, in source order."""

    def __init__(self, diagnostics: Sequence[Diagnostic], message: str) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)
