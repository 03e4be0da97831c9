"""What a program means: one sequence at a time, step by step, in PyTorch's float64.

Written from the language reference alone.  A value at a step is asked for by its name and its
place along each time axis, and asks for what it reads; nothing is scheduled.  Gradients are
PyTorch's, where the reference says nothing else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.commands.random_programs import language as la
from tests.commands.random_programs.expand import (
    Expanded,
    axes_of,
    delays_of,
    expand,
    expression_axes,
)
from tests.commands.random_programs.kinds import DTYPES, SLOPED, Kind
from tests.commands.random_programs.language import Call, Expression, Name, Number, Part, Span
from tests.commands.random_programs.operations import (
    COMPARISONS,
    CONNECTIVES,
    ELEMENTWISE,
    OTHERS,
    QUANTIFIERS,
    STEEP,
    einsum,
)

# A value asks for what it reads: over two axes that is a long way back.
sys.setrecursionlimit(50_000)

Place = Mapping[str, int]
Found = Tensor | int  # an index without a shape is an integer, a condition a tensor of booleans


class Outside(Exception):
    """The evaluator does not say what this is."""


@dataclass(frozen=True)
class Noise:
    """Numbers that were drawn: one dimension for each of the axes, then the value's own."""

    array: Tensor
    axes: tuple[str, ...]


@dataclass
class Margin:
    """The distance of all decisions from their borders, exact ties left out, relative."""

    least: float = math.inf
    where: str = ""

    def see(self, distance: Tensor | float, scale: Tensor | float, where: str) -> None:
        distance = torch.as_tensor(distance).detach().abs()
        scale = torch.as_tensor(scale).detach().abs()
        relative = distance / scale.clamp(min=1.0)
        relative = relative[(distance > 0) & relative.isfinite()]
        if relative.numel() and float(relative.min()) < self.least:
            self.least, self.where = float(relative.min()), where

    def see_tie(self, a: Tensor, b: Tensor, where: str) -> None:
        """Numbers that are equal by luck: rounded otherwise, they would not be.

        What is read twice is equal to itself, and small fractions come from numbers of the spec.
        """
        rounded = (8 * a != (8 * a).round()) | (a.abs() > 64)
        if a.data_ptr() != b.data_ptr() and bool(((a == b) & rounded).any()):
            self.least, self.where = 0.0, where


class Meaning:
    """A program with its sizes; ``feed`` is taught or free, ``truncate`` cuts gradients.

    ``averaged`` gradients of parameters are means over the steps at which each is read.
    """

    def __init__(
        self,
        program: la.Program,
        feed: str = "taught",
        sets: Mapping[str, int] | None = None,
        truncate: int | None = None,
        averaged: bool = False,
    ) -> None:
        self.found = expand(program, feed, sets or {})
        self.axes, self.settled = axes_of(self.found)
        self.truncate, self.averaged = truncate, averaged
        self.delays = delays_of(self.found, self.settled)
        self.weights: dict[str, bool] = {}

    def axes_of(self, expression: Expression) -> frozenset[str]:
        return expression_axes(expression, self.found, self.axes, self.settled)

    def weight(self, expression: Expression) -> bool:
        """Whether something is a parameter, or computed from parameters and numbers alone."""
        return self._of_weights(expression) and any(
            isinstance(part, Name) for part in la.walk(expression)
        )

    def _of_weights(self, expression: Expression) -> bool:
        for part in la.walk(expression):
            if isinstance(part, Call) and part.function in ("dropout", "sample", "first", "last"):
                return False
            if isinstance(part, Name) and not self._weight(self.found.named(part.name)):
                return False
        return not self.axes_of(expression)

    def _weight(self, name: str) -> bool:
        if name not in self.weights:
            self.weights[name] = name in self.found.params  # also while it is looked at
            if name in self.found.values:
                value = self.found.values[name].expression
                self.weights[name] = not self.axes[name] and self._of_weights(value)
        return self.weights[name]


