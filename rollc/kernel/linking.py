"""How a kernel calls a routine of the library without holding a copy of it.

Numba would link a routine's code into each kernel that calls it, and optimise it again
there.  Instead, a routine is compiled by itself, and a kernel refers to it by a symbol
that is known before the kernel is loaded.  ``link`` makes the symbols known.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding
from numba import boolean, config, float64, int64, njit, types
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

Array = Any

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    # Sums may be reordered, so that they vectorise.
    "fastmath": {"contract", "reassoc"},
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
_routines: dict[str, _Routine] = {}


def _at(typing_context: Any, index: Any) -> Any:
    return types.uint64(int64), lambda context, builder, signature, values: values[0]


def plain_at(index: int) -> int:
    """An index that is not negative: nothing is counted from an array's end.

    With a plain index Numba asks for its sign, and loops with that question stay scalar.
    """
    return index


at: Any = plain_at if config.DISABLE_JIT else intrinsic(_at)  # type: ignore[attr-defined]


class Distinct(Compiler):
    """Compiles functions whose arrays are all different: none is written through another."""

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        return super().define_pipelines()  # type: ignore[no-untyped-call]


class _Routine:
    """A routine, and its compiled code for each precision."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.dispatcher: Any = njit(**_OPTIONS)(function)
        signature = inspect.signature(function)
        self.parameters = [parameter.annotation for parameter in signature.parameters.values()]
        self.returns = signature.return_annotation
        self.linked: set[str] = set()

    def arguments(self, number: Any) -> tuple[Any, ...]:
        """The types of the arguments for a precision: the annotations say which."""
        known = {
            "Array": types.Array(number, 2, "C"),
            "int": int64,
            "bool": boolean,
            "float": float64,
        }
        return tuple(known[annotation] for annotation in self.parameters)

    def result(self, number: Any) -> Any:
        return {"None": types.none, "int": int64, "Any": number}[self.returns]

    def symbol(self, number: Any) -> str:
        return f"rollc_{self.name}_{number}"

    def link(self, number: Any) -> None:
        """Compile for a precision, or load what the cache has, and make the symbol known."""
        if str(number) in self.linked:
            return
        # Code from the cache needs the symbols of the routines that it calls at once.
        for name in self.dispatcher.py_func.__code__.co_names:
            if name in _routines:
                _routines[name].link(number)
        arguments = self.arguments(number)
        self.dispatcher.compile(arguments)
        compiled = self.dispatcher.overloads[arguments]
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        binding.add_symbol(self.symbol(number), address)
        self.linked.add(str(number))


def link(precision: Any, *names: str) -> None:
    """Make routines known to the kernels of a precision (``np.float32``, ``np.float64``)."""
    for name in names:
        if name in _routines:
            _routines[name].link(from_dtype(np.dtype(precision)))


def shared(function: Callable[..., Any]) -> Any:
    """A function that routines call: its code becomes part of theirs."""
    return njit(**_OPTIONS)(function)


def routine(function: Callable[..., Any]) -> Any:
    """A function that kernels call by its symbol.

    Its annotations are its types: ``Array`` (two dimensions, of the kernel's precision),
    ``int``, ``bool``, ``float``; it returns nothing, an ``int``, or ``Any`` (a number of
    the kernel's precision).
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    made = _Routine(function)
    _routines[made.name] = made

    def call(typing_context: Any, *given: Any) -> Any:
        number = next(type_.dtype for type_ in given if isinstance(type_, types.Array))
        made.link(number)
        arguments, result = made.arguments(number), made.result(number)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            convention = context.call_conv
            type_ = convention.get_function_type(result, arguments)
            callee = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
                builder.module, type_, made.symbol(number)
            )
            _, value = convention.call_function(builder, callee, result, arguments, values)
            return context.get_dummy_value() if result is types.none else value

        return result(*arguments), generate

    # Numba matches a call's arguments to the parameters that it sees here.
    context = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    call.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    return intrinsic(call)
