"""``draw``: a picture of a graph, made by Graphviz."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from rollc.driver.stages import Choice
from rollc.errors import InputError
from rollc.ir.text import parse_graph
from rollc.tools import files
from rollc.tools.cli import building, effect
from rollc.tools.draw.dot import draw_dot

if TYPE_CHECKING:
    from rollc.lang.elaboration.expressions import Feed

PROGRAM = "dot"
TEXT = (".dot", ".gv")
PICTURES = (".svg", ".png", ".pdf")
LONGEST = 120  # seconds


def draw(
    spec: str,
    output: str,
    stage: str,
    kernel: str | None,
    steps: int | None,
    every_node: bool,
    sets: Mapping[str, int],
    feed: Feed,
) -> None:
    """Write a picture of a stage, or the text that Graphviz makes one of."""
    suffix = PurePath(output).suffix.lower()
    if output != files.STREAM and suffix not in TEXT + PICTURES:
        known = ", ".join(TEXT + PICTURES)
        raise InputError(f"cannot tell from `{output}` what to write: it has to end in {known}")
    files.check_outputs(output, keep=[spec])
    if stage != "adjoint":
        effect.refuse(["kernel"], f"on `{stage}`, which is of the network itself")
    if steps is not None and stage != "adjoint" and kernel is None:
        stage = "dag"
    text = building.stage_text(spec, sets, Choice(stage, kernel, steps, feed=feed))
    dot = draw_dot(parse_graph(text), every_node)
    if suffix in PICTURES:
        files.write_bytes(output, picture(dot, suffix.removeprefix(".")))
    else:
        files.write_text(output, dot)


def picture(dot: str, form: str) -> bytes:
    """What Graphviz makes of a text.  Raises :class:`InputError` where it cannot."""
    try:
        done = subprocess.run(
            [PROGRAM, f"-T{form}"],
            input=dot.encode("utf-8", errors="replace"),
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(
            "there is no program `dot` to draw with: install Graphviz, or write a .dot file"
        ) from None
    except OSError as error:
        raise InputError(f"cannot start `{PROGRAM}`: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise InputError(
            f"`{PROGRAM}` has not drawn it in {LONGEST} s: draw fewer steps, or write a .dot file"
        ) from None
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise InputError(f"`{PROGRAM}` could not draw it: {said[0] if said else done.returncode}")
    return done.stdout
