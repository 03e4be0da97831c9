"""What rollc computes for a program in each way that it can be called, held to its meaning.

A *way* gives pairs of what was found and what is right.  All of them take one *case*: a program
with its settings and its numbers.  Programs whose numbers come too close to a border, where
rounding decides, are drawn again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.by_sequence import why_not_by_sequence
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.forward_mode import why_no_hessian
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.ir.time.same_steps import same_steps
from rollc.kernel.interpretation.interpreter import interpret_program
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Program
from rollc.kernel.verification.verifier import verify_any
from rollc.network.network import Network
from rollc.network.noise_draws import draw_noise
from rollc.runtime.kernel import Kernel
from rollc.support.passes import Runner
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.covering import step_leaves
from rollc.transforms.unroll import unroll
from tests.commands.random_programs import language as la
from tests.commands.random_programs.evaluate import Batch, Meaning, Noise, Once
from tests.commands.random_programs.expand import expression_axes
from tests.commands.random_programs.generate import Settings

Array = np.ndarray
Compared = Iterator[tuple[str, Any, Any]]

LEAST_MARGIN = {"float64": 1e-7, "float32": 1e-3}
ROUNDING = {"float64": 1e-10, "float32": 2e-4}


class Unsure(Exception):
    """The numbers are too close to a border, or too large, for a comparison."""


class Different(Exception):
    """rollc computes something else than what is meant."""


@dataclass
class Case:
    """A program, its settings, and numbers for its leaves."""

    program: la.Program
    settings: Settings
    dtype: str = "float64"
    numbers: int = 0  # the seed of the numbers, besides that of the settings

    # rollc's side

    @cached_property
    def text(self) -> str:
        return la.text(self.program)

    @cached_property
    def graph(self) -> Graph:
        settings = self.settings
        return read_spec(self.text, "random.roll", settings.sets, settings.feed)[0]

    def network(
        self,
        truncate: int | None = None,
        steps: int | None = None,
        combine: str = "sum",
        backend: str = "numba",
    ) -> Network:
        key = (truncate, steps, combine, backend)
        if key not in self.networks:
            makers = kernel_graphs(self.graph, truncate, combine)
            kernels: dict[str, Kernel] = {}

            def kernel(entry: str) -> Kernel:
                if entry not in kernels:
                    result = compiled(makers[entry](), self.dtype, steps, backend=backend)
                    path = self.folder / f"kernel_{len(list(self.folder.iterdir()))}.py"
                    path.write_text(result.source, encoding="utf-8")
                    kernels[entry] = Kernel(result.program, path, self.dtype, None, backend)
                return kernels[entry]

            self.networks[key] = Network(self.graph, kernel, self.dtype, steps, truncate)
        return self.networks[key]

    @cached_property
    def networks(self) -> dict[Any, Network]:
        return {}

    @cached_property
    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="random-programs-"))

    def close(self) -> None:
        if "folder" in self.__dict__:
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def random(self) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, self.numbers])

    @cached_property
    def params(self) -> dict[str, Array]:
        found = {}
        for name, array in self.network().init(self.settings.seed).items():
            square = array.ndim == 2 and array.shape[0] == array.shape[1]
            unit = square and np.array_equal(array, np.eye(len(array)))
            noise = self.random.normal(size=array.shape) * (0.1 if unit else 0.4)
            found[name] = (array + noise).clip(-1.5, 1.5).astype(self.dtype)
        return found

    @property
    def learned(self) -> dict[str, Array]:
        specs = self.network().params
        return {name: array for name, array in self.params.items() if not specs[name].frozen}

    @cached_property
    def inputs(self) -> dict[str, Array]:
        net, found = self.network(), {}
        for name, spec in {**net.inputs, **net.targets}.items():
            lead = [self.settings.steps[axis] for axis in spec.time]
            lead += [self.settings.batch] if self.settings.batch is not None else []
            shape = (*lead, *spec.shape)
            if spec.kind == "index":
                found[name] = self.random.integers(spec.bound, size=shape)
            else:
                found[name] = self.random.normal(size=shape).clip(-2, 2).astype(self.dtype)
        return found

    @property
    def steps(self) -> dict[str, int]:
        return self.settings.steps

    @property
    def count(self) -> int:
        return self.settings.batch or 1

    @cached_property
    def lengths(self) -> dict[str, Array]:
        own = {
            axis: self.random.integers(self.random.integers(2), steps + 1, size=self.count)
            for axis, steps in self.steps.items()
        }
        return {axis: own[first] for axis, first in same_steps(self.graph).items()}

    @property
    def given_lengths(self) -> Any:
        own = {
            axis: lengths if self.settings.batch is not None else lengths[0]
            for axis, lengths in self.lengths.items()
        }
        return own if len(own) > 1 else next(iter(own.values()))

    @cached_property
    def noise(self) -> dict[tuple[str, float | None], Noise]:
        """What rollc draws, by whose equation asks for it."""
        sizes = {**self.steps, "batch": self.count}
        graph, settings = self.network().graph, self.settings
        drawn = draw_noise(graph, sizes, settings.seed, settings.training, self.dtype)
        found: dict[tuple[str, float | None], Noise] = {}
        for name, array in drawn.items():
            key = (name.split("'")[0], graph[name].options.get("rate"))
            if key in found:
                raise Unsure(f"`{key[0]}` draws twice, and not by two rates: which is which?")
            numbers = torch.as_tensor(np.asarray(array, np.float64))
            found[key] = Noise(numbers, graph[name].type.axes)
        return found

    @cached_property
    def chance(self) -> dict[str, Any]:
        return {"training": self.settings.training, "seed": self.settings.seed}

    # What is meant

    def meant(
        self, lengths: bool = False, truncate: int | None = None, averaged: bool = False
    ) -> Batch:
        key = (lengths, truncate, averaged)
        if key not in self.meanings:
            settings = self.settings
            meaning = Meaning(self.program, settings.feed, settings.sets, truncate, averaged)
            self.meanings[key] = Batch(
                meaning,
                self.params,
                self.inputs,
                self.steps,
                self.count,
                settings.batch is not None,
                self.lengths if lengths else None,
                self.noise,
            )
        return self.meanings[key]

    @cached_property
    def meanings(self) -> dict[Any, Batch]:
        return {}

    def output(self, batch: Batch, label: str, like: Any) -> Any:
        """An output as rollc gives it: without the batch where all sequences share it."""
        found = batch.output(label)
        place = len(batch.output_axes(label))
        return found.select(place, 0) if np.ndim(like) < found.dim() else found

    # Ways

    def outputs(self, batch: Batch, found: Mapping[str, Any], what: str) -> Compared:
        for label, array in found.items():
            if not label.startswith("state."):
                yield f"{what} output {label}", array, self.output(batch, label, array)

    def gradient(
        self,
        batch: Batch,
        found: Mapping[str, Any],
        of: torch.Tensor,
        what: str,
        wanted: Collection[str] | None = None,
    ) -> Compared:
        right = batch.gradients(of)
        scale = max(
            (float(array.abs().max()) for array in right.values() if array.numel()), default=0
        )
        params = self.network().params
        frozen = {name for name, spec in params.items() if spec.frozen}
        missing = {*(params if wanted is None else wanted)} - found.keys() - frozen
        if missing:
            raise Different(f"{what}: no gradient of {missing}")
        if frozen & found.keys():
            raise Different(f"{what}: a gradient of {frozen & found.keys()}")
        for name, array in found.items():
            if name in right:
                yield f"{what} gradient {name}", array, Scaled(right[name], scale)


@dataclass
class Scaled:
    """What is right, of a gradient whose largest element anywhere is ``scale``."""

    array: Any
    scale: float


def check(case: Case, compared: Compared) -> int:
    """How many arrays were compared; raises :class:`Different`."""
    count = 0
    for what, found, right in compared:
        scale = 0.0
        if isinstance(right, Scaled):
            right, scale = right.array, right.scale
        right = right.detach().numpy() if isinstance(right, torch.Tensor) else np.asarray(right)
        found = np.asarray(found)
        if found.shape != right.shape:
            raise Different(f"{what}: shape {found.shape}, meant {right.shape}")
        if right.dtype.kind != "f":
            if not np.array_equal(found, right):
                raise Different(f"{what}:\n{found}\nmeant\n{right}")
            count += 1
            continue
        if not np.isfinite(right).all():
            raise Unsure(f"{what} is not finite")
        scale = max(1.0, scale, float(np.abs(right).max(initial=0)))
        if scale > 1e6:
            raise Unsure(f"{what} is large")
        error = np.abs(found - right).max(initial=0)
        if not error <= ROUNDING[case.dtype] * scale:
            raise Different(
                f"{what}: {error:.3g} apart, scale {scale:.3g}\n{found}\nmeant\n{right}"
            )
        count += 1
    return count


def _leaves(case: Case) -> dict[str, Any]:
    net = case.network()
    leaves, _ = net._interface.leaves(case.params, case.inputs, case.steps)
    sizes = {**case.steps, "batch": case.count}
    return leaves | draw_noise(
        case.graph, sizes, case.settings.seed, case.settings.training, case.dtype
    )


def interpreter(case: Case) -> Compared:
    """The graph as it was read, simplified, and with its adjoint, all interpreted."""
    batch, leaves = case.meant(), _leaves(case)
    sizes = {**case.steps, "batch": case.count}
    graph, simple = case.graph, canonicalize(case.graph)
    rough = random.Random(case.settings.seed).random() < 0.5
    derived = adjoint(graph) if rough else canonicalize(adjoint(simple))
    # Of a spec without a batch a sequence of one is interpreted.
    for what, built in (("graph", graph), ("simplified", simple), ("adjoint", derived)):
        values = interpret(built, leaves, sizes)
        for label, name in built.outputs:
            right = batch.output(label)
            if "batch" not in built[name].type.axes:
                right = right.select(len(batch.output_axes(label)), 0)
            yield f"{what} output {label}", values[name], right
        assert built.loss is not None
        yield f"{what} loss", values[built.loss], batch.loss()
    found = {}
    for label, name in derived.gradients:
        array = values[name]
        if "batch" in derived[name].type.axes and case.settings.batch is None:
            array = array.take(0, axis=derived[name].type.axes.index("batch"))
        found[label] = array
    yield from case.gradient(batch, found, batch.loss(), what)


def passes(case: Case) -> Compared:
    """What each pass makes on the way to the main kernels, interpreted."""
    batch, leaves = case.meant(), _leaves(case)
    sizes = {**case.steps, "batch": case.count}
    for entry in ("forward", "gradient"):
        run = Runner(keep=True)
        make = kernel_graphs(case.graph, run=run)[entry]
        run.records.clear()  # of what looks which kernels there are
        planned(scheduled(make(), run), run=run)
        for record in run.records:
            if record.before == record.after:
                continue
            what = f"{entry} after {record.name}"
            if flaws := verify_any(record.after):
                raise Different(f"{what}: {flaws[0]}")
            yield from _interpreted(case, batch, record.after, leaves, sizes, what)


def _interpreted(
    case: Case, batch: Batch, made: Any, leaves: dict[str, Any], sizes: dict[str, int], what: str
) -> Compared:
    """A graph or a program; a schedule says no more than its graph."""
    found: dict[tuple[str, str], Any] = {}
    sequences: dict[str, int] = {}  # the dimension of the batch in gradients that have one
    if isinstance(made, Graph):
        values = interpret(made, leaves, sizes)
        found = {("output", label): values[name] for label, name in made.outputs}
        found |= {("gradient", label): values[name] for label, name in made.gradients}
        found |= {} if made.loss is None else {("loss", "loss"): values[made.loss]}
        axes = {label: made[name].type.axes for label, name in made.gradients}
        sequences = {label: own.index("batch") for label, own in axes.items() if "batch" in own}
    elif isinstance(made, Program):
        found = interpret_program(made, leaves, sizes)
        buffers = {one.label: made.buffer(one.ref.buffer) for one in made.results}
        sequences = {label: len(own.axes) for label, own in buffers.items() if own.batch}
    gradients = {}
    for (sort, label), array in found.items():
        if sort == "output":
            yield f"{what} output {label}", array, case.output(batch, label, array)
        elif sort == "loss":
            yield f"{what} loss", array, batch.loss()
        elif label in sequences and case.settings.batch is None:
            gradients[label] = array.take(0, axis=sequences[label])
        else:
            gradients[label] = array
    if gradients:
        yield from case.gradient(batch, gradients, batch.loss(), what)


def reference(case: Case) -> Compared:
    """Kernels on the backend that interprets programs, and some of its other calls."""
    net = case.network(backend="reference")
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    batch = case.meant(lengths=lengths)
    more = {"lengths": case.given_lengths} if lengths else {}
    way = random.Random(case.settings.seed).choice([_called, _pulled])
    yield from way(case, net, batch, "reference", **more)


def _called(case: Case, net: Network, batch: Batch, what: str, **more: Any) -> Compared:
    """Every call of a network: outputs, loss, its gradients, and those of cotangents."""
    given = {**case.chance, **more}
    steps = given.pop("steps", case.steps)
    outputs = net.forward(case.params, case.inputs, steps=steps, **given)
    yield from case.outputs(batch, outputs, f"{what} forward")
    loss, gradients = net.value_and_grad(case.params, case.inputs, steps, **given)
    yield f"{what} loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), f"{what} value_and_grad")


def _pulled(case: Case, net: Network, batch: Batch, what: str, **more: Any) -> Compared:
    if all(spec.kind != "float" for spec in net.outputs.values()):
        return
    given = {**case.chance, **more}
    outputs, pullback = net.vjp(case.params, case.inputs, case.steps, **given)
    yield from case.outputs(batch, outputs, f"{what} vjp")
    random = np.random.default_rng(case.settings.seed)
    cotangents, total = {}, torch.zeros((), dtype=torch.float64)
    for label, array in outputs.items():
        if np.asarray(array).dtype.kind != "f":
            continue
        given_one = random.normal(size=np.shape(array)).astype(case.dtype)
        cotangents[label] = given_one
        meant = case.output(batch, label, array)
        total = total + (meant * torch.as_tensor(given_one, dtype=torch.float64)).sum()
    if cotangents:
        yield from case.gradient(batch, pullback(cotangents), total, f"{what} vjp")


def kernels(case: Case) -> Compared:
    yield from _called(case, case.network(), case.meant(), "kernels")


def pulled(case: Case) -> Compared:
    yield from _pulled(case, case.network(), case.meant(), "kernels")


def moved(case: Case) -> Compared:
    """Derivatives in one direction, weighted: those of the gradient in that direction."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if all(spec.kind != "float" for spec in net.outputs.values()):
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    random = np.random.default_rng(case.settings.seed)
    leaves = {name: case.inputs[name] for name in net.inputs} | case.learned
    tangents = {
        name: random.normal(size=array.shape).astype(case.dtype)
        for name, array in leaves.items()
        if array.dtype.kind == "f"
    }
    outputs, slopes = net.jvp(case.params, case.inputs, tangents, case.steps, **case.chance, **more)
    yield from case.outputs(batch, outputs, "jvp")
    found, total = 0.0, torch.zeros((), dtype=torch.float64)
    for label, array in slopes.items():
        weights = random.normal(size=array.shape)
        found += float((array * weights).sum())
        meant = case.output(batch, label, array)
        total = total + (meant * torch.as_tensor(weights)).sum()
    gradients = batch.gradients(total)
    products = [gradients[name].numpy() * array for name, array in tangents.items()]
    scale = sum(float(np.abs(product).sum()) for product in products)
    meant_slope = sum(float(product.sum()) for product in products)
    yield "jvp slope", found, Scaled(np.asarray(meant_slope), scale)


