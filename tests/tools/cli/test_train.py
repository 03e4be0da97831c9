"""`rollc train` with a run folder: nothing is lost, whenever it is killed."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rollc.tools.cli import main
from tests.helpers.forked_commands import forked_commands
from tests.helpers.training import SPEC, arrays

ROLLC = [sys.executable, "-m", "rollc"]
OPTIONS = ("--batch", "1", "--rate", "0.01", "--clip", "1", "--backend", "reference")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.roll").write_text(SPEC)
    np.savez(tmp_path / "data.npz", **arrays(steps=4, batch=6))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    return tmp_path


@dataclass
class Done:
    stdout: str
    stderr: str


def train(*words: str, status: int = 0) -> Done:
    """The command in this process; standard error is where the test sees it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        found = main(["train", *words])
    assert found == status, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def begun(run: str, *words: str) -> tuple[str, ...]:
    return ("tiny.roll", "--data", "data.npz", *OPTIONS, *words, "-o", run)


def left(run: str) -> dict[str, Any]:
    """What a run has come to: its parameters, its progress and its losses."""
    records = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    losses = [(record["epoch"], record["update"], record["loss"]) for record in records]
    arrays = load_file(Path(run, "checkpoint.safetensors"))
    arrays |= {f"p/{name}": a for name, a in load_file(Path(run, "params.safetensors")).items()}
    return {"losses": losses, **{name: a.tobytes() for name, a in arrays.items()}}


def test_a_run_leaves_all_that_it_is_made_of(folder: Path) -> None:
    done = train(*begun("run", "--epochs", "3", "--split", "0.7,0.3"))
    assert "training data: x [4, 4], y [4, 4], z [4]: 4 sequences of 4 steps" in done.stderr
    assert "an update: 1 sequence; 4 updates an epoch; 15 parameters" in done.stderr
    assert sorted(path.name for path in Path("run").iterdir()) == [
        *("checkpoint.safetensors", "loss.svg", "metrics.jsonl", "network", "options.toml"),
        *("params.safetensors", "preparation.json", "run.json"),
    ]
    options = tomllib.loads(Path("run/options.toml").read_text())
    assert options["batch"] == 1 and options["split"] == [0.7, 0.3] and options["seed"] == 0
    about = json.loads(Path("run/run.json").read_text())
    assert about["data"]["sequences"] == 4 and about["valid"]["sequences"] == 2
    again = train("--config", "run/options.toml", "-o", "again")
    assert left("again") == left("run")
    assert Path("again/loss.svg").read_bytes() == Path("run/loss.svg").read_bytes()
    assert again.stdout == done.stdout
    assert "is a run already: go on with `--resume run`" in train(*begun("run"), status=2).stderr


def test_what_fits_the_loss_is_measured_after_each_epoch_and_in_between(folder: Path) -> None:
    words = ("--epochs", "2", "--valid", "data.npz", "--valid-every", "4")
    done = train(*begun("run", *words))
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [(each["epoch"], each["update"]) for each in records] == [
        *((4 / 6, 4), (1, 6), (1 + 2 / 6, 8), (2, 12)),
    ]
    assert all(each["metrics"].keys() == {"RMSE", "MAE", "R2"} for each in records)
    best = min(records, key=lambda each: each["valid"])
    assert f"measured there: RMSE {best['metrics']['RMSE']:.4g}, R2 " in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 10 and lines[0].startswith("epoch 1/2, update 1/12: loss ")
    assert lines[-1].startswith("epoch 2/2: loss ") and ", validation " in lines[-1]
    assert " (best), RMSE " in lines[-1] and ", R2 " in lines[-1]
    said = train(*begun("other", "--valid-every", "4"), status=2).stderr
    assert "`--valid-every` has no effect without validation data" in said


def test_a_terminal_has_a_bar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    err = Terminal()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        assert main(["train", *begun("run", "--epochs", "3", "--split", "0.7,0.3")]) == 0
    last = err.getvalue().rpartition("epoch 3/3")[2]
    assert " updates/s " in last and " loss " in last and ", validation " in last
    err = Terminal()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        assert main(["train", *begun("still", "--epochs", "3", "--quiet")]) == 0
        assert main(["train", "--resume", "still", "--quiet"]) == 0
    assert "epoch" not in err.getvalue() and "note: " not in err.getvalue()


