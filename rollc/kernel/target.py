"""The machine that kernels run on, as far as planning and sharing out ask for it.

A backend describes its machine (:mod:`rollc.backends.protocol`); tests describe others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A machine, in operations of matrix products, which are what it does fastest.

    thread_start -- those that take as long as another thread needs to have its share's data
    team_start   -- those that take as long as a team's numbers need to go to and fro
    fewest_rows  -- rows of a product for which it pays to read a matrix once more
    """

    thread_start: int = 20_000_000
    team_start: int = 50_000_000
    fewest_rows: int = 4
