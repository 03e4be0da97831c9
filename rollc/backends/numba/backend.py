"""The Numba backend: source that Numba compiles, and machine code that is linked without it.

The compiler is imported only to compile: loading and calling a kernel do not need it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.target import host, panel_size
from rollc.backends.numba.library.team_layout import MATRIX
from rollc.backends.numba.worker_team import WorkerTeam
from rollc.backends.protocol import Array, Backend, Function, Functions, Source
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
        functions = {phase.phase: getattr(module, phase.phase) for phase in phases}
        if object_code.interpreted():
            return Functions({name: object_code.plain(own) for name, own in functions.items()})
        from numba.np.numpy_support import from_dtype

        from rollc.backends.numba.jit.routine import machine_code
        from rollc.backends.numba.library import routines  # noqa: F401  # registers them

        arguments = {phase.phase: _types(source, phase) for phase in phases}
        code = machine_code(functions, arguments, {_WORKER: from_dtype(source.dtype)})
        object_code.save(code, _files(source))
        linked = object_code.link(code)
        assert linked is not None  # this process has made it
        return _functions(source, linked)

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


def _types(source: Source, function: Phase) -> list[Any]:
    """The types of a function's arguments."""
    from numba import boolean, int64, types
    from numba.np.numpy_support import from_dtype

    number = from_dtype(source.dtype)
    kinds = {"float": number, "index": int64, "bool": boolean}
    counts = [int64] * (max(len(source.program.axes), 1) + 6)
    optional = [boolean] if function.optional else []
    buffers = {buffer.name: buffer.kind for buffer in source.program.buffers}
    arrays = (types.Array(kinds[buffers[name]], 2, "C") for name in function.buffers)
    return [*counts, *optional, *arrays]


def _module(source: Source) -> ModuleType:
    """The module of a source, under a unique name."""
    module = ModuleType(f"rollc_kernel_{source.path.stem}")
    module.__file__ = str(source.path)
    sys.modules[module.__name__] = module
    exec(compile(source.text, source.path, "exec"), module.__dict__)
    return module
