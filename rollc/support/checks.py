"""Checks of scalar arguments: each is converted to one type, or refused by name.

A whole number is what Python takes for one (NumPy's integers too), except for truth values.
Each function returns the value as the type that the rest of rollc uses, and raises
:class:`InputError` with what was expected and what was found.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rollc.errors import InputError

ANY = 2**31 - 1
"""A bound that messages do not mention."""

_SWITCH = (bool, np.bool_)  # no union: compilers of PyTorch read this too


def whole(what: str, value: Any, least: int | None = 0, most: int | None = None) -> int:
    """A whole number from ``least`` on, up to ``most``; None is no bound."""
    bounds = "" if least is None else f" from {least} on"
    if least is not None and most is not None and most < ANY:
        bounds = f" from {least} to {most}"
    if not isinstance(value, _SWITCH):
        try:
            number = operator.index(value)
        except (TypeError, ValueError, RuntimeError):  # scalars of other libraries raise anything
            pass
        else:
            if (least is None or number >= least) and (most is None or number <= most):
                return number
    raise InputError(f"{what}: expected a whole number{bounds}, found {shown(value)}")


def real(what: str, value: Any, words: str = "a number") -> float:
    """A finite number."""
    if not isinstance(value, (*_SWITCH, str, bytes)):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass
        else:
            if math.isfinite(number):
                return number
    raise InputError(f"{what}: expected {words}, found {shown(value)}")


def positive(what: str, value: Any) -> float:
    """A finite number that is more than 0."""
    words = "a number more than 0"
    number = real(what, value, words)
    if number <= 0:
        raise InputError(f"{what}: expected {words}, found {shown(value)}")
    return number


def switch(what: str, value: Any) -> bool:
    """True or False, and no other value that counts as one of them."""
    if isinstance(value, _SWITCH):
        return bool(value)
    raise InputError(f"{what}: expected True or False, found {shown(value)}")


def choice(what: str, value: Any, known: Sequence[str]) -> str:
    """One of some words."""
    if isinstance(value, str) and value in known:
        return str(value)
    expected = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
    raise InputError(f"expected {what} {expected}, found {shown(value)}")


def mapping(what: str, value: Any, of: str = "arrays by name") -> Mapping[str, Any]:
    """Values by name, such as a dictionary or the arrays of an ``.npz`` file."""
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise InputError(f"`{what}`: expected {of}, such as a dictionary, found {shown(value)}")


def words(what: str, value: Any, of: str = "words") -> tuple[str, ...]:
    """Several words, such as names; a single string is not taken for its letters."""
    found = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if found and all(isinstance(each, str) for each in value):
        return tuple(map(str, value))
    raise InputError(f"{what}: expected {of}, found {shown(value)}")


def path(what: str, value: Any) -> Path:
    """The path of a file or folder."""
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and "\0" not in found:
            return Path(found)
    raise InputError(f"{what}: expected a path, found {shown(value)}")


def shown(value: Any) -> str:
    """A value in a message: as a word, a number or its type, never long."""
    if isinstance(value, str):
        return f"`{value:.40}`"
    if value is None or isinstance(value, bool | int | float | np.number | np.bool_):
        return f"{value!s:.40}"
    return f"a value of type `{type(value).__name__}`"
