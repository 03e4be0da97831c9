"""Ways that call a network: forward, gradients of every kind, lengths, windows."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from rollc.autodiff.by_sequence import why_not_by_sequence
from rollc.entries.forward_mode import why_no_hessian
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.network.pairs.network import ComplexNetwork
from tests.commands.random_programs.evaluate import Batch, Once
from tests.commands.random_programs.ways.case import (
    Case,
    Compared,
    Different,
    Scaled,
    Unsure,
)


def called(case: Case, net: Network, batch: Batch, what: str, **more: Any) -> Compared:
    """Every call of a network: outputs, loss, its gradients, and those of cotangents."""
    given = {**case.chance, **more}
    steps = given.pop("steps", case.steps)
    outputs = net.forward(case.params, case.inputs, steps=steps, **given)
    yield from case.outputs(batch, outputs, f"{what} forward")
    loss, gradients = net.value_and_grad(case.params, case.inputs, steps, **given)
    yield f"{what} loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), f"{what} value_and_grad")


def pulled_back(case: Case, net: Network, batch: Batch, what: str, **more: Any) -> Compared:
    if all(spec.kind != "float" for spec in net.outputs.values()):
        return
    given = {**case.chance, **more}
    outputs, pullback = net.vjp(case.params, case.inputs, case.steps, **given)
    yield from case.outputs(batch, outputs, f"{what} vjp")
    random = np.random.default_rng(case.settings.seed)
    cotangents, total = {}, torch.zeros((), dtype=torch.float64)
    for label, array in outputs.items():
        if np.asarray(array).dtype.kind != "f":
            continue
        given_one = random.normal(size=np.shape(array)).astype(case.dtype)
        cotangents[label] = given_one
        meant = case.output(batch, label, array)
        total = total + (meant * torch.as_tensor(given_one, dtype=torch.float64)).sum()
    if cotangents:
        yield from case.gradient(batch, pullback(cotangents), total, f"{what} vjp")


def complex_arrays(case: Case) -> Compared:
    """Complex arrays go in and come out, in the place of their parts."""
    pairs, batch = case.network(), case.meant()
    net = ComplexNetwork(pairs)
    if not net.parts.names:
        return
    params, inputs = net.parts.joined(case.params), net.parts.joined(case.inputs)
    outputs = net.forward(params, inputs, steps=case.steps, **case.chance)
    loss, gradients = net.value_and_grad(params, inputs, case.steps, **case.chance)
    yield "complex loss", loss, batch.loss()
    for array in (*outputs.values(), *gradients.values()):
        if array.dtype.kind not in "fcib":
            raise Different(f"an array of {array.dtype}")
    parts = net.parts.split(outputs)
    yield from case.outputs(batch, parts, "complex")
    yield from case.gradient(batch, net.parts.split(gradients), batch.loss(), "complex")


def kernels(case: Case) -> Compared:
    yield from called(case, case.network(), case.meant(), "kernels")


def pulled(case: Case) -> Compared:
    yield from pulled_back(case, case.network(), case.meant(), "kernels")


def moved(case: Case) -> Compared:
    """Derivatives in one direction, weighted: those of the gradient in that direction."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if all(spec.kind != "float" for spec in net.outputs.values()):
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    random = np.random.default_rng(case.settings.seed)
    leaves = {name: case.inputs[name] for name in net.inputs} | case.learned
    tangents = {
        name: random.normal(size=array.shape).astype(case.dtype)
        for name, array in leaves.items()
        if array.dtype.kind == "f"
    }
    outputs, slopes = net.jvp(case.params, case.inputs, tangents, case.steps, **case.chance, **more)
    yield from case.outputs(batch, outputs, "jvp")
    found, total = 0.0, torch.zeros((), dtype=torch.float64)
    for label, array in slopes.items():
        weights = random.normal(size=array.shape)
        found += float((array * weights).sum())
        meant = case.output(batch, label, array)
        total = total + (meant * torch.as_tensor(weights)).sum()
    gradients = batch.gradients(total)
    products = [gradients[name].resolve_neg().numpy() * array for name, array in tangents.items()]
    scale = sum(float(np.abs(product).sum()) for product in products)
    meant_slope = sum(float(product.sum()) for product in products)
    yield "jvp slope", found, Scaled(np.asarray(meant_slope), scale)


