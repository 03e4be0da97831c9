"""Calls of `rollc.torch.Module`: outputs, lengths, states, layouts, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from tests.torch.modules import SPECS, B, T, function_of, inputs_of, module_of, written  # noqa: E402


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_differences(spec: str) -> None:
    module = module_of(spec)
    targets = module._first.fed
    given = {
        name: tensor
        for name, tensor in inputs_of(module).items()
        if name in module._first.inputs or name in targets
    }
    function, tensors = function_of(module.eval(), given)
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)


@pytest.mark.parametrize("spec", ["lstm", "sequences/tagger", "sequences/stacked"])
def test_gradients_with_lengths(spec: str) -> None:
    module = module_of(spec).eval()
    given = inputs_of(module, targets=False)
    function, tensors = function_of(module, given, lengths=torch.tensor([T, 2]))
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)
    outputs = module(given, lengths=[T, 2])
    for output in outputs.values() if isinstance(outputs, dict) else [outputs]:
        assert (output[2:, 1] == 0).all()
        assert (output[:2, 1] != 0).any()


@pytest.mark.parametrize("spec", ["lstm", "sequences/stacked", "delays/string"])
def test_gradients_through_a_state(spec: str) -> None:
    """They pass from window to window: two windows are the whole."""
    module = module_of(spec).eval()
    given = inputs_of(module, targets=False)
    whole = module(given)
    whole = whole if isinstance(whole, dict) else {"only": whole}
    state, parts = module.zero_state(B), []
    for window in (slice(None, 1), slice(1, None)):
        cut = {name: tensor[window] for name, tensor in given.items()}
        part, state = module(cut, state=state)
        parts.append(part if isinstance(part, dict) else {"only": part})
    params = [*module.parameters()]
    for name, output in whole.items():
        joined = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(joined, output)
        cotangent = torch.randn_like(output)
        expected = torch.autograd.grad(output, params, cotangent, retain_graph=True)
        found = torch.autograd.grad(joined, params, cotangent, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_a_state_is_differentiated() -> None:
    module = module_of("lstm")
    x = inputs_of(module, targets=False)["x"].detach()

    def function(h: Any, c: Any) -> Any:
        outputs, state = module(x, state={"h": h, "c": c})
        return *outputs.values(), *state.values()

    states = [torch.randn(1, B, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(function, states, fast_mode=True)
    single = {name: tensor[:, 0] for name, tensor in zip("hc", states, strict=True)}
    outputs, after = module(x[:, 0], state=single)
    torch.testing.assert_close(outputs["h"], function(*states)[1][:, 0])
    assert after["c"].shape == (1, 4)


def test_a_state_of_zeros() -> None:
    module = module_of("lstm")
    assert {name: tuple(each.shape) for name, each in module.zero_state().items()} == {
        "h": (1, 4),
        "c": (1, 4),
    }
    state = module.float().zero_state(3)
    assert [each.dtype for each in state.values()] == [torch.float32] * 2
    assert [tuple(each.shape) for each in state.values()] == [(1, 3, 4)] * 2
    with pytest.raises(InputError, match="two time axes"):
        module_of("sequences/translate").zero_state(3)
    with pytest.raises(InputError, match="cannot run step by step"):
        module_of("sequences/tagger").zero_state(3)
    with pytest.raises(InputError, match="`batch_size`"):
        module.zero_state(2.5)


STARTS = """
net starts
dim H = 3
static input z: [H], r: [2, H]
input x: [H]
param W: [H, H], own: [H], rows: [3, H], n = 0.3
a = tanh(W @ a[t-2] + x)
init a = own
b = tanh(W @ b[t-3] + a)
init b = rows
c = 0.5 * c[t-1] + b
init c = n
d = d[t-2] * 0.4 + c
init d = tanh(W @ z) + own
e = e[t-1] * 0.3 + d
f = tanh(0.5 * f[t-2] + e)
init f = 2 * r
k = argmax(f + one_hot(k[t-1], size=H))
init e = 0.7
h = f + 0 * one_hot(k, size=H)
output h
loss mean(sum(h * h), over t)
"""


@pytest.mark.parametrize("batch", [True, False])
def test_a_state_that_the_spec_computes(tmp_path: Path, batch: bool) -> None:
    """From the state before the first step on, it is the whole, with the same gradients."""
    module = written(tmp_path, STARTS)
    given = inputs_of(module)
    if not batch:
        given = {"z": given["z"][0], "r": given["r"][0], "x": given["x"][:, 0]}
        given = {name: each.detach().requires_grad_() for name, each in given.items()}
    state = module.initial_state(given)
    zeros = module.zero_state(B if batch else None)
    assert {name: each.shape for name, each in state.items()} == {
        name: each.shape for name, each in zeros.items()
    }
    arrays = {name: each.detach().numpy() for name, each in given.items()}
    params = {name: each.detach().numpy() for name, each in module.named_parameters()}
    expected = module._first.initial_state(params, arrays)
    for name, each in state.items():
        np.testing.assert_allclose(each.detach().numpy(), expected[name], rtol=1e-12)
    output, _ = module(given, state=state)
    whole = module(given)
    torch.testing.assert_close(output, whole)
    tensors = [*module.parameters(), *given.values()]
    cotangent = torch.randn_like(whole)
    found = torch.autograd.grad(output, tensors, cotangent)
    for one, two in zip(found, torch.autograd.grad(whole, tensors, cotangent), strict=True):
        torch.testing.assert_close(one, two)
        assert two.any()


def test_the_batch_of_a_state() -> None:
    module = module_of("lstm", batch_first=True)
    x = torch.zeros(3, T, 3, dtype=torch.float64)
    for state in (module.initial_state(x), module.initial_state(batch_size=3)):
        assert {name: tuple(each.shape) for name, each in state.items()} == {
            "h": (1, 3, 4),
            "c": (1, 3, 4),
        }
    assert module.initial_state()["h"].shape == (1, 4)
    with pytest.raises(InputError, match="input `x` has 3 sequences, but expected 2"):
        module.initial_state(x, batch_size=2)
    caption = module_of("sequences/caption").float()
    state = caption.initial_state(torch.zeros(3, 3))
    assert state["h"].dtype == torch.float32
    with pytest.raises(InputError, match="missing input `picture`"):
        caption.initial_state(batch_size=3)
    assert copy.deepcopy(caption).double().initial_state(torch.zeros(3, 3).double())["h"].shape


def test_batch_first(tmp_path: Path) -> None:
    for spec in ("lstm", "sequences/tagger", "sequences/caption", "sequences/translate"):
        plain, module = module_of(spec).eval(), module_of(spec, batch_first=True).eval()
        given = inputs_of(module, batch_first=True)
        network = plain._first
        slots = {**network.inputs, **network.targets}
        turned = {name: tensor.movedim(0, len(slots[name].time)) for name, tensor in given.items()}
        found, expected = module(given), plain(turned)
        if not isinstance(found, dict):
            found, expected = {"only": found}, {"only": expected}
        for name, output in found.items():
            assert output.shape[0] == B
            time = len(network.outputs.get(name, next(iter(network.outputs.values()))).time)
            torch.testing.assert_close(output, expected[name].movedim(time, 0))
        torch.testing.assert_close(module(given, loss=True), plain(turned, loss=True))
    function, tensors = function_of(module_of(batch_first=True), {"x": torch.randn(
        B, T, 3, dtype=torch.float64, requires_grad=True)}, lengths=[T, 1])  # fmt: skip
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)
    assert module_of(batch_first=True)(torch.zeros(T, 3).double())["h"].shape == (T, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m(), r"missing input `x`: expected float \[T, B, 3\]"),
        (lambda m, x: m(x[..., :2]), r"expected float \[T, B, 3\] with shape \[4, 2, 3\], found"),
        (lambda m, x: m(z=x), "unknown input `z`: expected `x`, `y`"),
        (lambda m, x: m(x, x), r"expected 1 inputs in order \(`x`\), found 2"),
        (lambda m, x: m(x, x=x), "input `x` is given twice"),
        (lambda m, x: m(x.detach().numpy()), "input `x`: expected a tensor, found"),
        (lambda m, x: m([1.0]), "input `x`: expected a tensor, found"),
        (lambda m, x: m(x.to("meta")), r"input `x`: rollc computes on the CPU, and it is on meta"),
        (lambda m, x: m(x.to_sparse()), "input `x`: expected a dense tensor"),
        (lambda m, x: m(x, lengths=[5, 1]), "`lengths`: expected 0 to 4, found 5"),
        (lambda m, x: m(x, lengths=torch.ones(2)), "`lengths`: expected integers"),
        (lambda m, x: m(x, state={"h": x}), "state"),
        (lambda m, x: m(x, state=x), "`state`"),
        (lambda m, x: m(x, state={"z": x}), "unknown state `z`: expected `h`, `c`"),
        (lambda m, x: m(x, y=x), r"input `y`"),
        (lambda m, x: m.loss(x), "missing target `y`"),
        (lambda m, x: m.to("meta")(x), "parameter `W`: rollc computes on the CPU"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[Any, Any], Any], message: str) -> None:
    module = module_of("lstm")
    with pytest.raises(InputError, match=message):
        call(module, inputs_of(module)["x"])


def test_indices() -> None:
    module = module_of("sequences/tagger").eval()
    given = inputs_of(module, targets=False)
    ((name, index),) = given.items()
    expected = module(given)
    for dtype in (torch.int32, torch.uint8):
        torch.testing.assert_close(module(index.to(dtype)), expected)
    with pytest.raises(InputError, match=rf"input `{name}`: expected whole numbers"):
        module(index.double())
    with pytest.raises(InputError, match=rf"input `{name}`: expected 0 to"):
        module(index - 100)
