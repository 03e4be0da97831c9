"""Calls that PyTorch's compilers leave as they are, or are told that they cannot have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from rollc.errors import InputError

Method = TypeVar("Method", bound=Callable[..., Any])


def uncompiled(method: Method) -> Method:
    """A method of a module that ``torch.compile`` calls between the graphs that it makes.

    ``torch.compiler.disable`` is only reached while something is compiled: it takes a second to
    import.  What traces a module once, to run without Python, is refused.
    """

    @wraps(method)
    def call(self: Any, *inputs: Any, **named: Any) -> Any:
        if torch.jit.is_tracing() or _exports():
            raise InputError(
                "a network of rollc runs in Python: it cannot be traced or exported"
                " (torch.jit.trace, torch.export)"
            )
        if torch.compiler.is_compiling():
            return torch.compiler.disable(method)(self, *inputs, **named)
        return method(self, *inputs, **named)

    return call  # type: ignore[return-value]


def _exports() -> bool:
    ask = getattr(torch.compiler, "is_exporting", None)  # from PyTorch 2.7 on
    return False if ask is None else bool(ask())
