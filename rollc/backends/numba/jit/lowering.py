"""Lowering of kernels to LLVM's language, in fewer instructions than Numba's own lowering.

Numba gives a variable that two blocks share a place in memory, and copies the structure of an
array for each element that is read; LLVM removes both again, which takes longer than all else.
A kernel has no exceptions, no references to count and no closures, and its arguments stay: so a
variable with one assignment is a value, and an element of a matrix is at an address.

Cytron, Ferrante, Rosen, Wegman and Zadeck, Efficiently computing static single assignment form
and the control dependence graph (1991), has the condition: the assignment dominates each use.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import analysis, cgutils
from numba.core import ir as numba_ir
from numba.core.lowering import Lower
from numba.cpython.slicing import fix_index
from numba.np.arrayobj import load_item, store_item

_WORD = ir.IntType(64)


class KernelLowering(Lower):
    """Numba's lowering to LLVM's language, of functions of numbers and of matrices."""

    def init(self) -> None:
        super().init()
        self.operators: dict[tuple[Any, ...], Any] = {}  # implementations, by types
        self.tuples: dict[str, list[Any]] = {}  # their elements

    def _find_singly_assigned_variable(self) -> None:
        self._singly_assigned_vars = dominating(self.blocks)
        self._blk_local_varmap: dict[str, Any] = {}

    def lower_inst(self, inst: Any) -> None:
        if isinstance(inst, numba_ir.Del):
            return  # nothing counts references
        if isinstance(inst, numba_ir.SetItem | numba_ir.StaticSetItem):
            index, static = _index(inst, isinstance(inst, numba_ir.StaticSetItem))
            if self._is_matrix(inst.target, index):
                kind = self.typeof(inst.target.name)
                given, own = self.loadvar(inst.value.name), self.typeof(inst.value.name)
                value = self.context.cast(self.builder, given, own, kind.dtype)
                address = self._address(inst.target, index, static)
                store_item(self.context, self.builder, kind, value, address)
                return
        super().lower_inst(inst)

    def lower_assign(self, ty: Any, inst: Any) -> Any:
        value = inst.value
        if isinstance(value, numba_ir.Expr) and value.op == "build_tuple":
            self.tuples[inst.target.name] = [self.loadvar(item.name) for item in value.items]
        return super().lower_assign(ty, inst)

    def lower_expr(self, resty: Any, expr: Any) -> Any:
        if expr.op in ("getitem", "static_getitem"):
            index, static = _index(expr, expr.op == "static_getitem")
            if self._is_matrix(expr.value, index):
                kind = self.typeof(expr.value.name)
                address = self._address(expr.value, index, static)
                found = load_item(self.context, self.builder, kind, address)
                return self.context.cast(self.builder, found, kind.dtype, resty)
        return super().lower_expr(resty, expr)

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        """Numba's, which looks the implementation up again for each operation."""
        if any(side is not numba_ir.UNDEFINED for side in (expr.static_lhs, expr.static_rhs)):
            return super().lower_binop(resty, expr, op)
        signature = self.fndesc.calltypes[expr]
        key = (op, *signature.args)
        if key not in self.operators:
            typing = self.context.typing_context
            function = typing.resolve_value_type(op)
            called = function.get_call_type(typing, signature.args, {})
            self.operators[key] = self.context.get_function(function, called)
        sides = [
            self.context.cast(self.builder, self.loadvar(side.name), self.typeof(side.name), kind)
            for side, kind in zip((expr.lhs, expr.rhs), signature.args, strict=True)
        ]
        made = self.operators[key](self.builder, sides)
        return self.context.cast(self.builder, made, signature.return_type, resty)

    def _is_matrix(self, array: Any, index: Any) -> bool:
        """Whether an element of a matrix is read or written."""
        kind = self.typeof(array.name)
        if not isinstance(kind, types.Array) or (kind.ndim, kind.layout) != (2, "C"):
            return False
        places: Any = self.typeof(index.name)
        return (
            isinstance(places, types.UniTuple | types.Tuple)
            and len(places) == 2
            and all(isinstance(place, types.Integer) for place in places)
        )

    def _address(self, array: Any, index: Any, static: Any) -> Any:
        """The address of an element, as Numba computes it: negative indices are from the end."""
        builder = self.builder
        value = self.loadvar(array.name)
        sizes = [builder.extract_value(value, [5, axis]) for axis in range(2)]
        if static is not None:
            given = [_WORD(number) for number in static]
        elif index.name in self.tuples and index.name in self._singly_assigned_vars:
            given = self.tuples[index.name]
        else:
            given = cgutils.unpack_tuple(builder, self.loadvar(index.name), 2)
        places = []
        kinds: Any = self.typeof(index.name)
        for place, kind, size in zip(given, kinds, sizes, strict=True):
            whole = types.intp if kind.signed else types.uintp
            word = self.context.cast(builder, place, kind, whole)
            if kind.signed and not (isinstance(word, ir.Constant) and word.constant >= 0):
                word = fix_index(builder, word, size)
            places.append(word)
        row, column = places
        offset = builder.add(builder.mul(row, sizes[1]), column)
        return builder.gep(builder.extract_value(value, 4), [offset])


def dominating(blocks: Mapping[int, Any]) -> set[str]:
    """The variables with one assignment, which dominates each use of them.

    Blocks are lowered in the order of their labels.
    """
    dominators = analysis.compute_cfg_from_blocks(blocks).dominators()
    made: dict[str, int] = {}
    others: set[str] = set()
    uses: dict[str, set[int]] = {}
    for label, block in sorted(blocks.items()):
        for statement in block.body:
            assigns = isinstance(statement, numba_ir.Assign)
            for variable in _read(statement.value) if assigns else statement.list_vars():
                uses.setdefault(variable.name, set()).add(label)
            if assigns:
                if statement.target.name in made:
                    others.add(statement.target.name)
                made[statement.target.name] = label
    return {
        name
        for name, label in made.items()
        if name not in others and all(label in dominators[use] for use in uses.get(name, ()))
    }


def _index(access: Any, static: bool) -> tuple[Any, Any]:
    """The variable of an index, and the index itself where that is static."""
    return (access.index_var, access.index) if static else (access.index, None)


def _read(value: Any) -> list[Any]:
    """The variables that an assigned value reads."""
    if isinstance(value, numba_ir.Var):
        return [value]
    return list(value.list_vars()) if isinstance(value, numba_ir.Inst) else []
