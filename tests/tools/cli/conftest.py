"""What a command says and writes is no kernel's: networks are interpreted here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollc.backends.registry import VARIABLE


@pytest.fixture(scope="module", autouse=True)
def interpreted() -> Iterator[None]:
    """Commands that are processes of their own have it from the environment too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "reference")
        yield
