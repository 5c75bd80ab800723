"""Initializers of state space models: HiPPO matrices, and the diagonal ones of S4D and Mamba."""

from __future__ import annotations

from typing import Any, Literal

from fanin import distributions
from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, float_dtype
from fanin.initializers.choices import one_of
from fanin.initializers.complex import complex_dtype


class Hippo(Initializer):
    """Makes the matrices of HiPPO, whose system `x' = A x + B u` keeps the coefficients of a function's history.

    Also available as `hippo`. A is (…, n, n), B is (…, n) or a column (…, n, 1); the other axes repeat them. Row n and
    column k, counted from 0, have

    | measure | A[n, k] | B[n] |
    | --- | --- | --- |
    | "legs", all history | `-sqrt((2n+1)(2k+1))` below the diagonal, `-(n+1)` on it, 0 above | `sqrt(2n+1)` |
    | "legt", a window of length 1 | `-sqrt((2n+1)(2k+1))`, times `(-1)**(k-n)` above the diagonal | `sqrt(2n+1)` |
    | "lagt", decaying as exp(-t) | -1 below the diagonal and on it, 0 above | 1 |

    for coefficients of orthonormal Legendre ("legs" and "legt") or Laguerre polynomials. The system of "legs" is
    divided by the time: `x' = (A x + B u) / t`. The paper writes -A for A. Each value is that of the formula, rounded
    once: products are exact, and the root is IEEE 754's.

    Beware of other conventions: state-spaces' `transition("legt")` has half of these matrices (a window of length 2),
    and its "lagt" has -1/2 on the diagonal (another weight for the same polynomials).

    >>> import fanin
    >>> fanin.Hippo()((3, 3), "float64").round(4).tolist()[1]
    [-1.7321, -2.0, 0.0]
    >>> fanin.Hippo(part="B")((2, 3), "float64").round(4).tolist()[0]
    [1.0, 1.7321, 2.2361]

    Args:
        measure: "legs", "legt" or "lagt".
        part: "A" or "B".

    Raises:
        ValueError: an argument is none of these; at the call, the rank is less than 2 (of B, less than 1), or A is not
            square.

    References: Gu, Dao, Ermon, Rudra and Ré, "HiPPO: recurrent memory with optimal polynomial projections", NeurIPS
    2020, theorems 1 and 2; the sign is that of Gu, Goel and Ré, "Efficiently modeling long sequences with structured
    state spaces", ICLR 2022.
    """

    takes_partitions = False
    is_table = True

    def __init__(self, measure: Literal["legs", "legt", "lagt"] = "legs", part: Literal["A", "B"] = "A") -> None:
        self.measure: str = one_of("measure", measure, ("legs", "legt", "lagt"))
        self.part: str = one_of("part", part, ("A", "B"))

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) < (2 if self.part == "A" else 1):
            axes = "(…, n, n)" if self.part == "A" else "(…, n) or (…, n, 1)"
            raise ValueError(f"Hippo makes {self.part} of shape {axes}. Received: shape={shape} of rank {len(shape)}.")
        if self.part == "A" and shape[-2] != shape[-1]:
            raise ValueError(
                f"Hippo makes A of shape (…, n, n). Received: shape={shape} with {shape[-2]} rows and "
                f"{shape[-1]} columns. Use `region` for a part of a matrix."
            )
        return distributions.Hippo(shape, resolved, self.measure, self.part)

    def get_config(self) -> dict[str, Any]:
        return {"measure": self.measure, "part": self.part}


class S4D(Initializer):
    """Makes the diagonal state matrices of S4D, or a part of their numbers, such as Mamba's `A_log`.

    Also available as `s4d`. The last axis is the state, of h numbers A[n], counted from 0; the other axes repeat
    them. h complex numbers stand for N = 2 h states, since each belongs to a pair of conjugate ones.

    | variant | A[n] |
    | --- | --- |
    | "lin" | `-1/2 + i pi n` |
    | "inv" | `-1/2 + i (N / pi) (N / (2 n + 1) - 1)` |
    | "legs" | the eigenvalues above the real axis of HiPPO-LegS's normal part, `A + B B^T / 2`, of N states |
    | "real" | `-(n + 1)` |

    Those of "legs" come in descending order, as those of "inv", which approximate them. (Other libraries may take their
    conjugates, or ascending order.) They are no result of an eigenvalue routine, whose last bits depend on the
    processor: each is found by itself, to 2 units in the last place of float64, as the y for which the angles
    `atan((2 k + 1) / (2 y))`, k from 0 to N - 1, sum to `(n + 1/2) pi`. All values are the same on every processor.

    Mamba's `A_log`, of shape (inner size, states), is `S4D("real", part="log_real")`: log(1), log(2), … in each row
    (equal to Mamba's to rounding: each is the nearest number, PyTorch's logarithm is off in some last bits).

    >>> import fanin
    >>> fanin.S4D("lin")((3,), "complex128").round(4).tolist()
    [(-0.5+0j), (-0.5+3.1416j), (-0.5+6.2832j)]
    >>> fanin.S4D("legs", part="imag")((2,), "float64").round(6).tolist()
    [4.603293, 0.556501]
    >>> fanin.S4D("real", part="log_real")((2, 3), "float64").round(4).tolist()[0]
    [0.0, 0.6931, 1.0986]

    Args:
        variant: "lin", "inv", "legs" or "real".
        part: None for complex numbers; "real" or "imag" for their parts, "log_real" for log(-real part), which many
            models train: floating dtypes.

    Raises:
        ValueError: an argument is none of these; at the call, the rank is 0, or the dtype is not complex (for a part,
            not floating).

    References: Gu, Gupta, Goel and Ré, "On the parameterization and initialization of diagonal state space models",
    NeurIPS 2022; Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023, section 3.6.
    """

    takes_partitions = False
    is_table = True

    def __init__(
        self,
        variant: Literal["lin", "inv", "legs", "real"] = "lin",
        part: Literal["real", "imag", "log_real"] | None = None,
    ) -> None:
        self.variant: str = one_of("variant", variant, ("lin", "inv", "legs", "real"))
        self.part: str | None = one_of("part", part, ("real", "imag", "log_real", None))

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = self._resolved(dtype), checked_shape(shape)
        if not shape:
            raise ValueError("S4D makes tensors of shape (…, n). Received: shape=() of rank 0.")
        return distributions.S4D(shape, resolved, self.variant, self.part)

    def _resolved(self, dtype: DTypeLike) -> DType:
        """The dtype, if this part can be made in it; by default, `floatx` or, of complex numbers, its complex dtype."""
        if self.part is not None:
            return float_dtype(dtype)
        if dtype is not None and dtypes.kind(dtypes.resolve(dtype)) != "complex":
            raise ValueError(
                f"Expected complex dtype, got {dtypes.name(dtypes.resolve(dtype))}. Use complex64 or complex128, or a "
                f"part: part='real', 'imag' or 'log_real'. Received: dtype={shown(dtype)}, part=None."
            )
        return complex_dtype(dtype)

    def get_config(self) -> dict[str, Any]:
        return {"variant": self.variant, "part": self.part}
