"""Conditions: comparisons, of some or all elements or steps, and what a reset goes by."""

from __future__ import annotations

from collections.abc import Collection

from tests.commands.random_programs.language import (
    Call,
    Expression,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    COMPARISONS,
    Scope,
    Shape,
)


class Conditions:
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
        found = self.read(shape, scope, "index") if shape and self.chance(0.3) else None
        if found is not None:
            bound = self.known(found[0].name, scope).bound
            return Call(self.choose("==", "!="), (found[0], Number(self.random.randrange(bound))))
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
            return Call(name, (compared,), self.axis(axis, 2))
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
