"""A series from its own past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from rollc.errors import EstimatorError
from rollc.sklearn.estimator import Estimator
from rollc.sklearn.interface import Interface, width
from rollc.support.checks import real, whole
from rollc.training.autoregression import Autoregression, fed_with
from rollc.training.data.pairs import deviations
from rollc.training.data.preparation import Preparation, Scale
from rollc.training.data.sequences import Sequences
from rollc.training.updates.optimizers import Optimizer
from rollc.training.updates.schedules import Schedule

Array = NDArray[Any]


class Forecaster(Estimator):
    """What comes after a long series, step by step: what is predicted is read as if it had been so.

    The spec compares an output with an input that it reads with a delay, or with a target, the next
    value of the one input that is like it.  Without a spec a gated recurrent unit corrects the
    guess that all stays as it is.  The parameters that are not named here are those of
    :class:`~rollc.sklearn.estimator.Estimator`.

    Parameters
    ----------
    spec, target, output, optimiser, rate, schedule, epochs, clip, decay, patience
        As there.
    window : int, optional
        Cuts the series into windows of so many steps, a sequence each.
    stride : int, optional
        The steps from the beginning of one to that of the next.
    stateful : bool
        Windows are read in their order, and the state goes on from one to the next.
    batch : int, optional
        The windows of an update.
    validation : float, optional
        A share of the series, its end.
    standardise, dtype, backend, random_state, sizes
        As there.

    Examples
    --------
    >>> import numpy as np
    >>> from rollc.sklearn import Forecaster
    >>> series = 100 + np.sin(0.3 * np.arange(60))
    >>> forecaster = Forecaster(H=4, epochs=5, random_state=0).fit(series)
    >>> forecaster.predict(steps=12).shape
    (12,)
    """

    _default = "forecaster.roll"

    def __init__(
        self,
        spec: str | Path | None = None,
        *,
        target: str | None = None,
        output: str | None = None,
        window: int | None = None,
        stride: int | None = None,
        stateful: bool = False,
        optimiser: str | Optimizer = "adam",
        rate: float | None = 0.01,
        schedule: str | Schedule = "cosine",
        epochs: int = 200,
        batch: int | None = 200,
        clip: float | None = 1.0,
        decay: float = 0.0,
        validation: float | None = None,
        patience: int | None = None,
        standardise: bool = True,
        dtype: str = "float64",
        backend: str | None = None,
        random_state: Any = None,
        **sizes: int,
    ) -> None:
        super().__init__(
            spec,
            target=target,
            output=output,
            optimiser=optimiser,
            rate=rate,
            schedule=schedule,
            epochs=epochs,
            batch=batch,
            clip=clip,
            decay=decay,
            validation=validation,
            patience=patience,
            standardise=standardise,
            dtype=dtype,
            backend=backend,
            random_state=random_state,
            **sizes,
        )
        self.window = window
        self.stride = stride
        self.stateful = stateful

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True  # a series, and no rows that could change places
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, y: Any, X: Any = None) -> Forecaster:
        """Fit the network to a series.

        Parameters
        ----------
        y : array [steps] or [steps, series]
            The series, or several side by side.
        X : array [steps, features], optional
            What is known at each step, also of those to be predicted: the other inputs of the spec.

        Returns
        -------
        Forecaster
            The same one.

        Raises
        ------
        ValueError
            For data that do not fit the spec.
        Diverged
            Where the loss is no number any more.
        """
        series = check_array(
            y,
            dtype=np.float64,
            ensure_2d=False,
            ensure_min_samples=2,
            estimator=self,
            input_name="y",
        )
        self._flat = series.ndim == 1
        series = series.reshape(len(series), -1)
        features = self._features_of(X, len(series))
        interface = self._interface()
        name = self._target(interface)
        read = self._fed(interface, name)
        others = [each for each in interface.inputs if each not in (name, read)]
        dims = interface.dims
        sizes = dims.solved([dims.shape(name)], series.shape[1], self._sizes)
        known = {**sizes, **self._sizes}
        sizes |= dims.solved([dims.shape(each) for each in others], features.shape[1], known)
        network = self._built(interface, sizes)
        slots = {**network.inputs, **network.targets}
        for what, of, count in (
            ("y", [slots[name]], series.shape[1]),
            ("X", [slots[each] for each in others], features.shape[1]),
        ):
            if width(of) != count:
                names = ", ".join(f"`{each.name}` {list(each.shape)}" for each in of) or "no input"
                raise EstimatorError(
                    f"{what} has {count} columns, and `{network.name}` takes {width(of)}: {names}"
                )
        self._pair = self._pair_with(network, name)
        if self._pair.kind != "numbers":
            raise EstimatorError(f"`{name}` is a class in the loss of `{network.name}`, no number")
        self._read = fed_with(network, self._pair, others)
        network.axis_of_steps()
        self._others, start = [], 0
        for each in others:
            stop = start + prod(slots[each].shape)
            self._others.append((slots[each], slice(start, stop)))
            start = stop
        own = series.reshape(-1, *slots[name].shape)
        is_next = self._read != name
        arrays = {name: own[is_next:], **self._given(features[is_next:])}
        if is_next:
            arrays[self._read] = own[:-1]
        windows = {"window": self.window, "stride": self.stride, "stateful": self.stateful}
        self._learn(network, Sequences(arrays), **windows)
        self._keep_state(arrays, own[-1])
        return self

    def _keep_state(self, arrays: dict[str, Array], last: Array) -> None:
        """Where the network is after the series."""
        ready = self.preparation_(Sequences(arrays)).arrays
        inputs = {
            each: array
            for each, array in ready.items()
            if each in self.network_.inputs or each in self.network_.fed
        }
        state = self.network_.initial_state(self.params_, inputs)
        found = self.network_.forward(self.params_, inputs, state)
        self.state_ = {each: found[f"state.{each}"] for each in state}
        self._last = self._scaled(self._read, last)

    def predict(self, steps: int = 1, X: Any = None) -> Array:
        """The steps that come after the series.

        Parameters
        ----------
        steps : int
            Their number.
        X : array [steps, features], optional
            What is known of them, if something was of the series.

        Returns
        -------
        ndarray [steps] or [steps, series]
            In the units of the series.
        """
        return self._as_given(np.array([*self._ahead(steps, X)]))

    def predict_interval(
        self, steps: int = 1, X: Any = None, *, coverage: float = 0.9, samples: int = 1000
    ) -> tuple[Array, Array]:
        """Bounds, between which each step after the series lies with the probability ``coverage``.

        They are those of ``samples`` series that are drawn, each of which reads what was drawn for
        it: what is further ahead is less certain.

        Parameters
        ----------
        steps, X
            As in :meth:`predict`.
        coverage : float
            Between 0 and 1.
        samples : int
            The number of series that are drawn.

        Returns
        -------
        low, high : ndarray [steps] or [steps, series]
            In the units of the series.

        Raises
        ------
        ValueError
            Where the loss is not the likelihood of a normal distribution, such as
            ``gaussian_nll(o, v, y)``, whose variance is an output or learned itself.
        """
        coverage, samples = real("`coverage`", coverage), whole("`samples`", samples, 1)
        if not 0 < coverage < 1:
            raise EstimatorError(f"`coverage`: expected a number between 0 and 1, found {coverage}")
        drawn = np.array([*self._ahead(steps, X, samples)])
        bounds = np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2], axis=1)
        low, high = map(self._as_given, bounds)
        return low, high

    def _ahead(self, steps: int, X: Any, samples: int | None = None) -> Iterator[Array]:
        """What is said of each step after the series, as the network says it; with ``samples``
        so many numbers are drawn."""
        check_is_fitted(self)
        steps = whole("`steps`", steps, 1)
        features = self._features_of(X, steps)
        if features.shape[1] != (count := width(slot for slot, _ in self._others)):
            raise EstimatorError(f"X has {features.shape[1]} columns, and had {count} in the fit")
        random = check_random_state(self.random_state)
        run = Autoregression(
            self.network_,
            self.params_,
            self._pair,
            self._read,
            state=self.state_,
            preparation=self.preparation_,
            samples=samples,
        )
        if self._read != self._pair.compared:
            run.hear(self._last, {})
        given = {each: self._scaled(each, array) for each, array in self._given(features).items()}
        for step in range(steps):
            now = {each: array[step] for each, array in given.items()}
            said = run.say(now)
            if samples is not None:
                said = said + self._deviation(run.outputs) * random.normal(size=said.shape)
            yield said
            run.hear(run.read_from(said), now)

    def _deviation(self, outputs: Mapping[str, Array]) -> Array:
        """That of what is predicted, as the network says it."""
        found = deviations(self.network_, self.params_, outputs, Preparation())
        if self._pair.output not in found:
            raise EstimatorError(
                f"the loss of `{self.network_.name}` tells no variance of"
                f" `{self._pair.compared}`: it is none such as `gaussian_nll(o, v, y)`, or its"
                " variance is neither an output nor learned itself"
            )
        return found[self._pair.output]

    def _as_given(self, said: Array) -> Array:
        """Steps in the units of the series, and as flat as it was."""
        scale = self._scale(self._pair.compared)
        found = np.asarray(said, np.float64)
        found = (found if scale is None else scale.back(found)).reshape(len(found), -1)
        return found[:, 0] if self._flat else found

    def score(self, y: Any, X: Any = None) -> float:
        """R2 of the steps after the series of the fit, held to what they were.

        Parameters
        ----------
        y : array [steps] or [steps, series]
            What came after the series.
        X : array [steps, features], optional
            As in :meth:`predict`.

        Returns
        -------
        float
        """
        truth = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        return float(r2_score(truth, self.predict(len(truth), X)))

    def _features_of(self, X: Any, steps: int) -> Array:
        if X is None:
            return np.zeros((steps, 0))
        found = check_array(X, dtype=np.float64, ensure_2d=False, estimator=self, input_name="X")
        if len(found) != steps:
            raise EstimatorError(f"X has {len(found)} rows: expected one for each of {steps} steps")
        return np.asarray(found.reshape(steps, -1))

    def _given(self, features: Array) -> dict[str, Array]:
        """The columns of ``X`` as the inputs that read them."""
        return {
            slot.name: features[:, part].reshape(-1, *slot.shape) for slot, part in self._others
        }

    def _scale(self, name: str) -> Scale | None:
        return self.preparation_.scales.get(name)

    def _scaled(self, name: str, array: Array) -> Array:
        scale = self._scale(name)
        return array if scale is None else scale.to(array)

    def _fed(self, interface: Interface, name: str) -> str:
        """What reads the series: the target itself, or the input that is like it."""
        if name in interface.inputs or name in interface.read:
            return name
        types = interface.dims.types
        like = [each for each in interface.inputs if types.get(each) == types.get(name)]
        if len(like) != 1:
            raise EstimatorError(
                f"expected one input like the target `{name}`, which reads the series, found"
                f" {', '.join(like) or 'none'}"
            )
        return like[0]
