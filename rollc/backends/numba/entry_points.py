"""Entry points: one for each phase of a program, and the functions of the source that it calls.

An entry point has the numbers and arrays of :mod:`rollc.backends.protocol`.  It runs the prologue
and the rest of its phase, or one of them, each of which is a function of its own: within one
function a condition around the prologue makes the loops after it slower.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollc.kernel.program import PROLOGUE, REST, Function, Program, Statement


@dataclass(frozen=True, slots=True)
class Part:
    """A function that an entry point calls: its name, arguments and statements.

    It is left out of a call of the part ``without`` alone.
    """

    name: str
    numbers: tuple[str, ...]
    buffers: tuple[str, ...]
    body: tuple[Statement, ...]
    without: int


def numbers(program: Program, function: Function) -> tuple[str, ...]:
    """The names of the numbers that an entry point takes, in order; the source explains them."""
    axes = program.axes
    steps = [f"T_{number}" for number in range(len(axes))] if len(axes) > 1 else ["T"]
    optional = [function.optional] if function.optional else []
    return (*steps, "B", "N", "K", "team", "progress", "part", *optional)


def parts(program: Program, function: Function) -> tuple[Part, ...]:
    """The functions of a phase, in the order of their calls."""
    own = tuple(name for name in numbers(program, function) if name != "part")
    rest = Part(function.phase, own, function.body_buffers, function.body, PROLOGUE)
    if not function.prologue:
        return (rest,)
    name, buffers = f"{function.phase}_prologue", function.prologue_buffers
    return Part(name, ("team", "progress"), buffers, function.prologue, REST), rest
