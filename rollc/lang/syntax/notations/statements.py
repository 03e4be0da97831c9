"""Statements as other languages have them: their words, what is declared, left sides, cells."""

from __future__ import annotations

import re

from rollc.lang.syntax.notations.notation import Notation, in_brackets

# Words at the beginning of a statement, and the word of the language for each.
WORDS = {
    "net": "network|model|graph|module|program|spec",
    "dim": "dims|dimension|dimensions|size|sizes",
    "input": "inputs|in|placeholder|given|data|observed",
    "target": "targets|label|labels|truth",
    "param": "params|parameter|parameters|weight|weights|trainable|learn|learned|variable",
    "const": "consts|constant|constants",
    "init": "initial|initialise|initialize|initially|start",
    "output": "outputs|out|result|results|yield",
    "loss": "minimise|minimize|objective|cost|criterion|losses",
    "cell": "layer|cells|block|node",
    "fn": "function|func|fun|def|functions",
    "use": "include|import|require|uses|load|using",
    "time": "axis|axes|times|timeaxis",
    "reset": "resets|clear",
}
OF_WORD = {word: ours for ours, others in WORDS.items() for word in (ours, *others.split("|"))}
_DECLARED = r"^ *(?:static )?(?:input|target|param|output|dim|const)\b"
KEYWORDS = "net|dim|static|input|target|param|const|init|output|loss|over"


def _word(match: re.Match[str]) -> str | None:
    ours = OF_WORD.get(match[1].lower())
    return None if ours is None or ours == match[1] else ours


def _quoted(match: re.Match[str]) -> str:
    """The path of a file of cells, from a path or the name of a cell."""
    path = match[1]
    if "/" not in path and "." not in path:
        path = f"cells/{path}"
    return f'use "{path}"' if path.endswith(".roll") else f'use "{path}.roll"'


def _shifted(match: re.Match[str]) -> str | None:
    """An equation of another step as one of this step: all its reads are as many steps earlier."""
    axis, steps = match["axis"], int(match["steps"]) * (-1 if match["sign"] == "-" else 1)
    seen = False

    def earlier(read: re.Match[str]) -> str:
        nonlocal seen
        seen = True
        delay = int(read[2].replace(" ", "") or 0) if read[2] else 0
        delay -= steps
        return f"[{axis}{delay:+d}]" if delay else ""

    value = re.sub(rf"[\[(] *({axis}) *([+-] *\d+)? *[\])]", earlier, match["value"])
    return f"{match['name']} = {value}" if seen else None


def _changed(match: re.Match[str]) -> str:
    """`h += x` as a sum over the steps."""
    name, symbol, value = match[1], match[2], match[3].strip()
    plain = symbol == "+" or re.fullmatch(r"[\w.]+(\[[^\]]*\]|\([^()]*\))*", value)
    return f"{name} = {name}[t-1] {symbol} {value if plain else f'({value})'}"


def _continued(match: re.Match[str]) -> str | None:
    behind = match.string[match.end() :]
    if not re.match(_DECLARED, match.string) or re.match(rf"(?:{KEYWORDS}|cell|fn)\b", behind):
        return None
    return ", "


def _ended(match: re.Match[str]) -> str | None:
    return None if in_brackets(match) else "\n"


def _parted_by_comma(match: re.Match[str]) -> str | None:
    return f", {match[1]}" if re.match(_DECLARED, match.string) else None


def _euler(match: re.Match[str]) -> str:
    name = match[1]
    value = re.sub(rf"\b{name}\b(?! *[\[(])", f"{name}[t-1]", match[2].strip())
    return f"const dt = 0.1\n{name} = {name}[t-1] + dt * ({value})"


def _computed_output(match: re.Match[str]) -> str:
    return f"output {match[1]}\n{match[1]} = {match[2].strip()}"


def _parted(match: re.Match[str]) -> str:
    return f"{match[1]} = {match[3].strip()}\n{match[2]} = {match[4].strip()}"


