"""Codes R3xx: cycles that cannot be run."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue.entry import Entry

CYCLES = (
    Entry(
        "R301",
        "cycle without a delay",
        """
        Each value of the cycle needs another one of the same step, and so none can be
        computed first. Somewhere a cycle must read the past (`a[t-1]`) or the future
        (`a[t+1]`).
        """,
        """
        net circle
        input u
        a = tanh(b) + u
        b = 0.5 * a
        output b
        """,
        """
        net circle
        input u
        a = tanh(b[t-1]) + u
        b = 0.5 * a
        output b
        """,
    ),
    Entry(
        "R302",
        "cycles that no direction of time can run",
        """
        What counts is the total delay of a cycle. One that leads into the past runs from the
        first step to the last, one that leads into the future from the last to the first.
        Values that are computed from each other cannot do both, and a cycle of no steps in
        total needs each value to compute itself. Two chains, one for each direction, can be
        joined behind both.

        Delays of both signs in a cycle are no error by themselves: with `a = f(b[t+1])` and
        `b = g(a[t-2])` each value comes from the one a step ago, and the cycle is run with
        one of the two shifted in time.
        """,
        """
        net both
        input u
        h = tanh(h[t-1] + h[t+1] + u)
        output h
        """,
        """
        net both
        input u
        a = tanh(a[t-1] + u)
        b = tanh(b[t+1] + u)
        h = a + b
        output h
        """,
    ),
    Entry(
        "R303",
        "a whole sequence that is needed to compute itself",
        """
        A value over all steps (`mean(h, over t)`, `last(h)`) is known when the last step is,
        and an initial value must be known before the first. Neither can depend on itself,
        not even through a delay.
        """,
        """
        net circle
        input u
        h = tanh(0.5 * g[t-1] + u)
        m = mean(h, over t)
        g = h - m
        output g
        """,
        """
        net circle
        input u
        h = tanh(0.5 * h[t-1] + u)
        m = mean(h, over t)
        g = h - m
        output g
        """,
    ),
    Entry(
        "R304",
        "a cell or a function that needs itself",
        """
        A cell or a function is put in the place of its use, so it cannot hold a use of
        itself, directly or by way of others. What runs over the steps is written as a delay.
        """,
        """
        net filter
        input u
        cell leaky(x) -> h {
            h = 0.5 * leaky(x) + x
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
        "R305",
        "delays along two time axes that no order of the steps serves",
        """
        A cycle can have delays along two axes, as in an image that is read from one corner to the
        other: it is computed by the steps of one axis, and at each of these by the steps of the
        other, or diagonal by diagonal. So some combination of the steps, such as `s + t` or
        `2 s - t`, is less at each place that a value is computed from than at its own.
        """,
        """
        net grid
        time s, t
        input x[s], y[t]
        h = tanh(h[s-1, t+1] + h[s+1, t-1] + x * y)
        output h
        """,
        """
        net grid
        time s, t
        input x[s], y[t]
        h = tanh(h[s-1, t+1] + h[s-1, t-1] + x * y)
        output h
        """,
    ),
)
