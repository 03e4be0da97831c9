"""The findings of the causality check as diagnostics that show the cycles in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rollc.ir.graph import Graph
from rollc.ir.time.causality import (
    AlongTwoAxes,
    BothDirections,
    CycleWithoutDelay,
    Finding,
    Link,
    NeedsWhole,
    check,
    total,
)
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.symbols.table import listed, shown

MOST_SHOWN = 40  # links of one cycle


def unbroken(findings: Sequence[Finding], graph: Graph | None) -> Sequence[Finding]:
    """Those whose cycles the graph has too: one of complex values can break up in their parts."""
    if graph is None or not findings:
        return findings
    left = {owner(name) for name in blocked(check(graph).findings)}
    return [each for each in findings if not left.isdisjoint(map(owner, blocked([each])))]


def blocked(findings: Iterable[Finding]) -> set[str]:
    """The nodes of the cycles that cannot be run."""
    return {link.reader for finding in findings for link in _links(finding)}


def _links(finding: Finding) -> tuple[Link, ...]:
    match finding:
        case CycleWithoutDelay(cycle) | NeedsWhole(_, cycle, _):
            return cycle
        case BothDirections(past, future) | AlongTwoAxes(past, future):
            return (*past, *future)


def cycle_diagnostics(
    findings: Iterable[Finding],
    places: Mapping[tuple[str, int], Span],
    axes: Sequence[str],
    source: Source,
) -> Iterator[Diagnostic]:
    """One diagnostic for each finding; ``places`` are the spans of operands in the source.

    ``axes`` are the time axes of the network.
    """
    for finding in findings:
        match finding:
            case CycleWithoutDelay(cycle):
                yield _without_delay(cycle, places, axes, source)
            case NeedsWhole(node, cycle, renames):
                yield _needs_whole(node, cycle, places, renames)
            case BothDirections(past, future):
                yield _both_directions(past, future, places)
            case AlongTwoAxes(first, second):
                yield _along_two_axes(first, second, places)


def owner(node: str) -> str:
    """The name, as the spec has it, whose equation a node belongs to."""
    return node.split("'")[0]


def _shown(cycle: Iterable[Link]) -> list[Link]:
    """The links that are written in the text: those that read a name (or a copy of one)."""
    links = list(cycle)
    return [link for link in links if "'" not in link.edge.source] or links


def _label(link: Link, places: Mapping[tuple[str, int], Span]) -> Label:
    reader, source = owner(link.reader), owner(link.edge.source)
    read = f"`{source}`" if source != reader else "itself"
    when = "at the same step"
    if link.edge.delay:
        steps = abs(link.edge.delay)
        side = "ago" if link.edge.delay > 0 else "ahead"
        when = f"{steps} step{'s' if steps > 1 else ''} {side}"
    return Label(places[link.reader, link.operand], f"`{reader}` reads {read} {when}")


def _labels(
    links: Iterable[Link], places: Mapping[tuple[str, int], Span]
) -> tuple[Label, tuple[Label, ...]]:
    labels = sorted(
        dict.fromkeys(_label(link, places) for link in links), key=lambda label: label.span
    )
    return labels[0], tuple(labels[1:MOST_SHOWN])


def _path(cycle: Iterable[Link]) -> str:
    """Who reads whom, from one name back to it."""
    names = [f"`{owner(link.edge.source)}`" for link in reversed(_shown(cycle))]
    if len(names) > MOST_SHOWN:
        names[MOST_SHOWN:] = [f"… {len(names) - MOST_SHOWN} more, of which the last"]
    return " reads ".join((*names, names[0]))


def _without_delay(
    cycle: tuple[Link, ...],
    places: Mapping[tuple[str, int], Span],
    axes: Sequence[str],
    source: Source,
) -> Diagnostic:
    links = _shown(cycle)
    at, also = _labels(links, places)
    read = _as_written(links[0], places, source)
    forms = " or ".join(f"`{read}[{axis}-1]`" for axis in axes)
    edits: tuple[Edit, ...] = ()
    help_ = f"read one of them with a delay, as in {forms}"
    if len(links) == len(axes) == 1 and source.text_of(at.span) == read and at.span.use is None:
        help_, end = f"read it with a delay: {forms}", at.span.end
        edits = (Edit(Span(end, end), f"[{axes[0]}-1]"),)
    notes = (_path(cycle),)
    return Diagnostic("R301", "cycle without a delay", at, also, notes, (help_,), edits=edits)


def _as_written(link: Link, places: Mapping[tuple[str, int], Span], source: Source) -> str:
    """What a link reads, as it stands there: a name, or an element of an array."""
    name = shown(link.edge.source)
    text = source.text_of(places[link.reader, link.operand])
    return text if re.fullmatch(rf"{name}(\[[^][]+\])*", text) else name


def _needs_whole(
    node: str, cycle: tuple[Link, ...], places: Mapping[tuple[str, int], Span], renames: bool
) -> Diagnostic:
    help_ = "a value over the steps, or an initial one, must not depend on itself"
    if all(link.operand != -1 for link in cycle):
        help_ = "what is known of the steps so far is a chain: `s = s[t-1] + h[t-1]`"
    if renames:
        help_ = "`along` takes what is known at all steps before, such as what an input gives"
    labels = [
        Label(places[link.reader, link.operand], f"`{owner(link.edge.source)}` is needed here")
        for link in _shown(cycle)
    ]
    labels += [
        Label(places[link.reader, -1], f"the initial value of `{owner(link.reader)}`")
        for link in cycle
        if link.operand == -1
    ]
    at, *also = sorted(labels, key=lambda label: label.span)
    return Diagnostic(
        "R303",
        f"`{owner(node)}` needs a whole sequence that cannot be computed without it",
        at,
        tuple(also[:MOST_SHOWN]),
        notes=(_path(cycle),),
        helps=(help_,),
    )


def _both_directions(
    past: tuple[Link, ...], future: tuple[Link, ...], places: Mapping[tuple[str, int], Span]
) -> Diagnostic:
    cycles = dict.fromkeys((past, future))
    at, also = _labels([link for cycle in cycles for link in _shown(cycle)], places)
    if total(past) == 0:
        title = "delays that lead back to the same step"
        help_ = "change one of them: a value cannot be computed from itself at the same step"
    else:
        title = "cycles into the past and into the future that need each other"
        help_ = "let one chain run from the first step and another from the last, and join them"
    notes = tuple(f"{_path(cycle)}: {_sum(cycle)}" for cycle in cycles)
    return Diagnostic("R302", title, at, also, notes=notes, helps=(help_,))


def _along_two_axes(
    first: tuple[Link, ...], second: tuple[Link, ...], places: Mapping[tuple[str, int], Span]
) -> Diagnostic:
    delayed = [link for link in (*first, *second) if link.edge.delay]
    labels = {_label(link, places): link.edge.axis for link in delayed}
    at, *also = sorted(
        (Label(label.span, f"{label.text} along `{axis}`") for label, axis in labels.items()),
        key=lambda label: label.span,
    )
    axes = listed(sorted({link.edge.axis for link in delayed}))
    return Diagnostic(
        "R305",
        f"delays along {axes} that depend on each other",
        at,
        tuple(also[:MOST_SHOWN]),
        notes=("no order of the steps along both axes has all of them before",),
        helps=("let all delays along an axis be into the past, or all into the future",),
    )


def _sum(cycle: tuple[Link, ...]) -> str:
    """The total delay of a cycle, in words."""
    steps = total(cycle)
    if steps == 0:
        return "0 steps in total"
    side = "back" if steps > 0 else "ahead"
    return f"{abs(steps)} step{'s' if abs(steps) > 1 else ''} {side} in total"
