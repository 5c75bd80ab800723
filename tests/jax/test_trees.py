"""Trees of JAX as data, and put together again: modules of nnx, random states, plain trees, states of optimizers."""

from __future__ import annotations

from collections.abc import Callable
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

import fanin
from fanin.jax import initialize, layers_of
from fanin.recipes import Entry, Plan, PlanError
from jax_kit import FLAX, Holder, drawn, flat, plain, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


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


def used() -> Noisy:
    """A module whose random states have moved on."""
    module = Noisy(nnx.Rngs(9))
    module(jnp.ones((2, 4)))
    return module


def test_random_states_of_nnx() -> None:
    """Keys come from the seed and their paths, counters start anew; whatever was there before."""
    made, report = initialize(nnx.eval_shape(lambda: Noisy(nnx.Rngs(0))), FLAX)
    assert same(flat(initialize(used(), FLAX)[0]), flat(made))
    assert set(report.buffers) == {path for path in flat(made) if ".rngs." in path}
    assert {flat(made)[path].item() for path in flat(made) if path.endswith("count")} == {0}


def test_keys_of_nnx_differ() -> None:
    """No two keys are alike, of one seed or of two."""
    made = [flat(initialize(used(), recipe)[0]) for recipe in (FLAX, FLAX.with_seed(4))]
    keys = [value.tobytes() for values in made for path, value in values.items() if path.endswith("key")]
    assert len(set(keys)) == len(keys) == 4


def test_random_states_of_nnx_work() -> None:
    """A module drops out, and what was given stays as it was."""
    given = used()
    made, _ = initialize(given, FLAX)
    assert not same(np.asarray(made(jnp.ones((2, 4)))), np.asarray(made(jnp.ones((2, 4)))))
    assert flat(given)["layers.1.rngs.count"] == 1


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
    """A layer that is there twice is made once, and there twice."""
    made, report = initialize(nnx.eval_shape(lambda: Noisy(nnx.Rngs(0))), FLAX)
    assert made.again is made.layers[0]
    assert report.filled == ("again.bias", "again.kernel")


def test_shared_arrays_stay_shared() -> None:
    """An array that is there twice is made once, and there twice."""
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
    """Parameters are known by their names, if at all; other variables are left."""
    plan = FLAX.plan(Holder(Custom(nnx.Rngs(0))))
    roles = {entry.path: entry.parameter.role for entry in plan.entries}
    assert roles["layer.kernel"] == "kernel"
    assert roles["layer.embedding"] == "embedding"
    assert roles["layer.token"] == "other"
    assert plan.model.left == {"layer.buffer": "an array of float32", "layer.steps": "an array of int32"}


def test_values_of_a_module_of_ones_own() -> None:
    """What has a rule is made, the rest stays as it is."""
    made, report = initialize(Holder(Custom(nnx.Rngs(0))), FLAX, unmatched="keep")
    assert report.kept == {"layer.token": "no rule matches it"}
    assert same(flat(made)["layer.kernel"], drawn(fanin.LecunNormal, "layer.kernel", (6, 7)))
    assert made.layer.buffer[...].tolist() == [1, 1, 1]


def test_an_abstract_module_of_ones_own() -> None:
    """What stays as it is must be there; all that is not is listed, and nothing is made."""
    abstract = nnx.eval_shape(lambda: Holder(Custom(nnx.Rngs(0))))
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(PlanError) as caught:
        initialize(abstract, FLAX, unmatched="keep")
    assert not fill.called
    assert str(caught.value) == (
        "Leaves of Holder that rules keep, or draw in part, must be arrays, not shapes; nothing has been made.\n"
        "  layer.buffer\n  layer.steps\n  layer.token\n  Give them values, or leave them out of the tree."
    )


def test_states_of_optimizers_are_left() -> None:
    """What an optimizer of nnx keeps is no parameter, though it looks like one."""
    model = Holder(nnx.Linear(4, 5, rngs=nnx.Rngs(0)))
    plan = FLAX.plan(nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param))
    assert [entry.path for entry in plan.entries] == []


class Block(nn.Module):
    """A layer to be stacked."""

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        return nn.Dense(64, name="fc")(x), None


class Stack(nn.Module):
    """Four of them, along an axis."""

    axis: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        axes: Any = {"params": self.axis}
        split: Any = {"params": True}
        return nn.scan(Block, variable_axes=axes, split_rngs=split, length=4)()(x, None)[0]


def stack_of_nnx(axis: int = 0) -> Any:
    """Four layers of nnx, along an axis."""

    def make(rngs: Any) -> Any:
        return nnx.Linear(64, 64, use_bias=False, rngs=rngs)

    return nnx.eval_shape(lambda: nnx.vmap(make, in_axes=0, out_axes=axis)(nnx.Rngs(0).fork(split=4)))


@nnx.split_rngs(splits=3)
@nnx.vmap(in_axes=0)
def several_of_nnx(rngs: Any) -> Any:
    """Three pairs of layers of nnx."""
    return nnx.List([nnx.Linear(16, 5, rngs=rngs), nnx.LinearGeneral(16, (2, 8), rngs=rngs)])


