"""`rollc train` and `rollc run` on tables: columns, missing cells, units, and what a run keeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rollc
import rollc.training.runs.run_folder as run_folder
from tests.helpers.training import command, weather

SPEC = """net weather
dim H = 3
input x: [2]
input m
target y
param U: [H, 2] = normal(0.3), W: [H, H] = orthogonal, v: [H] = normal(0.3), b
h = tanh(U @ x + W @ h[t-1])
o = dot(v, h) + b
output o
loss mean(m * mse(o, y), over t)
"""
COLUMNS = ("--map", "x=pressure,temperature", "--target", "sales")
MASK = ("--missing", "mask", "--mask", "m")
REFERENCE = ("--backend", "reference")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "weather.roll").write_text(SPEC)
    (tmp_path / "d.csv").write_text(weather(missing=(7, 30)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    return tmp_path


def test_a_run_keeps_columns_and_units(folder: Path) -> None:
    words = ("train", "weather.roll", "--data", "d.csv", *COLUMNS, *REFERENCE)
    said = command(*words, status=2).stderr
    assert "`d.csv`, line 9, column 3 (`temperature`): the cell is missing (2 such" in said
    more = ("--standardise", "--split", "0.7,0.3", "--epochs", "40", "--rate", "0.03", "-o", "run")
    said = command(*words, *MASK, *more).stderr
    assert "note: not read: `when` of `d.csv`" in said
    kept = json.loads(Path("run/preparation.json").read_text())
    frame = pl.read_csv("d.csv").head(42)  # of the training part alone, and of what is there
    assert kept["scales"].keys() == {"x", "y"}
    np.testing.assert_allclose(kept["scales"]["y"]["mean"], frame["sales"].mean())
    expected = [frame[name].std(ddof=0) for name in ("pressure", "temperature")]
    np.testing.assert_allclose(kept["scales"]["x"]["spread"], expected)

    assert "of standardised numbers" in command("run", "run", "--inputs", "d.csv").stdout
    whole = pl.read_csv("d.csv")
    whole.drop("sales").reverse().write_parquet("new.parquet")  # targets are not needed
    whole.drop("sales").write_csv("new.tsv", separator="\t")
    for name in ("new.tsv", "new.parquet"):
        command("run", "run", "--inputs", name, "-o", f"predicted-{name}")
    predicted = pl.read_csv("predicted-new.tsv", separator="\t")
    assert predicted.columns == ["when", "predicted_sales"]
    assert predicted["when"].to_list() == whole["when"].to_list()
    error = np.sqrt(np.mean((predicted["predicted_sales"] - whole["sales"]).to_numpy() ** 2))
    assert error < 0.5 * whole["sales"].std(), "the units are those of the table"
    backwards = pl.read_parquet("predicted-new.parquet")
    assert backwards["when"].to_list() == whole["when"].to_list()[::-1]


def test_sequences_by_a_column_and_by_files(folder: Path) -> None:
    frame = pl.read_csv("d.csv").drop_nulls()
    frame = frame.with_columns(shop=pl.Series(["a"] * 20 + ["b"] * (len(frame) - 20)))
    frame.write_csv("shops.csv")
    (folder / "shops").mkdir()
    for (name,), part in frame.group_by("shop"):
        part.write_csv(folder / "shops" / f"{name}.csv")
    (folder / "shops" / "notes.md").write_text("not a table")
    left = []
    spec = SPEC.replace("input m\n", "").replace("m * ", "")
    Path("weather.roll").write_text(spec)
    for data, run in (("shops.csv", "one"), ("shops", "two")):
        by = ("--sequence", "shop") if run == "one" else ()
        words = ("--data", data, *COLUMNS, *by, *REFERENCE, "--epochs", "2", "-o", run)
        said = command("train", "weather.roll", *words).stderr
        assert "x [38, 2, 2], y [38, 2]: 2 sequences of 20 to 38 steps" in said
        left.append(run_folder.RunFolder(Path(run)).params())
    for name, array in left[0].items():
        np.testing.assert_array_equal(array, left[1][name])
    command("run", "one", "--inputs", "shops.csv", "-o", "p.csv")
    predicted = pl.read_csv("p.csv")
    assert predicted.columns == ["when", "shop", "predicted_sales"]
    assert predicted["when"].to_list() == frame["when"].to_list()
    places = pl.int_range(pl.len()).over("shop")
    frame.sort(places, maintain_order=True).write_csv("mixed.csv")  # one of each in turn
    command("run", "one", "--inputs", "mixed.csv", "-o", "q.csv")
    assert pl.read_csv("q.csv").sort("when").equals(predicted.sort("when"))


def test_what_does_not_fit_is_said(folder: Path) -> None:
    for words, said in (
        (("--map", "x=a"), "`x` has 2 numbers at a step, and 1 columns are given"),
        (("--map", "x=pressure,heat"), "`d.csv` has no column `heat`; it has `when`, `pressure`"),
        (("--map", "q=when"), "`q` is no input or target of the network: `x`, `m`, `y`"),
        (("--map", "x"), "is not of the form NAME=COLUMN"),
        (("--map", "x=a,b", "--map", "x =c,d"), "the columns of `x` are given twice"),
        (("--map", "y=a", "--target", "b"), "the columns of `y` are given twice"),
        (("--map", 'x="a, b",pressure'), "has no column `a, b`"),
        ((*COLUMNS, "--missing", "mask"), "`--missing mask` and `--mask NAME` go together"),
        ((*COLUMNS, "--separator", "ab"), "is not one character"),
        ((), "say with `--map` which is which"),
        (("--target", "sales"), "no column is `x`: say which with `--map x=COLUMN,…`"),
        (("--target", "sales", "--sequence", "when"), "with `--map x=pressure,temperature`"),
        (("--target", "when"), "(`when`): expected a number, found `day 0`"),
        (("--sequence", "shop", *COLUMNS, "--missing", "drop"), "has no column `shop`"),
    ):
        words = ("train", "weather.roll", "--data", "d.csv", *REFERENCE, *words)
        found = command(*words, status=2).stderr
        assert said in found, (words, found)
    Path("empty").mkdir()
    found = command("train", "weather.roll", "--data", "empty", *REFERENCE, status=2).stderr
    assert "there is no table in the folder `empty`" in found


def test_rows_that_lack_cells_are_refused_wherever_a_table_is_read(folder: Path) -> None:
    """They are no missing target, nor a missing cell."""
    words = ("--data", "d.csv", *COLUMNS, *MASK, *REFERENCE, "--epochs", "1", "-o", "run")
    command("train", "weather.roll", *words)
    lines = Path("d.csv").read_text().splitlines()
    cases = {
        "short.csv": (
            "\n".join([*lines[:-1], lines[-1].rpartition(",")[0]]),
            "line 61 has 3 cells",
        ),
        "head.csv": (lines[0], "`head.csv` has no rows"),
    }
    for name, (text, message) in cases.items():
        Path(name).write_text(text)
        read = (*COLUMNS, *MASK, *REFERENCE)
        for command_ in (
            ("train", "weather.roll", "--data", name, *read),
            ("run", "weather.roll", "--inputs", name, *read),
            ("run", "run", "--inputs", name),
            ("evaluate", "run", "--data", name),
        ):
            assert message in command(*command_, status=2).stderr, command_


def test_a_target_that_is_not_known_everywhere_is_no_loss(folder: Path) -> None:
    """As of days to come; it is said of which cell."""
    words = ("--data", "d.csv", *COLUMNS, *MASK, *REFERENCE, "--epochs", "1", "-o", "run")
    command("train", "weather.roll", *words)
    Path("days").mkdir()
    lines = Path("d.csv").read_text().splitlines()
    Path("days/a.csv").write_text("\n".join(lines[:20]))
    Path("days/b.csv").write_text("\n".join([*lines[:9], lines[9].rpartition(",")[0] + ","]))
    for name in ("days/b.csv", "days"):
        done = command("run", "run", "--inputs", name)
        said = "no loss, as `y` is not read: `days/b.csv`, line 10, column 4 (`sales`): the cell is"
        assert said in done.stderr and "not read: `when` of" in done.stderr
        assert "output o" in done.stdout and "loss" not in done.stdout


def test_a_damaged_preparation_is_refused(folder: Path) -> None:
    words = ("--data", "d.csv", *COLUMNS, *MASK, *REFERENCE, "--standardise", "--epochs", "1")
    command("train", "weather.roll", *words, "-o", "run")
    path = Path("run/preparation.json")
    for content in ("", "[]", "{}", path.read_text().replace('"y"', '"z"'), '{"scales": {"x": 1}}'):
        path.write_text(content)
        said = command("run", "run", "--inputs", "d.csv", status=2).stderr
        assert "is damaged" in said and "preparation.json" in said
    said = command("run", "run", "--inputs", "d.csv", "--dtype", "float64", status=2).stderr
    assert "`--dtype` has no effect on a run" in said


def test_without_polars_it_is_said_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    np.savez("d.npz", x=np.ones((4, 2)), m=np.ones(4), y=np.ones(4))
    say = "which is not installed: `pip install 'rollc[data]'`"
    said = command("train", "weather.roll", "--data", "d.csv", *REFERENCE, status=2).stderr
    assert f"the table `d.csv` takes polars, {say}" in said
    words = ("run", "weather.roll", "--inputs", "d.npz", *REFERENCE)
    assert say in command(*words, "-o", "o.csv", status=2).stderr
    command(*words, "-o", "o.npz")  # arrays by name take nothing more


def test_parameters_alone_are_read_again(folder: Path) -> None:
    words = ("--data", "d.csv", *COLUMNS, *MASK, *REFERENCE, "--epochs", "2")
    outputs = []
    for name in ("p.npz", "p.safetensors"):
        command("train", "weather.roll", *words, "-o", name)
        read = ("--inputs", "d.csv", *COLUMNS, *MASK, *REFERENCE, "-o", "o.csv")
        command("run", "weather.roll", "--params", name, *read)
        outputs.append(Path("o.csv").read_text())
    assert outputs[0] == outputs[1]


def test_windows_and_streams_say_what_they_drop(folder: Path) -> None:
    words = ("train", "weather.roll", "--data", "d.csv", *COLUMNS, *MASK, *REFERENCE)
    epoch = ("--epochs", "1", "--window", "7")
    said = command(*words, *epoch, "--batch", "4").stderr
    assert "dropped: 4 steps in no window" in said
    assert "x [7, 8, 2], y [7, 8], m [7, 8]: 8 sequences of 7 steps" in said
    assert "an update: 4 sequences; 2 updates an epoch" in said
    said = command(*words, *epoch, "--stride", "2", "--split", "0.7,0.3").stderr
    assert "dropped: 1 step in no window" in said
    assert "dropped: 1 step of the validation data in no window" in said
    said = command(*words, *epoch, "--stateful", "--streams", "4").stderr
    assert "y [15, 4], m [15, 4]: 4 sequences of 15 steps" in said
    assert "an update: 4 sequences, windows of 7 steps one after the other; 3 updates" in said
    for wrong, why in (
        (("--stride", "2"), "`--stride` has no effect without `--window`"),
        (("--stateful",), "`--stateful` has no effect without `--window`"),
        (("--window", "7", "--stateful", "--stride", "2"), "`--stride` has no effect with"),
        (("--window", "7", "--streams", "2"), "`--streams` has no effect without `--stateful`"),
        (("--window", "61"), "no sequence has a window of 61 steps: 60 at most"),
    ):
        assert why in command(*words, *wrong, status=2).stderr


def test_windows_are_taken_up_again(folder: Path) -> None:
    words = ("--data", "d.csv", *COLUMNS, *MASK, *REFERENCE, "--standardise", "--stride", "2")
    for run, epochs in (("whole", "4"), ("run", "2")):
        more = ("--window", "7", "--batch", "3", "--epochs", epochs, "-o", run)
        command("train", "weather.roll", *words, *more)
    command("train", "--resume", "run", "--epochs", "4")
    left = [run_folder.RunFolder(Path(run)).params() for run in ("whole", "run")]
    for name, array in left[0].items():
        np.testing.assert_array_equal(array, left[1][name])


MOODS = """net moods
dim K = 4
input x, day: index(7)
target mood: index(K)
param v: [K] = normal(0.5), W: [K, 7] = normal(0.5), b: [K]
o = v * x + W @ one_hot(day, size=7) + b
output o
loss mean(cross_entropy(o, mood), over t)
"""
RAINS = """net rains
input x
target rain
param a = 0.1, b
o = a * x + b
p = sigmoid(o)
output p
loss mean(binary_cross_entropy(o, rain), over t)
"""
QUICK = (*REFERENCE, "--epochs", "200", "--rate", "0.1", "-o", "run")


def moods(rows: int = 40) -> str:
    """A class by its word, which the day decides, by its word too."""
    random, days = np.random.default_rng(0), ("mon", "tue", "wed")
    lines = ["x,day,mood,note"]
    for row in range(rows):
        day = days[row % 3]
        mood = {"mon": "tired", "tue": "none", "wed": "glad"}[day]
        lines.append(f"{random.normal():.3f},{day},{mood},row {row}")
    return "\n".join(lines) + "\n"


def test_classes_by_their_words(folder: Path) -> None:
    """Kept with the run, in predictions, and refused where they were never seen."""
    Path("moods.roll").write_text(MOODS)
    Path("moods.csv").write_text(moods())
    command("train", "moods.roll", "--data", "moods.csv", "--split", "0.7,0.1,0.2", *QUICK)
    kept = json.loads(Path("run/preparation.json").read_text())["classes"]
    assert kept == {"day": ["mon", "tue", "wed"], "mood": ["glad", "none", "tired"]}
    assert rollc.load("run").preparation.classes["mood"] == ("glad", "none", "tired")
    whole = pl.read_csv("moods.csv")
    for new in (whole, whole.drop("mood")):  # without what is to be predicted, too
        new.write_csv("new.csv")
        command("run", "run", "--inputs", "new.csv", "-o", "said.csv")
        said = pl.read_csv("said.csv")
        chances = [f"probability_mood_{word}" for word in kept["mood"]]
        assert said.columns == ["note", "predicted_mood", *chances]
        assert said["predicted_mood"].to_list() == whole["mood"].to_list()
        np.testing.assert_allclose(said.select(chances).sum_horizontal(), 1, rtol=1e-5)
    found = json.loads(command("evaluate", "run", "--format", "json").stdout)["mood"]
    assert found["the network"]["accuracy"] == 1

    Path("new.csv").write_text(moods().replace("wed,glad,row 5", "sun,glad,row 5"))
    said = command("run", "run", "--inputs", "new.csv", status=2).stderr
    assert "`new.csv`, line 7, column 2 (`day`): `sun` is none of the 3 classes" in said
    Path("new.csv").write_text("x,day\n1,2\n")  # once by words, always by words
    assert "`2` is none of the 3" in command("run", "run", "--inputs", "new.csv", status=2).stderr
    Path("new.csv").write_text("x,day,mood\n1,mon,\n")
    said = command("evaluate", "run", "--data", "new.csv", status=2).stderr
    assert "`new.csv`, line 2, column 3 (`mood`): the cell is missing" in said


def test_classes_that_nothing_is_learned_of(folder: Path) -> None:
    Path("moods.roll").write_text(MOODS)
    Path("moods.csv").write_text(moods() + "0.5,mon,odd,last\n")
    words = ("train", "moods.roll", "--data", "moods.csv", *QUICK)
    said = command(*words, "--split", "0.8,0.2", status=2).stderr
    assert "`moods.csv`, line 42, column 3 (`mood`): the class `odd` is not in the part" in said
    Path("first.csv").write_text(moods())
    words = ("train", "moods.roll", "--data", "first.csv", "--valid", "moods.csv", *QUICK)
    said = command(*words, status=2).stderr
    assert "`moods.csv`, line 42, column 3 (`mood`): `odd` is none of the 3 classes" in said
    said = command(*words[:4], *QUICK, "--set", "K=2", status=2).stderr
    assert "`first.csv` has 3 classes of `mood`, such as `glad`, `none`, `tired`, and" in said
    Path("weather.csv").write_text(weather().replace("day 4,", "day 4,x"))
    said = command("train", "weather.roll", "--data", "weather.csv", *COLUMNS, status=2).stderr
    assert "expected a number, found `x" in said, "words are classes, and no numbers"


def test_classes_of_a_folder_and_of_a_yes_or_no(folder: Path) -> None:
    """Each file has some of the classes only."""
    Path("rains.roll").write_text(RAINS)
    Path("days").mkdir()
    for name, low in (("a", -3), ("b", 0)):
        numbers = [low + 0.1 + 0.3 * step for step in range(10)]
        rows = [f"{x:.1f},{'wet' if x > 0 else 'dry'}" for x in numbers]
        Path(f"days/{name}.csv").write_text("\n".join(["x,rain", *rows]) + "\n")
    command("train", "rains.roll", "--data", "days", *QUICK, "--standardise")
    command("run", "run", "--inputs", "days/b.csv", "-o", "said.parquet")
    said = pl.read_parquet("said.parquet")
    assert said.columns == ["predicted_rain", "probability_rain_dry", "probability_rain_wet"]
    assert said["predicted_rain"][-1] == "wet"
    command("run", "run", "--inputs", "days/a.csv", "-o", "said.csv")
    assert pl.read_csv("said.csv")["predicted_rain"][0] == "dry"


def test_bounds_where_the_loss_is_a_likelihood(folder: Path) -> None:
    """Nine of ten numbers lie between them; a spec that only compares has none."""
    Path("noisy.roll").write_text(
        "net noisy\ndim D = 2\ninput x: [D]\ntarget y: [D]\nparam a = 0.5, l: [D], b: [D]\n"
        "o = a * x + b\noutput o\nloss mean(mean((y - o) ** 2 * exp(-l) + l), over t)\n"
    )
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(500, 2)), random.normal(size=(500, 2))
    y = 100 + [3, 30] * (x + [0.5, 0.2] * noise)
    columns = dict(zip("abpq", [*x.T, *y.T], strict=True))
    pl.DataFrame(columns).write_csv("d.csv")
    words = ("train", "noisy.roll", "--data", "d.csv", "--map", "x=a,b", "--target", "p,q")
    command(*words, "--standardise", "--split", "0.8,0.1,0.1", *QUICK)
    found = json.loads(command("evaluate", "run", "--format", "json").stdout)
    assert found["p"]["the network"]["R2"] > 0.5
    command("run", "run", "--inputs", "d.csv", "-o", "said.csv")
    said = pl.read_csv("said.csv")
    names = ["predicted_p", "predicted_q", "low_p", "high_p", "low_q", "high_q"]
    assert said.columns == names
    for name in "pq":
        low, high = (said[f"{bound}_{name}"].to_numpy() for bound in ("low", "high"))
        between = (low < columns[name]) & (columns[name] < high)
        assert 0.84 < between.mean() < 0.95, name


def test_a_loss_that_is_no_number_is_led_back_to_the_data(folder: Path) -> None:
    text = (
        "net one\ninput x\ntarget y\nh = 0.5 * h[t-1] + x\noutput h\nloss mean(mse(h, y), over t)\n"
    )
    (folder / "one.roll").write_text(text)
    (folder / "i.csv").write_text("x,y\n1,2\ninf,3\n")
    said = command("run", "one.roll", "--inputs", "i.csv", *REFERENCE).stderr
    assert "the loss is no number, and `i.csv`, line 3, column 1 (`x`) is inf" in said
    fits = text.replace("0.5", "a").replace("input x", "param a\ninput x")
    (folder / "fit.roll").write_text(fits)
    rows = "".join(f"{row},{2 * row}\n" for row in range(8))
    (folder / "i.csv").write_text(f"x,y\n{rows}inf,3\n5,6\n")
    options = (*REFERENCE, "--standardise", "--split", "0.9,0.1")
    said = command("train", "fit.roll", "--data", "i.csv", *options, status=2).stderr
    assert "input `x` (line 3) is inf at step 8 of t" in said
    assert ": `i.csv`, line 10, column 1 (`x`) is inf" in said and "the data hold it" in said
    np.savez("n.npz", x=np.array([1.0, 2.0, np.nan]), y=np.zeros(3))
    said = command("run", "one.roll", "--inputs", "n.npz", *REFERENCE).stderr
    assert "the loss is no number, and `x` in `n.npz` is nan at [2]" in said
