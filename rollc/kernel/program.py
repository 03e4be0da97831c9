"""The loop-level representation of a kernel: buffers, and statements over them.

A *buffer* is one array of rows.  It has a row for each step of its ``axes`` and each
sequence (one for all sequences where they share the value); a row holds the elements of one
value, and the rows of a number are one element each.  A buffer that is read with a delay along
``axis`` is padded by a halo, steps ``before`` the first and ``after`` the last one, which hold
initial values: a delayed read is then another row of the same array, and needs no test.  An
``unpadded`` one, an array of the caller's, has no halo (:mod:`rollc.kernel.refine.halo_elision`).
A ``strided`` one has the rows of all sequences, of which a thread computes some
(:mod:`rollc.kernel.refine.strided_io`).  One with a ``skew``, a number, has its rows in the order
of diagonals (:mod:`rollc.kernel.refine.skewed_buffers`).

A program has a function for each phase of the schedule; where the gradients of inputs need no
loop they are an optional part of the adjoint.  Statements of parameters alone can be the prologue
of a function, which a call can skip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rollc.ir.graph import Attribute, Kind, Shape
from rollc.ir.operations import OPERATIONS

ResultKind = Literal["output", "loss", "gradient"]
Phase = Literal["primal", "adjoint", "inputs"]
PHASES: tuple[Phase, ...] = ("primal", "adjoint", "inputs")
Role = Literal["leaf", "result", "tape", "scratch", "block", "panel"]
WHOLE, PROLOGUE, REST = range(3)
"""The parts of a function that a call can run: all of it, its prologue, or its body."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array of rows (see the module)."""

    name: str
    role: Role
    kind: Kind
    shape: Shape
    axes: tuple[str, ...] = ()
    batch: bool = False
    axis: str = ""
    before: int = 0
    after: int = 0
    unpadded: bool = False
    strided: bool = False
    skew: int = 0

    @property
    def around(self) -> int:
        """The number of rows of its halo."""
        return 0 if self.unpadded else self.before + self.after


@dataclass(frozen=True, slots=True)
class Ref:
    """A read or a write of a buffer.

    ``row`` is the current ``step``, or the ``first`` or the ``last`` one along the axis
    ``end``; or, ``along`` it, the row of the current step of another axis, ``by``.  ``shift`` is
    added to it along the axis of the buffer's delays.  ``shape`` is the value's own shape; a vector
    that is part of a longer one starts at ``offset``.
    """

    buffer: str
    shape: Shape = ()
    shift: int = 0
    offset: int = 0
    row: Literal["step", "first", "last", "along"] = "step"
    end: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """A value that an earlier assignment of the same nest computed."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


Operand = Ref | Local | Number


@dataclass(frozen=True, slots=True)
class Assign:
    """One elementwise operation inside a nest; ``store`` is where the value is stored, if it is."""

    name: str
    operation: str
    operands: tuple[Operand, ...]
    options: tuple[tuple[str, Attribute], ...] = ()
    store: Ref | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """The steps that a statement runs for; ``stop`` None is the end of the sequence.

    With ``block`` they are those of the current block of the loop around it.
    """

    start: int = 0
    stop: int | None = None
    block: bool = False


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop nest of fused elementwise operations, over the axes ``over`` and the ``shape``."""

    over: tuple[str, ...]
    shape: Shape
    body: tuple[Assign, ...]
    span: Span = Span()


