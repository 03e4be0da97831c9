"""A network as a function of JAX's arrays."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import numpy as jnp

from rollc.errors import InputError
from rollc.frameworks.networks import Networks, named_inputs, networks_of
from rollc.jax.arguments import (
    halves,
    joined,
    precision_named,
    seed_of,
    state_rows,
)
from rollc.jax.calls import called, need_state, precision_in
from rollc.jax.plans import seed_number
from rollc.jax.tapes import Tapes
from rollc.network.arrays import rows_shape
from rollc.network.network import Network
from rollc.support import checks

Array = Any
Arrays = Mapping[str, Array]


def function(
    source: str | Path,
    *,
    sizes: Mapping[str, int] | None = None,
    truncate: int | None = None,
    combine: str | None = None,
    feed: str | None = None,
    steps: int | None = None,
    backend: str | None = None,
    memory: int = 2**30,
    **more_sizes: int,
) -> Function:
    """The network of a spec as a function.

    Gradients of outputs are computed from a tape that the forward pass keeps.  As nobody can tell
    whether they will be asked for, tapes take up to ``memory`` bytes: of more, the oldest are
    dropped, and those gradients run the forward pass again.

    Parameters
    ----------
    source : str or path
        The path of a spec, the name of one that comes with rollc, such as ``"lstm"``, or the folder
        of an artefact (``rollc build -o``).
    sizes : mapping of str to int, optional
        Sizes by name, where one has the name of an option.
    truncate, combine, feed, steps, backend
        As in :func:`rollc.build`.
    memory : int
        Bytes for the tapes of forward passes.
    **more_sizes : int
        Sizes by name: ``H=64``.

    Returns
    -------
    Function

    Examples
    --------
    >>> import jax
    >>> import rollc.jax
    >>> lstm = rollc.jax.function("lstm", D=2, H=3, K=2)
    >>> params = lstm.init(seed=0)
    >>> jax.jit(lstm)(params, jax.numpy.ones((5, 4, 2)))["h"].shape
    (5, 4, 3)
    """
    options = {
        "truncate": truncate,
        "combine": combine,
        "feed": feed,
        "steps": steps,
        "backend": backend,
    }
    given = {} if sizes is None else checks.mapping("sizes", sizes, "sizes by name")
    networks = networks_of(source, {**given, **more_sizes}, precision_named(None).computed, options)
    return Function(networks, Tapes(checks.whole("`memory`", memory)))


class Function:
    """The network of a spec, as a function of its parameters; :func:`function` makes it.

    It works under ``jax.jit``, ``jax.grad``, ``jax.vmap`` and what is made of them.  Arrays are
    ``[T, B, ...]``, without a batch ``[T, ...]``.  All numbers of a call have one precision; half
    precisions are computed in float32, and float64 needs ``jax_enable_x64``.

    What is wrong with arrays raises :class:`~rollc.InputError` while JAX traces the call.  What
    only their values tell, such as an index out of range, is found where the kernel runs: under
    ``jit`` JAX then raises an error of its own, with that message.

    Examples
    --------
    Those of the methods go on from here.

    >>> import jax
    >>> import rollc.jax
    >>> lstm = rollc.jax.function("lstm", D=2, H=3, K=2)
    >>> params = lstm.init(seed=0)
    >>> x, y = jax.numpy.ones((5, 4, 2)), jax.numpy.zeros((5, 4, 2))
    """

    def __init__(self, networks: Networks, tapes: Tapes) -> None:
        self._networks = networks
        self._tapes = tapes
        self._forward = False

    def __repr__(self) -> str:
        network, parts = self._first, self._networks.parts
        slots = ", ".join(
            f"{name} [{', '.join(map(str, spec.dimensions()))}]"
            for name, spec in parts.specs(network.inputs).items()
        )
        outputs = ", ".join(parts.specs(network.outputs))
        return f"<Function {network.name}: {slots} -> {outputs}>"

    @property
    def forward_mode(self) -> Function:
        """The same function with derivatives forward in time, for ``jax.jvp`` and ``jax.jacfwd``.

        JAX takes one rule of a function: this one has no gradients, and the other no ``jvp``.
        """
        other = copy.copy(self)
        other._forward = True
        return other

    def init(self, seed: Any = 0, dtype: Any = None) -> dict[str, Array]:
        """Initial parameters, as the spec says.

        Parameters
        ----------
        seed : int or key
            A number, or a key of ``jax.random``.
        dtype : dtype, optional
            The precision; JAX's default without it.

        Returns
        -------
        dict of str to Array
            By the spec's names.
        """
        precision = precision_named(dtype)
        if isinstance(seed, jax.core.Tracer):
            raise InputError("`seed`: expected one that is known when JAX traces; init outside")
        drawn = self._networks.of(precision.computed).init(seed_number(seed_of(seed)))
        own = {name: jnp.asarray(array, precision.own) for name, array in drawn.items()}
        return self._networks.parts.joined(own, joined)

    def __call__(
        self,
        params: Arrays,
        *inputs: Any,
        lengths: Any = None,
        state: Arrays | None = None,
        steps: int | Mapping[str, int] | None = None,
        training: bool = False,
        seed: Any = None,
        **named: Array,
    ) -> Any:
        """The outputs.

        Parameters
        ----------
        params : mapping of str to array
            The parameters.
        *inputs : array or dict
            Inputs in the order of the spec, or one dictionary by name: ``[T, B, ...]``, or ``[T,
            ...]``.
        lengths : array [B], optional
            The steps of each sequence; what comes after them is padding.
        state : mapping of str to array, optional
            What the steps go on from (:meth:`zero_state`); gradients pass through it.
        steps : int or mapping of axis to int, optional
            Their number, where no input tells it.
        training : bool
            Whether dropout is on.
        seed : int or key, optional
            What random numbers are drawn from: equal calls give equal results.
        **named : array
            Inputs by name, and the targets that the outputs read.

        Returns
        -------
        outputs : dict of str to Array
            By name.
        state : dict of str to Array
            With a ``state`` only: the one after the last step.

        Raises
        ------
        InputError
            For what is missing, unknown or misshapen.
        """
        if not self._first.outputs:
            raise InputError(f"`{self._first.name}` has no output: call `loss`")
        given = self._given(inputs, named)
        found, after = self._results(False, params, given, lengths, state, steps, training, seed)
        return found if state is None else (found, after)

    def loss(
        self,
        params: Arrays,
        *inputs: Any,
        lengths: Any = None,
        state: Arrays | None = None,
        steps: int | Mapping[str, int] | None = None,
        training: bool = False,
        seed: Any = None,
        **named: Array,
    ) -> Any:
        """The loss of the spec.

        Parameters
        ----------
        params, inputs, lengths, state, steps, training, seed, named
            As in a call, and the targets by name.

        Returns
        -------
        loss : Array
            A number, the mean over the batch.
        state : dict of str to Array
            With a ``state`` only: the one after the last step, through which no gradient comes
            back: where one is asked for, that is an error, and ``jax.lax.stop_gradient`` cuts it.

        Examples
        --------
        >>> loss, grads = jax.value_and_grad(lstm.loss)(params, x, y=y)
        >>> grads["U"].shape
        (12, 3)
        """
        given = self._given(inputs, named)
        found, after = self._results(True, params, given, lengths, state, steps, training, seed)
        return found["loss"] if state is None else (found["loss"], after)

    def zero_state(self, batch_size: int | None = None, dtype: Any = None) -> dict[str, Array]:
        """A state of zeros: where a spec starts that says nothing else (``init``).

        Parameters
        ----------
        batch_size : int, optional
            The number of sequences; without it there is one, and no batch.
        dtype : dtype, optional
            The precision; JAX's default without it.

        Returns
        -------
        dict of str to Array
            ``[depth, B, ...]``: the last values of what is read with a delay.

        Raises
        ------
        InputError
            Where it takes no state, and for a network with two time axes, whose states hold more
            than that.

        Examples
        --------
        >>> outputs, state = lstm(params, x, state=lstm.zero_state(4))
        >>> state["h"].shape
        (1, 4, 3)
        """
        return self._whole(self._zeros(batch_size, precision_named(dtype).own))

    def _zeros(self, batch_size: int | None, own: str) -> dict[str, Array]:
        need_state(self._first)
        if batch_size is not None:
            batch_size = checks.whole("`batch_size`", batch_size)
        return {
            name: jnp.zeros(rows_shape(spec, batch_size), own if spec.kind == "float" else int)
            for name, spec in self._first.states.items()
        }

    def initial_state(
        self,
        params: Arrays,
        *inputs: Any,
        batch_size: int | None = None,
        lengths: Any = None,
        **named: Array,
    ) -> dict[str, Array]:
        """The state before the first step, with its gradient where the spec computes it (``init``).

        Parameters
        ----------
        params : mapping of str to array
            The parameters.
        *inputs, **named
            What initial values read, as in a call, or any inputs that tell the batch.
        batch_size : int, optional
            The number of sequences, where no input tells it.
        lengths : array [B], optional
            The steps of each sequence.

        Returns
        -------
        dict of str to Array
            ``[depth, B, ...]``.

        Raises
        ------
        InputError
            As :meth:`zero_state` does.
        """
        need_state(self._first)
        network, given = self._first, self._given(inputs, named)
        params = self._networks.parts.split(params, halves)
        slots = {**network.inputs, **network.targets}
        for name, value in given.items():
            spec, shape = slots[name], jnp.shape(value)
            if len(shape) == len(spec.time) + 1 + len(spec.shape):
                count = shape[len(spec.time)]
                if batch_size not in (None, count):
                    raise InputError(
                        f"input `{name}` has {count} sequences, but expected"
                        f" {checks.shown(batch_size)}"
                    )
                batch_size = count
        own = precision_in(self._networks, params, given).own
        found, starts = self._zeros(batch_size, own), self._networks.starts
        if starts is None:
            return self._whole(found)
        first = starts.first
        read = {name: given[name] for name in {**first.inputs, **first.targets} if name in given}
        timed = any(slots[name].time for name in read)
        mine = {name: params[name] for name in first.params if name in params}
        rest = (lengths, None, None) if timed else (None, None, 1)
        values, _ = called(starts, self._tapes, self._forward, False, mine, read, *rest)
        computed = {
            name: state_rows(value, first.outputs[name], network.states[name], batch_size)
            for name, value in values.items()
        }
        return self._whole(found | computed)

    # What a call is made of --------------------------------------------------------------

    @property
    def _first(self) -> Network:
        """The network in one of the precisions: what it takes and gives is the same in both."""
        return self._networks.first

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs and targets by name, complex ones as their parts."""
        given = named_inputs(self._networks, inputs, named)
        found: dict[str, Any] = self._networks.parts.split(given, halves)
        return found

    def _whole(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Arrays by name, complex ones in the place of their parts."""
        return self._networks.parts.joined(arrays, joined)

    def _results(
        self,
        loss: bool,
        params: Arrays,
        given: Mapping[str, Any],
        lengths: Any,
        state: Any,
        *rest: Any,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The results of a call by name, and the state after it, complex ones whole."""
        parts = self._networks.parts
        params, state = parts.split(params, halves), parts.split(state, halves)
        with parts.in_messages():
            own = (self._networks, self._tapes, self._forward)
            found, after = called(*own, loss, params, given, lengths, state, *rest)
        return self._whole(found), self._whole(after)
