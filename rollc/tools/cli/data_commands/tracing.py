"""``trace``: how large values and gradients are from step to step."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.artefact import open_artefact
from rollc.driver.sources import read_spec
from rollc.driver.trained import open_run
from rollc.errors import InputError
from rollc.network.definition import Definition
from rollc.network.diagnosis.flow import Flow
from rollc.network.diagnosis.not_finite import NotFinite, first_not_finite
from rollc.network.evaluation import Evaluation, evaluation_of
from rollc.network.interface import interface_of
from rollc.network.network import Network
from rollc.network.pairs.network import in_pairs, with_complex_arrays
from rollc.support.chart import Point, chart
from rollc.tools import console, files
from rollc.tools.cli import effect, sources
from rollc.tools.cli.data_commands.arrays import as_kept, columns_of, load, need_inputs
from rollc.tools.cli.data_commands.networks import values_of
from rollc.tools.cli.data_commands.trained import reading as reading_of
from rollc.tools.cli.options import READING
from rollc.tools.datafiles import names as names_of
from rollc.training.data.preparation import Preparation
from rollc.training.runs.run_folder import is_run

if TYPE_CHECKING:
    from rollc.lang.elaboration.expressions import Feed
    from rollc.runtime.kernel import Kernel

Array = NDArray[np.float64]

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH, _NARROWEST = 32, 8  # of a curve in the terminal
_FAR = 1e3  # a gradient that changes by so much between two ends vanishes or explodes


def trace(spec: str, names: tuple[str, ...], output: str | None, form: str, **given: Any) -> None:
    """Print the norms of values and gradients at the steps, or write their picture."""
    files.check_outputs(output, keep=read_files(spec, **given), endings=[".svg"])
    case = case_of(spec, **given)
    if not given["inputs"]:
        need_inputs(case.network)
    found = case.flows(names)
    if output is not None:
        files.write_bytes(output, _picture(found, bool(names)))
    if form == "json":
        print(json.dumps([_as_data(flow) for flow in found], indent=2))
        return
    heads = ("value", "line", "axis", "norm", "over the steps", "slope, first", "slope, last")
    width = _curve_width([_row(flow, 1) for flow in found], heads)
    console.table((*heads, "over the steps"), [_row(flow, width) for flow in found])
    for note in verdicts(case, found):
        console.note(note)


def read_files(spec: str, inputs: str | None, params: str | None, **_: Any) -> list[str | None]:
    """What a command reads."""
    return [spec, None if inputs is None or os.path.isdir(inputs) else inputs, params]


@dataclass(frozen=True)
class Case:
    """A network, its parameters, and a user's data."""

    network: Network
    params: Mapping[str, Any]
    arrays: Mapping[str, Any]
    lengths: Any
    steps: int | dict[str, int] | None
    seed: int

    def flows(self, names: tuple[str, ...] = ()) -> tuple[Flow, ...]:
        """The norms of what flows at each step; raises :class:`InputError` where nothing does."""
        network = self.network
        absent = network.targets.keys() - self.arrays.keys()
        if network.graph.loss is not None and absent:
            console.note(f"no gradients: there is no {names_of(sorted(absent))} among the inputs")
        found = network.trace(
            self.params,
            self.arrays,
            self.steps,
            names=names,
            lengths=self.lengths,
            seed=self.seed,
        )
        if not found:
            raise InputError(f"`{network.name}` has no value over time that is a number")
        return found

    def first_not_finite(self) -> NotFinite | None:
        """Where the first number that is none comes from, if there is a loss that has it."""
        if self.network.graph.loss is None or self.network.targets.keys() - self.arrays.keys():
            return None
        return first_not_finite(self.evaluation("float64", targets=True))

    def evaluation(self, dtype: str, targets: bool) -> Evaluation:
        """The call of a kernel in some precision; raises :class:`InputError`."""
        network, parts = in_pairs(self.network)
        free = network.feed == "free"
        interface = interface_of(network.graph, dtype, network.steps, free=free)
        own = Definition(network.graph, _no_kernel, dtype, network.truncate, interface)
        with parts.in_messages():
            params, arrays = parts.split(self.params), parts.split(self.arrays)
            return evaluation_of(
                own,
                params,
                arrays,
                self.steps,
                None,
                self.lengths,
                False,
                self.seed,
                targets=targets,
            )


def case_of(
    spec: str,
    *,
    inputs: str | None,
    params: str | None,
    seed: int,
    steps: int | dict[str, int] | None,
    sets: dict[str, int],
    feed: Feed,
    **reading: Any,
) -> Case:
    """A network, an artefact or a run with a user's data."""
    _, file, _ = read_files(spec, inputs, params)
    files.check_inputs(spec if spec == files.STREAM else None, file, params)
    if inputs is None:
        effect.refuse(READING, "without `--inputs`")
    trained = None
    if is_run(Path(spec)):
        effect.refuse(["sets", "feed"], "on a run, which has its network")
        trained = open_run(Path(spec))
    network = trained.network if trained else _network(spec, sets, feed)
    values = trained.params if trained and not params else values_of(network, params, seed)
    preparation = trained.preparation if trained else Preparation()
    if not inputs:
        return Case(network, values, {}, None, steps, seed)
    options = reading_of(trained, reading) if trained else reading
    columns = as_kept(columns_of(network, options), preparation)
    columns = replace(columns, optional=frozenset(network.targets))
    data = preparation(load(network, inputs, columns).data)
    return Case(network, values, data.arrays, data.lengths, steps, seed)


