"""Complex arrays by name, from and to the arrays of their parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError, RollcError
from rollc.ir.names import IMAGINARY, REAL, STATE, whole_names
from rollc.network.arrays import Spec

Halves = Callable[[str, Any], tuple[Any, Any]]
COMPLEX = {"float32": "complex64", "float64": "complex128"}


@dataclass(frozen=True)
class Parts:
    """The complex values of a network: ``whole`` by the names of their parts."""

    whole: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.whole.values())

    def split(self, arrays: Any, halves: Halves | None = None) -> Any:
        """Arrays by name, complex ones as their parts; a real array has an imaginary part of 0.

        ``halves`` gives the parts of an array by its name, where arrays are none of NumPy's.
        """
        halves = _halves if halves is None else halves
        if not self.whole or not isinstance(arrays, Mapping):
            return arrays
        found: dict[str, Any] = {}
        for name, value in arrays.items():
            if name not in self.names:
                found[name] = value
                continue
            found[name + REAL], found[name + IMAGINARY] = halves(name, value)
        return found

    def joined(
        self, arrays: Mapping[str, Any], join: Callable[[Any, Any], Any] | None = None
    ) -> dict[str, Any]:
        """Arrays by name, with complex ones in the place of parts, as ``join`` makes them."""
        join = _complex if join is None else join
        found: dict[str, Any] = {}
        for name, array in arrays.items():
            whole = self.whole.get(name)
            if whole is None or not {whole + REAL, whole + IMAGINARY} <= arrays.keys():
                found[name] = array
            elif whole not in found:
                found[whole] = join(arrays[whole + REAL], arrays[whole + IMAGINARY])
        return found

    def specs(self, specs: Mapping[str, Spec]) -> dict[str, Spec]:
        """What arrays must be, with complex ones in the place of parts."""
        found: dict[str, Spec] = {}
        for name, spec in specs.items():
            whole = self.whole.get(name)
            if whole is None:
                found[name] = spec
            else:
                found[whole] = replace(spec, name=whole, kind="complex", dtype=COMPLEX[spec.dtype])
        return found

    def split_names(self, names: Any) -> Any:
        """Names, with those of the parts in the place of complex values."""
        if not self.whole:
            return names
        if isinstance(names, str):
            return [names + REAL, names + IMAGINARY] if names in self.names else names
        try:
            names = [*names]
        except TypeError:  # it has nothing to go through, and is refused further on
            return names
        return [
            part
            for name in names
            for part in (
                (name + REAL, name + IMAGINARY)
                if isinstance(name, str) and name in self.names
                else (name,)
            )
        ]

    @contextmanager
    def in_messages(self) -> Iterator[None]:
        """Errors name the complex values, not their parts."""
        try:
            yield
        except RollcError as error:
            error.args = tuple(
                _renamed(each) if isinstance(each, str) else each for each in error.args
            )
            raise


def parts_of(names: Iterable[str]) -> Parts:
    """The complex values whose parts are among the names, and the states of these."""
    found = whole_names(names)
    return Parts({**found, **{STATE + part: STATE + name for part, name in found.items()}})


def _halves(name: str, value: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        array = np.asarray(value)
    except Exception as error:  # of a foreign array it may be any
        raise InputError(f"`{name}`: not an array ({error})") from None
    if array.dtype.kind not in "fiubc":
        raise InputError(f"`{name}`: expected complex numbers, found {array.dtype}")
    real, imaginary = (np.ascontiguousarray(part) for part in (array.real, array.imag))
    return real.reshape(array.shape), imaginary.reshape(array.shape)


def _complex(real: NDArray[Any], imaginary: NDArray[Any]) -> NDArray[Any]:
    found = np.empty(real.shape, COMPLEX[str(real.dtype)])
    found.real, found.imag = real, imaginary
    return found


_BOTH = re.compile(rf"`([^`]+){REAL}`, `\1{IMAGINARY}`")
_EITHER = re.compile(rf"`([^`]+)(?:{REAL}|{IMAGINARY})`(: expected )?(float(?= |\d| \[))?(32|64)?")


def _renamed(text: str) -> str:
    text = _BOTH.sub(r"`\1`", text)
    return _EITHER.sub(
        lambda found: f"`{found[1]}`{found[2] or ''}{'complex' if found[3] else ''}", text
    )
