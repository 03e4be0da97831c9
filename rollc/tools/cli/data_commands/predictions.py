"""What a network has computed, with the names and the units of the data that it read."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.columns import labels_of
from rollc.training.data.pairs import Pair, pairs_of, probabilities

if TYPE_CHECKING:
    from rollc.network.arrays import Spec
    from rollc.tools.cli.data_commands.arrays import Loaded

Array = NDArray[Any]

FAR = NormalDist().inv_cdf(0.95)  # deviations from the mean to each bound


def predicted_columns(
    network: Network,
    results: Mapping[str, Array],
    loaded: Loaded | None,
    lengths: Any,
    classes: Mapping[str, tuple[str, ...]],
    deviations: Mapping[str, Array],
) -> dict[str, Any]:
    """The columns of a table: those that nothing read, then what was computed.

    A row is a step, or a sequence where nothing that was computed changes with time.  Where an
    output has a standard deviation among ``deviations``, its bounds are there too, between which
    the number lies with a probability of 0.9.
    """
    if len(network.axes) > 1:
        raise InputError("there are several sorts of steps, and a table has one: write .npz")
    outputs = {name: a for name, a in results.items() if name in network.outputs}
    timed = {name for name in outputs if network.outputs[name].time}
    batched = any(
        a.ndim == len(network.outputs[name].dimensions()) and network.outputs[name].batch
        for name, a in outputs.items()
    )
    first = next((outputs[name] for name in outputs if name in timed), None)
    if first is not None:
        steps = len(first)
    sequences = next(
        (
            a.shape[len(network.outputs[n].time)]
            for n, a in outputs.items()
            if batched and network.outputs[n].batch
        ),
        1,
    )
    ends = [steps if timed else 1] * sequences
    if lengths is not None and timed:
        own = next(iter(lengths.values())) if isinstance(lengths, Mapping) else lengths
        ends = [int(each) for each in own]
    own_steps = [np.arange(end) for end in ends]
    at = np.column_stack([np.concatenate(own_steps), np.repeat(np.arange(len(ends)), ends)])
    columns = _kept(loaded, bool(timed), at, batched)
    labels = {} if loaded is None or loaded.arranged is None else loaded.arranged.labels
    pairs = {pair.output: pair for pair in pairs_of(network)}

    def rows_of(array: Array, spec: Spec) -> Array:
        whole = np.asarray(array)
        if not (batched and spec.batch):
            whole = np.expand_dims(whole, len(spec.time))
        if not spec.time:
            whole = whole[None]
        part = whole[
            at[:, 0] if spec.time else np.zeros(len(at), int),
            at[:, 1] if batched and spec.batch else np.zeros(len(at), int),
        ]
        return np.asarray(part.reshape(len(at), -1))

    for name, array in outputs.items():
        spec = network.outputs[name]
        rows = rows_of(array, spec)
        found = _named(labels_of(spec), rows, pairs.get(name), labels, classes)
        if name in deviations:
            found += _bounds(found, rows_of(deviations[name], spec))
        for label, column in found:
            while label in columns:
                label += "_"
            columns[label] = column
    return columns


def _bounds(predicted: list[tuple[str, Array]], deviation: Array) -> list[tuple[str, Array]]:
    """The bounds of numbers with a normal distribution."""
    found = []
    for (label, column), own in zip(predicted, deviation.T, strict=True):
        name = label.removeprefix("predicted_")
        found += [(f"low_{name}", column - FAR * own), (f"high_{name}", column + FAR * own)]
    return found


def _kept(loaded: Loaded | None, timed: bool, at: Array, batched: bool) -> dict[str, Any]:
    """What tells the rows apart: the columns of the table that nothing read, or numbers."""
    arranged = None if loaded is None else loaded.arranged
    if arranged is None or arranged.table.heads is None:
        numbers = {"sequence": at[:, 1]} if batched else {}
        return numbers | ({"step": at[:, 0]} if timed else {})
    read = {label for own in arranged.labels.values() for label in own}
    rows = arranged.rows if timed else [own[:1] for own in arranged.rows]
    frame = arranged.table.frame[np.concatenate(rows)]
    heads = arranged.table.heads
    return {
        head: frame.to_series(place)
        for place, head in enumerate(heads)
        if head not in read and heads.index(head) == place
    }


def _named(
    own: list[str],
    rows: Array,
    pair: Pair | None,
    labels: Mapping[str, tuple[str, ...]],
    classes: Mapping[str, tuple[str, ...]],
) -> list[tuple[str, Array]]:
    """The columns of an output, by the names of what it predicts."""
    if pair is None:
        return list(zip(own, rows.T, strict=True))
    names = labels.get(pair.compared) or (pair.compared,)
    if pair.kind == "numbers":
        if len(names) != len(own):
            names = tuple(label.replace(pair.output, pair.compared, 1) for label in own)
        return [(f"predicted_{name}", column) for name, column in zip(names, rows.T, strict=True)]
    name, words = names[0], classes.get(pair.compared)
    if pair.kind == "choice":
        return [(f"predicted_{name}", _as_words(rows[:, 0], words))]
    chances = probabilities(rows, pair)
    if pair.kind in ("binary_score", "binary"):
        if len(own) > 1:
            return list(zip(own, rows.T, strict=True))
        if words is None:
            return [(f"probability_{name}", chances[:, 0])]
        chances = np.concatenate([1 - chances, chances], axis=1)
    if words is not None:  # the network can have more than there were
        chances = chances[:, : len(words)] / chances[:, : len(words)].sum(axis=1, keepdims=True)
    said = words or range(chances.shape[1])
    each = [
        (f"probability_{name}_{word}", column) for word, column in zip(said, chances.T, strict=True)
    ]
    return [(f"predicted_{name}", _as_words(chances.argmax(axis=1), words)), *each]


def _as_words(numbers: Array, words: tuple[str, ...] | None) -> Array:
    """Classes by the words of the table that stand for them, if any do."""
    if words is None:
        return numbers
    return np.asarray(np.array(words)[numbers.astype(np.int64).clip(0, len(words) - 1)])
