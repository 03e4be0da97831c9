"""What a user of rollc can do wrong.  Any other exception is a fault of rollc itself."""

from __future__ import annotations


class RollcError(Exception):
    """The base of every error that is the user's to mend; ``str(error)`` says how.

    Examples
    --------
    >>> import rollc
    >>> try:
    ...     rollc.build("lstn")
    ... except rollc.RollcError as error:
    ...     print(type(error).__name__)
    InputError
    """


class InputError(RollcError):
    """An array, a file or an argument is missing, misshapen or cannot be read."""


class UndefinedError(InputError):
    """A result is asked for that is not defined where there are no steps or no sequences."""


class DerivativeError(InputError, NotImplementedError):
    """A derivative was asked for that a network does not give."""


class EstimatorError(InputError, ValueError):
    """What is given to an estimator of scikit-learn, whose callers expect a ``ValueError``."""


class StoreError(RollcError):
    """An artefact folder is damaged, foreign or cannot be written."""
