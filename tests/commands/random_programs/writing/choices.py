"""What a writer chooses from: numbers, names, sizes, and what can be read where it writes."""

from __future__ import annotations

from collections.abc import Callable

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Float,
    Index,
    Name,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    ODD_NAMES,
    Known,
    Scope,
    Shape,
    Size,
    Written,
)


class Choices:
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
            return Index(Number(known.bound), self.sizes(known.shape))
        if known.kind == "bool":
            return la.Condition(self.sizes(known.shape))
        if known.kind == "complex":
            return la.Complex(self.sizes(known.shape))
        return Float(self.sizes(known.shape))

    def any_shape(self, scope: Scope, most: int = 1) -> Shape:
        rank = self.choose(0, 1, 1) if most < 2 else self.choose(0, 1, 1, 1, 2)
        return tuple(self.choose(*scope.sizes) for _ in range(rank))

    def axis(self, axis: int, rank: int, said: bool = True) -> tuple[tuple[str, float], ...]:
        """The option for a dimension, sometimes counted from the end; 0 is not ``said`` always."""
        if not axis and not said and self.chance(0.8):
            return ()
        return (("axis", float(axis - rank if self.chance(0.3) else axis)),)

    def vector(self, size: Size, scope: Scope, depth: int) -> Written:
        return self.expression((size,), scope, depth)

    def some(self, scope: Scope) -> Size:
        return self.choose(*scope.sizes)

    def number(self) -> Written:
        if self.consts and self.chance(0.2):
            name = self.choose(*self.consts)
            return Name(name), abs(self.consts[name])
        if self.dims and self.chance(0.1):
            name = self.choose(*self.dims)
            return Name(name), float(self.dims[name])
        value = self.choose(0.5, 1.0, 0.25, -0.5, 2.0, -1.0, 0.0, 1.5, 0.3, 1e-3)
        return Number(value), abs(value)

    def param(self, scope: Scope, shape: Shape, start: str | None = None) -> Written:
        name = self.fresh("p")
        forms = ["", "normal(0.5)", "uniform(-0.5, 0.5)", "0.5", "zeros", "-1 / 4"]
        forms += ["orthogonal", "glorot"] if len(shape) == 2 else []
        text = self.choose(*forms) if start is None else start
        scope.body.append(la.Param(name, self.sizes(shape), text, self.chance(0.08)))
        return Name(name), 1.5

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

    def known(self, name: str, scope: Scope) -> Known:
        if scope.chain is not None and name in scope.chain.states:
            return scope.chain.states[name]
        return scope.known.get(name, Known())

    def delayed(self, name: str, delay: int, axis: str, scope: Scope) -> Name:
        marked = not delay and axis in self.known(name, scope).axes and self.chance(0.1)
        marked = marked and scope.inside != "function"
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
