"""Verify: it passes what is right, and finds what is wrong in every variant of a kernel.

The kernels' graphs are interpreted: to compile them takes long, and `test_shipped_specs.py` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.ir.graph import BATCH, Graph, Node
from rollc.ir.operations import OPERATIONS, Operation, history, operation_of
from rollc.kernel import passes
from rollc.kernel.program import Program
from rollc.support.passes import Pass
from rollc.tools.verify import Given, verify
from rollc.tools.verify.case import Case, finite_case
from rollc.tools.verify.case import case_of as own_case
from rollc.tools.verify.comparison import Row
from rollc.tools.verify.kernels import interpreted, kernels, variants
from rollc.tools.verify.passes import passes as verified_passes
from rollc.tools.verify.slopes import differences
from rollc.tools.verify.stages import stages
from rollc.tools.verify.ways import can_be_alone, own_lengths
from rollc.transforms.ragged import with_lengths
from tests.helpers.operation_cases import CASES, Bench
from tests.network.test_two_axes import attention

TEXT = """
net small
input x: [2], w: index(3)
target y: [2]
param A: [2, 2], E: [3, 2]
static input z: [2]
h = tanh(A @ h[t-2] + x + embed(E, w))
init h = z
pick = argmax(h)
q = A @ z
output h, pick, q
loss mean(sum((h - y) ** 2), over t) + sum(last(h) * z)
"""
INDICES = """
net indices
input x: [2], w: index(3)
target y: index(2)
param A: [2, 2], E: [3, 2], F: [2, 2]
h = tanh(A @ h[t-1] + x + embed(E, w[t-3]) + embed(F, pick[t-2]) + embed(F, y[t-1]))
pick = argmax(h)
output h, pick
loss mean(cross_entropy(h, y), over t)
"""
GRID = """
net grid
time s, t
input r[s]: [2], v[t]: [2], u[s]: [2], w[t]: index(3)
target y[t]
param A: [2, 2], E: [3, 2], f0: [2] = 0.3
b = tanh(u + A @ b[s+1] - 0.3 * b[s+3])
init b = f0
x = r * v
g = tanh(x + A @ g[t-2] + b)
init g = last(b)
c = mean(g, over s) + embed(E, w)
k = last(argmax(x * c), over s)
d = 0.5 * d[t+1] + max(g * c, over s) + where(k > 0, c, 2 * c[t-1])
init d = last(b)
init c = f0
share = softmax(sum(g), over s)
whole = mean(mean(g, over t), over s)
z = sum(share * log(share), over s)
all = max(max(g, over s), over t)
output d, k, z, g, all
loss mean((sum(d) + z - y) ** 2, over t) + sum(last(d)) + sum(whole) + sum(first(d))
"""
SHARED = """
net shared
input x: [2]
target y
param a: [2] = 0.4, A: [2, 2] = orthogonal
phase = where(phase[t-1] + 1.5 < 3, phase[t-1] + 1, 0)
init phase = 2
clock = tanh(A @ clock[t-1] + a)
back = tanh(clock + A @ back[t+1])
tick = phase < 0.5
late = sin(phase + last(phase))
from = clock * 2
init from = last(clock)
h = where(tick, tanh(A @ h[t-1] + x), h[t-1] * clock[t-2]) + from[t-1] + log(2.5 - phase)
turned = sum(softmax(clock, over t) * clock, over t) + max(clock, over t) + first(clock[t+1])
output h, phase, back, late, turned, tick
loss mean((sum(h + back) - y) ** 2, over t) + sum(turned * mean(clock, over t))
"""
SORTS = ("forward", "loss", "gradient", "by_sequence", "hvp", "vjp", "jvp")


def small() -> Graph:
    return read_spec(TEXT, "small.roll")[0]


def grid() -> Graph:
    """Reductions, ends and chains along either of two axes, and over both."""
    return read_spec(GRID, "grid.roll")[0]


def case_of(graph: Graph) -> Case:
    case = finite_case(graph, np.random.default_rng(0))
    assert case is not None
    return case


def rows(graph: Graph) -> list[Row]:
    case, network = case_of(graph), interpreted(graph)
    return [*kernels(case, network, ", here"), *variants(case, network, ", here")]


def names(found: list[Row]) -> set[str]:
    return {row.what.split(",")[0] for row in found}


def indices() -> Graph:
    """Delayed indices: an input, the network's own choice and the target."""
    return read_spec(INDICES, "indices.roll")[0]


@pytest.mark.parametrize("graph", [small, indices])
def test_every_variant_is_compared(graph: Callable[[], Graph]) -> None:
    found = rows(graph())
    assert [row for row in found if not row.passed] == []
    extras = ("", " with a state", " with lengths", " with a state and lengths")
    ways = {f"{sort} kernel{extra}" for sort in SORTS for extra in extras}
    assert names(found) == ways | {"step by step", "two windows", "forward sensitivities"}


