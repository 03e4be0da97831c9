"""What demonstrations share: reading, building, fitting, saving, and their messages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.build import build_source
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.support import atomic_files, resources
from rollc.tools import console, files
from rollc.tools.datafiles import write_npz
from rollc.training.data.batches import Batches
from rollc.training.loop import Trainer
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer
from rollc.training.updates.schedules import Schedule

Array = NDArray[Any]


def data_file(name: str) -> Path:
    """A file of the data that come with rollc."""
    return resources.folder("specs") / "data" / name


def spec_text(name: str) -> tuple[str, str]:
    """The text of a spec that comes with rollc, and the path of its file."""
    path = resources.specs()[name]
    return path.read_text(encoding="utf-8"), str(path)


def built(name: str, **sizes: int) -> Network:
    """A network that comes with rollc; says what was built and where it can be seen."""
    text, path = spec_text(name)
    start = time.perf_counter()
    with console.waiting(f"building {name}"):
        network, made = build_source(text, path, sets=sizes)
    how = "from the cache" if made.hit else "compiled"
    size = sum(int(np.prod(param.shape)) for param in network.params.values())
    console.say(
        f"the network: {path}\n"
        f"  {len(network.graph.nodes)} nodes, {size} parameters in {network.dtype},"
        f" {how} in {time.perf_counter() - start:.1f} s\n"
        f"  to read every stage:  rollc ir {name} --stage STAGE, with checked, adjoint,\n"
        "  schedule, program or kernel; or dag --steps 3, the network unrolled over 3 steps\n"
        f"  the artefact: {made.manifest.folder}"
    )
    return network


def fitted(
    network: Network,
    data: Batches,
    epochs: int,
    seed: int,
    what: str,
    *,
    rate: float,
    window: int | None = None,
    clip: float | None = None,
    schedule: str = "constant",
) -> dict[str, Array]:
    """The parameters after so many epochs of Adam."""
    chosen = optimizer("adam", rate=rate)
    how = Schedule(schedule)
    settings = Settings(chosen, how, epochs=epochs, window=window, clip=clip, seed=seed)
    trainer = Trainer(network, data, settings)
    with console.progress(what, epochs) as advance:
        for update in trainer:
            if (ended := update.ended) is not None:
                advance(ended.number, f"loss {ended.loss:.4f}")
    return trainer.params


def made_folder(folder: Path | None) -> None:
    """Make the folder to write to, if there is one: before the work, and not after it."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder `{folder}`: {error.strerror}") from error
    atomic_files.check_file(folder / "params.npz")


def saved(folder: Path | None, **contents: Mapping[str, Array]) -> None:
    """Write each as an ``.npz`` file of its name, if there is a folder to write to."""
    if folder is not None:
        for name, arrays in contents.items():
            files.write_bytes(str(folder / f"{name}.npz"), write_npz(arrays))
