"""Losses of `rollc.torch.Module`, and what is learnt with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build
from rollc.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch.func import jvp  # noqa: E402

from tests.torch.modules import SPECS, B, T, inputs_of, module_of, written  # noqa: E402


@pytest.mark.parametrize("spec", SPECS)
def test_the_loss_is_that_of_the_network(spec: str) -> None:
    module = module_of(spec).eval()
    network = build(spec, sets=SPECS[spec], dtype="float64")
    given = inputs_of(module)
    loss = module.loss(given)
    loss.mul(3).backward()
    params = {name: each.detach().numpy() for name, each in module.named_parameters()}
    arrays = {name: each.detach().numpy() for name, each in given.items()}
    value, grads = network.value_and_grad(params, arrays)
    assert loss.item() == pytest.approx(value, rel=1e-12)
    found = {name: each.grad for name, each in module.named_parameters()}
    found |= {name: each.grad for name, each in given.items() if each.requires_grad}
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor.numpy(), 3 * grads[name], rtol=1e-12, atol=1e-15)
    with torch.no_grad():
        assert module(given, loss=True).item() == pytest.approx(value, rel=1e-12)


def test_a_loss_in_windows() -> None:
    """The state goes on, and gradients stop between the windows."""
    module = module_of("lstm")
    given = inputs_of(module)
    state = module.zero_state(B)
    first, state = module.loss(given, state=state)
    assert not any(each.requires_grad for each in state.values())
    state = {name: each.requires_grad_() for name, each in state.items()}
    second, _ = module.loss(given, state=state)
    (first + second).backward()
    assert all(each.grad.abs().sum() > 0 for each in state.values())
    with torch.no_grad():
        assert module.loss(given, state=module.zero_state(B))[0] == first


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    network = module._networks.of("float64")
    asked: list[Any] = []
    own = {"vjp": network.vjp, "value_and_grad": network.value_and_grad}
    for name, method in own.items():

        def noted(*arguments: Any, _method: Any = method, **named: Any) -> Any:
            asked.append(set(named["wrt"]))
            return _method(*arguments, **named)

        monkeypatch.setattr(network, name, noted)
    module(given["x"])["h"].sum().backward()
    module.loss(given).backward()
    assert asked == [{*"WUbVdx"}] * 2
    module.requires_grad_(False)
    module.b.requires_grad_()
    module(given["x"].detach())["h"].sum().backward()
    with torch.no_grad():
        module(given["x"])
        module.loss(given)
    assert asked == [{*"WUbVdx"}] * 2 + [{"b"}]


def test_an_output_without_a_gradient(tmp_path: Path) -> None:
    module = written(
        tmp_path,
        "net two\ninput x: [3]\nparam W: [3, 3], v: [3]\nh = W @ h[t-1] + x\nk = argmax(h)\n"
        "output k, h\nloss mean(dot(h, v), over t)\n",
    )
    x = torch.randn(T, B, 3, dtype=torch.float64)
    outputs = module(x)
    assert outputs["k"].dtype == torch.int64
    assert not outputs["k"].requires_grad
    outputs["h"].sum().backward()
    assert module.W.grad.abs().sum() > 0
    values, slopes = jvp(module, (x,), (torch.ones_like(x),))
    assert torch.equal(values["k"], outputs["k"])
    assert slopes["h"].any()
    assert not slopes["k"].any()
    assert module.v.grad is None or not module.v.grad.any()  # the loss alone reads it
    alone = written(
        tmp_path, "net one\ninput x: [3]\nparam W: [3, 3]\nk = argmax(W @ x)\noutput k\n"
    )
    assert not alone(x).requires_grad
    without = written(
        tmp_path, "net none\ninput x\nparam w\nh = w * h[t-1] + x\nloss mean(h, over t)\n"
    )
    with pytest.raises(InputError, match="has no output: call `loss`"):
        without(torch.randn(T, B, dtype=torch.float64))
    without.loss(torch.randn(T, B, dtype=torch.float64)).backward()


def test_a_network_that_runs_free() -> None:
    """Without inputs over time and without targets: what it says is its own."""
    module = module_of("sequences/caption", feed="free").eval()
    picture = torch.randn(B, 3, dtype=torch.float64, requires_grad=True)
    output = module(picture, steps=5)
    assert output.shape == (5, B, 4)
    output[0].sum().backward()
    assert picture.grad.abs().sum() > 0
    with pytest.raises(InputError, match="give `steps`"):
        module(picture)


def test_it_learns_as_the_layer_of_pytorch_does() -> None:
    """The same losses as `nn.LSTM` with a linear layer, over steps of Adam with clipping."""
    module = module_of("lstm", sizes={"D": 3, "H": 4, "K": 2})
    core, head = torch.nn.LSTM(3, 4).double(), torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        core.bias_hh_l0.zero_()
        for own, theirs in (
            (module.W, core.weight_ih_l0),
            (module.U, core.weight_hh_l0),
            (module.b, core.bias_ih_l0),
            (module.V, head.weight),
            (module.d, head.bias),
        ):
            own.copy_(theirs)
    core.bias_hh_l0.requires_grad_(False)  # the spec has one bias
    x = torch.randn(T, B, 3, dtype=torch.float64)
    y = torch.randn(T, B, 2, dtype=torch.float64)

    def trained(model: Any, loss_of: Callable[[], Any]) -> list[float]:
        learnt = [each for each in model.parameters() if each.requires_grad]
        optimizer, losses = torch.optim.Adam(learnt, lr=0.1), []
        for _ in range(8):
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            losses.append(loss.item())
        return losses

    theirs = torch.nn.ModuleList([core, head])
    mse = torch.nn.functional.mse_loss
    start = copy.deepcopy(module.state_dict())
    expected = trained(theirs, lambda: mse(head(core(x)[0]), y))
    assert expected[-1] < 0.7 * expected[0]
    for loss_of in (lambda: mse(module(x)["p"], y), lambda: module.loss(x, y=y)):
        module.load_state_dict(start)
        np.testing.assert_allclose(trained(module, loss_of), expected, rtol=1e-9)
