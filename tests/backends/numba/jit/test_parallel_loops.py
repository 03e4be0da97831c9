"""Loops over ``simd_range`` are vectors, however few iterations they have; others stay scalar."""

from __future__ import annotations

import re
from typing import Any

import pytest
from numba import types

from rollc.backends.numba.jit.parallel_loops import simd_range
from rollc.backends.numba.jit.target import host
from rollc.support.target import VECTORS

LANES = host().lanes(4)

KERNEL = """
from rollc.backends.numba.jit.parallel_loops import simd_range
from rollc.backends.numba.library.vector_math.functions import tanh
from rollc.backends.numba.jit.routine import kernel

@kernel
def run(B, a, out):
    for n in range(B):
        for k in {word}({size}):
            out[n, k] = tanh(a[n, k] + out[n + B, k])
"""


def compiled(word: str, size: object, more: str = "", head: str = "") -> str:
    """The code of a kernel with one loop, in LLVM's language."""
    names: dict[str, Any] = {}
    source = head + KERNEL.format(word=word, size=size) + more
    exec(compile(source, "kernel.py", "exec"), names)
    array = types.Array(types.float32, 2, "C")
    run = names["run"]
    run.compile((types.int64, array, array))
    return str(run.inspect_llvm(run.signatures[0]))


def vectors(text: str) -> bool:
    """Whether numbers are divided by vectors: a tanh has one division."""
    return re.search(r"fdiv [a-z ]*<\d+ x float>", text) is not None


@pytest.mark.parametrize("size", [4, LANES - 1, LANES, LANES + 1, VECTORS * LANES, 5 * LANES + 3])
def test_elementwise_work_is_done_by_vectors(size: int) -> None:
    text = compiled("simd_range", size)
    assert vectors(text)


@pytest.mark.skipif(host().vector_bits < 256, reason="the processor has no vectors with masks")
@pytest.mark.parametrize("size", [4, LANES - 1, LANES + 5])
def test_a_vector_that_is_not_full_is_one_too(size: int) -> None:
    assert re.search(r"fdiv [a-z ]*float ", compiled("simd_range", size)) is None


@pytest.mark.parametrize("size", [4, LANES - 1])
def test_a_loop_over_range_is_left_alone(size: int) -> None:
    """LLVM cannot know that two rows of an array do not overlap, and has no vector that short."""
    text = compiled("range", size)
    assert "llvm.loop.parallel_accesses" not in text
    assert not vectors(text)


@pytest.mark.parametrize("size", ["B", "a.shape[1]", "1, a.shape[1]", "2, 7"])
def test_a_number_of_iterations_that_is_not_known(size: str) -> None:
    text = compiled("simd_range", size)
    assert vectors(text)


@pytest.mark.parametrize("size", [3, LANES, LANES + 5])
def test_long_loops_are_marked_too(size: int) -> None:
    """A jump over many lines is two instructions of Python's, and a block of its own."""
    line = "            out[n, k + {0}] = a[n, k] * {0}\n"
    assert vectors(
        compiled("simd_range", size, more="".join(map(line.format, range(100, 9100, 100))))
    )


def test_each_is_range_elsewhere() -> None:
    assert list(simd_range(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    "function",
    [
        *("special.sin", "special.cos", "special.power"),
        *("distribution.normal_cdf", "distribution.log_normal_cdf", "distribution.normal_ratio"),
        *("distribution.erf", "distribution.erfc", "elementary.atan2", "elementary.sinh"),
        *("elementary.cbrt", "gamma.lgamma", "gamma.digamma"),
    ],
)
def test_long_functions_are_vectors_too(function: str) -> None:
    module, _, name = function.partition(".")
    call = f"{name}(a[n, k]{', a[n, k]' if name in ('power', 'atan2') else ''})"
    head = f"from rollc.backends.numba.library.vector_math.{module} import {name}\n"
    text = compiled("simd_range", 64, more=f"            out[n, k] = {call}\n", head=head)
    assert "call float @" not in text
    assert re.search(r"fmul [a-z ]*<\d+ x (float|double)>", text)


def test_a_loop_that_cannot_be_vectors_is_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    head = "import math\n"
    compiled("simd_range", 64, more="            out[n, k] = math.gamma(a[n, k])\n", head=head)
    assert capfd.readouterr().err == ""
