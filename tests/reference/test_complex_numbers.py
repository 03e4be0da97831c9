"""Complex numbers against PyTorch's: values, and gradients of real losses, dL/dRe + i dL/dIm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.compiled_networks import network_of

torch = pytest.importorskip("torch")

T, B = 4, 2
# A spec's expression of z, w: complex[3], x: [3], M: complex[2, 3], a: complex, and PyTorch's.
EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "z + w": lambda z, w, x, m, a: z + w,
    "x - z": lambda z, w, x, m, a: x - z,
    "z * w": lambda z, w, x, m, a: z * w,
    "a * x * z": lambda z, w, x, m, a: a * x * z,
    "z / w": lambda z, w, x, m, a: z / w,
    "x / z": lambda z, w, x, m, a: x / z,
    "z / x": lambda z, w, x, m, a: z / x,
    "-z": lambda z, w, x, m, a: -z,
    "z ** 3": lambda z, w, x, m, a: z**3,
    "z ** -2": lambda z, w, x, m, a: z**-2,
    "z ** 0 + w": lambda z, w, x, m, a: 1 + w,
    "conj(z) * w": lambda z, w, x, m, a: z.conj() * w,
    "real(z) * imag(w)": lambda z, w, x, m, a: z.real * w.imag,
    "abs(z)": lambda z, w, x, m, a: z.abs(),
    "angle(z)": lambda z, w, x, m, a: z.angle(),
    "exp(z)": lambda z, w, x, m, a: z.exp(),
    "log(z)": lambda z, w, x, m, a: z.log(),
    "sqrt(z)": lambda z, w, x, m, a: z.sqrt(),
    "complex(x, real(z))": lambda z, w, x, m, a: torch.complex(x, z.real),
    "complex(x, 2) * z": lambda z, w, x, m, a: (x + 2j) * z,
    "M @ z": lambda z, w, x, m, a: z @ m.T,
    "M @ x": lambda z, w, x, m, a: x.to(m.dtype) @ m.T,
    "transpose(M) @ (M @ z)": lambda z, w, x, m, a: z @ m.T @ m,
    "dot(z, w)": lambda z, w, x, m, a: (z * w).sum(-1),
    "outer(z, conj(w))": lambda z, w, x, m, a: z[..., :, None] * w.conj()[..., None, :],
    "sum(z)": lambda z, w, x, m, a: z.sum(-1),
    "mean(z * x)": lambda z, w, x, m, a: (z * x).mean(-1),
    "where(x > 0, z, x)": lambda z, w, x, m, a: torch.where(x > 0, z, x.to(z.dtype)),
    "concat(z, x, w)": lambda z, w, x, m, a: torch.cat([z, x.to(z.dtype), w], -1),
    "[z[1], x[0]]": lambda z, w, x, m, a: torch.stack([z[..., 1], x[..., 0].to(z.dtype)], -1),
    "z[1:]": lambda z, w, x, m, a: z[..., 1:],
    "roll(z, 1)": lambda z, w, x, m, a: z.roll(1, -1),
    "expand(z, axis=1, size=2)": lambda z, w, x, m, a: z[..., None].expand(*z.shape, 2),
    "sum(z * w, over t)": lambda z, w, x, m, a: (z * w).sum(0),
    "last(z)": lambda z, w, x, m, a: z[-1],
    "stop(z) * w": lambda z, w, x, m, a: z.detach() * w,
    "modulus(z) * direction(w)": lambda z, w, x, m, a: z.abs() * w / w.abs(),
    "exp(complex(-1, 2)) * z": lambda z, w, x, m, a: np.exp(-1 + 2j) * z,
}


def _spec() -> str:
    names = [f"o{place}" for place in range(len(EXPRESSIONS))]
    return "\n".join(
        [
            "net expressions",
            "input z: complex[3], w: complex[3], x: [3]",
            "param M: complex[2, 3], a: complex",
            "fn modulus(v) = abs(v)",
            "fn direction(v) = v / abs(v)",
            *(f"{name} = {text}" for name, text in zip(names, EXPRESSIONS, strict=True)),
            f"output {', '.join(names)}",
        ]
    )


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Any:
    network = network_of(_spec(), "float64", backend="reference")
    random = np.random.default_rng(3)

    def drawn(*shape: int) -> Any:
        return random.normal(size=shape) + 1j * random.normal(size=shape)

    params = {"M": drawn(2, 3), "a": drawn()}
    inputs = {"z": drawn(T, B, 3), "w": drawn(T, B, 3), "x": random.normal(size=(T, B, 3))}
    outputs, pull = network.vjp(params, inputs)
    arrays = {**inputs, "M": params["M"], "a": params["a"]}
    return outputs, pull, arrays, random


@pytest.mark.parametrize("place", range(len(EXPRESSIONS)), ids=list(EXPRESSIONS))
def test_an_expression_and_its_slopes(called: Any, place: int) -> None:
    outputs, pull, arrays, random = called
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    expected = [*EXPRESSIONS.values()][place](*(leaves[name] for name in ("z", "w", "x", "M", "a")))
    found = outputs[f"o{place}"]
    assert (found.dtype == np.complex128) == expected.is_complex()
    np.testing.assert_allclose(
        found, expected.detach().resolve_conj().numpy(), rtol=1e-12, atol=1e-12
    )
    cotangent = random.normal(size=found.shape)
    if expected.is_complex():
        cotangent = cotangent + 1j * random.normal(size=found.shape)
    expected.backward(torch.tensor(cotangent))
    gradients = pull({f"o{place}": cotangent})
    for name, leaf in leaves.items():
        slope = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.resolve_conj().numpy()
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-10, atol=1e-11, err_msg=name)


# Where a part is 0, and where squares would leave the numbers.
SPECIAL = np.array([3j, -3j, 2, -4, 1e200 - 1e200j, 1e-200 + 1e-200j, -1e-10 + 1e-20j])


@pytest.mark.parametrize("name", ["abs", "sqrt", "angle", "exp", "log"])
def test_functions_where_a_part_is_zero_or_a_square_is_none(name: str, tmp_path: Path) -> None:
    text = f"net function\nstatic input z: complex[7]\noutput o\no = {name}(z)\n"
    network = network_of(text, "float64", backend="reference")
    z = SPECIAL.copy() if name != "exp" else np.clip(SPECIAL.real, -4, 4) + 0j
    leaf = torch.tensor(z[None], requires_grad=True)
    expected = getattr(torch, name)(leaf)
    cotangent = torch.ones_like(expected) * (1 + 0.5j if expected.is_complex() else 1)
    with np.errstate(all="ignore"):
        outputs, pull = network.vjp({}, {"z": z[None]}, steps=1)
        found = pull({"o": cotangent.numpy()})["z"]
    np.testing.assert_allclose(outputs["o"], expected.detach().numpy(), rtol=1e-13, atol=0)
    # Of the angles of large and small numbers PyTorch has no slope.
    ordinary = (name != "angle") | ((abs(z) < 1e100) & (abs(z) > 1e-100))
    expected.backward(cotangent)
    slopes = leaf.grad.resolve_conj().numpy()
    np.testing.assert_allclose(found[0, ordinary], slopes[0, ordinary], rtol=1e-12)


def test_slopes_at_zero(tmp_path: Path) -> None:
    text = "net zero\nstatic input z: complex\noutput a, b\na = abs(z)\nb = angle(z)\n"
    network = network_of(text, "float64", backend="reference")
    _, pull = network.vjp({}, {"z": np.zeros(1)}, steps=1)
    assert pull({"a": np.ones(1)})["z"] == 0
    assert pull({"b": np.ones(1)})["z"] == 0
