"""Memory for results: fresh, aligned arrays, and arrays over the caller's memory, checked before they are written.

No framework is imported here: a PyTorch tensor can only be passed in once PyTorch has been imported.
"""

from __future__ import annotations

import bisect
import math
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fanin import _native
from fanin._core import dtypes
from fanin._core.messages import class_name, readable, visible
from fanin._core.shapes import Region, chunks, parse_region

_IMMUTABLE = {
    "jax": "JAX arrays are immutable. Use fanin.jax, which returns new ones.",
    "jaxlib": "JAX arrays are immutable. Use fanin.jax, which returns new ones.",
    "tensorflow": "TensorFlow tensors are immutable. Assign the result to a variable: `variable.assign(result)`.",
}
_CPU_DEVICES = (1, 3)  # DLPack's kDLCPU and kDLCUDAHost, which is pinned CPU memory
_BITS = {1: "uint8", 2: "uint16"}
_STEP = 2**22  # elements that are written at once
_NOT_WRITABLE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) .-", re.MULTILINE)  # a line of Linux's /proc/self/maps
_UNSIGNED = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}


def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialized array, 64-byte aligned. Raises MemoryError, with the size, if there is no room for it.

    The array's base is the `_native.Memory` that holds it, unless it is empty.
    """
    size = math.prod(shape) * dtype.itemsize
    if not size:
        try:
            return np.empty(shape, dtype)
        except ValueError:  # NumPy counts the bytes of the other axes
            raise ValueError(
                f"`shape` is too large, even though the array is empty. Received: shape={shape}, dtype={dtype}."
            ) from None
    try:
        memory: Any = _native.Memory(size)
    except (MemoryError, TypeError):  # TypeError: more bytes than a 64-bit number holds
        raise MemoryError(
            f"Unable to allocate {readable(size)} for a tensor of shape {shape} and dtype {dtype}."
        ) from None
    return np.ndarray(shape, dtype, buffer=memory)


def checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`out` as a plain array over its memory, if the result can be written to it."""
    borrowed = borrows_memory(out)
    out = as_numpy(out)
    if out.shape != shape:
        raise ValueError(f"`out` must have the shape of the result, {shape}. Received: out of shape {out.shape}.")
    if out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"`out` must have the dtype of the result, {dtype}. Received: out of dtype {out.dtype}.")
    if not out.flags.writeable or (borrowed and read_only([out])):
        raise ValueError("`out` must be writable. Received: a read-only array. Pass a copy of it.")
    if overlaps_itself(out):
        raise ValueError(
            "`out` must have separate memory for each element. "
            f"Received: an array of shape {out.shape} and strides {out.strides}, whose elements overlap, or might. "
            "Pass one whose strides nest."
        )
    return np.ndarray.view(out, np.ndarray)  # bypasses a subclass's own views, such as masks


def overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements share memory, or might: strides must nest, each reaching past everything inside it."""
    if array.size == 0 or array.flags.forc:
        return False
    axes = sorted(
        (abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True) if length > 1
    )
    reach = array.itemsize
    for stride, length in axes:
        if stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def borrows_memory(out: Any) -> bool:
    """Whether this is a PyTorch tensor over memory that PyTorch did not allocate, such as an array's or a file's.

    PyTorch does not record whether such memory may be written.
    """
    return is_torch(out) and out.is_cpu and out.layout is sys.modules["torch"].strided and not _is_resizable(out)


def read_only(arrays: Sequence[np.ndarray]) -> list[int]:
    """The positions of arrays that lie in pages that this process cannot write, so that a write would end it.

    The pages are read from the operating system, once for all arrays; where it does not show them (only Linux does),
    none is found. An array that is marked as read-only may lie in writable pages.
    """
    pages = _read_only_pages() if arrays else []
    starts = [start for start, _ in pages]
    found = []
    for position, array in enumerate(arrays):
        first, end = np.lib.array_utils.byte_bounds(array)
        number = bisect.bisect_left(starts, end) - 1  # the last pages that begin before the array's end
        if array.size and number >= 0 and pages[number][1] > first:
            found.append(position)
    return found


def _read_only_pages() -> list[tuple[int, int]]:
    """The (start, end) of each mapping of the process without write permission, in ascending order."""
    try:
        maps = Path("/proc/self/maps").read_bytes()
    except OSError:
        return []
    return [(int(start, 16), int(end, 16)) for start, end in _NOT_WRITABLE.findall(maps)]


def fill_constant(out: np.ndarray, value: Any) -> None:
    """Fills an array with one value, in steps between which it can be interrupted."""
    for chunk in chunks(out.shape, _STEP):
        out[(*(slice(*each) for each in chunk), ...)] = value  # the dots keep a 0-d array an array


def parts(
    out: np.ndarray, shape: tuple[int, ...], region: Region | None, most: int
) -> Iterator[tuple[np.ndarray, Region]]:
    """Views that tile an array, each of at most `most` elements and with all of the tensor's axes, and their regions.

    Args:
        out: an array of the tensor's or the region's shape.
        shape: the shape of the whole tensor.
        region: a region of the tensor; None for all of it.
        most: the largest number of elements of a part.
    """
    if region is None:
        region = parse_region(..., shape)
    whole = region._replace(dropped=(False,) * len(shape))
    out = out[(*region.restored_axes, ...)]  # the dots keep a 0-d array an array
    for chunk in chunks(region.lengths, most):
        lengths = tuple(stop - start for start, stop in chunk)
        starts = tuple(begin + start for begin, (start, _) in zip(region.starts, chunk, strict=True))
        yield out[(*(slice(*each) for each in chunk), ...)], whole._replace(starts=starts, lengths=lengths)


def as_unsigned(array: np.ndarray) -> np.ndarray:
    """The same memory as unsigned integers, since other code cannot read the buffers of ml_dtypes' arrays."""
    return array.view(_UNSIGNED[array.dtype.itemsize])