def plan_of_linen(axis: int) -> Plan:
    """The plan of a stack of linen's layers."""
    variables, layers = layers_of(Stack(axis), jnp.ones((2, 64)))
    return FLAX.plan(variables, layers=layers)


def plan_of_a_scan() -> Plan:
    """The plan of five of linen's layers that are a model by themselves, whose call takes None, too."""
    axes: Any = {"params": 0}
    split: Any = {"params": True}
    stacked = nn.scan(Block, variable_axes=axes, split_rngs=split, length=5)()
    variables, layers = layers_of(stacked, jnp.ones((1, 64)), None)
    assert variables["params"]["fc"]["kernel"].shape == (5, 64, 64)
    return FLAX.plan(variables, layers=layers)


def plan_of_equinox() -> Plan:
    """The plan of a stack of equinox's layers."""
    keys = jax.random.split(jax.random.key(0), 3)
    return FLAX.plan(eqx.filter_vmap(lambda key: eqx.nn.Linear(16, 5, key=key))(keys))


# The plan of each stack, and how many units feed an output of one of its layers.
STACKS: dict[str, tuple[Callable[[], Plan], int]] = {
    "linen, scanned": (plan_of_a_scan, 64),
    "linen, first axis": (lambda: plan_of_linen(0), 64),
    "linen, second axis": (lambda: plan_of_linen(1), 64),
    "nnx, first axis": (lambda: FLAX.plan(stack_of_nnx(0)), 64),
    "nnx, second axis": (lambda: FLAX.plan(stack_of_nnx(1)), 64),
    "nnx, several": (lambda: FLAX.plan(several_of_nnx(nnx.Rngs(0))), 16),
    "equinox": (plan_of_equinox, 16),
}


@pytest.mark.parametrize("case", STACKS)
def test_stacks_of_layers(case: str) -> None:
    """Layers that `scan` and `vmap` stack, wherever, have the fans of one: an axis of layers is no receptive field."""
    make, fan_in = STACKS[case]
    kernels = [entry for entry in make().entries if entry.parameter.role == "kernel"]
    assert len(kernels) == (2 if "several" in case else 1)
    expected = fanin.LecunNormal().distribution((fan_in, 64)).moments.stddev
    assert {entry.stddev for entry in kernels} == {expected}


@pytest.mark.parametrize("axis", [0, 1])
def test_a_stack_has_an_orthogonal_matrix_for_each_layer(axis: int) -> None:
    """Wherever `scan` puts the axis of layers: the matrices of the initializer that names it."""
    plan = fanin.Recipe([{"path": "*", "initializer": "orthogonal"}], seed=1).plan(stack_of_nnx(axis))
    (entry,) = plan.entries
    drawn = np.empty(entry.parameter.shape, np.float32)
    entry.fill(drawn)
    layers = np.moveaxis(drawn, axis, 0)
    seed = fanin.Orthogonal(seed=1).spawn(entry.path).seed
    assert layers.tobytes() == fanin.Orthogonal(seed=seed, batch_axis=0)(layers.shape).tobytes()
    assert all(np.allclose(each @ each.T, np.eye(len(each)), atol=1e-5) for each in layers)


@pytest.mark.parametrize("name", ["dirac", "delta_orthogonal", "unitary", "bilinear"])
def test_kernels_of_one_layer_are_refused_for_a_stack(name: str) -> None:
    """The axis of layers would be taken for one of the kernel's own."""
    (problem,) = fanin.Recipe([{"path": "*", "initializer": name}]).plan(stack_of_nnx(0)).problems
    assert "makes a single kernel, but this parameter stacks the kernels of several layers" in problem


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


def plain_tree() -> list[Any]:
    """A list of dicts, tuples and None, of arrays of NumPy and JAX and of other things."""
    kernel = {"kernel": np.zeros((4, 5), np.float32), "steps": jnp.arange(3)}
    return [{"fc": kernel}, ({"on": True, "rate": 1.5},), None]


def test_plain_trees() -> None:
    """Dicts, lists and tuples of arrays; the given one stays as it is."""
    tree = plain_tree()
    made, report = initialize(tree, FLAX)
    assert same(made[0]["fc"]["kernel"], drawn(fanin.LecunNormal, "0.fc.kernel", (4, 5)))
    assert isinstance(made[0]["fc"]["kernel"], jax.Array)
    assert report.filled == ("0.fc.kernel",)
    assert not np.asarray(tree[0]["fc"]["kernel"]).any()


def test_what_no_recipe_is_about() -> None:
    """Integers, booleans and what is no array stay what they are."""
    tree = plain_tree()
    made, _ = initialize(tree, FLAX)
    assert made[0]["fc"]["steps"] is tree[0]["fc"]["steps"]
    assert made[1:] == tree[1:]


def test_a_single_array() -> None:
    """An array by itself is a tree, and its name is array."""
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
    assert set(report.plan.model.left) == {
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
        "Leaves of a tree that rules keep, or draw in part, must be arrays, not shapes; nothing has been made.\n"
        "  b.m\n  n\n"
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
    with pytest.raises(TypeError, match=r"A plan needs a model: .* tree of JAX arrays or shapes.* Received: "):
        initialize(NO_TREES[name], FLAX)
