"""Demonstrations: networks that are fitted to data, a module each.

Each prints a table of scores to standard output, of the network and of simpler methods, and the
rest to standard error.
"""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

DEMOS = {
    "sunspots": "the yearly sunspot numbers after 1920 from those before",
    "digits": "handwritten digits, read a row of pixels a step",
    "genesis": "the characters of the book of Genesis, and text drawn from the network",
    "tagger": "tags that need both what came before and what comes after",
    "reverse": "sequences said backwards, by an encoder and a decoder",
}

# What the networks reach is measured: `rollc demo NAME --seed S`, with ROLLC_THREADS=1 and 2.
SPREADS = {
    "sunspots": "seeds from 0, 5 and 10 on: 15.2 to 15.6",
    "digits": "seeds from 0, 1 and 2 on: 93.7% to 94.2%, together 94.6% to 95.6%",
    "genesis": "seeds 0 to 2: 1.78 to 1.79",
    "tagger": "seeds 0 to 2: 100.0%, and 49.7% to 50.0% with both forwards",
    "reverse": "seeds 0 to 2: 100.0% of length 5, 99.0% to 99.6% of length 8",
}


def run(
    name: str = "sunspots", quick: bool = False, save: Path | None = None, seed: int = 0
) -> None:
    """Run a demo.  ``quick`` is a short fit, to see that it runs and learns; ``save`` is a
    folder for the data and the fitted parameters, as ``rollc train`` and ``rollc run`` take
    them; ``seed`` is that of the fit, or of the first of several: data that are made stay."""
    from rollc.tools import console
    from rollc.tools.demos.common import made_folder

    made_folder(save)
    start = time.perf_counter()
    import_module(f"rollc.tools.demos.{name}").main(quick, save, seed)
    if not quick:
        console.say(f"what it reached, by one thread and two, with {SPREADS[name]}")
    console.say(f"{time.perf_counter() - start:.1f} s in all")
