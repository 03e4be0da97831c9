"""L-BFGS: SciPy's on the loss of a network, by the loop that all others have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rollc
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.data.batches import Batches
from rollc.training.loop import Diverged, Trainer, Update
from rollc.training.runs.settings import Settings
from rollc.training.updates.lbfgs import Minimizer, trainer_of
from rollc.training.updates.optimizers import optimizer
from tests.helpers.training import SPEC, arrays, tiny_network

optimize = pytest.importorskip("scipy.optimize")
LBFGS = optimizer("lbfgs")


@pytest.fixture(scope="module")
def tiny() -> Network:
    return tiny_network()


def driven(trainer: Trainer) -> list[Update]:
    seen: list[Update] = []
    trainer.drive(lambda update: seen.append(update) is not None)
    return seen


def test_as_scipy(tiny: Network) -> None:
    """Step by step, with weight decay of some parameters."""
    given, params = arrays(), tiny.init(0)
    names = list(params)
    sizes = np.cumsum([params[name].size for name in names])[:-1]

    def objective(x: Any) -> Any:
        parts = dict(zip(names, np.split(x, sizes), strict=True))
        own = {name: part.reshape(params[name].shape) for name, part in parts.items()}
        loss, slopes = tiny.value_and_grad(own, given, wrt=("params",))
        x_decayed = np.concatenate([(0 if n == "v" else 0.1) * own[n].ravel() for n in names])
        gradient = np.concatenate([slopes[name].ravel() for name in names])
        return loss + 0.5 * x_decayed @ x, gradient + x_decayed

    path: list[Any] = []
    start = np.concatenate([params[name].ravel() for name in names])
    options = {"maxiter": 12}
    optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options=options, callback=path.append
    )
    settings = Settings(LBFGS, epochs=12, decay=0.1, no_decay=("v",))
    trainer = Minimizer(tiny, Batches(tiny, given), settings, valid=Batches(tiny, arrays(steps=5)))
    found: list[Any] = []
    losses = []

    def see(update: Update) -> bool:
        found.append(np.concatenate([trainer.params[name].ravel() for name in names]))
        losses.append((update.number, update.loss, tiny.loss(trainer.params, given)))
        assert update.ended is not None and update.validation is not None
        return False

    trainer.drive(see)
    np.testing.assert_allclose(found, path, rtol=1e-6, atol=1e-9)
    assert [number for number, _, _ in losses] == list(range(1, 13)) and trainer.done
    np.testing.assert_allclose(*np.transpose(losses)[1:], rtol=1e-9)


def test_it_ends_where_it_has_converged_and_stays_so(tiny: Network) -> None:
    text = "net n\ninput x\ntarget y\nparam a = 3.0, b = 0.0\no = a * x + b\noutput o\n"
    net = tiny_network(f"{text}loss mean(mse(o, y), over t)\n")
    x = np.random.default_rng(0).normal(size=50)
    given = {"x": x, "y": 0.5 * x - 2}
    trainer = trainer_of(net, Batches(net, given), Settings(LBFGS, epochs=1000))
    updates = driven(trainer)
    assert trainer.done and len(updates) < 20
    assert isinstance(trainer, Minimizer) and trainer.why.startswith("CONVERGENCE")
    assert trainer.params["a"] == pytest.approx(0.5) and trainer.params["b"] == pytest.approx(-2)
    again = trainer_of(
        net, Batches(net, given), Settings(LBFGS, epochs=1000), progress=trainer.progress
    )
    assert driven(again) == []


@pytest.mark.long
def test_a_fit_that_goes_on_reaches_a_minimum(tiny: Network, tmp_path: Any) -> None:
    """Not the bits of an undisturbed one."""
    options: Any = {"optimiser": "lbfgs", "epochs": 300}
    whole = rollc.fit(tiny, arrays(), **options)
    halfway = [lambda trainer, update: update.number == 5]
    stopped = rollc.fit(tiny, arrays(), **options, directory=tmp_path / "fit", callbacks=halfway)
    assert not stopped.done and len(stopped.history) == 5
    found = rollc.fit(tiny, arrays(), **options, directory=tmp_path / "fit")
    assert found.history[:5] == stopped.history and found.done
    assert found.curve()[-1] < 2 * whole.curve()[-1] < 0.2 * whole.curve()[0]
    assert rollc.fit(tiny, arrays(), **options, directory=tmp_path / "fit").history == found.history


def test_where_the_loss_is_no_number_is_a_wall(tiny: Network) -> None:
    """The first step along the gradient ends far behind it."""
    text = "net n\ninput x\nparam a = 0.01\no = -log(a) - log(1 - a) + 0 * x\noutput o\n"
    net = tiny_network(f"{text}loss mean(o, over t)\n")
    data = Batches(net, {"x": np.zeros(3)})
    trainer = Minimizer(net, data, Settings(LBFGS, epochs=100))
    assert all(np.isfinite(update.loss) for update in driven(trainer))
    assert trainer.params["a"] == pytest.approx(0.5, abs=1e-4)
    trainer = Minimizer(net, data, Settings(LBFGS), params={"a": 2.0})
    with pytest.raises(Diverged, match="the loss became nan at update 1") as raised:
        driven(trainer)
    assert raised.value.params["a"] == 2.0


def test_what_it_refuses(tiny: Network) -> None:
    data = Batches(tiny, arrays())
    for changed in ({"clip": 1.0}, {"accumulate": 2}, {"window": 3}):
        with pytest.raises(InputError, match=f"`{next(iter(changed))}` has no effect with lbfgs"):
            Minimizer(tiny, data, Settings(LBFGS, **changed))
    with pytest.raises(InputError, match="reads all the data at each step"):
        Minimizer(tiny, Batches(tiny, arrays(), 2), Settings(LBFGS))
    net = tiny_network(SPEC.replace("dot(v, h)", "dot(v, dropout(h, rate=0.3))"))
    with pytest.raises(InputError, match="drawn at random"):
        Minimizer(net, data, Settings(LBFGS))
    with pytest.raises(InputError, match="lbfgs has no rate"):
        rollc.fit(tiny, arrays(), optimiser="lbfgs", rate=0.1)
    with pytest.raises(InputError, match="makes its steps by itself"):
        next(iter(Trainer(tiny, data, Settings(LBFGS))))


def test_looking_along_a_line_leaves_the_parameters(tiny: Network) -> None:
    trainer = Minimizer(tiny, Batches(tiny, arrays()), Settings(LBFGS))
    before = trainer.progress.values.copy()
    trainer._value_and_slope(before.astype(np.float64) + 1)
    np.testing.assert_array_equal(trainer.progress.values, before)
