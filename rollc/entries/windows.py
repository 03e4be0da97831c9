"""The graphs of the kernels that compute a gradient window by window."""

from __future__ import annotations

from collections.abc import Callable

from rollc.autodiff.arrivals import arrivals
from rollc.autodiff.window_split import Split
from rollc.entries.passes import ADJOINT, CANONICALIZE, EXPOSE_STATE
from rollc.ir.graph import Graph
from rollc.ir.names import along
from rollc.support.passes import Runner


def window_kernels(split: Split, run: Runner | None = None) -> dict[str, Callable[[], Graph]]:
    """The makers of the graphs of the two kernels that windows need, by the kernels' names."""
    run = run or Runner()

    def opened() -> Graph:
        made: Graph = run(CANONICALIZE, run(EXPOSE_STATE, split.window, split.axis))
        return made

    def derived() -> Graph:
        simple = opened()
        names = [name for label, name in simple.outputs if label in _read_by_all(split)]
        made: Graph = run(CANONICALIZE, run(ADJOINT, simple, of="outputs", arriving=names))
        return made

    name = along("window", split.window.axes, split.axis)
    return {name: opened, f"{name}.vjp": derived}


def _read_by_all(split: Split) -> set[str]:
    """The reductions whose cotangents arrive in every window."""
    head = split.head
    assert head.loss is not None
    arriving = arrivals(head, [head.loss], head.by_name.keys()).everywhere
    return {r.node for r in split.reductions if r.how in ("sum", "mean")} & arriving
