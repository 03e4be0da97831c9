"""Threads that help with large products: the same numbers as without, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from rollc.backends.numba import worker_team
from rollc.backends.numba.jit import object_code
from rollc.backends.numba.library.team_layout import (
    ARRAYS,
    CALLS,
    DONE,
    KIND,
    LIMIT,
    NUMBERS,
    OWNED,
    TEAM,
    THREADS,
    TICKET,
    WORKERS,
)
from rollc.backends.numba.worker_team import Workers, WorkerTeam
from rollc.network.network import Network
from rollc.support import threads
from rollc.support.allocator import empty
from tests.helpers.compiled_networks import network_of, on_machine

Array = np.ndarray[Any, Any]

# Products of all steps large enough to be shared, tiles that are not full, and a loss.
SPEC = """
net few
dim D = 21, H = 27
input x: [D]
target y: [H]
param U: [3*H, D], W: [3*H, H]
g = U @ x + W @ h[t-1]
h = sigmoid(g[0:H]) * h[t-1] + sigmoid(g[H:2*H]) * tanh(g[2*H:3*H])
output h
loss mean(mse(h, y), over t)
"""
STEPS = 450
# Products of a step large enough to be shared, the last of their tiles not full.
STEP = """
net wide
dim D = 190, H = 200
input x: [D]
param U: [3*H, D], W: [3*H, H]
init s = 0.1
g = U @ x + W @ s[t-1]
s = sigmoid(g[0:H]) * s[t-1] + sigmoid(g[H:2*H]) * tanh(g[2*H:3*H])
output s
"""


@pytest.fixture(scope="module", params=["float32", "float64"])
def network(request: pytest.FixtureRequest) -> Network:
    return network_of(SPEC, request.param)


@pytest.fixture(scope="module", params=["float32", pytest.param("float64", marks=pytest.mark.long)])
def wide(request: pytest.FixtureRequest) -> Network:
    return network_of(STEP, request.param)


COMPARE = WorkerTeam.compare


@pytest.fixture(autouse=True)
def always_helped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    on_machine(monkeypatch, team_start=0, thread_start=10**15)
    monkeypatch.setattr(WorkerTeam, "compare", lambda self, run, workers: run(True))
    monkeypatch.setattr(worker_team, "_workers", {})
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    yield
    threads.use(None)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers seem to be there, and none is."""

    def seem(self: Workers) -> None:
        self.fields[WORKERS] = self.count

    monkeypatch.setattr(Workers, "gather", seem)


def jobs(calls: int = 0) -> int:
    """The jobs so far."""
    (workers,) = worker_team._workers.values()
    assert workers.fields[TICKET] % LIMIT == 0  # no chunk is left
    assert workers.fields[OWNED] == 0
    assert workers.fields[CALLS] == calls
    return int(workers.fields[TICKET]) // LIMIT


@contextmanager
def staying() -> Iterator[Workers]:
    """The workers, which are all there meanwhile."""
    (workers,) = worker_team._workers.values()
    with workers.call():
        until(lambda: workers.there)
        yield workers


def results(network: Network, batch: int) -> list[Array]:
    random = np.random.default_rng(batch)
    given = {
        "x": random.normal(size=(STEPS, batch, 21)),
        "y": random.normal(size=(STEPS, batch, 27)),
    }
    params = network.init(1)
    loss, gradients = network.value_and_grad(params, given)
    arrays = [network.forward(params, given)["h"], np.asarray(loss)]
    return arrays + [gradients[name] for name in ("U", "W", "x")]


def equal(found: list[Array], expected: list[Array]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("batch", "count"),
    [(1, 2), (3, 5), *(pytest.param(*each, marks=pytest.mark.long) for each in ((1, 5), (3, 2)))],
)
def test_the_numbers_are_those_of_one_thread(network: Network, batch: int, count: int) -> None:
    threads.use(1)
    expected = results(network, batch)
    threads.use(count)
    for _ in range(5):
        equal(results(network, batch), expected)


@pytest.mark.usefixtures("absent")
def test_every_product_of_all_steps_is_a_job(network: Network) -> None:
    threads.use(1)
    expected = results(network, 1)
    threads.use(4)
    first = results(network, 1)
    blocks = 2
    # U @ x; then that, both weights' gradients, and the inputs'.
    assert jobs() == 1 + blocks * (1 + 4)
    equal(first, expected)


@pytest.mark.usefixtures("absent")
def test_large_products_of_a_step_are_jobs(wide: Network) -> None:
    params, given = wide.init(1), {"x": np.random.default_rng(0).normal(size=(5, 2, 190))}
    threads.use(1)
    expected = wide.forward(params, given)["s"]
    threads.use(4)
    np.testing.assert_array_equal(wide.forward(params, given)["s"], expected)
    assert jobs() == 1 + 1 + 5
    stepped(wide.prepare(params).stream(), 4)
    assert jobs() == 1 + 1 + 5 + 4 * 2


