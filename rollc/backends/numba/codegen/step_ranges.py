"""Boundary peeling: loops over steps, split where reads of unpadded inputs leave the sequence.

Only the iterations at a boundary have tests (:mod:`rollc.kernel.refine.halo_elision`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollc.backends.numba.codegen.printer import Range, Writer, shifted
from rollc.kernel.program import Loop, Ref, Shifted, Span, reads


def ranges(write: Writer, loop: Loop, step: str, low: str, high: str) -> list[Range]:
    """The loops over the steps from ``low`` to before ``high``, in the order of the loop."""
    plain = (part for part in loop.body if not isinstance(part, Shifted | Loop))
    refs = (ref for part in plain for ref in reads(part))
    past, future = _reach(write, refs)
    parts = [(low, high, False)]
    if past:
        parts = [(low, _least(high, past), True), (_most(low, past), high, False)]
    if future:
        low, high, _ = parts.pop()
        end = f"{write.steps(loop.axis)} - {future}"
        parts += [(low, f"min({high}, {end})", False), (f"max({low}, {end})", high, True)]
    if loop.direction == "forward":
        spans = [(low if low != "0" else "", high) for low, high, _ in parts]
        headers = [", ".join(filter(None, span)) for span in spans]
    else:
        parts.reverse()
        headers = [f"{shifted(high, -1)}, {_before(low)}, -1" for low, high, _ in parts]
    return [
        Range(f"for {step} in range({header}):", boundary)
        for header, (_, _, boundary) in zip(headers, parts, strict=True)
    ]


def inside(write: Writer, refs: Sequence[Ref], span: Span) -> tuple[str | None, str | None]:
    """The first step at which all references are inside the sequence, and the number of such steps.

    None stands for those of the span, where no reference leaves the sequence.
    """
    past, future = _reach(write, refs)
    if not (past or future):
        return None, None
    (axis,) = write.buffers[refs[0].buffer].axes
    first, last = ("begin", "end") if span.block else (str(span.start), write.steps(axis))
    if past:
        write.say(f"first = {_most(first, past)}")
        first = "first"
    if future:
        write.say(f"last = min({last}, {write.steps(axis)} - {future})")
        last = "last"
    return first, last if first == "0" else f"({last} - {first})"


def _reach(write: Writer, refs: Iterable[Ref]) -> tuple[int, int]:
    """The longest delays of reads of unpadded inputs, into the past and the future."""
    shifts = [write.beyond(ref) for ref in refs]
    return max((-shift for shift in shifts), default=0), max(shifts, default=0)


def _least(high: str, past: int) -> str:
    return f"min({high}, {past})"


def _most(low: str, past: int) -> str:
    return str(max(int(low), past)) if low.isdigit() else f"max({low}, {past})"


def _before(low: str) -> str:
    return str(int(low) - 1) if low.lstrip("-").isdigit() else f"{low} - 1"
