"""The specs that come with rollc, as parameters of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

# Each has something of its own: gates, clocks, both directions, two axes, lengths, own derivatives.
FIRST = frozenset(
    [
        *("lstm", "sunspots", "delays/biquad", "delays/clockwork", "dynamics/oscillator"),
        *("images/digits", "sequences/bidirectional", "sequences/teacher", "sequences/translate"),
        *("spiking/spikes", "state_space/kalman", "text/genesis"),
    ]
)

LSTM = {"D": 3, "H": 4, "K": 2}
# Sizes of specs of every kind: two outputs, cells with names of their own, embeddings, static
# inputs and taught outputs, both directions, two time axes, delays of many steps.
OF_EVERY_KIND: dict[str, dict[str, int]] = {
    "lstm": LSTM,
    "gru": LSTM,
    "sequences/stacked": LSTM,
    "sequences/tagger": {},
    "sequences/caption": {"Z": 3, "E": 2, "H": 3, "V": 4},
    "sequences/translate": {},
    "delays/string": {},
    "state_space/kalman": {},
}


def each_spec(names: Iterable[str], sampled: int = 3) -> list[Any]:
    """All of the specs; those that are like others take the longer run, so many at a time."""
    later = (pytest.mark.long, pytest.mark.sampled(sampled))
    return [pytest.param(name, marks=() if name in FIRST else later) for name in names]
