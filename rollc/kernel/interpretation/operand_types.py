"""Type inference for the assignments of a program, which have neither kinds nor axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollc.ir.graph import Attribute, Kind, Type
from rollc.ir.operations import OPERATIONS, TypeMismatch

_LITERALS: tuple[Kind, ...] = ("float", "index")


def value_type(kind: Kind, shape: tuple[int, ...], axes: tuple[str, ...]) -> Type:
    """The type of an operand; a program has no bounds of indices."""
    return Type(kind, shape, axes, 1 if kind == "index" else None)


def typed(
    operation: str, options: Mapping[str, Attribute], operands: Sequence[Type | None]
) -> tuple[Type, Kind]:
    """The type of a result, and the kind of the operands that are literal numbers (None).

    A literal is an index where the operation takes one.  Raises :class:`TypeMismatch`.
    """
    for kind in _LITERALS:
        literal = value_type(kind, (), ())
        types = [literal if type_ is None else type_ for type_ in operands]
        try:
            found = OPERATIONS[operation].infer(types, options)
        except TypeMismatch:
            if kind == _LITERALS[-1] or None not in operands:
                raise
            continue
        assert found is not None  # all types are known
        return found, kind
    raise AssertionError
