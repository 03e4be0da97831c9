"""How the tables of a run are read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollc.driver.trained import Trained
from rollc.tools.cli import effect
from rollc.tools.cli.options import READING


def reading(trained: Trained, given: Mapping[str, Any]) -> dict[str, Any]:
    """How tables are read: as the run read its own, but for what is given now."""
    now = {word.lstrip("-") for word in effect.given(READING)}
    return {
        name: given[name] if option in now else trained.options.get(option)
        for name, option in READING.items()
    }
