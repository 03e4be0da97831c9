"""A program that fails, made as small as it can be while it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number
from tests.commands.random_programs.writing.scope import Settings

Pair = tuple[la.Program, Settings]


def shrink(
    program: la.Program,
    settings: Settings,
    fails: Callable[[la.Program, Settings], bool],
    most: int,
) -> Pair:
    """The smallest pair that was found in ``most`` tries; ``fails`` says whether it still does."""
    best, tries = (program, settings), 0
    improved = True
    while improved:
        improved = False
        for candidate in smaller(*best):
            tries += 1
            if tries > most:
                return best
            if fails(*candidate):
                best, improved = candidate, True
                break
    return best


def smaller(program: la.Program, settings: Settings) -> Iterator[Pair]:
    """Pairs that are a little simpler, the boldest steps first."""
    statements = program.statements
    for count in (len(statements) // 2, len(statements) // 4, 2, 1):
        for start in range(0, len(statements), max(1, count)):
            left = (*statements[:start], *statements[start + count :])
            if len(left) < len(statements):
                yield la.Program(left), settings
    for field, plain in (("training", False), ("truncate", None), ("sets", {}), ("batch", None)):
        if getattr(settings, field) != plain:
            yield program, replace(settings, **{field: plain})
    for axis, steps in settings.steps.items():
        for fewer in range(1, steps):
            yield program, replace(settings, steps={**settings.steps, axis: fewer})
    if settings.batch is not None and settings.batch > 1:
        yield program, replace(settings, batch=settings.batch - 1)
    for place, statement in enumerate(statements):
        for simpler in _simpler(statement):
            yield la.Program((*statements[:place], simpler, *statements[place + 1 :])), settings


def _simpler(statement: la.Statement) -> Iterator[la.Statement]:
    match statement:
        case la.Output(names) if len(names) > 1:
            for name in names:
                yield la.Output(tuple(other for other in names if other != name))
        case la.Cell(body=body):
            for place, part in enumerate(body):
                yield replace(statement, body=(*body[:place], *body[place + 1 :]))
                for simpler in _simpler(part):
                    yield replace(statement, body=(*body[:place], simpler, *body[place + 1 :]))
        case la.Equation() | la.Init() | la.Loss():
            for value in _simpler_expressions(statement.value):
                yield replace(statement, value=value)
        case la.Reset():
            for value in _simpler_expressions(statement.condition):
                yield replace(statement, condition=value)
        case la.Function(slopes=slopes):
            for place in range(len(slopes)):
                yield replace(statement, slopes=(*slopes[:place], *slopes[place + 1 :]))
            for value in _simpler_expressions(statement.value):
                yield replace(statement, value=value)


def _simpler_expressions(expression: Expression) -> Iterator[Expression]:
    """One of its parts in its place, or a part of it simpler.  Types find out the rest."""
    parts = la.parts(expression)
    if isinstance(expression, Call) and not expression.sizes:
        yield from parts
    if isinstance(expression, Call) and expression.function not in ("stop", "embed", "one_hot"):
        yield Number(0.5)
    if isinstance(expression, Name) and expression.delay not in (0, 1, -1):
        yield replace(expression, delay=1 if expression.delay > 0 else -1, size=None)
    if isinstance(expression, Name) and expression.also:
        yield replace(expression, also=())
    for place, part in enumerate(parts):
        for simpler in _simpler_expressions(part):
            yield la.with_parts(expression, (*parts[:place], simpler, *parts[place + 1 :]))
