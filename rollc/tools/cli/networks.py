"""A network and a user's arrays: what ``run``, ``train`` and their like are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver import artefact
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools import console, files
from rollc.tools.cli import building, sources
from rollc.tools.datafiles import Column, is_npz, names, read_csv, read_npz
from rollc.transforms.randomness import NOISE

if TYPE_CHECKING:
    from rollc.network.arrays import Spec

Array = NDArray[Any]

LENGTHS = "lengths"  # the array with the number of steps of each sequence


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
    leaves = network.graph.leaves("param")
    return any(node.options["initialiser"] not in fixed for node in leaves)


def values_of(network: Network, params: str | None, seed: int) -> dict[str, Array]:
    """The parameters from a file, or drawn from the seed, which is said."""
    if params is None:
        if has_random_params(network):
            console.note(f"no `--params`: they are drawn at random, from seed {seed}")
        return dict(network.init(seed))
    found = read_npz(files.read_bytes(params), params)
    return known(found, network.params, params, "a parameter")


def data_of(network: Network, file: str) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """The inputs and targets from a file, and the lengths by axis if it has them."""
    slots = {**network.inputs, **network.targets}
    content = files.read_bytes(file)
    if is_npz(content, file):
        found = read_npz(content, file)
    elif len(network.axes) > 1:
        raise InputError(f"`{file}` is a table of steps, and there are several sorts: give an .npz")
    else:
        columns = [Column(name, slot.shape) for name, slot in slots.items() if slot.time]
        found = {
            name: _whole(array) if slots[name].bound is not None else array
            for name, array in read_csv(content, file, columns).items()
        }
    lengths = _lengths(network, found, file)
    return known(found, slots, file, "an input or target"), lengths


def _lengths(network: Network, found: dict[str, Array], file: str) -> dict[str, Array] | None:
    """The lengths by axis, taken out of the arrays of a file; None if it has none."""
    names = {f"{LENGTHS}.{axis}": axis for axis in network.axes}
    if len(network.axes) == 1:
        names[LENGTHS] = network.axes[0]
    taken = {*network.inputs, *network.targets}
    if LENGTHS in found.keys() - names.keys() - taken:
        expected = " and ".join(f"`{name}`" for name in names)
        raise InputError(f"`{file}`: `{LENGTHS}` are of one time axis; expected {expected}")
    own = {axis: found.pop(name) for name, axis in names.items() if name in found.keys() - taken}
    return own or None


def _whole(array: Array) -> Array:
    """Numbers as integers, where they all are."""
    with np.errstate(invalid="ignore"):
        integers = array.astype(np.int64)
    return integers if np.array_equal(integers, array) else array


def known(
    found: dict[str, Array], wanted: Mapping[str, Spec], file: str, what: str
) -> dict[str, Array]:
    """The arrays that the network takes; the others are mentioned."""
    others = sorted(found.keys() - wanted.keys())
    if others:
        console.note(f"not {what} of the network, and not read: {names(others)} in `{file}`")
    return {name: array for name, array in found.items() if name in wanted}
