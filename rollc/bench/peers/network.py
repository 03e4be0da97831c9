"""rollc itself, through the interface that its users call."""

from __future__ import annotations

from typing import Any

import numpy as np

from rollc.bench.data import Array, Problem
from rollc.bench.task import Ready, Task, gradient_results
from rollc.pipeline import build_text


def prepare(task: Task, problem: Problem) -> Ready:
    workload = task.workload
    network, _ = build_text(workload.spec, f"{workload.name}.roll", dtype=task.dtype)
    if hasattr(network, "threads"):
        network.threads = task.threads
    inputs = {"x": problem.x}
    if task.mode == "forward":
        return Ready(lambda: network.forward(problem.params, inputs), _outputs)
    inputs["g"] = problem.g
    return Ready(lambda: network.value_and_grad(problem.params, inputs), _gradients)


def _outputs(outputs: dict[str, Array]) -> dict[str, Array]:
    return {"y": np.asarray(outputs["y"])}


def _gradients(found: Any) -> dict[str, Array]:
    loss, gradients = found
    rest = {name: value for name, value in gradients.items() if name != "x"}
    return gradient_results(loss, gradients["x"], rest)
