"""What a report shows: the texts of all stages, what each pass changed, and what flowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rollc.backends import registry
from rollc.backends.protocol import Source
from rollc.drawing.picture import draw
from rollc.driver.pipeline import Compiled, compiled
from rollc.driver.stages import known_pass, result_text
from rollc.entries.graphs import kernel_graphs
from rollc.entries.passes import CANONICALIZE
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.text import print_graph
from rollc.kernel.remarks.report import print_remarks
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import print_program, print_schedule
from rollc.support.passes import Runner
from rollc.tools.report import origins
from rollc.tools.report.assembly import Code, parsed
from rollc.tools.report.origins import Line
from rollc.transforms.unroll import UnrollError, unroll


@dataclass(frozen=True)
class Given:
    """A network: its spec, its checked graph, and what else its kernels depend on."""

    text: str
    graph: Graph
    dtype: str = "float32"
    steps: int | None = None
    truncate: int | None = None
    combine: str = "sum"
    backend: str | None = None


MOST_UNROLLED = 1500
"""The lines of the longest unrolled graph that is shown."""


@dataclass(frozen=True)
class Pane:
    """A stage: its title, a word on what it is, its text, and its picture (SVG) if it has one."""

    key: str
    title: str
    about: str
    lines: tuple[Line, ...]
    picture: str = ""


@dataclass(frozen=True)
class Change:
    """What a pass made of what it was given; no ``difference`` where it is of another form."""

    name: str
    needs: str
    guarantees: str
    seconds: float
    changed: bool
    difference: tuple[Line, ...]


@dataclass(frozen=True)
class Stages:
    """The spec, its stages and those of one ``kernel``, the graph unrolled over 1, 2 … steps, and
    what the passes did."""

    kernel: str
    compiled: Compiled
    spec: tuple[Line, ...]
    panes: tuple[Pane, ...]
    unrolled: tuple[Pane, ...]
    changes: tuple[Change, ...]


def stages(given: Given, kernel: str | None, steps: int, lengths: bool = False) -> Stages:
    """All stages of a network and one of its kernels; raises :class:`InputError`.

    Without a name it is that of the gradients or outputs, with ``lengths`` of sequences or not.
    ``steps`` are the most that it is unrolled over.
    """
    graph, run = given.graph, Runner(keep=True)
    simplified: Graph = run(CANONICALIZE, graph)
    makers = kernel_graphs(graph, given.truncate, given.combine, run=run)
    default = ("gradient" if "gradient" in makers else "forward") + ".lengths" * lengths
    chosen = kernel or default
    if chosen not in makers:
        known = ", ".join(f"`{name}`" for name in makers)
        raise InputError(f"`{graph.name}` has no `{chosen}` kernel; it has {known}")
    run.records.clear()
    made = compiled(makers[chosen](), given.dtype, given.steps, run, given.backend)
    return Stages(
        chosen,
        made,
        origins.of_spec(given.text),
        (
            _graph(
                "graph",
                "graph",
                "a node for each operation; `h[t-1]` is an edge",
                graph,
                _drawn(graph),
            ),
            _graph("simplified", "simplified", "what the passes on graphs leave", simplified),
            _graph("adjoint", f"{chosen}: graph", "with gradients, if it has any", made.graph),
            *_of_kernel(made, given.dtype),
        ),
        tuple(_unrolled(simplified, steps)),
        tuple(_changes(run)),
    )


def assembly(made: Compiled, dtype: str, backend: str | None = None) -> tuple[Code, ...]:
    """The assembly of a kernel's functions and of the routines that they call.

    Raises :class:`InputError` where there is none, with the reason.
    """
    own = registry.backend(backend)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"kernel{own.suffix}"
        path.write_text(made.source, encoding="utf-8")
        found = own.assembly(Source(made.program, np.dtype(dtype), path, made.source))
    return tuple(parsed(name, text) for name, text in found.items())


def _graph(key: str, title: str, about: str, graph: Graph, picture: str = "") -> Pane:
    return Pane(key, title, about, origins.of_graph(print_graph(graph)), picture)


def _drawn(shown: Graph | Schedule, steps: Mapping[str, int] | None = None) -> str:
    """The picture (SVG) of a graph or of a schedule; "" without Graphviz, or of too many boxes."""
    with suppress(InputError):
        return draw(shown, steps=steps).svg()
    return ""


def _of_kernel(made: Compiled, dtype: str) -> list[Pane]:
    lines = {node.name: (node.line,) for node in made.schedule.graph.nodes if node.line}
    why = print_remarks(made.schedule, made.program, dtype)
    return [
        Pane(
            "schedule",
            "schedule",
            "what is a loop over time, and what is free of it",
            origins.of_graph(print_schedule(made.schedule)),
            _drawn(made.schedule),
        ),
        Pane(
            "why",
            "remarks",
            "what became of each node, and why",
            origins.of_remarks(why, lambda name: lines.get(name, ())),
        ),
        Pane(
            "program",
            "program",
            "statements over buffers",
            origins.of_program(print_program(made.program)),
        ),
        Pane(
            "kernel",
            "kernel",
            "the source that is compiled; underlined where a value is read",
            origins.of_kernel(made.source, (buffer.name for buffer in made.program.buffers)),
        ),
    ]


def _unrolled(graph: Graph, steps: int) -> list[Pane]:
    """The graph over 1, 2 … steps along each axis, as far as it can be and is not too long."""
    panes: list[Pane] = []
    for count in range(1, steps + 1):
        along = dict.fromkeys(graph.axes, count) if len(graph.axes) > 1 else None
        try:
            made = unroll(graph, count)
        except UnrollError:
            break
        picture = _drawn(made) if along is None else _drawn(graph, along)
        pane = _graph(f"dag{count}", f"{count} steps", "", made, picture)
        if len(pane.lines) > MOST_UNROLLED:
            break
        panes.append(pane)
    return panes


def _changes(run: Runner) -> list[Change]:
    """What each pass changed, in the order in which they ran."""
    found = []
    for record in run.records:
        before, after = result_text(record.before), result_text(record.after)
        pass_ = known_pass(record.name)
        lines: Sequence[str] = ()
        alike = type(record.before) is type(record.after)
        if alike and before is not None and after is not None:
            lines = [*unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)][2:]
        difference = tuple(map(origins.of_difference, lines))
        changed = after is not None and before != after
        words = (record.name, pass_.needs, pass_.guarantees)
        found.append(Change(*words, record.seconds, changed, difference))
    return found
