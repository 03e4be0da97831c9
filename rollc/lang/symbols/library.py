"""Functions of the language that are defined in it: what they become is what their text says.

A definition of a spec's own that has the name of one takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rollc.ir.graph import Attribute
from rollc.ir.operations.vectors.reductions import EVERY
from rollc.lang.diagnostics.source import Source
from rollc.lang.syntax.ast import Function
from rollc.lang.syntax.parser import parse_spec


@dataclass(frozen=True)
class Defined:
    """A function by its text; its last arguments are the options that have ``defaults``.

    Where the text says `axis=axis` it goes along the dimension that a call says, and of one that
    ``reduces`` over its steps: :mod:`rollc.lang.expansion.library_axis`.  It can call internal
    operations.
    """

    text: str
    summary: str
    defaults: tuple[tuple[str, Attribute], ...] = ()
    reduces: bool = False

    @cached_property
    def function(self) -> Function:
        spec, problems = parse_spec(Source("library", f"fn {self.text}"))
        assert spec is not None and not problems, problems
        (function,) = spec.of(Function)
        return function

    @cached_property
    def operands(self) -> tuple[str, ...]:
        names = tuple(argument.name for argument in self.function.arguments)
        return names[: len(names) - len(self.defaults) + self.along]

    @property
    def along(self) -> bool:
        """Whether a call can say the dimension."""
        return "axis" in dict(self.defaults)


_ALONG: tuple[tuple[str, Attribute], ...] = (("axis", EVERY),)

ELEMENTWISE = {
    "ceil": Defined(
        "ceil(x) = -floor(-x)",
        "the smallest whole number that is not below x; no gradient passes",
    ),
    "tan": Defined("tan(x) = sin(x) / cos(x)", "the tangent, in radians"),
    "rsqrt": Defined("rsqrt(x) = 1 / sqrt(x)", "1 / sqrt(x)"),
}

ACTIVATIONS = {
    "elu": Defined(
        "elu(x, alpha) = where(x > 0, x, alpha * expm1(x))",
        "x where it is positive, else alpha * (exp(x) - 1)",
        (("alpha", 1.0),),
    ),
    "leaky_relu": Defined(
        "leaky_relu(x, slope) = where(x > 0, x, slope * x)",
        "x where it is positive, else slope * x",
        (("slope", 0.01),),
    ),
    "hard_sigmoid": Defined(
        "hard_sigmoid(x) = where(x <= -3, 0, where(x >= 3, 1, x / 6 + 0.5))",
        "x / 6 + 0.5, kept between 0 and 1",
    ),
    "hard_tanh": Defined(
        "hard_tanh(x) = where(x <= -1, -1, where(x >= 1, 1, x))", "x, kept between -1 and 1"
    ),
    # Two forms, each of which has a slope without differences.
    "softsign": Defined(
        """softsign(x) -> y {
            below = 1 + abs(x)
            y = where(abs(x) < 1, x / below, sign(x) - sign(x) / below)
        }""",
        "x / (1 + abs(x))",
    ),
}

REDUCTIONS = {
    "count": Defined(
        "count(condition) = sum(where(condition, 1, 0), axis=axis)",
        "how many conditions hold",
        _ALONG,
        reduces=True,
    ),
    "any": Defined(
        "any(condition) = max(where(condition, 1, 0), axis=axis) > 0",
        "whether one of the conditions holds: a condition",
        _ALONG,
        reduces=True,
    ),
    # Of none it is true, where a maximum is 0.
    "all": Defined(
        "all(condition) = max(where(condition, 0, 1), axis=axis) == 0",
        "whether all of the conditions hold: a condition",
        _ALONG,
        reduces=True,
    ),
    # Less the largest element no square leaves the numbers; the slope at 0 is 0.
    "norm": Defined(
        """norm(x) -> y {
            largest = max(abs(x), axis=axis)
            finite = largest > 0 and largest - largest == 0
            scale = stop(where(finite, largest, 1))
            part = x / expand(scale, axis=axis)
            square = sum(part * part, axis=axis)
            y = scale * where(square == 0, 0, sqrt(square))
        }""",
        "the square root of the sum of squares; its slope at 0 is 0",
        _ALONG,
    ),
}

VECTORS = {
    # The constants are 0 and 1 whatever x is, infinite or not a number too.
    "cumprod": Defined(
        "cumprod(x) = linear_scan(x, where(abs(x) < 0, 1, 0), 1, axis=axis)",
        "the products of the elements up to each",
        _ALONG,
    ),
    "cumsum": Defined(
        "cumsum(x) = linear_scan(where(abs(x) < 0, 0, 1), x, 0, axis=axis)",
        "the sums of the elements up to each",
        _ALONG,
    ),
    "sort": Defined(
        "sort(x) = arrange(x, x, axis=axis)",
        "the elements from the smallest to the largest",
        _ALONG,
    ),
    # The places are 0, 1, 2 … whatever x is.
    "argsort": Defined(
        """argsort(x) -> y {
            one = where(abs(x) < 0, 0, 1)
            y = arrange(linear_scan(one, one, -1, axis=axis), x, axis=axis)
        }""",
        "the places of the elements from the smallest to the largest: `x[argsort(x)]` is sorted",
        _ALONG,
    ),
    "top_k": Defined(
        """top_k(x, k) -> y {
            below = -x
            y = -head(arrange(below, below, axis=axis), k, axis=axis)
        }""",
        "the k largest elements, the largest first",
        (("k", 1), *_ALONG),
    ),
}

LOSSES = {
    "huber": Defined(
        """huber(a, b, delta) -> e {
            d = a - b
            far = delta * (abs(d) - 0.5 * delta)
            e = average(where(abs(d) <= delta, 0.5 * d * d, far))
        }""",
        "half the squared difference, from delta on linear; its mean",
        (("delta", 1.0),),
    ),
    "hinge": Defined(
        "hinge(score, y) = average(relu(1 - y * score))",
        "the mean of max(0, 1 - y * score); y is -1 or 1",
    ),
    "kl_divergence": Defined(
        """kl_divergence(scores, y) -> e {
            each = y * (log(y) - log_softmax(scores))
            e = sum(where(y > 0, each, 0))
        }""",
        "of probabilities y from softmax(scores): the sum of y * log(y / softmax)",
    ),
    "poisson_nll": Defined(
        "poisson_nll(score, y) = average(exp(score) - y * score + lgamma(y + 1))",
        "-log of the probability of a count whose mean is exp(score); the mean over elements",
    ),
    "gaussian_nll": Defined(
        """gaussian_nll(mean, variance, y) -> e {
            d = mean - y
            e = average(0.5 * (d * d / variance + log(variance) + 1.8378770664093455))
        }""",
        "-log of the density of a normal distribution; the mean over elements",
    ),
    "mixture_nll": Defined(
        """mixture_nll(scores, means, variances, y) -> e {
            d = means - y
            each = d * d / variances + log(variances) + 1.8378770664093455
            e = -logsumexp(log_softmax(scores) - 0.5 * each)
        }""",
        "-log of the density of a number in a mixture of normal distributions, with shares"
        " softmax(scores)",
    ),
    "dice": Defined(
        """dice(p, y, smooth) -> e {
            both = 2 * sum(p * y) + smooth
            e = 1 - both / (sum(p) + sum(y) + smooth)
        }""",
        "1 - (2 sum(p * y) + smooth) / (sum(p) + sum(y) + smooth)",
        (("smooth", 1.0),),
    ),
}

LIBRARY: Mapping[str, Defined] = {**ELEMENTWISE, **ACTIVATIONS, **REDUCTIONS, **VECTORS, **LOSSES}
