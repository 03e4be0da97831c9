"""Atomic writes of files and folders, and reads of one version of a folder.

A file or folder is written under a temporary name in the same folder as its target, and renamed
when it is complete.  This is safe for processes that can die at any point, because

* a writer holds a lock on its temporary file for as long as it lives: one that can be locked was
  left by a dead process, and the next writer in the folder removes it;
* the rename is the only step that other processes see.  Where it cannot exchange two folders
  (other systems than Linux and macOS, some file systems), the old one is set aside first: between
  two renames it has another name, but is still found, by readers and by the next writer, which
  restores it if this one died;
* a reader holds a descriptor of a folder, so that all that it reads is of one version, even if
  the folder is exchanged meanwhile.  It tries again only where that version was removed.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from rollc.errors import StoreError

LARGEST = 2**30
"""The default limit of the bytes of a file that is read."""

_UNFINISHED = ".rollc-tmp"
_ASIDE = ".rollc-old"  # holds a folder, under its own name, while another one replaces it
_LOOKS, _PAUSE = 5, 0.02  # attempts and seconds, while a folder is set aside

Found = TypeVar("Found")


# Reading


def held(folder: Path, look: Callable[[int], Found]) -> Found:
    """The result of ``look``, called with a descriptor of a folder: of one version of it.

    Raises :class:`StoreError` where there is no such folder, or ``look`` does.
    """
    while True:
        descriptor, path = _opened(folder)
        try:
            return look(descriptor)
        except StoreError:
            if _has_name(descriptor, path):
                raise
        finally:
            os.close(descriptor)


def is_there(folder: Path) -> bool:
    """Whether there is such a folder, perhaps set aside at the moment."""
    return os.path.isdir(folder) or bool(_set_aside(folder)) or os.path.isdir(folder)


def _opened(folder: Path) -> tuple[int, Path]:
    """A descriptor of a folder, and the path that it was found at."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_PAUSE)
        path = folder
        try:
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_DIRECTORY), path
            for path in _set_aside(folder):
                with suppress(FileNotFoundError):
                    return os.open(path, os.O_RDONLY | os.O_DIRECTORY), path
        except NotADirectoryError:
            raise StoreError(f"`{folder}` is no folder") from None
        except OSError as error:
            raise StoreError(f"cannot open `{folder}`: {error.strerror}") from error
        if not _left(folder.parent, folder.name):
            break
    raise StoreError(f"there is no folder `{folder}`")


def _set_aside(folder: Path) -> list[Path]:
    """The paths at which a folder is set aside at the moment, the newest first."""
    real = Path(os.path.realpath(folder))
    paths = [path / real.name for path in _left(real.parent, real.name) if _is_aside(path)]
    return [path for path in paths if path.is_dir()]


def _has_name(descriptor: int, folder: Path) -> bool:
    """Whether an open folder is the one that has that name now."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    return False


def content(path: Path, folder: int | None = None, most: int = LARGEST) -> bytes:
    """The content of a regular file, relative to an open folder if one is given.

    Nothing else is read: a link can lead anywhere, and a pipe has no end.  Raises
    :class:`StoreError`, and ``FileNotFoundError`` where there is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"`{path}` is no plain file")
            if found.st_size > most:
                raise StoreError(f"`{path}` is larger than {most // 2**20} MB")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"`{path}` is no plain file, but a link") from error
        raise StoreError(f"cannot read `{path}`: {error.strerror}") from error


# Writing


