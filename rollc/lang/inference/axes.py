"""Inference of time axes, through cycles: a least fixed point.

    a leaf                    runs over its declared axes
    h[s-1]                    runs over s, and the axes of h
    mean(x, over s)           runs over the axes of x, less s
    last(x)                   is along the only axis of x
    along(x, s)               runs over s in the place of the only axis of x
    `t` inside a cell         is the only axis of the arguments of its use

Every other operation runs over the union of its operands' axes.  Left behind: drafts that
name time axes only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rollc.ir.graph import BATCH, Edge, attributes
from rollc.ir.traversal import reachable
from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.symbols.builtins import ENDS, OVER_AXES, RENAME, SPREAD
from rollc.lang.symbols.table import Names, listed
from rollc.lang.symbols.untyped_node import Axis, Draft, Operand

Axes = frozenset[str]
NONE: Axes = frozenset()


@dataclass(frozen=True)
class Settled:
    """Drafts whose axes are time axes.

    ``axes`` are those that each runs over, ``wrong`` the erroneous drafts.
    """

    drafts: Mapping[str, Draft]
    axes: Mapping[str, Axes]
    wrong: frozenset[str]
    problems: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """A read at the same step that names the axis, such as ``h[t]``."""

    source: str
    axis: str
    span: Span


def settled(
    drafts: Mapping[str, Draft],
    uses: Mapping[str, Axis],
    marked: Iterable[Marked],
    names: Names,
) -> Settled:
    """Put time axes in the place of those of cells and functions, and where none is said."""
    found = _Axes(drafts, uses, names)
    found.find()
    problems = [*found.problems(marked)]
    placed = {name: found.placed(draft) for name, draft in drafts.items()}
    return Settled(placed, found.axes, frozenset(found.wrong), tuple(problems))


def without_time(draft: Draft) -> Draft:
    """The draft as if all were one step: its shape is the same, whatever axes there are."""
    operands = tuple(replace(operand, edge=Edge(operand.edge.source)) for operand in draft.operands)
    if draft.operation in (*OVER_AXES, SPREAD, RENAME):
        return replace(draft, operation="identity", operands=operands, attributes=())
    type_ = None if draft.type is None else replace(draft.type, axes=())
    return replace(draft, operands=operands, type=type_)


class _Axes:
    """``axes`` are those that are known so far, of drafts and of the uses of cells."""

    def __init__(self, drafts: Mapping[str, Draft], uses: Mapping[str, Axis], names: Names) -> None:
        self.drafts = drafts
        self.uses = uses
        self.names = names
        self.axes: dict[str, Axes] = dict.fromkeys((*drafts, *uses), NONE)
        self.wrong: set[str] = set()
        self.readers: dict[str, list[str]] = {}
        for name, draft in drafts.items():
            for read in (*(operand.edge.source for operand in draft.operands), *_named(draft)):
                self.readers.setdefault(read, []).append(name)
        for name, use in uses.items():
            if use.over is not None:
                self.readers.setdefault(use.over, []).append(name)
            for edge in use.arguments:
                self.readers.setdefault(edge.source, []).append(name)
                if edge.delay:
                    self.readers.setdefault(edge.axis, []).append(name)

    # The fixpoint

    def find(self) -> None:
        self._spread((*self.uses, *self.drafts))
        # Only now is it known which arguments run over no axis.
        while True:
            outer = {
                name: self._outer(use) for name, use in self.uses.items() if not self.axes[name]
            }
            changed = [name for name, axes in outer.items() if axes]
            if not changed:
                return
            self.axes.update((name, outer[name]) for name in changed)
            self._spread(reader for name in changed for reader in self.readers.get(name, ()))

    def _spread(self, names: Iterable[str]) -> None:
        pending = deque(names)
        waiting = set(pending)
        while pending:
            name = pending.popleft()
            waiting.discard(name)
            # Nothing is taken back, so that this ends.
            found = self.axes[name] | self._follows(name)
            if found == self.axes[name]:
                continue
            self.axes[name] = found
            for reader in self.readers.get(name, ()):
                if reader not in waiting:
                    waiting.add(reader)
                    pending.append(reader)

    def _follows(self, name: str) -> Axes:
        if name in self.uses:
            return self._used(self.uses[name])
        draft = self.drafts[name]
        if draft.type is not None:
            return frozenset(draft.type.time)
        if draft.operation in ("step", RENAME):  # the number of the step
            return NONE.union(*map(self._of, over(draft)))
        found = NONE.union(*(self._read(operand.edge) for operand in draft.operands))
        if draft.operation == SPREAD:
            return found.union(*map(self._of, over(draft)))
        if draft.operation not in OVER_AXES or draft.operation == "softmax_over":
            return found
        # As long as it is not known which axis this goes over, it is taken to be all of them.
        gone = NONE.union(*map(self._of, over(draft)))
        return found - gone if gone else NONE

    def _used(self, use: Axis) -> Axes:
        if use.over is not None:
            return self._of(use.over)
        left = frozenset(self.names.axes) - use.named
        if use.named and len(left) == 1:
            return left
        return NONE.union(*map(self._read, use.arguments))

    def _read(self, edge: Edge) -> Axes:
        found = self.axes.get(edge.source, NONE)
        return found | self._of(edge.axis) if edge.delay else found

    def _of(self, axis: str) -> Axes:
        return self.axes[axis] if axis in self.uses else frozenset({axis})

    def _outer(self, use: Axis) -> Axes:
        if use.outer is not None:
            return self._of(use.outer)
        return frozenset(self.names.axes) if len(self.names.axes) == 1 else NONE

    # What is left behind

    def placed(self, draft: Draft) -> Draft:
        """The draft with time axes alone."""
        operands = tuple(
            replace(operand, edge=self._delayed(operand.edge)) if operand.edge.delay else operand
            for operand in draft.operands
        )
        options = dict(draft.attributes)
        if draft.operation == SPREAD and self._only(over(draft)[0]) in self._read(operands[0].edge):
            return replace(draft, operation="identity", attributes=())  # it runs there already
        if draft.operation == RENAME:
            to = self._only(over(draft)[0])
            runs = self._read(operands[0].edge) - {to}
            options = {"axis": min(runs, default=self._other(to)), "to": to}
        elif "over" in options:
            options["over"] = tuple(map(self._only, over(draft)))
        elif over(draft):
            options["axis"] = self._only(over(draft)[0])
        elif draft.operation in ENDS:
            runs = self._read(draft.operands[0].edge)
            options["axis"] = min(runs, default=self.names.axes[0])
        return replace(draft, operands=operands, attributes=attributes(**options))

    def _delayed(self, edge: Edge) -> Edge:
        """The edge along a time axis: where it is along a wrong one, as it could be right."""
        axis, runs = self._only(edge.axis), self.axes.get(edge.source, NONE)
        return replace(edge, axis=axis if axis in runs else min(runs, default=axis))

    def _only(self, axis: str) -> str:
        """The one time axis that an axis is (any where it could be several)."""
        return min(self._of(axis), default=self.names.axes[0])

    def _other(self, axis: str) -> str:
        return next((other for other in self.names.axes if other != axis), axis)

    # What can be wrong

    def problems(self, marked: Iterable[Marked]) -> Iterator[Diagnostic]:
        """What is wrong in the drafts, unless it follows from what is wrong elsewhere."""
        known = {*self.axes, *self.names.axes, BATCH}
        doubtful = self._behind(name for name in self.readers if name not in known)
        unclear: dict[str, list[str]] = {}
        for name, draft in self.drafts.items():
            for axis in _named(draft):
                if axis in self.uses and len(self.axes[axis]) != 1:
                    unclear.setdefault(axis, []).append(name)
        for axis, readers in unclear.items():
            self.wrong.update(readers)
            if not doubtful.issuperset(readers):
                yield self._which(self.uses[axis], self.axes[axis])
        for axis, use in self.uses.items():
            if use.over is not None and self.axes[axis] & use.named:
                yield self._named_too(use, self.axes[axis])
        doubtful |= self.wrong | self._behind(self.wrong)
        for name, draft in self.drafts.items():
            found = [*self._unfit(draft)]
            if found:
                self.wrong.add(name)
            if name not in doubtful:
                yield from found
        for read in marked:
            axes, runs = self._of(read.axis), self.axes.get(read.source, NONE)
            if len(axes) == 1 and runs and not axes & runs and read.source not in doubtful:
                operand = Operand(Edge(read.source), read.span)
                yield self._static(operand, self._only(read.axis), runs)

    def _behind(self, names: Iterable[str]) -> set[str]:
        """What reads any of the names, directly or not."""
        direct = (reader for name in names for reader in self.readers.get(name, ()))
        return set(reachable(direct, lambda name: self.readers.get(name, ())))

    def _unfit(self, draft: Draft) -> Iterator[Diagnostic]:
        for operand in draft.operands:
            edge = operand.edge
            runs = self.axes.get(edge.source, NONE)
            if edge.delay and self._only(edge.axis) not in runs:
                yield self._static(operand, self._only(edge.axis), runs)
        if draft.operation in ENDS and not over(draft):
            runs = self._read(draft.operands[0].edge)
            if len(runs) > 1:
                yield Diagnostic(
                    "R229",
                    f"`{draft.operation}` over which time axis?",
                    Label(draft.operands[0].span, f"this runs over {listed(sorted(runs))}"),
                    helps=(f"say it: `{draft.operation}(…, over {min(runs)})`",),
                )

        if draft.operation == RENAME:
            yield from self._unmoved(draft)

    def _unmoved(self, draft: Draft) -> Iterator[Diagnostic]:
        """What is wrong with a value that cannot be read along another axis."""
        (operand,), to = draft.operands, self._only(over(draft)[0])
        runs = self._read(operand.edge)
        if runs and to not in runs:
            return
        text = (
            f"this runs over {listed(sorted(runs))}" if runs else "this is the same at every step"
        )
        if runs == {to}:
            message, help_ = f"a value that is along `{to}` already", "leave `along` out"
        elif runs:
            message = f"a value along two axes cannot be read along `{to}`"
            help_ = "`along` takes what runs over one axis: move what it is computed from"
        else:
            message = f"a value that does not change with time is the same along `{to}`"
            help_ = "leave `along` out"
        yield Diagnostic("R229", message, Label(operand.span, text), helps=(help_,))

    def _which(self, use: Axis, axes: Axes) -> Diagnostic:
        run = f"its arguments run over {listed(sorted(axes)) if axes else 'no time axis'}"
        example = min(axes, default=self.names.axes[0])
        return Diagnostic(
            "R229",
            f"`{use.function}` along which time axis?",
            Label(use.span, run),
            helps=(f"say it: `{use.function}({use.form} over {example})`",),
        )

    def _named_too(self, use: Axis, axes: Axes) -> Diagnostic:
        (axis,) = axes
        left = sorted(frozenset(self.names.axes) - use.named)
        helps = (f"write `over {left[0]}`, or leave it out",) if left else ()
        message = f"`{use.function}` cannot run along `{axis}`: it names that axis itself"
        text = f"its `t` would be `{axis}` too"
        return Diagnostic("R229", message, Label(use.span, text), helps=helps)

    def _static(self, operand: Operand, axis: str, runs: Axes) -> Diagnostic:
        name = operand.edge.source.split("'")[0]
        symbol = self.names.symbols.get(name)
        if not runs:
            also = "one value for the whole sequence"
            message, text = f"`{name}` does not change with time", "read with a delay"
            help_ = f"read it as `{name}`"
        else:
            also = f"runs over {listed(sorted(runs))}"
            message, text = f"`{name}` does not run over `{axis}`", f"read along `{axis}`"
            help_ = f"`{name}[{min(runs)}-1]` is its value one step ago"
            if len(runs) == 1:
                help_ += f", and `along({name}, {axis})` what it is at the same step of `{axis}`"
        place = () if symbol is None else (Label(symbol.at, also),)
        return Diagnostic("R210", message, Label(operand.span, text), place, helps=(help_,))


def over(draft: Draft) -> tuple[str, ...]:
    """The time axes that an operation names, which it mostly goes over."""
    options = dict(draft.attributes)
    match options.get("over", options.get("axis")):  # the number of a dimension is no axis
        case str(axis):
            return (axis,)
        case tuple(axes):
            return tuple(map(str, axes))
        case _:
            return ()


def _named(draft: Draft) -> tuple[str, ...]:
    """Every axis that a draft names."""
    delays = (operand.edge.axis for operand in draft.operands if operand.edge.delay)
    return tuple(dict.fromkeys((*delays, *over(draft))))
