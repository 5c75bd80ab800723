"""The layers of flax and equinox in recipes: flax's own defaults, and the bytes that each array has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("equinox")

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import fanin
import fanin.jax
from fanin.jax import initialize, layers_of
from fanin.recipes import Plan, PlanError
from jax_kit import FLAX, KERAS, SEED, Holder, drawn, flat, same
from recipe_kit import met

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
K = jax.random.key(0)
X, SEQ, IMAGE = jnp.ones((2, 96)), jnp.ones((2, 5, 40)), jnp.ones((1, 7, 7, 24))
HEADS = jnp.ones((2, 5, 4, 12))


class Wrapped(nn.Module):
    """A layer within a wrapper that changes its kernel."""

    wrapper: Any

    @nn.compact
    def __call__(self, x: Any) -> Any:
        more = {"update_stats": False} if self.wrapper is nn.SpectralNorm else {}
        return self.wrapper(nn.Dense(64))(x, **more)


# flax's own defaults -------------------------------------------------------------------------------------------------

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
# The units that are summed over, where flax counts batch axes as inputs, too, or most axes of an Einsum's kernel.
SUMMED = {
    "DenseGeneral with a batch": 96,
    "DenseGeneral with two": 70,
    "LinearGeneral with a batch": 96,
    "LinearGeneral with two": 70,
    "Einsum to heads": 16,
}


def assert_defaults(plan: Plan, own: dict[str, np.ndarray], summed: int = 0) -> None:
    """Every array of flax's own could be one of the plan's: constants are equal, and deviations within their errors."""
    assert (plan.problems, plan.unmatched) == ((), ())
    assert {entry.path for entry in plan.entries} == set(own)
    for entry in plan.entries:
        values = own[entry.path].astype(float)
        if entry.stddev == 0 or not values.std():
            assert (entry.stddev, set(values.ravel())) == (0, {np.float32(entry.mean or 0)}), entry.path
            continue
        assert entry.stddev is not None
        if summed and entry.path.endswith("kernel"):
            stddev = fanin.LecunNormal().distribution((summed, 2)).moments.stddev
            assert (entry.parameter.traits.fan_in, entry.stddev) == (summed, stddev)
            continue
        variance = entry.stddev**2
        kurtosis = entry.placements[0].weight.distribution.moments.kurtosis or 3
        error = np.sqrt((kurtosis - 1) / values.size) * variance
        assert values.size > 300
        assert entry.mean == 0
        assert abs((values**2).mean() - variance) < 4 * error, (entry.path, entry.stddev, values.std())


@pytest.mark.parametrize("name", LINEN)
def test_defaults_of_linen(name: str) -> None:
    """What the preset draws for a layer is what flax draws for it."""
    module, inputs = LINEN[name]
    variables, layers = layers_of(module, inputs)
    assert_defaults(FLAX.plan(variables, layers=layers), flat(module.init(K, inputs)), summed=SUMMED.get(name, 0))


@pytest.mark.parametrize("name", LINEN)
def test_outputs_of_linen(name: str) -> None:
    """A layer works with what the preset makes for it."""
    module, inputs = LINEN[name]
    variables, layers = layers_of(module, inputs)
    made, report = initialize(variables, FLAX, layers=layers)
    assert not report.kept
    outputs, shapes = module.apply(made, inputs), jax.eval_shape(module.apply, variables, inputs)
    for output, like in zip(jax.tree.leaves(outputs), jax.tree.leaves(shapes), strict=True):
        assert (output.shape, output.dtype) == (like.shape, like.dtype)
        assert bool(jnp.isfinite(output).all())


def own_of_nnx(module: Any) -> dict[str, np.ndarray]:
    """The arrays of a module of nnx that a recipe is about."""
    return {path: value for path, value in flat(module).items() if value.dtype.kind == "f" and "scales" not in path}


@pytest.mark.parametrize("name", NNX)
def test_defaults_of_nnx(name: str) -> None:
    """What the preset draws for a layer is what flax draws for it."""
    abstract = nnx.eval_shape(lambda: Holder(NNX[name](nnx.Rngs(5))))
    assert_defaults(FLAX.plan(abstract), own_of_nnx(Holder(NNX[name](nnx.Rngs(5)))), SUMMED.get(name, 0))


@pytest.mark.parametrize("name", NNX)
def test_abstract_layers_of_nnx(name: str) -> None:
    """An abstract layer and a concrete one get the same; the one that was given stays as it was."""
    module = Holder(NNX[name](nnx.Rngs(5)))
    own = own_of_nnx(module)
    made, _ = initialize(nnx.eval_shape(lambda: Holder(NNX[name](nnx.Rngs(5)))), FLAX)
    again, report = initialize(module, FLAX)
    assert same({path: flat(made)[path] for path in own}, {path: flat(again)[path] for path in own})
    assert not report.kept
    assert same({path: flat(module)[path] for path in own}, own)


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
        '    Add rules for them (the last one may be path = "*"), or leave them as they are with unmatched="keep".'
    )


def test_power_iterations_can_stay() -> None:
    """With `unmatched="keep"` they are what they were."""
    module = Holder(nnx.SpectralNorm(nnx.Linear(96, 64, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)))
    made, report = initialize(module, FLAX, unmatched="keep")
    assert len(report.kept) == 2
    assert all(same(flat(made)[path], flat(module)[path]) for path in report.kept)


def test_scales_of_weight_norm() -> None:
    """A weight norm's scale is a scale: ones, as in flax."""
    variables, layers = layers_of(Wrapped(nn.WeightNorm), X)
    entry = FLAX.plan(variables, layers=layers).entry("WeightNorm_0.Dense_0.kernel.scale")
    assert (entry.parameter.role, entry.mean, entry.stddev) == ("scale", 1, 0)


