"""Calls of a network as functions that PyTorch's autograd knows.

:class:`Outputs` computes.  Its backward is :class:`Gradients`, and its derivative forward in time
:class:`Slopes`: functions in turn, of cotangents or tangents and of all that the outputs were
computed from.  So PyTorch sees that these are what a derivative depends on, and the derivative of a
derivative, which is not there, is an error and never zero.

They follow what PyTorch asks of functions that its transforms (``torch.func``) can take: the
forward takes no context, and ``vmap`` runs a call for each of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Tensor = Any
Pull = Callable[[Arrays, tuple[str, ...]], Arrays]
Push = Callable[[Arrays, Arrays], Arrays]


@dataclass(frozen=True)
class Ran:
    """Results by name, and functions from cotangents to some of the gradients and from what was
    given and its tangents to derivatives of the results.

    ``sources`` are the results that have a derivative.
    """

    results: Arrays
    sources: frozenset[str]
    pull: Pull | None = None
    push: Push | None = None


Run = Callable[[Arrays, tuple[str, ...]], Ran]
"""Takes arrays by name, and the names of those whose gradients may be asked for."""


class DerivativeError(InputError, NotImplementedError):
    """A derivative was asked for that a network does not give."""


@dataclass(eq=False)
class Call:
    """One call, which keeps what its gradients are computed from.

    ``names`` are those of the tensors, ``wrt`` those of them whose gradients may be asked for;
    ``results`` and ``sources`` are names once it has run, ``pull`` and ``push`` give derivatives
    (see :class:`Ran`).  Under ``vmap`` there is a call for each value: the ``parts``.
    """

    network: str
    run: Run
    names: tuple[str, ...]
    wrt: tuple[str, ...]
    results: tuple[str, ...] = ()
    sources: frozenset[str] = frozenset()
    pull: Pull | None = None
    push: Push | None = None
    parts: tuple[Call, ...] = ()

    def release(self) -> None:
        """Drop what only another backward pass would need."""
        self.pull, self.parts = None, ()


class Outputs(torch.autograd.Function):  # type: ignore[misc]
    """The results of a call from tensors by name, in the order of both."""

    @staticmethod
    def forward(call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: array_of(tensor) for name, tensor in zip(call.names, tensors, strict=True)}
        ran = call.run(arrays, call.wrt)
        call.results, call.sources = tuple(ran.results), ran.sources
        call.pull, call.push = ran.pull, ran.push
        return tuple(map(torch.from_numpy, ran.results.values()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(*tensors)  # a change in place is found there
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)
        if len(call.sources) < len(output):
            named = zip(call.results, output, strict=True)
            ctx.mark_non_differentiable(
                *(tensor for name, tensor in named if name not in call.sources)
            )

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        tensors = ctx.saved_tensors  # raises where they were changed, or have been released
        given = {
            name: cotangent
            for name, cotangent in zip(call.results, cotangents, strict=True)
            if cotangent is not None
        }
        needs = zip(call.names, ctx.needs_input_grad[1:], strict=True)
        wanted = tuple(name for name, needed in needs if needed)
        if not given or not wanted:
            return (None,) * (1 + len(tensors))
        if torch.is_grad_enabled() or _transforms():
            found = Gradients.apply(call, tuple(given), wanted, *given.values(), *tensors)
        else:  # nobody asks what the gradients depend on
            found = _gradients(call, given, wanted)
        if not _keeps_graph():
            call.release()
        gradients = dict(zip(wanted, found, strict=True))
        return (None, *(gradients.get(name) for name in call.names))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        named = zip(call.names, tangents, strict=True)
        given = {name: tangent for name, tangent in named if tangent is not None}
        wanted = tuple(name for name in call.results if name in call.sources)
        found = Slopes.apply(call, tuple(given), wanted, *given.values(), *ctx.saved_tensors)
        slopes = dict(zip(wanted, found, strict=True))
        return tuple(slopes.get(name) for name in call.results)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, *tensors: Tensor) -> Any:
        each = _each(info, in_dims[1:], tensors)
        call.parts = tuple(replace(call) for _ in each)
        found = [Outputs.apply(part, *own) for part, own in zip(call.parts, each, strict=True)]
        call.results, call.sources = call.parts[0].results, call.parts[0].sources
        return _stacked(found)


class _Derivative(torch.autograd.Function):  # type: ignore[misc]
    """What is linear in the tensors ``given``; ``tensors`` are these, and all that the call had."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.network = inputs[0].network

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> NoReturn:
        raise _no_second(ctx.network)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise _no_second(ctx.network)

    @classmethod
    def over(
        cls,
        info: Any,
        in_dims: tuple[Any, ...],
        call: Call,
        given: tuple[str, ...],
        wanted: tuple[str, ...],
        *tensors: Tensor,
    ) -> Any:
        """It of each value that ``vmap`` goes over."""
        dims = in_dims[3:]
        each = _each(info, dims, tensors)
        # Where what it had is one for each value, the call was one for each, too.
        own = any(dim is not None for dim in dims[len(given) :])
        calls = call.parts if own else (call,) * len(each)
        found = [
            cls.apply(part, given, wanted, *own) for part, own in zip(calls, each, strict=True)
        ]
        return _stacked(found)


