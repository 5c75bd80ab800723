"""fanin.jax.initialize: flax's own defaults, the values of each layer of flax and equinox, trees of any kind, shardings.

Run as a script, it makes the checks that need many devices or 64 bits: `python test_jax_models.py devices`.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

for _module in ("jax", "flax", "equinox", "optax"):
    pytest.importorskip(_module)

import equinox as eqx
import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import fanin
import fanin.jax
from fanin.jax import initialize, layers_of
from fanin.plans import Entry, PlanError

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
SEED = 3
FLAX, KERAS = fanin.Recipe.preset("flax", seed=SEED), fanin.Recipe.preset("keras", seed=SEED)
KEY, X, SEQ, IMAGE = jax.random.key(1), jnp.ones((2, 96)), jnp.ones((2, 5, 40)), jnp.ones((1, 7, 7, 24))
HEADS = jnp.ones((2, 5, 4, 12))


def flat(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by fanin's paths."""
    if isinstance(tree, nnx.Module):
        state = nnx.to_flat_state(nnx.state(tree))
        return {
            ".".join(map(str, path)): _plain(getattr(value, "get_value", lambda v=value: v)()) for path, value in state
        }
    named = {}
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        names = jax.tree_util.keystr(path, simple=True, separator=".").replace("/", ".").split(".")
        first = isinstance(tree, (dict, flax.core.FrozenDict)) and names[0] in ("params", "batch_stats")
        named[".".join(names[first:]).removesuffix(".value")] = _plain(value)
    return named


def _plain(value: Any) -> np.ndarray:
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if typed else value)


def same(first: Any, second: Any) -> bool:
    """Whether arrays, or trees' arrays, have the same shapes, dtypes and bytes."""
    if not isinstance(first, dict):
        first, second = {"": np.asarray(first)}, {"": np.asarray(second)}
    digests = [{path: (v.shape, v.dtype, v.tobytes()) for path, v in each.items()} for each in (first, second)]
    return digests[0] == digests[1]


def drawn(cls: type, name: str, shape: tuple[int, ...], fans: Any = None, dtype: str = "float32", **more: Any) -> Any:
    """What an initializer of this seed and name makes."""
    initializer = cls(seed=SEED, **more).spawn(name)
    if fans is None:
        return initializer(shape, dtype)
    return initializer.distribution_of_fans(shape, np.dtype(dtype), *fans).draw((initializer.seed, 0))


