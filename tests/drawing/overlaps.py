"""What lies on what in a picture: boxes on boxes, and arrows on labels or through boxes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"
_APART = 1.0  # points, that lines may touch


@dataclass(frozen=True)
class Rectangle:
    name: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Rectangle) -> bool:
        across = self.left < other.right - _APART and other.left < self.right - _APART
        return across and self.top < other.bottom - _APART and other.top < self.bottom - _APART

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside = (x > self.left + _APART) & (x < self.right - _APART)
        return inside & (y > self.top + _APART) & (y < self.bottom - _APART)


def _numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def rectangles(root: ElementTree.Element, sort: str) -> list[Rectangle]:
    found = []
    for group in root.iter(f"{SVG}g"):
        if group.attrib["class"].split()[0] == sort:
            rectangle = group.find(f"{SVG}rect")
            assert rectangle is not None
            x, y, width, height = _numbers(rectangle, "x", "y", "width", "height")
            found.append(Rectangle(group.attrib["data-name"], x, y, x + width, y + height))
    return found


def labels(root: ElementTree.Element) -> list[Rectangle]:
    """Of frames: those of boxes are in them."""
    found = []
    for group in root.iter(f"{SVG}g"):
        if group.attrib["class"].split()[0] == "frame":
            text = group.find(f"{SVG}text")
            assert text is not None and text.text is not None
            x, y, size = _numbers(text, "x", "y", "font-size")
            found.append(
                Rectangle(text.text, x, y - 0.75 * size, x + 0.5 * size * len(text.text), y)
            )
    return found


def curves(root: ElementTree.Element) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The name of each arrow, and points on it."""
    found = []
    share = np.linspace(0, 1, 24)[:, None]
    for group in root.iter(f"{SVG}g"):
        if group.attrib["class"].split()[0] != "arrow":
            continue
        path, title = group.find(f"{SVG}path"), group.find(f"{SVG}title")
        assert path is not None and title is not None and title.text is not None
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
        points = np.array(numbers).reshape(-1, 2)
        parts = []
        for start in range(0, len(points) - 1, 3):
            a, b, c, d = points[start : start + 4]
            left = 1 - share
            parts.append(
                a * left**3 + 3 * b * share * left**2 + 3 * c * share**2 * left + d * share**3
            )
        line = np.concatenate(parts)
        found.append((title.text, line[:, 0], line[:, 1]))
    return found


def flaws(svg: str) -> list[str]:
    """What overlaps in a picture, in words."""
    root = ElementTree.fromstring(svg)
    boxes, named, lines = rectangles(root, "box"), labels(root), curves(root)
    found = [
        f"{one.name} on {other.name}"
        for number, one in enumerate(boxes)
        for other in (*boxes[:number], *named)
        if one.meets(other)
    ]
    for title, x, y in lines:
        ends = title.split(" → ")
        for box in boxes:
            if box.name not in ends and box.holds(x, y).any():
                found.append(f"{title} through {box.name}")
        found += [
            f"{title} on the label {label.name}" for label in named if label.holds(x, y).any()
        ]
    return found
