"""Initializers that make a matrix: orthogonal, identity, sparse."""

from __future__ import annotations

from typing import Any

from fanin import distributions
from fanin._core.messages import shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DTypeLike, NumberLike, Seed, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, SeededInitializer, float_dtype, number


class Orthogonal(SeededInitializer):
    """Makes an orthogonal matrix by the QR decomposition of a matrix of normal values.

    Also available as `orthogonal`. A matrix with fewer rows than columns gets orthonormal rows, any other one
    orthonormal columns. A tensor of more axes is a matrix of shape `(shape[0] * ... * shape[-2], shape[-1])`, reshaped.

    No two QR routines agree to the last bit, so values agree with tf_keras's only to rounding (1e-5 in float32).

    >>> import fanin
    >>> initializer = fanin.initializers.Orthogonal()
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed; at the call, the rank is less than 2.

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.
    """

    takes_partitions = False

    def __init__(self, gain: NumberLike = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.gain: float = number("gain", gain)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Orthogonal(shape, resolved, float(self.gain))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed}


class Identity(Initializer):
    """Makes the identity matrix, which may be rectangular.

    Also available as `identity`.

    >>> import fanin
    >>> initializer = fanin.initializers.Identity()
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.

    Raises:
        TypeError, ValueError: the gain is not a finite number; at the call, the rank is not 2.
    """

    takes_partitions = False

    def __init__(self, gain: NumberLike = 1.0) -> None:
        self.gain: float = number("gain", gain)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Identity(shape, resolved, self.gain)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class Sparse(SeededInitializer):
    """Makes a matrix of normal values in which each input has the same number of zeros among its weights.

    Also available as `sparse`. In a kernel of shape (inputs, outputs), `ceil(sparsity * outputs)` weights of each row
    are 0, at random places; the others are normal around 0. This is `torch.nn.init.sparse_`, whose matrix is
    (outputs, inputs), so that its columns are the rows here.

    >>> import fanin
    >>> kernel = fanin.initializers.Sparse(sparsity=0.9, seed=1)((5, 20))
    >>> (kernel == 0).sum(axis=1).tolist()
    [18, 18, 18, 18, 18]

    Args:
        sparsity: the share of zeros in each row, a number in [0, 1] or a scalar tensor.
        stddev: the standard deviation of the other values.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed, or `sparsity` does not lie in [0, 1]; at
            the call, the rank is not 2.

    References: Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """

    takes_partitions = False

    def __init__(self, sparsity: NumberLike, stddev: NumberLike = 0.01, seed: Seed = None) -> None:
        super().__init__(seed)
        self.sparsity: float = number("sparsity", sparsity)
        self.stddev: float = number("stddev", stddev)
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"`sparsity` must lie in [0, 1]. Received: sparsity={shown(self.sparsity)}.")

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) != 2:
            raise ValueError(
                f"Sparse initializer can only be used for 2D matrices. Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Sparse(shape, resolved, float(self.sparsity), float(self.stddev))

    def get_config(self) -> dict[str, Any]:
        return {"sparsity": self.sparsity, "stddev": self.stddev, "seed": self.seed}