def second_derivatives(case: Case) -> Compared:
    """Products with the Hessian of the loss, where the program has no derivatives of its own."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if why_no_hessian(case.graph) is not None:
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    random = np.random.default_rng(case.settings.seed)
    leaves = {name: case.inputs[name] for name in net.inputs} | case.learned
    vectors = {
        name: random.normal(size=array.shape).astype(case.dtype)
        for name, array in leaves.items()
        if array.dtype.kind == "f"
    }
    found = net.hvp(case.params, case.inputs, vectors, case.steps, **case.chance, **more)
    try:
        right = batch.products(batch.loss(), vectors)
    except Once as error:
        raise Unsure("numbers that are guarded") from error
    scale = max(
        (float(right[name].abs().max()) for name in found if right[name].numel()), default=0
    )
    for name, array in found.items():
        yield f"hvp {name}", array, Scaled(right[name], scale)


def of_each_sequence(case: Case) -> Compared:
    """The losses and gradients of sequences: their means are those of the batch."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if why_not_by_sequence(case.graph) is not None:
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    losses, found = net.value_and_grad(
        case.params, case.inputs, case.steps, per_sequence=True, **case.chance, **more
    )
    yield "mean of losses", np.mean(losses), batch.loss()
    batched = case.settings.batch is not None
    means = {
        name: array / case.count if name in net.inputs or not batched else array.mean(axis=0)
        for name, array in found.items()
    }
    yield from case.gradient(batch, means, batch.loss(), "mean of")


