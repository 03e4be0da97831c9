"""The report as one HTML file, which needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from typing import Any

from rollc.driver.loop_times import LoopTimes
from rollc.network.diagnosis.flow import Flow
from rollc.support.chart import chart
from rollc.tools.report.assembly import Code
from rollc.tools.report.collect import Change, Pane, Stages
from rollc.tools.report.origins import Line
from rollc.tools.report.times import amount, rows, summary, time_text

LARGEST = 3_000_000
"""The characters of a page, for which the last steps of the unrolled graph are left out."""
FIRST, SECOND = "graph", "kernel"
"""What the two panes beside the spec show at first, where there is no picture."""


def page(name: str, found: Stages, *more: Any) -> str:
    """The page, no larger than :data:`LARGEST` if fewer unrolled steps are enough for that.

    ``more`` are the arguments of :func:`_page`.
    """
    text = _page(name, found, *more)
    while len(text) > LARGEST and found.unrolled:
        found = replace(found, unrolled=found.unrolled[:-1])
        text = _page(name, found, *more)
    return text


def _page(
    name: str,
    found: Stages,
    assembly: Sequence[Code] | str,
    times: LoopTimes | str = "",
    peak: float | None = None,
    flows: Sequence[Flow] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page; ``notes`` are to be said of the flows.

    ``assembly`` and ``times`` can be why there are none; ``peak`` is of the machine, a second.
    """
    asset = files("rollc.tools.report").joinpath
    panes = [
        *(
            (f"{pane.key}-picture", f"picture of the {pane.title}", _picture(pane))
            for pane in found.panes
            if pane.picture
        ),
        *((pane.key, pane.title, _text(pane)) for pane in found.panes),
        *([("unrolled", "unrolled", _unrolled(found.unrolled))] if found.unrolled else []),
        ("assembly", "assembly", _assembly(found, assembly)),
        ("passes", "passes", _passes(found.changes)),
        *([("times", "times of its parts", _times(times, peak))] if times else []),
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
{_section("second", panes, SECOND, empty=True)}
</main>
<script>
{asset("page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _section(
    name: str, panes: Sequence[tuple[str, str, str]], chosen: str, empty: bool = False
) -> str:
    """A part of the page that shows one of the panes; those of an ``empty`` one are copied."""
    options = "".join(
        f'<option value="{key}"{" selected" * (key == chosen)}>{escape(title)}</option>'
        for key, title, _ in panes
    )
    bodies = "".join(
        f'<div class="pane" data-key="{key}" hidden>{body}</div>'
        for key, _, body in ([] if empty else panes)
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
        data = _data(line)
        focus = ' tabindex="0"' if data else ""
        head = f'<span class="n">{number}</span>' if numbered else ""
        shown.append(f'<span class="l"{data}{focus}>{head}{escape(line.text)}</span>')
    return f"<pre>{''.join(shown)}</pre>"


def _data(line: Line) -> str:
    """What the script reads of a line."""
    data = ""
    if line.origins:
        data += f' data-l="{" ".join(map(str, line.origins))}"'
    if line.names:
        data += f' data-n="{escape(" ".join(line.names))}"'
    if line.reads:
        data += f' data-r="{escape(" ".join(line.reads))}"'
    return data


def _unrolled(panes: Sequence[Pane]) -> str:
    parts = "".join(
        f'<div data-steps="{count}" hidden>{_picture(pane) * bool(pane.picture)}'
        f"{_pre(pane.lines)}</div>"
        for count, pane in enumerate(panes, 1)
    )
    last = len(panes)
    slider = f'<input type="range" min="1" max="{last}" value="{min(3, last)}" aria-label="steps">'
    return f"<p>over {slider} <output></output> steps: no edge has a delay</p>{parts}"


def _times(times: LoopTimes | str, peak: float | None) -> str:
    """A table of the parts of the kernel, with their times; or why there is none."""
    if isinstance(times, str):
        return f"<p>There are none: {escape(times)}.</p>"
    parts = [f"<p>{escape(text)}</p>" for text in summary(times, peak)]
    phase = ""
    body = ""
    for row in rows(times):
        if row.phase != phase:
            phase = row.phase
            heads = (phase, "time", "share", "operations", "bytes")
            body += f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"
        numbers = (
            time_text(row.seconds),
            f"{100 * row.share:.1f}%",
            *(
                f"{amount(count)}<br><span>{amount(row.rate(count))}/s</span>"
                for count in (row.operations, row.bytes)
            ),
        )
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        bar = f'<i style="width:{100 * row.share:.1f}%"></i>'
        body += (
            f'<tr class="l"{_data(row.line)} tabindex="0"><td>{escape(row.line.text)}'
            f"<span>{escape(row.where)}</span>{bar}</td>{cells}</tr>"
        )
    return f"{parts[0]}<table>{body}</table>{''.join(parts[1:])}"


def _assembly(found: Stages, assembly: Sequence[Code] | str) -> str:
    """The inner loops of each function, folded, and all of it; or why there is none."""
    if isinstance(assembly, str):
        return f"<p>There is none: {escape(assembly)}.</p>"
    kernel = next(pane.lines for pane in found.panes if pane.key == "kernel")
    parts = [
        "<p>The machine code of the kernel on the machine that wrote this page, by its inner"
        " loops: what comes from a line of the kernel lights up with it, and instructions on"
        " vectors have a mark.  Functions of the library that it calls follow.</p>"
    ]
    for code in assembly:
        own = any(one.line for one in code.instructions)
        packed = base64.b64encode(zlib.compress(code.rows().encode(), 9)).decode()
        folds = "".join(_folded(code, span, kernel if own else ()) for span in code.loops)
        folds += _folded(code)
        head = f"{escape(code.name)} <span>{len(code.loops)} inner loops</span>"
        body = f'<div class="code" data-packed="{packed}">{folds}</div>'
        if own:
            parts.append(f"<h3>{head}</h3>{body}")
        else:
            parts.append(f'<details class="routine"><summary>{head}</summary>{body}</details>')
    return "".join(parts)


def _folded(code: Code, loop: tuple[int, int] | None = None, kernel: Sequence[Line] = ()) -> str:
    """A loop or all of the instructions, which are unpacked when they are asked for."""
    span = loop or (0, len(code.instructions))
    lines = [kernel[number - 1] for number in code.lines(*span) if number <= len(kernel)]
    origins = sorted({origin for line in lines for origin in line.origins})
    names = dict.fromkeys(name for line in lines for name in line.names)
    title = _of_lines(origins, tuple(names)) if loop else "all of it"
    data = _data(Line("", tuple(origins), tuple(names)))
    said = f"{escape(title)} <span>{escape(code.summary(*span))}</span>"
    return (
        f'<details data-from="{span[0]}" data-stop="{span[1]}"><summary class="l"{data}>{said}'
        "</summary></details>"
    )


def _of_lines(lines: Sequence[int], names: Sequence[str]) -> str:
    """``loop of lines 3, 5`` of the spec, or of values where there is no line."""
    if not lines:
        return f"loop of {', '.join(names)}" if names else "loop"
    return f"loop of line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}"


def _passes(changes: Sequence[Change]) -> str:
    """Each pass with its time, what it says of itself, and its difference if it made one."""
    parts = [f"<p>{len(changes)} runs of passes, {time_text(sum(c.seconds for c in changes))}</p>"]
    for change in changes:
        said = f"{1000 * change.seconds:.1f} ms — {change.guarantees}"
        head = f"{escape(change.name)} <span>{escape(said)}</span>"
        if not change.changed:
            parts.append(f'<div class="unchanged">{head} <span>(changed nothing)</span></div>')
            continue
        shown = "".join(
            f'<span class="l {_side(line.text)}"{_data(line)}>{escape(line.text)}</span>'
            for line in change.difference
        )
        difference = f"<pre>{shown}</pre>" if shown else "<p>makes another form of it</p>"
        needs = f"<p>needs {escape(change.needs)}</p>"
        parts.append(f"<details><summary>{head}</summary>{needs}{difference}</details>")
    return "".join(parts)


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
