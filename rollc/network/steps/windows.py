"""Windows of a network with several time axes: steps of one of them, the others whole.

The state that goes from window to window has the last values of what is read with a delay along
that axis; its names tell which one it is.  What does not run along the axis is computed in every
window, from arrays that are given in each: so a gradient reaches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollc.errors import InputError
from rollc.ir.graph import Graph, delayed
from rollc.ir.names import lengths_leaves
from rollc.network.interface import Arrays, Lengths, Steps, of_windows
from rollc.network.steps.streaming import Streaming
from rollc.support.checks import mapping
from rollc.transforms.ragged import with_lengths
from rollc.transforms.state import why_no_state

if TYPE_CHECKING:
    from rollc.network.definition import Definition


def axis_of_state(whole: Definition, state: Arrays) -> str:
    """The axis that a state is along; raises :class:`InputError` where it is none, or both."""
    graph, given = whole.graph, mapping("state", state).keys()
    rows = {axis: delayed(graph, axis).keys() for axis in graph.axes}
    reasons = {axis: why_no_state(graph, axis) for axis in graph.axes}
    possible = [axis for axis, reason in reasons.items() if reason is None]
    found = [axis for axis in possible if rows[axis] <= given <= rows[axis] | _beside(whole, axis)]
    found = found or [axis for axis in graph.axes if rows[axis] & given]
    found = found or [*whole.axes_of_steps] or possible
    if len(found) > 1:
        known = (f"{_listed(rows[axis])} along {axis}" for axis in found)
        raise InputError(f"`{graph.name}`: expected the state along one axis, {' or '.join(known)}")
    wrong = {axis: reasons[axis] for axis in found or graph.axes if reasons[axis] is not None}
    if wrong:
        why = "; ".join(f"along {axis}, {reason}" for axis, reason in wrong.items())
        raise InputError(f"`{graph.name}` takes no state: {why}")
    return found[0]


def _beside(whole: Definition, axis: str) -> frozenset[str]:
    return whole.windows(axis).interface.beside


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def windowed(whole: Definition, axis: str) -> Definition:
    """A network in windows along an axis."""
    beside = {*lengths_leaves(whole.graph.axes).values(), *_counts(whole.graph).values()}
    for lengths in (False, True):
        if not lengths or whole.interface.no_lengths is None:
            beside.update(_steps(whole, axis, lengths))
    interface = of_windows(whole.interface, whole.graph, whole.dtype, axis, frozenset(beside))
    return replace(whole, interface=interface, _asked={}, _steps={}, _windows={})


def _steps(whole: Definition, axis: str, lengths: bool) -> Iterator[str]:
    """The names of a state of single steps along an axis, if there are such steps."""
    try:
        yield from whole.streaming(axis, lengths).state
    except InputError:
        return


def _counts(graph: Graph) -> dict[str, str]:
    return {axis: f"{axis}'steps" for axis in graph.axes}


def told_by(
    graph: Graph, state: Arrays, steps: Steps | None, lengths: Lengths | None
) -> tuple[Steps | None, Lengths | None]:
    """Steps and lengths along the other axes, where the state of single steps has them."""
    if len(graph.axes) == 1:
        return steps, lengths

    def told(names: Mapping[str, str], given: Any) -> Any:
        found = {axis: state[name] for axis, name in names.items() if name in state}
        return {**found, **given} if isinstance(given, Mapping) else given if given else found

    known = told(_counts(graph), steps), told(lengths_leaves(graph.axes), lengths)
    return known[0] or None, known[1] or None


def start_of_windows(whole: Definition, axis: str | None, lengths: bool) -> Streaming | None:
    """What gives the state before the first of some windows; None where there are none."""
    graph = whole.graph
    asked = [each for each in graph.axes if axis in (None, each) and delayed(graph, each)]
    possible = [each for each in asked if why_no_state(graph, each) is None]
    if len(graph.axes) == 1 or len(possible) != 1:
        return None
    (axis,) = possible
    if lengths and whole.interface.no_lengths is None:
        graph = with_lengths(graph, [each for each in graph.axes if each != axis])
    own = whole.windows(axis).interface
    rest = (whole.kernel, ("", ""), whole.dtype, whole.constants)
    return Streaming(axis, whole.interface, own, None, graph, *rest)
