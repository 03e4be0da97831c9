"""Two examples of PyTorch with rollc in the place of their recurrent layers: the same losses.

    python -m tests.commands.pytorch_examples [--threads 1] [--windows 20] [--steps 2]

They are `word_language_model` and `time_sequence_prediction` of github.com/pytorch/examples, with
their sizes, optimizers and clipping, in float64; the text is the one that comes with rollc, and
dropout is off, for its masks are others.  Theirs and rollc's take their steps in turn, after a call
that is not timed.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import rollc.torch
from rollc import threads
from tests.helpers.paths import ROOT

Step = Callable[[int], float]


@dataclass(frozen=True)
class Compared:
    """The losses of both, step by step, and the seconds that the steps took."""

    theirs: list[float]
    own: list[float]
    seconds: tuple[float, float]

    @property
    def apart(self) -> float:
        """How far losses are from each other, relatively, at most."""
        return max(abs(a - b) / abs(a) for a, b in zip(self.theirs, self.own, strict=True))


def compared(theirs: Step, own: Step, count: int) -> Compared:
    losses: tuple[list[float], list[float]] = [], []
    seconds = [0.0, 0.0]
    for index in range(count):
        for place, step in enumerate((theirs, own)):
            start = time.perf_counter()
            losses[place].append(step(index))
            seconds[place] += time.perf_counter() - start
    return Compared(*losses, (seconds[0], seconds[1]))


# word_language_model ----------------------------------------------------------------------


class Words(nn.Module):
    """`RNNModel` of the example, of LSTM."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.encoder = nn.Embedding(words, size)
        self.rnn = nn.LSTM(size, size, 2)
        self.decoder = nn.Linear(size, words)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words: Any, hidden: Any) -> tuple[Any, Any]:
        output, hidden = self.rnn(self.encoder(words), hidden)
        return nn.functional.log_softmax(self.decoder(output).flatten(0, 1), dim=1), hidden


def word_language_model(windows: int, size: int = 200, bptt: int = 35, batch: int = 20) -> Compared:
    text = (ROOT / "specs/data/genesis.txt").read_text(encoding="utf-8").split()
    known = {word: place for place, word in enumerate(dict.fromkeys(text))}
    words = torch.tensor([known[word] for word in text])
    count = len(words) // batch
    words = words[: count * batch].view(batch, -1).t().contiguous()
    torch.manual_seed(1111)
    model = Words(len(known), size).double()

    def step_of(model: Any) -> Step:
        model(words[:bptt], None)[0].sum().backward()
        hidden: Any = None

        def step(index: int) -> float:
            nonlocal hidden
            first = index * bptt % (count - bptt - 1)
            model.zero_grad()
            hidden = None if hidden is None else tuple(each.detach() for each in hidden)
            output, hidden = model(words[first : first + bptt], hidden)
            target = words[first + 1 : first + 1 + bptt].flatten()
            loss = nn.functional.nll_loss(output, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(parameter.grad, alpha=-20)
            return loss.item()

        return step

    own = rollc.torch.convert(copy.deepcopy(model))
    return compared(step_of(model), step_of(own), windows)


# time_sequence_prediction -----------------------------------------------------------------

SINES = """
net sines
dim H = 51

cell lstm(x; H) -> h, c {
    param weight_ih: [4*H, size(x)], weight_hh: [4*H, H], bias_ih: [4*H], bias_hh: [4*H]
    i, f, g, o = split(weight_ih @ x + bias_ih + weight_hh @ h[t-1] + bias_hh, 4)
    c = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
}

input x: [1]
lstm1 = lstm(x; H=H)
lstm2 = lstm(lstm1; H=H)
param linear: [1, H], bias: [1]
said = linear @ lstm2 + bias
output said
"""


class Sequence(nn.Module):
    """`Sequence` of the example: a loop over the steps, which goes on alone."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.lstm1 = nn.LSTMCell(1, size)
        self.lstm2 = nn.LSTMCell(size, size)
        self.linear = nn.Linear(size, 1)

    def forward(self, x: Any, future: int = 0) -> Any:
        first = second = None
        outputs = []
        for now in x.split(1, dim=1):
            first = self.lstm1(now, first)
            second = self.lstm2(first[0], second)
            outputs.append(self.linear(second[0]))
        for _ in range(future):
            first = self.lstm1(outputs[-1], first)
            second = self.lstm2(first[0], second)
            outputs.append(self.linear(second[0]))
        return torch.cat(outputs, dim=1)


class OwnSequence(nn.Module):
    """The same with rollc."""

    def __init__(self, theirs: Sequence, folder: Path) -> None:
        super().__init__()
        spec = folder / "sines.roll"
        spec.write_text(SINES, encoding="utf-8")
        self.layers = rollc.torch.Module(spec, H=theirs.size, dtype=torch.float64, batch_first=True)
        weights = theirs.state_dict()
        weights["linear"], weights["bias"] = (
            weights.pop("linear.weight"),
            weights.pop("linear.bias"),
        )
        self.layers.load_state_dict(weights)

    def forward(self, x: Any, future: int = 0) -> Any:
        if not future:
            return self.layers(x[..., None])[..., 0]
        said, state = self.layers(x[..., None], state=self.layers.zero_state(len(x)))
        outputs = [said]
        for _ in range(future):
            said, state = self.layers(outputs[-1][:, -1:], state=state)
            outputs.append(said)
        return torch.cat(outputs, dim=1)[..., 0]


def time_sequence_prediction(
    steps: int, sequences: int = 100, length: int = 1000, future: int = 1000, size: int = 51
) -> Compared:
    """The losses of training, and at last those of what is said without an input."""
    random = torch.Generator().manual_seed(2)
    start = torch.randint(-80, 80, (sequences, 1), generator=random)
    waves = torch.sin((torch.arange(length) + start).double() / 20)
    x, target = waves[3:, :-1], waves[3:, 1:]
    torch.manual_seed(0)
    model = Sequence(size).double()
    with tempfile.TemporaryDirectory() as folder:
        own = OwnSequence(model, Path(folder))

    def step_of(model: Any) -> Step:
        model(x).sum().backward()
        with torch.no_grad():
            model(waves[:3, :2], future=1)
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.8)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            return loss

        def step(index: int) -> float:
            if index < steps:
                return optimizer.step(closure).item()
            with torch.no_grad():
                said = model(waves[:3, :-1], future=future)
            return nn.functional.mse_loss(said[:, : length - 1], waves[:3, 1:]).item()

        return step

    return compared(step_of(model), step_of(own), steps + 1)


def lines(windows: int, steps: int) -> Iterator[str]:
    yield "| example | loss, first and last | apart, relatively | PyTorch, s | rollc, s |"
    yield "| --- | --- | --- | --- | --- |"
    for name, found in (
        ("word_language_model", lambda: word_language_model(windows)),
        ("time_sequence_prediction", lambda: time_sequence_prediction(steps)),
    ):
        both = found()
        theirs, own = both.seconds
        yield (
            f"| {name} | {both.theirs[0]:.6f}, {both.theirs[-1]:.6f} | {both.apart:.1e} |"
            f" {theirs:.2f} | {own:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--windows", type=int, default=20, help="of the text")
    parser.add_argument("--steps", type=int, default=2, help="of L-BFGS, 20 evaluations each")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    threads.use(arguments.threads)
    for line in lines(arguments.windows, arguments.steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
