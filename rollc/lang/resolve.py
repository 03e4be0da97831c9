"""From a syntax tree to a graph: expansion, elaboration, inference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import networkx as nx

from rollc.autodiff.step_derivatives import with_derivatives
from rollc.ir.graph import BATCH, Edge, Graph, Type, attributes, ordered_axes
from rollc.ir.time.causality import check
from rollc.ir.traversal import reachable
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label, has_errors, in_order
from rollc.lang.diagnostics.quotation import quoted
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.elaboration.expressions import MOST_NODES, Feed
from rollc.lang.elaboration.index_errors import reset_along_two
from rollc.lang.elaboration.statements import STATIC, Taking
from rollc.lang.expansion.cell_inlining import inline_cells
from rollc.lang.expansion.definitions import Definitions, defined
from rollc.lang.graph_builder import Places, assemble, places, wiring
from rollc.lang.inference.axes import Settled, settled
from rollc.lang.inference.copies import with_copies
from rollc.lang.inference.cycle_errors import blocked, unbroken
from rollc.lang.inference.guesses import complete
from rollc.lang.inference.residuals import residuals
from rollc.lang.inference.shapes import Inference
from rollc.lang.inference.type_errors import Types, described, unknown_shape
from rollc.lang.inference.unused import unused
from rollc.lang.pairs.expansion import expanded, in_parts
from rollc.lang.pairs.kinds import ComplexKinds
from rollc.lang.symbols.builtins import DERIVATIVES
from rollc.lang.symbols.constants import Rejected, overrides
from rollc.lang.symbols.forms import written_out
from rollc.lang.symbols.table import twice
from rollc.lang.symbols.untyped_node import LOSS, Axis, Draft, Operand
from rollc.lang.syntax.ast import (
    Alias,
    Along,
    Declaration,
    Init,
    Loss,
    Net,
    Output,
    Reset,
    Shape,
    Spec,
    Statement,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a name, also where there are errors elsewhere.

    ``at`` is where it is defined: in a cell, once for each use.  A size or a constant has a
    ``number``, anything else a ``type``, of the parts of what is ``whole``: complex.  None where
    there was an error.
    """

    name: str
    at: Span
    type: Type | None
    number: float | None
    whole: bool = False


@dataclass(frozen=True)
class Resolved:
    """The result of resolving a spec.

    ``graph`` is None where there are errors.  ``wiring`` is the graph without its types, which is
    known even then, so that its cycles can be checked.
    ``places`` are the spans of its nodes and their operands.  ``said`` are the values
    that `feed` reads in free running, ``others`` reads that only its other side has.  ``known`` is
    what an editor shows of each name, ``repeated`` the places of what is written once.
    """

    graph: Graph | None
    wiring: Graph
    places: Places
    diagnostics: tuple[Diagnostic, ...]
    said: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()
    known: tuple[Known, ...] = ()
    repeated: tuple[Span, ...] = ()


def resolve(
    spec: Spec,
    source: Source,
    sets: Mapping[str, int] | None = None,
    library: Iterable[Statement] = (),
    complete: bool = True,
    feed: Feed = "taught",
) -> Resolved:
    """The graph of a spec; ``sets`` overrides sizes by name, ``feed`` chooses a side of `feed`.

    ``library`` are the cells and functions of the files that it uses, ``complete`` where
    all of them could be read.
    """
    definitions = defined(spec, library, source, complete)
    inlined = inline_cells(spec, definitions, sets or {})
    plain = inlined.spec
    found = [*definitions.problems, *inlined.problems]
    made = plain, source, sets or {}, definitions
    resolver = _Resolver(*made, [*found], feed, inlined.mentioned)
    resolved = resolver.run()
    if resolver.taking.known.unfit:
        # Something does not fit: which sizes were told by it must not depend on the order.
        resolved = _Resolver(*made, found, feed, inlined.mentioned, in_rounds=True).run()
    diagnostics = tuple(quoted(diagnostic, source) for diagnostic in resolved.diagnostics)
    return replace(resolved, diagnostics=diagnostics, repeated=inlined.repeated)


