"""`probe` of tf_keras and Keras 3: statistics against numbers worked out by hand or by NumPy, and nothing changes."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

import fanin
from keras_kit import Kit


def normal(*shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return fanin.RandomNormal(stddev=1.0, seed=7)(shape)


def by_hand(kit: Kit) -> Any:
    """Two inputs, three hidden units of which one is dead, one output."""
    model = kit.sequential(kit.L.Dense(3, "relu", name="hidden"), kit.L.Dense(1, name="output"), shape=(2,))
    model.layers[0].set_weights([np.array([[1.0, 0, -1], [0, 2, -1]]), np.zeros(3)])
    model.layers[1].set_weights([np.array([[1.0], [-1], [3]]), np.array([0.5])])
    return model


BATCH = np.array([[1.0, 1.0], [3.0, 1.0]], np.float32)  # hidden: 1 2 -2 and 3 2 -4; outputs: -0.5 and 1.5


def squares(kit: Kit) -> Any:
    """A function of a tensor that is the sum of its squares."""
    if kit.name == "keras":
        return lambda y: kit.keras.ops.sum(y * y)
    import tensorflow as tf

    return lambda y: tf.reduce_sum(y * y)


def test_moments_by_hand(kit: Kit) -> None:
    """Mean, standard deviation, share of zeros and dead units of a network that fits a sheet of paper."""
    hidden, relu, output = kit.ours.probe(by_hand(kit), BATCH).layers
    assert [each.path for each in (hidden, relu, output)] == ["hidden", "hidden.activation", "output"]
    assert hidden.output.mean == pytest.approx(2 / 6)
    assert hidden.output.std == pytest.approx(math.sqrt(38 / 6 - 1 / 9))
    assert (hidden.output.zeros, hidden.output.dead) == (0.0, 0)
    assert relu.output.mean == pytest.approx(8 / 6)
    assert (relu.layer, relu.output.zeros, relu.output.dead, relu.output.units) == ("relu", 2 / 6, 1, 3)
    assert (output.output.mean, output.output.std) == (0.5, 1.0)
    assert output.expected == pytest.approx(math.sqrt(3 * (11 / 3) * (18 / 6) + 0.25))


def test_gradients_by_hand(kit: Kit) -> None:
    """The gradient of the sum of squares: 2y at the output, and backwards through weights and the ReLU's mask."""
    hidden, relu, output = kit.ours.probe(by_hand(kit), BATCH, loss=squares(kit)).layers
    at_output = np.array([-1.0, 3.0])
    at_relu = at_output[:, None] * np.array([1.0, -1.0, 3.0])
    at_hidden = at_relu * np.array([1.0, 1.0, 0.0])
    assert output.gradient.std == pytest.approx(at_output.std())
    assert relu.gradient.std == pytest.approx(at_relu.std())
    assert hidden.gradient.std == pytest.approx(at_hidden.std())
    kernel = hidden.parameters["kernel"]
    assert kernel.values.std == pytest.approx(np.array([1, 0, 0, 2, -1, -1.0]).std())
    assert kernel.gradient.std == pytest.approx((at_hidden.T @ BATCH).std())
    assert hidden.parameters["bias"].gradient.std == pytest.approx(at_hidden.sum(0).std())


def test_the_cotangent_and_a_target(kit: Kit) -> None:
    """Without a loss the gradient begins with a draw of fanin's; a loss of two arguments gets the target."""
    [*_, output] = kit.ours.probe(by_hand(kit), BATCH, seed=9).layers
    drawn = fanin.RandomNormal(stddev=1.0, seed=9).spawn("cotangent")((2, 1))
    assert output.gradient.std == pytest.approx(drawn.std(), rel=1e-6)
    of_squares = squares(kit)

    def loss(y: Any, t: Any) -> Any:
        return of_squares(y - t)

    [*_, output] = kit.ours.probe(by_hand(kit), BATCH, loss=loss, target=np.float32(2)).layers
    assert output.gradient.std == pytest.approx(np.std([-5.0, -1.0]))


