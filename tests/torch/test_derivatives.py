"""Second derivatives of `rollc.torch.Module`, those forward in time, and `torch.func`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollc.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap  # noqa: E402

import rollc.torch  # noqa: E402
from tests.torch.modules import SPECS, B, T, function_of, inputs_of, module_of, written  # noqa: E402

OFTEN = ("lstm", "sequences/stacked", "sequences/caption", "sequences/translate")


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize(
    "spec",
    [spec if spec in OFTEN else pytest.param(spec, marks=pytest.mark.long) for spec in SPECS],
)
def test_second_derivatives_are_those_of_differences(spec: str, loss: bool) -> None:
    module = module_of(spec)  # in training: the masks of dropout are those of the first
    given = inputs_of(module)
    function, tensors = function_of(module, given, loss=loss)

    def seeded(*tensors: Any) -> Any:
        torch.manual_seed(1)
        return function(*tensors)

    assert torch.autograd.gradgradcheck(seeded, tensors, fast_mode=True)


@pytest.mark.long
@pytest.mark.parametrize("loss", [False, True])
def test_second_derivatives_with_lengths_and_a_state(loss: bool) -> None:
    module = module_of("lstm", batch_first=True)
    given = inputs_of(module, batch_first=True)
    state = {name: torch.randn_like(each) for name, each in module.zero_state(B).items()}
    options = {"lengths": [T, 2], "loss": loss}
    function, tensors = function_of(module, given, **options)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)
    states = [each.requires_grad_() for each in state.values()]

    def of_state(*states: Any) -> Any:
        found = module(given, state=dict(zip(state, states, strict=True)), **options)[0]
        return found if loss else tuple(found.values())

    assert torch.autograd.gradgradcheck(of_state, states, fast_mode=True)
    single = {name: each.select(0, 0).detach().requires_grad_() for name, each in given.items()}
    single["y"].requires_grad_(False)
    function, tensors = function_of(module, single, loss=loss)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


def test_second_derivatives_of_what_sequences_share(tmp_path: Path) -> None:
    module = written(
        tmp_path,
        "net shared\ninput x\nparam w = 0.3, v = 0.7\ns = sin(v * s[t-1] + w)\n"
        "h = s * h[t-1] + tanh(w * x)\nz = last(s)\noutput s, h, z\nloss mean(h * h, over t)\n",
    )
    for batch in ([], [B]):
        x = torch.randn(T, *batch, dtype=torch.float64, requires_grad=True)
        for options in ({}, {"lengths": [T, 2]} if batch else {"lengths": 2}):
            function, tensors = function_of(module, {"x": x}, **options)
            assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("loss", [False, True])
def test_hessians(loss: bool) -> None:
    module = module_of("lstm")
    given = {name: each.detach()[:2] for name, each in inputs_of(module).items()}

    def call(x: Any, y: Any = given["y"]) -> Any:
        if loss:
            return module.loss(x, y=y)
        outputs = module(x)
        return outputs["h"].square().sum() + outputs["p"].sum()  # one cotangent stays as it is

    x = given["x"]
    found = hessian(call)(x)
    assert found.abs().max() > 0.001
    torch.testing.assert_close(jacrev(jacrev(call))(x), found)
    torch.testing.assert_close(jacrev(jacfwd(call))(x), found)
    torch.testing.assert_close(torch.autograd.functional.hessian(call, x), found)
    each = vmap(hessian(call), in_dims=1)(x, given["y"])
    for place in range(B):
        own = found[:, place, :, :, place] * (B if loss else 1)
        torch.testing.assert_close(each[place], own)


@pytest.mark.parametrize("loss", [False, True])
def test_no_derivative_is_zero_because_it_is_missing(loss: bool) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    x = given["x"].detach()

    def call(x: Any) -> Any:
        return module.loss(x, y=given["y"][:1, :1]) if loss else module(x)["h"].sum()

    for derivative in (jacrev(hessian(call)), jacfwd(hessian(call)), jacfwd(jacfwd(call))):
        with pytest.raises(rollc.torch.DerivativeError):
            derivative(x[:1, :1])
    with pytest.raises(InputError, match="input `y`: a target has no gradient"):
        module.loss(x, y=given["y"].requires_grad_())


def test_second_derivatives_through_a_state() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    state = {name: torch.randn_like(each) for name, each in module.zero_state(B).items()}
    given = [x, *(each.requires_grad_() for each in state.values())]

    def after(x: Any, *rows: Any) -> Any:
        own = dict(zip(state, rows, strict=True))
        return tuple(module(x, state=own, lengths=[T, 2])[1].values())

    assert torch.autograd.gradgradcheck(after, given, fast_mode=True)


def test_no_second_derivative_beside_one_of_its_own() -> None:
    module = module_of("spiking/spikes")
    given = inputs_of(module)
    for loss in (False, True):
        function, tensors = function_of(module, given, loss=loss)
        found = function(*tensors)[0].sum()
        slopes = torch.autograd.grad(found, tensors, create_graph=True)
        with pytest.raises(InputError, match="has a derivative of its own"):
            sum(each.sum() for each in slopes).backward()


def test_derivatives_forward_in_time() -> None:
    module = module_of("sequences/stacked")  # in training: the masks are those of the outputs
    x = inputs_of(module, targets=False)["x"].detach()
    params = {name: each.detach() for name, each in module.named_parameters()}
    directions = {name: torch.randn_like(each) for name, each in params.items()}

    def function(params: Any, x: Any, state: Any) -> Any:
        torch.manual_seed(1)
        output, after = functional_call(module, params, (x,), {"lengths": [T, 2], "state": state})
        return output, after["h.0.c"]

    state = {name: each + 0.1 for name, each in module.zero_state(B).items()}
    arguments, moved = (params, x, state), (directions, torch.randn_like(x), state)
    found, slopes = jvp(function, arguments, moved)
    values, pull = vjp(function, *arguments)
    cotangents = tuple(map(torch.randn_like, values))
    forward = sum(
        (slope * cotangent).sum() for slope, cotangent in zip(slopes, cotangents, strict=True)
    )
    pairs = zip(_leaves(pull(cotangents)), _leaves(moved), strict=True)
    torch.testing.assert_close(found, values)
    torch.testing.assert_close(forward, sum((one * two).sum() for one, two in pairs))

    module = module_of("lstm")
    x = x[:2]
    y = torch.randn(2, B, 2, dtype=torch.float64)
    whole = jacfwd(lambda x: module.loss(x, y=y))(x)
    torch.testing.assert_close(whole, grad(lambda x: module.loss(x, y=y))(x))
    torch.testing.assert_close(
        jacfwd(lambda x: module(x)["h"])(x), jacrev(lambda x: module(x)["h"])(x)
    )
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        slope = torch.autograd.forward_ad.unpack_dual(module(dual)["h"]).tangent
    expected = jvp(lambda x: module(x)["h"], (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(slope, expected)
    assert slope.abs().sum() > 0
    each = vmap(lambda x: jvp(lambda x: module(x)["h"], (x,), (torch.ones_like(x),))[1], 1, 1)(x)
    torch.testing.assert_close(each, expected)


def _leaves(tree: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(tree)


@pytest.mark.long
def test_transforms_of_functions() -> None:
    module = module_of("lstm")
    given = {name: each.detach() for name, each in inputs_of(module).items()}
    x, y = given["x"], given["y"]
    params = {name: each.detach() for name, each in module.named_parameters()}

    def of_outputs(params: Any, x: Any, y: Any) -> Any:
        return functional_call(module, params, (x,))["p"].sub(y).pow(2).sum()

    def of_loss(params: Any, x: Any, y: Any) -> Any:
        return functional_call(module, params, (x,), {"y": y, "loss": True})

    for function, joined in ((of_outputs, torch.sum), (of_loss, torch.mean)):
        leaves = {name: each.clone().requires_grad_() for name, each in params.items()}
        value = function(leaves, x, y)
        value.backward()
        slopes = grad(function)(params, x, y)
        each = vmap(grad(function), in_dims=(None, 1, 1))(params, x, y)
        across = grad(
            lambda params, f=function, j=joined: j(vmap(f, (None, 1, 1))(params, x, y), 0)
        )(params)
        found, pull = vjp(lambda params, x, f=function: f(params, x, y), params, x)
        assert torch.equal(found, value.detach())
        for name, leaf in leaves.items():
            for other in (
                slopes[name],
                joined(each[name], 0),
                across[name],
                pull(torch.ones_like(value))[0][name],
            ):
                torch.testing.assert_close(other, leaf.grad)
    whole = jacrev(lambda x: module(x)["h"])(x)
    expected = torch.autograd.functional.jacobian(lambda x: module(x)["h"], x)
    torch.testing.assert_close(whole, expected)
    ends = vmap(jacrev(lambda x: module(x)["h"][-1]), in_dims=1)(x)
    for place in range(B):
        torch.testing.assert_close(ends[place], expected[-1, place, :, :, place])
    nets = {name: torch.stack([each, 2 * each, -each]) for name, each in params.items()}
    many = vmap(vmap(of_outputs, (None, 1, 1)), (0, None, None))(nets, x, y)
    assert many.shape == (3, B)
    for place in range(3):
        own = {name: each[place] for name, each in nets.items()}
        torch.testing.assert_close(many[place].sum(), of_outputs(own, x, y))
