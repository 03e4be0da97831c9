"""Equations that read themselves or each other with a delay, and what they start from."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Index,
    Name,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    Chain,
    Known,
    Scope,
    Shape,
    Written,
    by_chance,
    telling,
)


class States:
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
        if known.kind == "complex":
            self.equation(name, (self.complex_state(name, known, scope), 8.0), known, scope)
            chain.done.add(name)
            return

        def back(delay: int = 0) -> Expression:
            steps = delay or self.choose(1, 1, 1, 2, 3, 6)
            return self.delayed(name, chain.direction * steps, chain.axis, scope)

        fed = self.tame(self.expression(shape, scope, self.choose(1, 2, 2, 3)), 4.0)[0]
        told = any(
            self.known(part.name, scope).kind == "float"
            for part in telling(fed)
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
        if self.chance(0.15):
            states[names[-1]].kind = "complex"
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
        if known.kind == "complex":
            if self.chance(0.6):
                self.owned.add(name)
                scope.body.append(la.Init(name, self.complex_start(known.shape, scope)))
            return
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
