"""`feed`: taught by the target, or running free on what the network said itself."""

from __future__ import annotations

import numpy as np
import pytest

import rollc
from rollc.kernel.compiled import Kernel
from rollc.lang.draft import Feed
from rollc.pipeline import build_text, kernel_graphs, read_spec, scheduled
from rollc.resources import specs

TEXT = specs()["sequences/teacher"].read_text(encoding="utf-8")
SIZES = {"D": 3, "H": 4, "K": 3}


def loops(feed: str, kernel: str) -> list[str]:
    graph, _ = read_spec(TEXT, "teacher.roll", SIZES, "free" if feed == "free" else "taught")
    regions = scheduled(kernel_graphs(graph)[kernel]()).regions
    return [region.kind for region in regions if region.kind in ("forward", "backward")]


def test_taught_no_step_waits_for_another() -> None:
    assert loops("taught", "forward") == []
    assert loops("taught", "gradient") == []
    assert loops("free", "forward") == ["forward"]


def test_both_ways_to_run() -> None:
    """Free is taught by what it said itself; both against the equations, a step at a time."""
    random = np.random.default_rng(0)
    x = 3 * random.normal(size=(6, 3))
    free, _ = build_text(TEXT, sets=SIZES, dtype="float64", feed="free")
    taught, _ = build_text(TEXT, sets=SIZES, dtype="float64")
    params = {name: 2 * random.normal(size=spec.shape) for name, spec in free.params.items()}
    said, outputs = 0, []
    for t in range(6):
        seen = np.eye(3)[said]
        h = np.tanh(params["W"] @ seen + params["U"] @ x[t] + params["b"])
        outputs.append(params["V"] @ h + params["c"])
        said = int(outputs[-1].argmax())
    found = free.forward(params, {"x": x})["o"]
    np.testing.assert_allclose(found, outputs, atol=1e-12)
    own = found.argmax(axis=1)
    assert len(set(own)) > 1
    assert taught.fed == {"y"}
    assert free.fed == set()
    np.testing.assert_allclose(taught.forward(params, {"x": x, "y": own})["o"], found, atol=1e-12)
    with pytest.raises(rollc.InputError, match="missing target `y`"):
        taught.forward(params, {"x": x})


@pytest.mark.parametrize("feed", ["taught", "free"])
def test_what_runs_free_compiles_no_gradient_before_it_is_asked_for(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(Kernel, "compile", lambda self: made.append(self.source.stem.split("_")[0]))
    build_text(TEXT, sets=SIZES, feed=feed, cache=False)
    assert made == (["forward", "gradient"] if feed == "taught" else ["forward"])


def test_another_word_is_refused() -> None:
    with pytest.raises(rollc.InputError, match="expected feed taught or free"):
        build_text(TEXT, feed="both")  # type: ignore[arg-type]
