"""The order in which shapes tell sizes: none does that a size which is not known yet can change.

In a cycle a value has the shape that its known operands broadcast to.  Where one of the others
waits for a size, it can turn out to be wider.  Such a value tells a size only where that size is
what it waits for: in `h = b + W @ h[t-1]` with `param W: [2, size(h)]`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain

import networkx as nx

from rollc.ir.traversal import reachable
from rollc.lang.inference.shapes import Inference

Item = str | int  # a node, or the number of a statement


class SizeOrder:
    """What the types that are known so far say for sure.

    ``gives`` are the numbers of the statements that are not elaborated yet, by what they say
    something of: a value, its declared shape or its initial value, a parameter.
    """

    def __init__(self, inference: Inference, gives: Mapping[str, Collection[int]]) -> None:
        self.inference = inference
        self.gives = gives

    def is_sure(self, name: str) -> bool:
        """Whether the type of a node is known, and nothing that is not known yet can change it."""
        if self._follows(name):
            return True
        seen: set[str] = set()
        for above in reachable([name], self._changed_by):
            if self._waits(above):
                return False
            seen.add(above)
        self.inference.loose -= seen
        return True

    def first(self, needs: Mapping[int, Collection[str]]) -> set[str]:
        """The nodes that may tell sizes though they are not sure.

        ``needs`` are the nodes whose sizes each statement has to know, or the sizes themselves.
        What is found waits for nothing but for what these sizes tell.
        """
        above = list(reachable(chain.from_iterable(needs.values()), self._changed_by))
        readers: dict[str, list[str]] = {}
        for name in above:
            for read in self._changed_by(name):
                readers.setdefault(read, []).append(name)
        waiting = (name for name in above if self._waits(name))
        open_ = set(reachable(waiting, lambda name: readers.get(name, ())))
        network: nx.DiGraph[Item] = nx.DiGraph()
        network.add_nodes_from((*open_, *needs))
        for name in open_:
            network.add_edges_from((name, number) for number in self.gives.get(name, ()))
            network.add_edges_from((name, read) for read in self._changed_by(name) if read in open_)
        for number, names in needs.items():
            network.add_edges_from((number, name) for name in names if name in open_)
        order = nx.condensation(network)
        found: set[str] = set()
        for part in order:
            if not order.out_degree(part):
                numbers = (item for item in order.nodes[part]["members"] if isinstance(item, int))
                found.update(name for number in numbers for name in needs[number])
        return {name for name in found if name in self.inference.types}

    def _waits(self, name: str) -> bool:
        """Whether something of a node itself is not known yet."""
        return name not in self.inference.types or name in self.gives

    def _follows(self, name: str) -> bool:
        """Whether the type of a node follows from such types alone: it is never another."""
        return name in self.inference.types and name not in self.inference.loose

    def _changed_by(self, name: str) -> Iterable[str]:
        """What can change the type of a node."""
        if name not in self.inference.drafts:
            return ()
        return [read for read in self.inference.reads(name) if not self._follows(read)]
