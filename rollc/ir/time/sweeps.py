"""Assignment of nodes to sweeps: forward and backward loops over the steps, in sequence.

A sweep is a loop (None for what does not change with time) and its nodes in the order
within one step.  Sweep number n is no loop for n % 3 = 0, one from the first step for 1 and one
from the last for 2; every component takes the first that is legal.  A node on no cycle then
moves to the sweep of its first reader, so that what the adjoint alone reads stands with the
adjoint.
"""

from __future__ import annotations

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.time.loops import components
from rollc.ir.time.retiming import NoTiming, Timing
from rollc.ir.traversal import NoOrder, users

Sweep = tuple[Timing | None, list[Node]]


class NoSweeps(ValueError):
    """A graph that cannot be computed, and why."""


def found_sweeps(graph: Graph, axis: str) -> list[Sweep]:
    """The sweeps of a graph, in order; raises :class:`NoSweeps`."""
    return _Sweeps(graph, axis).found()


class _Sweeps:
    def __init__(self, graph: Graph, axis: str) -> None:
        self.graph = graph
        self.axis = axis
        try:
            self.components = list(components(graph))
        except (NoOrder, NoTiming) as error:
            raise NoSweeps(str(error)) from None
        self.shifts: dict[str, int] = {}
        for _, loop in self.components:
            self.shifts.update(loop.shifts)
        self.number: dict[str, int] = {}

    def found(self) -> list[Sweep]:
        for component, loop in self.components:
            inside = {node.name for node in component}
            direction = self._direction(component, inside, loop)
            reads = [
                (node.name, edge)
                for node in component
                for edge in node.reads()
                if edge.source not in inside
            ]
            number = 0
            while not (
                _runs(number, direction) and all(self._after(number, *read) for read in reads)
            ):
                number += 1
            self.number.update(dict.fromkeys(inside, number))
        self._move_to_readers()
        sweeps: dict[int, list[Node]] = {}
        for component, _ in self.components:
            sweeps.setdefault(self.number[component[0].name], []).extend(component)
        return [(self._loop(number, sweeps[number]), sweeps[number]) for number in sorted(sweeps)]

    def _loop(self, number: int, nodes: list[Node]) -> Timing | None:
        if number % 3 == 0:
            return None
        shifts = {node.name: self.shifts[node.name] for node in nodes if node.name in self.shifts}
        return Timing(1 if number % 3 == 1 else -1, shifts)

    def _direction(self, component: tuple[Node, ...], inside: set[str], loop: Timing) -> int | None:
        """The direction that a component needs: 0 without the axis, None where both are legal."""
        if self.axis not in component[0].type.axes and len(component) == 1:
            return 0
        if loop.across or any(self.axis not in node.type.axes for node in component):
            raise NoSweeps(f"no direction of time computes the cycle through {_some(component)}")
        delayed = any(
            edge.delay for node in component for edge in node.operands if edge.source in inside
        )
        return loop.direction if delayed else None

    def _after(self, number: int, reader: str, edge: Edge) -> bool:
        """Whether the source of a read in sweep ``number`` is computed before."""
        source = self.number[edge.source]
        direction = (0, 1, -1)[number % 3]
        lag = self.shifts.get(reader, 0) - self.shifts.get(edge.source, 0)
        return source < number or (source == number and direction * (edge.delay + lag) >= 0)

    def _move_to_readers(self) -> None:
        readers = users(self.graph.nodes, Node.reads)
        results = set(self.graph.results())
        for component, _ in reversed(self.components):
            node = component[0]
            reads = readers.get(node.name, [])
            fixed = len(component) > 1 or self.axis not in node.type.axes or node.name in results
            if fixed or not reads or any(reader is node for reader, _ in reads):
                continue
            own = self.number[node.name]
            first = min(self.number[reader.name] for reader, _ in reads)
            if first % 3 == 0:
                continue
            self.number[node.name] = first
            if not all(
                self._after(self.number[reader.name], reader.name, edge) for reader, edge in reads
            ):
                self.number[node.name] = own


def _runs(number: int, needed: int | None) -> bool:
    """Whether a sweep has the direction needed; None is either direction."""
    direction = (0, 1, -1)[number % 3]
    return direction != 0 if needed is None else direction == needed


def _some(nodes: tuple[Node, ...]) -> str:
    return ", ".join(f"`{node.name}`" for node in nodes[:5])
