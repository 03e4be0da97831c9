"""The demo keeps its promise: it beats both baselines, and knows nothing of what it predicts."""

from __future__ import annotations

import numpy as np
import pytest

from rollc import demo
from rollc.pipeline import build
from rollc.resources import specs


def test_it_beats_both_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    demo.main()
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    last_year, autoregression, network = (float(line.split()[-1]) for line in lines[1:])
    assert (last_year, autoregression) == (30.4, 17.4)
    assert network < 16.5
    assert "rollc ir sunspots --stage" in printed.err


def test_nothing_after_1920_has_any_part_in_it() -> None:
    network = build(specs()["sunspots"])
    years, numbers = demo._data()
    other = np.where(years > demo.KNOWN, 500 - numbers, numbers)
    found = [
        demo._predictions(network, years, data, seeds=1, updates=20) for data in (numbers, other)
    ]
    # The first year to be predicted is the last that reads known years alone.
    same = years <= demo.KNOWN + 1
    np.testing.assert_array_equal(found[0][same], found[1][same])
    assert not np.array_equal(found[0], found[1])
