"""Stacks of layers, which `nn.scan` and `vmap` make: the same values as a list of the layers, and depth in each."""

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
from fanin.jax import initialize, layers_of
from jax_kit import FLAX, SEED, drawn, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
COUNT, WIDTH = 4, 12
# Every layer's own deviation, a random bias by the kernel's fans, and ones for norms.
BY_DEPTH = fanin.Recipe(
    [
        {"role": "kernel", "initializer": "random_normal", "stddev": "0.02 * (1 + depth) / sqrt(n_layers)"},
        {"role": "bias", "initializer": "random_uniform", "minval": "-1 / sqrt(fan_in)", "maxval": "1 / sqrt(fan_in)"},
        {"path": "*", "initializer": "ones"},
    ],
    seed=SEED,
)
X = jnp.ones((2, WIDTH))


class Block(nn.Module):
    """A layer of linen."""

    @nn.compact
    def __call__(self, x: Any, _: Any = None) -> Any:
        return nn.Dense(WIDTH, name="fc")(nn.LayerNorm(name="norm")(x)), None


class Scanned(nn.Module):
    """A stack of them, along an axis."""

    axis: int = 0

    @nn.compact
    def __call__(self, x: Any) -> Any:
        axes: Any = {"params": self.axis}
        split: Any = {"params": True}
        return nn.scan(Block, variable_axes=axes, split_rngs=split, length=COUNT)(name="blocks")(x, None)[0]


class Listed(nn.Module):
    """A list of them."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for number in range(COUNT):
            x, _ = Block(name=f"blocks_{number}")(x)
        return x


class NnxBlock(nnx.Module):
    """A layer of nnx."""

    def __init__(self, rngs: Any) -> None:
        self.fc, self.norm = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)


def stack_of_nnx(axis: int) -> Any:
    """A stack of them, along an axis."""

    def make() -> Any:
        stacked = nnx.vmap(NnxBlock, in_axes=0, out_axes=axis)(nnx.Rngs(0).fork(split=COUNT))
        return nnx.Dict(blocks=stacked)

    return nnx.eval_shape(make)


class EquinoxBlock(eqx.Module):
    """A layer of equinox."""

    fc: Any
    norm: Any

    def __init__(self, key: Any) -> None:
        self.fc, self.norm = eqx.nn.Linear(WIDTH, WIDTH, key=key), eqx.nn.LayerNorm(WIDTH)


def keys() -> Any:
    """A key for each layer."""
    return jax.random.split(jax.random.key(0), COUNT)


Values = dict[str, np.ndarray]


def of_linen(module: Any, recipe: fanin.Recipe, names: Any = None) -> Any:
    """The parameters of a module of linen."""
    variables, layers = layers_of(module, X)
    return initialize(variables, recipe, layers=layers, names=names)[0]["params"]


def linen_layers(axis: int) -> Callable[[fanin.Recipe], list[Values]]:
    """Each layer of a stack of linen."""

    def make(recipe: fanin.Recipe) -> list[Values]:
        tree = of_linen(Scanned(axis), recipe, {"blocks.*": "blocks.{layer}.*"})["blocks"]
        return [layer(tree["fc"]["kernel"], tree["fc"]["bias"], tree["norm"]["scale"], n, axis) for n in range(COUNT)]

    return make


def nnx_layers(axis: int) -> Callable[[fanin.Recipe], list[Values]]:
    """Each layer of a stack of nnx."""

    def make(recipe: fanin.Recipe) -> list[Values]:
        made = initialize(stack_of_nnx(axis), recipe, names={"blocks.*": "blocks.{layer}.*"})[0]["blocks"]
        arrays = made.fc.kernel[...], made.fc.bias[...], made.norm.scale[...]
        return [layer(*arrays, number, axis) for number in range(COUNT)]

    return make


NAMES = {"blocks.norm.weight": "blocks.{layer}.norm.scale", "blocks.*.weight": "blocks.{layer}.*.kernel"}


def equinox_layers(recipe: fanin.Recipe) -> list[Values]:
    """Each layer of a stack of equinox, with flax's names."""
    stack = eqx.filter_eval_shape(lambda: {"blocks": eqx.filter_vmap(EquinoxBlock)(keys())})
    made = initialize(stack, recipe, names={**NAMES, "blocks.*": "blocks.{layer}.*"})[0]["blocks"]
    kernels = jnp.swapaxes(made.fc.weight, 1, 2)
    return [layer(kernels, made.fc.bias, made.norm.weight, number, 0) for number in range(COUNT)]


def equinox_list(recipe: fanin.Recipe) -> list[Values]:
    """Each layer of a list of equinox, with flax's names."""
    several = eqx.filter_eval_shape(lambda: {"blocks": [EquinoxBlock(keys()[number]) for number in range(COUNT)]})
    names = {"*.norm.weight": "*.norm.scale", "*.weight": "*.kernel"}
    made = initialize(several, recipe, names=names)[0]["blocks"]
    return [layer(each.fc.weight.T[None], each.fc.bias[None], each.norm.weight[None], 0, 0) for each in made]


