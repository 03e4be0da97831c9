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


def run(name: str = "sunspots", quick: bool = False, save: Path | None = None) -> None:
    """Run a demo.  ``quick`` is a short fit, to see that it runs and learns; ``save`` is a
    folder for the data and the fitted parameters, as ``rollc train`` and ``rollc run`` take
    them."""
    from rollc.tools import console
    from rollc.tools.demos.common import made_folder

    made_folder(save)
    start = time.perf_counter()
    import_module(f"rollc.tools.demos.{name}").main(quick, save)
    console.say(f"{time.perf_counter() - start:.1f} s in all")
