"""Random specs as text, valid by construction, as Hypothesis strategies.

They are of every form that the language has for one time axis: cells of their own and of the
library, nested and in the middle of expressions, with several results; functions with and
without a derivative of their own; chains from the first step and from the last, that read each
other; complex states and expressions; initial values of every sort; resets; `feed`; dropout and
sampling; passes within a step, elements of arrays, derivatives; values of two and three dimensions,
along their axes, by letters and looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from rollc.driver.sources import read_spec
from rollc.ir.graph import Graph

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = ((), (2,), (3,))
UNARY = ("tanh", "sigmoid", "sin", "softplus", "silu", "gelu")
KINKED = ("relu", "abs", "stop")
# Cells of the library that run from the first step: file, sizes beside H, results, smooth.
LIBRARY: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "rnn": ("rnn", "", ("h",), True),
    "lstm": ("lstm", "", ("h", "c"), True),
    "lstm_peephole": ("lstm_peephole", "", ("h", "c"), True),
    "lstm_layer_norm": ("lstm_layer_norm", "", ("h", "c"), True),
    "gru": ("gru", "", ("h",), True),
    "gru_before": ("gru", "", ("h",), True),
    "mgu": ("mgu", "", ("h",), True),
    "min_gru": ("min_gru", "", ("h",), True),
    "dilated": ("dilated", ", back=3", ("h",), True),
    "clockwork": ("clockwork", ", P=2", ("h",), True),
    "indrnn": ("indrnn", "", ("h",), False),
    "echo_state": ("echo_state", ", leak=0.5", ("h",), False),
    "lif": ("lif", "", ("s", "v"), False),
}
FUNCTIONS = """
fn mix(a, b) = 0.5 * a + tanh(b) * a
fn cube(v) = v * v * v
    grad 3 * v ** 2
fn both(a, b) = mix(a, cube(b)) - sin(a)
"""
# Their derivatives are not those of their values.
OWN_DERIVATIVES = """
fn fires(v) = where(v > 0, 1, 0)
    grad 1 / (1 + abs(v)) ** 2
fn scaled(a, b) = a * b
    grad a: b + 1
