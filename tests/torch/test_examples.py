"""Two examples of PyTorch, with rollc in the place of their layers: the same losses in float64."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from tests.commands.pytorch_examples import (
    time_sequence_prediction,
    word_language_model,
)


@pytest.mark.long
def test_word_language_model() -> None:
    found = word_language_model(windows=12, size=8, bptt=5, batch=4)
    assert found.apart < 1e-10
    assert found.theirs[-1] < found.theirs[0]


@pytest.mark.long
def test_time_sequence_prediction() -> None:
    found = time_sequence_prediction(steps=1, sequences=8, length=20, future=5, size=6)
    assert found.apart < 1e-9
    assert len(found.own) == 2
