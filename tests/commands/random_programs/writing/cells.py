"""Cells and functions, of the program and of the library, and their uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Float,
    Name,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    Chain,
    Known,
    Scope,
    Shape,
    Size,
    Use,
    Written,
    reserved,
)
from tests.commands.random_programs.writing.signatures import Words


class Cells:
    def cell(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        if not self.uses or len(self.names) > 120:
            return None
        use = self.choose(*self.uses)
        if use.signature is not None:
            found = self.library_use(use, shape, scope, depth)
            if found is None:
                return None
            call, whole = found[0], found[1] == "complex"
            return Call("real", (call,)) if whole else call, use.signature.size
        call = self.use(use, shape[0], scope, depth) if len(shape) == 1 else None
        return None if call is None else (call, 3.0)

    def use(self, use: Use, size: Size, scope: Scope, depth: int) -> Call | None:
        """A use of an own cell for results of that size; in a chain it runs along its axis."""
        width = self.some(scope)
        operands: list[Expression] = [self.vector(width, scope, depth)[0]]
        types: list[la.Type] = [Float(self.sizes((width,)))]
        if use.marked:
            mark, own = self.mark(scope), self.axes(operands[0], scope)
            if not self.axes(mark, scope) <= own:
                mark = Number(self.choose(0, 1))
            operands.append(mark)
            types.append(Float())
        axes = frozenset[str]().union(*(self.axes(operand, scope) for operand in operands))
        over = self.along_which(use, axes, scope)
        if over is False or (use.delayed_input and (over or next(iter(axes), None)) not in axes):
            return None
        first = self.size(size)
        words = self.words(use, scope, isinstance(size, int) and not size % 2, width == size)
        if words is None:
            return None
        if "both" in dict(words):
            assert isinstance(size, int)
            first = Number(size // 2)
        sizes = (("H", first), *use.sizes)
        kinds = tuple(types)
        return Call(use.name, tuple(operands), over=over, sizes=sizes, types=kinds, words=words)

    def along_which(
        self, use: Use, axes: frozenset[str], scope: Scope
    ) -> str | Literal[False] | None:
        """What is said of the axis that a use runs along; False if it cannot stand here."""
        if scope.inside == "cell":
            return "t" if self.chance() else None
        if use.along_one:
            unsettled = scope.chain is not None and len(scope.axes) > 1
            if unsettled or len(axes) > 1:
                return False
            said = not axes or self.chance(0.15)
            return next(iter(axes), self.choose(*scope.axes)) if said else None
        if scope.chain is not None:  # those of its states are not settled
            axis = scope.chain.axis
            return axis if axes != {axis} or len(scope.axes) > 1 else None
        return self.choose(*scope.axes) if len(axes) != 1 or self.chance(0.15) else None

    def words(self, use: Use, scope: Scope, even: bool, square: bool) -> Words | None:
        """Layers and directions of a use; None if it cannot go the way of its chain.

        It can go both ways if its results are ``even``; ``square`` ones are like what comes in.
        """
        words: list[tuple[str, float]] = []
        # With two axes what it has inside would have to say along which it runs.
        clear = not (use.along_one and len(scope.axes) > 1)
        if scope.chain is not None:
            if use.direction != scope.chain.direction:
                if not clear:
                    return None
                words.append(("reverse", 0))
        elif self.chance(0.2):
            return ()
        elif clear and even and self.chance():
            words.append(("both", 0))
        elif clear and self.chance():
            words.append(("reverse", 0))
        rare = 0.5 if scope.chain is None else 0.1
        if self.chance(rare):
            words.append(("stack", self.choose(1, 2, 2)))
        if square and self.chance(rare):
            words.append(("residual", 0))
        if ("stack", 2) in words and scope.chance and self.chance():
            self.rate = round(self.rate + 0.001, 3)
            words.append(("dropout", self.rate))
        self.random.shuffle(words)
        return tuple(words)

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
        self.names = {*reserved(), *self.dims, *self.consts, *"xrhcmHkKL"}
        sizes = self.sizes_of_cell()
        scope = Scope(body, known, ("H", "x", "H", 2, *dict(sizes[1:])), ("t",), "cell")
        scope.chance = self.chance(0.3)
        scope.chain = Chain("t", direction, states)
        if self.chance(0.3):
            body.append(la.Dim("G", Call("*", (Number(2), Name("H")))))
        order = list(states)
        self.random.shuffle(order)
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
        self.names = outer
        given = [(size, Number(2)) for size, _ in sizes[1:] if self.chance(0.3)]
        if any(
            part.name == "k"
            for s in body
            for e in la.expressions(s)
            for part in la.walk(e)
            if isinstance(part, Name)
        ):
            sizes.append(("k", Number(0.5)))
            given += self.choose([], [("k", Number(0.25))])
        results = ("h", *(["c"] if "c" in states and self.chance(0.7) else []))
        inputs = ("x", "r") if marked else ("x",)
        back = known["x"].along is not None
        self.statements.append(la.Cell(name, inputs, tuple(sizes), results, tuple(body)))
        alone = any(
            part.over is None or use.along_one
            for statement in body
            for value in la.expressions(statement)
            for part in la.walk(value)
            for use in self.uses
            if isinstance(part, Call) and part.function == use.name
        )
        said = tuple(given)
        self.uses.append(Use(name, direction, len(results), said, marked, own_start, back, alone))

    def sizes_of_cell(self) -> list[tuple[str, Expression | None]]:
        """What a use says, and maybe sizes that follow from those before and from the input."""
        found: list[tuple[str, Expression | None]] = [("H", None)]
        for name in self.choose((), (), ("K",), ("K", "L")):
            before = self.choose(Call("size", (Name("x"),)), *(Name(each) for each, _ in found))
            half = Call("/", (before, Number(2)))
            default = self.choose(
                before,
                Call("+", (before, Number(1))),
                Call("*", (Number(2), before)),
                Call("ceil", (half,)),
                Call("floor", (Call("+", (half, Number(1))),)),
            )
            found.append((name, default))
        return found
