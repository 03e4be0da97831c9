"""`rollc evaluate` and `rollc.load`: what a run has learned, beside baselines."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomli_w

import rollc
from tests.helpers.training import SPEC, command, weather

REFERENCE = ("--backend", "reference")
TABLE = ("--map", "x=pressure", "--map", "z=shop", "--target", "sales")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.roll").write_text(SPEC)
    frame = pl.read_csv(weather(days=90).encode()).with_columns(shop=0.5)
    frame.write_csv(tmp_path / "d.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    return tmp_path


def trained(*words: str) -> None:
    fit = ("--epochs", "60", "--rate", "0.03", "--quiet", "-o", "run")
    command("train", "tiny.roll", "--data", "d.csv", *TABLE, *REFERENCE, *fit, *words)


def measured(*words: str) -> dict[str, Any]:
    return json.loads(command("evaluate", "run", "--format", "json", *words).stdout)


def test_numbers_beside_baselines(folder: Path) -> None:
    trained("--standardise", "--split", "0.6,0.2,0.2")
    said = command("evaluate", "run", "--season", "3")
    assert "the test part: the last 18 of 90 steps, after those before" in said.stderr
    assert "the value 3 steps before" in said.stdout and "R2" in said.stdout
    found = measured()["sales"]
    # By hand: the network runs from the first day on, and the last 18 count.
    frame = pl.read_csv("d.csv")
    sales, pressure = frame["sales"].to_numpy(), frame["pressure"].to_numpy()
    predicted = rollc.load("run").forward({"x": pressure, "z": 0.5})["o"]
    error = np.sqrt(np.mean((predicted - sales)[-18:] ** 2))
    assert found["the network"]["RMSE"] == pytest.approx(error, rel=1e-5)
    assert found["the network"]["R2"] > 0.5
    last = np.sqrt(np.mean((sales[-19:-1] - sales[-18:]) ** 2))
    assert found["the last value"]["RMSE"] == pytest.approx(last)
    mean = sales[:54].mean()
    expected = np.sqrt(np.mean((mean - sales[-18:]) ** 2))
    assert found["the mean of the training data"]["RMSE"] == pytest.approx(expected)
    assert "linear in the inputs and 9 values before" in found

    frame.tail(40).write_csv("later.csv")
    there = measured("--data", "later.csv")["sales"]
    assert there["the network"]["RMSE"] > 0
    frame.drop("sales").write_csv("without.csv")
    said = command("evaluate", "run", "--data", "without.csv", status=2).stderr
    assert "has no column `sales`" in said
    Path("d.csv").unlink()
    said = command("evaluate", "run", "--data", "later.csv")
    assert "no baselines that learn, as the training data cannot be read" in said.stderr
    assert "linear" not in said.stdout and "the last value" in said.stdout


def test_data_of_their_own_to_test_on(folder: Path) -> None:
    frame = pl.read_csv("d.csv")
    frame[:70].write_csv("early.csv")
    frame[70:].write_csv("late.csv")
    words = ("train", "tiny.roll", "--data", "early.csv", "--split", "0.8,0.2", *TABLE, *REFERENCE)
    fit = ("--epochs", "2", "--quiet", "-o", "run", "--test")
    said = command(*words, *fit, "d.csv", "--split", "0.6,0.2,0.2", status=2)
    assert "the third part of `--split`" in said.stderr
    said = command(*words, *fit, "nowhere.csv", status=2)
    assert "nowhere.csv" in said.stderr and not Path("run").exists()
    command(*words, *fit, "late.csv")
    assert measured() == measured("--data", "late.csv") != measured("--data", "early.csv")


def test_what_is_compared(folder: Path) -> None:
    trained()
    assert "has no test part" in command("evaluate", "run", status=2).stderr
    Path("still.csv").write_text("pressure,shop,sales\n" + "20,0.5,500\n" * 30)
    assert measured("--data", "still.csv")["sales"]["the network"]["R2"] is None
    found = measured("--data", "d.csv", "--compare", "o=x")
    assert found["pressure"]["the network"]["RMSE"] > 1
    for wrong in ("o", "o=q", "h=y"):
        said = command("evaluate", "run", "--data", "d.csv", "--compare", wrong, status=2).stderr
        assert "expected OUTPUT=DATA, an output (o)" in said
    assert "is no run" in command("evaluate", "tiny.roll", "--data", "d.csv", status=2).stderr


CLASSES = """net classes
dim K = 3
input x
target y: index(K)
param W: [K] = normal(1), b: [K]
o = W * x + b
p = softmax(o)
output LEFT
loss mean(cross_entropy(o, y), over t)
"""
YES = """net yes
input x
target y
param w = 1.0, b
o = w * x + b
output o
loss mean(binary_cross_entropy(o, y), over t)
"""


@pytest.mark.parametrize("left", ["o", "p"])
def test_classes(folder: Path, left: str) -> None:
    random = np.random.default_rng(0)
    y = random.integers(3, size=80)
    pl.DataFrame(
        {"day": range(80), "x": y - 1 + 0.1 * random.normal(size=80), "kind": y}
    ).write_csv("d.csv")
    (folder / "classes.roll").write_text(CLASSES.replace("LEFT", left))
    fit = ("--epochs", "150", "--rate", "0.1", "--quiet", "-o", "run", "--split", "0.5,0.2,0.3")
    words = ("--data", "d.csv", "--target", "kind", "--standardise", *REFERENCE, *fit)
    command("train", "classes.roll", *words)
    found = measured()["kind"]
    assert found["the network"]["accuracy"] > 0.9 and found["the network"]["perplexity"] < 2
    most = np.bincount(y[:40]).argmax()
    assert found["the class of most"]["accuracy"] == pytest.approx(np.mean(y[-24:] == most))
    assert found["the last class"]["accuracy"] == pytest.approx(np.mean(y[-24:] == y[-25:-1]))
    command("run", "run", "--inputs", "d.csv", "-o", "p.csv")
    predicted = pl.read_csv("p.csv")
    chances = [f"probability_kind_{k}" for k in range(3)]
    assert predicted.columns == ["day", "predicted_kind", *chances]
    np.testing.assert_allclose(predicted.select(chances).to_numpy().sum(axis=1), 1, rtol=1e-5)
    assert np.mean(predicted["predicted_kind"].to_numpy() == y) > 0.9


def test_yes_or_no(folder: Path) -> None:
    """Its target is 0 or 1, whatever is standardised."""
    x = np.random.default_rng(0).normal(size=80)
    pl.DataFrame({"x": 5 + 3 * x, "rain": (x > 0).astype(int)}).write_csv("d.csv")
    (folder / "yes.roll").write_text(YES)
    fit = ("--epochs", "50", "--rate", "0.1", "--quiet", "-o", "run", "--split", "0.5,0.2,0.3")
    words = ("--data", "d.csv", "--target", "rain", "--standardise", *REFERENCE, *fit)
    command("train", "yes.roll", *words)
    assert json.loads(Path("run/preparation.json").read_text())["scales"].keys() == {"x"}
    assert measured()["rain"]["the network"]["accuracy"] > 0.9
    command("run", "run", "--inputs", "d.csv", "-o", "p.csv")
    assert pl.read_csv("p.csv").columns == ["probability_rain"]


def test_a_run_of_another_version_still_predicts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    expected = rollc.load("run").forward({"x": np.ones(4), "z": 0.5})["o"]
    monkeypatch.setattr("rollc.driver.artefact_store.FORMAT", 999)
    with pytest.raises(rollc.StoreError, match="another version"):
        rollc.load("run/network")
    found = rollc.load("run").forward({"x": np.ones(4), "z": 0.5})["o"]
    np.testing.assert_array_equal(found, expected)


def test_damaged_options_are_refused(folder: Path) -> None:
    trained("--split", "0.6,0.2,0.2")
    path = Path("run/options.toml")
    whole = path.read_text()
    for line, said in (
        ("map = 5", "`map` is 5"),
        ('map = ["x"]', "`x` has 1 numbers at a step, and 0 columns"),
        ("split = [2.0, 1.0]", "expected positive numbers whose sum is 1"),
        ("split = 3", "`split` is 3"),
        ('missing = "no"', "no such way to read"),
        ('separator = "ab"', "no such way to read"),
        ("data = 1", "`data` is 1"),
        ('data = ""', "cannot read"),
        ('text = "letters"', "a text is for a network"),
    ):
        name = line.partition(" ")[0]
        kept = tomllib.loads(whole)
        kept.pop(name, None)
        path.write_text(f"{line}\n{tomli_w.dumps(kept)}")
        for words in (("evaluate", "run"), ("run", "run", "--inputs", "d.csv")):
            if words[0] == "run" and name in ("split", "data"):
                continue
            found = command(*words, status=2).stderr
            assert said in found, (line, found)
