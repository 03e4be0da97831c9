"""What a picture of a network shows."""

from __future__ import annotations

from dataclasses import replace

from rollc.backends import registry
from rollc.entries.stage_graphs import kernel_graph, stage_graph
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.kernel.passes import scheduled
from rollc.kernel.schedule import Schedule
from rollc.support.checks import choice, whole
from rollc.support.passes import Runner

OF_NETWORK = ("graph", "checked", "simplified")
OF_KERNELS = ("adjoint", "tangent", "dag", "schedule")


def drawn_stage(
    graph: Graph, stage: str, kernel: str | None, steps: int | None
) -> Graph | Schedule:
    """The stage of a checked graph that a picture shows; over some steps ``dag`` is meant.

    Raises :class:`InputError`.
    """
    stage = choice("as `stage`", stage, (*OF_NETWORK, *OF_KERNELS))
    if steps is not None:
        steps = whole("`steps`", steps, least=1)
        stage = "dag" if stage in OF_NETWORK else stage
    if kernel is not None and stage in OF_NETWORK:
        raise InputError(f"`kernel` has no effect on `{stage}`, which is of the network itself")
    if stage == "dag" and steps is None:
        raise InputError("the stage `dag` is the network over some steps: give `steps`")
    if stage != "schedule":
        return stage_graph(graph, stage, kernel, steps)
    run = Runner(target=registry.backend(None).target)
    return scheduled(replace(kernel_graph(graph, stage, kernel, run), steps=steps), run)
