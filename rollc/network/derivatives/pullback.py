"""From cotangents of a network's outputs to gradients, by the tape of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.names import STATE
from rollc.network.arrays import Sizes, Spec, fitting, fitting_state, shape_of, unknown
from rollc.network.derivatives.gradients import Wrt, gradients, phases, wanted
from rollc.network.evaluation import Evaluation
from rollc.network.interface import Arrays, Interface
from rollc.support.checks import mapping
from rollc.transforms.ragged import output_name
from rollc.transforms.state import final_name

if TYPE_CHECKING:
    from rollc.runtime.call import Call

Array = NDArray[Any]


@dataclass(frozen=True)
class Pullback:
    """The function from cotangents to gradients that :meth:`rollc.Network.vjp` returns.

    Called with ``cotangents``, a mapping of arrays of the outputs' shapes by name (those left out
    are zero), and ``wrt``, which is what :meth:`rollc.Network.value_and_grad` takes, it returns
    gradients by name.  It may be called any number of times, and by several threads: each answer is
    of the call that it came with, whatever has become of its arrays since, and of the outputs.  The
    memory of the tape is free when nobody refers to it any more.

    Attributes
    ----------
    bytes : int
        The memory that it keeps.
    """

    interface: Interface
    sizes: Sizes
    names: Mapping[str, str]
    """The nodes of the outputs by label."""
    ragged: bool  # whether there are lengths
    state: bool  # whether there is a state
    labels: frozenset[str]
    """The gradients that are wanted where nothing else is said."""
    tape: Call

    @property
    def bytes(self) -> int:
        """The memory that it keeps."""
        return self.tape.bytes

    def __repr__(self) -> str:
        return f"<Pullback of {self.interface.name}>"

    def __call__(self, cotangents: Arrays, wrt: Wrt | None = None) -> dict[str, Array]:
        """Gradients, from cotangents of the outputs' shapes by name; those left out are zero.

        ``wrt`` says which, as in :meth:`~rollc.network.network.Network.value_and_grad`.  Raises
        :class:`InputError` for an output that is no number, and so has no cotangent.
        """
        labels = self.labels if wrt is None else wanted(self.interface, wrt, self.state)
        seeds = seeds_of(
            self.interface, self.names, self.sizes, cotangents, self.ragged, self.state
        )
        results = self.tape.run(seeds, phases(self.interface, labels))
        return gradients(results, self.interface, self.sizes, labels)


def seeds_of(
    interface: Interface,
    names: Mapping[str, str],
    sizes: Sizes,
    cotangents: Arrays,
    ragged: bool,
    state: bool,
) -> dict[str, Array]:
    """The leaves that cotangents are; ``names`` are the nodes of the outputs by label.

    Raises :class:`InputError` for what is no output, or none of real numbers.
    """
    from rollc.autodiff.adjoint import seed_name

    outputs = interface.ragged_outputs if ragged else interface.outputs
    rows = {STATE + name: spec for name, spec in interface.states.items() if state}
    _check(outputs | rows, cotangents)
    seeds: dict[str, Array] = {}
    for label, spec in (outputs | rows).items():
        if spec.kind != "float":
            continue
        if label not in cotangents:
            array = np.zeros(shape_of(spec, sizes), spec.dtype)
        elif label in rows:
            array = fitting_state(f"cotangent `{label}`", cotangents[label], spec, sizes)
        else:
            array = fitting(f"cotangent `{label}`", cotangents[label], spec, sizes)
        node = final_name(spec.name) if label in rows else names[label]
        leaf = seed_name(output_name(node) if spec.time and ragged else node)
        seeds[leaf] = seeds[leaf] + array if leaf in seeds else array
    return seeds


def _check(outputs: Mapping[str, Spec], cotangents: Arrays) -> None:
    for label in mapping("cotangents", cotangents):
        if label not in outputs:
            raise InputError(unknown("cotangent", label, outputs))
        kind = outputs[label].kind
        if kind != "float":
            raise InputError(f"cotangent `{label}`: the output is of kind {kind}, and has none")


def recorded(call: Evaluation, labels: frozenset[str]) -> tuple[dict[str, Array], Pullback]:
    """The outputs of a call, and the function from their cotangents to gradients."""
    network, sizes = call.network, call.sizes
    kernel = call.kernel("vjp")
    results, tape = kernel.record(call.leaves, sizes.steps, sizes.batch, call.noise)
    names = dict(network.graph.outputs)
    pullback = Pullback(network.interface, sizes, names, call.lengths, call.state, labels, tape)
    return call.outputs(results), pullback
