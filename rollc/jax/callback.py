"""Calls of NumPy out of JAX's programs: an operation of JAX that ``jit`` and ``vmap`` know.

It is what ``jax.pure_callback`` is, but for two things.  The function gets the arrays themselves:
there they pass through arrays of JAX, whose conversion waits for a thread of the pool that runs
the callbacks, and so forever, where several of them run at once.  And ``vmap`` calls the function
once, with the arguments of each value.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, partial_eval

from rollc.errors import DerivativeError

Tree = Any
"""Arrays in dictionaries and tuples."""


class Host(ABC):
    """A function of arrays of NumPy, on the CPU.

    ``forward`` and ``backward`` say why it has no derivative in that direction.
    """

    @property
    @abstractmethod
    def forward(self) -> str: ...

    @property
    @abstractmethod
    def backward(self) -> str: ...

    @abstractmethod
    def __call__(self, calls: Sequence[tuple[Tree, ...]]) -> Sequence[Tree]:
        """The results of each of the calls; arrays are there until it returns."""

    def spared(self, used: Tree) -> Host:
        """One for which only some results matter: those where the tree ``used`` is true."""
        return self


def called(host: Host, results: Tree, *arguments: Tree) -> Tree:
    """The results of a function, of the shapes and types ``results`` (``jax.ShapeDtypeStruct``)."""
    arrays, tree = jax.tree_util.tree_flatten(arguments)
    shapes, given_back = jax.tree_util.tree_flatten(results)
    found = _call.bind(
        *arrays,
        host=host,
        results=tuple(jax.core.ShapedArray(each.shape, each.dtype) for each in shapes),
        trees=(tree, given_back),
        sizes=(),
    )
    return jax.tree_util.tree_unflatten(given_back, found)


_call = Primitive("rollc")
_call.multiple_results = True


@_call.def_abstract_eval  # type: ignore[untyped-decorator]
def _shapes(*_: Any, results: Any, sizes: Any, **__: Any) -> Any:
    return tuple(jax.core.ShapedArray((*sizes, *each.shape), each.dtype) for each in results)


def _run(*arrays: Any, host: Host, results: Any, trees: Any, sizes: Any) -> tuple[Any, ...]:
    """The arrays that JAX takes: those of all values that ``vmap`` goes over in one."""
    tree, given_back = trees
    places = [*np.ndindex(*sizes)]
    calls = [
        jax.tree_util.tree_unflatten(tree, [_at(array, place) for array in arrays])
        for place in places
    ]
    found = tuple(np.empty((*sizes, *each.shape), each.dtype) for each in results if sizes)
    for place, own in zip(places, host(calls), strict=True):
        leaves = given_back.flatten_up_to(own)
        if not sizes:
            return tuple(
                np.asarray(leaf, each.dtype) for leaf, each in zip(leaves, results, strict=True)
            )
        for array, leaf in zip(found, leaves, strict=True):
            array[place] = leaf
    return found


def _at(array: Any, place: tuple[int, ...]) -> Any:
    """One of the values; what is the same for all has one."""
    if not place:
        return array
    sizes = zip(place, array.shape, strict=False)
    return array[(*(index if size > 1 else 0 for index, size in sizes), ...)]


@_call.def_impl  # type: ignore[untyped-decorator]
def _eager(*arrays: Any, **options: Any) -> list[Any]:
    """Outside of ``jit`` it runs here, so that what it raises is what its caller sees."""
    found = _run(*map(np.asarray, arrays), **options)
    devices = {device for array in arrays for device in getattr(array, "devices", set)()}
    with jax.default_device(devices.pop() if len(devices) == 1 else None):
        return [jax.numpy.array(array) for array in found]


# What a callback returns in 64 bits JAX makes shorter where `enable_x64` is not set in the thread
# that runs it.  So it comes as pairs of 32 bits.
_halves = Primitive("rollc_halves")
_halves.multiple_results = True
_HALF = np.dtype(np.uint32)


def _is_long(result: Any) -> bool:
    return bool(result.dtype.itemsize > _HALF.itemsize)


@_halves.def_abstract_eval  # type: ignore[untyped-decorator]
def _halves_shapes(*_: Any, results: Any, sizes: Any, **__: Any) -> Any:
    return tuple(
        jax.core.ShapedArray((*sizes, *each.shape, 2), _HALF)
        if _is_long(each)
        else jax.core.ShapedArray((*sizes, *each.shape), each.dtype)
        for each in results
    )


def _joined(*arrays: Any, **options: Any) -> list[Any]:
    found = _halves.bind(*arrays, **options)
    return [
        jax.lax.bitcast_convert_type(array, each.dtype) if _is_long(each) else array
        for array, each in zip(found, options["results"], strict=True)
    ]


def _run_halves(*arrays: Any, results: Any, **options: Any) -> tuple[Any, ...]:
    found = _run(*arrays, results=results, **options)
    return tuple(
        np.ascontiguousarray(array).reshape(-1).view(_HALF).reshape(*array.shape, 2)
        if _is_long(each)
        else array
        for array, each in zip(found, results, strict=True)
    )


# Without a token there is none to return; newer versions of JAX ask.
_PLAIN = (
    {"returns_token": False}
    if "returns_token" in inspect.signature(mlir.emit_python_callback).parameters
    else {}
)


def _lowered(context: Any, *operands: Any, **options: Any) -> Any:
    run = partial(_run_halves, **options)
    shapes = context.avals_in, context.avals_out
    return mlir.emit_python_callback(
        context, run, None, [*operands], *shapes, has_side_effect=False, **_PLAIN
    )[0]


def _batched(arrays: Any, dims: Any, *, sizes: Any, **options: Any) -> Any:
    """All arrays get a dimension in front, of one where it is the same for all values."""
    (count,) = {
        array.shape[dim] for array, dim in zip(arrays, dims, strict=True) if dim is not None
    }
    moved = [
        array[None] if dim is None else jax.numpy.moveaxis(array, dim, 0)
        for array, dim in zip(arrays, dims, strict=True)
    ]
    found = _call.bind(*moved, sizes=(count, *sizes), **options)
    return found, (0,) * len(found)


def _no_jvp(*_: Any, host: Host, **__: Any) -> NoReturn:
    raise DerivativeError(host.forward)


def _no_transpose(*_: Any, host: Host, **__: Any) -> NoReturn:
    raise DerivativeError(host.backward)


def _spared(used: list[bool], equation: Any) -> tuple[list[bool], Any]:
    """What is done where nobody reads some of the results."""
    count = len(equation.invars)
    if not any(used):
        return [False] * count, None
    options = equation.params
    host = options["host"].spared(jax.tree_util.tree_unflatten(options["trees"][1], used))
    return [True] * count, equation.replace(params={**options, "host": host})


mlir.register_lowering(_halves, _lowered)
mlir.register_lowering(_call, mlir.lower_fun(_joined, multiple_results=True))
batching.primitive_batchers[_call] = _batched
ad.primitive_jvps[_call] = _no_jvp
ad.primitive_transposes[_call] = _no_transpose
partial_eval.dce_rules[_call] = _spared
