"""Residuals: what is added to the result of a cell has its shape, and nothing is broadcast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rollc.lang.diagnostics.diagnostic import Diagnostic, Label
from rollc.lang.diagnostics.source import Span
from rollc.lang.elaboration.drafts import Drafts
from rollc.lang.inference.shapes import Inference
from rollc.lang.syntax.ast import Agreement, Spec


def residuals(
    spec: Spec, drafts: Drafts, inference: Inference, found: Iterable[Diagnostic]
) -> Iterator[Diagnostic]:
    """What is found wrong with types, with one message for a residual of two shapes."""
    wrong: dict[Span, Diagnostic] = {}
    for item in spec.of(Agreement):
        names = (item.name, *item.states)
        given, state, *others = (inference.types.get(drafts.node_of(one.name)) for one in names)
        if given is None or state is None or given.kind != state.kind:
            continue
        shape = state.shape
        if others:
            shape = (len(item.states) * (shape[0] if shape else 1), *shape[1:])
        if given.shape != shape:
            into, out = map(_shown, (given.shape, shape))
            message = f"a residual adds {into}, which comes in, to {out}, which comes out"
            help_ = "let a use without it come first: `low = gru(x; H=8)`"
            problem = Diagnostic("R237", message, Label(item.span), helps=(help_,))
            wrong.setdefault(item.span, problem)
    yield from wrong.values()
    places = {(span.start, span.end) for span in wrong}
    for problem in found:
        at = problem.at.span if problem.at is not None else None
        if at is None or (at.start, at.end) not in places:
            yield problem


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else "a number"
