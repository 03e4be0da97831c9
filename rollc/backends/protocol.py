"""What a backend is: the one way from a program to functions that can be called.

Whatever calls kernels (:mod:`rollc.runtime`) knows backends by this alone.  A function takes whole
numbers and arrays.  The numbers are the steps along each time axis, the sequences of this call, the
sequences in all, the steps of a block, the addresses of what threads agree in (0 for none: a team,
and the packing of common panels), and whether to do the function's optional phase, if it has one.
Each array has two dimensions: the rows of a buffer (steps by axis, then sequences) and the elements
of one value; a buffer of numbers is one row of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rollc.kernel.program import Program
from rollc.support.target import Target

Array = NDArray[Any]


@runtime_checkable
class Bound(Protocol):
    """A function with its arguments, which may be called again with some of them exchanged."""

    def count(self, index: int, number: int) -> None:
        """Replace a number, by its index among them."""

    def give(self, index: int, array: Array) -> None:
        """Replace an array by one of the same shape, which has to live until the call."""

    def __call__(self) -> None: ...


Function = Callable[[Sequence[int], Sequence[Array]], "Bound | Callable[[], object]"]
"""A function of numbers and arrays: what it gives is to be called, and kept only if `Bound`."""


class Team(Protocol):
    """Threads that help in calls of one kind."""

    def call(self, function: Callable[[int], None], others: int) -> None:
        """A function of a team's address, in which ``others`` help, or of 0 where none do."""


@dataclass(frozen=True)
class Functions:
    """The functions of a loaded program, by phase.

    ``team`` makes threads that help with large products, where the backend has any.
    """

    phases: Mapping[str, Function]
    team: Callable[[], Team] | None = None


@dataclass(frozen=True)
class Source:
    """The source of a program in one precision, and the file that it is in.

    The file need not be there while nothing is compiled from it.
    """

    program: Program
    dtype: np.dtype[Any]
    path: Path
    text: str


class Backend(ABC):
    """A way to run programs.

    ``suffix`` ends the names of its sources.  Where it is ``threaded`` calls share out large
    batches to threads.
    """

    name: str
    suffix: str
    threaded: bool
    target: Target

    @abstractmethod
    def emit(self, program: Program, dtype: str) -> str:
        """The source of a program's functions, in float32 or float64."""

    @abstractmethod
    def compile(self, source: Source) -> Functions:
        """The functions of a source, which is compiled now; the code is kept for :meth:`load`."""

    @abstractmethod
    def load(self, source: Source) -> Functions | None:
        """The functions of a source that has been compiled, if its code was kept."""

    @abstractmethod
    def panel_size(self, inner: int, width: int, itemsize: int) -> int:
        """The elements of a packed panel, which only the backend's own functions read."""

    @abstractmethod
    def packing(self, matrices: int) -> Array | None:
        """Memory in which threads agree on who packs which of some matrices, if they do."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that is another one where kept code may be of no use."""
