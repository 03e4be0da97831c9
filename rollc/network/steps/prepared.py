"""A network with parameters of its own: weights are packed once, and buffers stay.

Who calls a network many times with the same parameters pays for them once.  Who calls it step by
step, with a clock, has a :class:`Stream` besides, which keeps the state where the kernel reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.errors import InputError
from rollc.network.definition import Definition
from rollc.network.evaluation import forward, loss
from rollc.network.interface import Arrays, Lengths, Steps
from rollc.network.noise_draws import Seed, seed_of
from rollc.support.checks import shown, switch, whole

if TYPE_CHECKING:
    from rollc.network.steps.stepper import Stepper
    from rollc.network.steps.streaming import Streaming
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]
Results = dict[str, Array]


class Prepared:
    """A network with parameters of its own; :meth:`rollc.Network.prepare` makes it.

    Its methods are those of the network without ``params``, and give the same numbers.  Kernels are
    made ready when they are first called.  Several threads may call it at once.  It can be copied,
    and pickled where the network can.

    Attributes
    ----------
    params : mapping of str to ndarray
        Copies of the parameters, that nothing can change.

    Examples
    --------
    Those of the methods go on from here.

    >>> import numpy as np
    >>> import rollc
    >>> net = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2})
    >>> prepared = net.prepare(net.init(seed=0))
    >>> x = np.random.default_rng(0).normal(size=(5, 4, 2))
    """

    def __init__(self, network: object, definition: Definition, params: Arrays) -> None:
        """``network`` is what has a method ``prepare``, for pickles."""
        taken = definition.interface.parameters(params)
        self.params: Mapping[str, Array] = {name: np.array(own) for name, own in taken.items()}
        for array in self.params.values():
            array.flags.writeable = False
        self._network = network
        self._kernels: dict[str, Kernel] = {}
        self._made = definition.kernel
        self._definition = replace(
            definition,
            kernel=self._kernel,
            interface=replace(definition.interface, params={}, known={}),
            constants=self.params,
            _asked={},
            _steps={},
        )

    def _kernel(self, entry: str) -> Kernel:
        found = self._kernels.get(entry)
        if found is None:  # two threads may make it, and either is right
            found = self._kernels[entry] = self._made(entry).with_parameters(self.params)
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        return methodcaller("prepare", dict(self.params)), (self._network,)

    def __copy__(self) -> Prepared:
        return self  # nothing of it changes

    def __deepcopy__(self, memo: Any) -> Prepared:
        return self

    def __repr__(self) -> str:
        return f"<prepared {self._network!r}>"

    def forward(
        self,
        inputs: Arrays | None = None,
        state: Arrays | None = None,
        steps: Steps | None = None,
        *,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> Results:
        """The outputs, by name: :meth:`rollc.Network.forward`.

        Parameters
        ----------
        inputs, state, steps, lengths, training, seed
            As there.

        Returns
        -------
        dict of str to ndarray

        Examples
        --------
        >>> prepared.forward({"x": x})["h"].shape
        (5, 4, 3)
        """
        return forward(self._definition, {}, inputs, state, steps, lengths, training, seed)

    def loss(
        self,
        inputs: Arrays,
        steps: Steps | None = None,
        *,
        state: Arrays | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> float:
        """The loss: :meth:`rollc.Network.loss`.

        Parameters
        ----------
        inputs, steps, state, lengths, training, seed
            As there.

        Returns
        -------
        float
        """
        return loss(self._definition, {}, inputs, steps, state, lengths, training, seed)

    def initial_state(
        self,
        inputs: Arrays | None = None,
        steps: Steps | None = None,
        *,
        axis: str | None = None,
        lengths: Lengths | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> Results:
        """The state before the first step: :meth:`rollc.Network.initial_state`.

        Parameters
        ----------
        inputs, steps, axis, lengths, training, seed
            As there.

        Returns
        -------
        dict of str to ndarray
        """
        return self._definition.initial_state({}, inputs, steps, axis, lengths, training, seed)

    def step(
        self,
        state: Arrays,
        inputs: Arrays | None = None,
        *,
        axis: str | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> tuple[Results, Results]:
        """One step: :meth:`rollc.Network.step`.  A :meth:`stream` has less to do.

        Parameters
        ----------
        state, inputs, axis, training, seed
            As there.

        Returns
        -------
        outputs : dict of str to ndarray
            ``[B, ...]``, or ``[...]``.
        state : dict of str to ndarray
            The next one.

        Examples
        --------
        >>> state = prepared.initial_state({"x": x})
        >>> outputs, state = prepared.step(state, {"x": x[0]})
        """
        return self._definition.steps_of(state, axis).step({}, state, inputs, training, seed)

    def stream(
        self,
        state: Arrays | None = None,
        *,
        batch: int | None = None,
        axis: str | None = None,
        training: bool = False,
        seed: Seed = 0,
    ) -> Stream:
        """Steps one after the other, from a state on.

        Parameters
        ----------
        state : mapping of str to array, optional
            Without one it begins with the initial values; where these are computed from inputs,
            :meth:`initial_state` gives it.
        batch : int, optional
            In the place of a state, the number of sequences; without it there is one, and no batch.
        axis, training
            As in :meth:`rollc.Network.step`.
        seed : int or numpy.random.Generator
            Random numbers of all steps come from one generator.

        Returns
        -------
        Stream

        Raises
        ------
        InputError
            Where the network cannot run step by step, or the state is not one of its own.

        Examples
        --------
        >>> stream = prepared.stream(batch=4)
        >>> outputs = [stream(each)["h"] for each in x]
        >>> bool(np.allclose(outputs, prepared.forward({"x": x})["h"], atol=1e-6))
        True
        """
        random = seed_of(seed)
        if not isinstance(random, np.random.Generator):
            random = np.random.default_rng(random)
        if state is None:
            run = self._definition.streaming(axis, False)
            given = None if batch is None else run.of_batch(whole("`batch`", batch, 1))
            state = run.initial_state({}, given, None, None, training, random)
        elif batch is not None:
            raise InputError("expected either `state` or `batch`: a state has its sequences")
        return Stream(self, self._definition.steps_of(state, axis), state, axis, training, random)


class Stream:
    """Steps of a prepared network, each from the state that the one before has left.

    :meth:`Prepared.stream` makes it.  Called with the inputs of one step, without the time
    dimension, as a mapping by name, or as one array where there is one input, it returns the
    outputs, arrays of the caller's own, by name.  Least is to be done for arrays of the network's
    own precision, of the same names and sizes at each step; others are taken as everywhere.

    A stream is one sequence of steps: a call is an error while another thread is in one, and does
    nothing then.  After any error the state is as before.  A copy goes its own way from here.

    Attributes
    ----------
    state : dict of str to ndarray
        The state before the next step; it can be set.

    Examples
    --------
    >>> import rollc
    >>> net = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2})
    >>> stream = net.prepare(net.init(seed=0)).stream()
    >>> stream([0.5, -0.5])["h"].shape
    (3,)
    >>> stream.state["h"].shape
    (1, 3)
    """

    def __init__(
        self,
        prepared: Prepared,
        run: Streaming,
        state: Arrays,
        axis: str | None,
        training: bool,
        random: np.random.Generator,
    ) -> None:
        run.need_steps()
        self._prepared, self._run, self._axis = prepared, run, axis
        self._training = switch("`training`", training)
        self._random = random
        takes = (*run.own.inputs, *run.own.targets)
        self._names = [name for name in takes if name in run.own.read | run.own.carried]
        self._only = self._names[0] if len(self._names) == 1 else ""
        self._lock = threading.Lock()
        self.state = state

    def __repr__(self) -> str:
        return f"<stream of {self._prepared!r}>"

    def __call__(self, inputs: Arrays | ArrayLike | None = None) -> Results:
        """The outputs of the next step."""
        if type(inputs) is not dict:
            inputs = self._named(inputs)
        if not self._lock.acquire(blocking=False):
            raise InputError("a stream is one sequence of steps, and another thread is in one")
        try:
            stepper = self._stepper
            if stepper is None or not stepper.takes(inputs):
                return self._other_step(inputs)
            stepper.run(self._training, self._random)
            outputs = stepper.outputs()
            stepper.carry()
            return outputs
        finally:
            self._lock.release()

    @property
    def state(self) -> Results:
        """The state before the next step, as :meth:`Prepared.step` takes it; the caller's own."""
        own = {} if self._stepper is None else self._stepper.before()
        return {**deepcopy(self._state), **own}

    @state.setter
    def state(self, state: Arrays) -> None:
        self._state, sizes = self._run.taken_state(state)
        self._ready(self._run.stepper(sizes, self._names))

    def _ready(self, stepper: Stepper | None) -> None:
        """Have that do the next steps, if it is one for such a state."""
        begins = stepper is not None and stepper.begins(self._state)
        self._stepper = stepper if begins else None

    def _other_step(self, inputs: Arrays) -> Results:
        """A step for arrays that are not like those before."""
        taken = self._run.one_step({}, self.state, inputs, self._training, self._random)
        outputs, self._state, sizes = taken
        stepper = self._stepper
        if stepper is None or not stepper.is_for(sizes, inputs):
            stepper = self._run.stepper(sizes, inputs)
        self._ready(stepper)
        return outputs

    def _named(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        if inputs is None:
            return {}
        if not self._only:
            raise InputError(f"`inputs`: expected arrays by name, found {shown(inputs)}")
        return {self._only: inputs}

    def __copy__(self) -> Stream:
        random = deepcopy(self._random)
        return Stream(self._prepared, self._run, self.state, self._axis, self._training, random)

    def __deepcopy__(self, memo: Any) -> Stream:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        options = {"axis": self._axis, "training": self._training, "seed": self._random}
        return methodcaller("stream", self.state, **options), (self._prepared,)
