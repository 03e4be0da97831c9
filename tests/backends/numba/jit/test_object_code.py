"""Machine code that was kept does what the compiler's own does, and runs without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rollc
from rollc.backends.numba.jit import object_code
from rollc.backends.numba.jit.object_code import Code, Piece
from rollc.tools.cli import main

SPEC = """\
net small
dim H = 3
input x: [H]
target y: [H]
param W: [H, H] = orthogonal
h = tanh(W @ h[t-1] + sin(x) ** 2)
output h
loss mean(mse(h, y), over t)
"""

RUN = """\
import sys
import numpy as np
import rollc
net = rollc.load(sys.argv[1])
ones = {"x": np.ones((4, 2, 3)), "y": np.zeros((4, 2, 3))}
loss, gradients = net.value_and_grad(net.init(0), ones)
print(repr(loss), repr(gradients["W"].tobytes()), "numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("native")
    spec = folder / "small.roll"
    spec.write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLLC_CACHE", str(folder / "cache"))
        assert main(["build", str(spec), "-o", str(folder / "built")]) == 0
        yield folder / "built"


def ran(folder: Path) -> list[str]:
    """The loss, a gradient and whether Numba was imported, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(rollc.__file__).parents[1])},
        timeout=300,
        check=True,
    )
    return done.stdout.split()


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "__pycache__").glob("gradient_*.zip"))


def test_a_built_network_runs_without_the_compiler(built: Path) -> None:
    net = rollc.load(built)
    ones = {"x": np.ones((4, 2, 3)), "y": np.zeros((4, 2, 3))}
    loss, gradients = net.value_and_grad(net.init(0), ones)
    assert ran(built) == [repr(loss), repr(gradients["W"].tobytes()), "False"]


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("damage", ["removed", "cut", "changed"])
def test_code_that_is_gone_or_damaged_is_compiled_again(built: Path, damage: str) -> None:
    before = ran(built)
    (path,) = kept(built)
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    assert ran(built) == [*before[:2], "True"]
    assert kept(built) == [path]
    assert ran(built) == [*before[:2], "False"]


def test_code_for_another_source_is_another_file(tmp_path: Path) -> None:
    one = object_code.code_paths(tmp_path, "kernel", b"one")
    other = object_code.code_paths(tmp_path, "kernel", b"other")
    assert not {*one} & {*other}


def test_code_is_kept_where_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    code = Code((Piece("routine", "mangled", (b"code",)),), (), ("sinf",))
    places = (tmp_path / "file" / "code.zip", tmp_path / "folder" / "code.zip")
    object_code.save(code, places)
    assert object_code.load(places) == code
    assert object_code.load(places[:1]) is None


def test_code_that_needs_what_is_unknown_is_not_linked() -> None:
    assert object_code.link(Code((), (), ("memset",))) == {}
    assert object_code.link(Code((), (), ("no_such_symbol",))) is None


def test_arrays_that_can_only_be_read_are_taken(built: Path) -> None:
    net = rollc.load(built)
    params, ones = net.init(0), {"x": np.ones((4, 2, 3), "f"), "y": np.zeros((4, 2, 3), "f")}
    expected = net.value_and_grad(params, ones)[1]["W"]
    for array in (*params.values(), *ones.values()):
        array.flags.writeable = False
    np.testing.assert_array_equal(net.value_and_grad(params, ones)[1]["W"], expected)
