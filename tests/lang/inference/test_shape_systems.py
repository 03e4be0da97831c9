"""Shapes are inferred right: held to a solver by force, and independent of the order of a spec.

``python -m tests.lang.inference.test_shape_systems --count 20000 --first 0`` tries many systems.
"""

from __future__ import annotations

import argparse
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.lang.diagnostics.source import Source
from rollc.lang.load import Checked, load_graph
from rollc.support.resources import specs
from tests.helpers.orders import shuffled
from tests.helpers.shipped_specs import each_spec
from tests.helpers.strategies.random_specs import specs as texts
from tests.reference.shape_systems import System, shapes, system

OTHER = {"R210", "R301", "R302", "R303"}  # errors that have nothing to do with shapes
SMALL, LARGE = shapes(7, 3), shapes(14, 4)


def loaded(text: str) -> Checked:
    return load_graph(Source("system.roll", text))


def outcome(found: System) -> str:
    """Holds what rollc makes of a system to all its solutions; says what it was."""
    checked = loaded(found.text())
    codes = {item.code for item in checked.diagnostics if item.severity == "error"}
    if codes & OTHER:
        return "refused, not for its shapes"
    solutions = found.solutions(SMALL)
    if checked.graph is None:
        assert codes, "refused without a word"
        if len(solutions) == 1:
            if "size(" in found.text():  # what is said to be a size has to be known first
                return "refused, a size that follows from itself"
            if "R231" in codes:  # an initial value can be read in two ways, if shapes broadcast
                assert len(found.solutions(SMALL, alike=False)) > 1
                return "refused, several that broadcast"
            # There can be others of lengths that were not tried.
            assert len(found.solutions(LARGE)) > 1, f"{solutions[0]} alone fits"
            return "refused, several"
        return "refused, several" if solutions else "refused, none"
    inferred = {name: checked.graph[name].type.shape for name in found.equations}
    assert found.fits(inferred), f"{inferred} does not fit"
    others = [other for other in solutions if other != inferred]
    for other in others:
        ranks = [(len(inferred[name]), len(other[name])) for name in inferred]
        assert any(mine < its for mine, its in ranks), f"{other} has fewer dimensions"
        for name, start in found.initials.items():
            if found.depth(name) and start != "p":
                assert inferred[name] == other[name], f"{name} can start as in {other}"
    return "several, by the rule" if others else "the only one"


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_shapes_are_those_that_fit(first: int) -> None:
    for seed in range(first, first + 50):
        found = system(seed)
        try:
            outcome(found)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{found.text()}") from error


def summary(text: str) -> tuple[list[str], dict[str, object]]:
    """What must not depend on the order of statements: codes, and types by name."""
    checked = loaded(text)
    graph = checked.graph
    nodes = () if graph is None else graph.nodes
    # Equal numbers are one node, which has the name of the first of them.
    named = {
        node.name: node.type
        for node in nodes
        if "'" not in node.name and node.operation != "constant"
    }
    return sorted(item.code for item in checked.diagnostics), named


def check_order(text: str, random: Random, times: int = 1) -> None:
    expected = summary(text)
    for _ in range(times):
        other = shuffled(text, random)
        assert summary(other) == expected, other


@pytest.mark.parametrize("name", each_spec(sorted(specs())))
def test_the_order_of_a_shipped_spec_changes_nothing(name: str) -> None:
    text = specs()[name].read_text(encoding="utf-8")
    check_order(text, Random(name), 2)


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(texts(), st.randoms(use_true_random=False))
def test_the_order_of_a_random_spec_changes_nothing(text: str, random: Random) -> None:
    check_order(text, random)


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in (50, 100, 150))]
)
def test_the_order_of_a_system_changes_nothing(first: int) -> None:
    for seed in range(first, first + 50):
        check_order(system(seed).text(), Random(seed), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.count):
        found = system(seed)
        try:
            counts[outcome(found)] += 1
            check_order(found.text(), Random(seed))
        except Exception as error:
            counts["failed"] += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}\n{found.text()}")
        if not counts.total() % 500 or counts.total() == options.count:
            print(counts.total(), dict(counts), flush=True)


if __name__ == "__main__":
    main()
