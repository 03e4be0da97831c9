"""Compilation of kernels and routines by Numba, and the call of a routine from a kernel.

Numba would link a routine's code into each kernel that calls it, and optimise it there once more.
Instead, a routine is compiled separately, and a kernel refers to it by a symbol.
Compiled code runs without this module (:mod:`rollc.backends.numba.jit.object_code`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding, ir
from numba import boolean, config, float64, int64, njit, types
from numba.core import cgutils
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.typed_passes import NoPythonBackend, NopythonTypeInference
from numba.core.untyped_passes import FixupArgs, TranslateByteCode
from numba.extending import intrinsic

from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.object_code import Code, Piece, target_machine
from rollc.backends.numba.jit.parallel_loops import MarkedLowering

Array = Any
Pair = tuple[int, int]
Triple = tuple[int, int, int]
Quadruple = tuple[int, int, int, int]

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,  # nothing is allocated, so no references are counted
    "no_rewrites": True,  # they are for array expressions, which kernels do not have
}
# Sums may be reassociated, so that they vectorize.
_ROUTINE = {**_OPTIONS, "fastmath": {"contract", "reassoc"}}
_routines: dict[str, _Routine] = {}
_MANY_WORDS = 256


def _uint(typing_context: Any, index: Any) -> Any:
    return types.uint64(int64), lambda context, builder, signature, values: values[0]


def plain_uint(index: int) -> int:
    """An index as an unsigned integer.

    Numba tests whether a signed index is negative, and loops with that test are not vectorized.
    """
    return index


uint: Any = plain_uint if config.DISABLE_JIT else intrinsic(_uint)  # type: ignore[attr-defined]


class Distinct(CompilerBase):
    """A compiler of functions whose array arguments do not alias.

    Of Numba's passes it has those alone that give types and code: its others are for closures,
    exceptions, literals and functions to inline, which kernels do not have, or bring about static
    single assignment form, as LLVM does again.  After each of them Numba finds the variables that
    live in each block, which takes longer than all that is left.
    """

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        manager = PassManager("kernel")  # type: ignore[no-untyped-call]
        manager.add_pass(TranslateByteCode, "bytecode")  # type: ignore[no-untyped-call]
        manager.add_pass(FixupArgs, "arguments")  # type: ignore[no-untyped-call]
        manager.add_pass(NopythonTypeInference, "types")  # type: ignore[no-untyped-call]
        manager.add_pass(MarkedLowering, "code")  # type: ignore[no-untyped-call]
        manager.add_pass(NoPythonBackend, "result")  # type: ignore[no-untyped-call]
        manager.finalize()  # type: ignore[no-untyped-call]
        return [manager]


class WithLines(Distinct):
    """Such a compiler whose assembly has directives for the lines of the source.

    The instructions are the same.
    """

    def define_pipelines(self) -> Any:
        flags = self.state.flags
        flags.debuginfo = flags.dbg_directives_only = True
        self.state.targetctx = self.state.targetctx.subtarget(enable_debuginfo=True)
        return super().define_pipelines()


class _Routine:
    """A routine, and its compiled code for each precision."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.dispatcher: Any = njit(**_ROUTINE)(function)
        signature = inspect.signature(function)
        self.annotations = [parameter.annotation for parameter in signature.parameters.values()]
        self.returns = signature.return_annotation

    def arguments(self, number: Any) -> tuple[Any, ...]:
        """The types of the arguments for a precision, from the annotations."""
        known = {
            "Array": types.Array(number, 2, "C"),
            "int": int64,
            "bool": boolean,
            "float": float64,
            "Pair": types.UniTuple(int64, 2),  # type: ignore[no-untyped-call]
            "Triple": types.UniTuple(int64, 3),  # type: ignore[no-untyped-call]
            "Quadruple": types.UniTuple(int64, 4),  # type: ignore[no-untyped-call]
        }
        return tuple(known[annotation] for annotation in self.annotations)

    def result(self, number: Any) -> Any:
        return {"None": types.none, "int": int64, "Any": number}[self.returns]

    def symbol(self, number: Any) -> str:
        return f"rollc_{self.name}_{number}"

    def link(self, number: Any) -> None:
        """Load or compile the code for a precision, and define its symbol."""
        symbol = self.symbol(number)
        if symbol in _linked:
            return
        paths = object_code.code_paths(Path(__file__).parent, symbol, numba.__version__.encode())
        code = object_code.load(paths)
        if code is None or object_code.link(code) is None:
            routines: dict[str, Piece] = {}
            needs: dict[str, None] = {}
            compiled = _compiled(self.dispatcher, self.arguments(number))
            own = _object(compiled, routines, needs)
            routines[symbol] = Piece(symbol, compiled.fndesc.llvm_func_name, (own,))
            code = Code(tuple(routines.values()), (), tuple(needs))
            object_code.save(code, paths)
            object_code.link(code)
        _linked[symbol] = code

    def assembly(self, number: Any) -> str:
        """The assembly for a precision; it is saved, as the code is."""
        symbol = self.symbol(number)
        name, version = f"{symbol}_assembly", numba.__version__.encode()
        paths = object_code.code_paths(Path(__file__).parent, name, version)
        saved = object_code.load(paths)
        if saved is None:
            compiled = _compiled(self.dispatcher, self.arguments(number))
            text = compiled.library.get_asm_str().encode()
            saved = Code((), (Piece(symbol, self.name, (text,)),))
            object_code.save(saved, paths)
        return saved.functions[0].objects[0].decode()


