"""The graphs of the forward-mode kernels: ``jvp``, ``hvp``, ``gradient_vjp``, those of segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rollc.autodiff.adjoint import between, differentiable
from rollc.autodiff.segments import Segment, Segments
from rollc.entries.passes import (
    ADJOINT,
    CANONICALIZE,
    EXPOSE_STATE,
    GRADIENTS,
    LOSS,
    OUTPUTS,
    PUSHFORWARD,
    RAGGED,
    TANGENT,
    TRUNCATE,
)
from rollc.ir.graph import LEAVES, Graph
from rollc.ir.operations import operation_of
from rollc.support.passes import Runner


def prepared_graph(
    graph: Graph, truncate: int | None = None, lengths: bool = False, run: Runner | None = None
) -> Graph:
    """A checked graph, ready to be differentiated.

    No gradient crosses a boundary of windows of ``truncate`` steps; with ``lengths`` each
    sequence ends at its own length.
    """
    run = run or Runner()
    found = graph if lengths or truncate is not None else run(CANONICALIZE, graph)
    found = found if truncate is None else run(TRUNCATE, found, truncate)
    made: Graph = run(CANONICALIZE, run(RAGGED, found) if lengths else found)
    return made


def jvp_graph(prepared: Graph, run: Runner | None = None) -> Graph:
    """The outputs of a prepared graph, and their derivatives in one direction of all leaves."""
    run = run or Runner()
    outputs = run(CANONICALIZE, run(OUTPUTS, prepared))
    leaves = [node.name for node in outputs.nodes if differentiable(node)]
    made: Graph = run(CANONICALIZE, run(PUSHFORWARD, outputs, leaves))
    return made


def hessian_products(
    prepared: Graph, run: Runner | None = None, of: Literal["loss", "outputs"] = "loss"
) -> Graph:
    """The products of the Hessian of a prepared graph's loss, for all leaves together.

    They are the derivatives of the gradients in one direction, labelled with ``^dot`` behind; of
    the outputs those of the gradients from cotangents, which are leaves as in ``vjp``.
    """
    run = run or Runner()
    results = run(CANONICALIZE, run(LOSS if of == "loss" else OUTPUTS, prepared))
    gradients = run(GRADIENTS, run(ADJOINT, results, of))
    leaves = [node.name for node in gradients.nodes if differentiable(node)]
    made: Graph = run(CANONICALIZE, run(PUSHFORWARD, gradients, leaves, values=False))
    return made


def why_no_hessian(graph: Graph, of: Literal["loss", "outputs"] = "loss") -> str | None:
    """Why the loss of a checked graph, or an output, has no second derivatives; None if it has."""
    leaves = [node.name for node in graph.nodes if differentiable(node)]
    outputs = [name for _, name in graph.outputs]
    loss = [] if graph.loss is None else [graph.loss]
    for name in between(graph, leaves, loss if of == "loss" else outputs):
        node = graph[name]
        if node.operation not in LEAVES and operation_of(node).once:
            where = f" (line {node.line})" if node.line else ""
            return f"`{name}`{where} has a derivative of its own, `grad`, which tells no second one"
    return None


def tangent_entry(index: int, lengths: bool = False) -> str:
    """The name of a segment's kernel."""
    return "tangent" + (f".{index + 1}" if index else "") + ".lengths" * lengths


def tangent_kernels(
    found: Segments, lengths: bool = False, run: Runner | None = None
) -> dict[str, Callable[[], Graph]]:
    """The graph of each segment's kernel: its window, the tangents of it, and the state."""

    run = run or Runner()

    def maker(segment: Segment) -> Callable[[], Graph]:
        return lambda: run(
            CANONICALIZE, run(EXPOSE_STATE, with_tangents(segment, run), segment.axis)
        )

    segments = enumerate(found.segments)
    return {tangent_entry(index, lengths): maker(each) for index, each in segments}


def with_tangents(segment: Segment, run: Runner | None = None) -> Graph:
    """A segment's window with its tangents in the directions of the cuts."""
    run = run or Runner()
    window = run(CANONICALIZE, segment.window)
    made: Graph = run(CANONICALIZE, run(TANGENT, window, segment.cuts))
    return made
