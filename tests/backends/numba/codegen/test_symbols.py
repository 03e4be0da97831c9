"""What a spec calls its things never matters: names of every sort, in every place.

The kernels of a spec with hostile names are those of the spec with plain ones, word for word,
but for a renaming that maps no two words to one and no word of rollc's own to another.  So
nothing can take the name of anything else, whether it is a size, a routine or a buffer.
"""

from __future__ import annotations

import builtins
import keyword
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

import rollc
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.text import parse_graph, print_graph
from rollc.kernel.text import parse_program, parse_schedule, print_program, print_schedule
from rollc.lang.symbols.builtins import NO_OPERATIONS, functions
from rollc.lang.syntax.statement_splitter import KEYWORDS
from rollc.transforms.unroll import unroll

ONE = """\
net <net>
dim <D> = 3, <H> = 4
input <x>: [<D>], <u>, <i>: index(<H>)
static input <z>
target <y>: [<H>]
param <W>: [<H>, <D>], <U>: [<H>, <H>], <b>: [<H>] = normal(0.1), <w>, <g>: [<H>]
const <half> = 0.5
fn <f>(<p>, <q>) = <p> * tanh(<q>)
    grad <p>: <q>
cell <cell>(<s>; <G>) -> <r> {
    param <M>: [<G>, size(<s>)]
    <r> = tanh(<M> @ <s> + <half> * <r>[t-1])
}
<h> = tanh(<W> @ <x> + <U> @ <h>[t-2] + <b>)
init <h> = <g>
<a>, <c> = split(<h>, 2)
<k> = <u> + <w> * <k>[t-1]
reset <k> when <z> > 0
<e> = <cell>(dropout(<h>); <G>=<D>)
<o> = <f>(<h>, <k> + softmax(<u>, over t)) + one_hot(<i>[t-1], size=<H>) * sum(<e>) + <k>[t-1]
output <o>, <e>
loss mean(mse(<o>, <y>) + sum(<a> * <c>), over t)
"""
TWO = """\
net <net>
time <A>, <Z>
dim <H> = 4
input <x>[<A>]: [<H>], <n>[<A>]
target <y>[<Z>]: [<H>]
param <W>: [<H>, <H>], <U>: [<H>, <H>], <v>
<e> = tanh(<W> @ <x> + <W> @ <e>[<A>-1])
<m> = <n> + <v> * <m>[<A>-1]
<k> = dot(<e>, <d>[<Z>-1]) + <m>
<s> = softmax(<k>, over <A>)
<c> = sum(<s> * <e>, over <A>)
<d> = tanh(<U> @ <d>[<Z>-1] + <c> + <y>[<Z>-1])
init <d> = last(<e>)
output <d>, <k>
loss mean(mse(<d>, <y>), over <Z>)
"""
RESERVED = {*KEYWORDS, "over", "t"}
PLACE = re.compile(r"<(\w+)>")
WORD = re.compile(r"[A-Za-z_]\w*|[\d.]\w*|\S")
FUNCTION_NAMES = {*functions(), *NO_OPERATIONS}
# Words that names become, and what comes next to them.
_MADE = """
T B N K F t_0 t_1 T_0 T_1 T_2 n k r now begin end at first last team words each np lib kernel
uint simd_range progress value out rows columns a_row x_row out_row step row place
inputs primal adjoint true false none nan inf block gradient steps axis graph stage
rollc line init_ lengths state noise batch seed final held kept mean_ direction s_ x_ h_ v_h d_h
d_d_h v_d_h h_1 h_2 h_1_ v_h_1 v_h_past1 v_h_sum h__1 h__ _h __h__ _ __ ___ h_2_2 W_panel W_stack
W_rows panel rows d_h_seed h_noise h_held h_kept h_lengths v_v_h n1 n_1 _1 _1_ __1 v_1 v_ d_ a_b
a__b a_b_ _a_b A_B aB ab output_ state_h h_past1 h_next1 h_final h_init region free forward
backward piece time cell fn use reset when grad split size index feed e5 E5 x1 O0 o0 I l ll1
"""
MADE = [*dict.fromkeys(_MADE.split())]


