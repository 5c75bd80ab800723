"""Theory: what weights and activations do to the signal that passes through a network."""

from fanin.theory.gains import gain, published

__all__ = [
    "gain",
    "published",
]
