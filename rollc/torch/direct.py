"""Calls like one before, whose kernels read and write the memory of tensors where it lies.

Of a call by :mod:`rollc.torch.functions` most of the time goes into looking at tensors, and into
arrays that stand for them.  A call with tensors of the same sizes and types needs none of it: its
:class:`Plan` knows what is at which address.  What a plan does not do, such as derivatives of
gradients, is done as by a call without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from rollc.frameworks.runs import SORTS
from rollc.network.direct import direct
from rollc.runtime.direct import Direct, Key, Tape
from rollc.support import threads
from rollc.torch.functions import Call, Gradients, Names, arrays_of, keeps_graph, transforms

has_storage = torch._C._has_storage
Tensor = Any
Facts = tuple[Any, ...]


def facts_of(tensors: Iterable[Any]) -> Facts | None:
    """All that a call depends on in tensors, besides their values; None of what is none."""
    try:
        return (
            threads.chosen(),
            *[
                (
                    type(each),
                    each.dtype,
                    each.shape,
                    each.is_cpu,
                    each.is_contiguous(),
                    each.is_neg(),
                    has_storage(each),
                    each._is_zerotensor(),
                    each.requires_grad,
                )
                for each in tensors
            ],
        )
    except (AttributeError, RuntimeError, TypeError):  # one that is not dense, or none at all
        return None


@dataclass(frozen=True)
class Slot:
    """A tensor of a call, in the ``shape`` that the caller has.

    It holds ``parts``, arrays of the network by name and in its ``own`` shape, one after the other.
    """

    shape: tuple[int, ...]
    parts: tuple[str, ...]
    own: tuple[int, ...]

    def apart(self, tensor: Tensor) -> list[Tensor]:
        rows = [tensor] if len(self.parts) == 1 else tensor.unbind()
        return [row.reshape(self.own) for row in rows]

    def joined(self, rows: Sequence[Tensor]) -> Tensor:
        return (rows[0] if len(rows) == 1 else torch.stack([*rows])).reshape(self.shape)


class _Places(NamedTuple):
    """Where the results of a turn go, of tensors by their place: to an offset, or copied to a row.

    A result that is copied comes with its shape in the kernel.
    """

    shapes: Sequence[tuple[int, ...]]
    written: Sequence[tuple[int, int]]
    copied: Sequence[tuple[int, int | None, Key]]


class Plan:
    """How calls with such tensors are made.

    ``takes`` are the tensors, ``gives`` the results, and ``wanted`` the places of those tensors
    whose gradients may be asked for.
    """

    def __init__(
        self, made: Direct, call: Call, takes: Sequence[Slot], gives: Mapping[str, Slot]
    ) -> None:
        self.names = tuple(gives)
        self.takes, self.gives, self.call = takes, [*gives.values()], call
        self.loss = "loss" in call.results
        self.wanted = [place for place, slot in enumerate(takes) if slot.parts[0] in call.wrt]
        self.fixed = [
            place for place, slot in enumerate(self.gives) if slot.parts[0] not in call.sources
        ]
        self._direct, self._dtype = made, np.dtype(call.network.dtype)
        self._leaves = self._offsets(takes)
        self._seeds = self._offsets(self.gives)
        self._zeros = np.zeros(max(int(np.prod(slot.shape)) for slot in self.gives), self._dtype)
        self._nothing = int(self._zeros.ctypes.data)
        results = [(slot, "output") for slot in self.gives]
        if self.loss:
            results[0] = self.gives[0], "loss"
        gradients = [(takes[place], "gradient") for place in self.wanted]
        turns = [results + gradients] if self.loss else [results, gradients]
        self._turns = [
            self._places(own, written) for own, written in zip(turns, made.written, strict=False)
        ]

    def _offsets(self, slots: Sequence[Slot]) -> list[tuple[int, int]]:
        """The tensor and the offset of each array, in the order of slots and parts."""
        return [
            (place, part * int(np.prod(slot.own)) * self._dtype.itemsize)
            for place, slot in enumerate(slots)
            for part in range(len(slot.parts))
        ]

    def _places(self, slots: Sequence[tuple[Slot, str]], written: Sequence[Key]) -> _Places:
        keys = [(kind, name) for slot, kind in slots for name in slot.parts]
        where = dict(zip(keys, self._offsets([slot for slot, _ in slots]), strict=True))
        copied = [
            (place, part if len(slot.parts) > 1 else None, (kind, name))
            for place, (slot, kind) in enumerate(slots)
            for part, name in enumerate(slot.parts)
            if (kind, name) not in written
        ]
        return _Places([slot.shape for slot, _ in slots], [where[key] for key in written], copied)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results."""
        if not self.call.wrt:
            return self.first([each.data_ptr() for each in tensors])[1]
        return _applied(self, tensors)

    def first(self, addresses: Sequence[int]) -> tuple[Tape, list[Tensor]]:
        """The results of the first turn, and its tape."""
        tape = self._direct.tape()
        leaves = [addresses[place] + offset for place, offset in self._leaves]
        return tape, self._run(tape, 0, leaves)

    def gradients(self, tape: Tape, cotangents: Sequence[Tensor | None]) -> list[Tensor]:
        """The gradients of the ``wanted`` tensors, from cotangents as a backward pass has them."""
        given = [each if each is None else each.contiguous() for each in cotangents]
        bases = [0 if each is None else each.data_ptr() for each in given]
        seeds = [
            bases[place] + offset if bases[place] else self._nothing
            for place, offset in self._seeds
        ]
        with tape.lock:
            return self._run(tape, 1, seeds)

    def _run(self, tape: Tape, turn: int, addresses: list[int]) -> list[Tensor]:
        shapes, written, copied = self._turns[turn]
        arrays = [np.empty(shape, self._dtype) for shape in shapes]
        tensors = [*map(torch.from_numpy, arrays)]
        bases = [each.data_ptr() for each in tensors]
        tape.run(turn, addresses + [bases[place] + offset for place, offset in written])
        for place, part, key in copied:
            view, array = tape.views[key], arrays[place]
            array = array if part is None else array[part]
            array.reshape(view.shape)[...] = view
        return tensors

    def differentiable(
        self, tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> list[Tensor | None]:
        """The gradients of all tensors, as a function of tensors and cotangents."""
        rows = [
            row
            for slot, tensor in zip(self.takes, tensors, strict=True)
            for row in slot.apart(tensor)
        ]
        given = {
            name: row
            for slot, cotangent in zip(self.gives, cotangents, strict=True)
            if cotangent is not None
            for name, row in zip(slot.parts, slot.apart(cotangent), strict=True)
        }
        slots = [slot for slot, need in zip(self.takes, needs, strict=True) if need]
        names = Names(
            cotangents=tuple(given),
            gradients=tuple(name for slot in slots for name in slot.parts),
        )
        call = replace(self.call)
        found = dict(
            zip(names.gradients, Gradients.apply(call, names, *given.values(), *rows), strict=True)
        )
        return [
            slot.joined([found[name] for name in slot.parts]) if need else None
            for slot, need in zip(self.takes, needs, strict=True)
        ]


class Planned(torch.autograd.Function):  # type: ignore[misc]
    """The results of a plan from its tensors, where no transform is active.

    A backward pass that does not find the memory of the forward pass, or that is differentiated in
    turn, computes all anew.
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)  # a change in place is found there
        ctx.set_materialize_grads(False)
        ctx.memory = [(each.data_ptr(), each.nbytes) for each in tensors]
        tape, results = plan.first([address for address, _ in ctx.memory])
        ctx.plan, count = plan, len(plan.gives)
        ctx.found = results[count:] if plan.loss else tape
        results = results[:count]
        if plan.fixed:
            ctx.mark_non_differentiable(*(results[place] for place in plan.fixed))
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        tensors = ctx.saved_tensors  # raises where they were changed, or have been released
        nothing = [None] * len(tensors)
        if all(each is None for each in cotangents):
            return None, *nothing
        last = not keeps_graph()
        if (
            torch.is_grad_enabled()
            or transforms()
            or ctx.memory != [(each.data_ptr(), each.nbytes) for each in tensors]
            or not all(each is None or _plain(each) for each in cotangents)
        ):
            needs = ctx.needs_input_grad[1:]
            found = plan.differentiable(tensors, cotangents, needs) if any(needs) else nothing
        else:
            slope: Any = cotangents[0]
            if not plan.loss:
                own = plan.gradients(ctx.found, cotangents)
            elif last and slope.item() == 1:  # as it is where the loss itself is learnt from
                own = ctx.found
            else:
                own = [each * slope for each in ctx.found]
            found = nothing
            for place, gradient in zip(plan.wanted, own, strict=True):
                found[place] = gradient
        if last:
            ctx.found = None
        return None, *found


def _applied(plan: Plan, tensors: Sequence[Tensor]) -> list[Tensor]:
    """As `apply` does where no transform is active, without looking for one."""
    found: list[Tensor] = super(torch.autograd.Function, Planned).apply(plan, *tensors)
    return found


def _plain(cotangent: Tensor) -> bool:
    """Whether the memory of a cotangent can be read."""
    dense = type(cotangent) is torch.Tensor and cotangent.layout is torch.strided
    return dense and cotangent.is_cpu and not cotangent.is_neg() and has_storage(cotangent)


def plan_of(
    call: Call,
    tensors: Mapping[str, Tensor],
    results: Mapping[str, Tensor],
    asked: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    stacks: Mapping[str, tuple[str, ...]],
) -> Plan | None:
    """How to make a call like one that has been; None where each is to be looked at.

    ``tensors`` and ``results`` are those of the network; ``asked`` and ``found`` the caller's, of
    which ``stacks`` hold several.
    """
    takes = {name: stacks.get(name, (name,)) for name in asked}
    gives = {name: stacks.get(name, (name,)) for name in found}
    if not all(type(each) in _TYPES and each.data_ptr() for each in asked.values()):
        return None
    if not all(_holds(asked[name], names, tensors) for name, names in takes.items()):
        return None
    if not all(each.is_contiguous() for each in found.values()):
        return None
    arguments = call.options.arguments(call.network, arrays_of([*tensors], [*tensors.values()]))
    params, inputs, state = (arguments[name] for name in ("params", "inputs", "state"))
    labels = tuple(name for names in gives.values() for name in names)
    loss = call.sort is SORTS["loss"]
    made = direct(call.network, params, inputs, state, call.wrt, labels, loss=loss)
    if made is None:
        return None
    return Plan(
        made,
        replace(call, results=labels, pull=None),
        [Slot(asked[name].shape, own, tensors[own[0]].shape) for name, own in takes.items()],
        {name: Slot(found[name].shape, own, results[own[0]].shape) for name, own in gives.items()},
    )


_TYPES = (torch.Tensor, torch.nn.Parameter)


def _holds(tensor: Tensor, names: Sequence[str], tensors: Mapping[str, Tensor]) -> bool:
    """Whether what the network takes is the memory of a tensor, one after the other."""
    size = tensor.nbytes // len(names)
    return tensor.is_contiguous() and all(
        own.is_contiguous() and own.data_ptr() == tensor.data_ptr() + place * size
        for place, own in enumerate(tensors[name] for name in names)
    )
