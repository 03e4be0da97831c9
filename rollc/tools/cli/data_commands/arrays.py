"""Data for ``run``, ``train`` and their like: from files to the arrays that a network reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.traversal import needed_names
from rollc.network.arrays import words
from rollc.network.network import Network
from rollc.network.pairs.network import as_taken
from rollc.tools import console, files
from rollc.tools.cli.data_commands.networks import known
from rollc.tools.columns import MISSING, Arranged, Columns, arrange, words_of
from rollc.tools.datafiles import names, read_npz
from rollc.tools.tables import TABLES, Table, is_table, read_table
from rollc.training.data.pairs import compared
from rollc.training.data.preparation import Preparation, Scale, standardised
from rollc.training.data.sequences import Sequences, counted, cut, in_streams, side_by_side, split
from rollc.training.data.symbols import Symbols

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]

TEXT = ".txt"
LENGTHS = "lengths"  # the array with the number of steps of each sequence


@dataclass(frozen=True)
class Loaded:
    """The inputs and targets of a file, and how they lay in a table, if it was one."""

    data: Sequences
    arranged: Arranged | None = None
    symbols: Symbols | None = None
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """What is learned from, validated on and tested on, as the network reads them."""

    train: Sequences
    valid: Sequences | None
    test: Sequences | None
    preparation: Preparation


def columns_of(network: Network, options: Mapping[str, Any]) -> Columns:
    """The columns that options name; raises :class:`InputError` for what does not fit."""
    mapping: dict[str, tuple[str, ...]] = {}
    for pair in options.get("mapping") or ():
        name, _, listed = map(str.strip, pair.partition("="))
        if name in mapping:
            raise InputError(f"`--map {pair}`: the columns of `{name}` are given twice")
        mapping[name] = labels_in(listed)
    if target := options.get("target"):
        if len(network.targets) != 1:
            raise InputError(
                f"`--target` is for a network with one target, and there are"
                f" {len(network.targets)}: give `--map NAME={target}`"
            )
        (name,) = network.targets
        if name in mapping:
            raise InputError(f"`--target {target}`: the columns of `{name}` are given twice")
        mapping[name] = labels_in(target)
    masks = dict(pair.partition("=")[::2] for pair in options.get("mask") or ())
    missing, separator = options.get("missing") or "error", options.get("separator")
    if missing not in MISSING or (separator is not None and len(separator) != 1):
        raise InputError(f"`--missing {missing}`, `--separator {separator}`: no such way to read")
    if (missing == "mask") != bool(masks):
        raise InputError(
            "`--missing mask` and `--mask NAME` go together: NAME is the input that is 0 where a"
            " cell is missing, and 1 where none is"
        )
    return Columns(
        mapping,
        missing,
        masks,
        options.get("sequence"),
        separator,
        options.get("text"),
    )


def labels_in(text: str) -> tuple[str, ...]:
    """``a,b`` as names of columns; one with a comma stands in quotes."""
    try:
        (row,) = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        raise InputError(f"`{text}` are no names of columns: {error}") from None
    return tuple(label.strip() for label in row)


def load(
    network: Network, file: str, columns: Columns | None = None, quiet: bool = False
) -> Loaded:
    """The inputs and targets of a file, or of a folder of tables or texts with a sequence each.

    Raises :class:`InputError` for what cannot be read or does not fit, and says what is left out.
    """
    columns = columns or Columns()
    slots = {**network.inputs, **network.targets}
    if file != files.STREAM and os.path.isdir(file):
        return _folder(network, file, columns, quiet)
    content = files.read_bytes(file)
    if _is_text(columns, file, slots):
        return _texts(network, {file: content}, columns)
    if not is_table(content, file):
        _refuse(columns, file)
        found = as_taken(network, read_npz(content, file))
        lengths = _lengths(network, found, file)
        return Loaded(Sequences(known(found, slots, file, "an input or target"), lengths))
    _need_one_axis(network, file)
    table = read_table(content, file, columns.separator)
    columns = _with_classes(network, [table], columns)
    arranged = arrange(table, slots, columns)
    if not quiet:
        _say_others([arranged], columns, slots)
    lengths = None if arranged.lengths is None else {network.axes[0]: arranged.lengths}
    data = Sequences(arranged.arrays, lengths, _masked(arranged.arrays, columns, slots))
    return Loaded(data, arranged, classes=columns.classes or {})


def need_inputs(network: Network) -> None:
    """Raise where the outputs read what no file is given for."""
    graph = network.graph
    read = needed_names(graph, [name for _, name in graph.outputs])
    for name, slot in {**network.inputs, **network.targets}.items():
        if name in read:
            sort = "target" if name in network.targets else "input"
            raise InputError(f"missing {sort} `{name}`: expected {words(slot)}; give `--inputs F`")


def not_finite(loaded: Loaded, file: str) -> str | None:
    """The first number of data that is NaN or infinite, and its place; None if there is none."""
    for name, array in loaded.data.arrays.items():
        wrong = ~np.isfinite(array)
        if not wrong.any():
            continue
        if loaded.arranged is not None:
            table = loaded.arranged.table
            for label in loaded.arranged.labels[name] if table.heads else ():
                numbers, present = table.numbers(table.place(label))
                infinite = present & ~np.isfinite(numbers)
                if infinite.any():
                    row = int(infinite.argmax())
                    return f"{table.where(row, table.place(label))} is {numbers[row]:g}"
        place = [int(number) for number in np.argwhere(wrong)[0]]
        return f"`{name}` in `{file}` is {array[tuple(place)]:g} at {place}"
    return None


def _with_classes(network: Network, tables: Sequence[Table], columns: Columns) -> Columns:
    """With the words that stand for classes, found if they are not known from a run."""
    if columns.classes is not None:
        return columns
    slots = {**network.inputs, **network.targets}
    bounds = {name: slot.bound for name, slot in slots.items() if slot.bound is not None}
    yes = [name for name, kind in compared(network).items() if kind == "binary_score"]
    bounds |= {name: 2 for name in yes if not slots[name].shape}
    of_words = {name: most for name, most in bounds.items() if name not in columns.masks}
    return replace(columns, classes=words_of(tables, slots, columns, of_words))


def _folder(network: Network, folder: str, columns: Columns, quiet: bool) -> Loaded:
    """The tables of a folder, or the texts, each a sequence, in the order of their names."""
    _need_one_axis(network, folder)
    slots = {**network.inputs, **network.targets}
    try:
        there = [path for path in sorted(Path(folder).iterdir()) if os.path.isfile(path)]
    except OSError as error:
        raise InputError(f"cannot read the folder `{folder}`: {error.strerror}") from error
    texts = [str(path) for path in there if path.name.lower().endswith(TEXT)]
    if texts and all(_is_text(columns, file, slots) for file in texts):
        return _texts(network, {file: files.read_bytes(file) for file in texts}, columns)
    paths = [path for path in there if path.name.lower().removesuffix(".gz").endswith(TABLES)]
    if not paths or columns.text is not None:
        what, endings = ("table", TABLES) if columns.text is None else ("text", (TEXT,))
        raise InputError(f"there is no {what} in the folder `{folder}`: {', '.join(endings)}")
    if columns.sequence is not None:
        raise InputError("each file of a folder is a sequence: `--sequence` has no effect")
    tables = [
        read_table(files.read_bytes(str(path)), str(path), columns.separator) for path in paths
    ]
    columns = _with_classes(network, tables, columns)
    each = [arrange(table, slots, columns) for table in tables]
    if not quiet:
        _say_others(each, columns, slots)
    arrays: dict[str, Array] = {}
    incomplete = {name for one in each for name in one.lacking}
    for name in each[0].arrays:
        if name in incomplete:
            continue
        lacking = [one.table.file for one in each if name not in one.arrays]
        if lacking:
            raise InputError(f"`{lacking[0]}` has no column for `{name}`, and others have")
        own = [one.arrays[name] for one in each]
        if slots[name].time:
            arrays[name] = side_by_side(own)
        else:
            arrays[name] = np.stack(own) if slots[name].batch else own[0]
    lengths = {network.axes[0]: np.array([len(one.rows[0]) for one in each])}
    data = Sequences(arrays, lengths, _masked(arrays, columns, slots))
    return Loaded(data, classes=columns.classes or {})


def _is_text(columns: Columns, file: str, slots: Mapping[str, Spec]) -> bool:
    """Whether a file is read as a text: if that was said, or nothing else can be meant."""
    of_symbols = all(slot.bound is not None for slot in slots.values() if slot.time)
    is_known = columns.text is not None or columns.symbols is not None
    return is_known or (of_symbols and file.lower().endswith(TEXT))


def _texts(network: Network, contents: Mapping[str, bytes], columns: Columns) -> Loaded:
    """Texts by the names of their files, each a sequence of symbols that the network reads or says:
    with an input and a target, the target is the symbol after that of the input."""
    slots = {**network.inputs, **network.targets}
    named = [name for name, slot in slots.items() if slot.time]
    bounds = {slot.bound for slot in slots.values() if slot.time}
    of_indices = len(bounds) == 1 and not any(slots[name].shape for name in named)
    sound = len(named) <= 2 and of_indices and len(named) - len(network.targets) in (0, 1)
    most = next(iter(bounds), None)
    if not sound or most is None:
        raise InputError(
            "a text is for a network of one target, an index, and at most one input, an index of as"
            f" many; this one has {names(named)}"
        )
    texts = {file: _decoded(content, file) for file, content in contents.items()}
    try:
        whole = (" " if columns.text == "words" else "").join(texts.values())
        symbols = columns.symbols or Symbols.of(whole, columns.text == "words", most)
    except InputError as error:
        first, *others = texts
        raise InputError(f"`{os.path.dirname(first) if others else first}`: {error}") from None
    each = []
    for file, text in texts.items():
        each.append(symbols.numbers(text, f"`{file}`"))
        if len(each[-1]) < 2:
            raise InputError(f"`{file}` has too little text")
    parts = {named[0]: each}
    if len(named) == 2:
        (read,), (target,) = [name for name in named if name in network.inputs], network.targets
        parts = {read: [own[:-1] for own in each], target: [own[1:] for own in each]}
    if len(each) == 1:
        return Loaded(Sequences({name: own[0] for name, own in parts.items()}), symbols=symbols)
    arrays = {name: side_by_side(own) for name, own in parts.items()}
    lengths = {network.axes[0]: np.array([len(own) for own in next(iter(parts.values()))])}
    return Loaded(Sequences(arrays, lengths), symbols=symbols)


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"`{file}`, line {line} is not UTF-8: {error.reason}") from None


def _masked(
    arrays: Mapping[str, Array], columns: Columns, slots: Mapping[str, Spec]
) -> frozenset[str]:
    """The arrays whose missing cells are still NaN."""
    if not columns.masks:
        return frozenset()
    floats = {name for name in arrays if slots[name].kind == "float"}
    return frozenset(floats - columns.masks.keys())


def _say_others(each: Sequence[Arranged], columns: Columns, slots: Mapping[str, Spec]) -> None:
    """The columns that nothing reads, what they may be, and the rows that were dropped."""
    first = each[0]
    taken = {label for own in first.labels.values() for label in own} | {columns.sequence}
    incomplete = {name: at for one in each for name, at in one.lacking.items()}
    for name, (label, where) in incomplete.items():
        taken.add(label)
        console.note(f"no loss, as `{name}` is not read: {where}: the cell is missing")
    others = [head for head in first.table.heads or () if head not in taken]
    if others:
        console.note(f"not read: {names(others[:20])} of `{first.table.file}`")
    for name, slot in slots.items() if others else ():
        if name not in {*first.arrays, *columns.mapping, *columns.optional}:
            fitting = ",".join(others) if len(others) == prod(slot.shape) else "COLUMN,…"
            console.note(f"no column is `{name}`: say which with `--map {name}={fitting}`")
    for one in each:
        if one.table.blank:
            lines = counted(one.table.blank, "blank line")
            console.note(f"left out: {lines} between the rows of `{one.table.file}`")
        if one.dropped:
            rows = counted(one.dropped, "row")
            console.say(f"`{one.table.file}`: {rows} with missing cells dropped")


def _need_one_axis(network: Network, file: str) -> None:
    if len({*network.same_steps.values()}) > 1:
        raise InputError(f"`{file}` is a table of steps, and there are several sorts: give an .npz")


def _refuse(columns: Columns, file: str) -> None:
    """An archive of named arrays has no columns."""
    if replace(columns, optional=frozenset(), symbols=None, classes=None) != Columns():
        raise InputError(
            f"`{file}` holds arrays by name: what is said of the columns of a table has no effect"
        )


def _lengths(network: Network, found: dict[str, Array], file: str) -> dict[str, Array] | None:
    """The lengths by axis, taken out of the arrays of a file; None if it has none."""
    own_names = {f"{LENGTHS}.{axis}": axis for axis in network.axes}
    if len({*network.same_steps.values()}) == 1:
        own_names[LENGTHS] = network.axes[0]
    taken = {*network.inputs, *network.targets}
    if LENGTHS in found.keys() - own_names.keys() - taken:
        expected = " and ".join(f"`{name}`" for name in own_names)
        raise InputError(f"`{file}`: `{LENGTHS}` are of one time axis; expected {expected}")
    own = {
        axis: found.pop(name) for name, axis in own_names.items() if name in found.keys() - taken
    }
    return own or None


def raw_parts(
    network: Network,
    options: Mapping[str, Any],
    quiet: bool = False,
    known: Preparation | None = None,
) -> tuple[Loaded, Loaded | None, Loaded | None]:
    """The data of a run in its parts, as they are in the files: to learn from, to validate on and
    to test on; ``known`` is what a run has kept."""
    columns = as_kept(columns_of(network, options), known)
    train = load(network, options["data"], columns, quiet)
    columns = replace(columns, symbols=train.symbols, classes=train.classes)
    test = load(network, options["test"], columns, quiet) if options["test"] else None
    if options["valid"]:
        return train, load(network, options["valid"], columns, quiet), test
    if not options["split"]:
        return train, None, test
    shares = options["split"]
    found, what = split(network, train.data, shares)
    if not quiet:
        said = ", ".join(f"{share:.0%}" for share in shares)
        console.say(f"split by {what}, in order: {said}")
    for part in found[1:]:
        _check_classes(train, found[0], part)
    first, second, *rest = [replace(train, data=part) for part in found]
    return first, second, rest[0] if rest else test


def as_kept(columns: Columns, known: Preparation | None) -> Columns:
    """With the symbols and the classes that a run has kept."""
    if known is None:
        return columns
    symbols = known.symbols if known.symbols.names else None
    return replace(columns, symbols=symbols, classes=known.classes)


def _check_classes(loaded: Loaded, train: Sequences, other: Sequences) -> None:
    """Raise where a part has a class that nothing is learned of."""
    for name, classes in loaded.classes.items():
        if name not in train.arrays:
            continue
        unknown = np.setdiff1d(_there(other, name), _there(train, name))
        if not unknown.size:
            continue
        word, arranged = classes[int(unknown[0])], loaded.arranged
        where = f"`{name}`"
        if arranged is not None:
            table = arranged.table
            place = table.place(arranged.labels[name][0]) if table.heads else 0
            where = table.where(table.words(place).index(word), place)
        raise InputError(
            f"{where}: the class `{word}` is not in the part that is learned from; give another"
            " `--split`, or data with each class"
        )


def _there(data: Sequences, name: str) -> Array:
    """The numbers of an array, without padding and what is missing."""
    array, own = data.arrays[name], data.lengths
    own = next(iter(own.values())) if isinstance(own, Mapping) else own
    if own is not None and array.ndim > 1:
        array = array[np.arange(len(array))[:, None] < own]
    return np.asarray(array[~np.isnan(array)])


def parts_of(network: Network, options: Mapping[str, Any], quiet: bool = False) -> Parts:
    """The data of a run, in its parts, and what was learned of the first of them."""
    train, valid, test = raw_parts(network, options, quiet)
    scales: dict[str, Scale] = {}
    if options["standardise"]:
        yes_or_no = {name for name, kind in compared(network).items() if kind != "numbers"}
        apart = {*columns_of(network, options).masks, *yes_or_no}
        scales = standardised(network, train.data, apart)
        if not scales:
            raise InputError("`--standardise` has no effect: the data have no numbers that change")
    prepare = Preparation(scales, train.symbols or Symbols(()), train.classes)
    return Parts(
        prepare(train.data),
        None if valid is None else prepare(valid.data),
        None if test is None else prepare(test.data),
        prepare,
    )


def pieces_of(network: Network, parts: Parts, options: Mapping[str, Any]) -> Parts:
    """The data as the loop reads them: in windows or streams; what is dropped is said."""
    window, train, valid = options["window"], parts.train, parts.valid
    if options["streams"] is not None:
        train, dropped = in_streams(network, train, options["streams"])
        _say_dropped(dropped, "in no stream", options)
    if window is not None and not options["stateful"]:
        train, dropped = cut(network, train, window, options["stride"])
        _say_dropped(dropped, "in no window", options)
        if valid is not None:
            valid, dropped = cut(network, valid, window, options["stride"])
            _say_dropped(dropped, "of the validation data in no window", options)
    return replace(parts, train=train, valid=valid)


def _say_dropped(steps: int, where: str, options: Mapping[str, Any]) -> None:
    if steps and not options["quiet"]:
        console.say(f"dropped: {counted(steps, 'step')} {where}")
