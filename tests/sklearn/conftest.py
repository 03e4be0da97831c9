"""What tests of `rollc.sklearn` share."""

from __future__ import annotations

import pytest

from rollc.backends.registry import VARIABLE


@pytest.fixture(autouse=True)
def interpreted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of what is tested here is no kernel: these are interpreted."""
    if request.node.get_closest_marker("compiled") is None:
        monkeypatch.setenv(VARIABLE, "reference")
