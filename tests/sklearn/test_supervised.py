"""Sequences in, numbers or classes out, by the estimators of scikit-learn."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install .[sklearn]")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rollc
from rollc.sklearn import SequenceClassifier, SequenceRegressor

Array = Any

TAGS = """
net tags
dim D = 3, K = 5
input x: [D], known
target y: index(K)
param U: [K, D], W: [K, K], a: [K]
s = tanh(U @ x + known * a + W @ s[t-1])
output s
loss mean(cross_entropy(s, y), over t)
"""
LEVELS = """
net levels
dim D = 3
input x: [D]
target y
param v: [D], w
o = dot(v, x) + w * o[t-1]
output o
loss mean(mse(o, y), over t)
"""
ANSWER = """
net answer
dim D = 3
input x: [D]
static target y
param v: [D], w
o = dot(v, x) + w * o[t-1]
e = last(o)
p = sigmoid(e)
output p
loss binary_cross_entropy(e, y)
"""
WORDS = """
net words
input x: index(4)
static target y: index(3)
param E: [3, 4]
o = E @ one_hot(x, size=4) + o[t-1]
said = argmax(o)
output said
loss mean(cross_entropy(o, y), over t)
"""
TAUGHT = """
net taught
dim K = 2
input x
target y: index(K)
param v: [K], W: [K, K]
o = v * x + W @ one_hot(feed(argmax(o[t-1]), y[t-1]), size=K)
output o
loss mean(cross_entropy(o, y), over t)
"""


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / "spec.roll"
    path.write_text(request.param, encoding="utf-8")
    return str(path)


def data(count: int = 12, steps: int = 4, features: int = 2) -> Array:
    return np.random.default_rng(0).normal(size=(count, steps, features))


def ragged(X: Array) -> list[Array]:
    return [x[: 1 + place % len(x)] for place, x in enumerate(X)]


X = data()
CLASSES = np.where(X[:, :, 0].sum(axis=1) > 0, "up", "down")


def classifier(spec: Any = "sequences/answer", **options: Any) -> SequenceClassifier:
    return SequenceClassifier(spec, **{"epochs": 2, "random_state": 0, **options})


def test_sizes_are_those_of_the_data() -> None:
    """And H is that of the spec, D and K follow."""
    found = classifier(H=4).fit(X, CLASSES)
    shapes = {name: array.shape for name, array in found.params_.items()}
    assert shapes == {"U": (4, 2), "W": (4, 4), "b": (4,), "V": (2, 4), "c": (2,)}
    assert found.n_features_in_ == 2
    assert found.n_iter_ == len(found.history_) == 2
    assert list(found.classes_) == ["down", "up"]
    chances = found.predict_proba(X)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (found.predict(X) == found.classes_[chances.argmax(axis=1)]).all()


def test_it_learns_and_copies_say_the_same() -> None:
    found = classifier(epochs=60, rate=0.1).fit(X, CLASSES)
    assert found.score(X, CLASSES) > 0.9
    again = clone(found).fit(X, CLASSES)
    kept = pickle.loads(pickle.dumps(found))
    for other in (again, kept):
        np.testing.assert_array_equal(other.predict_proba(X), found.predict_proba(X))
    different = clone(found).set_params(random_state=1).fit(X, CLASSES)
    assert (different.predict_proba(X) != found.predict_proba(X)).any()


def test_sizes_are_parameters() -> None:
    found = classifier(H=4)
    assert found.get_params()["H"] == 4
    assert "D" not in found.get_params()
    assert found.set_params(H=8, D=2, epochs=1).get_params()["D"] == 2
    assert found.get_params()["H"] == 8 and found.epochs == 1
    with pytest.raises(ValueError, match=r"invalid parameter 'Q'.*the spec has the sizes D, H, K"):
        found.set_params(Q=1)
    assert "Q" not in found.get_params()
    classifier("there is none").set_params(Q=1)  # a fit says what is wrong
    with pytest.raises(rollc.SpecError, match="no size is called `Q`"):
        classifier(Q=1).fit(X, CLASSES)


def test_predictions_are_in_the_units_of_the_target(tmp_path: Path) -> None:
    """At each step, of sequences of different lengths, too."""
    text = "net n\ninput x\ntarget y\nparam a\no = a * x\noutput o\n"
    (tmp_path / "n.roll").write_text(text + "loss mean(mse(o, y), over t)\n")
    lists = ragged(X[:, :, 0])
    for given in (list(X[:, :, 0][:, :, None]), lists):
        targets = [100 + 50 * np.ravel(each) for each in given]
        found = SequenceRegressor(tmp_path / "n.roll", epochs=1, backend="reference")
        found.fit(given, targets)
        every = np.concatenate(targets)
        found.params_ = {"a": np.array(0.0)}
        for said, each in zip(found.predict(given), targets, strict=True):
            np.testing.assert_allclose(said, np.full(len(each), every.mean()))
        assert found.score(given, targets) == pytest.approx(0)
        found.params_ = {"a": np.array(1.0)}
        assert found.score(given, targets) == pytest.approx(1)


@pytest.mark.long
def test_searches_and_pipelines() -> None:
    sizes = {"sequenceclassifier__H": [2, 4]}
    searched = GridSearchCV(make_pipeline(StandardScaler(), classifier(None)), sizes, cv=2)
    searched.fit(X[:, :, 0], CLASSES)
    assert searched.best_params_["sequenceclassifier__H"] in (2, 4)
    assert not np.isnan(searched.cv_results_["mean_test_score"]).any()
    by_rate = GridSearchCV(classifier(), {"H": [2], "rate": [0.01, 0.1]}, cv=2).fit(X, CLASSES)
    assert by_rate.best_estimator_.get_params()["H"] == 2
    assert len(cross_val_score(classifier(), ragged(X), CLASSES, cv=2)) == 2


def test_lists_arrays_and_tables_are_alike() -> None:
    """Sequences of one length in a list are an array, and those of numbers a table."""
    found = classifier().fit(X, CLASSES)
    listed = classifier().fit(list(X), CLASSES)
    np.testing.assert_array_equal(found.predict_proba(X), listed.predict_proba(list(X)))
    one = X[:, :, :1]
    table, array = classifier().fit(one[:, :, 0], CLASSES), classifier().fit(one, CLASSES)
    np.testing.assert_array_equal(table.predict_proba(one[:, :, 0]), array.predict_proba(one))
    np.testing.assert_array_equal(table.predict_proba(one), array.predict_proba(one[:, :, 0]))
    assert (table.n_features_in_, array.n_features_in_) == (4, 1)


def test_what_is_behind_the_end_is_not_read() -> None:
    own = ragged(X)
    found = classifier().fit(own, CLASSES)
    by_one = np.concatenate([found.predict_proba([each]) for each in own])
    np.testing.assert_allclose(found.predict_proba(own), by_one, rtol=1e-9)


@pytest.mark.long
def test_frames() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X[:, :, 0], schema=["a", "b", "c", "d"])
    found = classifier(None).fit(frame, pl.Series(CLASSES))
    assert list(found.feature_names_in_) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="same order as they were in fit"):
        found.predict(frame.select("b", "a", "c", "d"))


@pytest.mark.long
@pytest.mark.parametrize("spec", [LEVELS], indirect=True)
@pytest.mark.parametrize("is_ragged", [False, True])
def test_a_number_for_each_step(spec: str, is_ragged: bool) -> None:
    """The units are those of `y`, and what is shorter stays so."""
    inputs = ragged(X) if is_ragged else X
    y = [100 + 10 * x[:, 0] for x in inputs]
    found = SequenceRegressor(spec, epochs=300, rate=0.1, random_state=0)
    found.fit(inputs, y if is_ragged else np.array(y))
    predicted = found.predict(inputs)
    assert isinstance(predicted, list) == is_ragged
    assert [len(each) for each in predicted] == [len(each) for each in y]
    np.testing.assert_allclose(np.concatenate(list(predicted)), np.concatenate(y), atol=1)
    assert found.score(inputs, y) > 0.99
    with pytest.raises(ValueError, match="one is expected for each step of the 12 sequences"):
        found.fit(inputs, [0.0] * len(y))


@pytest.mark.long
@pytest.mark.parametrize("spec", [TAGS], indirect=True)
def test_a_class_for_each_step(spec: str) -> None:
    """Of features that two inputs share."""
    inputs = ragged(data(features=4))
    y = [np.where(x[:, 1] > 0, "b", "a") for x in inputs]
    found = classifier(spec, epochs=100, rate=0.1).fit(inputs, y)
    assert {name: slot.shape for name, slot in found.network_.inputs.items()} == {
        "x": (3,),
        "known": (),
    }
    assert found.score(inputs, y) > 0.9
    assert [each.shape for each in found.predict_proba(inputs)] == [(len(x), 2) for x in inputs]
    assert cross_val_score(found, inputs, y, cv=KFold(2)).shape == (2,)


@pytest.mark.parametrize("spec", [ANSWER], indirect=True)
def test_a_yes_or_no(spec: str) -> None:
    found = classifier(spec, epochs=100, rate=0.1).fit(X, CLASSES)
    assert found.score(X, CLASSES) > 0.9
    np.testing.assert_allclose(found.predict_proba(X).sum(axis=1), 1)
    with pytest.raises(ValueError, match="y has 3 classes, and `y` of `answer` takes 2"):
        found.fit(X, [0, 1, 2] * 4)
    with pytest.raises(ValueError, match="is a class in the loss of `answer`: use a Sequence"):
        SequenceRegressor(spec).fit(X, X[:, 0, 0])


@pytest.mark.long
@pytest.mark.parametrize("spec", [WORDS], indirect=True)
def test_indices_and_choices(spec: str) -> None:
    """An output of each step, for a target of the sequence, counts at the last step."""
    inputs = [[0, 1, 1], [0, 3, 3], [1, 0, 0, 2], [3]]
    found = classifier(spec, epochs=200, rate=0.1).fit(inputs, ["a", "b", "a", "b"])
    assert list(found.predict(inputs)) == ["a", "b", "a", "b"]
    with pytest.raises(ValueError, match="`said` is a choice: no output of `words`"):
        found.predict_proba(inputs)
    with pytest.raises(ValueError, match="integers from 0 to 3 are expected; found 4"):
        found.predict([[4]])


@pytest.mark.long
@pytest.mark.parametrize("spec", [TAUGHT], indirect=True)
def test_what_is_taught_runs_free(spec: str) -> None:
    y = np.where(X[:, :, 0] > 0, 1, 0)
    found = classifier(spec, epochs=100, rate=0.1).fit(X[:, :, 0], y)
    assert found.score(X[:, :, 0], y) > 0.9


def test_what_does_not_fit_is_said() -> None:
    found = classifier()
    with pytest.raises(NotFittedError):
        found.predict(X)
    with pytest.raises(ValueError, match="X has 2 features, and the inputs of `answer` take 3"):
        classifier(D=3).fit(X, CLASSES)
    with pytest.raises(ValueError, match=r"found \[2\] in the first one and \[1\] in number 1"):
        found.fit([X[0], X[1, :2, :1]], ["a", "b"])
    with pytest.raises(ValueError, match="one class"):
        found.fit(X, ["a"] * len(X))
    with pytest.raises(ValueError, match="`picture` is static"):
        classifier("sequences/caption").fit(X, CLASSES)
    with pytest.raises(ValueError, match="has several time axes"):
        classifier("sequences/translate").fit(X, CLASSES)
    with pytest.raises(ValueError, match="`target`: expected one of x, y, found 'z'"):
        classifier(target="z").fit(X, CLASSES)
    with pytest.raises(ValueError, match="`output`: expected one of yhat, found 'z'"):
        classifier(output="z").fit(X, CLASSES)
    with pytest.raises(ValueError, match=r"0\.001 of 12 sequences leaves none"):
        classifier(validation=0.001).fit(X, CLASSES)
    with pytest.raises(rollc.InputError, match="unknown optimiser `quickly`"):
        classifier(optimiser="quickly").fit(X, CLASSES)


def test_the_best_of_a_validation_is_kept() -> None:
    found = classifier(epochs=50, rate=0.5, validation=0.3, patience=2).fit(X, CLASSES)
    assert found.n_iter_ < 50
    assert all("valid" in record for record in found.history_)
