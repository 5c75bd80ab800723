"""fanin.jax.initialize: modules of nnx, variables of linen, trees of any kind, whole models, shardings."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("equinox")
pytest.importorskip("optax")

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from flax.core import FrozenDict, freeze
from jax.sharding import SingleDeviceSharding

import fanin
import fanin.jax
import jax_models_kit
from fanin.jax import initialize, layers_of
from fanin.plans import Entry, PlanError
from jax_models_kit import FLAX, SEED, SMALL_INPUT, Holder, Small, drawn, flat, plain, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


# Modules of nnx ------------------------------------------------------------------------------------------------------


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
    assert flat(used)["layers.1.rngs.count"] == 1


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("splits", [None, 3, (2, 3)])
def test_keys_of_nnx(impl: str, splits: Any) -> None:
    """Keys of each generator keep it, and their shape; abstract or not."""

    def make() -> Any:
        module = Holder(nnx.Dropout(0.5, rngs=nnx.Rngs(jax.random.key(0, impl=impl))))
        if splits is not None:
            module.layer.rngs.key.set_value(jax.random.split(jax.random.key(0, impl=impl), splits))
        return module

    key = make().layer.rngs.key[...]
    made = initialize(make(), FLAX)[0].layer.rngs.key[...]
    assert (made.shape, made.dtype) == (key.shape, key.dtype)
    words = np.asarray(jax.random.key_data(made)).reshape(max(1, key.size), -1)
    assert len({each.tobytes() for each in words}) == len(words)
    abstract = initialize(nnx.eval_shape(make), FLAX)[0].layer.rngs.key[...]
    assert abstract.dtype == key.dtype
    assert same(plain(abstract), plain(made))


def test_bare_arrays_are_left() -> None:
    """An array of a module that is no variable stays as it is."""

    class Bare(nnx.Module):
        def __init__(self) -> None:
            self.fc, self.table = nnx.Linear(4, 5, rngs=nnx.Rngs(0)), jnp.ones(3)

    module = Holder(Bare())
    made, report = initialize(module, FLAX)
    assert report.filled == ("layer.fc.bias", "layer.fc.kernel")
    assert made.layer.table.tolist() == [1, 1, 1]


def test_shared_layers_stay_shared() -> None:
    """A layer or an array that is there twice is made once, and there twice."""
    made, report = initialize(nnx.eval_shape(lambda: Noisy(nnx.Rngs(0))), FLAX)
    assert made.again is made.layers[0]
    assert report.filled == ("again.bias", "again.kernel")
    pair: Any = nnx.List([nnx.Linear(4, 9, rngs=nnx.Rngs(0)) for _ in range(2)])
    pair[1].kernel = pair[0].kernel
    made, report = initialize(pair, FLAX)
    assert made[1].kernel is made[0].kernel
    assert report.filled == ("0.bias", "0.kernel", "1.bias")


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
        "Leaves of Holder that no rule draws must be arrays, not shapes; nothing has been made.\n"
        "  layer.buffer\n  layer.steps\n  layer.token\n  Give them values, or leave them out of the tree."
    )


def test_states_of_optimizers_are_left() -> None:
    """What an optimizer of nnx keeps is no parameter, though it looks like one."""
    model = Holder(nnx.Linear(4, 5, rngs=nnx.Rngs(0)))
    plan = FLAX.plan(nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param))
    assert [entry.path for entry in plan.entries] == []


def test_stacked_layers() -> None:
    """Layers that `scan` and `vmap` stack are each what it would be alone: an axis of layers is no receptive field."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(16, name="fc")(x), None

    stacked = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()
    variables, layers = layers_of(stacked, jnp.ones((1, 16)), None)
    assert variables["params"]["fc"]["kernel"].shape == (5, 16, 16)

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0)
    def many(rngs: Any) -> Any:
        return nnx.List([nnx.Linear(16, 5, rngs=rngs), nnx.LinearGeneral(16, (2, 8), rngs=rngs)])

    several = eqx.filter_vmap(lambda key: eqx.nn.Linear(16, 5, key=key))(jax.random.split(jax.random.key(0), 3))
    plans = [FLAX.plan(variables, layers=layers), FLAX.plan(many(nnx.Rngs(0))), FLAX.plan(several)]
    entries = [entry for plan in plans for entry in plan.entries if entry.parameter.role == "kernel"]
    wrong = [entry for entry in entries if entry.stddev not in (None, pytest.approx(0.25, rel=1e-6))]
    assert [(entry.parameter.shape, entry.stddev) for entry in wrong] == []


# Variables of linen, and any tree ------------------------------------------------------------------------------------


