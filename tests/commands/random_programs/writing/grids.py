"""Recurrences over two axes at once, as a random program has them.

    h = tanh(f + W @ h[s-1] + 0.5 * h[t-2] + 0.3 * h[s-1, t+1] + m[s-1])
    m = mean(h, over t)
    init h over s = e              # which may run over t
    init h over s, t = 0.5

All delays along one of the axes have one sign, and so have, along the other one, those of reads
without a delay along the first: an order of the steps exists.  What goes to a state from outside is
finished before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.writing.scope import Known, Scope, Shape

if TYPE_CHECKING:
    from tests.commands.random_programs.generate import Writer


def grid(writer: Writer, scope: Scope) -> None:
    """One or two states that read each other along both axes, with borders."""
    if len(scope.axes) == 2:
        _Grid(writer, scope).write()


class _Grid:
    def __init__(self, writer: Writer, scope: Scope) -> None:
        self.writer, self.scope = writer, scope
        self.first, self.second = writer.random.sample(scope.axes, 2)
        self.signs = {axis: writer.into(1, 1, -1) for axis in scope.axes}
        self.both = frozenset(scope.axes)
        count = writer.choose(1, 1, 2)
        self.names = [writer.fresh("g", odd=False) for _ in range(count)]
        self.states = {
            name: Known(writer.any_shape(scope, 2), self.both, 1.0, free=True)
            for name in self.names
        }

    def write(self) -> None:
        writer, scope = self.writer, self.scope
        before = dict(scope.known)  # what borders are made of
        for place, name in enumerate(self.names):
            self.state(name, place)
        for name in self.names:
            self.borders(name, before)
        scope.known |= self.states
        writer.wanted += self.names

    def back(self, axis: str) -> int:
        return self.signs[axis] * self.writer.choose(1, 1, 1, 2, 3)

    def read(self, name: str) -> Name:
        """A read of a state that is computed before."""
        writer, first, second = self.writer, self.first, self.second
        match writer.choose("first", "first", "second", "second", "both", "both"):
            case "first":
                return Name(name, self.back(first), first)
            case "second":
                return Name(name, self.back(second), second)
        return self.across(name, writer.into(1, 1, 2, -1, -2))

    def across(self, name: str, across: int) -> Name:
        """A read along both axes."""
        writer, first, second = self.writer, self.first, self.second
        delays = {first: self.back(first), second: across}
        (axis, delay), (other, more) = writer.random.sample(sorted(delays.items()), 2)
        return Name(name, delay, axis, also=((more, other),))

    def term(self, shape: Shape, near: Name) -> Expression:
        """What a read makes of a state for one of another shape."""
        writer, scope, own = self.writer, self.scope, self.states[near.name].shape
        if own == shape:
            if len(own) == 1 and writer.chance():
                return Call("@", (writer.param(scope, own * 2, "normal(0.4)")[0], near))
            return Call("*", (Number(writer.choose(0.5, -0.3, 0.7)), near))
        return Call(writer.choose("sum", "mean", "max"), (near,)) if own else near

    def state(self, name: str, place: int) -> None:
        writer, scope = self.writer, self.scope
        known = self.states[name]
        shape = known.shape
        fed, _ = writer.finished(shape, scope, {})
        terms: list[Expression] = [fed, writer.param(scope, shape)[0]]
        others = self.names[:place]
        reads = [
            Name(name, self.back(self.first), self.first),
            Name(name, self.back(self.second), self.second),
            *(self.read(writer.choose(*self.names)) for _ in range(writer.choose(0, 1, 2))),
            *(Name(other) for other in others if writer.chance()),
        ]
        if not writer.online and writer.chance(0.1):  # from both sides
            reads += [self.across(name, side) for side in (1, -1)]
        if place + 1 < len(self.names) and all(read.name == name for read in reads):
            reads.append(self.read(self.names[place + 1]))
        terms += [self.term(shape, read) for read in reads]
        if not writer.online and writer.chance(0.3):
            terms.append(self.summary(name, shape))
        writer.random.shuffle(terms)
        total = terms[0]
        for term in terms[1:]:
            total = Call(writer.choose("+", "+", "+", "-"), (total, term))
        wave = Call(writer.choose("tanh", "sin", "sigmoid"), (total,))
        value = self.chosen(wave, [read for read in reads if self.states[read.name] == known])
        writer.equation(name, (value, 1.0), known, scope)

    def chosen(self, wave: Expression, reads: list[Name]) -> Expression:
        """The value, or a mask, a minimum, a product of it and of what it reads."""
        writer = self.writer
        one, other = (writer.choose(*reads) for _ in range(2))
        match writer.choose("plain", "plain", "plain", "mask", "least", "product", "stop"):
            case "mask":
                mask = writer.mark(self.scope, numbers=False)
                return Call("where", (mask, wave, writer.choose(one, Number(0))))
            case "least":
                least = Call(writer.choose("minimum", "maximum"), (one, other))
                return Call("+", (wave, Call("*", (Number(0.5), least))))
            case "product":
                return Call("*", (wave, Call("+", (Number(1), Call("*", (Number(0.5), one))))))
            case "stop":
                every = (("every", float(writer.choose(1, 2))),) if writer.chance() else ()
                stopped = Call("stop", (one,), every if one.delay and not one.also else ())
                return Call("+", (wave, Call("*", (Number(0.5), stopped))))
        return wave

    def summary(self, name: str, shape: Shape) -> Expression:
        """What one step along the first axis has of all along the other one."""
        writer, scope, known = self.writer, self.scope, self.states[name]
        summary = writer.fresh("m", odd=False)
        function = writer.choose("mean", "max", "min", "sum", "last", "first")
        value = Call("tanh", (Call(function, (Name(name),), over=self.second),))
        own = Known(known.shape, frozenset([self.first]), 1.0, along=self.first)
        writer.equation(summary, (value, 1.0), own, scope)
        read: Expression = Name(summary, self.back(self.first), self.first)
        if known.shape != shape:
            read = Call("sum", (read,)) if known.shape else read
        return Call("*", (Number(0.5), read))

    # Borders

    def borders(self, name: str, before: dict[str, Known]) -> None:
        writer, scope = self.writer, self.scope
        if writer.chance(0.3):
            value = self.start(name, frozenset(), before)
            scope.body.append(la.Init(name, value))
            writer.owned.add(name)
        if writer.chance(0.3):
            return
        for axis, other in (scope.axes, scope.axes[::-1]):
            told = self.states[name].shape or name in writer.declared
            if told and writer.chance(0.25):
                writer.deep_along.append((name, axis))
            elif writer.chance():
                value = self.start(name, frozenset([other]), before)
                scope.body.append(la.Init(name, value, (axis,)))
        if writer.chance():
            axes = tuple(writer.random.sample(scope.axes, 2))
            scope.body.append(la.Init(name, self.start(name, frozenset(), before), axes))

    def start(self, name: str, axes: frozenset[str], before: dict[str, Known]) -> Expression:
        """A value that runs over some axes at most, and is finished."""
        writer, scope, shape = self.writer, self.scope, self.states[name].shape
        found = [
            other
            for other, known in before.items()
            if known.kind == "float" and known.shape == shape and known.axes <= axes
        ]
        forms = ["number", "param", "constant", *(["known"] * 3 if found else [])]
        match writer.choose(*forms):
            case "number":
                return writer.number()[0]
            case "constant" if shape:
                return writer.constant(shape, scope, static=True)[0]
            case "known":
                other = writer.choose(*found)
                read = Name(other)
                return read if writer.chance() else Call("tanh", (read,))
        return writer.param(scope, shape)[0]
