"""ONNX Runtime, forward: its recurrent operators, with the weights as constants of the model.

ONNX stacks an LSTM's gates i, o, f, g and a GRU's z, r, n; the specs have PyTorch's orders.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

from rollc.tools.bench.data import Array, Problem
from rollc.tools.bench.task import Ready, Task

_ORDERS = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn": ("RNN", (0,))}
_OPSET = 14


def prepare(task: Task, problem: Problem) -> Ready:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(task.workload.system, problem), options, providers=["CPUExecutionProvider"]
    )
    given = problem.inputs
    return Ready(lambda: session.run(["y"], given)[0], lambda y: {"y": y[:, 0]})


def _model(system: str, problem: Problem) -> bytes:
    kind, order = _ORDERS[system]
    weights = {
        "W": _reordered(problem.params["y.W"], order),
        "R": _reordered(problem.params["y.U"], order),
    }
    bias = _reordered(problem.params["y.b"], order)
    of_state = np.zeros_like(bias)
    if "y.d" in problem.params:
        hidden = problem.params["y.d"].shape[0]
        of_state[:, -hidden:] = problem.params["y.d"]
    weights["B"] = np.concatenate([bias, of_state], 1)
    attributes = {"hidden_size": problem.params["y.U"].shape[1]}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    number = helper.np_dtype_to_tensor_dtype(problem.inputs["x"].dtype)
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "W", "R", "B"], ["y"], **attributes)],
        system,
        [helper.make_tensor_value_info("x", number, problem.inputs["x"].shape)],
        [helper.make_tensor_value_info("y", number, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _reordered(stacked: Array, order: tuple[int, ...]) -> Array:
    """The blocks of rows in another order, with ONNX's dimension of directions in front."""
    blocks = np.split(stacked, len(order))
    return np.concatenate([blocks[place] for place in order])[None]
