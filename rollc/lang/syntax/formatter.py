"""The formatter: a syntax tree as normalized text, one statement a line, with minimal brackets.

Parsing the text gives an equal tree; comments and empty lines are dropped.
"""

from __future__ import annotations

from textwrap import indent

from rollc.lang.syntax.ast import (
    Agreement,
    Alias,
    Along,
    Binary,
    Call,
    Cell,
    Const,
    Counted,
    Declaration,
    Dim,
    Each,
    Elements,
    Equation,
    Expression,
    Function,
    Index,
    Init,
    Input,
    Listing,
    Loss,
    Name,
    Negate,
    Net,
    Not,
    Number,
    Output,
    Param,
    Range,
    Repeat,
    Reset,
    Rest,
    Selection,
    Shape,
    Slice,
    Slope,
    Spec,
    Statement,
    Subscript,
    Text,
    Time,
    Use,
)

# How tightly an expression binds.
OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, POWER, POSTFIX = range(9)
LEVELS = {
    "or": OR,
    "and": AND,
    "+": SUM,
    "-": SUM,
    "*": PRODUCT,
    "/": PRODUCT,
    "@": PRODUCT,
    "**": POWER,
}


def format_spec(spec: Spec) -> str:
    """The text of a spec."""
    return "".join(f"{_statement(statement)}\n" for statement in spec.statements)


def _cell(cell: Cell) -> str:
    inputs = ", ".join(name.name for name in cell.inputs)
    sizes = ", ".join(
        size.name.name
        if size.default is None
        else f"{size.name.name}={format_expression(size.default)}"
        for size in cell.sizes
    )
    results = ", ".join(name.name for name in cell.results)
    given = f"{inputs}; {sizes}" if sizes else inputs
    body = "".join(f"{indent(_statement(part), '    ')}\n" for part in cell.body)
    return f"cell {cell.name.name}({given}) -> {results} {{\n{body}}}"


def _function(function: Function) -> str:
    arguments = ", ".join(name.name for name in function.arguments)
    head, value = f"fn {function.name.name}({arguments})", format_expression(function.value)
    if function.body:
        body = "".join(f"    {_statement(equation)}\n" for equation in function.body)
        head = f"{head} -> {value} {{\n{body}}}"
    else:
        head = f"{head} = {value}"
    return "\n".join([head, *(f"    {_statement(slope)}" for slope in function.slopes)])


def _statement(statement: Statement) -> str:
    match statement:
        case Net(name):
            return f"net {name.name}"
        case Dim(name, value):
            return f"dim {name.name} = {format_expression(value)}"
        case Const(name, value):
            return f"const {name.name} = {format_expression(value)}"
        case Input(name, type_, axes, static, target):
            words = f"{'static ' if static else ''}{'target' if target else 'input'} {name.name}"
            over = f"[{', '.join(axis.name for axis in axes)}]" if axes else ""
            return f"{words}{over}{'' if type_ is None else f': {_type(type_)}'}"
        case Param(name, shape, initialiser, frozen):
            text = f"param {_defined(name, shape)}"
            if initialiser is not None:
                text += f" = {format_expression(initialiser)}"
            return f"{text} frozen" if frozen else text
        case Equation(names, types, value):
            defined = map(_defined, names, types)
            return f"{', '.join(defined)} = {format_expression(value)}"
        case Elements(names, places, types, value, counted):
            elements = (
                Name(f"{name.name}[{format_expression(place)}]", name.span)
                for name, place in zip(names, places, strict=True)
            )
            defined = map(_defined, elements, types)
            behind = "" if counted is None else _counted(counted)
            return f"{', '.join(defined)} = {format_expression(value)}{behind}"
        case Each(each, counted):
            return f"{_statement(each)}{_counted(counted)}"
        case Repeat(count, body):
            lines = "\n".join(_statement(part) for part in body)
            return f"repeat {format_expression(count)} {{\n{indent(lines, '    ')}\n}}"
        case Declaration(name, type_):
            return _defined(name, type_)
        case Init(name, value, axes, place=place):
            over = f" over {', '.join(axis.name for axis in axes)}" if axes else ""
            return f"init {_state(name, place)}{over} = {format_expression(value)}"
        case Output(name):
            return f"output {name.name}"
        case Loss(value):
            return f"loss {format_expression(value)}"
        case Use(path):
            return f'use "{path}"'
        case Cell():
            return _cell(statement)
        case Function():
            return _function(statement)
        case Slope(argument, value):
            of = f"{argument.name}: " if argument is not None else ""
            return f"grad {of}{format_expression(value)}"
        case Reset(name, condition, place=place):
            return f"reset {_state(name, place)} when {format_expression(condition)}"
        case Time(axes):
            return f"time {', '.join(axis.name for axis in axes)}"
        case Alias(name, of):
            return f"{name.name} = {of.name}"
        case Along(name):
            return f"time {name.name}"
        case Agreement(name):
            return f"residual {name.name}"