class Holder(nnx.Module):
    """A module with one layer."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer


class Wrapped(nn.Module):
    """A layer within a wrapper that changes its kernel."""

    wrapper: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        more = {"update_stats": False} if self.wrapper is nn.SpectralNorm else {}
        return self.wrapper(nn.Dense(64))(x, **more)


# flax's own defaults ---------------------------------------------------------------------------------------------------

LINEN: dict[str, tuple[Any, Any]] = {
    "Dense": (nn.Dense(64), X),
    "DenseGeneral": (nn.DenseGeneral((16, 8)), X),
    "DenseGeneral of two axes": (nn.DenseGeneral(64, axis=(-2, -1)), HEADS),
    "DenseGeneral of two axes to two": (nn.DenseGeneral((6, 9), axis=(-2, -1)), HEADS),
    "DenseGeneral with a batch": (nn.DenseGeneral(64, batch_dims=(0,), axis=(-1,)), jnp.ones((3, 2, 96))),
    "DenseGeneral with two": (nn.DenseGeneral((8, 9), batch_dims=(0, 1), axis=(-2, -1)), jnp.ones((3, 2, 10, 7))),
    "Einsum to heads": (nn.Einsum((16, 4, 40), "btx,xhk->bthk"), jnp.ones((2, 5, 16))),
    "Einsum of heads": (nn.Einsum((4, 12, 40), "bthk,hkd->btd"), HEADS),
    "Conv over one axis": (nn.Conv(32, (3,)), jnp.ones((1, 9, 24))),
    "Conv over two": (nn.Conv(32, (3, 3)), IMAGE),
    "Conv over three": (nn.Conv(32, (3, 3, 3)), jnp.ones((1, 5, 5, 5, 24))),
    "Conv in groups": (nn.Conv(32, (3, 3), feature_group_count=4), IMAGE),
    "Conv of each channel": (nn.Conv(48, (3, 3), feature_group_count=24), IMAGE),
    "ConvTranspose": (nn.ConvTranspose(32, (3, 3)), IMAGE),
    "ConvTranspose as Keras's": (nn.ConvTranspose(32, (3, 3), transpose_kernel=True), IMAGE),
    "ConvLocal": (nn.ConvLocal(8, (3, 3)), IMAGE),
    "Embed": (nn.Embed(100, 48), jnp.ones((2, 3), int)),
    "MultiHeadAttention": (nn.MultiHeadAttention(4, qkv_features=32, out_features=24, normalize_qk=True), SEQ),
    "SelfAttention": (nn.SelfAttention(4), SEQ),
    "LSTMCell": (nn.RNN(nn.LSTMCell(48)), SEQ),
    "OptimizedLSTMCell": (nn.RNN(nn.OptimizedLSTMCell(48)), SEQ),
    "GRUCell": (nn.RNN(nn.GRUCell(48)), SEQ),
    "SimpleCell": (nn.RNN(nn.SimpleCell(48)), SEQ),
    "MGUCell": (nn.RNN(nn.MGUCell(48)), SEQ),
    "ConvLSTMCell": (nn.RNN(nn.ConvLSTMCell(16, (3, 3))), jnp.ones((1, 2, 7, 7, 24))),
    "Bidirectional": (nn.Bidirectional(nn.RNN(nn.GRUCell(48)), nn.RNN(nn.GRUCell(48))), SEQ),
    "BatchNorm": (nn.BatchNorm(use_running_average=True), X),
    "LayerNorm": (nn.LayerNorm(), X),
    "GroupNorm": (nn.GroupNorm(8), X),
    "RMSNorm": (nn.RMSNorm(), X),
    "InstanceNorm": (nn.InstanceNorm(), IMAGE),
    "PReLU": (nn.PReLU(), X),
}
NNX: dict[str, Callable[[Any], Any]] = {
    "Linear": lambda r: nnx.Linear(96, 64, rngs=r),
    "LinearGeneral": lambda r: nnx.LinearGeneral(96, (16, 8), rngs=r),
    "LinearGeneral of two axes": lambda r: nnx.LinearGeneral((16, 12), 64, axis=(-2, -1), rngs=r),
    "LinearGeneral with a batch": lambda r: nnx.LinearGeneral(96, 64, batch_axis={0: 3}, rngs=r),
    "LinearGeneral with two": lambda r: nnx.LinearGeneral(
        (10, 7), (8, 9), axis=(-2, -1), batch_axis={0: 3, 1: 2}, rngs=r
    ),
    "Einsum to heads": lambda r: nnx.Einsum("btx,xhk->bthk", (16, 4, 40), (4, 40), rngs=r),
    "Einsum of heads": lambda r: nnx.Einsum("bthk,hkd->btd", (4, 12, 40), rngs=r),
    "Conv over one axis": lambda r: nnx.Conv(24, 32, (3,), rngs=r),
    "Conv over two": lambda r: nnx.Conv(24, 32, (3, 3), rngs=r),
    "Conv over three": lambda r: nnx.Conv(24, 32, (3, 3, 3), rngs=r),
    "Conv in groups": lambda r: nnx.Conv(24, 32, (3, 3), feature_group_count=4, rngs=r),
    "Conv of each channel": lambda r: nnx.Conv(24, 48, (3, 3), feature_group_count=24, rngs=r),
    "ConvTranspose": lambda r: nnx.ConvTranspose(24, 32, (3, 3), rngs=r),
    "ConvTranspose as Keras's": lambda r: nnx.ConvTranspose(24, 32, (3, 3), transpose_kernel=True, rngs=r),
    "Embed": lambda r: nnx.Embed(100, 48, rngs=r),
    "MultiHeadAttention": lambda r: nnx.MultiHeadAttention(4, 40, 32, 24, normalize_qk=True, rngs=r),
    "LSTMCell": lambda r: nnx.LSTMCell(40, 48, rngs=r),
    "OptimizedLSTMCell": lambda r: nnx.OptimizedLSTMCell(40, 48, rngs=r),
    "GRUCell": lambda r: nnx.GRUCell(40, 48, rngs=r),
    "SimpleCell": lambda r: nnx.SimpleCell(40, 48, rngs=r),
    "BatchNorm": lambda r: nnx.BatchNorm(96, rngs=r),
    "LayerNorm": lambda r: nnx.LayerNorm(96, rngs=r),
    "GroupNorm": lambda r: nnx.GroupNorm(96, 8, rngs=r),
    "RMSNorm": lambda r: nnx.RMSNorm(96, rngs=r),
    "InstanceNorm": lambda r: nnx.InstanceNorm(96, rngs=r),
    "WeightNorm": lambda r: nnx.WeightNorm(nnx.Linear(96, 64, rngs=r), rngs=r),
    "PReLU": lambda r: nnx.PReLU(),
}
# nnx draws one orthogonal matrix for all gates, linen one for each, as the preset does: its variance is so much higher.
GATES = {"OptimizedLSTMCell": 4, "GRUCell": 3}


def assert_defaults(plan: fanin.plans.Plan, own: dict[str, np.ndarray], gates: int = 1) -> None:
    """Every array of flax's own could be one of the plan's: constants are equal, and deviations within their errors."""
    assert (plan.problems, plan.unmatched) == ((), ())
    assert {entry.path for entry in plan.entries} == set(own)
    for entry in plan.entries:
        values = own[entry.path].astype(float)
        if entry.stddev == 0 or not values.std():
            assert (entry.stddev, set(values.ravel())) == (0, {np.float32(entry.mean or 0)}), entry.path
            continue
        assert entry.stddev is not None
        variance = entry.stddev**2 / (gates if entry.parameter.role == "recurrent_kernel" else 1)
        kurtosis = entry.draws[0].distribution.kurtosis or 3
        error = np.sqrt((kurtosis - 1) / values.size) * variance
        assert values.size > 300
        assert entry.mean == 0
        assert abs((values**2).mean() - variance) < 4 * error, (entry.path, entry.stddev, values.std())


@pytest.mark.parametrize("name", LINEN)
def test_defaults_of_linen(name: str) -> None:
    """What the preset draws for a layer is what flax draws for it."""
    module, inputs = LINEN[name]
    variables, layers = layers_of(module, inputs)
    assert_defaults(FLAX.plan(variables, layers=layers), flat(module.init(KEY, inputs)))
    made, report = initialize(variables, FLAX, layers=layers)
    assert not report.kept
    assert same_outputs(module.apply(made, inputs), jax.eval_shape(module.apply, variables, inputs))


def same_outputs(output: Any, like: Any) -> bool:
    """Whether outputs are finite and of these shapes and dtypes."""
    pairs = zip(jax.tree.leaves(output), jax.tree.leaves(like), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and bool(jnp.isfinite(a).all()) for a, b in pairs)


@pytest.mark.parametrize("name", NNX)
def test_defaults_of_nnx(name: str) -> None:
    """What the preset draws for a layer is what flax draws for it; the same of an abstract and a concrete one."""
    module = Holder(NNX[name](nnx.Rngs(5)))
    own = {path: value for path, value in flat(module).items() if value.dtype.kind == "f"}
    abstract = nnx.eval_shape(lambda: Holder(NNX[name](nnx.Rngs(5))))
    assert_defaults(FLAX.plan(abstract), own, GATES.get(name, 1))
    made, _ = initialize(abstract, FLAX)
    again, report = initialize(module, FLAX)
    assert same(flat(made), flat(again))
    assert not report.kept
    assert same({path: flat(module)[path] for path in own}, own)  # what was given is as it was


@pytest.mark.parametrize("name", ["Linear", "Conv over two", "Embed", "LayerNorm", "MultiHeadAttention", "LSTMCell"])
def test_a_layer_is_a_model(name: str) -> None:
    """A layer by itself, whose arrays' names are their paths: the values of the docstring."""
    made, report = initialize(nnx.eval_shape(lambda: NNX[name](nnx.Rngs(0))), FLAX)
    values = flat(made)
    assert not report.kept
    if name == "Linear":
        assert same(values["kernel"], fanin.LecunNormal(seed=SEED).spawn("kernel")((96, 64)))


