"""The workloads: networks with sizes, and the peers that can run them.

A name is a system and its sizes: ``lstm-100x32x128`` has 100 steps, 32 sequences and a
width of 128, which is also that of the inputs.  A spec reads ``x``, has the output ``y`` and
weights it by the target ``g``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from rollc.errors import InputError


class Size(NamedTuple):
    """How many steps, how many sequences, and the width of input and layers."""

    steps: int
    batch: int
    width: int

    def __str__(self) -> str:
        return f"{self.steps}x{self.batch}x{self.width}"


VECTORS = "input x: [H]\ntarget g: [H]"
NUMBERS = "input x\ntarget g"
TWO_AXES = "time s, t\ninput x[s]: [H], z[t]: [H]\ntarget g[t]: [H]"


@dataclass(frozen=True)
class Workload:
    """A network at one size.

    ``system`` is its name in :mod:`rollc.tools.bench.systems` and ``body`` its spec less the head
    and the tail that all have in common; ``peers`` are those that can compute it.  ``seed``
    draws the data.
    """

    system: str
    title: str
    group: str
    body: str
    peers: tuple[str, ...]
    size: Size
    dtypes: tuple[str, ...] = ("float32",)
    leaves: str = VECTORS
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.system}-{self.size}"

    @property
    def spec(self) -> str:
        """The whole text."""
        width = "" if self.scalar else f"dim H = {self.size.width}\n"
        weighted = "y * g" if self.scalar else "sum(y * g)"
        return (
            f"net {self.system}\n{self.leaves}\n{width}{self.body}\n"
            f"output y\nloss mean({weighted}, over t)\n"
        )

    @property
    def streams(self) -> bool:
        """Whether it runs step by step, with nothing from the future and no second time axis."""
        return self.leaves != TWO_AXES and "[t+" not in self.body

    @property
    def scalar(self) -> bool:
        """Whether a step is a single number, and there is no width."""
        return self.leaves == NUMBERS


BUILT_IN, OWN, STACKS, SCALAR = "built-in", "own cells", "stacks", "scalar"
"""The groups: layers that PyTorch has, cells that it has not, several of its layers, and
recurrences of single numbers."""

_LOOPS = ("torch-eager", "torch-compile", "jax", "pytensor")
_LAYERS = ("torch", "jax", "pytensor")
_COMMON = tuple(
    Size(*sizes)
    for sizes in (
        (100, 32, 128),
        (100, 32, 64),
        (100, 64, 256),
        (50, 64, 512),
        (1000, 1, 64),
        (100, 1, 32),
        (28, 128, 128),
        (500, 16, 256),
        (784, 1, 128),
    )
)
_USUAL = Size(100, 32, 128)
_LARGE = Size(100, 64, 256)
_BOTH = ("float32", "float64")


def _at(sizes: Sequence[Size], first: Workload) -> list[Workload]:
    """A workload at several sizes; of more than one precision at the first alone."""
    rest = (replace(first, size=size, dtypes=first.dtypes[:1]) for size in sizes[1:])
    return [replace(first, size=sizes[0]), *rest]


def _layer(cell: str, title: str, dtypes: tuple[str, ...] = ("float32",)) -> list[Workload]:
    body = f'use "cells/{cell}.roll"\ny = {cell}(x; H=H)'
    peers = (*_LAYERS, "onnx")
    return _at(_COMMON, Workload(cell, title, BUILT_IN, body, peers, _USUAL, dtypes))


def _own(
    system: str,
    title: str,
    body: str,
    sizes: Sequence[Size] = (_USUAL, _LARGE),
    dtypes: tuple[str, ...] = ("float32",),
    leaves: str = VECTORS,
) -> list[Workload]:
    return _at(sizes, Workload(system, title, OWN, body, _LOOPS, sizes[0], dtypes, leaves))


_CLOCKWORK = """\
use "cells/clockwork.roll"
m8 = clockwork(x; H=H/4, P=8)
m4 = clockwork_beside(x, m8; H=H/4, P=4)
m2 = clockwork_beside(x, concat(m4, m8); H=H/4, P=2)
m1 = clockwork_beside(x, concat(m2, m4, m8); H=H/4, P=1)
y = concat(m1, m2, m4, m8)"""

_DILATED = """\
use "cells/dilated.roll"
low = dilated(x; H=H, back=1)
middle = dilated(low; H=H, back=2)
y = dilated(middle; H=H, back=4)"""

# The same graph as specs/dynamics/three_layers, with the output as wide as the input.
_THREE_LAYERS = """\
param M_A: [H, 2*H], M_B: [H, H], M_C: [H, H], M_o: [H, H]
a = M_A @ concat(x, c[t-1])
b = M_B @ a
c = M_C @ b
y = M_o @ c"""

# A decoder that starts where the encoder ended, and at each step weighs all that it gave.
_ATTENTION = """\
use "cells/gru.roll"
param A: [H, H]
e = gru(x; H=H)
score = dot(e, A @ y[t-1])
context = sum(softmax(score, over s) * e, over s)
y = gru(concat(z, context); H=H)
init y = last(e)"""

_BACKWARDS = """\
cell back(x; H) -> h {
    param W: [4*H, size(x)], U: [4*H, H] = orthogonal, b: [4*H]
    i, f, g, o = split(W @ x + U @ h[t+1] + b, 4)
    c = sigmoid(f) * c[t+1] + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
}
"""

_IIR = """\
param b0 = 1.0, b1 = 0.5, b2 = 0.3, a1 = -0.6, a2 = 0.4
y = b0 * x + b1 * x[t-1] + b2 * x[t-2] - a1 * y[t-1] - a2 * y[t-2]"""

# Duffing's damped oscillator, driven by x: p' = v, v' = x - c v - k p - e p^3, in steps of the
# classical Runge-Kutta rule with the force held over a step.
_OSCILLATOR = """\
const dt = 0.05
param c = 0.5, k = 1.0, e = 0.2
fn push(p, v, x, c, k, e) = x - c * v - k * p - e * p * p * p
p0 = p[t-1]
v0 = v[t-1]
d1 = push(p0, v0, x, c, k, e)
v1 = v0 + dt / 2 * d1
d2 = push(p0 + dt / 2 * v0, v1, x, c, k, e)
v2 = v0 + dt / 2 * d2
d3 = push(p0 + dt / 2 * v1, v2, x, c, k, e)
v3 = v0 + dt * d3
d4 = push(p0 + dt * v2, v3, x, c, k, e)
p = p0 + dt / 6 * (v0 + 2 * v1 + 2 * v2 + v3)
v = v0 + dt / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
y = p"""


def _scalar(system: str, title: str, body: str, steps: int) -> list[Workload]:
    sizes = (Size(steps, 1, 1), Size(steps, 64, 1))
    peers = ("numba", "jax", "pytensor")
    first = Workload(system, title, SCALAR, body, peers, sizes[0], _BOTH, NUMBERS)
    return _at(sizes, first)


WORKLOADS: tuple[Workload, ...] = (
    *_layer("lstm", "LSTM", _BOTH),
    *_layer("gru", "GRU"),
    *_layer("rnn", "plain RNN"),
    *_own(
        "lstm_peephole",
        "LSTM with peepholes",
        'use "cells/lstm_peephole.roll"\ny = lstm_peephole(x; H=H)',
        dtypes=_BOTH,
    ),
    *_own(
        "lstm_layer_norm",
        "layer-normed LSTM",
        'use "cells/lstm_layer_norm.roll"\ny = lstm_layer_norm(x; H=H)',
    ),
    *_own("clockwork", "clockwork RNN", _CLOCKWORK),
    *_own("dilated", "dilated RNN", _DILATED),
    *_own("lif", "leaky integrate-and-fire", 'use "cells/lif.roll"\ny = lif(x; H=H)'),
    *_own("three_layers", "three layers in a ring", _THREE_LAYERS),
    *_own(
        "diagonal",
        "diagonal state space",
        'use "cells/diagonal.roll"\ny = diagonal(x; H=H, K=H)',
        (Size(4096, 4, 64),),
    ),
    *_own(
        "attention",
        "encoder, decoder with attention",
        _ATTENTION,
        (Size(50, 32, 128),),
        leaves=TWO_AXES,
    ),
    *_at(
        (_USUAL, _LARGE),
        Workload(
            "stacked",
            "two LSTM layers",
            STACKS,
            'use "cells/lstm.roll"\nlow = lstm(x; H=H)\ny = lstm(low; H=H)',
            _LAYERS,
            _USUAL,
        ),
    ),
    *_at(
        (_USUAL, _LARGE),
        Workload(
            "bidirectional",
            "bidirectional LSTM",
            STACKS,
            'use "cells/lstm.roll"\n'
            + _BACKWARDS
            + "f = lstm(x; H=H/2)\ng2 = back(x; H=H/2)\ny = concat(f, g2)",
            _LAYERS,
            _USUAL,
        ),
    ),
    *_scalar("iir", "second-order filter", _IIR, 44_100),
    *_scalar("oscillator", "Runge-Kutta oscillator", _OSCILLATOR, 10_000),
)


def chosen(names: Sequence[str], sizes: Sequence[Size] = ()) -> tuple[Workload, ...]:
    """The workloads that names stand for: systems, whole names, or patterns such as ``lstm*``.

    Without names all of them; with ``sizes`` each system at those sizes in place of its own.
    Raises :class:`InputError` for a name that is none.
    """
    found: dict[str, Workload] = {}
    for name in names or ("*",):
        matching = [
            workload
            for workload in WORKLOADS
            if fnmatchcase(workload.system, name) or fnmatchcase(workload.name, name)
        ]
        if not matching:
            systems = list(dict.fromkeys(workload.system for workload in WORKLOADS))
            near = get_close_matches(name, [*systems, *(w.name for w in WORKLOADS)], n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(systems)}"
            raise InputError(f"there is no workload `{name}`; {hint}")
        found |= {workload.name: workload for workload in matching}
    if not sizes:
        return tuple(found.values())
    firsts: dict[str, Workload] = {}
    for workload in found.values():
        firsts.setdefault(workload.system, workload)
    return tuple(replace(first, size=size) for first in firsts.values() for size in sizes)