def _braced(match: re.Match[str]) -> str | None:
    """A cell whose equations are indented, or end with a word."""
    body = match["body"].rstrip()
    if not body:
        return None
    return f"{match['head'].rstrip()} {{{body}\n}}"


def _with_result(match: re.Match[str]) -> str | None:
    """A cell gives what its last equation defines."""
    defined = re.findall(r"^\s*(\w+) *=", match["body"], re.MULTILINE)
    result = re.findall(r"^\s*return +(\w+) *$", match["body"], re.MULTILINE) or defined
    if not result:
        return None
    body = re.sub(r"\n\s*return\b[^\n]*", "", match["body"])
    return f"{match['head'].rstrip()} -> {result[-1]} {{{body}}}"


def _sized(match: re.Match[str]) -> str | None:
    before = match.string[: match.start()]
    if in_brackets(match) or not (re.match(_DECLARED, before) or not before.strip()):
        return None
    sizes = re.sub(r" *[×;] *| +[x*×] +| *\\times *", ", ", match["sizes"].strip())
    return f"{match['before']}: [{sizes}]"


_SHAPE = "a shape is written `[…]` behind a `:`"
INITIAL = "what a value is before the first step is said by `init`"
_FUNCTION = "a function is written `fn name(arguments) = value`"
_STEP = "an equation says what a value is at this step"

