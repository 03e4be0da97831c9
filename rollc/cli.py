"""The command line."""

import click


@click.group()
def main() -> None:
    """A compiler for recurrent networks."""