class Gradients(_Derivative):
    """The gradients ``wanted`` from the cotangents ``given``."""

    @staticmethod
    def forward(
        call: Call, given: tuple[str, ...], wanted: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        return _gradients(call, dict(zip(given, tensors, strict=False)), wanted)

    @staticmethod
    def vmap(*arguments: Any) -> Any:
        return Gradients.over(*arguments)


class Slopes(_Derivative):
    """The derivatives of the results ``wanted`` in the direction of the tangents ``given``."""

    @staticmethod
    def forward(
        call: Call, given: tuple[str, ...], wanted: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        if call.push is None:
            raise DerivativeError(
                f"the loss of `{call.network}` has no derivative forward in time (torch.func.jvp,"
                " jacfwd, dual tensors): take torch.func.vjp or jacrev"
            )
        arrays = [*map(array_of, tensors)]
        tangents = dict(zip(given, arrays, strict=False))
        found = call.push(dict(zip(call.names, arrays[len(given) :], strict=True)), tangents)
        return tuple(torch.from_numpy(found[name]) for name in wanted)

    @staticmethod
    def vmap(*arguments: Any) -> Any:
        return Slopes.over(*arguments)


def applied(call: Call, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The results of a call by name."""
    if _transforms():
        found = Outputs.apply(call, *tensors)
    elif not call.wrt:
        found = Outputs.forward(call, *tensors)
    else:  # as `apply` does then, without the signature that it binds in every call
        found = super(torch.autograd.Function, Outputs).apply(call, *tensors)
    return dict(zip(call.results, found, strict=True))


def _gradients(
    call: Call, cotangents: Mapping[str, Tensor], wanted: tuple[str, ...]
) -> tuple[Tensor, ...]:
    assert call.pull is not None
    arrays = {name: array_of(tensor) for name, tensor in cotangents.items()}
    found = call.pull(arrays, wanted)
    return tuple(torch.from_numpy(found[name]) for name in wanted)


def _transforms() -> bool:
    """Whether a transform of ``torch.func`` may run, or derivatives forward in time be taken."""
    ask = getattr(torch._C, "_are_functorch_transforms_active", None)
    level = getattr(torch.autograd.forward_ad, "_current_level", 0)
    return level >= 0 or ask is None or bool(ask())


def array_of(tensor: Tensor) -> Array:
    """The memory of a tensor as an array; a copy only where it is laid out in another way."""
    try:
        array: Array = tensor.numpy(force=True)
    except (RuntimeError, TypeError) as error:  # such as one that only stands for another
        kind = type(tensor).__name__
        raise InputError(f"expected tensors that lie in memory, found a {kind}: {error}") from None
    return array


def _no_second(network: str) -> DerivativeError:
    return DerivativeError(
        f"`{network}` has no second derivatives: derivatives of its gradients (create_graph=True,"
        " torch.func.hessian) are not computed"
    )


def _each(
    info: Any, dims: Sequence[int | None], tensors: Sequence[Tensor]
) -> list[tuple[Tensor, ...]]:
    """The tensors of each value that ``vmap`` goes over."""
    if not info.batch_size:
        raise InputError("vmap: expected at least one value to go over, found none")
    return [
        tuple(
            tensor if dim is None else tensor.select(dim, place)
            for tensor, dim in zip(tensors, dims, strict=True)
        )
        for place in range(info.batch_size)
    ]


def _stacked(found: Sequence[tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    stacked = tuple(map(torch.stack, zip(*found, strict=True)))
    return stacked, (0,) * len(stacked)


def _keeps_graph() -> bool:
    """Whether the backward pass that runs may be followed by another one of the same graph."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())
