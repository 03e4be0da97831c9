"""Curves as a picture, by pygal: readable on light and on dark."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

Point = tuple[float, float]

_COLOURS = ("#3b82c4", "#e08030", "#4c9f62", "#c45ab3", "#8a6fd1", "#b8860b", "#d1495b", "#2a9d8f")
_GREY = "#808080"
_DASHES = ("", "7 3", "2 2", "9 3 2 3", "12 4", "4 4", "1 3", "9 2 2 2 2 2")
_COLUMNS = 6  # of names below the curves
_LINE = 12.0  # pixels between names at the ends of curves
_LONGEST = 8  # letters of such a name
_MOST = 400  # points of a curve
_FEW = 40  # of which each is a dot
_WIDE = 20.0  # the ratio of heights from which their scale is logarithmic


def chart(curves: Mapping[str, Sequence[Point]], across: str, up: str) -> bytes:
    """An SVG of curves with their titles; ``across`` and ``up`` are those of the axes.

    The scale upwards is logarithmic where all heights are more than 0 and of many sizes.
    """
    heights = [height for points in curves.values() for _, height in points]
    drawn = _empty(len(curves), across, up)
    scaled: Callable[[float], float] = float
    if min(heights) > 0 and max(heights) / min(heights) > _WIDE:
        # Heights are more than 0, where pygal draws an axis.
        base = math.floor(math.log10(min(heights))) - 1

        def scaled(height: float) -> float:
            return math.log10(height) - base

        drawn.y_title = f"{up}, on a logarithmic scale"
        drawn.value_formatter = lambda at: f"{10 ** (at + base):.4g}"
        drawn.y_labels = [{"value": scaled(at), "label": f"{at:g}"} for at in _ticks(heights)]
    for number, (name, points) in enumerate(curves.items()):
        shown = [(place, scaled(height)) for place, height in _thinned(points)]
        stroke = {"width": 1.5, "dasharray": _DASHES[number % len(_DASHES)]}
        drawn.add(name, shown, show_dots=len(shown) <= _FEW, stroke_style=stroke)
    return _written(drawn, up, list(curves) if len(curves) > 1 else [])


def _empty(curves: int, across: str, up: str) -> Any:
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
    drawn = pygal.XY(
        style=style,
        width=720,
        height=400,
        x_title=across,
        y_title=up,
        legend_at_bottom=True,
        legend_at_bottom_columns=min(curves, _COLUMNS),
        margin_bottom=20 + 20 * ((curves - 1) // _COLUMNS),
        margin_right=20 + 50 * (curves > 1),
        max_scale=8,
        dots_size=2.5,
        stroke_style={"width": 1.5},
        show_x_guides=False,
        truncate_label=-1,
        x_value_formatter=lambda place: f"{place:,.0f}",
        value_formatter=lambda height: f"{height:.4g}",
        js=[],
        disable_xml_declaration=True,
    )
    drawn.uuid = "chart"
    return drawn


def _written(drawn: Any, name: str, names: Sequence[str]) -> bytes:
    """The chart, without the script that pygal puts into each, its curves with their names."""
    root = drawn.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
    _name_curves(root, names)
    title = root.find("title")
    if title is not None:
        title.text = name
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _name_curves(root: Any, names: Sequence[str]) -> None:
    """Write its name at the end of each curve, so that they are told apart without colours."""
    ends = []
    for number, name in enumerate(names):
        for curve in (one for one in root.iter() if f"serie-{number} " in f"{one.get('class')} "):
            for path in (one for one in curve if str(one.tag).endswith("path")):
                *_, x, y = map(float, re.findall(r"-?\d+(?:\.\d+)?", path.get("d")))
                ends.append((y, x, number, curve, name))
    low = float("-inf")
    for y, x, number, curve, name in sorted(ends, key=lambda end: end[:3]):
        low = max(y, low + _LINE)
        colour = _COLOURS[number % len(_COLOURS)]
        place = {"x": f"{x + 6:.1f}", "y": f"{low + 4:.1f}", "font-size": "12"}
        text = ElementTree.SubElement(curve, "text", {**place, "style": f"fill:{colour}"})
        text.text = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """So many of them at most, evenly, with the last."""
    every = -(-len(points) // _MOST)
    return points[(len(points) - 1) % every :: every]


def _ticks(heights: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each power of ten, or 1 alone of many powers, around the heights."""
    low, high = math.floor(math.log10(min(heights))), math.ceil(math.log10(max(heights)))
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    every = -(-(high - low) // 10)
    ticks = [step * 10.0**power for power in range(low, high + 1, every) for step in steps]
    inside = [tick for tick in ticks if min(heights) <= tick <= max(heights)]
    return inside or [10.0**low, 10.0**high]
