"""Cyclic initial values: `init v = last(v)`, or two values that start from each other.

The initial value of v is needed by delayed reads of v, and not by v itself.  In a graph it
belongs to the node that is read, so that v would depend on its own last step.  Where v does not
depend on delayed reads of v, these go to a copy of v, which has the initial value instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import networkx as nx

from rollc.lang.elaboration.drafts import Drafts
from rollc.lang.inference.shapes import Inference
from rollc.lang.symbols.untyped_node import Draft, Operand


def with_copies(drafts: Drafts, inference: Inference) -> None:
    """Let what reads such a value with a delay read a copy; every type must be as it stays."""
    for name in list(_from_themselves(drafts)) if drafts.initials else ():
        type_ = inference.types.get(name)
        if type_ is None or type_.kind == "bool":
            continue
        copy = drafts.fresh(name)
        for reader, draft in drafts.drafts.items():
            operands = tuple(_moved(operand, name, copy) for operand in draft.operands)
            drafts.drafts[reader] = replace(draft, operands=operands)
        initial = drafts.initials.pop(name)
        read = Operand(replace(initial.edge, source=name), initial.span)
        drafts.drafts[copy] = Draft(copy, "identity", (read,), initial.span)
        drafts.initials[copy] = initial
        inference.types[copy] = type_


def _moved(operand: Operand, name: str, copy: str) -> Operand:
    if operand.edge.source != name or not operand.edge.delay:
        return operand
    return Operand(replace(operand.edge, source=copy), operand.span)


def _from_themselves(drafts: Drafts) -> Iterator[str]:
    """The values whose initial value needs them, alone or with others, and not they it."""
    reads = [
        (operand.edge, name) for name, draft in drafts.drafts.items() for operand in draft.operands
    ]
    starts = {name: initial.edge.source for name, initial in drafts.initials.items()}
    values = [(edge.source, name) for edge, name in reads]
    true = [
        (starts[edge.source], name) for edge, name in reads if edge.delay and edge.source in starts
    ]
    around = _components([*values, *((start, name) for name, start in starts.items())])
    needed = _components([*values, *true])
    for name, start in starts.items():
        together = around[name] == around[start]
        if together and needed.get(name, -1) != needed.get(start, -2):
            yield name


def _components(links: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The number of the strongly connected component of each node."""
    network: nx.DiGraph[str] = nx.DiGraph(list(links))
    components = nx.strongly_connected_components(network)
    return {name: number for number, members in enumerate(components) for name in members}
