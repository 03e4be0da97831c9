"""The loop: updates by hand, and runs that are taken up again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.data.batches import Batches, Windows
from rollc.training.loop import Diverged, Progress, Trainer
from rollc.training.runs.run import Run
from rollc.training.runs.run_folder import RunFolder
from rollc.training.runs.settings import Settings
from rollc.training.updates.optimizers import optimizer
from rollc.training.updates.schedules import Schedule
from tests.helpers.training import SPEC, arrays, tiny_network


@pytest.fixture(scope="module")
def tiny() -> Network:
    return tiny_network()


def trained(trainer: Trainer) -> list[float]:
    return [update.loss for update in trainer]


def moved(one: Any, other: Any) -> float:
    return float(sum(np.sum((one[name] - other[name]) ** 2) for name in one)) ** 0.5


def test_an_epoch_is_an_update_for_each_batch(tiny: Network) -> None:
    given, params = arrays(), tiny.init(0)
    settings = Settings(optimizer("sgd", rate=0.1), epochs=2)
    data = Batches(tiny, given, 3)
    trainer = Trainer(tiny, data, settings)
    updates = list(trainer)
    for update in updates:
        epoch, number = divmod(update.number - 1, 2)
        loss, gradients = tiny.value_and_grad(params, data.at(epoch, number).arrays)
        assert update.loss == pytest.approx(loss, rel=1e-12)
        params = {name: value - 0.1 * gradients[name] for name, value in params.items()}
    for name, value in params.items():
        np.testing.assert_allclose(trainer.params[name], value, rtol=1e-12)
    ended = updates[-1].ended
    assert ended is not None and ended.last
    assert ended.loss == pytest.approx((3 * updates[2].loss + updates[3].loss) / 4)


@pytest.mark.parametrize("size", [1, 3])
def test_accumulated_batches_are_as_one(tiny: Network, size: int) -> None:
    """Whatever is left for the last of them, or for the last update of an epoch."""
    params, rate = tiny.init(0), optimizer("sgd", rate=1.0)
    data = Batches(tiny, arrays(), size)
    trainer = Trainer(tiny, data, Settings(rate, epochs=1, accumulate=len(data)))
    (whole,) = trainer
    loss, gradients = tiny.value_and_grad(params, arrays())
    assert whole.loss == pytest.approx(loss)
    for name, value in trainer.params.items():
        np.testing.assert_allclose(params[name] - value, gradients[name], rtol=1e-9)
    trainer = Trainer(
        tiny, Batches(tiny, arrays(batch=5), 1), Settings(rate, epochs=1, accumulate=3)
    )
    assert trainer.updates == 2
    trainer.step()
    params, last = trainer.params, [trainer.data.at(0, number).arrays for number in (3, 4)]
    each = [tiny.value_and_grad(params, part)[1] for part in last]
    assert trainer.step().ended is not None
    for name, value in trainer.params.items():
        mean = (each[0][name] + each[1][name]) / 2
        np.testing.assert_allclose(params[name] - value, mean, rtol=1e-9)


def test_a_schedule_ends_with_the_last_update(tiny: Network) -> None:
    """Of all epochs, however many batches an update reads."""
    settings = Settings(optimizer("sgd", rate=0.1), Schedule("cosine"), epochs=2, accumulate=3)
    trainer = Trainer(tiny, Batches(tiny, arrays(), 1), settings)
    expected = [0.05 * (1 + np.cos(np.pi * number / 4)) for number in range(4)]
    np.testing.assert_allclose([update.rate for update in trainer], expected)
    settings = Settings(optimizer("sgd"), Schedule("step", every=2, factor=0.5), epochs=5)
    rates = [update.rate for update in Trainer(tiny, Batches(tiny, arrays(), 2), settings)]
    np.testing.assert_allclose(rates, np.repeat([0.01, 0.005, 0.0025], [4, 4, 2]))


def test_the_state_goes_from_window_to_window(tiny: Network) -> None:
    """At a rate of nothing the windows' losses are those of the steps of the whole."""
    given, params = arrays(steps=12), tiny.init(0)
    still = optimizer("sgd", rate=1e-30)
    losses = trained(Trainer(tiny, Batches(tiny, given), Settings(still, epochs=1, window=3)))
    assert np.mean(losses) == pytest.approx(tiny.loss(params, given), rel=1e-12)
    cut = Windows(tiny, given, 3)
    alone = [tiny.loss(params, cut.at(number)) for number in range(len(cut))]
    assert abs(np.mean(alone) - np.mean(losses)) > 1e-3