def test_variables_of_linen() -> None:
    """Dicts and frozen ones, abstract or not, with boxes, with or without collections: the same names and bytes."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers)
    values = flat(made)
    assert same(values["attention.out.kernel"], drawn(fanin.LecunNormal, "attention.out.kernel", (2, 4, 8), (8, 8)))
    assert values["norm.var"].tolist() == [1] * 8
    assert set(made) == {"params", "batch_stats"}
    assert same(flat(initialize(variables, FLAX)[0]), values)  # by their names
    concrete = Small().init(jax.random.key(1), SMALL_INPUT)
    before = copy.deepcopy(flat(concrete))
    assert same(flat(initialize(concrete, FLAX)[0]), values)
    assert same(flat(concrete), before)
    frozen, _ = initialize(freeze(variables), FLAX, layers=layers)
    assert isinstance(frozen, FrozenDict)
    assert same(flat(frozen), values)
    alone, _ = initialize(variables["params"], FLAX, layers=layers)
    assert same(flat(alone), {path: value for path, value in values.items() if path not in ("norm.mean", "norm.var")})
    boxed, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(boxed, FLAX, layers=layers)
    box = made["params"]["fc"]["kernel"]
    assert (type(box), box.names) == (nn.Partitioned, ("a", "b"))
    assert same(flat(nn.meta.unbox(made)), values)


def test_names_alone_do_not_say_what_a_kernel_is() -> None:
    """A kernel of three axes may be a convolution's or a dense layer's; with `layers` it is known."""
    variables, layers = layers_of(nn.Sequential([nn.Conv(8, (3,))]), SMALL_INPUT)
    with pytest.raises(PlanError) as caught:
        initialize(variables, FLAX)
    assert str(caught.value) == (
        "The recipe does not fit a tree; nothing has been written.\n  layers_0.kernel, in rule 4 (line 28) “kernels”: "
        "LecunNormal needs the fans of a parameter of no known layer, and they are not known. Write `fan_in = …` into "
        'rule 4 (line 28) “kernels”, or, if it is a kernel, `layout = "torch"` or `layout = "keras"`, '
        "with `stacked = 1` if its first axis is a stack of kernels."
    )
    kernel = flat(initialize(variables, FLAX, layers=layers)[0])["layers_0.kernel"]
    assert same(kernel, drawn(fanin.LecunNormal, "layers_0.kernel", (3, 8, 8)))
    rules = [
        {"rank": 3, "initializer": "lecun_normal", "layout": "keras"},
        {"path": "*", "initializer": "zeros"},
    ]
    assert same(flat(initialize(variables, fanin.Recipe(rules, seed=SEED))[0])["layers_0.kernel"], kernel)


COLLISIONS: dict[str, Any] = {
    "dots": {"a.b": {"kernel": (2, 3)}, "a": {"b": {"kernel": (4, 5)}}},
    "collections": {"params": {"a": {"kernel": (2, 3)}}, "batch_stats": {"a": {"kernel": (4, 5)}}},
    "numbers": {0: {"kernel": (2, 3)}, 1: {"kernel": (4, 5)}},
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_each_array_is_its_own(name: str) -> None:
    """Arrays whose paths are one are refused, or both have the shapes that they had."""
    shapes = COLLISIONS[name]
    tree = jax.tree.map(jnp.zeros, shapes, is_leaf=lambda each: isinstance(each, tuple))
    try:
        made, _ = initialize(tree, FLAX)
    except ValueError:
        assert name != "numbers"
    else:
        assert jax.tree.map(jnp.shape, made) == shapes


def test_collections_of_ones_own() -> None:
    """A further collection, of which flax itself knows nothing, changes no name and no layer."""

    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            self.variable("own", "count", lambda: jnp.zeros((), jnp.int32))
            return nn.Conv(8, (3,), name="conv")(x)

    variables, layers = layers_of(Counting(), SMALL_INPUT)
    counted = {**variables, "own": {"count": jnp.array(5)}}
    made, _ = initialize(counted, FLAX, layers=layers)
    assert same(made["params"]["conv"]["kernel"], drawn(fanin.LecunNormal, "conv.kernel", (3, 8, 8)))
    assert made["own"]["count"] == 5


def test_layers_of_a_call() -> None:
    """`layers_of` calls a module as one does: flags that are no arrays may stand anywhere; shapes are enough."""

    class Flagged(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool, *, wide: bool = False) -> Any:
            x = nn.Dense(9 if wide else 4, name="fc")(x)
            return nn.BatchNorm(use_running_average=not train, name="norm")(x)

    like = jax.ShapeDtypeStruct((1, 8), jnp.float32)
    for inputs in (like, jnp.ones((1, 8)), np.ones((1, 8), np.float32)):
        variables, layers = layers_of(Flagged(), inputs, train=True, wide=True)
        assert variables["params"]["fc"]["kernel"].shape == (8, 9)
        assert {path: layer.type for path, layer in layers.items()} == {
            "": "Flagged",
            "fc": "Dense",
            "norm": "BatchNorm",
        }
    variables, layers = layers_of(Flagged(), like, True)
    assert variables["params"]["fc"]["kernel"].shape == (8, 4)


def test_layers_derived_from_linens() -> None:
    """A layer that derives from one of flax's has its kernels."""

    class Own(nn.DenseGeneral):
        """A layer of one's own."""

    variables, layers = layers_of(Own((2, 4)), SMALL_INPUT)
    assert FLAX.plan(variables, layers=layers).entry("kernel").fans == (8, 8)


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
    """Optimizers keep moments under the names of parameters; they stay."""
    params = {"fc": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}}
    state = optax.adam(1e-3).init(params)
    (made, kept), report = initialize((params, state), FLAX)
    assert report.filled == ("0.fc.bias", "0.fc.kernel")
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "0.fc.kernel", (4, 5)))
    assert all(first is second for first, second in zip(jax.tree.leaves(kept), jax.tree.leaves(state), strict=True))
    assert set(report.plan.found.left) == {
        "1.0.count",
        *(f"1.0.{m}.fc.{leaf}" for m in ("mu", "nu") for leaf in ("bias", "kernel")),
    }


