"""Whatever operands fold to, rewrites keep types and values: for every operation, at random.

    python -m tests.transforms.patterns.test_rewrites --count 2000 --seed 0

Operands are inputs, parameters and static ones of several shapes, conditions and indices; and
numbers that are known: zeros, ones and others, filled, spread, repeated, cut and multiplied away.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, Edge, Graph, Node, Type, attributes
from rollc.ir.interpreter import interpret
from rollc.ir.operations import OPERATIONS, TypeMismatch
from rollc.ir.operations.operation import Options
from rollc.ir.text import print_graph
from rollc.ir.time.same_steps import same_steps
from rollc.ir.verifier import verify
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.patterns import REWRITES
from tests.helpers.strategies.delay_graphs import random_leaves

SHAPES = ((), (2,), (3,), (2, 3), (3, 3), (1,))
SIZES = {"s": 2, "t": 3, BATCH: 2}
# Left out: what needs operands of a kind that nothing here has, or that is not defined everywhere.
LEFT_OUT = {"tail", "tail_steps", "tail_start", "position", "at", "element", "draw", "sample"}
LEFT_OUT |= {"dropout", "gauss_jordan", "inverse", "log_det", "cholesky"}
KNOWN = ["fill", "spread", "expand", "multiply", "pad", "zero", "stack", "less", "equal"]
OPERATION_NAMES = [name for name in OPERATIONS if name not in LEFT_OUT]


def leaves() -> list[Node]:
    found = []
    for shape in SHAPES:
        name = "x".join(map(str, shape)) or "0"
        free = attributes(initialiser="zeros")
        found += [
            Node(f"p{name}", "param", (), Type("float", shape), free),
            Node(f"z{name}", "input", (), Type("float", shape, (BATCH,))),
            Node(f"x{name}", "input", (), Type("float", shape, ("t", BATCH))),
        ]
    found += [
        Node("y0", "input", (), Type("float", (), ("s", BATCH))),
        Node("y3", "input", (), Type("float", (3,), ("s", BATCH))),
        Node("i", "input", (), Type("index", (), ("t", BATCH), 3)),
        Node("j", "input", (), Type("index", (), (BATCH,), 2)),
    ]
    for place, value in enumerate((0.0, 1.0, -1.0, 2.0, -0.0, 0.5)):
        options = attributes(value=value)
        found.append(Node(f"c{place}", "constant", (), Type("float"), options))
    return found


def options_of(random_: random.Random, operation: str, operands: list[Type]) -> Options:
    """Attributes that may fit."""
    shape = operands[0].shape if operands else ()
    axes = operands[0].axes if operands else ()
    axis = random_.randrange(max(1, len(shape)))
    length = shape[axis] if shape else 1
    match operation:
        case "sum" | "mean" | "max" | "min":
            return {"axis": random_.choice([-1, axis])}
        case "concat":
            return {"axis": axis}
        case "slice":
            start = random_.randrange(length)
            return {"axis": axis, "start": start, "stop": random_.randint(start + 1, length)}
        case "pad":
            start = random_.randrange(3)
            return {"axis": axis, "start": start, "size": start + length + random_.randrange(2)}
        case "row":
            return {"at": random_.randrange(shape[0] if shape else 1)}
        case "expand":
            return {"axis": random_.randint(0, len(shape)), "size": random_.choice([1, 2, 3])}
        case "fill" | "zero":
            return {"shape": random_.choice(SHAPES[1:])}
        case "permute":
            return {"order": tuple(random_.sample(range(len(shape)), len(shape)))}
        case "reshape":
            return {"shape": random_.choice([(prod(shape),), (*shape, 1), (1, *shape[::-1])])}
        case "matmul":
            return random_.choice([{}, {}, {"transpose_a": True}, {"transpose_b": True}])
        case "outer" if axes and random_.random() < 0.5:
            return {"over": tuple(random_.sample(axes, random_.randint(1, len(axes))))}
        case "embed_adjoint":
            return {"rows": 3}
        case "one_hot":
            return {"size": 3}
        case "layer_norm" | "normalise" | "deviation":
            return {"epsilon": 0.1}
        case "first" | "last" | "step":
            return {"axis": random_.choice(["s", "t"])}
        case "rename_axis":
            axis, to = random_.sample(["s", "t"], 2)
            return {"axis": axis, "to": to}
        case "spread" | "extent":
            return {"axis": random_.choice(["s", "t", BATCH])}
        case "impulse":
            return {"axis": random_.choice(["s", "t"]), "at": random_.choice(["first", "last"])}
        case _ if operation.endswith("_over"):
            over = random_.sample(axes or ("t",), random_.randint(1, max(1, len(axes))))
            return {"over": tuple(sorted(over))}
    return {}


def node_of(
    random_: random.Random, name: str, nodes: list[Node], recent: list[Node]
) -> Node | None:
    """A node of an operation, with operands that it takes."""
    entry = OPERATIONS[name]
    number = random_.randint(1, 3) if entry.variadic else len(entry.operands)
    pools = [random_.choice([nodes, recent or nodes, nodes[-16:]]) for _ in range(number)]
    sources = [random_.choice(pool) for pool in pools]
    if number > 1 and random_.random() < 0.3:
        sources[-1] = sources[0]
    edges = tuple(
        Edge(node.name, 1, "t")
        if "t" in node.type.axes and random_.random() < 0.15
        else Edge(node.name)
        for node in sources
    )
    options = attributes(**options_of(random_, name, [node.type for node in sources]))
    try:
        found = entry.infer([node.type for node in sources], dict(options))
    except (TypeMismatch, IndexError):
        return None
    if found is None or found.size > 100:
        return None
    starts = [
        other.name
        for other in nodes
        if (other.type.kind, other.type.bound) == (found.kind, found.bound)
        and other.type.shape == found.shape
        and not other.type.time
        and {*other.type.axes} <= {*found.axes}
    ]
    initial = None
    if found.time == ("t",) and starts and random_.random() < 0.3:
        initial = random_.choice(starts)
    return Node(f"v{len(recent)}", name, edges, found, options, initial)


def is_sound(node: Node, nodes: list[Node]) -> bool:
    read = {edge.source for edge in node.reads()}
    before = tuple(
        Node(other.name, "state", (), other.type) for other in nodes if other.name in read
    )
    return not verify(Graph("n", "dag", (*before, node), axes=("s", "t")))


def grown(random_: random.Random, count: int) -> Graph:
    """A graph of so many operations, each of which takes what it reads."""
    nodes, recent = leaves(), list[Node]()
    while len(recent) < count:
        known = len(recent) % 4 == 0  # values that are known, in all their forms
        names = KNOWN if known else random_.choice([OPERATION_NAMES, list(REWRITES)])
        name = random_.choice(names)
        for _ in range(60):
            node = node_of(random_, name, nodes, recent)
            if node is not None and is_sound(node, nodes):
                nodes.append(node)
                recent.append(node)
                break
    results = random_.sample(recent, random_.randint(1, min(4, len(recent))))
    outputs = tuple((node.name, node.name) for node in results)
    return Graph("n", "checked", tuple(nodes), outputs, axes=("s", "t"))


def with_loss(graph: Graph) -> Graph | None:
    """The graph with a loss that its outputs matter to."""
    build = Builder(graph.nodes)
    build.prefix = "loss"
    terms: list[Value] = []
    for _, name in graph.outputs:
        value = build.read(name)
        if value.type.kind != "float":
            continue
        value = call("sin", value)
        value = call("sum", value) if value.type.shape else value
        terms.append(call("mean_over", value, over=value.type.axes) if value.type.axes else value)
    if not terms:
        return None
    loss = build.define("loss", "sum_of", tuple(terms)).edge.source
    return replace(graph, nodes=tuple(build.nodes.values()), loss=loss)


def sizes_of(graph: Graph) -> dict[str, int]:
    """As many steps along both axes where a value of one is read along the other."""
    return {**SIZES, "s": SIZES["t"]} if len({*same_steps(graph).values()}) < 2 else SIZES


def same(before: Graph, after: Graph, leaves: dict[str, Any]) -> None:
    assert verify(after) == [], print_graph(after)
    pairs = zip(
        (*before.outputs, *before.gradients), (*after.outputs, *after.gradients), strict=True
    )
    sizes = sizes_of(before)
    first, second = interpret(before, leaves, sizes), interpret(after, leaves, sizes)
    for (label, old), (other, new) in pairs:
        assert label == other
        assert before[old].type == after[new].type, label
        if np.isfinite(first[old]).all():
            np.testing.assert_allclose(first[old], second[new], 1e-9, 1e-9, err_msg=label)


def check(seed: int) -> Counter[str]:
    random_ = random.Random(seed)
    graph = grown(random_, random_.choice([3, 6, 10, 16]))
    assert verify(graph) == []
    leaves = random_leaves(graph, sizes_of(graph), seed)
    same(graph, canonicalize(graph), leaves)
    whole = with_loss(graph)
    if whole is not None:
        derived = adjoint(whole)
        assert verify(derived) == []
        same(derived, canonicalize(derived), leaves)
    return Counter(node.operation for node in graph.nodes)


@pytest.mark.parametrize("seed", [*range(60), 83, 2243])
def test_rewrites_keep_types_and_values(seed: int) -> None:
    check(seed)


def test_every_operation_is_tried() -> None:
    found: Counter[str] = Counter()
    for seed in range(60):
        random_ = random.Random(seed)
        graph = grown(random_, random_.choice([3, 6, 10, 16]))
        found.update(node.operation for node in graph.nodes)
    assert set(REWRITES) <= found.keys()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        try:
            found += check(seed)
        except Exception as error:
            print(f"seed {seed}: {error!r:.600}")
    print(f"{arguments.count} graphs; the rarest operations: {found.most_common()[:-8:-1]}")


if __name__ == "__main__":
    main()
