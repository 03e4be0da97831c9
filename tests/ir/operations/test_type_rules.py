"""Every part of every type rule refuses its wrong operand, with a message and no more."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import rollc.ir.operations
from rollc.ir.graph import Type
from rollc.ir.operations import OPERATIONS, TypeMismatch
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph

HEAD = """
net rules
input x: [4], s: [3], u, w: index(10), y: index(3)
static input z: [4]
param E: [4, 4], M: [4, 2], T: [10, 3], g: [3], c
input cube: [2, 2, 2], stacks: [3, 2, 2], big: [1, 2, 2, 1]
ws = where(x > 0, w, w)
fn own(a) = sum(a)
    grad 2 * a
output o
"""
# The line, the code, and a word of the message.
LINES = [
    ("o = w + u", "R207", "a number"),
    ("o = -w", "R207", "a number"),
    ("o = tanh(w)", "R207", "a number"),
    ("o = x + s", "R206", "equal shapes"),
    ("o = x + M", "R206", "equal shapes"),
    ("o = M + transpose(M)", "R206", "equal shapes"),
    ("o = where(s > 0, u, M)", "R206", "equal shapes"),
    ("o = clip(x, 0, s)", "R206", "equal shapes"),
    ("o = x < s", "R206", "equal shapes"),
    ("o = where(u, x, x)", "R207", "a condition"),
    ("o = where(w, x, x)", "R207", "a condition"),
    ("o = where(x > 0, s, u)", "R206", "equal shapes"),
    ("o = where(u > 0, w, u)", "R207", "a number"),
    ("o = where(u > 0, u, w)", "R207", "a number"),
    ("o = own(x)", "R206", "the shape of its argument"),
    ("o = maximum(x, w)", "R207", "a number"),
    ("o = where(not u, x, x)", "R207", "a condition"),
    ("o = where(x > 0 and w, x, x)", "R207", "a condition"),
    ("o = prod(u)", "R206", "a vector"),
    ("o = sort(w)", "R207", "a number"),
    ("o = cumprod(M)", "R206", "a vector"),
    ("o = convolve(w, x)", "R207", "a number"),
    ("o = convolve(x, u)", "R206", "a vector"),
    ("o = huber(w, u)", "R207", "a number"),
    ("o = dropout(w)", "R207", "a number"),
    # products
    ("o = w @ x", "R207", "a number"),
    ("o = E @ w", "R207", "a number"),
    ("o = x @ x", "R206", "a matrix times"),
    ("o = cube @ x", "R206", "2 rows on the right"),
    ("o = u @ x", "R206", "a matrix times"),
    ("o = E @ u", "R206", "a matrix times"),
    ("o = E @ cube", "R206", "4 rows on the right"),
    ("o = stacks @ cube", "R206", "dimensions before them broadcast"),
    ("o = E @ s", "R206", "4 rows on the right"),
    ("o = M @ M", "R206", "2 rows on the right"),
    ("o = dot(w, x)", "R207", "a number"),
    ("o = dot(x, w)", "R207", "a number"),
    ("o = dot(u, x)", "R206", "a vector"),
    ("o = dot(x, E)", "R206", "a vector"),
    ("o = dot(x, s)", "R206", "one length"),
    ("o = outer(w, x)", "R207", "a number"),
    ("o = outer(x, y)", "R207", "a number"),
    ("o = outer(u, x)", "R206", "a vector"),
    ("o = outer(x, u)", "R206", "a vector"),
    ("o = transpose(w)", "R207", "a number"),
    ("o = transpose(x)", "R206", "a matrix"),
    ("o = transpose(cube)", "R206", "a matrix"),
    ("o = inverse(w)", "R207", "a number"),
    ("o = inverse(x)", "R206", "a square matrix"),
    ("o = inverse(M)", "R206", "a square matrix"),
    ("o = cholesky(M)", "R206", "a square matrix"),
    ("o = log_det(w)", "R207", "a number"),
    ("o = log_det(M)", "R206", "a square matrix"),
    ("o = log_det(u)", "R206", "a square matrix"),
    ("o = embed(w, w)", "R207", "a number"),
    ("o = embed(x, w)", "R206", "a row for each"),
    ("o = embed(u, w)", "R206", "a row for each"),
    ("o = embed(T, u)", "R207", "an index"),
    ("o = embed(T, x)", "R207", "an index"),
    ("o = embed(T, u > 0)", "R207", "an index"),
    ("o = embed(T, ws)", "R207", "an index"),
    ("o = embed(E, w)", "R206", "at least 10 rows"),
    ("o = one_hot(u)", "R207", "an index"),
    ("o = one_hot(c)", "R207", "an index"),
    ("o = one_hot(x)", "R207", "an index"),
    ("o = one_hot(x > 0)", "R207", "an index"),
    ("o = one_hot(ws)", "R207", "an index"),
    ("o = one_hot(w, size=9)", "R206", "at least 10"),
    # vectors
    ("o = shift(w, 1)", "R207", "a number"),
    ("o = shift(u, 1)", "R206", "a vector"),
    ("o = roll(x, 1, axis=1)", "R206", "at least 2 dimensions"),
    ("o = shift(s, -3)", "R206", "more than 3 elements"),
    ("o = pad(w, 1, 1)", "R207", "a number"),
    ("o = expand(w)", "R207", "a number"),
    ("o = expand(u, axis=1)", "R206", "a vector"),
    ("o = expand(x, axis=3)", "R206", "at least 3 dimensions"),
    ("o = expand(expand(cube))", "R206", "3 dimensions at most"),
    ("o = full(x, 2)", "R207", "a number"),
    ("o = full(w, 2)", "R207", "a number"),
    ("o = [w, w]", "R207", "a number"),
    ("o = [x, s]", "R206", "one shape"),
    ("o = sum(w)", "R207", "a number"),
    ("o = sum(u)", "R206", "a vector"),
    ("o = mean(u, axis=0)", "R206", "at least 1 dimensions"),
    ("o = mean(u, axis=-1)", "R206", "a vector"),
    ("o = softmax(E, axis=2)", "R206", "at least 3 dimensions"),
    ("o = sort(x, axis=-2)", "R206", "at least 2 dimensions"),
    ("o = max(x, axis=1)", "R206", "at least 2 dimensions"),
    ("o = min(E, axis=2)", "R206", "at least 3 dimensions"),
    ("o = softmax(w)", "R207", "a number"),
    ("o = softmax(u)", "R206", "a vector"),
    ("o = log_softmax(E)", "R206", "a vector"),
    ("o = logsumexp(w)", "R207", "a number"),
    ("o = logsumexp(E)", "R206", "a vector"),
    ("o = argmax(w)", "R207", "a number"),
    ("o = argmax(u)", "R206", "a vector"),
    ("o = sample(w)", "R207", "a number"),
    ("o = sample(E)", "R206", "a vector"),
    ("o = layer_norm(w, 1, 0)", "R207", "a number"),
    ("o = layer_norm(u, 1, 0)", "R206", "a vector"),
    ("o = layer_norm(x, g, 0)", "R206", "a gain and a bias"),
    ("o = layer_norm(x, 1, g)", "R206", "a gain and a bias"),
    ("o = concat(x, w)", "R207", "a number"),
    ("o = concat(x, E)", "R206", "what is joined"),
    ("o = concat(E, cube)", "R206", "what is joined"),
    ("o = concat(E, T)", "R206", "what is joined"),
    ("o = concat(x, x, axis=1)", "R206", "what is joined"),
    ("o = concat(M, T, axis=1)", "R206", "what is joined"),
    ("o = u[0:1]", "R221", "a vector"),
    ("o = u[0]", "R221", "a vector"),
    ("o = E[0][0][0]", "R221", "a vector"),
    ("o = ws[0:1]", "R207", "a number"),
    ("o = x[2:5]", "R221", "at least 5 elements"),
    ("o = x[4:]", "R221", "at least 5 elements"),
    ("o, p = split(s, 2)", "R221", "2 divides"),
    ("o, p = split(u, 2)", "R221", "a vector"),
    # of any number of dimensions
    ('o = einsum("nk,n->k", M, w)', "R207", "a number"),
    ('o = einsum("nk,n->k", M, s)', "R206", "one size for `n`"),
    ('o = einsum("nk,n->k", x, x)', "R206", "2 dimensions for `nk`"),
    ('o = einsum("n,n->", M, x)', "R206", "a vector for `n`"),
    ('o = einsum("hnk,mj,mj->hnk", cube, M, M)', "R206", "4 dimensions at most on the way"),
    ("o = x @ M", "R206", "a matrix times"),
    ("o = x[y + 1]", "R207", "a number"),
    ("o = w[y]", "R207", "a number"),
    ("o = x[u > 0]", "R207", "a number or an index"),
    ("o = u[y]", "R206", "a vector"),
    ("o = M[:, :, y]", "R206", "at least 3 dimensions"),
    ("o = x[w]", "R206", "at least 10 elements"),
    ("o = stack(x, w)", "R207", "a number"),
    ("o = stack(x, s)", "R206", "one shape"),
    ("o = stack(x, x, axis=2)", "R206", "at least 2 dimensions"),
    ("o = stack(big, big)", "R206", "3 dimensions at most"),
    ("o = reshape(w, 1)", "R207", "a number"),
    ("o = reshape(x, 3)", "R206", "3 elements"),
    ("o = transpose(w, 0)", "R207", "a number"),
    ("o = transpose(M, 0, 2, 1)", "R206", "3 dimensions"),
    ("o = M[..., 2:9, :]", "R221", "at least 9 elements"),
    # losses
    ("o = mse(w, u)", "R207", "a number"),
    ("o = mse(x, s)", "R206", "one shape"),
    ("o = mse(x, u)", "R206", "one shape"),
    ("o = binary_cross_entropy(u, w)", "R207", "a number"),
    ("o = binary_cross_entropy(x, E)", "R206", "one shape"),
    ("o = cross_entropy(w, w)", "R207", "a number"),
    ("o = cross_entropy(u, y)", "R206", "a vector"),
    ("o = cross_entropy(E, y)", "R206", "a vector"),
    ("o = cross_entropy(x, u)", "R207", "an index"),
    ("o = cross_entropy(x, u > 0)", "R207", "an index"),
    ("o = cross_entropy(x, ws)", "R207", "an index"),
    ("o = cross_entropy(x, w)", "R206", "10 classes"),
    # over the steps
    ("o = sum(w, over t)", "R207", "a number"),
    ("o = mean(z, over t)", "R216", "does not change with time"),
    ("o = softmax(z, over t)", "R216", "does not change with time"),
    ("o = last(z)", "R216", "does not change with time"),
]
NUMBER, VECTOR, MATRIX = Type("float"), Type("float", (4,)), Type("float", (4, 2))
INDEX, INDICES, ONE = Type("index", bound=3), Type("index", (2,), bound=3), Type("bool")
OVER_T = Type("float", (4,), ("t",))
# What passes alone can make: the operation, operands, options, and a word of what is expected.
INTERNAL = [
    ("stack", (VECTOR, NUMBER), {}, "values of one shape"),
    ("stack", (NUMBER, INDEX), {}, "a number"),
    ("row", (NUMBER,), {"at": 0}, "at least 1 rows"),
    ("row", (VECTOR,), {"at": 4}, "at least 5 rows"),
    ("draw", (INDEX, NUMBER), {}, "a number"),
    ("draw", (NUMBER, NUMBER), {}, "a vector"),
    ("at", (INDEX, INDEX), {"shape": (2,)}, "a number"),
    ("at", (NUMBER, NUMBER), {"shape": (2,)}, "an index"),
    ("at", (NUMBER, INDICES), {"shape": (2,)}, "an index"),
    ("at", (VECTOR, INDEX), {"shape": (2,)}, "a number"),
    ("element", (INDEX, INDEX), {}, "a number"),
    ("element", (NUMBER, INDEX), {}, "a vector"),
    ("element", (VECTOR, ONE), {}, "an index"),
    ("slice", (VECTOR,), {"start": 0, "stop": 1, "axis": 1}, "a vector"),
    ("slice", (VECTOR,), {"start": -1, "stop": 1}, "at least 1 elements"),
    ("slice", (VECTOR,), {"start": 2, "stop": 2}, "at least 3 elements"),
    ("average", (INDEX,), {}, "a number"),
    ("arrange", (INDEX, VECTOR), {}, "a number"),
    ("arrange", (NUMBER, NUMBER), {}, "a vector"),
    ("arrange", (VECTOR, Type("float", (3,))), {}, "one length"),
    ("correlate", (INDEX, VECTOR), {}, "a number"),
    ("correlate", (NUMBER, VECTOR), {}, "a vector"),
    ("correlate", (Type("float", (3,)), VECTOR), {}, "no longer"),
    ("linear_scan", (INDEX, VECTOR, NUMBER), {}, "a number"),
    ("linear_scan", (NUMBER, VECTOR, NUMBER), {}, "a vector"),
    ("linear_scan", (VECTOR, Type("float", (3,)), NUMBER), {}, "one length"),
    ("linear_scan", (VECTOR, VECTOR, VECTOR), {}, "a number"),
    ("normalise", (INDEX,), {}, "a number"),
    ("normalise", (NUMBER,), {}, "a vector"),
    ("deviation", (NUMBER,), {}, "a vector"),
    ("gauss_jordan", (MATRIX,), {}, "a square matrix"),
    ("matmul", (MATRIX, VECTOR), {"transpose_b": True}, "2 rows"),
    ("matmul", (MATRIX, Type("float", (3,))), {"transpose_a": True}, "4 rows"),
    ("matmul", (MATRIX, Type("float", (2, 3))), {"transpose_b": True}, "2 rows"),
    ("logistic_loss", (VECTOR, MATRIX), {}, "equal shapes"),
    ("spread", (OVER_T,), {"axis": "t"}, "the same all along"),
    ("rename_axis", (VECTOR,), {"axis": "t", "to": "s"}, "changes over `t`"),
    ("rename_axis", (OVER_T,), {"axis": "t", "to": "t"}, "does not change over `t`"),
    ("tail", (OVER_T, OVER_T), {"axis": "t"}, "the same at every step"),
    ("tail", (VECTOR, VECTOR), {"axis": "t"}, "changes over"),
    ("tail", (OVER_T, NUMBER), {"axis": "t"}, "rows"),
    ("tail", (OVER_T, VECTOR), {"axis": "t"}, "rows"),
    ("tail", (OVER_T, Type("float", (2, 4)), NUMBER), {"axis": "t"}, "an index"),
    ("tail_steps", (NUMBER,), {"axis": "t"}, "rows"),
    ("tail_start", (NUMBER,), {"axis": "t"}, "rows"),
]


def errors(line: str) -> list[tuple[str, str]]:
    checked = load_graph(Source("rules.roll", f"{HEAD}{line}\n"))
    return [(item.code, item.message) for item in checked.diagnostics if item.severity == "error"]


@pytest.mark.parametrize(("line", "code", "word"), LINES, ids=[line for line, _, _ in LINES])
def test_a_wrong_operand_in_a_spec(line: str, code: str, word: str) -> None:
    ((found, message),) = errors(line)
    assert found == code
    assert word in message


@pytest.mark.parametrize(("operation", "operands", "options", "word"), INTERNAL)
def test_a_wrong_operand_in_a_pass(
    operation: str, operands: tuple[Type, ...], options: dict[str, object], word: str
) -> None:
    with pytest.raises(TypeMismatch, match=word):
        OPERATIONS[operation].infer(operands, options)


def checks() -> Iterator[tuple[str, int]]:
    """Each line of a rule that can refuse: what raises, and calls of what does."""
    refusing = ("TypeMismatch", "need_numbers", "need_vector")
    for path in Path(rollc.ir.operations.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name(name)) if name in refusing:
                    yield path.name, node.lineno


def test_the_tables_reach_every_line_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[str, int]] = set()
    made = TypeMismatch.__init__

    def noted(self: TypeMismatch, *given: object, **named: object) -> None:
        made(self, *given, **named)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            reached.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
            frame = frame.f_back

    monkeypatch.setattr(TypeMismatch, "__init__", noted)
    for line, _, _ in LINES:
        errors(line)
    for operation, operands, options, _ in INTERNAL:
        with pytest.raises(TypeMismatch):
            OPERATIONS[operation].infer(operands, options)
    assert sorted(set(checks()) - reached) == []
