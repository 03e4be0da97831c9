"""Free running: a network that reads its own outputs in place of targets.

Where `feed` reads the network's own value, nothing reads the targets, and dead code is removed.
Every value that a target gave the batch to has it still: the network's own values run over the
batch, and so do their readers, as far as they are on a cycle.  So the state is one of a batch, like
that of a taught run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import BATCH, LEAVES, Graph, Node, ordered_axes
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import dependents, without_unused


def run_free(graph: Graph, said: Iterable[str]) -> Graph:
    """A checked graph whose values ``said`` are read in the place of what teaches it."""
    graph = without_unused(graph)
    own = _own(graph, [name for name in said if name in graph.by_name])
    nodes = [_each(node) if node.name in own else node for node in graph.nodes]
    found = graph.with_nodes(nodes)
    if graph.loss is None or BATCH not in found[graph.loss].type.axes:
        return found
    build = Builder(nodes)
    build.line = graph[graph.loss].line
    name = build.define(
        f"{graph.loss}'mean", "mean_over", (build.read(graph.loss),), over=(BATCH,)
    ).edge.source
    return replace(found, nodes=tuple(build.nodes.values()), loss=name)


def without_reads(graph: Graph, names: Collection[str]) -> Graph:
    """A checked graph without some reads; of initial values the rows that are still read."""
    found = graph.with_nodes(node for node in graph.nodes if node.name not in names)
    build = Builder(found.nodes)
    for node in found.nodes:
        before, after = graph.reach.get(node.name), found.reach.get(node.name)
        if before == after or before is None or node.initial is None:
            continue
        rows = build.read(node.initial)
        if len(rows.type.shape) == len(node.type.shape):
            continue
        count, past = rows.type.shape[0], before.past > 0
        build.prefix, build.line = node.initial, node.line
        if after is None:
            part = call("row", rows, at=count - 1 if past else 0)
        else:
            depth = after.past + after.future
            start = count - depth if past else 0
            part = call("slice", rows, start=start, stop=start + depth)
        build.nodes[node.name] = replace(node, initial=part.edge.source)
    return found.with_nodes(build.nodes.values())


def _own(graph: Graph, said: Iterable[str]) -> set[str]:
    """The values that get the batch: each reads another one that has it."""
    starts = (name for name in said if graph[name].operation not in LEAVES)
    joining = (node for node in graph.nodes if BATCH not in over_axes(node.options))
    found = dependents(joining, starts, lambda node: node.operands)
    while True:
        alone = {name for name in found if not _reads_any(graph, graph[name], found)}
        if not alone:
            return found
        found -= alone


def _reads_any(graph: Graph, node: Node, own: set[str]) -> bool:
    sources = {edge.source for edge in node.operands}
    return not sources.isdisjoint(own) or any(
        BATCH in graph[source].type.axes for source in sources
    )


def _each(node: Node) -> Node:
    axes = ordered_axes({*node.type.axes, BATCH})
    return replace(node, type=replace(node.type, axes=axes))
