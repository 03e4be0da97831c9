"""The losses of a run as a picture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from rollc.support import chart
from rollc.training.runs.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def records(losses: list[float | None], **more: Any) -> list[dict[str, Any]]:
    return [{"update": 10 * at, "loss": each, **more} for at, each in enumerate(losses, 1)]


def drawn(of: list[dict[str, Any]]) -> tuple[list[list[float]], list[str]]:
    """The heights of the curves, and the texts."""
    svg = picture(of)
    assert svg is not None and b"<script" not in svg
    root = ElementTree.fromstring(svg)
    paths = [path.attrib for path in root.iter(f"{SVG}path")]
    curves = [each["d"] for each in paths if each.get("class", "").startswith("line reactive")]
    numbers = [
        [float(each) for each in d.replace("M", " ").replace("L", " ").split()] for d in curves
    ]
    return [each[1::2] for each in numbers], [text.text or "" for text in root.iter(f"{SVG}text")]


def test_both_losses_over_updates() -> None:
    (one, other), texts = drawn(records([1.0, 0.5, 0.25], valid=0.75))
    assert one[1] - one[0] == pytest.approx(2 * (one[2] - one[1]), abs=1e-3) and one[0] < one[2]
    assert len(set(other)) == 1
    assert {"update", "loss", "training loss", "validation loss", "20"} <= set(texts)


def test_a_wide_range_has_a_logarithmic_scale() -> None:
    (curve,), texts = drawn(records([100.0, 10.0, 1.0, 0.1]))
    steps = [after - before for before, after in pairwise(curve)]
    assert steps == pytest.approx([steps[0]] * 3, abs=1e-3)
    assert {"loss, on a logarithmic scale", "0.1", "1", "10", "100"} <= set(texts)
    assert "loss" in drawn(records([100.0, 10.0, -1.0]))[1]


@pytest.mark.parametrize("losses", [[1e300, 1.0], [1e-300, 1e300], [5.0] * 3, [0.0, 0.0], [2.0]])
def test_any_losses_can_be_drawn(losses: list[float]) -> None:
    assert picture(records([*losses, None]))  # None: one that was no number


def test_many_points_are_thinned_and_the_last_is_there() -> None:
    losses = [2.0 - at / 5000 for at in range(5001)]
    (curve,), _ = drawn(records(list(losses)))
    assert len(curve) <= 400 and curve[-1] == max(curve)


def test_without_losses_there_is_none() -> None:
    assert picture([]) is None and picture(records([None])) is None


def test_many_points_are_thinned_to_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "_MOST", 4)
    losses = [1.0] * 8 + [0.5]
    ((*earlier, last),), _ = drawn(records(losses))
    assert len(earlier) < 4 and len({*earlier}) == 1 and last != earlier[0]
