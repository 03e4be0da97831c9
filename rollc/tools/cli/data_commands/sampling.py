"""``sample``: what a run goes on to say, one step after the other, from what it said before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.driver.trained import Trained, open_run
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools import files
from rollc.tools.cli import effect
from rollc.tools.cli.data_commands.arrays import as_kept, columns_of, load
from rollc.tools.cli.data_commands.trained import reading
from rollc.tools.columns import labels_of
from rollc.tools.tables import write_table
from rollc.training.autoregression import Autoregression, fed_with
from rollc.training.data.pairs import Pair, pairs_of
from rollc.training.data.symbols import Symbols

Array = NDArray[Any]


def sample(
    run: str,
    length: int,
    temperature: float,
    top_k: int | None,
    prompt: str | None,
    output: str,
    seed: int,
) -> None:
    """Print or write so many steps after a prompt, a text or a table."""
    if output != files.STREAM:
        files.check_outputs(output)
    trained = open_run(Path(run))
    pair = _predicted(trained.network)
    is_text = pair.kind != "numbers"
    symbols = trained.preparation.symbols
    if is_text and not symbols.names:
        raise InputError("the run has no symbols: it was not trained on a text")
    if not is_text:
        effect.refuse(["temperature", "top_k"], "on numbers: nothing is drawn")
    before, masks = _prompt(trained, pair, prompt)
    drawn = _drawn(trained, pair, before, masks, length, temperature, top_k, seed)
    if is_text:
        words = symbols.text([*map(int, before), *map(int, drawn)])
        if output == files.STREAM:
            print(words)
        else:
            files.write_text(output, words + "\n")
        return
    scale = trained.preparation.scales.get(pair.compared)
    values = drawn if scale is None else scale.back(drawn)
    slots = {**trained.network.inputs, **trained.network.targets}
    labels = labels_of(slots[pair.compared])
    steps = {"step": np.arange(len(before), len(before) + length)}
    named = dict(zip(labels, values.reshape(length, -1).T, strict=True))
    files.write_bytes(output, write_table(steps | named, output))


def _predicted(network: Network) -> Pair:
    """What the network predicts and can go on from."""
    found = [
        pair for pair in pairs_of(network) if pair.kind in ("scores", "probabilities", "numbers")
    ]
    if not found:
        raise InputError(
            "no output of the network is held to what comes next: nothing to go on from"
        )
    return found[0]


def _fed(trained: Trained, pair: Pair, masks: set[str]) -> str:
    """The input that what was predicted goes into; there may be no other."""
    network = trained.network
    read = [name for name, slot in network.inputs.items() if slot.time and name not in masks]
    read += [name for name in network.targets if name in network.fed]
    if len(read) != 1 or len(network.axes) != 1:
        raise InputError(
            "only a network that reads nothing but what it predicts can go on by itself; this one"
            f" reads {', '.join(read) or 'nothing'}"
        )
    return fed_with(network, pair, masks)


def _prompt(trained: Trained, pair: Pair, prompt: str | None) -> tuple[Array, set[str]]:
    """What is read before, as the network reads it, and the masks that are all ones."""
    network, options = trained.network, reading(trained, {})
    columns = as_kept(columns_of(network, options), trained.preparation)
    masks = set(columns.masks)
    slot = {**network.inputs, **network.targets}[pair.compared]
    if pair.kind != "numbers":
        own = trained.preparation.symbols
        text = prompt or ("\n" if "\n" in own.names else own.names[0])
        if prompt is None and _fed(trained, pair, masks) == pair.compared:
            text = ""  # it starts by itself
        return own.numbers(text, "the prompt"), masks
    if prompt is None:
        if _fed(trained, pair, masks) != pair.compared:
            raise InputError("expected `--prompt F`, a table of the steps to go on from")
        return np.zeros((0, *slot.shape)), masks
    found = trained.preparation(load(network, prompt, columns).data).arrays
    name = _fed(trained, pair, masks)
    if name not in found or found[name].ndim != 1 + len(slot.shape):
        raise InputError(f"`{prompt}` has not one sequence of `{name}` to go on from")
    return np.asarray(found[name]), masks


def _drawn(
    trained: Trained,
    pair: Pair,
    before: Array,
    masks: set[str],
    length: int,
    temperature: float,
    top_k: int | None,
    seed: int,
) -> Array:
    """The steps that come after those before."""
    network, random = trained.network, np.random.default_rng(seed)
    slots = {**network.inputs, **network.targets}
    fed, symbols = _fed(trained, pair, masks), trained.preparation.symbols
    ones = {name: np.ones(slots[name].shape) for name in masks}
    known = {name: np.ones((len(before), *slots[name].shape)) for name in masks} | {fed: before}
    run = Autoregression(
        network,
        trained.params,
        pair,
        fed,
        # What a state starts from may be the beginning of what is known.
        state=network.initial_state(trained.params, known if len(before) else {}),
        preparation=trained.preparation,
        seed=random,
    )
    for value in before:
        run.hear(value, ones)
    found = []
    for _ in range(length):
        value = _next(run.say(ones), pair, symbols, temperature, top_k, random)
        found.append(value)
        run.hear(run.read_from(value), ones)
    return np.array(found).reshape(length, *slots[pair.compared].shape)


def _next(
    output: Array,
    pair: Pair,
    symbols: Symbols,
    temperature: float,
    top_k: int | None,
    random: np.random.Generator,
) -> Any:
    """The next value: a number as it is predicted, a symbol drawn from its probabilities."""
    if pair.kind == "numbers":
        return output
    scores = np.asarray(output, np.float64)[: len(symbols.names)]
    if pair.kind == "probabilities":
        scores = np.log(np.maximum(scores, 1e-300))
    if temperature == 0:
        return int(scores.argmax())
    scores = (scores - scores.max()) / temperature
    if top_k is not None and top_k < len(scores):
        scores[np.argsort(scores, kind="stable")[:-top_k]] = -np.inf
    powers = np.exp(scores)
    return int(random.choice(len(scores), p=powers / powers.sum()))
