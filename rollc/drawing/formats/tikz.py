r"""A picture for LaTeX: a ``tikzpicture`` of lines and texts at fixed places.

``\input`` it where ``\usepackage{tikz}`` is loaded; ``\resizebox`` makes it as wide as a column.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollc.drawing.diagram import LABEL, SIZES, Arrow, Box, Diagram, Frame
from rollc.drawing.formats.theme import LIGHT, Style, arrow_style, box_style, frame_style
from rollc.drawing.places import Curve, Layout, Point, Rectangle

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "ᵀ": r"$^{\top}$",
    "Σ": r"$\Sigma$",
    "→": r"$\rightarrow$",
    "<": r"$<$",
    ">": r"$>$",
    "'": r"$'$",
    **{mark: f"\\{mark}" for mark in "#$%&_{}"},
}
_GREEK = {
    "αβγδεζηθικλμνξπρστυφχψω": "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"
    " nu xi pi rho sigma tau upsilon phi chi psi omega",
    "ΓΔΘΛΞΠΦΨΩ": "Gamma Delta Theta Lambda Xi Pi Phi Psi Omega",
}
for _letters, _names in _GREEK.items():
    _SPECIAL.update(
        {letter: f"$\\{name}$" for letter, name in zip(_letters, _names.split(), strict=True)}
    )
_SPECIAL["ς"] = r"$\varsigma$"


def print_tikz(diagram: Diagram, layout: Layout) -> str:
    """The picture, in the light colours."""
    return "".join(f"{line}\n" for line in _lines(diagram, layout))


def _lines(diagram: Diagram, layout: Layout) -> Iterator[str]:
    yield f"% {diagram.name.replace(chr(10), ' ')}, drawn by rollc; \\usepackage{{tikz}}"
    yield r"\begin{tikzpicture}[x=1pt,y=-1pt,>=stealth,font=\sffamily]"
    for role, colour in LIGHT.items():
        yield rf"\definecolor{{rollc-{role}}}{{HTML}}{{{colour[1:].upper()}}}"
    for frame in diagram.frames:
        if frame.name in layout.frames:
            yield from _frame(frame, layout.frames[frame.name], layout.labels[frame.name])
    for arrow, curve in zip(diagram.arrows, layout.curves, strict=True):
        if curve is not None:
            yield _arrow(arrow, curve)
    for box in diagram.boxes:
        yield from _box(box, layout.boxes[box.name])
    yield r"\end{tikzpicture}"


def _look(style: Style) -> str:
    parts = [f"draw=rollc-{style.line}", f"line width={style.width * 0.8:g}pt"]
    parts += [] if style.fill is None else [f"fill=rollc-{style.fill}"]
    if style.dashes:
        on, off = style.dashes.split(",")
        parts.append(f"dash pattern=on {on}pt off {off}pt")
    parts += [f"rounded corners={style.rounded:.4g}pt"] if style.rounded else []
    return ", ".join(parts)


def _rectangle(place: Rectangle, style: Style) -> str:
    corners = f"{_point((place.left, place.top))} rectangle {_point((place.right, place.bottom))}"
    return rf"\path[{_look(style)}] {corners};"


def _frame(frame: Frame, place: Rectangle, label: Point) -> Iterator[str]:
    style = frame_style(frame)
    yield _rectangle(place, style)
    yield _text(frame.label, _point(label), LABEL, style, anchor="base west")


def _box(box: Box, place: Rectangle) -> Iterator[str]:
    style = box_style(box)
    yield _rectangle(place, style)
    x, y = place.middle
    y -= sum(line.height for line in box.lines) / 2
    for line in box.lines:
        at = _point((x, y + line.height * 0.77))
        yield _text(line.text, at, SIZES[line.look], style, bold=line.look == "name")
        y += line.height


def _text(
    text: str, at: str, size: float, style: Style, anchor: str = "base", bold: bool = False
) -> str:
    font = rf"\fontsize{{{size * 0.92:.3g}}}{{{size * 1.2:.3g}}}\selectfont"
    font += r"\bfseries" if bold else ""
    options = f"inner sep=0pt, anchor={anchor}, text=rollc-{style.text}, font=\\sffamily{font}"
    return rf"\node[{options}] at {at} {{{_escaped(text)}}};"


def _arrow(arrow: Arrow, curve: Curve) -> str:
    style = arrow_style(arrow)
    start, *rest = curve.points
    path = _point(start)
    for first, second, end in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        path += f" .. controls {_point(first)} and {_point(second)} .. {_point(end)}"
    head = ""
    if arrow.head and curve.tip is not None:
        path += f" -- {_point(curve.tip)}"
        head = "->, "
    return rf"\path[{head}{_look(style)}] {path};"


def _escaped(text: str) -> str:
    """A text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _point(point: Point) -> str:
    return f"({point[0]:.1f},{point[1]:.1f})"
