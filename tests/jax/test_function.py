"""`rollc.jax`: the numbers and gradients of a function, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.test_util import check_grads as _check_grads

import rollc.jax
from rollc.driver.build import build
from rollc.errors import InputError
from tests.helpers.paths import ROOT
from tests.jax.cells import LSTM, SKIP, SPECS, B, T, arrays, close, function_of, given, scanned

FIRST = ("lstm", "sequences/tagger", "sequences/translate")
check_grads = partial(_check_grads, order=1, modes=["rev"], eps=1e-6, rtol=1e-6, atol=1e-6)


def mine(outputs: Any) -> Any:
    """The sum of the squares of all real numbers."""
    leaves = jax.tree_util.tree_leaves(outputs)
    return sum((each**2).sum() for each in leaves if jnp.issubdtype(each.dtype, np.floating))


def test_what_is_frozen_has_no_derivative(tmp_path: Path) -> None:
    path = tmp_path / "frozen.roll"
    path.write_text(
        "net n\ninput x: [3]\nparam W: [2, 3] = normal(1.0) frozen, v: [2] = 1.0\n"
        "o = tanh(dot(v, W @ x))\noutput o\nloss mean(o * o, over t)\n"
    )
    x = {"x": jnp.ones((4, 3))}
    function = rollc.jax.function(path)
    params = function.init(0)
    for grad, of in ((jax.grad, function), (jax.jacfwd, function.forward_mode)):
        for loss in (partial(of.loss, **x), lambda params, of=of: mine(of(params, x))):
            found = grad(loss)(params)
            assert not found["W"].any() and found["v"].all()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=() if spec in FIRST else pytest.mark.long) for spec in SPECS],
)
def test_outputs_loss_and_gradients_are_those_of_the_network(spec: str) -> None:
    function = function_of(spec)
    network = build(spec, sets=SPECS[spec], dtype="float64")
    params, slots = function.init(3), given(function)
    close(params, network.init(3), rtol=0)
    read = given(function, targets=False)
    close(jax.jit(function)(params, read), network.forward(arrays(params), arrays(read)))
    floats = {name: each for name, each in slots.items() if network.inputs.get(name)}
    floats = {name: each for name, each in floats.items() if each.dtype == np.float64}

    def loss(params: Any, floats: Any) -> Any:
        return 3 * function.loss(params, slots | floats)

    value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, floats)
    expected, slopes = network.value_and_grad(arrays(params), arrays(slots))
    np.testing.assert_allclose(value, 3 * expected, rtol=1e-12)
    for name, gradient in {**grads[0], **grads[1]}.items():
        np.testing.assert_allclose(gradient, 3 * slopes[name], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("spec", FIRST)
def test_gradients_are_those_of_differences(spec: str) -> None:
    function = function_of(spec)
    params, read = function.init(0), given(function, targets=False)
    floats = {name: each for name, each in read.items() if each.dtype == np.float64}

    def outputs(params: Any, floats: Any) -> Any:
        return mine(function(params, read | floats))

    check_grads(outputs, (params, floats))


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "spec", ["skip", *(pytest.param(spec, marks=pytest.mark.long) for spec in ("lstm", "gru"))]
)
def test_it_is_what_scan_gives(spec: str, tmp_path: Path) -> None:
    """Values, gradients, second derivatives: of a loop that shares no code with rollc."""
    path = tmp_path / "skip.roll"
    path.write_text(SKIP, encoding="utf-8")
    function = rollc.jax.function(str(path)) if spec == "skip" else function_of(spec)
    params, x = function.init(0), given(function, targets=False)["x"]
    weights = jnp.asarray(np.random.default_rng(2).standard_normal((T, B, 4)))

    def own(params: Any, x: Any) -> Any:
        return (jnp.sin(function(params, x)["h"]) * weights).sum()

    def other(params: Any, x: Any) -> Any:
        return (jnp.sin(scanned(spec, params, x)) * weights).sum()

    close(function(params, x)["h"], scanned(spec, params, x), rtol=1e-13)
    grads = jax.grad(own, argnums=(0, 1))(params, x)
    expected = jax.grad(other, argnums=(0, 1))(params, x)
    close(grads, expected, rtol=1e-11)
    close(jax.jit(jax.grad(own, argnums=(0, 1)))(params, x), expected, rtol=1e-11)
    direction = jax.tree_util.tree_map(jnp.cos, params)

    def product(loss: Any) -> Any:
        return jax.jvp(lambda params: jax.grad(loss)(params, x), (params,), (direction,))[1]

    close(product(own), product(other), atol=1e-11)


def test_what_is_not_asked_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    function = function_of()
    params, slots = function.init(0), given(function)
    network = function._networks.of("float64")
    asked: list[Any] = []
    own = {"vjp": network.vjp, "value_and_grad": network.value_and_grad}
    for name, method in own.items():

        def noted(*arguments: Any, _method: Any = method, **named: Any) -> Any:
            asked.append(set(named["wrt"]))
            return _method(*arguments, **named)

        monkeypatch.setattr(network, name, noted)
    jax.grad(lambda b: function.loss({**params, "b": b}, slots))(params["b"])
    jax.jit(jax.grad(lambda x: mine(function(params, x))))(slots["x"])
    jax.jit(function)(params, slots["x"])
    jax.jit(lambda params: jax.vjp(lambda p: function.loss(p, slots), params)[0])(params)
    assert asked == [{"b"}, {"x"}]


# Lengths, states, random numbers ------------------------------------------------------------


def test_lengths() -> None:
    function = function_of()
    params, slots = function.init(0), given(function)
    lengths = jnp.array([T, 2, 0, 3])
    network = function._first
    expected = network.forward(arrays(params), {"x": np.asarray(slots["x"])}, lengths=[T, 2, 0, 3])
    close(jax.jit(function)(params, slots["x"], lengths=lengths), expected)
    check_grads(lambda params, x: mine(function(params, x, lengths=lengths)), (params, slots["x"]))
    value, grads = jax.value_and_grad(function.loss)(params, slots, lengths=[T, 2, 0, 3])
    known, slopes = network.value_and_grad(arrays(params), arrays(slots), lengths=[T, 2, 0, 3])
    np.testing.assert_allclose(value, known)
    close(grads, {name: slopes[name] for name in grads})
    translate = function_of("sequences/translate")
    slots = given(translate)
    by_axis = {"s": [T, 1, 3, 2], "t": [2, T, 1, 3]}
    params = translate.init(0)
    expected = translate._first.forward(arrays(params), arrays(slots), lengths=by_axis)
    close(translate(params, slots, lengths=by_axis), expected)


def test_windows_of_a_state_are_the_whole() -> None:
    """By `scan`, with gradients that pass from window to window.

    JAX runs it in another thread, where `enable_x64` is not set.
    """
    function = function_of()
    params, x = function.init(0), given(function, targets=False)["x"]

    def whole(params: Any, x: Any) -> Any:
        return mine(function(params, x)["h"])

    def windows(params: Any, x: Any) -> Any:
        def step(state: Any, window: Any) -> Any:
            outputs, state = function(params, window, state=state)
            return state, outputs["h"]

        cut = x.reshape(T // 2, 2, *x.shape[1:])
        return mine(jax.lax.scan(step, function.zero_state(B), cut)[1])

    expected = jax.value_and_grad(whole, argnums=(0, 1))(params, x)
    close(jax.jit(jax.value_and_grad(windows, argnums=(0, 1)))(params, x), expected)
    close(jax.value_and_grad(windows, argnums=(0, 1))(params, x), expected)
    assert len(function._tapes) == 0


STARTS = """
net starts
dim H = 3
static input z: [H]
input x: [H]
param W: [H, H], own: [H], rows: [3, H], n = 0.3
a = tanh(W @ a[t-2] + x)
init a = own
b = tanh(W @ b[t-3] + a)
init b = rows
c = 0.5 * c[t-1] + b
init c = n
d = d[t-2] * 0.4 + c
init d = tanh(W @ z) + own
h = e[t-1] * 0.3 + d
e = h
output h
"""


def test_a_state_that_the_spec_computes(tmp_path: Path) -> None:
    """From the state before the first step on, it is the whole, with the same gradients."""
    path = tmp_path / "starts.roll"
    path.write_text(STARTS, encoding="utf-8")
    function = rollc.jax.function(str(path))
    params, slots = function.init(0), given(function)

    def whole(params: Any, slots: Any) -> Any:
        return mine(function(params, slots))

    def from_state(params: Any, slots: Any) -> Any:
        state = function.initial_state(params, slots)
        return mine(function(params, slots, state=state)[0])

    for own in (slots, {"z": slots["z"][0], "x": slots["x"][:, 0]}):
        state = function.initial_state(params, own)
        close(state, function._first.initial_state(arrays(params), arrays(own)))
        close(
            jax.jit(jax.grad(from_state, argnums=(0, 1)))(params, own),
            jax.grad(whole, argnums=(0, 1))(params, own),
        )
    assert function.initial_state(params, z=slots["z"])["a"].shape == (2, B, 3)
    with pytest.raises(InputError, match="input `z` has 4 sequences, but expected 2"):
        function.initial_state(params, slots, batch_size=2)


def test_states_that_are_not_there() -> None:
    function = function_of()
    assert {name: each.shape for name, each in function.zero_state(3).items()} == {
        "h": (1, 3, 4),
        "c": (1, 3, 4),
    }
    assert function.zero_state()["h"].shape == (1, 4)
    with pytest.raises(InputError, match="two time axes"):
        function_of("sequences/translate").zero_state(3)
    with pytest.raises(InputError, match="cannot run step by step"):
        function_of("sequences/tagger").zero_state(3)


def test_no_gradient_comes_back_through_the_state_of_a_loss() -> None:
    """It is an error, and not zero; cut between windows, they have the gradients of each."""
    function = function_of()
    params, slots = function.init(0), given(function)

    def windows(params: Any, cut: Any) -> Any:
        def step(state: Any, window: Any) -> Any:
            loss, state = function.loss(params, window, state=cut(state))
            return state, loss

        parts = {name: each.reshape(T // 2, 2, *each.shape[1:]) for name, each in slots.items()}
        return jax.lax.scan(step, function.zero_state(B), parts)[1].sum()

    with pytest.raises(rollc.jax.DerivativeError, match=r"through `state\.[hc]`, the state after"):
        jax.grad(windows)(params, lambda state: state)
    grads = jax.jit(jax.grad(windows), static_argnums=1)(params, jax.lax.stop_gradient)
    state, total = function._first.initial_state(arrays(params), {"x": slots["x"]}), None
    for first in range(0, T, 2):
        part = arrays({name: each[first : first + 2] for name, each in slots.items()})
        _, own, state = function._first.value_and_grad(arrays(params), part, state=state)
        total = own if total is None else {name: total[name] + own[name] for name in own}
    assert total is not None
    close(grads, {name: total[name] for name in grads})
    (_, after), grads = jax.value_and_grad(
        lambda params: function.loss(params, slots, state=function.zero_state(B)), has_aux=True
    )(params)
    assert after["h"].shape == (1, B, 4)
    assert grads["W"].any()
    with pytest.raises(rollc.jax.DerivativeError, match="no derivative forward in time"):
        jax.jvp(
            lambda params: function.forward_mode.loss(params, slots, state=function.zero_state(B))[
                0
            ],
            (params,),
            (params,),
        )


@pytest.mark.long
def test_random_numbers() -> None:
    """From a number as the network draws them, or from a key; never without one."""
    function = function_of("sequences/stacked")
    params, slots = function.init(jax.random.key(1)), given(function, targets=False)

    def drawn(seed: Any) -> Any:
        return function(params, slots, training=True, seed=seed)

    for seed in (5, 2**70 + 3):
        expected = function._first.forward(arrays(params), arrays(slots), training=True, seed=seed)
        close(drawn(seed), expected)
    close(jax.jit(drawn)(5), drawn(5))
    key = jax.random.key(7)
    close(jax.jit(drawn)(key), drawn(jax.random.key_data(key)))
    keys = jax.random.split(key, 3)
    close(
        jax.vmap(drawn)(keys),
        jax.tree_util.tree_map(lambda *each: jnp.stack(each), *map(drawn, keys)),
    )
    assert not np.allclose(drawn(5)["o"], drawn(6)["o"])
    close(function(params, slots), function(params, slots, training=False, seed=3))
    check_grads(lambda params: mine(function(params, slots, training=True, seed=key)), (params,))
    with pytest.raises(InputError, match="draws random numbers: give `seed`"):
        function(params, slots, training=True)
    for seed in (-1, 1.5, True, "a", np.ones((2, 2), int)):
        with pytest.raises(InputError, match="`seed`"):
            drawn(seed)
    with pytest.raises(InputError, match="`training`"):
        function(params, slots, training=1)


# Precisions, shapes -------------------------------------------------------------------------


@pytest.mark.long
def test_precisions() -> None:
    """Each is that of the parameters; a half one is computed in float32."""
    function = function_of()
    x, y = (given(function)[name] for name in "xy")
    doubles = function(function.init(0), x)
    for dtype, rtol in (("float32", 1e-5), ("bfloat16", 0.05), ("float16", 0.01)):
        params = function.init(0, dtype)
        assert {each.dtype for each in params.values()} == {jnp.dtype(dtype)}
        found = function(params, x.astype(dtype), state=function.zero_state(B, dtype))
        assert {each.dtype for each in jax.tree_util.tree_leaves(found)} == {jnp.dtype(dtype)}
        np.testing.assert_allclose(
            found[0]["h"].astype("float64"), doubles["h"], rtol=rtol, atol=rtol
        )
        grads = jax.grad(function.loss)(params, x.astype(dtype), y=y.astype(dtype))
        assert grads["W"].dtype == jnp.dtype(dtype)
    with pytest.raises(InputError, match="input `x`: expected float64, as the parameters are, fou"):
        function(function.init(0), x.astype("float32"))
    with pytest.raises(InputError, match="in one precision"):
        function({**function.init(0), "W": jnp.zeros((16, 3), "float32")}, x)
    for dtype in ("int32", "words", 3):
        with pytest.raises(InputError, match="`dtype`"):
            function.init(0, dtype)


def test_single_precision(single: None) -> None:
    """As JAX is where nothing is said: indices are of 32 bits too."""
    function = function_of("sequences/tagger")
    params = function.init(0)
    assert {each.dtype for each in params.values()} == {jnp.dtype("float32")}
    x = np.ones((T, B), np.int64)
    outputs = jax.jit(function)(params, x)
    assert {name: str(each.dtype) for name, each in outputs.items()} == {
        "tag": "int32",
        "o": "float32",
    }
    with pytest.raises(InputError, match="`jax_enable_x64`"):
        function.init(0, "float64")
    lstm = function_of()
    assert lstm(lstm.init(0), np.zeros((T, B, 3)), state=lstm.zero_state(B))[0]["h"].shape


def test_sizes_that_are_not_there() -> None:
    function = function_of()
    params, x = function.init(0), given(function, targets=False)["x"]
    assert function(params, x[:, 0])["h"].shape == (T, 4)
    for nothing in (x[:0], x[:, :0]):
        outputs, pull = jax.vjp(jax.jit(function), params, nothing)
        assert outputs["h"].shape == (*nothing.shape[:2], 4)
        assert not any(each.any() for each in pull(outputs)[0].values())
    assert jax.vmap(function, (None, 0))(params, jnp.zeros((0, T, B, 3)))["h"].shape == (
        *(0, T, B),
        4,
    )


@pytest.mark.parametrize("jit", [False, True])
def test_what_is_refused(jit: bool) -> None:
    """While JAX traces the call: with its name, what was expected and what was found."""
    function = function_of()
    params, x = function.init(0), given(function, targets=False)["x"]
    wrap = jax.jit if jit else lambda function: function
    tagger = function_of("sequences/tagger")
    wrong: list[tuple[Any, str]] = [
        (lambda: wrap(function)(params, x[..., :2]), r"`x`: expected .* found \[6, 4, 2\]"),
        (lambda: wrap(function)({"W": params["W"]}, x), "missing parameter `U`"),
        (lambda: wrap(function)({**params, "Z": x}, x), "unknown parameter `Z`"),
        (lambda: wrap(function)(params), "missing input `x`"),
        (lambda: wrap(function)(params, z=x), "unknown input `z`"),
        (lambda: wrap(function)(params, x, x=x), "given twice"),
        (lambda: wrap(function)(params, x, x), "expected 1 inputs in order"),
        (lambda: wrap(function.loss)(params, x), "missing target `y`"),
        (lambda: wrap(function)(params, x, state={"q": x}), "unknown state `q`"),
        (lambda: wrap(function)(params, x, state={"h": x[:1, :, :1]}), "state `c`"),
        (lambda: wrap(function)(params, x, lengths=jnp.array([1, 2])), "`lengths`"),
        (lambda: wrap(function)(params, x, lengths=jnp.ones(4)), "`lengths`: expected whole"),
        (lambda: wrap(tagger)(tagger.init(0), jnp.ones((2, 2))), "`x`: expected whole numbers"),
        (lambda: function([1], x), "`parameter`: expected arrays by name"),
        (lambda: function(params, "word"), "input `x`: not an array"),
        (lambda: function(params, None), "input `x`: expected an array, found None"),
        (lambda: function(params, x, steps=T + 1), "steps"),
        (lambda: tagger(tagger.init(0), np.full((2, 2), 7)), "expected 0 to 1, found 7"),
        (lambda: function(params, x, lengths=[T + 1] * B), "expected 0 to 6, found 7"),
        (lambda: jax.jit(function.init)(0), "known when JAX traces"),
        (lambda: rollc.jax.function("lstm", memory=-1), "`memory`"),
        (lambda: rollc.jax.function("lstm", sizes=3), "`sizes`"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()


def test_values_that_only_the_kernel_sees() -> None:
    """Under `jit` JAX raises, with the message, and goes on."""
    function, tagger = function_of(), function_of("sequences/tagger")
    params, x = function.init(0), given(function, targets=False)["x"]
    with pytest.raises(Exception, match="`lengths`: expected 0 to 6, found 7"):
        jax.block_until_ready(jax.jit(function)(params, x, lengths=jnp.array([T + 1] * B)))
    with pytest.raises(Exception, match="input `x`: expected 0 to 1, found 7"):
        jax.block_until_ready(jax.jit(tagger)(tagger.init(0), jnp.full((2, 2), 7)))
    close(jax.jit(function)(params, x), function(params, x))


def test_targets_have_no_derivative() -> None:
    function = function_of()
    params, slots = function.init(0), given(function)
    for own in (jax.grad(function.loss, argnums=1), jax.jit(jax.grad(function.loss, argnums=1))):
        with pytest.raises(InputError, match="`y` is a target, and has no derivative"):
            own(params, slots)
    with pytest.raises(InputError, match="`y` is a target, and has no derivative"):
        jax.jvp(
            lambda y: function.forward_mode.loss(params, slots["x"], y=y),
            (slots["y"],),
            (slots["y"],),
        )
    only = {"x": slots["x"]}
    assert jax.grad(lambda only: function.loss(params, only, y=slots["y"]))(only)["x"].any()


# Import, copies, documents ------------------------------------------------------------------


def test_copies_and_pickles() -> None:
    function = function_of()
    params, x = function.init(0), given(function, targets=False)["x"]
    for other in (
        copy.copy(function),
        copy.deepcopy(function),
        pickle.loads(pickle.dumps(function)),
    ):
        close(other(params, x), function(params, x), rtol=0)
    assert repr(function) == "<Function lstm: x [T, B, 3] -> p, h>"


def test_an_artefact(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rollc", "build", "lstm", "-o", str(tmp_path / "built")]
    sets = [argument for name, size in LSTM.items() for argument in ("--set", f"{name}={size}")]
    subprocess.run([*command, *sets, "--dtype", "float64"], check=True, cwd=ROOT)
    function, other = rollc.jax.function(tmp_path / "built"), function_of()
    params, x = function.init(0), given(other, targets=False)["x"]
    close(function(params, x), other(params, x))
    with pytest.raises(InputError, match="it takes no `H`"):
        rollc.jax.function(tmp_path / "built", H=3)


def test_without_jax() -> None:
    """rollc does not need it, and says what is missing where it is asked for."""
    code = (
        "import sys; sys.modules['jax'] = None\nimport rollc\n"
        "try: rollc.jax\nexcept ImportError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert run.stdout == "rollc.jax needs JAX, which is not installed: pip install 'rollc[jax]'\n"


def test_import_is_left_to_those_who_need_it() -> None:
    code = "import rollc, sys; assert 'jax' not in sys.modules; rollc.jax.function"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
