"""Expectations over normal numbers, by Gauss quadrature on panels that shrink where a function has a kink or a jump.

With z a unit normal, `mean` is E[f(s z)], `mean_square` is E[f(s z)**2], and `mean_product` is E[f(u) f(v)] for
correlated u and v. A function may have kinks and jumps anywhere: where one lies, panels are halved until it no longer
matters, so that nine digits are right and usually more. (The nodes of Gauss and Hermite's rule alone give three for
ReLU.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.types import Array

_Function = Callable[[Array], Array]
_REACH = 37  # standard deviations, beyond which the density underflows
_PER_DEVIATION = 16  # panels to begin with: fine enough that nodes lie closer than most of what functions have
_TOLERANCE = 1e-13  # of a panel, relative to the whole: some hundred panels leave nine digits
_LOOSE = 1e-6  # what all panels may leave, relative to the whole, if the function itself is not smooth enough for more
_NODES = 12  # a panel's, which has both of its ends: no jump lies between a panel and its neighbour
_MOST_PANELS = 2**16
_ASIDE = 0.0137035999
_BREAK = 2.0**-10  # a panel as narrow as this has a kink or a jump
_MOST_BREAKS = 64
_NEAR = 9.0  # standard deviations that a product's integrals reach
_MOST_NODES = 2**22  # of a product's inner integrals, at a time


class DivergesError(ArithmeticError):
    """The error for an integral that is not finite, or that no number of panels settles."""


@cache
def _lobatto() -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Lobatto's rule on [0, 1]."""
    from numpy.polynomial.legendre import Legendre  # needed here alone

    polynomial = Legendre.basis(_NODES - 1)
    nodes = np.concatenate([[-1.0], polynomial.deriv().roots(), [1.0]])
    return (nodes + 1) / 2, 1 / (_NODES * (_NODES - 1) * polynomial(nodes) ** 2)


def mean(function: _Function, scale: float = 1.0, precision: Callable[[], float] = lambda: 0.0) -> float:
    """E[f(scale z)] for a unit normal z.

    Args:
        function: f, of an array of any length.
        scale: the standard deviation of its argument.
        precision: the relative error that its values have, asked after it was called; by default that of doubles.

    Raises:
        DivergesError: the expectation is not finite.

    >>> import numpy as np
    >>> from fanin.theory import quadrature
    >>> round(quadrature.mean(np.abs) ** 2 * np.pi, 12)
    2.0
    """

    def integrand(z: Array) -> Array:
        half = np.exp(-z * z / 4)  # twice the half, so that large values stay finite
        return function(scale * z) * half * half / math.sqrt(2 * math.pi)

    return _Panels(integrand, scale, precision).integral()


def mean_square(function: _Function, scale: float = 1.0, precision: Callable[[], float] = lambda: 0.0) -> float:
    """E[f(scale z)**2] for a unit normal z; the arguments are those of `mean`.

    Raises:
        DivergesError: the expectation is not finite.

    >>> import numpy as np
    >>> from fanin.theory import quadrature
    >>> round(quadrature.mean_square(lambda x: np.maximum(x, 0.0), 2.0), 12)
    2.0
    """

    def integrand(z: Array) -> Array:
        # The root of the density first, so that values of up to exp(z**2 / 4) stay finite when they are squared.
        return (function(scale * z) * np.exp(-z * z / 4)) ** 2 / math.sqrt(2 * math.pi)

    return _Panels(integrand, scale, precision).integral()


@undisturbed
def breaks(function: _Function, precision: Callable[[], float] = lambda: 0.0) -> tuple[float, ...]:
    """Where a function has kinks and jumps, to about ten digits.

    >>> import numpy as np
    >>> from fanin.theory import quadrature
    >>> [round(each, 6) for each in quadrature.breaks(lambda x: np.clip(x, -1.0, 0.7))]
    [-1.0, 0.7]
    """
    # Moved aside, because kinks often lie where panels end, and would not be noticed.
    panels = _Panels(lambda z: function(z + _ASIDE) * np.exp(-z * z / 8), 1.0, precision)
    try:
        panels.integral()
    except DivergesError:
        return ()
    found: list[float] = []
    end = -math.inf
    for low, high in sorted(panels.narrow):
        if low > end + _BREAK:
            found.append(_most_bent(function, low + _ASIDE - _BREAK, high + _ASIDE + _BREAK))
        end = max(end, high)
    return tuple(found) if len(found) <= _MOST_BREAKS else ()


