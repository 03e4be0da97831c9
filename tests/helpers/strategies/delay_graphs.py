"""Random delay graphs, valid by construction, as Hypothesis strategies.

A graph has a few components; each is one to three states whose equations read each other
with delays of 1 to 4, all into the past or all into the future.  In some components the
states are then moved against each other in time, which leaves the total delay of each cycle
as it was, and makes delays of both signs and of zero.  Later components read the
earlier ones at any delay, and reductions of them over time, which may also be their
initial values.  Weights are shared.  Some of what is built is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import networkx
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import LEAVES, Edge, Graph, Node, Shape, Type
from rollc.transforms.state import expose_state

Array = NDArray[Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

OVER = ("t", "batch")
WORDS = 4
SHAPES: tuple[Shape, ...] = ((), (2,), (3,))
UNARY = ("tanh", "sigmoid", "sin", "negate", "softplus", "silu", "gelu")
BINARY = ("add", "subtract", "multiply")
# Their derivatives jump, so that a difference quotient may miss them.
KINKED_UNARY = ("relu", "abs", "stop")
KINKED_BINARY = ("minimum", "maximum")


@dataclass
class Component:
    """The states that are being defined, and the way that they read each other."""

    direction: int
    states: dict[str, Shape]
    moved: dict[str, int]
    current: str = ""  # the state whose equation is made just now

    def delay(self, source: str, steps: int) -> int:
        """A delay of the current state's read of another one, or of itself."""
        return self.direction * steps + self.moved[source] - self.moved[self.current]


