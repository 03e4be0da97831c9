"""The options of ``train``: what was asked for, and what a run is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rollc.errors import InputError
from rollc.tools import files
from rollc.tools.cli import effect
from rollc.tools.cli.options import as_given, written_name
from rollc.training.runs import run_folder
from rollc.training.runs.events import need_writer
from rollc.training.runs.run_folder import RunFolder
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer
from rollc.training.updates.schedules import Schedule

PARAMS = (".npz", ".safetensors")
FILES = (".csv", ".tsv", ".txt", ".json", ".npy", ".pt", ".pth", ".pkl", ".h5", ".toml", ".roll")
NOT_OF_LBFGS = (
    *("rate", "batch", "by_length", "stateful", "streams", "accumulate", "clip", "clip_value"),
    *("schedule", "warmup", "valid_every"),
)
OF_RUN = frozenset({"resume", "config", "quiet", "checkpoint_every"})
"""Options that say how a run is carried out, not what it computes."""


def taken_up(given: Mapping[str, Any]) -> dict[str, Any]:
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


def kept_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the run folder has them, by their written names; files by whole paths."""
    kept: dict[str, Any] = {}
    for option in click.get_current_context().command.params:
        value: Any = options.get(option.name or "")
        nothing = value is None or value is False or value in ((), {})
        if option.name in OF_RUN | {"output"} or nothing:
            continue
        is_path = option.name in ("data", "valid", "test", "params", "spec")
        if is_path and value != files.STREAM and os.path.exists(value):
            value = os.path.abspath(value)
        kept[written_name(option)] = list(value) if isinstance(value, tuple) else value
    return kept


def folder_of(output: str | None, resumed: bool) -> RunFolder | None:
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
    # A network alone is what is left where the data did not fit.
    if path.exists() and not (path.is_dir() and _names_in(path) <= {run_folder.NETWORK}):
        raise InputError(f"`{output}` is there and is no run: give the name of a new folder")
    return RunFolder(path)


def _names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def check(options: Mapping[str, Any], output: str | None, folder: RunFolder | None) -> None:
    """Raise, before the work, for what is asked in vain."""
    spec = options["spec"]
    own = (options["data"], options["valid"], options["test"])
    data = [name for name in own if not os.path.isdir(name or "")]
    files.check_inputs(spec if spec == files.STREAM else None, *data, options["params"])
    if options["tensorboard"]:
        need_writer()
        if folder is None:
            raise InputError("`--tensorboard` has no effect without `-o RUN`: a folder for events")
    if options["seeds"] is not None and output is not None and folder is None:
        raise InputError(f"`--seeds`: `{output}` cannot hold the parameters of each; give `-o RUN`")
    if folder is None:
        files.check_outputs(output, endings=PARAMS, keep=[spec, options["data"]])
        effect.refuse(["checkpoint_every"], "without `-o RUN`: there is no folder to keep it in")
        effect.refuse(["test"], "without `-o RUN`: it is for `rollc evaluate RUN`")
    if options["method"] not in ("sgd", "rmsprop"):
        effect.refuse(["momentum"], f"on {options['method']}: --momentum is for sgd and rmsprop")
    if options["method"] != "sgd":
        effect.refuse(["nesterov"], f"on {options['method']}: --nesterov is for sgd")
    if options["method"] == "lbfgs":
        why = "on lbfgs: it reads all the data at each step, whose size it finds"
        effect.refuse(NOT_OF_LBFGS, why)
    if options["valid"] and options["split"]:
        raise InputError("`--valid` gives validation data, and so does `--split`: give one")
    if options["test"] and len(options["split"] or ()) > 2:
        raise InputError("`--test` gives test data, and so does the third part of `--split`")
    if options["window"] is None:
        effect.refuse(["stride", "stateful", "streams"], "without `--window`")
    if options["stateful"]:
        effect.refuse(["stride"], "with `--stateful`: its windows are side by side")
    else:
        effect.refuse(["streams"], "without `--stateful`")
    if not options["valid"] and not options["split"]:
        why = "without validation data: give `--valid` or `--split`"
        effect.refuse(["patience", "min_delta", "valid_every"], why)
    if options["schedule"] not in ("step", "plateau"):
        effect.refuse(["schedule_factor"], f"on the schedule `{options['schedule']}`")
    if options["schedule"] != "step":
        effect.refuse(["schedule_every"], f"on the schedule `{options['schedule']}`")
    if options["schedule"] != "plateau":
        effect.refuse(["schedule_patience"], f"on the schedule `{options['schedule']}`")


def settings_of(options: Mapping[str, Any]) -> Settings:
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
        valid_every=options["valid_every"],
        patience=options["patience"],
        min_delta=options["min_delta"],
        seed=options["seed"],
    )
