"""A built network: what a user calls.

Arrays are NumPy's, time first: ``[T, B, ...]``, or ``[T, ...]`` without a batch.  Static
inputs have no time.  What is missing or misshapen is named, with the shape expected and
the one found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.errors import InputError
from rollc.graph.graph import BATCH, Graph, Node
from rollc.parameters import initial_parameters

Array = NDArray[Any]
Arrays = Mapping[str, ArrayLike]

STATE = "state."


class Runnable(Protocol):
    """What a network asks of its kernels."""

    def run(
        self, leaves: Mapping[str, Array], steps: int, batch: int, phases: Sequence[str]
    ) -> dict[tuple[str, str], Array]: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """What an array must be.

    ``shape`` is the shape at one step of one sequence; ``time`` and ``batch`` say whether
    the array has those dimensions in front.  ``bound`` is the number of values that an
    index may take.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    time: bool
    batch: bool
    bound: int | None = None

    def dimensions(self, batched: bool = True) -> tuple[str | int, ...]:
        """The dimensions in words: ``("T", "B", 3)``."""
        lead = [*(["T"] if self.time else []), *(["B"] if self.batch and batched else [])]
        return (*lead, *self.shape)


def _spec(node: Node, dtype: str) -> Spec:
    kinds = {"float": dtype, "index": "int64", "bool": "bool"}
    return Spec(
        node.name,
        node.type.kind,
        node.type.shape,
        kinds[node.type.kind],
        bool(node.type.time),
        BATCH in node.type.axes,
        node.type.bound,
    )


@dataclass(frozen=True, slots=True)
class _Sizes:
    steps: int
    batch: int
    batched: bool  # whether the caller's arrays have the batch dimension


