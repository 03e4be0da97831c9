"""Mutations of good specs: each gets diagnostics or becomes a graph, never an exception.

    python -m tests.commands.fuzz_specs --count 10000 --seed 0 [--build]

``--build`` goes on from the graphs that come out: adjoint, DAG and kernels are made too.
A mutation that fails is written to a file, so that it can be looked at.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rollc.ir.graph import Graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.diagnostic import has_errors, render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec
from tests.helpers.paths import BAD_SPECS, GOOD_SPECS, ROOT

TOKEN = re.compile(r"[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?|\s+|\*\*|[<>=!]=|.", re.DOTALL)
NUMBERS = ["0", "1", "-1", "2", "3", "1e999", "1e-400", "1e308", "2147483648", "9" * 30, "0.5"]
WORDS = ["cell ", "fn ", "grad ", "reset h when ", "->", "size(x)", "over", "init", "**"]
AXES = ["time s, t\n", "time s\n", "[s]", "[t]", "[s-1]", ", over s", "; over t", "last("]
NOISE = [*WORDS, *AXES, *"()[]{},:=+-*/@<>.#\"'\\;$\0\t\r\n\x1b£λ😀\u202e\ufeff 0t"]


def seeds() -> list[str]:
    """The texts that mutations start from."""
    paths = [*(ROOT / "specs").rglob("*.roll"), *GOOD_SPECS.glob("*.roll")]
    return [path.read_text(encoding="utf-8") for path in sorted(paths)]


def _place(random_: random.Random, parts: Sequence[str]) -> int:
    return random_.randrange(len(parts)) if parts else 0


def delete_tokens(random_: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text)
    place = _place(random_, tokens)
    del tokens[place : place + random_.choice([1, 1, 1, 2, 5])]
    return "".join(tokens)


def swap_tokens(random_: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text) or [""]
    a, b = _place(random_, tokens), _place(random_, tokens)
    tokens[a], tokens[b] = tokens[b], tokens[a]
    return "".join(tokens)


def repeat_tokens(random_: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text) or [""]
    start = _place(random_, tokens)
    part = tokens[start : start + random_.randint(1, 8)]
    return "".join(tokens[:start] + part * random_.choice([2, 2, 2, 3, 200]) + tokens[start:])


def replace_token(random_: random.Random, text: str, other: str) -> str:
    """A word becomes another word of either text."""
    tokens = TOKEN.findall(text)
    words = [place for place, token in enumerate(tokens) if token.isidentifier()]
    if not words:
        return text
    choices = [token for token in TOKEN.findall(text + other) if not token.isspace()]
    tokens[random_.choice(words)] = random_.choice(choices)
    return "".join(tokens)


def change_number(random_: random.Random, text: str, other: str) -> str:
    tokens = TOKEN.findall(text)
    numbers = [place for place, token in enumerate(tokens) if token[0].isdigit()]
    if not numbers:
        return text
    tokens[random_.choice(numbers)] = random_.choice(NUMBERS)
    return "".join(tokens)


def add_noise(random_: random.Random, text: str, other: str) -> str:
    place = random_.randint(0, len(text))
    return text[:place] + random_.choice(NOISE) + text[place + random_.choice([0, 0, 1]) :]


def shuffle_lines(random_: random.Random, text: str, other: str) -> str:
    lines = text.split("\n")
    a, b = _place(random_, lines), _place(random_, lines)
    lines.insert(b, lines.pop(a))
    return "\n".join(lines)


def drop_line(random_: random.Random, text: str, other: str) -> str:
    lines = text.split("\n")
    del lines[_place(random_, lines)]
    return "\n".join(lines)


def splice(random_: random.Random, text: str, other: str) -> str:
    """The beginning of one spec, some lines or characters of another."""
    if random_.random() < 0.5:
        lines, more = text.split("\n"), other.split("\n")
        start = _place(random_, more)
        place = _place(random_, lines)
        lines[place:place] = more[start : start + random_.randint(1, 6)]
        return "\n".join(lines)
    return text[: random_.randint(0, len(text))] + other[random_.randint(0, len(other)) :]


MUTATIONS: tuple[Callable[[random.Random, str, str], str], ...] = (
    delete_tokens,
    swap_tokens,
    repeat_tokens,
    replace_token,
    replace_token,
    change_number,
    change_number,
    add_noise,
    shuffle_lines,
    drop_line,
    splice,
)


def mutations(count: int, seed: int) -> list[str]:
    """As many texts, each one to four changes away from a good one."""
    random_ = random.Random(seed)
    texts = seeds()
    bad = sorted(BAD_SPECS.glob("*.roll"))
    donors = texts + [path.read_text(encoding="utf-8") for path in bad]
    found = []
    for _ in range(count):
        text = random_.choice(texts)
        for _ in range(random_.choice([1, 1, 1, 2, 2, 3, 4])):
            text = random_.choice(MUTATIONS)(random_, text, random_.choice(donors))
        found.append(text)
    return found


def try_text(text: str, go_on: Callable[[Graph], None] | None = None) -> str:
    """What became of a text: "graph" or "diagnostics"; raises where neither did."""
    source = Source("fuzz.roll", text)
    checked = load_graph(source)
    message = render(checked.diagnostics, checked.source, colour=True)
    assert (checked.graph is None) == has_errors(checked.diagnostics)
    assert bool(message) == bool(checked.diagnostics)
    if checked.spec is not None:
        printed = format_spec(checked.spec)
        assert parse_spec(Source("printed", printed))[0] == checked.spec, "printed otherwise"
    if checked.graph is None:
        return "diagnostics"
    assert verify(checked.graph) == []
    if go_on is not None:
        go_on(checked.graph)
    return "graph"


def build_on(graph: Graph) -> None:
    """What a build makes of a graph, up to the source of its kernels."""
    from rollc.driver.pipeline import compiled
    from rollc.entries.graphs import kernel_graphs
    from rollc.ir.text import parse_graph, print_graph
    from rollc.transforms.unroll import unroll

    assert parse_graph(print_graph(graph)) == graph
    for make in kernel_graphs(graph).values():
        compiled(make(), "float32")
    if len(graph.axes) == 1:
        dag = unroll(graph, 3)
        assert parse_graph(print_graph(dag)) == dag


def run_on(graph: Graph) -> None:
    """Run the kernels that a build makes, as plain Python, and hold them to the interpreter."""
    import numpy as np

    from rollc.autodiff.tangent import DIRECTION
    from rollc.driver.build import kernel_graphs
    from rollc.driver.pipeline import compiled
    from rollc.ir.graph import LEAVES
    from rollc.ir.interpreter import interpret
    from rollc.runtime.kernel import Kernel

    build_on(graph)
    if sum(node.type.size for node in graph.nodes) > 3_000:
        return  # plain Python would take minutes
    sizes = {**dict(zip(graph.axes, (3, 4), strict=False)), "batch": 2, DIRECTION: 5}
    rng = np.random.default_rng(0)
    for entry, make in kernel_graphs(graph).items():
        made = make()
        leaves = {}
        for node in made.nodes:
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            if node.operation in LEAVES - {"constant", "noise"}:
                index = node.type.kind == "index"
                leaves[node.name] = (
                    rng.integers(0, node.type.bound or 1, shape)
                    if index
                    else rng.normal(size=shape)
                )
        expected = interpret(made, leaves, sizes)
        if any(np.any(np.abs(value) >= 1e30) for value in expected.values()):
            continue  # where a number overflows, infinity or NaN depends on the order of a sum
        names = {
            "output": dict(made.outputs),
            "loss": {"loss": made.loss},
            "gradient": dict(made.gradients),
        }
        for steps in (None, 3):
            result = compiled(made, "float64", steps)
            with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
                path = Path(folder) / f"{entry}.py"
                path.write_text(result.source)
                kernel = Kernel(result.program, path, "float64")
                found = kernel.run(leaves, sizes, 2, ("primal", "adjoint", "inputs"))
            for (sort, label), array in found.items():
                value = expected[str(names[sort][label])]
                scale = np.abs(value[np.isfinite(value)]).max(initial=1.0)
                np.testing.assert_allclose(
                    array, value, rtol=1e-7, atol=1e-9 * scale, err_msg=f"{entry} {label}"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--build", action="store_true", help="go on to the kernels")
    parser.add_argument(
        "--run", action="store_true", help="and run them (set NUMBA_DISABLE_JIT=1 for that)"
    )
    arguments = parser.parse_args()
    if arguments.run and os.environ.get("NUMBA_DISABLE_JIT") != "1":
        parser.error("expected NUMBA_DISABLE_JIT=1 in the environment: to compile takes days")
    go_on = run_on if arguments.run else build_on if arguments.build else None
    faulthandler.enable()
    failures = 0
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()
    for number, text in enumerate(mutations(arguments.count, arguments.seed)):
        faulthandler.dump_traceback_later(120, exit=True)
        try:
            outcomes[try_text(text, go_on)] += 1
        except Exception:
            failures += 1
            path = Path(f"fuzz-{arguments.seed}-{number}.roll")
            path.write_text(text, encoding="utf-8", newline="")
            print(f"failed: {path}\n{traceback.format_exc()}", file=sys.stderr)
        faulthandler.cancel_dump_traceback_later()
    took = time.perf_counter() - start
    print(f"{arguments.count} texts in {took:.0f} s: {dict(outcomes)}, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