def test_power_iterations_are_left_to_their_rules() -> None:
    """Wrappers' own arrays have no rule in the preset: the message lists them, and says what to write."""
    variables, layers = layers_of(Wrapped(nn.SpectralNorm), X)
    with pytest.raises(PlanError) as caught:
        initialize(variables, FLAX, layers=layers)
    assert str(caught.value) == (
        "The recipe does not fit a tree; nothing has been written.\n  No rule matches 2 of 4 parameters:\n"
        "    SpectralNorm_0.Dense_0.kernel.sigma (), SpectralNorm\n"
        "    SpectralNorm_0.Dense_0.kernel.u 1×64, SpectralNorm\n"
        '    Add rules for them (the last one may be path = "*"), or leave them: unmatched="keep".'
    )
    module = Holder(nnx.SpectralNorm(nnx.Linear(96, 64, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)))
    made, report = initialize(module, FLAX, unmatched="keep")
    assert len(report.kept) == 2
    assert all(same(flat(made)[path], flat(module)[path]) for path in report.kept)


def test_scales_of_weight_norm() -> None:
    """A weight norm's scale is a scale: ones, as in flax."""
    variables, layers = layers_of(Wrapped(nn.WeightNorm), X)
    entry = FLAX.plan(variables, layers=layers).entry("WeightNorm_0.Dense_0.kernel.scale")
    assert (entry.parameter.role, entry.mean, entry.stddev) == ("scale", 1, 0)


def test_subclasses_are_layers() -> None:
    """Layers that derive from flax's, flax's own among them, have kernels as those have."""

    class Own(nnx.Linear):
        """A layer of one's own."""

    rngs = nnx.Rngs(0)
    for layer in (Own(96, 64, rngs=rngs), nnx.LoRALinear(96, 64, lora_rank=8, rngs=rngs)):
        made, _ = initialize(Holder(layer), FLAX, unmatched="keep")
        assert type(made.layer) is type(layer)
        assert same(made.layer.kernel[...], drawn(fanin.LecunNormal, "layer.kernel", (96, 64)))


# Values ----------------------------------------------------------------------------------------------------------------

# The kernel of each layer: its shape in Keras's order, and its fans where they are not the shape's.
FANS: dict[str, tuple[tuple[int, ...], Any]] = {
    "Dense": ((96, 64), None),
    "DenseGeneral": ((96, 16, 8), (96, 128)),
    "DenseGeneral of two axes": ((4, 12, 64), (48, 64)),
    "Einsum of heads": ((4, 12, 40), (48, 40)),
    "Conv over one axis": ((3, 24, 32), None),
    "Conv over three": ((3, 3, 3, 24, 32), None),
    "Conv in groups": ((3, 3, 6, 32), (54, 288)),
    "Conv of each channel": ((3, 3, 1, 48), (9, 432)),
    "ConvTranspose as Keras's": ((3, 3, 32, 24), None),
}


@pytest.mark.parametrize("name", FANS)
def test_kernels_of_linen(name: str) -> None:
    """Bytes of an initializer with the recipe's seed and the kernel's path, alike by fan-in and fan-out."""
    shape, fans = FANS[name]
    variables, layers = layers_of(LINEN[name][0], LINEN[name][1])
    assert same(
        flat(initialize(variables, FLAX, layers=layers)[0])["kernel"], drawn(fanin.LecunNormal, "kernel", shape, fans)
    )
    he_out = {"initializer": "variance_scaling", "scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"}
    recipe = fanin.Recipe([{"role": "*" and ["kernel", "depthwise_kernel"], **he_out}], seed=SEED)
    made, _ = initialize(variables, recipe, layers=layers, unmatched="keep", only="kernel", skip=[])
    more = {key: value for key, value in he_out.items() if key != "initializer"}
    assert same(flat(made)["kernel"], drawn(fanin.VarianceScaling, "kernel", shape, fans, **more))


K = jax.random.key(0)
EQUINOX: dict[str, tuple[Callable[[], Any], dict[str, tuple[type, tuple[int, ...], Any]]]] = {
    "Linear": (lambda: eqx.nn.Linear(9, 7, key=K), {"weight": (fanin.LecunNormal, (9, 7), None)}),
    "a scalar": (lambda: eqx.nn.Linear("scalar", 7, key=K), {"weight": (fanin.LecunNormal, (1, 7), None)}),
    "Conv1d": (lambda: eqx.nn.Conv1d(6, 8, 3, key=K), {"weight": (fanin.LecunNormal, (3, 6, 8), None)}),
    "Conv2d": (lambda: eqx.nn.Conv2d(6, 8, (3, 5), key=K), {"weight": (fanin.LecunNormal, (3, 5, 6, 8), None)}),
    "Conv3d": (lambda: eqx.nn.Conv3d(6, 8, 3, key=K), {"weight": (fanin.LecunNormal, (3, 3, 3, 6, 8), None)}),
    "groups": (lambda: eqx.nn.Conv2d(6, 8, 3, groups=2, key=K), {"weight": (fanin.LecunNormal, (3, 3, 3, 8), None)}),
    "up": (lambda: eqx.nn.ConvTranspose2d(6, 8, 3, key=K), {"weight": (fanin.LecunNormal, (3, 3, 6, 8), None)}),
    "Embedding": (lambda: eqx.nn.Embedding(11, 16, key=K), {"weight": (fanin.RandomNormal, (11, 16), "keras")}),
    "MLP": (
        lambda: eqx.nn.MLP(9, 4, 8, 1, key=K),
        {"layers.0.weight": (fanin.LecunNormal, (9, 8), None), "layers.1.weight": (fanin.LecunNormal, (8, 4), None)},
    ),
    "attention": (
        lambda: eqx.nn.MultiheadAttention(2, 8, 6, key=K),
        {
            "query_proj.weight": (fanin.LecunNormal, (8, 8), None),
            "key_proj.weight": (fanin.LecunNormal, (6, 8), None),
            "output_proj.weight": (fanin.LecunNormal, (8, 8), None),
        },
    ),
}


@pytest.mark.parametrize("name", EQUINOX)
def test_weights_of_equinox(name: str) -> None:
    """Weights are the transposes of Keras's kernels, embeddings are as they are; biases are zero; abstract or not."""
    make, weights = EQUINOX[name]
    module = make()
    before = {path: value.copy() for path, value in flat(eqx.filter(module, eqx.is_array)).items()}
    made, report = initialize(eqx.filter_eval_shape(make), FLAX)
    values = flat(eqx.filter(made, eqx.is_array))
    assert same(values, flat(eqx.filter(initialize(module, FLAX)[0], eqx.is_array)))
    assert same(flat(eqx.filter(module, eqx.is_array)), before)
    assert jax.tree.structure(made) == jax.tree.structure(module)
    assert not report.kept
    for path, (cls, shape, layout) in weights.items():
        kernel = drawn(cls, path, shape, **({"stddev": 0.25} if layout else {}))
        assert same(values[path], kernel if layout else np.moveaxis(kernel, (-1, -2), (0, 1)).copy()), path
    for path, value in values.items():
        assert not path.endswith("bias") or not value.any()


