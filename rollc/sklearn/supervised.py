"""Sequences in, numbers or classes out."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from rollc.errors import EstimatorError
from rollc.lang.syntax.traversal import sizes_of
from rollc.network.arrays import Spec
from rollc.network.network import Network
from rollc.sklearn.estimator import Estimator
from rollc.sklearn.interface import width
from rollc.sklearn.sequences import Steps, like, read, shared_out
from rollc.training.data.pairs import in_units, probabilities
from rollc.training.data.sequences import Sequences

Array = NDArray[Any]
Values = Array | list[Array]


class _Supervised(Estimator):
    """What both have: a target of each sequence, or of each step.

    Predictions are by ``_pair``: the output that predicts, and what its numbers are.
    """

    _reading_y: ClassVar[Mapping[str, bool]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _fit(self, X: Any, y: Any) -> None:
        interface = self._interface()
        name = self._target(interface)
        self._timed = bool(interface.slots[name].time)
        if y is None or not self._timed:  # before X, whose names of columns this forgets
            y = validate_data(self, "no_validation", y=y, **self._reading_y)
        steps = read(self, X, reset=True)
        if not self._timed:
            check_consistent_length(steps.array.swapaxes(0, 1), y)
        inputs = [each for each in interface.inputs if each != name]
        target, count = self._read_target(y, steps)
        dims = interface.dims
        sizes = dims.solved([dims.shape(each) for each in inputs], steps.features, self._sizes)
        sizes |= dims.solved([sizes_of(dims.types.get(name))], count, {**sizes, **self._sizes})
        network = self._built(interface, sizes)
        self._pair = self._pair_with(network, name)
        slots = {**network.inputs, **network.targets}
        self._check_features(network, [slots[each] for each in inputs], steps.features)
        self._check_target(network, slots[name], count)
        arrays = shared_out(steps, [slots[each] for each in inputs])
        arrays[name] = target.reshape(*target.shape[: 1 + self._timed], *slots[name].shape)
        self._learn(network, Sequences(arrays, steps.lengths))
        # What reads its target in the fit runs free when it predicts.
        self._free = self._built(interface, sizes, feed="free") if network.fed else network

    def _check_features(self, network: Network, inputs: list[Spec], features: int) -> None:
        if width(inputs) != features:
            read_by = ", ".join(f"`{each.name}` {list(each.shape)}" for each in inputs)
            raise EstimatorError(
                f"X has {features} features, and the inputs of `{network.name}` take"
                f" {width(inputs)}: {read_by}"
            )

    def _read_target(self, y: Any, steps: Steps) -> tuple[Array, int]:
        """The target, ``[B, ...]`` or ``[T, B, ...]``, and of how many numbers or classes."""
        raise NotImplementedError

    def _check_target(self, network: Network, slot: Spec, count: int) -> None:
        raise NotImplementedError

    def _predicted(self, X: Any) -> tuple[Steps, Array]:
        """What the output says, ``[B, N]``, or ``[T, B, N]`` where the target is of each step.

        Of an output of each step for a target of the whole sequence, that of the last step counts.
        """
        check_is_fitted(self)
        steps = read(self, X, reset=False)
        inputs = [own for own in self.network_.inputs.values() if own.name != self._pair.compared]
        data = self.preparation_(Sequences(shared_out(steps, inputs), steps.lengths))
        found = self._free.forward(self.params_, data.arrays, lengths=data.lengths)
        values = in_units(self.network_, found, self.preparation_)[self._pair.output]
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
        if not self.network_.outputs[self._pair.output].time:
            return steps, values.reshape(steps.count, -1)
        values = values.reshape(*values.shape[:2], -1)
        return steps, values if self._timed else steps.last(values)


class SequenceRegressor(RegressorMixin, _Supervised):  # type: ignore[misc]
    """Numbers for each sequence, or for each of its steps.

    The parameters, and what ``X`` and ``y`` are, are those of
    :class:`~rollc.sklearn.estimator.Estimator`.

    Examples
    --------
    >>> import numpy as np
    >>> from rollc.sklearn import SequenceRegressor
    >>> X = np.random.default_rng(0).normal(size=(20, 9, 2))  # [sequences, steps, features]
    >>> y = X[:, :, 0].mean(axis=1)
    >>> regressor = SequenceRegressor(H=4, epochs=5, random_state=0).fit(X, y)
    >>> regressor.predict(X).shape
    (20,)
    """

    _default = "regressor.roll"
    _reading_y: ClassVar = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> SequenceRegressor:
        """Fit the network to sequences and what each is to give.

        Parameters
        ----------
        X : array [sequences, steps, features] or list of array [steps, features]
            The sequences.
        y : array [sequences] or like ``X``
            What is to be predicted.

        Returns
        -------
        SequenceRegressor
            The same one.

        Raises
        ------
        ValueError
            For data that do not fit the spec.
        Diverged
            Where the loss is no number any more.
        """
        self._fit(X, y)
        return self

    def predict(self, X: Any) -> Values:
        """What is predicted.

        Parameters
        ----------
        X : array or list of array
            As in :meth:`fit`.

        Returns
        -------
        ndarray or list of ndarray
            Shaped like the ``y`` of the fit: for each step, a list where the lengths differ.
        """
        steps, values = self._predicted(X)
        values = values[..., 0] if self._flat else values
        return steps.as_given(values) if self._timed else values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2; where there is a number for each step, of all steps together.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        sample_weight : array [sequences], optional
            The weight of each sequence, where there is a number for each.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if not self._timed:
            return float(super().score(X, y, sample_weight))
        steps, values = self._predicted(X)
        return float(r2_score(like(steps, y).flattened(), steps.flattened(values)))

    def _read_target(self, y: Any, steps: Steps) -> tuple[Array, int]:
        if self._timed:
            own = like(steps, y)
            check_array(own.flattened(), dtype=np.float64, input_name="y", estimator=self)
            self._flat = own.flat
            return own.array.astype(np.float64), own.features
        self._flat = y.ndim == 1
        return y.astype(np.float64), 1 if self._flat else y.shape[1]

    def _check_target(self, network: Network, slot: Spec, count: int) -> None:
        if self._pair.kind != "numbers":
            raise EstimatorError(
                f"`{slot.name}` is a class in the loss of `{network.name}`: use a"
                " SequenceClassifier"
            )
        if prod(slot.shape) != count:
            raise EstimatorError(
                f"y has {count} numbers for each, and `{slot.name}` of `{network.name}` takes"
                f" {prod(slot.shape)}"
            )


class SequenceClassifier(ClassifierMixin, _Supervised):  # type: ignore[misc]
    """A class for each sequence, or for each of its steps.

    The parameters, and what ``X`` and ``y`` are, are those of
    :class:`~rollc.sklearn.estimator.Estimator`; ``classes_`` are the classes of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from rollc.sklearn import SequenceClassifier
    >>> X = np.random.default_rng(0).normal(size=(20, 9, 2))  # [sequences, steps, features]
    >>> y = np.where(X[:, :, 0].sum(axis=1) > 0, "rises", "falls")
    >>> classifier = SequenceClassifier(H=4, epochs=5, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape, classifier.classes_.tolist()
    ((20, 2), ['falls', 'rises'])
    """

    _default = "classifier.roll"
    _reading_y: ClassVar = {}

    def fit(self, X: Any, y: Any) -> SequenceClassifier:
        """Fit the network to sequences and their classes.

        Parameters
        ----------
        X : array [sequences, steps, features] or list of array [steps, features]
            The sequences.
        y : array [sequences] or like ``X``
            Numbers or words, of one sort.

        Returns
        -------
        SequenceClassifier
            The same one.

        Raises
        ------
        ValueError
            For data that do not fit the spec.
        Diverged
            Where the loss is no number any more.
        """
        self._fit(X, y)
        return self

    def predict(self, X: Any) -> Values:
        """The class of each sequence, or of each step.

        Parameters
        ----------
        X : array or list of array
            As in :meth:`fit`.

        Returns
        -------
        ndarray or list of ndarray
            For each step, a list where the lengths differ.
        """
        steps, values = self._predicted(X)
        found = self.classes_[self._choice(values)]
        return steps.as_given(found) if self._timed else found

    def predict_proba(self, X: Any) -> Values:
        """The probabilities of ``classes_``.

        Parameters
        ----------
        X : array or list of array
            As in :meth:`fit`.

        Returns
        -------
        ndarray or list of ndarray
            ``[..., classes]``.

        Raises
        ------
        ValueError
            Where the output is a choice, without scores or probabilities.
        """
        check_is_fitted(self)
        if self._pair.kind == "choice":
            raise EstimatorError(
                f"`{self._pair.output}` is a choice: no output of `{self.network_.name}` has the"
                " scores or probabilities of the classes"
            )
        steps, values = self._predicted(X)
        found = self._chances(values)
        return steps.as_given(found) if self._timed else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy; where there is a class for each step, of all steps together.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        sample_weight : array [sequences], optional
            The weight of each sequence, where there is a class for each.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if not self._timed:
            return float(super().score(X, y, sample_weight))
        steps, values = self._predicted(X)
        said = self.classes_[self._choice(steps.flattened(values))]
        return float(accuracy_score(like(steps, y).flattened()[:, 0], said))

    def _choice(self, values: Array) -> Array:
        """Which of the classes, from what the output says, ``[..., N]``."""
        if self._pair.kind == "choice":
            return values[..., 0].clip(0, len(self.classes_) - 1)
        return np.asarray(self._chances(values).argmax(axis=-1))

    def _chances(self, values: Array) -> Array:
        """``[..., K]``, of the classes that there were in the fit."""
        chances = probabilities(values, self._pair)
        if self._pair.kind in ("binary", "binary_score"):
            return np.concatenate([1 - chances, chances], axis=-1)
        own = chances[..., : len(self.classes_)]
        return np.asarray(own / own.sum(axis=-1, keepdims=True))

    def _read_target(self, y: Any, steps: Steps) -> tuple[Array, int]:
        if self._timed:
            own = like(steps, y)
            labels = own.flattened()
            if labels.shape[1] != 1:
                raise EstimatorError(f"y: expected one class for each step, found {own.features}")
            y = labels[:, 0]
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise EstimatorError("y has one class: a classifier needs two")
        if self._timed:
            numbers = steps.restored(numbers)
        return numbers, len(self.classes_)

    def _check_target(self, network: Network, slot: Spec, count: int) -> None:
        is_binary = self._pair.kind in ("binary", "binary_score")
        if self._pair.kind == "numbers" or (slot.shape and is_binary):
            raise EstimatorError(
                f"`{slot.name}` is no class in the loss of `{network.name}`: use a"
                " SequenceRegressor"
            )
        most = 2 if slot.bound is None else slot.bound
        if count > most:
            raise EstimatorError(
                f"y has {count} classes, and `{slot.name}` of `{network.name}` takes {most}"
            )