_linked: dict[str, Code] = {}  # routines by symbol, each with those that it calls


def _compiled(dispatcher: Any, arguments: tuple[Any, ...]) -> Any:
    dispatcher.compile(arguments)
    return dispatcher.overloads[arguments]


def kernel(function: Callable[..., None]) -> Any:
    """A decorator of functions of a kernel: their arrays do not alias, and nothing allocates."""
    return njit(**_OPTIONS, fastmath={"contract"}, pipeline_class=Distinct)(function)


@dataclass(frozen=True)
class EntryCall:
    """A kernel function that an entry point calls.

    ``places`` are its arguments among those of the entry point.  With ``unless``, it is not
    called where the argument at a place is a number.
    """

    function: Any
    places: Sequence[int]
    unless: Pair | None = None


@dataclass(frozen=True)
class Entry:
    """An entry point: the types of its arguments, numbers before arrays, and what it calls."""

    name: str
    arguments: Sequence[Any]
    calls: Sequence[EntryCall]


def machine_code(entries: Sequence[Entry], library: Mapping[str, Any] | None = None) -> Code:
    """The machine code of entry points to a kernel.

    ``library`` has routines that are entry points too, each with its precision.
    """
    routines: dict[str, Piece] = {}
    needs: dict[str, None] = {}
    pieces = []
    for entry in entries:
        objects, calls = [], []
        for call in entry.calls:
            types_ = tuple(entry.arguments[place] for place in call.places)
            compiled = _compiled(call.function, types_)
            objects.append(_object(compiled, routines, needs))
            described = compiled.fndesc
            calls.append((described.llvm_func_name, described.restype, call))
        code = _entry_code(entry.name, entry.arguments, calls)
        pieces.append(Piece(entry.name, entry.name, (*objects, code)))
    for name, number in (library or {}).items():
        made = _routines[name]
        made.link(number)
        symbol, arguments = made.symbol(number), made.arguments(number)
        routines.update((piece.symbol, piece) for piece in _linked[symbol].routines)
        needs.update(dict.fromkeys(_linked[symbol].needs))
        call = EntryCall(None, range(len(arguments)))
        code = _entry_code(name, arguments, [(symbol, made.result(number), call)])
        pieces.append(Piece(name, name, (code,)))
    return Code(tuple(routines.values()), tuple(pieces), tuple(needs))


def assembly(entries: Sequence[Entry], number: Any) -> dict[str, str]:
    """The assembly of the functions of entry points, not compiled yet, and of their routines.

    ``number`` is their precision.
    """
    found: dict[str, str] = {}
    for entry in entries:
        for call in entry.calls:
            call.function._compiler.pipeline_class = WithLines
            types_ = tuple(entry.arguments[place] for place in call.places)
            compiled = _compiled(call.function, types_)
            found[call.function.__name__] = compiled.library.get_asm_str()
    symbols = {made.symbol(number): made for made in _routines.values()}
    texts = [*found.values()]
    while texts:
        for symbol in sorted(symbols.keys() & {*re.findall(r"\brollc_\w+", texts.pop())}):
            made = symbols.pop(symbol)
            found[made.name] = made.assembly(number)
            texts.append(found[made.name])
    return found


