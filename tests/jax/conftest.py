"""What tests of `rollc.jax` share: double precision, and kernels that are interpreted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollc.backends.registry import VARIABLE

try:
    import jax
except ModuleNotFoundError:  # pip install .[jax]
    collect_ignore_glob = ["test_*.py"]


def enable_x64(on: bool) -> Any:
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(on)
    from jax.experimental import enable_x64 as enable

    return enable(on)


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is tested here is no kernel: these are interpreted."""
    monkeypatch.setenv(VARIABLE, "reference")
    with enable_x64(True):
        yield


@pytest.fixture
def single() -> Iterator[None]:
    with enable_x64(False):
        yield