def test_norms_of_equinox() -> None:
    """Ones and zeros; of a batch norm with its state, the model alone is initialized, and works."""
    for make in (lambda: eqx.nn.LayerNorm(6), lambda: eqx.nn.GroupNorm(2, 6), lambda: eqx.nn.RMSNorm(6)):
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(make(), eqx.is_array))
        assert same(flat(initialize(zeros, FLAX)[0]), flat(eqx.filter(make(), eqx.is_array)))
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(6, "batch", mode="ema")
    made, report = initialize(norm, FLAX)
    assert report.filled == ("weight", "bias")
    outputs, _ = jax.vmap(made, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(jnp.ones((4, 6)), state)
    assert outputs.shape == (4, 6)
    assert float(initialize(eqx.nn.PReLU(0.5), FLAX)[0].negative_slope) == np.float32(0.01)


def test_modules_of_equinox_within_a_tree() -> None:
    """What `make_with_state` returns, and any other tree with modules in it, has their layers."""
    make = eqx.nn.make_with_state(
        lambda: eqx.nn.Sequential([eqx.nn.Linear(9, 7, key=K), eqx.nn.BatchNorm(7, "b", mode="ema")])
    )
    model, state = make()
    plan = FLAX.plan((model, state))
    roles = {
        entry.path.rpartition("layers.")[2]: entry.parameter.role for entry in plan.entries if "layers" in entry.path
    }
    assert roles == {"0.weight": "kernel", "0.bias": "bias", "1.weight": "scale", "1.bias": "offset"}


UNITS = 5


def cells(kind: str) -> dict[str, tuple[dict[str, np.ndarray], Any]]:
    """Kernel, recurrent kernel and bias of cells that keep their gates apart or in one, made with one recipe and name."""

    def made(tree: Any, **more: Any) -> dict[str, np.ndarray]:
        names = {
            "*.dense_i.kernel": "cell.kernel",
            "*.dense_h.kernel": "cell.recurrent_kernel",
            "weight_ih": "cell.kernel",
            "weight_hh": "cell.recurrent_kernel",
            "*layer.kernel": "cell.kernel",
            "*layer.recurrent_kernel": "cell.recurrent_kernel",
        }
        values, report = initialize(tree, KERAS, names=names, **more)
        return {
            each.path: flat(eqx.filter(values, eqx.is_array) if isinstance(values, eqx.Module) else values)[each.path]
            for each in report.plan.entries
        }

    letters = "ifgo" if kind == "LSTM" else "rzn"
    found = {}
    for name in [each for each in (f"{kind}Cell", f"Optimized{kind}Cell") if hasattr(nn, each)]:
        variables, layers = layers_of(nn.RNN(getattr(nn, name)(UNITS)), jnp.ones((2, 3, 6)))
        for given in (layers, None):  # known by flax's names, too
            values = made(variables, layers=given)
            found[f"linen {name} {given is None}"] = [
                np.concatenate([values[f"cell.{side}{letter}.kernel"] for letter in letters], -1) for side in "ih"
            ]
    own = nnx.eval_shape(lambda: Holder(getattr(nnx, f"{kind}Cell")(6, UNITS, rngs=nnx.Rngs(0))))
    values = {path.replace("f_", "f"): value for path, value in made(own).items()}
    if kind == "LSTM":
        found["nnx apart"] = [
            np.concatenate([values[f"layer.{side}{letter}.kernel"] for letter in letters], -1) for side in "ih"
        ]
        own = nnx.eval_shape(lambda: Holder(nnx.OptimizedLSTMCell(6, UNITS, rngs=nnx.Rngs(0))))
        values = made(own)
    found["nnx"] = [values["layer.dense_i.kernel"], values["layer.dense_h.kernel"]]
    values = made(eqx.filter_eval_shape(lambda: getattr(eqx.nn, f"{kind}Cell")(6, UNITS, key=K)))
    found["equinox"] = [values["weight_ih"].T, values["weight_hh"].T]
    return found


@pytest.mark.parametrize(("kind", "order"), [("LSTM", [0, 1, 2, 3]), ("GRU", [1, 0, 2])])
def test_gates(kind: str, order: list[int]) -> None:
    """Separate gates are the parts of the one tensor that Keras has; flax's and equinox's GRUs have another order."""
    found = cells(kind)
    width = UNITS * len(order)
    for number, kernel in enumerate(
        (
            drawn(fanin.GlorotUniform, "cell.kernel", (6, width)),
            drawn(fanin.Orthogonal, "cell.recurrent_kernel", (UNITS, width)),
        )
    ):
        expected = np.concatenate([np.split(kernel, len(order), -1)[gate] for gate in order], -1)
        for where, values in found.items():
            assert same(np.ascontiguousarray(values[number]), expected), (where, number)


def test_a_matrix_a_gate() -> None:
    """The preset's orthogonal matrices: one for each gate, whether these are apart or not."""
    gates = ("input", "forget", "cell", "output")
    matrices = [drawn(fanin.Orthogonal, f"cell.recurrent_kernel[{gate}]", (UNITS, UNITS)) for gate in gates]
    variables, layers = layers_of(nn.RNN(nn.LSTMCell(UNITS)), jnp.ones((2, 3, 6)))
    apart = flat(initialize(variables, FLAX, layers=layers)[0])
    fused = nnx.eval_shape(lambda: Holder(nnx.OptimizedLSTMCell(6, UNITS, rngs=nnx.Rngs(0))))
    names = {"layer.dense_h.kernel": "cell.recurrent_kernel", "layer.dense_h.kernel[*]": "cell.recurrent_kernel[*]"}
    whole = flat(initialize(fused, FLAX, names=names)[0])["layer.dense_h.kernel"]
    for letter, matrix, block in zip("ifgo", matrices, np.split(whole, 4, -1), strict=True):
        assert same(apart[f"cell.h{letter}.kernel"], matrix)
        assert same(np.ascontiguousarray(block), matrix)


def test_forget_gates() -> None:
    """Keras's ones for the forget gate, in every LSTM; GRUs have none."""
    variables, layers = layers_of(nn.RNN(nn.LSTMCell(UNITS)), jnp.ones((2, 3, 6)))
    values = flat(initialize(variables, KERAS, layers=layers)[0])
    assert [float(values[f"cell.h{letter}.bias"].mean()) for letter in "ifgo"] == [0, 1, 0, 0]
    fused = nnx.eval_shape(lambda: Holder(nnx.OptimizedLSTMCell(6, UNITS, rngs=nnx.Rngs(0))))
    assert flat(initialize(fused, KERAS)[0])["layer.dense_h.bias"].reshape(4, UNITS).mean(1).tolist() == [0, 1, 0, 0]
    cell = initialize(eqx.filter_eval_shape(lambda: eqx.nn.LSTMCell(6, UNITS, key=K)), KERAS)[0]
    assert np.asarray(cell.bias).reshape(4, UNITS).mean(1).tolist() == [0, 1, 0, 0]


# Modules of nnx --------------------------------------------------------------------------------------------------------


class Noisy(nnx.Module):
    """Layers with random states."""

    def __init__(self, rngs: Any) -> None:
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])
        self.again = self.layers[0]

    def __call__(self, x: Any) -> Any:
        """Its output."""
        for layer in (*self.layers, self.again):
            x = layer(x)
        return x


