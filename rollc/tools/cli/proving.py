"""``verify`` and ``explain``."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rollc.errors import InputError, RollcError
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.tools import console, files
from rollc.tools.cli import effect, sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollc.lang.elaboration.expressions import Feed
    from rollc.tools.verify import Row


def verify(
    specs: Sequence[str],
    sets: Mapping[str, int],
    seed: int,
    feed: Feed,
    form: str,
    data: str | None,
    params: str | None,
    ranges: Mapping[str, tuple[float, float]],
    compile_all: bool,
) -> int:
    """Print the largest error of each comparison; 3 where one is too large.

    A spec that cannot be compared is no end of the others; then the status is 1 where it is
    wrong, 2 where it cannot be read or run.
    """
    from rollc.lang.load import library_flaws, load_graph
    from rollc.tools import verify as proof

    given = proof.Given(_arrays(data, params), ranges)
    if given.ranges.keys() & given.arrays.keys():
        name = min(given.ranges.keys() & given.arrays.keys())
        raise InputError(f"`{name}` has both data and a range; give one of them")
    found: list[dict[str, object]] = []
    compared = failed = 0
    status = 0
    for spec in specs:
        try:
            source = sources.read_source(spec)
            if library_flaws(load_graph(source, sets)) == ():
                console.say(f"{source.name} holds cells for other specs to use")
                continue
            with console.waiting(f"verifying {source.name}"):
                rows = proof.verify(
                    source.text,
                    source.name,
                    sets=sets,
                    seed=seed,
                    feed=feed,
                    given=given,
                    compile_all=compile_all,
                )
        except SpecError as error:
            console.wrong_spec(error)
            status = 1
            found.append(_not_compared(spec, error))
            continue
        except RollcError as error:
            console.error(str(error))
            status = status or 2
            found.append(_not_compared(spec, error))
            continue
        compared += sum(not row.reason for row in rows)
        failed += sum(row.failed for row in rows)
        if form == "json":
            found += [_as_data(source.name, row) for row in rows]
        else:
            print(source.name)
            console.table(("  what", "largest error", "allowed", ""), [_cells(row) for row in rows])
            sys.stdout.flush()  # the next spec takes long
    if form == "json":
        print(json.dumps(found, indent=2))
    if failed:
        console.error(
            f"{failed} of {compared} comparisons failed: this is a fault of rollc, please report it"
        )
    return 3 if failed else status


def _arrays(data: str | None, params: str | None) -> dict[str, NDArray[Any]]:
    """Inputs, targets and parameters by name, from the files of them."""
    from rollc.tools.datafiles import read_npz

    found: dict[str, NDArray[Any]] = {}
    for file in filter(None, (data, params)):
        arrays = read_npz(files.read_bytes(file), file)
        if both := found.keys() & arrays.keys():
            raise InputError(f"`{min(both)}` is in `{data}` and in `{params}`")
        found |= arrays
    return found


def _cells(row: Row) -> tuple[str, ...]:
    if row.reason:
        return f"  {row.what}", "", "", f"not compared, because {row.reason}"
    verdict = "passed" if row.passed else f"FAILED at {row.where}"
    return f"  {row.what}", f"{row.error:.1e}", f"{row.tolerance:.0e}", verdict


def _as_data(spec: str, row: Row) -> dict[str, object]:
    """One comparison for machines; JSON has no infinity, and says so with null."""
    return {
        "spec": spec,
        "what": row.what,
        "error": row.error if math.isfinite(row.error) else None,
        "tolerance": row.tolerance if math.isfinite(row.tolerance) else None,
        "passed": row.passed,
        "failed": row.failed,
        "where": row.where,
        "reason": row.reason,
    }


def _not_compared(spec: str, error: RollcError) -> dict[str, object]:
    """A spec that no comparison was made of, and why."""
    none = {"what": "", "error": None, "tolerance": None, "passed": False, "failed": False}
    return {"spec": spec, **none, "where": str(error), "reason": ""}


def is_code(subject: str) -> bool:
    """Whether a word can only be a diagnostic's code: no file is meant by it."""
    return re.fullmatch(r"[A-Za-z]\d{3}", subject.strip()) is not None


def explain(code: str | None) -> None:
    """Print what a code means, or the list of all codes."""
    effect.refuse(["nodes", "kernel", "steps", "sets", "dtype", "feed"], "without a spec")
    from rollc.lang.diagnostics.catalogue import CODES
    from rollc.lang.diagnostics.explain import explain as explanation

    if code is None:
        console.table(
            ("code", "what it is"), [(entry.code, entry.title) for entry in CODES.values()]
        )
        return
    text = explanation(code)
    if text is None:
        near = difflib.get_close_matches(code.strip().upper(), CODES, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ", see `rollc explain`"
        raise InputError(f"there is no diagnostic `{code}`{hint}")
    print(text, end="")
