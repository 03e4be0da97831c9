"""Backward passes of `rollc.torch.Module`, and the memory of tensors."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from tests.torch.modules import B, T, inputs_of, module_of  # noqa: E402


def test_backward_as_often_as_the_graph_is_kept() -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    for call in (lambda: module(given["x"])["h"].sum(), lambda: module.loss(given)):
        result = call()
        slopes = [
            torch.autograd.grad(result, module.W, retain_graph=keep)[0] for keep in (True, False)
        ]
        assert torch.equal(*slopes)
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(result, module.W)


def test_gradients_are_the_callers_to_change() -> None:
    """Each backward pass has its own, of a loss too, whose gradients are known before."""
    module = module_of("lstm")
    given = inputs_of(module)
    for call in (lambda: module(given["x"])["h"].sum(), lambda: module.loss(given)):
        result = call()
        passes = [torch.autograd.grad(result, module.W, retain_graph=True)[0] for _ in range(2)]
        expected = passes[0].clone()
        passes[0].zero_()
        (last,) = torch.autograd.grad(result, module.W)
        assert torch.equal(passes[1], expected)
        assert torch.equal(last, expected)
        last.zero_()
        assert torch.equal(torch.autograd.grad(call(), module.W)[0], expected)


def test_the_tape_is_free_after_the_backward_pass() -> None:
    module = module_of("lstm")
    result = module(inputs_of(module)["x"])["h"].sum()
    outputs = result.grad_fn.next_functions[0][0]
    result.backward(retain_graph=True)
    assert outputs.call.pull is not None
    result.backward()
    assert outputs.call.pull is None


@pytest.mark.parametrize("what", ["W", "x", "state"])
@pytest.mark.parametrize("loss", [False, True])
def test_a_change_in_place_is_found(what: str, loss: bool) -> None:
    module = module_of("lstm")
    given, state = inputs_of(module), module.zero_state(B)
    changed = {"W": module.W, "x": given["x"], "state": state["h"]}[what]
    result, _ = module(given, state=state, loss=loss)
    result = result if loss else result["h"].sum()
    with torch.no_grad():
        changed.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()
    result, _ = module(given, state=state, loss=loss)
    (result if loss else result["h"].sum()).backward()


def test_a_result_is_the_callers_to_change() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    (expected,) = torch.autograd.grad(module(x)["h"].sum(), x)
    output = module(x)["h"]
    total = output.sum()
    with torch.no_grad():
        output.zero_()
    assert torch.equal(torch.autograd.grad(total, x)[0], expected)


def test_tensors_of_any_layout() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    expected = module(x)["h"]
    wide = torch.stack([x, -x], dim=-1)
    for same in (
        x.transpose(0, 1).contiguous().transpose(0, 1),
        wide[..., 0],
        torch.complex(torch.zeros_like(x), -x).conj().imag,
    ):
        assert torch.equal(module(same)["h"], expected)
    row = x[:, :1].expand(T, B, 3)
    assert torch.equal(module(row)["h"], module(row.contiguous())["h"])
    expected.sum().backward()
    slope, module.W.grad = module.W.grad, None
    module(x)["h"].backward(torch.ones((), dtype=torch.float64).expand(T, B, 4))
    assert torch.equal(module.W.grad, slope)
    assert module(x[:0])["h"].shape == (0, B, 4)
    module(x[:, :0])["h"].sum().backward()


def test_no_copy_of_what_lies_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("lstm")
    network, x = module._networks.of("float64"), inputs_of(module)["x"]
    seen: dict[str, Any] = {}
    forward = network.forward

    def noted(params: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        seen.update(params, **inputs)
        seen["result"] = forward(params, inputs, *rest, **named)
        return seen["result"]

    monkeypatch.setattr(network, "forward", noted)
    with torch.no_grad():
        result = module(x)
    tensors = dict(module.named_parameters()) | {"x": x}
    assert all(seen[name].ctypes.data == each.data_ptr() for name, each in tensors.items())
    assert all(
        array.ctypes.data == result[name].data_ptr() for name, array in seen["result"].items()
    )
