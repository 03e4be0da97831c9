"""The parts of data that training reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.data.batches import Batches, Windows, streams
from rollc.training.data.sequences import Sequences, cut, in_streams, padded, split
from rollc.training.fit import fit
from rollc.training.loop import Trainer
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer
from tests.helpers.training import arrays, tiny_network


@pytest.fixture(scope="module")
def tiny() -> Network:
    return tiny_network()


def test_streams_go_on_where_they_were_left() -> None:
    found = streams(np.arange(11), 3)
    np.testing.assert_array_equal(found, [[0, 3, 6], [1, 4, 7], [2, 5, 8]])
    assert streams(np.zeros((10, 2)), 5).shape == (2, 5, 2)
    for count in (0, -1, 11):
        with pytest.raises(InputError, match="cannot cut 10 steps"):
            streams(np.arange(10), count)


def test_batches_hold_every_sequence_once(tiny: Network) -> None:
    given = arrays(batch=7)
    data = Batches(tiny, given, 3, lengths=np.arange(1, 8), seed=1)
    for epoch in range(3):
        found = [data.at(epoch, number) for number in range(len(data))]
        assert [part.size for part in found] == [3, 3, 1]
        for name, axis in (("x", 1), ("y", 1), ("z", 0)):
            joined = np.concatenate([part.arrays[name] for part in found], axis)
            order = np.concatenate([part.lengths for part in found]) - 1
            np.testing.assert_array_equal(joined, given[name].take(order, axis))
            assert sorted(order) == list(range(7))
    whole = Batches(tiny, given)
    assert len(whole) == 1 and whole.at(0, 0).arrays["x"] is whole.arrays["x"]


def test_an_epoch_has_its_order_whatever_was_read_before(tiny: Network) -> None:
    """A run that is taken up again reads what it would have read."""
    given = arrays(batch=9)
    one, other = Batches(tiny, given, 2, seed=3), Batches(tiny, given, 2, seed=3)
    for epoch in range(3):
        for number in range(5):
            one.at(epoch, number)
    np.testing.assert_array_equal(one.at(1, 2).arrays["x"], other.at(1, 2).arrays["x"])
    first, second = (np.concatenate([one.at(e, n).arrays["z"] for n in range(5)]) for e in (0, 1))
    assert not np.array_equal(first, second)
    third = Batches(tiny, given, 2, seed=4).at(0, 0)
    assert not np.array_equal(third.arrays["x"], one.at(0, 0).arrays["x"])


def test_in_the_order_of_the_data(tiny: Network) -> None:
    given = arrays(batch=5)
    data = Batches(tiny, given, 2, shuffle=False)
    found = np.concatenate([data.at(1, number).arrays["z"] for number in range(3)])
    np.testing.assert_array_equal(found, given["z"])


def test_sequences_of_one_length_come_together(tiny: Network) -> None:
    lengths = np.array([9, 2, 7, 1, 8, 3])
    data = Batches(tiny, arrays(batch=6), 2, lengths=lengths, by_length=True)
    seen = []
    for epoch in range(5):
        found = [sorted(data.at(epoch, number).lengths) for number in range(3)]
        assert sorted(found) == [[1, 2], [3, 7], [8, 9]]
        seen.append(found)
    assert any(each != seen[0] for each in seen)


def test_what_has_no_batch_is_part_of_every_one(tiny: Network) -> None:
    data = Batches(tiny, arrays() | {"z": np.array(0.5)}, 2)
    assert [data.at(0, number).arrays["z"].shape for number in range(2)] == [(), ()]


def test_windows_are_the_whole(tiny: Network) -> None:
    given = arrays()
    windows = Windows(tiny, given, 4)
    found = [windows.at(number) for number in range(len(windows))]
    assert [len(part["x"]) for part in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part["y"] for part in found]), given["y"])
    assert all(part["z"] is windows.arrays["z"] for part in found)


def test_what_does_not_fit_together(tiny: Network) -> None:
    given = arrays()
    with pytest.raises(InputError, match="one number of sequences, found 4 in `x`, 3 in `z`"):
        Batches(tiny, given | {"z": np.zeros(3)})
    with pytest.raises(InputError, match="`lengths`: expected one for each of 4 sequences"):
        Batches(tiny, given, lengths=[1, 2])
    with pytest.raises(InputError, match="`size`: expected a whole number from 1 on, found 0"):
        Batches(tiny, given, 0)
    with pytest.raises(InputError, match="all of the same steps"):
        Windows(tiny, given | {"y": np.zeros((3, 4))}, 2)


# Splits ------------------------------------------------------------------------------------


def test_several_sequences_are_split_by_sequences(tiny: Network) -> None:
    given = arrays(batch=10)
    (train, valid, test), what = split(tiny, Sequences(given, np.arange(10)), (0.6, 0.2, 0.2))
    assert what == "sequences"
    for name, axis in (("x", 1), ("z", 0)):
        parts = [part.arrays[name] for part in (train, valid, test)]
        np.testing.assert_array_equal(np.concatenate(parts, axis), given[name])
    np.testing.assert_array_equal(valid.lengths, [6, 7])


def test_one_sequence_is_split_along_time(tiny: Network) -> None:
    given: dict[str, Any] = {"x": np.arange(10.0), "y": np.arange(10.0), "z": np.array(1.0)}
    (train, valid), what = split(tiny, Sequences(given), (0.8, 0.2))
    assert what == "steps"
    np.testing.assert_array_equal(train.arrays["x"], np.arange(8.0))
    np.testing.assert_array_equal(valid.arrays["y"], [8.0, 9.0])
    assert valid.arrays["z"].shape == ()


def test_splits_that_leave_nothing(tiny: Network) -> None:
    data = Sequences(arrays())
    with pytest.raises(InputError, match="cannot split 4 sequences"):
        split(tiny, data, (0.95, 0.05))
    for shares in ((0.5, 0.4), (1.5, -0.5), ()):
        with pytest.raises(InputError, match="whose sum is 1"):
            split(tiny, data, shares)


# Windows, streams, and sequences of different lengths ------------------------------------------


def test_windows_are_sequences_of_their_own(tiny: Network) -> None:
    given = arrays(steps=11, batch=2)
    found, dropped = cut(tiny, Sequences(given), 4)
    assert dropped == 6
    assert found.arrays["x"].shape == found.arrays["y"].shape == (4, 4)
    for place, (at, start) in enumerate([(0, 0), (0, 4), (1, 0), (1, 4)]):
        np.testing.assert_array_equal(
            found.arrays["x"][:, place], given["x"][start : start + 4, at]
        )
    np.testing.assert_array_equal(found.arrays["z"], given["z"].repeat(2))


def test_windows_overlap_and_share_memory(tiny: Network) -> None:
    x = np.arange(11.0)
    found, dropped = cut(tiny, Sequences({"x": x, "y": x, "z": np.array(1.0)}), 4, 3)
    np.testing.assert_array_equal(found.arrays["x"].T, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert dropped == 1
    assert np.shares_memory(found.arrays["x"], x)
    gaps, dropped = cut(tiny, Sequences({"x": x, "y": x}), 2, 4)
    np.testing.assert_array_equal(gaps.arrays["x"].T, [[0, 1], [4, 5], [8, 9]])
    assert dropped == 5


def test_windows_end_where_sequences_do(tiny: Network) -> None:
    given = arrays(steps=9, batch=3)
    found, dropped = cut(tiny, Sequences(given, np.array([9, 3, 5])), 4)
    assert dropped == 1 + 3 + 1
    np.testing.assert_array_equal(found.arrays["x"][:, 2], given["x"][:4, 2])
    np.testing.assert_array_equal(found.arrays["z"], given["z"][[0, 0, 2]])
    with pytest.raises(InputError, match="no sequence has a window of 10 steps: 9 at most"):
        cut(tiny, Sequences(given), 10)
    with pytest.raises(InputError, match="`stride`: expected a whole number from 1 on"):
        cut(tiny, Sequences(given), 4, -1)


def test_streams_are_cut_from_one_sequence(tiny: Network) -> None:
    x = np.arange(11.0)
    found, left = in_streams(tiny, Sequences({"x": x, "y": x, "z": np.array(1.0)}), 3)
    np.testing.assert_array_equal(found.arrays["x"].T, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    assert left == 2
    one = {"x": x[:, None], "y": x[:, None], "z": np.ones(1)}  # a batch of one
    for name, array in in_streams(tiny, Sequences(one), 3)[0].arrays.items():
        np.testing.assert_array_equal(array, {**found.arrays, "z": np.ones(1)}[name])
    with pytest.raises(InputError, match="streams are cut from one sequence"):
        in_streams(tiny, Sequences(arrays()), 2)


def test_a_list_of_sequences_is_a_batch(tiny: Network) -> None:
    x = [np.arange(3.0), np.arange(5.0), np.arange(1)]
    given, lengths = padded({"x": x, "y": [np.sin(each) for each in x]})
    assert given["x"].shape == (5, 3) and lengths.tolist() == [3, 5, 1]
    np.testing.assert_array_equal(given["x"][:, 0], [0, 1, 2, 0, 0])
    given["z"] = np.zeros(3)
    params = tiny.init(0)
    alone = [tiny.loss(params, {"x": each, "y": np.sin(each), "z": np.array(0.0)}) for each in x]
    assert tiny.loss(params, given, lengths=lengths) == pytest.approx(np.mean(alone))
    for wrong, message in (
        ({"x": []}, "expected a list with an array for each sequence"),
        ({"x": [1.0]}, r"expected arrays \[steps, ...\]"),
        ({"x": x, "y": x[:2]}, "`y` has sequences of other steps"),
    ):
        with pytest.raises(InputError, match=message):
            padded(wrong)


def test_a_fit_in_windows(tiny: Network) -> None:
    given = arrays(steps=12, batch=2)
    pieces, _ = cut(tiny, Sequences(given), 4, 2)
    by_hand = fit(tiny, pieces.arrays, batch=3, epochs=2)
    found = fit(tiny, given, batch=3, epochs=2, window=4, stride=2)
    assert found.curve() == by_hand.curve()
    on = fit(tiny, given, epochs=2, window=4, stateful=True)
    settings = Settings(optimizer("adam"), epochs=2, window=4)
    trainer = Trainer(tiny, Batches(tiny, given), settings)
    losses = [update.ended.loss for update in trainer if update.ended is not None]
    assert on.curve() == losses != found.curve()
    for wrong in ({"stride": 2}, {"stateful": True}, {"window": 4, "stride": 2, "stateful": True}):
        with pytest.raises(InputError, match="has no effect"):
            fit(tiny, given, **wrong)
