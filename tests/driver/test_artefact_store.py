"""Artefact folders and files are complete or absent, whatever happens to their writers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollc.driver import artefact_store
from rollc.errors import StoreError
from rollc.support import atomic_files, fingerprint
from rollc.support.cache_folder import CACHE_VARIABLE

Writer = Callable[[Path], dict[str, Any]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


def writer(text: str = "one", calls: list[str] | None = None) -> Writer:
    def write(folder: Path) -> dict[str, Any]:
        if calls is not None:
            calls.append(text)
        (folder / "graph.txt").write_text(text)
        (folder / "code.py").write_text(f"# {text}")
        return {"name": text}

    return write


def put(target: Path, text: str) -> None:
    with artefact_store.staging(target) as folder:
        artefact_store.seal(folder, writer(text)(folder))


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# Folders


@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_artefact_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(atomic_files, "_exchanged", lambda one, other: False)
    put(tmp_path / "x", "one")
    put(tmp_path / "x", "two")
    assert (tmp_path / "x" / "graph.txt").read_text() == "two"
    assert names(tmp_path) == ["x"]


def test_a_users_folder_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"such as `thesis\.txt`"):
        put(folder, "one")
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for folder in (loop, tmp_path / ("n" * 300)):
        with pytest.raises(StoreError, match=f"cannot open `{folder}`: "):
            artefact_store.read(folder)


def test_a_users_file_inside_an_artefact_is_kept(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "notes.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"such as `notes\.txt`"):
        put(tmp_path / "x", "two")
    assert (tmp_path / "x" / "notes.txt").read_text() == "precious"


def test_a_file_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="is no folder"):
        put(tmp_path / "file", "one")
    with pytest.raises(StoreError, match=r"cannot write `.*below`"):
        put(tmp_path / "file" / "below", "one")


def test_an_empty_folder_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    put(tmp_path / "x", "one")
    assert artefact_store.read(tmp_path / "x").entries["name"] == "one"


BUILDING = """
import sys, time
from pathlib import Path
from rollc.driver import artefact_store as store
from rollc.support import atomic_files as atomic
def write(folder):
    (folder / "a").write_text("a")
    time.sleep(0.3)
    return {"name": "n"}
