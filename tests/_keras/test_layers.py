"""Every layer class with weights: Keras's own defaults under the preset `keras`, and the bytes drawn."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._core.streams import Stream
from fanin.distributions.weight import Weight
from keras_kit import LIBRARIES, SEED, Kit, same
from keras_models import LINE, ROWS, TEXT, built

# These have no rows: wrappers whose weights are others', bins, fixed transforms, other libraries'.
WITHOUT = {"RNN", "AbstractRNNCell", "Discretization", "STFTSpectrogram", "JaxLayer", "FlaxLayer", "TFSMLayer"}
WITHOUT |= {"LSTMCell", "GRUCell", "SimpleRNNCell"}  # within RNN


@contextlib.contextmanager
def initializers_seen(kit: Kit) -> Iterator[dict[int, Any]]:
    """The initializer that each variable is made by in the block, by the variable's id."""
    seen: dict[int, Any] = {}
    cls = kit.L.Layer
    theirs = cls.add_weight
    position = {"tf_keras": 3, "keras": 1}[kit.name]

    def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        variable = theirs(self, *args, **kwargs)
        initializer = kwargs.get("initializer", args[position] if len(args) > position else None)
        seen[id(variable)] = kit.keras.initializers.get(initializer or "glorot_uniform")
        return variable

    cls.add_weight = add_weight
    try:
        yield seen
    finally:
        cls.add_weight = theirs


