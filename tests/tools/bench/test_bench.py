"""``rollc bench``: what it makes of times, and that all peers compute the same."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.interpreter import interpret
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.tools.bench import peers, report, summary, worker
from rollc.tools.bench.conductor import Measured, Row, Settings, largest_difference
from rollc.tools.bench.data import Array, Problem, problem, read_problem, write_problem
from rollc.tools.bench.statistics import geometric_mean, ratios, spread
from rollc.tools.bench.systems import system
from rollc.tools.bench.task import Mode, Ready, Task, task_of
from rollc.tools.bench.workers import PeerError, Worker, WorkerLost, workers
from rollc.tools.bench.workloads import WORKLOADS, Size, Workload, chosen
from rollc.tools.cli import benching, main

TINY = Size(8, 3, 8)
SYSTEMS = tuple(dict.fromkeys(workload.system for workload in WORKLOADS))


def tiny(name: str, size: Size = TINY) -> Workload:
    (workload,) = chosen([name], [size])
    return workload


# Statistics and tables


def test_a_ratio_is_taken_within_a_round() -> None:
    """A machine that is twice as slow in one round changes no ratio."""
    ours, theirs = (1.0, 2.0, 1.0), (2.0, 4.0, 2.0)
    assert ratios(ours, theirs) == (0.5, 0.5, 0.5)
    found = spread([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)


def row(name: str, mode: Mode = "gradient", threads: int = 1, **peers: float) -> Row:
    """A row where rollc takes a second and a peer as long as its ratio says."""
    (workload,) = chosen([name])
    times = {peer: Measured((1 / ratio,) * 3, 0.0) for peer, ratio in peers.items()}
    task = Task(workload, "float32", mode, threads)
    return Row(task, Measured((1.0,) * 3, 0.0), times, peak=(10.0,) * 3, multiply_adds=9)


def test_the_best_peer_is_the_fastest() -> None:
    found = row("lif-100x32x128", jax=0.2, pytensor=0.5)
    assert found.best == "pytensor"
    assert found.share is not None
    assert found.share.median == pytest.approx(0.9)
    assert row("lif-100x32x128").best is None
    assert replace(found, multiply_adds=0).share is None


def test_groups_are_held_to_what_is_meant() -> None:
    rows = [
        row("lstm-100x32x128", torch=0.4, jax=0.9),
        row("gru-100x32x128", torch=0.9),
        row("lif-100x32x128", jax=0.2, pytensor=0.5),
        row("iir-44100x1x1", mode="forward", jax=0.1),
    ]
    built_in, own = summary.groups(rows)
    assert (built_in.rows, built_in.mean) == (2, pytest.approx(0.6))
    assert built_in.worst == pytest.approx(0.9)
    assert built_in.where == "gru-100x32x128 gradient float32 1 thread"
    assert (built_in.mean_limit, built_in.worst_limit) == (0.70, 1.00)
    assert own.mean == pytest.approx(0.5)
    builds = {"cold": [2.0, 4.0, 5.0], "warm": [1.0], "run": [0.5]}
    share, cold, run, memory = summary.limits(rows, builds, {"rollc": 8, "torch": 10})
    assert [share.met, cold.met, run.met, memory.met] == [True, False, True, True]
    assert share.found == pytest.approx(90)


def test_reports() -> None:
    rows = [row("lstm-100x32x128", torch=0.4, jax=0.05), row("iir-44100x1x1", numba=1.01)]
    found = report.Report(Settings(), rows, memory={"rollc": 10**8})
    text = report.markdown(found, "rollc bench")
    assert "| lstm-100x32x128 | gradient | float32 | 1 | 1e+03 | 90% | torch | 0.40 |" in text
    assert "| jax 0.05 |" in text
    assert "1.01 (1.05)" in text
    data = json.loads(json.dumps(report.as_data(found, "rollc bench")))
    assert data["rows"][0]["peers"]["jax"]["times"] == [20.0, 20.0, 20.0]


def test_differences_are_found() -> None:
    expected = {"loss": np.ones(()), "grad.a": np.array([100.0, 0.0]), "grad.b": np.zeros(2)}
    assert largest_difference(expected, expected) == (0.0, "")
    moved = {**expected, "grad.a": np.array([100.0, 1.0])}
    assert largest_difference(moved, expected) == (pytest.approx(0.01), "grad.a")
    # Against gradients of 100, a gradient of nothing is not known better than to 1e-3 of them.
    small = {**expected, "grad.b": np.array([0.0, 1e-3])}
    assert largest_difference(small, expected) == (pytest.approx(0.01), "grad.b")
    wrong: list[dict[str, Array]] = [
        {"loss": np.ones(())},
        {**expected, "grad.a": np.array([[100.0, 0.0]])},
        {**expected, "loss": np.full((), np.nan)},
    ]
    for found in wrong:
        assert not largest_difference(found, expected)[0] < math.inf


# Workloads


def test_names_are_unique_and_peers_known() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    assert {peer for workload in WORKLOADS for peer in workload.peers} <= set(peers.PEERS)
    for name in SYSTEMS:
        assert callable(system(name))


def test_names_are_chosen() -> None:
    assert [workload.name for workload in chosen(["lstm-100x32x*"])] == [
        "lstm-100x32x128",
        "lstm-100x32x64",
    ]
    assert {workload.system for workload in chosen(["gru", "rnn"])} == {"gru", "rnn"}
    assert chosen([]) == WORKLOADS
    with pytest.raises(InputError, match="did you mean `oscillator`"):
        chosen(["osillator"])


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_spec_has_nothing_odd(name: str) -> None:
    workload = tiny(name)
    read = load_graph(Source("bench.roll", workload.spec))
    assert read.diagnostics == (), render(read.diagnostics, read.source)


def test_the_work_is_that_of_the_products() -> None:
    steps, batch, width = TINY
    for name, count in {"lstm": 8, "rnn": 2, "stacked": 16, "iir": 0}.items():
        assert problem(tiny(name), "float32").products == count * steps * batch * width**2


def test_tasks_and_problems_reach_other_processes(tmp_path: Path) -> None:
    task = Task(tiny("gru"), "float64", "forward", 2)
    assert task_of(json.loads(json.dumps(task.as_data()))) == task
    made = problem(task.workload, task.dtype)
    write_problem(made, tmp_path / "data.npz")
    read = read_problem(tmp_path / "data.npz")
    assert read.products == made.products
    for name, value in {**made.params, **made.inputs, "g": made.g}.items():
        again = {**read.params, **read.inputs, "g": read.g}[name]
        np.testing.assert_array_equal(again, value)
        assert again.dtype == np.float64


# Peers


@cache
def expected(name: str, size: Size) -> tuple[Problem, dict[str, Array]]:
    """Numbers for a workload, and what rollc's interpreter makes of its spec."""
    workload = tiny(name, size)
    made = problem(workload, "float64")
    graph = adjoint(read_spec(workload.spec, "bench.roll")[0])
    leaves = {**made.params, **made.inputs, "g": made.g}
    values = interpret(
        graph, leaves, {**dict.fromkeys(graph.axes, size.steps), "batch": size.batch}
    )
    assert graph.loss is not None
    results = {f"grad.{leaf}": values[node] for leaf, node in graph.gradients}
    return made, {**results, "loss": values[graph.loss], "y": values[dict(graph.outputs)["y"]]}