@contextmanager
def staging(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """A new folder that becomes ``target`` when the block ends without an error.

    An old folder is replaced.  If ``durable``, its files are synced to disk before it is renamed.
    Raises :class:`StoreError` where it cannot be written.
    """
    target = Path(os.path.realpath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        folder, lock = _claim(target, _made_folder)
        try:
            yield folder
            if durable:
                for path in (*folder.rglob("*"), folder):
                    _sync(path)
            _publish(folder, target)
            if durable:
                _sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except OSError as error:
        raise StoreError(f"cannot write `{target}`: {error.strerror or error}") from error


@cache
def scratch() -> Path:
    """A temporary folder of this process, removed at its end or by the next one."""
    try:
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        folder, _ = _claim(parent / "rollc", partial(_made_folder, mode=0o700))
    except OSError as error:
        raise StoreError(f"cannot make a temporary folder: {error.strerror}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write a file that a user named: through a link, and to a device or a pipe as it is.

    Raises :class:`StoreError` where it cannot be written.
    """
    try:
        if _takes_writes(path):
            path.write_bytes(content)
        else:
            replace_file(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise StoreError(f"cannot write `{path}`: {error.strerror}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically: it has the old content or all of the new.

    Raises ``OSError`` where it cannot be written.
    """
    _sweep(path.parent)
    unfinished, descriptor = _claim(path, _made_file)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Raise :class:`StoreError` where :func:`write_file` could not write; nothing changes."""
    try:
        if _takes_writes(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        real = Path(os.path.realpath(path))
        if real.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not real.parent.is_dir():
            raise StoreError(f"cannot write `{path}`: there is no folder `{path.parent}`")
        _try_name(real)
    except OSError as error:
        raise StoreError(f"cannot write `{path}`: {error.strerror}") from error


def check_folder(target: Path) -> None:
    """Raise :class:`StoreError` where :func:`staging` could not write; nothing changes."""
    real = Path(os.path.realpath(target))
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(real.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        while not real.parent.is_dir() and not os.path.lexists(real.parent):
            real = real.parent
        _try_name(real)
    except OSError as error:
        raise StoreError(f"cannot write `{target}`: {error.strerror}") from error


def retire(folder: Path) -> None:
    """Remove a folder atomically."""
    retired = _temporary(folder)
    folder.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)


def _takes_writes(path: Path) -> bool:
    """Whether a path is a device or a pipe, which is written in place."""
    with suppress(OSError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _try_name(path: Path) -> None:
    unfinished, descriptor = _claim(path, _made_file)
    unfinished.unlink(missing_ok=True)
    os.close(descriptor)


# Unfinished files and folders


def _temporary(target: Path, ending: str = _UNFINISHED) -> Path:
    return target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}{ending}")


def _is_aside(path: Path) -> bool:
    return path.name.endswith(_ASIDE)


def _made_folder(path: Path, mode: int = 0o777) -> int | None:
    path.mkdir(mode)
    with suppress(FileNotFoundError):  # swept away before it was opened
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return None


def _made_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _claim(
    target: Path, make: Callable[[Path], int | None], ending: str = _UNFINISHED
) -> tuple[Path, int]:
    """A new temporary file or folder for a target, open and locked."""
    while True:
        path = _temporary(target, ending)
        descriptor = make(path)
        if descriptor is not None:
            with suppress(OSError):  # a file system without locks: then nothing is swept either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)  # swept away before it was locked


def _left(parent: Path, name: str = "") -> list[Path]:
    """The temporary files in a folder, the newest first; of one target if it is named.

    Each belongs to a running writer, or was left by a dead one.
    """

    def age(path: Path) -> int:
        with suppress(OSError):
            return -path.stat(follow_symlinks=False).st_mtime_ns
        return 0

    with suppress(OSError):
        start = f".{name[:50]}"
        names = [found for found in os.listdir(parent) if found.startswith(start)]
        found = [parent / found for found in names if found.endswith((_UNFINISHED, _ASIDE))]
        return sorted(found, key=age)
    return []


def _sweep(parent: Path) -> None:
    """Restore folders that dead writers have set aside, and remove their temporary files."""
    for path in _left(parent):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_aside(path):
                    _put_back(path)
                elif stat.S_ISDIR(os.fstat(lock).st_mode):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(lock)


def _publish(folder: Path, target: Path) -> None:
    """Replace the target by a complete folder; of concurrent writers the last one wins."""
    while not _renamed(folder, target):
        if _exchanged(folder, target):
            break  # the old one now has the unfinished name, and is removed with it
        aside, lock = _claim(target, _made_folder, _ASIDE)
        try:
            with suppress(FileNotFoundError):  # another writer took it away
                target.rename(aside / target.name)
            if _renamed(folder, target):
                retire(aside)
                break
        finally:
            if aside.exists():
                _put_back(aside)
            os.close(lock)


def _put_back(aside: Path) -> None:
    """Restore a folder that was set aside, unless its name is taken by now."""
    for path in aside.iterdir():
        _renamed(path, aside.parent / path.name)
    retire(aside)


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
    """Exchange two folders in one step; false where the system cannot.

    The calls are Linux's ``renameat2`` with ``RENAME_EXCHANGE`` and macOS's ``renamex_np`` with
    ``RENAME_SWAP``, which Python does not offer.
    """
    import ctypes

    system = ctypes.CDLL(None)
    here, exchange = -100, 2  # AT_FDCWD; both flags have the same value
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(system, "renameat2"):
        return bool(system.renameat2(here, names[0], here, names[1], exchange) == 0)
    return hasattr(system, "renamex_np") and bool(system.renamex_np(*names, exchange) == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
