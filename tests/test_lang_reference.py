"""The reference of the language: its examples work, and it names every function."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rollc.graph import unroll
from rollc.graph.operations import OPERATIONS
from rollc.lang import cells, draft, parse, resets, use
from rollc.lang.functions import functions
from rollc.lang.load import load_graph
from rollc.lang.sizes import LARGEST_SIZE, LONGEST_DELAY
from rollc.lang.source import Source

LIMITS = [
    *(parse.LONGEST_TEXT, parse.LONGEST_NAME, parse.DEEPEST, parse.DEEPEST, parse.DEEPEST),
    *(draft.DEEPEST, use.MOST_FILES, use.LONGEST_TEXT, use.LONGEST_USED),
    *(draft.MOST_NODES, draft.MOST_INLINED, cells.MOST_USES, cells.DEEPEST),
    *(cells.MOST_STATEMENTS, cells.MOST_PARTS, LARGEST_SIZE, LONGEST_DELAY),
    *(resets.LONGEST_DELAY, unroll.MOST_NODES),
]
TEXT = (Path(__file__).parent.parent / "grammar" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```roll\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("name", functions())
def test_every_function_is_there_as_the_table_has_it(name: str) -> None:
    entry = OPERATIONS[name]
    row = re.search(rf"^\| `{name}\(([^`]*)\)` \| (.*) \|$", TEXT, re.MULTILINE)
    assert row is not None
    assert row[2] == entry.summary
    words = [word.split("=")[0] for word in row[1].replace(", …", "").split(", ")]
    assert words == [*entry.operands, *(option for option, _ in entry.defaults)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_get_no_message(example: str) -> None:
    checked = load_graph(Source("README.md", example))
    assert checked.diagnostics == ()
    assert checked.graph is not None


def test_limits_are_those_that_it_says() -> None:
    (section,) = re.findall(r"^## Limits\n(.*?)(?:^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert [int(number) for number in re.findall(r"\d+", section)] == LIMITS
