"""What is repeated within a step, written out: passes and elements become equations.

The first value of `v` is `v.0`, what a pass gives `v.1` and so on, and the last one `v`; an element
of `h` is `h.0`, which is read as `h[0]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name, Number

Count = Callable[[Expression], int]
Names = Mapping[str, str]


def written_out(statements: tuple[la.Statement, ...], count: Count) -> tuple[la.Statement, ...]:
    """Statements without repetitions; ``count`` says what a size is."""
    return tuple(_with_elements(tuple(_with_passes(statements, count)), count))


# Passes


def _defined(statements: tuple[la.Statement, ...], deep: bool) -> set[str]:
    found: set[str] = set()
    for part in statements:
        if isinstance(part, la.Equation):
            found |= {*part.names}
        elif isinstance(part, la.Repeat) and deep:
            found |= _defined(part.body, deep)
    return found


def _with_passes(statements: tuple[la.Statement, ...], count: Count) -> Iterator[la.Statement]:
    repeated = set[str]().union(
        *(_defined(part.body, True) for part in statements if isinstance(part, la.Repeat))
    )
    carried = _defined(statements, False) & repeated
    for part in statements:
        match part:
            case la.Repeat():
                now = {name: f"{name}.0" for name in carried}
                yield from _passes(part, now, {name: name for name in carried}, {}, {}, (), count)
            case la.Equation(names) if carried.intersection(names):
                first = tuple(f"{name}.0" if name in carried else name for name in names)
                yield replace(part, names=first)
            case _:
                yield part


def _passes(
    repeat: la.Repeat,
    now: Names,
    targets: Names,
    seen: Names,
    late: Names,
    path: tuple[int, ...],
    count: Count,
) -> Iterator[la.Statement]:
    """The equations of all passes.

    ``now`` are the names of what goes from pass to pass, before the first one, and ``targets``
    those behind the last; ``seen`` and ``late`` are those of what else is read, without a delay
    and with one.
    """
    times, inside = count(repeat.count), _defined(repeat.body, True)
    now = {name: known for name, known in now.items() if name in inside}
    for number in range(1, times + 1):
        here = ".".join(map(str, (*path, number)))
        after = {n: targets[n] if number == times else f"{n}.{here}" for n in now}
        inner = [part for part in repeat.body if isinstance(part, la.Repeat)]
        own = {n: f"{n}.{here}" for n in _defined(repeat.body, False) if n not in now}
        begun = {n: f"{own[n]}.0" for part in inner for n in _defined(part.body, True) if n in own}
        read, behind = {**seen, **now, **own}, {**late, **own}
        for part in repeat.body:
            if isinstance(part, la.Repeat):
                before, then = {**now, **begun}, {**after, **own}
                yield from _passes(part, before, then, read, behind, (*path, number), count)
            elif isinstance(part, la.Equation):
                value = la.with_names(part.value, {n: Name(r) for n, r in read.items()}, behind)
                names = tuple(begun.get(n) or after.get(n) or own[n] for n in part.names)
                yield replace(part, names=names, value=value, written=part)
        now = after


# Elements


def _with_elements(statements: tuple[la.Statement, ...], count: Count) -> Iterator[la.Statement]:
    arrays: dict[str, list[str]] = {}
    types: dict[str, la.Type | None] = {}
    for part in statements:
        if isinstance(part, la.Elements):
            for name, type_ in zip(part.names, part.types, strict=True):
                places = range(part.first, count(part.last))
                arrays.setdefault(name, []).extend(f"{name}.{place}" for place in places)
                types[name] = type_
    for each in arrays.values():  # whatever the order of the statements
        each.sort(key=lambda element: int(element.rpartition(".")[2]))
    if not arrays:
        yield from statements
        return
    elements = {
        f"{name}[{place}]": f"{name}.{place}"
        for name, each in arrays.items()
        for place in range(len(each))
    }
    for part in statements:
        for one in _each(part, count):
            yield _renamed(one, elements)
    for name, each in arrays.items():
        shape = getattr(types[name], "shape", ())
        type_ = (
            None if types[name] is None else replace(types[name], shape=(Number(len(each)), *shape))
        )
        yield la.Equation((name,), Call("[]", tuple(map(Name, each))), (type_,))


def _each(part: la.Statement, count: Count) -> Iterator[la.Statement]:
    """The equations, or initial values, of the elements that a statement is for."""
    match part:
        case la.Elements(names, index, last, value, types, first):
            for place in range(first, count(last)):
                inner = la.with_names(value, _of_place(names, index, place))
                yield la.Equation(tuple(f"{name}.{place}" for name in names), inner, types)
        case la.Init(name, value, (), index, last) if index:
            for place in range(last):
                inner = la.with_names(value, _of_place((name,), index, place))
                yield la.Init(f"{name}.{place}", inner)
        case _:
            yield part


def _of_place(names: tuple[str, ...], index: str, place: int) -> dict[str, Expression]:
    found: dict[str, Expression] = {index: Number(place)}
    for name in names:
        found[f"{name}[{index}]"] = Name(f"{name}.{place}")
        found[f"{name}[{index}-1]"] = Name(f"{name}.{place - 1}")
    return found


def _renamed(part: la.Statement, elements: Names) -> la.Statement:
    others: dict[str, Expression] = {name: Name(other) for name, other in elements.items()}
    match part:
        case la.Equation(value=value) | la.Loss(value=value):
            return replace(part, value=la.with_names(value, others))
        case la.Init(name, value):
            return replace(part, name=elements.get(name, name), value=la.with_names(value, others))
        case la.Reset(name, condition):
            condition = la.with_names(condition, others)
            return la.Reset(elements.get(name, name), condition)
    return part
