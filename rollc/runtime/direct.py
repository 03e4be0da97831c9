"""Calls of one size, in one thread, that read and write memory where it lies.

A call of :class:`~rollc.runtime.kernel.Kernel` looks at arrays and makes arrays, and for a small
network that takes longer than its kernel.  Who calls with memory of his own, such as tensors,
tells addresses here: all else is as it was in the call before.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.backends.protocol import Bound
from rollc.backends.protocol import Function as Bind
from rollc.ir.graph import BATCH
from rollc.kernel.program import Function, Result
from rollc.runtime.frames import SMALL, Argument
from rollc.runtime.kernel import Kernel
from rollc.support.allocator import SPARES, empty

Array = NDArray[Any]
Key = tuple[str, str]
"""The kind (output, loss, gradient) and the label of a result."""


@dataclass(frozen=True)
class Turn:
    """Some phases that run together, such as a forward or a backward pass.

    Its caller tells the addresses of ``leaves``, for this turn and those after it, and takes the
    ``results``.
    """

    phases: Sequence[str]
    leaves: Sequence[str]
    results: Sequence[Key]


class Unfit(Exception):
    """A kernel, or a size, for which there are no such calls."""


class Direct:
    """A kernel for calls of one size, in turns; several threads may call it at once.

    ``written`` are the results of each turn that are written to memory of the caller's, rows of
    the network's own shape one after the other; the others are copied from :attr:`Tape.views`.
    Raises :class:`Unfit` where these would take much memory or several threads, so that it is not
    worth the while, and where a leaf is not read where it lies.
    """

    def __init__(
        self, kernel: Kernel, steps: Mapping[str, int], batch: int, turns: Sequence[Turn]
    ) -> None:
        memory, program = kernel.memory, kernel.program
        known: dict[Key, Result] = {(each.kind, each.label): each for each in program.results}
        self._kernel, self._sizes = kernel, {**steps, BATCH: batch}
        self._phases = tuple(phase for turn in turns for phase in turn.phases)
        self._functions = [one for one in program.functions if one.phase in self._phases]
        wanted = {key for turn in turns for key in turn.results}
        leaves = {name for turn in turns for name in turn.leaves}
        size = kernel.bytes(self._sizes)
        if not wanted <= known.keys() or memory.leaves - leaves or size > SMALL:
            raise Unfit
        if len(kernel.sharding.shares(steps, batch)) > 1:
            raise Unfit
        self._wanted = {key: known[key] for key in wanted}
        frame = memory.frame(self._sizes)
        if frame.copied or kernel.team(frame, self._phases) is not None:
            raise Unfit
        rows = {each[0]: each for own in frame.results.values() for each in own}
        if any(result.ref.buffer not in rows for result in self._wanted.values()):
            raise Unfit  # it is a leaf, or a buffer of the kernel's own
        self.written = [
            [key for key in turn.results if self._is_alone(known[key], rows, turn)]
            for turn in turns
        ]
        places = [
            [*turn.leaves, *(known[key].ref.buffer for key in own)]
            for turn, own in zip(turns, self.written, strict=True)
        ]
        told = {name for each in places for name in each}
        self._told = [*frame.given, *(own for name, own in rows.items() if name in told)]
        self._kept = [own for name, own in rows.items() if name not in told]
        self.points = [[*self._points(own)] for own in places]
        self.order = [
            [place for place, each in enumerate(self._functions) if each.phase in turn.phases]
            for turn in turns
        ]
        self._idle = [self._made(frame.arrays)]
        self._most = max(SPARES, SMALL // max(size, 1))

    def tape(self) -> Tape:
        """The memory of a call."""
        try:
            own = self._idle.pop()
        except IndexError:  # none is idle
            own = self._made(self._kernel.memory.frame(self._sizes).arrays)
        return Tape(self, own)

    def give_back(self, own: Own) -> None:
        """Have another call use the memory of one that is over."""
        if len(self._idle) < self._most:
            self._idle.append(own)

    def _is_alone(self, result: Result, rows: Mapping[str, Argument], turn: Turn) -> bool:
        """Whether a result is all of a buffer, which is known to its own turn alone."""
        name = result.ref.buffer
        if any(name in one.buffers for one in self._functions if one.phase not in turn.phases):
            return False
        if [each.ref.buffer for each in self._kernel.program.results].count(name) > 1:
            return False
        array = np.empty(rows[name][1])
        view = self._kernel.memory.view(result, array, self._sizes)
        return view.size == array.size and view.flags.c_contiguous

    def _points(self, names: Sequence[str]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Each function that has some arrays, with their index there and their place in names."""
        known = {name: place for place, name in enumerate(names)}
        for place, one in enumerate(self._functions):
            own = [(i, known[name]) for i, name in enumerate(one.buffers) if name in known]
            if own:
                yield place, own

    def _made(self, frame: Mapping[str, Array]) -> Own:
        kept = {name: empty(shape, dtype) for name, shape, dtype in self._kept}
        # Of what is told by an address there is a shape in the row.
        like = {name: np.empty(shape, dtype) for name, shape, dtype in self._told}
        bound = [self._bound(each, {**frame, **kept, **like}) for each in self._functions]
        views = {
            key: self._kernel.memory.view(result, kept[result.ref.buffer], self._sizes)
            for key, result in self._wanted.items()
            if result.ref.buffer in kept
        }
        return Own({**frame, **kept}, bound, views)

    def _bound(self, function: Function, arrays: Mapping[str, Array]) -> Bound | _Unbound:
        kernel, batch = self._kernel, self._sizes[BATCH]
        steps = [self._sizes[axis] for axis in kernel.program.axes or ("t",)]
        block, part = kernel.program.block_steps(batch), kernel.memory.part
        optional = [function.optional in self._phases] if function.optional else []
        numbers = [*steps, batch, batch, block, 0, 0, part, *optional]
        own = [arrays[name] for name in function.buffers]
        bind = kernel.functions.phases[function.phase]
        made = bind(numbers, own)
        return made if isinstance(made, Bound) else _Unbound(bind, numbers, own)


