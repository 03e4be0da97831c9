"""Verification of the attributes of a node against the constraints of its operation.

Graphs are also read from text that people edit, so nothing about an attribute is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollc.ir.attributes import FLAG, INITIALISERS, NAME, RATE, REAL, STEP, Rule
from rollc.ir.graph import Attribute
from rollc.ir.operations import OPERATIONS
from rollc.ir.operations.initial_values import is_expression

# Leaves of an unrolled graph name the leaf and the step that they are, or the two steps.
_STEP = {"of": NAME, "step": STEP}
_COMPUTED = Rule("an expression in postfix order", is_expression)
_LEAVES: Mapping[str, Mapping[str, Rule]] = {
    **dict.fromkeys(("input", "target", "cotangent", "tangent", "state"), _STEP),
    "noise": {**_STEP, "rate": RATE},
    "param": {"frozen": FLAG},
}


def _rules(operation: str) -> tuple[Mapping[str, Rule], Mapping[str, Rule]]:
    """The constraints on the required attributes of an operation, and on its optional ones."""
    if operation in OPERATIONS:
        return OPERATIONS[operation].required, OPERATIONS[operation].allowed
    return ({"value": REAL} if operation == "constant" else {}), _LEAVES.get(operation, {})


def attribute_flaw(operation: str, name: str, value: Attribute) -> str | None:
    """The constraint that the value of one attribute violates, in words; None where it holds."""
    required, allowed = _rules(operation)
    rule = {**required, **allowed}.get(name)
    if rule is None:
        return None
    return None if rule.holds(value) else rule.words


def attribute_flaws(operation: str, options: Mapping[str, Attribute]) -> list[str]:
    """Every attribute that is missing, unknown or violates its constraint, a message each."""
    known, optional = _rules(operation)
    required = dict(known)
    if operation == "param":
        initialiser = options.get("initialiser")
        if not isinstance(initialiser, str) or initialiser not in INITIALISERS:
            return [f"the attribute `initialiser` must be one of {', '.join(INITIALISERS)}"]
        required.update(INITIALISERS[initialiser])
        if initialiser == "computed":
            required["values"] = _COMPUTED
    free = {"initialiser"} if operation == "param" else set[str]()
    flaws = [f"the attribute `{name}` is missing" for name in required if name not in options]
    for name, value in options.items():
        rule = required.get(name) or optional.get(name)
        if rule is None:
            if name not in free:
                flaws.append(f"`{operation}` has no attribute `{name}`")
        elif not rule.holds(value):
            flaws.append(f"the attribute `{name}` must be {rule.words}")
    return flaws
