"""Retiming: how one loop over time meets delays of both signs.

A loop that goes through the steps in one direction can compute its nodes at different
steps: at its step ``now`` a node ``v`` with the shift ``s(v)`` computes the step
``now - s(v)``.  A read of ``u``, ``d`` steps ago, then waits ``d + s(v) - s(u)`` steps of
the loop, and all reads of a component are met where no wait is against the direction and
those of no step form no cycle.

Around a cycle the shifts cancel: the waits add up to its total delay.  So a loop from the
first step exists exactly where the total delay of every cycle is positive, and one from the
last where every one is negative.  The shifts are shortest distances along the delays, the
least that do; where the delays have one sign, all are zero.

Reference: Leiserson and Saxe, Retiming synchronous circuitry (1991), Algorithmica 6(1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import networkx as nx

from rollc.ir.graph import Edge, Node

Direction = Literal[1, -1]
Cycle = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """A loop that meets all delays of a component.

    ``direction`` is 1 from the first step, -1 from the last.  ``shifts`` has the nodes that
    are not computed for the loop's own step: positive in a loop from the first step,
    negative in one from the last.
    """

    direction: Direction
    shifts: Mapping[str, int]

    def wait(self, reader: str, edge: Edge) -> int:
        """After how many steps of the loop a node reads a value of its component."""
        later = self.shifts.get(reader, 0) - self.shifts.get(edge.source, 0)
        return self.direction * (edge.delay + later)

    def steps(self, length: int) -> range:
        """The steps of the loop, for a sequence of so many steps."""
        longest = max(map(abs, self.shifts.values()), default=0)
        if self.direction == 1:
            return range(length + longest)
        return range(length - 1, -longest - 1, -1)


class NoTiming(ValueError):
    """Delays that no loop meets.

    ``forward`` and ``backward`` are the nodes, in the order in which values flow, of a
    cycle that hinders a loop of that direction: its total delay is zero or points the
    other way.
    """

    def __init__(self, forward: Cycle, backward: Cycle) -> None:
        super().__init__(f"no direction of time computes the cycle through `{forward[0]}`")
        self.forward = forward
        self.backward = backward


def timing(component: Iterable[Node]) -> Timing:
    """The loop that computes the nodes of a component; raises :class:`NoTiming`.

    Its cycles without any delay are not looked for.
    """
    nodes = list(component)
    names = {node.name for node in nodes}
    reads = [(node.name, edge) for node in nodes for edge in node.operands if edge.source in names]
    directions: tuple[Direction, Direction] = (1, -1)
    for direction in directions:
        if all(direction * edge.delay >= 0 for _, edge in reads):
            return Timing(direction, {})
    hindered = []
    for direction in directions:
        waits = _waits(reads, direction)
        distances, cycle = _distances(waits)
        cycle = cycle or _at_once(waits, distances)
        if not cycle:
            shifts = {name: -direction * far for name, far in distances.items() if far}
            return Timing(direction, shifts)
        hindered.append(cycle)
    raise NoTiming(*hindered)


def _waits(reads: Iterable[tuple[str, Edge]], direction: Direction) -> nx.DiGraph[str]:
    """Arrows from the nodes that are read, with the least delay in a direction."""
    network: nx.DiGraph[str] = nx.DiGraph()
    for reader, edge in reads:
        delay = direction * edge.delay
        if network.has_edge(edge.source, reader):
            delay = min(delay, network[edge.source][reader]["delay"])
        network.add_edge(edge.source, reader, delay=delay)
    return network


def _distances(waits: nx.DiGraph[str]) -> tuple[dict[str, int], Cycle]:
    """The length of the shortest path to each node, from any; or a cycle that has none.

    Bellman and Ford's algorithm, which takes few rounds in an order that goes with the
    arrows; a cycle of predecessors has a negative length (Tarjan, Data Structures and
    Network Algorithms, 1983, chapter 7).
    """
    order = list(nx.dfs_postorder_nodes(waits))[::-1]
    distances = dict.fromkeys(order, 0)
    before: dict[str, str] = {}
    changed, cycle = True, Cycle()
    while changed and not cycle:
        changed = False
        for source in order:
            for reader, arrow in waits[source].items():
                through = distances[source] + arrow["delay"]
                if through < distances[reader]:
                    distances[reader], before[reader] = through, source
                    changed = True
        cycle = _around(before)
    return distances, cycle


def _around(before: Mapping[str, str]) -> Cycle:
    """A cycle on which each node is before the next."""
    seen: set[str] = set()
    for start in before:
        path: dict[str, None] = {}
        name = start
        while name in before and name not in seen and name not in path:
            path[name] = None
            name = before[name]
        if name in path:
            back = list(path)
            return tuple(reversed(back[back.index(name) :]))
        seen.update(path)
    return ()


def _at_once(waits: nx.DiGraph[str], distances: Mapping[str, int]) -> Cycle:
    """A cycle of reads that do not wait: its total delay is zero."""
    network: nx.DiGraph[str] = nx.DiGraph(
        (source, reader)
        for source, reader in waits.edges
        if distances[reader] == distances[source] + waits[source][reader]["delay"]
    )
    if nx.is_directed_acyclic_graph(network):
        return ()
    return tuple(source for source, _ in nx.find_cycle(network))
