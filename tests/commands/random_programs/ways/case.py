"""A program with its numbers: what rollc computes, what is meant, and their comparison."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.ir.time.same_steps import same_steps
from rollc.network.network import Network
from rollc.network.noise_draws import draw_noise
from rollc.runtime.kernel import Kernel
from tests.commands.random_programs import language as la
from tests.commands.random_programs.evaluate import Batch, Meaning, Noise
from tests.commands.random_programs.writing.scope import Settings

Array = np.ndarray
Compared = Iterator[tuple[str, Any, Any]]
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
        if isinstance(right, torch.Tensor):  # a part of a conjugate is lazily negative
            right = right.detach().resolve_conj().resolve_neg().numpy()
        right = np.asarray(right)
        found = np.asarray(found)
        if found.shape != right.shape:
            raise Different(f"{what}: shape {found.shape}, meant {right.shape}")
        if right.dtype.kind not in "fc":
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
