"""What to do where a fit has diverged: by what the first wrong number is of."""

from __future__ import annotations

import math

from rollc.network.not_finite import NotFinite

_DOMAINS = {
    "log": "the logarithm of 0 or less: keep its argument positive, such as `log(x + 1e-6)`",
    "sqrt": "a root of less than 0, or the slope of one at 0: keep its argument positive",
    "divide": "a division by 0 or by almost nothing: keep the divisor away from 0",
    "power": "a power that is not defined or too large: bound its base or its exponent",
    "exp": "an exponential that is too large: bound its argument, such as by `minimum`",
}


def advice(found: NotFinite | None) -> str:
    """A line on what to do."""
    if found is None:
        return "computed again it is finite: try `--dtype float64`, or a smaller --rate"
    if found.leaf in ("input", "target"):
        return "the data hold it: mend them, or leave those cells out (`--missing`)"
    if found.leaf == "param":
        return "an update made it: try a smaller --rate, or --clip"
    if found.leaf == "state":
        return "the state had grown: try --clip or a smaller --rate, or bound it in the spec"
    said = _DOMAINS.get(found.operation)
    if said is not None and not (math.isinf(found.value) and found.operation == "divide"):
        return said
    return "values have grown beyond what the numbers hold: try --clip 1 or a smaller --rate"
