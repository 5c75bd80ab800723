"""`Weight`, the only source of values: a distribution and a stream, which together fill any region of a tensor.

>>> import fanin
>>> weight = fanin.HeNormal(seed=1).weight((784, 256))
>>> top = weight.make((slice(0, 2), slice(None)))
>>> bool((top == fanin.HeNormal(seed=1)((784, 256))[:2]).all())
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from fanin import _native
from fanin._core.layouts import permuted
from fanin._core.memory import allocate, parts
from fanin._core.shapes import Region, parse_region
from fanin._core.streams import Stream
from fanin._core.types import Array, DType, RegionLike, Shape
from fanin.distributions import Distribution

__all__ = [
    "Weight",
    "pieces_of",
]

_CHUNK = 2**16  # elements drawn at a time if they are rounded afterwards: 256 KiB of float32, which fit in cache


class Weight(NamedTuple):
    """A tensor's values as a pure function of (seed, index): a distribution, a stream and the storage format.

    Initializer calls, regions, shards, model plans and audits all fill arrays through `fill`.

    Attributes:
        distribution: the distribution of the elements, in Keras's axis order.
        stream: the stream of the values.
        stored: the dtype that values are rounded to once; None for the distribution's own.
        axes: the stored tensor's axes in Keras's order, as `transpose` takes them; None if it is stored in that order.
    """

    distribution: Distribution
    stream: Stream
    stored: DType | None = None
    axes: Shape | None = None

    @property
    def shape(self) -> Shape:
        """The shape of the stored tensor."""
        shape = self.distribution.shape
        if self.axes is None:
            return shape
        lengths = dict(zip(self.axes, shape, strict=True))
        return tuple(lengths[axis] for axis in range(len(shape)))

    @property
    def dtype(self) -> DType:
        """The dtype of the stored tensor."""
        return self.distribution.dtype if self.stored is None else self.stored

    def fill(self, out: Array, region: Region | RegionLike | None = None) -> None:
        """Fills an array with the tensor's values, or with those of a region of it.

        Args:
            out: a writable array with the shape of the tensor or region, the tensor's dtype, and any strides.
            region: NumPy's basic indexing with step 1 of the stored tensor.
        """
        distribution, stream, _, axes = self
        if region is not None and not isinstance(region, Region):
            region = parse_region(region, self.shape)
        if axes is not None:
            if region is not None:
                out, region = _with_all_axes(out, region)
            out, region = out.transpose(axes), self._in_keras_order(region)
        same = out.dtype is distribution.dtype or out.dtype == distribution.dtype
        if not same and not distribution.rounds_to(out.dtype):
            _native.undisturbed(_fill_rounded, self, out, region)
        elif distribution.in_kernels:
            distribution.fill(out, stream, region)
        else:
            _native.undisturbed(distribution.fill, out, stream, region)

    def _in_keras_order(self, region: Region | None) -> Region | None:
        """A region of the stored tensor as one of the distribution's."""
        if region is None or self.axes is None:
            return region
        return Region(*(permuted(each, self.axes) for each in region))

    def make(self, region: RegionLike | None = None) -> Array:
        """The tensor, or a region of it, as a new array: 64-byte aligned, in C order.

        Args:
            region: NumPy's basic indexing with step 1.
        """
        wanted = None if region is None else parse_region(region, self.shape)
        self.distribution.reserve(self._in_keras_order(wanted))
        out = allocate(self.shape if wanted is None else wanted.shape, self.dtype)
        self.fill(out, wanted)
        return out

    def pieces(self, regions: Iterable[RegionLike]) -> list[Array]:
        """An array for each region, such as the shards of a process's devices; equal regions share one array."""
        return pieces_of(self.shape, self.make, regions)


def _with_all_axes(out: Array, region: Region) -> tuple[Array, Region]:
    """The array and the region, with the axes that integer indices dropped restored to length 1."""
    whole = region._replace(dropped=(False,) * len(region.dropped))
    return out[(*region.restored_axes, ...)], whole  # the dots keep a 0-d array an array


def _fill_rounded(weight: Weight, out: Array, region: Region | None) -> None:
    """Draws a part at a time in the distribution's dtype and rounds it once."""
    distribution = weight.distribution
    for target, part in parts(out, distribution.shape, region, _CHUNK):
        drawn = np.empty(part.lengths, distribution.dtype)
        distribution.fill(drawn, weight.stream, part)
        with np.errstate(all="ignore"):  # an overflow becomes whatever the dtype has for it
            target[...] = drawn.astype(out.dtype)


def pieces_of(shape: Shape, make: Callable[[RegionLike], Array], regions: Iterable[RegionLike]) -> list[Array]:
    """An array for each region of a tensor of this shape; equal regions share one array."""
    made: dict[Region, Array] = {}
    arrays = []
    for region in regions:
        wanted = parse_region(region, shape)
        if wanted not in made:
            made[wanted] = make(region)
        arrays.append(made[wanted])
    return arrays