def test_random_states_of_nnx() -> None:
    """Keys come from the seed and their paths, counters start anew; whatever was there before."""
    made, report = initialize(nnx.eval_shape(lambda: Noisy(nnx.Rngs(0))), FLAX)
    used = Noisy(nnx.Rngs(9))
    used(jnp.ones((2, 4)))
    assert same(flat(initialize(used, FLAX)[0]), flat(made))
    others = flat(initialize(used, FLAX.with_seed(4))[0])
    keys = [path for path in flat(made) if path.endswith("key")]
    assert set(report.buffers) == {path for path in flat(made) if ".rngs." in path}
    assert len({flat(made)[path].tobytes() for path in keys} | {others[path].tobytes() for path in keys}) == 4
    assert {flat(made)[path].item() for path in flat(made) if path.endswith("count")} == {0}
    assert not same(np.asarray(made(jnp.ones((2, 4)))), np.asarray(made(jnp.ones((2, 4)))))  # and it drops out
    assert used.layers[1].rngs.count[...] == 1


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("splits", [None, 3, (2, 3)])
def test_keys_of_nnx(impl: str, splits: Any) -> None:
    """Keys of each generator keep it, and their shape; abstract or not."""

    def make() -> Any:
        rngs = nnx.Rngs(jax.random.key(0, impl=impl))
        return Holder(nnx.Dropout(0.5, rngs=rngs if splits is None else rngs.fork(split=splits)))

    made = initialize(make(), FLAX.with_seed(1))[0].layer.rngs.key[...]
    key = make().layer.rngs.key[...]
    assert (made.shape, made.dtype) == (key.shape, key.dtype)
    assert len({each.tobytes() for each in np.asarray(jax.random.key_data(made)).reshape(key.size, -1)}) == key.size
    abstract = initialize(nnx.eval_shape(make), FLAX.with_seed(1))[0].layer.rngs.key[...]
    assert (abstract.dtype, same(_plain(abstract), _plain(made))) == (key.dtype, True)


def test_shared_layers_stay_shared() -> None:
    """A layer or an array that is there twice is made once, and there twice."""
    made, report = initialize(nnx.eval_shape(lambda: Noisy(nnx.Rngs(0))), FLAX)
    assert made.again is made.layers[0]
    assert report.filled == ("again.bias", "again.kernel") or report.filled == ("layers.0.bias", "layers.0.kernel")
    pair = nnx.List([nnx.Embed(9, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 9, rngs=nnx.Rngs(0))])
    pair[1].kernel = pair[0].embedding
    made, report = initialize(pair, FLAX)
    assert made[1].kernel is made[0].embedding
    assert len(report.filled) == 2


class Buffer(nnx.Variable):
    """A variable of one's own."""


class Custom(nnx.Module):
    """A module with arrays of its own."""

    def __init__(self, rngs: Any) -> None:
        self.fc = nnx.Linear(4, 5, rngs=rngs)
        self.kernel, self.embedding = nnx.Param(jnp.zeros((6, 7))), nnx.Param(jnp.zeros((9, 4)))
        self.token, self.buffer, self.steps = nnx.Param(jnp.zeros(3)), Buffer(jnp.ones(3)), nnx.Variable(jnp.arange(3))


def test_arrays_of_a_module_of_ones_own() -> None:
    """Parameters are known by their names, if at all; other variables are left, and must be there."""
    module = Holder(Custom(nnx.Rngs(0)))
    plan = FLAX.plan(module)
    roles = {entry.path: entry.parameter.role for entry in plan.entries}
    assert roles["layer.kernel"] == "kernel"
    assert roles["layer.embedding"] == "embedding"
    assert roles["layer.token"] == "other"
    assert plan.found.left == {"layer.buffer": "an array of float32", "layer.steps": "an array of int32"}
    made, report = initialize(module, FLAX, unmatched="keep")
    assert report.kept == {"layer.token": "no rule matches it"}
    assert same(flat(made)["layer.kernel"], drawn(fanin.LecunNormal, "layer.kernel", (6, 7)))
    assert made.layer.buffer[...].tolist() == [1, 1, 1]
    abstract = nnx.eval_shape(lambda: Holder(Custom(nnx.Rngs(0))))
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(PlanError) as caught:
        initialize(abstract, FLAX, unmatched="keep")
    assert not fill.called
    assert str(caught.value) == (
        "Of Holder, what no rule draws must be arrays, not shapes; nothing has been made.\n"
        "  layer.buffer\n  layer.steps\n  layer.token\n  Put values there, or leave these out of the tree."
    )


