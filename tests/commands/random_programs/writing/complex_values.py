"""Complex values: what is computed of them, states of them, and real values of their parts."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.writing.scope import Known, Scope, Shape, Written


class ComplexValues:
    def part(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A real value of complex ones."""
        function = self.choose("real", "imag", "abs", "angle")
        if function == "angle":  # away from where it is cut
            a, _ = self.expression(shape, scope, depth)
            b, size = self.expression(shape, scope, depth)
            right = Call("+", (Number(1.5), Call("tanh", (a,))))
            return Call(function, (Call("complex", (right, b)),)), 1.6
        z, size = self.whole(shape, scope, depth)
        return Call(function, (z,)), size

    def complex_param(self, scope: Scope, shape: Shape) -> Written:
        name = self.fresh("p")
        starts = ["", "normal(0.5)", "0.5", "zeros"]
        starts += ["complex(0.1, uniform(-1, 1))", "complex(normal(0.3), 0.2)"]
        start = self.choose(*starts)
        frozen = self.chance(0.08)
        scope.body.append(la.Param(name, self.sizes(shape), start, frozen, whole=True))
        return Name(name), 2.0

    def complex_leaf(self, shape: Shape, scope: Scope, depth: int) -> Written:
        found = None if scope.inside == "function" else self.read(shape, scope, "complex")
        if found is not None and self.chance(0.7):
            return found
        if scope.inside != "function" and self.chance(0.25):
            return self.complex_param(scope, shape)
        a, size = self.expression(shape, scope, depth)
        b, more = self.expression(shape, scope, depth) if self.chance(0.8) else self.number()
        return Call("complex", (a, b)), size + more

    def whole(self, shape: Shape, scope: Scope, depth: int) -> Written:
        """A complex value, and how large its modulus is."""
        z, size = self.complex_leaf(shape, scope, depth)
        forms = ["plain", "conj", "sum", "product", "turned", "quotient", "power", "root"]
        if scope.inside != "function":
            forms += ["where", "stop", *["of shape"] * 3] if depth > 0 else []
            forms += ["over"] if not self.online else []
        match self.choose(*forms):
            case "conj":
                return Call("conj", (z,)), size
            case "sum":
                other, more = self.expression(shape, scope, depth)
                return Call(self.choose("+", "-"), (z, other)), size + more
            case "product":
                c, most = self.expression(shape, scope, depth)
                other = Call("complex", (Number(0.5), c))
                return Call("*", (z, other)), size * (most + 0.5)
            case "turned":
                b, _ = self.expression(shape, scope, depth)
                turn = Call("exp", (Call("complex", (Number(-0.5), b)),))
                return Call("*", (turn, z)), size
            case "quotient":
                a, _ = self.expression(shape, scope, depth)
                below = Call("complex", (Number(2), Call("tanh", (a,))))
                return Call("/", (z, below)), size
            case "power":
                half = Call("*", (Number(0.5), z))
                return Call("**", (half, Number(self.choose(0, 1, 2, 3)))), max(1.0, size) ** 3
            case "root":  # away from where it is cut
                a, size = self.expression(shape, scope, depth)
                right = Call("complex", (Number(2), a))
                return Call(self.choose("sqrt", "log"), (right,)), size + 2
            case "where":
                condition = self.condition(self.choose(shape, ()), scope, depth - 1)
                other, more = self.complex_leaf(shape, scope, depth - 1)
                return Call("where", (condition, z, other)), max(size, more)
            case "stop":
                return Call("stop", (z,)), size
            case "over":
                return self.complex_over(shape, scope) or (z, size)
            case "of shape":
                found = self.complex_of_shape(shape, scope, depth)
                return found if found is not None else (z, size)
        return z, size

    def complex_over(self, shape: Shape, scope: Scope) -> Written | None:
        """Over the steps of what is finished."""
        names = [
            (name, known, axis)
            for name, known in scope.known.items()
            for axis in sorted(known.axes)
            if known.kind == "complex" and known.shape == shape and scope.inside != "cell"
        ]
        if not names:
            return None
        name, known, axis = self.choose(*names)
        function = self.choose("first", "last", "sum", "mean")
        over = axis if function in ("sum", "mean") or len(known.axes) > 1 else None
        size = known.size * 5 if function == "sum" else known.size
        return Call(function, (Name(name),), over=over), size

    def complex_of_shape(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """What is linear, of other shapes."""
        other = self.some(scope)
        match shape:
            case (size,):
                match self.choose("@", "@", "concat", "cut", "roll", "sum", "einsum"):
                    case "@":
                        made = self.complex_param if self.chance() else self.param
                        w, more = made(scope, (size, other))
                        z, bound = self.complex_leaf((other,), scope, depth - 1)
                        return Call("@", (w, z)), more * bound * 3
                    case "concat" if isinstance(size, int) and size > 1:
                        z, bound = self.complex_leaf((1,), scope, depth - 1)
                        x, more = self.expression((size - 1,), scope, depth - 1)
                        return Call("concat", (z, x)), max(bound, more)
                    case "cut" if isinstance(size, int):
                        z, bound = self.complex_leaf((size + 1,), scope, depth - 1)
                        return la.cut(z, 1, None), bound
                    case "roll":
                        z, bound = self.complex_leaf(shape, scope, depth - 1)
                        one = Call("roll", (z, Number(self.choose(0, 1))))
                        far = Call("shift", (z, Number(int(isinstance(size, int) and size > 1))))
                        return self.choose(one, far), bound
                    case "sum":
                        z, bound = self.complex_leaf((size, other), scope, depth - 1)
                        axis = (("axis", float(self.choose(1, -1))),)
                        return Call(self.choose("sum", "mean"), (z,), axis), bound * 3
                    case _:
                        w, more = self.complex_param(scope, (2, size, other))
                        z, bound = self.complex_leaf((other,), scope, depth - 1)
                        return Call("einsum hnk,k->n", (w, z)), more * bound * 6
            case (rows, columns):
                a, size = self.complex_leaf((rows,), scope, depth - 1)
                b, more = self.vector(columns, scope, depth - 1)
                if self.chance():
                    return Call("outer", (a, b)), size * more
                m, bound = self.complex_leaf((columns, rows), scope, depth - 1)
                return Call("transpose", (m,)), bound
        a, size = self.complex_leaf((other,), scope, depth - 1)
        match self.choose("dot", "sum", "mean", "element"):
            case "dot":
                b, more = self.complex_leaf((other,), scope, depth - 1)
                return Call("dot", (a, b)), size * more * 3
            case "element":
                return la.element(a, 0), size
            case name:
                return Call(name, (a,)), size * 3
        raise AssertionError

    # States

    def complex_state(self, name: str, known: Known, scope: Scope) -> Expression:
        """What a state of a chain is: it does not grow."""
        shape, chain = known.shape, scope.chain
        fed, size = self.whole(shape, scope, 1)
        if size > 2:
            fed = Call("*", (Number(0.1 if size < 20 else 0.01), fed))
        bias, _ = self.complex_param(scope, shape)  # of its own shape
        fed = Call("+", (fed, bias))
        steps = chain.direction * self.choose(1, 1, 1, 2, 3)
        back: Expression = self.delayed(name, steps, chain.axis, scope)
        known.size = 8.0
        match self.choose("turned", "turned", "conj", "product", "bounded", "stop"):
            case "turned":
                rate, turn = self.param(scope, shape)[0], self.param(scope, shape)[0]
                pole = Call("exp", (Call("complex", (Call("neg", (Call("exp", (rate,)),)), turn)),))
                return Call("+", (Call("*", (pole, back)), fed))
            case "conj":
                half = Call("*", (Number(0.5), Call("conj", (back,))))
                return Call("+", (half, fed))
            case "product" if len(shape) == 1:
                w, _ = self.complex_param(scope, shape * 2)
                return Call("+", (Call("*", (Number(0.3), Call("@", (w, back)))), fed))
            case "bounded":
                total = Call("+", (back, fed))
                size_ = Call("+", (Number(1), Call("abs", (total,))))
                return Call("/", (total, size_))
            case "stop":
                return Call("+", (Call("*", (Number(0.5), Call("stop", (back,)))), fed))
        return Call("-", (fed, Call("*", (Number(0.5), back))))

    def complex_start(self, shape: Shape, scope: Scope) -> Expression:
        match self.choose("number", "real", "complex", "complex", "computed"):
            case "number":
                return self.number()[0]
            case "real":
                return self.param(scope, shape)[0]
            case "computed":
                parts = (self.param(scope, shape)[0], self.number()[0])
                return Call("complex", parts)
        return self.complex_param(scope, shape)[0]
