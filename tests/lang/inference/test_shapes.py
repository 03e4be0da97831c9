"""Shapes through cycles, initial values that have two readings, and declared shapes."""

from __future__ import annotations

import pytest

from rollc.ir.graph import Graph, Type
from rollc.lang.diagnostics.diagnostic import render
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.ast import Dim, Spec
from rollc.lang.syntax.formatter import format_spec
from rollc.lang.syntax.parser import parse_spec

HEAD = """
net shapes
input y, x: [3], z: [2], w: index(2), five: [5]
param p, three: [3], two: [2], rows: [3, 2], wide: [2, 3], square: [3, 3], pair: [2, 2]
"""


def loaded(*lines: str) -> tuple[Graph | None, list[str]]:
    """The graph and the codes of errors, which are the same whatever the order of statements."""
    text = "\n".join([HEAD, *lines])
    graph, errors = graph_and_errors(text)
    spec, _ = parse_spec(Source("shapes.roll", text))
    if spec is not None:
        sizes = [item for item in spec.statements if isinstance(item, Dim)]
        others = [item for item in reversed(spec.statements) if not isinstance(item, Dim)]
        other, codes = graph_and_errors(format_spec(Spec((*sizes, *others))))
        assert sorted(codes) == sorted(errors)
        assert graph is None or types_of(graph) == types_of(other)
    return graph, errors


def graph_and_errors(text: str) -> tuple[Graph | None, list[str]]:
    checked = load_graph(Source("shapes.roll", text))
    errors = [item.code for item in checked.diagnostics if item.severity == "error"]
    assert (checked.graph is None) == bool(errors), render(checked.diagnostics, checked.source)
    return checked.graph, errors


def types_of(graph: Graph | None) -> dict[str, Type]:
    assert graph is not None
    return {node.name: node.type for node in graph.nodes if "'" not in node.name}


def type_of(name: str, *lines: str) -> Type:
    graph, errors = loaded(*lines, f"output {name}")
    assert graph is not None, errors
    return graph[dict(graph.outputs)[name]].type


def shape(name: str, *lines: str) -> tuple[int, ...]:
    return type_of(name, *lines).shape


