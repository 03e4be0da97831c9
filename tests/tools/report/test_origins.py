"""Lines of printed stages, traced to the lines and the values of the spec."""

from __future__ import annotations

import pytest

from rollc.tools.report.origins import base, of_graph, of_kernel, of_program, of_spec


@pytest.mark.parametrize(
    ("node", "value"),
    [
        *(("h", "h"), ("~h", "h"), ("h'3", "h"), ("~h'2:1", "h"), ("h.12", "h"), ("h'1.0", "h")),
        *(("low.h", "low.h"), ("~low.h'1:2", "low.h"), ("loss'4^2", "loss"), ("%~x", "x")),
    ],
)
def test_a_node_is_of_a_value(node: str, value: str) -> None:
    assert base(node) == value


def test_a_spec_names_what_it_defines() -> None:
    text = (
        "net n  # h = 1\n# c = 2\n\nparam W: [H, D], b: [H] = 0.5, λ\na, b = split(z, 2)\n"
        "k: [3] = W @ x[t-1]\nm = x == y\noutput k, m\nloss mean(k)\n"
    )
    assert [(line.origins, line.names) for line in of_spec(text)] == [
        ((1,), ()),
        ((), ()),
        ((), ()),
        ((4,), ("W", "b", "λ")),
        ((5,), ("a", "b")),
        ((6,), ("k",)),
        ((7,), ("m",)),
        ((8,), ("k", "m")),
        ((9,), ()),
    ]


def test_graphs_and_programs_say_the_line() -> None:
    (node,) = of_graph("    ~h'2:1 = multiply(~h'3, h[t-1])  : float over t, batch  line 7")
    assert (node.origins, node.names) == ((7,), ("h",))
    (plain,) = of_graph("zero = constant() {value=0.0}  : float")
    assert (plain.origins, plain.names) == ((), ("zero",))
    (statement,) = of_program("  assign name=~h:1 operation=multiply operands=(h[],h[]) line=7")
    assert (statement.origins, statement.names) == ((7,), ("h",))


def test_what_a_variable_is_assigned_is_of_its_node_alone() -> None:
    text = """\
    # h'1, ~c'2,
    # h  (lines 3-4)
    for t in range(T):
        v_h_1 = v_x + v_d_c_2
        d_c_2_[t, 0] = v_d_c_2
        v_h = tanh(v_h_1)
        for n in range(B):"""
    found = [(line.text.split()[0], line.names) for line in of_kernel(text)]
    assert found[3:] == [
        ("v_h_1", ("h",)),
        ("d_c_2_[t,", ("c",)),
        ("v_h", ("h",)),
        ("for", ("h", "c")),
    ]


def test_a_line_reads_the_values_whose_variables_and_arrays_it_has() -> None:
    text = """\
def primal(T, x_, h_c_, W_panel_):
    # h.c, h  (lines 3-4)
    for t in range(T):
        v_h_c = x_[t, 0] * v_h_past1
        h_c_[t, 0] = v_h_c
        v_h = v_h_c + v_h  # v_x
    # o
    lib.matmul(
        h_c_, W_panel_, out=o_,
    )"""
    found = [line.reads for line in of_kernel(text, ["x", "h.c", "W@panel", "o"])]
    assert found == [(), (), (), ("x", "h"), (), ("h.c",), (), (), ("h.c", "W"), ()]


def test_a_comment_tells_of_what_is_below_it() -> None:
    text = """\
def primal():
    # h'1, c  (lines 3-4)
    a = 1
    b = 2
    for t in range(T):
        # the last rows of h
        for n in range(B):
            c = 3
        d = 4
        # x, ~y,
        # z  (line 9)
        e = 5

    f = 6"""
    found = [(line.text.strip(), line.origins, line.names) for line in of_kernel(text)]
    assert [each for each in found if not each[0].startswith("#")] == [
        ("def primal():", (), ()),
        ("a = 1", (3, 4), ("h", "c")),
        ("b = 2", (3, 4), ("h", "c")),
        ("for t in range(T):", (), ()),
        ("for n in range(B):", (), ("h",)),
        ("c = 3", (), ("h",)),
        ("d = 4", (), ()),
        ("e = 5", (9,), ("x", "y", "z")),
        ("", (), ()),
        ("f = 6", (), ()),
    ]
