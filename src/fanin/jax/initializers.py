"""The functions of `jax.nn.initializers` and flax's, under the same names, whose values are functions of key and index.

Each takes the arguments of JAX's function of that name and returns an initializer of the same law; `zeros` and `ones`
are initializers themselves. `init(key, shape, dtype, out_sharding)` draws as those of `fanin.jax.as_jax`: the values
are those of a fanin class, named with each function, from the stream that the key selects. So they depend neither on
sharding nor on `jit`, and `out_sharding` works for all of them. Arguments such as `stddev` must be known when the
initializer is made: they cannot be traced.

>>> import jax
>>> from fanin.jax import initializers
>>> kernel = initializers.variance_scaling(1.0, "fan_in", "normal")(jax.random.key(0), (784, 256))
>>> kernel.shape, kernel.dtype.name
((784, 256), 'float32')
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.nn.initializers import Initializer

from fanin import initializers
from fanin._core import dtypes
from fanin._core.messages import shown, suggestion
from fanin._core.shapes import checked_axes, checked_shape
from fanin._core.types import AxesLike, DType, DTypeLike, Layout, NumberLike, Shape, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import float_dtype, scalar
from fanin.jax.arrays import array_of_key, array_without_key, lengths_of

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "ones_init",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
    "zeros_init",
]


_Choice: TypeAlias = Callable[[Shape, DType], initializers.Initializer]


def _drawn(choose: _Choice, dtype: DTypeLike, column_axis: int = -1) -> Initializer:
    """An initializer that draws by keys.

    Args:
        choose: a function of a shape and a dtype that returns the fanin initializer.
        dtype: the dtype of calls that give none.
        column_axis: the axis that is the last of the fanin initializer's tensor.
    """

    def init(key: Any, shape: ShapeLike, dtype: DTypeLike = dtype, out_sharding: Any = None) -> jax.Array:
        lengths, resolved = _lengths(shape), dtypes.resolve(_or_default(dtype))
        source = choose(lengths, resolved)
        return array_of_key(source, key, lengths, resolved, out_sharding, _axes(column_axis, len(lengths)))

    return init


def _always(real: initializers.Initializer, complex: initializers.Initializer | None = None) -> _Choice:
    """The choice of one initializer for real dtypes, and of another for complex ones if the law has such a form."""

    def choose(shape: Shape, dtype: DType) -> initializers.Initializer:
        if complex is not None and dtypes.kind(dtype) == "complex":
            return complex
        float_dtype(dtype)  # which raises for integers: some of fanin's classes have them
        return real

    return choose


def _axes(column_axis: int, rank: int) -> Layout:
    """The axes of a tensor with the one of its columns last."""
    if column_axis == -1 or rank < 2:  # a vector has no columns, as fanin's class says
        return "keras"
    if not -rank <= column_axis < rank:
        raise IndexError(f"`column_axis` must be one of the shape's {rank} axes. Received: column_axis={column_axis}.")
    column = column_axis % rank
    return (*(axis for axis in range(rank) if axis != column), column)


def _or_default(dtype: DTypeLike) -> Any:
    """The dtype; JAX's float32, or float64 where 64 bits are enabled, for None."""
    return jnp.result_type(float) if dtype is None else dtype


def _lengths(shape: Any) -> Shape:
    """The shape as a tuple; JAX also takes the length of a vector."""
    is_length = hasattr(shape, "__index__") and not hasattr(shape, "__len__")
    return lengths_of((shape,) if is_length else shape)


def zeros(key: Any, shape: ShapeLike, dtype: DTypeLike = None, out_sharding: Any = None) -> jax.Array:
    """Makes zeros: `fanin.Zeros`. The key is ignored.

    Args:
        key: anything.
        shape: the shape of the array.
        dtype: a numeric dtype or bool; by default JAX's default float dtype.
        out_sharding: as for `as_jax`.

    >>> import fanin.jax
    >>> fanin.jax.initializers.zeros(None, (2,)).tolist()
    [0.0, 0.0]
    """
    return array_without_key(initializers.Zeros(), _lengths(shape), _or_default(dtype), out_sharding)


def ones(key: Any, shape: ShapeLike, dtype: DTypeLike = None, out_sharding: Any = None) -> jax.Array:
    """Makes ones: `fanin.Ones`. The key is ignored.

    Args:
        key: anything.
        shape: the shape of the array.
        dtype: a numeric dtype or bool; by default JAX's default float dtype.
        out_sharding: as for `as_jax`.

    >>> import fanin.jax
    >>> fanin.jax.initializers.ones(None, (2,)).tolist()
    [1.0, 1.0]
    """
    return array_without_key(initializers.Ones(), _lengths(shape), _or_default(dtype), out_sharding)


