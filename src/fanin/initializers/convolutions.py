"""Initializers of convolutions whose kernels are formulas: Dirac, bilinear, short-time Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.memory import as_numpy, is_torch
from fanin._core.messages import class_name, shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, NumberLike, Shape, ShapeLike, SupportsArray
from fanin.distributions import Distribution
from fanin.distributions.windows import check_window
from fanin.initializers.base import Initializer, float_dtype, number
from fanin.initializers.choices import flag, one_of, whole
from fanin.initializers.constants import numeric_dtype

_WINDOW_RULE = "`window` must be the name of a window, an array of its values, or None"
_MOST_GROUPS = 2**63 - 1
_LEAST_DIVISOR = 1e-12  # of a window by name, whose largest value is about 1


class _ChannelInitializer(Initializer):
    """An initializer of a kernel that mixes no channels: a window times `gain` from each input to its output."""

    takes_partitions = False
    is_kernel = True
    _distribution: ClassVar[type[distributions.ChannelKernel]]

    def __init__(self, gain: NumberLike = 1.0, groups: int = 1) -> None:
        self.gain: float = number("gain", gain)
        self.groups: int = whole("groups", groups, 1, _MOST_GROUPS)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = numeric_dtype(dtype), checked_shape(shape)
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        if shape[-1] % self.groups:
            raise ValueError(
                f"The last axis must be divisible by `groups`. Received: shape={shape}, groups={self.groups}."
            )
        drawn = self._distribution(shape, resolved, self.gain, self.groups)
        _check_dtype(drawn, resolved)
        return drawn

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "groups": self.groups}


def _check_dtype(drawn: distributions.ChannelKernel, dtype: DType) -> None:
    """Raises if the dtype has no zero, or is of integers or bool and does not have the values exactly."""
    kind, received = dtypes.kind(dtype), f"Received: gain={shown(drawn.gain)}, dtype={dtype.name}"
    if kind == "float" and not dtypes.is_signed(dtype):
        raise ValueError(f"The dtype must be able to represent the value. Received: value=0, dtype={dtype.name}.")
    if kind not in ("integer", "bool"):
        return
    low, high = (0, 1) if kind == "bool" else dtypes.integer_range(dtype)
    # The values are multiples of gain / unit, and one of them is no other multiple than that.
    exact = (Fraction(drawn.gain) / drawn.unit).denominator == 1 and float(drawn.gain) == drawn.gain
    if not exact or not low <= min(0, drawn.peak) <= max(0, drawn.peak) <= high:
        raise ValueError(
            f"The values must be whole numbers that the dtype has. {received}, a window of {drawn.shape[:-2]}, whose "
            f"values are multiples of {Fraction(drawn.gain) / drawn.unit}."
        )


class Dirac(_ChannelInitializer):
    """Makes a convolution that returns its input, the Dirac delta function.

    Also available as `dirac`. In a kernel (…window…, in / groups, out), the value at the window's centre, index
    `length // 2` of each axis, is `gain` from input d of each group to its output d, and all other values are 0: as
    many channels pass unchanged as there are in both. With an odd window and padding that keeps the size, the output
    is the input. It is PyTorch's `torch.nn.init.dirac_`, in Keras's order of axes. A matrix, (in, out), has no
    window.

    >>> import fanin
    >>> fanin.Dirac()((3, 1, 2)).tolist()
    [[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]]

    Args:
        gain: a factor for the values, a number or a scalar tensor.
        groups: the number of groups of the convolution, each with its own outputs.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a positive integer; at the call, the rank is less
            than 2, the outputs cannot be cut into equal groups, or an integer dtype does not have the gain.

    References: Zagoruyko and Komodakis, "DiracNets: training very deep neural networks without skip-connections", 2017.
    """

    _distribution = distributions.Dirac


class Bilinear(_ChannelInitializer):
    """Makes a transposed convolution that enlarges images by bilinear interpolation.

    Also available as `bilinear`. Each channel has a window of tents, `1 - abs(i - (k - 1) / 2) / ceil(k / 2)` at
    index i of an axis of length k, multiplied over any number of axes (one: linear, two: bilinear, three: trilinear),
    and the channels do not mix: input d of each group goes to its output d, as with `Dirac`. A window of
    `2 * s - s % 2` for strides s enlarges s times as `torch.nn.functional.interpolate(..., align_corners=False)` does,
    except at the border.

    The kernel is (…window…, in / groups, out), or (…window…, out / groups, in) for a transposed convolution, as Keras
    has it: both are the same.

    >>> import fanin
    >>> fanin.Bilinear()((4, 4, 1, 1), "float64")[..., 0, 0].tolist()[0]
    [0.0625, 0.1875, 0.1875, 0.0625]

    Args:
        gain: a factor for the values, a number or a scalar tensor.
        groups: the number of groups of the convolution, into which the last axis is cut.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a positive integer; at the call, the rank is less
            than 2, the last axis cannot be cut into equal groups, or an integer dtype does not have the values exactly.

    References: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015.
    """

    _distribution = distributions.Bilinear


class STFT(Initializer):
    """Makes the kernel of a short-time Fourier transform, as Keras 3 has it in `keras.initializers.STFT`.

    Also available as `stft` and `Stft`. A kernel (frame length, channels, frequencies) has `cos(2 pi t k / n)` or
    `-sin(2 pi t k / n)` at sample t and frequency k, times the window at t, where `n = 2 * (frequencies - 1)` is the
    length of the transform. All channels (one, in Keras) have the same values.

    Angles are reduced exactly, whatever the length of the frame. Values are within a few units in the last place of
    float64, and the same on every processor, for windows of these names: barthann, bartlett, blackman, blackmanharris,
    bohman, boxcar, cosine, exponential, flattop, hamming, hann, lanczos, nuttall, parzen, triang and tukey (and their
    other names in SciPy), for None and for arrays. Other names are asked of SciPy, if it is installed, whose last bits
    depend on its build.

    >>> import fanin
    >>> fanin.STFT("real", window=None)((4, 1, 3), "float64")[:, 0].tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -1.0, 1.0], [1.0, 0.0, -1.0]]

    Args:
        side: "real" for cosines, "imag" for sines.
        window: a name that `scipy.signal.get_window` takes without parameters, or an array or list of `frame length`
            values, or None.
        scaling: "density" divides by the root of the sum of the window's squares, "spectrum" by the sum of its absolute
            values; None by nothing. Without a window nothing is divided.
        periodic: whether a window by name is periodic, as transforms of overlapping frames want it, or symmetric.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, the rank is not 3, an array's length is not
            the frame's, or the window is zero everywhere.

    References: Allen, "Short term spectral analysis, synthesis, and modification by discrete Fourier transform", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 25(3), 1977.
    """

    takes_partitions = False
    is_kernel = True

    def __init__(
        self,
        side: Literal["real", "imag"] = "real",
        window: str | Sequence[float] | SupportsArray | None = "hann",
        scaling: Literal["density", "spectrum"] | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side: str = one_of("side", side, ("real", "imag"))
        self.window: str | tuple[float, ...] | None = _checked_window(window)
        self.scaling: str | None = one_of("scaling", scaling, ("density", "spectrum", None))
        self.periodic: bool = flag("periodic", periodic)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        self._check_shape(shape)
        drawn = distributions.STFT(shape, resolved, self.side, self.window, self.scaling, self.periodic)
        if drawn.size and not drawn.divisor > (_LEAST_DIVISOR if isinstance(self.window, str) else 0.0):
            raise ValueError(
                "`window` must not be zero everywhere if it is scaled. "
                f"Received: window={shown(self.window)}, shape={shape}. A periodic window is not."
            )
        return drawn

    def _check_shape(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(
                "STFT initializer can only be used for kernels (frame length, channels, frequencies). "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        if isinstance(self.window, tuple) and len(self.window) != shape[0]:
            raise ValueError(
                "`window` must have a value for each sample of the frame. "
                f"Received: {len(self.window)} values, shape={shape}."
            )

    def get_config(self) -> dict[str, Any]:
        window = list(self.window) if isinstance(self.window, tuple) else self.window
        return {"side": self.side, "window": window, "scaling": self.scaling, "periodic": self.periodic}


def _checked_window(window: Any) -> str | tuple[float, ...] | None:
    """A window as a name that is known, as its values, or as None."""
    if window is None:
        return None
    if isinstance(window, str):
        reason = check_window(window)
        if reason is not None:
            raise ValueError(f"{_WINDOW_RULE}. Received: window={shown(window)} ({reason}).")
        return window
    try:
        array = np.asarray(as_numpy(window) if hasattr(window, "__dlpack__") or is_torch(window) else window)
        if array.ndim != 1 or dtypes.kind(array.dtype) not in ("integer", "float"):
            raise TypeError(f"they are of dtype {dtypes.name(array.dtype)} and rank {array.ndim}")
        values = tuple(array.astype(np.float64).tolist())
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{_WINDOW_RULE}. Received: window={shown(window)} of type {class_name(type(window))} ({error})."
        ) from None
    if not all(map(math.isfinite, values)):
        raise ValueError(f"`window` must have finite values. Received: window={shown(window)}.")
    return values
