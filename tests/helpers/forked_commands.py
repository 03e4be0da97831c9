"""Commands in forks of one process that has imported all, so that one starts in milliseconds.

    python -m tests.helpers.forked_commands

reads the words of a command, a line of JSON each, and prints the id of its process.  When that has
ended there is a line ``ENDED`` with its status on standard error, behind what the command said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from tests.helpers.paths import ROOT

ENDED = b"\0ended "


class Commands:
    """The process of the forks, seen from a test."""

    def __init__(self, server: Popen[bytes]) -> None:
        self._server = server

    def start(self, words: list[str], until: bytes) -> int:
        """Start a command, and return the id of its process when it has said a line."""
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(words).encode() + b"\n")
        self._server.stdin.flush()
        process = int(self._server.stdout.readline())
        said = self._said(until)
        assert not said[-1].startswith(ENDED), b"".join(said).decode()
        return process

    def wait(self) -> int:
        """The status of the command when it has ended; negative where a signal ended it."""
        return int(self._said(ENDED)[-1].removeprefix(ENDED))

    def _said(self, until: bytes) -> list[bytes]:
        assert self._server.stderr
        lines = [b""]
        while not lines[-1].startswith((until, ENDED)):
            lines.append(self._server.stderr.readline())
            assert lines[-1], "the process of the forks has ended"
        return lines


@contextmanager
def forked_commands() -> Iterator[Commands]:
    """Commands that run in the current folder."""
    words = [sys.executable, "-m", __name__]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    with Popen(words, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE) as server:
        try:
            yield Commands(server)
        finally:
            server.kill()


def main() -> None:
    import rollc.tools.cli.data_commands.train.command  # noqa: F401  (for the forks)
    from rollc.tools.cli import main as command

    for line in sys.stdin:
        process = os.fork()
        if not process:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = 70
            try:
                status = command(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        os.write(2, b"\n%b%d\n" % (ENDED, os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
