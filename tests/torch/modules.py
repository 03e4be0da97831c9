"""Modules of specs of every kind, with inputs, for tests of `rollc.torch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call

import rollc.torch
from tests.helpers.shipped_specs import LSTM as LSTM
from tests.helpers.shipped_specs import OF_EVERY_KIND as SPECS

T, B = 4, 2


def module_of(spec: str = "lstm", **options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {**SPECS.get(spec, {}), **options.pop("sizes", {})}
    return rollc.torch.Module(spec, sizes=sizes, dtype=torch.float64, **options)


def written(folder: Path, text: str, **options: Any) -> Any:
    path = folder / "own.roll"
    path.write_text(text, encoding="utf-8")
    return module_of(str(path), **options)


def inputs_of(module: Any, batch_first: bool = False, targets: bool = True) -> dict[str, Any]:
    """Random inputs; those of real numbers want a gradient."""
    network = module._first
    random = torch.Generator().manual_seed(1)
    found = {}
    for name, spec in {**network.inputs, **(network.targets if targets else {})}.items():
        times = [T + place for place, axis in enumerate(network.axes) if axis in spec.time]
        lead = [B, *times] if batch_first else [*times, B]
        if spec.kind == "index":
            found[name] = torch.randint(spec.bound, (*lead, *spec.shape), generator=random)
        else:
            found[name] = torch.randn(
                *lead, *spec.shape, generator=random, dtype=torch.float64
            ).requires_grad_(name in network.inputs)
    return found


def function_of(module: Any, given: dict[str, Any], **options: Any) -> tuple[Any, list[Any]]:
    """A function of all tensors that want a gradient, as `gradcheck` takes it; and the tensors."""
    wanted = {name: tensor for name, tensor in given.items() if tensor.requires_grad}
    params = dict(module.named_parameters())

    def function(*tensors: Any) -> Any:
        own = dict(zip(params, tensors, strict=False))
        mine = given | dict(zip(wanted, tensors[len(params) :], strict=True))
        found = functional_call(module, own, (mine,), options)
        found = found.values() if isinstance(found, dict) else [found]
        return tuple(each for each in found if each.is_floating_point())

    return function, [*params.values(), *wanted.values()]
