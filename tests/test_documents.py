"""Every snippet of Python in the documents runs: a page is one session, from top to bottom."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollc.backends.registry import VARIABLE
from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NEEDED = re.compile(r"^(?:import|from) (\w+)|^import rollc\.(\w+)", re.MULTILINE)


def snippets(page: Path) -> Iterator[tuple[str, str | None, str, int]]:
    """The language of each, the file that it is of, its text, and the line where it begins."""
    text = page.read_text(encoding="utf-8")
    for found in FENCED.finditer(text):
        language, file, content = found.groups()
        yield language, file, content, text.count("\n", 0, found.start()) + 1


def _missing(text: str) -> str | None:
    """A package that a snippet imports, and that is not installed."""
    for names in NEEDED.findall(text):
        for name in filter(None, names):
            if name != "rollc" and importlib.util.find_spec(name) is None:
                return str(name)
    return None


def _run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a page has defined at its end, in an empty folder where its files are written."""
    monkeypatch.chdir(folder)
    session: dict[str, Any] = {"__name__": "__main__"}
    for language, file, content, line in snippets(page):
        if file is not None:
            (folder / file).write_text(content, encoding="utf-8")
        elif language == "python":
            missing = _missing(content)
            if missing is not None:
                pytest.skip(f"line {line}: {missing} is not installed")
            exec(compile("\n" * line + content, page.name, "exec"), session)
    return session


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_is_one_session(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "reference")  # what is shown here is no kernel
    assert _run(page, tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.compiled
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_with_kernels(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(page, tmp_path, monkeypatch)