def test_leftovers_must_be_arrays() -> None:
    """Shapes that nothing would be drawn for are listed, all of them, and nothing is made."""
    shape = jax.ShapeDtypeStruct
    tree = {"kernel": shape((4, 5), jnp.float32), "n": shape((4,), jnp.int32), "b": {"m": shape((), bool)}}
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(PlanError) as caught:
        initialize(tree, FLAX)
    assert not fill.called
    assert str(caught.value) == (
        "Leaves of a tree that no rule draws must be arrays, not shapes; nothing has been made.\n  b.m\n  n\n"
        "  Give them values, or leave them out of the tree."
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
    with pytest.raises(TypeError, match=r"A plan needs a model: .* tree of arrays or shapes of JAX.* Received: "):
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
    assert (made["b"]["kernel"] is tree["b"]["kernel"], report.kept) == (True, {"b.kernel": "not selected by `only`"})
    made, report = initialize(tree, FLAX, skip=["a.*"])
    assert (made["a"]["kernel"] is tree["a"]["kernel"], report.kept) == (True, {"a.kernel": "selected by `skip`"})
    assert same(made["b"]["kernel"], drawn(fanin.LecunNormal, "b.kernel", (4, 5)))


# Whole models --------------------------------------------------------------------------------------------------------

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
    cls: Any
    cls, inputs = MODELS[name]
    if name.startswith("nnx"):
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


# Processes of their own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["devices", "mesh", "x64"])
def test_in_a_process_of_its_own(group: str) -> None:
    """Eight devices, a mesh in force, and 64 bits."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={1 if group == 'x64' else 8}",
        "JAX_ENABLE_X64": str(int(group == "x64")),
        "PYTHONPATH": os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", "")))),
    }
    run = subprocess.run(
        [sys.executable, jax_models_kit.__file__, group], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr


def test_stacks_along_other_axes() -> None:
    """`scan` and `vmap` may put the layers of a stack anywhere; a kernel has the fans of one of them."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(64)(x), None

    class Stack(nn.Module):
        axis: int

        @nn.compact
        def __call__(self, x: Any) -> Any:
            axes: Any = {"params": self.axis}
            split: Any = {"params": True}
            return nn.scan(Block, variable_axes=axes, split_rngs=split, length=4)()(x, None)[0]

    for axis in (0, 1):
        variables, layers = layers_of(Stack(axis), jnp.ones((2, 64)))
        (entry,) = [each for each in FLAX.plan(variables, layers=layers).entries if each.path.endswith("kernel")]
        known = entry.parameter.known
        assert (entry.stddev, known["n_layers"]) == (fanin.LecunNormal().distribution((64, 64)).stddev, 4)
        abstract = nnx.eval_shape(
            lambda axis=axis: nnx.vmap(
                lambda rngs: nnx.Linear(64, 64, use_bias=False, rngs=rngs), in_axes=0, out_axes=axis
            )(nnx.Rngs(0).fork(split=4))
        )
        (entry,) = FLAX.plan(abstract).entries
        assert entry.stddev == fanin.LecunNormal().distribution((64, 64)).stddev
    rules = [{"path": "*", "initializer": "orthogonal"}]
    (problem,) = fanin.Recipe(rules).plan(abstract).problems
    assert "Orthogonal makes a single matrix, but this parameter stacks the kernels of several layers" in problem