LAYERS = {
    "same": lambda layers: layers.Conv2D(64, 3, padding="same"),
    "strided": lambda layers: layers.Conv2D(64, 3, strides=2, padding="same"),
    "dilated": lambda layers: layers.Conv2D(64, 3, dilation_rate=2, padding="same"),
    "valid": lambda layers: layers.Conv2D(64, 3),
    "grouped": lambda layers: layers.Conv2D(64, 3, groups=4, padding="same"),
    "transposed": lambda layers: layers.Conv2DTranspose(64, 4, strides=2, padding="same"),
    "transposed and valid": lambda layers: layers.Conv2DTranspose(64, 3, strides=2),
    "depthwise": lambda layers: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=16),
    "dense": lambda layers: layers.Dense(64),
    "einsum": lambda layers: layers.EinsumDense("...hwc,cd->...hwd", (9, 9, 64)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_theory_is_right_for_random_weights(name: str, kit: Kit) -> None:
    """What theory expects of independent inputs is there, where windows hang over the edge, too."""
    model = kit.sequential(LAYERS[name](kit.L), shape=(9, 9, 8))
    kernel = model.weights[0]
    kernel.assign(fanin.RandomNormal(stddev=0.1, seed=1)(tuple(kernel.shape)))
    [layer] = kit.ours.probe(model, normal(64, 9, 9, 8)).layers
    assert layer.ratio == pytest.approx(1, abs=0.05)
    assert layer.output.units == layer.output.shape[-1]


def test_saturation(kit: Kit) -> None:
    """Layers that are activations, and activations of layers, know the ends of their range."""
    model = kit.sequential(kit.L.Activation("tanh"), kit.L.Dense(4, "sigmoid"), shape=(32,))
    tanh, dense, sigmoid = kit.ours.probe(model, 3 * normal(64, 32)).layers
    assert tanh.output.saturated == pytest.approx(float((np.abs(np.tanh(3 * normal(64, 32))) > 0.99).mean()))
    assert dense.output.saturated is None
    assert sigmoid.output.saturated is not None


def mixed(kit: Kit) -> Any:
    """A functional model of many kinds of layers, some of which draw and keep statistics."""
    image = kit.keras.Input((8, 8, 3))
    hidden = kit.L.Conv2D(6, 3, activation="relu", name="conv")(kit.L.GaussianNoise(0.1)(image))
    hidden = kit.L.Dropout(0.5, name="dropout")(kit.L.BatchNormalization(name="norm")(hidden))
    hidden = kit.L.Reshape((6, 36))(hidden)
    hidden = kit.L.LSTM(5, name="lstm")(hidden)
    shared = kit.L.Dense(5, name="shared")
    return kit.keras.Model(image, kit.L.Dense(2, name="head")(shared(shared(hidden))))


def test_a_mixed_model(kit: Kit) -> None:
    """Rows are in the order of the calls; a shared layer has two; a recurrent layer is one, with all its weights."""
    probe = kit.ours.probe(mixed(kit), normal(16, 8, 8, 3))
    names = [each.name for each in probe.layers]
    assert names[1:5] == ["conv", "conv.activation", "norm", "dropout"]
    assert names[-4:] == ["lstm", "shared", "shared#2", "head"]
    assert set(probe["lstm"].parameters) == {"kernel", "recurrent_kernel", "bias"}
    assert all(each.gradient is not None for each in probe.layers[1:])
    assert all(each.gradient is not None for each in probe["lstm"].parameters.values())
    json.dumps(probe.as_dict(), allow_nan=False)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_nothing_changes(training: bool, gradients: bool, kit: Kit) -> None:
    """Not a variable, method or generator; and the same seed gives the same report."""
    model = mixed(kit)
    before = [array.tobytes() for array in map(kit.array, model.variables)]
    own = [sorted(vars(each)) for each in model.layers]
    states = random.getstate(), str(np.random.get_state())
    first = kit.ours.probe(model, normal(4, 8, 8, 3), training=training, gradients=gradients).as_dict()
    assert [array.tobytes() for array in map(kit.array, model.variables)] == before
    assert not any("call" in vars(each) for each in model.layers)
    assert [
        [name for name in names if name in vars(each)] for names, each in zip(own, model.layers, strict=True)
    ] == own
    assert (random.getstate(), str(np.random.get_state())) == states
    assert kit.ours.probe(model, normal(4, 8, 8, 3), training=training, gradients=gradients).as_dict() == first
    norm = next(each for each in first["layers"] if each["path"] == "norm")
    assert (abs(norm["std"] - 1) < 0.01) == training


def test_nothing_changes_if_it_raises(kit: Kit) -> None:
    """Layers call their own code again after an exception of the loss."""
    model = mixed(kit)
    before = [array.tobytes() for array in map(kit.array, model.variables)]

    def fail(output: Any) -> Any:
        raise RuntimeError("as told")

    with pytest.raises(RuntimeError, match="as told"):
        kit.ours.probe(model, normal(4, 8, 8, 3), loss=fail)
    assert [array.tobytes() for array in map(kit.array, model.variables)] == before
    assert not any("call" in vars(each) for each in model.layers)


def test_subclassed_models(kit: Kit) -> None:
    """Layers of a model with a `call` of its own, of inputs that are a dict."""

    class Own(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = kit.L.Dense(4, name="first"), kit.L.Dense(2, name="second")

        def call(self, inputs: Any) -> Any:
            return {"out": self.second(self.first(inputs["x"]))}

    model = Own()
    model({"x": normal(2, 3)})
    probe = kit.ours.probe(model, {"x": normal(16, 3)})
    assert [each.path for each in probe.layers] == ["first", "second"]
    assert all(each.gradient is not None for each in probe.layers)


def test_layers_by_globs(kit: Kit) -> None:
    """`layers` chooses them, and must match one."""
    probe = kit.ours.probe(mixed(kit), normal(4, 8, 8, 3), layers="s*")
    assert [each.name for each in probe.layers] == ["shared", "shared#2"]
    with pytest.raises(ValueError, match=r"`layers` must match layers of the model\. Received: 'sharde'"):
        kit.ours.probe(mixed(kit), normal(4, 8, 8, 3), layers="sharde")


def test_refusals(kit: Kit) -> None:
    """A model that is not built, or not a model."""
    with pytest.raises(ValueError, match="The model must be built"):
        kit.ours.probe(kit.sequential(kit.L.Dense(3)), normal(2, 3))
    with pytest.raises(TypeError, match=f"`model` must be a model or layer of {kit.name}"):
        kit.ours.probe([1], normal(2, 3))


def test_an_application(kit: Kit) -> None:
    """MobileNetV2 as its authors initialize it: theory is right about nearly all of its layers."""
    model = kit.keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10, alpha=0.35)
    probe = kit.ours.probe(model, normal(4, 32, 32, 3))
    assert len(probe.weighted) == 53
    ratios = np.array([each.ratio for each in probe.weighted])
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    assert probe["predictions"].gradient is not None


def test_layers_that_do_not_run(kit: Kit) -> None:
    """A layer that neither runs nor gets a gradient has a note; one with moving means, too."""

    class Forgetful(kit.keras.Model):
        """A norm that its code does not call, and a frozen layer whose kernel it uses without a call."""

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = kit.L.Dense(4, name="fc"), kit.L.BatchNormalization(name="norm")
            self.frozen = kit.L.Dense(4, name="frozen", trainable=False)

        def build(self, shape: Any) -> None:
            """Builds both."""
            self.fc.build((None, 8))
            self.norm.build((None, 4))
            self.frozen.build((None, 4))
            self.built = True

        def call(self, x: Any) -> Any:
            """Calls one."""
            return self.fc(x) @ self.frozen.kernel

    model = Forgetful()
    model.build((None, 8))
    [note] = kit.ours.probe(model, normal(32, 8)).notes
    assert note.startswith("norm did not run, and no gradient comes to its parameters")


def test_batches_that_are_wrong(kit: Kit) -> None:
    """One that is not finite is told first; one without samples is refused."""
    first, *_ = kit.ours.probe(by_hand(kit), np.full_like(BATCH, np.inf)).verdicts
    assert first.sentence.startswith("the batch itself has 4 of 4 numbers that are NaN or infinite; ")
    with pytest.raises(ValueError, match=r"`batch` must have samples\. Received: a batch of shape \(0, 2\)"):
        kit.ours.probe(by_hand(kit), BATCH[:0])
