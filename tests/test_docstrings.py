"""The public interface as its docstrings say it: NumPy's sections, and examples that run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rollc
from rollc.backends.registry import VARIABLE
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^\.\. auto(?:function|class|exception):: ([\w.]+)", PAGE, re.MULTILINE)
SECTION = re.compile(r"^(\w+)\n-{3,}\n(.*?)(?=^\w+\n-{3,}\n|\Z)", re.DOTALL | re.MULTILINE)
ENTRY = re.compile(r"^\*{0,2}\w+(?:, \*{0,2}\w+)*(?= : |$)", re.MULTILINE)
LIBRARIES = ("rollc.torch.", "rollc.jax.", "rollc.sklearn.")  # they take seconds, or are not there


def found(name: str) -> Any:
    """What a page names."""
    value: Any = rollc
    path = "rollc"
    for part in name.removeprefix("rollc.").split("."):
        path += f".{part}"
        value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)
    return value


def members(name: str) -> Iterator[tuple[str, Any]]:
    """It and, of a class, its public methods."""
    value = found(name)
    yield name, value
    for own, member in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(member) and not own.startswith("_"):
            yield f"{name}.{own}", member


def faults(name: str, value: Any) -> Iterator[str]:
    """What its docstring does not say, or says of what is not there."""
    told = dict(SECTION.findall(inspect.getdoc(value) or ""))
    entries = ENTRY.findall(told.get("Parameters", ""))
    described = {each.strip("*") for entry in entries for each in entry.split(", ")}
    taken = set()
    if inspect.isfunction(value) or described:  # of other classes a user has but instances
        taken = {*inspect.signature(value).parameters} - {"self"}
    if described != taken:
        yield f"{name}: described and taken differ in {sorted(described ^ taken)}"
    returns = inspect.isfunction(value) and value.__annotations__.get("return") != "None"
    if returns != ("Returns" in told):
        yield f"{name}: expected {'a' if returns else 'no'} section Returns"


def run_examples(name: str) -> None:
    """Of a class its own, and after these those of each of its methods."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names: dict[str, Any] = {}
    for own, value in members(name):
        text = inspect.getdoc(value) or ""
        test = doctest.DocTestParser().get_doctest(text, dict(names), own, None, 0)
        report: list[str] = []
        assert not runner.run(test, out=report.append, clear_globs=False).failed, "".join(report)
        names = names or test.globs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name.startswith(LIBRARIES) else ())
        for name in NAMES
    ],
)
def test_a_docstring_says_all_and_its_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith(LIBRARIES):
        pytest.importorskip(name.split(".")[1])
    monkeypatch.setenv(VARIABLE, "reference")  # no kernel is what is shown
    monkeypatch.chdir(tmp_path)
    assert [fault for member in members(name) for fault in faults(*member)] == []
    run_examples(name)


def test_the_page_has_every_public_name() -> None:
    assert {*rollc.__all__} - {*NAMES} == {"__version__", "threads"}


def test_references_are_to_what_is_there() -> None:
    """Modules that docstrings name, functions in them, and files that comments and pages name."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "rollc").rglob("*.py")
    }
    texts = {path: path.read_text(encoding="utf-8") for path in modules.values()}
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("grammar/*.md")]
    pages = [page for page in pages if page.name != "CHANGELOG.md"]  # which tells of the past
    missing = []
    for path, text in texts.items():
        for kind, name in re.findall(r":(mod|func|class|data):`~?(rollc\.[\w.]+)`", text):
            of = name if kind == "mod" else name.rpartition(".")[0]
            within = texts.get(modules.get(of, path), "")
            if of not in modules or (kind != "mod" and name.rpartition(".")[2] not in within):
                missing.append((path.name, name))
    for path, text in texts.items() | {(page, page.read_text("utf-8")) for page in pages}:
        for file in re.findall(r"(?<![\w/])(?:rollc|tests|docs|specs)/[\w/-]+\.\w+", text):
            if not (ROOT / file).exists():
                missing.append((path.name, file))
    assert not missing
