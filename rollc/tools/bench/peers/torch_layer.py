"""PyTorch's own layers, whose kernels for the CPU are oneDNN's where it has them.

``torch.nn.LSTM``, ``GRU`` and ``RNN`` have two biases where one would do; the second is zero
but for the part of a GRU that stands inside the reset gate.
"""

from __future__ import annotations

from typing import Any

import torch

from rollc.tools.bench.data import Array, Problem
from rollc.tools.bench.task import Ready, Task, gradient_results

_LAYERS: dict[str, tuple[str, dict[str, str]]] = {
    # The class, and for each use of a cell in the spec the ending of the layer's parameters.
    "lstm": ("LSTM", {"y": "l0"}),
    "gru": ("GRU", {"y": "l0"}),
    "rnn": ("RNN", {"y": "l0"}),
    "stacked": ("LSTM", {"low": "l0", "y": "l1"}),
    "bidirectional": ("LSTM", {"f": "l0", "g2": "l0_reverse"}),
}


def prepare(task: Task, problem: Problem) -> Ready:
    torch.set_num_threads(task.threads)
    if task.mode == "step":
        return _one_step(task.workload.system, problem)
    kind, uses = _LAYERS[task.workload.system]
    layer = _layer(kind, uses, problem)
    x = torch.from_numpy(problem.inputs["x"])
    if task.mode == "forward":

        def forward() -> Any:
            with torch.no_grad():
                return layer(x)[0]

        return Ready(forward, lambda y: {"y": y.numpy()})
    x.requires_grad_(True)
    g = torch.from_numpy(problem.g)
    places = task.workload.size.steps * task.workload.size.batch
    leaves = dict(layer.named_parameters())

    def gradient() -> Any:
        loss = (layer(x)[0] * g).sum() / places
        return loss.detach(), torch.autograd.grad(loss, [x, *leaves.values()])

    def results(found: Any) -> dict[str, Array]:
        of_x, *rest = found[1]
        slopes = _by_spec(kind, uses, dict(zip(leaves, rest, strict=True)))
        return gradient_results(found[0], {**slopes, "x": of_x})

    return Ready(gradient, results)


def _one_step(system: str, problem: Problem) -> Ready:
    """A step of ``torch.nn.LSTMCell`` and its like, whose names of parameters are the layer's."""
    kind, uses = _LAYERS[system]
    if len(uses) > 1:
        raise ValueError(f"there is no cell like `{system}`")
    layer = _layer(kind, uses, problem)
    cell: Any = getattr(torch.nn, f"{kind}Cell")(layer.input_size, layer.hidden_size)
    cell = cell.to(next(layer.parameters()).dtype)
    x = torch.from_numpy(problem.inputs["x"][0])
    with torch.no_grad():
        for name, weight in cell.named_parameters():
            weight.copy_(getattr(layer, f"{name}_l0"))
        rows = x.new_zeros(len(x), layer.hidden_size)
        state: Any = (rows, rows) if kind == "LSTM" else rows

    def step() -> Any:
        nonlocal state
        with torch.no_grad():
            state = cell(x, state)
        return state[0] if kind == "LSTM" else state

    return Ready(step, lambda y: {"y": y.numpy()[None]})


def _layer(kind: str, uses: dict[str, str], problem: Problem) -> Any:
    first = next(iter(uses))
    hidden, inner = problem.params[f"{first}.U"].shape[1], problem.inputs["x"].shape[2]
    both_ways = any(ending.endswith("_reverse") for ending in uses.values())
    layers = len(uses) // (2 if both_ways else 1)
    layer: Any = getattr(torch.nn, kind)(inner, hidden, layers, bidirectional=both_ways)
    layer = layer.to(torch.from_numpy(problem.inputs["x"]).dtype)
    weights = dict(layer.named_parameters())
    with torch.no_grad():
        for use, ending in uses.items():
            given = {
                name: torch.from_numpy(problem.params[f"{use}.{name}"])
                for name in ("W", "U", "b", "d")
                if f"{use}.{name}" in problem.params
            }
            weights[f"weight_ih_{ending}"].copy_(given["W"])
            weights[f"weight_hh_{ending}"].copy_(given["U"])
            weights[f"bias_ih_{ending}"].copy_(given["b"])
            weights[f"bias_hh_{ending}"].zero_()
            if "d" in given:
                weights[f"bias_hh_{ending}"][2 * hidden :].copy_(given["d"])
    return layer


def _by_spec(kind: str, uses: dict[str, str], slopes: dict[str, Any]) -> dict[str, Any]:
    """The gradients under the names of the spec: of a sum of biases each has that of the sum."""
    found = {}
    for use, ending in uses.items():
        found[f"{use}.W"] = slopes[f"weight_ih_{ending}"]
        found[f"{use}.U"] = slopes[f"weight_hh_{ending}"]
        found[f"{use}.b"] = slopes[f"bias_ih_{ending}"]
        if kind == "GRU":
            hidden = slopes[f"weight_hh_{ending}"].shape[1]
            found[f"{use}.d"] = slopes[f"bias_hh_{ending}"][2 * hidden :]
    return found
