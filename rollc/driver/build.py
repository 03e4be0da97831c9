"""From a spec to a network.

A network has eight kernels: ``forward`` computes the outputs, ``loss`` the loss, ``gradient`` the
loss and its gradients, ``vjp`` gradients for cotangents of the outputs, ``jvp`` the derivatives of
the outputs in one direction, ``hvp`` those of the gradients, ``gradient_vjp`` those of gradients
for cotangents, ``by_sequence`` the loss and the gradients of each sequence.  Each has variants:
``gradient.state`` takes a state and returns the next one (``stream`` is that variant of
``forward``), ``gradient.lengths`` takes the length of each sequence, ``gradient.state.lengths``
both.  With two time axes ``stream`` runs along one of them, on the results of ``start`` along the
other (``rollc.network.steps.streaming``).
``window`` and ``window.vjp`` compute a gradient window by window
(``rollc.network.derivatives.checkpointing``);
``tangent``, and ``tangent.2`` where a decoder follows an encoder, compute it forward in time
(``rollc.network.derivatives.forward_mode``).
``forward`` and ``gradient`` are compiled when a network is built (``gradient`` not where it is
built for free running), all others when they are first called.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rollc.backends import registry
from rollc.driver import artefact_store
from rollc.driver.artefact import COMBINED, DTYPES, FEEDS, kernel_name, open_artefact
from rollc.driver.pipeline import COMPILE, compiled
from rollc.driver.sources import read_source, source_of
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.ir.text import print_graph
from rollc.kernel.text import print_program, print_schedule
from rollc.network.network import Network
from rollc.network.pairs.network import with_complex_arrays
from rollc.runtime.kernel import Kernel
from rollc.support import checks, fingerprint, resources
from rollc.support.passes import Runner

if TYPE_CHECKING:
    from rollc.lang.diagnostics.source import Source
    from rollc.lang.elaboration.expressions import Feed

MOST_STEPS = 10_000_000
# Compiled when a network is built.  Few networks are trained in free running.
EAGER = {"taught": ("forward", "gradient"), "free": ("forward",)}


def build(
    source: str | Path,
    *,
    sets: Mapping[str, int] | None = None,
    dtype: str = "float32",
    steps: int | None = None,
    truncate: int | None = None,
    combine: str = "sum",
    feed: Feed = "taught",
    backend: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
) -> Network:
    """Build the network of a spec, or of the text of a graph.

    Parameters
    ----------
    source : str or path
        The path of a file or, where there is none, the name of a spec that comes with rollc, such
        as ``"lstm"``.
    sets : mapping of str to int, optional
        Sizes by name, in the place of the spec's.
    dtype : str or type
        ``"float32"`` or ``"float64"``.
    steps : int, optional
        Builds kernels for that many steps; without it they take any number.
    truncate : int, optional
        Stops gradients at the borders of windows of that many steps
        (:mod:`rollc.autodiff.truncation`).
    combine : str
        ``"sum"``, or ``"mean"``: what the gradients of a parameter at each step become
        (:mod:`rollc.autodiff.averaging`).
    feed : str
        What ``feed(free, taught)`` reads in the spec: ``"taught"`` the target, ``"free"`` the
        network's own value.
    backend : str, optional
        ``"numba"`` compiles kernels, ``"reference"`` interprets their programs, slowly; else what
        ``$ROLLC_BACKEND`` says.
    directory : str or path, optional
        Where the artefact is put, beside the cache: a folder that :func:`load` opens.
    cache : bool
        Whether one from the cache will do.

    Returns
    -------
    Network

    Raises
    ------
    SpecError
        Where the spec is wrong; the message shows the place.
    InputError
        Where a file cannot be read, and for an option that does not fit.
    StoreError
        Where the artefact cannot be written.

    References
    ----------
    Werbos, Backpropagation through time: what it does and how to do it (1990), Proceedings of the
    IEEE 78(10).

    Examples
    --------
    >>> import rollc
    >>> net = rollc.build("lstm", sets={"D": 2, "H": 3, "K": 2})
    >>> [*net.params]
    ['W', 'U', 'b', 'V', 'd']
    """
    path = resources.find_spec(str(checks.path("`source`", source)))
    text = resources.text_of(path)
    network, _ = build_source(
        text,
        str(path),
        sets=sets,
        dtype=dtype,
        steps=steps,
        truncate=truncate,
        combine=combine,
        feed=feed,
        backend=backend,
        directory=directory,
        cache=cache,
    )
    return with_complex_arrays(network)


def build_text(
    text: str,
    *,
    sets: Mapping[str, int] | None = None,
    dtype: str = "float32",
    steps: int | None = None,
    truncate: int | None = None,
    combine: str = "sum",
    feed: Feed = "taught",
    backend: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
) -> Network:
    """Build the network of a spec that is a text.

    Parameters
    ----------
    text : str
        The spec.
    sets, dtype, steps, truncate, combine, feed, backend, directory, cache
        As in :func:`build`.

    Returns
    -------
    Network

    Raises
    ------
    SpecError, InputError, StoreError
        As in :func:`build`.

    Examples
    --------
    >>> import rollc
    >>> text = '''
    ... net count
    ... input x
    ... s = s[t-1] + x
    ... output s
    ... '''
    >>> rollc.build_text(text).forward({}, {"x": [1.0, 2.0, 3.0]})["s"].tolist()
    [1.0, 3.0, 6.0]
    """
    network, _ = build_source(
        text,
        sets=sets,
        dtype=dtype,
        steps=steps,
        truncate=truncate,
        combine=combine,
        feed=feed,
        backend=backend,
        directory=directory,
        cache=cache,
    )
    return with_complex_arrays(network)


def build_source(
    text: str,
    name: str = "spec.roll",
    *,
    sets: Mapping[str, int] | None = None,
    dtype: str = "float32",
    steps: int | None = None,
    truncate: int | None = None,
    combine: str = "sum",
    feed: Feed = "taught",
    backend: str | None = None,
    directory: str | Path | None = None,
    cache: bool = True,
    temporary: bool = True,
    run: Runner | None = None,
) -> tuple[Network, artefact_store.Made]:
    """Like :func:`build_text`, of a source of that name; also returns the artefact.

    The network takes and gives real arrays alone: a complex value is in two parts.

    An artefact that must not be ``temporary`` has to outlive the process: :class:`StoreError` is
    raised, before the work, where it cannot be stored.  ``run`` runs the passes, and records them,
    where the network is not in the cache.
    """
    for what, words in (("`text`", text), ("`name`", name)):
        if not isinstance(words, str):
            raise InputError(f"{what}: expected a text, found {checks.shown(words)}")
    dtype = _precision(dtype)
    steps = None if steps is None else checks.whole("`steps`", steps, 1, MOST_STEPS)
    truncate = None if truncate is None else checks.whole("`truncate`", truncate, 1, MOST_STEPS)
    combine = checks.choice("combine", combine, COMBINED)
    feed = cast("Feed", checks.choice("feed", feed, FEEDS))
    backend = checks.choice("backend", backend or registry.default(), registry.NAMES)
    cache = checks.switch("`cache`", cache)
    sets = sizes_of(sets)
    source = source_of(text, name)
    key = fingerprint.build_key(
        texts=[text, *(used.text for used in source.used)],
        sets=sets,
        dtype=dtype,
        steps=steps,
        truncate=truncate,
        combine=combine,
        feed=feed,
        backend=[backend, registry.backend(backend).fingerprint()],
    )

    def write(folder: Path) -> Mapping[str, Any]:
        with _no_collection():
            options = (sets, dtype, steps, truncate, combine, feed, backend)
            return write_artefact(folder, source, *options, run)

    target = None if directory is None else checks.path("`directory`", directory)
    made = artefact_store.made(key, write, target, use_cache=cache, temporary=temporary)
    return open_artefact(made.manifest), made


def sizes_of(sets: Any) -> dict[str, int]:
    """Sizes by name that a caller gave, as plain whole numbers."""
    given = {} if sets is None else checks.mapping("sets", sets, "sizes by name")
    for name in given:
        if not isinstance(name, str):
            raise InputError(f"`sets`: expected names of sizes, found {checks.shown(name)}")
    return {name: checks.whole(f"`sets`, `{name:.40}`", size, None) for name, size in given.items()}


def _precision(dtype: Any) -> str:
    """The name of a precision, given as a name or as a type of NumPy."""
    if dtype is float or isinstance(dtype, np.dtype | type):
        with suppress(TypeError):
            dtype = np.dtype(dtype).name
    return checks.choice("dtype", dtype, DTYPES)


def write_artefact(
    folder: Path,
    source: Source,
    sets: Mapping[str, int],
    dtype: str,
    steps: int | None,
    truncate: int | None = None,
    combine: str = "sum",
    feed: Feed = "taught",
    backend: str | None = None,
    run: Runner | None = None,
) -> Mapping[str, Any]:
    """Fill an empty folder with every stage and the compiled kernels."""
    backend = backend or registry.default()
    run = run or Runner()
    graph, texts = read_source(source, sets, feed, run)
    texts["spec"] = source.text
    texts["checked"] = print_graph(graph)
    if steps is not None and len(graph.axes) > 1:
        raise InputError(
            f"`{source.name}` has more than one time axis: it is built for any number of steps"
        )
    if graph.gradients and (truncate is not None or combine != "sum"):
        raise InputError(f"`{source.name}` holds its gradients already: they stay as they are")
    entries: dict[str, Any] = {
        "name": graph.name,
        "dtype": dtype,
        "steps": steps,
        "truncate": truncate,
        "combine": combine,
        "feed": feed,
        "backend": backend,
        "sets": dict(sets),
    }

    def put(name: str, text: str) -> str:
        (folder / name).write_text(text, encoding="utf-8")
        return name

    stages = {
        stage: put(f"{stage}.txt" if stage != "spec" else "spec.roll", text)
        for stage, text in texts.items()
    }
    kernels: dict[str, dict[str, str]] = {}
    makers = kernel_graphs(graph, truncate, combine, run)
    if steps is not None:  # forward sensitivities run over fewer steps at a time
        makers = {name: make for name, make in makers.items() if not name.startswith("tangent")}
    for entry, make in makers.items():
        result = compiled(make(), dtype, steps, run, backend)
        contents = {
            "graph": print_graph(result.graph),
            "schedule": print_schedule(result.schedule),
            "program": print_program(result.program),
            "source": result.source,
        }
        name = kernel_name(
            entry, makers, entries, fingerprint.of_texts(contents), fingerprint.of_texts(texts)
        )
        kernels[entry] = {
            part: put(name if part == "source" else f"{entry}.{part}.txt", text)
            for part, text in contents.items()
        }
        if entry in EAGER[feed]:
            kernel = Kernel(result.program, folder / name, dtype, result.source, backend)
            run(COMPILE, kernel)
    return {**entries, "stages": stages, "kernels": kernels}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch the garbage collector off: a compiler makes many objects, and little garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
