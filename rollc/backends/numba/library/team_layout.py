"""The layout of the control blocks by which the threads of a call share work.

A control block is a row of integers; those that different threads write are in separate cache
lines.  Nothing here needs the compiler.
"""

from __future__ import annotations

from rollc.backends.numba.jit.object_code import WORDS

# Of a team (:mod:`rollc.backends.numba.library.thread_team`).
TICKET, DONE, CALLS, THREADS, OWNED, WORKERS = 0, 8, 16, 17, 24, 32
KIND, NUMBERS, ARRAYS = 40, 41, 56
TEAM = ARRAYS + 3 * WORDS
LIMIT = 65_536
"""A bound on the chunks of a job: the low digits of a ticket."""

# Of a matrix that threads pack together (:mod:`rollc.backends.numba.library.gemm.packing`).
TAKEN, COPIED = 0, 8
MATRIX = 16
