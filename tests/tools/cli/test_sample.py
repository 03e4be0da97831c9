"""`rollc sample`: networks of texts and of trajectories go on by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rollc
from rollc.driver.trained import Trained
from rollc.tools.cli.data_commands.sampling import _drawn, _next
from rollc.training.data.pairs import Kind, Pair, pairs_of
from rollc.training.data.preparation import Preparation, Scale
from rollc.training.data.symbols import Symbols
from tests.helpers.training import command, tiny_network

REFERENCE = ("--backend", "reference", "--quiet", "-o", "run")
ITSELF = """net itself
dim V = 5
target y: index(V)
param W: [V, V] = normal(1), b: [V]
before = feed(drawn[t-1], y[t-1])
o = W @ one_hot(before, size=V) + b
drawn = sample(softmax(o))
output o
loss mean(cross_entropy(o, y), over t)
"""
NEXT = """net next
dim V = 5
input x: index(V)
target y: index(V)
param W: [V, V] = normal(1)
o = W @ one_hot(x, size=V)
p = softmax(o)
output p
loss mean(cross_entropy(o, y), over t)
"""
WAVE = """net wave
input x
param a = 1.0, b = 0.0
o = a * x[t-1] + b * x[t-2]
output o
loss mean(mse(o, x), over t)
"""
FIT = ("--rate", "0.1", "--epochs", "200")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, spec in (("itself", ITSELF), ("next", NEXT), ("wave", WAVE)):
        (tmp_path / f"{name}.roll").write_text(spec)
    (tmp_path / "text.txt").write_text("abcd" * 20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    return tmp_path


@pytest.mark.parametrize("name", ["itself", "next"])
def test_a_text_goes_on(folder: Path, name: str) -> None:
    words = ("--data", "text.txt", "--text", "characters", *FIT, *REFERENCE, "--split", ".7,.1,.2")
    command("train", f"{name}.roll", *words)
    kept = json.loads(Path("run/preparation.json").read_text())
    assert kept["symbols"] == ["a", "b", "c", "d"]
    said = command("sample", "run", "--length", "6", "--prompt", "dab", "--temperature", "0.1")
    assert said.stdout == "dabcdabcd\n"
    for more in (("--top-k", "1"), ("--temperature", "0")):
        said = command("sample", "run", "--length", "5", "--prompt", "b", *more)
        assert said.stdout == "bcdabc\n"
    wild = ("sample", "run", "--length", "40", "--temperature", "50", "-o", "out.txt")
    command(*wild)
    one = Path("out.txt").read_text()
    command(*wild)
    assert Path("out.txt").read_text() == one, "a seed gives one text"
    command(*wild, "--seed", "1")
    assert Path("out.txt").read_text() != one
    assert set(one) <= set("abcd\n")
    said = command("sample", "run", "--prompt", "ax", status=2).stderr
    assert "the prompt, line 1, column 2: 'x' is none of the 4 characters" in said
    found = json.loads(command("evaluate", "run", "--format", "json").stdout)["y"]
    assert found["the network"]["accuracy"] == 1 and found["the network"]["perplexity"] < 1.2
    assert found["the last class"]["accuracy"] == 0
    Path("new.text").write_text("abx")
    said = command("evaluate", "run", "--data", "new.text", status=2).stderr
    assert "`new.text`, line 1, column 3: 'x' is none of the 4 characters" in said


@pytest.mark.parametrize("name", ["itself", "next"])
def test_a_folder_of_texts(folder: Path, name: str) -> None:
    """Each is a sequence; what is at the end of one is not before the next."""
    Path("texts").mkdir()
    for number, text in enumerate(("abcd" * 5, "cdab" * 3, "dabc" * 4)):
        Path(f"texts/{number}.txt").write_text(text)
    Path("texts/other.csv").write_text("x\n1\n")
    said = command("train", f"{name}.roll", "--data", "texts", *FIT, "-o", "run", *REFERENCE[:2])
    assert "3 sequences of " in said.stderr
    assert rollc.load("run").preparation.symbols.names == ("a", "b", "c", "d")
    said = command("sample", "run", "--length", "5", "--prompt", "d", "--temperature", "0")
    assert said.stdout == "dabcda\n"
    found = command("evaluate", "run", "--data", "texts", "--format", "json").stdout
    assert json.loads(found)["y"]["the network"]["accuracy"] > 0.9
    Path("texts/4.txt").write_text("abx")
    said = command("evaluate", "run", "--data", "texts", status=2).stderr
    assert "`texts/4.txt`, line 1, column 3: 'x' is none of the 4 characters" in said
    Path("texts/4.txt").write_bytes(b"ab\n\xff")
    words = ("train", f"{name}.roll", "--data", "texts", "-o", "other")
    assert "`texts/4.txt`, line 2 is not UTF-8" in command(*words, status=2).stderr
    Path("tables").mkdir()
    words = ("train", f"{name}.roll", "--data", "tables", "--text", "words", "-o", "other")
    said = command(*words, status=2).stderr
    assert "there is no text in the folder `tables`: .txt" in said


def test_words_go_on(folder: Path) -> None:
    Path("text.txt").write_text("the cat sat.\n" * 20)
    words = ("--data", "text.txt", "--text", "words", *FIT, *REFERENCE)
    command("train", "next.roll", *words)
    said = command("sample", "run", "--length", "8", "--prompt", "the", "--top-k", "1").stdout
    assert said == "the cat sat.\nthe cat sat.\n"


def test_a_trajectory_goes_on_in_its_units(folder: Path) -> None:
    wave = 50 + 3 * np.cos(np.arange(60) * 0.4)
    pl.DataFrame({"x": wave[:40]}).write_csv("d.csv")
    words = ("--data", "d.csv", "--standardise", "--dtype", "float64", *FIT, *REFERENCE)
    command("train", "wave.roll", *words, "--epochs", "600")
    command("sample", "run", "--length", "10", "--prompt", "d.csv", "-o", "on.csv")
    found = pl.read_csv("on.csv")
    assert found["step"].to_list() == list(range(40, 50))
    trained = rollc.load("run")
    by_hand = list(wave[:40])
    for _ in range(10):
        by_hand.append(trained.forward({"x": np.array([*by_hand, 0.0])})["o"][-1])
    np.testing.assert_allclose(found["x"], by_hand[40:], rtol=1e-9)
    np.testing.assert_allclose(found["x"][:4], wave[40:44], atol=0.5)
    said = command("sample", "run", "--top-k", "3", status=2).stderr
    assert "`--top-k` has no effect on numbers" in said


def test_a_trajectory_that_starts_from_its_first_step(folder: Path) -> None:
    Path("drift.roll").write_text(
        "net drift\ninput x\ninit x = first(x)\nparam b = 0.5\no = x[t-1] + b\noutput o\n"
        "loss mean(mse(o, x), over t)\n"
    )
    pl.DataFrame({"x": np.arange(20.0)}).write_csv("d.csv")
    command("train", "drift.roll", "--data", "d.csv", *FIT, *REFERENCE)
    command("sample", "run", "--length", "3", "--prompt", "d.csv", "-o", "on.csv")
    np.testing.assert_allclose(pl.read_csv("on.csv")["x"], [20, 21, 22], atol=0.3)


def test_what_cannot_go_on(folder: Path) -> None:
    Path("deaf.roll").write_text(
        "net deaf\ninput x\ninput z\ntarget y\nparam w = 1.0\no = w * x + z\noutput o\n"
        "loss mean(mse(o, y), over t)\n"
    )
    pl.DataFrame({"x": [1.0, 2], "y": [2.0, 4], "z": [0.0, 0]}).write_csv("d.csv")
    command("train", "deaf.roll", "--data", "d.csv", "--epochs", "1", *REFERENCE)
    said = command("sample", "run", "--prompt", "d.csv", status=2).stderr
    assert "reads nothing but what it predicts can go on by itself; this one reads x, z" in said
    said = command("train", "wave.roll", "--data", "text.txt", "--text", "words", status=2).stderr
    assert "a text is for a network of one target, an index" in said
    Path("text.txt").write_text("abcdef")
    said = command("train", "next.roll", "--data", "text.txt", status=2).stderr
    assert "`text.txt`: the text has 6 characters, and the network takes 5" in said
    Path("text.txt").write_bytes(b"ab\n\xff")
    said = command("train", "next.roll", "--data", "text.txt", status=2).stderr
    assert "`text.txt`, line 2 is not UTF-8" in said


SCORES = np.array([0.0, 1.0, -1.0, 2.0, 0.5])


@pytest.mark.parametrize("kind", ["scores", "probabilities"])
@pytest.mark.parametrize(
    ("temperature", "top_k", "count"), [(1.0, None, 5), (0.5, None, 4), (2.0, 3, 5), (1.0, 1, 5)]
)
def test_symbols_are_drawn_as_likely_as_they_are(
    kind: Kind, temperature: float, top_k: int | None, count: int
) -> None:
    """Of those that the text has, and of the likeliest alone."""
    powers = np.exp(SCORES)
    output = SCORES if kind == "scores" else powers / powers.sum()
    random, symbols = np.random.default_rng(0), Symbols(tuple("abcde"[:count]))
    pair = Pair("o", "y", kind)
    drawn = [_next(output, pair, symbols, temperature, top_k, random) for _ in range(3000)]
    expected = np.exp(SCORES[:count] / temperature)
    if top_k is not None:
        expected[expected < np.sort(expected)[-top_k]] = 0
    shares = np.bincount(drawn, minlength=count) / len(drawn)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.03)
    assert (shares[expected == 0] == 0).all()
    assert _next(output, pair, symbols, 0.0, None, random) == SCORES[:count].argmax()


def test_what_was_said_is_read_in_the_units_of_what_reads_it() -> None:
    """The next number has another mean than the one before."""
    text = "net n\ninput x\ntarget y\nparam a = 1.0\no = a * x\noutput o\n"
    net = tiny_network(text + "loss mean(mse(o, y), over t)\n")
    scales = {
        name: Scale(np.array(mean), np.array(2.0)) for name, mean in (("x", 19.5), ("y", 20.5))
    }
    trained = Trained(net, net.init(0), Preparation(scales))
    (pair,) = pairs_of(net)
    before = scales["x"].to(np.array([37.0, 38.0]))
    said = _drawn(trained, pair, before, set(), 3, 1.0, None, 0)
    np.testing.assert_allclose(scales["y"].back(said), [39, 40, 41])
