"""Expressions as other languages, and papers, have them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from rollc.lang.symbols.builtins import NO_OPERATIONS, functions
from rollc.lang.syntax.notations.notation import Notation, in_brackets, pattern
from rollc.lang.syntax.notations.statements import KEYWORDS

_MODULES = (
    "np|numpy|torch|tf|keras|jax|jnp|lax|nn|functional|F|math|scipy|special|linalg|K|ops|random"
)
_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν",
    "xi": "ξ", "pi": "π", "rho": "ρ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "varepsilon": "ε", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_LATEX = {
    "sigma": "sigmoid", "Sigma": "sum", "sum": "sum", "cdot": "*", "times": "*", "odot": "*",
    "circ": "*", "ast": "*", "left": "", "right": "", "quad": "", "leq": "<=", "geq": ">=",
    "le": "<=", "ge": ">=", "neq": "!=", "ne": "!=", "ln": "log", "infty": "1e30",
}  # fmt: skip
_CHARACTERS = {
    "·": "*", "∙": "*", "•": "*", "⋅": "*", "×": "*", "∗": "*", "⊙": "*", "∘": "*", "⊗": "*",
    "÷": "/", "∕": "/", "⁄": "/", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "–": "-",
    "—": "-", "‐": "-", "‑": "-", "∑": "sum", "∞": "1e30", "⟨": "(", "⟩": ")", "…": "", "‚": ",",
    "ϕ": "φ", "ϵ": "ε", "ϑ": "θ", "ϱ": "ρ", "µ": "μ", "∆": "Δ", "∇": "grad_", "′": "",
    "₀": "0", "₁": "1", "₂": "2", "₃": "3", "₄": "4", "₅": "5", "₆": "6", "₇": "7", "₈": "8",
    "₉": "9", "∧": "and", "∨": "or", "¬": "not ",
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True)),  # they look like Latin ones
}  # fmt: skip
_POWERS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))
_QUOTES = "\"'“”‘’«»„`"
_METHODS = {
    "sum", "mean", "max", "min", "tanh", "sigmoid", "exp", "log", "sqrt", "abs", "relu", "softmax",
    "argmax", "transpose", "sin", "cos", "round", "floor", "log_softmax", "stop",
}  # fmt: skip
_ALIASES = {"t": "transpose", "detach": "stop", "size": "size", "inverse": "inverse"}
_COMMA = ", "
_CALLED = "|".join(sorted({*functions(), *NO_OPERATIONS}, key=len, reverse=True))


def _product(left: str) -> str:
    """What is most likely meant by a product: of a matrix, or of elements."""
    return "@" if re.fullmatch(r"[A-ZΑ-Ω]\w*", left) else "*"


def _between(match: re.Match[str]) -> str:
    return f"{match[1]} {_product(match[1])} {match[2]}"


def _behind(match: re.Match[str]) -> str | None:
    """A value right behind another one."""
    left = re.search(r"([^\W\d]\w*|[\d.]+|[)\]]) *$", match.string[: match.start()])
    if left is None or left[1] in ("and", "or", "not"):
        return None
    blank = "" if match.string[match.start() - 1] == " " else " "
    return f"{blank}{_product(left[1])} {match[0]}"


def _among_sizes(match: re.Match[str]) -> str:
    mark = "," if ";" in match["inside"] else ";"
    return f"{match['use'].rstrip()}{mark} {match['word']})"


def _listed(match: re.Match[str]) -> str:
    """MATLAB's rows."""
    value = pattern("VALUE")
    rows = [[found[0] for found in value.finditer(row)] for row in match["inside"].split(";")]
    if len(rows) == 1:
        return f"[{', '.join(rows[0])}]"
    if max(map(len, rows)) == 1:
        return f"concat({', '.join(row[0] for row in rows)})"
    return f"[{', '.join(f'[{_COMMA.join(row)}]' for row in rows)}]"


def _subscript(match: re.Match[str]) -> str:
    inside = match["inside"].strip()
    if re.match(r"[a-z] *[-+]", inside):
        return f"{match[1]}[{inside}]"
    return f"{match[1]}_{re.sub(r'[^0-9A-Za-z]', '', inside)}"


def _call(function: str) -> Callable[[re.Match[str]], str]:
    """A call of a function with what a pattern matched, without brackets of its own."""

    def called(match: re.Match[str]) -> str:
        grouped = pattern(r"[({](INSIDE)[)}]").fullmatch(match[1])
        return f"{function}({match[1] if grouped is None else grouped[1].strip()})"

    return called


def _latex(match: re.Match[str]) -> str:
    word = match[1]
    return _LATEX.get(word, _GREEK.get(word, word))


def _quoted(match: re.Match[str]) -> str:
    return match[1]


def _choice(match: re.Match[str]) -> str:
    groups = match.groupdict()
    parts = (groups[name].strip() for name in ("condition", "then", "otherwise"))
    return f"where({', '.join(parts)})"


def _method(match: re.Match[str]) -> str | None:
    name = _ALIASES.get(match[2], match[2])
    if match[2] not in _METHODS and match[2] not in _ALIASES:
        return None
    inside = match["inside"].strip()
    options = f", {inside}" if inside.startswith(("axis", "over")) else ""
    return f"{name}({match[1]}{options})"


