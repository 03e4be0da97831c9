"""``rollc report``: one file, which a browser shows and in which pointing has its effect."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rollc.driver.loop_times import LoopTimes, loop_times
from rollc.driver.pipeline import Compiled
from rollc.driver.sources import read_spec
from rollc.kernel.program import Program
from rollc.tools.cli import main
from rollc.tools.cli.data_commands import reporting
from rollc.tools.report import page as pages
from rollc.tools.report.assembly import Code, parsed
from rollc.tools.report.collect import Given, stages

TEXT = """\
net two
dim H = 3
input x: [H]
target y
param W: [H, H], v: [H]
h = tanh(W @ h[t-1] + x)
o = dot(v, h)
output o
loss mean((o - y) ** 2, over t)  # <b> & "quoted"
"""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


ASSEMBLY = """
.LBB0_2:
\t.loc\t1 {line} 5
\tvfmadd213ps\t%zmm1, %zmm2, %zmm0
\tjne\t.LBB0_2
"""


def code_of(made: Compiled, dtype: str, backend: str | None) -> tuple[Code, ...]:
    """Assembly of the line of the kernel that computes h, without a compiler."""
    lines = made.source.splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "v_h = " in text)
    return (parsed("primal", ASSEMBLY.format(line=line)),)


def interpreted(program: Program, *given: object) -> LoopTimes:
    """The times of a program, without a compiler."""
    return loop_times(program, *given[:-1], "reference")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    (folder / "two.roll").write_text(TEXT)
    random = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=random.normal(size=(9, 2, 3)), y=random.normal(size=(9, 2)))
    words = ["report", str(folder / "two.roll"), "--inputs", str(folder / "data.npz")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "assembly_of", code_of)
        patch.setattr(reporting, "loop_times", interpreted)
        patch.setattr(reporting, "operations_a_second", lambda dtype: 1e12)
        assert main([*words, "--unroll", "3", "-o", str(folder / "two.html")]) == 0
    return (folder / "two.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page: str) -> None:
    assert len(page) < 3_000_000
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(|<b> & "quoted""", page)
    assert "&lt;b&gt; &amp; &quot;quoted&quot;" in page
    for title in ("adjoint", "schedule", "remarks", "program", "kernel", "unrolled", "passes"):
        assert f">{title}" in page or f": {title}" in page or f'value="{title}"' in page
    assert page.count('data-steps="') == 3  # over 1, 2 and 3 steps
    assert "vfmadd" not in page and "1 on vectors of 512 bits, 1 fused multiply-add" in page
    assert "norm of the gradient" in page and "of the 1 T that multiply-adds" in page


def test_a_page_that_would_be_too_large_has_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = read_spec(TEXT, "two.roll", {}, "taught")
    found = stages(Given(TEXT, graph), "forward", 3)
    whole = pages.page("two", found, "none")
    monkeypatch.setattr(pages, "LARGEST", len(whole) - 1)
    smaller = pages.page("two", found, "none")
    assert whole.count('data-steps="') == 3 and smaller.count('data-steps="') == 2
    monkeypatch.setattr(pages, "LARGEST", 1)
    assert 'data-steps="' not in pages.page("two", found, "none")


