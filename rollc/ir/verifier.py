"""The verifier of graphs: every name is looked up, and every type inferred anew.

Graphs are also read from text that people edit, so nothing is assumed here, and nothing raises:
whatever is wrong is returned as data.  The results of passes are verified by the same rules.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from rollc.ir.attribute_flaws import attribute_flaws
from rollc.ir.attributes import ANY_AXIS, LARGEST, MOST_DIMENSIONS
from rollc.ir.graph import BATCH, GIVEN, LEAVES, Attribute, Graph, Node, Type, ordered_axes
from rollc.ir.names import GREEK
from rollc.ir.operations import OPERATIONS, TypeMismatch, operation_of
from rollc.ir.operations.initial_values import RANGE
from rollc.ir.time.delay_axes import axes_of_delays

LONGEST_DELAY = 10**6
NAME = re.compile(rf"~*[A-Za-z_{GREEK}][A-Za-z0-9_.'~:^{GREEK}]*", re.ASCII)
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a node; with the graph itself where the node is None.

    ``line`` is then the beginning of the line of its text, where there is one.
    """

    node: str | None
    problem: str
    line: str = ""

    def __str__(self) -> str:
        return self.problem if self.node is None else f"`{self.node}`: {self.problem}"


def verify(graph: Graph, *, wider: bool = False) -> list[Flaw]:
    """Everything that makes a graph invalid; an empty list where nothing does.

    If ``wider``, nodes may run over more axes than their operands, and have a shape where they
    read a number: they are broadcast, as in a part of a DAG where the other operand is zero.
    """
    inferred = partial(_inferred, wider=wider)
    flaws = list(_frame(graph))
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            flaws.append(Flaw(node.name, "defined twice"))
        seen.add(node.name)
        # Each check relies on those before it.
        for check in (_name, _type, _operation, _leaf, _reads, inferred, _initial):
            problems = list(check(graph, node))
            flaws.extend(Flaw(node.name, problem) for problem in problems)
            if problems:
                break
    for name, axes in axes_of_delays(graph).items():
        if len(axes) > 1:
            along = " and ".join(f"`{axis}`" for axis in axes)
            flaws.append(Flaw(name, f"has delayed reads along {along}: each needs a copy, `along`"))
    return flaws


def _good_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_NAME and bool(NAME.fullmatch(name))


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _frame(graph: Graph) -> Iterator[Flaw]:
    if not _good_name(graph.name):
        yield Flaw(None, "the network's name is no name", "net")
    for axis in graph.axes:
        if not _good_name(axis) or axis == BATCH:
            yield Flaw(None, f"`{axis}` is no name of a time axis", "axis")
    if len(set(graph.axes)) < len(graph.axes):
        yield Flaw(None, "a time axis is given twice", "axis")
    for name, size in graph.dims:
        if not _good_name(name) or not _whole(size, 1, LARGEST):
            yield Flaw(None, f"`{name}` is no size", "dim")
    for kind, pairs in (("output", graph.outputs), ("gradient", graph.gradients)):
        labels = Counter(label for label, _ in pairs)
        for label, name in pairs:
            line = f"{kind} {label}"
            if not _good_name(label) or labels[label] > 1:
                yield Flaw(None, f"{kind} `{label}` is given twice or is no name", line)
            if name not in graph.by_name:
                yield Flaw(None, f"{kind} `{label}` is `{name}`, which does not exist", line)
            elif kind == "gradient":
                yield from (Flaw(None, text, line) for text in _gradient(graph, label, name))
    counts = [steps for _, steps in graph.grid]
    if graph.steps is not None:
        counts.append(graph.steps)
    if not all(_whole(steps, 1, LARGEST) for steps in counts):
        yield Flaw(None, "the number of steps is not positive", "steps")
    if graph.loss is not None:
        node = graph.by_name.get(graph.loss)
        if node is None:
            yield Flaw(None, f"the loss is `{graph.loss}`, which does not exist", "loss")
        elif node.type != Type("float"):
            yield Flaw(None, f"the loss `{graph.loss}` is not one number: {node.type}", "loss")
    # Sizes that are each within bounds can add up to more.
    sizes = [
        size
        for node in graph.nodes
        if node.operation == "param"
        for size in [math.prod(size for size in node.type.shape if _whole(size, 1, LARGEST))]
    ]
    if sum(sizes) > LARGEST:
        yield Flaw(None, f"the parameters have more than {LARGEST} elements together")


