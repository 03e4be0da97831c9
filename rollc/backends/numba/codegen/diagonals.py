"""Code generation of loops over the diagonals of two axes (:mod:`rollc.ir.time.wavefront`).

A statement on a diagonal runs for the steps across from ``low`` to before ``high``, each at the
step along the other axis where the diagonal meets it.  So the cells of a diagonal are rows of an
array with a constant stride, and those of a buffer that only one diagonal needs are contiguous.
"""

from __future__ import annotations

from collections.abc import Callable

from rollc.backends.numba.codegen.printer import Diagonal, Writer, scaled, shifted, start
from rollc.kernel.program import Loop, MatMul, Shifted, Simple


def write_diagonals(write: Writer, loop: Loop, simple: Callable[[Simple], None]) -> None:
    """Write a loop over diagonals; ``simple`` writes a statement."""
    front = Diagonal(loop.across, loop.axis, *loop.weights)
    rows, columns = write.steps(loop.across), write.steps(loop.axis)
    shifts = [abs(part.shift) for part in loop.body if isinstance(part, Shifted)]
    longest = max(shifts, default=0)
    a, b = loop.weights
    across, step = write.step(loop.across), write.step(loop.axis)
    if a > 0:
        first, end, size = "0", f"{scaled(a, rows)} + {scaled(b, columns)}", a + b
        combination = f"{scaled(a, across)} + {scaled(b, step)}"
    else:
        first, end, size = f"{-a} - {scaled(-a, rows)}", scaled(b, columns), b
        combination = f"{scaled(b, step)} - {scaled(-a, across)}"
    write.remark(f"diagonals of {combination}, each at once")
    now = "now" if shifts else "diagonal"
    if loop.direction == "forward":
        begin = "" if first == "0" else f"{first}, "
        write.say(f"for {now} in range({begin}{shifted(end, longest + 1 - size)}):")
    else:
        last = shifted(end, -size)
        write.say(f"for {now} in range({last}, {shifted(first, -longest - 1)}, -1):")
    write.depth += 1
    write.diagonal = front
    plain = tuple(part for part in loop.body if not isinstance(part, Shifted | Loop))
    for part in loop.body if shifts else (Shifted(0, plain),):
        assert isinstance(part, Shifted)
        if shifts:
            write.say(f"diagonal = {shifted('now', -part.shift)}")
        _write_ends(write, front)
        place, write.firsts = len(write.lines), {}
        for statement in part.body:
            simple(statement)
        firsts = [f"{name} = {row}" for row, name in write.firsts.items()]
        write.lines[place:place] = ["    " * write.depth + line for line in firsts]
    write.diagonal = None
    write.depth -= 1


def _write_ends(write: Writer, front: Diagonal) -> None:
    """Write the first step across of a diagonal, and the one behind the last."""
    rows, columns = write.steps(front.across), write.steps(front.axis)
    a, b = front.a, front.b
    # The step along the axis is from 0 to the last one, which is a bound for that across.
    to_last = f"{scaled(b, columns)} - {b} - diagonal"
    if a == 1:
        low, high = f"diagonal - {scaled(b, columns)} + {b}", "diagonal + 1"
    elif a > 0:
        low, high = f"-(({to_last}) // {a})", f"diagonal // {a} + 1"
    elif a == -1:
        low, high = "-diagonal", f"{shifted(scaled(b, columns), 1 - b)} - diagonal"
    else:
        low, high = f"-(diagonal // {-a})", f"({to_last}) // {-a} + 1"
    write.say(f"low, high = max(0, {low}), min({rows}, {high})")
    if b > 1:  # the steps at which the other one is whole
        write.say(f"low += ({scaled(pow(a, -1, b), 'diagonal')} - low) % {b}")


def write_product(write: Writer, times: MatMul, inner: tuple[str, ...]) -> bool:
    """Write a product of the rows of a diagonal as one call, where they have strides.

    ``inner`` are the axes along which they are contiguous.
    """
    front = write.diagonal
    if front is None or front.across in inner or times.over != (front.across, *inner):
        return False
    a, out = times.operand, times.out
    inputs, outputs = write.buffers[times.panel].shape
    write.call(
        "matmul_apart",
        write.array(a),
        write.names.array(times.panel),
        out=write.array(out),
        steps=write.count((front.across,), times.span),
        rows=write.count(inner, times.span),
        inner=inputs,
        columns=outputs,
        a_stride=write.stride(a, (front.across,)),
        out_stride=write.stride(out, (front.across,)),
        **start("a", write.first_row(a, times.over, times.span), a.offset),
        **start("out", write.first_row(out, times.over, times.span), out.offset),
        team="team",
    )
    return True
