"""The words of the language, as what colours a spec needs them."""

from __future__ import annotations

from functools import cache

STATEMENTS = (
    *("net", "dim", "static", "input", "target", "param", "const", "init", "output", "loss"),
    *("cell", "fn", "use", "grad", "reset", "time", "repeat"),
)
"""What a statement begins with."""
INSIDE = ("when", "frozen", "over", "and", "or", "not", "for", "in")
USES = ("reverse", "both", "stack", "residual", "dropout")
"""What stands among the sizes of a use of a cell, alone or before a number."""
USED = r"(?=\s*[,)]|\s+[^\W_])"
"""What follows these words."""
TYPES = ("index", "number", "complex", "condition")
INITIALISERS = ("glorot", "orthogonal", "identity", "zeros", "normal", "uniform")
LETTERS = "A-Za-z_αβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΦΨΩ"
NAME = f"[{LETTERS}][{LETTERS}0-9]*"
NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
SYMBOLS = r"\*\*|->|[<>=!]=|[-+*/@<>=−]"


@cache
def functions() -> tuple[str, ...]:
    """The functions of the language, as it has them now."""
    from rollc.lang.symbols.builtins import NO_OPERATIONS
    from rollc.lang.symbols.builtins import functions as operations
    from rollc.lang.symbols.library import LIBRARY

    return tuple(sorted({*operations(), *LIBRARY, *NO_OPERATIONS}))
