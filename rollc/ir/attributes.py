"""Constraints on the attributes of nodes: each a predicate, and the words for messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rollc.ir.graph import Attribute

LARGEST = 2**31  # elements of one value
MOST_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint on an attribute: ``holds`` tests a value, ``words`` complete "must be …"."""

    words: str
    holds: Callable[[Attribute], bool]


def _whole(low: int, high: int, words: str) -> Rule:
    return Rule(
        words,
        lambda value: (
            isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def _sizes(value: Attribute) -> bool:
    if not isinstance(value, tuple) or len(value) > MOST_DIMENSIONS:
        return False
    sizes = [size for size in value if isinstance(size, int) and not isinstance(size, bool)]
    return (
        len(sizes) == len(value)
        and all(0 < size <= LARGEST for size in sizes)
        and math.prod(sizes) <= LARGEST
    )


def _step(value: Attribute) -> bool:
    steps = value if isinstance(value, tuple) else (value,)
    return len(steps) in (1, 2) and all(COUNT.holds(step) for step in steps)


def _order(value: Attribute) -> bool:
    if not isinstance(value, tuple) or len(value) > MOST_DIMENSIONS:
        return False
    places = [place for place in value if isinstance(place, int) and not isinstance(place, bool)]
    return len(places) == len(value) and sorted(places) == [*range(len(value))]


def _axes(value: Attribute) -> bool:
    if not isinstance(value, tuple) or not value:
        return False
    names = [name for name in value if isinstance(name, str)]
    return len(names) == len(value) == len(set(names))


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
DIMENSION = _whole(0, MOST_DIMENSIONS - 1, "a dimension, counted from 0")
DIMENSION_OR_ALL = _whole(-1, MOST_DIMENSIONS - 1, "a dimension, counted from 0")
COUNT = _whole(0, LARGEST, "a whole number from 0 on")
STEP = Rule("a step, or one along each of two axes", _step)
WHOLE = _whole(-LARGEST, LARGEST, "a whole number")
SIZE = _whole(1, LARGEST, "a positive whole number")
SHAPE = Rule("positive sizes", _sizes)
ORDER = Rule("the dimensions, each once", _order)
AXES = Rule("axes, each once", _axes)
AXIS = Rule("the name of an axis", lambda value: isinstance(value, str))  # of time
ANY_AXIS = Rule("the name of an axis", lambda value: isinstance(value, str))  # or the batch
NAME = Rule("a name", lambda value: isinstance(value, str))
END = Rule("`first` or `last`", lambda value: value in ("first", "last"))
REAL = Rule("a number", lambda value: isinstance(value, float))
FINITE = Rule("a finite number", lambda value: isinstance(value, float) and math.isfinite(value))
NOT_NEGATIVE = Rule(
    "a finite number, not negative",
    lambda value: isinstance(value, float) and math.isfinite(value) and value >= 0,
)
RATE = Rule(
    "a number from 0 on and below 1", lambda value: isinstance(value, float) and 0 <= value < 1
)
SWITCH = _whole(0, 1, "0 or 1")

# The attributes that each initialiser of a parameter needs.
INITIALISERS: Mapping[str, Mapping[str, Rule]] = {
    "glorot": {},
    "orthogonal": {},
    "zeros": {},
    "identity": {},
    "number": {"value": FINITE},
    "normal": {"scale": NOT_NEGATIVE},
    "uniform": {"low": FINITE, "high": FINITE},
    "computed": {},  # and `values`: see `operations/initial_values.py`
}
