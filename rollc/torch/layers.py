"""The recurrent layers of PyTorch, computed by rollc: ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``.

:func:`convert` makes these of a model's layers.  A layer's equations are written out as a spec, one
for each of its forms, whose parameters have PyTorch's names; layers of one form share its networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rollc.backends import registry
from rollc.errors import InputError
from rollc.frameworks.networks import Networks, networks_of_text
from rollc.support.checks import shown
from rollc.torch.calls import called
from rollc.torch.tensors import precision_of

Tensor = Any
Model = TypeVar("Model", bound=nn.Module)

# The equations of one layer in one direction, after `specs/cells/`.  `{l}` is the ending of its
# names, `{x}` what comes in, `{back}` the step before.
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_LSTM = """
i_{l}, f_{l}, g_{l}, o_{l} = split(weight_ih_{l} @ {x} + weight_hh_{l} @ h_{l}[{back}]{both}, 4)
c_{l} = sigmoid(f_{l}) * c_{l}[{back}] + sigmoid(i_{l}) * tanh(g_{l})
h_{l} = {projected}(sigmoid(o_{l}) * tanh(c_{l}))
"""
_GRU = """
xr_{l}, xz_{l}, xn_{l} = split(weight_ih_{l} @ {x}{outer}, 3)
ur_{l}, uz_{l}, un_{l} = split(weight_hh_{l} @ h_{l}[{back}], 3)
r_{l} = sigmoid(xr_{l}{r} + ur_{l})
z_{l} = sigmoid(xz_{l}{z} + uz_{l})
n_{l} = tanh(xn_{l} + r_{l} * (un_{l}{n}))
h_{l} = (1 - z_{l}) * n_{l} + z_{l} * h_{l}[{back}]
"""
_RNN = """
h_{l} = {function}(weight_ih_{l} @ {x} + weight_hh_{l} @ h_{l}[{back}]{both})
"""


@dataclass(frozen=True)
class Form:
    """What the equations of a layer depend on, in PyTorch's words."""

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    @property
    def size(self) -> int:
        """The size of a layer's output, in one direction."""
        return self.proj_size or self.hidden_size

    @property
    def states(self) -> dict[str, int]:
        """The values that a layer hands on from step to step, and their sizes."""
        if self.mode == "LSTM":
            return {"h": self.size, "c": self.hidden_size}
        return {"h": self.size}

    @property
    def endings(self) -> list[str]:
        """Those of the names of each layer and direction, in PyTorch's order."""
        ways = ["", "_reverse"] if self.bidirectional else [""]
        return [f"l{layer}{way}" for layer in range(self.num_layers) for way in ways]

    @property
    def stacks(self) -> dict[str, tuple[str, ...]]:
        """What the tensors of states hold, of all layers and directions."""
        return {
            f"{name}_{end}": tuple(f"{name}{end}_{ending}" for ending in self.endings)
            for end in "0n"
            for name in self.states
        }

    def spec(self) -> str:
        """The layers as a text of rollc's language."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"net {self.mode.lower()}"
        yield f"input x: [{self.input_size}]"
        x, rows, outputs = "x", _GATES[self.mode] * self.hidden_size, []
        for layer in range(self.num_layers):
            columns = self.input_size if layer == 0 else self.size * (1 + self.bidirectional)
            ways = {f"l{layer}": ("t-1", "last")}
            if self.bidirectional:
                ways[f"l{layer}_reverse"] = "t+1", "first"
            for l, (back, end) in ways.items():  # noqa: E741
                yield f"param weight_ih_{l}: [{rows}, {columns}]"
                yield f"param weight_hh_{l}: [{rows}, {self.size}]"
                if self.bias:
                    yield f"param bias_ih_{l}: [{rows}], bias_hh_{l}: [{rows}]"
                if self.proj_size:
                    yield f"param weight_hr_{l}: [{self.proj_size}, {self.hidden_size}]"
                yield self._equations(l, x, back)
                for state, size in self.states.items():
                    yield f"static input {state}0_{l}: [{size}]"
                    yield f"init {state}_{l} = {state}0_{l}"
                    yield f"{state}n_{l} = {end}({state}_{l})"
                    outputs.append(f"{state}n_{l}")
            x = f"y{layer}"
            parts = ", ".join(f"h_{l}" for l in ways)  # noqa: E741
            yield f"{x} = concat({parts})" if self.bidirectional else f"{x} = {parts}"
            if self.dropout and layer < self.num_layers - 1:
                yield f"d{layer} = dropout({x}, rate={self.dropout})"
                x = f"d{layer}"
        yield f"output {x}, {', '.join(outputs)}"

    def _equations(self, l: str, x: str, back: str) -> str:  # noqa: E741
        own = {"l": l, "x": x, "back": back, "both": "", "outer": "", "r": "", "z": "", "n": ""}
        own["projected"] = f"weight_hr_{l} @ " if self.proj_size else ""
        own["function"] = self.mode.removeprefix("RNN_").lower()
        text = {"LSTM": _LSTM, "GRU": _GRU}.get(self.mode, _RNN)
        if self.bias:
            own["both"], own["outer"] = f" + bias_ih_{l} + bias_hh_{l}", f" + bias_ih_{l}"
            own |= {gate: f" + b{gate}_{l}" for gate in "rzn"}
            if self.mode == "GRU":
                text = "\nbr_{l}, bz_{l}, bn_{l} = split(bias_hh_{l}, 3)" + text
        return text.format(**own)


class _Layer(nn.RNNBase):  # type: ignore[misc]
    """A layer of PyTorch, whose forward and backward pass are rollc's.

    It has the parameters and attributes of the layer that it was, and is called alike, with tensors
    or packed sequences.  It is no ``nn.LSTM`` any more, but an ``nn.RNNBase``.
    """

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:  # noqa: A002
        """The outputs of the last layer and the states after the last step, as PyTorch has them.

        Raises :class:`~rollc.InputError` where a tensor does not fit.
        """
        form, networks, sizes, stacks, count = self._rollc
        if form.num_layers > 1 and form.dropout != self.dropout:
            self._build()
            form, networks, sizes, stacks, count = self._rollc
        packed = isinstance(input, PackedSequence)
        x, lengths = input, None
        if packed:  # in the order in which it is sorted
            x, lengths = pad_packed_sequence(PackedSequence(input.data, input.batch_sizes))
        if not isinstance(x, torch.Tensor) or x.dim() not in (2, 3):
            raise InputError(
                f"expected a tensor of two dimensions, or three with a batch, found {_of(x)}"
            )
        batch_first = self.batch_first and not packed
        batch = [x.shape[0 if batch_first else 1]] if x.dim() == 3 else []
        given = {"x": x}
        for (name, size), state in zip(sizes.items(), _states(sizes, hx), strict=True):
            expected = (count, *batch, size)
            if state is None:
                given[f"{name}_0"] = x.new_zeros(expected)
            elif isinstance(state, torch.Tensor) and state.shape == expected:
                given[f"{name}_0"] = _ordered(state, input.sorted_indices if packed else None)
            else:
                raise InputError(f"state `{name}_0`: expected {[*expected]}, found {_of(state)}")
        own = self._parameters
        parameters = {  # or what has taken the place of one
            name: own[name] if name in own else getattr(self, name)
            for name in networks.first.params
        }
        y, *ends = called(
            networks,
            "outputs",
            parameters,
            given,
            batch_first=batch_first,
            training=self.training,
            lengths=lengths,
            stacks=stacks,
        ).values()
        if packed:
            data = pack_padded_sequence(y, lengths).data
            y = PackedSequence(data, *input[1:])
            ends = [_ordered(end, input.unsorted_indices) for end in ends]
        return y, ends[0] if len(ends) == 1 else tuple(ends)

    def _build(self) -> None:
        """Take the networks of its form, which are built if there are none yet."""
        self._rollc = _built(self)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are PyTorch's: they hold no networks, and no code."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_rollc"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._build()


class RNN(_Layer):
    """An ``nn.RNN`` that rollc computes."""


class LSTM(_Layer):
    """An ``nn.LSTM`` that rollc computes."""


class GRU(_Layer):
    """An ``nn.GRU`` that rollc computes."""


_LAYERS = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}


def convert(model: Model) -> Model:
    """Have rollc compute the recurrent layers of a model: each ``nn.RNN``, ``nn.LSTM``, ``nn.GRU``.

    They change in place.  Parameters stay the objects that they are: names and ``state_dict()`` do
    not change, checkpoints load both ways, what is tied or has an optimizer keeps it.  Outputs and
    gradients are the same up to rounding; the masks of dropout between layers are others, drawn
    from PyTorch's generator too.  All else is as in :class:`~rollc.torch.Module`.  Kernels are
    compiled here, once for all layers of one form, and kept in rollc's cache.  Classes that are
    derived from these three stay as they are, with a warning.

    Parameters
    ----------
    model : torch.nn.Module
        A layer, or what has some.

    Returns
    -------
    torch.nn.Module
        The same one.

    Raises
    ------
    InputError
        Where parameters are not on the CPU or in a precision that it does not know, and for a
        dropout of 1, which leaves nothing.

    Examples
    --------
    >>> import torch
    >>> import rollc.torch
    >>> lstm, x = torch.nn.LSTM(2, 3), torch.randn(5, 4, 2)
    >>> before = lstm(x)[0]
    >>> bool(torch.allclose(rollc.torch.convert(lstm)(x)[0], before, atol=1e-5))
    True
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a module of PyTorch, found {shown(model)}")
    taken = {}
    for name, layer in model.named_modules():
        if type(layer) in _LAYERS:
            taken[layer] = _built(layer)
        elif isinstance(layer, tuple(_LAYERS)):
            kind = type(layer).__name__
            warnings.warn(
                f"`{name}` stays as it is: a `{kind}` may compute something else", stacklevel=2
            )
    for layer, found in taken.items():
        layer.__class__ = _LAYERS[type(layer)]
        layer._rollc = found
    return model


