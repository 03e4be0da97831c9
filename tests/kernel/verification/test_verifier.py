"""Schedules and programs are verified: those that passes make have no flaw, and others have."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rollc.autodiff.adjoint import adjoint
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.text import parse_program, parse_schedule, print_schedule
from rollc.kernel.verification.verifier import verify_program, verify_schedule
from rollc.transforms.canonicalize import canonicalize
from tests.commands.operation_kernels import along_another_axis
from tests.helpers.operation_cases import CASES, on_a_bench
from tests.helpers.paths import GOLDEN
from tests.helpers.shipped_specs import each_spec
from tests.kernel.interpretation.test_interpreter import (
    PLANNED,
    SPECS,
    checked,
    planned_graphs,
)

KERNELS = GOLDEN / "kernels"


def flaws_of(graph: Graph, steps: int | None = None) -> list[str]:
    """Those of the schedule and of the program of a kernel's graph."""
    schedule = scheduled(replace(graph, steps=steps))
    return [*map(str, verify_schedule(schedule)), *map(str, verify_program(planned(schedule)))]


@pytest.mark.parametrize("name", each_spec(SPECS))
def test_kernels_of_a_spec(name: str) -> None:
    makers = kernel_graphs(checked(name))
    for entry in makers.keys() & {"forward", "gradient"}:
        assert flaws_of(makers[entry]()) == []


@pytest.mark.parametrize("what", PLANNED)
def test_kernels_of(what: str) -> None:
    for graph in planned_graphs(what):
        assert flaws_of(graph) == []
        assert flaws_of(graph, 4) == []


@pytest.mark.parametrize("operation", CASES)
def test_operations(operation: str) -> None:
    for number, case in enumerate(CASES[operation]):
        graph = on_a_bench(operation, case, f"{operation}{number}")
        assert flaws_of(canonicalize(adjoint(graph))) == []


def test_tails_along_another_axis() -> None:
    assert flaws_of(canonicalize(adjoint(along_another_axis()))) == []


# Programs -------------------------------------------------------------------------------


def program_flaws(name: str, *changes: tuple[str, str]) -> list[str]:
    """The flaws of a golden program, some of whose text is replaced, where it first is."""
    text = (KERNELS / f"{name}.program.txt").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return [str(flaw) for flaw in verify_program(parse_program(text))]


@pytest.mark.parametrize(
    "name", [path.name[:-12] for path in sorted(KERNELS.glob("*.program.txt"))]
)
def test_goldens(name: str) -> None:
    assert program_flaws(name) == []