made = store.made("key", write)
print(made.hit, sorted(made.manifest.files))
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_two_builds_at_once_both_succeed(cache: Path) -> None:
    processes = [start(BUILDING) for _ in range(4)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert all("['a']" in text for text in printed)
    assert names(cache) == ["key"]


# Builds


def test_the_second_build_is_a_hit() -> None:
    calls: list[str] = []
    first = artefact_store.made("key", writer(calls=calls))
    second = artefact_store.made("key", writer(calls=calls))
    assert (first.hit, second.hit, len(calls)) == (False, True, 1)
    assert first.manifest == second.manifest


def test_a_directory_gets_its_own_copy(tmp_path: Path) -> None:
    calls: list[str] = []
    artefact_store.made("key", writer(calls=calls), tmp_path / "x")
    made = artefact_store.made("key", writer(calls=calls), tmp_path / "x")
    assert made.hit
    assert len(calls) == 1
    assert made.manifest.folder == tmp_path / "x"
    assert artefact_store.read(tmp_path / "x") == made.manifest


def test_a_directory_that_cannot_be_replaced_is_refused_before_the_work(tmp_path: Path) -> None:
    calls: list[str] = []
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(StoreError, match="holds files that rollc did not write"):
        artefact_store.made("key", writer(calls=calls), tmp_path)
    assert not calls


def test_a_damaged_cache_heals(cache: Path) -> None:
    artefact_store.made("key", writer())
    (cache / "key" / "graph.txt").write_text("damaged")
    (cache / "key" / "notes.txt").write_text("in the way")
    assert not artefact_store.made("key", writer()).hit
    (cache / "key" / artefact_store.MANIFEST).write_text("damaged")
    assert not artefact_store.made("key", writer()).hit
    assert artefact_store.made("key", writer()).hit


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file where the cache should be")
    with pytest.warns(UserWarning, match="building without the cache") as caught:
        made = artefact_store.made("key", writer())
    assert len(caught) == 1
    assert not made.hit
    assert artefact_store.read(made.manifest.folder).entries["name"] == "one"
    with pytest.warns(UserWarning, match="building without the cache"):
        artefact_store.made("key", writer(), tmp_path / "x")
    assert artefact_store.read(tmp_path / "x").entries["name"] == "one"


def test_a_cache_that_can_only_be_read_is_found_before_the_work(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    known = artefact_store.made("known", writer())

    def closed(path: Path, mode: int = 0) -> int:
        if cache in path.parents:
            raise PermissionError(13, "Permission denied")
        return made_folder(path)

    made_folder = atomic_files._made_folder
    monkeypatch.setattr(atomic_files, "_made_folder", closed)
    with pytest.raises(StoreError, match=r"cannot write .*nowhere to keep the artefact"):
        artefact_store.made("key", writer(calls=calls), temporary=False)
    assert not calls
    assert (
        artefact_store.made("known", writer(calls=calls), temporary=False).manifest
        == known.manifest
    )
    for directory in (None, tmp_path / "x"):
        with pytest.warns(UserWarning, match="building without the cache") as caught:
            made = artefact_store.made(
                "key", writer(calls=calls), directory, temporary=directory is None
            )
        assert len(caught) == 1 and not made.hit
        assert artefact_store.read(made.manifest.folder).entries["name"] == "one"
    assert calls == ["one"] * 2


def test_without_the_cache_nothing_is_cached(cache: Path, tmp_path: Path) -> None:
    assert not artefact_store.made("key", writer(), use_cache=False).hit
    assert not artefact_store.made("key", writer(), tmp_path / "x", use_cache=False).hit
    assert not cache.exists()


def test_the_disk_is_waited_for_where_a_user_keeps_the_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synced(*place: Path, use_cache: bool) -> set[str]:
        found: list[Path] = []
        monkeypatch.setattr(atomic_files, "_sync", found.append)
        artefact_store.made("key", writer(), *place, use_cache=use_cache)
        return {path.name for path in found}

    files = {"graph.txt", "code.py", "manifest.json", tmp_path.name}
    assert synced(tmp_path / "x", use_cache=False) >= files
    assert synced(use_cache=True) == set()
    assert synced(tmp_path / "y", use_cache=True) >= files


def test_builds_without_a_cache_hold_no_files_open() -> None:
    def opened() -> int:
        return len(os.listdir("/dev/fd"))

    artefact_store.made("key", writer(), use_cache=False)
    before = opened()
    for name in "abc":
        made = artefact_store.made(name, writer(name), use_cache=False)
        assert artefact_store.read(made.manifest.folder).entries["name"] == name
    assert opened() == before


def test_builds_unused_for_long_are_forgotten(cache: Path) -> None:
    artefact_store.made("old", writer())
    artefact_store.made("kept", writer())
    month_ago = time.time() - 31 * 24 * 3600
    os.utime(cache / "old", (month_ago, month_ago))
    artefact_store.made("new", writer())
    assert names(cache) == ["kept", "new"]


def test_the_key_tells_builds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    key = fingerprint.build_key(spec="net a", sets={"H": 1, "D": 2}, dtype="float32")
    assert key == fingerprint.build_key(dtype="float32", sets={"D": 2, "H": 1}, spec="net a")
    assert key != fingerprint.build_key(spec="net a", sets={"H": 2, "D": 2}, dtype="float32")
    assert key != fingerprint.build_key(spec="net b", sets={"H": 1, "D": 2}, dtype="float32")
    monkeypatch.setattr(fingerprint, "of_compiler", lambda: "another compiler")
    assert key != fingerprint.build_key(spec="net a", sets={"H": 1, "D": 2}, dtype="float32")


# Manifests


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "code.py").write_text("import os")
    with pytest.raises(StoreError, match=r"`code\.py` has changed"):
        artefact_store.read(tmp_path / "x")


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "graph.txt").unlink()
    with pytest.raises(StoreError, match=r"`graph\.txt` is missing"):
        artefact_store.read(tmp_path / "x")


