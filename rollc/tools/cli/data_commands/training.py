"""``train``: from a spec and data to a folder with the fitted network."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from rollc.driver import artefact, artefact_store
from rollc.errors import InputError
from rollc.network.evaluation import evaluation_of
from rollc.network.network import Network
from rollc.network.not_finite import first_not_finite
from rollc.support.version import VERSION
from rollc.tools import console, files
from rollc.tools.cli import building, effect, sources
from rollc.tools.cli.data_commands.arrays import Parts, parts_of, pieces_of
from rollc.tools.cli.data_commands.networks import has_random_params, values_of
from rollc.tools.cli.data_commands.progress import shown
from rollc.tools.cli.data_commands.train_options import (
    check,
    folder_of,
    kept_options,
    settings_of,
    taken_up,
)
from rollc.tools.datafiles import write_npz
from rollc.training import run_folder
from rollc.training.advice import advice
from rollc.training.data.batches import Batches, Windows
from rollc.training.data.sequences import Sequences, counted
from rollc.training.flat import Layout
from rollc.training.lbfgs import Minimizer, trainer_of
from rollc.training.loop import Diverged, Trainer, need_something_to_fit
from rollc.training.measures import Measures
from rollc.training.run import Run, stopped_by_signals
from rollc.training.run_folder import RunFolder


def train(**given: Any) -> int:
    """Fit parameters; the exit status."""
    options = taken_up(given) if given["resume"] else dict(given)
    if options["spec"] is None or options["data"] is None:
        raise InputError("expected a SPEC and `--data F`, or `--resume RUN`")
    output = given["resume"] or given["output"]
    folder = folder_of(output, given["resume"] is not None)
    check(options, output, folder)
    settings = settings_of(options)
    network = _network(options, folder, given["resume"] is not None)
    need_something_to_fit(network)
    parts = parts_of(network, options, options["quiet"])
    pieces = pieces_of(network, parts, options)
    train_data, valid_data = pieces.train, pieces.valid
    data = Batches(
        network,
        train_data.arrays,
        options["batch"],
        lengths=train_data.lengths,
        seed=settings.seed,
        by_length=options["by_length"],
    )
    valid = None
    if valid_data is not None:
        valid = Batches(
            network, valid_data.arrays, options["batch"], lengths=valid_data.lengths, shuffle=False
        )
    about = _about(network, parts)
    progress, params = None, None
    records: list[run_folder.Record] = []
    if folder is not None and given["resume"]:
        _same_data(folder.about(), about)
        progress, records = folder.resume(Layout.of(network.params), network.dtype)
        console.say(f"goes on after epoch {progress.epoch}, update {progress.update}")
        if settings.optimizer.whole:
            console.note(
                "lbfgs begins anew at these parameters, without the gradients before: it does not"
                " reach the bits of a run that nobody interrupted"
            )
    else:
        params = values_of(network, options["params"], settings.seed)
    trainer = trainer_of(
        network,
        data,
        settings,
        valid=valid,
        measures=Measures(network, parts.preparation),
        params=params,
        progress=progress,
    )
    if folder is not None and not given["resume"]:
        folder.begin(kept_options(options), about, parts.preparation)
    if output is None:
        console.warning("the fitted network is not kept: give `-o RUN`, the name of a folder")
    if not options["quiet"]:
        _say_what_is_done(network, trainer, train_data, valid_data, options)
    run = Run(trainer, folder, options["checkpoint_every"], records)
    try:
        with stopped_by_signals() as is_stopped, shown(trainer, options["quiet"]) as watch:
            done = run.go(watch, is_stopped)
    except Diverged as diverged:
        return _diverged(trainer, diverged, folder, output)
    _leave(run, folder, output)
    if not done:
        progress = trainer.progress
        console.note(f"interrupted in epoch {progress.epoch + 1}, after update {progress.update}")
        if folder is not None:
            console.note(f"go on with `rollc train --resume {folder.path}`")
        return 130
    return 0


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


def _about(network: Network, parts: Parts) -> dict[str, Any]:
    """Versions, the command, and what the data are."""

    def hashed(data: Sequences) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, array in sorted(data.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        shapes = {name: list(array.shape) for name, array in data.arrays.items()}
        return {"sha256": digest.hexdigest(), "shapes": shapes, "sequences": data.count(network)}

    return {
        "rollc": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "command": sys.argv[1:],
        "data": hashed(parts.train),
        "valid": None if parts.valid is None else hashed(parts.valid),
    }


def _same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise where a run would go on with other data."""
    for part in ("data", "valid"):
        if before.get(part) != now[part]:
            raise InputError(
                "the data have changed since the run began: it goes on with the same ones, or"
                " begins anew under another name"
            )


