"""ONNX Runtime: its recurrent operators, with the weights as constants of the model.

Step by step, the state goes in and out as arrays of NumPy, as ONNX Runtime's users have it.
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
        _model(task.workload.system, problem, task.mode == "step"),
        options,
        providers=["CPUExecutionProvider"],
    )
    given = problem.inputs
    if task.mode == "step":
        return _one_step(session, problem)
    return Ready(lambda: session.run(["y"], given)[0], lambda y: {"y": y[:, 0]})


def _one_step(session: onnxruntime.InferenceSession, problem: Problem) -> Ready:
    x = problem.inputs["x"][:1]
    rows = np.zeros((1, x.shape[1], problem.params["y.U"].shape[1]), x.dtype)
    names = [one.name for one in session.get_outputs()]
    given = {"x": x, **{f"{name}0": rows for name in names}}

    def step() -> Array:
        found = session.run(names, given)
        for name, array in zip(names, found, strict=True):
            given[f"{name}0"] = array
        y: Array = found[0]
        return y

    return Ready(step, lambda y: {"y": y})


def _model(system: str, problem: Problem, one_step: bool) -> bytes:
    """The operator over all steps, which gives them as y; or over one, from a state to the next."""
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
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    shape = problem.inputs["x"].shape
    takes, gives = [("x", shape)], ["y"]
    node = helper.make_node(kind, ["x", "W", "R", "B"], ["y"], **attributes)
    if one_step:
        rows = (1, shape[1], attributes["hidden_size"])
        takes, gives = [("x", (1, *shape[1:])), *((f"{one}0", rows) for one in states)], states
        reads = ["x", "W", "R", "B", "", *(f"{one}0" for one in states)]
        node = helper.make_node(kind, reads, ["", *states], **attributes)
    graph = helper.make_graph(
        [node],
        system,
        [helper.make_tensor_value_info(name, number, shape) for name, shape in takes],
        [helper.make_tensor_value_info(name, number, None) for name in gives],
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
