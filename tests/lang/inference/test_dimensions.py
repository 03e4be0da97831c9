"""Forms for values of any number of dimensions mean what NumPy means by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.ir.graph import BATCH
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph

Array = NDArray[np.float64]
SIZES = {"t": 3, BATCH: 2}
HEAD = """
net dimensions
input x: [4], m: [3, 4], c: [2, 3, 4], u, d: [2, 4, 5], i: index(3)
param q: [5, 3], p: [2, 5, 3]
output o
"""


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


def normal(x: Array, axis: int) -> Array:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


def taken(x: Array, index: Array, axis: int) -> Array:
    """One element along a dimension, for each step and sequence."""
    rank = x.ndim - index.ndim
    return np.take_along_axis(x, index[(..., *(None,) * rank)], axis).squeeze(axis)


def before(x: Array) -> Array:
    """The values of one step ago."""
    return np.concatenate([np.zeros_like(x[:1]), x[:-1]])


SUMS = [
    ("n,m->nm", "x", "x"),
    ("nk,k->n", "m", "x"),
    ("hnk,nk->hn", "c", "m"),
    ("hnk,hkm->hnm", "c", "d"),
    ("hnk,hkm->hmn", "c", "d"),
    ("hnk,hkm->mn", "c", "d"),
    ("hnk,hkm->mnh", "c", "d"),
    ("hnk,hkm->hn", "c", "d"),
    ("hkm,hnk->hmn", "d", "c"),
    ("hnk,nk->h", "c", "m"),
    ("hnk,nk->", "c", "m"),
    ("hon,hnk->kho", "p", "c"),
    ("on,hnk->hok", "q", "c"),
    ("nk->kn", "m"),
    ("hnk->kh", "c"),
    ("hnk->", "c"),
    ("k->k", "x"),
    ("nk,k->nk", "m", "x"),
    ("nk,mk->nm", "m", "m"),
    ("hnk,mk,k->hm", "c", "m", "x"),
    ("nk,mj->nkmj", "m", "m"),
]
FORMS: list[tuple[str, Callable[..., Array]]] = [
    ("softmax(m, axis=0)", lambda m, **_: softmax(m, -2)),
    ("softmax(c, axis=-2)", lambda c, **_: softmax(c, -2)),
    ("log_softmax(c, axis=0)", lambda c, **_: np.log(softmax(c, -3))),
    ("logsumexp(c, axis=-3)", lambda c, **_: np.log(np.exp(c).sum(-3))),
    ("layer_norm(c, 2, 1, axis=-2)", lambda c, **_: 2 * normal(c, -2) + 1),
    ("layer_norm(m, x, x, axis=-1)", lambda m, x, **_: x[..., None, :] * (normal(m, -1) + 1)),
    ("layer_norm(m, 2 * m, x, axis=-1)", lambda m, x, **_: 2 * m * normal(m, -1) + x[..., None, :]),
    ("layer_norm(m, m, m[:, 0], axis=0)", lambda m, **_: m * normal(m, -2) + m[..., :1]),
    ("layer_norm(c, c, 2 * c, axis=1)", lambda c, **_: c * normal(c, -2) + 2 * c),
    ("prod(m, axis=0)", lambda m, **_: m.prod(-2)),
    ("where(argmax(m, axis=0) == 1, x, 0)", lambda m, x, **_: np.where(m.argmax(-2) == 1, x, 0)),
    ("sum(c, axis=-2)", lambda c, **_: c.sum(-2)),
    ("sum(x, axis=-1)", lambda x, **_: x.sum(-1)),
    ("mean(c, axis=-1)", lambda c, **_: c.mean(-1)),
    ("max(c, axis=0)", lambda c, **_: c.max(-3)),
    ("concat(m, m, axis=-1)", lambda m, **_: np.concatenate([m, m], -1)),
    ("roll(m, 1, axis=-1)", lambda m, **_: np.roll(m, 1, -1)),
    ("expand(x, axis=-1, size=3)", lambda x, **_: np.repeat(x[..., None], 3, -1)),
    ("sort(m, axis=0)", lambda m, **_: np.sort(m, -2)),
    ("argsort(m, axis=0)", lambda m, **_: np.argsort(m, -2)),
    ("argsort(c, axis=-1)", lambda c, **_: np.argsort(c, -1)),
    ("x[argsort(-x)]", lambda x, **_: -np.sort(-x, -1)),
    ("cumprod(m, axis=1)", lambda m, **_: np.cumprod(m, -1)),
    ("cumsum(c, axis=1)", lambda c, **_: np.cumsum(c, -2)),
    ("norm(c, axis=1)", lambda c, **_: np.linalg.norm(c, axis=-2)),
    ("norm(c, axis=-3)", lambda c, **_: np.linalg.norm(c, axis=-3)),
    ("norm(m)", lambda m, **_: np.sqrt((m**2).sum((-1, -2)))),
    ("norm(0 * m, axis=0)", lambda m, **_: 0 * m[..., 0, :]),
    ("top_k(c, k=2, axis=0)", lambda c, **_: np.sort(c, -3)[..., ::-1, :, :]),
    ("top_k(c, k=2, axis=1)", lambda c, **_: np.sort(c, -2)[..., :0:-1, :]),
    ("top_k(c, axis=-1)", lambda c, **_: c.max(-1, keepdims=True)),
    ("top_k(x, k=3, axis=-1)", lambda x, **_: np.sort(x, -1)[..., :0:-1]),
    ("cumsum(x)", lambda x, **_: np.cumsum(x, -1)),
    ("c @ d", lambda c, d, **_: c @ d),
    ("q @ c", lambda c, q, **_: q @ c),
    ("p @ m", lambda p, m, **_: p @ m[..., None, :, :]),
    ("c @ x", lambda c, x, **_: (c @ x[..., None, :, None])[..., 0]),
    ("m[1]", lambda m, **_: m[..., 1, :]),
    ("m[:, 1]", lambda m, **_: m[..., 1]),
    ("m[1:3, :]", lambda m, **_: m[..., 1:3, :]),
    ("m[:, :]", lambda m, **_: m),
    ("c[..., 1]", lambda c, **_: c[..., 1]),
    ("c[1, ..., 2:4]", lambda c, **_: c[..., 1, :, 2:4]),
    ("c[:, 1:, 0]", lambda c, **_: c[..., 1:, 0]),
    ("c[1, 2, 3]", lambda c, **_: c[..., 1, 2, 3]),
    ("c[..., 0, :]", lambda c, **_: c[..., 0, :]),
    ("x[i]", lambda x, i, **_: taken(x, i, -1)),
    ("m[i]", lambda m, i, **_: taken(m, i, -2)),
    ("m[:, i]", lambda m, i, **_: taken(m, i, -1)),
    ("c[1, i, :]", lambda c, i, **_: taken(c[..., 1, :, :], i, -2)),
    ("c[..., i]", lambda c, i, **_: taken(c, i, -1)),
    ("x[i[t-1]]", lambda x, i, **_: taken(x, before(i), -1)),
    ("m[argmax(x[t-1][:3]), :]", lambda m, x, **_: taken(m, before(x)[..., :3].argmax(-1), -2)),
    ("m[argmax(m[:, 1])]", lambda m, **_: taken(m, m[..., 1].argmax(-1), -2)),
    ("reshape(c, 6, size(x))", lambda c, **_: c.reshape(*c.shape[:-3], 6, 4)),
    ("transpose(c, 2, 0, 1)", lambda c, **_: np.moveaxis(c, -1, -3)),
    ("transpose(m, -1, 0)", lambda m, **_: np.swapaxes(m, -1, -2)),
    ("stack(m, m, axis=-1)", lambda m, **_: np.stack([m, m], -1)),
    ("stack(x, 2 * x)", lambda x, **_: np.stack([x, 2 * x], -2)),
    ("stack(u, u)", lambda u, **_: np.stack([u, u], -1)),
]


def value(line: str) -> tuple[Array, dict[str, Array]]:
    source = Source("dimensions.roll", f"{HEAD}{line}\n")
    checked = load_graph(source)
    assert checked.graph is not None, render(checked.diagnostics, source)
    assert verify(checked.graph) == []
    random = np.random.default_rng(0)
    leaves = {}
    for node in (*checked.graph.leaves("input"), *checked.graph.leaves("param")):
        shape = (*(SIZES[axis] for axis in node.type.axes), *node.type.shape)
        index = node.type.kind == "index"
        leaves[node.name] = random.integers(3, size=shape) if index else random.normal(size=shape)
    return interpret(checked.graph, leaves, SIZES)["o"], leaves


def assert_same(line: str, meaning: Callable[..., Array]) -> None:
    found, leaves = value(line)
    expected = meaning(**leaves)
    assert found.shape[2:] == expected.shape[2:]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-12)


@pytest.mark.parametrize(("form", "meaning"), FORMS, ids=[form for form, _ in FORMS])
def test_a_form_is_what_numpy_has(form: str, meaning: Callable[..., Array]) -> None:
    assert_same(f"o = {form}", meaning)


@pytest.mark.parametrize(("subscripts", "names"), [(one, names) for one, *names in SUMS])
def test_einsum_is_that_of_numpy(subscripts: str, names: list[str]) -> None:
    terms, _, result = subscripts.partition("->")
    whole = ",".join(f"...{term}" for term in terms.split(",")) + f"->...{result}"

    def meaning(**leaves: Array) -> Array:
        return np.einsum(whole, *(leaves[name] for name in names))

    assert_same(f'o = einsum("{subscripts}", {", ".join(names)})', meaning)


def test_parts_along_a_dimension() -> None:
    assert_same("first, o = split(m, 2, axis=1)\noutput first", lambda m, **_: m[..., 2:])
    assert_same("first, o = split(c, 2, axis=-3)\noutput first", lambda c, **_: c[..., 1:, :, :])


def test_an_equal_form_is_written_out_for_each_node() -> None:
    """Nodes are shared, except for those that have names."""
    assert_same(
        'first = transpose(m)\nsame = einsum("nk->kn", m)\n'
        'o = einsum("kn,kj->nj", same, first) + m[i][0]\noutput first',
        lambda m, i, **_: m @ np.swapaxes(m, -1, -2) + taken(m, i, -2)[..., 0][..., None, None],
    )