def _say_what_is_done(
    network: Network,
    trainer: Trainer,
    data: Sequences,
    valid: Sequences | None,
    options: Mapping[str, Any],
) -> None:
    """What a batch is, before the first update."""
    console.say(f"training data: {data.described(network)}")
    if valid is not None:
        console.say(f"validation data: {valid.described(network)}")
    sizes = f"{counted(trainer.data.size, 'sequence')}"
    window = options["window"] if options["stateful"] else None
    if window is not None:
        sizes += f", windows of {counted(window, 'step')} one after the other"
    parameters = counted(trainer.layout.size, "parameter")
    console.say(f"an update: {sizes}; {counted(trainer.updates, 'update')} an epoch; {parameters}")
    if options["batch"] is not None and options["batch"] >= trainer.data.sequences:
        many = counted(trainer.data.sequences, "sequence")
        effect.say(["batch"], f"here: the data are {many}, and all are in one update")
    if window is not None and len(Windows(network, data.arrays, window)) == 1:
        effect.say(["window"], "here: the sequences have no more steps, and are one window")
    shuffled = len(trainer.data) > 1
    draws = bool(network.graph.leaves("noise"))
    if not (shuffled or draws) and (options["params"] or not has_random_params(network)):
        effect.say(["seed"], "here: nothing is drawn at random")


# What is left --------------------------------------------------------------------------------


def _leave(run: Run, folder: RunFolder | None, output: str | None) -> None:
    """Write what was asked for, and say what has come of it."""
    trainer = run.trainer
    if folder is None and output is not None:
        content = write_npz(trainer.best_params)
        if output.lower().endswith(".safetensors"):
            content = run_folder.written_params(trainer.best_params)
        files.write_bytes(output, content)
    show = console.say if output == files.STREAM else print
    if run.records:
        last = run.records[-1]
        whole = isinstance(last["epoch"], int)
        when = f"in the last of {counted(last['epoch'], 'epoch')}" if whole else "in the last epoch"
        show(f"loss: {_number(last['loss'])} {when}")
    progress = trainer.progress
    if progress.best_epoch:
        best = next(each for each in run.records if each["update"] == progress.best_update)
        when = f"epoch {progress.best_epoch}"
        if not isinstance(best["epoch"], int):
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


def _why_ended(trainer: Minimizer) -> str:
    if trainer.why.startswith("CONVERGENCE"):
        return "it has converged"
    more = "; in float32 that may be rounding: try `--dtype float64`"
    is_single = trainer.network.dtype == "float32"
    return f"no step finds a lower loss{more if is_single else ''}"


def _number(number: float | None) -> str:
    return "no number" if number is None else f"{number:.6g}"


def _diverged(
    trainer: Trainer, diverged: Diverged, folder: RunFolder | None, output: str | None
) -> int:
    """Say where a fit has stopped, and what to do; the last good parameters are kept."""
    failed, is_whole = diverged.found, trainer.settings.optimizer.whole
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
        console.say(f"it begins here: {found}")
    console.say(advice(found, lbfgs=is_whole))
    if folder is not None:
        console.note(f"the parameters of the last checkpoint are in {folder.path}")
    elif output is not None:
        console.note(f"`{output}` was not written")
    return 2
