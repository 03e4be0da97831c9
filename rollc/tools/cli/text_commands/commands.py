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


@click.command()
def lsp() -> None:
    """Answer an editor by the Language Server Protocol, on standard input and output.

    Messages with their fixes while one types, what a name or a function is, its definition and
    uses, other names, completion, an outline, the layout of `rollc fmt`, and a picture of the
    net.  It needs `pip install 'rollc[lsp]'`.  `editors/` has what VS Code needs.
    """
    try:
        import pygls  # noqa: F401
    except ModuleNotFoundError:
        message = "the language server needs pygls: pip install 'rollc[lsp]'"
        raise click.ClickException(message) from None
    from rollc.tools.language_server import features

    features.serve()


COMMANDS = (fmt, lsp)
