"""What calls keep for their gradients, where a program of JAX has only arrays to carry it by."""

from __future__ import annotations

import itertools
import secrets
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.frameworks.runs import Pull

WORDS = 4
"""A token is as many numbers of 32 bits."""


class Tapes:
    """Tapes by a token, until their gradients are computed.

    It is not known whether someone will ever ask for these, so there are as many as ``most`` bytes
    hold: of more, the oldest are gone.  Whoever does not find his own computes it again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0
        self._kept: dict[bytes, tuple[Pull, int]] = {}  # the oldest first
        self._lock = threading.Lock()
        # A token is none in another process, nor in a copy.
        self._numbers = itertools.count(1)
        self._own = secrets.randbits(64)

    def __reduce__(self) -> Any:
        return Tapes, (self.most,)

    def __len__(self) -> int:
        return len(self._kept)

    def token(self) -> NDArray[np.uint32]:
        """One that no tape has."""
        return np.array([self._own, next(self._numbers)], np.uint64).view(np.uint32)

    def keep(self, pull: Pull, size: int) -> NDArray[np.uint32]:
        """The token of a tape of so many bytes."""
        token = self.token()
        with self._lock:
            self._kept[token.tobytes()] = pull, size
            self.bytes += size
            while self.bytes > self.most:
                oldest = next(iter(self._kept))
                self.bytes -= self._kept.pop(oldest)[1]
        return token

    def take(self, token: NDArray[np.uint32]) -> Pull | None:
        """The tape of a token, which is gone then; None where it was gone before."""
        with self._lock:
            found = self._kept.pop(token.tobytes(), None)
            if found is None:
                return None
            self.bytes -= found[1]
        return found[0]
