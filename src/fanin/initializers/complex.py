"""Initializers of complex weights: normal, and by variance, such as Trabelsi's Glorot and He."""

from __future__ import annotations

import math
from typing import Any

from fanin import distributions
from fanin._core import dtypes
from fanin._core.settings import config
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, NumberLike, Seed, Shape, ShapeLike
from fanin.distributions import TRUNCATED_COMPLEX_STDDEV, Distribution
from fanin.initializers.base import SeededInitializer, number
from fanin.initializers.scaling import FixedScaling, VarianceScaling


def complex_dtype(dtype: DTypeLike) -> DType:
    """The resolved dtype, if it is complex; None is the complex dtype of `floatx` (complex64 for narrow ones)."""
    if dtype is None:
        return dtypes.COMPLEX128 if config.floatx == "float64" else dtypes.COMPLEX64
    resolved = dtypes.resolve(dtype)
    if resolved not in (dtypes.COMPLEX64, dtypes.COMPLEX128):
        raise ValueError(f"Expected complex type, got {dtypes.name(resolved)}. Use complex64 or complex128.")
    return resolved


class ComplexNormal(SeededInitializer):
    """Draws complex numbers from a circular normal distribution around 0.

    Also available as `complex_normal`. The real and the imaginary part are independent, and so are modulus and phase:
    the modulus has Rayleigh's distribution, the phase is uniform.

    >>> import fanin
    >>> fanin.initializers.ComplexNormal(stddev=0.1, seed=1)((2, 2)).dtype
    dtype('complex64')

    Args:
        stddev: the root of the mean of |z|**2, a number or a scalar tensor; each part has `stddev / sqrt(2)`.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed; at the call, the dtype is not complex.
    """

    def __init__(self, stddev: NumberLike = 0.05, seed: Seed = None) -> None:
        super().__init__(seed)
        self.stddev: float = number("stddev", stddev)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        return distributions.ComplexNormal(checked_shape(shape), complex_dtype(dtype), float(self.stddev))

    def get_config(self) -> dict[str, Any]:
        return {"stddev": self.stddev, "seed": self.seed}


class _ComplexScaling(VarianceScaling):
    """What the complex classes have of their own: dtypes and laws."""

    @staticmethod
    def _resolved(dtype: DTypeLike) -> DType:
        return complex_dtype(dtype)

    @staticmethod
    def _law(shape: Shape, dtype: DType, variance: float, distribution: str) -> Distribution:
        stddev = math.sqrt(variance)  # over the plane
        if distribution == "uniform":
            return distributions.ComplexUniform(shape, dtype, math.sqrt(2.0) * stddev)
        if distribution == "truncated_normal":
            return distributions.ComplexTruncatedNormal(shape, dtype, stddev / TRUNCATED_COMPLEX_STDDEV)
        return distributions.ComplexNormal(shape, dtype, stddev)


class ComplexVarianceScaling(_ComplexScaling):
    """Draws complex numbers around 0 with a mean of |z|**2 of `scale / n`, where n is a kernel's number of units.

    Also available as `complex_variance_scaling`. The phase is uniform. With `distribution="untruncated_normal"` the
    real and the imaginary part are independent normals; with `"truncated_normal"` such numbers are drawn that lie
    within two standard deviations of 0; with `"uniform"` all numbers of a disc are equally likely.

    >>> import fanin
    >>> initializer = fanin.initializers.ComplexVarianceScaling(2.0, "fan_in", "uniform", seed=1)
    >>> values = initializer((256, 64), "complex64")
    >>> round(float((abs(values) ** 2).mean()) * 256, 1)
    2.0

    Args:
        scale: a positive number.
        mode: "fan_in" (n is the number of input units), "fan_out" (output units), "fan_avg" (their average) or
            "fan_geo_avg" (their geometric mean).
        distribution: "truncated_normal" (or its alias "normal"), "untruncated_normal" or "uniform", in any case.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, the dtype is not complex, or an axis is not
            one of the shape's, or comes up twice.

    References: the distributions are those of JAX's `variance_scaling` for complex dtypes; its truncated ones are wider
    by 0.93 %.
    """


class ComplexGlorot(_ComplexScaling, FixedScaling):
    """The Glorot initializer for complex weights: a mean of |z|**2 of `2 / (fan_in + fan_out)`.

    Also available as `complex_glorot`. The modulus has Rayleigh's distribution with `sigma = 1 / sqrt(fan_in +
    fan_out)`, and the phase is uniform; so both parts are normal with that standard deviation.

    >>> import fanin
    >>> values = fanin.initializers.ComplexGlorot(seed=1)(shape=(2, 2), dtype="complex128")

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: Trabelsi et al., "Deep Complex Networks", ICLR 2018.
    """

    _rule = (1.0, "fan_avg", "untruncated_normal")


class ComplexHe(_ComplexScaling, FixedScaling):
    """The He initializer for complex weights: a mean of |z|**2 of `2 / fan_in`.

    Also available as `complex_he`. The modulus has Rayleigh's distribution with `sigma = 1 / sqrt(fan_in)`, and the
    phase is uniform; so both parts are normal with that standard deviation.

    >>> import fanin
    >>> values = fanin.initializers.ComplexHe(seed=1)(shape=(2, 2), dtype="complex128")

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        in_axis, out_axis, batch_axis: the axes that make the fans, as in `VarianceScaling`.

    References: Trabelsi et al., "Deep Complex Networks", ICLR 2018.
    """

    _rule = (2.0, "fan_in", "untruncated_normal")
