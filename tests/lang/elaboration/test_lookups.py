"""Look-ups at places that are computed: numbers, indices, several of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.reference.systems.complex_step import Leaves, held, interpreted

TEXT = """
net looks
dim N = 5, M = 3
input x: [N], d, p: [M], q: [2, M], k: index(3)
param A: [N, M], B: [M, N], C: [2, N, 2] = 1.0
"""


def places(numbers: Any, size: int = 5) -> Any:
    return np.clip(
        np.floor(np.nan_to_num(numbers.real, posinf=99, neginf=-99)), 0, size - 1
    ).astype(int)


def both(a: Any) -> Any:
    return a.real.argmax(-1)


CASES = [
    ("x[d]", lambda p: lambda x, d, **_: x[places(d)]),
    ("x[p]", lambda w: lambda x, p, **_: x[places(p)]),
    ("A[d]", lambda w: lambda d, **_: w["A"][places(d)]),
    ("A[q]", lambda w: lambda q, **_: w["A"][places(q)]),
    ("B[:, p]", lambda w: lambda p, **_: w["B"][:, places(p)]),
    ("B[k, p]", lambda w: lambda p, k, **_: w["B"][k, places(p)]),
    ("C[:, p, :]", lambda w: lambda p, **_: w["C"][:, places(p)]),
    ("C[..., d]", lambda w: lambda d, **_: w["C"][..., places(d, 2)]),
    ("A[argmax(outer(p, x), axis=1)]", lambda w: lambda p, x, **_: w["A"][both(p[:, None] * x)]),
    ("real(complex(x, 2 * x)[p + 1])", lambda w: lambda x, p, **_: x[places(p + 1)]),
    ("B[:, [4, 0]] + x[0]", lambda w: lambda x, **_: w["B"][:, [4, 0]] + x[0]),
    ("x[[0, 2] + floor(h[t-1])]", None),
]


@pytest.mark.parametrize(("look", "expected"), CASES, ids=[look for look, _ in CASES])
def test_the_elements_are_those_of_numpy(look: str, expected: Any) -> None:
    lines = f"h = h[t-1] + 0.5\ny = {look}\noutput y\nloss sum(sum(y * y), over t)\n"
    if look.count("x[d]"):
        lines = lines.replace("sum(y * y)", "y * y")
    network = interpreted(TEXT + lines)

    def direct(leaves: Leaves) -> tuple[dict[str, Any], Any]:
        found = []
        for t in range(6):
            now = {name: leaves[name][t] for name in network.inputs}
            if expected is None:
                found.append(now["x"][[int(t / 2), min(4, int(t / 2) + 2)]])
            else:
                found.append(expected(leaves)(**now))
        y = np.array(found)
        return {"y": y}, np.sum(y * y)

    random = np.random.default_rng(1)
    far = {
        name: 4 * random.normal(size=(6, 2, *network.inputs[name].shape))
        for name in "dpq"
        if name in network.inputs
    }
    far["d"][3, 0], far["p"][2, 1, 0] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        held(network, direct, **far)


def test_what_is_not_looked_up_changes_nothing() -> None:
    network = interpreted(TEXT + "y = x[p]\noutput y\nloss sum(sum(y), over t)\n")
    params = network.init(0)
    x = np.array([[1.0, np.inf, -np.inf, np.nan, 5.0]])
    inputs = {"x": x, "p": np.array([[0.5, 4.0, np.nan]])}
    inputs |= {name: np.zeros((1, *network.inputs[name].shape)) for name in ("d", "q")}
    inputs["k"] = np.zeros(1, int)
    np.testing.assert_array_equal(network.forward(params, inputs)["y"], [[1.0, 5.0, 0.0]])
    _, gradients = network.value_and_grad(params, inputs)
    np.testing.assert_array_equal(gradients["x"], [[1.0, 0, 0, 0, 1.0]])
