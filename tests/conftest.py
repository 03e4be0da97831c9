"""What all tests share: the flag that renews expected files, and both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollc.backends.registry import VARIABLE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew", action="store_true", help="write what the tests find as what they expect"
    )


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
