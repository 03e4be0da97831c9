"""PyTensor: ``scan``, compiled to Numba.

Its other back end, C++, finds no BLAS where PyTensor was installed by pip.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from rollc.tools.bench.data import Problem
from rollc.tools.bench.systems import Params, Space, Step, system
from rollc.tools.bench.task import Mode, Ready, Task, gradient_results


def _scan(
    step: Step, start: tuple[Any, ...], over: Any, params: Params, backwards: bool = False
) -> Any:
    sequences = list(over) if isinstance(over, tuple) else [over]
    count = len(sequences)

    def one(*given: Any) -> list[Any]:
        now = given[:count] if isinstance(over, tuple) else given[0]
        state, output = step(SPACE, params, given[count:], now)
        return [*state, output]

    found, _ = pytensor.scan(
        one, sequences, [*start, None], go_backwards=backwards, strict=False, return_updates=True
    )
    return found[-1][::-1] if backwards else found[-1]


def _split(x: Any, parts: int) -> Any:
    return pt.split(x, [x.shape[-1] // parts] * parts, n_splits=parts, axis=-1)


def _product(x: Any, weight: Any) -> Any:
    rows = x.reshape((x.shape[0] * x.shape[1], x.shape[2]))
    return (rows @ weight.T).reshape((x.shape[0], x.shape[1], weight.shape[0]))


def _layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    spread = pt.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
    return centred / spread * gain + bias


SPACE = Space(
    tanh=pt.tanh,
    sigmoid=pt.sigmoid,
    exp=pt.exp,
    sqrt=pt.sqrt,
    abs=pt.abs,
    where=pt.where,
    split=_split,
    concatenate=pt.concatenate,
    softmax=lambda x: pt.special.softmax(x, axis=-1),
    layer_norm=_layer_norm,
    product=_product,
    stop=disconnected_grad,
    arange=pt.arange,
    zeros=lambda array, *shape: pt.zeros(shape, dtype=array.dtype),
    scan=_scan,
)


def prepare(task: Task, problem: Problem) -> Ready:
    params, inputs = (
        tuple((name, value.ndim) for name, value in arrays.items())
        for arrays in (problem.params, problem.inputs)
    )
    run = _function(task.workload.system, task.mode, task.dtype, params, inputs)
    given = [*problem.params.values(), *problem.inputs.values()]
    if task.mode == "forward":
        return Ready(lambda: run(*given), lambda y: {"y": y})
    # The mean is taken once: all that comes back is linear in g.
    g = problem.g / problem.g.dtype.type(task.workload.size.steps * task.workload.size.batch)
    names = [name for name, _ in (*params, *inputs)]
    return Ready(
        lambda: run(g, *given),
        lambda found: gradient_results(found[0], dict(zip(names, found[1:], strict=True))),
    )


@cache
def _function(
    name: str,
    mode: Mode,
    dtype: str,
    params: tuple[tuple[str, int], ...],
    inputs: tuple[tuple[str, int], ...],
) -> Any:
    """The compiled function, for all sizes: it takes PyTensor a minute to make one.

    Parameters and inputs are given by name and number of dimensions.
    """
    with pytensor.config.change_flags(floatX=dtype):
        weights, given = (
            {leaf: pt.tensor(leaf, dtype=dtype, shape=(None,) * rank) for leaf, rank in leaves}
            for leaves in (params, inputs)
        )
        leaves = [*weights.values(), *given.values()]
        y = system(name)(SPACE, weights, *given.values())
        if mode == "forward":
            return pytensor.function(leaves, y, mode="NUMBA")
        g = pt.tensor("g", dtype=dtype, shape=(None,) * y.ndim)
        loss = (y * g).sum()
        slopes = pytensor.grad(loss, leaves)
        return pytensor.function([g, *leaves], [loss, *slopes], mode="NUMBA")
