"""The request to a peer and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rollc.tools.bench.workloads import Size, Workload, chosen

Array = NDArray[Any]
Mode = Literal["forward", "gradient", "step"]
MODES: tuple[Mode, ...] = ("forward", "gradient", "step")
USUAL = MODES[:2]
"""What is measured where nothing else is said."""


@dataclass(frozen=True)
class Task:
    """A workload, in one precision, on so many cores: forward, with gradients, or step by step."""

    workload: Workload
    dtype: str
    mode: Mode
    threads: int

    @property
    def title(self) -> str:
        cores = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.workload.name} {self.mode} {self.dtype} {cores}"

    def as_data(self) -> dict[str, Any]:
        """What another process needs to know."""
        return {
            "system": self.workload.system,
            "size": list(self.workload.size),
            "dtype": self.dtype,
            "mode": self.mode,
            "threads": self.threads,
        }


def task_of(data: Mapping[str, Any]) -> Task:
    """The task that :meth:`Task.as_data` described."""
    (workload,) = chosen([data["system"]], [Size(*data["size"])])
    return Task(workload, data["dtype"], data["mode"], data["threads"])


@dataclass(frozen=True)
class Ready:
    """A task that a peer is ready to run.

    ``call`` runs it once, to the end; ``results`` makes NumPy arrays of what it gave:
    ``y`` forward; with gradients ``loss``, and ``grad.NAME`` for each parameter and input.  Step by
    step a call is one step, from the state that the one before has left, with the inputs of the
    first; ``results`` are those of the first call, ``y`` of one step.
    ``multiply_adds`` is the work of a call where the peer is there to measure the machine.
    """

    call: Callable[[], Any]
    results: Callable[[Any], dict[str, Array]]
    multiply_adds: int = 0


def gradient_results(loss: Any, gradients: Mapping[str, Any]) -> dict[str, Array]:
    """A loss and its gradients as arrays by name."""
    named = {"loss": loss, **{f"grad.{name}": value for name, value in gradients.items()}}
    return {name: np.asarray(value) for name, value in named.items()}
