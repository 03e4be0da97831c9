"""Random recurrences over two time axes at once, each computed along a wavefront of its own.

A state reads itself with up to four delays along both axes, whose sum with some weights of the axes
is positive: often those of rows and columns from some corner, sometimes larger ones.  Borders have
initial values that may run over the other axis.
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
AXES = ("s", "t", "batch")
WEIGHTS = [(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]


@st.composite
def wavefront_graphs(draw: Draw) -> Graph:
    """A network with a state that reads itself along the axes s and t, and a loss."""
    return _Front(draw).graph()


class _Front:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.build = Builder()
        self.shape = self.choose((), (2,), (3,))
        self.type = Type("float", self.shape, AXES)

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def delays(self) -> list[tuple[int, int]]:
        """Delays along s and t that point to one side of a line."""
        signs = self.choose(1, -1), self.choose(1, -1)
        a, b = (sign * weight for sign, weight in zip(signs, self.choose(*WEIGHTS), strict=True))
        inside = [(s, t) for s in range(-3, 4) for t in range(-3, 4) if 0 < a * s + b * t <= 4]
        return [self.choose(*inside) for _ in range(self.choose(2, 3, 3, 4))]

    def weighted(self, number: int, value: Value) -> Value:
        shape = self.shape * 2
        weight = self.build.leaf(
            f"p{number}", "param", Type("float", shape), initialiser="normal", scale=0.5
        )
        return call("matmul" if shape else "multiply", weight, value)

    def start(self, name: str, axis: str) -> None:
        """Maybe an initial value along an axis, which can run over the other one."""
        build, other = self.build, "t" if axis == "s" else "s"
        chosen = self.choose("zero", "param", "input")
        if chosen == "zero":
            return
        leaf = f"{name}_{axis}"
        if chosen == "param":
            build.leaf(leaf, "param", Type("float", self.shape), initialiser="zeros")
        else:
            build.leaf(leaf, "input", Type("float", self.shape, (other, "batch")))
        build.nodes[name] = replace(build.nodes[name], initial=leaf)

    def graph(self) -> Graph:
        build = self.build
        x = build.leaf("x", "input", self.type)
        y = build.leaf("y", "input", Type("float", self.shape, (self.choose("s", "t"), "batch")))
        names = {"h", "g"} if self.choose(True, False) else {"h"}
        for name in ("h", "g"):
            build.promise(name, self.type)
        whole = x * y
        starts: list[tuple[str, str]] = []
        for number, (s, t) in enumerate(self.delays()):
            build.prefix = "h"
            name = self.choose(*sorted(names))
            read = build.read(name, s, "s") if s else build.read(name)
            starts += [(name, "s")] if s else []
            if t:
                copy = f"c{number}"
                read = build.define(copy, "along", (read,), axis="t")
                starts.append((copy, "t"))
                read = build.read(copy, t, "t")
            term = self.weighted(number, read)
            whole = whole * term if self.choose(False, False, True) else whole + term
        build.define("h", self.choose("tanh", "sin", "sigmoid"), (whole,))
        build.define("g", self.choose("tanh", "cos"), (build.read("h"),))
        for name, axis in dict.fromkeys(starts):
            self.start(name, axis)
        build.prefix = "loss"
        each = call("mean_over", build.read(self.choose("h", "g")), over=("s", "t"))
        each = call("sum", each) if self.shape else each
        build.define("loss", "mean_over", (each * each,), over=("batch",))
        outputs = [(name, name) for name in ("h", "g") if self.choose(True, False)]
        nodes = tuple(build.nodes.values())
        graph = Graph("front", "graph", nodes, tuple(outputs), "loss", axes=("s", "t"))
        return separated(graph)
