"""Pictures: what boxes say, where they stand, and that nothing lies on anything else."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rollc.drawing import graphviz
from rollc.drawing.diagram import Box
from rollc.drawing.picture import MANY, SUFFIXES, Picture, draw
from rollc.driver.sources import read_spec
from rollc.entries.stage_graphs import kernel_graph, stage_graph
from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.kernel.passes import scheduled
from rollc.network.network import Network
from rollc.support.passes import Runner
from tests.drawing.overlaps import curves, flaws
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(not graphviz.is_there(), reason="there is no Graphviz")
SPECS = ROOT / "specs"
ALL = sorted(path for path in SPECS.rglob("*.roll") if path.parent.name != "cells")


THREE_CELLS = """
net three
use "cells/lstm.roll"
dim D = 6, H = 12, K = 4
input x: [D]
target y: index(K)
param V: [K, H], c: [K]
low = lstm(x; H=H)
middle = lstm(dropout(low, rate=0.2); H=H)
high = lstm(dropout(middle, rate=0.2); H=H)
o = V @ dropout(high, rate=0.2) + c
output o
loss mean(cross_entropy(o, y), over t)
"""


@cache
def graph_of(name: str) -> Graph:
    if name == "three cells":
        return read_spec(THREE_CELLS, "three.roll")[0]
    path = SPECS / f"{name}.roll"
    return read_spec(path.read_text(encoding="utf-8"), path.name)[0]


@cache
def picture_of(name: str, stage: str = "checked", steps: int | None = None) -> Picture:
    return draw(stage_graph(graph_of(name), stage, None, steps))


def said(picture: Picture) -> dict[str, str]:
    """What the lines of each box say."""
    return {box.name: " | ".join(line.text for line in box.lines) for box in picture.diagram.boxes}


def steps_of(graph: Graph) -> int | None:
    return 3 if len(graph.axes) == 1 else None


# What boxes say


def test_the_gates_of_an_lstm_are_gates() -> None:
    """A value that is only read through one function is shown with it, and split once."""
    texts = said(picture_of("lstm"))
    assert texts["i'4"] == "W x + U h[t-1] + b"
    assert texts["f"] == "σ(f) | (…)[32:64]"
    assert texts["g"] == "tanh(g) | (…)[64:96]"
    assert texts["c"] == "c | σ(f) · c[t-1] | + σ(i) · tanh(g)"
    assert texts["h"] == "h | σ(o) · tanh(c)"
    assert "[128, 16]" in texts["'parameters"]


def test_what_is_too_long_is_short_in_the_box_and_whole_in_its_title() -> None:
    boxes = {box.name: box for box in picture_of("sequences/translate", "adjoint").diagram.boxes}
    assert "…" in boxes["~score"].lines[1].text + boxes["~score"].lines[2].text
    assert "…" not in boxes["~score"].title
    assert "float" in boxes["~score"].title
    assert boxes["o"].title == "o = O @ d + o0\nfloat[10] over t, batch, line 28\n" + (
        "parameter O: float[10, 16]\nparameter o0: float[10]"
    )


def test_initial_values_stand_at_the_squares() -> None:
    picture = picture_of("sequences/translate")
    starts = [box for box in picture.diagram.boxes if box.look == "initial"]
    initial = {box.name: box.lines[0].text for box in starts}
    assert initial == {"e'start": "0", "d'start": "last(e, over s)"}
    arrows = {(arrow.source, arrow.target) for arrow in picture.diagram.arrows}
    assert {("e", "d'start"), ("d'start", "d[t-1]"), ("e'start", "e[s-1]")} <= arrows


def test_a_cell_is_a_frame_and_where_there_is_much_a_box() -> None:
    rolled = picture_of("three cells")
    assert [frame.name for frame in rolled.diagram.frames] == ["low", "middle", "high"]
    closed = draw(stage_graph(graph_of("three cells"), "adjoint", None, 3))
    cells = [box.name for box in closed.diagram.boxes if box.look == "cell"]
    assert len(cells) == 3 * 6
    assert len(closed.values.values) <= MANY
    some = draw(stage_graph(graph_of("three cells"), "checked"), opened=["low"])
    assert [frame.name for frame in some.diagram.frames] == ["low"]
    steps = draw(stage_graph(graph_of("three cells"), "dag", None, 2), opened=["low"])
    boxes = {box.name: box for box in steps.diagram.boxes}
    assert boxes["low.h.1"].frames == ("block 0 1", "low t = 1")
    assert boxes["middle.1"].frames == ("block 0 1",)


def test_layers_are_frames_in_a_frame() -> None:
    picture = picture_of("sequences/stacked")
    assert [frame.name for frame in picture.diagram.frames] == ["h", "h.0", "h.1", "h.2"]
    boxes = {box.name: box for box in picture.diagram.boxes}
    assert boxes["h.1.c"].frames == ("h", "h.1")
    assert boxes["h.0"].frames == ("h",)


def test_passes_follow_each_other_down_the_page() -> None:
    picture = picture_of("learning/equilibrium")
    assert not picture.diagram.frames
    places = picture.layout.boxes
    passes = [places[f"{name}.{step}"].top for step in range(1, 8) for name in ("next", "z")]
    assert passes == sorted(passes)
    assert picture.layout.height > picture.layout.width


# Where boxes stand


def columns_of(picture: Picture) -> dict[str, set[float]]:
    """The places of the copies of each value, from the left of their step."""
    found: dict[str, set[float]] = {}
    for box in picture.diagram.boxes:
        base, _, step = box.name.rpartition(".")
        if base and step.isdigit():
            frame, place = picture.layout.frames[box.frames[0]], picture.layout.boxes[box.name]
            assert frame.left < place.left < place.right < frame.right
            found.setdefault(base, set()).add(place.left - frame.left)
    return found


def test_a_column_a_step_with_the_same_places_in_each() -> None:
    picture = picture_of("lstm", "adjoint", 3)
    for places in columns_of(picture).values():
        assert max(places) == pytest.approx(min(places))
    heads = [picture.layout.frames[f"block 0 {step}"] for step in range(3)]
    assert [frame.label for frame in picture.diagram.frames] == ["t = 0", "t = 1", "t = 2"]
    assert heads[0].right < heads[1].left
    assert heads[1].right < heads[2].left
    for step in range(3):  # the network, and its adjoint below
        tops = [picture.layout.boxes[f"{name}.{step}"].top for name in ("h", "p", "~p", "~h")]
        assert tops == sorted(tops)


def test_gradients_of_parameters_go_by_one_bus() -> None:
    picture = picture_of("lstm", "adjoint", 3)
    bus = [arrow for arrow in picture.diagram.arrows if arrow.look == "bus"]
    assert {arrow.target for arrow in bus} == {"'gradients"}
    assert {arrow.source for arrow in bus} == {
        f"{name}.{step}" for name in ("~p", "~i'4") for step in range(3)
    }
    texts = said(picture)["'gradients"]
    assert all(f"~{name}" in texts for name in "WUbVd")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("lstm", ["c[-1] = 0", "h[-1] = 0"], []),
        ("sequences/bidirectional", ["f[-1] = 0"], ["g[3] = 0"]),
    ],
)
def test_values_outside_the_sequence_stand_before_and_behind_it(
    name: str, before: list[str], after: list[str]
) -> None:
    picture = picture_of(name, "dag", 3)
    first, last = (picture.layout.frames[f"block 0 {step}"] for step in (0, 2))
    found: dict[bool, list[str]] = {False: [], True: []}
    for box in picture.diagram.boxes:
        if box.look == "initial":
            place = picture.layout.boxes[box.name]
            assert place.right < first.left or place.left > last.right
            found[place.left > last.right].append(box.lines[0].text)
    assert sorted(found[False]) == before
    assert sorted(found[True]) == after


def test_two_time_axes_are_a_grid() -> None:
    """Encoder on the left, decoder at the bottom, and each pair of steps where theirs meet."""
    graph = stage_graph(graph_of("sequences/translate"), "simplified")
    picture = draw(graph, steps={"s": 3, "t": 2})
    place = picture.layout.boxes
    for s in range(3):
        for t in range(2):
            frame = picture.layout.frames[f"block {s} {t}"]
            assert frame.left < place[f"score.{s}.{t}"].left < frame.right
            assert place[f"e.{s}"].right < frame.left
            assert frame.bottom < place[f"d.{t}"].top
    arrows = {(arrow.source, arrow.target) for arrow in picture.diagram.arrows}
    assert {source for source, target in arrows if target == "score.1.1"} == {"e.1", "d.0"}
    assert {source for source, target in arrows if target == "share.1.1"} == {
        f"score.{s}.1" for s in range(3)
    }
    assert {source for source, target in arrows if target == "context.0"} == {
        *(f"e.{s}" for s in range(3)),
        *(f"share.{s}.0" for s in range(3)),
    }
    assert ("e.2", "d.-1'initial") in arrows  # last(e)
    assert ("e.1", "d.-1'initial") not in arrows
    assert {"e[-1] = 0", "d[-1] = last(e, over s)"} <= {*said(picture).values()}
    assert flaws(picture.svg()) == []
    adjoint = draw(stage_graph(graph_of("sequences/translate"), "adjoint"), steps={"s": 2, "t": 2})
    assert flaws(adjoint.svg()) == []


def test_a_recurrence_over_two_axes_is_a_grid_with_its_borders() -> None:
    """Each value outside is what is said over its axes, and reads the step of it that it is."""
    graph = stage_graph(graph_of("sequences/edit_distance"), "simplified")
    picture = draw(graph, steps={"s": 2, "t": 3})
    texts = {*said(picture).values()}
    assert {"d[-1, -1] = 0", "d[-1, 2] = columns", "d[0, -1] = rows"} <= texts
    arrows = {(arrow.source, arrow.target) for arrow in picture.diagram.arrows}
    assert {source for source, target in arrows if target == "d.1.0"} == {
        *("a.1", "b.0", "moved.1.0", "d.0.-1'initial")
    }
    assert ("columns.2", "d.-1.2'initial") in arrows
    assert ("rows.0", "d.0.-1'initial") in arrows
    assert flaws(picture.svg()) == []
    # Nothing comes from behind the end: where no cotangent arrives, nothing is read.
    adjoint = draw(stage_graph(graph_of("sequences/warping"), "adjoint"), steps={"s": 2, "t": 2})
    outside = {box.lines[0].text for box in adjoint.diagram.boxes if box.look == "initial"}
    assert outside == {
        *("r[-1, -1] = 0", "r[-1, 0] = far", "r[-1, 1] = far", "r[0, -1] = far", "r[1, -1] = far")
    }
    assert flaws(adjoint.svg()) == []
    # Rolled, each axis has its own initial value at its square.
    circuit = draw(graph)
    arrows = {(arrow.source, arrow.target) for arrow in circuit.diagram.arrows}
    assert {("rows", "d[t-1]'start"), ("columns", "d[s-1]'start")} <= arrows


def test_regions_of_a_schedule_are_frames() -> None:
    run = Runner()
    picture = draw(scheduled(kernel_graph(graph_of("lstm"), "schedule", None, run), run))
    labels = [frame.label for frame in picture.diagram.frames]
    assert labels.count("loop over t, from the first step") == 1
    assert labels.count("loop over t, from the last step") == 1
    boxes = {box.name: box for box in picture.diagram.boxes}
    names = {frame.name: frame.label for frame in picture.diagram.frames}
    assert names[boxes["h"].frames[0]] == "loop over t, from the first step"
    assert names[boxes["p"].frames[0]] == "all steps"
    assert flaws(picture.svg()) == []


# Nothing on anything else


@pytest.mark.parametrize("name", ["lstm", "sequences/stacked", "sequences/translate"])
def test_no_box_is_on_a_box_and_no_arrow_on_a_label(name: str) -> None:
    graph = graph_of(name)
    assert flaws(draw(graph).svg()) == []
    assert flaws(draw(stage_graph(graph, "adjoint", None, steps_of(graph))).svg()) == []


@pytest.mark.long
@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(SPECS)))
def test_of_all_specs_nothing_is_on_anything_else(path: Path) -> None:
    graph, _ = read_spec(path.read_text(encoding="utf-8"), path.name)
    for shown in (
        graph,
        stage_graph(graph, "adjoint"),
        stage_graph(graph, "dag" if steps_of(graph) else "checked", None, steps_of(graph)),
        stage_graph(graph, "adjoint", None, steps_of(graph)),
    ):
        assert flaws(draw(shown).svg()) == [], shown.stage
    if len(graph.axes) > 1:
        steps = dict(zip(graph.axes, (3, 2), strict=True))
        assert flaws(draw(stage_graph(graph, "adjoint"), steps=steps).svg()) == []


def moved(svg: str, name: str, x: float, y: float) -> str:
    """A picture with the middle of a box elsewhere."""
    width, height = map(
        float,
        re.search(
            rf'data-name="{name}">.*?<rect [^>]*width="([\d.]+)" height="([\d.]+)"', svg, re.DOTALL
        ).groups(),
    )
    place = f'x="{x - width / 2:.1f}" y="{y - height / 2:.1f}"'
    pattern = rf'(data-name="{name}">.*?<rect )x="[\d.]+" y="[\d.]+"'
    return re.sub(pattern, rf"\1{place}", svg, count=1, flags=re.DOTALL)


def test_overlaps_are_found() -> None:
    """Of a box that is moved onto another, and onto an arrow."""
    picture = picture_of("lstm")
    svg = picture.svg()
    assert flaws(svg) == []
    onto = flaws(moved(svg, "x", *picture.layout.boxes["c"].middle))
    assert {"x on c", "c on x"} & {*onto}
    _, x, y = next(curve for curve in curves(ElementTree.fromstring(svg)) if curve[0] == "h → p")
    assert "h → p through x" in flaws(moved(svg, "x", x[len(x) // 2], y[len(y) // 2]))


def test_texts_are_inside_of_their_boxes() -> None:
    picture = picture_of("three cells", "adjoint", 3)
    for box in picture.diagram.boxes:
        place = picture.layout.boxes[box.name]
        assert isinstance(box, Box)
        if box.look != "square":
            assert max(line.width for line in box.lines) < place.right - place.left


# Files


@pytest.fixture(scope="module")
def small() -> Picture:
    return picture_of("sequences/labels")


def test_every_format_is_written(small: Picture, tmp_path: Path) -> None:
    starts = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".tex": b"% "}
    for suffix in SUFFIXES:
        small.save(tmp_path / f"picture{suffix}")
        content = (tmp_path / f"picture{suffix}").read_bytes()
        assert content.startswith(starts.get(suffix, b"digraph")), suffix


def test_another_ending_is_refused(small: Picture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has to end in \.svg, \.png"):
        small.save(tmp_path / "picture.gif")
    assert list(tmp_path.iterdir()) == []


def test_an_svg_has_no_script_and_a_title_for_each_part(small: Picture) -> None:
    root = ElementTree.fromstring(small.svg())
    tags = {element.tag.partition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "rect", "g", "text", "path", "polygon"}
    groups = [element for element in root.iter() if element.tag.endswith("}g")]
    assert all(group[0].tag.endswith("}title") and group[0].text for group in groups)


def test_themes(small: Picture) -> None:
    assert "prefers-color-scheme: dark" in small.svg()
    light, dark = (draw(small.values.graph, theme=theme).svg() for theme in ("light", "dark"))
    assert "prefers-color-scheme" not in light + dark
    assert '#ffffff"' in light
    assert '#ffffff"' not in dark
    with pytest.raises(InputError, match="expected as `theme` auto, light or dark, found `red`"):
        draw(small.values.graph, theme="red")


def test_tikz_is_balanced_and_escaped(small: Picture) -> None:
    text = small.tikz()
    assert text.count(r"\begin{tikzpicture}") == text.count(r"\end{tikzpicture}") == 1
    plain = re.sub(r"\\[{}]", "", text)
    depth = 0
    for mark in plain:
        depth += (mark == "{") - (mark == "}")
        assert depth >= 0
    assert depth == 0
    statements = [line for line in text.splitlines() if line.startswith((r"\path", r"\node"))]
    assert all(line.endswith(";") for line in statements)
    assert len(statements) > 2 * len(small.diagram.boxes)
    assert all(ord(mark) < 128 for mark in text)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX")
def test_latex_takes_the_tikz(tmp_path: Path) -> None:
    picture_of("lstm", "adjoint", 2).save(tmp_path / "lstm.tex")
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{tikz}"
        r"\begin{document}\input{lstm}\end{document}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_cell_that_is_not_there_is_named() -> None:
    graph = graph_of("three cells")
    with pytest.raises(InputError, match="no cell `lwo`; did you mean `low`"):
        draw(graph, opened=["lwo"])
    with pytest.raises(InputError, match="no cell `low`; it has none"):
        draw(graph_of("lstm"), opened=["low"])


def test_too_many_boxes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not laid out; a text of them can be had."""
    monkeypatch.setattr("rollc.drawing.picture.MOST", 10)
    with pytest.raises(InputError, match="of 11 boxes cannot be read, and 10 are the most"):
        draw(graph_of("lstm")).svg()
    assert draw(graph_of("lstm")).dot().startswith("digraph")
    graph = graph_of("sequences/translate")
    with pytest.raises(InputError, match=r"of [0-9]{7} boxes"):
        draw(graph, steps={"s": 1000, "t": 1000}).svg()