def test_a_guess_that_does_not_fit_is_taken_back() -> None:
    lines = ["l = 0.5 * l[t-1] + s[t-3]", "s = max(concat(l, y))", "init s = three"]
    assert shape("l", *lines) == ()
    assert shape("s", *lines) == ()


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        # What the equation says is not ambiguous.
        (["h = 0.5 * h[t-3] + x", "init h = three"], (3,)),
        (["h = 0.5 * h[t-3] + x[0] * max(h[t-1])", "h2 = h", "init h = three"], (3,)),
        (["h = sum(x) + 0.5 * sum(h[t-3] * x)", "init h = three"], ()),
        (["h = tanh(h[t-3]) + z", "init h = rows"], (2,)),
        # Nor what has rows of another number.
        (["h = 0.5 * h[t-1] + y", "init h = three"], (3,)),
        (["h = 0.5 * h[t-2] + y", "init h = three"], (3,)),
        (["h = 0.5 * h[t-3]", "g = h[t+1]", "init h = three"], (3,)),
        (["h = square @ h[t-1]", "init h = square"], (3, 3)),
        # Nor what is read beside something that broadcasts to it alone.
        (
            ["g = expand(x, axis=1) - h[t-1]", "h = stack(g[2], g[0], g[1])", "init h = rows"],
            (3, 2),
        ),
        # Nor what is used in a way that only one of the readings allows.
        (["h = 0.5 * h[t-3] + y", "init h = three", "o = dot(h, x)"], (3,)),
        (["h = 0.5 * h[t-3] + y", "init h = three", "o = concat(h, two)[2] * h"], None),
        (["h = 0.5 * h[t-3] + y", "init h = three", "o = outer(h * z, z)"], ()),
        (["h = 0.5 * h[t-3] + y", "init h = three", "o = mse(h, y)"], ()),
        # Both fit.
        (["h = 0.5 * h[t-3] + y", "init h = three"], None),
        (["h = 0.5 * h[t+3] + y", "init h = three"], None),
        (["h = 0.5 * h[t-3]", "init h = rows"], None),
        (["h = square @ h[t-3]", "init h = square"], None),
        (["h = g[t-3]", "g = tanh(h)", "init h = three", "init g = 1"], (3,)),
        (["h = g[t-3]", "g = tanh(h)", "init g = three"], None),
        (["h = 0.5 * h[t-3] + y", "init h = three", "reset h when y > 1"], None),
        (["cell c(a) -> h {", "h = 0.5 * h[t-3] + a", "}", "h = c(y)", "init h = three"], None),
        (["g = 0.5 * g[t-1] + 1", "h = 0.5 * h[t-3] + last(g)", "init h = three"], None),
        # Declared, here or inside.
        (["h: [3] = 0.5 * h[t-3] + y", "init h = three"], (3,)),
        (["h: number = 0.5 * h[t-3] + y", "init h = three"], ()),
        (["h: number = 0.5 * h[t+3] + y", "init h = three", "reset h when y > 1"], ()),
        (["h: [3, 2] = 0.5 * h[t-3]", "init h = rows"], (3, 2)),
        (["h: [2] = 0.5 * h[t-3]", "init h = rows"], (2,)),
        (["h = g[t-3]", "g: number = tanh(h)", "init g = three"], ()),
        (["cell c(a) -> h {", "h = h[t-3] + a", "}", "h: [3] = c(y)", "init h = three"], (3,)),
        (["cell c(a) -> h {", "h: number = h[t-3] + a", "}", "h = c(y)", "init h = three"], ()),
        (["h: [K] = 0.5 * h[t-3] + y", "dim K = 1 + 2", "init h = three"], (3,)),
    ],
)  # fmt: skip
def test_readings_of_an_initial_value(lines: list[str], found: tuple[int, ...] | None) -> None:
    if found is not None:
        assert shape("h", *lines) == found
        return
    _, errors = loaded(*lines, "output h")
    assert errors == ["R231"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["h = 0.5 * h[t-1] + y"], ()),
        (["h = square @ h[t-1]"], (3,)),
        (["h = rows @ g[t-1]", "g = transpose(rows) @ h"], (3,)),
        (["h = 0.5 * h[t-1] + y", "init h = 0.3"], ()),
        (["h = where(y > 0, w, h[t-1])"], ()),
        # Used in the one way that fits.
        (["h = 0.5 * h[t-1] + y", "o = dot(h, x)"], (3,)),
        (["h = tanh(h[t-1])", "o = concat(h, y) + five"], (4,)),
        (["h = tanh(h[t-1])", "o = mse(h, rows)"], (3, 2)),
        (["h: [4, 2] = tanh(h[t-1])"], (4, 2)),
        (["h = tanh(g[t-1])", "g: number = h"], ()),
    ],
)
def test_cycles_that_say_nothing(lines: list[str], found: tuple[int, ...]) -> None:
    assert shape("h", *lines) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["h = where(h[t-2] == 0, argmax(square + y, axis=1), h[t-1])"], Type("index", (3,))),
        (["h = where(h[t-1] == h[t-2], argmax(square, axis=0), h[t-1])"], Type("index", (3,))),
        (["h = where(h[t-1] != 1, argmax(x), h[t-1])"], Type("index", ())),
        # The larger bound, whichever is known first.
        (["h = where(h[t-1] == 1, argmax(rows, axis=1), g)",
          "g = where(h[t-1] == 2, argmax(square, axis=1), g[t-2])"], Type("index", (3,))),
    ],
)  # fmt: skip
def test_cycles_through_indices(lines: list[str], found: Type) -> None:
    own = type_of("h", *lines)
    assert (own.kind, own.shape) == (found.kind, found.shape)
    assert own.bound == 3


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["h = where(y > 0, h[t-1], h[t-2])"], ["R217"]),  # chosen from by a number, and not one
        (["h = tanh(h[t-1])"], ["R217"]),
        (["h = tanh(h[t-1])", "o = sum(h)"], ["R217"]),
        (["h = concat(h[t-1], y)"], ["R217"]),
        (["h = concat(h[t-1], y)", "init h = three"], ["R217"]),
        (["h = dot(h[t-1], h[t-1])"], ["R217"]),
        (["h = 0.5 * h[t-1] + y", "o = rows @ h"], ["R206"]),
        (["h = where(y > 0, argmax(concat(one_hot(h[t-1]), y)), w)"], ["R217"]),
        # Each cycle of its own.
        (["h = tanh(h[t-1])", "o = 0.5 * o[t-2] + y", "init o = two"], ["R231", "R217"]),
        (["h: [2] = tanh(h[t-1]) + y", "o = h + x"], ["R206"]),
        (["h: [2] = x", "o = h * z"], ["R233"]),
        (["h: number = 0.5", "o: [2] = h"], ["R233"]),
        (["h: index(3) = argmax(z)"], ["R233"]),
        (["h: number = argmax(z)"], ["R233"]),
        (["h: index(2) = y"], ["R233"]),
        (["h: [0] = x"], ["R208"]),
        (["h: [y] = x"], ["R208"]),
        (["h: vector = x"], ["R101"]),
        (["h: number(3) = x"], ["R101"]),
        (["h: [3] = x", "h: [3] = x"], ["R202"]),
        (["h = 0.5 * h[t-3]", "init h = three", "g = 0.5 * g[t-3]", "init g = three", "o = h + g"],
         ["R231", "R231"]),
        # What reads something that does not fit is not looked at, however late that is found.
        (["c = tanh(d)", "d = tanh(five)", "n = x + c", "h = n + two"], ["R206"]),
    ],
)  # fmt: skip
def test_what_has_no_shape(lines: list[str], codes: list[str]) -> None:
    _, errors = loaded(*lines, "output h")
    assert sorted(errors) == sorted(codes)


def test_a_number_and_a_vector_of_one_element_both_fit() -> None:
    text = "net one\ninput x: [3]\nh = tanh(h[t-1])\no = concat(h, h, h) + x\noutput o"
    _, errors = graph_and_errors(text)
    assert errors == ["R217"]


