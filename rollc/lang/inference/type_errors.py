"""Type errors, with both shapes and their origins.

Every draft is checked once, after inference.  No error is reported for a node whose operand has
no type: the reason is reported where it originates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from rollc.ir.graph import BATCH, Type
from rollc.ir.operations import TypeMismatch
from rollc.lang.diagnostics.diagnostic import Diagnostic, Edit, Label
from rollc.lang.diagnostics.quotation import Quoted
from rollc.lang.diagnostics.source import Span
from rollc.lang.inference.axes import over
from rollc.lang.inference.broadcasting import broadcast
from rollc.lang.inference.comparisons import always_the_same
from rollc.lang.inference.shapes import Inference
from rollc.lang.symbols.builtins import OVER_AXES, OVER_TIME, said
from rollc.lang.symbols.constants import LARGEST_SIZE, too_large
from rollc.lang.symbols.derivatives import RULES
from rollc.lang.symbols.forms import GATHER
from rollc.lang.symbols.table import Names, listed, shown
from rollc.lang.symbols.untyped_node import LOSS, Declared, Draft, Operand

# What an operation asks for where the kind of value is at fault, not its shape.
KINDS = ("a number", "an index", "a condition", "a number or an index")


def described(type_: Type) -> str:
    """A type as a message calls it."""
    shape = f" [{', '.join(map(str, type_.shape))}]" if type_.shape else ""
    if type_.kind == "index":
        return f"an index of {type_.bound}{shape}"
    if type_.kind == "bool":
        return f"a condition{shape}"
    return shape.strip() or "a number"


def written(type_: Type) -> str:
    """A type as a spec declares it."""
    return f"[{', '.join(map(str, type_.shape))}]" if type_.shape else "number"


def _alike(said: Type, found: Type) -> bool:
    """Whether a declared type is the one found; the shape of a condition alone is one, too."""
    same = said.kind == found.kind or (said.kind == "float" and found.kind == "bool")
    return same and said.shape == found.shape and said.bound == found.bound


class Types:
    """Looks at the drafts; ``wrong`` are the nodes that an error was found in.

    ``losses`` are calls whose operands have one shape: what they average is not broadcast.
    """

    def __init__(self, inference: Inference, names: Names, losses: Sequence[Draft]) -> None:
        self.inference = inference
        self.names = names
        self.losses = losses
        self.wrong: set[str] = set(inference.wrong)

    def problems(self) -> Iterator[Diagnostic]:
        seen: set[tuple[str, Span]] = set()  # calls of the library, each with one error
        for draft in self.inference.drafts.values():
            found = self._problem(draft)
            if found is not None:
                self.wrong.add(draft.name)
                if not draft.part_of or (draft.part_of, draft.span) not in seen:
                    yield found
                seen.add((draft.part_of, draft.span))
        for draft in self.losses:
            unlike = self._unlike(draft)
            if unlike is not None and (draft.part_of, draft.span) not in seen:
                yield unlike
        for name, declared in self.inference.declared.items():
            yield from self._declared(name, declared)
        for name, initial in self.inference.initials.items():
            found = self._initial(name, initial)
            if found is not None:
                yield found

    def _problem(self, draft: Draft) -> Diagnostic | None:
        types = self.inference.types
        if draft.name in self.inference.wrong:
            return None
        operands = [self.inference.read(operand.edge) for operand in draft.operands]
        known = [type_ for type_ in operands if type_ is not None]
        if len(known) < len(operands):
            return None
        if draft.name == LOSS and len(known) == 1 and known[0].kind == "index":
            return None  # the loss has a message of its own
        try:
            found = self.inference.exact(draft)
        except TypeMismatch as mismatch:
            sources = [operand.edge.source for operand in draft.operands]
            if draft.operation in OVER_AXES and not self.inference.doubtful.isdisjoint(sources):
                return None
            return self._mismatch(draft, mismatch, known)
        if found is None:
            return None
        if found != types.get(draft.name) and draft.name not in self.inference.declared:
            return _no_shape(draft, found, types.get(draft.name))
        if math.prod(found.shape) > LARGEST_SIZE:
            return too_large(draft.span, found.shape).diagnostic
        return always_the_same(draft, known, self.inference.drafts)

    def _unlike(self, draft: Draft) -> Diagnostic | None:
        types = [self.inference.read(operand.edge) for operand in draft.operands]
        known = [type_ for type_ in types if type_ is not None]
        if len(known) < len(types):
            return None
        shaped = [place for place, type_ in enumerate(known) if type_.shape]
        for place in shaped[1:]:
            if known[place].shape != known[shaped[0]].shape:
                mismatch = TypeMismatch("values of one shape, or numbers", [shaped[0], place])
                return self._mismatch(draft, mismatch, known)
        return None

    def _mismatch(self, draft: Draft, mismatch: TypeMismatch, operands: list[Type]) -> Diagnostic:
        faulty = mismatch.operands or tuple(range(len(operands)))
        *others, last = [draft.operands[place] for place in faulty]
        *other_types, last_type = [operands[place] for place in faulty]
        found = " and ".join(described(operands[place]) for place in faulty)
        name = f"`{draft.part_of or said(draft.operation)}`"
        if draft.cut is not None and not draft.part_of:
            name = "`split`" if draft.cut.part else "a slice"
        elif draft.operation == GATHER:
            name = "a look-up"
        also = [
            Label(operand.span, f"this is {described(type_)}")
            for operand, type_ in zip(others, other_types, strict=True)
        ]
        for operand in (*others, last):
            also.extend(self.origin(operand))
        hint = mismatch.hint or _over_time(draft, last_type)
        helps, edits, parts = self._mended(draft, mismatch, hint)
        if mismatch.expected in KINDS:
            code, message = "R207", f"{name} takes {mismatch.expected}, found {found}"
        elif draft.operation in OVER_AXES:
            return self._same_over_time(draft, last, last_type)
        elif draft.cut is not None:
            code, message = "R221", f"{name} takes {mismatch.expected}, found {found}"
        else:
            code, message = "R206", f"{name} takes {mismatch.expected}, found {found}"
        text = f"this is {described(last_type)}"
        distinct = tuple(dict.fromkeys(also))
        return Diagnostic(
            code, message, Label(last.span, text), distinct, helps=helps, edits=edits, parts=parts
        )

    def _mended(
        self, draft: Draft, mismatch: TypeMismatch, hint: str
    ) -> tuple[tuple[str, ...], tuple[Edit, ...], tuple[Label, ...]]:
        """What a mismatch says to do, the change that does it, and the operands in both."""
        if not hint:
            return (), (), ()
        own = RULES[draft.operation].operands
        names = [*own, *(own[-1:] * len(draft.operands))][: len(draft.operands)]
        if draft.part_of:  # its operands are none of the text's
            return (hint.format(*map(Quoted, names)),), (), ()
        edits = (Edit(draft.span, mismatch.instead),) if mismatch.instead else ()
        parts = [Label(of.span, name) for of, name in zip(draft.operands, names, strict=True)]
        return (hint,), edits, tuple(parts)

    def _same_over_time(self, draft: Draft, operand: Operand, type_: Type) -> Diagnostic:
        """Something over an axis of a value that is the same all along it."""
        (axis,) = over(draft)
        what, text = "does not change with time", "one value for the whole sequence"
        if type_.time:
            what, text = f"does not run over `{axis}`", f"this runs over {listed(type_.time)}"
        message = f"`{said(draft.operation)}` over `{axis}` of a value that {what}"
        return Diagnostic("R216", message, Label(operand.span, text))

    def origin(self, operand: Operand) -> Iterator[Label]:
        """Where the shape of an operand was first written down."""
        types, drafts = self.inference.types, self.inference.drafts
        name = operand.edge.source
        seen: set[str] = set()
        while name in drafts and name not in seen:
            seen.add(name)
            draft = drafts[name]
            if name in self.inference.declared:
                declared = self.inference.declared[name][0]
                yield Label(declared.span, f"`{name}` is declared as {described(declared.type)}")
                return
            if draft.type is not None:
                symbol = self.names.symbols.get(name)
                if symbol is not None:
                    text = f"`{name}` is declared as {described(draft.type)}"
                    yield Label(symbol.span, text)
                return
            name = self._shaper(draft, types)

    def _shaper(self, draft: Draft, types: Mapping[str, Type]) -> str:
        """The operand that gives a node its shape, if it is just one."""
        sources = [operand.edge.source for operand in draft.operands]
        if draft.operation == "matmul":
            return sources[0]
        if RULES[draft.operation].elementwise or draft.operation in OVER_AXES:
            shape = types[draft.name].shape if draft.name in types else None
            for source in sources:
                if source in types and types[source].shape == shape:
                    return source
        return ""

    def _initial(self, name: str, initial: Operand) -> Diagnostic | None:
        types = self.inference.types
        node, start = types.get(name), types.get(initial.edge.source)
        if node is None or start is None or name in self.inference.doubtful | self.wrong:
            return None
        axes = self.inference.delay_axes.get(name, set())
        name, own = name.split("'")[0], name
        symbol = self.names.symbols[name]
        if axes & set(start.time) or not set(start.time) <= set(node.time):
            helps = ["take one step of it: `first(…)` or `last(…)`"]
            if len(axes) > 1:
                helps.append(f"say it for an axis: `init {name} over {min(axes)} = …`")
            return Diagnostic(
                "R211",
                f"the initial value of `{name}` changes with time",
                Label(initial.span, "has a value at every step"),
                helps=tuple(helps),
            )
        also = (Label(symbol.at, f"`{name}` is {described(node)}"),)
        if BATCH in start.axes and BATCH not in node.axes:
            return Diagnostic(
                "R214",
                f"the initial value of `{name}` does not fit",
                Label(initial.span, "another value for each sequence of a batch"),
                also,
                notes=(f"`{name}` reads no input: it is the same for every sequence of a batch",),
            )
        if len(axes) > 1 and len(start.shape) > len(node.shape):
            return Diagnostic(
                "R214",
                f"the initial value of `{name}` does not fit",
                Label(initial.span, f"this is {described(start)}"),
                also,
                notes=(f"`{name}` is read along two axes, and a row for each step is for one",),
                helps=(f"say it for an axis: `init {name} over {min(axes)} = …`",),
            )
        if self.inference.fits(own, start):
            return self._two_readings(own, initial, start)
        notes: tuple[str, ...] = ()
        if start.kind == node.kind and start.shape and start.shape[1:] == node.shape:
            notes = self._rows_missing(own, start.shape[0])
        return Diagnostic(
            "R214",
            f"the initial value of `{name}` does not fit",
            Label(initial.span, f"this is {described(start)}"),
            also,
            notes=notes,
        )

    def _two_readings(self, name: str, initial: Operand, start: Type) -> Diagnostic | None:
        """What is wrong with an initial value that fits, alone or as a row for each step."""
        if name not in self.inference.ambiguous:
            return None
        past, future = self.inference.reach(name)
        name = name.split("'")[0]
        side = "before the first" if past else "behind the last"
        whole, row = (replace(start, shape=shape) for shape in (start.shape, start.shape[1:]))
        own = shown(name)
        forms = [f"`{own}: {written(type_)} = …`" for type_ in (whole, row)]
        return Diagnostic(
            "R231",
            f"the initial value of `{name}` can be read in two ways",
            Label(initial.span, f"this is {described(start)}"),
            (Label(self.names.symbols[name].at, f"nothing else says the shape of `{name}`"),),
            notes=(
                f"if `{name}` is {described(whole)}, this is its value at every step {side}",
                f"if `{name}` is {described(row)}, this is a value for each of {past + future}"
                f" steps {side}",
            ),
            helps=(f"declare which, where `{own}` is defined: {' or '.join(forms)}",),
        )

    def _declared(self, name: str, declared: Sequence[Declared]) -> Iterator[Diagnostic]:
        """Where a type that is declared is not that of the equation."""
        draft = self.inference.drafts.get(name)
        if draft is None or name in self.inference.wrong:
            return
        with suppress(TypeMismatch):
            found = self.inference.exact(draft)
            other = found or self.inference.types[name]
            also = [Label(draft.span, f"this is {described(other)}")]
            also += [label for operand in draft.operands for label in self.origin(operand)]
            for declaration in declared:
                if not _alike(declaration.type, other):
                    form = described(declaration.type)
                    helps: tuple[str, ...] = ()
                    if (declaration.type.kind, other.kind) == ("bool", "float"):
                        helps = ("a number becomes a condition by a comparison: `{0:tight} != 0`",)
                    yield Diagnostic(
                        "R233",
                        f"`{name}` is declared as {form}, and is {described(other)}",
                        Label(declaration.span, f"declared as {form}"),
                        tuple(dict.fromkeys(also)),
                        helps=helps,
                        parts=(Label(draft.span, "v"),) if helps else (),
                    )

    def _rows_missing(self, name: str, rows: int) -> tuple[str, ...]:
        """Why an initial value of so many rows is not one with a row for each step."""
        past, future = self.inference.reach(name)
        if past and future:
            return (f"`{name}` is read on both sides, and then one value stands for all steps",)
        if not past + future:
            return (f"nothing reads `{name}` with a delay: no step needs a row",)
        if rows != past + future:
            steps, side = max(past, future), "past" if past else "future"
            return (f"`{name}` is read up to {steps} steps into the {side}: that is {steps} rows",)
        return ()


def _no_shape(draft: Draft, found: Type, guess: Type | None) -> Diagnostic:
    """A node in a cycle that gives it another type than it has."""
    if guess is None:
        return unknown_shape(draft)
    name = draft.name.split("'")[0]
    text = f"this is {described(found)} where `{name}` is {described(guess)}"
    helps: tuple[str, ...] = ()
    if name == draft.name and broadcast(found.shape, guess.shape) == found.shape:
        helps = (f"declare it, if it is that: `{shown(name)}: {written(found)} = …`",)
    return Diagnostic("R217", f"no shape fits `{name}`", Label(draft.span, text), helps=helps)


def _over_time(draft: Draft, operand: Type) -> str:
    """How to reduce a number over the steps, where that may be meant."""
    whole = draft.operation in OVER_TIME and draft.along is None and not draft.part_of
    if not whole or not operand.time:
        return ""
    axis = operand.time[0]
    return f"over the steps, write `over {axis}`: `{said(draft.operation)}({{0}}, over {axis})`"


def unknown_shape(draft: Draft) -> Diagnostic:
    name = draft.name.split("'")[0]
    own = shown(name)
    return Diagnostic(
        "R217",
        f"cannot tell the shape of `{name}`",
        Label(draft.span, "its shape follows only from itself"),
        helps=(f"declare it: `{own}: [2] = …` is a vector, `{own}: number = …` a number",),
    )
