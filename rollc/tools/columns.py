"""Which columns of a table make which arrays of a network, and what becomes of missing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.tools.datafiles import names
from rollc.tools.tables import Table
from rollc.training.data.sequences import side_by_side
from rollc.training.data.symbols import Symbols

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]

MISSING = ("error", "drop", "hold", "mask")


@dataclass(frozen=True)
class Columns:
    """How tables become arrays.

    mapping   -- the columns of an array, by its name; without, its own name (``x``, or ``x.0``,
                 ``x.1`` … for a vector)
    missing   -- an error, ``drop`` the row, ``hold`` the cell before, or ``mask``: 0 in its place
    masks     -- inputs of ones and zeros, and the array whose cells they tell of: all where it is
                 ``""``
    sequence  -- the column whose values tell sequences apart
    separator -- between the cells of a text; found if not given
    text      -- read no table but a text, of ``characters`` or ``words``, whose ``symbols`` are
                 those that it has if none are given
    optional  -- arrays that are left out where a column or a cell of theirs is not there
    classes   -- the words that stand for 0, 1, … in the column of an array; None where they are
                 to be found
    """

    mapping: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: str = "error"
    masks: Mapping[str, str] = field(default_factory=dict)
    sequence: str | None = None
    separator: str | None = None
    text: str | None = None
    symbols: Symbols | None = None
    optional: frozenset[str] = frozenset()
    classes: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Arranged:
    """Arrays of one sequence, ``[T, ...]``, or of several of them, ``[T, B, ...]`` and lengths.

    A missing cell is NaN, where it is masked; ``rows`` are the rows of ``table`` that each step is
    of, by sequence, and ``labels`` the columns of each array, in the table or not.  ``lacking``
    has the column and the place of a missing cell of each optional array that is left out for it.
    """

    arrays: dict[str, Array]
    lengths: Array | None
    rows: list[Array]
    table: Table
    labels: dict[str, tuple[str, ...]]
    dropped: int = 0
    lacking: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def arrange(table: Table, slots: Mapping[str, Spec], columns: Columns) -> Arranged:
    """The arrays of a network's inputs and targets; those of which no column is there are left out.

    Raises :class:`InputError` with the file, line and column of what does not fit.
    """
    places = _places(table, slots, columns)
    cells = {
        place: _cells(table, place, (columns.classes or {}).get(name))
        for name, own in places.items()
        for place in own
    }
    lacking = dict[str, tuple[str, str]]()
    for name in sorted(columns.optional & places.keys()):
        gap = next((place for place in places[name] if not cells[place][1].all()), None)
        if gap is not None:
            label = table.heads[gap] if table.heads else name
            lacking[name] = label, table.where(int(cells[gap][1].argmin()), gap)
            del places[name]
    table, read, dropped = _complete(table, places, cells, columns)
    if not len(table):
        why = " left: each lacks a cell" if dropped else ""
        raise InputError(f"`{table.file}` has no rows{why}")
    rows = _sequences(table, columns.sequence)
    arrays: dict[str, Array] = {}
    several = columns.sequence is not None
    for name, own in places.items():
        numbers = np.stack([read[place] for place in own], axis=1)
        if columns.missing == "hold":
            for part in rows:
                numbers[part] = _held(numbers[part], part, own, table)
        slot = slots[name]
        if slot.bound is not None:
            _check_index(numbers[:, 0], slot.bound, table, own[0])
        parts = [numbers[part].reshape(-1, *slot.shape) for part in rows]
        if not slot.time:
            parts = [_constant(part, at, table, own) for part, at in zip(parts, rows, strict=True)]
            arrays[name] = np.stack(parts) if several and slot.batch else parts[0]
        else:
            arrays[name] = side_by_side(parts) if several else parts[0]
    lengths = np.array([len(part) for part in rows]) if several else None
    if lengths is not None and lengths.size and (lengths == lengths[0]).all():
        lengths = None
    _add_masks(arrays, slots, columns.masks, table)
    for name, array in arrays.items():
        if slots[name].bound is not None:
            arrays[name] = np.nan_to_num(array, nan=0.0).astype(np.int64)
    heads = table.heads or ()
    labels = dict(columns.mapping)
    if heads:
        labels |= {name: tuple(heads[place] for place in own) for name, own in places.items()}
    return Arranged(arrays, lengths, rows, table, labels, dropped, lacking)


def labels_of(slot: Spec) -> list[str]:
    """The columns of an array if nothing else is said: ``x``, or ``x.0``, ``x.1`` … of a vector."""
    if not slot.shape:
        return [slot.name]
    return [f"{slot.name}.{'.'.join(map(str, at))}" for at in np.ndindex(slot.shape)]


def _places(table: Table, slots: Mapping[str, Spec], columns: Columns) -> dict[str, list[int]]:
    """The places of the columns of each array that the table has."""
    for name in {**columns.mapping, **columns.masks}:
        if name not in slots:
            raise InputError(f"`{name}` is no input or target of the network: {names(slots)}")
    wanted = {name: slot for name, slot in slots.items() if name not in columns.masks}
    if table.heads is None:
        return _in_order(table, wanted, columns)
    found: dict[str, list[int]] = {}
    for name, slot in wanted.items():
        if name in columns.mapping:
            own = columns.mapping[name]
            if len(own) != prod(slot.shape):
                raise InputError(
                    f"`{name}` has {prod(slot.shape)} numbers at a step, and {len(own)} columns"
                    f" are given for it: {names(own)}"
                )
            if name not in columns.optional or set(own) <= table.places.keys():
                found[name] = [table.place(label) for label in own]
            continue
        labels = labels_of(slot)
        if any(label in table.places for label in labels):
            found[name] = [table.place(label) for label in labels]
    if not found:
        some = names([labels_of(slot)[0] for slot in wanted.values()][:8])
        raise InputError(
            f"no column of `{table.file}` has a name that was looked for, such as {some};"
            f" it has {names(table.heads[:12])}: say with `--map` which is which"
        )
    return found


def _in_order(table: Table, wanted: Mapping[str, Spec], columns: Columns) -> dict[str, list[int]]:
    """Without heads the columns are those of the arrays in their order, and no others."""
    if columns.mapping or columns.sequence:
        raise InputError(f"`{table.file}` has no heads: columns have no names there")
    timed = {name: slot for name, slot in wanted.items() if slot.time}
    labels = [label for slot in timed.values() for label in labels_of(slot)]
    if len(labels) != table.width:
        raise InputError(
            f"`{table.file}` has {table.width} columns without heads, where {len(labels)} were"
            f" expected: {', '.join(labels[:8])}{' …' if len(labels) > 8 else ''}"
        )
    found, start = {}, 0
    for name, slot in timed.items():
        found[name] = list(range(start, start := start + prod(slot.shape)))
    return found


def words_of(
    tables: Sequence[Table], slots: Mapping[str, Spec], columns: Columns, bounds: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """The words, in their order, of each column that is to hold classes and has no numbers.

    Raises :class:`InputError` where there are more than ``bounds`` says of the array.
    """
    found: dict[str, tuple[str, ...]] = {}
    every = [(table, _places(table, slots, columns)) for table in tables]
    for name, most in bounds.items():
        own = [(table, places[name][0]) for table, places in every if name in places]
        if not any(table.has_words(place) for table, place in own):
            continue
        words = {word for table, place in own for word in table.words(place) if word is not None}
        if len(words) > most:
            raise InputError(
                f"`{tables[0].file}` has {len(words)} classes of `{name}`, such as"
                f" {names(sorted(words)[:8])}, and the network takes {most}: build it for so many,"
                f" such as with `--set K={len(words)}`"
            )
        found[name] = tuple(sorted(words))
    return found


def _cells(table: Table, place: int, classes: tuple[str, ...] | None) -> tuple[Array, Array]:
    """The numbers of a column, of words by their place among the classes, and where they are."""
    if classes is None:
        return table.numbers(place)
    numbers = {word: float(number) for number, word in enumerate(classes)}
    words = table.words(place)
    for row, word in enumerate(words):
        if word is not None and word not in numbers:
            raise InputError(
                f"{table.where(row, place)}: `{word:.40}` is none of the {len(classes)} classes"
                f" that are known: {names(classes[:12])}"
            )
    found = np.array([np.nan if word is None else numbers[word] for word in words], np.float64)
    return found, ~np.isnan(found)


def _complete(
    table: Table,
    places: Mapping[str, list[int]],
    cells: Mapping[int, tuple[Array, Array]],
    columns: Columns,
) -> tuple[Table, dict[int, Array], int]:
    """The columns that are read, as numbers, with what was asked for missing cells."""
    every = sorted({place for own in places.values() for place in own})
    read = {place: cells[place] for place in every}
    absent = {place: ~present for place, (_, present) in read.items()}
    numbers = {place: values for place, (values, _) in read.items()}
    lacking = np.logical_or.reduce([np.zeros(len(table), bool), *absent.values()])
    if not lacking.any():
        return table, numbers, 0
    if columns.missing == "error":
        row = int(lacking.argmax())
        place = next(place for place in every if absent[place][row])
        count = sum(int(each.sum()) for each in absent.values())
        more = f" ({count:,} such cells in all)" if count > 1 else ""
        raise InputError(
            f"{table.where(row, place)}: the cell is missing{more}; say what to do with"
            " `--missing drop`, `hold` or `mask`"
        )
    if columns.missing == "drop":
        kept = {place: values[~lacking] for place, values in numbers.items()}
        return table.without(lacking), kept, int(lacking.sum())
    return table, numbers, 0


def _sequences(table: Table, sequence: str | None) -> list[Array]:
    """The rows of each sequence, in the order in which sequences begin."""
    if sequence is None:
        return [np.arange(len(table))]
    ids: dict[str, list[int]] = {}
    for row, name in enumerate(table.texts(table.place(sequence))):
        ids.setdefault(name, []).append(row)
    return [np.array(rows) for rows in ids.values()]


def _held(numbers: Array, rows: Array, places: Sequence[int], table: Table) -> Array:
    """Each missing number as the one before it in the sequence."""
    there = ~np.isnan(numbers)
    if len(there) and not there[0].all():
        first = places[int(np.argmin(there[0]))]
        raise InputError(
            f"{table.where(int(rows[0]), first)}: the cell is missing, and none is before it that"
            " could be held"
        )
    last = np.maximum.accumulate(np.where(there, np.arange(len(numbers))[:, None], 0), axis=0)
    return np.take_along_axis(numbers, last, axis=0)


def _check_index(numbers: Array, bound: int, table: Table, place: int) -> None:
    is_whole = np.floor(numbers) == numbers
    wrong = ~np.isnan(numbers) & ~((numbers >= 0) & (numbers < bound) & is_whole)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{table.where(row, place)}: expected an integer from 0 to {bound - 1}, found"
            f" {numbers[row]:g}"
        )


def _constant(part: Array, rows: Array, table: Table, places: Sequence[int]) -> Array:
    """The value of what does not change with time: the same in all rows of a sequence."""
    changes = (part != part[0]).reshape(len(part), -1)
    changes &= ~np.isnan(part).reshape(len(part), -1)
    if changes.any():
        row, column = np.argwhere(changes)[0]
        raise InputError(
            f"{table.where(int(rows[row]), places[column])}: the network reads one value of a"
            f" sequence, and here it changes"
        )
    return np.asarray(part[0])


def _add_masks(
    arrays: dict[str, Array], slots: Mapping[str, Spec], masks: Mapping[str, str], table: Table
) -> None:
    """The inputs that tell where something is missing: 1 where it is there, 0 where not."""
    for name, of in masks.items():
        slot = slots[name]
        told = dict(arrays) if not of else {of: arrays[of]} if of in arrays else {}
        told = {each: array for each, array in told.items() if slots[each].time}
        if not told:
            raise InputError(f"`{name}` is to be the mask of `{of}`, which `{table.file}` lacks")
        if slot.shape and (not of or slots[of].shape != slot.shape):
            raise InputError(
                f"the mask `{name}` has the shape of no array: give `--mask {name}=OF`"
            )
        found = []
        for each, array in told.items():
            there = ~np.isnan(array)
            own = tuple(range(array.ndim - len(slots[each].shape), array.ndim))
            found.append(there if slot.shape else there.all(axis=own))
        arrays[name] = np.logical_and.reduce(found).astype(np.float64)
