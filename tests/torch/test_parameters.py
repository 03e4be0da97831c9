"""Parameters of `rollc.torch.Module`: names, precisions, copies, and random numbers."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rollc.driver.build import build
from rollc.errors import InputError, RollcError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch.utils.checkpoint import checkpoint  # noqa: E402

import rollc.torch  # noqa: E402
from tests.torch.modules import LSTM, B, T, inputs_of, module_of, written  # noqa: E402


def test_parameters_have_the_names_of_the_spec() -> None:
    module = module_of("sequences/stacked")
    network = build("sequences/stacked", sets=LSTM)
    shapes = {name: tuple(each.shape) for name, each in module.state_dict().items()}
    assert shapes == {name: spec.shape for name, spec in network.params.items()}
    assert "h.0.W" in shapes
    assert module.get_parameter("h.0.W") is dict(module.named_parameters())["h.0.W"]


def test_what_is_frozen_is_a_buffer(tmp_path: Path) -> None:
    text = (
        "net own\ninput x: [3]\nparam W: [2, 3] = normal(1.0) frozen, half: [2] = 0.5 frozen\n"
        "param v: [2] = 1.0\ncell c(x; H) -> y {\n param type: [H] = 2.0 frozen\n y = x * type\n}\n"
        "o = dot(v, W @ c(x; H=3) + half)\noutput o\n"
    )
    module = written(tmp_path, text)
    assert [name for name, _ in module.named_parameters()] == ["v"]
    assert [name for name, _ in module.named_buffers()] == ["W", "half", "o.c.type"]
    assert {*module.state_dict()} == {"W", "half", "v", "o.c.type"}
    x = torch.ones(T, 3, dtype=module.v.dtype)
    module(x).sum().backward()
    torch.testing.assert_close(module.v.grad, (module.W @ (2 * x[0]) + 0.5) * T)
    other = written(tmp_path, text)
    other.reset_parameters()
    assert not torch.equal(other.W, module.W)
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
    module.float()
    assert module.W.dtype == torch.float32
    module(x.float()).sum().backward()


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
    torch.nn.utils.parametrizations.weight_norm(module.get_submodule("h.0"), "U")
    torch.testing.assert_close(module(given), expected)
    module(given).sum().backward()
    assert all(each.grad is not None for each in module.get_submodule("h.0").parameters())


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


@pytest.mark.long
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
        assert found.get_parameter("h.0.W") is not module.get_parameter("h.0.W")
        assert torch.equal(found(given), expected)
        found(given).sum().backward()
        assert module.get_parameter("h.0.W").grad is None
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


@pytest.mark.long
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
    (slope,) = torch.autograd.grad(first.sum(), module.get_parameter("h.0.W"))
    torch.manual_seed(1)
    (again,) = torch.autograd.grad(
        checkpoint(module, given, use_reentrant=False).sum(), module.get_parameter("h.0.W")
    )
    torch.testing.assert_close(again, slope)
