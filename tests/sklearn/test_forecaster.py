"""A series from its own past, by the estimator of scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install .[sklearn]")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.utils import estimator_checks

from rollc.sklearn import Forecaster

ITSELF = """
net itself
dim D = 3
input y: [D]
param a = 1.9, b = -0.9
o = a * y[t-1] + b * y[t-2]
output o
loss mean(mse(o, y), over t)
"""
PUSHED = """
net pushed
dim D = 3, E = 4
input y: [D], u: [E], on
param a = 0.5, W: [D, E], v: [D]
o = a * y[t-1] + W @ u + v * on
output o
loss mean(mse(o, y), over t)
"""
NEXT = """
net next
dim D = 3, E = 4
input x: [D], u: [E]
target y: [D]
param a = 0.5, W: [D, E], c: [D]
o = a * x + W @ u + c
output o
loss mean(mse(o, y), over t)
"""
TAUGHT = """
net taught
target y
param a = 0.5, b = 0.0
o = a * feed(o[t-1], y[t-1]) + b
output o
loss mean(mse(o, y), over t)
"""
BLIND = """
net blind
input y
param a = 0.5
o = a * y
output o
loss mean(mse(o, y), over t)
"""
TWO = """
net two
input y, u
param a = 0.5
o = a * y[t-1]
v = a * u[t-1]
output o, v
loss mean(mse(o, y) + mse(v, u), over t)
"""
FIT = {"epochs": 300, "rate": 0.1, "random_state": 0}
WAVE = 50 + 3 * np.cos(0.4 * np.arange(60))


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / "spec.roll"
    path.write_text(request.param, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("spec", [ITSELF], indirect=True)
def test_a_wave_goes_on(spec: str) -> None:
    """In its units; the first step is what the network says after the whole series."""
    found = Forecaster(spec, epochs=500, rate=0.03, random_state=0).fit(WAVE[:40])
    predicted = found.predict(5)
    assert predicted.shape == (5,)
    scale = found.preparation_.scales["y"]
    by_hand = list(scale.to(WAVE[:40, None]))
    for _ in range(5):
        series = np.array([*by_hand, np.zeros(1)])
        by_hand.append(found.network_.forward(found.params_, {"y": series})["o"][-1])
    np.testing.assert_allclose(predicted, scale.back(np.array(by_hand[40:]))[:, 0], rtol=1e-9)
    np.testing.assert_allclose(predicted, WAVE[40:45], atol=1)
    for other in (pickle.loads(pickle.dumps(found)), clone(found).fit(WAVE[:40])):
        np.testing.assert_array_equal(other.predict(5), predicted)
    assert found.score(WAVE[40:45]) > 0.5
    with pytest.raises(ValueError, match="X has 1 columns, and had 0 in the fit"):
        found.predict(5, np.zeros(5))


def pushed(steps: int = 60) -> tuple[Any, Any]:
    """Two series that two features move."""
    X = np.random.default_rng(0).normal(size=(steps, 3))
    y = np.zeros((steps, 2))
    for step in range(steps):
        y[step] = 0.8 * y[step - 1] + X[step, :2] + X[step, 2]
    return y, X


@pytest.mark.parametrize(("spec", "features"), [(PUSHED, 3), (NEXT, 2)], indirect=["spec"])
def test_what_is_known_of_the_steps_to_come(spec: str, features: int) -> None:
    y, X = pushed()
    if features == 2:
        y, X = np.cumsum(X[:, :2], axis=0), X[:, :2]
    found = Forecaster(spec, standardise=features == 2, **FIT).fit(y[:50], X[:50])
    predicted = found.predict(10, X[50:])
    assert predicted.shape == (10, 2)
    np.testing.assert_allclose(predicted, y[50:], atol=0.6)
    assert found.score(y[50:], X[50:]) > 0.9
    with pytest.raises(ValueError, match="X has 5 rows: expected one for each of 10 steps"):
        found.predict(10, X[:5])
    with pytest.raises(ValueError, match=f"X has 0 columns, and had {features} in the fit"):
        found.predict(10)


@pytest.mark.parametrize("spec", [TAUGHT], indirect=True)
def test_what_is_taught_goes_on(spec: str) -> None:
    y = 4 - 3 * 0.9 ** np.arange(40.0)
    found = Forecaster(spec, standardise=False, **FIT).fit(y[:30])
    np.testing.assert_allclose(found.predict(10), y[30:], atol=0.3)


NOISY = """
net noisy
dim D = 1
input y: [D]{more}
param a: [D], b = 0.0, l: [D]
o = a * y[t-1] + {read}
output o
loss mean({loss}, over t)
"""
LIKELIHOOD = "gaussian_nll(o, exp(l), y)"


@pytest.mark.parametrize("is_next", [False, True])
@pytest.mark.parametrize("series", [1, 2])
def test_bounds_grow_as_drawn_series_do(tmp_path: Path, series: int, is_next: bool) -> None:
    """Of autoregressions, h steps ahead: the variance of one step times 1 + a**2 + … + a**(2h-2);
    what is known of later steps moves them alone."""
    text = NOISY.format(more=", u", read="b * u", loss=LIKELIHOOD)
    if is_next:
        text = text.replace("input y: [D]", "input x: [D]").replace("param", "target y: [D]\nparam")
        text = text.replace("y[t-1]", "x")
    (tmp_path / "noisy.roll").write_text(text)
    y, u = np.random.default_rng(0).normal(50, 3, size=(30, series)), np.arange(30.0)
    found = Forecaster(tmp_path / "noisy.roll", epochs=1, random_state=0, backend="reference")
    found.fit(y[:, 0] if series == 1 else y, u)
    a, spread = np.array([0.8, -0.5])[:series], np.array([0.5, 0.1])[:series]
    found.params_ = {"a": a, "b": np.array(0.25), "l": np.log(spread**2)}
    later = np.arange(30.0, 36)
    low, high = found.predict_interval(6, later, samples=4000)
    assert low.shape == high.shape == found.predict(6, later).shape
    powers = np.cumsum(a ** (2.0 * np.arange(6)[:, None]), axis=0)
    width = 2 * 1.6449 * y.std(axis=0) * spread * np.sqrt(powers)
    np.testing.assert_allclose((high - low).reshape(6, -1), width, rtol=0.08)
    middle = found.predict(6, later).reshape(6, -1)
    np.testing.assert_allclose((low + high).reshape(6, -1) / 2, middle, atol=0.06 * width.max())
    half = np.subtract(*found.predict_interval(6, later, coverage=0.5, samples=4000)[::-1])
    np.testing.assert_allclose(half.reshape(6, -1), width * 0.6745 / 1.6449, rtol=0.1)
    again = found.predict_interval(6, later, samples=4000)
    np.testing.assert_array_equal(again, (low, high))


@pytest.mark.parametrize("loss", ["mse(o, y)", "gaussian_nll(o, exp(l + 0 * a), y)"])
def test_what_has_no_bounds(tmp_path: Path, loss: str) -> None:
    text = NOISY.format(more="", read="b", loss=loss)
    (tmp_path / "noisy.roll").write_text(text)
    found = Forecaster(tmp_path / "noisy.roll", epochs=1, backend="reference").fit(WAVE)
    with pytest.raises(ValueError, match="the loss of `noisy` tells no variance of `y`"):
        found.predict_interval(3)
    for coverage in (0, 1, -0.1):
        with pytest.raises(ValueError, match="`coverage`"):
            found.predict_interval(3, coverage=coverage)


@pytest.mark.long
def test_searches_in_the_order_of_time() -> None:
    """Of the network that is there without a spec; a fit in windows, too."""
    how = {"epochs": 3, "window": 5, "stride": 3, "batch": 4, "validation": 0.3, "patience": 2}
    search = GridSearchCV(Forecaster(**how), {"H": [2, 3]}, cv=TimeSeriesSplit(2))
    search.fit(WAVE)
    assert search.best_params_["H"] in (2, 3)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    several = Forecaster(epochs=2, window=20, stateful=True).fit(np.stack([WAVE, -WAVE], axis=1))
    assert several.predict(3).shape == (3, 2)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (BLIND, "`o` reads `y` of the step that it is compared with: it predicts nothing"),
        (TWO, "compares an output with y, u: say by `target` which of y, u is to be predicted"),
    ],
    indirect=["spec"],
)
def test_what_does_not_go_on(spec: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        Forecaster(spec, epochs=1).fit(WAVE)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(NotFittedError):
        Forecaster().predict(3)
    for wrong in (np.zeros(1), [1.0, np.nan], np.zeros((3, 2, 2)), ["a", "b"]):
        with pytest.raises(ValueError, match=r"minimum of 2|NaN|dim 3|convert"):
            Forecaster(epochs=1).fit(wrong)
    with pytest.raises(ValueError, match="X has 1 columns, and `forecaster` takes 0: no input"):
        Forecaster(epochs=1).fit(WAVE, WAVE)
    with pytest.raises(ValueError, match="X has 3 rows: expected one for each of 60 steps"):
        Forecaster(epochs=1).fit(WAVE, WAVE[:3])


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
)
def test_checks_that_need_no_rows(check: Any) -> None:
    """The other checks fit a table whose rows can change places, which a series is not."""
    check("Forecaster", Forecaster())