def loss_alone(case: Case) -> Compared:
    net = case.network()
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    loss = net.loss(case.params, case.inputs, case.steps, **case.chance, **more)
    yield "loss alone", loss, case.meant(lengths=lengths).loss()


def prepared(case: Case) -> Compared:
    """Calls of a network with parameters of its own: the first one, and others."""
    net = case.network()
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    batch, ready = case.meant(lengths=lengths), net.prepare(case.params)
    for what in ("first", "second"):
        outputs = ready.forward(case.inputs, steps=case.steps, **case.chance, **more)
        yield from case.outputs(batch, outputs, f"prepared forward, {what}")
        loss = ready.loss(case.inputs, case.steps, **case.chance, **more)
        yield f"prepared loss, {what}", loss, batch.loss()


def with_lengths(case: Case) -> Compared:
    net = case.network()
    if net._interface.no_lengths is not None:
        return
    batch = case.meant(lengths=True)
    yield from _called(case, net, batch, "lengths", lengths=case.given_lengths)


def pulled_with_lengths(case: Case) -> Compared:
    net = case.network()
    if net._interface.no_lengths is not None:
        return
    batch = case.meant(lengths=True)
    yield from _pulled(case, net, batch, "lengths", lengths=case.given_lengths)


def truncated(case: Case) -> Compared:
    window = case.settings.truncate or 2
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    batch = case.meant(lengths, window)
    more = {"lengths": case.given_lengths} if lengths else {}
    yield from _called(case, case.network(window), batch, f"truncated at {window}", **more)


