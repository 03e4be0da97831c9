"""The assembly of a kernel: its instructions with their lines of the source, and its inner loops.

An inner loop goes from a label to the last jump back to it, with no other loop in it.  What a
compiler has put elsewhere, such as a path that is hardly ever taken, is not among its instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = re.compile(r"^(\.?L\w+):")
_LOCATION = re.compile(r"^\s+\.loc\s+\d+ (\d+)")
_TARGET = re.compile(r"\s(?:\S+,\s*)*(\.?L\w+)$")
_FUSED = re.compile(r"^\s*(?:vfn?m(?:add|sub)|fn?m(?:add|sub|l[as])\b)")
_SCALAR = re.compile(r"^\s*\w*(?:s[sd]|si2s[sd][lq]|2u?si)\b|^\s*vmov[dq]\b")
_WIDTHS = ((512, re.compile("%zmm")), (256, re.compile("%ymm")))
_SMALLEST = re.compile(r"%xmm|\bv\d+\.\d+[bhsd]\b")


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction, or a label; ``line`` is that of the source, 0 where it is of none."""

    text: str
    line: int = 0

    @property
    def is_label(self) -> bool:
        return self.text.endswith(":")

    @property
    def bits(self) -> int:
        """The width of the vectors that it works on; 0 for one on numbers."""
        for bits, registers in _WIDTHS:
            if registers.search(self.text):
                return bits
        return 128 if _SMALLEST.search(self.text) and not _SCALAR.match(self.text) else 0

    @property
    def is_fused(self) -> bool:
        """Whether it is a multiplication and an addition at once."""
        return _FUSED.match(self.text) is not None

    @property
    def is_call(self) -> bool:
        return re.match(r"\s*(?:call|blr?\b)", self.text) is not None


@dataclass(frozen=True, slots=True)
class Code:
    """A function: its instructions, and where each of its inner loops begins and ends."""

    name: str
    instructions: tuple[Instruction, ...]
    loops: tuple[tuple[int, int], ...]

    def summary(self, first: int, stop: int) -> str:
        """What the instructions from ``first`` to before ``stop`` are, in words."""
        own = [one for one in self.instructions[first:stop] if not one.is_label]
        vectors = [one for one in own if one.bits]
        fused, calls = sum(one.is_fused for one in own), sum(one.is_call for one in own)
        said = [_counted(len(own), "instruction"), "no vectors"]
        if vectors:
            widest = max(one.bits for one in vectors)
            said[1] = f"{len(vectors)} on vectors of {widest} bits"
        said += [_counted(fused, "fused multiply-add")] * bool(fused)
        return ", ".join(said + [_counted(calls, "call")] * bool(calls))

    def rows(self) -> str:
        """An instruction a row, after its line of the source; those on vectors have a mark."""
        return "\n".join(
            f"{one.line} {one.text.replace('   ', ' ▪ ', 1) if one.bits else one.text}"
            for one in self.instructions
        )

    def lines(self, first: int, stop: int) -> tuple[int, ...]:
        """The lines of the source that those instructions are of."""
        return tuple(sorted({one.line for one in self.instructions[first:stop] if one.line}))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def parsed(name: str, text: str) -> Code:
    """The code of a function, from its assembly with directives."""
    found: list[Instruction] = []
    line = 0
    for row in text.splitlines():
        if location := _LOCATION.match(row):
            line = int(location[1])
        elif label := _LABEL.match(row):
            found.append(Instruction(f"{label[1]}:"))
        elif row[:1].isspace() and not row.lstrip().startswith((".", "#", "//", ";")):
            found.append(Instruction("    " + " ".join(row.split()), line))
    wanted = {target[1] for one in found if (target := _TARGET.search(one.text))}
    kept = [one for one in found if not one.is_label or one.text[:-1] in wanted]
    return Code(name, tuple(kept), _inner_loops(kept))


def _inner_loops(instructions: list[Instruction]) -> tuple[tuple[int, int], ...]:
    """Where the inner loops begin and end, in their order."""
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    for place, one in enumerate(instructions):
        if one.is_label:
            labels[one.text[:-1]] = place
        elif (target := _TARGET.search(one.text)) and target[1] in labels:
            ends[labels[target[1]]] = place + 1
    spans = sorted(ends.items())
    starts = [*(first for first, _ in spans[1:]), len(instructions)]
    return tuple(
        span for span, following in zip(spans, starts, strict=False) if following >= span[1]
    )
