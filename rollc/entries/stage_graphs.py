"""The graph of a stage of a network, or of one of its kernels: what is printed and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollc.entries.graphs import kernel_graphs
from rollc.entries.passes import CANONICALIZE
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.support.checks import whole
from rollc.support.passes import Runner
from rollc.transforms.unroll import UnrollError, unroll


def steps_along(axes: Sequence[str], steps: int | Mapping[str, int]) -> dict[str, int]:
    """The number of steps along each axis; one number is that of all.

    Raises :class:`InputError` for other axes, and for what are no numbers of steps.
    """
    if not isinstance(steps, Mapping):
        return dict.fromkeys(axes, whole("`steps`", steps, least=1))
    known = " and ".join(f"`{axis}`" for axis in axes)
    for axis in steps:
        if axis not in axes:
            raise InputError(f"`steps`: there is no time axis `{axis}`, but {known}")
    for axis in axes:
        if axis not in steps:
            raise InputError(f"`steps`: those along `{axis}` are missing")
    return {axis: whole(f"`steps` along `{axis}`", steps[axis], least=1) for axis in axes}


def kernel_steps(graph: Graph, steps: int | Mapping[str, int] | None) -> int | None:
    """The number of steps that a kernel of a graph is for; None for any.

    Raises :class:`InputError` for a graph with two time axes, whose kernels are for any.
    """
    if steps is None:
        return None
    if len(graph.axes) > 1:
        raise InputError(
            f"`{graph.name}` has more than one time axis: its kernels are for any number of steps"
        )
    return next(iter(steps_along(graph.axes or ("t",), steps).values()))


def stage_graph(
    graph: Graph,
    stage: str,
    kernel: str | None = None,
    steps: int | Mapping[str, int] | None = None,
    run: Runner | None = None,
) -> Graph:
    """A stage that is a graph, of a checked graph; ``graph`` and ``checked`` are that itself.

    ``kernel`` says of which kernel, where it is not the default of the stage, and ``steps`` over
    how many steps it is unrolled, which ``dag`` needs: along each axis, or one number for all.
    Raises :class:`InputError`.
    """
    run = run or Runner()
    match stage:
        case "simplified":
            return _simplified(graph, run)
        case "adjoint" | "tangent":
            made = kernel_graph(graph, stage, kernel, run)
            return made if steps is None else _unrolled(made, steps)
        case "dag":
            if steps is None:
                raise InputError("the stage `dag` is the network over N steps: give `--steps N`")
            if kernel is None:
                return _unrolled(_simplified(graph, run), steps)
            return _unrolled(kernel_graph(graph, stage, kernel, run), steps)
        case _:
            return graph


def kernel_graph(graph: Graph, stage: str, kernel: str | None, run: Runner) -> Graph:
    """The graph of a kernel, by default that of a stage.  Raises :class:`InputError`."""
    makers = kernel_graphs(graph, run=run)
    kernel = kernel or default_kernel(graph, stage)
    if kernel not in makers:
        known = ", ".join(f"`{name}`" for name in makers) or "none"
        raise InputError(f"`{graph.name}` has no `{kernel}` kernel; it has {known}")
    run.records.clear()  # of passes that only decide which kernels there are
    return makers[kernel]()


def default_kernel(graph: Graph, stage: str) -> str:
    """The kernel that is meant at a stage where none is named."""
    if stage == "tangent":
        return "tangent"
    if graph.loss is not None:
        return "gradient"
    return "vjp" if stage == "adjoint" else "forward"


def _simplified(graph: Graph, run: Runner) -> Graph:
    made: Graph = run(CANONICALIZE, graph)
    return made


def _unrolled(graph: Graph, steps: int | Mapping[str, int]) -> Graph:
    try:
        return unroll(graph, steps_along(graph.axes or ("t",), steps))
    except UnrollError as error:
        raise InputError(f"`{graph.name}` cannot be unrolled: {error}") from error