BUFFERS = [
    ("name=c role=leaf", "name=b role=leaf", "`b`: is declared more than once"),
    ("name=o role=result", "name=o role=heap", "`o`: `heap` of `float` is no buffer"),
    ("name=o role=result kind=float", "name=o role=result kind=text", "`text` is no buffer"),
    ("kind=float shape=(4,3)", "kind=float shape=(4,0)", "a shape has positive sizes"),
    ("kind=float shape=(2) axes=(t)", "kind=float shape=(2) axes=(s)", "`x`: its axes are not"),
    ("axis=t before=1", "axis=t before=-1", "`s`: the number of rows around a sequence"),
    ("axis=t before=1", "before=1", "`s`: has rows around the sequence along no axis"),
    ("panel kind=float shape=(2,3)", "panel kind=float shape=(6)", "a panel is one matrix"),
    (" block=4096", "", "holds a block of the steps along one axis, of a program that has blocks"),
    ("axis=t before=1", "axis=t before=1 unpadded=true", "`s`: is unpadded, and no leaf"),
    ("(b,param)", "(W,param)", "`W`: is a leaf more than once"),
    ("(b,param)", "(s,param)", "`s`: is a leaf, and no buffer for one"),
    ("(b,param),", "", "`b`: is a buffer for a leaf that the program does not name"),
]
FUNCTIONS = [
    ("phase=adjoint buffers", "phase=primal buffers", "the functions are primal, primal"),
    ("optional=inputs", "optional=adjoint", "`adjoint` is no other phase"),
    ("buffers=(U,", "buffers=(U,U,", "`U`: is an argument of primal more than once"),
    ("(o'1[:4],c[:4])", "(o'1[:4],w[:4])", "`w`: is used by primal, and is no buffer"),
    ("s'2,b,o'1", "s'2,o'1", "`b`: is used by primal, and is not among its arguments"),
    ("buffers=(U,", "buffers=(~U,U,", "`~U`: is an argument of primal, which does not use it"),
    ("label=W", "label=U", "`U`: is a result of the kind gradient more than once"),
    ("ref=~c[:4]", "ref=W@rows[:4]", "`c`: is a result, and `W@rows` holds none"),
    ("ref=~c[:4]", "ref=~c[:5]", "`c`: takes the elements 0 to 5 of `~c`, which has 4"),
    ("ref=o[:4]", "ref=o[last.t:4]", "`o`: a result has all steps"),
    (" optional=inputs", "", "`x`: is a result of the phase inputs, which no function"),
]
PLACES = [
    ("operand=s[:3]", "operand=s[;1:3]", "`s'2`: takes the elements 1 to 4 of `s`, which has 3"),
    ("operand=s[:3]", "operand=s[t+2:3]", "`s'2`: takes a row of `s` that is not there: shift 2"),
    ("operand=s[:3]", "operand=s[t-1:3]", "`s'2`: takes a row of `s` that is not there: shift -1"),
    ("operand=s[:3]", "operand=s[last:3]", "`s'2`: takes the row `last` of `s` along ``"),
    ("operand=s[:3]", "operand=s[last.s:3]", "takes the last row of `s`, which has none along `s`"),
    ("direction=forward axis=t", "direction=forward axis=s", "no such axis"),
    ("direction=forward axis=t", "direction=up axis=t", "no such direction"),
    (
        "direction=forward axis=t",
        "direction=forward axis=t span=1:end",
        "runs for some steps, of a number that is not known",
    ),
    (
        "direction=forward axis=t",
        "direction=forward axis=t span=1:end",
        "a loop over `t` cannot run in blocks of steps",
    ),
    (
        "            matmul out=s'2",
        "            shifted shift=1\n                clear buffer=s'2\n            matmul out=s'2",
        "a loop over `t` has parts with a shift, and others",
    ),
    ("carry buffer=~s'2:2", "carry buffer=~s'4", "`~s'4`: has no rows to be carried"),
    ("b=s[t+1:3]", "b=~s'4[:3]", "`~V`: uses `~s'4` outside the loop of its blocks"),
    (
        "over=(t,batch) shape=(4)\n",
        "over=(t,batch) shape=(4) span=3:2\n",
        "`~o`: runs for steps that do not exist: 3 to 2",
    ),
    (
        "optional phase=inputs",
        "optional phase=adjoint",
        "`adjoint` is no optional part of the function",
    ),
    (
        "            matmul out=s'2",
        "            clear buffer=s'2\n            matmul out=s'2",
        "`s'2`: has to be before the loop",
    ),
    (
        "over=(t,batch) shape=(4)\n",
        "over=(s,batch) shape=(4)\n",
        "`~o`: iterates over axes that are not those",
    ),
    (
        "over=(t,batch) shape=(4)\n",
        "over=(t,t,batch) shape=(4)\n",
        "`~o`: iterates over axes that are not those",
    ),
    ("shape=(4) span=block", "shape=(4)", "`o`: runs for a block of steps outside"),
    ("(s'2) over=(batch)", "(s'2) over=(t,batch)", "`s'2`: iterates over `t` inside an iteration"),
    ("over=(t,batch) shape=(4)\n", "over=(batch) shape=(4)\n", "accesses steps of `~o` along `t`"),
]
PART = "            part weight={} transposed=true\n"
STATEMENTS = [
    ("store=s[t+1:3]", "store=b[:3]", "`s`: writes to `b`, a leaf"),
    ("store=s[t+1:3]", "store=V@panel[:3]", "writes to `V@panel`, which is a panel"),
    ("pack panel=W@panel", "pack panel=s'2", "`s'2`: writes to `s'2`, which is no panel"),
    ("(s[t+1:3],s[t+1:3])", "(W@rows[:3],s[t+1:3])", "reads `W@rows`, which is a panel"),
    ("panel=W@rows names", "panel=W names", "`~s'2:2`: reads `W`, which is no panel"),
    ("name=s'4 operation", "name=s'3 operation", "`s'3`: is computed twice in a nest"),
    ("(%s'3,b[:3])", "(%s'9,b[:3])", "`s'4`: reads `s'9`, which no line before it computes"),
    ("operation=tanh", "operation=tan", "`s`: there is no operation `tan`"),
    ("operands=(%s'4)", "operands=(%s'4,%s'3)", "`s`: `tanh` does not take 2 operands"),
    ("options=((axis,t))", "options=()", "`loss'2^2`: `extent` has no `axis`"),
    ("(%s'3,b[:3])", "(%s'3,b[:2])", "`s'4`: `add` takes equal shapes"),
    ("operation=tanh", "operation=softmax", "`s`: `softmax` cannot be in a nest"),
    (
        "nest over=(batch) shape=()\n            assign name=~loss'2 ",
        "nest over=() shape=()\n            assign name=~loss'2 ",
        "`~loss'2`: varies along batch, which the nest does not",
    ),
    (
        "nest over=(batch) shape=()\n            assign name=~loss'2 ",
        "nest over=(t,batch) shape=()\n            assign name=~loss'2 ",
        "`~loss'2:2`: has values along `t`, and `~loss'2:2` one",
    ),
    ("store=s[t+1:3]", "store=s[t+1:2]", "`s`: has the shape (3,), and is stored as (2,)"),
    ("o role=result kind=float", "o role=result kind=bool", "`o`: is float, and `o` holds bool"),
    ("s'2 role=scratch kind=float", "s'2 role=scratch kind=bool", "writes numbers to `s'2`"),
    ("fill buffer=s\n", "fill buffer=s'2\n", "`s'2`: has no rows around the sequence"),
    (
        "fill buffer=s\n",
        "fill buffer=s initial=b[:2]\n",
        "`s`: has another type than its initial",
    ),
    ("fill buffer=s\n", "fill buffer=s initial=x[:1]\n", "`x` runs over an axis of its own"),
    (PART.format("W"), PART.format("W") + PART.format("b"), "`W@panel`: `b` is not one matrix"),
    (PART.format("W"), PART.format("W") + PART.format("U"), "`U` has 2 inputs, and the panel 3"),
    (PART.format("W"), PART.format("W") + PART.format("V"), "have 7 columns, and the panel 3"),
    ("out=s'2[:3]", "out=s'2[:2]", "`s'2`: takes (3,) to (2,) by a panel of (3, 3)"),
    ("(s'2) over=(batch)", "(s'2) over=(batch) when=b[:3]", "is predicated by `b`, which is no"),
    ("out=~W[:3x3]", "out=~W[:9]", "`~W`: makes (9,) of (3,) and (3,)"),
    ("operation=softmax", "operation=tanh", "`~loss'1:2`: `tanh` has to be in a nest"),
    ("operation=softmax", "operation=argmax", "`~loss'1:2`: is index, and `~loss'1:2` is not"),
    ("operands=(o[:4],y[])", "operands=(%o,y[])", "reads a local outside its nest"),
    ("operands=(o[:4],y[])", "operands=(y[],y[])", "`loss'1`: `cross_entropy` takes a number"),
    ("out=~loss'1:2[:4]", "out=~loss'1:2[:3]", "has the shape (4,), and is stored as (3,)"),
    (
        "options=() over=(t,batch) shape=(4)",
        "options=() over=(t,batch) shape=(4) cleared=true",
        "`~loss'1:2`: accumulates along axes that it does not iterate over",
    ),
    (
        "options=() over=(t,batch) shape=(4)",
        "options=() over=(t,batch) shape=(4) accumulate=true",
        "`~loss'1:2`: varies along t, batch, and is stored along ",
    ),
    ("operation=sum_over", "operation=sum", "`loss'2^1`: `sum` is no reduction over axes"),
    ("operation=sum_over", "operation=max_over", "`loss'2^1`: `max_over` does not accumulate"),
    ("over=(t,batch) kept=()", "over=() kept=(t,batch)", "`~c`: reduces no axis"),
    ("operand=loss'2[]", "operand=loss'2^2[]", "`loss^1`: iterates over ('batch',), and reads"),
    ("operand=~o[:4] over", "operand=~o[:3] over", "`~c`: has the shape (4,), and reads or"),
]
RUNS = [
    ("        fill buffer=s\n", "", "`s'2`: reads elements of `s` not yet written"),
    ("direction=forward", "direction=backward", "`s'2`: reads elements of `s` not yet written"),
    ("direction=backward", "direction=forward", "`~s`: reads elements of `~s'2:2` not yet written"),
    ("            carry buffer=~s'2:2\n", "", "`~s`: reads elements of `~s'2:2` not yet written"),
    ("        clear buffer=~W\n", "", "`~W`: reads elements of `~W` not yet written"),
    ("name=s role=tape", "name=s role=scratch", "`~V`: reads elements of `s` not yet written"),
    (
        "assign name=s operation=tanh operands=(%s'4) store=s[t+1:3]",
        "assign name=s operation=tanh operands=(%s'4) store=s[:3]",
        "`s`: writes elements of `s` twice",
    ),
    (
        "            optional phase=inputs\n                matmul out=~x",
        "            matmul out=~x",
        "`~x`: reads elements of `U@rows` not yet written",
    ),
    ("ref=~c[:4]", "ref=~s'2:2[:3]", "`c`: is a result, and `~s'2:2` holds none"),
]


