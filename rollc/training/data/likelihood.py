"""A loss that is the likelihood of a normal distribution: the variance that it gives the data.

Minus its logarithm is ``d * d / (2 v) + log(v) / 2``, times any number, where ``d`` is a difference
from the data.  It is found in the graph of the loss, however it was written: with the variance, the
deviation or a logarithm of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import Graph, Node
from rollc.ir.traversal import in_step_order, needed_names

Array = NDArray[Any]

_LONGEST = 200  # operations of a formula


@dataclass(frozen=True)
class Variance:
    """``scale`` times the powers of some nodes, times the exponentials of multiples of others."""

    scale: float
    powers: Mapping[str, float] = field(hash=False)
    exponents: Mapping[str, float] = field(hash=False)

    @property
    def nodes(self) -> set[str]:
        return {*self.powers, *self.exponents}

    def of(self, values: Mapping[str, Array]) -> Array:
        """The variance, from the values of its nodes."""
        found: Any = self.scale
        for name, power in self.powers.items():
            found = found * np.asarray(values[name], np.float64) ** power
        for name, factor in self.exponents.items():
            found = found * np.exp(factor * np.asarray(values[name], np.float64))
        return np.asarray(found)


@dataclass
class _Term:
    """A number times powers of nodes and exponentials of multiples of others."""

    factor: float = 1.0
    powers: dict[str, float] = field(default_factory=dict)
    exponents: dict[str, float] = field(default_factory=dict)

    def times(self, other: _Term, power: float = 1.0) -> _Term:
        def sum_(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
            every = {**one, **{name: one.get(name, 0) + power * n for name, n in two.items()}}
            return {name: number for name, number in every.items() if number}

        return _Term(
            self.factor * other.factor**power,
            sum_(self.powers, other.powers),
            sum_(self.exponents, other.exponents),
        )


def variance_of(graph: Graph, difference: str) -> Variance | None:
    """The variance of what a difference is taken from, in terms of outputs and other nodes; None
    where the loss is no such likelihood."""
    atoms = frozenset(node for _, node in graph.outputs)
    assert graph.loss is not None
    behind, needed = {difference}, needed_names(graph, [graph.loss])
    for node in in_step_order(graph.nodes):
        if node.name not in needed:
            continue
        if any(edge.source in behind and not edge.delay for edge in node.operands):
            behind.add(node.name)
            if node.operation in ("add", "subtract", "negate", "multiply"):
                sums = _Sums(graph, atoms, difference)
                found = _variance(sums, list(sums.terms(node.name, 1.0)), difference)
                if found is not None:
                    return found
    return None


def _variance(sums: _Sums, terms: list[_Term], difference: str) -> Variance | None:
    squares = [term for term in terms if term.powers.get(difference) == 2]
    if len(squares) != 1 or squares[0].factor <= 0:
        return None
    (square,) = squares
    powers = {name: -power for name, power in square.powers.items() if name != difference}
    exponents = {name: -factor for name, factor in square.exponents.items()}
    logarithms = sums.logarithms(terms)
    # The logarithm of the variance, by the same number as the square: that of each of its factors.
    weights = [logarithms.get(("log", name), 0) / power for name, power in powers.items()]
    weights += [logarithms.get(("", name), 0) / factor for name, factor in exponents.items()]
    if not weights or weights[0] <= 0 or not all(isclose(each, weights[0]) for each in weights):
        return None
    return Variance(weights[0] / square.factor, powers, exponents)


@dataclass(frozen=True)
class _Sums:
    """Nodes as sums of products, of nodes that are ``atoms`` or are none themselves.

    What is the ``difference`` written again, or with the other sign, counts as it.
    """

    graph: Graph
    atoms: frozenset[str]
    difference: str
    seen: list[str] = field(default_factory=list)  # of a formula that is longer, no more is read

    def terms(self, name: str, factor: float) -> Iterator[_Term]:
        """The terms of a sum."""
        node = self.graph[name]
        sources = self._sources(name)
        if sources and node.operation in ("add", "subtract"):
            yield from self.terms(sources[0], factor)
            yield from self.terms(sources[1], factor if node.operation == "add" else -factor)
        elif sources and node.operation == "negate":
            yield from self.terms(sources[0], -factor)
        elif sources and node.operation in ("multiply", "divide"):
            one, other = (_number(self.graph[source]) for source in sources)
            if other:
                by = other if node.operation == "multiply" else 1 / other
                yield from self.terms(sources[0], factor * by)
            elif one is not None and node.operation == "multiply":
                yield from self.terms(sources[1], factor * one)
            else:
                yield _Term(factor).times(self.product(name))
        else:
            yield _Term(factor).times(self.product(name))

    def product(self, name: str) -> _Term:
        node = self.graph[name]
        if (number := _number(node)) is not None:
            return _Term(number)
        sources, itself = self._sources(name), _Term(1.0, {name: 1.0})
        if node.operation == "subtract":
            own = self._sources(self.difference)
            if sources in (own, own[::-1]):
                return _Term(1.0 if sources == own else -1.0, {self.difference: 1.0})
        if not sources:
            return itself
        inner = self.product(sources[0])
        if node.operation in ("multiply", "divide"):
            other = self.product(sources[1])
            if node.operation == "multiply":
                return inner.times(other)
            return inner.times(other, -1.0) if other.factor else itself
        if node.operation == "negate":
            return _Term(-1.0).times(inner)
        power = 0.5 if node.operation == "sqrt" else None
        if node.operation == "power":
            power = _number(self.graph[sources[1]])
        if power is not None and inner.factor > 0:
            return _Term().times(inner, power)
        if node.operation == "exp" and not inner.exponents and [*inner.powers.values()] == [1]:
            return _Term(1.0, {}, {next(iter(inner.powers)): inner.factor})
        return itself

    def logarithms(self, terms: list[_Term]) -> dict[tuple[str, str], float]:
        """The factors of logarithms of nodes, and of nodes themselves, in a sum."""
        found: dict[tuple[str, str], float] = {}

        def add(key: tuple[str, str], factor: float) -> None:
            found[key] = found.get(key, 0.0) + factor

        for term in terms:
            if term.exponents or [*term.powers.values()] != [1]:
                continue
            (name,) = term.powers
            sources = self._sources(name)
            if not sources or self.graph[name].operation != "log":
                add(("", name), term.factor)
                continue
            inner = self.product(sources[0])
            for each, power in inner.powers.items():
                add(("log", each), term.factor * power)
            for each, factor in inner.exponents.items():
                add(("", each), term.factor * factor)
        return found

    def _sources(self, name: str) -> list[str]:
        """The operands of a node; none of an atom, and where one is of another step."""
        operands = self.graph[name].operands
        self.seen.append(name)
        longer = len(self.seen) > _LONGEST
        if longer or name in self.atoms or any(edge.delay for edge in operands):
            return []
        return [edge.source for edge in operands]


def _number(node: Node) -> float | None:
    """The number that a node is; None of one that is computed."""
    value = node.options.get("value")
    is_number = node.operation == "constant" and isinstance(value, int | float)
    return float(value) if is_number else None  # type: ignore[arg-type]
