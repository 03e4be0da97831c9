"""The cells that come with rollc, as their papers have them.

The texts say the type of every value, which those of ``specs/cells`` leave out; they are read by
Python's own parser, in whose order the operators bind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from tests.commands.random_programs import language as la
from tests.commands.random_programs.language import Call, Expression, Float, Name, Number

CELLS = {
    "rnn": """
        cell rnn(x; H) -> h
        param W: [H, size(x)]
        param U: [H, H]
        param b: [H]
        h: [H] = tanh(W @ x + U @ h[t-1] + b)
    """,
    "lstm": """
        cell lstm(x; H) -> h, c
        param W: [4*H, size(x)]
        param U: [4*H, H]
        param b: [4*H]
        i: [H], f: [H], g: [H], o: [H] = split(W @ x + U @ h[t-1] + b, 4)
        c: [H] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
        h: [H] = sigmoid(o) * tanh(c)
    """,
    "lstm_peephole": """
        cell lstm_peephole(x; H) -> h, c
        param W: [4*H, size(x)]
        param U: [4*H, H]
        param b: [4*H]
        param p_i: [H]
        param p_f: [H]
        param p_o: [H]
        i: [H], f: [H], g: [H], o: [H] = split(W @ x + U @ h[t-1] + b, 4)
        c: [H] = sigmoid(f + p_f * c[t-1]) * c[t-1] + sigmoid(i + p_i * c[t-1]) * tanh(g)
        h: [H] = sigmoid(o + p_o * c) * tanh(c)
    """,
    "lstm_projected": """
        cell lstm_projected(x; H, P) -> h, c
        param W: [4*H, size(x)]
        param U: [4*H, P]
        param b: [4*H]
        param R: [P, H]
        i: [H], f: [H], g: [H], o: [H] = split(W @ x + U @ h[t-1] + b, 4)
        c: [H] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
        h: [P] = R @ (sigmoid(o) * tanh(c))
    """,
    "lstm_layer_norm": """
        cell lstm_layer_norm(x; H) -> h, c
        param W: [4*H, size(x)]
        param U: [4*H, H]
        param b: [4*H]
        param n_x: [4*H]
        param n_h: [4*H]
        param n_c: [H]
        param m_x: [4*H]
        param m_h: [4*H]
        param m_c: [H]
        both: [4*H] = layer_norm(U @ h[t-1], n_h, m_h) + layer_norm(W @ x, n_x, m_x) + b
        i: [H], f: [H], g: [H], o: [H] = split(both, 4)
        c: [H] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
        h: [H] = sigmoid(o) * tanh(layer_norm(c, n_c, m_c))
    """,
    "gru": """
        cell gru(x; H) -> h
        param W: [3*H, size(x)]
        param U: [3*H, H]
        param b: [3*H]
        param d: [H]
        wr: [H], wz: [H], wn: [H] = split(W @ x + b, 3)
        ur: [H], uz: [H], un: [H] = split(U @ h[t-1], 3)
        n: [H] = tanh(wn + sigmoid(wr + ur) * (un + d))
        h: [H] = (1 - sigmoid(wz + uz)) * n + sigmoid(wz + uz) * h[t-1]

        cell gru_before(x; H) -> h
        param W: [3*H, size(x)]
        param U: [2*H, H]
        param V: [H, H]
        param b: [3*H]
        wr: [H], wz: [H], wn: [H] = split(W @ x + b, 3)
        ur: [H], uz: [H] = split(U @ h[t-1], 2)
        n: [H] = tanh(wn + V @ (sigmoid(wr + ur) * h[t-1]))
        h: [H] = (1 - sigmoid(wz + uz)) * n + sigmoid(wz + uz) * h[t-1]
    """,
    "mgu": """
        cell mgu(x; H) -> h
        param W: [2*H, size(x)]
        param U: [H, H]
        param V: [H, H]
        param b: [2*H]
        wf: [H], wn: [H] = split(W @ x + b, 2)
        f: [H] = sigmoid(wf + U @ h[t-1])
        h: [H] = (1 - f) * h[t-1] + f * tanh(wn + V @ (f * h[t-1]))
    """,
    "min_gru": """
        cell min_gru(x; H) -> h
        param W: [2*H, size(x)]
        param b: [2*H]
        wz: [H], wh: [H] = split(W @ x + b, 2)
        h: [H] = (1 - sigmoid(wz)) * h[t-1] + sigmoid(wz) * wh
    """,
    "indrnn": """
        cell indrnn(x; H) -> h
        param W: [H, size(x)]
        param u: [H]
        param b: [H]
        h: [H] = relu(W @ x + u * h[t-1] + b)
    """,
    "dilated": """
        cell dilated(x; H, back) -> h
        param W: [H, size(x)]
        param U: [H, H]
        param b: [H]
        h: [H] = tanh(W @ x + U @ h[t-back] + b)
    """,
    "clockwork": """
        cell clockwork(x; H, P) -> h
        param W: [H, size(x)]
        param U: [H, H]
        param b: [H]
        phase: number = ticks(P=P)
        h: [H] = where(phase < 0.5, tanh(W @ x + U @ h[t-1] + b), h[t-1])

        cell clockwork_beside(x, slower; H, P) -> h
        param W: [H, size(x)]
        param U: [H, H]
        param V: [H, size(slower)]
        param b: [H]
        phase: number = ticks(P=P)
        h: [H] = where(phase < 0.5, tanh(W @ x + U @ h[t-1] + V @ slower[t-1] + b), h[t-1])

        cell ticks(; P) -> phase
        phase: number = where(phase[t-1] + 1.5 < P, phase[t-1] + 1, 0)
        init phase = P - 1
    """,
    "echo_state": """
        cell echo_state(x; H, radius=0.9, leak=1.0) -> h
        param W: [H, size(x)] frozen
        param U: [H, H] frozen
        h: [H] = (1 - leak) * h[t-1] + leak * tanh(W @ x + radius * (U @ h[t-1]))
    """,
    "lif": """
        cell lif(x; H, decay=0.9, threshold=1.0) -> s, v
        param W: [H, size(x)]
        param U: [H, H]
        param b: [H]
        v: [H] = decay * v[t-1] + W @ x + U @ s[t-1] + b - threshold * s[t-1]
        s: [H] = spike(v - threshold)
    """,
    "diagonal": """
        cell diagonal(x; H, K) -> y, s
        param rate: [H]
        param B: [H, size(x)]
        param C: [K, H]
        param D: [K, size(x)]
        a: [H] = exp(-exp(rate))
        s: [H] = a * s[t-1] + sqrt(1 - a * a) * (B @ x)
        y: [K] = C @ s + D @ x
    """,
    # Complex parameters are pairs of real ones.
    "lru": """
        cell lru(x; H) -> y
        param ν: [H]
        param θ: [H]
        param B're: [H, size(x)]
        param B'im: [H, size(x)]
        param C're: [size(x), H]
        param C'im: [size(x), H]
        param D: [size(x)]
        λ: [H] = exp(complex(-exp(ν), exp(θ)))
        h: [H] = λ * h[t-1] + sqrt(1 - exp(-2 * exp(ν))) * (complex(B're, B'im) @ x)
        y: [size(x)] = real(complex(C're, C'im) @ h) + D * x
    """,
    "s4d": """
        cell s4d(x; N) -> y
        param rate: [size(x), N]
        param pitch: [size(x), N]
        param pace: [size(x)]
        param C're: [size(x), N]
        param C'im: [size(x), N]
        param D: [size(x)]
        A: [size(x), N] = complex(-exp(rate), pitch)
        decay: [size(x), N] = exp(expand(exp(pace), axis=1) * A)
        h: [size(x), N] = decay * h[t-1] + (decay - 1) / A * expand(x, axis=1)
        y: [size(x)] = 2 * real(sum(complex(C're, C'im) * h, axis=1)) + D * x
    """,
    "unitary": """
        cell unitary(x; H) -> h
        param first: [H]
        param second: [H]
        param third: [H]
        param b: [H]
        param v're: [H]
        param v'im: [H]
        param w're: [H]
        param w'im: [H]
        param V're: [H, size(x)]
        param V'im: [H, size(x)]
        v: [H] = complex(v're, v'im)
        w: [H] = complex(w're, w'im)
        F: [H, H] = exp(complex(0, -6.283185307179586 / H * outer(range(H), range(H)))) / sqrt(H)
        p: [H] = F @ (exp(complex(0, first)) * h[t-1])
        q: [H] = p - 2 * v * (dot(conj(v), p) / real(dot(conj(v), v)))
        r: [H] = conj(F) @ (exp(complex(0, second)) * roll(q, 1))
        s: [H] = r - 2 * w * (dot(conj(w), r) / real(dot(conj(w), w)))
        z: [H] = exp(complex(0, third)) * s + complex(V're, V'im) @ x
        h: [H] = z * relu(abs(z) + b) / where(abs(z) > 0, abs(z), 1)
    """,
}


def library(name: str) -> la.Library:
    """A file of the library by the name of its first cell."""
    texts = re.split(r"\n\s*\n", CELLS[name].strip())
    names = {re.findall(r"cell (\w+)", text)[0] for text in texts}
    spike = la.Function("spike", ("v",), read("where(v > 0, 1, 0)"), (("v", read(_SPIKE)),))
    functions = (spike,) if name == "lif" else ()
    return la.Library(f"cells/{name}.roll", tuple(_cell(t, names) for t in texts), functions)


_SPIKE = "1 / (1 + abs(v)) ** 2"


def _cell(text: str, cells: Collection[str]) -> la.Cell:
    head, *lines = (line.strip() for line in text.splitlines())
    found = re.fullmatch(r"cell (\w+)\((.*); (.*)\) -> (.*)", head)
    assert found is not None, head
    name, inputs, sizes, results = found.groups()
    given = (size.partition("=") for size in sizes.split(", "))
    return la.Cell(
        name,
        tuple(inputs.split(", ")) if inputs else (),
        tuple((size, read(value) if value else None) for size, _, value in given),
        tuple(results.split(", ")),
        tuple(_statement(line, cells) for line in lines),
    )


def _statement(line: str, cells: Collection[str]) -> la.Statement:
    word, _, rest = line.partition(" ")
    if word == "param":
        name, _, shape = rest.partition(": ")
        frozen = shape.endswith(" frozen")
        return la.Param(name, _shape(shape.removesuffix(" frozen")), frozen=frozen)
    if word == "init":
        name, _, value = rest.partition(" = ")
        return la.Init(name, read(value))
    left, _, value = line.partition(" = ")
    declared = re.findall(r"(\w+): (number|\[[^\]]*\])", left)
    types = tuple(Float(_shape(type_)) for _, type_ in declared)
    return la.Equation(tuple(name for name, _ in declared), read(value, cells), types)


def _shape(text: str) -> tuple[Expression, ...]:
    if text == "number":
        return ()
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.List)
    return tuple(_read(part, ()) for part in tree.elts)


def read(text: str, cells: Collection[str] = ()) -> Expression:
    """An expression from its text; the keywords of a call of one of the cells are its sizes."""
    plain = text.replace("'re", _REAL).replace("'im", _IMAGINARY)  # for Python's parser
    return _read(ast.parse(plain, mode="eval").body, cells)


_REAL, _IMAGINARY = "__real", "__imaginary"


def _read(tree: ast.expr, cells: Collection[str]) -> Expression:
    def inner(part: ast.expr) -> Expression:
        return _read(part, cells)

    match tree:
        case ast.Constant(float() | int() as value):
            return Number(value)
        case ast.Name(name):
            return Name(name.replace(_REAL, "'re").replace(_IMAGINARY, "'im"))
        case ast.Subscript(ast.Name(name), ast.BinOp(ast.Name("t"), ast.Sub(), back)):
            if isinstance(back, ast.Constant):
                return Name(name, int(str(back.value)))
            return Name(name, 1, size=inner(back))
        case ast.UnaryOp(ast.USub(), operand):
            return Call("neg", (inner(operand),))
        case ast.BinOp(left, symbol, right):
            return Call(_SYMBOLS[type(symbol)], (inner(left), inner(right)))
        case ast.Compare(left, [symbol], [right]):
            return Call(_SYMBOLS[type(symbol)], (inner(left), inner(right)))
        case ast.Call(ast.Name(function), operands, keywords) if function in cells:
            sizes = tuple((str(each.arg), inner(each.value)) for each in keywords)
            return Call(function, tuple(map(inner, operands)), sizes=sizes)
        case ast.Call(ast.Name(function), operands, keywords):
            options = tuple((str(each.arg), _number(each.value)) for each in keywords)
            return Call(function, tuple(map(inner, operands)), options)
    raise AssertionError(ast.dump(tree))


def _number(tree: ast.expr) -> float:
    assert isinstance(tree, ast.Constant)
    assert isinstance(tree.value, int | float)
    return tree.value


_SYMBOLS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.MatMult: "@",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.Gt: ">",
}