@dataclass
class Sequence:
    """One sequence of a batch.

    ``leaves`` are parameters and this sequence's inputs, time first; ``steps`` are its own
    lengths; ``noise`` is by owner and rate (None for a sample).
    """

    meaning: Meaning
    leaves: Mapping[str, Tensor]
    steps: Mapping[str, int]
    noise: Mapping[tuple[str, float | None], Noise]
    number: int  # of the sequence in the batch
    margin: Margin = field(default_factory=Margin)
    dtype: torch.dtype = torch.float64
    known: dict[Any, Found] = field(default_factory=dict)
    whole: Sequence | None = None  # the same one with all steps, padding among them
    # What a derivative is in, and at which place.
    moved: dict[Expression, tuple[Place, Tensor]] = field(default_factory=dict)

    @property
    def found(self) -> Expanded:
        return self.meaning.found

    # Values by name

    def value(self, name: str, at: Place) -> Found:
        name = self.found.named(name)
        axes = self.meaning.axes[name]
        key = (name, *(at[axis] for axis in self.found.axes if axis in axes))
        if key not in self.known:
            self.known[key] = self._value(name, at)
        return self.known[key]

    def _value(self, name: str, at: Place) -> Found:
        found = self.found
        if name in found.params:
            return self.leaves[name]
        if name in found.inputs:
            places = tuple(at[axis] for axis in found.axes if axis in self.meaning.axes[name])
            element = self.leaves[name][places]
            return int(element) if found.kinds[name].name == "index" else element
        definition = found.values[name]
        value = self.compute(definition.expression, at, definition.owner)
        if definition.part is not None:
            place, count, axis = definition.part
            assert isinstance(value, Tensor)
            size = value.shape[axis] // count
            return value.narrow(axis, place * size, size)
        return self._as(value, definition.kind)

    def _as(self, value: Found, kind: Kind | None) -> Found:
        """A number that is defined as a vector is one of equal elements."""
        if kind is None or (kind.name == "index" and not isinstance(value, Tensor)):
            return value
        assert isinstance(value, Tensor)
        if kind.name in ("float", "complex") and value.dtype != DTYPES[kind.name]:
            value = value.to(DTYPES[kind.name])
        assert tuple(value.shape) == kind.shape, (value.shape, kind)
        return value

    def read(self, name: str, delays: Mapping[str, int], at: Place, every: int | None) -> Found:
        """A read with delays: across resets, outside the sequence, and at borders."""
        name = self.found.named(name)
        if name in self.found.resets:  # read along one axis
            ((axis, delay),) = delays.items()
            side = 1 if delay > 0 else -1
            for before in range(abs(delay)):
                step = at[axis] - side * before
                if 0 <= step < self.steps[axis] and self._reset(name, {**at, axis: step}):
                    start = self.initial(name, {axis: side * (abs(delay) - before)}, at)
                    init = self.found.inits.get(name)
                    if self.meaning.averaged and init and self.meaning.weight(init.expression):
                        return self._mean(start, self.meaning.axes[name] | {axis})
                    return start
        there = {**at, **{axis: at[axis] - delay for axis, delay in delays.items()}}
        outside = {
            axis: -there[axis] if there[axis] < 0 else self.steps[axis] - there[axis] - 1
            for axis in delays
            if not 0 <= there[axis] < self.steps[axis]
        }
        value = self.initial(name, outside, there) if outside else self.value(name, there)
        if isinstance(value, Tensor) and value.dtype != torch.bool:
            for window in (every, self.meaning.truncate):
                for axis, delay in delays.items():
                    if window is not None and self._crosses(
                        at[axis], delay, self.steps[axis], window
                    ):
                        value = value.detach()
        return value

    def _reset(self, name: str, at: Place) -> bool:
        reset = self.found.resets[name]
        value = self.compute(reset.expression, at, reset.owner)
        assert isinstance(value, Tensor)
        if value.dtype != torch.bool:
            self.margin.see(value, 1.0, "reset")
        return bool(value != 0)

    @staticmethod
    def _crosses(now: int, delay: int, steps: int, window: int) -> bool:
        """Whether a read leaves its window; the first one, and the end, cut nothing."""
        if delay > 0:
            return now >= window and now % window < delay
        return now - delay < steps and now % window >= window + delay

    def initial(self, name: str, outside: Mapping[str, int], at: Place) -> Found:
        """The initial value that many steps outside along each axis, or as many after a reset.

        Negative numbers are behind the end.
        """
        kind = self.found.kinds[name]
        said = self.found.borders.get(name, {}).get(frozenset(outside))
        init = said or self.found.inits.get(name)
        if init is None:
            return kind.zeros() if kind.name != "index" or kind.shape else 0
        value = self.compute(init.expression, at, init.owner)
        if not isinstance(value, Tensor):
            return torch.full(kind.shape, value) if kind.shape else value
        if value.dim() == len(kind.shape) + 1:
            (count,) = outside.values()
            return value[value.shape[0] - count if count > 0 else -count - 1]
        return value.expand(kind.shape)

    # Expressions

    def real(self, value: Found) -> Tensor:
        """A condition is 1 or 0 in arithmetic."""
        if not isinstance(value, Tensor):
            raise Outside("an index in arithmetic")
        assert value.dtype != torch.int64
        return value.to(self.dtype) if value.dtype == torch.bool else value

    def constant(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=self.dtype)

    def compute(self, expression: Expression, at: Place, owner: str) -> Found:
        place, moved = self.moved.get(expression, (None, None))
        if moved is not None and place == at:
            return moved
        match expression:
            case Number(value):
                return self.constant(value)
            case Name(name, 0, also=()):
                return self.value(name, at)
            case Name(name):
                return self.read(name, self._delays(expression), at, None)
            case Part(operand, places):
                whole = self.real(self._operand(operand, expression, at, owner))
                between = places.index(None) if None in places else len(places)
                own = [
                    self._place(place, whole.shape[n - (len(places) * (n > between))], at, owner)
                    for n, place in enumerate(places)
                ]
                return whole[tuple(own)]
            case Call():
                return self.call(expression, at, owner)
        raise AssertionError(expression)

    def _place(self, place: Expression | Span | None, size: int, at: Place, owner: str) -> Any:
        """A place of a dimension; numbers that are computed are rounded down, and are inside."""
        match place:
            case None:
                return ...
            case Span(start, stop):
                return slice(*(end and int(end.value) for end in (start, stop)))
            case Number(value):
                return int(value)
        found = self.compute(place, at, owner)
        if _is_index(found):
            return found
        number = self.real(found).detach()
        self.margin.see(number - number.round(), number.abs(), "a place")
        return number.floor().clamp(0, size - 1).to(torch.int64)

    def _delays(self, read: Name) -> dict[str, int]:
        return {self._settled(axis): delay for axis, delay in read.delays.items()}

    def _settled(self, axis: str) -> str:
        return self.meaning.settled.get(axis, axis)

    def call(self, call: Call, at: Place, owner: str) -> Found:
        function, options = call.function, dict(call.options)
        if function in ("first", "last"):
            return self._end(call, at, owner)
        if call.over is not None:
            return self._over(call, at, owner)
        if function == "stop":
            return self._stop(call, at, owner)
        if function in ("grad", "jacobian"):
            return self._derivative(call, at, owner)
        operands = [self._operand(operand, call, at, owner) for operand in call.operands]
        if function == "where":
            return self._where(*operands)
        if function in COMPARISONS:
            return self._compare(function, *operands)
        if function in CONNECTIVES:
            return CONNECTIVES[function](*torch.broadcast_tensors(*operands))
        if function in QUANTIFIERS:
            axis = options.get("axis")
            held = operands[0].reshape(-1) if axis is None else operands[0].movedim(int(axis), 0)
            return QUANTIFIERS[function](held)
        if function == "identity" and _is_index(operands[0]):
            return operands[0]
        if function == "embed":
            return self.real(operands[0])[operands[1]]
        if function == "one_hot":
            size = int(options.get("size", 0)) or self._bound(call.operands[0])
            hot = torch.zeros(size, dtype=self.dtype)
            hot[operands[0]] = 1
            return hot
        if function == "cross_entropy":
            scores = self.real(operands[0])
            return torch.logsumexp(scores, 0) - scores[operands[1]]
        numbers = [self.real(operand) for operand in operands]
        if function == "argmax":
            return self._argmax(numbers[0], options.get("axis"))
        if function == "sample":
            return self._sample(numbers[0], at, owner)
        if function == "dropout":
            return numbers[0] * self._noise((owner, options["rate"]), at)
        if function == SLOPED:
            return self._sloped(numbers)
        axis = options.get("axis")
        self._look(function, numbers, None if axis is None else int(axis))
        if function in ELEMENTWISE:
            return _guarded(ELEMENTWISE[function], torch.broadcast_tensors(*numbers), True)
        if function.startswith("einsum "):
            subscripts = function.removeprefix("einsum ")
            return _guarded(lambda *given: einsum(subscripts, *given), numbers, False)
        operation = OTHERS[function]
        return _guarded(lambda *given: operation(options, *given), numbers, False)

    def _operand(self, operand: Expression, call: Call | Part, at: Place, owner: str) -> Found:
        value = self.compute(operand, at, owner)
        if self.meaning.averaged and self.meaning.weight(operand):
            return self._mean(value, self.meaning.axes_of(call))
        return value

    def _mean(self, value: Found, axes: frozenset[str]) -> Found:
        """A value whose gradient is divided by the number of the steps at which it is read."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        steps = (self if self.whole is None else self.whole).steps
        count = math.prod(steps[axis] for axis in axes)
        found = value.clone()  # itself, where it is infinite too
        if found.requires_grad:
            found.register_hook(lambda cotangent: cotangent / max(count, 1))
        return found

    def _bound(self, index: Expression) -> int:
        """The number of values of an index."""
        match index:
            case Name(name):
                return self.found.kinds[self.found.named(name)].bound
            case Call("where", (_, then, otherwise)):
                return max(self._bound(then), self._bound(otherwise))
            case Call("identity" | "first" | "last", (operand,)):
                return self._bound(operand)
        raise Outside("an index of no known size")

    # Time

    def _axis(self, call: Call) -> str:
        if call.over is not None:
            return self._settled(call.over)
        meaning = self.meaning
        (only,) = expression_axes(call.operands[0], self.found, meaning.axes, meaning.settled)
        return only

    def _end(self, call: Call, at: Place, owner: str) -> Found:
        axis = self._axis(call)
        if not self.steps[axis]:
            return self._outside(call, axis, at, owner)
        place = 0 if call.function == "first" else self.steps[axis] - 1
        return self.compute(call.operands[0], {**at, axis: place}, owner)

    def _outside(self, call: Call, axis: str, at: Place, owner: str) -> Found:
        """The first or last value of a sequence without a step: the initial one."""
        (operand,) = call.operands
        if isinstance(operand, Name):
            name, delays = self.found.named(operand.name), self._delays(operand)
            along = self.meaning.delays.get(name, {})
            said = name in self.found.inits or frozenset({axis}) in self.found.borders.get(name, {})
            if said and (not delays or delays.keys() == {axis}) and (not along or axis in along):
                delay = delays.get(axis, 0)
                past = delay > 0 or (not delay and along.get(axis, True))
                return self.initial(name, {axis: 1 + delay if past else min(delay, -1)}, at)
        return self._nothing(operand, axis, at, owner)

    def _nothing(self, like: Expression, axis: str, at: Place, owner: str) -> Found:
        """Zero, of the shape that an expression has at a step of the padding."""
        assert self.whole is not None
        found = self.whole.compute(like, {**at, axis: 0}, owner)
        return torch.zeros_like(found) if isinstance(found, Tensor) else 0

    def _over(self, call: Call, at: Place, owner: str) -> Tensor:
        axis = self._axis(call)
        if call.function == "along":
            (other,) = self.meaning.axes_of(call.operands[0])
            return self.compute(call.operands[0], {**at, other: at[axis]}, owner)
        if not self.steps[axis]:
            nothing = self.real(self._nothing(call.operands[0], axis, at, owner))
            if call.function in QUANTIFIERS:
                return QUANTIFIERS[call.function](nothing[None][:0] != 0)
            return nothing
        every = [
            self.real(self.compute(call.operands[0], {**at, axis: step}, owner))
            for step in range(self.steps[axis])
        ]
        stacked = torch.stack(every)
        match call.function:
            case "any" | "all" | "count":
                return QUANTIFIERS[call.function](stacked != 0)
            case "sum":
                return stacked.sum(0)
            case "mean":
                return stacked.mean(0)
            case "softmax":
                return torch.softmax(stacked, 0)[at[axis]]
        self._look(call.function, [stacked], 0)
        return stacked.amax(0) if call.function == "max" else stacked.amin(0)

    def _stop(self, call: Call, at: Place, owner: str) -> Found:
        (operand,) = call.operands
        every = dict(call.options).get("every")
        if every is None:
            return self.real(self.compute(operand, at, owner)).detach()
        assert isinstance(operand, Name)
        return self.read(operand.name, self._delays(operand), at, int(every))

    def _derivative(self, call: Call, at: Place, owner: str) -> Tensor:
        """The derivative in a read, of what is computed from it at the same step."""
        value, x = call.operands
        read = self.real(self.compute(x, at, owner))
        read = read.clone() if read.requires_grad else read.clone().requires_grad_()
        outer, self.moved = self.moved, {**self.moved, x: (at, read)}
        try:
            found = self.real(self.compute(value, at, owner))
        finally:
            self.moved = outer
        rows = [torch.autograd.grad(row, read, create_graph=True)[0] for row in found.reshape(-1)]
        return torch.stack(rows) if call.function == "jacobian" else rows[0]

    # Choices

    def _where(self, condition: Found, then: Found, otherwise: Found) -> Found:
        assert isinstance(condition, Tensor)
        if (
            not isinstance(then, Tensor)
            and not isinstance(otherwise, Tensor)
            and condition.dim() == 0
        ):
            return then if bool(condition) else otherwise
        if _is_index(then) and _is_index(otherwise):
            a, b = torch.as_tensor(then), torch.as_tensor(otherwise)
        else:
            a, b = self.real(then), self.real(otherwise)
        return torch.where(*torch.broadcast_tensors(condition, a, b))

    def _compare(self, symbol: str, a: Found, b: Found) -> Tensor:
        indices = _is_index(a) or _is_index(b)
        a = torch.as_tensor(a, dtype=self.dtype) if _is_index(a) else self.real(a)
        b = torch.as_tensor(b, dtype=self.dtype) if _is_index(b) else self.real(b)
        if not indices:
            self.margin.see(a - b, torch.maximum(a.abs(), b.abs()), symbol)
            self.margin.see_tie(a, b, symbol)
        return COMPARISONS[symbol](a, b)

    def _argmax(self, x: Tensor, axis: float | None) -> Found:
        lines = x.detach().movedim(-1 if axis is None else int(axis), 0)
        ordered = torch.sort(lines, dim=0, descending=True).values
        if len(ordered) > 1:
            self.margin.see(ordered[0] - ordered[1], ordered[0], "argmax")
        # The first of equal ones.
        first = (lines == ordered[0]).to(torch.int64).argmax(0)
        return first if first.dim() else int(first)

    def _sample(self, p: Tensor, at: Place, owner: str) -> int:
        """The index whose share of the sum holds the number that was drawn."""
        number = float(self._noise((owner, None), at))
        shares = torch.cumsum(p.detach(), 0)
        self.margin.see(number * shares[-1] - shares, shares[-1], "sample")
        held = [i for i, each in enumerate(shares.tolist()) if number * float(shares[-1]) < each]
        return held[0] if held else len(p) - 1

    def _noise(self, key: tuple[str, float | None], at: Place) -> Tensor:
        if key not in self.noise:  # nothing is drawn for what has no part in any result
            return self.constant(math.nan)
        noise = self.noise[key]
        places = {**at, "batch": self.number}
        return noise.array[tuple(places[axis] for axis in noise.axes)]

    def _sloped(self, numbers: list[Tensor]) -> Tensor:
        """A value with derivatives of its own: the rule that the cotangent follows."""
        value, rest = numbers[0].detach(), [*numbers[1:]]
        slopes, arguments = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        value, *both = torch.broadcast_tensors(value, *slopes, *arguments)
        slopes, arguments = both[: len(slopes)], both[len(slopes) :]
        return _Sloped.apply(value, *(slope.detach() for slope in slopes), *arguments)

    def _look(self, function: str, numbers: list[Tensor], axis: int | None = None) -> None:
        """Note how far from a kink an operation is."""
        x, *rest = numbers
        match function:
            case "floor" | "ceil" | "round":
                jump = x + 0.5 if function == "round" else x
                self.margin.see(jump - jump.round(), x.abs(), function)
            case "mod":
                turns = x / rest[0]
                self.margin.see(turns - turns.round(), turns.abs(), function)
            case "hard_tanh" | "hard_sigmoid":
                bend = 1.0 if function == "hard_tanh" else 3.0
                self.margin.see(x.abs() - bend, bend, function)
            case "sort" | "argsort" | "top_k":
                for place in range(1, len(x)) if function == "argsort" else ():
                    self.margin.see_tie(x, x.roll(place, 0), function)
                gaps = (x[:, None] - x[None, :]).reshape(-1)
                self.margin.see(gaps, x.abs().max(), function)
            case "hinge":
                self.margin.see(1 - x * rest[0], 1.0, function)
            case "angle":
                self.margin.see(x.imag[x.real < 0], 1.0, function)
                self.margin.see(x.abs(), 1.0, function)
            case "leaky_relu" | "relu" | "abs" | "sign":
                self.margin.see(x, 1.0, function)
            case "maximum" | "minimum":
                self.margin.see(x - rest[0], torch.maximum(x.abs(), rest[0].abs()), function)
            case "clip":
                for bound in rest:
                    self.margin.see(x - bound, x.abs(), function)
                self.margin.see(rest[0] - rest[1], rest[0].abs(), function)
            case "max" | "min":
                lines = x.reshape(-1) if axis is None else x.movedim(axis, 0)
                top = lines.amax(0) if function == "max" else lines.amin(0)
                self.margin.see(top - lines, top, function)


def _is_index(value: Found) -> bool:
    return not isinstance(value, Tensor) or value.dtype == torch.int64


class Batch:
    """A program on the arrays of a call: its outputs, its loss, and their gradients.

    Arrays have the time axes in front, then the batch if ``batched``, then their own shape.
    ``lengths`` are by axis, a number for each sequence; ``noise`` as a sequence takes it.  Where
    there are no steps ``like`` has some: it tells the shapes of what nothing is computed of.
    """

    def __init__(
        self,
        meaning: Meaning,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        steps: Mapping[str, int],
        count: int,
        batched: bool = True,
        lengths: Mapping[str, Any] | None = None,
        noise: Mapping[tuple[str, float | None], Noise] | None = None,
        like: Batch | None = None,
    ) -> None:
        self.meaning, self.steps, self.count, self.like = meaning, steps, count, like
        self.lengths, self.batched = lengths, batched
        self.margin = Margin()
        self.leaves = {name: _leaf(array) for name, array in {**params, **inputs}.items()}
        for name, param in meaning.found.params.items():
            if param.frozen:
                self.leaves[name] = self.leaves[name].detach()
        self.sequences = [self._sequence(number, noise or {}) for number in range(count)]

    def _sequence(self, number: int, noise: Mapping[tuple[str, float | None], Noise]) -> Sequence:
        leaves = {name: self._own(name, number) for name in self.leaves}
        whole = Sequence(self.meaning, leaves, self.steps, noise, number)
        if self.lengths is None:
            whole.margin = self.margin
            whole.whole = None if self.like is None else self.like.sequences[number]
            return whole
        steps = {axis: int(lengths[number]) for axis, lengths in self.lengths.items()}
        return Sequence(self.meaning, leaves, steps, noise, number, self.margin, whole=whole)

    def _own(self, name: str, number: int) -> Tensor:
        array = self.leaves[name]
        if name in self.meaning.found.params or not self.batched:
            return array
        return array.select(len(self.meaning.axes[name]), number)

    def loss(self) -> Tensor:
        """The mean of the sequences' losses."""
        definition = self.meaning.found.loss
        assert definition is not None
        found = [
            sequence.real(sequence.compute(definition.expression, {}, definition.owner))
            for sequence in self.sequences
        ]
        return torch.stack(found).mean()

    def output(self, name: str) -> Tensor:
        """An output of all sequences, ``[T, B, …]``; zero after each one's end."""
        return torch.stack(
            [self._all_steps(name, sequence) for sequence in self.sequences],
            len(self.output_axes(name)),
        )

    def output_axes(self, name: str) -> tuple[str, ...]:
        found = self.meaning.found
        return tuple(sorted(self.meaning.axes[found.named(name)]))

    def _all_steps(self, name: str, sequence: Sequence) -> Tensor:
        axes = self.output_axes(name)
        kind = self.meaning.found.kinds[self.meaning.found.named(name)]

        def along(rest: tuple[str, ...], at: Place) -> Tensor:
            if not rest:
                inside = all(place < sequence.steps[axis] for axis, place in at.items())
                if not inside:
                    return kind.zeros()
                return torch.as_tensor(sequence.value(name, at))
            axis, *others = rest
            rows = [along(tuple(others), {**at, axis: step}) for step in range(self.steps[axis])]
            if not rows:
                shape = (0, *(self.steps[other] for other in others), *kind.shape)
                return torch.zeros(shape, dtype=DTYPES[kind.name])
            return torch.stack(rows)

        return along(axes, {})

    def gradients(self, of: Tensor) -> dict[str, Tensor]:
        """The gradients of a number in all leaves that are numbers."""
        wanted = {name: leaf for name, leaf in self.leaves.items() if leaf.requires_grad}
        if not of.requires_grad:
            return {name: torch.zeros_like(leaf) for name, leaf in wanted.items()}
        found = torch.autograd.grad(of, list(wanted.values()), retain_graph=True, allow_unused=True)
        return {
            name: torch.zeros_like(leaf) if each is None else each
            for (name, leaf), each in zip(wanted.items(), found, strict=True)
        }

    def products(self, of: Tensor, vectors: Mapping[str, Any]) -> dict[str, Tensor]:
        """Those of the Hessian of a number with vectors by the names of leaves.

        Raises :class:`Once` where the meaning has no second derivatives.
        """
        wanted = {name: leaf for name, leaf in self.leaves.items() if leaf.requires_grad}
        slope = torch.zeros((), dtype=torch.float64)
        if of.requires_grad:
            leaves = [wanted[name] for name in vectors]
            found = torch.autograd.grad(of, leaves, create_graph=True, allow_unused=True)
            for each, vector in zip(found, vectors.values(), strict=True):
                slope = slope if each is None else slope + (each * _leaf(vector).detach()).sum()
        return self.gradients(slope)


