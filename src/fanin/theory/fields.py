"""Mean-field theory: the size of signals and gradients, and the correlation of two signals, from layer to layer.

A layer is `h = W f(h') + b`, wide, with independent weights of variance `weight_stddev**2 / fan_in` and biases of
variance `bias_stddev**2`. Its pre-activations h are normal then, and their variance q decides everything.

References:
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
    Poole, Lahiri, Raghu, Sohl-Dickstein and Ganguli, "Exponential expressivity in deep neural networks through
    transient chaos", NeurIPS 2016, eqs. 3 to 6.
    Schoenholz, Gilmer, Ganguli and Sohl-Dickstein, "Deep Information Propagation", ICLR 2017.
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.types import Array
from fanin.theory import quadrature
from fanin.theory.activations import Activation
from fanin.theory.activations import activation as activation_of
from fanin.theory.quadrature import DivergesError

_SETTLED = 1e-13  # the relative change of a variance that has reached its fixed point
_MOST_STEPS, _STRIDE = 30, 1e4  # of an orbit, before its end is looked for in strides
_VANISHED = 1e-8  # a fixed point that cannot be told from 0
_NEAR_ZERO = 2e-5  # where slopes beside zero are taken: further than derivatives by differences look
_FAR = 1e100  # where those of pre-activations that have exploded are
_HUGE = 1e280  # variances beyond it explode
_TINY = 1e-280  # and those below it vanish
_SCAN = np.geomspace(1e-8, 1e8, 33)  # variances among which the edge of chaos is looked for


@lru_cache(maxsize=4096)
def mean_of(activation: Activation, variance: float) -> float:
    """E[f(√q z)], for pre-activations of this variance q; infinite or NaN if it is not finite.

    >>> import fanin.theory
    >>> round(fanin.theory.mean_of(fanin.theory.activation("sigmoid"), 2.0), 12)
    0.5
    """
    if not variance < _HUGE:
        return math.nan
    if variance < _TINY:
        return _at_zero(activation)
    return _or_infinite(quadrature.mean, activation.function, math.sqrt(variance), activation)


@lru_cache(maxsize=4096)
def square_of(activation: Activation, variance: float) -> float:
    """E[f(√q z)²], the size (squared) of the activations; infinite if it is not finite.

    >>> import fanin.theory
    >>> round(fanin.theory.square_of(fanin.theory.activation("relu"), 2.0), 12)
    1.0
    """
    if not variance < _HUGE:
        return math.inf
    if variance < _TINY:
        return _at_zero(activation) ** 2
    return _or_infinite(quadrature.mean_square, activation.function, math.sqrt(variance), activation)


@lru_cache(maxsize=4096)
def slope_of(activation: Activation, variance: float) -> float:
    """E[f'(√q z)²], by which an activation multiplies the size (squared) of a gradient.

    The derivative is the one that backpropagation has: a jump does not count.

    >>> import fanin.theory
    >>> round(fanin.theory.slope_of(fanin.theory.activation("relu"), 2.0), 12)
    0.5
    """
    if not variance < _HUGE:
        return _slope_far_out(activation)
    if variance < _TINY:
        return _slope_at_zero(activation)
    return _or_infinite(quadrature.mean_square, activation.derivative, math.sqrt(variance), activation)


def _or_infinite(
    expectation: Callable[..., float], function: Callable[[Array], Array], scale: float, activation: Activation
) -> float:
    try:
        return expectation(function, scale, activation.precision)
    except DivergesError:
        return math.inf


@undisturbed
@np.errstate(all="ignore")
def _slope_far_out(activation: Activation) -> float:
    return float(np.mean(activation.derivative(np.array([-_FAR, _FAR])) ** 2))


@undisturbed
@np.errstate(all="ignore")
def _slope_at_zero(activation: Activation) -> float:
    """The mean of the squared slopes on both sides of zero, which are extrapolated from two numbers each."""
    near = activation.derivative(np.array([-_NEAR_ZERO, _NEAR_ZERO]))
    further = activation.derivative(np.array([-2 * _NEAR_ZERO, 2 * _NEAR_ZERO]))
    return float(np.mean((2 * near - further) ** 2))


@undisturbed
@np.errstate(all="ignore")
def _at_zero(activation: Activation) -> float:
    return float(activation.function(np.zeros(1))[0])


@dataclass(frozen=True)
class MeanField:
    """A deep network of one kind of layer, as wide as one likes.

    Attributes:
        activation: the activation f.
        weight_stddev: σ_w: the weights' standard deviation times the root of fan_in.
        bias_stddev: σ_b, that of the biases.

    >>> import fanin.theory
    >>> field = fanin.theory.mean_field("selu")
    >>> round(field.variance(1.0), 12), round(field.fixed_point, 9)
    (1.0, 1.0)
    """

    activation: Activation
    weight_stddev: float = 1.0
    bias_stddev: float = 0.0

    def variance(self, variance: float) -> float:
        """The next layer's variance of pre-activations: σ_w² E[f(√q z)²] + σ_b² (Poole et al., eq. 3)."""
        return _times(self.weight_stddev**2, square_of(self.activation, variance)) + self.bias_stddev**2

    def gradient(self, variance: float) -> float:
        """χ = σ_w² E[f'(√q z)²], by which a layer multiplies the size (squared) of the gradient that comes back to it.

        It is also the slope of the correlation map at 1, if f has no jumps (Poole et al., eq. 6).
        """
        return _times(self.weight_stddev**2, slope_of(self.activation, variance))

    def variances(self, first: float, depth: int) -> list[float]:
        """The variances of as many layers, the first of which is given."""
        return [each for each, _ in zip(self._orbit(first), range(depth), strict=False)]

    def _orbit(self, first: float) -> Iterator[float]:
        variance = first
        while True:
            yield variance
            variance = self.variance(variance)

    def variance_slope(self, variance: float) -> float:
        """The slope of the map of variances, σ_w² E[z f(√q z) f'(√q z)] / √q, which decides whether q returns.

        For SELU at 1 it is 0.7826, the eigenvalue of Klambauer et al.'s map there.
        """
        scale = math.sqrt(variance)

        def integrand(x: Array) -> Array:
            return x * self.activation.function(x) * self.activation.derivative(x)

        return self.weight_stddev**2 * quadrature.mean(integrand, scale, self.activation.precision) / variance

    @cached_property
    def fixed_point(self) -> float:
        """q*, where the variance stays, reached from 1: 0 if it vanishes, infinity if it explodes.

        For ReLU at its critical gain every variance stays, and this is 1.
        """
        previous, variance = math.nan, 1.0
        for _ in range(_MOST_STEPS):
            if variance < _TINY or abs(variance - previous) <= _SETTLED * variance:
                break
            previous, variance = variance, self.variance(variance)
            if not variance < _HUGE:
                return math.inf
        else:
            variance = self._beyond(variance, variance > previous)
        return 0.0 if variance < _VANISHED and not self.bias_stddev else variance

    def _beyond(self, variance: float, grows: bool) -> float:
        """The fixed point that a slow orbit goes to, by bisection: 0 or infinity if there is none."""
        step = _STRIDE if grows else 1 / _STRIDE
        near, far = variance, variance * step
        while (self.variance(far) > far) == grows:
            if not _TINY < far < _HUGE:
                return math.inf if grows else 0.0
            near, far = far, far * step
        for _ in range(80):
            middle = math.sqrt(near * far)
            near, far = (middle, far) if (self.variance(middle) > middle) == grows else (near, middle)
        return math.sqrt(near * far)

    @property
    def chi(self) -> float:
        """χ at the fixed point: below 1, gradients vanish (the ordered phase); above, they explode (chaos)."""
        return self.gradient(self.fixed_point)

    def correlation(self, correlation: float, variance: float | None = None) -> float:
        """The next layer's correlation of two signals of the same variance (Poole et al., eqs. 4 and 5).

        Args:
            correlation: that of this layer's pre-activations, from -1 to 1.
            variance: theirs; None for the fixed point.

        Raises:
            ArithmeticError: the variance vanishes or explodes.
        """
        variance = self._settled(variance)
        following = self.variance(variance)
        return min(1.0, self.covariance(correlation, variance) / following)

    def covariance(self, correlation: float, variance: float) -> float:
        """The next layer's covariance of two signals of the same variance."""
        shared = quadrature.mean_product(self.activation.function, variance, variance, correlation, self._kinks)
        return self.weight_stddev**2 * shared + self.bias_stddev**2

    @cached_property
    def _kinks(self) -> tuple[float, ...]:
        return quadrature.breaks(self.activation.function, self.activation.precision)

    @cached_property
    def correlation_fixed_point(self) -> float:
        """c*, what the correlation of any two signals becomes: 1 in the ordered phase, less in chaos."""
        if self.chi <= 1 + 1e-8:
            return 1.0
        low, high = 0.0, 1 - 1e-9
        if self.correlation(low) <= 1e-12:
            return 0.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.correlation(middle) > middle else (low, middle)
        return (low + high) / 2

    @property
    def variance_depth(self) -> float:
        """ξ_q: through how many layers a variance comes e times closer to its fixed point (Schoenholz et al.)."""
        return _depth(self.variance_slope(self._settled(None)))

    @property
    def correlation_depth(self) -> float:
        """ξ_c: the same of correlations, how deep information about the input goes; infinite at the edge of chaos."""
        common = self.correlation_fixed_point
        if common == 1:
            return _depth(self.chi)
        variance = self.fixed_point
        slope = quadrature.mean_product(
            self.activation.derivative, variance, variance, common, self._kinks or quadrature.breaks(self._derivative)
        )
        return _depth(self.weight_stddev**2 * slope)

    @property
    def _derivative(self) -> Callable[[Array], Array]:
        return self.activation.derivative

    @property
    def gradient_depth(self) -> float:
        """ξ_∇: through how many layers a gradient grows or shrinks e times, in size squared: 1 / |log χ|."""
        return _depth(self.chi)

    def _settled(self, variance: float | None) -> float:
        variance = self.fixed_point if variance is None else variance
        if not 0 < variance < math.inf:
            raise ArithmeticError(
                f"There are no correlations where the variance {'vanishes' if variance == 0 else 'explodes'}. "
                f"Received: weight_stddev={self.weight_stddev}, bias_stddev={self.bias_stddev}, {self.activation}."
            )
        return variance


def _depth(slope: float) -> float:
    if not 0 < slope < math.inf:
        return 0.0
    rate = abs(math.log(slope))
    return math.inf if rate < 1e-12 else 1 / rate


def _times(scale: float, moment: float) -> float:
    """A product in which weights of zero make nothing of anything."""
    return scale * moment if scale else 0.0


def mean_field(
    activation: str | Callable[[Any], Any] | Activation, weight_stddev: float = 1.0, bias_stddev: float = 0.0
) -> MeanField:
    """The mean field of a deep network of one kind of layer.

    Args:
        activation: a name or a function, as for `fanin.gain`.
        weight_stddev: σ_w: the weights' standard deviation times the root of fan_in.
        bias_stddev: σ_b, that of the biases.

    >>> import fanin.theory
    >>> field = fanin.theory.mean_field("tanh", 1.5, 0.1)
    >>> round(field.fixed_point, 4), round(field.chi, 4), round(field.correlation_fixed_point, 4)
    (0.8133, 1.1291, 0.1801)
    """
    return MeanField(activation_of(activation), weight_stddev, bias_stddev)


def gain_at_zero(activation: str | Callable[[Any], Any] | Activation) -> float:
    """The critical σ_w of a signal that is nearly zero: that at which it neither vanishes nor grows.

    For smooth activations it is `1 / |f'(0)|`; it is infinite if f is flat at zero.

    >>> import fanin.theory
    >>> [round(fanin.theory.gain_at_zero(each), 6) for each in ("tanh", "relu", "gelu")]
    [1.0, 1.414214, 2.0]
    """
    slope = _slope_at_zero(activation_of(activation))
    return 1 / math.sqrt(slope) if slope else math.inf


def critical_stddev(activation: str | Callable[[Any], Any] | Activation, bias_stddev: float = 0.0) -> float:
    """The critical σ_w for biases of a standard deviation σ_b: the edge of chaos, where χ is 1 at the fixed point.

    There, gradients neither vanish nor explode, and information reaches any depth.

    Args:
        activation: a name or a function, as for `fanin.gain`.
        bias_stddev: σ_b.

    Returns:
        σ_w; if there are several, that of the smallest variance.

    Raises:
        ValueError: there is none, as for ReLU with biases.

    References: Schoenholz et al., ICLR 2017, section 3; Hayou, Doucet and Rousseau, "On the Impact of the Activation
    function on Deep Neural Networks Training", ICML 2019, who find it by the variance q, as is done here.

    >>> import fanin.theory
    >>> [round(fanin.theory.critical_stddev("tanh", bias), 4) for bias in (0.0, 0.2236)]
    [1.0, 1.327]
    """
    found = activation_of(activation)

    def missing(variance: float) -> float:
        """The variance that biases would have to add at the edge of chaos with this q, less what they do add."""
        slope = slope_of(found, variance)
        return variance - square_of(found, variance) / slope - bias_stddev**2 if 0 < slope < math.inf else math.nan

    at_zero = gain_at_zero(found)
    if not bias_stddev and not _at_zero(found) and math.isfinite(at_zero):
        return at_zero
    values = [missing(variance) for variance in _SCAN.tolist()]
    for low, high, before, after in zip(_SCAN, _SCAN[1:], values, values[1:], strict=False):
        if before * after < 0 or before == 0:  # such as 0 at a variance of 1, for relu_squared and σ_b = 1/2
            return 1 / math.sqrt(slope_of(found, _root(missing, float(low), float(high), before)))
    raise ValueError(
        f"There is no edge of chaos for {found} with biases of this spread. Received: bias_stddev={bias_stddev}."
    )


def _root(function: Callable[[float], float], low: float, high: float, at_low: float) -> float:
    """Where a function of a positive number changes its sign, by bisection."""
    for _ in range(48):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if function(middle) * at_low > 0 else (low, middle)
    return math.sqrt(low * high)
