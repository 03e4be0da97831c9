"""The language as trees, and their text.

A tree says what is meant; the text leaves out every bracket that the order of the operators
makes superfluous, so that reading it is tested too.  An equation knows its type, which the text
does not say: what rollc infers is held to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

# Expressions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Name:
    """A read; a positive delay is into the past.  ``marked`` writes `h[t]` for `h`.

    ``size`` is how the number of steps is written, if not as a number.  ``also`` are delays along
    other axes, in the order in which they are written.
    """

    name: str
    delay: int = 0
    axis: str = "t"
    marked: bool = False
    size: Expression | None = None
    also: tuple[tuple[int, str], ...] = ()

    @property
    def delays(self) -> dict[str, int]:
        """The delay along each axis that has one."""
        own = [(self.delay, self.axis), *self.also]
        return {axis: delay for delay, axis in own if delay}


@dataclass(frozen=True)
class Call:
    """A function, an operator by its symbol, or a cell with its sizes.

    `neg` is the sign, and `[]` a vector or a matrix that is written out.

    ``types`` are those of a cell's operands, and ``words`` are `reverse` and its like, with a
    number or 0.
    """

    function: str
    operands: tuple[Expression, ...]
    options: tuple[tuple[str, float], ...] = ()
    over: str | None = None
    sizes: tuple[tuple[str, Expression], ...] = ()
    types: tuple[Type, ...] = ()
    words: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Span:
    """The places from one to another, as in `x[2:5]`."""

    start: Expression | None = None
    stop: Expression | None = None


@dataclass(frozen=True)
class Part:
    """Some elements: a number, an index or a span for each dimension; None is `...`."""

    operand: Expression
    places: tuple[Expression | Span | None, ...]


Expression = Number | Name | Call | Part


def cut(operand: Expression, start: int | None, stop: int | None) -> Part:
    """`x[start:stop]`."""
    ends = (None if end is None else Number(end) for end in (start, stop))
    return Part(operand, (Span(*ends),))


def element(operand: Expression, place: int) -> Part:
    """`x[place]`."""
    return Part(operand, (Number(place),))


# Types -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Float:
    """Sizes are expressions: inside a cell they depend on its use."""

    shape: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Complex:
    shape: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Index:
    bound: Expression
    shape: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Condition:
    shape: tuple[Expression, ...] = ()


Type = Float | Complex | Index | Condition

# Statements ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Time:
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Dim:
    name: str
    value: Expression


@dataclass(frozen=True)
class Const:
    name: str
    value: Expression


@dataclass(frozen=True)
class Input:
    name: str
    type: Type
    axis: str | None = None  # where it is written; `s, t` for both
    static: bool = False
    target: bool = False


@dataclass(frozen=True)
class Param:
    name: str
    shape: tuple[Expression, ...] = ()
    start: str = ""  # the text of its initialiser
    frozen: bool = False
    whole: bool = False  # of complex numbers


@dataclass(frozen=True)
class Equation:
    """``declared`` is whether the text says its types; None is one that is not known here."""

    names: tuple[str, ...]
    value: Expression
    types: tuple[Type | None, ...]
    declared: bool = False
    written: Equation | None = field(default=None, compare=False)  # where passes are written out


@dataclass(frozen=True)
class Repeat:
    """``repeat count { body }``: equations, and other repetitions.

    What is defined before it too goes from pass to pass.
    """

    count: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Elements:
    """``name[index] = value for index in range(first, last)``, of one array or several.

    An element is read as `name[0]`, and in the value as `name[index]` or `name[index-1]`.  The
    first one may be written ``apart`` from all others.
    """

    names: tuple[str, ...]
    index: str
    last: Expression
    value: Expression
    types: tuple[Type | None, ...]
    first: int = 0

    @property
    def apart(self) -> bool:
        return self.last == Number(2) and len(self.names) == 1 and not self.first


@dataclass(frozen=True)
class Init:
    """``over`` are the axes along which it is said to be outside.

    ``index`` counts the elements of an array, so many, if it is of one.
    """

    name: str
    value: Expression
    over: tuple[str, ...] = ()
    index: str = ""
    count: int = 0


@dataclass(frozen=True)
class Reset:
    name: str
    condition: Expression


@dataclass(frozen=True)
class Cell:
    name: str
    inputs: tuple[str, ...]
    sizes: tuple[tuple[str, Expression | None], ...]
    results: tuple[str, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Function:
    """``slopes`` are the derivatives of its own, by argument."""

    name: str
    arguments: tuple[str, ...]
    value: Expression
    slopes: tuple[tuple[str, Expression], ...] = ()
    several: bool = False  # lines, with a name for each operand of the outermost call


@dataclass(frozen=True)
class Library:
    """The cells and functions of a file that comes with rollc, as they are meant."""

    path: str
    cells: tuple[Cell, ...]
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Output:
    names: tuple[str, ...]


@dataclass(frozen=True)
class Loss:
    value: Expression


Statement = (
    Time
    | Dim
    | Const
    | Input
    | Param
    | Equation
    | Repeat
    | Elements
    | Init
    | Reset
    | Cell
    | Function
    | Library
    | Output
    | Loss
)


_S = TypeVar("_S")


@dataclass(frozen=True)
class Program:
    statements: tuple[Statement, ...]

    def of(self, sort: type[_S]) -> list[_S]:
        return [statement for statement in self.statements if isinstance(statement, sort)]

    @property
    def cells(self) -> dict[str, Cell]:
        """Those of the program and of the files that it uses."""
        used = [cell for library in self.of(Library) for cell in library.cells]
        return {cell.name: cell for cell in [*used, *self.of(Cell)]}

    @property
    def functions(self) -> dict[str, Function]:
        used = [function for library in self.of(Library) for function in library.functions]
        return {function.name: function for function in [*used, *self.of(Function)]}

    @property
    def axes(self) -> tuple[str, ...]:
        return next((statement.axes for statement in self.of(Time)), ("t",))


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is made of."""
    match expression:
        case Call():
            return (*expression.operands, *(size for _, size in expression.sizes))
        case Part(operand, places):
            ends = ((p.start, p.stop) if isinstance(p, Span) else (p,) for p in places)
            return (operand, *(end for both in ends for end in both if end is not None))
    return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """An expression and all that is in it, the outermost first, from left to right."""
    yield expression
    for part in parts(expression):
        yield from walk(part)