def zeros_init() -> Initializer:
    """The initializer `zeros`, as flax has it.

    >>> import fanin.jax
    >>> fanin.jax.initializers.zeros_init() is fanin.jax.initializers.zeros
    True
    """
    return zeros


def ones_init() -> Initializer:
    """The initializer `ones`, as flax has it.

    >>> import fanin.jax
    >>> fanin.jax.initializers.ones_init() is fanin.jax.initializers.ones
    True
    """
    return ones


def constant(value: Any, dtype: DTypeLike = None) -> Initializer:
    """Makes arrays of one value, or of an array that is broadcast to their shape: `fanin.Constant`, `fanin.Table`.

    Args:
        value: a number or an array of numbers, which is converted to the dtype as JAX converts it.
        dtype: the dtype of calls that give none; by default JAX's default float dtype.

    Returns:
        An initializer. It ignores its key.

    Raises:
        TypeError: at the call, the value is none of these.
        ValueError: at the call, it cannot be broadcast to the shape.

    >>> import fanin.jax
    >>> fanin.jax.initializers.constant([1, 2])(None, (2, 2)).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """

    def init(key: Any, shape: ShapeLike, dtype: DTypeLike = dtype, out_sharding: Any = None) -> jax.Array:
        lengths = _lengths(shape)
        if isinstance(value, Tracer):  # which JAX alone can place, and which draws nothing
            return jax.nn.initializers.constant(value)(key, lengths, _or_default(dtype), out_sharding)
        with jax.ensure_compile_time_eval():
            values = np.asarray(jnp.asarray(value, _or_default(dtype)))
        source = initializers.Table(values) if values.ndim else initializers.Constant(values)
        return array_without_key(source, lengths, _or_default(dtype), out_sharding)

    return init


def uniform(scale: NumberLike = 1e-2, dtype: DTypeLike = None) -> Initializer:
    """Draws from a uniform distribution within [0, scale): `fanin.RandomUniform(0.0, scale)`.

    Args:
        scale: the upper bound, a number or a scalar array.
        dtype: the dtype of calls that give none, a real one; by default JAX's default float dtype.

    Raises:
        TypeError, ValueError: `scale` is not a finite number; at the call, the dtype is not a real float dtype.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.uniform(10.0)(jax.random.key(0), (1000,))
    >>> 0 <= float(drawn.min()) < 1, 9 < float(drawn.max()) <= 10
    (True, True)
    """
    return _drawn(_always(initializers.RandomUniform(0.0, scale)), dtype)


def normal(stddev: NumberLike = 1e-2, dtype: DTypeLike = None) -> Initializer:
    """Draws from a normal distribution around 0: `fanin.RandomNormal`, and `fanin.ComplexNormal` for complex dtypes.

    Args:
        stddev: the standard deviation, a number or a scalar array. That of a complex number's absolute value.
        dtype: the dtype of calls that give none; by default JAX's default float dtype.

    Raises:
        TypeError, ValueError: `stddev` is not a finite number; at the call, the dtype is neither float nor complex.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.normal(0.02)(jax.random.key(0), (100, 100))
    >>> round(float(drawn.std()), 3)
    0.02
    """
    return _drawn(_always(initializers.RandomNormal(0.0, stddev), initializers.ComplexNormal(stddev)), dtype)


def truncated_normal(
    stddev: NumberLike = 1e-2, dtype: DTypeLike = None, lower: NumberLike = -2.0, upper: NumberLike = 2.0
) -> Initializer:
    """Draws from a truncated normal distribution around 0: `fanin.TruncatedNormal` with `lower` and `upper`.

    As in JAX, the truncation reduces the standard deviation: to 0.88 of `stddev` by the default bounds.

    Args:
        stddev: the standard deviation before the truncation, a number or a scalar array.
        dtype: the dtype of calls that give none, a real one; by default JAX's default float dtype.
        lower: the smallest value, in standard deviations; -infinity is no bound.
        upper: the largest value, in standard deviations; infinity is no bound.

    Raises:
        TypeError, ValueError: an argument is not a number, or `lower` not less than `upper`; at the call, the dtype is
            not a real float dtype.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.truncated_normal(0.1, lower=0.0)(jax.random.key(0), (1000,))
    >>> float(drawn.min()) >= 0, float(drawn.max()) <= 0.2
    (True, True)
    """
    both = {"lower": scalar(lower), "upper": scalar(upper)}
    bounds: dict[str, Any] = {name: bound for name, bound in both.items() if bound not in (-math.inf, math.inf)}
    if not bounds:
        return _drawn(_always(initializers.RandomNormal(0.0, stddev)), dtype)
    return _drawn(_always(initializers.TruncatedNormal(0.0, stddev, **bounds)), dtype)


