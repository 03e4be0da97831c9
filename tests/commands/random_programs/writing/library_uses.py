"""Uses of the cells of the library, and of its functions."""

from __future__ import annotations

from tests.commands.random_programs import language as la
from tests.commands.random_programs.kinds import Kind, kind_of
from tests.commands.random_programs.language import Call, Expression, Float, Number
from tests.commands.random_programs.library import FILES, library, texts
from tests.commands.random_programs.operations import COMPARISONS, ELEMENTWISE
from tests.commands.random_programs.writing.scope import Function, Known, Scope, Shape, Use
from tests.commands.random_programs.writing.signatures import MOST, is_size, results, signature


class LibraryUses:
    def library(self) -> None:
        """A file that comes with rollc, and the cells and functions in it."""
        name = self.choose(*FILES)
        found = library(name)
        if found in self.statements:
            return
        self.statements.append(found)
        self.names |= {each.name for each in (*found.cells, *found.functions)}
        for function in texts(name).own.functions:
            kind = self.kind_of_function(function)
            if kind == Kind("float", (2,)):
                plain = {*ELEMENTWISE, *COMPARISONS, "where"}
                calls = (part for part in la.walk(function.value) if isinstance(part, Call))
                along = any(call.function not in plain for call in calls)
                self.functions[function.name] = Function(len(function.arguments), not along)
                self.positive.add(function.name)
        for cell in texts(name).own.cells:
            found_one = signature(cell.name)
            if found_one is not None:  # else it is a part of others
                own = found_one.own_start
                count = len(cell.results)
                inner = found_one.inner
                self.uses.append(
                    Use(
                        cell.name,
                        1,
                        count,
                        own_start=own,
                        along_one=inner,
                        signature=found_one,
                    )
                )

    @staticmethod
    def kind_of_function(function: la.Function) -> Kind | None:
        """What it gives for vectors."""
        given = dict.fromkeys(function.arguments, Kind("float", (2,)))
        try:
            return kind_of(function.value, given.get)
        except (RuntimeError, IndexError, KeyError):
            return None

    def library_use(
        self, use: Use, shape: Shape | None, scope: Scope, depth: int
    ) -> tuple[Call, str, tuple[Kind, ...]] | None:
        """A use whose first result has a shape, or any one; of what kind that is, and all of them.

        Where sizes have names they are not known here, and neither are the kinds.
        """
        plain = all(isinstance(size, int) for size in (*scope.sizes, *(shape or ())))
        drawn = self.drawn if plain else self.drawn_by_names
        found = drawn(use, shape, scope)
        if found is None:
            return None
        shapes, sizes, words, kinds = found
        assert use.signature is not None
        operands: list[Expression] = []
        for place, (name, own) in enumerate(zip(use.signature.cell.inputs, shapes, strict=True)):
            operand = self.given(own, place == 0, scope, depth)
            for _ in range(4 if name in use.signature.delayed and scope.inside != "cell" else 0):
                if len(self.axes(operand, scope)) == 1:
                    break
                operand = self.given(own, place == 0, scope, depth)
            operands.append(operand)
        axes = [self.axes(operand, scope) for operand in operands]
        every = frozenset[str]().union(*axes)
        over = self.along_which(use, every, scope)
        if over is False:
            return None
        along = over or next(iter(every), None)
        for name, own in zip(use.signature.cell.inputs, axes, strict=True):
            # The input of a cell that this is in may be the same at every step, where it is used.
            if name in use.signature.delayed and (scope.inside == "cell" or along not in own):
                return None
        types = tuple(Float(self.sizes(own)) for own in shapes)
        call = Call(use.name, tuple(operands), (), over, sizes, types, words)
        return call, kinds[0].name if kinds else "float", kinds

    def given(self, shape: Shape, first: bool, scope: Scope, depth: int) -> Expression:
        """An input; beside the first one they are positive."""
        if first:
            return self.expression(shape, scope, depth)[0]
        above = Call("sigmoid", (self.expression(shape, scope, min(depth, 1))[0],))
        return Call("+", (Number(0.5), above))

    def drawn(self, use: Use, shape: Shape | None, scope: Scope):
        """Shapes of inputs, sizes and words that fit, by trial."""
        found = use.signature
        assert found is not None
        for _ in range(8):
            ranks = self.choose(*found.ranks)
            shapes = tuple(tuple(self.choose(*scope.sizes) for _ in range(rank)) for rank in ranks)
            if found.as_input and shape is not None and ranks and len(shape) == len(ranks[:1]):
                shapes = (shape, *shapes[1:])
            values = {name: self.size_of(default) for name, default in found.cell.sizes}
            if shape and found.first is not None:
                values[found.first] = shape[0]
            plain = tuple((name, size) for name, size in values.items() if size is not None)
            kinds = results(use.name, shapes, plain)
            if kinds is None or any(_elements(kind) > MOST for kind in kinds):
                continue
            square = bool(shapes) and kinds[0] == Kind("float", shapes[0])
            even = shape is None and kinds[0].name == "float"
            words = self.words(use, scope, even, square) if shapes else ()
            if words is None or (found.whole and not {"stack", "dropout"}.isdisjoint(dict(words))):
                continue
            if "stack" in dict(words or ()) and len(shapes[0]) > 2:
                continue  # what a layer gives may be known too late
            if words:
                kinds = results(use.name, shapes, plain, words)
            if kinds is not None and (shape is None or kinds[0].shape == shape):
                return shapes, tuple((name, Number(size)) for name, size in plain), words, kinds
        return None

    def drawn_by_names(self, use: Use, shape: Shape | None, scope: Scope):
        """The same in a cell, whose sizes have names: for one vector."""
        found = use.signature
        assert found is not None
        simple = found.first is not None or found.as_input
        if shape is None or len(shape) != 1 or not simple or found.whole or found.cell.inputs[1:]:
            return None
        width = shape[0] if found.as_input else self.some(scope)
        sizes: list[tuple[str, Expression]] = []
        for name, default in found.cell.sizes:
            value = self.size_of(default)
            if name == found.first:
                sizes.append((name, self.size(shape[0])))
            elif value is not None:
                sizes.append((name, Number(value)))
        words = self.words(use, scope, False, width == shape[0])
        if words is None:
            return None
        return ((width,),), tuple(sizes), words, ()

    def size_of(self, default: Expression | None) -> float | None:
        """A value for a size of a cell, small where it is a whole number; None leaves it out."""
        if not is_size(default) or (isinstance(default, Call) and self.chance()):
            return None
        return self.choose(1, 2, 2) if isinstance(default, Number) else self.choose(1, 2, 3)

    def library_used(self, use: Use, scope: Scope) -> None:
        """A use whose results have names, of any shape."""
        found = self.library_use(use, None, scope, 1)
        if found is None:
            return
        call, _, kinds = found
        assert use.signature is not None
        count = self.random.randint(1, len(kinds))
        names = tuple(self.fresh("h", odd=False) for _ in range(count))
        axes, size = self.axes(call, scope), use.signature.size
        own = [Known(kind.shape, axes, size, kind.name, delays=False) for kind in kinds[:count]]
        scope.body.append(la.Equation(names, call, tuple(map(self.type, own))))
        scope.known |= dict(zip(names, own, strict=True))
        apart = "both" in dict(call.words)  # where does each of them start?
        if not use.own_start and not apart and kinds[0].name == "float" and self.chance(0.3):
            value = self.choose(Number(0.25), self.param(scope, kinds[0].shape)[0])
            scope.body.append(la.Init(names[0], value))


def _elements(kind: Kind) -> int:
    count = 1
    for size in kind.shape:
        count *= size
    return count
