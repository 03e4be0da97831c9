"""Cells of a notebook that hold a spec: ``%load_ext rollc``, and then ``%%roll net``."""

from __future__ import annotations

from typing import Any

import click

from rollc.errors import RollcError
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.tools import console
from rollc.tools.cli.options import dtype_option, feed_option, sets_option


def load_ipython_extension(shell: Any) -> None:
    """Give an IPython shell the magic ``%%roll``."""
    shell.register_magic_function(lambda line, cell: roll(shell, line, cell), "cell", "roll")


def roll(shell: Any, line: str, cell: str) -> Any:
    """Build the spec of a cell, and put the network into a variable.

        %%roll net --set H=16

    Without a name it is what the spec says behind `net`.  What is wrong is said below the cell.
    """
    try:
        name, options = _arguments.main(
            line.split(), prog_name="%%roll", standalone_mode=False
        ) or (None, {})
    except click.ClickException as wrong:
        console.error(wrong.format_message())
        return None
    if not options:
        return None  # --help
    from rollc.driver.build import build_source
    from rollc.network.pairs.network import with_complex_arrays

    try:
        network, _ = build_source(cell, "cell", **options)
    except SpecError as wrong:
        console.wrong_spec(wrong)
        return None
    except RollcError as wrong:
        console.error(str(wrong))
        return None
    network = with_complex_arrays(network)
    shell.push({name or network.name: network})
    return network


@click.command()
@click.argument("name", required=False)
@sets_option
@dtype_option
@feed_option
def _arguments(name: str | None, **options: Any) -> tuple[str | None, dict[str, Any]]:
    """Build the spec of this cell, and put the network into the variable NAME."""
    return name, options
