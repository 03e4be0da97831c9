"""How operations are written in a kernel's source.

The elementwise ones are expressions of their operands ``{0}``, ``{1}`` …, with ``F(number)`` for a
number of the kernel's precision.  The others are calls of a routine of the library, for the values
at one step of one sequence: ``{0}`` is an operand (a number; or an array, its row and first
column), ``{shape0}`` its sizes, ``{folded0}`` those before, along and after the option ``axis``;
``{out}`` and ``{shape}`` are the result's (a call without ``{out}`` returns a number);
``{epsilon}`` is an option, and ``{accumulate}`` says whether it adds to what is there.

Operations that are not here are decomposed before, or the emitter knows them by their form.
"""

from __future__ import annotations

_MAXIMUM = "({0} if ({0} > {1} or {0} != {0}) else {1})"
_MINIMUM = "({0} if ({0} < {1} or {0} != {0}) else {1})"

EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "power": "power({0}, {1})",
    "minimum": _MINIMUM,
    "maximum": _MAXIMUM,
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "where": "({1} if {0} else {2})",
    "clip": _MINIMUM.format(_MAXIMUM, "{2}"),
    "negate": "-{0}",
    "stop": "{0}",
    "with_slope": "{0}",
    "reached": "({0} if {1} != F(0) else F(0))",
    "identity": "{0}",
    "sum_of": "{0} + {1}",
    "max_of": _MAXIMUM,
    "min_of": _MINIMUM,
    "tanh": "tanh({0})",
    "sigmoid": "sigmoid({0})",
    "relu": "(F(0) if {0} <= F(0) else {0})",
    "softplus": "softplus({0})",
    "log_sigmoid": "-softplus(-{0})",
    "silu": "(F(-1000.0) if {0} < F(-1000.0) else {0}) * sigmoid({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "sqrt": "np.sqrt({0})",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "abs": "abs({0})",
    "sign": "(F(1) if {0} > F(0) else (F(-1) if {0} < F(0) else {0} + F(0)))",
    "gelu": "(F(-40.0) if {0} < F(-40.0) else {0}) * normal_cdf({0})",
    "normal_cdf": "normal_cdf({0})",
    "log_normal_cdf": "log_normal_cdf({0})",
    "normal_density": "normal_density({0})",
    "normal_ratio": "normal_ratio({0})",
    "zero": "F(0)",
    "fill": "{0}",
    "logistic_loss": "logistic_loss({0}, {1})",
    "dropout": "{0}",
}

CALLS = {
    "dot": "dot({0}, {1}, {shape0})",
    "outer": "outer({0}, {shape0}, {1}, {shape1}, {out}, {accumulate})",
    "transpose": "transpose({0}, {shape0}, {out})",
    "embed": "embed({0}, {1}, {out}, {shape})",
    "embed_adjoint": "embed_adjoint({0}, {1}, {out}, {shape}, {accumulate})",
    "one_hot": "one_hot({0}, {out}, {shape})",
    "gauss_jordan": "gauss_jordan({0}, {shape0}, {out})",
    "sum": "sum_along({0}, {out}, {folded0}, False)",
    "mean": "sum_along({0}, {out}, {folded0}, True)",
    "max": "extreme_along({0}, {out}, {folded0}, True)",
    "min": "extreme_along({0}, {out}, {folded0}, False)",
    "argmax": "argmax({0}, {shape0})",
    "softmax": "softmax({0}, {out}, {shape})",
    "log_softmax": "log_softmax({0}, {out}, {shape})",
    "logsumexp": "logsumexp({0}, {shape0})",
    "normalise": "normalise({0}, {epsilon}, {out}, {shape})",
    "deviation": "deviation({0}, {epsilon}, {shape0})",
    "cross_entropy": "cross_entropy({0}, {1}, {shape0})",
    "sample": "draw({0}, {shape0}, 0.5)",
    "draw": "draw({0}, {shape0}, {1})",
    "element": "element({0}, {shape0}, {1})",
}
