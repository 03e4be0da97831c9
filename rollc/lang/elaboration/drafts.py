"""Equations and calls, elaborated to untyped nodes (drafts)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollc.ir.attribute_flaws import attribute_flaw
from rollc.ir.graph import Attribute, Edge, attributes
from rollc.lang.diagnostics.diagnostic import Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.call_checks import (
    along_of,
    check_arity,
    known_options,
    no_axis_of_own,
    no_option,
    options_of,
)
from rollc.lang.elaboration.calls_of_sizes import CallsOfSizes
from rollc.lang.elaboration.expressions import leading_name
from rollc.lang.elaboration.unknown_calls import unknown_function
from rollc.lang.expansion.definitions import axes_named
from rollc.lang.expansion.library_axis import along
from rollc.lang.expansion.substitution import Scope, substituted
from rollc.lang.symbols.builtins import (
    ALONG_AXIS,
    CUT,
    DERIVATIVES,
    ENDS,
    EVERY,
    FEED,
    JACOBIAN,
    MOVED,
    OVER_TIME,
    RENAME,
    RESHAPE,
    SHAPED,
    SIZE,
    STACK,
    STOP,
    TIME,
    TRANSPOSE,
    functions,
)
from rollc.lang.symbols.constants import Rejected, rejected
from rollc.lang.symbols.forms import EINSUM
from rollc.lang.symbols.library import LIBRARY, LOSSES
from rollc.lang.symbols.operations import OPERATIONS
from rollc.lang.symbols.table import shown
from rollc.lang.symbols.untyped_node import Axis, Cut, Draft, Operand
from rollc.lang.syntax.ast import (
    Call,
    Equation,
    Expression,
    Function,
    Name,
    Selection,
    Subscript,
)
from rollc.lang.syntax.traversal import calls_in, names_in, parts_in

MOST_INLINED = 2_000  # calls of functions of one's own, those inside functions included


class Drafts(CallsOfSizes):
    """Drafts of the equations of a spec."""

    # Statements

    def equation(self, equation: Equation) -> None:
        """Draft what an equation defines; raises :class:`Rejected`."""
        names = equation.names
        owned = [name for name in names if self.names.owns(name)]
        value = equation.value
        if isinstance(value, Call) and value.function.name in self.definitions.cells:
            raise Rejected(None)  # a use that is wrong: it is still there
        if isinstance(value, Call) and value.function.name == CUT:
            self._split(equation, value, owned)
        elif len(names) > 1:
            if isinstance(value, Call):
                self._operation(value)
            all_ = ", ".join(shown(name.name) for name in names)
            raise rejected(
                "R220",
                names[1].span,
                "several names for one value",
                "",
                [f"`split` and cells give several results: `{all_} = split({{0}}, {len(names)})`"],
                parts=[Label(value.span, "x")],
            )
        else:
            # What an equation says twice is still read, for the errors in it.
            prefix = names[0].name
            self.named(prefix if owned else None, value, prefix)

    def named(self, name: str | None, expression: Expression, prefix: str) -> Operand:
        """Draft an expression under a name of its own."""
        operand = self.read(expression, prefix, name)
        if name is not None and operand.edge != Edge(name):
            return self.add("identity", (operand,), expression.span, prefix, name)
        return operand

    def _split(self, equation: Equation, call: Call, owned: list[Name]) -> None:
        names = equation.names
        whole = self._whole(call, len(names), names[0].name)
        for place, name in enumerate(names):
            if name in owned:
                self.drafts[name.name] = Draft(
                    name.name, "slice", (whole,), name.span, cut=self._part(call, place, len(names))
                )

    def _whole(self, call: Call, named: int, prefix: str) -> Operand:
        """What is split in as many parts as are named."""
        check_arity(call, ("x", "parts"))
        if call.sizes or call.over is not None:
            raise no_option(call)
        self._part(call, 0, named)
        whole = self.read(call.operands[0], prefix)
        count = self.values.count(call.operands[1])
        if count != named:
            raise rejected(
                "R220",
                call.operands[1].span,
                f"`split` gives {count} results, and {named} are named",
                f"{count} parts",
            )
        return whole

    def _part(self, call: Call, place: int, count: int) -> Cut:
        """One of the parts of a `split`."""
        axis = along_of(options_of(call, known_options(call), self.values)) or 0
        return Cut(part=(place, count), axis=axis)

    # Calls

    def call(self, call: Call, prefix: str, name: str | None) -> Operand:
        function = call.function.name
        if function in self.definitions.flawed:
            raise Rejected(None)
        if function in self.definitions.functions and not self.part_of:
            return self._inline(self.definitions.functions[function], call, prefix, name)
        if function == SIZE:
            return Operand(
                Edge(self.constant(float(self.values.whole(call)), call.span, prefix)), call.span
            )
        if function in LIBRARY and function not in self.definitions.cells:
            return self._from_library(call, prefix, name)
        if function == FEED:
            return self._fed(call, prefix, name)
        if function in SHAPED:
            return self.shaped(call, prefix, name)
        if function in MOVED:
            return self.moved(call, prefix, name)
        if function == EINSUM:
            return self.einsum(call, prefix, name)
        if function == STACK:
            return self.stack(call, prefix, name)
        if function == RESHAPE or (function == TRANSPOSE and len(call.operands) > 1):
            return self.in_dimensions(call, prefix, name)
        if function in DERIVATIVES:
            return self._derivative(call, prefix, name)
        if function == ALONG_AXIS:
            return self._along_axis(call, prefix, name)
        if function == STOP and call.options:
            return self._cut_at_borders(call, prefix)
        operation = self._operation(call)
        entry = OPERATIONS[operation]
        options: dict[str, Attribute] = {}
        if call.over is not None:
            if function not in (*OVER_TIME, *ENDS):
                raise no_option(call)
            axis = self.axis(call.over)
            options |= {"axis": axis} if operation in ENDS else {"over": (axis,)}
        check_arity(call, entry.operands, entry.variadic)
        if call.sizes:
            raise no_option(call)
        options.update(options_of(call, known_options(call), self.values))
        along = None if operation in ENDS else along_of(options)
        operands = self.all_of(call.operands, prefix)
        chosen = attributes(**options)
        return self.add(operation, operands, call.span, prefix, name, options=chosen, along=along)

    def _along_axis(self, call: Call, prefix: str, name: str | None) -> Operand:
        """`along(k, s)`: what k is at the steps of its own axis, at those of another one."""
        if call.over is not None and len(call.operands) == 1:
            axis = call.over
            edit = Edit(Span(call.operands[0].span.end, axis.span.start), ", ")
            helps = [f"write `{ALONG_AXIS}(x, {axis.name})`"]
            message = f"`{ALONG_AXIS}` takes an axis without `over`"
            raise rejected("R204", call.span, message, "", helps, [edit])
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        check_arity(call, ("x", "axis"))
        value, axis_ = call.operands
        if not isinstance(axis_, Name):
            message = f"the second operand of `{ALONG_AXIS}` is the name of a time axis"
            raise rejected("R204", axis_.span, message, "this is none")
        options = attributes(axis=self.axis(axis_))
        return self.add(
            RENAME, (self.read(value, prefix),), call.span, prefix, name, options=options
        )

    def _derivative(self, call: Call, prefix: str, name: str | None) -> Operand:
        """`grad(e, x)` and `jacobian(f, x)`: nodes that wait until all types are known."""
        function = call.function.name
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        check_arity(call, ("f" if function == JACOBIAN else "e", "x"))
        value, at = self.all_of(call.operands, prefix)
        self._need_variable(call.operands[1], at)
        return self.add(function, (value, at), call.span, prefix, name)

    def _need_variable(self, expression: Expression, at: Operand) -> None:
        """Raises :class:`Rejected` where nothing can be differentiated with respect to a read."""
        base = expression.base if isinstance(expression, Subscript) else expression
        index = expression.index if isinstance(expression, Subscript) else None
        axis = None if index is None else leading_name(index)
        delayed = axis is not None and self.is_axis(axis)
        if not isinstance(base, Name) or not (index is None or delayed):
            message = "a derivative is with respect to a name"
            helps = ["give it one: `a = {0}`, and read `a` in what is differentiated too"]
            parts = [Label(expression.span, "…")]
            raise rejected("R234", expression.span, message, "this has no name", helps, (), parts)
        draft = self.drafts.get(at.edge.source)
        if draft is not None and draft.operation == "constant":
            message = f"`{shown(base.name)}` is a constant"
            raise rejected("R234", expression.span, message, "nothing changes with it")
        use, dot, _ = base.name.rpartition(".")
        for other in self.aliases_in(use) if dot else ():
            if other != base.name and self.node_of(other) == self.node_of(base.name):
                message = f"`{shown(base.name)}` and `{shown(other)}` are one value in this use"
                helps = [f"give one of them another name before: `b = identity({shown(other)})`"]
                raise rejected("R234", expression.span, message, "a derivative in one", helps)

    def _fed(self, call: Call, prefix: str, name: str | None) -> Operand:
        """`feed(free, taught)`: one of the two; of the other just the names are looked up."""
        check_arity(call, ("free", "taught"))
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        free, taught = call.operands
        chosen, other = (free, taught) if self.feed == "free" else (taught, free)
        for read in names_in(other):
            if not self.is_axis(read) and not self.inside(read):
                self.names.find(read)
        operand = replace(self.read(chosen, prefix, name), span=call.span)
        if self.feed == "free":
            self.said.append(operand.edge.source)
        self._keep(other)
        return operand

    def _keep(self, other: Expression) -> None:
        """Draft the delayed reads of the side of `feed` that is not built.

        An initial value has rows for these steps too, and the state of a taught network has the
        earlier values that a free running one reads.
        """
        for part in parts_in(other):
            bound = self._arguments.get(part.name) if isinstance(part, Name) else None
            edge = self._delayed_edge(part) if bound is None else bound.edge
            if edge is not None and edge.delay:
                side = "free" if self.feed == "taught" and edge.delay > 0 else "other"
                name = f"{edge.source}'{side}{'+' * (edge.delay < 0)}{abs(edge.delay)}"
                self.drafts[name] = Draft(name, "identity", (Operand(edge, part.span),), part.span)
                if side == "other":
                    self.others.add(name)

    def _delayed_edge(self, part: Expression) -> Edge | None:
        """The edge of a read with a delay; None where an expression is none, or a wrong one."""
        if not isinstance(part, Subscript) or not isinstance(part.base, Name):
            return None
        axis = leading_name(part.index)
        symbol = self.names.symbols.get(part.base.name)
        if axis is None or not self.is_axis(axis) or symbol is None or symbol.kind == "size":
            return None
        delay = self.delay_of(part.index)
        return Edge(self.node_of(part.base.name), delay, self.axis(axis)) if delay else None

    def _cut_at_borders(self, call: Call, prefix: str) -> Operand:
        """`stop(h[t-1], every=k)`: no gradient passes this read at the borders of windows."""
        check_arity(call, OPERATIONS[STOP].operands)
        if call.sizes or call.over is not None:
            raise no_option(call)
        steps = options_of(call, known_options(call), self.values).get(EVERY, 0)
        flaw = attribute_flaw("step", "period", steps)
        if flaw is not None or not isinstance(steps, int):
            message = f"`{EVERY}` must be {flaw}"
            raise rejected("R205", call.options[0].span, message, f"this is {steps}")
        if isinstance(call.operands[0], Selection):
            message = f"`{EVERY}` is a rule for a read with a delay along one axis"
            raise rejected("R228", call.operands[0].span, message, "along two")
        return self.resets.cut(self.read(call.operands[0], prefix), steps)

    def _inline(self, function: Function, call: Call, prefix: str, name: str | None) -> Operand:
        """Inline a function at its call.

        Its custom derivatives are chained: each node passes the cotangent of one argument, and the
        cotangent of the value on to the next.
        """
        check_arity(call, tuple(argument.name for argument in function.arguments))
        if call.options or call.sizes:
            raise no_option(call)
        self._inlined += 1
        if self._inlined > MOST_INLINED:
            message = f"functions are called {MOST_INLINED} times at most"
            raise self.too_much(call.span, message, "calls inside functions count too")
        operands = self.all_of(call.operands, prefix)
        edges = tuple(operand.edge for operand in operands)
        over = None if call.over is None else self.axis(call.over)
        if call.over is not None and (
            useless := no_axis_of_own(function, call.over, self.definitions.find)
        ):
            raise Rejected(useless)
        axis, named = f"{prefix}'t{self._inlined}", axes_named(function, self.names.axes)
        self.axes[axis] = Axis(edges, over, None, named, function.name.name, "…,", call.span)
        scope = Scope(names={TIME: axis}, use=call.span)
        return self._expand(function, operands, scope, prefix, name, call.span)

    def _expand(
        self,
        function: Function,
        operands: tuple[Operand, ...],
        scope: Scope,
        prefix: str,
        name: str | None,
        span: Span,
    ) -> Operand:
        """What a function is of operands, in the place of a call."""
        outer = self._arguments, self._body, self._variables
        names = (argument.name for argument in function.arguments)
        self._variables = frozenset(_variables(function))
        self._arguments = {
            name: self._variable(name, operand, prefix)
            for name, operand in zip(names, operands, strict=False)
        }
        self._body = {
            own.name: replace(equation, value=substituted(equation.value, scope))
            for equation in function.body
            for own in equation.names
        }
        try:
            if not function.slopes:
                value = self.read(substituted(function.value, scope), prefix, name)
                return replace(value, span=span)
            value = self.read(substituted(function.value, scope), prefix)
            value = self.add("stop", (value,), span, prefix, None)
            for place, slope in enumerate(function.slopes, 1):
                argument = slope.argument or function.arguments[0]
                given = self.read(substituted(slope.value, scope), prefix)
                parts = (value, given, self._arguments[argument.name])
                last = place == len(function.slopes)
                value = self.add("with_slope", parts, span, prefix, name if last else None)
            return value
        finally:
            self._arguments, self._body, self._variables = outer

    def _variable(self, name: str, value: Operand, prefix: str) -> Operand:
        """What a name of a function is; a node of its own where a derivative is taken in it.

        Two arguments may be given one value, and the derivative in one of them is not that in it.
        """
        if name not in self._variables:
            return value
        return self.add("identity", (value,), value.span, prefix)

    def local(self, read: str, prefix: str, name: str | None) -> Operand:
        """What an equation of a function says that a name is."""
        if read in self._arguments:
            return self._arguments[read]
        equation = self._body[read]
        value = equation.value
        if isinstance(value, Call) and value.function.name == CUT:
            whole = self._whole(value, len(equation.names), prefix)
            for place, own in enumerate(equation.names):
                cut = self._part(value, place, len(equation.names))
                self._arguments[own.name] = self.add("slice", (whole,), own.span, prefix, None, cut)
        else:
            named = None if read in self._variables else name
            self._arguments[read] = self._variable(read, self.read(value, prefix, named), prefix)
        return self._arguments[read]

    def _from_library(self, call: Call, prefix: str, name: str | None) -> Operand:
        """A function that the language defines in itself."""
        function = call.function.name
        defined = LIBRARY[function]
        check_arity(call, defined.operands)
        if call.sizes or (call.over is not None and not defined.reduces):
            raise no_option(call)
        options = dict(defined.defaults) | options_of(call, defined.defaults, self.values)
        operands = self.all_of(call.operands, prefix)
        outer, self.part_of = self.part_of, self.part_of or function
        if function in LOSSES:
            self.losses.append(Draft("", "", operands, call.span, part_of=function))
        numbers = {key: value for key, value in options.items() if isinstance(value, (int, float))}
        found, scope = defined.function, Scope(at=call.span, values=numbers)
        if defined.along:
            axis = options["axis"]
            assert isinstance(axis, int)
            found = along(found, call, axis)
        try:
            return self._expand(found, operands, scope, prefix, name, call.span)
        finally:
            self.part_of = outer

    def _operation(self, call: Call) -> str:
        function, span = call.function.name, call.function.span
        if call.over is not None and function in OVER_TIME:
            return f"{function}_over"
        if function in functions() or self.part_of:
            return function
        if function in self.definitions.cells:
            raise Rejected(None)  # a use that is wrong: it is still there
        if function == CUT:
            raise rejected(
                "R220",
                span,
                "`split` gives several results",
                "inside an expression",
                ["give each a name: `a, b = split({0}, {1})`"],
                parts=[*(Label(of.span, "x") for of in call.operands), Label(span, "…")],
            )
        if not self.definitions.complete:
            raise Rejected(None)  # it may be in a file that could not be read
        raise Rejected(unknown_function(call, self.names, self.definitions))


def _variables(function: Function) -> Iterator[str]:
    """The names of a function that a derivative in it is with respect to."""
    for value in function.values:
        for call in calls_in(value):
            for at in call.operands[1:] if call.function.name in DERIVATIVES else ():
                if isinstance(at, Name):
                    yield at.name
