"""A built network: what a user calls.

What holds for all of its calls, such as the shapes of arrays and what a length means, stands with
:class:`Network`.
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

    :func:`rollc.build` makes it.  It can be copied and pickled.  A pickle holds the artefact, and
    so code that runs when it is read; where the artefact's folder is gone, kernels are compiled
    again when they are called.

    Attributes
    ----------
    name : str
        The spec's.
    params : dict of str to Spec
        The parameters by name: shape, kind, and whether they are frozen.
    inputs : dict of str to Spec
        The inputs: also their time axes, and whether there is a batch.
    targets : dict of str to Spec
        The targets.
    outputs : dict of str to Spec
        The outputs.
    axes : tuple of str
        The time axes.
    same_steps : dict of str to str
        For each axis the first one of those that have the same steps, since a value of one is read
        along the other.
    dtype : str
        ``float32`` or ``float64``.
    steps : int or None
        The number of steps that it was built for; None for any number.
    truncate : int or None
        The number of steps that gradients go back; None where they are not cut.
    feed : str
        ``taught`` or ``free``: what ``feed(free, taught)`` reads.
    fed : frozenset of str
        The targets that the outputs read.
    graph : Graph
        The checked graph.

    Notes
    -----
    *Arrays* are what NumPy takes for an array of numbers, time first: ``[T, B, ...]``, or ``[T,
    ...]`` without a batch; what is static has no time.  With two time axes ``s`` and ``t`` an array
    is ``[S, B, ...]``, ``[T, B, ...]`` or, over both, ``[S, T, B, ...]``.  What would lose
    something, such as a mask or a number too large for the precision, is refused.

    *Lengths* are the numbers of steps of each sequence, ``[B]``: what comes after them is padding,
    and changes no output, loss or gradient, whatever it holds.  Outputs and gradients over time are
    zero there; outputs over time that all sequences share have the batch too.  With two time axes,
    steps and lengths are given by axis, ``{"s": …, "t": …}``, as far as they are needed.

    *Nothing*: a sequence of length 0 has initial values: ``last`` and ``first`` are those, and what
    is computed from all of its steps (a sum, a mean, an extreme) is 0.  No steps at all, or no
    sequences, give outputs without rows, states as they were and gradients of zero; a mean or an
    extreme of nothing is an error then.

    *Random numbers* come from ``seed``, and equal calls give equal results; a NumPy generator in
    its place goes on from call to call.  ``sample`` draws in every call; ``dropout`` is on only
    where ``training`` is true.

    *Errors*: what is missing, unknown or misshapen raises :class:`~rollc.InputError`, which says
    what was expected and what was found; each method says only what else does.

    Examples
    --------
    Those of the methods go on from here.

    >>> import numpy as np
    >>> import rollc
    >>> net = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2})
    >>> params = net.init(seed=0)
    >>> random = np.random.default_rng(0)
    >>> inputs = {"x": random.normal(size=(5, 4, 2)), "y": random.normal(size=(5, 4, 2))}
    >>> net
    <Network lstm: float32, any number of steps>
    >>> net.params["W"].shape, net.inputs["x"].dimensions()
    ((12, 2), ('T', 'B', 2))
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
        self.same_steps = self._interface.same
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

        Parameters
        ----------
        stage : str
            ``graph``, ``checked``, ``simplified``, ``adjoint``, ``tangent``, ``dag`` (which needs
            ``steps``) or ``schedule``.
        steps : int or mapping of axis to int, optional
            A column for each step, or with two time axes a grid of them.
        kernel : str, optional
            Another kernel than the default of the stage.
        every_node : bool
            A box for each node, instead of one for each equation.
        opened : collection of str, optional
            The cells to look into; ``["all"]``: every one.
        theme : str
            ``auto``, ``light`` or ``dark``.

        Returns
        -------
        Picture
            With ``svg()`` and ``save(path)``.

        Raises
        ------
        InputError
            Where there is no such stage, kernel or cell, and no Graphviz.

        Examples
        --------
        >>> picture = net.draw("adjoint", steps=3)
        >>> picture.svg()[:4]
        '<svg'
        """
        from rollc.drawing.picture import draw
        from rollc.network.diagnosis.stages import drawn_stage

        shown, grid = drawn_stage(self.graph, stage, kernel, steps)
        return draw(shown, every_node=every_node, opened=opened, theme=theme, steps=grid)

    def ir(
        self,
        stage: str = "checked",
        *,
        steps: Steps | None = None,
        kernel: str | None = None,
    ) -> str:
        """The text of a stage, as ``rollc ir`` prints it; a notebook shows it as it is.

        Parameters
        ----------
        stage : str
            One of those of :meth:`draw`, ``program`` or ``kernel``.
        steps : int or mapping of axis to int, optional
            Those along each time axis, or one number for all.
        kernel : str, optional
            As in :meth:`draw`.

        Returns
        -------
        str

        Raises
        ------
        InputError
            Where there is no such stage or kernel.

        Examples
        --------
        >>> print(net.ir("checked").splitlines()[0])
        rollc graph 1  stage checked
        """
        from rollc.network.diagnosis.stages import text_of

        return text_of(self.graph, stage, kernel, steps, self.dtype, None)

    def explain(self, *nodes: str, kernel: str | None = None) -> str:
        """Why a kernel is as it is: what became of its nodes, as ``rollc explain`` prints it.

        Parameters
        ----------
        *nodes : str
            Names of the spec's values; all where none is given.
        kernel : str, optional
            Another kernel than ``gradient``.

        Returns
        -------
        str

        Raises
        ------
        InputError
            For a name that no node has, and an unknown kernel.

        Examples
        --------
        >>> print(net.explain("h").splitlines()[0])
        primal: loop 1, forwards over t, step by step: on a cycle
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
        """Initial parameters, as the spec's initialisers say.

        Parameters
        ----------
        seed : int or numpy.random.Generator
            What they are drawn from.

        Returns
        -------
        dict of str to ndarray
            The parameters by name.

        Examples
        --------
        >>> {name: array.shape for name, array in net.init(seed=1).items()}
        {'W': (12, 2), 'U': (12, 3), 'b': (12,), 'V': (2, 3), 'd': (2,)}
        """
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
        """The outputs, by name.

        With a ``state`` the steps are a window of a longer sequence, and what is computed from all
        steps, such as a mean, is that of the window.  With two time axes the window goes along the
        one of the state: where the network runs step by step along it, inputs are those that run
        along it, since the state has what comes of the others.

        Parameters
        ----------
        params : mapping of str to array
            The parameters, with the shapes of :attr:`params`.
        inputs : mapping of str to array, optional
            The inputs, ``[T, B, ...]`` or ``[T, ...]``; of targets only those that the outputs are
            taught by.
        state : mapping of str to array, optional
            Takes the place of initial values (see :meth:`initial_state`).
        steps : int or mapping of axis to int, optional
            The number of steps, where no input tells it.
        lengths : array [B] or mapping of axis to array, optional
            The steps of each sequence; what comes after them is padding.
        training : bool
            Whether dropout is on.
        seed : int or numpy.random.Generator
            What dropout and ``sample`` draw from.

        Returns
        -------
        dict of str to ndarray
            The outputs, and with a ``state`` the one after the last step as ``state.NAME``.

        Examples
        --------
        >>> outputs = net.forward(params, inputs)
        >>> outputs["h"].shape, outputs["p"].shape
        ((5, 4, 3), (5, 4, 2))
        >>> net.forward(params, {"x": np.zeros((5, 4, 3))})
        Traceback (most recent call last):
            ...
        rollc.errors.InputError: input `x`: expected float [T, B, 2] with shape [5, 4, 2], found ...
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
        """The loss, without gradients: of a kernel that keeps nothing for them.

        Parameters
        ----------
        params, inputs, steps, state, lengths, training, seed
            As in :meth:`value_and_grad`.

        Returns
        -------
        float
            With a ``state`` that of the window.

        Examples
        --------
        >>> net.loss(params, inputs) == net.value_and_grad(params, inputs)[0]
        True
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
        """The loss and its gradients.

        A parameter's gradient is the sum over all steps, of the mean over the batch.  With a
        ``state`` the arrays are a window of a longer sequence, and the loss is the window's; no
        gradient of what comes later passes (:meth:`vjp` takes it).  With two time axes a window has
        some steps along that of the state, as rows of an image, and all along the other; inputs
        that do not run along it are given in each, so that a gradient reaches what they make.

        Parameters
        ----------
        params : mapping of str to array
            The parameters, with the shapes of :attr:`params`.
        inputs : mapping of str to array
            Inputs and targets, ``[T, B, ...]`` or ``[T, ...]``.
        steps, lengths, training, seed
            As in :meth:`forward`.
        wrt : str or collection of str
            Which gradients: names of parameters and inputs, or ``"params"``, ``"inputs"`` and
            ``"state"`` for all of a sort.  Where none of the inputs is among them, theirs are not
            computed.
        state : mapping of str to array, optional
            The state that the window begins with (see :meth:`initial_state`).
        per_sequence : bool
            A loss and gradients for each sequence: those of parameters take B times their bytes,
            and little else is added (:meth:`gradient_bytes`).

        Returns
        -------
        loss : float, or ndarray [B] with ``per_sequence``
            The mean of the losses of each sequence is the loss.
        gradients : dict of str to ndarray
            By the names of parameters and inputs, in their shapes; that of a given state as
            ``state.NAME``.  With ``per_sequence`` those of parameters are ``[B, ...]``.
        state : dict of str to ndarray
            With a ``state`` only: the one after the last step.

        Raises
        ------
        InputError
            Without a loss, for what has no gradient, and with ``per_sequence`` where the loss is no
            mean over the sequences, or where these meet before.

        Examples
        --------
        >>> loss, grads = net.value_and_grad(params, inputs)
        >>> grads["U"].shape, grads["x"].shape
        ((12, 3), (5, 4, 2))
        >>> losses, each = net.value_and_grad(params, inputs, wrt="params", per_sequence=True)
        >>> losses.shape, each["U"].shape, "x" in each
        ((4,), (4, 12, 3), False)
        >>> bool(np.allclose(each["U"].mean(axis=0), grads["U"], atol=1e-6))
        True
        """
        self._definition.need_loss()
        if switch("`per_sequence`", per_sequence):
            need_sequences_apart(self._definition, state)
        labels = self._definition.labels(wrt, state)
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
        """The memory that :meth:`value_and_grad` would take.

        Parameters
        ----------
        params, inputs, steps, state, lengths, per_sequence
            As in :meth:`value_and_grad`.

        Returns
        -------
        int
            Bytes, those of the gradients among them.

        Examples
        --------
        >>> apart = net.gradient_bytes(params, inputs, per_sequence=True)
        >>> net.gradient_bytes(params, inputs) < apart
        True
        """
        call = self._losses(params, inputs, steps, state, lengths, False, 0)
        if switch("`per_sequence`", per_sequence):
            need_sequences_apart(self._definition, state)
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

        A gradient that vanishes or explodes is seen at once.  The network is interpreted, in the
        memory of all its values.

        Parameters
        ----------
        params, inputs, steps, lengths, training, seed
            As in :meth:`forward`; without the targets there are no derivatives.
        names : collection of str
            The values to follow; without any, all that the spec names and that change with time.

        Returns
        -------
        tuple of Flow
            With the arrays ``value`` and ``adjoint``, ``[T]`` each.

        Raises
        ------
        InputError
            For a name that no value has.

        References
        ----------
        Bengio, Simard and Frasconi, Learning long-term dependencies with gradient descent is
        difficult (1994), IEEE Transactions on Neural Networks 5(2).

        Examples
        --------
        >>> (flow,) = net.trace(params, inputs, names=["h"])
        >>> flow.name, flow.value.shape, flow.adjoint.shape
        ('h', (5,), (5,))
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
        axis: str | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Plan, Callable[[], tuple[float, dict[str, Array]]]]:
        """Loss and gradients in little memory: a plan, and a function that carries it out.

        Only the state between windows is kept, and what is inside a window is computed twice; the
        numbers are those of :meth:`value_and_grad`.

        Parameters
        ----------
        params, inputs, steps, training, seed
            As in :meth:`value_and_grad`.
        checkpoint : int, optional
            The steps of a window.
        memory : int, optional
            In its place, the bytes that the run may take: windows are as long as they allow.
        axis : str, optional
            The time axis that is cut, where either of two can be; without it that of more steps.
            Each window has all steps of the other one, and computes what runs along that alone.

        Returns
        -------
        plan : Plan
            How long the windows are, the bytes that the run will take, and the work that it adds.
        run : callable
            Without arguments; returns the loss and the gradients.  It has no copy of the arrays,
            and raises :class:`~rollc.InputError` where they have changed by then.

        Raises
        ------
        InputError
            Where a network cannot run in windows, or not in so few bytes.

        References
        ----------
        Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost (2016), section
        4. Gruslys et al., Memory-efficient backpropagation through time (2016).

        Examples
        --------
        >>> plan, run = net.windows(params, inputs, checkpoint=2)
        >>> plan.steps, plan.windows
        (2, 3)
        >>> loss, grads = run()
        >>> bool(np.isclose(loss, net.loss(params, inputs)))
        True
        """
        from rollc.network.derivatives.checkpointing import windows

        if self.steps is not None:
            raise InputError("windows need a network for any number of steps")
        call = self._losses(params, inputs, steps, None, None, training, seed)
        return windows(call, checkpoint, memory, axis)

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

        With the state goes its derivative in every parameter (real-time recurrent learning): there
        is no tape, and the memory is the same for any number of steps.  The numbers are those of
        :meth:`value_and_grad`, of parameters only: gradients of inputs would have to be kept for
        every step.

        Parameters
        ----------
        params, inputs, steps, lengths, training, seed
            As in :meth:`value_and_grad`.
        memory : int, optional
            The bytes that it may take; 4 GB where none are given.

        Returns
        -------
        plan : Sensitivity
            The number of derivatives that go along, and the bytes that the run will take.
        run : callable
            Without arguments; returns the loss and the gradients of the parameters.  It has no copy
            of the arrays, and raises :class:`~rollc.InputError` where they have changed by then.

        Raises
        ------
        InputError
            Where a network cannot run so, or takes more than ``memory``.

        References
        ----------
        Williams and Zipser, A learning algorithm for continually running fully recurrent neural
        networks (1989), Neural Computation 1(2).

        Examples
        --------
        >>> plan, run = net.forward_sensitivities(params, inputs)
        >>> plan.directions  # the derivative in each element of the parameters
        80
        >>> sorted(run()[1])
        ['U', 'V', 'W', 'b', 'd']
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

        Parameters
        ----------
        params, inputs, steps, lengths, training, seed
            As in :meth:`forward`.
        state : mapping of str to array, optional
            The outputs are those of a window then: the state after the last step is among them as
            ``state.NAME``, and so among the cotangents, and the gradient of the given one among the
            gradients.
        wrt : str or collection of str
            Which gradients, as in :meth:`value_and_grad`.

        Returns
        -------
        outputs : dict of str to ndarray
            Those of :meth:`forward`.
        pullback : Pullback
            Called with arrays of the outputs' shapes, by name (those left out are zero), it returns
            the gradients of parameters and inputs, or those of its own ``wrt``.  It keeps what the
            forward pass computed, and copies of what it needs of arrays: it can be called any
            number of times, whatever becomes of them, and its memory is free when it is dropped.

        Examples
        --------
        >>> outputs, pullback = net.vjp(params, inputs)
        >>> grads = pullback({"h": np.ones((5, 4, 3))}, wrt=["U", "x"])
        >>> grads["U"].shape, grads["x"].shape
        ((12, 3), (5, 4, 2))
        """
        labels = self._definition.labels(wrt, state)
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

        They are those of the adjoint, ``<g, J v> = <J' g, v>``: no derivative passes ``stop`` or
        the borders of ``truncate``, and a ``grad`` of the spec's own counts as it is written.

        Parameters
        ----------
        params, inputs, steps, lengths, training, seed
            As in :meth:`forward`.
        tangents : mapping of str to array
            How what is given moves: arrays of the shapes of parameters and inputs, by their names,
            and of a given ``state`` as ``state.NAME``; what is left out stays as it is.
        state : mapping of str to array, optional
            The one after the last step and its derivative are among the results then, as
            ``state.NAME``.

        Returns
        -------
        outputs : dict of str to ndarray
            Those of :meth:`forward`.
        derivatives : dict of str to ndarray
            Of the outputs' names and shapes; outputs that are no real numbers have none.

        Raises
        ------
        InputError
            For a target or an index among the tangents, and where no output is of real numbers.

        References
        ----------
        Griewank and Walther, Evaluating Derivatives (2008), chapter 3.

        Examples
        --------
        >>> outputs, slopes = net.jvp(params, inputs, {"U": np.ones((12, 3))})
        >>> slopes["h"].shape
        (5, 4, 3)
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
        """The product of the Hessian of the loss with a vector.

        It is the derivative of the gradients of :meth:`value_and_grad` in the direction of
        ``vectors``: ``(grad(w + e v) - grad(w)) / e`` for a small ``e``.  With a vector for
        parameters alone, the products of the inputs are the mixed derivatives.  What ``stop``
        gives, and what is read across a border of ``truncate``, counts as constant for both
        derivatives.

        Parameters
        ----------
        params, inputs, steps, wrt, state, lengths, training, seed
            As in :meth:`value_and_grad`.
        vectors : mapping of str to array
            Arrays of the shapes of parameters and inputs, by their names, and of a given ``state``
            as ``state.NAME``; those left out are zero.

        Returns
        -------
        dict of str to ndarray
            A product for each gradient that ``wrt`` names, of its shape.

        Raises
        ------
        InputError
            As :meth:`jvp` does, where a value has a derivative of its own by ``grad``, which says
            nothing of a second one, and for a window (``state``) along one of two time axes.

        References
        ----------
        Pearlmutter, Fast exact multiplication by the Hessian (1994), Neural Computation 6(1): the
        tangent of the adjoint, as here.

        Examples
        --------
        >>> products = net.hvp(params, inputs, {"U": np.ones((12, 3))}, wrt="params")
        >>> products["W"].shape
        (12, 2)
        """
        from rollc.network.derivatives.pushforward import products

        labels = self._definition.labels(wrt, state)
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
        inputs, a given ``state`` and the cotangents.  In JAX that is ``jax.vjp`` of the gradients,
        of a function that ``jax.vjp`` gives; of the gradients of the loss it is :meth:`hvp`, and so
        is what counts as constant. Gradients are linear in the cotangents: what comes back to those
        is :meth:`jvp` along ``vectors``.

        Parameters
        ----------
        params, inputs, steps, state, lengths, training, seed
            As in :meth:`vjp`.
        cotangents : mapping of str to array
            Arrays of the outputs' shapes, by name.
        vectors : mapping of str to array
            Cotangents of the gradients, in their shapes and by their names; those left out are
            zero.
        wrt : str or collection of str
            As in :meth:`value_and_grad`, and ``"cotangents"``.

        Returns
        -------
        products : dict of str to ndarray
            What comes back to parameters, inputs and state, as far as ``wrt`` names them.
        cotangents : dict of str to ndarray
            If ``"cotangents"`` is among ``wrt``, what comes back to those, by the outputs' names.

        Raises
        ------
        InputError
            As :meth:`vjp` and :meth:`jvp` do, and where a value has a derivative of its own by
            ``grad``, which says nothing of a second one.

        Examples
        --------
        >>> cotangents = {"h": np.ones((5, 4, 3))}
        >>> products, back = net.gradient_vjp(params, inputs, cotangents, {"U": np.ones((12, 3))})
        >>> products["W"].shape, back["h"].shape
        ((12, 2), (5, 4, 3))
        """
        from rollc.network.derivatives.pushforward import products, pushed

        asked = names_of(wrt)
        own = tuple(name for name in asked if name != COTANGENTS)
        labels = self._definition.labels(own, state)
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

        With two time axes the steps go along one of them.  What comes of the inputs along the other
        is computed here, and is part of the state as far as the steps read it (``[S, B, ...]`` over
        the axis ``s``).  The arrays can be saved, and the state taken up again.

        Parameters
        ----------
        params : mapping of str to array
            The parameters.
        inputs : mapping of str to array, optional
            What initial values read, of an input over time all steps (``init h = mean(x, over
            t)``), or any inputs or targets that tell the batch; with two time axes all that do not
            run along ``axis``.
        steps : int or mapping of axis to int, optional
            The number of steps, where no input tells it.
        axis : str, optional
            The time axis that the steps go along; where it can be only one there is no need to say
            it.  Where no steps can, but windows, those (:meth:`value_and_grad`).
        lengths, training, seed
            As in :meth:`forward`; with two time axes, lengths along the other one.

        Returns
        -------
        dict of str to ndarray
            Arrays ``[depth, B, ...]`` (``[depth, ...]`` without a batch), the oldest step first,
            with as many rows as the longest delay.

        Examples
        --------
        >>> state = net.initial_state(params, inputs)
        >>> {name: array.shape for name, array in state.items()}
        {'h': (1, 4, 3), 'c': (1, 4, 3)}
        """
        given = (params, inputs, steps, axis, lengths, training, seed)
        return self._definition.initial_state(*given)

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
        """One step.

        Step by step, the outputs are those of :meth:`forward`.

        Parameters
        ----------
        params : mapping of str to array
            The parameters.
        state : mapping of str to array
            That of :meth:`initial_state`, or of the step before.
        inputs : mapping of str to array, optional
            Those of this one step, without the time dimension (``[B, ...]``, or ``[...]``); with
            two time axes those that run along ``axis``.
        axis : str, optional
            The one of the state, whose names mostly tell it.
        training : bool
            Whether dropout is on.
        seed : int or numpy.random.Generator
            For new random numbers at each step, a generator, or another number each time.

        Returns
        -------
        outputs : dict of str to ndarray
            ``[B, ...]``, or ``[...]``.
        state : dict of str to ndarray
            The next one.

        Raises
        ------
        InputError
            Where an output or the state needs a value that is computed from all steps, such as a
            mean or a softmax over them; it names the value.

        Examples
        --------
        >>> state = net.initial_state(params, inputs)
        >>> for x in inputs["x"]:
        ...     outputs, state = net.step(params, state, {"x": x})
        >>> bool(np.allclose(outputs["h"], net.forward(params, inputs)["h"][-1], atol=1e-6))
        True
        """
        run = self._definition.steps_of(state, axis)
        return run.step(params, state, inputs, training, seed)

    def prepare(self, params: Arrays) -> Prepared:
        """The network with these parameters: weights are packed once, and buffers stay.

        Parameters
        ----------
        params : mapping of str to array
            The parameters, of which it has copies.

        Returns
        -------
        Prepared
            With ``forward``, ``loss``, ``initial_state`` and ``step`` without ``params``, and the
            same results; for steps with a clock there is
            :meth:`~rollc.network.steps.prepared.Prepared.stream`.

        Examples
        --------
        >>> stream = net.prepare(params).stream(batch=4)
        >>> stream(inputs["x"][0])["h"].shape
        (4, 3)
        """
        from rollc.network.steps.prepared import Prepared

        return Prepared(self, self._definition, params)

    def axis_of_steps(self, axis: str | None = None) -> str:
        """The time axis that :meth:`step` goes along.

        Parameters
        ----------
        axis : str, optional
            The one that is wanted; it is looked at whether steps can go along it.

        Returns
        -------
        str

        Raises
        ------
        InputError
            Where the network cannot run so, or along both axes.

        Examples
        --------
        >>> net.axis_of_steps()
        't'
        """
        run = self._definition.streaming(axis, False)
        run.need_steps()
        return run.axis
