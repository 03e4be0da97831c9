"""PyTorch's recurrent layers, with all their options: values and gradients of our kernels.

One network has layers of a cell one above the other, another has layers that run both ways.
What a layer below gives is an output too, so that one kernel is held to PyTorch's networks of
one layer and of more.  PyTorch computes in float64 throughout.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.backends import registry
from rollc.network.network import Network
from rollc.support.resources import folder
from tests.helpers.compiled_networks import assert_close, network_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")
pytestmark = pytest.mark.usefixtures("each_backend")

Array = NDArray[Any]

LIBRARY = folder("specs") / "cells"
D, H, P = 3, 17, 5  # H is no multiple of what a processor computes at once


class Kind(NamedTuple):
    """A recurrent layer: the cell's file, PyTorch's class and its options.

    ``up`` is the number of layers one above the other, ``both`` that of those both ways: not
    all kinds have many, for each layer takes a second to compile.
    """

    file: str
    torch: str
    up: int
    both: int
    options: dict[str, Any] = {}  # noqa: RUF012

    @property
    def memory(self) -> bool:
        return self.torch == "LSTM"

    @property
    def given(self) -> int:
        """The size of what a layer gives to the next one."""
        return int(self.options.get("proj_size", H))


KINDS = {
    "rnn": Kind("rnn", "RNN", up=2, both=2),
    "rnn_relu": Kind("rnn", "RNN", up=3, both=1, options={"nonlinearity": "relu"}),
    "lstm": Kind("lstm", "LSTM", up=2, both=1),
    "lstm_projected": Kind("lstm_projected", "LSTM", up=2, both=1, options={"proj_size": P}),
    "gru": Kind("gru", "GRU", up=2, both=1),
}


# Specs ---------------------------------------------------------------------------------


def cell_like(kind: str, name: str) -> str:
    """A cell of the library under another name, changed where that asks for it."""
    file = KINDS[kind].file
    text = (LIBRARY / f"{file}.roll").read_text(encoding="utf-8")
    body = re.search(rf"^cell {file}\(.*?^}}", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    cell = body[0].replace(f"cell {file}(", f"cell {name}(")
    cell = cell.replace("tanh", "relu") if kind == "rnn_relu" else cell
    return cell.replace("[t-1]", "[t+1]") if name.startswith("back_") else cell


def use(kind: str, cell: str, name: str, operand: str, ends: str) -> list[str]:
    """A layer ``name`` of a cell, its initial values and its values at the last step."""
    sizes = "H=H, P=P" if kind == "lstm_projected" else "H=H"
    states = {name: KINDS[kind].given}
    if KINDS[kind].memory:
        states[f"{name}c"] = H
    lines = [f"{', '.join(states)} = {cell}({operand}; {sizes})"]
    for state, size in states.items():
        lines += [
            f"static input {state}0: [{size}]",
            f"init {state} = {state}0",
            f"{state}n = {ends}({state})",
            f"output {state}n",
        ]
    return lines


def head(kind: str) -> list[str]:
    file = KINDS[kind].file
    return ["net layers", f'use "cells/{file}.roll"', f"dim H = {H}, P = {P}", f"input x: [{D}]"]


def one_way(kind: str) -> str:
    """Layers one above the other: o1, o2 …"""
    lines = head(kind)
    cell = KINDS[kind].file
    if kind == "rnn_relu":
        cell = "relu_rnn"
        lines.append(cell_like(kind, cell))
    operand = "x"
    layers = range(1, KINDS[kind].up + 1)
    for layer in layers:
        lines += [*use(kind, cell, f"f{layer}", operand, "last"), f"o{layer} = identity(f{layer})"]
        operand = f"dropout(o{layer}, rate=0.5)"
    return "\n".join([*lines, *(f"output o{layer}" for layer in layers)])


def both_ways(kind: str) -> str:
    """Layers with a chain from either end: o1, o2 …"""
    lines = head(kind)
    lines += [cell_like(kind, "on_rnn"), cell_like(kind, "back_rnn")]
    operand = "x"
    layers = range(1, KINDS[kind].both + 1)
    for layer in layers:
        lines += use(kind, "on_rnn", f"f{layer}", operand, "last")
        lines += use(kind, "back_rnn", f"b{layer}", operand, "first")
        lines.append(f"o{layer} = concat(f{layer}, b{layer})")
        operand = f"o{layer}"
    return "\n".join([*lines, *(f"output o{layer}" for layer in layers)])


def network(kind: str, dtype: str, directions: int) -> Network:
    return _network(kind, dtype, directions, registry.default())


@cache
def _network(kind: str, dtype: str, directions: int, backend: str) -> Network:
    return network_of((one_way if directions == 1 else both_ways)(kind), dtype)


# PyTorch -------------------------------------------------------------------------------


def of_pytorch(kind: str, weights: dict[str, Array], slopes: bool) -> dict[str, Array]:
    """PyTorch's weights under our names, as the comment of each cell says.

    ``slopes`` are gradients: of a sum of biases, each part has the gradient of the whole.
    """
    found: dict[str, Array] = {}
    for name, array in weights.items():
        sort, layer = name.split("_l")
        use = f"b{int(layer[0]) + 1}" if layer.endswith("_reverse") else f"f{int(layer) + 1}"
        match sort:
            case "weight_ih":
                found[f"{use}.W"] = array
            case "weight_hh":
                found[f"{use}.U"] = array
            case "weight_hr":
                found[f"{use}.R"] = array
            case "bias_ih":
                found[f"{use}.b"] = array
            case "bias_hh" if kind == "gru":
                # The candidate's second bias stands apart, inside the reset gate.
                if not slopes:
                    gates = np.concatenate([array[: 2 * H], np.zeros(H)])
                    found[f"{use}.b"] = found[f"{use}.b"] + gates
                found[f"{use}.d"] = array[2 * H :]
            case "bias_hh" if not slopes:
                found[f"{use}.b"] = found[f"{use}.b"] + array
    return found


def starts(
    kind: str, layers: int, directions: int, batch: tuple[int, ...]
) -> tuple[dict[str, Any], Any]:
    """Initial values, drawn: under our names, and stacked as PyTorch takes them."""
    named: dict[str, Any] = {}
    for layer in range(1, layers + 1):
        for way in "fb"[:directions]:
            named[f"{way}{layer}0"] = torch.randn(*batch, KINDS[kind].given, dtype=torch.double)
            if KINDS[kind].memory:
                named[f"{way}{layer}c0"] = torch.randn(*batch, H, dtype=torch.double)
    for tensor in named.values():
        tensor.requires_grad_()
    hidden = torch.stack([tensor for name, tensor in named.items() if not name.endswith("c0")])
    if not KINDS[kind].memory:
        return named, hidden
    memory = torch.stack([tensor for name, tensor in named.items() if name.endswith("c0")])
    return named, (hidden, memory)


def ends(kind: str, final: Any, directions: int) -> dict[str, Any]:
    """PyTorch's h_n and c_n under our names."""
    found = {}
    for suffix, stacked in zip(("", "c"), final if KINDS[kind].memory else (final,), strict=False):
        for place, tensor in enumerate(stacked):
            found[f"{'fb'[place % directions]}{place // directions + 1}{suffix}n"] = tensor
    return found


