"""What each operation of the language gives, in PyTorch: its value, and its gradient by PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

COMPARISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "<": torch.lt,
    "<=": torch.le,
    ">": torch.gt,
    ">=": torch.ge,
    "==": torch.eq,
    "!=": torch.ne,
}


CONNECTIVES: dict[str, Callable[..., Tensor]] = {
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": lambda *c: torch.logical_not(c[0]),
}
QUANTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "any": lambda held: held.any(0),
    "all": lambda held: held.all(0),
    "count": lambda held: held.to(torch.float64).sum(0),
}


def _clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """At a bound the gradient is that of x; where the bounds cross, the upper one holds."""
    raised = torch.where(x < low, low, x)
    return torch.where(raised > high, high, raised)


STEPS = 30


def _lgamma(x: Tensor) -> Tensor:
    """By Stirling's series, after steps by one: PyTorch's second derivative has ten digits."""
    y = x + STEPS
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5) - 1 / (1680 * y**7)
    steps = sum(torch.log(x + k) for k in range(STEPS))
    return (y - 0.5) * torch.log(y) - y + 0.5 * math.log(2 * math.pi) + series - steps


def _digamma(x: Tensor) -> Tensor:
    y = x + STEPS
    series = 1 / (12 * y**2) - 1 / (120 * y**4) + 1 / (252 * y**6) - 1 / (240 * y**8)
    return torch.log(y) - 1 / (2 * y) - series - sum(1 / (x + k) for k in range(STEPS))


def _hard_sigmoid(x: Tensor) -> Tensor:
    """PyTorch's own has a sixth in single precision."""
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, 1.0, x / 6 + 0.5))


def _imag(z: Tensor) -> Tensor:
    return z.imag if z.is_complex() else torch.zeros_like(z)


def _one_dtype(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Real numbers beside complex ones are complex."""
    whole = any(each.is_complex() for each in given)
    return tuple(each.to(torch.complex128) if whole else each for each in given)


def einsum(subscripts: str, *given: Tensor) -> Tensor:
    return torch.einsum(subscripts, *_one_dtype(given))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Of real and complex ones."""
    a, b = _one_dtype((a, b))
    return a @ b


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "complex": torch.complex,
    "real": lambda z: z.real if z.is_complex() else z,
    "imag": _imag,
    "conj": torch.conj_physical,
    "angle": torch.angle,
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "**": torch.pow,
    "neg": torch.neg,
    "identity": lambda x: x,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "clip": _clip,
    "abs": torch.abs,
    "sign": lambda x: torch.sign(x).detach(),
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": lambda x: torch.relu(x) + 0.0,  # a zero is a plain one, of a negative zero too
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "gelu": lambda x: x * torch.special.ndtr(x),
    "silu": lambda x: x * torch.sigmoid(x),
    "normal_cdf": torch.special.ndtr,
    "log_normal_cdf": torch.special.log_ndtr,
    "log_sigmoid": torch.nn.functional.logsigmoid,
    "floor": torch.floor,
    "ceil": lambda x: torch.ceil(x) + 0.0,  # a zero is a plain one
    "round": torch.round,
    "mod": torch.remainder,
    "atan": torch.atan,
    "atan2": torch.atan2,
    "asin": torch.asin,
    "acos": torch.acos,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "cbrt": lambda x: torch.sign(x).detach() * torch.exp(torch.log(torch.abs(x)) / 3),
    "erf": torch.erf,
    "erfc": torch.erfc,
    "lgamma": _lgamma,
    "digamma": _digamma,
    "tan": torch.tan,
    "rsqrt": torch.rsqrt,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": functional.hardtanh,
    "softsign": functional.softsign,
}


STEEP = (torch.sqrt, torch.log, torch.div, torch.pow)  # infinite slopes at finite arguments


def _reduced(
    whole: Callable[[Tensor], Tensor], along: Callable[[Tensor, int], Tensor]
) -> Callable[..., Tensor]:
    def reduce(options: Mapping[str, float], x: Tensor) -> Tensor:
        return along(x, int(options["axis"])) if "axis" in options else whole(x)

    return reduce


def _concat(options: Mapping[str, float], *operands: Tensor) -> Tensor:
    joined = [each.reshape(1) if each.dim() == 0 else each for each in operands]
    return torch.cat(joined, int(options.get("axis", 0)))


def _layer_norm(options: Mapping[str, float], x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    axis = int(options.get("axis", -1))
    centred = x - x.mean(axis, keepdim=True)
    variance = (centred**2).mean(axis, keepdim=True)
    return centred / torch.sqrt(variance + options.get("epsilon", 1e-5)) * gain + bias


def _binary_cross_entropy(options: Mapping[str, float], score: Tensor, target: Tensor) -> Tensor:
    return (torch.logaddexp(score, torch.zeros_like(score)) - score * target).mean()


def _full(options: Mapping[str, float], x: Tensor | float, *sizes: Tensor) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64).expand(*map(int, sizes))


def _poisson_nll(options: Mapping[str, float], score: Tensor, y: Tensor) -> Tensor:
    return (torch.exp(score) - y * score + _lgamma(y + 1)).mean()


