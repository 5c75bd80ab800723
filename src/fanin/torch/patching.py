"""`patch`, which makes `torch.nn.init` draw fanin's values under every name that its functions were imported by."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

import torch
from torch.overrides import has_torch_function_variadic

from fanin._core.patches import Hold, Patch, PatchState
from fanin.torch.exchanged import Declined, Who, exchange, restore
from fanin.torch.init import laws, random
from fanin.torch.init.drawn import draw_, is_stand_in
from fanin.torch.init.laws import UnsupportedError, real
from fanin.torch.init.routing import warn
from fanin.torch.recording.functions import is_recording

_Function: TypeAlias = Callable[..., Any]


# timm's functions, with fanin's values. They have other parameters than those of PyTorch.


def _timm_trunc_normal_(tensor: Any, mean: Any = 0.0, std: Any = 1.0, a: Any = -2.0, b: Any = 2.0) -> Any:
    return _OWN["trunc_normal_"](tensor, mean, std, a, b)


def _timm_trunc_normal_tf_(tensor: Any, mean: Any = 0.0, std: Any = 1.0, a: Any = -2.0, b: Any = 2.0) -> Any:
    """Bounds are in standard deviations."""
    parameters = real("mean", mean), real("std", std), real("a", a), real("b", b)
    return draw_(tensor, laws.trunc_normal_tf, *parameters, generator=None, seed=None)


def _timm_variance_scaling_(tensor: Any, scale: Any = 1.0, mode: str = "fan_in", distribution: str = "normal") -> None:
    """Without a result, as timm's."""
    draw_(tensor, laws.variance_scaling, real("scale", scale), mode, distribution, generator=None, seed=None)


# The functions as they are within, without what `public` does: PyTorch's own code sees to modes and to what overrides.
_OWN: dict[str, Any] = {
    name: getattr(getattr(random, name), "__wrapped__")  # noqa: B009
    for name in (
        "kaiming_normal_", "kaiming_uniform_", "normal_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_",
        "xavier_normal_", "xavier_uniform_",
    )
}  # fmt: skip
# What PyTorch's functions call, which some packages import.
_WITHIN = {"_no_grad_uniform_": "uniform_", "_no_grad_normal_": "normal_", "_no_grad_trunc_normal_": "trunc_normal_"}
_TIMM = {
    "trunc_normal_": _timm_trunc_normal_,
    "trunc_normal_tf_": _timm_trunc_normal_tf_,
    "variance_scaling_": _timm_variance_scaling_,
}
# The functions in the place of others, by module. Others' constants are fanin's already.
_MODULES: dict[str, Mapping[str, _Function]] = {
    "torch.nn.init": {**_OWN, **{name: _OWN[own] for name, own in _WITHIN.items()}},
    "timm.layers.weight_init": _TIMM,
    "timm.models.layers.weight_init": _TIMM,  # of versions before 0.9
}


# PyTorch's functions that tell modes and overriding classes of the call; others' call methods, which do.
_TOLD = ("kaiming_uniform_", "normal_", "uniform_")
_NOT_OVERRIDDEN = (
    getattr(torch.Tensor, "__torch_function__").__func__,  # noqa: B009
    torch._C._disabled_torch_function_impl,
)


def _substitute(name: str, ours: _Function) -> _Function:
    """What is called in the place of others' function: fanin's, for tensors that it can fill."""
    is_told, public = name in _TOLD, name.removeprefix("_no_grad_")

    def substitute(tensor: Any, *arguments: Any) -> Any:
        # A recording reads others' own code, which also tells modes and overriding classes of the call.
        if is_recording() or (has_torch_function_variadic(tensor) and (is_told or _is_overridden(tensor))):
            return NotImplemented
        has_memory = not (tensor.is_meta or is_stand_in(tensor))
        if has_memory and getattr(torch._C, "_len_torch_dispatch_stack")():  # noqa: B009 (it is to see what is drawn)
            message = f"A dispatch mode is in force, and PyTorch's own {public} draws, not fanin."
            return Declined(lambda: warn(message))
        try:
            return ours(tensor, *arguments)
        except UnsupportedError as error:  # before anything was drawn or written
            if not has_memory:  # PyTorch leaves those as they are, too
                return NotImplemented
            message = f"fanin does not draw this tensor, and PyTorch's own {public} did instead. {error}"
            return Declined(lambda: warn(message))

    return substitute


