"""What of the language a program has, by name."""

from __future__ import annotations

from collections.abc import Iterator

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Name
from tests.commands.random_programs.writing.scope import Settings

# Everything that programs are to have: a test holds these to the tables of the reference.
FORMS = frozenset(
    [
        *("time of another name", "two axes", "dim", "dim from others", "set", "const"),
        *("dim that is rounded", "an element apart"),
        *("static input", "target", "input index", "input by axis", "size of 1", "one step"),
        *("param number", "param vector", "param matrix", "param of three dimensions"),
        *("init number", "init parameter", "init rows", "init computed", "init last or first"),
        *("reset", "reset of a longer delay", "cell", "cell in a cell", "cell in an expression"),
        *("cell with several results", "cell with an init", "cell with a reset", "over a use"),
        *("size from a size", "size from an input", "size that is rounded"),
        *("sizes in cells", "init from outside", "function", "function with a derivative"),
        *("delay into the past", "delay into the future", "delays of both signs", "h[t]"),
        *("delay beyond the sequence", "stop every", "slice", "element", "split"),
        *(
            "element by an index",
            "elements by numbers",
            "several places",
            "ellipsis",
            "axis from the end",
        ),
        *("split along a dimension", "own name in a repetition", "cells in an array"),
        *("layers in an array", "delay of an element", "init of an element", "reset of an element"),
        *("state of indices with a shape", "init of indices with a shape", "reset of indices"),
        *("state of conditions", "state of conditions with a shape", "init of conditions"),
        *("reset of conditions", "complex input", "complex target", "complex param"),
        *("complex param frozen", "complex state", "init of a complex state", "complex output"),
        *("reset of a complex state", "cell with a complex result", "cell in a recurrence"),
        *(
            "cell reverse in a recurrence",
            "cell stack in a recurrence",
            "cell reverse with two axes",
        ),
        *("cell both with two axes", "cell stack with two axes", "cell residual with two axes"),
        *("cell dropout with two axes",),
        *(
            "declared type",
            "reset to rows",
            "condition with a name",
            "declared condition",
            "init of an index",
            "init of an input",
            "init of a constant",
            "param frozen",
            "delay by a size",
        ),
        *("cell reverse", "cell both", "cell stack", "cell residual", "cell dropout"),
        *(
            "function of several lines",
            "repetition",
            "elements",
            "an element",
            *("cell in a repetition", "repetition in another", "init of elements"),
            "stack of elements",
        ),
        *("feed taught", "feed free", "training", "truncate", "no batch", "output of an index"),
        *("function that reads a parameter", "function that reads an input"),
        *("function that reads a value",),
        *("recurrence along two axes", "delays along both axes", "input over both axes"),
        *("init over an axis", "init over an axis that runs over the other", "init over both axes"),
        *("init over an axis with rows", "from both sides across"),
    ]
)


def features(program: la.Program, settings: Settings) -> frozenset[str]:
    return frozenset(_features(program, settings))