def with_parts(expression: Expression, new: tuple[Expression, ...]) -> Expression:
    """The expression with others in the place of its parts."""
    match expression:
        case Call():
            count = len(expression.operands)
            sizes = zip(expression.sizes, new[count:], strict=True)
            return replace(
                expression,
                operands=new[:count],
                sizes=tuple((name, size) for (name, _), size in sizes),
            )
        case Part(places=places):
            left = iter(new[1:])

            def renewed(end: Expression | None) -> Expression | None:
                return None if end is None else next(left)

            spans = (
                Span(renewed(p.start), renewed(p.stop)) if isinstance(p, Span) else renewed(p)
                for p in places
            )
            return Part(new[0], tuple(spans))
    return expression


def with_names(
    expression: Expression, now: Mapping[str, Expression], delayed: Mapping[str, str] | None = None
) -> Expression:
    """The expression with others in the place of names; with a delay they have other names.

    Without ``delayed`` these are those that ``now`` has.
    """
    if isinstance(expression, Name):
        size = expression.size and with_names(expression.size, now, delayed)
        if not expression.delays:
            return now.get(expression.name, expression)
        if delayed is not None:
            return replace(
                expression, name=delayed.get(expression.name, expression.name), size=size
            )
        other = now.get(expression.name, expression)
        name = other.name if isinstance(other, Name) else expression.name
        return replace(expression, name=name, size=size)
    inner = tuple(with_names(part, now, delayed) for part in parts(expression))
    return with_parts(expression, inner)


def defines(repeat: Repeat, statement: Statement) -> bool:
    """Whether a statement defines what goes from pass to pass."""
    if not isinstance(statement, Equation):
        return False
    own = {n for part in repeat.body if isinstance(part, Equation) for n in part.names}
    inner = (part for part in repeat.body if isinstance(part, Repeat))
    return not own.isdisjoint(statement.names) or any(defines(each, statement) for each in inner)


