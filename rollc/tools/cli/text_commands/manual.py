"""``man``: the help of all commands as one page of the manual, in the language of `man`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from rollc.support.version import VERSION


def page(group: click.Group) -> str:
    """The page, made of what `--help` prints."""
    return "\n".join(_lines(group)) + "\n"


def _lines(group: click.Group) -> Iterator[str]:
    context = click.Context(group, info_name="rollc", **group.context_settings)
    yield f'.TH ROLLC 1 "" "rollc {VERSION}" "User Commands"'
    yield from (".SH NAME", r"rollc \- a compiler for recurrent networks", ".SH SYNOPSIS")
    yield r"\fBrollc\fR \fICOMMAND\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]..."
    yield ".SH DESCRIPTION"
    yield from _text(group.help or "")
    yield from _text(group.epilog or "")
    yield ".SH OPTIONS"
    yield from _options(group, context)
    yield ".SH COMMANDS"
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield from (f".SS {_escaped(f'rollc {name} {usage}')}", *_text(command.help or ""))
        yield from _options(command, inner)
        yield from _text(command.epilog or "")
    yield from (".SH EXIT STATUS", *_text(STATUS), ".SH ENVIRONMENT", *_text(ENVIRONMENT))


STATUS = """\
0 where all is well, 1 where a spec is wrong, 2 for a wrong use or a file that cannot be read or
written, 3 for a fault of rollc itself, 130 where it was interrupted."""
ENVIRONMENT = """\
ROLLC_CACHE is the folder of builds, ROLLC_THREADS how many threads share large batches,
ROLLC_BACKEND the backend, and NO_COLOR turns colours off."""


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and not (context.parent and parameter.name == "help"):
            name = _escaped(record[0]).replace("|", r"|\:")  # a line can be broken there
            yield from (".TP", rf"\fB{name}\fR", _escaped(record[1]))


def _text(text: str) -> Iterator[str]:
    """Paragraphs; those that begin with the mark of click keep their lines."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.split("\n")
        kept = lines[0].strip() == "\b"
        if not paragraph.strip():
            continue
        if kept:
            yield from (".PP", ".nf", *map(_escaped, lines[1:]), ".fi")
        else:
            yield from (".PP", _escaped(" ".join(line.strip() for line in lines)))


def _escaped(text: str) -> str:
    """Text in which nothing is a request or an escape."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("\b", "")
    return rf"\&{text}" if text.startswith((".", "'")) else text
