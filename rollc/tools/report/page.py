"""The report as one HTML file, which needs nothing else: no network, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from rollc.network.diagnosis.flow import Flow
from rollc.support.chart import chart
from rollc.tools.report.collect import Change, Pane, Stages
from rollc.tools.report.origins import Line

FIRST, SECOND = "graph", "kernel"
"""What the two panes beside the spec show at first, where there is no picture."""


def page(name: str, found: Stages, flows: Sequence[Flow] = (), notes: Sequence[str] = ()) -> str:
    """The page; ``notes`` are what is to be said of the flows."""
    asset = files("rollc.tools.report").joinpath
    panes = [
        *(("picture", "picture", _picture(pane)) for pane in found.panes if pane.picture),
        *((pane.key, pane.title, _text(pane)) for pane in found.panes),
        *([("unrolled", "unrolled", _unrolled(found.unrolled))] if found.unrolled else []),
        ("passes", "passes", _passes(found.changes)),
        *([("flow", "values and gradients", _flow(flows, notes))] if flows else []),
    ]
    first = panes[0][0] if found.panes[0].picture else FIRST
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(name)}: from the text to the kernel</title>
<style>
{asset("page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{escape(name)}</h1>
<span class="about">every stage, from the text to the kernel {escape(found.kernel)} — point
at a line, click to keep it; <kbd>/</kbd> searches, <kbd>n</kbd> goes on, <kbd>Esc</kbd> lets
go</span>
<label>search <input id="search" type="search"></label> <output id="count"></output>
</header>
<main>
<section id="spec"><div class="head">the spec</div><div class="body">
{_pre(found.spec, numbered=True)}</div></section>
{_section("first", panes, first)}
{_section("second", panes, SECOND)}
</main>
<script>
{asset("page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _section(name: str, panes: Sequence[tuple[str, str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{key}"{" selected" * (key == chosen)}>{escape(title)}</option>'
        for key, title, _ in panes
    )
    bodies = "".join(
        f'<div class="pane" data-key="{key}" hidden>{body}</div>' for key, _, body in panes
    )
    select = f'<select aria-label="what the {name} pane shows">{options}</select>'
    return (
        f'<section class="stages" id="{name}">'
        f'<div class="head"><label>show {select}</label></div>'
        f'<div class="body">{bodies}</div></section>'
    )


def _picture(pane: Pane) -> str:
    return f'<div class="picture">{pane.picture}</div>'


def _text(pane: Pane) -> str:
    return f"<p>{escape(pane.about)}</p>{_pre(pane.lines)}"


def _pre(lines: Iterable[Line], numbered: bool = False) -> str:
    shown = []
    for number, line in enumerate(lines, 1):
        data = ""
        if line.origins:
            data += f' data-l="{" ".join(map(str, line.origins))}"'
        if line.names:
            data += f' data-n="{escape(" ".join(line.names))}"'
        focus = ' tabindex="0"' if data else ""
        head = f'<span class="n">{number}</span>' if numbered else ""
        shown.append(f'<span class="l"{data}{focus}>{head}{escape(line.text)}</span>')
    return f"<pre>{''.join(shown)}</pre>"


def _unrolled(panes: Sequence[Pane]) -> str:
    parts = "".join(
        f'<div data-steps="{count}" hidden>{_picture(pane) * bool(pane.picture)}'
        f"{_pre(pane.lines)}</div>"
        for count, pane in enumerate(panes, 1)
    )
    last = len(panes)
    slider = f'<input type="range" min="1" max="{last}" value="{min(3, last)}" aria-label="steps">'
    return f"<p>over {slider} <output></output> steps: no edge has a delay</p>{parts}"


def _passes(changes: Sequence[Change]) -> str:
    """Each pass that changed something, with what it says of itself and its difference."""
    parts = []
    for change in changes:
        shown = "".join(
            f'<span class="l {_side(line)}">{escape(line)}</span>' for line in change.difference
        )
        difference = f"<pre>{shown}</pre>" if shown else "<p>makes another form of it</p>"
        parts.append(
            f"<details><summary>{escape(change.name)} <span>{1000 * change.seconds:.1f} ms —"
            f" {escape(change.guarantees)}</span></summary>"
            f"<p>needs {escape(change.needs)}</p>{difference}</details>"
        )
    return "".join(parts) or "<p>no pass changed anything</p>"


def _side(line: str) -> str:
    return {"+": "plus", "-": "minus"}.get(line[:1], "")


def _flow(flows: Sequence[Flow], notes: Sequence[str]) -> str:
    parts = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    for title, norms in (
        ("norm of the gradient", {f.name: f.adjoint for f in flows if f.adjoint is not None}),
        ("norm of the value", {f.name: f.value for f in flows}),
    ):
        curves = {
            name: [
                (float(at), float(norm)) for at, norm in enumerate(each) if 0 < norm < float("inf")
            ]
            for name, each in norms.items()
        }
        curves = {name: points for name, points in curves.items() if points}
        if curves:
            parts += chart(curves, "step", title).decode()
    return parts