def test_clipping_bounds_the_step(tiny: Network) -> None:
    params, data = tiny.init(0), Batches(tiny, arrays())
    settings = Settings(optimizer("sgd", rate=1.0), epochs=1, clip=1e-3)
    trainer = Trainer(tiny, data, settings)
    trained(trainer)
    assert moved(trainer.params, params) == pytest.approx(1e-3)
    settings = Settings(optimizer("sgd", rate=1.0), epochs=1, clip_value=1e-4)
    trainer = Trainer(tiny, data, settings)
    trained(trainer)
    most = max(np.abs(trainer.params[name] - params[name]).max() for name in params)
    assert most == pytest.approx(1e-4)
    # Both: first each element, then the norm of what is left.
    _, found = tiny.value_and_grad(params, arrays())
    gradient = np.concatenate([found[name].ravel() for name in params])
    value = np.abs(gradient).max() / 2
    bounded = np.clip(gradient, -value, value)
    norm = np.linalg.norm(bounded) / 2
    settings = Settings(optimizer("sgd", rate=1.0), epochs=1, clip=norm, clip_value=value)
    trainer = Trainer(tiny, data, settings)
    trained(trainer)
    steps = np.concatenate([(params[name] - trainer.params[name]).ravel() for name in params])
    np.testing.assert_allclose(steps, bounded / 2, rtol=1e-9)


def test_only_some_parameters_decay(tiny: Network) -> None:
    settings = Settings(optimizer("adamw", rate=0.5), epochs=1, decay=0.1, no_decay=("U",))
    plain = Settings(optimizer("adamw", rate=0.5), epochs=1)
    data, params = Batches(tiny, arrays()), tiny.init(0)
    one, other = Trainer(tiny, data, settings), Trainer(tiny, data, plain)
    trained(one), trained(other)
    np.testing.assert_allclose(one.params["U"], other.params["U"])
    np.testing.assert_allclose(other.params["W"] - one.params["W"], 0.05 * params["W"], rtol=1e-9)
    net = tiny_network(SPEC.replace("W: [H, H] = orthogonal", "W: [H, H] = orthogonal frozen"))
    one = Trainer(net, data, Settings(optimizer("adamw", rate=0.5), epochs=1, decay=0.1))
    trained(one)
    np.testing.assert_array_equal(one.params["W"], net.init(0)["W"])
    with pytest.raises(InputError, match="no parameter `w`; there are U, W, v"):
        Trainer(tiny, data, Settings(decay=0.1, no_decay=("w",)))


# Going on -----------------------------------------------------------------------------------

