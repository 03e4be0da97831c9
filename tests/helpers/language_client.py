"""An editor as a language server meets it: messages of JSON over standard input and output."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

LONGEST = 120  # seconds until a server that does not answer is ended

Position = dict[str, int]


class ServerError(Exception):
    """The server refused a request."""


class Client:
    """A server of its own, with a folder as its workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rollc", "lsp", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.watch = threading.Timer(LONGEST, self.process.kill)
        self.watch.start()
        self.count = 0
        self.notes: list[dict[str, Any]] = []

    def __enter__(self) -> Client:
        folders = [{"uri": self.root.as_uri(), "name": "specs"}]
        given = {"processId": None, "rootUri": self.root.as_uri(), "capabilities": {}}
        self.capabilities = self.request("initialize", {**given, "workspaceFolders": folders})[
            "capabilities"
        ]
        self.notify("initialized", {})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.request("shutdown", None)
            self.notify("exit", None)
            assert self.process.wait(LONGEST) == 0
        self.watch.cancel()
        self.process.kill()
        self.process.communicate()

    # Messages

    def send(self, message: dict[str, Any]) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        length = 0
        while (line := self.process.stdout.readline()) != b"\r\n":
            if not line:
                raise EOFError(self.process.stderr.read().decode())
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        found: dict[str, Any] = json.loads(self.process.stdout.read(length))
        return found

    def request(self, method: str, params: Any) -> Any:
        self.count += 1
        self.send({"id": self.count, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") != self.count or "method" in message:
                self.notes.append(message)
            elif "error" in message:
                raise ServerError(message["error"]["message"])
            else:
                return message["result"]

    def notify(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    # Texts

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def open(self, name: str, text: str) -> None:
        """Open a text in the editor, and write it to its file."""
        (self.root / name).write_text(text, encoding="utf-8")
        document = {"uri": self.uri(name), "languageId": "roll", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, name: str, text: str) -> None:
        document = {"uri": self.uri(name), "version": 2}
        changes = {"textDocument": document, "contentChanges": [{"text": text}]}
        self.notify("textDocument/didChange", changes)

    def diagnostics(self, name: str) -> list[dict[str, Any]]:
        """Those that come next for a text."""
        while True:
            for place, note in enumerate(self.notes):
                published = note.get("method") == "textDocument/publishDiagnostics"
                if published and note["params"]["uri"] == self.uri(name):
                    del self.notes[: place + 1]
                    found: list[dict[str, Any]] = note["params"]["diagnostics"]
                    return found
            self.notes.append(self.receive())

    def ask(self, method: str, name: str, at: Position | None = None, **more: Any) -> Any:
        """Ask something of a text, at a place."""
        params: dict[str, Any] = {"textDocument": {"uri": self.uri(name)}, **more}
        if at is not None:
            params["position"] = at
        return self.request(f"textDocument/{method}", params)


def place(text: str, of: str, count: int = 0) -> Position:
    """Where a word of a text begins, in units of UTF-16."""
    offset = -1
    for _ in range(count + 1):
        offset = text.index(of, offset + 1)
    before = text[:offset]
    start = before.rfind("\n") + 1
    return {
        "line": before.count("\n"),
        "character": len(before[start:].encode("utf-16-le")) // 2,
    }


def edited(text: str, edits: list[dict[str, Any]]) -> str:
    """A text with the changes of a server applied."""
    lines = text.split("\n")

    def offset(at: Position) -> int:
        line = lines[at["line"]].encode("utf-16-le")[: 2 * at["character"]].decode("utf-16-le")
        return sum(len(each) + 1 for each in lines[: at["line"]]) + len(line)

    found = [(offset(e["range"]["start"]), offset(e["range"]["end"]), e["newText"]) for e in edits]
    for start, end, new in sorted(found, reverse=True):
        text = text[:start] + new + text[end:]
    return text
