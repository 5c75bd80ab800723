"""`recipe_of`: a recipe of the initializers that JAX modules have, with the distributions that their own code draws."""

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
from agreement import check_plan
from fanin.jax import as_jax, initialize, layers_of, recipe_of
from fanin.jax import initializers as own
from fanin.jax.trees import tree_of

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
KEY = jax.random.key(3)
INIT = jax.nn.initializers
TOKENS, PICTURES, VECTORS = jnp.arange(12).reshape(2, 6), jnp.ones((2, 8, 8, 6)), jnp.ones((2, 5, 24))


def values_of(model: Any, layers: Any = None) -> dict[str, np.ndarray]:
    """The arrays of a model by the paths of its plan."""
    leaves = [leaf for leaf in tree_of(model, layers).leaves if leaf.parameter is not None]
    return {leaf.path: np.asarray(leaf.value) for leaf in leaves}


def check(make: Callable[[], Any]) -> Any:
    """The plan of a function's recipe agrees with what the function draws; returns it."""
    plan = recipe_of(make, seed=5).plan(jax.eval_shape(make) if not is_nnx(make) else nnx.eval_shape(make))
    check_plan(plan, values_of(make()))
    return plan


def is_nnx(make: Callable[[], Any]) -> bool:
    """Whether a function makes a module of flax.nnx."""
    return isinstance(make(), nnx.Module)


def check_linen(module: Any, *args: Any) -> Any:
    """The plan of a linen module's recipe agrees with what its `init` draws; returns it."""
    layers = layers_of(module, *args)
    plan = recipe_of(module, *args, seed=5).plan(layers)
    check_plan(plan, values_of(module.init(KEY, *args), layers[1]))
    return plan


def descriptions(plan: Any) -> dict[str, str]:
    """What each array gets, in words, by its path."""
    return {entry.path: entry.description for entry in plan.entries}


# Whole models


class Block(nn.Module):
    """Attention and a network of two layers, with initializers of their own."""

    @nn.compact
    def __call__(self, x: Any, _: Any = None) -> Any:
        x = x + nn.MultiHeadDotProductAttention(4, kernel_init=INIT.xavier_uniform())(nn.LayerNorm()(x))
        hidden = nn.gelu(nn.Dense(96, kernel_init=INIT.normal(0.02), bias_init=INIT.normal(1e-3))(nn.RMSNorm()(x)))
        return x + nn.Dense(24, kernel_init=INIT.variance_scaling(0.5, "fan_out", "normal"))(hidden), None


class Transformer(nn.Module):
    """Embeddings and a stack of blocks, made by `nn.scan` along an axis."""

    axis: int = 0

    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        x = nn.Embed(97, 24)(tokens)
        x = x + self.param("positions", INIT.truncated_normal(0.02, lower=-3, upper=3), (6, 24))
        axes: Any = {"params": self.axis}
        x, _ = nn.scan(Block, variable_axes=axes, split_rngs={"params": True}, length=3)(name="blocks")(x, None)
        return nn.DenseGeneral((5, 7), kernel_init=INIT.lecun_uniform())(x)


class Pictures(nn.Module):
    """Convolutions, norms and statistics."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(24, (3, 3), kernel_init=INIT.he_normal())(x)
        x = nn.BatchNorm(use_running_average=True, scale_init=INIT.constant(0.5))(x)
        x = nn.Conv(24, (3, 3), feature_group_count=24)(nn.GroupNorm(4)(x))
        x = nn.ConvTranspose(16, (2, 2), kernel_init=INIT.glorot_normal())(x)
        return nn.Dense(10, kernel_init=INIT.zeros)(x.mean((1, 2)))


class Sequences(nn.Module):
    """Recurrent cells, whose gates are layers or one layer."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.RNN(nn.LSTMCell(16))(x)
        x = nn.RNN(nn.GRUCell(16))(x)
        return nn.RNN(nn.OptimizedLSTMCell(16))(x)


LINEN: dict[str, tuple[Any, Any]] = {
    "transformer": (Transformer(), TOKENS),
    "transformer along another axis": (Transformer(1), TOKENS),
    "pictures": (Pictures(), PICTURES),
    "sequences": (Sequences(), VECTORS),
}


@pytest.mark.parametrize("name", LINEN)
def test_linen(name: str) -> None:
    """Modules of flax.linen."""
    check_linen(*LINEN[name])


