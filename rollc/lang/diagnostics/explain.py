"""What ``rollc explain CODE`` prints."""

from __future__ import annotations

from textwrap import indent

from rollc.lang.diagnostics.catalogue import CODES, Entry
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph


def message_of(entry: Entry) -> str:
    """What its example gets."""
    read = load_graph(Source("example.roll", entry.bad), entry.sets)
    return render(read.diagnostics, read.source).rstrip()


def explain(code: str) -> str | None:
    """The text of ``rollc explain CODE``: a description, an example with its message, and its mend.

    None where there is no such code.
    """
    entry = CODES.get(code.strip().upper())
    if entry is None:
        return None
    parts = [
        f"{entry.severity}[{entry.code}]: {entry.title}",
        entry.text.rstrip(),
        f"For example\n\n{indent(entry.bad, '    ')}",
        f"gets the message\n\n{indent(message_of(entry), '    ')}\n",
        f"and can be mended so:\n\n{indent(entry.fix, '    ')}",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"
