"""The reference of the language: its examples work, and it names every function."""

from __future__ import annotations

import re

import pytest

from rollc.lang.diagnostics.source import Source
from rollc.lang.elaboration import drafts, expressions, resets
from rollc.lang.expansion import cell_inlining, imports
from rollc.lang.load import load_graph
from rollc.lang.symbols.builtins import ALONG, MOVED, SHAPED, functions
from rollc.lang.symbols.constants import LARGEST_SIZE, LONGEST_DELAY
from rollc.lang.symbols.library import LIBRARY
from rollc.lang.symbols.operations import OPERATIONS
from rollc.lang.syntax import parser
from rollc.transforms import unroll
from tests.helpers.paths import ROOT

LIMITS = [
    *(parser.LONGEST_TEXT, parser.LONGEST_NAME, parser.DEEPEST, parser.DEEPEST, parser.DEEPEST),
    *(expressions.DEEPEST, imports.MOST_FILES, imports.LONGEST_TEXT, imports.LONGEST_USED),
    *(
        expressions.MOST_NODES,
        drafts.MOST_INLINED,
        cell_inlining.MOST_USES,
        cell_inlining.DEEPEST,
    ),
    *(cell_inlining.MOST_STATEMENTS, cell_inlining.MOST_PARTS, LARGEST_SIZE, LONGEST_DELAY),
    *(resets.LONGEST_DELAY, unroll.MOST_NODES),
]
TEXT = (ROOT / "grammar" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```roll\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("name", [*functions(), *LIBRARY])
def test_every_function_is_there_as_the_table_has_it(name: str) -> None:
    entry = LIBRARY.get(name) or OPERATIONS[name]
    row = re.search(rf"^\| `{name}\(([^`]*)\)` \| (.*) \|$", TEXT, re.MULTILINE)
    assert row is not None
    assert row[2] == entry.summary
    words = [word.split("=")[0] for word in row[1].replace(", …", "").split(", ")]
    options = [option for option, _ in entry.defaults]
    assert words == [*entry.operands, *options, *(["axis"] if name in ALONG else [])]


@pytest.mark.parametrize("name", [*SHAPED, *MOVED])
def test_every_function_of_sizes_is_there(name: str) -> None:
    assert re.search(rf"^\| .*`{name}\([^`]*\)`.* \| ", TEXT, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_get_no_message(example: str) -> None:
    checked = load_graph(Source("README.md", example))
    assert checked.diagnostics == ()
    assert checked.graph is not None


def test_limits_are_those_that_it_says() -> None:
    (section,) = re.findall(r"^## Limits\n(.*?)(?:^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert [int(number) for number in re.findall(r"\d+", section)] == LIMITS