def _gradient(graph: Graph, label: str, name: str) -> Iterator[str]:
    leaf = graph.by_name.get(label)
    if leaf is None or leaf.operation not in ("param", "input", "state"):
        yield f"gradient `{label}`: there is no parameter or input of that name"
    elif leaf.type.kind != "float":
        yield f"gradient `{label}`: an index has none"
    elif leaf.options.get("frozen"):
        yield f"gradient `{label}`: the parameter is frozen"
    elif graph[name].type != leaf.type:
        yield f"gradient `{label}` is {graph[name].type}, and `{label}` is {leaf.type}"


def _name(graph: Graph, node: Node) -> Iterator[str]:
    if not _good_name(node.name):
        yield "this is no name"


def _type(graph: Graph, node: Node) -> Iterator[str]:
    type_ = node.type
    if type_.kind not in ("float", "index", "bool"):
        yield f"`{type_.kind}` is no kind of value"
    if len(type_.shape) > MOST_DIMENSIONS or not all(
        _whole(size, 1, LARGEST) for size in type_.shape
    ):
        yield f"a shape has up to {MOST_DIMENSIONS} positive sizes"
    elif math.prod(type_.shape) > LARGEST:
        yield f"more than {LARGEST} elements"
    if not set(type_.axes) <= {*graph.axes, BATCH}:
        yield "runs over an axis that the network does not have"
    elif type_.axes != ordered_axes(type_.axes):
        yield "the axes are not in order: time axes by name, then the batch"
    if type_.kind == "index" and not _whole(type_.bound, 1, LARGEST):
        yield "an index needs the number of its values"
    if type_.kind != "index" and type_.bound is not None:
        yield "only an index has a number of values"


def _operation(graph: Graph, node: Node) -> Iterator[str]:
    if node.operation not in OPERATIONS and node.operation not in LEAVES:
        yield f"there is no operation `{node.operation}`"
        return
    yield from attribute_flaws(node.operation, node.options)
    with_batch = operation_of(node).required.get("axis") is ANY_AXIS
    known = {*graph.axes, *((BATCH,) if with_batch else ())}
    for axis in (node.options.get("axis"), node.options.get("to")):
        if isinstance(axis, str) and axis not in known:
            yield f"`{axis}` is no time axis of the network"
    if len(node.options) != len(node.attributes):
        yield "an attribute is given twice"
    if node.operation in LEAVES:
        if node.operands:
            yield f"`{node.operation}` reads nothing"
    elif not OPERATIONS[node.operation].takes(len(node.operands)):
        yield f"`{node.operation}` does not take {len(node.operands)} operands"


def _leaf(graph: Graph, node: Node) -> Iterator[str]:
    if node.operation not in LEAVES:
        return
    type_ = node.type
    if node.operation == "constant" and (type_.kind == "bool" or type_.shape or type_.axes):
        yield "a constant is one number or index"
    value, bound = node.options.get("value"), type_.bound or 0
    if node.operation == "constant" and type_.kind == "index" and isinstance(value, float):
        whole_number = value.is_integer() and 0 <= value < bound
        if not whole_number:
            yield f"a constant of the type {type_} is a whole number below {bound}"
    if node.operation == "param":
        if type_.axes or type_.kind != "float":
            yield "a parameter is the same at every step, for every sequence"
        else:
            yield from _initialiser(node.options, type_)
    if node.operation in GIVEN and type_.kind == "bool":
        yield "an input holds numbers or an index"