def compare(peer: str, name: str, mode: Mode, size: Size = TINY) -> None:
    """Hold what a peer computes to the interpreter."""
    made, wanted = expected(name, size)
    dtype = "float64" if "float64" in peers.PEERS[peer].dtypes else "float32"
    given = Problem(
        {name: value.astype(dtype) for name, value in made.params.items()},
        {name: value.astype(dtype) for name, value in made.inputs.items()},
        made.g.astype(dtype),
        made.products,
    )
    ready = peers.function(peer)(Task(tiny(name, size), dtype, mode, 1), given)
    found = {name: np.asarray(value) for name, value in ready.results(ready.call()).items()}
    chosen = {"y": wanted["y"]} if mode == "forward" else dict(wanted)
    if mode == "gradient":
        del chosen["y"]
    difference, where = largest_difference(found, chosen)
    assert difference < (1e-11 if dtype == "float64" else 1e-5), (where, difference)


def need(peer: str) -> None:
    absent = peers.missing(peers.PEERS[peer])
    if absent:
        pytest.skip(f"{', '.join(absent)} is not installed: pip install .[bench]")


@pytest.mark.parametrize("name", SYSTEMS)
def test_numpy(name: str) -> None:
    compare("numpy", name, "forward")


@pytest.mark.parametrize("mode", ["forward", "gradient"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_pytorch_loop(name: str, mode: Mode) -> None:
    need("torch-eager")
    compare("torch-eager", name, mode)


@pytest.mark.parametrize("mode", ["forward", "gradient"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "stacked", "bidirectional"])
def test_pytorch_layers(name: str, mode: Mode) -> None:
    need("torch")
    compare("torch", name, mode)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("clockwork", "gradient"),
        ("lif", "gradient"),
        ("bidirectional", "gradient"),
        ("lstm_layer_norm", "forward"),
    ],
)
def test_jax(name: str, mode: Mode) -> None:
    """Not all systems, for its compiler takes long; these use all that is JAX's own."""
    need("jax")
    compare("jax", name, mode)