class _Unbound:
    """A function that a backend does not bind, with its arguments."""

    def __init__(self, bind: Bind, numbers: Sequence[int], arrays: Sequence[Array]) -> None:
        self._bind, self._numbers, self._arrays = bind, numbers, [*arrays]

    def point(self, places: Sequence[tuple[int, int]], addresses: Sequence[int]) -> None:
        for index, place in places:
            like = self._arrays[index]
            memory: Any = (ctypes.c_char * like.nbytes).from_address(addresses[place])
            self._arrays[index] = np.frombuffer(memory, like.dtype).reshape(like.shape)

    def __call__(self) -> None:
        self._bind(self._numbers, self._arrays)()


@dataclass(frozen=True)
class Own:
    """The arrays of a call, its functions with their arguments, and views of results."""

    arrays: Mapping[str, Array]
    bound: Sequence[Bound | _Unbound]
    views: Mapping[Key, Array]


class Tape:
    """One call: its turns, one after the other, of which the last may run any number of times."""

    __slots__ = ("_direct", "_own", "lock", "views")

    def __init__(self, direct: Direct, own: Own) -> None:
        self._direct, self._own = direct, own
        self.views = own.views
        self.lock = threading.Lock()

    def __del__(self) -> None:
        self._direct.give_back(self._own)

    def run(self, turn: int, addresses: Sequence[int]) -> None:
        """Run a turn, with the addresses of its leaves, then of the results that it writes.

        What lies there has to live until the last turn that reads it is over.  Who may not be the
        only one to call holds the ``lock`` until results are copied.
        """
        direct, bound = self._direct, self._own.bound
        for place, own in direct.points[turn]:
            bound[place].point(own, addresses)
        for place in direct.order[turn]:
            bound[place]()