@pytest.mark.parametrize(("graph", "along"), [(attention, " along t"), (grid, None)])
def test_both_axes_have_lengths_of_their_own(graph: Callable[[], Graph], along: str | None) -> None:
    case = case_of(graph())
    assert case.sizes["s"] != case.sizes["t"]
    lengths = own_lengths(case)
    assert [own[0] for own in lengths.values()] == [case.sizes["s"], 0]
    found = rows(graph())
    assert [row for row in found if not row.passed] == []
    ways = [f"{sort} kernel" for sort in SORTS]
    ways += [] if along is None else [f"step by step{along}"]
    meant = {f"{way}{extra}" for way in ways for extra in ("", " with lengths")}
    assert names(found) == meant | ({"forward sensitivities"} if along else set())
    unrolled = {"unrolled graph", "adjoint of the unrolled graph"}
    assert names(stages(case)) == {"simplified graph", "tangents"} | unrolled


def test_what_all_sequences_share_has_lengths() -> None:
    """It runs on over the padding, and what looks at its end is each sequence's own."""
    graph = read_spec(SHARED, "shared.roll")[0]
    found = rows(graph)
    assert [row for row in found if not row.passed] == []
    assert {f"{sort} kernel with lengths" for sort in SORTS} <= names(found)
    ragged = with_lengths(graph)
    assert {
        name for name in ("phase", "clock", "tick", "from") if BATCH in ragged[name].type.axes
    } == set()
    assert BATCH in ragged["late"].type.axes and BATCH in ragged["back"].type.axes


GATHERED = history._gathered


def _early(x: Any, first: Any, count: int, place: int) -> Any:
    """Rows from a step too early on."""
    return GATHERED(x, first - 1, count, place)


def _counting_padding(node: Node) -> Operation:
    """Operations whose sums and means count a step of the padding as 1."""
    entry = operation_of(node)
    return replace(entry, neutral=1.0) if entry.neutral == 0.0 else entry


@pytest.mark.parametrize(
    ("place", "wrong", "where"),
    [
        ("rollc.transforms.ragged.operation_of", _counting_padding, "with lengths"),
        ("rollc.ir.operations.history._gathered", _early, "two windows"),
    ],
)
def test_what_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, place: str, wrong: Any, where: str
) -> None:
    monkeypatch.setattr(place, wrong)
    assert any(where in row.what for row in rows(small()) if not row.passed)


def subtracting(graph: Graph) -> Graph:
    """A pass that takes sums for differences."""
    wrong = {"add": "subtract"}
    return graph.with_nodes(
        replace(node, operation=wrong.get(node.operation, node.operation)) for node in graph.nodes
    )


def forgetting(program: Program) -> Program:
    """A pass that loses a statement."""
    first, *rest = program.functions
    return replace(program, functions=(replace(first, body=first.body[:-1]), *rest))


def unlisted(program: Program) -> Program:
    """A pass that leaves a buffer out of a list, which changes no value."""
    first, *rest = program.functions
    return replace(program, functions=(replace(first, buffers=first.buffers[:-1]), *rest))


@pytest.mark.parametrize(
    ("last", "wrong"),
    [("LOWERING", subtracting), ("REFINING", forgetting), ("REFINING", unlisted)],
)
def test_a_wrong_pass_is_named(
    monkeypatch: pytest.MonkeyPatch, last: str, wrong: Callable[[Any], Any]
) -> None:
    case = finite_case(small(), np.random.default_rng(0), Given())
    assert case is not None
    assert len(found := verified_passes(case)) > 5 and not any(row.failed for row in found)
    monkeypatch.setattr(passes, last, (*getattr(passes, last), Pass("wrong", wrong, "", "")))
    failed = [row.what for row in verified_passes(case) if row.failed]
    assert failed[0] == "after wrong"


def test_sequences_that_meet_before_the_loss_are_not_compared_alone() -> None:
    graph = small()
    assert can_be_alone(graph)
    assert graph.loss is not None
    mean = graph[graph.loss]
    largest = replace(mean, operation="max_over")
    assert mean.operation == "mean_over"
    others = [node for node in graph.nodes if node.name != graph.loss]
    assert not can_be_alone(graph.with_nodes([*others, largest]))


# What random data say nothing of ---------------------------------------------------------