def _features(program: la.Program, settings: Settings) -> Iterator[str]:
    if program.axes == ("n",):
        yield "time of another name"
    if len(program.axes) > 1:
        yield "two axes"
    if settings.training:
        yield "training"
    if settings.truncate is not None:
        yield "truncate"
    if settings.batch is None:
        yield "no batch"
    if settings.sets:
        yield "set"
    if 1 in settings.steps.values():
        yield "one step"
    cells, functions = program.cells, {*program.functions}
    resets = {reset.name for reset in program.of(la.Reset)}
    library = {cell.name for used in program.of(la.Library) for cell in used.cells}
    used = dict(_uses(program.statements, cells))
    rows = {param.name: len(param.shape) for param in program.of(la.Param)}
    types = {
        name: type_
        for equation in program.of(la.Equation)
        for name, type_ in zip(equation.names, equation.types, strict=True)
    }
    arrays = {name for each in program.of(la.Elements) for name in each.names}
    read = [part for each in program.statements for value in la.expressions(each)
            for part in la.walk(value)]  # fmt: skip
    if any(isinstance(part, Name) and part.name in arrays for part in read):
        yield "stack of elements"
    for output in program.of(la.Output):
        if any(isinstance(types.get(name), la.Index) for name in output.names):
            yield "output of an index"
    inputs = {each.name for each in program.of(la.Input)}
    for equation in program.of(la.Equation):
        if equation.declared:
            yield "declared type"
        if isinstance(equation.types[0], la.Condition):
            yield "declared condition" if equation.declared else "condition with a name"
    for init in program.of(la.Init):
        if init.name in inputs:
            yield "init of an input"
        if isinstance(types.get(init.name), la.Index):
            yield "init of an index"
        own, value = types.get(init.name), init.value
        deep = isinstance(value, Name) and rows.get(value.name, 0)
        if isinstance(own, la.Float) and deep > len(own.shape):
            yield "init rows"
            if init.name in resets:
                yield "reset to rows"
    yield from _of_functions(program)
    yield from _of_states(program, types)
    yield from _of_arrays(program, cells)
    for output in program.of(la.Output):
        if any(isinstance(types.get(name), la.Complex) for name in output.names):
            yield "complex output"
    own_delays = {
        part.name
        for value in (value for each in program.statements for value in la.expressions(each))
        for part in la.walk(value)
        if isinstance(part, Name) and part.delays
    }
    for statement in program.statements:
        yield from _of_statement(statement, cells, functions)
        for part in (part for value in la.expressions(statement) for part in la.walk(value)):
            if not isinstance(part, Call) or part.function not in cells:
                continue
            if len(program.axes) > 1:
                yield from (f"cell {word} with two axes" for word, _ in part.words)
            if isinstance(statement, la.Equation) and not own_delays.isdisjoint(statement.names):
                yield "cell in a recurrence"
                yield from (f"cell {word} in a recurrence" for word, _ in part.words)
        if isinstance(statement, la.Init) and statement.name in used:
            yield "init from outside"
        for value in la.expressions(statement):
            for part in la.walk(value):
                yield from _of_expression(part, cells, functions, settings)
                if isinstance(part, Name) and part.name in resets and abs(part.delay) > 1:
                    yield "reset of a longer delay"
                if isinstance(part, Call) and part.function in library:
                    yield f"cell {part.function} of the library"
                inside = isinstance(part, Call) and part.function in cells
                if inside and not (isinstance(statement, la.Equation) and part is value):
                    yield "cell in an expression"
    inits = [init for init in program.of(la.Init) if init.over]
    for init in inits:
        own = types.get(init.name)
        if isinstance(init.value, Name) and isinstance(own, la.Float):
            if rows.get(init.value.name, 0) > len(own.shape):
                yield "init over an axis with rows"
            elif init.value.name not in rows and len(init.over) == 1:
                yield "init over an axis that runs over the other"
    for equation in program.of(la.Equation):
        own = [part for part in la.walk(equation.value) if isinstance(part, Name)]
        own = [part for part in own if part.name in equation.names]
        if len({axis for part in own for axis in part.delays}) > 1:
            yield "recurrence along two axes"
            across = {part.also[0][0] > 0 for part in own if part.also}
            if len(across) > 1:
                yield "from both sides across"
    signs: dict[str, set[bool]] = {}
    for statement in program.statements:
        for value in la.expressions(statement):
            for part in la.walk(value):
                if isinstance(part, Name) and part.delay and isinstance(statement, la.Equation):
                    signs.setdefault(part.name, set()).add(part.delay > 0)
    both = any(len(each) > 1 for each in signs.values())
    if both or len({frozenset(each) for each in signs.values()}) > 1:
        yield "delays of both signs"


