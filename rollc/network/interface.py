"""The arguments of a network's calls: what it takes, and whether a caller gave that.

Everything is looked at before a kernel sees it, and what is missing, unknown or misshapen
is an :class:`InputError` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.errors import InputError
from rollc.ir.graph import Graph, delayed
from rollc.ir.names import STATE, lengths_leaves, state_variant
from rollc.ir.time.same_steps import same_steps
from rollc.ir.traversal import needed_names
from rollc.network import hints
from rollc.network.arrays import (
    Sizes,
    Spec,
    as_array,
    brackets,
    fitting,
    fitting_lengths,
    fitting_state,
    spec_of,
    unknown,
    words,
)
from rollc.support.checks import ANY, mapping, whole
from rollc.transforms.ragged import own_outputs, why_no_lengths
from rollc.transforms.state import expose_state, why_no_state

Array = NDArray[Any]
Arrays = Mapping[str, ArrayLike]
Steps = int | Mapping[str, int]
Lengths = ArrayLike | Mapping[str, ArrayLike]
Alike = tuple[object, ...]

_NO_SIZES = Sizes({}, 1, False)  # of what has no axes


@dataclass(frozen=True)
class Interface:
    """The arrays that a network takes and gives, by name.

    ``axes`` are its time axes, and ``same`` has for each the first one with the same steps;
    ``steps`` is the number of steps that it was built for, None for any number;
    ``fed`` are the targets that the outputs read, ``read`` all that they read,
    ``carried`` what a state after some steps does, and ``learnt`` what the loss does.
    ``states`` are the rows of delayed values, and ``held`` what else a state has: values that are
    the same at every step.  ``variant`` ends the names of the kernels that take such rows, and
    ``beside`` are names of a state that those have no use for.  ``no_state`` and ``no_lengths`` say
    why it takes none, where it does not, and ``no_both`` why not both.
    ``dims`` are the sizes that it was built with.
    ``ragged_outputs`` are the outputs where lengths are given: those that all sequences share
    are each sequence's own then, as far as they change with time.
    """

    name: str
    axes: tuple[str, ...]
    same: Mapping[str, str]
    steps: int | None
    params: dict[str, Spec]
    inputs: dict[str, Spec]
    targets: dict[str, Spec]
    outputs: dict[str, Spec]
    ragged_outputs: dict[str, Spec]
    states: dict[str, Spec]
    held: dict[str, Spec]
    fed: frozenset[str]
    read: frozenset[str]
    carried: frozenset[str]
    learnt: frozenset[str]
    free: bool
    no_state: str | None
    no_lengths: str | None
    no_both: str | None
    dims: tuple[tuple[str, int], ...]
    variant: str = ""
    beside: frozenset[str] = frozenset()
    known: dict[Alike, Sizes] = field(default_factory=dict, compare=False, repr=False)
    """Of the last arrays that were taken as they are: what they are like, and their sizes."""

    def need_state(self) -> None:
        if self.no_state is not None:
            raise InputError(f"`{self.name}` takes no state: {self.no_state}")

    def leaves(
        self,
        params: Arrays,
        inputs: Arrays | None,
        steps: Steps | None = None,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        *,
        need_inputs: bool = True,
        need_targets: bool = True,
    ) -> tuple[dict[str, Array], Sizes]:
        """All leaves as arrays of the right shapes, with time and batch in front."""
        params = mapping("params", params)
        inputs = {} if inputs is None else mapping("inputs", inputs)
        state = state if state is None else mapping("state", state)
        alike = None
        if state is None and lengths is None and steps is None:
            alike = _alike(params, inputs, need_inputs, need_targets)
            if alike is not None and (found := self.known.get(alike)) is not None:
                return {**inputs, **params}, found  # type: ignore[dict-item]
        if state is not None:
            self.need_state()
            state = {name: array for name, array in state.items() if name not in self.beside}
        wanted, kept = {**self.inputs, **self.targets}, {**self.states, **self.held}
        _all_known("parameter", params, self.params)
        _all_known("input", inputs, wanted)
        read = self.read | self.learnt if need_targets else self.read
        if state is not None:
            read |= self.carried
        for name, spec in wanted.items() if need_inputs else ():
            if name in read and name not in inputs:
                sort = "target" if name in self.targets else "input"
                raise InputError(f"missing {sort} `{name}`: expected {words(spec)}")
        if state is not None:
            state = self._of_teacher(state) if self.free else state
            _all_known("state", state, kept)
            for name, spec in kept.items():
                if name not in state:
                    raise InputError(f"missing state `{name}`: expected {words(spec)}")
            if lengths is not None and self.no_both is not None:
                raise InputError(f"`{self.name}` takes no lengths with a state: {self.no_both}")
        arrays = {name: as_array(f"input `{name}`", array) for name, array in inputs.items()}
        sizes = self._sizes(arrays, wanted, steps, state, lengths)
        own = {} if lengths is None else self._lengths(lengths, sizes)
        leaves = {
            name: fitting(f"input `{name}`", array, wanted[name], sizes, own)
            for name, array in arrays.items()
        }
        leaves |= self._parameters(params)
        for name, spec in kept.items() if state is not None else ():
            assert state is not None
            if name in self.held:
                leaves[name] = fitting(f"state `{name}`", state[name], spec, sizes)
            else:
                leaves[STATE + name] = fitting_state(f"state `{name}`", state[name], spec, sizes)
        given = {**inputs, **params}
        if alike is not None and all(leaves[name] is array for name, array in given.items()):
            self.known.clear()
            self.known[alike] = sizes
        names = lengths_leaves(self.axes)
        return leaves | {names[axis]: array for axis, array in own.items()}, sizes

    def parameters(self, params: Arrays) -> dict[str, Array]:
        """The parameters alone, as arrays of the right shapes."""
        params = mapping("params", params)
        _all_known("parameter", params, self.params)
        return self._parameters(params)

    def _parameters(self, params: Arrays) -> dict[str, Array]:
        found = {}
        for name, spec in self.params.items():
            if name not in params:
                raise InputError(f"missing parameter `{name}`: expected {words(spec)}")
            what = f"parameter `{name}`"
            found[name] = fitting(what, params[name], spec, _NO_SIZES, dims=self.dims)
        return found

    def _of_teacher(self, state: Arrays) -> dict[str, ArrayLike]:
        """What is needed of the state of a taught run, which has more of it and longer."""
        found = {
            name: array for name, array in state.items() if name in {**self.states, **self.held}
        }
        for name, spec in self.states.items():
            if name in found:
                array = as_array(f"state `{name}`", found[name])
                found[name] = array[-spec.shape[0] :] if array.ndim else array
        return found

    def has_lengths(self, state: Arrays) -> bool:
        """Whether a state is one of sequences that have lengths along another axis."""
        return len(self.axes) > 1 and not mapping("state", state).keys().isdisjoint(
            lengths_leaves(self.axes).values()
        )

    # Steps, sequences and lengths ------------------------------------------------------

    def _sizes(
        self,
        arrays: Mapping[str, Array],
        specs: Mapping[str, Spec],
        steps: Steps | None,
        state: Arrays | None,
        lengths: Lengths | None,
    ) -> Sizes:
        """The numbers of steps and of sequences, from the first arrays that tell them."""
        batch, batched = None, False
        found = self._given_steps(steps)
        told = dict.fromkeys(found, "`steps`")
        known = [("input", name, specs[name], array, 0) for name, array in arrays.items()]
        for name, value in (state or {}).items():
            array = as_array(f"state `{name}`", value)
            rows = name in self.states  # of which the depth comes first
            spec = self.states[name] if rows else self.held[name]
            known.append(("state", name, spec, array, int(rows)))
        for sort, name, spec, array, lead in known:
            full = len(spec.dimensions())
            if array.ndim not in (full, full - int(spec.batch)):
                raise InputError(
                    f"{sort} `{name}`: expected {words(spec)}, found {brackets(array.shape)}"
                )
            own = array.shape[array.ndim - len(spec.shape) :]
            if sort == "input" and own != spec.shape:
                free = [None] * (array.ndim - len(own))
                if hint := hints.in_order(array.shape, [*free, *spec.shape]):
                    found_shape = f"found {brackets(array.shape)}{hint}"
                    raise InputError(f"{sort} `{name}`: expected {words(spec)}, {found_shape}")
            if spec.batch and batch is None:
                batched = array.ndim == full
                batch = array.shape[lead + len(spec.time)] if batched else 1
            for place, axis in enumerate(spec.time):
                count, first = array.shape[lead + place], self.same[axis]
                if found.setdefault(first, count) != count:
                    raise InputError(
                        f"{sort} `{name}` has {count} steps{self._of(axis)}, but {told[first]}"
                        f" has {found[first]}{self._as_many(first, axis)}"
                    )
                told.setdefault(first, f"`{name}`")
        if lengths is not None and batch is None:
            for value in self._by_axis("lengths", lengths).values():
                array = as_array("`lengths`", value)
                batched = array.ndim > 0
                batch = len(array) if batched else 1
        for axis in dict.fromkeys(self.same[axis] for axis in self.axes):
            if axis not in found and self.steps is None:
                raise InputError(
                    f"no input tells the number of steps{self._of(axis)}: give `steps`"
                )
            count = found.setdefault(axis, self.steps or 0)
            if self.steps is not None and count != self.steps:
                raise InputError(f"built for {self.steps} steps, found {count}")
        counts = {axis: found[self.same[axis]] for axis in self.axes}
        return Sizes(counts, 1 if batch is None else batch, batched)

    def _of(self, axis: str) -> str:
        """Which steps are meant, where there are several sorts."""
        return f" of {axis}" if len(self.axes) > 1 else ""

    def _as_many(self, one: str, other: str) -> str:
        """That there are as many steps along two axes, where that is to be said."""
        return "" if one == other else ": a value of one is read along the other (`along`)"

    def _given_steps(self, steps: Steps | None) -> dict[str, int]:
        if steps is None:
            return {}
        found: dict[str, int] = {}
        for axis, given in self._by_axis("steps", steps).items():
            count = whole(f"`steps`{self._of(axis)}", given, 0, ANY)
            if found.setdefault(self.same[axis], count) != count:
                raise InputError(
                    f"`steps`{self._of(axis)} are {count}, but{self._of(self.same[axis])}"
                    f" {found[self.same[axis]]}{self._as_many(self.same[axis], axis)}"
                )
        return found

    def _by_axis(self, what: str, value: Any) -> dict[str, Any]:
        """An argument that there is one of for each axis; for one axis it may be that."""
        if isinstance(value, Mapping):
            _all_known(f"axis of `{what}`", value, dict.fromkeys(self.axes))
            return dict(value)
        if len({*self.same.values()}) > 1:
            axes = ", ".join(f'"{axis}": …' for axis in self.axes)
            raise InputError(f"`{what}`: there are several time axes, so expected {{{axes}}}")
        return dict.fromkeys(self.axes, value)

    def _lengths(self, lengths: Lengths, sizes: Sizes) -> dict[str, Array]:
        """The lengths along every axis; where none are given, all steps.

        Axes with the same steps have the same lengths, of which one is enough.
        """
        if self.no_lengths is not None:
            raise InputError(f"`{self.name}` takes no lengths: {self.no_lengths}")
        found: dict[str, Array] = {}
        for axis, given in self._by_axis("lengths", lengths).items():
            what, first = f"`lengths`{self._of(axis)}", self.same[axis]
            own = fitting_lengths(what, given, sizes.steps[axis], sizes)
            if not np.array_equal(found.setdefault(first, own), own):
                raise InputError(
                    f"{what} are other ones than{self._of(first)}{self._as_many(first, axis)}"
                )
        for axis in set(self.same.values()) - found.keys():
            found[axis] = np.full(sizes.batch, sizes.steps[axis])
        return {axis: found[self.same[axis]] for axis in sizes.steps}


def interface_of(
    graph: Graph,
    dtype: str,
    steps: int | None,
    axis: str | None = None,
    free: bool = False,
) -> Interface:
    """What the network of a checked graph takes and gives.

    With an ``axis`` the graph is that of the steps along it, and its leaves ``state`` are held.
    One that runs ``free`` takes the state of a taught run.
    """

    def leaves(operation: str) -> dict[str, Spec]:
        return {node.name: spec_of(node, dtype) for node in graph.leaves(operation)}

    targets, read = leaves("target"), _behind(graph, [name for _, name in graph.outputs])
    outputs = {label: spec_of(graph[name], dtype) for label, name in graph.outputs}
    ragged = own_outputs(graph)
    no_state = why_no_state(graph) if axis is None else None
    states = _states(graph, dtype, axis)
    return Interface(
        name=graph.name,
        axes=graph.axes or ("t",),
        same=same_steps(graph) or {"t": "t"},
        steps=steps,
        params=leaves("param"),
        inputs=leaves("input"),
        targets=targets,
        outputs=outputs,
        ragged_outputs={
            label: replace(spec, batch=spec.batch or label in ragged)
            for label, spec in outputs.items()
        },
        states=states,
        held=leaves("state") if axis is not None else {},
        fed=read.intersection(targets),
        read=read,
        carried=_behind(graph, list(states)),
        learnt=_behind(graph, [] if graph.loss is None else [graph.loss]),
        free=free,
        no_state=no_state,
        no_lengths=why_no_lengths(graph),
        no_both=None if no_state else why_no_lengths(expose_state(graph, axis)),
        dims=graph.dims,
        variant=state_variant(graph.axes, graph.axes[0] if graph.axes else ""),
    )


def of_windows(
    whole: Interface, graph: Graph, dtype: str, axis: str, beside: frozenset[str]
) -> Interface:
    """What windows along one of several axes take and give: the same, and a state along it."""
    states = _states(graph, dtype, axis)
    return replace(
        whole,
        states=states,
        carried=_behind(graph, list(states)),
        no_state=None,
        no_both=why_no_lengths(expose_state(graph, axis)),
        variant=state_variant(graph.axes, axis),
        beside=beside - states.keys(),
        known={},
    )


def _states(graph: Graph, dtype: str, axis: str | None) -> dict[str, Spec]:
    """The rows of a state along an axis, the only one if none is named."""
    states = {}
    for name, reach in delayed(graph, axis).items():
        own = spec_of(graph[name], dtype)
        kept = own.dtype if own.kind == "float" else "int64"
        time = tuple(other for other in own.time if other != reach.axis)
        shape = (reach.past, *own.shape)
        states[name] = Spec(name, own.kind, shape, kept, time, own.batch, own.bound)
    return states


def _alike(params: Arrays, inputs: Arrays, *needs: bool) -> Alike | None:
    """What all that is looked at in arrays depends on, besides the values of indices."""
    found: list[object] = [*needs, len(params)]
    for arrays in (params, inputs):
        for name, array in arrays.items():
            if type(array) is not np.ndarray:
                return None
            found += (name, array.shape, array.dtype, array.flags.c_contiguous)
    return tuple(found)


def _behind(graph: Graph, names: Sequence[str]) -> frozenset[str]:
    """Every node that some nodes read, directly or not."""
    return frozenset(needed_names(graph, names))


def _all_known(sort: str, given: Mapping[str, object], known: Mapping[str, object]) -> None:
    for name in given:
        if name not in known:
            raise InputError(unknown(sort, name, known))