@pytest.mark.parametrize(
    ("old", "new", "flaw"), [*BUFFERS, *FUNCTIONS, *PLACES, *STATEMENTS, *RUNS]
)
def test_a_flaw_of_a_program(old: str, new: str, flaw: str) -> None:
    found = program_flaws("vanilla.gradient", (old, new))
    assert any(flaw in one for one in found), found


def test_a_panel_that_is_not_packed() -> None:
    pack = "        pack panel=W@panel\n            part weight=W transposed=true\n"
    found = program_flaws("vanilla.gradient", (pack, ""), ("s,W,W@panel", "s,W@panel"))
    assert found == ["`s'2`: reads elements of `W@panel` not yet written"]


def test_a_panel_that_others_pack() -> None:
    job = ("pack panel=W@panel", "pack panel=W@panel job=0")
    other = ("pack panel=V@panel", "pack panel=V@panel job=0")
    found = program_flaws("vanilla.gradient", job, other)
    assert found == ["`V@panel`: packs by job 0, which is another panel's"]


def test_zeros_are_written_before_what_is_added_to_them() -> None:
    reduce, clear = "        reduce name=~c", "        clear buffer=~c\n"
    assert program_flaws("vanilla.gradient", (reduce, clear + reduce)) == []
    outer = "        outerproduct name=~V"
    found = program_flaws("vanilla.gradient", (outer, clear + outer))
    assert found == ["`~c`: writes elements of `~c` twice"]


