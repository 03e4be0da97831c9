"""Object code: saved to a file, loaded, linked and called without the compiler.

Importing Numba takes longer than most small runs, so what it has compiled is saved as object
code, which LLVM's linker loads.  Object code is for one processor and one version of everything
that made it (:func:`code_paths`); where there is none, the source is compiled.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding
from numpy.typing import NDArray

from rollc.errors import InputError, StoreError
from rollc.support import atomic_files, fingerprint
from rollc.support.cache_folder import COMPILED, cache_folder

Array = NDArray[Any]
Bindable = Callable[[Sequence[int], Sequence[Array]], "Bound | Callable[[], object]"]
"""A function of numbers and arrays, which returns a function to call; a `Bound` can be kept."""

_INDEX = "index.json"
_made_at = (1980, 1, 1, 0, 0, 0)  # fixed, so that equal contents are equal files


@dataclass(frozen=True)
class Piece:
    """Object code that defines ``function``; other code refers to it as ``symbol``."""

    symbol: str
    function: str
    objects: tuple[bytes, ...]


@dataclass(frozen=True)
class Code:
    """The functions of a kernel, and the routines that they call.

    ``needs`` are the other symbols that the process has to define.
    """

    routines: tuple[Piece, ...]
    functions: tuple[Piece, ...]
    needs: tuple[str, ...] = ()


# Files -----------------------------------------------------------------------------------


def code_paths(folder: Path, name: str, source: bytes = b"") -> tuple[Path, ...]:
    """The files that the code of a source can be in: in its folder, or in the user's cache."""
    features = binding.get_host_cpu_features().flatten()
    host = (binding.get_process_triple(), binding.get_host_cpu_name(), features)
    made_by = (fingerprint.of_runtime(), llvmlite.__version__)
    total = hashlib.sha256(repr((*host, *made_by)).encode() + source)
    file = f"{name}.{total.hexdigest()[:16]}.zip"
    found = [folder / COMPILED / file]
    with suppress(StoreError):
        found.append(cache_folder() / "code" / file)
    return tuple(found)


def save(code: Code, paths: Sequence[Path]) -> None:
    """Save code to the first path that can be written, if there is one."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        index: dict[str, Any] = {"needs": code.needs, "file": paths[0].name}
        for part, pieces in (("routines", code.routines), ("functions", code.functions)):
            index[part] = [(piece.symbol, piece.function, len(piece.objects)) for piece in pieces]
            for piece in pieces:
                for number, object_code in enumerate(piece.objects):
                    file.writestr(_entry(f"{piece.symbol}.{number}.o"), object_code)
        file.writestr(_entry(_INDEX), json.dumps(index))
    for path in paths:
        with suppress(OSError):
            # The folder of an artefact that was removed is not made anew.
            path.parent.mkdir(parents=path.parent.name != COMPILED, exist_ok=True)
            atomic_files.replace_file(path, made.getvalue())
            return


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _made_at)


def load(paths: Sequence[Path]) -> Code | None:
    """The code that was saved; None if there is none, or it is damaged or of another source."""
    for path in paths:
        with suppress(Exception):  # reading a damaged file can raise anything
            return _read(path)
    return None


def _read(path: Path) -> Code:
    with zipfile.ZipFile(io.BytesIO(atomic_files.content(path))) as file:
        index = json.loads(file.read(_INDEX))
        if index["file"] != path.name:
            raise StoreError(f"`{path}` is the code of another source")

        def pieces(part: str) -> tuple[Piece, ...]:
            return tuple(
                Piece(
                    symbol,
                    function,
                    tuple(file.read(f"{symbol}.{number}.o") for number in range(count)),
                )
                for symbol, function, count in index[part]
            )

        return Code(pieces("routines"), pieces("functions"), tuple(index["needs"]))


# Linking ---------------------------------------------------------------------------------

_engines: list[Any] = []  # they own the code that is linked into this process


def link(code: Code) -> dict[str, Bindable] | None:
    """The functions of a kernel by name; None where the process lacks a symbol."""
    _ready()
    for routine in code.routines:
        if binding.address_of_symbol(routine.symbol) is None:
            binding.add_symbol(routine.symbol, _address(routine))
    if not all(map(binding.address_of_symbol, code.needs)):
        return None
    return {piece.symbol: partial(Bound, _address(piece)) for piece in code.functions}


@cache
def _ready() -> None:
    """Initialize LLVM, and have it resolve symbols of this process."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    _engines.append(_engine())


