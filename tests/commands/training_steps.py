"""What a training step takes, beside what it is made of.

``python -m tests.commands.training_steps`` times each size in turns, so that whatever else the
machine does falls on all alike: the kernels alone, ``value_and_grad`` with the optimiser, the same
on the next batch each time, and a step of the trainer, which also cuts batches, looks for what is
no number, and keeps its losses.  The figures are microseconds of the fastest turn of each; the
ratios, of a step over the two before it, are the medians of the turns'.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rollc.backends.numba.jit.object_code import Bound
from rollc.driver.build import build
from rollc.support import resources, threads
from rollc.tools import console
from rollc.training.data.batches import Batches
from rollc.training.loop import Trainer
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer

SIZES = ((32, 50, 4), (32, 50, 8), (128, 100, 32))  # units, steps, sequences in a batch
BATCHES = 32


class Clock:
    """The time that goes by in kernels."""

    def __init__(self) -> None:
        self.seconds, self._call = 0.0, Bound.__call__

    def __enter__(self) -> Clock:
        def timed(bound: Bound) -> None:
            start = time.perf_counter()
            self._call(bound)
            self.seconds += time.perf_counter() - start

        Bound.__call__ = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: Any) -> None:
        Bound.__call__ = self._call  # type: ignore[method-assign]


def measured(units: int, steps: int, size: int, rounds: int) -> list[str]:
    network = build(resources.specs()["lstm"], sets={"D": units, "H": units})
    random, count = np.random.default_rng(0), size * BATCHES
    shape = (steps, count, network.targets["y"].shape[0])
    arrays = {"x": random.normal(size=(steps, count, units)), "y": random.random(shape)}
    data = Batches(network, {name: a.astype(network.dtype) for name, a in arrays.items()}, size)
    method = optimizer("adam", rate=1e-5)
    trainer = Trainer(network, data, Settings(method, epochs=10**9))
    values = trainer.layout.vector(network.init(0), network.dtype)
    params, gradient = trainer.layout.views(values), np.empty_like(values)
    state, first, number = method.start(len(values), network.dtype), data.at(0, 0).arrays, 0

    def parts(batch: Any) -> None:
        _, found = network.value_and_grad(params, batch, wrt=("params",))
        trainer.layout.into(gradient, found)
        method.update(values, gradient, state, method.rate)

    def next_batch() -> None:
        nonlocal number
        number += 1
        parts(data.at(*divmod(number, BATCHES)).arrays)

    ways: list[Callable[[], Any]] = [lambda: parts(first), next_batch, trainer.step]
    often = max(1, int(0.01 / _time(ways[0], 5)))
    turns, kernel = [], []
    for _ in range(rounds):
        turns.append([_time(way, often) for way in ways])
        with Clock() as clock:
            _time(ways[0], often)
        kernel.append(clock.seconds / often)
    times = np.array(turns)
    one, other, step = times.min(axis=0)
    ratios = [np.median(times[:, 2] / times[:, at]) for at in (0, 1)]
    figures = [f"{1e6 * each:.0f}" for each in (min(kernel), one, other, step)]
    named = f"{units} units, {steps} steps, {size} sequences"
    return [named, *figures, *(f"{each:.3f}" for each in (*ratios, step / min(kernel)))]


def _time(function: Callable[[], Any], often: int) -> float:
    start = time.perf_counter()
    for _ in range(often):
        function()
    return (time.perf_counter() - start) / often


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    threads.use(options.threads)
    heads = ("LSTM", "kernels", "with optimiser", "on the next batch", "step", *("ratio",) * 2)
    rows = [measured(*size, options.rounds) for size in SIZES]
    console.table((*heads, "over kernels"), rows)


if __name__ == "__main__":
    main()
