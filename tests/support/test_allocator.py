"""The memory of results: used again when nobody holds it, and never while somebody does."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.support import allocator
from rollc.support.allocator import LINE, SPARES, Lender, empty, within
from rollc.support.allocator import owner as make_owner

FOUR = np.dtype(np.float32)
SPEC = "net double\ninput x: [3]\ny = 2 * x\noutput y"


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (7, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_it_begins_at_a_cache_line(shape: tuple[int, ...], dtype: type) -> None:
    array = empty(shape, np.dtype(dtype))
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.ctypes.data % LINE == 0
    array[...] = 1


def test_all_of_an_array_lies_in_its_memory() -> None:
    whole = make_owner((5,), FOUR)
    array = within(whole, (5,), FOUR)
    assert whole.ctypes.data <= array.ctypes.data
    assert array.ctypes.data + array.nbytes <= whole.ctypes.data + whole.nbytes


def test_it_is_lent_again_only_when_no_view_is_left() -> None:
    lender = Lender()
    first = lender.lend("y", (40, 200), FOUR)
    place = first.ctypes.data
    view = first.T[1:, ::2]
    del first
    second = lender.lend("y", (40, 200), FOUR)
    assert second.ctypes.data != place
    bytes_ = memoryview(view)
    del view
    third = lender.lend("y", (40, 200), FOUR)
    assert third.ctypes.data not in (place, second.ctypes.data)
    del bytes_, third, second
    gc.collect()
    again = {lender.lend("y", (40, 200), FOUR).ctypes.data for _ in range(4)}
    assert len(again) == 1


def test_a_loop_that_keeps_the_last_result_takes_two_memories(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def counted(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> "np.ndarray[Any, Any]":
        made.append(shape)
        return make_owner(shape, dtype)

    monkeypatch.setattr(allocator, "owner", counted)
    lender = Lender()
    kept = None
    for _ in range(6):
        array = lender.lend("y", (10_000,), FOUR)
        kept = array
    assert kept is not None
    assert len(made) == 2


def test_no_more_is_kept_for_another_time_than_a_loop_needs() -> None:
    lender = Lender()
    arrays = [lender.lend("y", (10_000,), FOUR) for _ in range(SPARES + 3)]
    memories = [weakref.ref(memory_of(array)) for array in arrays]
    del arrays
    gc.collect()
    assert [memory() is not None for memory in memories] == [False] * 3 + [True] * SPARES


def memory_of(array: Any) -> Any:
    while array.base is not None:
        array = array.base
    return array


def test_another_size_has_other_memory() -> None:
    lender = Lender()
    assert lender.lend("y", (5000,), FOUR).nbytes == 20_000
    assert lender.lend("y", (10_000,), FOUR).nbytes == 40_000


@pytest.mark.parametrize("batch", [2, 64])
def test_results_stay_what_they_are(batch: int) -> None:
    network, _ = build_source(SPEC, "double.roll", dtype="float32")
    kept = []
    for number in range(5):
        x = np.full((200, batch, 3), number, dtype=np.float32)
        kept.append(network.forward({}, {"x": x})["y"])
    for number, y in enumerate(kept):
        np.testing.assert_array_equal(y, 2 * number)
