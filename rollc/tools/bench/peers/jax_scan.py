"""JAX: ``lax.scan`` inside ``jit``, gradients by ``value_and_grad``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rollc.tools.bench.data import Problem
from rollc.tools.bench.systems import Params, Space, Step, system
from rollc.tools.bench.task import Ready, Task, gradient_results

jax.config.update("jax_enable_x64", True)  # allows float64; arrays keep the precision they have


def _scan(
    step: Step, start: tuple[Any, ...], over: Any, params: Params, backwards: bool = False
) -> Any:
    return jax.lax.scan(
        lambda state, now: step(SPACE, params, state, now), start, over, reverse=backwards
    )[1]


def _layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * gain + bias


SPACE = Space(
    tanh=jnp.tanh,
    sigmoid=jax.nn.sigmoid,
    exp=jnp.exp,
    sqrt=jnp.sqrt,
    abs=jnp.abs,
    where=jnp.where,
    split=lambda x, parts: jnp.split(x, parts, -1),
    concatenate=jnp.concatenate,
    softmax=jax.nn.softmax,
    layer_norm=_layer_norm,
    product=lambda x, weight: x @ weight.T,
    stop=jax.lax.stop_gradient,
    arange=jnp.arange,
    zeros=lambda array, *shape: jnp.zeros(shape, array.dtype),
    scan=_scan,
)


def prepare(task: Task, problem: Problem) -> Ready:
    whole = system(task.workload.system)
    params, inputs = (
        {name: jnp.asarray(value) for name, value in arrays.items()}
        for arrays in (problem.params, problem.inputs)
    )
    if task.mode == "forward":
        forward = jax.jit(lambda params, inputs: whole(SPACE, params, *inputs.values()))
        return Ready(
            lambda: jax.block_until_ready(forward(params, inputs)),
            lambda y: {"y": np.asarray(y)},
        )
    places = task.workload.size.steps * task.workload.size.batch

    def loss(params: Params, inputs: Params, g: Any) -> Any:
        return (whole(SPACE, params, *inputs.values()) * g).sum() / places

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    g = jnp.asarray(problem.g)
    return Ready(
        lambda: jax.block_until_ready(gradient(params, inputs, g)),
        lambda found: gradient_results(found[0], {**found[1][0], **found[1][1]}),
    )
