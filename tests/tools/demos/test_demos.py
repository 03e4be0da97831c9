"""The demos keep their promises, and know nothing of what they predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rollc.driver.build import build
from rollc.support.resources import folder, specs
from rollc.tools import cli, demos
from rollc.tools.demos import genesis, sunspots


def scores(printed: str) -> list[float]:
    """The last column of the table that a demo prints, less its head."""
    lines = printed.split("\n\n")[0].splitlines()[1:]
    return [float(line.split()[-1].rstrip("%")) for line in lines]


def test_sunspots_beat_both_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    demos.run()
    printed = capsys.readouterr()
    last_year, autoregression, network = scores(printed.out)
    assert (last_year, autoregression) == (30.4, 17.4)
    assert network < 16.5
    assert "rollc ir sunspots --stage" in printed.err


def test_nothing_after_1920_has_any_part_in_it() -> None:
    network = build(specs()["sunspots"])
    years, numbers = sunspots._data()
    other = np.where(years > sunspots.KNOWN, 500 - numbers, numbers)
    found = [
        sunspots._predictions(network, years, data, seeds=range(1), updates=20)
        for data in (numbers, other)
    ]
    # The first year to be predicted is the last that reads known years alone.
    same = years <= sunspots.KNOWN + 1
    np.testing.assert_array_equal(found[0][same], found[1][same])
    assert not np.array_equal(found[0], found[1])


@pytest.mark.long
def test_digits_are_learned(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Better than the means of the digits, in a short fit; and the held-out ones are the last."""
    demos.run("digits", quick=True, save=tmp_path)
    *_, alone, together = scores(capsys.readouterr().out)
    assert alone == together > 89.0
    with np.load(tmp_path / "train.npz") as train, np.load(tmp_path / "test.npz") as test:
        assert (train["x"].shape, test["x"].shape) == ((8, 1297, 8), (8, 500, 8))
        seen = {image.tobytes() for image in train["x"].swapaxes(0, 1)}
        assert not any(image.tobytes() in seen for image in test["x"].swapaxes(0, 1))


@pytest.mark.long
@pytest.mark.sampled(1, among="demos")
def test_genesis_is_learned(capsys: pytest.CaptureFixture[str]) -> None:
    demos.run("genesis", quick=True)
    printed = capsys.readouterr().out
    single, triple, _, network = scores(printed)
    assert triple < single - 1
    assert network < single - 1.4
    drawn = printed.split("\n\n", 1)[1]
    assert len(drawn) == genesis.DRAWN + 1
    assert 0.1 < drawn.count(" ") / len(drawn) < 0.25


def test_the_grams_are_probabilities() -> None:
    """Over all that can come next they add up to 1, known context or not."""
    known, characters = "the cat sat on the mat\nthe dog", "acdeghmnost \n"
    for count in (1, 2, 3, 5):
        for context in ("the", "xyz", "ca"):
            before = genesis._bits(known, context, len(characters), count) * len(context)
            total = 0.0
            for character in characters:
                text = context + character
                bits = genesis._bits(known, text, len(characters), count) * len(text) - before
                total += 2.0**-bits
            assert total == pytest.approx(1.0)
    assert genesis._bits("ab" * 500, "ab" * 100, 2, 2) < 0.05


@pytest.mark.long
@pytest.mark.sampled(1, among="demos")
def test_a_tag_needs_both_sides(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    demos.run("tagger", quick=True, save=tmp_path)
    commoner, forwards, both = scores(capsys.readouterr().out)
    assert abs(commoner - 50) < 3
    assert abs(forwards - 50) < 3
    assert both > 97
    data = ["--inputs", str(tmp_path / "test.npz"), "--params", str(tmp_path / "params.npz")]
    assert cli.main(["run", "sequences/tagger", *data]) == 0
    assert float(capsys.readouterr().out.split("loss: ")[1]) < 0.2


@pytest.mark.long
@pytest.mark.sampled(1, among="demos")
def test_sequences_of_other_lengths_are_said_backwards(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    demos.run("reverse", quick=True, save=tmp_path)
    _, short, _, long = scores(capsys.readouterr().out)
    assert short > 80
    assert long > 20
    with np.load(tmp_path / "train.npz") as train, np.load(tmp_path / "test.npz") as test:
        assert not set(train["lengths.s"]) & set(test["lengths.s"])
        for found in (train, test):
            for source, target, length in zip(
                found["x"].T[:50], found["y"].T[:50], found["lengths.s"], strict=False
            ):
                assert list(target[:length]) == list(source[:length])[::-1]
                assert not target[length:].any()


def test_every_demo_has_a_module_and_a_line() -> None:
    folder_of_demos = Path(demos.__file__).parent
    about = (folder("specs") / "README.md").read_text(encoding="utf-8")
    assert demos.DEMOS.keys() == demos.SPREADS.keys()
    for name in demos.DEMOS:
        assert (folder_of_demos / f"{name}.py").exists()
        assert f"`rollc demo {name}`" in about or name == "sunspots"
