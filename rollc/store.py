"""Artefact folders and single files, complete or absent.

A folder is written under another name beside its target, and renamed into place when it
is whole.  Among processes that may die at any point this stays right because

* a writer holds a lock on its unfinished folder for as long as it lives: one that can be
  locked was left behind by the dead, and is removed;
* the rename is the only step that a reader can see.  A reader between an old folder and a
  new one may find two halves, or none: it looks again;
* a manifest lists the hash of every file: a damaged or foreign folder is told apart.

An artefact holds code that runs when it is loaded.  The hashes find damage, not malice:
load an artefact only where you would run a program of the same origin.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import hashlib
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rollc import __version__, resources
from rollc.errors import StoreError

FORMAT = 1
"""The version of the layout of an artefact folder; no other version is read."""

MANIFEST = "manifest.json"
CACHE_VARIABLE = "ROLLC_CACHE"

_COMPILED = "__pycache__"  # machine code: it comes and goes with the machine
_UNFINISHED = ".rollc-tmp"
_LOOKS, _PAUSE = 5, 0.02  # times and seconds: the patience with a folder that is being replaced
_FORGET_AFTER = 30 * 24 * 3600.0  # seconds that a cached build is kept unused

Checked = TypeVar("Checked")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Manifest:
    """What an artefact says of itself: the hash of each file, and the builder's entries."""

    folder: Path
    files: Mapping[str, str]
    entries: Mapping[str, Any]

    def entry(self, name: str, kind: type[Checked]) -> Checked:
        """One entry, of the type that it must have; :class:`StoreError` where it has not."""
        value = self.entries.get(name)
        if not isinstance(value, kind):
            raise StoreError(
                f"`{self.folder / MANIFEST}` is damaged: `{name}` should be of type"
                f" `{kind.__name__}`"
            )
        return value

    def path(self, name: object) -> Path:
        """The path of a file; :class:`StoreError` where the manifest does not vouch for it."""
        if not isinstance(name, str) or name not in self.files:
            raise StoreError(
                f"`{self.folder / MANIFEST}` is damaged: it names a file that it does not list"
            )
        return self.folder / name

    def text(self, name: object) -> str:
        """What a file holds."""
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot read `{path}`: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StoreError(f"`{path}` is damaged: it is not text") from error


@dataclass(frozen=True)
class Made:
    """A whole artefact, whether it was there before, and whether it outlives the process."""

    manifest: Manifest
    hit: bool
    kept: bool = True


# Builds


def made(
    key: str,
    write: Callable[[Path], Mapping[str, Any]],
    directory: Path | None = None,
    *,
    use_cache: bool = True,
) -> Made:
    """The artefact of that key: from the cache, or written now.

    ``write`` fills an empty folder and returns the entries of the manifest (values that
    JSON can hold).  With a ``directory`` the artefact is put there too.  Without one, and
    without a cache that can be written, it lies in a folder that ends with the process.
    """
    if directory is not None:  # say so before the work, not after it
        _patiently(_refuse_foreign, directory)
    if use_cache:
        place = cache_folder() / key
        known = _known(place)
        try:
            manifest = known or _write_artefact(place, key, write, cached=True)
        except StoreError as error:
            warnings.warn(f"building without the cache: {error}", stacklevel=2)
        else:
            _forget_unused(place)
            if directory is not None:
                with staging(directory) as folder:
                    shutil.copytree(place, folder, dirs_exist_ok=True)
                manifest = replace(manifest, folder=directory)
            return Made(manifest, hit=known is not None)
    kept = directory is not None
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="rollc-")) / key
        atexit.register(shutil.rmtree, directory.parent, ignore_errors=True)
    return Made(_write_artefact(directory, key, write), hit=False, kept=kept)


