"""Networks on each backend: interpreted in each run, and compiled some at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def on_each(each_backend: str) -> None:
    """For all tests of this folder."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those of what is compiled have the one backend; of the others some are drawn."""
    interpreted = []
    for item in items:
        if HERE in item.path.parents:
            if item.get_closest_marker("compiled"):
                if item.callspec.params["backend"] == "reference":  # type: ignore[attr-defined]
                    interpreted.append(item)
            elif not item.get_closest_marker("sampled"):
                item.add_marker(pytest.mark.sampled(40, among="networks"))
    config.hook.pytest_deselected(items=interpreted)
    items[:] = [item for item in items if item not in interpreted]
