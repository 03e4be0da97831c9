"""The Numba backend: source that Numba compiles, and machine code that is linked without it.

The compiler is imported only to compile: loading and calling a kernel do not need it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rollc.backends.numba.entry_points import Part, numbers, parts
from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.target import host, panel_size
from rollc.backends.numba.library.team_layout import MATRIX
from rollc.backends.numba.worker_team import WorkerTeam
from rollc.backends.protocol import Array, Backend, Function, Functions, Source
from rollc.errors import InputError
from rollc.kernel.program import Function as Phase
from rollc.kernel.program import Program
from rollc.support.allocator import empty

_WORKER = "work_for_team"  # the routine that the threads of a worker team run


class NumbaBackend(Backend):
    """Python source for Numba, which runs as plain Python too where Numba is switched off."""

    name = "numba"
    suffix = ".py"
    threaded = True

    def __init__(self) -> None:
        self.target = host()

    def emit(self, program: Program, dtype: str) -> str:
        from rollc.backends.numba.codegen.module import emit

        return emit(program, dtype, self.target)

    def compile(self, source: Source) -> Functions:
        object_code.start_compiler()
        module = _module(source)
        phases = source.program.functions
        if object_code.interpreted():
            return Functions({one.phase: partial(_plain, source, module, one) for one in phases})
        from numba.np.numpy_support import from_dtype

        from rollc.backends.numba.jit.routine import machine_code
        from rollc.backends.numba.library import routines  # noqa: F401  # registers them

        entries = [_entry(source, module, phase) for phase in phases]
        code = machine_code(entries, {_WORKER: from_dtype(source.dtype)})
        object_code.save(code, _files(source))
        linked = object_code.link(code)
        assert linked is not None  # this process has made it
        return _functions(source, linked)

    def assembly(self, source: Source) -> dict[str, str]:
        if object_code.interpreted():
            raise InputError("kernels run as plain Python here: $NUMBA_DISABLE_JIT is set")
        object_code.start_compiler()
        from numba.np.numpy_support import from_dtype

        from rollc.backends.numba.jit.routine import assembly

        module = _module(source)
        entries = [_entry(source, module, phase) for phase in source.program.functions]
        return assembly(entries, from_dtype(source.dtype))

    def load(self, source: Source) -> Functions | None:
        code = None if object_code.interpreted() else object_code.load(_files(source))
        linked = None if code is None else object_code.link(code)
        return None if linked is None else _functions(source, linked)

    def panel_size(self, inner: int, width: int, itemsize: int) -> int:
        return panel_size(inner, width, itemsize)

    def packing(self, matrices: int) -> Array | None:
        if object_code.interpreted():
            return None
        progress = empty((1, MATRIX * matrices), np.dtype(np.int64))
        progress[...] = 0
        return progress

    def fingerprint(self) -> str:
        return " ".join(version(library) for library in ("numba", "llvmlite"))


def _functions(source: Source, linked: Mapping[str, Function]) -> Functions:
    """The functions of a program, and the maker of their worker teams."""
    return Functions(linked, partial(WorkerTeam, linked[_WORKER], empty((1, 1), source.dtype)))


def _files(source: Source) -> tuple[Path, ...]:
    """The files that the code of a source can be kept in."""
    made_from = f"{source.dtype}\n{source.text}".encode()
    return object_code.code_paths(source.path.parent, source.path.stem, made_from)


def _entry(source: Source, module: ModuleType, phase: Phase) -> Any:
    """An entry point to be compiled."""
    from numba import boolean, int64, types
    from numba.np.numpy_support import from_dtype

    from rollc.backends.numba.jit.routine import Entry, EntryCall

    number = from_dtype(source.dtype)
    kinds = {"float": number, "index": int64, "bool": boolean}
    own = numbers(source.program, phase)
    found = {name: boolean if name == phase.optional else int64 for name in own}
    buffers = {buffer.name: buffer.kind for buffer in source.program.buffers}
    arrays = (types.Array(kinds[buffers[name]], 2, "C") for name in phase.buffers)
    calls = [
        EntryCall(
            getattr(module, part.name),
            _places(own, phase, part),
            (own.index("part"), part.without),
        )
        for part in parts(source.program, phase)
    ]
    return Entry(phase.phase, [*found.values(), *arrays], calls)


def _places(own: Sequence[str], phase: Phase, part: Part) -> list[int]:
    """The arguments of a function of the source among those of its entry point."""
    arrays = (len(own) + phase.buffers.index(name) for name in part.buffers)
    return [*map(own.index, part.numbers), *arrays]


def _plain(
    source: Source,
    module: ModuleType,
    phase: Phase,
    given: Sequence[int],
    arrays: Sequence[Array],
) -> Callable[[], None]:
    """An entry point in Python, with its arguments."""
    own = numbers(source.program, phase)
    part_to_run, row = given[own.index("part")], [*given, *arrays]
    calls = [
        partial(getattr(module, part.name), *(row[place] for place in _places(own, phase, part)))
        for part in parts(source.program, phase)
        if part.without != part_to_run
    ]

    def run() -> None:
        for call in calls:
            call()

    return run


def _module(source: Source) -> ModuleType:
    """The module of a source, under a unique name."""
    module = ModuleType(f"rollc_kernel_{source.path.stem}")
    module.__file__ = str(source.path)
    sys.modules[module.__name__] = module
    exec(compile(source.text, source.path, "exec"), module.__dict__)
    return module
