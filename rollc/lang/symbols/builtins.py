"""The built-in functions: the table of operations, except for those with their own notation."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from rollc.lang.symbols.forms import EINSUM
from rollc.lang.symbols.operations import OPERATIONS

SYMBOLS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "**": "power",
    "@": "matmul",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "not_equal",
    "and": "and",
    "or": "or",
}
COMPARISONS = frozenset(["<", "<=", ">", ">=", "==", "!="])
NOT = "not"
CONDITIONS = frozenset([*COMPARISONS, "and", "or"])
# With `over t` these are another operation.
OVER_TIME = ("sum", "mean", "max", "min", "softmax")
ENDS = ("first", "last")  # one step of the sequence
OVER_AXES = frozenset([*(f"{name}_over" for name in OVER_TIME), *ENDS])  # operations
SPREAD = "spread"  # the operation of what is the same at every step of an axis
CUT, FEED, SIZE = "split", "feed", "size"  # functions that are no operations
ALONG_AXIS, RENAME = "along", "rename_axis"  # a function of a value and an axis; its operation
# Constants with a shape, functions of sizes: `full` has a value before them.
ZEROS, ONES, FULL, EYE, RANGE = "zeros", "ones", "full", "eye", "range"
SHAPED = (ZEROS, ONES, FULL, EYE, RANGE)
# Functions of a value and whole numbers: the operations, and their attributes for the numbers.
MOVED = {"shift": ("shift", "by"), "roll": ("roll", "by"), "pad": ("zero_pad", "before", "after")}
# Functions of a value and its new sizes, and of its dimensions in their new order.
RESHAPE, TRANSPOSE, STACK = "reshape", "transpose", "stack"
# Functions of vectors that go along any dimension of other values.
ALONG = (
    *("softmax", "log_softmax", "logsumexp", "argmax", "layer_norm", "prod"),
    *("linear_scan", "arrange"),  # in functions of the library
)
GRAD, JACOBIAN = DERIVATIVES = ("grad", "jacobian")  # of the same step: `symbols/derivatives.py`
NO_OPERATIONS = (CUT, FEED, SIZE, *SHAPED, *MOVED, RESHAPE, STACK, EINSUM, *DERIVATIVES, ALONG_AXIS)
STOP, EVERY = "stop", "every"  # an option that no operation has: it is a rule on one read
TIME = "t"

# Operations that are written in another way, and how.
WRITTEN = {
    **{operation: f"a {symbol} b" for symbol, operation in SYMBOLS.items()},
    "negate": "-x",
    NOT: "not c",
    "slice": "x[start:stop]",
    **{f"{name}_over": f"{name}(x, over t)" for name in OVER_TIME},
}
OTHERWISE = {"with_slope": "grad", "fill": FULL, "stack": "[…]", "zero_pad": "pad"}
OTHERWISE |= {"stacked": STACK, "permute": TRANSPOSE, RENAME: ALONG_AXIS}
SYMBOL_OF = {operation: symbol for symbol, operation in SYMBOLS.items()}


def functions() -> tuple[str, ...]:
    """The operations that a spec can call."""
    return tuple(
        name for name, entry in OPERATIONS.items() if not entry.internal and name not in WRITTEN
    )


def said(operation: str) -> str:
    """What a spec calls an operation."""
    if operation == "negate":
        return "-"
    if operation in OTHERWISE:
        return OTHERWISE[operation]
    return SYMBOL_OF.get(operation, operation.removesuffix("_over"))


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that a reader most likely meant."""
    candidates = sorted(set(known))
    if name.lower() in candidates:
        return name.lower()
    if name.upper() in candidates:
        return name.upper()
    # A comparison of long names with thousands of others would take seconds.
    found = get_close_matches(name[:40], candidates[:2000], n=1, cutoff=0.65)
    return found[0] if found else None
