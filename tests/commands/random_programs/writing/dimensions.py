"""Vectors, matrices and values of more dimensions: products, moves, and what goes along one."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Number,
)
from tests.commands.random_programs.writing.scope import (
    Scope,
    Shape,
    Size,
    Written,
    by_chance,
)


class Dimensions:
    def moved(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """Elements moved along a dimension."""
        axis = self.choose(*range(len(shape)))
        size = shape[axis]
        if not isinstance(size, int):
            return None
        options = self.axis(axis, len(shape), False)
        if size > 1 and self.chance(0.3):
            before = self.random.randrange(size)
            after = self.random.randrange(size - before)
            inner = (*shape[:axis], size - before - after, *shape[axis + 1 :])
            x, bound = self.expression(inner, scope, depth)
            return Call("pad", (x, Number(before), Number(after)), options), bound
        name = self.choose("roll", "shift")
        most = size - 1 if name == "shift" else 2 * size
        x, bound = self.expression(shape, scope, depth)
        return Call(name, (x, Number(self.random.randint(-most, most))), options), bound

    def product(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        columns = self.some(scope)
        x, size = self.vector(columns, scope, depth)
        if self.chance(0.2):
            w, _ = self.param(scope, (columns, shape[0]))
            return Call("@", (Call("transpose", (w,)), x)), size * 3
        if self.chance(0.2):
            w, more = self.expression((shape[0], columns), scope, depth)
            return Call("@", (w, x)), size * more * 3
        w, _ = self.param(scope, (shape[0], columns))
        return Call("@", (w, x)), size * 3

    def on_vector(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        x, size = self.vector(shape[0], scope, depth)
        match self.choose("softmax", "log_softmax", "layer_norm", "along", "along"):
            case "along":
                return self.along(shape[0], x, size, scope, depth)
            case "layer_norm":
                gain, bias = self.param(scope, shape, "1.0"), self.param(scope, shape)
                # Without an element of its own, a variance of zero makes slopes of 1 / epsilon.
                spread, _ = self.param(scope, shape, "uniform(-1, 1)")
                options = (("epsilon", self.choose(0.5, 0.01)),) if self.chance(0.8) else ()
                operands = (Call("+", (x, spread)), gain[0], bias[0])
                if not options and shape[0] == 1:
                    options = (("epsilon", 0.1),)
                return Call("layer_norm", operands, options), 4.0
            case "softmax":
                return Call("softmax", (x,)), 1.0
            case _:
                return Call("log_softmax", (x,)), 2 * size + 2
        raise AssertionError

    def along(
        self, size: Size, x: Expression, bound: float, scope: Scope, depth: int
    ) -> Written | None:
        """Operations along a vector."""
        match self.choose("cumsum", "cumprod", "sort", "top_k", "convolve"):
            case "cumsum":
                return Call("cumsum", (x,)), bound * 3
            case "cumprod":
                return Call("cumprod", (self.tame((x, bound), 1.5)[0],)), 3.5
            case "sort":
                name = self.choose("sort", "argsort")
                return None if by_chance(x) else (Call(name, (x,)), max(bound, 8.0))
            case "top_k":
                if not isinstance(size, int):
                    return None
                more, bound = self.vector(size + self.choose(0, 1), scope, depth)
                options = (("k", float(size)),) if size > 1 or self.chance() else ()
                return Call("top_k", (more,), options), bound
            case _:
                if not isinstance(size, int):
                    return None
                many = self.random.randint(1, size)
                a, bound = self.vector(size + 1 - many, scope, depth)
                b, more = self.vector(many, scope, depth)
                operands = (a, b) if self.chance() else (b, a)
                return Call("convolve", operands), bound * more * 3
        raise AssertionError

    def joined(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        (size,) = shape
        if isinstance(size, int) and self.chance(0.6):
            pieces: list[Written] = []
            left = size
            while left:
                part = self.random.randint(1, left)
                one = part == 1 and self.chance()
                pieces.append(self.expression(() if one else (part,), scope, depth))
                left -= part
            operands = tuple(expression for expression, _ in pieces)
            return Call("concat", operands), max(each for _, each in pieces)
        if isinstance(size, int):
            before, after = self.choose(0, 1, 2), self.choose(0, 1)
            x, bound = self.vector(before + size + after, scope, depth)
            start = before if before or self.chance() else None
            stop = before + size if after or self.chance() else None
            return la.cut(x, start, stop), bound
        return None

    def of_matrix(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        (size,) = shape
        other = self.some(scope)
        match self.choose("reduce", "reduce", "inverse", "embed"):
            case "inverse":
                x, bound = self.vector(size, scope, depth)
                return Call(
                    "@", (Call("inverse", (self.regular(size, scope, depth),)), x)
                ), bound * 3
            case "embed":
                if other == 1:
                    row = la.cut(self.param(scope, (2, size))[0], 1, 2)
                    return Call("sum", (row,), (("axis", 0.0),)), 2.0
                return None
            case _:
                axis = self.choose(0, 1)
                full = (other, size) if axis == 0 else (size, other)
                m, bound = self.expression(full, scope, depth)
                name = self.choose("sum", "mean", "max", "min")
                bound = bound * 3 if name == "sum" else bound
                return Call(name, (m,), self.axis(axis, 2)), bound

    def regular(self, size: Size, scope: Scope, depth: int) -> Expression:
        """A square matrix that is far from a singular one."""
        unit, _ = self.param(scope, (size, size), "identity")
        if self.chance():
            return unit
        m, _ = self.expression((size, size), scope, min(depth, 1))
        return Call("+", (unit, Call("*", (Number(0.1), Call("tanh", (m,))))))

    def matrix(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        rows, columns = shape
        match self.choose(
            "outer", "outer", "transpose", "@", "concat", "slice", "inverse", "norms"
        ):
            case "outer":
                a, size = self.vector(rows, scope, depth)
                b, more = self.vector(columns, scope, depth)
                return Call("outer", (a, b)), size * more
            case "transpose":
                m, size = self.expression((columns, rows), scope, depth)
                return Call("transpose", (m,)), size
            case "@":
                inner = self.some(scope)
                a, size = self.expression((rows, inner), scope, depth)
                b, more = self.expression((inner, columns), scope, depth)
                return Call("@", (a, b)), size * more * 3
            case "concat":
                axis = self.choose(0, 1)
                size = shape[axis]
                if not isinstance(size, int) or size < 2:
                    return None
                parts = [(1, columns), (size - 1, columns)]
                parts = parts if axis == 0 else [(rows, 1), (rows, size - 1)]
                written = [self.expression(part, scope, depth) for part in parts]
                options = self.axis(axis, 2, False)
                return Call("concat", tuple(each for each, _ in written), options), max(
                    bound for _, bound in written
                )
            case "slice":
                if not isinstance(rows, int):
                    return None
                m, size = self.expression((rows + 1, columns), scope, depth)
                return (la.cut(m, 1, None) if self.chance() else la.cut(m, None, rows)), size
            case "inverse":
                if rows != columns:
                    return None
                name = self.choose("inverse", "cholesky")
                return Call(name, (self.regular(rows, scope, depth),)), 2.0
            case _:
                extra = self.choose(1, 2)
                axis = self.choose(0, 1, 2)
                deep = (*shape[:axis], extra, *shape[axis:])
                cube, size = self.read(deep, scope) or self.param(scope, deep, "normal(0.5)")
                if self.chance():
                    wave = self.choose("tanh", "sin")
                    factor, _ = self.expression((), scope, depth)
                    cube, size = Call(wave, (Call("*", (cube, factor)),)), 1.0
                name = self.choose("sum", "mean", "max", "min")
                return Call(name, (cube,), self.axis(axis, 3)), size * 3

    def of_dimensions(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A vector of values of two and three dimensions."""
        (size,) = shape
        other = self.some(scope)
        match self.choose("heads", "heads", "sum", "column", "row", "reshape", "along"):
            case "heads":
                w, _ = self.param(scope, (2, size, other))
                if self.chance():
                    x, bound = self.vector(other, scope, depth)
                    return Call(f"einsum {self.choose('hnk,k->n', 'abc,c->b')}", (w, x)), bound * 6
                m, bound = self.expression((2, other), scope, depth)
                return Call("einsum hnk,hk->n", (w, m)), bound * 6
            case "sum":
                m, bound = self.expression((size, other), scope, depth)
                x, more = self.vector(other, scope, depth)
                if self.chance():
                    x, more = self.expression((size, other), scope, depth)
                    return Call("einsum nk,nk->n", (m, x)), bound * more * 3
                if self.chance(0.3):
                    y, most = self.vector(size, scope, depth)
                    return Call("einsum n,nk,k->n", (y, m, x)), bound * more * most * 3
                return Call("einsum nk,k->n", (m, x)), bound * more * 3
            case "column":
                if not isinstance(other, int):
                    return None
                m, bound = self.expression((size, other), scope, depth)
                place = Number(self.random.randrange(other))
                if isinstance(size, int) and self.chance(0.3):
                    m, bound = self.expression((size + 1, other), scope, depth)
                    ends = self.choose((None, Number(size)), (Number(1), None))
                    return la.Part(m, (la.Span(*ends), place)), bound
                return la.Part(m, (self.choose(la.Span(), None), place)), bound
            case "row":
                if self.chance(0.3):  # at several places, which are numbers
                    x, bound = self.vector(other, scope, depth)
                    turns = Call("*", (Number(1.5), self.vector(size, scope, depth)[0]))
                    return la.Part(x, (turns,)), bound
                found = self.index(scope, depth)
                if found is None or by_chance(found[0]):
                    return None
                rows = found[1] + self.choose(0, 1)
                if self.chance(0.3):
                    m, bound = self.expression((size, rows), scope, depth)
                    return la.Part(m, (self.choose(la.Span(), None), found[0])), bound
                m, bound = self.expression((rows, size), scope, depth)
                return la.Part(m, (found[0], *self.choose((), (la.Span(),), (None,)))), bound
            case "reshape":
                if not isinstance(size, int):
                    return None
                parts = (size, 1) if self.chance() else (1, size)
                m, bound = self.expression(parts, scope, depth)
                return Call("reshape", (m, Number(size))), bound
            case _:
                m, bound = self.expression((other, size), scope, depth)
                way = self.choose("logsumexp", "norm", "prod")
                if way == "logsumexp":
                    return Call("logsumexp", (m,), (("axis", 0.0),)), bound + 1.5
                if way == "norm":
                    spread, more = self.param(scope, (other, size), "uniform(-1, 1)")
                    norm = Call("norm", (Call("+", (m, spread)),), (("axis", 0.0),))
                    return norm, bound * 2 + more
                turned = Call("transpose", (m, Number(1), Number(0)))
                return Call("prod", (self.tame((turned, bound), 1.5)[0],), (("axis", -1.0),)), 3.5
        raise AssertionError

    def in_dimensions(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        """A matrix of sums over letters, stacks, and what goes along a dimension."""
        rows, columns = shape
        axis = (("axis", float(self.choose(0, 1, -1, -2))),)
        match self.choose("sum", "sum", "heads", "stack", "along", "along", "reshape", "top_k"):
            case "top_k":
                parts = (self.expression(each, scope, depth) for each in (shape, (2, columns)))
                operands, bounds = zip(*parts, strict=True)
                if not isinstance(rows, int) or any(map(by_chance, operands)):
                    return None
                m = Call("concat", operands, (("axis", 0.0),))
                return Call("top_k", (m,), (("k", float(rows)), ("axis", -2.0))), max(bounds)
            case "sum":
                a, size = self.vector(rows, scope, depth)
                b, more = self.vector(columns, scope, depth)
                if self.chance():
                    return Call("einsum n,m->nm", (a, b)), size * more
                m, bound = self.expression((columns, rows), scope, depth)
                return Call("einsum mn,n->nm", (m, a)), size * bound
            case "heads":
                w, _ = self.param(scope, (2, rows, columns))
                if self.chance():
                    scale, size = self.vector(2, scope, depth)
                    return Call("einsum hnk,h->nk", (w, scale)), size * 2
                inner = self.some(scope)
                v, _ = self.param(scope, (2, inner, columns))
                m, size = self.expression((rows, inner), scope, depth)
                return Call("einsum nj,hjk->nk", (m, v)), size * 6
            case "stack":
                place = self.choose(0, 1)
                count, size = shape[place], shape[1 - place]
                if not isinstance(count, int):
                    return None
                written = [self.vector(size, scope, depth) for _ in range(count)]
                options = (("axis", float(self.choose(1, -1))),) if place else ()
                bound = max(each for _, each in written)
                return Call("stack", tuple(each for each, _ in written), options), bound
            case "along":
                m, bound = self.expression(shape, scope, depth)
                name = self.choose(
                    "softmax", "log_softmax", "cumsum", "cumprod", "sort", "layer_norm"
                )
                match name:
                    case "layer_norm":
                        along = int(axis[0][1]) % 2
                        full = ((rows, 1), (1, columns))[along]
                        gain = self.choose(Number(1), self.param(scope, full, "1.0")[0])
                        spread, _ = self.param(scope, shape, "uniform(-1, 1)")
                        operands = (Call("+", (m, spread)), gain, self.param(scope, ())[0])
                        return Call(name, operands, (("epsilon", 0.5), *axis)), 4.0
                    case "softmax":
                        return Call(name, (m,), axis), 1.0
                    case "log_softmax":
                        return Call(name, (m,), axis), 2 * bound + 2
                    case "cumprod":
                        return Call(name, (self.tame((m, bound), 1.5)[0],), axis), 3.5
                    case "sort":
                        return None if by_chance(m) else (Call(name, (m,), axis), bound)
                    case _:
                        return Call(name, (m,), axis), bound * 3
            case _:
                if not isinstance(rows, int) or not isinstance(columns, int):
                    return None
                x, bound = self.vector(rows * columns, scope, depth)
                return Call("reshape", (x, Number(rows), Number(columns))), bound
        raise AssertionError
