"""Mutations of the texts of graphs: each is refused in words, or becomes kernels.

    python -m tests.commands.fuzz_graphs --count 5000 --seed 0

The texts are those of all specs that come with rollc, in every stage that can be read again.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import RollcError
from rollc.ir.operations import OPERATIONS
from rollc.ir.text import print_graph
from rollc.lang.diagnostics.source import Source
from rollc.lang.expansion.imports import with_used
from rollc.lang.load import load_graph
from rollc.network.interface import interface_of
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.unroll import unroll
from tests.helpers.paths import GOOD_SPECS, ROOT

LONGEST = 60_000  # characters; the pipeline takes its time for more
TOKEN = re.compile(r"~*[A-Za-z_][\w.:'~^]*|-?\d+\.?\d*(?:e[+-]?\d+)?|[ \t]+|\n|.")
NUMBERS = ["0", "1", "-1", "2", "3", "1.0", "0.0", "inf", "nan", "-inf", "1e308", "2147483648"]
NUMBERS += ["2147483649", "9" * 15, "9" * 40, "1000000", "1000001", "None", "true"]
ATTRIBUTES = sorted(
    {name for entry in OPERATIONS.values() for name in (*entry.required, *entry.allowed)}
)
WORDS = [*OPERATIONS, *ATTRIBUTES, "input", "target", "param", "constant", "state", "cotangent"]
WORDS += ["noise", "float", "bool", "index", "over", "init", "line", "batch", "s", "t", "loss"]
WORDS += ["checked", "adjoint", "dag", "simplified", "graph", "net", "axis", "steps", "gradient"]
LINES = ["gradient nothing = ~h", "gradient x", "output x", "output o = h", "loss h", "steps 3"]
LINES += ["steps 999999999999999", "axis s, t", "axis t, t", "axis batch", "dim D = 0", "net n n"]
LINES += ["q = constant() {value=1.0} : float", "q = input() : index(4) over batch"]
LINES += ["w = param() {initialiser=zeros} : float[3]", "w = input() : bool over t, batch"]

Mutation = Callable[[random.Random, str], str]


def texts() -> list[str]:
    """The texts that mutations start from."""
    found = []
    paths = [*(ROOT / "specs").rglob("*.roll"), *GOOD_SPECS.glob("*.roll")]
    for path in sorted(paths):
        source = with_used(Source(str(path), path.read_text(encoding="utf-8")))
        read = load_graph(source)
        if read.graph is None:
            continue  # cells alone
        simple = canonicalize(read.graph)
        stages = [read.graph, simple]
        if read.graph.loss is not None:
            stages.append(canonicalize(adjoint(simple)))
        if len(read.graph.axes) == 1:
            stages.append(unroll(simple, 2))
        found += [text for text in map(print_graph, stages) if len(text) < LONGEST]
    return found


@cache
def seeds() -> tuple[str, ...]:
    return tuple(sorted(texts(), key=len))


def _replaced(text: str, random_: random.Random, fits: Callable[[str], bool], new: str) -> str:
    tokens = TOKEN.findall(text)
    places = [place for place, token in enumerate(tokens) if fits(token)]
    if places:
        tokens[random_.choice(places)] = new
    return "".join(tokens)


def other_name(random_: random.Random, text: str) -> str:
    names = [token for token in TOKEN.findall(text) if token[0].isalpha() or token[0] == "~"]
    return _replaced(text, random_, lambda token: token in names, random_.choice(names))


def other_word(random_: random.Random, text: str) -> str:
    words = set(WORDS)
    return _replaced(text, random_, lambda token: token in words, random_.choice(WORDS))


def other_number(random_: random.Random, text: str) -> str:
    def fits(token: str) -> bool:
        return token[0].isdigit() or (token[0] == "-" and len(token) > 1)

    return _replaced(text, random_, fits, random_.choice(NUMBERS))


def drop_token(random_: random.Random, text: str) -> str:
    tokens = TOKEN.findall(text)
    del tokens[random_.randrange(len(tokens))]
    return "".join(tokens)


def add_attribute(random_: random.Random, text: str) -> str:
    value = random_.choice([*NUMBERS, "[3]", "[t]", "[t, batch]", "[2, 2]", "[]", "zeros", "first"])
    new = f"{random_.choice(ATTRIBUTES)}={value}"
    return _replaced(text, random_, lambda token: token == "}", f", {new}}}")


def change_lines(random_: random.Random, text: str) -> str:
    lines = text.split("\n")
    place, other = random_.randrange(1, len(lines)), random_.randrange(len(lines))
    match random_.randrange(4):
        case 0:
            del lines[place]
        case 1:
            lines.insert(place, lines[other])
        case 2:
            lines.insert(place, random_.choice(LINES))
        case _:
            lines[place], lines[other] = lines[other], lines[place]
    return "\n".join(lines)


def change_type(random_: random.Random, text: str) -> str:
    types = re.findall(r": ((?:float|bool|index)[^\n]*?)(?:  line \d+)?\n", text)
    places = list(re.finditer(r": ((?:float|bool|index)[^\n]*?)(?:  line \d+)?\n", text))
    if not places:
        return text
    place = random_.choice(places)
    return text[: place.start(1)] + random_.choice(types) + text[place.end(1) :]


def rename(random_: random.Random, text: str) -> str:
    """A node with another name, everywhere."""
    nodes = re.findall(r"^ *(\S+) += ", text, re.MULTILINE)
    if not nodes:
        return text
    name, other = random_.choice(nodes), random_.choice(nodes)
    made = [f"~{other}", f"{other}'kept", f"state.{other}", f"{other}'past1", f"{other}^dot"]
    made += [f"{other}'held", f"{other}'final", f"~{other}:seed", "batch'lengths", f"{other}.0"]
    made += [f"{other}'noise", f"{other}'1", f"~{other}:1", f"{other}^1", f"{other}'sum", "loss"]
    new = random_.choice(made)
    return "".join(new if token == name else token for token in TOKEN.findall(text))


MUTATIONS: Sequence[Mutation] = (
    *(other_name, other_name, other_word, other_word, other_number, other_number, drop_token),
    *(add_attribute, change_lines, change_lines, change_type, rename, rename),
)


def mutation(seed: int) -> str:
    random_ = random.Random(seed)
    known = seeds()
    # Short texts more often: they take less time.
    text = known[int(len(known) * random_.random() ** 3)]
    for _ in range(random_.choice([1, 1, 1, 2, 3])):
        text = random_.choice(MUTATIONS)(random_, text)
    return text


def try_text(text: str) -> str:
    """What became of a text: "refused" or "kernels"; raises where neither did."""
    try:
        graph, _ = read_spec(text, "fuzz.txt")
        interface_of(graph, "float32", None)
        for make in kernel_graphs(graph).values():
            compiled(make(), "float32")
    except RollcError:
        return "refused"
    return "kernels"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable()
    failures = 0
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        faulthandler.dump_traceback_later(300, exit=True)
        text = mutation(seed)
        try:
            outcomes[try_text(text)] += 1
        except Exception:
            failures += 1
            Path(f"fuzz-graph-{seed}.txt").write_text(text, encoding="utf-8")
            print(f"seed {seed}\n{traceback.format_exc(limit=-4)}", flush=True)
        faulthandler.cancel_dump_traceback_later()
    took = time.perf_counter() - start
    print(f"{arguments.count} texts in {took:.0f} s: {dict(outcomes)}, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
