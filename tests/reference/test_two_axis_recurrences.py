"""Recurrences over two axes at once, as their papers draw them, held to loops over tensors.

In each the pairs of a batch have lengths of their own along both axes, and the loops see a pair
alone, of its own lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.network.network import Network
from rollc.support.resources import specs
from tests.helpers.agreement import agree
from tests.helpers.compiled_networks import network_of

torch = pytest.importorskip("torch", reason="values and gradients are held to PyTorch's")

Array = NDArray[Any]
Lengths = dict[str, list[int]]
Cell = Callable[[int, int, Callable[[int, int], Any]], Any]

BORDERS = """
net borders
time s, t
input  x[s]: [2], y[t]: [2]
param  U: [3, 2], V: [3, 3], W: [3, 3], Z: [3, 3], above: [3]
static input corner: [3]
h = tanh(U @ (x * y) + V @ h[s{0}1] + W @ h[t{1}1] + Z @ h[s{0}1, t{1}1] + m[s{0}1])
m = mean(h, over t)
init h over s = row
init h over t = column
init h over s, t = corner
row = above * y[0]
column = x[1] * above
output h
loss mean(mean(sum(h ** 2), over s), over t)
"""


def built(spec: str, **sets: int) -> Network:
    text = spec if "\n" in spec else specs()[spec].read_text()
    return network_of(text, "float64", sets, backend="reference")


def along_both(rows: int, columns: int, cell: Cell) -> dict[tuple[int, int], Any]:
    """What a cell gives at each place, from those above, on the left, and on both sides."""
    found: dict[tuple[int, int], Any] = {}
    for s in range(rows):
        for t in range(columns):
            found[s, t] = cell(s, t, lambda i, j: found.get((i, j)))
    return found


def hold(
    network: Network,
    inputs: Mapping[str, Array],
    lengths: Lengths,
    loss_of: Callable[[Mapping[str, Any], Mapping[str, Any], int, int], Any],
) -> None:
    """Compare the loss and all gradients with the means over the pairs of those of loops."""
    random = np.random.default_rng(5)
    params = {name: 0.7 * random.normal(size=a.shape) for name, a in network.init(0).items()}
    tensors = {name: torch.tensor(a, requires_grad=True) for name, a in params.items()}
    given = {name: torch.tensor(a, requires_grad=a.dtype.kind == "f") for name, a in inputs.items()}
    arrays = network.inputs | network.targets
    losses = []
    for number, (rows, columns) in enumerate(zip(lengths["s"], lengths["t"], strict=True)):
        own = {}
        for name, tensor in given.items():
            axes = arrays[name].time
            for place, axis in enumerate(axes):
                tensor = tensor.narrow(place, 0, {"s": rows, "t": columns}[axis])
            own[name] = tensor.select(len(axes), number)
        losses.append(loss_of(tensors, own, rows, columns))
    expected = torch.stack(losses).mean()
    expected.backward()
    same = all(len(set(counts)) == 1 for counts in lengths.values())
    found, gradients = network.value_and_grad(params, inputs, lengths=None if same else lengths)
    agree("values", found, expected.item(), "the loss")
    for name, gradient in gradients.items():
        leaf = tensors.get(name, given.get(name))
        exact = np.zeros(gradient.shape) if leaf.grad is None else leaf.grad.numpy()
        agree("gradients", gradient, exact, name)


def test_a_multi_dimensional_lstm() -> None:
    sizes = {"H": 3, "D": 2, "K": 4}
    random = np.random.default_rng(0)
    inputs = {"x": random.normal(size=(4, 3, 3, 2)), "y": np.array([1, 3, 0])}

    def loss_of(p: Mapping[str, Any], own: Mapping[str, Any], rows: int, columns: int) -> Any:
        zero = torch.zeros(3, dtype=torch.float64)

        def cell(s: int, t: int, at: Callable[[int, int], Any]) -> Any:
            (above, up), (left, back) = at(s - 1, t) or (zero, zero), at(s, t - 1) or (zero, zero)
            gates = p["U"] @ own["x"][s, t] + p["V"] @ above + p["W"] @ left + p["b"]
            g, i, o, f, e = gates.split(3)
            z = i.sigmoid() * g.tanh() + f.sigmoid() * up + e.sigmoid() * back
            return o.sigmoid() * z.tanh(), z

        end = along_both(rows, columns, cell)[rows - 1, columns - 1][0]
        return torch.nn.functional.cross_entropy(p["O"] @ end + p["c"], own["y"])

    hold(
        built("images/rows_and_columns", **sizes),
        inputs,
        {"s": [4, 2, 3], "t": [3, 3, 1]},
        loss_of,
    )


def test_soft_dynamic_time_warping() -> None:
    random = np.random.default_rng(1)
    inputs = {"x": random.normal(size=(5, 3, 3)), "y": random.normal(size=(4, 3, 3))}
    far = torch.tensor(1e12, dtype=torch.float64)

    def loss_of(p: Mapping[str, Any], own: Mapping[str, Any], rows: int, columns: int) -> Any:
        def cell(s: int, t: int, at: Callable[[int, int], Any]) -> Any:
            around = [at(s - 1, t), at(s, t - 1), at(s - 1, t - 1)]
            around = [far if one is None else one for one in around]
            if s == t == 0:
                around[2] = torch.zeros_like(far)
            soft = -0.5 * torch.logsumexp(torch.stack([-one / 0.5 for one in around]), 0)
            return ((p["A"] @ own["x"][s] - p["A"] @ own["y"][t]) ** 2).sum() + soft

        return along_both(rows, columns, cell)[rows - 1, columns - 1]

    hold(built("sequences/warping", D=3), inputs, {"s": [5, 2, 3], "t": [1, 4, 4]}, loss_of)


def test_soft_local_alignment() -> None:
    """All alignments, one by one: pairs of letters, with gaps between them on both sides."""
    random = np.random.default_rng(6)
    inputs = {"a": random.integers(4, size=(4, 3)), "b": random.integers(4, size=(3, 3))}

    def loss_of(p: Mapping[str, Any], own: Mapping[str, Any], rows: int, columns: int) -> Any:
        def gap(letters: int) -> Any:
            return -p["open"] - (letters - 1) * p["extend"] if letters else 0

        def from_here(s: int, t: int) -> list[Any]:
            """The scores of all alignments that begin with a pair."""
            later = [
                score + gap(i - s - 1) + gap(j - t - 1)
                for i in range(s + 1, rows)
                for j in range(t + 1, columns)
                for score in from_here(i, j)
            ]
            pair = p["M"][own["a"][s], own["b"][t]]
            return [pair + score for score in (0, *later)]

        scores = [score for s in range(rows) for t in range(columns) for score in from_here(s, t)]
        nothing = torch.zeros(1, dtype=torch.float64)
        return -0.5 * torch.logsumexp(torch.cat([nothing, torch.stack(scores)]) / 0.5, 0)

    hold(built("sequences/alignment", V=4), inputs, {"s": [4, 2, 3], "t": [1, 3, 3]}, loss_of)


def test_the_loss_of_connectionist_temporal_classification() -> None:
    labels, steps = [[1, 2, 2], [3], [], [4, 1, 4]], [9, 6, 5, 7]
    places = np.zeros((7, 4), int)
    for number, own in enumerate(labels):
        places[1 : 2 * len(own) : 2, number] = own
    network = built("sequences/ctc", D=3, H=4, K=5)
    random = np.random.default_rng(2)
    params = {name: random.normal(size=a.shape) for name, a in network.init(0).items()}
    x = random.normal(size=(9, 4, 3))
    lengths = {"s": [2 * len(own) + 1 for own in labels], "t": steps}
    found, gradients = network.value_and_grad(params, {"x": x, "l": places}, lengths=lengths)

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    given = torch.tensor(x, requires_grad=True)
    h, scores = torch.zeros(4, 4, dtype=torch.float64), []
    for now in given:
        h = torch.tanh(now @ tensors["U"].T + h @ tensors["W"].T + tensors["b"])
        scores.append(h @ tensors["V"].T + tensors["c"])
    flat = torch.tensor([label for own in labels for label in own])
    said = torch.stack(scores).log_softmax(-1)
    expected = torch.nn.functional.ctc_loss(
        said, flat, steps, [len(own) for own in labels], reduction="none"
    ).mean()
    expected.backward()
    agree("values", found, expected.item(), "the loss")
    outputs = network.forward(params, {"x": x, "l": places}, lengths=lengths)
    for number, count in enumerate(steps):
        own = said[:count, number].detach().numpy()
        agree("values", outputs["yhat"][:count, number], own, "yhat")
    for name, gradient in gradients.items():
        agree("gradients", gradient, tensors.get(name, given).grad.numpy(), name)


def test_the_loss_of_a_transducer() -> None:
    """The sum over all ways to say the labels, each of its own: which frame is left when."""
    random = np.random.default_rng(4)
    labels, frames = [[1, 2, 2], [3], [], [4, 1]], [4, 3, 2, 1]
    y = np.zeros((4, 4), int)
    for number, own in enumerate(labels):
        y[1 : 1 + len(own), number] = own
    network = built("sequences/transducer", D=3, H=4, K=5)
    params = {name: random.normal(size=a.shape) for name, a in network.init(0).items()}
    x = random.normal(size=(4, 4, 3))
    lengths = {"s": frames, "t": [1 + len(own) for own in labels]}
    found, gradients = network.value_and_grad(params, {"x": x, "y": y}, lengths=lengths)

    p = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    given, expected = torch.tensor(x, requires_grad=True), []
    for number, own in enumerate(labels):
        h = g = torch.zeros(4, dtype=torch.float64)
        f, after, ways = [], [], []
        for now in given[: frames[number], number]:
            h = torch.tanh(p["U"] @ now + p["W"] @ h + p["b"])
            f.append(p["F"] @ h + p["f0"])
        for label in (0, *own):
            g = torch.tanh(p["E"][label] + p["R"] @ g + p["r"])
            after.append(p["G"] @ g)
        said = [[torch.log_softmax(a + b, 0) for b in after] for a in f]
        for when in combinations_with_replacement(range(frames[number]), len(own)):
            parts = [said[s][u][own[u]] for u, s in enumerate(when)]
            parts += [said[s][sum(at <= s for at in when)][0] for s in range(frames[number])]
            ways.append(torch.stack(parts).sum())
        expected.append(-torch.logsumexp(torch.stack(ways), 0))
    loss = torch.stack(expected).mean()
    loss.backward()
    agree("values", found, loss.item(), "the loss")
    for name, gradient in gradients.items():
        agree("gradients", gradient, p.get(name, given).grad.numpy(), name)


@pytest.mark.parametrize("signs", ["--", "+-", "-+", "++"])
def test_borders_that_run_over_the_other_axis_from_each_corner(signs: str) -> None:
    """A row needs a mean of the row before, too."""
    random = np.random.default_rng(3)
    inputs = {"x": random.normal(size=(4, 3, 2)), "y": random.normal(size=(5, 3, 2))}
    inputs["corner"] = random.normal(size=(3, 3))
    down, right = (1 if sign == "-" else -1 for sign in signs)

    def loss_of(p: Mapping[str, Any], own: Mapping[str, Any], rows: int, columns: int) -> Any:
        x, y = own["x"], own["y"]
        h = {(s, -1 if right > 0 else columns): x[s, 1] * p["above"] for s in range(rows)}
        h |= {(-1 if down > 0 else rows, t): p["above"] * y[t, 0] for t in range(columns)}
        h[-1 if down > 0 else rows, -1 if right > 0 else columns] = own["corner"]
        inside, mean = [], torch.zeros(3, dtype=torch.float64)
        for s in range(rows)[::down]:
            row = []
            for t in range(columns)[::right]:
                around = p["V"] @ h[s - down, t] + p["W"] @ h[s, t - right] + mean
                around = around + p["Z"] @ h[s - down, t - right]
                h[s, t] = torch.tanh(p["U"] @ (x[s] * y[t]) + around)
                row.append(h[s, t])
            mean = torch.stack(row).mean(0)
            inside += row
        return (torch.stack(inside) ** 2).sum(1).mean()

    network = built(BORDERS.format(*signs))
    hold(network, inputs, {"s": [4, 2, 3], "t": [1, 5, 4]}, loss_of)
    hold(network, inputs, {"s": [4, 4, 4], "t": [5, 5, 5]}, loss_of)


ANY_DELAYS = """
net front
time s, t
input  x[s]: [2], y[t]: [2]
param  U: [3, 2], V: [3, 3], W: [3, 3], above: [3]
h = tanh(U @ (x * y) + V @ h[s{0:+}, t{1:+}] + W @ h[s{2:+}, t{3:+}])
init h over s = above * y[0]
init h over t = x[1] * above
init h over s, t = 0
output h
loss mean(mean(sum(h ** 2), over s), over t)
"""


@pytest.mark.parametrize("reads", [(-2, 3, 1, -1), (1, -2, -1, 0), (2, -1, -1, 1)])
def test_delays_that_only_a_wavefront_orders(reads: tuple[int, int, int, int]) -> None:
    random = np.random.default_rng(4)
    inputs = {"x": random.normal(size=(5, 3, 2)), "y": random.normal(size=(4, 3, 2))}

    def loss_of(p: Mapping[str, Any], own: Mapping[str, Any], rows: int, columns: int) -> Any:
        x, y, known = own["x"], own["y"], {}

        def h(s: int, t: int) -> Any:
            if 0 <= s < rows and 0 <= t < columns:
                if (s, t) not in known:
                    first, second = h(s + reads[0], t + reads[1]), h(s + reads[2], t + reads[3])
                    whole = p["U"] @ (x[s] * y[t]) + p["V"] @ first + p["W"] @ second
                    known[s, t] = torch.tanh(whole)
                return known[s, t]
            if 0 <= t < columns:
                return p["above"] * y[t, 0]
            return x[s, 1] * p["above"] if 0 <= s < rows else torch.zeros_like(p["above"])

        values = [(h(s, t) ** 2).sum() for s in range(rows) for t in range(columns)]
        return torch.stack(values).mean()

    spec = ANY_DELAYS.format(*reads)
    network = built(spec.replace("s+0", "s").replace("t+0", "t"))
    hold(network, inputs, {"s": [5, 2, 3], "t": [1, 4, 4]}, loss_of)
    hold(network, inputs, {"s": [5, 5, 5], "t": [4, 4, 4]}, loss_of)


def edits(a: str, b: str) -> int:
    """The edit distance by its definition, as a search of the least."""
    if not a or not b:
        return len(a) + len(b)
    replaced = edits(a[1:], b[1:]) + (a[0] != b[0])
    return min(replaced, 1 + edits(a[1:], b), 1 + edits(a, b[1:]))


def test_the_edit_distance_of_words_of_several_lengths() -> None:
    pairs = [("kitten", "sitting"), ("", "abc"), ("a", "abcd"), ("flaw", "lawn")]
    lengths = {axis: [len(pair[n]) for pair in pairs] for n, axis in enumerate("st")}
    letters = {}
    for number, name in enumerate("ab"):
        letters[name] = np.zeros((max(lengths["st"[number]]), len(pairs)), int)
        for column, pair in enumerate(pairs):
            word = [ord(letter) - ord("a") for letter in pair[number]]
            letters[name][: len(word), column] = word
    network = built("sequences/edit_distance")
    outputs = network.forward(network.init(0), letters, lengths=lengths)
    assert outputs["distance"].tolist() == [edits(*pair) for pair in pairs]
