"""Functions of one's own, and calls of them and of those of the library."""

from __future__ import annotations

from collections.abc import Iterator

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.writing.scope import Function, Known, Scope, Shape, Written


class Functions:
    def own_function(self) -> None:
        """One that sees its arguments alone."""
        known = {argument: Known(("S",), size=2.0) for argument in self.arguments()}
        scope = Scope([], known, ("S",), ("t",), "function")
        value, _ = self.tame(self.expression(("S",), scope, 2), 3.0)
        slopes: list[tuple[str, Expression]] = []
        if self.chance(0.5):
            for argument in known:
                if self.chance(0.8):
                    slope, _ = self.tame(self.expression(("S",), scope, 1), 2.0)
                    slopes.append((argument, slope))
        self.function(tuple(known), value, tuple(slopes), Function(len(known)))

    def function_of_spec(self, outer: Scope) -> None:
        """One that reads parameters, inputs and values where it is called, of their shape."""
        shape: Shape = self.choose((), (self.some(outer),), (self.some(outer),))
        known = {argument: Known(shape, size=2.0) for argument in self.arguments()}
        # Elements of arrays have names of their own once they are written out.
        there = {name: each for name, each in outer.known.items() if "[" not in name}
        scope = Scope(outer.body, {**there, **known}, outer.sizes, ("t",), "function")
        value, _ = self.tame(self.expression(shape, scope, 1), 2.0)
        # What it is named for, beside what was drawn.
        floats = {name: each for name, each in there.items() if each.kind == "float"}
        read = [name for name, each in floats.items() if each.shape in (shape, ())]
        more = Name(self.choose(*read)) if read and self.chance(0.7) else self.param(outer, ())[0]
        value, _ = self.tame((Call("+", (value, Call("*", (more, Name("a"))))), 6.0), 3.0)
        names = {part.name for part in la.walk(value) if isinstance(part, Name)}
        seen = frozenset(names & there.keys()) | self.seen(value)
        self.function(tuple(known), value, (), Function(len(known), shape=shape, seen=seen))

    def arguments(self) -> tuple[str, ...]:
        return tuple("abc"[: self.choose(1, 2, 2)])

    def function(
        self,
        arguments: tuple[str, ...],
        value: Expression,
        slopes: tuple[tuple[str, Expression], ...],
        function: Function,
    ) -> None:
        name = self.fresh("f", odd=False)
        read = {part.name for part in la.walk(value) if isinstance(part, Name)}
        for argument in arguments:  # the value runs over what its arguments do
            if argument not in read:
                value = Call("+", (value, Call("*", (Number(0.5), Name(argument)))))
        several = isinstance(value, Call) and self.chance(0.4)
        self.statements.append(la.Function(name, arguments, value, slopes, several))
        self.functions[name] = function

    def seen(self, expression: Expression) -> frozenset[str]:
        """The names of the spec, parameters aside, that functions in it read."""

        def found() -> Iterator[frozenset[str]]:
            for part in la.walk(expression):
                if isinstance(part, Call) and part.function in self.functions:
                    yield self.functions[part.function].seen

        return frozenset[str]().union(*found())

    def called(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A function of one's own, or of the library."""
        possible = [
            name
            for name, each in self.functions.items()
            if each.shape in (None, shape)
            and (each.elementwise or len(shape) == 1)
            and each.seen <= scope.known.keys()
        ]
        if not possible:
            return None
        name = self.choose(*possible)
        count = self.functions[name].arguments
        operands = [self.tame(self.expression(shape, scope, depth), 2.0)[0] for _ in range(count)]
        if name in self.positive:  # all but the first
            others = (Call("+", (Number(0.5), Call("sigmoid", (x,)))) for x in operands[1:])
            operands = [operands[0], *others]
        return Call(name, tuple(operands)), 6.0
