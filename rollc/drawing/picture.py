"""A picture of a graph or a schedule: its parts, their places, and the files that show it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from math import prod
from os import PathLike, fspath
from pathlib import Path, PurePath

from rollc.drawing import graphviz
from rollc.drawing.circuit import circuit
from rollc.drawing.copies import copies_in_grid, copies_of_dag
from rollc.drawing.diagram import Diagram, Frame
from rollc.drawing.folding.cells import cells, with_closed_cells
from rollc.drawing.folding.folding import Folded, folded, is_adjoint, unfolded
from rollc.drawing.folding.initial_values import with_initial_nodes
from rollc.drawing.formats.dot import print_dot
from rollc.drawing.formats.svg import print_svg
from rollc.drawing.formats.theme import THEMES, Theme
from rollc.drawing.formats.tikz import print_tikz
from rollc.drawing.layout import lay_out
from rollc.drawing.places import Layout
from rollc.drawing.unrolled import unrolled
from rollc.errors import InputError
from rollc.ir.graph import LEAVES, Graph
from rollc.ir.time.wavefront import print_diagonals
from rollc.kernel.schedule import Region, Schedule
from rollc.support.atomic_files import write_file
from rollc.support.checks import choice, switch, words

MANY = 60
"""Boxes, at most, of a picture whose cells are open, and without frames around values."""
MOST = 1000
ALL = "all"
TEXT = (".dot", ".gv")
SUFFIXES = (".svg", ".png", ".pdf", ".tex", *TEXT)


@dataclass(frozen=True)
class Picture:
    """A picture; a notebook shows it as SVG.  :meth:`rollc.Network.draw` makes it.

    Attributes
    ----------
    diagram : Diagram
        Its boxes, arrows and frames.
    layout : Layout
        Their places.
    """

    values: Folded
    frames: Mapping[str, Frame] | None = None
    theme: Theme = "auto"
    grid: Mapping[str, int] | None = None

    @cached_property
    def _drawn(self) -> tuple[Diagram, Layout]:
        table = not self.values.every
        if (count := self._count()) > MOST:
            raise InputError(
                f"a picture of {count} boxes cannot be read, and {MOST} are the most: draw fewer"
                " steps, or no single nodes"
            )
        if self.grid is not None:
            return unrolled(copies_in_grid(self.values, self.grid), table)
        if self.values.graph.steps is not None and self.frames is None:
            return unrolled(copies_of_dag(self.values), table)
        diagram = circuit(self.values, self.frames, table)
        return diagram, lay_out(diagram)

    def _count(self) -> int:
        if self.grid is None:
            return len(self.values.values)
        return sum(
            prod(self.grid[axis] for axis in value.node.type.time) for value in self.values.values
        )

    @property
    def diagram(self) -> Diagram:
        return self._drawn[0]

    @property
    def layout(self) -> Layout:
        return self._drawn[1]

    def dot(self) -> str:
        """The text that Graphviz makes a picture of; it needs no Graphviz.

        Returns
        -------
        str
        """
        frames = self.frames
        if self.values.graph.steps is not None and frames is None:
            frames = {
                name: Frame(f"step {step}", f"t = {step}", "step")
                for name, (_, step) in self.values.copies.items()
            }
        return print_dot(circuit(self.values, frames, table=not self.values.every), self.theme)

    def svg(self) -> str:
        """The picture as SVG.

        Returns
        -------
        str

        Raises
        ------
        InputError
            Where there is no Graphviz.
        """
        return print_svg(*self._drawn, self.theme)

    def tikz(self) -> str:
        """The picture for LaTeX: a ``tikzpicture``.

        Returns
        -------
        str
        """
        return print_tikz(*self._drawn)

    def content(self, suffix: str) -> bytes:
        """What a file of the picture has in it.

        Parameters
        ----------
        suffix : str
            Its ending: ``.svg``, ``.png``, ``.pdf``, ``.tex``, ``.dot`` or ``.gv``.

        Returns
        -------
        bytes

        Raises
        ------
        InputError
            For another ending, and where there is no Graphviz to lay it out.
        """
        match suffix:
            case ".svg":
                return self.svg().encode()
            case ".tex":
                return self.tikz().encode()
            case ".png" | ".pdf":
                text = print_dot(self.diagram, self.theme, self.layout)
                return graphviz.run(text, suffix.removeprefix("."), "nop2")
            case ".dot" | ".gv":
                return self.dot().encode()
        known = ", ".join(SUFFIXES)
        raise InputError(f"there is no picture as `{suffix}`: a file has to end in {known}")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture.

        Parameters
        ----------
        path : str or path
            A file, whose ending says in which format (:meth:`content`).
        """
        write_file(Path(path), self.content(suffix_of(fspath(path))))

    def _repr_svg_(self) -> str:
        return self.svg()