def _most_bent(function: _Function, low: float, high: float) -> float:
    """Where a function bends most between two numbers: each step looks closer, 32 times."""
    for _ in range(8):
        x = np.linspace(low, high, 65)
        bend = np.abs(np.diff(function(x), 2))
        most = int(bend.argmax())
        if not bend[most] > 0:
            break
        low, high = float(x[most]), float(x[most + 2])
    return (low + high) / 2


@undisturbed
def mean_product(
    function: _Function, first: float, second: float, correlation: float, kinks: tuple[float, ...] | None = None
) -> float:
    """E[f(u) f(v)] for normal u and v with these variances and this correlation.

    Both are a shared normal number and one of their own, so that the expectation is that of a product of two
    convolutions of f, which are smooth; those are computed between the kinks of f.

    Args:
        function: f, of an array of any shape.
        first, second: the variances of u and v.
        correlation: of u and v, from -1 to 1.
        kinks: where f has kinks or jumps; None to find them.

    Raises:
        DivergesError: the expectation is not finite.

    References: Cho and Saul, "Kernel Methods for Deep Learning", NeurIPS 2009, eq. 6, has it in closed form for ReLU.

    >>> import numpy as np
    >>> from fanin.theory import quadrature
    >>> round(quadrature.mean_product(np.sign, 1.0, 4.0, 0.5), 9)  # 2 / pi * arcsin(0.5)
    0.333333333
    """
    with np.errstate(all="ignore"):
        kinks = breaks(function) if kinks is None else kinks
        shared, own = math.sqrt(abs(correlation)), math.sqrt(max(0.0, 1 - abs(correlation)))
        scales = (math.sqrt(first), math.sqrt(second) * math.copysign(1.0, correlation))
        if not shared:
            return mean(function, scales[0]) * mean(function, abs(scales[1]))
        z, weights = _outer_nodes(kinks, scales, shared, own)
        product = np.ones_like(z)
        for scale in scales:
            product *= _convolved(function, scale, shared, own, kinks, z)
        total = float(np.sum(product * weights))
    if not math.isfinite(total):
        raise DivergesError
    return total


def _outer_nodes(
    kinks: tuple[float, ...], scales: tuple[float, float], shared: float, own: float
) -> tuple[Array, Array]:
    """The shared number's nodes and their weights, closer together around what has become of kinks."""
    step = min(0.5, 1 / (max(map(abs, scales)) * shared + 1e-300))
    edges = [np.arange(-_NEAR, _NEAR + step, max(step, _NEAR * 2 / 2000))]
    blur = max(own / shared, 1e-9)
    around = blur * np.array([0.0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512])
    for scale in scales:
        for kink in kinks if scale else ():
            edges += [kink / (scale * shared) + around, kink / (scale * shared) - around]
    every = np.unique(np.clip(np.concatenate(edges), -_NEAR, _NEAR))
    nodes, weights = _lobatto()
    widths = np.diff(every)[:, None]
    z = every[:-1, None] + widths * nodes
    return z.ravel(), (widths * weights * np.exp(-z * z / 2)).ravel() / math.sqrt(2 * math.pi)


