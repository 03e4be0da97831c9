"""A program without cells and functions: values by name, each with the expression that it is.

The use of a cell that defines `low` gives the values `low.h` and so on; one in the middle of the
expression of `o` is `o.layer`, the next `o.layer2`.  A function's arguments become values that no
spec can name, so that each is computed once.  Names of sizes and constants become numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.commands.random_programs import language as la
from tests.commands.random_programs.kinds import ENDS, SLOPED, Kind, fill
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.repetition import written_out

SHAPED = ("zeros", "ones", "full", "eye", "range")  # functions of sizes


@dataclass(frozen=True)
class Value:
    """What an equation defines; ``part`` of so many equal parts along a dimension if it is split.

    ``owner`` is whose equation it is: chance is known by it.
    """

    expression: Expression
    kind: Kind | None
    owner: str
    part: tuple[int, int, int] | None = None


@dataclass
class Expanded:
    axes: tuple[str, ...]
    numbers: dict[str, float] = field(default_factory=dict)
    inputs: dict[str, la.Input] = field(default_factory=dict)
    params: dict[str, la.Param] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    arguments: dict[str, Kind] = field(default_factory=dict)  # the kinds of those of functions
    values: dict[str, Value] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    inits: dict[str, Value] = field(default_factory=dict)
    borders: dict[str, dict[frozenset[str], Value]] = field(default_factory=dict)  # over axes
    resets: dict[str, Value] = field(default_factory=dict)
    along: dict[str, tuple[tuple[str, ...], str | None]] = field(default_factory=dict)
    said: list[la.Expression] = field(default_factory=list)  # what `feed` gives that runs free
    outputs: tuple[str, ...] = ()
    loss: Value | None = None

    def starts(self, name: str) -> list[Value]:
        """All that is said of what a value is outside."""
        own = [self.inits[name]] if name in self.inits else []
        return [*own, *self.borders.get(name, {}).values()]

    def named(self, name: str) -> str:
        while name in self.aliases:
            name = self.aliases[name]
        return name


@dataclass(frozen=True)
class Scope:
    """What names stand for; ``path`` is empty for the spec itself."""

    path: str
    names: Mapping[str, str]
    axis: str | None  # what `t` stands for, a variable that is settled later, or None
    turned: bool = False  # whether it is run backwards


RE, IM = "'re", "'im"  # of a complex value, its parts


def expand(program: la.Program, feed: str, sets: Mapping[str, int]) -> Expanded:
    return _Expansion(program, feed, sets).found


class _Expansion:
    def __init__(self, program: la.Program, feed: str, sets: Mapping[str, int]) -> None:
        self.feed, self.sets = feed, sets
        self.cells, self.functions = program.cells, program.functions
        self.found = Expanded(program.axes)
        self.paths: set[str] = set()
        self.count = 0
        self.outside = Scope("", {}, None)
        self.arguments_of_functions: set[str] = set()
        self.passes: dict[str, str] = {}  # what stands in each for what does in the last one
        self.pieces: dict[str, list[str]] = {}  # of a use with layers and directions
        self.place(program.statements, self.outside)
        found = self.found
        for name, states in self.pieces.items():
            for said in (found.inits, found.resets):
                if name in said:
                    said |= dict.fromkeys(states, said.pop(name))
        found.inits = {found.named(name): value for name, value in found.inits.items()}
        found.resets = {found.named(name): value for name, value in found.resets.items()}
        self.complete()

    def complete(self) -> None:
        """The kinds that no text says, and the parts of complex outputs."""
        found = self.found
        untyped = [name for name in found.values if name not in found.kinds]
        kinds = self.kinds_of(untyped)
        for name in untyped:
            if name in kinds and name in self.arguments_of_functions:
                found.arguments[name] = kinds[name]
            elif name in kinds:
                found.kinds[name] = kinds[name]
                found.values[name] = replace(found.values[name], kind=kinds[name])
        outputs: list[str] = []
        for name in found.outputs:
            kind = found.kinds.get(found.named(name))
            if kind is None or kind.name != "complex":
                outputs.append(name)
                continue
            for function, part in (("real", RE), ("imag", IM)):
                full = name + part
                found.kinds[full] = real = replace(kind, name="float")
                found.values[full] = Value(Call(function, (Name(name),)), real, full)
                outputs.append(full)
        found.outputs = tuple(outputs)

    def kinds_of(self, names: Iterable[str]) -> dict[str, Kind]:
        """The kinds of values that are not declared, as far as they can be told."""
        found = self.found
        values: dict[str, list[Expression]] = {}
        waiting = [found.named(name) for name in names]
        while waiting:
            name = waiting.pop()
            if name in found.kinds or name in values or name not in found.values:
                continue
            value = found.values[name]
            own = value.expression
            if value.part is not None:
                _, count, axis = value.part
                own = Call("piece", (own,), (("count", count), ("axis", axis)))
            values[name] = [own, *(start.expression for start in found.starts(name))]
            read = (part for each in values[name] for part in la.walk(each))
            waiting += [found.named(part.name) for part in read if isinstance(part, Name)]
        return fill(found.kinds.get, found.named, values)

    def kind_by_name(self, name: str) -> Kind:
        name = self.found.named(name)
        if name not in self.found.kinds:
            return self.kinds_of([name])[name]
        return self.found.kinds[name]

    # Statements

    def place(self, statements: tuple[la.Statement, ...], scope: Scope) -> None:
        for part in statements:
            self.declare(part, scope)
        statements = written_out(statements, lambda size: self.whole(size, scope))
        if scope.path:
            names = (part.names for part in statements if isinstance(part, la.Equation))
            own = {name: f"{scope.path}.{name}" for each in names for name in each}
            scope = replace(scope, names={**scope.names, **own})
        written = [part for part in statements if isinstance(part, la.Equation) and part.written]
        last = {id(part.written): self.name(part.names[0], scope) for part in written}
        for part in written:
            name = self.name(part.names[0], scope)
            if name != last[id(part.written)]:
                self.passes[name] = last[id(part.written)]
        for part in statements:
            if isinstance(part, la.Equation):
                for name, type_ in zip(part.names, part.types, strict=True):
                    if type_ is not None:
                        self.found.kinds[self.name(name, scope)] = self.kind(type_, scope)
        for part in statements:
            self.define(part, scope)

    def declare(self, part: la.Statement, scope: Scope) -> None:
        """Sizes, inputs and parameters; complex ones are those of their parts."""
        found = self.found
        match part:
            case la.Dim(name, value) | la.Const(name, value):
                full = self.name(name, scope)
                given = self.sets.get(full) if isinstance(part, la.Dim) else None
                size = isinstance(part, la.Dim)
                number = float(self.whole(value, scope)) if size else self.number(value, scope)
                found.numbers[full] = float(given) if given is not None else number
            case la.Input(name, type_):
                kind = found.kinds[name] = self.kind(type_, scope)
                if kind.name == "complex":
                    real = la.Float(tuple(map(Number, kind.shape)))
                    for full in self.parts(name, kind):
                        found.inputs[full] = replace(part, name=full, type=real)
                else:
                    found.inputs[name] = part
            case la.Param(name, shape, whole=whole):
                full = self.name(name, scope)
                if self.in_last_pass(full) != full:
                    found.aliases[full] = full = self.in_last_pass(full)
                type_ = la.Complex(shape) if whole else la.Float(shape)
                kind = found.kinds[full] = self.kind(type_, scope)
                for each in self.parts(full, kind) if whole else [full]:
                    found.params[each] = part

    def in_last_pass(self, name: str) -> str:
        """The parameter of the last pass that one of a cell in any pass is."""
        path = name.split(".")
        for count in range(len(path) - 1, 0, -1):
            first = ".".join(path[:count])
            if first in self.passes:
                return ".".join([self.passes[first], *path[count:]])
        return name

    def parts(self, name: str, kind: Kind) -> list[str]:
        """The names of the parts of what is given and complex."""
        both = [name + RE, name + IM]
        for part in both:
            self.found.kinds[part] = replace(kind, name="float")
        self.found.values[name] = Value(Call("complex", tuple(map(Name, both))), kind, name)
        return both

    def define(self, part: la.Statement, scope: Scope) -> None:
        """Equations, and what is said of values."""
        found = self.found
        match part:
            case la.Equation(names, value):
                self.equation(names, value, scope)
            case la.Init(name, value, over):
                full = self.name(name, scope)
                inner = self.inside(value, scope, full)
                said = found.borders.setdefault(full, {}) if over else found.inits
                said[frozenset(over) if over else full] = Value(inner, None, full)
            case la.Reset(name, condition):
                full = self.name(name, scope)
                inner = self.inside(condition, scope, full)
                found.resets[full] = Value(inner, None, full)
            case la.Output(names):
                found.outputs += names
            case la.Loss(value):
                found.loss = Value(self.inside(value, scope, "loss"), Kind("float"), "loss")

    def equation(
        self,
        names: tuple[str, ...],
        value: Expression,
        scope: Scope,
    ) -> None:
        full = tuple(self.name(name, scope) for name in names)
        if isinstance(value, Call) and value.function in self.cells:
            self.fresh(full[0])
            self.use(value, full[0], full, scope)
        elif isinstance(value, Call) and value.function == "split":
            whole = self.inside(value.operands[0], scope, full[0])
            axis = int(dict(value.options).get("axis", 0))
            for place, name in enumerate(full):
                kind = self.found.kinds.get(name)
                self.found.values[name] = Value(whole, kind, full[0], (place, len(full), axis))
        else:
            kind = self.found.kinds.get(full[0])
            self.found.values[full[0]] = Value(self.inside(value, scope, full[0]), kind, full[0])

    # Names, sizes and types

    def name(self, name: str, scope: Scope) -> str:
        if scope.path:
            return scope.names.get(name, f"{scope.path}.{name}")
        return name

    def reach(self, name: str, scope: Scope) -> str:
        """A name that is read: one of the scope, or a size or constant of the spec."""
        if name in scope.names:
            return scope.names[name]
        return name

    def fresh(self, path: str) -> str:
        found, number = path, 1
        while found in self.paths:
            number += 1
            found = f"{path}{number}"
        self.paths.add(found)
        return found

    def number(self, value: Expression, scope: Scope) -> float:
        match value:
            case Number(number):
                return number
            case Name(name):
                return self.found.numbers[self.reach(name, scope)]
            case Call("size", (Name(name),), options):
                kind = self.kind_by_name(self.reach(name, scope))
                return float(kind.bound or kind.shape[int(dict(options).get("axis", 0))])
            case Call("neg", (operand,)):
                return -self.number(operand, scope)
            case Call("floor" | "ceil" as function, (operand,)):
                return float(getattr(math, function)(self.number(operand, scope)))
            case Call(symbol, (left, right)):
                a, b = self.number(left, scope), self.number(right, scope)
                return {
                    "+": lambda: a + b,
                    "-": lambda: a - b,
                    "*": lambda: a * b,
                    "/": lambda: a / b,
                    "**": lambda: a**b,
                }[symbol]()
        raise AssertionError(value)

    def kind(self, type_: la.Type, scope: Scope) -> Kind:
        shape = tuple(self.whole(size, scope) for size in type_.shape)
        match type_:
            case la.Float():
                return Kind("float", shape)
            case la.Complex():
                return Kind("complex", shape)
            case la.Condition():
                return Kind("bool", shape)
            case la.Index(bound):
                return Kind("index", shape, self.whole(bound, scope))

    def whole(self, size: Expression, scope: Scope) -> int:
        number = self.number(size, scope)
        if number != int(number):
            raise ValueError(f"{number} is no size")
        return int(number)

    def is_number(self, value: Expression, scope: Scope) -> bool:
        """Whether something is known when a network is built."""
        match value:
            case Name(name):
                return not value.delays and self.reach(name, scope) in self.found.numbers
            case Call(function, operands):
                known = function in ("+", "-", "*", "/", "**", "neg")
                each = all(self.is_number(operand, scope) for operand in operands)
                return function == "size" or (known and each)
        return isinstance(value, Number)

    # Expressions

    def inside(self, expression: Expression, scope: Scope, owner: str) -> Expression:
        """An expression whose names are those of the whole, without uses and functions."""

        def inner(part: Expression) -> Expression:
            return self.inside(part, scope, owner)

        def number(part: Expression) -> Number:
            return Number(self.number(part, scope))

        match expression:
            case Number():
                return expression
            case Name(name, delay, axis, size=size, also=also):
                full = self.reach(name, scope)
                if full in self.found.numbers:
                    return Number(self.found.numbers[full])
                if size is not None:
                    delay = int(math.copysign(self.number(size, scope), delay))
                own = -delay if scope.turned else delay
                return Name(full, own, self.axis(axis, scope), also=also)
            case Call("size"):
                return Number(self.number(expression, scope))
            case Call("feed", (free, taught)):
                both = {"free": inner(free), "taught": inner(taught)}  # each with its parameters
                if self.feed == "free":
                    self.found.said.append(both["free"])
                return both[self.feed]
            case Call(function, operands) if function in SHAPED:
                first = function == "full"
                sizes = (Number(self.number(size, scope)) for size in operands[first:])
                return Call(function, (*map(inner, operands[:first]), *sizes))
            case Call(function) if function in self.cells:
                path = self.fresh(f"{owner}.{function}")
                self.use(expression, path, (path,), scope)
                return Name(path)
            case Call(function) if function in self.functions:
                return self.inline(expression, scope, owner)
            case Call():
                over = None if expression.over is None else self.axis(expression.over, scope)
                operands = tuple(inner(part) for part in expression.operands)
                function = expression.function
                if scope.turned and function in ENDS:
                    function = ENDS[1 - ENDS.index(function)]
                return replace(expression, function=function, operands=operands, over=over)
            case la.Part(operand, places):
                chosen = (
                    la.Span(*(end and number(end) for end in (place.start, place.stop)))
                    if isinstance(place, la.Span)
                    else place and (number(place) if self.is_number(place, scope) else inner(place))
                    for place in places
                )
                return la.Part(inner(operand), tuple(chosen))
        raise AssertionError(expression)

    def axis(self, axis: str, scope: Scope) -> str:
        return scope.axis if axis == "t" and scope.axis is not None else axis

    def use(self, call: Call, path: str, results: tuple[str, ...], scope: Scope) -> None:
        cell, words = self.cells[call.function], dict(call.words)
        if words.keys() <= {"reverse"}:
            names = self.one_use(call, path, None, scope, "reverse" in words)
            for result, name in zip(results, cell.results, strict=False):
                self.found.aliases[result] = names[name]
            return
        given = [f"{path}.{name}" for name in cell.inputs]
        self.arguments(call, dict(zip(cell.inputs, given, strict=True)), scope)
        count = int(words.get("stack", 1))
        for layer in range(count):
            place = f"{path}.{layer}" if "stack" in words else path
            pieces = [(place, "reverse" in words)]
            if "both" in words:
                pieces = [(f"{place}.forward", False), (f"{place}.backward", True)]
            own = [self.one_use(call, piece, given, scope, way) for piece, way in pieces]
            last = layer + 1 == count
            for number, result in enumerate(results if last else (place,)):
                states = [names[cell.results[number]] for names in own]
                self.layer(result, states, given[0] if number == 0 else "", words, last)
            for number, result in enumerate(results):
                states = [names[cell.results[number]] for names in own]
                self.pieces.setdefault(result, []).extend(states)
                if last and result in self.found.values:
                    self.pieces[result].append(result)
            given[0] = place

    def layer(
        self, result: str, states: list[str], given: str, words: dict[str, float], last: bool
    ) -> None:
        """What a layer hands on, or gives; ``given`` is what came in."""
        found = self.found
        value: Expression = Name(states[0])
        kind = self.kind_by_name(states[0])
        if len(states) > 1:
            value = Call("concat", tuple(map(Name, states)))
            first, *others = kind.shape or (1,)
            kind = replace(kind, shape=(2 * first, *others))
        if given and "dropout" in words and not last:
            value = Call("dropout", (value,), (("rate", words["dropout"]),))
        if given and "residual" in words:
            value = Call("+", (Name(given), value))
        found.kinds[result] = kind
        if isinstance(value, Name):
            found.aliases[result] = value.name
        else:
            found.values[result] = Value(value, kind, result)

    def one_use(
        self, call: Call, path: str, given: list[str] | None, scope: Scope, turned: bool
    ) -> dict[str, str]:
        """A use that is no other ones, of what is given or of its operands; its names."""
        cell, found = self.cells[call.function], self.found
        own = [*cell.inputs, *(name for name, _ in cell.sizes)]
        own += [part.name for part in cell.body if isinstance(part, la.Param | la.Dim | la.Const)]
        own += [name for part in cell.body if isinstance(part, la.Equation) for name in part.names]
        names = {name: f"{path}.{name}" for name in own}
        axis = f"{path}.t" if call.over is None else self.axis(call.over, scope)
        inside = Scope(path, names, axis, scope.turned != turned)
        if given is None:
            self.arguments(call, names, scope)
        else:
            for name, of in zip(cell.inputs, given, strict=True):
                if names[name] != of:
                    found.aliases[names[name]] = of
        sizes = dict(call.sizes)
        for name, default in cell.sizes:
            if name in sizes:
                number = self.number(sizes[name], scope)
            else:
                assert default is not None
                number = self.number(default, inside)
            found.numbers[names[name]] = number
        if call.over is None:
            found.along[axis] = (tuple(names[name] for name in cell.inputs), scope.axis)
        self.place(cell.body, inside)
        return names

    def arguments(self, call: Call, names: Mapping[str, str], scope: Scope) -> None:
        """What the operands of a use are, by the names of the inputs."""
        cell, found = self.cells[call.function], self.found
        for name, type_ in zip(cell.inputs, call.types, strict=False):  # if they are said
            found.kinds[names[name]] = self.kind(type_, scope)
        for name, value in zip(cell.inputs, call.operands, strict=True):
            full = names[name]
            is_size = isinstance(value, Name) and self.reach(value.name, scope) in found.numbers
            if isinstance(value, Name) and not value.delay and not value.marked and not is_size:
                found.aliases[full] = self.reach(value.name, scope)
            elif isinstance(value, Call) and value.function in self.cells:
                self.use(value, self.fresh(f"{full}.{value.function}"), (full,), scope)
            else:
                self.argument(full, value, scope, full)

    def argument(self, full: str, value: Expression, scope: Scope, owner: str) -> None:
        """A value that an operand of a cell or of a function is."""
        inner = self.inside(value, scope, owner)
        self.found.values[full] = Value(inner, self.found.kinds.get(full), owner)

    def inline(self, call: Call, scope: Scope, owner: str) -> Expression:
        function = self.functions[call.function]
        self.count += 1
        path = f"{owner}'{self.count}"
        names = {name: f"{path}.{name}" for name in function.arguments}
        for name, value in zip(function.arguments, call.operands, strict=True):
            self.argument(names[name], value, scope, owner)
            self.arguments_of_functions.add(names[name])
        axis = f"{path}.t" if call.over is None else self.axis(call.over, scope)
        if call.over is None:
            self.found.along[axis] = (tuple(names.values()), scope.axis)
        inside = Scope(path, names, axis)
        value = self.inside(function.value, inside, owner)
        if not function.slopes:
            return value
        slopes = [self.inside(slope, inside, owner) for _, slope in function.slopes]
        arguments = [Name(names[name]) for name, _ in function.slopes]
        return Call(SLOPED, (value, *slopes, *arguments))


Reader = Callable[[str], frozenset[str]]


def axes_of(found: Expanded) -> tuple[dict[str, frozenset[str]], dict[str, str]]:
    """The axes that each value runs over, and what each variable axis stands for.

    A least fixpoint: an operation runs over what any of its operands does.
    """
    axes: dict[str, frozenset[str]] = dict.fromkeys([*found.params, *found.values], frozenset())
    for name, given in found.inputs.items():
        (only, *rest) = found.axes
        along = only if given.axis is None and not rest else given.axis
        axes[name] = frozenset() if given.static or along is None else frozenset(along.split(", "))
    settled: dict[str, str] = {}

    def run() -> None:
        changed = True
        while changed:
            changed = False
            for name, value in found.values.items():
                new = expression_axes(value.expression, found, axes, settled)
                if name in found.resets:
                    condition = found.resets[name].expression
                    new |= expression_axes(condition, found, axes, settled)
                if not new <= axes[name]:
                    axes[name] |= new
                    changed = True

    run()
    while len(settled) < len(found.along):
        for variable, (names, _) in found.along.items():
            if variable not in settled:
                read = frozenset[str]().union(*(axes[found.named(name)] for name in names))
                if len(read) == 1:
                    (settled[variable],) = read
                    break
        else:
            for variable, (_, around) in found.along.items():
                if variable not in settled:
                    outer = settled.get(around, around) if around is not None else None
                    settled[variable] = outer if outer in found.axes else found.axes[0]
                    if "t" in found.axes and outer is None:
                        settled[variable] = "t"
                    break
        run()
    return axes, settled


def expression_axes(
    expression: Expression,
    found: Expanded,
    axes: Mapping[str, frozenset[str]],
    settled: Mapping[str, str],
) -> frozenset[str]:
    match expression:
        case Name(name):
            along = (settled.get(axis, axis) for axis in expression.delays)
            delayed = frozenset(axis for axis in along if axis in found.axes)
            return axes[found.named(name)] | delayed
        case Call(function, (operand,), over=over) if function in ("first", "last"):
            own = expression_axes(operand, found, axes, settled)
            along = settled.get(over, over) if over is not None else None
            return own - ({along} if along is not None else own)
        case Call("along", over=over):
            return frozenset([settled.get(over, over)])
        case Call(function, (operand,), over=over) if over is not None:
            own = expression_axes(operand, found, axes, settled)
            along = settled.get(over, over)
            return own | {along} if function == "softmax" else own - {along}
    return frozenset[str]().union(
        *(expression_axes(part, found, axes, settled) for part in la.parts(expression))
    )


def delays_of(found: Expanded, settled: Mapping[str, str]) -> dict[str, dict[str, bool]]:
    """Of what is read with a delay: along which axes, and whether into the past."""
    delays: dict[str, dict[str, bool]] = {}
    values = [*found.values.values(), *found.resets.values(), *found.inits.values()]
    values += [value for said in found.borders.values() for value in said.values()]
    for value in [*values, *([found.loss] if found.loss is not None else [])]:
        for part in la.walk(value.expression):
            if isinstance(part, Name) and part.delay:
                own = delays.setdefault(found.named(part.name), {})
                for axis, delay in part.delays.items():
                    along = settled.get(axis, axis)
                    own[along] = delay > 0 or own.get(along, False)
    return delays
