"""Complex inputs, outputs and states of a module are complex tensors; its parameters are parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from rollc.errors import InputError  # noqa: E402
from tests.helpers.complex_network import SPEC  # noqa: E402
from tests.torch.modules import written  # noqa: E402


def numbers(*shape: int) -> Any:
    return torch.randn(*shape, dtype=torch.complex128, requires_grad=True)


def by_hand(module: Any, x: Any, z: Any, h: Any) -> dict[str, Any]:
    own = dict(module.named_parameters())
    pole = torch.exp(torch.complex(torch.full((3,), -0.3).double(), own["pace"]))
    b = torch.complex(own["B're"], own["B'im"])
    c = torch.complex(own["C're"], own["C'im"])
    found = []
    for now, add in zip(x, z, strict=True):
        h = pole * h + now.to(b.dtype) @ b.T + add
        found.append(h)
    states = torch.stack(found)
    return {"o": (states @ c.T).real, "h": states}


@pytest.fixture
def module(tmp_path: Path) -> Any:
    return written(tmp_path, SPEC)


def test_values_and_gradients_are_pytorchs(module: Any) -> None:
    x, z, start = torch.randn(4, 2, 2).double(), numbers(4, 2, 3), numbers(1, 2, 3)
    outputs, after = module(x, z, state={"h": start})
    expected = by_hand(module, x, z, start[0])
    wrt = [z, start, *module.parameters()]
    weights = torch.randn(4, 2, 3, dtype=torch.complex128)
    slopes = []
    for found, last in ((outputs, after["h"][0]), (expected, expected["h"][-1])):
        total = (found["h"] * weights).abs().sum() + found["o"].sum() + last.imag.sum()
        slopes.append(torch.autograd.grad(total, wrt))
    torch.testing.assert_close(outputs, expected)
    for mine, other in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, other)


def test_states_and_names_are_whole(module: Any) -> None:
    x, z = torch.randn(4, 2, 2).double(), torch.randn(4, 2, 3).double()
    assert module.zero_state(2)["h"].dtype == torch.complex128
    assert module.initial_state(x, z)["h"].shape == (1, 2, 3)
    assert "z [T, B, 3]" in repr(module) and "'re" not in repr(module)
    real, whole = module.loss(x, z), module.loss({"x": x, "z": z.to(torch.complex128)})
    assert real == whole  # a real one has an imaginary part of 0


@pytest.mark.parametrize("z", [3, torch.zeros(4, 2, 2).double(), torch.zeros(4, 2, 3)])
def test_messages_name_the_complex_value(module: Any, z: Any) -> None:
    with pytest.raises(InputError, match="`z`"):
        module(torch.randn(4, 2, 2).double(), z)
