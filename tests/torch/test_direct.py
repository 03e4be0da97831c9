"""Calls by a plan (`rollc.torch.direct`) are those without one, to the bit, and as safe."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import rollc.torch  # noqa: E402
from rollc.backends.registry import VARIABLE  # noqa: E402
from rollc.errors import InputError  # noqa: E402
from rollc.torch import calls  # noqa: E402
from rollc.torch.direct import Plan  # noqa: E402
from tests.torch.modules import B, T, inputs_of, module_of, written  # noqa: E402


def plans_of(networks: Any) -> list[Any]:
    return [plan for plan in networks.plans.values() if isinstance(plan, Plan)]


def alike(networks: Any, call: Callable[[], Any], planned: bool = True) -> None:
    """The third call is the first one; it is by a plan."""
    networks.plans.clear()
    first = [each.clone() for each in call()]
    call()
    assert bool(plans_of(networks)) == planned
    for _ in range(2):
        for own, right in zip(call(), first, strict=True):
            assert own.shape == right.shape and own.is_contiguous() == right.is_contiguous()
            assert torch.equal(own, right)


def values(found: Any) -> list[Any]:
    if isinstance(found, tuple):
        return [each for own in found for each in values(own)]
    return [*found.values()] if isinstance(found, dict) else [found]


def backward(results: list[Any], leaves: list[Any], **more: Any) -> list[Any]:
    torch.manual_seed(3)
    total = sum((each * torch.randn_like(each)).sum() for each in results if each.requires_grad)
    return [*torch.autograd.grad(total, leaves, **more)]


# Of every sort of network ----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, B])
@pytest.mark.parametrize("spec", ["lstm", "state_space/kalman"])
def test_outputs_loss_and_gradients(spec: str, batch: int | None) -> None:
    module = module_of(spec)
    given = inputs_of(module)
    slots = {**module._first.inputs, **module._first.targets}
    if batch is None:
        own = {name: each.select(len(slots[name].time), 0) for name, each in given.items()}
    else:
        own = {name: each.narrow(len(slots[name].time), 0, batch) for name, each in given.items()}
    given = {
        name: each.detach().clone().requires_grad_(each.requires_grad) for name, each in own.items()
    }
    leaves = [each for each in (*module.parameters(), *given.values()) if each.requires_grad]
    inputs = {name: given[name] for name in module._first.inputs}

    def outputs() -> list[Any]:
        found = values(module(inputs))
        return [*found, *backward(found, leaves, allow_unused=False)]

    def loss() -> list[Any]:
        found = module.loss(given)
        return [found, *backward([found], leaves)]

    def without() -> list[Any]:
        with torch.no_grad():
            return [*values(module(inputs)), module.loss(given)]

    for call in (outputs, loss, without):
        alike(module._networks, call)


@pytest.mark.parametrize("spec", ["sequences/tagger", "sequences/caption"])
def test_networks_of_indices_have_no_plans(spec: str) -> None:
    """These have a range, which is looked at in every call."""
    module = module_of(spec).eval()
    given = inputs_of(module, targets=False)
    leaves = [each for each in (*module.parameters(), *given.values()) if each.requires_grad]
    fed = {name: own for name, own in inputs_of(module).items() if name in module._first.fed}

    def call() -> list[Any]:
        found = values(module({**given, **fed}))
        return [*found, *backward(found, leaves)]

    alike(module._networks, call, planned=False)


@pytest.mark.parametrize("loss", [False, True])
def test_a_state(loss: bool) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    state = {name: torch.randn_like(each) for name, each in module.zero_state(B).items()}
    state["c"].requires_grad_()
    leaves = [module.W, given["x"], state["c"]]

    def call() -> list[Any]:
        found = values(module(given if loss else given["x"], state=state, loss=loss))
        assert [each.requires_grad for each in found] == [True, *[not loss] * (len(found) - 1)]
        return [*found, *backward(found, leaves)]

    alike(module._networks, call)
    assert isinstance(module(given["x"], state=state)[1], dict)


FORMS = [
    ("LSTM", {}, 1, 1, True),
    ("LSTM", {}, T, B, False),
    ("GRU", {"bias": False}, 1, None, True),
    ("GRU", {"batch_first": True}, 1, B, True),
    ("GRU", {"batch_first": True}, T, 1, False),
    ("RNN", {"num_layers": 2, "bidirectional": True}, T, B, True),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}, 1, 1, True),
]


@pytest.mark.parametrize(("kind", "options", "steps", "batch", "given"), FORMS)
def test_layers(
    kind: str, options: dict[str, Any], steps: int, batch: int | None, given: bool
) -> None:
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(3, 4, **options).double()
    ours = rollc.torch.convert(copy.deepcopy(theirs))
    shape = [steps] if batch is None else [steps, batch]
    shape = shape[::-1] if theirs.batch_first and batch is not None else shape
    x = torch.randn(*shape, 3, dtype=torch.float64, requires_grad=True)
    rows = theirs.num_layers * (1 + theirs.bidirectional)
    sizes = [theirs.proj_size or 4, 4][: 1 + (kind == "LSTM")]
    lead = [rows] if batch is None else [rows, batch]
    states = [torch.randn(*lead, size).double().requires_grad_() for size in sizes]
    hx = None if not given else states[0] if len(states) == 1 else tuple(states)
    wanted = [x, *(states if given else [])]

    def of(layer: Any) -> list[Any]:
        found = values(layer(x, hx))
        return [*found, *backward(found, [*layer.parameters(), *wanted])]

    alike(ours._rollc[1], lambda: of(ours))
    for own, right in zip(of(ours), of(theirs), strict=True):
        torch.testing.assert_close(own, right, rtol=1e-10, atol=1e-12)

    def twice(layer: Any) -> list[Any]:
        slopes = backward(values(layer(x, hx)), wanted, create_graph=True)
        return backward(slopes, [*layer.parameters(), *wanted], allow_unused=True)

    for own, right in zip(twice(ours), twice(theirs), strict=True):
        torch.testing.assert_close(own, right, rtol=1e-9, atol=1e-11)


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 5])
def test_compiled(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "numba")
    torch.manual_seed(0)
    theirs = nn.LSTM(16, 32)
    ours = rollc.torch.convert(copy.deepcopy(theirs))
    x = torch.randn(steps, 1, 16)
    state = tuple(torch.randn(1, 1, 32, requires_grad=True) for _ in range(2))

    def of(layer: Any) -> list[Any]:
        found = values(layer(x, state))
        return [*found, *backward(found, [*layer.parameters(), *state])]

    def without() -> list[Any]:
        with torch.no_grad():
            return values(ours(x, state))

    alike(ours._rollc[1], lambda: of(ours))
    alike(ours._rollc[1], without)
    for own, right in zip(of(ours), of(theirs), strict=True):
        torch.testing.assert_close(own, right, rtol=1e-4, atol=1e-5)


# What a plan leaves to others -------------------------------------------------------------------


@pytest.fixture
def planned() -> Any:
    """A module with a plan, its input and state, and what gives its output."""
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    for _ in range(2):
        module(x)
    assert len(plans_of(module._networks)) == 1
    return module, x


def test_second_derivatives_and_transforms(planned: Any) -> None:
    module, x = planned
    parameters = [*module.parameters()]

    def slopes() -> list[Any]:
        output = module(x)["h"].square().sum()
        return [*torch.autograd.grad(output, [x, *parameters[:3]], create_graph=True)]

    def second() -> list[Any]:
        return backward(slopes(), [x, *parameters[:3]])

    expected = [each.clone() for each in second()]
    module._networks.plans.clear()
    for own, right in zip(second(), expected, strict=True):
        torch.testing.assert_close(own, right)
    module(x), module(x)
    assert torch.autograd.gradgradcheck(lambda x: module(x)["h"], x, fast_mode=True)
    rows = torch.eye(4, dtype=torch.float64).reshape(4, 1, 1, 4).expand(4, T, B, 4)
    output = module(x)["h"]
    with pytest.raises(InputError, match="expected tensors that lie in memory"):
        torch.autograd.grad(output, x, rows, is_grads_batched=True, retain_graph=True)

    def of(row: Any) -> Any:
        return torch.autograd.grad(output, x, row, retain_graph=True)[0]

    for row, own in zip(rows, torch.func.vmap(of)(rows), strict=True):
        torch.testing.assert_close(own, of(row))
    whole = torch.func.jacrev(lambda x: module(x)["h"].sum())(x.detach())
    torch.testing.assert_close(whole, torch.autograd.grad(output.sum(), x)[0])
    tangent = torch.func.jvp(lambda x: module(x)["h"].sum(), (x.detach(),), (whole,))[1]
    torch.testing.assert_close(tangent, whole.square().sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), whole)
        slope = torch.autograd.forward_ad.unpack_dual(module(dual)["h"].sum()).tangent
    torch.testing.assert_close(slope, tangent)


def test_passes_over_a_graph_that_is_kept(planned: Any) -> None:
    module, x = planned
    for result in (module(x)["h"].sum(), module.loss(x, y=torch.zeros(T, B, 2).double())):
        passes = [torch.autograd.grad(result, module.W, retain_graph=True)[0] for _ in range(3)]
        expected = passes[0].clone()
        passes[0].zero_()
        assert torch.equal(passes[1], expected)
        assert torch.equal(torch.autograd.grad(result * 2, module.W)[0], 2 * expected)
        with pytest.raises(RuntimeError, match="second time"):
            result.backward()


def test_several_tapes_at_once_and_from_several_threads(planned: Any) -> None:
    module, _ = planned
    inputs = [torch.randn(T, B, 3).double() for _ in range(6)]
    expected = [torch.autograd.grad(module(x)["h"].sum(), module.W)[0] for x in inputs]
    kept = [module(x)["h"].sum() for x in inputs]
    for result, right in zip(reversed(kept), reversed(expected), strict=True):
        assert torch.equal(torch.autograd.grad(result, module.W)[0], right)
    shared = module(inputs[0])["h"].sum()
    found: list[bool] = []

    def run() -> None:
        for _ in range(5):
            (own,) = torch.autograd.grad(shared, module.W, retain_graph=True)
            (other,) = torch.autograd.grad(module(inputs[1])["h"].sum(), module.W)
            found.append(torch.equal(own, expected[0]) and torch.equal(other, expected[1]))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 15


@pytest.mark.parametrize("what", ["W", "x"])
def test_a_change_in_place_is_found(planned: Any, what: str) -> None:
    module, x = planned
    result = module(x)["h"].sum()
    with torch.no_grad():
        (module.W if what == "W" else x).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_parameters_that_changed_are_seen(planned: Any) -> None:
    module, x = planned
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    changes = [
        lambda: optimizer.step(),
        lambda: module.W.data.copy_(2 * module.W.data),  # which counts no version
        lambda: setattr(module.W, "data", torch.randn_like(module.W)),
        lambda: setattr(module.W, "data", torch.randn(3, 16).double().t()),  # in another order
        lambda: module.load_state_dict({n: 2 * p for n, p in module.state_dict().items()}),
    ]
    for change in changes:
        module(x)["h"].sum().backward()
        change()
        found = module(x)["h"]
        module._networks.plans, kept = {}, module._networks.plans
        torch.testing.assert_close(found, module(x)["h"], rtol=0, atol=0)
        module._networks.plans = kept
    for wrong, message in [
        (torch.randn(15, 3).double(), r"parameter `W`: expected .* found \[15, 3\]"),
        (torch.randn(16, 3), "in one precision"),
    ]:
        module.W.data = wrong
        with pytest.raises(InputError, match=message):
            module(x)


def test_memory_that_is_another_one_in_the_backward_pass(planned: Any) -> None:
    """Of a checkpoint, of hooks that keep tensors elsewhere, and of `data` that is replaced."""
    module, x = planned
    expected = torch.autograd.grad(module(2 * x)["h"].sum(), [x, module.W])

    def run(x: Any) -> Any:
        return module(2 * x)["h"]

    for again in (False, True):
        output = checkpoint(run, x, use_reentrant=again).sum()
        if again:
            output.backward()
            found = x.grad, module.W.grad
        else:
            found = torch.autograd.grad(output, [x, module.W])
        for own, right in zip(found, expected, strict=True):
            assert torch.equal(own, right)
    with torch.autograd.graph.saved_tensors_hooks(lambda own: own.clone(), lambda own: own):
        found = torch.autograd.grad(run(x).sum(), [x, module.W])
    for own, right in zip(found, expected, strict=True):
        assert torch.equal(own, right)
    output = run(x).sum()
    module.W.data = module.W.data.clone()
    for own, right in zip(torch.autograd.grad(output, [x, module.W]), expected, strict=True):
        assert torch.equal(own, right)


def test_cotangents_of_any_layout(planned: Any) -> None:
    module, x = planned
    outputs = module(x)
    whole = torch.randn(T, B, 4).double()
    turned = whole.transpose(0, 1).contiguous().transpose(0, 1)
    mirrored = torch.complex(whole, -whole).conj().imag
    assert mirrored.is_neg() and not turned.is_contiguous()
    grads = [
        torch.autograd.grad(outputs["h"], x, each, retain_graph=True)[0]
        for each in (whole, turned, mirrored)
    ]
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])
    nothing = torch._efficientzerotensor(whole.shape, dtype=torch.float64)
    assert not torch.autograd.grad(outputs["h"], x, nothing, retain_graph=True)[0].any()
    of_p = torch.autograd.grad(outputs["p"].sum(), x, retain_graph=True)[0]
    both = torch.autograd.grad([outputs["h"], outputs["p"].sum()], x, [whole, None])[0]
    torch.testing.assert_close(both, grads[0] + of_p)


def test_tensors_that_a_plan_does_not_take(planned: Any) -> None:
    module, x = planned
    right = module(x)["h"].detach()
    others = [
        x.detach().transpose(0, 1).contiguous().transpose(0, 1),
        torch.complex(x.detach(), -x.detach()).conj().imag,
        nn.Parameter(x.detach().clone()),
    ]
    nothing = torch._efficientzerotensor(x.shape, dtype=torch.float64)
    assert torch.equal(module(nothing)["h"], module(torch.zeros_like(x))["h"])
    for other in others:
        for _ in range(4):
            assert torch.equal(module(other)["h"].detach(), right)
    for wrong, message in [
        (x.float(), "expected torch.float64, found torch.float32"),
        (x.detach().to_sparse(), "expected a dense tensor"),
        (x.detach().to("meta"), "computes on the CPU"),
        (x.detach().numpy(), "expected a tensor"),
        (x[..., :2], r"found \[4, 2, 2\]"),
    ]:
        for _ in range(3):
            with pytest.raises(InputError, match=message):
                module(wrong)


def test_random_numbers_are_drawn_in_every_call(tmp_path: Path) -> None:
    module = written(tmp_path, "net n\ninput x: [9]\nh = dropout(x, rate=0.5)\noutput h\n")
    x = torch.randn(T, B, 9).double()
    found = [module(x) for _ in range(4)]
    assert not any(torch.equal(found[0], other) for other in found[1:])
    module.eval()
    found = [module(x) for _ in range(4)]
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_plans_are_few_free_and_no_part_of_a_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("lstm")
    networks, x = module._networks, torch.randn(T, B, 3).double()
    for steps in range(1, T):
        module(x[:steps]), module(x[:steps])
    assert len(plans_of(networks)) == T - 1
    other = pickle.loads(pickle.dumps(module))
    assert other._networks.plans == {} and torch.equal(other(x)["h"], module(x)["h"])
    monkeypatch.setattr(calls, "_MOST_PLANS", 2)
    x = x[:, :1].contiguous()
    for _ in range(3):
        module(x)
    assert len(networks.plans) == 1
    (plan,) = plans_of(networks)
    outputs = [module(x)["h"].sum() for _ in range(3)]
    idle = len(plan._direct._idle)
    outputs[0].backward()
    assert len(plan._direct._idle) == idle + 1
    outputs.clear()
    gc.collect()
    assert len(plan._direct._idle) == idle + 3
