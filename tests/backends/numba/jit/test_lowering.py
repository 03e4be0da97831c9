"""Kernels are lowered to what their text means in Python: variables, elements and entry points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import float32, int64, types

from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.routine import (
    Entry,
    EntryCall,
    kernel,
    machine_code,
    plain_uint,
    uint,
)


def assigned_in_branches(n: int, a: Any) -> None:
    """Variables whose assignments do not dominate each use."""
    if n > 2:
        first = a[0, 1]
    total = 0
    for i in range(n):
        if n > 2:
            a[2, i] = first + total
        if i % 2:
            total = i
        a[3, i] = total


def elements(n: int, a: Any) -> None:
    """Indices that are constant, computed, unsigned, and from the end."""
    a[0, 0] = n
    a[0, -1] = a[0, 1]
    for i in range(1, n):
        a[n - i, i] += a[-i, uint(i)] * a[2, 1] + a[i, -i]
    row, place = 1, (2, 2)
    a[row, 3] = a[place] + (a[3, 0] > 0)


def interchanged(n: int, a: Any) -> None:
    """Two variables that take each other's values, which no order of copies gives."""
    b, c = a[0, 0], a[0, 1]
    for i in range(n):
        b, c = c, b + i
    a[0, 0], a[0, 1] = c, b


def bound(
    function: Callable[..., None], kinds: list[Any], numbers: list[int], *arrays: Any
) -> Callable[[], object]:
    """A function that runs another one, compiled, on those numbers and arrays."""
    call = EntryCall(kernel(function), range(len(kinds)))
    linked = object_code.link(machine_code([Entry("run", kinds, [call])]))
    assert linked is not None
    return linked["run"](numbers, arrays)


@pytest.mark.parametrize("function", [assigned_in_branches, elements, interchanged])
def test_a_kernel_does_what_its_text_means(
    function: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    found = expected.copy()
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "uint", plain_uint)
        function(4, expected)
    bound(function, [int64, types.Array(float32, 2, "C")], [4], found)()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("count", [3, 40])
def test_an_entry_point_gives_each_argument_its_own(count: int) -> None:
    """Whether its code is optimised or not."""
    arrays = [np.full((2, 2), i, np.float32) + np.eye(2, dtype=np.float32) for i in range(count)]
    names = ", ".join(f"a{i}" for i in range(count))
    source = f"def take(n, {names}):\n    a2[n, 0] = a0[0, n] + a1[n, n] + 10 * a{count - 1}[0, 0]"
    made: dict[str, Any] = {}
    exec(source, made)
    expected = [array.copy() for array in arrays]
    made["take"](1, *expected)
    kinds = [int64, *[types.Array(float32, 2, "C")] * count]
    bound(made["take"], kinds, [1], *arrays)()
    np.testing.assert_array_equal(arrays, expected)
