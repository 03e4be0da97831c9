"""Worker teams: threads that compute chunks of one call's large matrix products.

A batch of few sequences is not sharded (:mod:`rollc.runtime.batch_sharding`), and a loop over
time is sequential.  But large products are divided: those over all steps into chunks of rows, and
those of a step, whose matrix is more than a core reads quickly, into chunks of columns.
The thread that runs the kernel describes such a product as a job, and takes chunks of it until
none is left; so does every worker that is there.  It waits only for workers that have
taken a chunk: others may come late or never.  Of several calls, one at a time has the team.

A team is a control block of integers (:mod:`.team_layout`).  ``TICKET`` holds the number of the
job and, in its low digits, the number of chunks that are left: a thread that decrements it by
compare-and-exchange has a chunk.  A job is described only while no chunk is left.  So a worker
that has read half of one job and half of the next cannot take a chunk: the number has changed.

In a kernel a team is the address of its control block, and 0 is none.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import boolean, config, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from rollc.backends.numba.jit.object_code import WORDS
from rollc.backends.numba.jit.routine import Array, shared
from rollc.backends.numba.jit.target import host
from rollc.backends.numba.library.team_layout import (
    ARRAYS,
    DONE,
    KIND,
    LIMIT,
    NUMBERS,
    OWNED,
    THREADS,
    TICKET,
    WORKERS,
)

_CHUNKS = 4  # for each thread, for load balance
SMALLEST = host().job_start  # multiply-adds of a job; smaller ones end before a worker sees them
_CHUNK = 2 * SMALLEST  # multiply-adds of a chunk, in which taking it is a few percent
PATIENCE = host().spins  # reads of a field before a waiting thread yields its core


# Atomic operations -----------------------------------------------------------------------

_word = ir.IntType(64)


def _pointer(builder: Any, team: Any, field: Any) -> Any:
    address = builder.add(team, builder.mul(field, _word(8)))
    return builder.inttoptr(address, _word.as_pointer())


def _array_pointer(builder: Any, team: Any, number: Any) -> Any:
    """The address of the structure of an array of the job."""
    return _pointer(builder, team, builder.add(_word(ARRAYS), builder.mul(number, _word(WORDS))))


def _load(typing_context: Any, team: Any, field: Any) -> Any:
    """Read a field, with acquire ordering."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_pointer(builder, *values), "acquire", 8)

    return int64(int64, int64), generate


def _store(typing_context: Any, team: Any, field: Any, value: Any) -> Any:
    """Write a field, with release ordering."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[2], _pointer(builder, *values[:2]), "release", 8)
        return context.get_dummy_value()

    return types.none(int64, int64, int64), generate


def _compare_exchange(typing_context: Any, team: Any, field: Any, old: Any, new: Any) -> Any:
    """Write a field if it has the old value; returns whether it had."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(builder, *values[:2])
        pair = builder.cmpxchg(pointer, values[2], values[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return boolean(int64, int64, int64, int64), generate


def _add(typing_context: Any, team: Any, field: Any, number: Any) -> Any:
    """Add a number to a field; returns the old value."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, *values[:2]), values[2], "acq_rel")

    return int64(int64, int64, int64), generate


def _back_off(typing_context: Any, looks: Any) -> Any:
    """Pause in a spinning loop; after many iterations, yield the core."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        module, none = builder.module, ir.VoidType()
        if module.triple.startswith(("x86", "i386", "i686", "amd64")):
            kind = ir.FunctionType(none, [])
            pause = cgutils.get_or_insert_function(module, kind, "llvm.x86.sse2.pause")  # type: ignore[no-untyped-call]
            builder.call(pause, [])
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            yield_ = cgutils.get_or_insert_function(module, kind, "sched_yield")  # type: ignore[no-untyped-call]
            with builder.if_then(builder.icmp_signed(">", values[0], _word(PATIENCE))):
                builder.call(yield_, [])
        return context.get_dummy_value()

    return types.none(int64), generate


def _keep_array(typing_context: Any, team: Any, number: Any, array: Any) -> Any:
    """Write the structure of an array of the job."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _array_pointer(builder, *values[:2])
        kind = context.get_value_type(signature.args[2])
        builder.store(values[2], builder.bitcast(pointer, kind.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.none(int64, int64, array), generate


def _job_array(typing_context: Any, team: Any, number: Any, like: Any) -> Any:
    """Read an array of the job, of the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _array_pointer(builder, *values[:2])
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=8)

    return like(int64, int64, like), generate


def _plain(*given: Any) -> Any:
    raise NotImplementedError("plain Python has no teams")


def _made(function: Any) -> Any:
    return _plain if config.DISABLE_JIT else intrinsic(function)  # type: ignore[attr-defined]


load, store, add = _made(_load), _made(_store), _made(_add)
compare_exchange, back_off = _made(_compare_exchange), _made(_back_off)
keep_array, job_array = _made(_keep_array), _made(_job_array)


# Jobs ------------------------------------------------------------------------------------


@shared
def taken(team: int, work: int) -> bool:
    """Take the team for a product of ``work`` multiply-adds, where that pays off.

    It does not where no worker is there, or another call has the team.
    """
    if team == 0 or work < SMALLEST or load(team, WORKERS) == 0 or load(team, OWNED) != 0:
        return False
    return bool(compare_exchange(team, OWNED, 0, 1))


@shared
def most_chunks(team: int, work: int) -> int:
    """The most chunks of a job: several for each thread, but not small ones."""
    count = int(load(team, THREADS))
    return min(count * max(1, min(work // (count * _CHUNK), _CHUNKS)), LIMIT - 1)


@shared
def chunk_size(chunks: int, count: int, unit: int) -> int:
    """The rows, or columns, of a chunk: a multiple of ``unit``, so that rounding does not depend
    on threads."""
    units = -(-count // unit)
    return -(-units // chunks) * unit


@shared
def describe(
    team: int, kind: int, numbers: tuple[int, ...], a: Array, b: Array, out: Array
) -> None:
    """Write the description of a job, while no chunk of the last one is left."""
    store(team, KIND, kind)
    for i in range(len(numbers)):
        store(team, NUMBERS + i, numbers[i])
    keep_array(team, 0, a)
    keep_array(team, 1, b)
    keep_array(team, 2, out)


@shared
def job_number(team: int, index: int) -> int:
    """One of the numbers of the job."""
    return int(load(team, NUMBERS + index))


@shared
def offer(team: int, chunks: int) -> None:
    """Publish the chunks of the described job, for threads to take."""
    store(team, DONE, 0)
    store(team, TICKET, (load(team, TICKET) // LIMIT + 1) * LIMIT + chunks)


@shared
def wait_until(team: int, field: int, number: int) -> None:
    """Spin until a field has reached a number."""
    looks = 0
    while load(team, field) < number:
        back_off(looks)
        looks += 1