def keras_fans(kit: Kit, initializer: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """The fans that Keras's own function computes for an initializer."""
    if kit.name == "tf_keras":
        module: Any = importlib.import_module("tf_keras.src.initializers.initializers")
        return module._compute_fans(shape)
    module = importlib.import_module("keras.src.initializers.random_initializers")
    return module.compute_fans(shape, initializer.input_axes, initializer.output_axes)


def expected(kit: Kit, initializer: Any, entry: Any, fans: tuple[int, int] | None) -> Any:
    """The distribution that an initializer of Keras draws from, or the array that it makes where nothing is drawn."""
    shape, dtype = entry.parameter.shape, entry.parameter.dtype
    name = type(initializer).__name__
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    if "seed" not in config:
        return kit.array(initializer(shape, dtype=dtype.name))
    config = {key: value for key, value in config.items() if key not in ("seed", "input_axes", "output_axes")}
    plain = getattr(fanin, name)(**config)
    if not isinstance(plain, fanin.VarianceScaling):
        return plain.distribution(shape, dtype)
    theirs = keras_fans(kit, initializer, shape)
    if fans is not None and kit.name == "keras":
        assert theirs == fans, (theirs, fans)
    return plain.distribution_of_fans(shape, dtype, *(fans or theirs))


PLACES = [(library, name) for library in LIBRARIES for name in ROWS if library in ROWS[name].libraries]


@pytest.mark.parametrize(("kit", "name"), PLACES, indirect=["kit"], ids=[f"{each}-{name}" for each, name in PLACES])
def test_defaults(name: str, kit: Kit) -> None:
    """Nothing is unmatched, and every weight is planned as the layer draws it, and gets the bytes of the plan."""
    row = ROWS[name]
    with initializers_seen(kit) as seen:
        layer = built(kit, name)
    assert len(layer.weights) == row.count
    plan = kit.plan(layer)
    assert not plan.problems, plan.problems
    assert not plan.unmatched, [entry.path for entry in plan.unmatched]
    variables = kit.variables(layer)
    assert {id(variable) for variable in variables.values()} == {id(variable) for variable in layer.weights}
    report = kit.initialize(layer)
    assert (set(report.filled), report.kept, report.waiting) == (set(variables), {}, ())
    for entry in plan.entries:
        variable = variables[entry.path]
        theirs = expected(kit, seen[id(variable)], entry, row.fans.get(entry.path))
        values = kit.array(variable)
        if isinstance(theirs, np.ndarray):
            same(values, theirs)
            assert entry.seeds == ()
            continue
        assert len(entry.placements) == 1
        assert entry.placements[0].weight.distribution == theirs, (entry.placements[0].weight.distribution, theirs)
        initializer = type(entry.initializer).from_config({**entry.initializer.get_config(), "seed": SEED})
        spawned = initializer.spawn(entry.name)
        assert entry.seeds == (spawned.seed,)
        same(values, Weight(theirs, Stream(spawned.seed)).make())
        if isinstance(initializer, fanin.Orthogonal):
            matrix = values.reshape(-1, values.shape[-1]).astype(np.float64)
            gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
            assert abs(gram - np.eye(len(gram))).max() < 1e-5


def test_every_layer_with_weights_has_a_row(kit: Kit) -> None:
    """What of Keras's layers calls `add_weight` is in the table, or known to need no row."""
    found: set[str] = set()
    for name in dir(kit.L):
        cls = getattr(kit.L, name)
        if not inspect.isclass(cls) or not issubclass(cls, kit.L.Layer) or cls is kit.L.Layer:
            continue
        own = [each for each in cls.__mro__ if issubclass(each, kit.L.Layer) and each is not kit.L.Layer]
        if any("self.add_weight(" in inspect.getsource(each) for each in own):
            found.add(cls.__name__)
    assert len(found) > 30
    assert found - WITHOUT - {word for name in ROWS for word in name.split()} == set()


@pytest.mark.parametrize("name", ["LSTM", "Bidirectional", "ConvLSTM1D"])
def test_forget_gates(name: str, kit: Kit) -> None:
    """The bias of an LSTM is one at the forget gate, the second quarter, and zero elsewhere."""
    layer = built(kit, name)
    kit.initialize(layer)
    biases = [values for path, values in kit.by_path(layer).items() if path.endswith("bias")]
    assert len(biases) == 1 + (name == "Bidirectional")
    for bias in biases:
        assert bias.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


def test_blocks_of_gates(kit: Kit) -> None:
    """A rule about one gate draws it by itself: three columns of the kernel, under the block's name."""
    rules: list[Any] = [
        {"role": "kernel", "block": "cell", "initializer": "he_normal"},
        {"path": "*", "initializer": "zeros"},
    ]
    layer = kit.L.LSTM(3)
    layer(kit.keras.Input(LINE))
    kit.initialize(layer, fanin.Recipe(rules, seed=SEED))
    values = kit.by_path(layer)
    (kernel,) = [path for path in values if path.endswith("kernel") and "recurrent" not in path]
    block = fanin.HeNormal(seed=SEED).spawn(f"{kit.plan(layer).entry(kernel).name}[cell]")((4, 3))
    same(values[kernel][:, 6:9], block)
    assert not values[kernel][:, [*range(6), *range(9, 12)]].any()


NAMED = ("GlorotNormal", "HeUniform", "LecunNormal", "Orthogonal", "Identity", "TruncatedNormal", "RandomUniform")


@pytest.mark.parametrize("name", NAMED)
def test_every_initializer_in_models(name: str, kit: Kit) -> None:
    """An initializer by name gives a Dense kernel the bytes of its class, spawned under the kernel's name."""
    layer = kit.sequential(kit.L.Dense(5, name="fc"), shape=(7,))
    kit.initialize(layer, fanin.Recipe([{"path": "*.kernel", "initializer": name}], seed=SEED), unmatched="keep")
    plain = fanin.Identity() if name == "Identity" else getattr(fanin, name)(seed=SEED)
    same(kit.by_path(layer)["fc.kernel"], plain.spawn("fc.kernel")((7, 5)))


@pytest.mark.parametrize("name", ["query", "key", "value", "attention_output"])
def test_matrices_of_attention(name: str, kit: Kit) -> None:
    """Orthogonal sees the kernels of attention as matrices: inputs by heads and features."""
    layer = kit.L.MultiHeadAttention(4, 4)
    layer(kit.keras.Input(TEXT), kit.keras.Input(TEXT))
    rules: list[Any] = [{"role": "kernel", "initializer": "orthogonal"}, {"path": "*", "initializer": "zeros"}]
    kit.initialize(layer, fanin.Recipe(rules, seed=SEED))
    values, rows = kit.by_path(layer)[f"{name}.kernel"], 16 if name == "attention_output" else 32
    same(values.reshape(rows, -1), fanin.Orthogonal(seed=SEED).spawn(f"{name}.kernel")((rows, 512 // rows)))
    assert math.prod(values.shape) == 512


# row and weight → units, inputs, groups and receptive field, as rules' expressions have them
NUMBERS: dict[tuple[str, str], tuple[int, int, int, int]] = {
    ("Dense", "kernel"): (3, 4, 1, 1),
    ("Dense", "bias"): (3, 4, 1, 1),
    ("Conv2D", "kernel"): (5, 4, 1, 6),
    ("grouped Conv2D", "kernel"): (8, 4, 4, 9),
    ("grouped Conv2D", "bias"): (8, 4, 4, 9),
    ("Conv2DTranspose", "kernel"): (5, 4, 1, 9),
    ("Conv2DTranspose", "bias"): (5, 4, 1, 9),
    ("DepthwiseConv2D", "bias"): (8, 4, 4, 9),
    ("SeparableConv2D", "depthwise_kernel"): (8, 4, 4, 9),
    ("SeparableConv2D", "pointwise_kernel"): (5, 8, 1, 1),
    ("SeparableConv2D", "bias"): (5, 8, 1, 1),
    ("Embedding", "embeddings"): (6, 11, 1, 1),
    ("SimpleRNN", "simple_rnn_cell.kernel"): (3, 4, 1, 1),
    ("LSTM", "lstm_cell.kernel"): (3, 4, 1, 1),
    ("LSTM", "lstm_cell.recurrent_kernel"): (3, 3, 1, 1),
    ("LSTM", "lstm_cell.bias"): (3, 4, 1, 1),
    ("GRU", "gru_cell.recurrent_kernel"): (3, 3, 1, 1),
    ("EinsumDense of one axis", "kernel"): (24, 5, 1, 1),
    ("EinsumDense of two axes", "bias"): (7, 20, 1, 1),
    ("MultiHeadAttention", "query.kernel"): (64, 32, 1, 1),
    ("MultiHeadAttention", "attention_output.kernel"): (32, 32, 1, 1),
}


@pytest.mark.parametrize(("row", "name"), NUMBERS, ids=[" ".join(each) for each in NUMBERS])
def test_numbers_of_layers(row: str, name: str, kit: Kit) -> None:
    """Expressions have the units, inputs, groups and receptive field of each weight's layer."""
    layer = built(kit, row)
    for variable, number in zip(("units", "inputs", "groups", "receptive_field"), NUMBERS[row, name], strict=True):
        rules: list[Any] = [{"path": "*", "initializer": "constant", "value": variable}]
        kit.initialize(layer, fanin.Recipe(rules))
        assert (kit.by_name(layer)[name] == number).all(), variable


# row and weight → the fans of its layer's kernel, as rules' expressions have them
FANS: dict[tuple[str, str], tuple[int, int]] = {
    ("Dense", "kernel"): (4, 3),
    ("Dense", "bias"): (4, 3),
    ("Conv2D", "kernel"): (24, 30),
    ("grouped Conv2D", "kernel"): (9, 72),
    ("grouped Conv2D", "bias"): (9, 72),
    ("Conv2DTranspose", "kernel"): (45, 36),
    ("DepthwiseConv2D", "kernel"): (9, 72),
    ("DepthwiseConv2D", "bias"): (9, 72),
    ("SeparableConv2D", "depthwise_kernel"): (9, 72),
    ("SeparableConv2D", "pointwise_kernel"): (8, 5),
    ("Embedding", "embeddings"): (11, 6),
    ("LSTM", "lstm_cell.kernel"): (4, 12),
    ("LSTM", "lstm_cell.recurrent_kernel"): (3, 12),
    ("GRU", "gru_cell.bias"): (4, 9),
    ("EinsumDense of one axis", "kernel"): (5, 24),
    ("EinsumDense of two axes", "bias"): (20, 7),
    ("MultiHeadAttention", "query.kernel"): (32, 64),
    ("MultiHeadAttention", "attention_output.kernel"): (32, 32),
}


@pytest.mark.parametrize(("row", "name"), FANS, ids=[" ".join(each) for each in FANS])
def test_fans_of_layers(row: str, name: str, kit: Kit) -> None:
    """Expressions have the fans of each weight's layer."""
    layer = built(kit, row)
    for variable, number in zip(("fan_in", "fan_out"), FANS[row, name], strict=True):
        rules: list[Any] = [{"path": "*", "initializer": "constant", "value": variable}]
        kit.initialize(layer, fanin.Recipe(rules))
        assert (kit.by_name(layer)[name] == number).all(), variable
