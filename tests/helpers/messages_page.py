"""The page of all messages in the documents."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue import CODES


def messages_page() -> str:
    """What each diagnostic means, a spec that gets it, and that spec mended."""
    lines = ["# Every message", "", "`rollc explain R301` prints one of them.", ""]
    for entry in CODES.values():
        lines += [f"## {entry.code}: {entry.title}", "", entry.text]
        lines += [f"```roll\n{entry.bad}```", "", "Mended:", "", f"```roll\n{entry.fix}```", ""]
    return "\n".join(lines)
