"""The losses of a run as a picture, by pygal: readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

Point = tuple[float, float]

_COLOURS = ("#3b82c4", "#e08030")  # training, validation
_GREY = "#808080"
_MOST = 400  # points of a curve
_FEW = 40  # of which each is a dot
_WIDE = 20.0  # the ratio of losses from which their scale is logarithmic


def picture(records: Sequence[Mapping[str, Any]]) -> bytes | None:
    """An SVG of the training and the validation loss over updates; None without any."""
    curves = {
        "training loss": _points(records, "loss"),
        "validation loss": _points(records, "valid"),
    }
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None
    losses = [loss for points in curves.values() for _, loss in points]
    chart = _chart(len(curves))
    height: Callable[[float], float] = float
    if min(losses) > 0 and max(losses) / min(losses) > _WIDE:
        # Heights are more than 0, where pygal draws an axis.
        base = math.floor(math.log10(min(losses))) - 1

        def height(loss: float) -> float:
            return math.log10(loss) - base

        chart.y_title = "loss, on a logarithmic scale"
        chart.value_formatter = lambda at: f"{10 ** (at + base):.4g}"
        chart.y_labels = [{"value": height(at), "label": f"{at:g}"} for at in _ticks(losses)]
    for name, points in curves.items():
        shown = [(update, height(loss)) for update, loss in _thinned(points)]
        chart.add(name, shown, show_dots=len(shown) <= _FEW)
    return _written(chart)


def _chart(curves: int) -> Any:
    import pygal
    from pygal.style import Style

    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=_GREY,
        foreground_strong=_GREY,
        foreground_subtle=_GREY,
        guide_stroke_color=_GREY,
        major_guide_stroke_color=_GREY,
        colors=_COLOURS,
        font_family="sans-serif",
        label_font_size=12,
        major_label_font_size=12,
        title_font_size=14,
        opacity="1",
        stroke_opacity="1",
    )
    chart = pygal.XY(
        style=style,
        width=720,
        height=400,
        x_title="update",
        y_title="loss",
        legend_at_bottom=True,
        legend_at_bottom_columns=curves,
        max_scale=8,
        dots_size=2.5,
        stroke_style={"width": 1.5},
        show_x_guides=False,
        truncate_label=-1,
        x_value_formatter=lambda update: f"{update:,.0f}",
        value_formatter=lambda loss: f"{loss:.4g}",
        js=[],
        disable_xml_declaration=True,
    )
    chart.uuid = "loss"
    return chart


def _written(chart: Any) -> bytes:
    """The chart, without the script that pygal puts into each."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
    title = root.find("title")
    if title is not None:
        title.text = "loss"
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _points(records: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(each["update"], each[name]) for each in records if each.get(name) is not None]


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """So many of them at most, evenly, with the last."""
    every = -(-len(points) // _MOST)
    return points[(len(points) - 1) % every :: every]


def _ticks(losses: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each power of ten, or 1 alone of many powers, around the losses."""
    low, high = math.floor(math.log10(min(losses))), math.ceil(math.log10(max(losses)))
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    every = -(-(high - low) // 10)
    ticks = [step * 10.0**power for power in range(low, high + 1, every) for step in steps]
    inside = [tick for tick in ticks if min(losses) <= tick <= max(losses)]
    return inside or [10.0**low, 10.0**high]
