"""Threads that help with the large products of few sequences: the same numbers, to the last bit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from rollc.backends.numba import worker_team
from rollc.backends.numba.jit import object_code
from rollc.backends.numba.library.team_layout import (
    ARRAYS,
    CLOSED,
    DONE,
    KIND,
    LIMIT,
    NUMBERS,
    THREADS,
    TICKET,
)
from rollc.backends.numba.worker_team import WorkerTeam
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


@pytest.fixture(scope="module", params=["float32", "float64"])
def network(request: pytest.FixtureRequest) -> Network:
    return network_of(SPEC, request.param)


@pytest.fixture(autouse=True)
def always_helped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    on_machine(monkeypatch, team_start=0, thread_start=10**15)
    monkeypatch.setattr(WorkerTeam, "call", WorkerTeam._with_team)
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    yield
    threads.use(None)


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


def test_every_product_of_all_steps_is_a_job(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    teams: list[Array] = []

    def noted(*given: Any) -> Array:
        teams.append(empty(*given))
        return teams[-1]

    monkeypatch.setattr(worker_team, "empty", noted)
    threads.use(2)
    results(network, 1)
    forward, gradient = teams[1], teams[0]
    blocks = 2
    # U @ x; then that, both weights' gradients, and the inputs'.  No chunk of a job is left.
    assert forward[0, TICKET] == LIMIT * blocks
    assert gradient[0, TICKET] == LIMIT * blocks * 4


def test_several_callers_have_teams_of_their_own(network: Network) -> None:
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


def test_nobody_waits_for_helpers_that_never_come(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.use(1)
    expected = results(network, 1)
    asked: list[Future[None]] = []

    def never(function: Any) -> Future[None]:
        asked.append(Future())
        return asked[-1]

    monkeypatch.setattr(threads, "beside", never)
    threads.use(4)
    equal(results(network, 1), expected)
    assert len(asked) == 2 * 3
    assert all(one.cancelled() for one in asked)


def test_it_goes_without_threads_that_cannot_be_started(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.use(1)
    expected = results(network, 1)

    def none_left(function: Any) -> Future[None]:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "beside", none_left)
    threads.use(4)
    equal(results(network, 1), expected)


def job(network: Network, kind: int, numbers: list[int], arrays: list[Array]) -> Array:
    """A team with a job that is laid out, as a kernel does it."""
    words = empty((1, 67), np.dtype(np.int64))
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


def test_a_helper_does_what_is_laid_out_until_the_team_is_closed(network: Network) -> None:
    """The job is a sum of products in chunks of 8 rows, of which another thread has one."""
    dtype = network._kernel("forward").memory.dtype
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(50, width)).astype(dtype) for width in (21, 30))
    out = np.full((1, 21 * 30), 7, dtype)
    words = job(network, 1, [0, 0, 21, 0, 0, 30, 50, False, 8], [a, b, out])
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
    words[0, CLOSED] = 1
    thread.join(5)
    assert not thread.is_alive()


def test_what_fails_lets_the_helpers_go(network: Network) -> None:
    threads.use(2)
    dtype = network._kernel("forward").memory.dtype
    helping = network._kernel("forward").functions.phases["work_for_team"]
    seen: list[int] = []

    def failing(team: int) -> None:
        seen.append(team)
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        WorkerTeam(helping, np.empty((1, 1), dtype)).call(failing, 1)
    assert seen[0] != 0
    assert threads.beside(lambda: None).result(5) is None  # the only thread is free again


CALL = WorkerTeam.call


@pytest.mark.parametrize(("alone", "together"), [(3.0, 2.0), (2.0, 3.0)])
def test_helpers_are_asked_where_they_gain(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float
) -> None:
    monkeypatch.setattr(worker_team, "PERIOD", 20)
    monkeypatch.setattr(worker_team, "LONGEST", 40)
    asked: list[Any] = []
    now = [0.0]
    monkeypatch.setattr(worker_team, "perf_counter", lambda: now[0])
    monkeypatch.setattr(threads, "beside", lambda function: asked.append(function) or Future())
    calls: list[bool] = []

    def function(team: int) -> None:
        calls.append(team != 0)
        # The first call of all takes longer in any case.
        now[0] += (together if team else alone) + 10 * (len(calls) == 1)

    team = WorkerTeam(lambda numbers, arrays: lambda: None, np.empty((1, 1)))  # type: ignore

    def run(period: int) -> None:
        """The calls up to the next comparison: some of either way, and the faster way."""
        calls[:] = [True]
        for _ in range(period):
            CALL(team, function, 9)
        tried, rest = calls[1 : 1 + 2 * worker_team.TRIES], calls[1 + 2 * worker_team.TRIES :]
        assert tried == [True, False] * worker_team.TRIES
        assert rest == [together < alone] * (period - 2 * worker_team.TRIES)

    gains = together < alone
    run(40 if gains else 20)  # that they gain is taken for granted at first
    run(40)
    run(40)
    alone, together = together, alone  # what gains can change
    run(20)
    run(40)
    assert len(asked) % worker_team.MOST == 0


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
