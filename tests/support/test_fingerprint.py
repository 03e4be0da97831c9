"""What tells whether a build, or machine code, can be used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollc.support import fingerprint
from tests.helpers.imports import closure, modules
from tests.kernel.test_kernel_texts import NETWORKS, made


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_sources_are_told_apart_by_text_and_name(tmp_path: Path) -> None:
    hashes = [
        fingerprint.of_sources((write(tmp_path / str(number), **texts),))
        for number, texts in enumerate([{"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}])
    ]
    assert len(set(hashes)) == 4
    assert fingerprint.of_sources((write(tmp_path / "same", a="1"),)) == hashes[0]


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_sources_has_no_hash(tmp_path: Path, there: bool) -> None:
    """The hash of nothing would take old machine code for new."""
    some, none = write(tmp_path / "some", a="1"), tmp_path / "none"
    if there:
        none.mkdir()
    with pytest.raises(FileNotFoundError, match=r"no sources in .*none"):
        fingerprint.of_sources((some, none))


# What knows no arithmetic: types, errors, files.
IR = tuple(f"rollc.ir.{name}" for name in ("attributes", "expressions", "graph"))
WITHOUT = ("rollc.errors", "rollc.support", *IR)


@pytest.mark.parametrize("network", NETWORKS)
def test_all_that_kernels_call_is_in_the_hash_of_the_run_time(network: str) -> None:
    reached = closure(made(network, "gradient").source)
    assert "rollc.backends.numba.library.routines" in reached
    folders = [fingerprint.PACKAGE / folder for folder in fingerprint.RUNTIME]
    outside = {
        module
        for module in reached
        if not any(modules()[module].is_relative_to(folder) for folder in folders)
    }
    assert not {module for module in outside if not module.startswith(WITHOUT)}
