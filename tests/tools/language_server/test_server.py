"""The language server as an editor meets it, over standard input and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollc.drawing import graphviz
from tests.helpers.language_client import Client, ServerError, edited, place

pytest.importorskip("pygls")

CELLS = """\
# A leaky unit, of use.
cell leaky(x; H, keep=0.9) -> h {
    param W: [H, size(x)]             # what it sees
    h = keep * h[t-1] + W @ x
}
"""
NET = """\
net γ_net  # 𝛾, beyond the first plane
use "parts.roll"
dim D = 3, H = 4
input  x: [D], α
target y: index(2)
param  V: [2, H]
γ = leaky(x * α; H=H)                 # 𝛾
low = leaky(tanh(γ); H=2*H, keep=0.5)
o = V @ γ + sum(low)
output o
loss mean(cross_entropy(o, y), over t)
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("workspace") / "with ünd %20"  # names are encoded in a URI
    root.mkdir()
    with Client(root) as client:
        client.open("parts.roll", CELLS)
        assert client.diagnostics("parts.roll") == []
        client.open("net.roll", NET)
        assert client.diagnostics("net.roll") == []
        yield client


def hover(client: Client, text: str, of: str, count: int = 0, name: str = "net.roll") -> str:
    found = client.ask("hover", name, place(text, of, count))
    return "" if found is None else str(found["contents"]["value"])


def test_diagnostics_while_typing_with_changes_to_apply(client: Client) -> None:
    name, text = "typed.roll", "net a\ninput angle: [3]\nh = tanh(angel)^2\noutput h\n"
    client.open(name, "net a\n")
    client.diagnostics(name)
    client.change(name, text)
    found = client.diagnostics(name)
    assert [(each["code"], each["range"]["start"]) for each in found] == [
        ("R201", place(text, "angel")),
        ("R115", place(text, "^")),
    ]
    assert "did you mean `angle`?" in found[0]["message"]
    for diagnostic in found:
        given = {"range": diagnostic["range"], "context": {"diagnostics": [diagnostic]}}
        fix, all_ = client.ask("codeAction", name, **given)
        assert (fix["kind"], all_["kind"]) == ("quickfix", "source.fixAll")
    assert fix["title"] == "write `**`"
    fixed = edited(text, all_["edit"]["changes"][client.uri(name)])
    assert fixed == "net a\ninput angle: [3]\nh = tanh(angle) ** 2\noutput h\n"
    client.change(name, fixed)
    assert client.diagnostics(name) == []


@pytest.mark.parametrize("use", ["", 'use "parts.roll"\n'])
def test_what_is_wrong_where_a_text_ends(client: Client, use: str) -> None:
    """As while the last line is typed, which no other follows."""
    text = f"net a\n{use}input x\nh ="
    client.open(f"ends{len(use)}.roll", text)
    (found,) = client.diagnostics(f"ends{len(use)}.roll")
    end = {"line": text.count("\n"), "character": 3}
    assert (found["code"], found["range"]) == ("R101", {"start": end, "end": end})


def test_what_is_wrong_in_a_file_that_is_used(client: Client) -> None:
    """It is said at the `use`, with the place in the other file."""
    (client.root / "wrong.roll").write_text("cell f(x; H) -> y {\n    y = z\n}\n")
    text = 'net a\nuse "wrong.roll"\ninput x: [2]\ny = f(x; H=3)\noutput y\n'
    client.open("uses.roll", text)
    found = client.diagnostics("uses.roll")
    (unknown,) = (each for each in found if "unknown name `z`" in each["message"])
    assert unknown["range"]["start"] == place(text, "use")
    (related,) = unknown["relatedInformation"]
    assert related["location"]["uri"] == client.uri("wrong.roll")
    assert related["location"]["range"]["start"] == {"line": 1, "character": 8}


def test_hover_tells_kind_shape_and_axes(client: Client) -> None:
    said = hover(client, NET, "γ", 2)
    assert "γ = leaky(x * α; H=H)" in said
    assert "a value: [4], at every step along `t`" in said
    assert "𝛾" in said
    assert "a size: 4" in hover(client, NET, "H", 1)
    assert "index(2), at every step" in hover(client, NET, "y:")
    assert "a parameter: [2, 4], the same at every step" in hover(client, NET, "V @")
    assert "what training makes small" in hover(client, NET, "loss")
    assert "-log softmax(scores)[target]" in hover(client, NET, "cross_entropy")
    said = hover(client, NET, "leaky")
    assert "cell leaky(x; H, keep=0.9) -> h" in said
    assert "A leaky unit, of use." in said
    assert "a matrix times a vector" in hover(client, NET, "@")
    assert hover(client, NET, "𝛾") == ""
    assert hover(client, CELLS, "use.", name="parts.roll") == ""


