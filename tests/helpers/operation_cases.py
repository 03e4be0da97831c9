"""Every operation of the table in small networks: alone, and inside a cycle.

A case says what an operation's operands are; the networks follow from that.  Each operand
in turn is the state of a recurrence: inside its cycle where the result runs over time,
after it where the result is one for the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import BATCH, LEAVES, Attribute, Graph, Type
from rollc.ir.operations import OPERATIONS, Operation

Array = NDArray[Any]

OVER = ("t", BATCH)
NUMBER = Type("float", (), OVER)
HEADS = Type("float", (2, 3), OVER)
CUBE = Type("float", (2, 3, 4), OVER)
VECTOR = Type("float", (3,), OVER)
LONGER = Type("float", (4,), OVER)
MATRIX = Type("float", (3, 4), OVER)
TALL = Type("float", (4, 2), OVER)
SQUARE = Type("float", (3, 3), OVER)
WEIGHT = Type("float", (3, 4))
WEIGHTS = Type("float", (2, 3, 4))
STATIC = Type("float", (3,), (BATCH,))
INDEX = Type("index", (), OVER, 3)
LARGE_INDEX = Type("index", (), OVER, 5)
ROWS = Type("float", (2, 3), (BATCH,))
END = Type("index", (), (BATCH,), 9)  # a step, before, inside or behind the sequence
SWITCH = Type("bool", (), OVER)
CONDITION = Type("bool", (3,), OVER)
SIZES = {"s": 4, "t": 4, BATCH: 2}


def anywhere(x: Value) -> Value:
    return x


def positive(x: Value) -> Value:
    return call("exp", call("tanh", x) * 0.5)


def negative(x: Value) -> Value:
    return -positive(x)


def regular(x: Value) -> Value:
    """A matrix that has an inverse, and whose rows change places on the way to it."""
    one = call("fill", call("sum", x) * 0.0 + 1.0, shape=(1,))
    turn = [call("pad", one, start=place, size=3) for place in (1, 2, 0)]
    return call("stack", *turn) + call("tanh", x) * 0.3


def definite(x: Value) -> Value:
    """A matrix whose symmetric part is positive definite."""
    one = call("fill", call("sum", x) * 0.0 + 2.0, shape=(1,))
    diagonal = [call("pad", one, start=place, size=3) for place in range(3)]
    return call("stack", *diagonal) + call("tanh", x) * 0.5


def inside(x: Value) -> Value:
    """From -1 to 1."""
    return call("tanh", x) * 0.9


@dataclass(frozen=True)
class Case:
    """Operands by their types; ``domain`` takes real numbers to those that are allowed."""

    operands: tuple[Type, ...]
    options: dict[str, Attribute] = field(default_factory=dict)
    domain: Callable[[Value], Value] = anywhere
    cycle: bool = True


def elementwise(*operands: Type, domain: Callable[[Value], Value] = anywhere) -> list[Case]:
    return [Case(operands, domain=domain)]


ONE = elementwise(VECTOR)
EACH = [*elementwise(VECTOR), *elementwise(HEADS), *elementwise(Type("float", (2, 1, 3), OVER))]
BOTH = [Case((CONDITION, CONDITION)), Case((SWITCH, CONDITION))]
# Numbers broadcast to either side.
TWO = [Case((VECTOR, VECTOR)), Case((NUMBER, VECTOR)), Case((VECTOR, NUMBER))]
SEVERAL = [Case((VECTOR, VECTOR, NUMBER))]
ALONG = [Case((VECTOR,)), Case((MATRIX,), {"axis": 0}), Case((MATRIX,), {"axis": 1})]
OVER_AXES = [
    Case((VECTOR,), {"over": ("t",)}),
    Case((VECTOR,), {"over": ("t", BATCH)}),
    Case((VECTOR,), {"over": (BATCH,)}, cycle=False),
]
ALONG_TIME = [Case((VECTOR,), {"axis": "t"})]

CASES: dict[str, list[Case]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "minimum", "maximum"), TWO),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), TWO),
    "and": BOTH,
    "or": BOTH,
    "not": [Case((CONDITION,))],
    "divide": [Case(case.operands, domain=negative) for case in TWO],
    "power": [Case(case.operands, domain=positive) for case in TWO],
    "where": [
        Case((CONDITION, VECTOR, NUMBER)),
        Case((CONDITION, NUMBER, VECTOR)),
        Case((SWITCH, INDEX, INDEX)),
    ],
    "clip": [Case((VECTOR, NUMBER, NUMBER))],
    **dict.fromkeys(("negate", "tanh", "sigmoid", "relu", "softplus", "gelu", "silu"), ONE),
    **dict.fromkeys(("exp", "sin", "cos", "abs", "sign", "stop", "log_sigmoid"), ONE),
    **dict.fromkeys(("normal_cdf", "log_normal_cdf", "normal_density", "normal_ratio"), ONE),
    **dict.fromkeys(("floor", "round", "atan", "sinh", "cosh", "expm1"), ONE),
    **dict.fromkeys(("erf", "erfc", "erf_slope"), ONE),
    **dict.fromkeys(("asin", "acos"), elementwise(VECTOR, domain=inside)),
    **dict.fromkeys(("log1p", "cbrt", "lgamma", "digamma"), elementwise(VECTOR, domain=positive)),
    "polygamma": [Case((VECTOR,), {"order": order}, positive) for order in (1, 2)],
    "atan2": TWO,
    "mod": [Case(case.operands, domain=negative) for case in TWO],
    "identity": [Case((VECTOR,)), Case((INDEX,))],
    "along": [Case((VECTOR,), {"axis": "t"}), Case((INDEX,), {"axis": "t"})],
    "reached": [Case((VECTOR, VECTOR)), Case((VECTOR, NUMBER))],
    "with_slope": [Case((VECTOR, VECTOR, VECTOR)), Case((VECTOR, NUMBER, VECTOR))],
    **dict.fromkeys(("log", "sqrt"), elementwise(VECTOR, domain=positive)),
    **dict.fromkeys(("sum_of", "max_of", "min_of"), SEVERAL),
    "matmul": [
        Case((WEIGHT, LONGER)),
        Case((WEIGHT, VECTOR), {"transpose_a": True}),
        Case((MATRIX, LONGER)),
        Case((MATRIX, VECTOR), {"transpose_a": True}),
        Case((MATRIX, TALL)),
        Case((TALL, MATRIX), {"transpose_a": True, "transpose_b": True}),
        Case((WEIGHTS, HEADS), {"transpose_a": True}),
        Case((CUBE, replace(CUBE, shape=(2, 4)))),
        Case((CUBE, replace(CUBE, shape=(2, 4, 3)))),
        Case((CUBE, replace(WEIGHTS, shape=(2, 2, 3))), {"transpose_a": True, "transpose_b": True}),
    ],
    "dot": [Case((VECTOR, VECTOR)), Case((HEADS, HEADS)), Case((CUBE, CUBE))],
    "outer": [
        *(Case((VECTOR, LONGER), options) for options in ({}, {"over": OVER})),
        *(Case((HEADS, HEADS), options) for options in ({}, {"over": OVER})),
        Case((HEADS, HEADS), {"over": (BATCH,)}, cycle=False),
    ],
    "permute": [
        Case((MATRIX,), {"order": (1, 0)}),
        Case((CUBE,), {"order": (1, 2, 0)}),
        Case((CUBE,), {"order": (2, 1, 0)}),
    ],
    "reshape": [
        Case((MATRIX,), {"shape": (2, 3, 2)}),
        Case((LONGER,), {"shape": (2, 2)}),
        Case((MATRIX,), {"shape": (12,)}),
    ],
    "transpose": [Case((MATRIX,))],
    **dict.fromkeys(("inverse", "log_det", "gauss_jordan"), elementwise(SQUARE, domain=regular)),
    "cholesky": elementwise(SQUARE, domain=definite),
    "embed": [Case((WEIGHT, INDEX)), Case((MATRIX, INDEX))],
    "embed_adjoint": [
        Case((VECTOR, INDEX), {"rows": 4}),
        Case((VECTOR, INDEX), {"rows": 4, "over": OVER}),
    ],
    "one_hot": [Case((INDEX,)), Case((INDEX,), {"size": 5})],
    **dict.fromkeys(("sum", "mean", "max", "min"), ALONG),
    **dict.fromkeys(("argmax", "softmax", "log_softmax", "logsumexp"), EACH),
    "linear_scan": [
        Case((*(vectors, vectors), start), options)
        for options in ({}, {"reverse": True})
        for vectors, start in (
            *((VECTOR, NUMBER), (HEADS, NUMBER), (HEADS, replace(NUMBER, shape=(2,)))),
            (replace(NUMBER, shape=(3, 1)), VECTOR),
        )
    ],
    "prod": EACH,
    **{name: [TWO[0], Case((HEADS, HEADS))] for name in ("arrange", "put_back")},
    "convolve": [Case((VECTOR, LONGER)), Case((LONGER, VECTOR))],
    "correlate": [Case((LONGER, VECTOR)), Case((VECTOR, VECTOR))],
    "layer_norm": [
        Case((VECTOR, VECTOR, VECTOR), {"epsilon": 1e-5}),
        Case((VECTOR, NUMBER, NUMBER), {"epsilon": 0.1}),
        Case((HEADS, VECTOR, NUMBER), {"epsilon": 0.1}),
        Case((HEADS, HEADS, VECTOR), {"epsilon": 0.1}),
        Case((HEADS, NUMBER, HEADS), {"epsilon": 0.1}),
    ],
    **{
        name: [
            Case((each,), {"epsilon": epsilon})
            for epsilon in (1e-5, 0.5)
            for each in (VECTOR, HEADS)
        ]
        for name in ("normalise", "deviation")
    },
    "concat": [Case((VECTOR, NUMBER, LONGER)), Case((MATRIX, MATRIX), {"axis": 1})],
    "slice": [
        Case((LONGER,), {"start": 1, "stop": 3}),
        Case((MATRIX,), {"start": 1, "stop": 2, "axis": 1}),
    ],
    "pad": [
        Case((VECTOR,), {"start": 1, "size": 5}),
        Case((MATRIX,), {"start": 0, "size": 6, "axis": 1}),
    ],
    "stack": [Case((VECTOR, VECTOR)), Case((INDEX, INDEX)), Case((SWITCH, SWITCH))],
    "row": [Case((MATRIX,), {"at": 1}), Case((VECTOR,), {"at": 2})],
    "expand": [
        Case((VECTOR,), {"axis": 0, "size": 2}),
        Case((VECTOR,), {"axis": 1, "size": 2}),
    ],
    **{
        name: [
            *(Case((LONGER,), {"by": by}) for by in (1, -2, 0)),
            *(Case((MATRIX,), {"by": by, "axis": 1}) for by in (3, -1)),
        ]
        for name in ("shift", "roll")
    },
    "zero_pad": [
        Case((VECTOR,), {"before": 1, "after": 2}),
        Case((MATRIX,), {"before": 0, "after": 1, "axis": 1}),
    ],
    "range": [Case((), {"size": size}) for size in (1, 3)],
    "eye": [Case((), {"size": size}) for size in (1, 3)],
    "zero": [Case((), {"shape": (3,)})],
    "fill": [Case((NUMBER,), {"shape": (3,)}), Case((NUMBER,), {"shape": (2, 3)})],
    "mse": [Case((VECTOR, VECTOR)), Case((NUMBER, NUMBER))],
    "average": [Case((MATRIX,)), Case((NUMBER,))],
    "cross_entropy": [Case((VECTOR, INDEX))],
    "binary_cross_entropy": [Case((VECTOR, VECTOR)), Case((NUMBER, NUMBER))],
    "logistic_loss": [Case((VECTOR, VECTOR))],
    **dict.fromkeys(("sum_over", "mean_over", "max_over", "min_over"), OVER_AXES),
    "softmax_over": [Case((VECTOR,), {"over": (BATCH,)})],
    **dict.fromkeys(("last", "first"), ALONG_TIME),
    "impulse": [Case((STATIC,), {"axis": "t", "at": at}) for at in ("first", "last")],
    "tail": [
        Case((VECTOR, rows, *length), {"axis": "t"})
        for rows in (ROWS, replace(ROWS, shape=(6, 3)), replace(ROWS, axes=()))
        for length in ((), (END,))
    ]
    + [
        Case((NUMBER, Type("float", (5,))), {"axis": "t"}),
        Case((INDEX, Type("index", (3,), (BATCH,), 3)), {"axis": "t"}),
        Case((SWITCH, Type("bool", (3,), (BATCH,)), END), {"axis": "t"}),
    ],
    **{
        name: [
            Case((rows, *length), {"axis": "t"})
            for rows in (ROWS, replace(ROWS, shape=(6,)), replace(ROWS, axes=()))
            for length in ((), (END,))
        ]
        for name in ("tail_steps", "tail_start")
    },
    "spread": [Case((STATIC,), {"axis": "t"})],
    "rename_axis": [Case((VECTOR,), {"axis": "t", "to": "s"}, cycle=False)],
    "extent": [Case((), {"axis": "t"}), Case((), {"axis": BATCH})],
    "step": [
        Case((), {"axis": "t", "period": 3}),
        Case((), {"axis": "t", "period": 3, "shift": 2}),
    ],
    "position": [
        Case((), {"axis": "t", "start": 1, "size": 2, "divide": 1, "modulo": 2}),
        Case((), {"axis": "t", "start": 0, "size": 4, "divide": 2, "modulo": 2}),
        Case((), {"axis": "t", "start": 0, "size": 3, "divide": 1, "modulo": 2}),
    ],
    "at": [Case((NUMBER, INDEX), {"shape": shape}) for shape in ((), (2,), (3,), (2, 2))],
    "element": [Case((VECTOR, INDEX)), Case((VECTOR, LARGE_INDEX))],
    "dropout": [Case((VECTOR,), {"rate": 0.3})],
    "sample": ONE,
    "draw": [Case((VECTOR, NUMBER))],
}


class Bench:
    """A network that holds any number of cases; all of them add to its loss."""

    def __init__(self) -> None:
        self.build = Builder()
        self.losses: list[Value] = []
        self.outputs: list[str] = []

    def alone(self, name: str, operation: str, case: Case) -> None:
        """The operation on inputs."""
        operands = [self.operand(name, place, case) for place in range(len(case.operands))]
        self.result(name, operation, operands, case)

    def bare(self, operation: str, case: Case) -> None:
        """The operation on inputs as they are, and nothing else."""
        operands = []
        for place, type_ in enumerate(case.operands):
            condition = type_.kind == "bool"
            given = self.input(
                f"{operation}_{place}", replace(type_, kind="float") if condition else type_
            )
            operands.append(call("greater", given, 0.0) if condition else given)
        self.build.define(operation, operation, tuple(operands), **case.options)
        self.outputs.append(operation)

    def in_a_cycle(self, name: str, operation: str, case: Case, place: int | None) -> None:
        """The operation where the operand at ``place`` is a state; with None, where what
        it gives drives a state.
        """
        build, state = self.build, f"{name}_state"
        like = VECTOR if place is None else case.operands[place]
        build.promise(state, like)
        drive = self.input(f"{name}_drive", like)
        kind = OPERATIONS[operation].infer(case.operands, case.options)
        assert kind is not None
        timed = "t" in kind.axes
        build.prefix = state
        back = build.read(state, 1, "t")
        read = back if timed else build.read(state)
        operands = [
            self.operand(name, other, case) if other != place else case.domain(read)
            for other in range(len(case.operands))
        ]
        value = self.result(name, operation, operands, case)
        fed = back * 0.5
        if timed or place is None:
            fed = fed + self.number(name, value) * 0.5
        build.prefix = state
        self.losses.append(self.total(build.define(state, "tanh", (drive + fed,))))

    def input(self, name: str, type_: Type) -> Value:
        sort = "input" if BATCH in type_.axes else "param"
        options: dict[str, Attribute] = {} if sort == "input" else {"initialiser": "zeros"}
        return self.build.leaf(name, sort, type_, **options)

    def operand(self, name: str, place: int, case: Case) -> Value:
        type_ = case.operands[place]
        self.build.prefix = f"{name}_given{place}"
        if type_.kind == "bool":
            driver = self.input(f"{name}_{place}", Type("float", type_.shape, type_.axes))
            return call("greater", driver, 0.0)
        given = self.input(f"{name}_{place}", type_)
        return given if type_.kind == "index" else case.domain(given)

    def result(self, name: str, operation: str, operands: list[Value], case: Case) -> Value:
        self.build.prefix = name
        value = self.build.define(name, operation, tuple(operands), **case.options)
        self.outputs.append(name)
        self.losses.append(self.total(self.number(name, value)))
        return value

    def number(self, name: str, value: Value) -> Value:
        """One number of a value, each of its elements with a weight of its own."""
        build = self.build
        build.prefix = f"{name}_seen"
        if value.type.kind == "index":
            table = self.input(f"{name}_table", Type("float", (value.type.bound or 1, 2)))
            rows = [value]
            for size in value.type.shape:
                rows = [call("row", each, at=at) for each in rows for at in range(size)]
            value = call("sum_of", *(call("embed", table, index) for index in rows))
        elif value.type.kind == "bool":
            value = call("where", value, 0.5, -0.25)
        weight = f"{name}_weight"
        if weight not in build.nodes:
            self.input(weight, Type("float", value.type.shape))
        weighted = value * build.read(weight)
        return call("sum", weighted) if weighted.type.shape else weighted

    def total(self, value: Value) -> Value:
        if value.type.shape:
            value = call("sum", value * value)
        for axis in value.type.axes:
            value = call("mean_over", value, over=(axis,))
        return value

    def graph(self, name: str) -> Graph:
        if self.losses:
            self.build.define("loss", "sum_of", tuple(self.losses))
        nodes = tuple(self.build.nodes.values())
        outputs = tuple((output, output) for output in self.outputs)
        axes = tuple(sorted({"t", *(axis for node in nodes for axis in node.type.time)}))
        loss = "loss" if self.losses else None
        return Graph(name, "checked", nodes, outputs, loss, axes=axes)


def places(case: Case) -> Iterator[int | None]:
    """The operands that a state can take the place of; None where none can."""
    found = [
        place
        for place, type_ in enumerate(case.operands)
        if type_.kind == "float" and type_.axes == OVER
    ]
    if case.cycle:
        yield from found or [None]


def on_a_bench(operation: str, case: Case, name: str) -> Graph:
    """A network that holds a case in every way that it can be."""
    bench = Bench()
    bench.alone(f"{name}_alone", operation, case)
    for place in places(case):
        where = "driven" if place is None else f"cycle{place}"
        bench.in_a_cycle(f"{name}_{where}", operation, case, place)
    return bench.graph(name)


def values(graph: Graph, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Array]:
    """Random values for the leaves."""
    random = np.random.default_rng(seed)
    leaves: dict[str, Array] = {}
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            if node.type.kind == "index":
                leaves[node.name] = random.integers(0, node.type.bound or 1, shape)
            else:
                leaves[node.name] = random.normal(size=shape)
    return leaves


def each_case(said: Callable[[Operation], object] = lambda operation: True) -> list[Any]:
    """Parameters of a test: the operations of which something is said, with each of their cases.

    All but the first of each take the longer run, some at a time.
    """
    later = (pytest.mark.long, pytest.mark.sampled(8))
    return [
        pytest.param(name, case, id=f"{name}{number}", marks=later if number else ())
        for name, cases in CASES.items()
        if said(OPERATIONS[name])
        for number, case in enumerate(cases)
    ]
