"""The registry of backends, by name."""

from __future__ import annotations

import os
from functools import cache

from rollc.backends.protocol import Backend
from rollc.errors import InputError

NAMES = ("numba", "reference")
VARIABLE = "ROLLC_BACKEND"


def default() -> str:
    """The name of the default backend: ``$ROLLC_BACKEND``, or Numba's."""
    name = os.environ.get(VARIABLE) or NAMES[0]
    if name not in NAMES:
        raise InputError(f"${VARIABLE}: expected {' or '.join(NAMES)}, found `{name:.40}`")
    return name


def backend(name: str | None = None) -> Backend:
    """The backend of a name, or the default one, which is imported."""
    return _made(name or default())


@cache
def _made(name: str) -> Backend:
    if name == "numba":
        from rollc.backends.numba.backend import NumbaBackend

        return NumbaBackend()
    from rollc.backends.reference import ReferenceBackend

    return ReferenceBackend()
