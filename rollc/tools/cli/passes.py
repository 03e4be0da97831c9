"""``passes``, and the times of passes in a build."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from rollc.support import resources
from rollc.tools import console
from rollc.tools.cli import sources

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel
    from rollc.support.passes import Runner

MOST_NAMED = 3  # specs that are named where a pass changes something in few of them


def show(specs: Sequence[str], every: bool) -> None:
    """The list of passes, or in how many kernels of some specs each changes something."""
    from rollc.driver.pipeline import PASSES

    if every:
        specs = (*specs, *(str(path) for path in resources.specs().values()))
    if not specs:
        for pass_ in PASSES:
            print(pass_.name + (" (optional)" if pass_.optional else ""))
            for head, text in (("needs", pass_.needs), ("guarantees", pass_.guarantees)):
                print(fill(text, 100, initial_indent=f"    {head:12}", subsequent_indent=" " * 16))
        return
    kernels: Counter[str] = Counter()
    where: dict[str, dict[str, None]] = defaultdict(dict)
    for spec in specs:
        for name in _changes(spec):
            kernels[name] += 1
            where[name][Path(spec).stem] = None
    rows: list[tuple[str, ...]] = []
    for pass_ in PASSES:
        found = [*where[pass_.name]]
        named = ", ".join(found) if len(found) <= MOST_NAMED else ""
        rows.append((pass_.name, str(len(found)), str(kernels[pass_.name]), named))
    console.table(("pass", "specs", "kernels", "in"), rows)


def _changes(spec: str) -> Iterator[str]:
    """The passes that change something in a spec, once for each kernel in which one does."""
    from rollc.driver.pipeline import compiled
    from rollc.driver.sources import read_source
    from rollc.entries.graphs import kernel_graphs
    from rollc.support.passes import Runner

    source = sources.read_source(spec)
    run = Runner(keep=True)
    graph, _ = read_source(source, run=run)
    makers = kernel_graphs(graph, run=run)
    for name in [name for name in ("forward", "gradient") if name in makers]:
        run.records.clear()
        compiled(makers[name](), "float32", run=run)
        changed = {record.name for record in run.records if record.before != record.after}
        yield from sorted(changed)


def show_timings(run: Runner, kernels: Sequence[Kernel]) -> None:
    """How long each pass took, in the order in which they first ran, and to load kernels."""
    seconds: dict[str, float] = defaultdict(float)
    times: Counter[str] = Counter()
    for record in run.records:
        seconds[record.name] += record.seconds
        times[record.name] += 1
    start = time.perf_counter()
    for kernel in kernels:
        assert kernel.functions
    seconds["load"], times["load"] = time.perf_counter() - start, len(kernels)
    rows = [(name, str(times[name]), f"{1000 * took:.1f}") for name, took in seconds.items()]
    rows.append(("all", "", f"{1000 * sum(seconds.values()):.1f}"))
    for row in [("pass", "times", "ms"), *rows]:
        console.say(f"{row[0]:22}{row[1]:>6}{row[2]:>10}")
    if not run.records:
        console.note(
            "no pass has run: the network was in the cache (`--no-cache -o DIR` builds anew)"
        )
