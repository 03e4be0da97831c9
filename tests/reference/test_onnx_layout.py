"""What the comments of the cells say about ONNX: its order of gates, its biases, its peepholes.

The weights of our cells, rearranged as the comments say, give the same values in the reference
implementation of ONNX's operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.sources import read_spec
from rollc.ir.interpreter import interpret

onnx = pytest.importorskip("onnx", reason="ONNX is not installed: pip install onnx")
reference = pytest.importorskip("onnx.reference", reason="ONNX is not installed")

Array = NDArray[Any]

T, B, D, H = 7, 2, 3, 5


def ours(file: str, cell: str, results: int) -> tuple[dict[str, Array], Array, Array]:
    """Drawn weights of a cell, inputs, and what it makes of them."""
    names = ["h", "c"][:results]
    text = "\n".join(
        [
            f'net one\nuse "cells/{file}.roll"\ninput x: [{D}]',
            f"{', '.join(names)} = {cell}(x; H={H})\noutput h",
        ]
    )
    graph, _ = read_spec(text, "test.roll")
    random = np.random.default_rng(0)
    weights = {
        node.name: random.normal(scale=0.5, size=node.type.shape) for node in graph.leaves("param")
    }
    x = random.normal(size=(T, B, D))
    values = interpret(graph, {**weights, "x": x}, {"t": T, "batch": B})
    output = values[dict(graph.outputs)["h"]]
    return {name.partition(".")[2]: value for name, value in weights.items()}, x, output


def theirs(
    operator: str, x: Array, w: Array, r: Array, b: Array, p: Array | None = None, **options: int
) -> Array:
    """The values of an ONNX operator over the steps; its arrays have a direction in front."""
    given: dict[str, Array] = {"X": x, "W": w[None], "R": r[None], "B": b[None]}
    names = ["X", "W", "R", "B"]
    if p is not None:
        given["P"] = p[None]
        names += ["", "", "", "P"]  # lengths and initial values are left out
    helper = onnx.helper
    node = helper.make_node(operator, names, ["Y"], hidden_size=H, **options)
    kind = onnx.TensorProto.DOUBLE
    inputs = [
        helper.make_tensor_value_info(name, kind, array.shape) for name, array in given.items()
    ]
    outputs = [helper.make_tensor_value_info("Y", kind, None)]
    model = helper.make_model(helper.make_graph([node], "one", inputs, outputs))
    (found,) = reference.ReferenceEvaluator(model).run(None, given)
    return np.asarray(found)[:, 0]  # [T, direction, B, H]


def reordered(array: Array, order: str, wanted: str) -> Array:
    """The blocks of rows of the gates in another order."""
    blocks = dict(zip(order, np.split(array, len(order)), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted])


def both(bias: Array) -> Array:
    """ONNX has a bias of the input and one of the state: their sum is ours."""
    return np.concatenate([0.25 * bias, 0.75 * bias])


def test_rnn() -> None:
    weights, x, expected = ours("rnn", "rnn", 1)
    found = theirs("RNN", x, weights["W"], weights["U"], both(weights["b"]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lstm() -> None:
    weights, x, expected = ours("lstm", "lstm", 2)
    w, u, b = (reordered(weights[name], "ifgo", "iofg") for name in ("W", "U", "b"))
    np.testing.assert_allclose(theirs("LSTM", x, w, u, both(b)), expected, atol=1e-6)


def test_peepholes() -> None:
    weights, x, expected = ours("lstm_peephole", "lstm_peephole", 2)
    w, u, b = (reordered(weights[name], "ifgo", "iofg") for name in ("W", "U", "b"))
    p = np.concatenate([weights[name] for name in ("p_i", "p_o", "p_f")])
    np.testing.assert_allclose(theirs("LSTM", x, w, u, both(b), p), expected, atol=1e-6)


def test_gru_with_the_reset_after_the_product() -> None:
    weights, x, expected = ours("gru", "gru", 1)
    w, u, b = (reordered(weights[name], "rzn", "zrn") for name in ("W", "U", "b"))
    of_state = np.concatenate([np.zeros(2 * H), weights["d"]])
    found = theirs("GRU", x, w, u, np.concatenate([b, of_state]), linear_before_reset=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gru_with_the_reset_before_the_product() -> None:
    weights, x, expected = ours("gru", "gru_before", 1)
    w, b = (reordered(weights[name], "rzn", "zrn") for name in ("W", "b"))
    u = np.concatenate([reordered(weights["U"], "rz", "zr"), weights["V"]])
    found = theirs("GRU", x, w, u, np.concatenate([b, np.zeros(3 * H)]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