def test_a_prologue_is_of_parameters_alone() -> None:
    """What it gives stays for calls of other arrays, and of other sizes."""
    start = "      prologue:\n        pack panel=U@panel"
    lines = (KERNELS / "vanilla.gradient.program.txt").read_text(encoding="utf-8").splitlines(True)
    place = next(number for number, line in enumerate(lines) if "name=loss'2^2 op" in line)
    nest = "".join(lines[place - 1 : place + 2])  # of the numbers of steps and of sequences
    found = program_flaws(
        "vanilla.gradient", (nest, ""), (start, f"{start[:16]}{nest}{start[16:]}")
    )
    assert found == ["`loss^2`: depends on sizes, which may change"]
    clear = "        clear buffer=loss'2^1\n"
    found = program_flaws("vanilla.gradient", (start, f"{start[:16]}{clear}{start[16:]}"))
    assert "`loss'2^1`: depends on sizes, which may change" in found
    assert "`loss'2^1`: writes `loss'2^1`, whose size may change" in found
    assert "`loss'2^1`: writes `loss'2^1`, which is to stay" in found
    leaf = ("(W,param)", "(W,input)")
    assert "`W@panel`: reads `W`, which may change" in program_flaws("vanilla.gradient", leaf)


def test_a_result_of_which_a_part_is_missing() -> None:
    whole = "assign name=o operation=add operands=(o'1[:4],c[:4]) store=o[:4]"
    part = "assign name=o operation=add operands=(o'1[:3],c[:3]) store=o[:3]"
    nest = "nest over=(t,batch) shape=(4) span=block"
    found = program_flaws("vanilla.gradient", (whole, part), (nest, nest.replace("4", "3")))
    assert "`o`: is a result that is not written whole" in found


