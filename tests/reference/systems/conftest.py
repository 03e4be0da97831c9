"""Systems of several fields are what their equations say, on each backend."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def on_each(each_backend: str) -> None:
    """For all tests of this folder."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some are compiled in a run: it takes them seconds each."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.sampled(8, among="systems"))