_DISTRIBUTIONS = {"truncated_normal": "truncated_normal", "normal": "untruncated_normal", "uniform": "uniform"}


def variance_scaling(
    scale: NumberLike,
    mode: str,
    distribution: str,
    in_axis: AxesLike = -2,
    out_axis: AxesLike = -1,
    batch_axis: AxesLike = (),
    dtype: DTypeLike = None,
) -> Initializer:
    """Draws with a variance of `scale / n`: `fanin.VarianceScaling`, `fanin.ComplexVarianceScaling` for complex dtypes.

    Args:
        scale: a positive number; 0 makes zeros.
        mode: "fan_in" (n is the number of inputs), "fan_out" (of outputs), "fan_avg" (their average) or "fan_geo_avg"
            (the square root of their product).
        distribution: "truncated_normal" (at two standard deviations), "normal" (not truncated) or "uniform" (in an
            interval around 0; in a disc for complex dtypes).
        in_axis: the axis or axes of the inputs.
        out_axis: the axis or axes of the outputs.
        batch_axis: the axis or axes that hold one kernel for each index. All other axes are a convolution's receptive
            field, which multiplies both numbers.
        dtype: the dtype of calls that give none; by default JAX's default float dtype.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, the shape has fewer than two axes and
            `in_axis` is its default, or the dtype is neither float nor complex.
        IndexError: at the call, the shape does not have one of the axes.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, section 2.2.

    >>> import fanin.jax, jax
    >>> experts = fanin.jax.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)
    >>> round(float(experts(jax.random.key(0), (8, 100, 100)).std()), 3)
    0.1
    """
    if distribution not in _DISTRIBUTIONS:
        raise ValueError(
            f"`distribution` must be one of {tuple(_DISTRIBUTIONS)}. Received: distribution={shown(distribution)}."
            f"{suggestion(distribution, _DISTRIBUTIONS)}"
        )
    if scale == 0:  # in JAX a variance of 0, which fanin's classes refuse
        return _drawn(_always(initializers.Zeros(), initializers.Zeros()), dtype)
    law = mode, _DISTRIBUTIONS[distribution]
    axes = [checked_axes(name, each) for name, each in (("in_axis", in_axis), ("out_axis", out_axis))]
    axes.append(checked_axes("batch_axis", batch_axis))
    classes = initializers.VarianceScaling, initializers.ComplexVarianceScaling
    return _drawn(_always(*(_Scaling(each(scale, *law), *axes) for each in classes)), dtype)


class _Scaling(initializers.SeededInitializer):
    """A variance scaling whose fans are those that JAX has for these axes."""

    def __init__(self, law: initializers.VarianceScaling, *axes: int | tuple[int, ...]) -> None:
        super().__init__()
        self._law, self._axes = law, axes

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        shape = checked_shape(shape)
        return self._law.distribution_of_fans(shape, dtype, *_fans(shape, *self._axes))


def _fans(
    shape: Shape, in_axis: int | tuple[int, ...], out_axis: int | tuple[int, ...], batch_axis: int | tuple[int, ...]
) -> tuple[float, float]:
    """Fan-in and fan-out as JAX has them: an axis may be in several arguments, and then divides the receptive field.

    flax's embeddings, of shape (number, features), are made so: with `out_axis=0` beside the default `in_axis`, which
    is the same axis, fan-in is the number of features.
    """
    if len(shape) < 2 and in_axis == -2:
        raise ValueError(
            "The shape must have at least two axes, or `in_axis` must be given: the default is the last but one. "
            f"Received: shape={shape} of rank {len(shape)}."
        )
    named = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    several = {name: (axes,) if isinstance(axes, int) else axes for name, axes in named.items()}
    for name, axes in several.items():
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            raise IndexError(f"`{name}` must be axes of the shape. Received: {name}={list(axes)}, shape={shape}.")
    inputs, outputs, batch = (math.prod(shape[axis] for axis in axes) for axes in several.values())
    if 0 in shape:  # JAX divides by zero; there is nothing to draw
        return 1.0, 1.0
    receptive_field = math.prod(shape) / inputs / outputs / batch
    return inputs * receptive_field, outputs * receptive_field


