"""What is done on data: `run`, `train`, `evaluate`, `sample`, `trace` and `report`."""

from __future__ import annotations

from typing import Any

import click

from rollc.tools.cli.options import (
    GRADIENTS,
    SECONDS,
    RunCommand,
    backend_option,
    bytes_of,
    configured,
    dtype_option,
    feed_option,
    flow_options,
    format_option,
    kernel_option,
    params_option,
    running_steps_option,
    seed_option,
    sets_option,
    shares_of,
    table_options,
)
from rollc.tools.cli.text_commands import completion


@click.command(cls=RunCommand)
@click.argument("spec", metavar="SPEC|DIR|RUN", shell_complete=completion.specs)
@click.option(
    "--inputs",
    metavar="F",
    help="The inputs, and for a loss the targets, as .npz or a table: time first, then the batch if"
    " there is one.  An array `lengths` has the number of steps of each sequence; with two time"
    " axes there is one for each, such as `lengths.s`.",
)
@params_option
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
@running_steps_option
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
    from rollc.tools.cli.data_commands import running

    running.run(**options)


@click.command()
@click.argument("spec", metavar="SPEC|DIR", required=False, shell_complete=completion.specs)
@click.option(
    "--data",
    metavar="F",
    help="The inputs and targets: .npz, or a table (.csv, .tsv, .gz of these, .parquet, .npy), or a"
    " folder of tables with a sequence each.",
)
@click.option(
    "--valid",
    metavar="F",
    help="Data that the loss, and what fits it, is computed on after each epoch.",
)
@click.option(
    "--test",
    metavar="F",
    help="Data that `rollc evaluate RUN` measures on; the fit does not see them.",
)
@click.option(
    "--valid-every",
    type=click.IntRange(min=1),
    metavar="K",
    help="Validate after every K updates, too.",
)
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
    type=click.Choice(["adam", "adamw", "adagrad", "rmsprop", "sgd", "lbfgs"]),
    default="adam",
    show_default=True,
    help="How parameters follow their gradients; lbfgs (SciPy's, for small problems) reads all the"
    " data at each step, which is an epoch.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="RATE",
    help="The step size.  [default: 0.001 for adam and adamw, 0.01 for the others]",
)
@click.option(
    "--momentum",
    type=click.FloatRange(min=0.0, max=1.0, max_open=True),
    metavar="M",
    default=0.0,
    show_default=True,
    help="The weight of the past in the steps of sgd and rmsprop.",
)
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum, for sgd.")
@click.option(
    "--decay",
    type=click.FloatRange(min=0.0),
    metavar="D",
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
    metavar="F",
    default=0.1,
    help="What a step or a plateau multiplies the rate with.  [default: 0.1]",
)
@click.option(
    "--schedule-patience",
    type=click.IntRange(min=0),
    default=5,
    metavar="N",
    help="Validations without a better loss that are no plateau yet.  [default: 5]",
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
    help="End after N validations without a better loss; the best parameters are kept.",
)
@click.option(
    "--min-delta",
    type=click.FloatRange(min=0.0),
    metavar="D",
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
@click.option(
    "--tensorboard", is_flag=True, help="Also write the metrics as events, to RUN/tensorboard."
)
@seed_option
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    metavar="N",
    help="Fit N times, from N seeds beginning with --seed, each in a folder of its own; and say"
    " the mean and the spread.",
)
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
    from rollc.tools.cli.data_commands.train import command

    context.exit(command.train(**options))


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--data",
    metavar="F",
    help="What to evaluate on; if not given, the run's `--test`, or that part of its `--split`.",
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
    from rollc.tools.cli.data_commands import evaluating

    evaluating.evaluate(**options)


@click.command()
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
    metavar="T",
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
    from rollc.tools.cli.data_commands import sampling

    sampling.sample(**options)


@click.command()
@click.argument("spec", metavar="SPEC|DIR|RUN")
@click.argument("names", nargs=-1, metavar="[VALUE...]")
@click.option("-o", "--output", metavar="O.svg", help="Also a picture of the gradients' norms.")
@format_option
@flow_options
def trace(**options: Any) -> None:
    """Show how large values and gradients are from step to step.

    Norms over the elements, averaged over the sequences, of every VALUE that changes with time, and
    of the derivative of the loss by it, its slope: vanishing and exploding gradients are seen at
    once.  The network is interpreted, in double precision.
    """
    from rollc.tools.cli.data_commands import tracing

    tracing.trace(**options)


@click.command()
@click.argument("spec", metavar="SPEC|DIR|RUN")
@click.option(
    "-o", "--output", metavar="O.html", required=True, help="The page, which needs no other file."
)
@kernel_option
@click.option(
    "--unroll",
    type=click.IntRange(1, 100),
    default=6,
    show_default=True,
    metavar="N",
    help="The most steps that the graph is shown over.",
)
@click.option(
    "--assembly/--no-assembly",
    default=None,
    help="Whether to compile the kernel, for its inner loops in assembly.  [default: with"
    " `--inputs`]",
)
@flow_options
def report(**options: Any) -> None:
    """Write one page of every stage, from the text to the kernel.

    What is pointed at lights up in all of them: what it came from, and what it became.
    """
    from rollc.tools.cli.data_commands import reporting

    reporting.report(**options)


COMMANDS = (run, train, evaluate, sample, trace, report)
