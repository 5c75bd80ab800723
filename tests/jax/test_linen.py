"""Variables of flax.linen: with and without their layers, collections, boxes, and layers of one's own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict, freeze

import fanin
from fanin.jax import initialize, layers_of
from fanin.recipes import PlanError
from jax_kit import FLAX, SEED, SMALL_INPUT, Small, drawn, flat, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


def values_of_small() -> dict[str, np.ndarray]:
    """What the module gets with its layers known."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    return flat(initialize(variables, FLAX, layers=layers)[0])


def test_variables_of_linen() -> None:
    """Abstract variables become arrays in the same collections."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers)
    values = flat(made)
    assert same(values["attention.out.kernel"], drawn(fanin.LecunNormal, "attention.out.kernel", (2, 4, 8), (8, 8)))
    assert values["norm.var"].tolist() == [1] * 8
    assert set(made) == {"params", "batch_stats"}


def test_variables_and_layers_as_a_pair() -> None:
    """What `layers_of` returns is a model, which needs no unpacking."""
    pair = layers_of(Small(), SMALL_INPUT)
    made, _ = initialize(pair, FLAX)
    assert set(made) == {"params", "batch_stats"}
    assert same(flat(made), values_of_small())
    assert not FLAX.plan(pair).compare(FLAX.plan(pair[0], layers=pair[1]))


def test_variables_without_their_layers() -> None:
    """What flax's names say is enough for most layers."""
    variables, _ = layers_of(Small(), SMALL_INPUT)
    assert same(flat(initialize(variables, FLAX)[0]), values_of_small())


def test_concrete_variables() -> None:
    """Variables that have values get the same, and stay as they are themselves."""
    concrete = Small().init(jax.random.key(1), SMALL_INPUT)
    before = copy.deepcopy(flat(concrete))
    assert same(flat(initialize(concrete, FLAX)[0]), values_of_small())
    assert same(flat(concrete), before)


def test_frozen_variables() -> None:
    """A frozen dict stays one."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    frozen, _ = initialize(freeze(variables), FLAX, layers=layers)
    assert isinstance(frozen, FrozenDict)
    assert same(flat(frozen), values_of_small())


def test_parameters_alone() -> None:
    """A collection by itself has the names that it has among others."""
    variables, layers = layers_of(Small(), SMALL_INPUT)
    alone, _ = initialize(variables["params"], FLAX, layers=layers)
    values = values_of_small()
    assert same(flat(alone), {path: value for path, value in values.items() if path not in ("norm.mean", "norm.var")})


def test_boxes() -> None:
    """What flax keeps beside an array, such as its axes' names, changes no name and stays."""
    boxed, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(boxed, FLAX, layers=layers)
    box = made["params"]["fc"]["kernel"]
    assert (type(box), box.names) == (nn.Partitioned, ("a", "b"))
    assert same(flat(nn.meta.unbox(made)), values_of_small())


def test_names_alone_do_not_say_what_a_kernel_is() -> None:
    """A kernel of three axes may be a convolution's or a dense layer's; with `layers` it is known."""
    variables, _ = layers_of(nn.Sequential([nn.Conv(8, (3,))]), SMALL_INPUT)
    with pytest.raises(PlanError) as caught:
        initialize(variables, FLAX)
    assert str(caught.value) == (
        "The recipe does not fit a tree; nothing has been written.\n  layers_0.kernel, in rule 4 (line 29) “kernels”: "
        "LecunNormal needs the fans of a parameter of no known layer, and they are not known. Write `fan_in = …` into "
        'rule 4 (line 29) “kernels”, or, if it is a kernel, `layout = "torch"` or `layout = "keras"`, '
        "with `stacked = 1` if its first axis is a stack of kernels."
    )


@pytest.mark.parametrize("known", ["layers", "layout"])
def test_what_says_what_a_kernel_is(known: str) -> None:
    """The layers, or the layout in a rule."""
    variables, layers = layers_of(nn.Sequential([nn.Conv(8, (3,))]), SMALL_INPUT)
    rules = [
        {"rank": 3, "initializer": "lecun_normal", "layout": "keras"},
        {"path": "*", "initializer": "zeros"},
    ]
    recipe = FLAX if known == "layers" else fanin.Recipe(rules, seed=SEED)
    made, _ = initialize(variables, recipe, layers=layers if known == "layers" else None)
    assert same(flat(made)["layers_0.kernel"], drawn(fanin.LecunNormal, "layers_0.kernel", (3, 8, 8)))


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


class Flagged(nn.Module):
    """A module whose call has flags."""

    @nn.compact
    def __call__(self, x: Any, train: bool, *, wide: bool = False) -> Any:
        x = nn.Dense(9 if wide else 4, name="fc")(x)
        return nn.BatchNorm(use_running_average=not train, name="norm")(x)


INPUTS: dict[str, Any] = {
    "a shape": jax.ShapeDtypeStruct((1, 8), jnp.float32),
    "an array of JAX": jnp.ones((1, 8)),
    "an array of NumPy": np.ones((1, 8), np.float32),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_layers_of_a_call(kind: str) -> None:
    """`layers_of` calls a module as one does: with flags that are no arrays, and with shapes or arrays."""
    variables, layers = layers_of(Flagged(), INPUTS[kind], train=True, wide=True)
    assert variables["params"]["fc"]["kernel"].shape == (8, 9)
    assert {path: layer.type for path, layer in layers.items()} == {"": "Flagged", "fc": "Dense", "norm": "BatchNorm"}


def test_flags_by_position() -> None:
    """Flags may stand anywhere."""
    variables, _ = layers_of(Flagged(), INPUTS["a shape"], True)
    assert variables["params"]["fc"]["kernel"].shape == (8, 4)


def test_layers_derived_from_linens() -> None:
    """A layer that derives from one of flax's has its kernels."""

    class Own(nn.DenseGeneral):
        """A layer of one's own."""

    variables, layers = layers_of(Own((2, 4)), SMALL_INPUT)
    assert FLAX.plan(variables, layers=layers).entry("kernel").fans == (8, 8)
