"""Random networks over two time axes: an encoder over s, a decoder over t, and what joins them.

The decoder may start from a summary of the encoder, and read at each of its steps a mean of
the encoder's values, with weights that depend on both: attention.  Either may run from the
first step or from the last, with delays of 1 to 3, and the other values are read with delays
of both signs along both axes.  There may be a state at every pair of their steps, that starts
from what runs over the encoder's; and one whose cycles are along both axes, with borders of its
own, in one of the four directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Graph, Type
from rollc.ir.time.delay_axes import separated

Draw = Callable[[st.SearchStrategy[Any]], Any]

HIDDEN = 3


class Translator:
    """Builds one network out of Hypothesis's choices."""

    def __init__(self, draw: Draw, steps: bool = False) -> None:
        self.draw = draw
        self.ahead = 1 if steps else -1  # the sign of what would be read ahead along t
        self.build = Builder()
        self.params = 0

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def weights(self, *shape: int) -> Value:
        self.params += 1
        name = f"p{self.params}"
        return self.build.leaf(name, "param", Type("float", shape), initialiser="normal", scale=0.5)

    def of(self, value: Value) -> Value:
        """A matrix times a vector."""
        return call("matmul", self.weights(HIDDEN, HIDDEN), value)

    def chain(self, name: str, axis: str, fed: Callable[[Value], Value]) -> Value:
        """A state along an axis, whose equation also has what ``fed`` makes of its past."""
        build = self.build
        direction = self.choose(1, -1 if axis == "s" else self.ahead)
        build.promise(name, Type("float", (HIDDEN,), (axis, "batch")))
        build.prefix = name
        back = build.read(name, direction * self.choose(1, 2, 3), axis)
        near = build.read(name, direction, axis)
        whole = self.of(back) + fed(near)
        return build.define(name, self.choose("tanh", "sigmoid", "sin"), (whole,))

    def start(self, name: str, initial: Value | None) -> None:
        if initial is not None:
            nodes = self.build.nodes
            nodes[name] = replace(nodes[name], initial=initial.edge.source)

    def over_s(self, value: Value) -> Value:
        """One value of all the steps of the encoder."""
        form = self.choose("last", "first", "sum_over", "mean_over", "max_over")
        if form in ("last", "first"):
            return call(form, value, axis="s")
        return call(form, value, over=("s",))

    def attention(self, near: Value) -> Value:
        """A weighted sum over the encoder's steps; the weights may look at their neighbours."""
        build = self.build
        read = build.read("e", self.choose(0, 0, 1, -1), "s")
        score = call("dot", read, self.of(near))
        if self.choose(True, False):
            score = score + call("dot", build.read("x", self.choose(0, 2, -1), "s"), self.of(near))
        if self.choose(True, False):
            share = call("softmax_over", score, over=("s",))
        else:
            share = call("sigmoid", score)
        return call(self.choose("sum_over", "mean_over", "max_over"), share * read, over=("s",))

    def grid(self, x: Value, d: Value) -> Value:
        """A state along t for each step of s, whose initial value may run over s."""
        build, back = self.build, self.choose(1, 2)
        build.promise("g", Type("float", (HIDDEN,), ("s", "t", "batch")))
        build.prefix = "g"
        past = self.choose(1, 1, self.ahead)
        whole = call("sigmoid", build.read("g", past * back, "t") + x) * d
        grid = build.define("g", "add", (whole, build.read("e", self.choose(0, 1), "s")))
        self.start("g", self.choose(None, x, call("stack", *(x, self.of(x))[:back])))
        return grid

    def plane(self, x: Value, d: Value) -> Value:
        """A state that reads itself along s, along t and maybe along both, from any corner."""
        build = self.build
        s, t = self.choose(1, -1), self.choose(1, self.ahead)
        type_ = Type("float", (HIDDEN,), ("s", "t", "batch"))
        for name in ("p", "q", "r"):
            build.promise(name, type_)
        build.prefix = "p"
        row = build.read("q", s * self.choose(1, 1, 2), "s")
        column = build.read("p", t * self.choose(1, 1, 2), "t")
        whole = x * d + self.of(column) + self.choose(row, self.of(row), row * column)
        if self.choose(True, False):  # the neighbour along both, or along one against the other
            corner = build.define("r", "along", (build.read("q", s, "s"),), axis="t")
            self.start("r", self.choose(None, build.read("e"), self.starts))
            whole = whole + 0.5 * build.read(corner.edge.source, self.choose(t, t, self.ahead), "t")
        if self.choose(True, False):  # what one step has to know of all steps along the other axis
            mean = call("mean_over", build.read("p"), over=("t",))
            whole = whole + build.read(mean.edge.source, s, "s")
        plane = build.define("p", self.choose("tanh", "sin"), (whole,))
        self.start("p", self.choose(None, self.starts, x))
        build.define("q", "along", (plane,), axis="s")
        self.start("q", self.choose(None, self.starts, d))
        return plane

    def graph(self) -> Graph:
        build = self.build
        x = build.leaf("x", "input", Type("float", (HIDDEN,), ("s", "batch")))
        z = build.leaf("z", "input", Type("float", (HIDDEN,), ("t", "batch")))
        start = build.leaf("start", "param", Type("float", (HIDDEN,)), initialiser="zeros")
        self.starts = start
        target = build.leaf("y", "target", Type("index", (), ("t", "batch"), HIDDEN))
        e = self.chain("e", "s", lambda near: self.of(x))
        self.start("e", self.choose(None, start))
        build.prefix = "m"
        summary = self.over_s(e)
        joined = self.choose("summary", "attention", "both", "nothing")

        def fed(near: Value) -> Value:
            found = self.of(build.read("z", self.choose(0, 1, 2 * self.ahead), "t"))
            if joined in ("attention", "both"):
                found = found + self.of(self.attention(near))
            if joined in ("summary", "both"):
                found = found + summary * near
            return found

        d = self.chain("d", "t", fed)
        self.start("d", self.choose(None, start, summary, summary))
        build.prefix = "o"
        o = build.define("o", "add", (self.of(d), call("tanh", z)))
        build.prefix = "loss"
        each = call("cross_entropy", o, target)
        total = call(self.choose("mean_over", "sum_over"), each, over=("t",))
        # Every value of s and t, once more in the loss, maybe with a delay along each.
        grid = call("dot", build.read("e", self.choose(0, 1, -1), "s"), d)
        if self.choose(True, False):
            grid = grid + call("sum", self.grid(x, d))
        if self.choose(True, False):
            grid = grid + call("sum", self.plane(x, d))
        total = total + call("mean_over", call("tanh", grid), over=("s", "t"))
        build.define("loss", "mean_over", (total + call("sum", summary),), over=("batch",))
        outputs = [("o", "o"), *([("e", "e")] if self.choose(True, False) else [])]
        if "g" in build.nodes and self.choose(True, False):
            outputs.append(("g", "g"))
        if "p" in build.nodes and self.choose(True, False):
            outputs.append(("p", "p"))
        nodes = tuple(build.nodes.values())
        graph = Graph("translator", "graph", nodes, tuple(outputs), "loss", axes=("s", "t"))
        return separated(graph)


@st.composite
def two_axis_graphs(draw: Draw, steps: bool = False) -> Graph:
    """A network over the axes s and t, with a loss; for ``steps``, with all delays along t into
    the past.
    """
    return Translator(draw, steps).graph()
