"""What a module takes of tensors: their precision, their device, where their batch is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rollc.errors import InputError
from rollc.network.arrays import Spec
from rollc.support.checks import shown

Tensor = Any

_COMPUTED = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}


@dataclass(frozen=True)
class Precision:
    """The type of a module's numbers, and the one that it computes in.

    ``mixed`` is whether it takes lower precisions too, as under ``torch.autocast``.
    """

    own: Any
    computed: Any
    mixed: bool
    network: str
    """The precision that is computed in, in rollc's words."""

    def takes(self, dtype: Any) -> bool:
        return dtype == self.own or (
            self.mixed and dtype in _COMPUTED and dtype.itemsize <= self.computed.itemsize
        )

    def given_back(self, tensor: Tensor) -> Tensor:
        """A result, in the type of the module's numbers."""
        if self.mixed or self.own == self.computed or not tensor.is_floating_point():
            return tensor
        return tensor.to(self.own)


_PRECISIONS = {
    (own, mixed): Precision(own, computed, mixed, str(computed).removeprefix("torch."))
    for own, computed in _COMPUTED.items()
    for mixed in (False, True)
}


def precision_of(sort: str, dtypes: Mapping[str, Any]) -> Precision:
    """The one precision of some things by name."""
    first, own = next(iter(dtypes.items()))
    for name, dtype in dtypes.items():
        if dtype not in _COMPUTED:
            known = ", ".join(map(str, _COMPUTED))
            raise InputError(f"{sort} `{name}`: expected one of {known}, found {shown(dtype)}")
        if dtype != own:
            raise InputError(
                f"expected each {sort} in one precision, found `{first}` in {own} and `{name}` in"
                f" {dtype}; call `.float()` or `.double()` of the module"
            )
    mixed = torch.is_autocast_enabled("cpu")
    if mixed and not torch.compiler.is_compiling():
        warnings.warn("rollc computes in float32 under torch.autocast", stacklevel=1)
    return _PRECISIONS[own, mixed]


def halves(name: str, tensor: Any) -> tuple[Tensor, Tensor]:
    """The parts of a complex tensor; a real one has an imaginary part of 0."""
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"`{name}`: expected a tensor, found {shown(type(tensor).__name__)}")
    return (tensor.real, tensor.imag) if tensor.is_complex() else (tensor, torch.zeros_like(tensor))


def joined(real: Tensor, imaginary: Tensor) -> Tensor:
    """A complex tensor; of half precisions PyTorch has none that is computed with."""
    if real.dtype not in (torch.float32, torch.float64):
        real, imaginary = real.float(), imaginary.float()
    return torch.complex(real, imaginary)


def checked(sort: str, name: str, tensor: Any, spec: Spec, precision: Precision) -> Tensor:
    """A tensor in the precision that is computed in; shapes are the network's to look at."""
    dense = isinstance(tensor, torch.Tensor) and tensor.is_cpu and tensor.layout is torch.strided
    if dense and spec.kind == "float" and tensor.dtype is precision.own is precision.computed:
        return tensor
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"{sort} `{name}`: expected a tensor, found {shown(tensor)}")
    if not tensor.is_cpu:
        raise InputError(
            f"{sort} `{name}`: rollc computes on the CPU, and it is on {tensor.device}; call"
            " `.cpu()` of it, and of the module"
        )
    if tensor.layout is not torch.strided:
        raise InputError(
            f"{sort} `{name}`: expected a dense tensor, found {tensor.layout}; call `.to_dense()`"
        )
    if spec.kind != "float":
        if tensor.is_floating_point() or tensor.is_complex():
            raise InputError(
                f"{sort} `{name}`: expected whole numbers (torch.int64), found {tensor.dtype}"
            )
        return tensor
    if not precision.takes(tensor.dtype):
        raise InputError(
            f"{sort} `{name}`: expected {precision.own}, found {tensor.dtype}; convert it, or the"
            " module by `.float()` or `.double()`"
        )
    return tensor if tensor.dtype == precision.computed else tensor.to(precision.computed)


def lengths_of(value: Any) -> Any:
    """Lengths as a network takes them, from tensors or what else there is."""
    if isinstance(value, Mapping):
        return {axis: lengths_of(own) for axis, own in value.items()}
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    return value


def time_first(tensor: Tensor, spec: Spec) -> Tensor:
    """A tensor ``[B, T, ...]`` as ``[T, B, ...]``; without a batch as it is."""
    return tensor.movedim(0, len(spec.time)) if has_batch(tensor, spec) else tensor


def batch_to_front(tensor: Tensor, spec: Spec) -> Tensor:
    """A tensor ``[T, B, ...]`` as ``[B, T, ...]``; without a batch as it is."""
    return tensor.movedim(len(spec.time), 0) if has_batch(tensor, spec) else tensor


def has_batch(tensor: Tensor, spec: Spec) -> bool:
    """Whether a tensor has the dimension of sequences."""
    return bool(tensor.ndim == len(spec.time) + 1 + len(spec.shape))


def state_rows(value: Tensor, start: Spec, state: Spec, batch: int | None) -> Tensor:
    """The rows of a state, ``[depth, B, ...]``, from what the spec says it starts from.

    That is a number, a value of the state's shape, or a row for each step, the earliest first.
    """
    depth, *own = state.shape
    lead = int(start.batch and batch is not None)
    if len(start.shape) > len(own):
        value = value.movedim(lead, 0)[-depth:]
    else:
        value = value.reshape(1, *value.shape, *[1] * (len(own) - len(start.shape)))
    sequences = [] if batch is None or not state.batch else [batch]
    if sequences and not lead:
        value = value.unsqueeze(1)
    return value.expand(depth, *sequences, *own)
