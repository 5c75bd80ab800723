"""Windows of signal processing: their values from whole numbers, with the library's own sines and cosines.

Names and definitions are SciPy's. A window has `length` values and is symmetric about `last / 2`, where `last` is
`length - 1`, or `length` if it is periodic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fanin._core import angles
from fanin._core.reference64 import exp
from fanin._core.types import Array

_INVERSE_PI = 1 / math.pi
Window = Callable[[Array, int], Array]  # a function of indices up to `last / 2`, which is symmetric, and of `last`


def _cosine_sum(*coefficients: float) -> Window:
    """`c0 - c1 cos(x) + c2 cos(2 x) - …`, where x goes once around."""

    def window(index: Array, last: int) -> Array:
        value = np.full(index.shape, coefficients[0])
        for order, coefficient in enumerate(coefficients[1:], 1):
            value = value + (-1) ** order * coefficient * _cosine(order * index, last)
        return value

    return window


def _cosine(numerator: Array, denominator: int) -> Array:
    """The cosine of a fraction of a turn."""
    return angles.of_turns(numerator, denominator).sine(1)


def _boxcar(index: Array, last: int) -> Array:
    return np.ones(index.shape)


def _bartlett(index: Array, last: int) -> Array:
    return 2 * index / last


def _triangle(index: Array, last: int) -> Array:
    return (2 * index + 2) / (last + 2) if last % 2 == 0 else (2 * index + 1) / (last + 1)


def _parzen(index: Array, last: int) -> Array:
    distance = (last - 2 * index) / (last + 1)  # from the middle, in halves of the window
    rest = 1.0 - distance
    middle = 1.0 - 6.0 * (distance * distance) * rest
    return np.where(2 * (last - 2 * index) <= last, middle, 2.0 * (rest * rest * rest))


def _bohman(index: Array, last: int) -> Array:
    distance = last - 2 * index
    around = angles.of_turns(distance, 2 * last)
    value = 2 * index / last * around.sine(1) + around.sine() * _INVERSE_PI
    return np.where(index == 0, 0.0, value)


def _half_cosine(index: Array, last: int) -> Array:
    return angles.of_turns(2 * index + 1, 4 * (last + 1)).sine()


def _bartlett_hann(index: Array, last: int) -> Array:
    distance = last - 2 * index
    return 0.62 - 0.48 * (distance / (2 * last)) + 0.38 * _cosine(distance, 2 * last)


def _tukey(index: Array, last: int) -> Array:
    """Tapered by half a cosine over a quarter of the window at each end."""
    taper = 0.5 * (1.0 + _cosine(np.abs(4 * index - last), 2 * last))
    return np.where(index <= last // 4, taper, 1.0)


def _exponential(index: Array, last: int) -> Array:
    return exp((2 * index - last) * 0.5)


def _lanczos(index: Array, last: int) -> Array:
    distance = last - 2 * index
    x = np.where(distance == 0, 1.0, distance / last * math.pi)
    return np.where(distance == 0, 1.0, angles.of_turns(distance, 2 * last).sine() / x)


_NAMES: dict[Window, tuple[str, ...]] = {
    _bartlett_hann: ("barthann", "brthan", "bth"),
    _bartlett: ("bartlett", "bart", "brt"),
    _cosine_sum(0.42, 0.5, 0.08): ("blackman", "black", "blk"),
    _cosine_sum(0.35875, 0.48829, 0.14128, 0.01168): ("blackmanharris", "blackharr", "bkh"),
    _bohman: ("bohman", "bman", "bmn"),
    _boxcar: ("boxcar", "box", "ones", "rect", "rectangular"),
    _half_cosine: ("cosine", "halfcosine"),
    _exponential: ("exponential", "poisson"),
    _cosine_sum(0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368): ("flattop", "flat", "flt"),
    _cosine_sum(0.54, 0.46): ("hamming", "hamm", "ham"),
    _cosine_sum(0.5, 0.5): ("hann", "han"),
    _lanczos: ("lanczos", "sinc"),
    _cosine_sum(0.3635819, 0.4891775, 0.1365995, 0.0106411): ("nuttall", "nutl", "nut"),
    _parzen: ("parzen", "parz", "par"),
    _triangle: ("triang", "triangle", "tri"),
    _tukey: ("tukey", "tuk"),
}
WINDOWS = {name: window for window, names in _NAMES.items() for name in names}


def window_values(window: str | Sequence[float] | None, index: Array, length: int, periodic: bool) -> Array:
    """The values of a window at some indices, in float64.

    Args:
        window: a name of SciPy's, all values, or None for ones.
        index: int64 indices.
        length: the number of the window's values.
        periodic: whether a named window is one period of a periodic sequence, and so lacks its last value.
    """
    if window is None:
        return np.ones(index.shape)
    if not isinstance(window, str):
        return np.array(window, np.float64)[index]
    if window not in WINDOWS:
        return _of_scipy(window, length, periodic)[index]
    if length <= 1:
        return np.ones(index.shape)
    last = length if periodic else length - 1
    return WINDOWS[window](np.minimum(index, last - index), last)


def _of_scipy(window: str, length: int, periodic: bool) -> Array:
    """A whole window that only SciPy has, whose last bits are those of its library."""
    from scipy.signal import get_window

    return np.asarray(get_window(window, length, fftbins=periodic), np.float64)


def check_window(window: str) -> str | None:
    """Why there is no window of this name; None if there is."""
    if window in WINDOWS:
        return None
    try:
        _of_scipy(window, 1, True)
    except ImportError:
        return "SciPy, which has more names, is not installed: pip install 'fanin[scipy]'"
    except ValueError as error:
        return str(error)
    return None