def _log_normal(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Not finite at a variance of 0, which is no error: nothing may ask for it."""
    return torch.distributions.Normal(mean, variance.sqrt(), validate_args=False).log_prob(y)


def _gaussian_nll(
    options: Mapping[str, float], mean: Tensor, variance: Tensor, y: Tensor
) -> Tensor:
    return -_log_normal(y, mean, variance).mean()


def _mixture_nll(
    options: Mapping[str, float], scores: Tensor, means: Tensor, variances: Tensor, y: Tensor
) -> Tensor:
    each = _log_normal(y, means, variances)
    return -torch.logsumexp(torch.log_softmax(scores, 0) + each, 0)


def _dice(options: Mapping[str, float], p: Tensor, y: Tensor) -> Tensor:
    smooth = options.get("smooth", 1.0)
    return 1 - (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)


def _dimension(options: Mapping[str, float]) -> int | None:
    """That of a call; None where it goes over the whole value."""
    return int(options["axis"]) if "axis" in options else None


def _axis(options: Mapping[str, float]) -> int:
    return int(options.get("axis", 0))


def _expand(options: Mapping[str, float], x: Tensor) -> Tensor:
    axis = int(options.get("axis", 0))
    return x.unsqueeze(axis).repeat_interleave(int(options.get("size", 1)), axis)


def _top_k(x: Tensor, k: int, axis: int) -> Tensor:
    return torch.sort(x, dim=axis, descending=True, stable=True).values.narrow(axis, 0, k)


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    padded = functional.pad(x, (len(kernel) - 1, len(kernel) - 1))
    return padded.unfold(0, len(kernel), 1) @ kernel.flip(0)


def _shift(options: Mapping[str, float], x: Tensor, by: Tensor) -> Tensor:
    axis, count = int(options.get("axis", 0)), int(by)
    size = x.shape[axis]
    zeros = torch.zeros_like(x.narrow(axis, 0, abs(count)))
    if count >= 0:
        return torch.cat([zeros, x.narrow(axis, 0, size - count)], axis)
    return torch.cat([x.narrow(axis, -count, size + count), zeros], axis)


def _pad(options: Mapping[str, float], x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    axis = int(options.get("axis", 0)) % x.dim()
    shapes = ((*x.shape[:axis], int(count), *x.shape[axis + 1 :]) for count in (before, after))
    first, last = (torch.zeros(shape, dtype=x.dtype) for shape in shapes)
    return torch.cat([first, x, last], axis)


OTHERS: dict[str, Callable[..., Tensor]] = {
    "shift": _shift,
    "roll": lambda options, x, by: torch.roll(x, int(by), int(options.get("axis", 0))),
    "pad": _pad,
    "expand": _expand,
    "zeros": lambda options, *sizes: _full(options, 0.0, *sizes),
    "ones": lambda options, *sizes: _full(options, 1.0, *sizes),
    "full": _full,
    "eye": lambda options, size: torch.eye(int(size), dtype=torch.float64),
    "range": lambda options, size: torch.arange(int(size), dtype=torch.float64),
    "[]": lambda options, *elements: torch.stack(_one_dtype(elements)),
    "@": lambda options, a, b: _product(a, b),
    "dot": lambda options, a, b: (a * b).sum(),
    "outer": lambda options, a, b: a[:, None] * b[None, :],
    "transpose": lambda options, a, *order: (
        a.permute([int(place) for place in order]) if order else a.T
    ),
    "inverse": lambda options, a: torch.linalg.inv(a),
    "cholesky": lambda options, a: torch.linalg.cholesky((a + a.mT) / 2),
    "log_det": lambda options, a: torch.linalg.slogdet(a)[1],
    "sum": _reduced(torch.sum, torch.sum),
    "mean": _reduced(torch.mean, torch.mean),
    "max": _reduced(torch.amax, torch.amax),
    "min": _reduced(torch.amin, torch.amin),
    "softmax": lambda options, x: torch.softmax(x, _axis(options)),
    "log_softmax": lambda options, x: torch.log_softmax(x, _axis(options)),
    "logsumexp": lambda options, x: torch.logsumexp(x, _axis(options)),
    "stack": lambda options, *elements: torch.stack(_one_dtype(elements), _axis(options)),
    "reshape": lambda options, x, *sizes: x.reshape([int(size) for size in sizes]),
    "cumsum": lambda options, x: torch.cumsum(x, _axis(options)),
    "layer_norm": _layer_norm,
    "concat": _concat,
    "mse": lambda options, a, b: ((a - b) ** 2).mean(),
    "binary_cross_entropy": _binary_cross_entropy,
    "norm": lambda options, x: torch.linalg.vector_norm(x, dim=_dimension(options)),
    "prod": lambda options, x: torch.prod(x, _axis(options)),
    "cumprod": lambda options, x: torch.cumprod(x, _axis(options)),
    "argsort": lambda options, x: torch.sort(x, dim=_axis(options), stable=True).indices.to(
        x.dtype
    ),
    "sort": lambda options, x: torch.sort(x, dim=_axis(options), stable=True).values,
    "top_k": lambda options, x: _top_k(x, int(options.get("k", 1)), _axis(options)),
    "convolve": lambda options, x, kernel: _convolve(x, kernel),
    "huber": lambda options, a, b: functional.huber_loss(a, b, delta=options.get("delta", 1.0)),
    "hinge": lambda options, score, y: torch.relu(1 - y * score).mean(),
    # Of equal distributions it is 0 up to rounding: what is decided by that is unsure.
    "kl_divergence": lambda options, scores, y: (
        (torch.xlogy(y, y) - y * torch.log_softmax(scores, 0)).sum() + 1e-300
    ),
    "poisson_nll": _poisson_nll,
    "gaussian_nll": _gaussian_nll,
    "mixture_nll": _mixture_nll,
    "dice": _dice,
}
