"""Theory: what weights and activations do to the signal that passes through a network."""

from fanin.theory.activations import Activation, activation
from fanin.theory.blocks import Block
from fanin.theory.compared import Compared, Comparison
from fanin.theory.comparison import compare
from fanin.theory.exploring import explorer
from fanin.theory.fields import MeanField, critical_stddev, gain_at_zero, mean_field, mean_of, slope_of, square_of
from fanin.theory.gains import gain, published

__all__ = [
    "Activation",
    "Block",
    "Compared",
    "Comparison",
    "MeanField",
    "activation",
    "compare",
    "critical_stddev",
    "explorer",
    "gain",
    "gain_at_zero",
    "mean_field",
    "mean_of",
    "published",
    "slope_of",
    "square_of",
]
