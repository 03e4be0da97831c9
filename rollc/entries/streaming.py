"""The graphs of the kernels that run a network with two time axes step by step."""

from __future__ import annotations

from collections.abc import Callable

from rollc.entries.passes import CANONICALIZE, EXPOSE_STATE, OUTPUTS, RAGGED, STREAM
from rollc.ir.graph import Graph
from rollc.ir.names import lengths_leaves
from rollc.ir.traversal import needed
from rollc.support.passes import Runner
from rollc.transforms.ragged import why_no_lengths
from rollc.transforms.streaming_split import Stream, why_no_stream


def stream_kernels(graph: Graph, run: Runner | None = None) -> dict[str, Callable[[], Graph]]:
    """The makers of the kernels' graphs, by the kernels' names: a start and a step an axis."""
    run = run or Runner()
    makers: dict[str, Callable[[], Graph]] = {}

    def add(axis: str, lengths: bool) -> None:
        def found() -> Stream:
            return prepared_stream(graph, axis, lengths, run)

        makers[stream_entry(graph, "stream", axis, lengths)] = lambda: run(
            CANONICALIZE, exposed_steps(found().steps, axis, run)
        )
        makers[stream_entry(graph, "start", axis, lengths)] = lambda: run(
            CANONICALIZE, found().start
        )

    for axis in graph.axes:
        if why_no_stream(graph, axis) is None:
            add(axis, False)
            if why_no_lengths(graph) is None:
                add(axis, True)
    return makers


def stream_entry(graph: Graph, kind: str, axis: str, lengths: bool) -> str:
    """The name of the kernel ``start`` or ``stream``; with the axis if several can be stepped."""
    others = [other for other in graph.axes if other != axis]
    choice = any(why_no_stream(graph, other) is None for other in others)
    return kind + f".{axis}" * choice + ".lengths" * lengths


def prepared_stream(graph: Graph, axis: str, lengths: bool, run: Runner | None = None) -> Stream:
    """The start and the steps of a checked graph; ``lengths`` are those along other axes."""
    run = run or Runner()
    plain = run(OUTPUTS, graph)
    made: Stream
    if not lengths:
        made = run(STREAM, plain, axis)
        return made
    others = [other for other in graph.axes if other != axis]
    leaves = lengths_leaves(graph.axes)
    ragged = run(RAGGED, plain, others)
    made = run(STREAM, ragged, axis, [leaves[other] for other in others])
    return made


def exposed_steps(steps: Graph, axis: str, run: Runner | None = None) -> Graph:
    """The steps with their state as leaves and outputs, and no leaf that is not read."""
    exposed = (run or Runner())(EXPOSE_STATE, steps, axis)
    return needed(exposed, [name for _, name in exposed.outputs])
