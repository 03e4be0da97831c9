"""The network that a module computes with, in the precision that its parameters have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollc.driver import artefact_store
from rollc.driver.artefact import open_artefact
from rollc.driver.artefact_store import Manifest
from rollc.driver.build import build_text
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.support import checks, resources
from rollc.transforms.randomness import NOISE

# What a network is built with besides its text and its precision.
_OPTIONS = ("steps", "truncate", "combine", "feed", "backend")


class Networks:
    """A network in each precision: the first is there, the other is built when it is asked for."""

    def __init__(self, first: Network, manifest: Manifest) -> None:
        self.first = first
        self._text = manifest.text(manifest.entry("stages", dict).get("checked"))
        self._options = {name: manifest.entries.get(name) for name in _OPTIONS}
        self._known = {first.dtype: first}
        noise = first.graph.leaves(NOISE)
        self._draws = bool(noise), any("rate" not in node.options for node in noise)

    def draws(self, training: bool) -> bool:
        """Whether a call needs random numbers: dropout does in training alone."""
        in_training, always = self._draws
        return in_training if training else always

    def of(self, dtype: str) -> Network:
        """The network in that precision, "float32" or "float64"."""
        if dtype not in self._known:
            options: dict[str, Any] = self._options
            name = f"{self.first.name}.roll"
            self._known[dtype] = build_text(self._text, name, dtype=dtype, **options)[0]
        return self._known[dtype]


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
        return Networks(open_artefact(manifest), manifest)
    found = resources.find_spec(str(path))
    given_options = {name: value for name, value in options.items() if value is not None}
    network, made = build_text(
        resources.text_of(found), str(found), sets=sizes, dtype=dtype, **given_options
    )
    return Networks(network, made.manifest)