def averaged(case: Case) -> Compared:
    """Gradients of parameters that are means over the steps."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    truncate = case.settings.truncate
    net, batch = case.network(truncate, combine="mean"), case.meant(lengths, truncate, True)
    way = random.Random(case.settings.seed).choice([_called, _pulled])
    yield from way(case, net, batch, "averaged", **more)


def unrolled(case: Case) -> Compared:
    """Kernels for a number of steps; the graph over two axes, interpreted as a grid."""
    if len(case.steps) > 1:
        yield from _grid(case)
        return
    (steps,) = case.steps.values()
    yield from _called(case, case.network(None, steps), case.meant(), "unrolled")


def _grid(case: Case) -> Compared:
    batch, graph = case.meant(), canonicalize(adjoint(canonicalize(case.graph)))
    dag = unroll(graph, case.steps)
    sizes = {**case.steps, "batch": case.count}
    values = interpret(dag, step_leaves(dag, _leaves(case)), sizes)
    yield "unrolled loss", values[dag.loss or ""], batch.loss()
    copies, found = dict(dag.gradients), {}
    for label, name in graph.gradients:
        axes = graph[name].type.axes
        time = [axis for axis in axes if axis != "batch"]
        mark = "" if len(time) > 1 else "".join(time)
        counts = [case.steps[axis] for axis in time]
        places = np.ndindex(*counts)
        steps = [label + "".join(f".{mark}{step}" for step in place) for place in places]
        array = np.stack([values[copies[step]] for step in steps])
        array = array.reshape((*counts, *array.shape[1:]))
        one = case.settings.batch is None and "batch" in axes
        found[label] = array.take(0, axis=len(time)) if one else array
    yield from case.gradient(batch, found, batch.loss(), "unrolled")


def windowed(case: Case) -> Compared:
    batch = case.meant()
    every = 1 + case.settings.seed % 3
    try:
        _, run = case.network().windows(
            case.params, case.inputs, case.steps, checkpoint=every, **case.chance
        )
    except InputError:
        return
    loss, gradients = run()
    yield "windows loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), "windows")


def sensitivities(case: Case) -> Compared:
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    batch = case.meant(lengths, truncate)
    more = {"lengths": case.given_lengths} if lengths else {}
    try:
        _, run = case.network(truncate).forward_sensitivities(
            case.params, case.inputs, case.steps, **case.chance, **more
        )
    except InputError:
        return
    loss, gradients = run()
    yield "sensitivities loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), "sensitivities")


def _whole(case: Case, axis: str) -> bool:
    """Whether something is computed from all steps along an axis, or by chance."""
    found = case.meant().meaning.found
    settled = case.meant().meaning.settled
    again = [start for name in found.resets for start in found.starts(name)]
    for value in [*found.values.values(), *found.resets.values(), *again]:
        for part in la.walk(value.expression):
            if isinstance(part, la.Call) and part.function in ("first", "last"):
                return True
            over = part.over if isinstance(part, la.Call) else None
            if over is not None and settled.get(over, over) == axis:
                return True
    return _by_chance(case)


def _has_every(expression: la.Expression) -> bool:
    return any(
        isinstance(part, la.Call) and part.function == "stop" and part.options
        for part in la.walk(expression)
    )


def chosen(case: Case) -> Compared:
    """Gradients of some of the parameters and inputs."""
    net, batch = case.network(), case.meant()
    picked = random.Random(case.settings.seed)
    names = [name for name in batch.gradients(batch.loss()) if name not in net.targets]
    some = picked.sample(names, picked.randint(1, len(names))) if names else []
    inputs = {*net.inputs}
    wrt, wanted = picked.choice(
        [
            (some, {*some}),
            ("params", {*names} - inputs),
            ([*some, "inputs"], {*some, *inputs.intersection(names)}),
        ]
    )
    loss, gradients = net.value_and_grad(
        case.params, case.inputs, case.steps, wrt=wrt, **case.chance
    )
    yield "chosen loss", loss, batch.loss()
    if gradients.keys() != wanted:
        raise Different(f"chosen gradients {sorted(gradients)}, meant {sorted(wanted)}")
    yield from case.gradient(batch, gradients, batch.loss(), "chosen", wanted)


def without_steps(case: Case) -> Compared:
    """No steps along an axis: initial values, and outputs without rows."""
    if _by_chance(case):
        return
    picked = random.Random(case.settings.seed)
    axes = {*picked.sample(sorted(case.steps), picked.randint(1, len(case.steps)))}
    same = same_steps(case.graph)
    axes = {axis for axis in case.steps if same[axis] in {same[each] for each in axes}}
    steps = {axis: 0 if axis in axes else count for axis, count in case.steps.items()}
    net, inputs = case.network(), {}
    for name, spec in {**net.inputs, **net.targets}.items():
        kept = tuple(slice(0 if axis in axes else None) for axis in spec.time)
        inputs[name] = case.inputs[name][kept]
    batched, meaning = case.settings.batch is not None, case.meant().meaning
    batch = Batch(
        meaning, case.params, inputs, steps, case.count, batched, None, case.noise, case.meant()
    )
    found, what = meaning.found, "without steps"
    for names, loss in ((found.outputs, False), ((), True)):
        defined = not _reads(case, names, loss, lambda part: _needs_steps(case, part, axes), axes)
        try:
            if not loss:
                yield from case.outputs(
                    batch, net.forward(case.params, inputs, steps=steps), f"{what} forward"
                )
            else:
                value, gradients = net.value_and_grad(case.params, inputs, steps)
                yield f"{what} loss", value, batch.loss()
                yield from case.gradient(batch, gradients, batch.loss(), what)
        except InputError as error:
            if defined:
                raise Different(f"{what}: {error}") from error
            continue
        if not defined:
            raise Different(f"{what}: a mean or an extreme of nothing is a number")


def without_sequences(case: Case) -> Compared:
    """A batch of nothing: what sequences share, and a loss only if they share that."""
    if case.settings.batch is None or not case.inputs or _by_chance(case):
        return
    net, batch = case.network(), case.meant()
    specs = {**net.inputs, **net.targets}
    inputs = {
        name: array.take([], axis=len(specs[name].time)) for name, array in case.inputs.items()
    }
    what = "without sequences"
    for label, array in net.forward(case.params, inputs, steps=case.steps).items():
        right, place = batch.output(label), len(batch.output_axes(label))
        shared = array.ndim < right.dim()
        yield (
            f"{what} output {label}",
            array,
            right.select(place, 0) if shared else right.narrow(place, 0, 0),
        )
    said = _said(case)

    def is_of_sequences(part: la.Expression) -> bool:
        return isinstance(part, la.Name) and (part.name in specs or part.name in said)

    defined = not _reads(case, (), True, is_of_sequences)
    try:
        loss, _ = net.value_and_grad(case.params, inputs, case.steps)
        yield f"{what} loss", loss, batch.loss()
    except InputError as error:
        if defined:
            raise Different(f"{what}: {error}") from error
        return
    if not defined:
        raise Different(f"{what}: a mean of nothing is a number")


def _said(case: Case) -> set[str]:
    """What a network that runs free says, and reads again: each sequence has its own."""
    found = case.meant().meaning.found
    names = {found.named(part.name) for part in found.said if isinstance(part, la.Name)}
    others = [part for part in found.said if not isinstance(part, la.Name)]
    for name, value in found.values.items():
        if any(part in others for part in la.walk(value.expression)):
            names.add(name)

    def is_read_again(name: str) -> bool:
        parts = la.walk(found.values[name].expression)
        read = [part.name for part in parts if isinstance(part, la.Name)]
        return _reads(case, read, False, lambda part: part == la.Name(name))

    return {name for name in names & found.values.keys() if is_read_again(name)}


def _reads(
    case: Case,
    names: Iterable[str],
    loss: bool,
    wanted: Callable[[la.Expression], bool],
    empty: Collection[str] = (),
) -> bool:
    """Whether what some values, or the loss, are computed from has such a part.

    What runs over an axis without a step is not computed.
    """
    meaning = case.meant().meaning
    found = meaning.found
    waiting: list[la.Expression] = [la.Name(name) for name in names]
    if loss:
        assert found.loss is not None
        waiting.append(found.loss.expression)
    seen: set[str] = set()
    while waiting:
        part = waiting.pop()
        name = found.named(part.name) if isinstance(part, la.Name) else ""
        axes = expression_axes(part, found, meaning.axes, meaning.settled)
        if isinstance(part, la.Call) and part.function in ("first", "last"):
            (operand,) = part.operands
            inner = expression_axes(operand, found, meaning.axes, meaning.settled)
            if (inner - axes).intersection(empty):  # the initial value, if it has one
                start = found.named(operand.name) if isinstance(operand, la.Name) else ""
                waiting += [value.expression for value in found.starts(start)]
                continue
        if axes.intersection(empty):
            continue
        if wanted(la.Name(name) if name else part):
            return True
        if name and name not in seen:
            seen.add(name)
            read = [each[name] for each in (found.values, found.resets) if name in each]
            waiting += [value.expression for value in (*read, *found.starts(name))]
        waiting += la.parts(part)
    return False


def _needs_steps(case: Case, part: la.Expression, axes: Collection[str]) -> bool:
    if not isinstance(part, la.Call) or part.over is None:
        return False
    axis = case.meant().meaning.settled.get(part.over, part.over)
    return part.function in ("mean", "max", "min") and axis in axes


def _by_chance(case: Case) -> bool:
    return bool(case.noise) and (
        case.settings.training or any(rate is None for _, rate in case.noise)
    )


def stepped(case: Case) -> Compared:
    """Step by step, prepared or not, and in windows that hand the state on."""
    net, batch = case.network(), case.meant()
    inputs = {**case.inputs}
    axes = random.Random(case.settings.seed).sample(sorted(case.steps), len(case.steps))
    possible = (axis for axis in axes if _is_steppable(net, axis))
    axis = next(possible, None)
    if axis is None or _whole(case, axis):
        return
    specs = {**net.inputs, **net.targets}
    along = {name: array for name, array in inputs.items() if axis in specs[name].time}
    static = {name: array for name, array in inputs.items() if not specs[name].time}
    still = {name: array for name, array in inputs.items() if name not in along}
    two = len(case.steps) > 1
    others = {other: count for other, count in case.steps.items() if other != axis} or None
    # Where nothing else tells the batch, an input of the steps does.
    before = (still if two else None) or inputs
    state = net.initial_state(case.params, before, others, axis=axis)
    if two and case.settings.seed % 2 and net._interface.no_lengths is None:
        batch, own = _with_other_lengths(case, axis)
        state = net.initial_state(case.params, before, others, axis=axis, lengths=own)
    if case.settings.batch is not None and not two and not inputs:
        return
    rows: dict[tuple[str, str], list[Any]] = {}
    whole = {} if two else static
    ready = net.prepare(case.params)
    stream = ready.stream(state, axis=axis)
    for step in range(case.steps[axis]):
        now = {
            name: np.take(array, step, axis=specs[name].time.index(axis))
            for name, array in along.items()
        }
        own = {**whole, **now}
        ways = {"prepared step": ready.step(state, own, axis=axis)[0], "stream": stream(own)}
        ways["step by step"], state = net.step(case.params, state, own, axis=axis)
        for what, outputs in ways.items():
            for label, array in outputs.items():
                rows.setdefault((what, label), []).append(array)
    for (what, label), arrays in rows.items():
        axes = batch.output_axes(label)
        found = np.stack(arrays, axes.index(axis)) if axis in axes else arrays[-1]
        yield f"{what} output {label}", found, case.output(batch, label, found)
    real = any(spec.kind == "float" for spec in net.outputs.values())
    cut = any(_has_every(value.expression) for value in batch.meaning.found.values.values())
    if not two and real and not cut:  # borders are counted from the first step of a call
        yield from _in_windows(case, net, batch, axis, along, static)


def _is_steppable(net: Network, axis: str) -> bool:
    try:
        net.axis_of_steps(axis)
    except InputError:
        return False
    return True


def _with_other_lengths(case: Case, axis: str) -> tuple[Batch, dict[str, Any]]:
    """The meaning with all steps along an axis, and lengths along the other; those lengths."""
    (other,) = case.steps.keys() - {axis}
    lengths = {other: case.lengths[other], axis: np.full(case.count, case.steps[axis])}
    batched = case.settings.batch is not None
    batch = case.meanings["other lengths"] = Batch(
        case.meant().meaning,
        case.params,
        case.inputs,
        case.steps,
        case.count,
        batched,
        lengths,
        case.noise,
    )
    return batch, {other: lengths[other] if batched else lengths[other][0]}


def windows_with_lengths(case: Case) -> Compared:
    """Windows that hand the state on, of sequences that end in any of them."""
    net = case.network()
    plain = net._interface.no_state is None and net._interface.no_both is None
    if not plain or len(case.steps) > 1 or not case.inputs or not net.states:
        return
    if net._interface.no_lengths is not None or all(
        s.kind != "float" for s in net.outputs.values()
    ):
        return
    (axis,) = case.steps
    batch = case.meant(lengths=True)
    every = any(_has_every(value.expression) for value in batch.meaning.found.values.values())
    if _whole(case, axis) or every:
        return
    specs = {**net.inputs, **net.targets}
    along = {name: array for name, array in case.inputs.items() if specs[name].time}
    static = {name: array for name, array in case.inputs.items() if not specs[name].time}
    yield from _in_windows(case, net, batch, axis, along, static, case.lengths[axis])


def _in_windows(
    case: Case,
    net: Network,
    batch: Batch,
    axis: str,
    along: Any,
    static: Any,
    lengths: Array | None = None,
) -> Compared:
    """Windows with their pullbacks, chained from the last to the first."""
    steps, every = case.steps[axis], 1 + case.settings.seed % 3
    state = net.initial_state(case.params, case.inputs)
    random = np.random.default_rng(case.settings.seed)
    found: dict[str, list[Any]] = {}
    pullbacks, cotangents, total = [], [], torch.zeros((), dtype=torch.float64)
    for start in range(0, steps, every):
        inputs = {name: array[start : start + every] for name, array in along.items()}
        size = min(every, steps - start)
        own = None if lengths is None else (lengths - start).clip(0, size)
        own = own if own is None or case.settings.batch is not None else own[0]
        results, pullback = net.vjp(
            case.params,
            {**inputs, **static},
            size,
            state=state,
            lengths=own,
            seed=case.settings.seed,
        )
        state = {name: results[f"state.{name}"] for name in state}
        seeds = {}
        for label in net.outputs:
            array = np.asarray(results[label])
            if not net.outputs[label].time:
                return
            found.setdefault(label, []).append(array)
            if array.dtype.kind == "f":
                seeds[label] = random.normal(size=array.shape).astype(case.dtype)
                right = case.output(batch, label, array)[start : start + size]
                total = total + (right * torch.as_tensor(seeds[label], dtype=torch.float64)).sum()
        pullbacks.append(pullback)
        cotangents.append(seeds)
    for label, arrays in found.items():
        joined = np.concatenate(arrays)
        yield f"in windows output {label}", joined, case.output(batch, label, joined)
    if batch.meaning.found.inits or batch.meaning.found.borders or not any(cotangents):
        return
    passed: dict[str, Any] = {}
    sums: dict[str, Any] = {}
    pieces: dict[str, list[Any]] = {}
    for pullback, seeds in zip(reversed(pullbacks), reversed(cotangents), strict=True):
        gradients = pullback({**seeds, **passed})
        passed = {name: each for name, each in gradients.items() if name.startswith("state.")}
        for name, each in gradients.items():
            if name in along:
                pieces.setdefault(name, []).insert(0, each)
            elif name not in passed:
                sums[name] = sums.get(name, 0) + each
    joined = {name: np.concatenate(each) for name, each in pieces.items()}
    yield from case.gradient(batch, {**sums, **joined}, total, "in windows vjp")


Way = Callable[[Case], Compared]
WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        interpreter,
        kernels,
        pulled,
        loss_alone,
        prepared,
        moved,
        second_derivatives,
        of_each_sequence,
        with_lengths,
        pulled_with_lengths,
        truncated,
        averaged,
        unrolled,
        windowed,
        sensitivities,
        stepped,
        windows_with_lengths,
        chosen,
        without_steps,
        without_sequences,
        passes,
        reference,
    )
}


def ways_of(settings: Settings) -> list[str]:
    """The interpreter, and some more that the seed picks."""
    chosen = random.Random(settings.seed + 1)
    return ["interpreter", *chosen.sample([name for name in WAYS if name != "interpreter"], 2)]


def run(
    program: la.Program,
    settings: Settings,
    ways: list[str],
    dtype: str = "float64",
    tries: int = 3,
) -> int:
    """Compare; how many arrays were.  Raises what went wrong, or :class:`Unsure`."""
    for numbers in range(tries):
        case = Case(program, settings, dtype, numbers)
        try:
            case.meant().loss()
            for label in case.meant().meaning.found.outputs:
                case.meant().output(label)
            _need_margin(case)
            return sum(_checked(case, name) for name in ways)
        except Unsure:
            if numbers == tries - 1:
                raise
        finally:
            case.close()
    raise AssertionError


def _checked(case: Case, name: str) -> int:
    try:
        found = check(case, WAYS[name](case))
    except Different:
        _need_margin(case)
        raise
    _need_margin(case)
    return found


def _need_margin(case: Case) -> None:
    least = min(batch.margin.least for batch in case.meanings.values())
    if least < LEAST_MARGIN[case.dtype]:
        raise Unsure(f"{least:.2g} from a border")
