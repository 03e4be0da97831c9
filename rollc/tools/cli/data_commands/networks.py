"""A network and a user's arrays: what ``run``, ``train`` and their like are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rollc.driver import artefact
from rollc.ir.operations.initial_values import DRAWS
from rollc.network.network import Network
from rollc.network.pairs.network import as_taken
from rollc.tools import console, files
from rollc.tools.cli import building, sources
from rollc.tools.datafiles import names, read_npz
from rollc.training.runs.run_folder import read_params
from rollc.transforms.randomness import NOISE

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]


def open_network(
    spec: str, sets: Mapping[str, int], dtype: str, feed: str, backend: str | None = None
) -> Network:
    """The network of a spec, or of an artefact, which has its sizes and its dtype already."""
    if files.is_artefact(spec):
        return artefact.open_artefact(sources.open_artefact(spec, sets, dtype, feed, backend))
    return building.build_network(spec, sets=sets, dtype=dtype, feed=feed, backend=backend)[0]


def draws_at_random(network: Network, training: bool = False) -> bool:
    """Whether a run draws at random: `sample` always does, `dropout` in training."""
    leaves = network.graph.leaves(NOISE)
    return any(training or node.options.get("rate") is None for node in leaves)


def has_random_params(network: Network) -> bool:
    """Whether a parameter is drawn at random where none is given."""
    fixed = ("zeros", "number", "identity")
    drawn = [node.options for node in network.graph.leaves("param")]
    drawn = [options for options in drawn if options["initialiser"] not in fixed]
    # What is computed draws where its expression says so.
    return any(not DRAWS.keys().isdisjoint(options.get("values", DRAWS)) for options in drawn)  # type: ignore[arg-type]


def values_of(
    network: Network, params: str | None, seed: int, quiet: bool = False
) -> dict[str, Array]:
    """The parameters from a file, or drawn from the seed, which is said if not ``quiet``."""
    if params is None:
        if has_random_params(network) and not quiet:
            console.note(f"no `--params`: they are drawn at random, from seed {seed}")
        return dict(network.init(seed))
    if params.lower().endswith(".safetensors"):
        found = read_params(Path(params))
    else:
        found = read_npz(files.read_bytes(params), params)
    return known(as_taken(network, found), network.params, params, "a parameter")


def known(
    found: dict[str, Array], wanted: Mapping[str, Spec], file: str, what: str
) -> dict[str, Array]:
    """The arrays that the network takes; the others are mentioned."""
    others = sorted(found.keys() - wanted.keys())
    if others:
        console.note(f"not {what} of the network, and not read: {names(others)} in `{file}`")
    return {name: array for name, array in found.items() if name in wanted}
