"""What an entry of the table of operations is.

An operation is one :class:`Operation`: how its type follows from its operands' types, what it means
in NumPy, and its adjoint.  The entries are in the modules beside this one; :data:`OPERATIONS` in
``__init__`` collects them.  How it is written in a kernel is a backend's to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rollc.ir.attributes import Rule
from rollc.ir.graph import Attribute, Type, ordered_axes

if TYPE_CHECKING:
    from rollc.ir.expressions import Value

Array = NDArray[Any]
Options = Mapping[str, Attribute]


class TypeMismatch(Exception):
    """Operands that an operation cannot take.

    ``expected`` says in words what would fit, ``operands`` are the positions at fault and
    ``hint`` says what to do, where that is known.
    """

    def __init__(self, expected: str, operands: Sequence[int] = (), hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.operands = tuple(operands)
        self.hint = hint


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
        return tuple(self.axes.index(axis) for axis in axes if axis in self.axes)


class Infer(Protocol):
    """Types to type: None stands for a type that is not known yet."""

    def __call__(self, operands: Sequence[Type | None], options: Options) -> Type | None: ...


# The frame, the options, then an array an operand.
Evaluate = Callable[..., Array]
# g is the cotangent of the result y; an answer of None means that no gradient passes.
Adjoint = Callable[..., "Sequence[Value | None]"]
# What a result is: an index is a name.  ``operand``: what its operands are; ``number``: an index of
# indices, and else a real number.
Gives = Literal["float", "index", "bool", "operand", "number"]
# How large the slopes of an operation can be.
Slope = Literal["constant", "product", "finite", "infinite"]
# y is the result; the conditions by which it was chosen.
Choices = Callable[..., "Sequence[Value]"]
# Operands by their positions, in groups; all of them in one group, or each in its own.
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
                 own operations, that say which smooth piece of the operation an argument is
                 in.  None: it has one piece, or its result is itself a choice
    slope     -- ``constant``: the rule multiplies by nothing that it reads; ``product``: by
                 the other one of two operands; ``finite``: by what is finite where the
                 operands are; ``infinite``: by what need not be
    once      -- the rule is written by hand, and a derivative of it is no second derivative
    picks     -- the operands of which it may take nothing at some steps or elements, so that
                 no cotangent arrives there: True for all of them

    What passes may rely on; nothing that is said here is said of its name anywhere else:

    gives       -- what sort of values the result has
    linear      -- the operands in which the result is linear: those of a group together, while
                   all others are known.  An axis that such an operand runs over and the result
                   does not is summed over
    zero        -- zero where all operands are, though it is not linear
    finite      -- finite wherever all operands are, but for overflow
    cheap       -- an instruction or two for each element, no function: sooner computed again
                   than kept
    commutative -- its two operands may change places
    signs       -- where it is no more than a sum, the sign of each operand
    moves       -- it computes nothing: each element is one of an operand's
    value_first -- its value is that of its first operand; only derivatives tell them apart
    broadcasts  -- it is its operand at more places: elementwise work reads that in its stead
    end         -- which end of the sequence along its axis it takes the value at
    selects     -- an element follows from one element at one step: it runs like elementwise work,
                   though its result has other axes or another shape
    masks       -- the operands that only say where nothing is wanted: zero where one of them is
    reduces     -- how it makes one of many: their sum, mean, maximum or minimum
    neutral     -- what stands for an element that is not there, such as one of the padding; a mean
                   is divided by the number of those that are
    combine     -- the operation that makes the result of those of parts of the places
    whole       -- it needs all the steps along its axes at once
    counts      -- it gives another value where there are other steps before or behind
    sees_end    -- what it gives at a step depends on where the sequence begins or ends
    required    -- the attributes that a node has to have, and what each must be
    allowed     -- those that it may have
    decompose   -- ``rule(*operands, **options)``: the same value in terms of the table's own
                   operations, which kernels have in its place
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
    counts: bool = False
    sees_end: bool = False
    required: Mapping[str, Rule] = field(default_factory=dict)
    allowed: Mapping[str, Rule] = field(default_factory=dict)
    decompose: Callable[..., Value] | None = None
    elementwise: bool = False
    defaults: tuple[tuple[str, Attribute], ...] = field(default=())
    variadic: bool = False
    optional: int = 0  # how many of the last operands may be left out
    internal: bool = False  # made by passes only; a spec cannot call it
    summary: str = ""
    once: bool = False

    def slope_at(self, options: Options) -> Slope:
        """How large slopes can be with some options: deviations of zero are no divisors."""
        return "infinite" if options.get("epsilon") == 0.0 else self.slope

    def may_leave(self, operand: int) -> bool:
        """Whether there may be steps or elements of an operand that the result is not of."""
        return self.picks is True or (self.picks is not False and operand in self.picks)

    def linear_in(self, count: int) -> Groups:
        """The groups of operands in which it is linear, where it has so many."""
        if self.linear == "jointly":
            return (tuple(range(count)),) if count else ()
        if self.linear == "each":
            return tuple((place,) for place in range(count))
        return self.linear

    def zero_groups(self, count: int) -> Groups:
        """The groups of operands of which each makes it zero, where all in the group are.

        A product of zero with what is not finite is taken for zero.
        """
        everything = (tuple(range(count)),) if self.zero and count else ()
        return (*self.linear_in(count), *((place,) for place in self.masks), *everything)

    def is_zero(self, zeros: Sequence[bool]) -> bool:
        """Whether the result is zero, where it is known which operands are."""
        groups = self.zero_groups(len(zeros))
        return any(all(zeros[place] for place in group) for group in groups)

    @property
    def is_product(self) -> bool:
        """Whether it sums products of two operands' elements."""
        return self.linear == "each" and not self.elementwise

    @property
    def is_sum(self) -> bool:
        """Whether it is a sum of several operands, each with its sign."""
        return len(self.signs) > 1

    @property
    def may_sum(self) -> bool:
        """Whether it can sum over axes while it computes what it sums."""
        return "over" in self.allowed

    @property
    def fusable(self) -> bool:
        """Whether it can be a line of a loop over elements."""
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


def need_numbers(operands: Sequence[Type], positions: Sequence[int] | None = None) -> None:
    """An index is a name, not a quantity: only ``embed``, ``one_hot`` and comparisons read it."""
    chosen = range(len(operands)) if positions is None else positions
    wrong = [position for position in chosen if operands[position].kind == "index"]
    if wrong:
        raise TypeMismatch(
            "a number",
            wrong,
            hint="an index is a name, not a quantity: read it with `embed` or `one_hot`",
        )


def need_vector(operands: Sequence[Type], position: int) -> None:
    if len(operands[position].shape) != 1:
        raise TypeMismatch("a vector", [position])
