"""Walks over a syntax tree: the parts of an expression, the expressions of a statement."""

from __future__ import annotations

from collections.abc import Iterator

from rollc.lang.syntax.ast import (
    Binary,
    Call,
    Const,
    Declaration,
    Dim,
    Each,
    Elements,
    Equation,
    Expression,
    Index,
    Init,
    Input,
    Listing,
    Loss,
    Name,
    Negate,
    Not,
    Param,
    Range,
    Repeat,
    Reset,
    Rest,
    Selection,
    Shape,
    Slice,
    Statement,
    Subscript,
)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside one, left to right."""
    match expression:
        case Negate(operand) | Not(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Subscript(base, index):
            return (base, index)
        case Slice(base, start, stop):
            return tuple(part for part in (base, start, stop) if part is not None)
        case Selection(base, places):
            inner: list[Expression] = [base]
            for place in places:
                match place:
                    case Range(start, stop):
                        inner += [end for end in (start, stop) if end is not None]
                    case Rest():
                        pass
                    case _:
                        inner.append(place)
            return tuple(inner)
        case Listing(elements):
            return elements
        case Call(_, operands, options, _, sizes, words=words):
            given = tuple(word.value for word in words if word.value is not None)
            return (*operands, *(option.value for option in (*options, *sizes)), *given)
        case _:
            return ()


def expressions(statement: Statement) -> tuple[Expression, ...]:
    """The expressions of a statement; what stands inside a cell or a function is not its own.

    Those of a repetition are.
    """
    match statement:
        case Dim(_, value) | Const(_, value):
            return (value,)
        case Init(_, value, place=place) | Reset(_, value, place=place):
            return (value,) if place is None else (place, value)
        case Each(each, counted):
            return (*expressions(each), *counted.bounds)
        case Equation(_, types, value):
            return (*(size for type_ in types for size in sizes_of(type_)), value)
        case Elements(_, places, types, value, counted):
            bounds = () if counted is None else counted.bounds
            declared = (size for type_ in types for size in sizes_of(type_))
            return (*places, *declared, value, *bounds)
        case Repeat(count, body):
            return (count, *(value for equation in body for value in expressions(equation)))
        case Declaration(_, type_):
            return sizes_of(type_)
        case Loss(value):
            return (value,)
        case Input(_, type_):
            return sizes_of(type_)
        case Param(_, shape, initialiser):
            sizes = sizes_of(shape)
            return sizes if initialiser is None else (*sizes, initialiser)
        case _:
            return ()


def sizes_of(type_: Shape | Index | None) -> tuple[Expression, ...]:
    """The sizes that a type is written with."""
    match type_:
        case Shape(sizes):
            return sizes
        case Index(size, shape=shape):
            return (size, *shape)
        case _:
            return ()


def parts_in(expression: Expression) -> Iterator[Expression]:
    """An expression and all that is in it, an outer one before those inside it."""
    pending = [expression]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(reversed(parts(part)))


def calls_in(expression: Expression) -> Iterator[Call]:
    """Every call in an expression, an outer one before those inside it."""
    return (part for part in parts_in(expression) if isinstance(part, Call))


def names_in(expression: Expression) -> Iterator[Name]:
    """Every name that an expression reads (functions and options are none)."""
    return (part for part in parts_in(expression) if isinstance(part, Name))
