"""Tests stand in the folders of what they test, and documents name what is there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

TESTS = ROOT / "tests"
# Beside the folders of rollc: programs, expected texts, what tests share, other implementations.
OWN = ("commands", "golden", "helpers", "reference")
MODULES = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("*.py"))]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "grammar" / "README.md"]
INSIDE = re.compile(r"`(\w+/[\w/]*(?:\.py|/))`")  # of rollc, where its folders are explained
NAMED = re.compile(r"`(?:\S+ )?((?:tests|rollc)/[\w./-]+)`")


def test_folders_are_those_of_rollc() -> None:
    """Packages, all of them: modules in two folders may have one name."""
    folders = {path.parent for path in MODULES}
    known = {folder for folder in folders if folder.parts[:1] in {(name,) for name in OWN}}
    assert [folder for folder in folders - known if not (ROOT / "rollc" / folder).is_dir()] == []
    assert [folder for folder in folders if not (TESTS / folder / "__init__.py").exists()] == []


def test_tests_stand_in_a_folder() -> None:
    loose = {path.name for path in MODULES if len(path.parts) == 1}
    assert loose == {
        "__init__.py",
        "conftest.py",
        "test_docstrings.py",
        "test_documents.py",
        "test_folders.py",
        "test_imports.py",
    }


def test_modules_are_short_and_folders_small() -> None:
    modules = [*(ROOT / "rollc").rglob("*.py")]
    long = [path for path in modules if len(path.read_text(encoding="utf-8").splitlines()) > 500]
    assert [path.relative_to(ROOT).as_posix() for path in long] == ["rollc/network/network.py"]
    folders = Counter(path.parent for path in modules if path.name != "__init__.py")
    assert [folder for folder, count in folders.items() if count > 12] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [path for path in NAMED.findall(text) if not (ROOT / path).exists()] == []
    inside = [
        path for path in INSIDE.findall(text) if (ROOT / "rollc" / path.split("/")[0]).is_dir()
    ]
    assert [path for path in inside if not (ROOT / "rollc" / path).exists()] == []
