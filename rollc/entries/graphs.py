"""The graph that each kernel of a network computes, by the kernel's name.

What the names mean is in :mod:`rollc.driver.build`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Literal

from rollc.autodiff.adjoint import differentiable
from rollc.autodiff.by_sequence import why_not_by_sequence
from rollc.autodiff.window_split import CannotSplit
from rollc.entries.forward_mode import (
    hessian_products,
    jvp_graph,
    prepared_graph,
    tangent_kernels,
    why_no_hessian,
)
from rollc.entries.passes import (
    ADJOINT,
    AVERAGE,
    BY_SEQUENCE,
    CANONICALIZE,
    EXPOSE_STATE,
    INLINE,
    LOSS,
    OUTPUTS,
    RAGGED,
    SEGMENTS,
    TRUNCATE,
    WINDOWS,
)
from rollc.entries.streaming import stream_kernels
from rollc.entries.windows import window_kernels
from rollc.ir.graph import Graph, delayed
from rollc.ir.names import state_variant
from rollc.support.passes import Runner
from rollc.transforms.ragged import LengthsError, why_no_lengths
from rollc.transforms.state import expose_state, why_no_state


def kernel_graphs(
    graph: Graph, truncate: int | None = None, combine: str = "sum", run: Runner | None = None
) -> dict[str, Callable[[], Graph]]:
    """The graph that each kernel computes, by its name; each is made when it is called.

    ``truncate`` is the number of steps of the windows whose boundaries no gradient crosses;
    ``combine`` says how the gradients of a parameter at all steps are combined: ``sum`` or
    ``mean``.  ``run`` runs the passes.
    """
    run = run or Runner()
    if graph.gradients:  # the text of an adjoint: its gradients are there already
        simple = run(CANONICALIZE, graph)
        return {
            "forward": lambda: run(CANONICALIZE, run(OUTPUTS, simple)),
            "loss": lambda: run(CANONICALIZE, run(LOSS, simple)),
            "gradient": lambda: simple,
        }
    makers: dict[str, Callable[[], Graph]] = {}
    has_second = combine == "sum" and any(differentiable(node) for node in graph.nodes)

    @cache
    def prepared(state: str | None, lengths: bool, window: int | None = None) -> Graph:
        made: Graph = run(CANONICALIZE, opened(state, lengths, window))
        return made

    @cache
    def opened(state: str | None, lengths: bool, window: int | None = None) -> Graph:
        # These come before canonicalization: a state keeps the name of its node, and truncation
        # and lengths apply to the reads as they are written.
        found = graph if state is None else run(EXPOSE_STATE, graph, state)
        found = found if window is None else run(TRUNCATE, found, window)
        made: Graph = run(RAGGED, found) if lengths else found
        return made

    def add(state: str | None, lengths: bool) -> None:
        variant = "" if state is None else state_variant(graph.axes, state)
        variant += ".lengths" * lengths
        # Those of windows along one of two axes would take most of the time of a build.
        second = has_second and (state is None or len(graph.axes) == 1)

        def derived(of: Literal["loss", "outputs"]) -> Graph:
            if combine == "mean":  # over the steps that read a parameter as it is written
                found = opened(state, lengths, truncate)
                found = run(AVERAGE, found if of == "loss" else run(OUTPUTS, found), of)
            else:
                found = prepared(state, lengths, truncate)
                found = found if of == "loss" else run(CANONICALIZE, run(OUTPUTS, found))
                found = run(ADJOINT, found, of)
            made: Graph = run(CANONICALIZE, found)
            return made

        if graph.outputs:
            forward = f"forward{variant}".replace("forward.state", "stream")
            makers[forward] = lambda: run(CANONICALIZE, run(OUTPUTS, prepared(state, lengths)))
        if graph.loss is not None:
            makers[f"loss{variant}"] = lambda: run(
                CANONICALIZE, run(LOSS, prepared(state, lengths))
            )
            makers[f"gradient{variant}"] = lambda: derived("loss")
            if combine == "sum" and why_not_by_sequence(graph) is None:
                makers[f"by_sequence{variant}"] = lambda: run(
                    CANONICALIZE, run(BY_SEQUENCE, opened(state, lengths, truncate))
                )
            if second and why_no_hessian(graph) is None:
                makers[f"hvp{variant}"] = lambda: hessian_products(
                    prepared(state, lengths, truncate), run
                )
        if any(graph[name].type.kind == "float" for _, name in graph.outputs):
            makers[f"vjp{variant}"] = lambda: derived("outputs")
            makers[f"jvp{variant}"] = lambda: jvp_graph(prepared(state, lengths, truncate), run)
            if second and why_no_hessian(graph, "outputs") is None:
                makers[f"gradient_vjp{variant}"] = lambda: hessian_products(
                    prepared(state, lengths, truncate), run, "outputs"
                )

    along = [axis for axis in graph.axes if delayed(graph, axis) and not why_no_state(graph, axis)]
    for state in (None, *along):
        add(state, False)
        if why_no_lengths(graph if state is None else expose_state(graph, state)) is None:
            add(state, True)
    if len(graph.axes) > 1 and graph.outputs:
        makers |= stream_kernels(graph, run)
    if graph.loss is not None and truncate is None and combine == "sum":
        simple = run(CANONICALIZE, graph)
        for axis in graph.axes:
            with suppress(CannotSplit):
                makers |= window_kernels(run(WINDOWS, simple, axis), run)
    if graph.loss is not None and combine == "sum":
        for lengths in (False, True):
            with suppress(CannotSplit, LengthsError):
                found = run(SEGMENTS, prepared_graph(graph, truncate, lengths, run))
                makers |= tangent_kernels(found, lengths, run)
    return {entry: _finished(make, run) for entry, make in makers.items()}


def _finished(make: Callable[[], Graph], run: Runner) -> Callable[[], Graph]:
    """The maker of a kernel's graph, with custom gradients removed from its result."""

    def finish() -> Graph:
        graph = make()
        plain: Graph = run(INLINE, graph)
        return graph if plain is graph else run(CANONICALIZE, plain)

    return finish