def test_a_later_bound_of_an_index_reaches_all_that_reads_it() -> None:
    lines = ["q = where(y > 0, w, r[t-1])", "m = one_hot(q) + m[t-1]"]
    last = "r = where(y > 1, argmax(five), q[t-1])"
    for ordered in ([*lines, last], [last, *reversed(lines)]):
        assert shape("m", *ordered) == (5,)


@pytest.mark.parametrize(
    "lines",
    [
        ["k = argmax(o)", "o = concat(y, embed(rows, k[t-1]))"],
        ["k = argmax(o)", "o = concat(y, embed(rows, k[t-1]))", "reset k when y"],
        ["k = s", "s = argmax(o[t-1])", "o = concat(y, embed(rows, k))"],
        ["k = where(y > 0, s, s[t-1])", "s = argmax(o)", "o = concat(y, embed(rows, k[t-1]))"],
    ],
)
def test_an_index_in_a_cycle_that_says_nothing(lines: list[str]) -> None:
    """Nothing with an initial value or a number is there to go by, whatever hands the index on."""
    assert type_of("k", *lines) == Type("index", (), ("t", "batch"), 3)


@pytest.mark.parametrize(
    "line",
    [
        "h: [3] = x",
        "c: [3] = x > 0",
        "h: number = y",
        "q: index(3) = argmax(x)",
        "a: [1], b: [1] = split(z, 2)",
        "a, b: [1] = split(z, 2)",
        "input u: number, v[t]: [2]",
        "param k: number = 0.5",
        "reset: [3] = x",
        "time: number = y",
        "number = y",
        "number: number = y",
    ],
)
def test_declarations_are_read_and_printed(line: str) -> None:
    name = line.split("=")[0].split(",")[0].split(":")[0].split("[")[0].split()[-1]
    _, errors = loaded(line, f"output {name}")
    assert errors == []
    spec, _ = parse_spec(Source("line.roll", f"{line}\n"))
    assert spec is not None
    again, problems = parse_spec(Source("line.roll", format_spec(spec)))
    assert problems == []
    assert again == spec


def test_a_declared_shape_tells_a_size_in_a_cycle() -> None:
    lines = ["cell layer(a) -> b {", "param W: [size(a), size(a)]", "b = W @ a", "}"]
    assert shape("f", *lines, "f: [4] = tanh(layer(g))", "g = f[t-1]") == (4,)


def test_no_size_follows_from_one_of_two_readings() -> None:
    lines = ["h = 0.5 * h[t-3]", "init h = rows", "param W: [4, size(h)]", "o = W @ h"]
    _, errors = loaded(*lines, "output o")
    assert errors == ["R231"]
    assert shape("o", "h: [2] = 0.5 * h[t-3]", *lines[1:]) == (4,)


def test_a_declaration_begins_a_statement_after_a_bracket_that_is_open() -> None:
    _, errors = loaded("a = tanh((x", "h: [3] = x", "output h")
    assert errors == ["R103"]
    assert shape("a", "a = five[", "1:4]") == (3,)


@pytest.mark.parametrize("first", ["tanh(h0[t-1])", "0.5 * h0[t-1] + y"])
def test_long_chains_of_cycles(first: str) -> None:
    lines = [f"h{place} = 0.5 * h{place}[t-1] + h{place - 1}" for place in range(1, 400)]
    graph, errors = graph_and_errors("\n".join([HEAD, f"h0 = {first}", *lines, "output h399"]))
    assert errors == (["R217"] if graph is None else [])
    assert (graph is None) == first.startswith("tanh")


def test_more_readings_than_can_be_tried_are_ambiguous() -> None:
    names = [f"h{place}" for place in range(120)]
    lines = [f"{name} = 0.5 * {name}[t-3]\ninit {name} = three" for name in names]
    known = " + ".join(names[:60])
    other = " + ".join(names[60:])
    text = "\n".join([HEAD, *lines, f"a = {known}", f"b = a + {other}", "output b"])
    graph, errors = graph_and_errors(text)
    assert graph is None
    assert set(errors) == {"R231"}


def test_a_declared_shape_tells_the_size_that_its_own_cycle_reads() -> None:
    assert shape("h", "h: [3] = tanh(h[t-1]) / size(h)") == (3,)
    assert shape("h", "h: [3] = 0.5 * h[t-size(h)]", "init h = square") == (3,)
    assert shape("h", "h = g[t-1] / size(g)", "g: [3] = tanh(h)") == (3,)


def test_many_guesses_that_do_not_depend_on_each_other_are_all_tried() -> None:
    """The last of more than a hundred ways is the one that fits."""
    names = [f"h{place}" for place in range(7)]
    lines = [f"{name} = 0.5 * {name}[t-3] + y\ninit {name} = three" for name in names]
    last = ["input seven: [7]", f"o = concat({', '.join(names)}) + seven", "output o"]
    _, errors = graph_and_errors("\n".join([HEAD, *lines, *last]))
    assert errors == []
