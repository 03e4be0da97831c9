"""Types of drafts, through cycles: a fixpoint.

A node's type follows from its operands' types.  In a cycle some of them are not known
yet; an elementwise operation then takes the shape of an operand that is known, unless
that is a number, which would fit any shape.  Where the fixpoint leaves nodes without a
type, guesses are made, the safest first, and the fixpoint goes on after each sort:

1. a node has the shape of its initial value;
2. a product with a known matrix meets a vector;
3. what meets a number is a number.

The time axes are known before (:mod:`rollc.lang.axes`), so that a value whose shape is known
in part only still runs over all its axes.

Errors are not found here: an operation that does not fit leaves its node as it is, and
:mod:`rollc.lang.types` looks at every node once, at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from rollc.graph.graph import BATCH, Attribute, Edge, Type, ordered_axes
from rollc.graph.operations import OPERATIONS, TypeMismatch
from rollc.graph.operations.table import union
from rollc.lang.axes import Settled, without_time
from rollc.lang.node import Cut, Draft, Operand, Row

MOST_CHANGES = 12  # a type that changes more often grows without end


class Inference:
    """The types that are known so far, by node.

    ``settled`` are the time axes of all drafts.  Without them just shapes are found, as if
    all were one step.
    """

    def __init__(
        self,
        drafts: Mapping[str, Draft],
        initials: Mapping[str, Operand],
        rows: Mapping[str, int] | None = None,
        settled: Settled | None = None,
    ) -> None:
        self.drafts = drafts
        self.initials = initials
        self.rows = rows or {}  # of matrices that are no drafts yet: a product has as many
        self.types: dict[str, Type] = {}
        self.axes = None if settled is None else settled.axes
        self.wrong = frozenset[str]() if settled is None else settled.wrong
        self.doubtful: set[str] = set(self.wrong)
        self._changes: dict[str, int] = {}
        self._readers: dict[str, list[str]] = {}
        self._count = 0  # of the drafts that were looked at

    def extend(self) -> None:
        """Find the types that follow, without a guess, with the drafts made since last time."""
        new = list(islice(self.drafts.values(), self._count, None))
        self._count += len(new)
        for draft in new:
            self._readers.setdefault(draft.name, [])
            if draft.cut is not None and draft.cut.row is not None:
                self._readers.setdefault(draft.cut.row.node, []).append(draft.name)
            for operand in draft.operands:
                self._readers.setdefault(operand.edge.source, []).append(draft.name)
                initial = self.initials.get(operand.edge.source)
                if operand.edge.delay and initial is not None:
                    self._readers.setdefault(initial.edge.source, []).append(draft.name)
        self._settle(draft.name for draft in new)

    def run(self) -> None:
        """Find every type that can be found."""
        self.extend()
        self._find_doubtful()
        guesses = (self._as_initial, self._as_product, self._as_number)
        while any(self._guess(guess) for guess in guesses):
            pass

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
        draft = without_time(draft) if self.axes is None else draft
        if draft.type is not None:
            return draft.type
        types = self.operand_types(draft)
        if None in types:
            return None
        options = dict(draft.attributes)
        if draft.cut is not None and draft.cut.row is not None:
            return self._row(draft.cut.row, types[0])
        if draft.cut is not None:
            options = cut_options(draft.cut, types[0])
        return OPERATIONS[draft.operation].infer(types, options)

    def _row(self, row: Row, start: Type | None) -> Type | None:
        """The type of a row of an initial value, or of the value itself."""
        node = self.types.get(row.node)
        if start is None or node is None or start.shape in ((), node.shape):
            return start if node is not None else None
        return replace(start, shape=start.shape[1:])

    def partial(self, draft: Draft, numbers: bool = False) -> Type | None:
        """The type as far as the known operands of an elementwise operation tell it."""
        draft = without_time(draft) if self.axes is None else draft
        if not OPERATIONS[draft.operation].elementwise:
            return None
        types = self.operand_types(draft)
        known = [type_ for type_ in types if type_ is not None]
        if not known or not (numbers or any(type_.shape for type_ in known)):
            return None
        return OPERATIONS[draft.operation].infer(types, dict(draft.attributes))

    def _update(self, name: str, type_: Type | None) -> bool:
        if type_ is not None and self.axes is not None:
            batch = {BATCH} & {*type_.axes}
            type_ = replace(type_, axes=ordered_axes(self.axes[name] | batch))
        if type_ is None or type_ == self.types.get(name):
            return False
        self._changes[name] = self._changes.get(name, 0) + 1
        if self._changes[name] > MOST_CHANGES:
            return False
        self.types[name] = type_
        return True

    def _settle(self, names: Iterable[str]) -> None:
        pending = deque(names)
        waiting = set(pending)
        while pending:
            name = pending.popleft()
            waiting.discard(name)
            draft = self.drafts.get(name)
            if draft is None:
                continue
            try:
                found = self.exact(draft)
                if found is None:
                    found = self.partial(draft)
            except TypeMismatch:
                continue
            if self._update(name, found):
                for reader in self._readers[name]:
                    if reader not in waiting:
                        waiting.add(reader)
                        pending.append(reader)

    def _guess(self, guess: Callable[[Draft], Type | None]) -> bool:
        """Guess for all nodes without a type at once; whether any got one."""
        changed = []
        for name, draft in self.drafts.items():
            if name not in self.types and name not in self.doubtful:
                try:
                    found = guess(draft)
                except TypeMismatch:
                    continue
                if self._update(name, found):
                    changed.append(name)
        self._settle(reader for name in changed for reader in self._readers[name])
        return bool(changed)

    def _as_initial(self, draft: Draft) -> Type | None:
        initial = self.initials.get(draft.name)
        found = self.types.get(initial.edge.source) if initial is not None else None
        return found if found is not None and found.shape else None

    def _as_product(self, draft: Draft) -> Type | None:
        if draft.operation != "matmul":
            return None
        matrix = draft.operands[0].edge.source
        if matrix in self.rows:
            return Type("float", (self.rows[matrix],))
        left, right = self.operand_types(draft)
        if left is None or right is not None or len(left.shape) != 2:
            return None
        return Type("float", left.shape[:1], union([left]))

    def _as_number(self, draft: Draft) -> Type | None:
        initial = self.initials.get(draft.name)
        found = self.types.get(initial.edge.source) if initial is not None else None
        return found if found is not None else self.partial(draft, numbers=True)


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