_Built = tuple[Form, Networks, dict[str, int], dict[str, tuple[str, ...]], int]


def _built(layer: Any) -> _Built:
    """The form of a layer and its networks, and of the form what each call needs."""
    between = layer.dropout if layer.num_layers > 1 else 0.0
    if between == 1:
        raise InputError("expected a dropout below 1, found 1, which leaves nothing")
    form = Form(
        layer.mode,
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        layer.bias,
        float(between),
        layer.bidirectional,
        getattr(layer, "proj_size", 0),
    )
    weights = {name: getattr(layer, name) for name in layer._flat_weights_names}
    precision = precision_of("parameter", {name: own.dtype for name, own in weights.items()})
    for name, own in weights.items():
        if not own.is_cpu:
            raise InputError(
                f"parameter `{name}`: rollc computes on the CPU, and it is on {own.device};"
                " call `.cpu()` of the module"
            )
    networks = _networks(form, precision.network, registry.default())
    return form, networks, form.states, form.stacks, len(form.endings)


@lru_cache(maxsize=256)
def _networks(form: Form, dtype: str, backend: str) -> Networks:
    name = form.mode.lower()
    return networks_of_text(form.spec(), f"{name}.roll", {}, dtype, {"backend": backend})


def _states(sizes: dict[str, int], hx: Any) -> list[Any]:
    """The tensors of a state: None where there is none."""
    if hx is None or len(sizes) == 1:
        return [hx] * len(sizes)
    if not isinstance(hx, (list, tuple)) or len(hx) != len(sizes):
        raise InputError(f"expected a state of h_0 and c_0, found {_of(hx)}")
    return [*hx]


def _ordered(state: Tensor, indices: Tensor | None) -> Tensor:
    return state if indices is None else state.index_select(1, indices)


def _of(value: Any) -> str:
    """What was found, in words."""
    if isinstance(value, torch.Tensor):
        return str([*value.shape])
    return shown(value)
