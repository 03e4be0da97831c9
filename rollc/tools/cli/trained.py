"""What ``rollc train`` has left, opened again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rollc.driver import artefact, artefact_store
from rollc.errors import InputError, StoreError
from rollc.network.network import Network
from rollc.tools.cli import effect
from rollc.tools.cli.options import READING
from rollc.training.preparation import Preparation
from rollc.training.run_folder import PARAMS, RunFolder, is_run

Array = NDArray[Any]


@dataclass(frozen=True)
class Trained:
    """A network with the parameters that a run has found, and what it was told of its data."""

    network: Network
    params: dict[str, Array]
    preparation: Preparation
    options: Mapping[str, Any]

    def reading(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """How tables are read: as the run read its own, but for what is given now."""
        now = {word.lstrip("-") for word in effect.given(READING)}
        found: dict[str, Any] = {}
        for name, option in READING.items():
            found[name] = given[name] if option in now else self.options.get(option)
        return found


def open_run(path: str) -> Trained:
    """The run in a folder.  Raises :class:`StoreError` where it is damaged."""
    folder = RunFolder(Path(path))
    if not is_run(folder.path):
        raise InputError(f"`{path}` is no run of `rollc train`")
    network = artefact.open_artefact(artefact_store.read(folder.network))
    params = folder.params()
    shapes = {name: spec.shape for name, spec in network.params.items()}
    if {name: array.shape for name, array in params.items()} != shapes:
        raise StoreError(f"`{folder.path / PARAMS}` is damaged: it is not of this network")
    return Trained(network, params, folder.preparation(network), folder.options())
