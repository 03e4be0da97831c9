"""Truncated backpropagation through time: no gradient crosses a boundary of windows.

The windows are the steps 0 … k-1, k … 2k-1 and so on.  A delayed read across a boundary has its
value, and passes no cotangent back:

    u[t-d]  ->  where(t < k, u[t-d], where(t mod k < d, stop(u[t-d]), u[t-d]))
    u[t+d]  ->  where(t+d >= T, u[t+d], where(t mod k >= k-d, stop(u[t+d]), u[t+d]))

Reads of the first window outside the sequence are exempt, since they take initial values.  Values
and the loss are unchanged; the gradients of parameters are the sums of those of the windows, run
one after the other with the state carried over.  The pass runs before any rewrite: a pattern that
moves an operation across a delayed read would move the boundary to other steps.

A spec can do the same to a single read: ``stop(h[t-1], every=k)``.

Williams and Peng, An efficient gradient-based algorithm for on-line training of recurrent network
trajectories (1990), Neural Computation 2(4), BPTT(h; h').
"""

from __future__ import annotations

from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import cut_read
from rollc.ir.graph import Edge, Graph


def truncate(graph: Graph, steps: int) -> Graph:
    """The graph whose gradients stop at the beginning of each window of ``steps`` steps.

    Takes a graph before the adjoint.  Raises ``ValueError`` for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"a window has at least one step, not {steps}")
    build = Builder(graph.nodes)
    cut: dict[Edge, Edge] = {}
    for node in graph.nodes:
        for edge in node.operands:
            crossing = edge.delay and graph[edge.source].type.kind == "float"
            if crossing and edge not in cut:
                build.prefix, build.line = edge.source, node.line
                read = build.read(edge.source, edge.delay, edge.axis)
                cut[edge] = cut_read(read, steps).edge
        operands = tuple(cut.get(edge, edge) for edge in node.operands)
        build.nodes[node.name] = replace(node, operands=operands)
    return graph.with_nodes(build.nodes.values())
