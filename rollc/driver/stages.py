"""The text of any stage of the compilation, of a spec and of an artefact.

``syntax``, ``graph``, ``checked`` and ``simplified`` are stages of the network; ``adjoint``,
``tangent``, ``schedule``, ``program``, ``why`` and ``kernel`` are stages of one of its kernels;
``dag`` is the network unrolled, or the graph of a kernel if one is named.  ``why`` has the
optimization remarks for each node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from rollc.driver.artefact import checked_graph
from rollc.driver.artefact_store import Manifest
from rollc.driver.pipeline import PASSES, compiled
from rollc.driver.sources import read_spec
from rollc.entries.stage_graphs import default_kernel, kernel_graph, kernel_steps, stage_graph
from rollc.errors import InputError, StoreError
from rollc.ir.graph import Graph
from rollc.ir.text import is_graph_text, print_graph
from rollc.kernel.program import Program
from rollc.kernel.remarks.report import print_remarks
from rollc.kernel.schedule import Schedule
from rollc.kernel.text import (
    ProgramTextError,
    parse_program,
    parse_schedule,
    print_program,
    print_schedule,
)
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.lang.elaboration.expressions import Feed
from rollc.lang.load import load_graph
from rollc.lang.syntax.formatter import format_spec
from rollc.support.passes import Pass, Runner

STAGES = (
    "syntax",
    "graph",
    "checked",
    "simplified",
    "adjoint",
    "tangent",
    "dag",
    "schedule",
    "program",
    "why",
    "kernel",
)
KERNELS = (
    *("forward", "gradient", "vjp", "stream", "gradient.state", "vjp.state"),
    *("forward.lengths", "gradient.lengths", "vjp.lengths"),
    *("stream.lengths", "gradient.state.lengths", "vjp.state.lengths"),
    *("loss", "loss.state", "loss.lengths", "loss.state.lengths"),
    *("jvp", "jvp.state", "jvp.lengths", "jvp.state.lengths"),
    *("hvp", "hvp.state", "hvp.lengths", "hvp.state.lengths"),
    *("gradient_vjp", "gradient_vjp.state"),
    *("gradient_vjp.lengths", "gradient_vjp.state.lengths"),
    *("by_sequence", "by_sequence.state"),
    *("by_sequence.lengths", "by_sequence.state.lengths"),
)
GRAPH_STAGES = ("graph", "checked", "simplified", "adjoint", "tangent", "dag")
_KERNEL_FILES = {
    "adjoint": "graph",
    "tangent": "graph",
    "schedule": "schedule",
    "program": "program",
    "kernel": "source",
}


@dataclass(frozen=True)
class Choice:
    """Which text to print: the stage, of which kernel, for how many steps, in what type.

    ``nodes`` are those that ``why`` prints, by default all.  ``after`` is the pass whose result is
    printed instead of a stage, that of its last run if there are several; ``without`` are passes
    that are left out.
    """

    stage: str
    kernel: str | None = None
    steps: int | Mapping[str, int] | None = None
    dtype: str = "float32"
    feed: Feed = "taught"
    nodes: tuple[str, ...] = ()
    after: str | None = None
    without: tuple[str, ...] = ()
    backend: str | None = None


def known_pass(name: str) -> Pass:
    """The pass of that name; raises :class:`InputError` where there is none."""
    found = {pass_.name: pass_ for pass_ in PASSES}
    if name not in found:
        near = get_close_matches(name, found, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`rollc passes` lists them"
        raise InputError(f"no pass has the name `{name}`; {hint}")
    return found[name]


def runner(choice: Choice) -> Runner:
    """The runner of the passes for a choice; raises :class:`InputError` for one it cannot omit."""
    for name in choice.without:
        if not known_pass(name).optional:
            optional = ", ".join(f"`{pass_.name}`" for pass_ in PASSES if pass_.optional)
            raise InputError(f"`{name}` cannot be left out; those that can are {optional}")
    return Runner(choice.without, keep=choice.after is not None)


def _after(graph: Graph, choice: Choice) -> str:
    """The text of the result of a pass, on the way to a kernel."""
    assert choice.after is not None
    wanted, run = known_pass(choice.after), runner(choice)
    kernel = _kernel(graph, choice)
    made = _kernel_graph(graph, choice, run)
    compiled(made, choice.dtype, kernel_steps(graph, choice.steps), run, choice.backend)
    found = [record.after for record in run.records if record.name == wanted.name]
    if not found:
        ran = ", ".join(dict.fromkeys(f"`{record.name}`" for record in run.records))
        raise InputError(f"`{wanted.name}` does not run for the kernel `{kernel}`; these do: {ran}")
    text = result_text(found[-1])
    if text is None:
        raise InputError(f"`{wanted.name}` makes several graphs; ask for the pass after it")
    return text


def result_text(value: object) -> str | None:
    """The text of what a pass takes or gives; None for several graphs."""
    match value:
        case Graph():
            return print_graph(value)
        case Schedule():
            return print_schedule(value)
        case Program():
            return print_program(value)
        case str():
            return value
    return None


def of_spec(text: str, name: str, sets: Mapping[str, int], choice: Choice) -> str:
    """A stage of a spec, or of the text of a graph.  Raises :class:`SpecError`.

    The first stages of an erroneous spec are printed as far as it could be read.
    """
    if choice.stage in ("syntax", "graph") and not is_graph_text(text):
        source = Source(name, text)
        read = load_graph(source, sets, choice.feed)
        if choice.stage == "syntax" and read.spec is not None:
            return format_spec(read.spec)
        if choice.stage == "graph" and read.unchecked is not None:
            return print_graph(read.unchecked)
        raise SpecError(read.diagnostics, render(read.diagnostics, read.source), read.source)
    if choice.stage == "syntax":
        raise InputError(f"`{name}` is the text of a graph, which has no syntax to show")
    graph, _ = read_spec(text, name, sets, choice.feed)
    if choice.after is not None:
        return _after(graph, choice)
    if choice.stage in GRAPH_STAGES:
        return print_graph(graph_stage(graph, choice))
    return _kernel_stage(graph, choice)


def of_artefact(manifest: Manifest, choice: Choice) -> str:
    """A stage of a built network: the text in its artefact, or else compiled from its graph."""
    folder = manifest.folder
    stages, kernels = manifest.entry("stages", dict), manifest.entry("kernels", dict)
    graph = checked_graph(manifest)
    built_for = manifest.entries.get("steps")
    if choice.stage in stages:
        return manifest.text(stages[choice.stage])
    kernel_stage = choice.stage == "why" or choice.stage in _KERNEL_FILES
    if kernel_stage and choice.steps in (None, built_for):
        files = kernels.get(_kernel(graph, choice))
        if isinstance(files, dict) and choice.stage == "why":
            planned, program = (manifest.text(files.get(part)) for part in ("schedule", "program"))
            dtype = manifest.entry("dtype", str)
            try:
                return _why(parse_schedule(planned), parse_program(program), dtype, choice)
            except ProgramTextError as error:
                raise StoreError(f"`{folder}` is damaged: {error}") from error
        if isinstance(files, dict):
            return manifest.text(files.get(_KERNEL_FILES[choice.stage]))
    if choice.stage in GRAPH_STAGES:
        return print_graph(graph_stage(graph, choice))
    raise InputError(f"`{folder}` holds no `{choice.stage}` of that kind; give the spec instead")


def graph_stage(graph: Graph, choice: Choice) -> Graph:
    """A stage that is a graph, of a checked graph."""
    return stage_graph(graph, choice.stage, choice.kernel, choice.steps, runner(choice))


def _kernel_stage(graph: Graph, choice: Choice) -> str:
    run, steps = runner(choice), kernel_steps(graph, choice.steps)
    result = compiled(_kernel_graph(graph, choice, run), choice.dtype, steps, run, choice.backend)
    match choice.stage:
        case "why":
            return _why(result.schedule, result.program, choice.dtype, choice)
        case "schedule":
            return print_schedule(result.schedule)
        case "program":
            return print_program(result.program)
        case _:
            return result.source


def _why(planned: Schedule, program: Program, dtype: str, choice: Choice) -> str:
    try:
        return print_remarks(planned, program, dtype, choice.nodes)
    except KeyError as error:
        name = str(error.args[0])
        near = get_close_matches(name, (node.name for node in planned.graph.nodes), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise InputError(f"no value of the kernel has the name `{name}`{hint}") from None


def _kernel_graph(graph: Graph, choice: Choice, run: Runner | None = None) -> Graph:
    return kernel_graph(graph, choice.stage, choice.kernel, run or runner(choice))


def _kernel(graph: Graph, choice: Choice) -> str:
    """The chosen kernel, or a default."""
    return choice.kernel or default_kernel(graph, choice.stage)