def suffix_of(path: str) -> str:
    """The ending of a picture's file.  Raises :class:`InputError` where it says no format."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"cannot tell from `{path}` what to write: it has to end in {known}")
    return suffix


def draw(
    shown: Graph | Schedule,
    *,
    every_node: bool = False,
    opened: Collection[str] | None = None,
    theme: str = "auto",
    steps: Mapping[str, int] | None = None,
) -> Picture:
    """The picture of a graph, unrolled or not, or of a schedule with its regions as frames.

    ``steps`` are those of a graph with two time axes, which is then drawn as a grid of them.
    ``every_node`` has a box for each operation; ``opened`` are the cells that are not one box each,
    ``("all",)`` for all of them, None for all if there are no more than 60 boxes then.  Raises
    :class:`InputError` for cells and themes that there are not; a picture of more than 1000 boxes
    has a text, but is not laid out.
    """
    theme = choice("as `theme`", theme, THEMES)
    if steps is not None and every_node:
        raise InputError("the grid of two time axes has named values, and no single nodes")
    every_node = switch("`every_node`", every_node)
    frames = None if isinstance(shown, Graph) else _regions(shown)
    graph = shown if isinstance(shown, Graph) else shown.graph
    if graph.steps is not None and not every_node:
        graph = with_initial_nodes(graph)
    regions = {name: frame.name for name, frame in (frames or {}).items()}
    values = unfolded(graph) if every_node else folded(graph, regions)
    if frames is None and not every_node:
        if steps is not None and opened is None:
            opened = (ALL,)  # what is in a cell may run along either axis
        values = with_closed_cells(values, _opened(values, opened))
    elif opened is not None:
        why = "every node is drawn" if every_node else "a schedule has regions"
        raise InputError(f"cells cannot be opened where {why}")
    rolled = steps is None and graph.steps is None and frames is None
    if rolled and len(values.values) > MANY and not cells(values):
        frames = _by_value(values)
    return Picture(values, frames, next(known for known in THEMES if known == theme), steps)


def _opened(values: Folded, wanted: Collection[str] | None) -> frozenset[str]:
    known = cells(values)
    if wanted is None:
        return frozenset(known if len(values.values) <= MANY else ())
    wanted = words("`opened`", wanted, "cells")
    if wanted == (ALL,):
        return frozenset(known)
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            named = ", ".join(f"`{cell}`" for cell in known)
            there = f"it has {named}" if known else "it has none"
            hint = f"did you mean `{near[0]}`?" if near else there
            raise InputError(f"`{values.graph.name}` has no cell `{name}`; {hint}")
    return frozenset(wanted)


def _regions(planned: Schedule) -> dict[str, Frame]:
    """The frame of each node of a schedule, but for leaves, that of its region."""
    found: dict[str, Frame] = {}
    for number, region in enumerate(planned.regions):
        back = region.phase != "primal"
        frame = Frame(f"region {number}", _words(region), "region", adjoint=back)
        for item in region.items:
            if item.node.operation not in LEAVES:
                found.setdefault(item.node.name, frame)
    return found


def _words(region: Region) -> str:
    if region.kind == "free":
        return "all steps"
    way = "first" if region.kind == "forward" else "last"
    if region.across:
        diagonals = print_diagonals(region.across, region.axis, region.weights)
        return f"loop over the diagonals {diagonals}, from the {way}"
    return f"loop over {region.axis}, from the {way} step"


def _by_value(values: Folded) -> dict[str, Frame]:
    """A frame around each named value with the nodes that only have names of its own."""
    owners: dict[str, list[str]] = {}
    for value in values.values:
        name = value.node.name
        owner = name.split("'")[0].split(":")[0].split("^")[0]
        if value.node.operation not in LEAVES:
            owners.setdefault(owner, []).append(name)
    return {
        name: Frame(f"value {owner}", owner, "value", adjoint=is_adjoint(owner))
        for owner, names in owners.items()
        if len(names) > 1
        for name in names
    }
