"""Connectionist temporal classification as a spec, held to PyTorch's: with several lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source

torch = pytest.importorskip("torch", reason="the loss is held to PyTorch's")

Array = NDArray[Any]
SPEC = """
# Connectionist temporal classification: a sequence of labels, with no word of which step has which.
#
#     alpha(t, s) = yhat(t, l(s)) (alpha(t-1, s) + alpha(t-1, s-1) + alpha(t-1, s-2))
#     L = -log(alpha(T, S) + alpha(T, S-1))
#
# Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification (2006), equations
# 5 to 8, of logarithms.  A row of `l` says which class a place s has, as a one: the blank, a label,
# the blank and so on.  `skips` is 1 where a place may be come to from the one before the last: at a
# label that is another one than the last.  `ends` is 1 at the last label and the blank behind it.
# Rows behind these are zero: labels of several lengths have one S.
net ctc

dim D = 8, H = 16, K = 5, S = 7

input  x: [D]
static target l: [S, K], skips: [S], ends: [S]
param  U: [H, D], W: [H, H] = orthogonal, b: [H]
param  V: [K, H], c: [K]
const  never = -1e30                  # the logarithm of 0, but for what it is multiplied with

h = tanh(U @ x + W @ h[t-1] + b)
o = V @ h + c
yhat = log_softmax(o)

fn log_add(p, q, r) -> y {
    top = maximum(maximum(p, q), r)
    y = top + log(exp(p - top) + exp(q - top) + exp(r - top))
}
stay = alpha[t-1]
step = concat(never, stay[:S-1])
skip = where(skips > 0, concat(never, never, stay[:S-2]), never)
alpha = l @ yhat + log_add(stay, step, skip)
init alpha = where(range(S) == 0, 0, never)

output yhat
loss -logsumexp(where(ends > 0, last(alpha), never))
"""

LENGTHS, LABELS = [9, 6, 5, 7], [[1, 2, 2], [3], [], [4, 1, 4]]
SIZES = {"D": 3, "H": 4, "K": 5, "S": 7}


def places(labels: list[list[int]], size: int, classes: int) -> dict[str, Array]:
    """The targets of the spec: a blank around each label, which is class 0."""
    shape = (len(labels), size)
    found = {"l": np.zeros((*shape, classes)), "skips": np.zeros(shape), "ends": np.zeros(shape)}
    for number, own in enumerate(labels):
        extended = [0, *(each for label in own for each in (label, 0))]
        for place, label in enumerate(extended):
            found["l"][number, place, label] = 1
            repeated = place < 2 or label == extended[place - 2]
            found["skips"][number, place] = label != 0 and not repeated
        found["ends"][number, max(len(extended) - 2, 0) : len(extended)] = 1
    return found


def test_values_and_gradients_are_pytorchs() -> None:
    network, _ = build_source(SPEC, sets=SIZES, dtype="float64", backend="reference")
    random = np.random.default_rng(0)
    params = {name: random.normal(size=array.shape) for name, array in network.init(0).items()}
    x = random.normal(size=(9, 4, 3))
    inputs = {"x": x, **places(LABELS, SIZES["S"], SIZES["K"])}
    found, gradients = network.value_and_grad(params, inputs, lengths=LENGTHS)

    p = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    h, steps = torch.zeros(4, 4, dtype=torch.float64), []
    for now in torch.tensor(x):
        h = torch.tanh(now @ p["U"].T + h @ p["W"].T + p["b"])
        steps.append(torch.log_softmax(h @ p["V"].T + p["c"], -1))
    loss = torch.nn.functional.ctc_loss(
        torch.stack(steps),
        torch.tensor([label for own in LABELS for label in own]),
        torch.tensor(LENGTHS),
        torch.tensor([len(own) for own in LABELS]),
        reduction="none",
    ).mean()
    loss.backward()
    np.testing.assert_allclose(found, loss.item(), rtol=1e-12)
    for name, gradient in gradients.items():
        if name in p:
            np.testing.assert_allclose(gradient, p[name].grad.numpy(), atol=1e-12, err_msg=name)
