"""The reference backend: programs are interpreted in NumPy, slowly, and nothing is compiled.

It shares no code with another backend, so a kernel that is wrong here has a wrong program.  Memory
that no function has written holds NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rollc.backends.protocol import Array, Backend, Functions, Source
from rollc.ir.graph import BATCH
from rollc.kernel.interpretation.interpreter import Interpreter, undefined
from rollc.kernel.interpretation.storage import Storage
from rollc.kernel.interpretation.walk import OWN
from rollc.kernel.program import PROLOGUE, REST, WHOLE, Function, Program, used, writes
from rollc.kernel.text import print_program
from rollc.support.target import GENERIC


class ReferenceBackend(Backend):
    """The interpreter of programs, behind the protocol."""

    name = "reference"
    suffix = ".txt"
    threaded = False
    target = GENERIC

    def emit(self, program: Program, dtype: str) -> str:
        return print_program(program)

    def compile(self, source: Source) -> Functions:
        return self.load(source)

    def load(self, source: Source) -> Functions:
        own = {one.phase: partial(_bind, source, one) for one in source.program.functions}
        return Functions(own)

    def panel_size(self, inner: int, width: int, itemsize: int) -> int:
        return inner * width

    def packing(self, matrices: int) -> None:
        return None

    def fingerprint(self) -> str:
        return ""


def _bind(
    source: Source, function: Function, numbers: Sequence[int], arrays: Sequence[Array]
) -> Callable[[], None]:
    """A function with its arguments."""
    program = source.program
    sizes = dict(zip((*(program.axes or ("t",)), BATCH), numbers, strict=False))
    phases = {function.phase, *([function.optional] if function.optional and numbers[-1] else [])}
    part = numbers[len(sizes) + 4]
    kept = {ref.buffer for one in function.prologue for ref in writes(one)} if part else set()
    taken = used(
        {WHOLE: function.statements, PROLOGUE: function.prologue, REST: function.body}[part]
    )
    earlier = program.functions[: program.functions.index(function)]
    written = {name for one in earlier for name in one.buffers}

    def run() -> None:
        storage = Storage(program, sizes, partial(undefined, source.dtype))
        given = dict(zip(function.buffers, arrays, strict=True))
        for name, array in given.items():
            buffer = storage.buffers[name]
            if name not in taken or (buffer.role in OWN and not (name in kept and part == REST)):
                continue
            if buffer.role != "leaf" and name not in written and name not in kept:
                array[...] = undefined(source.dtype, buffer, array.shape)
            storage.arrays[name] = array.reshape((*storage.lead(buffer), -1))
        interpreter = Interpreter(storage, source.dtype)
        interpreter.part = part
        interpreter.run(phases)
        for name, array in given.items():
            # A result can be a view of it, and what the prologue writes is kept.
            if name in kept or (storage.buffers[name].role == "scratch" and part != PROLOGUE):
                array[...] = storage.arrays[name].reshape(array.shape)

    return run
