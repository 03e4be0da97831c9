"""Schedules and programs of random graphs have no flaw, and compute what the graphs mean.

No code is made of them: what is wrong here is wrong in the planning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.segments import segments
from rollc.autodiff.tangent import DIRECTION
from rollc.autodiff.truncation import truncate
from rollc.autodiff.window_split import CannotSplit
from rollc.entries.forward_mode import tangent_kernels
from rollc.entries.streaming import stream_kernels
from rollc.ir.graph import BATCH, Graph
from rollc.ir.text import print_graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.verification.verifier import verify_program, verify_schedule
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import why_no_lengths, with_lengths
from tests.helpers.interpreted_programs import assert_means_the_same, program_of
from tests.helpers.strategies.delay_graphs import delay_graphs, streamed_graphs
from tests.helpers.strategies.random_specs import spec_graphs
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs
from tests.helpers.strategies.wavefront_graphs import wavefront_graphs

GRAPHS = {
    "graphs": delay_graphs(clocks=True),
    "states": streamed_graphs(),
    "specs": spec_graphs(),
    "axes": st.booleans().flatmap(two_axis_graphs),
    "fronts": wavefront_graphs(),
}


def hold(graph: Graph, steps: int | None, sizes: dict[str, int], rows: int, seed: int) -> None:
    note(print_graph(graph))
    schedule = scheduled(replace(graph, steps=steps))
    assert [*map(str, verify_schedule(schedule))] == []
    assert [*map(str, verify_program(planned(schedule, rows)))] == []
    assert_means_the_same(graph, program_of(graph, steps, rows), sizes, seed)


def tangents(graph: Graph) -> list[tuple[Graph, int]]:
    """The graphs of forward sensitivities, each with a number of directions."""
    try:
        found = segments(graph)
    except CannotSplit:
        return []
    made = [make() for make in tangent_kernels(found).values()]
    counts = [
        sum(one[n].type.size for n in part.cuts)
        for one, part in zip(made, found.segments, strict=True)
    ]
    return list(zip(made, counts, strict=True))


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("of", GRAPHS)
def test_programs_agree_with_the_interpreter_of_graphs(of: str, number: int) -> None:
    @seeded(number)  # the same graphs whenever it is drawn
    @settings(
        max_examples=15,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # to make a failure small takes many minutes
    )
    @given(
        graph=GRAPHS[of],
        loss=st.booleans(),
        steps=st.integers(1, 7),
        rolled=st.booleans(),
        batch=st.integers(1, 3),
        rows=st.integers(1, 9),
        seed=st.integers(0, 99),
        ragged=st.booleans(),
        window=st.sampled_from([None, None, 1, 2, 3]),
    )
    def agree(
        graph: Graph,
        loss: bool,
        steps: int,
        rolled: bool,
        batch: int,
        rows: int,
        seed: int,
        ragged: bool,
        window: int | None,
    ) -> None:
        plain, axes = graph, graph.axes
        graph = graph if window is None else truncate(graph, window)
        graph = with_lengths(graph) if ragged and why_no_lengths(graph) is None else graph
        count = steps if not rolled and len(axes) == 1 else None
        sizes: dict[str, Any] = {axis: 1 + (steps + 3 * i) % 7 for i, axis in enumerate(axes)}
        sizes |= {axes[0]: steps, BATCH: batch}
        graph = canonicalize(graph)
        with np.errstate(all="ignore"):
            hold(
                canonicalize(adjoint(graph, of="loss" if loss else "outputs")),
                count,
                sizes,
                rows,
                seed,
            )
            if graph.outputs:  # some graphs have nothing but a loss
                hold(canonicalize(replace(graph, loss=None)), count, sizes, rows, seed)
            for built, directions in tangents(graph):
                hold(built, None, {**sizes, DIRECTION: directions}, rows, seed)
            for make in stream_kernels(plain).values() if len(axes) > 1 else ():
                hold(make(), None, sizes, rows, seed)

    agree()
