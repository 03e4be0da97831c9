"""Every snippet of Python in the documents runs: a page is one session, from top to bottom."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollc.backends.registry import VARIABLE
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.layout import laid_out
from tests.commands.document_pictures import FOLDER, PICTURES, picture
from tests.helpers.messages_page import messages_page
from tests.helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
FENCED = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROLL = re.compile(r"^(```roll(?: \S+)?\n)(.*?)^```$", re.DOTALL | re.MULTILINE)
IMPORTED = re.compile(r"^(?:import|from) (?:rollc\.)?(\w+)", re.MULTILINE)
QUICK = ("README.md", "paper-to-spec.md", "speed.md", "streaming.md")  # little is done there
INTERPRETED = (  # some of them in the longer run
    *("faster-lstm-in-one-line.md", "unrolling.md", "python.md", "pytorch.md", "editor.md"),
)
OPTIONAL = ("jax", "lightning", "polars", "sklearn", "torch")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def snippets(page: Path) -> Iterator[tuple[str, str | None, str, int]]:
    """The language of each, the file that it is, its text, and the line where it begins."""
    text = page.read_text(encoding="utf-8")
    for found in FENCED.finditer(text):
        language, file, content = found.groups()
        yield language, file, content, text.count("\n", 0, found.start()) + 1


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a page sets ends with it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def in_order(shown: list[str], *printed: str) -> None:
    """What a page shows of outputs is there, in the order of each; ``…`` is what it leaves out."""
    left = [text.splitlines() for text in printed]
    for line in shown:
        if line != "…":
            own = next((lines for lines in left if line in lines), None)
            assert own is not None, f"not printed: {line}"
            del own[: own.index(line) + 1]


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in an empty folder, where its files are written and its commands run."""
    monkeypatch.chdir(folder)
    session: dict[str, Any] = {"__name__": "__main__"}
    for language, file, content, line in snippets(page):
        needed = [name for name in IMPORTED.findall(content) if name in OPTIONAL]
        absent = [name for name in needed if importlib.util.find_spec(name) is None]
        if language == "python" and absent:
            pytest.skip(f"from line {line} on: {absent[0]} is not installed")
        if file is not None:
            (folder / file).write_text(content, encoding="utf-8")
        elif language == "python":
            exec(compile("\n" * line + content, page.name, "exec"), session)
        elif language == "console":
            for shown in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, *lines = shown.splitlines()
                environment = {**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)}
                ran = subprocess.run(
                    command.split(), env=environment, capture_output=True, text=True, timeout=600
                )
                assert (ran.returncode == 0) != ("error" in shown), ran.stderr
                in_order(lines, ran.stdout, ran.stderr)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page.name in QUICK else pytest.mark.long)
        for page in PAGES
        if page.name in (*QUICK, *INTERPRETED)
    ],
    ids=lambda path: path.name,
)
def test_a_page_is_one_session(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "reference")  # no kernel is what is shown
    run(page, tmp_path, monkeypatch)


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.compiled
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_with_kernels(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(page, tmp_path, monkeypatch)


@pytest.mark.long
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "unrolling.html").exists()


def test_pictures_are_those_of_the_specs() -> None:
    """Their boxes and arrows; places are those of the Graphviz that drew them."""
    for name in PICTURES:
        file = FOLDER / f"{name}.svg"
        drawn, kept = (
            re.findall(r"<title>[^<]*</title>", text)
            for text in (picture(name).svg(), file.read_text(encoding="utf-8"))
        )
        assert sorted(drawn) == sorted(kept), "python -m tests.commands.document_pictures"


@pytest.mark.parametrize("page", LINKING, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file, and to a heading of it."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for path, place in re.findall(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)", text):
        there = page.parent / path if path else page
        assert there.exists(), path
        if place:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [
                re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
            ]
            assert place in slugs, f"{path}#{place}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "grammar" / "README.md"], ids=lambda path: path.name
)
def test_specs_are_as_fmt_lays_them_out(page: Path, request: pytest.FixtureRequest) -> None:
    def laid(found: re.Match[str]) -> str:
        text = laid_out(Source(page.name, found[2]))[0]
        return found[0] if text is None else f"{found[1]}{text}```"  # an example of a message

    text = page.read_text(encoding="utf-8")
    expected = ROLL.sub(laid, text)
    if request.config.option.renew and expected != text:
        page.write_text(expected, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == expected, "pytest --renew lays them out"


def test_every_message_is_on_its_page(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs" / "messages.md"
    if request.config.option.renew:
        page.write_text(messages_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == messages_page(), "pytest --renew writes it anew"


def test_scripts_are_short() -> None:
    """What the page of a cell of one's own says: a script of 40 lines."""
    (script,) = (
        text
        for _, file, text, _ in snippets(ROOT / "docs/your-cell-in-pytorch.md")
        if file == "train.py"
    )
    assert len(script.splitlines()) <= 40


def test_a_change_is_said_once() -> None:
    """And in a group: what two branches have grouped is easily merged twice."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    changes = re.findall(r"^- (?:Mended: )?(.*)$", text, re.MULTILINE)
    assert [line for line, count in Counter(changes).items() if count > 1] == []
    assert "\n- " not in text.partition("\n### ")[0]
