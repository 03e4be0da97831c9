"""``train``: from a spec and data to a folder with the fitted network."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
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
from rollc.tools.cli.options import as_given, written_name
from rollc.tools.datafiles import write_npz
from rollc.training import run_folder
from rollc.training.advice import advice
from rollc.training.data.batches import Batches, Windows
from rollc.training.data.sequences import Sequences, counted
from rollc.training.flat import Layout
from rollc.training.loop import Diverged, Trainer, Update
from rollc.training.optimizers import optimizer
from rollc.training.run import Run, stopped_by_signals
from rollc.training.run_folder import RunFolder
from rollc.training.schedules import Schedule
from rollc.training.settings import Settings

PARAMS = (".npz", ".safetensors")
FILES = (".csv", ".tsv", ".txt", ".json", ".npy", ".pt", ".pth", ".pkl", ".h5", ".toml", ".roll")
OF_RUN = frozenset({"resume", "config", "quiet", "checkpoint_every"})
"""Options that say how a run is carried out, not what it computes."""


def train(**given: Any) -> int:
    """Fit parameters; the exit status."""
    options = _taken_up(given) if given["resume"] else dict(given)
    if options["spec"] is None or options["data"] is None:
        raise InputError("expected a SPEC and `--data F`, or `--resume RUN`")
    output = given["resume"] or given["output"]
    folder = _folder(output, given["resume"] is not None)
    _check(options, output, folder)
    settings = _settings(options)
    network = _network(options, folder, given["resume"] is not None)
    _need_something_to_fit(network)
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
    else:
        params = values_of(network, options["params"], settings.seed)
    trainer = Trainer(network, data, settings, valid=valid, params=params, progress=progress)
    if folder is not None and not given["resume"]:
        folder.begin(_kept(options), about, parts.preparation)
    if output is None:
        console.warning("the fitted network is not kept: give `-o RUN`, the name of a folder")
    if not options["quiet"]:
        _say_what_is_done(network, trainer, train_data, valid_data, options)
    run = Run(trainer, folder, options["checkpoint_every"], records)
    try:
        with stopped_by_signals() as is_stopped, _shown(trainer, options["quiet"]) as watch:
            done = run.go(watch, is_stopped)
    except Diverged as diverged:
        return _diverged(network, diverged, folder, output)
    _leave(run, folder, output)
    if not done:
        progress = trainer.progress
        console.note(f"interrupted in epoch {progress.epoch + 1}, after update {progress.update}")
        if folder is not None:
            console.note(f"go on with `rollc train --resume {folder.path}`")
        return 130
    return 0


# What was asked for ------------------------------------------------------------------------


def _taken_up(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that goes on; those that are given now must be ones that may change."""
    changed = effect.given(set(given) - OF_RUN - {"epochs"})
    if changed:
        raise InputError(
            f"`{changed[0]}` has no effect with `--resume`: the run goes on as it began; only"
            " `--epochs` may change"
        )
    context = click.get_current_context()
    folder = RunFolder(Path(given["resume"]))
    if not run_folder.is_run(folder.path):
        raise InputError(f"`{folder.path}` is no run of `rollc train`")
    known = {written_name(each): each for each in context.command.params}
    options = dict(given)
    for name, value in folder.options().items():
        if name not in known:
            raise InputError(f"`{folder.path}` has the option `{name}`, which there is not")
        option = known[name]
        told = option.process_value(context, as_given(option, value))
        if not (name == "epochs" and effect.given(["epochs"])):
            options[option.name or name] = told
    return options


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the run folder has them, by their written names; files by whole paths."""
    kept: dict[str, Any] = {}
    for option in click.get_current_context().command.params:
        value: Any = options.get(option.name or "")
        nothing = value is None or value is False or value in ((), {})
        if option.name in OF_RUN | {"output"} or nothing:
            continue
        is_path = option.name in ("data", "valid", "params", "spec")
        if is_path and value != files.STREAM and os.path.exists(value):
            value = os.path.abspath(value)
        kept[written_name(option)] = list(value) if isinstance(value, tuple) else value
    return kept


def _folder(output: str | None, resumed: bool) -> RunFolder | None:
    """The folder of the run, if one is asked for and not only the parameters."""
    if output is None or output == files.STREAM or output.lower().endswith(PARAMS):
        return None
    path = Path(output)
    if resumed:
        return RunFolder(path)
    if path.suffix.lower() in FILES and not path.is_dir():
        raise InputError(
            f"`{output}` is to be a folder for the run, or a file with its parameters alone:"
            f" {' or '.join(PARAMS)}"
        )
    if run_folder.is_run(path):
        raise InputError(
            f"`{output}` is a run already: go on with `--resume {output}`, or give another name"
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"`{output}` is there and is no run: give the name of a new folder")
    return RunFolder(path)


def _check(options: Mapping[str, Any], output: str | None, folder: RunFolder | None) -> None:
    """Raise, before the work, for what is asked in vain."""
    spec = options["spec"]
    data = [name for name in (options["data"], options["valid"]) if not os.path.isdir(name or "")]
    files.check_inputs(spec if spec == files.STREAM else None, *data, options["params"])
    if folder is None:
        files.check_outputs(output, endings=PARAMS, keep=[spec, options["data"]])
        effect.refuse(["checkpoint_every"], "without `-o RUN`: there is no folder to keep it in")
    if options["method"] not in ("sgd", "rmsprop"):
        effect.refuse(["momentum"], f"on {options['method']}: --momentum is for sgd and rmsprop")
    if options["method"] != "sgd":
        effect.refuse(["nesterov"], f"on {options['method']}: --nesterov is for sgd")
    if options["valid"] and options["split"]:
        raise InputError("`--valid` gives validation data, and so does `--split`: give one")
    if options["window"] is None:
        effect.refuse(["stride", "stateful", "streams"], "without `--window`")
    if options["stateful"]:
        effect.refuse(["stride"], "with `--stateful`: its windows are side by side")
    else:
        effect.refuse(["streams"], "without `--stateful`")
    if not options["valid"] and not options["split"]:
        why = "without validation data: give `--valid` or `--split`"
        effect.refuse(["patience", "min_delta"], why)
    if options["schedule"] not in ("step", "plateau"):
        effect.refuse(["schedule_factor"], f"on the schedule `{options['schedule']}`")
    if options["schedule"] != "step":
        effect.refuse(["schedule_every"], f"on the schedule `{options['schedule']}`")
    if options["schedule"] != "plateau":
        effect.refuse(["schedule_patience"], f"on the schedule `{options['schedule']}`")


def _settings(options: Mapping[str, Any]) -> Settings:
    numbers = {name: options[name] for name in ("rate", "momentum", "nesterov") if options[name]}
    schedule = Schedule(
        options["schedule"],
        options["warmup"],
        options["schedule_every"],
        options["schedule_factor"],
        options["schedule_patience"],
    )
    return Settings(
        optimizer(options["method"], **numbers),
        schedule,
        epochs=options["epochs"],
        window=options["window"] if options["stateful"] else None,
        clip=options["clip"],
        clip_value=options["clip_value"],
        decay=options["decay"],
        no_decay=tuple(options.get("no_decay") or ()),
        accumulate=options["accumulate"],
        patience=options["patience"],
        min_delta=options["min_delta"],
        seed=options["seed"],
    )


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


def _need_something_to_fit(network: Network) -> None:
    if network.graph.loss is None:
        raise InputError("the spec has no loss, so there is nothing to fit")
    if not network.params:
        raise InputError(f"`{network.name}` has no parameters, so there is nothing to fit")


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


# What is shown and left ------------------------------------------------------------------------


class _shown:  # noqa: N801 - used like a function
    """A bar on a terminal, lines elsewhere: epochs, loss, validation, updates a second."""

    def __init__(self, trainer: Trainer, quiet: bool) -> None:
        self.trainer, self.quiet = trainer, quiet

    def __enter__(self) -> Callable[[Update], None]:
        if self.quiet:
            return lambda update: None
        epochs = self.trainer.settings.epochs
        self._bar = console.progress("epoch", epochs)
        move = self._bar.__enter__()

        def watch(update: Update) -> None:
            if (ended := update.ended) is not None:
                said = f"loss {ended.loss:.6g}"
                if ended.valid is not None:
                    said += f", validation {ended.valid:.6g}{' (best)' if ended.better else ''}"
                move(ended.number, said)

        return watch

    def __exit__(self, *error: Any) -> None:
        if not self.quiet:
            self._bar.__exit__(*error)


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
        show(f"loss: {last['loss']:.6g} in the last of {counted(last['epoch'], 'epoch')}")
    progress = trainer.progress
    if progress.best_epoch:
        show(f"validation: {progress.best_loss:.6g} after epoch {progress.best_epoch}, the best")
        if trainer.done and progress.epoch < trainer.settings.epochs:
            console.say(f"ended early: no better one in {progress.since_best} epochs")
    if folder is not None:
        console.say(f"the run is in {folder.path}")


def _diverged(
    network: Network, diverged: Diverged, folder: RunFolder | None, output: str | None
) -> int:
    """Say where a fit has stopped, and what to do; the last good parameters are kept."""
    failed = diverged.found
    console.error(str(diverged))
    evaluation = evaluation_of(
        network._definition,
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
    console.say(advice(found))
    if folder is not None:
        console.note(f"the parameters of the last checkpoint are in {folder.path}")
    elif output is not None:
        console.note(f"`{output}` was not written")
    return 2
