"""Models of time series: loops in NumPy, and the packages of statistics."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from rollc.network.network import Network
from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import Leaves, built, held, sigmoid


def gaussian(e: Any, variance: Any) -> Any:
    return (e * e / variance + np.log(2 * np.pi * variance)) / 2


@pytest.fixture(scope="module")
def garch() -> Network:
    return built("forecasting/garch")


def numbers(p: Leaves) -> tuple[Any, Any, Any]:
    """ω, α and β."""
    whole = np.exp(p["a"]) + np.exp(p["b"]) + 1
    return np.exp(p["log_ω"]), np.exp(p["a"]) / whole, np.exp(p["b"]) / whole


def test_garch(garch: Network) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        ω, α, β = numbers(p)
        v = ω / (1 - α - β)
        variances = []
        for r in p["r"]:
            variances.append(v)
            v = ω + α * r * r + β * v
        # The first variance is that of the whole process, which is a fixed point.
        found = np.array(variances)
        return {"v": found}, np.mean(gaussian(p["r"], found))

    params, inputs = held(garch, direct)
    ω, α, β = (float(number) for number in numbers(params))
    volatility = pytest.importorskip("arch.univariate").GARCH(1, 0, 1)
    normal = pytest.importorskip("arch.univariate").Normal()
    for n in range(2):
        r, v = inputs["r"][:, n], np.zeros(6)
        start = ω / (1 - α - β)
        limits = np.tile([0.0, np.inf], (6, 1))
        volatility.compute_variance(np.array([ω, α, β]), r, v, start, limits)
        agree("values", garch.forward(params, inputs)["v"][:, n], v)
        loss = garch.loss(params, {"r": r})
        agree("values", loss, -normal.loglikelihood([], r, v) / 6)


def test_holt_and_winters() -> None:
    network = built("forecasting/holt_winters", {"M": 3})

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        alpha, beta, gamma = (sigmoid(p[name]) for name in ("a", "b0", "c"))
        level, trend, seasons, forecasts = p["level"], p["trend"], [*p["seasons"]], []
        for y in p["y"]:
            season, known = seasons[-3], level + trend
            forecasts.append(known + season)
            seasons.append(gamma * (y - known) + (1 - gamma) * season)
            last, level = level, alpha * (y - season) + (1 - alpha) * known
            trend = beta * (level - last) + (1 - beta) * trend
        found = np.array(forecasts)
        return {"forecast": found}, np.mean((found - p["y"]) ** 2)

    params, inputs = held(network, direct, steps=9)
    smoothing = pytest.importorskip("statsmodels.tsa.holtwinters").ExponentialSmoothing
    model = smoothing(
        inputs["y"][:, 0],
        trend="add",
        seasonal="add",
        seasonal_periods=3,
        initialization_method="known",
        initial_level=float(params["level"]),
        initial_trend=float(params["trend"]),
        initial_seasonal=params["seasons"],
    )
    fitted = model.fit(
        smoothing_level=sigmoid(params["a"]),
        smoothing_trend=sigmoid(params["b0"]),
        smoothing_seasonal=sigmoid(params["c"]),
        optimized=False,
    )
    agree("values", network.forward(params, inputs)["forecast"][:, 0], fitted.fittedvalues)


def test_arma() -> None:
    network = built("forecasting/arma")

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        """By its filters: what is left of y is a ratio of polynomials in the delay."""
        d = p["y"] - p["mean"]
        e = lfilter([1, *(-p["phi"])], [1, p["theta"]], d)
        return {"forecast": p["y"] - e}, np.mean(gaussian(e, np.exp(p["log_variance"])))

    params, inputs = held(network, direct, theta=np.array(0.4))
    model = pytest.importorskip("statsmodels.tsa.statespace.sarimax").SARIMAX
    y, variance = inputs["y"][:, 0], np.exp(params["log_variance"])
    process = model(
        y - params["mean"],
        order=(2, 0, 1),
        enforce_stationarity=False,
        enforce_invertibility=False,
    )
    process.ssm.loglikelihood_burn = 0  # the first steps count too
    noise = np.array([1, float(params["theta"])])  # at rest before: the state is the first noise
    process.ssm.initialize_known(np.zeros(2), variance * np.outer(noise, noise))
    likelihood = process.loglike([*params["phi"], float(params["theta"]), float(variance)])
    agree("values", network.loss(params, {"y": y}), -likelihood / 6)


def test_markov_switching() -> None:
    """All paths of the regimes, one by one."""
    steps, paths = 5, np.array([*product(range(2), repeat=6)])  # with the regime before the first

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        T = np.exp(p["move"]) / np.exp(p["move"]).sum(axis=0)
        σ, k = np.exp(p["log_σ"]), paths[:, 1:]
        e = p["y"] - p["μ"][k] - p["φ"] * np.array([0, *p["y"][:-1]])
        each = np.exp(-((e / σ[k]) ** 2) / 2) / (np.sqrt(2 * np.pi) * σ[k]) * T[k, paths[:, :-1]]
        until = np.cumprod(each, axis=1) / 2
        # Of paths that differ later only, there are two for each step that is still to come.
        likely = until.sum(axis=0) / 2.0 ** np.arange(steps - 1, -1, -1)

        def share(joint: Any, t: int) -> Any:
            return np.array([joint[k[:, t] == own].sum() for own in range(2)]) / joint.sum()

        found = {
            "now": np.array([share(until[:, t], t) for t in range(steps)]),
            "known": np.array([share(until[:, -1], t) for t in range(steps)]),
            "likelihood": likely / np.array([1, *likely[:-1]]),
        }
        return found, -np.log(likely[-1]) / steps

    held(built("forecasting/switching"), direct, steps=steps)