REFRACTORY = """
net refractory
input x
param k = 0.5
r = where(x > 0, 2, maximum(r[t-1] - 1, 0))
q = where(r[t-1] > 0, 0, k * x)
output q, r
loss mean(q ** 2, over t)
"""
EPIDEMIC = """
# Kermack and McKendrick (1927): with random contacts the infected may become negative.
net epidemic
input contact
target seen
param beta = 0.3, gamma = 0.1
s = s[t-1] - beta * contact * s[t-1] * i[t-1]
init s = 0.99
i = i[t-1] + beta * contact * s[t-1] * i[t-1] - gamma * i[t-1]
init i = 0.01
output s, i
loss mean((log(i) - seen) ** 2, over t)
"""
LOGISTIC = """
# May (1976): outside 0 to 1 it runs away, and inside it doubles errors at every step.
net logistic
target y[n]
time n
param r = 3.99, x0 = 0.4
x = r * x[n-1] * (1 - x[n-1])
init x = x0
late = x + 0.01 * x[n-60]
output late
loss mean((late - y) ** 2, over n)
"""
KALMAN = """
# With random matrices in place of covariances nothing keeps the innovation's from being singular.
net kalman
dim N = 3, M = 2
input y: [M]
param A: [N, N], C: [M, N], Q: [N, N], R: [M, M], P0: [N, N], m0: [N]
mp = A @ m[t-1]
Pp = A @ P[t-1] @ transpose(A) + Q
S = C @ Pp @ transpose(C) + R
K = Pp @ transpose(C) @ inverse(S)
e = y - C @ mp
m = mp + K @ e
P = Pp - K @ C @ Pp
init m = m0
init P = P0
output m
loss mean(dot(e, inverse(S) @ e) + log_det(S), over t)
"""


def uncompiled(text: str, seed: int = 0, **given: Any) -> list[Row]:
    return verify(text, dtypes=(), seed=seed, given=Given(**given))


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", [REFRACTORY, EPIDEMIC, LOGISTIC, KALMAN])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sound_systems_are_no_fault_of_ours(text: str, seed: int) -> None:
    graph = read_spec(text, "sound.roll")[0]
    case = finite_case(graph, np.random.default_rng(seed))
    assert case is not None
    rows = [case.judged(row, "float64") for row in stages(case)] + differences(case, seed)
    assert [row for row in rows if row.failed] == []
    assert any(row.passed for row in rows)


def test_a_jump_is_said_and_what_is_smooth_is_compared() -> None:
    rows = {row.what: row for row in uncompiled(REFRACTORY)}
    assert rows["adjoint, central differences"].passed
    jump = rows["adjoint, central differences in `state.r`"]
    assert not jump.passed and not jump.failed
    assert "a kink or a jump" in jump.reason and "`maximum` in line 5" in jump.reason


