"""The rule of imports: they go one way."""

from __future__ import annotations

import networkx as nx
from imports import imports


def test_no_imports_run_in_a_circle() -> None:
    circles = [part for part in nx.strongly_connected_components(imports()) if len(part) > 1]
    assert circles == []
