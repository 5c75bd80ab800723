"""Shapes, fans and regions: pure integer arithmetic."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from types import EllipsisType
from typing import Any, NamedTuple, TypeGuard

from fanin._core.messages import shown
from fanin._core.types import RegionLike, ShapeLike

MAX_ELEMENTS = 2**63 - 1
MAX_RANK = 64  # NumPy's


def checked_shape(shape: ShapeLike) -> tuple[int, ...]:
    """A shape as a tuple of Python ints, from a tuple, list, array, tf.TensorShape or torch.Size."""
    lengths: tuple[int, ...] = shape if _is_plain(shape) else _converted_shape(shape)
    if len(lengths) > MAX_RANK:
        raise ValueError(f"`shape` must have a rank of at most {MAX_RANK}. Received: a shape of rank {len(lengths)}.")
    if math.prod(lengths) > MAX_ELEMENTS or (0 in lengths and math.prod(filter(None, lengths)) > MAX_ELEMENTS):
        # An empty tensor's other axes are limited too, because its fans are computed from them.
        raise ValueError(f"`shape` must have at most 2**63 - 1 elements. Received: shape={shown(lengths)}.")
    return lengths


def _is_plain(shape: Any) -> TypeGuard[tuple[int, ...]]:
    """Whether the shape is already a tuple of non-negative Python ints, as it nearly always is."""
    if type(shape) is not tuple:
        return False
    for length in shape:  # noqa: SIM110 (half the time of `all` with a generator, which matters in small calls)
        if type(length) is not int or length < 0:
            return False
    return True


def _converted_shape(shape: Any) -> tuple[int, ...]:
    rule = "`shape` must be a sequence of non-negative integers"
    if isinstance(shape, (str, bytes, dict, set)):
        raise TypeError(f"{rule}. Received: shape={shown(shape)}.")
    try:
        entries = tuple(shape)
    except (TypeError, ValueError):  # a TensorShape of unknown rank raises ValueError
        hint = f" Write ({shown(shape)},)." if isinstance(shape, int) else ""
        raise TypeError(f"{rule}. Received: shape={shown(shape)}.{hint}") from None
    lengths = []
    for entry in entries:
        try:
            if isinstance(entry, bool):
                raise TypeError
            lengths.append(operator.index(entry))
        except TypeError:
            hint = " Every dimension must be known." if entry is None else ""
            raise TypeError(f"{rule}. Received: shape={shown(shape)}, which contains {shown(entry)}.{hint}") from None
        if lengths[-1] < 0:
            raise ValueError(f"{rule}. Received: shape={shown(shape)}, which contains {shown(entry)}.")
    return tuple(lengths)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out: the units that feed one output, and those that one input feeds.

    Both fans of `()` are 1, and both fans of `(n,)` are n. `(fan_in, fan_out)` is a dense kernel, and
    `(*receptive_field, in, out)` a convolution's, whose receptive field multiplies both.
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    receptive_field = math.prod(shape[:-2])
    return receptive_field * shape[-2], receptive_field * shape[-1]


def fans_of_axes(shape: tuple[int, ...], input_axes: tuple[int, ...], output_axes: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out as the products of these axes' lengths, as in Keras 3 for einsum kernels."""
    for name, axes in (("input_axes", input_axes), ("output_axes", output_axes)):
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            raise ValueError(f"`{name}` must be axes of the shape {shape}. Received: {name}={list(axes)}.")
    return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)


class FanAxes(NamedTuple):
    """Which axes of a tensor make the fans of its kernels.

    Attributes:
        inputs: the axes whose lengths are the inputs.
        outputs: those whose lengths are the outputs.
        batch: those that number kernels of their own. All others are the receptive field, which multiplies both fans.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: tuple[int, ...]

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Fan-in and fan-out of each kernel of a tensor.

        Raises:
            ValueError: an axis is not one of the shape's, or comes up twice.
        """
        named = {"in_axis": self.inputs, "out_axis": self.outputs, "batch_axis": self.batch}
        inputs, outputs, batch = (normal_axes(name, axes, shape) for name, axes in named.items())
        if len({*inputs, *outputs, *batch}) < len(inputs + outputs + batch):
            received = ", ".join(f"{name}={list(axes)}" for name, axes in named.items())
            raise ValueError(
                f"`in_axis`, `out_axis` and `batch_axis` must not share axes. Received: {received} for shape {shape}."
            )
        others = set(range(len(shape))).difference(inputs, outputs, batch)
        receptive_field, fan_in, fan_out = (
            math.prod(shape[axis] for axis in axes) for axes in (others, inputs, outputs)
        )
        return receptive_field * fan_in, receptive_field * fan_out


