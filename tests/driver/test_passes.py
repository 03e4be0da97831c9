"""The list of passes: each by itself, text in and text out; all of them in a row; some left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import KERNEL_PASSES, PASSES, compiled
from rollc.driver.sources import read_spec
from rollc.driver.stages import result_text
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.text import is_graph_text, parse_graph, print_graph
from rollc.kernel.text import parse_program, parse_schedule
from rollc.kernel.verification.verifier import verify_any
from rollc.support.passes import Pass, Runner
from rollc.support.resources import specs
from rollc.tools.cli import main, rollc
from tests.helpers.paths import GOLDEN
from tests.helpers.processes import plain_python
from tests.kernel.test_kernel_texts import NETWORKS

BY_NAME = {pass_.name: pass_ for pass_ in PASSES}

STATE = """
net small
input x
target y
param a, b
h = a * h[t-1] + tanh(b * x)
output h
loss mean(mse(h, y), over t)
"""
WINDOW = """
net window
input x
param a
h = a * h[t-1] + x
output h
"""
SLICES = """
net gates
dim H = 2
input x: [H]
param W: [4, H], b: [4]
p = W @ x + b
z, n = split(p, 2)
h = sigmoid(z) * h[t-1] + tanh(n)
output h
"""
FILTER = """
net filter
input x
param a, b, c
y = a * x + b * y[t-1] + c * y[t-2]
output y
"""
TRAINED = f"{FILTER}target z\nloss mean(mse(y, z), over t)\n"
ADJOINT = print_graph(adjoint(read_spec(STATE, "state.roll")[0]))
CLOCK = """
net clock
dim H = 2
input x: [H]
param W: [H, H]
p = where(p[t-1] > 0.5, 0, 1)
h = where(p > 0.5, tanh(W @ x), h[t-1])
output h
"""
STEPS = """
net two
time s, t
input a[s], b[t]
param k
e = tanh(k * a + e[s-1])
d = tanh(k * b + d[t-1] + last(e, over s))
output d
"""
PLANE = """
net plane
time s, t
input x[s, t]
param a
h = tanh(a * h[s-1] + h[t-1] + x)
output h
"""
DROPOUT = """
net noisy
input x
y = dropout(x, rate=0.5)
output y
"""
SCALED = """
net scaled
input x
param k
u = tanh(x + v[t-1])
v = k * u
output u
"""
COMMON = """
net common
input x
param a, b
y = x - a * y[t-1] - b * y[t-1]
output y
"""
KEPT = """
net kept
input x
param a
z = sigmoid(a * h[t-1])
h = (1 - z) * x
output h
loss mean(h, over t)
"""
PAST = """
net past
input x
param a
y = a * x[t-1] + y[t-1]
output y
"""
DOT = """
net product
dim H = 2
input x: [H]
param w: [H]
y = sum(w * x)
output y
"""
CONDITION = """
net condition
input x
y = 2 * (x > 0)
output y
"""
SLOPE = """
net slope
input x
fn step(v) = where(v > 0, 1, 0)
grad v: 1
y = step(x)
output y
"""
DELAYED = """
net delayed
input x
p = tanh(x)
q = sin(x)
y = p[t-1] + q[t-1]
output y
"""

# A spec in which each pass has something to do, the kernel, and what the pass is given besides.
CASES: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "noise": (DROPOUT, "forward", ()),
    "split-steps": (STEPS, "forward", ("t",)),
    "split-windows": (STATE, "gradient", ()),
    "split-segments": (STATE, "gradient", ()),
    "expose-state": (STATE, "forward", ()),
    "truncate": (STATE, "gradient", (3,)),
    "ragged-batch": (STATE, "forward", ()),
    "canonicalize": (STATE, "forward", ()),
    "keep-outputs": (STATE, "forward", ()),
    "keep-loss": (STATE, "loss", ()),
    "adjoint": (STATE, "gradient", ("loss",)),
    "average-adjoint": (STATE, "gradient", ("loss",)),
    "adjoint-by-sequence": (STATE, "by_sequence", ()),
    "tangent": (WINDOW, "forward", (["a"],)),
    "keep-gradients": (ADJOINT, "gradient", ()),
    "pushforward": (WINDOW, "jvp", (["a", "x"],)),
    "inline-gradients": (SLOPE, "forward", ()),
    "unroll": (STATE, "forward", (2,)),
    "decompose": (STATE, "gradient", ()),
    "fuse-dots": (DOT, "forward", ()),
    "convert-conditions": (CONDITION, "forward", ()),
    "sink-slices": (SLICES, "forward", ()),
    "collect-delayed-sums": (DELAYED, "forward", ()),
    "delay-before-scaling": (SCALED, "forward", ()),
    "factorize": (COMMON, "forward", ()),
    "order-sums": (FILTER, "forward", ()),
    "rematerialize": (KEPT, "gradient", ()),
    "predicate": (CLOCK, "forward", ()),
    "schedule": (STATE, "gradient", ()),
    "bufferize": (STATE, "forward", ()),
    "fuse-contractions": (TRAINED, "gradient", ()),
    "block-time": (SLICES, "forward", ()),
    "elide-halos": (PAST, "forward", ()),
    "skew-buffers": (PLANE, "forward", ()),
    "stride-io": (SLICES, "forward", ()),
    "separate-prologue": (SLICES, "forward", ()),
    "emit": (FILTER, "forward", ("float64",)),
}


def as_text(value: Any) -> str:
    text = result_text(value)
    if text is not None:
        return text
    parts = [getattr(value, name) for name in type(value).__dataclass_fields__]
    several = [
        part for found in parts for part in (found if isinstance(found, tuple) else (found,))
    ]
    graphs = [getattr(part, "window", part) for part in several]
    return "\n".join(print_graph(graph) for graph in graphs if isinstance(graph, Graph))


def from_text(text: str) -> Any:
    parse: dict[str, Callable[[str], Any]] = {"schedule": parse_schedule, "program": parse_program}
    return parse.get(text.split()[1], parse_graph)(text)


@cache
def given_to(name: str) -> Any:
    """What a pass of a kernel is given on the way."""
    spec, kernel, _ = CASES[name]
    graph, _ = read_spec(spec, "case.roll")
    run = Runner(keep=True)
    compiled(kernel_graphs(graph)[kernel](), "float64", run=run)
    return next(record.before for record in run.records if record.name == name)


def test_every_pass_is_tried_and_has_a_name_of_its_own() -> None:
    names = [pass_.name for pass_ in PASSES]
    assert len(set(names)) == len(names)
    assert sorted(CASES) == sorted({*names} - {"compile"})


@pytest.mark.parametrize("name", CASES)
def test_text_in_and_text_out(name: str, expect: Callable[[str, Path], None]) -> None:
    spec, _, options = CASES[name]
    if BY_NAME[name] in KERNEL_PASSES:
        before = as_text(given_to(name))
    else:
        from rollc.lang.diagnostics.source import Source
        from rollc.lang.load import load_graph

        graph = load_graph(Source("case.roll", spec)).graph
        before = spec if is_graph_text(spec) else as_text(graph)
    after = as_text(BY_NAME[name].run(from_text(before), *options))
    assert after != before, "a pass that has nothing to do"
    expect(f"{before}\n-> {name}\n\n{after}", GOLDEN / "passes" / f"{name}.txt")


def verified(pass_: Pass, value: Any) -> None:
    assert verify_any(value) == [], pass_.name


WELL_FORMED = {
    "slices of conditions": """
        net cut
        input x: [4]
        h = where(x > 0.5, x, 0.1 * x)
        y = sum(h[0:2]) * h[3]
        output y
    """,
    "sums of numbers in a sum of vectors": """
        net wide
        input x, u
        param a: [2]
        h = a * h[t-1] + x + u
        output h
    """,
    "a number where there is no product yet": """
        net zeros
        input x
        param W: [2, 2]
        h = W @ h[t-1] + x
        output h
    """,
}


@pytest.mark.parametrize("what", WELL_FORMED)
def test_what_each_pass_makes_of(what: str) -> None:
    graph, _ = read_spec(dedent(WELL_FORMED[what]), "spec.roll")
    for steps in (None, 4):
        run = Runner(verify=verified)
        for make in kernel_graphs(graph, run=run).values():
            compiled(make(), "float64", steps, run)


@pytest.mark.long
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", specs())
def test_what_each_pass_makes_is_well_formed(name: str) -> None:
    graph, _ = read_spec(specs()[name].read_text(encoding="utf-8"), name)
    run = Runner(verify=verified)
    for make in kernel_graphs(graph, run=run).values():
        compiled(make(), "float32", run=run)
    assert {record.name for record in run.records} <= BY_NAME.keys()


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("network", NETWORKS)
def test_optional_passes_can_be_left_out(network: str) -> None:
    """Kernels as plain Python, to the interpreter."""
    run = plain_python("tests.commands.passes_left_out", network)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]


def command(*words: str) -> str:
    result = CliRunner().invoke(rollc, words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "small.roll").write_text(STATE)
    return str(tmp_path / "small.roll")


def test_the_command_lists_passes(spec: str) -> None:
    assert [line.split()[0] for line in command("passes").splitlines() if line[0] != " "] == [
        *BY_NAME
    ]
    rows = {line.split()[0]: line.split()[1:] for line in command("passes", spec).splitlines()}
    assert rows["adjoint"] == ["1", "1", "small"]
    assert rows["tangent"] == ["0", "0"]
    assert rows["predicate"] == ["0", "0"]  # it runs, and has nothing to do


def test_the_command_prints_what_a_pass_makes(spec: str) -> None:
    found = command("ir", spec, "--after", "decompose")
    assert "mean_over" not in found
    parse_graph(found)
    parse_schedule(command("ir", spec, "--after", "schedule", "--kernel", "forward"))
    parse_program(command("ir", spec, "--after", "bufferize", "--without", "sink-slices"))
    plain, optimised = (
        command("ir", spec, "--stage", "kernel", *words)
        for words in ([], ["--without", "canonicalize", "--without", "block-time"])
    )
    assert plain != optimised and "for begin in" not in optimised
    assert "digraph" in command("ir", spec, "--after", "adjoint", "--format", "dot")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--after", "adjoin"], "no pass has the name `adjoin`; did you mean `adjoint`?"),
        (["--after", "tangent"], "`tangent` does not run for the kernel `gradient`; these do: "),
        (["--stage", "kernel", "--without", "emit"], "`emit` cannot be left out; those that can"),
        (["--stage", "checked", "--without", "canonicalize"], "`--without` has no effect"),
        (["--after", "bufferize", "--format", "dot"], "what `bufferize` makes is no graph"),
    ],
)
def test_wrong_passes(
    spec: str,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    assert main(["ir", spec, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_stage_or_a_pass_is_asked_for(spec: str) -> None:
    result = CliRunner().invoke(rollc, ["ir", spec])
    assert result.exit_code == 2 and "give --stage or --after" in result.output


def test_times_of_a_build(spec: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rollc", "build", spec, "--no-cache", "--timings"]
    built = subprocess.run([*words, "-o", str(tmp_path / "b")], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    rows = dict(line.split()[::2] for line in built.stderr.splitlines() if len(line.split()) == 3)
    assert {"canonicalize", "schedule", "emit", "compile", "load"} <= rows.keys()
