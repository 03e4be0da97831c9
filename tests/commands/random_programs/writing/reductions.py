"""What gives a number or an index, and what an index chooses."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Name,
)
from tests.commands.random_programs.writing.scope import (
    Scope,
    Shape,
    Size,
    Written,
)


class Reductions:
    def reduced(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        x, bound = self.vector(size, scope, depth)
        match self.choose(
            *("sum", "mean", "max", "min", "dot", "logsumexp", "log_det", "matrix"),
            *("norm", "count", "prod"),
        ):
            case "prod":
                return Call("prod", (self.tame((x, bound), 1.5)[0],)), 3.5
            case "norm":
                spread, more = self.param(scope, (size,), "uniform(-1, 1)")
                return Call("norm", (Call("+", (x, spread)),)), bound * 2 + more
            case "count":
                return Call("count", (self.compared((size,), scope, depth - 1),)), 3.0
            case "dot":
                y, more = self.vector(size, scope, depth)
                return Call("dot", (x, y)), bound * more * 3
            case "log_det":
                return Call("log_det", (self.regular(size, scope, depth),)), 2.0
            case "logsumexp":
                return Call("logsumexp", (x,)), bound + 1.5
            case "matrix":
                m, bound = self.expression((size, self.some(scope)), scope, depth)
                name = self.choose("sum", "mean", "max", "min")
                return Call(name, (m,)), bound * 9 if name == "sum" else bound
            case name:
                return Call(name, (x,)), bound * 3 if name == "sum" else bound

    def losses(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        match self.choose("mse", "cross_entropy", "binary_cross_entropy", "library", "library"):
            case "library":
                return self.library_loss(size, scope, depth)
            case "mse":
                own = self.choose((), (size,), (size, self.some(scope)))
                a, bound = self.expression(own, scope, depth)
                b, more = self.expression(own, scope, depth)
                return Call("mse", (a, b)), (bound + more) ** 2
            case "cross_entropy":
                found = self.index(scope, depth)
                if found is None:
                    return None
                index, count = found
                scores, bound = self.vector(count + self.choose(0, 0, 1), scope, depth)
                return Call("cross_entropy", (scores, index)), 2 * bound + 2
            case _:
                own = self.choose((), (size,))
                score, bound = self.expression(own, scope, depth)
                target, _ = self.expression(own, scope, depth)
                target = Call("sigmoid", (target,))
                return Call("binary_cross_entropy", (score, target)), bound + 1
        raise AssertionError

    def library_loss(self, size: Size, scope: Scope, depth: int) -> Written:
        own = self.choose((), (size,))
        a, bound = self.tame(self.expression(own, scope, depth), 2.0)
        b, more = self.tame(self.expression(own, scope, depth), 2.0)
        x, _ = self.tame(self.vector(size, scope, depth), 2.0)
        y, _ = self.tame(self.vector(size, scope, depth), 2.0)
        above = Call("exp", (Call("tanh", (b,)),))
        match self.choose("huber", "hinge", "kl", "poisson", "gaussian", "mixture", "dice"):
            case "huber":
                options = (("delta", 0.75),) if self.chance() else ()
                return Call("huber", (a, b), options), bound + more
            case "hinge":
                return Call("hinge", (a, Call("tanh", (b,)))), bound + 1
            case "kl":
                return Call("kl_divergence", (x, Call("softmax", (y,)))), 6.0
            case "poisson":
                return Call("poisson_nll", (a, above)), 16.0
            case "gaussian":
                return Call("gaussian_nll", (a, above, b)), 30.0
            case "mixture":
                variances = Call("exp", (Call("tanh", (x,)),))
                number, _ = self.tame(self.expression((), scope, depth), 2.0)
                return Call("mixture_nll", (y, x, variances, number)), 30.0
            case _:
                options = (("smooth", 0.5),) if self.chance() else ()
                return Call("dice", (Call("sigmoid", (x,)), Call("sigmoid", (y,))), options), 1.0
        raise AssertionError

    def element(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        size = self.some(scope)
        x, bound = self.vector(size, scope, depth)
        return la.element(x, self.random.randrange(size) if isinstance(size, int) else 0), bound

    def index(self, scope: Scope, depth: int) -> tuple[Expression, int] | None:
        """An index, and the number of its values."""
        if scope.inside == "function":
            return None
        sort = self.choose("read", "read", "argmax", "sample", "where", "identity")
        bounds = sorted({known.bound for known in scope.known.values() if known.kind == "index"})
        if sort == "argmax" and depth > 0:
            size = self.choose(2, 3)
            return Call("argmax", (self.vector(size, scope, depth - 1)[0],)), size
        if sort == "sample" and depth > 0 and scope.chance and not scope.sampled:
            scope.sampled = True
            size = self.choose(2, 3)
            scores, _ = self.vector(size, scope, depth - 1)
            shares = Call(self.choose("softmax", "exp"), (Call("tanh", (scores,)),))
            return Call("sample", (shares,)), size
        if not bounds:
            return None
        bound = self.choose(*bounds)
        found = self.read((), scope, "index", bound)
        if found is None:
            return None
        if sort == "where":
            other = self.read((), scope, "index", bound)
            assert other is not None
            condition = self.condition((), scope, 0)
            return Call("where", (condition, found[0], other[0])), bound
        if sort == "identity" and not isinstance(found[0], Call):
            return Call("identity", (found[0],)), bound
        return found[0], bound

    def looked_up(self, shape: Shape, scope: Scope, depth: int) -> Written | None:
        found = self.index(scope, depth)
        if found is None:
            return None
        index, bound = found
        if shape[0] == bound and self.chance():
            named = isinstance(index, Name) and self.chance()
            options = () if named else (("size", float(bound)),)
            return Call("one_hot", (index,), options), 1.0
        rows = bound + self.choose(0, 0, 1)
        table, size = self.param(scope, (rows, shape[0]), "normal(0.5)")
        if self.chance(0.15):
            changed, _ = self.expression((), scope, depth)
            table, size = Call("*", (table, Call("tanh", (changed,)))), size
        return Call("embed", (table, index)), size
