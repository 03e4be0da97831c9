"""Which gradients a caller wants, and those that a kernel gives, as the caller has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.names import STATE
from rollc.kernel.program import PHASES, Phase
from rollc.network.arrays import Sizes, given_back, state_given_back
from rollc.network.interface import Interface
from rollc.support.checks import shown

Array = NDArray[Any]
Wrt = str | Iterable[str]

ALL = ("params", "inputs", "state")
"""Words for all gradients of a sort; those of a state are there where one is given."""
COTANGENTS = "cotangents"
"""The word for what comes back to cotangents, of which gradients are a function."""


def wanted(interface: Interface, wrt: Wrt, state: bool) -> frozenset[str]:
    """The labels of the gradients that ``wrt`` names: one by one, or all of a sort.

    ``state`` is whether the call has one.  Raises :class:`InputError` for what has no gradient.
    """
    states = {STATE + name: spec for name, spec in interface.states.items()}
    sorts = {
        "params": interface.params,
        "inputs": interface.inputs,
        "state": states if state else {},
    }
    found: set[str] = set()
    for name in names_of(wrt):
        own = sorts.get(name)
        if own is not None:
            found.update(label for label, spec in own.items() if spec.differentiable)
            continue
        spec = next((named[name] for named in sorts.values() if name in named), None)
        if spec is None or not spec.differentiable:
            if spec is not None:
                what = "frozen" if spec.frozen else f"an {spec.kind}"
                why = f"`{name}` is {what}, and has no gradient"
            elif name in interface.targets:
                why = f"`{name}` is a target, and has no gradient"
            elif name in states:
                why = f"no state is given, so `{name}` has no gradient"
            else:
                why = f"unknown name `{name}`"
            raise InputError(f"`wrt`: {why}; expected {_possible(sorts)}")
        found.add(name)
    return frozenset(found)


def names_of(wrt: Wrt) -> list[str]:
    """The names and words that ``wrt`` is."""
    if isinstance(wrt, str):
        return [wrt]
    names: list[Any]
    try:
        names = [*wrt]
    except TypeError:  # it has nothing to go through
        names = [wrt]
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"`wrt`: expected names of parameters and inputs, found {shown(name)}")
    return names


def _possible(sorts: Mapping[str, Mapping[str, Any]]) -> str:
    single = (name for own in sorts.values() for name in own if own[name].differentiable)
    names = [f"`{name}`" for name in (*sorts, *single)]
    return ", ".join(dict.fromkeys(names))


def phases(interface: Interface, labels: Collection[str]) -> tuple[Phase, ...]:
    """The phases of a kernel that give some gradients, besides the first."""
    if not interface.inputs.keys().isdisjoint(labels):
        return PHASES[1:]
    return PHASES[1:2] if labels else ()


def gradients(
    results: Mapping[tuple[str, str], Array],
    interface: Interface,
    sizes: Sizes,
    labels: Collection[str],
) -> dict[str, Array]:
    """Some of the gradients of a kernel, in the shapes of what they are gradients of."""
    specs = {**interface.params, **interface.inputs}
    found = {
        label: given_back(array, specs[label], sizes)
        for (sort, label), array in results.items()
        if sort == "gradient" and label in specs and label in labels
    }
    for name, spec in interface.states.items():
        label = STATE + name
        if label in labels and ("gradient", label) in results:
            found[label] = state_given_back(results["gradient", label], spec, sizes)
    return found
