"""Panels: matrices side by side, column by column in tiles, whatever their sizes and places.

Of large ones there is one for all threads, and each packs some of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from rollc.backends.numba import backend
from rollc.backends.numba.jit.target import host, panel_size
from rollc.backends.numba.library.gemm import packing
from rollc.backends.numba.library.gemm.transpose import plain_transpose_block, transpose_block
from rollc.backends.numba.library.team_layout import COPIED, MATRIX, TAKEN
from rollc.driver import build
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph
from rollc.kernel.program import Pack, simple_statements
from rollc.network.network import Network
from rollc.runtime.kernel import Kernel
from rollc.support import threads
from rollc.support.allocator import empty
from rollc.support.target import VECTORS
from tests.helpers.compiled_networks import network_of, noted_runs, on_machine

Array = np.ndarray[Any, Any]


@njit
def run_transpose_block(a: Any, out: Any) -> None:
    transpose_block(a, out, 3, a.shape[1], 5, out.shape[1])


@njit(nogil=True)
def run_pack(
    weight: Any,
    height: int,
    width: int,
    transposed: bool,
    panel: Any,
    column: int,
    sizes: Any,
    progress: int,
    number: int,
) -> None:
    packing.pack(
        weight, panel, (height, width), transposed, sizes, column, progress=progress, number=number
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_is_transposed_and_nothing_else_is_written(dtype: Any) -> None:
    lanes = host().lanes(np.dtype(dtype).itemsize)
    a = np.random.default_rng(0).normal(size=(lanes + 1, lanes + 7)).astype(dtype)
    out = np.full((lanes + 1, lanes + 6), np.nan, dtype)
    expected = out.copy()
    run_transpose_block(a, out)
    plain_transpose_block(a, expected, 3, lanes + 7, 5, lanes + 6)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(out.ravel()[5 : 5 + lanes], a[:, 3][:lanes])


def columns_of(panel: Array, inner: int, columns: int) -> Array:
    """A panel as a matrix, filled up to whole tiles."""
    tile = host().tile_width(panel.itemsize)
    tiles = panel.reshape(-1, inner, tile)
    return np.concatenate(list(tiles), axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_lie_side_by_side_in_a_panel(dtype: Any, transposed: bool) -> None:
    lanes = host().lanes(np.dtype(dtype).itemsize)
    random = np.random.default_rng(0)
    several = ([1], [lanes], [VECTORS * lanes], [3, lanes, 2 * lanes], [lanes, 5 * lanes + 1, 3])
    for inner in (1, lanes - 1, lanes, 2 * lanes + 3):
        for widths in several:
            columns = sum(widths)
            panel = np.full(
                (1, panel_size(inner, columns, np.dtype(dtype).itemsize)), np.nan, dtype
            )
            parts = [random.normal(size=(inner, width)).astype(dtype) for width in widths]
            # The last first: what is written past a matrix stays.
            for number, part in reversed(list(enumerate(parts))):
                weight = part.T.copy() if transposed else part
                place = sum(widths[:number])
                row, sizes = weight.reshape(1, -1), (inner, columns)
                run_pack(row, *weight.shape, transposed, panel, place, sizes, 0, 0)
            found = columns_of(panel, inner, columns)
            np.testing.assert_array_equal(found[:, :columns], np.concatenate(parts, axis=1))
            assert not found[:, columns:].any()


# By several threads -----------------------------------------------------------------------

HEIGHT, WIDTH = 5 * packing.SLICE + 3, 3 * packing.SLICE + 21


class Shared:
    """A matrix that is packed by several threads, the third of a call's."""

    def __init__(self, transposed: bool) -> None:
        self.transposed = transposed
        random = np.random.default_rng(0)
        self.weight = random.normal(size=(1, HEIGHT * WIDTH)).astype(np.float32)
        self.sizes = (WIDTH, HEIGHT) if transposed else (HEIGHT, WIDTH)
        self.slices = -(-HEIGHT // packing.SLICE)
        self.words = empty((1, 4 * MATRIX), np.dtype(np.int64))
        self.words[...] = 0
        self.panel = np.full((1, panel_size(*self.sizes, 4)), np.nan, np.float32)

    def pack(self, panel: Array | None = None, words: int | None = None) -> None:
        address = self.words.ctypes.data if words is None else words
        into = self.panel if panel is None else panel
        run_pack(self.weight, HEIGHT, WIDTH, self.transposed, into, 0, self.sizes, address, 2)

    def word(self, place: int) -> int:
        return int(self.words[0, 2 * MATRIX + place])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_pack_each_slice_once(transposed: bool, count: int) -> None:
    expected = Shared(transposed)
    expected.pack(words=0)
    assert not expected.words.any()
    for _ in range(20):
        shared = Shared(transposed)
        packers = [threading.Thread(target=shared.pack) for _ in range(count)]
        for packer in packers:
            packer.start()
        for packer in packers:
            packer.join()
        np.testing.assert_array_equal(shared.panel, expected.panel)
        # Everyone has looked for one more.
        assert shared.word(TAKEN) == shared.slices + count
        assert shared.word(COPIED) == shared.slices
        assert np.count_nonzero(shared.words) == 2


def test_what_others_have_taken_is_waited_for_and_not_packed_again() -> None:
    shared = Shared(True)
    shared.pack(words=0)  # compiled, if it was not
    shared.panel[...] = np.nan
    shared.words[0, 2 * MATRIX + TAKEN] = shared.slices - 1
    shared.words[0, 2 * MATRIX + COPIED] = shared.slices - 2
    packer = threading.Thread(target=shared.pack)
    packer.start()
    packer.join(0.1)
    assert packer.is_alive()
    shared.words[0, 2 * MATRIX + COPIED] += 1  # the other one is ready
    packer.join(10)
    assert not packer.is_alive()
    columns = columns_of(shared.panel, WIDTH, HEIGHT)[:, :HEIGHT]
    rest = HEIGHT // packing.SLICE * packing.SLICE
    assert np.isnan(columns[:, :rest]).all()
    assert np.isfinite(columns[:, rest:]).all()


SPEC = """
net shared
dim D = 9, H = 13
input x: [D]
target y: [H]
param U: [3*H, D], W: [3*H, H], s: [H] = 1
g = U @ x + (W * 0.5) @ (s * h[t-1])
h = sigmoid(g[0:H]) * h[t-1] + sigmoid(g[H:2*H]) * tanh(g[2*H:3*H])
output h
loss mean(mse(h, y), over t)
"""
STEPS = 7


@pytest.fixture(autouse=True)
def always_in_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    on_machine(monkeypatch, product_rows=1, thread_start=0)
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    yield
    threads.use(None)


def everything(network: Network, batch: int, seed: int) -> list[Array]:
    random = np.random.default_rng(seed)
    given = {
        "x": random.normal(size=(STEPS, batch, 9)),
        "y": random.normal(size=(STEPS, batch, 13)),
    }
    params = network.init(seed)
    loss, gradients = network.value_and_grad(params, given)
    arrays = [network.forward(params, given)["h"], np.asarray(loss)]
    return arrays + [gradients[name] for name in ("U", "W", "s", "x")]


def jobs(kernel: Kernel) -> list[int | None]:
    return [
        statement.job
        for function in kernel.program.functions
        for statement in simple_statements(function.statements)
        if isinstance(statement, Pack)
    ]


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_threads_have_the_same_panels(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = network_of(SPEC, dtype)
    threads.use(3)
    expected = [everything(alone, 11, seed) for seed in range(5)]
    on_machine(monkeypatch, packed_numbers=0)
    network = network_of(SPEC, dtype)
    seen = noted_runs(monkeypatch)
    kept: list[Array] = []  # so that the words of no call lie where those of another did

    def another(*given: Any) -> Array:
        kept.append(empty(*given))
        kept[-1][...] = 7
        return kept[-1]

    def begin(run: Any, parts: Any) -> Any:
        assert not kept[-1].any()
        return each(run, parts)

    each = threads.each
    monkeypatch.setattr(backend, "empty", another)
    monkeypatch.setattr(threads, "each", begin)
    for seed in range(5):  # other weights each time
        for found, wanted in zip(everything(network, 11, seed), expected[seed], strict=True):
            np.testing.assert_array_equal(found, wanted)
    kernel = network._kernel("gradient")
    assert jobs(alone._kernel("gradient")) == [None] * 4
    # Forward U and W * 0.5, then those and their gradients: each is packed once.
    assert jobs(kernel) == [0, 1, 2, 3]
    memory = kernel.memory
    assert len(memory.panels) == 4
    for name in memory.panels:
        arrays = [arrays[name] for arrays in seen[:3]]
        assert all(np.shares_memory(array, arrays[0]) for array in arrays)
    sizes = {"t": STEPS, "batch": 11}
    panels = sum(memory._size(memory.buffers[name], sizes) for name in memory.panels)
    assert alone._kernel("gradient").bytes(sizes) - kernel.bytes(sizes) == 2 * panels
    threads.use(1)
    assert alone._kernel("gradient").bytes(sizes) == kernel.bytes(sizes)


GRAPH = """rollc graph 1  stage graph
net sums
axis t

x   = input()                             : float[3] over t, batch
p   = param() {initialiser=uniform}       : float[3]
v   = multiply(p, v[t-1])                 : float[3] over t
w   = add(v, p)                           : float[3] over t
a   = outer(x, x) {over=[t, batch]}        : float[3, 3]
b   = matmul(a, w)                        : float[3] over t

output b
"""


def test_each_thread_packs_its_own_part_of_a_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix that is a sum over the sequences is another one in each thread."""
    on_machine(monkeypatch, packed_numbers=0)
    graph = parse_graph(GRAPH)
    built = build.compiled(graph, "float64")
    path = tmp_path / "kernel.py"
    path.write_text(built.source)
    kernel = Kernel(built.program, path, "float64")
    assert built.program.splits
    assert jobs(kernel) == [None]
    random = np.random.default_rng(0)
    leaves = {"x": random.normal(size=(STEPS, 11, 3)), "p": random.normal(size=3)}
    threads.use(3)
    found = kernel.run(leaves, STEPS, 11, ("primal",))
    expected = interpret(graph, leaves, {"t": STEPS, "batch": 11})
    np.testing.assert_allclose(found["output", "b"], expected["b"], rtol=1e-12)
