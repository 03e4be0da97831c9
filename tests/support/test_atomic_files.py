"""Folders and files are complete or absent, and read as one, whatever happens to their writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollc.driver import artefact_store
from rollc.errors import StoreError
from rollc.support import atomic_files
from rollc.tools import files as cli_files


def put(target: Path, text: str) -> None:
    with artefact_store.staging(target) as folder:
        for name in ("a.txt", "b.txt", "c.txt"):
            (folder / name).write_text(text)
        artefact_store.seal(folder, {"name": text})


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# Folders


def test_a_staged_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "made" / "here"
    with atomic_files.staging(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["here"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_files.staging(tmp_path / "here") as folder:
            (folder / "a").write_text("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


# What is read is one version


class Steps:
    """Something that happens right before the calls of the system that a reader makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happen: Callable[[int], None]) -> None:
        self.count = 0
        self._busy = False
        for name in ("open", "fstat", "stat", "listdir", "close"):
            monkeypatch.setattr(os, name, self._before(getattr(os, name), happen))

    def _before(self, call: Callable[..., object], happen: Callable[[int], None]) -> object:
        def counted(*given: object, **more: object) -> object:
            if not self._busy:
                self._busy = True
                happen(self.count)
                self.count += 1
                self._busy = False
            return call(*given, **more)

        return counted


