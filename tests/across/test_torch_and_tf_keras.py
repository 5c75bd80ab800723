"""fanin.torch next to tf_keras: its layers' weights in PyTorch's layers, bit for bit, and whole models in both."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tf_keras")

import tf_keras
import torch
from torch import nn

import fanin
import fanin.tf_keras as carriers
import fanin.torch as ours
from catalogue import FLOATS
from fanin.torch import fill_
from torch_kit import bits, moved

layers: Any = tf_keras.layers
SIZES, LENGTHS = (3, 2, 4), (9, 8, 7)  # of kernels and images, by rank
DEPTHWISE = (2, 3, 0, 1)


@dataclass(frozen=True)
class Layer:
    """A weight of a tf_keras layer, and where PyTorch has it."""

    name: str
    arguments: dict[str, Any]
    inputs: tuple[int, ...]
    tensor: Callable[[], Any]  # PyTorch's, of a new module
    layout: Any = "torch"
    role: str = "kernel"  # of its initializer
    weight: str = "kernel"

    def kernel(self, initializer: Any, dtype: str) -> np.ndarray:
        """tf_keras's weight, of a new layer with an initializer."""
        layer = getattr(layers, self.name)(
            **{**self.arguments, f"{self.role}_initializer": initializer, "dtype": dtype}
        )
        layer.build((None, *self.inputs))
        return attrgetter(self.weight)(layer).numpy()


def convolution(rank: int, groups: int) -> Layer:
    """A convolution in groups."""
    return Layer(
        f"Conv{rank}D",
        {"filters": 8, "kernel_size": SIZES[:rank], "groups": groups},
        (*LENGTHS[:rank], 4),
        lambda: getattr(nn, f"Conv{rank}d")(4, 8, SIZES[:rank], groups=groups).weight,
    )


def transposed(rank: int) -> Layer:
    """A transposed convolution."""
    return Layer(
        f"Conv{rank}DTranspose",
        {"filters": 6, "kernel_size": SIZES[:rank]},
        (*LENGTHS[:rank], 4),
        lambda: getattr(nn, f"ConvTranspose{rank}d")(4, 6, SIZES[:rank]).weight,
    )


def depthwise(multiple: int) -> Layer:
    """A depthwise convolution; with several outputs of each channel, PyTorch's first axis is Keras's last two."""
    return Layer(
        "DepthwiseConv2D",
        {"kernel_size": (3, 2), "depth_multiplier": multiple},
        (9, 8, 4),
        lambda: nn.Conv2d(4, 4 * multiple, (3, 2), groups=4).weight.view(4, multiple, 3, 2),
        DEPTHWISE,
        "depthwise",
        "depthwise_kernel",
    )


LAYERS = {
    "Linear": Layer("Dense", {"units": 7}, (5,), lambda: nn.Linear(5, 7).weight),
    **{f"Conv{rank}d in {groups}": convolution(rank, groups) for rank in (1, 2, 3) for groups in (1, 2, 4)},
    **{f"ConvTranspose{rank}d": transposed(rank) for rank in (1, 2, 3)},
    **{f"depthwise, {multiple} of each": depthwise(multiple) for multiple in (1, 2)},
    "Embedding": Layer(
        "Embedding",
        {"input_dim": 9, "output_dim": 4},
        (3,),
        lambda: nn.Embedding(9, 4).weight,
        "keras",
        "embeddings",
        "embeddings",
    ),
    "LSTM, inputs": Layer(
        "LSTM",
        {"units": 6, "recurrent_initializer": "zeros"},
        (3, 5),
        lambda: nn.LSTM(5, 6).weight_ih_l0,
        weight="cell.kernel",
    ),
    "LSTM, states": Layer(
        "LSTM",
        {"units": 6},
        (3, 5),
        lambda: nn.LSTM(5, 6).weight_hh_l0,
        role="recurrent",
        weight="cell.recurrent_kernel",
    ),
}
SCHEMES: dict[str, dict[str, Any]] = {
    "GlorotUniform": {"seed": 3},
    "HeNormal": {"seed": -4},
    "LecunUniform": {"seed": 2**40},
    "VarianceScaling": {"scale": 2.5, "mode": "fan_out", "distribution": "untruncated_normal", "seed": 6},
    "RandomUniform": {"minval": -0.3, "maxval": 0.7, "seed": 7},
}


class Noting(fanin.HeNormal):
    """Keeps what it draws, as data."""

    drawn: Any = None

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        self.drawn = super().distribution(shape, dtype)
        return self.drawn


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_tf_keras(name: str, scheme: str, dtype: str) -> None:
    """A weight is tf_keras's own layer's, with tf_keras's own initializer of that seed, moved: the same bytes."""
    layer, config = LAYERS[name], SCHEMES[scheme]
    kernel = layer.kernel(getattr(tf_keras.initializers, scheme)(**config), dtype)
    tensor = layer.tensor().to(getattr(torch, dtype))
    fill_(tensor, getattr(fanin, scheme)(**config), layout=layer.layout)
    assert tuple(tensor.shape) == moved(kernel, layer.layout).shape
    assert bits(tensor) == moved(kernel, layer.layout).tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_fans(name: str) -> None:
    """Fans are tf_keras's for its layer's kernel, which for PyTorch's own layout are PyTorch's too."""
    from tf_keras.src.initializers.initializers import _compute_fans

    layer, noting = LAYERS[name], Noting(seed=1)
    tensor = fill_(layer.tensor(), noting, layout=layer.layout)
    fans = (noting.drawn.fan_in, noting.drawn.fan_out)
    assert fans == tuple(_compute_fans(layer.kernel("zeros", "float32").shape))
    if layer.layout == "torch":
        assert fans == nn.init._calculate_fan_in_and_fan_out(tensor)
    assert math.isclose(noting.drawn.moments.stddev, math.sqrt(2 / fans[0]), rel_tol=1e-6)


