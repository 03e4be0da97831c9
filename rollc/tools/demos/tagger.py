"""Tags that need both what came before and what comes after (``specs/sequences/tagger.roll``).

Made data: sequences of 20 random bits, and at each step the tag 1 where the bit two steps
before is the one two steps after (a bit outside the sequence is 0).  At the steps that have
both, each side by itself leaves the tag as good as tossed: whatever reads only forwards is
right half the time, however large it is and however long it is fitted.

The network is fitted twice: as it is, and with its second chain turned, so that both run
forwards; it then has as many parameters as before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.tools import console
from rollc.tools.demos.common import built, fitted, saved, spec_text
from rollc.training.data.batches import Batches

Array = NDArray[Any]

FAR = 2  # steps between a tag and the bits that it compares
STEPS = 20
KNOWN, HELD_OUT = 1000, 1000  # sequences
DATA_SEED, EPOCHS, BATCH, RATE = 0, 15, 32, 0.01


def main(quick: bool = False, save: Path | None = None, seed: int = 0) -> None:
    """Print how many tags of held-out sequences are right, read both ways and forwards."""
    both = built("sequences/tagger")
    text, path = spec_text("sequences/tagger")
    with console.waiting("building it with both chains forwards"):
        forwards, _ = build_source(text.replace("g[t+1]", "g[t-1]"), path)
    known, held_out = _data(KNOWN, DATA_SEED + 1), _data(HELD_OUT, DATA_SEED + 2)
    saved(save, train=known, test=held_out)
    tags = held_out["y"][FAR:-FAR]
    rows = [("always the commoner tag", max(np.mean(tags), np.mean(1 - tags)))]
    for name, network in (("both chains forwards", forwards), ("one chain from each end", both)):
        params = fitted(
            network,
            Batches(both, known, BATCH, seed=seed),
            5 if quick else EPOCHS,
            seed,
            f"{name}: epoch",
            rate=RATE,
        )
        said = network.forward(params, held_out)["tag"][FAR:-FAR]
        rows.append((f"{name}, seed {seed}", np.mean(said == tags)))
    saved(save, params=params)
    console.table(
        (f"tags of {HELD_OUT} sequences not seen before", "right"),
        [(name, f"{right:.1%}") for name, right in rows],
    )


def _data(count: int, seed: int) -> dict[str, Array]:
    """Bits and tags ``[T, count]``."""
    bits = np.random.default_rng(seed).integers(0, 2, (STEPS, count))
    framed = np.pad(bits, ((FAR, FAR), (0, 0)))
    return {"x": bits, "y": (framed[: -2 * FAR] == framed[2 * FAR :]).astype(np.int64)}
