"""Windows of a network with several time axes: steps of one of them, the others whole.

The state that goes from window to window has the last values of what is read with a delay along
that axis; its names tell which one it is.  What does not run along the axis is computed in every
window, from arrays that are given in each: so a gradient reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from rollc.errors import InputError
from rollc.ir.graph import Graph, delayed
from rollc.ir.names import lengths_leaves
from rollc.network.interface import Arrays, Interface, Lengths, Steps, of_windows
from rollc.network.steps.streaming import Streaming
from rollc.support.checks import mapping
from rollc.transforms.state import why_no_state


def axis_of_state(
    graph: Graph,
    state: Arrays,
    beside: Callable[[str], frozenset[str]],
    stepped: Collection[str],
) -> str:
    """The axis that a state is along; raises :class:`InputError` where it is none, or both.

    ``beside`` is what else a state along an axis can have, and ``stepped`` are the axes that single
    steps go along.
    """
    given = mapping("state", state).keys()
    rows = {axis: delayed(graph, axis).keys() for axis in graph.axes}
    reasons = {axis: why_no_state(graph, axis) for axis in graph.axes}
    possible = [axis for axis, reason in reasons.items() if reason is None]
    # Others are those of a network that was fed in another way, which go unread.
    others = {
        axis: given - rows[axis] - beside(axis)
        for axis in possible
        if rows[axis] and rows[axis] <= given
    }
    found = [axis for axis, own in others.items() if all(own <= each for each in others.values())]
    found = found or [axis for axis in graph.axes if rows[axis] & given]
    found = found or [*stepped] or possible
    if len(found) > 1:
        known = (f"{_listed(rows[axis])} along {axis}" for axis in found)
        raise InputError(f"`{graph.name}`: expected the state along one axis, {' or '.join(known)}")
    wrong = {axis: reasons[axis] for axis in found or graph.axes if reasons[axis] is not None}
    if wrong:
        why = "; ".join(f"along {axis}, {reason}" for axis, reason in wrong.items())
        raise InputError(f"`{graph.name}` takes no state: {why}")
    return found[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def interface_of_windows(
    graph: Graph,
    whole: Interface,
    dtype: str,
    axis: str,
    steps: Callable[[str, bool], Streaming],
) -> Interface:
    """What windows along an axis take and give; ``steps`` are single ones, with lengths or not."""
    beside = {*lengths_leaves(graph.axes).values(), *_counts(graph).values()}
    for lengths in (False, True):
        with suppress(InputError):  # where there are no such steps
            beside.update(steps(axis, lengths).state)
    return of_windows(whole, graph, dtype, axis, frozenset(beside))


def _counts(graph: Graph) -> dict[str, str]:
    return {axis: f"{axis}'steps" for axis in graph.axes}


def told_by(
    graph: Graph, state: Arrays, steps: Steps | None, lengths: Lengths | None
) -> tuple[Steps | None, Lengths | None]:
    """Steps and lengths along the other axes, where the state of single steps has them."""

    def told(names: Mapping[str, str], given: Any) -> Any:
        found = {axis: state[name] for axis, name in names.items() if name in state}
        if given is None:
            return found or None
        return {**found, **given} if isinstance(given, Mapping) else given

    return told(_counts(graph), steps), told(lengths_leaves(graph.axes), lengths)


def axis_of_windows(graph: Graph, axis: str | None) -> str | None:
    """The axis of windows that carry a state, the only one if none is named; None if none is."""
    asked = [each for each in graph.axes if axis in (None, each) and delayed(graph, each)]
    possible = [each for each in asked if why_no_state(graph, each) is None]
    return possible[0] if len(graph.axes) > 1 and len(possible) == 1 else None