def _object(compiled: Any, routines: dict[str, Piece], needs: dict[str, None]) -> bytes:
    """The object code of a function; its callees are added to ``routines`` and ``needs``."""
    _, _, (code, bitcode) = compiled.library.serialize_using_object_code()
    for function in binding.parse_bitcode(bitcode).functions:
        symbol = function.name
        if not function.is_declaration or symbol.startswith("llvm.") or symbol in routines:
            continue
        if symbol in _linked:
            routines.update((piece.symbol, piece) for piece in _linked[symbol].routines)
            needs.update(dict.fromkeys(_linked[symbol].needs))
        else:
            needs[symbol] = None
    return bytes(code)


def _entry_code(
    name: str, arguments: Sequence[Any], calls: Sequence[tuple[str, Any, EntryCall]]
) -> bytes:
    """Object code of an entry point, which takes all arguments as one row of integers.

    Arrays are :data:`object_code.WORDS` integers each, as Numba lays them out.  Each call has
    the symbol of its function, and the type of what that returns.  The entry point returns 0.
    """
    context = cpu_target.target_context
    convention = context.call_conv
    module = context.create_module(name)
    word = ir.IntType(64)
    entry = ir.Function(module, ir.FunctionType(ir.IntType(32), [word.as_pointer()]), name=name)
    builder = ir.IRBuilder(entry.append_basic_block())
    words: list[range] = []  # of each argument, in the row
    for kind in arguments:
        first = words[-1].stop if words else 0
        many = object_code.WORDS if isinstance(kind, types.Array) else 1
        words.append(range(first, first + many))

    def load(index: int, kind: Any) -> Any:
        pointer = builder.gep(entry.args[0], [word(index)])
        if isinstance(kind, ir.IntType):
            value = builder.load(pointer)
            return value if kind == word else builder.trunc(value, kind)
        return builder.load(builder.bitcast(pointer, kind.as_pointer()))

    most = 0
    for symbol, result, call in calls:
        own_types = [arguments[place] for place in call.places]
        callee = ir.Function(module, convention.get_function_type(result, own_types), symbol)
        own = [index for place in call.places for index in words[place]]
        most = max(most, len(own))
        wanted = ir.IntType(1)(1)
        if call.unless:
            place, number = call.unless
            wanted = builder.icmp_signed("!=", load(words[place].start, word), word(number))
        with builder.if_then(wanted):
            returned, error, *kinds = callee.function_type.args
            places = [
                cgutils.alloca_once(builder, kind.pointee)  # type: ignore[no-untyped-call]
                for kind in (returned, error)
            ]
            taken = [load(*one) for one in zip(own, kinds, strict=True)]
            code = builder.call(callee, [*places, *taken])
            status = convention._get_return_status(builder, code, builder.load(places[1]))
            with builder.if_then(status.is_error):
                builder.ret(status.code)
    builder.ret(ir.IntType(32)(0))
    # To optimise a call takes as long as the square of its arguments.
    machine = target_machine(0 if most > _MANY_WORDS else 2)
    return bytes(machine.emit_object(binding.parse_assembly(str(module))))


def shared(function: Callable[..., Any]) -> Any:
    """A decorator of functions that routines call and that are linked into them."""
    return njit(**_ROUTINE)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """:func:`shared`, without a call: one with arrays takes as long as a small product."""
    return njit(**_ROUTINE, inline="always")(function)


def routine(function: Callable[..., Any]) -> Any:
    """A decorator of functions that kernels call by symbol, with arguments by position or name.

    Its annotations are its types: ``Array`` (two dimensions, of the kernel's precision),
    ``int``, ``bool``, ``float``, ``Pair``, ``Triple`` or ``Quadruple`` (of ``int``); it returns
    nothing, an ``int``, or ``Any`` (a number of the kernel's precision).  What has a default is an
    ``int`` or a ``bool``.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    made = _Routine(function)
    _routines[made.name] = made

    def call(typing_context: Any, *given: Any, **named: Any) -> Any:
        kinds = (*given, *named.values())
        number = next(kind.dtype for kind in kinds if isinstance(kind, types.Array))
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