def compare(
    kind: str,
    dtype: str,
    directions: int,
    layers: int,
    steps: int,
    batch: int | None,
    *,
    bias: bool = True,
    lengths: list[int] | None = None,
) -> None:
    """Values and gradients for drawn cotangents of all outputs of the upper layer."""
    torch.manual_seed(layers)
    options = KINDS[kind].options | ({"dropout": 0.5} if layers > 1 else {})
    core = getattr(torch.nn, KINDS[kind].torch)(
        D, H, layers, bias=bias, bidirectional=directions == 2, **options
    )
    core = core.double().eval()
    rows = () if batch is None else (batch,)
    x = torch.randn(steps, *rows, D, dtype=torch.double, requires_grad=True)
    given, state = starts(kind, layers, directions, rows)
    if lengths is None:
        upper, final = core(x, state)
    else:
        packing = torch.nn.utils.rnn
        packed = packing.pack_padded_sequence(x, lengths, enforce_sorted=False)
        upper, final = core(packed, state)
        upper = packing.pad_packed_sequence(upper, total_length=steps)[0]
    expected = {f"o{layers}": upper, **ends(kind, final, directions)}
    cotangents = {name: torch.randn_like(tensor) for name, tensor in expected.items()}
    sum((cotangents[name] * tensor).sum() for name, tensor in expected.items()).backward()

    net = network(kind, dtype, directions)
    named = {name: value.detach().numpy() for name, value in core.named_parameters()}
    params = net.init(seed=0)
    params |= {name: np.zeros_like(params[name]) for name in params if name[-1] in "bd"}
    params |= of_pytorch(kind, named, slopes=False)
    # The layers above those of PyTorch's network start anywhere, and get no gradient.
    inputs = {
        name: np.ones((*(() if spec.time else rows), *spec.shape))
        for name, spec in net.inputs.items()
    }
    inputs |= {name: tensor.detach().numpy() for name, tensor in given.items()}
    inputs["x"] = x.detach().numpy().copy()
    for sequence, length in enumerate(lengths or []):
        inputs["x"][length:, sequence] = np.nan
    outputs, pullback = net.vjp(params, inputs, lengths=lengths)
    # The error grows with the steps that it goes through, and with the sums over them.
    roundings = 50 + 5 * steps * layers
    for name, tensor in expected.items():
        assert_close(outputs[name], tensor.detach(), dtype, name, roundings)
    slopes = pullback({name: tensor.numpy() for name, tensor in cotangents.items()})
    named = {name: value.grad.numpy() for name, value in core.named_parameters()}
    wanted = of_pytorch(kind, named, slopes=True)
    wanted |= {name: tensor.grad.numpy() for name, tensor in {**given, "x": x}.items()}
    for name, slope in slopes.items():
        if name in wanted:
            # Ours is of the mean over the batch where there is one value for all sequences.
            assert_close(slope, wanted[name], dtype, name, roundings)
        elif bias or name[-1] not in "bd":
            assert not slope.any(), name
    assert wanted.keys() <= slopes.keys()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind: str) -> None:
    top = KINDS[kind].up
    compare(kind, "float32", 1, layers=1, steps=9, batch=3)
    compare(kind, "float32", 1, layers=2, steps=30, batch=17)
    compare(kind, "float32", 1, layers=top, steps=9, batch=4)
    compare(kind, "float32", 1, layers=top, steps=5, batch=None)
    compare(kind, "float32", 1, layers=top, steps=1, batch=1)
    compare(kind, "float32", 1, layers=top, steps=7, batch=2, bias=False)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "kind",
    # The projected cell takes the longest; backwards it is another cell that is read backwards.
    [pytest.param(kind, marks=[pytest.mark.long] * (kind == "lstm_projected")) for kind in KINDS],
)
def test_layers_both_ways_and_packed_sequences(kind: str) -> None:
    """A packed sequence is one with its own length, even if that is the whole one."""
    top = KINDS[kind].both
    compare(kind, "float64", 2, layers=1, steps=9, batch=3, lengths=[4, 9, 1])
    compare(kind, "float64", 2, layers=top, steps=9, batch=4, lengths=[9, 2, 5, 8])
    compare(kind, "float64", 2, layers=top, steps=9, batch=2, lengths=[9, 9])
    compare(kind, "float64", 2, layers=top, steps=1, batch=1, lengths=[1])
    compare(kind, "float64", 2, layers=top, steps=7, batch=2, lengths=[3, 7], bias=False)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["rnn", "rnn_relu", "lstm", "gru"])
