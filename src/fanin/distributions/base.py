"""What every distribution says of itself: fields, moments, fans."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.shapes import Region, fans
from fanin._core.streams import Stream
from fanin._core.types import Array, DType


class Moments(NamedTuple):
    """The moments of a tensor's elements.

    Attributes:
        mean: the expected value of an element.
        stddev: its standard deviation, after any truncation.
        kurtosis: its fourth central moment over its squared variance; None if the spread is not random.
    """

    mean: float
    stddev: float
    kurtosis: float | None = None


@dataclass(frozen=True)
class Distribution:
    """The distribution of a tensor's elements. The fields of subclasses are named like Keras's arguments.

    Attributes:
        shape: the tensor's shape.
        dtype: its dtype, as a NumPy dtype.
        own_fans: fan_in and fan_out, if they are not those of the last two axes; None if they are.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    own_fans: tuple[float, float] | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = "unknown"
    random: ClassVar[bool] = False  # whether values depend on the seed
    # Whether `fill` leaves all arithmetic to the kernels, which shut out the caller's floating-point environment.
    in_kernels: ClassVar[bool] = False
    is_made_whole: ClassVar[bool] = False  # whether `fill` makes the whole tensor, whatever the region
    is_own_code: ClassVar[bool] = False  # whether a model's own code computes the values

    @undisturbed
    def __post_init__(self) -> None:
        if self.own_fans is not None and self.own_fans == fans(self.shape):  # so that equal distributions compare equal
            object.__setattr__(self, "own_fans", None)
        self._round_parameters()

    def _round_parameters(self) -> None:
        """Rounds the parameters to the dtype, in the default floating-point environment."""

    @property
    def fan_in(self) -> float:
        """The number of units that feed one output."""
        return self._fans[0]

    @property
    def fan_out(self) -> float:
        """The number of units that one input feeds."""
        return self._fans[1]

    @cached_property
    def _fans(self) -> tuple[float, float]:
        return fans(self.shape) if self.own_fans is None else self.own_fans

    def with_fans(self, fan_in: float, fan_out: float) -> Self:
        """The same distribution for a kernel whose fans are not those of its last two axes."""
        return replace(self, own_fans=(fan_in, fan_out))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that can be drawn, up to one rounding in the dtype."""
        raise NotImplementedError

    @cached_property
    def moments(self) -> Moments:
        """The moments of the elements."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """The distribution's own parameters, by name."""
        return {
            name: value
            for name, value in vars(self).items()
            if name in self.__dataclass_fields__ and name not in Distribution.__dataclass_fields__
        }

    def reserve(self, region: Region | None = None) -> None:
        """Raises MemoryError if the temporary memory that `fill` needs for a region cannot be allocated."""

    def rounds_to(self, dtype: DType) -> bool:
        """Whether `fill` can write values that are rounded once to this other dtype."""
        return False

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        """Fills an array with the tensor of a stream, or with a region of it. Nothing is checked.

        Args:
            out: a writable array of the tensor's or the region's shape, of this dtype or one that `rounds_to` accepts.
            stream: the stream of the values, if they are random.
            region: a region of the tensor; None for all of it.
        """
        raise NotImplementedError

    def _round(self, dtype: DType, *names: str) -> None:
        """Rounds these parameters to a dtype."""
        for name in names:
            object.__setattr__(self, name, float(dtypes.rounded(getattr(self, name), dtype)))
