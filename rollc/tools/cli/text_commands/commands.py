"""The commands of texts: their options, and their output."""

from __future__ import annotations

import click


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", "difference", is_flag=True, help="The same, and print what would change.")
@click.pass_context
def fmt(context: click.Context, files: tuple[str, ...], check: bool, difference: bool) -> None:
    """Lay out specs: blanks, indentation, empty lines.

    Lines stay where you broke them, and comments and brackets as they are.  The files are
    rewritten, those of a folder and all inside it that end in .roll; the text that `-` reads is
    printed.  What cannot be parsed is left as it is, and said.  Exits with 1 then.
    """
    from rollc.tools.cli.text_commands import formatting

    context.exit(formatting.format_files(files, check, difference))


COMMANDS = (fmt,)
