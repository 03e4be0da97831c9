"""Sequences in, out, or both, with a label or a word at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.entries.graphs import kernel_graphs
from rollc.kernel.passes import scheduled
from rollc.network.noise_draws import draw_noise
from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import (
    BATCH,
    Array,
    Leaves,
    built,
    cross_entropy,
    held,
    largest,
    leaves_of,
    log_softmax,
    sigmoid,
)

SIZES = {"D": 3, "H": 4, "K": 3}


# A label at every step, forward and backward by hand ------------------------------------------


def forward_backward(p: Leaves) -> tuple[Array, float, Leaves]:
    """Goodfellow, Bengio and Courville, Deep Learning (2016), equations 10.8 to 10.28."""
    T, H = len(p["x"]), len(p["b"])
    h, yhat, before = np.zeros((T, H)), np.zeros((T, len(p["c"]))), np.zeros(H)
    for t in range(T):
        a = p["b"] + p["W"] @ before + p["U"] @ p["x"][t]
        before = h[t] = np.tanh(a)
        o = p["c"] + p["V"] @ h[t]
        yhat[t] = np.exp(o) / np.exp(o).sum()
    loss = -sum(np.log(yhat[t, p["y"][t]]) for t in range(T))
    slopes = {name: np.zeros(p[name].shape) for name in ("U", "W", "b", "V", "c", "x")}
    later = np.zeros(H)  # what h(t) has from h(t+1)
    for t in reversed(range(T)):
        slope_o = yhat[t] - (np.arange(len(p["c"])) == p["y"][t])  # 10.18
        slope_h = later + p["V"].T @ slope_o  # 10.19 to 10.21
        slope_a = (1 - h[t] ** 2) * slope_h
        slopes["c"] += slope_o  # 10.22
        slopes["b"] += slope_a  # 10.23
        slopes["V"] += np.outer(slope_o, h[t])  # 10.24
        if t > 0:
            slopes["W"] += np.outer(slope_a, h[t - 1])  # 10.26
        slopes["U"] += np.outer(slope_a, p["x"][t])  # 10.28
        slopes["x"][t] = p["U"].T @ slope_a
        later = p["W"].T @ slope_a
    return yhat, float(loss), slopes


def test_labels_by_hand() -> None:
    network = built("sequences/labels", SIZES)
    params, inputs = leaves_of(network, steps=7)
    by_hand = [
        forward_backward({**params, **{name: array[:, n] for name, array in inputs.items()}})
        for n in range(BATCH)
    ]
    found = network.forward(params, inputs)["yhat"]
    agree("values", found, np.stack([each[0] for each in by_hand], axis=1), "yhat")
    loss, gradients = network.value_and_grad(params, inputs)
    agree("values", loss, np.mean([each[1] for each in by_hand]), "the loss")
    # The loss is the mean over the batch, and so is a parameter's gradient; the input of one
    # sequence has its share of the mean.
    for name in params:
        expected = np.mean([each[2][name] for each in by_hand], axis=0)
        agree("gradients", gradients[name], expected, name)
    of_inputs = np.stack([each[2]["x"] for each in by_hand], axis=1) / BATCH
    agree("gradients", gradients["x"], of_inputs, "x")


# One answer, both directions ------------------------------------------------------------------


def test_one_answer() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h = np.zeros(4)
        for x in p["x"]:
            h = np.tanh(p["U"] @ x + p["W"] @ h + p["b"])
        scores = log_softmax(p["V"] @ h + p["c"])
        return {"yhat": np.exp(scores)}, -scores[int(p["y"])]

    held(built("sequences/answer", SIZES), direct)


def test_both_directions() -> None:
    def chain(x: Array, U: Array, W: Array, b: Array) -> Array:
        h, states = np.zeros(len(b)), []
        for step in x:
            h = np.tanh(U @ step + W @ h + b)
            states.append(h)
        return np.array(states)

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        forward = chain(p["x"], p["U_f"], p["W_f"], p["b_f"])
        backward = chain(p["x"][::-1], p["U_g"], p["W_g"], p["b_g"])[::-1]
        o = np.hstack([forward, backward]) @ p["V"].T + p["c"]
        return {"o": o}, cross_entropy(o, p["y"])

    held(built("sequences/bidirectional", SIZES), direct)


# What was said is read ------------------------------------------------------------------------


@pytest.mark.parametrize("feed", ["taught", "free"])
def test_recurrence_through_the_output(feed: Any) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        said, o = 0, []
        for x, y in zip(p["x"], p["y"], strict=True):
            h = np.tanh(p["W"][:, said] + p["U"] @ x + p["b"])
            o.append(p["V"] @ h + p["c"])
            said = int(y) if feed == "taught" else largest(o[-1])
        return {"o": np.array(o)}, cross_entropy(np.array(o), p["y"])

    network = built("sequences/teacher", SIZES, feed)
    held(network, direct)
    gradient = scheduled(kernel_graphs(network.graph)["gradient"]())
    loops = {region.kind for region in gradient.regions} & {"forward", "backward"}
    assert bool(loops) == (feed == "free")  # taught, no step waits for another


WORDS = {"Z": 3, "E": 3, "H": 4, "V": 5}


@pytest.mark.parametrize("feed", ["taught", "free"])
def test_a_caption(feed: Any) -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h, said, o = np.tanh(p["P"] @ p["picture"] + p["p"]), 0, []
        for word in p["words"]:
            h = np.tanh(p["W"] @ h + p["U"] @ p["M"][said] + p["b"])
            o.append(p["N"] @ h + p["c"])
            said = int(word) if feed == "taught" else largest(o[-1])
        return {"o": np.array(o)}, cross_entropy(np.array(o), p["words"])

    network = built("sequences/caption", WORDS, feed)
    params, inputs = held(network, direct, steps=8)
    if feed == "free":  # a picture alone says something, and another one something else
        alone = network.forward(params, {"picture": 3 * inputs["picture"]}, steps=8)["o"]
        assert (alone.argmax(axis=-1)[:, 0] != alone.argmax(axis=-1)[:, 1]).any()


def test_an_input_that_every_step_sees() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        h, o = np.zeros(4), []
        for said in (0, *p["words"][:-1]):
            seen = np.concatenate([p["picture"], h, np.eye(5)[int(said)]])
            weights = np.hstack([p["R"], p["W"], p["U"].T])
            h = np.tanh(weights @ seen + p["b"])
            o.append(p["N"] @ h + p["c"])
        return {"o": np.array(o)}, cross_entropy(np.array(o), p["words"])

    held(built("sequences/conditioned", {"Z": 3, "H": 4, "V": 5}), direct)


# Layers ---------------------------------------------------------------------------------------


def stacked(p: Leaves, masks: list[Array]) -> tuple[dict[str, Any], Any]:
    """``masks`` are what the three layers' values are multiplied with, [T, H] each."""
    below = p["x"]
    for layer, mask in zip(("h.0", "h.1", "h.2"), masks, strict=True):
        h = c = np.zeros(4)
        states = []
        for x in below:
            i, f, g, o = np.split(p[f"{layer}.W"] @ x + p[f"{layer}.U"] @ h + p[f"{layer}.b"], 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        below = np.array(states) * mask
    scores = below @ p["V"].T + p["c"]
    return {"o": scores}, cross_entropy(scores, p["y"])


@pytest.mark.long
def test_layers_on_layers() -> None:
    network = built("sequences/stacked", SIZES)
    params, inputs = held(network, lambda p: stacked(p, [np.ones(4)] * 3), steps=5)
    # In training, with the masks that the seed draws; and the slope along every parameter.
    sizes = {"t": 5, "batch": BATCH}
    masks = list(draw_noise(network.graph, sizes, 7, training=True, dtype=float).values())
    assert all(set(np.unique(mask)) == {0.0, 1.25} for mask in masks)

    def loss(params: Leaves) -> Any:
        each = [{**params, **{name: inputs[name][:, n] for name in inputs}} for n in range(BATCH)]
        return np.mean([stacked(p, [m[:, n] for m in masks])[1] for n, p in enumerate(each)])

    found, gradients = network.value_and_grad(params, inputs, training=True, seed=7)
    np.testing.assert_allclose(found, loss(params), rtol=1e-12)
    for name in params:
        direction = np.random.default_rng(1).normal(size=params[name].shape)
        slope = loss({**params, name: params[name] + 1e-20j * direction}).imag / 1e-20
        np.testing.assert_allclose((gradients[name] * direction).sum(), slope, atol=1e-12)
