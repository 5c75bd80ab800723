"""The axes of each layer's weights in each framework, with the fans that fanin's layer tables give them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import fanin
from pictures.canvas import SCHEMES, Canvas, Scheme

if TYPE_CHECKING:
    from fanin.recipes.entry import Entry

os.environ.setdefault("KERAS_BACKEND", "jax")  # which is loaded anyway, for flax

_WIDTH = 480.0
_CELL, _HIGH = 112.0, 46.0  # an axis in a strip
_STEP = 112.0  # from one strip to the next
_INPUT, _OUTPUT, _OTHER = 0, 1, 5  # the colours of axes, as numbers in the scheme
_PART = 2  # the first colour of parts, which are neither inputs nor outputs


@dataclass(frozen=True)
class Stored:
    """How frameworks store a weight.

    Attributes:
        frameworks: their names.
        layer: the layer as it is written in code.
        axes: the names of the axes, in their order.
        make: makes a model that is this layer, without values where the framework can.
        path: the weight's path in the model.
        inputs: the axes that fan_in counts, beside the window.
        outputs: those that fan_out counts.
    """

    frameworks: str
    layer: str
    axes: tuple[str, ...]
    make: Callable[[], Any]
    path: str = "kernel"
    inputs: tuple[str, ...] = ("in",)
    outputs: tuple[str, ...] = ("out",)

    def color(self, axis: str, scheme: Scheme) -> str:
        """What an axis is drawn in."""
        number = _INPUT if axis in self.inputs else _OUTPUT if axis in self.outputs else _OTHER
        return scheme.colors[number]


@dataclass(frozen=True)
class Blocks:
    """How frameworks store several matrices, such as the gates of an LSTM.

    Attributes:
        frameworks, layer, make, path: as in `Stored`; the path of the first of them, if there are several tensors.
        names: the matrices, in their order.
        along: "rows" if they lie one upon another in one tensor, "columns" if side by side, "" if each is a tensor.
    """

    frameworks: str
    layer: str
    names: tuple[str, ...]
    along: str
    make: Callable[[], Any]
    path: str


def entry_of(stored: Stored | Blocks) -> Entry:
    """What fanin knows of the weight: its shape and its fans."""
    rules = [{"path": stored.path, "initializer": "glorot_uniform"}, {"path": "*", "initializer": "keep"}]
    return fanin.Recipe(rules, seed=0).plan(stored.make()).entry(stored.path)


def _torch(layer: str, *arguments: Any, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import torch

        return getattr(torch.nn, layer)(*arguments, device="meta", **options)

    return make


def _flax(layer: str, *arguments: Any, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from flax import nnx

        return nnx.eval_shape(lambda: getattr(nnx, layer)(*arguments, rngs=nnx.Rngs(0), **options))

    return make


def _keras(layer: str, shape: tuple[int | None, ...], *arguments: Any, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        made = getattr(keras.layers, layer)(*arguments, **options)
        made.build(*[shape] * (2 if layer == "MultiHeadAttention" else 1))
        return made

    return make


_WIDE = ("height", "width")
_IMAGE = (None, 8, 8, 64)
DENSE = (
    Stored("Keras, flax", "Dense(256)", ("in", "out"), _keras("Dense", (None, 784), 256)),
    Stored("PyTorch, equinox", "Linear(784, 256)", ("out", "in"), _torch("Linear", 784, 256), "weight"),
)
CONV = (
    Stored("Keras, flax", "Conv2D(128, 3)", (*_WIDE, "in", "out"), _keras("Conv2D", _IMAGE, 128, 3)),
    Stored("PyTorch, equinox", "Conv2d(64, 128, 3)", ("out", "in", *_WIDE), _torch("Conv2d", 64, 128, 3), "weight"),
)
DEPTHWISE = (
    Stored(
        "Keras",
        "DepthwiseConv2D(3)",
        (*_WIDE, "channels", "1"),
        _keras("DepthwiseConv2D", _IMAGE, 3),
        outputs=("channels",),
    ),
    Stored(
        "flax",
        "Conv(64, 64, (3, 3), feature_group_count=64)",
        (*_WIDE, "1", "channels"),
        _flax("Conv", 64, 64, (3, 3), feature_group_count=64),
        outputs=("channels",),
    ),
    Stored(
        "PyTorch",
        "Conv2d(64, 64, 3, groups=64)",
        ("channels", "1", *_WIDE),
        _torch("Conv2d", 64, 64, 3, groups=64),
        "weight",
        outputs=("channels",),
    ),
)
TRANSPOSED = (
    Stored("Keras", "Conv2DTranspose(128, 4)", (*_WIDE, "out", "in"), _keras("Conv2DTranspose", _IMAGE, 128, 4)),
    Stored("flax", "ConvTranspose(64, 128, (4, 4))", (*_WIDE, "in", "out"), _flax("ConvTranspose", 64, 128, (4, 4))),
    Stored(
        "PyTorch", "ConvTranspose2d(64, 128, 4)", ("in", "out", *_WIDE), _torch("ConvTranspose2d", 64, 128, 4), "weight"
    ),
)
EMBEDDING = (
    Stored(
        "Keras, flax, PyTorch",
        "Embedding(1000, 64)",
        ("tokens", "features"),
        _torch("Embedding", 1000, 64),
        "weight",
        inputs=("tokens",),
        outputs=("features",),
    ),
)
HEADS = (
    Stored(
        "Keras, flax",
        "MultiHeadAttention(8, 16): query",
        ("in", "heads", "size"),
        _keras("MultiHeadAttention", (None, 5, 64), 8, 16),
        "query.kernel",
        outputs=("heads", "size"),
    ),
    Stored(
        "Keras, flax",
        "MultiHeadAttention(8, 16): output",
        ("heads", "size", "out"),
        _keras("MultiHeadAttention", (None, 5, 64), 8, 16),
        "attention_output.kernel",
        inputs=("heads", "size"),
    ),
)
ATTENTION = (
    Blocks(
        "PyTorch",
        "MultiheadAttention(64, 8): in_proj_weight",
        ("query", "key", "value"),
        "rows",
        _torch("MultiheadAttention", 64, 8),
        "in_proj_weight",
    ),
    Blocks(
        "flax",
        "MultiHeadAttention(8, 64)",
        ("query", "key", "value"),
        "",
        _flax("MultiHeadAttention", 8, 64),
        "query.kernel",
    ),
)
LSTM = (
    Blocks(
        "Keras",
        "LSTM(64): kernel",
        ("input", "forget", "cell", "output"),
        "columns",
        _keras("LSTM", (None, 5, 32), 64),
        "lstm_cell.kernel",
    ),
    Blocks(
        "PyTorch",
        "LSTM(32, 64): weight_ih_l0",
        ("input", "forget", "cell", "output"),
        "rows",
        _torch("LSTM", 32, 64),
        "weight_ih_l0",
    ),
    Blocks(
        "flax",
        "LSTMCell(32, 64): ii, if_, ig, io",
        ("input", "forget", "cell", "output"),
        "",
        _flax("LSTMCell", 32, 64),
        "ii.kernel",
    ),
)
LAYERS: dict[str, Sequence[Stored | Blocks]] = {
    "dense": DENSE,
    "conv": CONV,
    "depthwise": DEPTHWISE,
    "transposed": TRANSPOSED,
    "embedding": EMBEDDING,
    "heads": HEADS,
    "attention": ATTENTION,
    "lstm": LSTM,
}


@lru_cache
def _known(stored: Stored | Blocks) -> tuple[tuple[int, ...], tuple[float, float]]:
    """The shape and the fans, once for both schemes."""
    entry = entry_of(stored)
    assert entry.fans is not None
    return tuple(entry.shape), entry.fans


def _head(canvas: Canvas, stored: Stored | Blocks, top: float) -> None:
    """The framework and its layer, above what it stores."""
    canvas.text(0, top + 15, stored.frameworks, size=15, bold=True)
    canvas.text(_WIDTH, top + 15, stored.layer, size=13, color=canvas.scheme.soft, anchor="end", mono=True)


def _box(canvas: Canvas, x: float, y: float, width: float, height: float, color: str) -> None:
    canvas.shape(
        "rect", x=x + 1, y=y + 1, width=width - 2, height=height - 2, rx=5, fill=color, fill_opacity=".16",
        stroke=color, stroke_width=1.5,
    )  # fmt: skip


def _labelled(canvas: Canvas, place: tuple[float, float, float, float], name: str, note: str, color: str) -> None:
    """A box with a name and, below it, a note."""
    x, y, width, height = place
    _box(canvas, x, y, width, height, color)
    middle = y + height / 2
    canvas.text(x + width / 2, middle + (-2 if note else 5), name, size=15, anchor="middle", bold=True)
    if note:
        canvas.text(x + width / 2, middle + 15, note, size=13, color=canvas.scheme.soft, anchor="middle")


def _fans(canvas: Canvas, fans: tuple[float, float], top: float) -> None:
    words = f"fan_in {fans[0]:,g} · fan_out {fans[1]:,g}"
    canvas.text(0, top, words, size=13, color=canvas.scheme.soft)


def strip(canvas: Canvas, stored: Stored, top: float) -> float:
    """Draws the axes of a weight as boxes, in the order in which they are stored; returns where the next one begins."""
    shape, fans = _known(stored)
    _head(canvas, stored, top)
    for number, (axis, length) in enumerate(zip(stored.axes, shape, strict=True)):
        place = (number * _CELL, top + 26, _CELL, _HIGH)
        name, note = ("1", "") if axis == "1" else (axis, f"{length:,}")
        _labelled(canvas, place, name, note, stored.color(axis, canvas.scheme))
    _fans(canvas, fans, top + 26 + _HIGH + 18)
    return top + _STEP + 8


def blocks(canvas: Canvas, stored: Blocks, top: float) -> float:
    """Draws matrices one upon another, side by side, or apart; returns where the next ones begin."""
    shape, fans = _known(stored)
    _head(canvas, stored, top)
    count, left, first = len(stored.names), 0.0, top + 26
    gap = 0 if stored.along else 8
    width = 170.0 if stored.along == "rows" else (_WIDTH - gap * (count - 1)) / count
    height = 34.0 if stored.along == "rows" else _HIGH
    for number, name in enumerate(stored.names):
        x, y = (left, first + number * height) if stored.along == "rows" else (left + number * (width + gap), first)
        note = "" if stored.along == "rows" else _note(shape, stored.along, count)
        _labelled(canvas, (x, y, width, height), name, note, canvas.scheme.colors[_PART + number])
    bottom = first + height * (count if stored.along == "rows" else 1)
    if stored.along == "rows":
        _sizes(canvas, shape, width, (first, bottom), count)
    _fans(canvas, fans, bottom + 18)
    return bottom + 48


def _note(shape: tuple[int, ...], along: str, count: int) -> str:
    """The shape of one of the matrices."""
    lengths = (shape[0], shape[1] // count) if along == "columns" else shape
    return " × ".join(map(str, lengths))


def _sizes(canvas: Canvas, shape: tuple[int, ...], width: float, ends: tuple[float, float], count: int) -> None:
    """The sizes of a tensor whose matrices lie one upon another, beside it."""
    x, middle = width + 18, sum(ends) / 2
    canvas.path(f"M{x - 8},{ends[0] + 2}h6V{ends[1] - 2}h-6", stroke=canvas.scheme.soft, stroke_width=1.5)
    canvas.text(x + 8, middle - 3, f"{shape[0]} rows = {count} × {shape[0] // count} outputs", size=14)
    canvas.text(x + 8, middle + 17, f"{shape[1]} columns: the inputs", size=14, color=canvas.scheme.soft)


_TITLES = {
    "conv": "The axes of a convolution's kernel",
    "depthwise": "The axes of a depthwise convolution's kernel",
    "transposed": "The axes of a transposed convolution's kernel",
    "embedding": "The axes of an embedding",
    "heads": "The axes of attention's kernels with heads",
    "attention": "Queries, keys and values: one tensor or three",
    "lstm": "The gates of an LSTM: one tensor or four",
}


def _picture(name: str, scheme: str) -> str:
    """The picture of a layer."""
    drawn = LAYERS[name]
    height, measured = 0.0, Canvas(0, 0, "", "", SCHEMES[scheme])
    for stored in drawn:
        height = _draw(measured, stored, height)
    said = "; ".join(f"{each.frameworks}: {_spoken(each)}" for each in drawn)
    canvas, top = Canvas(_WIDTH, height - 14, _TITLES[name], f"{said}.", SCHEMES[scheme]), 0.0
    for stored in drawn:
        top = _draw(canvas, stored, top)
    return str(canvas)


def _draw(canvas: Canvas, stored: Stored | Blocks, top: float) -> float:
    return strip(canvas, stored, top) if isinstance(stored, Stored) else blocks(canvas, stored, top)


def _spoken(stored: Stored | Blocks) -> str:
    """What is drawn, for those who listen."""
    shape, fans = _known(stored)
    if isinstance(stored, Stored):
        names = ", ".join(f"{axis} {length}" for axis, length in zip(stored.axes, shape, strict=True))
    else:
        how = {"rows": "one upon another", "columns": "side by side", "": "each a tensor"}[stored.along]
        names = f"{', '.join(stored.names)}, {how}, of shape {' × '.join(map(str, shape))}"
    return f"{names} (fan_in {fans[0]:g}, fan_out {fans[1]:g})"


_VALUE_WIDTH, _VALUE_HIGH = 92.0, 40.0


def _dense(scheme: str) -> str:
    """A dense kernel of 2 inputs and 3 outputs in both orders, with the values that a seed gives it."""
    kernel = fanin.GlorotUniform(seed=1)((2, 3))
    description = "A Keras kernel (in, out) and the PyTorch weight (out, in) hold the same six values, transposed."
    canvas = Canvas(_WIDTH, 354, "The same dense layer in both orders", description, SCHEMES[scheme])
    for stored, values, top in ((DENSE[0], kernel, 0.0), (DENSE[1], kernel.T, 166.0)):
        canvas.text(0, top + 15, stored.frameworks, size=15, bold=True)
        words = f"({', '.join(stored.axes)}) = {values.shape}"
        canvas.text(_WIDTH, top + 15, words, size=13, color=canvas.scheme.soft, anchor="end", mono=True)
        _values(canvas, stored, values.tolist(), top + 54)
    return str(canvas)


def _values(canvas: Canvas, stored: Stored, rows: list[list[float]], top: float) -> None:
    """A matrix of values: a bar along each axis has the colour of the axis, and each output one of its own."""
    left, soft, axes = 62.0, canvas.scheme.soft, stored.axes
    across, down = f"M{left},{top - 4}h{len(rows[0]) * _VALUE_WIDTH}", f"M{left - 4},{top}v{len(rows) * _VALUE_HIGH}"
    for axis, bar in zip(axes, (down, across), strict=True):
        canvas.path(bar, stroke=stored.color(axis, canvas.scheme), stroke_width=4)
    for column in range(len(rows[0])):
        x = left + (column + 0.5) * _VALUE_WIDTH
        canvas.text(x, top - 13, f"{axes[1]} {column}", size=13, color=soft, anchor="middle")
    for row, values in enumerate(rows):
        y = top + row * _VALUE_HIGH
        canvas.text(left - 12, y + 25, f"{axes[0]} {row}", size=13, color=soft, anchor="end")
        for column, value in enumerate(values):
            output = column if axes[1] == "out" else row
            place = (left + column * _VALUE_WIDTH, y, _VALUE_WIDTH, _VALUE_HIGH)
            _labelled(canvas, place, f"{value:.4f}".replace("-", "−"), "", canvas.scheme.colors[_PART + output])


PICTURES: dict[str, Callable[[str], str]] = {
    "layouts/dense": _dense,
    **{f"layouts/{name}": partial(_picture, name) for name in LAYERS if name != "dense"},
}
