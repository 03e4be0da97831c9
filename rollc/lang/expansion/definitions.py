"""Definitions of cells and functions, and their diagnostics, before any use.

An error in a definition is reported once, however often it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.symbols.builtins import CUT, NO_OPERATIONS, SIZE, TIME, functions
from rollc.lang.symbols.table import Names, axes_of, no_axis, twice
from rollc.lang.syntax.ast import (
    Call,
    Cell,
    Const,
    Definition,
    Dim,
    Each,
    Elements,
    Expression,
    Function,
    Init,
    Input,
    Name,
    Number,
    Param,
    Reset,
    Selection,
    Spec,
    Statement,
    Subscript,
)
from rollc.lang.syntax.traversal import calls_in, expressions, names_in, parts


@dataclass
class Definitions:
    """The cells and functions that a spec can use, by name.

    ``flawed`` are erroneous ones, whose uses are not elaborated.  Where not all files could be read
    (not ``complete``), an unknown function can be one of theirs.
    """

    cells: dict[str, Cell] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    flawed: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)
    complete: bool = True

    def find(self, name: str) -> Definition | None:
        return self.cells.get(name) or self.functions.get(name)

    def all(self) -> tuple[Definition, ...]:
        return (*self.cells.values(), *self.functions.values())


@dataclass(frozen=True)
class Hidden:
    """Why a definition does not see a name, and what to do."""

    note: str
    help: str


_OF_A_FILE = Hidden(
    "a file that is used gives its cells and functions alone",
    "make it a size of the cell, or an argument of the function",
)
_FROM_A_CELL = Hidden(
    "a cell sees its own names, and sizes and constants of the spec",
    "make it an input of the cell, or a `param` in it",
)
_FROM_A_SLOPE = Hidden(
    "a function with a derivative of its own sees its arguments, sizes and constants: nothing"
    " else has a derivative there",
    "make it an argument",
)


@dataclass(frozen=True)
class Context:
    """The names outside a definition that it can refer to.

    ``seen`` are sizes and constants, for a function all names of the spec; ``axes`` time axes.
    ``hidden`` are those of its file that it cannot refer to, and ``why``.
    """

    seen: frozenset[str]
    axes: tuple[str, ...]
    hidden: Mapping[str, Span]
    why: Hidden

    def unknown(self, read: Iterable[Name], names: Names) -> Iterator[Diagnostic]:
        """The diagnostics for names that neither the definition nor its context defines."""
        for name in dict.fromkeys(read):
            if name.name not in names.symbols and name.name in self.hidden:
                yield Diagnostic(
                    "R201",
                    f"unknown name `{name.name}`",
                    Label(name.span, "not seen from here"),
                    (Label(self.hidden[name.name], f"`{name.name}` of this file"),),
                    notes=(self.why.note,),
                    helps=(self.why.help,),
                )
            elif name.name in names.symbols or name.name not in self.seen.union(self.axes):
                names.find(name)
        yield from names.problems


def defined(
    spec: Spec, library: Iterable[Statement], source: Source, complete: bool
) -> Definitions:
    """The definitions of a spec and of the files that it uses."""
    library = tuple(library)
    found = Definitions(complete=complete)
    for statement in (*spec.statements, *library):
        if isinstance(statement, (Cell, Function)):
            _define(found, statement)
    values = {name: symbol.at for name, symbol in Names(spec).symbols.items()}
    numbers = frozenset(
        item.name.name for item in spec.statements if isinstance(item, (Dim, Const))
    )
    hidden = {name: at for name, at in values.items() if name not in numbers}
    axes = (TIME, *axes_of(spec))
    for definition in found.all():
        if definition.span.start > len(source.text):  # in another file
            hidden_there = _hidden(library, source, definition)
            context = Context(frozenset(), (TIME,), hidden_there, _OF_A_FILE)
        elif isinstance(definition, Cell):
            context = Context(numbers, axes, hidden, _FROM_A_CELL)
        elif definition.slopes:
            context = Context(numbers, axes, hidden, _FROM_A_SLOPE)
        else:
            context = Context(frozenset(values), axes, {}, _OF_A_FILE)
        if isinstance(definition, Cell):
            problems = list(_cell_problems(definition, context))
        else:
            problems = list(_function_problems(definition, context))
        if problems:
            found.flawed.add(definition.name.name)
            found.problems += problems
    for members, problem in _recursions(found):
        found.flawed.update(members)
        found.problems.append(problem)
    return found


def _hidden(
    library: Iterable[Statement], source: Source, definition: Definition
) -> dict[str, Span]:
    """The sizes and constants of the file of a definition."""
    file, _ = source.at(definition.span.start)
    return {
        item.name.name: item.name.span
        for item in library
        if isinstance(item, (Dim, Const)) and source.at(item.span.start)[0] is file
    }


def _define(found: Definitions, definition: Definition) -> None:
    name = definition.name
    first = found.find(name.name)
    if name.name in (*functions(), *NO_OPERATIONS):
        found.flawed.add(name.name)
        found.problems.append(
            Diagnostic(
                "R109",
                f"`{name.name}` is a function of the language and cannot be given another meaning",
                Label(name.span),
                helps=("choose another name",),
            )
        )
    elif first is not None:
        found.problems.append(twice(f"`{name.name}` is defined", first.name.span, name.span))
    elif isinstance(definition, Cell):
        found.cells[name.name] = definition
    else:
        found.functions[name.name] = definition


# Cells


def own_names(cell: Cell) -> Names:
    """The names that a cell defines."""
    statements: list[Statement] = [
        Input(name, None, (), False, False, name.span) for name in cell.inputs
    ]
    statements += [Dim(size.name, Number(1, size.span), size.span) for size in cell.sizes]
    return Names(Spec((*statements, *cell.body)))


def axes_named(definition: Definition, axes: Sequence[str]) -> frozenset[str]:
    """Those of several time axes that a cell or function names itself, beside its own, `t`."""
    if len(axes) == 1:
        return frozenset()
    if isinstance(definition, Cell):
        values = [value for statement in definition.body for value in expressions(statement)]
        counting = (item.index for item in definition.body if isinstance(item, Elements | Each))
        indices = {index.name for index in counting if index is not None}
        own = {*own_names(definition).symbols, *indices}
    else:
        values = [*definition.values]
        own = {argument.name for argument in definition.arguments}
        own |= {name.name for equation in definition.body for name in equation.names}
    named = {name.name for value in values for name in names_in(value)}
    overs = (call.over for value in values for call in calls_in(value))
    named |= {over.name for over in overs if over is not None}
    return frozenset(named.intersection(axes) - own - {TIME})


def _cell_problems(cell: Cell, context: Context) -> Iterator[Diagnostic]:
    names = own_names(cell)
    inputs = {name.name for name in cell.inputs}
    read = [name for size in cell.sizes if size.default for name in names_in(size.default)]
    for statement in cell.body:
        for expression in expressions(statement):
            # A name alone can be an initialiser, or an error that is found with them.
            if not (
                isinstance(statement, Param)
                and isinstance(expression, Name)
                and expression is statement.initialiser
            ):
                index = statement.index if isinstance(statement, (Elements, Each)) else None
                counted = None if index is None else index.name
                read += [name for name in names_in(expression) if name.name != counted]
            yield from _over_no_axis(expression, context.axes)
        said = statement.statement if isinstance(statement, Each) else statement
        if isinstance(said, (Init, Reset)):
            read.append(said.name)
            if said.name.name in inputs:
                yield Diagnostic(
                    "R213",
                    f"`{said.name.name}` has no initial value here: it is the cell's input",
                    Label(said.name.span),
                )
    read += cell.results
    yield from context.unknown(read, names)
    yield from _late_defaults(cell, names)
    seen: dict[str, Span] = {}
    for result in cell.results:
        if result.name in seen:
            yield twice(f"result `{result.name}` is given", seen[result.name], result.span)
        seen.setdefault(result.name, result.span)
        symbol = names.symbols.get(result.name)
        if symbol is not None and symbol.kind == "size":
            yield Diagnostic(
                "R219", f"`{result.name}` is a size and cannot be a result", Label(result.span)
            )


def _late_defaults(cell: Cell, names: Names) -> Iterator[Diagnostic]:
    """Defaults that need what stands behind them: another size, or one that the cell computes."""
    before: set[str] = set()
    for size in cell.sizes:
        for name in names_in(size.default) if size.default is not None else ():
            symbol = names.symbols.get(name.name)
            if symbol is None or symbol.kind not in ("size", "const") or name.name in before:
                continue
            message = f"`{name.name}` is used before it is defined"
            also: tuple[Label, ...] = (Label(symbol.at, "defined here"),)
            help_ = "a default follows from the sizes before it, and from inputs by `size(x)`"
            if name.name == size.name.name:
                message = f"the default of `{name.name}` needs itself"
                also, help_ = (), "a size without a default is given by each use"
            yield Diagnostic("R208", message, Label(name.span), also, helps=(help_,))
        before.add(size.name.name)


# Functions


def free_names(function: Function) -> set[str]:
    """The names that a function reads and that are none of its own."""
    own = {name.name for name in function.arguments}
    own |= {name.name for equation in function.body for name in equation.names}
    return {name.name for value in function.values for name in names_in(value)} - own


def _function_problems(function: Function, context: Context) -> Iterator[Diagnostic]:
    defined = [*function.arguments, *(name for each in function.body for name in each.names)]
    names = Names(Spec(tuple(Input(name, None, (), False, False, name.span) for name in defined)))
    values = function.values
    yield from _body_problems(function)
    for value in values:
        yield from _not_in_functions(value, context.axes)
        yield from _over_no_axis(value, context.axes)
    sloped: dict[str, Span] = {}
    for slope in function.slopes:
        if slope.argument is None and len(function.arguments) > 1:
            form = f"grad {function.arguments[0].name}: …"
            yield Diagnostic(
                "R113",
                "the derivative with respect to which argument?",
                Label(slope.span),
                helps=(f"one line for each argument: `{form}`",),
            )
            continue
        name = slope.argument or function.arguments[0]
        if slope.argument is not None:
            names.find(slope.argument)
        if name.name in sloped:
            yield twice(f"the derivative of `{name.name}` is given", sloped[name.name], slope.span)
        sloped.setdefault(name.name, slope.span)
    yield from context.unknown((name for value in values for name in names_in(value)), names)


def _body_problems(function: Function) -> Iterator[Diagnostic]:
    """What is wrong with the equations of a function of several lines."""
    reads: nx.DiGraph[str] = nx.DiGraph()
    for equation in function.body:
        value = equation.value
        parts_of_one = isinstance(value, Call) and value.function.name == CUT
        if len(equation.names) > 1 and not parts_of_one:
            message = "several names for one value"
            help_ = "in a function, `split` alone gives several results: `a, b = split(x, 2)`"
            yield Diagnostic("R220", message, Label(equation.names[1].span), helps=(help_,))
        for declared in (type_ for type_ in equation.types if type_ is not None):
            help_ = "leave it out: a function takes values of any shape that its expressions take"
            yield Diagnostic(
                "R113", "a declaration in a function", Label(declared.span), helps=(help_,)
            )
        for name in equation.names:
            reads.add_edges_from((name.name, read.name) for read in names_in(value))
    for members in nx.strongly_connected_components(reads):
        name = min(members)
        if len(members) > 1 or reads.has_edge(name, name):
            own = next(
                each
                for equation in function.body
                for each in equation.names
                if each.name in members
            )
            help_ = f"what runs over the steps is written as a delay, in a cell: `{own.name}[t-1]`"
            message = f"`{own.name}` needs itself"
            yield Diagnostic("R304", message, Label(own.span), helps=(help_,))


def _over_no_axis(value: Expression, axes: Sequence[str]) -> Iterator[Diagnostic]:
    """The diagnostics for `over` with an axis that the definition does not know."""
    for call in calls_in(value):
        if call.over is not None and call.over.name not in axes:
            yield no_axis(call.over.name, call.over.span, axes)


def _not_in_functions(value: Expression, axes: Sequence[str]) -> Iterator[Diagnostic]:
    pending = [value]
    while pending:
        part = pending.pop()
        found = parts(part)
        indices = found[1:] if isinstance(part, Subscript | Selection) else ()
        if any(name.name in axes for index in indices for name in names_in(index)):
            yield Diagnostic(
                "R113",
                "a delay in a function",
                Label(part.span),
                helps=("give the delayed value as an argument, or write a cell",),
            )
            found = found[:1]
        elif isinstance(part, Call) and part.function.name == SIZE:
            yield Diagnostic("R113", "a size in a function", Label(part.span))
        pending.extend(found)


# Definitions that need themselves


def _recursions(found: Definitions) -> Iterator[tuple[list[str], Diagnostic]]:
    """The names on each cycle of calls, and the message about it."""
    calls: nx.DiGraph[str] = nx.DiGraph()
    for caller in found.all():
        for call in _calls(caller):
            if found.find(call.function.name) is not None:
                calls.add_edge(caller.name.name, call.function.name, span=call.function.span)
    for component in nx.strongly_connected_components(calls):
        # A graph of its own, in the order of the text: that of a set is by chance.
        inside = nx.DiGraph(
            [edge for edge in calls.edges(data=True) if {edge[0], edge[1]} <= component]
        )
        if inside.edges:
            cycle = nx.find_cycle(inside)
            chain = [(callee, inside.edges[caller, callee]["span"]) for caller, callee in cycle]
            verb = "uses" if cycle[0][0] in found.cells else "calls"
            yield list(inside), _recursion(verb, chain)


def _calls(definition: Definition) -> Iterator[Call]:
    if isinstance(definition, Cell):
        values = [value for statement in definition.body for value in expressions(statement)]
    else:
        values = [*definition.values]
    for value in values:
        yield from calls_in(value)


def _recursion(verb: str, chain: Sequence[tuple[str, Span]]) -> Diagnostic:
    """The diagnostic for a cycle of calls; each link is a name and the span of the call."""
    names = [f"`{name}`" for name, _ in chain]
    first, *others = sorted({span for _, span in chain})
    return Diagnostic(
        "R304",
        f"{names[-1]} {verb} itself",
        Label(first),
        tuple(Label(span) for span in others),
        notes=(f" {verb} ".join((names[-1], *names)),),
        helps=("what runs over the steps is written as a delay: `h[t-1]`",),
    )