def test_one_step_at_a_time(kind: str) -> None:
    """``step`` is PyTorch's cell, one above the other."""
    torch.manual_seed(0)
    of, batch = KINDS[kind], 3
    make = getattr(torch.nn, f"{of.torch}Cell")
    cells = [make(D if layer == 0 else H, H, **of.options).double() for layer in range(of.up)]
    net = network(kind, "float32", 1)
    params = net.init(seed=0)
    for layer, cell in enumerate(cells):
        weights = {f"{name}_l{layer}": p.detach().numpy() for name, p in cell.named_parameters()}
        params |= of_pytorch(kind, weights, slopes=False)
    given, _ = starts(kind, of.up, 1, (batch,))
    states = [
        (given[f"f{layer}0"], given[f"f{layer}c0"]) if of.memory else given[f"f{layer}0"]
        for layer in range(1, of.up + 1)
    ]
    statics = {name: tensor.detach().numpy() for name, tensor in given.items()}
    state = net.initial_state(params, statics)
    for _ in range(5):
        seen = x = torch.randn(batch, D, dtype=torch.double)
        outputs, state = net.step(params, state, {**statics, "x": x.numpy()})
        for layer, cell in enumerate(cells):
            states[layer] = cell(seen, states[layer])
            seen = states[layer][0] if of.memory else states[layer]
            assert_close(outputs[f"o{layer + 1}"], seen.detach(), "float32", f"o{layer + 1}")
