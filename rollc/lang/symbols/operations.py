"""The operations of a spec: those of a graph, those of complex numbers, and forms of others.

A graph has none of the latter.  :mod:`rollc.lang.pairs` puts operations on real and imaginary parts
in the place of those of complex numbers, whose shapes are those of elementwise operations;
:mod:`rollc.lang.symbols.forms` says what is in the place of forms.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import NoReturn, cast

from rollc.ir.operations import OPERATIONS as OF_GRAPHS
from rollc.ir.operations import Operation
from rollc.ir.operations.elementwise.arithmetic import infer_numeric
from rollc.lang.symbols.forms import FORMS


def _never(*_: object) -> NoReturn:
    raise AssertionError("an operation that no graph has")


def _elementwise(name: str, operands: tuple[str, ...], summary: str) -> Operation:
    return Operation(name, operands, infer_numeric, _never, elementwise=True, summary=summary)


COMPLEX = {
    entry.name: entry
    for entry in (
        _elementwise("complex", ("a", "b"), "a + bi, of two real values"),
        _elementwise("real", ("z",), "the real part"),
        _elementwise("imag", ("z",), "the imaginary part"),
        _elementwise("conj", ("z",), "the conjugate: the imaginary part negated"),
        _elementwise("angle", ("z",), "the angle in radians, from -pi to pi; of 0 it is 0"),
    )
}

# A view: what is added to the table of graphs is an operation of specs too.
OPERATIONS: Mapping[str, Operation] = ChainMap(
    {**COMPLEX, **FORMS}, cast("dict[str, Operation]", OF_GRAPHS)
)
