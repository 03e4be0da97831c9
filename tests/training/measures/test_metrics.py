"""Measures, held to scikit-learn's where it is installed and to small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rollc.training.measures.metrics import (
    Classes,
    Numbers,
    YesOrNo,
    of_classes,
    of_numbers,
    of_yes_or_no,
)


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


def test_what_is_missing_does_not_count() -> None:
    """By column; one without any, or whose numbers are all the same, has no part in a mean."""
    nan = np.nan
    actual = np.array([[1.0, nan, nan, 7], [3, 5, nan, 7], [5, 9, nan, 7]])
    predicted = np.array([[2.0, 1e9, 1e9, 8], [3, 6, 1e9, 8], [4, 9, 1e9, 8]])
    found = Numbers.of(predicted, actual).metrics()
    assert found["RMSE"] == pytest.approx((np.sqrt(2 / 3) + np.sqrt(1 / 2) + 1) / 3)
    assert found["MAE"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["R2"] == pytest.approx(((1 - 2 / 8) + (1 - 1 / 8)) / 2)
    chances = np.array([[0.9, 0.8, 0.9], [0.4, 0.45, 0.9], [0.9, 0.6, 0.9]])
    truth = np.array([[1, nan, nan], [1, 0, nan], [0, 1, nan]])
    found = YesOrNo.of(chances, truth).metrics()
    assert found["accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["F1"] == pytest.approx((2 / 4 + 1) / 2)
    each = [(0.9 * 0.4 * 0.1) ** (-1 / 3), (0.55 * 0.6) ** (-1 / 2)]
    assert found["perplexity"] == pytest.approx(np.mean(each))


def test_classes_that_do_not_occur() -> None:
    """They are in no mean, nor are there more examples by them."""
    chances = np.array([[0.5, 0.25, 0.25, 0], [0.25, 0.5, 0.25, 0]])
    found = Classes.of(np.array([0, 1]), np.array([0, 1]), chances, 4).metrics()
    assert found == pytest.approx({"accuracy": 1, "F1": 1, "perplexity": 2})
    parts = [Classes.of(np.array([k]), np.array([k]), chances[[k]], 4) for k in (0, 1)]
    assert (parts[0] + parts[1]).metrics() == pytest.approx(found)


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
