"""Random systems of equations, and all solutions of their shapes by force.

They read the past or the future; some values are declared, start from something, or are reset,
and some parameters have sizes that follow from a value's.  The type rules here are written anew,
and the solver tries every shape of a small set for every value: it shares nothing with the
inference of rollc.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np

Shape = tuple[int, ...]
# ("name", v, delay) | ("number",) | ("sized", v) | (operation, option, *trees)
Tree = tuple

LEAVES: dict[str, Shape] = {
    "x": (), "y": (2,), "z": (3,), "p": (), "q": (3,), "r": (2, 2), "A": (2, 2), "B": (3, 2),
    "C": (3, 3), "m": (2, 3),
}  # fmt: skip
DECLARED = "input x, y: [2], z: [3]\nparam " + ", ".join(
    f"{name}: [{', '.join(map(str, shape))}]" if shape else name
    for name, shape in LEAVES.items()
    if name not in "xyz"
)
UNFIT: Shape = (-1,)


def shapes(lengths: int, sides: int) -> list[Shape]:
    vectors = [(length,) for length in range(1, lengths + 1)]
    return [(), *vectors, *product(range(1, sides + 1), repeat=2)]


# The rules


def joined(parts: list[Shape]) -> Shape:
    parts = [part or (1,) for part in parts]
    if any(part[1:] != parts[0][1:] for part in parts):
        return UNFIT
    return (sum(part[0] for part in parts), *parts[0][1:])


def elementwise(parts: list[Shape], alike: bool) -> Shape:
    """What they broadcast to; if they have to be ``alike``, only numbers broadcast."""
    found = {part for part in parts if part}
    if alike:
        return UNFIT if len(found) > 1 else found.pop() if found else ()
    try:
        return np.broadcast_shapes(*found)
    except ValueError:
        return UNFIT


def times(a: Shape, b: Shape) -> Shape:
    return (a[0], *b[1:]) if len(a) == 2 and len(b) in (1, 2) and a[1] == b[0] else UNFIT


def shape_of(tree: Tree, shape: Mapping[str, Shape], alike: bool = False) -> Shape:
    """The shape of an expression, or UNFIT."""
    match tree:
        case ("name", str(name), _):
            return shape[name]
        case ("number",):
            return ()
        case ("sized", str(name)):  # a parameter with as many columns as a value has elements
            return (2, shape[name][0]) if shape[name] else UNFIT
    operation, option, *below = tree
    parts = [shape_of(part, shape, alike) for part in below]
    if UNFIT in parts:
        return UNFIT
    first = parts[0]
    match operation:
        case "elementwise":
            return elementwise(parts, alike)
        case "@":
            return times(*parts)
        case "concat":
            return joined(parts)
        case "whole":  # sum, mean, max of all elements
            return () if first else UNFIT
        case "along":
            return first[:option] + first[option + 1 :] if option < len(first) else UNFIT
        case "dot":
            return () if len(first) == 1 and first == parts[1] else UNFIT
        case "outer":
            return (first[0], parts[1][0]) if [*map(len, parts)] == [1, 1] else UNFIT
        case "transpose":
            return first[::-1] if len(first) == 2 else UNFIT
        case "same":  # softmax
            return first if len(first) == 1 else UNFIT
        case "inverse":
            return first if len(first) == 2 and first[0] == first[1] else UNFIT
        case "slice":
            start, stop = option
            return (stop - start, *first[1:]) if first and stop <= first[0] else UNFIT
        case "element":
            return first[1:] if first and option < first[0] else UNFIT
        case "mse":
            return () if first == parts[1] else UNFIT
    raise AssertionError(operation)


# The systems


def text_of(tree: Tree) -> str:
    match tree:
        case ("name", name, 0):
            return name
        case ("name", name, delay):
            return f"{name}[t{-delay:+d}]"
        case ("number",):
            return "0.5"
        case ("sized", name):
            return f"P{name}"
    operation, option, *below = tree
    parts = [text_of(part) for part in below]
    match operation:
        case "elementwise" if option in "+*-":
            return f"({parts[0]} {option} {parts[1]})"
        case "elementwise" if option == "where":
            return f"where({parts[0]} > 0, {', '.join(parts[1:])})"
        case "elementwise" | "whole":
            return f"{option}({', '.join(parts)})"
        case "@":
            return f"({parts[0]} @ {parts[1]})"
        case "along":
            return f"sum({parts[0]}, axis={option})"
        case "same":
            return f"softmax({parts[0]})"
        case "slice":
            return f"{parts[0]}[{option[0]}:{option[1]}]"
        case "element":
            return f"{parts[0]}[{option}]"
    return f"{operation}({', '.join(parts)})"


def names_of(tree: Tree) -> Iterator[tuple[str, int]]:
    match tree:
        case ("name", name, delay):
            yield name, delay
        case ("sized", name):
            yield name, 0
        case (_, _, *below):
            for part in below:
                yield from names_of(part)


def sized_in(tree: Tree) -> Iterator[str]:
    match tree:
        case ("sized", name):
            yield name
        case ("name", *_):
            return
        case (_, _, *below):
            for part in below:
                yield from sized_in(part)


@dataclass(frozen=True)
class System:
    """Equations by name, and initial values: a name of a leaf each."""

    equations: dict[str, Tree]
    initials: dict[str, str]
    declared: dict[str, Shape]
    resets: tuple[str, ...] = ()
    future: bool = False

    def statements(self) -> list[str]:
        lines = []
        for name, tree in self.equations.items():
            said = ""
            if name in self.declared:
                sizes = list(self.declared[name])
                said = f": {sizes or 'number'}"
            lines.append(f"{name}{said} = {text_of(tree)}")
        sized = {name for tree in self.equations.values() for name in sized_in(tree)}
        lines += [f"param P{name}: [2, size({name})]" for name in sorted(sized)]
        lines += [f"init {name} = {start}" for name, start in self.initials.items()]
        lines += [f"reset {name} when x > 1" for name in self.resets]
        return [*lines, f"output {', '.join(self.equations)}"]

    def text(self) -> str:
        lines = "\n".join(["net system", DECLARED, *self.statements(), ""])
        return lines.replace("[t-", "[t+") if self.future else lines

    def depth(self, name: str) -> int:
        reads = [read for tree in self.equations.values() for read in names_of(tree)]
        return max((delay for read, delay in reads if read == name), default=0)

    def starts(self, name: str, shape: Shape) -> bool:
        if self.declared.get(name, shape) != shape:
            return False
        if name not in self.initials:
            return True
        start = LEAVES[self.initials[name]]
        return start in ((), shape) or (self.depth(name) == start[0] and start[1:] == shape)

    def fits(self, shape: Mapping[str, Shape]) -> bool:
        """Whether shapes of all values are a solution."""
        known = {**LEAVES, **shape}
        return all(
            shape_of(tree, known) == shape[name] and self.starts(name, shape[name])
            for name, tree in self.equations.items()
        )

    def solutions(self, tried: list[Shape], alike: bool = True) -> list[dict[str, Shape]]:
        """All solutions among the shapes that are tried; if ``alike``, only numbers broadcast."""
        names = list(self.equations)
        reads = {
            name: {read for read, _ in names_of(tree) if read not in LEAVES} | {name}
            for name, tree in self.equations.items()
        }
        found: list[dict[str, Shape]] = []

        def choose(place: int, shape: dict[str, Shape]) -> None:
            if place == len(names):
                found.append(dict(shape))
                return
            name = names[place]
            ready = [
                other
                for other in names
                if name in reads[other] and reads[other] <= {*names[: place + 1]}
            ]
            for option in tried:
                shape[name] = option
                known = {**LEAVES, **shape}
                if self.starts(name, option) and all(
                    shape_of(self.equations[other], known, alike) == shape[other] for other in ready
                ):
                    choose(place + 1, shape)
            shape.pop(name, None)

        choose(0, {})
        return found


MILD = ["+", "+", "*", "-", "tanh", "tanh", "where"]
KINDS = [
    *MILD, "*", "@", "@", "concat", "sum", "max", "mean", "along", "dot", "outer", "transpose",
    "same", "slice", "element", "mse", "inverse",
]  # fmt: skip


class Writer:
    def __init__(self, random: Random, values: int) -> None:
        self.random = random
        self.names = [f"v{number}" for number in range(values)]
        self.sized = random.random() < 0.2
        # Half of the systems are of operations that fit most shapes.
        self.kinds = KINDS if random.random() < 0.5 else MILD

    def read(self, owner: int) -> Tree:
        random = self.random
        if random.random() < 0.35:
            return random.choice([("number",), *(("name", name, 0) for name in LEAVES)])
        place = random.randrange(len(self.names))
        if self.sized and random.random() < 0.1:
            return ("sized", self.names[place])
        delay = random.choice([1, 1, 2, 3])
        return ("name", self.names[place], 0 if place < owner and random.random() < 0.5 else delay)

    def tree(self, owner: int, depth: int) -> Tree:
        random = self.random
        if depth == 0 or random.random() < 0.15:
            return self.read(owner)

        def below() -> Tree:
            return self.tree(owner, depth - 1)

        kind = random.choice(self.kinds)
        match kind:
            case "+" | "*" | "-":
                return ("elementwise", kind, below(), below())
            case "tanh":
                return ("elementwise", kind, below())
            case "where":
                return ("elementwise", kind, below(), below(), below())
            case "sum" | "max" | "mean":
                return ("whole", kind, below())
            case "along":
                return (kind, random.choice([0, 1]), below())
            case "slice":
                return (kind, random.choice([(0, 1), (0, 2), (1, 3)]), self.read(owner))
            case "element":
                return (kind, random.choice([0, 2]), self.read(owner))
            case "@" | "concat" | "dot" | "outer" | "mse":
                return (kind, None, below(), below())
            case _:
                return (kind, None, below())

    def system(self) -> System:
        equations = {
            name: self.tree(place, self.random.choice([1, 2, 2, 3]))
            for place, name in enumerate(self.names)
        }
        initials = {
            name: self.random.choice(["p", "q", "q", "r", "A", "B", "C", "m"])
            for name in self.names
            if self.random.random() < 0.4
        }
        declared = {
            name: self.random.choice([(), (2,), (3,), (2, 2)])
            for name in self.names
            if self.random.random() < 0.1
        }
        resets = tuple(name for name in self.names if self.random.random() < 0.1)
        return System(equations, initials, declared, resets, self.random.random() < 0.3)


def system(seed: int) -> System:
    random = Random(seed)
    return Writer(random, random.choice([1, 2, 2, 3])).system()
