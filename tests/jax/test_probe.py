"""`fanin.jax.probe`: linen and nnx modules, against numbers worked out by hand, and nothing changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
import jax
import jax.numpy as jnp
from flax import linen, nnx

import fanin
import fanin.jax


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return fanin.RandomNormal(stddev=1.0, seed=7)(shape)


HIDDEN, OUTPUT = np.array([[1.0, 0, -1], [0, 2, -1]], np.float32), np.array([[1.0], [-1], [3]], np.float32)
BATCH = np.array([[1.0, 1.0], [3.0, 1.0]], np.float32)  # hidden: 1 2 -2 and 3 2 -4; outputs: -0.5 and 1.5


class Relu(linen.Module):
    """An activation as a module, so that it is seen."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.relu(x)


class NnxRelu(nnx.Module):
    """The same for nnx."""

    def __call__(self, x: Any) -> Any:
        return nnx.relu(x)


def linen_by_hand() -> tuple[Any, dict[str, Any]]:
    """Two inputs, three hidden units of which one is dead, one output; and the variables."""
    hidden, output = {"kernel": HIDDEN, "bias": np.zeros(3)}, {"kernel": OUTPUT, "bias": np.array([0.5])}
    model = linen.Sequential([linen.Dense(3), Relu(), linen.Dense(1)])
    return model, {"variables": {"params": {"layers_0": hidden, "layers_2": output}}}


def nnx_by_hand() -> tuple[Any, dict[str, Any]]:
    """The same for nnx."""
    rngs = nnx.Rngs(0)
    model: Any = nnx.Sequential(nnx.Linear(2, 3, rngs=rngs), NnxRelu(), nnx.Linear(3, 1, rngs=rngs))
    for layer, kernel, bias in ((0, HIDDEN, [0.0, 0, 0]), (2, OUTPUT, [0.5])):
        model.layers[layer].kernel[...] = jnp.array(kernel)
        model.layers[layer].bias[...] = jnp.array(bias)
    return model, {}


both = pytest.mark.parametrize("make", [linen_by_hand, nnx_by_hand], ids=["linen", "nnx"])


@both
def test_moments_by_hand(make: Any) -> None:
    """Mean, standard deviation, share of zeros and dead units of a network that fits a sheet of paper."""
    model, options = make()
    hidden, relu, output = fanin.jax.probe(model, BATCH, **options).layers
    assert [each.path.replace("_", ".") for each in (hidden, relu, output)] == ["layers.0", "layers.1", "layers.2"]
    assert hidden.output.mean == pytest.approx(2 / 6)
    assert hidden.output.std == pytest.approx(math.sqrt(38 / 6 - 1 / 9))
    assert (relu.output.zeros, relu.output.dead, relu.output.units) == (2 / 6, 1, 3)
    assert (output.output.mean, output.output.std) == (0.5, 1.0)
    assert output.expected == pytest.approx(math.sqrt(3 * (11 / 3) * (18 / 6) + 0.25))


@both
def test_gradients_by_hand(make: Any) -> None:
    """The gradient of the sum of squares: 2y at the output, and backwards through weights and the ReLU's mask."""
    model, options = make()
    hidden, relu, output = fanin.jax.probe(model, BATCH, loss=lambda y: (y**2).sum(), **options).layers
    at_output = np.array([-1.0, 3.0])
    at_relu = at_output[:, None] * np.array([1.0, -1.0, 3.0])
    at_hidden = at_relu * np.array([1.0, 1.0, 0.0])
    gradients = [each.gradient.std if each.gradient else None for each in (hidden, relu, output)]
    assert gradients == pytest.approx([at_hidden.std(), at_relu.std(), at_output.std()])
    kernel = hidden.parameters["kernel"]
    assert kernel.values.std == pytest.approx(HIDDEN.std())
    assert kernel.gradient is not None
    assert kernel.gradient.std == pytest.approx((at_hidden.T @ BATCH).std())


class Net(linen.Module):
    """A module that draws, keeps statistics, computes layers again, and takes more than an array."""

    @linen.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = linen.BatchNorm(use_running_average=not train, name="norm")(linen.Conv(8, (3, 3), name="conv")(x))
        x = linen.Dropout(0.5, deterministic=not train, name="dropout")(linen.relu(x))
        x = linen.remat(linen.Conv)(8, (3, 3), strides=2, padding=1, name="again")(x)
        shared = linen.Dense(8, name="shared")
        return linen.Dense(3, name="head")(shared(shared(x)).mean((1, 2)))


def test_linen() -> None:
    """Rows are in the order of the calls, with gradients; collections stay; the seed is that of dropout."""
    model, x = Net(), normal(8, 8, 8, 3)
    variables = model.init(jax.random.key(0), x)
    before = jax.tree.map(np.array, variables)
    probes = [fanin.jax.probe(model, {"x": x, "train": True}, variables=variables, seed=seed) for seed in (1, 1, 2)]
    names = [each.name for each in probes[0].layers]
    assert names == ["conv", "norm", "dropout", "again", "shared", "shared#2", "head"]
    assert all(each.gradient is not None for each in probes[0].layers)
    assert all(each.gradient is not None for each in probes[0]["again"].parameters.values())
    assert probes[0].as_dict() == probes[1].as_dict() != probes[2].as_dict()
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == np.array(b)).all()), before, variables))
    assert probes[0]["dropout"].output.zeros == pytest.approx(0.75, abs=0.05)


