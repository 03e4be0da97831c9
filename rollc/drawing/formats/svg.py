"""A picture as SVG: one file without scripts, whose colours can follow those of its reader."""

from __future__ import annotations

from collections.abc import Iterator
from math import atan2, cos, pi, sin
from xml.sax.saxutils import escape, quoteattr

from rollc.drawing.diagram import LABEL, SIZES, Arrow, Box, Diagram, Frame
from rollc.drawing.formats.theme import (
    DARK,
    Role,
    Style,
    Theme,
    arrow_style,
    box_style,
    colours,
    frame_style,
)
from rollc.drawing.places import Curve, Layout, Point, Rectangle

BORDER = 8.0
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


def print_svg(diagram: Diagram, layout: Layout, theme: Theme = "auto") -> str:
    """The picture; ``auto`` follows the reader's choice of light or dark."""
    return "".join(f"{line}\n" for line in _Picture(diagram, layout, theme).lines())


class _Picture:
    def __init__(self, diagram: Diagram, layout: Layout, theme: Theme) -> None:
        self.diagram = diagram
        self.layout = layout
        self.colours = colours(theme)
        self.follows = theme == "auto"

    def lines(self) -> Iterator[str]:
        width, height = self.layout.width + 2 * BORDER, self.layout.height + 2 * BORDER
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="{-BORDER:g} {-BORDER:g} {width:.1f} {height:.1f}" role="img"'
            f' font-family="{_FONT}" text-anchor="middle">'
        )
        yield f"<title>{escape(self.diagram.name)}</title>"
        yield "<style>"
        yield ".box:hover rect, .arrow:hover path { stroke-width: 3 }"
        if self.follows:
            rules = [
                f".f-{role} {{ fill: {colour} }} .s-{role} {{ stroke: {colour} }}"
                for role, colour in DARK.items()
            ]
            yield f"@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}"
        yield "</style>"
        yield (
            f'<rect x="{-BORDER:g}" y="{-BORDER:g}" width="{width:.1f}" height="{height:.1f}"'
            f" {self._paint(None, 'paper')}/>"
        )
        for frame in self.diagram.frames:
            if frame.name in self.layout.frames:
                yield from self._frame(frame, self.layout.frames[frame.name])
        for arrow, curve in zip(self.diagram.arrows, self.layout.curves, strict=True):
            if curve is not None:
                yield self._arrow(arrow, curve)
        for box in self.diagram.boxes:
            yield from self._box(box, self.layout.boxes[box.name])
        yield "</svg>"

    def _paint(self, line: Role | None, fill: Role | None) -> str:
        """The colours of a shape: those of the theme, and classes that a style can change."""
        classes = [f"s-{line}"] * (line is not None) + [f"f-{fill}"] * (fill is not None)
        named = f'class="{" ".join(classes)}" ' if self.follows else ""
        stroke = "" if line is None else f' stroke="{self.colours[line]}"'
        return f'{named}fill="{"none" if fill is None else self.colours[fill]}"{stroke}'

    def _outline(self, style: Style) -> str:
        dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
        return f'{self._paint(style.line, style.fill)} stroke-width="{style.width:g}"{dashes}'

    def _rectangle(self, place: Rectangle, style: Style) -> str:
        rounded = f' rx="{style.rounded:.4g}"' if style.rounded else ""
        return (
            f'<rect x="{place.left:.1f}" y="{place.top:.1f}" width="{place.right - place.left:.1f}"'
            f' height="{place.bottom - place.top:.1f}"{rounded} {self._outline(style)}/>'
        )

    def _frame(self, frame: Frame, place: Rectangle) -> Iterator[str]:
        style = frame_style(frame)
        yield f'<g class="frame {frame.look}" data-name={quoteattr(frame.name)}>'
        yield f"<title>{escape(frame.title or frame.label)}</title>"
        yield self._rectangle(place, style)
        x, y = self.layout.labels[frame.name]
        yield (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{LABEL:g}"'
            f' text-anchor="start" {self._paint(None, style.text)}>{escape(frame.label)}</text>'
        )
        yield "</g>"

    def _box(self, box: Box, place: Rectangle) -> Iterator[str]:
        style = box_style(box)
        yield f'<g class="box {box.look}" data-name={quoteattr(box.name)}>'
        yield f"<title>{escape(box.title or box.name)}</title>"
        yield self._rectangle(place, style)
        x, y = place.middle
        y -= sum(line.height for line in box.lines) / 2
        for line in box.lines:
            weight = ' font-weight="bold"' if line.look == "name" else ""
            yield (
                f'<text x="{x:.1f}" y="{y + line.height * 0.77:.1f}"'
                f' font-size="{SIZES[line.look]:g}"{weight} {self._paint(None, style.text)}>'
                f"{escape(line.text)}</text>"
            )
            y += line.height
        yield "</g>"

    def _arrow(self, arrow: Arrow, curve: Curve) -> str:
        style = arrow_style(arrow)
        start, *rest = curve.points
        path = f"M{_point(start)}C{' '.join(map(_point, rest))}"
        head = ""
        if arrow.head and curve.tip is not None:
            tips = " ".join(map(_point, _head(curve.points[-1], curve.tip)))
            head = f'<polygon points="{tips}" {self._paint(None, style.line)}/>'
        return (
            f'<g class="arrow {arrow.look}">'
            f"<title>{escape(f'{arrow.source} → {arrow.target}')}</title>"
            f'<path d="{path}" {self._outline(style)}/>{head}</g>'
        )


def _head(base: Point, tip: Point) -> tuple[Point, Point, Point]:
    """The corners of an arrow's head, from where its line ends."""
    angle = atan2(tip[1] - base[1], tip[0] - base[0])
    left, right = (
        (base[0] + 2.6 * cos(angle + turn), base[1] + 2.6 * sin(angle + turn))
        for turn in (pi / 2, -pi / 2)
    )
    return tip, left, right


def _point(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