def test_an_input_that_is_read_as_it_is() -> None:
    """One step at a time in a loop, or for a sum of products of numbers: not in a product."""
    loop, plain = "nest over=(batch) shape=()", "nest over=(t,batch) shape=()"
    nest = "            assign name=z operation=identity operands=(x[t+1]) store=y[t+2]\n"
    fill = "        fill buffer=y\n"
    found = program_flaws("biquad.forward", (fill, f"{fill}        {plain}\n    {nest}"))
    assert "`z`: reads many rows of `x` at once, which has no halo" in found
    assert program_flaws("biquad.forward", (loop, loop)) == []


def test_what_is_computed_under_a_condition() -> None:
    """It is read where the same condition picks it, and nowhere else."""
    text = (KERNELS / "clockwork.gradient.program.txt").read_text(encoding="utf-8")
    picks = "operation=where operands=(middle.h'1[],middle.h'3[:4],#0.0)"
    assert picks in text
    for other in (
        "operation=where operands=(slow.h'2[],middle.h'3[:4],#0.0)",
        "operation=where operands=(middle.h'1[],#0.0,middle.h'3[:4])",
        "operation=add operands=(#0.0,middle.h'3[:4])",
    ):
        found = program_flaws("clockwork.gradient", (picks, other))
        assert any("where it may not be computed" in flaw for flaw in found), found


def test_a_result_that_is_computed_under_a_condition() -> None:
    found = program_flaws(
        "clockwork.gradient", ("ref=o[:3] phase=primal", "ref=middle.h'3[:4] phase=primal")
    )
    assert "`o`: is a result, and predicated" in found


# Schedules ------------------------------------------------------------------------------


