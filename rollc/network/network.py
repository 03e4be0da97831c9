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

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, overload

from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.ir.names import STATE as STATE
from rollc.network.arrays import Spec
from rollc.network.definition import Definition
from rollc.network.derivatives.by_sequence import losses_and_gradients, need_sequences_apart
from rollc.network.derivatives.gradients import ALL, COTANGENTS, Wrt, names_of, phases
from rollc.network.derivatives.pullback import Pullback, recorded
from rollc.network.evaluation import evaluation_of, forward, loss
from rollc.network.interface import Arrays, Interface, Lengths, Steps, interface_of
from rollc.network.noise_draws import Seed
from rollc.network.parameters import initial_parameters
from rollc.support.checks import switch

if TYPE_CHECKING:
    from rollc.drawing.picture import Picture
    from rollc.network.derivatives.checkpointing import Plan
    from rollc.network.derivatives.forward_mode import Sensitivity
    from rollc.network.diagnosis.flow import Flow
    from rollc.network.steps.prepared import Prepared
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
        self._definition = Definition(graph, kernel, dtype, truncate, self._interface)
        self._values = partial(evaluation_of, self._definition, targets=False)
        self._losses = partial(evaluation_of, self._definition)

    @cached_property
    def states(self) -> dict[str, Spec]:
        """The arrays of a state; with two time axes, along the one of :meth:`axis_of_steps`."""
        if len(self.axes) == 1:
            return self._interface.states
        with suppress(InputError):
            return self._definition.streaming(None, False).state
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

    def draw(
        self,
        stage: str = "checked",
        *,
        steps: Steps | None = None,
        kernel: str | None = None,
        every_node: bool = False,
        opened: Collection[str] | None = None,
        theme: str = "auto",
    ) -> Picture:
        """A picture of the network: a notebook shows it, and its ``save("net.svg")`` writes it.

        ``stage`` is ``graph``, ``checked``, ``simplified``, ``adjoint``, ``tangent``, ``dag``
        (which needs ``steps``) or ``schedule``; with ``steps`` there is a column for each, and
        with two time axes a grid of them.  ``kernel`` is another one than the default of the stage,
        ``opened`` are the cells to look into (``["all"]``: every one), and ``theme`` is ``auto``,
        ``light`` or ``dark``.  Raises :class:`InputError` where there is no such stage, kernel or
        cell, and no Graphviz.
        """
        from rollc.drawing.picture import draw
        from rollc.network.diagnosis.stages import drawn_stage

        shown, grid = drawn_stage(self.graph, stage, kernel, steps)
        return draw(shown, every_node=every_node, opened=opened, theme=theme, steps=grid)

    def ir(
        self, stage: str = "checked", *, steps: int | None = None, kernel: str | None = None
    ) -> str:
        """The text of a stage, as ``rollc ir`` prints it; a notebook shows it as it is.

        ``stage`` is one of those of :meth:`draw`, ``program`` or ``kernel``.  Raises
        :class:`InputError` where there is no such stage or kernel.

            net.ir("dag", steps=3)
        """
        from rollc.network.diagnosis.stages import text_of

        return text_of(self.graph, stage, kernel, steps, self.dtype, None)

    def explain(self, *nodes: str, kernel: str | None = None) -> str:
        """Why a kernel is as it is: what became of its nodes, as ``rollc explain`` prints it.

        Raises :class:`InputError` for a name that no node has, and for an unknown kernel.
        """
        from rollc.network.diagnosis.stages import remarks_of

        return remarks_of(self.graph, nodes, kernel, self.dtype)

    def _repr_html_(self) -> str:
        from rollc.network.diagnosis.notebook import page

        arrays = {
            "input": self.inputs,
            "target": self.targets,
            "param": self.params,
            "output": self.outputs,
        }
        picture = ""
        with suppress(InputError):  # without Graphviz there is none
            picture = self.draw().svg()
        return page(f"{self.name}, {self.dtype}", arrays, picture, self.ir())

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
        return forward(self._definition, params, inputs, state, steps, lengths, training, seed)

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
        return loss(self._definition, params, inputs, steps, state, lengths, training, seed)

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
        bytes, and little else is added (:meth:`gradient_bytes`).  Raises :class:`InputError` where
        the loss is no mean over the sequences, or where these meet before.
        """
        self._definition.need_loss()
        if switch("`per_sequence`", per_sequence):
            need_sequences_apart(self.graph, self._interface, state is not None)
        labels = self._definition.labels(wrt, state is not None)
        call = self._losses(params, inputs, steps, state, lengths, training, seed)
        loss: float | Array
        if per_sequence:
            results = call.run("by_sequence")
            loss, found = losses_and_gradients(call, results, labels)
        else:
            results = call.run("gradient", ("primal", *phases(self._interface, labels)))
            loss, found = float(results["loss", "loss"]), call.gradients(results, labels)
        return (loss, found) if state is None else (loss, found, call.following(results))

    def gradient_bytes(
        self,
        params: Arrays,
        inputs: Arrays,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        per_sequence: bool = False,
    ) -> int:
        """The bytes that :meth:`value_and_grad` would take, those of the gradients among them."""
        call = self._losses(params, inputs, steps, state, lengths, False, 0)
        if switch("`per_sequence`", per_sequence):
            need_sequences_apart(self.graph, self._interface, state is not None)
        return call.kernel("by_sequence" if per_sequence else "gradient").bytes(call.sizes.axes)

    def trace(
        self,
        params: Arrays,
        inputs: Arrays | None = None,
        steps: Steps | None = None,
        *,
        names: Collection[str] = (),
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Flow, ...]:
        """Norms of values, and of the derivatives of the loss by them, at each step.

        For every value that the spec names and that changes with time, or those in ``names``, a
        :class:`~rollc.network.diagnosis.flow.Flow` with two arrays ``[T]``, ``value`` and
        ``adjoint``: a gradient that vanishes or explodes is seen at once.  The network is
        interpreted, in the memory of all its values.  Without the targets there are no
        derivatives.  Raises :class:`InputError` for a name that no value has.

            for flow in net.trace(params, inputs, names=["h"]):
                print(flow.name, flow.adjoint[0] / flow.adjoint[-1])
        """
        from rollc.network.diagnosis.flow import flows

        has_loss = self.graph.loss is not None and self.targets.keys() <= (inputs or {}).keys()
        of = self._losses if has_loss else self._values
        return flows(of(params, inputs, steps, None, lengths, training, seed), has_loss, names)

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
        from rollc.network.derivatives.checkpointing import windows

        if self.steps is not None:
            raise InputError("windows need a network for any number of steps")
        call = self._losses(params, inputs, steps, None, None, training, seed)
        return windows(call, checkpoint, memory)

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
        from rollc.network.derivatives.forward_mode import sensitivities

        if self.steps is not None:
            raise InputError("forward sensitivities need a network for any number of steps")
        call = self._losses(params, inputs, steps, None, lengths, training, seed)
        return sensitivities(call, memory)

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
        labels = self._definition.labels(wrt, state is not None)
        self._definition.need_slopes()
        call = self._values(params, inputs, steps, state, lengths, training, seed)
        return recorded(call, labels)

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
        from rollc.network.derivatives.pushforward import pushed

        self._definition.need_slopes()
        call = self._values(params, inputs, steps, state, lengths, training, seed)
        return pushed(call, tangents)

    def hvp(
        self,
        params: Arrays,
        inputs: Arrays,
        vectors: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = ALL,
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
        for each gradient that ``wrt`` names: with a vector for parameters alone, those of the
        inputs are the mixed derivatives.

            products = net.hvp(params, inputs, {"W": v})  # (grad(W + e v) - grad(W)) / e

        What `stop` gives, and what is read across a border of ``truncate``, counts as constant for
        both derivatives.  Raises :class:`InputError` as :meth:`jvp` does, and where a value has a
        derivative of its own by `grad`, which says nothing of a second one.

        Reference: Pearlmutter, Fast exact multiplication by the Hessian (1994), Neural
        Computation 6(1): the tangent of the adjoint, as here.
        """
        from rollc.network.derivatives.pushforward import products

        labels = self._definition.labels(wrt, state is not None)
        call = self._losses(params, inputs, steps, state, lengths, training, seed)
        return products(call, vectors, labels)

    def gradient_vjp(
        self,
        params: Arrays,
        inputs: Arrays | None,
        cotangents: Arrays,
        vectors: Arrays,
        steps: Steps | None = None,
        wrt: Wrt = (*ALL, COTANGENTS),
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The vector-Jacobian product of gradients: what a second backward pass computes.

        The gradients are those of :meth:`vjp` from ``cotangents``, a function of parameters,
        inputs, a given ``state`` and the cotangents.  ``vectors`` are cotangents of the gradients,
        in their shapes and by their names; those left out are zero.  The first result is what
        comes back to parameters, inputs and state, as far as ``wrt`` names them; the second, if
        ``"cotangents"`` is among ``wrt``, what comes back to the cotangents, by the outputs' names.

            gradients = net.vjp(params, inputs)[1](cotangents)
            products, slopes = net.gradient_vjp(params, inputs, cotangents, {"W": v})

        In JAX that is ``jax.vjp`` of the gradients, of a function that ``jax.vjp`` gives; of the
        gradients of the loss it is :meth:`hvp`, and so is what counts as constant.  Gradients are
        linear in the cotangents: what comes back to those is :meth:`jvp` along ``vectors``.
        Raises :class:`InputError` as :meth:`vjp` and :meth:`jvp` do, and where a value has a
        derivative of its own by `grad`, which says nothing of a second one.
        """
        from rollc.network.derivatives.pushforward import products, pushed

        asked = names_of(wrt)
        own = tuple(name for name in asked if name != COTANGENTS)
        labels = self._definition.labels(own, state is not None)
        self._definition.need_slopes()
        call = self._values(params, inputs, steps, state, lengths, training, seed)
        found = products(call, vectors, labels, cotangents) if labels else {}
        return found, pushed(call, vectors)[1] if COTANGENTS in asked else {}

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
        run = self._definition.streaming(axis, lengths is not None)
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
        run = self._definition.streaming(axis, self._interface.has_lengths(state))
        return run.step(params, state, inputs, training, seed)

    def prepare(self, params: Arrays) -> Prepared:
        """The network with these parameters: weights are packed once, and buffers stay.

        What is prepared has `forward`, `loss`, `initial_state` and `step` without ``params``, with
        the same results, and copies of the parameters.  For steps with a clock there is
        :meth:`~rollc.network.steps.prepared.Prepared.stream`.  Raises :class:`InputError` for
        parameters that are missing, unknown or misshapen.
        """
        from rollc.network.steps.prepared import Prepared

        return Prepared(self, self._definition, params)

    def axis_of_steps(self, axis: str | None = None) -> str:
        """The time axis that :meth:`step` goes along, if none is said or this one.

        Raises :class:`InputError` where the network cannot run so, or along both axes.
        """
        run = self._definition.streaming(axis, False)
        run.need_steps()
        return run.axis
