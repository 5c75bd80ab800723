"""fanin.keras's initializers in layers and models, and Keras 3's own fans of einsum kernels."""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import FLOATS
from keras3_kit import (
    ARGUMENTS,
    LAYERS,
    ON_TENSORFLOW,
    PEER,
    SCALINGS,
    K,
    L,
    SeedGenerator,
    assert_as_keras,
    assert_holds,
    drawn_in_turn,
    framework,
    initializer_arguments,
    keras,
    made,
    ours,
    theirs,
)
from strategies import assert_same_bits

POLICIES = (*FLOATS, "mixed_float16", "mixed_bfloat16")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_dense_kernels(name: str, policy: str) -> None:
    """A kernel has plain fanin's bytes, in the dtype of the layer's variables."""
    layer = L.Dense(3, kernel_initializer=made(ours, name), dtype=keras.DTypePolicy(policy))
    layer.build((None, 4))
    assert_holds(layer.kernel, made(fanin, name)((4, 3), "float32" if "mixed" in policy else policy))


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    """Each weight of a layer that has run has the bytes of the initializer that was given for it."""
    (arguments, shape), keys = LAYERS[name], initializer_arguments(name)
    given = {key: ("Orthogonal" if "recurrent" in key else "HeUniform", seed) for seed, key in enumerate(keys)}
    layer = getattr(L, name)(**arguments, **{key: getattr(ours, cls)(seed=seed) for key, (cls, seed) in given.items()})
    layer(np.zeros(shape, "int32" if name == "Embedding" else "float32"))
    assert len(layer.weights) == len(keys)
    for weight in layer.weights:
        cls, seed = given.get(f"{weight.name.removesuffix('_kernel')}_initializer", given[keys[0]])
        plain = getattr(fanin, cls)(seed=seed)
        forget_gate = name == "LSTM" and weight.name == "bias"
        parts = [plain((3,)), fanin.Ones()((3,)), plain((6,))] if forget_gate else [plain(tuple(weight.shape))]
        assert_holds(weight, np.concatenate(parts))


class Network(keras.Model):
    """A model of two layers that are built when it first runs."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.first, self.second = layers

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


# way → (a model of two layers, how it first runs)
WAYS: dict[str, tuple[Any, Any]] = {
    "sequential": (lambda layers: keras.Sequential([keras.Input((4,)), *layers]), None),
    "functional": (lambda layers: keras.Model((x := keras.Input((4,))), layers[1](layers[0](x))), None),
    "called": (keras.Sequential, lambda model, x, _: model(x)),
    "subclassed": (Network, lambda model, x, _: model(x)),
    "predict": (Network, lambda model, x, _: model.predict(x, verbose=0)),
    "train_on_batch": (Network, lambda model, x, y: model.train_on_batch(x, y)),
    "fit": (Network, lambda model, x, y: model.fit(x, y, verbose=0)),
}
if ON_TENSORFLOW:
    WAYS["function"] = (Network, lambda model, x, _: framework.function(lambda x: model.second(model.first(x)))(x))


@pytest.mark.parametrize("seed", ["integer", "none", "generator"])
@pytest.mark.parametrize("way", WAYS)
def test_models(way: str, seed: str) -> None:
    """However a model is built, an initializer of two of its layers makes its first tensor and then its second."""
    fanin.utils.set_random_seed(8)
    plain, (make, run) = fanin.HeNormal(seed=3 if seed == "integer" else None), WAYS[way]
    expected = [plain((4, 5)), plain((5, 2))]
    if seed == "generator":
        expected = drawn_in_turn("HeNormal", 3, (4, 5), (5, 2))
    fanin.utils.set_random_seed(8)
    initializer = ours.HeNormal(seed={"integer": 3, "none": None, "generator": SeedGenerator(3)}[seed])
    model = make([L.Dense(units, kernel_initializer=initializer) for units in (5, 2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    if run is not None:
        run(model, np.ones((3, 4), "float32"), np.ones((3, 2), "float32"))
    for values, weight in zip(expected, model.get_weights()[::2], strict=True):
        assert_same_bits(values, weight)


# Einsum kernels


def with_fans(name: str, seed: int, shape: tuple[int, ...], axes: Any) -> np.ndarray:
    """A scaling's tensor for Keras 3's fans, by the initializer without fans that it comes down to."""
    rule = made(K, name)
    fan_in, fan_out = theirs.random_initializers.compute_fans(shape, *axes)
    scale = rule.scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[rule.mode]
    if rule.distribution == "uniform":
        return fanin.RandomUniform(-math.sqrt(3 * scale), math.sqrt(3 * scale), seed=seed)(shape)
    if rule.distribution == "untruncated_normal":
        return fanin.RandomNormal(0.0, math.sqrt(scale), seed=seed)(shape)
    return fanin.TruncatedNormal(0.0, math.sqrt(scale) / 0.87962566103423978, seed=seed)(shape)


# equation → (output_shape, shape of the input, input and output axes of the kernel)
EQUATIONS: dict[str, tuple[Any, tuple[int | None, ...], Any]] = {
    "abc,cde->abde": ((None, 4, 6), (None, 3, 5), ([0], [1, 2])),
    "abcd,cde->abe": ((None, 7), (None, 3, 4, 5), ([0, 1], [2])),
    "...x,xy->...y": (6, (None, 3, 5), ([0], [1])),
}


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("name", SCALINGS)
def test_einsum_kernels(name: str, equation: str) -> None:
    """EinsumDense has Keras 3's fans and, on TensorFlow, its weights; a clone of an unseeded one takes its seed."""
    output_shape, input_shape, axes = EQUATIONS[equation]
    kernels, unseeded = [], made(ours, name, seed=None)
    carried = ours.as_keras(made(fanin, name))
    for initializer in (made(ours, name), carried, ours.get(made(fanin, name)), unseeded, made(PEER, name)):
        layer = L.EinsumDense(equation, output_shape, kernel_initializer=initializer)
        layer.build(input_shape)
        kernels.append(layer.kernel)
    assert type(unseeded.seed) is int
    assert unseeded.get_config()["seed"] is None
    for kernel, seed in zip(kernels, [*[ARGUMENTS[name]["seed"]] * 3, unseeded.seed], strict=False):
        assert_holds(kernel, with_fans(name, seed, tuple(kernel.shape), axes))
    assert_as_keras(name, kernels[0], kernels[4])
    assert_holds(unseeded((3, 4)), made(fanin, name, seed=unseeded.seed)((3, 4)))


