"""A compiler for recurrent networks.

Equations in a text file become a graph whose edges carry integer delays; passes over that
graph give its adjoint, its unrolled form and fast kernels::

    import rollc

    net = rollc.build("lstm.roll", sets={"H": 64})
    params = net.init(seed=0)
    loss, grads = net.value_and_grad(params, inputs)

Importing this module is quick: the parts are loaded when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollc.artefact import load
    from rollc.errors import InputError, RollcError, SpecError, StoreError
    from rollc.network import Network
    from rollc.pipeline import build

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Network",
    "RollcError",
    "SpecError",
    "StoreError",
    "__version__",
    "build",
    "load",
]

_HOMES = {
    "InputError": "rollc.errors",
    "Network": "rollc.network",
    "RollcError": "rollc.errors",
    "SpecError": "rollc.errors",
    "StoreError": "rollc.errors",
    "build": "rollc.pipeline",
    "load": "rollc.artefact",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `rollc` has no attribute `{name}`")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
