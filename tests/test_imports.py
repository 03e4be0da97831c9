"""The rule of imports: they go down only, those for types alone too."""

from __future__ import annotations

import networkx as nx

from tests.helpers.imports import imports

# A folder, or a module beside them, knows those in the rows above its own.
LAYERS = (
    ("errors",),
    ("support",),
    ("ir",),
    ("autodiff",),
    ("lang",),
    ("transforms",),
    ("entries",),
    ("kernel",),
    ("drawing",),
    ("backends",),
    ("runtime",),
    ("network",),
    ("training",),
    ("driver",),
    ("frameworks",),
    ("jax", "sklearn", "torch"),
    ("rollc",),
    ("tools",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def layer(module: str) -> str:
    """The folder of the package that a module is in; the package itself is a layer."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package


def test_every_module_is_in_a_layer() -> None:
    assert {layer(module) for module in imports()} == RANK.keys()


def test_imports_go_down() -> None:
    upwards = [
        f"{reader} -> {read}"
        for reader, read in imports().edges
        if layer(reader) != layer(read) and RANK[layer(read)] >= RANK[layer(reader)]
    ]
    assert upwards == []


def test_no_imports_run_in_a_circle() -> None:
    circles = [part for part in nx.strongly_connected_components(imports()) if len(part) > 1]
    assert circles == []