def _engine() -> Any:
    return binding.create_mcjit_compiler(binding.parse_assembly(""), target_machine())


def target_machine(optimised: int = 2) -> Any:
    """The code generator for this processor, with optimisation up to 3."""
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        reloc="default",
        codemodel="jitdefault",
        jit=True,
        opt=optimised,
    )


def _address(piece: Piece) -> int:
    """The address of a piece's function, after linking it into the process."""
    engine = _engine()
    for object_code in piece.objects:
        engine.add_object_file(binding.ObjectFileRef.from_data(object_code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(piece.function))


class Bound:
    """A function of a kernel with its arguments, of which some can be replaced.

    Machine code takes them as one row of integers: the numbers, then for each array the
    fields of Numba's array structure.
    """

    def __init__(self, code: int, numbers: Sequence[int], arrays: Sequence[Array]) -> None:
        self._call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(code)
        fields = [field for array in arrays for field in _fields(array)]
        self._row = (ctypes.c_int64 * (len(numbers) + len(fields)))(*numbers, *fields)
        self._first = len(numbers) + _DATA

    def count(self, index: int, number: int) -> None:
        """Replace a number, by its index among them."""
        self._row[index] = number

    def give(self, index: int, array: Array) -> None:
        """Replace an array by one of the same shape, which has to live until the call."""
        self._row[self._first + WORDS * index] = _data(array)

    def point(self, places: Sequence[tuple[int, int]], addresses: Sequence[int]) -> None:
        """Replace arrays, by their index, by what is at addresses, and has to live until then."""
        row, first = self._row, self._first
        for index, place in places:
            row[first + WORDS * index] = addresses[place]

    def __call__(self) -> None:
        if self._call(self._row):
            raise RuntimeError("a kernel stopped")


WORDS = 9  # of eight bytes: the fields of an array
_DATA = 4  # the one with the address of the first element


def _fields(array: Array) -> tuple[int, ...]:
    """Numba's array structure: no owner, no parent; size, itemsize, address; shape; strides."""
    return (0, 0, array.size, array.itemsize, _data(array), *array.shape, *array.strides)


_from_buffer: Callable[[Any], Any] = ctypes.c_char.from_buffer


def _data(array: Array) -> int:
    """The address of an array's first element."""
    try:
        return ctypes.addressof(_from_buffer(array))
    except (TypeError, ValueError):  # it is read-only, or empty
        return int(array.ctypes.data)


def start_compiler() -> None:
    """Import Numba.  Raises :class:`InputError` where its settings do not allow compilation."""
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        if os.environ.get(name):
            raise InputError(f"${name} is set: code is for the processor that it runs on; unset it")
    try:
        import numba
    except ValueError as error:
        raise InputError(f"Numba does not start: {error} See the environment's NUMBA_*") from error
    if getattr(numba.config, "DISABLE_JIT", False) and not interpreted():
        raise InputError(
            "a file `.numba_config.yaml` says `disable_jit`: set $NUMBA_DISABLE_JIT in its place"
        )


def interpreted() -> bool:
    """Whether kernels run as plain Python: Numba's own setting."""
    try:
        return bool(int(os.environ.get("NUMBA_DISABLE_JIT", "0")))
    except ValueError:  # Numba warns of it, and takes the default
        return False
