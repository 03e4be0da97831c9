"""What tests of `rollc.torch` share."""

from __future__ import annotations

import pytest

from rollc.backends.registry import VARIABLE


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here is no kernel: these are interpreted."""
    monkeypatch.setenv(VARIABLE, "reference")
