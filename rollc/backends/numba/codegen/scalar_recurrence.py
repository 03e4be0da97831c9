"""Scalar replacement: code generation of a recurrence of numbers for one sequence.

Such a loop is bound by the latency from step to step.  The last values are in local variables, and
not loaded.  Elementwise operations on numbers and sums over the steps that would follow each block
of steps are fused into the loop, whose latency hides them; values that only these read are not
stored.

Callahan, Carr and Kennedy, Improving register allocation for subscripted variables (1990), PLDI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rollc.backends.numba.codegen.elementwise import Elements
from rollc.backends.numba.codegen.step_ranges import ranges
from rollc.ir.graph import BATCH
from rollc.kernel.cost_model import kept_in_registers
from rollc.kernel.program import (
    Assign,
    Loop,
    Nest,
    OuterProduct,
    Reduce,
    Ref,
    Simple,
    reads,
    writes,
)

Sum = OuterProduct | Reduce
Fused = Nest | Sum


def write_single(
    elements: Elements, loop: Loop, step: str, low: str, high: str, first: str
) -> tuple[Fused, ...] | None:
    """Write a recurrence of numbers for one sequence; None if the loop is no such recurrence.

    Its steps are those from ``low`` to before ``high``, beginning at ``first``.  Returns the
    statements after the steps that are fused into the loop.  Where the recurrence is
    :func:`batched`, the branch for more sequences has to follow.
    """
    depths = _depths(elements, loop)
    return _Single(elements, loop, depths).written(step, low, high, first) if depths else None


def batched(loop: Loop) -> bool:
    """Whether a recurrence of numbers runs for each sequence."""
    return any(BATCH in nest.over for nest in loop.body if isinstance(nest, Nest))


def _depths(elements: Elements, loop: Loop) -> dict[str, int]:
    """The largest dependence distance of each number that a loop reads from earlier steps."""
    for nest in loop.body:
        if not isinstance(nest, Nest) or nest.shape or set(nest.over) - {BATCH}:
            return {}
    nests = [nest for nest in loop.body if isinstance(nest, Nest)]
    made = {ref.buffer for nest in nests for ref in writes(nest)}
    sign = 1 if loop.direction == "forward" else -1
    found: dict[str, int] = {}
    for ref in (ref for nest in nests for ref in reads(nest)):
        buffer = elements.write.buffers[ref.buffer]
        back = sign * (buffer.before - ref.shift)
        plain = not buffer.shape and buffer.axes == (loop.axis,) and ref.row == "step"
        if ref.buffer in made and plain and kept_in_registers(elements.write.target, back):
            found[ref.buffer] = max(found.get(ref.buffer, 0), back)
    return found


class _Single:
    def __init__(self, elements: Elements, loop: Loop, depths: Mapping[str, int]) -> None:
        self.elements, self.write = elements, elements.write
        self.loop, self.depths = loop, depths
        self.body = [nest for nest in loop.body if isinstance(nest, Nest)]
        self.fused = self._fused()
        self.sign = -1 if loop.direction == "forward" else 1
        # The variables of values of earlier steps, and of the current one.
        self.past = {
            self._past(name, back): self.write.names.local(name, f"past{back}")
            for name, depth in depths.items()
            for back in range(1, depth + 1)
        }
        self.now = {
            assign.store: self.write.names.local(assign.name)
            for assign in self._assigns()
            if assign.store is not None
        }
        self.unread = self._unread()

    def _past(self, name: str, back: int) -> Ref:
        """A read of a value ``back`` iterations ago."""
        return Ref(name, shift=self.write.buffers[name].before + self.sign * back)

    def _nests(self) -> list[Nest]:
        return [*self.body, *(part for part in self.fused if isinstance(part, Nest))]

    def _assigns(self) -> list[Assign]:
        return [assign for nest in self._nests() for assign in nest.body]

    def _fused(self) -> tuple[Fused, ...]:
        """The statements after the steps that can be fused with them."""
        late: set[str] = set()  # written by those that cannot
        found: list[Fused] = []
        for statement in self.loop.after:
            refs = (*reads(statement), *writes(statement))
            if self._fits(statement) and not any(ref.buffer in late for ref in refs):
                assert isinstance(statement, Fused)
                found.append(statement)
            else:
                late.update(ref.buffer for ref in writes(statement))
        return tuple(found)

    def _fits(self, statement: Simple) -> bool:
        """Whether a statement reads and writes only numbers of the current step."""
        match statement:
            case Nest():
                over, fits = statement.over, not statement.shape
            case OuterProduct():
                over, fits = statement.over, not statement.a.shape and statement.when is None
            case Reduce():
                over = (*statement.over, *statement.kept)
                fits = statement.operation == "sum_over" and self.loop.axis in statement.over
            case _:
                return False
        refs = (*reads(statement), *writes(statement))
        return (
            fits
            and self.loop.axis in over
            # A recurrence that all sequences share has statements of each sequence after it.
            and set(over) <= {self.loop.axis, *([BATCH] if batched(self.loop) else [])}
            and not any(self.write.buffers[ref.buffer].shape for ref in refs)
            and all(ref.row == "step" for ref in reads(statement))
        )

    def _unread(self) -> set[str]:
        """The buffers of a block whose every read is of a variable."""
        others = [*self.loop.before, *(part for part in self.loop.after if part not in self.fused)]
        read = {ref.buffer for statement in others for ref in reads(statement)}
        for statement in (*self.body, *self.fused):
            for ref in reads(statement):
                if ref not in self.now and ref not in self.past:
                    read.add(ref.buffer)
        blocks = {ref.buffer for ref in self.now if self.write.buffers[ref.buffer].role == "block"}
        return blocks - read

    def written(self, step: str, low: str, high: str, first: str) -> tuple[Fused, ...]:
        """Write the loop; returns the statements that are fused into it."""
        write, branch = self.write, batched(self.loop)
        if branch:
            write.say("if B == 1:  # the last steps are in local variables")
            write.depth += 1
            write.single = True
        for ref, name in self.past.items():
            write.say(f"{name} = {write.at_step(ref, {self.loop.axis: first})}")
        sums = {
            part: write.names.local(part.name, "sum")
            for part in self.fused
            if isinstance(part, Sum)
        }
        for name in sums.values():
            write.say(f"{name} = 0.0")
        whole = replace(self.loop, body=(*self.body, *self.fused))
        for steps in ranges(write, whole, step, low, high):
            with write.steps_of(steps):
                self._step(sums)
        for part, name in sums.items():
            write.say(f"{write.element(part.out)} += F({name})")
        if branch:
            write.single = False
            write.depth -= 1
        return self.fused

    def _step(self, sums: Mapping[Sum, str]) -> None:
        write = self.write
        known = {**self.past, **self.now}
        for nest in self._nests():
            write.comment([a.name for a in nest.body], [a.line for a in nest.body])
            for assign in nest.body:
                stored = assign.store is not None and assign.store.buffer not in self.unread
                self.elements.assign(assign if stored else replace(assign, store=None), known)
        for part, name in sums.items():
            write.comment([part.name], [part.line])
            pair = (
                (part.a, part.b) if isinstance(part, OuterProduct) else (part.operand, part.factor)
            )
            factors = [self.elements.operand(one, known) for one in pair if one is not None]
            write.say(f"{name} += {' * '.join(factors)}")
        stores: dict[str, str] = {ref.buffer: name for ref, name in self.now.items()}
        for buffer, depth in self.depths.items():
            mine: Sequence[str] = [self.past[self._past(buffer, b)] for b in range(1, depth + 1)]
            for later, earlier in zip(mine[:0:-1], mine[-2::-1], strict=True):
                write.say(f"{later} = {earlier}")
            value = stores[buffer]
            kind = write.buffers[buffer].kind
            write.say(f"{mine[0]} = {f'F({value})' if kind == 'float' else value}")
