"""The stages of a network: what its pictures show, and their texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from html import escape

from rollc.backends import registry
from rollc.entries.stage_graphs import kernel_graph, kernel_steps, stage_graph, steps_along
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.text import print_graph
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.remarks.report import print_remarks
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import print_program, print_schedule
from rollc.support.checks import choice
from rollc.support.passes import Runner

OF_NETWORK = ("graph", "checked", "simplified")
OF_KERNELS = ("adjoint", "tangent", "dag", "schedule")
TEXTS = (*OF_NETWORK, *OF_KERNELS, "program", "kernel")


class Text(str):
    """A text that shows itself as it is, in a notebook too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self)}</pre>"


def drawn_stage(
    graph: Graph, stage: str, kernel: str | None, steps: int | Mapping[str, int] | None
) -> tuple[Graph | Schedule, dict[str, int] | None]:
    """A stage of a checked graph that has a picture; over some steps ``dag`` is meant.

    With two time axes the steps are given back, for a grid of the stage before it is unrolled.
    Raises :class:`InputError`.
    """
    stage = _checked(stage, (*OF_NETWORK, *OF_KERNELS), kernel, steps)
    if stage == "schedule":
        if steps is not None:
            raise InputError("a schedule is drawn for any number of steps: leave out `steps`")
        return _planned(graph, stage, kernel, None)[0], None
    if steps is None or len(graph.axes) < 2:
        return stage_graph(graph, stage, kernel, steps), None
    along = steps_along(graph.axes, steps)
    if stage == "dag" and kernel is None:
        return stage_graph(graph, "simplified"), along
    return kernel_graph(graph, stage, kernel, Runner()), along


def text_of(
    graph: Graph,
    stage: str,
    kernel: str | None,
    steps: int | Mapping[str, int] | None,
    dtype: str,
    backend: str | None,
) -> Text:
    """The text of a stage.  Raises :class:`InputError`."""
    stage = _checked(stage, TEXTS, kernel, steps)
    if stage not in ("schedule", "program", "kernel"):
        return Text(print_graph(stage_graph(graph, stage, kernel, steps)))
    schedule, run = _planned(graph, stage, kernel, kernel_steps(graph, steps))
    if stage == "schedule":
        return Text(print_schedule(schedule))
    program = planned(schedule, run=run)
    if stage == "program":
        return Text(print_program(program))
    return Text(registry.backend(backend).emit(program, dtype))


def remarks_of(graph: Graph, nodes: Sequence[str], kernel: str | None, dtype: str) -> Text:
    """Why the kernel is as it is.  Raises :class:`InputError` for a name that no node has."""
    schedule, run = _planned(graph, "why", kernel, None)
    names = [node.name for node in schedule.graph.nodes]
    try:
        return Text(print_remarks(schedule, planned(schedule, run=run), dtype, nodes))
    except KeyError as error:
        near = get_close_matches(str(error.args[0]), names, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        message = f"no value of the kernel has the name `{error.args[0]}`{hint}"
        raise InputError(message) from None


def _checked(
    stage: str, known: Sequence[str], kernel: str | None, steps: int | Mapping[str, int] | None
) -> str:
    stage = choice("as `stage`", stage, known)
    if steps is not None:
        stage = "dag" if stage in OF_NETWORK else stage
    if kernel is not None and stage in OF_NETWORK:
        raise InputError(f"`kernel` has no effect on `{stage}`, which is of the network itself")
    if stage == "dag" and steps is None:
        raise InputError("the stage `dag` is the network over N steps: give `steps` (`--steps N`)")
    return stage


def _planned(
    graph: Graph, stage: str, kernel: str | None, steps: int | None
) -> tuple[Schedule, Runner]:
    run = Runner(target=registry.backend(None).target)
    return scheduled(replace(kernel_graph(graph, stage, kernel, run), steps=steps), run), run
