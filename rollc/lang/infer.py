"""Types of drafts, through cycles.

The types of a spec are those that all its operations, declarations and initial values allow.
What follows from what is known is found first, and is never taken back: the type of an
operation whose operands are known, a declared shape, and the shape of an elementwise
operation with an operand that is known and no number.

What is left are cycles that say nothing of their shape.  They are taken one after the other,
those that read no other first.  In a cycle

1. a value has the shape of its initial value or, where that can have a row for each step, of
   one row: both are tried;
2. else every product with a known matrix meets a vector;
3. else what meets numbers alone is a number (or an index, where it meets indices alone);
4. else it has the one shape that fits everything.

Such a guess is tried on everything that follows from it, and taken back where something does
not fit.  Where no guess fits, the types are the only ones that do, if there are such.  Where
two readings of an initial value fit, it is :attr:`Inference.ambiguous`.

None of this depends on the order of the drafts.  The time axes are known before
(:mod:`rollc.lang.axes`).  Errors are not found here: :mod:`rollc.lang.types` looks at every
node once, at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import networkx as nx

from rollc.graph.graph import BATCH, Attribute, Edge, Kind, Shape, Type, ordered_axes
from rollc.graph.operations import OPERATIONS, TypeMismatch
from rollc.lang.axes import Settled, over, without_time
from rollc.lang.functions import COMPARISONS, ENDS, SPREAD, SYMBOLS
from rollc.lang.node import Cut, Declared, Draft, Operand, Row

MOST_RISES = 12  # times that the bound of a guessed index rises: then it grows without end
MOST_SOLUTIONS = 16  # that are looked for: two are too many already
MOST_TRIES = 2000  # guesses that are taken back
MOST_LENGTHS = 12  # that a shape of which nothing is known is made of
BOOLS = frozenset(SYMBOLS[symbol] for symbol in COMPARISONS)
INDICES = frozenset(["argmax", "sample"])


class Inference:
    """The types that are known so far, by node.

    ``settled`` are the time axes of all drafts.  Without them just shapes are found, as if
    all were one step; then drafts can be missing still, and what fits is not yet certain.
    ``declared`` are the types that the spec itself gives to nodes.
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
        self.ambiguous: dict[str, tuple[Type, Type]] = {}
        self._batch = frozenset[str]() if settled is None else _with_batch(drafts, initials)
        self._delays: dict[str, set[int]] = {}
        self._readers: dict[str, list[str]] = {}
        self._count = 0  # of the drafts that were looked at
        self._excused: set[str] = set()  # what does not fit, guesses or not
        self._tries = 0

    # What follows

    def extend(self) -> None:
        """Find the types that follow, without a guess, with the drafts made since last time."""
        new = list(islice(self.drafts.values(), self._count, None))
        self._count += len(new)
        for draft in new:
            self._readers.setdefault(draft.name, [])
            if draft.cut is not None and draft.cut.row is not None:
                self._readers.setdefault(draft.cut.row.node, []).append(draft.name)
            for operand in draft.operands:
                self._delays.setdefault(operand.edge.source, set()).add(operand.edge.delay)
                self._readers.setdefault(operand.edge.source, []).append(draft.name)
                initial = self.initials.get(operand.edge.source)
                if operand.edge.delay and initial is not None:
                    self._readers.setdefault(initial.edge.source, []).append(draft.name)
        said = [name for name in self.declared if name in self.drafts and name not in self.types]
        for name in said:
            self.types[name] = self._placed(name, self._of_kind(name, self.declared[name][0].type))
        readers = [reader for name in said for reader in self._readers[name]]
        self._spread([*readers, *(draft.name for draft in new)])

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
            found = OPERATIONS[plain.operation].infer(types, options)
        return None if found is None else self._placed(draft.name, found)

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
        """The type of a row of an initial value, or of the value itself."""
        node = self.types.get(row.node)
        if start is None or node is None or start.shape in ((), node.shape):
            return start if node is not None else None
        return replace(start, shape=start.shape[1:])

    def _partial(self, draft: Draft, numbers: bool = False) -> Type | None:
        """The type as far as the known operands of an elementwise operation tell it.

        Numbers tell nothing, for they fit any shape, and an index could have a larger bound.
        """
        draft = without_time(draft) if self.axes is None else draft
        if not OPERATIONS[draft.operation].elementwise or not draft.operands:
            return None
        types = self.operand_types(draft)
        known = [type_ for type_ in types if type_ is not None]
        if not known or not (numbers or any(type_.shape for type_ in known)):
            return None
        found = OPERATIONS[draft.operation].infer(types, dict(draft.attributes))
        if found is None or (found.kind == "index" and not numbers):
            return None
        return self._placed(draft.name, found)

    def _placed(self, name: str, type_: Type) -> Type:
        """The type, over all the axes that the node runs over."""
        batch = {BATCH} if name in self._batch else set[str]()
        axes = () if self.axes is None else ordered_axes(self.axes[name] | batch)
        return replace(type_, axes=axes)

    def _of_kind(self, name: str, type_: Type) -> Type:
        """A type of a shape as the operation of a node would give it: a condition is one."""
        seen: set[str] = set()
        kind: Kind = type_.kind
        while name in self.drafts and name not in seen and kind == "float":
            seen.add(name)
            draft = self.drafts[name]
            if draft.operation in BOOLS:
                kind = "bool"
            if draft.operation not in (*ENDS, SPREAD):
                break
            name = draft.operands[0].edge.source
        return replace(type_, kind=kind)

    def _spread(self, names: Iterable[str], trail: list[str] | None = None) -> set[str]:
        """Find what follows from what the names now have; return what does not fit.

        ``trail`` gets the names of the nodes that got a type; with one, the first thing that
        does not fit ends it.
        """
        pending = deque(dict.fromkeys(names))
        waiting = set(pending)
        unfit: set[str] = set()
        while pending:
            name = pending.popleft()
            waiting.discard(name)
            draft = self.drafts.get(name)
            if draft is None:
                continue
            known = name in self.types
            try:
                found = self.exact(draft)
                if found is None and not known:
                    found = self._partial(draft)
            except TypeMismatch:
                unfit.add(name)
            else:
                if found is not None and not known:
                    self.types[name] = found
                    if trail is not None:
                        trail.append(name)
                    for reader in self._readers[name]:
                        if reader not in waiting:
                            waiting.add(reader)
                            pending.append(reader)
                elif found is not None and found != self.types[name]:
                    unfit.add(name)
                if name in self.types and not self._starts(name):
                    unfit.add(name)
            if trail is not None and not unfit <= self._excused:
                break
        return unfit

    def _starts(self, name: str) -> bool:
        """Whether the initial value of a node fits it, as far as it is known."""
        initial = self.initials.get(name)
        start = self.types.get(initial.edge.source) if initial is not None else None
        return start is None or self.fits(name, start)

    # What does not follow

    def run(self) -> None:
        """Find every type that can be found."""
        self.extend()
        self._find_doubtful()
        self._excused = self.doubtful | self._spread(self.drafts)
        for name, initial in self.initials.items():
            # What an initial value is to fit is looked at again when it is known.
            self._readers.setdefault(initial.edge.source, []).append(name)
        found = self._solutions(by_rule=True)
        if not found and self.axes is not None:
            found = self._solutions(by_rule=False)
            found = found if len(found) == 1 else []
        if not found:
            self._as_far_as_it_goes()
            return
        self.types = {
            name: type_
            for name, type_ in found[0].items()
            if all(other.get(name) == type_ for other in found)
        }
        for name in self._open_starts(found):
            pair = tuple(dict.fromkeys(other[name] for other in found if name in other))
            self.ambiguous[name] = (pair[0], pair[1])
        if self.ambiguous and self.axes is not None:
            self.types = found[0]

    def _open_starts(self, found: Sequence[Mapping[str, Type]]) -> Iterator[str]:
        """The nodes whose initial value has two readings, both of which fit."""
        for name, initial in self.initials.items():
            start = found[0].get(initial.edge.source)
            shapes = {other[name].shape for other in found if name in other}
            if len(shapes) > 1 and start is not None and start.shape:
                yield name

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

    def _open(self) -> list[list[str]]:
        """The cycles without types that read no other such cycle; in the order of the drafts."""
        place = {
            name: number
            for number, name in enumerate(self.drafts)
            if name not in self.types and name not in self.doubtful
        }
        network: nx.DiGraph[str] = nx.DiGraph()
        network.add_nodes_from(place)
        for name in place:
            reads = [operand.edge.source for operand in self.drafts[name].operands]
            cut = self.drafts[name].cut
            if cut is not None and cut.row is not None:
                reads.append(cut.row.node)
            if name in self.initials:
                reads.append(self.initials[name].edge.source)
            network.add_edges_from((read, name) for read in reads if read in place)
        components = list(nx.strongly_connected_components(network))
        number = {name: i for i, members in enumerate(components) for name in members}
        fed = {number[name] for read, name in network.edges if number[read] != number[name]}
        return sorted(
            (
                sorted(members, key=place.__getitem__)
                for i, members in enumerate(components)
                if i not in fed
            ),
            key=lambda members: place[members[0]],
        )

    def _solutions(self, by_rule: bool) -> list[dict[str, Type]]:
        """The types of all nodes, in all ways that fit; none where it would take too long."""
        found: list[dict[str, Type]] = []
        self._tries = 0
        try:
            self._solve(by_rule, found)
        except _TooMany:
            # As if there were several: what differs can be declared.
            return found if len(found) > 1 else []
        return found

    def _solve(self, by_rule: bool, found: list[dict[str, Type]]) -> None:
        trail: list[str] = []
        try:
            while True:
                cycles = self._open()
                if not cycles:
                    found.append(dict(self.types))
                    return
                options = self._options(cycles, by_rule)
                if options is None:
                    if self.axes is None:  # more may be known later
                        found.append(dict(self.types))
                    return
                if len(options) > 1:
                    break
                if not options or not self._assume(options[0], trail):
                    return
            for guess in options:
                self._tries += 1
                if self._tries > MOST_TRIES:
                    raise _TooMany
                if len(found) < MOST_SOLUTIONS:
                    tried: list[str] = []
                    if self._assume(guess, tried):
                        self._solve(by_rule, found)
                    self._take_back(tried)
        finally:
            self._take_back(trail)

    def _options(
        self, cycles: Sequence[Sequence[str]], by_rule: bool
    ) -> list[dict[str, Type]] | None:
        """The guesses of which one must be right; None where there is nothing to go by."""
        for cycle in cycles:
            for name in cycle:
                if readings := self._readings(name):
                    return [{name: reading} for reading in readings]
        guesses: dict[str, Type] = {}
        for cycle in cycles if by_rule else ():
            guesses.update(self._by_rule(cycle))
        if guesses:
            return [guesses]
        if self.axes is None:
            return None
        chosen = next((name for name in cycles[0] if not self._is_index(name)), None)
        if chosen is None:
            return None
        return [
            {chosen: self._placed(chosen, self._of_kind(chosen, Type("float", shape)))}
            for shape in self._shapes()
        ]

    def _assume(self, guess: Mapping[str, Type], trail: list[str]) -> bool:
        """Whether what follows from a guess fits; ``trail`` gets what has a type by it.

        An index that is guessed has the least bound that its cycle allows.
        """
        guess = dict(guess)
        for _ in range(MOST_RISES):
            start = len(trail)
            self.types.update(guess)
            trail.extend(guess)
            readers = [reader for name in guess for reader in self._readers[name]]
            if self._spread([*guess, *readers], trail) <= self._excused:
                return True
            risen = self._risen(guess)
            if not risen:
                return False
            guess.update(risen)
            self._take_back(trail[start:])
            del trail[start:]
        return False

    def _risen(self, guess: Mapping[str, Type]) -> dict[str, Type]:
        """The indices among guesses whose bound has to be larger."""
        risen: dict[str, Type] = {}
        for name, type_ in guess.items():
            if type_.kind != "index":
                continue
            try:
                found = self.exact(self.drafts[name])
            except TypeMismatch:
                continue
            rises = found is not None and (found.bound or 0) > (type_.bound or 0)
            if found is not None and found.kind == "index" and rises:
                risen[name] = found
        return risen

    def _take_back(self, names: Iterable[str]) -> None:
        for name in names:
            self.types.pop(name, None)

    def _as_far_as_it_goes(self) -> None:
        """Types for messages about what does not fit: the first guess of each sort stands."""
        while cycles := self._open():
            guesses: dict[str, Type] = {}
            for cycle in cycles:
                starts = {name: self._readings(name) for name in cycle}
                found = {name: readings[0] for name, readings in starts.items() if readings}
                guesses.update(found or self._by_rule(cycle))
            if not guesses:
                return
            self.types.update(guesses)
            self._spread([*guesses, *(item for name in guesses for item in self._readers[name])])

    # Guesses

    def _start(self, name: str) -> Type | None:
        initial = self.initials.get(name)
        return self.types.get(initial.edge.source) if initial is not None else None

    def _readings(self, name: str) -> list[Type]:
        """The types that a node can have for its initial value to fit; none where all do."""
        start = self._start(name)
        if start is None or (start.kind == "float" and not start.shape):
            return []
        shapes = [start.shape]
        if start.shape and start.shape[0] == self.depth(name):
            shapes.append(start.shape[1:])
        return [self._placed(name, replace(start, shape=shape)) for shape in shapes]

    def _by_rule(self, cycle: Sequence[str]) -> dict[str, Type]:
        """A vector at every product with a known matrix; else a number at every number."""
        products = self._guessed(cycle, self._as_product)
        return products or self._guessed(cycle, self._as_number)

    def _guessed(
        self, cycle: Sequence[str], guess: Callable[[Draft], Type | None]
    ) -> dict[str, Type]:
        found: dict[str, Type] = {}
        for name in cycle:
            try:
                type_ = guess(self.drafts[name])
            except TypeMismatch:
                continue
            if type_ is not None:
                found[name] = self._placed(name, type_)
        return found

    def _as_product(self, draft: Draft) -> Type | None:
        if draft.operation != "matmul":
            return None
        matrix = draft.operands[0].edge.source
        if matrix in self.rows:
            return Type("float", (self.rows[matrix],))
        left, right = self.operand_types(draft)
        if left is None or right is not None or len(left.shape) != 2:
            return None
        return Type("float", left.shape[:1])

    def _as_number(self, draft: Draft) -> Type | None:
        start = self._start(draft.name)
        if start is not None:
            return self._of_kind(draft.name, start)
        return self._partial(draft, numbers=True)

    def _is_index(self, name: str) -> bool:
        return self.drafts[name].operation in INDICES

    def _shapes(self) -> list[Shape]:
        """The shapes that a value of which nothing is known could have.

        They are made of the lengths of the spec, of their sums and of their differences.
        """
        lengths = {size for type_ in self.types.values() for size in type_.shape}
        lengths |= {type_.bound for type_ in self.types.values() if type_.bound}
        few = sorted(lengths)[:MOST_LENGTHS]
        far = {1, *lengths} | {a + b for a in few for b in (1, *few)}
        far |= {a - b for a in few for b in (1, *few) if a > b}
        shapes: list[Shape] = [(), *((length,) for length in sorted(far))]
        shapes += [(rows, columns) for rows in few for columns in few]
        return list(dict.fromkeys([*shapes, *(type_.shape for type_ in self.types.values())]))


class _TooMany(Exception):
    """More guesses than can be tried."""


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
    pending = [name for name, type_ in leaves.items() if BATCH in type_.axes]
    found = set(pending)
    while pending:
        for reader in readers.get(pending.pop(), ()):
            if reader not in found:
                found.add(reader)
                pending.append(reader)
    return frozenset(found)


def cut_options(cut: Cut, type_: Type | None) -> dict[str, Attribute]:
    """The attributes of a slice of a value of that type; raises :class:`TypeMismatch`."""
    assert type_ is not None
    if not type_.shape or (cut.element and len(type_.shape) != 1):
        raise TypeMismatch("a vector", [0])
    length = type_.shape[0]
    if cut.part is not None:
        place, count = cut.part
        if length % count:
            raise TypeMismatch(f"a length that {count} divides", [0])
        size = length // count
        return {"start": place * size, "stop": (place + 1) * size}
    return {"start": cut.start, "stop": length if cut.stop is None else cut.stop}
