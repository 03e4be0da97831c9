"""States that are indices or conditions, with a shape or without."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.writing.scope import Known, Scope


class ShapedStates:
    def index_state(self, scope: Scope) -> None:
        """A vector or matrix of indices that follows from what it was before."""
        axis, sign = self.choose(*scope.axes), self.into(1, 1, -1)
        name, bound = self.fresh("q"), self.choose(2, 3)
        sizes = [size for size in scope.sizes if isinstance(size, int)]
        shape = (self.choose(*sizes),)
        place = self.choose(0, -1, 1)
        full = (bound, *shape) if place == 0 else (*shape, bound)
        known = Known(shape, frozenset([axis]), 0.0, "index", bound, along=axis)
        first = len(scope.body)
        fed, _ = self.tame(self.expression(full, scope, 1), 3.0)
        own, _ = self.param(scope, full)
        fed = Call("+", (fed, own))
        mark = self.condition(self.choose(shape, ()), scope, 0)
        states = {name: known}
        scope.known |= states
        delays = [sign * self.choose(1, 1, 2, 3) for _ in range(2)]
        back, other = (Name(name, delay, axis) for delay in delays)
        wanted = Number(self.random.randrange(bound))
        held = self.choose(Call("==", (back, wanted)), Call("==", (back, other)))
        if not self.is_decided(held):
            held = Call("==", (back, wanted))
        match self.choose("argmax", "argmax", "kept", "kept", "one of both"):
            case "argmax":
                more = Call("where", (held, self.param(scope, shape)[0], Number(0)))
                if place != 0:
                    more = Call("expand", (more,), (("axis", float(place)),))
                value: Expression = self.most(Call("+", (fed, more)), place)
            case "kept":
                value = Call("where", (mark, self.most(fed, place), back))
            case _:
                value = Call("where", (held, self.most(fed, place), self.choose(back, other)))
        declared = self.chance(0.4)
        scope.body.append(la.Equation((name,), value, (self.type(known),), declared))
        self.settle(states, scope, first)
        read = {
            part.delay for part in la.walk(value) if isinstance(part, Name) and part.name == name
        }
        if self.chance(0.6) and not known.axes - {axis}:
            self.index_start(name, shape, bound, max(map(abs, read)) if declared else 1, scope)
        if self.chance(0.4):
            scope.body.append(la.Reset(name, self.mark(scope, states)))
            self.settle(states, scope, first)
        known.delays = False  # a row of its initial value is there for each step that is read

    @staticmethod
    def is_decided(held: Call) -> bool:
        return held.operands[0] != held.operands[1]

    def most(self, scores: Expression, place: int) -> Expression:
        return Call("argmax", (scores,), (("axis", float(place)),))

    def index_start(
        self, name: str, shape: tuple[int, ...], bound: int, longest: int, scope: Scope
    ) -> None:
        rows = (longest,) if longest > 1 and self.chance() else ()
        scores, _ = self.param(scope, (*rows, *shape, bound))
        scope.body.append(la.Init(name, Call("argmax", (scores,), (("axis", -1.0),))))
        self.owned.add(name)

    def condition_state(self, scope: Scope) -> None:
        """Conditions that follow from what held before."""
        axis, sign = self.choose(*scope.axes), self.into(1, 1, -1)
        name, shape = self.fresh("c"), self.any_shape(scope, 2)
        known = Known(shape, frozenset([axis]), 1.0, "bool", along=axis)
        first = len(scope.body)
        fed, _ = self.tame(self.expression(shape, scope, 1), 3.0)
        fed = Call("+", (fed, self.param(scope, shape)[0]))
        now = Call(self.choose("<", ">"), (fed, self.number()[0]))
        states = {name: known}
        scope.known |= states
        steps = self.choose(1, 1, 2, 3)
        back: Expression = Name(name, sign * steps, axis)
        match self.choose("and", "or", "not", "either", "kept"):
            case "and" | "or" as word:
                value = Call(word, (now, self.choose(back, Call("not", (back,)))))
            case "not":
                value = Call("and", (Call("not", (back,)), now))
            case "either":
                both = Call("and", (now, Call("not", (back,))))
                value = Call("or", (both, Call("and", (Call("not", (now,)), back))))
            case _:
                other = Call(">", (self.param(scope, shape)[0], Number(0)))
                value = Call("or", (Call("and", (now, other)), Call("and", (back, now))))
        declared = self.chance(0.7)
        scope.body.append(la.Equation((name,), value, (self.type(known),), declared))
        self.settle(states, scope, first)
        if self.chance(0.5) and not known.axes - {axis}:
            rows = (steps,) if steps > 1 and shape and self.chance() else ()
            start, _ = self.param(scope, self.choose((*rows, *shape), (*rows, *shape), ()))
            scope.body.append(la.Init(name, Call(">", (start, Number(0.1)))))
            self.owned.add(name)
        if declared and self.chance(0.4):
            scope.body.append(la.Reset(name, self.mark(scope, states)))
            self.settle(states, scope, first)
        known.delays = False
