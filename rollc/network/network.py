"""A built network: what a user calls.

Arrays are NumPy's, time first: ``[T, B, ...]``, or ``[T, ...]`` without a batch.  Static
inputs have no time.  With two time axes ``s`` and ``t`` an array is ``[S, B, ...]``,
``[T, B, ...]`` or, over both, ``[S, T, B, ...]``.  What is missing or misshapen is named,
with the shape expected and the one found.

Arguments are what NumPy takes for an array of numbers; what would lose something, such as a mask or
a number that is too large for the precision, is refused, like all that is wrong, by an
:class:`InputError` that names it.

Every method takes ``lengths``, the number of steps of each sequence (``[B]``): what comes
after them is padding, and changes no output, loss or gradient, whatever it holds.  Outputs
and gradients over time are zero there; outputs over time that all sequences share have the
batch too.  ``steps`` and ``lengths`` are a number and an array;
with two time axes they are given by axis, ``{"s": …, "t": …}``, as far as they are needed.

A sequence of length 0 has initial values: ``last`` and ``first`` are those, and what is computed
from all of its steps (a sum, a mean, an extreme) is 0.  No steps at all, or no sequences, give
outputs without rows, states as they were and gradients of zero; a mean or an extreme of nothing
is an error then.

Random numbers come from ``seed``, and equal calls give equal results; a NumPy generator in
its place goes on from call to call.  ``sample`` draws in every call; ``dropout`` is on only
where ``training`` is true, and else gives its operand as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from numpy.typing import NDArray

from rollc.autodiff.window_split import CannotSplit, split
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.names import STATE as STATE
from rollc.network.arrays import Sizes, Spec, outputs_and_state
from rollc.network.by_sequence import losses_and_gradients, need_sequences_apart, of_state
from rollc.network.gradients import ALL, Wrt, gradients, phases, wanted
from rollc.network.interface import Arrays, Interface, Lengths, Steps, interface_of
from rollc.network.noise_draws import Seed, draw_noise
from rollc.network.noted_arrays import Noted
from rollc.network.parameters import initial_parameters
from rollc.network.pullback import Pullback
from rollc.support.checks import choice, switch, whole

if TYPE_CHECKING:
    from rollc.network.checkpointing import Plan
    from rollc.network.forward_mode import Sensitivity
    from rollc.network.streaming import Streaming
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]


# What opens a network again, as pickles take it: a function and its arguments.
Opened = tuple[Callable[..., "Network"], tuple[Any, ...]]


class Network:
    """A network with its kernels, for one precision and one set of sizes.

    ``params``, ``inputs``, ``targets``, ``outputs`` and ``states`` describe the arrays by name;
    ``axes`` are the time axes; ``steps`` is the number of steps that it was built for, None
    for any number; ``truncate`` is the number of steps that gradients go back, if they are
    cut; ``feed`` is "taught" or "free", and ``fed`` are the targets that the outputs read.
    ``opened`` is what opens the network's artefact again.

    It can be copied and pickled.  A pickle holds the artefact, and so code that runs when it is
    read; where the artefact's folder is gone, kernels are compiled again when they are called.
    """

    def __init__(
        self,
        graph: Graph,
        kernel: Callable[[str], Kernel],
        dtype: str = "float32",
        steps: int | None = None,
        truncate: int | None = None,
        opened: Opened | None = None,
        feed: str = "taught",
    ) -> None:
        self.graph = graph
        self.name = graph.name
        self.dtype = dtype
        self.steps = steps
        self.truncate = truncate
        self._kernel = kernel
        self._opened = opened
        self.feed = feed
        self._interface: Interface = interface_of(graph, dtype, steps, free=feed == "free")
        self.axes = self._interface.axes
        self.params = self._interface.params
        self.inputs = self._interface.inputs
        self.targets = self._interface.targets
        self.fed = self._interface.fed
        self.outputs = self._interface.outputs
        self._has_pullback = any(spec.kind == "float" for spec in self.outputs.values())
        self._asked: tuple[object, frozenset[str]] = None, frozenset()
        self._steps: dict[tuple[str | None, bool], Streaming] = {}

    @cached_property
    def states(self) -> dict[str, Spec]:
        """The arrays of a state; with two time axes, along the one of :meth:`axis_of_steps`."""
        if len(self.axes) == 1:
            return self._interface.states
        with suppress(InputError):
            return self._streaming(None, False).state
        return {}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A pickle has the artefact: it can be read by another process, without its folder."""
        return super().__reduce_ex__(protocol) if self._opened is None else self._opened

    def __copy__(self) -> Network:
        """A network of its own that shares the kernels: nothing of them is ever changed."""
        rest = (self.dtype, self.steps, self.truncate, self._opened, self.feed)
        return Network(self.graph, self._kernel, *rest)

    def __deepcopy__(self, memo: Any) -> Network:
        return self.__copy__()

    def __repr__(self) -> str:
        steps = "any number of" if self.steps is None else self.steps
        return f"<Network {self.name}: {self.dtype}, {steps} steps>"

    def init(self, seed: Seed = 0) -> dict[str, Array]:
        """Initial parameters, drawn from ``seed`` as the spec's initialisers say."""
        return initial_parameters(self.graph, seed, self.dtype)

    def forward(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        state: Arrays | None = None,
        steps: Steps | None = None,
        *,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> dict[str, Array]:
        """The outputs, by name.  Targets are not needed, except those that they are taught by.

        ``steps`` is the number of steps where no input tells it.  ``state`` (see
        :meth:`initial_state`) replaces the initial values; the state after the last step
        is then among the results as ``state.NAME``.  The steps are then a window of a longer
        sequence, and what is computed from all steps, such as a mean, is that of the window.
        With two time axes the steps are those along the one that a state can go along, and the
        inputs those that run along it; what is computed from all of them is refused.
        """
        if state is not None and len(self.axes) > 1:
            if lengths is not None:
                raise InputError("lengths are for `initial_state`: the state has them")
            run = self._streaming(None, self._interface.has_lengths(state))
            found, rows = run.forward(params, inputs, state, steps, training, seed)
            return found | {STATE + name: array for name, array in rows.items()}
        leaves, sizes = self._interface.leaves(
            params, inputs, steps, state, lengths, need_targets=False
        )
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel_of(_entry("forward", state, lengths), sizes)
        results = kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))
        return self._outputs(results, sizes, lengths)

    def loss(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> float:
        """The loss, without gradients: of its kernel, which keeps nothing for them.

        With a ``state`` it is that of a window, as in :meth:`value_and_grad`, and with ``lengths``
        nothing behind them counts.
        """
        self._need_loss()
        leaves, sizes = self._interface.leaves(params, inputs, steps, state, lengths)
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel_of(_entry("loss", state, lengths), sizes)
        return float(kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))["loss", "loss"])

    @overload
    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = ALL,
        *,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[float, dict[str, Array]]: ...

    @overload
    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = ALL,
        *,
        state: Arrays,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[float, dict[str, Array], dict[str, Array]]: ...

    @overload
    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = ALL,
        *,
        per_sequence: Literal[True],
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Any, ...]: ...

    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = ALL,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        per_sequence: bool = False,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Any, ...]:
        """The loss and its gradients, by the names of parameters and inputs.

        A parameter's gradient is the sum over all steps, of the mean over the batch.
        ``wrt`` says which gradients: names of parameters and inputs, or ``"params"``,
        ``"inputs"`` and ``"state"`` for all of a sort; where none of the inputs is among them,
        theirs are not computed.  Raises :class:`InputError` for what has no gradient.  With a
        ``state`` the arrays are a window of a longer sequence, and the loss is the window's:
        the gradients of the state are added as ``state.NAME``, and the state after the last
        step is given back too.
        No gradient of what comes later passes; :meth:`vjp` takes it.

        With ``per_sequence`` there is a loss for each sequence, ``[B]``, whose mean is the loss,
        and the gradients are those of each: ``[B, ...]`` for parameters, and for the others as they
        are, of the loss of the sequence itself.  The gradients of parameters are then B times their
        bytes; little else is added to what the call takes.  Raises :class:`InputError` where the
        loss is no mean over the sequences, or where these meet before.
        """
        self._need_loss()
        if switch("`per_sequence`", per_sequence):
            need_sequences_apart(self.graph, self._interface, state is not None)
        labels = self._wanted(wrt, state is not None)
        leaves, sizes = self._interface.leaves(params, inputs, steps, state, lengths)
        leaves |= self._noise(sizes, training, seed)
        if per_sequence:
            kernel = self._kernel_of(_entry("by_sequence", state, lengths), sizes)
            results = kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))
            losses, found = losses_and_gradients(results, self._interface, sizes, labels)
            after = self._outputs(of_state(results), sizes, lengths)
            return (losses, found) if state is None else (losses, found, _following(after))
        kernel = self._kernel_of(_entry("gradient", state, lengths), sizes)
        taken = ("primal", *phases(self._interface, labels))
        results = kernel.run(leaves, sizes.steps, sizes.batch, taken)
        loss = float(results["loss", "loss"])
        found = gradients(results, self._interface, sizes, labels)
        if state is None:
            return loss, found
        return loss, found, _following(self._outputs(results, sizes, lengths))

    def windows(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
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
        bytes; and so does the function where the arrays have changed by then, of which there
        is no copy.
        """
        from rollc.network.checkpointing import Plan, Windowed
        from rollc.transforms.canonicalize import canonicalize

        self._need_loss()
        if (checkpoint is None) == (memory is None):
            raise InputError("expected either `checkpoint`, a number of steps, or `memory`")
        if checkpoint is not None:
            checkpoint = whole("`checkpoint`", checkpoint, 1)
        if memory is not None:
            memory = whole("`memory`", memory, 1)
        if self.steps is not None:
            raise InputError("windows need a network for any number of steps")
        graph = canonicalize(self.graph)
        try:
            run = Windowed(graph, split(graph), self._kernel, self.dtype)
        except CannotSplit as error:
            raise InputError(f"`{self.name}` cannot run in windows: {error}") from None
        leaves, sizes = self._interface.leaves(params, inputs, steps)
        noted = Noted("windows", leaves)
        leaves |= self._noise(sizes, training, seed)
        if sizes.empty:
            return Plan(0, 0, 0, 0.0), self._gradient_of_nothing(leaves, sizes, None, noted)
        (count,) = sizes.steps.values()
        if memory is not None:
            plan = run.fitting(count, sizes.batch, memory)
        else:
            assert checkpoint is not None
            plan = run.plan(count, sizes.batch, checkpoint)

        def value_and_grad() -> tuple[float, dict[str, Array]]:
            noted.check()
            loss, found = run.value_and_grad(leaves, count, sizes.batch, plan.steps)
            results = {("gradient", label): array for label, array in found.items()}
            return loss, self._gradients(results, sizes, ("params", "inputs"))

        return plan, value_and_grad

    def forward_sensitivities(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        *,
        memory: int | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Sensitivity, Callable[[], tuple[float, dict[str, Array]]]]:
        """Loss and gradients forward in time: a plan, and a function that carries it out.

        With the state goes its derivative in every parameter (real-time recurrent learning),
        so there is no tape, and the memory is the same for any number of steps.  The numbers
        are those of :meth:`value_and_grad`, of parameters only: gradients of inputs would
        have to be kept for every step.  Raises :class:`InputError` where a network cannot
        run so, or where it takes more than ``memory`` bytes (4 GB where none are given); and so
        does the function where the arrays have changed by then, of which there is no copy.
        """
        from rollc.entries.forward_mode import prepared_graph
        from rollc.network.forward_mode import MOST, Sensitivities, Sensitivity

        self._need_loss()
        memory = MOST if memory is None else whole("`memory`", memory, 1)
        if self.steps is not None:
            raise InputError("forward sensitivities need a network for any number of steps")
        leaves, sizes = self._interface.leaves(params, inputs, steps, lengths=lengths)
        noted = Noted("forward_sensitivities", leaves)
        leaves |= self._noise(sizes, training, seed)
        own = lengths is not None
        graph = prepared_graph(self.graph, self.truncate, own)
        try:
            run = Sensitivities(graph, self._kernel, self.dtype, own)
        except CannotSplit as error:
            raise InputError(f"`{self.name}` has no forward sensitivities: {error}") from None
        if sizes.empty:
            return Sensitivity(0, 0, 0), self._gradient_of_nothing(leaves, sizes, lengths, noted)
        plan = run.fitting(sizes.steps, sizes.batch, memory)

        def value_and_grad() -> tuple[float, dict[str, Array]]:
            noted.check()
            loss, found = run.value_and_grad(leaves, sizes.steps, sizes.batch)
            results = {("gradient", label): array for label, array in found.items()}
            return loss, self._gradients(results, sizes, ("params",))

        return plan, value_and_grad

    def vjp(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        wrt: Wrt = ALL,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], Pullback]:
        """The outputs, and a function from their cotangents to gradients.

        The function takes arrays of the outputs' shapes, by name (those left out are
        zero), and returns the gradients of parameters and inputs, or those that ``wrt`` names,
        here or there (see :meth:`value_and_grad`).  It keeps what the forward pass computed,
        and copies of what it needs of arrays: it can be called any number of times, whatever
        becomes of them, and its memory is free when it is dropped.  With a ``state`` the
        outputs are those of a window, as in :meth:`forward`; the state after the last step
        is among them as ``state.NAME``, and so among the cotangents, and the gradient of the
        given state is among the gradients.
        """
        labels = self._wanted(wrt, state is not None)
        self._need_slopes()
        leaves, sizes = self._interface.leaves(
            params, inputs, steps, state, lengths, need_targets=False
        )
        noise = self._noise(sizes, training, seed)
        kernel = self._kernel_of(_entry("vjp", state, lengths), sizes)
        results, tape = kernel.record({**leaves, **noise}, sizes.steps, sizes.batch, noise)
        pullback = Pullback(
            self._interface,
            sizes,
            dict(self.graph.outputs),
            lengths is not None,
            state is not None,
            labels,
            tape,
        )
        return self._outputs(results, sizes, lengths), pullback

    def jvp(
        self,
        params: Arrays,
        inputs: Arrays | None,
        tangents: Arrays,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs and their derivatives in one direction, forward in time and without a tape.

        ``tangents`` say how what is given moves: arrays of the shapes of parameters and inputs, by
        their names, and of a given ``state`` as ``state.NAME``; what is left out stays as it is.
        The derivatives have the names and shapes of the outputs; outputs that are no real
        numbers have none.  With a ``state``, the one after the last step and its derivative are
        among the results as ``state.NAME``.

            outputs, slopes = net.jvp(params, inputs, {"W": direction})  # (f(W + e d) - f(W)) / e

        They are those of the adjoint, ``<g, J v> = <J' g, v>``: no derivative passes ``stop`` or
        the borders of ``truncate``, and a ``grad`` of the spec's own counts as it is written.
        Raises :class:`InputError` for an unknown name, a target or an index among the tangents, a
        shape that does not fit, and where no output is of real numbers.

        Reference: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
        """
        from rollc.network.pushforward import apart, direction

        self._need_slopes()
        leaves, sizes = self._interface.leaves(
            params, inputs, steps, state, lengths, need_targets=False
        )
        leaves |= direction(self._interface, tangents, sizes, leaves, state is not None)
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel_of(_entry("jvp", state, lengths), sizes)
        results = kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))
        values, slopes = (self._outputs(found, sizes, lengths) for found in apart(results))
        return values, slopes

    def hvp(
        self,
        params: Arrays,
        inputs: Arrays,
        vectors: Arrays,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> dict[str, Array]:
        """The product of the Hessian of the loss with a vector, by the names of gradients.

        It is the derivative of the gradients of :meth:`value_and_grad` in the direction of
        ``vectors``: arrays of the shapes of parameters and inputs, by their names, and of a given
        ``state`` as ``state.NAME``; those left out are zero.  The products are of those shapes, one
        for each gradient: with a vector for parameters alone, those of the inputs are the mixed
        derivatives.

            products = net.hvp(params, inputs, {"W": v})  # (grad(W + e v) - grad(W)) / e

        What `stop` gives, and what is read across a border of ``truncate``, counts as constant for
        both derivatives.  Raises :class:`InputError` as :meth:`jvp` does, and where a value has a
        derivative of its own by `grad`, which says nothing of a second one.

        Reference: Pearlmutter, Fast exact multiplication by the Hessian (1994), Neural
        Computation 6(1): the tangent of the adjoint, as here.
        """
        from rollc.entries.forward_mode import why_no_hessian
        from rollc.network.pushforward import direction, products

        self._need_loss()
        why = why_no_hessian(self.graph)
        if why is not None:
            raise InputError(f"the loss of `{self.name}` has no second derivative: {why}")
        leaves, sizes = self._interface.leaves(params, inputs, steps, state, lengths)
        leaves |= direction(self._interface, vectors, sizes, leaves, state is not None, "vector")
        leaves |= self._noise(sizes, training, seed)
        kernel = self._kernel_of(_entry("hvp", state, lengths), sizes)
        results = kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))
        return products(results, self._interface, sizes, self._wanted(ALL, state is not None))

    def initial_state(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        steps: Steps | None = None,
        *,
        axis: str | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> dict[str, Array]:
        """The state before the first step: for each delayed value its last values.

        An array is ``[depth, B, ...]`` (``[depth, ...]`` without a batch), the oldest step
        first, with as many rows as the longest delay.  ``inputs`` gives what initial values
        read, of an input over time all steps (``init h = mean(x, over t)``), and ``steps`` their
        number where no input tells it; or any inputs or targets that tell the batch.

        With two time axes the steps go along one of them, ``axis``; where it can be only one
        there is no need to say it.  ``inputs`` are then all that do not run along it, with
        ``steps`` and ``lengths`` along the other one.  What comes of them is computed here, and
        is part of the state as far as the steps read it (``[S, B, ...]`` over the axis ``s``).
        The arrays can be saved, and the state taken up again.
        """
        run = self._streaming(axis, lengths is not None)
        return run.initial_state(params, inputs, steps, lengths, training, seed)

    def step(
        self,
        params: Arrays,
        state: Arrays,
        inputs: Arrays | None = None,
        *,
        axis: str | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One step: the outputs and the next state.

        ``inputs`` are those of this one step, without the time dimension (``[B, ...]``, or
        ``[...]``); with two time axes those that run along ``axis``, the one of the state.
        Step by step, the outputs are those of :meth:`forward`; :class:`InputError` says which
        value is computed from all steps, such as a mean or a softmax over them, where an output
        or the state needs one.  For new random numbers at each step, ``seed`` is a generator,
        or another number each time.
        """
        run = self._streaming(axis, self._interface.has_lengths(state))
        return run.step(params, state, inputs, training, seed)

    def axis_of_steps(self, axis: str | None = None) -> str:
        """The time axis that :meth:`step` goes along, if none is said or this one.

        Raises :class:`InputError` where the network cannot run so, or along both axes.
        """
        run = self._streaming(axis, False)
        run.need_steps()
        return run.axis

    def _streaming(self, axis: str | None, lengths: bool) -> Streaming:
        """The steps along an axis; the graphs are made once."""
        from rollc.network.streaming import axis_of, streaming_of

        if axis is not None and not isinstance(axis, str):
            axis = choice("axis", axis, self.axes)
        if (axis, lengths) not in self._steps:
            found = axis_of(self.graph, axis)
            self._steps[axis, lengths] = streaming_of(
                self.graph, self._interface, self._kernel, self.dtype, found, lengths
            )
        return self._steps[axis, lengths]

    # Checks ----------------------------------------------------------------------------

    def _need_loss(self) -> None:
        if self.graph.loss is None:
            raise InputError(f"`{self.name}` has no loss; add `loss …` to its spec")

    def _need_slopes(self) -> None:
        if self.outputs and not self._has_pullback:
            raise InputError(f"no output of `{self.name}` has a gradient: none is of real numbers")

    def _kernel_of(self, entry: str, sizes: Sizes) -> Kernel:
        """The kernel of that name; of no steps or no sequences, one that does without."""
        kernel = self._kernel(entry)
        if not sizes.empty:
            return kernel
        from rollc.network.interpreted import variant_of_nothing

        return variant_of_nothing(self.graph, entry, sizes, self.dtype)

    def _gradient_of_nothing(
        self, leaves: Mapping[str, Array], sizes: Sizes, lengths: Lengths | None, noted: Noted
    ) -> Callable[[], tuple[float, dict[str, Array]]]:
        """Loss and gradients where there are no steps or no sequences, whatever the way."""
        kernel = self._kernel_of(_entry("gradient", None, lengths), sizes)

        def value_and_grad() -> tuple[float, dict[str, Array]]:
            noted.check()
            results = kernel.run(leaves, sizes.steps, sizes.batch, ("primal", "adjoint", "inputs"))
            found = self._gradients(results, sizes, ("params", "inputs"))
            return float(results["loss", "loss"]), found

        return value_and_grad

    def _noise(self, sizes: Sizes, training: bool, seed: Seed) -> dict[str, Array]:
        return draw_noise(self.graph, sizes.axes, seed, training, self.dtype)

    # Results ---------------------------------------------------------------------------

    def _output_specs(self, lengths: Lengths | None) -> dict[str, Spec]:
        return self.outputs if lengths is None else self._interface.ragged_outputs

    def _outputs(
        self, results: Mapping[tuple[str, str], Array], sizes: Sizes, lengths: Lengths | None
    ) -> dict[str, Array]:
        specs, states = self._output_specs(lengths), self._interface.states
        found, rows = outputs_and_state(results, specs, states, sizes)
        return found | {STATE + name: array for name, array in rows.items()}

    def _gradients(
        self, results: Mapping[tuple[str, str], Array], sizes: Sizes, wrt: Wrt
    ) -> dict[str, Array]:
        return gradients(results, self._interface, sizes, self._wanted(wrt, False))

    def _wanted(self, wrt: Wrt, state: bool) -> frozenset[str]:
        """The labels of gradients; those of the last names are known."""
        key = (wrt, state) if isinstance(wrt, str | tuple) else None
        asked, labels = self._asked
        if key is not None and key == asked:
            return labels
        labels = wanted(self._interface, wrt, state)
        if key is not None:
            self._asked = key, labels
        return labels


def _entry(sort: str, state: object, lengths: object) -> str:
    """The name of a kernel: what it computes, and of which leaves more.

    A network without delays has an empty state, and needs no kernel for it.
    """
    if state:
        sort = "stream" if sort == "forward" else f"{sort}.state"
    return sort if lengths is None else f"{sort}.lengths"


def _following(results: Mapping[str, Array]) -> dict[str, Array]:
    """The state after the last step."""
    return {
        label.removeprefix(STATE): array
        for label, array in results.items()
        if label.startswith(STATE)
    }
