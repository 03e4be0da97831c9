"""Greek letters in names, and the signs of typeset texts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rollc.backends.numba.codegen.symbols import Names, shown
from rollc.driver.build import build_source
from rollc.ir.names import GREEK
from rollc.ir.text import parse_graph, print_graph
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.grammar import grammar

TEXT = """net leaky
dim Θ = 3
input x: [Θ]
param W: [Θ, Θ], β: [Θ], λ_1 = 0.5
fn σ(z) = 1 / (1 + exp(−z))
h = σ(W @ x + λ_1 * h[t−1] − β)
init h = β
output h
loss mean(sum(h), over t)
"""
LATIN = TEXT.translate({0x2212: "-", ord("Θ"): "D", ord("β"): "b", ord("λ"): "l", ord("σ"): "s"})


def test_the_grammar_has_the_letters_of_names() -> None:
    (name,) = (item for item in grammar().terminals if item.name == "NAME")
    assert set(re.findall(r"[Α-Ωα-ω]", name.pattern.value)) == set(GREEK)


def test_no_letter_looks_like_a_latin_one() -> None:
    assert not set("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο") & set(GREEK)


def test_a_greek_spec_is_the_latin_one() -> None:
    nets = [build_source(text, backend="reference")[0] for text in (TEXT, LATIN)]
    values = nets[0].init(seed=0)
    assert list(values) == ["W", "β", "λ_1"]
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    latin = dict(zip(nets[1].init(seed=0), values.values(), strict=True))
    _, gradients = nets[0].value_and_grad(values, {"x": x})
    _, same = nets[1].value_and_grad(latin, {"x": x})
    assert list(gradients) == ["x", *values]
    for gradient, other in zip(gradients.values(), same.values(), strict=True):
        np.testing.assert_array_equal(gradient, other)


def test_texts_of_graphs_and_specs_go_round() -> None:
    checked = load_graph(Source("a.roll", TEXT))
    assert checked.graph is not None
    assert checked.spec is not None
    assert parse_graph(print_graph(checked.graph)) == checked.graph
    again = load_graph(Source("b.roll", format_spec(checked.spec)))
    assert again.spec == checked.spec


def test_generated_identifiers_are_ascii() -> None:
    names = Names()
    made = [names.array("λ"), names.array("Λ"), names.local("λ_1", 0), names.array("σ'1")]
    assert made == ["lamda_", "Lamda_", "v_lamda_1_0", "sigma_1_"]
    assert shown("λ'1") == "λ'1"


@pytest.mark.parametrize("blank", ["\u00a0", "\u2009", "\u202f"])
def test_blanks_of_typeset_texts_are_blanks(blank: str) -> None:
    text = LATIN.replace(" = ", f"{blank}={blank}")
    assert load_graph(Source("a.roll", text)).graph is not None
