"""What ``rollc train`` has left, opened again: a network, its parameters, and its data's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rollc.driver import artefact, artefact_store, build
from rollc.errors import InputError, StoreError
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.network.pairs.network import as_taken, in_pairs, with_complex_arrays
from rollc.support import atomic_files
from rollc.support.checks import mapping, path
from rollc.training.data.pairs import in_units
from rollc.training.data.preparation import Preparation
from rollc.training.data.sequences import Sequences
from rollc.training.runs.run_folder import PARAMS, RunFolder, is_run

Array = NDArray[Any]


@dataclass(frozen=True)
class Trained:
    """A network with the parameters that a run has found; :func:`rollc.load` opens it.

    Attributes
    ----------
    network : Network
        All that a network does; of standardised numbers, where the data were standardised.
    params : dict of str to ndarray
        The parameters: those of the best validation loss, or the last ones.
    preparation : Preparation
        What was done to the data.
    options : mapping
        Those of the command.
    """

    network: Network
    params: dict[str, Array] = field(repr=False)
    preparation: Preparation = field(repr=False, default_factory=Preparation)
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def forward(
        self, inputs: Mapping[str, Any], *, lengths: Any = None, seed: int = 0
    ) -> dict[str, Array]:
        """The outputs, in the units of the data.

        Parameters
        ----------
        inputs : mapping of str to array
            ``[T, B, ...]``, or ``[T, ...]``, in the units of the data.
        lengths : array [B], optional
            The steps of each sequence.
        seed : int
            What ``sample`` draws from.

        Returns
        -------
        dict of str to ndarray
            By name.

        Raises
        ------
        InputError
            For what does not fit.
        """
        network, parts = in_pairs(self.network)
        with parts.in_messages():
            own = parts.split(mapping("inputs", inputs))
            given = {name: as_array(f"`{name}`", array) for name, array in own.items()}
            arrays = self.preparation(Sequences(given)).arrays
            params = parts.split(self.params)
            found = network.forward(params, arrays, lengths=lengths, seed=seed)
        return parts.joined(in_units(network, found, self.preparation))


def open_run(folder: Path) -> Trained:
    """The run in a folder.  Raises :class:`StoreError` where it is damaged."""
    kept = RunFolder(folder)
    if not is_run(folder):
        raise InputError(f"`{folder}` is no run of `rollc train`")
    if kept.has_seeds():
        one = kept.of_seed(int(kept.options().get("seed", 0))).path
        raise InputError(f"`{folder}` has runs of several seeds: give one of them, such as `{one}`")
    params = kept.params()
    network = _network(kept, params)
    shapes = {name: spec.shape for name, spec in network.params.items()}
    if {name: array.shape for name, array in params.items()} != shapes:
        raise StoreError(f"`{folder / PARAMS}` is damaged: it is not of this network")
    return Trained(network, params, kept.preparation(network), kept.options())


def _network(kept: RunFolder, params: Mapping[str, Array]) -> Network:
    """The network that is kept; of another version of rollc, built again from its graph."""
    try:
        return artefact.open_artefact(artefact_store.read(kept.network))
    except artefact_store.OtherVersion:
        path, told = kept.network / "checked.txt", kept.options()
        text = atomic_files.content(path).decode("utf-8", "replace")
        dtype = next((str(array.dtype) for array in params.values()), "float32")
        backend = told.get("backend")
        return build.build_source(text, str(path), dtype=dtype, backend=backend)[0]


def load(directory: str | Path) -> Network | Trained:
    """Open the folder of an artefact, or of a run.

    A folder holds code: load one only where you would run a program of its author's.

    Parameters
    ----------
    directory : str or path
        What :func:`build` (``rollc build -o``) or ``rollc train -o`` has written.

    Returns
    -------
    Network or Trained
        A network, or with its parameters that of a run.

    Raises
    ------
    StoreError
        Where it is damaged.
    InputError
        Where it is a folder of several runs.

    Examples
    --------
    >>> import rollc
    >>> built = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2}, directory="small")
    >>> rollc.load("small")
    <Network lstm: float32, any number of steps>
    """
    found = path("`directory`", directory)
    return _for_user(open_run(found)) if is_run(found) else artefact.load(found)


def _for_user(trained: Trained) -> Trained:
    """The run with complex arrays, where its network has complex values."""
    network = with_complex_arrays(trained.network)
    return replace(trained, network=network, params=as_taken(network, trained.params))
