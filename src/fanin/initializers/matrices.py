"""Initializers that make matrices: orthogonal, unitary, identity, sparse."""

from __future__ import annotations

from typing import Any, SupportsIndex

from fanin import distributions
from fanin._core.messages import shown
from fanin._core.shapes import MAX_ELEMENTS, MAX_RANK, checked_axes, checked_shape, fans, normal_axes
from fanin._core.types import AxesLike, DTypeLike, NumberLike, Seed, Shape, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, SeededInitializer, float_dtype, number
from fanin.initializers.choices import whole
from fanin.initializers.complex import complex_dtype


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
        column_axis: the axis of the columns, as in JAX. All others are the rows, but for batch axes.
        batch_axis: the axis that numbers matrices of their own, such as a stack of layers or experts, or several. A
            region makes only the matrices that it touches.
        groups: the number of equal parts of the column axis that are matrices of their own, as the groups of a
            convolution's kernel (…kernel…, in / groups, out).

    Raises:
        TypeError, ValueError: an argument is not a finite number, a seed, an axis or a positive integer; at the call,
            the tensor has fewer than two axes besides its batch axes, an argument names an axis that it has not or
            that another one names, or `groups` does not divide the number of columns.

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.

    >>> experts = fanin.Orthogonal(seed=1, batch_axis=0)((8, 64, 32))
    >>> import numpy as np
    >>> bool(np.allclose(experts[3].T @ experts[3], np.eye(32), atol=1e-5))
    True
    """

    takes_partitions = False
    column_axis: int = -1
    batch_axis: int | tuple[int, ...] = ()
    groups: int = 1

    def __init__(
        self,
        gain: NumberLike = 1.0,
        seed: Seed = None,
        *,
        column_axis: SupportsIndex = -1,
        batch_axis: AxesLike = (),
        groups: SupportsIndex = 1,
    ) -> None:
        super().__init__(seed)
        self.gain: float = number("gain", gain)
        self.column_axis = whole("column_axis", column_axis, -MAX_RANK, MAX_RANK - 1)
        self.batch_axis = checked_axes("batch_axis", batch_axis)
        self.groups = whole("groups", groups, 1, MAX_ELEMENTS)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        batch = _batch(self.batch_axis, shape)
        if len(shape) - len(batch) < 2:
            beside = " besides its batch axes" if batch else ""
            raise ValueError(
                f"The tensor to initialize must be at least two-dimensional{beside}. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        (columns,) = normal_axes("column_axis", (self.column_axis,), shape)
        if columns in batch:
            raise ValueError(
                "`column_axis` and `batch_axis` must not share axes. "
                f"Received: column_axis={self.column_axis}, batch_axis={list(batch)} for shape {shape}."
            )
        if shape[columns] % self.groups:
            raise ValueError(
                "`groups` must divide the number of columns. "
                f"Received: groups={shown(self.groups)} for {shape[columns]} columns, shape {shape}."
            )
        if columns == len(shape) - 1 and not batch and self.groups == 1:
            return distributions.Orthogonal(shape, resolved, float(self.gain))
        rows = (length for axis, length in enumerate(shape) if axis not in (*batch, columns))
        matrix = distributions.Orthogonal((*rows, shape[columns] // self.groups), resolved, float(self.gain))
        return distributions.OrthogonalMatrices(
            shape, resolved, matrix, columns, batch, self.groups, own_fans=_fans_of_one(shape, batch)
        )

    def get_config(self) -> dict[str, Any]:
        own = {"column_axis": self.column_axis, "batch_axis": _listed(self.batch_axis), "groups": self.groups}
        defaults = {"column_axis": -1, "batch_axis": [], "groups": 1}
        changed = {name: each for name, each in own.items() if each != defaults[name]}
        return {"gain": self.gain, "seed": self.seed, **changed}


class DeltaOrthogonal(SeededInitializer):
    """Makes a convolution's kernel with an orthogonal matrix at its centre and zeros elsewhere.

    Also available as `delta_orthogonal`. The convolution keeps the norm of its input, at any depth. A kernel of shape
    (…kernel…, in, out), with `in <= out`, has the matrix at place `(k - 1) // 2` of each axis of length k.

    >>> import fanin
    >>> kernel = fanin.initializers.DeltaOrthogonal(seed=1)((3, 3, 16, 32))
    >>> import numpy as np
    >>> bool(np.allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(16), atol=1e-5)), int((kernel[0] != 0).sum())
    (True, 0)

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        column_axis: the axis of the columns among the last two, as in JAX.

    Raises:
        TypeError, ValueError: an argument is not a finite number, a seed or an integer; at the call, the rank is not
            3, 4 or 5, or `in` is larger than `out`.

    References: Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, "Dynamical isometry and a mean field theory of
    CNNs", ICML 2018.
    """

    takes_partitions = False
    is_kernel = True

    def __init__(self, gain: NumberLike = 1.0, seed: Seed = None, *, column_axis: SupportsIndex = -1) -> None:
        super().__init__(seed)
        matrix = Orthogonal(gain, column_axis=column_axis)  # which checks them
        self.gain: float = matrix.gain
        self.column_axis: int = matrix.column_axis

    @property
    def _matrix(self) -> Orthogonal:
        return Orthogonal(self.gain, column_axis=self.column_axis)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                f"DeltaOrthogonal initializer needs a shape of rank 3, 4 or 5, (…kernel…, in, out). "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        if shape[-2] > shape[-1]:
            raise ValueError(
                "DeltaOrthogonal initializer needs at least as many outputs as inputs. "
                f"Received: shape={shape} with {shape[-2]} inputs and {shape[-1]} outputs."
            )
        return distributions.DeltaOrthogonal(shape, resolved, self._matrix.distribution(shape[-2:], resolved))

    def get_config(self) -> dict[str, Any]:
        return {**self._matrix.get_config(), "seed": self.seed}


class Unitary(SeededInitializer):
    """Makes a unitary matrix by the QR decomposition of a matrix of complex normal values.

    Also available as `unitary`. A matrix with fewer rows than columns gets orthonormal rows, any other one orthonormal
    columns. A tensor of more axes is a matrix of shape `(shape[0] * ... * shape[-2], shape[-1])`, reshaped. All such
    matrices are equally likely, since the phases of R's diagonal are divided out.

    No two QR routines agree to the last bit, so values may differ by rounding between LAPACK libraries.

    >>> import fanin
    >>> matrix = fanin.initializers.Unitary(seed=1)(shape=(8, 8), dtype="complex64")
    >>> import numpy as np
    >>> bool(np.allclose(matrix.conj().T @ matrix, np.eye(8), atol=1e-5))
    True

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed; at the call, the rank is less than 2, or
            the dtype is not complex.

    References: Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS 54(5),
    2007.
    """

    takes_partitions = False
    is_kernel = True

    def __init__(self, gain: NumberLike = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.gain: float = number("gain", gain)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = complex_dtype(dtype), checked_shape(shape)
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Unitary(shape, resolved, float(self.gain))

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
        batch_axis: the axis that numbers matrices of their own, or several. Two other axes must be left.

    Raises:
        TypeError, ValueError: the gain is not a finite number, or a batch axis is none; at the call, the rank without
            batch axes is not 2.
    """

    takes_partitions = False
    batch_axis: int | tuple[int, ...] = ()

    def __init__(self, gain: NumberLike = 1.0, *, batch_axis: AxesLike = ()) -> None:
        self.gain: float = number("gain", gain)
        self.batch_axis = checked_axes("batch_axis", batch_axis)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        batch = _batch(self.batch_axis, shape)
        left = [axis for axis in range(len(shape)) if axis not in batch]
        if len(left) != 2:
            beside = " besides its batch axes" if batch else ""
            raise ValueError(
                f"Identity matrix initializer can only be used for 2D matrices{beside}. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        matrix = distributions.Identity(tuple(shape[axis] for axis in left), resolved, self.gain)
        if not batch:
            return matrix
        return distributions.IdentityMatrices(
            shape, resolved, matrix, left[-1], batch, own_fans=_fans_of_one(shape, batch)
        )

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **({} if self.batch_axis == () else {"batch_axis": _listed(self.batch_axis)})}


def _batch(axes: int | tuple[int, ...], shape: Shape) -> Shape:
    """Batch axes of a shape, in ascending order."""
    return tuple(sorted(normal_axes("batch_axis", (axes,) if isinstance(axes, int) else axes, shape)))


def _fans_of_one(shape: Shape, batch: Shape) -> tuple[int, int]:
    """The fans of one matrix of several."""
    return fans(tuple(length for axis, length in enumerate(shape) if axis not in batch))


def _listed(axes: int | tuple[int, ...]) -> int | list[int]:
    """Axes as JSON has them."""
    return axes if isinstance(axes, int) else list(axes)


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
    is_kernel = True

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
