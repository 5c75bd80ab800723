"""Entries of plans: the weights that are drawn for a parameter, as plain data, and any region of its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.layouts import permuted
from fanin._core.memory import allocate
from fanin._core.messages import visible
from fanin._core.shapes import chunks, parse_region
from fanin._core.types import Array, RegionLike, Shape
from fanin.distributions.weight import Weight, pieces_of
from fanin.initializers import Initializer
from fanin.models.parameters import Parameter

RECORDED = "recorded"  # in place of a rule, of parameters whose initialization was read from a model's own code

Box: TypeAlias = tuple[tuple[int, int], ...]  # the (start, stop) along each axis
Fans: TypeAlias = tuple[float | None, float | None]  # fan-in and fan-out; None for one that is unknown


@dataclass(frozen=True)
class Placement:
    """A weight to draw, and which region of it goes where in the parameter, both in Keras's axis order.

    Attributes:
        name: the name that its seed is spawned from.
        initializer: the initializer, with that seed.
        weight: the weight of the whole tensor.
        target: the (start, stop) in the parameter, for each axis.
        source: the start in the tensor, for each axis. The tensor of a layer has no axis for those that stack layers.
        label: the block; "" for the whole parameter.
        fans: the fans of that tensor: the rule's own, or else the layer's.
        follows: the parameters whose values it has, or is computed from, by their paths.
    """

    name: str
    initializer: Initializer
    weight: Weight
    target: Box
    source: Shape
    label: str = ""
    fans: Fans = (None, None)
    follows: tuple[str, ...] = ()

    @property
    def seed(self) -> int | None:
        """The seed; None if the values do not depend on one."""
        return self.weight.stream.seed if self.weight.distribution.random else None

    @property
    def size(self) -> int:
        """The number of elements of the parameter that it fills."""
        return math.prod(stop - start for start, stop in self.target)

    def fill(self, out: Array, starts: Shape) -> None:
        """Fills an array with the region of the target that begins at these starts, relative to the target."""
        above = out.ndim - len(self.weight.shape)
        out, starts = out[(*(0,) * above, ...)], starts[above:]
        if out.shape == self.weight.shape:
            self.weight.fill(out)
            return
        begins = [start + more for start, more in zip(self.source, starts, strict=True)]
        wanted = tuple(slice(begin, begin + length) for begin, length in zip(begins, out.shape, strict=True))
        self.weight.fill(out, parse_region(wanted, self.weight.shape))


@dataclass(frozen=True)
class Entry:
    """What one parameter gets.

    Attributes:
        parameter: the parameter.
        name: the name that it is drawn under.
        rule: the rule that matched, in words, with its line; "" if none did.
        rules: the numbers of the rules that matched, from 0.
        placements: the weights to draw; empty for a parameter that stays as it is or has a problem.
        kept: whether it stays as it is.
        problem: why it cannot be drawn, if so.
    """

    parameter: Parameter
    name: str
    rule: str = ""
    rules: tuple[int, ...] = ()
    placements: tuple[Placement, ...] = ()
    kept: bool = False
    problem: str = ""

    @property
    def path(self) -> str:
        """The parameter's path."""
        return self.parameter.path

    @property
    def shape(self) -> Shape:
        """The parameter's shape."""
        return self.parameter.shape

    @property
    def matched(self) -> bool:
        """Whether a rule applies to the parameter."""
        return bool(self.rule)

    @property
    def covers(self) -> bool:
        """Whether it draws the whole parameter; a rule may keep some of its blocks, or all of it."""
        drawn = sum(each.size for each in self.placements if each.label != "padding")
        return bool(self.placements) and drawn == self.parameter.size

    @property
    def initializer(self) -> Initializer | None:
        """The initializer of the (first) weight to draw; None if there is none."""
        return self.placements[0].initializer if self.placements else None

    @property
    def fans(self) -> tuple[float, float] | None:
        """The fans that count, of the first block that is drawn by itself; None unless both are known."""
        traits = self.parameter.traits
        fan_in, fan_out = self.placements[0].fans if self.placements else (traits.fan_in, traits.fan_out)
        return None if fan_in is None or fan_out is None else (fan_in, fan_out)

    @property
    def mean(self) -> float | None:
        """The expected mean of the elements (of an embedding, without its padding); None if nothing is drawn."""
        return None if (moments := self._moments()) is None else moments[0]

    @property
    def stddev(self) -> float | None:
        """The expected standard deviation of the same elements."""
        return None if (moments := self._moments()) is None else moments[1]

    @undisturbed
    def _moments(self) -> tuple[float, float] | None:
        """The mean and standard deviation of everything that is drawn, except padding; None if one is unknown."""
        parts = [(each.size, each.weight.distribution.moments) for each in self.placements if each.label != "padding"]
        total = sum(size for size, _ in parts)
        if not parts or any(math.isnan(moments.stddev) for _, moments in parts):
            return None
        if not total or len(parts) == 1:
            return parts[0][1].mean, parts[0][1].stddev
        mean = sum(size * moments.mean for size, moments in parts) / total
        square = sum(size * (moments.stddev**2 + moments.mean**2) for size, moments in parts) / total
        return mean, math.sqrt(max(0.0, square - mean**2))

    @property
    def is_computed(self) -> bool:
        """Whether the model's own code computes some of its values: a recording reads how."""
        return any(each.weight.distribution.is_own_code for each in self.placements)

    @property
    def copy_of(self) -> str:
        """The path of the parameter whose values it has on purpose; "" if it has its own, or computes them."""
        return "" if self.is_computed else next(iter(self.follows), "")

    def has_values_of(self, other: Entry) -> bool:
        """Whether another parameter is made of the same weights."""
        return [each.weight[:2] for each in self.placements] == [each.weight[:2] for each in other.placements]

    @property
    def follows(self) -> tuple[str, ...]:
        """The paths of the other parameters whose values it has, or is computed from."""
        paths = dict.fromkeys(path for each in self.placements for path in each.follows)
        return tuple(path for path in paths if path != self.path)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of random weights, each once."""
        return tuple(dict.fromkeys(each.seed for each in self.placements if each.seed is not None))

    @property
    def description(self) -> str:
        """The initializer or initializers in words, with their numbers."""
        if self.kept:
            return "stays as it is"
        words: dict[str, list[str]] = {}
        for each in self.placements:
            words.setdefault(each.initializer.summary, []).append(each.label)
        if len(words) > 3 and not any(map(any, words.values())):  # layers of a stack
            first, *_, last = words
            return f"{first}; …; {last}"
        if len(words) == 1 and not (len(self.placements) > 1 and len({each.name for each in self.placements}) > 1):
            return next(iter(words))
        return "; ".join(
            f"{', '.join(filter(None, labels))}: {text}".removeprefix(": ") for text, labels in words.items()
        )

    def fill(self, out: Array, region: RegionLike | None = None) -> None:
        """Fills an array with the parameter's values, or with those of a region of it.

        If it is interrupted, the array is partly written.

        Args:
            out: a writable array with the parameter's dtype and shape (or the region's), in its own axis order.
            region: NumPy's basic indexing with step 1 of the parameter.
        """
        parameter, axes = self.parameter, self.parameter.kernel_axes
        wanted = parse_region(... if region is None else region, parameter.shape)
        if out.shape != wanted.shape or out.dtype != parameter.dtype:
            raise ValueError(
                f"`out` must have the shape {wanted.shape} and the dtype {parameter.dtype.name}. "
                f"Received: shape {out.shape}, dtype {out.dtype.name}."
            )
        kernel = out[(*wanted.restored_axes, ...)].transpose(axes)  # the dots keep a 0-d array an array
        starts, lengths = permuted(wanted.starts, axes), permuted(wanted.lengths, axes)
        for each in self.placements:
            view, begins = [], []
            for (low, high), start, length in zip(each.target, starts, lengths, strict=True):
                first, last = max(low, start), min(high, start + length)
                view.append(slice(first - start, max(first, last) - start))
                begins.append(first - low)
            part = kernel[(*view, ...)]  # the Ellipsis keeps a 0-d array an array
            if part.size:
                each.fill(part, tuple(begins))

    def make(self, region: RegionLike | None = None) -> Array:
        """The parameter's values, or those of a region of it, as a new array.

        Raises:
            ValueError: a rule keeps some of its blocks, whose values are not known here. Use `over` or `fill`.
        """
        if not self.covers:
            raise ValueError(
                f"`make` must make a whole parameter, but rules keep all or a part of {visible(self.path)}. Pass its "
                "present values to `over`, or an array that has them to `fill`."
            )
        lengths = self.shape if region is None else parse_region(region, self.shape).shape
        out = allocate(lengths, self.parameter.dtype)
        self.fill(out, region)
        return out

    def regions(self, most: int) -> Iterator[tuple[slice, ...]]:
        """Regions that tile the parameter, in C order, for work in bounded memory.

        Args:
            most: the number of bytes that a region may have. Only matrices that are made as a whole, such as orthogonal
                ones, are not cut, because each of their regions would take the time of the matrix.
        """
        size = max(1, most // self.parameter.dtype.itemsize)
        for box, divisible in self._boxes():
            lengths = tuple(stop - start for start, stop in box)
            for each in chunks(lengths, size) if divisible else [tuple((0, length) for length in lengths)]:
                yield tuple(slice(low + start, low + stop) for (low, _), (start, stop) in zip(box, each, strict=True))

    def _boxes(self) -> list[tuple[Box, bool]]:
        """Boxes that tile the parameter, in its own axis order, and whether each can be made in pieces."""
        whole = tuple((0, length) for length in self.shape)
        if not any(each.weight.distribution.is_made_whole for each in self.placements):
            return [(whole, True)]
        if not self.covers or sum(each.size for each in self.placements) > self.parameter.size:  # padding lies above
            return [(whole, False)]
        axes = self.parameter.kernel_axes
        targets = [(dict(zip(axes, each.target, strict=True)), each.weight) for each in self.placements]
        boxes = [(tuple(box[axis] for axis in range(len(axes))), weight) for box, weight in targets]
        return sorted((box, not weight.distribution.is_made_whole) for box, weight in boxes)

    def over(self, values: Array) -> Array:
        """A copy of the parameter's present values, with new ones in their place except in blocks that a rule keeps.

        Args:
            values: an array of the parameter's shape.
        """
        out = np.array(values, self.parameter.dtype)
        self.fill(out)
        return out

    def pieces(self, regions: Iterable[RegionLike]) -> list[Array]:
        """An array for each region, such as the shards of a process's devices; equal regions share one array."""
        return pieces_of(self.shape, self.make, regions)

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        parameter = self.parameter
        return {
            "path": parameter.path,
            "name": self.name,
            "shape": list(parameter.shape),
            "dtype": parameter.dtype.name,
            "layout": parameter.layout,
            "layer": parameter.layer,
            "role": parameter.role,
            "rule": self.rule,
            "initializer": self.description,
            "fans": None if self.fans is None else list(self.fans),
            "mean": self.mean,
            "stddev": self.stddev,
            "seeds": list(self.seeds),
            "tied": list(parameter.tied),
            "problem": self.problem,
        }
