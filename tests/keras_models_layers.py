"""Cases of every layer class with weights: Keras's own defaults under the preset `keras`, and the bytes drawn."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fanin
from keras_kit import BOTH, CASES, SEED, Case, Kit, case, same

Shapes = tuple[tuple[int, ...], ...]
LINE, PLANE, SPACE, TEXT = (6, 4), (6, 6, 4), (6, 6, 6, 4), (5, 32)
KERAS, TF_KERAS = ("keras",), ("tf_keras",)


@dataclass(frozen=True)
class Row:
    """A layer.

    Attributes:
        make: makes it of Keras's `layers`.
        shapes: the shapes of its inputs, without the batch.
        count: the number of its weights.
        fans: fans of kernels, by name, where those are not of the last two axes, as Keras 3 has them.
        libraries: where there is such a layer.
        listed: whether it takes its inputs as a list.
    """

    make: Callable[[Any], Any]
    shapes: Shapes
    count: int
    fans: dict[str, tuple[int, int]] = field(default_factory=dict)
    libraries: tuple[str, ...] = BOTH
    listed: bool = False


ATTENTION = {
    "query.kernel": (32, 64),
    "key.kernel": (32, 64),
    "value.kernel": (32, 32),
    "attention_output.kernel": (32, 32),
}
GROUPED = {
    "query.kernel": (32, 24),
    "key.kernel": (32, 12),
    "value.kernel": (32, 12),
    "attention_output.kernel": (24, 32),
}


def stacked(layers: Any) -> Any:
    """Two cells of different classes, one upon the other."""
    return layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(5)]))


ROWS: dict[str, Row] = {
    "Dense": Row(lambda k: k.Dense(3), ((4,),), 2),
    "Dense without bias": Row(lambda k: k.Dense(3, use_bias=False), ((4,),), 1),
    "Dense of blocks of vectors": Row(lambda k: k.Dense(3), (LINE,), 2),
    "Conv1D": Row(lambda k: k.Conv1D(5, 3), (LINE,), 2),
    "Conv2D": Row(lambda k: k.Conv2D(5, (3, 2)), (PLANE,), 2),
    "Conv3D": Row(lambda k: k.Conv3D(5, 2), (SPACE,), 2),
    "grouped Conv1D": Row(lambda k: k.Conv1D(6, 3, groups=2), (LINE,), 2),
    "grouped Conv2D": Row(lambda k: k.Conv2D(8, 3, groups=4), (PLANE,), 2),
    "Conv1DTranspose": Row(lambda k: k.Conv1DTranspose(5, 3), (LINE,), 2),
    "Conv2DTranspose": Row(lambda k: k.Conv2DTranspose(5, 3), (PLANE,), 2),
    "Conv3DTranspose": Row(lambda k: k.Conv3DTranspose(5, 2), (SPACE,), 2),
    "DepthwiseConv1D": Row(lambda k: k.DepthwiseConv1D(3, depth_multiplier=3), (LINE,), 2),
    "DepthwiseConv2D": Row(lambda k: k.DepthwiseConv2D(3, depth_multiplier=2), (PLANE,), 2),
    "DepthwiseConv2D of multiplier 1": Row(lambda k: k.DepthwiseConv2D((3, 2)), (PLANE,), 2),
    "SeparableConv1D": Row(lambda k: k.SeparableConv1D(5, 3, depth_multiplier=2), (LINE,), 3),
    "SeparableConv2D": Row(lambda k: k.SeparableConv2D(5, 3, depth_multiplier=2), (PLANE,), 3),
    "LocallyConnected1D": Row(lambda k: k.LocallyConnected1D(5, 3), (LINE,), 2, libraries=TF_KERAS),
    "LocallyConnected2D": Row(lambda k: k.LocallyConnected2D(5, 3), (PLANE,), 2, libraries=TF_KERAS),
    "EinsumDense of one axis": Row(
        lambda k: k.EinsumDense("abc,cde->abde", (None, 4, 6), bias_axes="de"), ((3, 5),), 2, {"kernel": (5, 24)}
    ),
    "EinsumDense of two axes": Row(
        lambda k: k.EinsumDense("abcd,cde->abe", (None, 7), bias_axes="e"), ((3, 4, 5),), 2, {"kernel": (20, 7)}
    ),
    "EinsumDense with dots": Row(lambda k: k.EinsumDense("...x,xy->...y", 6, bias_axes="y"), ((3, 5),), 2),
    "EinsumDense in another order": Row(
        lambda k: k.EinsumDense("abc,dec->abde", (None, 4, 6)), ((3, 5),), 1, {"kernel": (5, 24)}
    ),
    "Embedding": Row(lambda k: k.Embedding(11, 6), ((5,),), 1),
    "ReversibleEmbedding": Row(lambda k: k.ReversibleEmbedding(11, 6, False), ((5,),), 2, libraries=KERAS),
    "SimpleRNN": Row(lambda k: k.SimpleRNN(3), (LINE,), 3),
    "LSTM": Row(lambda k: k.LSTM(3), (LINE,), 3),
    "LSTM without a forget gate of ones": Row(lambda k: k.LSTM(3, use_bias=False), (LINE,), 2),
    "GRU": Row(lambda k: k.GRU(3), (LINE,), 3),
    "GRU of one bias": Row(lambda k: k.GRU(3, reset_after=False), (LINE,), 3),
    "RNN of LSTMCell": Row(lambda k: k.RNN(k.LSTMCell(3)), (LINE,), 3),
    "RNN of StackedRNNCells": Row(stacked, (LINE,), 6),
    "Bidirectional": Row(lambda k: k.Bidirectional(k.LSTM(3)), (LINE,), 6),
    "Bidirectional of two": Row(
        lambda k: k.Bidirectional(k.GRU(3), backward_layer=k.LSTM(3, go_backwards=True)), (LINE,), 6
    ),
    "TimeDistributed": Row(lambda k: k.TimeDistributed(k.Conv2D(5, 3)), ((3, *PLANE),), 2),
    "ConvLSTM1D": Row(lambda k: k.ConvLSTM1D(3, 2), ((3, *LINE),), 3),
    "ConvLSTM2D": Row(lambda k: k.ConvLSTM2D(3, 2), ((3, *PLANE),), 3),
    "ConvLSTM3D": Row(lambda k: k.ConvLSTM3D(3, 2), ((3, *SPACE),), 3),
    "MultiHeadAttention": Row(lambda k: k.MultiHeadAttention(4, 16, value_dim=8), (TEXT, TEXT), 8, ATTENTION),
    "GroupQueryAttention": Row(lambda k: k.GroupQueryAttention(6, 4, 2), (TEXT, TEXT), 8, GROUPED, KERAS),
    "Attention": Row(lambda k: k.Attention(use_scale=True), (LINE, LINE), 1, listed=True),
    "Attention by concatenation": Row(lambda k: k.Attention(score_mode="concat"), (LINE, LINE), 1, listed=True),
    "AdditiveAttention": Row(lambda k: k.AdditiveAttention(), (LINE, LINE), 1, listed=True),
    "BatchNormalization": Row(lambda k: k.BatchNormalization(), (PLANE,), 4),
    "BatchNormalization without scale": Row(lambda k: k.BatchNormalization(scale=False), (PLANE,), 3),
    "LayerNormalization": Row(lambda k: k.LayerNormalization(), (PLANE,), 2),
    "LayerNormalization of two axes": Row(lambda k: k.LayerNormalization(axis=(-2, -1)), (PLANE,), 2),
    "GroupNormalization": Row(lambda k: k.GroupNormalization(2), (PLANE,), 2),
    "RMSNormalization": Row(lambda k: k.RMSNormalization(), (PLANE,), 1, libraries=KERAS),
    "UnitNormalization": Row(lambda k: k.UnitNormalization(), (PLANE,), 0),
    "SpectralNormalization": Row(lambda k: k.SpectralNormalization(k.Dense(3)), ((4,),), 3, libraries=KERAS),
    "Normalization": Row(lambda k: k.Normalization(), ((4,),), 3),
    "PReLU": Row(lambda k: k.PReLU(), (PLANE,), 1),
    "PReLU of shared axes": Row(lambda k: k.PReLU(shared_axes=(1, 2)), (PLANE,), 1),
}
# These have no rows: wrappers whose weights are others', bins, fixed transforms, other libraries'.
WITHOUT = {"RNN", "AbstractRNNCell", "Discretization", "STFTSpectrogram", "JaxLayer", "FlaxLayer", "TFSMLayer"}
WITHOUT |= {"LSTMCell", "GRUCell", "SimpleRNNCell"}  # within RNN


def built(kit: Kit, name: str) -> Any:
    """The layer of a row, called on symbolic inputs."""
    row = ROWS[name]
    layer = row.make(kit.L)
    dtype = "int32" if "Embedding" in name else None
    inputs = [kit.keras.Input(shape, dtype=dtype) for shape in row.shapes]
    layer(inputs if row.listed else inputs[0]) if row.listed or len(inputs) == 1 else layer(*inputs)
    return layer


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


def check_row(kit: Kit, name: str) -> None:
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
        assert len(entry.draws) == 1
        assert entry.draws[0].distribution == theirs, (entry.draws[0].distribution, theirs)
        initializer = type(entry.initializer).from_config({**entry.initializer.get_config(), "seed": SEED})
        spawned = initializer.spawn(entry.name)
        assert entry.seeds == (spawned.seed,)
        same(values, theirs.draw((spawned.seed, 0)))
        if isinstance(initializer, fanin.Orthogonal):
            matrix = values.reshape(-1, values.shape[-1]).astype(np.float64)
            gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
            assert abs(gram - np.eye(len(gram))).max() < 1e-5


for each in ROWS:
    CASES[f"layer: {each}"] = Case(lambda kit, name=each: check_row(kit, name), ROWS[each].libraries)


@case()
def every_layer_with_weights_has_a_row(kit: Kit) -> None:
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


@case()
def forget_gates(kit: Kit) -> None:
    """The bias of an LSTM is one at the forget gate, the second quarter, and zero elsewhere."""
    for make in (lambda: kit.L.LSTM(3), lambda: kit.L.Bidirectional(kit.L.LSTM(3)), lambda: kit.L.ConvLSTM1D(3, 2)):
        layer = make()
        layer(kit.keras.Input((3, *LINE) if "Conv" in type(layer).__name__ else LINE))
        kit.initialize(layer)
        biases = [values for path, values in kit.by_path(layer).items() if path.endswith("bias")]
        assert len(biases) == 1 + ("Bidirectional" in type(layer).__name__)
        for bias in biases:
            assert bias.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


@case()
def blocks_of_gates(kit: Kit) -> None:
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


@case()
def every_initializer_in_models(kit: Kit) -> None:
    """Every initializer by name gives a Dense kernel the bytes of its class, spawned under the kernel's name."""
    for cls in (
        "GlorotNormal",
        "HeUniform",
        "LecunNormal",
        "Orthogonal",
        "Identity",
        "TruncatedNormal",
        "RandomUniform",
    ):
        layer = kit.sequential(kit.L.Dense(5, name="fc"), shape=(7,))
        kit.initialize(layer, fanin.Recipe([{"path": "*.kernel", "initializer": cls}], seed=SEED), unmatched="keep")
        plain = fanin.Identity() if cls == "Identity" else getattr(fanin, cls)(seed=SEED)
        same(kit.by_path(layer)["fc.kernel"], plain.spawn("fc.kernel")((7, 5)))


@case()
def matrices_of_attention(kit: Kit) -> None:
    """Orthogonal sees the kernels of attention as matrices: inputs by heads and features."""
    layer = kit.L.MultiHeadAttention(4, 4)
    layer(kit.keras.Input(TEXT), kit.keras.Input(TEXT))
    rules: list[Any] = [{"role": "kernel", "initializer": "orthogonal"}, {"path": "*", "initializer": "zeros"}]
    kit.initialize(layer, fanin.Recipe(rules, seed=SEED))
    for name in ("query", "key", "value", "attention_output"):
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


@case()
def numbers_of_layers(kit: Kit) -> None:
    """Expressions have the units, inputs, groups and receptive field of each weight's layer."""
    names = ("units", "inputs", "groups", "receptive_field")
    for (row, name), numbers in NUMBERS.items():
        layer = built(kit, row)
        for variable, number in zip(names, numbers, strict=True):
            rules: list[Any] = [{"path": "*", "initializer": "constant", "value": variable}]
            kit.initialize(layer, fanin.Recipe(rules))
            found = {entry.name: kit.by_path(layer)[entry.path] for entry in kit.plan(layer).entries}
            assert (found[name] == number).all(), (row, name, variable, found[name].ravel()[0])
