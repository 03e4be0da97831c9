"""The layout of a diagram by Graphviz."""

from __future__ import annotations

import json
from typing import Any

from rollc.drawing import graphviz
from rollc.drawing.diagram import Diagram
from rollc.drawing.formats.dot import LABEL_OF, POINTS, print_dot
from rollc.drawing.labels import label_places
from rollc.drawing.places import Curve, Layout, Point, Rectangle


def lay_out(diagram: Diagram) -> Layout:
    """The places of a diagram.  Raises :class:`InputError` where there is no Graphviz."""
    found: dict[str, Any] = json.loads(graphviz.run(print_dot(diagram), "json0"))
    left, bottom, right, top = map(float, found["bb"].split(","))

    def point(text: str) -> Point:
        x, y = text.split(",")
        return float(x) - left, top - float(y)

    sizes = {box.name: (box.width, box.height) for box in diagram.boxes}
    boxes: dict[str, Rectangle] = {}
    frames: dict[str, Rectangle] = {}
    labels: dict[str, Point] = {}
    for thing in found.get("objects", ()):
        name = thing["name"]
        if name in sizes and "pos" in thing:
            (x, y), (width, height) = point(thing["pos"]), sizes[name]
            boxes[name] = Rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif name.startswith(LABEL_OF) and "pos" in thing:
            x, y = point(thing["pos"])
            frame = name.removeprefix(LABEL_OF)
            labels[frame] = x - float(thing["width"]) * POINTS / 2 + 3, y + 4
        elif name.startswith("cluster ") and "bb" in thing:
            x0, y0, x1, y1 = map(float, thing["bb"].split(","))
            frames[name.removeprefix("cluster ")] = Rectangle(
                x0 - left, top - y1, x1 - left, top - y0
            )
    curves: list[Curve | None] = [None] * len(diagram.arrows)
    for edge in found.get("edges", ()):
        if "pos" in edge:
            curves[int(edge["id"][1:])] = _curve(edge["pos"], point)
    for number, arrow in enumerate(diagram.arrows):
        if arrow.look == "order":
            curves[number] = None
    labels = label_places(diagram, boxes, frames, curves) | labels
    return Layout(right - left, top - bottom, boxes, frames, tuple(curves), labels)


def _curve(text: str, point: Any) -> Curve:
    tip = None
    points = []
    for part in text.split(";")[0].split():
        if part.startswith(("e,", "s,")):
            tip = point(part[2:])
        else:
            points.append(point(part))
    if tip is not None and text.startswith("s,"):
        points.reverse()
    return Curve(tuple(points), tip)
