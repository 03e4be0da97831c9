"""Calls like one that a network has taken, by the addresses of its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from rollc.autodiff.adjoint import seed_name
from rollc.ir.names import STATE
from rollc.network.derivatives.gradients import phases
from rollc.network.evaluation import evaluation_of
from rollc.network.network import Network
from rollc.runtime.direct import Direct, Key, Turn, Unfit
from rollc.runtime.kernel import Kernel
from rollc.transforms.state import final_name

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def direct(
    network: Network,
    params: Arrays,
    inputs: Arrays,
    state: Arrays | None,
    wrt: tuple[str, ...],
    labels: Sequence[str],
    *,
    loss: bool,
) -> Direct | None:
    """How calls with such arrays are made by addresses; None where they cannot be.

    Leaves come in the order of the arguments, results in that of ``labels``: "loss", outputs, and
    as ``state.NAME`` the state.  The loss is one turn, with its gradients for ``wrt``.  Outputs are
    the first turn, and their gradients, if there are any, the second, whose leaves are the
    cotangents of the results.
    """
    definition = network._definition
    call = evaluation_of(definition, params, inputs, None, state, None, False, 0, targets=loss)
    rows = {STATE + name: array for name, array in (state or {}).items()}
    given, own = {**params, **inputs, **rows}, definition.interface
    deep = state is not None and any(each.shape[0] > 1 for each in own.states.values())
    if call.noise or call.sizes.empty or deep:  # rows of a state lie in another order
        return None
    if any(call.leaves[name].dtype.kind != "f" for name in given):  # an index has a range
        return None
    if any(_address(call.leaves[name]) != _address(array) for name, array in given.items()):
        return None
    results: list[Key] = [("output", each) for each in labels]
    if loss:
        results[0] = "loss", "loss"
    gradients, later = [("gradient", name) for name in wrt], phases(own, wrt)
    if loss:
        sort, turns = "gradient" if wrt else "loss", [("primal", *later)]
        wanted, leaves = [[*results, *gradients]], [[*given]]
    elif wrt:
        nodes = dict(network.graph.outputs)
        nodes |= {STATE + name: final_name(name) for name in own.states}
        sort, turns, wanted = "vjp", [("primal",), later], [results, gradients]
        leaves = [[*given], [seed_name(nodes[each]) for each in labels]]
    else:
        sort, turns, wanted, leaves = "forward", [("primal",)], [results], [[*given]]
    kernel = call.kernel(sort)
    specs = {} if loss else own.outputs
    if len({*leaves[-1]}) < len(leaves[-1]) or any(each.kind != "float" for each in specs.values()):
        return None
    if not isinstance(kernel, Kernel):
        return None
    try:
        made = [Turn(*each) for each in zip(turns, leaves, wanted, strict=True)]
        return Direct(kernel, call.sizes.steps, call.sizes.batch, made)
    except Unfit:
        return None


def _address(array: Array) -> int:
    return int(array.ctypes.data)
