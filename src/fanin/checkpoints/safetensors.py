"""The safetensors format: a header that says where each tensor's bytes are, as data.

A file is the length of the header (8 bytes, little-endian), the header (JSON, padded with spaces to a multiple of 8
bytes), and the tensors' bytes without gaps. Only headers are read and written here; the bytes go where they say.

The rules are those of the library safetensors (`safetensors/src/tensor.rs`), whose files these are, byte for byte.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from fanin._core import dtypes
from fanin._core.messages import readable, shown, visible
from fanin._core.types import DType, Shape
from fanin.checkpoints.files import CheckpointError, check_unicode

SUFFIX = ".safetensors"
MOST_HEADER_BYTES = 100_000_000  # the library reads no longer headers

# The dtypes of the format and the bits of an element, in the library's order: files begin with the last ones.
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
_RANKS = {name: rank for rank, name in enumerate(_BITS)}
# Their names in NumPy and ml_dtypes. Elements of 4 and 6 bits, which files pack, have none.
_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
_OF_NAMES = {name: dtype for dtype, name in _NAMES.items()}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor is in a file.

    Attributes:
        name: its name.
        dtype: its dtype by the format's name, such as "BF16".
        shape: its shape.
        start: where its bytes begin, counted from the end of the header.
        stop: where they end.
    """

    name: str
    dtype: str
    shape: Shape
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """The number of its bytes."""
        return self.stop - self.start

    @property
    def numpy_dtype(self) -> DType:
        """Its dtype in NumPy or ml_dtypes.

        Raises:
            CheckpointError: neither has it, because its elements are packed.
        """
        if self.dtype not in _NAMES:
            raise CheckpointError(
                f"A tensor must have a dtype that NumPy or ml_dtypes has. Received: {shown(self.name)} of dtype "
                f"{self.dtype}, whose elements are packed in fewer bits than a byte."
            )
        return dtypes.resolve(_NAMES[self.dtype])


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        tensors: the tensors in the order of their bytes.
        metadata: further texts, such as `{"format": "pt"}`.
        data_start: where the tensors' bytes begin in the file.
    """

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    data_start: int

    @property
    def data_size(self) -> int:
        """The number of bytes of all tensors."""
        return self.tensors[-1].stop if self.tensors else 0

    @property
    def file_size(self) -> int:
        """The size of the file in bytes."""
        return self.data_start + self.data_size

    def tensor(self, name: str) -> Tensor:
        """The tensor of a name.

        Raises:
            KeyError: there is none.
        """
        for each in self.tensors:
            if each.name == name:
                return each
        raise KeyError(name)

    def to_bytes(self) -> bytes:
        """The beginning of the file, up to the tensors' bytes, as the library writes it.

        >>> from fanin.checkpoints.safetensors import laid_out
        >>> laid_out([]).to_bytes()
        b'\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x00{}      '
        """
        data: dict[str, Any] = {"__metadata__": dict(self.metadata)} if self.metadata else {}
        for each in self.tensors:
            data[each.name] = {
                "dtype": each.dtype,
                "shape": list(each.shape),
                "data_offsets": [each.start, each.stop],
            }
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def name_of(dtype: DType) -> str:
    """The format's name of a dtype.

    Raises:
        CheckpointError: the format does not have the dtype.
    """
    if dtype.name not in _OF_NAMES:
        raise CheckpointError(
            f"A safetensors file cannot hold the dtype {dtype.name}. It can hold {', '.join(_OF_NAMES)}."
        )
    return _OF_NAMES[dtype.name]


def laid_out(tensors: Iterable[tuple[str, DType, Shape]], metadata: Mapping[str, str] | None = None) -> Header:
    """The header of a file with these tensors, in the order in which the library writes them: by dtype, then by name.

    Args:
        tensors: the name, dtype and shape of each.
        metadata: further texts.

    Raises:
        CheckpointError: the format does not have a dtype, or a name is not one that a header can hold.

    >>> import numpy as np
    >>> from fanin.checkpoints.safetensors import laid_out
    >>> header = laid_out([("a", np.dtype("int8"), (2,)), ("b", np.dtype("float32"), (2, 3))])
    >>> [(each.name, each.start, each.stop) for each in header.tensors]
    [('b', 0, 24), ('a', 24, 26)]
    """
    named = []
    for name, dtype, shape in tensors:
        check_tensor(name, dtype)
        named.append((name, name_of(dtype), dtype.itemsize, shape))
    named.sort(key=lambda each: (-_RANKS[each[1]], each[0]))
    start, placed = 0, []
    for name, dtype, itemsize, shape in named:
        stop = start + math.prod(shape) * itemsize
        placed.append(Tensor(name, dtype, shape, start, stop))
        start = stop
    header = Header(tuple(placed), dict(metadata or {}), 0)
    return replace(header, data_start=len(header.to_bytes()))


def check_tensor(name: str, dtype: DType) -> None:
    """Raises an error if a file cannot hold a tensor of this name and dtype.

    Raises:
        CheckpointError: it cannot.
    """
    name_of(dtype)
    if name == "__metadata__":
        raise CheckpointError("A safetensors file cannot hold a tensor that is called __metadata__. Rename it.")
    check_unicode(name)


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a file, checked as the library checks it, and against the size of the file.

    Args:
        path: the file.

    Raises:
        CheckpointError: the file is cut short, or is not a safetensors file; the message says why.
        OSError: it cannot be read.

    >>> import numpy as np, tempfile, pathlib
    >>> from fanin.checkpoints.safetensors import laid_out, read_header
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.safetensors")
    >>> header = laid_out([("w", np.dtype("float32"), (1,))])
    >>> _ = path.write_bytes(header.to_bytes() + bytes(4))
    >>> read_header(path) == header
    True
    """
    with open(path, "rb") as file:
        try:
            return _header_of(file, os.fstat(file.fileno()).st_size)
        except _Wrong as error:
            name = visible(os.path.basename(path))
            raise CheckpointError(f"{name} is not a whole safetensors file: {error}.") from None


