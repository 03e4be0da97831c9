"""The decisions of the passes for each node, with their reasons, read back from the program.

Nothing is decided here.  Where a node runs, and what it is fused with, is read from the
program; whether it was sunk into a loop, from the schedule; how long its value lives, from its
buffer, and why, from the buffer assignment.  A node in a loop that was not sunk is on a cycle,
and the shortest one is the reason.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rollc.ir.graph import LEAVES, Edge, Node
from rollc.ir.time.wavefront import print_diagonals
from rollc.kernel.buffer_assignment import BufferAssignment
from rollc.kernel.fusion import order
from rollc.kernel.program import (
    Buffer,
    Loop,
    MatMul,
    Nest,
    Optional,
    OuterProduct,
    Pack,
    Program,
    Reduce,
    Routine,
    Shifted,
    Simple,
    Statement,
    reads,
)
from rollc.kernel.schedule import Region, Schedule

Part = Literal["given", "free", "before", "body", "after", "none"]
Kept = Literal[
    "none", "local", "literal", "leaf", "copy", "once", "row", "block", "steps", "tape", "result"
]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a node is computed.

    ``given`` by the caller or as a literal, ``free`` for all steps at once, in the ``body``
    of a loop or, in its blocks of steps, ``before`` or ``after`` it; ``none`` for dead code.
    Loops are counted from 1; of a ``free`` node the number is that of the loop before it.
    ``diagonals`` are those that a loop runs over, such as ``s+t``.
    """

    part: Part
    phase: str = ""
    loop: int = 0
    direction: str = ""
    axis: str = ""
    diagonals: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decisions for one node.

    ``statement`` computes it, the one with that ``number`` of its type, at a step shifted by
    ``shift``; None for a value that is given, or a view.  It can be the statement of another
    node, ``into`` which this one was fused.

    The value is in ``buffer``, "" for none; where ``within`` names a node, as a view of
    that one's value.  There it is ``kept``: not at all (a ``local``, a ``literal``), by the
    caller (``leaf``), one for the sequence (``once``), for a step (``row``), for a block of
    steps, or for all ``steps``, for the reason ``because``.

    ``cycle`` has the reads of the shortest cycle that it is on; ``moved`` says that it
    is on none, and was sunk into its loop.  ``packed`` is a matrix that is packed for products
    once a call.  ``pieces`` is the number of pieces that it is computed in (loop peeling).
    """

    node: Node
    location: Location
    statement: Simple | None = None
    number: int = 0
    shift: int = 0
    into: str = ""
    buffer: str = ""
    within: str = ""
    kept: Kept = "none"
    because: str = ""
    cycle: tuple[Edge, ...] = ()
    moved: bool = False
    packed: bool = False
    pieces: int = 1


@dataclass(frozen=True, slots=True)
class _Run:
    """A statement and where it runs; ``number`` counts those of its type."""

    statement: Simple
    location: Location
    number: int
    shift: int


def decisions(scheduled: Schedule, program: Program) -> tuple[Decision, ...]:
    """The decisions for each node, in the order of execution.

    ``program`` was made from ``scheduled``.
    """
    return tuple(_Decisions(scheduled, program).decisions())


def nodes_of(statement: Simple) -> tuple[str, ...]:
    """The nodes that a statement computes; none of a fill, pack, clear or carry."""
    match statement:
        case Nest():
            return tuple(assign.name for assign in statement.body)
        case MatMul():
            return statement.names
        case OuterProduct() | Routine() | Reduce():
            return (statement.name,)
    return ()


class _Decisions:
    """Reads the decisions back from a schedule and its program."""

    def __init__(self, scheduled: Schedule, program: Program) -> None:
        self.graph = scheduled.graph
        self.assignment = BufferAssignment(self.graph, order(scheduled), scheduled.guarded)
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.runs = tuple(_runs(program))
        self.writers: dict[str, list[int]] = {}  # the runs that compute a node
        self.readers: dict[str, list[int]] = {}  # the runs that read a buffer
        for position, run in enumerate(self.runs):
            for name in nodes_of(run.statement):
                self.writers.setdefault(name, []).append(position)
            for ref in reads(run.statement):
                self.readers.setdefault(ref.buffer, []).append(position)
        self.cycles = _cycles(scheduled.regions)
        # Scheduled outside all loops, and sunk into one.
        sections = self.assignment.sections
        self.moved = _looped(section.region for section in sections) - _looped(scheduled.regions)
        self.packed = {
            part.weight
            for run in self.runs
            if isinstance(run.statement, Pack)
            for part in run.statement.parts
        }

    def decisions(self) -> Iterable[Decision]:
        ranks: dict[Location, int] = {Location("given"): 0}
        for run in self.runs:
            ranks.setdefault(run.location, len(ranks))
        found = [(self._run(node.name), self._decision(node)) for node in self.graph.nodes]
        # Dead code comes last.
        found.sort(key=lambda pair: (ranks.get(pair[1].location, len(ranks)), pair[0]))
        return (decision for _, decision in found)

    def _run(self, name: str) -> int:
        """The run that completes a node's value; -1 where it is given.

        Of a node in pieces it is the one in a loop; of a view, that of its source.
        """
        if name in self.writers:
            mine = self.writers[name]
            return next((at for at in mine if self.runs[at].location.part == "body"), mine[-1])
        node = self.graph[name]
        if node.operation in LEAVES or name not in self.assignment.items:
            return -1
        if reader := self._into(name):
            return self._run(reader)
        return max((self._run(edge.source) for edge in node.operands), default=-1)

    def _into(self, name: str) -> str:
        """The node that a node without a statement and a buffer was fused into; "" for none."""
        ref = self.assignment.refs.get(name)
        stored = ref is not None and ref.buffer in self.buffers
        computed = ref is not None or name in self.assignment.locals
        if name in self.writers or stored or not computed:
            return ""
        readers = (reader.node.name for reader, _ in self.assignment.readers.get(name, ()))
        found = (reader if reader in self.writers else self._into(reader) for reader in readers)
        return next(filter(None, found), "")

    def _decision(self, node: Node) -> Decision:
        name, at = node.name, self._run(node.name)
        items = self.assignment.items.get(name, [])
        if not items:
            return Decision(node, Location("none"))
        run = self.runs[at] if at >= 0 else None
        decision = Decision(
            node,
            Location("given") if run is None else run.location,
            shift=items[0].shift,
            cycle=self.cycles.get(name, ()),
            moved=name in self.moved,
            packed=name in self.packed,
            pieces=len(items),
        )
        into = self._into(name)
        if run is not None and (name in self.writers or into):
            decision = replace(decision, statement=run.statement, number=run.number, into=into)
        return self._kept(decision)

    def _kept(self, decision: Decision) -> Decision:
        """A decision, completed by where the value is kept, for how long, and why."""
        node, assignment = decision.node, self.assignment
        if node.name in assignment.locals or decision.into:
            return replace(decision, kept="local")
        ref = assignment.refs.get(node.name)
        if ref is None or ref.buffer not in self.buffers:
            number = node.operation == "constant"
            return replace(decision, kept="literal" if number else "none")
        buffer, root = self.buffers[ref.buffer], assignment.root(node.name)
        decision = replace(decision, buffer=buffer.name, within=root if root != node.name else "")
        if buffer.role in ("leaf", "block", "result"):
            carried = buffer.role == "block" and buffer.axis
            copied = buffer.role == "leaf" and bool(buffer.around)
            reason = assignment.outlives_step(node.name) if carried or copied else ""
            return replace(decision, kept="copy" if copied else buffer.role, because=reason)
        if buffer.role == "tape":
            return replace(decision, kept="tape", because=self._reader(decision))
        if buffer.axes and not self._is_of_diagonal(decision, buffer):
            reason = assignment.outlives_step(node.name)
            if not reason or reason == "free of time":
                reason = self._reader(decision)
            return replace(decision, kept="steps", because=reason)
        return replace(decision, kept="row" if node.type.time else "once")

    def _is_of_diagonal(self, decision: Decision, buffer: Buffer) -> bool:
        """Whether a value is kept for one diagonal at a time."""
        there = decision.location
        alive = self.assignment.outlives_step(decision.node.name)
        return bool(there.diagonals and not alive) and there.axis not in buffer.axes

    def _reader(self, decision: Decision) -> str:
        """The first reader of a value; of a tape, the first in another phase."""
        tape = self.buffers[decision.buffer].role == "tape"
        pending = [decision.buffer]
        while pending:
            buffer = pending.pop()
            for at in self.readers.get(buffer, ()):
                run = self.runs[at]
                if isinstance(run.statement, Pack):
                    pending.append(run.statement.panel)
                    continue
                reader = self._reading(run.statement, buffer)
                other = run.location.phase != decision.location.phase
                if reader not in ("", decision.node.name) and (other or not tape):
                    return f"{reader} reads it"
        return ""

    @staticmethod
    def _reading(statement: Simple, buffer: str) -> str:
        """The node of a statement that reads a buffer."""
        if isinstance(statement, Nest):
            for assign in statement.body:
                if any(getattr(operand, "buffer", "") == buffer for operand in assign.operands):
                    return assign.name
        return next(iter(nodes_of(statement)), "")


def _runs(program: Program) -> Iterator[_Run]:
    """All statements in the order of execution; those of each type are counted."""
    counts: Counter[type] = Counter()

    def flat(
        statements: Iterable[Statement | Shifted], location: Location, shift: int = 0
    ) -> Iterator[_Run]:
        for statement in statements:
            match statement:
                case Loop():
                    inner = _inside(statement, location)
                    yield from flat(statement.body, inner, shift)
                case Shifted():
                    yield from flat(statement.body, location, statement.shift)
                case Optional():
                    yield from flat(statement.body, replace(location, phase=statement.phase), shift)
                case _:
                    counts[type(statement)] += 1
                    yield _Run(statement, location, counts[type(statement)], shift)

    loops = 0
    for function in program.functions:
        for statement in function.statements:
            if isinstance(statement, Loop):
                loops += 1
                inside = _inside(statement, Location("body", function.phase, loops))
                yield from flat(statement.before, replace(inside, part="before"))
                yield from flat(statement.body, inside)
                yield from flat(statement.after, replace(inside, part="after"))
            else:
                yield from flat([statement], Location("free", function.phase, loops))


def _inside(loop: Loop, location: Location) -> Location:
    """The location of what is in a loop."""
    diagonals = print_diagonals(loop.across, loop.axis, loop.weights) if loop.across else ""
    return replace(location, direction=loop.direction, axis=loop.axis, diagonals=diagonals)


def _looped(regions: Iterable[Region]) -> set[str]:
    return {item.node.name for region in regions if region.bound for item in region.items}


def _cycles(regions: Iterable[Region]) -> Mapping[str, tuple[Edge, ...]]:
    """For each node of a loop the reads of the shortest cycle that it is on."""
    found: dict[str, tuple[Edge, ...]] = {}
    loops: dict[object, list[Node]] = {}
    for number, region in enumerate(regions):
        if region.bound:
            mine = [item.node for item in region.items]
            loops.setdefault(region.outer or number, []).extend(mine)
    for nodes in loops.values():
        names = {node.name for node in nodes}
        inside: dict[str, list[Edge]] = {}
        for node in nodes:
            inside[node.name] = [edge for edge in node.operands if edge.source in names]
        found.update((name, _cycle(inside, name)) for name in inside)
    return found


def _cycle(reads_of: Mapping[str, Sequence[Edge]], start: str) -> tuple[Edge, ...]:
    """The shortest cycle of reads from a node back to itself (breadth first)."""
    pending = deque([start])
    predecessor: dict[str, tuple[str, Edge]] = {}
    while start not in predecessor and pending:
        name = pending.popleft()
        for edge in reads_of[name]:
            if edge.source not in predecessor:
                predecessor[edge.source] = (name, edge)
                pending.append(edge.source)
    path: list[Edge] = []
    at = start
    while at in predecessor and (not path or at != start):
        at, edge = predecessor[at]
        path.append(edge)
    return tuple(reversed(path))
