"""The page of all messages in the documents."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue import CODES
from rollc.lang.diagnostics.explain import message_of

PARTS = {"R1": "Syntax", "R2": "Names, shapes and types", "R3": "Cycles"}


def messages_page() -> str:
    """What each diagnostic means, a spec that gets it with its message, and that spec mended."""
    lines = ["# Every message", "", "`rollc explain R301` prints one of them.", ""]
    for part, title in PARTS.items():
        lines += [f"## {title}", ""]
        for entry in CODES.values():
            if entry.code.startswith(part):
                lines += [f"### {entry.code}: {entry.title}", "", entry.text]
                lines += [f"```roll\n{entry.bad}```", "", f"```text\n{message_of(entry)}\n```", ""]
                lines += ["Mended:", "", f"```roll\n{entry.fix}```", ""]
    return "\n".join(lines)
