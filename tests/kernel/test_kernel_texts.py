"""Schedules, programs and kernels of six networks, as goldens.

What a change of the compiler moves shows as a difference of these texts, which
``bin/test --renew`` writes and a person reads before it is committed.  They do not depend on the
machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from rollc.driver.pipeline import Compiled, compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.kernel.text import print_program, print_schedule
from rollc.support.resources import specs
from tests.helpers.paths import GOLDEN

NETWORKS = {
    "vanilla": GOLDEN / "vanilla.roll",
    "lstm": specs()["lstm"],
    "clockwork": specs()["delays/clockwork"],  # products at some steps only
    "biquad": specs()["delays/biquad"],  # numbers alone, long delays
    "oscillator": specs()["dynamics/oscillator"],  # no input
    "attention": specs()["sequences/translate"],  # two time axes
}
PARTS = {
    "schedule": lambda made: print_schedule(made.schedule),
    "program": lambda made: print_program(made.program),
    "kernel": lambda made: made.source,
}


@cache
def made(network: str, entry: str) -> Compiled:
    path = NETWORKS[network]
    graph, _ = read_spec(path.read_text(encoding="utf-8"), path.name)
    return compiled(kernel_graphs(graph)[entry](), "float32")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("entry", ["forward", "gradient"])
@pytest.mark.parametrize("network", NETWORKS)
def test_golden_texts(
    network: str, entry: str, part: str, expect: Callable[[str, Path], None]
) -> None:
    end = "py.txt" if part == "kernel" else "txt"
    text = PARTS[part](made(network, entry))
    expect(text, GOLDEN / "kernels" / f"{network}.{entry}.{part}.{end}")
