"""The colours of a spec: words are those of the grammar, and all of a text is known."""

from __future__ import annotations

import json
import re

import pytest
from pygments.lexers import load_lexer_from_file
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Text, Whitespace

from rollc.ir.attributes import INITIALISERS
from rollc.ir.names import GREEK
from rollc.lang.diagnostics.source import Source
from rollc.lang.load import load_graph
from rollc.lang.syntax.contextual_words import USE_WORDS
from rollc.lang.syntax.layout import laid_out
from rollc.support import resources
from rollc.support.version import VERSION
from rollc.tools.highlighting import textmate, words
from rollc.tools.highlighting.pygments_lexer import RollLexer
from tests.helpers.paths import ROOT

GRAMMAR = ROOT / "editors" / "vscode" / "syntaxes" / "roll.tmLanguage.json"
TEXT = """\
net α_net  # a comment
use "cells/lstm.roll"
static input z: index(4), init_: number, u: complex[2], c: condition
param W: [2*H, D] = normal(0.1) frozen
reset h when r > 1e-3 and not b
h = where(h[t-1] <= .5, mine(x), time) ** 2
loss mean(h, over t)
repeat 6 {
h[k] = mine(k) for k in range(2)
"""


def test_words_are_those_of_the_grammar() -> None:
    text = (resources.folder("grammar") / "rollc.lark").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^//.*$", "", text)
    declared = re.search(r"%declare (.*)", text)
    assert declared is not None
    others = ("PLACE", "WORD")  # the bracket of `h[k] = …`, and the words of uses
    known = {word.lower() for word in declared[1].split() if word not in others} | {
        *re.findall(r'"([a-z]+)"', text)
    }
    assert {*words.STATEMENTS, *words.INSIDE} == known
    assert set(re.findall(r"[^\x00-\x7f]", words.LETTERS)) == set(GREEK)
    (name,) = re.findall(r"^NUMBER: /(.*)/$", text, re.MULTILINE)
    for number in ("1", "1.", ".5", "2.5e-3", "1e9"):
        assert re.fullmatch(name, number) and re.fullmatch(words.NUMBER, number)


def test_words_of_uses_are_those_of_the_grammar() -> None:
    assert tuple(USE_WORDS) == words.USES


def test_initialisers_are_those_of_the_language() -> None:
    assert {*words.INITIALISERS, "number", "computed"} == {*INITIALISERS}


def test_the_lexer_tells_what_is_what() -> None:
    found = [(kind, text) for kind, text in RollLexer().get_tokens(TEXT) if kind is not Whitespace]
    for kind, text in (
        (Keyword, "net"),
        (Comment.Single, "# a comment"),
        (String, '"cells/lstm.roll"'),
        (Keyword, "static"),
        (Keyword.Type, "index"),
        (Keyword.Type, "number"),
        (Keyword.Type, "complex"),
        (Name, "init_"),
        (Operator.Word, "frozen"),
        (Operator.Word, "when"),
        (Operator.Word, "not"),
        (Number, "1e-3"),
        (Name.Builtin, "where"),
        (Name.Function, "mine"),
        (Name, "time"),
        (Operator, "**"),
        (Keyword, "loss"),
        (Operator.Word, "over"),
        (Keyword, "repeat"),
        (Operator.Word, "for"),
        (Operator.Word, "in"),
    ):
        assert (kind, text) in found
    assert (Name, "α_net") in found


def test_the_lexer_knows_all_of_each_spec() -> None:
    for path in sorted(resources.folder("specs").rglob("*.roll")):
        text = path.read_text(encoding="utf-8")
        found = [*RollLexer(ensurenl=False, stripnl=False).get_tokens(text)]
        assert "".join(part for _, part in found) == text
        assert [part for kind, part in found if kind is Text] == []


def test_pygments_finds_the_lexer_by_the_name_that_the_package_gives() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (module, name) = re.findall(r'^roll = "([\w.]+):(\w+)"$', text, re.MULTILINE)[0]
    path = ROOT / (module.replace(".", "/") + ".py")
    lexer = load_lexer_from_file(str(path), name)
    assert lexer.filenames == ["*.roll"]


