"""The specs `lstm` and `gru` against PyTorch, with the same weights: values and all gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.network.network import Network
from rollc.support.resources import specs
from tests.helpers.agreement import Kind, agree

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

Array = NDArray[Any]

T, B, D, H = 9, 3, 4, 5
# Equations stand in any order, so a start for the state can be added at the end.
STARTS = {
    "gru": "static input h0: [H]\ninit h = h0\n",
    "lstm": "static input h0: [H], c0: [H]\ninit h = h0\ninit c = c0\n",
}


def network_of(cell: str, dtype: str) -> Network:
    """Compiled in float32, and interpreted in float64."""
    text = Path(specs()[cell]).read_text(encoding="utf-8")
    return build_source(
        f"{text}\n{STARTS[cell]}",
        sets={"D": D, "H": H},
        dtype=dtype,
        backend="numba" if dtype == "float32" else "reference",
    )[0]


def params_of(cell: str, core: Any, start: dict[str, Array]) -> dict[str, Array]:
    """PyTorch's weights under the names of the spec, or their gradients."""
    weights = {name: weight.detach().numpy() for name, weight in core.items()}
    shared = {"W": weights["weight_ih_l0"], "U": weights["weight_hh_l0"]}
    of_input, of_state = weights["bias_ih_l0"], weights["bias_hh_l0"]
    if cell == "gru":
        # The candidate's second bias stands apart, inside the reset gate.
        bias = of_input + np.concatenate([of_state[: 2 * H], np.zeros(H)]).astype(of_state.dtype)
        return {**start, **shared, "b": bias, "d": of_state[2 * H :]}
    return {**start, **shared, "b": of_input + of_state}


def gradients_of(cell: str, core: Any) -> dict[str, Array]:
    """The gradients: of a sum of biases each part has the gradient of the whole."""
    slopes = {name: weight.grad.numpy() for name, weight in core.named_parameters()}
    found = {"W": slopes["weight_ih_l0"], "U": slopes["weight_hh_l0"], "b": slopes["bias_ih_l0"]}
    if cell == "gru":
        found["d"] = slopes["bias_hh_l0"][2 * H :]
    return found


@pytest.mark.parametrize(
    "dtype", [pytest.param("float32", marks=[pytest.mark.long, pytest.mark.sampled(1)]), "float64"]
)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_values_and_gradients(cell: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    network = network_of(cell, dtype)

    def tensor(*shape: int) -> Any:
        return torch.tensor(random.normal(size=shape).astype(dtype), requires_grad=True)

    torch.manual_seed(0)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    core = kind(D, H).to(getattr(torch, dtype))
    x, h0 = tensor(T, B, D), tensor(B, H)
    starts = {"h0": h0}
    state = h0[None]
    if cell == "lstm":
        starts["c0"] = tensor(B, H)
        state = (h0[None], starts["c0"][None])
    hidden, _ = core(x, state)

    # The rest of the spec, written in PyTorch too: what is read out, and the loss.
    rest = {
        name: tensor(*spec.shape)
        for name, spec in network.params.items()
        if name not in ("W", "U", "b") and not (cell == "gru" and name == "d")
    }
    matrix = next((value for value in rest.values() if value.ndim == 2), None)
    bias = next((value for value in rest.values() if value.ndim == 1), None)
    seen = hidden if matrix is None else hidden @ matrix.T + bias
    y = random.normal(size=tuple(seen.shape)).astype(dtype)
    loss = ((seen - torch.tensor(y)) ** 2).mean()
    loss.backward()

    start = {name: value.detach().numpy() for name, value in rest.items()}
    params = params_of(cell, dict(core.named_parameters()), start)
    inputs = {"x": x.detach().numpy()}
    inputs |= {name: value.detach().numpy() for name, value in starts.items()}

    def same(kind: Kind, found: Any, expected: Any, name: str) -> None:
        if dtype == "float64":
            agree(kind, found, expected, name)
        else:
            scale = float(np.abs(expected).max())
            np.testing.assert_allclose(found, expected, atol=2e-5 * scale, err_msg=name)

    outputs = network.forward(params, inputs)
    same("values", outputs["h"], hidden.detach().numpy(), "h")
    value, gradients = network.value_and_grad(params, {**inputs, "y": y})
    same("values", value, loss.item(), "loss")
    expected = gradients_of(cell, core)
    expected |= {name: leaf.grad.numpy() for name, leaf in {**rest, **starts, "x": x}.items()}
    assert expected.keys() == gradients.keys()
    for name, slope in expected.items():
        same("gradients", gradients[name], slope, name)
