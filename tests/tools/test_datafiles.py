"""Arrays from files: what is right is read, and what is wrong is named."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.errors import InputError
from rollc.tools.datafiles import read_npz, write_npz


def npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_arrays_come_back_as_they_were() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3), "~c": np.array([True])}
    found = read_npz(write_npz(arrays), "f.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_the_same_arrays_give_the_same_bytes() -> None:
    assert write_npz({"a": np.ones(3)}) == write_npz({"a": np.ones(3)})


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(write_npz({"a": np.ones(3)}))
    np.testing.assert_array_equal(np.load(tmp_path / "f.npz")["a"], np.ones(3))


def test_nothing_is_unpickled() -> None:
    content = io.BytesIO()
    np.savez(content, allow_pickle=True, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"`a` in `f\.npz` holds neither numbers"):
        read_npz(content.getvalue(), "f.npz")


def members(*named: tuple[str, bytes], sizes: dict[str, int] | None = None) -> bytes:
    """An archive; ``sizes`` are what its members say that they take."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in named:
            archive.writestr(name, member)
        for name, size in (sizes or {}).items():
            archive.getinfo(name).file_size = size
    return content.getvalue()


def npy(header: dict[str, object], content: bytes = b"") -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, header)  # type: ignore[arg-type]
    return made.getvalue() + content


def header(shape: object, dtype: object = "<f8") -> dict[str, object]:
    return {"descr": dtype, "fortran_order": False, "shape": shape}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (members(("a.txt", b"text")), "`a.txt` in `f.npz` is no array"),
        (members(("a.npy", b"text")), "`a` in `f.npz` is no array"),
        (members(("a.npy", b"\x93NUMPY")), "has no header that can be read"),
        (members(("a.npy", b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16)), "no header that can"),
        (members(("a.npy", npy(header((10**13,))))), "which takes 80000000000000 bytes, and has 0"),
        (members(("a.npy", npy(header((-1,), "<f8"), b"12345678"))), "should be of shape"),
        (members(("a.npy", npy(header((2**62, 4))))), "should be of shape"),
        (members(("a.npy", npy(header((0, 2**70))))), "cannot"),
        (members(("a.npy", npy(header((1,), "|O"), b"cos\nsystem\n"))), "neither numbers nor"),
        (members(("a.npy", npy(header((1,), [("b", "<f8")]), b"12345678"))), "neither numbers"),
        (members(("a.npy", npy(header((1,)), b"1")), sizes={"a.npy": 10**13}), "10,000.0 GB"),
        (members(("a.npy", npy(header((1,)), b"12345678")), sizes={"a.npy": 60}), "cannot read"),
        (members(("a.npy", npy(header((1,)), bytes(8))), ("a.npy", b"")), "holds `a` twice"),
    ],
)
def test_no_more_is_read_than_there_is(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=r"`f\.npz`") as caught:
        read_npz(content, "f.npz")
    assert message in str(caught.value)


def test_orders_and_types_of_numbers() -> None:
    arrays = {
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "none": np.zeros((0, 3), "f2"),
        "number": np.array(7, np.uint8),
    }
    found = read_npz(npz(**arrays), "f.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        assert found[name].flags.writeable


@pytest.mark.parametrize("array", [np.array(["text"]), np.array(["2020"], "M8")])
def test_only_numbers_are_read(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"`a` in `f\.npz` holds neither numbers"):
        read_npz(npz(a=array), "f.npz")


def test_a_lone_array_is_told_apart() -> None:
    content = io.BytesIO()
    np.save(content, np.ones(3))
    with pytest.raises(InputError, match="one array without a name"):
        read_npz(content.getvalue(), "f.npz")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_input_error(data: st.DataObject) -> None:
    content = bytearray(npz(a=np.arange(20.0), b=np.ones((2, 2), np.int32)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        found = read_npz(bytes(content), "f.npz")
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
