"""One call of a network: its arguments, taken, and what a kernel makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.names import STATE
from rollc.network.arrays import Sizes, outputs_and_state
from rollc.network.definition import Definition
from rollc.network.derivatives.gradients import gradients
from rollc.network.interface import Arrays, Lengths, Steps
from rollc.network.noise_draws import Seed, draw_noise
from rollc.network.noted_arrays import Noted

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]
Results = Mapping[tuple[str, str], Array]
LossAndGradients = tuple[float, dict[str, Array]]

_VALUES = ("primal",)


class Evaluation(NamedTuple):
    """A network and the leaves of one call of it.

    ``leaves`` have time and batch in front, as kernels take them; ``noise`` are those that have
    been drawn for this call.  ``state`` and ``lengths`` are whether the caller gave any, and
    ``beside`` is what else the state had.
    """

    network: Definition
    leaves: Mapping[str, Array]
    noise: Mapping[str, Array]
    sizes: Sizes
    state: bool
    lengths: bool
    beside: Mapping[str, Array] = {}

    def kernel(self, sort: str) -> Kernel:
        """The kernel of an entry point; of no steps or no sequences, one that does without."""
        network = self.network
        # A network without delays has an empty state, and needs no kernel for it.
        if self.state and network.interface.states:
            sort = f"{sort}{network.interface.variant}".replace("forward.state", "stream")
        entry = f"{sort}.lengths" if self.lengths else sort
        kernel = network.kernel(entry)
        if not self.sizes.empty:
            return kernel
        from rollc.network.interpreted import variant_of_nothing

        return variant_of_nothing(network.graph, entry, self.sizes, network.dtype)

    def run(
        self,
        sort: str,
        phases: Sequence[str] = _VALUES,
        more: Mapping[str, Array] | None = None,
    ) -> Results:
        """The results of an entry point; ``more`` are leaves that it alone has."""
        leaves = self.leaves if more is None else {**self.leaves, **more}
        return self.kernel(sort).run(leaves, self.sizes.steps, self.sizes.batch, phases)

    def outputs(self, results: Results) -> dict[str, Array]:
        """The outputs among results, and as ``state.NAME`` the state after the last step."""
        own = self.network.interface
        specs = own.ragged_outputs if self.lengths else own.outputs
        found, rows = outputs_and_state(results, specs, own.states, self.sizes)
        return found | {STATE + name: array for name, array in rows.items()}

    def following(self, results: Results) -> dict[str, Array]:
        """The state after the last step, by the names of values."""
        rows = {key: array for key, array in results.items() if key[1].startswith(STATE)}
        found = {name.removeprefix(STATE): row for name, row in self.outputs(rows).items()}
        return found | {name: np.array(array) for name, array in self.beside.items()}

    def gradients(self, results: Results, labels: Collection[str]) -> dict[str, Array]:
        """Some of the gradients among results."""
        return gradients(results, self.network.interface, self.sizes, labels)

    def noted(self, call: str) -> Noted:
        """The check sums of the caller's arrays, which ``call`` keeps no copy of."""
        own = {name: leaf for name, leaf in self.leaves.items() if name not in self.noise}
        return Noted(call, own)

    def gradients_of_nothing(
        self, labels: Collection[str], noted: Noted
    ) -> Callable[[], LossAndGradients]:
        """Loss and gradients where there are no steps or no sequences, whatever the way."""
        kernel = self.kernel("gradient")
        steps, batch = self.sizes.steps, self.sizes.batch

        def value_and_grad() -> LossAndGradients:
            noted.check()
            results = kernel.run(self.leaves, steps, batch, ("primal", "adjoint", "inputs"))
            return float(results["loss", "loss"]), self.gradients(results, labels)

        return value_and_grad


def evaluation_of(
    network: Definition,
    params: Arrays,
    inputs: Arrays | None,
    steps: Steps | None,
    state: Arrays | None,
    lengths: Lengths | None,
    training: bool,
    seed: Seed,
    *,
    targets: bool = True,
) -> Evaluation:
    """The arguments of a call, looked at; with ``targets`` those of the loss are needed too.

    Raises :class:`InputError` for what is missing, unknown or misshapen.
    """
    if targets:
        network.need_loss()
    if state is not None:
        network = network.of_state(state)
        if len(network.interface.axes) > 1:
            from rollc.network.steps.windows import told_by

            steps, lengths = told_by(network.graph, state, steps, lengths)
    leaves, sizes = network.interface.leaves(
        params, inputs, steps, state, lengths, need_targets=targets
    )
    noise = draw_noise(network.graph, sizes.axes, seed, training, network.dtype)
    leaves |= noise
    if sizes.empty:  # what does without kernels has no constants of its own
        leaves |= network.constants
    given, known = {} if state is None else state, network.interface.beside
    beside = {name: np.asarray(given[name]) for name in given if name in known}
    return Evaluation(network, leaves, noise, sizes, state is not None, lengths is not None, beside)


def forward(
    network: Definition,
    params: Arrays,
    inputs: Arrays | None,
    state: Arrays | None,
    steps: Steps | None,
    lengths: Lengths | None,
    training: bool,
    seed: Seed,
) -> dict[str, Array]:
    """The outputs, and where a state is given the one after the last step."""
    own = network.interface
    if state is not None and len(own.axes) > 1:
        axis = network.axis_of_state(state)
        if axis in network.axes_of_steps:
            if lengths is not None:
                raise InputError("lengths are for `initial_state`: the state has them")
            run = network.streaming(axis, own.has_lengths(state))
            found, rows = run.forward(params, inputs, state, steps, training, seed)
            return found | {STATE + name: array for name, array in rows.items()}
    call = evaluation_of(
        network, params, inputs, steps, state, lengths, training, seed, targets=False
    )
    return call.outputs(call.run("forward"))


def loss(
    network: Definition,
    params: Arrays,
    inputs: Arrays,
    steps: Steps | None,
    state: Arrays | None,
    lengths: Lengths | None,
    training: bool,
    seed: Seed,
) -> float:
    """The loss, of the kernel that keeps nothing for gradients."""
    call = evaluation_of(network, params, inputs, steps, state, lengths, training, seed)
    return float(call.run("loss")["loss", "loss"])
