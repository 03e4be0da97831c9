"""Baselines without a network, held to their definitions."""

from __future__ import annotations

import numpy as np

from rollc.tools.evaluate import baselines

NAN = np.nan


def test_the_last_value_is_one_that_is_known() -> None:
    values = np.array([NAN, 1, NAN, 3, 4])
    np.testing.assert_array_equal(baselines.held(values), [NAN, 1, 1, 3, 4])
    np.testing.assert_array_equal(baselines.last(values), [NAN, NAN, 1, 1, 3])
    np.testing.assert_array_equal(baselines.last(values, 3), [NAN, NAN, NAN, NAN, 1])
    np.testing.assert_array_equal(baselines.last(values, 9), np.full(5, NAN))
    assert baselines.last(values[:0]).size == 0


def test_a_linear_prediction_finds_a_linear_rule() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2))
    y = np.zeros(60)
    for t in range(60):
        y[t] = 0.5 * y[t - 1] - 0.3 * y[t - 2] + x[t] @ [2, 3] + 7 if t > 1 else x[t, 0]
    found = baselines.linear([y[:40]], [x[:40]])
    assert found is not None and found.lags == 9
    np.testing.assert_allclose(found(y, x)[9:], y[9:], atol=1e-8)
    assert np.isnan(found(y, x)[:9]).all()


def test_too_little_to_fit_is_no_prediction() -> None:
    assert baselines.linear([], []) is None
    assert baselines.linear([np.arange(3.0)], [np.ones((3, 4))]) is None
    assert baselines.linear([np.full(50, NAN)], [np.ones((50, 1))]) is None
