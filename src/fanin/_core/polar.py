"""Complex numbers by modulus and phase, from uniform numbers, with the same bits on every processor.

The steps are those of float64 normals (Box and Muller's): the logarithm, sine and cosine are glibc's, computed by the
tier in force or by the reference, and all other operations are rounded ones of IEEE 754.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fanin import _native
from fanin._core import reference64
from fanin._core.settings import REFERENCE, config
from fanin._core.types import Array

_LOG, _SINE, _COSINE = 0, 1, 2  # the native module's numbers of its functions
_HALF_STEP = 2.0**-53  # between two unit floats of 52 bits, and half of it


def open_unit(u: Array) -> Array:
    """Unit floats k / 2**52 as `(k + 1/2) / 2**52`, which is neither 0 nor 1; exact."""
    return u + _HALF_STEP


def log(x: Array) -> Array:
    """The logarithm of doubles in [2**-63, 1)."""
    return _elementary(_LOG, x, reference64.log)


def from_polar(modulus: Array, turns: Array) -> Array:
    """The complex numbers of these moduli and phases.

    Args:
        modulus: the moduli.
        turns: the phases, as unit floats in [0, 1) that are multiplied by 2 pi.
    """
    angle = turns * (2 * math.pi)
    made = np.empty(modulus.shape, np.complex128)
    made.real = modulus * _elementary(_COSINE, angle, lambda x: reference64.sincos(x)[1])
    made.imag = modulus * _elementary(_SINE, angle, lambda x: reference64.sincos(x)[0])
    return made


def _elementary(function: int, x: Array, reference: Callable[[Array], Array]) -> Array:
    tier = config.tier
    if tier == REFERENCE:
        return reference(x.ravel()).reshape(x.shape)
    x = np.ascontiguousarray(x)
    made = np.empty_like(x)
    _native.elementary_64(x, made, function, _native.TIERS[tier])
    return made