def in_browser(page: str, script: str, folder: Path) -> dict[str, object]:
    """What a script finds, once it has done to the page what a person would."""
    if BROWSER is None:
        pytest.skip("no Chromium")
    run = f"(async () => {{ {script} }})().then((found) => document.title = JSON.stringify(found))"
    done = f"<script>{run}</script></body>"
    (folder / "driven.html").write_text(page.replace("</body>", done), encoding="utf-8")
    shown = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            "--virtual-time-budget=3000",
            *(f"--user-data-dir={folder}/profile", (folder / "driven.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<title>(.*?)</title>", shown.stdout)
    assert found is not None
    return dict(json.loads(found[1]))


TOOLS = """
const lines = (where) => [...document.querySelectorAll(where + " .l")];
const seen = (where) => lines(where).filter((line) => line.offsetParent !== null);
const lit = (where, how) => seen(where).filter((line) => line.classList.contains(how))
  .map((line) => line.textContent.trim().split(/ +/)[0]);
const choose = (section, key) => { const select = document.querySelector(section + " select");
  select.value = key; select.dispatchEvent(new Event("change")); };
const key = (name, at = document.body) =>
  at.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const line = (text) => lines("#spec").find((line) => line.textContent.includes(text));
"""


@pytest.mark.long
def test_pointing_lights_up_what_belongs_together(page: str, tmp_path: Path) -> None:
    script = f"""{TOOLS}
    const boxes = () => [...document.querySelectorAll("#first .box.same")]
      .map((box) => box.dataset.name).filter((name) => !name.includes("'"));
    choose("#first", "simplified");
    line("h = tanh").dispatchEvent(new MouseEvent("mouseover", {{ bubbles: true }}));
    const pointed = lit("#first", "same"), lit_boxes = boxes();
    line("o = dot").click();
    const dark = [...document.querySelectorAll("#first .pane")]
      .filter((pane) => pane.querySelector(".l, .box") && !pane.querySelector(".same"))
      .map((pane) => pane.dataset.key);
    choose("#first", "schedule");
    const pinned = [...new Set(lit("#first", "same"))];
    const kernel = lit("#second", "same").length;
    const near = lit("#first", "near"), reads = lit("#second", "reads");
    key("Escape");
    const free = lit("#first", "same").length;
    choose("#first", "graph-picture");
    const box = document.querySelector("#first .box[data-name=h]");
    box.focus();
    key("Enter", box);
    const from_box = lit("#spec", "same");
    return {{ pointed, boxes: lit_boxes, dark, pinned, kernel, near, reads, free, from_box }};
    """
    found = in_browser(page, script, tmp_path)
    assert found["dark"] == ["assembly"]  # which is of another line
    assert found["from_box"] == ["6h"]
    assert found["pointed"] == ["h'1", "h'2", "h"] and {"h", "h.1"} <= set(found["boxes"])
    assert {"o", "~o", "~o:1"} <= set(found["pinned"])
    assert not {"h", "~h"} & set(found["pinned"])
    assert found["kernel"] > 3 and found["free"] == 0
    assert "v_loss_1" in found["reads"]
    assert "~v" in found["near"]


@pytest.mark.long
def test_slider_search_and_keys(page: str, tmp_path: Path) -> None:
    script = f"""{TOOLS}
    choose("#first", "unrolled");
    const slider = document.querySelector("#first input[type=range]");
    const before = seen("#first").length;
    slider.value = 1; slider.dispatchEvent(new Event("input"));
    const after = seen("#first").length;
    const search = document.getElementById("search");
    search.value = "tanh("; search.dispatchEvent(new Event("input"));
    key("Enter", search);
    const focused = document.activeElement.textContent;
    key("Enter", document.activeElement);
    const kept = lit("#spec", "same").length;
    key("ArrowDown", document.activeElement);
    return {{ before, after, found: document.getElementById("count").textContent, focused, kept,
      moved: document.activeElement.textContent }};
    """
    found = in_browser(page, script, tmp_path)
    assert found["before"] > found["after"] > 5
    assert re.fullmatch(r"\d+ lines", str(found["found"]))
    assert "tanh(" in str(found["focused"]) and found["kept"] == 1
    assert str(found["moved"]).strip().startswith("7o = dot")


@pytest.mark.long
def test_assembly_is_unpacked_when_it_is_asked_for(page: str, tmp_path: Path) -> None:
    script = f"""{TOOLS}
    choose("#first", "assembly");
    line("h = tanh").click();
    const folded = lit("#first", "same");
    for (const fold of document.querySelectorAll("#first details[data-from]")) fold.open = true;
    await new Promise((done) => setTimeout(done, 500));
    const rows = seen("#first").filter((line) => line.textContent.includes("zmm"));
    rows[0].click();
    const found = rows.map((row) => row.textContent.trim()), near = lit("#second", "same");
    choose("#first", "times");
    return {{ folded, rows: found, lit: near, timed: lit("#first", "same") }};
    """
    found = in_browser(page, script, tmp_path)
    assert found["folded"] == ["loop"] and len(list(found["timed"])) >= 2
    assert found["rows"] == ["▪  vfmadd213ps %zmm1, %zmm2, %zmm0"] * 2
    assert "v_h" in list(found["lit"])


def test_wrong_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two.roll").write_text(TEXT)
    spec, html = str(tmp_path / "two.roll"), str(tmp_path / "two.html")
    for words, message in (
        ([spec, "-o", spec], "is to be written as .html"),
        ([spec, "-o", html, "--params", "p.npz"], "without `--inputs`"),
        (["nothing.roll", "-o", html], "no file"),
    ):
        assert main(["report", *words]) == 2, words
        assert message in capsys.readouterr().err.replace("\n", " "), words
    assert not (tmp_path / "two.html").exists()
