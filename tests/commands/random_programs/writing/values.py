"""Equations of other forms: arrays, repetitions, uses with names, attention."""

from __future__ import annotations

from dataclasses import replace

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Float,
    Name,
    Number,
)
from tests.commands.random_programs.writing.scope import Known, Scope, Shape, by_chance


class Values:
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
        if self.chance(0.1):
            expression, size = self.whole(shape, scope, 2)
            known = Known(shape, self.axes(expression, scope), size, "complex")
            known.delays = bool(known.axes)
            self.equation(name, (expression, size), known, scope)
            scope.known[name] = known
            return
        expression, size = self.tame(self.expression(shape, scope, self.choose(2, 3)), 4.0)
        known = Known(shape, self.axes(expression, scope), size)
        known.delays = bool(known.axes)
        self.equation(name, (expression, size), known, scope)
        scope.known[name] = known

    def used_function(self, scope: Scope) -> None:
        """A function that reads what is there by now, and a value with a call of it."""
        self.function_of_spec(scope)
        name, function = next(reversed(self.functions.items()))
        assert function.shape is not None
        scope.sampled = False
        operands = (self.expression(function.shape, scope, 1) for _ in range(function.arguments))
        call = Call(name, tuple(self.tame(each, 2.0)[0] for each in operands))
        own, known = self.fresh("v"), Known(function.shape, self.axes(call, scope), 6.0)
        known.delays = bool(known.axes)
        self.equation(own, (call, known.size), known, scope)
        scope.known[own] = known

    def repeated(self, scope: Scope) -> None:
        """Passes that start from a value, or from that of the step before."""
        name, count = self.fresh("v"), self.choose(1, 2, 3)
        scope.sampled = False
        own = [use for use in self.uses if use.signature is None]
        shape = (self.some(scope),) if own and self.chance() else self.any_shape(scope, 2)
        start, size = self.tame(self.expression(shape, scope, 1), 2.0)
        beside, more = self.tame(self.leaf(shape, scope), 2.0)
        calls = {part.function for part in la.walk(start) if isinstance(part, Call)}
        plain = not by_chance(start) and calls.isdisjoint(use.name for use in self.uses)
        if plain and self.axes(start, scope) != self.axes(beside, scope):
            beside, more = Call("sin", (start,)), 1.0
        pass_ = Call("*", (Number(0.5), Call(self.choose("tanh", "sin"), (Name(name),))))
        axes = self.axes(start, scope) | self.axes(beside, scope)
        axis = self.choose(*sorted(axes)) if axes else None
        if axis is not None and self.chance():
            pass_ = Call("+", (pass_, Call("*", (Number(0.2), Name(name, 1, axis)))))
        used = self.used_in_pass(name, shape, axes, pass_, scope)
        if used is not None:
            pass_ = Call("+", (pass_, Call("*", (Number(0.3), used))))
        value = Call("+", (pass_, beside))
        if self.axes(start, scope) == self.axes(beside, scope):
            known = Known(shape, axes, size + more + 1.0)
            type_ = self.type(known)
            equation = la.Equation((name,), value, (type_,))
            body: tuple[la.Statement, ...] = (equation,)
            with_inner = "nested with its own" if used is None else "own"
            match self.choose("one", "one", "nested", "own", "own", with_inner):
                case "nested":
                    body = (la.Repeat(self.size(2), body),)
                case "own":
                    body = self.with_own(equation)
                case "nested with its own":
                    body = self.with_inner(equation)
            scope.body += [replace(equation, value=start), la.Repeat(self.size(count), body)]
            known.delays = axis is not None
            known.along = axis
            scope.known[name] = known

    def used_in_pass(
        self, name: str, shape: Shape, axes: frozenset[str], pass_: Call, scope: Scope
    ) -> Call | None:
        """A cell of what a pass begins with: all have its parameters, and each its states."""
        back = any(isinstance(part, Name) and part.delays for part in la.walk(pass_))
        uses = [
            use
            for use in self.uses
            if use.signature is None
            and not (use.marked or use.delayed_input or (back and use.direction < 0))
        ]
        if not uses or len(axes) != 1 or len(shape) != 1:
            return None
        use, (axis,) = self.choose(*uses), axes
        along = axis if back or use.along_one or self.chance(0.3) else None
        words = self.choose((), (), (("stack", 2),), (("residual", 0),))
        if use.along_one and len(scope.axes) > 1:
            words = ()
        given = (Name(name), Call("tanh", (Name(name),)))
        return Call(
            use.name,
            (self.choose(*given),),
            over=along,
            sizes=(("H", self.size(shape[0])), *use.sizes),
            types=(Float(self.sizes(shape)),),
            words=words,
        )

    def with_own(self, equation: la.Equation) -> tuple[la.Statement, ...]:
        """With a name that each pass has for itself, in any order."""
        name, own = equation.names[0], self.fresh("f")
        first = replace(equation, names=(own,))
        half = (Call("*", (Number(0.3), Name(each))) for each in (name, own))
        both = [first, replace(equation, value=Call("-", tuple(half)))]
        self.random.shuffle(both)
        return tuple(both)

    def with_inner(self, equation: la.Equation) -> tuple[la.Statement, ...]:
        """With passes in each pass, which begin anew."""
        name, own = equation.names[0], self.fresh("y")
        first = replace(equation, names=(own,))
        wave = Call("*", (Number(0.2), Call("sin", (Name(own),))))
        more = Call("-", (Call("*", (Number(0.9), Name(own))), wave))
        if self.chance():
            more = Call("+", (more, Call("*", (Number(0.1), Name(name)))))
        inner = la.Repeat(Number(2), (replace(first, value=more),))
        half = (Call("*", (Number(0.4), Name(each))) for each in (name, own))
        return first, inner, replace(equation, value=Call("+", tuple(half)))

    def element_uses(self, scope: Scope) -> None:
        """An array of cells, with parameters of their own, or one upon another."""
        own = [use for use in self.uses if use.signature is None and not use.marked]
        if not own:
            return
        use, size, index = self.choose(*own), self.some(scope), self.fresh("k")
        scope.sampled, chance, scope.chance = False, scope.chance, False
        call = self.use(use, size, scope, 1)
        scope.chance = chance
        if call is None or call.words or by_chance(call.operands[0]):
            return
        names = tuple(self.fresh("h") for _ in range(self.random.randint(1, use.results)))
        count, axes = self.choose(2, 2, 3), self.axes(call, scope)
        type_ = self.type(Known((size,), axes))
        deep = self.chance(0.4) and len(axes) == 1 and not use.marked
        types = (type_,) * len(names)
        first = 1 if deep else count
        scope.body.append(la.Elements(names, index, Number(first), call, types))
        if deep:
            below = Name(f"{names[0]}[{index}-1]")
            layer = replace(call, operands=(below,), types=(type_,))
            scope.body.append(la.Elements(names, index, Number(count), layer, types, 1))
        for name in names:
            scope.known[name] = Known((count, size), axes, 3.0, delays=False)
            for place in range(count):
                scope.known[f"{name}[{place}]"] = Known((size,), axes, 3.0, delays=False)

    def elements(self, scope: Scope) -> None:
        """An array, of which each element has a number of its own in it."""
        name, index, count = self.fresh("h"), self.fresh("k"), self.choose(1, 2, 3)
        scope.sampled = False
        shape = self.any_shape(scope)
        value, size = self.tame(self.expression(shape, scope, 2), 2.0)
        factor = Call("/", (Call("+", (Name(index), Number(1))), Number(2)))
        value, axes = Call("*", (value, factor)), self.axes(value, scope)
        back = bool(axes) and self.chance(0.4)
        if back:
            axis = self.choose(*sorted(axes))
            steps = self.choose(Call("**", (Number(2), Name(index))), Number(self.choose(1, 2)))
            read = Name(f"{name}[{index}]", self.into(1, 1, -1), axis, size=steps)
            value = Call("+", (value, Call("*", (Number(0.5), read))))
        type_ = self.type(Known(shape, axes))
        scope.body.append(la.Elements((name,), index, Number(count), value, (type_,)))
        if axes and self.chance():
            if self.chance():
                begun = Call("*", (self.param(scope, shape)[0], Name(index)))
                scope.body.append(la.Init(name, begun, (), index, count))
            else:
                place = self.random.randrange(count)
                scope.body.append(la.Init(f"{name}[{place}]", self.param(scope, shape)[0]))
        if back and len(axes) == 1 and self.chance(0.5):
            mark = self.mark(scope)
            if self.axes(mark, scope) <= axes:
                scope.body.append(la.Reset(f"{name}[{self.random.randrange(count)}]", mark))
        names = [(name, (count, *shape)), *((f"{name}[{k}]", shape) for k in range(count))]
        for each, own in names:
            delays = bool(axes) and not back
            scope.known[each] = Known(own, axes, 3 * size, delays=delays)

    def split(self, scope: Scope) -> None:
        count, size = self.choose(2, 3), self.choose(1, 2)
        scope.sampled = False
        shape: Shape = (count * size,)
        options: tuple[tuple[str, float], ...] = ()
        axis = 0
        if self.chance(0.4):
            axis, other = self.choose(0, 1), self.some(scope)
            shape = (count * size, other) if axis == 0 else (other, count * size)
            options = self.axis(axis, 2)
        whole, bound = self.tame(self.expression(shape, scope, 2), 4.0)
        names = tuple(self.fresh("v") for _ in range(count))
        own = tuple(size if place == axis else each for place, each in enumerate(shape))
        known = Known(own, self.axes(whole, scope), bound)
        call = Call("split", (whole, Number(count)), options)
        types = (self.type(known),) * count
        scope.body.append(la.Equation(names, call, types, self.chance(0.2)))
        for name in names:
            scope.known[name] = replace(known)

    def used(self, scope: Scope) -> None:
        """A cell whose results have names, and maybe initial values from outside."""
        if not self.uses:
            return
        use, size = self.choose(*self.uses), self.some(scope)
        scope.sampled = False
        if use.signature is not None:
            self.library_used(use, scope)
            return
        call = self.use(use, size, scope, 1)
        if call is None:
            return
        names = tuple(
            self.fresh("h", odd=False) for _ in range(self.random.randint(1, use.results))
        )
        known = Known((size,), self.axes(call, scope), 3.0)
        scope.body.append(la.Equation(names, call, (self.type(known),) * len(names)))
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
