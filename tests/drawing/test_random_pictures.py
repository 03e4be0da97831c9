"""Random networks have pictures, and nothing lies on anything else in one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.drawing import graphviz
from rollc.drawing.picture import Picture, draw
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.network.diagnosis.stages import drawn_stage
from tests.drawing.overlaps import flaws
from tests.helpers.strategies.delay_graphs import delay_graphs
from tests.helpers.strategies.random_specs import spec_graphs
from tests.helpers.strategies.two_axis_graphs import two_axis_graphs

SHOWN = (("checked", None), ("adjoint", None), ("dag", 2), ("adjoint", 3), ("schedule", None))
GRAPHS = st.one_of(spec_graphs(), delay_graphs(), two_axis_graphs())


def picture_of(graph: Graph, stage: str, steps: int | None) -> Picture | None:
    try:
        shown, grid = drawn_stage(graph, stage, None, steps)
    except InputError:
        return None  # without a gradient, for example
    return draw(shown, steps=grid)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(GRAPHS)
def test_every_stage_has_a_picture(graph: Graph) -> None:
    for stage, steps in SHOWN:
        picture = picture_of(graph, stage, steps)
        if picture is not None:
            assert picture.dot().startswith("digraph")


@pytest.mark.long
@pytest.mark.skipif(not graphviz.is_there(), reason="there is no Graphviz")
@settings(max_examples=10, deadline=None)
@given(GRAPHS, st.sampled_from(SHOWN))
def test_nothing_lies_on_anything_else(graph: Graph, shown: tuple[str, int | None]) -> None:
    picture = picture_of(graph, *shown)
    if picture is not None:
        assert flaws(picture.svg()) == []
