"""Parallel loops: metadata for LLVM that the iterations of a loop are independent.

``simd_range`` is ``range``, of a loop whose iterations may run in any order or at once, as those
of elementwise operations.  Code generation knows that; LLVM would have to prove it, or to test
before each loop whether two rows overlap.  It also unrolls loops of a few iterations before it
vectorizes, which leaves one scalar function call after the other.

The LLVM language reference, ``llvm.loop`` metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from llvmlite.ir.values import MDValue
from numba import types
from numba.core import analysis
from numba.core import ir as numba_ir
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import BaseNativeLowering

from rollc.backends.numba.jit.lowering import KernelLowering
from rollc.backends.numba.jit.target import host
from rollc.support.target import VECTORS

simd_range = range


class _Node(MDValue):  # type: ignore[misc]
    """A distinct metadata node."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, (), str(len(module.metadata)))

    def descr(self, buffer: Any) -> None:
        buffer += ("distinct ",)
        super().descr(buffer)


class _Lower(KernelLowering):
    """The lowering of kernels, which also marks the loops over ``simd_range``."""

    def init(self) -> None:
        super().init()
        self.ends: dict[int, Any] = {}  # the last LLVM block of each block of Numba

    def lower_block(self, block: Any) -> None:
        super().lower_block(block)  # type: ignore[no-untyped-call]
        self.ends[id(block)] = self.builder.basic_block

    def lower_function_body(self) -> Any:
        entry = super().lower_function_body()  # type: ignore[no-untyped-call]
        flow = analysis.compute_cfg_from_blocks(self.blocks)  # type: ignore[no-untyped-call]
        made = _definitions(self.blocks.values())
        for loop in flow.loops().values():
            call = _iterated(self.blocks, loop.header, made)
            if call is not None:
                last = [
                    self.ends[id(self.blocks[label])]
                    for label, _ in flow.predecessors(loop.header)
                    if label in loop.body
                ]
                few = self._is_narrow(call, made)
                _mark(self.module, self.blkmap[loop.header], last, few)
        return entry

    def _is_narrow(self, call: Any, made: dict[str, list[Any]]) -> bool:
        """Whether a loop has a known trip count that does not fill two vectors."""
        count = _origin(call.args[-1], made)
        if len(call.args) > 1 or not isinstance(count, numba_ir.Const):
            return False
        floats = (
            kind.dtype.bitwidth // 8
            for kind in self.fndesc.argtypes
            if isinstance(kind, types.Array) and isinstance(kind.dtype, types.Float)
        )
        lanes = host().lanes(next(floats, 8))
        return bool(count.value < VECTORS * lanes and count.value % lanes)


@register_pass(mutates_CFG=False, analysis_only=False)  # type: ignore[no-untyped-call]
class MarkedLowering(BaseNativeLowering):
    """Numba's lowering pass, with the class above."""

    _name = "marked_lowering"  # type: ignore[assignment]

    @property
    def lowering_class(self) -> Any:
        return _Lower


# Loops of Numba's representation -----------------------------------------------------------


def _definitions(blocks: Any) -> dict[str, list[Any]]:
    """The values that are assigned to each variable."""
    made: dict[str, list[Any]] = {}
    for block in blocks:
        for statement in block.find_insts(numba_ir.Assign):
            made.setdefault(statement.target.name, []).append(statement.value)
    return made


def _origin(variable: Any, made: dict[str, list[Any]]) -> Any:
    """The value of a variable with a single definition, through copies; None for others."""
    while isinstance(variable, numba_ir.Var):
        values = made.get(variable.name, [])
        if len(values) != 1:
            return None
        (variable,) = values
    return variable


def _iterated(blocks: Any, header: int, made: dict[str, list[Any]]) -> Any:
    """The call of ``simd_range`` that a loop iterates over, if it does."""
    for block in _first_blocks(blocks, header):
        for statement in block.find_exprs("iternext"):
            iterator = _origin(statement.value, made)
            call = _origin(getattr(iterator, "value", None), made)
            function = _origin(getattr(call, "func", None), made)
            return call if getattr(function, "name", "") == "simd_range" else None
    return None


def _first_blocks(blocks: Any, header: int) -> Iterator[Any]:
    """The header of a loop, and the block that it jumps to, if it always does."""
    yield blocks[header]
    end = blocks[header].terminator
    if isinstance(end, numba_ir.Jump):
        yield blocks[end.target]


# Marks in LLVM's ---------------------------------------------------------------------------


def _mark(module: Any, head: Any, last: list[Any], few: bool) -> None:
    """Mark the iterations of a loop, from its header to its latches, as independent.

    A loop of ``few`` iterations is vectorized with masks.
    """
    accesses = _Node(module)
    for block in _between(head, last):
        for instruction in block.instructions:
            if instruction.opname in ("load", "store"):
                pointer = instruction.operands[-1]
                if not _is_variable(pointer):
                    instruction.set_metadata("llvm.access.group", accesses)
    yes = ir.Constant(ir.IntType(1), 1)
    said: list[tuple[Any, ...]] = [
        ("llvm.loop.parallel_accesses", accesses),
        ("llvm.loop.unroll.disable",),
    ]
    if few:
        said.append(("llvm.loop.vectorize.predicate.enable", yes))
    loop = _Node(module)
    words = [module.add_metadata([ir.MetaDataString(module, name), *more]) for name, *more in said]
    loop.operands = (loop, *words)  # a loop's metadata names itself first
    for block in last:
        block.terminator.set_metadata("llvm.loop", loop)


def _between(head: Any, last: list[Any]) -> set[Any]:
    """The blocks of a loop, from its header to its latches."""
    before: dict[Any, list[Any]] = {}
    for block in head.function.blocks:
        for following in block.terminator.operands if block.terminator is not None else ():
            if isinstance(following, ir.Block):
                before.setdefault(following, []).append(block)
    found, open_ = {head}, list(last)
    while open_:
        block = open_.pop()
        if block not in found:
            found.add(block)
            open_.extend(before.get(block, ()))
    return found


def _is_variable(pointer: Any) -> bool:
    """Whether a pointer is to a local variable, which LLVM promotes to registers."""
    while getattr(pointer, "opname", "") in ("getelementptr", "bitcast"):
        pointer = pointer.operands[0]
    return getattr(pointer, "opname", "") == "alloca"
