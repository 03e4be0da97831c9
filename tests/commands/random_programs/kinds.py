"""Of what kind and shape a value is that no text declares, found as the reference says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.operations import (
    COMPARISONS,
    CONNECTIVES,
    ELEMENTWISE,
    OTHERS,
)

SLOPED = "sloped"  # a call that no spec can write: a value, then slopes, then their arguments
ENDS = ("first", "last")
SAME = (*ENDS, "along", "identity", "stop", "dropout", "inverse", "cholesky")
ON_VECTORS = ("softmax", "log_softmax", "logsumexp", "prod", "norm", "argmax", "layer_norm")
ON_VECTORS += ("cumsum", "cumprod", "sort", "argsort", "top_k")  # alone: else with a dimension
REAL = ("real", "imag", "abs", "angle")
DTYPES = {
    "float": torch.float64,
    "complex": torch.complex128,
    "index": torch.int64,
    "bool": torch.bool,
}


@dataclass(frozen=True)
class Kind:
    """``float``, ``complex``, ``index`` or ``bool``; the shape; of an index, its values."""

    name: str
    shape: tuple[int, ...] = ()
    bound: int = 0

    def zeros(self) -> Tensor:
        return torch.zeros(self.shape, dtype=DTYPES[self.name])

    @property
    def number(self) -> Kind:
        """What it is in arithmetic."""
        return Kind("float", self.shape) if self.name == "bool" else self


Reader = Callable[[str], Kind | None]


def kind_of(expression: Expression, read: Reader, sure: bool = False) -> Kind | None:
    """The kind of an expression; None where it is not known yet what it reads.

    Elementwise operations have the least shape that what is known of their operands broadcasts to;
    if it is to be ``sure``, numbers tell nothing of the others.
    """
    match expression:
        case Number():
            return Kind("float")
        case Name(name):
            return read(name)
        case la.Part(operand, places):
            whole = kind_of(operand, read, sure)
            if whole is None:
                return None
            own = tuple(_place(place, read, sure) for place in places)
            shape = tuple(whole.zeros()[own].shape)
            if 0 in shape:
                raise IndexError("no elements")
            return replace(whole.number, shape=shape)
    assert isinstance(expression, Call)
    return _of_call(expression, read, sure)


def _of_call(call: Call, read: Reader, sure: bool) -> Kind | None:
    function, options = call.function, dict(call.options)
    kinds = [kind_of(operand, read, sure) for operand in call.operands]
    axis = options.get("axis")
    if function in SAME:
        kept = function in (*ENDS, "along", "identity")
        return kinds[0] if kept or kinds[0] is None else kinds[0].number
    if function in ("any", "all", "count"):
        sort = "float" if function == "count" else "bool"
        if kinds[0] is None or (axis is None and call.over is None):
            return Kind(sort)
        shape = kinds[0].shape if call.over is not None else _without(kinds[0].shape, int(axis))
        return Kind(sort, shape)
    if call.over is not None:
        return None if kinds[0] is None else kinds[0].number
    if function in COMPARISONS or function in CONNECTIVES:
        found = _broadcast(kinds, sure)
        return None if found is None else Kind("bool", found.shape)
    if function == "where":
        branches = [kind for kind in kinds[1:] if kind is not None]
        found = _broadcast(kinds, sure)
        if found is not None and branches and all(kind.name == "index" for kind in branches):
            return Kind("index", found.shape, max(kind.bound for kind in branches))
        return found if found is None or branches else None
    if function == SLOPED or function in ELEMENTWISE:
        found = _broadcast(kinds, sure)
        if found is None or (function not in REAL and function != "complex"):
            return found
        return Kind("complex" if function == "complex" else "float", found.shape)
    if any(kind is None for kind in kinds):
        return None
    return _settled(function, call, [kind for kind in kinds if kind is not None])


def _settled(function: str, call: Call, kinds: list[Kind]) -> Kind:
    """Of an operation whose operands are known."""
    options, first = dict(call.options), kinds[0] if kinds else Kind("float")
    match function:
        case "dot" | "outer" if any(len(kind.shape) != 1 for kind in kinds):
            raise IndexError(function)
        case _ if function in ON_VECTORS and "axis" not in options and len(first.shape) != 1:
            raise IndexError(function)
        case "dot" if kinds[0].shape != kinds[1].shape:
            raise IndexError(function)
        case "argmax":
            axis = int(options.get("axis", -1))
            return Kind("index", _without(first.shape, axis), first.shape[axis])
        case "sample":
            return Kind("index", (), first.shape[0])
        case "embed":
            return Kind(first.name, first.shape[1:])
        case "one_hot":
            return Kind("float", (int(options.get("size", 0)) or first.bound,))
        case "cross_entropy":
            return Kind("float")
        case "grad":
            return kinds[1]
        case "jacobian":
            return Kind("float", (*first.shape, *kinds[1].shape))
        case "piece":
            axis, shape = int(options["axis"]), [*first.shape]
            shape[axis] //= int(options["count"])
            return replace(first.number, shape=tuple(shape))
    if function.startswith("einsum "):
        return _summed(function.removeprefix("einsum "), kinds)
    given = [
        constant(operand)
        if kind == Kind("float") and _is_constant(operand)
        else kind.number.zeros()
        for operand, kind in zip(call.operands, kinds, strict=True)
    ]
    if function == "shift" and abs(int(given[1])) >= first.shape[int(options.get("axis", 0))]:
        raise IndexError("nothing would be left")
    found = OTHERS[function](options, *given)
    return Kind("complex" if found.is_complex() else "float", tuple(found.shape))


def _summed(subscripts: str, kinds: list[Kind]) -> Kind:
    letters, _, kept = subscripts.partition("->")
    sizes: dict[str, int] = {}
    for own, kind in zip(letters.split(","), kinds, strict=True):
        if len(own) != len(kind.shape):
            raise IndexError(subscripts)
        for letter, size in zip(own, kind.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise IndexError(subscripts)
    sort = "complex" if any(kind.name == "complex" for kind in kinds) else "float"
    return Kind(sort, tuple(sizes[letter] for letter in kept))


def _is_constant(expression: Expression) -> bool:
    return all(isinstance(part, Number | Call) for part in la.walk(expression))


def constant(expression: Expression) -> Tensor:
    match expression:
        case Number(value):
            return torch.tensor(value, dtype=torch.float64)
        case Call(function, operands) if function in ELEMENTWISE:
            return ELEMENTWISE[function](*map(constant, operands))
    return torch.tensor(1.0, dtype=torch.float64)


def _broadcast(kinds: list[Kind | None], sure: bool = False) -> Kind | None:
    known = [kind for kind in kinds if kind is not None]
    if not known or (sure and len(known) < len(kinds) and not any(kind.shape for kind in known)):
        return None
    shape: tuple[int, ...] = ()
    for kind in known:
        if kind.shape and kind.shape != shape:
            shape = kind.shape if not shape else tuple(torch.broadcast_shapes(shape, kind.shape))
    return Kind("complex" if any(kind.name == "complex" for kind in known) else "float", shape)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    left = [*shape]
    del left[axis]
    return tuple(left)


def _place(place: Expression | la.Span | None, read: Reader, sure: bool) -> object:
    """Places of the shape that chooses, where that is computed."""
    match place:
        case None:
            return ...
        case la.Span(start, stop):
            return slice(*(end and int(end.value) for end in (start, stop)))
        case Number(value):
            return int(value)
    kind = kind_of(place, read, sure)
    return 0 if kind is None else torch.zeros(kind.shape, dtype=torch.int64)


def fill(
    read: Reader, named: Callable[[str], str], values: Mapping[str, list[Expression]]
) -> dict[str, Kind]:
    """The kinds of some values, from what each is defined and started by: the least that fit.

    ``read`` knows all others; ``named`` is what a name stands for.
    """
    found: dict[str, Kind] = {}

    def known(name: str) -> Kind | None:
        name = named(name)
        return found.get(name) if name in values else read(name)

    def one(name: str, sure: bool) -> Kind | None:
        each = [kind_of(expression, known, sure) for expression in values[name]]
        if each[0] is None:
            return each[1] if each[1:] else None
        return each[0] if len(each) == 1 else _started(each)

    order = list(values)[::-1]  # what is read mostly stands behind what reads it
    for sure in (True, False):
        changed = True
        while changed:
            changed = False
            for name in order:
                try:
                    kind = one(name, sure)
                except (RuntimeError, IndexError):  # what it reads may still become larger
                    continue
                if kind is not None and found.get(name) != kind:
                    found[name], changed = kind, True
        if len(found) == len(values):
            break
    for name in order:
        one(name, False)
    return found


def _started(kinds: list[Kind | None]) -> Kind | None:
    """With an initial value, which can have a row for each step."""
    first, *starts = kinds
    assert first is not None
    if first.name in ("index", "bool"):
        return first
    shorter = [kind for kind in starts if kind is not None and len(kind.shape) <= len(first.shape)]
    return _broadcast([first, *shorter])