DRAWS = SPEC.replace("o = dot(v, h)", "o = dot(v, dropout(h, rate=0.3))")
RUNS = {
    "batches": (SPEC, {"batch": 2}, Settings(optimizer("adam", rate=0.01), epochs=4)),
    "windows": (SPEC, {}, Settings(optimizer("adam"), epochs=3, window=4)),
    "dropout": (DRAWS, {"batch": 3}, Settings(optimizer("rmsprop", momentum=0.5), epochs=3)),
    "accumulated": (SPEC, {"batch": 1}, Settings(optimizer("sgd"), epochs=3, accumulate=3)),
    "validated": (
        SPEC,
        {"batch": 2},
        Settings(
            optimizer("adamw", rate=0.1),
            Schedule("plateau", warmup=3, patience=0, factor=0.5),
            epochs=6,
            patience=3,
            decay=0.01,
        ),
    ),
    "validated often": (
        SPEC,
        {"batch": 1},
        Settings(optimizer("sgd", rate=0.3), epochs=3, valid_every=3, patience=4),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_goes_on_reaches_the_same_bits(name: str, tmp_path: Path) -> None:
    """From every one of its updates, by what a checkpoint in a file has of it."""
    text, batch, settings = RUNS[name]
    net = tiny_network(text)
    valid = Batches(net, arrays(steps=6)) if name.startswith("validated") else None

    def trainer(progress: Progress | None) -> Trainer:
        data = Batches(net, arrays(), batch.get("batch"))
        return Trainer(net, data, settings, valid=valid, progress=progress)

    folder, undisturbed = RunFolder(tmp_path), trainer(None)

    def left(found: Trainer) -> Progress:
        folder.keep(found.progress, found.layout, [])
        for each, value in folder.params().items():
            np.testing.assert_array_equal(found.best_params[each], value)
        read = folder.resume(found.layout, net.dtype)[0]
        np.testing.assert_equal(asdict(read), asdict(found.progress))
        return read

    kept = [left(undisturbed)]
    for _ in undisturbed:
        kept.append(left(undisturbed))
    assert len(kept) > 6
    for progress in kept:
        again = trainer(progress)
        trained(again)
        for found, expected in (
            (again.params, undisturbed.params),
            (again.best_params, undisturbed.best_params),
        ):
            for each, value in expected.items():
                np.testing.assert_array_equal(found[each], value)
        assert again.progress.update == undisturbed.progress.update
        assert again.progress.plateau == undisturbed.progress.plateau


def test_what_is_drawn_is_drawn_anew_for_each_part() -> None:
    """Dropout: while training alone, another mask for each batch and epoch, the same of a seed."""
    net = tiny_network(DRAWS)
    one = {name: array[..., :1] for name, array in arrays().items()}
    twice = {name: array.repeat(2, axis=-1) for name, array in one.items()}
    still = Settings(optimizer("sgd", rate=1e-30), epochs=2)
    losses = trained(Trainer(net, Batches(net, twice, 1), still))
    assert len(set(losses)) == 4
    assert losses == trained(Trainer(net, Batches(net, twice, 1), still))
    whole = net.loss(net.init(0), one)
    trainer = Trainer(net, Batches(net, twice, 1), still, valid=Batches(net, one))
    validated = [each.validation.loss for each in trainer if each.validation is not None]
    assert whole not in losses and validated == [whole, whole]


def test_a_validation_loss_is_that_of_all_sequences(tiny: Network) -> None:
    """In batches of different sizes, too."""
    trainer = Trainer(tiny, Batches(tiny, arrays()), Settings(epochs=1))
    held = arrays(steps=5)
    for size in (None, 1, 3):
        found = trainer.loss_of(Batches(tiny, held, size))
        assert found == pytest.approx(tiny.loss(tiny.init(0), held), rel=1e-12)


def test_the_best_parameters_are_kept_and_it_ends_early(tiny: Network) -> None:
    given, held = arrays(), arrays(steps=5)
    settings = Settings(optimizer("sgd", rate=0.5), epochs=200, patience=4)
    trainer = Trainer(tiny, Batches(tiny, given), settings, valid=Batches(tiny, held))
    losses = [each.validation.loss for each in trainer if each.validation is not None]
    best = int(np.argmin(losses))
    assert len(losses) == min(200, best + 1 + 4)
    assert tiny.loss(trainer.best_params, held) == pytest.approx(losses[best], rel=1e-12)


@pytest.mark.parametrize("kind", ["constant", "cosine", "step"])
def test_validation_leaves_the_rate_of_other_schedules(tiny: Network, kind: str) -> None:
    """Even where no validation is better than the first one, as no parameter moves."""
    schedule = Schedule(kind, every=4, patience=0)
    settings = Settings(optimizer("sgd", rate=1e-30), schedule, epochs=12)
    data = Batches(tiny, arrays())

    def rates(valid: Batches | None) -> list[float]:
        return [update.rate for update in Trainer(tiny, data, settings, valid=valid)]

    assert rates(data) == rates(None)


def test_it_is_validated_every_so_many_updates_too(tiny: Network) -> None:
    data, held = Batches(tiny, arrays(batch=5), 1), Batches(tiny, arrays(steps=5))
    settings = Settings(optimizer("sgd", rate=0.01), epochs=2, valid_every=2)
    updates = list(Trainer(tiny, data, settings, valid=held))
    validated = [each.number for each in updates if each.validation is not None]
    assert validated == [2, 4, 5, 6, 8, 10]
    assert [each.number for each in updates if each.ended is not None] == [5, 10]
    assert updates[1].mean == pytest.approx(np.mean([updates[0].loss, updates[1].loss]))
    worse = Settings(optimizer("sgd", rate=1e-30), epochs=9, valid_every=2, patience=3)
    trainer = Trainer(tiny, data, worse, valid=held)
    assert len(list(trainer)) == 6 and trainer.done  # after those of 4, 5 and 6
    assert trainer.progress.best_update == 2


def test_better_by_less_than_the_least_is_no_better(tiny: Network) -> None:
    data = Batches(tiny, arrays())
    settings = Settings(optimizer("sgd", rate=0.01), epochs=50, patience=2, min_delta=100.0)
    trainer = Trainer(tiny, data, settings, valid=data)
    assert len(list(trainer)) == 3 and trainer.progress.best_update == 1


# What does not go ----------------------------------------------------------------------------


def test_windows_need_a_state_that_can_be_carried() -> None:
    learned = SPEC.replace("param ", "param s: [H], ").replace("output", "init h = s\noutput")
    net = tiny_network(learned)
    with pytest.raises(InputError, match="`s` tells where a state starts"):
        Trainer(net, Batches(net, arrays()), Settings(window=3))
    net = tiny_network(SPEC.replace("t-1", "t+1"))
    with pytest.raises(InputError, match="read from the future"):
        trained(Trainer(net, Batches(net, arrays()), Settings(window=3)))
    data = Batches(net, arrays(), lengths=[3, 10, 10, 10])
    with pytest.raises(InputError, match="no `lengths`"):
        Trainer(net, data, Settings(window=3))


def test_what_a_trainer_refuses(tiny: Network) -> None:
    data = Batches(tiny, arrays())
    for settings, why in (
        (Settings(patience=3), "to stop early needs validation data"),
        (Settings(schedule=Schedule("plateau")), "needs validation data"),
        (Settings(valid_every=3), "needs validation data"),
    ):
        with pytest.raises(InputError, match=why):
            Trainer(tiny, data, settings)
    with pytest.raises(InputError, match="no array for the parameter `U`"):
        Trainer(tiny, data, params={"W": np.zeros((3, 3))})
    with pytest.raises(InputError, match=r"parameter `U`: expected the shape \[3\], found \[2\]"):
        Trainer(tiny, data, params={**tiny.init(0), "U": np.zeros(2)})
    for given in ({"epochs": -1}, {"window": 0}, {"clip": 0}, {"accumulate": 0}, {"decay": -1}):
        with pytest.raises(InputError):
            Settings(**given)
    net = tiny_network("net n\ninput x\nparam a\no = a * x\noutput o\n")
    with pytest.raises(InputError, match="no loss, so there is nothing to fit"):
        Trainer(net, Batches(net, {"x": np.zeros((2, 2))}))


def test_what_diverges_says_so_and_keeps_what_was_good(tiny: Network, tmp_path: Path) -> None:
    """The parameters of the last finite loss, or of the best one that was validated."""
    data = Batches(tiny, arrays())
    wild = Settings(optimizer("sgd", rate=1e200), epochs=10)
    trainer = Trainer(tiny, data, wild)
    with pytest.raises(
        Diverged, match=r"the loss became (nan|inf) at update \d+, in epoch \d+"
    ) as at:
        trained(trainer)
    assert trainer.progress.update > 0
    assert np.isfinite(tiny.loss(at.value.params, arrays()))
    assert not np.isfinite(tiny.loss(trainer.params, arrays()))
    folder = RunFolder(tmp_path)
    with pytest.raises(Diverged) as at:
        Run(Trainer(tiny, data, wild), folder, every=0.0).go()
    for name, value in at.value.params.items():
        np.testing.assert_array_equal(folder.params()[name], value)

    slow = Settings(optimizer("sgd", rate=0.01), epochs=10, min_delta=10.0)
    for valid in (None, data):  # with it, nothing is better than the first
        trainer = Trainer(tiny, data, slow, valid=valid)
        seen = []
        for _ in range(3):
            seen.append(trainer.params)
            trainer.step()
        trainer.progress.values[:] = np.nan
        with pytest.raises(Diverged) as at:
            trainer.step()
        for name, value in seen[2 if valid is None else 1].items():
            np.testing.assert_array_equal(at.value.params[name], value)


# From Python ---------------------------------------------------------------------------------


def test_fit(tiny: Network) -> None:
    seen = []
    found = rollc.fit(
        tiny,
        arrays(),
        batch=2,
        epochs=5,
        rate=0.01,
        valid=arrays(steps=5),
        callbacks=[lambda trainer, update: seen.append(update.number)],
    )
    assert found.done and seen == list(range(1, 11))
    assert len(found.curve()) == len(found.curve("valid")) == len(found.curve("RMSE")) == 5
    often = rollc.fit(
        tiny, arrays(), batch=1, epochs=2, valid=arrays(steps=5), valid_every=3
    ).history
    assert [each["epoch"] for each in often] == [0.75, 1, 1.5, 2]
    assert all("valid" in each and "R2" in each["metrics"] for each in often)
    assert found.params.keys() == tiny.params.keys()
    stopped = rollc.fit(
        tiny, arrays(), epochs=50, callbacks=[lambda trainer, update: update.number == 3]
    )
    assert not stopped.done and len(stopped.history) == 3


def test_callbacks(tiny: Network, tmp_path: Any) -> None:
    class Seen(rollc.Callback):
        def __init__(self) -> None:
            self.said: list[Any] = []

        def on_update(self, trainer: Trainer, update: Any) -> None:
            self.said.append(update.number)

        def on_epoch(self, trainer: Trainer, record: Any) -> bool:
            self.said.append((record["epoch"], "RMSE" in record["metrics"]))
            return record["epoch"] == 3

        def on_checkpoint(self, trainer: Trainer, directory: Any) -> None:
            self.said.append((directory / "params.safetensors").exists())

    seen = Seen()
    options: Any = {"batch": 2, "epochs": 9, "valid": arrays(), "directory": tmp_path / "fit"}
    found = rollc.fit(tiny, arrays(), **options, callbacks=[rollc.Callback(), seen])
    assert seen.said == [True, 1, 2, (1, True), 3, 4, (2, True), 5, 6, (3, True), True]
    assert not found.done and len(found.history) == 3
    seen.said.clear()
    rollc.fit(tiny, arrays(), **options, checkpoint_every=0, callbacks=[seen])
    assert seen.said[:5] == [True, 7, True, 8, (4, True)]

    class Stops(rollc.Callback):
        def on_epoch(self, trainer: Trainer, record: Any) -> None:
            raise rollc.StopTraining

    found = rollc.fit(tiny, arrays(), batch=2, epochs=9, callbacks=[Stops()])
    assert not found.done and len(found.history) == 1
    for wrong in ([3], [Stops], Stops()):
        with pytest.raises(InputError, match=r"`callbacks`: expected a list of functions or"):
            rollc.fit(tiny, arrays(), callbacks=wrong)


def test_fit_goes_on_in_its_folder(tiny: Network, tmp_path: Any) -> None:
    options: Any = {"batch": 2, "epochs": 6, "rate": 0.01}
    whole = rollc.fit(tiny, arrays(), **options)
    halfway = [lambda trainer, update: update.number == 5]
    rollc.fit(tiny, arrays(), **options, directory=tmp_path / "fit", callbacks=halfway)
    found = rollc.fit(tiny, arrays(), **options, directory=tmp_path / "fit")
    for name, value in whole.params.items():
        np.testing.assert_array_equal(found.params[name], value)
    assert found.curve() == whole.curve()
    # The seconds of a fit go on, too.
    metrics = tmp_path / "fit" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"seconds": ', '"seconds": 99'))
    found = rollc.fit(tiny, arrays(), **{**options, "epochs": 7}, directory=tmp_path / "fit")
    assert found.curve("seconds")[-1] >= 99
