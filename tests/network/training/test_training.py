"""The training loop and the parts of data that it reads."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_text
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.network.training.batches import Batch, batches, streams, windows
from rollc.network.training.loop import fit
from rollc.network.training.optimizers import optimiser

pytestmark = pytest.mark.usefixtures("each_backend")

SPEC = """
net tiny
dim H = 3
input x
target y
static input z
param U: [H] = normal(0.5), W: [H, H] = orthogonal, v: [H] = normal(0.5)
h = tanh(U * x + W @ h[t-1] + z)
o = dot(v, h)
output o
loss mean(mse(o, y), over t)
"""


@pytest.fixture(scope="module")
def tiny(each_backend: str) -> Network:
    return build_text(SPEC, dtype="float64")[0]


def arrays(steps: int = 10, batch: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(steps, batch))
    return {"x": x, "y": np.sin(x), "z": random.normal(size=batch)}


def test_streams_go_on_where_they_were_left() -> None:
    found = streams(np.arange(11), 3)
    np.testing.assert_array_equal(found, [[0, 3, 6], [1, 4, 7], [2, 5, 8]])
    assert streams(np.zeros((10, 2)), 5).shape == (2, 5, 2)
    for count in (0, -1, 11):
        with pytest.raises(InputError, match="cannot cut 10 steps"):
            streams(np.arange(10), count)


def test_batches_hold_every_sequence_once(tiny: Network) -> None:
    given = arrays(batch=7)
    lengths = np.arange(1, 8)
    found = list(batches(tiny, given, 3, lengths=lengths, seed=1))
    assert [part.size for part in found] == [3, 3, 1]
    for name, axis in (("x", 1), ("y", 1), ("z", 0)):
        joined = np.concatenate([part.arrays[name] for part in found], axis)
        order = np.concatenate([part.lengths for part in found if part.lengths is not None]) - 1
        np.testing.assert_array_equal(joined, given[name].take(order, axis))
    (whole,) = batches(tiny, given)
    assert whole == Batch(given, None, 7)


def test_what_has_no_batch_is_part_of_every_one(tiny: Network) -> None:
    given = arrays() | {"z": np.array(0.5)}
    assert [part.arrays["z"].shape for part in batches(tiny, given, 2)] == [(), ()]


def test_windows_are_the_whole(tiny: Network) -> None:
    given = arrays()
    found = list(windows(tiny, given, 4))
    assert [len(part["x"]) for part in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part["y"] for part in found]), given["y"])
    assert all(part["z"] is given["z"] for part in found)


def test_an_epoch_is_an_update_for_each_batch(tiny: Network) -> None:
    given, params = arrays(), tiny.init(0)
    method = optimiser("sgd", rate=0.1, momentum=0.9)
    values, state, losses = params, method.start(params), []
    for columns in ([0, 1, 2], [3]) * 2:
        part = {name: array[..., columns] for name, array in given.items()}
        loss, gradients = tiny.value_and_grad(values, part)
        losses.append(loss)
        values, state = method.update(values, gradients, state)

    def data() -> list[Batch]:
        return [
            Batch({name: array[..., columns] for name, array in given.items()}, None, len(columns))
            for columns in ([0, 1, 2], [3])
        ]

    *_, found = islice(fit(tiny, params, data, method), 2)
    for name, value in values.items():
        np.testing.assert_allclose(found.params[name], value, rtol=1e-12)
    assert found.loss == pytest.approx((3 * losses[2] + losses[3]) / 4)


def test_the_state_goes_from_window_to_window(tiny: Network) -> None:
    """At a rate of nothing the windows' losses are those of the steps of the whole."""
    given, params = arrays(steps=12), tiny.init(0)
    whole = tiny.loss(params, given)
    still = optimiser("sgd", rate=0.0)
    (epoch,) = islice(fit(tiny, params, lambda: [Batch(given)], still, window=3), 1)
    assert epoch.loss == pytest.approx(whole, rel=1e-12)
    alone = np.mean([tiny.loss(params, part) for part in windows(tiny, given, 3)])
    assert abs(alone - whole) > 1e-3


def test_windows_of_a_target_alone() -> None:
    """A network that reads its target, and nothing else, has the target's batch."""
    taught = """
net taught
target y
param a = 0.5, b
said = feed(o[t-1], y[t-1])
o = a * said + b
output o
loss mean(mse(o, y), over t)
"""
    network, given = build_text(taught)[0], {"y": arrays()["y"]}
    still = optimiser("sgd", rate=0.0)
    (epoch,) = islice(fit(network, network.init(), lambda: [Batch(given)], still, window=5), 1)
    assert epoch.loss == pytest.approx(network.loss(network.init(), given), rel=1e-6)


def test_clipping_bounds_the_step(tiny: Network) -> None:
    given, params = arrays(), tiny.init(0)
    method = optimiser("sgd", rate=1.0)
    (epoch,) = islice(fit(tiny, params, lambda: [Batch(given)], method, clip=1e-3), 1)
    moved = sum(np.sum((epoch.params[name] - params[name]) ** 2) for name in params)
    assert moved**0.5 == pytest.approx(1e-3)


def test_windows_need_a_state_that_can_be_carried() -> None:
    learned = SPEC.replace("param ", "param s: [H], ").replace("output", "init h = s\noutput")
    network = build_text(learned)[0]
    fitting = fit(network, network.init(), lambda: [Batch(arrays())], window=3)
    with pytest.raises(InputError, match="`s` tells where a state starts"):
        next(fitting)
    backwards = build_text(SPEC.replace("t-1", "t+1"))[0]
    fitting = fit(backwards, backwards.init(), lambda: [Batch(arrays())], window=3)
    with pytest.raises(InputError, match="read from the future"):
        next(fitting)
    lengths = np.array([3, 10, 10, 10])
    fitting = fit(backwards, backwards.init(), lambda: [Batch(arrays(), lengths)], window=3)
    with pytest.raises(InputError, match="no `lengths`"):
        next(fitting)