@pytest.mark.parametrize("text", [REFRACTORY, EPIDEMIC, KALMAN])
def test_a_wrong_adjoint_is_found_beside_jumps_and_domains(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(OPERATIONS["multiply"], adjoint=lambda g, y, a, b: [g * b * 1.001, g * a])
    matmul = OPERATIONS["matmul"]
    assert matmul.adjoint is not None

    def scaled(g: Any, y: Any, *operands: Any, **options: Any) -> Any:
        assert matmul.adjoint is not None
        passed = matmul.adjoint(g, y, *operands, **options)
        return [part if part is None else part * 1.001 for part in passed]

    table = {**OPERATIONS, "multiply": wrong, "matmul": replace(matmul, adjoint=scaled)}
    monkeypatch.setattr("rollc.autodiff.adjoint.OPERATIONS", table)
    case = case_of(read_spec(text, "sound.roll")[0])
    assert any(row.failed for row in differences(case, 0))


def test_rounding_that_grows_is_said() -> None:
    """Sixty steps of the logistic map leave nothing of single precision."""
    graph = read_spec(LOGISTIC, "logistic.roll")[0]
    case = case_of(graph)
    assert case.rounding["float32"] > 1e-2
    wrong = Row("forward kernel, float32", 0.5 * case.rounding["float32"], 1e-4, "late")
    assert "rounding to float32 alone" in case.judged(wrong, "float32").reason
    assert case.judged(replace(wrong, error=1e3), "float32").failed
    passed = replace(wrong, error=1e-5)
    assert case.judged(passed, "float32") == passed


@pytest.mark.long
def test_ties_are_kinks_and_ties_that_stay_are_none() -> None:
    text = "net n\ninput x\nparam k = 0.0\nh = {} + 0 * h[t-1]\noutput h\nloss mean(h, over t)\n"
    data = {"x": np.array([1.0, 2.0]), "k": np.array(0.0)}
    for kink in (
        "relu(k * x)",
        "abs(k * x)",
        "maximum(k, 0)",
        "clip(k, 0, 1)",
        "max(concat(k, 0))",
        "floor(k) * (k + 1)",
        "round(k + 0.5) + k",
        "mod(k - 2, 1)",
        "one_hot(argmax(concat(k, 0)), size=2)[0] * (k + 1)",
    ):
        rows = uncompiled(text.format(kink), arrays=data)
        assert any("kink" in row.reason and "`k`" in row.what for row in rows), kink
        assert not any(row.failed for row in rows), kink
    rows = uncompiled(text.format("maximum(k * x, k * x) + max(concat(k, k))"), arrays=data)
    assert all(row.passed for row in rows)


def test_every_operation_whose_slope_chooses_says_its_choices() -> None:
    """A rule that compares is the rule of an operation of several pieces."""
    # Their rules only keep what is not finite out, and digits in; `cholesky`'s compares places.
    smooth = {"power", "logistic_loss", "binary_cross_entropy", "atan2", "cholesky"}
    by_value = {"mod", "arrange", "put_back"}  # they choose by what they compute, not in their rule
    for name, cases in CASES.items():
        entry = OPERATIONS[name]
        if entry.adjoint is None or name in smooth or name == "where":
            continue
        bench = Bench()
        bench.bare(name, cases[0])
        graph = bench.graph("one")
        own = {node.name for node in graph.nodes}
        made = [node for node in adjoint(graph, "outputs").nodes if node.name not in own]
        chosen = {"equal", "less", "less_equal", "greater", "sign"} & {
            node.operation for node in made
        }
        assert (bool(chosen) or name in by_value) == (entry.choices is not None), name


# Data of one's own -----------------------------------------------------------------------


@pytest.mark.long
def test_a_users_own_data_are_what_is_compared() -> None:
    graph = read_spec(EPIDEMIC, "epidemic.roll")[0]
    days = np.linspace(1, 2, 40)
    arrays = {"contact": days, "seen": np.zeros(40), "beta": np.array(0.4)}
    case = own_case(graph, Given(arrays), np.random.default_rng(0))
    assert case.sizes == {"t": 40, BATCH: 1}
    np.testing.assert_allclose(case.leaves["contact"][:, 0], days, rtol=1e-7)
    assert (case.leaves["beta"], case.leaves["gamma"]) == (np.float32(0.4), np.float32(0.1))
    assert all(row.passed for row in uncompiled(EPIDEMIC, arrays=arrays))
    with pytest.raises(InputError, match="unknown input `contacts`"):
        uncompiled(EPIDEMIC, arrays={"contacts": days, "seen": np.zeros(40)})
    with pytest.raises(InputError, match="not finite on these data"):
        uncompiled(EPIDEMIC, arrays=arrays | {"contact": -50 * days})


def test_long_data_are_cut() -> None:
    graph = read_spec(EPIDEMIC, "epidemic.roll")[0]
    arrays = {"contact": np.ones((900, 30)), "seen": np.zeros((900, 30))}
    case = own_case(graph, Given(arrays), np.random.default_rng(0))
    assert case.sizes == {"t": 100, BATCH: 8}


def test_ranges_bound_what_is_drawn() -> None:
    graph = read_spec(EPIDEMIC, "epidemic.roll")[0]
    given = Given(ranges={"contact": (5.0, 6.0), "beta": (0.1, 0.2)})
    case = finite_case(graph, np.random.default_rng(0), given)
    assert case is not None
    assert ((case.leaves["contact"] >= 5) & (case.leaves["contact"] <= 6)).all()
    assert 0.1 <= case.leaves["beta"] <= 0.2
    with pytest.raises(InputError, match="name of a range `b`: expected"):
        finite_case(graph, np.random.default_rng(0), Given(ranges={"b": (0.0, 1.0)}))


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "body",
    [
        "h = 0.9 * h[t-1] + 1\noutput h",  # nothing has a gradient
        "input x: [2]\nh = one_hot(argmax(x), size=2)\noutput h",
        "input i: index(3)\nj = i[t-2]\noutput i, j",
        "const c = 2\noutput c",
        "param p\noutput p\nloss p",
        "input x\nparam p\nh = p * stop(h[t-2], every=3) + x\noutput h\nloss mean(h, over t)",
        "input x\nb = x > 0\nl = last(b)\nw = where(l, x, 2 * x)\n"
        "output w, l, b\nloss mean(w, over t)",
        "time s, t\ninput x[s], y[t]\nb = x > y\nc = last(b, over s)\n"
        "w = where(c, y, sum(b, over s))\noutput w, c\nloss mean(w, over t)",
        "input x: [3], y: [3]\nparam p: [3]\nb = x > y\nc = b - (x < 0)\n"
        "d = mse(b, y > 0) + sum(b * p) + dot(b, p) + max(b)\noutput c, d\nloss mean(d, over t)",
    ],
)
def test_what_has_little_in_it_is_right_too(body: str) -> None:
    rows = verify(f"net little\n{body}\n", dtypes=())
    assert rows
    assert all(row.passed for row in rows), rows
