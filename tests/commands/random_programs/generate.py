"""Programs that are valid by construction, from a seed.

What is written is tame: every expression comes with a bound of its size, and what could grow is
kept small, so that a comparison to rounding means something.  Sizes are small, 1 among them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tests.commands.random_programs import language as la
from tests.commands.random_programs.grids import grid
from tests.commands.random_programs.language import (
    Call,
    Element,
    Expression,
    Float,
    Index,
    Name,
    Number,
    Slice,
)
from tests.commands.random_programs.library import CELLS, library

Size = int | str | tuple[int, str]
"""A number; the name of a size of a cell, or `x` for the length of its input; a multiple."""

Shape = tuple[Size, ...]
Written = tuple[Expression, float]
"""An expression, and a bound of its absolute value."""

BOUNDED = {"tanh": 1.0, "sin": 1.0, "cos": 1.0, "sigmoid": 1.0, "normal_cdf": 1.0}
BOUNDED |= {"atan": 1.6, "erf": 1.0, "erfc": 2.0}
BOUNDED |= {"hard_sigmoid": 1.0, "hard_tanh": 1.0, "softsign": 1.0}
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
REDUCTIONS = ("sum", "mean", "max", "min", "dot", "logsumexp", "log_det", "mse", "cross_entropy")
REDUCTIONS += ("binary_cross_entropy",)
KEPT = (
    "leaky_relu",
    "elu",
    "relu",
    "abs",
    "silu",
    "gelu",
    "identity",
    "neg",
    "stop",
)  # no larger than their operand
ODD_NAMES = (
    *("T", "B", "S", "F", "I", "np", "batch", "steps", "out", "exp", "mean", "tanh", "sum"),
    *("lengths", "stated", "each", "range", "cell", "time", "reset", "use", "x_1", "v_h", "loop"),
    *("self", "lambda_", "None_", "result", "buffer", "t_1", "zero", "shape", "seed", "e1", "fn"),
)


@dataclass
class Known:
    """A name that can be read: ``kind`` is float or index, of ``bound`` values.

    ``along`` is the axis of its delays, once there is one.
    """

    shape: Shape = ()
    axes: frozenset[str] = frozenset()
    size: float = 1.0
    kind: str = "float"
    bound: int = 0
    along: str | None = None
    delays: bool = True
    free: bool = False  # its delays are along any axis


@dataclass
class Chain:
    """Equations that read each other: which can be read now, and how."""

    axis: str
    direction: int
    states: dict[str, Known]
    done: set[str] = field(default_factory=set)  # those that can be read without a delay


@dataclass
class Use:
    """What the use of a cell needs to know."""

    name: str
    direction: int
    results: int
    sizes: tuple[tuple[str, Expression], ...] = ()
    marked: bool = False
    own_start: bool = False
    delayed_input: bool = False
    along_one: bool = False  # inputs over two axes would not tell what is used inside its own
    first: str = "H"  # the size of its first result
    beside: bool = False  # a second input, which is read with a delay
    as_input: bool = False  # its result has the shape of its input
    whole: bool = False  # its result is complex


@dataclass
class Scope:
    """Where expressions are written: the spec, a cell or a function."""

    body: list[la.Statement]
    known: dict[str, Known]
    sizes: tuple[Size, ...]
    axes: tuple[str, ...]
    inside: str = ""  # "cell" or "function"
    chain: Chain | None = None
    sampled: bool = False
    chance: bool = True


@dataclass(frozen=True)
class Settings:
    """How a program is to be built and called."""

    sets: dict[str, int]
    feed: str
    truncate: int | None
    training: bool
    steps: dict[str, int]
    batch: int | None
    seed: int


class Writer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.statements: list[la.Statement] = []
        self.dims: dict[str, int] = {}
        self.sets: dict[str, int] = {}
        self.consts: dict[str, float] = {}
        self.names: set[str] = set()
        self.uses: list[Use] = []
        self.functions: dict[str, tuple[int, bool]] = {}  # its arguments; whether elementwise
        self.rate = 0.2
        self.deep: list[str] = []
        self.owned: set[str] = set()  # names that have an initial value
        self.declared: set[str] = set()
        self.online = self.chance(0.3)  # it can be run step by step
        self.alike = False  # both axes have the same steps
        self.wanted: list[str] = []  # names that are to have a gradient
        self.deep_along: list[tuple[str, str]] = []  # and the axis that its initial value is over

    # Choices

    def choose(self, *options):
        return self.random.choice(options)

    def chance(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    def into(self, *delays: int) -> int:
        """A delay, a positive one into the past."""
        return self.choose(*(delay for delay in delays if delay >= 0 or not self.online))

    def fresh(self, prefix: str, odd: bool = True) -> str:
        if odd and self.chance(0.1):
            name = self.choose(*ODD_NAMES)
            if name not in self.names:
                self.names.add(name)
                return name
        number = 1
        while f"{prefix}{number}" in self.names:
            number += 1
        self.names.add(f"{prefix}{number}")
        return f"{prefix}{number}"

    # Sizes

    def size(self, size: Size) -> Expression:
        """How a size is written."""
        match size:
            case int():
                named = [name for name, value in self.dims.items() if value == size]
                if named and self.chance(0.4):
                    return Name(self.choose(*named))
                return Number(size)
            case "x":
                return Call("size", (Name("x"),))
            case str():
                return Name(size)
            case (count, name):
                return Call("*", (Number(count), self.size(name)))
        raise AssertionError(size)

    def sizes(self, shape: Shape) -> tuple[Expression, ...]:
        return tuple(map(self.size, shape))

    def type(self, known: Known) -> la.Type:
        if known.kind == "index":
            return Index(Number(known.bound))
        if known.kind == "bool":
            return la.Condition(self.sizes(known.shape))
        return Float(self.sizes(known.shape))

    def any_shape(self, scope: Scope, most: int = 1) -> Shape:
        rank = self.choose(0, 1, 1) if most < 2 else self.choose(0, 1, 1, 1, 2)
        return tuple(self.choose(*scope.sizes) for _ in range(rank))

    # Leaves

    def param(self, scope: Scope, shape: Shape, start: str | None = None) -> Written:
        name = self.fresh("p")
        forms = ["", "normal(0.5)", "uniform(-0.5, 0.5)", "0.5", "zeros", "-1 / 4"]
        forms += ["orthogonal", "glorot"] if len(shape) == 2 else []
        text = self.choose(*forms) if start is None else start
        scope.body.append(la.Param(name, self.sizes(shape), text, self.chance(0.08)))
        return Name(name), 1.5

    def number(self) -> Written:
        if self.consts and self.chance(0.2):
            name = self.choose(*self.consts)
            return Name(name), abs(self.consts[name])
        if self.dims and self.chance(0.1):
            name = self.choose(*self.dims)
            return Name(name), float(self.dims[name])
        value = self.choose(0.5, 1.0, 0.25, -0.5, 2.0, -1.0, 0.0, 1.5, 0.3, 1e-3)
        return Number(value), abs(value)

    # Which axes an expression runs over

    def axes(self, expression: Expression, scope: Scope) -> frozenset[str]:
        match expression:
            case Name(name, delay, axis):
                delayed = frozenset([axis] if delay else [])
                return self.known(name, scope).axes | delayed
            case Call("first" | "last", (operand,), over=over):
                own = self.axes(operand, scope)
                return own - ({over} if over is not None else own)
            case Call("along", over=over):
                return frozenset([over])
            case Call(function, (operand,), over=over) if (
                over is not None and function != "softmax"
            ):
                own = self.axes(operand, scope)
                if any(function == use.name for use in self.uses):
                    return own | {over}
                return own - {over}
        below = frozenset[str]().union(
            *(self.axes(part, scope) for part in getattr(expression, "operands", ()))
        )
        if isinstance(expression, Slice | Element):
            below = self.axes(expression.operand, scope)
        if isinstance(expression, Call) and any(
            expression.function == use.name for use in self.uses
        ):
            below |= {expression.over or next(iter(below), "t")}
        return below

    def known(self, name: str, scope: Scope) -> Known:
        if scope.chain is not None and name in scope.chain.states:
            return scope.chain.states[name]
        return scope.known.get(name, Known())

    # Reads

    def delayed(self, name: str, delay: int, axis: str, scope: Scope) -> Name:
        marked = not delay and axis in self.known(name, scope).axes and self.chance(0.1)
        if (delay or (marked and scope.inside == "cell")) and not self.known(name, scope).free:
            self.known(name, scope).along = axis
        named = not scope.inside and abs(delay) in self.dims.values()
        size = self.size(abs(delay)) if delay and named and self.chance(0.2) else None
        return Name(name, delay, axis, marked, size)

    def read(
        self, shape: Shape, scope: Scope, kind: str = "float", bound: int = 0
    ) -> Written | None:
        """A name of the shape, with a delay or without."""
        found: list[Callable[[], Written]] = []

        def add(name: str, known: Known, delay: int, axis: str) -> None:
            found.append(lambda: (self.delayed(name, delay, axis, scope), known.size))

        for name, known in scope.known.items():
            if known.kind != kind or known.shape != shape or (bound and known.bound != bound):
                continue
            add(name, known, 0, next(iter(sorted(known.axes)), "t"))
            axes = sorted(known.axes) if known.along is None else [known.along]
            if known.delays and known.axes and scope.inside != "function" and self.chance(0.4):
                delay = self.into(1, 1, 2, 3, 6, -1, -1, -2, -6)
                if delay > 0 or scope.inside != "cell":
                    add(name, known, delay, self.choose(*axes))
        chain = scope.chain
        for name, known in chain.states.items() if chain is not None else ():
            if known.kind == kind and known.shape == shape and not (bound and known.bound != bound):
                assert chain is not None
                for _ in range(3):
                    delay = chain.direction * self.choose(1, 1, 1, 2, 3, 6)
                    add(name, known, delay, chain.axis)
                if name in chain.done:
                    add(name, known, 0, chain.axis)
        return self.choose(*found)() if found else None

    def constant(self, shape: Shape, scope: Scope, static: bool = False) -> Written:
        """A constant with a shape, or numbers written out; ``static`` ones read no names."""
        sizes = self.sizes(shape)
        forms = ["zeros", "ones", "full", "full"]
        forms += ["range", "range"] if len(shape) == 1 else []
        forms += ["eye", "eye"] if len(shape) == 2 and shape[0] == shape[1] else []
        forms += ["[]", "[]", "[]"] if all(isinstance(size, int) for size in shape) else []
        match self.choose(*forms):
            case "full":
                value, size = self.number() if static else self.leaf((), scope)
                return Call("full", (value, *sizes)), size
            case "range":
                return Call("range", sizes), 6.0
            case "eye":
                return Call("eye", sizes[:1]), 1.0
            case "[]":
                return self.listing(shape, scope, static)
            case name:
                return Call(name, sizes), 1.0

    def listing(self, shape: Shape, scope: Scope, static: bool) -> Written:
        if not shape:
            return self.number() if static or self.chance() else self.leaf((), scope)
        size, *rest = shape
        assert isinstance(size, int)
        rows = [self.listing(tuple(rest), scope, static) for _ in range(size)]
        return Call("[]", tuple(row for row, _ in rows)), max(size for _, size in rows)

    def leaf(self, shape: Shape, scope: Scope) -> Written:
        inside = scope.inside == "function"
        if shape and not inside and self.chance(0.1):
            return self.constant(shape, scope)
        found = self.read(shape, scope) if inside or self.chance(0.9) else None
        if found is not None:
            return found
        if not shape and (inside or self.chance(0.4)):
            return self.number()
        return self.param(scope, shape)

    # Expressions

    def tame(self, written: Written, most: float = 3.0) -> Written:
        expression, size = written
        if size <= most:
            return written
        if self.chance(0.3):
            return Call("*", (Number(0.1), expression)), size * 0.1 if size < 10 * most else most
        name = self.choose("tanh", "sin", "sigmoid", "clip")
        if name == "clip":
            return Call("clip", (expression, Number(-1), Number(1.5))), 1.5
        return Call(name, (expression,)), 1.0

    def expression(self, shape: Shape, scope: Scope, depth: int) -> Written:
        if depth <= 0:
            return self.leaf(shape, scope)
        forms: list[Callable[[Shape, Scope, int], Written | None]] = [
            self.leaf_form,
            self.unary,
            self.unary,
            self.binary,
            self.binary,
            self.domain,
            self.bounded_choice,
            self.where,
            self.called,
            self.branch,
            self.part,
        ]
        if scope.inside != "function":
            forms += [self.dropout, self.over, self.over, self.end, self.plus_param, self.fed]
            forms += [self.along_axis] if len(scope.axes) > 1 and self.alike else []
            forms += [self.slope] if shape[1:] or self.chance() else []
            if len(shape) == 1:
                forms += [self.product, self.product, self.on_vector, self.on_vector]
                forms += [
                    self.looked_up,
                    self.of_matrix,
                    self.cell,
                    self.cell,
                    self.joined,
                    self.moved,
                    self.of_dimensions,
                ]
            elif not shape:
                forms += [self.reduced, self.reduced, self.losses, self.element]
            elif len(shape) == 2:
                forms += [self.matrix, self.matrix, self.matrix, self.broadcast, self.moved]
                forms += [self.in_dimensions]
        for _ in range(4):
            found = self.choose(*forms)(shape, scope, depth - 1)
            if found is not None:
                return self.tame(found, 6.0)
        return self.leaf(shape, scope)

    def slope(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A derivative in a value that changes with time, of what is computed from it directly."""
        square = len(shape) == 2 and shape[0] == shape[1]
        own = shape[:1] if square and self.chance(0.8) else shape
        found = self.read(own, scope)
        if found is None or not self.axes(found[0], scope):
            return None
        x, size = found
        beside, more = self.leaf(own, scope)
        function = self.choose("sin", "tanh", "sigmoid", "cos")
        factor = self.choose(x, Call("stop", (beside,)), Number(self.choose(0.5, 2)))
        value = Call("*", (Call(function, (x,)), factor))
        bound = 1.0 + max(size, more, 2.0)
        if own != shape:
            return Call("jacobian", (value, x)), bound
        return Call("grad", (Call("sum", (value,)) if shape else value, x)), bound

    def narrower(self, shape: Shape) -> Shape:
        """A shape that broadcasts to another one."""
        if len(shape) == 1:
            return (1,)
        return self.choose(shape[1:], shape[1:], (shape[0], 1), (shape[0], 1), (1, shape[1]), (1,))

    def operand(self, shape: Shape, scope: Scope, depth: int) -> Written:
        """An operand beside one of the shape: sometimes it broadcasts."""
        if shape and scope.inside != "function" and self.chance(0.1 * len(shape)):
            shape = self.narrower(shape)
        return self.expression(shape, scope, depth)

    def broadcast(self, shape: Shape, scope: Scope, depth: int) -> Written:
        """Operands of which each broadcasts, or a dimension that is put in."""
        rows, columns = shape
        if self.chance():
            a, size = self.expression((rows, 1), scope, depth)
            b, more = self.vector(columns, scope, depth)
            a, b = (b, a) if self.chance() else (a, b)
            symbol = self.choose("+", "-", "*")
            return Call(symbol, (a, b)), size * more if symbol == "*" else size + more
        axis = self.choose(0, 1)
        x, size = self.vector(shape[1 - axis], scope, depth)
        options = (("axis", 1.0),) if axis or self.chance(0.2) else ()
        options = tuple((name, float(axis)) for name, _ in options)
        if isinstance(shape[axis], int) and self.chance():
            return Call("expand", (x,), (*options, ("size", float(shape[axis])))), size
        other, more = self.expression(shape, scope, depth)
        return Call("*", (Call("expand", (x,), options), other)), size * more

    def moved(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """Elements moved along a dimension."""
        axis = self.choose(*range(len(shape)))
        size = shape[axis]
        if not isinstance(size, int):
            return None
        options = (("axis", float(axis)),) if axis or self.chance(0.2) else ()
        if size > 1 and self.chance(0.3):
            before = self.random.randrange(size)
            after = self.random.randrange(size - before)
            inner = (*shape[:axis], size - before - after, *shape[axis + 1 :])
            x, bound = self.expression(inner, scope, depth)
            return Call("pad", (x, Number(before), Number(after)), options), bound
        name = self.choose("roll", "shift")
        most = size - 1 if name == "shift" else 2 * size
        x, bound = self.expression(shape, scope, depth)
        return Call(name, (x, Number(self.random.randint(-most, most))), options), bound

    def vector(self, size: Size, scope: Scope, depth: int) -> Written:
        return self.expression((size,), scope, depth)

    def some(self, scope: Scope) -> Size:
        return self.choose(*scope.sizes)

    def leaf_form(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        return self.leaf(shape, scope)

    def unary(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        operand, size = self.expression(shape, scope, depth)
        if self.chance(0.25):
            name = self.choose(*KEPT)
            return Call(name, (operand,)), size
        if self.chance(0.2):
            name = self.choose(
                *("softplus", "sign", "log_sigmoid", "log_normal_cdf", "floor", "ceil", "round")
            )
            if name in ("softplus", "floor", "ceil", "round"):
                return Call(name, (operand,)), size + 1
            if name == "sign":
                return Call(name, (operand,)), 1.0
            return Call(name, (operand,)), (size + 1) ** 2
        name = self.choose(*BOUNDED)
        return Call(name, (operand,)), BOUNDED[name]

    def binary(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        a, size = self.expression(shape, scope, depth)
        other = () if shape and self.chance(0.25) else shape
        b, more = self.operand(other, scope, depth) if self.chance(0.8) else self.number()
        if self.chance(0.3):
            (a, size), (b, more) = (b, more), (a, size)
            if not shape or (other == shape and not isinstance(a, Number)):
                pass
        symbol = self.choose("+", "-", "*")
        return Call(symbol, (a, b)), size * more if symbol == "*" else size + more

    def part(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A real value of complex ones."""
        function = self.choose("real", "imag", "abs", "angle")
        if function == "angle":  # away from where it is cut
            a, _ = self.expression(shape, scope, depth)
            b, size = self.expression(shape, scope, depth)
            right = Call("+", (Number(1.5), Call("tanh", (a,))))
            return Call(function, (Call("complex", (right, b)),)), 1.6
        z, size = self.whole(shape, scope, depth)
        return Call(function, (z,)), size

    def whole(self, shape: Shape, scope: Scope, depth: int) -> Written:
        """A complex value, and how large its modulus is."""
        a, size = self.expression(shape, scope, depth)
        b, more = self.expression(shape, scope, depth) if self.chance(0.8) else self.number()
        z, size = Call("complex", (a, b)), size + more
        match self.choose("plain", "conj", "sum", "product", "turned", "quotient", "power", "root"):
            case "conj":
                return Call("conj", (z,)), size
            case "sum":
                other, more = self.expression(shape, scope, depth)
                return Call(self.choose("+", "-"), (z, other)), size + more
            case "product":
                c, most = self.expression(shape, scope, depth)
                other = Call("complex", (Number(0.5), c))
                return Call("*", (z, other)), size * (most + 0.5)
            case "turned":
                turn = Call("exp", (Call("complex", (Number(-0.5), b)),))
                return Call("*", (turn, z)), size
            case "quotient":
                below = Call("complex", (Number(2), Call("tanh", (b,))))
                return Call("/", (self.choose(z, a), below)), size
            case "power":
                return Call("**", (Call("*", (Number(0.5), z)), Number(self.choose(2, 3)))), size**3
            case "root":  # away from where it is cut
                right = Call("complex", (Number(2), a))
                return Call(self.choose("sqrt", "log"), (right,)), size + 2
        return z, size

    def domain(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """Operations of a domain, kept inside it."""
        a, size = self.expression(shape, scope, depth)
        positive = Call(self.choose("sigmoid", "softplus"), (a,))
        match self.choose("/", "/", "**", "**", "exp", "log", "sqrt", "new", "new"):
            case "new":
                return self.elementary(shape, scope, depth, a, size, positive)
            case "/":
                b, _ = self.expression(shape, scope, depth)
                below = Call("+", (Number(1.5), Call(self.choose("sigmoid", "tanh"), (b,))))
                return Call("/", (a, below)), size * 2
            case "**":
                b, _ = self.expression(shape if self.chance() else (), scope, depth)
                if self.chance(0.4):
                    base, _ = self.tame((a, size), 1.5)
                    return Call("**", (base, Number(self.choose(2, 3, 1, 0)))), 4.0
                if self.chance(0.2):
                    return Call("**", (Number(2), Call("tanh", (a,)))), 2.0
                base = Call("+", (positive, Number(0.3)))
                power = Call("tanh", (b,)) if self.chance() else Number(self.choose(0.5, -1, -2.5))
                return Call("**", (base, power)), 8.0
            case "exp":
                operand, size = self.tame((a, size), 1.5)
                return Call("exp", (operand,)), 4.5
            case "log":
                return Call("log", (Call("+", (positive, Number(0.2))),)), 2.0
            case _:
                twice = self.chance() and not by_chance(a)
                square = Call("*", (a, a)) if twice else positive
                return Call("sqrt", (Call("+", (square, Number(0.1))),)), size + 1
        raise AssertionError

    def elementary(
        self,
        shape: Shape,
        scope: Scope,
        depth: int,
        a: Expression,
        size: float,
        positive: Expression,
    ) -> Written:
        above = Call("+", (positive, Number(0.3)))
        angle = Call("*", (Number(0.9), Call("tanh", (a,))))
        tame, _ = self.tame((a, size), 1.5)
        match self.choose("mod", "atan2", "asin", "sinh", "log1p", "cbrt", "tan", "gamma"):
            case "mod":
                divisor = Call("+", (Number(1.5), Call("sigmoid", (a,))))
                sign = Call("*", (Number(self.choose(1, -1)), divisor))
                other, _ = self.expression(shape, scope, depth)
                return Call("mod", (other, sign)), 2.5
            case "atan2":
                b, _ = self.expression(shape if self.chance() else (), scope, depth)
                return Call("atan2", (b, above)), 1.6
            case "asin":
                return Call(self.choose("asin", "acos"), (angle,)), 3.0
            case "sinh":
                return Call(self.choose("sinh", "cosh", "expm1"), (tame,)), 4.0
            case "log1p":
                return Call("log1p", (self.choose(positive, angle),)), size + 3
            case "cbrt":
                return Call(self.choose("cbrt", "rsqrt"), (above,)), size + 2
            case "tan":
                return Call("tan", (angle,)), 1.3
            case _:
                return Call(self.choose("lgamma", "digamma"), (above,)), size * 2 + 4
        raise AssertionError

    def bounded_choice(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        a, size = self.expression(shape, scope, depth)
        match self.choose("maximum", "minimum", "clip", "clip"):
            case "clip":
                if self.chance(0.3):
                    low, more = self.operand(shape, scope, depth)
                    high, most = self.expression((), scope, depth)
                    return Call("clip", (a, low, high)), max(size, more, most)
                bounds = self.choose((-0.5, 0.5), (0.0, 1.0), (-2.0, 0.25))
                return Call("clip", (a, *map(Number, bounds))), size
            case name:
                if self.chance(0.2) and not by_chance(a):
                    return Call(name, (a, a)), size  # equal ones share the gradient
                b, more = self.operand(shape, scope, depth)
                return Call(name, (a, b)), max(size, more)

    def condition(self, shape: Shape, scope: Scope, depth: int) -> Expression:
        if self.chance(0.3) and scope.inside != "function":
            index = self.index(scope, depth)
            if index is not None:
                expression, bound = index
                wanted = self.random.randrange(bound)
                # What always comes out the same is an error.
                symbols = ["==", "!=", *(["<", ">="] * (wanted > 0))]
                symbols += [">", "<="] if wanted < bound - 1 else []
                return Call(self.choose(*symbols), (expression, Number(wanted)))
        found = self.read(shape, scope, "bool") if self.chance(0.3) else None
        if found is not None:
            return found[0]
        if self.chance(0.25):
            parts = [self.condition(shape, scope, depth - 1)]
            if self.chance(0.3):
                return Call("not", (parts[0],))
            parts.insert(
                self.choose(0, 1), self.condition(self.choose(shape, ()), scope, depth - 1)
            )
            return Call(self.choose("and", "or"), tuple(parts))
        if self.chance(0.2) and scope.inside != "function":
            whole = self.quantified(shape, scope, depth)
            if whole is not None:
                return whole
        return self.compared(shape, scope, depth)

    def quantified(self, shape: Shape, scope: Scope, depth: int) -> Expression | None:
        """Whether all or any of some conditions hold, over elements or over steps."""
        name = self.choose("any", "all")
        if not shape and self.chance(0.6):
            return Call(name, (self.compared((self.some(scope),), scope, depth - 1),))
        if len(shape) == 1 and self.chance(0.6):
            axis = self.choose(0, 1)
            full = (self.some(scope), *shape) if axis == 0 else (*shape, self.some(scope))
            compared = self.compared(full, scope, depth - 1)
            return Call(name, (compared,), (("axis", float(axis)),))
        along = self.choose(*scope.axes)
        found = None if self.online else self.timed(shape, scope, along)
        if found is None or along not in self.axes(found[0], scope):
            return None
        compared = Call(self.choose("<", ">"), (found[0], self.number()[0]))
        return Call(name, (compared,), over=along)

    def compared(self, shape: Shape, scope: Scope, depth: int) -> Expression:
        a, _ = self.expression(shape, scope, depth)
        b, _ = self.operand(shape if self.chance(0.3) else (), scope, depth)
        if self.chance(0.4):
            b = self.number()[0]
        return Call(self.choose(*COMPARISONS), (a, b))

    def where(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        over = shape if self.chance(0.6) else ()
        if over and scope.inside != "function" and self.chance(0.2):
            over = self.narrower(over)
        condition = self.condition(over, scope, depth - 1)
        a, size = self.expression(shape, scope, depth)
        if self.chance(0.2):
            return Call("*", (condition, a)), size
        b, more = self.operand(shape if self.chance(0.7) else (), scope, depth)
        if self.chance(0.2):
            a, b = b, a
        return Call("where", (condition, a, b)), max(size, more)

    def branch(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """What is not taken is infinite or not a number, and passes no gradient."""
        if not self.chance(0.6):
            return None
        a, size = self.expression(shape, scope, depth)
        if by_chance(a):
            return None
        b, _ = self.tame(self.expression(shape, scope, 0), 2.0)
        above, kept = Call(">", (a, Number(0))), Call("relu", (a,))
        near = Call("clip", (a, Number(-3), Number(3)))
        k = self.expression((), scope, 0)[0]
        match self.choose("log", "sqrt", "power", "divide", "clip", "maximum", "minimum", "zero"):
            case "log":
                inner = Call("log", (Call("*", (Call("exp", (Call("tanh", (k,)),)), near)),))
                return Call("where", (above, Call("clip", (inner, Number(-9), Number(9))), b)), 9.0
            case "sqrt":
                inner = Call("sqrt", (Call("+", (near, Number(1e-3))),))
                return Call("where", (above, Call("*", (k, inner)), Number(0))), 3.0
            case "power":
                inner = Call("**", (Call("+", (near, Number(0.01))), Number(0.5)))
                return Call("where", (above, inner, b)), 2.0
            case "divide":
                safe = Call("where", (Call(">", (a, Number(0.1))), Call("/", (b, kept)), b))
                return safe, 20.0
            case "clip":
                return Call("clip", (Call("log", (kept,)), Number(-1), Number(1.5))), 1.5
            case "maximum":
                return Call("maximum", (Call("log", (kept,)), Number(-0.5))), max(size, 0.5)
            case "minimum":
                return Call("minimum", (Call("/", (Number(1), kept)), Number(2))), 2.0
            case _:
                return Call("*", (Number(0), Call("sqrt", (kept,)))), 0.1
        raise AssertionError

    def called(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A function of one's own."""
        possible = [name for name, (_, elementwise) in self.functions.items() if elementwise]
        if not possible:
            return None
        name = self.choose(*possible)
        count, _ = self.functions[name]
        operands = [self.tame(self.expression(shape, scope, depth), 2.0) for _ in range(count)]
        return Call(name, tuple(operand for operand, _ in operands)), 6.0

    def dropout(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        if not scope.chance:
            return None
        operand, size = self.expression(shape, scope, depth)
        self.rate = round(self.rate + 0.001, 3)
        same = (("same", 1.0),) if self.chance(0.3) else ()
        return Call("dropout", (operand,), (("rate", self.rate), *same)), size * 1.7

    def plus_param(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        operand, size = self.expression(shape, scope, depth)
        bias, more = self.param(scope, shape)
        return Call("+", (operand, bias)), size + more

    # Over the steps

    def timed(self, shape: Shape, scope: Scope, axis: str) -> Written | None:
        """An expression that runs over an axis and is finished: it is no part of a cycle."""
        if scope.inside == "cell":
            return None
        names = [
            name
            for name, known in scope.known.items()
            if known.shape == shape and known.kind == "float" and axis in known.axes
        ]
        if not names:
            return None
        name = self.choose(*names)
        size = scope.known[name].size
        known = scope.known[name]
        delay = self.into(0, 0, 0, 1, 2, -1) if known.along in (None, axis) else 0
        read = self.delayed(name, delay if known.delays else 0, axis, scope)
        if self.chance(0.4):
            wave = self.choose("tanh", "sin", "abs", "softplus")
            return Call(wave, (read,)), size + 1
        if self.chance(0.3):
            chain = scope.chain
            if chain is not None and chain.axis == axis:
                scope.chain = None
            factor, more = self.expression(self.choose(shape, ()), scope, 1)
            scope.chain = chain
            return Call("*", (read, factor)), size * more
        return read, size

    def over(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        axis = self.choose(*scope.axes)
        found = None if self.online else self.timed(shape, scope, axis)
        if found is None:
            return None
        operand, size = found
        name = self.choose("sum", "mean", "max", "min", "softmax")
        if axis not in self.axes(operand, scope):
            return None
        return Call(name, (operand,), over=axis), size * 5 if name == "sum" else size

    def along_axis(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """What runs over one axis, read along another one: its steps are those of the other."""
        if self.online or len(scope.axes) < 2:
            return None
        axis, other = self.random.sample(scope.axes, 2)
        chain, scope.chain = scope.chain, None  # no part of a cycle
        found = self.timed(shape, scope, other)
        scope.chain = chain
        if found is None or self.axes(found[0], scope) != {other}:
            return None
        return Call("along", (found[0],), over=axis), found[1]

    def end(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        axis = self.choose(*scope.axes)
        found = None if self.online else self.timed(shape, scope, axis)
        if found is None:
            return None
        operand, size = found
        axes = self.axes(operand, scope)
        if axis not in axes:
            return None
        over = axis if len(axes) > 1 or self.chance(0.3) else None
        return Call(self.choose("first", "last"), (operand,), over=over), size

    # Vectors

    def product(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        columns = self.some(scope)
        x, size = self.vector(columns, scope, depth)
        if self.chance(0.2):
            w, _ = self.param(scope, (columns, shape[0]))
            return Call("@", (Call("transpose", (w,)), x)), size * 3
        if self.chance(0.2):
            w, more = self.expression((shape[0], columns), scope, depth)
            return Call("@", (w, x)), size * more * 3
        w, _ = self.param(scope, (shape[0], columns))
        return Call("@", (w, x)), size * 3

    def on_vector(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        x, size = self.vector(shape[0], scope, depth)
        match self.choose("softmax", "log_softmax", "layer_norm", "along", "along"):
            case "along":
                return self.along(shape[0], x, size, scope, depth)
            case "layer_norm":
                gain, bias = self.param(scope, shape, "1.0"), self.param(scope, shape)
                # Without an element of its own, a variance of zero makes slopes of 1 / epsilon.
                spread, _ = self.param(scope, shape, "uniform(-1, 1)")
                options = (("epsilon", self.choose(0.5, 0.01)),) if self.chance(0.8) else ()
                operands = (Call("+", (x, spread)), gain[0], bias[0])
                if not options and shape[0] == 1:
                    options = (("epsilon", 0.1),)
                return Call("layer_norm", operands, options), 4.0
            case "softmax":
                return Call("softmax", (x,)), 1.0
            case _:
                return Call("log_softmax", (x,)), 2 * size + 2
        raise AssertionError

    def along(
        self, size: Size, x: Expression, bound: float, scope: Scope, depth: int
    ) -> Written | None:
        """Operations along a vector."""
        match self.choose("cumprod", "sort", "top_k", "convolve"):
            case "cumprod":
                return Call("cumprod", (self.tame((x, bound), 1.5)[0],)), 3.5
            case "sort":
                name = self.choose("sort", "argsort")
                return None if by_chance(x) else (Call(name, (x,)), max(bound, 8.0))
            case "top_k":
                if not isinstance(size, int):
                    return None
                more, bound = self.vector(size + self.choose(0, 1), scope, depth)
                options = (("k", float(size)),) if size > 1 or self.chance() else ()
                return Call("top_k", (more,), options), bound
            case _:
                if not isinstance(size, int):
                    return None
                many = self.random.randint(1, size)
                a, bound = self.vector(size + 1 - many, scope, depth)
                b, more = self.vector(many, scope, depth)
                operands = (a, b) if self.chance() else (b, a)
                return Call("convolve", operands), bound * more * 3
        raise AssertionError

    def index(self, scope: Scope, depth: int) -> tuple[Expression, int] | None:
        """An index, and the number of its values."""
        if scope.inside == "function":
            return None
        sort = self.choose("read", "read", "argmax", "sample", "where", "identity")
        bounds = sorted({known.bound for known in scope.known.values() if known.kind == "index"})
        if sort == "argmax" and depth > 0:
            size = self.choose(2, 3)
            return Call("argmax", (self.vector(size, scope, depth - 1)[0],)), size
        if sort == "sample" and depth > 0 and scope.chance and not scope.sampled:
            scope.sampled = True
            size = self.choose(2, 3)
            scores, _ = self.vector(size, scope, depth - 1)
            shares = Call(self.choose("softmax", "exp"), (Call("tanh", (scores,)),))
            return Call("sample", (shares,)), size
        if not bounds:
            return None
        bound = self.choose(*bounds)
        found = self.read((), scope, "index", bound)
        if found is None:
            return None
        if sort == "where":
            other = self.read((), scope, "index", bound)
            assert other is not None
            condition = self.condition((), scope, 0)
            return Call("where", (condition, found[0], other[0])), bound
        if sort == "identity" and not isinstance(found[0], Call):
            return Call("identity", (found[0],)), bound
        return found[0], bound

    def looked_up(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        found = self.index(scope, depth)
        if found is None:
            return None
        index, bound = found
        if shape[0] == bound and self.chance():
            named = isinstance(index, Name) and self.chance()
            options = () if named else (("size", float(bound)),)
            return Call("one_hot", (index,), options), 1.0
        rows = bound + self.choose(0, 0, 1)
        table, size = self.param(scope, (rows, shape[0]), "normal(0.5)")
        if self.chance(0.15):
            changed, _ = self.expression((), scope, depth)
            table, size = Call("*", (table, Call("tanh", (changed,)))), size
        return Call("embed", (table, index)), size

    def joined(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        (size,) = shape
        if isinstance(size, int) and self.chance(0.6):
            pieces: list[Written] = []
            left = size
            while left:
                part = self.random.randint(1, left)
                one = part == 1 and self.chance()
                pieces.append(self.expression(() if one else (part,), scope, depth))
                left -= part
            operands = tuple(expression for expression, _ in pieces)
            return Call("concat", operands), max(each for _, each in pieces)
        if isinstance(size, int):
            before, after = self.choose(0, 1, 2), self.choose(0, 1)
            x, bound = self.vector(before + size + after, scope, depth)
            start = before if before or self.chance() else None
            stop = before + size if after or self.chance() else None
            return Slice(x, start, stop), bound
        return None

    def of_matrix(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        (size,) = shape
        other = self.some(scope)
        match self.choose("reduce", "reduce", "inverse", "embed"):
            case "inverse":
                x, bound = self.vector(size, scope, depth)
                return Call(
                    "@", (Call("inverse", (self.regular(size, scope, depth),)), x)
                ), bound * 3
            case "embed":
                if other == 1:
                    row = Slice(self.param(scope, (2, size))[0], 1, 2)
                    return Call("sum", (row,), (("axis", 0.0),)), 2.0
                return None
            case _:
                axis = self.choose(0, 1)
                full = (other, size) if axis == 0 else (size, other)
                m, bound = self.expression(full, scope, depth)
                name = self.choose("sum", "mean", "max", "min")
                bound = bound * 3 if name == "sum" else bound
                return Call(name, (m,), (("axis", float(axis)),)), bound

    def regular(self, size: Size, scope: Scope, depth: int) -> Expression:
        """A square matrix that is far from a singular one."""
        unit, _ = self.param(scope, (size, size), "identity")
        if self.chance():
            return unit
        m, _ = self.expression((size, size), scope, min(depth, 1))
        return Call("+", (unit, Call("*", (Number(0.1), Call("tanh", (m,))))))

    # Matrices

    def matrix(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        rows, columns = shape
        match self.choose(
            "outer", "outer", "transpose", "@", "concat", "slice", "inverse", "norms"
        ):
            case "outer":
                a, size = self.vector(rows, scope, depth)
                b, more = self.vector(columns, scope, depth)
                return Call("outer", (a, b)), size * more
            case "transpose":
                m, size = self.expression((columns, rows), scope, depth)
                return Call("transpose", (m,)), size
            case "@":
                inner = self.some(scope)
                a, size = self.expression((rows, inner), scope, depth)
                b, more = self.expression((inner, columns), scope, depth)
                return Call("@", (a, b)), size * more * 3
            case "concat":
                axis = self.choose(0, 1)
                size = shape[axis]
                if not isinstance(size, int) or size < 2:
                    return None
                parts = [(1, columns), (size - 1, columns)]
                parts = parts if axis == 0 else [(rows, 1), (rows, size - 1)]
                written = [self.expression(part, scope, depth) for part in parts]
                options = (("axis", 1.0),) if axis else ()
                return Call("concat", tuple(each for each, _ in written), options), max(
                    bound for _, bound in written
                )
            case "slice":
                if not isinstance(rows, int):
                    return None
                m, size = self.expression((rows + 1, columns), scope, depth)
                return (Slice(m, 1, None) if self.chance() else Slice(m, None, rows)), size
            case "inverse":
                if rows != columns:
                    return None
                name = self.choose("inverse", "cholesky")
                return Call(name, (self.regular(rows, scope, depth),)), 2.0
            case _:
                extra = self.choose(1, 2)
                axis = self.choose(0, 1, 2)
                deep = (*shape[:axis], extra, *shape[axis:])
                cube, size = self.param(scope, deep, "normal(0.5)")
                if self.chance():
                    wave = self.choose("tanh", "sin")
                    factor, _ = self.expression((), scope, depth)
                    cube, size = Call(wave, (Call("*", (cube, factor)),)), 1.0
                name = self.choose("sum", "mean", "max", "min")
                return Call(name, (cube,), (("axis", float(axis)),)), size * 3

    # Values of more dimensions

    def of_dimensions(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A vector of values of two and three dimensions."""
        (size,) = shape
        other = self.some(scope)
        match self.choose("heads", "heads", "sum", "column", "row", "reshape", "along"):
            case "heads":
                w, _ = self.param(scope, (2, size, other))
                if self.chance():
                    x, bound = self.vector(other, scope, depth)
                    return Call(f"einsum {self.choose('hnk,k->n', 'abc,c->b')}", (w, x)), bound * 6
                m, bound = self.expression((2, other), scope, depth)
                return Call("einsum hnk,hk->n", (w, m)), bound * 6
            case "sum":
                m, bound = self.expression((size, other), scope, depth)
                x, more = self.vector(other, scope, depth)
                if self.chance():
                    x, more = self.expression((size, other), scope, depth)
                    return Call("einsum nk,nk->n", (m, x)), bound * more * 3
                return Call("einsum nk,k->n", (m, x)), bound * more * 3
            case "column":
                if not isinstance(other, int):
                    return None
                m, bound = self.expression((size, other), scope, depth)
                return Call("column", (m,), (("at", float(self.random.randrange(other))),)), bound
            case "row":
                found = self.index(scope, depth)
                if found is None or by_chance(found[0]):
                    return None
                rows = found[1] + self.choose(0, 1)
                m, bound = self.expression((rows, size), scope, depth)
                return Call("at", (m, found[0])), bound
            case "reshape":
                if not isinstance(size, int):
                    return None
                parts = (size, 1) if self.chance() else (1, size)
                m, bound = self.expression(parts, scope, depth)
                return Call("reshape", (m, Number(size))), bound
            case _:
                m, bound = self.expression((other, size), scope, depth)
                way = self.choose("logsumexp", "norm", "prod")
                if way == "logsumexp":
                    return Call("logsumexp", (m,), (("axis", 0.0),)), bound + 1.5
                if way == "norm":
                    spread, more = self.param(scope, (other, size), "uniform(-1, 1)")
                    norm = Call("norm", (Call("+", (m, spread)),), (("axis", 0.0),))
                    return norm, bound * 2 + more
                turned = Call("transpose", (m, Number(1), Number(0)))
                return Call("prod", (self.tame((turned, bound), 1.5)[0],), (("axis", -1.0),)), 3.5
        raise AssertionError

    def in_dimensions(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A matrix of sums over letters, stacks, and what goes along a dimension."""
        rows, columns = shape
        axis = (("axis", float(self.choose(0, 1, -1, -2))),)
        match self.choose("sum", "sum", "heads", "stack", "along", "along", "reshape", "top_k"):
            case "top_k":
                parts = (self.expression(each, scope, depth) for each in (shape, (2, columns)))
                operands, bounds = zip(*parts, strict=True)
                if not isinstance(rows, int) or any(map(by_chance, operands)):
                    return None
                m = Call("concat", operands, (("axis", 0.0),))
                return Call("top_k", (m,), (("k", float(rows)), ("axis", -2.0))), max(bounds)
            case "sum":
                a, size = self.vector(rows, scope, depth)
                b, more = self.vector(columns, scope, depth)
                if self.chance():
                    return Call("einsum n,m->nm", (a, b)), size * more
                m, bound = self.expression((columns, rows), scope, depth)
                return Call("einsum mn,n->nm", (m, a)), size * bound
            case "heads":
                w, _ = self.param(scope, (2, rows, columns))
                if self.chance():
                    scale, size = self.vector(2, scope, depth)
                    return Call("einsum hnk,h->nk", (w, scale)), size * 2
                inner = self.some(scope)
                v, _ = self.param(scope, (2, inner, columns))
                m, size = self.expression((rows, inner), scope, depth)
                return Call("einsum nj,hjk->nk", (m, v)), size * 6
            case "stack":
                place = self.choose(0, 1)
                count, size = shape[place], shape[1 - place]
                if not isinstance(count, int):
                    return None
                written = [self.vector(size, scope, depth) for _ in range(count)]
                options = (("axis", float(self.choose(1, -1))),) if place else ()
                bound = max(each for _, each in written)
                return Call("stack", tuple(each for each, _ in written), options), bound
            case "along":
                m, bound = self.expression(shape, scope, depth)
                name = self.choose("softmax", "log_softmax", "cumsum", "cumprod", "sort")
                match name:
                    case "softmax":
                        return Call(name, (m,), axis), 1.0
                    case "log_softmax":
                        return Call(name, (m,), axis), 2 * bound + 2
                    case "cumprod":
                        return Call(name, (self.tame((m, bound), 1.5)[0],), axis), 3.5
                    case "sort":
                        return None if by_chance(m) else (Call(name, (m,), axis), bound)
                    case _:
                        return Call(name, (m,), axis), bound * 3
            case _:
                if not isinstance(rows, int) or not isinstance(columns, int):
                    return None
                x, bound = self.vector(rows * columns, scope, depth)
                return Call("reshape", (x, Number(rows), Number(columns))), bound
        raise AssertionError

    # Numbers

    def reduced(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        x, bound = self.vector(size, scope, depth)
        match self.choose(
            *("sum", "mean", "max", "min", "dot", "logsumexp", "log_det", "matrix"),
            *("norm", "count", "prod"),
        ):
            case "prod":
                return Call("prod", (self.tame((x, bound), 1.5)[0],)), 3.5
            case "norm":
                spread, more = self.param(scope, (size,), "uniform(-1, 1)")
                return Call("norm", (Call("+", (x, spread)),)), bound * 2 + more
            case "count":
                return Call("count", (self.compared((size,), scope, depth - 1),)), 3.0
            case "dot":
                y, more = self.vector(size, scope, depth)
                return Call("dot", (x, y)), bound * more * 3
            case "log_det":
                return Call("log_det", (self.regular(size, scope, depth),)), 2.0
            case "logsumexp":
                return Call("logsumexp", (x,)), bound + 1.5
            case "matrix":
                m, bound = self.expression((size, self.some(scope)), scope, depth)
                name = self.choose("sum", "mean", "max", "min")
                return Call(name, (m,)), bound * 9 if name == "sum" else bound
            case name:
                return Call(name, (x,)), bound * 3 if name == "sum" else bound

    def losses(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        match self.choose("mse", "cross_entropy", "binary_cross_entropy", "library", "library"):
            case "library":
                return self.library_loss(size, scope, depth)
            case "mse":
                own = self.choose((), (size,), (size, self.some(scope)))
                a, bound = self.expression(own, scope, depth)
                b, more = self.expression(own, scope, depth)
                return Call("mse", (a, b)), (bound + more) ** 2
            case "cross_entropy":
                found = self.index(scope, depth)
                if found is None:
                    return None
                index, count = found
                scores, bound = self.vector(count + self.choose(0, 0, 1), scope, depth)
                return Call("cross_entropy", (scores, index)), 2 * bound + 2
            case _:
                own = self.choose((), (size,))
                score, bound = self.expression(own, scope, depth)
                target, _ = self.expression(own, scope, depth)
                target = Call("sigmoid", (target,))
                return Call("binary_cross_entropy", (score, target)), bound + 1
        raise AssertionError

    def library_loss(self, size: Size, scope: Scope, depth: int) -> Written:
        own = self.choose((), (size,))
        a, bound = self.tame(self.expression(own, scope, depth), 2.0)
        b, more = self.tame(self.expression(own, scope, depth), 2.0)
        x, _ = self.tame(self.vector(size, scope, depth), 2.0)
        y, _ = self.tame(self.vector(size, scope, depth), 2.0)
        above = Call("exp", (Call("tanh", (b,)),))
        match self.choose("huber", "hinge", "kl", "poisson", "gaussian", "mixture", "dice"):
            case "huber":
                options = (("delta", 0.75),) if self.chance() else ()
                return Call("huber", (a, b), options), bound + more
            case "hinge":
                return Call("hinge", (a, Call("tanh", (b,)))), bound + 1
            case "kl":
                return Call("kl_divergence", (x, Call("softmax", (y,)))), 6.0
            case "poisson":
                return Call("poisson_nll", (a, above)), 16.0
            case "gaussian":
                return Call("gaussian_nll", (a, above, b)), 30.0
            case "mixture":
                variances = Call("exp", (Call("tanh", (x,)),))
                number, _ = self.tame(self.expression((), scope, depth), 2.0)
                return Call("mixture_nll", (y, x, variances, number)), 30.0
            case _:
                options = (("smooth", 0.5),) if self.chance() else ()
                return Call("dice", (Call("sigmoid", (x,)), Call("sigmoid", (y,))), options), 1.0
        raise AssertionError

    def element(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        x, bound = self.vector(size, scope, depth)
        return Element(x, self.random.randrange(size) if isinstance(size, int) else 0), bound

    def fed(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """One of two, by how the network is built; both must be possible."""
        if scope.inside or scope.chain is not None or not self.chance(0.3):
            return None
        free, size = self.expression(shape, scope, depth)
        taught, more = self.expression(shape, scope, depth)
        if self.axes(free, scope) != self.axes(taught, scope):
            return None
        return Call("feed", (free, taught)), max(size, more)

    # Cells

    def cell(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        fitting = [
            use
            for use in self.uses
            if scope.chain is None or use.direction == scope.chain.direction
        ]
        if not fitting or len(self.names) > 120:
            return None
        use = self.choose(*fitting)
        call = self.use(use, shape[0], scope, depth)
        return None if call is None else (Call("real", (call,)) if use.whole else call, 3.0)

    def use(self, use: Use, size: Size, scope: Scope, depth: int) -> Call | None:
        """A use for results of that size; in a chain it runs along its axis."""
        width = size if use.as_input else self.some(scope)
        operands: list[Expression] = [self.vector(width, scope, depth)[0]]
        types: list[la.Type] = [Float(self.sizes((width,)))]
        if use.marked:
            mark, own = self.mark(scope), self.axes(operands[0], scope)
            if not self.axes(mark, scope) <= own:
                mark = Number(self.choose(0, 1))
            operands.append(mark)
            types.append(Float())
        axes = frozenset[str]().union(*(self.axes(operand, scope) for operand in operands))
        over = None
        if scope.inside == "cell":
            over = "t" if self.chance() else None
        elif use.along_one:
            unsettled = scope.chain is not None and len(scope.axes) > 1
            if unsettled or len(axes) > 1:
                return None
            said = not axes or self.chance(0.15)
            over = next(iter(axes), self.choose(*scope.axes)) if said else None
        elif scope.chain is not None:
            axis = scope.chain.axis
            if axes != {axis} or len(scope.axes) > 1:  # those of its states are not settled
                over = axis
        elif len(axes) != 1 or self.chance(0.15):
            over = self.choose(*scope.axes)
        if over is None and scope.chain is not None and not axes and scope.inside != "cell":
            over = scope.chain.axis
        along = over or next(iter(axes), None)
        if use.delayed_input and along not in axes:
            return None
        if use.beside:
            other = self.some(scope)
            slower = Call("tanh", (self.vector(other, scope, depth)[0],))
            # The input of a cell that this is in may be the same at every step, where it is used.
            if scope.inside == "cell" or self.axes(slower, scope) != {along}:
                return None
            operands.append(slower)
            types.append(Float(self.sizes((other,))))
        first = Number(self.choose(1, 2, 3)) if use.as_input else self.size(size)
        words = self.words(use, width, size, scope)
        if "both" in dict(words):
            assert isinstance(size, int)
            first = Number(size // 2)
        sizes = ((use.first, first), *use.sizes)
        kinds = tuple(types)
        return Call(use.name, tuple(operands), over=over, sizes=sizes, types=kinds, words=words)

    def words(
        self, use: Use, width: Size, size: Size, scope: Scope
    ) -> tuple[tuple[str, float], ...]:
        """Layers and directions of a use that is in no chain, where there is one axis."""
        if scope.inside or scope.chain is not None or len(scope.axes) > 1 or self.chance(0.2):
            return ()
        words: list[tuple[str, float]] = []
        even = isinstance(size, int) and not size % 2 and not use.as_input and not use.whole
        if even and self.chance():
            words.append(("both", 0))
        elif self.chance():
            words.append(("reverse", 0))
        if not use.whole and self.chance():
            words.append(("stack", self.choose(1, 2, 2)))
        if width == size and not use.whole and self.chance():
            words.append(("residual", 0))
        if ("stack", 2) in words and scope.chance and self.chance():
            self.rate = round(self.rate + 0.001, 3)
            words.append(("dropout", self.rate))
        self.random.shuffle(words)
        return tuple(words)

    def mark(self, scope: Scope, without: Collection[str] = (), numbers: bool = True) -> Expression:
        """What a reset goes by: a condition, or a number that is 0 or not."""
        depth = self.choose(0, 1)
        chain, known, chance = scope.chain, scope.known, scope.chance
        scope.chain, scope.chance = None, False
        scope.known = {name: each for name, each in known.items() if name not in without}
        condition = self.condition((), scope, depth)
        scope.chain, scope.known, scope.chance = chain, known, chance
        if numbers and self.chance(0.3):
            return Call("*", (condition, Number(2)))
        return condition

    def own_cell(self) -> None:
        """A cell with one state or more, maybe with another cell inside."""
        direction = self.into(1, 1, -1)
        name = self.fresh("cell", odd=False)
        body: list[la.Statement] = []
        states = {"h": Known(("H",), frozenset("t"), 1.0)}
        if self.chance(0.6):
            states["c"] = Known(("H",), frozenset("t"), 2.0)
        if self.chance(0.2):
            states["m"] = Known((), frozenset("t"), 1.0)
        marked = self.chance(0.3)
        known = {"x": Known(("x",), frozenset("t"), 2.0, delays=self.chance(0.3))}
        outer = self.names
        # A cell sees the sizes and constants of the spec, and may not hide them.
        self.names = {*reserved(), *self.dims, *self.consts, "x", "r", "h", "c", "m", "H", "k"}
        scope = Scope(body, known, ("H", "x", "H", 2), ("t",), "cell")
        scope.chance = self.chance(0.3)
        scope.chain = Chain("t", direction, states)
        if self.chance(0.3):
            body.append(la.Dim("G", Call("*", (Number(2), Name("H")))))
        order = list(states)
        self.random.shuffle(order)
        uses = self.uses
        self.uses = [use for use in uses if use.direction == direction]
        for state in order:
            self.state(state, scope)
        known |= states
        scope.chain = None
        own_start = False
        for state in states:
            if self.chance(0.3):
                value: Expression = self.choose(
                    Number(0.5), self.param(scope, states[state].shape)[0]
                )
                if self.chance(0.3):
                    value = Call("tanh", (value,))
                body.append(la.Init(state, value))
                own_start = own_start or state == "h"
        if marked:
            for state in states:
                if self.chance(0.6):
                    condition = self.choose(
                        Name("r"),
                        Call(">", (Name("r"), Number(0.5))),
                        Call("!=", (Name("r"), Number(0))),
                    )
                    body.append(la.Reset(state, condition))
        if self.chance(0.3) and "c" in states:
            parts = self.names
            half = [self.fresh("q"), self.fresh("q")]
            whole, _ = self.param(scope, ((2, "H"), "x"))
            types = (Float((Name("H"),)), Float((Name("H"),)))
            body.append(
                la.Equation(
                    tuple(half), Call("split", (Call("@", (whole, Name("x"))), Number(2))), types
                )
            )
            i = next(
                i for i, s in enumerate(body) if isinstance(s, la.Equation) and s.names == ("c",)
            )
            equation = body[i]
            assert isinstance(equation, la.Equation)
            extra = Call("*", (Call("sigmoid", (Name(half[0]),)), Call("tanh", (Name(half[1]),))))
            body[i] = replace(equation, value=Call("+", (equation.value, extra)))
            self.names = parts
        self.uses = uses
        self.names = outer
        sizes: list[tuple[str, Expression | None]] = [("H", None)]
        given: tuple[tuple[str, Expression], ...] = ()
        if any(
            part.name == "k"
            for s in body
            for e in la.expressions(s)
            for part in la.walk(e)
            if isinstance(part, Name)
        ):
            sizes.append(("k", Number(0.5)))
            given = self.choose((), (("k", Number(0.25)),))
        results = ("h", *(["c"] if "c" in states and self.chance(0.7) else []))
        inputs = ("x", "r") if marked else ("x",)
        back = known["x"].along is not None
        self.statements.append(la.Cell(name, inputs, tuple(sizes), results, tuple(body)))
        alone = any(
            part.over is None or use.along_one
            for statement in body
            for value in la.expressions(statement)
            for part in la.walk(value)
            for use in uses
            if isinstance(part, Call) and part.function == use.name
        )
        self.uses.append(Use(name, direction, len(results), given, marked, own_start, back, alone))

    def library(self) -> None:
        """A file that comes with rollc, and the cells in it."""
        found = library(self.choose(*CELLS))
        if found in self.statements:
            return
        self.statements.append(found)
        self.names |= {each.name for each in (*found.cells, *found.functions)}
        self.functions |= {function.name: (1, True) for function in found.functions}
        for cell in found.cells:
            if not cell.inputs:  # a part of the others
                continue
            given: list[tuple[str, Expression]] = []
            first = {"lstm_projected": "P", "diagonal": "K", "s4d": "N"}.get(cell.name, "H")
            for name, default in cell.sizes:
                if name != first and (default is None or self.chance()):
                    value = self.choose(1, 2, 3) if default is None else self.choose(0.5, 0.75)
                    given.append((name, Number(value)))
            self.uses.append(
                Use(
                    cell.name,
                    1,
                    len(cell.results) if first == "H" else 1,
                    tuple(given),
                    # Its result is read with no delay.
                    own_start=cell.name in ("diagonal", "lru", "s4d", "unitary"),
                    first=first,
                    beside=len(cell.inputs) > 1,
                    as_input=cell.name in ("lru", "s4d"),
                    whole=cell.name == "unitary",
                )
            )

    def own_function(self) -> None:
        name = self.fresh("f", odd=False)
        count = self.choose(1, 2, 2)
        arguments = tuple("abc"[:count])
        known = {argument: Known(("S",), frozenset(), 2.0) for argument in arguments}
        scope = Scope([], known, ("S",), ("t",), "function")
        value, _ = self.tame(self.expression(("S",), scope, 2), 3.0)
        read = {part.name for part in la.walk(value) if isinstance(part, Name)}
        slopes: list[tuple[str, Expression]] = []
        if self.chance(0.5):
            for argument in arguments:
                if self.chance(0.8):
                    slope, _ = self.tame(self.expression(("S",), scope, 1), 2.0)
                    slopes.append((argument, slope))
        for argument in arguments:  # the value runs over what its arguments do
            if argument not in read:
                value = Call("+", (value, Call("*", (Number(0.5), Name(argument)))))
        several = isinstance(value, Call) and self.chance(0.4)
        self.statements.append(la.Function(name, arguments, value, tuple(slopes), several))
        self.functions[name] = (count, True)

    # Equations

    def equation(self, name: str, written: Written, known: Known, scope: Scope) -> None:
        declared = self.chance(0.15)
        scope.body.append(la.Equation((name,), written[0], (self.type(known),), declared))
        if declared:
            self.declared.add(name)

    def state(self, name: str, scope: Scope) -> None:
        """One equation of a chain."""
        chain = scope.chain
        assert chain is not None
        known, scope.sampled = chain.states[name], False
        shape = known.shape

        def back(delay: int = 0) -> Expression:
            steps = delay or self.choose(1, 1, 1, 2, 3, 6)
            return self.delayed(name, chain.direction * steps, chain.axis, scope)

        fed = self.tame(self.expression(shape, scope, self.choose(1, 2, 2, 3)), 4.0)[0]
        told = any(
            self.known(part.name, scope).kind == "float"
            for part in _telling(fed)
            if isinstance(part, Name) and part.name not in chain.states
        )
        if scope.inside == "cell":  # what runs over what its input does
            x: Expression = Name("x")
            if shape:
                x = Call("@", (self.param(scope, (shape[0], "x"))[0], x))
            else:
                x = Call("sum", (x,))
            fed = Call("+", (fed, x))
        elif shape or not told:
            # A type of its own: a cycle of numbers, or of nothing else, would tell none.
            bias, _ = self.param(scope, shape)
            fed = Call("+", (fed, bias))
        wave = self.choose("tanh", "sin", "sigmoid", "tanh")
        forms = ["plain", "plain", "leaky", "gate", "clip", "where", "stop"]
        forms += ["counter"] if not shape else ["product", "product"]
        if by_chance(fed):  # what is written twice would be drawn twice
            forms = ["plain", "leaky", "clip", "stop"]
        match self.choose(*forms):
            case "leaky":
                factor = Name("k") if scope.inside == "cell" and self.chance() else Number(0.5)
                value: Expression = Call("+", (Call("*", (factor, back())), Call(wave, (fed,))))
                known.size = max(known.size, 2.5)
            case "gate":
                gate = Call("sigmoid", (fed,))
                old = Call("*", (Call("-", (Number(1), gate)), back(1)))
                value = Call("+", (old, Call("*", (gate, Call(wave, (fed,))))))
                known.size = max(known.size, 1.5)
            case "clip":
                value = Call("clip", (Call("+", (back(), fed)), Number(-1), Number(1)))
            case "where":
                value = Call("where", (Call(">", (fed, Number(0.1))), Call(wave, (fed,)), back()))
                known.size = max(known.size, 1.0)
            case "stop":
                every = (("every", float(self.choose(1, 2, 3))),) if self.chance(0.7) else ()
                value = Call(wave, (Call("+", (fed, Call("stop", (back(),), every))),))
            case "counter":
                less = Call("-", (back(1), Number(1)))
                value = Call(
                    "where",
                    (Call(">", (fed, Number(0))), Number(2), Call("maximum", (less, Number(0)))),
                )
                known.size = 2.0
            case "product":
                w, _ = self.param(scope, (shape[0], shape[0]), self.choose("orthogonal", ""))
                value = Call(wave, (Call("+", (fed, Call("@", (w, back())))),))
            case _:
                value = Call(wave, (Call("+", (fed, Call("*", (Number(0.5), back())))),))
        self.equation(name, (value, known.size), known, scope)
        chain.done.add(name)

    def chain(self, scope: Scope) -> None:
        axis, direction = self.choose(*scope.axes), self.into(1, 1, -1)
        names = [self.fresh("s") for _ in range(self.choose(1, 1, 2, 2, 3))]
        states = {name: Known(self.any_shape(scope, 2), frozenset([axis])) for name in names}
        if len(names) == 1 and self.chance(0.15):
            states[names[0]].shape = ()
        scope.chain = Chain(axis, direction, states)
        first = len(scope.body)
        for name in names:
            self.state(name, scope)
        self.settle(states, scope, first)
        scope.known |= states
        scope.chain = None
        for name in names:
            self.start(name, states[name], axis, scope)
            if self.chance(0.5 if name in self.deep else 0.25):
                scope.body.append(la.Reset(name, self.mark(scope, states)))
        self.settle(states, scope, first)

    def settle(self, states: dict[str, Known], scope: Scope, first: int) -> None:
        """Which axes the states of a chain run over: the least that fit."""
        changed = True
        while changed:
            changed = False
            for statement in scope.body[first:]:
                if isinstance(statement, la.Equation) and statement.names[0] in states:
                    name, value = statement.names[0], statement.value
                elif isinstance(statement, la.Reset) and statement.name in states:
                    name, value = statement.name, statement.condition
                else:
                    continue
                new = self.axes(value, scope) - states[name].axes
                if new:
                    states[name].axes |= new
                    changed = True

    def both_ways(self, scope: Scope) -> None:
        """A cycle with delays of both signs."""
        axis = self.choose(*scope.axes)
        a, b = self.fresh("s"), self.fresh("s")
        shape = self.any_shape(scope)
        near, far = self.choose((1, 2), (1, 3), (2, 3))
        sign = self.choose(1, -1)
        states = {name: Known(shape, frozenset([axis])) for name in (a, b)}
        scope.chain = Chain(axis, sign, {})
        first = len(scope.body)
        scope.chain = None
        scope.known |= states
        for one, other, delay in ((a, b, -sign * near), (b, a, sign * far)):
            fed, _ = self.finished(shape, scope, states)
            bias, _ = self.param(scope, shape)
            read = self.delayed(other, delay, axis, scope)
            inner = Call("+", (Call("+", (fed, bias)), read))
            self.equation(
                one, (Call(self.choose("tanh", "sin"), (inner,)), 1.0), states[one], scope
            )
        self.settle(states, scope, first)
        for name in (a, b):
            self.start(name, states[name], axis, scope)

    def finished(self, shape: Shape, scope: Scope, without: dict[str, Known]) -> Written:
        """An expression that reads none of some names."""
        known = scope.known
        scope.known = {name: each for name, each in known.items() if name not in without}
        found = self.tame(self.expression(shape, scope, 1), 3.0)
        scope.known = known
        return found

    def start(self, name: str, known: Known, axis: str, scope: Scope) -> None:
        """The value outside the sequence."""
        if name in self.owned:
            return
        static = [
            other
            for other, each in scope.known.items()
            if other != name
            and each.kind == "float"
            and each.shape == known.shape
            and not each.axes
        ]
        forms = ("zero", "zero", "number", "param", "static", "computed", "rows", "rows", "end")
        match self.choose(*forms, "constant"):
            case "constant" if known.shape:
                value, _ = self.constant(known.shape, scope, static=True)
            case "number":
                value, _ = self.number()
            case "param":
                value, _ = self.param(scope, known.shape)
            case "static" if static:
                value = Name(self.choose(*static))
                if self.chance():
                    value = Call("tanh", (value,))
            case "computed" if len(known.shape) == 1:
                width = self.some(scope)
                w, _ = self.param(scope, (known.shape[0], width))
                value = Call("tanh", (Call("@", (w, self.param(scope, (width,))[0])),))
            case "rows" if known.shape or name in self.declared:
                self.deep.append(name)
                self.owned.add(name)
                return
            case "end":
                ends = [
                    other
                    for other, each in scope.known.items()
                    if each.kind == "float"
                    and each.shape == known.shape
                    # A value over another axis is one of the past of this one, too.
                    and len(each.axes) == 1
                    and other in self.settled_names
                ]
                if not ends:
                    return
                value = Call(self.choose("first", "last"), (Name(self.choose(*ends)),))
            case _:
                return
        self.owned.add(name)
        scope.body.append(la.Init(name, value))

    settled_names: frozenset[str] = frozenset()

    def taught(self, scope: Scope) -> None:
        """A chain that reads its own last choice or value, or the target."""
        axis = self.choose(*scope.axes)
        targets = [
            (name, known)
            for name, known in scope.known.items()
            if known.axes == {axis} and name.startswith("y") and known.along in (None, axis)
        ]
        if not targets:
            return
        target, known = self.choose(*targets)
        name = self.fresh("o")
        count = known.bound if known.kind == "index" else known.shape[0] if known.shape else 1
        shape: Shape = (count,) if known.kind == "index" else known.shape
        first = len(scope.body)
        fed, _ = self.tame(self.expression(shape, scope, 1), 3.0)
        taught = self.delayed(target, 1, axis, scope)
        if known.kind == "index":
            free: Expression = Call("argmax", (Name(name, 1, axis),))
            said: Expression = Call("feed", (free, taught))
            if self.chance():
                q = self.fresh("q")
                scope.body.append(la.Equation((q,), said, (Index(Number(count)),)))
                said = Name(q)
            table, _ = self.param(scope, (count, count))
            read: Expression = Call("embed", (table, said))
        else:
            read = Call("tanh", (Call("feed", (Name(name, 1, axis), taught)),))
        states = {name: Known(shape, frozenset([axis]), 5.0, along=axis)}
        scope.known |= states
        self.equation(name, (Call("+", (fed, read)), 5.0), states[name], scope)
        self.settle(states, scope, first)

    def index_chain(self, scope: Scope) -> None:
        """A cycle through an index."""
        axis = self.choose(*scope.axes)
        name, count = self.fresh("q"), self.choose(2, 3)
        first = len(scope.body)
        fed, _ = self.tame(self.expression((count,), scope, 1), 3.0)
        states = {name: Known((), frozenset([axis]), 0.0, "index", count)}
        scope.known |= states
        table, _ = self.param(scope, (count, count))
        back = self.delayed(name, self.into(1, 2, -1), axis, scope)
        scores = Call("+", (Call("embed", (table, back)), fed))
        if self.chance(0.3):
            scope.body.append(la.Init(name, Call("argmax", (self.param(scope, (count,))[0],))))
        self.equation(name, (Call("argmax", (scores,)), 0.0), states[name], scope)
        self.settle(states, scope, first)

    def plain(self, scope: Scope) -> None:
        name = self.fresh("v")
        scope.sampled = False
        if self.chance(0.15):
            found = self.index(scope, 2)
            if found is not None:
                expression, bound = found
                known = Known((), self.axes(expression, scope), 0.0, "index", bound)
                self.equation(name, (expression, 0.0), known, scope)
                scope.known[name] = known
                return
        if self.chance(0.15):
            shape = self.any_shape(scope)
            condition = self.compared(shape, scope, 1)
            known = Known(shape, self.axes(condition, scope), 1.0, "bool")
            self.equation(name, (condition, 1.0), known, scope)
            scope.known[name] = known
            return
        shape = self.any_shape(scope, 2)
        expression, size = self.tame(self.expression(shape, scope, self.choose(2, 3)), 4.0)
        known = Known(shape, self.axes(expression, scope), size)
        known.delays = bool(known.axes)
        self.equation(name, (expression, size), known, scope)
        scope.known[name] = known

    def repeated(self, scope: Scope) -> None:
        """Passes that start from a value, or from that of the step before."""
        name, count = self.fresh("v"), self.choose(1, 2, 3)
        scope.sampled = False
        shape = self.any_shape(scope, 2)
        start, size = self.tame(self.expression(shape, scope, 1), 2.0)
        beside, more = self.tame(self.leaf(shape, scope), 2.0)
        pass_ = Call("*", (Number(0.5), Call(self.choose("tanh", "sin"), (Name(name),))))
        axes = self.axes(start, scope) | self.axes(beside, scope)
        axis = self.choose(*sorted(axes)) if axes else None
        if axis is not None and self.chance():
            pass_ = Call("+", (pass_, Call("*", (Number(0.2), Name(name, 1, axis)))))
        value = Call("+", (pass_, beside))
        if self.axes(start, scope) == self.axes(beside, scope):
            known = Known(shape, axes, size + more + 1.0)
            inner = self.choose(0, 0, 2)
            scope.body.append(la.Repeat(name, start, count, value, self.type(known), inner))
            known.delays = axis is not None
            known.along = axis
            scope.known[name] = known

    def elements(self, scope: Scope) -> None:
        """An array, of which each element has a number of its own in it."""
        name, index, count = self.fresh("h"), self.fresh("k"), self.choose(1, 2, 3)
        scope.sampled = False
        shape = self.any_shape(scope)
        value, size = self.tame(self.expression(shape, scope, 2), 2.0)
        factor = Call("/", (Call("+", (Name(index), Number(1))), Number(2)))
        value, axes = Call("*", (value, factor)), self.axes(value, scope)
        type_ = self.type(Known(shape, axes))
        scope.body.append(la.Elements(name, index, count, value, type_))
        if axes and self.chance():
            begun = Call("*", (self.param(scope, shape)[0], Name(index)))
            scope.body.append(la.Init(name, begun, (), index, count))
        names = [(name, (count, *shape)), *((f"{name}[{k}]", shape) for k in range(count))]
        for each, own in names:
            scope.known[each] = Known(own, axes, 1.5 * size, delays=bool(axes))

    def split(self, scope: Scope) -> None:
        count, size = self.choose(2, 3), self.choose(1, 2)
        scope.sampled = False
        whole, bound = self.tame(self.vector(count * size, scope, 2), 4.0)
        names = tuple(self.fresh("v") for _ in range(count))
        known = Known((size,), self.axes(whole, scope), bound)
        scope.body.append(
            la.Equation(
                names,
                Call("split", (whole, Number(count))),
                (self.type(known),) * count,
                self.chance(0.2),
            )
        )
        for name in names:
            scope.known[name] = replace(known)

    def used(self, scope: Scope) -> None:
        """A cell whose results have names, and maybe initial values from outside."""
        if not self.uses:
            return
        use, size = self.choose(*self.uses), self.some(scope)
        scope.sampled = False
        call = self.use(use, size, scope, 1)
        if call is None:
            return
        names = tuple(
            self.fresh("h", odd=False) for _ in range(self.random.randint(1, use.results))
        )
        known = Known((size,), self.axes(call, scope), 3.0)
        value = Call("real", (call,)) if use.whole else call
        scope.body.append(la.Equation(names, value, (self.type(known),) * len(names)))
        for name in names:
            # What reads it with a delay may not change the depth of what the cell says.
            scope.known[name] = replace(known, delays=False)
        apart = "both" in dict(call.words)  # where does each of them start?
        if not use.own_start and not apart and self.chance(0.3):
            value = self.choose(Number(0.25), self.param(scope, (size,))[0])
            scope.body.append(la.Init(names[0], value))

    def read_along(self, scope: Scope) -> None:
        """A name for what is read along another axis, which attention can look at."""
        shape = self.choose((), (self.some(scope),))
        written = self.along_axis(shape, scope, 1)
        if written is not None:
            axes = self.axes(written[0], scope)
            name, known = self.fresh("k"), Known(shape, axes, written[1])
            known.delays = True
            self.equation(name, written, known, scope)
            scope.known[name] = known

    def attention(self, scope: Scope) -> None:
        """A chain along one axis that looks at all of another at every step."""
        if len(scope.axes) < 2:
            return
        axis = self.choose(*scope.axes)
        (other,) = (each for each in scope.axes if each != axis)
        sources = [
            (name, known)
            for name, known in scope.known.items()
            if known.axes == {other} and len(known.shape) == 1 and known.kind == "float"
        ]
        if not sources:
            return
        source, known = self.choose(*sources)
        name, size = self.fresh("d"), self.some(scope)
        state = Known((size,), frozenset([axis]), 1.0, along=axis)
        a, _ = self.param(scope, (known.shape[0], size))
        score = Call("dot", (Name(source), Call("@", (a, Name(name, 1, axis)))))
        names = [self.fresh("a"), self.fresh("a"), self.fresh("a")]
        number = (Float(),)
        scope.body.append(la.Equation((names[0],), score, number))
        weights = Call("softmax", (Name(names[0]),), over=other)
        scope.body.append(la.Equation((names[1],), weights, number))
        context = Call("sum", (Call("*", (Name(names[1]), Name(source))),), over=other)
        scope.body.append(la.Equation((names[2],), context, (self.type(known),)))
        w, _ = self.param(scope, (size, known.shape[0]))
        fed, _ = self.timed((size,), scope, axis) or self.param(scope, (size,))
        value = Call("tanh", (Call("+", (Call("@", (w, Name(names[2]))), fed)),))
        self.equation(name, (value, 1.0), state, scope)
        extra = self.axes(fed, scope) - {axis}
        scope.known[name] = replace(state, axes=state.axes | extra)
        both = frozenset(scope.axes)
        scope.known[names[0]] = Known((), both, 3.0)
        scope.known[names[1]] = Known((), both, 1.0)
        if not extra:
            scope.known[names[2]] = Known(known.shape, frozenset([axis]), known.size)
        else:
            del scope.known[names[1]], scope.known[names[0]]
            scope.known[names[0]] = Known((), both, 3.0)

    # The whole

    def program(self) -> la.Program:
        self.names |= reserved()
        axes = self.choose(("t",), ("t",), ("t",), ("n",), ("s", "t"), ("s", "t"))
        if axes != ("t",):
            self.statements.append(la.Time(axes))
        self.names |= {*axes}
        self.alike = len(axes) > 1 and self.chance(0.4)
        self.numbers()
        known = self.inputs(axes)
        sizes = tuple(self.random.sample((1, 2, 3), self.choose(2, 2, 3)))
        scope = Scope(self.statements, known, (*sizes, sizes[-1]), axes)
        for name, each in known.items():
            if len(each.axes) == 1 and each.kind == "float" and self.chance(0.1):
                value = self.param(scope, each.shape) if self.chance() else self.number()
                scope.body.append(la.Init(name, value[0]))
                self.owned.add(name)
        for _ in range(self.choose(0, 0, 1, 2)):
            self.own_function()
        for _ in range(self.choose(0, 0, 0, 1, 2)):
            self.library()
        for _ in range(self.choose(0, 0, 1, 1, 2)):
            self.own_cell()
        parts = [self.chain, self.chain, self.chain, self.plain, self.plain, self.used, self.taught]
        parts += [self.index_chain, self.split, self.attention, self.repeated, self.elements]
        parts += [] if self.online else [self.both_ways]
        parts += [self.attention, self.attention, *[partial(grid, self)] * 4] * (len(axes) > 1)
        parts += [self.read_along] * (3 if self.alike and not self.online else 0)
        for _ in range(self.choose(1, 2, 2, 3, 3, 4)):
            self.choose(*parts)(scope)
            self.settled_names = frozenset(scope.known)
        self.loss(scope)
        self.rows(scope)
        self.outputs(scope)
        self.statements[:] = map(self.with_own_rates, self.statements)
        return la.Program(tuple(self.in_any_order()))

    def with_own_rates(self, statement: la.Statement) -> la.Statement:
        """What is written twice is drawn twice: each `dropout` is known by its rate."""

        def inner(expression: Expression) -> Expression:
            expression = la.with_parts(expression, tuple(map(inner, la.parts(expression))))
            if isinstance(expression, Call) and expression.function == "dropout":
                self.rate = round(self.rate + 0.001, 3)
                options = (("rate", self.rate), *expression.options[1:])
                return replace(expression, options=options)
            return expression

        match statement:
            case la.Equation(value=value) | la.Elements(value=value) | la.Loss(value=value):
                return replace(statement, value=inner(value))
            case la.Repeat(start=start, value=value):
                return replace(statement, start=inner(start), value=inner(value))
            case la.Cell(body=body):
                return replace(statement, body=tuple(map(self.with_own_rates, body)))
        return statement

    def numbers(self) -> None:
        for _ in range(self.choose(0, 1, 2)):
            name = self.fresh("D")
            if self.dims and self.chance(0.4):
                first = self.choose(*self.dims)
                value: Expression = self.choose(
                    Call("+", (Name(first), Number(1))),
                    Call("*", (Number(1), Name(first))),
                    Call("**", (Number(1), Name(first))),
                    Call("/", (Call("*", (Number(2), Name(first))), Number(2))),
                    Call("-", (Call("*", (Number(2), Name(first))), Name(first))),
                    Call("ceil", (Call("/", (Name(first), Number(2))),)),
                    Call("floor", (Call("/", (Call("+", (Name(first), Number(1))), Number(2))),)),
                )
                before = self.dims[first]
                by = value.function if isinstance(value, Call) else ""
                others = {"+": before + 1, "**": 1} | dict.fromkeys(
                    ("ceil", "floor"), (before + 1) // 2
                )
                self.dims[name] = others.get(by, before)
                self.statements.append(la.Dim(name, value))
                continue
            self.dims[name] = self.choose(1, 2, 3)
            said = self.dims[name]
            if self.chance(0.3):
                said = 5
                self.sets[name] = self.dims[name]
            self.statements.append(la.Dim(name, Number(said)))
        if self.chance(0.3):
            name = self.fresh("dt")
            size = self.choose(*self.dims) if self.dims and self.chance() else None
            value = Number(0.25) if size is None else Call("/", (Number(1), Name(size)))
            self.consts[name] = 0.25 if size is None else 1 / self.dims[size]
            self.statements.append(la.Const(name, value))

    def inputs(self, axes: Sequence[str]) -> dict[str, Known]:
        found: dict[str, Known] = {}

        def add(name: str, known: Known, static: bool = False, target: bool = False) -> None:
            axis = self.choose(*axes)
            both = len(axes) > 1 and not static and self.chance(0.25)
            own = self.random.sample(axes, 2) if both else [axis]
            known.axes = frozenset() if static else frozenset(own)
            known.delays, known.free = not static, both
            said = ", ".join(own)
            written = said if not static and (len(axes) > 1 or self.chance(0.1)) else None
            self.statements.append(la.Input(name, self.type(known), written, static, target))
            found[name] = known

        for _ in range(self.choose(1, 1, 2)):
            shape = self.choose((), (1,), (2,), (3,), (2, 2))
            add(self.fresh("x"), Known(shape, size=2.0))
        if self.chance(0.5):
            add(self.fresh("w"), Known(kind="index", bound=self.choose(1, 2, 3)))
        if self.chance(0.4):
            add(self.fresh("z"), Known(self.choose((), (2,), (3,)), size=2.0), static=True)
        if self.chance(0.15):
            add(self.fresh("k"), Known(kind="index", bound=2), static=True)
        if self.chance(0.5):
            index = self.chance()
            known = (
                Known(kind="index", bound=3) if index else Known(self.choose((), (2,)), size=2.0)
            )
            add(self.fresh("y"), known, static=self.chance(0.15), target=True)
        return found

    def loss(self, scope: Scope) -> None:
        scope.sampled = False
        expression, _ = self.tame(self.expression((), scope, 3), 4.0)
        static = [name for name, known in scope.known.items() if known.kind == "float"]
        names = self.random.sample(static, min(len(static), self.choose(1, 1, 2)))
        names += [name for name in self.wanted if name not in names and self.chance(0.9)]
        for name in names:
            value: Expression = Name(name)
            if scope.known[name].shape:
                value = self.choose(
                    Call("sum", (value,)), Call("mean", (Call("*", (value, value)),))
                )
            expression = Call("+", (expression, value))
        for axis in sorted(self.axes(expression, scope)):
            how = self.choose("mean", "mean", "mean", "sum", "max", "last")
            expression = Call(how, (expression,), over=axis)
        scope.body.append(la.Loss(expression))

    def rows(self, scope: Scope) -> None:
        """Initial values with a row for each step that is read outside the sequence."""
        values = [
            part
            for statement in scope.body
            for value in la.expressions(statement)
            for part in la.walk(value)
        ]
        handed = {
            operand.name
            for part in values
            if isinstance(part, Call) and part.sizes
            for operand in part.operands
            if isinstance(operand, Name)
        }
        for name in self.deep:
            delays = {
                part.delay
                for part in values
                if isinstance(part, Name) and part.name == name and part.delay
            }
            one_side = len({delay > 0 for delay in delays}) == 1
            longest = max((abs(delay) for delay in delays), default=0)
            if one_side and longest > 1 and name not in handed:
                value, _ = self.param(scope, (longest, *scope.known[name].shape))
                scope.body.append(la.Init(name, value))
        for name, axis in self.deep_along:
            read = [part.delays for part in values if isinstance(part, Name) and part.name == name]
            delays = {each[axis] for each in read if axis in each}
            longest = max((abs(delay) for delay in delays), default=0)
            one_side = len({delay > 0 for delay in delays}) == 1
            # A read along both axes is one of a read, whose longest delay is another.
            alone = all(len(each) < 2 for each in read if axis in each)
            if one_side and longest > 1 and name not in handed and alone:
                value, _ = self.param(scope, (longest, *scope.known[name].shape))
                scope.body.append(la.Init(name, value, (axis,)))

    def outputs(self, scope: Scope) -> None:
        inputs = {
            statement.name for statement in self.statements if isinstance(statement, la.Input)
        }
        names = [name for name in scope.known if name not in inputs and "[" not in name]
        if not names:
            self.plain(scope)
            names = [name for name in scope.known if name not in inputs and "[" not in name]
        chosen = self.random.sample(names, min(len(names), self.choose(1, 2, 3)))
        scope.body.append(la.Output(tuple(chosen)))

    def in_any_order(self) -> Iterator[la.Statement]:
        """Sizes and constants come in their order; all the rest stands anywhere."""
        ordered = (la.Time, la.Dim, la.Const)
        first = [each for each in self.statements if isinstance(each, ordered)]
        rest = [each for each in self.statements if not isinstance(each, ordered)]
        if self.chance(0.3):
            self.random.shuffle(rest)
        yield from first
        yield from rest


def _telling(expression: Expression) -> Iterator[Expression]:
    """What can tell the shape of a value: a condition does not, nor what is in a reduction."""
    if not (isinstance(expression, Call) and expression.function in (*COMPARISONS, *REDUCTIONS)):
        yield expression
        for part in la.parts(expression):
            yield from _telling(part)


def by_chance(expression: Expression) -> bool:
    return any(
        isinstance(part, Call)
        and (part.function in ("dropout", "sample") or "dropout" in dict(part.words))
        for part in la.walk(expression)
    )


def _reads_along(program: la.Program) -> bool:
    """Whether a value of one axis is read along the other, which has the same steps then."""
    return any(
        isinstance(part, Call) and part.function == "along"
        for statement in program.statements
        for expression in la.expressions(statement)
        for part in la.walk(expression)
    )


def reserved() -> set[str]:
    """What cannot be a name."""
    words = "net dim static input target param const init output loss over t"
    return set(re.findall(r"\w+", words))


def generate(seed: int) -> tuple[la.Program, Settings]:
    """A program, and how it is to be built and called."""
    writer = Writer(seed)
    program = writer.program()
    axes = program.axes
    count = writer.choose(1, 2, 3, 4, 5) if _reads_along(program) else None
    settings = Settings(
        sets=writer.sets,
        feed=writer.choose("taught", "taught", "free"),
        truncate=writer.choose(None, None, None, 1, 2, 3),
        training=writer.chance(0.6),
        steps={axis: count or writer.choose(1, 2, 3, 4, 5) for axis in axes},
        batch=writer.choose(None, 1, 2, 2, 3),
        seed=seed,
    )
    return program, settings