def _of_functions(program: la.Program) -> Iterator[str]:
    """Of what functions of the spec read there, beside their arguments."""
    words = {part.name: "a parameter" for part in program.of(la.Param)}
    words |= {part.name: "an input" for part in program.of(la.Input)}
    words |= {name: "a value" for part in program.of(la.Equation) for name in part.names}
    for function in program.of(la.Function):
        for value in la.expressions(function):
            for part in la.walk(value):
                if isinstance(part, Name) and part.name in words.keys() - {*function.arguments}:
                    yield f"function that reads {words[part.name]}"


def _of_states(program: la.Program, types: dict[str, la.Type | None]) -> Iterator[str]:
    """Of states that are no real numbers."""
    read = {
        part.name
        for equation in program.of(la.Equation)
        for part in la.walk(equation.value)
        if isinstance(part, Name) and part.delays and part.name in equation.names
    }
    words = {la.Index: "indices", la.Condition: "conditions", la.Complex: "a complex state"}
    said = {part.name: "init of" for part in program.of(la.Init)}
    again = {part.name: "reset of" for part in program.of(la.Reset)}
    for name in read:
        type_ = types.get(name)
        if type_ is None or isinstance(type_, la.Float):
            continue
        what, shaped = words[type(type_)], bool(type_.shape)
        if isinstance(type_, la.Complex):
            yield "complex state"
        elif shaped:
            yield f"state of {what} with a shape"
        if what == "conditions":
            yield "state of conditions"
        for word in (said.get(name), again.get(name)):
            if word == "init of" and what == "indices":
                yield "init of indices with a shape" if shaped else "init of an index"
            elif word is not None:
                yield f"{word} {what}"


def _of_arrays(program: la.Program, cells: dict[str, la.Cell]) -> Iterator[str]:
    for array in program.of(la.Elements):
        if isinstance(array.value, Call) and array.value.function in cells:
            yield "layers in an array" if array.first else "cells in an array"
        for part in la.walk(array.value):
            if isinstance(part, Name) and part.delays and part.name.endswith("]"):
                yield "delay of an element"
    for said in (*program.of(la.Init), *program.of(la.Reset)):
        if said.name.endswith("]"):
            yield "init of an element" if isinstance(said, la.Init) else "reset of an element"
    for repeat in program.of(la.Repeat):
        inside = [part for part in repeat.body if isinstance(part, la.Equation)]
        if len(inside) > 1:
            yield "own name in a repetition"


def _uses(
    statements: tuple[la.Statement, ...], cells: dict[str, la.Cell]
) -> Iterator[tuple[str, Call]]:
    for statement in statements:
        match statement:
            case la.Equation(names, Call(function) as call) if function in cells:
                yield from ((name, call) for name in names)


