"""The equations of values, as a person would write them: short for a box, in full for a tooltip.

    short  σ(W x + U h[t-1] + b)        full  sigmoid(W @ x + U @ h[t-1] + b)

What has a box of its own is named; what has none is written out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollc.drawing.folding.cells import cell_of
from rollc.drawing.folding.folding import INITIAL, Folded, Value, is_adjoint, is_named, said_name
from rollc.ir.graph import BATCH, LEAVES, Edge, Graph, Node
from rollc.ir.time.delay_axes import ALONG
from rollc.lang.symbols.builtins import COMPARISONS, SYMBOL_OF, said

# How tightly an expression binds, as in rollc.lang.syntax.formatter.
_OR, _AND, _COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER, _TIGHT = range(8)
_LEVELS = {"or": _OR, "and": _AND, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}
_LEVELS |= {"@": _PRODUCT, "**": _POWER}
_SHORT_NAMES = {"sigmoid": "σ"}
_SILENT = frozenset({"identity", "spread", "fill", "with_slope", "stop", "impulse"})
_DEEPEST, _MOST = 24, 200  # levels, and operations
_BRIEF, _SHALLOW = 8, 2  # characters, and levels, of what is written out though it has a box
LEFT_OUT = "…"


def equation(folded: Folded, value: Value, fits: Callable[[str], bool]) -> str:
    """The right side of the equation of a value, as much of it as fits; empty for a leaf."""
    if value.node.operation in LEAVES:
        return ""
    for depth in range(_DEEPEST, 0, -1):
        text = _Writer(folded, value, short=True).value(depth)
        if fits(text):
            return text
    return ""


def applied_name(folded: Folded, value: Value) -> str:
    """The function that the readers of a value apply to it, as a box says it; or nothing."""
    if value.applied is None:
        return ""
    operation = folded.graph[value.applied].operation
    return _SHORT_NAMES.get(operation, said(operation))


def full_text(folded: Folded, value: Value) -> str:
    """All that there is to say of a value: equations, types and lines of the spec."""
    lines = []
    for name in value.names:
        node = folded.graph[name]
        if node.name.endswith(INITIAL):
            what = f"{outside_name(folded, name)} = "
            what += _Writer(folded, Value(node, (name,), (), ()), short=False).value(_DEEPEST)
        elif node.operation in LEAVES:
            what = f"{node.operation} {node.name}"
        elif "'" in node.name and name != value.applied:
            writer = _Writer(folded, Value(node, (name,), (), ()), short=False)
            what = writer.value(_DEEPEST)
        else:
            writer = _Writer(folded, Value(node, (name,), (), ()), short=False)
            what = f"{node.name} = {writer.value(_DEEPEST)}"
        where = f", line {node.line}" if node.line else ""
        lines.append(f"{what}\n{node.type}{where}")
    if value.applied is not None and not value.closed:
        lines.append(f"read as {said(folded.graph[value.applied].operation)}({value.node.name})")
    for name in value.parameters:
        lines.append(f"parameter {name}: {folded.graph[name].type}")
    return "\n".join(lines)


def outside_name(folded: Folded, name: str) -> str:
    """What is read outside the sequence, such as ``h[-1]``."""
    base, step = folded.copies[name]
    return f"{base}[{step}]"


@dataclass
class _Writer:
    folded: Folded
    of: Value
    short: bool
    left: int = _MOST

    @property
    def graph(self) -> Graph:
        return self.folded.graph

    def value(self, depth: int) -> str:
        return self._node(self.of.node, self._step(self.of.node.name), depth)[0]

    def _step(self, name: str) -> int | None:
        copy = self.folded.copies.get(name)
        return None if copy is None else copy[1]

    def _name(self, name: str) -> str:
        """A name as its reader would say it: without the cell that both are in."""
        return said_name(self._inside(name)) if self.short else name

    def _inside(self, name: str) -> str:
        path = cell_of(self.of, self.folded)
        if self.short and path and not is_adjoint(path[-1]):
            return name.removeprefix(f"{path[-1]}.")
        if self.short and path and is_adjoint(path[-1]) and not is_adjoint(name):
            return name.removeprefix(f"{path[-1][1:]}.")
        if self.short and path:
            return "~" + name[1:].removeprefix(f"{path[-1][1:]}.")
        return name

    def _operand(self, edge: Edge, step: int | None, depth: int) -> tuple[str, int]:
        """The text of what is read, and how tightly it binds."""
        hops = [edge]
        while self._is_copy(self.graph[hops[0].source]):
            hops.insert(0, self.graph[hops[0].source].operands[0])
        delays = ", ".join(str(hop)[len(hop.source) + 1 : -1] for hop in hops if hop.delay)
        away = f"[{delays}]" if delays else ""
        node = self.graph[hops[0].source]
        copy = self.folded.copies.get(node.name)
        if copy is not None and copy[1] != step:
            away = f"[{copy[1]}]" if step is None else f"[t{copy[1] - step:+d}]"
        base = node.name if copy is None else copy[0]
        if node.operation == "constant":
            value = node.options["value"]
            return f"{value:g}" if isinstance(value, (int, float)) else str(value), _TIGHT
        if node.operation == "noise":
            return "noise", _TIGHT
        if node.operation in LEAVES:
            return self._name(base) + away, _TIGHT
        if node.name in self.folded.boxes and node.name != self.of.node.name:
            owner = self._owner(node.name)
            if owner is not None and owner.applied == node.name:
                of = self._operand(Edge(owner.node.name), self._step(owner.node.name), depth)[0]
                operation = node.operation
                function = _SHORT_NAMES.get(operation, said(operation)) if self.short else operation
                return f"{function}({of}){away}", _TIGHT
            if self.folded.every or is_named(base):
                return self._name(base) + away, _TIGHT
            if self.short:
                text, level = self._node(node, self._step(node.name), min(depth - 1, _SHALLOW))
                if len(text) > _BRIEF or LEFT_OUT in text:
                    return f"({LEFT_OUT}){away}", _TIGHT
                return (f"({text}){away}", _TIGHT) if away else (text, level)
        if is_named(base) and node.name != self.of.node.name:
            return self._name(base) + away, _TIGHT  # folded into a cell that is closed
        if node.name == self.of.node.name:
            return self._name(base) + away, _TIGHT
        text, level = self._node(node, self._step(node.name), depth - 1)
        if away:
            return f"({text}){away}", _TIGHT
        return text, level

    def _is_copy(self, node: Node) -> bool:
        """Whether a node is another value, which is read with delays of its own."""
        return node.operation in ("identity", ALONG) and not is_named(node.name)

    def _owner(self, name: str) -> Value | None:
        value = self.folded.by_box[self.folded.boxes[name]]
        return None if value.closed else value

    def _bound(self, edge: Edge, step: int | None, depth: int, least: int) -> str:
        text, level = self._operand(edge, step, depth)
        return text if level >= least else f"({text})"

    def _node(self, node: Node, step: int | None, depth: int) -> tuple[str, int]:
        self.left -= 1
        if depth <= 0 or self.left < 0:
            return LEFT_OUT, _TIGHT
        operation, operands, options = node.operation, node.operands, node.options
        symbol = SYMBOL_OF.get(operation)
        if operation in _SILENT or (operation == "mean_over" and options.get("over") == (BATCH,)):
            return self._operand(operands[0], step, depth)
        if operation == "multiply" and self.graph[operands[1].source].operation == "noise":
            return f"dropout({self._operand(operands[0], step, depth)[0]})", _TIGHT
        if symbol is not None and len(operands) == 2:
            return self._binary(node, symbol, step, depth)
        if operation == "extent":
            return ("B" if options.get("axis") == BATCH else "T"), _TIGHT
        if operation == "negate":
            return f"-{self._bound(operands[0], step, depth, _SIGN)}", _SIGN
        if operation == "slice" and "start" in options:
            inner = self._bound(operands[0], step, depth, _TIGHT)
            return f"{inner}[{options['start']}:{options['stop']}]", _TIGHT
        if operation == "sum" and (place := self._element(operands[0])) is not None:
            source, index = place
            return f"{self._bound(source, step, depth, _TIGHT)}[{index}]", _TIGHT
        if operation == "expand" and (one := self._broadcast(operands[0])) is not None:
            return self._operand(one, step, depth)
        if operation == "transpose" and self.short:
            return f"{self._bound(operands[0], step, depth, _TIGHT)}ᵀ", _TIGHT
        if operation == "sum_of" and self._same_copies(operands):
            last = operands[-1]
            inner = self._bound(last, self._step(last.source), depth, _PRODUCT)
            return f"Σ {inner}", _PRODUCT
        arguments = [self._operand(edge, step, depth)[0] for edge in operands]
        over = options.get("over")
        if "to" in options:
            arguments.append(str(options["to"]))
        elif isinstance(over, tuple):
            axes = [str(axis) for axis in over if axis != BATCH]
            arguments += [f"over {', '.join(axes)}"] if axes else []
        elif isinstance(options.get("axis"), str):
            arguments += [f"over {options['axis']}"] if len(self.graph.axes) > 1 else []
        elif operation == "expand":
            arguments.append(f"axis={options.get('axis', 0)}")
        if operation == "stack":
            return f"[{', '.join(arguments)}]", _TIGHT
        name = said(operation)
        name = _SHORT_NAMES.get(name, name) if self.short else name
        return f"{name}({', '.join(arguments)})", _TIGHT

    def _binary(self, node: Node, symbol: str, step: int | None, depth: int) -> tuple[str, int]:
        level = _COMPARISON if symbol in COMPARISONS else _LEVELS[symbol]
        right_level = level + (symbol != "**")
        if symbol in ("+", "*") or (symbol == "@" and self.short):
            right_level = level
        left = self._bound(node.operands[0], step, depth, level + (symbol == "**"))
        right = self._bound(node.operands[1], step, depth, right_level)
        if symbol == "@":
            turned = "ᵀ" if self.short else ".T"
            flags = (node.options.get("transpose_a"), node.options.get("transpose_b"))
            if flags[0]:
                left = self._bound(node.operands[0], step, depth, _TIGHT) + turned
            if flags[1]:
                right = self._bound(node.operands[1], step, depth, _TIGHT) + turned
            return f"{left} {right}" if self.short else f"{left} @ {right}", level
        if symbol == "*" and self.short:
            symbol = "·"
        return f"{left} {symbol} {right}", level

    def _element(self, edge: Edge) -> tuple[Edge, int] | None:
        """What a sum is one element of: a sum of a slice of one element is how it is computed."""
        node = self.graph[edge.source]
        start, stop = node.options.get("start"), node.options.get("stop")
        one = isinstance(start, int) and isinstance(stop, int) and stop == start + 1
        if node.operation != "slice" or not one or edge.delay or node.name in self.folded.boxes:
            return None
        assert isinstance(start, int)
        return node.operands[0], start

    def _broadcast(self, edge: Edge) -> Edge | None:
        """What is broadcast: its dimension of one element is summed over, and expanded anew."""
        node = self.graph[edge.source]
        axis = node.options.get("axis")
        if node.operation != "sum" or not isinstance(axis, int) or edge.delay:
            return None
        (source,) = node.operands
        one = self.graph[source.source].type.shape[axis] == 1
        return source if one and node.name not in self.folded.boxes else None

    def _same_copies(self, operands: tuple[Edge, ...]) -> bool:
        bases = {self.folded.copies.get(edge.source, ("", 0))[0] for edge in operands}
        return len(operands) > 1 and len(bases) == 1 and "" not in bases
