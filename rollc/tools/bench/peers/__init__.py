"""The peers that run the workloads: a module each, all optional except for rollc and Numba.

A module has ``prepare(task, problem)``, which does everything that is done once and returns a
:class:`~.Ready`; where several peers share a module each has its own function.
A library is imported by its module alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rollc.tools.bench.task import MODES, USUAL, Mode, Ready, Task

if TYPE_CHECKING:
    from rollc.tools.bench.data import Problem


@dataclass(frozen=True)
class Peer:
    """Who is measured: the module here and its function, the library, and what it can run.

    ``usual`` is False for one that takes part only where it is asked for by name, and
    ``any_system`` says that it can then run all workloads.  Peers of
    the same ``library`` share a process.
    """

    name: str
    title: str
    module: str
    library: str
    modes: tuple[Mode, ...] = USUAL
    dtypes: tuple[str, ...] = ("float32", "float64")
    usual: bool = True
    any_system: bool = False
    function: str = "prepare"


def _loop(name: str, title: str, function: str, usual: bool = True) -> Peer:
    return Peer(name, title, "torch_loop", "torch", usual=usual, any_system=True, function=function)


ROLLC = Peer("rollc", "rollc", "network", "rollc", MODES)
PEAK = Peer("peak", "multiply-adds in registers", "peak", "numba")
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("torch", "PyTorch's own layer or cell", "torch_layer", "torch", MODES),
        _loop("torch-eager", "PyTorch, a loop", "eager"),
        _loop("torch-compile", "PyTorch, compiled step", "compiled_step"),
        _loop("torch-compile-loop", "PyTorch, compiled loop", "compiled_loop", usual=False),
        Peer("jax", "JAX lax.scan", "jax_scan", "jax", any_system=True),
        Peer("pytensor", "PyTensor scan", "pytensor_scan", "pytensor", any_system=True),
        Peer(
            "onnx", "ONNX Runtime", "onnx_runtime", "onnxruntime", ("forward", "step"), ("float32",)
        ),
        Peer("numba", "Numba by hand", "numba_loop", "numba"),
        Peer(
            "numpy",
            "NumPy, a loop",
            "numpy_loop",
            "numpy",
            ("forward",),
            usual=False,
            any_system=True,
        ),
    )
}
_NEEDS = {"onnxruntime": ("onnxruntime", "onnx")}


def missing(peer: Peer) -> tuple[str, ...]:
    """The libraries that a peer needs and that are not installed."""
    needs = _NEEDS.get(peer.library, (peer.library,))
    return tuple(name for name in needs if find_spec(name) is None)


def peer_named(name: str) -> Peer:
    """A peer, rollc, or the machine's peak."""
    return {**PEERS, ROLLC.name: ROLLC, PEAK.name: PEAK}[name]


def function(name: str) -> Callable[[Task, Problem], Ready]:
    """What prepares a task for a peer.  Imports its library."""
    peer = peer_named(name)
    module = import_module(f"rollc.tools.bench.peers.{peer.module}")
    found: Callable[[Task, Problem], Ready] = getattr(module, peer.function)
    return found
