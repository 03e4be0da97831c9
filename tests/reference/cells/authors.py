"""Functions of the authors' own code: read from the files of a package, which is not imported.

Most of these packages need a graphics card, or tools that compile for one, as soon as they are
imported; what they have in PyTorch alone does not.  A package is found where Python would find it:
`pip install --no-deps fla-core xlstm rwkv`, and for Mamba its repository on the path.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest


def functions(package: str, file: str, *names: str, **given: Any) -> Mapping[str, Any]:
    """Functions and methods of a file, by name, in double precision where they say single.

    ``given`` are names that they use beside those below.  Skips where there is no such package.
    """
    torch = pytest.importorskip("torch")
    einops = pytest.importorskip("einops")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    path = Path(found.submodule_search_locations[0]) / file
    text = path.read_text(encoding="utf-8").replace(".float()", ".double()")
    text = text.replace("0.606531", "math.exp(-0.5)")  # which RWKV-7 rounds so
    tree = ast.parse(re.sub(r"\btorch\.float(32)?\b", "torch.float64", text))
    chosen = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    assert {node.name for node in chosen} == set(names), f"{path} has other functions"
    for node in chosen:
        node.decorator_list = []
    space = {
        "torch": torch,
        "math": math,
        "F": torch.nn.functional,
        "logsigmoid": torch.nn.functional.logsigmoid,
        "rearrange": einops.rearrange,
        "repeat": einops.repeat,
        **given,
    }
    later = ast.parse("from __future__ import annotations").body  # so types may be unknown
    exec(compile(ast.Module([*later, *chosen], []), str(path), "exec"), space)
    return {name: space[name] for name in names}