def expressions(statement: Statement) -> tuple[Expression, ...]:
    """The expressions of a statement; those of a cell stand in its body."""
    match statement:
        case Equation() | Init() | Loss() | Dim() | Const() | Elements():
            return (statement.value,)
        case Repeat(body=body):
            return tuple(value for part in body for value in expressions(part))
        case Reset():
            return (statement.condition,)
        case Function():
            return (statement.value, *(slope for _, slope in statement.slopes))
    return ()


# Text ------------------------------------------------------------------------------------

_ATOM, _POWER, _SIGN, _PRODUCT, _SUM, _COMPARISON, _NOT, _AND, _OR = range(9)
_LEVELS = {
    "**": _POWER,
    "*": _PRODUCT,
    "/": _PRODUCT,
    "@": _PRODUCT,
    "+": _SUM,
    "-": _SUM,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), _COMPARISON),
    "and": _AND,
    "or": _OR,
}
OPERATORS = frozenset(_LEVELS)


def show(expression: Expression) -> str:
    return _show(expression)[0]


def _show(expression: Expression) -> tuple[str, int]:
    """The text, and how tightly its outermost operator binds."""

    def within(part: Expression, level: int) -> str:
        text, own = _show(part)
        return text if own <= level else f"({text})"

    match expression:
        case Number(value):
            text = str(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)
            return text, _SIGN if text.startswith("-") else _ATOM
        case Name(name, 0, axis, marked):
            return (f"{name}[{axis}]" if marked else name), _ATOM
        case Name(name, delay, axis, size=size, also=also):
            steps = str(abs(delay)) if size is None else within(size, _PRODUCT)
            places = [f"{axis}{'-' if delay > 0 else '+'}{steps}"]
            places += [f"{other}{-more:+d}" for more, other in also]
            return f"{name}[{', '.join(places)}]", _ATOM
        case Part(operand, places):
            return f"{within(operand, _ATOM)}[{', '.join(map(_place, places))}]", _ATOM
        case Call(function, operands) if function.startswith("einsum "):
            words = [f'"{function.removeprefix("einsum ")}"', *map(show, operands)]
            return f"einsum({', '.join(words)})", _ATOM
        case Call("[]", operands):
            return f"[{', '.join(map(show, operands))}]", _ATOM
        case Call("neg", (operand,)):
            return f"-{within(operand, _SIGN)}", _SIGN
        case Call("not", (operand,)):
            return f"not {within(operand, _NOT)}", _NOT
        case Call("**", (left, right)):
            return f"{within(left, _ATOM)} ** {within(right, _SIGN)}", _POWER
        case Call(symbol, (left, right)) if symbol in OPERATORS:
            level = _LEVELS[symbol]
            first = level if level != _COMPARISON else _SUM
            return f"{within(left, first)} {symbol} {within(right, level - 1)}", level
        case Call("along", (operand,), over=over):
            return f"along({show(operand)}, {over})", _ATOM
        case Call(function, operands, options, over, sizes, types, words):
            given = [show(operand) for operand in operands]
            given += [f"{name}={_show(Number(value))[0]}" for name, value in options]
            along = [] if over is None else [f"over {over}"]
            along += [
                f"{word} {_show(Number(value))[0]}" if value else word for word, value in words
            ]
            behind = [*(f"{name}={show(size)}" for name, size in sizes), *along]
            if sizes or types or words:  # of a cell
                text = ", ".join(given) + (f"; {', '.join(behind)}" if behind else "")
            else:
                text = ", ".join([*given, *behind])
            return f"{function}({text})", _ATOM
    raise AssertionError(expression)


def _place(place: Expression | Span | None) -> str:
    match place:
        case None:
            return "..."
        case Span(start, stop):
            return ":".join("" if end is None else show(end) for end in (start, stop))
    return show(place)


def text(program: Program) -> str:
    """The spec, a statement a line."""
    lines = ["net random"]
    for statement in program.statements:
        lines += _lines(statement)
    return "\n".join(lines) + "\n"


def _shape(sizes: tuple[Expression, ...]) -> str:
    return f"[{', '.join(map(show, sizes))}]"