STATEMENTS = (
    # What it begins with.
    Notation(
        r"^ use (?![\"]) ['“”‘’«»„`]?([\w./-]+)['“”‘’«»„`]? $",
        "the path of a file stands in double quotes",
        _quoted,
    ),
    Notation(r"^ ([^\W\d]\w*)(?= (?:[\w\"“'‘]|\() )", "`\\1` begins no statement", _word),
    Notation(r"^ ([^\W\d]\w*)(?= \()", "`\\1` begins no statement", _word),
    Notation(
        r"^ (net|input|target|param|dim|const|output|init|loss|use|static)( :)(?= \S)",
        "no `:` stands behind `\\1`",
        r"\1",
    ),
    Notation(r"^ loss =(?!=)", "no `=` stands behind `loss`", "loss"),
    Notation(
        r"^ net (NAME) [:({][^\n]*",
        "the name of the network stands alone, and what follows is not indented in it",
        r"net \1",
    ),
    Notation(
        r"^ net +(\w+)((?:[ -]\w+)+) $",
        "the name of the network is one word",
        lambda match: f"net {match[1]}{match[2].replace(' ', '_').replace('-', '_')}",
    ),
    Notation(
        r"^ return [^\n]*(?=\s*\n\s*\})", "nothing is returned: results stand behind the arrow", ""
    ),
    Notation(r"^ return (NAME) $", "nothing is returned", r"output \1"),
    Notation(
        r"^ (?:int|integer|uint|size_t) (NAME) = (\d+) $",
        "a size is declared by `dim`",
        r"dim \1 = \2",
    ),
    Notation(
        r"^ (?:let|var|val|auto|local|set|float|double|real|mut|global|my)(?= NAME [=:,])",
        "an equation begins with the name that it defines",
        "",
    ),
    # Cells and functions.
    Notation(
        r"^ (cell NAME \([^;()\n]*?) , (NAME =)",
        "the sizes of a cell stand behind a semicolon",
        r"\1; \2",
    ),
    Notation(
        r"^ (cell NAME \([^()\n]*\)) (?:=>|:|→|returns|to)(?= NAME)",
        "the results of a cell stand behind an arrow, `->`",
        r"\1 ->",
    ),
    Notation(
        r"^(?P<head> cell NAME \([^()\n]*\)) [:=]?>? \{(?P<body>[^{}]*)\}",
        "the results of a cell stand behind an arrow, `->`",
        _with_result,
    ),
    Notation(r"^ (cell [^\n{}]*?)\s*\n\s*\{", "the bracket of a cell stands on its line", r"\1 {"),
    Notation(
        r"^(?P<head> cell NAME \([^()\n]*\) ->[^\n{}:]*) :?(?P<body>\n(?:[ \t]++[^\n]++\n?)++)"
        r"(?: end\w* $)?",
        "the equations of a cell stand in brackets: `{ … }`",
        _braced,
    ),
    Notation(
        r"^ fn (NAME \([^()\n]*\) -> NAME(?: , NAME)+ \{)",
        "a function has one result, and a cell can have several",
        r"cell \1",
    ),
    Notation(r"^ fn (NAME \(INSIDE\)) \{ (?:return )?([^{}\n]*?) ;? \}", _FUNCTION, r"fn \1 = \2"),
    Notation(r"^ fn (NAME \(INSIDE\)) (?:->|=>|:|→|:=) ([^\n{]*)", _FUNCTION, r"fn \1 = \2"),
    Notation(
        r"^ grad [^\n]*",
        "`grad` stands right below the function whose derivative it is",
        None,
        "write the function before it: `fn f(v) = …`",
    ),
    # The sides of an equation.
    Notation(
        r"^ d(NAME) / dt = ([^\n]+)",
        "there are no differential equations: a step of time is written out",
        _euler,
    ),
    Notation(
        r"^ d([^\W\d]\w*) / dt = ([^\n]+)",
        "there are no differential equations: a step of time is written out",
        _euler,
    ),
    Notation(r"^ init (NAME) [\[(][^\])\n]*[\])]", INITIAL, r"init \1"),
    Notation(r"^ init (NAME) (?::|<-|:=)? (?=[^\s=])", "`=` stands behind the name", r"init \1 = "),
    Notation(r"^ (NAME) [\[(] (?:-?\d+|t = -?\d+) [\])] =(?!=)", INITIAL, r"init \1 ="),
    Notation(
        r"^ (NAME) [\[(] t [\])]",
        f"{_STEP}: its name stands alone on the left",
        r"\1",
    ),
    Notation(
        r"^ (?P<name>NAME) [\[(] (?P<axis>[a-z]) (?P<sign>[+-]) (?P<steps>\d+) [\])] "
        r"=(?!=) (?P<value>[^\n]+)",
        f"{_STEP}, not at another one",
        _shifted,
        "",
    ),
    Notation(
        r"^ (NAME) [\[(] t [+-][^=\n]*=[^\n]*",
        f"{_STEP}, not at another one",
        None,
        r"write `\1 = …`, and read the values that it is made of as many steps earlier: `\1[t-1]`",
    ),
    Notation(r"^ (NAME) \( (NAME(?: , NAME)*) \) = ", _FUNCTION, r"fn \1(\2) = "),
    Notation(
        r"^ (NAME) (\*\*|[-+*/@])=([^\n]+)",
        f"{_STEP}, and changes none: what it was is `\\1[t-1]`",
        _changed,
    ),
    Notation(r"(?<=[\w\])]) (?::=|<-|←|≔|==|=>|≡)(?= )", "an equation is written with `=`", " ="),
    Notation(
        r"^ (NAME) , (NAME) = \(? (SOME) , (SOME) \)? $",
        "several names are for `split` and cells: each value has an equation of its own",
        _parted,
    ),
    # Declarations.
    Notation(
        r"^ (dim|const) (NAME) (?::|:=|\b(?=\d)) (?=\S)", "`=` stands behind the name", r"\1 \2 = "
    ),
    Notation(r"(?<=[,]) (NAME) (?::|\b(?= \d)) (?=\d)", "`=` stands behind the name", r" \1 = "),
    Notation(
        r"^ dim (NAME)(?= (?:,|$))", "a size has a value", r"dim \1 = 8", r"write `dim \1 = 8`"
    ),
    Notation(r"(?<=[,]) (NAME)(?= (?:,|$))(?<=[A-Z])", "a size has a value", r" \1 = 8"),
    Notation(r" ; (?=\S)", "a comma stands between declarations", _continued),
    Notation(
        r" ; (?=\S)",
        "a statement ends with its line, without a `;`",
        _ended,
        "begin a new line here",
    ),
    Notation(
        r"^ (param) frozen (NAME(?: : \[INSIDE\])?)",
        "`frozen` stands behind the declaration",
        r"\1 \2 frozen",
    ),
    Notation(r"(?P<before>NAME) (?:: )?\((?P<sizes>INSIDE)\)(?= (?:,|=|$|frozen))", _SHAPE, _sized),
    Notation(r"^ ((?:static )?(?:input|target) NAME) = (\[INSIDE\])", _SHAPE, r"\1: \2"),
    Notation(
        r"^ time (NAME) =[^\n]*",
        "a time axis has no length: that of the data is taken",
        r"time \1",
    ),
    Notation(r"(NAME) : \[(INSIDE)\] \[(INSIDE)\]", _SHAPE, r"\1: [\2, \3]"),
    Notation(r"(?P<before>NAME) \[(?P<sizes>INSIDE)\](?= (?:,|=|$|frozen))", _SHAPE, _sized),
    Notation(r"(?P<before>NAME) : \[(?P<sizes> \w+(?: (?:[x×*;]|\]\[) \w+)+ )\]", _SHAPE, _sized),
    Notation(r"(?P<before>NAME) : (?P<sizes>\w+(?: [x×] \w+)+)", _SHAPE, _sized),
    Notation(
        r"(?P<before>NAME) (?::|in|∈) [RℝC] \^ [({](?P<sizes>[^(){}\n]*)[)}]",
        _SHAPE,
        _sized,
    ),
    Notation(
        r"(?P<before>NAME) (?::|in|∈) [RℝC] \^ (?P<sizes>\w+(?: [x×] \w+)*)",
        _SHAPE,
        _sized,
    ),
    Notation(
        r"(?P<before>NAME) : (?:vector|matrix|tensor|array|float|real|Vector|Matrix|Tensor|Array)"
        r" [\[(<](?P<sizes>[^\])>\n]*)[\])>]",
        _SHAPE,
        _sized,
    ),
    Notation(
        r"(?<=input|param|arget) (?:float|int|real|double|vector|matrix|tensor|scalar)(?= NAME)",
        _SHAPE,
        "",
        "leave the word out",
    ),
    Notation(r"^ output (NAME) = ([^\n]+)", "an output is the name of a value", _computed_output),
    Notation(r"^ output (NAME) :[^,\n]*", "an output is the name of a value", r"output \1"),
    Notation(
        r"^ output (?!NAME ,|NAME $)([^\n]+)",
        "an output is the name of a value",
        r"output result\nresult = \1",
    ),
    Notation(
        r"^ loss (SOME) over (NAME) $",
        "the mean over the steps is written out",
        r"loss mean(\1, over \2)",
    ),
    Notation(
        r"(?<=[\]\d]) +(NAME)(?= [:=,\n]| $)",
        "a comma stands between declarations",
        _parted_by_comma,
    ),
    Notation(r"^ (NAME) : (\[INSIDE\]) (?=[\w(\[-])", "`=` stands before the value", r"\1: \2 = "),
    # Resets.
    Notation(
        r"^ reset (NAME) (?:if|where|on|at|,|:|unless|whenever)(?= )",
        "`when` stands before the condition",
        r"reset \1 when",
    ),
    Notation(
        r"^ reset (NAME) $",
        "it is not said when",
        None,
        r"write `reset \1 when r`, where r is an input that marks the steps",
    ),
    Notation(
        r"(?P<all>^ reset NAME when [^=\n]*?[^=<>!\n]) =(?!=)",
        "a comparison is written with `==`",
        r"\1 ==",
    ),
)
