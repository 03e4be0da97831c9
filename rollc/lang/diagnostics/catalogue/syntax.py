"""Codes R1xx: what cannot be read as statements."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue.entry import Entry

SYNTAX = (
    Entry(
        "R101",
        "something else was expected here",
        """
        The text is no statement of the language. The message says what could stand at the
        place, and what was found there. Every other statement is still read, so one run
        shows all syntax errors.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + + * u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R102",
        "unknown character",
        """
        The character is no part of the language. Names are made of Latin letters without
        accents, Greek letters that do not look like these, digits and underscores; anything may
        stand in a comment, after `#`.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + § u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R103",
        "a bracket without its other half",
        """
        Inside brackets a statement may go on over several lines. A bracket that is never
        closed ends where the next statement seems to begin.
        """,
        """
        net filter
        input u
        h = 0.5 * (h[t-1] + u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * (h[t-1] + u)
        output h
        """,
    ),
    Entry(
        "R105",
        "an expression nested too deeply",
        """
        An expression may be nested 100 deep, and a sum of 100 terms is nested that deep.
        Give parts of it names of their own: that costs nothing when the network runs.
        """,
        f"""
        net deep
        input u
        h = {"-" * 101}u
        output h
        """,
        """
        net deep
        input u
        h = -u
        output h
        """,
    ),
    Entry(
        "R106",
        "a number that no float64 can hold",
        """
        The largest number is about 1.8e308. The smallest one above 0 is about 4.9e-324.
        Whole numbers have 25 digits at most.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + 1e999 * u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + 1e9 * u
        output h
        """,
    ),
    Entry(
        "R107",
        "comparisons cannot be chained",
        """
        A comparison has two sides. `and` joins two conditions, as `or` and `not` do.
        """,
        """
        net inside
        input u
        h = where(0 < u < 1, u, 0)
        output h
        """,
        """
        net inside
        input u
        h = where(0 < u and u < 1, u, 0)
        output h
        """,
    ),
    Entry(
        "R108",
        "too long",
        """
        A spec has 200000 characters at most, and a name 100. It becomes a graph of 10000 nodes
        at most, whatever they come from. Cells are used 256 times, with 20000 statements and
        100000 names, numbers and operations at most, all uses together; functions are called
        2000 times.
        """,
        f"""
        net {"n" * 101}
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
        """
        net n
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R109",
        "a name that is taken by the language",
        """
        `t` is the time axis, in `h[t-1]` and in `over t`; it cannot name a value as well.
        `state` can, but no use of a cell: its parts would be called `state.h`, which is what
        the state of a value `h` is called.
        """,
        """
        net filter
        input t
        h = 0.5 * h[t-1] + 1
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R110",
        "a spec begins with the name of its network",
        """
        The name stands in the folder that a build writes, and in everything printed.
        """,
        """
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R111",
        "this cannot be part of a cell",
        """
        A cell is given its inputs, and what uses it says what becomes of its results. It has
        `dim`, `param`, `const`, `init`, `reset` and equations; everything else belongs to the
        network.
        """,
        """
        net filter
        input u
        cell leaky(x) -> h {
            h = 0.5 * h[t-1] + x
            output h
        }
        y = leaky(u)
        output y
        """,
        """
        net filter
        input u
        cell leaky(x) -> h {
            h = 0.5 * h[t-1] + x
        }
        y = leaky(u)
        output y
        """,
    ),
    Entry(
        "R112",
        "a file that cannot be used",
        """
        A path such as `"cells/lstm.roll"` stands for a file in the folder of the text that
        uses it, or else among the specs that come with rollc. It leads to no other folder,
        and to a file that ends in `.roll`.
        """,
        """
        net filter
        use "cells/lstn.roll"
        input u: [3]
        h = lstm(u; H=4)
        output h
        """,
        """
        net filter
        use "cells/lstm.roll"
        input u: [3]
        h = lstm(u; H=4)
        output h
        """,
    ),
    Entry(
        "R113",
        "this cannot be part of a function",
        """
        A function is what its arguments make of one step: no delays, and no sizes of values.
        With several arguments, a line `grad argument: …` says whose derivative it is.
        """,
        """
        net filter
        input u
        fn leaky(x) = 0.5 * x[t-1] + x
        y = leaky(u)
        output y
        """,
        """
        net filter
        input u
        fn leaky(before, x) = 0.5 * before + x
        y = leaky(u[t-1], u)
        output y
        """,
    ),
    Entry(
        "R114",
        "more than two time axes",
        """
        An encoder and a decoder run over sequences of their own: that takes two time axes,
        and no network here has more. Values that belong to the same steps share an axis.
        """,
        """
        net three
        time r, s, t
        input x[r], y[s], z[t]
        h = h[t-1] + z + last(x) + last(y)
        output h
        """,
        """
        net two
        time s, t
        input x[s], y[s], z[t]
        h = h[t-1] + z + last(x) + last(y)
        output h
        """,
    ),
    Entry(
        "R115",
        "written as in another language",
        """
        NumPy, PyTorch, MATLAB, Julia, LaTeX and papers write this in another way. The help says
        how it is written here: `x ** 2`, `h[t-1]`, `where(c, a, b)`, `transpose(W) @ h`. The rest
        of the statement is read as if it were written so.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u^2
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u ** 2
        output h
        """,
    ),
)
