"""Models of haiku, and adapters of flax, which are known by the names of their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("haiku")

import haiku as hk
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import fanin
from fanin.jax import initialize, layers_of
from jax_kit import FLAX, KERAS, Holder, drawn, flat, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


def dense(x: Any) -> Any:
    """A perceptron, a norm, and a table."""
    x = hk.LayerNorm(-1, create_scale=True, create_offset=True)(hk.nets.MLP([8, 4])(x))
    return x + hk.Embed(10, 4)(jnp.zeros(2, int))


def convolutional(x: Any) -> Any:
    """Convolutions of three kinds."""
    return hk.Conv2DTranspose(6, 3)(hk.DepthwiseConv2D(2, 3)(hk.Conv2D(4, 3)(x)))


def shapes_of(function: Any, x: Any) -> Any:
    """The shapes of a function's parameters."""
    return jax.eval_shape(hk.transform(function).init, jax.random.key(0), x)


X, PICTURES = jnp.ones((2, 6)), jnp.ones((2, 8, 8, 3))
# The initializer of each array under the preset, its shape in Keras's order, and its arguments.
MADE: dict[str, tuple[Any, tuple[int, ...], dict[str, Any]]] = {
    "mlp.~.linear_0.w": (fanin.LecunNormal, (6, 8), {}),
    "mlp.~.linear_1.w": (fanin.LecunNormal, (8, 4), {}),
    "embed.embeddings": (fanin.RandomNormal, (10, 4), {"stddev": 0.5}),
    "conv2_d.w": (fanin.LecunNormal, (3, 3, 3, 4), {}),
    "depthwise_conv2_d.w": (fanin.LecunNormal, (3, 3, 1, 8), {}),
}


@pytest.mark.parametrize("path", MADE)
def test_kernels_of_haiku(path: str) -> None:
    """Kernels and tables are those of their names."""
    cls, shape, more = MADE[path]
    tree = shapes_of(convolutional, PICTURES) if "conv" in path else shapes_of(dense, X)
    made, report = initialize(tree, FLAX)
    assert not report.kept
    assert same(flat(made)[path], drawn(cls, path, shape, **more))


def test_transposed_kernels_of_haiku() -> None:
    """Their last axes are (out, in)."""
    made, _ = initialize(shapes_of(convolutional, PICTURES), FLAX)
    kernel = np.swapaxes(drawn(fanin.LecunNormal, "conv2_d_transpose.w", (3, 3, 8, 6)), 2, 3)
    assert same(flat(made)["conv2_d_transpose.w"], kernel.copy())


def test_roles_of_haiku() -> None:
    """Biases have the fans of the kernel beside them, norms have scales and offsets."""
    plan = KERAS.plan(shapes_of(dense, X))
    roles = {entry.path: (entry.parameter.role, entry.fans) for entry in plan.entries}
    assert roles["mlp.~.linear_0.b"] == ("bias", (6, 8))
    assert roles["layer_norm.scale"] == ("scale", None)
    assert roles["layer_norm.offset"] == ("offset", None)
    assert (plan.problems, plan.unmatched) == ((), ())


def test_presets_of_haiku_that_need_the_fans_of_biases() -> None:
    """PyTorch's preset has them from the kernel."""
    plan = fanin.Recipe.preset("torch").plan(shapes_of(dense, X))
    entry = plan.entry("mlp.~.linear_0.b")
    assert entry.description == "RandomUniform(minval=-0.408248, maxval=0.408248)"


def test_trees_of_another_form() -> None:
    """Elsewhere, `w` and `b` say nothing."""
    plan = FLAX.plan({"deep": {"net": {"w": jnp.zeros((3, 4)), "b": jnp.zeros(4)}}})
    assert {entry.parameter.role for entry in plan.entries} == {"other"}


def adapted() -> Any:
    """An adapter by itself, a layer with one, and a stack of adapters."""
    rngs = nnx.Rngs(0)
    stack = nnx.vmap(lambda rngs: nnx.LoRA(6, 2, 5, rngs=rngs))(rngs.fork(split=3))
    return nnx.Dict(alone=nnx.LoRA(6, 2, 5, rngs=rngs), layer=nnx.LoRALinear(6, 5, lora_rank=2, rngs=rngs), stack=stack)


CATCH_ALL = fanin.Recipe([{"path": "*", "initializer": "ones"}], seed=3)


@pytest.mark.parametrize("recipe", [FLAX, CATCH_ALL], ids=["flax", "*"])
def test_adapters_of_nnx(recipe: fanin.Recipe) -> None:
    """Zero and He's uniform, as in flax, whatever rule there is for everything."""
    made, report = initialize(nnx.eval_shape(adapted), recipe)
    values = flat(made)
    assert not report.kept
    for path in ("alone", "layer.lora"):
        assert not values[f"{path}.lora_b"].any()
        assert same(values[f"{path}.lora_a"], drawn(fanin.HeUniform, f"{path}.lora_a", (6, 2)))
    assert not values["stack.lora_b"].any()
    assert abs(values["stack.lora_a"]).max() <= 1  # sqrt(6 / fan_in)


def test_rules_for_adapters() -> None:
    """A rule that names the role changes them."""
    made, _ = initialize(nnx.eval_shape(adapted), FLAX.extend([{"role": "lora_b", "initializer": "ones"}]))
    assert flat(made)["alone.lora_b"].all()


class Adapted(nn.Module):
    """A layer of linen with an adapter of one's own."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        a = self.param("lora_a", nn.initializers.he_uniform(), (x.shape[-1], 2))
        b = self.param("lora_b", nn.initializers.zeros, (2, 5))
        return nn.Dense(5, name="fc")(x) + x @ a @ b


def test_adapters_of_linen() -> None:
    """The same names are the same in linen, with layers and without."""
    variables, layers = layers_of(Adapted(), X)
    for known in (None, layers):
        values = flat(initialize(variables, FLAX, layers=known)[0])
        assert not values["lora_b"].any()
        assert same(values["lora_a"], drawn(fanin.HeUniform, "lora_a", (6, 2)))


def test_a_module_is_kept_as_it_was() -> None:
    """What is not chosen stays."""
    module = Holder(nnx.LoRA(6, 2, 5, rngs=nnx.Rngs(0)))
    made, _ = initialize(module, FLAX, only="*.lora_b")
    assert same(flat(made)["layer.lora_a"], flat(module)["layer.lora_a"])
