"""``list``: the specs and the cells that come with rollc."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rollc.errors import InputError
from rollc.support import resources
from rollc.tools import console


@dataclass(frozen=True, slots=True)
class Item:
    """A spec or a cell: how it is named or called, its file under ``specs/``, a line on it."""

    name: str
    kind: str
    file: str
    what: str


def items() -> Iterator[Item]:
    """All of them, the specs first."""
    for name, path in resources.specs().items():
        yield Item(name, "spec", f"{name}.roll", about(resources.text_of(path)))
    for path in sorted((resources.folder("specs") / resources.CELLS).glob("*.roll")):
        text = resources.text_of(path)
        for form in re.findall(r"^cell (.*?) *\{", text, re.MULTILINE):
            yield Item(form, "cell", f"{resources.CELLS}/{path.name}", about(text))


def about(text: str) -> str:
    """The first sentence of the comment that a text begins with."""
    lines = re.match(r"(?:#[^\n]*\n)*", text)
    assert lines is not None
    paragraph = re.split(r"\n#? *\n", lines[0])[0]
    words = " ".join(re.sub(r"^#", "", paragraph, flags=re.MULTILINE).split())
    return re.split(r"[.:;?](?= |$)", words)[0]


def show(words: Sequence[str], as_json: bool) -> None:
    """Print those that have all of the words, in their names or in what is said of them."""
    found = [
        item
        for item in items()
        if all(
            word.lower() in f"{item.name} {Path(item.file).with_suffix('')} {item.what}".lower()
            for word in words
        )
    ]
    if as_json:
        print(json.dumps([asdict(item) for item in found], indent=2))
        return
    if not found:
        raise InputError(f"nothing that comes with rollc is about `{' '.join(words):.100}`")
    named = {"spec": ("spec", "what it is"), "cell": ("cell", "use", "what it is")}
    for place, kind in enumerate(kind for kind in named if any(i.kind == kind for i in found)):
        if place:
            print()
        rows = [
            (item.name, item.what) if kind == "spec" else (item.name, item.file, item.what)
            for item in found
            if item.kind == kind
        ]
        console.table(named[kind], rows)
