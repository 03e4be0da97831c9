"""Batches in parts, one a thread: the same numbers, and which networks stay in one piece."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.backends import registry
from rollc.driver import build
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.text import parse_graph
from rollc.kernel.batch_linearity import partial_sums
from rollc.kernel.cost import product_work, work
from rollc.network.network import Network
from rollc.runtime.call import Call
from rollc.runtime.kernel import Kernel
from rollc.support import resources, threads
from tests.helpers.compiled_networks import network_of, noted_runs, on_machine

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.compiled  # what interprets has one thread

# What sequences share is also an output: `decay` has no batch, nor has `place`.
SPEC = """
net shared
dim D = 3, H = 4
input x: [D]
target y: [H]
param U: [4*H, D], W: [4*H, H], b: [4*H], h0: [H] = 0.3, r = 0.4
g = U @ x + W @ h[t-1] + b
c = sigmoid(g[0:H]) * c[t-1] + sigmoid(g[H:2*H]) * tanh(g[2*H:3*H])
h = sigmoid(g[3*H:4*H]) * tanh(c)
init h = h0
decay = sigmoid(r) * decay[t-1] + r
o = decay * h
output o, decay
loss mean(mse(o, y), over t)
"""
STEPS = 6


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(SPEC, "float64")


@pytest.fixture(scope="module")
def ragged() -> Network:
    """Where sequences have lengths of their own, they share no value over time."""
    return network_of(SPEC.replace("decay[t-1]", "c[t-1]").replace(", decay\n", "\n"), "float64")


@pytest.fixture(autouse=True)
def small_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads have work of any size here."""
    on_machine(monkeypatch, product_rows=1, thread_start=0)
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    yield
    threads.use(None)


def arrays(batch: int) -> dict[str, Array]:
    random = np.random.default_rng(batch)
    return {
        "x": random.normal(size=(STEPS, batch, 3)),
        "y": random.normal(size=(STEPS, batch, 4)),
    }


