"""Files of complex arrays: taken and given as they are, in tables by their parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.helpers.training import command

SPEC = """
net rotor
input z: complex[2]
param pole: complex[2] = 0.5
h = pole * h[t-1] + z
output h
loss mean(sum(abs(h) ** 2), over t)
"""


def test_a_run_on_complex_arrays(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    z = random.normal(size=(5, 2)) + 1j * random.normal(size=(5, 2))
    pole = np.array([0.5 + 0.4j, -0.3j])
    spec, made = tmp_path / "rotor.roll", tmp_path / "made.npz"
    spec.write_text(SPEC)
    np.savez(tmp_path / "z.npz", z=z)
    np.savez(tmp_path / "pole.npz", pole=pole)
    words = ["run", str(spec), "--backend", "reference", "--dtype", "float64"]
    words += ["--inputs", str(tmp_path / "z.npz"), "--params", str(tmp_path / "pole.npz")]
    done = command(*words, "--grad", "-o", str(made))
    assert "output h: complex128[5, 2]" in done.stdout
    expected, h = [], np.zeros(2)
    for now in z:
        h = pole * h + now
        expected.append(h)
    with np.load(made) as found:
        np.testing.assert_allclose(found["h"], expected, rtol=1e-12)
        assert found["grad.pole"].dtype == np.complex128
    command(*words, "-o", str(tmp_path / "h.csv"))
    head, first, *_ = (tmp_path / "h.csv").read_text().splitlines()
    assert head.count("'re") == head.count("'im") == 2
    numbers = [float(number) for number in first.split(",")[-4:]]
    np.testing.assert_allclose(numbers, [*expected[0].real, *expected[0].imag], rtol=1e-6)
