"""Linear systems against SciPy's simulation; a Kalman filter and a hidden Markov model against
the textbook and against the probability of everything at once.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from scipy.signal import dlsim
from scipy.stats import multivariate_normal

from rollc.network.network import Network
from tests.helpers.agreement import agree
from tests.reference.systems.complex_step import BATCH, Leaves, built, held, leaves_of, log_softmax

S, Y = 3, 2


def test_a_linear_system() -> None:
    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        s, y = p["start"], []
        for u in p["u"]:
            s = p["A"] @ s + p["B"] @ u
            y.append(p["C"] @ s)
        return {"y": np.array(y)}, np.mean((np.array(y) - p["seen"]) ** 2)

    network = built("state_space/linear", {"S": S})
    params, inputs = held(network, direct)
    # In SciPy's form x(t+1) = A x(t) + B u(t), so that the output sees the step's own input.
    A, B, C = (params[name] for name in "ABC")
    u = inputs["u"][:, 0]
    _, expected, _ = dlsim((A, B, C @ A, C @ B, 1), u, x0=params["start"])
    agree("values", network.forward(params, inputs)["y"][:, 0], expected, "y")


@pytest.fixture(scope="module")
def kalman() -> Network:
    return built("state_space/kalman", {"S": S, "Y": Y})


@pytest.mark.long
def test_a_kalman_filter(kalman: Network) -> None:
    """Anderson and Moore, Optimal filtering (1979), section 3.1; the update in Joseph's form."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        A, B, C = (p[name] for name in "ABC")
        Q, R, P = (p[f"F_{name}"] @ p[f"F_{name}"].T for name in "QRP")
        mean, means, covariances, losses = p["start"], [], [], []
        for u, y in zip(p["u"], p["y"], strict=True):
            mean, P = A @ mean + B @ u, A @ P @ A.T + Q
            E = C @ P @ C.T + R
            gain = np.linalg.solve(E, C @ P).T
            e = y - C @ mean
            losses.append((e @ np.linalg.solve(E, e) + np.log(np.linalg.det(2 * np.pi * E))) / 2)
            mean = mean + gain @ e
            keep = np.eye(S) - gain @ C
            P = keep @ P @ keep.T + gain @ R @ gain.T
            means.append(mean)
            covariances.append(P)
        found = {"mean": np.array(means), "P": np.array(covariances), "nll": np.array(losses)}
        return found, np.mean(losses)

    held(kalman, direct, F_R=np.array([[0.5, 0.0], [0.2, 0.7]]))


def test_the_likelihood_of_all_observations_at_once(kalman: Network) -> None:
    """They are one normal vector, whose covariance the system says."""
    T = 5
    params, inputs = leaves_of(kalman, T, seed=2)
    A, B, C = (params[name] for name in "ABC")
    Q, R, P = (params[f"F_{name}"] @ params[f"F_{name}"].T for name in "QRP")
    u, y = inputs["u"][:, 0], inputs["y"][:, 0]
    state, spread = params["start"], P
    means, spreads = [], []
    for t in range(T):
        state, spread = A @ state + B @ u[t], A @ spread @ A.T + Q
        means.append(C @ state)
        spreads.append(spread)
    covariance = np.zeros((T * Y, T * Y))
    for late in range(T):
        for early in range(late + 1):
            block = C @ np.linalg.matrix_power(A, late - early) @ spreads[early] @ C.T
            block = block + (R if late == early else 0)
            covariance[late * Y : late * Y + Y, early * Y : early * Y + Y] = block
            covariance[early * Y : early * Y + Y, late * Y : late * Y + Y] = block.T
    expected = -multivariate_normal(np.concatenate(means), covariance).logpdf(y.ravel())
    found = kalman.forward(params, {"u": u, "y": y})["nll"]
    agree("values", found.sum(), expected)


