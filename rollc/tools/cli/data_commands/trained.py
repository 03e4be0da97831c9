"""How the tables of a run are read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollc.driver.trained import Trained
from rollc.errors import StoreError
from rollc.tools.cli import effect
from rollc.tools.cli.options import READING

DATA = ("data", "valid", "test", "split")
_LISTS: dict[str, Any] = {"map": str, "mask": str, "split": (int, float)}


def reading(trained: Trained, given: Mapping[str, Any]) -> dict[str, Any]:
    """How tables are read: as the run read its own, but for what is given now."""
    now = {word.lstrip("-") for word in effect.given(READING)}
    return {
        name: given[name] if option in now else _told(trained, option)
        for name, option in READING.items()
    }


def data_of(trained: Trained) -> dict[str, Any]:
    """Which data the run had, and how they were split."""
    return {name: _told(trained, name) for name in DATA}


def _told(trained: Trained, option: str) -> Any:
    """An option of the run; :class:`StoreError` where it is of another kind."""
    value = trained.options.get(option)
    kind = _LISTS.get(option)
    if kind is None:
        sound = value is None or isinstance(value, str)
    else:
        sound = value is None or (
            isinstance(value, list) and all(isinstance(each, kind) for each in value)
        )
    if not sound:
        raise StoreError(f"the options of the run are damaged: `{option}` is {value!r:.60}")
    return value
