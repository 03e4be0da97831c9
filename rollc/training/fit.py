"""``rollc.fit``: parameters fitted to data, from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.network.pairs.network import in_pairs
from rollc.support.checks import real, shown, switch, words
from rollc.training.callbacks import Callback, StopTraining
from rollc.training.data.batches import Batches
from rollc.training.data.sequences import Sequences, cut
from rollc.training.loop import Trainer, Update
from rollc.training.measures.measures import Measures
from rollc.training.runs.run import KEPT_EVERY, Run
from rollc.training.runs.run_folder import Record, RunFolder, is_run
from rollc.training.runs.settings import Settings
from rollc.training.updates.flat import Layout
from rollc.training.updates.lbfgs import trainer_of
from rollc.training.updates.optimizers import Optimizer, optimizer
from rollc.training.updates.schedules import Schedule

Array = NDArray[Any]
Called = Callback | Callable[[Trainer, Update], bool | None]


@dataclass(frozen=True)
class Fit:
    """What has come of a fit.

    Attributes
    ----------
    params : dict of str to ndarray
        Those of the best validation loss, or the last ones where nothing was validated.
    history : list of dict
        A record for each epoch and each validation: ``epoch``, ``update``, ``loss``, and after a
        validation ``valid`` and ``metrics``, such as accuracy or RMSE.
    done : bool
        False where a callback has ended it.
    """

    params: dict[str, Array]
    history: list[Record] = field(repr=False)
    done: bool

    def curve(self, name: str = "loss") -> list[float]:
        """One number of each record that has it, to plot.

        Parameters
        ----------
        name : str
            ``"loss"``, ``"valid"``, or one of the metrics, such as ``"accuracy"``.

        Returns
        -------
        list of float
        """
        flat = [{**record.get("metrics", {}), **record} for record in self.history]
        return [each[name] for each in flat if name in each]


def fit(
    network: Network,
    data: Mapping[str, Any],
    *,
    lengths: Any = None,
    valid: Mapping[str, Any] | None = None,
    valid_lengths: Any = None,
    params: Mapping[str, Any] | None = None,
    optimiser: str | Optimizer = "adam",
    rate: float | None = None,
    schedule: str | Schedule = "constant",
    epochs: int = 100,
    batch: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    stateful: bool = False,
    clip: float | None = None,
    clip_value: float | None = None,
    decay: float = 0.0,
    no_decay: Sequence[str] = (),
    accumulate: int = 1,
    valid_every: int | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    seed: int = 0,
    callbacks: Sequence[Called] = (),
    directory: str | Path | None = None,
    checkpoint_every: float = KEPT_EVERY,
) -> Fit:
    """Fit the parameters of a network to data.

    Parameters
    ----------
    network : Network
        One that has a loss.
    data : mapping of str to array
        Inputs and targets by name, ``[T, B, ...]``.
    lengths : array [B], optional
        The steps of each sequence (see :func:`padded`).
    valid : mapping of str to array, optional
        Data to validate on, after each epoch.
    valid_lengths : array [B], optional
        Their lengths.
    params : mapping of str to array, optional
        What to begin with; else the initial values of the spec.
    optimiser : str or Optimizer
        ``"adam"``, ``"adamw"``, ``"sgd"``, ``"rmsprop"``, ``"adagrad"``, ``"lbfgs"``, or one with
        numbers of its own (:func:`~rollc.training.updates.optimizers.optimizer`).
    rate : float, optional
        The learning rate; else the usual one of the method.
    schedule : str or Schedule
        How the rate changes: ``"constant"``, ``"cosine"``, ``"step"``, ``"plateau"``.
    epochs : int
        Times through the data.
    batch : int, optional
        Sequences in an update; all without it.
    window : int, optional
        Cuts the sequences into pieces of so many steps, each a sequence of its own.
    stride : int, optional
        Steps from the beginning of one piece to that of the next; ``window`` without it.
    stateful : bool
        Reads the windows in their order instead: the state goes on from one to the next, and
        gradients are cut between them (truncated backpropagation through time).
    clip : float, optional
        The largest norm of all gradients together.
    clip_value : float, optional
        The largest size of an element of a gradient, before that.
    decay : float
        Weight decay.
    no_decay : sequence of str
        Parameters without it.
    accumulate : int
        Batches or windows whose mean gradient makes one update.
    valid_every : int, optional
        Updates between validations, besides the one after each epoch.
    patience : int, optional
        Validations without a better loss after which it ends.
    min_delta : float
        How much lower a validation loss has to be to count as better.
    seed : int
        Of initial values, the order of the data, dropout and sampling.
    callbacks : sequence of Callback or callable
        What is told of it.  A function is called after each update with the trainer and the update;
        where it returns True, or raises :class:`StopTraining`, the fit ends.
    directory : str or path, optional
        A folder for checkpoints.  A fit that finds one there goes on with it, to the bits of an
        undisturbed one (but for ``lbfgs``, see :mod:`rollc.training.updates.lbfgs`).
    checkpoint_every : float
        Seconds between checkpoints.

    Returns
    -------
    Fit
        The parameters, and a record for each epoch.

    Raises
    ------
    InputError
        For what does not fit.
    Diverged
        Where a loss or a gradient is no number; it has the last good parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import rollc
    >>> net = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2})
    >>> random = np.random.default_rng(0)
    >>> data = {"x": random.normal(size=(5, 8, 2)), "y": random.normal(size=(5, 8, 2))}
    >>> found = rollc.fit(net, data, batch=4, epochs=3, rate=0.01)
    >>> losses = found.curve()
    >>> len(losses), losses[-1] < losses[0]
    (3, True)
    >>> outputs = net.forward(found.params, {"x": data["x"]})
    """
    network, parts = in_pairs(network)
    data, valid = parts.split(data), parts.split(valid)
    params, no_decay = parts.split(params), parts.split_names(no_decay)
    method = optimiser if isinstance(optimiser, Optimizer) else optimizer(optimiser)
    if rate is not None:
        method = method.at(rate)
    settings = Settings(
        method,
        schedule if isinstance(schedule, Schedule) else Schedule(schedule),
        epochs=epochs,
        window=window if switch("`stateful`", stateful) else None,
        clip=clip,
        clip_value=clip_value,
        decay=decay,
        no_decay=words("`no_decay`", no_decay, "names of parameters"),
        accumulate=accumulate,
        valid_every=valid_every,
        patience=patience,
        min_delta=min_delta,
        seed=seed,
    )
    if stride is not None and (window is None or stateful):
        raise InputError("`stride` has no effect without `window`, nor on stateful windows")
    if stateful and window is None:
        raise InputError("`stateful` has no effect without `window`")

    def pieces(arrays: Mapping[str, Any], own: Any, shuffle: bool = True) -> Batches:
        whole = Batches(network, arrays, batch, lengths=own, seed=settings.seed, shuffle=shuffle)
        if window is None or stateful:
            return whole
        found, _ = cut(network, Sequences(whole.arrays, whole.lengths), window, stride)
        return Batches(network, found.arrays, batch, seed=settings.seed, shuffle=shuffle)

    seconds = real("`checkpoint_every`", checkpoint_every, "a number of seconds")
    batches = pieces(data, lengths)
    held = None if valid is None else pieces(valid, valid_lengths, shuffle=False)
    folder = None if directory is None else RunFolder(Path(directory))
    progress, records = None, list[Record]()
    if folder is not None and folder.has_checkpoint():
        progress, records = folder.resume(Layout.of(network.params), network.dtype)
    elif folder is not None:
        if is_run(folder.path):
            raise InputError(f"`{directory}` is a run of `rollc train`: go on with it there")
        folder.path.mkdir(parents=True, exist_ok=True)
    trainer = trainer_of(
        network,
        batches,
        settings,
        valid=held,
        measures=Measures(network),
        params=params,
        progress=progress,
    )
    run = Run(trainer, folder, seconds, records)
    done = _watched(run, _called(callbacks))
    return Fit(parts.joined(trainer.best_params), run.records, done)


def _called(callbacks: Any) -> list[Callback]:
    """Callbacks, each of a function too."""
    if not isinstance(callbacks, Sequence) or not all(
        isinstance(each, Callback) or (callable(each) and not isinstance(each, type))
        for each in callbacks
    ):
        raise InputError(
            f"`callbacks`: expected a list of functions or `rollc.Callback`s, found"
            f" {shown(callbacks)}"
        )
    return [each if isinstance(each, Callback) else _Function(each) for each in callbacks]


class _Function(Callback):
    def __init__(self, function: Callable[[Trainer, Update], bool | None]) -> None:
        self._function = function

    def on_update(self, trainer: Trainer, update: Update) -> bool | None:
        return self._function(trainer, update)


def _watched(run: Run, callbacks: Sequence[Callback]) -> bool:
    """Carry a run out, and tell callbacks of it; whether it was not ended before."""
    trainer, folder, is_ended = run.trainer, run.folder, False

    def watch(update: Update) -> None:
        nonlocal is_ended
        try:
            answers = [each.on_update(trainer, update) for each in callbacks]
            if update.ended is not None:
                answers += [each.on_epoch(trainer, run.records[-1]) for each in callbacks]
        except StopTraining:
            answers = [True]
        is_ended = any(answer is True for answer in answers)

    def kept() -> None:
        if folder is not None:
            for each in callbacks:
                each.on_checkpoint(trainer, folder.path)

    run.kept = kept
    return run.go(watch, lambda: is_ended)
