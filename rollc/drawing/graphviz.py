"""Graphviz: the program ``dot`` where it is on PATH, else the library in pygraphviz's wheels.

Either runs in a process of its own, which a time limit can end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Literal

from rollc.errors import InputError

Engine = Literal["dot", "nop2"]
PROGRAM = "dot"
LONGEST = 120  # seconds
_BY_LIBRARY = """
import sys, warnings
import pygraphviz
warnings.simplefilter("ignore")
text = sys.stdin.buffer.read().decode("utf-8")
graph = pygraphviz.AGraph(string=text)
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog=sys.argv[2]))
"""


def is_there() -> bool:
    """Whether there is a Graphviz to draw with."""
    return shutil.which(PROGRAM) is not None or find_spec("pygraphviz") is not None


def run(dot: str, form: str, engine: Engine = "dot") -> bytes:
    """What an engine of Graphviz makes of a text; ``nop2`` leaves all at the places that it has.

    Raises :class:`InputError` where it cannot."""
    if shutil.which(PROGRAM) is not None:
        command = [PROGRAM, f"-K{engine}", f"-T{form}"]
    elif find_spec("pygraphviz") is not None:
        command = [sys.executable, "-c", _BY_LIBRARY, form, engine]
    else:
        raise InputError(
            "there is no Graphviz to draw with: `pip install 'rollc[draw]'` brings it, or write a"
            " .dot file"
        )
    try:
        done = subprocess.run(
            command,
            input=dot.encode("utf-8", errors="replace"),
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
    except OSError as error:
        raise InputError(f"cannot start `{command[0]}`: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise InputError(
            f"Graphviz has not drawn it in {LONGEST} s: draw fewer steps, or write a .dot file"
        ) from None
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise InputError(f"Graphviz could not draw it: {said[-1] if said else done.returncode}")
    return done.stdout