def second_derivatives(case: Case) -> Compared:
    """Products with the Hessian of the loss, where the program has no derivatives of its own."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if why_no_hessian(case.graph) is not None:
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    random = np.random.default_rng(case.settings.seed)
    leaves = {name: case.inputs[name] for name in net.inputs} | case.learned
    vectors = {
        name: random.normal(size=array.shape).astype(case.dtype)
        for name, array in leaves.items()
        if array.dtype.kind == "f"
    }
    found = net.hvp(case.params, case.inputs, vectors, case.steps, **case.chance, **more)
    try:
        right = batch.products(batch.loss(), vectors)
    except Once as error:
        raise Unsure("numbers that are guarded") from error
    scale = max(
        (float(right[name].abs().max()) for name in found if right[name].numel()), default=0
    )
    for name, array in found.items():
        yield f"hvp {name}", array, Scaled(right[name], scale)


def of_each_sequence(case: Case) -> Compared:
    """The losses and gradients of sequences: their means are those of the batch."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    net, batch = case.network(truncate), case.meant(lengths, truncate)
    if why_not_by_sequence(case.graph) is not None:
        return
    more = {"lengths": case.given_lengths} if lengths else {}
    losses, found = net.value_and_grad(
        case.params, case.inputs, case.steps, per_sequence=True, **case.chance, **more
    )
    yield "mean of losses", np.mean(losses), batch.loss()
    batched = case.settings.batch is not None
    means = {
        name: array / case.count if name in net.inputs or not batched else array.mean(axis=0)
        for name, array in found.items()
    }
    yield from case.gradient(batch, means, batch.loss(), "mean of")


def loss_alone(case: Case) -> Compared:
    net = case.network()
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    loss = net.loss(case.params, case.inputs, case.steps, **case.chance, **more)
    yield "loss alone", loss, case.meant(lengths=lengths).loss()


def prepared(case: Case) -> Compared:
    """Calls of a network with parameters of its own: the first one, and others."""
    net = case.network()
    lengths = case.settings.seed % 2 == 0 and net._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    batch, ready = case.meant(lengths=lengths), net.prepare(case.params)
    for what in ("first", "second"):
        outputs = ready.forward(case.inputs, steps=case.steps, **case.chance, **more)
        yield from case.outputs(batch, outputs, f"prepared forward, {what}")
        loss = ready.loss(case.inputs, case.steps, **case.chance, **more)
        yield f"prepared loss, {what}", loss, batch.loss()


def with_lengths(case: Case) -> Compared:
    net = case.network()
    if net._interface.no_lengths is not None:
        return
    batch = case.meant(lengths=True)
    yield from called(case, net, batch, "lengths", lengths=case.given_lengths)


def pulled_with_lengths(case: Case) -> Compared:
    net = case.network()
    if net._interface.no_lengths is not None:
        return
    batch = case.meant(lengths=True)
    yield from pulled_back(case, net, batch, "lengths", lengths=case.given_lengths)


def truncated(case: Case) -> Compared:
    window = case.settings.truncate or 2
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    batch = case.meant(lengths, window)
    more = {"lengths": case.given_lengths} if lengths else {}
    yield from called(case, case.network(window), batch, f"truncated at {window}", **more)


def averaged(case: Case) -> Compared:
    """Gradients of parameters that are means over the steps."""
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    more = {"lengths": case.given_lengths} if lengths else {}
    truncate = case.settings.truncate
    net, batch = case.network(truncate, combine="mean"), case.meant(lengths, truncate, True)
    way = random.Random(case.settings.seed).choice([called, pulled_back])
    yield from way(case, net, batch, "averaged", **more)


def windowed(case: Case) -> Compared:
    batch = case.meant()
    every = 1 + case.settings.seed % 3
    try:
        _, run = case.network().windows(
            case.params, case.inputs, case.steps, checkpoint=every, **case.chance
        )
    except InputError:
        return
    loss, gradients = run()
    yield "windows loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), "windows")


def sensitivities(case: Case) -> Compared:
    lengths = case.settings.seed % 2 == 0 and case.network()._interface.no_lengths is None
    truncate = case.settings.truncate
    batch = case.meant(lengths, truncate)
    more = {"lengths": case.given_lengths} if lengths else {}
    try:
        _, run = case.network(truncate).forward_sensitivities(
            case.params, case.inputs, case.steps, **case.chance, **more
        )
    except InputError:
        return
    loss, gradients = run()
    yield "sensitivities loss", loss, batch.loss()
    yield from case.gradient(batch, gradients, batch.loss(), "sensitivities")


def chosen(case: Case) -> Compared:
    """Gradients of some of the parameters and inputs."""
    net, batch = case.network(), case.meant()
    picked = random.Random(case.settings.seed)
    names = [name for name in batch.gradients(batch.loss()) if name not in net.targets]
    some = picked.sample(names, picked.randint(1, len(names))) if names else []
    inputs = {*net.inputs}
    wrt, wanted = picked.choice(
        [
            (some, {*some}),
            ("params", {*names} - inputs),
            ([*some, "inputs"], {*some, *inputs.intersection(names)}),
        ]
    )
    loss, gradients = net.value_and_grad(
        case.params, case.inputs, case.steps, wrt=wrt, **case.chance
    )
    yield "chosen loss", loss, batch.loss()
    if gradients.keys() != wanted:
        raise Different(f"chosen gradients {sorted(gradients)}, meant {sorted(wanted)}")
    yield from case.gradient(batch, gradients, batch.loss(), "chosen", wanted)