def test_several_callers_have_one_team(network: Network) -> None:
    threads.use(1)
    expected = results(network, 1)
    threads.use(3)
    found: list[list[Array]] = []
    callers = [
        threading.Thread(target=lambda: found.extend(results(network, 1) for _ in range(10)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 40
    for one in found:
        equal(one, expected)


def test_it_goes_without_threads_that_cannot_be_started(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.use(1)
    expected = results(network, 1)

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    threads.use(4)
    equal(results(network, 1), expected)
    assert jobs() == 1


def job(network: Network, kind: int, numbers: list[int], arrays: list[Array]) -> Array:
    """A team with a job that is laid out, as a kernel does it."""
    words = empty((1, TEAM), np.dtype(np.int64))
    words[...] = 0
    words[0, [THREADS, KIND]] = 2, kind
    words[0, NUMBERS : NUMBERS + len(numbers)] = numbers
    fields = [field for array in arrays for field in object_code._fields(array)]
    words[0, ARRAYS : ARRAYS + len(fields)] = fields
    return words


def help_with(network: Network, words: Array, like: Array) -> threading.Thread:
    helping = network._kernel("forward").functions.phases["work_for_team"]
    bound = helping([int(words.ctypes.data)], [like])
    thread = threading.Thread(target=bound)
    thread.start()
    return thread


def test_a_helper_does_what_is_laid_out_as_long_as_there_is_a_call(network: Network) -> None:
    """The job is a sum of products in chunks of 8 rows, of which another thread has one."""
    dtype = network._kernel("forward").memory.dtype
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(50, width)).astype(dtype) for width in (21, 30))
    out = np.full((1, 21 * 30), 7, dtype)
    words = job(network, 2, [8, 0, 0, 21, 0, 0, 30, 50, False], [a, b, out])
    words[0, CALLS] = 1
    thread = help_with(network, words, a)
    time.sleep(0.05)
    assert np.all(out == 7)  # no chunk was offered
    words[0, TICKET] = LIMIT + 2  # the third is taken
    while words[0, DONE] < 2:
        time.sleep(0.001)
    expected = a.T @ b
    np.testing.assert_allclose(out.reshape(21, 30)[:16], expected[:16], rtol=1e-4, atol=1e-5)
    assert np.all(out.reshape(21, 30)[16:] == 7)
    assert words[0, TICKET] == LIMIT
    assert thread.is_alive()
    assert words[0, WORKERS] == 1
    words[0, CALLS] = 0
    thread.join(5)
    assert not thread.is_alive()
    assert words[0, WORKERS] == 0


def test_what_fails_lets_the_helpers_go(network: Network) -> None:
    dtype = network._kernel("forward").memory.dtype
    helping = network._kernel("forward").functions.phases["work_for_team"]
    seen: list[int] = []

    def failing(team: int) -> None:
        seen.append(team)
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        WorkerTeam(helping, np.empty((1, 1), dtype)).call(failing, 1)
    assert seen[0] != 0
    left(*worker_team._workers.values())


def left(workers: Workers) -> None:
    """Wait until all workers have left, which takes them a while."""
    until(lambda: workers.fields[CALLS] == 0 and not any(workers._asked))
    assert workers.fields[WORKERS] == 0


def until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize(("alone", "together"), [(3.0, 2.0), (2.0, 3.0)])
@pytest.mark.usefixtures("absent")
def test_helpers_are_asked_where_they_gain(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float
) -> None:
    monkeypatch.setattr(WorkerTeam, "compare", COMPARE)
    monkeypatch.setattr(worker_team, "PERIOD", 20)
    monkeypatch.setattr(worker_team, "LONGEST", 40)
    now = [0.0]
    monkeypatch.setattr(worker_team, "perf_counter", lambda: now[0])
    calls: list[bool] = []

    def function(team: int) -> None:
        calls.append(team != 0)
        # The first call of all takes longer in any case.
        now[0] += (together if team else alone) + 10 * (len(calls) == 1)

    team = WorkerTeam(lambda numbers, arrays: lambda: None, np.empty((1, 1)))  # type: ignore
    tries = worker_team.TRIES

    def run(period: int) -> None:
        """A comparison, and the calls up to the next one."""
        calls.clear()
        for _ in range(2 * tries + period):
            team.call(function, 9)
        assert calls[: 2 * tries] == [True] * tries + [False] * tries
        assert calls[2 * tries :] == [together < alone] * period

    team.call(function, 9)  # none is there yet
    gains = together < alone
    run(40 if gains else 20)  # that they gain is taken for granted at first
    run(40)
    run(40)
    alone, together = together, alone  # what gains can change
    run(20)
    run(40)
    assert [*worker_team._workers] == [("d", worker_team.MOST)]


def test_a_comparison_does_not_wait_for_workers_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerTeam, "compare", COMPARE)
    monkeypatch.setattr(Workers, "gather", lambda self: None)
    now = [1.0]
    monkeypatch.setattr(worker_team, "perf_counter", lambda: now[0])
    team = WorkerTeam(lambda numbers, arrays: lambda: None, np.empty((1, 1)))  # type: ignore
    for _ in range(100):
        team.call(lambda team: None, 1)
    now[0] += worker_team.PATIENCE
    for _ in range(2 * worker_team.TRIES):
        assert not team.left
        team.call(lambda team: None, 1)
    assert team.left


def test_few_products_are_not_worth_a_team(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        WorkerTeam, "call", lambda self, function, others: asked.append(function(0))
    )
    threads.use(2)
    results(network, 1)
    assert len(asked) == 2
    on_machine(monkeypatch, team_start=10**12)
    network._kernel("forward").memory.frames.clear()
    network._kernel("gradient").memory.frames.clear()
    results(network, 1)
    threads.use(1)
    on_machine(monkeypatch, team_start=0)
    results(network, 1)
    assert len(asked) == 2


# Streams ---------------------------------------------------------------------------------


def inputs(like: Array) -> Array:
    return np.random.default_rng(0).normal(size=(*like.shape[:-1], 190))


def stepped(stream: Any, count: int = 20) -> Array:
    """The outputs of the next steps."""
    like = np.empty((count, *stream.state["s"].shape[1:]))
    return np.array([stream({"x": x})["s"] for x in inputs(like)])


@pytest.mark.parametrize(("batch", "count"), [(None, 2), (3, 5)])
def test_steps_have_the_numbers_of_one_thread(wide: Network, batch: int | None, count: int) -> None:
    ready = wide.prepare(wide.init(1))
    threads.use(1)
    expected = stepped(ready.stream(batch=batch))
    threads.use(count)
    stream = ready.stream(batch=batch)
    stream.__copy__()({"x": np.zeros((190,) if batch is None else (batch, 190))})
    with staying() as workers:
        before = jobs(calls=1)
        np.testing.assert_array_equal(stepped(stream), expected)
        assert jobs(calls=1) == before + 2 * len(expected)
    state = ready.initial_state(None if batch is None else {"x": np.zeros((1, batch, 190))})
    for step, x in enumerate(inputs(expected)):
        outputs, state = ready.step(state, {"x": x})
        np.testing.assert_array_equal(outputs["s"], expected[step])
    left(workers)


def test_several_streams_have_one_team(wide: Network) -> None:
    ready = wide.prepare(wide.init(1))
    threads.use(1)
    expected = stepped(ready.stream(), 100)
    threads.use(3)
    found: list[Array] = []
    callers = [
        threading.Thread(target=lambda: found.append(stepped(ready.stream(), 100)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    for one in found:
        np.testing.assert_array_equal(one, expected)


def test_a_stream_can_go_while_its_workers_stay(wide: Network) -> None:
    ready = wide.prepare(wide.init(1))
    threads.use(1)
    expected = stepped(ready.stream())
    threads.use(2)
    for _ in range(20):
        stream = ready.stream()
        np.testing.assert_array_equal(stepped(stream, 2), expected[:2])
        del stream
    np.testing.assert_array_equal(stepped(ready.stream()), expected)


def test_an_error_leaves_a_stream_and_its_team_as_they_were(
    wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = wide.prepare(wide.init(1))
    threads.use(1)
    expected = stepped(ready.stream())
    threads.use(2)
    stream = ready.stream()

    def failing(self: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(object_code.Bound, "__call__", failing)
        with pytest.raises(MemoryError, match="no room"):
            stepped(stream)
    np.testing.assert_array_equal(stepped(stream), expected)
    left(*worker_team._workers.values())


def test_workers_are_asked_again_when_they_have_left(
    wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between comparisons too, and only where a team gains."""
    asked: list[Workers] = []
    monkeypatch.setattr(Workers, "gather", lambda self: asked.append(self))
    monkeypatch.setattr(WorkerTeam, "compare", COMPARE)
    threads.use(2)
    stream = wide.prepare(wide.init(1)).stream()
    now = {"x": np.zeros(190)}
    stream(now)
    steady = stream._stepper._resident._all  # type: ignore
    (workers,) = worker_team._workers.values()
    for there, gain in ((0, True), (0, False), (1, True)):
        asked.clear()
        workers.fields[WORKERS] = there
        steady._left = 1
        steady._choose(gain)
        before = jobs()
        stream(now)
        assert steady._left == 0
        assert len(asked) == (gain and not there)
        assert jobs() == before + 2 * there


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_workers_of_its_own(wide: Network) -> None:
    threads.use(2)
    stream = wide.prepare(wide.init(1)).stream()
    stepped(stream)
    (workers,) = worker_team._workers.values()
    workers.fields[OWNED] = 1  # as if another thread were in a product
    workers.fields[TICKET] += 1
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            stream(np.zeros(190))
            with staying():
                before = jobs(calls=1)
                stream(np.zeros(190))
                os._exit(jobs(calls=1) != before + 2)
        finally:
            os._exit(2)
    workers.fields[TICKET] -= 1
    workers.fields[OWNED] = 0
    assert os.waitpid(child, 0)[1] == 0
    stepped(stream)
    left(workers)


def test_a_process_does_not_wait_for_its_workers() -> None:
    program = """
import time
import numpy as np
from rollc.backends.numba.worker_team import Workers
workers = Workers(lambda numbers, arrays: lambda: time.sleep(600), np.empty((1, 1)), 2)
workers.gather()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
