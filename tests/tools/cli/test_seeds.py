"""`rollc train --seeds` and `--tensorboard`: runs of several seeds, and events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.tools.cli import main
from rollc.tools.cli.data_commands.train.seeds import _summary
from tests.helpers.training import SPEC, arrays, command

WORDS = ("--batch", "2", "--rate", "0.05", "--backend", "reference", "--split", "0.7,0.3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.roll").write_text(SPEC)
    np.savez(tmp_path / "data.npz", **arrays(steps=4, batch=6))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    return tmp_path


def train(*words: str, status: int = 0) -> Any:
    return command("train", *words, status=status)


def begun(*words: str) -> tuple[str, ...]:
    return ("tiny.roll", "--data", "data.npz", *WORDS, *words)


def content(run: str) -> list[bytes]:
    return [
        Path(run, name).read_bytes() for name in ("params.safetensors", "checkpoint.safetensors")
    ]


def test_each_seed_is_a_run_and_all_have_a_mean_and_a_spread(folder: Path) -> None:
    done = train(*begun("--epochs", "4", "--seed", "3", "--seeds", "3", "-o", "runs"))
    train(*begun("--epochs", "4", "--seed", "4", "-o", "alone"))
    assert content("runs/seed-4") == content("alone")
    told = json.loads(Path("runs/seeds.json").read_text())
    assert [(each["seed"], each["status"]) for each in told["seeds"]] == [
        *((3, "done"), (4, "done"), (5, "done")),
    ]
    for name, key in (("validation", "valid"), ("loss", "loss")):
        numbers = [each[key] for each in told["seeds"]]
        assert len(set(numbers)) == 3
        assert told["mean"][name] == pytest.approx(np.mean(numbers))
        assert told["spread"][name] == pytest.approx(np.std(numbers, ddof=1))
    best = min(
        map(json.loads, Path("runs/seed-5/metrics.jsonl").read_text().splitlines()),
        key=lambda record: record["valid"],
    )
    assert told["seeds"][2]["metrics"] == best["metrics"]
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["seed", "loss", "validation", "RMSE", "R2"]
    assert [row[0] for row in rows] == ["3", "4", "5", "mean", "spread"]
    assert float(rows[3][2]) == pytest.approx(told["mean"]["validation"], rel=1e-3)
    assert rollc.load("runs/seed-4").options["seed"] == 4  # type: ignore[union-attr]
    said = command("run", "runs", "--inputs", "data.npz", status=2).stderr
    assert "has runs of several seeds: give one of them, such as `runs/seed-3`" in said


def test_seeds_that_are_interrupted_go_on(folder: Path) -> None:
    words = begun("--epochs", "4", "--seeds", "3")
    train(*words, "-o", "whole")
    train(*words, "-o", "runs")
    # As a kill leaves it: the first is done, the second is on its way, the third not begun.
    train(*begun("--epochs", "2", "--seed", "1", "-o", "half"))
    for name in ("checkpoint.safetensors", "params.safetensors", "metrics.jsonl"):
        shutil.copy(Path("half", name), Path("runs/seed-1", name))
    shutil.rmtree("runs/seed-2")
    Path("runs/seed-2").mkdir()
    Path("runs/seeds.json").write_text('{"seeds": []}')
    before = Path("runs/seed-0/metrics.jsonl").read_bytes()
    train("--resume", "runs")
    assert Path("runs/seed-0/metrics.jsonl").read_bytes() == before
    for seed in range(3):
        assert content(f"runs/seed-{seed}") == content(f"whole/seed-{seed}")
    found, expected = (json.loads(Path(run, "seeds.json").read_text()) for run in ("runs", "whole"))
    assert found == expected
    train("--resume", "runs", "--epochs", "5")
    train("--resume", "whole/seed-2", "--epochs", "5")
    assert content("runs/seed-2") == content("whole/seed-2")


def test_a_seed_that_diverges_does_not_keep_the_others_from_being_fitted(folder: Path) -> None:
    text = SPEC.replace("normal(0.5), W", "normal(1), W").replace("mse(o, y)", "log(U[2] + 0 * o)")
    Path("tiny.roll").write_text(text)
    signs = [
        np.sign(rollc.build("tiny.roll", backend="reference").init(s)["U"][2]) for s in range(4)
    ]
    assert len(set(signs)) == 2
    words = begun("--epochs", "1", "--rate", "1e-6", "--seeds", "4", "-o", "runs")
    done = train(*words, status=2)
    told = json.loads(Path("runs/seeds.json").read_text())
    expected = ["done" if sign > 0 else "diverged" for sign in signs]
    assert [each["status"] for each in told["seeds"]] == expected
    assert done.stdout.count("(diverged)") == expected.count("diverged")
    kept = [each["loss"] for each in told["seeds"] if each["status"] == "done"]
    assert told["mean"]["loss"] == pytest.approx(np.mean(kept))


def test_what_seeds_refuse(folder: Path) -> None:
    said = train(*begun("--seeds", "3", "-o", "p.npz"), status=2).stderr
    assert "`p.npz` cannot hold the parameters of each; give `-o RUN`" in said
    assert "is not in the range" in train(*begun("--seeds", "1"), status=2).stderr
    train(*begun("--epochs", "1", "--seeds", "2", "-o", "runs"))
    assert "is a run already" in train(*begun("--seeds", "2", "-o", "runs"), status=2).stderr
    assert "`--seeds` has no effect" in train("--resume", "runs", "--seeds", "9", status=2).stderr
    done = train(*begun("--epochs", "1", "--seeds", "2"))
    assert "not kept" in done.stderr and "spread" in done.stdout


def test_events_for_tensorboard(folder: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401 - its format is read here

    def events(run: str) -> list[Any]:
        """TFRecords: a length of 8 bytes and its checksum of 4, the event, and its checksum."""
        found = []
        for path in sorted(Path(run, "tensorboard").iterdir()):
            data = path.read_bytes()
            while data:
                size = int.from_bytes(data[:8], "little")
                found.append(Event.FromString(data[12 : 12 + size]))
                data = data[12 + size + 4 :]
        return found

    train(*begun("--epochs", "2", "--tensorboard", "-o", "run"))
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    numbers = {
        (value.tag, event.step): value.simple_value
        for event in events("run")
        for value in event.summary.value
    }
    for record in records:
        at = record["update"]
        assert numbers["loss/training", at] == pytest.approx(record["loss"])
        assert numbers["loss/validation", at] == pytest.approx(record["valid"])
        assert numbers["measures/RMSE", at] == pytest.approx(record["metrics"]["RMSE"])
    assert len(numbers) == 6 * len(records)
    train("--resume", "run", "--epochs", "3")
    starts = [event.step for event in events("run") if event.HasField("session_log")]
    assert starts == [records[-1]["update"] + 1]  # what a kill left behind the checkpoint is hidden
    said = train(*begun("--tensorboard", "-o", "p.npz"), status=2).stderr
    assert "`--tensorboard` has no effect without `-o RUN`" in said


def test_without_tensorboardx_it_is_said_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    said = train(*begun("--tensorboard", "-o", "run"), status=2).stderr
    assert "`pip install 'rollc[tensorboard]'`" in said and not Path("run").exists()
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    words = ("tiny.roll", "--data", "data.npz", "--backend", "reference", "--optimiser", "lbfgs")
    assert "`pip install 'rollc[lbfgs]'`" in train(*words, status=2).stderr
    assert main(["train", *begun("--epochs", "1", "--quiet")]) == 0


def test_a_seed_that_diverged_is_in_no_mean() -> None:
    done = {"status": "done", "loss": 1.0, "valid": 2.0, "metrics": {}}
    found = _summary([done, {**done, "valid": 4.0}, {**done, "status": "diverged", "valid": 1e9}])
    assert 3.0 in found["mean"].values() and 1e9 not in found["mean"].values()