def test_stacked_layers() -> None:
    """Layers that `scan` and `vmap` stack are each what it would be alone: an axis of layers is no receptive field."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(16, name="fc")(x), None

    stacked = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()
    variables, layers = layers_of(stacked, jnp.ones((1, 16)), None)
    assert variables["params"]["fc"]["kernel"].shape == (5, 16, 16)
    stddevs = [each.stddev for each in FLAX.plan(variables, layers=layers).entries if each.path == "fc.kernel"]
    assert not stddevs or stddevs[0] in (None, pytest.approx(0.25, rel=1e-6))

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0)
    def many(rngs: Any) -> Any:
        return nnx.List([nnx.Linear(16, 5, rngs=rngs), nnx.LinearGeneral(16, (2, 8), rngs=rngs)])

    for entry in FLAX.plan(many(nnx.Rngs(0))).entries:
        if entry.parameter.role == "kernel":
            assert entry.stddev in (None, pytest.approx(0.25, rel=1e-6)), entry.path


# Variables of linen, and any tree --------------------------------------------------------------------------------------


class Small(nn.Module):
    """Some of everything."""

    boxed: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        init = nn.initializers.lecun_normal()
        x = nn.MultiHeadAttention(2, name="attention")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.Dense(4, name="fc", kernel_init=nn.with_partitioning(init, ("a", "b")) if self.boxed else init)(x)


SMALL_INPUT = jnp.ones((1, 5, 8))


def test_variables_of_linen() -> None:
    """Dicts and frozen ones, abstract or not, with boxes, with or without their collections: the same names and bytes."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers)
    values = flat(made)
    assert same(values["attention.out.kernel"], drawn(fanin.LecunNormal, "attention.out.kernel", (2, 4, 8), (8, 8)))
    assert values["norm.var"].tolist() == [1] * 8
    assert set(made) == {"params", "batch_stats"}
    assert same(flat(initialize(variables, FLAX)[0]), values)  # by their names
    concrete = Small().init(KEY, SMALL_INPUT)
    before = copy.deepcopy(flat(concrete))
    assert same(flat(initialize(concrete, FLAX)[0]), values)
    assert same(flat(concrete), before)
    frozen, _ = initialize(flax.core.freeze(variables), FLAX, layers=layers)
    assert isinstance(frozen, flax.core.FrozenDict)
    assert same(flat(frozen), values)
    alone, _ = initialize(variables["params"], FLAX, layers=layers)
    assert same(flat(alone), {path: value for path, value in values.items() if path not in ("norm.mean", "norm.var")})
    boxed, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(boxed, FLAX, layers=layers)
    box = made["params"]["fc"]["kernel"]
    assert (type(box), box.names) == (nn.Partitioned, ("a", "b"))
    assert same(flat(nn.meta.unbox(made)), values)
    assert not layers == {}


def test_names_alone_do_not_say_what_a_kernel_is() -> None:
    """A kernel of three axes may be a convolution's or a dense layer's; with `layers` it is known."""
    variables, layers = layers_of(nn.Sequential([nn.Conv(8, (3,))]), SMALL_INPUT)
    with pytest.raises(PlanError) as caught:
        initialize(variables, FLAX)
    assert str(caught.value) == (
        "The recipe does not fit a tree; nothing has been written.\n  layers_0.kernel, by rule 3 (line 19) “kernels”: "
        "LecunNormal needs the fans of a parameter of no known layer, which nobody knows. Write `fan_in = …` into "
        'rule 3 (line 19) “kernels”, or, if it is a kernel, `layout = "torch"` or `layout = "keras"`.'
    )
    kernel = flat(initialize(variables, FLAX, layers=layers)[0])["layers_0.kernel"]
    assert same(kernel, drawn(fanin.LecunNormal, "layers_0.kernel", (3, 8, 8)))
    recipe = fanin.Recipe([{"rank": 3, "initializer": "lecun_normal", "layout": "keras"}], seed=SEED)
    assert same(
        flat(initialize(variables, recipe, only="*.kernel")[0] if False else _kept(variables, recipe))[
            "layers_0.kernel"
        ],
        kernel,
    )


def _kept(variables: Any, recipe: fanin.Recipe) -> Any:
    """The variables with zeros where the recipe has no rule."""
    zeros = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), variables)
    return initialize(zeros, recipe, unmatched="keep")[0]


def test_plain_trees() -> None:
    """Dicts, lists, tuples and single arrays; integers, booleans and what is no array stay."""
    tree = [
        {"fc": {"kernel": np.zeros((4, 5), np.float32), "steps": jnp.arange(3)}},
        ({"on": True, "rate": 1.5},),
        None,
    ]
    made, report = initialize(tree, FLAX)
    assert same(made[0]["fc"]["kernel"], drawn(fanin.LecunNormal, "0.fc.kernel", (4, 5)))
    assert isinstance(made[0]["fc"]["kernel"], jax.Array)
    assert made[0]["fc"]["steps"] is tree[0]["fc"]["steps"]
    assert made[1:] == tree[1:]
    assert report.filled == ("0.fc.kernel",)
    assert not np.asarray(tree[0]["fc"]["kernel"]).any()
    one = fanin.Recipe([{"path": "array", "initializer": "ones"}])
    assert initialize(jax.ShapeDtypeStruct((3,), jnp.float32), one)[0].tolist() == [1, 1, 1]


def test_a_state_of_optax_beside_it() -> None:
    """What is to stay is skipped by its path, or is no part of the tree."""
    params = {"fc": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}}
    state = optax.adam(1e-3).init(params)
    (made, kept), report = initialize((params, state), FLAX, skip="1.*")
    assert report.filled == ("0.fc.bias", "0.fc.kernel")
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "0.fc.kernel", (4, 5)))
    assert all(first is second for first, second in zip(jax.tree.leaves(kept), jax.tree.leaves(state), strict=True))
    assert report.plan.found.left == {"1.0.count": "an array of int32"}


def test_leftovers_must_be_arrays() -> None:
    """Shapes that nothing would be drawn for are listed, all of them, and nothing is made."""
    shape = jax.ShapeDtypeStruct
    tree = {"kernel": shape((4, 5), jnp.float32), "n": shape((4,), jnp.int32), "b": {"m": shape((), bool)}}
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(PlanError) as caught:
        initialize(tree, FLAX)
    assert not fill.called
    assert str(caught.value) == (
        "Of a tree, what no rule draws must be arrays, not shapes; nothing has been made.\n  b.m\n  n\n"
        "  Put values there, or leave these out of the tree."
    )


NO_TREES: dict[str, Any] = {
    "a number": 3,
    "nothing": None,
    "an empty dict": {},
    "a list of numbers": [1, 2],
    "text": "x",
}


