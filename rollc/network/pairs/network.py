"""A network with complex values: complex arrays go in and come out.

The gradient of a complex value is dL/dRe + i dL/dIm, as in PyTorch (JAX has the conjugate): one
step against it goes downhill.  Cotangents and tangents are complex likewise, part by part.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from rollc.network.arrays import Spec
from rollc.network.network import Network
from rollc.network.pairs.arrays import Parts, parts_of

if TYPE_CHECKING:
    from rollc.network.diagnosis.flow import Flow

# The arguments of a network's methods, and of what they give, that are arrays by name.
_ARRAYS = frozenset(["params", "inputs", "state", "tangents", "vectors", "cotangents"])


class ComplexNetwork(Network):
    """A network whose complex parameters, inputs, outputs and states are complex arrays.

    It is called as a :class:`~rollc.network.network.Network` is.  ``pairs`` is the network on the
    parts, of which ``graph`` is the graph: a complex ``z`` is ``z're`` and ``z'im`` there.
    """

    def __init__(self, pairs: Network) -> None:
        rest = (pairs.dtype, pairs.steps, pairs.truncate, pairs._opened, pairs.feed)
        super().__init__(pairs.graph, pairs._kernel, *rest)
        self.pairs = pairs
        specs = (pairs.params, pairs.inputs, pairs.targets, pairs.outputs, pairs.states)
        self.parts = parts_of(name for known in specs for name in known)
        self.params = self.parts.specs(pairs.params)
        self.inputs = self.parts.specs(pairs.inputs)
        self.targets = self.parts.specs(pairs.targets)
        self.outputs = self.parts.specs(pairs.outputs)
        self.fed = frozenset(self.parts.whole.get(name, name) for name in pairs.fed)

    @property
    def states(self) -> dict[str, Spec]:
        """The arrays of a state."""
        return self.parts.specs(self.pairs.states)

    def trace(self, *args: Any, names: Collection[str] = (), **kwargs: Any) -> tuple[Flow, ...]:
        """Norms as :meth:`rollc.network.network.Network.trace` has them, of both parts together."""
        graph = parts_of(self.graph.by_name)
        chosen = graph.split_names(list(names))
        found: dict[str, Flow] = {}
        for flow in _called(self.pairs.trace, self.parts, args, {**kwargs, "names": chosen}):
            name = graph.whole.get(flow.name, flow.name)
            found[name] = flow if name not in found else _together(name, found[name], flow)
        return tuple(found.values())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return ComplexNetwork, (self.pairs,)

    def __copy__(self) -> ComplexNetwork:
        return ComplexNetwork(self.pairs.__copy__())


def _together(name: str, one: Flow, other: Flow) -> Flow:
    """The flow of a complex value, from those of its parts."""
    adjoint = one.adjoint if other.adjoint is None else other.adjoint
    if one.adjoint is not None and other.adjoint is not None:
        adjoint = np.hypot(one.adjoint, other.adjoint)
    delayed = one.delayed or other.delayed
    value = np.hypot(one.value, other.value)
    return replace(one, name=name, delayed=delayed, value=value, adjoint=adjoint)


class Joined:
    """What a complex network gives that can be called: arrays in and out are complex."""

    def __init__(self, inner: Any, parts: Parts) -> None:
        self._inner, self._parts = inner, parts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _called(self._inner, self._parts, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _joined(getattr(self._inner, name), self._parts)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._inner, name, self._parts.split(value))

    def __repr__(self) -> str:
        return repr(self._inner)


def _called(function: Any, parts: Parts, args: Any, kwargs: Any) -> Any:
    with parts.in_messages():
        given = inspect.signature(function).bind(*args, **kwargs)
        for name, value in given.arguments.items():
            if name in _ARRAYS:
                given.arguments[name] = parts.split(value)
            elif name == "wrt":
                given.arguments[name] = parts.split_names(value)
        found = function(*given.args, **given.kwargs)
    return _joined(found, parts)


def _joined(value: Any, parts: Parts) -> Any:
    """A result with complex arrays."""
    from rollc.network.steps.prepared import Prepared, Stream

    if isinstance(value, dict):
        return parts.joined(value)
    if isinstance(value, tuple):
        return tuple(_joined(each, parts) for each in value)
    if callable(value) or isinstance(value, Prepared | Stream):
        return Joined(value, parts)
    return value


def _method(name: str) -> Callable[..., Any]:
    @wraps(getattr(Network, name))
    def method(self: ComplexNetwork, *args: Any, **kwargs: Any) -> Any:
        return _called(getattr(self.pairs, name), self.parts, args, kwargs)

    return method


for _name in (
    "init", "forward", "loss", "value_and_grad", "gradient_bytes", "windows",
    "forward_sensitivities", "vjp", "jvp", "hvp", "gradient_vjp", "initial_state", "step",
    "prepare",
):  # fmt: skip
    setattr(ComplexNetwork, _name, _method(_name))


def with_complex_arrays(network: Network) -> Network:
    """The network for its user: with complex arrays, where it has complex values."""
    graph = network.graph
    names = [node.name for node in graph.nodes] + [label for label, _ in graph.outputs]
    return ComplexNetwork(network) if parts_of(names).whole else network


def as_taken(network: Network, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a file as a network takes them: complex ones, or their parts."""
    if isinstance(network, ComplexNetwork):
        return network.parts.joined(arrays)
    parts = parts_of((*network.params, *network.inputs, *network.targets))
    return dict(parts.split(arrays))


def in_pairs(network: Network) -> tuple[Network, Parts]:
    """The network on real arrays alone, and the complex values that it has in parts."""
    if isinstance(network, ComplexNetwork):
        return network.pairs, network.parts
    return network, Parts({})
