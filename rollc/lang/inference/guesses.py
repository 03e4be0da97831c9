"""Guesses of shapes that do not follow from known ones, on cycles without declared types.

Such cycles are solved in topological order.  In a cycle

1. a value has the shape of its initial value or, where that can have a row for each step, of
   one row: both are tried;
2. else every product with a known matrix has a vector as its operand;
3. else a value that combines with numbers alone is a number (or an index, with indices alone);
4. else a value has the one shape that satisfies everything.

A guess is propagated, and retracted where it leads to a contradiction (backtracking).  Where none
of these rules succeeds, the solution is the unique one, if there is one.  Where both readings of
an initial value are solutions, it is ambiguous.

The result does not depend on the order of the drafts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import networkx as nx

from rollc.ir.graph import Shape, Type
from rollc.ir.operations import TypeMismatch
from rollc.lang.inference.shapes import Inference, Trail
from rollc.lang.symbols.derivatives import RULES
from rollc.lang.symbols.untyped_node import Draft

MOST_RISES = 12  # times that the bound of a guessed index rises: then it grows without end
MOST_WORK = 50_000  # nodes of one group that get a type by one guess among others
DEEPEST = 100  # guesses among others that depend on each other
MOST_SHOWN = 8  # of the initial values in one group that have two readings
MOST_LENGTHS = 12  # that a shape of which nothing is known is made of
Guess = dict[str, Type]


def complete(inference: Inference) -> None:
    """Find every type that can be found: those that follow, then those that can be guessed."""
    inference.prepare()
    if not _open(inference):
        return
    unfit = inference.spread(inference.drafts)
    shapes = _shapes(inference)
    for group in _groups(inference):
        _Group(inference, group, shapes, inference.doubtful | unfit).complete()


def _open(inference: Inference) -> list[str]:
    return [
        name
        for name in inference.drafts
        if name not in inference.types and name not in inference.doubtful
    ]


def _groups(inference: Inference) -> Iterator[list[str]]:
    """The nodes without types, with all that the same rule is about in one group."""
    open_ = _open(inference)
    known = set(open_)
    network: nx.Graph[str] = nx.Graph()
    network.add_nodes_from(open_)
    for name in inference.drafts:
        about = [node for node in (name, *inference.reads(name)) if node in known]
        nx.add_path(network, about)
    place = {name: number for number, name in enumerate(open_)}
    for members in nx.connected_components(network):
        yield sorted(members, key=place.__getitem__)


def _shapes(inference: Inference) -> list[Shape]:
    """The candidate shapes of a value of which nothing is known.

    They consist of the shapes of the spec, and of its lengths, their sums and their differences.
    """
    known = [type_.shape for type_ in inference.types.values()]
    lengths = {1, *(length for shape in known for length in shape)}
    lengths |= {type_.bound for type_ in inference.types.values() if type_.bound}
    for draft in inference.drafts.values():
        if draft.cut is not None and draft.cut.stop is not None:
            lengths |= {draft.cut.stop, draft.cut.stop - draft.cut.start}
    few = sorted(lengths)[:MOST_LENGTHS]
    far = lengths | {a + b for a in few for b in few} | {a - b for a in few for b in few if a > b}
    pairs = {(rows, columns) for rows in few for columns in few}
    return sorted({(), *((length,) for length in far), *pairs, *known})


class _TooMuch(Exception):
    """More guesses than can be tried."""


class _Group:
    """Nodes without types that depend on no others without types.

    ``excused`` are nodes that are known to be erroneous.
    """

    def __init__(
        self,
        inference: Inference,
        names: Sequence[str],
        shapes: Sequence[Shape],
        excused: set[str],
    ) -> None:
        self.inference = inference
        self.types = inference.types
        self.names = names
        self.layers = self.in_layers()
        self.shapes = shapes
        self.excused = excused
        self.work, self.deep = 0, 0
        self.cut_short = False  # whether the last search was
        self.tried: set[str] = set()  # what two readings of an initial value were tried of
        self.final = inference.axes is not None  # no draft is missing

    def complete(self) -> None:
        found = self.solutions(by_rule=True)
        if not found and self.final and not self.cut_short:
            found = self.alike(by_rule=False) or self.solutions(by_rule=False)
            self.take(found[0] if len(found) == 1 and not self.cut_short else None)
            return
        # Where it would take too long to find out, what is meant can be declared.
        ambiguous = self.tried if self.cut_short else self.ambiguous(found)
        self.inference.ambiguous |= ambiguous
        if ambiguous and not self.final:
            return  # no size may follow from one of the readings
        if len(found) > 1 and not (ambiguous or self.cut_short):
            found = self.alike(by_rule=True)
        told = found and (ambiguous or len(found) == 1)
        self.take(found[0] if told else None)

    def alike(self, by_rule: bool) -> list[dict[str, Type]]:
        """The solutions where only numbers broadcast: one of them is meant, if there is one."""
        self.inference.alike = True
        found = self.solutions(by_rule)
        self.inference.alike = False
        return [] if self.cut_short else found

    def take(self, types: Mapping[str, Type] | None) -> None:
        """Assign types to the nodes.

        Without a solution the first guesses are assigned, for the sake of diagnostics.
        """
        if types is not None:
            self.types.update(types)
            self.inference.spread([*types, *self.inference.readers(types)])  # others can get wider
            return
        for layer in self.layers:
            while guess := self.first_guess(self.open_cycles(layer)):
                self.types.update(guess)
                self.inference.spread([*guess, *self.inference.readers(guess)])

    def first_guess(self, cycles: Sequence[Sequence[str]]) -> Guess:
        guess: Guess = {}
        for cycle in cycles:
            readings = {name: self.readings(name) for name in cycle}
            first = {name: known[0] for name, known in readings.items() if known}
            guess.update(first or self.by_rule(cycle))
        return guess

    # Trying

    def solutions(self, by_rule: bool, most: int = 2) -> list[dict[str, Type]]:
        """The types of the nodes, in the ways that fit: up to ``most`` of them."""
        found: list[dict[str, Type]] = []
        self.work, self.deep, self.cut_short = 0, 0, False
        try:
            self.solve(by_rule, found, most, 0)
        except _TooMuch:
            self.cut_short = True
        return found

    def solve(self, by_rule: bool, found: list[dict[str, Type]], most: int, layer: int) -> None:
        """Find the solutions with the types that are known now; ``layer`` is the first open one."""
        trail: Trail = []
        self.deep += 1
        try:
            options: list[Guess] = []
            while len(options) <= 1 and layer < len(self.layers):
                cycles = self.open_cycles(self.layers[layer])
                options = self.options(cycles, by_rule) if cycles else []
                if not options and cycles and self.final:
                    options = self.any_shape(cycles[0])
                    by_rule = False  # if it is the only one, it is so whatever else there can be
                if options[1:]:
                    break
                if options and not self.assume(options[0], trail):
                    return
                if not options and cycles and self.final:
                    return
                layer += not options
            if not options:  # where more may be known later, not all need be known
                found.append(self.known())
            for guess in options:
                if self.work > max(MOST_WORK, 10 * len(self.names)) or self.deep > DEEPEST:
                    raise _TooMuch
                start = len(trail)
                if len(found) < most and self.assume(guess, trail):
                    self.solve(by_rule, found, most, layer)
                self.take_back(trail[start:])
                del trail[start:]
        finally:
            self.deep -= 1
            self.take_back(trail)

    def known(self) -> dict[str, Type]:
        return {name: self.types[name] for name in self.names if name in self.types}

    def ambiguous(self, found: Sequence[Mapping[str, Type]]) -> set[str]:
        """The nodes whose initial value has two readings that fit."""
        tried = sorted(self.tried, key=self.names.index)
        differ = {name for name in tried if len({types.get(name) for types in found}) > 1}
        # Where one is known already, not all of many need be shown.
        others = [name for name in tried if name not in differ][: MOST_SHOWN if differ else None]
        return differ | {name for name in others if self.both_fit(name)}

    def both_fit(self, name: str) -> bool:
        """Whether both readings of an initial value fit, of a node that has no type."""
        fit = 0
        for reading in self.readings(name):
            trail: Trail = []
            if self.assume({name: reading}, trail):
                fit += bool(self.solutions(by_rule=False, most=1)) or self.cut_short
            self.take_back(trail)
        return fit > 1

    def assume(self, guess: Guess, trail: Trail) -> bool:
        """Whether a guess leads to no contradiction; ``trail`` gets the nodes that it gives a type.

        An index that is guessed has the least bound that its cycle allows.
        """
        for _ in range(MOST_RISES):
            start = len(trail)
            trail.extend((name, self.types.get(name)) for name in guess)
            self.types.update(guess)
            self.inference.loose.difference_update(guess)
            about = [*guess, *self.inference.readers(guess)]
            unfit = self.inference.spread(about, trail, self.excused) - self.excused
            self.work += 1 + len(trail) - start
            if not unfit:
                return True
            risen = self.risen(guess)
            if not risen:
                return False
            guess = {**guess, **risen}
            self.take_back(trail[start:])
            del trail[start:]
        return False

    def risen(self, guess: Guess) -> Guess:
        """The indices among guesses whose bound has to be larger."""
        risen: Guess = {}
        for name, type_ in guess.items():
            if type_.kind == "index":
                found = self.told(name, self.inference.exact)
                if found is not None and (found.bound or 0) > (type_.bound or 0):
                    risen[name] = found
        return risen

    def take_back(self, trail: Sequence[tuple[str, Type | None]]) -> None:
        for name, before in reversed(trail):
            if before is None:
                self.types.pop(name, None)
                self.inference.loose.discard(name)
            else:
                self.types[name] = before

    # Guesses

    def in_layers(self) -> list[list[str]]:
        """The nodes: of the cycles that read no other, of those that read the former, and so on."""
        order = nx.condensation(self.network(self.names))
        place = {name: number for number, name in enumerate(self.names)}
        layers = (
            [name for number in layer for name in order.nodes[number]["members"]]
            for layer in nx.topological_generations(order)
        )
        return [sorted(layer, key=place.__getitem__) for layer in layers]

    def network(self, names: Sequence[str]) -> nx.DiGraph[str]:
        """Which of the nodes reads which."""
        network: nx.DiGraph[str] = nx.DiGraph()
        network.add_nodes_from(names)
        for name in names:
            reads = [read for read in self.inference.reads(name) if read in network]
            network.add_edges_from((read, name) for read in reads)
        return network

    def open_cycles(self, layer: Sequence[str]) -> list[list[str]]:
        """The cycles without types in a layer that read no other in it."""
        open_ = [name for name in layer if name not in self.types]
        order = nx.condensation(self.network(open_))
        place = {name: number for number, name in enumerate(open_)}
        first = [order.nodes[number]["members"] for number in order if not order.in_degree(number)]
        cycles = [sorted(members, key=place.__getitem__) for members in first]
        return sorted(cycles, key=lambda cycle: place[cycle[0]])

    def told_before(self, name: str, cycle: Collection[str]) -> bool:
        """Whether all that a node reads has a type, but for those in its cycle."""
        return all(read in self.types or read in cycle for read in self.inference.reads(name))

    def options(self, cycles: Sequence[Sequence[str]], by_rule: bool) -> list[Guess]:
        """The guesses of which one must be right; none where there is nothing to go by."""
        for name in (name for cycle in cycles for name in cycle):
            if readings := self.readings(name):
                self.tried.update([name] * (by_rule and len(readings) > 1))
                return [{name: reading} for reading in readings]
        guess: Guess = {}
        for cycle in cycles if by_rule else ():
            guess.update(self.by_rule(cycle))
        return [guess] if guess else []

    def any_shape(self, cycle: Sequence[str]) -> list[Guess]:
        """Every shape, for the node that most others read: a sure number, if there is one."""
        inference = self.inference
        read = Counter(source for name in cycle for source in set(inference.reads(name)))
        drafts = {name: inference.drafts[name] for name in cycle}
        gives = {name: RULES[draft.operation].gives for name, draft in drafts.items()}
        floats = [name for name in cycle if gives[name] != "index"]
        if not floats:
            return []
        # A row of an initial value, which is cut out here, is what the value is.
        told = (name for name in floats if gives[name] in ("float", "bool"))
        sure = [name for name in told if drafts[name].cut is None]
        name = max(sure or floats, key=read.__getitem__)
        types = [Type("float", shape) for shape in self.shapes]
        return [{name: inference.as_operation_has_it(name, type_)} for type_ in types]

    def readings(self, name: str) -> list[Type]:
        """The types that a node can have for its initial value to fit; none where all do."""
        start = self.inference.start(name)
        if start is None or (start.kind == "float" and not start.shape):
            return []
        shapes = [start.shape]
        if start.shape and start.shape[0] == self.inference.depth(name):
            shapes.append(start.shape[1:])
        return [self.inference.placed(name, replace(start, shape=shape)) for shape in shapes]

    def by_rule(self, cycle: Sequence[str]) -> Guess:
        """A vector at every product with a known matrix; else a number at every number."""
        products = {name: self.told(name, self.inference.product) for name in cycle}
        # What a cycle reads may be no number: where no draft is missing it is known by now.
        told = self.final or all(self.told_before(name, cycle) for name in cycle)
        numbers = {name: self.told(name, self.as_number) for name in cycle if told}
        for guesses in (products, numbers):
            guess = {name: type_ for name, type_ in guesses.items() if type_ is not None}
            if guess:
                return guess
        return {}

    def as_number(self, draft: Draft) -> Type | None:
        start = self.inference.start(draft.name)
        if start is not None:
            return self.inference.as_operation_has_it(draft.name, start)
        return self.inference.partial(draft, numbers=True)

    def told(self, name: str, rule: Callable[[Draft], Type | None]) -> Type | None:
        """What a rule says of the type of a node; None too where it does not fit."""
        try:
            return rule(self.inference.drafts[name])
        except TypeMismatch:
            return None
