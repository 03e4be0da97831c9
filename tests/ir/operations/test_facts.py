"""What operations say of themselves, which passes rely on: each fact of each, by numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.autodiff.tangent import tangent_name
from rollc.backends.numba.codegen import spellings
from rollc.entries.forward_mode import hessian_products
from rollc.ir.graph import Type
from rollc.ir.interpreter import interpret
from rollc.ir.operations import OPERATIONS, Operation, TypeMismatch
from tests.helpers.operation_cases import CASES, SIZES, Bench, Case, each_case, values

Array = NDArray[Any]


def those(fact: Callable[[Operation], object]) -> pytest.MarkDecorator:
    """The cases of the operations of which something is said."""
    return pytest.mark.parametrize(("name", "case"), each_case(fact))


def computed(
    operation: Operation, case: Case, operands: list[Array], sizes: Mapping[str, int] = SIZES
) -> Array:
    bench = Bench()
    bench.bare(operation.name, case)
    leaves = {f"{operation.name}_{place}": operand for place, operand in enumerate(operands)}
    with np.errstate(all="ignore"):
        return interpret(bench.graph("bare"), leaves, sizes)[operation.name]


def drawn(case: Case, random: np.random.Generator, scale: float = 1.0) -> list[Array]:
    """Arrays for the operands; a condition is made of the sign of numbers."""

    def one(type_: Type) -> Array:
        shape = (*(SIZES[axis] for axis in type_.axes), *type_.shape)
        if type_.kind == "index":
            return random.integers(0, type_.bound or 1, shape)
        return random.normal(size=shape) * scale

    return [one(type_) for type_ in case.operands]


def numeric(case: Case) -> list[int]:
    return [place for place, type_ in enumerate(case.operands) if type_.kind == "float"]


@those(lambda operation: operation.linear)
def test_linear_in_groups_of_operands(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    random = np.random.default_rng(0)
    groups = operation.linear_in(len(case.operands))
    assert len({place for group in groups for place in group}) == sum(map(len, groups))
    for group in groups:
        if not set(group) <= {*numeric(case)}:
            continue  # of indices or conditions, which it moves
        a, b = drawn(case, random), drawn(case, random)
        both = [2 * a[k] - 3 * b[k] if k in group else a[k] for k in range(len(a))]
        other = [b[k] if k in group else a[k] for k in range(len(a))]
        expected = 2 * computed(operation, case, a) - 3 * computed(operation, case, other)
        np.testing.assert_allclose(computed(operation, case, both), expected, atol=1e-12)


# The one goes over to its argument's slope in a derivative, the other has another mask each time.
LINEAR_AND_SAY_NOTHING = ("with_slope", "dropout")


@those(lambda operation: operation.adjoint and not operation.linear)
def test_what_is_linear_in_all_its_numbers_says_so(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    random, chosen = np.random.default_rng(7), numeric(case)
    a, b = drawn(case, random), drawn(case, random)
    both = [2 * a[k] - 3 * b[k] if k in chosen else a[k] for k in range(len(a))]
    b = [b[k] if k in chosen else a[k] for k in range(len(a))]
    expected = 2 * computed(operation, case, a) - 3 * computed(operation, case, b)
    found = computed(operation, case, both)
    assert operation.name in LINEAR_AND_SAY_NOTHING or not np.allclose(found, expected)


@those(lambda operation: operation.zero_groups(1))
def test_zero_where_a_group_of_operands_is(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    for group in operation.zero_groups(len(case.operands)):
        operands = drawn(case, np.random.default_rng(1))
        zeros = [np.zeros_like(a) if k in group else a for k, a in enumerate(operands)]
        assert not computed(operation, case, zeros).any()


@those(lambda operation: operation.finite)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e10])
def test_finite_where_operands_are(name: str, case: Case, scale: float) -> None:
    operation = OPERATIONS[name]
    operands = drawn(case, np.random.default_rng(2), scale)
    assert np.isfinite(computed(operation, case, operands)).all()


@those(lambda operation: operation.moves)
def test_what_moves_computes_nothing(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    operands = drawn(case, np.random.default_rng(3))
    given = np.concatenate([operand.ravel() for operand in operands])
    given = given > 0 if case.operands[0].kind == "bool" else given
    assert np.isin(computed(operation, case, operands), given).all()


@those(lambda operation: operation.commutative)
def test_operands_change_places(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    a, b = drawn(case, np.random.default_rng(4))
    turned = Case(case.operands[::-1], case.options)
    there, back = computed(operation, case, [a, b]), computed(operation, turned, [b, a])
    np.testing.assert_array_equal(there, back)


@those(lambda operation: operation.elementwise and not operation.variadic)
def test_what_is_a_sum_of_its_operands(name: str, case: Case) -> None:
    """It is that with the signs it says, and with no others."""
    operation = OPERATIONS[name]
    alike = len(set(case.operands)) == 1 and len(numeric(case)) == len(case.operands)
    if not alike or operation.value_first or operation.broadcasts or operation.name == "dropout":
        return
    operands = drawn(case, np.random.default_rng(8))
    found = computed(operation, case, operands)
    for signs in product((1, -1), repeat=len(operands)):
        total = sum(sign * a for sign, a in zip(signs, operands, strict=True))
        assert np.array_equal(found, total) == (signs == operation.signs)


@those(lambda operation: operation.value_first or operation.broadcasts)
def test_the_value_of_the_first_operand(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    first, *rest = drawn(case, np.random.default_rng(9))
    found = computed(operation, case, [first, *rest])
    if operation.value_first:
        np.testing.assert_array_equal(found, np.broadcast_to(first, found.shape))
    else:
        assert np.isin(found, first).all() and found.size > first.size


@those(lambda operation: operation.end)
def test_the_value_at_an_end(name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    (x,) = drawn(case, np.random.default_rng(10))
    at = case.operands[0].axes.index(str(case.options["axis"]))
    x = x > 0 if case.operands[0].kind == "bool" else x
    expected = np.take(x, 0 if operation.end == "first" else -1, axis=at)
    np.testing.assert_array_equal(computed(operation, case, [x]), expected)


@those(lambda operation: operation.neutral is not None and operation.reduces != "mean")
def test_a_neutral_element_changes_nothing(name: str, case: Case) -> None:
    """Another element more, which is neutral, leaves the result of the others as it is."""
    operation = OPERATIONS[name]
    (x,) = drawn(case, np.random.default_rng(11))
    over = case.options["over"]
    at = case.operands[0].axes.index(over[0])
    x.swapaxes(0, at)[-1] = operation.neutral
    found = computed(operation, case, [x])
    sizes = {axis: SIZES[axis] - (axis == over[0]) for axis in SIZES}
    fewer = computed(operation, case, [np.delete(x, -1, axis=at)], sizes)
    if not operation.reduces:  # a share for each element
        found = np.delete(found, -1, axis=at)
    np.testing.assert_allclose(found, fewer, atol=1e-12)


@pytest.mark.parametrize("kind", ["float", "index"])
@those(lambda operation: True)
def test_what_sort_of_values_it_gives(name: str, case: Case, kind: str) -> None:
    """For numbers, and for indices in their place where it takes them."""
    operation = OPERATIONS[name]

    def given(type_: Type) -> Type:
        return replace(type_, kind=kind, bound=3) if type_.kind == "float" else type_

    operands = [given(type_) for type_ in case.operands]
    try:
        found = operation.infer(operands, case.options)
    except TypeMismatch:
        assert kind == "index"
        return
    assert found is not None
    if operation.gives == "number":
        numbers = [each.kind for each in operands if each.kind != "bool"]
        assert found.kind == (numbers[-1] if numbers else "float")
    elif operation.gives == "operand":
        assert found.kind == operands[0].kind
    else:
        assert found.kind == operation.gives


@those(lambda operation: operation.reduces)
def test_reductions_make_one_of_many(name: str, case: Case) -> None:
    """Equal elements stay what they are; in a sum they are counted."""
    operation = OPERATIONS[name]
    ones = [np.ones_like(operand) for operand in drawn(case, np.random.default_rng(5))]
    found = computed(operation, case, ones)
    assert (found > 1 if operation.reduces == "sum" else found == 1).all()
    assert found.size < ones[0].size


# A value that is given has no number of its argument, only its slope; a score of -inf has no
# share; and what is told where a cotangent arrives leaves what its condition says.
NOT_BY_NUMBERS = {("with_slope", 2), ("logsumexp", 0), ("reached", 0)}


@pytest.mark.parametrize(
    ("operation", "place"),
    [
        pytest.param(operation, place, id=f"{name}-{place}")
        for name, operation in OPERATIONS.items()
        if operation.adjoint
        for place in sorted({place for case in CASES[name] for place in numeric(case)})
        if (name, place) not in NOT_BY_NUMBERS
    ],
)
def test_what_may_be_left_is_what_some_numbers_leave(operation: Operation, place: int) -> None:
    """An element that the result is not of at some numbers is one of an operand that it picks."""
    random = np.random.default_rng(6)
    cases = [case for case in CASES[operation.name] if place in numeric(case)]
    assert any(leaves(operation, case, place, random) for case in cases * 4) == (
        operation.may_leave(place)
    )


def leaves(operation: Operation, case: Case, place: int, random: np.random.Generator) -> bool:
    """Whether the result is the same for another number at some element of an operand."""
    operands = drawn(case, random)
    if not np.isfinite(computed(operation, case, operands)).all():
        operands = [np.abs(operand) for operand in operands]  # of a root, a logarithm
    before = computed(operation, case, operands)
    for at in np.ndindex(operands[place].shape):
        others = [operand.copy() for operand in operands]
        others[place][at] += 1e-3
        if np.array_equal(before, computed(operation, case, others)):
            return True
    return False


@pytest.mark.parametrize("number", [0.0, pytest.param(1.0, marks=pytest.mark.long)])
@those(lambda entry: entry.adjoint and entry.slope != "constant" and not entry.choices)
def test_what_has_one_piece_has_a_smooth_slope(name: str, case: Case, number: float) -> None:
    """Its rule may choose between forms, of which none has a kink where the slope has none."""
    if OPERATIONS[name].once:
        return
    bench = Bench()
    bench.alone(name, name, case)
    graph = bench.graph("smooth")
    leaves = values(graph, SIZES)
    given = [leaf for leaf in leaves if not leaf.endswith(("_weight", "_table"))]
    for leaf in given:
        if leaves[leaf].dtype == np.float64:
            leaves[leaf] = np.full_like(leaves[leaf], number)
    random = np.random.default_rng(1)
    moved = {leaf: random.normal(size=leaves[leaf].shape) for leaf in given}
    gradients = adjoint(graph)

    def slopes(by: float) -> dict[str, Array]:
        there = {leaf: leaves[leaf] + by * moved[leaf] for leaf in given if leaf in tangents}
        found = interpret(gradients, leaves | there, SIZES)
        return {leaf: found[of] for leaf, of in gradients.gradients}

    products = hessian_products(graph)
    tangents = {leaf for leaf in given if leaf in dict(gradients.gradients)}
    directions = {
        tangent_name(leaf): moved.get(leaf, np.zeros_like(leaves[leaf])) for leaf in leaves
    }
    with np.errstate(all="ignore"):
        found = interpret(products, leaves | directions, SIZES)
        up, here, down = slopes(1e-5), slopes(0.0), slopes(-1e-5)
    if any(np.abs(up[leaf] - here[leaf]).max() > 0.1 for leaf in up):
        pytest.skip("no slope there")
    for label, of in products.outputs:
        leaf = label.removesuffix("^dot")
        expected = (up[leaf] - down[leaf]) / 2e-5
        np.testing.assert_allclose(found[of], expected, rtol=1e-4, atol=1e-5, err_msg=label)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_what_is_cheap(operation: Operation) -> None:
    """Arithmetic, comparisons and choices, and what is one number at many places."""
    cheap = {"add", "subtract", "multiply", "divide", "negate", "abs", "sign", "relu", "identity"}
    cheap.add("along")
    cheap |= {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "reached"}
    cheap |= {"where", "minimum", "maximum", "clip", "stop", "floor", "round"}
    cheap |= {"and", "or", "not"}
    cheap |= {"range", "eye", "expand", "zero", "fill", "spread", "impulse", "at", "tail_steps"}
    assert operation.cheap == (operation.name in cheap)


@those(lambda operation: operation.domain)
def test_what_has_a_domain_leaves_it(name: str, case: Case) -> None:
    """It is not finite for some arguments, and its slope may be infinite."""
    operation = OPERATIONS[name]
    assert not operation.finite and operation.slope == "infinite"
    given = [
        [np.full_like(a, number) for number in (0, -1, 1e4)]
        for a in drawn(case, np.random.default_rng(0))
    ]
    found = (computed(operation, case, list(operands)) for operands in product(*given))
    assert not all(np.isfinite(each).all() for each in found)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_facts_fit_together(operation: Operation) -> None:
    if operation.combine:
        whole = OPERATIONS[operation.combine]
        assert whole.variadic and whole.elementwise and operation.reduces is not None
    if operation.cheap:  # an instruction or two: no function of the library is called
        calls = re.findall(r"(\w+)\(", spellings.EXPRESSIONS.get(operation.name, ""))
        assert operation.fusable and set(calls) <= {"F", "abs", "floor", "rint"}
    assert not (operation.elementwise and operation.selects)
    assert not operation.commutative or len(operation.operands) == 2


@those(lambda operation: operation.compares)
def test_what_is_compared_is_least_where_it_is_right(name: str, case: Case) -> None:
    """And a difference is zero there."""
    operation, random = OPERATIONS[name], np.random.default_rng(0)
    said, data = drawn(case, random)
    if operation.compares == "numbers":
        if np.shape(said) != np.shape(data):  # one is broadcast
            said, data = np.full_like(said, 0.3), np.full_like(data, 0.3)
        else:
            data = said
        np.testing.assert_array_equal(computed(operation, case, [said, data]), 0.0)
        assert np.all(computed(operation, case, [said, data + 1]) != 0)
        return
    if operation.compares == "yes":
        data = random.integers(0, 2, np.shape(data)).astype(float)
        right = 50 * (2 * data - 1)
    else:
        right = 50 * np.eye(said.shape[-1])[data]
    assert np.all(computed(operation, case, [right, data]) < 1e-12)
    assert np.all(computed(operation, case, [-right, data]) > 10)


@those(lambda operation: operation.answers)
def test_answers_are_of_the_scores_that_losses_read(name: str, case: Case) -> None:
    operation, (scores,) = OPERATIONS[name], drawn(case, np.random.default_rng(0))
    found = computed(operation, case, [scores])
    powers = np.exp(scores)
    if operation.answers == "choice":
        np.testing.assert_array_equal(found, scores.argmax(axis=-1))
    elif operation.answers == "probability":
        np.testing.assert_allclose(found, powers / (1 + powers))
    else:
        chances = powers / powers.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(
            np.exp(found) if operation.answers == "scores" else found, chances
        )
