"""Syntax to graph: names looked up, sizes computed, types inferred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import networkx as nx

from rollc.graph.check import check
from rollc.graph.graph import BATCH, Attribute, Edge, Graph, Type, attributes, ordered_axes
from rollc.lang.assemble import Places, assemble, places, wiring
from rollc.lang.axes import Settled, settled
from rollc.lang.cells import put_in_place
from rollc.lang.cycles import blocked
from rollc.lang.definitions import Definitions, defined
from rollc.lang.diagnostics import Diagnostic, Label, has_errors, in_order
from rollc.lang.draft import Drafts, Feed
from rollc.lang.functions import SIZE
from rollc.lang.infer import Inference
from rollc.lang.initialisers import initialiser
from rollc.lang.names import Names, twice
from rollc.lang.node import LOSS, Axis, Draft, Operand
from rollc.lang.sizes import LARGEST_SIZE, Rejected, Values, bad_size, is_size, overrides
from rollc.lang.source import Source, Span
from rollc.lang.syntax import (
    Alias,
    Along,
    Call,
    Const,
    Dim,
    Equation,
    Expression,
    Index,
    Init,
    Input,
    Loss,
    Name,
    Net,
    Output,
    Param,
    Reset,
    Shape,
    Spec,
    Statement,
    calls_in,
    expressions,
    names_in,
)
from rollc.lang.types import Types, described, unknown_shape
from rollc.lang.unused import unused

STATIC = ("size", "param", "const")  # sorts of names: the same at every step
Item = TypeVar("Item")


@dataclass(frozen=True)
class Resolved:
    """What became of a spec.

    ``graph`` is None where there are errors.  ``wiring`` is the graph without its types:
    which node reads which is known even then, so that its cycles can be looked at.
    ``places`` says where its nodes and their operands are written.
    """

    graph: Graph | None
    wiring: Graph
    places: Places
    diagnostics: tuple[Diagnostic, ...]


def resolve(
    spec: Spec,
    source: Source,
    sets: Mapping[str, int] | None = None,
    library: Iterable[Statement] = (),
    complete: bool = True,
    feed: Feed = "taught",
) -> Resolved:
    """The graph of a spec; ``sets`` overrides sizes by name, ``feed`` says what `feed` reads.

    ``library`` are the cells and functions of the files that it uses, ``complete`` where
    all of them could be read.
    """
    definitions = defined(spec, library, source, complete)
    plain, problems = put_in_place(spec, definitions)
    found = [*definitions.problems, *problems]
    return _Resolver(plain, source, sets or {}, definitions, found, feed).run()


class _Resolver:
    def __init__(
        self,
        spec: Spec,
        source: Source,
        sets: Mapping[str, int],
        definitions: Definitions,
        problems: list[Diagnostic],
        feed: Feed,
    ) -> None:
        self.spec = spec
        self.source = source
        self.sets = sets
        self.definitions = definitions
        self.names = Names(spec)
        self.values = Values(self.names, self.type_of)
        self.drafts = Drafts(self.names, self.values, definitions, feed)
        self.known = Inference(self.drafts.drafts, self.drafts.initials, timeless=True)
        self.late: set[str] = set()  # sizes and constants that are not known yet
        self.unsized: list[Statement] = []
        self.started: dict[str, Span] = {}  # where the initial value of a node is given
        self.problems = problems
        self.outputs: list[tuple[str, str]] = []
        self.loss_value: Operand | None = None
        self.parameters = 0

    def run(self) -> Resolved:
        self._frame()
        self.problems += overrides(self.sets, self.names)
        self._aliases()
        self._uses()
        self._resets()
        self._statements()
        self._outputs()
        self._loss()
        axes = self._axes()
        drafts, initials = self.drafts.drafts, self.drafts.initials
        inference = Inference(drafts, initials, wrong=axes.wrong)
        inference.run()
        frame = self._empty()
        wired = wiring(self.drafts, frame)
        types = Types(inference, self.names)
        self.problems += types.problems()
        self.problems += self._unread_inits()
        self.problems += self._loss_problem(inference)
        self.problems += self._unknown_types(inference, types, wired)
        self.problems += self.names.problems
        if not has_errors(self.problems):
            self.problems += self._unsized()
        if not has_errors(self.problems):
            self.problems += unused(self.spec, self.names, self.definitions)
            self.problems += self._unused_axes(axes)
        diagnostics = in_order(self.problems)
        # In a cycle that cannot be run, types can be missing without a message of their own.
        graph = None
        if not has_errors(diagnostics) and all(name in inference.types for name in drafts):
            graph = assemble(self.drafts, inference, frame, self.source)
        return Resolved(graph, wired, places(self.drafts), diagnostics)

    def attempt(self, step: Callable[[Item], None], item: Item) -> None:
        """Take a step that may be rejected, and go on."""
        try:
            step(item)
        except Rejected as rejection:
            if rejection.diagnostic is not None:
                self.problems.append(rejection.diagnostic)

    # Statements, sort by sort

    def _frame(self) -> None:
        """What a spec must have, and have once."""
        nets = self.spec.of(Net)
        losses = self.spec.of(Loss)
        for what, found in (("`net` is said", nets), ("`loss` is said", losses)):
            self.problems += [twice(what, found[0].span, again.span) for again in found[1:]]
        start = Label(Span(0, 0))
        if not nets:
            self.problems.append(
                Diagnostic(
                    "R110",
                    "a spec begins with the name of its network",
                    start,
                    helps=("add `net name` as the first line",),
                )
            )
        if not losses and not self.spec.of(Output):
            at = Label(nets[0].span, "this network computes nothing") if nets else start
            self.problems.append(
                Diagnostic(
                    "R218",
                    "no output and no loss",
                    at,
                    helps=("say what the network is for: `output o`, or `loss …`",),
                )
            )

    def _aliases(self) -> None:
        for alias in self.spec.of(Alias):
            if self.names.owns(alias.name):
                self.names.find(alias.of)
                self.drafts.alias(alias.name.name, alias.of.name)

    def _uses(self) -> None:
        """The axis of each use of a cell."""
        for use in self.spec.of(Along):
            arguments = tuple(Edge(self.drafts.node_of(name.name)) for name in use.arguments)
            self.drafts.axes[use.name.name] = Axis(arguments, use.outer, use.cell, "…;", use.span)

    def _axes(self) -> Settled:
        found = settled(self.drafts.drafts, self.drafts.axes, self.drafts.marked, self.names)
        self.drafts.drafts.update(found.drafts)
        self.problems += found.problems
        return found

    def _unused_axes(self, found: Settled) -> Iterator[Diagnostic]:
        for axis, span in self.names.declared.items():
            if axis not in found.run:
                yield Diagnostic(
                    "R224",
                    f"unused time axis `{axis}`",
                    Label(span, "nothing runs over it"),
                    severity="warning",
                )

    def _resets(self) -> None:
        """What is reset, and what to, has to be known where the state is read."""
        for init in self.spec.of(Init):
            self.drafts.resets.starts.setdefault(self.drafts.node_of(init.name.name), init)
        for reset in self.spec.of(Reset):
            name = self.drafts.node_of(reset.name.name)
            first = self.drafts.resets.resets.setdefault(name, reset)
            if self.names.find(reset.name) is None or name not in self.names.symbols:
                continue
            symbol = self.names.symbols[name]
            if first is not reset:
                message = f"the reset of `{reset.name.name}` is given"
                self.problems.append(twice(message, first.span, reset.span))
            elif symbol.sort in STATIC:
                self.problems.append(
                    Diagnostic(
                        "R213",
                        f"`{name}` cannot be reset: it is the same at every step",
                        Label(reset.name.span),
                        (Label(symbol.at, "defined here"),),
                    )
                )

    def _statements(self) -> None:
        """Take the statements sort by sort; those that need a size not known yet, later."""
        sorts: tuple[tuple[type[Statement], ...], ...] = (
            (Dim,),
            (Input, Param, Const),
            (Equation,),
            (Init,),
        )
        pending = [
            statement
            for sort in sorts
            for statement in self.spec.statements
            if isinstance(statement, sort)
        ]
        while pending:
            left = [statement for statement in pending if not self._taken(statement)]
            if len(left) == len(pending) and not self._guessed(left):
                self.unsized = left
                break
            pending = left
        self._leaves_in_order()

    def _leaves_in_order(self) -> None:
        """A size that was known late moves no parameter from its place in the text."""
        drafts = self.drafts.drafts
        leaves = [
            statement.name.name
            for statement in self.spec.statements
            if isinstance(statement, (Input, Param, Const))
        ]
        ordered = {name: drafts[name] for name in leaves if name in drafts}
        rest = dict(drafts)
        drafts.clear()
        drafts.update({**ordered, **rest})

    def _taken(self, statement: Statement) -> bool:
        if next(self._missing(statement), None) is not None:
            if isinstance(statement, (Dim, Const)):
                self.late.add(statement.name.name)
            return False
        match statement:
            case Dim(name) if self.names.owns(name):
                self.late.discard(name.name)
                self.values.sizes[name.name] = self._dim(statement)
            case Input(name) if self.names.owns(name):
                self.attempt(self._input, statement)
            case Param(name) if self.names.owns(name):
                self.attempt(self._param, statement)
            case Const(name) if self.names.owns(name):
                self.late.discard(name.name)
                self.values.constants[name.name] = None
                self.attempt(self._const, statement)
            case Equation():
                self.attempt(self.drafts.equation, statement)
            case Init():
                self.attempt(self._init, statement)
        return True

    def _dim(self, dim: Dim) -> int | None:
        name = dim.name.name
        if name in self.sets:
            value = self.sets[name]
            return value if is_size(value) else None
        try:
            return self.values.count(dim.value)
        except Rejected as rejection:
            if rejection.diagnostic is not None:
                self.problems.append(rejection.diagnostic)
            return None

    def type_of(self, name: str) -> Type | None:
        """The type of a value as far as it is known."""
        self.known.extend()
        return self.known.types.get(self.drafts.node_of(name))

    def _missing(self, statement: Statement) -> Iterator[Expression]:
        """What a statement has to know of sizes and is not known yet."""
        for expression in expressions(statement):
            for call in calls_in(expression):
                for name in call.operands if call.function.name == SIZE else ():
                    symbol = self.names.symbols.get(name.name) if isinstance(name, Name) else None
                    # Without a symbol, or of a size, it is an error: computing it says so.
                    if symbol is None or symbol.sort == "size":
                        continue
                    if self.type_of(symbol.name) is None:
                        yield call
            for name in names_in(expression) if self.late else ():
                if name.name in self.late:
                    yield name

    def _guessed(self, left: Sequence[Statement]) -> bool:
        """Whether guesses of shapes, where nothing follows any more, tell another size."""
        rows = dict(self._rows(left))
        self.known = Inference(self.drafts.drafts, self.drafts.initials, rows, timeless=True)
        self.known.run()
        return any(next(self._missing(statement), None) is None for statement in left)

    def _rows(self, left: Sequence[Statement]) -> Iterator[tuple[str, int]]:
        """The number of rows of matrices of which only the number of columns is not known."""
        for statement in left:
            match statement:
                case Param(name, Shape((first, _) as sizes)):
                    alone = Const(name, first, first.span)
                    if next(self._missing(alone), None) is None:
                        with suppress(Rejected):
                            yield name.name, self.values.count(sizes[0])

    def _unsized(self) -> Iterator[Diagnostic]:
        """Sizes that could not be computed, where nothing else is the reason."""
        for statement in self.unsized:
            for call in self._missing(statement):
                if isinstance(call, Call):
                    yield Diagnostic(
                        "R226",
                        "a size that depends on itself",
                        Label(call.span, "this shape is known only when the size is"),
                        helps=("give the size as a number, or a shape to a value in the cycle",),
                    )
                    break

    def _input(self, statement: Input) -> None:
        time = self._axis(statement)
        axes = ordered_axes((*time, BATCH))
        operation = "target" if statement.target else "input"
        match statement.type:
            case None:
                type_ = Type("float", (), axes)
            case Index(size):
                type_ = Type("index", (), axes, self.values.count(size))
            case shape:
                type_ = Type("float", self.values.shape(shape.sizes, shape.span), axes)
        self.drafts.leaf(statement.name.name, operation, type_, statement.span)

    def _axis(self, statement: Input) -> tuple[str, ...]:
        """The time axis that an input runs over; none for a static one."""
        axes, name = self.names.axes, statement.name.name
        if statement.static and statement.axis is not None:
            message = f"`{name}` is static: it runs over no time axis"
            raise Rejected(Diagnostic("R228", message, Label(statement.axis.span)))
        if statement.static:
            return ()
        if statement.axis is not None:
            return (self.drafts.axis(statement.axis),)
        if len(axes) > 1:
            form = f"write `{name}[{axes[0]}]` or `{name}[{axes[1]}]`, or `static` before it"
            message = f"`{name}` runs over which time axis?"
            raise Rejected(Diagnostic("R229", message, Label(statement.name.span), helps=(form,)))
        return axes

    def _param(self, statement: Param) -> None:
        shape: tuple[int, ...] = ()
        if statement.shape is not None:
            shape = self.values.shape(statement.shape.sizes, statement.shape.span)
        options: dict[str, Attribute] = initialiser(statement.initialiser, shape, self.values)
        type_ = Type("float", shape)
        self.parameters += type_.size
        if self.parameters > LARGEST_SIZE:
            message = f"the parameters have more than {LARGEST_SIZE} elements together"
            raise bad_size(statement.span, message, f"{self.parameters} up to here")
        self.drafts.leaf(statement.name.name, "param", type_, statement.span, **options)

    def _const(self, statement: Const) -> None:
        name = statement.name.name
        value = self.values.number(statement.value)
        self.values.constants[name] = value
        self.drafts.constant(value, statement.span, name, name)

    def _init(self, init: Init) -> None:
        name = self.drafts.node_of(init.name.name)
        first = self.started.setdefault(name, init.name.span)
        if first is not init.name.span:
            message = f"the initial value of `{init.name.name}` is given"
            raise Rejected(twice(message, first, init.name.span))
        operand = self.drafts.read(init.value, name)
        if self.names.find(init.name) is None or name not in self.names.symbols:
            return
        symbol = self.names.symbols[name]
        if symbol.sort in STATIC:
            raise Rejected(
                Diagnostic(
                    "R213",
                    f"`{name}` has no initial value: it is the same at every step",
                    Label(init.name.span),
                    (Label(symbol.at, "defined here"),),
                )
            )
        if operand.edge.delay:
            raise Rejected(
                Diagnostic(
                    "R211",
                    f"the initial value of `{name}` is read with a delay",
                    Label(operand.span),
                    helps=("an initial value does not change with time",),
                )
            )
        self.drafts.initials[name] = operand

    def _outputs(self) -> None:
        seen: dict[str, Span] = {}
        for output in self.spec.of(Output):
            name = output.name.name
            symbol = self.names.find(output.name)
            if name in seen:
                self.problems.append(twice(f"output `{name}` is given", seen[name], output.span))
            elif symbol is not None and symbol.sort == "size":
                self.problems.append(
                    Diagnostic(
                        "R219",
                        f"`{name}` is a size and cannot be an output",
                        Label(output.span),
                        (Label(symbol.at, "defined here"),),
                    )
                )
            elif symbol is not None:
                seen[name] = output.span
                self.outputs.append((name, self.drafts.node_of(name)))

    def _loss(self) -> None:
        for loss in self.spec.of(Loss)[:1]:
            self.attempt(self._loss_of, loss)

    def _loss_of(self, loss: Loss) -> None:
        """The loss is the mean over the batch, where it differs between sequences."""
        if not self._runs_over_batch(loss.value):
            self.loss_value = self.drafts.named(LOSS, loss.value, LOSS)
            return
        self.loss_value = self.drafts.read(loss.value, LOSS)
        over = attributes(over=(BATCH,))
        span = loss.value.span
        self.drafts.drafts[LOSS] = Draft(LOSS, "mean_over", (self.loss_value,), span, over)

    def _runs_over_batch(self, expression: Expression) -> bool:
        """Whether an input or a target is somewhere behind an expression."""
        drafts, initials = self.drafts.drafts, self.drafts.initials
        pending = [self.drafts.node_of(name.name) for name in names_in(expression)]
        seen = set(pending)
        while pending:
            name = pending.pop()
            if name not in drafts:
                continue
            if drafts[name].operation in ("input", "target"):
                return True
            behind = [operand.edge.source for operand in drafts[name].operands]
            if name in initials:
                behind.append(initials[name].edge.source)
            pending.extend(source for source in behind if source not in seen)
            seen.update(behind)
        return False

    # What is known at the end

    def _unread_inits(self) -> Iterator[Diagnostic]:
        delayed = {
            operand.edge.source
            for draft in self.drafts.drafts.values()
            for operand in draft.operands
            if operand.edge.delay
        }
        for reset in self.spec.of(Reset) if not self.unsized else ():
            name = self.drafts.node_of(reset.name.name)
            static = name in self.names.symbols and self.names.symbols[name].sort in STATIC
            if name in self.names.symbols and name not in delayed and not static:
                yield Diagnostic(
                    "R212",
                    f"the reset of `{name}` changes nothing",
                    Label(reset.name.span),
                    notes=(f"nothing reads `{name}` with a delay",),
                    severity="warning",
                )
        for init in self.spec.of(Init) if not self.unsized else ():
            name = self.drafts.node_of(init.name.name)
            if name in self.drafts.initials and name not in delayed:
                yield Diagnostic(
                    "R212",
                    f"the initial value of `{name}` is never read",
                    Label(init.name.span),
                    notes=(f"nothing reads `{name}` with a delay",),
                    severity="warning",
                )

    def _loss_problem(self, inference: Inference) -> Iterator[Diagnostic]:
        """The loss must be one number for each sequence."""
        if self.loss_value is None:
            return
        type_ = inference.read(self.loss_value.edge)
        if self.loss_value.edge.source in inference.doubtful or type_ is None:
            return
        if type_.kind == "float" and not type_.shape and not type_.time:
            return
        what = described(type_)
        helps: tuple[str, ...] = ()
        if type_.time:
            what += " at every step"
            helps = (f"take the mean over the steps: `mean(…, over {type_.time[0]})`",)
        elif type_.shape:
            helps = ("take the mean of its elements: `mean(…)`",)
        yield Diagnostic(
            "R215", "the loss is not one number", Label(self.loss_value.span, f"this is {what}"),
            helps=helps,
        )  # fmt: skip

    def _unknown_types(
        self, inference: Inference, types: Types, wiring: Graph
    ) -> Iterator[Diagnostic]:
        """Nodes without a type, where no other error is the reason: one for each cycle."""
        drafts = self.drafts.drafts
        if all(name in inference.types for name in drafts):
            return
        network: nx.DiGraph[str] = nx.DiGraph()
        for draft in drafts.values():
            network.add_node(draft.name)
            network.add_edges_from((operand.edge.source, draft.name) for operand in draft.operands)
        reasons = {*types.wrong, *blocked(check(wiring).findings)}
        reasons.update(name for name in network if name not in drafts)
        # One more node before all reasons: what follows from any of them is explained.
        network.add_edges_from(("", reason) for reason in reasons)
        explained = nx.descendants(network, "") if reasons else set()
        explained.add(LOSS)  # nothing reads it, so what is wrong lies behind it
        open_ = [name for name in drafts if name not in inference.types and name not in explained]
        place = {name: number for number, name in enumerate(drafts)}
        unknown = network.subgraph(open_)
        for component in nx.strongly_connected_components(unknown):
            members = sorted(component, key=place.__getitem__)
            if all(before in component for name in members for before in unknown.pred[name]):
                named = [name for name in members if "'" not in name]
                yield unknown_shape(drafts[(named or members)[0]])

    def _empty(self) -> Graph:
        """The graph without its nodes."""
        nets = self.spec.of(Net)
        return Graph(
            nets[0].name.name if nets else "net",
            "graph",
            (),
            tuple(self.outputs),
            LOSS if LOSS in self.drafts.drafts else None,
            axes=ordered_axes(self.names.axes),
            dims=tuple(
                (name, size) for name, size in self.values.sizes.items() if size and "." not in name
            ),
        )