def _option(match: re.Match[str]) -> str | None:
    if not in_brackets(match):
        return None
    return "axis=" if match[0].startswith("dim") else "over "


def _joined(match: re.Match[str]) -> str:
    return f"concat({match['inside'].strip().rstrip(',')})"


def _character(match: re.Match[str]) -> str | None:
    """A character that means what one or two others do."""
    letter = match[0]
    plain = unicodedata.normalize("NFKC", letter)
    return _CHARACTERS.get(letter, plain if plain.isascii() and plain != letter else None)


def _digits(match: re.Match[str]) -> str | None:
    digits = match[0].replace("_", "")
    try:
        return str(int(digits, 10 if digits.isdecimal() else 0))
    except ValueError:  # a name that begins so, or more digits than Python reads
        return None


_OTHER = "".join(_CHARACTERS)
# What divides; another word behind a `//` or a `%` is more likely that of a comment.
_DIVISOR = r"(NUMBER|\(INSIDE\)|(?:\b\w\w?\b|[A-Z]\w*)(?:\[INSIDE\])?|(?<![ \t])VALUE)"
_ATTRIBUTE = "a value has no parts behind a dot"
_DELAY = "the value of an earlier step is written `h[t-1]`"

EXPRESSIONS = (
    Notation(rf"\b(?:(?:{_MODULES})\.)++(?=NAME)", "functions have no module before them", ""),
    Notation(r"\b(?:self|this)\.", "names stand alone, without `self`", "", of="whole"),
    # Choices and conditions.
    Notation(
        r"\bif (?P<condition>SOME) then (?P<then>SOME) else (?P<otherwise>SOME)(?= (?:[,)\]\n]|$))",
        "a choice is written with `where`",
        _choice,
    ),
    Notation(
        r"(?P<then>SOME) if (?P<condition>SOME) else (?P<otherwise>SOME)(?= (?:[,)\]\n]|$))",
        "a choice is written with `where`",
        _choice,
    ),
    Notation(
        r"(?P<condition>SOME) \? (?P<then>SOME) : (?P<otherwise>SOME)(?= (?:[,)\]\n]|$))",
        "a choice is written with `where`",
        _choice,
    ),
    Notation(r" &&? ", "`&` is written `and`", " and "),
    Notation(r"(?<=[\w)\]]) \|\|? (?=[\w(])", "`|` is written `or`", " or "),
    Notation(r"[!~](?= [\w(])", "`!` is written `not`", "not "),
    Notation(r"<>|~=|/=(?= )", "two values that differ are compared with `!=`", "!="),
    Notation(r"=<", "it is written `<=`", "<="),
    # Powers, transposes, products.
    Notation(r"\be \^ ((?:VALUE|\{INSIDE\}))", "e to a power is written `exp`", _call("exp")),
    Notation(
        r"\b([^\W\d]\w*) (?:\.m?T\b|\^(?: \{)? (?:T|\\top|⊤)(?: \})?|[ᵀᵗ]|'(?= [\s@*)+,-]|$))",
        "a matrix is transposed by a function",
        r"transpose(\1)",
    ),
    Notation(r"([^\W\d]\w*) [\^_] (?:\{ \(?|\() (t [^{}()\n]*)(?:\)? \}|\))", _DELAY, r"\1[\2]"),
    Notation(r"([^\W\d]\w*) _ \{(?P<inside>[^{}]*)\}", "a name has no brackets", _subscript),
    Notation(r" (?:\.?\^|\.\*\*) \{ (INSIDE) \}", "a power is written `**`", r" ** (\1)"),
    Notation(r" \.?\^ ", "a power is written `**`", " ** "),
    Notation(
        r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+",
        "a power is written `**`",
        lambda match: " ** " + "".join(map(_POWERS.__getitem__, match[0])),
    ),
    Notation(r" \.([-+*/]) ", "all arithmetic is elementwise, without a dot", r" \1 "),
    Notation(rf"(VALUE) // {_DIVISOR}", "`//` is a quotient rounded down", r"floor(\1 / \2)"),
    Notation(rf"(VALUE) % {_DIVISOR}", "a remainder is written `mod`", r"mod(\1, \2)"),
    Notation(r"(?://|%|;)([^\n]*)", "a comment stands behind `#`", r"#\1"),
    Notation(
        r"([^\W\d]\w*|[)\]]|NUMBER) [·∙•⋅×⋆] (VALUE)",
        "a product is written `@` for a matrix, and `*` for elements",
        _between,
    ),
    Notation(r"√ (VALUE)", "a root is written `sqrt`", _call("sqrt")),
    Notation(r"∑ (?:_\{?\w+\}? )?(VALUE)", "a sum is written `sum`", _call("sum")),
    Notation(r"(?:‖|\|\|)([^|‖\n]+?)(?:‖|\|\|)", "a norm is written `norm`", r"norm(\1)"),
    Notation(r"\|([^|‖\n]+?)\|", "an absolute value is written `abs`", r"abs(\1)"),
    # Parts of values.
    Notation(r"([^\W\d]\w*)\.(?:dot|matmul|mm|mv|bmm) \((INSIDE)\)", _ATTRIBUTE, r"(\1 @ \2)"),
    Notation(r"([^\W\d]\w*)\.pow \((INSIDE)\)", _ATTRIBUTE, r"(\1 ** \2)"),
    Notation(r"([^\W\d]\w*)\.(?:shape|size) (?:\[ 0 \]|\( 0? \))?", _ATTRIBUTE, r"size(\1)"),
    Notation(r"([^\W\d]\w*)\.(?:shift|delay|lag) \( (\w+) \)", _DELAY, r"\1[t-\2]"),
    Notation(r"([^\W\d]\w*|\(INSIDE\))\.(NAME) \((?P<inside>INSIDE)\)", _ATTRIBUTE, _method),
    Notation(
        r"(?:[^\W\d]\w*|[)\]])\.NAME",
        _ATTRIBUTE,
        None,
        "write a function before it, `sum(x)`, or give the part a name of its own",
    ),
    # Steps and elements.
    Notation(
        r"\[[^\[\]\n]*:[^\[\]\n]*:[^\[\]\n]*\]",
        "a slice has no stride",
        None,
        "write its two ends alone: `x[2:5]`",
    ),
    Notation(
        r"\[[^\n]*?\bfor\b[^\n]*?\]",
        "there are no loops: what is written for one holds for all elements",
        None,
        "write the operation on the whole vector",
    ),
    Notation(
        r"\blambda\b[^\n]*",
        "a function is written `fn name(arguments) = value`, on a line of its own",
        None,
        "name it, and call it: `fn twice(v) = 2 * v`",
    ),
    Notation(
        r"\b(?:cat|concat|concatenate|hstack|vstack|stack) \( [(\[](?P<inside>INSIDE)[)\]]"
        r"(?: , (?:(?:dim|axis) = )?-?\d+)? \)",
        "vectors are joined by `concat(a, b)`",
        _joined,
    ),
    # Options.
    Notation(r"\bdim =", "a dimension is chosen by `axis`", _option),
    Notation(r"\bover =", "a time axis stands behind `over`", _option),
    Notation(r" +over +(NAME)", "a comma stands before `over`", r", over \1"),
    Notation(
        rf"\b({KEYWORDS})\b(?= [=:,)\]@*/+\-\[]|$)",
        r"`\1` is a word of the language, and no name",
        r"\1_",
        of="whole",
    ),
    # Numbers, words, characters.
    Notation(r"(NUMBER)[fFlLdDjJ]\b", "a number has no letter behind it", r"\1"),
    Notation(
        r"(?<![\w.])(?:\d+(?:_\d+)+|0[xXbBoO]\w+)\b", "a number is written in digits", _digits
    ),
    Notation(r"(?<![\w.,])(\d+),(\d+)(?= $)", "a decimal point is written `.`", r"\1.\2"),
    Notation(rf"[{_QUOTES}]([^{_QUOTES}\n]*)[{_QUOTES}]", "names stand without quotes", _quoted),
    Notation(r"\\frac \{([^{}]*)\} \{([^{}]*)\}", "a quotient is written `/`", r"(\1) / (\2)"),
    Notation(
        r"\\(?:math\w+|text\w*|bm|vec|hat|tilde|bar|operatorname) \{([^{}]*)\}",
        "LaTeX is not read",
        r"\1",
    ),
    Notation(r"\\sqrt \{([^{}]*)\}", "LaTeX is not read", r"sqrt(\1)"),
    Notation(r"\\([A-Za-z]+)", "LaTeX is not read", _latex),
    Notation(r"([^\W\d]\w*) \{([^{}\n]*)\}", "operands stand in `(…)`", r"\1(\2)"),
    Notation(r"\{([^{}\n]*)\}", "brackets in an expression are `(…)`", r"(\1)"),
    Notation(r"（([^（）\n]*)）", "brackets are `(…)`", r"(\1)"),
    Notation(r"\.(?= $)", "a statement ends with its line, without a `.`", ""),
    Notation(rf"[{_OTHER}]", "`\\g<0>` is no part of the language", _character),
    Notation(r"[^\x00-\x7f]", "`\\g<0>` is no part of the language", _character),
    Notation(
        r"(?P<use>NAME \((?P<inside>INSIDE))\) +"
        r"(?P<word>reverse|both|residual|(?:stack|dropout) +(?:NUMBER|NAME))\b",
        "words of a use stand among its sizes",
        _among_sizes,
    ),
    # Two values side by side.
    Notation(
        rf"\b({_CALLED}) +((?:VALUE)(?: @ VALUE)*)",
        "a function has its operands in brackets",
        r"\1(\2)",
    ),
    Notation(
        r"\[(?P<inside>(?: VALUE)+(?: ;(?: VALUE)+)*) \]",
        "elements have commas between them",
        _listed,
    ),
    Notation(
        r"VALUE|[^\W\d]\w*(?:\[INSIDE\]|\(INSIDE\))*",
        "a product has an operator: `@` for a matrix, `*` for elements",
        _behind,
        here=True,
    ),
)
