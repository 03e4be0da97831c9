"""How much faster models are whose recurrent layers rollc computes (`rollc.torch.convert`).

    python -m tests.commands.converted_models [--rounds 25] [--threads 2]

Three models as people write them, forward alone and forward with backward, first as PyTorch has
them, then converted.  All are timed in turn, in one process; a line has the medians of the rounds,
with one thread of processor time, which others on the machine take no part of.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import rollc.torch
from rollc import threads


class LanguageModel(nn.Module):
    """Two layers of LSTM between an embedding and scores of words."""

    said = "language model: LSTM, 2 layers of 200, 35 steps, 20 sequences"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2000, 200)
        self.layers = nn.LSTM(200, 200, 2)
        self.scores = nn.Linear(200, 2000)
        self.words = torch.randint(2000, (36, 20))

    def forward(self) -> Any:
        h, _ = self.layers(self.embed(self.words[:-1]))
        return nn.functional.cross_entropy(self.scores(h).flatten(0, 1), self.words[1:].flatten())


class Tagger(nn.Module):
    """A label for every word, which sees all of its sentence: packed, of lengths of their own."""

    said = "tagger: bidirectional LSTM of 128, 32 sentences of 5 to 40 words, packed"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2000, 100)
        self.layers = nn.LSTM(100, 128, bidirectional=True, batch_first=True)
        self.scores = nn.Linear(256, 17)
        self.words = torch.randint(2000, (32, 40))
        self.lengths = torch.randint(5, 41, (32,))

    def forward(self) -> Any:
        x = nn.utils.rnn.pack_padded_sequence(
            self.embed(self.words), self.lengths, batch_first=True, enforce_sorted=False
        )
        h, _ = nn.utils.rnn.pad_packed_sequence(self.layers(x)[0], batch_first=True)
        return self.scores(h).logsumexp(-1).mean()


class Agent(nn.Module):
    """One sequence, a step a call, as an agent lives; the gradient goes through 20 steps."""

    said = "agent: GRU of 64, one sequence, 20 calls of one step"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.GRU(16, 64)
        self.choice = nn.Linear(64, 4)
        self.seen = torch.randn(20, 1, 1, 16)

    def forward(self) -> Any:
        state, total = None, torch.zeros(())
        for seen in self.seen:
            h, state = self.layers(seen, state)
            total = total + self.choice(h).logsumexp(-1).sum()
        return total


def ways(model: Any) -> dict[str, Callable[[], Any]]:
    def forward() -> None:
        with torch.no_grad():
            model()

    def both() -> None:
        model.zero_grad()
        model().backward()

    return {"forward": forward, "forward and backward": both}


def medians(calls: list[Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each, measured in turn."""
    found: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 2):
        for place, call in enumerate(calls):
            start = clock()
            call()
            if round_ > 1:
                found[place].append(clock() - start)
    return [statistics.median(each) for each in found]


def lines(rounds: int, clock: Callable[[], float]) -> Iterator[str]:
    yield "| model | | PyTorch, ms | rollc, ms | times as fast |"
    yield "| --- | --- | --- | --- | --- |"
    for sort in (LanguageModel, Tagger, Agent):
        torch.manual_seed(0)
        model = sort()
        converted = rollc.torch.convert(copy.deepcopy(model))
        torch.testing.assert_close(converted(), model(), rtol=1e-4, atol=1e-4)
        for way, theirs in ways(model).items():
            before, after = medians([theirs, ways(converted)[way]], rounds, clock)
            yield (
                f"| {sort.said} | {way} | {before * 1e3:.2f} | {after * 1e3:.2f} |"
                f" {before / after:.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    threads.use(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    for line in lines(arguments.rounds, clock):
        print(line, flush=True)


if __name__ == "__main__":
    main()
