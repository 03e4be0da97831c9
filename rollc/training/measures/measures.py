"""What the loss of a network compares, measured on batches: accuracy, RMSE and their like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.network.network import Network
from rollc.training.data.batches import Batch, Batches
from rollc.training.data.pairs import Pair, in_units, pairs_of, probabilities
from rollc.training.data.preparation import Preparation
from rollc.training.measures.metrics import Classes, Metrics, Numbers, Sums, YesOrNo

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]

_SHOWN_OF = {"numbers": ("RMSE", "R2"), "binary_score": ("accuracy", "F1")}
_SHOWN_OF["binary"] = _SHOWN_OF["binary_score"]


class Measures:
    """The measures of a network's outputs, in the units of the data.

        measures = Measures(net)
        measures(params, batches)  # {"accuracy": 0.9, "F1": ..., "perplexity": ...}

    Where the loss compares several inputs or targets, the names begin with theirs:
    ``y.accuracy``.  Without any, there are no measures.
    """

    def __init__(self, network: Network, preparation: Preparation | None = None) -> None:
        self.network, self.preparation = network, preparation or Preparation()
        slots = {**network.inputs, **network.targets}
        self.pairs = [pair for pair in pairs_of(network) if _fits(pair, network.outputs, slots)]

    def __call__(self, params: Mapping[str, Array], data: Batches, seed: int = 0) -> Metrics:
        """Those of all batches; masked steps and those behind an end do not count."""
        sums: dict[Pair, Any] = {}
        for number in range(len(data)) if self.pairs else ():
            for pair, own in self._of(params, data.at(0, number), seed).items():
                sums[pair] = sums[pair] + own if pair in sums else own
        alone = len(self.pairs) == 1
        return {
            name if alone else f"{pair.compared}.{name}": number
            for pair, own in sums.items()
            for name, number in own.metrics().items()
        }

    def names(self) -> list[str]:
        """Those of the most telling measures."""
        alone = len(self.pairs) == 1
        return [
            name if alone else f"{pair.compared}.{name}"
            for pair in self.pairs
            for name in _SHOWN_OF.get(pair.kind, ("accuracy", "perplexity"))
        ]

    def shown(self, metrics: Metrics) -> str:
        """The most telling ones, in a line."""
        return ", ".join(f"{name} {metrics[name]:.4g}" for name in self.names() if name in metrics)

    def _of(self, params: Mapping[str, Array], batch: Batch, seed: int) -> dict[Pair, Sums]:
        network = self.network
        slots = {**network.inputs, **network.targets}
        results = in_units(
            network,
            network.forward(params, batch.arrays, lengths=batch.lengths, seed=seed),
            self.preparation,
        )
        found = {}
        for pair in self.pairs:
            if pair.compared not in batch.arrays:
                continue
            data = slots[pair.compared]
            rows = Rows.of(data, batch.arrays[pair.compared], batch)
            actual = rows.take(data, batch.arrays[pair.compared])
            counts = np.ones(actual.shape, bool)
            if pair.mask is not None and pair.mask in batch.arrays:
                mask = rows.take(slots[pair.mask], batch.arrays[pair.mask])
                counts = np.broadcast_to(mask != 0, counts.shape)
            predicted = rows.take(network.outputs[pair.output], results[pair.output])
            found[pair] = self._sums(pair, predicted, actual, counts)
        return found

    def _sums(self, pair: Pair, predicted: Array, actual: Array, counts: Array) -> Sums:
        if pair.kind in ("scores", "probabilities", "choice"):
            truth = actual[:, 0][counts[:, 0]].astype(np.int64)
            scores = predicted[counts[:, 0]]
            if pair.kind == "choice":
                return Classes.of(scores[:, 0].astype(np.int64), truth, count=self._classes(pair))
            chances = probabilities(scores, pair)
            return Classes.of(scores.argmax(axis=-1), truth, chances, scores.shape[-1])
        truth = np.where(counts, actual.astype(np.float64), np.nan)
        if pair.kind == "numbers":
            scale = self.preparation.scales.get(pair.compared)
            if scale is not None:
                truth = truth * scale.spread.reshape(-1) + scale.mean.reshape(-1)
            return Numbers.of(predicted, truth)
        return YesOrNo.of(probabilities(predicted, pair), truth)

    def _classes(self, pair: Pair) -> int:
        slots = {**self.network.inputs, **self.network.targets}
        return slots[pair.compared].bound or 0


@dataclass(frozen=True)
class Rows:
    """Which steps of which sequences count, ``[*steps, B]``, along the time axes of some data."""

    time: tuple[str, ...]
    inside: Array

    @classmethod
    def of(cls, spec: Spec, array: Array, batch: Batch) -> Rows:
        """Those of an input or target of a batch that are not behind the end of a sequence."""
        steps = array.shape[: len(spec.time)]
        inside = np.ones((*steps, batch.size), bool)
        for at, axis in enumerate(spec.time):
            own = batch.lengths
            if isinstance(own, Mapping):
                own = own.get(axis)
            if own is not None:
                places = np.arange(steps[at]).reshape([-1, *[1] * (len(steps) - at)])
                inside = inside & (places < np.asarray(own))
        return cls(spec.time, inside)

    def take(self, spec: Spec, array: Array) -> Array:
        """The values ``[N, D]`` of an array; what does not change from step to step, or from
        sequence to sequence, is repeated."""
        array = np.asarray(array)
        if not (spec.batch and array.ndim == len(spec.dimensions())):
            array = np.expand_dims(array, len(spec.time))
        missing = [at for at, axis in enumerate(self.time) if axis not in spec.time]
        array = np.expand_dims(array, tuple(missing))
        whole = np.broadcast_to(array, (*self.inside.shape, *spec.shape))
        return whole[self.inside].reshape(-1, prod(spec.shape))


def _fits(pair: Pair, outputs: Mapping[str, Spec], slots: Mapping[str, Spec]) -> bool:
    """Whether an output says something of the data at each of its steps."""
    output, data = outputs[pair.output], slots[pair.compared]
    others = [output] if pair.mask is None else [output, slots[pair.mask]]
    if any(not {*other.time} <= {*data.time} for other in others):
        return False
    if pair.mask is not None and prod(slots[pair.mask].shape) not in (1, prod(data.shape)):
        return False
    if pair.kind in ("numbers", "binary_score", "binary"):
        return prod(output.shape) == prod(data.shape)
    return not data.shape and len(output.shape) <= 1
