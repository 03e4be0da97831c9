"""Retiming: how one loop over time meets delays of both signs.

A loop over the steps in one direction can compute its nodes at different steps: its iteration
``i`` computes a node ``v`` of the shift ``s(v)`` at the step ``i - s(v)``.  The dependence
distance of a read of ``u``, ``d`` steps ago, is then ``d + s(v) - s(u)`` iterations.  The loop
is legal where no distance is against its direction and the edges of distance zero form no cycle.

Around a cycle the shifts cancel: the distances add up to its total delay.  So a loop from the
first step exists exactly where the total delay of every cycle is positive, and one from the
last where every one is negative.  The shifts are shortest paths along the delays, the least
that do; where the delays have one sign, all are zero.

Leiserson and Saxe, Retiming synchronous circuitry (1991), Algorithmica 6(1): the shifts are the
lags of a retiming, and the distances the weights of the retimed edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import networkx as nx

from rollc.ir.graph import Edge, Node

Direction = Literal[1, -1]
Weights = tuple[int, int]
DIRECTIONS: tuple[Direction, Direction] = (1, -1)
Cycle = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """A loop over the steps that respects all dependences of a component.

    ``direction`` is 1 from the first step, -1 from the last.  ``shifts`` has the nodes that
    are not computed at the iteration's own step: positive in a loop from the first step,
    negative in one from the last.  ``axis`` is that of the delays, "" where there are none.
    ``parts`` is what an iteration runs, in order, where there are delays along another axis too
    (:mod:`rollc.ir.time.loops`).  With an axis ``across`` the iterations are diagonals of both
    axes, with the ``weights`` of that one and of ``axis`` (:mod:`rollc.ir.time.wavefront`).
    """

    direction: Direction
    shifts: Mapping[str, int]
    axis: str = ""
    parts: tuple[Part, ...] = ()
    across: str = ""
    weights: Weights = (0, 1)

    def delay(self, edge: Edge) -> int:
        """How many iterations ago the value of a read is that of the iteration's own step."""
        return delay_along(edge, self.across, self.weights)

    def distance(self, reader: str, edge: Edge) -> int:
        """The dependence distance of a read: after how many iterations it reads the value."""
        lag = self.shifts.get(reader, 0) - self.shifts.get(edge.source, 0)
        return self.direction * (self.delay(edge) + lag)

    def iterations(self, length: int) -> range:
        """The iterations of the loop, for a sequence of ``length`` steps."""
        return self.around(range(length))

    def around(self, steps: range) -> range:
        """The iterations of a loop over some consecutive steps or diagonals, shifted ones too."""
        longest = max(map(abs, self.shifts.values()), default=0)
        if self.direction == 1:
            return range(steps.start, steps.stop + longest)
        return range(steps.stop - 1, steps.start - longest - 1, -1)


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of an iteration, in order, and their own loop inside of it.

    Without one it is a single node, at all steps along the other axes at once.
    """

    nodes: tuple[Node, ...]
    loop: Timing | None


def delay_along(edge: Edge, across: str, weights: Weights) -> int:
    """The delay of a read, in diagonals with an axis ``across``, or in steps."""
    return edge.delay * (weights[0] if across and edge.axis == across else weights[1])


class NoTiming(ValueError):
    """Delays that no loop respects.

    ``forward`` and ``backward`` are the nodes, in the order in which values flow, of a
    cycle that prevents a loop of that direction: its total delay is zero or has the other
    sign.
    """

    def __init__(self, forward: Cycle, backward: Cycle) -> None:
        super().__init__(f"no direction of time computes the cycle through `{forward[0]}`")
        self.forward = forward
        self.backward = backward


def timing(component: Iterable[Node]) -> Timing:
    """The loop that computes a component with delays along one axis; raises :class:`NoTiming`.

    Cycles without any delay are not looked for.
    """
    nodes = list(component)
    names = {node.name for node in nodes}
    reads = [(node.name, edge) for node in nodes for edge in node.operands if edge.source in names]
    axis = next((edge.axis for _, edge in reads if edge.delay), "")
    for direction in DIRECTIONS:
        if all(direction * edge.delay >= 0 for _, edge in reads):
            return Timing(direction, {}, axis)
    violated = []
    for direction in DIRECTIONS:
        shifts, cycle = violated_cycle(reads, Timing(direction, {}, axis))
        if not cycle:
            return Timing(direction, shifts, axis)
        violated.append(tuple(edge.source for edge in cycle))
    raise NoTiming(*violated)


def violated_cycle(
    reads: Iterable[tuple[str, Edge]], loop: Timing
) -> tuple[dict[str, int], tuple[Edge, ...]]:
    """The shifts with which a loop respects some reads; or the reads of a cycle that prevents it.

    The cycle's total delay is zero or against the direction of the loop.
    """
    delays = _delays(reads, loop)
    lengths, cycle = _shortest_paths(delays)
    cycle = cycle or _zero_cycle(delays, lengths)
    shifts = {name: -loop.direction * length for name, length in lengths.items() if length}
    around = zip(cycle, (*cycle[1:], *cycle[:1]), strict=True)
    return shifts, tuple(delays[source][reader]["edge"] for source, reader in around)


def _delays(reads: Iterable[tuple[str, Edge]], loop: Timing) -> nx.DiGraph[str]:
    """Arrows from sources to readers, with the least delay of each pair in the loop's direction."""
    network: nx.DiGraph[str] = nx.DiGraph()
    for reader, edge in reads:
        delay = loop.direction * loop.delay(edge)
        known = network.get_edge_data(edge.source, reader)
        if known is None or delay < known["delay"]:
            network.add_edge(edge.source, reader, delay=delay, edge=edge)
    return network


def _shortest_paths(delays: nx.DiGraph[str]) -> tuple[dict[str, int], Cycle]:
    """The length of the shortest path to each node, from any; or a cycle of negative length.

    The algorithm of Bellman and Ford, which takes few rounds in reverse postorder; a cycle of
    predecessors has a negative length (Tarjan, Data Structures and Network Algorithms, 1983,
    chapter 7).
    """
    order = list(nx.dfs_postorder_nodes(delays))[::-1]
    lengths = dict.fromkeys(order, 0)
    predecessor: dict[str, str] = {}
    changed, cycle = True, Cycle()
    while changed and not cycle:
        changed = False
        for source in order:
            for reader, arrow in delays[source].items():
                through = lengths[source] + arrow["delay"]
                if through < lengths[reader]:
                    lengths[reader], predecessor[reader] = through, source
                    changed = True
        cycle = _around(predecessor)
    return lengths, cycle


def _around(predecessor: Mapping[str, str]) -> Cycle:
    """A cycle of predecessors, if there is one."""
    seen: set[str] = set()
    for start in predecessor:
        path: dict[str, None] = {}
        name = start
        while name in predecessor and name not in seen and name not in path:
            path[name] = None
            name = predecessor[name]
        if name in path:
            back = list(path)
            return tuple(reversed(back[back.index(name) :]))
        seen.update(path)
    return ()


def _zero_cycle(delays: nx.DiGraph[str], lengths: Mapping[str, int]) -> Cycle:
    """A cycle of reads of dependence distance zero: its total delay is zero."""
    network: nx.DiGraph[str] = nx.DiGraph(
        (source, reader)
        for source, reader in delays.edges
        if lengths[reader] == lengths[source] + delays[source][reader]["delay"]
    )
    if nx.is_directed_acyclic_graph(network):
        return ()
    return tuple(source for source, _ in nx.find_cycle(network))
