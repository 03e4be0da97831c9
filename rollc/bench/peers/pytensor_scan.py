"""PyTensor: ``scan``, compiled to Numba.

Its other back end, C++, finds no BLAS where PyTensor was installed by pip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad

from rollc.bench.data import Problem
from rollc.bench.systems import Params, Space, Step, system
from rollc.bench.task import Ready, Task, gradient_results


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
    split=lambda x, parts: pt.split(x, n_splits=parts, splits_size=[x.shape[-1] // parts] * parts, axis=-1),
    concatenate=pt.concatenate,
    layer_norm=_layer_norm,
    product=_product,
    stop=disconnected_grad,
    constant=pt.constant,
    zeros=lambda array, *shape: pt.zeros(shape, dtype=array.dtype),
    scan=_scan,
)


def prepare(task: Task, problem: Problem) -> Ready:
    with pytensor.config.change_flags(floatX=task.dtype):
        return _prepare(task, problem)


def _prepare(task: Task, problem: Problem) -> Ready:
    params = {
        name: pt.tensor(name, dtype=value.dtype, shape=value.shape)
        for name, value in problem.params.items()
    }
    x = pt.tensor("x", dtype=problem.x.dtype, shape=problem.x.shape)
    y = system(task.workload.system)(SPACE, params, x)
    given = [problem.x, *problem.params.values()]
    if task.mode == "forward":
        run = pytensor.function([x, *params.values()], y, mode="NUMBA")
        return Ready(lambda: run(*given), lambda y: {"y": y})
    g = pt.tensor("g", dtype=problem.g.dtype, shape=problem.g.shape)
    places = task.workload.size.steps * task.workload.size.batch
    loss = (y * g).sum() / np.asarray(places, task.dtype)
    leaves = [x, *params.values()]
    slopes = pytensor.grad(loss, leaves)
    run = pytensor.function([g, *leaves], [loss, *slopes], mode="NUMBA")
    return Ready(
        lambda: run(problem.g, *given),
        lambda found: gradient_results(
            found[0], found[1], dict(zip(params, found[2:], strict=True))
        ),
    )
