"""The patterns of :mod:`rollc.transforms.canonicalize`, one entry in a table for each operation.

    x + 0, x - 0, x * 1, x / 1, x ** 1, -(-x)      ->  x
    0 - x, x * -1                                  ->  -x
    x + (-y), x - (-y), (-x) * (-y), -(x - y)      ->  x - y, x + y, x * y, y - x
    x ** 2                                         ->  x * x
    a sum with equal terms                         ->  k * x
    where(known, a, b), where(c, a, a)             ->  a or b
    reached(x, known), reached(k * g, g)           ->  x; k * g
    identity, sum_of or max_of of one value        ->  the value
    sum, mean of a fill; sum of an expand          ->  size * x, x
    sum, mean of a stack                           ->  a + b + …
    sum, mean, max, min along one element          ->  a reshape
    transpose of transpose; W.T @ x                ->  the matrix; matmul{transpose_a}
    slice of slice, concat, pad, fill              ->  one slice, or none
    pad of pad; pad or slice of everything         ->  one pad; the value
    concat of adjacent slices, of a concat         ->  one slice, one concat
    a sum of pads that tile a vector               ->  one concat (the adjoint of split)
    a row of a stack                               ->  the value stacked there
    sum, mean, max, min, first, last over an axis
        of a value spread along it or at one step  ->  the value, times the extent for a sum
    W @ concat(a, b), a on the cycle and b not     ->  W[:, :m] @ a + W[:, m:] @ b

The last one makes the product of ``b`` loop-invariant code, which is hoisted; a concat whose
parts are all on the cycle, or all off it, stays whole.  Parts that are zeros are dropped.

A rule takes the workspace and a node whose operands are canonical.  It returns a read that has
the node's value, the node rewritten, or None.  Types are the caller's business: a result that
does not run over all the axes of the node is spread over them, or rejected.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollc.transforms.patterns.arithmetic import ARITHMETIC
from rollc.transforms.patterns.matrices import MATRICES
from rollc.transforms.patterns.pattern import Rule, Workspace, known_number
from rollc.transforms.patterns.reductions import REDUCTIONS
from rollc.transforms.patterns.slices import SLICES

__all__ = ["REWRITES", "Rule", "Workspace", "known_number"]

REWRITES: Mapping[str, tuple[Rule, ...]] = {
    **ARITHMETIC,
    **SLICES,
    **REDUCTIONS,
    **MATRICES,
}