def _is_overridden(tensor: Any) -> bool:
    """Whether a tensor's class sees to PyTorch's functions itself, and not merely a mode, such as that of a device."""
    own = getattr(type(tensor), "__torch_function__", None)
    return own is not None and getattr(own, "__func__", own) not in _NOT_OVERRIDDEN


class _Imports(MetaPathFinder):
    """Notices imports of the modules that have functions to exchange.

    It finds nothing itself: it has the loader that others find call it when the module has been executed.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders have."""
        if fullname not in _MODULES:
            return None
        specs = (each.find_spec(fullname, path, target) for each in list(sys.meta_path) if each is not self)
        spec = next((each for each in specs if each is not None), None)
        if spec is not None and spec.loader is not None:
            _call_after_execution(spec.loader, _functions.exchange_known)
        return spec


def _call_after_execution(loader: Any, function: Callable[[], None]) -> None:
    """Has a loader call a function once, when it has executed its module."""
    execute = loader.exec_module

    def execute_and_call(module: ModuleType) -> None:
        del loader.exec_module  # the instance's: the class has its own
        execute(module)
        function()

    loader.exec_module = execute_and_call


class _Functions:
    """The functions of others, with fanin's code in them or their own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._imports = _Imports()
        self._exchanged: list[Any] = []
        self._in_force = False

    def exchange(self) -> None:
        """Puts fanin's functions in the place of others', now and in modules that are imported later."""
        with self._lock:
            self._in_force = True
            sys.meta_path.insert(0, self._imports)
            self.exchange_known()

    def exchange_known(self) -> None:
        """Does so in the modules that are there."""
        with self._lock:
            for name, functions in _MODULES.items() if self._in_force else ():
                module = sys.modules.get(name)
                for theirs, ours in functions.items() if module is not None else ():
                    function = getattr(module, theirs, None)
                    if _is_own(function, theirs) and not any(function is each for each in self._exchanged):
                        self._exchanged.append(function)
                        exchange(function, Who.PATCH, _substitute(theirs, ours))

    def restore(self) -> None:
        """Gives all functions their own code back."""
        with self._lock:
            self._in_force = False
            sys.meta_path[:] = [each for each in sys.meta_path if each is not self._imports]
            while self._exchanged:
                restore(self._exchanged[-1], Who.PATCH)
                self._exchanged.pop()


def _is_own(function: Any, name: str) -> bool:
    """Whether a function is the package's own of this name, and not one that someone has put in its place."""
    is_written = isinstance(function, FunctionType) and function.__qualname__ == name
    return is_written and function.__module__ in _MODULES


_functions = _Functions()
_patch = Patch(PatchState(), _functions.exchange, _functions.restore)


def patch() -> Hold:
    """Makes `torch.nn.init` draw fanin's values, in scripts and libraries that know nothing of fanin.

    From then on, in all threads, PyTorch's functions that draw (`xavier_uniform_`, `trunc_normal_`, `orthogonal_`, …)
    do what those of `fanin.torch.init` do without a seed: layers that are made, their `reset_parameters`, and all code
    that has imported a function, under any name, before or within the block. So do timm's `trunc_normal_`,
    `trunc_normal_tf_`, `variance_scaling_` and `lecun_normal_`, and everything in transformers that calls PyTorch's
    functions. Each call takes one seed from PyTorch's generator, so `torch.manual_seed` repeats a model, with the same
    values on every device. Tensors without memory are left as they are, as PyTorch leaves them. What fanin cannot draw
    (complex sparse matrices, bounds far out in a tail), PyTorch's own code draws, with a warning.

    It does not reach tensors' own methods (`weight.normal_()`), nor `torch.randn` and the like, which stay PyTorch's.
    And values depend on the order of calls, as PyTorch's do: a layer that is added changes all that come after it.
    `fanin.torch.initialize(model, seed=…)` gives values that depend on the seed and the parameters' paths alone.

    Within `fanin.torch.recording`, others' functions are recorded as without the patch.

    Returns:
        A context manager that ends the patch with its block; without a block, the patch lasts until `unpatch`. Also a
        decorator of functions: `@fanin.torch.patch()` puts the patch in force during each call.

    >>> import fanin.torch, torch
    >>> with fanin.torch.patch():
    ...     _ = torch.manual_seed(1)
    ...     weight = torch.nn.init.xavier_uniform_(torch.empty(2, 3))
    >>> _ = torch.manual_seed(1)
    >>> bool((fanin.torch.init.xavier_uniform_(torch.empty(2, 3)) == weight).all())
    True
    """
    return _patch.hold()


def unpatch() -> None:
    """Ends the patch; does nothing if it is not in force."""
    _patch.let_go()
