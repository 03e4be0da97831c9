"""Initial values of a parameter that are computed: an expression in postfix order.

Its words are numbers, elementwise operations, ``range`` (0, 1 … along the last dimension), and the
draws ``uniform`` and ``normal``, of the parameter's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import Shape, Type
from rollc.ir.operations import OPERATIONS, Frame

RANGE, UNIFORM, NORMAL = "range", "uniform", "normal"
DRAWS = {UNIFORM: 2, NORMAL: 1}
MOST_WORDS = 1000


def elementwise(name: str) -> bool:
    """Whether an operation computes real numbers, one at a time."""
    entry = OPERATIONS.get(name)
    known = entry is not None and entry.elementwise and not entry.allowed and not entry.required
    return known and entry is not None and entry.gives == "float" and not entry.internal


def takes(word: str) -> int | None:
    """The number of values that a word takes; None where it is none."""
    if word in DRAWS:
        return DRAWS[word]
    if elementwise(word):
        return len(OPERATIONS[word].operands)
    with suppress(ValueError):
        return 0 if word == RANGE or np.isfinite(float(word)) else None
    return None


def is_expression(words: object) -> bool:
    """Whether words are an expression of one value."""
    if not isinstance(words, tuple) or not 0 < len(words) <= MOST_WORDS:
        return False
    depth = 0
    for word in words:
        count = takes(word) if isinstance(word, str) else None
        if count is None or count > depth:
            return False
        depth += 1 - count
    return depth == 1


def computed(words: Sequence[str], shape: Shape, random: np.random.Generator) -> NDArray[Any]:
    """The values; raises :class:`ValueError` where a bound of a draw is none."""
    frame = Frame((), {}, np.dtype(np.float64), Type("float", shape))
    stack: list[NDArray[Any]] = []
    with np.errstate(all="ignore"):
        for word in words:
            count = takes(word)
            assert count is not None, word
            operands = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            if word == RANGE:
                found = np.arange(shape[-1], dtype=np.float64)
            elif word == UNIFORM:
                found = random.uniform(operands[0], operands[1], shape)
            elif word == NORMAL:
                found = random.normal(0.0, operands[0], shape)
            elif count:
                found = OPERATIONS[word].evaluate(frame, {}, *operands)
            else:
                found = np.asarray(float(word))
            stack.append(np.asarray(found))
    return np.broadcast_to(stack[0], shape)