@pytest.mark.long
@pytest.mark.parametrize(("name", "mode"), [("lstm", "gradient"), ("bidirectional", "forward")])
def test_pytensor(name: str, mode: Mode) -> None:
    need("pytensor")
    compare("pytensor", name, mode)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_onnx_runtime(name: str) -> None:
    need("onnx")
    compare("onnx", name, "forward")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "name", ["lstm", *(pytest.param(name, marks=pytest.mark.long) for name in ("gru", "rnn"))]
)
@pytest.mark.parametrize("peer", ["rollc", "onnx", "torch"])
def test_steps(peer: str, name: str, batch: int) -> None:
    """The first call is the first step, and each call goes on from there."""
    if peer != "rollc":
        need(peer)
    size = TINY._replace(batch=batch)
    made, _ = expected(name, size)
    dtype = "float32"
    x = np.repeat(made.inputs["x"][:1], 3, axis=0)  # each call has the inputs of the first
    given = Problem(
        {key: value.astype(dtype) for key, value in made.params.items()},
        {"x": made.inputs["x"].astype(dtype)},
        made.g,
        made.products,
    )
    graph = read_spec(tiny(name, size).spec, "bench.roll")[0]
    leaves = {**made.params, "x": x, "g": made.g[:3]}
    values = interpret(graph, leaves, {"t": 3, "batch": batch})
    wanted = np.asarray(values[dict(graph.outputs)["y"]])
    ready = peers.function(peer)(Task(tiny(name, size), dtype, "step", 1), given)
    for step in range(3):
        found = ready.results(ready.call())["y"]
        np.testing.assert_allclose(found, wanted[step : step + 1], atol=1e-5)


def test_what_runs_step_by_step() -> None:
    streams = {name: tiny(name).streams for name in SYSTEMS}
    assert {name for name, runs in streams.items() if not runs} == {"attention", "bidirectional"}
    assert main(["bench", "attention", "--mode", "step"]) == 2
    need("torch")
    task = Task(tiny("stacked"), "float32", "step", 1)
    given = problem(task.workload, "float32")
    with pytest.raises(ValueError, match="there is no cell like `stacked`"):
        peers.function("torch")(task, given)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["iir", "oscillator"])
def test_numba_by_hand(name: str, batch: int) -> None:
    compare("numba", name, "gradient", TINY._replace(batch=batch))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "onnx" else find_spec)
    assert peers.missing(peers.PEERS["onnx"]) == ("onnx",)
    assert peers.missing(peers.PEERS["jax"]) == ()


# Processes and the command


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_first_calls_of_a_turn_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def call() -> None:
        nonlocal now
        now += 0.004 if now < 0.02 else 0.001

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    own = worker._Worker()
    own.ready["rollc"] = Ready(call, dict)
    assert own._turn("rollc", 0.0055) == pytest.approx([0.001] * 6)
    assert now == pytest.approx(worker.WARM_UP + 0.006)


def test_a_worker_is_halted_while_it_is_not_asked() -> None:
    with workers(1, 60) as made:
        for _ in range(2):
            made.ask("numpy", do="peak memory")
            process = made._by_library["numpy"]._process.pid
            deadline = time.monotonic() + 10
            while state_of(process) != "T" and time.monotonic() < deadline:
                time.sleep(0.01)
            assert state_of(process) == "T"


def state_of(process: int) -> str:
    """The state letter of a process."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_answers_and_can_be_lost() -> None:
    worker = Worker(1)
    try:
        assert worker.ask(60, do="peak memory")["bytes"] > 10**6
        with pytest.raises(PeerError, match="KeyError") as error:
            worker.ask(60, do="turn", peer="nobody", seconds=0)
        assert not isinstance(error.value, WorkerLost)
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(WorkerLost, match="no answer within 0 s"):
            worker.ask(0, do="forget")
    finally:
        worker.end()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstn"], "did you mean `lstm`"),
        (["lstm", "--peers", "jxa"], "did you mean `jax`"),
        (["lstm", "--size", "3x4"], "TxBxH"),
        (["lstm", "--threads", "0"], "1,2"),
        (["lstm", "--threads", "999"], "cores"),
        (["lstm", "--json", "no/such/folder/x.json"], "no/such/folder"),
    ],
)
def test_wrong_uses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("load", "threads", "said"), [(0.3, 2, False), (0.3, 1, False), (1.2, 1, False), (1.2, 2, True)]
)
def test_a_busy_machine_is_said(
    load: float,
    threads: int,
    said: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 9.0, 9.0))
    benching._say_if_busy(threads, cores=2)
    assert ("a load of 1.2 on 2 cores" in capsys.readouterr().err) == said


@pytest.mark.long
def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, times = tmp_path / "bench.md", tmp_path / "bench.json"
    command = ["bench", "rnn", "--size", "6x2x4", "--quick", "--rounds", "2", "--threads", "1"]
    command += ["--peers", "numpy", "--markdown", str(table), "--json", str(times)]
    assert main(command) == 0
    assert "numpy" in capsys.readouterr().out
    assert "| rnn-6x2x4 | forward | float32 | 1 |" in table.read_text()
    data: dict[str, Any] = json.loads(times.read_text())
    forward, gradient = data["rows"]
    assert len(forward["rollc"]["times"]) == len(forward["peak"]) == 2
    assert forward["peers"]["numpy"]["difference"] < 1e-5
    assert gradient["peers"] == {}
    assert gradient["multiply-adds"] == 3 * forward["multiply-adds"] > 0
