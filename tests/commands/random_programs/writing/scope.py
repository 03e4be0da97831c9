"""Where expressions are written, and what can be read there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression
from tests.commands.random_programs.writing.signatures import Signature

Size = int | str | tuple[int, str]
"""A number; the name of a size of a cell, or `x` for the length of its input; a multiple."""

Shape = tuple[Size, ...]
Written = tuple[Expression, float]
"""An expression, and a bound of its absolute value."""

BOUNDED = {"tanh": 1.0, "sin": 1.0, "cos": 1.0, "sigmoid": 1.0, "normal_cdf": 1.0}
BOUNDED |= {"atan": 1.6, "erf": 1.0, "erfc": 2.0}
BOUNDED |= {"hard_sigmoid": 1.0, "hard_tanh": 1.0, "softsign": 1.0}
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
REDUCTIONS = ("sum", "mean", "max", "min", "dot", "logsumexp", "log_det", "mse", "cross_entropy")
REDUCTIONS += ("binary_cross_entropy",)
KEPT = (
    "leaky_relu",
    "elu",
    "relu",
    "abs",
    "silu",
    "gelu",
    "identity",
    "neg",
    "stop",
)  # no larger than their operand
ODD_NAMES = (
    *("T", "B", "S", "F", "I", "np", "batch", "steps", "out", "exp", "mean", "tanh", "sum"),
    *("lengths", "stated", "each", "range", "cell", "time", "reset", "use", "x_1", "v_h", "loop"),
    *("self", "lambda_", "None_", "result", "buffer", "t_1", "zero", "shape", "seed", "e1", "fn"),
)


@dataclass
class Known:
    """A name that can be read: ``kind`` is float or index, of ``bound`` values.

    ``along`` is the axis of its delays, once there is one.
    """

    shape: Shape = ()
    axes: frozenset[str] = frozenset()
    size: float = 1.0
    kind: str = "float"
    bound: int = 0
    along: str | None = None
    delays: bool = True
    free: bool = False  # its delays are along any axis


@dataclass
class Chain:
    """Equations that read each other: which can be read now, and how."""

    axis: str
    direction: int
    states: dict[str, Known]
    done: set[str] = field(default_factory=set)  # those that can be read without a delay


@dataclass
class Use:
    """What the use of a cell needs to know."""

    name: str
    direction: int
    results: int
    sizes: tuple[tuple[str, Expression], ...] = ()
    marked: bool = False
    own_start: bool = False
    delayed_input: bool = False
    along_one: bool = False  # inputs over two axes would not tell what is used inside its own
    signature: Signature | None = None  # of a cell of the library


@dataclass(frozen=True)
class Function:
    """What the call of a function needs to know; ``seen`` are the values of the spec it reads."""

    arguments: int
    elementwise: bool = True
    shape: Shape | None = None  # the only one that it takes
    seen: frozenset[str] = frozenset()


@dataclass
class Scope:
    """Where expressions are written: the spec, a cell or a function."""

    body: list[la.Statement]
    known: dict[str, Known]
    sizes: tuple[Size, ...]
    axes: tuple[str, ...]
    inside: str = ""  # "cell" or "function"
    chain: Chain | None = None
    sampled: bool = False
    chance: bool = True


@dataclass(frozen=True)
class Settings:
    """How a program is to be built and called."""

    sets: dict[str, int]
    feed: str
    truncate: int | None
    training: bool
    steps: dict[str, int]
    batch: int | None
    seed: int


def telling(expression: Expression) -> Iterator[Expression]:
    """What can tell the shape of a value: a condition does not, nor what is in a reduction."""
    if not (isinstance(expression, Call) and expression.function in (*COMPARISONS, *REDUCTIONS)):
        yield expression
        for part in la.parts(expression):
            yield from telling(part)


def by_chance(expression: Expression) -> bool:
    return any(
        isinstance(part, Call)
        and (part.function in ("dropout", "sample") or "dropout" in dict(part.words))
        for part in la.walk(expression)
    )


def reserved() -> set[str]:
    """What cannot be a name."""
    words = "net dim static input target param const init output loss over t"
    return set(re.findall(r"\w+", words))
