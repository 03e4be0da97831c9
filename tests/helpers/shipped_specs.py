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


def each_spec(names: Iterable[str]) -> list[Any]:
    """All of the specs; those that are like others take the longer run."""
    return [pytest.param(name, marks=() if name in FIRST else pytest.mark.long) for name in names]