@pytest.mark.parametrize("name", NO_TREES)
def test_what_is_no_tree_is_refused(name: str) -> None:
    """A TypeError that says what a model is."""
    with pytest.raises(TypeError, match="A plan needs a model: .* tree of arrays or shapes of JAX.* Received: "):
        initialize(NO_TREES[name], FLAX)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "recipe": ({"recipe": "flax"}, TypeError, "`recipe` must be a fanin.Recipe. Received: 'flax'. Write Recipe.preset"),
    "only": ({"only": "nothing.*"}, ValueError, "`only` must match parameters of the model. Received: 'nothing.*'"),
    "skip": ({"skip": "nothing.*"}, ValueError, "`skip` must match parameters of the model. Received: 'nothing.*'"),
    "unmatched": ({"unmatched": "drop"}, ValueError, '`unmatched` must be "error" or "keep". Received: unmatched'),
    "names": ({"names": 3}, TypeError, "`names` must be a mapping of paths to names, or a function of a parameter."),
    "shardings": (
        {"shardings": [SingleDeviceSharding(jax.devices()[0])] * 3},
        ValueError,
        "`shardings` must have a sharding for each of the tree's 2 arrays. Received: 3.",
    ),
    "complex": (
        {"tree": {"kernel": jnp.zeros((2, 2), jnp.complex64)}},
        PlanError,
        "Expected floating point type, got complex64. Use float16, bfloat16, float32 or float64.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name: str) -> None:
    """Each is refused with a message, before anything is drawn."""
    more, error, message = WRONG[name]
    arguments = {"tree": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}, "recipe": FLAX, **more}
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(error) as caught:
        initialize(arguments.pop("tree"), arguments.pop("recipe"), **arguments)
    assert not fill.called
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype: str) -> None:
    """Each array has its own dtype, and the bytes of that dtype."""
    made, _ = initialize({"fc": {"kernel": jax.ShapeDtypeStruct((40, 5), dtype)}}, FLAX)
    assert made["fc"]["kernel"].dtype == dtype
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "fc.kernel", (40, 5), dtype=dtype))


def test_a_part_of_the_tree() -> None:
    """`only` and `skip` leave others as they are, shapes among them; `names` are what is drawn under."""
    tree = {"a": {"kernel": jnp.zeros((4, 5))}, "b": {"kernel": jax.ShapeDtypeStruct((4, 5), jnp.float32)}}
    made, report = initialize(tree, FLAX, only="a.*", names={"a.*": "c.*"})
    assert same(made["a"]["kernel"], drawn(fanin.LecunNormal, "c.kernel", (4, 5)))
    assert (made["b"]["kernel"] is tree["b"]["kernel"], report.kept) == (True, {"b.kernel": "not among `only`"})
    made, report = initialize(tree, FLAX, skip=["a.*"])
    assert (made["a"]["kernel"] is tree["a"]["kernel"], report.kept) == (True, {"a.kernel": "among `skip`"})
    assert same(made["b"]["kernel"], drawn(fanin.LecunNormal, "b.kernel", (4, 5)))


# Whole models ----------------------------------------------------------------------------------------------------------

TOKENS, PICTURES = jnp.arange(12).reshape(2, 6), jnp.ones((2, 8, 8, 3))


class NnxBlock(nnx.Module):
    """Attention and two dense layers."""

    def __init__(self, rngs: Any) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(32, rngs=rngs), nnx.LayerNorm(32, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs)
        self.fc1, self.fc2 = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.dropout(self.fc2(nnx.gelu(self.fc1(self.norm2(x)))))


