"""``evaluate``: what a run has learned, measured on data that it has not seen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.trained import Trained, open_run
from rollc.errors import InputError, RollcError, UndefinedError
from rollc.network.arrays import Spec
from rollc.network.network import Network
from rollc.tools import console, files
from rollc.tools.cli.data_commands.arrays import Loaded, as_kept, columns_of, load, raw_parts
from rollc.tools.cli.data_commands.trained import data_of
from rollc.tools.cli.data_commands.trained import reading as reading_of
from rollc.tools.columns import labels_of
from rollc.tools.evaluate import baselines
from rollc.training.data.pairs import Pair, in_units, pair_of, pairs_of, probabilities
from rollc.training.data.sequences import Sequences, counted
from rollc.training.measures.metrics import Metrics, of_classes, of_numbers, of_yes_or_no
from rollc.training.runs.run_folder import finite

Array = NDArray[Any]
Rows = dict[str, Metrics]  # the measures of each way to predict

NETWORK = "the network"
MOST_COLUMNS = 12  # of an output, each with a table of its own


def evaluate(
    run: str,
    data: str | None,
    season: int | None,
    compare: Sequence[str],
    form: str,
    **given: Any,
) -> None:
    """Print the loss and the measures of what it compares, beside those of the baselines."""
    if data is not None and not os.path.isdir(data):
        files.check_inputs(data)
    trained = open_run(Path(run))
    network = trained.network
    pairs = _pairs(network, compare)
    options = {**data_of(trained), **reading_of(trained, given)}
    test, known, first = _data(trained, data, options)
    prepared = trained.preparation(test.data)
    lengths = prepared.lengths
    results = in_units(
        network,
        network.forward(trained.params, prepared.arrays, lengths=lengths),
        trained.preparation,
    )
    try:
        loss = network.loss(trained.params, _from(first, network, prepared.arrays), lengths=lengths)
    except UndefinedError:
        loss = math.nan
    found: dict[str, Rows] = {}
    for pair in pairs:
        found |= _measured(network, pair, results, test, known, season, first)
    if form == "json":
        measures = {
            title: {
                name: {head: finite(number) for head, number in row.items()}
                for name, row in rows.items()
            }
            for title, rows in found.items()
        }
        print(json.dumps({"loss": finite(loss), **measures}, indent=2))
        return
    scaled = " (of standardised numbers)" if trained.preparation.scales else ""
    print(f"loss: {loss:.6g}{scaled}")
    for title, rows in found.items():
        heads = list(rows[NETWORK])
        cells = [(name, *(_shown(row.get(head)) for head in heads)) for name, row in rows.items()]
        console.table((title, *heads), cells)
    if not pairs:
        outputs, slots = (
            ", ".join(network.outputs),
            ", ".join({**network.inputs, **network.targets}),
        )
        console.note(
            "the loss compares no output with data: for measures give `--compare OUTPUT=DATA`, an"
            f" output ({outputs}) and what it predicts ({slots})"
        )


def _from(first: int, network: Network, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """What changes with time from a step on."""
    slots = {**network.inputs, **network.targets}
    return {name: a[first:] if slots[name].time else a for name, a in arrays.items()}


def _shown(number: float | None) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.4g}"


def _pairs(network: Network, compare: Sequence[str]) -> list[Pair]:
    """What is compared: as asked for, or else as in the loss."""
    if not compare:
        return pairs_of(network)
    slots, found = {**network.inputs, **network.targets}, []
    for text in compare:
        output, _, data = map(str.strip, text.partition("="))
        if output not in network.outputs or data not in slots:
            raise InputError(
                f"`--compare {text}`: expected OUTPUT=DATA, an output"
                f" ({', '.join(network.outputs)}) and an input or target ({', '.join(slots)})"
            )
        pair = pair_of(network, output, data)
        if pair is None:
            raise InputError(f"`--compare {text}`: their shapes or kinds do not fit each other")
        found.append(pair)
    return found


def _data(
    trained: Trained, data: str | None, options: Mapping[str, Any]
) -> tuple[Loaded, Sequences | None, int]:
    """What is evaluated on, what was learned from, if it is still there, and the first step that
    counts: those before it are read, as they are known then."""
    network, data = trained.network, data or options["test"]
    columns = as_kept(columns_of(network, options), trained.preparation)
    try:
        known, valid, test = raw_parts(network, options, True, trained.preparation)
    except RollcError as error:
        if data is None:
            raise
        console.note(f"no baselines that learn, as the training data cannot be read: {error}")
        return load(network, data, columns), None, 0
    if data is not None:
        return load(network, data, columns), known.data, 0
    if test is None or valid is None:
        raise InputError(
            "expected `--data F`: the run has no test part (`--split 0.8,0.1,0.1` makes one)"
        )
    whole = load(network, options["data"], columns, quiet=True)
    if whole.data.count(network) > 1:
        console.say(f"the test part: the last {counted(test.data.count(network), 'sequence')}")
        return test, known.data, 0
    steps, own = whole.data.steps(network) or 0, test.data.steps(network) or 0
    console.say(f"the test part: the last {own} of {counted(steps, 'step')}, after those before")
    return whole, known.data, steps - own


def _measured(
    network: Network,
    pair: Pair,
    results: Mapping[str, Array],
    test: Loaded,
    known: Sequences | None,
    season: int | None,
    first: int,
) -> dict[str, Rows]:
    """The measures of a pair, by what they are of."""
    slots = {**network.inputs, **network.targets}
    if pair.compared not in test.data.arrays:
        raise InputError(f"the data have no `{pair.compared}`, which the network is held to")
    output = Sequences({pair.output: np.asarray(results[pair.output])}, test.data.lengths)
    predicted = _by_sequence(network.outputs[pair.output], output)
    actual = _counted(pair, slots, test.data)
    if [len(each) for each in predicted] != [len(each) for each in actual]:
        raise InputError(f"`{pair.output}` and `{pair.compared}` do not have the same steps")
    before = None
    if known is not None and pair.compared in known.arrays:
        before = _counted(pair, slots, known)
    labels = () if test.arranged is None else test.arranged.labels.get(pair.compared, ())
    labels = labels or tuple(labels_of(slots[pair.compared]))
    is_timed = bool(slots[pair.compared].time)
    if pair.kind not in ("numbers", "binary", "binary_score"):
        return {labels[0]: _classes(pair, predicted, actual, before, is_timed, first)}
    found = {}
    for at, label in enumerate(labels[:MOST_COLUMNS]):
        own = [each.reshape(len(each), -1)[:, at] for each in predicted]
        truth = [each.reshape(len(each), -1)[:, at].astype(np.float64) for each in actual]
        past = None
        if before is not None:
            past = [each.reshape(len(each), -1)[:, at].astype(np.float64) for each in before]
        if pair.kind == "numbers":
            found[label] = _numbers(
                network, pair, own, truth, past, test.data, known, season, first
            )
        else:
            later = [each[first:] for each in own], [each[first:] for each in truth]
            found[label] = _yes_or_no(pair, *later, past)
    if len(labels) > MOST_COLUMNS:
        console.note(f"measured: the first {MOST_COLUMNS} of {len(labels)} columns")
    return found


def _by_sequence(spec: Spec, data: Sequences) -> list[Array]:
    """``[T, ...]`` of each sequence; of what does not change with time one, with a row for each."""
    array = np.asarray(data.arrays[spec.name])
    batched = spec.batch and array.ndim == len(spec.dimensions())
    if not spec.time:
        return [array if batched else array[None]]
    if not batched:
        return [array]
    own = data.lengths
    if isinstance(own, Mapping):
        own = own.get(spec.time[0])
    ends = [len(array)] * array.shape[1] if own is None else own
    return [array[: int(end), at] for at, end in enumerate(ends)]


def _counted(pair: Pair, slots: Mapping[str, Spec], data: Sequences) -> list[Array]:
    """What a network is held to, ``[T, ...]`` of each sequence: NaN, or -1 for a class, where the
    loss counts nothing."""
    actual = _by_sequence(slots[pair.compared], data)
    if pair.mask is None or pair.mask not in data.arrays:
        return actual
    if slots[pair.mask].time != slots[pair.compared].time:
        return actual
    other = -1 if slots[pair.compared].kind == "index" else np.nan
    masks = _by_sequence(slots[pair.mask], data)
    if len(masks) != len(actual):
        masks = masks * len(actual)
    shaped = [
        m.reshape(m.shape + (1,) * (a.ndim - m.ndim)) for m, a in zip(masks, actual, strict=True)
    ]
    return [np.where(m != 0, a, other) for m, a in zip(shaped, actual, strict=True)]


def _numbers(
    network: Network,
    pair: Pair,
    predicted: Sequence[Array],
    actual: Sequence[Array],
    past: Sequence[Array] | None,
    test: Sequences,
    known: Sequences | None,
    season: int | None,
    first: int,
) -> Rows:
    """The errors of numbers, each way on the steps that all ways have a prediction for."""
    ways = {NETWORK: list(predicted)}
    timed = bool({**network.inputs, **network.targets}[pair.compared].time)
    if timed:
        ways["the last value"] = [baselines.last(each) for each in actual]
    if timed and season is not None:
        ways[f"the value {season} steps before"] = [baselines.last(each, season) for each in actual]
    if past is not None and known is not None:
        mean = np.nanmean(np.concatenate(past))
        ways["the mean of the training data"] = [np.full(len(each), mean) for each in actual]
        if timed:
            line = baselines.linear(past, _features(network, pair, known, past))
            if line is not None:
                features = _features(network, pair, test, actual, past, known)
                inputs = "the inputs and " if features[0].shape[1] else ""
                name = f"linear in {inputs}{counted(line.lags, 'value')} before"
                ways[name] = [line(*each) for each in zip(actual, features, strict=True)]
    truth = np.concatenate([each[first:] for each in actual])
    flat = {name: np.concatenate([each[first:] for each in own]) for name, own in ways.items()}
    useless = [name for name, own in flat.items() if not np.isfinite(own).any()]
    for name in useless[: len(ways) - 1]:
        console.note(f"no step has a prediction by {name}: the data are too short")
        del flat[name]
    there = np.isfinite(truth) & np.logical_and.reduce([np.isfinite(own) for own in flat.values()])
    if not there.any():
        raise InputError(
            f"`{pair.compared}`: no step has a value and a prediction of each baseline; give longer"
            " data"
        )
    if not there.all():
        console.note(f"measured on {there.sum():,} of {len(there):,} values of `{pair.compared}`")
    return {name: of_numbers(own[there], truth[there]) for name, own in flat.items()}


def _features(
    network: Network,
    pair: Pair,
    data: Sequences,
    values: Sequence[Array],
    past: Sequence[Array] | None = None,
    known: Sequences | None = None,
) -> list[Array]:
    """The inputs of each step that a linear prediction may read, ``[T, F]`` by sequence.

    What is the value itself in the training data (``known``, ``past``) is no feature.
    """
    learned, own = (known or data), (values if past is None else past)
    columns: list[list[Array]] = [[] for _ in values]
    for name, slot in network.inputs.items():
        if name == pair.compared or name not in data.arrays or name not in learned.arrays:
            continue
        is_mask = bool(data.masked) and name not in data.masked
        if not slot.time or slot.kind != "float" or is_mask:
            continue
        parts = [each.reshape(len(each), -1) for each in _by_sequence(slot, data)]
        first = [each.reshape(len(each), -1) for each in _by_sequence(slot, learned)]
        for at in range(parts[0].shape[1]):
            same = [
                np.array_equal(f[:, at], v, equal_nan=True) for f, v in zip(first, own, strict=True)
            ]
            if not all(same):
                for found, part in zip(columns, parts, strict=True):
                    found.append(part[:, at])
    return [
        np.column_stack(found) if found else np.zeros((len(each), 0))
        for found, each in zip(columns, values, strict=True)
    ]


def _classes(
    pair: Pair,
    predicted: Sequence[Array],
    actual: Sequence[Array],
    past: Sequence[Array] | None,
    timed: bool,
    first: int,
) -> Rows:
    """Accuracy, F1 and perplexity of classes; at the first step the last one is that of most."""
    truth = np.concatenate([each[first:] for each in actual]).astype(np.int64)
    there = truth >= 0
    truth = truth[there]
    scores = np.concatenate([each[first:] for each in predicted])[there]
    if not len(truth):
        raise InputError(f"the data have no `{pair.compared}`, which the network is held to")
    if pair.kind == "choice":
        found = {NETWORK: of_classes(scores, truth)}
        count = None
    else:
        count = scores.shape[-1]
        found = {NETWORK: of_classes(scores.argmax(-1), truth, probabilities(scores, pair))}
    most = 0
    if past is not None:
        seen = np.concatenate(list(past)).astype(np.int64)
        counts = np.bincount(seen[seen >= 0], minlength=count or 0)
        most = int(counts.argmax())
        shares = None
        if count is not None:
            shares = np.broadcast_to((counts + 1) / (counts + 1).sum(), (len(truth), count))
        found["the class of most"] = of_classes(np.full(len(truth), most), truth, shares)
    if timed:
        before = [np.concatenate([[most], each[:-1]])[first:] for each in actual if len(each)]
        last = np.concatenate(before).astype(np.int64)[there]
        found["the last class"] = of_classes(np.where(last < 0, most, last), truth)
    return found


def _yes_or_no(
    pair: Pair, predicted: Sequence[Array], actual: Sequence[Array], past: Sequence[Array] | None
) -> Rows:
    chances = np.concatenate([probabilities(each, pair) for each in predicted])
    truth = np.concatenate(list(actual))
    there = np.isfinite(truth)
    if not there.any():
        raise InputError(f"the data have no `{pair.compared}`, which the network is held to")
    found = {NETWORK: of_yes_or_no(chances[there], truth[there])}
    if past is not None:
        share = np.full(int(there.sum()), np.nanmean(np.concatenate(past)))
        found["the answer of most"] = of_yes_or_no(share, truth[there])
    return found
