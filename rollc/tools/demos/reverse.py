"""Sequences said backwards, by an encoder and a decoder (``specs/sequences/reverse.roll``).

Made data: sequences of 3 to 10 of eight symbols, and the same backwards with the end mark 0
after them.  No sequence of 5 or of 8 symbols is seen in fitting: those are held out.  The
decoder then runs free, on what it said itself, and must find the end too.  What the network
is, and how long it is fitted, was chosen with the lengths 4 and 7 left out in place of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.build import build
from rollc.support import resources
from rollc.tools import console
from rollc.tools.demos.common import built, fitted, saved
from rollc.training.data.batches import Batches

Array = NDArray[Any]

FITTED, HELD_OUT = (3, 4, 6, 7, 9, 10), (5, 8)  # lengths
LONGEST = 10
SYMBOLS = 8
KNOWN, NEW = 4000, 1000  # sequences
DATA_SEED, EPOCHS, BATCH, RATE, CLIP = 0, 80, 32, 0.003, 1.0


def main(quick: bool = False, save: Path | None = None, seed: int = 0) -> None:
    """Print how many sequences of lengths not seen before are wholly right."""
    network = built("sequences/reverse", K=SYMBOLS + 1)
    with console.waiting("building it to run free"):
        spec = resources.specs()["sequences/reverse"]
        free = build(spec, feed="free", sets={"K": SYMBOLS + 1})
    known, lengths = _data(KNOWN, DATA_SEED + 1, FITTED)
    new, new_lengths = _data(NEW, DATA_SEED + 2, HELD_OUT)
    saved(save, train=_with_lengths(known, lengths), test=_with_lengths(new, new_lengths))
    params = fitted(
        network,
        Batches(network, known, BATCH, lengths=lengths, seed=seed),
        6 if quick else EPOCHS,
        seed,
        "epoch",
        rate=RATE,
        clip=CLIP,
        schedule="constant"
        if quick
        else "cosine",  # at a constant rate the last updates still move it to and fro
    )
    saved(save, params=params)
    steps, own = {"t": LONGEST + 1}, {"s": new_lengths["s"]}
    said = free.forward(params, {"x": new["x"]}, steps=steps, lengths=own)["said"]
    after = np.arange(LONGEST + 1)[:, None] >= new_lengths["t"]
    right = np.all((said == new["y"]) | after, axis=0)
    units = network.params["V"].shape[1]
    rows = []
    for length in HELD_OUT:
        share = np.mean(right[new_lengths["s"] == length])
        rows.append((f"length {length}, guessed", f"{SYMBOLS**-length:.5%}"))
        rows.append((f"length {length}, {units} gated units, seed {seed}", f"{share:.1%}"))
    console.table((f"{NEW} sequences of lengths not seen before", "wholly right"), rows)


def _data(
    count: int, seed: int, among: tuple[int, ...]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Sources ``[S, count]`` and targets ``[T, count]``, and the lengths of both by axis."""
    random = np.random.default_rng(seed)
    lengths = random.choice(among, count)
    places = np.arange(LONGEST)[:, None]
    sources = random.integers(1, SYMBOLS + 1, (LONGEST, count)) * (places < lengths)
    backwards = np.take_along_axis(sources, np.maximum(lengths - 1 - places, 0), axis=0)
    targets = np.pad(backwards * (places < lengths), ((0, 1), (0, 0)))
    return {"x": sources, "y": targets}, {"s": lengths, "t": lengths + 1}


def _with_lengths(arrays: dict[str, Array], lengths: dict[str, Array]) -> dict[str, Array]:
    return arrays | {f"lengths.{axis}": own for axis, own in lengths.items()}
