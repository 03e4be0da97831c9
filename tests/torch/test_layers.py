"""`rollc.torch.convert`: the recurrent layers of PyTorch, computed by rollc."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pytest

from rollc.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from torch import nn  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402

from rollc.torch import convert  # noqa: E402

T, B, D, H = 4, 3, 3, 4
KINDS: dict[str, Any] = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=2, **options),
}


def layer_of(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return KINDS[kind](D, H, **options).double()


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """A layer and the one that is converted."""
    layer = layer_of(kind, **options)
    return layer, convert(copy.deepcopy(layer))


def input_of(*shape: int) -> Any:
    return torch.randn(
        *shape, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()


def state_of(layer: Any, *batch: int) -> Any:
    random = torch.Generator().manual_seed(2)
    rows = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or H, H] if layer.mode == "LSTM" else [H]
    states = [
        torch.randn(rows, *batch, size, dtype=torch.float64, generator=random).requires_grad_()
        for size in sizes
    ]
    return tuple(states) if len(states) == 2 else states[0]


def held(layer: Any, own: Any, *arguments: Any) -> None:
    """Both give the same results, of the same sort, and the same gradients."""
    answers = []
    for one in (layer, own):
        found = one(*arguments)
        leaves = _leaves(found)
        torch.manual_seed(3)
        total = sum((each * torch.randn_like(each)).sum() for each in leaves if each.requires_grad)
        wanted = [*one.parameters(), *(each for each in _leaves(arguments) if each.requires_grad)]
        answers.append((found, torch.autograd.grad(total, wanted)))
    torch.testing.assert_close(answers[1], answers[0])
    assert type(answers[0][0][0]) is type(answers[1][0][0])
    with torch.no_grad():
        torch.testing.assert_close(_leaves(own(*arguments)), _leaves(layer(*arguments)))


def _leaves(tree: Any) -> list[Any]:
    found = torch.utils._pytree.tree_leaves(
        tree, is_leaf=lambda each: isinstance(each, rnn.PackedSequence)
    )
    return [each.data if isinstance(each, rnn.PackedSequence) else each for each in found]


# Each pair of values of two options is in some line, and so is each kind.
FORMS = [
    ("tanh", {}),
    ("tanh", {"num_layers": 2, "bidirectional": True, "bias": False}),
    ("relu", {"num_layers": 2, "batch_first": True}),
    ("lstm", {}),
    ("lstm", {"num_layers": 2, "bidirectional": True}),
    ("lstm", {"bias": False, "batch_first": True}),
    ("gru", {"num_layers": 2, "batch_first": True}),
    ("gru", {"bidirectional": True}),
    ("gru", {"bias": False}),
    ("projected", {"num_layers": 2, "bidirectional": True}),
]


@pytest.mark.parametrize(("kind", "options"), FORMS)
def test_it_computes_what_the_layer_does(kind: str, options: dict[str, Any]) -> None:
    layer, own = pair(kind, **options)
    x = input_of(*((B, T) if layer.batch_first else (T, B)))
    held(layer, own, x)
    held(layer, own, x, state_of(layer, B))
    held(layer, own, input_of(T))  # without a batch
    held(layer, own, input_of(T), state_of(layer))
    held(layer.eval(), own.eval(), x[:1, :1])


@pytest.mark.long
@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "form",
    [*itertools.product(KINDS, (1, 3), (True, False), (True, False), (True, False))],
    ids=lambda form: "-".join(map(str, form)),
)
def test_every_form(form: Any) -> None:
    kind, layers, bias, both, first = form
    test_it_computes_what_the_layer_does(
        kind,
        {"num_layers": layers, "bias": bias, "bidirectional": both, "batch_first": first},
    )
    test_packed_sequences(kind, {"num_layers": layers, "bias": bias, "bidirectional": both})


@pytest.mark.parametrize(
    ("kind", "options"),
    [("lstm", {"num_layers": 2, "bidirectional": True}), ("gru", {}), ("tanh", {})],
)
def test_packed_sequences(kind: str, options: dict[str, Any]) -> None:
    layer, own = pair(kind, **options)
    x = input_of(T, B)
    for lengths, in_order in (([2, 4, 1], False), ([4, 3, 1], True), ([2, 2, 2], False)):
        packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=in_order)
        held(layer, own, packed)
        held(layer, own, packed, state_of(layer, B))
    found, _ = own(packed)
    expected, _ = layer(packed)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    padded = torch.nn.utils.rnn.pad_packed_sequence(found)[0]
    torch.testing.assert_close(padded, torch.nn.utils.rnn.pad_packed_sequence(expected)[0])
    packed = rnn.pack_sequence([x[:2, 0], x[:4, 1]], enforce_sorted=False)
    held(layer, own, packed)


class Model(nn.Module):
    """A model with layers inside, two of which share a weight, and with a tied embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, D)
        self.layers = nn.ModuleDict(
            {"one": nn.LSTM(D, D), "two": nn.LSTM(D, D), "gru": nn.GRU(D, D)}
        )
        self.layers["two"].weight_hh_l0 = self.layers["one"].weight_hh_l0
        self.head = nn.Linear(D, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: Any) -> Any:
        x = self.embed(words)
        for layer in self.layers.values():
            x, _ = layer(x)
        return self.head(x)