def words() -> list[str]:
    """Names to try: those of Python, of rollc's sources, and what names are made into."""
    package = Path(rollc.__file__).parent
    folders = [package / "kernel", package / "backends" / "numba" / "codegen"]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    found = {*MADE, *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    for path in sources:
        found.update(re.findall(r"\b[A-Za-z_]\w{0,40}\b", path.read_text(encoding="utf-8")))
    return sorted(found - RESERVED)


def renamed(template: str, names: Sequence[str]) -> dict[str, str]:
    """A name for each place of a template; the axes stay in their order."""
    places = dict.fromkeys(PLACE.findall(template))
    left = iter(names)
    found = {place: next(left) for place in places}
    for place in ("f", "cell"):
        while found.get(place) in FUNCTION_NAMES:
            found[place] = next(left)
    while "A" in found and "batch" in (found["A"], found["Z"]):
        found |= {place: next(left) for place in "AZ" if found[place] == "batch"}
    if "A" in found:
        found["A"], found["Z"] = sorted((found["A"], found["Z"]))
    return found


def spec_of(template: str, names: dict[str, str]) -> str:
    return PLACE.sub(lambda place: names[place[1]], template)


def kernels(text: str) -> Iterator[tuple[str, str]]:
    """The sources of all kernels; the texts of all stages are read back on the way."""
    graph, _ = read_spec(text, "spec")
    assert parse_graph(print_graph(graph)) == graph
    if len(graph.axes) == 1:
        dag = unroll(graph, 3)
        assert parse_graph(print_graph(dag)) == dag
    for entry, make in kernel_graphs(graph).items():
        made = compiled(make(), "float64")
        assert parse_graph(print_graph(made.graph)) == made.graph
        assert parse_schedule(print_schedule(made.schedule)) == made.schedule
        assert parse_program(print_program(made.program)) == made.program
        yield entry, made.source


def code(source: str) -> list[str]:
    """The words and marks of a source, without its comments."""
    source = source[source.index("import numpy") :]
    source = re.sub(r"= \(\n(.*)\n *\)\n", r"= \1\n", source)  # long values are in parentheses
    text = " ".join(line.partition("#")[0] for line in source.splitlines())
    return WORD.findall(re.sub(r",\s*\)", ")", text))  # a long call ends with a comma


@cache
def plain(template: str) -> list[list[str]]:
    names = {place: f"{place}0" for place in PLACE.findall(template)}
    return [code(source) for _, source in kernels(spec_of(template, names))]


def check(template: str, names: Sequence[str]) -> None:
    text = spec_of(template, renamed(template, names))
    # The kernels of a time axis are named after it.
    for (entry, source), expected in zip(kernels(text), plain(template), strict=True):
        compile(source, entry, "exec")
        found = code(source)
        there: dict[str, str] = {}
        back: dict[str, str] = {}
        assert len(expected) == len(found), (text, entry)
        for word, other in zip(expected, found, strict=True):
            assert there.setdefault(word, other) == other, (text, entry, word)
            assert back.setdefault(other, word) == word, (text, entry, other)
            if not word.endswith("_") and not word.startswith("v_"):
                assert word == other, (text, entry)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("template", "seed"),
    [
        pytest.param(template, seed, id=f"{name}-{seed}", marks=pytest.mark.long if seed else ())
        for seed, name, template in (
            *((0, "two-axes", TWO), (1, "one-axis", ONE)),
            *((2, "two-axes", TWO), (3, "one-axis", ONE)),
        )
    ],
)
def test_names_do_not_matter(template: str, seed: int) -> None:
    random_ = random.Random(seed)
    known = words()
    made = [word for word in MADE if word in known]
    for part in range(2):
        chosen = random_.sample(made, len(made)) if part == 0 else random_.sample(known, 80)
        check(template, list(dict.fromkeys([*chosen, *random_.sample(known, 80)])))


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("template", [ONE, TWO], ids=["one-axis", "two-axes"])
def test_every_made_word_is_tried(template: str, part: int) -> None:
    """Each in both templates, in one place or another."""
    left = iter([word for word in MADE if word in words()][part::4])
    size = len(set(PLACE.findall(template)))
    while names := list(islice(left, size)):
        check(template, [*names, *(f"other{number}" for number in range(size))])
