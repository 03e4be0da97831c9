"""Which values are complex, and what takes no complex one.

A value is complex that is declared so, that `complex(a, b)` gives, or that is computed from a
complex one, through cycles too: the least set for which that holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rollc.ir.graph import Edge, Node
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.quotation import Quoted
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.drafts import Drafts
from rollc.lang.inference.shapes import Inference
from rollc.lang.inference.type_errors import described, written
from rollc.lang.pairs.rules import HIGHEST_POWER, gives_complex, takes
from rollc.lang.symbols.builtins import COMPARISONS, DERIVATIVES, said
from rollc.lang.symbols.untyped_node import LOSS, Draft, Operand


@dataclass(frozen=True, slots=True)
class Reads:
    """What the kind of a node depends on."""

    operation: str
    sources: tuple[str, ...]
    power: float | None  # the last operand, where it is a constant


def reads_of(nodes: Iterable[tuple[str, str, Sequence[str]]], numbers: Numbers) -> Kinds:
    """The reads of all nodes, by name."""
    return {
        name: Reads(operation, tuple(sources), numbers.get(sources[-1]) if sources else None)
        for name, operation, sources in nodes
    }


Numbers = Mapping[str, float]
Kinds = dict[str, Reads]


def reads_of_nodes(nodes: Sequence[Node]) -> Kinds:
    """The reads of the nodes of a graph."""
    numbers = _numbers((node.name, node.operation, node.options) for node in nodes)
    return reads_of(
        ((node.name, node.operation, [edge.source for edge in node.operands]) for node in nodes),
        numbers,
    )


def _numbers(nodes: Iterable[tuple[str, str, Mapping[str, object]]]) -> dict[str, float]:
    found = {}
    for name, operation, options in nodes:
        value = options.get("value")
        if operation == "constant" and isinstance(value, float):
            found[name] = value
    return found


def complex_values(nodes: Kinds, declared: Iterable[str]) -> set[str]:
    """The complex values; ``declared`` are those that the spec declares so."""
    readers: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for source in node.sources:
            readers.setdefault(source, []).append(name)
    found = {name for name in declared if name in nodes}
    pending = [*found, *(name for name, node in nodes.items() if node.operation == "complex")]
    found.update(pending)
    while pending:
        for reader in readers.get(pending.pop(), ()):
            node = nodes[reader]
            places = _places(node, found)
            if reader not in found and gives_complex(
                node.operation, places, len(node.sources), node.power
            ):
                found.add(reader)
                pending.append(reader)
    return found


def _places(node: Reads, found: set[str]) -> list[int]:
    return [place for place, source in enumerate(node.sources) if source in found]


class ComplexKinds:
    """The kinds of the values of a spec, and what is wrong with their uses."""

    def __init__(self, drafts: Drafts, inference: Inference) -> None:
        self.drafts, self.inference = drafts, inference
        own = drafts.drafts.values()
        numbers = _numbers((draft.name, draft.operation, dict(draft.attributes)) for draft in own)
        self.nodes = reads_of(
            (
                (draft.name, draft.operation, [read.edge.source for read in draft.operands])
                for draft in own
            ),
            numbers,
        )
        self.names = complex_values(self.nodes, drafts.complex)

    def problems(self) -> Iterator[Diagnostic]:
        if not self.names:
            return
        seen: set[tuple[str, Span]] = set()  # calls of the library, each with one error
        for draft in self.drafts.drafts.values():
            node = self.nodes[draft.name]
            places = _places(node, self.names)
            if takes(node.operation, places, len(node.sources), node.power):
                continue
            if not draft.part_of or (draft.part_of, draft.span) not in seen:
                yield self._refused(draft, draft.operands[places[-1]], places, node.power)
            seen.add((draft.part_of, draft.span))
        yield from self._initials()
        yield from self._declared()
        yield from self._loss()

    def _refused(
        self, draft: Draft, operand: Operand, places: list[int], power: float | None
    ) -> Diagnostic:
        name = draft.part_of or said(draft.operation)
        message = f"`{name}` takes real numbers, found a complex one"
        at = draft.operands.index(operand)
        z = f"{{{at}}}"
        help_ = "`real(…)`, `imag(…)`, `abs(…)` and `angle(…)` of it are real"
        if name == "**" and places == [0]:
            message = f"a complex number to a power that is no whole number up to {HIGHEST_POWER}"
        if name == "**":
            help_ = "write `exp({1:tight} * log({0}))`"
        elif name in COMPARISONS:
            help_ = f"complex numbers have no order: compare `abs({z})` or `real({z})`"
            if name in ("==", "!="):
                word = "and" if name == "==" else "or"
                parts = (f"{part}({{0}}) {name} {part}({{1}})" for part in ("real", "imag"))
                help_ = f"compare the parts: `{f' {word} '.join(parts)}`"
        elif name == "complex":
            help_ = "its operands are the real and the imaginary part, both real"
        elif name == "dropout":
            help_ = "drop both parts at once: `{0:tight} * dropout(ones(N))`"
        elif name in DERIVATIVES:
            help_ = "write the slopes in the real and in the imaginary part"
        elif name in ("mse", "huber"):
            help_ = "the mean of the squared differences is `mean(abs({0} - {1:tight}) ** 2)`"
        also = tuple(self._origin(operand.edge))
        label = Label(operand.span, "this is complex")
        names = "zwv".ljust(len(draft.operands), "z")  # of what is long
        if draft.part_of:
            help_ = help_.format(*map(Quoted, names))
        spans = () if draft.part_of else (of.span for of in draft.operands)
        parts_of = tuple(Label(span, said) for span, said in zip(spans, names, strict=False))
        return Diagnostic("R236", message, label, also, helps=(help_,), parts=parts_of)

    def _origin(self, edge: Edge) -> Iterator[Label]:
        """Where a complex value comes from."""
        name, seen = edge.source, set[str]()
        while name not in seen and name in self.nodes:
            seen.add(name)
            if name in self.drafts.complex:
                at = self.drafts.complex[name].span
                yield Label(at, f"`{name}` is declared as complex")
                return
            sources = [source for source in self.nodes[name].sources if source in self.names]
            fresh = [source for source in sources if source not in seen]
            name = fresh[0] if fresh else name

    def _initials(self) -> Iterator[Diagnostic]:
        for name, initial in self.drafts.initials.items():
            if initial.edge.source in self.names and name in self.nodes and name not in self.names:
                own, type_ = name.split(".")[-1], self.inference.types.get(name)
                form = f"`{own}: {'complex' if type_ is None else _complex(written(type_))} = …`"
                yield Diagnostic(
                    "R236",
                    f"the initial value of `{name}` is complex, and `{name}` is real",
                    Label(initial.span, "this is complex"),
                    helps=(f"declare it where it is defined: {form}",),
                )

    def _declared(self) -> Iterator[Diagnostic]:
        """Values that are declared as real ones and are complex."""
        for name, declared in self.inference.declared.items():
            draft = self.drafts.drafts.get(name)
            if draft is None or name not in self.names or name in self.drafts.complex:
                continue
            for declaration in declared:
                form = described(declaration.type)
                found = _complex(written(declaration.type))
                yield Diagnostic(
                    "R233",
                    f"`{name}` is declared as {form}, and is complex",
                    Label(declaration.span, f"declared as {form}"),
                    (Label(draft.span, "this is complex"), *self._origin(Edge(name))),
                    helps=(f"declare it as `{found}`, or take `real(…)`",),
                )

    def _loss(self) -> Iterator[Diagnostic]:
        if LOSS in self.names:
            draft = self.drafts.drafts[LOSS]
            yield Diagnostic(
                "R215",
                "the loss is not one real number",
                Label(draft.span, "this is complex"),
                tuple(self._origin(Edge(LOSS))),
                helps=("take `real(…)` or `abs(…)` of it",),
            )


def _complex(form: str) -> str:
    return "complex" if form == "number" else f"complex{form}"