class Grower:
    """Grows one graph out of Hypothesis's choices."""

    def __init__(self, draw: Draw, smooth: bool, clocks: bool, causal: bool = False) -> None:
        self.draw = draw
        self.smooth = smooth
        self.clocks = clocks
        self.causal = causal
        self.build = Builder()
        self.pool: list[str] = []  # finished nodes that may be read
        self.deep: list[str] = []  # states with an initial value for each depth
        self.params = 0

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    # Leaves

    def leaves(self) -> None:
        build = self.build
        build.leaf("x", "input", Type("float", (3,), OVER))
        build.leaf("u", "input", Type("float", (), OVER))
        build.leaf("w", "input", Type("index", (), OVER, WORDS))
        build.leaf("z", "input", Type("float", (2,), ("batch",)))
        build.leaf("y", "target", Type("index", (), OVER, 3))
        build.leaf("dt", "constant", Type("float"), value=0.25)
        self.pool += ["x", "u", "z"]

    def param(self, shape: Shape) -> Value:
        """A parameter, often one that is in use elsewhere too."""
        found = [node.name for node in self.build.nodes.values() if node.operation == "param"]
        fitting = [name for name in found if self.build.nodes[name].type.shape == shape]
        if fitting and self.chance():
            return self.build.read(self.choose(*fitting))
        self.params += 1
        return self.build.leaf(
            f"p{self.params}", "param", Type("float", shape), initialiser="normal", scale=0.5
        )

    # Expressions

    def read(self, shape: Shape, component: Component | None) -> Value:
        """A read that exists already: of a finished node, or of the component's own states."""
        reads: list[tuple[str, tuple[int, ...]]] = []
        for name in self.pool:
            type_ = self.build.nodes[name].type
            if type_.shape == shape and type_.kind == "float":
                anywhere = (0, 0, 1, 2) if self.causal else (0, 0, 1, 2, -1, -3)
                reads.append((name, anywhere if "t" in type_.axes else (0,)))
        if component is not None:
            for name, own in component.states.items():
                if own == shape:
                    delays = tuple(component.delay(name, steps) for steps in (1, 1, 2, 4))
                    reads += [(name, delays)] * 3
        if not reads:
            return self.param(shape)
        name, delays = self.choose(*reads)
        return self.build.read(name, self.choose(*delays), "t")

    def expression(self, shape: Shape, component: Component | None, size: int) -> Value:
        if size <= 0:
            return self.read(shape, component)

        def inner(other: Shape) -> Value:
            return self.expression(other, component, size - 1)

        forms = ["read", "unary", "binary", "scaled", "where", "divide", "power", "param"]
        forms += ["matmul", "softmax", "embed"] if shape else ["sum", "dot", "element", "product"]
        forms += ["slice"] if shape == (2,) else []
        forms += ["kept"] if self.causal else []
        forms += [] if self.smooth or not shape else ["drawn"]
        forms += ["concat", "joined"] if shape == (3,) else []
        form = self.choose(*forms)
        if form == "unary":
            names = UNARY if self.smooth else UNARY + KINKED_UNARY
            return call(self.choose(*names), inner(shape))
        if form == "binary":
            names = BINARY if self.smooth else BINARY + KINKED_BINARY
            return call(self.choose(*names), inner(shape), inner(shape))
        if form == "scaled":
            return call(self.choose(*BINARY), self.choose(0.5, 1.0, 0.0, -1.0), inner(shape))
        if form == "where":
            if self.smooth:
                return inner(shape) * self.build.read("dt")
            return call("where", call("less", inner(shape), inner(())), inner(shape), 0.5)
        if form == "divide":
            return inner(shape) / (call("tanh", inner(shape)) + 2.0)
        if form == "power":
            return call("power", inner(shape), self.choose(1.0, 2.0))
        if form == "param":
            return inner(shape) + self.param(shape)
        if form == "matmul":
            rows, columns = shape[0], self.choose(2, 3)
            if self.chance():
                return call(
                    "matmul", self.param((columns, rows)), inner((columns,)), transpose_a=True
                )
            return call("matmul", self.param((rows, columns)), inner((columns,)))
        if form == "product":
            row = call("matmul", self.param((1, 2)), inner((2,)))
            return call("sum", row)
        if form == "softmax":
            return call(self.choose("softmax", "log_softmax"), inner(shape))
        if form == "embed":
            return call("embed", self.param((WORDS, *shape)), self.build.read("w"))
        if form == "drawn":
            number = self.build.leaf("n", "noise", Type("float", (), OVER))
            index = call("draw", call("softmax", inner((3,))), number)
            return call("embed", self.param((3, *shape)), index)
        if form == "kept":
            return self.kept(shape, inner((3,)))
        if form == "sum":
            names = ("sum", "mean", "logsumexp") + (() if self.smooth else ("max", "min"))
            return call(self.choose(*names), inner(self.choose((2,), (3,))))
        if form == "dot":
            return call("dot", inner((3,)), inner((3,)))
        if form == "element":
            return call("sum", call("slice", inner((3,)), start=1, stop=2, axis=0))
        if form == "slice":
            start = self.choose(0, 1)
            return call("slice", inner((3,)), start=start, stop=start + 2, axis=0)
        if form == "concat":
            return call("concat", inner((2,)), inner(()), axis=0)
        if form == "joined":
            columns = call("concat", inner((2,)), inner((2,)), axis=0)
            return call("matmul", self.param((3, 4)), columns)
        return self.read(shape, component)

    def kept(self, shape: Shape, scores: Value) -> Value:
        """What depends on an index or a condition of an earlier step."""
        back, scores = self.choose(1, 2, 5), scores + self.build.read("x")
        if shape and self.chance():
            index = call("argmax", scores)
            known = self.build.read(index.edge.source, back, "t")
            return call("embed", self.param((3, *shape)), known)
        condition = call("greater", call("sum", scores), 0.0)
        known = self.build.read(condition.edge.source, back, "t")
        return call("where", known, self.param(shape), 0.5)

    # Components and what is made of them

    def component(self, number: int) -> None:
        names = [f"s{number}", f"r{number}", f"q{number}"][: self.choose(1, 2, 2, 3)]
        shapes = {name: self.choose(*SHAPES) for name in names}
        mixed = not self.causal and self.chance()
        moved = {name: self.choose(0, 0, 1, -2, 3, -5) if mixed else 0 for name in names}
        component = Component(1 if self.causal else self.choose(1, -1), shapes, moved)
        for name, shape in shapes.items():
            self.build.promise(name, Type("float", shape, OVER))
        for place, (name, shape) in enumerate(shapes.items()):
            self.build.prefix, self.build.line = name, number + 1
            # Each state reads the next one, so that all are on one cycle.
            other = names[(place + 1) % len(names)]
            component.current = name
            delay = component.delay(other, self.choose(1, 2, 3, 4))
            back = self.build.read(other, delay, "t")
            if shapes[other] != shape:
                back = call("sum", back) if back.type.shape else back
            fed = self.expression(shape, component, self.choose(0, 1, 2)) + back * 0.5
            driven = fed + self.build.read("u")
            self.build.define(name, self.choose("tanh", "sin", "sigmoid"), (driven,))
            self.start(name, shape)
        self.pool += names

    def start(self, name: str, shape: Shape, deep: str = "deep") -> None:
        """The value outside the sequence; ``deep`` has a row for each step there."""
        sort = self.choose("zero", "zero", "number", "param", deep, "static")
        initial: str | None = None
        if sort == "number":
            number = self.build.read("dt")
            filled = call("fill", number, shape=shape) if shape else number
            initial = filled.edge.source
        elif sort == "param":
            initial = self.param(shape).edge.source
        elif sort == "deep":
            self.deep.append(name)
        elif sort == "static":
            axes = set(self.build.nodes[name].type.axes)
            static = [
                other
                for other in self.pool
                if {*self.build.nodes[other].type.axes} <= axes - {"t"}
                and self.build.nodes[other].type.shape == shape
            ]
            initial = self.choose(*static) if static else None
        self.build.nodes[name] = replace(self.build.nodes[name], initial=initial)

    def clock(self, number: int) -> None:
        """A chain without the batch axis: all sequences share it."""
        name, shape = f"c{number}", self.choose(*SHAPES)
        self.build.prefix = name
        self.build.promise(name, Type("float", shape, ("t",)))
        back = self.build.read(name, self.choose(1, 2, 2 if self.causal else -1), "t")
        self.build.define(name, self.choose("sin", "tanh"), (back * 0.5 + self.param(shape),))
        # Read by what is not used and taken away, it would have more rows than are read.
        self.start(name, shape, deep="param")
        self.pool.append(name)

    def reduction(self, number: int) -> None:
        timed = [name for name in self.pool if "t" in self.build.nodes[name].type.axes]
        read = self.build.read(
            self.choose(*timed), self.choose(0, 0, 1, 3 if self.causal else -2), "t"
        )
        name = f"m{number}"
        self.build.prefix = name
        names = ("sum_over", "mean_over") + (() if self.smooth else ("max_over", "min_over"))
        operation = self.choose(*names, "first", "last")
        if operation in ("first", "last"):
            self.build.define(name, operation, (read,), axis="t")
        else:
            self.build.define(name, operation, (read,), over=("t",))
        self.pool.append(name)

    def plain(self, number: int) -> None:
        """A node that is on no cycle."""
        name = f"v{number}"
        self.build.prefix = name
        value = self.expression(self.choose(*SHAPES), None, 2)
        self.build.define(name, "tanh", (value,))
        self.pool.append(name)

    def loss(self) -> None:
        build = self.build
        build.prefix = "loss"
        scores = self.expression((3,), None, 2)
        if "t" not in scores.type.axes:
            scores = scores + build.read("x")
        a_step = call("cross_entropy", scores, build.read("y")) + self.expression((), None, 1)
        total = call(self.choose("mean_over", "sum_over"), a_step, over=("t",))
        static = [name for name in self.pool if "t" not in build.nodes[name].type.axes]
        value = build.read(self.choose(*static))
        square = value * value
        total = total + (call("sum", square) if square.type.shape else square)
        build.define("loss", "mean_over", (total,), over=("batch",))

    def graph(self) -> Graph:
        self.leaves()
        self.plain(0)
        for number in range(self.choose(1, 2, 3)):
            if self.clocks and self.chance():
                self.clock(number)
            self.component(number)
            if self.chance():
                self.reduction(number)
            if self.chance():
                self.plain(number + 1)
        self.loss()
        outputs = dict.fromkeys([self.choose(*self.pool), self.choose(*self.pool)])
        graph = Graph(
            "random",
            "graph",
            tuple(self.build.nodes.values()),
            tuple((name, name) for name in outputs if name not in ("x", "u", "z")),
            "loss",
        )
        return _deepened(graph, self.deep)


