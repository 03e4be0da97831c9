"""Make `.venv` in the checkout, or bring it up to date.

Run by `bin/environment.sh` with any Python that is new enough.  `.venv/made-from` is the
witness of a whole environment: it is written last and taken away first, so what an
interruption leaves behind is not taken for whole; the next run makes it afresh.
"""

import contextlib
import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
WITNESS = VENV / "made-from"
SOURCES = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
LOG = ROOT / ".venv.log"


def say(text: str) -> None:
    print(f"rollc: {text}", file=sys.stderr, flush=True)


def show(line: str) -> None:
    """How far the installer is, on the last line of a terminal."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line.strip()[:width]}", end="", file=sys.stderr, flush=True)


def wanted() -> str:
    """What a whole environment was made from: the place, then the text of the sources."""
    return f"{ROOT}\n" + "".join(path.read_text() for path in SOURCES)


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """Wait until no other process makes the environment.

    Gives the lock's file descriptor: the lock lasts as long as anyone holds that open.
    """
    with SOURCES[0].open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is setting up .venv; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def install(lock: int) -> int:
    """Install the project and what it needs, in the tested versions.  The exit status.

    The installer holds the lock too, should it outlive this process.
    """
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--editable", f"{ROOT}[test]"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--disable-pip-version-check"]
    with LOG.open("w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.2)
                show(LOG.read_text(errors="replace").rpartition("\n")[0].rpartition("\n")[2])
        finally:
            show("")
            process.kill()


def main() -> int:
    with alone() as lock:
        known = WITNESS.read_text() if WITNESS.is_file() else ""
        if known == wanted():
            return 0
        moved = not known.startswith(f"{ROOT}\n")
        say(
            f"making .venv with Python {sys.version.split()[0]} (about a minute, this once)"
            if moved
            else "pyproject.toml or constraints.txt has changed; bringing .venv up to date"
        )
        WITNESS.unlink(missing_ok=True)
        if moved:
            venv.create(VENV, clear=True, with_pip=True)
        if install(lock):
            say(f"the installation failed; {LOG.name} ends with")
            print(*LOG.read_text().splitlines()[-15:], sep="\n", file=sys.stderr)
            return 2
        LOG.unlink()
        WITNESS.write_text(wanted())
        say(".venv is ready")
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; run it again to set .venv up")
        sys.exit(130)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"cannot set up .venv: {error}")
        sys.exit(2)
