"""The commands: their options, and their output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from rollc import __version__
from rollc.tools.cli.data_commands.commands import COMMANDS
from rollc.tools.cli.examples import epilog
from rollc.tools.cli.options import (
    DRAWN,
    KERNELS,
    STAGES,
    THEMES,
    backend_option,
    counts_of,
    dtype_option,
    feed_option,
    format_option,
    grid_option,
    kernel_option,
    ranges_of,
    seed_option,
    sets_option,
    step_sizes,
    steps_option,
    words_of,
)
from rollc.tools.cli.text_commands import commands as texts
from rollc.tools.cli.text_commands import completion
from rollc.tools.demos import DEMOS


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="SPEC is a .roll file, the text of a graph, `-` for standard input, or the name of a"
    " spec that comes with rollc, such as `lstm`.  DIR is a folder that `rollc build` wrote.",
)
@click.version_option(__version__, message="rollc %(version)s")
def rollc() -> None:
    """A compiler for recurrent networks: from equations in a text file to fast kernels,
    forward and adjoint."""


for _command in (*COMMANDS, *texts.COMMANDS):
    rollc.add_command(_command)


@rollc.command()
@click.argument(
    "specs", nargs=-1, required=True, metavar="SPEC...", shell_complete=completion.specs
)
@sets_option
@feed_option
@format_option
@click.pass_context
def check(
    context: click.Context,
    specs: tuple[str, ...],
    sets: dict[str, int],
    feed: Literal["free", "taught"],
    form: str,
) -> None:
    """Say what is wrong with specs, and build nothing.

    The diagnostics are printed to standard output.  Exits with 1 if there is an error.
    """
    from rollc.tools.cli import building

    context.exit(building.check(specs, sets, feed, form))


@rollc.command()
@click.argument("spec", metavar="SPEC", shell_complete=completion.specs)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write the artefact.  Without it, it lies in the cache.",
)
@steps_option("Build the kernel of the network unrolled over N steps.")
@click.option(
    "--truncate",
    type=click.IntRange(min=1),
    metavar="K",
    help="Let no gradient pass the borders of windows of K steps.",
)
@click.option(
    "--combine",
    type=click.Choice(["sum", "mean"]),
    default="sum",
    show_default=True,
    help="What the gradient of a parameter is, over the steps that read it.",
)
@sets_option
@dtype_option
@feed_option
@backend_option
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache of builds.")
@click.option("--timings", is_flag=True, help="Say how long each pass and the compiler take.")
def build(
    spec: str,
    output: Path | None,
    steps: int | None,
    truncate: int | None,
    combine: str,
    sets: dict[str, int],
    dtype: str,
    feed: str,
    backend: str | None,
    no_cache: bool,
    timings: bool,
) -> None:
    """Compile a spec to kernels, and print the folder that holds them."""
    from rollc.tools.cli import building

    options = {"sets": sets, "dtype": dtype, "steps": steps, "feed": feed}
    options |= {"backend": backend, "truncate": truncate, "combine": combine, "cache": not no_cache}
    building.build(spec, output, options, timings)


@rollc.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...", shell_complete=completion.specs)
@click.option("--all", "every", is_flag=True, help="Count in all specs that come with rollc.")
def passes(specs: tuple[str, ...], every: bool) -> None:
    """List the passes of the compiler, in their order.

    With specs, say in how many of their kernels each pass changes something.
    """
    from rollc.tools.cli import passes as listing

    listing.show(specs, every)


@rollc.command()
@click.argument("spec", metavar="SPEC|DIR", shell_complete=completion.specs)
@click.option("--stage", type=click.Choice(STAGES), help="Which text to print.")
@click.option("--after", metavar="PASS", help="Print what a pass makes (`rollc passes`).")
@click.option("--without", multiple=True, metavar="PASS", help="Leave out a pass; several times.")
@kernel_option
@grid_option(
    "Unroll the network over N steps; `dag` needs it.  With two time axes such as s=4 and t=3."
)
@sets_option
@dtype_option
@feed_option
@backend_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot"]),
    default="text",
    show_default=True,
    help="`dot` draws a graph for Graphviz.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write, if not here.")
def ir(
    spec: str,
    stage: str | None,
    after: str | None,
    without: tuple[str, ...],
    kernel: str | None,
    steps: int | dict[str, int] | None,
    sets: dict[str, int],
    dtype: str,
    feed: Literal["free", "taught"],
    backend: str | None,
    form: str,
    output: str,
) -> None:
    """Print a stage of the compilation, or what one of its passes makes.

    The text of the graph stages can be edited and given to the other commands as a SPEC.
    """
    from rollc.driver import stages
    from rollc.tools.cli import building

    if (stage is None) == (after is None):
        raise click.UsageError("give --stage or --after: one of the two")
    choice = stages.Choice(stage or "", kernel, steps, dtype, feed, (), after, without, backend)
    building.show_stage(spec, choice, sets, form, output)


@rollc.command()
@click.argument("spec", metavar="SPEC|DIR", shell_complete=completion.specs)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="The picture: FILE.svg, .png, .pdf or .tex (TikZ), or .dot, which is text for Graphviz."
    "  Without it the text is printed.",
)
@click.option(
    "--stage",
    type=click.Choice(DRAWN),
    default="checked",
    show_default=True,
    help="Which graph to draw; a schedule has its regions as frames.",
)
@click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    metavar="KERNEL",  # there are many, which a wrong one lists
    help="Of which kernel, such as `forward` or `vjp.state`, for `adjoint` and on.",
)
@grid_option("A column for each of N steps; with two time axes a grid, such as s=4 and t=3.")
@click.option("--every-node", is_flag=True, help="A box for each operation, and for parameters.")
@click.option(
    "--open",
    "opened",
    multiple=True,
    metavar="CELL",
    help="Show what is in a cell; several times, or `all`.  By default all, if few boxes do.",
)
@click.option(
    "--theme",
    type=click.Choice(THEMES),
    default="auto",
    show_default=True,
    help="The colours; `auto` is as the reader of an SVG has it.",
)
@sets_option
@feed_option
def draw(**options: Any) -> None:
    """Draw a network: its circuit with delays as black squares, or unrolled over steps.

    A value of the spec is one box with its equation, and a cell a frame, or one box where there
    are many.  The adjoint is red, below the network.  Where there is no program `dot`,
    `pip install 'rollc[draw]'` brings Graphviz.
    """
    from rollc.tools.cli import drawing

    drawing.draw(**options)


@rollc.command()
@click.argument(
    "specs", nargs=-1, required=True, metavar="SPEC...", shell_complete=completion.specs
)
@click.option(
    "--data", metavar="FILE", help="Inputs and targets (.npz) to compare on, not random ones."
)
@click.option("--params", metavar="FILE", help="Parameters (.npz), not random ones.")
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW,HIGH",
    callback=ranges_of,
    help="Draw an input, target or parameter between two bounds.  May be given several times.",
)
@click.option(
    "--compile-all", is_flag=True, help="Compile every kernel, also the rarer ones: takes long."
)
@sets_option
@seed_option
@feed_option
@format_option
@click.pass_context
def verify(context: click.Context, /, specs: tuple[str, ...], **options: Any) -> None:
    """Hold every stage of the compilation to the meaning of the spec.

    Every stage is compared with the interpreter, the adjoint with central differences and
    with the adjoint of the unrolled network, on random data or your own.  Prints the largest
    error of each.  What these data say nothing of, because there is a kink, a jump, or rounding
    alone makes the difference, is not compared, and it is said why.  The main kernels are
    compiled, the others run as plain Python.  A spec that cannot be verified does not stop the
    others.  Exits with 3 if a comparison failed, else with 1 if a spec is wrong, or 2 if it
    cannot be read or run.
    """
    from rollc.tools.cli import proving

    context.exit(proving.verify(specs, **options))


@rollc.command()
@click.argument(
    "subject", required=False, metavar="[CODE|SPEC|DIR]", shell_complete=completion.specs_and_codes
)
@click.argument("nodes", nargs=-1, metavar="[NODE...]", shell_complete=completion.values)
@kernel_option
@steps_option("Of the network unrolled over N steps.")
@sets_option
@dtype_option
@feed_option
def explain(
    subject: str | None,
    nodes: tuple[str, ...],
    kernel: str | None,
    steps: int | None,
    sets: dict[str, int],
    dtype: str,
    feed: Literal["free", "taught"],
) -> None:
    """Explain a diagnostic such as R301, or why a kernel is as it is.

    CODE gets an example and its fix; without any, all codes are listed.  For a spec, a line
    for each node says where it is computed (in a loop, and by which cycle it is held there,
    or free of it), how (fused, stacked, a view), and where its value is kept, and for whom.
    With NODE only for that value, its parts and its cotangent.
    """
    from rollc.tools.cli import proving

    if subject is None or proving.is_code(subject):
        proving.explain(subject)
    else:
        from rollc.tools.cli import building

        building.show_reasons(subject, nodes, kernel, steps, sets, dtype, feed)


@rollc.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--list", "listed", is_flag=True, help="Print the workloads, and measure nothing.")
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="TxBxH",
    callback=step_sizes,
    help="Steps, sequences and width in place of a workload's own.  May be given several times.",
)
@click.option(
    "--threads",
    metavar="N,...",
    callback=counts_of,
    help="On how many cores; one and two if not given.",
)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(["forward", "gradient", "step"]),
    multiple=True,
    help="What to run; all steps forward, and with gradients, if not given.  Step by step, with"
    " prepared weights, it is the time of one.",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "float64"]),
    multiple=True,
    help="The type of all numbers; if not given, what each workload lists.",
)
@click.option("--peers", metavar="PEER,...", callback=words_of, help="Who else runs.")
@click.option("--rounds", type=click.IntRange(1, 1000), metavar="N", help="9; with --quick 3.")
@click.option(
    "--quick",
    is_flag=True,
    help="3 rounds, each as long: for a first look. A ratio needs the quartiles of all 9.",
)
@click.option("--markdown", metavar="FILE", help="Also write the tables in Markdown.")
@click.option("--json", "json_file", metavar="FILE", help="Also write the times of every round.")
@click.pass_context
def bench(context: click.Context, /, listed: bool, **options: Any) -> None:
    """Measure rollc's kernels beside those of others, on this machine.

    NAME is a workload such as `lstm-100x32x128`, all sizes of one such as `lstm`, a pattern such
    as `lstm*`, `build` (how long builds take) or `memory` (of a training step); all of them if
    none is given.  Every peer runs the same equations on the same numbers; one whose results
    differ is not timed.
    """
    from rollc.tools.cli import benching

    if listed:
        benching.list_workloads()
    else:
        context.exit(benching.bench(**options))


@rollc.command()
@click.argument("name", type=click.Choice(list(DEMOS)), default="sunspots", metavar="[NAME]")
@click.option("--quick", is_flag=True, help="A short fit, to see that it runs.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write the data and the fitted parameters, for `rollc train` and `rollc run`.",
)
@seed_option
def demo(name: str, quick: bool, save: Path | None, seed: int) -> None:
    from rollc.tools import demos

    demos.run(name, quick, save, seed)


demo.help = "Fit a network to data, and say how well it does.\n\n\b\n" + "\n".join(
    f"{name:<9} {what}" for name, what in DEMOS.items()
)

for _name, _command in rollc.commands.items():
    _command.epilog = epilog(_name)
