"""The page of the manual, made when a wheel is built: `man rollc` finds it where pip puts it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)  # the command needs nothing but click to say what it does
        from rollc.tools.cli.commands import rollc
        from rollc.tools.cli.text_commands import manual

        self.page = Path(self.directory, "rollc.1")
        self.page.parent.mkdir(exist_ok=True)
        self.page.write_text(manual.page(rollc), encoding="utf-8")
        build_data["shared_data"][str(self.page)] = "share/man/man1/rollc.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.page.unlink()
