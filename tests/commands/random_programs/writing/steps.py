"""What goes over the steps of a sequence, or along another axis, and derivatives at a step."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Name,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    Scope,
    Shape,
    Written,
)


class Steps:
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
        inner = expression.operands if isinstance(expression, Call) else la.parts(expression)
        below = frozenset[str]().union(*(self.axes(part, scope) for part in inner))
        if isinstance(expression, Call) and expression.function in self.functions:
            seen = self.functions[expression.function].seen
            below = below.union(*(scope.known[name].axes for name in seen))
        if isinstance(expression, Call) and any(
            expression.function == use.name for use in self.uses
        ):
            below |= {expression.over or next(iter(below), "t")}
        return below

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

    def fed(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """One of two, by how the network is built; both must be possible."""
        if scope.inside or scope.chain is not None or not self.chance(0.3):
            return None
        free, size = self.expression(shape, scope, depth)
        taught, more = self.expression(shape, scope, depth)
        if self.axes(free, scope) != self.axes(taught, scope):
            return None
        return Call("feed", (free, taught)), max(size, more)