"""


@dataclass
class Known:
    """A name: its shape, whether it changes with time, and how it may be read with a delay."""

    shape: Shape
    timed: bool = True


@dataclass
class Cell:
    """What a use of a cell needs to know; ``direction`` is 1 for one that reads the past."""

    name: str
    results: tuple[str, ...]
    direction: int
    sizes: str = ""
    marked: bool = False  # whether its second input is a number that resets it


@dataclass
class Chain:
    """The equations that are being written, which may read each other, and how."""

    direction: int
    states: dict[str, Shape] = field(default_factory=dict)


class Writer:
    """Writes one spec out of Hypothesis's choices."""

    def __init__(self, draw: Draw, smooth: bool) -> None:
        self.draw = draw
        self.smooth = smooth
        self.lines: list[str] = []
        self.known: dict[str, Known] = {}
        self.cells: list[Cell] = []
        self.delays: dict[str, list[int]] = {}
        self.deep: list[str] = []
        self.wholes: dict[str, Shape] = {}  # complex values
        self.count = 0

    def choose(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def param(self, shape: Shape) -> str:
        name = self.fresh("p")
        sizes = ", ".join(map(str, shape))
        self.lines.append(f"param {name}: [{sizes}] = normal(0.5)" if shape else f"param {name}")
        return name

    # Cells

    def own_cell(self) -> None:
        """A cell with two states, maybe with another one inside."""
        direction = self.choose(1, -1)
        name = self.fresh("cell")

        def back(state: str, *delays: int) -> str:
            return f"{state}[t{'-' if direction > 0 else '+'}{self.choose(*delays)}]"

        marked = self.chance()
        body = ["param W: [H, size(x)], U: [H, H] = orthogonal, b: [H]"]
        body.append(f"a = W @ x + U @ {back('h', 1, 2)} + b")
        seen = "a"
        inner = [cell for cell in self.cells if cell.direction == direction and not cell.marked]
        if inner and self.chance():
            cell = self.choose(*inner)
            sizes = self.choose("H=H", "H=size(a)")
            body.append(
                f"{', '.join(f'n{r}' for r in cell.results)} = {cell.name}(a; {sizes}{cell.sizes})"
            )
            seen = "(a + nh)" if "h" in cell.results else "(a + ns)"
        wave = self.choose("tanh", "sigmoid", "sin")
        body.append(f"c = 0.6 * {back('c', 1, 3)} + k * {wave}({seen})")
        body.append(
            self.choose(
                "h = tanh(c) * sigmoid(a)",
                f"h = tanh(c + {back('c', 1, 2)})",
                f"h = tanh(dropout(c, rate=0.3) + 0.5 * {back('h', 1, 2)})",
                "h = both(a, 0.3 * c)" if not self.chance() else "h = mix(c, a)",
            )
        )
        body += self.choose(
            [],
            ["init h = 0.5"],
            ["param start: [H] = 0.3", "init c = start", "init h = tanh(start)"],
        )
        if marked:
            body.append(self.choose("reset h when r", "reset c when r > 0.5"))
        inputs = "x, r" if marked else "x"
        self.lines.append(f"cell {name}({inputs}; H, k=0.7) -> h, c {{")
        self.lines += [f"    {line}" for line in body]
        self.lines.append("}")
        self.cells.append(Cell(name, ("h", "c"), direction, self.choose("", ", k=0.2"), marked))

    def library_cell(self) -> None:
        names = [name for name, (_, _, _, smooth) in LIBRARY.items() if smooth or not self.smooth]
        name = self.choose(*names)
        if any(cell.name == name for cell in self.cells):
            return
        file, sizes, results, _ = LIBRARY[name]
        line = f'use "cells/{file}.roll"'
        if line not in self.lines:
            self.lines.append(line)
        self.cells.append(Cell(name, results, 1, sizes))

    def call(self, cell: Cell, size: int, chain: Chain | None, depth: int) -> str:
        """A use of a cell, for a result of ``size`` elements."""
        operand = self.expression(self.choose((2,), (3,)), chain, depth)
        mark = f", {self.mark()}" if cell.marked else ""
        return f"{cell.name}({operand}{mark}; H={size}{cell.sizes})"

    def mark(self) -> str:
        """1 or 0, or a condition, at each step."""
        return str(self.choose("u > 0.4", "w == 1", "one_hot(w, size=4)[2]"))

    # Expressions

    def delayed(self, name: str, delay: int) -> str:
        if not delay:
            return name
        self.delays.setdefault(name, []).append(delay)
        return f"{name}[t{'-' if delay > 0 else '+'}{abs(delay)}]"

    def read(self, shape: Shape, chain: Chain | None) -> str:
        reads: list[tuple[str, tuple[int, ...]]] = []
        for name, known in self.known.items():
            if known.shape == shape:
                reads.append((name, (0, 0, 1, 2, -1, -3) if known.timed else (0,)))
        for name, own in chain.states.items() if chain is not None else ():
            if own == shape and chain is not None:
                delays = tuple(chain.direction * delay for delay in (1, 1, 2, 4))
                reads += [(name, delays)] * 3
        if not reads:
            return self.param(shape)
        name, delays = self.choose(*reads)
        return self.delayed(name, self.choose(*delays))

    def expression(self, shape: Shape, chain: Chain | None, depth: int) -> str:
        if depth <= 0:
            return self.read(shape, chain)

        def inner(other: Shape) -> str:
            return self.expression(other, chain, depth - 1)

        forms = ["read", "unary", "binary", "scaled", "divide", "power", "param", "function"]
        forms += ["dropout", "where", "part"]
        if shape:
            forms += ["matmul", "softmax", "embed", "norm", "cell", "cell", "ranks"]
            forms += [] if self.smooth else ["drawn"]
        else:
            forms += ["sum", "dot", "element"]
        forms += ["slice"] if shape == (2,) else []
        forms += ["concat"] if shape == (3,) else []
        size = shape[0] if shape else 0
        match self.choose(*forms):
            case "unary":
                names = UNARY if self.smooth else UNARY + KINKED
                return f"{self.choose(*names)}({inner(shape)})"
            case "binary":
                return f"({inner(shape)} {self.choose('+', '-', '*')} {inner(shape)})"
            case "scaled":
                return f"{self.choose('0.5', '-1', 'dt')} * {inner(shape)}"
            case "divide":
                return f"({inner(shape)}) / (2 + tanh({inner(shape)}))"
            case "power":
                return f"tanh({inner(shape)}) ** 2"
            case "param":
                return f"({inner(shape)} + {self.param(shape)})"
            case "function":
                names = ("mix", "both") if self.smooth else ("mix", "both", "scaled")
                if not self.smooth and self.chance():
                    return f"fires({inner(shape)})"
                return f"{self.choose(*names)}({inner(shape)}, tanh({inner(shape)}))"
            case "dropout":
                same = self.choose("", ", same=1")
                return f"dropout({inner(shape)}, rate=0.4{same})"
            case "where":
                condition = self.choose("u > 0.4", "w == 1")
                if not self.smooth:
                    condition = f"{inner(shape)} < {inner(())}"
                return f"where({condition}, {inner(shape)}, {inner(shape)})"
            case "part":
                part = self.choose("real", "imag") if self.smooth else self.choose("abs", "angle")
                return f"{part}({self.whole(shape, chain, depth - 1)})"
            case "matmul":
                columns = self.choose(2, 3)
                return f"({self.param((size, columns))} @ ({inner((columns,))}))"
            case "ranks":
                return self.of_ranks(size, chain, depth)
            case "softmax":
                return f"{self.choose('softmax', 'log_softmax')}({inner(shape)})"
            case "norm":
                gain, bias = self.param(shape), self.param(shape)
                return f"layer_norm({inner(shape)} + {self.param(shape)}, {gain}, {bias})"
            case "embed":
                return f"embed({self.param((4, size))}, {self.choose('w', 'w[t-1]', 'w[t+2]')})"
            case "drawn":
                return f"embed({self.param((3, size))}, sample(softmax({inner((3,))})))"
            case "cell":
                direction = self.choose(1, -1) if chain is None else chain.direction
                fitting = [cell for cell in self.cells if cell.direction == direction]
                if fitting:
                    return self.call(self.choose(*fitting), size, chain, depth - 1)
                return inner(shape)
            case "sum":
                name = self.choose("sum", "mean", "logsumexp")
                return f"{name}({inner(self.choose((2,), (3,)))})"
            case "dot":
                return f"dot({inner((3,))}, {inner((3,))})"
            case "element":
                return f"concat({inner((2,))}, {inner(())})[{self.choose(0, 2)}]"
            case "slice":
                return f"concat({inner((3,))}, {inner(())})[1:3]"
            case "concat":
                return f"concat({inner((2,))}, {inner(())})"
            case _:
                return self.read(shape, chain)

    def of_ranks(self, size: int, chain: Chain | None, depth: int) -> str:
        """A vector of values of two and three dimensions: along axes, by letters, looked up."""

        def inner(*shape: int) -> str:
            return self.expression(shape, chain, depth - 1)

        columns, axis = self.choose(2, 3), self.choose(1, -1)
        forms = ["heads", "each", "rows", "row", "column", "matrix", "deep", "along", "stack"]
        match self.choose(*forms):
            case "heads":
                heads = self.param((2, size, columns))
                return f'einsum("hnk,k->n", {heads}, {inner(columns)})'
            case "each":
                product = f"outer({inner(size)}, {inner(columns)})"
                return f'einsum("nk,nk->n", {product}, {self.param((size, columns))})'
            case "rows":
                reduced = self.choose("sum", "mean", "logsumexp")
                reduced = reduced if self.smooth else self.choose(reduced, "max", "min")
                return f"{reduced}(outer({inner(size)}, {inner(columns)}), axis={axis})"
            case "row":
                return f"{self.param((4, size))}[w, :] * {inner()}"
            case "column":
                return f"({self.param((size, 4))} * expand({inner(size)}, axis=1))[:, w]"
            case "matrix":
                turned = f"transpose({self.param((columns, 2, size))}, 1, 2, 0)"
                return f"({turned}[{self.choose(0, 1)}] @ {inner(columns)})"
            case "deep":
                cube = f"tanh({inner()} * {self.param((2, size, columns))})"
                return f"sum(mean({cube}, axis=-1), axis=0)"
            case "along":
                name = self.choose("softmax", "log_softmax", "cumsum", "cumprod")
                product = f"outer({inner(size)}, {inner(columns)})"
                return f"mean({name}(tanh({product}), axis={self.choose(0, 1, -1)}), axis=1)"
        both = f"stack({inner(size)}, {inner(size)}, axis={self.choose(0, -2)})"
        return f"reshape({both}, {2 * size})[{size}:]"

    def whole(self, shape: Shape, chain: Chain | None, depth: int) -> str:
        """A complex expression."""
        states = [name for name, own in self.wholes.items() if own == shape]
        if depth <= 0:
            sort = self.choose("param", "input" if shape == (3,) else "param", *states)
            if sort in states:
                return self.delayed(sort, self.choose(0, 1, -2))
            if sort == "input":
                return self.delayed("v", self.choose(0, 1, -1))
            name = self.fresh("p")
            self.lines.append(f"param {name}: complex{list(shape) if shape else ''} = normal(0.5)")
            return name

        def inner() -> str:
            return self.whole(shape, chain, depth - 1)

        real = self.expression(shape, chain, depth - 1)
        forms = ("pair", "sum", "product", "quotient", "turned", "conj", "scaled", "where")
        match self.choose(*forms):
            case "pair":
                return f"complex({real}, {self.expression(shape, chain, depth - 1)})"
            case "sum":
                return f"({inner()} {self.choose('+', '-')} {self.choose(real, inner())})"
            case "product":
                return f"({inner()} * {inner()})"
            case "quotient":
                return f"({inner()}) / (2 + exp(complex(0, {real})))"
            case "turned":
                return f"exp(complex(tanh({real}), dt)) * {inner()}"
            case "conj":
                return f"conj({inner()})"
            case "where":
                return f"where({self.choose('u > 0.4', 'w == 1')}, {inner()}, {real})"
            case _:
                return f"({self.choose('0.5', '-dt')} * {inner()}) ** {self.choose(1, 2, 3)}"

    # Equations

    def rotor(self) -> None:
        """A complex state."""
        name, shape = self.fresh("z"), self.choose((2,), (3,))
        back = self.delayed(name, self.choose(1, -1, 2))
        pole = f"exp(complex(-0.5, {self.param(shape)}))"
        fed = self.whole(shape, None, self.choose(0, 1, 2))
        self.lines.append(f"{name}: complex{list(shape)} = {pole} * {back} + {fed}")
        if self.chance():
            self.lines.append(f"init {name} = {self.choose(self.param(shape), '0.5')}")
        if self.choose(True, False, False):
            self.lines.append(f"reset {name} when {self.mark()}")
        self.wholes[name] = shape

    def chain(self) -> None:
        """One state, or two that read each other."""
        chain = Chain(self.choose(1, -1))
        names = [self.fresh("s") for _ in range(self.choose(1, 2))]
        for name in names:
            chain.states[name] = self.choose(*SHAPES)
        for place, name in enumerate(names):
            shape, other = chain.states[name], names[(place + 1) % len(names)]
            back = self.delayed(other, chain.direction * self.choose(1, 2, 3))
            if chain.states[other] != shape and chain.states[other]:
                back = f"sum({back})"
            fed = self.expression(shape, chain, self.choose(0, 1, 2))
            wave = self.choose("tanh", "sin", "sigmoid")
            # A cycle of numbers and vectors of no other source would be of numbers.
            bias = f" + {self.param(shape)}" if shape else ""
            self.lines.append(f"{name} = {wave}({fed} + 0.5 * {back} + u{bias})")
            self.start(name, shape)
            if self.choose(True, False, False):
                self.lines.append(f"reset {name} when {self.mark()}")
        self.known |= {name: Known(chain.states[name]) for name in names}

    def start(self, name: str, shape: Shape) -> None:
        """The value outside the sequence."""
        sort = self.choose("zero", "zero", "number", "param", "static", "computed", "deep")
        if sort == "number":
            self.lines.append(f"init {name} = {self.choose('0.5', '-dt')}")
        elif sort == "param":
            self.lines.append(f"init {name} = {self.param(shape)}")
        elif sort == "static":
            static = [
                other
                for other, known in self.known.items()
                if not known.timed and known.shape == shape
            ]
            if static:
                other = self.choose(*static)
                self.lines.append(f"init {name} = {self.choose(other, f'sin({other})')}")
        elif sort == "computed" and shape:
            self.lines.append(f"init {name} = tanh({self.param((*shape, 2))} @ z)")
        elif sort == "deep" and shape:  # rows of numbers would make a cycle of numbers a vector
            self.deep.append(name)

    def taught(self) -> None:
        """A chain that reads its own last choice, or the target."""
        name = self.fresh("o")
        chain = Chain(1, {})
        table, weights = self.param((3, 3)), self.param((3, 3))
        fed = self.expression((3,), chain, 1)
        if self.chance():
            said = self.fresh("q")
            self.lines.append(f"{said} = feed(argmax({name}[t-1]), y[t-1])")
            read = f"embed({table}, {said})"
        else:
            read = f"tanh({weights} @ feed({name}[t-1], g[t-1]))"
        self.lines.append(f"{name} = {fed} + {read}")
        self.delays[name] = [1]
        self.known[name] = Known((3,))

    def used(self) -> None:
        """A cell whose results have names, and maybe initial values from outside."""
        cell = self.choose(*self.cells)
        size = self.choose(2, 3)
        results = [self.fresh("h") for _ in cell.results][: self.choose(1, 2)]
        self.lines.append(f"{', '.join(results)} = {self.call(cell, size, None, 1)}")
        self.known |= {name: Known((size,)) for name in results}
        if cell.name in ("rnn", "lstm", "gru", "mgu", "min_gru") and self.chance():
            self.lines.append(f"init {results[0]} = {self.param((size,))}")

    def repeated(self) -> None:
        """Passes within a step, elements of an array, or a derivative."""
        shape, count = self.choose(*SHAPES), self.choose(1, 2, 3)
        value, beside = self.expression(shape, None, 1), self.expression(shape, None, 1)
        name, index = self.fresh("r"), self.fresh("k")
        match self.choose("passes", "elements", "slope"):
            case "passes":
                self.lines += [f"{name} = {value} + u", f"repeat {count} {{"]
                self.lines += [f"    {name} = 0.5 * tanh({name}) + {beside}", "}"]
            case "elements":
                self.lines.append(
                    f"{name}[{index}] = {value} * ({index} + 1) + u for {index} in range({count})"
                )
                self.known[f"{name}[{count - 1}]"] = Known(shape)
                return
            case "slope":
                e = f"sin({index}) * {index} + 0.5 * {index} * stop({beside})"
                self.lines.append(f"{index} = {value} + u")
                self.lines.append(f"{name} = grad({f'sum({e})' if shape else e}, {index})")
        self.known[name] = Known(shape)

    def ranked(self) -> None:
        """A vector of values of more dimensions."""
        name, size = self.fresh("e"), self.choose(2, 3)
        self.lines.append(f"{name} = {self.of_ranks(size, None, 1)} + u")
        self.known[name] = Known((size,))

    def reduction(self) -> None:
        timed = [name for name, known in self.known.items() if known.timed]
        name, of = self.fresh("m"), self.choose(*timed)
        over = ("sum", "mean") if self.smooth else ("sum", "mean", "max", "min")
        forms = [f"{operation}({of}, over t)" for operation in over]
        self.lines.append(f"{name} = {self.choose(*forms, f'first({of})', f'last({of})')}")
        self.known[name] = Known(self.known[of].shape, timed=False)

    def rows(self) -> None:
        """Initial values with a row for each step that is read outside the sequence."""
        for name in self.deep:
            depths = self.delays.get(name, [])
            one_side = not (min(depths) < 0 < max(depths))
            depth = max(map(abs, depths))
            if one_side and depth > 1:
                shape = next(known.shape for other, known in self.known.items() if other == name)
                self.lines.append(f"init {name} = {self.param((depth, *shape))}")

    def text(self) -> str:
        self.lines += ["net random", "const dt = 0.25"]
        self.lines += ["input x: [3], u, w: index(4), v: complex[3]", "static input z: [2]"]
        self.lines += ["target y: index(3), g: [3]", *FUNCTIONS.splitlines()]
        if not self.smooth:
            self.lines += OWN_DERIVATIVES.splitlines()
        self.known = {"x": Known((3,)), "u": Known(()), "z": Known((2,), timed=False)}
        for _ in range(self.choose(1, 2)):
            self.library_cell()
        for _ in range(self.choose(1, 2)):
            self.own_cell()
        parts = [self.chain, self.chain, self.used, self.used, self.taught, self.reduction]
        parts += [self.rotor, self.repeated, self.ranked]
        for _ in range(self.choose(1, 2, 3, 4)):
            self.choose(*parts)()
        scores, more = self.expression((3,), None, 2), self.expression((), None, 1)
        over = self.choose("mean", "sum")
        static = [name for name, known in self.known.items() if not known.timed]
        self.lines.append(f"scores = {scores} + x")
        known = self.choose(*static)
        square = f"sum({known} ** 2)" if self.known[known].shape else f"{known} ** 2"
        self.lines.append(f"loss {over}(cross_entropy(scores, y) + {more}, over t) + {square}")
        self.rows()
        own = [name for name in self.known if name not in ("x", "u", "z") and "[" not in name]
        self.lines.append(
            f"output {', '.join(dict.fromkeys([self.choose('scores', *own), 'scores']))}"
        )
        return "\n".join(line for line in self.lines if line) + "\n"


@st.composite
def specs(draw: Draw, smooth: bool = False) -> str:
    """The text of a network with a loss.  A ``smooth`` one has derivatives everywhere."""
    return Writer(draw, smooth).text()


@st.composite
def spec_graphs(draw: Draw, smooth: bool = False) -> Graph:
    """The graph of a random spec, `feed` taught or free."""
    text = draw(specs(smooth))
    feed = draw(st.sampled_from(["taught", "free"]))
    return read_spec(text, "random.roll", feed=feed)[0]
