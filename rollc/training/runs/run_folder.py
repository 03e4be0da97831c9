"""What a run leaves behind: a folder whose files are each whole or absent, at any moment.

    network/                the built network
    options.toml            the options, by their names; ``rollc train --config`` reads it
    run.json                versions, the command, and what the data were
    checkpoint.safetensors  all that the next update needs
    params.safetensors      the parameters: the best, or the last ones
    preparation.json        what was done to the data: scales, and the symbols of a text
    metrics.jsonl           a line for each epoch, and each validation
    loss.svg                their losses, as a picture

With several seeds a folder has a run of each below it, ``seed-0`` and so on, and ``seeds.json``:
what has come of them, their mean and spread.

The checkpoint counts the lines of the metrics that belong to it: a run that is taken up again drops
those behind, and says them once more.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import tomli_w
from numpy.typing import NDArray

from rollc.errors import InputError, StoreError
from rollc.network.network import Network
from rollc.support import atomic_files
from rollc.training.data.preparation import Preparation, preparation_of
from rollc.training.loop import Progress
from rollc.training.updates.flat import Layout
from rollc.training.updates.optimizers import State
from rollc.training.updates.schedules import Plateau

Array = NDArray[Any]
Record = dict[str, Any]

NETWORK, OPTIONS, ABOUT = "network", "options.toml", "run.json"
CHECKPOINT, PARAMS = "checkpoint.safetensors", "params.safetensors"
METRICS, PICTURE, PREPARATION = "metrics.jsonl", "loss.svg", "preparation.json"
SEEDS = "seeds.json"

_NUMBERS = (
    *("epoch", "part", "update", "total", "weight"),
    *("best_loss", "best_epoch", "best_update", "since_best", "converged"),
)
_PROGRESS = "progress"  # of the metadata


def is_run(path: Path) -> bool:
    """Whether a folder is one that a run has left."""
    return os.path.isfile(path / ABOUT)  # False, too, where it may not be looked at


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, by its path."""

    path: Path

    @property
    def network(self) -> Path:
        return self.path / NETWORK

    def begin(
        self,
        options: Mapping[str, Any],
        about: Mapping[str, Any],
        preparation: Preparation | None = None,
    ) -> None:
        """Write what a run is told, and where it comes from; the network is there."""
        told = (preparation or Preparation()).told()
        self._write(PREPARATION, (json.dumps(told, ensure_ascii=False) + "\n").encode())
        given = {name: value for name, value in options.items() if value is not None}
        self._write(OPTIONS, tomli_w.dumps(given).encode())
        self._write(ABOUT, (json.dumps(about, indent=2) + "\n").encode())

    def options(self) -> dict[str, Any]:
        """The options that the run was told."""
        return read_options(self.path / OPTIONS)

    def about(self) -> dict[str, Any]:
        return _json_object(self._read(ABOUT), self.path / ABOUT)

    def preparation(self, network: Network) -> Preparation:
        """What is done to data before the network reads them; nothing, where none was kept."""
        path = self.path / PREPARATION
        if not os.path.isfile(path):
            return Preparation()
        return preparation_of(_json_object(self._read(PREPARATION), path), network, str(path))

    # Checkpoints ------------------------------------------------------------------------

    def keep(self, progress: Progress, layout: Layout, records: Sequence[Record]) -> None:
        """Write a checkpoint, with the parameters and the metrics until then."""
        best = progress.values if progress.best is None else progress.best
        lines = "".join(json.dumps(record) + "\n" for record in records)
        self._write(METRICS, lines.encode())
        self.write_params(layout.views(best))
        self._write(CHECKPOINT, _written(progress, len(records)))

    def resume(self, layout: Layout, dtype: str) -> tuple[Progress, list[Record]]:
        """The progress of the checkpoint, and the records that belong to it.

        Raises :class:`StoreError` where there is none, or it is not of this network.
        """
        path = self.path / CHECKPOINT
        progress, count = _read_progress(path, layout, dtype)
        lines = self._read(METRICS).decode("utf-8", "replace").splitlines()[:count]
        if len(lines) < count:
            raise StoreError(f"`{self.path / METRICS}` is damaged: {count} lines belong to it")
        return progress, [_json_object(line.encode(), self.path / METRICS) for line in lines]

    def has_checkpoint(self) -> bool:
        return os.path.isfile(self.path / CHECKPOINT)

    def params(self) -> dict[str, Array]:
        """The parameters that the run has found."""
        return read_params(self.path / PARAMS)

    def records(self) -> list[Record]:
        """The metrics, a record for each epoch and each validation."""
        path = self.path / METRICS
        lines = self._read(METRICS).decode("utf-8", "replace").splitlines()
        return [_json_object(line.encode(), path) for line in lines]

    # Several seeds -------------------------------------------------------------------------

    def of_seed(self, seed: int) -> RunFolder:
        """The folder of the run of one of several seeds."""
        return RunFolder(self.path / f"seed-{seed}")

    def has_seeds(self) -> bool:
        return os.path.isfile(self.path / SEEDS)

    def write_seeds(self, told: Mapping[str, Any]) -> None:
        """Write what has come of several seeds."""
        self._write(SEEDS, (json.dumps(told, indent=2) + "\n").encode())

    # Files --------------------------------------------------------------------------------

    def write_params(self, params: Mapping[str, Array]) -> None:
        self._write(PARAMS, written_params(params))

    def write_picture(self, svg: bytes) -> None:
        self._write(PICTURE, svg)

    def _write(self, name: str, content: bytes) -> None:
        atomic_files.write_file(self.path / name, content)

    def _read(self, name: str) -> bytes:
        try:
            return atomic_files.content(self.path / name)
        except FileNotFoundError:
            raise StoreError(
                f"`{self.path}` is no run of `rollc train`: it has no {name}"
            ) from None


