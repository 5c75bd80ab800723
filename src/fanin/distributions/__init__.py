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
from fanin.distributions.matrices import Identity, Matrix, Orthogonal, Sparse, Unitary
from fanin.distributions.positions import Positions, Rotary, Sinusoidal
from fanin.distributions.quantiles import BoundedNormal, Exponential, LogNormal, Quantile
from fanin.distributions.stacks import DeltaOrthogonal, IdentityMatrices, Matrices, OrthogonalMatrices
from fanin.distributions.state_space import S4D, Hippo
from fanin.distributions.values import Constant, Table

__all__ = [
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
    "DeltaOrthogonal",
    "Dirac",
    "Distribution",
    "Exponential",
    "Floats",
    "Formula",
    "Hippo",
    "Identity",
    "IdentityMatrices",
    "LogNormal",
    "Matrices",
    "Matrix",
    "Moments",
    "Normal",
    "Orthogonal",
    "OrthogonalMatrices",
    "Positions",
    "Quantile",
    "Rotary",
    "Sinusoidal",
    "Sparse",
    "Table",
    "TruncatedNormal",
    "Uniform",
    "UniformInteger",
    "Unitary",
]
