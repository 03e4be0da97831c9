"""Codes R2xx, second part: shapes, kinds of values, and what changes with time."""

from __future__ import annotations

from rollc.lang.diagnostics.catalogue.entry import Entry

TYPES = (
    Entry(
        "R206",
        "shapes do not fit",
        """
        Arithmetic takes operands of equal shapes, or numbers, which fit every shape. A
        matrix of shape [m, n] multiplies (`@`) a vector [n] or a matrix [n, k]. The labels
        say both shapes and where each was declared.
        """,
        """
        net linear
        input u: [4]
        param W: [3, 4], b: [4]
        h = W @ u + b
        output h
        """,
        """
        net linear
        input u: [4]
        param W: [3, 4], b: [3]
        h = W @ u + b
        output h
        """,
    ),
    Entry(
        "R207",
        "another kind of value is needed",
        """
        There are numbers, indices (`index(K)`: one of K things) and conditions (what a
        comparison gives). An index is a name and not a quantity: `embed` looks a row of a
        matrix up, `one_hot` makes a vector of it. Conditions count as 1 and 0 in arithmetic,
        but a number is no condition.
        """,
        """
        net words
        input w: index(10)
        h = 0.5 * h[t-1] + w
        output h
        """,
        """
        net words
        input w: index(10)
        param E: [10, 4]
        h = 0.5 * h[t-1] + embed(E, w)
        output h
        """,
    ),
    Entry(
        "R210",
        "a delayed read of something that does not change with time",
        """
        Parameters, constants, static inputs and values over all steps (`last(h)`) are the
        same at every step; one step ago they were no different. With two time axes, a value
        that runs over `s` is the same at every step of `t`.
        """,
        """
        net filter
        input u
        param a = 0.5
        h = a[t-1] * h[t-1] + u
        output h
        """,
        """
        net filter
        input u
        param a = 0.5
        h = a * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R211",
        "an initial value that changes with time",
        """
        The initial value is read outside the sequence, where no step is. It can be a number,
        a parameter, a static input, or anything computed from these or from one step of
        another value.
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        init h = u
        output h
        """,
        """
        net filter
        input u
        h = 0.5 * h[t-1] + u
        init h = first(u)
        output h
        """,
    ),
    Entry(
        "R212",
        "an initial value that is never read",
        """
        An initial value is what a delayed read finds outside the sequence. Where nothing
        reads with a delay, it has no effect.
        """,
        """
        net linear
        input u
        h = 0.5 * u
        init h = 1
        output h
        """,
        """
        net linear
        input u
        h = 0.5 * h[t-1] + u
        init h = 1
        output h
        """,
        severity="warning",
    ),
    Entry(
        "R213",
        "this has no initial value",
        """
        Sizes, parameters and constants are the same at every step. How a parameter starts
        before it is trained is said where it is declared: `param a = 0.5`.
        """,
        """
        net filter
        input u
        param a
        init a = 0.5
        h = a * h[t-1] + u
        output h
        """,
        """
        net filter
        input u
        param a = 0.5
        h = a * h[t-1] + u
        output h
        """,
    ),
    Entry(
        "R214",
        "an initial value that does not fit",
        """
        An initial value has the shape of what it starts, or is a number, for all elements.
        Where a delay is longer than one step it can also have one row for each step, the
        oldest first.
        """,
        """
        net filter
        input u: [3]
        param start: [2]
        h = 0.5 * h[t-1] + u
        init h = start
        output h
        """,
        """
        net filter
        input u: [3]
        param start: [3]
        h = 0.5 * h[t-1] + u
        init h = start
        output h
        """,
    ),
    Entry(
        "R215",
        "the loss is not one number",
        """
        The loss is one number for a sequence; rollc takes the mean over a batch of
        sequences. `mean(…, over t)` makes one number of a number at every step, `mean(…)`
        one number of a vector.
        """,
        """
        net filter
        input  u
        target y
        h = 0.5 * h[t-1] + u
        loss mse(h, y)
        """,
        """
        net filter
        input  u
        target y
        h = 0.5 * h[t-1] + u
        loss mean(mse(h, y), over t)
        """,
    ),
    Entry(
        "R216",
        "over the steps of something that does not change with time",
        """
        `sum`, `mean`, `max`, `min` and `softmax` over `t`, `last` and `first` read the steps of
        a sequence. A value that is the same at every step has none.
        """,
        """
        net start
        static input z: [3]
        h = mean(z, over t)
        output h
        """,
        """
        net start
        static input z: [3]
        h = mean(z)
        output h
        """,
    ),
    Entry(
        "R217",
        "cannot tell the shape",
        """
        The shape of a value in a cycle follows from the operands that come from outside the
        cycle, from its initial value, or from its declaration. Where there are none, or where
        what they say does not go together, there is no shape to be told.
        """,
        """
        net loop
        h = tanh(h[t-1])
        init h = 0.5
        output h
        g = tanh(g[t-1])
        output g
        """,
        """
        net loop
        h = tanh(h[t-1])
        init h = 0.5
        output h
        g: [3] = tanh(g[t-1])
        output g
        """,
    ),
    Entry(
        "R221",
        "a slice that does not fit",
        """
        Elements are counted from 0. `x[2:5]` takes the elements 2, 3 and 4; `x[2]` is one
        element, of a matrix a row; `m[:, 2]` has a place for each dimension. `split(x, n)` needs a
        length that n divides.
        """,
        """
        net part
        input u: [4]
        h = u[2:6]
        output h
        """,
        """
        net part
        input u: [4]
        h = u[2:4]
        output h
        """,
    ),
    Entry(
        "R231",
        "an initial value that can be read in two ways",
        """
        An initial value has the shape of what it starts, or one row for each step of the
        longest delay. Where a cycle says nothing of its shape, both can fit: with three
        numbers a vector can start, or a number that is read three steps ago. Which one is
        meant is declared where the value is defined: `h: [3] = …`, or `h: number = …`.
        """,
        """
        net filter
        input u
        param first: [3]
        h = 0.5 * h[t-3] + u
        init h = first
        output h
        """,
        """
        net filter
        input u
        param first: [3]
        h: number = 0.5 * h[t-3] + u
        init h = first
        output h
        """,
    ),
    Entry(
        "R232",
        "a comparison that always comes out the same",
        """
        An index of n values is one of 0, 1, … n - 1: it is never equal to 1.5 or to n, and
        always above -1. A condition counts as 0 or 1. Two indices can be compared, whatever
        their numbers of values are.
        """,
        """
        net classes
        input k: index(4)
        h = where(k == 4, 1, 0) + 0.5 * h[t-1]
        output h
        """,
        """
        net classes
        input k: index(4)
        h = where(k == 3, 1, 0) + 0.5 * h[t-1]
        output h
        """,
    ),
    Entry(
        "R233",
        "a declaration that the equation contradicts",
        """
        A value can be declared where it is defined: `h: [3] = …`, `k: number = …`,
        `q: index(5) = …`. What its equation gives has to be just that; a number is no vector
        there.
        """,
        """
        net filter
        input u: [3]
        h: [4] = 0.5 * h[t-1]
        g: number = 2 * u
        output h, g
        """,
        """
        net filter
        input u: [3]
        h: [4] = 0.5 * h[t-1]
        g: [3] = 2 * u
        output h, g
        """,
    ),
    Entry(
        "R234",
        "a derivative that there is none of",
        """
        `grad(e, x)` and `jacobian(f, x)` are derivatives within a step: x is a name, or a name
        with a delay, that e is computed from at the same step. In `grad(e, q[t-1])` the read is
        what changes, and in every other derivative it is a constant. No derivative passes a value
        over all steps, `stop`, or a choice such as `floor` and `argmax`, nor a function with a
        derivative of its own, which does not say what its slope is.
        """,
        """
        net pendulum
        input u
        q = q[t-1] + u
        e = 1 - cos(q[t-1])
        f = -grad(e, q)
        output q, f
        """,
        """
        net pendulum
        input u
        q = q[t-1] + u
        e = 1 - cos(q[t-1])
        f = -grad(e, q[t-1])
        output q, f
        """,
    ),
    Entry(
        "R235",
        "a repetition that cannot be written out",
        """
        What is repeated is written out before anything else is known: how often is a whole number
        that follows from numbers and sizes, and no shape of a value. The passes of `repeat` start
        from values that are defined before it, each pass reads what the one before it gives, and
        what follows reads the last. The elements of an array that is read as a whole are all there.
        """,
        """
        net solver
        input x: [3]
        v = x
        repeat size(x) {
            v = 0.5 * (v + x)
        }
        output v
        """,
        """
        net solver
        dim N = 3
        input x: [N]
        v = x
        repeat N {
            v = 0.5 * (v + x)
        }
        output v
        """,
    ),
    Entry(
        "R236",
        "a complex value where a real one is needed",
        """
        What is computed from complex values is complex. Arithmetic, `conj`, `exp`, `log`,
        `sqrt` and all that is linear take them. Whatever else takes real numbers, which
        `real(z)`, `imag(z)`, `abs(z)` and `angle(z)` are. A value that starts from a complex one
        is declared: `h: complex[3] = …`.
        """,
        """
        net rotor
        input x: [3]
        param pole: complex[3]
        h = tanh(pole * h[t-1] + x)
        output h
        """,
        """
        net rotor
        input x: [3]
        param pole: complex[3]
        v = pole * h[t-1] + x
        h = v * tanh(abs(v))
        output h
        """,
    ),
    Entry(
        "R237",
        "layers and directions that a cell does not have",
        """
        `reverse` and `both` need a cell that reads other steps, and `stack 3` one with an input.
        `dropout` stands between the layers of a stack. A residual is added to a result of the same
        shape, and nothing is broadcast. Where there are two time axes what a cell has inside says
        along which it runs, so that it is known what is turned round.
        """,
        """
        net deep
        input x: [3]
        use "cells/gru.roll"
        h = gru(x; H=8, stack 3, residual)
        output h
        """,
        """
        net deep
        input x: [3]
        use "cells/gru.roll"
        low = gru(x; H=8)
        h = gru(low; H=8, stack 2, residual)
        output h
        """,
    ),
)
