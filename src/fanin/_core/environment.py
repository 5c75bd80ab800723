"""The floating-point environment: parameters are computed and values drawn in the default one, whatever the caller's.

Threads may round upward or flush subnormal numbers to zero (`torch.set_flush_denormal`, `-ffast-math` libraries). Even
the text "0.1" is another number then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fanin import _native

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def undisturbed(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function, run in the default floating-point environment; the caller's is restored when it returns or raises.

    >>> from fanin._core.environment import undisturbed
    >>> undisturbed(float)("0.1")
    0.1
    """

    @wraps(function)
    def call(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        return _native.undisturbed(partial(function, **keywords) if keywords else function, *arguments)

    return call


def quietly(operation: Callable[..., Any], *operands: Any) -> Any:
    """The result of NumPy's operation, with infinities and NaNs as in IEEE 754 and without warnings.

    >>> import numpy as np
    >>> from fanin._core.environment import quietly
    >>> quietly(np.float16, 1e6)
    np.float16(inf)
    """
    with np.errstate(all="ignore"):
        return operation(*operands)
