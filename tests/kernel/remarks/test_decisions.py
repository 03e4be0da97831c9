"""Why a kernel is as it is: what is said of each node, and that it is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Edge
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Loop, MatMul, Nest, Program, simple_statements
from rollc.kernel.remarks.decisions import Decision, decisions, nodes_of
from rollc.kernel.remarks.report import WIDTH, print_remarks
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.kernel.totals import totals
from rollc.support.resources import specs
from tests.helpers.shipped_specs import each_spec

SPECS = [name for name in specs() if not name.startswith("cells/")]


@dataclass(frozen=True)
class Explained:
    """A kernel of a spec, and the decisions for its nodes."""

    schedule: Schedule
    program: Program
    decisions: tuple[Decision, ...]

    def __getitem__(self, name: str) -> Decision:
        (found,) = (decision for decision in self.decisions if decision.node.name == name)
        return found

    def products(self, part: str) -> set[str]:
        return {
            decision.node.name
            for decision in self.decisions
            if isinstance(decision.statement, MatMul) and decision.location.part == part
        }


@cache
def explained(spec: str, kernel: str = "gradient", steps: int | None = None) -> Explained:
    path = specs()[spec]
    return of_text(path.read_text(encoding="utf-8"), str(path), kernel, steps)


def of_text(
    text: str, name: str = "test.roll", kernel: str = "gradient", steps: int | None = None
) -> Explained:
    graph, _ = read_spec(text, name)
    schedule = scheduled(replace(kernel_graphs(graph)[kernel](), steps=steps))
    program = planned(schedule)
    return Explained(schedule, program, decisions(schedule, program))


def kernels(spec: str) -> Iterator[tuple[str, int | None]]:
    graph, _ = read_spec(specs()[spec].read_text(encoding="utf-8"), str(specs()[spec]))
    for kernel in ("forward", "gradient"):
        if kernel in kernel_graphs(graph):
            yield kernel, None
    if len(graph.axes) == 1:
        yield "gradient" if graph.loss else "forward", 3


# What is said is so ------------------------------------------------------------------------


@pytest.mark.parametrize("spec", each_spec(SPECS))
def test_every_node_has_one_line_that_the_program_bears_out(spec: str) -> None:
    for kernel, steps in kernels(spec):
        holds(explained(spec, kernel, steps), f"{spec} {kernel} {steps}")


def test_kernels_with_a_state_and_lengths_are_explained() -> None:
    for kernel in ("vjp.state.lengths", "window.vjp", "tangent"):
        holds(explained("gated/gru", kernel), kernel)
    holds(explained("delays/narx", "vjp.state", 3), "narx")


def holds(found: Explained, what: str) -> None:
    decisions, program = found.decisions, found.program
    buffers = {
        buffer.name: buffer
        for buffer in program.buffers
        # Neither packed weights nor the copies that passes over programs add.
        if buffer.role != "panel" and not re.search("@(diagonal|numbers)", buffer.name)
    }
    names = [decision.node.name for decision in decisions]
    assert sorted(names) == sorted(node.name for node in found.schedule.graph.nodes), what

    assert {decision.buffer for decision in decisions} - {""} == set(buffers), what
    for decision in decisions:
        name = f"{what} {decision.node.name}"
        if decision.kept in ("local", "literal", "none"):
            assert decision.node.name not in buffers, name
            assert decision.buffer == "", name
        else:
            role = buffers[decision.buffer].role
            copied = bool(buffers[decision.buffer].around)
            kinds = {
                "scratch": ("steps", "row", "once"),
                "leaf": ("copy" if copied else "leaf",),
            }
            assert decision.kept in kinds.get(role, (role,)), name
        if decision.kept in ("tape", "steps", "copy"):
            assert decision.because, name
        assert (decision.kept == "none") == (decision.location.part == "none"), name

    inside = {node for loop in loops(program) for node in in_body(loop)}
    for decision in decisions:
        name = f"{what} {decision.node.name}"
        if decision.statement is not None:
            body = (decision.into or decision.node.name) in inside
            assert (decision.into or decision.node.name) in nodes_of(decision.statement), name
            assert (
                (decision.location.part == "body") == body == (decision.moved or around(decision))
            )
        else:
            assert decision.node.name not in inside, name
    unstored = {
        assign.name
        for function in program.functions
        for statement in simple_statements(function.statements)
        if isinstance(statement, Nest)
        for assign in statement.body
        if assign.store is None
    }
    local = {d.node.name for d in decisions if d.kept == "local" and not d.into}
    assert local == unstored, what

    lines = print_remarks(found.schedule, program, "float32").splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(named) == sorted(names), what
    assert max(map(len, lines)) <= WIDTH, what


def loops(program: Program) -> list[Loop]:
    return [s for function in program.functions for s in function.body if isinstance(s, Loop)]


def in_body(loop: Loop) -> Iterator[str]:
    for statement in replace(loop, before=(), after=()).simple():
        yield from nodes_of(statement)


def around(decision: Decision) -> bool:
    """Whether the cycle of a decision leads back to its node, and through a delay."""
    cycle = decision.cycle
    if cycle:
        assert cycle[0] in decision.node.operands
        assert cycle[-1].source == decision.node.name
        assert any(edge.delay for edge in cycle)
    return bool(cycle)


# What became of the systems of the textbooks ---------------------------------------------


def test_lstm() -> None:
    found = explained("gated/lstm")
    # The input's product left the loop; the state's cannot.
    assert found["h.i'1"].location.part == "before"
    recurrent = found["h.i'2"]
    assert (recurrent.location.part, recurrent.location.loop) == ("body", 1)
    assert Edge("h.h", 1, "t") in recurrent.cycle
    assert found["h.c"].cycle == (Edge("h.c'2"), Edge("h.c", 1, "t"))
    assert found.products("body") == {"h.i'2", "~h.i'2:2"}
    # The gates are one nest, and not stored but for what the adjoint reads.
    gates = {found[f"h.{gate}"].number for gate in "ifgo"}
    assert len(gates) == 1
    assert all(found[f"h.{gate}"].kept == "local" for gate in "ifgo")
    taped = {decision.buffer for decision in found.decisions if decision.kept == "tape"}
    assert taped == {buffer.name for buffer in found.program.buffers if buffer.role == "tape"}
    assert found["h.c'4"].because == "~h.c'4:1 reads it"
    # Slopes are computed where they are read; cotangents of gates lie side by side.
    assert found["~h.c'4:1"].moved
    assert found["~h.i"].within == found["~h.f"].within == "~h.i'4"
    assert found["~h.i"].kept == "block"


def test_what_an_lstm_keeps_and_multiplies() -> None:
    sums = totals(explained("gated/lstm").program)
    d, h, k = 6, 12, 4
    step = ("t", "batch")
    assert sums.inside == {step: 2 * 4 * h * h}
    # W x and its two adjoints, three products with V, and the gradient of U.
    assert sums.outside == {step: 3 * 4 * h * d + 3 * h * k + 4 * h * h}
    assert sums.tape == {(step, "float"): 7 * h}


def test_gru_stacks_the_products_of_a_state() -> None:
    stacked = of_text("""
