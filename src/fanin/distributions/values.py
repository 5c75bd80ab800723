"""Values that nothing is drawn for: one everywhere, or a table of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.memory import fill_constant, parts
from fanin._core.shapes import Region
from fanin._core.streams import Stream
from fanin._core.types import Array
from fanin.distributions.base import Distribution, Moments

_CHUNK = 2**22  # elements that are written at a time, between which an interrupt comes through


@dataclass(frozen=True)
class Constant(Distribution):
    """One value everywhere."""

    value: Any
    kind: ClassVar[str] = "constant"

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return float(self.value.real), float(self.value.real)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(float(self.value.real), 0.0)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, self.value)


@dataclass(frozen=True, eq=False)
class Table(Distribution):
    """Given values of the tensor's dtype, broadcast to its shape as NumPy broadcasts."""

    values: Array
    kind: ClassVar[str] = "table"

    def parameters(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        values = self._real
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        values = self._real
        if not values.size:
            return Moments(0.0, 0.0)
        with np.errstate(all="ignore"):  # infinite values have no moments
            return Moments(float(values.mean()), float(values.std()))

    @property
    def _real(self) -> Array:
        return np.real(self.values).astype(np.float64)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        whole = np.broadcast_to(self.values, self.shape)
        for target, part in parts(out, self.shape, region, _CHUNK):
            target[...] = whole[part.slices]

    def _exact(self) -> tuple[Any, ...]:
        return self.shape, self.dtype, self.own_fans, self.values.shape, self.values.tobytes()

    def __eq__(self, other: object) -> bool:
        return self._exact() == other._exact() if isinstance(other, Table) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._exact())