def test_a_link_does_not_stand_for_a_file(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "graph.txt").unlink()
    (tmp_path / "x" / "graph.txt").symlink_to("/dev/zero")
    with pytest.raises(StoreError, match=r"`graph\.txt` is no plain file, but a link"):
        artefact_store.read(tmp_path / "x")


def test_compiled_code_may_come_and_go(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "__pycache__").mkdir()
    (tmp_path / "x" / "__pycache__" / "code.zip").write_text("compiled")
    assert artefact_store.read(tmp_path / "x").entries["name"] == "one"
    put(tmp_path / "x", "two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not the manifest"),
        ("{}", "not the manifest"),
        ('{"files": {"a": 1}}', "not the manifest"),
        ('{"files": {}}', "another version"),
        ('{"files": {}, "format": 999}', "another version"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / artefact_store.MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match=message):
        artefact_store.read(tmp_path)


def test_an_artefact_of_another_run_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "x", "one")
    monkeypatch.setattr(fingerprint, "of_runtime", lambda: "another run time")
    with pytest.raises(StoreError, match="built by another version of rollc; build it again"):
        artefact_store.read(tmp_path / "x")
    put(tmp_path / "x", "two")
    assert artefact_store.read(tmp_path / "x").entries["name"] == "two"


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not an artefact"):
        artefact_store.read(tmp_path)
    with pytest.raises(StoreError, match="there is no folder"):
        artefact_store.read(tmp_path / "absent")


def test_an_entry_has_the_type_it_must_have(tmp_path: Path) -> None:
    artefact_store.seal(tmp_path, {"steps": 3, "name": "a"})
    manifest = artefact_store.read(tmp_path)
    assert manifest.entry("steps", int) == 3
    with pytest.raises(StoreError, match="`name` should be of type `int`"):
        manifest.entry("name", int)
    with pytest.raises(StoreError, match="`absent` should be of type `str`"):
        manifest.entry("absent", str)


def test_only_listed_files_are_read(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "x" / "unlisted.py").write_text("import os")
    manifest = artefact_store.read(tmp_path / "x")
    assert manifest.text("graph.txt") == "one"
    for name in ("../secret", "unlisted.py", "", None, 3):
        with pytest.raises(StoreError, match="a file that it does not list"):
            manifest.text(name)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", ".", "..", "a/b", "\0", "\ud800"])
def test_a_manifest_lists_plain_names(tmp_path: Path, name: str) -> None:
    put(tmp_path / "x", "one")
    edit(tmp_path / "x", lambda content: content["files"].update({name: "0"}))
    with pytest.raises(StoreError, match="no file's name"):
        artefact_store.read(tmp_path / "x")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest so that its own hash is right."""
    content = json.loads((folder / artefact_store.MANIFEST).read_text())
    change(content)
    content["hash"] = fingerprint.of_value({**content, "hash": None})
    (folder / artefact_store.MANIFEST).write_text(json.dumps(content))


def test_a_changed_entry_is_found(tmp_path: Path) -> None:
    put(tmp_path / "x", "one")
    path = tmp_path / "x" / artefact_store.MANIFEST
    path.write_text(path.read_text().replace('"name": "one"', '"name": "two"'))
    with pytest.raises(StoreError, match="has changed since it was built"):
        artefact_store.read(tmp_path / "x")


def test_what_is_no_plain_file_does_not_hang(tmp_path: Path) -> None:
    for name in ("graph.txt", artefact_store.MANIFEST):
        put(tmp_path / "x", "one")
        (tmp_path / "x" / name).unlink()
        os.mkfifo(tmp_path / "x" / name)
        with pytest.raises(StoreError, match="is no plain file"):
            artefact_store.read(tmp_path / "x")
        (tmp_path / "x" / name).unlink()
        (tmp_path / "x" / name).write_text("{}")
        (tmp_path / "x" / "graph.txt").unlink(missing_ok=True)
        (tmp_path / "x" / "code.py").unlink()
        (tmp_path / "x" / artefact_store.MANIFEST).unlink()


def test_a_manifest_says_who_wrote_it(tmp_path: Path) -> None:
    artefact_store.seal(tmp_path, {})
    content = json.loads((tmp_path / artefact_store.MANIFEST).read_text())
    assert content["format"] == artefact_store.FORMAT
    assert content["rollc"]