net gates
input x: [3]
param W: [4, 3], P: [4, 4], Q: [4, 4]
z = sigmoid(W @ x + P @ h[t-1])
h = z * h[t-1] + (1 - z) * tanh(Q @ h[t-1])
output h
loss mean(mse(h, 0.1 * h), over t)
""")
    both = stacked["z'2"].statement
    assert isinstance(both, MatMul)
    assert stacked["h'4"].statement is both
    assert both.names == ("z'2", "h'4")
    text = print_remarks(stacked.schedule, stacked.program, "float32")
    assert "z'2  stacked with h'4  one row, reused" in text
    found = explained("gated/gru", "forward")
    assert found["h.wr"].moved
    assert found["h.h"].because == "read at t-1"
    assert found["h.ur'1"].kept == "row"
    assert [name for name in ("h.r", "h.z", "h.n") if found[name].kept != "local"] == []


def test_what_is_cheap_is_computed_again_and_not_kept() -> None:
    found = explained("gated/gru")
    # 1 - z, of which the adjoint has z.
    assert found["h.z"].kept == "tape"
    assert found["h.h'2"].kept == "local"
    assert found["h.h'2^recomputed"].kept == "local"
    assert found["h.h'2^recomputed"].location.part == "body"
    assert found["h.h'2^recomputed"].location.phase == "adjoint"
    step = ("t", "batch")
    assert totals(found.program).tape == {(step, "float"): 5 * 12}


def nodes_of_statement(decision: Decision) -> set[str]:
    return set() if decision.statement is None else set(nodes_of(decision.statement))


def test_a_loop_says_which_way_it_runs() -> None:
    for kernel, ways in (("forward", {"forwards"}), ("gradient", {"forwards", "backwards"})):
        found = explained("lstm", kernel)
        text = print_remarks(found.schedule, found.program, "float32")
        assert set(re.findall(r"(\w+) over t, step by step", text)) == ways


def test_bidirectional_has_a_loop_each_way() -> None:
    found = explained("sequences/bidirectional", "forward")
    assert found["f"].location.direction == "forward"
    assert found["g"].location.direction == "backward"
    assert found["g"].cycle[0].source in ("g'4", "g'3")
    assert set(nodes_of_statement(found["f'1"])) == {"f'1", "g'1"}
    assert found["f'1"].location.part == "free"


def test_biquad_moves_its_feedforward_terms_in() -> None:
    found = explained("delays/biquad")
    assert all(found[name].moved for name in ("y'1", "y'2", "y'4", "y^sum0", "y^sum1"))
    assert [*map(str, found["y'6"].cycle)] == ["y[t-1]", "y'6"]
    assert not totals(found.program).inside
    # Gradients of coefficients are sums of products, which nothing else needs.
    assert (found["~y'1:1"].into, found["~y'1:1"].kept) == ("~b0", "local")


def test_a_taught_network_has_no_loop_left() -> None:
    taught = explained("sequences/teacher")
    assert {decision.location.part for decision in taught.decisions} == {"given", "free"}
    path = specs()["sequences/teacher"]
    graph, _ = read_spec(path.read_text(encoding="utf-8"), str(path), feed="free")
    schedule = scheduled(kernel_graphs(graph)["forward"]())
    free = {decision.node.name: decision for decision in decisions(schedule, planned(schedule))}
    assert free["h"].location.part == "body"
    assert any(edge.source == "o" or edge.delay for edge in free["h"].cycle)


def test_an_encoder_and_its_decoder_are_loops_over_their_own_axes() -> None:
    found = explained("sequences/reverse")
    assert (found["e.h"].location.axis, found["d.h"].location.axis) == ("s", "t")
    assert found["e.h"].location.loop < found["d.h"].location.loop
    text = print_remarks(found.schedule, found.program, "float32")
    assert "a step of s and sequence" in text


def test_shifted_nodes_and_pieces_are_said() -> None:
    found = explained("delays/retimed", "forward")
    assert (found["late"].shift, found["early"].shift) == (1, 2)
    assert "late at t-1 " in print_remarks(found.schedule, found.program, "float32")
    assert explained("gated/lstm", "forward", 3)["h.h"].pieces > 1


# The text --------------------------------------------------------------------------------


def test_the_words_for_an_lstm() -> None:
    found = explained("gated/lstm")
    text = print_remarks(found.schedule, found.program, "float32")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line}
    assert lines["h.i'1"] == "matrix product rows of a block"
    assert lines["h.i'2"] == "matrix product one row, reused through h.h[t-1] <- h.o"
    assert lines["h.g"] == "nest 2: 17 fused not stored through h.h[t-1] <- h.c"
    assert lines["h.h"] == "nest 2: 17 fused tape: ~V reads it through h.o <- h.h[t-1]"
    assert lines["~h.o"].startswith("nest 9: 23 fused in ~h.i'4, rows of a block")
    assert lines["tape:"] == "7 buffers, 336 bytes a step and sequence in float32"


def test_some_nodes_alone() -> None:
    found = explained("gated/lstm")
    text = print_remarks(found.schedule, found.program, "float32", ["o"])
    named = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    assert named == {"o", "o'1", "~o", "~o'1:2"}
    with pytest.raises(KeyError):
        print_remarks(found.schedule, found.program, "float32", ["o", "nothing"])


def test_what_was_written_down_is_explained_alike() -> None:
    found = explained("gated/lstm", steps=3)
    schedule = parse_schedule(print_schedule(found.schedule))
    program = parse_program(print_program(found.program))
    assert decisions(schedule, program) == found.decisions
