"""Initializers of position tables: sinusoidal embeddings and rotary ones."""

from __future__ import annotations

from typing import Any, Literal

from fanin import distributions
from fanin._core.messages import shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DTypeLike, NumberLike, Shape, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, float_dtype, number
from fanin.initializers.choices import flag, one_of, whole

_LAST = 2**31  # the largest position, either way


def _base(base: NumberLike) -> float:
    checked = number("base", base)
    if checked < 1:
        raise ValueError(f"`base` must be at least 1. Received: base={shown(base)}.")
    return checked


def _check_table(name: str, shape: Shape, start: int) -> None:
    """Raises if a shape is no table of positions, or one of positions that are too far away."""
    if len(shape) < 2:
        raise ValueError(
            f"{name} makes tables of shape (…, positions, features). Received: shape={shape} of rank {len(shape)}."
        )
    if start + shape[-2] - 1 > _LAST:
        raise ValueError(f"Positions must lie in [-2**31, 2**31]. Received: shape={shape}, start={start}.")


class Sinusoidal(Initializer):
    """Makes a table of sinusoidal position embeddings, as the first Transformer has them.

    Also available as `sinusoidal`. In a table (…, positions, features), the row of position p has the sine and the
    cosine of the angle `p / base ** (2 * i / features)` for i = 0, 1, …: side by side, in features 2 i and 2 i + 1, or
    all sines before all cosines. An odd number of features ends without the last cosine. Axes before the last two
    repeat the table.

    With `endpoint=True`, the angle is `p / base ** (i / (half - 1))`, where half is the number of sines: the
    frequencies run from 1 to `1 / base`, inclusive. Models differ here:

    | model | arguments |
    | --- | --- |
    | the paper's formula, DistilBERT | the defaults |
    | Marian | `interleaved=False` |
    | tensor2tensor, fairseq, M2M100, Whisper | `interleaved=False, endpoint=True` |

    (For an odd number of features, tensor2tensor and fairseq have one frequency fewer, and a last column of zeros.)
    Models that compute their tables in float32 agree up to their own rounding, which grows with the position.

    The angles are reduced to within an eighth of a turn with 106 bits, so that values are right to 1 unit in the last
    place of float64 for all positions, before they are rounded to the dtype. They are the same on every processor.

    >>> import fanin
    >>> fanin.Sinusoidal()((2, 4), "float64").round(6).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.841471, 0.540302, 0.01, 0.99995]]

    Args:
        base: what the wavelengths grow by from the first features to the last (without `endpoint`, to what would be the
            next ones), at least 1.
        start: the position of the first row, in [-2**31, 2**31].
        interleaved: whether sines and cosines alternate, as in the paper, or the sines are the first half.
        endpoint: whether the last frequency is `1 / base`, as in tensor2tensor. A single frequency is 1.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, the rank is less than 2, or a position lies
            beyond 2**31.

    References: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin, "Attention is all you need",
    NeurIPS 2017, section 3.5.
    """

    takes_partitions = False
    is_table = True

    def __init__(
        self, base: NumberLike = 10000.0, start: int = 0, interleaved: bool = True, endpoint: bool = False
    ) -> None:
        self.base: float = _base(base)
        self.start: int = whole("start", start, -_LAST, _LAST)
        self.interleaved: bool = flag("interleaved", interleaved)
        self.endpoint: bool = flag("endpoint", endpoint)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        _check_table("Sinusoidal", shape, self.start)
        return distributions.Sinusoidal(shape, resolved, self.base, self.start, self.interleaved, self.endpoint)

    def get_config(self) -> dict[str, Any]:
        return {"base": self.base, "start": self.start, "interleaved": self.interleaved, "endpoint": self.endpoint}


class Rotary(Initializer):
    """Makes the tables of rotary position embeddings (RoPE): cosines, sines, angles or frequencies.

    Also available as `rotary`. With n frequencies, `base ** (-i / n)` for i = 0 … n - 1, the angle of position p is p
    times the frequency. A table is (…, positions, features); that of the frequencies, `inv_freq` in many models, is
    (…, features). The other axes repeat it. A head of 2 n dimensions has n frequencies, which need n features, or 2 n
    if they are repeated.

    The values are as accurate as those of `Sinusoidal`: right to 1 unit in the last place of float64 for all positions,
    and then rounded to the dtype. (Models that multiply in float32 are off by up to 1e-3 at position 10,000.)

    >>> import fanin
    >>> fanin.Rotary("frequencies")((4,)).tolist()
    [1.0, 0.10000000149011612, 0.009999999776482582, 0.0010000000474974513]
    >>> fanin.Rotary("cos", repeated="halves")((2, 4), "float64").round(6).tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.540302, 0.99995, 0.540302, 0.99995]]

    Args:
        part: "cos", "sin", "angles" or "frequencies".
        base: what the wavelengths grow by from the first frequency to what would be number n, at least 1.
        start: the position of the first row, in [-2**31, 2**31]. Frequencies have none.
        repeated: "no"; "halves", for all frequencies and again, as Llama and GPT-NeoX rotate; "pairs", for each
            frequency twice, as GPT-J and the paper do.

    Raises:
        TypeError, ValueError: an argument is none of these; at the call, the rank is too low, the features of a table
            that is repeated are odd, or a position lies beyond 2**31.

    References: Su, Lu, Pan, Murtadha, Wen and Liu, "RoFormer: enhanced transformer with rotary position embedding",
    2021.
    """

    takes_partitions = False
    is_table = True

    def __init__(
        self,
        part: Literal["cos", "sin", "angles", "frequencies"] = "cos",
        base: NumberLike = 10000.0,
        start: int = 0,
        repeated: Literal["no", "halves", "pairs"] = "no",
    ) -> None:
        self.part: str = one_of("part", part, ("cos", "sin", "angles", "frequencies"))
        self.base: float = _base(base)
        self.start: int = whole("start", start, -_LAST, _LAST)
        self.repeated: str = one_of("repeated", repeated, ("no", "halves", "pairs"))

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if self.part != "frequencies":
            _check_table("Rotary", shape, self.start)
        elif not shape:
            raise ValueError("Rotary makes frequencies of shape (…, features). Received: shape=() of rank 0.")
        if self.repeated != "no" and shape[-1] % 2:
            raise ValueError(
                f"The number of features must be even if they are repeated. Received: shape={shape}, "
                f"repeated={self.repeated!r}."
            )
        return distributions.Rotary(shape, resolved, self.base, self.start, self.part, self.repeated)

    def get_config(self) -> dict[str, Any]:
        return {"part": self.part, "base": self.base, "start": self.start, "repeated": self.repeated}
