"""Syntax to graph: names looked up, sizes computed, types inferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import networkx as nx

from rollc.graph.check import check
from rollc.graph.graph import BATCH, Attribute, Graph, Type, attributes, ordered_axes
from rollc.lang.assemble import Places, assemble, places, wiring
from rollc.lang.cycles import blocked
from rollc.lang.diagnostics import Diagnostic, Label, has_errors, in_order
from rollc.lang.draft import LOSS, TIME, Draft, Drafts, Operand
from rollc.lang.infer import Inference
from rollc.lang.initialisers import initialiser
from rollc.lang.names import Names, twice
from rollc.lang.sizes import LARGEST_SIZE, Rejected, Values, bad_size, is_size, overrides
from rollc.lang.source import Source, Span
from rollc.lang.syntax import (
    Const,
    Dim,
    Equation,
    Expression,
    Index,
    Init,
    Input,
    Loss,
    Net,
    Output,
    Param,
    Spec,
    names_in,
)
from rollc.lang.types import Types, described, unknown_shape
from rollc.lang.unused import unused

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


def resolve(spec: Spec, source: Source, sets: Mapping[str, int] | None = None) -> Resolved:
    """The graph of a spec; ``sets`` overrides sizes by name."""
    return _Resolver(spec, source, sets or {}).run()


class _Resolver:
    def __init__(self, spec: Spec, source: Source, sets: Mapping[str, int]) -> None:
        self.spec = spec
        self.source = source
        self.sets = sets
        self.names = Names(spec)
        self.values = Values(self.names)
        self.drafts = Drafts(self.names, self.values)
        self.problems: list[Diagnostic] = []
        self.outputs: list[tuple[str, str]] = []
        self.loss_value: Operand | None = None
        self.parameters = 0

    def run(self) -> Resolved:
        self._frame()
        self._dims()
        self._leaves()
        self._equations()
        self._inits()
        self._outputs()
        self._loss()
        drafts, initials = self.drafts.drafts, self.drafts.initials
        inference = Inference(drafts, initials)
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
            self.problems += unused(self.spec, self.names)
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

    def _dims(self) -> None:
        self.problems += overrides(self.sets, self.names)
        for dim in self.spec.of(Dim):
            if self.names.owns(dim.name):
                self.values.sizes[dim.name.name] = self._dim(dim)

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

    def _leaves(self) -> None:
        for statement in self.spec.statements:
            match statement:
                case Input() if self.names.owns(statement.name):
                    self.attempt(self._input, statement)
                case Param() if self.names.owns(statement.name):
                    self.attempt(self._param, statement)
                case Const() if self.names.owns(statement.name):
                    name = statement.name.name
                    self.values.constants[name] = None
                    self.attempt(self._const, statement)

    def _input(self, statement: Input) -> None:
        if statement.axis is not None and statement.axis.name != TIME:
            message = f"a time axis of its own, `{statement.axis.name}`, is not supported yet"
            raise Rejected(Diagnostic("R104", message, Label(statement.axis.span)))
        axes = (BATCH,) if statement.static else ordered_axes((TIME, BATCH))
        operation = "target" if statement.target else "input"
        match statement.type:
            case None:
                type_ = Type("float", (), axes)
            case Index(size):
                type_ = Type("index", (), axes, self.values.count(size))
            case shape:
                type_ = Type("float", self.values.shape(shape.sizes, shape.span), axes)
        self.drafts.leaf(statement.name.name, operation, type_, statement.span)

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

    def _equations(self) -> None:
        for equation in self.spec.of(Equation):
            self.attempt(self.drafts.equation, equation)

    def _inits(self) -> None:
        seen: dict[str, Init] = {}
        for init in self.spec.of(Init):
            if init.name.name in seen:
                first = seen[init.name.name].name.span
                message = f"the initial value of `{init.name.name}` is given"
                self.problems.append(twice(message, first, init.name.span))
            else:
                seen[init.name.name] = init
                self.attempt(self._init, init)

    def _init(self, init: Init) -> None:
        name = init.name.name
        symbol = self.names.find(init.name)
        operand = self.drafts.read(init.value, name)
        if symbol is None:
            return
        if symbol.sort in ("size", "param", "const"):
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
        for init in self.spec.of(Init):
            name = init.name.name
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
            helps = (f"take the mean over the steps: `mean(…, over {TIME})`",)
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
            dims=tuple((name, size) for name, size in self.values.sizes.items() if size),
        )