def _counted(counted: Counted) -> str:
    bounds = ", ".join(map(format_expression, counted.bounds))
    return f" for {counted.index.name} in range({bounds})"


def _state(name: Name, place: Expression | None) -> str:
    return name.name if place is None else f"{name.name}[{format_expression(place)}]"


def _defined(name: Name, type_: Shape | Index | None) -> str:
    return name.name if type_ is None else f"{name.name}: {_type(type_)}"


def _type(type_: Shape | Index) -> str:
    if isinstance(type_, Index):
        return f"index({format_expression(type_.size)}){_shape(type_.shape)}"
    return f"{type_.kind}{_shape(type_.sizes)}" or "number"


def _shape(sizes: tuple[Expression, ...]) -> str:
    return f"[{', '.join(map(format_expression, sizes))}]" if sizes else ""


def format_expression(expression: Expression, least: int = OR) -> str:
    """The text of an expression that stands where things bind at least that tightly."""
    text, level = _expression(expression)
    return text if level >= least else f"({text})"


def _expression(expression: Expression) -> tuple[str, int]:
    match expression:
        case Number(value):
            return repr(value), POSTFIX
        case Name(name):
            return name, POSTFIX
        case Negate(operand):
            return f"-{format_expression(operand, SIGN)}", SIGN
        case Not(operand):
            return f"not {format_expression(operand, NOT)}", NOT
        case Binary("**", left, right):
            base, exponent = format_expression(left, POSTFIX), format_expression(right, SIGN)
            return f"{base} ** {exponent}", POWER
        case Binary(symbol, left, right):
            level = LEVELS.get(symbol, COMPARISON)
            # The left operand of equal strength needs no brackets, except in a comparison.
            first = format_expression(left, SUM if level == COMPARISON else level)
            return f"{first} {symbol} {format_expression(right, level + 1)}", level
        case Subscript(base, index):
            return f"{format_expression(base, POSTFIX)}[{_delay(index)}]", POSTFIX
        case Slice(base, start, stop):
            ends = [format_expression(end) if end is not None else "" for end in (start, stop)]
            return f"{format_expression(base, POSTFIX)}[{':'.join(ends)}]", POSTFIX
        case Selection(base, places):
            inner = ", ".join(map(_place, places))
            return f"{format_expression(base, POSTFIX)}[{inner}]", POSTFIX
        case Text(text):
            return f'"{text}"', POSTFIX
        case Listing(elements):
            return f"[{', '.join(map(format_expression, elements))}]", POSTFIX
        case Call(function, operands, options, over, sizes, words=words):
            parts = [format_expression(operand) for operand in operands]
            parts += [f"{item.name.name}={format_expression(item.value)}" for item in options]
            given = [f"{item.name.name}={format_expression(item.value)}" for item in sizes]
            # Among the sizes where there are any, as a use of a cell has it.
            said = [
                word.name.name if word.value is None
                else f"{word.name.name} {format_expression(word.value)}"
                for word in words
            ]  # fmt: skip
            (given or said or parts).extend([f"over {over.name}"] if over is not None else [])
            given += said
            behind = f"; {', '.join(given)}" if given else ""
            return f"{function.name}({', '.join(parts)}{behind})", POSTFIX


def _place(place: Expression | Range | Rest) -> str:
    match place:
        case Range(start, stop):
            return ":".join("" if end is None else format_expression(end) for end in (start, stop))
        case Rest():
            return "..."
        case _:
            return format_expression(place)


def _delay(index: Expression) -> str:
    """A subscript; `t-1` is written without spaces, as readers expect it."""
    match index:
        case Binary(("+" | "-") as symbol, Name(axis), steps):
            return f"{axis}{symbol}{format_expression(steps, PRODUCT)}"
        case _:
            return format_expression(index)
