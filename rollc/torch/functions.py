"""Calls of a network as functions that PyTorch's autograd knows.

Two of them: :class:`Outputs` computes, and its backward is :class:`Gradients`, a function in turn,
of the cotangents and of all that the outputs were computed from.  So PyTorch sees that gradients
depend on these, and a derivative of a gradient, which is not there, is an error and never zero.

Both follow what PyTorch asks of a function that its transforms (``torch.func``) can take: the
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
Pull = Callable[[Arrays, Sequence[str]], Arrays]


@dataclass(frozen=True)
class Ran:
    """Results by name, and a function from cotangents to some of the gradients.

    ``sources`` are the results that have cotangents.
    """

    results: Arrays
    sources: frozenset[str]
    pull: Pull | None = None


Run = Callable[[Arrays, tuple[str, ...]], Ran]
"""Takes arrays by name, and the names of those whose gradients may be asked for."""


class DerivativeError(InputError, NotImplementedError):
    """A derivative was asked for that a network does not give."""


@dataclass(eq=False)
class Call:
    """One call, which keeps what its gradients are computed from.

    ``names`` are those of the tensors, ``wrt`` those of them whose gradients may be asked for;
    ``results`` and ``sources`` are names once it has run, and ``pull`` gives the gradients (see
    :class:`Ran`).  Under ``vmap`` there is a call for each value: the ``parts``.
    """

    network: str
    run: Run
    names: tuple[str, ...]
    wrt: tuple[str, ...]
    results: tuple[str, ...] = ()
    sources: frozenset[str] = frozenset()
    pull: Pull | None = None
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
        call.results, call.sources, call.pull = tuple(ran.results), ran.sources, ran.pull
        return tuple(map(torch.from_numpy, ran.results.values()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(*tensors)  # a change in place is found there
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(
            *(
                tensor
                for name, tensor in zip(call.results, output, strict=True)
                if name not in call.sources
            )
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
        found = Gradients.apply(call, tuple(given), wanted, *given.values(), *tensors)
        if not _keeps_graph():
            call.release()
        gradients = dict(zip(wanted, found, strict=True))
        return (None, *(gradients.get(name) for name in call.names))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise DerivativeError(
            f"`{ctx.call.network}` has no derivative forward in time here (torch.func.jvp,"
            " jacfwd, dual tensors): take torch.func.vjp or jacrev"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, *tensors: Tensor) -> Any:
        each = _each(info, in_dims[1:], tensors)
        call.parts = tuple(replace(call) for _ in each)
        found = [Outputs.apply(part, *own) for part, own in zip(call.parts, each, strict=True)]
        call.results, call.sources = call.parts[0].results, call.parts[0].sources
        return _stacked(found)


class Gradients(torch.autograd.Function):  # type: ignore[misc]
    """The gradients with the names ``wanted``, from the cotangents ``given``.

    ``tensors`` are these cotangents, and then all that the call had.
    """

    @staticmethod
    def forward(
        call: Call, given: tuple[str, ...], wanted: tuple[str, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        assert call.pull is not None
        cotangents = {name: array_of(tensor) for name, tensor in zip(given, tensors, strict=False)}
        found = call.pull(cotangents, wanted)
        return tuple(torch.from_numpy(found[name]) for name in wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.network = inputs[0].network

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> NoReturn:
        raise _no_second(ctx.network)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise _no_second(ctx.network)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        call: Call,
        given: tuple[str, ...],
        wanted: tuple[str, ...],
        *tensors: Tensor,
    ) -> Any:
        dims = in_dims[3:]
        each = _each(info, dims, tensors)
        # Where what it had is one for each value, the call was one for each, too.
        own = any(dim is not None for dim in dims[len(given) :])
        calls = call.parts if own else (call,) * len(each)
        return _stacked(
            [
                Gradients.apply(part, given, wanted, *own)
                for part, own in zip(calls, each, strict=True)
            ]
        )


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
        f"`{network}` has no second derivatives: gradients of its gradients (create_graph=True,"
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