def linen_list(recipe: fanin.Recipe) -> list[Values]:
    """Each layer of a list of linen."""
    tree = of_linen(Listed(), recipe, {f"blocks_{number}.*": f"blocks.{number}.*" for number in range(COUNT)})
    several = [tree[f"blocks_{number}"] for number in range(COUNT)]
    return [
        layer(each["fc"]["kernel"][None], each["fc"]["bias"][None], each["norm"]["scale"][None], 0, 0)
        for each in several
    ]


def layer(kernel: Any, bias: Any, scale: Any, number: int, axis: int) -> Values:
    """The arrays of one layer of a stack."""
    arrays = {"kernel": kernel, "bias": bias, "scale": scale}
    return {name: np.ascontiguousarray(np.take(np.asarray(each), number, axis)) for name, each in arrays.items()}


def nnx_list(recipe: fanin.Recipe) -> list[Values]:
    """Each layer of a list of nnx."""
    several = nnx.eval_shape(lambda: nnx.Dict(blocks=nnx.List([NnxBlock(nnx.Rngs(0)) for _ in range(COUNT)])))
    made = initialize(several, recipe)[0]["blocks"]
    return [
        layer(each.fc.kernel[...][None], each.fc.bias[...][None], each.norm.scale[...][None], 0, 0) for each in made
    ]


