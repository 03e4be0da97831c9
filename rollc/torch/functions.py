"""Calls of a network as functions that PyTorch's autograd knows.

:class:`Outputs` computes.  Its derivatives are functions in turn, of cotangents or tangents and of
all that the outputs were computed from: :class:`Gradients` in the backward pass, :class:`Slopes`
forward in time, :class:`Products` for the derivative of either.  So PyTorch sees what a derivative
depends on, and one that is not there is an error and never zero.

They follow what PyTorch asks of functions that its transforms (``torch.func``) can take: the
forward takes no context, and ``vmap`` runs a call for each of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch

from rollc.errors import DerivativeError, InputError
from rollc.frameworks.runs import Array, Arrays, Options, Pull, Ran, Sort
from rollc.network.network import Network

Tensor = Any


@dataclass(eq=False)
class Call:
    """One call, which keeps what its gradients are computed from.

    ``names`` are those of the tensors, ``wrt`` those of them whose gradients may be asked for;
    ``results`` are names once it has run, and what follows is that of :class:`Ran`.  Under ``vmap``
    there is a call for each value: the ``parts``.
    """

    network: Network
    options: Options
    sort: Sort
    names: tuple[str, ...]
    wrt: tuple[str, ...]
    results: tuple[str, ...] = ()
    sources: frozenset[str] = frozenset()
    pull: Pull | None = None
    parts: tuple[Call, ...] = ()

    def run(self, arrays: Arrays, wrt: tuple[str, ...]) -> Ran:
        """The results, and what gives gradients of ``wrt``."""
        return self.sort.run(self.network, self.options, arrays, wrt)

    def release(self) -> None:
        """Drop what only another backward pass would need."""
        self.pull, self.parts = None, ()


@dataclass(frozen=True)
class Names:
    """What a derivative is given, in this order before all that the call had, and what it gives."""

    vectors: tuple[str, ...] = ()
    cotangents: tuple[str, ...] = ()
    slopes: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()

    def given(
        self, call: Call, tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Vectors, cotangents and what the call had, by name."""
        first = len(self.vectors)
        second = first + len(self.cotangents)
        return (
            dict(zip(self.vectors, tensors[:first], strict=True)),
            dict(zip(self.cotangents, tensors[first:second], strict=True)),
            dict(zip(call.names, tensors[second:], strict=True)),
        )