def test_the_grammar_of_textmate_is_the_one_that_the_words_give(
    pytestconfig: pytest.Config,
) -> None:
    text = json.dumps(textmate.grammar(), indent=2, ensure_ascii=False) + "\n"
    if pytestconfig.getoption("renew"):
        GRAMMAR.write_text(text, encoding="utf-8")
    assert GRAMMAR.read_text(encoding="utf-8") == text, "bin/test --renew writes it"


def scopes(line: str) -> dict[str, str]:
    """What a line of text is coloured as: the first pattern that matches at a place, by place."""
    found: dict[str, str] = {}
    place = 0
    while place < len(line):
        matches = []
        for order, rule in enumerate(textmate.grammar()["patterns"]):  # type: ignore[arg-type]
            match = re.compile(rule["match"]).search(line, place)
            if match is not None and match.end() > match.start():
                matches.append((match.start(), order, match, rule))
        if not matches:
            break
        _, _, match, rule = min(matches, key=lambda each: each[:2])
        if "name" in rule:
            found[match[0]] = rule["name"]
        for group, what in rule.get("captures", {}).items():
            if match[int(group)]:
                found[match[int(group)]] = what["name"]
        place = match.end()
    return found


def test_the_grammar_of_textmate_tells_what_is_what() -> None:
    lines = [scopes(line) for line in TEXT.splitlines()]
    assert lines[0]["net"] == "keyword.control.roll"
    assert lines[0]["# a comment"].startswith("comment")
    assert lines[1]['"cells/lstm.roll"'].startswith("string")
    assert lines[2]["static"] == lines[2]["input"] == "keyword.control.roll"
    assert {lines[2][word] for word in words.TYPES} == {"storage.type.roll"}
    assert lines[3]["normal"] == "support.constant.roll"
    assert lines[3]["frozen"] == lines[4]["when"] == "keyword.other.roll"
    assert lines[4]["1e-3"] == "constant.numeric.roll"
    assert lines[5]["where"] == "support.function.roll"
    assert lines[5]["mine"] == "entity.name.function.roll"
    assert lines[5]["t"] == "variable.parameter.roll"
    assert lines[5]["time"] == "variable.other.roll"
    assert lines[6]["loss"] == lines[7]["repeat"] == "keyword.control.roll"
    assert lines[8]["for"] == lines[8]["in"] == "keyword.other.roll"


def test_the_extension_names_files_that_are_there() -> None:
    folder = GRAMMAR.parent.parent
    package = json.loads((folder / "package.json").read_text())
    (language,) = package["contributes"]["languages"]
    (grammar,) = package["contributes"]["grammars"]
    for path in (package["main"], language["configuration"], grammar["path"]):
        assert (folder / path).is_file()
    assert grammar["scopeName"] == textmate.grammar()["scopeName"]
    assert package["version"] == VERSION
    configuration = json.loads((folder / "language-configuration.json").read_text())
    assert re.fullmatch(configuration["wordPattern"], "γ_1")
    commands = {each["command"] for each in package["contributes"]["commands"]}
    script = (folder / package["main"]).read_text()
    assert commands == set(re.findall(r'registerCommand\("([\w.]+)"', script))


def test_snippets_are_laid_out_specs() -> None:
    text = (ROOT / "editors" / "vscode" / "snippets" / "roll.json").read_text(encoding="utf-8")
    found = {}
    for name, snippet in json.loads(text).items():
        body = "\n".join(snippet["body"])
        found[name] = re.sub(r"\$\{\d+:([^}]*)\}|\$0", lambda place: place[1] or "", body)
        assert laid_out(Source("a.roll", found[name]))[0] == found[name]
    assert load_graph(Source("a.roll", found.pop("network"))).diagnostics == ()
    rest = [*found.values(), "net n\ninput x\noutput h\n"]
    assert load_graph(Source("a.roll", "".join(rest))).graph is not None