class Own(nnx.Linear):
    """A layer of one's own."""


SUBCLASSES: dict[str, Callable[[Any], Any]] = {
    "one's own": lambda rngs: Own(96, 64, rngs=rngs),
    "flax's own": lambda rngs: nnx.LoRALinear(96, 64, lora_rank=8, rngs=rngs),
}


@pytest.mark.parametrize("case", SUBCLASSES)
def test_subclasses_are_layers(case: str) -> None:
    """Layers that derive from flax's, flax's own among them, have kernels as those have."""
    layer = SUBCLASSES[case](nnx.Rngs(0))
    made, _ = initialize(Holder(layer), FLAX, unmatched="keep")
    assert type(made.layer) is type(layer)
    assert same(made.layer.kernel[...], drawn(fanin.LecunNormal, "layer.kernel", (96, 64)))


# Values --------------------------------------------------------------------------------------------------------------

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
    """Bytes of an initializer with the recipe's seed and the kernel's path, by the fan-in."""
    shape, fans = FANS[name]
    variables, layers = layers_of(LINEN[name][0], LINEN[name][1])
    made, _ = initialize(variables, FLAX, layers=layers)
    assert same(flat(made)["kernel"], drawn(fanin.LecunNormal, "kernel", shape, fans))


@pytest.mark.parametrize("name", FANS)
def test_kernels_of_linen_by_their_fan_out(name: str) -> None:
    """The same, by the fan-out."""
    shape, fans = FANS[name]
    variables, layers = layers_of(LINEN[name][0], LINEN[name][1])
    rule: dict[str, Any] = {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"}
    rules = [
        {"role": ["kernel", "depthwise_kernel"], "initializer": "variance_scaling", **rule},
        {"path": "*", "initializer": "zeros"},
    ]
    made, _ = initialize(variables, fanin.Recipe(rules, seed=SEED), layers=layers)
    assert same(flat(made)["kernel"], drawn(fanin.VarianceScaling, "kernel", shape, fans, **rule))


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
        more: dict[str, Any] = {"stddev": 0.25} if layout else {}
        kernel = drawn(cls, path, shape, **more)
        assert same(values[path], kernel if layout else np.moveaxis(kernel, (-1, -2), (0, 1)).copy()), path
    for path, value in values.items():
        assert not path.endswith("bias") or not value.any()


NORMS: dict[str, Callable[[], Any]] = {
    "LayerNorm": lambda: eqx.nn.LayerNorm(6),
    "GroupNorm": lambda: eqx.nn.GroupNorm(2, 6),
    "RMSNorm": lambda: eqx.nn.RMSNorm(6),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_equinox(name: str) -> None:
    """Ones and zeros, as equinox makes them."""
    arrays = eqx.filter(NORMS[name](), eqx.is_array)
    made, _ = initialize(jax.tree.map(jnp.zeros_like, arrays), FLAX)
    assert same(flat(made), flat(arrays))


def test_batch_norms_of_equinox() -> None:
    """Of a batch norm with its state, the model alone is initialized, and works."""
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(6, "batch", mode="ema")
    made, report = initialize(norm, FLAX)
    assert report.filled == ("weight", "bias")
    outputs, _ = jax.vmap(made, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(jnp.ones((4, 6)), state)
    assert outputs.shape == (4, 6)


def test_slopes_of_equinox() -> None:
    """A PReLU has the preset's slope, whatever it had."""
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
NAMES = {
    "*.dense_i.kernel": "cell.kernel",
    "*.dense_h.kernel": "cell.recurrent_kernel",
    "weight_ih": "cell.kernel",
    "weight_hh": "cell.recurrent_kernel",
    "*layer.kernel": "cell.kernel",
    "*layer.recurrent_kernel": "cell.recurrent_kernel",
}


def of_linen(cell: str, known: bool) -> dict[str, np.ndarray]:
    """What a cell of linen gets under Keras's names, with its layers or known by flax's names."""
    described = layers_of(nn.RNN(getattr(nn, cell)(UNITS)), jnp.ones((2, 3, 6)))
    model = described if known else described[0]
    return flat(initialize(model, KERAS, names=met(NAMES, model))[0])


def of_nnx(cell: str) -> dict[str, np.ndarray]:
    """What a cell of nnx gets."""
    own = nnx.eval_shape(lambda: Holder(getattr(nnx, cell)(6, UNITS, rngs=nnx.Rngs(0))))
    made, _ = initialize(own, KERAS, names=met(NAMES, own))
    return {path.replace("f_", "f"): value for path, value in flat(made).items()}


def of_equinox(cell: str) -> list[np.ndarray]:
    """Both kernels of a cell of equinox."""
    abstract = eqx.filter_eval_shape(lambda: getattr(eqx.nn, cell)(6, UNITS, key=K))
    made, _ = initialize(abstract, KERAS, names=met(NAMES, abstract))
    return [np.asarray(made.weight_ih).T, np.asarray(made.weight_hh).T]


def joined(values: dict[str, np.ndarray], owner: str, letters: str) -> list[np.ndarray]:
    """Both kernels of a cell that keeps its gates apart."""
    return [np.concatenate([values[f"{owner}.{side}{letter}.kernel"] for letter in letters], -1) for side in "ih"]


def fused(values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Both kernels of a cell of nnx that keeps its gates in one."""
    return [values["layer.dense_i.kernel"], values["layer.dense_h.kernel"]]


# The places of Keras's gates in each cell's order, and its kernels with the gates side by side.
CELLS: dict[str, tuple[list[int], Callable[[], list[np.ndarray]]]] = {
    "linen's LSTM": ([0, 1, 2, 3], lambda: joined(of_linen("LSTMCell", True), "cell", "ifgo")),
    "linen's LSTM by names": ([0, 1, 2, 3], lambda: joined(of_linen("LSTMCell", False), "cell", "ifgo")),
    "linen's fast LSTM": ([0, 1, 2, 3], lambda: joined(of_linen("OptimizedLSTMCell", True), "cell", "ifgo")),
    "linen's fast LSTM by names": ([0, 1, 2, 3], lambda: joined(of_linen("OptimizedLSTMCell", False), "cell", "ifgo")),
    "nnx's LSTM": ([0, 1, 2, 3], lambda: joined(of_nnx("LSTMCell"), "layer", "ifgo")),
    "nnx's fast LSTM": ([0, 1, 2, 3], lambda: fused(of_nnx("OptimizedLSTMCell"))),
    "equinox's LSTM": ([0, 1, 2, 3], lambda: of_equinox("LSTMCell")),
    "linen's GRU": ([1, 0, 2], lambda: joined(of_linen("GRUCell", True), "cell", "rzn")),
    "linen's GRU by names": ([1, 0, 2], lambda: joined(of_linen("GRUCell", False), "cell", "rzn")),
    "nnx's GRU": ([1, 0, 2], lambda: fused(of_nnx("GRUCell"))),
    "equinox's GRU": ([1, 0, 2], lambda: of_equinox("GRUCell")),
}


@pytest.mark.parametrize("cell", CELLS)
def test_gates(cell: str) -> None:
    """Separate gates are the parts of the one tensor that Keras has; flax's and equinox's GRUs have another order."""
    order, kernels = CELLS[cell]
    width = UNITS * len(order)
    whole = [
        drawn(fanin.GlorotUniform, "cell.kernel", (6, width)),
        drawn(fanin.Orthogonal, "cell.recurrent_kernel", (UNITS, width)),
    ]
    for kernel, values in zip(whole, kernels(), strict=True):
        expected = np.concatenate([np.split(kernel, len(order), -1)[gate] for gate in order], -1)
        assert same(np.ascontiguousarray(values), expected)


def linen_lstm() -> tuple[Any, Any]:
    """The variables and layers of an LSTM of linen, whose gates are layers of their own."""
    return layers_of(nn.RNN(nn.LSTMCell(UNITS)), jnp.ones((2, 3, 6)))


def fused_lstm() -> Any:
    """An abstract LSTM of nnx, whose gates are one kernel."""
    return nnx.eval_shape(lambda: Holder(nnx.OptimizedLSTMCell(6, UNITS, rngs=nnx.Rngs(0))))


@pytest.mark.parametrize(("letter", "gate"), [("i", "input"), ("f", "forget"), ("g", "cell"), ("o", "output")])
def test_orthogonal_gates(letter: str, gate: str) -> None:
    """linen's gates have a matrix each."""
    variables, layers = linen_lstm()
    apart = flat(initialize(variables, FLAX, layers=layers)[0])
    expected = drawn(fanin.Orthogonal, f"cell.recurrent_kernel[{gate}]", (UNITS, UNITS))
    assert same(apart[f"cell.h{letter}.kernel"], expected)


def test_orthogonal_fused_gates() -> None:
    """nnx's fused gates have one matrix together."""
    whole = flat(initialize(fused_lstm(), FLAX)[0])["layer.dense_h.kernel"]
    assert same(whole, drawn(fanin.Orthogonal, "layer.dense_h.kernel", (UNITS, 4 * UNITS)))


def biases(framework: str) -> np.ndarray:
    """The biases of an LSTM's gates under the preset `keras`, a row for each."""
    if framework == "linen":
        variables, layers = linen_lstm()
        values = flat(initialize(variables, KERAS, layers=layers)[0])
        return np.stack([values[f"cell.h{letter}.bias"] for letter in "ifgo"])
    if framework == "nnx":
        return flat(initialize(fused_lstm(), KERAS)[0])["layer.dense_h.bias"].reshape(4, UNITS)
    cell = initialize(eqx.filter_eval_shape(lambda: eqx.nn.LSTMCell(6, UNITS, key=K)), KERAS)[0]
    return np.asarray(cell.bias).reshape(4, UNITS)


@pytest.mark.parametrize("framework", ["linen", "nnx", "equinox"])
def test_forget_gates(framework: str) -> None:
    """Keras's ones for the forget gate, in every LSTM."""
    assert biases(framework).tolist() == [[0] * UNITS, [1] * UNITS, [0] * UNITS, [0] * UNITS]
