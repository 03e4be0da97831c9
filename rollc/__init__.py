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

from rollc.support.version import VERSION

if TYPE_CHECKING:
    from rollc.driver.build import build, build_text
    from rollc.driver.trained import load
    from rollc.errors import InputError, RollcError, StoreError
    from rollc.lang.diagnostics.spec_error import SpecError
    from rollc.network.network import Network
    from rollc.support import threads
    from rollc.training.callbacks import Callback, StopTraining
    from rollc.training.data.sequences import padded
    from rollc.training.fit import fit

__version__ = VERSION

__all__ = [
    "Callback",
    "InputError",
    "Network",
    "RollcError",
    "SpecError",
    "StopTraining",
    "StoreError",
    "__version__",
    "build",
    "build_text",
    "fit",
    "load",
    "padded",
    "threads",
]

_HOMES = {
    "Callback": "rollc.training.callbacks",
    "InputError": "rollc.errors",
    "Network": "rollc.network.network",
    "RollcError": "rollc.errors",
    "SpecError": "rollc.lang.diagnostics.spec_error",
    "StopTraining": "rollc.training.callbacks",
    "StoreError": "rollc.errors",
    "build": "rollc.driver.build",
    "build_text": "rollc.driver.build",
    "fit": "rollc.training.fit",
    "load_ipython_extension": "rollc.tools.notebook",  # `%load_ext rollc`
    "load": "rollc.driver.trained",
    "padded": "rollc.training.data.sequences",
}
_MODULES = {
    "threads": "rollc.support.threads",
    # Not in `__all__`: these take seconds, or are not there.
    "jax": "rollc.jax",
    "sklearn": "rollc.sklearn",
    "torch": "rollc.torch",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module `rollc` has no attribute `{name}`")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
