"""Networks of specs whose kernels are compiled when they are first called, and no other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.backends import registry
from rollc.backends.numba.codegen.module import emit
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.kernel.passes import planned, scheduled
from rollc.lang.elaboration.expressions import Feed
from rollc.network.network import Network
from rollc.network.pairs.network import with_complex_arrays
from rollc.runtime import memory
from rollc.runtime.call import Call
from rollc.runtime.kernel import Kernel
from rollc.support.allocator import Lender


def network_of(
    text: str,
    dtype: str,
    sets: Mapping[str, int] | None = None,
    feed: Feed = "taught",
    backend: str | None = None,
    combine: str = "sum",
) -> Network:
    """The network of a spec; nothing is read from the cache of builds.

    To build one makes all of its kernels, thirty and more, of which a test may call three.
    """
    graph, _ = read_spec(text, "test.roll", sets, feed)
    makers = kernel_graphs(graph, combine=combine)

    @cache
    def kernel(entry: str) -> Kernel:
        result = compiled(makers[entry](), dtype, backend=backend)
        path = Path(tempfile.mkdtemp(prefix="rollc-test-")) / "kernel.py"
        path.write_text(result.source, encoding="utf-8")
        return Kernel(result.program, path, dtype, backend=backend)

    return with_complex_arrays(Network(graph, kernel, dtype, feed=feed))


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


def on_machine(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Have kernels run on another machine, of which something else is true (:class:`Target`)."""
    backend = registry.backend()
    monkeypatch.setattr(backend, "target", replace(backend.target, **facts))


def noted_runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arrays that the threads of coming calls have in common, one entry a thread."""
    seen: list[dict[str, Any]] = []
    run = Call._run

    def noted(self: Call, *given: Any) -> Any:
        seen.append(given[4])
        return run(self, *given)

    monkeypatch.setattr(Call, "_run", noted)
    return seen


def kernel_of(graph: Graph, rows: int, folder: Path) -> Kernel:
    """The kernel of a graph in float64, its loops in blocks of about so many rows."""
    program = planned(scheduled(graph), rows)
    path = folder / "kernel.py"
    path.write_text(emit(program, "float64"))
    return Kernel(program, path, "float64")


def agrees_in_undefined_memory(
    graph: Graph, kernel: Kernel, steps: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All results of a gradient's kernel, where nothing that it did not write is a number."""
    monkeypatch.setattr(memory, "empty", _undefined)
    monkeypatch.setattr(Lender, "lend", lambda self, key, shape, dtype: _undefined(shape, dtype))
    kernel.memory.frames.clear()
    random = np.random.default_rng(steps)
    sizes = {"t": steps, "batch": batch}
    leaves = {
        node.name: _between_nothing(
            random.normal(size=(*(sizes[a] for a in node.type.axes), *node.type.shape))
        )
        for node in graph.nodes
        if node.operation in ("input", "param")
    }
    found = kernel.run(leaves, steps, batch, ("primal", "adjoint", "inputs"))
    expected = interpret(graph, leaves, sizes)
    names = {**dict(graph.outputs), **dict(graph.gradients), "loss": graph.loss or ""}
    for (_, label), array in found.items():
        np.testing.assert_allclose(
            array, expected[names[label]], rtol=1e-11, atol=1e-13, err_msg=label
        )


def _undefined(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)


def _between_nothing(array: Any) -> Any:
    """The same numbers, in memory that is not a number before and behind them."""
    memory = np.full(array.size + 40, np.nan)
    memory[20:-20] = array.ravel()
    return memory[20:-20].reshape(array.shape)
