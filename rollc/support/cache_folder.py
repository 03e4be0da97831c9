"""The cache folder of builds and machine code."""

from __future__ import annotations

import os
from pathlib import Path

from rollc.errors import StoreError

CACHE_VARIABLE = "ROLLC_CACHE"

COMPILED = "__pycache__"
"""The folder of object code in an artefact, which is specific to a machine."""


def cache_folder() -> Path:
    """The cache folder: ``$ROLLC_CACHE``, or the one of the user's system.

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