class Network:
    """A network with its kernels, for one precision and one set of sizes.

    ``params``, ``inputs``, ``targets`` and ``outputs`` describe the arrays by name;
    ``steps`` is the number of steps that it was built for, None for any number.
    """

    def __init__(
        self,
        graph: Graph,
        kernel: Callable[[str], Runnable],
        dtype: str = "float32",
        steps: int | None = None,
    ) -> None:
        self.graph = graph
        self.name = graph.name
        self.dtype = dtype
        self.steps = steps
        self._kernel = kernel
        self.params = {node.name: _spec(node, dtype) for node in graph.leaves("param")}
        self.inputs = {node.name: _spec(node, dtype) for node in graph.leaves("input")}
        self.targets = {node.name: _spec(node, dtype) for node in graph.leaves("target")}
        self.outputs = {label: _spec(graph[name], dtype) for label, name in graph.outputs}
        self.states = {
            node: Spec(
                node,
                graph[node].type.kind,
                (reach.past, *graph[node].type.shape),
                dtype if graph[node].type.kind == "float" else "int64",
                time=False,
                batch=BATCH in graph[node].type.axes,
                bound=graph[node].type.bound,
            )
            for node, reach in graph.reach.items()
        }

    def __repr__(self) -> str:
        steps = "any number of" if self.steps is None else self.steps
        return f"<Network {self.name}: {self.dtype}, {steps} steps>"

    def init(self, seed: int = 0) -> dict[str, Array]:
        """Initial parameters, drawn from ``seed`` as the spec's initialisers say."""
        return initial_parameters(self.graph, seed, self.dtype)

    def forward(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        state: Arrays | None = None,
        steps: int | None = None,
    ) -> dict[str, Array]:
        """The outputs, by name.  Targets are not needed.

        ``steps`` is the number of steps where no input tells it.  ``state`` (see
        :meth:`initial_state`) replaces the initial values; the state after the last step
        is then among the results as ``state.NAME``.
        """
        entry = "forward" if state is None else "stream"
        leaves, sizes = self._checked(params, inputs or {}, steps, state, need_targets=False)
        results = self._kernel(entry).run(leaves, sizes.steps, sizes.batch, ("primal",))
        return self._outputs(results, sizes)

    def loss(self, params: Arrays, inputs: Arrays, steps: int | None = None) -> float:
        """The loss, without gradients."""
        self._need_loss()
        leaves, sizes = self._checked(params, inputs, steps)
        results = self._kernel("gradient").run(leaves, sizes.steps, sizes.batch, ("primal",))
        return float(results["loss", "loss"])

    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        wrt: Sequence[str] = ("params", "inputs"),
    ) -> tuple[float, dict[str, Array]]:
        """The loss and its gradients, by the names of parameters and inputs.

        A parameter's gradient is the sum over all steps, of the mean over the batch.
        Without ``"inputs"`` in ``wrt`` the inputs' gradients are not computed.
        """
        self._need_loss()
        leaves, sizes = self._checked(params, inputs, steps)
        phases = ["primal", "adjoint", *(["inputs"] if "inputs" in wrt else [])]
        results = self._kernel("gradient").run(leaves, sizes.steps, sizes.batch, phases)
        return float(results["loss", "loss"]), self._gradients(results, sizes, wrt)

    def vjp(
        self, params: Arrays, inputs: Arrays | None = None, steps: int | None = None
    ) -> tuple[dict[str, Array], Callable[[Arrays], dict[str, Array]]]:
        """The outputs, and a function from their cotangents to gradients.

        The function takes arrays of the outputs' shapes, by name (those left out are
        zero), and returns the gradients of parameters and inputs.
        """
        leaves, sizes = self._checked(params, inputs or {}, steps, need_targets=False)
        kernel = self._kernel("forward")
        outputs = self._outputs(kernel.run(leaves, sizes.steps, sizes.batch, ("primal",)), sizes)

        def pullback(cotangents: Arrays) -> dict[str, Array]:
            given = dict(leaves)
            for label in cotangents:
                if label not in self.outputs:
                    raise InputError(_unknown("cotangent", label, self.outputs))
            for label, name in self.graph.outputs:
                spec = self.outputs[label]
                if spec.kind != "float":
                    continue
                shape = _shape(spec, sizes)
                array = np.zeros(shape, dtype=self.dtype)
                if label in cotangents:
                    array = array + _fitting(f"cotangent `{label}`", cotangents[label], spec, sizes)
                leaf = f"~{name}:seed"
                given[leaf] = given[leaf] + array if leaf in given else array
            phases = ("primal", "adjoint", "inputs")
            results = self._kernel("vjp").run(given, sizes.steps, sizes.batch, phases)
            return self._gradients(results, sizes, ("params", "inputs"))

        return outputs, pullback

    def initial_state(self, params: Arrays, inputs: Arrays | None = None) -> dict[str, Array]:
        """The state before the first step: for each delayed value its last values.

        An array is ``[depth, B, ...]`` (``[depth, ...]`` without a batch), the oldest step
        first, with as many rows as the longest delay.  ``inputs`` gives static inputs if
        initial values read them, or any inputs from which the batch can be told.
        """
        from rollc.interp import initial_values

        self._need_stream()
        # Any number of steps does; of an input over time the first tell the batch.
        steps = self.steps or 1
        given = {
            name: np.asarray(array)[:steps] if self._is_timed(name) else array
            for name, array in (inputs or {}).items()
            if name in self.inputs
        }
        leaves, sizes = self._checked(params, given, steps, need_inputs=False, need_targets=False)
        values = initial_values(self.graph, leaves, {"t": steps, BATCH: sizes.batch}, self.dtype)
        return {name: self._state_rows(name, values[name], sizes) for name in self.states}

    def _state_rows(self, name: str, value: Array, sizes: _Sizes) -> Array:
        # Inside, the depth comes after the batch; outside, before it.
        if not self.states[name].batch:
            return value
        moved = np.moveaxis(value, 1, 0)
        return np.ascontiguousarray(moved if sizes.batched else moved[:, 0])

    def step(
        self, params: Arrays, state: Arrays, inputs: Arrays | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One step: the outputs and the next state.

        ``inputs`` are those of this one step, without the time dimension (``[B, ...]``, or
        ``[...]``).  Step by step, the outputs are those of :meth:`forward`.
        """
        self._need_stream()
        given = {
            name: np.asarray(array)[None] if self._is_timed(name) else array
            for name, array in (inputs or {}).items()
        }
        results = self.forward(params, given, state=state, steps=1)
        following = {
            label.removeprefix(STATE): array
            for label, array in results.items()
            if label.startswith(STATE)
        }
        outputs = {
            label: results[label][0] if spec.time else results[label]
            for label, spec in self.outputs.items()
        }
        return outputs, following

    # Checks ----------------------------------------------------------------------------

    def _is_timed(self, name: str) -> bool:
        spec = self.inputs.get(name)
        return spec is not None and spec.time

    def _need_loss(self) -> None:
        if self.graph.loss is None:
            raise InputError(f"`{self.name}` has no loss; add `loss …` to its spec")

    def _need_stream(self) -> None:
        future = [name for name, reach in self.graph.reach.items() if reach.future]
        if future:
            raise InputError(
                f"`{self.name}` cannot run step by step: `{future[0]}` is read from the future"
            )

    def _checked(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None,
        state: Arrays | None = None,
        *,
        need_inputs: bool = True,
        need_targets: bool = True,
    ) -> tuple[dict[str, Array], _Sizes]:
        """All leaves as arrays of the right shapes, with time and batch in front."""
        wanted = {**self.inputs, **self.targets}
        for name in params:
            if name not in self.params:
                raise InputError(_unknown("parameter", name, self.params))
        for name in inputs:
            if name not in wanted:
                raise InputError(_unknown("input", name, wanted))
        required = {
            **(self.inputs if need_inputs else {}),
            **(self.targets if need_inputs and need_targets else {}),
        }
        for name, spec in required.items():
            if name not in inputs:
                sort = "target" if name in self.targets else "input"
                raise InputError(f"missing {sort} `{name}`: expected {_words(spec)}")
        if state is not None:
            self._need_stream()
            for name in state:
                if name not in self.states:
                    raise InputError(_unknown("state", name, self.states))
        arrays = {name: _array(f"input `{name}`", array) for name, array in inputs.items()}
        sizes = self._sizes(arrays, wanted, steps, state)
        leaves = {
            name: _fitting(f"input `{name}`", array, wanted[name], sizes)
            for name, array in arrays.items()
        }
        for name, spec in self.params.items():
            if name not in params:
                raise InputError(f"missing parameter `{name}`: expected {_words(spec)}")
            leaves[name] = _fitting(f"parameter `{name}`", params[name], spec, sizes)
        for name, spec in self.states.items() if state is not None else ():
            assert state is not None
            if name not in state:
                raise InputError(f"missing state `{name}`: expected {_words(spec)}")
            leaves[STATE + name] = _state(state[name], spec, sizes)
        return leaves, sizes

    def _sizes(
        self,
        arrays: Mapping[str, Array],
        specs: Mapping[str, Spec],
        steps: int | None,
        state: Arrays | None,
    ) -> _Sizes:
        """The number of steps and of sequences, from the first array that tells them."""
        batched: bool | None = None
        batch: int | None = None
        found: int | None = None
        told = "`steps`"
        if steps is not None:
            found = int(steps)
        for name, array in arrays.items():
            spec = specs[name]
            full = len(spec.dimensions())
            if array.ndim not in (full, full - int(spec.batch)):
                raise InputError(
                    f"input `{name}`: expected {_words(spec)}, found {_brackets(array.shape)}"
                )
            if spec.batch and batched is None:
                batched = array.ndim == full
                batch = array.shape[int(spec.time)] if batched else 1
            if spec.time and found is None:
                found, told = array.shape[0], f"`{name}`"
            elif spec.time and array.shape[0] != found:
                raise InputError(
                    f"input `{name}` has {array.shape[0]} steps, but {told} has {found}"
                )
        if batched is None and state:
            for name, array_like in state.items():
                spec = self.states[name]
                if spec.batch:
                    array = np.asarray(array_like)
                    batched = array.ndim == len(spec.shape) + 1
                    batch = array.shape[1] if batched else 1
                    break
        if found is None:
            found = self.steps
        if found is None:
            raise InputError("no input tells the number of steps: give `steps`")
        if found < 1 or (batch is not None and batch < 1):
            raise InputError(f"expected at least one step and one sequence, found {found} steps")
        if self.steps is not None and found != self.steps:
            raise InputError(f"built for {self.steps} steps, found {found}")
        return _Sizes(found, batch or 1, bool(batched))

    # Results ---------------------------------------------------------------------------

    def _outputs(self, results: Mapping[tuple[str, str], Array], sizes: _Sizes) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for (sort, label), array in results.items():
            if sort != "output":
                continue
            if label in self.outputs:
                found[label] = _given_back(array, self.outputs[label], sizes)
            else:
                found[label] = self._state_rows(label.removeprefix(STATE), array, sizes)
        return found

    def _gradients(
        self, results: Mapping[tuple[str, str], Array], sizes: _Sizes, wrt: Sequence[str]
    ) -> dict[str, Array]:
        specs = {
            **(self.params if "params" in wrt else {}),
            **(self.inputs if "inputs" in wrt else {}),
        }
        return {
            label: _given_back(array, specs[label], sizes)
            for (sort, label), array in results.items()
            if sort == "gradient" and label in specs
        }


def _given_back(array: Array, spec: Spec, sizes: _Sizes) -> Array:
    """An array as the caller gave his: without the batch if he had none."""
    if spec.batch and not sizes.batched:
        return array[:, 0] if spec.time else array[0]
    return array


def _shape(spec: Spec, sizes: _Sizes) -> tuple[int, ...]:
    lead = [*([sizes.steps] if spec.time else []), *([sizes.batch] if spec.batch else [])]
    return (*lead, *spec.shape)


def _array(what: str, value: ArrayLike) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{what}: not an array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}: expected numbers, found {array.dtype}")
    return array


def _fitting(what: str, value: ArrayLike, spec: Spec, sizes: _Sizes) -> Array:
    """An array of the shape with time and batch, of the right dtype and range."""
    array = _array(what, value)
    shape = _shape(spec, sizes)
    bare = shape
    if spec.batch and not sizes.batched:
        bare = (*shape[: int(spec.time)], *spec.shape)
    if array.shape != bare:
        raise InputError(
            f"{what}: expected {_words(spec, sizes.batched)}"
            f" with shape {_brackets(bare)}, found {_brackets(array.shape)}"
        )
    if spec.kind == "index":
        return _indices(what, array, spec).reshape(shape)
    return np.ascontiguousarray(array, dtype=spec.dtype).reshape(shape)


def _indices(what: str, array: Array, spec: Spec) -> Array:
    if array.dtype.kind not in "iub":
        raise InputError(f"{what}: expected integers, found {array.dtype}")
    if array.size and spec.bound is not None:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= spec.bound:
            wrong = low if low < 0 else high
            raise InputError(f"{what}: expected 0 to {spec.bound - 1}, found {wrong}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _state(value: ArrayLike, spec: Spec, sizes: _Sizes) -> Array:
    what = f"state `{spec.name}`"
    array = _array(what, value)
    depth, *own = spec.shape
    batch = [sizes.batch] if spec.batch and sizes.batched else []
    expected = (depth, *batch, *own)
    if array.shape != expected:
        raise InputError(f"{what}: expected {_brackets(expected)}, found {_brackets(array.shape)}")
    if spec.kind == "index":
        array = _indices(what, array, spec)
    if spec.batch:
        array = array if sizes.batched else array[:, None]
        array = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(array, dtype=spec.dtype)


def _words(spec: Spec, batched: bool = True) -> str:
    dimensions = ", ".join(map(str, spec.dimensions(batched)))
    kind = f"index below {spec.bound}" if spec.kind == "index" else spec.kind
    return f"{kind} [{dimensions}]"


def _brackets(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _unknown(sort: str, name: object, known: Mapping[str, Spec]) -> str:
    names = ", ".join(f"`{other}`" for other in known) or "none"
    return f"unknown {sort} `{name}`: expected {names}"
