"""The settings in force, as `fanin.config`: default dtype, threads, processor tier, call semantics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

from fanin import _native
from fanin._core.cores import available_threads
from fanin._core.messages import shown, suggestion

REFERENCE = "reference"  # the tier in plain NumPy
TIERS = (REFERENCE, *_native.TIERS)  # those that this machine supports, from the plainest to the best
_ALL_TIERS = (REFERENCE, "baseline", "avx2", "avx512")
_FLOATX = ("float16", "bfloat16", "float32", "float64")
_CALL_SEMANTICS = ("documented", "released")


def _one_of(allowed: tuple[str, ...]) -> Callable[[str, Any], str]:
    def check(label: str, value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(
            f"{label} must be one of {', '.join(allowed)}. Received: {label}={shown(value)}."
            f"{suggestion(value, allowed)}"
        )

    return check


def _check_tier(label: str, value: Any) -> str:
    if isinstance(value, str) and value in _ALL_TIERS and value not in TIERS:
        raise ValueError(
            f"{label} must be a tier that this machine has: {', '.join(TIERS)}. Received: {label}={shown(value)}. "
            "Leave it unset to get the best one."
        )
    return _one_of(TIERS)(label, value)


def _check_threads(label: str, value: Any) -> int:
    try:
        threads = int(value) if isinstance(value, str) else value.__index__()
    except (AttributeError, TypeError, ValueError):
        threads = 0
    if isinstance(value, bool) or not 1 <= threads <= 1 << 16:
        raise ValueError(f"{label} must be a whole number from 1 to 65536. Received: {label}={shown(value)}.")
    return threads


class _Setting(NamedTuple):
    variable: str  # the environment variable that sets it
    check: Callable[[str, Any], Any]
    default: Callable[[], Any]


_SETTINGS = {
    "floatx": _Setting("FANIN_FLOATX", _one_of(_FLOATX), lambda: "float32"),
    "threads": _Setting("FANIN_NUM_THREADS", _check_threads, available_threads),
    "tier": _Setting("FANIN_TIER", _check_tier, lambda: TIERS[-1]),
    "call_semantics": _Setting("FANIN_CALL_SEMANTICS", _one_of(_CALL_SEMANTICS), lambda: "documented"),
}

# The settings made by `using`, for the current thread or task only.
_overrides: ContextVar[Mapping[str, Any]] = ContextVar("fanin_config", default=MappingProxyType({}))


class Config:
    """The settings in force, as `fanin.config`.

    - `floatx`: the dtype of calls without one: "float32" (the default), "float16", "bfloat16" or "float64".
    - `threads`: how many threads a large fill may use; values never depend on it. By default, the cores that the
      process may use: those of its affinity (`taskset`), no more than the quota of its control group (of a container)
      is worth, and no more than `OMP_NUM_THREADS`, which `torchrun` sets to 1. This is found out once, when it is first
      needed: later changes of the affinity or the environment make no difference, and a forked process keeps it.
    - `tier`: the processor tier of the kernels, by default the best that this machine has: "baseline", "avx2",
      "avx512", or "reference", which is plain NumPy and slow. Values do not depend on it.
    - `call_semantics`: what a second call of a seeded Glorot, He or Lecun initializer returns: "documented" (new
      values, as the Keras 2 documentation says) or "released" (the same values, as tf_keras from 2.10 on does).

    Each can be set by assignment, for a block with `using`, and by the environment variables `FANIN_FLOATX`,
    `FANIN_NUM_THREADS`, `FANIN_TIER` and `FANIN_CALL_SEMANTICS`, which are read when fanin is first used. An assignment
    holds until the next one: within a block of `using`, it replaces what the block set, and it lasts after the block.
    An invalid value raises ValueError.

    >>> import fanin
    >>> fanin.config.floatx
    'float32'
    >>> with fanin.config.using(floatx="bfloat16"):
    ...     fanin.Zeros()((2, 3)).dtype
    dtype(bfloat16)
    """

    __slots__ = ("_origins", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._origins: dict[str, str] = {}
        for name, setting in _SETTINGS.items():
            given = os.environ.get(setting.variable)
            self._origins[name] = f"from {setting.variable}" if given else "default"
            if given:
                self._values[name] = setting.check(setting.variable, given)

    def _get(self, name: str) -> Any:
        overrides = _overrides.get()
        if name in overrides:
            return overrides[name]
        if name not in self._values:
            self._values[name] = _SETTINGS[name].default()
        return self._values[name]

    def _set(self, name: str, value: Any) -> None:
        self._values[name] = _SETTINGS[name].check(name, value)
        self._origins[name] = "assigned"
        if name in _overrides.get():
            _overrides.set({other: value for other, value in _overrides.get().items() if other != name})

    @property
    def floatx(self) -> str:
        return self._get("floatx")

    @floatx.setter
    def floatx(self, value: str) -> None:
        self._set("floatx", value)

    @property
    def threads(self) -> int:
        return self._get("threads")

    @threads.setter
    def threads(self, value: int) -> None:
        self._set("threads", value)

    @property
    def tier(self) -> str:
        return self._get("tier")

    @tier.setter
    def tier(self, value: str) -> None:
        self._set("tier", value)

    @property
    def call_semantics(self) -> str:
        return self._get("call_semantics")

    @call_semantics.setter
    def call_semantics(self, value: str) -> None:
        self._set("call_semantics", value)

    @contextmanager
    def using(self, **settings: Any) -> Iterator[None]:
        """Changes settings within the block, for the current thread or task only.

        What is assigned within the block holds from then on, in the block and after it.

        >>> import fanin
        >>> with fanin.config.using(threads=1, tier="baseline"):
        ...     fanin.config.threads
        1
        """
        unknown = [name for name in settings if name not in _SETTINGS]
        if unknown:
            raise TypeError(
                f"Unknown settings: {unknown}. Allowed settings: {list(_SETTINGS)}.{suggestion(unknown[0], _SETTINGS)}"
            )
        checked = {name: _SETTINGS[name].check(name, value) for name, value in settings.items()}
        outer = _overrides.get()
        _overrides.set({**outer, **checked})
        try:
            yield
        finally:
            # A setting that has been assigned in the meantime is no longer that of an outer block, either.
            _overrides.set({name: value for name, value in outer.items() if name in _overrides.get()})

    def show(self) -> None:
        """Prints the settings in force, where each comes from, and the tiers that this machine has."""
        overrides = _overrides.get()
        for name, setting in _SETTINGS.items():
            origin = "in this block" if name in overrides else self._origins[name]
            print(f"{name:<15} {self._get(name)!s:<12} {origin + ',':<24} set by {setting.variable}")
        print(f"{'tiers':<15} {', '.join(TIERS)}")

    def __repr__(self) -> str:
        return f"fanin.config({', '.join(f'{name}={self._get(name)!r}' for name in _SETTINGS)})"


config: Config = Config()
