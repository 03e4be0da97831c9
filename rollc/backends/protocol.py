"""The protocol of backends: from a program to functions that can be called.

:mod:`rollc.runtime` uses backends through this protocol alone.  A function takes whole numbers and
arrays.  The numbers are the steps along each time axis, the sequences of this thread, those of the
whole batch, the steps of a block, the addresses of two control blocks (0 for none: of a worker
team, and of the packing of shared panels), which part of the function is to run
(:data:`rollc.kernel.program.WHOLE`), and whether to run its optional phase, if it has one.  Each
array has two dimensions: the rows of a buffer (steps by axis, then sequences) and the elements of
one value; a buffer of numbers is one row of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.kernel.program import Program
from rollc.support.target import Target

Array = NDArray[Any]


@runtime_checkable
class Bound(Protocol):
    """A function with its arguments, some of which can be replaced between calls."""

    def count(self, index: int, number: int) -> None:
        """Replace a number, by its index among them."""

    def give(self, index: int, array: Array) -> None:
        """Replace an array by one of the same shape, which has to live until the call."""

    def point(self, places: Sequence[tuple[int, int]], addresses: Sequence[int]) -> None:
        """Replace arrays, by their index: each by what is at an address, by its place in a row."""

    def __call__(self) -> None: ...


Function = Callable[[Sequence[int], Sequence[Array]], "Bound | Callable[[], object]"]
"""A function of numbers and arrays, which returns a function to call; only a `Bound` is kept."""


class Team(Protocol):
    """The worker threads of calls with the same phases."""

    def call(self, function: Callable[[int], None], others: int) -> None:
        """Call a function with the address of a team of ``others``, or with 0 without one."""

    def repeated(self, bound: Bound, number: int, others: int) -> Callable[[], None]:
        """A function that is called often, with such an address as its argument ``number``."""


@dataclass(frozen=True)
class Functions:
    """The functions of a loaded program, by phase.

    ``team`` makes a team of workers for large products, where the backend has such teams.
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

    ``suffix`` ends the names of its sources.  Where it is ``threaded``, calls shard large batches
    among threads.
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
        """Compile a source to its functions; the code is saved for :meth:`load`."""

    @abstractmethod
    def load(self, source: Source) -> Functions | None:
        """The functions of a source that has been compiled; None if its code was not saved."""

    def assembly(self, source: Source) -> dict[str, str]:
        """The assembly of the functions of a source, and of the library routines that they call.

        Directives ``.loc`` say of which line of the source instructions are.  Raises
        :class:`InputError` where there is none, with the reason.
        """
        raise InputError(f"the backend `{self.name}` has no assembly: it compiles nothing")

    @abstractmethod
    def panel_size(self, inner: int, width: int, itemsize: int) -> int:
        """The elements of a packed panel, which only the backend's own functions read."""

    @abstractmethod
    def packing(self, matrices: int) -> Array | None:
        """A control block by which threads pack matrices together; None if they do not."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that differs between versions of the backend whose code is incompatible."""
