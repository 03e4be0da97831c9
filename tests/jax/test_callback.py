"""Functions of NumPy in programs of JAX."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from rollc.errors import DerivativeError
from rollc.jax.callback import Host, Tree, called
from tests.helpers.paths import ROOT


@dataclass(frozen=True)
class Sums(Host):
    """The sum of a tree's two arrays, and how many calls come at once."""

    forward = "not forward"
    backward = "not backward"

    def __call__(self, calls: Sequence[tuple[Tree, ...]]) -> Sequence[Tree]:
        return [{"b": each["y"] + each["x"], "a": (np.int64(len(calls)),)} for (each,) in calls]


def sums(x: Any, y: Any) -> Any:
    shape = jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x))
    results = {"a": (jax.ShapeDtypeStruct((), jnp.result_type(int)),), "b": shape}
    return called(Sums(), results, {"x": x, "y": y})


@pytest.mark.parametrize("jit", [False, True])
def test_trees_go_in_and_out(jit: bool) -> None:
    x, y = jnp.arange(6.0).reshape(2, 3), jnp.ones((2, 3))
    found = (jax.jit(sums) if jit else sums)(x, y)
    np.testing.assert_array_equal(found["b"], x + y)
    assert found["a"][0] == 1
    found = (jax.jit(sums) if jit else sums)(jnp.float64(0.1), jnp.float64(1e-20))
    assert found["b"] == 0.1


@pytest.mark.parametrize("jit", [False, True])
def test_vmap_is_one_call(jit: bool) -> None:
    x, y = jnp.arange(24.0).reshape(2, 3, 4), jnp.ones((3,))
    twice = jax.vmap(jax.vmap(sums, (1, None)), (0, None))
    found = (jax.jit(twice) if jit else twice)(x, y)
    np.testing.assert_array_equal(found["b"], x.transpose(0, 2, 1) + y)
    np.testing.assert_array_equal(found["a"][0], np.full((2, 4), 8))


def test_it_has_no_derivative() -> None:
    def total(x: Any) -> Any:
        return sums(x, x)["b"].sum()

    for own in (total, jax.jit(total)):
        with pytest.raises(DerivativeError, match="not forward"):
            jax.grad(own)(jnp.ones(2))
        with pytest.raises(DerivativeError, match="not forward"):
            jax.jvp(own, (jnp.ones(2),), (jnp.ones(2),))
        with pytest.raises(DerivativeError, match="not backward"):
            jax.linear_transpose(own, jnp.ones(2))(1.0)


def test_no_memory_of_the_function_is_kept() -> None:
    """What it returns it may write to afterwards."""
    kept = np.zeros(100_000)

    @dataclass(frozen=True)
    class Counts(Sums):
        def __call__(self, calls: Sequence[tuple[Tree, ...]]) -> Sequence[Tree]:
            kept[...] += 1
            return [(kept,) for _ in calls]

    def call() -> Any:
        return called(Counts(), (jax.ShapeDtypeStruct(kept.shape, kept.dtype),))[0]

    first, second = call(), jax.block_until_ready(jax.jit(call)())
    call()
    assert (first[0], second[0], kept[0]) == (1, 2, 3)


THREADS = """
import faulthandler, threading, time
import jax, numpy as np
from jax import numpy as jnp
from rollc.jax.callback import Host, called

faulthandler.dump_traceback_later(200, exit=True)  # who waits for ever says where

class Copies(Host):
    forward = backward = ""

    def __call__(self, calls):
        time.sleep(0.001)  # and lets others run
        return [[np.multiply(each, 1) for each in arrays] for arrays in calls]

def copies(*arrays):
    return called(host, [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in arrays], *arrays)

host = Copies()

@jax.jit
def step(x, y):
    a, b = copies(x * 2, y @ y)
    c, d = copies(a + 1, b @ b)
    e, _ = copies(c, d @ d)
    p, q = copies(x * 3, y)
    return e.sum() + c.sum() + p.sum() + q.sum()

def work():
    x, y = jnp.ones((300, 300)), jnp.ones((300, 300)) / 300
    for _ in range(20):
        pending = [step(x, y), step(x + 1, y)]  # of arguments that are computed meanwhile
        found = [float(each) for each in pending]
        assert np.allclose(found, [expected, expected + 7 * 300**2], rtol=1e-3), found
    done.append(1)

expected = (3 + 3 + 3) * 300**2 + 300
done = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(done))
"""


@pytest.mark.long
def test_threads_with_large_arrays() -> None:
    """`jax.pure_callback` waits there for ever: its arguments are arrays of JAX."""
    found = subprocess.run(
        [sys.executable, "-c", THREADS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_ENABLE_X64": "0"},
    )
    assert found.stdout == "4\n", found.stderr[-3000:]
