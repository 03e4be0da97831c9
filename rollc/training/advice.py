"""What to do where a fit has diverged: by what the first wrong number is of."""

from __future__ import annotations

from rollc.ir.operations import OPERATIONS
from rollc.network.diagnosis.not_finite import NotFinite


def advice(found: NotFinite | None, lbfgs: bool = False) -> str:
    """A line on what to do; ``lbfgs`` has no rate and does not clip."""
    if lbfgs and (found is None or found.leaf not in ("input", "target")):
        return "it begins where the loss is no number: try other initial values (--seed, --params)"
    if found is None:
        return "computed again it is finite: try `--dtype float64`, or a smaller --rate"
    if found.leaf in ("input", "target"):
        return "the data hold it: mend them; an empty cell of a table can be left out (`--missing`)"
    if found.leaf == "param":
        return "an update made it: try a smaller --rate, or --clip"
    if found.leaf == "state":
        return "the state had grown: try --clip or a smaller --rate, or bound it in the spec"
    entry = OPERATIONS.get(found.operation)
    if entry is not None and entry.domain:
        return entry.domain
    return "values have grown beyond what the numbers hold: try --clip 1 or a smaller --rate"
