"""The parts of data that training reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.batches import Batches, Windows, streams
from rollc.training.data import Sequences, split
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
    cut = Windows(tiny, given, 4)
    found = [cut.at(number) for number in range(len(cut))]
    assert [len(part["x"]) for part in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part["y"] for part in found]), given["y"])
    assert all(part["z"] is cut.arrays["z"] for part in found)


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
