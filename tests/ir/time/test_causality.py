"""The check of a graph, and the verification of a graph that nobody vouches for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.driver.given_graph import given_flaws
from rollc.ir.graph import BATCH, Attribute, Edge, Graph, Node, Type, attributes
from rollc.ir.operations import OPERATIONS
from rollc.ir.time.causality import BothDirections, CycleWithoutDelay, NeedsWhole, check, total
from rollc.ir.time.retiming import NoTiming, timing
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.transforms.unroll import unroll
from tests.helpers.paths import GOOD_SPECS

VECTOR = Type("float", (3,), ("t", "batch"))


def wired(*reads: tuple[str, str, int]) -> Graph:
    """A graph of sums in which each reader reads a source with a delay."""
    operands: dict[str, list[Edge]] = {"x": []}
    for reader, source, delay in reads:
        operands.setdefault(reader, []).append(Edge(source, delay, "t" if delay else ""))
    nodes = [
        Node(name, "concat" if edges else "input", tuple(edges), VECTOR)
        for name, edges in operands.items()
    ]
    return Graph("wired", "graph", tuple(nodes))


def graph_of(text: str) -> Graph:
    source = Source("test.roll", text)
    checked = load_graph(source)
    assert checked.graph is not None, render(checked.diagnostics, source)
    return checked.graph


def test_a_graph_that_can_be_run_becomes_checked() -> None:
    graph = wired(("a", "x", 0), ("a", "a", 1), ("b", "a", 0), ("b", "b", -2), ("b", "x", 3))
    verdict = check(graph)
    assert verdict.findings == ()
    assert verdict.graph == replace(graph, stage="checked")


def test_a_cycle_without_a_delay_is_the_shortest_one() -> None:
    graph = wired(
        ("a", "b", 0), ("b", "c", 0), ("c", "d", 0), ("d", "a", 0), ("b", "d", 0), ("a", "a", 1)
    )  # fmt: skip
    (finding,) = check(graph).findings
    assert isinstance(finding, CycleWithoutDelay)
    assert {link.reader for link in finding.cycle} == {"a", "b", "d"}
    for link, following in zip(finding.cycle, (*finding.cycle[1:], finding.cycle[0]), strict=True):
        assert link.reader == following.edge.source
        assert graph[link.reader].operands[link.operand] == link.edge


def test_each_component_has_its_own_finding() -> None:
    graph = wired(("a", "a", 0), ("b", "b", 1), ("c", "d", 0), ("d", "c", 0), ("b", "a", 0))
    assert [type(finding) for finding in check(graph).findings] == [CycleWithoutDelay] * 2


@pytest.mark.parametrize("sums", [(1, -1), (3, -1), (2, -5)])
def test_delays_of_both_signs_in_one_component(sums: tuple[int, int]) -> None:
    past, future = sums
    (finding,) = check(wired(("a", "a", past), ("a", "b", 0), ("b", "a", future))).findings
    assert isinstance(finding, BothDirections)
    assert (total(finding.past), total(finding.future)) == sums


def test_what_needs_both_directions_is_said() -> None:
    (finding,) = check(wired(("a", "a", 1), ("a", "b", 0), ("b", "a", -2))).findings
    assert "need each other" in str(finding)
    (finding,) = check(wired(("a", "b", 2), ("b", "a", -2))).findings
    assert "comes back to the same step" in str(finding)


def test_both_signs_apart_are_fine() -> None:
    assert check(wired(("a", "a", 1), ("b", "b", -1), ("c", "a", -4), ("c", "b", 4))).findings == ()


def test_a_reduction_in_a_cycle_needs_what_it_computes() -> None:
    graph = wired(("h", "g", 1), ("g", "m", 0), ("m", "h", 0))
    nodes = [
        replace(node, operation="mean_over", attributes=attributes(over=("t",)))
        if node.name == "m"
        else node
        for node in graph.nodes
    ]
    (finding,) = check(graph.with_nodes(nodes)).findings
    assert isinstance(finding, NeedsWhole)
    assert finding.node == "m"


def test_an_initial_value_in_a_cycle_needs_what_it_starts() -> None:
    graph = wired(("h", "h", 1), ("m", "h", 0))
    nodes = [replace(node, initial="m") if node.name == "h" else node for node in graph.nodes]
    (finding,) = check(graph.with_nodes(nodes)).findings
    assert isinstance(finding, NeedsWhole)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from("abcdex"), st.integers(-2, 2)),
        max_size=12,
    )
)
def test_what_passes_can_be_run_and_what_does_not_cannot(reads: list[tuple[str, str, int]]) -> None:
    """Against the definition: the totals of all cycles of a component have one sign."""
    graph = wired(*reads)
    network: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for reader, source, delay in reads:
        if source in graph.by_name:
            network.add_edge(source, reader, delay=delay)
    totals: dict[frozenset[str], set[int]] = {}
    for members in nx.strongly_connected_components(network):
        inside = network.subgraph(members)
        for cycle in nx.simple_cycles(nx.DiGraph(inside)):
            steps = list(pairwise((*cycle, cycle[0])))
            delays = [{data["delay"] for data in inside[u][v].values()} for u, v in steps]
            totals.setdefault(frozenset(members), set()).update(map(sum, product(*delays)))
    passes = all(min(found) > 0 or max(found) < 0 for found in totals.values())
    verdict = check(graph)
    assert (verdict.graph is not None) == passes
    for finding in verdict.findings:
        if isinstance(finding, BothDirections):
            assert total(finding.future) <= 0 <= total(finding.past)
            assert total(finding.past) or finding.past == finding.future
            for cycle in (finding.past, finding.future):
                assert all(one.reader == two.edge.source for one, two in pairwise(cycle))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.integers(-3, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_shifts_meet_every_read_and_are_the_least(reads: list[tuple[str, str, int]]) -> None:
    graph = wired(*reads)
    component = [node for node in graph.nodes if node.name != "x"]
    try:
        found = timing(component)
    except NoTiming:
        return
    inside = [read for read in reads if read[1] in graph.by_name]
    distances = [
        found.distance(reader, Edge(source, d, "t" * bool(d))) for reader, source, d in inside
    ]
    assert all(distance >= 0 for distance in distances)
    # The least: each shifted node reads one that it could not follow sooner.
    for name, shift in found.shifts.items():
        assert shift * found.direction > 0
        mine = [each for each, read in zip(distances, inside, strict=True) if read[0] == name]
        assert 0 in mine
    assert timing(component[::-1]) == found


GOOD = """
net good
dim D = 3
input x: [D], w: index(4)
static input z: [D]
target y: index(D)
param W: [D, D], E: [4, D] = normal(0.5), b: [D] = uniform(-1, 1)
h = tanh(W @ h[t-1] + layer_norm(concat(x[:1], x[1:]), 1, 0) + embed(E, w) + b)
init h = z
output h
loss mean(cross_entropy(h, y), over t)
"""


def problems(graph: Graph) -> str:
    return "\n".join(str(flaw) for flaw in verify(graph))


def changed(graph: Graph, name: str, /, **changes: object) -> Graph:
    nodes = [
        dataclasses.replace(node, **changes) if node.name == name else node  # type: ignore[arg-type]
        for node in graph.nodes
    ]
    return graph.with_nodes(nodes)


def bad_changes() -> Iterator[tuple[str, dict[str, object], str]]:
    yield "h", {"type": Type("float", (4,), ("t", "batch"))}, "the type is given as float[4]"
    yield "h", {"type": Type("float", (3,), ("batch", "t"))}, "the axes are not in order"
    yield "h", {"type": Type("float", (3,), ("s", "batch"))}, "an axis that the network does not"
    yield "h", {"type": Type("index", (), ("t", "batch"))}, "needs the number of its values"
    yield "h", {"operation": "__import__"}, "there is no operation"
    yield "h", {"operation": "add"}, "`add` does not take 1 operands"
    yield "h", {"operands": (Edge("nobody"),)}, "reads `nobody`, which does not exist"
    yield "h", {"operands": (Edge("z", 1, "t"),)}, "with a delay over `t`, where it is the same"
    yield "h", {"operands": (Edge("h", 10**9, "t"),)}, "a delay of more than"
    yield "h", {"initial": "x"}, "changes with time"
    yield "h", {"initial": "w"}, "its initial value `w` is index"
    yield "h", {"initial": "W"}, "has another shape"
    yield "h", {"initial": "nobody"}, "does not exist"
    yield "h", {"name": "import os"}, "this is no name"
    yield "h", {"name": "x"}, "defined twice"
    yield "W", {"attributes": ()}, "`initialiser` must be one of"
    yield "W", {"attributes": attributes(initialiser="normal")}, "`scale` is missing"
    yield "W", {"attributes": attributes(initialiser="normal", scale=-1.0)}, "not negative"
    yield "b", {"attributes": attributes(initialiser="identity")}, "is for matrices"
    yield "b", {"attributes": attributes(initialiser="zeros", scale=1.0)}, "no attribute `scale`"
    yield "W", {"type": Type("float", (2**20, 2**20))}, "more than 2147483648 elements"
    yield "W", {"type": Type("float", (0, 3))}, "positive sizes"
    yield "W", {"type": Type("float", (3, 3), ("batch",))}, "the same at every step"
    yield "x", {"operands": (Edge("W"),)}, "`input` reads nothing"
    yield "h'3", {"attributes": attributes(start=-1, stop=2)}, "`start` must be"
    for value in (4.0, -1.0, 0.5, math.nan, math.inf):
        number = {"operation": "constant", "attributes": attributes(value=value), "operands": ()}
        type_ = Type("index", (), (), 4)
        yield "h", {**number, "type": type_}, "of the type index(4) is a whole number below 4"
    for axis in ("s", BATCH):
        last = {"operation": "last", "attributes": attributes(axis=axis)}
        yield "h", last, f"`{axis}` is no time axis of the network"


@pytest.mark.parametrize(("name", "changes", "problem"), list(bad_changes()))
def test_verify_finds_what_is_wrong(name: str, changes: dict[str, object], problem: str) -> None:
    graph = graph_of(GOOD)
    assert verify(graph) == []
    assert name in graph.by_name
    assert problem in problems(changed(graph, name, **changes))


def test_what_a_person_gives_has_a_value_for_each_sequence() -> None:
    """What passes make need not: the number of a step is the same for all."""
    graph = graph_of(GOOD)
    assert not [*given_flaws(graph)]
    (flaw,) = given_flaws(changed(graph, "x", type=Type("float", (3,), ("t",))))
    assert "a value for each sequence" in str(flaw)


def test_what_is_read_on_both_sides_has_no_rows_outside() -> None:
    lines = ["input x: [3]", "param p: [3], q: [1, 3]", "h = 2 * x", "init h = p"]
    lines += ["o = h[t-1] + h[t+1] + sum(q, axis=0)", "output o"]
    graph = graph_of("\n".join(["net n", *lines]))
    assert problems(graph) == ""
    assert "has another shape" in problems(changed(graph, "h", initial="q"))


def test_verify_looks_at_the_frame() -> None:
    graph = graph_of(GOOD)
    assert "output `o` is `q`" in problems(replace(graph, outputs=(("o", "q"),)))
    assert "given twice" in problems(replace(graph, outputs=(("h", "h"), ("h", "h"))))
    assert "the loss is `q`" in problems(replace(graph, loss="q"))
    assert "not one number" in problems(replace(graph, loss="h"))
    assert "is no size" in problems(replace(graph, dims=(("D", 0),)))
    assert "is no name" in problems(replace(graph, name="a b"))
    assert "number of steps" in problems(replace(graph, steps=0))
    large = Type("float", (2**16, 2**15))
    assert "elements together" in problems(
        changed(changed(graph, "W", type=large), "E", type=large)
    )


def test_verify_accepts_what_passes_make() -> None:
    text = (GOOD_SPECS / "forms.roll").read_text(encoding="utf-8")
    for graph in (graph_of(GOOD), graph_of(text)):
        assert verify(adjoint(graph)) == []
        assert verify(adjoint(graph, of="outputs")) == []
        assert verify(unroll(adjoint(graph), 3)) == []


@pytest.mark.parametrize(
    ("operation", "shape", "options", "result", "problem"),
    [
        ("pad", (3,), {"start": 1, "size": 4}, (4,), ""),
        ("pad", (3,), {"start": 2, "size": 4}, (4,), "does not hold its operand"),
        ("pad", (), {"start": 0, "size": 4}, (4,), "there is no dimension 0"),
        ("expand", (3,), {"axis": 1, "size": 2}, (3, 2), ""),
        ("expand", (3,), {"axis": 2, "size": 2}, (3, 2), "at least 2 dimensions"),
        ("fill", (), {"shape": (2, 3)}, (2, 3), ""),
        ("fill", (3,), {"shape": (2, 3)}, (2, 3), "only a number fills"),
        ("slice", (3,), {"start": 1, "stop": 4}, (3,), "at least 4 elements"),
    ],
)
def test_verify_knows_what_passes_must_keep_to(
    operation: str,
    shape: tuple[int, ...],
    options: dict[str, Attribute],
    result: tuple[int, ...],
    problem: str,
) -> None:
    axes = ("t", "batch")
    nodes = (
        Node("x", "input", (), Type("float", shape, axes)),
        Node("y", operation, (Edge("x"),), Type("float", result, axes), attributes(**options)),
    )
    found = problems(Graph("made", "adjoint", nodes))
    assert problem in found
    assert bool(found) == bool(problem)


VALUES: st.SearchStrategy[Attribute] = st.one_of(
    st.integers(-2, 5),
    st.sampled_from([2**31, 2**80]),
    st.floats(),
    st.sampled_from(["t", "batch", "s", "first", "normal", ""]),
    st.booleans(),
    st.lists(st.integers(-1, 3), max_size=3).map(tuple),
    st.lists(st.sampled_from(["t", "batch", "s"]), max_size=3).map(tuple),
)
KEYS = "axis start stop size shape rows over at epsilon transpose_a transpose_b value initialiser"
NAMES = ["a", "b", "c", "~d", "import os", ""]
TYPES = st.builds(
    Type,
    st.sampled_from(["float", "index", "bool"]),
    st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**40]), max_size=3).map(tuple),
    st.sampled_from([(), ("t",), ("batch",), ("t", "batch"), ("batch", "t"), ("s",)]),
    st.one_of(st.none(), st.integers(-1, 4)),
)
EDGES = st.builds(
    lambda source, delay: Edge(source, delay, "t" if delay else ""),
    st.sampled_from(NAMES),
    st.sampled_from([0, 0, 0, 1, -2, 10**9]),
)
NODES = st.builds(
    Node,
    st.sampled_from(NAMES),
    st.sampled_from([*OPERATIONS, "input", "param", "constant", "state", "cotangent", "eval"]),
    st.lists(EDGES, max_size=3).map(tuple),
    TYPES,
    st.dictionaries(st.sampled_from(KEYS.split()), VALUES, max_size=3).map(
        lambda options: attributes(**options)
    ),
    st.one_of(st.none(), st.sampled_from(NAMES)),
)


@settings(deadline=None, max_examples=500)
@given(st.lists(NODES, max_size=5), st.sampled_from(["graph", "checked", "adjoint", "dag"]))
def test_verify_and_check_never_raise(nodes: list[Node], stage: str) -> None:
    graph = Graph("any", stage, tuple(nodes), (("o", "a"),), "b")  # type: ignore[arg-type]
    for flaw in verify(graph):
        assert str(flaw)
    for finding in check(graph).findings:
        assert str(finding)