def _deepened(graph: Graph, deep: list[str]) -> Graph:
    """Initial values with a row for each step that is read outside the sequence."""
    leaves, nodes = [], []
    for node in graph.nodes:
        reach = graph.reach.get(node.name)
        # With reads on both sides it would not be clear which steps the rows are.
        if node.name in deep and reach is not None and not (reach.past and reach.future):
            shape = (reach.past + reach.future, *node.type.shape)
            leaf = Node(f"{node.name}before", "param", (), Type("float", shape))
            leaves.append(replace(leaf, attributes=(("initialiser", "zeros"),)))
            node = replace(node, initial=leaf.name)
        nodes.append(node)
    return replace(graph, nodes=(*leaves, *nodes))


@st.composite
def delay_graphs(draw: Draw, smooth: bool = False, clocks: bool = False) -> Graph:
    """A network with a loss.  A ``smooth`` one has derivatives everywhere.

    With ``clocks`` there are chains that all sequences share.
    """
    return Grower(draw, smooth, clocks).graph()


@st.composite
def streamed_graphs(draw: Draw) -> Graph:
    """A network that reads the past only, with its state as leaves and outputs."""
    graph = Grower(draw, False, draw(st.booleans()), causal=True).graph()
    return expose_state(replace(graph, stage="checked"))


@st.composite
def graphs_without_last_delay(draw: Draw) -> Graph:
    """A network in which all delays of one cycle are taken away."""
    graph = draw(delay_graphs())
    reads: Any = networkx.MultiDiGraph()
    for node in graph.nodes:
        for place, edge in enumerate(node.operands):
            reads.add_edge(edge.source, node.name, key=place)
    cycle = {(reader, place) for _, reader, place in networkx.find_cycle(reads)}
    nodes = []
    for node in graph.nodes:
        operands = tuple(
            Edge(edge.source) if (node.name, place) in cycle else edge
            for place, edge in enumerate(node.operands)
        )
        nodes.append(replace(node, operands=operands))
    return graph.with_nodes(nodes)


def random_leaves(graph: Graph, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Values for all leaves but the constants."""
    random = np.random.default_rng(seed)
    leaves: dict[str, Array] = {}
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            shape = tuple(sizes[axis] for axis in node.type.axes) + node.type.shape
            if node.type.kind == "index":
                leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            elif node.type.kind == "bool":
                leaves[node.name] = random.random(shape) < 0.5
            elif node.operation == "noise":
                leaves[node.name] = random.random(shape)
            else:
                leaves[node.name] = random.normal(size=shape)
    return leaves
