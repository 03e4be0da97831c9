"""The commands: their options, and their output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from rollc import __version__
from rollc.tools.cli.options import (
    GRADIENTS,
    GRAPHS,
    KERNELS,
    SECONDS,
    STAGES,
    RunCommand,
    backend_option,
    bytes_of,
    configured,
    counts_of,
    dtype_option,
    feed_option,
    format_option,
    kernel_option,
    ranges_of,
    seed_option,
    sets_option,
    shares_of,
    step_sizes,
    steps_of,
    steps_option,
    table_options,
    words_of,
)
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


@rollc.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
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
@click.argument("spec", metavar="SPEC")
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
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option("--all", "every", is_flag=True, help="Count in all specs that come with rollc.")
def passes(specs: tuple[str, ...], every: bool) -> None:
    """List the passes of the compiler, in their order.

    With specs, say in how many of their kernels each pass changes something.
    """
    from rollc.tools.cli import passes as listing

    listing.show(specs, every)


@rollc.command()
@click.argument("spec", metavar="SPEC|DIR")
@click.option("--stage", type=click.Choice(STAGES), help="Which text to print.")
@click.option("--after", metavar="PASS", help="Print what a pass makes (`rollc passes`).")
@click.option("--without", multiple=True, metavar="PASS", help="Leave out a pass; several times.")
@kernel_option
@steps_option("Unroll the network over N steps; `dag` needs it.")
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
    steps: int | None,
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
@click.argument("spec", metavar="SPEC|DIR")
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="The picture: FILE.svg, .png or .pdf by way of Graphviz, or .dot, which is text for it."
    "  Without it the text is printed.",
)
@click.option(
    "--stage",
    type=click.Choice(GRAPHS),
    default="checked",
    show_default=True,
    help="Which graph to draw.",
)
@click.option("--kernel", type=click.Choice(KERNELS), help="Of which kernel, for `adjoint`.")
@steps_option("Unroll the graph over N steps: a column a step.")
@click.option("--every-node", is_flag=True, help="Also draw what has no name, and parameters.")
@sets_option
@feed_option
def draw(**options: Any) -> None:
    """Draw a network: its circuit with delays as black squares, or unrolled over steps.

    A value of the spec is one box, with the parameters that it is made with; the adjoint is
    red, below the network.
    """
    from rollc.tools.cli import drawing

    drawing.draw(**options)


@rollc.command(cls=RunCommand)
@click.argument("spec", metavar="SPEC|DIR|RUN")
@click.option(
    "--inputs",
    metavar="F",
    help="The inputs, and for a loss the targets, as .npz or a table: time first, then the batch if"
    " there is one.  An array `lengths` has the number of steps of each sequence; with two time"
    " axes there is one for each, such as `lengths.s`.",
)
@click.option(
    "--params", metavar="P.npz", help="The parameters.  Without it they are drawn from the seed."
)
@seed_option
@click.option(
    "-o",
    "--outputs",
    metavar="O",
    help="Where to write what was computed: .npz, or a table (.csv, .tsv, .parquet) with the"
    " columns of the one that came in that were not read.",
)
@click.option(
    "--grad",
    type=click.Choice(GRADIENTS),
    metavar="[adjoint|forward]",
    help="Also the gradients of the loss, as `grad.NAME`.  With `forward` those of the"
    " parameters alone, in memory that does not depend on the number of steps.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    callback=bytes_of,
    help="Compute the gradients in windows of steps that take at most so much: `64MB`."
    "  With `--grad forward`, the most that it may take.",
)
@click.option(
    "--checkpoint",
    metavar="K",
    type=click.IntRange(1, 10_000_000),
    help="Compute the gradients in windows of K steps.",
)
@click.option(
    "--state",
    metavar="S.npz",
    help="Go on from this state, and not from the start; with two time axes, along the decoder's.",
)
@click.option("--save-state", metavar="S.npz", help="Where to write the state after the last step.")
@click.option(
    "--steps",
    multiple=True,
    metavar="N|AXIS=N",
    callback=steps_of,
    help="How many steps to run where no input says so; by axis where there are two.",
)
@table_options
@sets_option
@dtype_option
@feed_option
@backend_option
def run(**options: Any) -> None:
    """Run a network forward, and with --grad backward.

    A RUN is what `rollc train -o RUN` has left: its network, with its parameters, its columns and
    its units.
    """
    from rollc.tools.cli import running

    running.run(**options)


@rollc.command()
@click.argument("spec", metavar="SPEC|DIR", required=False)
@click.option(
    "--data",
    metavar="F",
    help="The inputs and targets: .npz, or a table (.csv, .tsv, .gz of these, .parquet, .npy), or a"
    " folder of tables with a sequence each.",
)
@click.option("--valid", metavar="F", help="Data that the loss is computed on after each epoch.")
@click.option(
    "--split",
    callback=shares_of,
    metavar="0.8,0.1,0.1",
    help="Shares of the data for training, validation and test, in their order.",
)
@table_options
@click.option(
    "--standardise",
    is_flag=True,
    help="Inputs and targets as multiples of their spread from their mean, both of the training"
    " part; the run keeps them, and predictions have the units of the data.",
)
@click.option("--params", metavar="P.npz", help="Where to start, if not from the seed.")
@click.option(
    "-o",
    "--output",
    metavar="RUN",
    help="A new folder for the fitted network and all of the run; or P.npz, its parameters alone.",
)
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted.")
@click.option(
    "--config",
    metavar="F.toml",
    is_eager=True,
    callback=configured,
    help="Options from a file, such as the options.toml of a run; others given here come first.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="How often to go through the data.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="B",
    help="Sequences in one update; all of them if not given.",
)
@click.option("--by-length", is_flag=True, help="Batches of sequences of almost one length.")
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="K",
    help="Cut the sequences into windows of K steps, each a sequence of its own.",
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="S",
    help="A window begins every S steps; side by side if not given.",
)
@click.option(
    "--stateful",
    is_flag=True,
    help="Read the windows in their order: the state goes on from one to the next, the gradient is"
    " cut between them, and each is an update.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --stateful: cut one long sequence into N that are read side by side.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    help="Update after K batches, with their mean gradient.",
)
@click.option(
    "--optimiser",
    "method",
    type=click.Choice(["adam", "adamw", "adagrad", "rmsprop", "sgd"]),
    default="adam",
    show_default=True,
    help="How parameters follow their gradients.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.0, min_open=True),
    help="The step size.  [default: 0.001 for adam and adamw, 0.01 for the others]",
)
@click.option(
    "--momentum",
    type=click.FloatRange(min=0.0, max=1.0, max_open=True),
    default=0.0,
    show_default=True,
    help="The weight of the past in the steps of sgd and rmsprop.",
)
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum, for sgd.")
@click.option(
    "--decay",
    type=click.FloatRange(min=0.0),
    default=0.0,
    help="Weight decay; with adamw it is taken from the parameters themselves.",
)
@click.option(
    "--no-decay", multiple=True, metavar="NAME", help="A parameter that does not decay; again."
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "cosine", "step", "plateau"]),
    default="constant",
    show_default=True,
    help="How the rate falls: by half a cosine, in steps, or where validation stands still.",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    help="Updates in which the rate rises from 0.",
)
@click.option(
    "--schedule-every",
    type=click.IntRange(min=1),
    default=10,
    metavar="N",
    help="Epochs between steps.  [default: 10]",
)
@click.option(
    "--schedule-factor",
    type=click.FloatRange(min=0.0, max=1.0, min_open=True, max_open=True),
    default=0.1,
    help="What a step or a plateau multiplies the rate with.  [default: 0.1]",
)
@click.option(
    "--schedule-patience",
    type=click.IntRange(min=0),
    default=5,
    metavar="N",
    help="Epochs without a better validation loss that are no plateau yet.  [default: 5]",
)
@click.option(
    "--clip",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="NORM",
    help="Scale the gradients down where their joint norm is larger.",
)
@click.option(
    "--clip-value",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="C",
    help="Bound each element of the gradients.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="N",
    help="End after N epochs without a better validation loss; the best parameters are kept.",
)
@click.option(
    "--min-delta",
    type=click.FloatRange(min=0.0),
    default=0.0,
    help="How much lower a validation loss has to be to be a better one.",
)
@click.option(
    "--checkpoint-every",
    type=SECONDS,
    default="60s",
    show_default=True,
    metavar="60s",
    help="How much of the work may be lost: 30s, 5m, 1h.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but the result.")
@seed_option
@sets_option
@dtype_option
@feed_option
@backend_option
@click.pass_context
def train(context: click.Context, /, **options: Any) -> None:
    """Fit the parameters of a network to data.

    With `-o RUN` the folder holds the network, its parameters, a checkpoint, the metrics and the
    options.  Ctrl-C ends after the update, and `--resume RUN` goes on as if nothing had been.
    """
    from rollc.tools.cli import training

    context.exit(training.train(**options))


@rollc.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--data",
    metavar="F",
    help="What to evaluate on; if not given, the test part of the run's `--split`.",
)
@click.option(
    "--season",
    type=click.IntRange(min=1),
    metavar="M",
    help="Also hold it to the value M steps before.",
)
@click.option(
    "--compare",
    multiple=True,
    metavar="OUTPUT=DATA",
    help="What to measure, if not what the loss compares.  May be given several times.",
)
@table_options
@format_option
def evaluate(**options: Any) -> None:
    """Measure what a run has learned, beside baselines that need no network.

    Numbers have RMSE, MAE and R2, beside the last value, a season's, the mean, and a linear
    prediction; classes have accuracy, F1 and perplexity, beside the class of most and the last
    one.  All are in the units of the data, on the same steps.  What baselines learn they learn
    from the run's training part, if it is still there.
    """
    from rollc.tools.cli import evaluating

    evaluating.evaluate(**options)


@rollc.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--length",
    type=click.IntRange(1, 10_000_000),
    default=500,
    show_default=True,
    metavar="N",
    help="How many steps: characters, words, or rows.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0.0, 100.0),
    default=1.0,
    show_default=True,
    help="Below 1 the likely symbols are drawn more often; at 0 always the likeliest.",
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="Draw from the K likeliest alone."
)
@click.option(
    "--prompt",
    metavar="TEXT|F",
    help="What it goes on from: a text, or a table where the network predicts numbers.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write, if not here.")
@seed_option
def sample(**options: Any) -> None:
    """Go on by itself: a text, or the steps of a trajectory.

    The network reads what it said at the step before.
    """
    from rollc.tools.cli import sampling

    sampling.sample(**options)


@rollc.command()
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
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
@click.argument("subject", required=False, metavar="[CODE|SPEC|DIR]")
@click.argument("nodes", nargs=-1, metavar="[NODE...]")
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
def demo(name: str, quick: bool, save: Path | None) -> None:
    from rollc.tools import demos

    demos.run(name, quick, save)


demo.help = "Fit a network to data, and say how well it does.\n\n\b\n" + "\n".join(
    f"{name:<9} {what}" for name, what in DEMOS.items()
)
