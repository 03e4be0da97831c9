"""A plugin of pytest: which tests run which line of rollc, and these tests alone, in an order.

    pytest -p tests.commands.lines --lines-into FOLDER    # `coverage` and `seconds.json`
    pytest -p tests.commands.lines --only FILE            # the tests that FILE names, in its order

Tests that fail, or take longer than `LONGEST`, are not among `seconds.json`.  Caches of builds and
of tests are empty before each test, so that a line is run by all tests that need it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.helpers.paths import ROOT

LONGEST = 20  # seconds of a core
CACHE = type(cache(int))
PACKAGE = ROOT / "rollc"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines-into", type=Path)
    parser.addoption("--only", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    # The same examples in every run, and no search for a smaller one.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("lines", database=None, derandomize=True, phases=phases)
    settings.load_profile("lines")
    if into := config.getoption("--lines-into"):
        config.pluginmanager.register(Lines(into))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if only := config.getoption("--only"):
        place = {name: at for at, name in enumerate(only.read_text("utf-8").split("\n"))}
        items[:] = sorted(
            (item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid]
        )


class Lines:
    """Notes what each test runs."""

    def __init__(self, into: Path) -> None:
        from coverage import Coverage

        self.into = into
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage = Coverage(data_file=str(into / "coverage"), source=[str(PACKAGE)])
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        os.environ["ROLLC_CACHE"] = str(self.into / "caches" / str(len(self.seconds)))
        for module in list(sys.modules.values()):
            if str(PACKAGE.parent / "tests") in (getattr(module, "__file__", None) or ""):
                for value in vars(module).values():
                    if isinstance(value, CACHE):
                        value.cache_clear()
        self.coverage.switch_context(item.nodeid)
        sys.setprofile(None)
        signal.signal(signal.SIGVTALRM, lambda *_: pytest.fail(f"longer than {LONGEST} s"))
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        self.seconds[name] = self.seconds.get(name, 0) + report.duration
        if not report.passed:
            self.failed.add(name)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        passed = {name: s for name, s in self.seconds.items() if name not in self.failed}
        (self.into / "seconds.json").write_text(json.dumps(passed), encoding="utf-8")