def test_hover_tells_complex_values_and_conditions(client: Client) -> None:
    text = "net a\ninput z: complex[3]\nu = z * z\nc = real(u) > 0\noutput u, c\n"
    client.open("kinds.roll", text)
    assert "a value: complex[3], at every step" in hover(client, text, "u", 1, "kinds.roll")
    assert "a value: condition[3], at every step" in hover(client, text, "c =", 0, "kinds.roll")


def test_hover_in_a_cell_tells_each_use(client: Client) -> None:
    text = CELLS + NET.replace('use "parts.roll"\n', "")
    client.open("one.roll", text)
    said = hover(client, text, "W @", name="one.roll")
    assert "- `γ.W`: [4, 3], the same at every step" in said
    assert "- `low.W`: [8, 4], the same at every step" in said
    assert "what it sees" in said


def test_definitions_across_files(client: Client) -> None:
    found = client.ask("definition", "net.roll", place(NET, "γ", 2))
    assert found["range"]["start"] == place(NET, "γ = ")
    for of in ("leaky(x", "H=2*H"):
        found = client.ask("definition", "net.roll", place(NET, of))
        assert found["uri"] == client.uri("parts.roll")
    assert found["range"]["start"] == place(CELLS, "H,")
    found = client.ask("definition", "net.roll", place(NET, "parts"))
    assert (found["uri"], found["range"]["start"]["line"]) == (client.uri("parts.roll"), 0)
    assert client.ask("definition", "net.roll", place(NET, "tanh")) is None


def test_a_value_is_renamed_where_it_is_read(client: Client) -> None:
    found = client.ask("rename", "net.roll", place(NET, "γ", 3), newName="state")
    assert list(found["changes"]) == [client.uri("net.roll")]
    expected = NET.replace("γ = ", "state = ").replace("tanh(γ)", "tanh(state)")
    expected = expected.replace("V @ γ", "V @ state")
    assert edited(NET, found["changes"][client.uri("net.roll")]) == expected


@pytest.mark.parametrize(("of", "new"), [("leaky(", "unit"), ("keep", "stay"), ("H, ", "width")])
def test_a_cell_and_its_sizes_are_renamed_in_all_files(client: Client, of: str, new: str) -> None:
    """Those of the workspace that are not open too."""
    (client.root / "other.roll").write_text(NET.replace("low", "lower"))
    found = client.ask("rename", "parts.roll", place(CELLS, of), newName=new)["changes"]
    wanted = {client.uri(name) for name in ("parts.roll", "net.roll", "other.roll")}
    assert wanted <= set(found)
    assert len(found[client.uri("net.roll")]) == len(found[client.uri("other.roll")])
    old = of.rstrip(", (")
    text = edited(NET, found[client.uri("net.roll")])
    assert (f"{new}(x" in text) == (old == "leaky")
    assert (f"{new}=" in text) == (old != "leaky")
    assert "dim D = 3, H = 4" in text


def test_a_file_is_called_as_the_editor_calls_it(client: Client) -> None:
    """A name can be encoded in several ways; the text is the one that is open."""
    text = CELLS.replace("leaky", "slow")
    uri = client.uri("slow.roll").replace("slow.roll", "sl%6Fw.roll")
    (client.root / "slow.roll").write_text("")
    document = {"uri": uri, "languageId": "roll", "version": 1, "text": text}
    client.notify("textDocument/didOpen", {"textDocument": document})
    client.open("reader.roll", 'net a\nuse "slow.roll"\ninput x: [2]\nh = slow(x; H=3)\noutput h\n')
    at = {"line": 3, "character": 4}
    assert client.ask("definition", "reader.roll", at)["uri"] == uri
    found = client.ask("rename", "reader.roll", at, newName="lazy")["changes"]
    assert {uri, client.uri("reader.roll")} == set(found)


@pytest.mark.parametrize("new", ["x", "loss", "2a", "a b", "D"])
def test_a_name_that_is_taken_or_is_none(client: Client, new: str) -> None:
    with pytest.raises(ServerError, match=f"`{new}`"):
        client.ask("rename", "net.roll", place(NET, "γ", 2), newName=new)


def test_what_comes_with_rollc_is_not_renamed(client: Client) -> None:
    text = 'net a\nuse "cells/gru.roll"\ninput x: [2]\nh = gru(x; H=3)\noutput h\n'
    client.open("shipped.roll", text)
    with pytest.raises(ServerError, match="comes with rollc"):
        client.ask("prepareRename", "shipped.roll", place(text, "gru(x"))
    with pytest.raises(ServerError, match="no name here"):
        client.ask("prepareRename", "shipped.roll", place(text, "output"))


