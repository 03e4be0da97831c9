"""Options that several commands take, and the parsing of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

# As in rollc.driver.stages, which takes long to import.
STAGES = (
    *("syntax", "graph", "checked", "simplified", "adjoint", "tangent", "dag"),
    *("schedule", "program", "why", "kernel"),
)
DRAWN = ("graph", "checked", "simplified", "adjoint", "tangent", "dag", "schedule")
THEMES = ("auto", "light", "dark")  # as in rollc.drawing.formats.theme
KERNELS = (
    *("forward", "gradient", "vjp", "stream", "gradient.state", "vjp.state"),
    *("forward.lengths", "gradient.lengths", "vjp.lengths"),
    *("stream.lengths", "gradient.state.lengths", "vjp.state.lengths"),
    *("loss", "loss.state", "loss.lengths", "loss.state.lengths"),
    *("jvp", "jvp.state", "jvp.lengths", "jvp.state.lengths"),
    *("hvp", "hvp.state", "hvp.lengths", "hvp.state.lengths"),
    *("gradient_vjp", "gradient_vjp.state"),
    *("gradient_vjp.lengths", "gradient_vjp.state.lengths"),
    *("by_sequence", "by_sequence.state"),
    *("by_sequence.lengths", "by_sequence.state.lengths"),
    *("start", "start.lengths", "window", "window.vjp"),
    *("tangent", "tangent.2", "tangent.3", "tangent.4"),
    *("tangent.lengths", "tangent.2.lengths", "tangent.3.lengths", "tangent.4.lengths"),
)
GRADIENTS = ("adjoint", "forward")
READING = {  # how tables are read: options of click, and what a user writes
    "mapping": "map",
    "target": "target",
    "missing": "missing",
    "mask": "mask",
    "sequence": "sequence",
    "separator": "separator",
    "text": "text",
}

Command = TypeVar("Command", bound=Callable[..., Any])


def sizes_of(
    context: click.Context, option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, int]:
    """``H=64`` and more of them as a dictionary."""
    sizes, seen = {}, dict[str, str]()
    for pair in pairs:
        name, _, number = map(str.strip, pair.partition("="))
        try:
            sizes[name] = int(number[:20])
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(f"`{pair}` is not of the form NAME=INTEGER, such as H=64")
        if seen.setdefault(name, pair) != pair:
            raise click.BadParameter(f"`{seen[name]}` and `{pair}`: a size has one value")
    return sizes


def ranges_of(
    context: click.Context, option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """``x=0,1`` and more of them as bounds by name."""
    ranges = {}
    for pair in pairs:
        name, _, text = map(str.strip, pair.partition("="))
        try:
            low, high = map(float, text.split(","))
            sound = bool(name) and math.isfinite(low) and math.isfinite(high) and low <= high
        except ValueError:
            sound = False
        if not sound:
            raise click.BadParameter(f"`{pair}` is not of the form NAME=LOW,HIGH, such as x=0,1")
        ranges[name] = low, high
    return ranges


def shares_of(
    context: click.Context, option: click.Parameter, text: str | tuple[float, ...] | None
) -> tuple[float, ...] | None:
    """``0.8,0.1,0.1`` as numbers whose sum is 1; a single one leaves the rest for validation."""
    if text is None or isinstance(text, tuple):
        return text
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    shares += [1 - shares[0]] if len(shares) == 1 else []
    if not 2 <= len(shares) <= 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise click.BadParameter(
            f"`{text}` is not of the form 0.8,0.1,0.1: two or three shares whose sum is 1"
        )
    return tuple(shares)


class _Seconds(click.ParamType):  # type: ignore[type-arg]
    """``60s``, ``5m`` or ``1h``; a plain number is of seconds."""

    name = "seconds"

    def convert(
        self, value: Any, option: click.Parameter | None, context: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([smh]?)", str(value).strip())
        if found is None:
            self.fail(f"`{value}` is not of the form 60s, 5m or 1h", option, context)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


SECONDS = _Seconds()


def written_name(option: click.Parameter) -> str:
    """What an option or argument is called in a file: as on the command line, without dashes."""
    return max(option.opts, key=len).lstrip("-")


def configured(context: click.Context, option: click.Parameter, path: str | None) -> str | None:
    """Take the options of a TOML file for those that are not given."""
    if path is None:
        return None
    from pathlib import Path

    from rollc.training.runs.run_folder import read_options

    known = {written_name(each): each for each in context.command.params}
    found: dict[str, Any] = {}
    for name, value in read_options(Path(path)).items():
        if name not in known:
            raise click.BadParameter(f"`{path}` has `{name}`, which is no option of this command")
        found[known[name].name or name] = as_given(known[name], value)
    context.default_map = {**(context.default_map or {}), **found}
    return path


def as_given(option: click.Parameter, value: Any) -> Any:
    """A value of a file as the command line would have it."""
    if isinstance(value, dict):
        return [f"{name}={number}" for name, number in value.items()]
    if isinstance(value, list) and not option.multiple:
        return ",".join(map(str, value))
    return value


def bytes_of(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """``64MB`` as a number of bytes; also kB and GB, or a plain number."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([kMG]?)B?", text.strip())
    count = float(found[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]] if found else 0
    if count < 1:
        raise click.BadParameter(f"`{text}` is not of the form 64MB")
    return int(count)


