"""Kernels are read without the library beside them: calls give arrays, and the rest by name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import pytest

from rollc.backends.numba.library import routines
from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.support.resources import specs
from tests.helpers.shipped_specs import each_spec

MOST = 8  # arguments of a call without a name
SPECS = specs()
THOROUGH = ("lstm", "delays/clockwork", "sequences/translate")


def sources(name: str) -> Iterator[str]:
    """The kernels of a spec: those that every network has, or all."""
    path = SPECS[name]
    graph, _ = read_spec(path.read_text(encoding="utf-8"), path.name)
    for entry, build in kernel_graphs(graph).items():
        if name in THOROUGH or entry in ("forward", "gradient"):
            yield compiled(build(), "float32").source


def check_routine(call: ast.Call, name: str) -> None:
    """A call of the library has the arguments that the routine asks for, arrays first."""
    assert all(isinstance(array, ast.Name) and array.id.endswith("_") for array in call.args)
    parameters = list(inspect.signature(getattr(routines, name)).parameters.values())
    if parameters[0].name == "typing_context":  # which Numba gives
        parameters = parameters[1:]
    named = {str(keyword.arg): keyword.value for keyword in call.keywords}
    inspect.Signature(parameters).bind(*call.args, **named)


@pytest.mark.parametrize("name", each_spec(SPECS))
def test_calls_name_their_arguments(name: str) -> None:
    for source in sources(name):
        for call in ast.walk(ast.parse(source)):
            if not isinstance(call, ast.Call):
                continue
            text = ast.unparse(call)
            assert len(call.args) <= MOST, text
            assert not any(isinstance(part, ast.Starred) for part in call.args), text
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "lib":
                check_routine(call, call.func.attr)