def proposed(client: Client, text: str) -> dict[str, Any]:
    """What is proposed at the end of a text."""
    client.open("begun.roll", text)
    found = client.ask("completion", "begun.roll", place(f"{text}\0", "\0"))
    return {each["label"]: each for each in found}


def test_completion(client: Client) -> None:
    text = NET.replace("output o\n", "")
    found = proposed(client, f"{text}z = tanh(")
    assert {"γ", "low", "x", "tanh", "cross_entropy", "leaky", "V"} <= set(found)
    assert found["γ"]["detail"] == "a value: [4], at every step along t"
    assert found["tanh"]["detail"] == "tanh(x)"
    assert "t" not in found and "param" not in found
    assert {"param", "output", "γ"} <= set(proposed(client, f"{text}ou"))
    for call in ("leaky(x; ", "leaky(x;  # two lines\n    H=3, "):
        assert {"H=", "keep="} <= set(proposed(client, f"{text}z = {call}"))
    assert set(proposed(client, f'{text}use "')) >= {"parts.roll", "cells/lstm.roll"}
    two = "net a\ntime s, t\ninput x[s]\ny = sum(x, over "
    assert set(proposed(client, two)) == {"s", "t"}


@pytest.mark.parametrize(
    ("typed", "form", "active"),
    [
        ("tanh(", "tanh(x)", "x"),
        ("layer_norm(f(x, [1, 2]), ", "layer_norm(x, gain, bias, epsilon=1e-05", "gain"),
        ("layer_norm(x, epsilon=", "layer_norm(x, gain, bias, epsilon=1e-05", "epsilon=1e-05"),
        ("where(x[", "where(condition, then, otherwise)", "condition"),
        ("tanh(leaky(x; H=3, keep=", "leaky(x; H, keep=0.9) -> h", "keep=0.9"),
        ("tanh(leaky(x; H=3), ", "tanh(x)", "x"),
    ],
)
def test_what_a_call_takes(client: Client, typed: str, form: str, active: str) -> None:
    text = f"{NET}z = {typed}"
    client.open("called.roll", text)
    found = client.ask("signatureHelp", "called.roll", place(f"{text}\0", "\0"))
    (shown,) = found["signatures"]
    assert shown["label"].startswith(form)
    assert shown["parameters"][found["activeParameter"]]["label"] == active


def test_symbols_are_a_tree(client: Client) -> None:
    (cell,) = client.ask("documentSymbol", "parts.roll")
    assert cell["name"] == "leaky"
    assert [each["name"] for each in cell["children"]] == ["x", "H", "keep", "W", "h"]
    found = {each["name"]: each for each in client.ask("documentSymbol", "net.roll")}
    assert list(found) == ["γ_net", "D", "H", "x", "α", "y", "V", "γ", "low", "o"]
    assert found["o"]["detail"] == "a value: [2], at every step along t"


def test_formatting(client: Client) -> None:
    text = "net a\ninput   x\nh=x+1 # 𝛾\noutput h"
    client.open("ugly.roll", text)
    options = {"tabSize": 4, "insertSpaces": True}
    found = client.ask("formatting", "ugly.roll", options=options)
    assert edited(text, found) == (
        "net a\ninput x\nh = x + 1                             # 𝛾\noutput h\n"
    )
    client.open("ugly.roll", "net a\nh = (")
    assert client.ask("formatting", "ugly.roll", options=options) == []


def test_a_picture_on_demand(client: Client) -> None:
    def draw(name: str) -> str:
        given = {"command": "rollc.draw", "arguments": [client.uri(name)]}
        return str(client.request("workspace/executeCommand", given))

    if graphviz.is_there():
        assert draw("net.roll").lstrip().startswith(("<svg", "<?xml"))
    else:
        with pytest.raises(ServerError, match="no Graphviz"):
            draw("net.roll")
    client.open("unfinished.roll", "net a\nh = (")
    with pytest.raises(ServerError, match="no picture of a text with errors"):
        draw("unfinished.roll")


def test_references(client: Client) -> None:
    context = {"includeDeclaration": True}
    found = client.ask("references", "net.roll", place(NET, "x"), context=context)
    assert [each["range"]["start"] for each in found] == [
        place(NET, "x: [D]"),
        place(NET, "x * α"),
    ]


def test_an_unsaved_file_that_is_used(client: Client) -> None:
    """The text in the editor counts, not the one on the disk; a text that uses it is read anew."""
    client.change("parts.roll", CELLS.replace("keep=0.9", "keep"))
    while not (found := client.diagnostics("net.roll")):
        pass
    assert "keep" in found[0]["message"]
    client.change("parts.roll", CELLS)
    while client.diagnostics("net.roll"):
        pass
