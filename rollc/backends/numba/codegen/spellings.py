"""Templates of operations in generated source.

Elementwise operations are expressions of their operands ``{0}``, ``{1}`` …, with ``F(number)`` for
a number of the kernel's precision.  The others are calls of a routine of the library, with its
parameters by name, for the values at one step of one sequence.  ``x={0}`` is an operand: a number,
or an array with ``x_row`` and ``x_column``.  ``{size0}`` is the number of its elements, ``{rows0}``
and ``{columns0}`` are the sizes of a matrix, ``{folded0}`` those before, along and after the option
``axis``.  ``out={out}``, ``{size}``, ``{rows}`` and ``{columns}`` are the result's; a call without
``{out}`` returns a number.  ``{epsilon}``, ``{order}`` and ``{reverse}`` are options, and
``{accumulate}`` says whether the call adds to the stored value.

Operations that are not here are decomposed, or have a writer in :mod:`.calls` or
:mod:`.elementwise`.
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
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "not": "not {0}",
    "where": "({1} if {0} else {2})",
    "clip": _MINIMUM.format(_MAXIMUM, "{2}"),
    "negate": "-{0}",
    "stop": "{0}",
    "with_slope": "{0}",
    "reached": "({0} if {1} != F(0) else F(0))",
    "identity": "{0}",
    "along": "{0}",
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
    "floor": "np.floor({0})",
    "round": "np.rint({0})",
    **{
        name: f"{name}({{0}})"
        for name in (
            *("sin", "cos", "atan", "asin", "acos", "sinh", "cosh", "log1p", "expm1", "cbrt"),
            *("erf", "erfc", "erf_slope", "lgamma", "digamma"),
        )
    },
    "atan2": "atan2({0}, {1})",
    "mod": "mod({0}, {1})",
    "polygamma": "polygamma({order}, {0})",
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
    "dot": "dot(a={0}, b={1}, size={size0})",
    "outer": (
        "outer(a={0}, b={1}, out={out}, rows={size0}, columns={size1}, accumulate={accumulate})"
    ),
    "transpose": "transpose(a={0}, out={out}, rows={rows0}, columns={columns0})",
    "embed": "embed(table={0}, out={out}, index={1}, size={size})",
    "embed_adjoint": (
        "embed_adjoint(cotangent={0}, out={out}, index={1}, rows={rows}, size={columns},"
        " accumulate={accumulate})"
    ),
    "one_hot": "one_hot(out={out}, index={0}, size={size})",
    "linear_scan": (
        "linear_scan(factor={0}, term={1}, out={out}, size={size}, start={2}, reverse={reverse})"
    ),
    "arrange": "arrange(x={0}, keys={1}, out={out}, size={size}, back=False)",
    "put_back": "arrange(x={0}, keys={1}, out={out}, size={size}, back=True)",
    "convolve": "convolve(x={0}, kernel={1}, out={out}, size={size0}, many={size1})",
    "correlate": "correlate(x={0}, kernel={1}, out={out}, size={size}, many={size1})",
    "cholesky": "cholesky(a={0}, out={out}, size={rows0})",
    "gauss_jordan": "gauss_jordan(a={0}, out={out}, size={rows0})",
    "sum": "sum_along(x={0}, out={out}, shape={folded0}, mean=False)",
    "mean": "sum_along(x={0}, out={out}, shape={folded0}, mean=True)",
    "max": "extreme_along(x={0}, out={out}, shape={folded0}, largest=True)",
    "min": "extreme_along(x={0}, out={out}, shape={folded0}, largest=False)",
    "argmax": "argmax(x={0}, size={size0})",
    "softmax": "softmax(x={0}, out={out}, size={size})",
    "log_softmax": "log_softmax(x={0}, out={out}, size={size})",
    "logsumexp": "logsumexp(x={0}, size={size0})",
    "normalise": "normalise(x={0}, out={out}, size={size}, epsilon={epsilon})",
    "deviation": "deviation(x={0}, size={size0}, epsilon={epsilon})",
    "cross_entropy": "cross_entropy(scores={0}, target={1}, size={size0})",
    "sample": "draw(p={0}, size={size0}, number=0.5)",
    "draw": "draw(p={0}, size={size0}, number={1})",
    "element": "element(x={0}, size={size0}, index={1})",
}
