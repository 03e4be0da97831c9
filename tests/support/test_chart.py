"""Charts: curves are told apart without their colours, and all names are inside."""

from __future__ import annotations

import re
from itertools import pairwise

from rollc.support.chart import chart


def test_each_curve_has_its_name_at_its_end_and_its_own_dashes() -> None:
    curves = {f"value{n}": [(float(t), 1.0 + n) for t in range(50)] for n in range(8)}
    text = chart(curves, "step", "norm").decode()
    assert len(set(re.findall(r"stroke-dasharray: ?([^;}]*)", text))) >= 7
    ends = dict(re.findall(r'y="([\d.]+)" font-size[^>]*>(value\d)</text>', text))
    heights = sorted(map(float, ends))
    assert len(ends) == 8 and all(b - a >= 12 for a, b in pairwise(heights))
    legends = float(re.findall(r'translate\([\d.]+, ([\d.]+)\)" class="legends"', text)[0])
    assert legends + 2 * 18 <= 400  # two rows of names below the curves
    assert chart({"only": [(0.0, 1.0), (1.0, 2.0)]}, "step", "norm").decode().count(">only<") == 1
