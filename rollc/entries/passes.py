"""The passes from graph to graph, in the order in which a kernel's graph goes through them.

:data:`PASSES` of :mod:`rollc.driver.pipeline` is the whole list.
"""

from __future__ import annotations

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.averaging import mean_adjoint
from rollc.autodiff.by_sequence import by_sequence
from rollc.autodiff.custom_gradients import without_custom_gradients
from rollc.autodiff.segments import segments
from rollc.autodiff.tangent import pushforward, tangent
from rollc.autodiff.truncation import truncate
from rollc.autodiff.window_split import split
from rollc.ir.graph import Graph, gradients_only, loss_only, outputs_only
from rollc.support.passes import Pass
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.ragged import with_lengths
from rollc.transforms.randomness import with_noise
from rollc.transforms.state import expose_state
from rollc.transforms.streaming_split import stream
from rollc.transforms.unroll import unroll


def inlined(graph: Graph) -> Graph:
    """A graph of which no derivative is taken any more, without custom gradients."""
    plain = without_custom_gradients(graph)
    return graph if plain == graph else plain


NOISE = Pass(
    "noise",
    with_noise,
    "a checked graph",
    "random numbers are leaves, and no operation draws one",
)
STREAM = Pass(
    "split-steps",
    stream,
    "a checked graph with two time axes",
    "a graph of one step along an axis, and one of what the steps start from",
)
WINDOWS = Pass(
    "split-windows",
    split,
    "a checked graph with a loss",
    "a graph of the steps of a window, whose means are sums, one of the loss and one of the start",
)
SEGMENTS = Pass(
    "split-segments",
    segments,
    "a checked graph with a loss",
    "graphs of the loops over time, with the results of others as leaves",
)
EXPOSE_STATE = Pass(
    "expose-state",
    expose_state,
    "delays into the past alone",
    "the state at the beginning is leaves, and that at the end is outputs",
)
TRUNCATE = Pass(
    "truncate",
    truncate,
    "a checked graph that nothing has rewritten",
    "no gradient crosses a boundary of windows",
)
RAGGED = Pass(
    "ragged-batch",
    with_lengths,
    "a graph before its adjoint",
    "each sequence ends at its own length, and no result depends on padding",
)
CANONICALIZE = Pass(
    "canonicalize",
    canonicalize,
    "a graph",
    "an equal graph, with fewer and cheaper nodes and no value computed twice",
    optional=True,
)
OUTPUTS = Pass("keep-outputs", outputs_only, "a graph", "the outputs are all its results")
LOSS = Pass("keep-loss", loss_only, "a graph with a loss", "the loss is its only result")
ADJOINT = Pass(
    "adjoint",
    adjoint,
    "a graph without gradients",
    "the gradients of the loss, or of the outputs by their cotangents, are results",
)
AVERAGE = Pass(
    "average-adjoint",
    mean_adjoint,
    "a graph without gradients",
    "as after adjoint; those of a parameter are averaged over the steps that read it",
)
BY_SEQUENCE = Pass(
    "adjoint-by-sequence",
    by_sequence,
    "a graph whose loss is a mean over the sequences",
    "the loss of each sequence, and the gradients of that, are outputs",
)
GRADIENTS = Pass(
    "keep-gradients",
    gradients_only,
    "a graph with gradients",
    "the gradients are its outputs, and all its results",
)
TANGENT = Pass(
    "tangent",
    tangent,
    "a graph of one loop over time",
    "the derivatives of the results along some directions are results, forward in time",
)
PUSHFORWARD = Pass(
    "pushforward",
    pushforward,
    "a graph whose results are outputs",
    "the derivatives of the outputs in one direction, which comes by leaves, are outputs too",
)
INLINE = Pass(
    "inline-gradients",
    inlined,
    "a graph of which no derivative is taken any more",
    "no operation that differs from its operand in derivatives alone",
)
UNROLL = Pass(
    "unroll",
    unroll,
    "a graph with one time axis",
    "a graph of N steps without delays",
)
GRAPH_PASSES = (
    *(NOISE, STREAM, WINDOWS, SEGMENTS, EXPOSE_STATE, TRUNCATE, RAGGED, CANONICALIZE),
    *(
        OUTPUTS,
        LOSS,
        ADJOINT,
        AVERAGE,
        BY_SEQUENCE,
        GRADIENTS,
        TANGENT,
        PUSHFORWARD,
        INLINE,
        UNROLL,
    ),
)
