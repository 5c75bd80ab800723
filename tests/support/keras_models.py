"""Models and layers for the tests of tests/_keras, each made anew for the library of a kit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fanin
from keras_kit import SEED, Kit, drawn, normal, same

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
    libraries: tuple[str, ...] = ("tf_keras", "keras")
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


def built(kit: Kit, name: str) -> Any:
    """The layer of a row, called on symbolic inputs."""
    row = ROWS[name]
    layer = row.make(kit.L)
    dtype = "int32" if "Embedding" in name else None
    inputs = [kit.keras.Input(shape, dtype=dtype) for shape in row.shapes]
    layer(inputs if row.listed else inputs[0]) if row.listed or len(inputs) == 1 else layer(*inputs)
    return layer


def picture(kit: Kit) -> Any:
    """A model whose layers all have automatic names; one is a model itself."""
    layers = kit.L
    inner = kit.sequential(layers.Dense(5), layers.Dense(5, name="head"), layers.Dense(5), shape=(8,))
    image = kit.keras.Input((6, 6, 3))
    hidden = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    hidden = layers.Flatten()(layers.Conv2D(2, 3, use_bias=False)(hidden))
    return kit.keras.Model(image, layers.Dense(2)(inner(hidden)))


def small(kit: Kit, *more: Any) -> Any:
    """A model of two blocks and a head, all named."""
    layers = kit.L
    encoder = kit.sequential(
        layers.Dense(4, name="fc"), layers.LayerNormalization(name="norm"), shape=(4,), name="encoder"
    )
    decoder = kit.sequential(layers.Dense(4, name="fc"), shape=(4,), name="decoder")
    return kit.sequential(encoder, decoder, *more, layers.Dense(2, name="head"), shape=(4,), name="small")


# the paths of its weights
PATHS = [
    *("encoder.fc.kernel", "encoder.fc.bias", "encoder.norm.gamma", "encoder.norm.beta"),
    *("decoder.fc.kernel", "decoder.fc.bias", "head.kernel", "head.bias"),
]


def sequential(kit: Kit) -> Any:
    """A Sequential model without the shape of its input."""
    return kit.sequential(kit.L.Dense(5), kit.L.LayerNormalization(), kit.L.Dense(5), kit.L.Dense(2, name="head"))


def of_sequentials(kit: Kit) -> Any:
    """One of others."""
    return kit.sequential(sequential(kit), kit.sequential(kit.L.Dense(2)), kit.L.Dense(2))


def recurrent(kit: Kit) -> Any:
    """One of recurrent layers, in both directions and of cells."""
    layers = kit.L
    cells = layers.StackedRNNCells([layers.GRUCell(3), layers.LSTMCell(2)])
    reshape, both = layers.Reshape((2, 2)), layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    return kit.sequential(reshape, both, layers.TimeDistributed(layers.Dense(3)), layers.RNN(cells))


def of_lists(kit: Kit) -> Any:
    """A model of one's own with layers in a list and in a dict, and attention."""

    class Tower(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [kit.L.Dense(4), kit.L.Dense(4), kit.L.Dense(4, name="last")]
            self.heads = {"a": kit.L.Dense(2), "b": kit.L.Dense(2)}
            self.attention = kit.L.MultiHeadAttention(2, 2)

        def call(self, inputs: Any) -> Any:
            for block in self.blocks:
                inputs = block(inputs)
            sequence = inputs[:, None, :]
            inputs = self.attention(sequence, sequence)[:, 0, :]
            return self.heads["a"](inputs) + self.heads["b"](inputs)

    return Tower()


def of_layers_made_late(kit: Kit) -> Any:
    """A model whose layers make theirs when they are built."""

    class Block(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.first = kit.L.Dense(4)
            self.first.build(shape)
            self.second = kit.L.Dense(2)
            self.second.build((*shape[:-1], 4))
            self.gain = self.add_weight(name="gain", shape=(2,), initializer="ones")
            super().build(shape)

        def call(self, inputs: Any) -> Any:
            return self.second(self.first(inputs)) * self.gain

    return kit.sequential(Block(), Block(name="tail"))


def of_built_ones(kit: Kit) -> Any:
    """A model of one's own of which a part is built and the rest is not."""

    class Mixed(kit.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = kit.sequential(kit.L.Dense(4), kit.L.BatchNormalization(), shape=(4,))
            self.outer = kit.L.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.outer(self.inner(inputs))

    return Mixed()


MODELS: dict[str, Callable[[Kit], Any]] = {
    "sequential": sequential,
    "of sequentials": of_sequentials,
    "recurrent": recurrent,
    "of lists": of_lists,
    "of layers made late": of_layers_made_late,
    "of built ones": of_built_ones,
}


def everything() -> fanin.Recipe:
    """Rules of which each weight has one, among them one that counts blocks."""
    rules: list[Any] = [
        {"layer": "Dense", "role": "kernel", "initializer": "he_normal", "optional": True},
        {"role": "kernel", "block": "*", "initializer": "glorot_normal"},
        {"role": "recurrent_kernel", "initializer": "orthogonal"},
        {"role": "variance", "initializer": "constant", "value": 2},
        {"role": "count", "initializer": "zeros"},
        {"path": "*", "initializer": "random_normal", "stddev": "0.5 / (1 + rank)"},
    ]
    return fanin.Recipe(rules, seed=SEED)


def check_added(
    kit: Kit, late: bool, add: Callable[[Any], list[Any]], names: list[str], dtypes: list[str] | None = None
) -> None:
    """Weights that a layer adds have the names, shapes and bytes of the plan, made before its recipe or after."""

    class Own(kit.L.Layer):
        def build(self, shape: Any) -> None:
            self.added = add(self)
            self.built = True

    model = Own()
    if not late:
        model.build(None)
    kit.initialize(model, normal(stddev=0.5))
    if late:
        model.build(None)
    assert [entry.name for entry in kit.plan(model, normal()).entries] == names
    for name, variable, dtype in zip(names, model.added, dtypes or ["float32"] * len(names), strict=True):
        same(kit.array(variable), drawn(name, tuple(variable.shape), "RandomNormal", dtype, stddev=0.5))
