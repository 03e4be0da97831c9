"""Type inference through cycles, by constraint propagation.

The types of a spec satisfy all its operations, declarations and initial values.  Types that
follow from known ones are propagated first, and never retracted: the type of an operation whose
operands are known, a declared shape, and, where none of these tells more, the widest shape that
the known operands of an elementwise operation broadcast to.  The others are guessed by
:mod:`rollc.lang.inference.guesses`.

The time axes are known before (:mod:`rollc.lang.inference.axes`).  Diagnostics are made by
:mod:`rollc.lang.inference.type_errors`, which checks every node once, at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice

import networkx as nx

from rollc.ir.graph import BATCH, Attribute, Edge, Kind, Shape, Type, ordered_axes
from rollc.ir.operations import Operation, TypeMismatch
from rollc.ir.operations.operation import need_numbers
from rollc.ir.traversal import reachable
from rollc.lang.inference.axes import Settled, over, without_time
from rollc.lang.inference.broadcasting import aligned, broadcast
from rollc.lang.inference.dimensions import dimension, inferred
from rollc.lang.symbols.derivatives import RULES
from rollc.lang.symbols.untyped_node import Cut, Declared, Draft, Operand, Row

MOST_WIDENED = 4  # times that a type which followed from some operands alone gets another
Trail = list[tuple[str, Type | None]]


class Inference:
    """The types that are known so far, by node.

    ``settled`` are the time axes of all drafts.  Without them only shapes are inferred, and drafts
    can be missing.  ``declared`` are the types that the spec declares.  ``ambiguous`` are the nodes
    whose initial value has two readings, ``unfit`` those whose operands do not fit.
    """

    def __init__(
        self,
        drafts: Mapping[str, Draft],
        initials: Mapping[str, Operand],
        declared: Mapping[str, Sequence[Declared]],
        rows: Mapping[str, int] | None = None,
        settled: Settled | None = None,
    ) -> None:
        self.drafts = drafts
        self.initials = initials
        self.declared = declared
        self.rows = rows or {}  # of matrices that are no drafts yet: a product has as many
        self.types: dict[str, Type] = {}
        self.axes = None if settled is None else settled.axes
        self.wrong = frozenset[str]() if settled is None else settled.wrong
        self.doubtful: set[str] = set(self.wrong)
        self.ambiguous: set[str] = set()
        self.unfit: set[str] = set()
        self.loose: set[str] = set()  # whose types follow from some of what they read
        self.alike = False  # whether only numbers broadcast
        self._batch = frozenset[str]() if settled is None else _with_batch(drafts, initials)
        self._delays: dict[str, set[int]] = {}
        self.delay_axes: dict[str, set[str]] = {}  # along which a node is read with a delay
        self._readers: dict[str, list[str]] = {}
        self._started: dict[str, list[str]] = {}  # by their initial values
        self._ranks: Mapping[str, int] = {} if settled is None else _ranks(drafts)
        self._count = 0  # of the drafts that were looked at

    # What follows

    def extend(self) -> None:
        """Find the types that follow, without a guess, with the drafts made since last time."""
        new = list(islice(self.drafts.values(), self._count, None))
        self._count += len(new)
        for draft in new:
            self._readers.setdefault(draft.name, [])
            if draft.name in self.initials:
                start = self.initials[draft.name].edge.source
                self._started.setdefault(start, []).append(draft.name)
            if draft.cut is not None and draft.cut.row is not None:
                self._readers.setdefault(draft.cut.row.node, []).append(draft.name)
            for operand in draft.operands:
                self._delays.setdefault(operand.edge.source, set()).add(operand.edge.delay)
                if operand.edge.delay:
                    along = self.delay_axes.setdefault(operand.edge.source, set())
                    along.add(operand.edge.axis)
                self._readers.setdefault(operand.edge.source, []).append(draft.name)
                initial = self.initials.get(operand.edge.source)
                if operand.edge.delay and initial is not None:
                    self._readers.setdefault(initial.edge.source, []).append(draft.name)
        said = [name for name in self.declared if name in self.drafts and name not in self.types]
        for name in said:
            self.types[name] = self.as_operation_has_it(name, self.declared[name][0].type)
        readers = [reader for name in said for reader in self._readers[name]]
        self.unfit |= self.spread([*readers, *(draft.name for draft in new)])

    def has_seen(self, name: str) -> bool:
        """Whether the type of a node, or of what reads it, may have been inferred already."""
        return name in self._readers

    def read(self, edge: Edge) -> Type | None:
        """The type of a read.  A delayed one also sees the initial value."""
        found = self.types.get(edge.source)
        if found is None or not edge.delay:
            return found
        axes = {*found.axes, edge.axis}
        initial = self.initials.get(edge.source)
        start = self.types.get(initial.edge.source) if initial is not None else None
        if start is not None:
            axes.update(start.axes)
        return Type(found.kind, found.shape, ordered_axes(axes), found.bound)

    def operand_types(self, draft: Draft) -> list[Type | None]:
        return [self.read(operand.edge) for operand in draft.operands]

    def exact(self, draft: Draft) -> Type | None:
        """The type where all operands are known; raises :class:`TypeMismatch`."""
        plain = without_time(draft) if self.axes is None else draft
        if plain.type is not None:
            return plain.type
        types = self.operand_types(plain)
        if None in types:
            return None
        options = dict(plain.attributes)
        if plain.cut is not None and plain.cut.row is not None:
            found = self._row(plain.cut.row, types[0])
        else:
            if plain.cut is not None:
                options = cut_options(plain.cut, types[0])
            if plain.operation in ("stack", "expand"):
                need_numbers([type_ for type_ in types if type_ is not None])
            entry = RULES[plain.operation]
            found = inferred(plain, entry, self._aligned(entry, types), options)
        return None if found is None else self.placed(draft.name, found)

    def fits(self, name: str, start: Type) -> bool:
        """Whether an initial value fits its node, whose type is known, at every delay."""
        node = self.types[name]
        if (start.kind, start.bound) != (node.kind, node.bound):
            return False
        return start.shape in ((), node.shape) or (
            start.shape[1:] == node.shape and self.depth(name) == start.shape[0]
        )

    def depth(self, name: str) -> int:
        """How many steps outside the sequence a node is read at; 0 where on both sides."""
        past, future = self.reach(name)
        return 0 if past and future else past + future

    def reach(self, name: str) -> tuple[int, int]:
        """The longest delays that a node is read with, into the past and into the future."""
        delays = self._delays.get(name, set())
        return max((0, *delays)), -min((0, *delays))

    def _row(self, row: Row, start: Type | None) -> Type | None:
        """The type of a row of an initial value, or of the value itself.

        The default initial value is the number 0, or the index 0 of an index.
        """
        node = self.types.get(row.node)
        if node is not None and node.kind == "index" and row.node not in self.initials:
            return replace(node, axes=())
        if start is None or node is None or start.shape in ((), node.shape):
            return start if node is not None else None
        return replace(start, shape=start.shape[1:])

    def partial(self, draft: Draft, numbers: bool = False) -> Type | None:
        """The type of an elementwise operation as far as its known operands determine it.

        Numbers determine no shape, since they broadcast.  What follows from the bound of an index
        that is known is found again where another one has a larger bound.
        """
        draft = without_time(draft) if self.axes is None else draft
        if not RULES[draft.operation].elementwise or not draft.operands:
            return None
        types = self.operand_types(draft)
        known = [type_ for type_ in types if type_ is not None]
        if not known or not (numbers or any(type_.shape for type_ in known)):
            return None
        entry = RULES[draft.operation]
        found = entry.infer(self._aligned(entry, types), dict(draft.attributes))
        if found is None:
            return None
        start = None if numbers else self.start(draft.name)
        if start is not None and self.depth(draft.name) != (start.shape or (0,))[0]:
            # Its initial value tells what it broadcasts to, where that is no row for each step.
            found = replace(found, shape=_wider(found.shape, start.shape))
        for operand, type_ in zip(draft.operands, types, strict=True):
            if type_ is None and not numbers:
                found = replace(found, shape=self._as_begun(operand.edge, found.shape))
        return self.placed(draft.name, found)

    def _as_begun(self, edge: Edge, shape: Shape) -> Shape:
        """What a shape broadcasts to beside a delayed read, by the initial value of that.

        One that may have been meant to have a row for each step says nothing.
        """
        start = self.start(edge.source) if edge.delay else None
        if start is None or not start.shape:
            return shape
        row = start.shape[1:]
        return shape if broadcast(shape, row) == row else _wider(shape, start.shape)

    def _aligned(self, entry: Operation, types: Sequence[Type | None]) -> Sequence[Type | None]:
        return types if self.alike else aligned(entry, types)

    def placed(self, name: str, type_: Type) -> Type:
        """The type, over all the axes that the node runs over."""
        batch = {BATCH} if name in self._batch else set[str]()
        axes = () if self.axes is None else ordered_axes(self.axes[name] | batch)
        return replace(type_, axes=axes)

    def as_operation_has_it(self, name: str, type_: Type) -> Type:
        """A type of a shape as the operation of a node would give it: a condition is one."""
        owner, seen = name, set[str]()
        kind: Kind = type_.kind
        while name in self.drafts and name not in seen and kind == "float":
            seen.add(name)
            draft = self.drafts[name]
            entry = RULES.get(draft.operation)  # a leaf has none
            if entry is not None and entry.gives == "bool":
                kind = "bool"
            if entry is None or entry.gives != "operand":
                break
            name = draft.operands[0].edge.source
        return self.placed(owner, replace(type_, kind=kind))

    def spread(
        self,
        names: Iterable[str],
        trail: Trail | None = None,
        excused: Collection[str] = (),
    ) -> set[str]:
        """Propagate the types of the names; return the nodes that do not fit.

        ``trail`` gets the nodes that got a type, and the one before; with it, propagation ends at
        the first contradiction that is not ``excused``.  Nodes of one step are visited in the
        order of evaluation, those of one cycle at once, so that the result does not depend on the
        order of the drafts.
        """
        pending, partly = _Pending(self._ranks, names), _Partly(self._ranks)
        widened = Counter[str]()
        unfit: set[str] = set()
        while pending or partly:
            told: dict[str, Type] = {}
            for name in pending.earliest() if pending else ():
                draft = self.drafts.get(name)
                if draft is None:
                    continue
                if self._looked_at(draft, told, partly, widened[name] < MOST_WIDENED):
                    unfit.discard(name)
                else:
                    unfit.add(name)
            widened.update(name for name in told if name in self.types)
            self.loose |= {name for name in told if not self.loose.isdisjoint(self.reads(name))}
            if not (told or pending):
                told = partly.widest(self.types)
                self.loose.update(told)
            if trail is not None:
                trail.extend((name, self.types.get(name)) for name in told)
            self.types.update(told)
            if trail is not None and not unfit <= set(excused):
                break
            # What got a type is looked at again: its initial value has to fit.
            pending.add([*told, *self.readers(told)])
        return unfit

    def _looked_at(self, draft: Draft, told: dict[str, Type], partly: _Partly, again: bool) -> bool:
        """Whether a node fits what it reads; ``told`` gets its type, if that was not known.

        ``partly`` gets what its known operands alone say of it.  What followed from that is told
        ``again``, if it is another after all.
        """
        known = self.types.get(draft.name)
        try:
            found = self.exact(draft)
            if found is None and known is None:
                partly.add(draft.name, self.partial(draft))
        except TypeMismatch:
            partly.add(draft.name, None)
            return False
        if known is None or (found not in (None, known) and again and draft.name in self.loose):
            if found is not None:
                told[draft.name] = found
            return True
        start = self.start(draft.name)
        return found in (None, known) and (start is None or self.fits(draft.name, start))

    def start(self, name: str) -> Type | None:
        """The type of the initial value of a node, as far as it is known."""
        initial = self.initials.get(name)
        return self.types.get(initial.edge.source) if initial is not None else None

    # What does not follow

    def prepare(self) -> None:
        """Find every type that follows, and what no guess could help; the guesses come next."""
        self.extend()
        self._find_doubtful()

    def _find_doubtful(self) -> None:
        """What reads something that is wrong, directly or not: no guess would help there."""
        pending = [
            name for name in self._readers if name not in self.drafts and name not in self.rows
        ]
        pending += sorted(self.wrong)
        for name, draft in self.drafts.items():
            try:
                self.exact(draft)
            except TypeMismatch:
                pending.append(name)
                self.doubtful.add(name)
        while pending:
            for reader in self._readers[pending.pop()]:
                if reader not in self.doubtful:
                    self.doubtful.add(reader)
                    pending.append(reader)

    def reads(self, name: str) -> list[str]:
        """The nodes that the type of a node has to do with, by its operation or initial value."""
        draft = self.drafts[name]
        found = [operand.edge.source for operand in draft.operands]
        if draft.cut is not None and draft.cut.row is not None:
            found.append(draft.cut.row.node)
        if name in self.initials:
            found.append(self.initials[name].edge.source)
        return found

    def readers(self, names: Iterable[str]) -> list[str]:
        """The nodes whose types have to do with those of the names."""
        readers = (self._readers, self._started)
        return [reader for name in names for of in readers for reader in of.get(name, ())]

    def product(self, draft: Draft) -> Type | None:
        """The type of a product with a known matrix, where what it meets is a vector."""
        if draft.operation != "matmul":
            return None
        matrix = draft.operands[0].edge.source
        if matrix in self.rows:
            return self.placed(draft.name, Type("float", (self.rows[matrix],)))
        left, right = self.operand_types(draft)
        if left is None or right is not None or len(left.shape) != 2:
            return None
        return self.placed(draft.name, Type("float", left.shape[:1]))


def _wider(shape: Shape, other: Shape) -> Shape:
    """The other shape, where this one broadcasts to it."""
    return other if broadcast(shape, other) == other else shape


class _Pending:
    """Nodes that are to be looked at, the earliest of them first."""

    def __init__(self, ranks: Mapping[str, int], names: Iterable[str]) -> None:
        self.ranks = ranks
        self.names: dict[int, set[str]] = {}
        self.order: list[int] = []
        self.add(names)

    def __bool__(self) -> bool:
        return bool(self.order)

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            rank = self.ranks.get(name, 0)
            if rank not in self.names:
                heappush(self.order, rank)
            self.names.setdefault(rank, set()).add(name)

    def earliest(self) -> set[str]:
        return self.names.pop(heappop(self.order))


class _Partly:
    """Nodes with the types that their known operands say, the widest first.

    What else they read can broadcast these further, so that the widest are sure first: nothing that
    they read in a cycle is known to be wider.
    """

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self.ranks = ranks
        self.order: list[tuple[int, int, int, str]] = []
        self.types: dict[str, Type] = {}

    def __bool__(self) -> bool:
        return bool(self.order)

    def add(self, name: str, type_: Type | None) -> None:
        if type_ is None:
            self.types.pop(name, None)
        elif self.types.get(name) != type_:
            self.types[name] = type_
            place = -type_.size, -len(type_.shape), self.ranks.get(name, 0)
            heappush(self.order, (*place, name))

    def widest(self, known: Mapping[str, Type]) -> dict[str, Type]:
        """The types of the widest without one, and of these the earliest."""
        found: dict[str, Type] = {}
        place: tuple[int, int, int] | None = None
        while self.order and (place is None or self.order[0][:3] == place):
            *first, name = heappop(self.order)
            type_ = self.types.get(name)
            if type_ is None or name in known:
                continue
            # An earlier entry of a node that got wider is left out.
            if (-type_.size, -len(type_.shape)) == (first[0], first[1]):
                found[name] = type_
                place = first[0], first[1], first[2]
        return found


def _ranks(drafts: Mapping[str, Draft]) -> dict[str, int]:
    """The order of evaluation within a step; what reads each other at one step is one."""
    network: nx.DiGraph[str] = nx.DiGraph()
    network.add_nodes_from(drafts)
    for name, draft in drafts.items():
        reads = (operand.edge for operand in draft.operands if not operand.edge.delay)
        network.add_edges_from((edge.source, name) for edge in reads)
    order = nx.condensation(network)
    return {
        name: rank
        for rank, layer in enumerate(nx.topological_generations(order))
        for number in layer
        for name in order.nodes[number]["members"]
    }


def _with_batch(drafts: Mapping[str, Draft], initials: Mapping[str, Operand]) -> frozenset[str]:
    """The drafts that have another value for each sequence of a batch."""
    readers: dict[str, list[str]] = {}
    for name, draft in drafts.items():
        for operand in draft.operands if BATCH not in over(draft) else ():
            source = operand.edge.source
            readers.setdefault(source, []).append(name)
            if operand.edge.delay and source in initials:
                readers.setdefault(initials[source].edge.source, []).append(name)
    leaves = {name: draft.type for name, draft in drafts.items() if draft.type is not None}
    starts = (name for name, type_ in leaves.items() if BATCH in type_.axes)
    return frozenset(reachable(starts, lambda name: readers.get(name, ())))


def cut_options(cut: Cut, type_: Type | None) -> dict[str, Attribute]:
    """The attributes of a slice of a value of that type; raises :class:`TypeMismatch`."""
    assert type_ is not None
    axis = dimension(cut.axis, len(type_.shape))
    length = type_.shape[axis]
    along: dict[str, Attribute] = {"axis": axis} if axis else {}
    if cut.part is not None:
        place, count = cut.part
        if length % count:
            others = [at for at, size in enumerate(type_.shape) if not size % count]
            hint = (
                f"along another dimension: `split({{0}}, {count}, axis={others[0]})`"
                if others
                else ""
            )
            raise TypeMismatch(f"a length that {count} divides", [0], hint)
        size = length // count
        return {"start": place * size, "stop": (place + 1) * size, **along}
    return {"start": cut.start, "stop": length if cut.stop is None else cut.stop, **along}
