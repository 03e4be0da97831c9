"""``verify`` and ``explain``: what can be trusted, and what went wrong."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence

from rollc.cli import files, talk
from rollc.errors import InputError


def verify(specs: Sequence[str], sets: Mapping[str, int], seed: int, form: str) -> int:
    """Print the largest error of each comparison; 3 where one is too large."""
    from rollc import verify as proof

    data = []
    failed = 0
    for spec in specs:
        source = files.read_spec(spec)
        rows = proof.verify(source.text, source.name, sets=sets, seed=seed)
        failed += sum(not row.passed for row in rows)
        if form == "json":
            data += [
                {
                    "spec": source.name,
                    "what": row.what,
                    "error": row.error,
                    "tolerance": row.tolerance,
                    "passed": row.passed,
                }
                for row in rows
            ]
            continue
        print(source.name)
        talk.table(
            ("  what", "largest error", "tolerance", ""),
            [
                (
                    f"  {row.what}",
                    f"{row.error:.1e}",
                    f"{row.tolerance:.0e}",
                    "passed" if row.passed else "FAILED",
                )
                for row in rows
            ],
        )
    if form == "json":
        print(json.dumps(data, indent=2))
    if failed:
        talk.error(f"{failed} comparisons failed: this is a fault of rollc, please report it")
    return 3 if failed else 0


def explain(code: str | None) -> None:
    """Print what a code means, or the list of all codes."""
    from rollc.lang import CODES
    from rollc.lang import explain as explanation

    if code is None:
        talk.table(("code", "what it is"), [(entry.code, entry.title) for entry in CODES.values()])
        return
    text = explanation(code)
    if text is None:
        near = difflib.get_close_matches(code.strip().upper(), CODES, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ", see `rollc explain`"
        raise InputError(f"there is no diagnostic `{code}`{hint}")
    print(text, end="")