def as_numpy(out: Any) -> np.ndarray:
    """An array over the memory of `out`: a NumPy array, a PyTorch tensor, or anything that exports its memory.

    Raises:
        TypeError: it does not export memory that the CPU can write.
        ValueError: it is of a supported type, but cannot be written in its present state.
    """
    if isinstance(out, np.ndarray):
        return out
    library = type(out).__module__.partition(".")[0]
    if library in _IMMUTABLE:
        raise TypeError(f"`out` must be writable. Received: out of type {class_name(type(out))}. {_IMMUTABLE[library]}")
    if is_torch(out):
        return _of_torch(out)
    try:
        if hasattr(out, "__dlpack__"):
            device = int(out.__dlpack_device__()[0])
            if device in _CPU_DEVICES:
                return np.from_dlpack(out, copy=False)
            raise BufferError(f"it is on a device of DLPack type {device}")
        if hasattr(out, "__array_interface__") or hasattr(out, "__array_struct__"):
            return np.array(out, copy=False)
        return np.asarray(memoryview(out))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            "`out` must be a writable array in CPU memory: a NumPy array, a PyTorch tensor, or anything that exports "
            "its memory (by DLPack, `__array_interface__` or the buffer protocol). "
            f"Received: out of type {class_name(type(out))} ({_first_sentence(error)})."
        ) from None


def is_torch(out: Any) -> bool:
    """Whether this is a PyTorch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(out, torch.Tensor)


def note_write(out: Any) -> None:
    """Tells PyTorch that a tensor's values have changed, so that a graph that saved it for gradients raises."""
    if is_torch(out) and not out.is_inference():  # inference tensors are in no graph
        sys.modules["torch"].autograd.graph.increment_version(out)


def _of_torch(tensor: Any) -> np.ndarray:
    torch: Any = sys.modules["torch"]
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"The tensor must have a shape. Received: a {class_name(type(tensor))}. Call its module on an input first."
        )
    if not tensor.is_cpu:
        raise ValueError(
            "The tensor must have memory. Received: a tensor on the meta device. "
            "Materialize it first: `module.to_empty(device='cpu')`."
            if tensor.is_meta
            else f"The tensor must be in CPU memory. Received: a tensor on {tensor.device}. "
            "Fill a CPU tensor and copy it: `tensor.copy_(fill_(torch.empty(tensor.shape), initializer))`."
        )
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise ValueError(f"The tensor must have memory of its own. Received: a {class_name(type(tensor))}.")
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError(
            "The tensor must be writable. Received: an inference tensor outside of `torch.inference_mode()`. Clone it."
        )
    bits, dtype = _views(tensor.dtype)
    try:
        plain = tensor.detach()
        if plain.is_neg():
            raise ValueError("it has negative bit set")
        # Unlike `.numpy()`, DLPack leaves the storage resizable, as FSDP needs it.
        array = np.from_dlpack(plain if bits is None else plain.view(bits), copy=False)
        array = array if dtype is None else array.view(dtype)
        reach = plain.numel() if plain.is_contiguous() else _reach(plain)
        held = plain.untyped_storage().nbytes() // plain.element_size() - plain.storage_offset()
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"The tensor must be dense, with a dtype that NumPy or ml_dtypes has. Received: a "
            f"{class_name(type(tensor))} of layout {tensor.layout} and dtype {tensor.dtype} ({_first_sentence(error)})."
        ) from None
    # The storage may have been freed, or stand in for another one inside a transform.
    if array.size and (held < reach or array.ctypes.data != tensor.data_ptr()):
        raise ValueError(
            f"The tensor must have memory of its own. Received: a {class_name(type(tensor))} of shape "
            f"{tuple(tensor.shape)} over a storage of {plain.untyped_storage().nbytes()} bytes."
        )
    return array


def _reach(tensor: Any) -> int:
    """How many elements lie between the first one and the end of the last one."""
    return 1 + sum(stride * (length - 1) for stride, length in zip(tensor.stride(), tensor.shape, strict=True))


def _is_resizable(tensor: Any) -> bool:
    try:
        return tensor.untyped_storage().resizable()
    except (NotImplementedError, RuntimeError, ValueError):  # it has no storage, which `as_numpy` says
        return True


@cache
def _views(dtype: Any) -> tuple[Any, np.dtype | None]:
    """For a dtype that NumPy lacks, PyTorch's unsigned dtype of the same width and the ml_dtypes dtype; else None."""
    found = dtypes.ML_DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None or found.itemsize not in _BITS:
        return None, None
    return getattr(sys.modules["torch"], _BITS[found.itemsize]), found


def _first_sentence(error: BaseException) -> str:
    return visible(str(error).strip().partition("\n")[0].partition(". ")[0].removesuffix("."))
