"""What a spec takes, and the sizes of it that follow from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from rollc.driver.sources import read_spec
from rollc.errors import EstimatorError
from rollc.ir.graph import Graph
from rollc.ir.text import is_graph_text
from rollc.ir.traversal import needed_names
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.ast import (
    Dim,
    Expression,
    Index,
    Input,
    Name,
    Number,
    Shape,
)
from rollc.lang.syntax.parser import parse_spec
from rollc.lang.syntax.traversal import sizes_of
from rollc.network.arrays import Spec, spec_of
from rollc.support import resources

SPECS = Path(__file__).parent / "specs"
"""Those that an estimator has where none is given."""


@dataclass(frozen=True)
class Dims:
    """The sizes of a text, and what its inputs and targets are written as.

    ``numbers`` are the sizes that the text gives as numbers, and that can so be others.
    """

    names: frozenset[str]
    numbers: Mapping[str, int]
    types: Mapping[str, Shape | Index | None]

    def shape(self, slot: str) -> tuple[Expression, ...]:
        """The sizes of an input at a step; an index is one number."""
        kind = self.types.get(slot)
        return () if isinstance(kind, Index) else sizes_of(kind)

    def solved(
        self, shapes: Iterable[tuple[Expression, ...]], count: int, given: Mapping[str, int]
    ) -> dict[str, int]:
        """The one size that is not given, with which these have ``count`` numbers together; nothing
        where there is none, or more than one."""
        known, free = 0, list[str]()
        for shape in shapes:
            match shape:
                case ():
                    known += 1
                case (Number(int() as value),):
                    known += value
                case (Name(name),) if name in given:
                    known += given[name]
                case (Name(name),) if name in self.numbers:
                    free.append(name)
                case _:
                    return {}
        if len(set(free)) != 1:
            return {}
        found, rest = divmod(count - known, len(free))
        return {free[0]: found} if found > 0 and not rest else {}


@dataclass(frozen=True)
class Interface:
    """The inputs and targets of a spec, at the sizes that were given; its outputs ``read`` some."""

    text: str
    file: str
    graph: Graph
    inputs: Mapping[str, Spec]
    targets: Mapping[str, Spec]
    read: frozenset[str]
    dims: Dims

    @property
    def slots(self) -> dict[str, Spec]:
        return {**self.inputs, **self.targets}


def interface_of(spec: str | Path, sizes: Mapping[str, int]) -> Interface:
    """The interface of a spec, by its path or its name.

    Raises :class:`rollc.SpecError` where it is wrong, and :class:`EstimatorError` where its inputs
    are of several sorts of steps, or static.
    """
    text, file = text_of(spec)
    graph, _ = read_spec(text, file, sizes)
    inputs, targets = (
        {node.name: spec_of(node, "float64") for node in graph.leaves(kind)}
        for kind in ("input", "target")
    )
    if len(graph.axes) != 1:
        raise EstimatorError(f"`{graph.name}` has several time axes: an estimator takes one")
    static = [name for name, slot in inputs.items() if not slot.time]
    if static:
        raise EstimatorError(
            f"the inputs of `{graph.name}` are to be given at each step: `{static[0]}` is static"
        )
    needed = needed_names(graph, [node for _, node in graph.outputs])
    read = frozenset(needed & {*inputs, *targets})
    return Interface(text, file, graph, inputs, targets, read, dims_of(text, file))


def text_of(spec: str | Path) -> tuple[str, str]:
    """The text of a spec and its file."""
    path = resources.find_spec(str(spec))
    return resources.text_of(path), str(path)


def dims_of(text: str, file: str) -> Dims:
    """The sizes of a text; none, where it is that of a graph."""
    tree = None if is_graph_text(text) else parse_spec(Source(file, text))[0]
    if tree is None:
        return Dims(frozenset(), {}, {})
    dims = tree.of(Dim)
    return Dims(
        frozenset(dim.name.name for dim in dims),
        {
            dim.name.name: dim.value.value
            for dim in dims
            if isinstance(dim.value, Number) and isinstance(dim.value.value, int)
        },
        {each.name.name: each.type for each in tree.of(Input)},
    )


def width(slots: Iterable[Spec]) -> int:
    """The numbers of all these at a step."""
    return sum(prod(slot.shape) for slot in slots)
