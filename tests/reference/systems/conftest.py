"""Systems of several fields are what their equations say, on each backend."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def on_each(each_backend: str) -> None:
    """For all tests of this folder."""
