"""rollc itself, through the interface that its users call."""

from __future__ import annotations

import numpy as np

from rollc.driver.build import build_source
from rollc.support import threads
from rollc.tools.bench.data import Problem
from rollc.tools.bench.task import Ready, Task, gradient_results


def prepare(task: Task, problem: Problem) -> Ready:
    workload = task.workload
    network, _ = build_source(workload.spec, f"{workload.name}.roll", dtype=task.dtype)
    threads.use(task.threads)
    if task.mode == "step":
        stream = network.prepare(problem.params).stream(batch=workload.size.batch)
        now = {name: array[0] for name, array in problem.inputs.items()}
        return Ready(lambda: stream(now), lambda outputs: {"y": outputs["y"][None]})
    if task.mode == "forward":
        return Ready(
            lambda: network.forward(problem.params, problem.inputs),
            lambda outputs: {"y": np.asarray(outputs["y"])},
        )
    inputs = {**problem.inputs, "g": problem.g}
    return Ready(
        lambda: network.value_and_grad(problem.params, inputs),
        lambda found: gradient_results(*found),
    )
