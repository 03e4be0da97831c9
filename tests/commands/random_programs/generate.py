"""Programs that are valid by construction, from a seed.

What is written is tame: every expression comes with a bound of its size, and what could grow is
kept small, so that a comparison to rounding means something.  Sizes are small, 1 among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import (
    Call,
    Expression,
    Name,
    Number,
)
from tests.commands.random_programs.writing.cells import Cells
from tests.commands.random_programs.writing.choices import Choices
from tests.commands.random_programs.writing.complex_values import ComplexValues
from tests.commands.random_programs.writing.conditions import Conditions
from tests.commands.random_programs.writing.dimensions import Dimensions
from tests.commands.random_programs.writing.elementwise import Elementwise
from tests.commands.random_programs.writing.functions import Functions
from tests.commands.random_programs.writing.grids import grid
from tests.commands.random_programs.writing.library_uses import LibraryUses
from tests.commands.random_programs.writing.reductions import Reductions
from tests.commands.random_programs.writing.scope import (
    Function,
    Known,
    Scope,
    Settings,
    Shape,
    Use,
    Written,
    reserved,
)
from tests.commands.random_programs.writing.shaped_states import ShapedStates
from tests.commands.random_programs.writing.states import States
from tests.commands.random_programs.writing.steps import Steps
from tests.commands.random_programs.writing.values import Values


class Writer(
    Choices,
    Elementwise,
    Conditions,
    Dimensions,
    Reductions,
    Steps,
    Cells,
    Functions,
    LibraryUses,
    States,
    ShapedStates,
    ComplexValues,
    Values,
):
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.statements: list[la.Statement] = []
        self.dims: dict[str, int] = {}
        self.sets: dict[str, int] = {}
        self.consts: dict[str, float] = {}
        self.names: set[str] = set()
        self.uses: list[Use] = []
        self.functions: dict[str, Function] = {}
        self.positive: set[str] = set()  # of these, those whose operands but the first are positive
        self.rate = 0.2
        self.deep: list[str] = []
        self.owned: set[str] = set()  # names that have an initial value
        self.declared: set[str] = set()
        self.online = self.chance(0.3)  # it can be run step by step
        self.alike = False  # both axes have the same steps
        self.wanted: list[str] = []  # names that are to have a gradient
        self.deep_along: list[tuple[str, str]] = []  # and the axis that its initial value is over

    def expression(self, shape: Shape, scope: Scope, depth: int) -> Written:
        if depth <= 0:
            return self.leaf(shape, scope)
        forms: list[Callable[[Shape, Scope, int], Written | None]] = [
            self.leaf_form,
            self.unary,
            self.unary,
            self.binary,
            self.binary,
            self.domain,
            self.bounded_choice,
            self.where,
            self.called,
            self.branch,
            self.part,
        ]
        if scope.inside != "function":
            forms += [self.dropout, self.over, self.over, self.end, self.plus_param, self.fed]
            forms += [self.along_axis] if len(scope.axes) > 1 and self.alike else []
            forms += [self.slope] if shape[1:] or self.chance() else []
            if len(shape) == 1:
                forms += [self.product, self.product, self.on_vector, self.on_vector]
                forms += [
                    self.looked_up,
                    self.of_matrix,
                    self.cell,
                    self.cell,
                    self.joined,
                    self.moved,
                    self.of_dimensions,
                ]
            elif not shape:
                forms += [self.reduced, self.reduced, self.losses, self.element]
            elif len(shape) == 2:
                forms += [self.matrix, self.matrix, self.matrix, self.broadcast, self.moved]
                forms += [self.in_dimensions]
        for _ in range(4):
            found = self.choose(*forms)(shape, scope, depth - 1)
            if found is not None:
                return self.tame(found, 6.0)
        return self.leaf(shape, scope)

    def program(self) -> la.Program:
        self.names |= reserved()
        axes = self.choose(("t",), ("t",), ("t",), ("n",), ("s", "t"), ("s", "t"))
        if axes != ("t",):
            self.statements.append(la.Time(axes))
        self.names |= {*axes}
        self.alike = len(axes) > 1 and self.chance(0.4)
        self.numbers()
        known = self.inputs(axes)
        sizes = tuple(self.random.sample((1, 2, 3), self.choose(2, 2, 3)))
        scope = Scope(self.statements, known, (*sizes, sizes[-1]), axes)
        for name, each in known.items():
            if len(each.axes) == 1 and each.kind == "float" and self.chance(0.1):
                value = self.param(scope, each.shape) if self.chance() else self.number()
                scope.body.append(la.Init(name, value[0]))
                self.owned.add(name)
        for _ in range(self.choose(0, 0, 1, 2)):
            self.own_function()
        if self.chance(0.1):
            self.function_of_spec(scope)
        for _ in range(self.choose(0, 0, 1, 1, 2)):
            self.library()
        for _ in range(self.choose(0, 0, 1, 1, 2)):
            self.own_cell()
        parts = [self.chain, self.chain, self.chain, self.plain, self.plain, self.used, self.taught]
        parts += [
            self.index_chain,
            self.split,
            self.attention,
            self.repeated,
            self.elements,
            self.element_uses,
            self.used_function,
        ]
        parts += [self.index_state, self.condition_state]
        parts += [] if self.online else [self.both_ways]
        parts += [self.attention, self.attention, *[partial(grid, self)] * 4] * (len(axes) > 1)
        parts += [self.read_along] * (3 if self.alike and not self.online else 0)
        wanted = [partial(self.library_used, use) for use in self.uses if use.signature is not None]
        self.random.shuffle(wanted)
        wanted = wanted[: self.choose(1, 2)]
        for _ in range(self.choose(1, 2, 2, 3, 3, 4)):
            (wanted.pop() if wanted and self.chance() else self.choose(*parts))(scope)
            self.settled_names = frozenset(scope.known)
        self.loss(scope)
        self.rows(scope)
        self.outputs(scope)
        self.statements[:] = map(self.with_own_rates, self.statements)
        return la.Program(tuple(self.in_any_order()))

    def with_own_rates(self, statement: la.Statement) -> la.Statement:
        """What is written twice is drawn twice: each `dropout` is known by its rate."""

        def inner(expression: Expression) -> Expression:
            expression = la.with_parts(expression, tuple(map(inner, la.parts(expression))))
            if isinstance(expression, Call) and expression.function == "dropout":
                self.rate = round(self.rate + 0.001, 3)
                options = (("rate", self.rate), *expression.options[1:])
                return replace(expression, options=options)
            return expression

        match statement:
            case la.Equation(value=value) | la.Elements(value=value) | la.Loss(value=value):
                return replace(statement, value=inner(value))
            case la.Cell(body=body) | la.Repeat(body=body):
                return replace(statement, body=tuple(map(self.with_own_rates, body)))
        return statement

    def numbers(self) -> None:
        for _ in range(self.choose(0, 1, 2)):
            name = self.fresh("D")
            if self.dims and self.chance(0.4):
                first = self.choose(*self.dims)
                value: Expression = self.choose(
                    Call("+", (Name(first), Number(1))),
                    Call("*", (Number(1), Name(first))),
                    Call("**", (Number(1), Name(first))),
                    Call("/", (Call("*", (Number(2), Name(first))), Number(2))),
                    Call("-", (Call("*", (Number(2), Name(first))), Name(first))),
                    Call("ceil", (Call("/", (Name(first), Number(2))),)),
                    Call("floor", (Call("/", (Call("+", (Name(first), Number(1))), Number(2))),)),
                )
                before = self.dims[first]
                by = value.function if isinstance(value, Call) else ""
                others = {"+": before + 1, "**": 1} | dict.fromkeys(
                    ("ceil", "floor"), (before + 1) // 2
                )
                self.dims[name] = others.get(by, before)
                self.statements.append(la.Dim(name, value))
                continue
            self.dims[name] = self.choose(1, 2, 3)
            said = self.dims[name]
            if self.chance(0.3):
                said = 5
                self.sets[name] = self.dims[name]
            self.statements.append(la.Dim(name, Number(said)))
        if self.chance(0.3):
            name = self.fresh("dt")
            size = self.choose(*self.dims) if self.dims and self.chance() else None
            value = Number(0.25) if size is None else Call("/", (Number(1), Name(size)))
            self.consts[name] = 0.25 if size is None else 1 / self.dims[size]
            self.statements.append(la.Const(name, value))

    def inputs(self, axes: Sequence[str]) -> dict[str, Known]:
        found: dict[str, Known] = {}

        def add(name: str, known: Known, static: bool = False, target: bool = False) -> None:
            axis = self.choose(*axes)
            both = len(axes) > 1 and not static and self.chance(0.25)
            own = self.random.sample(axes, 2) if both else [axis]
            known.axes = frozenset() if static else frozenset(own)
            known.delays, known.free = not static, both
            said = ", ".join(own)
            written = said if not static and (len(axes) > 1 or self.chance(0.1)) else None
            self.statements.append(la.Input(name, self.type(known), written, static, target))
            found[name] = known

        for _ in range(self.choose(1, 1, 2)):
            shape = self.choose((), (1,), (2,), (3,), (2, 2))
            add(self.fresh("x"), Known(shape, size=2.0))
        if self.chance(0.12):
            target = self.chance(0.3)
            whole = Known(self.choose((), (1,), (2,)), size=3.0, kind="complex")
            add(self.fresh("z"), whole, static=self.chance(0.2), target=target)
        if self.chance(0.5):
            add(self.fresh("w"), Known(kind="index", bound=self.choose(1, 2, 3)))
        if self.chance(0.4):
            add(self.fresh("z"), Known(self.choose((), (2,), (3,)), size=2.0), static=True)
        if self.chance(0.15):
            add(self.fresh("k"), Known(kind="index", bound=2), static=True)
        if self.chance(0.5):
            index = self.chance()
            known = (
                Known(kind="index", bound=3) if index else Known(self.choose((), (2,)), size=2.0)
            )
            add(self.fresh("y"), known, static=self.chance(0.15), target=True)
        return found

    def loss(self, scope: Scope) -> None:
        scope.sampled = False
        expression, _ = self.tame(self.expression((), scope, 3), 4.0)
        kinds = ("float", "complex")
        static = [name for name, known in scope.known.items() if known.kind in kinds]
        names = self.random.sample(static, min(len(static), self.choose(1, 1, 2)))
        names += [name for name in self.wanted if name not in names and self.chance(0.9)]
        for name in names:
            value: Expression = Name(name)
            if scope.known[name].kind == "complex":
                value = Call("real", (Call("*", (value, Call("conj", (value,)))),))
            if scope.known[name].shape:
                value = self.choose(
                    Call("sum", (value,)), Call("mean", (Call("*", (value, value)),))
                )
            expression = Call("+", (expression, value))
        for axis in sorted(self.axes(expression, scope)):
            how = self.choose("mean", "mean", "mean", "sum", "max", "last")
            expression = Call(how, (expression,), over=axis)
        scope.body.append(la.Loss(expression))

    def rows(self, scope: Scope) -> None:
        """Initial values with a row for each step that is read outside the sequence."""
        values = [
            part
            for statement in scope.body
            for value in la.expressions(statement)
            for part in la.walk(value)
        ]
        handed = {
            operand.name
            for part in values
            if isinstance(part, Call) and part.sizes
            for operand in part.operands
            if isinstance(operand, Name)
        }
        for name in self.deep:
            delays = {
                part.delay
                for part in values
                if isinstance(part, Name) and part.name == name and part.delay
            }
            one_side = len({delay > 0 for delay in delays}) == 1
            longest = max((abs(delay) for delay in delays), default=0)
            if one_side and longest > 1 and name not in handed:
                value, _ = self.param(scope, (longest, *scope.known[name].shape))
                scope.body.append(la.Init(name, value))
        for name, axis in self.deep_along:
            read = [part.delays for part in values if isinstance(part, Name) and part.name == name]
            delays = {each[axis] for each in read if axis in each}
            longest = max((abs(delay) for delay in delays), default=0)
            one_side = len({delay > 0 for delay in delays}) == 1
            # A read along both axes is one of a read, whose longest delay is another.
            alone = all(len(each) < 2 for each in read if axis in each)
            if one_side and longest > 1 and name not in handed and alone:
                value, _ = self.param(scope, (longest, *scope.known[name].shape))
                scope.body.append(la.Init(name, value, (axis,)))

    def outputs(self, scope: Scope) -> None:
        inputs = {
            statement.name for statement in self.statements if isinstance(statement, la.Input)
        }
        names = [name for name in scope.known if name not in inputs and "[" not in name]
        if not names:
            self.plain(scope)
            names = [name for name in scope.known if name not in inputs and "[" not in name]
        chosen = self.random.sample(names, min(len(names), self.choose(1, 2, 3)))
        scope.body.append(la.Output(tuple(chosen)))

    def in_any_order(self) -> Iterator[la.Statement]:
        """Sizes and constants come in their order; all the rest stands anywhere."""
        ordered = (la.Time, la.Dim, la.Const)
        first = [each for each in self.statements if isinstance(each, ordered)]
        rest = [each for each in self.statements if not isinstance(each, ordered)]
        if self.chance(0.3):
            self.random.shuffle(rest)
            for passes in [each for each in rest if isinstance(each, la.Repeat)]:
                rest.remove(passes)  # behind what they start from
                starts = [i for i, each in enumerate(rest) if la.defines(passes, each)]
                rest.insert(max(starts) + 1, passes)
        yield from first
        yield from rest

    settled_names: frozenset[str] = frozenset()


def _reads_along(program: la.Program) -> bool:
    """Whether a value of one axis is read along the other, which has the same steps then."""
    return any(
        isinstance(part, Call) and part.function == "along"
        for statement in program.statements
        for expression in la.expressions(statement)
        for part in la.walk(expression)
    )


def generate(seed: int) -> tuple[la.Program, Settings]:
    """A program, and how it is to be built and called."""
    writer = Writer(seed)
    program = writer.program()
    axes = program.axes
    count = writer.choose(1, 2, 3, 4, 5) if _reads_along(program) else None
    settings = Settings(
        sets=writer.sets,
        feed=writer.choose("taught", "taught", "free"),
        truncate=writer.choose(None, None, None, 1, 2, 3),
        training=writer.chance(0.6),
        steps={axis: count or writer.choose(1, 2, 3, 4, 5) for axis in axes},
        batch=writer.choose(None, 1, 2, 2, 3),
        seed=seed,
    )
    return program, settings
