"""The machine's peak: multiply-adds of independent vectors in registers.

It is the most that the processor can do on the same number of threads, at its current clock.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, float64, int64, njit
from numba.extending import intrinsic

from rollc.backends.numba.jit.target import host
from rollc.tools.bench.data import Array, Problem
from rollc.tools.bench.task import Ready, Task

CHAINS = 12
"""Vectors at once: more than two units times the latency of a multiply-add in cycles, fewer
than there are registers."""
TURNS = 4_000_000


def _chains(number: Any, kind: str, itemsize: int) -> Any:
    """``chains(turns, factor)``: multiply-adds in a loop, and a number that depends on all."""

    @intrinsic
    def chains(typing_context: Any, turns: Any, factor: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            lanes = host().lanes(itemsize)
            vector = ir.VectorType(context.get_data_type(number), lanes)
            name = f"llvm.fma.v{lanes}{kind}"
            function = ir.FunctionType(vector, [vector] * 3)
            multiply_add = builder.module.globals.get(name) or ir.Function(
                builder.module, function, name
            )
            count, one = values
            i32 = ir.IntType(32)
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), one, i32(0))
            zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
            factors = builder.shuffle_vector(first, first, zeros)
            before = builder.block
            body = builder.append_basic_block("peak.body")
            after = builder.append_basic_block("peak.after")
            builder.branch(body)
            builder.position_at_end(body)
            turn = builder.phi(count.type)
            turn.add_incoming(count.type(0), before)
            sums = [builder.phi(vector) for _ in range(CHAINS)]
            for place, total in enumerate(sums):
                start = ir.Constant(vector, [float(place + lane) for lane in range(lanes)])
                total.add_incoming(start, before)
                total.add_incoming(builder.call(multiply_add, [total, factors, factors]), body)
            following = builder.add(turn, count.type(1))
            turn.add_incoming(following, body)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)
            total = sums[0]
            for other in sums[1:]:
                total = builder.fadd(total, other)
            return builder.extract_element(total, i32(0))

        return number(int64, number), generate

    return chains


def _loop(dtype: str) -> Any:
    number = float32 if dtype == "float32" else float64
    chains = _chains(number, "f32" if dtype == "float32" else "f64", np.dtype(dtype).itemsize)

    @njit(number(int64, number), nogil=True)
    def loop(turns: int, factor: Any) -> Any:
        return chains(turns, factor)

    return loop


def operations_a_second(dtype: str) -> float:
    """The most operations of a thread in a second, two a multiply-add: the best of many times."""
    loop, factor = _loop(dtype), np.dtype(dtype).type(0.5)
    turns, lanes = TURNS // 100, host().lanes(np.dtype(dtype).itemsize)
    best = float("inf")
    for _ in range(200):
        begin = perf_counter()
        loop(turns, factor)
        best = min(best, perf_counter() - begin)
    return 2 * turns * CHAINS * lanes / best


def prepare(task: Task, problem: Problem) -> Ready:
    loop = _loop(task.dtype)
    factor = np.dtype(task.dtype).type(0.5)
    pool = ThreadPoolExecutor(task.threads)

    def call() -> Any:
        return list(pool.map(lambda _: loop(TURNS, factor), range(task.threads)))

    lanes = host().lanes(np.dtype(task.dtype).itemsize)
    return Ready(call, _nothing, task.threads * TURNS * CHAINS * lanes)


def _nothing(found: Any) -> dict[str, Array]:
    return {}
