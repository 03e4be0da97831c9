"""Networks as functions of JAX (``pip install 'rollc[jax]'``)::

    import jax
    import rollc.jax

    lstm = rollc.jax.function("lstm", D=16, H=64)
    params = lstm.init(seed=0)
    outputs = lstm(params, x)  # [T, B, D] to {"h": [T, B, H], ...}
    loss, grads = jax.jit(jax.value_and_grad(lstm.loss))(params, x, y=y)

A :class:`Function` is a function without effects of parameters, inputs and a state; its kernels
compute outputs and gradients on the CPU, and JAX's transformations do the rest.
"""

from __future__ import annotations

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError(
        "rollc.jax needs JAX, which is not installed: pip install 'rollc[jax]'"
    ) from None

from rollc.errors import DerivativeError
from rollc.jax.function import Function, function

__all__ = ["DerivativeError", "Function", "function"]
