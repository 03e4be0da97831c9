"""A call of a network as one operation: `torch.compile(fullgraph=True)` and `torch.export`."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollc.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

import rollc.torch  # noqa: E402
from rollc.torch import operation  # noqa: E402
from tests.torch.modules import B, T, inputs_of, module_of, written  # noqa: E402


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Any, **options: Any) -> Any:
    return torch.compile(function, backend="aot_eager", fullgraph=True, **options)


def held(function: Callable[..., Any], module: Any, *arguments: Any, seed: int = 0) -> None:
    """A function gives the same values and gradients compiled and called as it is."""
    leaves = [*module.parameters(), *torch.utils._pytree.tree_leaves(arguments)]
    learnt = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    answers = []
    for call in (function, compiled(function)):
        torch.manual_seed(seed)
        values = torch.utils._pytree.tree_leaves(call(*arguments))
        wanting = [value for value in values if value.requires_grad]
        torch.manual_seed(seed + 1)
        cotangents = [torch.randn_like(value) for value in wanting]
        slopes = (
            torch.autograd.grad(wanting, learnt, cotangents, allow_unused=True) if wanting else ()
        )
        answers.append((values, [value.requires_grad for value in values], slopes))
    torch.testing.assert_close(*answers)
    assert answers[0][0]


def test_it_is_the_call() -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    held(lambda x: module(x), module, given["x"])
    held(lambda x, y: module.loss(x, y=y), module, given["x"], given["y"])
    held(lambda x: module(x)["h"][-1], module, given["x"])
    state = {name: each + 0.1 for name, each in module.zero_state(B).items()}
    state = {name: each.requires_grad_() for name, each in state.items()}
    held(lambda x, state: module(x, state=state), module, given["x"], state)
    held(lambda given, state: module(given, state=state, loss=True), module, given, state)
    lengths = torch.tensor([T, 2])
    held(lambda x, lengths: module(x, lengths=lengths), module, given["x"], lengths)
    held(lambda x: module(x, lengths=[T, 2]), module, given["x"])
    held(lambda x: module(x), module, given["x"][:, 0])
    module.W.requires_grad_(False)
    held(lambda x: module(x), module, given["x"].detach())


@pytest.mark.long
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("gru", {}),
        ("sequences/stacked", {}),
        ("sequences/tagger", {}),
        ("sequences/caption", {}),
        ("sequences/caption", {"feed": "free"}),
        ("sequences/translate", {}),
        ("delays/string", {}),
        ("state_space/kalman", {}),
    ],
)
def test_specs_of_every_sort(spec: str, options: dict[str, Any]) -> None:
    module = module_of(spec, **options)  # in training: the masks are drawn in the graph
    given = inputs_of(module)
    network = module._first
    read = {name: each for name, each in given.items() if name not in network.targets}
    steps = 3 if options else None
    fed = {name: given[name] for name in network.fed}
    held(lambda read: module(read, steps=steps), module, read | fed)
    if not options:
        held(lambda given: module.loss(given), module, given)
    if len(network.axes) == 2:
        lengths = {"s": torch.tensor([T, 2]), "t": torch.tensor([1, T])}
        held(lambda given, lengths: module.loss(given, lengths=lengths), module, given, lengths)


def test_time_and_batch_are_dynamic() -> None:
    module = module_of("lstm", batch_first=True)
    x = inputs_of(module, batch_first=True)["x"].detach()
    counts: list[int] = []

    def counted(graph: Any, example: Any) -> Any:
        counts.append(1)
        return graph

    call = torch.compile(
        lambda x: module(x)["h"].sum(-1), backend=counted, fullgraph=True, dynamic=True
    )
    for steps, batch in ((4, 2), (3, 2), (7, 5), (2, 9)):
        own = torch.randn(batch, steps, x.shape[-1], dtype=torch.float64)
        torch.testing.assert_close(call(own), module(own)["h"].sum(-1))
    assert counts == [1]


def test_the_precision_and_a_loss_of_several_windows() -> None:
    module = module_of("lstm").bfloat16()
    x = inputs_of(module)["x"].detach().bfloat16()
    held(lambda x: module(x), module, x)

    module = module_of("lstm").float()
    given = {name: each.detach().float() for name, each in inputs_of(module).items()}

    def mixed(x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return module(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held(mixed, module, given["x"])

    def windows(x: Any, y: Any) -> Any:
        state, total = module.initial_state(x), 0.0
        for own, target in zip(x.split(2), y.split(2), strict=True):
            outputs, state = module(own, state=state)
            total = total + (outputs["p"] - target).pow(2).sum()
        return total

    held(windows, module, given["x"], given["y"])


def test_an_initial_value(tmp_path: Path) -> None:
    module = written(
        tmp_path,
        "net begun\ninput x: [3]\nparam W: [3, 3], start: [3]\nh = tanh(W @ h[t-1] + x)\n"
        "init h = start\nk = argmax(h)\noutput h, k\nloss mean(sum(h), over t)\n",
    )
    x = torch.randn(T, B, 3, dtype=torch.float64)
    held(lambda x: module(x, state=module.initial_state(x)), module, x)


def test_the_forward_pass_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    ran: list[str] = []
    for name, sort in operation.runs.SORTS.items():

        def noted(*arguments: Any, _run: Any = sort.run, _name: str = name) -> Any:
            ran.append(_name)
            return _run(*arguments)

        monkeypatch.setitem(operation.runs.SORTS, name, sort._replace(run=noted))
    call = compiled(lambda x: module(x)["h"].sum())
    call(given["x"]).backward()
    compiled(lambda given: module.loss(given))(given).backward()
    assert ran == ["outputs", "loss"]
    with torch.no_grad():
        call(given["x"])
    gc.collect()
    assert not operation._TAPES  # they go with the graphs that they were of


def test_a_tape_goes_with_its_graph() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    call = compiled(lambda x: module(x)["h"].sum())
    first, second = call(x), call(2 * x)
    assert len(operation._TAPES) == 2
    for value in (first, second):
        (found,) = torch.autograd.grad(value, module.W, retain_graph=True)
        torch.testing.assert_close(torch.autograd.grad(value, module.W)[0], found)
    del first, second, value
    gc.collect()
    assert not operation._TAPES


def test_a_part_that_is_computed_again() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]

    def part(x: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False)

    held(part, module, x)


def test_a_change_in_place_is_found() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"]
    result = compiled(lambda x: module(x)["h"].sum())(x)
    with torch.no_grad():
        module.W.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


@pytest.mark.parametrize("sort", ["outputs", "loss"])
@pytest.mark.parametrize("taped", [True, False])
def test_what_pytorch_asks_of_an_operation(sort: str, taped: bool) -> None:
    module = module_of("lstm")
    given = inputs_of(module)
    tensors = dict(module.named_parameters()) | {"x": given["x"]}
    if sort == "loss":
        tensors["y"] = given["y"]
    state = {f"state.{name}": each for name, each in module.zero_state(B).items()}
    wrt = [name for name, each in tensors.items() if each.requires_grad] if taped else []
    text = module._networks.texts["float64"]
    for own, lengths in ((tensors, []), (tensors | state, [torch.tensor([T, 2])])):
        rest = (len(own) > len(tensors), lengths, [""] * len(lengths), [], [])
        arguments = ([*own.values()], [*own], text, sort, wrt, True, None, *rest)
        found = torch.library.opcheck(torch.ops.rollc.network.default, arguments)
        assert set(found.values()) == {"SUCCESS"}
    call = ([*tensors.values()], [*tensors], text, sort, wrt, True, None, False, [], [], [], [])
    *results, tape = torch.ops.rollc.network(*call)
    names = operation._names(module._first, sort, False)
    cotangents = [torch.ones_like(each) for each in results]
    asked = (*call[:4], ["W", "x"], *call[5:])
    detached = [each.detach() for each in call[0]]
    found = torch.library.opcheck(
        torch.ops.rollc.gradients.default, (tape, cotangents, names, detached, *asked[1:])
    )
    assert set(found.values()) == {"SUCCESS"}


# Exported programs ------------------------------------------------------------------------


def test_an_exported_program() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    steps, batch = torch.export.Dim("steps", min=1), torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (x,), dynamic_shapes=(({0: steps, 1: batch},),))
    own = torch.randn(7, 5, 3, dtype=torch.float64)
    ran = program.module()
    torch.testing.assert_close(ran(own), module(own))
    ran(own)["h"].sum().backward()  # it can be trained
    module(own)["h"].sum().backward()
    slopes = {name: each.grad for name, each in ran.named_parameters()}
    torch.testing.assert_close(slopes["W"], module.W.grad)
    with torch.no_grad():
        torch.testing.assert_close(ran(own), module(own))


def test_a_program_with_lengths_and_a_state() -> None:
    module = module_of("lstm", batch_first=True)
    x = inputs_of(module, batch_first=True)["x"].detach()
    given = {"lengths": torch.tensor([2, T]), "state": module.zero_state(B)}
    batch = torch.export.Dim("batch", min=2)
    shapes = {
        "inputs": ({0: batch},),
        "lengths": {0: batch},
        "state": {"h": {1: batch}, "c": {1: batch}},
    }
    program = torch.export.export(module, (x,), given, dynamic_shapes=shapes)
    given = {"lengths": torch.tensor([1, 2, 3]), "state": module.zero_state(3)}
    x = torch.randn(3, T, 3, dtype=torch.float64)
    torch.testing.assert_close(program.module()(x, **given), module(x, **given))


READER = """
import sys, torch, rollc.torch
program = torch.export.load(sys.argv[1])
x = torch.ones(6, 3, 3, dtype=torch.float64)
print(repr(program.module()(x)["h"].sum().item()))
"""


@pytest.mark.long
def test_another_process_runs_a_program(tmp_path: Path) -> None:
    """It has the network in it, as a text: nothing else is needed of the one that wrote it."""
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    dims = {0: torch.export.Dim("steps", min=1), 1: torch.export.Dim("batch", min=1)}
    program = torch.export.export(module, (x,), dynamic_shapes=((dims,),))
    torch.export.save(program, tmp_path / "program.pt2")
    run = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / "program.pt2")],
        capture_output=True,
        text=True,
        env={**os.environ, "ROLLC_CACHE": str(tmp_path / "cache")},
        timeout=300,
    )
    expected = module(torch.ones(6, 3, 3, dtype=torch.float64))["h"].sum().item()
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(expected, rel=1e-12)


# What is not there ------------------------------------------------------------------------


def test_no_derivative_is_zero_because_it_is_missing() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    moved = torch.ones_like(x)

    def summed(call: Any) -> Any:
        return lambda x: call(x)["h"].sum()

    program = torch.export.export(module, (x,)).module()
    for derivative in (
        lambda call: torch.func.jvp(call, (x,), (moved,)),
        lambda call: torch.func.jacfwd(summed(call))(x),
    ):
        with pytest.raises(rollc.torch.DerivativeError, match="forward in time"):
            derivative(program)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, moved)
        with pytest.raises(rollc.torch.DerivativeError, match="forward in time"):
            program(dual)
    for derivative in (
        lambda call: torch.func.grad(summed(call))(x),
        lambda call: torch.func.jacrev(torch.func.jacrev(summed(call)))(x),
        lambda call: torch.func.vmap(call)(x[None]),
    ):
        with pytest.raises(RuntimeError):
            derivative(program)
        with pytest.raises(RuntimeError):
            compiled(lambda x, derivative=derivative: derivative(module))(x)
    with pytest.raises(RuntimeError, match="forward in time"):
        compiled(lambda x: torch.func.jvp(module, (x,), (moved,)))(x)
    for call in (program, compiled(module)):
        own = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(call(own)["h"].sum(), own, create_graph=True)
        with pytest.raises(RuntimeError):
            slope.sum().backward()


def test_what_is_wrong_is_named() -> None:
    module = module_of("lstm")
    x = inputs_of(module)["x"].detach()
    with pytest.raises(
        Exception, match=r"InputError|expected torch\.float64, found torch\.float32"
    ):
        compiled(lambda x: module(x))(x.float())
    with pytest.raises(InputError, match=r"torch.export"):
        torch.jit.trace(module, (x,), check_trace=False)
    fakes = torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True)
    with fakes, pytest.raises(InputError, match="that lie in memory, found a FakeTensor"):
        module(fakes.from_tensor(x))


@pytest.mark.long
def test_inductor() -> None:
    """The compiler that users have, around a network and with its gradients."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3).double(), module_of("lstm"))
    x = inputs_of(model[1])["x"].detach()
    (expected := model(x)["h"].tanh().sum()).backward()
    slopes = [each.grad for each in model.parameters()]
    model.zero_grad()
    call = torch.compile(lambda x: model(x)["h"].tanh().sum(), fullgraph=True)
    (found := call(x)).backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([each.grad for each in model.parameters()], slopes)