def steps_of(
    context: click.Context, option: click.Parameter, counts: tuple[str, ...]
) -> int | dict[str, int] | None:
    """``20``, or ``s=20`` and one for each other axis as a dictionary."""
    found: dict[str, int] = {}
    for text in counts:
        match = re.fullmatch(r"(?:([^\W\d]\w{0,99})=)?0*(\d{1,10})", text.strip())
        if match is None or (match[1] is None and len(counts) > 1):
            raise click.BadParameter(f"`{text}` is not of the form 20, or t=20 for each time axis")
        if match[1] is None:
            return int(match[2])
        if match[1] in found:
            raise click.BadParameter(f"`{text}`: the steps of {match[1]} are given twice")
        found[match[1]] = int(match[2])
    return found or None


def step_sizes(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> list[tuple[int, int, int]]:
    """``100x32x128``: steps, sequences and width."""
    sizes = []
    for text in texts:
        found = re.fullmatch(r"(\d{1,7})x(\d{1,5})x(\d{1,5})", text.strip())
        size = tuple(map(int, found.groups())) if found else (0,)
        if len(size) != 3 or min(size) < 1:
            raise click.BadParameter(f"`{text}` is not of the form TxBxH, such as 100x32x128")
        sizes.append(size)
    return sizes


def words_of(context: click.Context, option: click.Parameter, text: str | None) -> list[str]:
    """``a,b`` as a list."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def counts_of(context: click.Context, option: click.Parameter, text: str | None) -> list[int]:
    """``1,2`` as a list of numbers from 1 on."""
    words = words_of(context, option, text)
    if not all(re.fullmatch(r"[1-9]\d{0,2}", word) for word in words):
        raise click.BadParameter(f"`{text}` is not of the form 1,2")
    return list(map(int, words))


class RunCommand(click.Command):
    """``--grad`` alone is ``--grad adjoint``, whatever argument comes after it."""

    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        given: list[str] = []
        for place, word in enumerate(words):
            given.append(word)
            if word == "--grad" and words[place + 1 : place + 2] not in [[w] for w in GRADIENTS]:
                given.append("adjoint")
        return super().parse_args(context, given)


def sets_option(command: Command) -> Command:
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="NAME=INTEGER",
        callback=sizes_of,
        help="Override a size (`dim`) of the spec.  May be given several times.",
    )(command)


def grid_option(help_text: str) -> Callable[[Command], Command]:
    return click.option(
        "--steps", multiple=True, metavar="N|AXIS=N", callback=steps_of, help=help_text
    )


def steps_option(help_text: str) -> Callable[[Command], Command]:
    return click.option("--steps", type=click.IntRange(min=1), metavar="N", help=help_text)


def running_steps_option(command: Command) -> Command:
    return click.option(
        "--steps",
        multiple=True,
        metavar="N|AXIS=N",
        callback=steps_of,
        help="How many steps to run where no input says so; by axis where there are two.",
    )(command)


def params_option(command: Command) -> Command:
    return click.option(
        "--params",
        metavar="P.npz",
        help="The parameters.  Without it they are drawn from the seed.",
    )(command)


def flow_options(command: Command) -> Command:
    """Data that a network is followed on: for commands that show what flows through it."""
    inputs = click.option(
        "--inputs",
        metavar="F",
        help="The inputs, and for gradients the targets, as for `rollc run`.",
    )
    last = (running_steps_option, table_options, sets_option, feed_option)
    for option in reversed((inputs, params_option, seed_option, *last)):
        command = option(command)
    return command


def dtype_option(command: Command) -> Command:
    return click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="The type of all numbers.",
    )(command)


def backend_option(command: Command) -> Command:
    return click.option(
        "--backend",
        type=click.Choice(["numba", "reference"]),
        help="What runs the kernels: Numba compiles them, and is the default unless"
        " $ROLLC_BACKEND says otherwise; `reference` interprets their programs, slowly.",
    )(command)


def kernel_option(command: Command) -> Command:
    return click.option(
        "--kernel",
        type=click.Choice(KERNELS),
        metavar="KERNEL",  # there are many, which a wrong one lists
        help="Of which kernel, such as `vjp`; if not given, `gradient` where there is a loss.",
    )(command)


def table_options(command: Command) -> Command:
    """How a table becomes arrays: for commands that read one."""
    for option in reversed(
        (
            click.option(
                "--map",
                "mapping",
                multiple=True,
                metavar="NAME=COLUMN,...",
                callback=pairs_in,
                help="The columns of a table that make an input or target.  Again for others.",
            ),
            click.option(
                "--target", metavar="COLUMN,...", help="The columns of the target, if it is one."
            ),
            click.option(
                "--missing",
                type=click.Choice(["error", "drop", "hold", "mask"]),
                default="error",
                show_default=True,
                help="Where a cell is missing: drop the row, hold the cell before, or mask it.",
            ),
            click.option(
                "--mask",
                multiple=True,
                metavar="NAME[=OF]",
                help="The input that is 1 where no cell of the row is missing (or none of OF),"
                " and else 0.",
            ),
            click.option(
                "--sequence", metavar="COLUMN", help="The column that tells sequences apart."
            ),
            click.option(
                "--separator",
                metavar="CHARACTER",
                callback=separator_in,
                help="Between the cells of a table; found in its first line if not given.",
            ),
            click.option(
                "--text",
                type=click.Choice(["characters", "words"]),
                help="Read a text, whose symbols are what the network takes as an index.",
            ),
        )
    ):
        command = option(command)
    return command


def pairs_in(
    context: click.Context, option: click.Parameter, pairs: tuple[str, ...]
) -> tuple[str, ...]:
    """``x=pressure,temperature`` and more of them, as they are."""
    for pair in pairs:
        name, _, columns = pair.partition("=")
        if not (name.strip() and columns.strip()):
            raise click.BadParameter(f"`{pair}` is not of the form NAME=COLUMN,..., such as x=a,b")
    return pairs


def separator_in(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """One character; `\\t` and `tab` are a tabulator."""
    text = {"\\t": "\t", "tab": "\t"}.get(text or "", text)
    if text is not None and (len(text) != 1 or text in '"\r\n' or not text.isascii()):
        raise click.BadParameter(f"`{text}` is not one character, such as `;` or tab")
    return text


def feed_option(command: Command) -> Command:
    return click.option(
        "--feed",
        type=click.Choice(["taught", "free"]),
        default="taught",
        show_default=True,
        help="What `feed` reads: the target, or what the network computed itself.",
    )(command)


def seed_option(command: Command) -> Command:
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="S",
        help="Where random numbers start.",
    )(command)


def format_option(command: Command) -> Command:
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="For people or for machines.",
    )(command)