def schedule_flaws(text: str, *changes: tuple[str, str]) -> list[str]:
    """The flaws of a schedule, some of whose text is replaced, where it first is."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return [str(flaw) for flaw in verify_schedule(parse_schedule(text))]


def golden_schedule(name: str) -> str:
    return (KERNELS / f"{name}.schedule.txt").read_text(encoding="utf-8")


@cache
def in_pieces() -> str:
    """A schedule of four steps, of which the first one is another than the others."""
    graph, _ = read_spec((GOLDEN / "vanilla.roll").read_text(encoding="utf-8"), "vanilla")
    return print_schedule(scheduled(replace(kernel_graphs(graph)["gradient"](), steps=4)))


def moved(text: str, name: str, heading: str) -> str:
    """A schedule with the line of a node behind another line, the heading of a region or a node's.

    A heading that is not there is put in front of the results.
    """
    lines = text.splitlines()
    (line,) = (one for one in lines if one.startswith(f"    {name} "))
    lines.remove(line)
    places = [place for place, one in enumerate(lines) if one.strip().startswith(heading)]
    if not places:
        places = [lines.index("output o") - 1]
        lines[places[0] : places[0]] = ["", heading]
        places = [places[0] + 1]
    lines.insert(places[-1] + 1, line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.schedule.txt")), ids=lambda path: path.stem)
def test_golden_schedules(path: Path) -> None:
    assert schedule_flaws(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        ("free primal", "free adjoint", "the phase primal is repeated after another one"),
        ("free primal", "free primal over t", "a region without a cycle has the axis `t`"),
        ("primal over t", "primal over s", "a loop over `s`, which is no time axis"),
        ("= add(s'3, b)", "= add(s'3, c)", "`s'4`: `add` takes equal shapes, or a number"),
        ("line 12", "line 12  at t-1", "`o'1`: is computed at a shifted step outside a loop"),
        ("forward", "backward", "`s'2`: reads `s[t-1]` before it is computed"),
        ("backward", "forward", "`~s`: reads `~s'2:2[t+1]` before it is computed"),
    ],
)
def test_a_flaw_of_a_schedule(old: str, new: str, flaw: str) -> None:
    found = schedule_flaws(golden_schedule("vanilla.gradient"), (old, new))
    assert any(flaw in one for one in found), found


@pytest.mark.parametrize(
    ("name", "node", "heading", "flaw"),
    [
        ("vanilla", "s'4", "region forward", "`s'4`: reads `s'3` before it is computed"),
        ("vanilla", "s", "region forward", "`s`: reads `s'4` before it is computed"),
        ("vanilla", "o", "s'1 ", "`o`: reads `o'1` before it is computed"),
        ("vanilla", "s'1", "~U", "`s'3`: reads `s'1` before it is computed"),
        ("vanilla", "s'1", "region none", "`s'3`: reads `s'1`, which nothing computes"),
        ("vanilla", "~b", "region none", "`~b`: is a result, and nothing computes it"),
        (
            "vanilla",
            "~U",
            "region free inputs",
            "is a result of the phase adjoint, and is in inputs",
        ),
        ("vanilla", "~b", "~s'2:2", "`~b`: is in a loop over `t`, and does not run over that"),
        # A condition and an initial value are read too.
        ("clockwork", "slow.h'2", "slow.h'3 ", "`slow.h'3`: reads `slow.h'2` before it is"),
        (
            "clockwork",
            "slow.phase.phase'8",
            "region none",
            "`slow.phase.phase`: reads `slow.phase.",
        ),
    ],
)
def test_a_node_in_a_wrong_place(name: str, node: str, heading: str, flaw: str) -> None:
    found = schedule_flaws(moved(golden_schedule(f"{name}.gradient"), node, heading))
    assert any(flaw in one for one in found), found


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        ("steps 0:1", "steps 0:2", "`s'3`: is computed more than once at some steps"),
        ("steps 1:4", "steps 2:4", "`s'3`: runs for other steps than its loop"),
        ("steps 1:4", "steps 1:3", "`s'3`: runs for other steps than its loop"),
        ("steps 0:4", "steps 0:9", "`~V`: there are no steps 0 to 9"),
        ("steps 0:1", "steps 1:1", "`s'3`: there are no steps 1 to 1"),
        (
            "float[3] over t, batch  line 11  steps",
            "float[2] over t, batch  line 11  steps",
            "is fl",
        ),
        ("identity(s'1)", "identity(c)", "`s'3`: the type is given as float[3]"),
        ("identity(s'1)", "sum(loss'2^2)", "`s'3`: `sum` takes a vector"),
    ],
)
def test_a_flaw_of_pieces(old: str, new: str, flaw: str) -> None:
    assert schedule_flaws(in_pieces()) == []
    found = schedule_flaws(in_pieces(), (old, new))
    assert any(flaw in one for one in found), found


def test_pieces_that_are_missing() -> None:
    found = schedule_flaws(moved(in_pieces(), "s^piece1", "region none"))
    assert "`o'1`: reads `s` at the step 0, where it is not computed" in found
    assert "`s'2`: reads `s[t-1]` at the step 0, where it is not computed" in found
    whole = next(line for line in in_pieces().splitlines() if line.startswith("    o "))
    piece = whole.replace("    o ", "    o^piece1 ") + "  steps 1:4"
    found = schedule_flaws(in_pieces(), (whole, piece), ("region none", f"region none\n{whole}\n#"))
    assert "`o`: is a result, and is not computed at the step 0" in found


def test_a_sum_that_is_computed_twice() -> None:
    line = next(one for one in in_pieces().splitlines() if one.startswith("    ~W^piece1"))
    again = line.replace("piece1", "piece2")
    found = schedule_flaws(in_pieces(), (line, f"{line}\n{again}"))
    assert found == ["`~W`: is computed more than once"]


def test_what_no_text_can_say() -> None:
    schedule = parse_schedule(golden_schedule("vanilla.forward"))
    region = schedule.regions[1]

    def found(**changes: Any) -> list[str]:
        regions = (schedule.regions[0], replace(region, **changes), schedule.regions[2])
        return [str(flaw) for flaw in verify_schedule(replace(schedule, regions=regions))]

    (first, *rest) = region.items
    assert found() == []
    assert found(kind="sideways") == ["`region sideways primal` is no region"]
    other = replace(first, node=replace(first.node, line=99))
    assert found(items=(other, *rest)) == ["`s'2`: differs from the node of that name in the graph"]
    other = replace(first, node=replace(first.node, name="r"))
    assert "`r`: is no node of the graph" in found(items=(other, *rest))
    assert "`s'2`: is computed more than once at some steps" in found(items=(first, *region.items))


def test_no_code_is_made() -> None:
    """The verifier knows no compiler."""
    text = (
        "import sys, rollc.kernel.verification.verifier\n"
        "code = {'numba', 'llvmlite', 'rollc.backends.numba.codegen.module'}\n"
        "sys.exit(bool(code & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 0
