"""The ``rollc`` command.

Results go to standard output and messages to standard error.  The exit status is 0 where
all is well, 1 for an erroneous spec, 2 for wrong usage or a file that cannot be read or
written, 3 for a bug of rollc itself, 130 where it was interrupted.

Start-up is part of every use: slow imports are done where they are needed.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from rollc.errors import RollcError
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.tools import console, fault_report, standard_streams
from rollc.tools.cli.commands import rollc
from rollc.tools.cli.text_commands import completion

FINE, WRONG_SPEC, WRONG_USE, INTERNAL, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = console.show_warning  # type: ignore[assignment]
    try:
        with standard_streams.guarded():
            status = _run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        standard_streams.forget_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except standard_streams.CannotWrite as error:
        console.error(str(error))
        standard_streams.forget_output()
        return WRONG_USE
    return status


def _run(arguments: list[str]) -> int:
    try:
        os.getcwd()
    except OSError as error:
        console.error(f"cannot use the folder that you are in: {error.strerror}")
        return WRONG_USE
    if asked := os.environ.get(completion.VARIABLE):  # by a shell, for its completion
        return shell_complete(rollc, {}, "rollc", completion.VARIABLE, asked)
    try:
        with rollc.make_context("rollc", arguments) as context:
            rollc.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except SpecError as error:
        console.wrong_spec(error)
        return WRONG_SPEC
    except standard_streams.CannotWrite:
        raise
    except RollcError as error:
        console.error(str(error))
        return WRONG_USE
    except MemoryError:
        console.error("out of memory")
        return WRONG_USE
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        fault_report.write(arguments, error)
        return INTERNAL
    return FINE