def build_key(**parts: Any) -> str:
    """The name of a build in the cache: a hash of all that decides what it holds.

    ``parts`` are values that JSON can hold; the versions of rollc, Python and the
    libraries that compile are added.
    """
    parts["environment"] = [
        FORMAT,
        source_hash(),
        platform.python_version(),
        platform.machine(),
        *(version(library) for library in ("numpy", "numba", "llvmlite")),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def source_hash() -> str:
    """A hash of rollc's own source and grammar: another compiler makes another build."""
    return _hash_of(Path(__file__).parent, resources.folder("grammar"))


def runtime_hash() -> str:
    """A hash of what compiled kernels call: with another run time they must not be run."""
    return _hash_of(Path(__file__).parent / "kernel")


@cache
def _hash_of(*roots: Path) -> str:
    total = hashlib.sha256()
    for root in roots:
        for path in sorted((*root.rglob("*.py"), *root.rglob("*.lark"))):
            total.update(path.relative_to(root).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def cache_folder() -> Path:
    """Where builds are kept: ``$ROLLC_CACHE``, or the user's own cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("rollc")


def _write_artefact(
    target: Path,
    key: str,
    write: Callable[[Path], Mapping[str, Any]],
    *,
    cached: bool = False,
) -> Manifest:
    with staging(target, cached=cached) as folder:
        manifest = seal(folder, {**write(folder), "key": key})
    return replace(manifest, folder=target)


def _known(folder: Path) -> Manifest | None:
    """The whole artefact in that folder, if it is one."""
    if folder.is_dir():
        with suppress(StoreError):
            return read(folder)
    return None


def _forget_unused(used: Path) -> None:
    """Note that a cached build was used, and remove those that were not for long."""
    with suppress(OSError):  # a cache that can only be read
        os.utime(used)
        oldest = time.time() - _FORGET_AFTER
        for path in used.parent.iterdir():
            if (path / MANIFEST).is_file() and path.stat().st_mtime < oldest:
                shutil.rmtree(path)


# Manifests


def seal(folder: Path, entries: Mapping[str, Any]) -> Manifest:
    """Write the manifest of a folder that holds all its files."""
    made_by = {"format": FORMAT, "rollc": __version__, "runtime": runtime_hash()}
    head = {**made_by, **entries}
    files = {name: _digest(path) for name, path in _files(folder).items()}
    text = json.dumps({**head, "files": files}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return Manifest(folder, files, head)


def read(folder: Path) -> Manifest:
    """The manifest of a whole artefact.

    Raises :class:`StoreError` where the folder is none, or a file is missing or changed.
    """
    return _patiently(_read, folder)


def _patiently(look: Callable[[Path], Result], folder: Path) -> Result:
    """Look at a folder, again where it may have been replaced at the same time."""
    for _ in range(_LOOKS - 1):
        with suppress(StoreError, FileNotFoundError):
            return look(folder)
        time.sleep(_PAUSE)
    return look(folder)


def _read(folder: Path) -> Manifest:
    manifest = _parse(folder)
    made_by = manifest.entries.get("format"), manifest.entries.get("runtime")
    if made_by != (FORMAT, runtime_hash()):
        raise StoreError(f"`{folder}` was built by another version of rollc; build it again")
    present = _files(folder)
    for name, digest in manifest.files.items():
        if name not in present:
            raise StoreError(f"`{folder}` is damaged: `{name}` is missing; build it again")
        if _digest(present[name]) != digest:
            raise StoreError(
                f"`{folder}` is damaged: `{name}` has changed since it was built;"
                " build it again (to build from an edited graph, give its text as the spec)"
            )
    return manifest


def _parse(folder: Path) -> Manifest:
    """The manifest of any version, its files unchecked."""
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(f"`{folder}` is not an artefact: it has no `{MANIFEST}`")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged: it is not JSON") from error
    except OSError as error:
        raise StoreError(f"cannot read `{path}`: {error.strerror}") from error
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(isinstance(hash_, str) for hash_ in files.values()):
        raise StoreError(f"`{path}` is not the manifest of an artefact")
    entries = {name: value for name, value in content.items() if name != "files"}
    return Manifest(folder, files, entries)


def _files(folder: Path) -> dict[str, Path]:
    """The plain files of an artefact by name, less the manifest and machine code."""
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {
        name: path
        for name, path in found.items()
        if name != MANIFEST and _COMPILED not in path.relative_to(folder).parts
    }


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read `{path}`: {error.strerror}") from error


# Folders


@contextmanager
def staging(target: Path, *, cached: bool = False) -> Iterator[Path]:
    """A fresh folder that becomes ``target`` when the block ends without an error.

    An artefact that was at ``target`` is replaced.  Raises :class:`StoreError` where
    anything else is there, or it cannot be written.  In the cache (``cached``) whatever is
    there is replaced, and nobody waits for the disk: files that it has lost are noticed when
    they are read, and built again.
    """
    target = Path(os.path.realpath(target))
    try:
        if not cached:
            _patiently(_refuse_foreign, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        folder, lock = _claim(target)
        try:
            yield folder
            if not cached:
                _sync(folder)
                _patiently(_refuse_foreign, target)
            _publish(folder, target)
            if not cached:
                _sync_path(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except OSError as error:
        raise StoreError(f"cannot write `{target}`: {error.strerror or error}") from error


def _refuse_foreign(target: Path) -> None:
    """Raise where replacing the target would remove what rollc did not write."""
    try:
        names = os.listdir(target)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StoreError(f"`{target}` is a file; name a folder for the artefact") from None
    if names:
        try:
            known = _parse(target).files
        except StoreError:
            known = {}
        foreign = sorted(_files(target).keys() - known.keys())
        if not known or foreign:
            what = f"such as `{foreign[0]}`" if foreign else "and it is no artefact"
            raise StoreError(
                f"`{target}` holds files that rollc did not write, {what}; name a new folder"
            )


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{_UNFINISHED}")


def _claim(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, and the lock that says that its writer lives."""
    while True:
        folder = _temporary(target)
        folder.mkdir()
        with suppress(FileNotFoundError):  # swept away before it was locked
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: then nothing is swept either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the unfinished folders of writers that died."""
    for folder in sorted(parent.glob(f".*{_UNFINISHED}")):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _publish(folder: Path, target: Path) -> None:
    """Put a whole folder in the target's place; of several at once the last one stays."""
    while not _renamed(folder, target):
        if _exchanged(folder, target):
            break  # the old one now has the unfinished name, and is removed with it
        retired = _temporary(target)
        with suppress(FileNotFoundError):  # another writer took it away
            target.rename(retired)
        shutil.rmtree(retired, ignore_errors=True)


def _renamed(folder: Path, target: Path) -> bool:
    """Rename a folder; false where another one is in the way."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _exchanged(one: Path, other: Path) -> bool:
    """Have two folders change names in one step; false where the system cannot.

    The call is Linux's ``renameat2`` with ``RENAME_EXCHANGE``, which Python does not offer.
    """
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return (
        call is not None and call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
    )


def _sync(folder: Path) -> None:
    """Have the disk hold all the files before the name that makes them whole."""
    for path in (*folder.rglob("*"), folder):
        _sync_path(path)


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Single files


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that its name holds the old content or all of the new."""
    path = Path(os.path.realpath(path))  # a link stays a link
    try:
        if path.exists() and not path.is_file():  # a device or a pipe, which has no old content
            path.write_bytes(content)
            return
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write `{path}`: {error.strerror}") from error
