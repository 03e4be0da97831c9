"""Codes R2xx, first part: names, functions, sizes and constants."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue.entry import Entry

NAMES = (
    Entry(
        "R201",
        "unknown name",
        """
        Nothing in the spec defines the name. Equations may stand in any order, so it does
        not matter where the definition is.
        """,
        """
        net filter
        input u
        state = 0.5 * stat[t-1] + u
        output state
        """,
        """
        net filter
        input u
        state = 0.5 * state[t-1] + u
        output state
        """,
    ),
    Entry(
        "R202",
        "said twice",
        """
        Equations define a graph and are no program: a name has one definition, and a network
        one loss. To change a value step by step, give each step a name.
        """,
        """
        net twice
        input u
        h = 2 * u
        h = h[t-1] + u
        output h
        """,
        """
        net twice
        input u
        a = 2 * u
        h = h[t-1] + a
        output h
        """,
    ),
    Entry(
        "R203",
        "unknown function",
        """
        `grammar/README.md` lists all functions.
        """,
        """
        net filter
        input u
        h = sigmoit(h[t-1]) + u
        output h
        """,
        """
        net filter
        input u
        h = sigmoid(h[t-1]) + u
        output h
        """,
    ),
    Entry(
        "R204",
        "a wrong number of operands",
        """
        Each function takes a fixed number of operands, except `concat` and `stack`. `einsum` takes
        subscripts and a value for each of them: `einsum("nk,k->n", a, b)`.
        """,
        """
        net larger
        input u
        h = maximum(u)
        output h
        """,
        """
        net larger
        input u
        h = maximum(u, 0)
        output h
        """,
    ),
    Entry(
        "R205",
        "an option that the function does not have",
        """
        Options stand behind the operands, as `name=number`. `over t` belongs to `sum`,
        `mean`, `max` and `min`, and to cells and functions that name `t` inside.
        """,
        """
        net norm
        input u: [4]
        h = layer_norm(u, 1, 0, eps=0.1)
        output h
        """,
        """
        net norm
        input u: [4]
        h = layer_norm(u, 1, 0, epsilon=0.1)
        output h
        """,
    ),
    Entry(
        "R208",
        "a bad size",
        """
        Sizes are whole numbers from 1 to 2147483648, made of numbers and of sizes defined
        further up with `+ - * / **`, `floor` and `ceil`. A division that is not in one of these
        must leave no remainder. A value, and all parameters together, have 2147483648 elements
        at most.
        """,
        """
        net halves
        dim H = 5, G = H / 2
        input u: [G]
        h = 0.5 * h[t-1] + u
        output h
        """,
        """
        net halves
        dim H = 5, G = ceil(H / 2)
        input u: [G]
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R209",
        "a size cannot be set so",
        """
        `--set H=64` (in Python `sets={"H": 64}`) gives a size that the spec declares another
        value. Here `--set D=3` was given, and the spec has no size of that name.
        """,
        """
        net filter
        dim H = 2
        input u: [H]
        h = 0.5 * h[t-1] + u
        output h
        """,
        """
        net filter
        dim D = 2
        input u: [D]
        h = 0.5 * h[t-1] + u
        output h
        """,
        sets={"D": 3},
    ),
    Entry(
        "R218",
        "no output and no loss",
        """
        A network without either computes nothing.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R219",
        "a size cannot be an output",
        """
        Outputs are values that the network computes or is given.
        """,
        """
        net filter
        dim H = 2
        input u: [H]
        h = 0.5 * h[t-1] + u
        output h, H
        """,
        """
        net filter
        dim H = 2
        input u: [H]
        h = 0.5 * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R220",
        "several results, or names for them, in the wrong place",
        """
        `split(x, n)` cuts a vector into n equal parts and gives n results, each of which
        needs a name. A cell gives as many as it says behind its arrow; a use of it names all
        of them, or the first ones. Nothing else gives several results.
        """,
        """
        net gates
        input u: [6]
        i, f = split(u, 3)
        h = f * h[t-1] + i
        output h
        """,
        """
        net gates
        input u: [6]
        i, f = split(u, 2)
        h = f * h[t-1] + i
        output h
        """,
    ),
    Entry(
        "R222",
        "a bad delay",
        """
        A delay stands behind a name: `h[t-1]` is the value of `h` one step ago, `h[t+1]` the
        value one step ahead. The number of steps is a size, 1000000 at most.
        """,
        """
        net filter
        input u
        h = 0.5 * (h + u)[t-1]
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * (h[t-1] + u[t-1])
        output h
        """,
    ),
    Entry(
        "R223",
        "not a constant number",
        """
        A constant, an option and a number in an initialiser are known before the network
        runs: numbers, sizes, constants defined further up, and arithmetic with these.
        """,
        """
        net filter
        input u
        const a = exp(1)
        h = a * h[t-1] + u
        output h
        """,
        """
        net filter
        input u
        a = exp(1)
        h = a * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R224",
        "defined and not needed",
        """
        Neither an output nor the loss needs the value, even by way of others. It is most
        often a name that was mistyped elsewhere, or a rest of an earlier version. The
        network is built all the same, without it.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        g = tanh(h)
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        g = tanh(h)
        output g
        """,
        severity="warning",
    ),
    Entry(
        "R225",
        "a bad initialiser",
        """
        A parameter starts as `glorot` (what a matrix gets if nothing is said), `orthogonal`,
        `zeros` (what a vector or a number gets), `identity`, a number, `normal(s)` with the
        standard deviation s, or `uniform(a, b)`.
        """,
        """
        net linear
        input u: [4]
        param W: [3, 4] = ortogonal
        h = W @ u
        output h
        """,
        """
        net linear
        input u: [4]
        param W: [3, 4] = orthogonal
        h = W @ u
        output h
        """,
    ),
    Entry(
        "R226",
        "a size that depends on itself",
        """
        `size(x)` is known when the shape of x is. Here that shape follows from the size
        itself, around a cycle.
        """,
        """
        net grows
        input u: [3]
        cell layer(x) -> h {
            param W: [size(x), size(x)]
            h = tanh(W @ x)
        }
        a = layer(b[t-1])
        b = layer(a)
        output b, u
        """,
        """
        net grows
        input u: [3]
        cell layer(x; H) -> h {
            param W: [H, size(x)]
            h = tanh(W @ x)
        }
        a = layer(concat(u, b[t-1]); H=4)
        b = layer(a; H=3)
        output b, u
        """,
    ),
    Entry(
        "R227",
        "sizes that a cell is not made for",
        """
        Behind the semicolon of a use stand the sizes that the cell names behind its own:
        each once, and all that have no default.
        """,
        """
        net sizes
        input u: [3]
        cell layer(x; H) -> h {
            param W: [H, size(x)]
            h = tanh(W @ x)
        }
        y = layer(u)
        output y
        """,
        """
        net sizes
        input u: [3]
        cell layer(x; H) -> h {
            param W: [H, size(x)]
            h = tanh(W @ x)
        }
        y = layer(u; H=4)
        output y
        """,
    ),
    Entry(
        "R228",
        "a gradient rule where nothing is read with a delay",
        """
        `stop(h[t-1], every=20)` lets no gradient pass this one read where it crosses the
        border of a window of 20 steps. A value of the same step crosses none: `stop(h)`
        cuts it everywhere.
        """,
        """
        net windows
        input u
        h = tanh(u + stop(h[t-1], every=20))
        y = stop(h, every=20)
        output y
        """,
        """
        net windows
        input u
        h = tanh(u + stop(h[t-1], every=20))
        y = stop(h)
        output y
        """,
    ),
    Entry(
        "R230",
        "not a time axis",
        """
        What stands behind `over`, and in brackets behind the name of an input, is a time axis.
        A network has the axis `t`, or those that it declares: `time s, t`. Inside a cell or a
        function `t` is the axis that its use runs along. A static input runs over none.
        """,
        """
        net translate
        time s, t
        input x[s], y[t]
        m = mean(x, over u)
        h = 0.5 * h[t-1] + y + m
        output h
        """,
        """
        net translate
        time s, t
        input x[s], y[t]
        m = mean(x, over s)
        h = 0.5 * h[t-1] + y + m
        output h
        """,
    ),
    Entry(
        "R229",
        "which time axis",
        """
        In a network with two time axes an input says which one it runs over: `input x[s]`.
        `last(a)` and `first(a)` go over the only axis of `a`, and a cell runs along the only
        axis of its arguments; where there are two, or none, `over s` says it: `last(a, over s)`,
        or among the sizes of a cell, `gru(a; H=8, over s)`. `along(a, s)` takes a value that
        runs over the other axis alone.
        """,
        """
        net translate
        time s, t
        input x[s], y[t]
        h = last(x * y)
        output h
        """,
        """
        net translate
        time s, t
        input x[s], y[t]
        h = last(x * y, over s)
        output h
        """,
    ),
)
