"""Memory of other libraries, as NumPy arrays over it. What is not loaded is not imported for it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from fanin import _dtypes

_IMMUTABLE = {
    "jax": "JAX's arrays are immutable. Use fanin.jax, which makes new ones.",
    "jaxlib": "JAX's arrays are immutable. Use fanin.jax, which makes new ones.",
    "tensorflow": "TensorFlow's tensors are immutable. Assign a result to a variable: `variable.assign(result)`.",
}
_CPU_DEVICES = (1, 3)  # DLPack's kDLCPU, and kDLCUDAHost, which is pinned memory of the CPU
_BITS = {1: "uint8", 2: "uint16"}


def as_numpy(out: Any) -> np.ndarray:
    """An array over the memory of `out`: NumPy's own, PyTorch's, or of whatever exports its memory.

    Raises:
        TypeError: it exports none that the CPU can write to.
        ValueError: it does so in general, but not as it is.
    """
    if isinstance(out, np.ndarray):
        return out
    library = type(out).__module__.partition(".")[0]
    if library in _IMMUTABLE:
        raise TypeError(f"`out` must be writable. Received: out of type {type(out).__name__}. {_IMMUTABLE[library]}")
    if is_torch(out):
        return _of_torch(out)
    try:
        if hasattr(out, "__dlpack__"):
            device = int(out.__dlpack_device__()[0])
            if device in _CPU_DEVICES:
                return np.from_dlpack(out, copy=False)
            raise BufferError(f"it lies on a device of DLPack's type {device}")
        if hasattr(out, "__array_interface__") or hasattr(out, "__array_struct__"):
            return np.array(out, copy=False)
        return np.asarray(memoryview(out))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            "`out` must be a writable array in the CPU's memory: of NumPy, of PyTorch, or of anything that exports it "
            f"(by DLPack, `__array_interface__` or the buffer protocol). Received: out of type {type(out).__name__} "
            f"({_first_sentence(error)})."
        ) from None


def is_torch(out: Any) -> bool:
    """Whether this is a tensor of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(out, torch.Tensor)


def note_write(out: Any) -> None:
    """Tells PyTorch that a tensor has other values now: a graph that has saved it for its gradients then raises."""
    if is_torch(out) and not out.is_inference():  # inference tensors are in no graph
        sys.modules["torch"].autograd.graph.increment_version(out)


def _of_torch(tensor: Any) -> np.ndarray:
    torch: Any = sys.modules["torch"]
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"The tensor must have a shape. Received: a {type(tensor).__name__}. Call its module on an input first."
        )
    if not tensor.is_cpu:
        raise ValueError(
            "The tensor must have memory. Received: a tensor on the meta device. "
            "Materialise it first: `module.to_empty(device='cpu')`."
            if tensor.is_meta
            else f"The tensor must be in the CPU's memory. Received: a tensor on {tensor.device}. "
            "Fill one of the CPU and copy it: `tensor.copy_(fill_(torch.empty(tensor.shape), initializer))`."
        )
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise ValueError(f"The tensor must have memory of its own. Received: a {type(tensor).__name__}.")
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError(
            "The tensor must be writable. Received: an inference tensor outside of `torch.inference_mode()`. Clone it."
        )
    bits, dtype = _views(tensor.dtype)
    try:
        plain = tensor.detach()
        array = plain.numpy() if bits is None else plain.view(bits).numpy().view(dtype)
        reach = 1 + sum(stride * (length - 1) for stride, length in zip(plain.stride(), plain.shape, strict=True))
        held = plain.untyped_storage().nbytes() // plain.element_size() - plain.storage_offset()
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"The tensor must be dense memory of a dtype that NumPy or ml_dtypes has. Received: a "
            f"{type(tensor).__name__} of layout {tensor.layout} and dtype {tensor.dtype} ({_first_sentence(error)})."
        ) from None
    # A storage may have been given back, or stand for another one within a transform.
    if array.size and (held < reach or array.ctypes.data != tensor.data_ptr()):
        raise ValueError(
            f"The tensor must have memory of its own. Received: a {type(tensor).__name__} of shape "
            f"{tuple(tensor.shape)} over a storage of {plain.untyped_storage().nbytes()} bytes."
        )
    return array


@cache
def _views(dtype: Any) -> tuple[Any, np.dtype | None]:
    """For what NumPy alone does not have, an integer dtype of PyTorch of the same width, and ml_dtypes' name for it."""
    found = _dtypes.ML_DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None or found.itemsize not in _BITS:
        return None, None
    return getattr(sys.modules["torch"], _BITS[found.itemsize]), found


def _first_sentence(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0].removesuffix(".")