class _Wrong(ValueError):  # noqa: N818 (never seen outside)
    """What is wrong with a header, in words."""


def _header_of(file: BinaryIO, size: int) -> Header:
    first = file.read(8)
    if len(first) < 8:
        raise _Wrong(f"it has {size} bytes, fewer than the 8 that say how long the header is")
    length = int.from_bytes(first, "little")
    if length > MOST_HEADER_BYTES:
        raise _Wrong(f"its header claims {readable(length)}; the limit is {readable(MOST_HEADER_BYTES)}")
    if 8 + length > size:
        raise _Wrong(f"its header should have {length} bytes, but the file ends after {size - 8} of them")
    header = _parsed(file.read(length), 8 + length)
    there = size - 8 - length
    if header.data_size != there:
        kind = "cut short" if header.data_size > there else "too long"
        raise _Wrong(f"it is {kind}: its tensors have {header.data_size} bytes, and {there} follow the header")
    return header


def _parsed(text: bytes, data_start: int) -> Header:
    """The header that the JSON of a file holds, padding included. The bytes of all tensors follow without gaps."""
    try:
        data = json.loads(text.decode(), object_pairs_hook=_once_each)
    except _Wrong:
        raise
    except (ValueError, RecursionError) as error:  # of the encoding, of JSON, of numbers of thousands of digits
        raise _Wrong(f"its header is not JSON ({visible(str(error))[:80]})") from None
    if not isinstance(data, dict):
        raise _Wrong("its header is not a JSON object")
    metadata = data.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        raise _Wrong("its __metadata__ is not an object of texts")
    tensors = sorted((_tensor(name, each) for name, each in data.items()), key=lambda each: (each.start, each.stop))
    end = 0
    for each in tensors:
        if each.start != end:
            raise _Wrong(f"the bytes of {shown(each.name)} begin at {each.start}, and must begin at {end}")
        end = each.stop
    return Header(tuple(tensors), metadata, data_start)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Wrong(f"its header has {shown(next(key for key in data if keys.count(key) > 1))} twice")
    return data


def _tensor(name: str, data: Any) -> Tensor:
    if not isinstance(data, dict) or data.keys() != {"dtype", "shape", "data_offsets"}:
        raise _Wrong(f"{shown(name)} must have a dtype, a shape and data_offsets")
    dtype, shape, offsets = data["dtype"], data["shape"], data["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _Wrong(f"{shown(name)} has the unknown dtype {shown(dtype)}")
    if not _are_counts(shape):
        raise _Wrong(f"{shown(name)} has no shape but {shown(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _Wrong(f"{shown(name)} has no data_offsets but {shown(offsets)}")
    bits = math.prod(shape) * _BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise _Wrong(
            f"{shown(name)} of dtype {dtype} and shape {shown(shape)} cannot have {offsets[1] - offsets[0]} bytes"
        )
    return Tensor(name, dtype, tuple(shape), *offsets)


def _are_counts(numbers: Any) -> bool:
    """Whether these are integers that 64 bits hold."""
    return isinstance(numbers, list) and all(type(each) is int and 0 <= each < 2**63 for each in numbers)