def checked_axes(name: str, axes: Any) -> int | tuple[int, ...]:
    """An axis, or a sequence of axes as a tuple.

    Raises:
        TypeError: it is neither.
    """
    try:
        if isinstance(axes, (bool, str)):
            raise TypeError
        if hasattr(axes, "__index__"):
            return operator.index(axes)
        entries = tuple(axes)
        if any(isinstance(axis, bool) for axis in entries):
            raise TypeError
        return tuple(map(operator.index, entries))
    except TypeError:
        raise TypeError(
            f"`{name}` must be an integer or a sequence of integers. Received: {name}={shown(axes)}."
        ) from None


def normal_axes(name: str, axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of a shape, counted from the first.

    Raises:
        ValueError: one is not an axis of the shape, or comes up twice.
    """
    rank = len(shape)
    normal = tuple(axis % rank for axis in axes if -rank <= axis < rank)
    if len(set(normal)) < len(axes):
        raise ValueError(f"`{name}` must be different axes of the shape {shape}. Received: {name}={shown(list(axes))}.")
    return normal


class Region(NamedTuple):
    """A region of a tensor: `starts` and `lengths` for each of its axes, and which axes an integer index drops."""

    full_shape: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    dropped: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple(length for length, dropped in zip(self.lengths, self.dropped, strict=True) if not dropped)

    @property
    def index_strides(self) -> tuple[int, ...]:
        """The stride of the flat, C-order index in the full tensor along each axis of the result."""
        strides = c_strides(self.full_shape)
        return tuple(stride for stride, dropped in zip(strides, self.dropped, strict=True) if not dropped)

    @property
    def first_index(self) -> int:
        """The flat index of the region's first element."""
        return sum(map(operator.mul, self.starts, c_strides(self.full_shape)))

    @property
    def slices(self) -> tuple[Any, ...]:
        """The index that selects the region from the full tensor."""
        return tuple(
            start if dropped else slice(start, start + length)
            for start, length, dropped in zip(self.starts, self.lengths, self.dropped, strict=True)
        )

    @property
    def restored_axes(self) -> tuple[Any, ...]:
        """The index that restores the dropped axes of a result, with length 1."""
        return tuple(None if dropped else slice(None) for dropped in self.dropped)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a C-order tensor, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def parse_region(region: RegionLike, shape: tuple[int, ...]) -> Region:
    """A region from NumPy's basic indexing with step 1: integers, slices, Ellipsis, fewer entries than the rank."""
    entries = list(region) if isinstance(region, tuple) else [region]
    ellipses = [position for position, entry in enumerate(entries) if isinstance(entry, EllipsisType)]
    if len(ellipses) > 1:
        raise IndexError(f"`region` can have at most one Ellipsis. Received: region={shown(region)}.")
    missing = len(shape) - (len(entries) - len(ellipses))
    if missing < 0:
        raise IndexError(
            f"`region` has more entries than the shape {shape} has axes. Received: region={shown(region)}."
        )
    position = ellipses[0] if ellipses else len(entries)
    entries[position : position + len(ellipses)] = [slice(None)] * missing

    starts, lengths, dropped = [], [], []
    for axis, (entry, length) in enumerate(zip(entries, shape, strict=True)):
        if isinstance(entry, slice):
            try:
                start, stop, step = entry.indices(length)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"`region` must have integers or None in its slices ({error}). Received: region={shown(region)}."
                ) from None
            if step != 1:
                raise ValueError(
                    f"`region` must have slices of step 1. Received: region={shown(region)}, step {shown(step)} for "
                    f"axis {axis}."
                )
            starts.append(start)
            lengths.append(max(0, stop - start))
        else:
            index = _integer_entry(entry, region)
            if not -length <= index < length:
                raise IndexError(
                    f"`region` must lie within the shape {shape}. Received: region={shown(region)}, index "
                    f"{shown(index)} for axis {axis} of length {length}."
                )
            starts.append(index % length)
            lengths.append(1)
        dropped.append(not isinstance(entry, slice))
    return Region(shape, tuple(starts), tuple(lengths), tuple(dropped))


def _integer_entry(entry: Any, region: RegionLike) -> int:
    """An integer index. Arrays are refused, even 0-d ones, since in NumPy they are advanced indexing."""
    try:
        if isinstance(entry, bool) or (hasattr(entry, "ndim") and not hasattr(entry, "is_integer")):
            raise TypeError
        return operator.index(entry)
    except TypeError:
        raise TypeError(
            "`region` must be made of integers, slices of step 1 and Ellipsis. "
            f"Received: region={shown(region)}, which contains {shown(entry)}."
        ) from None


def chunks(lengths: tuple[int, ...], most: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Regions of at most `most` elements that tile a tensor, as (start, stop) along each axis."""
    if math.prod(lengths) <= most:
        yield tuple((0, length) for length in lengths)
        return
    first, *rest = lengths
    step = most // math.prod(rest)
    for start in range(0, first, max(1, step)):
        for inner in chunks(tuple(rest), most) if step < 1 else [tuple((0, length) for length in rest)]:
            yield ((start, min(start + max(1, step), first)), *inner)