def _of_statement(
    statement: la.Statement, cells: dict[str, la.Cell], functions: set[str]
) -> Iterator[str]:
    match statement:
        case la.Dim(_, value):
            yield "dim"
            if any(isinstance(part, Name) for part in la.walk(value)):
                yield "dim from others"
            if isinstance(value, Call) and value.function in ("floor", "ceil"):
                yield "dim that is rounded"
        case la.Repeat(body=body):
            inner = any(isinstance(part, la.Repeat) for part in body)
            yield "repetition in another" if inner else "repetition"
            read = (each for value in la.expressions(statement) for each in la.walk(value))
            if any(isinstance(each, Call) and each.function in cells for each in read):
                yield "cell in a repetition"
        case la.Elements(apart=apart):
            yield "elements"
            if apart:
                yield "an element apart"
        case la.Const():
            yield "const"
        case la.Input(type=type_, axis=axis, static=static, target=target):
            if static:
                yield "static input"
            if target:
                yield "target"
            if isinstance(type_, la.Index):
                yield "input index"
            if isinstance(type_, la.Complex):
                yield "complex target" if target else "complex input"
            if axis is not None:
                yield "input over both axes" if "," in axis else "input by axis"
            if isinstance(type_, la.Float) and la.Number(1) in type_.shape:
                yield "size of 1"
        case la.Param(shape=shape, frozen=frozen, whole=whole):
            if frozen:
                yield "param frozen"
            if whole:
                yield "complex param frozen" if frozen else "complex param"
            names = ["param number", "param vector", "param matrix", "param of three dimensions"]
            yield names[len(shape)]
        case la.Init(index=index, value=value, over=over):
            if index:
                yield "init of elements"
            if over:
                yield "init over both axes" if len(over) > 1 else "init over an axis"
            match value:
                case la.Number():
                    yield "init number"
                case Name():
                    yield "init parameter"
                case Call("first" | "last"):
                    yield "init last or first"
                case Call("zeros" | "ones" | "full" | "eye" | "range" | "[]"):
                    yield "init of a constant"
                case _:
                    yield "init computed"
        case la.Reset():
            yield "reset"
        case la.Equation(names, Call("split", options=options)):
            yield "split along a dimension" if options else "split"
        case la.Equation(names, Call(function), types) if function in cells:
            if len(names) > 1:
                yield "cell with several results"
            if any(isinstance(type_, la.Complex) for type_ in types):
                yield "cell with a complex result"
        case la.Cell(sizes=sizes, body=body):
            yield "cell"
            yield from _of_sizes(dict(sizes))
            for part in body:
                if isinstance(part, la.Init):
                    yield "cell with an init"
                if isinstance(part, la.Reset):
                    yield "cell with a reset"
                for value in la.expressions(part):
                    for inner in la.walk(value):
                        if isinstance(inner, Call) and inner.function in cells:
                            yield "cell in a cell"
                        if isinstance(inner, Call) and inner.function == "size":
                            yield "sizes in cells"
                        yield from _of_expression(inner, cells, functions, None)
                shape = part.shape if isinstance(part, la.Param) else ()
                if any(isinstance(each, Call) for each in shape):
                    yield "sizes in cells"
        case la.Function(slopes=slopes, several=several):
            if several:
                yield "function of several lines"
            yield "function with a derivative" if slopes else "function"


def _of_sizes(sizes: dict[str, Expression | None]) -> Iterator[str]:
    """Of defaults that are computed."""
    for default in sizes.values():
        for part in la.walk(default) if default is not None else ():
            match part:
                case Name(name) if name in sizes:
                    yield "size from a size"
                case Call("size"):
                    yield "size from an input"
                case Call("ceil" | "floor"):
                    yield "size that is rounded"


def _of_expression(
    part: Expression,
    cells: dict[str, la.Cell],
    functions: set[str],
    settings: Settings | None,
) -> Iterator[str]:
    match part:
        case Name(name, delay, axis, marked, size, also):
            if also:
                yield "delays along both axes"
            if name.endswith("]"):
                yield "an element"
            if size is not None:
                yield "delay by a size"
            if delay:
                yield "delay into the past" if delay > 0 else "delay into the future"
                if settings is not None and abs(delay) >= settings.steps.get(axis, 1):
                    yield "delay beyond the sequence"
            if marked:
                yield "h[t]"
        case la.Part(_, places):
            yield "ellipsis" if None in places else "several places" if places[1:] else "a place"
            for place in places:
                if isinstance(place, la.Span):
                    yield "slice"
                elif isinstance(place, la.Number):
                    yield "element"
                elif place is not None:
                    number = isinstance(place, Call) and place.function == "*"
                    yield "elements by numbers" if number else "element by an index"
        case Call("feed"):
            yield f"feed {settings.feed}" if settings is not None else "feed"
        case Call("stop", options=options) if options:
            yield "stop every"
        case Call(function, over=over, options=options):
            if dict(options).get("axis", 0) < 0:
                yield "axis from the end"
            if function in cells:
                yield from (f"cell {word}" for word, _ in part.words)
                if over is not None:
                    yield "over a use"
            elif function not in functions:
                along = " over" if over is not None else ""
                named = "".join(f" {name}" for name, _ in options)
                yield f"`{function}`{along}{named}"
