"""Loading of built networks.

The compiler is not imported here, so that loading takes no longer than reading the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rollc.backends import registry
from rollc.driver import artefact_store
from rollc.errors import InputError, StoreError
from rollc.ir.graph import Graph
from rollc.ir.text import IRTextError, parse_graph
from rollc.kernel.text import ProgramTextError, parse_program
from rollc.network.network import Network
from rollc.network.pairs.network import with_complex_arrays
from rollc.runtime.kernel import Kernel
from rollc.support import fingerprint
from rollc.support.checks import path

DTYPES = ("float32", "float64")
FEEDS = ("taught", "free")
COMBINED = ("sum", "mean")
OF_OUTPUTS = ("forward", "stream", "vjp", "jvp")
"""The kernels that need outputs."""

PARTS = ("graph", "schedule", "program", "source")
"""The files of a kernel."""

# What kernels depend on besides their own texts.
_DECIDING = ("name", "dtype", "steps", "truncate", "combine", "feed", "backend", "sets")


def kernel_name(
    entry: str, kernels: Iterable[str], entries: Mapping[str, Any], *hashes: Mapping[str, Any]
) -> str:
    """The file name of a kernel's source, with a hash of everything that belongs to it.

    ``kernels`` are the names of all kernels, ``entries`` those of the manifest, ``hashes`` those of
    the kernel's texts and of the stages of the network.
    """
    deciding = {name: entries.get(name) for name in _DECIDING}
    made_from = [entry, sorted(kernels), deciding, *map(dict, hashes)]
    suffix = registry.backend(entries["backend"]).suffix
    return f"{entry}_{fingerprint.of_value(made_from)[:16]}{suffix}"


def open_artefact(manifest: artefact_store.Manifest) -> Network:
    """The network of an artefact whose files have been verified.

    Raises :class:`StoreError` where the manifest, the graph and the kernels do not belong
    together.
    """
    kernels = manifest.entry("kernels", dict)
    dtype, backend = (manifest.entry(name, str) for name in ("dtype", "backend"))
    steps, truncate = (manifest.entries.get(name) for name in ("steps", "truncate"))
    graph = checked_graph(manifest)
    _check(manifest, kernels)
    if not kernels and (graph.outputs or graph.loss is not None):
        raise StoreError(f"`{manifest.folder}` is damaged: it has no kernels; build it again")

    @cache
    def kernel(entry: str) -> Kernel:
        files = kernels.get(entry)
        if files is None:
            why = ""
            if not graph.outputs and entry.partition(".")[0] in OF_OUTPUTS:
                why = ": it has no output; add `output …` to its spec"
            elif manifest.entries.get("combine") == "mean":
                why = ": it was built to combine gradients by their mean"
            raise InputError(f"`{graph.name}` has no {entry} kernel{why}")
        try:
            program = parse_program(manifest.text(files["program"]))
        except ProgramTextError as error:
            raise StoreError(f"`{manifest.folder}` is damaged: {error}") from error
        source: str = files["source"]
        return Kernel(program, manifest.folder / source, dtype, manifest.text(source), backend)

    feed = manifest.entry("feed", str)
    return Network(graph, kernel, dtype, steps, truncate, (open_artefact, (manifest,)), feed)


def _check(manifest: artefact_store.Manifest, kernels: Mapping[str, Any]) -> None:
    """Raise :class:`StoreError` where the parts of an artefact do not belong together."""
    choices = {"dtype": DTYPES, "combine": COMBINED, "feed": FEEDS, "backend": registry.NAMES}
    fits = all(manifest.entries.get(name) in known for name, known in choices.items())
    for name in ("steps", "truncate"):
        count = manifest.entries.get(name)
        fits = fits and (count is None or (type(count) is int and count >= 1))
    stages = _hashes(manifest, manifest.entry("stages", dict))
    for entry, files in kernels.items():
        fits = fits and isinstance(files, dict) and files.keys() == set(PARTS)
        if fits:
            name = kernel_name(entry, kernels, manifest.entries, _hashes(manifest, files), stages)
            fits = files["source"] == name
    if not fits:
        raise StoreError(
            f"`{manifest.folder}` is damaged: its parts do not belong together; build it again"
        )


def _hashes(manifest: artefact_store.Manifest, files: Mapping[str, Any]) -> dict[str, str | None]:
    """The hashes of files, by their part."""
    return {
        part: manifest.hashes.get(name) if isinstance(name, str) else None
        for part, name in files.items()
    }


def checked_graph(manifest: artefact_store.Manifest) -> Graph:
    """The network that an artefact was built from."""
    text = manifest.text(manifest.entry("stages", dict).get("checked"))
    try:
        return parse_graph(text)
    except IRTextError as error:
        raise StoreError(f"`{manifest.folder}` is damaged: {error}") from error


def load(directory: str | Path) -> Network:
    """The network of an artefact folder.  Raises :class:`StoreError` if it is damaged.

    An artefact holds code: load one only where you would run a program of its author's.
    """
    network = open_artefact(artefact_store.read(path("`directory`", directory)))
    return with_complex_arrays(network)