# Twins: one model in both


def assert_twins(theirs: Any, module: Any, pairs: list[tuple[Any, Any, Any]], shape: tuple[int, ...]) -> None:
    """Weights are equal bit for bit, each in its layout, and outputs to rounding. tf_keras has channels last."""
    example = fanin.RandomNormal(stddev=1.0, seed=9)(shape)
    expected = theirs(example).numpy()
    for weight, tensor, layout in pairs:
        assert bits(tensor) == moved(weight.numpy(), layout).tobytes()
    inputs = np.moveaxis(example, -1, 1).copy() if len(shape) == 4 else example
    with torch.no_grad():
        result = module(torch.from_numpy(inputs)).numpy()
    result = np.moveaxis(result, 1, -1) if len(shape) == 4 else result
    assert result.shape == expected.shape
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("library", ["tf_keras.initializers", "fanin.tf_keras"])
def test_twin_perceptrons(library: str) -> None:
    """Three dense layers, whose initializers in tf_keras are its own or fanin's."""
    last = "Orthogonal" if library.startswith("fanin") else "LecunNormal"  # Orthogonal's bits are fanin's own
    rules = [("HeNormal", 1), ("GlorotUniform", 2), (last, 3)]
    theirs_by_rule = [getattr(pytest.importorskip(library), rule)(seed=seed) for rule, seed in rules]
    dense = [layers.Dense(16, "tanh", kernel_initializer=each) for each in theirs_by_rule]
    theirs = tf_keras.Sequential(dense)
    theirs.build((None, 11))
    linear = [nn.Linear(11, 16), nn.Linear(16, 16), nn.Linear(16, 16)]
    for module, (rule, seed) in zip(linear, rules, strict=True):
        fill_(module.weight, getattr(fanin, rule)(seed=seed))
        ours.zeros_(module.bias)
    pairs = [(each.kernel, module.weight, "torch") for each, module in zip(dense, linear, strict=True)]
    pairs += [(each.bias, module.bias, "torch") for each, module in zip(dense, linear, strict=True)]
    module = nn.Sequential(*(each for module in linear for each in (module, nn.Tanh())))
    assert_twins(theirs, module, pairs, (5, 11))


def test_twin_convolutions() -> None:
    """A convolution, one in groups, a depthwise one and a transposed one, whose initializers are fill_'s too."""
    twins = [
        (layers.Conv2D(8, (3, 2)), nn.Conv2d(4, 8, (3, 2)), carriers.HeNormal(1), "torch"),
        (layers.Conv2D(6, 3, groups=2), nn.Conv2d(8, 6, 3, groups=2), carriers.HeNormal(2), "torch"),
        (layers.DepthwiseConv2D(2), nn.Conv2d(6, 6, 2, groups=6), carriers.RandomNormal(0, 0.4, 3), DEPTHWISE),
        (layers.Conv2DTranspose(5, 3, 2), nn.ConvTranspose2d(6, 5, 3, 2), carriers.LecunUniform(4), "torch"),
    ]
    for layer, module, initializer, layout in twins:
        setattr(layer, "depthwise_initializer" if layout == DEPTHWISE else "kernel_initializer", initializer)
        fill_(module.weight, copy.copy(initializer), layout=layout)
        ours.zeros_(module.bias)
    theirs = tf_keras.Sequential([layer for layer, _, _, _ in twins])
    theirs.build((None, 12, 11, 4))
    pairs = [
        (layer.depthwise_kernel if layout == DEPTHWISE else layer.kernel, module.weight, layout)
        for layer, module, _, layout in twins
    ]
    assert_twins(theirs, nn.Sequential(*(module for _, module, _, _ in twins)), pairs, (3, 12, 11, 4))


def test_twin_lstms() -> None:
    """An LSTM: the gates have one order in both, and tf_keras's bias with its ones for forgetting is `bias_ih`."""
    theirs = layers.LSTM(
        6,
        return_sequences=True,
        kernel_initializer=carriers.HeNormal(1),
        recurrent_initializer=carriers.Orthogonal(seed=2),
    )
    theirs.build((None, 7, 5))
    lstm: Any = nn.LSTM(5, 6, batch_first=True)
    ours.he_normal_(lstm.weight_ih_l0, seed=1)
    ours.orthogonal_(lstm.weight_hh_l0, seed=2)
    for bias in (lstm.bias_ih_l0, lstm.bias_hh_l0):
        ours.zeros_(bias)
    ours.ones_(lstm.bias_ih_l0[6:12])
    pairs = [
        (theirs.cell.kernel, lstm.weight_ih_l0, "torch"),
        (theirs.cell.recurrent_kernel, lstm.weight_hh_l0, "torch"),
        (theirs.cell.bias, lstm.bias_ih_l0, "torch"),
    ]
    assert_twins(theirs, lambda inputs: lstm(inputs)[0], pairs, (3, 7, 5))
