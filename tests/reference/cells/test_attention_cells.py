"""Cells with a memory of keys and values, and their kin, held to two other ways to compute them.

One is written here: sums over all earlier steps, without the recurrence.  The other are the naive
implementations of the authors, where they are installed.  Values and all gradients, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.network.network import Network
from rollc.support.resources import specs
from tests.helpers.agreement import agree
from tests.reference.cells import layers
from tests.reference.cells.authors import functions
from tests.reference.systems.complex_step import interpreted

torch = pytest.importorskip("torch")

T, B, D = 5, 2, 4
BOUNDS = (1e-11, 1e-11)  # relative and absolute
CELLS = {
    "mlstm": ("heads=2, K=2, V=3", layers.matrix_memory),
    "slstm": ("H=6, heads=2", layers.scalar_memory),
    "retnet": ("heads=2, K=4, V=3", layers.attended),
    "linear_attention": ("heads=2, K=2, V=3", layers.normalised),
    "gla": ("heads=2, K=2, V=3, rank=2", layers.attended),
    "delta_net": ("heads=2, K=2, V=3", layers.delta_rule),
    "gated_delta_net": ("heads=2, K=2, V=3", layers.delta_rule),
    "mamba": ("inner=4, rank=2, N=3", layers.selective_scan),
    "mamba2": ("heads=2, P=2, N=3", layers.attended),
    "rwkv4": ("H=4", layers.weighted_mean),
    "rwkv6": ("heads=2, K=2, rank=2, fading=2", layers.with_bonus),
}


@pytest.fixture(autouse=True)
def double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def networks() -> Callable[[str], Network]:
    @cache
    def network(name: str) -> Network:
        return interpreted(text_of(name))

    return network


def text_of(name: str) -> str:
    text = f'net one\nuse "cells/{name}.roll"\ninput x: [{D}]\n'
    text += f"y = {name}(x; {CELLS[name][0]})\n"
    return f"{text}output y\nloss mean(sum(y * y), over t)\n"


def held(network: Network, layer: layers.Layer) -> None:
    """Values, and the gradients of all parameters and of the input."""
    random = np.random.default_rng(1)
    params = {
        leaf: array + random.normal(scale=0.5, size=array.shape)
        for leaf, array in network.init(2).items()
    }
    inputs = {"x": random.normal(size=(T, B, D))}
    outputs, pull = network.vjp(params, inputs)
    leaves = {leaf: torch.tensor(a, requires_grad=True) for leaf, a in (params | inputs).items()}
    own = {leaf.removeprefix("y."): array for leaf, array in leaves.items()}
    expected = layer(own, leaves["x"].transpose(0, 1)).transpose(0, 1)
    cotangent = random.normal(size=outputs["y"].shape)
    expected.backward(torch.tensor(cotangent))
    slopes = pull({"y": cotangent})
    assert slopes.keys() == leaves.keys()
    agree("values", outputs["y"], expected.detach().numpy(), "y", *BOUNDS)
    for leaf, array in slopes.items():
        agree("gradients", array, leaves[leaf].grad.numpy(), leaf, *BOUNDS)


def around(name: str, memory: layers.Memory) -> layers.Layer:
    return partial(getattr(layers, name), memory=memory)


@pytest.mark.parametrize("name", CELLS)
def test_sums_over_all_earlier_steps(name: str, networks: Callable[[str], Network]) -> None:
    held(networks(name), around(name, CELLS[name][1]))


def test_associative_recall() -> None:
    """A cell in a network with a loss: `specs/sequences/recall.roll`."""
    network = interpreted(specs()["sequences/recall"].read_text(encoding="utf-8"), {"D": 4, "H": 2})
    random = np.random.default_rng(5)
    params = network.init(6)
    bounds = {"key": 8, "value": 4, "y": 4, "asked": 2}
    inputs = {name: random.integers(0, bound, (T, B)) for name, bound in bounds.items()}
    inputs["asked"][-1] = 1
    loss, slopes = network.value_and_grad(params, {**inputs, "asked": inputs["asked"] * 1.0})
    p = {leaf: torch.tensor(array, requires_grad=True) for leaf, array in params.items()}
    key, value, y, asked = (torch.tensor(inputs[name].T) for name in ("key", "value", "y", "asked"))
    x = p["E"][key] + (1 - asked)[..., None] * p["F"][value]
    cell = {leaf.removeprefix("o.gated_delta_net."): array for leaf, array in p.items()}
    cell["W"] = p["o.gated_delta_net.W"]
    o = layers.gated_delta_net(cell, x, layers.delta_rule) @ p["W"].T + p["c"]
    wrong = torch.nn.functional.cross_entropy(o.mT, y, reduction="none")
    expected = ((asked * wrong).sum(1) / asked.sum(1)).mean()
    expected.backward()
    agree("values", loss, expected.detach().numpy(), "loss", *BOUNDS)
    for leaf, array in p.items():
        agree("gradients", slopes[leaf], array.grad.numpy(), leaf, *BOUNDS)


@pytest.mark.long
@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", CELLS)
def test_compiled(name: str, networks: Callable[[str], Network]) -> None:
    network, _ = build_source(text_of(name), dtype="float64")
    random = np.random.default_rng(3)
    params, inputs = network.init(4), {"x": random.normal(size=(T, B, D))}
    loss, slopes = network.value_and_grad(params, inputs)
    expected, plain = networks(name).value_and_grad(params, inputs)
    agree("values", loss, expected, "loss", *BOUNDS)
    for leaf, array in slopes.items():
        agree("gradients", array, plain[leaf], leaf, *BOUNDS)


@pytest.mark.parametrize("name", ["mlstm", "slstm", "rwkv4"])
def test_no_exponential_is_too_large(name: str, networks: Callable[[str], Network]) -> None:
    """exp of what the gates and keys of these are is more than a number can be."""
    network = networks(name)
    params = network.init(5)
    random = np.random.default_rng(6)
    for leaf in ("y.wi", "y.bi", "y.W", "y.Wk"):
        if leaf in params:
            params[leaf] = random.normal(scale=400, size=params[leaf].shape)
    inputs = {"x": random.normal(size=(T, B, D))}
    outputs, pull = network.vjp(params, inputs)
    assert np.isfinite(outputs["y"]).all()
    assert np.abs(outputs["y"]).max() > 1e-3
    assert all(np.isfinite(array).all() for array in pull(outputs).values())


# The authors' memories, and layers --------------------------------------------------------------


def heads_first(*arrays: Any) -> list[Any]:
    return [array.transpose(1, 2) for array in arrays]


def authors_mlstm() -> layers.Memory:
    name = "recurrent_step_stabilized_simple"
    step = functions("xlstm", "blocks/mlstm/backends.py", name)[name]

    def memory(q: Any, k: Any, v: Any, i: Any, f: Any) -> Any:
        shape = (B, q.shape[2], q.shape[3])
        state, found = (torch.zeros(*shape, v.shape[3]), torch.zeros(*shape, 1), torch.zeros(1)), []
        for t in range(T):
            now = [a[:, t, :, None].clone() for a in (q, k * q.shape[3] ** 0.5, v)]
            h, state = step(*state, *now, i[:, t, :, None, None], f[:, t, :, None, None], eps=0)
            found.append(h[:, :, 0])
        return torch.stack(found, 1)

    return memory


def authors_parallel_mlstm() -> layers.Memory:
    name = "parallel_stabilized_simple"
    run = functions("xlstm", "blocks/mlstm/backends.py", name)[name]

    def memory(q: Any, k: Any, v: Any, i: Any, f: Any) -> Any:
        arrays = heads_first(q, k * q.shape[3] ** 0.5, v, i[..., None], f[..., None])
        return run(*arrays, eps=0).transpose(1, 2)

    return memory


def authors_slstm() -> layers.Memory:
    folder = "blocks/slstm/src/vanilla"
    step = functions("xlstm", f"{folder}/slstm.py", "slstm_forward_pointwise")
    run = functions("xlstm", f"{folder}/__init__.py", "slstm_forward")["slstm_forward"]

    def memory(a: Any, R: Any, b: Any) -> Any:
        states = torch.zeros(4, B, b[0].numel())
        recurrent = R.transpose(0, 1).flatten(1, 2)
        found = run(a.transpose(0, 1).flatten(2), states, recurrent, b.flatten(), *step.values())
        return found[0][0, 1:].transpose(0, 1).unflatten(-1, b.shape[1:])

    return memory


def authors_retention() -> layers.Memory:
    run = functions("fla", "ops/retention/naive.py", "naive_retention")["naive_retention"]

    def memory(q: Any, k: Any, v: Any, decay: Any) -> Any:
        return run(*heads_first(q * q.shape[-1] ** 0.5, k, v)).transpose(1, 2)

    return memory


def authors_linear_attention() -> layers.Memory:
    name = "naive_recurrent_linear_attn"
    run = functions("fla", "ops/linear_attn/naive.py", name)[name]
    # They add a small number to what they divide by; longer keys make it less, and nothing else.
    return lambda q, k, v: run(q, 1e6 * k, v, normalize=True)[0]


def authors_gla() -> layers.Memory:
    run = functions("fla", "ops/gla/naive.py", "naive_recurrent_gla")["naive_recurrent_gla"]
    return lambda q, k, v, decay: run(q * q.shape[-1] ** 0.5, k, v, decay)[0]


def authors_delta_rule() -> layers.Memory:
    run = functions("fla", "ops/delta_rule/naive.py", "delta_rule_recurrence")

    def memory(q: Any, k: Any, v: Any, beta: Any, decay: Any) -> Any:
        arrays = heads_first(q * q.shape[-1] ** 0.5, k, v, beta)
        return run["delta_rule_recurrence"](*arrays)[0].transpose(1, 2)

    return memory


def authors_gated_delta_rule() -> layers.Memory:
    name = "naive_recurrent_gated_delta_rule"
    run = functions("fla", "ops/gated_delta_rule/naive.py", name)[name]
    return lambda q, k, v, beta, decay: run(q, k, v, beta, decay, scale=1)[0]


def authors_selective_scan() -> layers.Memory:
    run = functions("mamba_ssm", "ops/selective_scan_interface.py", "selective_scan_ref")

    def memory(x: Any, Δ: Any, A: Any, B: Any, C: Any) -> Any:
        return run["selective_scan_ref"](x.mT, Δ.mT, A, B.mT, C.mT).mT

    return memory


def authors_duality() -> layers.Memory:
    names = ("ssd_minimal_discrete", "segsum")
    run = functions("mamba_ssm", "modules/ssd_minimal.py", *names)["ssd_minimal_discrete"]
    return lambda q, k, v, decay: run(v, decay[..., 0], k, q, T)[0]


def linear(weight: Any, bias: Any = None) -> Any:
    def layer(x: Any) -> Any:
        return torch.nn.functional.linear(x, weight, bias)

    layer.weight, layer.bias = weight, bias
    return layer


def convolution(p: Any, name: str) -> Any:
    w, b = (p[f"{name}.short_convolution.{leaf}"] for leaf in ("w", "b"))
    conv1d = torch.nn.functional.conv1d
    return lambda x: conv1d(x, w.flip(0).T[:, None], b, padding=len(w) - 1, groups=len(b))


def authors_mamba() -> layers.Layer:
    """The whole layer, where nothing is fused."""
    scan = functions("mamba_ssm", "ops/selective_scan_interface.py", "selective_scan_ref")
    given = {"selective_scan_fn": scan["selective_scan_ref"], "causal_conv1d_fn": None}
    forward = functions("mamba_ssm", "modules/mamba_simple.py", "forward", **given)["forward"]

    def layer(p: Any, x: Any) -> Any:
        sizes = {"dt_rank": p["Wt"].shape[1], "d_state": p["a"].shape[1]}
        own = SimpleNamespace(
            A_log=p["a"], D=p["D"], activation="silu", use_fast_path=False, **sizes
        )
        own.in_proj, own.x_proj, own.out_proj = linear(p["W"]), linear(p["Wx"]), linear(p["Wo"])
        own.dt_proj, own.conv1d = linear(p["Wt"], p["b"]), convolution(p, "x")
        own.act = torch.nn.functional.silu
        return forward(own, x)

    return layer


def authors_mamba2() -> layers.Layer:
    """The whole layer, where nothing is fused."""
    names = ("ssd_minimal_discrete", "segsum")
    run = functions("mamba_ssm", "modules/ssd_minimal.py", *names)["ssd_minimal_discrete"]

    def scan(x: Any, dt: Any, A: Any, B: Any, C: Any, *_: Any, D: Any, **__: Any) -> Any:
        both = (a.expand(*dt.shape, -1) for a in (B, C))
        return run(x * dt[..., None], A * dt, *both, T)[0] + x * D[:, None]

    given = {"mamba_chunk_scan_combined": scan, "causal_conv1d_fn": None}
    forward = functions("mamba_ssm", "modules/mamba2_simple.py", "forward", **given)["forward"]

    def layer(p: Any, x: Any) -> Any:
        inner, heads = len(p["gain"]), len(p["a"])
        own = SimpleNamespace(A_log=p["a"], dt_bias=p["b"], D=p["D"], nheads=heads, d_inner=inner)
        own.d_state, own.headdim, own.ngroups = (len(p["W"]) - inner) // 2, inner // heads, 1
        own.learnable_init_states, own.use_mem_eff_path, own.chunk_size = False, False, T
        own.dt_limit, own.activation = (0.0, float("inf")), "silu"
        own.in_proj, own.out_proj = linear(torch.cat([p["Wz"], p["W"], p["Wt"]])), linear(p["Wo"])
        silu = own.act = torch.nn.functional.silu
        own.conv1d = convolution(p, "xBC")
        own.norm = lambda y, z: layers.rms_norm(y * silu(z), p["gain"])
        return forward(own, x)

    return layer


def authors_simple_gla() -> layers.Memory:
    name = "naive_recurrent_simple_gla"
    run = functions("fla", "ops/simple_gla/naive.py", name)[name]
    return lambda q, k, v, decay: run(q, k, v, decay[..., 0], scale=1)[0]


def authors_rwkv6_memory() -> layers.Memory:
    run = functions("fla", "ops/rwkv6/recurrent_naive.py", "naive_recurrent_rwkv6")

    def memory(r: Any, k: Any, v: Any, decay: Any, u: Any) -> Any:
        arrays = heads_first(r, k, v, decay)
        return run["naive_recurrent_rwkv6"](*arrays, u, scale=1)[0].transpose(1, 2)

    return memory


def rwkv(name: str) -> Any:
    """A layer by its authors, which begins with a normalisation: that one is left out here."""
    F = torch.nn.functional
    bare = SimpleNamespace(layer_norm=lambda x, *_, **__: x, group_norm=F.group_norm, silu=F.silu)

    def matmul(a: Any, b: Any, *_: Any, **__: Any) -> Any:
        return a @ b

    return functions("rwkv", "model.py", name, F=bare, matmul=matmul)[name]


def authors_rwkv4() -> layers.Layer:
    step = rwkv("att_one")

    def layer(p: Any, x: Any) -> Any:
        mixed = [p["μk"], p["μv"], p["μr"], -p["decay"].exp(), p["u"]]
        matrices = [p[name].T for name in ("Wk", "Wv", "Wr", "Wo")]
        found = []
        for sequence in x:
            empty = torch.zeros(len(p["u"]))
            state = [torch.zeros(D), empty, empty, empty - 1e30]
            for now in sequence:
                y, *state = step(None, now, *state, None, None, *mixed, *matrices, *[None] * 16)
                found.append(y - now)
        return torch.stack(found).reshape(x.shape)

    return layer


def authors_rwkv6() -> layers.Layer:
    step = rwkv("att_one_v6_0")

    def layer(p: Any, x: Any) -> Any:
        mixed = [p[f"μ{name}"] for name in ("", "d", "k", "v", "r", "g")]
        low = [p["A"].flatten(0, 1).T, p["B"].mT, p["Ad"].T, p["Bd"].T]
        rows = [p[name].reshape(layers.HEADS, -1, 1) for name in ("decay", "u")]
        matrices = [p[name].T for name in ("Wk", "Wv", "Wr", "Wg", "Wo")]
        given = [None, None, p["gain"], p["bias"], *mixed, *low, *rows, *matrices, *[None] * 20]
        found = []
        for sequence in x:
            state = [torch.zeros(D), torch.zeros_like(rows[0] * rows[0].mT)]
            for now in sequence:
                y, *state = step(None, now, *state, *given)
                found.append(y - now)
        return torch.stack(found).reshape(x.shape)

    return layer


AUTHORS = {
    "mlstm": (authors_mlstm, authors_parallel_mlstm),
    "slstm": (authors_slstm,),
    "retnet": (authors_retention,),
    "linear_attention": (authors_linear_attention,),
    "gla": (authors_gla,),
    "delta_net": (authors_delta_rule,),
    "gated_delta_net": (authors_gated_delta_rule,),
    "mamba": (authors_mamba, authors_selective_scan),
    "mamba2": (authors_mamba2, authors_duality, authors_simple_gla),
    "rwkv4": (authors_rwkv4,),
    "rwkv6": (authors_rwkv6, authors_rwkv6_memory),
}
WHOLE = (authors_mamba, authors_mamba2, authors_rwkv4, authors_rwkv6)
CASES = [(name, made) for name, several in AUTHORS.items() for made in several]


@pytest.mark.parametrize(("name", "made"), CASES, ids=[made.__name__ for _, made in CASES])
def test_the_authors_naive_implementation(
    name: str, made: Any, networks: Callable[[str], Network]
) -> None:
    held(networks(name), made() if made in WHOLE else around(name, made()))


def test_sizes_that_a_use_does_not_say_are_those_of_the_papers() -> None:
    uses = {
        "mamba(x)": {"Wt": (128, 4), "a": (128, 16)},
        "mamba2(x)": {"Wt": (2, 64), "Wo": (64, 128), "W": (128 + 2 * 128, 64)},
        "rwkv4(x)": {"Wr": (64, 64)},
        "rwkv6(x)": {"u": (64,), "Wk": (64, 64)},
        "gla(x; heads=4)": {"Wq": (4, 8, 64), "Wv": (4, 16, 64)},
        "retnet(x; heads=4)": {"Wq": (4, 16, 64), "Wv": (4, 32, 64)},
        "linear_attention(x; heads=4)": {"Wq": (4, 16, 64), "Wv": (4, 16, 64)},
        "delta_net(x; heads=4)": {"W": (3 * 64, 64), "gain": (16,)},
        "gated_delta_net(x; heads=2, K=8)": {"W": (2 * 16 + 32, 64), "gain": (16,)},
    }
    for use, shapes in uses.items():
        cell = use.partition("(")[0]
        text = f'net one\nuse "cells/{cell}.roll"\ninput x: [64]\ny = {use}\noutput y\n'
        graph, _ = read_spec(text, "one.roll")
        found = {name: graph[f"y.{name}"].type.shape for name in shapes}
        assert found == shapes, use
