"""Every code: what it means, an example that gets it, and the example mended.

R1xx is syntax, R2xx names, shapes and types, R3xx cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rollc.lang.diagnostics.catalogue.cycles import CYCLES
from rollc.lang.diagnostics.catalogue.entry import Entry
from rollc.lang.diagnostics.catalogue.names import NAMES
from rollc.lang.diagnostics.catalogue.syntax import SYNTAX
from rollc.lang.diagnostics.catalogue.types import TYPES

CODES: Mapping[str, Entry] = MappingProxyType(
    {
        entry.code: entry
        for entry in sorted((*SYNTAX, *NAMES, *TYPES, *CYCLES), key=lambda entry: entry.code)
    }
)

__all__ = ["CODES", "Entry"]
