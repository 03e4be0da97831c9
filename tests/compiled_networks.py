"""Networks of specs whose kernels are compiled when they are first called, and no other."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rollc.kernel.compiled import Kernel
from rollc.network import Network
from rollc.pipeline import compiled, kernel_graphs, read_spec


def network_of(text: str, dtype: str) -> Network:
    """The network of a spec; nothing is read from the cache of builds."""
    graph, _ = read_spec(text, "test.roll")
    makers = kernel_graphs(graph)

    @cache
    def kernel(entry: str) -> Kernel:
        result = compiled(makers[entry](), dtype)
        path = Path(tempfile.mkdtemp(prefix="rollc-test-")) / "kernel.py"
        path.write_text(result.source, encoding="utf-8")
        return Kernel(result.program, path, dtype)

    return Network(graph, kernel, dtype)


def assert_close(found: Any, expected: Any, dtype: str, what: str, roundings: int = 100) -> None:
    """Equal up to so many roundings, relative to the largest element.

    ``expected`` comes from float64: what differs is what our kernel in ``dtype`` rounds.
    Small elements are sums of large ones, so each has the error of the largest.
    """
    expected = np.asarray(expected)
    scale = float(np.abs(expected).max(initial=0.0))
    error = float(np.abs(np.asarray(found) - expected).max(initial=0.0))
    assert np.shape(found) == expected.shape, what
    most = roundings * float(np.finfo(dtype).eps) * scale
    assert error <= most, f"{what}: {error:.2g} apart, {most:.2g} allowed"