def glorot_uniform(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws within [-limit, limit], `limit = sqrt(6 / (fan_in + fan_out))`: `fanin.GlorotUniform`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 1.0, "fan_avg" and
            "uniform".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.glorot_uniform()(jax.random.key(0), (600, 600))
    >>> float(abs(drawn).max()) <= 0.1
    True
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform


def glorot_normal(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws truncated normal values, `stddev = sqrt(2 / (fan_in + fan_out))`: `fanin.GlorotNormal`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 1.0, "fan_avg" and
            "truncated_normal".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.glorot_normal()(jax.random.key(0), (100, 100))
    >>> round(float(drawn.std()), 3)
    0.1
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_normal = glorot_normal


def lecun_uniform(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws within [-limit, limit], `limit = sqrt(3 / fan_in)`: `fanin.LecunUniform`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 1.0, "fan_in" and
            "uniform".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.lecun_uniform()(jax.random.key(0), (300, 300))
    >>> float(abs(drawn).max()) <= 0.1
    True
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws truncated normal values, `stddev = sqrt(1 / fan_in)`: `fanin.LecunNormal`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 1.0, "fan_in" and
            "truncated_normal".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.lecun_normal()(jax.random.key(0), (100, 100))
    >>> round(float(drawn.std()), 3)
    0.1
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws within [-limit, limit], `limit = sqrt(6 / fan_in)`: `fanin.HeUniform`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 2.0, "fan_in" and
            "uniform".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.he_uniform()(jax.random.key(0), (600, 600))
    >>> float(abs(drawn).max()) <= 0.1
    True
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


kaiming_uniform = he_uniform


def he_normal(
    in_axis: AxesLike = -2, out_axis: AxesLike = -1, batch_axis: AxesLike = (), dtype: DTypeLike = None
) -> Initializer:
    """Draws truncated normal values, `stddev = sqrt(2 / fan_in)`: `fanin.HeNormal`.

    Args:
        in_axis, out_axis, batch_axis, dtype: as for `variance_scaling`, which this is with 2.0, "fan_in" and
            "truncated_normal".

    Raises:
        TypeError, ValueError, IndexError: as for `variance_scaling`.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.

    >>> import fanin.jax, jax
    >>> drawn = fanin.jax.initializers.he_normal()(jax.random.key(0), (200, 200))
    >>> round(float(drawn.std()), 3)
    0.1
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


kaiming_normal = he_normal


def orthogonal(scale: NumberLike = 1.0, column_axis: int = -1, dtype: DTypeLike = None) -> Initializer:
    """Makes orthogonal matrices: `fanin.Orthogonal`, and `fanin.Unitary` for complex dtypes.

    If the shape is not square, the matrix has orthonormal columns or rows, of whichever there are fewer.

    Args:
        scale: a factor for the matrix, a number or a scalar array.
        column_axis: the axis of the matrix's columns; all others are its rows.
        dtype: the dtype of calls that give none; by default JAX's default float dtype.

    Raises:
        TypeError, ValueError: `scale` is not a finite number; at the call, the shape has fewer than two axes, or the
            dtype is neither float nor complex.
        IndexError: at the call, the shape does not have the axis.

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.

    >>> import fanin.jax, jax
    >>> matrix = fanin.jax.initializers.orthogonal()(jax.random.key(0), (4, 4))
    >>> bool(abs(matrix @ matrix.T - jax.numpy.eye(4)).max() < 1e-6)
    True
    """
    matrices = _always(initializers.Orthogonal(scale), initializers.Unitary(scale))
    return _drawn(matrices, dtype, operator.index(column_axis))


def delta_orthogonal(scale: NumberLike = 1.0, column_axis: int = -1, dtype: DTypeLike = None) -> Initializer:
    """Makes kernels of convolutions that keep norms: an orthogonal matrix at the centre, zeros elsewhere.

    These are those of `fanin.DeltaOrthogonal`.

    Args:
        scale: a factor for the matrix, a number or a scalar array.
        column_axis: the axis of the matrix's columns, as for `orthogonal` with the last two axes of the shape.
        dtype: the dtype of calls that give none, a real one; by default JAX's default float dtype.

    Raises:
        TypeError, ValueError: `scale` is not a finite number; at the call, the shape does not have three to five axes,
            the last of them is shorter than the last but one, or the dtype is not a real float dtype.

    References: Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018.

    >>> import fanin.jax, jax
    >>> kernel = fanin.jax.initializers.delta_orthogonal()(jax.random.key(0), (3, 3, 8, 8))
    >>> int((kernel != 0).any(axis=(2, 3)).sum())
    1
    """
    return _drawn(_always(initializers.DeltaOrthogonal(scale, column_axis=column_axis)), dtype)
