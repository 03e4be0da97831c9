"""Artefacts: folders that hold a built network, and the cache of builds.

An artefact is one flat folder: a manifest, the files that it lists with the hash of each, and
object code in ``__pycache__``, which is specific to a machine.  It is complete or absent
(:mod:`rollc.support.atomic_files`), and all of it is read when it is opened: later changes of the
folder do not affect an open artefact.  The manifest has a hash of its own entries too, so that
damaged, edited and foreign ones are recognized.

An artefact holds code that runs when it is loaded.  The hashes find damage, not malice:
load an artefact only where you would run a program of the same origin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rollc.errors import StoreError
from rollc.support import atomic_files, fingerprint
from rollc.support.cache_folder import COMPILED, cache_folder
from rollc.support.version import VERSION

FORMAT = 3
"""The version of the layout of an artefact folder; no other version is read."""

MANIFEST = "manifest.json"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FORGET_AFTER = 30 * 24 * 3600.0  # seconds that a cached build is kept unused

Checked = TypeVar("Checked")


class OtherVersion(StoreError):
    """An artefact that another version of rollc has built."""


@dataclass(frozen=True)
class Manifest:
    """An artefact: the folder that it was read from, the contents and hashes of its files by name,
    and the ``entries`` that describe the build."""

    folder: Path
    files: Mapping[str, bytes]
    hashes: Mapping[str, str]
    entries: Mapping[str, Any]

    def entry(self, name: str, kind: type[Checked]) -> Checked:
        """One entry; raises :class:`StoreError` where it is not of the type ``kind``."""
        value = self.entries.get(name)
        if not isinstance(value, kind):
            raise StoreError(
                f"`{self.folder / MANIFEST}` is damaged: `{name}` should be of type"
                f" `{kind.__name__}`"
            )
        return value

    def text(self, name: object) -> str:
        """The text of a file; raises :class:`StoreError` where the manifest does not list it."""
        if not isinstance(name, str) or name not in self.files:
            raise StoreError(
                f"`{self.folder / MANIFEST}` is damaged: it names a file that it does not list"
            )
        try:
            return self.files[name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(f"`{self.folder / name}` is damaged: it is not text") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle has all files, so that no folder has to be there where it is read."""
        files = {name: zlib.compress(content) for name, content in self.files.items()}
        return _unpacked, (os.fspath(self.folder), files, dict(self.hashes), dict(self.entries))


def _unpacked(
    folder: str, files: Mapping[str, bytes], hashes: Mapping[str, str], entries: Mapping[str, Any]
) -> Manifest:
    """An artefact from a pickle; :class:`StoreError` where another version of rollc wrote it."""
    if (entries.get("format"), entries.get("runtime")) != (FORMAT, fingerprint.of_runtime()):
        raise StoreError(f"`{entries.get('name')}` was built by another version of rollc")
    contents = {name: zlib.decompress(content) for name, content in files.items()}
    return Manifest(Path(folder), contents, hashes, entries)


@dataclass(frozen=True)
class Made:
    """An artefact, and whether it was in the cache."""

    manifest: Manifest
    hit: bool


# Builds


def made(
    key: str,
    write: Callable[[Path], Mapping[str, Any]],
    directory: Path | None = None,
    *,
    use_cache: bool = True,
    temporary: bool = True,
) -> Made:
    """The artefact of that key: from the cache, or written now.

    ``write`` fills an empty folder and returns the entries of the manifest (values that
    JSON can hold).  With a ``directory`` the artefact is put there too.  Without one, and
    without a cache that can be written, it lies in a folder that ends with the process; where it
    is not to be ``temporary``, :class:`StoreError` is raised before the work.
    """
    if directory is not None:  # say so before the work, not after it
        _refuse_foreign(directory)
        atomic_files.check_folder(directory)
    if use_cache:
        try:
            cached = cache_folder() / key
            known = _known(cached, key)
            manifest = known or _write_artefact(cached, key, write, cached=True)
        except StoreError as error:
            if directory is None and not temporary:
                raise StoreError(
                    f"{error}; there is nowhere to keep the artefact: give -o DIR"
                ) from error
            warnings.warn(f"building without the cache: {error}", stacklevel=2)
        else:
            _forget_unused(cached)
            if directory is not None:
                manifest = copied(manifest, directory)
            return Made(manifest, hit=known is not None)
    if directory is None:
        directory = atomic_files.scratch() / key
    return Made(_write_artefact(directory, key, write), hit=False)


def _write_artefact(
    target: Path,
    key: str,
    write: Callable[[Path], Mapping[str, Any]],
    *,
    cached: bool = False,
) -> Manifest:
    # Files of the cache are not synced to disk: damage is noticed when they are read, and the
    # network is built anew.
    with atomic_files.staging(target, durable=False) if cached else staging(target) as folder:
        manifest = seal(folder, {**write(folder), "key": key})
    return replace(manifest, folder=target)


def copied(manifest: Manifest, target: Path) -> Manifest:
    """A copy of an artefact with its object code in another folder."""
    with staging(target) as folder:
        for name, content in manifest.files.items():
            (folder / name).write_bytes(content)
        _write_manifest(folder, manifest.entries, manifest.hashes)
        (folder / COMPILED).mkdir()
        for path in sorted((manifest.folder / COMPILED).glob("*.zip")):
            with suppress(StoreError, FileNotFoundError):
                (folder / COMPILED / path.name).write_bytes(atomic_files.content(path))
    return replace(manifest, folder=target)


