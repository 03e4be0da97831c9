"""A built network: what a user calls.

Arrays are NumPy's, time first: ``[T, B, ...]``, or ``[T, ...]`` without a batch.  Static
inputs have no time.  What is missing or misshapen is named, with the shape expected and
the one found.

Every method takes ``lengths``, the number of steps of each sequence (``[B]``): what comes
after them is padding, and changes no output, loss or gradient, whatever it holds.  Outputs
and gradients over time are zero there.

Random numbers come from ``seed``, and equal calls give equal results; a NumPy generator in
its place goes on from call to call.  ``sample`` draws in every call; ``dropout`` is on only
where ``training`` is true, and else gives its operand as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.arrays import (
    Sizes,
    Spec,
    as_array,
    brackets,
    fitting,
    fitting_lengths,
    fitting_state,
    given_back,
    shape_of,
    spec_of,
    unknown,
    without_padding,
    words,
)
from rollc.checkpoint import Plan, Windowed
from rollc.errors import InputError
from rollc.graph.adjoint import seed_name
from rollc.graph.graph import BATCH, Graph
from rollc.graph.lengths import LENGTHS, output_name, why_no_lengths
from rollc.graph.simplify import simplify
from rollc.graph.split import CannotSplit, split
from rollc.graph.state import final_name
from rollc.noise import Seed, draw_noise
from rollc.parameters import initial_parameters

if TYPE_CHECKING:
    from rollc.kernel.compiled import Kernel

Array = NDArray[Any]
Arrays = Mapping[str, ArrayLike]

STATE = "state."


def _behind_outputs(graph: Graph) -> set[str]:
    """Every node that an output reads, directly or not."""
    pending = [name for _, name in graph.outputs]
    found = set(pending)
    while pending:
        for edge in graph[pending.pop()].reads():
            if edge.source not in found:
                found.add(edge.source)
                pending.append(edge.source)
    return found


class Network:
    """A network with its kernels, for one precision and one set of sizes.

    ``params``, ``inputs``, ``targets`` and ``outputs`` describe the arrays by name;
    ``steps`` is the number of steps that it was built for, None for any number; ``fed``
    are the targets that the outputs read (`feed`, taught).
    """

    def __init__(
        self,
        graph: Graph,
        kernel: Callable[[str], Kernel],
        dtype: str = "float32",
        steps: int | None = None,
    ) -> None:
        self.graph = graph
        self.name = graph.name
        self.dtype = dtype
        self.steps = steps
        self._kernel = kernel
        self.params = {node.name: spec_of(node, dtype) for node in graph.leaves("param")}
        self.inputs = {node.name: spec_of(node, dtype) for node in graph.leaves("input")}
        self.targets = {node.name: spec_of(node, dtype) for node in graph.leaves("target")}
        self.fed = {name for name in self.targets if name in _behind_outputs(graph)}
        self.outputs = {label: spec_of(graph[name], dtype) for label, name in graph.outputs}
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
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> dict[str, Array]:
        """The outputs, by name.  Targets are not needed, except those that they are taught by.

        ``steps`` is the number of steps where no input tells it.  ``state`` (see
        :meth:`initial_state`) replaces the initial values; the state after the last step
        is then among the results as ``state.NAME``.
        """
        leaves, sizes = self._checked(
            params, inputs or {}, steps, state, lengths, need_targets=False
        )
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel(_entry("forward", state, lengths))
        return self._outputs(kernel.run(leaves, sizes.steps, sizes.batch, ("primal",)), sizes)

    def loss(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> float:
        """The loss, without gradients."""
        self._need_loss()
        leaves, sizes = self._checked(params, inputs, steps, None, lengths)
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel(_entry("gradient", None, lengths))
        return float(kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))["loss", "loss"])

    @overload
    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        wrt: Sequence[str] = ("params", "inputs"),
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[float, dict[str, Array]]: ...

    @overload
    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        wrt: Sequence[str] = ("params", "inputs"),
        *,
        state: Arrays,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[float, dict[str, Array], dict[str, Array]]: ...

    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        wrt: Sequence[str] = ("params", "inputs"),
        *,
        state: Arrays | None = None,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[float, dict[str, Array]] | tuple[float, dict[str, Array], dict[str, Array]]:
        """The loss and its gradients, by the names of parameters and inputs.

        A parameter's gradient is the sum over all steps, of the mean over the batch.
        Without ``"inputs"`` in ``wrt`` the inputs' gradients are not computed.  With a
        ``state`` the arrays are a window of a longer sequence: the gradients of the state
        are added as ``state.NAME``, and the state after the last step is given back too.
        No gradient of what comes later passes; :meth:`vjp` takes it.
        """
        self._need_loss()
        leaves, sizes = self._checked(params, inputs, steps, state, lengths)
        leaves |= self._noise(sizes, training, seed)
        phases = ["primal", "adjoint", *(["inputs"] if "inputs" in wrt else [])]
        kernel = self._kernel(_entry("gradient", state, lengths))
        results = kernel.run(leaves, sizes.steps, sizes.batch, phases)
        loss = float(results["loss", "loss"])
        gradients = self._gradients(results, sizes, wrt)
        if state is None:
            return loss, gradients
        return loss, gradients, _following(self._outputs(results, sizes))

    def windows(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None = None,
        *,
        checkpoint: int | None = None,
        memory: int | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Plan, Callable[[], tuple[float, dict[str, Array]]]]:
        """Loss and gradients in little memory: a plan, and a function that carries it out.

        The sequence is cut into windows of ``checkpoint`` steps, or as long as ``memory``
        bytes allow.  Only the state between windows is kept, and what is inside a window is
        computed twice; the numbers are those of :meth:`value_and_grad`.  The plan says how
        long the windows are, the bytes that the run will take, and the work that it adds.
        Raises :class:`InputError` where a network cannot run in windows, or not in so few
        bytes.
        """
        self._need_loss()
        if (checkpoint is None) == (memory is None):
            raise InputError("expected either `checkpoint`, a number of steps, or `memory`")
        if self.steps is not None:
            raise InputError("windows need a network for any number of steps")
        leaves, sizes = self._checked(params, inputs, steps)
        leaves |= self._noise(sizes, training, seed)
        graph = simplify(self.graph)
        try:
            run = Windowed(graph, split(graph), self._kernel, self.dtype)
        except CannotSplit as error:
            raise InputError(f"`{self.name}` cannot run in windows: {error}") from None
        if memory is not None:
            plan = run.fitting(sizes.steps, sizes.batch, memory)
        elif checkpoint is not None and checkpoint >= 1:
            plan = run.plan(sizes.steps, sizes.batch, checkpoint)
        else:
            raise InputError(f"expected windows of at least one step, found {checkpoint}")

        def value_and_grad() -> tuple[float, dict[str, Array]]:
            loss, found = run.value_and_grad(leaves, sizes.steps, sizes.batch, plan.steps)
            results = {("gradient", label): array for label, array in found.items()}
            return loss, self._gradients(results, sizes, ("params", "inputs"))

        return plan, value_and_grad

    def vjp(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        steps: int | None = None,
        *,
        state: Arrays | None = None,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], Callable[[Arrays], dict[str, Array]]]:
        """The outputs, and a function from their cotangents to gradients.

        The function takes arrays of the outputs' shapes, by name (those left out are
        zero), and returns the gradients of parameters and inputs.  With a ``state`` the
        state after the last step is among the outputs as ``state.NAME``, and so among
        the cotangents; the gradient of the given state is among the gradients.
        """
        leaves, sizes = self._checked(
            params, inputs or {}, steps, state, lengths, need_targets=False
        )
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel(_entry("forward", state, lengths))
        outputs = self._outputs(kernel.run(leaves, sizes.steps, sizes.batch, ("primal",)), sizes)

        def pullback(cotangents: Arrays) -> dict[str, Array]:
            given = dict(leaves)
            for label in cotangents:
                if label not in outputs:
                    raise InputError(unknown("cotangent", label, outputs))
            for label, name in self.graph.outputs:
                spec = self.outputs[label]
                if spec.kind != "float":
                    continue
                array = np.zeros(shape_of(spec, sizes), dtype=self.dtype)
                if label in cotangents:
                    array = array + fitting(f"cotangent `{label}`", cotangents[label], spec, sizes)
                kept = output_name(name) if spec.time and lengths is not None else name
                leaf = seed_name(kept)
                given[leaf] = given[leaf] + array if leaf in given else array
            for name, spec in self.states.items() if state is not None else ():
                if spec.kind != "float":
                    continue
                value = cotangents.get(STATE + name, np.zeros_like(outputs[STATE + name]))
                leaf = seed_name(final_name(name))
                given[leaf] = fitting_state(f"cotangent `{STATE}{name}`", value, spec, sizes)
            phases = ("primal", "adjoint", "inputs")
            reverse = self._kernel(_entry("vjp", state, lengths))
            results = reverse.run(given, sizes.steps, sizes.batch, phases)
            return self._gradients(results, sizes, ("params", "inputs"))

        return outputs, pullback

    def initial_state(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        *,
        training: bool = False,
        seed: Seed = 0,
    ) -> dict[str, Array]:
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
        leaves |= self._noise(sizes, training, seed)
        values = initial_values(self.graph, leaves, {"t": steps, BATCH: sizes.batch}, self.dtype)
        return {name: self._state_rows(name, values[name], sizes) for name in self.states}

    def _state_rows(self, name: str, value: Array, sizes: Sizes) -> Array:
        # Inside, the depth comes after the batch; outside, before it.
        if not self.states[name].batch:
            return value
        moved = np.moveaxis(value, 1, 0)
        return np.ascontiguousarray(moved if sizes.batched else moved[:, 0])

    def step(
        self,
        params: Arrays,
        state: Arrays,
        inputs: Arrays | None = None,
        *,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One step: the outputs and the next state.

        ``inputs`` are those of this one step, without the time dimension (``[B, ...]``, or
        ``[...]``).  Step by step, the outputs are those of :meth:`forward`.  For new random
        numbers at each step, ``seed`` is a generator, or another number each time.
        """
        self._need_stream()
        given = {
            name: np.asarray(array)[None] if self._is_timed(name) else array
            for name, array in (inputs or {}).items()
        }
        results = self.forward(params, given, state=state, steps=1, training=training, seed=seed)
        outputs = {
            label: results[label][0] if spec.time else results[label]
            for label, spec in self.outputs.items()
        }
        return outputs, _following(results)

    # Checks ----------------------------------------------------------------------------

    def _is_timed(self, name: str) -> bool:
        spec = self.inputs.get(name) or self.targets.get(name)
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

    def _noise(self, sizes: Sizes, training: bool, seed: Seed) -> dict[str, Array]:
        whole = isinstance(seed, int | np.integer) and seed >= 0
        if not whole and not isinstance(seed, np.random.Generator):
            raise InputError(f"`seed`: expected a whole number from 0 on, found {seed!r:.40}")
        axes = {"t": sizes.steps, BATCH: sizes.batch}
        return draw_noise(self.graph, axes, seed, training, self.dtype)

    def _need_lengths(self) -> None:
        why = why_no_lengths(self.graph)
        if why is not None:
            raise InputError(f"`{self.name}` takes no lengths: {why}")

    def _checked(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: int | None,
        state: Arrays | None = None,
        lengths: ArrayLike | None = None,
        *,
        need_inputs: bool = True,
        need_targets: bool = True,
    ) -> tuple[dict[str, Array], Sizes]:
        """All leaves as arrays of the right shapes, with time and batch in front."""
        wanted = {**self.inputs, **self.targets}
        for name in params:
            if name not in self.params:
                raise InputError(unknown("parameter", name, self.params))
        for name in inputs:
            if name not in wanted:
                raise InputError(unknown("input", name, wanted))
        required = {
            **(self.inputs if need_inputs else {}),
            **{
                name: spec
                for name, spec in self.targets.items()
                if need_inputs and (need_targets or name in self.fed)
            },
        }
        for name, spec in required.items():
            if name not in inputs:
                sort = "target" if name in self.targets else "input"
                raise InputError(f"missing {sort} `{name}`: expected {words(spec)}")
        if state is not None:
            self._need_stream()
            for name in state:
                if name not in self.states:
                    raise InputError(unknown("state", name, self.states))
        arrays = {name: as_array(f"input `{name}`", array) for name, array in inputs.items()}
        sizes = self._sizes(arrays, wanted, steps, state)
        own: dict[str, Array] = {}
        if lengths is not None:
            self._need_lengths()
            own[LENGTHS] = fitting_lengths(lengths, sizes)
            arrays = {
                name: without_padding(array, wanted[name], own[LENGTHS], sizes)
                for name, array in arrays.items()
            }
        leaves = {
            name: fitting(f"input `{name}`", array, wanted[name], sizes)
            for name, array in arrays.items()
        }
        for name, spec in self.params.items():
            if name not in params:
                raise InputError(f"missing parameter `{name}`: expected {words(spec)}")
            leaves[name] = fitting(f"parameter `{name}`", params[name], spec, sizes)
        for name, spec in self.states.items() if state is not None else ():
            assert state is not None
            if name not in state:
                raise InputError(f"missing state `{name}`: expected {words(spec)}")
            leaves[STATE + name] = fitting_state(f"state `{name}`", state[name], spec, sizes)
        return {**leaves, **own}, sizes

    def _sizes(
        self,
        arrays: Mapping[str, Array],
        specs: Mapping[str, Spec],
        steps: int | None,
        state: Arrays | None,
    ) -> Sizes:
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
                    f"input `{name}`: expected {words(spec)}, found {brackets(array.shape)}"
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
        return Sizes(found, batch or 1, bool(batched))

    # Results ---------------------------------------------------------------------------

    def _outputs(self, results: Mapping[tuple[str, str], Array], sizes: Sizes) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for (sort, label), array in results.items():
            if sort != "output":
                continue
            if label in self.outputs:
                found[label] = given_back(array, self.outputs[label], sizes)
            else:
                found[label] = self._state_rows(label.removeprefix(STATE), array, sizes)
        return found

    def _gradients(
        self, results: Mapping[tuple[str, str], Array], sizes: Sizes, wrt: Sequence[str]
    ) -> dict[str, Array]:
        specs = {
            **(self.params if "params" in wrt else {}),
            **(self.inputs if "inputs" in wrt else {}),
        }
        found = {
            label: given_back(array, specs[label], sizes)
            for (sort, label), array in results.items()
            if sort == "gradient" and label in specs
        }
        for name in self.states:
            array = results.get(("gradient", STATE + name))
            if array is not None:
                found[STATE + name] = self._state_rows(name, array, sizes)
        return found


def _entry(sort: str, state: object, lengths: object) -> str:
    """The name of a kernel: what it computes, and of which leaves more."""
    if state is not None:
        sort = "stream" if sort == "forward" else f"{sort}.state"
    return sort if lengths is None else f"{sort}.lengths"


def _following(results: Mapping[str, Array]) -> dict[str, Array]:
    """The state after the last step."""
    return {
        label.removeprefix(STATE): array
        for label, array in results.items()
        if label.startswith(STATE)
    }
