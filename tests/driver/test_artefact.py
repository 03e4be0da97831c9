"""An open artefact is one network, whatever becomes of its folder; one that was put together from
others, or edited, is none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rollc
from rollc.driver import artefact_store
from rollc.errors import StoreError
from rollc.ir.text import print_graph
from rollc.runtime.kernel import Kernel
from rollc.support import atomic_files, fingerprint
from rollc.support.cache_folder import CACHE_VARIABLE, COMPILED

SPEC = """\
net small
input x
target y
param k = 0.5
h = {} * h[t-1] + k * x
output h
loss mean((h - y) ** 2, over t)
"""
ONES = {"x": np.ones((4, 2)), "y": np.zeros((4, 2))}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Artefacts that differ in one thing."""
    folder = tmp_path_factory.mktemp("artefacts")
    ways: dict[str, dict[str, Any]] = {
        "float64": {"dtype": "float64"},
        "cut": {"truncate": 2},
        "fixed": {"steps": 4},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        (folder / "half.roll").write_text(SPEC.format("0.5"))
        (folder / "third.roll").write_text(SPEC.format("0.3"))
        for name in ("half", "third"):
            rollc.build(folder / f"{name}.roll", directory=folder / name)
        with patch.context() as looked_at:  # no one runs these
            looked_at.setattr(Kernel, "compile", lambda self: None)
            for name, options in ways.items():
                rollc.build(folder / "half.roll", directory=folder / name, **options)
        yield {name: folder / name for name in ("half", "third", *ways)}


@pytest.fixture
def copy(built: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(built["half"], tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest so that every hash in it is right."""
    content = json.loads((folder / artefact_store.MANIFEST).read_text())
    change(content)
    for name in content["files"]:
        content["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    content["hash"] = fingerprint.of_value({**content, "hash": None})
    (folder / artefact_store.MANIFEST).write_text(json.dumps(content))


def test_an_edit_that_changes_nothing_is_none(copy: Path) -> None:
    edit(copy, lambda content: None)
    assert rollc.load(copy).name == "small"


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        *(("dtype", "float64"), ("dtype", "int8"), ("dtype", None), ("dtype", ["float32"])),
        *(("steps", 4), ("steps", 0), ("steps", True), ("steps", "4"), ("steps", 1e9)),
        *(("truncate", 2), ("truncate", {}), ("combine", "mean"), ("feed", "free"), ("feed", 1)),
        *(("name", "other"), ("name", None), ("sets", {"H": 3}), ("sets", None)),
        *(("stages", {}), ("stages", []), ("kernels", []), ("kernels", {"forward": 1})),
        *(("kernels", {"forward": {}}), ("kernels", None), ("stages", {"checked": ["a"]})),
    ],
)
def test_an_edited_entry_is_refused(copy: Path, entry: str, value: object) -> None:
    edit(copy, lambda content: content.update({entry: value}))
    with pytest.raises(StoreError, match="is damaged"):
        rollc.load(copy)


def test_kernels_are_not_exchanged(copy: Path) -> None:
    def exchange(content: dict[str, Any]) -> None:
        kernels = content["kernels"]
        kernels["forward"], kernels["vjp"] = kernels["vjp"], kernels["forward"]

    edit(copy, exchange)
    with pytest.raises(StoreError, match="do not belong together"):
        rollc.load(copy)


@pytest.mark.parametrize("other", ["third", "float64", "cut", "fixed"])
@pytest.mark.parametrize("part", ["graph", "schedule", "program", "source"])
def test_parts_of_another_artefact_are_refused(
    built: dict[str, Path], copy: Path, other: str, part: str
) -> None:
    files, others = (
        artefact_store.read(folder).entries["kernels"] for folder in (copy, built[other])
    )
    for entry in files.keys() & others.keys():
        old, new = copy / files[entry][part], built[other] / others[entry][part]
        if old.read_bytes() != new.read_bytes():
            shutil.copy(new, old)
            break
    else:
        return
    edit(copy, lambda content: None)
    with pytest.raises(StoreError, match="do not belong together"):
        rollc.load(copy)


def test_kernels_of_another_artefact_are_refused(built: dict[str, Path], copy: Path) -> None:
    """With their right names: an edited dtype would have float32 code read float64 arrays."""
    for other in ("third", "float64", "cut", "fixed"):
        theirs = artefact_store.read(built[other])
        shutil.rmtree(copy)
        shutil.copytree(built["half"], copy)
        for name in theirs.files:
            if name.startswith("gradient"):
                shutil.copy(built[other] / name, copy / name)

        def take(content: dict[str, Any], theirs: artefact_store.Manifest = theirs) -> None:
            content["kernels"]["gradient"] = theirs.entries["kernels"]["gradient"]
            content["files"] |= {name: "" for name in theirs.files if name.startswith("gradient")}

        edit(copy, take)
        with pytest.raises(StoreError, match="do not belong together"):
            rollc.load(copy)


def test_machine_code_of_another_source_is_not_run(built: dict[str, Path], copy: Path) -> None:
    """Nor is anything else in its place waited for, or believed."""
    (own,) = (copy / COMPILED).glob("forward_*.zip")
    (other,) = (built["third"] / COMPILED).glob("forward_*.zip")
    params = {"k": np.float32(0.5)}
    expected = rollc.load(built["half"]).forward(params, ONES)["h"]

    def check() -> None:
        np.testing.assert_array_equal(rollc.load(copy).forward(params, ONES)["h"], expected)

    shutil.copy(other, own)
    check()
    own.unlink()
    os.mkfifo(own)
    check()
    own.unlink(missing_ok=True)
    own.symlink_to("/dev/zero")
    check()


@pytest.mark.parametrize("fate", ["removed", "replaced", "emptied"])
def test_an_open_network_is_the_one_that_was_opened(
    built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """Kernels that are first called after that are compiled from what was read."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "half.roll").write_text(SPEC.format("0.5"))
    shutil.copytree(built["half"], tmp_path / "net")
    net = rollc.load(tmp_path / "net")
    params = {"k": np.float32(0.5)}
    expected = rollc.load(built["half"]).vjp(params, {"x": ONES["x"]})[0]["h"]
    if fate == "emptied":
        for path in (tmp_path / "net").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        shutil.rmtree(tmp_path / "net")
    if fate == "replaced":
        shutil.copytree(built["third"], tmp_path / "net")
    found = net.vjp(params, {"x": ONES["x"]})[0]["h"]
    np.testing.assert_array_equal(found, expected)
    assert (tmp_path / "net").exists() == (fate != "removed"), "it does not come back"


@pytest.mark.long
def test_opening_is_of_one_version_whichever_file_it_is_replaced_at(
    built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network is opened, and the folder exchanged for another's before one of the reads."""
    read = atomic_files.content
    target, place = tmp_path / "net", 0
    params = {"k": np.float32(0.5)}
    known = {name: rollc.load(built[name]).forward(params, ONES)["h"] for name in ("half", "third")}
    count = -1

    def late(path: Path, *given: Any) -> bytes:
        nonlocal count
        count += 1
        if count == place:
            os.rename(target, tmp_path / f"old{place}")
            shutil.copytree(built["third"], target)
        return read(path, *given)

    while count >= place - 1:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(built["half"], target)
        count = -1
        with monkeypatch.context() as patch:
            patch.setattr(atomic_files, "content", late)
            net = rollc.load(target)
            found = net.forward(params, ONES)["h"]
        opened = "third" if "0.3" in print_graph(net.graph) else "half"
        np.testing.assert_array_equal(found, known[opened])
        place += 7
    assert place > 50
