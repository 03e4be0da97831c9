"""Measures, held to scikit-learn's where it is installed and to small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.training.measures.metrics import Numbers, of_classes, of_numbers, of_yes_or_no


def test_by_hand() -> None:
    found = of_numbers(np.array([1.0, 2, 3]), np.array([1.0, 2, 5]))
    assert found["RMSE"] == pytest.approx(np.sqrt(4 / 3))
    assert found["MAE"] == pytest.approx(2 / 3)
    assert found["R2"] == pytest.approx(1 - 4 / (26 / 3))
    assert np.isnan(of_numbers(np.ones(2), np.ones(2))["R2"])
    chances = np.array([[0.5, 0.5], [0.25, 0.75]])
    found = of_classes(np.array([0, 1]), np.array([0, 0]), chances)
    assert found["accuracy"] == 0.5
    assert found["F1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["perplexity"] == pytest.approx(1 / np.sqrt(0.5 * 0.25))
    found = of_yes_or_no(np.array([0.9, 0.4, 0.6]), np.array([1.0, 1, 0]))
    assert found["accuracy"] == pytest.approx(1 / 3) and found["F1"] == 0.5


def test_numbers_in_parts_are_those_of_the_whole() -> None:
    random = np.random.default_rng(0)
    actual = random.normal(size=(30, 2)) + np.repeat([[0.0], [5.0]], [10, 20], axis=0)
    predicted = actual + random.normal(size=(30, 2))
    parts = Numbers.of(predicted[:10], actual[:10]) + Numbers.of(predicted[10:], actual[10:])
    assert parts.metrics() == pytest.approx(of_numbers(predicted, actual))


def test_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    predicted, actual = random.normal(size=(2, 50))
    found = of_numbers(predicted, actual)
    assert found["R2"] == pytest.approx(metrics.r2_score(actual, predicted))
    chosen, truth = random.integers(4, size=(2, 50))
    chances = random.dirichlet(np.ones(4), size=50)
    found = of_classes(chosen, truth, chances)
    assert found["F1"] == pytest.approx(metrics.f1_score(truth, chosen, average="macro"))
    loss = metrics.log_loss(truth, chances, labels=range(4))
    assert found["perplexity"] == pytest.approx(np.exp(loss))
    yes = of_yes_or_no(chances[:, 0], (truth == 0).astype(float))
    assert yes["F1"] == pytest.approx(metrics.f1_score(truth == 0, chances[:, 0] > 0.5))
