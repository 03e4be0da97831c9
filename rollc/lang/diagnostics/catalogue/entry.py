"""What the catalogue says about a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent

from rollc.lang.diagnostics.diagnostic import Severity


@dataclass(frozen=True)
class Entry:
    """A code, why its message comes, an example that gets it, and the example mended.

    ``sets`` are the sizes that the bad example is built with.
    """

    code: str
    title: str
    text: str
    bad: str
    fix: str
    severity: Severity = "error"
    sets: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Entries are written indented, as the code around them is.
        for name in ("text", "bad", "fix"):
            object.__setattr__(self, name, dedent(getattr(self, name)).strip() + "\n")
