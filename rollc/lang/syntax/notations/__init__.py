"""What people write who know another language: the table that is tried where parsing failed."""

from __future__ import annotations

from rollc.lang.syntax.notations.expressions import EXPRESSIONS
from rollc.lang.syntax.notations.lines import LINES
from rollc.lang.syntax.notations.notation import Correction, Notation
from rollc.lang.syntax.notations.statements import INITIAL, STATEMENTS

__all__ = ["INITIAL", "NOTATIONS", "Correction", "Notation"]

# In the order in which they are tried: what concerns whole lines before what is inside them.
NOTATIONS = (*LINES, *STATEMENTS, *EXPRESSIONS)
