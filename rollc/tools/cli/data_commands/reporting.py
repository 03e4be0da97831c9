"""``report``: one page of every stage, and of what flowed on a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollc.backends import registry
from rollc.backends.numba.jit import object_code
from rollc.driver.artefact import checked_graph
from rollc.driver.loop_times import LoopTimes, loop_times
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.tools import console, files
from rollc.tools.cli import effect, sources
from rollc.tools.cli.data_commands.tracing import Case, case_of, read_files, verdicts
from rollc.tools.cli.options import READING
from rollc.tools.report.assembly import Code
from rollc.tools.report.collect import Given, Stages, stages
from rollc.tools.report.collect import assembly as assembly_of
from rollc.tools.report.page import page
from rollc.training.runs.run_folder import RunFolder, is_run

_KEPT = ("dtype", "steps", "truncate", "combine", "backend")  # what an artefact was built with


def report(
    spec: str, output: str, kernel: str | None, unroll: int, assembly: bool | None, **given: Any
) -> None:
    """Write the report of a spec, an artefact or a run."""
    files.check_outputs(output, keep=read_files(spec, **given), endings=[".html"])
    if given["inputs"] is None:
        effect.refuse(["params", "seed", "steps", *READING], "without `--inputs`")
    network = _read(spec, given["sets"], given["feed"])
    case = None if given["inputs"] is None else case_of(spec, **given)
    with console.waiting(f"compiling {spec}"):
        found = stages(network, kernel, unroll, case is not None and case.lengths is not None)
        asked = case is not None if assembly is None else assembly
        code = _assembly(found, network) if asked else "`--assembly` compiles the kernel for it"
        times = "" if case is None else _times(found, network, case)
    peak = None if isinstance(times, str) else operations_a_second(network.dtype)
    flows = () if case is None else case.flows()
    notes = [] if case is None else verdicts(case, flows)
    shown = page(network.graph.name, found, code, times, peak, flows, notes)
    files.write_text(output, shown)


def operations_a_second(dtype: str) -> float:
    """The most that a thread of this machine can do."""
    from rollc.tools.bench.peers import peak

    return peak.operations_a_second(dtype)


def _times(found: Stages, network: Given, case: Case) -> LoopTimes | str:
    """The times of the kernel's parts, or why there are none."""
    entry, _, more = found.kernel.partition(".")
    if entry not in ("forward", "loss", "gradient") or more not in ("", "lengths"):
        return f"the kernel `{found.kernel}` takes more than inputs and parameters"
    if bool(more) != (case.lengths is not None):
        return f"the data have {'no ' * bool(more)}lengths, other than `{found.kernel}`"
    if registry.backend(network.backend).name != "numba" or object_code.interpreted():
        return "kernels are interpreted here"
    try:
        call = case.evaluation(network.dtype, targets=entry != "forward")
        if call.sizes.empty:
            return "there are no steps or no sequences"
        sizes = call.sizes
        program, backend = found.compiled.program, network.backend
        return loop_times(program, network.dtype, call.leaves, sizes.steps, sizes.batch, backend)
    except InputError as error:
        return str(error)


def _assembly(found: Stages, network: Given) -> tuple[Code, ...] | str:
    """The assembly, or why there is none."""
    try:
        return assembly_of(found.compiled, network.dtype, network.backend)
    except InputError as error:
        return str(error)


def _read(spec: str, sets: dict[str, int], feed: Any) -> Given:
    """A network, from wherever it is."""
    folder = RunFolder(Path(spec)).network if is_run(Path(spec)) else Path(spec)
    if files.is_artefact(str(folder)):
        manifest = sources.open_artefact(str(folder), sets, "float32", feed)
        texts = manifest.entry("stages", dict)
        text = manifest.text(texts.get("spec", texts["checked"]))
        own: dict[str, Any] = {name: manifest.entries.get(name) for name in _KEPT}
        return Given(text, checked_graph(manifest), **own)
    source = sources.read_source(spec)
    return Given(source.text, read_spec(source.text, source.name, sets, feed)[0])
