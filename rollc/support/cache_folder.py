"""Where builds and machine code are kept."""

from __future__ import annotations

import os
from pathlib import Path

from rollc.errors import StoreError

CACHE_VARIABLE = "ROLLC_CACHE"

COMPILED = "__pycache__"
"""The folder of machine code in that of an artefact: it comes and goes with the machine."""


def cache_folder() -> Path:
    """Where builds are kept: ``$ROLLC_CACHE``, or the user's own cache folder.

    Raises :class:`StoreError` where that is no folder's name.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError:
            raise StoreError(f"${CACHE_VARIABLE}: no user has the home of `{chosen}`") from None
    import platformdirs

    found = platformdirs.user_cache_path("rollc")
    if not found.is_absolute():  # there is no home folder to be found
        raise StoreError(f"no user has a home here; ${CACHE_VARIABLE} can name a folder")
    return found
