"""What all tests share: renewed expectations, samples of cases, and both backends."""

from __future__ import annotations

import argparse
import gc
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollc.backends.registry import VARIABLE
from tests.helpers.paths import ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew", action="store_true", help="write what the tests find as what they expect"
    )
    parser.addoption(
        "--sample",
        metavar="SEED|all",
        help="which of the cases of `sampled` tests are tried; left out, the commit says which",
    )
    # An option, since processes of pytest-xdist are given no others.
    parser.addoption("--some-long", action="store_true", help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # processes of pytest-xdist are given the options, and what they become here
    config.option.sample = config.option.sample or commit()
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    config.option.some_long = whole and not config.option.keyword


def commit() -> str:
    """The commit that is checked out; another one has other samples."""
    words = ["git", "rev-parse", "--short=10", "HEAD"]
    try:
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        found = ""
    return found or "0"


def pytest_report_header(config: pytest.Config) -> str:
    return f"sample: {config.option.sample} (the same cases: --sample {config.option.sample})"


@pytest.hookimpl(trylast=True)  # of the cases that `-m` and `-k` have left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but so many cases of each test that is ``sampled``, or of several together.

    Of long tests that are not, a run of all has half of each file.
    """
    if config.option.sample == "all":
        return
    cases: dict[tuple[str, int | None], list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("sampled")
        if not item.get_closest_marker("long"):
            continue
        if mark:
            of = mark.kwargs.get("among", item.nodeid.partition("[")[0])
            cases.setdefault((of, *mark.args), []).append(item)
        elif config.option.some_long:
            cases.setdefault((item.nodeid.partition("::")[0], None), []).append(item)
    left_out = set()
    for (of, given), several in cases.items():
        count = (len(several) + 1) // 2 if given is None else given
        # Tests of a file that have the same cases, of one fixture, are tried with the same.
        drawn = random.Random(f"{config.option.sample} {of.partition('::')[0]}")
        left_out |= {*drawn.sample(several, max(0, len(several) - count))}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: no collection of garbage goes over it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Callable[[str, Path], None]:
    """``expect(text, path)``: the file holds that text; with ``--renew`` it is made to."""

    def compare(text: str, path: Path) -> None:
        if request.config.getoption("--renew"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.name} is missing; `pytest --renew` writes it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="module", params=["reference", pytest.param("numba", marks=pytest.mark.long)])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of one backend after the other; to compile takes longer."""
    return str(request.param)


@pytest.fixture(scope="module")
def each_backend(backend: str) -> Iterator[str]:
    """Networks of these tests are on one backend after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, backend)
        yield backend
