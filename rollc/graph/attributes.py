"""Which attributes a node may have, and which values they may take.

Graphs come from text that people edit, so nothing about an attribute is taken for granted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rollc.graph.graph import Attribute

LARGEST = 2**31  # elements of one value
MOST_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be: a test, and its words."""

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


def _axes(value: Attribute) -> bool:
    if not isinstance(value, tuple) or not value:
        return False
    names = [name for name in value if isinstance(name, str)]
    return len(names) == len(value) == len(set(names))


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
DIMENSION = _whole(0, MOST_DIMENSIONS - 1, "a dimension, counted from 0")
DIMENSION_OR_ALL = _whole(-1, MOST_DIMENSIONS - 1, "a dimension, counted from 0")
PLACE = _whole(0, LARGEST, "a whole number from 0 on")
SIZE = _whole(1, LARGEST, "a positive whole number")
SHAPE = Rule("positive sizes", _sizes)
AXES = Rule("axes, each once", _axes)
AXIS = Rule("the name of an axis", lambda value: isinstance(value, str))
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

REQUIRED: Mapping[str, Mapping[str, Rule]] = {
    "constant": {"value": REAL},
    "embed_adjoint": {"rows": SIZE},
    "slice": {"start": PLACE, "stop": PLACE},
    "pad": {"start": PLACE, "size": SIZE},
    "row": {"at": PLACE},
    "repeat": {"axis": DIMENSION, "size": SIZE},
    "fill": {"shape": SHAPE},
    "zero": {"shape": SHAPE},
    **{name: {"epsilon": NOT_NEGATIVE} for name in ("layer_norm", "normalise", "deviation")},
    **{f"{name}_over": {"over": AXES} for name in ("sum", "mean", "max", "min", "softmax")},
    **{name: {"axis": AXIS} for name in ("first", "last", "spread", "extent", "step")},
    **{name: {"axis": AXIS} for name in ("tail", "tail_steps", "tail_start")},
    "impulse": {"axis": AXIS, "at": END},
    "place": {"axis": AXIS, "start": PLACE, "size": SIZE, "divide": SIZE, "modulo": SIZE},
    "at": {"shape": SHAPE},
    "dropout": {"rate": RATE},
}
OPTIONAL: Mapping[str, Mapping[str, Rule]] = {
    "matmul": {"transpose_a": FLAG, "transpose_b": FLAG},
    "outer": {"over": AXES},
    "embed_adjoint": {"over": AXES},
    "one_hot": {"size": PLACE},
    "step": {"shift": PLACE, "period": SIZE},
    "dropout": {"same": SWITCH},
    **{name: {"axis": DIMENSION_OR_ALL} for name in ("sum", "mean", "max", "min")},
    **{name: {"axis": DIMENSION} for name in ("concat", "slice", "pad")},
    # The step of what an unrolled leaf is.
    **{name: {"of": NAME, "step": PLACE} for name in ("input", "target", "cotangent", "state")},
    "noise": {"of": NAME, "step": PLACE, "rate": RATE},
}
# The numbers that each way to initialise a parameter needs.
INITIALISERS: Mapping[str, Mapping[str, Rule]] = {
    "glorot": {},
    "orthogonal": {},
    "zeros": {},
    "identity": {},
    "number": {"value": FINITE},
    "normal": {"scale": NOT_NEGATIVE},
    "uniform": {"low": FINITE, "high": FINITE},
}


def attribute_flaw(operation: str, name: str, value: Attribute) -> str | None:
    """What an attribute must be, in words, where its value is not that."""
    rule = {**REQUIRED.get(operation, {}), **OPTIONAL.get(operation, {})}.get(name)
    if rule is None:
        return None
    return None if rule.holds(value) else rule.words


def attribute_flaws(operation: str, options: Mapping[str, Attribute]) -> list[str]:
    """Everything that is wrong with the attributes of a node."""
    required = dict(REQUIRED.get(operation, {}))
    if operation == "param":
        initialiser = options.get("initialiser")
        if not isinstance(initialiser, str) or initialiser not in INITIALISERS:
            return [f"the attribute `initialiser` must be one of {', '.join(INITIALISERS)}"]
        required.update(INITIALISERS[initialiser])
    optional = dict(OPTIONAL.get(operation, {}))
    free = {"initialiser"} if operation == "param" else set[str]()
    flaws = [f"the attribute `{name}` is missing" for name in required if name not in options]
    for name, value in options.items():
        rule = required.get(name) or optional.get(name)
        if rule is None:
            if name not in free:
                flaws.append(f"`{operation}` has no attribute `{name}`")
        elif not rule.holds(value):
            flaws.append(f"the attribute `{name}` must be {rule.words}")
    return flaws
