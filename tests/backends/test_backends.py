"""Both ways to run programs, by name: what they compute, and what is said of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rollc
from rollc.backends import registry
from rollc.driver.artefact import load
from rollc.errors import InputError, StoreError
from rollc.tools.cli.commands import rollc as command

SPEC = """
net small
dim H = 5
input x: [3]
target y: [H]
param W: [H, 3], U: [H, H]
h = tanh(W @ x + U @ h[t-1] - 0.5 * h[t-2])
output h
loss mean(mse(h, y), over t)
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROLLC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    path = tmp_path / "small.roll"
    path.write_text(SPEC)
    return path


def arrays() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"x": random.normal(size=(7, 2, 3)), "y": random.normal(size=(7, 2, 5))}


@pytest.mark.long
def test_one_kernel_on_both_backends(spec: Path) -> None:
    nets = {name: rollc.build(spec, dtype="float64", backend=name) for name in registry.NAMES}
    params = nets["numba"].init(0)
    found = {name: net.value_and_grad(params, arrays()) for name, net in nets.items()}
    losses = [float(loss) for loss, _ in found.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    gradients = [gradients for _, gradients in found.values()]
    assert gradients[0].keys() == gradients[1].keys()
    for name, array in gradients[0].items():
        np.testing.assert_allclose(array, gradients[1][name], rtol=1e-11, atol=1e-14)


def test_a_result_that_is_a_part_of_what_is_computed_on_the_way(spec: Path) -> None:
    """Nothing else reads the array of both, so it is no result's own."""
    spec.write_text(
        "net n\nparam p: [2, 2] = identity\nv, w = split(mean(p, axis=1), 2)\noutput w\nloss 0.5\n"
    )
    for name in registry.NAMES:
        net = rollc.build(spec, dtype="float64", backend=name)
        outputs, _ = net.vjp({"p": np.array([[1.0, 2.0], [3.0, 5.0]])}, {}, 1)
        np.testing.assert_array_equal(outputs["w"], [4.0])


def test_an_artefact_knows_its_backend(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = rollc.build(spec, backend="reference", directory=tmp_path / "built")
    monkeypatch.setenv(registry.VARIABLE, "numba")
    kernel: Any = load(tmp_path / "built")._kernel("forward")
    assert kernel.backend.name == "reference"
    again = load(tmp_path / "built").forward(net.init(0), arrays())
    np.testing.assert_array_equal(again["h"], net.forward(net.init(0), arrays())["h"])
    assert not [*(tmp_path / "built").glob("*.py")]


def test_a_backend_that_is_written_into_a_manifest_is_refused(spec: Path, tmp_path: Path) -> None:
    rollc.build(spec, backend="reference", directory=tmp_path / "built")
    path = tmp_path / "built" / "manifest.json"
    content = json.loads(path.read_text())
    for name in ("numba", "os", 3):
        content["backend"] = name
        path.write_text(json.dumps(content))
        with pytest.raises(StoreError):
            load(tmp_path / "built")


def test_the_default_is_the_environments(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.VARIABLE, "reference")
    kernel: Any = rollc.build(spec)._kernel("gradient")
    assert kernel.backend.name == "reference"
    monkeypatch.setenv(registry.VARIABLE, "opencl")
    with pytest.raises(InputError, match=r"\$ROLLC_BACKEND: expected numba or reference, found"):
        rollc.build(spec)
    with pytest.raises(InputError, match="backend"):
        rollc.build(spec, backend="opencl")


def test_the_commands_take_the_name(spec: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "arrays.npz"
    np.savez(inputs, **arrays())
    runner = CliRunner()

    def run(*words: str) -> str:
        done = runner.invoke(command, [*words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    source = run("ir", str(spec), "--stage", "kernel", "--backend", "reference")
    assert source == run("ir", str(spec), "--stage", "program")
    words = [str(spec), "--dtype", "float64", "--inputs", str(inputs)]
    for name in registry.NAMES:
        out = tmp_path / f"{name}.npz"
        run("run", *words, "--backend", name, "--outputs", str(out))
    one, other = (np.load(tmp_path / f"{name}.npz")["h"] for name in registry.NAMES)
    np.testing.assert_allclose(one, other, rtol=1e-12)
    built = str(tmp_path / "built")
    run("build", str(spec), "--backend", "reference", "-o", built)
    refused = runner.invoke(command, ["run", built, "--inputs", str(inputs), "--backend", "numba"])
    assert "is built, and reference" in str(refused.exception or refused.output)
    refused = runner.invoke(command, ["ir", str(spec), "--stage", "graph", "--backend", "numba"])
    assert "has no effect" in str(refused.exception or refused.output)


def test_options_name_the_backends_there_are() -> None:
    """The command says them without importing one."""
    (option,) = [one for one in command.commands["build"].params if one.name == "backend"]
    assert tuple(option.type.choices) == registry.NAMES  # type: ignore[attr-defined]


def test_nothing_below_the_backends_knows_a_compiler() -> None:
    """Nor does the reference, nor what calls kernels."""
    text = (
        "import sys, rollc.runtime.kernel, rollc.kernel.passes, rollc.entries.graphs\n"
        "import rollc.kernel.verification.verifier\n"
        "from rollc.backends.registry import backend\n"
        "backend('reference')\n"
        "sys.exit(any(name.split('.')[0] in ('numba', 'llvmlite') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 0
