"""Built networks on disk, opened again.

Nothing that builds is imported here: to open a network takes no longer than to read it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rollc import store
from rollc.checks import path
from rollc.errors import InputError, StoreError
from rollc.graph.graph import Graph
from rollc.irtext import IRTextError, parse_graph
from rollc.kernel.compiled import Kernel
from rollc.kernel.text import ProgramTextError, parse_program
from rollc.network import Network

DTYPES = ("float32", "float64")


def open_artefact(manifest: store.Manifest) -> Network:
    """The network of an artefact whose files have been verified."""
    kernels = manifest.entry("kernels", dict)
    dtype = manifest.entry("dtype", str)
    steps = manifest.entries.get("steps")
    if dtype not in DTYPES or not (steps is None or isinstance(steps, int)):
        raise StoreError(f"`{manifest.folder}` is damaged: it is of {dtype}, for {steps} steps")
    graph = checked_graph(manifest)

    @cache
    def kernel(entry: str) -> Kernel:
        files = kernels.get(entry)
        if not isinstance(files, dict):
            why = ""
            if not graph.outputs:
                why = ": it has no output; add `output …` to its spec"
            elif manifest.entries.get("combine") == "mean":
                why = ": it was built to combine gradients by their mean"
            raise InputError(f"`{graph.name}` has no {entry} kernel{why}")
        try:
            program = parse_program(manifest.text(files.get("program")))
        except ProgramTextError as error:
            raise StoreError(f"`{manifest.folder}` is damaged: {error}") from error
        return Kernel(program, manifest.path(files.get("source")), dtype)

    truncate = manifest.entries.get("truncate")
    return Network(graph, kernel, dtype, steps, truncate if isinstance(truncate, int) else None)


def checked_graph(manifest: store.Manifest) -> Graph:
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
    return open_artefact(store.read(path("`directory`", directory)))
