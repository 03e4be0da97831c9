"""Random operations as functions of random leaves, so that a kernel draws no numbers.

    dropout{rate=r}(x)          ->  x * n, n a leaf like x: 0 with probability r, else 1 / (1 - r)
    dropout{rate=r, same=1}(x)  ->  the same with an n that has no time axis
    sample(p)                   ->  draw(p, n), n a leaf: uniform on [0, 1)

The leaf ``n`` has the operation ``noise``, and the attribute ``rate`` where it is a factor of
dropout.  Given its values the network is deterministic: the same numbers give the same results,
and the gradient is that of the mask that was drawn (reparameterization).

Srivastava and others, Dropout (2014), JMLR 15; one mask for all steps: Gal and Ghahramani, A
theoretically grounded application of dropout in recurrent neural networks (2016), NeurIPS 29.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.ir.graph import Edge, Graph, Node, Type, attributes

NOISE = "noise"


def with_noise(graph: Graph) -> Graph:
    """The graph with a leaf for each ``dropout`` and each ``sample``."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.operation not in ("dropout", "sample"):
            nodes.append(node)
            continue
        name = graph.unused(f"{node.name}'noise")
        if node.operation == "dropout":
            axes = node.type.axes
            if node.options.get("same"):
                axes = tuple(axis for axis in axes if axis not in node.type.time)
            type_, rate = Type("float", node.type.shape, axes), node.options["rate"]
            leaf = Node(name, NOISE, (), type_, attributes(rate=rate), line=node.line)
            operation = "multiply"
        else:
            leaf = Node(name, NOISE, (), Type("float", (), node.type.axes), line=node.line)
            operation = "draw"
        operands = (*node.operands, Edge(name))
        nodes += [leaf, replace(node, operation=operation, operands=operands, attributes=())]
    return graph.with_nodes(nodes)