def trained(model: Any, optimizer: Any) -> list[float]:
    words = torch.arange(2 * T).reshape(T, 2) % 7
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(words).flatten(0, 1), words.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_inside_a_model() -> None:
    """Its parameters are the same objects: an optimizer that is there goes on with them."""
    torch.manual_seed(0)
    model = Model().double()
    own = copy.deepcopy(model)
    optimizer = torch.optim.Adam(own.parameters(), lr=0.1)
    before = dict(own.named_parameters())
    assert convert(own) is own
    after = dict(own.named_parameters())
    assert [*before] == [*after]
    assert all(before[name] is after[name] for name in before)
    assert own.layers["two"].weight_hh_l0 is own.layers["one"].weight_hh_l0
    assert own.layers["one"]._rollc[1] is own.layers["two"]._rollc[1]  # built once
    expected = trained(model, torch.optim.Adam(model.parameters(), lr=0.1))
    assert trained(own, optimizer) == pytest.approx(expected, rel=1e-9)
    for one, two in ((model, own), (own, model)):  # checkpoints both ways
        fresh = convert(Model().double()) if one is model else Model().double()
        assert fresh.load_state_dict(one.state_dict()).missing_keys == []
        torch.testing.assert_close(fresh.state_dict(), two.state_dict())
    assert convert(own) is own  # a second time it changes nothing


def test_copies_pickles_and_precisions() -> None:
    layer, own = pair("lstm", num_layers=2)
    x = input_of(T, B)
    content = io.BytesIO()
    torch.save(own, content)
    assert b"rollc graph" not in content.getvalue()  # networks are not in it
    content.seek(0)
    for found in (copy.deepcopy(own), torch.load(content, weights_only=False)):
        torch.testing.assert_close(found(x), layer(x))
    assert "LSTM(3, 4, num_layers=2)" in repr(own)
    single, expected = copy.deepcopy(own).float(), copy.deepcopy(layer).float()
    torch.testing.assert_close(single(x.float()), expected(x.float()))
    with pytest.raises(InputError, match=r"expected torch\.float64, found torch\.float32"):
        own(x.float())
    own.flatten_parameters()  # what code that knows of these layers calls
    assert [[*map(id, each)] for each in own.all_weights] == [
        [id(getattr(own, name)) for name in names] for names in own._all_weights
    ]
    fresh = copy.deepcopy(own)
    fresh.reset_parameters()
    assert not torch.equal(fresh(x)[0], own(x)[0])
    nn.utils.parametrizations.weight_norm(own, "weight_hh_l0")
    torch.testing.assert_close(own(x), layer(x))


def test_dropout_between_layers() -> None:
    layer, own = pair("lstm", num_layers=2, dropout=0.5)
    x = input_of(T, B)
    held(layer.eval(), own.eval(), x)
    own.train()
    torch.manual_seed(1)
    first, second = own(x)[0], own(x)[0]
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(own(x)[0], first)
    mean = torch.stack([own(x)[1][0][0] for _ in range(3)])
    torch.testing.assert_close(mean[0], layer(x)[1][0][0])  # the first layer has none
    own.dropout = 1.0
    with pytest.raises(InputError, match="a dropout below 1"):
        own(x)
    own.dropout = 0.0
    torch.testing.assert_close(own(x), layer.eval()(x))


def test_derivatives_and_graphs() -> None:
    _, own = pair("gru")
    x, state = input_of(2, 1), state_of(own, 1)
    torch._dynamo.reset()
    call = torch.compile(own, backend="aot_eager", fullgraph=True)
    found, expected = call(x, state), own(x, state)
    torch.testing.assert_close(found, expected)
    for slopes in zip(
        torch.autograd.grad(found[0].sum(), [x, state]),
        torch.autograd.grad(expected[0].sum(), [x, state]),
        strict=True,
    ):
        torch.testing.assert_close(*slopes)
    assert torch.autograd.gradgradcheck(lambda x, h: own(x, h), (x, state), fast_mode=True)


class Derived(nn.LSTM):  # type: ignore[misc]
    """It may compute something else."""


def test_what_is_not_converted() -> None:
    model = nn.ModuleList([Derived(D, H), nn.LSTMCell(D, H), nn.Linear(D, H)])
    with pytest.warns(UserWarning, match="`0` stays as it is: a `Derived`"):
        convert(model)
    assert [type(each) for each in model] == [Derived, nn.LSTMCell, nn.Linear]
    with pytest.raises(InputError, match="on meta"):
        convert(layer := nn.LSTM(D, H, device="meta"))
    assert type(layer) is nn.LSTM
    with pytest.raises(InputError, match="expected a module of PyTorch, found a value of type"):
        convert([layer])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda x: (x[..., :2],), r"input `x`: expected float \[T, B, 3\], found \[4, 3, 2\]"),
        (lambda x: (x[0, 0],), r"expected a tensor of two dimensions, .* found \[3\]"),
        (lambda x: (x.tolist(),), "expected a tensor of two dimensions"),
        (lambda x: (x, torch.zeros(2, B, H)), r"expected a state of h_0 and c_0, found"),
        (lambda x: (x, (x, x)), r"state `h_0`: expected \[1, 3, 4\], found \[4, 3, 3\]"),
        (
            lambda x: (x, (torch.zeros(1, B, H), torch.zeros(1, B, H))),
            "input `h0_l0`: expected torch.float64",
        ),
        (lambda x: (x, 1.0), r"expected a state of h_0 and c_0, found 1\.0"),
        (lambda x: (x, (x, 1.0)), r"state `h_0`"),
    ],
)
def test_what_is_wrong_is_named(arguments: Any, message: str) -> None:
    _, own = pair("lstm")
    with pytest.raises(InputError, match=message):
        own(*arguments(input_of(T, B)))
