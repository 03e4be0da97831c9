"""A network that reads what it has said: the steps after those that are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.network.network import Network
from rollc.training.data.pairs import Pair
from rollc.training.data.preparation import Preparation

Array = NDArray[Any]


def fed_with(network: Network, pair: Pair, but: Collection[str] = ()) -> str:
    """The input, or target of a taught network, that what is predicted goes into.

    It is what the loss compares the output with, where the output reads that of earlier steps
    alone, or else the one input that is like it; ``but`` are inputs that have another meaning.
    Raises :class:`InputError` where there is none.
    """
    slots = {**network.inputs, **network.targets}
    own = slots[pair.compared]
    if len(network.axes) != 1 or not own.time:
        raise InputError(f"`{pair.compared}` is not of each step, so nothing comes after it")
    if pair.compared in network.inputs or pair.compared in network.fed:
        node = dict(network.graph.outputs)[pair.output]
        if pair.compared in _read_at_once(network.graph, node):
            raise InputError(
                f"`{pair.output}` reads `{pair.compared}` of the step that it is compared with:"
                " it predicts nothing"
            )
        return pair.compared
    like = [
        name
        for name, slot in network.inputs.items()
        if slot.time and name not in but and (slot.shape, slot.bound) == (own.shape, own.bound)
    ]
    if len(like) != 1:
        found = ", ".join(like) or "none"
        raise InputError(
            f"`{pair.output}` predicts `{pair.compared}`; expected one input like it to read what"
            f" was predicted, found {found}"
        )
    return like[0]


def _read_at_once(graph: Graph, node: str) -> set[str]:
    """What a value is computed from at the same step."""
    found, pending = set[str](), [node]
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending += [edge.source for edge in graph[name].operands if not edge.delay]
    return found


class Autoregression:
    """A network step by step, from its initial state or another one.

        run.hear(value, others)     # a step that is known
        said = run.say(others)      # what the output says of the next one
        run.hear(value, others)     # and what the next one is held to be

    Values are as the network reads them in ``fed``; ``others`` are its other inputs at the step.
    Where the output predicts what it is itself compared with, a step is read when it is known;
    where it predicts the next value of another input, it is read to say the one after it.  With
    ``samples`` there are so many sequences side by side, which begin alike; ``outputs`` are all
    those of what was said last.
    """

    def __init__(
        self,
        network: Network,
        params: Mapping[str, Array],
        pair: Pair,
        fed: str,
        *,
        state: Mapping[str, Array] | None = None,
        preparation: Preparation | None = None,
        seed: Any = 0,
        samples: int | None = None,
    ) -> None:
        self.network, self.params, self.pair, self.fed = network, params, pair, fed
        self.state = network.initial_state(params, {}) if state is None else dict(state)
        self.outputs: dict[str, Array] = {}
        self._samples = samples
        if samples is not None:  # a state is [steps, B, ...]
            self.state = {
                name: array[:, None].repeat(samples, 1) if network.states[name].batch else array
                for name, array in self.state.items()
            }
        self.is_itself = fed == pair.compared
        self._scales = (preparation or Preparation()).scales
        self._seed = seed
        self._last: Any = None  # of another input, what is still to be read

    def hear(self, value: Any, others: Mapping[str, Any]) -> None:
        """A step, known or held to be so."""
        if self.is_itself:
            self._step(value, others)
            return
        if self._last is not None:
            self._step(self._last, others)
        self._last = value

    def say(self, others: Mapping[str, Any]) -> Array:
        """The output that predicts the next step."""
        if self.is_itself:  # what it says does not read what is to be said
            slot = {**self.network.inputs, **self.network.targets}[self.fed]
            kind = np.float64 if slot.bound is None else np.int64
            self.outputs, _ = self._stepped(np.zeros(slot.shape, kind), others)
            return self.outputs[self.pair.output]
        if self._last is None:
            raise InputError(f"nothing was read yet: `{self.pair.output}` predicts what comes next")
        last, self._last = self._last, None
        self.outputs = self._step(last, others)
        return self.outputs[self.pair.output]

    def read_from(self, said: Any) -> Any:
        """A number that was said as the network reads it."""
        if not self.is_itself and self.pair.compared in self._scales:
            said = self._scales[self.pair.compared].back(said)
        if not self.is_itself and self.fed in self._scales:
            said = self._scales[self.fed].to(said)
        return said

    def _step(self, value: Any, others: Mapping[str, Any]) -> dict[str, Array]:
        outputs, self.state = self._stepped(value, others)
        return outputs

    def _stepped(
        self, value: Any, others: Mapping[str, Any]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        inputs = {**others, self.fed: value}
        if self._samples is not None:
            slots = {**self.network.inputs, **self.network.targets}
            inputs = {
                name: np.broadcast_to(array, (self._samples, *slots[name].shape))
                for name, array in inputs.items()
            }
        return self.network.step(self.params, self.state, inputs, seed=self._seed)
