"""Meta tensors that say they are where the code asked them to be, and that answer what their values are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from fanin.torch.recording.places import check_plain_tensors

Tensor: Any = torch.Tensor
META = torch.device("meta")
CPU = torch.device("cpu")


class Oracle(Protocol):
    """What the disguise asks of a recorder."""

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """The device that the code asked for."""
        ...

    def asked(self, tensor: torch.Tensor, question: str) -> torch.Tensor:
        """The values of a tensor, or an error if they are random."""
        ...

    def lent(self, tensor: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """The values of a tensor for NumPy, and whether what NumPy writes there counts."""
        ...

    def described(self, tensor: torch.Tensor) -> torch.Tensor | str:
        """The values of a tensor, or what they are in words."""
        ...

    def moved_in(self, tensor: torch.Tensor) -> torch.Tensor:
        """A meta tensor in place of one with memory of its own."""
        ...

    def address_of(self, tensor: torch.Tensor) -> int:
        """A number that tells the tensor's first element from all others."""
        ...

    def values_came_in(self) -> None:
        """Called when the code makes a tensor from values of its own."""
        ...


_Answer = Callable[[Oracle, Any, tuple[Any, ...], dict[str, Any]], Any]


class Disguise(TorchFunctionMode):
    """Answers in the name of tensors on meta, in one thread."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self._oracle = oracle

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls a function of PyTorch, or answers in its place."""
        answer = _ANSWERS.get(func)
        if answer is not None:
            return answer(self._oracle, func, args, dict(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _is_disguised(value: Any) -> bool:
    """Whether a tensor is on meta; asked where the disguise does not answer."""
    return isinstance(value, torch.Tensor) and value.is_meta


def _device(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    check_plain_tensors()
    return oracle.device_of(args[0]) if args[0].is_meta else function(*args)


def _is_meta(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return False


def _is_cpu(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return oracle.device_of(args[0]).type == "cpu" if args[0].is_meta else function(*args)


def _is_cuda(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return oracle.device_of(args[0]).type == "cuda" if args[0].is_meta else function(*args)


def _get_device(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    device = oracle.device_of(args[0]) if args[0].is_meta else args[0].device
    return -1 if device.type == "cpu" else device.index or 0


def _valued(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function of a tensor's values, called with these."""
    if not _is_disguised(args[0]):
        return function(*args, **kwargs)
    values = oracle.asked(args[0], function.__name__)
    with _disable_current_modes():
        return function(values, *args[1:], **kwargs)


def _as_array(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """NumPy's view of a tensor's memory, read-only where nothing could follow what NumPy writes."""
    if not _is_disguised(args[0]):
        return function(*args, **kwargs)
    values, is_followed = oracle.lent(args[0])
    with _disable_current_modes():
        array = function(values, *args[1:], **kwargs)
        if not is_followed:
            array.flags.writeable = False
    return array


def _indexed(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x[index]`, whose lists and arrays become tensors that keep their values."""
    tensor, index, *rest = args
    if isinstance(index, tuple) and any(isinstance(each, _LISTS) for each in index):
        index = tuple(torch.as_tensor(each) if isinstance(each, _LISTS) else each for each in index)
    elif isinstance(index, _LISTS):
        index = torch.as_tensor(index)
    return function(tensor, index, *rest, **kwargs)


def _printed(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _is_disguised(args[0]):
        return function(*args, **kwargs)
    found = oracle.described(args[0])
    if isinstance(found, str):
        return found
    if isinstance(args[0], torch.nn.Parameter):
        found = torch.nn.Parameter(found, requires_grad=args[0].requires_grad)
    with _disable_current_modes():
        return function(found, *args[1:], **kwargs)


def _moved(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`to`: a tensor that is said to be on a device already is not copied there."""
    tensor, *rest = args
    if not _is_disguised(tensor):
        return function(*args, **kwargs)
    here = oracle.device_of(tensor)

    def true(value: Any) -> Any:
        if isinstance(value, (str, torch.device)):
            device = torch.device(value)
            return META if device == here or device.type == "meta" else value
        return oracle.moved_in(value) if isinstance(value, torch.Tensor) and here.type == value.device.type else value

    return function(tensor, *map(true, rest), **{name: true(value) for name, value in kwargs.items()})


def _to_cpu(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if _is_disguised(args[0]) and oracle.device_of(args[0]).type == "cpu":
        return args[0]
    return function(*args, **kwargs)


def _itself(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if _is_disguised(args[0]) else function(*args, **kwargs)


def _not(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return False if _is_disguised(args[0]) else function(*args, **kwargs)


def _address(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return oracle.address_of(args[0]) if _is_disguised(args[0]) else function(*args, **kwargs)


def _set_data(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, value = args
    return function(tensor, oracle.moved_in(value) if _is_disguised(tensor) else value)


def _from_values(oracle: Oracle, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A tensor made of values, which none on meta would keep."""
    oracle.values_came_in()
    device = kwargs.get("device")
    if torch.device(device or torch.get_default_device()).type == "meta":
        kwargs["device"] = CPU
    return function(*args, **kwargs)


_LISTS = (list, range, np.ndarray)
_VALUED = (
    "item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__complex__", "__contains__",
)  # fmt: skip
_ANSWERS: dict[Any, _Answer] = {
    Tensor.device.__get__: _device,
    Tensor.is_meta.__get__: _is_meta,
    Tensor.is_cpu.__get__: _is_cpu,
    Tensor.is_cuda.__get__: _is_cuda,
    Tensor.get_device: _get_device,
    Tensor.data.__set__: _set_data,
    **{getattr(Tensor, name): _valued for name in _VALUED},
    Tensor.numpy: _as_array,
    Tensor.__array__: _as_array,
    Tensor.__getitem__: _indexed,
    Tensor.__setitem__: _indexed,
    Tensor.__repr__: _printed,
    Tensor.__format__: _printed,
    Tensor.to: _moved,
    Tensor.cpu: _to_cpu,
    Tensor.pin_memory: _itself,
    Tensor.share_memory_: _itself,
    Tensor.is_pinned: _not,
    Tensor.is_shared: _not,
    Tensor.data_ptr: _address,
    torch.tensor: _from_values,
    torch.as_tensor: _from_values,
    torch.asarray: _from_values,
    Tensor.new_tensor: _from_values,
}
