"""What an operation on complex values is on real and imaginary parts.

One that is linear in an operand goes over its parts, and one that is linear in several, each for
itself, over their products: that follows from its traits.  The others have a rule here, or take no
complex value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from rollc.ir.expressions import Value, call
from rollc.ir.graph import Attribute
from rollc.lang.symbols.derivatives import RULES

HIGHEST_POWER = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """The parts of a value; that of a real one has no imaginary part."""

    real: Value
    imaginary: Value | None = None

    @property
    def parts(self) -> tuple[Value, Value]:
        """Both parts, of a complex value or of one to be."""
        return self.real, _zero(self.real) if self.imaginary is None else self.imaginary


def _zero(like: Value) -> Value:
    return like * 0.0


# Real results of complex operands.


def _modulus(z: Pair) -> Value:
    """Less the larger part no square leaves the numbers; the slope at 0 is 0."""
    a, b = z.parts
    largest = call("maximum", call("abs", a), call("abs", b))
    some = call("greater", largest, 0.0)
    finite = call("equal", largest - largest, 0.0)
    scale = call("stop", call("where", call("and", some, finite), largest, 1.0))
    a, b = a / scale, b / scale
    square = a * a + b * b
    return scale * call("where", call("equal", square, 0.0), 0.0, call("sqrt", square))


def _angle(z: Pair) -> Value:
    a, b = z.parts
    return call("atan2", b, a)


# Complex results.


def _complex(a: Pair, b: Pair) -> Pair:
    return Pair(a.real, b.real)


def _conjugate(z: Pair) -> Pair:
    return Pair(z.real, None if z.imaginary is None else -z.imaginary)


def _exponential(z: Pair) -> Pair:
    a, b = z.parts
    size = call("exp", a)
    return Pair(size * call("cos", b), size * call("sin", b))


def _logarithm(z: Pair) -> Pair:
    return Pair(call("log", _modulus(z)), _angle(z))


def _root(z: Pair) -> Pair:
    """The root in the right half plane; of what cancels nothing is taken.

    It has the slopes of one side where a part is 0, as `abs` would not.
    """
    a, b = z.parts
    right, below = call("greater_equal", a, 0.0), call("less", b, 0.0)
    longer = call("sqrt", 0.5 * (_modulus(z) + call("where", right, a, -a)))
    nothing = call("equal", longer, 0.0)
    divisor = call("where", nothing, 1.0, longer)
    shorter = call("where", nothing, call("sqrt", b), 0.5 * b / divisor)
    return Pair(
        call("where", right, longer, call("where", below, -shorter, shorter)),
        call("where", right, shorter, call("where", below, -longer, longer)),
    )


def _product(z: Pair, w: Pair) -> Pair:
    a, b = z.parts
    c, d = w.parts
    return Pair(a * c - b * d, a * d + b * c)


def _quotient(z: Pair, w: Pair) -> Pair:
    """Less the larger part of the divisor its square stays in the range of the numbers."""
    c, d = w.parts
    scale = call("stop", call("maximum", call("abs", c), call("abs", d)))
    c, d = c / scale, d / scale
    size = scale * (c * c + d * d)
    if z.imaginary is None:
        return Pair(z.real * c / size, -z.real * d / size)
    found = _product(z, Pair(c, -d))
    return Pair(found.real / size, found.parts[1] / size)


def _power(z: Pair, exponent: int) -> Pair:
    """A whole power, by squares."""
    found = None
    square, left = z, abs(exponent)
    while left:
        if left & 1:
            found = square if found is None else _product(found, square)
        left >>= 1
        if left:
            square = _product(square, square)
    if found is None:
        return Pair(_zero(z.real) + 1.0, _zero(z.real))
    return _quotient(Pair(_zero(z.real) + 1.0), found) if exponent < 0 else found


REALS: Mapping[str, Callable[[Pair], Value]] = {
    "real": lambda z: z.real,
    "imag": lambda z: z.parts[1],
    "abs": _modulus,
    "angle": _angle,
}
COMPLEXES: Mapping[str, Callable[..., Pair]] = {
    "conj": _conjugate,
    "exp": _exponential,
    "log": _logarithm,
    "sqrt": _root,
    "divide": _quotient,
}


def takes(operation: str, places: Sequence[int], count: int, power: float | None) -> bool:
    """Whether an operation of ``count`` operands takes complex ones at some places.

    ``power`` is the last operand, where the spec says which number it is.
    """
    if not places:
        return True
    if operation == "power":
        whole = power is not None and power == int(power) and abs(power) <= HIGHEST_POWER
        return places == [0] and whole
    if operation in REALS or operation in COMPLEXES:
        return True
    if operation == "complex":
        return False
    groups = RULES[operation].linear_in(count)
    return all(any(place in group for group in groups) for place in places)


def gives_complex(operation: str, places: Sequence[int], count: int, power: float | None) -> bool:
    """Whether the result is complex where operands at some places are."""
    if operation == "complex":
        return True
    return bool(places) and operation not in REALS and takes(operation, places, count, power)


def parts_of(
    operation: str,
    operands: Sequence[Pair],
    options: Mapping[str, Attribute],
    power: float | None,
) -> Pair:
    """The parts of a result."""
    if operation in REALS:
        return Pair(REALS[operation](*operands))
    if operation == "complex":
        return _complex(*operands)
    if operation == "power" and power is not None:
        return _power(operands[0], int(power))
    groups = RULES[operation].linear_in(len(operands))
    places = [place for place, pair in enumerate(operands) if pair.imaginary is not None]
    if all(any(place in group for group in groups) for place in places) and operation != "conj":
        acting = [group for group in groups if not set(group).isdisjoint(places)]
        return _multilinear(operation, operands, acting, options)
    return COMPLEXES[operation](*operands)


def _multilinear(
    operation: str,
    operands: Sequence[Pair],
    groups: Sequence[Sequence[int]],
    options: Mapping[str, Attribute],
) -> Pair:
    """The sum over all choices of a part for each group, i to the power of the imaginary ones."""
    sums: list[Value | None] = [None, None]
    choices = sorted(product((False, True), repeat=len(groups)), key=lambda each: sum(each) % 2)
    for choice in choices:
        imaginary = {place for chosen, group in zip(choice, groups, strict=True) if chosen
                     for place in group}  # fmt: skip
        term = _term(operation, operands, imaginary, options)
        turns = sum(choice)
        known = sums[turns % 2]
        if turns % 4 < 2:
            sums[turns % 2] = term if known is None else known + term
        else:
            sums[turns % 2] = -term if known is None else known - term
    real, other = sums
    assert real is not None
    return Pair(real, other)


def _term(
    operation: str,
    operands: Sequence[Pair],
    imaginary: set[int],
    options: Mapping[str, Attribute],
) -> Value:
    entry = RULES[operation]
    if entry.is_sum and imaginary:
        return _sum_of([pair.imaginary for pair in operands], entry.signs)
    chosen = []
    for place, pair in enumerate(operands):
        if place not in imaginary:
            chosen.append(pair.real)
        elif pair.imaginary is None and entry.elementwise:
            chosen.append(pair.real.maker.number(0.0))
        else:
            chosen.append(pair.parts[1])
    return call(operation, *chosen, **options)


def _sum_of(terms: Sequence[Value | None], signs: Sequence[int]) -> Value:
    found: Value | None = None
    for term, sign in zip(terms, signs, strict=True):
        if term is None:
            continue
        if found is None:
            found = term if sign > 0 else -term
        else:
            found = found + term if sign > 0 else found - term
    assert found is not None
    return found
