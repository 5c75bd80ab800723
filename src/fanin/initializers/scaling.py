"""Initializers whose variance depends on a kernel's fans, such as those of Glorot, He and LeCun."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

from fanin import distributions
from fanin._core.environment import undisturbed
from fanin._core.messages import shown, suggestion
from fanin._core.shapes import checked_shape, fans, fans_of_axes
from fanin._core.types import DType, DTypeLike, NumberLike, Seed, Shape, ShapeLike
from fanin.distributions import TRUNCATED_STDDEV, Distribution
from fanin.initializers.base import SeededInitializer, float_dtype, number

_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
_FanAxes = tuple[tuple[int, ...], tuple[int, ...]]


# Most of the time for a small tensor goes into its distribution, so recent ones are cached. (They are plain data.)
@lru_cache(maxsize=1024)
def _scaled(
    shape: Shape, dtype: DType, scale: float, mode: str, distribution: str, axes: _FanAxes | None
) -> Distribution:
    """The distribution with a variance of `scale / n`, where n is the number of units that the mode selects."""
    if axes is None:
        return _scaled_by_fans(shape, dtype, scale, mode, distribution, *fans(shape))
    both = fans_of_axes(shape, *axes)
    return _scaled_by_fans(shape, dtype, scale, mode, distribution, *both).with_fans(*both)


def _scaled_by_fans(
    shape: Shape, dtype: DType, scale: float, mode: str, distribution: str, fan_in: float, fan_out: float
) -> Distribution:
    units = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    variance = scale / max(1.0, units)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return distributions.Uniform(shape, dtype, -limit, limit)
    if distribution == "truncated_normal":
        return distributions.TruncatedNormal(shape, dtype, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)
    return distributions.Normal(shape, dtype, 0.0, math.sqrt(variance))


class VarianceScaling(SeededInitializer):
    """Draws with a variance of `scale / n`, where n is a kernel's number of units.

    Also available as `variance_scaling`. With `distribution="truncated_normal"` or `"untruncated_normal"` the mean is 0
    and the standard deviation, after any truncation, is `sqrt(scale / n)`; with `"uniform"` the values lie within
    [-limit, limit] with `limit = sqrt(3 * scale / n)`.

    >>> import fanin
    >>> initializer = fanin.initializers.VarianceScaling(
    ...     scale=0.1, mode='fan_in', distribution='uniform')
    >>> values = initializer(shape=(2, 2))

    Args:
        scale: a positive number.
        mode: "fan_in" (n is the number of input units), "fan_out" (output units) or "fan_avg" (their average).
        distribution: "truncated_normal" (or its alias "normal"), "untruncated_normal" or "uniform", in any case.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Attributes:
        fan_axes: the axes whose lengths make fan_in and those that make fan_out, as in Keras 3; None for the last two.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    scale: float
    mode: str
    fan_axes: _FanAxes | None = None

    @undisturbed  # a thread that flushes subnormal numbers takes a subnormal scale for 0
    def __init__(
        self,
        scale: NumberLike = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
    ) -> None:
        super().__init__(seed)
        self.scale = number("scale", scale)
        if self.scale <= 0.0:
            raise ValueError(f"`scale` must be positive float. Received: scale={shown(self.scale)}.")
        if not isinstance(mode, str) or mode not in _MODES:
            raise ValueError(
                f"Invalid `mode` argument: {shown(mode)}. Please use one of the {_MODES}.{suggestion(mode, _MODES)}"
            )
        lowered = distribution.lower() if isinstance(distribution, str) else distribution
        if lowered == "normal":
            lowered = "truncated_normal"
        if lowered not in _DISTRIBUTIONS:
            raise ValueError(
                f"Invalid `distribution` argument: {shown(distribution)}. Allowed distributions: {_DISTRIBUTIONS}."
                f"{suggestion(lowered, _DISTRIBUTIONS)}"
            )
        self.mode, self._distribution = mode, lowered

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        what = (checked_shape(shape), float_dtype(dtype), self.scale, self.mode, self._distribution)
        return _scaled(*what, self.fan_axes)

    @undisturbed
    def distribution_of_fans(self, shape: ShapeLike, dtype: DTypeLike, fan_in: float, fan_out: float) -> Distribution:
        """The distribution for a kernel whose fans are not those of its last two axes."""
        what = (checked_shape(shape), float_dtype(dtype), self.scale, self.mode, self._distribution, fan_in, fan_out)
        return _scaled_by_fans(*what).with_fans(fan_in, fan_out)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self._distribution, "seed": self.seed}


class _FixedScaling(VarianceScaling):
    """A rule from the literature: VarianceScaling with only the seed left to choose."""

    scale: float
    mode: str
    repeats = False
    _rule: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: Seed = None) -> None:
        SeededInitializer.__init__(self, seed)  # the rule needs none of VarianceScaling's checks
        self.scale, self.mode, self._distribution = self._rule

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotNormal(_FixedScaling):
    """The Glorot normal initializer, also called Xavier normal.

    Also available as `glorot_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(2 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "truncated_normal")


class GlorotUniform(_FixedScaling):
    """The Glorot uniform initializer, also called Xavier uniform.

    Also available as `glorot_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(6 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "uniform")


class LecunNormal(_FixedScaling):
    """The Lecun normal initializer.

    Also available as `lecun_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(1 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998; Klambauer et al., "Self-Normalizing Neural
    Networks", 2017.
    """

    _rule = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_FixedScaling):
    """The Lecun uniform initializer.

    Also available as `lecun_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(3 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    """

    _rule = (1.0, "fan_in", "uniform")


class HeNormal(_FixedScaling):
    """The He normal initializer.

    Also available as `he_normal`. Draws from a truncated normal distribution around 0 with `stddev = sqrt(2 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "truncated_normal")


class HeUniform(_FixedScaling):
    """The He uniform initializer.

    Also available as `he_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(6 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "uniform")