def read_options(path: Path) -> dict[str, Any]:
    """The options of a TOML file."""
    try:
        return tomllib.loads(atomic_files.content(path).decode())
    except FileNotFoundError:
        raise InputError(f"there is no file `{path}`") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read `{path}` as TOML: {error}") from None


def written_params(params: Mapping[str, Array]) -> bytes:
    """Parameters in the format of safetensors."""
    arrays = {name: np.asarray(array, order="C") for name, array in params.items()}
    return bytes(safetensors.numpy.save(arrays))


def read_params(path: Path) -> dict[str, Array]:
    """The parameters of a file in the format of safetensors."""
    return _tensors(path)[0]


def _tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        atomic_files.content(path)  # a plain file, and not too large
        with safetensors.safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise StoreError(f"there is no file `{path}`") from None
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        raise StoreError(f"`{path}` is damaged: {error}") from error


def _written(progress: Progress, records: int) -> bytes:
    arrays = {"values": progress.values}
    arrays |= {f"optimizer/{name}": a for name, a in progress.optimizer.arrays.items()}
    arrays |= {f"carried/{name}": a for name, a in (progress.carried or {}).items()}
    if progress.best is not None:
        arrays["best"] = progress.best
    told = {
        **{name: getattr(progress, name) for name in _NUMBERS},
        "count": progress.optimizer.count,
        "carries": progress.carried is not None,
        "plateau": asdict(progress.plateau),
        "records": records,
    }
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(safetensors.numpy.save(held, {_PROGRESS: json.dumps(told)}))


def _read_progress(path: Path, layout: Layout, dtype: str) -> tuple[Progress, int]:
    arrays, metadata = _tensors(path)
    try:
        told = json.loads(metadata[_PROGRESS])
        values = arrays["values"]
        under = {
            folder: {
                name.removeprefix(f"{folder}/"): array
                for name, array in arrays.items()
                if name.startswith(f"{folder}/")
            }
            for folder in ("optimizer", "carried")
        }
        progress = Progress(
            values,
            State(int(told["count"]), under["optimizer"]),
            carried=under["carried"] if told["carries"] else None,
            plateau=Plateau(**told["plateau"]),
            best=arrays.get("best"),
            **{name: told[name] for name in _NUMBERS},
        )
        count = int(told["records"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"`{path}` is damaged: it is no checkpoint of a run") from error
    vectors = [values, *under["optimizer"].values()]
    vectors += [] if progress.best is None else [progress.best]
    if any(vector.shape != (layout.size,) or vector.dtype != dtype for vector in vectors):
        raise StoreError(f"`{path}` is of another network: its parameters have another size")
    return progress, count


def _json_object(content: bytes, path: Path) -> Record:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise StoreError(f"`{path}` is damaged: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"`{path}` is damaged: expected an object")
    return found


def finite(number: float | None) -> float | None:
    """A number that JSON has: None for what is none."""
    return number if number is not None and math.isfinite(number) else None
