"""Initializers whose variance depends on a kernel's fans, such as those of Glorot, He and LeCun."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

from fanin import distributions
from fanin._core.environment import undisturbed
from fanin._core.messages import shown, suggestion
from fanin._core.shapes import FanAxes, checked_axes, checked_shape, fans, fans_of_axes
from fanin._core.types import AxesLike, DType, DTypeLike, NumberLike, Seed, Shape, ShapeLike
from fanin.distributions import TRUNCATED_STDDEV, Distribution
from fanin.initializers.base import SeededInitializer, float_dtype, number

_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
_AXES = {"in_axis": -2, "out_axis": -1, "batch_axis": ()}  # the defaults
_Fans = tuple[float, float]
_Law = Callable[[Shape, DType, float, str], Distribution]


# Most of the time for a small tensor goes into its distribution, so recent ones are cached. (They are plain data.)
@lru_cache(maxsize=1024)
def _scaled(
    law: _Law, shape: Shape, dtype: DType, scale: float, mode: str, distribution: str, own_fans: _Fans | None
) -> Distribution:
    """The distribution with a variance of `scale / n`, where n is the number of units that the mode selects."""
    if own_fans is None:
        return _scaled_by_fans(law, shape, dtype, scale, mode, distribution, *fans(shape))
    return _scaled_by_fans(law, shape, dtype, scale, mode, distribution, *own_fans).with_fans(*own_fans)


def _scaled_by_fans(
    law: _Law, shape: Shape, dtype: DType, scale: float, mode: str, distribution: str, fan_in: float, fan_out: float
) -> Distribution:
    if mode == "fan_geo_avg":
        units = math.sqrt(fan_in * fan_out)
    else:
        units = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    return law(shape, dtype, scale / max(1.0, units), distribution)


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
        mode: "fan_in" (n is the number of input units), "fan_out" (output units), "fan_avg" (their average) or
            "fan_geo_avg" (their geometric mean).
        distribution: "truncated_normal" (or its alias "normal"), "untruncated_normal" or "uniform", in any case.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        in_axis: the axis of the inputs, or several, whose lengths are multiplied.
        out_axis: the axis of the outputs, or several.
        batch_axis: the axis that numbers kernels of their own, such as a stack of layers or experts, or several; it
            does not change the fans. All axes that no argument names are the receptive field, which multiplies both
            fans, as in JAX. By default that is what lies before the last two axes, and a tensor of fewer axes has fans,
            too; with axes of your own, it must have them.

    Attributes:
        fan_axes: the axes whose lengths alone make fan_in and those that make fan_out, as in Keras 3; None for the
            arguments'.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, an axis is not one of the shape's, or comes up
            twice.

    >>> experts = fanin.VarianceScaling(2.0, "fan_in", seed=1, batch_axis=0)
    >>> experts.distribution((8, 64, 256)).fan_in
    64
    """

    scale: float
    mode: str
    in_axis: int | tuple[int, ...] = -2
    out_axis: int | tuple[int, ...] = -1
    batch_axis: int | tuple[int, ...] = ()
    fan_axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @undisturbed  # a thread that flushes subnormal numbers takes a subnormal scale for 0
    def __init__(
        self,
        scale: NumberLike = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        *,
        in_axis: AxesLike = -2,
        out_axis: AxesLike = -1,
        batch_axis: AxesLike = (),
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
        self._set_axes(in_axis, out_axis, batch_axis)

    def _set_axes(self, *given: AxesLike) -> None:
        axes = [checked_axes(name, each) for name, each in zip(_AXES, given, strict=True)]
        if axes != list(_AXES.values()):  # which the class has
            self.in_axis, self.out_axis, self.batch_axis = axes

    @property
    def _axes(self) -> FanAxes | None:
        """The axes that make the fans; None for the defaults."""
        axes = (self.in_axis, self.out_axis, self.batch_axis)
        if axes == (-2, -1, ()):
            return None
        return FanAxes(*((each,) if isinstance(each, int) else tuple(each) for each in axes))

    @property
    def has_own_axes(self) -> bool:
        """Whether it was given axes, which make the fans whatever a kernel's layer says."""
        return self._axes is not None

    def fans(self, shape: ShapeLike) -> tuple[float, float]:
        """Fan-in and fan-out of a tensor, by the axes that make them.

        Raises:
            ValueError: an axis is not one of the shape's, or comes up twice.

        >>> import fanin
        >>> fanin.HeNormal(in_axis=0, out_axis=(1, 2)).fans((512, 8, 64))
        (512, 512)
        """
        shape = checked_shape(shape)
        return self._own_fans(shape) or fans(shape)

    @staticmethod
    def _resolved(dtype: DTypeLike) -> DType:
        """The dtype, if it can be drawn in."""
        return float_dtype(dtype)

    @staticmethod
    def _law(shape: Shape, dtype: DType, variance: float, distribution: str) -> Distribution:
        """The distribution of this name around 0 with this variance."""
        if distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return distributions.Uniform(shape, dtype, -limit, limit)
        if distribution == "truncated_normal":
            return distributions.TruncatedNormal(shape, dtype, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)
        return distributions.Normal(shape, dtype, 0.0, math.sqrt(variance))

    def _own_fans(self, shape: Shape) -> _Fans | None:
        """The fans, if they are not those of the last two axes."""
        if self.fan_axes is not None:
            return fans_of_axes(shape, *self.fan_axes)
        return None if self._axes is None else self._axes.fans(shape)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        shape = checked_shape(shape)
        what = (self._law, shape, self._resolved(dtype), self.scale, self.mode, self._distribution)
        return _scaled(*what, self._own_fans(shape))

    @undisturbed
    def distribution_of_fans(self, shape: ShapeLike, dtype: DTypeLike, fan_in: float, fan_out: float) -> Distribution:
        """The distribution for a kernel whose fans are not those of its last two axes.

        Axes that this initializer was given are a choice, and make the fans all the same.
        """
        shape = checked_shape(shape)
        own_fans = (fan_in, fan_out) if self._axes is None else self._axes.fans(shape)
        what = (self._law, shape, self._resolved(dtype), self.scale, self.mode, self._distribution)
        return _scaled_by_fans(*what, *own_fans).with_fans(*own_fans)

    def get_config(self) -> dict[str, Any]:
        config = {"scale": self.scale, "mode": self.mode, "distribution": self._distribution, "seed": self.seed}
        return {**config, **self._axes_config()}

    def _axes_config(self) -> dict[str, Any]:
        """The axes that are not the defaults, as JSON has them."""
        axes = {name: getattr(self, name) for name in _AXES}
        changed = {name: each for name, each in axes.items() if each != _AXES[name]}
        return {name: list(each) if isinstance(each, tuple) else each for name, each in changed.items()}


class FixedScaling(VarianceScaling):
    """A rule from the literature: variance scaling with only the seed and the axes left to choose."""

    scale: float
    mode: str
    _rule: ClassVar[tuple[float, str, str]]

    def __init__(
        self, seed: Seed = None, *, in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = ()
    ) -> None:
        SeededInitializer.__init__(self, seed)  # the rule needs none of VarianceScaling's checks
        self.scale, self.mode, self._distribution = self._rule
        self._set_axes(in_axis, out_axis, batch_axis)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, **self._axes_config()}


class _KerasScaling(FixedScaling):
    """A rule of Keras's, whose calls do not repeat."""

    repeats = False


class GlorotNormal(_KerasScaling):
    """The Glorot normal initializer, also called Xavier normal.

    Also available as `glorot_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(2 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "truncated_normal")


class GlorotUniform(_KerasScaling):
    """The Glorot uniform initializer, also called Xavier uniform.

    Also available as `glorot_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(6 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "uniform")


class LecunNormal(_KerasScaling):
    """The Lecun normal initializer.

    Also available as `lecun_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(1 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998; Klambauer et al., "Self-Normalizing Neural
    Networks", 2017.
    """

    _rule = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_KerasScaling):
    """The Lecun uniform initializer.

    Also available as `lecun_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(3 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    """

    _rule = (1.0, "fan_in", "uniform")


class HeNormal(_KerasScaling):
    """The He normal initializer.

    Also available as `he_normal`. Draws from a truncated normal distribution around 0 with `stddev = sqrt(2 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "truncated_normal")


class HeUniform(_KerasScaling):
    """The He uniform initializer.

    Also available as `he_uniform`. Draws from a uniform distribution within [-limit, limit],
    with `limit = sqrt(6 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "uniform")
