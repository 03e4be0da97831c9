"""What the estimators share: parameters, among them a spec's sizes, and the fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from rollc.driver.build import build_source
from rollc.errors import EstimatorError, RollcError
from rollc.lang.elaboration.expressions import Feed
from rollc.network.network import Network
from rollc.sklearn.interface import SPECS, Interface, dims_of, interface_of, text_of
from rollc.support.checks import real
from rollc.training.data.pairs import Pair, compared, pair_of, pairs_of
from rollc.training.data.preparation import Preparation, standardised
from rollc.training.data.sequences import Sequences, chosen, split
from rollc.training.fit import fit
from rollc.training.updates.optimizers import Optimizer
from rollc.training.updates.schedules import Schedule

Array = NDArray[Any]
_LARGEST_SEED = 2**31 - 1


class Estimator(BaseEstimator):  # type: ignore[misc]
    """A spec, its sizes by name (``H=32``), and how it is fitted.

    Parameters
    ----------
    spec : str or path, optional
        The path of a spec or the name of one that comes with rollc; without it a gated recurrent
        unit answers after the last step.
    target : str, optional
        The target of the spec that ``y`` is (or an input), where there are several.
    output : str, optional
        The output that predicts it; else the one that the loss compares with it.
    optimiser, rate, schedule, epochs, batch, clip, decay, patience
        As in :func:`rollc.fit`.
    validation : float, optional
        The share of the sequences, drawn at random, on which the loss is validated.
    standardise : bool
        Numbers are read as multiples of their spread from their mean, and predictions are in the
        units of ``y``.
    dtype, backend
        As in :func:`rollc.build`.
    random_state : int or numpy.random.RandomState, optional
        What all random numbers are drawn from.
    **sizes : int
        Sizes of the spec.  Those that are not given follow from the data, as far as inputs and
        targets have them, or else are those of the spec.

    Attributes
    ----------
    network_ : Network
        What has been fitted.
    params_ : dict of str to ndarray
        Its parameters.
    preparation_ : Preparation
        What was done to the data.
    history_ : list of dict
        A record for each epoch.
    n_iter_ : int
        The number of records.
    n_features_in_ : int
        The columns, of a table.

    Notes
    -----
    ``X`` is an array ``[sequences, steps, features]``, or a list of arrays ``[steps, features]`` of
    different lengths; without the features, ``[steps]``, there is one.  A table, an array or a
    frame of pandas or polars, has a sequence in each row: a step is a number.  The features go to
    the inputs of the spec, in their order.

    ``y`` is one for each sequence where the target is static, or else one for each step, as ``X``
    is given.

    An estimator can be pickled; a pickle holds code.
    """

    _default = ""

    def __init__(
        self,
        spec: str | Path | None = None,
        *,
        target: str | None = None,
        output: str | None = None,
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
        self.spec = spec
        self.target = target
        self.output = output
        self.optimiser = optimiser
        self.rate = rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch = batch
        self.clip = clip
        self.decay = decay
        self.validation = validation
        self.patience = patience
        self.standardise = standardise
        self.dtype = dtype
        self.backend = backend
        self.random_state = random_state
        self._sizes = sizes

    # Parameters -------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; sizes of the spec as far as they were given.

        Parameters
        ----------
        deep : bool
            As everywhere in scikit-learn; there are no estimators inside.

        Returns
        -------
        dict
        """
        return {**super().get_params(deep), **self._sizes}

    def set_params(self, **params: Any) -> Estimator:
        """Set parameters, and sizes of the spec.

        Parameters
        ----------
        **params
            By name.

        Returns
        -------
        Estimator
            The same one.

        Raises
        ------
        ValueError
            For a name that is neither a parameter nor a size of the spec.
        """
        own = self._get_param_names()
        sizes = {name: value for name, value in params.items() if name not in own}
        spec = params.get("spec", self.spec)
        unknown = [name for name in sizes if name not in self._sizes]
        known = self._size_names(spec) if unknown else None
        for name in unknown:
            if known is not None and name not in known:
                raise EstimatorError(
                    f"invalid parameter {name!r} of {type(self).__name__}: the spec has the sizes"
                    f" {', '.join(sorted(known)) or 'none'}, and there are {', '.join(own)}"
                )
        self._sizes = {**self._sizes, **sizes}
        super().set_params(**{name: params[name] for name in params if name in own})
        return self

    def _size_names(self, spec: Any) -> frozenset[str] | None:
        """The sizes of a spec; None where it cannot be read, which a fit will say."""
        try:
            return dims_of(*text_of(self._path(spec))).names
        except (RollcError, TypeError, ValueError):
            return None

    def _path(self, spec: Any) -> str | Path:
        return SPECS / self._default if spec is None else spec

    # What is fitted -----------------------------------------------------------------------------

    def _interface(self) -> Interface:
        return interface_of(self._path(self.spec), self._sizes)

    def _target(self, interface: Interface) -> str:
        """What the network is to predict, if nothing is named: its only target, or what the loss
        compares with an output."""
        if self.target is not None:
            if self.target not in interface.slots:
                there = ", ".join(interface.slots)
                raise EstimatorError(f"`target`: expected one of {there}, found {self.target!r}")
            return self.target
        names = list(interface.targets)
        names = names if len(names) == 1 else list(compared(interface))
        if len(names) != 1:
            raise EstimatorError(
                f"the loss compares an output with {', '.join(names) or 'nothing'}: say by `target`"
                f" which of {', '.join(interface.slots)} is to be predicted"
            )
        return names[0]

    def _built(
        self,
        interface: Interface,
        sizes: Mapping[str, int],
        feed: Feed = "taught",
    ) -> Network:
        """The network with the sizes that were given, and those that follow from the data."""
        return build_source(
            interface.text,
            interface.file,
            sets={**sizes, **self._sizes},
            dtype=self.dtype,
            feed=feed,
            backend=self.backend,
        )[0]

    def _pair_with(self, network: Network, target: str) -> Pair:
        """The output that predicts, and what its numbers are."""
        if self.output is not None and self.output not in network.outputs:
            there = ", ".join(network.outputs)
            raise EstimatorError(f"`output`: expected one of {there}, found {self.output!r}")
        if self.output is not None:
            found = [pair_of(network, self.output, target)]
        else:
            found = [pair for pair in pairs_of(network) if pair.compared == target]
        if found and found[0] is not None:
            return found[0]
        raise EstimatorError(
            f"the loss of `{network.name}` compares no output with `{target}`: it may be another"
            f" one of {', '.join({**network.inputs, **network.targets})} (`target`), or another"
            f" output of {', '.join(network.outputs) or 'none'} (`output`)"
        )

    def _learn(self, network: Network, data: Sequences, **more: Any) -> None:
        """Fit the network, and keep what has come of it."""
        random = check_random_state(self.random_state)
        valid = None
        if self.validation is not None:
            data, valid = _parted(network, data, self.validation, random)
        but = {name for name, kind in compared(network).items() if kind != "numbers"}
        scales = standardised(network, data, but) if self.standardise else {}
        preparation = Preparation(scales)
        data = preparation(data)
        valid = None if valid is None else preparation(valid)
        found = fit(
            network,
            data.arrays,
            lengths=data.lengths,
            valid=None if valid is None else valid.arrays,
            valid_lengths=None if valid is None else valid.lengths,
            optimiser=self.optimiser,
            rate=self.rate,
            schedule=self.schedule,
            epochs=self.epochs,
            batch=self.batch,
            clip=self.clip,
            decay=self.decay,
            patience=self.patience,
            seed=int(random.randint(_LARGEST_SEED)),
            **more,
        )
        self.network_, self.params_, self.preparation_ = network, found.params, preparation
        self.history_, self.n_iter_ = found.history, len(found.history)


def _parted(
    network: Network, data: Sequences, share: Any, random: np.random.RandomState
) -> tuple[Sequences, Sequences]:
    """The sequences to learn from, and those to validate on, drawn at random; of a single one its
    last steps."""
    share, count = real("`validation`", share), data.count(network)
    if count == 1:
        (known, held_out), _ = split(network, data, [1 - share, share])
        return known, held_out
    held = round(share * count)
    if not 0 < held < count:
        raise EstimatorError(
            f"`validation`: {share} of {count} sequences leaves none to learn or to validate"
        )
    order = random.permutation(count)
    return chosen(network, data, order[held:]), chosen(network, data, order[:held])