@dataclass(frozen=True, slots=True)
class Fill:
    """Write initial values (zero for None) into the halo of a buffer.

    With ``depth`` the initial value has a row for each row of the halo.
    """

    buffer: str
    initial: Operand | None = None
    depth: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One of the matrices that a panel holds side by side."""

    weight: str
    transposed: bool


@dataclass(frozen=True, slots=True)
class Pack:
    """Copy matrices into one panel, inputs down and outputs across, for :class:`MatMul`.

    With a ``job``, a number, the threads of a call share the panel and pack it together; the next
    numbers are those of its further parts.
    """

    panel: str
    parts: tuple[Part, ...]
    job: int | None = None


@dataclass(frozen=True, slots=True)
class MatMul:
    """Rows times a panel: matrix-vector products of all rows (steps, sequences) at once.

    It is predicated by ``when``, a condition at each step: other steps need not be computed.
    """

    out: Ref
    operand: Ref
    panel: str
    names: tuple[str, ...]
    over: tuple[str, ...]
    span: Span = Span()
    line: int = 0
    when: Ref | None = None


@dataclass(frozen=True, slots=True)
class OuterProduct:
    """The gradient of a matrix: the sum over all rows of the outer products of two vectors.

    Of two numbers it is the sum of their products.  It is predicated by ``when``, a condition at
    each step: the products of other steps are zero.
    """

    name: str
    out: Ref
    a: Ref
    b: Ref
    over: tuple[str, ...]
    span: Span = Span()
    line: int = 0
    accumulate: bool = False
    when: Ref | None = None


@dataclass(frozen=True, slots=True)
class Routine:
    """A library routine for each iteration over the axes ``over``.

    With ``accumulate`` the result is zeroed first, along the axes ``kept``, and each iteration
    adds to it; it is zero already if ``cleared``.
    """

    name: str
    operation: str
    out: Ref
    operands: tuple[Operand, ...]
    options: tuple[tuple[str, Attribute], ...]
    over: tuple[str, ...]
    shape: Shape
    span: Span = Span()
    line: int = 0
    accumulate: bool = False
    kept: tuple[str, ...] = ()
    cleared: bool = False


def repeated(routine: Routine) -> Shape:
    """The dimensions before those that a routine works on: it is called for each element."""
    first = routine.operands[0] if routine.operands else None
    core = OPERATIONS[routine.operation].core
    return first.shape[:-core] if core and isinstance(first, Ref) else ()


@dataclass(frozen=True, slots=True)
class Reduce:
    """A reduction over axes: ``sum_over``, ``max_over`` or ``min_over``.

    A sum may be that of the products with a ``factor``, which may lack the last dimension: it has
    a number for each vector then.  It is predicated by ``when``, a condition at each step: other
    terms are zero, whatever the operand is there; the factor is zero.  With ``accumulate`` it is
    added to the stored value.
    """

    name: str
    operation: str
    out: Ref
    operand: Operand
    over: tuple[str, ...]
    kept: tuple[str, ...]
    shape: Shape
    span: Span = Span()
    line: int = 0
    accumulate: bool = False
    factor: Operand | None = None
    when: Ref | None = None


@dataclass(frozen=True, slots=True)
class Clear:
    """Write zeros to a buffer that statements accumulate into."""

    buffer: str


@dataclass(frozen=True, slots=True)
class Carry:
    """Copy the last rows of a block to where the next block reads them."""

    buffer: str


@dataclass(frozen=True, slots=True)
class Lap:
    """Add the nanoseconds since the last lap to the element ``place`` of a buffer of whole numbers.

    Its first element is the time of the last lap; ``place`` 0 begins.
    """

    buffer: str
    place: int


@dataclass(frozen=True, slots=True)
class Optional:
    """Statements that run only if the caller asks for the results of a phase."""

    phase: str
    body: tuple[Simple, ...]


Simple = (
    Nest | Fill | Pack | MatMul | OuterProduct | Routine | Reduce | Clear | Carry | Lap | Optional
)


@dataclass(frozen=True, slots=True)
class Shifted:
    """The statements that iteration t of a loop runs for the step ``t - shift``."""

    shift: int
    body: tuple[Simple, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A recurrence: its body once a step, in one direction of time.

    A recurrence along two axes is a loop in the body of another one, which has no blocks or shifts;
    or one with an axis ``across``, over diagonals of both axes with these ``weights``
    (:mod:`rollc.ir.time.wavefront`): its statements iterate over the steps across, each at the step
    along ``axis`` where the diagonal meets it.
    Where there are shifts, all of the body is in parts with a shift (it can be 0), and the
    loop has iterations until the last of them has reached the end of the sequence.  Where there
    are statements ``before`` and ``after``, the loop runs in blocks of steps, and those run once
    a block, for all of its steps.
    """

    direction: Literal["forward", "backward"]
    axis: str
    body: tuple[Simple | Shifted | Loop, ...]
    span: Span = Span()
    before: tuple[Simple, ...] = ()
    after: tuple[Simple, ...] = ()
    across: str = ""
    weights: tuple[int, int] = (0, 1)

    @property
    def blocks(self) -> bool:
        """Whether the loop runs in blocks of steps."""
        return bool(self.before or self.after)

    @property
    def nested(self) -> bool:
        """Whether there are loops in its body."""
        return any(isinstance(statement, Loop) for statement in self.body)

    def simple(self) -> Iterator[Simple]:
        """The statements, also those inside shifted parts and inner loops."""
        for statement in (*self.before, *self.body, *self.after):
            if isinstance(statement, Shifted):
                yield from statement.body
            elif isinstance(statement, Loop):
                yield from statement.simple()
            else:
                yield statement


