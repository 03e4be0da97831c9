"""One fit of ``train``: what it is given, its trainer, and its folder."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.network.diagnosis.not_finite import NotFinite, first_not_finite
from rollc.network.evaluation import evaluation_of
from rollc.network.network import Network
from rollc.support import threads
from rollc.support.version import VERSION
from rollc.tools import console, files
from rollc.tools.cli.data_commands.arrays import Parts, not_finite, raw_parts
from rollc.tools.cli.data_commands.networks import values_of
from rollc.tools.cli.data_commands.train.options import kept_options
from rollc.tools.cli.data_commands.train.progress import shown
from rollc.training.advice import advice
from rollc.training.data.batches import Batches
from rollc.training.data.sequences import Sequences
from rollc.training.loop import Diverged, Progress, Trainer
from rollc.training.measures.measures import Measures
from rollc.training.runs.events import Events
from rollc.training.runs.run import Run
from rollc.training.runs.run_folder import Record, RunFolder
from rollc.training.runs.settings import Settings
from rollc.training.updates.flat import Layout
from rollc.training.updates.lbfgs import trainer_of

Array = NDArray[Any]

TENSORBOARD = "tensorboard"  # the folder of its events


@dataclass(frozen=True)
class Outcome:
    """A run that has ended: with 0, interrupted (130) or with a loss that was no number (2)."""

    run: Run
    status: int
    diverged: Diverged | None = None


@dataclass(frozen=True)
class Job:
    """A network, data, and what was asked for: what fits from several seeds share.

    ``parts`` are the data as they were prepared, ``pieces`` as the loop reads them.
    """

    network: Network
    options: Mapping[str, Any]
    settings: Settings
    parts: Parts
    pieces: Parts

    @cached_property
    def about(self) -> dict[str, Any]:
        """Versions, the command, and what the data are."""
        return {
            "rollc": VERSION,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "threads": threads.count(),
            "command": sys.argv[1:],
            "data": self._hashed(self.parts.train),
            "valid": None if self.parts.valid is None else self._hashed(self.parts.valid),
        }

    def _hashed(self, data: Sequences) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, array in sorted(data.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        shapes = {name: list(array.shape) for name, array in data.arrays.items()}
        sequences = data.count(self.network)
        return {"sha256": digest.hexdigest(), "shapes": shapes, "sequences": sequences}

    def from_seed(self, seed: int) -> Job:
        """The same from another seed."""
        options = {**self.options, "seed": seed, "seeds": None}
        return replace(self, options=options, settings=replace(self.settings, seed=seed))

    def trainer(
        self,
        settings: Settings,
        params: Mapping[str, Array] | None = None,
        progress: Progress | None = None,
    ) -> Trainer:
        network, size, train, valid = (
            *(self.network, self.options["batch"]),
            *(self.pieces.train, self.pieces.valid),
        )
        data = Batches(
            network,
            train.arrays,
            size,
            lengths=train.lengths,
            seed=settings.seed,
            by_length=self.options["by_length"],
        )
        held = None
        if valid is not None:
            held = Batches(network, valid.arrays, size, lengths=valid.lengths, shuffle=False)
        measures = Measures(network, self.parts.preparation)
        return trainer_of(
            network,
            data,
            settings,
            valid=held,
            measures=measures,
            params=params,
            progress=progress,
        )

    def fit(
        self, folder: RunFolder | None, is_resumed: bool, is_stopped: Callable[[], bool]
    ) -> Outcome:
        """Begin, or go on from the checkpoint of the folder, to the end."""
        options, network, settings = self.options, self.network, self.settings
        progress, params, records = None, None, list[Record]()
        if folder is not None and is_resumed:
            progress, records = folder.resume(Layout.of(network.params), network.dtype)
            self._say_how_it_goes_on(folder, progress)
        else:
            params = values_of(network, options["params"], settings.seed, options["quiet"])
        trainer = self.trainer(settings, params, progress)
        if folder is not None and not is_resumed:
            folder.begin(kept_options(options), self.about, self.parts.preparation)
        run = Run(trainer, folder, options["checkpoint_every"], records)
        with ExitStack() as stack:
            if folder is not None and options["tensorboard"]:
                events = Events(folder.path / TENSORBOARD, trainer.progress.update)
                stack.callback(events.close)
                run.recorded, run.kept = events.write, events.flush
            watch = stack.enter_context(shown(trainer, options["quiet"]))
            try:
                done = run.go(watch, is_stopped)
            except Diverged as diverged:
                failed = diverged
            else:
                return Outcome(run, 0 if done else 130)
        self._say_where_it_diverged(trainer, failed, folder)
        return Outcome(run, 2, failed)

    def _say_how_it_goes_on(self, folder: RunFolder, progress: Progress) -> None:
        if not self.options["quiet"]:
            console.say(f"goes on after epoch {progress.epoch}, update {progress.update}")
        if self.settings.optimizer.whole:
            console.note(
                "lbfgs begins anew at these parameters, without the gradients before: it does not"
                " reach the bits of a run that nobody interrupted"
            )
        before, now = folder.about().get("threads"), threads.count()
        if before not in (None, now):
            console.note(
                f"the run began with {before} threads, and goes on with {now}: gradients are added"
                " in another order, and their last bits may differ"
            )

    def _say_where_it_diverged(
        self, trainer: Trainer, diverged: Diverged, folder: RunFolder | None
    ) -> None:
        """Say where a fit has stopped, and what to do; the last good parameters are kept."""
        failed = diverged.found
        console.error(str(diverged))
        evaluation = evaluation_of(
            trainer.network._definition,
            failed.params,
            failed.arrays,
            None,
            failed.state,
            failed.lengths,
            True,
            failed.seed,
        )
        found = first_not_finite(evaluation)
        if found is not None:
            console.say(f"it begins here: {found}{self._place_in_file(found)}")
        console.say(advice(found, lbfgs=trainer.settings.optimizer.whole))
        if folder is not None:
            console.note(f"the last good parameters are in {folder.path}")

    def _place_in_file(self, found: NotFinite) -> str:
        """Where the data have a number that is none."""
        file = self.options["data"]
        if found.leaf not in ("input", "target") or file == files.STREAM:
            return ""
        loaded = raw_parts(self.network, self.options, quiet=True)[0]
        place = not_finite(loaded, file)
        return "" if place is None else f": {place}"