@pytest.mark.parametrize("axes", [{"batch_axis": 0}, {"in_axis": 1, "out_axis": (0, 2)}], ids=str)
@pytest.mark.parametrize("name", ["HeNormal", "VarianceScaling"])
def test_axes_of_the_user_in_einsum_kernels(name: str, axes: Any) -> None:
    """Axes that an initializer was given come before those of the equation, such as for a stack of experts."""
    layer = L.EinsumDense("abc,bcd->abd", (3, 8), kernel_initializer=made(ours, name, **axes))
    layer.build((None, 3, 5))
    assert_holds(layer.kernel, made(fanin, name, **axes)((3, 5, 8)))


def test_axes_of_the_user_in_attention() -> None:
    """The kernels of attention have them, too."""
    axes: dict[str, Any] = {"in_axis": 0, "out_axis": (1, 2)}
    layer = L.MultiHeadAttention(4, 16, kernel_initializer=ours.HeNormal(seed=9, **axes))
    layer.build((None, 5, 32), (None, 5, 32))
    kernels = [weight for weight in layer.weights if weight.name == "kernel"]
    assert len(kernels) == 4
    for kernel in kernels:
        assert_holds(kernel, fanin.HeNormal(seed=9, **axes)(tuple(kernel.shape)))


@pytest.mark.parametrize("seed", ["integer", "generator"])
@pytest.mark.parametrize("name", ["GlorotUniform", "HeNormal", "RandomNormal", "VarianceScaling"])
def test_attention(name: str, seed: str) -> None:
    """MultiHeadAttention's kernels have Keras 3's fans and, on TensorFlow, all of its weights are Keras's own."""
    layers = []
    for library in (ours, PEER):
        initializer = made(library, name, seed=SeedGenerator(9) if seed == "generator" else 9)
        layers.append(L.MultiHeadAttention(4, 16, value_dim=8, kernel_initializer=initializer))
        layers[-1].build((None, 5, 32), (None, 5, 32))
    assert [weight.name for weight in layers[0].weights] == ["kernel", "bias"] * 4
    for weight, other in zip(layers[0].weights, layers[1].weights, strict=True):
        axes, shape = ([0, 1], [2]) if "attention_output" in weight.path else ([0], [1, 2]), tuple(weight.shape)
        if weight.name == "kernel":
            plain = made(fanin, name, seed=9)(shape)
            assert_holds(weight, with_fans(name, 9, shape, axes) if name in SCALINGS else plain)
        assert_as_keras(name, weight, other)


@pytest.mark.parametrize("axes", [([0], [1, 2]), ((0, -1), (1,)), ([2], None), (None, None)])
@pytest.mark.parametrize("name", SCALINGS)
def test_axes(name: str, axes: Any) -> None:
    """Keras 3's axes follow the seed, are in attributes, configurations and copies, and change the fans."""
    more = dict(zip(("input_axes", "output_axes"), axes, strict=True))
    carrier, other = made(ours, name, **more), made(K, name, **more)
    copies = [carrier.clone(), copy.deepcopy(carrier), ours.as_keras(carrier), ours.get(K.serialize(other))]
    for each in (carrier, getattr(ours, name)(*ARGUMENTS[name].values(), *axes), *copies):
        assert each.get_config() == other.get_config()
        attributes = {"scale", "mode", "distribution", "seed", *more}
        assert all(getattr(each, key) == getattr(other, key) for key in attributes)
        assert_holds(each((3, 4, 5)), with_fans(name, ARGUMENTS[name]["seed"], (3, 4, 5), axes))
    calls = (made(library, name, **more)((3, 4, 5), "float16") for library in (ours, PEER))
    assert_as_keras(name, *calls)
    positional = [
        key for key, each in inspect.signature(type(carrier)).parameters.items() if each.kind is not each.KEYWORD_ONLY
    ]
    assert positional[-3:] == ["seed", *more]