class Once(Exception):
    """Numbers that are guarded have first derivatives alone."""


def _leaf(array: Any) -> Tensor:
    found = torch.as_tensor(array)
    return found.to(torch.float64).clone().requires_grad_() if found.is_floating_point() else found


def _guarded(function: Callable[..., Tensor], given: Any, elementwise: bool) -> Tensor:
    """The value; where no cotangent arrives none leaves, whatever the slope is."""
    value = function(*given)
    if not value.requires_grad or all(bool(each.isfinite().all()) for each in (value, *given)):
        needs = (
            value.requires_grad and function in STEEP and any(bool((x == 0).any()) for x in given)
        )
        if not needs:
            return value
    return _Guarded.apply(function, elementwise, *given)


class _Guarded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Any, elementwise: bool, *given: Tensor) -> Tensor:
        ctx.elementwise = elementwise
        with torch.enable_grad():
            ctx.given = [each.detach().requires_grad_() for each in given]
            ctx.value = function(*ctx.given)
        return ctx.value.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise Once
        found = torch.autograd.grad(ctx.value, ctx.given, g, allow_unused=True, retain_graph=True)
        nothing = g == 0 if ctx.elementwise else (g == 0).all()
        passed = [
            None if each is None else torch.where(nothing, torch.zeros_like(each), each)
            for each in found
        ]
        return (None, None, *passed)


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *given: Tensor) -> Tensor:
        count = len(given) // 2
        ctx.save_for_backward(*given[:count])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        slopes = ctx.saved_tensors
        return (None, *(None for _ in slopes), *(g * slope for slope in slopes))
