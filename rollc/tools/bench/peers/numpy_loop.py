"""A loop over time in NumPy, forward only: the reference semantics of the systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.tools.bench.data import Problem
from rollc.tools.bench.systems import Params, Space, Step, system
from rollc.tools.bench.task import Ready, Task


def _scan(
    step: Step, start: tuple[Any, ...], over: Any, params: Params, backwards: bool = False
) -> Any:
    rows = list(zip(*over, strict=True)) if isinstance(over, tuple) else list(over)
    state, outputs = start, []
    for now in reversed(rows) if backwards else rows:
        state, output = step(SPACE, params, state, now)
        outputs.append(output)
    return np.stack(outputs[::-1] if backwards else outputs)


def _layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(-1, keepdims=True) + x.dtype.type(1e-5))
    return centred / spread * gain + bias


def _softmax(x: Any) -> Any:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


SPACE = Space(
    tanh=np.tanh,
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    exp=np.exp,
    sqrt=np.sqrt,
    abs=np.abs,
    where=np.where,
    split=lambda x, parts: np.split(x, parts, -1),
    concatenate=np.concatenate,
    softmax=_softmax,
    layer_norm=_layer_norm,
    product=lambda x, weight: x @ weight.T,
    stop=lambda x: x,
    arange=np.arange,
    zeros=lambda array, *shape: np.zeros(shape, array.dtype),
    scan=_scan,
)


def prepare(task: Task, problem: Problem) -> Ready:
    run = system(task.workload.system)
    inputs = problem.inputs.values()
    return Ready(lambda: run(SPACE, problem.params, *inputs), lambda y: {"y": y})
