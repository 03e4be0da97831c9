"""The type of an entry in the table of operations.

An operation is one :class:`Operation`: its typing rule, its meaning in NumPy, its adjoint, and
the traits that passes rely on.  The entries are in the other modules of this folder, and
:data:`OPERATIONS` in ``__init__`` collects them.  Its code in a kernel belongs to a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rollc.ir.attributes import Rule
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Attribute, Type, ordered_axes

Array = NDArray[Any]
Options = Mapping[str, Attribute]


class TypeMismatch(Exception):
    """Operands that an operation cannot take.

    ``expected`` says in words what would fit, ``operands`` are the offending positions and
    ``hint`` says what to do, where that is known, with `{0}` for the first operand, and as
    `{0:tight}` next to an operator.  ``instead`` is what to write in the place of the whole.
    """

    def __init__(
        self, expected: str, operands: Sequence[int] = (), hint: str = "", instead: str = ""
    ) -> None:
        super().__init__(expected)
        self.expected = expected
        self.operands = tuple(operands)
        self.hint = hint
        self.instead = instead


@dataclass(frozen=True)
class Frame:
    """The axes of the arrays that an evaluation is given.

    Every operand has one leading dimension for each of ``axes`` (of length 1 where the
    operand does not run over that axis), then its own shape.  ``sizes`` gives the length
    of every axis of the network, also of those that are not in ``axes``; ``result`` is the
    type of the node that is evaluated.
    """

    axes: tuple[str, ...]
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    result: Type

    def positions(self, axes: Sequence[str]) -> tuple[int, ...]:
        """The dimensions of those of some axes that the arrays run over."""
        return tuple(self.axes.index(axis) for axis in axes if axis in self.axes)


class Infer(Protocol):
    """A typing rule: operand types to result type; None is a type that is not known yet."""

    def __call__(self, operands: Sequence[Type | None], options: Options) -> Type | None: ...


# Called with the frame, the options and one array for each operand.
Evaluate = Callable[..., Array]
# Called as ``rule(g, y, *operands)``: g is the cotangent of the result y, and None in the
# result means that no gradient passes.
Adjoint = Callable[..., "Sequence[Value | None]"]
# The kind of a result.  ``operand``: that of its operands; ``number``: an index where all
# operands are indices, else a real number.
Gives = Literal["float", "index", "bool", "operand", "number"]
# A bound on the derivatives of an operation.
Slope = Literal["constant", "product", "finite", "infinite"]
# Called as ``rule(y, *operands)``: y is the result.
Choices = Callable[..., "Sequence[Value]"]
# Groups of operands, by their positions; "jointly" is one group of all, "each" one of each.
Groups = tuple[tuple[int, ...], ...]
Linear = Groups | Literal["jointly", "each"]

FIRST: Groups = ((0,),)

LENGTH = "length"
"""The operand that says where each sequence ends, of operations that take it."""


@dataclass(frozen=True)
class Operation:
    """One entry of the table.

    operands  -- the names of the operands, as messages and the reference call them
    defaults  -- the options that a spec may give as ``name=number``, and their defaults
    infer     -- the type of the result; raises :class:`TypeMismatch`
    evaluate  -- the meaning, on whole arrays (see :class:`Frame`)
    adjoint   -- ``rule(g, y, *operands, **options)`` in terms of the table's own
                 operations: one cotangent an operand, at the reader's own step and with
                 the reader's axes; summing over what the operand does not have is not
                 the rule's business.  None: no gradient passes (``stop``, comparisons)
    choices   -- ``rule(y, *operands, **options)``: the conditions, in terms of the table's
                 own operations, that say in which smooth piece of a piecewise function an
                 argument lies.  None: there is one piece, or the result is itself a choice
    slope     -- the derivative is ``constant``: the rule multiplies by nothing that it reads;
                 a ``product``: by the other one of two operands; ``finite``: by what is
                 finite where the operands are; ``infinite``: by what need not be finite
    once      -- the rule is given by the user; differentiating it gives no second derivative
    picks     -- the operands that the result may be independent of at some steps or elements,
                 so that no cotangent arrives there: True for all of them

    Traits, which passes rely on instead of the name:

    gives       -- the kind of the result
    linear      -- the operands in which the result is linear: those of a group jointly, with
                   all others held constant.  An axis that such an operand runs over and the
                   result does not is summed over
    zero        -- zero where all operands are, though it is not linear
    finite      -- finite wherever all operands are, but for overflow
    cheap       -- an instruction or two for each element, no function call: rematerialized
                   rather than kept
    commutative -- its two operands can be swapped
    signs       -- where it is a sum, the sign of each operand
    moves       -- it copies: each element of the result is an element of an operand
    value_first -- its value is that of its first operand; it differs in its derivatives alone
    broadcasts  -- it broadcasts its operand: elementwise operations read the operand instead
    end         -- the end of the sequence along its axis that it takes the value of
    selects     -- each element depends on one element at one step: it fuses like an elementwise
                   operation, though its result has other axes or another shape
    masks       -- the operands that are masks: the result is zero where one of them is
    reduces     -- the reduction that it is: a sum, mean, maximum or minimum
    neutral     -- the neutral element of the reduction, which stands for padding; a mean is
                   divided by the number of steps that are no padding
    combine     -- the operation that combines partial results of the reduction
    whole       -- it needs all the steps along its axes at once
    renames     -- the axis ``axis`` of its operand is the axis ``to`` of its result, step by step:
                   both have the same steps, in every sequence
    counts      -- its value changes with the number of steps before or behind
    sees_end    -- its value at a step depends on where the sequence begins or ends
    compares    -- of a loss, or of a difference: what its first operand says of the second: its
                   ``numbers``, the score of each of its ``classes``, or that of a ``yes``
    answers     -- what it makes of the scores that a loss reads: scores that are as good, the
                   probabilities of all classes, the class that is chosen, the probability of a yes
    domain      -- of one that is finite for some arguments alone: what is wrong with the others
    required    -- the required attributes of a node, with their constraints
    allowed     -- its optional attributes
    core        -- it goes along the last dimensions of its first operand, this many, and again
                   for each element of those before, which all operands with a shape have
    decompose   -- ``rule(*operands, **options)``: the same value in terms of the table's own
                   operations, which kernels compute instead
    """

    name: str
    operands: tuple[str, ...]
    infer: Infer
    evaluate: Evaluate
    adjoint: Adjoint | None = None
    choices: Choices | None = None
    slope: Slope = "infinite"
    picks: bool | tuple[int, ...] = False
    gives: Gives = "float"
    linear: Linear = ()
    zero: bool = False
    finite: bool = False
    cheap: bool = False
    commutative: bool = False
    signs: tuple[int, ...] = ()
    moves: bool = False
    value_first: bool = False
    broadcasts: bool = False
    end: Literal["first", "last", ""] = ""
    selects: bool = False
    masks: tuple[int, ...] = ()
    reduces: Literal["sum", "mean", "max", "min"] | None = None
    neutral: float | None = None
    combine: str = ""
    whole: bool = False
    renames: bool = False
    counts: bool = False
    sees_end: bool = False
    compares: Literal["numbers", "classes", "yes", ""] = ""
    answers: Literal["scores", "probabilities", "choice", "probability", ""] = ""
    domain: str = ""
    required: Mapping[str, Rule] = field(default_factory=dict)
    allowed: Mapping[str, Rule] = field(default_factory=dict)
    core: int = 0
    decompose: Callable[..., Value] | None = None
    elementwise: bool = False
    defaults: tuple[tuple[str, Attribute], ...] = field(default=())
    variadic: bool = False
    optional: int = 0  # how many of the last operands may be left out
    internal: bool = False  # made by passes only; a spec cannot call it
    summary: str = ""
    once: bool = False

    def slope_at(self, options: Options) -> Slope:
        """The bound on derivatives with some options: without epsilon, a deviation can be 0."""
        return "infinite" if options.get("epsilon") == 0.0 else self.slope

    def may_leave(self, operand: int) -> bool:
        """Whether the result may be independent of some steps or elements of an operand."""
        return self.picks is True or (self.picks is not False and operand in self.picks)

    def linear_in(self, count: int) -> Groups:
        """The groups of operands in which it is linear, where it has ``count`` operands."""
        if self.linear == "jointly":
            return (tuple(range(count)),) if count else ()
        if self.linear == "each":
            return tuple((position,) for position in range(count))
        return self.linear

    def zero_groups(self, count: int) -> Groups:
        """The groups of operands that make the result zero where all of a group are zero.

        A product of zero with a value that is not finite counts as zero.
        """
        everything = (tuple(range(count)),) if self.zero and count else ()
        return (*self.linear_in(count), *((position,) for position in self.masks), *everything)

    def is_zero(self, zeros: Sequence[bool]) -> bool:
        """Whether the result is known to be zero; ``zeros`` are the operands known to be."""
        groups = self.zero_groups(len(zeros))
        return any(all(zeros[position] for position in group) for group in groups)

    @property
    def is_product(self) -> bool:
        """Whether it is a bilinear contraction: it sums products of two operands' elements."""
        return self.linear == "each" and not self.elementwise

    @property
    def is_sum(self) -> bool:
        """Whether it is a sum of several operands, each with its sign."""
        return len(self.signs) > 1

    @property
    def may_sum(self) -> bool:
        """Whether it can contract axes: sum over them while it multiplies."""
        return "over" in self.allowed

    @property
    def fusable(self) -> bool:
        """Whether it can be computed in a fused loop over elements."""
        return self.elementwise or self.selects

    @property
    def fewest(self) -> int:
        """The least number of operands."""
        return len(self.operands) - self.optional

    def takes(self, count: int) -> bool:
        """Whether it takes that number of operands."""
        return self.fewest <= count and (self.variadic or count <= len(self.operands))


