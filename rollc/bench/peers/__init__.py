"""Who runs the workloads: a module each, all optional but rollc and Numba.

A module has ``prepare(task, problem)``, which does all that is done once and gives a
:class:`~rollc.bench.task.Ready`; where several peers share a module each has a function of its
own.  The library is imported there alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from rollc.bench.task import MODES, Mode


@dataclass(frozen=True)
class Peer:
    """Who is measured: the module here and its function, the library, and what it can run.

    ``usual`` is False for one that takes part only where it is asked for by name.  Peers of
    the same ``library`` share a process.
    """

    name: str
    title: str
    module: str
    library: str
    modes: tuple[Mode, ...] = MODES
    usual: bool = True
    function: str = "prepare"


ROLLC = Peer("rollc", "rollc", "network", "rollc")
PEAK = Peer("peak", "multiply-adds in registers", "peak", "numba")
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("torch", "PyTorch's own layer", "torch_layer", "torch"),
        Peer("torch-eager", "PyTorch, a loop", "torch_loop", "torch", function="eager"),
        Peer(
            "torch-compile",
            "PyTorch, compiled step",
            "torch_loop",
            "torch",
            function="compiled_step",
        ),
        Peer(
            "torch-compile-loop",
            "PyTorch, compiled loop",
            "torch_loop",
            "torch",
            usual=False,
            function="compiled_loop",
        ),
        Peer("jax", "JAX lax.scan", "jax_scan", "jax"),
        Peer("pytensor", "PyTensor scan", "pytensor_scan", "pytensor"),
        Peer("onnx", "ONNX Runtime", "onnx_runtime", "onnxruntime", ("forward",)),
        Peer("numba", "Numba by hand", "numba_loop", "numba"),
        Peer("numpy", "NumPy, a loop", "numpy_loop", "numpy", ("forward",), usual=False),
    )
}
_NEEDS = {"onnxruntime": ("onnxruntime", "onnx")}


def missing(peer: Peer) -> tuple[str, ...]:
    """The libraries that a peer needs and that are not installed."""
    needs = _NEEDS.get(peer.library, (peer.library,))
    return tuple(name for name in needs if find_spec(name) is None)