LAYERS: dict[str, Callable[[fanin.Recipe], list[Values]]] = {
    "linen's scan": linen_layers(0),
    "linen's scan along the second axis": linen_layers(1),
    "nnx's vmap": nnx_layers(0),
    "nnx's vmap along the second axis": nnx_layers(1),
    "equinox's vmap": equinox_layers,
    "linen's list": linen_list,
    "equinox's list": equinox_list,
}
RECIPES = {
    "by depth": BY_DEPTH,
    "flax": FLAX,
    "orthogonal": fanin.Recipe(
        [{"role": "kernel", "initializer": "orthogonal"}, {"path": "*", "initializer": "zeros"}], seed=SEED
    ),
    "by rank": fanin.Recipe(
        [{"rank": 2, "initializer": "he_normal"}, {"path": "*", "initializer": "zeros"}], seed=SEED
    ),
    "one layer": fanin.Recipe(
        [
            {"path": "blocks.2.fc.kernel", "initializer": "glorot_uniform"},
            {"role": "kernel", "initializer": "he_normal"},
            {"path": "*", "initializer": "zeros"},
        ],
        seed=SEED,
    ),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("case", LAYERS)
def test_stacks_are_lists_by_names(case: str, recipe: str) -> None:
    """A stack whose name has `{layer}` is the list of its layers, in every library and along every axis."""
    expected = nnx_list(RECIPES[recipe])
    for ours, theirs in zip(LAYERS[case](RECIPES[recipe]), expected, strict=True):
        assert same(ours, theirs)


def test_names_of_each_layer() -> None:
    """Each layer's kernel is that of its own name."""
    layers = LAYERS["linen's scan"](FLAX)
    for number, each in enumerate(layers):
        assert same(each["kernel"], drawn(fanin.LecunNormal, f"blocks.{number}.fc.kernel", (WIDTH, WIDTH)))


@pytest.mark.parametrize("axis", [0, 1])
def test_stacks_of_equinox_and_flax(axis: int) -> None:
    """Stacks of the same name are equal without `{layer}`, too, wherever the axis of the layers is."""
    ours = initialize(stack_of_nnx(axis), FLAX)[0]["blocks"].fc.kernel[...]
    stack = eqx.filter_eval_shape(lambda: {"blocks": eqx.filter_vmap(EquinoxBlock)(keys())})
    theirs = initialize(stack, FLAX, names={"*.norm.weight": "*.norm.scale", "*.weight": "*.kernel"})[0]["blocks"]
    assert same(jnp.moveaxis(ours, axis, 0), jnp.swapaxes(theirs.fc.weight, 1, 2))


@pytest.mark.parametrize("axis", [0, 1])
def test_depth_in_stacks(axis: int) -> None:
    """Each layer has its own depth, and the number of layers is the stack's length; the stream is the stack's."""
    plan = BY_DEPTH.plan(stack_of_nnx(axis))
    entry = plan.entry("blocks.fc.kernel")
    assert entry.description == "RandomNormal(mean=0, stddev=0.01); …; RandomNormal(mean=0, stddev=0.04)"
    whole = drawn(fanin.RandomNormal, "blocks.fc.kernel", (COUNT, WIDTH, WIDTH), mean=0, stddev=0.01)
    values = np.moveaxis(entry.make(), axis, 0)
    for number in range(COUNT):
        apart = drawn(
            fanin.RandomNormal, "blocks.fc.kernel", whole.shape, mean=0, stddev=0.02 * (1 + number) / np.sqrt(COUNT)
        )
        assert same(np.ascontiguousarray(values[number]), apart[number])


def test_regions_of_stacks() -> None:
    """Any region of a stack is the region of the whole."""
    for names in (None, {"blocks.*": "blocks.{layer}.*"}):
        entry = BY_DEPTH.plan(stack_of_nnx(1), names=names).entry("blocks.fc.kernel")
        whole = entry.make()
        for region in ((slice(3, 9), slice(1, 3), slice(2, 5)), (0, slice(None), slice(None)), (slice(5), 2, 7)):
            assert same(entry.make(region), np.ascontiguousarray(whole[region]))


def test_a_list_of_stacks() -> None:
    """Within a list of blocks, the list counts."""
    several = nnx.eval_shape(lambda: nnx.List([stack_of_nnx(0)["blocks"] for _ in range(2)]))
    rules = [{"role": "kernel", "initializer": "constant", "value": "10 * n_layers + depth"}]
    made, _ = initialize(several, fanin.Recipe(rules), only="*.kernel")
    assert [set(np.asarray(each.fc.kernel[...]).ravel().tolist()) for each in made] == [{20.0}, {21.0}]


def test_stacks_of_stacks() -> None:
    """`{layer}` counts the layers of all axes in order."""
    inner = nnx.vmap(lambda rngs: nnx.Linear(WIDTH, 5, rngs=rngs))
    stack = nnx.eval_shape(lambda: nnx.vmap(lambda rngs: inner(rngs))(nnx.Rngs(0).fork(split=(2, 3))))
    made, _ = initialize(stack, FLAX, names={"*": "{layer}.*"})
    for number in range(6):
        expected = drawn(fanin.LecunNormal, f"{number}.kernel", (WIDTH, 5))
        assert same(made.kernel[...][number // 3, number % 3], expected)


def test_gates_in_stacks() -> None:
    """The gates of stacked cells are blocks, as those of one cell."""
    stack = eqx.filter_eval_shape(lambda: eqx.filter_vmap(lambda key: eqx.nn.GRUCell(6, 5, key=key))(keys()))
    cell = eqx.filter_eval_shape(lambda: eqx.nn.GRUCell(6, 5, key=keys()[0]))
    keras = fanin.Recipe.preset("keras", seed=SEED)
    made, _ = initialize(stack, keras, names={"*": "{layer}.*"})
    for number in range(COUNT):
        one, _ = initialize(cell, keras, names={"*": f"{number}.*"})
        assert same(made.weight_ih[number], one.weight_ih)
        assert same(made.weight_hh[number], one.weight_hh)


def test_single_layers_are_no_stacks() -> None:
    """`{layer}` in the name of a single layer is a mistake, and nothing is drawn."""
    linear = nnx.eval_shape(lambda: nnx.Linear(4, 5, rngs=nnx.Rngs(0)))
    (problem,) = FLAX.plan(linear, names={"kernel": "{layer}.kernel"}).problems
    assert problem == (
        "kernel: its name has {layer}, but it has the shape of a single layer. Remove {layer} from its name, or, for "
        "flax.linen, give `layers` from fanin.jax.layers_of, which tell stacks from kernels."
    )


def test_rules_for_some_layers_alone() -> None:
    """A rule for one layer leaves the others without one: the plan says which."""
    rules = [{"path": "blocks.2.*", "initializer": "ones"}]
    plan = fanin.Recipe(rules).plan(stack_of_nnx(0), names={"*.kernel": "blocks.{layer}.kernel"})
    assert plan.entry("blocks.fc.kernel").problem == "blocks.fc.kernel: no rule matches its layers 0, 1, 3."


def test_layers_that_stay() -> None:
    """A rule may keep one layer of a stack."""
    rules = [{"path": "2.*", "initializer": "keep"}, {"path": "*", "initializer": "zeros"}]
    stack = {"kernel": jnp.ones((3, 2, 2))}
    made, _ = initialize(stack, fanin.Recipe(rules), names={"*": "{layer}.*"})
    assert np.asarray(made["kernel"])[:, 0, 0].tolist() == [0, 0, 1]


def test_tables_of_stacks() -> None:
    """The plan shows the name once, and how many seeds there are."""
    table = FLAX.plan(stack_of_nnx(0), names={"blocks.*": "blocks.{layer}.*"}).table()
    (row,) = [line.split() for line in table.splitlines() if line.startswith("blocks.fc.kernel")]
    assert row[1] == "blocks.{layer}.fc.kernel"
    assert row[-2:] == ["4", "seeds"]