def known(operands: Sequence[Type | None]) -> list[Type] | None:
    """The operands' types, or None while one is missing."""
    found = [operand for operand in operands if operand is not None]
    return found if len(found) == len(operands) else None


def union(operands: Sequence[Type]) -> tuple[str, ...]:
    """The axes that any of the operands runs on, in their fixed order."""
    return ordered_axes(axis for operand in operands for axis in operand.axes)


def whole_option(options: Options, name: str, default: int = 0) -> int:
    """An option that is a whole number."""
    value = options.get(name, default)
    assert isinstance(value, int)
    return value


def axis_option(options: Options) -> str:
    """The axis of steps, or the batch, that an operation goes along."""
    axis = options["axis"]
    assert isinstance(axis, str)
    return axis


def need_numbers(operands: Sequence[Type], positions: Sequence[int] | None = None) -> None:
    """Require that operands are no indices; raises :class:`TypeMismatch`.

    An index is a name, not a quantity: only ``embed``, ``one_hot`` and comparisons read it.
    """
    chosen = range(len(operands)) if positions is None else positions
    wrong = [position for position in chosen if operands[position].kind == "index"]
    if wrong:
        raise TypeMismatch(
            "a number",
            wrong,
            hint="an index is a name, not a quantity: read it with `embed` or `one_hot`",
        )


def need_vector(operands: Sequence[Type], position: int) -> None:
    """Require that an operand is a vector; raises :class:`TypeMismatch`."""
    if len(operands[position].shape) != 1:
        raise TypeMismatch("a vector", [position])


def need_vectors(operands: Sequence[Type], position: int) -> None:
    """Require that an operand is a vector, or vectors along its last dimension."""
    if not operands[position].shape:
        raise TypeMismatch("a vector", [position])


def along_last(value: Value, like: Value) -> Value:
    """A number for each vector of a value, in its shape; for one vector the number itself."""
    shape = like.type.shape
    if value.type.shape != shape[:-1] or not value.type.shape:
        return value
    return call("expand", value, axis=len(shape) - 1, size=shape[-1])