def _convolved(
    function: _Function, scale: float, shared: float, own: float, kinks: tuple[float, ...], z: Array
) -> Array:
    """E[f(scale (shared z + own w))] over a unit normal w, for each z."""
    if own < 1e-8 or not scale:
        return function(scale * shared * z)
    nodes, weights = _lobatto()
    step = min(0.75, 1.0 / (abs(scale) * own))
    fixed = np.arange(-_NEAR, _NEAR + step, max(step, _NEAR * 2 / 4000))
    result = np.empty_like(z)
    rows = max(1, _MOST_NODES // ((len(fixed) + len(kinks)) * _NODES))
    for start in range(0, len(z), rows):
        some = z[start : start + rows, None]
        moved = np.clip((np.array(kinks) / scale - shared * some) / own, -_NEAR, _NEAR)
        edges = np.sort(np.concatenate([np.broadcast_to(fixed, (len(some), len(fixed))), moved], axis=1), axis=1)
        widths = np.diff(edges)[..., None]
        # Inside of the panel by a hair, so that a jump at its end is on the right side of it.
        w = edges[:, :-1, None] + widths * (nodes * (1 - 2e-12) + 1e-12)
        values = function(scale * (shared * some[..., None] + own * w)) * np.exp(-w * w / 2)
        result[start : start + rows] = np.sum(values @ weights * widths[..., 0], axis=1) / math.sqrt(2 * math.pi)
    return result


class _Panels:
    """An integral over the normal numbers, by panels that are halved until they no longer change it.

    Panels begin as a sixteenth of a standard deviation. Where a function has a kink or a jump they shrink to nothing.

    Attributes:
        narrow: the panels, as (low, high), that have a kink or a jump; known after `integral`.
    """

    def __init__(self, integrand: _Function, scale: float, precision: Callable[[], float]) -> None:
        self.integrand = integrand
        self.scale = scale
        self.precision = precision
        self.narrow: list[tuple[float, float]] = []

    @undisturbed
    def integral(self) -> float:
        """The integral; a `DivergesError` if it is not finite."""
        with np.errstate(all="ignore"):  # whatever a function does far out
            return self._integral()

    def _integral(self) -> float:
        edges = np.arange(-_REACH * _PER_DEVIATION, _REACH * _PER_DEVIATION + 1) / _PER_DEVIATION
        if 1 < self.scale < math.inf:  # closer to zero, too, where the function has its first numbers
            closer = np.exp2(-np.arange(5.0, 6 + math.frexp(self.scale)[1]))
            edges = np.unique(np.concatenate([edges, closer, -closer]))
        low, high = edges[:-1], edges[1:]
        sums = self._sums(low, high)
        self._check_tails(sums)
        settled: list[float] = []
        sizes: list[float] = []
        panels = len(sums)
        while len(sums):
            middle = (low + high) / 2
            halves = self._sums(low, middle), self._sums(middle, high)
            changes = np.abs(sums - halves[0] - halves[1])
            total = math.fsum(np.abs((*sizes, *halves[0], *halves[1])))
            rough = changes > max(_TOLERANCE, self.precision()) * total
            panels += 2 * int(rough.sum())
            if panels > _MOST_PANELS or ((middle <= low) | (middle >= high)).any():
                if changes[rough].sum() > max(_LOOSE, self.precision()) * total:
                    raise DivergesError
                rough[:] = False
            done = np.concatenate([halves[0][~rough], halves[1][~rough]])
            settled += [*done]
            sizes += [*np.abs(done)]
            at_breaks = ~rough & (high - low < _BREAK)
            self.narrow += zip(low[at_breaks].tolist(), high[at_breaks].tolist(), strict=True)
            low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
            sums = np.concatenate([half[rough] for half in halves])
        return math.fsum(settled)

    def _sums(self, low: Array, high: Array) -> Array:
        """The integrals of the panels from `low` to `high`."""
        nodes, weights = _lobatto()
        width = (high - low)[:, None]
        x = low[:, None] + width * nodes
        x[:, -1] = high
        sums = (self.integrand(x.ravel()).reshape(x.shape) * width) @ weights
        if not np.isfinite(sums).all():
            raise DivergesError
        return sums

    def _check_tails(self, sums: Array) -> None:
        """Raises if the outermost panels count, so that those beyond them could count, too."""
        if max(abs(sums[0]), abs(sums[-1])) > _TOLERANCE * np.abs(sums).sum():
            raise DivergesError
