"""How long each part of a kernel took on a user's data, and what it did in that time."""

from __future__ import annotations

from dataclasses import dataclass

from rollc.driver.loop_times import LoopTimes
from rollc.kernel.program import Carry, Clear, Fill, MatMul, Nest, Pack, Simple
from rollc.kernel.refine.laps import Part
from rollc.tools.report.origins import Line, base

SHOWN, MOST = 3, 9  # names of a part with their parts, and without


@dataclass(frozen=True)
class Row:
    """A part: what it is, its share of the time of all, and what it does in a second."""

    phase: str
    line: Line
    where: str
    seconds: float
    share: float
    operations: int
    bytes: int

    def rate(self, count: int) -> float:
        """So many in ``seconds``, as so many in one."""
        return count / self.seconds if self.seconds > 0 else 0.0


def rows(times: LoopTimes) -> list[Row]:
    """The parts in the order in which they run."""
    whole = sum(times.seconds) or 1.0
    return [
        Row(
            part.phase,
            _line(part),
            _where(part),
            seconds,
            seconds / whole,
            part.operations,
            part.bytes,
        )
        for part, seconds in zip(times.parts, times.seconds, strict=True)
    ]


def summary(times: LoopTimes, peak: float | None) -> list[str]:
    """What a call takes in all, how the times were found, and what that costs."""
    cost = 100 * (times.timed / times.plain - 1)
    operations = sum(part.operations for part in times.parts) / times.plain
    said = [
        f"A call takes {time_text(times.plain)} on one thread, the fastest of {times.calls}, and"
        f" does {amount(operations)} operations a second"
    ]
    if peak:
        said[0] += (
            f", {100 * operations / peak:.0f}% of the {amount(peak)} that multiply-adds in"
            " registers reach here"
        )
    said[0] += (
        f". Its parts take {time_text(sum(times.seconds))} together; what is left is around them,"
        " such as copies of arrays"
    )
    return [
        f"{said[0]}.",
        "For the times of its parts the kernel was compiled once more, with a clock that is read"
        f" after each of them; that call takes {cost:+.1f}%. Statements inside a loop are parts of"
        " their own only if they do much.",
        "A part has an operation for each element that it computes, and two for each multiply-add;"
        " its bytes are those of the values that it reads and writes, once each time that it runs,"
        " be they in a cache or not.",
    ]


def amount(number: float) -> str:
    """A number with three digits and a prefix: 12.3 M."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g}"


def _line(part: Part) -> Line:
    """A part as a line: its names, and the lines of the spec."""
    found: dict[str, None] = {}
    lines: dict[int, None] = {}
    for statement in part.statements:
        found.update(dict.fromkeys(_names(statement)))
        if isinstance(statement, Nest):
            lines.update(dict.fromkeys(assign.line for assign in statement.body))
        lines[getattr(statement, "line", 0)] = None
    values = tuple(dict.fromkeys(map(base, found)))
    named = list(found) if len(found) <= SHOWN else [*dict.fromkeys(map(_value, found))]
    text = ", ".join(named[:MOST]) + f", and {len(named) - MOST} more" * (len(named) > MOST)
    return Line(f"{_what(part)}{text}", tuple(sorted(lines.keys() - {0})), values)


def _value(name: str) -> str:
    """The value of the spec that a node is a part of, or the cotangent of that value."""
    return ("~" if name.startswith("~") else "") + base(name)


def _names(statement: Simple) -> list[str]:
    match statement:
        case Nest():
            return [assign.name for assign in statement.body]
        case MatMul():
            return list(statement.names)
        case Fill() | Clear() | Carry():
            return [statement.buffer]
        case Pack():
            return [part.weight for part in statement.parts]
    return [str(getattr(statement, "name", ""))]


def _what(part: Part) -> str:
    """What is done to values, where they are not computed."""
    kinds = {type(statement) for statement in part.statements}
    words = {
        Fill: "initial values of ",
        Clear: "zeros for sums of ",
        Carry: "last rows of the block before, of ",
        Pack: "packed matrix ",
    }
    return words.get(kinds.pop(), "") if len(kinds) == 1 else ""


def _where(part: Part) -> str:
    """Where it runs: inside of loops, or as one."""
    inside = f"in each step of {', '.join(part.inside)}" if part.inside else ""
    loop = f"loop over {part.loop}" if part.loop else ""
    return ", ".join(filter(None, (loop, inside)))


def time_text(seconds: float) -> str:
    """A time, in a unit of its size."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
