"""Theory: what weights and activations do to the signal that passes through a network."""

from fanin.theory.activations import Activation, activation
from fanin.theory.gains import gain, published

__all__ = [
    "Activation",
    "activation",
    "gain",
    "published",
]
