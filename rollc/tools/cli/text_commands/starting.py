"""``new``: a spec to start from."""

from __future__ import annotations

import re
from pathlib import Path

from rollc.errors import InputError
from rollc.support import resources
from rollc.tools import console

ENDING = ".roll"
BEGINNING = Path(__file__).with_name("beginning.roll")


def write(name: str, template: str | None) -> None:
    """Write a spec that does not exist yet, and print its path."""
    from rollc.lang.syntax.statement_splitter import KEYWORDS

    path = Path(name if name.endswith(ENDING) else f"{name}{ENDING}")
    net = path.stem
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", net) or net in {*KEYWORDS, "t"}:
        raise InputError(
            f"`{net:.100}` cannot be the name of a net: letters, digits and _, such as `my_net`"
        )
    if template is None:
        text = resources.text_of(BEGINNING).replace("NAME", net)
    else:
        text = resources.text_of(_template(template))
        text = re.sub(r"^net \w+", f"net {net}", text, count=1, flags=re.MULTILINE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"`{path}` exists, and is left as it is: choose another name") from None
    except OSError as error:
        raise InputError(f"cannot write `{path}`: {error.strerror}") from error
    print(path)
    console.say(f"see what it is: rollc check {path}, rollc draw {path}")


def _template(name: str) -> Path:
    """A spec that comes with rollc, and no file that happens to be here."""
    path = resources.find_spec(name)
    if path not in resources.specs().values():
        raise InputError(f"no spec `{name:.100}` comes with rollc: see `rollc list`")
    return path
