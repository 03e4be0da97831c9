"""Operations of elements, real and complex, each kept inside its domain."""

from __future__ import annotations

from tests.commands.random_programs.language import (
    Call,
    Expression,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    BOUNDED,
    KEPT,
    Scope,
    Shape,
    Written,
    by_chance,
)


class Elementwise:
    def narrower(self, shape: Shape) -> Shape:
        """A shape that broadcasts to another one."""
        if len(shape) != 2:
            return self.choose(shape[1:], (1,)) if shape[1:] else (1,)
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
        options = self.axis(axis, 2, False)
        if isinstance(shape[axis], int) and self.chance():
            return Call("expand", (x,), (*options, ("size", float(shape[axis])))), size
        other, more = self.expression(shape, scope, depth)
        return Call("*", (Call("expand", (x,), options), other)), size * more

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
