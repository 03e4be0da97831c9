"""The commands of texts: their options, and their output."""

from __future__ import annotations

import click

from rollc.tools.cli.text_commands import completion


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
@click.option("--stdio", is_flag=True, hidden=True, expose_value=False)  # as many editors say it
def lsp() -> None:
    """Answer an editor by the Language Server Protocol, on standard input and output.

    Messages with their fixes while one types, what a name or a function is, its definition and
    uses, other names, completion, an outline, the layout of `rollc fmt`, and a picture of the
    net.  It needs `pip install 'rollc[lsp]'`.
    """
    try:
        import pygls  # noqa: F401
    except ModuleNotFoundError:
        message = "the language server needs pygls: pip install 'rollc[lsp]'"
        raise click.ClickException(message) from None
    from rollc.tools.language_server import features

    features.serve()


@click.command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...", shell_complete=completion.specs_and_cells)
@click.option("--json", "as_json", is_flag=True, help="For programs: a list with their files.")
def listing(words: tuple[str, ...], as_json: bool) -> None:
    """List the specs and the cells that come with rollc, with a line on each.

    With WORD those alone that have it in their names or in that line, and with several those
    that have all.
    """
    from rollc.tools.cli.text_commands import listing

    listing.show(words, as_json)


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--template",
    metavar="SPEC",
    shell_complete=completion.specs,
    help="Start from a spec that comes with rollc (`rollc list`), such as lstm, delays/biquad or"
    " spiking/spikes.  Without it, from a plain recurrent layer.",
)
def new(name: str, template: str | None) -> None:
    """Write a commented spec to start from, NAME.roll.

    A file that exists is left as it is.
    """
    from rollc.tools.cli.text_commands import starting

    starting.write(name, template)


@click.command("completion")
@click.argument("shell", type=click.Choice(completion.SHELLS))
@click.pass_context
def complete(context: click.Context, shell: str) -> None:
    """Print what a shell has to read to complete commands, options, and names of specs.

    \b
    bash   echo 'eval "$(rollc completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(rollc completion zsh)"' >> ~/.zshrc
    fish   rollc completion fish > ~/.config/fish/completions/rollc.fish
    """
    click.echo(completion.script(context.find_root().command, shell))


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print this help as a page of the manual.

    \b
    To read it      rollc man | man -l -
    To install it   rollc man > ~/.local/share/man/man1/rollc.1
    """
    from rollc.tools.cli.text_commands import manual

    group = context.find_root().command
    assert isinstance(group, click.Group)
    click.echo(manual.page(group), nl=False)


COMMANDS = (fmt, new, listing, lsp, complete, man)
