"""Handwritten digits, eight pixels a step (``specs/images/digits.roll``).

The 1797 images lie in the order in which people wrote them, so that most who wrote the last
500 wrote none before: those are held out.  Five networks from five seeds answer together, by
the mean of their probabilities.  What they are, and how long they are fitted, was chosen by
fitting the first 1000 images and looking at the 297 after them.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.tools import console
from rollc.tools.demos.common import built, data_file, fitted, saved
from rollc.training.data.batches import Batches

Array = NDArray[Any]

HELD_OUT = 500
SEEDS, EPOCHS, BATCH, RATE = 5, 40, 32, 0.003


def main(quick: bool = False, save: Path | None = None, seed: int = 0) -> None:
    """Print how many of the held-out digits are read right."""
    network = built("images/digits")
    images, digits = _data()
    known = {"x": images[:, :-HELD_OUT], "y": digits[:-HELD_OUT]}
    held_out = {"x": images[:, -HELD_OUT:], "y": digits[-HELD_OUT:]}
    saved(save, train=known, test=held_out)
    count, epochs = (1, 12) if quick else (SEEDS, EPOCHS)
    seeds = range(seed, seed + count)
    probabilities = []
    for one in seeds:
        params = fitted(
            network,
            Batches(network, known, BATCH, seed=one),
            epochs,
            one,
            f"seed {one}: epoch",
            rate=RATE,
        )
        saved(save, **{f"params{one}": params})
        probabilities.append(network.forward(params, held_out)["p"])
    truth = held_out["y"]
    alone = [_right(each.argmax(axis=1), truth) for each in probabilities]
    rows = [(name, _right(answer, truth)) for name, answer in _baselines(known, held_out)]
    units = network.params["V"].shape[1]
    rows.append((f"a network of {units} gated units, mean over seeds", float(np.mean(alone))))
    together = np.mean(probabilities, axis=0).argmax(axis=1)
    rows.append((f"networks of seeds {seeds[0]} to {seeds[-1]} together", _right(together, truth)))
    console.table(
        (f"the last {HELD_OUT} of {len(digits)} digits", "read right"),
        [(name, f"{right:.1%}") for name, right in rows],
    )


def _data() -> tuple[Array, Array]:
    """The pixels ``[8, images, 8]``, a row a step, and the digits ``[images]``."""
    with gzip.open(data_file("digits.csv.gz"), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    images = table[:, :64].reshape(-1, 8, 8).swapaxes(0, 1)
    return np.ascontiguousarray(images), table[:, 64]


def _baselines(known: dict[str, Array], held_out: dict[str, Array]) -> list[tuple[str, Array]]:
    """What simple means say of the held-out images."""
    old, new = (part["x"].swapaxes(0, 1).reshape(-1, 64) / 16 for part in (known, held_out))
    means = np.stack([old[known["y"] == digit].mean(axis=0) for digit in range(10)])
    old_and_one, new_and_one = (
        np.pad(each, ((0, 0), (0, 1)), constant_values=1) for each in (old, new)
    )
    weights = np.linalg.lstsq(old_and_one, np.eye(10)[known["y"]], rcond=None)[0]
    return [
        ("linear least squares", (new_and_one @ weights).argmax(axis=1)),
        ("the nearest of the digits' means", _nearest(new, means)),
        ("the nearest image", known["y"][_nearest(new, old)]),
    ]


def _nearest(points: Array, others: Array) -> Array:
    """For each point the index of the other one that is nearest."""
    products = points @ others.T
    return np.asarray((np.sum(others**2, axis=1) - 2 * products).argmin(axis=1))


def _right(answers: Array, truth: Array) -> float:
    return float(np.mean(answers == truth))