def _initialiser(options: dict[str, Attribute], type_: Type) -> Iterator[str]:
    initialiser = options["initialiser"]
    if initialiser in ("glorot", "orthogonal", "identity") and len(type_.shape) < 2:
        yield f"`{initialiser}` is for matrices"
    elif initialiser == "identity" and type_.shape[-2] != type_.shape[-1]:
        yield "`identity` is for square matrices"
    words = options.get("values")
    if isinstance(words, tuple) and RANGE in [*words] and not type_.shape:
        yield "a number has no range"
    if initialiser == "uniform":
        low, high = options["low"], options["high"]
        if isinstance(low, float) and isinstance(high, float) and low > high:
            yield "the lower bound is above the upper one"


def _reads(graph: Graph, node: Node) -> Iterator[str]:
    for edge in node.operands:
        source = graph.by_name.get(edge.source)
        if source is None:
            yield f"reads `{edge.source}`, which does not exist"
        elif not _whole(edge.delay, -LONGEST_DELAY, LONGEST_DELAY):
            yield f"reads `{edge.source}` with a delay of more than {LONGEST_DELAY} steps"
        elif edge.delay and edge.axis not in source.type.axes:
            yield f"reads `{edge.source}` with a delay over `{edge.axis}`, where it is the same"
        elif edge.delay and edge.axis == BATCH:
            yield f"reads `{edge.source}` with a delay over the batch"
        elif list(_type(graph, source)):
            yield f"reads `{edge.source}`, whose type is wrong"
    if node.initial is not None and node.initial not in graph.by_name:
        yield f"its initial value `{node.initial}` does not exist"


def _inferred(graph: Graph, node: Node, wider: bool = False) -> Iterator[str]:
    if node.operation in LEAVES:
        return
    types = [graph[edge.source].type for edge in node.operands]
    unfit = list(_unfit(node, types))
    if unfit:
        yield from unfit
        return
    try:
        found = OPERATIONS[node.operation].infer(types, node.options)
    except TypeMismatch as mismatch:
        shapes = ", ".join(str(type_) for type_ in types)
        yield f"`{node.operation}` takes {mismatch.expected}, found {shapes}"
        return
    if wider and found is not None and set(found.axes) <= set(node.type.axes):
        found = replace(found, axes=node.type.axes, shape=found.shape or node.type.shape)
    if found != node.type:
        yield f"the type is given as {node.type}, and is {found}"


def _unfit(node: Node, types: list[Type]) -> Iterator[str]:
    """Constraints that the typing rules leave to the passes that make these operations."""
    options = node.options
    dimensions = len(types[0].shape) if types else 0
    size, start = options.get("size", 0), options.get("start", 0)
    axis = options.get("axis", 0)
    match node.operation:
        case "pad" if isinstance(axis, int) and isinstance(size, int) and isinstance(start, int):
            if axis >= dimensions:
                yield f"there is no dimension {axis}"
            elif start + types[0].shape[axis] > size:
                yield "the padded value does not hold its operand"
        case "fill" if dimensions:
            yield "only a number fills a shape"
        case "embed_adjoint" if len(types) == 2 and (dimensions != 1 or types[1].kind != "index"):
            yield "takes a vector and an index"


def _initial(graph: Graph, node: Node) -> Iterator[str]:
    if node.initial is None:
        return
    start, own = graph[node.initial].type, node.type
    reach = graph.reach.get(node.name)
    if start.time and (reach is None or reach.axis in start.time):
        yield f"its initial value `{node.initial}` changes with time"
    if start.kind != own.kind or start.bound != own.bound:
        yield f"its initial value `{node.initial}` is {start}"
    if not set(start.axes) <= set(own.axes):
        yield f"its initial value `{node.initial}` runs over an axis that it does not run over"
    past, future = (0, 0) if reach is None else (reach.past, reach.future)
    depth = 0 if past and future else past + future
    deep = start.shape[1:] == own.shape and len(start.shape) > len(own.shape)
    # Passes remove reads, and leave rows of initial values that nothing reads any more.
    late = graph.stage not in ("graph", "checked") and not (past and future)
    unread = late and deep and start.shape[0] > depth
    if start.shape not in (own.shape, (depth, *own.shape)) and not unread:
        yield f"its initial value `{node.initial}` has another shape: {start}"
