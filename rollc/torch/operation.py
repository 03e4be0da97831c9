"""Calls of networks as operations of PyTorch, for ``torch.compile`` and ``torch.export``.

These make a graph of a call and run it later without the Python that made it, so it is one
operation there, ``rollc::network``, and its gradients another one, ``rollc::gradients``.  A
network stands in them as a text: its graph as ``rollc ir`` prints it, its precision and its
options.  So an exported program holds no code of rollc, and a process that has imported
``rollc.torch`` builds the network when it first runs it, or finds it in its cache.

The last result of a call stands for its tape, which lives as long as that tensor does.  Where
gradients are asked for and there is none, as in an exported program, the forward pass runs again.

An operation of this sort has a backward pass and nothing else, and PyTorch takes its derivatives
forward in time for zero: so they are refused here.  Outside of graphs there are
:mod:`rollc.torch.functions`, which have them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from rollc.errors import DerivativeError, InputError
from rollc.frameworks import runs
from rollc.frameworks.networks import Networks, opened
from rollc.frameworks.runs import Pull, Ran
from rollc.ir.names import STATE
from rollc.network.arrays import Spec
from rollc.network.network import Network
from rollc.torch.functions import array_of, arrays_of
from rollc.transforms.ragged import own_outputs

Tensor = Any

_PLAIN = ""  # in the place of an axis: the number or the lengths of the only one there is


def called(
    networks: Networks,
    precision: str,
    sort: str,
    tensors: Mapping[str, Any],
    wrt: Sequence[str],
    lengths: Any,
    steps: Any,
    training: bool,
    seed: Any,
    state: bool,
) -> dict[str, Any]:
    """The results of a call by name, as one node of the graph that is made."""
    if state and len(networks.first.axes) > 1:
        raise InputError("a state of a network with two time axes is not taken in a graph")
    own = {} if lengths is None else lengths if isinstance(lengths, Mapping) else {_PLAIN: lengths}
    counts = {} if steps is None else steps if isinstance(steps, Mapping) else {_PLAIN: steps}
    *found, _ = torch.ops.rollc.network(
        list(tensors.values()),
        list(tensors),
        networks.texts[precision],
        sort,
        [] if exports() else list(wrt),  # nobody may ever ask for the gradients of a program
        training,
        seed,
        state,
        [torch.as_tensor(each) for each in own.values()],
        list(own),
        list(counts.values()),
        list(counts),
    )
    results = dict(zip(_names(networks.first, sort, state), found, strict=True))
    if sort == "loss":  # no gradient comes back through the state after it
        results = {
            name: each if name == "loss" else each.detach() for name, each in results.items()
        }
    return results


def exports() -> bool:
    """Whether ``torch.export`` runs."""
    ask = getattr(torch.compiler, "is_exporting", None)  # from PyTorch 2.7 on
    return False if ask is None else bool(ask())


def _names(network: Network, sort: str, state: bool) -> list[str]:
    first = ["loss"] if sort == "loss" else [*network.outputs]
    return first + [STATE + name for name in network.states] if state else first


# The operations ---------------------------------------------------------------------------


class _Request(NamedTuple):
    """The arguments of an operation, as the schemas have them."""

    tensors: Sequence[Tensor]
    names: Sequence[str]
    network: str
    sort: str
    wrt: Sequence[str]
    training: bool
    seed: Tensor | None
    state: bool
    lengths: Sequence[Tensor]
    length_axes: Sequence[str]
    steps: Sequence[int]
    step_axes: Sequence[str]

    @property
    def results(self) -> list[str]:
        return _names(opened(self.network), self.sort, self.state)

    def run(self, wrt: tuple[str, ...]) -> Ran:
        """The results, and what gives those gradients."""
        options = runs.Options(
            lengths=_by_axis(self.length_axes, [array_of(each) for each in self.lengths]),
            steps=_by_axis(self.step_axes, self.steps),
            training=self.training,
            seed=0 if self.seed is None else int(self.seed),
            state=self.state,
        )
        arrays = arrays_of(self.names, self.tensors)
        return runs.SORTS[self.sort].run(opened(self.network), options, arrays, wrt)

    def specs(self) -> list[Spec]:
        """What the results are."""
        network = opened(self.network)
        loss = Spec("loss", "float", (), network.dtype, (), False)
        own = own_outputs(network.graph) if self.lengths else {}
        outputs = [
            replace(spec, batch=spec.batch or name in own) for name, spec in network.outputs.items()
        ]
        first = [loss] if self.sort == "loss" else outputs
        return [*first, *network.states.values()] if self.state else first

    def empty(self) -> list[Tensor]:
        """Tensors like the results, of which nothing is known but their sizes."""
        network = opened(self.network)
        steps, batch = self._sizes(network)
        found = []
        for place, spec in enumerate(self.specs()):
            rows = place >= len(self.results) - len(network.states) * self.state
            shape = [] if batch is None or not spec.batch else [batch]
            shape = [*(steps[axis] for axis in spec.time), *shape]
            own = [spec.shape[0], *shape, *spec.shape[1:]] if rows else [*shape, *spec.shape]
            found.append(torch.empty(own, dtype=getattr(torch, spec.dtype)))
        return found

    def _sizes(self, network: Network) -> tuple[dict[str, int], int | None]:
        """The steps of each axis, and the sequences; none where there is no such dimension."""
        steps = dict(zip(self.step_axes, self.steps, strict=True))
        steps = dict.fromkeys(network.axes, steps[_PLAIN]) if _PLAIN in steps else steps
        batch = None
        slots = {**network.inputs, **network.targets}
        slots |= {STATE + name: spec for name, spec in network.states.items()}
        for name, tensor in zip(self.names, self.tensors, strict=True):
            if name in network.params:
                continue
            spec, lead = slots[name], int(name.startswith(STATE))
            for place, axis in enumerate(spec.time):
                steps.setdefault(axis, tensor.shape[lead + place])
            if spec.batch and tensor.ndim == len(spec.time) + len(spec.shape) + 1:
                batch = tensor.shape[lead + len(spec.time)]
        for lengths in self.lengths:
            if batch is None and lengths.ndim:
                batch = lengths.shape[0]
        same = network.same_steps
        for axis in network.axes:
            known = [steps[other] for other in steps if same[other] == same[axis]]
            known += [] if network.steps is None else [network.steps]
            if known:
                steps.setdefault(axis, known[0])
        return steps, batch


def _by_axis(axes: Sequence[str], values: Sequence[Any]) -> Any:
    """An argument as a network takes it: one for each axis, or one alone, or none."""
    found = dict(zip(axes, values, strict=True))
    return found.get(_PLAIN, found or None)


_CALL = (
    "Tensor[] tensors, str[] names, str network, str sort, str[] wrt, bool training, Tensor? seed,"
    " bool state, Tensor[] lengths, str[] length_axes, SymInt[] steps, str[] step_axes"
)


def _network(*arguments: Any) -> list[Tensor]:
    """The results of a network, and what stands for its tape."""
    _refuse_tangents()
    request = _Request(*arguments)
    ran = request.run(tuple(request.wrt))
    found = [torch.from_numpy(ran.results[name]).contiguous() for name in request.results]
    return [*found, _tape(ran.pull)]


def _empty_results(*arguments: Any) -> list[Tensor]:
    _refuse_tangents()
    request = _Request(*arguments)
    return [*request.empty(), torch.empty(int(bool(request.wrt)), dtype=torch.uint8)]


def _gradients(
    tape: Tensor, cotangents: Sequence[Tensor], sources: Sequence[str], *arguments: Any
) -> list[Tensor]:
    """The gradients of some of the tensors of a call, from cotangents of some of its results."""
    request = _Request(*arguments)
    wrt = tuple(request.wrt)
    pull = _TAPES.get(tape.data_ptr()) if tape.numel() else None
    if pull is None:
        pull = request.run(wrt).pull
    assert pull is not None
    found = pull(arrays_of(sources, cotangents), wrt, False)
    return [torch.from_numpy(found[name]).contiguous() for name in wrt]


def _empty_gradients(tape: Tensor, cotangents: Any, sources: Any, *arguments: Any) -> list[Tensor]:
    request = _Request(*arguments)
    tensors = dict(zip(request.names, request.tensors, strict=True))
    return [torch.empty(tensors[name].shape, dtype=tensors[name].dtype) for name in request.wrt]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    request = _Request(*inputs)
    ctx.save_for_backward(
        output[-1],
        *request.tensors,
        *request.lengths,
        *([] if request.seed is None else [request.seed]),
    )
    ctx.request = request._replace(tensors=(), lengths=(), seed=None)
    ctx.counts = len(request.tensors), len(request.lengths)
    ctx.nothing = [_nothing(each) for each in inputs[1:]]


def _backward(ctx: Any, cotangents: Sequence[Tensor | None]) -> tuple[Any, ...]:
    tape, *saved = ctx.saved_tensors
    count, lengths = ctx.counts
    request = ctx.request._replace(
        tensors=saved[:count],
        lengths=saved[count : count + lengths],
        seed=saved[-1] if len(saved) > count + lengths else None,
    )
    specs = zip(request.results, request.specs(), cotangents, strict=False)
    given = {name: own for name, spec, own in specs if own is not None and spec.kind == "float"}
    needs = ctx.needs_input_grad[0]
    wanted = [name for name, needed in zip(request.names, needs, strict=True) if needed]
    found: dict[str, Tensor] = {}
    if given and wanted:
        request = request._replace(wrt=wanted)
        each = torch.ops.rollc.gradients(tape, [*given.values()], [*given], *request)
        found = dict(zip(wanted, each, strict=True))
    return [found.get(name) for name in request.names], *ctx.nothing


def _nothing(argument: Any) -> Any:
    """No gradient, in the form that PyTorch expects of an argument: it takes what is an empty list
    for one of tensors."""
    tensors = isinstance(argument, list | tuple) and all(map(torch.is_tensor, argument))
    return [None] * len(argument) if tensors else None


_TAPES: dict[int, Pull] = {}
"""What gives gradients, by the address of the tensor that stands for it."""


def _tape(pull: Pull | None) -> Tensor:
    """A tensor that stands for a tape, which is dropped when the tensor's memory is."""
    if pull is None:
        return torch.empty(0, dtype=torch.uint8)
    memory = np.zeros(1, np.uint8)
    tensor = torch.from_numpy(memory)
    address = tensor.data_ptr()
    _TAPES[address] = pull
    weakref.finalize(memory, _TAPES.pop, address).atexit = False
    return tensor


def _refuse_tangents() -> None:
    if getattr(torch.autograd.forward_ad, "_current_level", 0) >= 0:
        raise DerivativeError(
            "a network in a graph of torch.compile or torch.export has no derivatives forward in"
            " time (jvp, jacfwd, hessian): call its module as it is"
        )


_network_operation = torch.library.custom_op(
    "rollc::network", _network, mutates_args=(), schema=f"({_CALL}) -> Tensor[]"
)
_network_operation.register_fake(_empty_results)
_network_operation.register_autograd(_backward, setup_context=_keep)
_gradients_operation = torch.library.custom_op(
    "rollc::gradients",
    _gradients,
    mutates_args=(),
    schema=f"(Tensor tape, Tensor[] cotangents, str[] sources, {_CALL}) -> Tensor[]",
)
_gradients_operation.register_fake(_empty_gradients)
