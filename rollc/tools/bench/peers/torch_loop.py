"""PyTorch: a Python loop over the steps, eager or with ``torch.compile``.

``torch-compile`` compiles the step, which the loop calls; ``torch-compile-loop`` the whole
system, whose loop it unrolls, which takes it a minute for a hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.nn.functional import layer_norm

from rollc.tools.bench.data import Problem
from rollc.tools.bench.systems import Params, Space, Step, system
from rollc.tools.bench.task import Ready, Task, gradient_results


def _loop(
    step: Callable[..., Any], start: tuple[Any, ...], over: Any, params: Params, backwards: bool
) -> Any:
    # `unbind` has one gradient for all steps; an index would have one of full size for each.
    rows: list[Any] = (
        list(zip(*(each.unbind(0) for each in over), strict=True))
        if isinstance(over, tuple)
        else list(over.unbind(0))
    )
    state, outputs = start, []
    for now in reversed(rows) if backwards else rows:
        state, output = step(params, state, now)
        outputs.append(output)
    return torch.stack(outputs[::-1] if backwards else outputs)


@cache
def _eager(step: Step) -> Callable[..., Any]:
    return lambda params, state, now: step(EAGER, params, state, now)


@cache
def _compiled(step: Step) -> Callable[..., Any]:
    found: Callable[..., Any] = torch.compile(_eager(step), dynamic=False)
    return found


def _scan(maker: Callable[[Step], Callable[..., Any]]) -> Callable[..., Any]:
    def scan(
        step: Step, start: tuple[Any, ...], over: Any, params: Params, backwards: bool = False
    ) -> Any:
        return _loop(maker(step), start, over, params, backwards)

    return scan


def _layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    return layer_norm(x, gain.shape, gain, bias)


EAGER = Space(
    tanh=torch.tanh,
    sigmoid=torch.sigmoid,
    exp=torch.exp,
    sqrt=torch.sqrt,
    abs=torch.abs,
    where=torch.where,
    split=lambda x, parts: torch.chunk(x, parts, -1),
    concatenate=torch.cat,
    softmax=lambda x: torch.softmax(x, -1),
    layer_norm=_layer_norm,
    product=lambda x, weight: x @ weight.T,
    stop=lambda x: x.detach(),
    arange=torch.arange,
    zeros=lambda array, *shape: torch.zeros(shape, dtype=array.dtype),
    scan=_scan(_eager),
)
COMPILED = replace(EAGER, scan=_scan(_compiled))


def eager(task: Task, problem: Problem) -> Ready:
    whole = system(task.workload.system)
    return ready(task, problem, lambda params, *inputs: whole(EAGER, params, *inputs))


def compiled_step(task: Task, problem: Problem) -> Ready:
    whole = system(task.workload.system)
    return ready(task, problem, lambda params, *inputs: whole(COMPILED, params, *inputs))


def compiled_loop(task: Task, problem: Problem) -> Ready:
    whole = system(task.workload.system)
    run = torch.compile(lambda params, *inputs: whole(EAGER, params, *inputs), dynamic=False)
    return ready(task, problem, run)


def ready(task: Task, problem: Problem, run: Callable[..., Any]) -> Ready:
    """What calls a function of parameters and inputs, with its gradients if they are asked for."""
    torch.set_num_threads(task.threads)
    learn = task.mode == "gradient"
    params, inputs = (
        {name: torch.from_numpy(value).requires_grad_(learn) for name, value in arrays.items()}
        for arrays in (problem.params, problem.inputs)
    )
    if not learn:

        def forward() -> Any:
            with torch.no_grad():
                return run(params, *inputs.values())

        return Ready(forward, lambda y: {"y": y.numpy()})
    g = torch.from_numpy(problem.g)
    places = task.workload.size.steps * task.workload.size.batch
    leaves = {**params, **inputs}

    def gradient() -> Any:
        loss = (run(params, *inputs.values()) * g).sum() / places
        return loss.detach(), torch.autograd.grad(loss, list(leaves.values()))

    return Ready(
        gradient,
        lambda found: gradient_results(found[0], dict(zip(leaves, found[1], strict=True))),
    )
