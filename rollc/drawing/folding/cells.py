"""Cells: the values of a use of a cell, which a picture has in a frame or as one box."""

from __future__ import annotations

from dataclasses import replace

from rollc.drawing.folding.folding import INITIAL, Folded, Value, is_adjoint, parts_of
from rollc.ir.graph import GIVEN
from rollc.ir.names import STATE


def cell_of(value: Value, folded: Folded) -> tuple[str, ...]:
    """The cells that a value is in, from the outermost: ``("~high", "~high.gate")``.

    Elements of an array, or passes of a repetition, that are values and no cells are in none by
    that: passes follow each other, and a frame around all of one name would tear them apart.
    """
    if value.node.operation in GIVEN or value.node.name.startswith(STATE):
        return ()
    name, _ = folded.copies.get(value.node.name, (value.node.name, 0))
    mark = "~" if is_adjoint(name) else ""
    parts = parts_of(name)[:-1]
    if value.node.name in folded.graph.by_name and parts[:1] == [STATE.rstrip(".")]:
        return ()
    paths = (".".join(parts[: count + 1]) for count in range(len(parts)))
    return tuple(mark + path for path in paths if path in folded.cells)


def cells(folded: Folded) -> tuple[str, ...]:
    """The outermost cells of a graph, without those of the adjoint."""
    found = (cell_of(value, folded) for value in folded.values)
    return tuple(dict.fromkeys(path[0].removeprefix("~") for path in found if path))


def with_closed_cells(folded: Folded, opened: frozenset[str]) -> Folded:
    """The values with all that is in a cell as one, unless it is among those opened."""
    home: dict[str, str] = {}
    for value in folded.values:
        path = cell_of(value, folded)
        if path and path[0].removeprefix("~") not in opened and not _is_slope(value, folded):
            copy = folded.copies.get(value.node.name)
            home[value.name] = path[0] if copy is None else f"{path[0]}.{copy[1]}"
            if value.node.name.endswith(INITIAL):
                home[value.name] += INITIAL
    found: dict[str, Value] = {}
    for value in folded.values:
        name = home.get(value.name, value.name)
        reads = tuple(
            dict.fromkeys(
                replace(read, source=home.get(read.source, read.source)) for read in value.reads
            )
        )
        if name not in home.values():
            found[name] = replace(value, reads=reads)
            continue
        before = found.get(name, Value(value.node, (), (), (), closed=name))
        found[name] = Value(
            value.node,
            (*before.names, *value.names, *([value.applied] if value.applied else [])),
            tuple(dict.fromkeys((*before.parameters, *value.parameters))),
            tuple(
                read
                for read in dict.fromkeys((*before.reads, *reads))
                if read.source != name or read.delays
            ),
            closed=name,
        )
    return Folded(folded.graph, tuple(found.values()))


def _is_slope(value: Value, folded: Folded) -> bool:
    return is_adjoint(value.node.name) and value.node.name[1:] in {
        node.name for node in folded.graph.leaves("param")
    }