def test_a_hidden_markov_model() -> None:
    """Over all paths that the states can take, with no recursion."""

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        start = np.exp(p["first"]) / np.exp(p["first"]).sum()
        move = np.exp(p["move"]) / np.exp(p["move"]).sum(axis=1)[:, None]
        say = np.exp(p["say"]) / np.exp(p["say"]).sum(axis=0)

        def masses(y: Any) -> Any:
            """The probability of the observations with each state at the last step, and at all."""
            found = np.zeros((len(y), S), dtype=np.result_type(start, move, say))
            for path in product(range(S), repeat=len(y)):
                mass = (start @ move)[path[0]] * np.prod(
                    [say[k, s] for k, s in zip(y, path, strict=True)]
                )
                mass = mass * np.prod([move[i, j] for i, j in pairwise(path)])
                for t, s in enumerate(path):
                    found[t, s] += mass
            return found

        y = p["y"].real.astype(int)
        upto = [masses(y[: t + 1])[-1] for t in range(len(y))]
        whole = masses(y)
        found = {
            "a": np.array([mass / mass.sum() for mass in upto]),
            "posterior": whole / whole.sum(axis=1)[:, None],
        }
        return found, -np.log(whole[0].sum()) / len(y)

    held(built("state_space/hidden_markov", {"S": S, "V": 3}), direct, steps=4)


def test_the_best_path_of_a_hidden_markov_model() -> None:
    """Of all paths that there are, the one with the most probability."""

    def logarithms(p: Leaves) -> tuple[Any, Any, Any]:
        rows, columns = map(log_softmax, p["move"]), map(log_softmax, p["say"].T)
        return log_softmax(p["first"]), np.array([*rows]), np.array([*columns])

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        start, move, say = logarithms(p)
        y = p["y"].real.astype(int)

        def chance(path: tuple[int, ...]) -> Any:
            said = sum(say[s, k] for s, k in zip(path, y, strict=True))
            return start[path[0]] + said + sum(move[i, j] for i, j in pairwise(path))

        best = max(product(range(S), repeat=len(y)), key=lambda path: chance(path).real)
        return {"path": np.array(best), "score": chance(best)}, -chance(best)

    network = built("state_space/viterbi", {"S": S, "V": 3})
    params, inputs = held(network, direct, steps=5)
    model = pytest.importorskip("hmmlearn.hmm").CategoricalHMM(S, n_features=3)
    probabilities = map(np.exp, logarithms(params))
    model.startprob_, model.transmat_, model.emissionprob_ = probabilities
    found = network.forward(params, inputs)
    for n in range(BATCH):
        score, path = model.decode(inputs["y"][:, n : n + 1], algorithm="viterbi")
        agree("values", found["score"][n], score)
        agree("values", found["path"][:, n], path)


@pytest.mark.long
def test_a_smoother_is_what_all_observations_say_at_once() -> None:
    """The distribution of all states, which are normal together, given all observations."""
    steps = 4

    def direct(p: Leaves) -> tuple[dict[str, Any], Any]:
        A = p["A"]
        Q, R, P = (p[f"F_{name}"] @ p[f"F_{name}"].T for name in "QRP")
        powers = [np.linalg.matrix_power(A, n) for n in range(steps + 1)]
        of_noise = np.block(
            [[powers[i - j] if i >= j else 0 * A for j in range(steps)] for i in range(steps)]
        )
        noise = np.kron(np.eye(steps), Q) + np.kron(np.diag([1, 0, 0, 0]), A @ P @ A.T)
        expected = np.concatenate([power @ p["start"] for power in powers[1:]])
        covariance = of_noise @ noise @ of_noise.T
        C = np.kron(np.eye(steps), p["C"])
        seen = C @ covariance @ C.T + np.kron(np.eye(steps), R)
        gain = np.linalg.solve(seen, C @ covariance).T
        found = (expected + gain @ (p["y"].reshape(-1) - C @ expected)).reshape(steps, 2)
        left = covariance - gain @ C @ covariance
        V = np.array([left[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] for t in range(steps)])
        return {"smooth": found, "V": V}, np.mean((found - p["s"]) ** 2)

    held(built("state_space/smoother", {"S": 2, "Y": 1}), direct, steps=steps)
