"""The generated source of random graphs and specs computes what the interpreter does."""

from __future__ import annotations

import pytest

from tests.helpers.processes import plain_python


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("of", "count"), [("graphs", 70), ("states", 40), ("specs", 40), ("axes", 30), ("fronts", 20)]
)
def test_kernels_agree_with_the_interpreter(of: str, count: int, seed: int) -> None:
    options = ("--count", str(count), "--seed", str(seed), "--of", of)
    run = plain_python("tests.commands.fuzz_kernels", *options)
    assert run.returncode == 0, run.stderr[-6000:]
    assert "agree" in run.stdout


@pytest.mark.long
def test_products_of_what_runs_over_any_axes() -> None:
    run = plain_python("tests.commands.axis_products", "--count", "60")
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
