"""What rollc computes for a program in each way that it can be called, held to its meaning.

A *way* gives pairs of what was found and what is right.  All of them take one *case*: a program
with its settings and its numbers.  Programs whose numbers come too close to a border, where
rounding decides, are drawn again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.commands.random_programs import language as la
from tests.commands.random_programs.ways.called import (
    averaged,
    chosen,
    complex_arrays,
    kernels,
    loss_alone,
    moved,
    of_each_sequence,
    prepared,
    pulled,
    pulled_with_lengths,
    second_derivatives,
    sensitivities,
    truncated,
    windowed,
    with_lengths,
)
from tests.commands.random_programs.ways.case import (
    Case,
    Compared,
    Different,
    Unsure,
    check,
)
from tests.commands.random_programs.ways.interpreted import (
    interpreter,
    passes,
    reference,
    unrolled,
)
from tests.commands.random_programs.ways.nothing import (
    without_sequences,
    without_steps,
)
from tests.commands.random_programs.ways.stepped import stepped
from tests.commands.random_programs.ways.windows import in_windows, windows_with_lengths
from tests.commands.random_programs.writing.scope import Settings

LEAST_MARGIN = {"float64": 1e-7, "float32": 1e-3}
Way = Callable[[Case], Compared]
WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        interpreter,
        kernels,
        pulled,
        loss_alone,
        prepared,
        moved,
        second_derivatives,
        of_each_sequence,
        with_lengths,
        pulled_with_lengths,
        truncated,
        averaged,
        unrolled,
        windowed,
        sensitivities,
        stepped,
        in_windows,
        windows_with_lengths,
        chosen,
        without_steps,
        without_sequences,
        passes,
        reference,
        complex_arrays,
    )
}


def ways_of(settings: Settings) -> list[str]:
    """The interpreter, and some more that the seed picks."""
    chosen = random.Random(settings.seed + 1)
    return ["interpreter", *chosen.sample([name for name in WAYS if name != "interpreter"], 2)]


def run(
    program: la.Program,
    settings: Settings,
    ways: list[str],
    dtype: str = "float64",
    tries: int = 3,
) -> int:
    """Compare; how many arrays were.  Raises what went wrong, or :class:`Unsure`."""
    for numbers in range(tries):
        case = Case(program, settings, dtype, numbers)
        try:
            case.meant().loss()
            for label in case.meant().meaning.found.outputs:
                case.meant().output(label)
            _need_margin(case)
            return sum(_checked(case, name) for name in ways)
        except Unsure:
            if numbers == tries - 1:
                raise
        finally:
            case.close()
    raise AssertionError


def _checked(case: Case, name: str) -> int:
    try:
        found = check(case, WAYS[name](case))
    except Different:
        _need_margin(case)
        raise
    _need_margin(case)
    return found


def _need_margin(case: Case) -> None:
    least = min(batch.margin.least for batch in case.meanings.values())
    if least < LEAST_MARGIN[case.dtype]:
        raise Unsure(f"{least:.2g} from a border")
