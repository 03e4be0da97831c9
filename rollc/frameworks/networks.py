"""The networks of a spec, in the precision that its parameters have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from rollc.driver import artefact_store
from rollc.driver.artefact import DTYPES, open_artefact
from rollc.driver.artefact_store import Manifest
from rollc.driver.build import build_source
from rollc.errors import InputError
from rollc.frameworks.weighted import weighted
from rollc.ir.graph import Graph
from rollc.ir.text import print_graph
from rollc.ir.traversal import needed
from rollc.network.arrays import unknown
from rollc.network.network import Network
from rollc.network.pairs.arrays import parts_of
from rollc.support import checks, resources
from rollc.transforms.randomness import NOISE

# What a network is built with besides its text and its precision.
_OPTIONS = ("steps", "truncate", "combine", "feed", "backend")


class Networks:
    """A network in each precision: the first is there, the other is built when it is asked for."""

    def __init__(self, first: Network, options: Mapping[str, Any]) -> None:
        self.first = first
        self._options = dict(options)
        self._known = {first.dtype: first}
        self.slots = {**first.inputs, **first.targets}
        self.parts = parts_of((*first.params, *self.slots, *first.outputs, *first.states))
        """Complex values, which a network has as parts and its callers as one tensor."""
        self.inputs = tuple(self.parts.specs(first.inputs))
        """The inputs in the order of the spec, complex ones whole."""
        self.texts = {dtype: _text(first.graph, dtype, self._options) for dtype in DTYPES}
        """What :func:`opened` takes, by precision."""
        _OPENED[self.texts[first.dtype]] = first
        noise = first.graph.leaves(NOISE)
        self._draws = bool(noise), any("rate" not in node.options for node in noise)
        self.plans: dict[object, Any] = {}
        """What a framework knows of calls like those before."""

    @property
    def averages(self) -> bool:
        """Whether gradients are averaged over the steps (``combine="mean"``)."""
        return bool(self._options.get("combine") == "mean")

    def draws(self, training: bool) -> bool:
        """Whether a call needs random numbers: dropout does in training alone."""
        in_training, always = self._draws
        return in_training if training else always

    def of(self, dtype: str) -> Network:
        """The network in that precision, "float32" or "float64"."""
        if dtype not in self._known:
            self._known[dtype] = opened(self.texts[dtype])
        return self._known[dtype]

    def __reduce__(self) -> tuple[Any, ...]:
        return Networks, (self.first, self._options)

    @cached_property
    def starts(self) -> Networks | None:
        """Those that compute what a state starts from, as far as the spec says something else
        than zero: an output for each state."""
        graph = self.first.graph
        names = {name: graph[name].initial for name in self.first.states}
        outputs = tuple((name, start) for name, start in names.items() if start is not None)
        if not outputs:
            return None
        before = needed(graph, [start for _, start in outputs])
        before = replace(before, outputs=outputs, loss=None)
        options = {"backend": self._options["backend"], "feed": self._options["feed"]}
        return Networks(opened(_text(before, self.first.dtype, options)), options)

    @cached_property
    def weighted(self) -> Networks:
        """The sum of the outputs, times an input each (:mod:`rollc.frameworks.weighted`)."""
        graph = weighted(self.first.graph)
        return Networks(opened(_text(graph, self.first.dtype, self._options)), self._options)


def networks_of(
    source: str | Path, sizes: Mapping[str, int], dtype: str, options: Mapping[str, Any]
) -> Networks:
    """Those of a spec, by its path or its name, or of the folder of an artefact."""
    path = Path(checks.path("`source`", source))
    if path.is_dir():
        given = [name for name, value in options.items() if value is not None]
        if sizes or given:
            said = ", ".join(f"`{name}`" for name in (*sizes, *given))
            raise InputError(f"`{path}` is built: it takes no {said}; give the spec instead")
        manifest = artefact_store.read(path)
        return Networks(open_artefact(manifest), _options(manifest))
    found = resources.find_spec(str(path))
    return networks_of_text(resources.text_of(found), str(found), sizes, dtype, options)


def networks_of_text(
    text: str, name: str, sizes: Mapping[str, int], dtype: str, options: Mapping[str, Any]
) -> Networks:
    """Those of the text of a spec."""
    given = {name: value for name, value in options.items() if value is not None}
    network, made = build_source(text, name, sets=sizes, dtype=dtype, **given)
    return Networks(network, _options(made.manifest))


def _options(manifest: Manifest) -> dict[str, Any]:
    return {name: manifest.entries.get(name) for name in _OPTIONS}


# Networks as texts ------------------------------------------------------------------------

_OPENED: WeakValueDictionary[str, Network] = WeakValueDictionary()


def _text(graph: Graph, dtype: str, options: Mapping[str, Any]) -> str:
    """All that a network is built from; it is data, and no code."""
    made = {"name": graph.name, "dtype": dtype, **options, "graph": print_graph(graph)}
    return json.dumps({name: value for name, value in made.items() if value is not None})


def opened(text: str) -> Network:
    """The network of such a text: one that is there, or else it is built."""
    found = _OPENED.get(text)
    if found is None:
        _OPENED[text] = found = _built(text)
    return found


@lru_cache(maxsize=256)
def _built(text: str) -> Network:
    made = json.loads(text)
    graph, name = made.pop("graph"), made.pop("name")
    return build_source(graph, f"{name}.roll", **made)[0]


def named_inputs(
    networks: Networks, inputs: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Inputs and targets by name: of a call with inputs in their order, or one mapping, and names.

    Complex ones are whole.

    Raises :class:`InputError` for too many, one that is given twice, and one that is unknown.
    """
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        given = dict(inputs[0])
    else:
        if len(inputs) > len(networks.inputs):
            names = ", ".join(f"`{name}`" for name in networks.inputs) or "none"
            raise InputError(
                f"expected {len(networks.inputs)} inputs in order ({names}), found"
                f" {len(inputs)}; targets are given by name"
            )
        given = dict(zip(networks.inputs, inputs, strict=False))
    for name in named:
        if name in given:
            raise InputError(f"input `{name}` is given twice")
    given.update(named)
    known = networks.parts.specs(networks.slots)
    for name in given:
        if name not in known:
            raise InputError(unknown("input", name, known))
    return given
