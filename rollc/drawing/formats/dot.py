"""A diagram in the language of Graphviz's ``dot``: what it lays out, and draws as PNG and PDF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollc.drawing.diagram import LABEL, SIZES, Arrow, Box, Diagram, Frame
from rollc.drawing.formats.theme import (
    Role,
    Style,
    Theme,
    arrow_style,
    box_style,
    colours,
    frame_style,
)
from rollc.drawing.labels import label_width
from rollc.drawing.places import Curve, Layout

POINTS = 72.0
FONT = "Helvetica"
LABEL_OF = "label "  # of a frame: what the box of its label is called


def print_dot(diagram: Diagram, theme: Theme = "light", layout: Layout | None = None) -> str:
    """The diagram in DOT: UTF-8 text, the same for equal diagrams.

    With a ``layout`` all has its place, and Graphviz is told to move nothing.
    """
    return "\n".join(_Text(diagram, theme, layout).lines()) + "\n"


class _Text:
    def __init__(self, diagram: Diagram, theme: Theme, layout: Layout | None) -> None:
        self.diagram = diagram
        self.layout = layout
        self.colours: Mapping[Role, str] = colours(theme)
        self.adjacent = {frame.name: frame for frame in diagram.frames}

    def lines(self) -> Iterator[str]:
        yield f"digraph {quoted(self.diagram.name)} {{"
        # Rows across frames need ranks of their own, which lead arrows through boxes at times.
        ranks = "newrank=true; " if self.diagram.rows else ""
        yield f"  rankdir=TB; {ranks}nodesep=0.25; ranksep=0.32;"
        yield f'  bgcolor="{self._of("paper")}";'
        yield f'  fontname="{FONT}"; fontsize=10;'
        if self.layout is not None:
            yield f'  pad=0.15; bb="0,0,{self.layout.width:.1f},{self.layout.height:.1f}";'
        yield f'  node [fontname="{FONT}", fixedsize=true, penwidth=1];'
        yield f'  edge [fontname="{FONT}", arrowsize=0.55];'
        yield from self._inside((), 1)
        for row in self.diagram.rows if self.layout is None else ():
            yield f"  {{ rank=same; {'; '.join(map(quoted, row))} }}"
        for number, arrow in enumerate(self.diagram.arrows):
            curve = None if self.layout is None else self.layout.curves[number]
            if self.layout is None or curve is not None:
                yield self._arrow(number, arrow, curve)
        yield "}"

    def _up(self, y: float) -> float:
        """Graphviz counts from below."""
        assert self.layout is not None
        return self.layout.height - y

    def _of(self, role: Role) -> str:
        return self.colours[role]

    def _inside(self, path: tuple[str, ...], level: int) -> Iterator[str]:
        """The boxes right inside a frame, and the frames in it."""
        indent = "  " * level
        inner: dict[str, None] = {}
        for box in self.diagram.boxes:
            if box.frames == path:
                yield f"{indent}{self._box(box)}"
            elif box.frames[: len(path)] == path:
                inner[box.frames[len(path)]] = None
        for name in inner:
            frame = self.adjacent[name]
            yield f"{indent}subgraph {quoted(f'cluster {name}')} {{"
            yield f"{indent}  {self._frame(frame)}"
            if self.layout is None and frame.look == "region":
                yield f"{indent}  {self._label_box(frame)}"
            yield from self._inside((*path, name), level + 1)
            yield f"{indent}}}"

    def _frame(self, frame: Frame) -> str:
        style = frame_style(frame)
        words = ["rounded"] + (["dashed"] if style.dashes else [])
        look = f'style="{",".join(words)}"; color="{self._of(style.line)}";'
        if style.fill not in (None, "paper"):
            assert style.fill is not None
            look = look.replace('style="', 'style="filled,')
            look += f' fillcolor="{self._of(style.fill)}";'
        look += f' fontcolor="{self._of(style.text)}"; penwidth={style.width:g};'
        title = f" tooltip={quoted(frame.title)};" if frame.title else ""
        if self.layout is not None and frame.name in self.layout.frames:
            place = self.layout.frames[frame.name]
            corners = (place.left, self._up(place.bottom), place.right, self._up(place.top))
            look += f' bb="{",".join(f"{corner:.1f}" for corner in corners)}";'
            x, y = self.layout.labels[frame.name]
            x += label_width(frame.label) / 2
            look += f' lp="{x:.1f},{self._up(y - 4):.1f}";'
        label = "" if self.layout is None and frame.look == "region" else frame.label
        return f"label={quoted(label)}; labeljust=l; margin=9; {look}{title}"

    def _label_box(self, frame: Frame) -> str:
        """The label of a frame that many arrows enter: as a box, which they are led around."""
        sizes = f"width={(label_width(frame.label) + 6) / POINTS:.3f}, height={18 / POINTS:.3f}"
        return (
            f"{quoted(LABEL_OF + frame.name)} [shape=plaintext, {sizes}, fontsize={LABEL:g},"
            f" label={quoted(frame.label)}, fontcolor={quoted(self._of(frame_style(frame).text))}];"
        )

    def _box(self, box: Box) -> str:
        style = box_style(box)
        shape = {"square": "square", "junction": "point"}.get(box.look, "box")
        words = ["filled"]
        words += ["rounded"] if style.rounded and shape == "box" else []
        words += ["dashed"] if style.dashes else []
        sizes = f"width={box.width / POINTS:.3f}, height={box.height / POINTS:.3f}"
        if self.layout is not None:
            x, y = self.layout.boxes[box.name].middle
            sizes += f', pos="{x:.1f},{self._up(y):.1f}"'
        return (
            f"{quoted(box.name)} [shape={shape}, style={quoted(','.join(words))}, {sizes},"
            f" label={self._label(box, style)}, color={quoted(self._of(style.line))},"
            f" fillcolor={quoted(self._of(style.fill or 'paper'))}, penwidth={style.width:g},"
            f" tooltip={quoted(box.title)}];"
        )

    def _label(self, box: Box, style: Style) -> str:
        if not box.lines:
            return '""'
        parts = []
        for line in box.lines:
            text = _escaped(line.text)
            text = f"<B>{text}</B>" if line.look == "name" else text
            parts.append(f'<FONT POINT-SIZE="{SIZES[line.look]:g}">{text}</FONT>')
        return f'<<FONT COLOR="{self._of(style.text)}">{"<BR/>".join(parts)}</FONT>>'

    def _arrow(self, number: int, arrow: Arrow, curve: Curve | None) -> str:
        ends = (arrow.source, arrow.target)
        style = arrow_style(arrow)
        look = [f'id="e{number}"']
        if arrow.look == "order":
            look.append("style=invis")
        else:
            look += [f"color={quoted(self._of(style.line))}", f"penwidth={style.width:g}"]
            look += [] if not style.dashes else ["style=dashed"]
        direction = "forward" if arrow.head else "none"
        if curve is not None:
            points = [f"{x:.1f},{self._up(y):.1f}" for x, y in curve.points]
            if curve.tip is not None:
                points.insert(0, f"e,{curve.tip[0]:.1f},{self._up(curve.tip[1]):.1f}")
            look.append(f'pos="{" ".join(points)}"')
        elif arrow.upwards:  # the layout goes down
            ends = (arrow.target, arrow.source)
            direction = "back" if arrow.head else "none"
        look += [f"dir={direction}"] if direction != "forward" else []
        look += ["constraint=false"] if arrow.free else []
        look += ["weight=0"] if arrow.look == "tape" else []
        return f"  {quoted(ends[0])} -> {quoted(ends[1])} [{', '.join(look)}];"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _escaped(text: str) -> str:
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return text