def _known(folder: Path, key: str) -> Manifest | None:
    """The whole artefact of that key in a folder, if it is there."""
    if atomic_files.is_there(folder):
        with suppress(StoreError):
            manifest = read(folder)
            return manifest if manifest.entries.get("key") == key else None
    return None


def _forget_unused(used: Path) -> None:
    """Touch a cached build, and remove those that have not been used for long."""
    with suppress(OSError):  # a cache that can only be read
        os.utime(used)
        oldest = time.time() - _FORGET_AFTER
        for path in used.parent.iterdir():
            if (path / MANIFEST).is_file() and path.stat().st_mtime < oldest:
                atomic_files.retire(path)


# Manifests


def seal(folder: Path, entries: Mapping[str, Any]) -> Manifest:
    """Write the manifest of a folder that holds all its files."""
    made_by = {"format": FORMAT, "rollc": VERSION, "runtime": fingerprint.of_runtime()}
    head = {**made_by, **entries}
    names = sorted(set(os.listdir(folder)) - {MANIFEST, COMPILED})
    files = {name: atomic_files.content(folder / name) for name in names}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    _write_manifest(folder, head, hashes)
    return Manifest(folder, files, hashes, head)


def _write_manifest(folder: Path, entries: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    content = {**entries, "files": dict(hashes), "hash": None}
    text = json.dumps({**content, "hash": fingerprint.of_value(content)}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The artefact in a folder: one version of it, even if it is replaced meanwhile.

    Raises :class:`StoreError` where the folder is none, or a file is missing or changed.
    """
    return atomic_files.held(folder, partial(_read, folder))


def _read(folder: Path, descriptor: int) -> Manifest:
    content = _parse(folder, descriptor)
    hashes = content["files"]
    if (content.get("format"), content.get("runtime")) != (FORMAT, fingerprint.of_runtime()):
        raise OtherVersion(f"`{folder}` was built by another version of rollc; build it again")
    if not _is_unchanged(content):
        raise StoreError(f"`{folder / MANIFEST}` has changed since it was built; build it again")
    files = {}
    for name, hash_ in hashes.items():
        if not _NAME.fullmatch(name):
            raise StoreError(f"`{folder / MANIFEST}` is damaged: it lists `{name}`, no file's name")
        try:
            files[name] = atomic_files.content(Path(name), descriptor)
        except FileNotFoundError:
            raise StoreError(
                f"`{folder}` is damaged: `{name}` is missing; build it again"
            ) from None
        except StoreError as error:
            raise StoreError(f"`{folder}` is damaged: {error}") from error
        if hashlib.sha256(files[name]).hexdigest() != hash_:
            raise StoreError(
                f"`{folder}` is damaged: `{name}` has changed since it was built;"
                " build it again (to build from an edited graph, give its text as the spec)"
            )
    entries = {name: value for name, value in content.items() if name not in ("files", "hash")}
    return Manifest(folder, files, hashes, entries)


def _is_unchanged(content: Mapping[str, Any]) -> bool:
    """Whether the hash in a manifest is that of its other entries."""
    with suppress(ValueError, RecursionError):
        return content.get("hash") == fingerprint.of_value({**content, "hash": None})
    return False


def _parse(folder: Path, descriptor: int) -> dict[str, Any]:
    """The manifest of any version, its files unchecked."""
    path = folder / MANIFEST
    try:
        content = json.loads(atomic_files.content(Path(MANIFEST), descriptor))
    except FileNotFoundError:
        raise StoreError(f"`{folder}` is not an artefact: it has no `{MANIFEST}`") from None
    except StoreError as error:
        raise StoreError(f"`{folder}` is not an artefact: {error}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged: it is not JSON") from error
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(isinstance(hash_, str) for hash_ in files.values()):
        raise StoreError(f"`{path}` is not the manifest of an artefact")
    return dict(content)


# Folders


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A fresh folder that becomes the artefact ``target`` when the block ends without an error.

    An artefact that was at ``target`` is replaced.  Raises :class:`StoreError` where anything
    else is there, or it cannot be written.
    """
    _refuse_foreign(target)
    with atomic_files.staging(target) as folder:
        yield folder
        _refuse_foreign(target)


def _refuse_foreign(target: Path) -> None:
    """Raise where replacing the target would remove what rollc did not write."""
    real = Path(os.path.realpath(target))
    if os.path.lexists(real):
        here = Path.cwd()
        if real in (here, *here.parents):
            raise StoreError(
                f"`{target}` is the folder that you are in, or holds it; name a new one"
            )
        atomic_files.held(real, partial(_look_for_foreign, target))


def _look_for_foreign(target: Path, descriptor: int) -> None:
    names, known = set(os.listdir(descriptor)), set[str]()
    with suppress(StoreError):
        known = {MANIFEST, COMPILED, *_parse(target, descriptor)["files"]}
    if foreign := sorted(names - known):
        raise StoreError(
            f"`{target}` holds files that rollc did not write, such as `{foreign[0]}`;"
            " name a new folder"
        )
    if not os.fstat(descriptor).st_nlink:
        raise StoreError(f"`{target}` was removed")
