"""What a caller most likely did where an array does not fit, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wanted = Sequence[int | None]  # a shape; None is any number


def in_order(found: Sequence[int], wanted: Wanted) -> str:
    """The order of dimensions that fits, as of an array with time last; empty if there is none."""
    count = len(wanted)
    if len(found) != count or not 2 <= count <= 5:
        return ""
    orders: Iterable[tuple[int, ...]] = permutations(range(count))
    first = ""
    if None in wanted:  # which of the others is the batch cannot be told
        orders, first = [(count - 1, *range(count - 1))], "time comes first: "
    for order in orders:
        fits = (size in (None, found[place]) for size, place in zip(wanted, order, strict=True))
        if all(fits):
            return f"; {first}`np.transpose(array, {order})` has this order"
    return ""


def of_classes(found: Sequence[int], expected: Sequence[int], bound: int | None) -> str:
    """One-hot rows in the place of an index."""
    if tuple(found) != (*expected, bound):
        return ""
    return "; of one-hot rows give the places: `array.argmax(-1)`"


def of_integers(array: NDArray[Any]) -> str:
    """What to do with an index that is no integer."""
    whole = np.isfinite(array) & (np.floor(array) == array)
    if whole.all():
        return "; they are whole: give `array.astype(int)`"
    return f"; {array[~whole][0]:g} is no class"


def of_range(low: int, high: int, bound: int) -> str:
    """Classes that are counted from 1."""
    return "; classes are counted from 0: give `array - 1`" if low >= 1 and high == bound else ""


def of_sizes(dims: Iterable[tuple[str, int]], wanted: Sequence[int], found: Sequence[int]) -> str:
    """The sizes that a network was built with, if the array is of one with others."""
    if len(wanted) != len(found):
        return ""
    others: Mapping[int, int] = {
        ours: theirs for ours, theirs in zip(wanted, found, strict=True) if ours != theirs
    }
    sets = [f"{name}={others[size]}" for name, size in dims if size in others]
    if not sets:
        return ""
    said = " or ".join(f"`--set {pair}`" for pair in sets)
    return f"; a network of the array's size is built with {said}"