# From Python


def test_a_network_draws_itself(tmp_path: Path) -> None:
    net = Network(graph_of("lstm"), lambda kernel: pytest.fail(f"`{kernel}` is not needed"))
    picture = net.draw()
    assert picture._repr_svg_() == picture_of("lstm").svg()
    net.draw("adjoint", steps=2, theme="dark").save(tmp_path / "lstm.pdf")
    assert (tmp_path / "lstm.pdf").read_bytes().startswith(b"%PDF")
    assert [frame.label for frame in net.draw(steps=2).diagram.frames] == ["t = 0", "t = 1"]
    assert "loop over t" in net.draw("schedule").svg()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "adjont"}, "expected as `stage` graph, .* found `adjont`"),
        ({"stage": "dag"}, "give `steps`"),
        ({"steps": 0}, "`steps`: expected a whole number from 1 on, found 0"),
        ({"steps": {"s": 2}}, "`steps`: there is no time axis `s`, but `t`"),
        ({"steps": 2, "stage": "schedule"}, "leave out `steps`"),
        ({"kernel": "vjp"}, "`kernel` has no effect on `checked`"),
        ({"stage": "adjoint", "kernel": "no"}, "`lstm` has no `no` kernel; it has `forward`"),
        ({"opened": "low"}, "`opened`: expected cells, found `low`"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments: dict[str, Any], message: str) -> None:
    net = Network(graph_of("lstm"), lambda kernel: pytest.fail(f"`{kernel}` is not needed"))
    with pytest.raises(InputError, match=message):
        net.draw(**arguments)