def flat(value: Any) -> Iterator[tuple[str, Array]]:
    """The arrays of a result, whatever it is made of."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ((f"{name}.{rest}", array) for rest, array in flat(inner))
    elif isinstance(value, tuple):
        for place, inner in enumerate(value):
            yield from ((f"{place}.{rest}", array) for rest, array in flat(inner))
    else:
        yield "", np.asarray(value)


def everything(network: Network, ragged: Network, batch: int) -> Iterator[Any]:
    params, given = network.init(1), arrays(batch)
    yield network.forward(params, given)
    yield network.loss(params, given)
    yield network.value_and_grad(params, given)
    yield network.value_and_grad(params, given, wrt=("params",))
    state = ragged.initial_state(params, given)
    lengths = [1 + sequence % STEPS for sequence in range(batch)]
    yield ragged.value_and_grad(params, given, state=state, lengths=lengths)


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("batch", [1, 3, 11])
def test_the_numbers_are_those_of_one_thread(network: Network, ragged: Network, batch: int) -> None:
    threads.use(1)
    expected = [dict(flat(value)) for value in everything(network, ragged, batch)]
    for count in (2, 3):
        threads.use(count)
        # The second time there are buffers that are used again.
        for _ in range(2):
            for found, wanted in zip(everything(network, ragged, batch), expected, strict=True):
                named = dict(flat(found))
                assert named.keys() == wanted.keys()
                for name, array in named.items():
                    np.testing.assert_allclose(
                        array, wanted[name], rtol=1e-11, atol=1e-13, err_msg=name
                    )


def test_parts_run_in_threads_of_their_own(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, str]] = []
    run = Call._run

    def noted(self: Call, part: Any, *others: Any) -> Any:
        seen.append((part.count, self._sizes["batch"], threading.current_thread().name))
        return run(self, part, *others)

    monkeypatch.setattr(Call, "_run", noted)
    threads.use(2)
    network.loss(network.init(1), arrays(11))
    assert sum(batch for batch, _, _ in seen) == 11
    assert {whole for _, whole, _ in seen} == {11}
    assert len(seen) == len({name for _, _, name in seen}) == 2
    for fewest, worthwhile in ((6, 0), (1, 10**12)):  # of sequences, and of work
        seen.clear()
        on_machine(monkeypatch, product_rows=2 * fewest, thread_start=worthwhile)
        network.loss(network.init(1), arrays(11))
        assert [(batch, whole) for batch, whole, _ in seen] == [(11, 11)]


def test_threads_use_arrays_where_they_are(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows_apart(entry: str) -> set[str]:
        return {buffer.name for buffer in network._kernel(entry).program.buffers if buffer.strided}

    assert rows_apart("forward") == {"x", "o"}
    assert rows_apart("gradient") == {"y", "o", "~x"}  # x is read by the sum that U's gradient is

    seen = noted_runs(monkeypatch)
    threads.use(2)
    given = arrays(11)
    outputs = network.forward(network.init(1), given)
    for rows, size, array in (("x", 3, given["x"]), ("o", 4, outputs["o"])):
        assert {parts[rows].shape for parts in seen} == {(STEPS * 11, size), (STEPS * 11 - 6, size)}
        assert all(np.shares_memory(parts[rows], array) for parts in seen)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_take_arrays_of_any_layout(network: Network, dtype: str) -> None:
    given = arrays(11)
    other = {name: np.asfortranarray(array.astype(dtype)) for name, array in given.items()}
    params = network.init(1)
    threads.use(1)
    expected = dict(flat((network.forward(params, other), network.value_and_grad(params, other))))
    threads.use(2)
    found = dict(flat((network.forward(params, other), network.value_and_grad(params, other))))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_a_part_reaches_the_caller(
    network: Network, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    run = Call._run

    def broken(self: Call, *given: Any) -> Any:
        if (threading.current_thread() is not threading.main_thread()) == bool(failing):
            raise MemoryError("no room")
        return run(self, *given)

    threads.use(2)
    expected = network.loss(network.init(1), arrays(11))
    with monkeypatch.context() as broken_for_now:
        broken_for_now.setattr(Call, "_run", broken)
        with pytest.raises(MemoryError, match="no room"):
            network.loss(network.init(1), arrays(11))
    assert network.loss(network.init(1), arrays(11)) == expected


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= threads.count() <= (os.cpu_count() or 1)
    monkeypatch.setenv(threads.VARIABLE, "5")
    assert threads.count() == 5
    threads.use(3)
    assert threads.count() == 3
    threads.use(None)
    assert threads.count() == 5
    for wrong in (0, -1, 1025):
        with pytest.raises(InputError, match=f"a whole number from 1 to 1024, found {wrong}"):
            threads.use(wrong)
    for text in ("0", "-2", "1.5", "many", "1025", " 2", "²", "9" * 5000):
        monkeypatch.setenv(threads.VARIABLE, text)
        with pytest.raises(InputError, match=r"\$ROLLC_THREADS: expected 1 to 1024 threads"):
            threads.count()


def test_a_container_may_have_fewer_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for text, count in (("150000 100000", 2), ("10000 100000", 1), ("max 100000", 8), ("", 8)):
        threads.QUOTA.write_text(text)
        threads._quota.cache_clear()
        assert threads.count() == count
    threads.QUOTA.unlink()
    threads._quota.cache_clear()
    assert threads.count() == 8
    monkeypatch.undo()
    threads._quota.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    program = """
