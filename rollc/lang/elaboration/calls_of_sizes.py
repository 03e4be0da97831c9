"""Calls that say sizes, dimensions and places, elaborated to drafts."""

from __future__ import annotations

from rollc.ir.attribute_flaws import attribute_flaw
from rollc.ir.graph import Edge, attributes
from rollc.lang.elaboration.call_checks import (
    along_of,
    check_arity,
    known_options,
    no_option,
    options_of,
)
from rollc.lang.elaboration.expressions import Expressions
from rollc.lang.symbols.builtins import EYE, FULL, MOVED, ONES, RANGE, RESHAPE
from rollc.lang.symbols.constants import rejected
from rollc.lang.symbols.forms import EINSUM, STACKED, flaw_of
from rollc.lang.symbols.untyped_node import Operand
from rollc.lang.syntax.ast import Call, Text

_AS_LETTERS = 'write `einsum("nk,kv->nv", a, b)`: a letter for each dimension'


class CallsOfSizes(Expressions):
    """Drafts of constants with a shape, of sums over letters, and of what moves or reshapes."""

    def shaped(self, call: Call, prefix: str, name: str | None) -> Operand:
        """A constant of some sizes; `full` has a value before them."""
        function = call.function.name
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        first = function == FULL
        one = function in (EYE, RANGE)
        wanted = (*["x"] * first, "N")
        check_arity(call, wanted, variadic=not one)
        sizes = self.values.shape(call.operands[first:], call.span)
        if one:
            options = attributes(size=sizes[0])
            return self.add(function, (), call.span, prefix, name, options=options)
        if first:
            value = self.read(call.operands[0], prefix)
        else:
            number = self.constant(float(function == ONES), call.span, prefix)
            value = Operand(Edge(number), call.span)
        options = attributes(shape=sizes)
        return self.add("fill", (value,), call.span, prefix, name, options=options)

    def einsum(self, call: Call, prefix: str, name: str | None) -> Operand:
        """A sum of products, with a letter for each dimension."""
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        match call.operands:
            case (Text(text, span), _, *_):
                flaw = flaw_of(text, len(call.operands) - 1)
                if flaw:
                    message = "subscripts of `einsum` that are none"
                    raise rejected("R204", span, message, flaw, [_AS_LETTERS])
            case _:
                message = "`einsum` takes subscripts and values"
                raise rejected("R204", call.span, message, "", [_AS_LETTERS])
        operands = self.all_of(call.operands[1:], prefix)
        options = attributes(subscripts=text)
        return self.add(EINSUM, operands, call.span, prefix, name, options=options)

    def stack(self, call: Call, prefix: str, name: str | None) -> Operand:
        """Values of one shape along a new dimension, the first if none is said."""
        check_arity(call, ("x",), variadic=True)
        if call.sizes or call.over is not None:
            raise no_option(call)
        axis = along_of(options_of(call, known_options(call), self.values)) or 0
        operands = self.all_of(call.operands, prefix)
        options = attributes(axis=axis)
        return self.add(STACKED, operands, call.span, prefix, name, options=options)

    def in_dimensions(self, call: Call, prefix: str, name: str | None) -> Operand:
        """A value in other sizes, or with its dimensions in another order."""
        if call.options or call.sizes or call.over is not None:
            raise no_option(call)
        numbers = call.operands[1:]
        if call.function.name == RESHAPE:
            check_arity(call, ("x", "N"), variadic=True)
            operation, options = "reshape", attributes(shape=self.values.shape(numbers, call.span))
        else:
            order = tuple(self.values.whole(number) for number in numbers)
            count = len(order)
            places = tuple(place % count if -count <= place < count else -1 for place in order)
            if sorted(places) != [*range(count)]:
                message = "`transpose` takes each dimension once, in their new order"
                helps = ["`transpose(x, 1, 0)` is the transpose of a matrix"]
                raise rejected("R205", call.span, message, f"these are {list(order)}", helps)
            operation, options = "permute", attributes(order=places)
        value = self.read(call.operands[0], prefix)
        return self.add(operation, (value,), call.span, prefix, name, options=options)

    def moved(self, call: Call, prefix: str, name: str | None) -> Operand:
        """Elements moved along a dimension, by whole numbers that are known when it is built."""
        operation, *numbers = MOVED[call.function.name]
        if call.sizes or call.over is not None:
            raise no_option(call)
        check_arity(call, ("x", *numbers))
        options = options_of(call, known_options(call), self.values)
        for number, operand in zip(numbers, call.operands[1:], strict=True):
            value = options[number] = self.values.whole(operand)
            flaw = attribute_flaw(operation, number, value)
            if flaw is not None:
                raise rejected(
                    "R205", operand.span, f"`{number}` must be {flaw}", f"this is {value}"
                )
        along = along_of(options)
        moved = self.read(call.operands[0], prefix)
        chosen = attributes(**options)
        return self.add(operation, (moved,), call.span, prefix, name, options=chosen, along=along)
