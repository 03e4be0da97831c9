"""What a function takes of arrays of JAX: their precision, and shapes while it is traced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.names import STATE
from rollc.network.arrays import Sizes, Spec, rows_shape, shape_of, unknown
from rollc.network.interface import Interface
from rollc.support.checks import mapping, shown, whole

Array = Any

_COMPUTED = {
    "float32": "float32",
    "float64": "float64",
    "bfloat16": "float32",
    "float16": "float32",
}


@dataclass(frozen=True)
class Precision:
    """The type of a call's numbers, and the one that it computes in."""

    own: str
    computed: str


def precision_of(sort: str, arrays: Mapping[str, Array]) -> Precision:
    """The one precision of some arrays of numbers by name."""
    first = next(iter(arrays))
    own = str(arrays[first].dtype)
    for name, array in arrays.items():
        found = str(array.dtype)
        if found not in _COMPUTED:
            known = ", ".join(_COMPUTED)
            raise InputError(f"{sort} `{name}`: expected one of {known}, found {found}")
        if found != own:
            raise InputError(
                f"expected each {sort} in one precision, found `{first}` in {own} and `{name}` in"
                f" {found}; convert them by `.astype`"
            )
    return Precision(own, _COMPUTED[own])


def halves(name: str, value: Any) -> tuple[Array, Array]:
    """The parts of a complex array; a real one has an imaginary part of 0."""
    array = as_array(f"`{name}`", value)
    return jnp.real(array), jnp.imag(array)


def joined(real: Array, imaginary: Array) -> Array:
    """A complex array; of half precisions there is none."""
    if real.dtype not in (jnp.float32, jnp.float64):
        real, imaginary = real.astype(jnp.float32), imaginary.astype(jnp.float32)
    return jax.lax.complex(real, imaginary)


def precision_named(dtype: Any) -> Precision:
    """That of a type; JAX's own where none is given."""
    try:
        name = str(jnp.dtype(float if dtype is None else dtype))
    except TypeError:
        name = shown(dtype)
    own = str(jax.dtypes.canonicalize_dtype(float)) if dtype is None else name
    if own not in _COMPUTED:
        raise InputError(f"`dtype`: expected one of {', '.join(_COMPUTED)}, found {own}")
    if own == "float64" and not jax.config.jax_enable_x64:
        raise InputError("`dtype`: JAX has float64 where `jax_enable_x64` is set")
    return Precision(own, _COMPUTED[own])


def as_array(what: str, value: Any) -> Array:
    """An array of JAX, or one that it traces."""
    if value is None:  # NaN for older versions of JAX
        raise InputError(f"{what}: expected an array, found None")
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what}: not an array ({error})") from None


def fitting(sort: str, name: str, value: Any, spec: Spec, precision: Precision) -> Array:
    """An array in the precision that is computed in; shapes are looked at together."""
    array = as_array(f"{sort} `{name}`", value)
    if spec.kind != "float":
        if not jnp.issubdtype(array.dtype, np.integer) and array.dtype != np.bool_:
            raise InputError(f"{sort} `{name}`: expected whole numbers, found {array.dtype}")
        return array
    if str(array.dtype) != precision.own:
        raise InputError(
            f"{sort} `{name}`: expected {precision.own}, as the parameters are, found"
            f" {array.dtype}; convert it by `.astype`"
        )
    return array.astype(precision.computed)


def seed_of(value: Any) -> Array:
    """A seed as whole numbers: one, or the words of a key of JAX."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = whole("`seed`", value)
        if number < 2**31:
            return jnp.asarray(number)
        count = -(-number.bit_length() // 32)
        words = [number >> 32 * place & 0xFFFFFFFF for place in range(count)]
        return jnp.asarray(np.array(words, np.uint32))
    array = as_array("`seed`", value)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.ndim > 1 or not jnp.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"`seed`: expected a whole number, or a key of jax.random, found {array.dtype}"
            f" [{', '.join(map(str, array.shape))}]"
        )
    return array


def lengths_of(value: Any) -> Any:
    """Lengths as arrays of JAX, of one axis or by axis."""
    if isinstance(value, Mapping):
        return {axis: lengths_of(own) for axis, own in value.items()}
    array = as_array("`lengths`", value)
    if not jnp.issubdtype(array.dtype, np.integer):
        raise InputError(f"`lengths`: expected whole numbers, found {array.dtype}")
    return array


def sizes_of(
    interface: Interface,
    arrays: Mapping[str, Array],
    steps: Any,
    state: bool,
    lengths: Any,
    need_targets: bool,
) -> Sizes:
    """The sizes of a call; raises :class:`InputError` for what does not fit.

    Shapes are looked at, and the values of whole numbers where they are known.
    """
    params = {name: arrays[name] for name in interface.params if name in arrays}
    states = {name.removeprefix(STATE): array for name, array in arrays.items() if _is_state(name)}
    inputs = {
        name: array
        for name, array in arrays.items()
        if name not in interface.params and not _is_state(name)
    }
    if isinstance(lengths, Mapping):
        alike: Any = {axis: _like(own) for axis, own in lengths.items()}
    else:
        alike = None if lengths is None else _like(lengths)
    _, sizes = interface.leaves(
        {name: _like(array) for name, array in params.items()},
        {name: _like(array) for name, array in inputs.items()},
        steps,
        {name: _like(array) for name, array in states.items()} if state else None,
        alike,
        need_targets=need_targets,
    )
    return sizes


def _is_state(name: str) -> bool:
    return name.startswith(STATE)


def _like(array: Array) -> NDArray[Any]:
    """An array of that shape; the same one where it holds whole numbers that are known."""
    if isinstance(array, jax.core.Tracer) or not jnp.issubdtype(array.dtype, np.integer):
        return np.zeros(array.shape, array.dtype)
    return np.asarray(array)


def results_of(
    interface: Interface, sizes: Sizes, state: bool, lengths: bool, loss: bool, dtype: str
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes and types of what a call gives."""
    kinds = {
        "float": np.dtype(dtype),
        "index": jax.dtypes.canonicalize_dtype(np.int64),
        "bool": np.dtype(np.bool_),
    }
    found = {}
    outputs = interface.ragged_outputs if lengths else interface.outputs
    if loss:
        found["loss"] = jax.ShapeDtypeStruct((), kinds["float"])
    for name, spec in outputs.items() if not loss else ():
        found[name] = jax.ShapeDtypeStruct(shape_of(spec, sizes, sizes.batched), kinds[spec.kind])
    batch = sizes.batch if sizes.batched else None
    for name, spec in interface.states.items() if state else ():
        kind = kinds["float" if spec.kind == "float" else "index"]
        found[STATE + name] = jax.ShapeDtypeStruct(rows_shape(spec, batch), kind)
    return found


def state_rows(value: Array, start: Spec, state: Spec, batch: int | None) -> Array:
    """The rows of a state, ``[depth, B, ...]``, from what the spec says it starts from.

    That is a number, a value of the state's shape, or a row for each step, the earliest first.
    """
    depth, *own = state.shape
    lead = int(start.batch and batch is not None)
    if len(start.shape) > len(own):
        value = jnp.moveaxis(value, lead, 0)[-depth:]
    else:
        value = value.reshape(1, *value.shape, *[1] * (len(own) - len(start.shape)))
    if state.batch and batch is not None and not lead:
        value = value[:, None]
    return jnp.broadcast_to(value, rows_shape(state, batch))


def by_name(sort: str, value: Any, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arrays by names that are known."""
    for name in mapping(sort, value, "arrays by name"):
        if name not in known:
            raise InputError(unknown(sort, name, known))
    return value  # type: ignore[no-any-return]
