"""The losses of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollc.support.chart import Point, chart


def picture(records: Sequence[Mapping[str, Any]]) -> bytes | None:
    """An SVG of the training and the validation loss over updates; None without any."""
    curves = {
        "training loss": _points(records, "loss"),
        "validation loss": _points(records, "valid"),
    }
    curves = {name: points for name, points in curves.items() if points}
    return chart(curves, "update", "loss") if curves else None


def _points(records: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(each["update"], each[name]) for each in records if each.get(name) is not None]
