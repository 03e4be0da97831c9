"""The colours of pictures, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rollc.drawing.diagram import Arrow, Box, Frame

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = ("auto", "light", "dark")

Role = Literal[
    "paper", "ink", "faint", "adjoint", "tape", "fill", "given", "apart", "frame", "region"
]
LIGHT: Mapping[Role, str] = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "faint": "#57606a",
    "adjoint": "#b3261e",
    "tape": "#a8afb8",
    "fill": "#ffffff",
    "given": "#e3eefb",
    "apart": "#f6f1e2",
    "frame": "#f4f5f7",
    "region": "#fbf7ff",
}
DARK: Mapping[Role, str] = {
    "paper": "#0f1419",
    "ink": "#e6e8eb",
    "faint": "#9aa4af",
    "adjoint": "#ff8a80",
    "tape": "#66707b",
    "fill": "#1b222a",
    "given": "#1d3048",
    "apart": "#332d1c",
    "frame": "#161c23",
    "region": "#1d1826",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How something is drawn: the roles of its colours, its line and its corners."""

    line: Role
    fill: Role | None
    text: Role
    width: float = 1.0
    dashes: str = ""
    rounded: float = 0.0


def colours(theme: Theme) -> Mapping[Role, str]:
    """The colours of a theme; ``auto`` has the light ones, where a reader cannot choose."""
    return DARK if theme == "dark" else LIGHT


def box_style(box: Box) -> Style:
    line: Role = "adjoint" if box.adjoint else "ink"
    width = 2.2 if box.result else 1.0
    match box.look:
        case "square":
            return Style(line, line, "paper")
        case "junction":
            return Style(line, line, "ink", rounded=2.5)
        case "parameters":
            return Style("faint", "apart", "ink", 0.6)
        case "initial":
            return Style("faint", "paper", "ink", 1.0, "3,2", 8.0)
        case "input" | "target":
            return Style(line, "given", "ink", width, rounded=box.height / 2)
        case "cell":
            return Style(line, "frame", "ink", max(width, 1.6), rounded=6.0)
        case "gradient":
            return Style(line, "apart", "ink", width, rounded=3.0)
        case _:
            return Style(line, "fill", "ink", width, rounded=5.0)


def arrow_style(arrow: Arrow) -> Style:
    match arrow.look:
        case "tape":
            return Style("tape", None, "ink", 0.8)
        case "initial":
            return Style("faint", None, "ink", 0.9, "2,2")
        case "bus":
            return Style("adjoint", None, "ink", 1.6)
        case _:
            return Style("adjoint" if arrow.adjoint else "ink", None, "ink", 0.9)


def frame_style(frame: Frame) -> Style:
    line: Role = "adjoint" if frame.adjoint else "faint"
    if frame.look == "region":
        return Style(line, "region", "faint", 0.9, "5,3", 4.0)
    if frame.look == "step":
        return Style("tape", "paper", "faint", 0.7, "1,3", 4.0)
    return Style(line, "frame", "faint", 0.9, "", 6.0)