def test_equal_layers_of_a_loop() -> None:
    """A loop whose turns share a key makes the same values in each, which is no draw of the whole stack."""

    class Equal(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            axes: Any = {"params": 0}
            return nn.scan(Block, variable_axes=axes, split_rngs={"params": False}, length=3)()(x, None)[0]

    text = raised(ValueError, lambda: recipe_of(Equal(), VECTORS))
    assert "Dense_0.kernel (3, 24, 96), Dense: a loop makes the same draw in each turn" in text
    assert "RMSNorm" not in text


class NnxModel(nnx.Module):
    """Layers of nnx, some in a stack."""

    def __init__(self, rngs: Any) -> None:
        self.embed = nnx.Embed(97, 24, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 24, 40, kernel_init=INIT.xavier_uniform(), rngs=rngs)
        self.stack = nnx.vmap(lambda each: nnx.Linear(24, 24, rngs=each))(rngs.fork(split=3))
        self.conv = nnx.Conv(24, 16, (3, 3), kernel_init=INIT.kaiming_normal(), rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.cell = nnx.OptimizedLSTMCell(16, 16, rngs=rngs)
        self.lora = nnx.LoRA(16, 4, 16, rngs=rngs)
        self.token = nnx.Param(0.02 * jax.random.normal(rngs.params(), (30, 24)))


class EquinoxModel(eqx.Module):
    """Layers of equinox, some in a stack."""

    layers: list[Any]
    stack: Any
    token: jax.Array

    def __init__(self, key: Any) -> None:
        first, second, third = jax.random.split(key, 3)
        makers = (
            lambda key: eqx.nn.Conv2d(4, 24, 3, key=key),
            lambda key: eqx.nn.ConvTranspose1d(6, 8, 3, key=key),
            lambda key: eqx.nn.LSTMCell(12, 16, key=key),
            lambda key: eqx.nn.GRUCell(12, 16, key=key),
            lambda key: eqx.nn.MultiheadAttention(2, 24, key=key),
            lambda key: eqx.nn.Embedding(30, 24, key=key),
            lambda key: eqx.nn.MLP(6, 4, 20, 2, key=key),
            lambda key: eqx.nn.LayerNorm(8),
            lambda key: eqx.nn.PReLU(),
        )
        self.layers = [make(each) for make, each in zip(makers, jax.random.split(first, len(makers)), strict=True)]
        self.stack = eqx.filter_vmap(lambda key: eqx.nn.Linear(24, 24, key=key))(jax.random.split(second, 3))
        self.token = 0.02 * jax.random.normal(third, (30, 24))


def test_nnx() -> None:
    """A function that makes a module of flax.nnx."""
    found = descriptions(check(lambda: NnxModel(nnx.Rngs(4))))
    assert found["attention.query.kernel"] == "GlorotUniform()"
    assert found["conv.kernel"] == "HeNormal()"
    assert found["token"] == "RandomNormal(mean=0, stddev=0.02)"


def test_equinox_by_its_function() -> None:
    """A function that makes a module of equinox."""
    model = EquinoxModel(KEY)
    plan = recipe_of(lambda: EquinoxModel(KEY), seed=5).plan(model)
    check_plan(plan, values_of(model))
    assert descriptions(plan)["layers.0.bias"] == "RandomUniform(minval=-0.166667, maxval=0.166667)"


def test_equinox_modules() -> None:
    """A module of equinox itself has the recipe of the function that made it."""
    model = EquinoxModel(KEY)
    assert recipe_of(model, seed=5) == recipe_of(lambda: EquinoxModel(KEY), seed=5)


def test_trees_of_functions() -> None:
    """Any function that makes a tree of arrays, without a framework."""

    def make() -> Any:
        first, second = jax.random.split(KEY)
        return {"w": jax.random.uniform(first, (40, 50), minval=-0.3, maxval=0.1), "b": jax.random.laplace(second, ())}

    text = raised(ValueError, lambda: recipe_of(make))
    assert "\n  b (), no known layer: log1p of drawn values makes it" in text or "b ()" in text


def test_plans_are_drawn() -> None:
    """`initialize` takes the recipe, and the arrays are the plan's."""
    module, inputs = LINEN["pictures"]
    layers = layers_of(module, inputs)
    recipe = recipe_of(module, inputs, seed=7)
    made, report = initialize(layers, recipe)
    assert not report.kept
    values = values_of(made, layers[1])
    for entry in recipe.plan(layers).entries:
        assert values[entry.path].tobytes() == entry.make().tobytes()


def test_files_have_the_same_plan() -> None:
    """The recipe is one that a file can hold."""
    module, inputs = LINEN["transformer"]
    layers = layers_of(module, inputs)
    recipe = recipe_of(module, inputs, seed=9)
    assert recipe.seed == 9
    read = fanin.Recipe.from_toml(recipe.to_toml())
    assert descriptions(read.plan(layers)) == descriptions(recipe.plan(layers))
    assert [each.seeds for each in read.plan(layers).entries] == [each.seeds for each in recipe.plan(layers).entries]


# Initializers


def initializer_of(init: Callable[..., Any], shape: tuple[int, ...] = (40, 50), dtype: Any = jnp.float32) -> str:
    """How the kernel of a dense layer is planned, whose draw agrees with it."""

    def make() -> Any:
        return nnx.Linear(*shape, kernel_init=init, use_bias=False, param_dtype=dtype, rngs=nnx.Rngs(2))

    return descriptions(check(make))["kernel"]


DTYPES = [jnp.float32, jnp.bfloat16, jnp.float16]
INITIALIZERS: dict[str, tuple[Callable[..., Any], str]] = {
    "zeros": (INIT.zeros, "Zeros()"),
    "ones": (INIT.ones, "Ones()"),
    "constant": (INIT.constant(0.3), "Constant(value=0.3)"),
    "uniform": (INIT.uniform(0.5), "RandomUniform(minval=0, maxval=0.5)"),
    "normal": (INIT.normal(0.02), "RandomNormal(mean=0, stddev=0.02)"),
    "truncated_normal": (INIT.truncated_normal(0.02), "TruncatedNormal(mean=0, stddev=0.02)"),
    "truncated at other bounds": (
        INIT.truncated_normal(0.5, lower=-1, upper=3),
        "TruncatedNormal(mean=0, stddev=0.5, minval=-0.5, maxval=1.5)",
    ),
    "lecun_normal": (INIT.lecun_normal(), "LecunNormal()"),
    "lecun_uniform": (INIT.lecun_uniform(), "LecunUniform()"),
    "he_normal": (INIT.he_normal(), "HeNormal()"),
    "he_uniform": (INIT.he_uniform(), "HeUniform()"),
    "glorot_normal": (INIT.glorot_normal(), "GlorotNormal()"),
    "glorot_uniform": (INIT.glorot_uniform(), "GlorotUniform()"),
    "orthogonal": (INIT.orthogonal(2.0), "Orthogonal(gain=2)"),
    "a function of one's own": (
        lambda key, shape, dtype: 3 - jax.random.normal(key, shape, dtype) / 4,
        "RandomNormal(mean=3, stddev=0.25)",
    ),
    "a uniform draw, turned over": (
        lambda key, shape, dtype: -jax.random.uniform(key, shape, dtype, minval=-0.25, maxval=1),
        "RandomUniform(minval=-1, maxval=0.25)",
    ),
    "exponential": (
        lambda key, shape, dtype: jax.random.exponential(key, shape, dtype) / 4,
        "Exponential(rate=4)",
    ),
    "log-normal": (
        lambda key, shape, dtype: jnp.exp(jax.random.normal(key, shape, dtype) / 2 - 1),
        "LogNormal(mean=-1, stddev=0.5)",
    ),
    "Bernoulli": (
        lambda key, shape, dtype: jax.random.bernoulli(key, 0.25, shape).astype(dtype),
        "Bernoulli(p=0.25)",
    ),
    "parts of one draw": (
        lambda key, shape, dtype: jnp.concatenate(
            [INIT.normal(0.5)(each, (20, 50), dtype) for each in jax.random.split(key)]
        ),
        "RandomNormal(mean=0, stddev=0.5)",
    ),
    "a draw under jit": (jax.jit(INIT.normal(0.5), static_argnums=(1, 2)), "RandomNormal(mean=0, stddev=0.5)"),
    "a constant that is computed": (
        lambda key, shape, dtype: jnp.cos(jnp.zeros(shape, dtype)) * 0.5,
        "Constant(value=0.5)",
    ),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers(name: str) -> None:
    """Every initializer of `jax.nn.initializers`, and what may be made of them."""
    init, described = INITIALIZERS[name]
    assert initializer_of(init) == described


OURS: dict[str, tuple[Callable[..., Any], str]] = {
    "he_normal": (own.he_normal(), "HeNormal()"),
    "lecun_uniform": (own.lecun_uniform(), "LecunUniform()"),
    "normal": (own.normal(0.02), "RandomNormal(mean=0, stddev=0.02)"),
    "uniform": (own.uniform(0.3), "RandomUniform(minval=0, maxval=0.3)"),
    "truncated_normal": (own.truncated_normal(0.1), "TruncatedNormal(mean=0, stddev=0.1)"),
    "one bound": (as_jax(fanin.TruncatedNormal(0, 1, minval=-0.25)), "TruncatedNormal(mean=0, stddev=1, minval=-0.25"),
    "orthogonal": (own.orthogonal(2.0), "Orthogonal(gain=2)"),
    "zeros": (own.zeros, "Zeros()"),
    "constant": (own.constant(0.5), "Constant(value=0.5)"),
    "name": (as_jax("he_normal"), "HeNormal()"),
    "other axes": (as_jax(fanin.HeNormal(), layout="torch"), "TruncatedNormal(mean=0, stddev=0.227369)"),
    "Exponential": (as_jax(fanin.Exponential(2.0)), "Exponential(rate=2)"),
    "LogNormal": (as_jax(fanin.LogNormal(0.0, 0.5)), "LogNormal(mean=0, stddev=0.5)"),
    "Bernoulli": (as_jax(fanin.Bernoulli(0.25)), "Bernoulli(p=0.25)"),
    "Dirac": (as_jax(fanin.Dirac()), "Dirac(gain=1, groups=1)"),
    "Identity": (as_jax(fanin.Identity(2.0)), "Identity(gain=2)"),
    "scaled": (lambda *args: 2 * own.normal(0.02)(*args), "RandomNormal(mean=0, stddev=0.04)"),
    "reshaped": (lambda key, shape, dtype: own.normal(0.02)(key, (2000,)).reshape(shape), "RandomNormal(mean=0, "),
}


@pytest.mark.parametrize("name", OURS)
def test_initializers_of_fanin(name: str) -> None:
    """Those of `fanin.jax.initializers` and `as_jax` are read as JAX's are, whose values a callback makes."""
    init, described = OURS[name]
    assert initializer_of(init).startswith(described)


def test_initializers_of_fanin_in_linen() -> None:
    """Attention reshapes what they make, and a loop over layers stacks it."""
    inits: Any = {"kernel_init": own.he_normal(), "bias_init": own.truncated_normal(0.1)}
    found = descriptions(check_linen(nn.MultiHeadDotProductAttention(4, **inits), VECTORS, VECTORS))
    assert set(found.values()) == {"HeNormal()", "TruncatedNormal(mean=0, stddev=0.1)"}


@pytest.mark.parametrize("size", [(5,), (3, 3), (2, 5)])
@pytest.mark.parametrize("library", [INIT, own])
def test_delta_orthogonal_kernels(library: Any, size: tuple[int, ...]) -> None:
    """An orthogonal matrix at the centre of a convolution's kernel, which JAX writes into zeros."""
    init = library.delta_orthogonal(2.0)
    make = lambda: nnx.Conv(4, 6, size, kernel_init=init, use_bias=False, rngs=nnx.Rngs(2))  # noqa: E731
    plan = recipe_of(make).plan(nnx.eval_shape(make))
    assert descriptions(plan) == {"kernel": "DeltaOrthogonal(gain=2)"}
    (entry,) = plan.entries
    assert ((entry.make() != 0) == (np.asarray(make().kernel[...]) != 0)).all()


@pytest.mark.parametrize("init", [own.normal(0.5), own.variance_scaling(1.0, "fan_in", "normal")])
def test_complex_parameters(init: Callable[..., Any]) -> None:
    """Those of fanin's complex normals are read, with a number for what fans have made of it."""
    make = lambda: nnx.Linear(4, 6, kernel_init=init, param_dtype=jnp.complex64, rngs=nnx.Rngs(2))  # noqa: E731
    plan = recipe_of(make).plan(nnx.eval_shape(make))
    assert descriptions(plan) == {"bias": "Zeros()", "kernel": "ComplexNormal(stddev=0.5)"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["normal", "constant", "lecun_normal", "he_uniform", "truncated at other bounds"])
def test_dtypes(name: str, dtype: str) -> None:
    """Numbers that JAX has rounded are the shortest ones that round so."""
    init, described = INITIALIZERS[name]
    make = lambda: nnx.Linear(40, 50, kernel_init=init, use_bias=False, param_dtype=dtype, rngs=nnx.Rngs(2))  # noqa: E731
    assert descriptions(recipe_of(make).plan(nnx.eval_shape(make)))["kernel"] == described


def test_fans_of_other_axes() -> None:
    """A deviation that does not follow from the layer's own fans is a number."""
    init = INIT.he_normal(in_axis=-1, out_axis=-2)
    assert initializer_of(init, (10, 200)).startswith("TruncatedNormal(mean=0, stddev=0.113")


def test_tables() -> None:
    """What is computed without random values is a table, in Keras's order of axes."""

    class Model(eqx.Module):
        linear: eqx.nn.Linear

        def __init__(self) -> None:
            linear = eqx.nn.Linear(2, 3, use_bias=False, key=KEY)
            self.linear = eqx.tree_at(lambda each: each.weight, linear, jnp.arange(6.0).reshape(3, 2))

    plan = recipe_of(Model).plan(Model())
    check_plan(plan, values_of(Model()))
    assert descriptions(plan) == {"linear.weight": "Table(values=[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]])"}


# What cannot be read


def raised(kind: type[Exception], call: Callable[[], Any]) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def reason(init: Callable[..., Any]) -> str:
    """Why an initializer cannot be read."""
    make = lambda: nnx.Linear(4, 6, kernel_init=init, use_bias=False, rngs=nnx.Rngs(2))  # noqa: E731
    text = raised(ValueError, lambda: recipe_of(make))
    rule = "Each parameter must have an initializer that fanin can read. Received: 1 parameter that has another:"
    assert text.startswith(f"{rule}\n  kernel (4, 6), Linear: ")
    return text.splitlines()[1].partition("Linear: ")[2]


REASONS: dict[str, tuple[Callable[..., Any], str]] = {
    "clipped": (
        lambda key, shape, dtype: jnp.clip(jax.random.normal(key, shape), -1, 1),
        "max of drawn values makes it",
    ),
    "repeated": (
        lambda key, shape, dtype: jnp.broadcast_to(jax.random.normal(key, shape[1:]), shape),
        "broadcast_in_dim of drawn values makes it, in line ",
    ),
    "changed in a row": (
        lambda key, shape, dtype: jax.random.normal(key, shape).at[0].set(0),
        "scatter of drawn values makes it, in line ",
    ),
    "product of two": (
        lambda key, shape, dtype: jax.random.normal(key, shape) * jax.random.normal(key, shape),
        "mul of drawn values makes it, in line ",
    ),
    "of NumPy": (
        lambda key, shape, dtype: jnp.asarray(np.random.normal(size=shape)),
        "its values come from outside of the function",
    ),
    "random bits": (
        lambda key, shape, dtype: jax.random.bits(key, shape).astype(dtype),
        "it is made of random bits by a function that fanin does not know",
    ),
    "bounds by element": (
        lambda key, shape, dtype: jax.random.uniform(key, shape, maxval=jnp.arange(6.0)),
        "the bounds of a uniform draw differ by element, or are random, in line ",
    ),
    "complex scaling": (
        lambda key, shape, _: own.he_normal()(key, shape, jnp.complex64),
        "it is complex truncated normal",
    ),
    "complex constant": (lambda key, shape, _: jnp.full(shape, 1j, jnp.complex64), "it is a complex constant"),
    "complex normal of JAX": (lambda key, shape, _: INIT.normal()(key, shape, jnp.complex64), "mul of drawn values"),
    "order of axes": (
        as_jax(fanin.Sinusoidal(), layout="torch"),
        "Sinusoidal makes it in another order of axes than that of its layer",
    ),
    "part": (
        lambda key, shape, dtype: as_jax(fanin.Dirac())(key, (9, 6), dtype)[:4],
        "slice of made values makes it",
    ),
    "columns first": (INIT.orthogonal(column_axis=0), "it is an orthogonal matrix whose columns are not the last axis"),
}


@pytest.mark.parametrize("name", REASONS)
def test_reasons(name: str) -> None:
    """What fanin does not follow is said with the line of the code, and never guessed."""
    init, beginning = REASONS[name]
    assert reason(init).startswith(beginning)


def test_lines_are_those_of_the_code() -> None:
    """The line is that of the function, in its file."""
    assert "test_recipe_of.py" in reason(REASONS["changed in a row"][0])


def test_copies() -> None:
    """A second array of the same draw has no distribution of its own."""

    def make() -> Any:
        first = INIT.normal()(KEY, (30, 20))
        return {"first": first, "second": first * 2, "third": INIT.normal()(KEY, (30, 20))[:15]}

    text = raised(ValueError, lambda: recipe_of(make))
    assert text.splitlines()[1:-1] == ["  second (30, 20), no known layer: it has the values of first."]


def test_what_is_kept() -> None:
    """What cannot be read stays as it is, with a warning; a rule of one's own in front changes that."""

    def make() -> Any:
        return {"w": INIT.normal()(KEY, (30, 20)), "odd": jax.random.normal(KEY, (3,)) ** 2}

    with pytest.warns(UserWarning, match="keeps parameters as they are whose initializers fanin cannot read"):
        recipe = recipe_of(make, unreadable="warn")
    assert [entry.path for entry in recipe.plan(make()).entries if entry.kept] == ["odd"]
    plan = recipe.extend([{"path": "odd", "initializer": "ones"}]).plan(make())
    assert descriptions(plan)["odd"] == "Ones()"


def test_models_that_were_there_before() -> None:
    """A function that returns a module made before tells nothing."""
    model = nnx.Linear(4, 6, rngs=nnx.Rngs(2))
    text = raised(ValueError, lambda: recipe_of(lambda: model))
    assert "kernel (4, 6), Linear: its values come from outside of the function" in text


def test_nnx_modules() -> None:
    """Modules of flax.nnx do not keep their initializers."""
    text = raised(TypeError, lambda: recipe_of(nnx.Linear(4, 6, rngs=nnx.Rngs(2))))
    assert "such as `lambda: Model(rngs=nnx.Rngs(0))`: modules of flax.nnx do not keep their initializers." in text


def test_changed_equinox_modules() -> None:
    """A module of equinox that was changed after it was made does not have its constructor's values."""
    model = eqx.nn.MLP(6, 4, 20, 2, key=KEY)
    model = eqx.tree_at(lambda each: each.layers[1].weight, model, replace_fn=lambda weight: weight * 3)
    text = raised(ValueError, lambda: recipe_of(model))
    assert text.splitlines()[1:-1] == [
        "  layers.1.weight (20, 20), Linear: its values are not those that its layer's constructor draws: it was "
        "changed, or trained."
    ]


def test_shapes_of_equinox() -> None:
    """Shapes do not show whether a module was changed."""
    shapes = eqx.filter_eval_shape(eqx.nn.Linear, 3, 4, key=KEY)
    text = raised(ValueError, lambda: recipe_of(shapes))
    assert "a shape does not tell whether its layer was changed after it was made" in text
    assert "Pass a function without arguments that makes the model" in text


def test_arguments_that_equinox_does_not_keep() -> None:
    """A layer of one's own that forgets what it draws by."""

    class Forgetful(eqx.Module):
        w: jax.Array

        def __init__(self, stddev: float, key: Any) -> None:
            self.w = stddev * jax.random.normal(key, (30, 20))

    text = raised(ValueError, lambda: recipe_of(Forgetful(0.5, KEY)))
    assert "does not keep its argument 'stddev', which may say how it is drawn" in text
    assert descriptions(recipe_of(lambda: Forgetful(0.5, KEY)).plan(Forgetful(1.0, KEY))) == {
        "w": "RandomNormal(mean=0, stddev=0.5)"
    }


def test_arguments_without_linen() -> None:
    """Only modules of linen take inputs."""
    text = raised(TypeError, lambda: recipe_of(lambda: nnx.Linear(4, 6, rngs=nnx.Rngs(2)), VECTORS))
    assert text.startswith("Arguments are for modules of flax.linen, which they give their shapes.")


@pytest.mark.parametrize("other", [3, "model", np.ones(3), {"w": np.ones(3)}], ids=["3", "str", "array", "tree"])
def test_other_things_than_models(other: Any) -> None:
    """Neither a module nor a function."""
    text = raised(TypeError, lambda: recipe_of(other))
    assert text.startswith("`model` must be a module of flax.linen or equinox, or a function without arguments")


def test_nothing_is_drawn() -> None:
    """Models of any size are read without memory for their arrays."""
    make = lambda: nnx.Embed(10**7, 10**6, rngs=nnx.Rngs(0))  # noqa: E731
    (rule,) = recipe_of(make).rules
    assert rule.as_dict()["stddev"] == 1e-3
