"""`rollc.torch`: a network as a module of PyTorch, in each mode that a user meets."""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollc.backends.registry import VARIABLE
from rollc.driver.build import build
from rollc.errors import InputError, RollcError
from tests.helpers.paths import ROOT

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import rollc.torch  # noqa: E402

T, B = 4, 2
LSTM = {"D": 3, "H": 4, "K": 2}
# Sizes of specs of every kind: two outputs, cells with names of their own, embeddings, static
# inputs and taught outputs, both directions, two time axes, delays of many steps.
SPECS: dict[str, dict[str, int]] = {
    "lstm": LSTM,
    "gru": LSTM,
    "sequences/stacked": LSTM,
    "sequences/tagger": {},
    "sequences/caption": {"Z": 3, "E": 2, "H": 3, "V": 4},
    "sequences/translate": {},
    "delays/string": {},
    "state_space/kalman": {},
}


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here is no kernel: these are interpreted."""
    monkeypatch.setenv(VARIABLE, "reference")


def module_of(spec: str = "lstm", **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {**SPECS.get(spec, {}), **options.pop("sizes", {})}
    return rollc.torch.Module(spec, sizes=sizes, dtype=torch.float64, **options)


def written(folder: Path, text: str, **options: Any) -> Any:
    path = folder / "own.roll"
    path.write_text(text, encoding="utf-8")
    return module_of(str(path), **options)


def inputs_of(module: Any, batch_first: bool = False, targets: bool = True) -> dict[str, Any]:
    """Random inputs; those of real numbers want a gradient."""
    network = module._first
    random = torch.Generator().manual_seed(1)
    found = {}
    for name, spec in {**network.inputs, **(network.targets if targets else {})}.items():
        times = [T + place for place, axis in enumerate(network.axes) if axis in spec.time]
        lead = [B, *times] if batch_first else [*times, B]
        if spec.kind == "index":
            found[name] = torch.randint(spec.bound, (*lead, *spec.shape), generator=random)
        else:
            found[name] = torch.randn(
                *lead, *spec.shape, generator=random, dtype=torch.float64
            ).requires_grad_(name in network.inputs)
    return found


def function_of(module: Any, given: dict[str, Any], **options: Any) -> tuple[Any, list[Any]]:
    """A function of all tensors that want a gradient, as `gradcheck` takes it; and the tensors."""
    wanted = {name: tensor for name, tensor in given.items() if tensor.requires_grad}
    params = dict(module.named_parameters())

    def function(*tensors: Any) -> Any:
        own = dict(zip(params, tensors, strict=False))
        mine = given | dict(zip(wanted, tensors[len(params) :], strict=True))
        found = functional_call(module, own, (mine,), options)
        found = found.values() if isinstance(found, dict) else [found]
        return tuple(each for each in found if each.is_floating_point())

    return function, [*params.values(), *wanted.values()]


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


# Losses -----------------------------------------------------------------------------------


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


# Parameters -------------------------------------------------------------------------------


def test_parameters_have_the_names_of_the_spec() -> None:
    module = module_of("sequences/stacked")
    network = build("sequences/stacked", sets=LSTM)
    shapes = {name: tuple(each.shape) for name, each in module.state_dict().items()}
    assert shapes == {name: spec.shape for name, spec in network.params.items()}
    assert "low.W" in shapes
    assert module.low.W is dict(module.named_parameters())["low.W"]


def test_names_that_modules_have_themselves(tmp_path: Path) -> None:
    module = written(
        tmp_path,
        "net own\ndim H = 3\ninput lengths: [3], state: [3]\nparam type: [3], half: [3]\n"
        "cell rnn(x; H) -> y { param forward: [H]\n y = tanh(forward * y[t-1] + x) }\n"
        "train = rnn(type * lengths + half * state; H=3)\noutput train\n",
    )
    assert [*module.state_dict()] == ["type", "half", "train.forward"]
    given = {"lengths": torch.ones(T, 3), "state": torch.ones(T, 3)}
    module.float()
    expected = module(given)
    torch.testing.assert_close(module(*given.values()), expected)
    expected.sum().backward()
    assert all(each.grad is not None for each in module.parameters())
    assert module.train(False) is module
    other = copy.deepcopy(module)
    other.load_state_dict({name: 0 * each for name, each in module.state_dict().items()})
    assert not other(given).any()


def test_parameters_start_as_the_spec_says() -> None:
    first, second = module_of("lstm"), module_of("lstm")
    torch.manual_seed(1)
    second.reset_parameters()
    other = module_of("lstm")
    same = [*zip(first.parameters(), other.parameters(), strict=True)]
    assert all(torch.equal(one, two) for one, two in same)
    assert not torch.equal(first.W, second.W)
    assert not first.b.any()  # zeros
    eye = torch.eye(4, dtype=torch.float64)
    for block in first.U.split(4):  # orthogonal
        torch.testing.assert_close(block @ block.T, eye)
    torch.manual_seed(0)
    single = rollc.torch.Module("lstm", **LSTM)
    torch.testing.assert_close(single.W, first.W.float())


def test_parameters_that_are_computed() -> None:
    """Weight norms, pruning and the like put a value in the place of a parameter."""
    module = module_of("sequences/stacked").eval()
    given = inputs_of(module, targets=False)
    expected = module(given)
    torch.nn.utils.parametrizations.weight_norm(module.low, "U")
    torch.testing.assert_close(module(given), expected)
    module(given).sum().backward()
    assert all(each.grad is not None for each in module.low.parameters())


def test_the_precision_follows_the_parameters() -> None:
    module = module_of("lstm")
    x = inputs_of(module, targets=False)["x"].detach()
    expected = module(x)["h"]
    module.float()
    found = module(x.float())["h"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert module.double()(x)["h"].dtype == torch.float64
    assert module._networks.of("float64") is module._networks.first
    state = module.float().zero_state(B)
    for wrong, message in (
        (lambda: module(x), "input `x`: expected torch.float32, found torch.float64"),
        (lambda: module(x.bfloat16()), "input `x`: expected torch.float32, found torch.bfloat16"),
        (lambda: module(x.long()), "input `x`: expected torch.float32, found torch.int64"),
        (
            lambda: module(x.float(), state=state | {"c": state["c"].double()}),
            "state `c`: expected torch.float32, found torch.float64",
        ),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    module.b = torch.nn.Parameter(module.b.double())
    with pytest.raises(InputError, match=r"found `W` in torch\.float32 and `b` in torch\.float64"):
        module(x.float())
    with pytest.raises(InputError, match="expected one of"):
        rollc.torch.Module("lstm", **LSTM, dtype=torch.complex64)


def test_half_precisions_are_computed_in_single() -> None:
    module = module_of("lstm").float()
    x = inputs_of(module, targets=False)["x"].detach().bfloat16()
    module.bfloat16()
    single = copy.deepcopy(module).float()
    expected = single(x.float())["h"]
    expected.sum().backward()
    found = module(x)["h"]
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16())
    torch.testing.assert_close(module.W.grad, single.W.grad.bfloat16())
    outputs, state = module(x, state=module.zero_state(B))
    assert {each.dtype for each in (*outputs.values(), *state.values())} == {torch.bfloat16}
    single.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.warns(UserWarning, match="computes in float32"):
            mixed = single(x)["h"]
        torch.testing.assert_close(mixed, expected)
        assert module(x)["h"].dtype == torch.float32
        with pytest.raises(InputError, match=r"expected torch\.float32, found torch\.float64"):
            single(x.double())


def test_copies_and_pickles(tmp_path: Path) -> None:
    module = module_of("sequences/stacked").eval()
    given = inputs_of(module, targets=False)
    expected = module(given)
    content = io.BytesIO()
    torch.save(module, content)
    content.seek(0)
    for found in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(content, weights_only=False),
    ):
        assert found.low.W is not module.low.W
        assert torch.equal(found(given), expected)
        found(given).sum().backward()
        assert module.low.W.grad is None
        found.float()  # the other precision, of a copy
        assert found({name: each.float() for name, each in given.items()}).dtype == torch.float32
    other = module_of("sequences/stacked").eval()
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.reset_parameters()
    assert not torch.equal(other(given), expected)
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert torch.equal(other(given), expected)


def test_another_process_reads_it(tmp_path: Path) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    torch.save((module, given), tmp_path / "module.pt")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import torch, sys\n"
            "module, given = torch.load(sys.argv[1], weights_only=False)\n"
            "loss = module.loss(given); loss.backward()\n"
            "print(repr(loss.item()), repr(module.W.grad.sum().item()))",
            str(tmp_path / "module.pt"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "ROLLC_CACHE": str(tmp_path / "cache")},
        timeout=300,
    )
    loss = module.loss(given)
    loss.backward()
    assert run.stdout.split() == [repr(loss.item()), repr(module.W.grad.sum().item())], run.stderr


def test_artefacts(tmp_path: Path) -> None:
    build("lstm", sets=LSTM, dtype="float64", truncate=2, directory=tmp_path / "built")
    torch.manual_seed(0)
    module = rollc.torch.Module(tmp_path / "built", dtype=torch.float64)
    assert module._first.truncate == 2
    cut = module_of("lstm", truncate=2)
    given = inputs_of(module)
    assert torch.equal(module.loss(given), cut.loss(given))
    single = module.float()({"x": given["x"].float()})["h"]
    assert single.dtype == torch.float32
    assert module._networks.of("float32").truncate == 2
    with pytest.raises(InputError, match="takes no `H`, `truncate`"):
        rollc.torch.Module(tmp_path / "built", H=3, truncate=1)
    with pytest.raises(RollcError):
        rollc.torch.Module(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        rollc.torch.Module("no such spec")


# Random numbers ---------------------------------------------------------------------------


def test_dropout_is_on_in_training() -> None:
    module = module_of("sequences/stacked")
    given = inputs_of(module, targets=False)
    torch.manual_seed(1)
    first, second = module(given), module(given)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(module(given), first)
    module.eval()
    before = torch.get_rng_state()
    assert torch.equal(module(given), module(given))
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn that is not needed
    network = build("sequences/stacked", sets=LSTM, dtype="float64")
    params = {name: each.detach().numpy() for name, each in module.named_parameters()}
    plain = network.forward(params, {"x": given["x"].detach().numpy()})["o"]
    np.testing.assert_allclose(module(given).detach().numpy(), plain, rtol=1e-12)
    module.train()
    for reentrant in (False, True):  # the same masks when it is computed again
        torch.manual_seed(1)
        again = checkpoint(module, given, use_reentrant=reentrant)
        assert torch.equal(again, first)
    (slope,) = torch.autograd.grad(first.sum(), module.low.W)
    torch.manual_seed(1)
    (again,) = torch.autograd.grad(
        checkpoint(module, given, use_reentrant=False).sum(), module.low.W
    )
    torch.testing.assert_close(again, slope)


# Training ---------------------------------------------------------------------------------


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


# Autograd ---------------------------------------------------------------------------------


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


# Second derivatives -----------------------------------------------------------------------


OFTEN = ("lstm", "sequences/stacked", "sequences/caption", "sequences/translate")


@pytest.mark.long
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


def test_no_second_derivative_through_a_state() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    _, state = module(x, state=module.zero_state(B))
    (slope,) = torch.autograd.grad(state["h"].sum(), x, create_graph=True)
    with pytest.raises(rollc.torch.DerivativeError, match="through a state"):
        slope.sum().backward()


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
        return output, after["low.c"]

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


# Compilers --------------------------------------------------------------------------------


@pytest.fixture
def dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("dynamo")
def test_compiled_around_it() -> None:
    """`torch.compile` makes graphs of what stands before and behind a network."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3).double(), module_of("lstm"))
    given = inputs_of(model[1])
    expected = model(given["x"])["h"]
    expected.sum().backward()
    slopes = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    model.zero_grad()
    compiled = torch.compile(model, backend="aot_eager")
    for steps in (T, T - 1):
        torch.testing.assert_close(compiled(given["x"][:steps])["h"], expected[:steps])
    compiled(given["x"])["h"].sum().backward()
    found = [each.grad for each in model.parameters() if each.grad is not None]
    torch.testing.assert_close(found, slopes)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(model, backend="aot_eager", fullgraph=True)(given["x"])


@pytest.mark.usefixtures("dynamo")
def test_what_runs_without_python_is_refused() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    for trace in (
        lambda: torch.export.export(module, (x,), strict=False),
        lambda: torch.jit.trace(module, (x,), check_trace=False),
    ):
        with pytest.raises(InputError, match="cannot be traced or exported"):
            trace()
    fakes = torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True)
    with fakes, pytest.raises(InputError, match="that lie in memory, found a FakeTensor"):
        module(fakes.from_tensor(x))


# What is refused --------------------------------------------------------------------------


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


def test_the_snippets_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## In PyTorch\n")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(snippets) >= 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)


ABSENT = """
import sys
sys.modules["torch"] = None
import rollc
for way in ("import rollc.torch", "rollc.torch"):
    try:
        exec(way)
    except ImportError as error:
        print(error)
"""


def test_without_pytorch() -> None:
    run = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, timeout=60)
    assert run.stdout == 2 * (
        "rollc.torch needs PyTorch, which is not installed: pip install 'rollc[torch]'\n"
    ), run.stderr
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, rollc\nfrom rollc import *\n"
            "print('torch' in sys.modules, rollc.torch.Module)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "False <class 'rollc.torch.module.Module'>\n", run.stderr