def versions(manifest: artefact_store.Manifest) -> set[str]:
    """Of which versions the parts are that were read."""
    return {manifest.entry("name", str), *map(manifest.text, ("a.txt", "b.txt", "c.txt"))}


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("removed", [False, True])
def test_a_reader_sees_one_version_whichever_step_it_is_replaced_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool, removed: bool
) -> None:
    """``removed``: what it reads is swept away too, and not only has another name."""
    if not can_exchange:
        monkeypatch.setattr(atomic_files, "_exchanged", lambda one, other: False)
    if not removed:
        monkeypatch.setattr(atomic_files.shutil, "rmtree", lambda *given, **more: None)
    target, read = tmp_path / "x", artefact_store._read
    place = 0
    while True:
        put(target, "old")

        def replace(count: int, place: int = place) -> None:
            if count == place:
                put(target, "new")

        looks = 0

        def look(folder: Path, descriptor: int) -> artefact_store.Manifest:
            nonlocal looks
            looks += 1
            return read(folder, descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(artefact_store, "_read", look)
            steps = Steps(patch, replace)
            found = artefact_store.read(target)
        assert versions(found) in ({"old"}, {"new"}), place
        assert looks <= 1 + removed, "what is still there is read to its end"
        if steps.count <= place:
            break
        place += 1
    assert place > 10


def test_a_reader_sees_one_version_though_it_is_replaced_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x"
    put(target, "0")

    def replace(count: int) -> None:
        if count < 50:
            put(target, str(count + 1))

    with monkeypatch.context() as patch:
        Steps(patch, replace)
        assert len(versions(artefact_store.read(target))) == 1


def test_what_is_removed_or_damaged_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(atomic_files.time, "sleep", never)
    with pytest.raises(StoreError, match="there is no folder"):
        artefact_store.read(tmp_path / "absent")
    put(tmp_path / "x", "one")
    (tmp_path / "x" / "a.txt").write_text("two")
    with pytest.raises(StoreError, match="has changed"):
        artefact_store.read(tmp_path / "x")


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(StoreError, match="is no plain file"):
            atomic_files.content(tmp_path / name)
    (tmp_path / "large").write_bytes(b"12345")
    assert atomic_files.content(tmp_path / "large", most=5) == b"12345"
    with pytest.raises(StoreError, match="is larger than"):
        atomic_files.content(tmp_path / "large", most=4)


# What the dead leave behind, and many at once.  These run real processes.

DYING = """
import sys, time
from pathlib import Path
from rollc.driver import artefact_store as store
with store.staging(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""

REPLACING = """
import sys
from pathlib import Path
from rollc.driver import artefact_store as store
target, text, stop = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
while not stop.exists():
    with store.staging(target) as folder:
        for name in "abc":
            (folder / name).write_text(text * 1000)
        store.seal(folder, {"text": text})
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_leaves_the_old_artefact_and_is_swept_away(tmp_path: Path) -> None:
    target = tmp_path / "x"
    put(target, "one")
    process = start(DYING, target)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    put(tmp_path / "other", "two")
    assert len(names(tmp_path)) == 3, "a living writer's folder is not touched"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert artefact_store.read(target).entries["name"] == "one"
    put(tmp_path / "other", "three")
    assert names(tmp_path) == ["other", "x"]


def test_readers_see_only_whole_folders_while_writers_fight_and_die(tmp_path: Path) -> None:
    target, stop = tmp_path / "x", tmp_path / "stop"
    put(target, "start")
    writers = [start(REPLACING, target, text, stop) for text in "pqr"]
    seen = set()
    end = time.monotonic() + 60
    try:
        while not {"p", "q", "r"} <= seen and time.monotonic() < end:
            seen.add(artefact_store.read(target).entries.get("text"))
        writers[0].kill()
        for _ in range(300):
            artefact_store.read(target)
    finally:
        stop.touch()
    for process in writers:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert {"p", "q", "r"} <= seen
    assert [process.returncode for process in writers] == [-signal.SIGKILL, 0, 0]
    put(tmp_path / "other", "sweeps")
    assert names(tmp_path) == ["other", "stop", "x"]


WITHOUT_EXCHANGE = """
import ctypes, os, signal, sys
from pathlib import Path
from rollc.driver import artefact_store as store

class System:
    "One that exchanges no names."

ctypes.CDLL = lambda _: System()

def put(folder, text):
    with store.staging(folder / "x") as new:
        (new / "a").write_text(text)
        store.seal(new, {"name": text})

def die_before(step):
    left = step
    def dying(call):
        def counted(*given, **more):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **more)
        return counted
    for name in ("mkdir", "rename", "rmdir", "unlink", "open", "close"):
        setattr(os, name, dying(getattr(os, name)))

step, died = 0, True
while died:
    step += 1
    folder = Path(sys.argv[1], str(step))
    folder.mkdir()
    put(folder, "old")
    child = os.fork()
    if not child:
        die_before(step)
        put(folder, "new")
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
"""


def test_a_writer_that_can_exchange_nothing_loses_nothing_wherever_it_dies(tmp_path: Path) -> None:
    """Before each call that changes a folder: readers and later writers find a whole version."""
    process = start(WITHOUT_EXCHANGE, tmp_path)
    process.communicate()
    assert process.returncode == 0
    steps = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    away = [folder for folder in steps if not (folder / "x").exists()]
    assert away, "its name is gone for a moment"
    found = []
    for folder in steps:
        assert cli_files.is_artefact(str(folder / "x"))
        found.append(artefact_store.read(folder / "x").entry("name", str))
        put(folder / "other", "sweeps")
        assert names(folder) == ["other", "x"]
        assert artefact_store.read(folder / "x").entry("name", str) == found[-1]
        put(folder / "x", "newest")
        assert names(folder) == ["other", "x"]
        assert artefact_store.read(folder / "x").entry("name", str) == "newest"
    assert found == sorted(found, reverse=True) and {*found} == {"old", "new"}


WRITING = """
import os, sys, time
from pathlib import Path
from rollc.support import atomic_files as atomic
def late(descriptor):
    print("writing", flush=True)
    time.sleep(60)
os.fsync = late
atomic.write_file(Path(sys.argv[1]), b"new")
"""


def test_the_file_of_a_killed_writer_is_swept_away(tmp_path: Path) -> None:
    target = tmp_path / "o.npz"
    target.write_bytes(b"old")
    process = start(WRITING, target)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    atomic_files.write_file(tmp_path / "other", b"")
    assert len(names(tmp_path)) == 3, "a living writer's file is not touched"
    process.kill()
    process.wait()
    process.stdout.close()
    assert target.read_bytes() == b"old"
    atomic_files.write_file(tmp_path / "other", b"")
    assert names(tmp_path) == ["o.npz", "other"]


# Single files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    atomic_files.write_file(path, b"one")
    atomic_files.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["o.npz"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    atomic_files.write_file(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    atomic_files.write_file(pipe, b"text")
    still = pipe.is_fifo()
    if not still:
        reader.terminate()
    assert reader.communicate()[0] == b"text"
    assert still


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write `.*absent/o\.npz`: No such file"):
        atomic_files.write_file(tmp_path / "absent" / "o.npz", b"")
    with pytest.raises(StoreError, match=r"cannot write `.*`: Is a directory"):
        atomic_files.write_file(tmp_path, b"")


@pytest.mark.parametrize("check", [atomic_files.check_file, atomic_files.check_folder])
def test_what_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, check: Callable[[Path], None]
) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "file" / "below", "cannot write `.*below`"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("/proc/nothing"), "cannot write `/proc/nothing`"),
    ):
        with pytest.raises(StoreError, match=message):
            check(path)
    check(tmp_path / "new")
    check(Path("/dev/null") if check is atomic_files.check_file else tmp_path / "deep" / "new")
    assert names(tmp_path) == ["file"]


def test_a_file_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        atomic_files.check_file(tmp_path / "absent" / "o.npz")
    with pytest.raises(StoreError, match="Is a directory"):
        atomic_files.check_file(tmp_path)
