"""A team: threads that take parts of one call's large matrix products.

A batch of few sequences cannot be shared out (:mod:`rollc.runtime.executable`), and a loop over
time is one thread's.  But the products of all steps together fall apart into chunks of rows.
The thread that runs the kernel lays such a product out as a job, and takes chunks of it until
none is left; so does every helper that is there by then.  No one is waited for but those who
have taken a chunk, so helpers may come late or never.

A team is a row of integers (:mod:`.team_layout`).  ``TICKET`` holds the number of the
job and below it how many of its chunks are left: whoever counts it down by one has a chunk.
A job is laid out only while no chunk is left.  So a helper that read half of one job and half
of the next cannot take a ticket: the number has changed.

In a kernel a team is its address, and 0 is none.
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
    THREADS,
    TICKET,
)

CHUNKS = 4  # of each thread: who is late or slow takes fewer
SMALLEST = host().job_start  # multiply-adds of a job: less is done before a helper has seen it
PATIENCE = host().spins  # looks at a word before the processor is left to other threads


# Atomic operations -----------------------------------------------------------------------

_word = ir.IntType(64)


def _pointer(builder: Any, team: Any, place: Any) -> Any:
    address = builder.add(team, builder.mul(place, _word(8)))
    return builder.inttoptr(address, _word.as_pointer())


def _fields(builder: Any, team: Any, place: Any) -> Any:
    """The place of an array's fields."""
    return _pointer(builder, team, builder.add(_word(ARRAYS), builder.mul(place, _word(WORDS))))


def _get(typing_context: Any, team: Any, place: Any) -> Any:
    """A word; what its writer wrote before it can be read."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_pointer(builder, *values), "acquire", 8)

    return int64(int64, int64), generate


def _put(typing_context: Any, team: Any, place: Any, value: Any) -> Any:
    """Write a word; who reads it can read what was written before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[2], _pointer(builder, *values[:2]), "release", 8)
        return context.get_dummy_value()

    return types.none(int64, int64, int64), generate


def _exchange(typing_context: Any, team: Any, place: Any, old: Any, new: Any) -> Any:
    """Write a word if it still is the old one, and whether it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(builder, *values[:2])
        pair = builder.cmpxchg(pointer, values[2], values[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return boolean(int64, int64, int64, int64), generate


def _increase(typing_context: Any, team: Any, place: Any) -> Any:
    """Add one to a word, and what it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, *values), _word(1), "acq_rel")

    return int64(int64, int64), generate


def _rest(typing_context: Any, looks: Any) -> Any:
    """Wait a moment; after many looks, until the system has had others run."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        module, none = builder.module, ir.VoidType()
        if module.triple.startswith(("x86", "i386", "i686", "amd64")):
            kind = ir.FunctionType(none, [])
            pause = cgutils.get_or_insert_function(module, kind, "llvm.x86.sse2.pause")  # type: ignore[no-untyped-call]
            builder.call(pause, [])
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            give_way = cgutils.get_or_insert_function(module, kind, "sched_yield")  # type: ignore[no-untyped-call]
            with builder.if_then(builder.icmp_signed(">", values[0], _word(PATIENCE))):
                builder.call(give_way, [])
        return context.get_dummy_value()

    return types.none(int64), generate


def _keep(typing_context: Any, team: Any, place: Any, array: Any) -> Any:
    """Write the fields of an array of the job."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _fields(builder, *values[:2])
        kind = context.get_value_type(signature.args[2])
        builder.store(values[2], builder.bitcast(pointer, kind.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.none(int64, int64, array), generate


def _array(typing_context: Any, team: Any, place: Any, like: Any) -> Any:
    """An array of the job, whose fields :func:`_keep` wrote; its type is that of another."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _fields(builder, *values[:2])
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=8)

    return like(int64, int64, like), generate


def _plain(*given: Any) -> Any:
    raise NotImplementedError("plain Python has no teams")


def _made(function: Any) -> Any:
    return _plain if config.DISABLE_JIT else intrinsic(function)  # type: ignore[attr-defined]


get, put, exchange, increase = _made(_get), _made(_put), _made(_exchange), _made(_increase)
rest, keep, array = _made(_rest), _made(_keep), _made(_array)


# Jobs ------------------------------------------------------------------------------------


@shared
def worthwhile(team: int, work: int) -> bool:
    """Whether a product of so many multiply-adds is to be a job."""
    return team != 0 and work >= SMALLEST


@shared
def chunk_size(team: int, count: int, unit: int) -> int:
    """The rows of a chunk: a multiple of ``unit``, so that rows are summed up as by one thread."""
    chunks = min(CHUNKS * int(get(team, THREADS)), LIMIT - 1)
    units = -(-count // unit)
    return -(-units // chunks) * unit


@shared
def describe(
    team: int, kind: int, numbers: tuple[int, ...], one: Array, other: Array, out: Array
) -> None:
    """Lay a job out; no chunk of the last one is left."""
    put(team, KIND, kind)
    for place in range(len(numbers)):
        put(team, NUMBERS + place, numbers[place])
    keep(team, 0, one)
    keep(team, 1, other)
    keep(team, 2, out)


@shared
def number(team: int, place: int) -> int:
    """One of the numbers of the job."""
    return int(get(team, NUMBERS + place))


@shared
def offer(team: int, chunks: int) -> None:
    """Let the chunks of the job that is laid out be taken."""
    put(team, DONE, 0)
    put(team, TICKET, (get(team, TICKET) // LIMIT + 1) * LIMIT + chunks)


@shared
def reach(team: int, place: int, number: int) -> None:
    """Wait until a word has come up to a number."""
    looks = 0
    while get(team, place) < number:
        rest(looks)
        looks += 1
