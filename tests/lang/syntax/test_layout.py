"""The layout of texts: what it is, and what it leaves as it was."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.ir.graph import Graph
from rollc.ir.text import print_graph
from rollc.lang.diagnostics.diagnostic import has_errors
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.layout import laid_out
from rollc.lang.syntax.statement_splitter import cut
from rollc.support import resources
from tests.commands.fuzz_specs import mutations, seeds
from tests.helpers.strategies.random_specs import specs

SHIPPED: list[Path] = sorted(resources.folder("specs").rglob("*.roll"))
PAIRS = {
    "line ends": ("a=b\r\n# c\r\nd=e", "a = b\r\n# c\r\nd = e\r\n"),
    "nothing": ("\n\n", ""),
    "typeset": ("a = b − c", "a = b - c\n"),
}
for _block in (Path(__file__).parent / "layouts.txt").read_text().split("==== ")[1:]:
    _name, _, _text = _block.partition("\n")
    _before, _, _after = _text.partition("----\n")
    PAIRS[_name] = (_before, _after)


def layout(text: str) -> str:
    found, diagnostics = laid_out(Source("a.roll", text))
    assert found is not None, diagnostics
    return found


def comments(text: str) -> list[str]:
    """The comments of a text, those behind a `"` among them."""
    quoted = re.sub(r'"[^"\n]*"', lambda path: "s" * len(path[0]), text)
    return [comment.lstrip("# ").strip() for comment in re.findall(r"#[^\n]*", quoted)]


def tokens(text: str) -> list[str]:
    return [str(token) for piece in cut(text) for token in piece.tokens]


def ruined(text: str, random: Random) -> str:
    """The text with other blanks, more empty lines and comments."""
    lines = []
    for line in text.splitlines():
        code, mark, comment = line.partition("#")
        if not code.startswith("use "):
            blanks = " " * random.randint(0, 2)
            code = re.sub(r"(?<=[^\w.\s*<>=!-])|(?=[^\w.\s*<>=!-])", blanks, code)
        lines += [""] * random.randint(0, 2) + [" " * random.randint(0, 6) + code + mark + comment]
        if random.random() < 0.2:
            lines.append(f"  # remark {len(lines)}")
    return "\n".join(lines)


@pytest.mark.parametrize(("text", "expected"), PAIRS.values(), ids=PAIRS)
def test_a_layout(text: str, expected: str) -> None:
    assert layout(text) == expected
    assert layout(expected) == expected


def test_specs_that_come_with_rollc_are_laid_out() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SHIPPED}
    assert [path for path, text in texts.items() if layout(text) != text] == []


def meaning(text: str) -> str:
    graph = load_graph(Source("a.roll", text)).graph
    assert isinstance(graph, Graph)
    return re.sub(r"(?m) *line \d+$", "", print_graph(graph))


@settings(max_examples=25, deadline=None)
@given(specs(), st.randoms(use_true_random=False))
def test_a_layout_changes_blanks_alone(text: str, random: Random) -> None:
    text = ruined(text, random)
    found = layout(text)
    assert layout(found) == found
    assert comments(found) == comments(text)
    assert tokens(found) == tokens(text)


@settings(max_examples=5, deadline=None)
@given(specs(), st.randoms(use_true_random=False))
def test_a_layout_leaves_the_graph(text: str, random: Random) -> None:
    assert meaning(layout(ruined(text, random))) == meaning(text)


def broken(text: str, random: Random) -> str:
    """The text with ends of lines and comments inside brackets."""
    found, depth = [], 0
    for token in re.split(r'("[^"\n]*"|#[^\n]*|[()\[\],])', text):
        depth += (token in ("(", "[")) - (token in (")", "]"))
        found.append(token)
        if depth and token in ("(", "[", ",") and random.random() < 0.5:
            found.append(random.choice(["\n" + " " * 9, "  # inside\n" + " " * 20]))
    return "".join(found)


@pytest.mark.parametrize(
    ("seed", "count"),
    [(0, 15), *(pytest.param(seed, 100, marks=pytest.mark.long) for seed in (1, 2))],
)
def test_whatever_can_be_parsed_keeps_its_words_and_comments(seed: int, count: int) -> None:
    """Texts that were changed at random, and those with lines broken inside brackets."""
    random = Random(seed)
    laid = 0
    for text in (*mutations(count, seed), *(broken(text, random) for text in seeds()[:count])):
        found, diagnostics = laid_out(Source("fuzz.roll", text))
        if found is None:
            assert has_errors(diagnostics)
            continue
        laid += 1
        assert layout(found) == found
        assert tokens(found) == tokens(text)
        assert comments(found) == comments(text)
    assert laid > count / 2


def test_what_cannot_be_parsed_is_left() -> None:
    found, diagnostics = laid_out(Source("a.roll", "net a\nh = (x\n"))
    assert found is None
    assert [each.code for each in diagnostics] == ["R103"]
