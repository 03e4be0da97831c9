"""``train``: from a spec and data to a folder with the fitted network."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from rollc.driver import artefact, artefact_store
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools import console, files
from rollc.tools.cli import building, effect, sources
from rollc.tools.cli.data_commands.arrays import parts_of, pieces_of
from rollc.tools.cli.data_commands.networks import has_random_params
from rollc.tools.cli.data_commands.train.fitting import Job
from rollc.tools.cli.data_commands.train.options import (
    check,
    folder_of,
    settings_of,
    taken_up,
)
from rollc.tools.cli.data_commands.train.seeds import fit_seeds
from rollc.tools.datafiles import write_npz
from rollc.training.data.batches import Windows
from rollc.training.data.sequences import counted
from rollc.training.loop import Trainer, need_something_to_fit
from rollc.training.runs import run_folder
from rollc.training.runs.run import Run, stopped_by_signals
from rollc.training.runs.run_folder import RunFolder
from rollc.training.updates.lbfgs import Minimizer


def train(**given: Any) -> int:
    """Fit parameters; the exit status."""
    is_resumed = given["resume"] is not None
    options = taken_up(given) if is_resumed else dict(given)
    if options["spec"] is None or options["data"] is None:
        raise InputError("expected a SPEC and `--data F`, or `--resume RUN`")
    output = given["resume"] or given["output"]
    folder = folder_of(output, is_resumed)
    check(options, output, folder)
    settings = settings_of(options)
    network = _network(options, folder, is_resumed)
    need_something_to_fit(network)
    parts = parts_of(network, options, options["quiet"])
    job = Job(network, options, settings, parts, pieces_of(network, parts, options))
    if folder is not None and is_resumed:
        _same_data(folder.about(), job.about)
    if output is None:
        console.warning("the fitted network is not kept: give `-o RUN`, the name of a folder")
    trainer = job.trainer(settings)  # refuses what does not fit, before anything is written
    if not options["quiet"]:
        _say_what_is_done(job, trainer)
    with stopped_by_signals() as is_stopped:
        if options["seeds"] is not None:
            return fit_seeds(job, folder, is_resumed, is_stopped)
        outcome = job.fit(folder, is_resumed, is_stopped)
    if outcome.diverged is not None:
        if folder is None and output is not None:
            if not outcome.run.trainer.progress.update:  # nothing was learned
                console.note(f"`{output}` was not written")
            else:
                _write(output, outcome.diverged.params)
                console.note(f"the last good parameters are in {output}")
        return outcome.status
    _leave(outcome.run, folder, output)
    if outcome.status:
        progress = outcome.run.trainer.progress
        console.note(f"interrupted in epoch {progress.epoch + 1}, after update {progress.update}")
        if folder is not None:
            console.note(f"go on with `rollc train --resume {folder.path}`")
    return outcome.status


# What it is done with -------------------------------------------------------------------------


def _network(options: Mapping[str, Any], folder: RunFolder | None, resumed: bool) -> Network:
    """The network, which lies in the folder of the run then."""
    if folder is not None and resumed:
        return artefact.open_artefact(artefact_store.read(folder.network))
    spec = options["spec"]
    chosen = {name: options[name] for name in ("sets", "dtype", "feed", "backend")}
    directory = None if folder is None else folder.network
    if files.is_artefact(spec):
        manifest = sources.open_artefact(spec, **chosen)
        if directory is not None:
            manifest = artefact_store.copied(manifest, directory)
        return artefact.open_artefact(manifest)
    return building.build_network(spec, **chosen, directory=directory)[0]


def _same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise where a run would go on with other data."""
    for part in ("data", "valid"):
        if before.get(part) != now[part]:
            raise InputError(
                "the data have changed since the run began: it goes on with the same ones, or"
                " begins anew under another name"
            )


def _say_what_is_done(job: Job, trainer: Trainer) -> None:
    """What a batch is, before the first update."""
    network, options, data = job.network, job.options, job.pieces.train
    console.say(f"training data: {data.described(network)}")
    if job.pieces.valid is not None:
        console.say(f"validation data: {job.pieces.valid.described(network)}")
    sizes = f"{counted(trainer.data.size, 'sequence')}"
    window = options["window"] if options["stateful"] else None
    if window is not None:
        sizes += f", windows of {counted(window, 'step')} one after the other"
    frozen = sum(prod(spec.shape) for spec in network.params.values() if spec.frozen)
    parameters = counted(trainer.layout.size - frozen, "parameter")
    parameters += f", and {frozen} that are frozen" if frozen else ""
    console.say(f"an update: {sizes}; {counted(trainer.updates, 'update')} an epoch; {parameters}")
    if options["batch"] is not None and options["batch"] >= trainer.data.sequences:
        many = counted(trainer.data.sequences, "sequence")
        effect.say(["batch"], f"here: the data are {many}, and all are in one update")
    if window is not None and len(Windows(network, data.arrays, window)) == 1:
        effect.say(["window"], "here: the sequences have no more steps, and are one window")
    shuffled = len(trainer.data) > 1
    draws = bool(network.graph.leaves("noise"))
    if not (shuffled or draws) and (options["params"] or not has_random_params(network)):
        effect.say(["seed", "seeds"], "here: nothing is drawn at random")


# What is left --------------------------------------------------------------------------------


def _leave(run: Run, folder: RunFolder | None, output: str | None) -> None:
    """Write what was asked for, and say what has come of it."""
    trainer = run.trainer
    if folder is None and output is not None:
        _write(output, trainer.best_params)
    show = console.say if output == files.STREAM else print
    if run.records:
        last = run.records[-1]
        whole = isinstance(last["epoch"], int)
        when = f"in the last of {counted(last['epoch'], 'epoch')}" if whole else "in the last epoch"
        show(f"loss: {_number(last['loss'])} {when}")
    progress = trainer.progress
    if progress.best_epoch:
        best = run.best() or {}
        when = f"epoch {progress.best_epoch}"
        if not isinstance(best.get("epoch"), int):
            when = f"update {progress.best_update}"
        show(f"validation: {progress.best_loss:.6g} after {when}, the best")
        if trainer.measures is not None and (metrics := best.get("metrics")):
            known = {name: each for name, each in metrics.items() if each is not None}
            show(f"measured there: {trainer.measures.shown(known)}")
        if progress.since_best and progress.since_best == trainer.settings.patience:
            validations = counted(progress.since_best, "validation")
            console.say(f"ended early: no better one in {validations}")
    if isinstance(trainer, Minimizer) and trainer.why:
        console.say(f"ended after {counted(progress.update, 'step')}: {_why_ended(trainer)}")
    if folder is not None:
        console.say(f"the run is in {folder.path}")


def _write(file: str, params: Mapping[str, Any]) -> None:
    """Parameters alone."""
    is_npz = not file.lower().endswith(".safetensors")
    files.write_bytes(file, write_npz(params) if is_npz else run_folder.written_params(params))


def _why_ended(trainer: Minimizer) -> str:
    if trainer.why.startswith("CONVERGENCE"):
        return "it has converged"
    more = "; in float32 that may be rounding: try `--dtype float64`"
    is_single = trainer.network.dtype == "float32"
    return f"no step finds a lower loss{more if is_single else ''}"


def _number(number: float | None) -> str:
    return "no number" if number is None else f"{number:.6g}"
