"""The names of leaves that passes make, by which callers give their arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# The Greek letters that names can have: those that do not look like Latin ones.
GREEK = "αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΦΨΩ"

STATE = "state."
"""The prefix of a leaf that holds the last steps of the value whose name follows."""

REAL, IMAGINARY = "'re", "'im"
"""What follows the name of a complex value in those of its parts; no spec can name them."""

LENGTHS = "batch'lengths"  # no spec can name it


def lengths_leaves(axes: Sequence[str]) -> dict[str, str]:
    """The leaf with the lengths along each time axis of a graph."""
    if len(axes) == 1:
        return {axes[0]: LENGTHS}
    return {axis: f"{LENGTHS}.{axis}" for axis in axes}


def along(name: str, axes: Sequence[str], axis: str) -> str:
    """The name of a kernel of windows along an axis, which it has where there are several."""
    return name if len(axes) == 1 else f"{name}-{axis}"


def state_variant(axes: Sequence[str], axis: str) -> str:
    """What follows the name of a kernel that takes the state along an axis."""
    return along(".state", axes, axis)


def whole_names(names: Iterable[str]) -> dict[str, str]:
    """The complex values both of whose parts are among some names, by the names of the parts."""
    known = set(names)
    return {
        name: name.removesuffix(part)
        for name in known
        for part, other in ((REAL, IMAGINARY), (IMAGINARY, REAL))
        if name.endswith(part) and name.removesuffix(part) + other in known
    }