Statement = Simple | Loop


@dataclass(frozen=True, slots=True)
class Function:
    """One phase.  ``buffers`` are its arguments, in order.

    ``optional`` is a phase that it can compute too, by its statements :class:`Optional`.  The
    ``prologue`` comes before the body.  It reads parameters alone, and a call can skip it as long
    as they and the buffers that it writes are unchanged.
    """

    phase: str
    buffers: tuple[str, ...]
    body: tuple[Statement, ...]
    optional: str = ""
    prologue: tuple[Simple, ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The prologue and the body."""
        return (*self.prologue, *self.body)

    @property
    def prologue_buffers(self) -> tuple[str, ...]:
        """The buffers of the prologue, in the order of :attr:`buffers`."""
        own = used(self.prologue)
        return tuple(name for name in self.buffers if name in own)

    @property
    def body_buffers(self) -> tuple[str, ...]:
        """The buffers of all but the prologue, in the order of :attr:`buffers`."""
        own = {*used(self.prologue)}.difference(used(self.body))
        return tuple(name for name in self.buffers if name not in own)


@dataclass(frozen=True, slots=True)
class Result:
    """A value that leaves the kernel: an output, the loss or a gradient.

    A ``partial`` one is a sum over the sequences: those of the shards of a batch add up.
    """

    label: str
    kind: ResultKind
    ref: Ref
    phase: str
    partial: bool = False


@dataclass(frozen=True)
class Program:
    """A kernel: its buffers, functions and results.

    ``axes`` are the time axes; ``leaves`` pairs each leaf that the caller gives with its operation.
    ``block`` is the number of rows (steps times sequences) of a block of steps, at least.
    ``splits`` says whether a batch can be sharded (:mod:`rollc.kernel.batch_linearity`).
    """

    name: str
    buffers: tuple[Buffer, ...]
    functions: tuple[Function, ...]
    results: tuple[Result, ...]
    leaves: tuple[tuple[str, str], ...]
    axes: tuple[str, ...] = ("t",)
    steps: int | None = None
    block: int = 0
    splits: bool = False

    def block_steps(self, batch: int) -> int:
        """The number of steps of a block, for a batch size."""
        return max(1, self.block // batch)

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name."""
        return next(buffer for buffer in self.buffers if buffer.name == name)


def simple_statements(body: Iterable[Statement]) -> Iterator[Simple]:
    """Every statement, also those inside loops and optional parts."""
    for statement in body:
        if isinstance(statement, Loop):
            yield from simple_statements(statement.simple())
        elif isinstance(statement, Optional):
            yield from statement.body
        else:
            yield statement


def reads(statement: Simple) -> Iterator[Ref]:
    """The reads of a statement; a panel is read whole."""
    operands: tuple[Operand | None, ...] = ()
    match statement:
        case Nest():
            operands = tuple(operand for assign in statement.body for operand in assign.operands)
        case Fill():
            operands = (statement.initial,)
        case Pack():
            operands = tuple(Ref(part.weight) for part in statement.parts)
        case MatMul():
            operands = (statement.operand, Ref(statement.panel), statement.when)
        case OuterProduct():
            operands = (statement.a, statement.b, statement.when)
        case Routine():
            operands = statement.operands
        case Reduce():
            operands = (statement.operand, statement.factor, statement.when)
        case Carry():
            operands = (Ref(statement.buffer),)
        case Optional():
            operands = tuple(ref for inner in statement.body for ref in reads(inner))
    yield from (operand for operand in operands if isinstance(operand, Ref))


def writes(statement: Simple) -> Iterator[Ref]:
    """The writes of a statement."""
    match statement:
        case Nest():
            yield from (assign.store for assign in statement.body if assign.store is not None)
        case Fill() | Clear() | Carry() | Lap():
            yield Ref(statement.buffer)
        case Pack():
            yield Ref(statement.panel)
        case Optional():
            for inner in statement.body:
                yield from writes(inner)
        case _:
            yield statement.out


def used(body: Iterable[Statement]) -> tuple[str, ...]:
    """The buffers of some statements, in the order of their first use."""
    refs = (
        ref
        for statement in simple_statements(body)
        for ref in (*reads(statement), *writes(statement))
    )
    return tuple(dict.fromkeys(ref.buffer for ref in refs))
