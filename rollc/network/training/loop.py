"""Fitting the parameters of a network to data: the one loop of ``rollc train`` and the demos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.traversal import needed_names
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.network.noise_draws import Seed, seed_of
from rollc.network.training.batches import Batch, windows
from rollc.network.training.optimizers import OPTIMISERS, Optimiser, clipped
from rollc.support.checks import mapping, positive, shown, whole

Array = NDArray[Any]


@dataclass(frozen=True)
class Epoch:
    """The parameters after one more time through the data, and the mean of the losses that
    its updates started from."""

    params: dict[str, Array]
    loss: float


def fit(
    network: Network,
    params: Mapping[str, Array],
    data: Callable[[], Iterable[Batch]],
    optimiser: Optimiser = OPTIMISERS["adam"],
    *,
    window: int | None = None,
    clip: float | None = None,
    seed: Seed = 0,
) -> Iterator[Epoch]:
    """Go through the data again and again, with an update for each batch, as long as asked.

    ``data()`` gives the batches of an epoch.  With a ``window`` a batch is read in windows
    of so many steps, with an update for each: the state goes on from window to window, and
    the gradient is cut between them (truncated backpropagation through time).  ``clip`` is
    the largest norm of all gradients together.  ``seed`` is that of dropout and sampling.
    Raises :class:`InputError` where a network cannot run in windows.
    """
    random = np.random.default_rng(seed_of(seed))
    values = {
        name: np.array(as_array(f"parameter `{name}`", value))
        for name, value in mapping("params", params).items()
    }
    if not isinstance(optimiser, Optimiser):
        raise InputError(f"`optimiser`: expected an optimiser, found {shown(optimiser)}")
    clip = None if clip is None else positive("`clip`", clip)
    state = optimiser.start(values)
    if window is not None:
        window = whole("`window`", window, 1)
        _check_starts(network)
    while True:
        losses, sizes = [], []
        for batch in data():
            if not isinstance(batch, Batch):
                raise InputError(f"`data`: expected batches, found {shown(batch)}")
            carried = None
            parts: Iterable[Mapping[str, Array]] = [batch.arrays]
            if window is not None:
                if batch.lengths is not None:
                    raise InputError("windows of steps take no `lengths`")
                carried = network.initial_state(values, batch.arrays)
                parts = windows(network, batch.arrays, window)
            for part in parts:
                loss, gradients, carried = _gradients(network, values, part, batch, carried, random)
                if clip is not None:
                    gradients = clipped(values, gradients, clip)
                values, state = optimiser.update(values, gradients, state)
                losses.append(loss)
                sizes.append(batch.size)
        if not sizes:
            raise InputError("`data`: there are no batches to learn from")
        yield Epoch(values, float(np.average(losses, weights=sizes)))


def _gradients(
    network: Network,
    params: Mapping[str, Array],
    arrays: Mapping[str, Array],
    batch: Batch,
    state: dict[str, Array] | None,
    random: np.random.Generator,
) -> tuple[float, dict[str, Array], dict[str, Array] | None]:
    """Loss, gradients and, in windows, the state after the last step."""
    options: Any = {"wrt": ("params",), "training": True, "seed": random}
    if state is not None:
        return network.value_and_grad(params, arrays, state=state, **options)
    return *network.value_and_grad(params, arrays, lengths=batch.lengths, **options), None


def _check_starts(network: Network) -> None:
    """No parameter may be left out of training without a word."""
    graph = network.graph
    initials = (node.initial for node in graph.nodes if node.initial is not None)
    starts = needed_names(graph, initials)
    learned = sorted(starts & network.params.keys())
    if learned:
        raise InputError(
            f"`{learned[0]}` tells where a state starts: in windows no gradient passes to it"
        )