class _Resolver:
    def __init__(
        self,
        spec: Spec,
        source: Source,
        sets: Mapping[str, int],
        definitions: Definitions,
        problems: list[Diagnostic],
        feed: Feed,
        written: frozenset[str],
        in_rounds: bool = False,
    ) -> None:
        self.spec = spec
        self.written = written
        self.source = source
        self.definitions = definitions
        self.taking = Taking(spec, sets, definitions, feed, in_rounds)
        self.names, self.drafts = self.taking.names, self.taking.drafts
        self.problems = problems
        self.outputs: list[tuple[str, str]] = []
        self.loss_value: Operand | None = None

    def run(self) -> Resolved:
        self._frame()
        self.problems += overrides(self.taking.sets, self.names)
        self._aliases()
        self._uses()
        self._resets()
        self.taking.statements()
        self._outputs()
        self._loss()
        self.problems += self.taking.problems
        axes = self._axes()
        drafts, initials = self.drafts.drafts, self.drafts.initials
        inference = Inference(drafts, initials, self.drafts.declared, settled=axes)
        complete(inference)
        frame = self._empty()
        types = Types(inference, self.names, self.drafts.losses)
        self.problems += residuals(self.spec, self.drafts, inference, types.problems())
        self.problems += self._unread_inits()
        self.problems += self._loss_problem(inference)
        kinds = ComplexKinds(self.drafts, inference)
        self.problems += kinds.problems()
        with_copies(self.drafts, inference)
        wired = wiring(self.drafts, frame)
        self.problems += self._unknown_types(inference, types, wired)
        self.problems += self.names.problems
        if not has_errors(self.problems):
            self.problems += self.taking.still_unsized()
        if not has_errors(self.problems):
            self.problems += self.taking.told_otherwise(inference.types)
        if not has_errors(self.problems):
            self.problems += unused(self.spec, self.names, self.definitions, self.written)
            self.problems += self._unused_axes(axes)
        diagnostics = in_order(self.problems)
        # In a cycle that cannot be run, types can be missing without a message of their own.
        graph = None
        if not has_errors(diagnostics) and all(name in inference.types for name in drafts):
            graph = assemble(self.drafts, inference, frame, self.source)
            graph = written_out(graph)
            graph = expanded(graph, self.drafts.complex)
            if any(node.operation in DERIVATIVES for node in graph.nodes):
                graph = self._differentiated(graph, wired)
                diagnostics = in_order(self.problems)
        said = tuple(in_parts(self.drafts.said, kinds.names))
        others = frozenset(in_parts(self.drafts.others, kinds.names))
        known = tuple(self._known(inference, kinds.names))
        return Resolved(graph, wired, places(self.drafts), diagnostics, said, others, known)

    def _known(self, inference: Inference, whole: set[str]) -> Iterator[Known]:
        values = self.taking.values
        numbers: dict[str, float | None] = {**values.sizes, **values.constants}
        for name, symbol in self.names.symbols.items():
            node = self.drafts.node_of(name)
            type_ = inference.types.get(node)
            yield Known(name, symbol.at, type_, numbers.get(name), node in whole)

    def _differentiated(self, graph: Graph, wired: Graph) -> Graph | None:
        """The graph with ordinary nodes for derivatives; None where there is none of something."""
        if unbroken(check(wired).findings, graph):
            return None  # a cycle is reported by itself
        found: Graph | None = None
        for result in with_derivatives(graph, MOST_NODES):
            if isinstance(result, Graph):
                found = result
            else:
                name, reason = result
                at = Label(self.drafts.drafts[name].operands[0].span, "differentiated here")
                notes = (reason.note,) if reason.note else ()
                code = "R108" if reason.too_large else "R234"
                self.problems.append(Diagnostic(code, reason.message, at, notes=notes))
        return found

    # Statements, by kind

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
            self.drafts.axes[use.name.name] = Axis(
                arguments, use.over, use.outer, use.named, use.cell, "…;", use.span
            )

    def _axes(self) -> Settled:
        found = settled(self.drafts.drafts, self.drafts.axes, self.drafts.marked, self.names)
        self.drafts.drafts.update(found.drafts)
        self.drafts.borders.ends()
        self.problems += self._resets_along_two()
        self.problems += found.problems
        return found

    def _resets_along_two(self) -> Iterator[Diagnostic]:
        """Reads along two axes of what is reset."""
        resets, along = self.drafts.resets.resets, dict[str, str]()
        operands = [one for draft in self.drafts.drafts.values() for one in draft.operands]
        for operand in operands:
            name, axis = operand.edge.source, operand.edge.axis
            if name in resets and axis and along.setdefault(name, axis) != axis:
                yield reset_along_two(name, operand.span, resets[name].span)

    def _unused_axes(self, found: Settled) -> Iterator[Diagnostic]:
        for axis, span in self.names.declared.items():
            if not any(axis in runs for runs in found.axes.values()):
                yield Diagnostic(
                    "R224",
                    f"unused time axis `{axis}`",
                    Label(span, "nothing runs over it"),
                    severity="warning",
                )

    def _resets(self) -> None:
        """What is reset, and what to, has to be known where the state is read."""
        for init in self.spec.of(Init):
            name = self.drafts.node_of(init.name.name)
            if not init.axes:
                self.drafts.resets.starts.setdefault(name, init)
            else:
                axes = frozenset(axis.name for axis in init.axes)
                self.drafts.borders.said.setdefault(name, {}).setdefault(axes, init)
        for declared in self.spec.of(Declaration):
            if isinstance(declared.type, Shape) and declared.type.kind == "condition":
                self.drafts.resets.conditions.add(self.drafts.node_of(declared.name.name))
        for reset in self.spec.of(Reset):
            name = self.drafts.node_of(reset.name.name)
            first = self.drafts.resets.resets.setdefault(name, reset)
            if self.names.find(reset.name) is None or name not in self.names.symbols:
                continue
            symbol = self.names.symbols[name]
            if first is not reset:
                message = f"the reset of `{reset.name.name}` is given"
                self.problems.append(twice(message, first.span, reset.span))
            elif symbol.kind in STATIC:
                self.problems.append(
                    Diagnostic(
                        "R213",
                        f"`{name}` cannot be reset: it is the same at every step",
                        Label(reset.name.span),
                        (Label(symbol.at, "defined here"),),
                    )
                )

    def _outputs(self) -> None:
        seen: dict[str, Span] = {}
        for output in self.spec.of(Output):
            name = output.name.name
            symbol = self.names.find(output.name)
            if name in seen:
                self.problems.append(twice(f"output `{name}` is given", seen[name], output.span))
            elif symbol is not None and symbol.kind == "size":
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
            try:
                self._loss_of(loss)
            except Rejected as rejection:
                if rejection.diagnostic is not None:
                    self.problems.append(rejection.diagnostic)

    def _loss_of(self, loss: Loss) -> None:
        """The loss is the mean over the batch, where it differs between sequences."""
        value, drafts = self.drafts.read(loss.value, LOSS, LOSS), self.drafts.drafts
        self.loss_value = value
        if not self._runs_over_batch(value.edge.source):
            if value.edge != Edge(LOSS):
                drafts[LOSS] = Draft(LOSS, "identity", (value,), loss.value.span)
                self.loss_value = replace(value, edge=Edge(LOSS))
            return
        if value.edge == Edge(LOSS):  # the name is that of the mean
            each = self.drafts.fresh(LOSS)
            drafts[each] = replace(drafts.pop(LOSS), name=each)
            self.loss_value = replace(value, edge=Edge(each))
        over = attributes(over=(BATCH,))
        drafts[LOSS] = Draft(LOSS, "mean_over", (self.loss_value,), loss.value.span, over)

    def _runs_over_batch(self, name: str) -> bool:
        """Whether an input or a target is somewhere behind a value."""
        drafts, initials = self.drafts.drafts, self.drafts.initials

        def behind(name: str) -> Iterator[str]:
            for operand in drafts[name].operands if name in drafts else ():
                edge = operand.edge
                yield edge.source
                if edge.delay and edge.source in initials:
                    yield initials[edge.source].edge.source

        return any(
            drafts[other].operation in ("input", "target")
            for other in reachable([name], behind)
            if other in drafts
        )

    # What is known at the end

    def _unread_inits(self) -> Iterator[Diagnostic]:
        delayed = {
            operand.edge.source
            for draft in self.drafts.drafts.values()
            for operand in draft.operands
            if operand.edge.delay
        } | self.drafts.resets.circular
        for reset in self.spec.of(Reset) if not self.taking.unsized else ():
            if reset.shared:
                continue
            name = self.drafts.node_of(reset.name.name)
            static = name in self.names.symbols and self.names.symbols[name].kind in STATIC
            if name in self.names.symbols and name not in delayed and not static:
                yield Diagnostic(
                    "R212",
                    f"the reset of `{name}` changes nothing",
                    Label(reset.name.span),
                    notes=(f"nothing reads `{name}` with a delay",),
                    severity="warning",
                )
        for init in self.spec.of(Init) if not self.taking.unsized else ():
            if init.shared:
                continue
            name = self.drafts.node_of(init.name.name)
            axes = frozenset(axis.name for axis in init.axes)
            values = self.drafts.borders.values if axes else self.drafts.initials
            given = ((name, axes) if axes else name) in values
            if given and not self._is_read(name, init, delayed):
                along = f" along {' and '.join(f'`{axis}`' for axis in sorted(axes))}" * bool(axes)
                along += " at once" * (len(axes) > 1)
                yield Diagnostic(
                    "R212",
                    f"the initial value of `{name}` is never read",
                    Label(init.name.span),
                    notes=(f"nothing reads `{name}` with a delay{along}",),
                    severity="warning",
                )

    def _is_read(self, name: str, init: Init, delayed: Collection[str]) -> bool:
        """Whether a delayed read can find an initial value."""
        borders, axes = self.drafts.borders, frozenset(axis.name for axis in init.axes)
        if len(axes) > 1:
            return borders.is_read(name, axes)
        if axes:
            return borders.along(name, min(axes), init.span) in delayed
        return name in delayed or name in borders.said

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
        edits: tuple[Edit, ...] = ()
        if type_.time:
            what += " at every step"
        if (type_.time or type_.shape) and type_.kind != "index":
            form = "mean(…)" if type_.shape else "…"
            for axis in type_.time:
                form = f"mean({form}, over {axis})"
            helps = (f"take the mean: `{form}`",)
            before, behind = form.split("…")
            start, end = self.loss_value.span.start, self.loss_value.span.end
            edits = (Edit(Span(start, start), before), Edit(Span(end, end), behind))
        yield Diagnostic(
            "R215", "the loss is not one number", Label(self.loss_value.span, f"this is {what}"),
            helps=helps, edits=edits,
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
            network.add_edges_from((read, draft.name) for read in inference.reads(draft.name))
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
                (name, size)
                for name, size in self.taking.values.sizes.items()
                if size and "." not in name
            ),
        )