def test_ctrl_c_ends_after_the_update_and_it_goes_on_to_the_same_bits(folder: Path) -> None:
    train(*begun("whole", "--epochs", "100"))
    words = [*ROLLC, "train", *begun("run", "--epochs", "100")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("epoch 10/100"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    text = "".join(said)
    assert "note: interrupted in epoch" in text
    assert "go on with `rollc train --resume run`" in text
    assert len(left("run")["losses"]) < 100
    done = train("--resume", "run")
    assert "goes on after epoch" in done.stderr
    assert left("run") == left("whole")


@pytest.mark.parametrize("count", [1, pytest.param(40, marks=pytest.mark.long)])
def test_a_run_that_is_killed_loses_nothing_before_its_checkpoint(folder: Path, count: int) -> None:
    """At random moments, again and again; it reaches the bits of one that nobody disturbed."""
    epochs = str(30 if count == 1 else 100)
    train(*begun("whole", "--epochs", epochs))
    often, chosen = ("--checkpoint-every", "0s"), random.Random(0)
    words = begun("run", "--epochs", epochs)
    with forked_commands() as commands:
        for _ in range(count):
            process = commands.start(["train", *words, *often], until=b"an update: ")
            time.sleep(chosen.random() * 0.05)
            os.kill(process, signal.SIGKILL)
            killed = commands.wait() == -signal.SIGKILL
            if killed and Path("run/checkpoint.safetensors").exists():
                words = ("--resume", "run")
            else:
                words = begun("run", "--epochs", epochs)
                shutil.rmtree("run", ignore_errors=True)
    train(*words)
    assert left("run") == left("whole")
    assert not [name for name in os.listdir("run") if name.startswith(".")]


def test_lbfgs(folder: Path) -> None:
    pytest.importorskip("scipy")
    words = ("tiny.roll", "--data", "data.npz", "--backend", "reference", "--optimiser", "lbfgs")
    train(*words, "--epochs", "3", "-o", "run")
    assert [each[:2] for each in left("run")["losses"]] == [(1, 1), (2, 2), (3, 3)]
    done = train("--resume", "run", "--epochs", "500")
    assert "note: lbfgs begins anew at these parameters" in done.stderr
    assert "steps: it has converged" in done.stderr or "no step finds a lower loss" in done.stderr
    said = train(*words, "--rate", "0.1", "-o", "other", status=2).stderr
    assert "`--rate` has no effect on lbfgs: it reads all the data at each step" in said
    text = SPEC.replace("mse(o, y)", "log(0 * o - 1)")
    Path("tiny.roll").write_text(text)
    said = train(*words, "-o", "other", status=2).stderr
    assert "the loss became nan at update 1" in said and "try other initial values" in said


def test_what_may_change_when_it_goes_on(folder: Path) -> None:
    train(*begun("run", "--epochs", "2"))
    train(*begun("whole", "--epochs", "5"))
    train("--resume", "run", "--epochs", "5")
    assert left("run") == left("whole")
    said = train("--resume", "run", "--rate", "0.5", status=2).stderr
    assert "`--rate` has no effect with `--resume`" in said
    np.savez("data.npz", **arrays(steps=5, batch=6))
    said = train("--resume", "run", "--epochs", "9", status=2).stderr
    assert "the data have changed since the run began" in said
    for name in ("nothing", "tiny.roll"):
        assert "is no run of `rollc train`" in train("--resume", name, status=2).stderr


def test_a_validation_loss_knows_ends(folder: Path) -> None:
    """Of sequences of different lengths, whatever is behind them."""
    given = arrays(steps=4, batch=2)
    given["x"][2:, 1] = given["y"][2:, 1] = 1e9
    np.savez("valid.npz", **given, lengths=[4, 2])
    train(*begun("run", "--epochs", "1", "--valid", "valid.npz"))
    (record,) = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    assert record["valid"] < 100 and record["metrics"]["RMSE"] < 10


def test_it_goes_on_from_any_folder_with_the_same_validation_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("valid.npz", **arrays(steps=4, batch=2))
    for run, epochs in (("run", "2"), ("whole", "4")):
        train(*begun(run, "--epochs", epochs, "--valid", "valid.npz"))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    train("--resume", "../run", "--epochs", "4")
    assert left("../run") == left("../whole")
    np.savez("../valid.npz", **arrays(steps=5, batch=2))
    said = train("--resume", "../run", "--epochs", "9", status=2).stderr
    assert "the data have changed since the run began" in said


def test_a_damaged_checkpoint_is_refused(folder: Path) -> None:
    train(*begun("run", "--epochs", "2"))
    for name in ("checkpoint.safetensors", "metrics.jsonl", "options.toml", "run.json"):
        path = Path("run", name)
        content = path.read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"\xff" * 100):
            path.write_bytes(damaged)
            err = io.StringIO()
            with redirect_stdout(io.StringIO()), redirect_stderr(err):
                found = main(["train", "--resume", "run"])
            assert found in (0, 2), err.getvalue()  # half of the metrics may be all that count
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"x": (2, 1)}, "the input `x` (line 3) is nan at step 2 of t, sequence 1", "data hold it"),
        ({"y": (0, 5)}, "the target `y` (line 4) is nan at step 0 of t, sequence 5", "data hold"),
    ],
)
def test_a_number_that_is_none_is_found(
    folder: Path, change: dict[str, Any], where: str, what: str
) -> None:
    given = arrays(steps=4, batch=6)
    for name, at in change.items():
        given[name][at] = np.nan
    np.savez("data.npz", **given)
    options = ("--epochs", "2", "--backend", "reference", "-o", "run")
    said = train("tiny.roll", "--data", "data.npz", *options, status=2).stderr
    assert "the loss became nan at update 1, in epoch 1" in said
    assert where in said and what in said


