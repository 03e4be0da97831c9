"""The clock that kernels read where their parts are timed."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from llvmlite import ir
from numba import config, int64
from numba.core import cgutils
from numba.extending import intrinsic


def _nanoseconds(typing_context: Any) -> Any:
    """The time of a clock that no one sets, in nanoseconds: POSIX's ``clock_gettime``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word, number = ir.IntType(64), ir.IntType(32)
        pair = ir.LiteralStructType([word, word])
        type_ = ir.FunctionType(number, [number, pair.as_pointer()])
        read = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, type_, "clock_gettime"
        )
        found = cgutils.alloca_once(builder, pair)  # type: ignore[no-untyped-call]
        builder.call(read, [number(time.CLOCK_MONOTONIC), found])
        both = builder.load(found)
        seconds, rest = (builder.extract_value(both, place) for place in range(2))
        return builder.add(builder.mul(seconds, word(10**9)), rest)

    return int64(), generate


nanoseconds: Any = (
    partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)
    if config.DISABLE_JIT  # type: ignore[attr-defined]
    else intrinsic(_nanoseconds)
)
