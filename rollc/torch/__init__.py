"""Networks as modules of PyTorch (``pip install 'rollc[torch]'``)::

    import torch
    import rollc.torch

    layer = rollc.torch.Module("lstm", D=16, H=64)
    outputs = layer(torch.randn(100, 32, 16))  # [T, B, D]: time first
    outputs["h"].sum().backward()

A :class:`Module` is an ``nn.Module`` with the parameters of a spec; its kernels compute outputs and
gradients, and PyTorch's autograd, optimisers, checkpoints and hooks do the rest.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        "rollc.torch needs PyTorch, which is not installed: pip install 'rollc[torch]'"
    ) from None

from rollc.errors import DerivativeError
from rollc.torch.layers import convert
from rollc.torch.module import Module

__all__ = ["DerivativeError", "Module", "convert"]