import os, time
from rollc import threads
threads.use(2)
assert threads.each(abs, [-1, -2]) == [1, 2]
time.sleep(0.2)  # the thread waits for more
child = os.fork()
if child == 0:
    os._exit(0 if threads.each(abs, [-1, -2]) == [1, 2] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_threads_than_are_used_run_beside_this_one(count: int) -> None:
    threads.use(count)
    gate = threading.Event()

    def thread() -> int:
        gate.wait()
        return threading.get_ident()

    waiting = [threads.beside(thread) for _ in range(4)]
    gate.set()
    assert len({one.result() for one in waiting}) <= max(count - 1, 1)


def graph_of(text: str) -> Graph:
    return read_spec(text, "test.roll")[0]


def test_most_networks_can_be_split() -> None:
    for name, path in resources.specs().items():
        graph = graph_of(path.read_text(encoding="utf-8"))
        assert partial_sums(graph) is not None, name
        assert partial_sums(adjoint(graph)) is not None, name


GRAPH = """rollc graph 1  stage graph
net loss
axis t

x     = input()                          : float over t, batch
p     = param() {initialiser=ones}       : float
zero  = constant() {value=0.0}           : float
some  = greater(p, zero)                 : bool
a     = multiply(p, h[t-1])              : float over t, batch
b     = add(a, x)                        : float over t, batch
h     = tanh(b)                          : float over t, batch
each  = mean_over(h) {over=[t]}          : float over batch
total = mean_over(each) {over=[batch]}   : float
loss  = LOSS : float

loss loss
"""


@pytest.mark.parametrize(
    ("loss", "splits"),
    [
        ("identity(total)", True),
        ("multiply(total, p)", True),
        ("divide(total, p)", True),
        ("add(total, total)", True),
        ("where(some, total, zero)", True),
        ("where(some, total, p)", False),
        ("max_over(each) {over=[batch]}", False),
        ("exp(total)", False),
        ("multiply(total, total)", False),
        ("divide(p, total)", False),
        ("add(total, p)", False),
    ],
)
def test_what_needs_all_sequences_at_once_stays_whole(
    loss: str, splits: bool, tmp_path: Path
) -> None:
    forward = parse_graph(GRAPH.replace("LOSS", loss))
    assert (partial_sums(forward) is not None) == splits
    graph = adjoint(forward)
    program = build.compiled(graph, "float64")
    assert program.program.splits == splits
    if loss not in ("exp(total)", "divide(total, p)"):
        return  # two are enough to compile
    path = tmp_path / "kernel.py"
    path.write_text(program.source)
    leaves = {"p": np.array(0.7), "x": np.random.default_rng(0).normal(size=(STEPS, 11))}
    threads.use(3)
    found = Kernel(program.program, path, "float64").run(leaves, STEPS, 11, ("primal", "adjoint"))
    expected = interpret(graph, leaves, {"t": STEPS, "batch": 11})
    assert found["loss", "loss"] == pytest.approx(float(expected["loss"]), rel=1e-12)
    gradient = dict(graph.gradients)["p"]
    assert found["gradient", "p"] == pytest.approx(float(expected[gradient]), rel=1e-12)


def test_sums_of_vectors_times_numbers_take_each_part_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread's rows of an input lie apart, step by step, and the sum went over others' rows."""
    on_machine(monkeypatch, thread_start=0, product_rows=1)
    text = "net n\ninput x: [4]\nparam p: [4]\ny = tanh(dot(p, x))\noutput y\n"
    graph = adjoint(read_spec(f"{text}loss mean(y, over t)\n", "n.roll")[0])
    made = build.compiled(graph, "float64")
    path = tmp_path / "kernel.py"
    path.write_text(made.source)
    random = np.random.default_rng(0)
    leaves = {"p": random.normal(size=4), "x": random.normal(size=(STEPS, 11, 4))}
    expected = interpret(graph, leaves, {"t": STEPS, "batch": 11})[dict(graph.gradients)["p"]]
    kernel = Kernel(made.program, path, "float64")
    for count in (1, 2, 3):
        threads.use(count)
        found = kernel.run(leaves, STEPS, 11, ("primal", "adjoint"))
        np.testing.assert_allclose(found["gradient", "p"], expected, rtol=1e-12)


def test_threads_have_about_as_many_sequences_each(network: Network) -> None:
    kernel = network._kernel("forward")
    for batch, count, parts in ((20, 2, [10, 10]), (17, 2, [9, 8]), (100, 3, [34, 34, 32])):
        threads.use(count)
        shares = kernel.sharding.shares({"t": STEPS}, batch)
        assert [share.stop - share.start for share in shares] == parts


def test_numbers_alone_are_not_shared_out() -> None:
    """They take as long to copy as to compute."""
    text = "net n\ninput x\nparam a, b\ny = b * x - a * y[t-1]\noutput y\nloss mean(y, over t)\n"
    graph = read_spec(text, "n.roll")[0]
    graph = build.kernel_graphs(graph)["gradient"]()
    program = build.compiled(graph, "float32").program
    assert product_work(program, 100_000, 64) == 0
    assert work(program, 100_000, 64) > registry.backend().target.thread_start


def test_where_no_step_reads_a_matrix_few_sequences_are_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_machine(monkeypatch, thread_start=0, product_rows=8)
    monkeypatch.setattr(threads, "_chosen", 2)
    head = "net n\ninput x: [4]\nparam W: [4, 4], a: [4]\n"
    for body, count in (("h = a * h[t-1] + W @ x", 2), ("h = tanh(W @ h[t-1] + x)", 1)):
        graph = read_spec(f"{head}{body}\noutput h\n", "n.roll")[0]
        built = build.compiled(build.kernel_graphs(graph)["forward"](), "float32")
        kernel = Kernel(built.program, tmp_path / "n.py", "float32")
        assert len(kernel.sharding.shares({"t": 9}, 4)) == count
