"""The loop: one update after the other, which can be left and taken up again at any of them.

All that changes is in a :class:`Progress`; what is drawn at random follows from the seed and from
where in the data an update is.  So a run that goes on from a progress that was kept reaches the
bits of one that was never disturbed, at the same number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.traversal import needed_names
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.support.checks import mapping
from rollc.training.data.batches import Batch, Batches, Windows
from rollc.training.measures.measures import Measures
from rollc.training.measures.metrics import Metrics
from rollc.training.runs.settings import Settings
from rollc.training.updates.flat import Layout
from rollc.training.updates.optimizers import State, clip_norm, clip_value
from rollc.training.updates.schedules import Plateau

Array = NDArray[Any]

_NOISE = 1  # what random numbers are drawn for, beside the seed


class Diverged(InputError):
    """A loss or a gradient that is no number any more.

    Attributes
    ----------
    params : dict of str to ndarray
        Those of the best validation loss, or else the last ones whose loss and gradients were
        finite.
    found : Failed
        What the update read at which they were not: its batch, its state, its number.
    """

    def __init__(self, text: str, params: Mapping[str, Array], found: Failed) -> None:
        super().__init__(text)
        self.params = dict(params)
        self.found = found


@dataclass(frozen=True)
class Failed:
    """What an update read whose loss or gradients were not finite."""

    update: int
    epoch: int
    loss: float
    params: Mapping[str, Array]
    arrays: Mapping[str, Array]
    lengths: Any
    state: Mapping[str, Array] | None
    seed: Any


@dataclass
class Progress:
    """All that changes from update to update: what a checkpoint keeps.

    ``values`` are the parameters, as one vector; ``part`` is the number of batches or windows of
    ``epoch`` that have been read, ``update`` that of all updates; ``carried`` is the state that the
    next window goes on from; ``total`` and ``weight`` are the losses of the epoch so far;
    ``converged``: the method has found nothing better, and ended.
    """

    values: Array
    optimizer: State
    epoch: int = 0
    part: int = 0
    update: int = 0
    total: float = 0.0
    weight: float = 0.0
    carried: dict[str, Array] | None = None
    plateau: Plateau = field(default_factory=Plateau)
    best: Array | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    best_update: int = 0
    since_best: int = 0
    converged: bool = False


@dataclass(frozen=True)
class Update:
    """One update: its number, the loss that it started from, its rate, and what came after it: a
    validation, the end of an epoch.  ``mean`` is that of the losses of the epoch so far."""

    number: int
    epoch: int
    loss: float
    rate: float
    mean: float
    validation: Validation | None = None
    ended: Epoch | None = None


@dataclass(frozen=True)
class Validation:
    """The validation loss, whether it is the best so far, and what fits the loss: accuracy and its
    like (:mod:`rollc.training.measures.measures`)."""

    loss: float
    better: bool
    metrics: Metrics


@dataclass(frozen=True)
class Epoch:
    """One more time through the data: the mean of the losses that its updates started from."""

    number: int
    loss: float
    last: bool


class Trainer:
    """A network, data and settings, and how far the fit has come.

        trainer = Trainer(net, Batches(net, arrays, 32), Settings(epochs=50))
        for update in trainer:
            print(update.loss)
        params = trainer.params

    ``valid`` are batches that the loss is computed on after each epoch, and ``measures`` what else
    is measured on them.  Raises
    :class:`InputError` for what does not fit, and :class:`Diverged` where a loss or a gradient is
    no number.
    """

    def __init__(
        self,
        network: Network,
        data: Batches,
        settings: Settings | None = None,
        *,
        valid: Batches | None = None,
        measures: Measures | None = None,
        params: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        need_something_to_fit(network)
        settings = settings or Settings()
        self.network, self.data, self.valid, self.settings = network, data, valid, settings
        self.measures = measures
        self.layout = Layout.of(network.params)
        # A frozen parameter is part of the vector, which a checkpoint keeps, and stands still.
        self._frozen = {
            name: np.zeros(spec.shape, network.dtype)
            for name, spec in network.params.items()
            if spec.frozen
        }
        self._decay = self._decay_vector()
        if progress is None:
            given = network.init(settings.seed) if params is None else self._given(params)
            values = self.layout.vector(given, network.dtype)
            start = settings.optimizer.start(self.layout.size, network.dtype)
            progress = Progress(values, start)
        self.progress = progress
        self._views = self.layout.views(progress.values)  # updates are in place
        self._gradient = np.empty_like(progress.values)
        self._good = progress.values.copy()  # before the last update
        self._draws = bool(network.graph.leaves("noise"))
        self._windows = 1
        if settings.window is not None:
            _check_starts(network)
            if data.lengths is not None:
                raise InputError("windows of steps take no `lengths`")
            self._windows = len(Windows(network, data.arrays, settings.window))
        self._batch: tuple[int, int, Batch] | None = None
        if settings.schedule.kind == "plateau" and valid is None:
            raise InputError("a schedule by `plateau` needs validation data")
        if settings.patience is not None and valid is None:
            raise InputError("to stop early needs validation data")
        if settings.valid_every is not None and valid is None:
            raise InputError("to validate every so many updates needs validation data")

    # What it is made of -----------------------------------------------------------------

    @property
    def params(self) -> dict[str, Array]:
        """The parameters now, by name."""
        return {name: a.copy() for name, a in self._views.items()}

    @property
    def best_params(self) -> dict[str, Array]:
        """Those of the best validation loss; without validation, those of now."""
        best = self.progress.best
        return self.params if best is None else dict(self.layout.views(best.copy()))

    @property
    def parts(self) -> int:
        """The batches or windows of an epoch."""
        return len(self.data) * self._windows

    @property
    def updates(self) -> int:
        """The updates of an epoch."""
        return -(-self.parts // self.settings.accumulate)

    @property
    def done(self) -> bool:
        """Whether the last epoch is over, or no better validation loss is waited for."""
        progress, settings = self.progress, self.settings
        early = settings.patience is not None and progress.since_best >= settings.patience
        return progress.epoch >= settings.epochs or early or progress.converged

    def _given(self, params: Mapping[str, Any]) -> dict[str, Array]:
        given = {
            name: np.asarray(as_array(f"parameter `{name}`", value))
            for name, value in mapping("params", params).items()
        }
        for name, spec in self.network.params.items():
            if name not in given:
                raise InputError(f"`params`: no array for the parameter `{name}`")
            if given[name].shape != spec.shape:
                shapes = f"{list(spec.shape)}, found {list(given[name].shape)}"
                raise InputError(f"parameter `{name}`: expected the shape {shapes}")
        return given

    def _decay_vector(self) -> float | Array:
        decay = self.settings.decay_of(self.network.params, self._frozen)
        return self.layout.each(decay, self.network.dtype) if isinstance(decay, dict) else decay

    # One update after the other -----------------------------------------------------------

    def __iter__(self) -> Iterator[Update]:
        while not self.done:
            yield self.step()

    def drive(self, see: Callable[[Update], bool]) -> None:
        """Go on to the end, or until ``see``, which is told of each update, says to stop."""
        for update in self:
            if see(update):
                break

    def step(self) -> Update:
        """The next update; after the last one of an epoch, and others, it is validated."""
        progress, settings = self.progress, self.settings
        rate, loss = self._rate(), self._accumulated()
        if settings.clip_value is not None:
            self._gradient = clip_value(self._gradient, settings.clip_value)
        if settings.clip is not None:
            self._gradient = clip_norm(self._gradient, settings.clip)
        self._good[...] = progress.values
        settings.optimizer.update(
            progress.values, self._gradient, progress.optimizer, rate, self._decay
        )
        progress.update += 1
        return self._updated(loss, rate)

    def _updated(self, loss: float, rate: float) -> Update:
        """What comes after an update."""
        progress, every = self.progress, self.settings.valid_every
        number, epoch = progress.update, progress.epoch + 1
        mean, is_end = progress.total / progress.weight, progress.part == self.parts
        is_due = is_end or (every is not None and number % every == 0)
        validation = self._validate() if is_due and self.valid is not None else None
        ended = self._end(mean) if is_end else None
        return Update(number, epoch, loss, rate, mean, validation, ended)

    def _rate(self) -> float:
        progress, settings = self.progress, self.settings
        total = self.updates * settings.epochs
        factor = settings.schedule.at(progress.update, total, progress.epoch)
        return settings.optimizer.rate * factor * progress.plateau.factor

    def _accumulated(self) -> float:
        """The mean loss of the next parts; their mean gradient is in the vector of it.

        Each counts as often as it has sequences, so that they are as one larger batch.
        """
        progress = self.progress
        count = min(self.settings.accumulate, self.parts - progress.part)
        if count == 1:
            return self._read(self._gradient)
        one, sum_ = np.empty_like(self._gradient), np.zeros_like(self._gradient)
        losses, sizes = 0.0, 0.0
        for _ in range(count):
            before = progress.weight
            loss = self._read(one)
            size = progress.weight - before
            sum_ += size * one
            losses, sizes = losses + size * loss, sizes + size
        np.divide(sum_, sizes, out=self._gradient)
        return losses / sizes

    def _read(self, gradient: Array) -> float:
        """Read the next part: its loss, and its gradient into the vector."""
        progress = self.progress
        number, window = divmod(progress.part, self._windows)
        batch = self._batch_of(progress.epoch, number)
        params = self._views
        options: Any = {"wrt": ("params",), "training": True}
        if self._draws:
            options["seed"] = np.random.default_rng(self._drawn())
        loss: float
        state, arrays = None, batch.arrays
        if self.settings.window is not None:
            if not window:
                progress.carried = self.network.initial_state(params, arrays)
            state = progress.carried
            arrays = Windows(self.network, arrays, self.settings.window).at(window)
            loss, found, after = self.network.value_and_grad(params, arrays, state=state, **options)
        else:
            after = None
            loss, found = self.network.value_and_grad(
                params, arrays, lengths=batch.lengths, **options
            )
        self.layout.into(gradient, {**found, **self._frozen})
        if not (math.isfinite(loss) and _is_finite(gradient)):
            again = np.random.default_rng(self._drawn()) if self._draws else 0
            self._raise(loss, params, arrays, batch.lengths, state, again)
        progress.carried = after
        progress.part += 1
        progress.total += loss * batch.size
        progress.weight += batch.size
        return loss

    def _drawn(self) -> tuple[int, ...]:
        """The seed of what the next part draws."""
        return self.settings.seed, _NOISE, self.progress.epoch, self.progress.part

    def _batch_of(self, epoch: int, number: int) -> Batch:
        """A batch; that of the window before is known."""
        if self._batch is None or self._batch[:2] != (epoch, number):
            self._batch = epoch, number, self.data.at(epoch, number)
        return self._batch[2]

    def _raise(
        self,
        loss: float,
        params: Mapping[str, Array],
        arrays: Mapping[str, Array],
        lengths: Any,
        state: Mapping[str, Array] | None,
        seed: Any,
    ) -> None:
        progress = self.progress
        what = f"the loss became {loss}" if not math.isfinite(loss) else "a gradient is no number"
        held = {name: array.copy() for name, array in params.items()}
        update, epoch = progress.update + 1, progress.epoch + 1
        failed = Failed(update, epoch, loss, held, arrays, lengths, state, seed)
        text = f"{what} at update {update}, in epoch {epoch}"
        good = self._good if progress.best is None else progress.best
        raise Diverged(text, self.layout.views(good.copy()), failed)

    # Validation, and the end of an epoch -----------------------------------------------------

    def _validate(self) -> Validation:
        progress, settings = self.progress, self.settings
        assert self.valid is not None
        loss = self.loss_of(self.valid)
        progress.plateau.see(loss, settings.schedule)
        better = loss < progress.best_loss - settings.min_delta
        progress.since_best = 0 if better else progress.since_best + 1
        if better:
            progress.best, progress.best_loss = progress.values.copy(), loss
            progress.best_epoch, progress.best_update = progress.epoch + 1, progress.update
        metrics = {}
        if self.measures is not None:
            metrics = self.measures(self._views, self.valid, settings.seed)
        return Validation(loss, better, metrics)

    def _end(self, loss: float) -> Epoch:
        progress = self.progress
        progress.epoch, progress.part = progress.epoch + 1, 0
        progress.total, progress.weight, progress.carried = 0.0, 0.0, None
        return Epoch(progress.epoch, loss, self.done)

    def loss_of(self, data: Batches) -> float:
        """The mean loss on other data, without dropout."""
        params = self._views
        losses, sizes = [], []
        for number in range(len(data)):
            batch = data.at(0, number)
            losses.append(
                self.network.loss(
                    params, batch.arrays, lengths=batch.lengths, seed=self.settings.seed
                )
            )
            sizes.append(batch.size)
        return float(np.average(losses, weights=sizes))


def need_something_to_fit(network: Network) -> None:
    """Raises :class:`InputError` where there is no loss, or no parameter that is learned."""
    if network.graph.loss is None:
        raise InputError("the spec has no loss, so there is nothing to fit")
    if not network.params:
        raise InputError(f"`{network.name}` has no parameters, so there is nothing to fit")
    if all(spec.frozen for spec in network.params.values()):
        raise InputError(f"all parameters of `{network.name}` are frozen: there is nothing to fit")


def _is_finite(vector: Array) -> bool:
    """Whether all numbers are; a sum of squares that is tells it sooner."""
    return math.isfinite(float(np.dot(vector, vector))) or bool(np.isfinite(vector).all())


def _check_starts(network: Network) -> None:
    """No parameter may be left out of training without a word."""
    graph = network.graph
    initials = (node.initial for node in graph.nodes if node.initial is not None)
    names = {name for name, spec in network.params.items() if not spec.frozen}
    learned = sorted(needed_names(graph, initials) & names)
    if learned:
        raise InputError(
            f"`{learned[0]}` tells where a state starts: in windows no gradient passes to it"
        )