class Outputs(torch.autograd.Function):  # type: ignore[misc]
    """The results of a call from tensors by name, in the order of both."""

    @staticmethod
    def forward(call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        ran = call.run(arrays_of(call.names, tensors), call.wrt)
        call.results, call.sources = tuple(ran.results), ran.sources
        call.pull = ran.pull
        return tuple(map(torch.from_numpy, ran.results.values()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.call = call
        ctx.save_for_backward(*tensors)  # a change in place is found there
        if transforms():
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
        given = _present(call.results, cotangents)
        wanted = _needed(call.names, ctx.needs_input_grad[1:])
        if not given or not wanted:
            return (None,) * (1 + len(tensors))
        names, last = Names(cotangents=tuple(given), gradients=wanted), not keeps_graph()
        if torch.is_grad_enabled() or transforms():
            found = Gradients.apply(call, names, *given.values(), *tensors)
        else:  # nobody asks what the gradients depend on
            found = _pulled(call, names, (*given.values(), *tensors), last)
        if last:
            call.release()
        gradients = dict(zip(wanted, found, strict=True))
        return (None, *(gradients.get(name) for name in call.names))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        given = _present(call.names, tangents)
        wanted = tuple(name for name in call.results if name in call.sources)
        names = Names(vectors=tuple(given), slopes=wanted)
        found = Slopes.apply(call, names, *given.values(), *ctx.saved_tensors)
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
    """What is linear in vectors, in cotangents, or in both (see :class:`Names`)."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.call, ctx.names, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @classmethod
    def over(
        cls, info: Any, in_dims: tuple[Any, ...], call: Call, names: Names, *tensors: Tensor
    ) -> Any:
        """It of each value that ``vmap`` goes over."""
        dims = in_dims[2:]
        each = _each(info, dims, tensors)
        # Where what it had is one for each value, the call was one for each, too.
        own = any(dim is not None for dim in dims[-len(call.names) :])
        calls = call.parts if own else (call,) * len(each)
        return _stacked(
            [cls.apply(part, names, *own) for part, own in zip(calls, each, strict=True)]
        )


class Gradients(_Derivative):
    """The gradients from cotangents."""

    @staticmethod
    def forward(call: Call, names: Names, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _pulled(call, names, tensors, last=False)

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor | None) -> tuple[Tensor | None, ...]:
        call, names, tensors = ctx.call, ctx.names, ctx.saved_tensors
        given, count = _present(names.gradients, vectors), len(names.cotangents)
        wanted = Names(
            vectors=tuple(given),
            cotangents=names.cotangents,
            slopes=_needed(names.cotangents, ctx.needs_input_grad[2 : 2 + count]),
            gradients=_needed(call.names, ctx.needs_input_grad[2 + count :]),
        )
        if not given:
            return (None,) * (2 + len(tensors))
        found = Products.apply(call, wanted, *given.values(), *tensors)
        slopes = dict(zip(wanted.slopes, found, strict=False))
        gradients = dict(zip(wanted.gradients, found[len(slopes) :], strict=True))
        return (
            *(None, None),
            *(slopes.get(name) for name in names.cotangents),
            *(gradients.get(name) for name in call.names),
        )

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        call, names, tensors = ctx.call, ctx.names, ctx.saved_tensors
        count = len(names.cotangents)
        moved, given = tensors[:count], tensors[count:]
        cotangents = _present(names.cotangents, tangents[:count])
        vectors = _present(call.names, tangents[count:])
        parts = []
        if cotangents:
            own = replace(names, cotangents=tuple(cotangents))
            parts.append(Gradients.apply(call, own, *cotangents.values(), *given))
        if vectors:
            own = replace(names, vectors=tuple(vectors))
            parts.append(Products.apply(call, own, *vectors.values(), *moved, *given))
        return tuple(map(sum, zip(*parts, strict=True)))

    @staticmethod
    def vmap(*arguments: Any) -> Any:
        return Gradients.over(*arguments)


def _pulled(call: Call, names: Names, tensors: Sequence[Tensor], last: bool) -> tuple[Tensor, ...]:
    """The gradients from cotangents; the call gives none any more after the ``last`` ones."""
    _, cotangents, given = names.given(call, tensors)
    pull = call.pull or call.run(_arrays(given), names.gradients).pull
    assert pull is not None
    found = pull(_arrays(cotangents), names.gradients, last)
    return tuple(torch.from_numpy(found[name]) for name in names.gradients)


class Slopes(_Derivative):
    """The derivatives of the results in the direction of vectors."""

    @staticmethod
    def forward(call: Call, names: Names, *tensors: Tensor) -> tuple[Tensor, ...]:
        vectors, _, given = map(_arrays, names.given(call, tensors))
        found = call.sort.slopes(call.network, call.options, given, vectors)
        return tuple(torch.from_numpy(found[name]) for name in names.slopes)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        call, names, tensors = ctx.call, ctx.names, ctx.saved_tensors
        given, count = _present(names.slopes, cotangents), len(names.vectors)
        moved, had = tensors[:count], tensors[count:]
        if not given:
            return (None,) * (2 + len(tensors))
        found: dict[str, Tensor] = {}
        back = Names(
            cotangents=tuple(given),
            gradients=_needed(names.vectors, ctx.needs_input_grad[2 : 2 + count]),
        )
        if back.gradients:
            slopes = Gradients.apply(call, back, *given.values(), *had)
            found = dict(zip(back.gradients, slopes, strict=True))
        wanted = replace(
            back,
            vectors=names.vectors,
            gradients=_needed(call.names, ctx.needs_input_grad[2 + count :]),
        )
        products: dict[str, Tensor] = {}
        if wanted.gradients:
            own = Products.apply(call, wanted, *moved, *given.values(), *had)
            products = dict(zip(wanted.gradients, own, strict=True))
        return (
            *(None, None),
            *(found.get(name) for name in names.vectors),
            *(products.get(name) for name in call.names),
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise DerivativeError(
            f"`{ctx.call.network.name}` has no second derivatives that are both forward in time"
            " (jvp of jvp, jacfwd of jacfwd): take torch.func.hessian, jacfwd of jacrev or jacrev"
            " of jacfwd"
        )

    @staticmethod
    def vmap(*arguments: Any) -> Any:
        return Slopes.over(*arguments)


class Products(_Derivative):
    """The derivatives of the results in the direction of vectors, and those of the gradients."""

    @staticmethod
    def forward(call: Call, names: Names, *tensors: Tensor) -> tuple[Tensor, ...]:
        vectors, cotangents, given = map(_arrays, names.given(call, tensors))
        slopes, products = call.sort.second(
            *(call.network, call.options, given, vectors, cotangents),
            *(bool(names.slopes), names.gradients),
        )
        return (
            *(torch.from_numpy(slopes[name]) for name in names.slopes),
            *(torch.from_numpy(products[name]) for name in names.gradients),
        )

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> NoReturn:
        raise _no_third(ctx.call.network.name)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        raise _no_third(ctx.call.network.name)

    @staticmethod
    def vmap(*arguments: Any) -> Any:
        return Products.over(*arguments)


def applied(call: Call, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The results of a call by name."""
    if transforms():
        found = Outputs.apply(call, *tensors)
    elif not call.wrt:
        results = call.run(arrays_of(call.names, tensors), ()).results
        return {name: torch.from_numpy(array) for name, array in results.items()}
    else:  # as `apply` does then, without the signature that it binds in every call
        found = super(torch.autograd.Function, Outputs).apply(call, *tensors)
    return dict(zip(call.results, found, strict=True))


def _present(names: Sequence[str], tensors: Sequence[Tensor | None]) -> dict[str, Tensor]:
    named = zip(names, tensors, strict=True)
    return {name: tensor for name, tensor in named if tensor is not None}


def _needed(names: Sequence[str], needs: Sequence[bool]) -> tuple[str, ...]:
    return tuple(name for name, needed in zip(names, needs, strict=True) if needed)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return arrays_of([*tensors], [*tensors.values()])


def transforms() -> bool:
    """Whether a transform of ``torch.func`` may run, or derivatives forward in time be taken."""
    ask = getattr(torch._C, "_are_functorch_transforms_active", None)
    level = getattr(torch.autograd.forward_ad, "_current_level", 0)
    return level >= 0 or ask is None or bool(ask())


def arrays_of(names: Sequence[str], tensors: Sequence[Tensor]) -> dict[str, Array]:
    """The memory of tensors by name."""
    try:
        found = [tensor.numpy(force=True) for tensor in tensors]
    except (RuntimeError, TypeError):  # which it is, and why, :func:`array_of` says
        found = [*map(array_of, tensors)]
    return dict(zip(names, found, strict=True))


def array_of(tensor: Tensor) -> Array:
    """The memory of a tensor as an array; a copy only where it is laid out in another way."""
    try:
        array: Array = tensor.numpy(force=True)
    except (RuntimeError, TypeError) as error:  # such as one that only stands for another
        kind = type(tensor).__name__
        raise InputError(f"expected tensors that lie in memory, found a {kind}: {error}") from None
    return array


def _no_third(network: str) -> DerivativeError:
    return DerivativeError(f"`{network}` has no third derivatives")


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


def keeps_graph() -> bool:
    """Whether the backward pass that runs may be followed by another one of the same graph."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())
