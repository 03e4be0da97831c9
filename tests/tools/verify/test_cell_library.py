"""The library of cells: each against central differences.  (`test_torch_*.py` has PyTorch.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.build import build_source
from rollc.ir.graph import Graph
from rollc.ir.interpreter import interpret
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.support.resources import folder
from tests.commands.plain_kernels import failures

Array = NDArray[Any]

LIBRARY = folder("specs") / "cells"
HEAD = re.compile(r"^cell (\w+)\(([\w, ]*); ([^)]*)\) -> ", re.MULTILINE)
SIZES = {"H": 4, "K": 2, "V": 3, "P": 3, "N": 3, "back": 2, "W": 2, "C": 2}
SIZES |= {"heads": 2, "rank": 2, "inner": 4, "R": 1}
# Of cells whose inputs are not vectors.
USES = {
    "cfc": "cfc(x, 2; H=4, units=3)",
    "ltc": "ltc(x, 2; H=2, unfold=2)",
    "conv_lstm": "conv_lstm(expand(outer(x, x)); C=1)",
    "izhikevich": "izhikevich(80 + 20 * x)",
    "hodgkin_huxley": "hodgkin_huxley(20 * x)",
    "gru_d": "gru_d(x, where(x > 0, 1, 0), 0.5, 0.1; H=4)",
    "rg_lru": "rg_lru(x)",
    "hgrn2": "hgrn2(x, 0.5; heads=2, K=2, V=3)",
    "rwkv7_memory": "rwkv7_memory(x, concat(x, 1); heads=2, K=2, decays=1, rates=1, gates=1)",
    "rwkv7": "rwkv7(x; heads=2, K=2, decays=1, rates=1, gates=1)",
    "rwkv7_later": "rwkv7_later(x, concat(x, 1); heads=2, K=2, values=1, rates=1, gates=1)",
}
T, B, D, H = 7, 3, 4, 5


def heads() -> dict[str, tuple[str, str]]:
    """Every cell of the library that has inputs: its file, and a use of it."""
    found = {}
    for path in sorted(LIBRARY.glob("*.roll")):
        for name, inputs, sizes in HEAD.findall(path.read_text(encoding="utf-8")):
            wanted = [size for size in sizes.split(", ") if "=" not in size]
            given = ", ".join(f"{size}={SIZES[size]}" for size in wanted)
            values = ", ".join(["x", "2 * x"][: inputs.count(",") + 1])
            found[name] = (path.name, USES.get(name, f"{name}({values}; {given})"))
    del found["ticks"]
    del found["ntm"], found["dnc"]  # they take minutes, and have tests of their own in reference/
    return found


CELLS = heads()


def spec_of(*lines: str, files: tuple[str, ...] = ()) -> str:
    uses = [f'use "cells/{file}"' for file in files]
    return "\n".join(["net n", *uses, f"dim D = {D}, H = {H}", "input x: [D]", *lines])


def graph_of(text: str) -> Graph:
    read = load_graph(Source("test.roll", text))
    assert read.graph is not None, render(read.diagnostics, read.source)
    return read.graph


def test_the_library_is_whole() -> None:
    assert len(CELLS) >= 36
    for name, (file, _) in CELLS.items():
        text = (LIBRARY / file).read_text(encoding="utf-8")
        assert text.startswith("# "), f"{name} has no word about its source"
        assert re.search(r"\((19|20)\d\d\)", text), f"{name} has no source"


def cell_spec(file: str, use: str) -> str:
    lines = ["net one", f'use "cells/{file}"', "input x: [3]", f"h = {use}", "output h"]
    return "\n".join([*lines, "loss mean(sum(real(h * conj(h))), over t)"])


@pytest.mark.long
@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_and_its_gradients(name: str, tmp_path: Path) -> None:
    """In every stage, and with all kernels as plain Python."""
    path = tmp_path / f"{name}_.roll"
    path.write_text(cell_spec(*CELLS[name]), encoding="utf-8")
    assert failures({str(path): {}}, tmp_path / "cache") == ""


def test_a_reservoir_is_not_trained() -> None:
    text = spec_of(
        "h = echo_state(x; H=H)", "loss mean(sum(h), over t)", files=("echo_state.roll",)
    )
    graph = adjoint(graph_of(text))
    leaves = leaves_of(graph, 0)
    values = interpret(graph, leaves, {"t": T, "batch": B})
    slopes = {leaf: values[name] for leaf, name in graph.gradients}
    assert slopes.keys() == {"x"}
    assert slopes["x"].any()


def test_a_clock_ticks() -> None:
    text = spec_of("h = clockwork(x; H=2, P=3)", "output h", files=("clockwork.roll",))
    graph = graph_of(text)
    values = interpret(graph, leaves_of(graph, 0), {"t": T, "batch": B})
    changed = [bool((values["h.h"][t] != values["h.h"][t - 1]).any()) for t in range(1, T)]
    assert changed == [False, False, True, False, False, True]


def leaves_of(graph: Graph, seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    sizes = {"t": T, "batch": B}
    return {
        node.name: random.normal(size=(*(sizes[axis] for axis in node.type.axes), *node.type.shape))
        for node in graph.nodes
        if node.operation in ("param", "input", "target")
    }


@pytest.mark.long
def test_kernels_of_stacked_cells_by_default_names() -> None:
    text = spec_of(
        "low = lstm(x; H=H)",
        "high, c = lstm(low; H=H)",
        "output high, c",
        "loss mean(sum(high), over t)",
        files=("lstm.roll",),
    )
    network, _ = build_source(text, "stacked.roll", dtype="float64")
    params = network.init(seed=0)
    assert list(params) == ["low.W", "low.U", "low.b", "high.W", "high.U", "high.b"]
    inputs = {"x": np.random.default_rng(0).normal(size=(T, D))}
    loss, gradients = network.value_and_grad(params, inputs)
    moved = {**params, "low.b": params["low.b"] + 1e-6}
    slope = (network.loss(moved, inputs) - loss) / 1e-6
    np.testing.assert_allclose(gradients["low.b"].sum(), slope, rtol=1e-4)
