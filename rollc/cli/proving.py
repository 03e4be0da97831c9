"""``verify`` and ``explain``: what can be trusted, and what went wrong."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rollc.cli import files, talk
from rollc.errors import InputError, RollcError, SpecError

if TYPE_CHECKING:
    from rollc.lang.draft import Feed
    from rollc.verify import Row


def verify(specs: Sequence[str], sets: Mapping[str, int], seed: int, feed: Feed, form: str) -> int:
    """Print the largest error of each comparison; 3 where one is too large.

    A spec that cannot be compared is no end of the others; then the status is 1 where it is
    wrong, 2 where it cannot be read or run.
    """
    from rollc import verify as proof
    from rollc.lang import library_flaws, load_graph

    data: list[dict[str, object]] = []
    compared = failed = 0
    status = 0
    for spec in specs:
        try:
            source = files.read_spec(spec)
            if library_flaws(load_graph(source, sets)) == ():
                talk.say(f"{source.name} holds cells for other specs to use")
                continue
            with talk.waiting(f"verifying {source.name}"):
                rows = proof.verify(source.text, source.name, sets=sets, seed=seed, feed=feed)
        except SpecError as error:
            talk.wrong_spec(error)
            status = 1
            data.append(_not_compared(spec, error))
            continue
        except RollcError as error:
            talk.error(str(error))
            status = status or 2
            data.append(_not_compared(spec, error))
            continue
        compared += len(rows)
        failed += sum(not row.passed for row in rows)
        if form == "json":
            data += [_as_data(source.name, row) for row in rows]
        else:
            print(source.name)
            talk.table(("  what", "largest error", "allowed", ""), [_cells(row) for row in rows])
            sys.stdout.flush()  # the next spec takes long
    if form == "json":
        print(json.dumps(data, indent=2))
    if failed:
        talk.error(
            f"{failed} of {compared} comparisons failed: this is a fault of rollc, please report it"
        )
    return 3 if failed else status


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "passed" if row.passed else f"FAILED at {row.where}"
    return f"  {row.what}", f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict


def _as_data(spec: str, row: Row) -> dict[str, object]:
    """One comparison for machines; JSON has no infinity, and says so with null."""
    return {
        "spec": spec,
        "what": row.what,
        "error": row.error if math.isfinite(row.error) else None,
        "tolerance": row.tolerance,
        "passed": row.passed,
        "where": row.where,
    }


def _not_compared(spec: str, error: RollcError) -> dict[str, object]:
    """A spec that no comparison was made of, and why."""
    none = {"what": "", "error": None, "tolerance": None, "passed": False}
    return {"spec": spec, **none, "where": str(error)}


def is_code(subject: str) -> bool:
    """Whether a word can only be a diagnostic's code: no file is meant by it."""
    return re.fullmatch(r"[A-Za-z]\d{3}", subject.strip()) is not None


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
