"""The errors of the kernels' own functions, measured against exact values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba.library.vector_math.functions import exp, log, sigmoid, softplus, tanh
from rollc.backends.numba.library.vector_math.special import cos, power, sin

# Units in the last place that an error may be.  Below the normal numbers, and for values
# that come from a sum, the absolute error is what counts.
BOUND = 4.0
SMALLEST = {np.float32: 1e-37, np.float64: 1e-307}


@njit
def all_exp(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = exp(x[i])


@njit
def all_tanh(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = tanh(x[i])


@njit
def all_sigmoid(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = sigmoid(x[i])


@njit
def all_log(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = log(x[i])


@njit
def all_softplus(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = softplus(x[i])


@njit
def all_sin(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = sin(x[i])


@njit
def all_cos(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = cos(x[i])


@njit
def all_power(a: Any, b: Any, y: Any) -> None:
    for i in range(a.size):
        y[i] = power(a[i], b[i])


def exact_sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


FUNCTIONS: dict[str, tuple[Callable[..., None], Callable[[float], float]]] = {
    "exp": (all_exp, lambda x: math.exp(x) if x < 709.7 else math.inf),
    "tanh": (all_tanh, math.tanh),
    "sigmoid": (all_sigmoid, exact_sigmoid),
    "log": (all_log, lambda x: math.log(x) if x else -math.inf),
    "softplus": (all_softplus, lambda x: max(x, 0) + math.log1p(math.exp(-abs(x)))),
    "sin": (all_sin, math.sin),
    "cos": (all_cos, math.cos),
}


def points(name: str, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    if name == "log":
        smallest, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
        return np.concatenate(
            [
                np.exp2(rng.uniform(np.log2(smallest), np.log2(largest) - 1e-3, 20_000)),
                rng.uniform(0.5, 2, 20_000),
                1 + rng.normal(size=5_000) * 1e-3,
                [smallest, 1.0, largest],
            ]
        ).astype(dtype)
    if name in ("sin", "cos"):
        multiples = rng.integers(-(10**6), 10**6, 20_000) * (np.pi / 2)  # where they cross zero
        sizes = np.array([2.0, 1e3, 1.5e6, 1.7e6, 1e9, np.finfo(dtype).max / 2])
        return np.concatenate(
            [
                rng.uniform(-10, 10, 20_000),
                multiples,
                (sizes[:, None] * rng.uniform(-1, 1, (6, 5_000))).ravel(),
                10.0 ** rng.uniform(-30, 0, 5_000),
                [0.0, -0.0],
            ]
        ).astype(dtype)
    low, high = (-87.0, 88.0) if dtype is np.float32 else (-707.0, 709.0)
    return np.concatenate(
        [
            rng.uniform(low, high, 20_000),
            rng.uniform(-1, 1, 20_000),
            rng.normal(size=20_000) * 5,
            np.linspace(0.6, 0.65, 2_000),
            10.0 ** rng.uniform(-30, 0, 5_000),
            [0.0, -0.0, low, high],
        ]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_a_few_units_in_the_last_place(name: str, dtype: Any) -> None:
    compiled, exact = FUNCTIONS[name]
    x = points(name, dtype)
    y = np.empty_like(x)
    compiled(x, y)
    expected = np.array([exact(float(value)) for value in x])
    normal = np.abs(expected) > SMALLEST[dtype]
    units = np.spacing(np.abs(expected).astype(dtype)).astype(np.float64)
    errors = np.abs(y.astype(np.float64) - expected) / units
    assert errors[normal].max() < BOUND
    assert np.abs(y[~normal]).max(initial=0) <= SMALLEST[dtype]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_logarithm_where_there_is_none(dtype: Any) -> None:
    x = np.array([-np.inf, -1.0, -0.0, 0.0, np.inf, np.nan] * 8, dtype=dtype)
    y = np.empty_like(x)
    all_log(x, y)
    expected = [np.nan, np.nan, -np.inf, -np.inf, np.inf, np.nan] * 8
    np.testing.assert_array_equal(y, np.array(expected, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("exp", (0, math.inf)),
        ("tanh", (-1, 1)),
        ("sigmoid", (0, 1)),
        ("softplus", (0, math.inf)),
    ],
)
def test_infinities_nan_and_large_numbers(
    name: str, limits: tuple[float, float], dtype: Any
) -> None:
    x = np.array([-np.inf, -1e4, 1e4, np.inf, np.nan] * 8, dtype=dtype)
    y = np.empty_like(x)
    FUNCTIONS[name][0](x, y)
    low, high = limits
    large = 1e4 if name == "softplus" else high
    expected = [low, low, large, high, np.nan] * 8
    np.testing.assert_array_equal(y, np.array(expected, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_an_angle_that_is_none(name: str, dtype: Any) -> None:
    x = np.array([np.inf, -np.inf, np.nan] * 8, dtype=dtype)
    y = np.zeros_like(x)
    FUNCTIONS[name][0](x, y)
    assert np.isnan(y).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    a = (10.0 ** rng.uniform(-3, 3, 20_000)).astype(dtype)
    b = rng.uniform(-9, 9, 20_000).astype(dtype)
    whole = np.round(b[:5_000])
    a, b = np.concatenate([a, -a[:5_000]]), np.concatenate([b, whole]).astype(dtype)
    tiny = rng.uniform(1, 2**20, 1_000) * np.finfo(dtype).smallest_subnormal
    a, b = np.append(a, tiny.astype(dtype)), np.append(b, rng.uniform(-0.7, 0.7, 1_000))
    b = b.astype(dtype)
    y = np.empty_like(a)
    all_power(a, b, y)
    expected = np.array([float(x) ** float(p) for x, p in zip(a, b, strict=True)])
    units = np.spacing(np.abs(expected).astype(dtype)).astype(np.float64)
    assert (np.abs(y.astype(np.float64) - expected) / units).max() < BOUND


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_at_the_ends_of_the_numbers(dtype: Any) -> None:
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    a = rng.uniform(1.1, 9, 2_000).astype(dtype)
    logs = np.log(a.astype(float))
    ends = rng.choice([np.log(float(info.max)), np.log(float(info.smallest_subnormal))], 2_000)
    b = (ends / logs * rng.uniform(0.99, 1.2, 2_000)).astype(dtype)
    a, b = np.append(a, dtype(2)), np.append(b, dtype(1053.1673797889433))
    y = np.empty_like(a)
    all_power(a, b, y)
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(np.longdouble), b.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(y, expected, rtol=4 * info.eps, atol=4 * info.smallest_subnormal)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_what_is_not_positive_or_not_finite(dtype: Any) -> None:
    special = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 2.5, -2.5, 1e9, -1e9]
    special += [math.inf, -math.inf, math.nan, 16777217.0, -16777216.0]
    pairs = np.array([(x, p) for x in special for p in special], dtype=dtype)
    a, b = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    y = np.empty_like(a)
    all_power(a, b, y)
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    for x, exponent, found, wanted in zip(a, b, y, expected, strict=True):
        same = np.isnan(found) if np.isnan(wanted) else math.isclose(found, wanted, rel_tol=1e-6)
        assert same, (x, exponent, found, wanted)
        assert np.isnan(wanted) or np.signbit(found) == np.signbit(wanted), (x, exponent, found)
