"""Distributions as plain data: a kind, parameters as the dtype rounds them, and the moments that follow from them.

`initializer.distribution(shape, dtype)` returns the distribution that an initializer draws from; weights, reports and
audits read the same object.
"""

from fanin.distributions.base import Distribution, Moments
from fanin.distributions.complex import (
    COMPLEX64,
    COMPLEX128,
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
from fanin.distributions.matrices import Identity, Matrix, Orthogonal, Sparse
from fanin.distributions.quantiles import BoundedNormal, Exponential, LogNormal, Quantile
from fanin.distributions.values import Constant, Table

__all__ = [
    "COMPLEX128",
    "COMPLEX64",
    "LARGEST_NORMAL",
    "TRUNCATED_COMPLEX_STDDEV",
    "TRUNCATED_STDDEV",
    "Affine",
    "Bernoulli",
    "BoundedNormal",
    "ComplexNormal",
    "ComplexTruncatedNormal",
    "ComplexUniform",
    "Constant",
    "Distribution",
    "Exponential",
    "Floats",
    "Identity",
    "LogNormal",
    "Matrix",
    "Moments",
    "Normal",
    "Orthogonal",
    "Quantile",
    "Sparse",
    "Table",
    "TruncatedNormal",
    "Uniform",
    "UniformInteger",
]
