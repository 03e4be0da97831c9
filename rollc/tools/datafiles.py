"""Arrays in ``.npz`` and ``.npy`` files.

Files are untrusted: nothing in them is executed, and whatever is wrong with one is an
:class:`InputError` that names the file.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError

Array = NDArray[Any]

LONGEST_TABLE = 256 * 2**20
LONGEST_LINE = 16 * 2**20
"""The bytes of a table, and of a line in one."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is that of an empty one
_NPY = b"\x93NUMPY"


def read_npz(content: bytes, file: str) -> dict[str, Array]:
    """The arrays of an ``.npz`` file by name; they hold numbers or truth values.

    Nothing is unpickled, and no more is unpacked than :func:`most_bytes`.
    """
    if content.startswith(_NPY):
        raise InputError(f"`{file}` holds one array without a name; save it with `numpy.savez`")
    if not content.startswith(_ZIP):
        raise InputError(f"`{file}` is not an .npz file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _members(archive, file)
    except InputError:
        raise
    except Exception as error:  # the formats' readers raise whatever comes up
        raise InputError(f"cannot read `{file}` as .npz: {error}") from error


def read_npy(content: bytes, file: str) -> Array:
    """The array of an ``.npy`` file; nothing is unpickled."""
    return _array(content, f"the array of `{file}`")


def _members(archive: zipfile.ZipFile, file: str) -> dict[str, Array]:
    members = archive.infolist()
    size = sum(member.file_size for member in members)  # no more is unpacked than they say
    if size > most_bytes():
        raise InputError(
            f"`{file}` says that it holds {size / 1e9:,.1f} GB: that is more than the"
            f" {most_bytes() / 1e9:.3g} GB that are read, a quarter of this machine's memory"
        )
    arrays: dict[str, Array] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise InputError(f"`{name:.60}` in `{file}` is no array: its name does not end in .npy")
        if name in arrays:
            raise InputError(f"`{file}` holds `{name:.60}` twice")
        with archive.open(member) as opened:
            unpacked = opened.read(member.file_size + 1)  # at the end its checksum is compared
        arrays[name] = _array(unpacked, f"`{name:.60}` in `{file}`")
    return arrays


def _array(content: bytes, what: str) -> Array:
    """An array from the bytes of an ``.npy`` file."""
    stream = io.BytesIO(content)
    if not content.startswith(_NPY):
        raise InputError(f"{what} is no array")
    try:
        read = np.lib.format.read_array_header_1_0
        if np.lib.format.read_magic(stream) != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(stream)
    except Exception as error:
        raise InputError(f"{what} has no header that can be read: {error}") from error
    if dtype.kind not in "biufc" or dtype.shape:
        raise InputError(
            f"{what} holds neither numbers nor truth values: its type is `{dtype!s:.60}`"
        )
    found, expected = len(content) - stream.tell(), prod(shape) * dtype.itemsize
    if found != expected or min(shape, default=0) < 0:
        raise InputError(
            f"{what} should be of shape {list(shape)!s:.60}, which takes {expected} bytes,"
            f" and has {found}"
        )
    numbers = np.frombuffer(content, dtype, offset=stream.tell()).copy()
    return numbers.reshape(shape, order="F" if by_columns else "C")


def most_bytes() -> int:
    """The most that a file of data may take: a quarter of this machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError):
        return 2**40


def is_npz(content: bytes, file: str) -> bool:
    """Whether a file is meant as ``.npz``, and not as a table."""
    return file.endswith((".npz", ".npy")) or content.startswith((*_ZIP, _NPY))


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """The content of an ``.npz`` file; the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, found in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(found), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return content.getvalue()


def names(arrays: Iterable[str]) -> str:
    """A list of names for a message."""
    return ", ".join(f"`{name}`" for name in arrays) or "none"
