"""Cell inlining: uses of cells become plain statements.

    low = lstm(x; H=64)         dim low.H = 64
                                low.t: the time axis that x runs over
                                low.x = x                    (an alias of x)
                                param low.W: [4 * low.H, size(low.x)], …
                                low.h = sigmoid(low.o) * tanh(low.c)
                                low = low.h                  (an alias of low.h)

The names of each use are qualified by the path of what it defines.  Later modules do not know
cells.  Spans of inlined statements are those in the cell, together with the span of the use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollc.ir.names import STATE as STATE
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.call_checks import no_axis_of_own
from rollc.lang.expansion.cell_sizes import as_sizes, is_real, size_problem
from rollc.lang.expansion.definitions import Definitions, axes_named, own_names
from rollc.lang.expansion.layers import Layers, Words, no_cells
from rollc.lang.expansion.repetition import repetitions
from rollc.lang.expansion.substitution import (
    Scope,
    substituted,
    substituted_shape,
    substituted_type,
)
from rollc.lang.expansion.unrolling import MOST_PARTS, MOST_STATEMENTS, MOST_USES
from rollc.lang.symbols.builtins import TIME
from rollc.lang.symbols.table import axes_of, no_axis
from rollc.lang.syntax.ast import (
    Alias,
    Along,
    Call,
    Cell,
    Const,
    Declaration,
    Dim,
    Each,
    Elements,
    Equation,
    Expression,
    Function,
    Index,
    Init,
    Loss,
    Name,
    Param,
    Repeat,
    Reset,
    Shape,
    Spec,
    Statement,
    Subscript,
    Use,
)
from rollc.lang.syntax.traversal import calls_in, expressions, names_in, parts_in

DEEPEST = 32  # cells inside cells


@dataclass(frozen=True)
class Inlined:
    """The spec of plain statements.

    ``repeated`` are the places of those that are written once, and ``mentioned`` the names in what
    was written.
    """

    spec: Spec
    problems: list[Diagnostic]
    repeated: tuple[Span, ...]
    mentioned: frozenset[str]


def inline_cells(spec: Spec, definitions: Definitions, sets: Mapping[str, int]) -> Inlined:
    """The spec with uses of cells replaced by the statements of the cells, repetitions by theirs.

    An erroneous use is left as it is.  ``sets`` overrides sizes by name.
    """
    inliner = _Inliner(definitions, axes_of(spec), sets)
    scope = Scope(
        sizes=frozenset(dim.name.name for dim in spec.of(Dim)),
        numbers=frozenset(const.name.name for const in spec.of(Const)),
        axes=frozenset((TIME, *axes_of(spec))),
        known=inliner.known,
    )
    inliner.inline(spec.statements, scope)
    inliner.whole_arrays()
    inliner.spread()
    inliner.problems += inliner.missing.values()
    inliner.unused(spec)
    values = [value for statement in spec.statements for value in expressions(statement)]
    inliner.problems += () if definitions.problems else no_cells(values, definitions)
    return Inlined(
        Spec(tuple(inliner.statements)),
        inliner.problems,
        tuple(inliner.repeated),
        frozenset(name.name for value in values for name in names_in(value)),
    )


class _Inliner(Layers):
    def __init__(
        self, definitions: Definitions, axes: Sequence[str], sets: Mapping[str, int]
    ) -> None:
        super().__init__(definitions, axes, sets)
        self.paths: set[str] = set()
        self.used: set[str] = set()
        self.sizes: dict[str, int] = {}  # the parts of each cell

    def inline(self, statements: Sequence[Statement], scope: Scope) -> None:
        for dim in statements:
            if isinstance(dim, Dim):
                self.learn(scope.name(dim.name), dim.value, scope)
        found = repetitions(statements)
        self.problems += found.problems
        elements = self.all_places(statements, scope)
        known = self.elements_in(scope, found.arrays)
        scope = replace(scope, elements=known, missing=self.missing)
        for statement in statements:
            span = scope.span(statement.span)
            match statement:
                case Use() | Cell() | Function():
                    continue
                case Equation(names, types, value):
                    results = tuple(scope.name(name) for name in names)
                    self.declare(results, types, scope)
                    if starts := found.starts.get(statement.span):
                        results = tuple(
                            Name(f"{new.name}.0", new.span) if name.name in starts else new
                            for name, new in zip(names, results, strict=True)
                        )
                        self.declare(results, types, scope)
                    self.equation(results, value, scope, span)
                case Elements() if statement.span in elements:
                    self.elements(statement, elements[statement.span], scope)
                case Repeat() if statement.span in found.carried:
                    self.repeat(statement, found.carried[statement.span], scope)
                case Loss(value):
                    self.add(Loss(self.expression(value, scope, "loss"), span))
                case Init() | Reset():
                    self.outside(statement, scope)
                case Each():
                    self.each(statement, scope)
                case Dim(name, value):
                    self.add(Dim(scope.name(name), substituted(value, scope), span))
                case Const(name, value):
                    self.add(Const(scope.name(name), substituted(value, scope), span))
                case Param(name, shape, initialiser, frozen):
                    own = scope.name(name)
                    learned, here = scope.learned(own)
                    if learned.name != own.name:
                        self.add(Alias(own, learned, span))
                    if here:
                        shape = None if shape is None else substituted_shape(shape, scope)
                        start = None if initialiser is None else substituted(initialiser, scope)
                        self.add(Param(learned, shape, start, frozen, span))
                case Elements() | Repeat():
                    self.leave(statement, scope)
                case _:
                    self.add(statement)

    def equation(
        self,
        results: tuple[Name, ...],
        value: Expression,
        scope: Scope,
        span: Span,
        path: str = "",
    ) -> None:
        nothing = (None,) * len(results)
        path = path or results[0].name
        if not (isinstance(value, Call) and self.is_cell(value)):
            self.add(Equation(results, nothing, self.expression(value, scope, path), span))
        elif self.fresh(path) != path or not self.use(value, path, results, scope):
            self.add(Equation(results, nothing, substituted(value, scope), span))

    def declare(
        self, names: Sequence[Name], types: Sequence[Shape | Index | None], scope: Scope
    ) -> None:
        """Add the types that an equation declares, as separate statements."""
        for name, type_ in zip(names, types, strict=True):
            if type_ is not None:
                self.add(Declaration(name, substituted_type(type_, scope), scope.span(type_.span)))

    def expression(self, expression: Expression, scope: Scope, owner: str) -> Expression:
        """An expression with cells inlined; a cell in an expression is its first result."""

        def replaced(call: Call) -> Expression | None:
            if not self.is_cell(call):
                return None
            path = self.fresh(f"{owner}.{call.function.name}")
            result = Name(path, scope.span(call.span))
            return result if self.use(call, path, (result,), scope) else None

        if (
            scope.use is None
            and not scope.repeats
            and not any(self.is_cell(call) for call in calls_in(expression))
        ):
            return expression
        return substituted(expression, scope, replaced)

    def fresh(self, path: str) -> str:
        found, number = path, 1
        while found in self.paths:
            number += 1
            found = f"{path}{number}"
        self.paths.add(found)
        return found

    def use(self, call: Call, path: str, results: Sequence[Name], scope: Scope) -> bool:
        """Inline a use of a cell; False if it is erroneous."""
        cell = self.definitions.cells[call.function.name]
        self.used.add(cell.name.name)
        words = self.words(cell, call, scope)
        problem = words if isinstance(words, Diagnostic) else None
        problem = problem or _path_problem(path, results[0])
        problem = self.problem(cell, call, results, scope, words) or problem
        if problem is not None and not (problem.code == "R108" and self.full):
            self.problems.append(problem)
            self.full = self.full or problem.code == "R108"
        if isinstance(words, Diagnostic) or problem is not None:
            return False
        if cell.name.name in self.definitions.flawed:
            return False
        if not words.plain:
            self.layers(cell, call, path, results, scope, words)
            return True
        inside = self.place(cell, call, path, None, scope, "reverse" in words.said)
        given_inputs = {name.name for name in cell.inputs}
        for result, name in zip(results, cell.results, strict=False):
            of = inside.name(name)
            if name.name in given_inputs:  # another name for another name could go round in circles
                self.add(Equation((result,), (None,), of, result.span))
            else:
                self.add(Alias(result, of, scope.span(call.span)))
        return True

    def place(
        self,
        cell: Cell,
        call: Call,
        path: str,
        given: Sequence[Name] | None,
        scope: Scope,
        backwards: bool,
    ) -> Scope:
        self.uses += 1
        self.parts += self.length(cell)
        inside = self.inside(cell, call, path, scope, backwards)
        said = {size.name.name: size.value for size in call.sizes}
        for size in cell.sizes:
            inside = self.size(size.name, said.get(size.name.name), size.default, inside, scope)
        for number, name in enumerate(cell.inputs):
            if given is None:
                self.input(inside.name(name), call.operands[number], scope)
            elif given[number].name != inside.name(name).name:
                self.add(Alias(inside.name(name), given[number], scope.span(call.span)))
        inputs = tuple(inside.name(name) for name in cell.inputs)
        axis = inside.name(Name(TIME, cell.name.span))
        over = None if call.over is None else scope.name(call.over).name
        outer, named = scope.names.get(TIME), axes_named(cell, self.axes)
        self.add(Along(axis, inputs, over, outer, named, cell.name.name, scope.span(call.span)))
        self.inline(cell.body, inside)
        return inside

    def inside(
        self, cell: Cell, call: Call, path: str, scope: Scope, backwards: bool = False
    ) -> Scope:
        own = own_names(cell).symbols
        outer = TIME if call.over is None else call.over.name
        turned = bool(scope.backwards) if call.over is None else outer in scope.backwards
        # One axis has several names: that of the spec, and what a cell calls it.
        axes = frozenset((TIME, *self.axes) if len(self.axes) == 1 else (TIME, outer))
        names = {name: f"{path}.{name}" for name in (TIME, *own)}
        return Scope(
            path,
            names,
            frozenset(name for name, symbol in own.items() if symbol.kind == "size"),
            frozenset(name for name, symbol in own.items() if symbol.kind == "const"),
            scope.span(call.span),
            scope.depth + 1,
            axes=frozenset((TIME, *self.axes)),
            known=self.known,
            shared=scope.shared,
            backwards=axes if turned != backwards else frozenset(),
        )

    def size(
        self,
        name: Name,
        given: Expression | None,
        default: Expression | None,
        inside: Scope,
        outside: Scope,
    ) -> Scope:
        """A whole number is a size inside the cell; any other number is a constant.

        The scope that is given back knows which; what it is by default can be computed from those
        before it.
        """
        value, scope = (given, outside) if given is not None else (default, inside)
        assert value is not None
        target, moved = inside.name(name), substituted(value, scope)
        if not is_real(value, scope):
            self.learn(target, value, scope)
            self.add(Dim(target, moved, target.span, given=True))
            return inside
        self.add(Const(target, moved, target.span))
        one = frozenset((name.name,))
        return replace(inside, sizes=inside.sizes - one, numbers=inside.numbers | one)

    def input(self, name: Name, value: Expression, scope: Scope) -> None:
        if _is_name(value, scope):
            of = substituted(value, scope)
            assert isinstance(of, Name)
            self.add(Alias(name, of, scope.span(value.span)))
        elif isinstance(value, Call) and self.is_cell(value):
            path = self.fresh(f"{name.name}.{value.function.name}")
            if not self.use(value, path, (name,), scope):
                self.add(
                    Equation((name,), (None,), substituted(value, scope), scope.span(value.span))
                )
        else:
            substituted_value = self.expression(value, scope, name.name)
            self.add(Equation((name,), (None,), substituted_value, scope.span(value.span)))

    # What can be wrong

    def problem(
        self,
        cell: Cell,
        call: Call,
        results: Sequence[Name],
        scope: Scope,
        words: Words | Diagnostic,
    ) -> Diagnostic | None:
        name, at = cell.name.name, Label(scope.span(call.span))
        also = (Label(cell.name.span, f"`{name}` is defined here"),)
        if len(call.operands) != len(cell.inputs):
            wanted = f"{len(cell.inputs)} input{'s' * (len(cell.inputs) != 1)}"
            form = ", ".join(own.name for own in cell.inputs)
            message = f"`{name}` takes {wanted}, found {len(call.operands)}"
            helps, edits = (f"write `{name}({form})`",), as_sizes(cell, call)
            if edits:
                helps = (f"sizes stand behind a semicolon: `{name}({form}; …)`",)
            return Diagnostic("R204", message, at, also, helps=helps, edits=edits)
        if call.over is not None and call.over.name not in self.axes_in(scope):
            return no_axis(call.over.name, scope.span(call.over.span), self.axes_in(scope))
        if call.over is not None:
            over = Name(call.over.name, scope.span(call.over.span))
            if useless := no_axis_of_own(cell, over, self.definitions.find):
                return useless
        if call.options:
            helps = (f"sizes stand behind a semicolon: `{name}(…; H=64)`",)
            edits = ()
            if call.operands and not call.sizes:
                gap = Span(call.operands[-1].span.end, call.options[0].span.start)
                edits = (Edit(gap, "; "),)
            message = f"`{name}` has no options"
            return Diagnostic("R227", message, at, also, helps=helps, edits=edits)
        if len(results) > len(cell.results):
            count = f"{len(cell.results)} result{'s' * (len(cell.results) != 1)}"
            message = f"`{name}` gives {count}, and {len(results)} are named"
            return Diagnostic("R220", message, Label(results[len(cell.results)].span), also)
        times = words.uses if isinstance(words, Words) else 1
        if self.uses + times > MOST_USES:
            return Diagnostic("R108", f"a spec uses cells {MOST_USES} times at most", at)
        if len(self.statements) + times * len(cell.body) > MOST_STATEMENTS:
            message = f"all cells in place have more than {MOST_STATEMENTS} statements"
            return Diagnostic("R108", message, at)
        if self.parts + times * self.length(cell) > MOST_PARTS:
            message = (
                f"all cells in place have more than {MOST_PARTS} names, numbers and operations"
            )
            return Diagnostic("R108", message, at)
        if scope.depth >= DEEPEST:
            return Diagnostic("R105", f"cells nested more than {DEEPEST} deep", at, also)
        return size_problem(cell, call, scope, also)

    def length(self, cell: Cell) -> int:
        """The number of subexpressions of a cell, of which each use has a copy."""
        name = cell.name.name
        if name not in self.sizes:
            values = [value for statement in cell.body for value in expressions(statement)]
            self.sizes[name] = sum(1 for value in values for _ in parts_in(value))
        return self.sizes[name]

    def axes_in(self, scope: Scope) -> Sequence[str]:
        """The axes that a use can name; in a cell, `t` is the axis that the cell runs along."""
        return self.axes if scope.use is None else (TIME, *self.axes)

    def unused(self, spec: Spec) -> None:
        """Warn of cells that the spec itself defines and never uses."""
        if self.problems or self.definitions.problems:
            return  # what is wrong may be the use
        for cell in spec.of(Cell):
            name = cell.name.name
            if self.definitions.cells.get(name) is cell and name not in self.used:
                self.problems.append(
                    Diagnostic(
                        "R224",
                        f"unused cell `{name}`",
                        Label(cell.name.span, "no equation uses it"),
                        severity="warning",
                    )
                )


def _is_name(value: Expression, scope: Scope) -> bool:
    """Whether the input of a cell is the name of a value, or of an element."""
    if isinstance(value, Subscript) and isinstance(value.base, Name):
        return isinstance(scope.element(value.base, value.index), Name)
    return isinstance(value, Name) and value.name not in {*scope.sizes, *scope.values}


def _path_problem(path: str, at: Name) -> Diagnostic | None:
    """The diagnostic for the name of a use that would make reserved names."""
    first = path.partition(".")[0]
    if f"{first}." != STATE:
        return None
    message = f"`{first}` cannot name a use of a cell"
    text = f"`{STATE}h` is what rollc calls the state of a value `h`"
    return Diagnostic("R109", message, Label(at.span, text), helps=("choose another name",))
