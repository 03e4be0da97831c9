"""Graphs that a person wrote or edited: names that passes reserve are replaced or refused.

Passes name their nodes after those that they belong to: ``~h`` is the cotangent of h, ``state.h``
its state, ``h'kept`` and ``h^dot`` are made of it.  A node with such a name, in the text of a stage
that is compiled anew, would be mistaken for one of them: it gets a plain name.  A leaf or a result,
which the caller knows by its name, cannot get another one, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollc.ir.graph import BATCH, GIVEN, Graph, Node
from rollc.ir.names import GREEK, IMAGINARY, REAL, STATE
from rollc.ir.verifier import Flaw
from rollc.transforms.randomness import NOISE

_STEM = rf"[A-Za-z_{GREEK}][\w{GREEK}]*(?:\.[\w{GREEK}]+)*"
_PLAIN = re.compile(rf"{_STEM}(?:'\d+)?", re.ASCII)
_KNOWN = GIVEN | {"param"}


def given_flaws(graph: Graph) -> Iterator[Flaw]:
    """Leaves and results with reserved names, and inputs without the batch."""
    # Leaves of an unrolled graph and of an adjoint can be single steps.
    whole = graph.stage in ("graph", "checked", "simplified")
    for node in graph.nodes:
        if whole and node.operation in GIVEN and BATCH not in node.type.axes:
            yield Flaw(node.name, "an input has a value for each sequence of a batch")
        if node.operation in _KNOWN and _is_made(graph, node):
            problem = f"rollc gives names of this form: call the {node.operation} another"
            yield Flaw(node.name, problem)
    for label, name in graph.outputs:
        if label.startswith(STATE) and not graph.gradients:
            problem = f"output `{label}`: rollc calls states so; give it another label"
            yield Flaw(None, problem, f"output {label}")
        if label == "loss" != name and graph.loss is not None:
            problem = "output `loss`: the loss has this name; give the output another label"
            yield Flaw(None, problem, f"output {label}")


def with_plain_names(graph: Graph) -> Graph:
    """The graph with other names for the nodes whose names are reserved."""
    taken = set(graph.by_name)
    names: dict[str, str] = {}
    for node in graph.nodes:
        if node.operation in _KNOWN or not _is_made(graph, node):
            continue
        found = re.search(_STEM, node.name, re.ASCII)
        stem, number = (found.group() if found else "n").removeprefix(STATE), 1
        while f"{stem}'{number}" in taken:
            number += 1
        names[node.name] = f"{stem}'{number}"
        taken.add(names[node.name])
    return graph.renamed(names) if names else graph


def _is_made(graph: Graph, node: Node) -> bool:
    """Whether a name is reserved for passes.

    Names of adjoints and states are allowed in a graph that has its gradients.
    """
    if graph.gradients:
        return "^" in node.name
    if node.operation == NOISE and node.name.endswith("'noise"):
        return False
    name = node.name
    for part, other in ((REAL, IMAGINARY), (IMAGINARY, REAL)):
        twin = graph.by_name.get(name.removesuffix(part) + other)
        leaf = node.operation in _KNOWN
        if name.endswith(part) and twin is not None and twin.type == node.type:
            # The parts of a complex value: they are joined by their names.
            name = name.removesuffix(part) if not leaf or twin.operation == node.operation else name
    return _PLAIN.fullmatch(name) is None or name.startswith(STATE)
