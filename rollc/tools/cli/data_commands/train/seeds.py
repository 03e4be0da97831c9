"""Fits from several seeds: each in a folder of its own, and their mean and spread."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from rollc.driver import artefact_store
from rollc.tools import console
from rollc.tools.cli.data_commands.train.fitting import Job, Outcome
from rollc.tools.cli.data_commands.train.options import kept_options
from rollc.training.measures.measures import Measures
from rollc.training.runs.run_folder import RunFolder

_WORDS = {0: "done", 130: "interrupted", 2: "diverged"}


def fit_seeds(
    job: Job, folder: RunFolder | None, is_resumed: bool, is_stopped: Callable[[], bool]
) -> int:
    """Fit one after the other; the exit status.

    Those that were fitted before are not fitted again.  One that diverges does not keep the others
    from being fitted.
    """
    first, count = job.settings.seed, job.options["seeds"]
    if folder is not None and not is_resumed:
        folder.begin(kept_options(job.options), job.about, job.parts.preparation)
        folder.write_seeds({"seeds": []})
    outcomes, told = dict[int, Outcome](), list[dict[str, Any]]()
    for seed in range(first, first + count):
        if not job.options["quiet"]:
            console.say(f"seed {seed}, {seed - first + 1} of {count}:")
        own = None if folder is None else folder.of_seed(seed)
        goes_on = own is not None and own.has_checkpoint()
        if folder is not None and own is not None and not goes_on:
            shutil.rmtree(own.path, ignore_errors=True)  # it was killed as it began
            own.path.mkdir()
            artefact_store.copied(artefact_store.read(folder.network), own.network)
        outcomes[seed] = job.from_seed(seed).fit(own, goes_on, is_stopped)
        told = [_told(outcome) for outcome in outcomes.values()]
        if folder is not None:
            folder.write_seeds({"seeds": told, **_summary(told)})
        if outcomes[seed].status == 130:
            console.note(f"interrupted in seed {seed}")
            if folder is not None:
                console.note(f"go on with `rollc train --resume {folder.path}`")
            return 130
    _show(told, Measures(job.network))
    if folder is not None:
        console.say(f"the runs are in {folder.of_seed(first).path} and beside it")
    return max(outcome.status for outcome in outcomes.values())


def _told(outcome: Outcome) -> dict[str, Any]:
    """What has come of a seed: the last loss, and what the best validation measured."""
    run = outcome.run
    best, last = run.best() or {}, run.records[-1] if run.records else {}
    return {
        "seed": run.trainer.settings.seed,
        "status": _WORDS[outcome.status],
        "epoch": best.get("epoch", last.get("epoch")),
        "loss": last.get("loss"),
        **{name: best[name] for name in ("valid", "metrics") if name in best},
    }


def _numbers(told: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers by name that are compared."""
    valid = {"validation": told["valid"]} if "valid" in told else {}
    return {"loss": told["loss"], **valid, **told.get("metrics", {})}


def _summary(told: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The mean and the spread (the standard deviation) of those that are done."""
    rows = [_numbers(each) for each in told if each["status"] == "done"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: [number for row in rows if (number := row.get(name)) is not None] for name in names
    }
    return {
        "mean": {name: fmean(column) if column else None for name, column in columns.items()},
        "spread": {
            name: stdev(column) if len(column) > 1 else None for name, column in columns.items()
        },
    }


def _show(told: Sequence[Mapping[str, Any]], measures: Measures) -> None:
    """A row for each seed, then the mean and the spread."""
    rows = [(str(each["seed"]), _numbers(each), each["status"]) for each in told]
    shown = ("loss", "validation", *measures.names())
    heads = [name for name in shown if any(name in numbers for _, numbers, _ in rows)]
    rows += [(name, numbers, "done") for name, numbers in _summary(told).items()]
    console.table(
        ("seed", *heads),
        [
            (
                name if status == "done" else f"{name} ({status})",
                *("" if (at := numbers.get(head)) is None else f"{at:.4g}" for head in heads),
            )
            for name, numbers, status in rows
        ],
    )
