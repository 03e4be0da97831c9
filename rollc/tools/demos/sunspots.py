"""Sunspots, one year ahead.

The network of ``specs/sunspots.roll`` is fitted to the yearly numbers up to 1920 through
its adjoint kernel, and predicts those of 1921 to 2008 through its forward kernel.  Nothing
of those years is used before.  How long to fit is found on years that are known: fitted up
to 1840, the networks are best on 1841 to 1920 after so many updates; then they are fitted
anew, that long, up to 1920.  Five networks from five seeds predict together, by their mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.network.network import Network
from rollc.tools import console
from rollc.tools.demos.common import built, data_file, saved
from rollc.training.data.batches import Batches
from rollc.training.loop import Trainer
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer

Array = NDArray[Any]

FITTED_FIRST, KNOWN = 1840, 1920  # the last years of what is fitted
LAGS = 9  # years that the autoregression reads
SEEDS, UPDATES, EVERY = 5, 400, 5
RATE = 0.003  # Adam's


def main(quick: bool = False, save: Path | None = None, seed: int = 0) -> None:
    """Print the errors of the predictions.  ``quick`` is one network and few updates."""
    network = built("sunspots")
    years, numbers = _data()
    saved(save, train={"sunspots": numbers[years <= KNOWN]}, test={"sunspots": numbers})
    after = years > KNOWN
    console.say(
        f"the data: {len(numbers)} yearly sunspot numbers; {years[0]} to {KNOWN} are known,"
        f" {KNOWN + 1} to {years[-1]} are to be predicted one year ahead"
    )
    count, updates = (1, 40) if quick else (SEEDS, UPDATES)
    seeds = range(seed, seed + count)
    predicted = _predictions(network, years, numbers, seeds, updates)
    rows = [
        ("last year's number", numbers[:-1][after[1:]]),
        (f"linear autoregression on {LAGS} years", _autoregression(years, numbers)),
        (f"{_count(len(seeds))} of {network.params['v'].shape[0]} gated units", predicted[after]),
    ]
    console.table(
        (f"prediction of {KNOWN + 1} to {years[-1]}", "root-mean-square error"),
        [(name, f"{_error(values, numbers[after]):.1f}") for name, values in rows],
    )


def _data() -> tuple[Array, Array]:
    """The years and their numbers."""
    table = np.loadtxt(data_file("sunspots.csv"), delimiter=",", skiprows=1)
    return table[:, 0].astype(int), table[:, 1]


def _predictions(
    network: Network, years: Array, numbers: Array, seeds: range, updates: int
) -> Array:
    """The mean of the networks' predictions, for all years."""
    known = numbers[years <= KNOWN]
    first = known[years[: len(known)] <= FITTED_FIRST]
    held_back = slice(len(first), len(known))
    start = time.perf_counter()
    trials = []
    with console.progress("how long to fit: network", len(seeds)) as advance:
        for number, seed in enumerate(seeds, 1):
            fits = list(_fits(network, first, seed, updates))[::EVERY]
            trials.append([_predict(network, params, known) for params in fits])
            advance(number, f"fitted up to {FITTED_FIRST}")
    errors = [
        _error(predicted[held_back], known[held_back]) for predicted in np.mean(trials, axis=0)
    ]
    best = EVERY * int(np.argmin(errors))
    console.say(
        f"after {best} updates the error on {FITTED_FIRST + 1} to {KNOWN} is least,"
        f" {min(errors):.1f}; now the same number of updates on all years up to {KNOWN}"
    )
    found = []
    for seed in seeds:
        *_, params = _fits(network, known, seed, best)
        found.append(_predict(network, params, numbers))
    console.say(f"fitted in {time.perf_counter() - start:.1f} s")
    return np.asarray(np.mean(found, axis=0))


def _fits(network: Network, numbers: Array, seed: int, updates: int) -> Iterator[dict[str, Array]]:
    """The parameters at the start and after each update."""
    data = Batches(network, {"sunspots": numbers})
    settings = Settings(optimizer("adam", rate=RATE), epochs=updates, seed=seed)
    trainer = Trainer(network, data, settings)
    yield trainer.params
    for _ in trainer:
        yield trainer.params


def _predict(network: Network, params: dict[str, Array], numbers: Array) -> Array:
    """Each year's prediction; it reads the years before alone."""
    return network.forward(params, {"sunspots": numbers})["prediction"]


def _autoregression(years: Array, numbers: Array) -> Array:
    """Least squares on the years before, with an intercept, fitted to the known years."""
    lags = [numbers[LAGS - lag : len(numbers) - lag] for lag in range(1, LAGS + 1)]
    table = np.stack([*lags, np.ones(len(numbers) - LAGS)], axis=1)
    known = years[LAGS:] <= KNOWN
    weights = np.linalg.lstsq(table[known], numbers[LAGS:][known], rcond=None)[0]
    return np.asarray(table[~known] @ weights)


def _error(predicted: Array, numbers: Array) -> float:
    return float(np.sqrt(np.mean((predicted - numbers) ** 2)))


def _count(networks: int) -> str:
    return "one network" if networks == 1 else f"mean of {networks} networks, each"