class NnxNet(nnx.Module):
    """The same kinds of layers in nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv, self.norm = nnx.Conv(3, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.dropout, self.head = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.head(self.dropout(nnx.relu(self.norm(self.conv(x)))).mean((1, 2)))


def state_of(model: Any) -> list[bytes]:
    """The bytes of all that an nnx module has, its generators' keys and counts among them."""
    arrays = [variable.get_value() for _, variable in nnx.to_flat_state(nnx.state(model))]
    data = [jax.random.key_data(each) if jnp.issubdtype(each.dtype, jax.dtypes.prng_key) else each for each in arrays]
    return [np.asarray(each).tobytes() for each in data]


@pytest.mark.parametrize("gradients", [True, False])
def test_nnx(gradients: bool) -> None:
    """A module's statistics and generators stay, and so do the methods of its classes, after an exception, too."""
    model, x = NnxNet(nnx.Rngs(0)), normal(8, 8, 8, 3)
    before, methods = state_of(model), [vars(cls)["__call__"] for cls in (nnx.Conv, nnx.Linear, NnxNet)]
    probe = fanin.jax.probe(model, x, gradients=gradients)
    assert [each.path for each in probe.layers] == ["conv", "norm", "dropout", "head"]
    assert all((each.gradient is not None) == gradients for each in probe.layers)
    with pytest.raises(AttributeError):
        fanin.jax.probe(model, "no array")
    assert state_of(model) == before
    assert [vars(cls)["__call__"] for cls in (nnx.Conv, nnx.Linear, NnxNet)] == methods


@pytest.mark.parametrize(
    "layer",
    [
        linen.Conv(64, (3, 3)),
        linen.Conv(64, (3, 3), strides=2, padding="VALID"),
        linen.Conv(64, (3, 3), kernel_dilation=2, padding=((2, 1), (0, 2))),
        linen.Conv(64, (3, 3), feature_group_count=4, padding="CIRCULAR"),
        linen.Dense(64),
        linen.DenseGeneral(64, axis=(-2, -1)),
    ],
    ids=["same", "valid", "dilated", "grouped", "dense", "general"],
)
def test_theory_is_right_for_random_weights(layer: Any) -> None:
    """What theory expects of independent inputs is there, where windows hang over the edge, too."""
    x = normal(64, 9, 9, 8)
    variables = layer.init(jax.random.key(0), x)
    kernel = fanin.RandomNormal(stddev=0.1, seed=1)(variables["params"]["kernel"].shape)
    variables = {"params": {**variables["params"], "kernel": kernel}}
    [probed] = fanin.jax.probe(layer, x, variables=variables).layers
    assert probed.ratio == pytest.approx(1, abs=0.05)


class Block(linen.Module):
    """A block that is scanned over."""

    @linen.compact
    def __call__(self, x: Any, _: Any) -> tuple[Any, None]:
        return linen.Dense(4)(x), None


class Scanned(linen.Module):
    """Layers in a compiled loop, and one after it."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        scan = linen.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = scan()(x, None)
        return linen.Dense(2, name="head")(x)


def test_layers_in_compiled_loops_are_left_out() -> None:
    """And a note says so."""
    model, x = Scanned(), normal(5, 4)
    probe = fanin.jax.probe(model, x, variables=model.init(jax.random.key(0), x))
    assert [each.path for each in probe.layers] == ["head"]
    assert "Dense_0 is left out: it runs within a compiled loop" in probe.notes[0]
    assert probe.notes[0] in str(probe)


def test_layers_by_globs() -> None:
    """`layers` chooses modules, and must match one."""
    model, options = linen_by_hand()
    assert [each.path for each in fanin.jax.probe(model, BATCH, layers="*_2", **options).layers] == ["layers_2"]
    with pytest.raises(ValueError, match="`layers` must match layers"):
        fanin.jax.probe(model, BATCH, layers="*_3", **options)


def test_refusals() -> None:
    """A linen module without its variables, and what is no module of flax."""
    with pytest.raises(ValueError, match=r"A module of flax\.linen must come with its variables"):
        fanin.jax.probe(linen.Dense(3), BATCH)
    with pytest.raises(TypeError, match=r"`model` must be a module of flax\.linen or flax\.nnx"):
        fanin.jax.probe(lambda x: x, BATCH)


class Forgetful(nnx.Module):
    """A norm that its code does not call."""

    def __init__(self) -> None:
        self.fc = nnx.Linear(8, 8, rngs=nnx.Rngs(0))
        self.norm = nnx.LayerNorm(8, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return self.fc(x)


def test_layers_that_do_not_run() -> None:
    """A layer that neither runs nor gets a gradient has a note."""
    [note] = fanin.jax.probe(Forgetful(), normal(32, 8)).notes
    assert note.startswith("norm did not run, and no gradient comes to its parameters")


def test_batches_that_are_wrong() -> None:
    """One that is not finite is told first; one without samples is refused."""
    model, options = linen_by_hand()
    first, *_ = fanin.jax.probe(model, np.full_like(BATCH, np.nan), **options).verdicts
    assert first.sentence.startswith("the batch itself has 4 of 4 numbers that are NaN or infinite; ")
    with pytest.raises(ValueError, match=r"`batch` must have samples\. Received: a batch of shape \(0, 2\)"):
        fanin.jax.probe(model, BATCH[:0], **options)
