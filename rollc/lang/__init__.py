"""Text to a checked graph: the language of specs, and messages about what is wrong."""

from __future__ import annotations

from rollc.lang.catalogue import CODES
from rollc.lang.diagnostics import Diagnostic, Label, as_data, has_errors, render
from rollc.lang.explain import explain
from rollc.lang.format import format_spec
from rollc.lang.load import Checked, library_flaws, load_graph
from rollc.lang.parse import parse_spec
from rollc.lang.resolve import Resolved, resolve
from rollc.lang.source import Source, Span

__all__ = [
    "CODES",
    "Checked",
    "Diagnostic",
    "Label",
    "Resolved",
    "Source",
    "Span",
    "as_data",
    "explain",
    "format_spec",
    "has_errors",
    "library_flaws",
    "load_graph",
    "parse_spec",
    "render",
    "resolve",
]