def _declared(name: str, type_: Type) -> str:
    match type_:
        case Index(bound, sizes):
            return f"{name}: index({show(bound)}){_shape(sizes) if sizes else ''}"
        case Complex(sizes):
            return f"{name}: complex{_shape(sizes) if sizes else ''}"
        case Float(()):
            return f"{name}: number"
        case Float(sizes):
            return f"{name}: {_shape(sizes)}"
        case Condition(sizes):
            return f"{name}: condition{_shape(sizes) if sizes else ''}"
    raise AssertionError(type_)


def _lines(statement: Statement) -> list[str]:
    match statement:
        case Time(axes):
            return [f"time {', '.join(axes)}"]
        case Dim(name, value):
            return [f"dim {name} = {show(value)}"]
        case Const(name, value):
            return [f"const {name} = {show(value)}"]
        case Input(name, type_, axis, static, target):
            words = ("static " if static else "") + ("target" if target else "input")
            along = "" if axis is None else f"[{axis}]"
            if type_ == Float():
                return [f"{words} {name}{along}"]
            return [f"{words} {_declared(f'{name}{along}', type_)}"]
        case Param(name, sizes, start, frozen, whole):
            shape = (
                f": {'complex' * whole}{_shape(sizes) if sizes else ''}" if sizes or whole else ""
            )
            value = f" = {start}" if start else ""
            return [f"param {name}{shape}{value}{' frozen' * frozen}"]
        case Equation(names, value, types, declared):
            said = names
            if declared:
                said = tuple(
                    name if type_ is None else _declared(name, type_)
                    for name, type_ in zip(names, types, strict=True)
                )
            return [f"{', '.join(said)} = {show(value)}"]
        case Repeat(count, body):
            inner = [f"    {line}" for part in body for line in _lines(part)]
            return [f"repeat {show(count)} {{", *inner, "}"]
        case Elements((name,), index, value=value, apart=True):
            next_ = Call("+", (Name(index), Number(1)))
            lines = []
            for place, behind in ((next_, f" for {index} in range(1)"), (Number(0), "")):
                own = f"{name}[{show(place)}]"
                others: dict[str, Expression] = {index: place, f"{name}[{index}]": Name(own)}
                lines.append(f"{own} = {show(with_names(value, others))}{behind}")
            return lines
        case Elements(names, index, last, value, first=first):
            left = ", ".join(f"{name}[{index}]" for name in names)
            bounds = f"{first}, {show(last)}" if first else show(last)
            return [f"{left} = {show(value)} for {index} in range({bounds})"]
        case Init(name, value, (), index, count) if index:
            return [f"init {name}[{index}] = {show(value)} for {index} in range({count})"]
        case Init(name, value, over):
            along = f" over {', '.join(over)}" if over else ""
            return [f"init {name}{along} = {show(value)}"]
        case Reset(name, condition):
            return [f"reset {name} when {show(condition)}"]
        case Cell(name, inputs, sizes, results, body):
            head = ", ".join(inputs)
            if sizes:
                given = [f"{s}={show(value)}" if value is not None else s for s, value in sizes]
                head += f"; {', '.join(given)}"
            inner = [f"    {line}" for part in body for line in _lines(part)]
            return [f"cell {name}({head}) -> {', '.join(results)} {{", *inner, "}"]
        case Function(name, arguments, value, slopes, several):
            head = f"fn {name}({', '.join(arguments)})"
            lines = [f"{head} = {show(value)}"]
            if several and isinstance(value, Call):
                named = {
                    f"part{place}": operand
                    for place, operand in enumerate(value.operands)
                    if isinstance(operand, Call)
                }
                operands = [
                    Name(f"part{place}") if f"part{place}" in named else operand
                    for place, operand in enumerate(value.operands)
                ]
                outer = show(replace(value, operands=tuple(operands)))
                inner = [f"    {part} = {show(operand)}" for part, operand in named.items()]
                lines = [f"{head} -> all_ {{", f"    all_ = {outer}", *inner, "}"]
            for argument, slope in slopes:
                which = f"{argument}: " if len(arguments) > 1 else ""
                lines.append(f"    grad {which}{show(slope)}")
            return lines
        case Library(path):
            return [f'use "{path}"']
        case Output(names):
            return [f"output {', '.join(names)}"]
        case Loss(value):
            return [f"loss {show(value)}"]
    raise AssertionError(statement)
