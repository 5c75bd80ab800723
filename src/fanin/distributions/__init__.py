"""Distributions as plain data: a kind, parameters as the dtype rounds them, and the moments that follow from them.

`initializer.distribution(shape, dtype)` returns the distribution that an initializer draws from; weights, reports and
audits read the same object.
"""

from fanin.distributions.base import Distribution, Moments
from fanin.distributions.complex import (
    TRUNCATED_COMPLEX_STDDEV,
    ComplexNormal,
    ComplexTruncatedNormal,
    ComplexUniform,
)
from fanin.distributions.discrete import Bernoulli, UniformInteger
from fanin.distributions.floats import (
    LARGEST_NORMAL,
    TRUNCATED_STDDEV,
    Affine,
    Floats,
    Normal,
    TruncatedNormal,
    Uniform,
)
from fanin.distributions.formulas import Bilinear, ChannelKernel, Dirac, Formula
from fanin.distributions.fourier import STFT
from fanin.distributions.matrices import Identity, Matrix, Orthogonal, Sparse
from fanin.distributions.positions import Positions, Rotary, Sinusoidal
from fanin.distributions.quantiles import BoundedNormal, Exponential, LogNormal, Quantile
from fanin.distributions.state_space import S4D, Hippo
from fanin.distributions.values import Constant, Table

__all__ = [
    "COMPLEX64",
    "COMPLEX128",
    "LARGEST_NORMAL",
    "S4D",
    "STFT",
    "TRUNCATED_COMPLEX_STDDEV",
    "TRUNCATED_STDDEV",
    "Affine",
    "Bernoulli",
    "Bilinear",
    "BoundedNormal",
    "ChannelKernel",
    "ComplexNormal",
    "ComplexTruncatedNormal",
    "ComplexUniform",
    "Constant",
    "Dirac",
    "Distribution",
    "Exponential",
    "Floats",
    "Formula",
    "Hippo",
    "Identity",
    "LogNormal",
    "Matrix",
    "Moments",
    "Normal",
    "Orthogonal",
    "Positions",
    "Quantile",
    "Rotary",
    "Sinusoidal",
    "Sparse",
    "Table",
    "TruncatedNormal",
    "Uniform",
    "UniformInteger",
]
