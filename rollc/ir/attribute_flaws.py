"""Which attributes a node may have, and what is wrong with those that it has.

Graphs come from text that people edit, so nothing about an attribute is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollc.ir.attributes import INITIALISERS, NAME, PLACE, RATE, REAL, Rule
from rollc.ir.graph import Attribute
from rollc.ir.operations import OPERATIONS

# The step of what an unrolled leaf is.
_STEP = {"of": NAME, "step": PLACE}
_LEAVES: Mapping[str, Mapping[str, Rule]] = {
    **dict.fromkeys(("input", "target", "cotangent", "tangent", "state"), _STEP),
    "noise": {**_STEP, "rate": RATE},
}


def _rules(operation: str) -> tuple[Mapping[str, Rule], Mapping[str, Rule]]:
    """What the attributes must be that a node has to have, and those that it may have."""
    if operation in OPERATIONS:
        return OPERATIONS[operation].required, OPERATIONS[operation].allowed
    return ({"value": REAL} if operation == "constant" else {}), _LEAVES.get(operation, {})


def attribute_flaw(operation: str, name: str, value: Attribute) -> str | None:
    """What an attribute must be, in words, where its value is not that."""
    required, allowed = _rules(operation)
    rule = {**required, **allowed}.get(name)
    if rule is None:
        return None
    return None if rule.holds(value) else rule.words


def attribute_flaws(operation: str, options: Mapping[str, Attribute]) -> list[str]:
    """Everything that is wrong with the attributes of a node."""
    known, optional = _rules(operation)
    required = dict(known)
    if operation == "param":
        initialiser = options.get("initialiser")
        if not isinstance(initialiser, str) or initialiser not in INITIALISERS:
            return [f"the attribute `initialiser` must be one of {', '.join(INITIALISERS)}"]
        required.update(INITIALISERS[initialiser])
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