def verdicts(case: Case, found: Sequence[Flow]) -> list[str]:
    """What is remarkable of flows, a sentence each."""
    wrong = [flow for flow in found if _wrong_steps(flow)]
    said = [_beginning(wrong, case.first_not_finite())] if wrong else []
    changes = [_change(flow) for flow in found if not _wrong_steps(flow)]
    return said + [change for change in changes if change is not None]


def _network(spec: str, sets: Mapping[str, int], feed: Feed) -> Network:
    """A network that is interpreted: no kernel is made for it, but those that an artefact has."""
    if files.is_artefact(spec):
        return open_artefact(sources.open_artefact(spec, sets, "float32", feed))
    source = sources.read_source(spec)
    graph, _ = read_spec(source.text, source.name, sets, feed)
    return with_complex_arrays(Network(graph, _no_kernel, "float64", feed=feed))


def _no_kernel(entry: str) -> Kernel:
    raise AssertionError(entry)


def _curve_width(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> int:
    """The widest curves with which a row fits a terminal, if it is one that reads the table."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return _WIDTH
    fixed = [place for place, head in enumerate(heads) if head != "over the steps"]
    widest = sum(max(len(row[place]) for row in (heads, *rows)) for place in fixed)
    left = shutil.get_terminal_size().columns - widest - 2 * len(heads)
    return max(_NARROWEST, min(_WIDTH, left // 2))


def _row(flow: Flow, width: int) -> tuple[str, ...]:
    norm = f"{float(np.sqrt(np.mean(flow.value**2))):.3g}"
    row = (flow.name, str(flow.line or ""), flow.axis, norm, _curve(flow.value, width))
    if flow.adjoint is None:
        return (*row, "", "", "")
    first, last = flow.adjoint[0], flow.adjoint[-1]
    return (*row, f"{first:.3g}", f"{last:.3g}", _curve(flow.adjoint, width, logarithmic=True))


def _curve(norms: Array, width: int, logarithmic: bool = False) -> str:
    """The norms as bars of eight heights; ``!`` where one is no number or infinite."""
    parts = np.array_split(norms, min(width, norms.size))
    heights = np.array([part.max() if np.isfinite(part).all() else np.nan for part in parts])
    missing = np.isnan(heights)
    sound = ~missing & ((heights > 0) | (not logarithmic))
    if logarithmic:
        heights = np.log(np.where(sound, heights, 1.0))
    if not sound.any():
        return "".join("!" if none else " " for none in missing)
    low = heights[sound].min() if logarithmic else min(0.0, heights[sound].min())
    span = heights[sound].max() - low
    bars = ""
    for height, there, none in zip(heights, sound, missing, strict=True):
        if not there:
            bars += "!" if none else " "
            continue
        bars += _BARS[round((height - low) / span * (len(_BARS) - 1)) if span > 0 else 3]
    return bars


def _wrong_steps(flow: Flow) -> list[tuple[int, str]]:
    """The first step at which the value, and the gradient through it, are no numbers."""
    known = (("the value", flow.value), ("the gradient through", flow.adjoint))
    return [
        (int(np.argmax(~np.isfinite(norms))), what)
        for what, norms in known
        if norms is not None and not np.isfinite(norms).all()
    ]


def _beginning(wrong: Sequence[Flow], first: NotFinite | None) -> str:
    """Where the first number that is none is, and what has others because of it."""
    said = str(first)
    if first is None:
        begins = [
            (step, order) for order, flow in enumerate(wrong) for step, _ in _wrong_steps(flow)
        ]
        flow = wrong[min(begins)[1]]
        (step, what), *_ = _wrong_steps(flow)
        name, said = flow.name, f"{what} `{flow.name}` is no number at step {step} of {flow.axis}"
    else:
        name = first.name
    others = [flow.name for flow in wrong if flow.name != name]
    return f"{said}; because of it also {names_of(others)}" if others else said


def _change(flow: Flow) -> str | None:
    """What is remarkable of a gradient: that it vanishes, or explodes."""
    if not flow.delayed or flow.adjoint is None or flow.adjoint.size < 2:
        return None
    ends = flow.adjoint[0], flow.adjoint[-1]
    if min(ends) <= 0 or max(ends) / min(ends) < _FAR:
        return None
    ratio, steps = ends[0] / ends[1], flow.adjoint.size
    verb = "vanishes" if ratio < 1 else "explodes"
    return (
        f"the gradient through `{flow.name}` {verb}: at the first of {steps} steps it is"
        f" {ratio:.2g} of what it is at the last"
    )


def _picture(found: Sequence[Flow], all_of_them: bool) -> bytes:
    """The norms of the gradients, or of the values where there are none, of what is delayed."""
    shown = [flow for flow in found if flow.delayed or all_of_them] or list(found)
    has_slopes = any(flow.adjoint is not None for flow in shown)
    curves = {}
    for flow in shown:
        norms = flow.adjoint if has_slopes else flow.value
        if norms is not None and (points := _points(norms)):
            curves[flow.name] = points
    if not curves:
        raise InputError("nothing to draw: all norms are zero, or no numbers")
    return chart(curves, "step", "norm of the gradient" if has_slopes else "norm")


def _points(norms: Array) -> list[Point]:
    return [(float(at), float(norm)) for at, norm in enumerate(norms) if 0 < norm < np.inf]


def _as_data(flow: Flow) -> dict[str, Any]:
    def numbers(norms: Array | None) -> list[float | None] | None:
        return None if norms is None else [float(n) if np.isfinite(n) else None for n in norms]

    return {
        "name": flow.name,
        "line": flow.line,
        "axis": flow.axis,
        "delayed": flow.delayed,
        "value": numbers(flow.value),
        "adjoint": numbers(flow.adjoint),
    }
