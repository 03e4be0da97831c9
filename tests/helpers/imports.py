"""The imports of rollc's modules, typing imports and those inside of functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx

import rollc

PACKAGE = Path(rollc.__file__).parent


@cache
def modules() -> dict[str, Path]:
    """The file of each module, by its name with dots."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("rollc", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str) -> Iterator[str]:
    """The modules of rollc that a text imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module in modules():
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module


@cache
def imports() -> nx.DiGraph:
    """An edge from each module to each one that it imports."""
    graph = nx.DiGraph()
    for name, path in modules().items():
        graph.add_node(name)
        graph.add_edges_from((name, other) for other in imported(path.read_text()) if other != name)
    return graph


def closure(source: str) -> set[str]:
    """The modules that a text imports, and those that these import, and so on."""
    direct = set(imported(source))
    return direct.union(*(nx.descendants(imports(), name) for name in direct))
