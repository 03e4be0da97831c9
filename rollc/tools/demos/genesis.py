"""A model of the characters of Genesis (``specs/text/genesis.roll``).

The text is read in 32 streams side by side, in windows of 50 characters; each stream's state
goes on from window to window.  The last tenth of the text is held out.  What the network is,
and how long it is fitted, was chosen by fitting the first eight tenths and looking at the
ninth.

The n-gram models predict a character from the n - 1 before it, smoothed with the shorter
ones: Witten and Bell, The zero-frequency problem (1991), method C.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from rollc.driver.build import build
from rollc.support import resources
from rollc.tools import console
from rollc.tools.demos.common import built, data_file, fitted, saved
from rollc.training.data.batches import Batches, streams

EPOCHS, RATE = 12, 0.004
STREAMS, WINDOW, CLIP = 32, 50, 1.0
GRAMS = (1, 3, 6)
DRAWN = 600  # characters


def main(quick: bool = False, save: Path | None = None, seed: int = 0) -> None:
    """Print the bits that a held-out character takes, and a text drawn from the network."""
    text = data_file("genesis.txt").read_text(encoding="ascii")
    alphabet = sorted(set(text))
    known, held_out = _parts(text[: len(text) // 5] if quick else text)
    network = built("text/genesis", V=len(alphabet))
    arrays = [
        {"y": np.array([alphabet.index(each) for each in part])} for part in (known, held_out)
    ]
    train, test = {"y": streams(arrays[0]["y"], 8 if quick else STREAMS)}, arrays[1]
    saved(save, train=train, test=test)
    params = fitted(
        network,
        Batches(network, train),
        3 if quick else EPOCHS,
        seed,
        "epoch",
        rate=RATE,
        window=WINDOW,
        clip=CLIP,
    )
    saved(save, params=params)
    rows = [(f"{count}-gram", _bits(known, held_out, len(alphabet), count)) for count in GRAMS]
    units = network.params["W"].shape[1]
    rows.append((f"{units} LSTM units, seed {seed}", network.loss(params, test) / np.log(2)))
    console.table(
        (f"the last {len(held_out)} of {len(known + held_out)} characters", "bits each"),
        [(name, f"{bits:.2f}") for name, bits in rows],
    )
    with console.waiting("building it to run free"):
        free = build(resources.specs()["text/genesis"], feed="free", sets={"V": len(alphabet)})
    drawn = free.forward(params, steps=DRAWN, seed=seed)["drawn"]
    print("\n" + "".join(alphabet[index] for index in drawn))


def _parts(text: str) -> tuple[str, str]:
    """All but the last tenth, and the last tenth: whole verses both."""
    cut = text.index("\n", len(text) * 9 // 10) + 1
    return text[:cut], text[cut:]


def _bits(known: str, text: str, characters: int, count: int) -> float:
    """The mean of -log2 P(character | the ``count - 1`` before) over a text.

    With N characters seen after a context, T different ones, n of them this one:
    P = (n + T P') / (N + T), where P' is that of the context without its oldest character.
    """
    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for at, character in enumerate(known):
        for length in range(min(count, at + 1)):
            after[known[at - length : at]][character] += 1
    totals = {context: seen.total() for context, seen in after.items()}
    sum_of_logs = 0.0
    for at, character in enumerate(text):
        probability = 1 / characters
        for length in range(min(count, at + 1)):
            context = text[at - length : at]
            if context not in after:
                break
            seen = after[context]
            different = len(seen)
            probability = (seen[character] + different * probability) / (
                totals[context] + different
            )
        sum_of_logs += np.log2(probability)
    return float(-sum_of_logs / len(text))