class NnxTransformer(nnx.Module):
    """Embeddings, blocks and a head."""

    def __init__(self, rngs: Any, more: bool = False) -> None:
        self.tokens, self.positions = nnx.Embed(97, 32, rngs=rngs), nnx.Embed(40, 32, rngs=rngs)
        self.extra = nnx.Linear(32, 32, rngs=rngs) if more else None
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.head = nnx.Linear(32, 97, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.tokens(x) + self.positions(jnp.arange(x.shape[1]))
        x = x if self.extra is None else self.extra(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class NnxCnn(nnx.Module):
    """Convolutions with norms, and a classifier."""

    def __init__(self, rngs: Any, more: bool = False) -> None:
        self.stem, self.norm = nnx.Conv(3, 48, (3, 3), rngs=rngs), nnx.BatchNorm(48, rngs=rngs)
        self.extra = nnx.Conv(48, 48, (1, 1), rngs=rngs) if more else None
        self.conv = nnx.Conv(48, 48, (3, 3), feature_group_count=4, rngs=rngs)
        self.up, self.fc = nnx.ConvTranspose(48, 16, (2, 2), rngs=rngs), nnx.Linear(16, 80, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.norm(self.stem(x)))
        x = x if self.extra is None else self.extra(x)
        return self.fc(self.up(self.conv(x)).mean((1, 2)))


class LinenTransformer(nn.Module):
    """The same of linen."""

    more: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Embed(97, 32, name="tokens")(x) + nn.Embed(40, 32, name="positions")(jnp.arange(x.shape[1]))
        x = nn.Dense(32, name="extra")(x) if self.more else x
        for number in range(2):
            name = f"block_{number}_"
            x = x + nn.MultiHeadAttention(4, name=f"{name}attention")(nn.LayerNorm(name=f"{name}norm1")(x))
            hidden = nn.gelu(nn.Dense(64, name=f"{name}fc1")(nn.LayerNorm(name=f"{name}norm2")(x)))
            x = x + nn.Dense(32, name=f"{name}fc2")(hidden)
        return nn.Dense(97, name="head")(x)


class LinenResNet(nn.Module):
    """A stem and blocks of two convolutions each, with batch norms."""

    more: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(48, (3, 3), use_bias=False, name="stem")(x)
        x = nn.Conv(48, (1, 1), name="extra")(x) if self.more else x
        for number in range(2):
            shortcut = x
            for part in "ab":
                x = nn.Conv(48, (3, 3), use_bias=False, name=f"block_{number}{part}_conv")(x)
                x = nn.relu(nn.BatchNorm(use_running_average=True, name=f"block_{number}{part}_norm")(x))
            x = x + shortcut
        return nn.Dense(80, name="fc")(x.mean((1, 2)))


MODELS: dict[str, tuple[Any, Any]] = {
    "nnx transformer": (NnxTransformer, TOKENS),
    "nnx CNN": (NnxCnn, PICTURES),
    "linen transformer": (LinenTransformer, TOKENS),
    "linen ResNet": (LinenResNet, PICTURES),
}


def whole(name: str, more: bool = False) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The values, the report and the output of a model."""
    cls, inputs = MODELS[name]
    if issubclass(cls, nnx.Module):
        made, report = initialize(nnx.eval_shape(lambda: cls(nnx.Rngs(0), more)), FLAX)
        return flat(made), report, made(inputs)
    variables, layers = layers_of(cls(more), inputs)
    made, report = initialize(variables, FLAX, layers=layers)
    return flat(made), report, cls(more).apply(made, inputs)


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """Everything has a rule and its deviation; no two arrays are alike; a further layer changes no other's bytes."""
    values, report, output = whole(name)
    assert (report.plan.problems, report.plan.unmatched, report.kept) == ((), (), {})
    assert output.shape[-1] in (97, 80)
    assert bool(jnp.isfinite(output).all())
    assert float(jnp.std(output)) > 0
    large = [entry for entry in report.plan.entries if entry.seeds and entry.parameter.size > 1000]
    assert len(large) >= 4
    for entry in large:
        kurtosis = entry.draws[0].distribution.kurtosis
        assert kurtosis is not None
        error = np.sqrt((kurtosis - 1) / 4 / entry.parameter.size) * entry.stddev
        assert abs(values[entry.path].std() - entry.stddev) < 4 * error, entry.path
    random = [values[entry.path].tobytes()[:64] for entry in report.plan.entries if entry.seeds]
    assert len(set(random)) == len(random)
    assert report.plan.equal_seeds == ()
    again, _, _ = whole(name)
    assert same(again, values)
    longer, _, _ = whole(name, more=True)
    assert set(values) < set(longer)
    assert same({path: longer[path] for path in values}, values)


def test_order_does_not_matter() -> None:
    """The same arrays in another order of the tree: the same bytes for each."""
    tree = {name: {"kernel": jnp.zeros((6, 4 + number))} for number, name in enumerate("abc")}
    values = flat(initialize(tree, FLAX)[0])
    turned = flat(initialize({name: tree[name] for name in "cab"}, FLAX)[0])
    assert same(values, {path: turned[path] for path in values})
    assert same(flat(initialize({"b": tree["b"]}, FLAX)[0]), {"b.kernel": values["b.kernel"]})


# Processes of their own ------------------------------------------------------------------------------------------------


def check_devices() -> None:
    """Shardings of every kind: the bytes of the whole, of pieces that are each made alone."""
    mesh = jax.make_mesh((4, 2), ("x", "y"))
    rows, both, all_of_it = (NamedSharding(mesh, spec) for spec in (P("x"), P("x", "y"), P()))
    shapes = {
        "fc": {"kernel": jax.ShapeDtypeStruct((16, 24), jnp.float32), "bias": jax.ShapeDtypeStruct((24,), jnp.float32)}
    }
    recipe = fanin.Recipe(
        [{"role": "kernel", "initializer": "he_normal"}, {"role": "bias", "initializer": "random_uniform"}], seed=SEED
    )
    expected, fill = flat(initialize(shapes, recipe)[0]), Entry.fill
    by_shape = {
        "fc": {
            "kernel": jax.ShapeDtypeStruct((16, 24), jnp.float32, sharding=both),
            "bias": jax.ShapeDtypeStruct((24,), jnp.float32, sharding=all_of_it),
        }
    }
    cases = [
        (shapes, rows, rows, rows, {"fc.kernel": 4, "fc.bias": 4}),
        (
            shapes,
            lambda each: both if each.role == "kernel" else all_of_it,
            both,
            all_of_it,
            {"fc.kernel": 8, "fc.bias": 1},
        ),
        (shapes, lambda each: both if each.role == "kernel" else None, both, None, {"fc.kernel": 8, "fc.bias": 1}),
        (shapes, {"fc": {"kernel": both, "bias": rows}}, both, rows, {"fc.kernel": 8, "fc.bias": 4}),
        (by_shape, None, both, all_of_it, {"fc.kernel": 8, "fc.bias": 1}),
        (by_shape, rows, rows, rows, {"fc.kernel": 4, "fc.bias": 4}),
    ]
    for tree, shardings, kernel, bias, counts in cases:
        regions: dict[str, list[Any]] = {"fc.kernel": [], "fc.bias": []}

        def noting(self: Entry, array: Any, region: Any = None, regions: Any = regions) -> None:
            regions[self.path].append((array.shape, region))
            fill(self, array, region)

        with mock.patch.object(Entry, "fill", noting):
            made, _ = initialize(tree, recipe, shardings=shardings)
        assert same(flat(made), expected)
        assert made["fc"]["kernel"].sharding == kernel
        assert bias is None or made["fc"]["bias"].sharding == bias
        assert {path: len(each) for path, each in regions.items()} == counts
        assert {path: len(set(map(str, each))) for path, each in regions.items()} == counts
        for path, each in regions.items():
            total = sum(int(np.prod(shape)) for shape, _ in each)
            assert total == expected[path].size, path  # together they are the whole, each once
        for shard in made["fc"]["kernel"].addressable_shards:
            assert np.asarray(shard.data).tobytes() == expected["fc.kernel"][shard.index].tobytes()
    linear = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, rngs=nnx.Rngs(0))]))
    made, _ = initialize(linear, recipe, shardings=lambda each: both if each.role == "kernel" else rows)
    assert made[0].kernel[...].sharding == both
    assert same(np.asarray(made[0].kernel[...]), drawn(fanin.HeNormal, "0.kernel", (16, 24)))
    with jax.set_mesh(mesh):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("x", "y"))
        abstract = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, kernel_init=init, rngs=nnx.Rngs(0))]))
        made, _ = initialize(abstract, recipe)
    assert made[0].kernel.get_metadata() == abstract[0].kernel.get_metadata()
    assert same(np.asarray(made[0].kernel[...]), drawn(fanin.HeNormal, "0.kernel", (16, 24)))
    variables, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers, shardings=NamedSharding(mesh, P()))
    assert made["params"]["fc"]["kernel"].names == ("a", "b")
    try:
        initialize(shapes, recipe, shardings=[rows])
    except ValueError as error:
        assert str(error) == "`shardings` must have a sharding for each of the tree's 2 arrays. Received: 1."
    else:
        raise AssertionError


def check_x64() -> None:
    """64 bits, where JAX has them."""
    made, _ = initialize({"fc": {"kernel": jax.ShapeDtypeStruct((9, 5), jnp.float64)}}, FLAX)
    assert made["fc"]["kernel"].dtype == jnp.float64
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "fc.kernel", (9, 5), dtype="float64"))


@pytest.mark.parametrize("group", ["devices", "x64"])
def test_in_a_process_of_its_own(group: str) -> None:
    """Eight devices, and 64 bits."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={8 if group == 'devices' else 1}",
        "JAX_ENABLE_X64": str(int(group == "x64")),
        "PYTHONPATH": os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", "")))),
    }
    run = subprocess.run([sys.executable, __file__, group], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr


if __name__ == "__main__":
    {"devices": check_devices, "x64": check_x64}[sys.argv[1]]()
