"""The verifiers of loops over diagonals: those that are made have no flaw, and others have."""

from __future__ import annotations

from functools import cache

import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.text import (
    ProgramTextError,
    parse_program,
    parse_schedule,
    print_program,
    print_schedule,
)
from rollc.kernel.verification.verifier import verify_program, verify_schedule

SPEC = """
net grid
time s, t
input x[s], y[t]
param u
h = tanh(u * {} + x * y)
output h
"""
NEAR, FAR = "h[s-1] + h[t-1]", "h[s-2, t+3] + h[s+1, t-1]"


@cache
def texts(reads: str) -> tuple[str, str]:
    """The schedule of a recurrence and its program."""
    graph, _ = read_spec(SPEC.format(reads), "grid")
    schedule = scheduled(kernel_graphs(graph)["forward"]())
    return print_schedule(schedule), print_program(planned(schedule))


def changed(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


@pytest.mark.parametrize("reads", [NEAR, FAR])
def test_what_is_made_has_no_flaw(reads: str) -> None:
    schedule, program = texts(reads)
    assert "by diagonals" in schedule
    assert verify_schedule(parse_schedule(schedule)) == []
    assert verify_program(parse_program(program)) == []


@pytest.mark.parametrize(
    ("reads", "old", "new", "flaw"),
    [
        (NEAR, "region forward", "region backward", "before it is computed"),
        (NEAR, "diagonals s+t", "diagonals t-s", "`h'1`: reads `h[s-1]` before it is computed"),
        (NEAR, "diagonals s+t", "diagonals 2s+2t", "diagonals of the weights (2, 2)"),
        (NEAR, "diagonals s+t", "diagonals r+t", "`r`, which is no other time axis"),
        (NEAR, "diagonals s+t", "diagonals t+t", "`t`, which is no other time axis"),
        (FAR, "diagonals 4s+3t", "diagonals 3s+2t", "before it is computed"),
        (FAR, "at diagonal+", "at diagonal+9", "before it is computed"),
    ],
)
def test_a_flaw_of_a_schedule(reads: str, old: str, new: str, flaw: str) -> None:
    found = verify_schedule(parse_schedule(changed(texts(reads)[0], old, new)))
    assert any(flaw in str(one) for one in found), found


def test_diagonals_that_are_not_those_of_the_loop() -> None:
    for wrong in ("t+s", "s+r", "s-t"):
        with pytest.raises(ProgramTextError, match="a loop over `t` by diagonals of"):
            parse_schedule(changed(texts(NEAR)[0], "diagonals s+t", f"diagonals {wrong}"))
    with pytest.raises(ProgramTextError, match="expected diagonals such as"):
        parse_schedule(changed(texts(NEAR)[0], "diagonals s+t", "diagonals 1+2"))


@pytest.mark.parametrize(
    ("reads", "old", "new", "flaw"),
    [
        (NEAR, "direction=forward", "direction=backward", "not yet written"),
        (NEAR, "weights=(1,1)", "weights=(-1,1)", "in the order of other diagonals"),
        (NEAR, "weights=(1,1)", "weights=(0,1)", "has no diagonals of `s`"),
        (NEAR, "weights=(1,1)", "weights=(3,-1)", "has no diagonals of `s`"),
        (NEAR, "across=s", "across=t", "has no diagonals of `t`"),
        (NEAR, "across=s", "across=r", "has no diagonals of `r`"),
        (NEAR, "nest over=(s,batch)", "nest over=(batch)", "iterates over no steps along `s`"),
        (NEAR, "nest over=(s,batch)", "nest over=(s,t,batch)", "iterates over `t` inside"),
        (NEAR, "skew=1", "skew=2", "`h^t`, which is in the order of other diagonals"),
        (NEAR, "name=u role=leaf kind=float", "name=u role=leaf kind=float skew=1", "two axes"),
        # Cells of one diagonal that need each other.
        (FAR, "weights=(4,3)", "weights=(3,2)", "not yet written"),
        (FAR, "weights=(4,3)", "weights=(1,1)", "not yet written"),
    ],
)
def test_a_flaw_of_a_program(reads: str, old: str, new: str, flaw: str) -> None:
    found = verify_program(parse_program(changed(texts(reads)[1], old, new)))
    assert any(flaw in str(one) for one in found), found