def test_padding_and_masks_are_no_cause(folder: Path) -> None:
    """Of a batch with lengths: what is behind them may be anything, and masks are infinite."""
    text = SPEC.replace("o = dot(v, h)", "o = dot(v, h) + 0 * max(x, over t)")
    Path("tiny.roll").write_text(text.replace("mse(o, y)", "mse(log(-1 - o * o), y)"))
    given = arrays(steps=4, batch=3)
    given["x"][2:, 1] = np.nan
    np.savez("data.npz", **given, lengths=[4, 2, 3])
    options = ("--epochs", "2", "--backend", "reference", "-o", "run")
    said = train("tiny.roll", "--data", "data.npz", *options, status=2).stderr
    assert "it begins here: " in said and "(line 10)" in said, said
    assert "the input" not in said


def test_a_step_that_is_too_large_says_so(folder: Path) -> None:
    wild = ("--rate", "1e200", "--optimiser", "sgd", "--dtype", "float64")
    options = ("--epochs", "9", "--backend", "reference", "-o", "run")
    said = train("tiny.roll", "--data", "data.npz", *wild, *options, status=2).stderr
    assert "it begins here: " in said
    assert "--rate" in said and "the last good parameters are in run" in said
    assert all(np.abs(a).max() < 10 for a in load_file("run/params.safetensors").values())
    said = train("tiny.roll", "--data", "data.npz", *wild, *options[:-2], "-o", "p.npz", status=2)
    assert "the last good parameters are in p.npz" in said.stderr
    assert all(np.abs(a).max() < 10 for a in np.load("p.npz").values())


def test_what_would_have_no_effect_is_refused(folder: Path) -> None:
    for words, said in (
        (("--patience", "3"), "without validation data"),
        (("--nesterov",), "--nesterov is for sgd"),
        (("--schedule-every", "3"), "on the schedule `constant`"),
        (("--valid", "data.npz", "--split", "0.5,0.5"), "and so does `--split`"),
        (("--split", "0.5,0.4"), "is not of the form 0.8,0.1,0.1"),
        (("--checkpoint-every", "soon"), "is not of the form 60s, 5m or 1h"),
        (("--config", "tiny.roll"), "cannot read `tiny.roll` as TOML"),
    ):
        assert said in train(*begun("run", *words), status=2).stderr, words
        assert not Path("run").exists()
    Path("run").mkdir()
    Path("run", "mine").write_text("")
    assert "is no run: give the name of a new folder" in train(*begun("run"), status=2).stderr
