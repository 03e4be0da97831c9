"""What a cell of the library takes and gives, found by trial: its text says no types."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tests.commands.random_programs import language as la
from tests.commands.random_programs.expand import expand
from tests.commands.random_programs.kinds import Kind, kind_of
from tests.commands.random_programs.language import Call, Expression, Float, Name, Number
from tests.commands.random_programs.library import files_of_cells, library, texts

Shapes = tuple[tuple[int, ...], ...]
Sizes = tuple[tuple[str, float], ...]
Words = tuple[tuple[str, float], ...]

PRIMES = (7, 11, 13, 17, 19, 23)
MOST = 32  # elements of a result


@dataclass(frozen=True)
class Signature:
    """``ranks`` are the dimensions that its inputs can have, all together.

    The first result is as long as the size ``first``, or is ``as_input``, if the one input is a
    vector; ``delayed`` are inputs that are read with a delay, and with ``own_start`` nothing can be
    said outside of what the first result starts from.
    """

    cell: la.Cell
    ranks: tuple[tuple[int, ...], ...]
    first: str | None
    as_input: bool
    delayed: frozenset[str]
    inner: bool  # there are cells in it
    own_start: bool
    whole: bool  # its first result is complex
    size: float  # a bound of what it gives


@cache
def results(name: str, shapes: Shapes, sizes: Sizes, words: Words = ()) -> tuple[Kind, ...] | None:
    """What a use gives for inputs of some shapes; None if they do not fit."""
    cell = texts(files_of_cells()[name]).cells[name]
    if not all(isinstance(size, int) or size > 0 for _, size in sizes):
        return None
    types = tuple(Float(tuple(map(Number, shape))) for shape in shapes)
    given = tuple(map(la.Input, cell.inputs, types))
    call = Call(
        name,
        tuple(map(Name, cell.inputs)),
        over="t",
        sizes=tuple((size, Number(value)) for size, value in sizes),
        types=types,
        words=words,
    )
    names = tuple(f"result{place}" for place in range(len(cell.results)))
    equation = la.Equation(names, call, (None,) * len(names))
    program = la.Program((library(files_of_cells()[name]), *given, equation))
    try:
        found = expand(program, "taught", {})
        kinds = tuple(found.kinds[found.named(each)] for each in names)
        known = {**found.kinds, **found.arguments}
        for value in found.values.values():  # what is declared is right
            own = kind_of(value.expression, lambda name: known.get(found.named(name)))
            if own is not None and value.kind and not value.part and own.shape != value.kind.shape:
                return None
    except (RuntimeError, IndexError, ValueError, KeyError):  # they do not fit
        return None
    if shapes and "residual" in dict(words) and kinds[0].shape != shapes[0]:
        return None
    return kinds


def is_size(default: Expression | None) -> bool:
    """Whether something is a size, and no number that is used as such."""
    return not isinstance(default, Number) or isinstance(default.value, int)


@cache
def signature(name: str) -> Signature | None:
    """That of a cell; None where no inputs fit."""
    cells = texts(files_of_cells()[name]).cells
    cell = cells[name]
    needed = [size for size, default in cell.sizes if is_size(default)]
    count = len(cell.inputs)
    orders = itertools.product((1, 0, 2, 3), repeat=count)
    twos = tuple((size, 2) for size in needed)
    ranks = tuple(
        ranks
        for ranks in orders
        if results(name, tuple((2, 2, 2)[:rank] for rank in ranks), twos) is not None
    )
    if not ranks:
        return None
    known = results(name, tuple((2, 2, 2)[:rank] for rank in ranks[0]), twos)
    assert known is not None
    probe = tuple(zip(needed, PRIMES, strict=False))
    kinds = results(name, (((5,), *((),) * (count - 1)))[:count], probe)
    lengths = {value: size for size, value in probe}
    length = kinds[0].shape[0] if kinds is not None and len(kinds[0].shape) == 1 else 0
    return Signature(
        cell,
        ranks,
        lengths.get(length),
        length == 5,
        _delayed_inputs(cell),
        any(isinstance(part, Call) and part.function in cells for part in _expressions(cell)),
        _has_own_start(cell),
        known[0].name == "complex",
        _bound(cell),
    )


def _expressions(cell: la.Cell) -> list[Expression]:
    every = [value for part in cell.body for value in la.expressions(part)]
    return [inner for value in every for inner in la.walk(value)]


def _delayed_inputs(cell: la.Cell) -> frozenset[str]:
    """Those that are read with a delay: all, if a cell in it reads what it computes of them so."""
    cells = texts(files_of_cells()[cell.name]).cells
    inner = [part.function for part in _expressions(cell) if isinstance(part, Call)]
    if any(_delayed_inputs(cells[name]) for name in inner if name in cells):
        return frozenset(cell.inputs)
    return frozenset(_read_with_a_delay(cell).intersection(cell.inputs))


def _read_with_a_delay(cell: la.Cell) -> set[str]:
    return {part.name for part in _expressions(cell) if isinstance(part, Name) and part.delays}


def _has_own_start(cell: la.Cell) -> bool:
    """Whether its first result has an initial value, or needs none."""
    first = cell.results[0]
    if first not in _read_with_a_delay(cell):
        return True
    return any(isinstance(part, la.Init) and part.name == first for part in cell.body)


def _bound(cell: la.Cell) -> float:
    """Of its results: what starts far from zero stays there for a while."""
    starts = [part.value for part in cell.body if isinstance(part, la.Init)]
    defaults: Mapping[str, Expression | None] = dict(cell.sizes)
    far = [
        defaults.get(part.name) if isinstance(part, Name) else part
        for value in starts
        for part in la.walk(value)
    ]
    far += [each.operands[0] for each in far if isinstance(each, Call) and each.function == "neg"]
    large = any(isinstance(each, Number) and abs(each.value) > 10 for each in far)
    return 100.0 if large else 3.0
