"""Files of `torch.save`, read without PyTorch and without running what their pickle says.

A file is a zip file of a pickle and of storages as they are in memory, or, before PyTorch 1.6, pickles and storages one
after the other. The pickle names functions that rebuild tensors from storages, offsets, sizes and strides; here they
are data (`pickles`). A file whose pickle names anything else holds code, and is refused.

The layout is that of `torch/serialization.py` and `torch/_utils.py` (PyTorch 2.13).
"""

from __future__ import annotations

import math
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fanin._core import dtypes
from fanin._core.messages import plural, readable, shown, visible
from fanin._core.shapes import MAX_RANK, c_strides
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints import pickles, zips
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.pickles import Made, Name
from fanin.checkpoints.stored import Contents, Flat, Slices, Stored, contents_of_files

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of torch.serialization.MAGIC_NUMBER
_MOST_PICKLE_BYTES = 2**28
_DEEPEST = 64  # containers within one another
_MOST_SHARED = 16  # names of a value, on average, that a pickle has once
_MOST_EXPANDED = 2**24  # elements of a tensor that has fewer in its storage

# Classes of storages, with their elements' dtypes by PyTorch's name; those of quantized numbers have no dtype here.
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
    "QUInt8Storage": "quint8",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
_WIDTHS = {"quint8": 1, "qint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
DTYPE = re.compile(
    r"c?(double|float|half)|long|int|short|bool|bfloat16|complex(32|64|128)|float(16|32|64|[48]_\w+)|q?u?int\d+(x\d)?"
    r"|bits\d+(x\d)?"
)
# Everything else that weights need; of most of it, only tensors are read.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "collections": ("OrderedDict", "Counter", "defaultdict"),
    "builtins": ("set", "frozenset", "complex", "bytearray", "int", "float", "bool", "str", "list", "dict", "tuple"),
    "__builtin__": ("set", "frozenset", "complex", "bytearray", "int", "float", "bool", "str", "list", "dict", "tuple"),
    "_codecs": ("encode",),
    "torch": ("Size", "device", "Tensor", *_STORAGES),
    "torch.storage": ("UntypedStorage", "TypedStorage"),
    "torch.nn.parameter": ("Parameter", "Buffer"),
    "torch.serialization": ("_get_layout",),
    "torch.torch_version": ("TorchVersion",),
    "torch._tensor": ("_rebuild_from_type_v2",),
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
        "_rebuild_qtensor",
        "_rebuild_sparse_tensor",
        "_rebuild_nested_tensor",
        "_rebuild_meta_tensor_no_storage",
    ),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
}
_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")  # around a tensor, their first argument
_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")


def read_pytorch(paths: Iterable[Path]) -> Contents:
    """The contents of files of `torch.save`: the tensors in their dicts and lists, by the names of the way to them."""
    other: dict[str, None] = {}
    ties: dict[str, str] = {}

    def tensors(path: Path) -> list[_InPyTorch]:
        found, names = _found_in(path)
        other.update(dict.fromkeys(names))
        first: dict[_Geometry, str] = {}
        for each in found:
            tied = first.setdefault(each.geometry, each.name)
            if tied != each.name and each.size:
                ties[each.name] = tied
        return found

    contents = contents_of_files("pytorch", paths, tensors)
    contents.other, contents.ties = tuple(other), ties
    return contents


@dataclass(eq=False)
class _Storage:
    """A storage that a pickle refers to.

    Attributes:
        dtype_name: the dtype of its elements, as PyTorch calls it.
        count: how many elements the pickle says that it has.
        opened: gives a stream of its bytes, and where they begin in it; set when that is known.
        nbytes: how many bytes there are.
    """

    dtype_name: str
    count: int
    opened: Callable[[], AbstractContextManager[tuple[IO[bytes], int]]] | None = None
    nbytes: int = 0

    @property
    def width(self) -> int:
        """The number of bytes of an element."""
        return _WIDTHS.get(self.dtype_name) or dtypes.resolve(self.dtype_name).itemsize


class _InPyTorch(Flat):
    """A tensor of a file of `torch.save`.

    Attributes:
        geometry: where its elements are.
    """

    def __init__(self, path: Path, name: str, geometry: _Geometry) -> None:
        self.name, self.file = name, path.name
        self.shape, self.strides = geometry.shape, geometry.strides
        self.dtype_name, self.dtype = geometry.dtype_name, numpy_dtype(geometry.dtype_name)
        self.in_c_order = all(
            stride == dense
            for stride, dense, length in zip(self.strides, c_strides(self.shape), self.shape, strict=True)
            if length > 1
        )
        self.geometry = geometry

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The regions with their elements, of which views may be the conjugates or the negatives."""
        for region, part in super().parts(regions):
            if self.geometry.is_conjugate:
                part = np.conjugate(part)
            yield region, -part if self.geometry.is_negative else part

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        storage = self.geometry.storage
        assert storage.opened is not None
        with storage.opened() as (stream, begin):
            yield stream, begin + self.geometry.start * np.dtype(self.dtype).itemsize


def numpy_dtype(name: str) -> DType | None:
    """A dtype by PyTorch's name, such as "half"; None if NumPy and ml_dtypes have none like it."""
    try:
        found = dtypes.resolve(_ALIASES.get(name, name))
    except (TypeError, ValueError):
        return None
    return None if name.startswith(("int", "uint")) and found.name in dtypes.ML_DTYPES else found


_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "cdouble": "complex128",
    "cfloat": "complex64",
}


@dataclass(frozen=True)
class _Geometry:
    """Where the elements of a tensor are in a storage.

    Attributes:
        storage: the storage.
        dtype_name: the dtype, as PyTorch calls it.
        start: the first element.
        shape: the shape.
        strides: the number of elements from one to the next along each axis.
        is_conjugate: whether the tensor has the conjugates of what is stored.
        is_negative: whether it has the negatives.
    """

    storage: _Storage
    dtype_name: str
    start: int
    shape: Shape
    strides: Shape
    is_conjugate: bool = False
    is_negative: bool = False

    @property
    def reach(self) -> int:
        """How many elements lie between the first one and the end of the last one."""
        if not math.prod(self.shape):
            return 0
        return 1 + sum(stride * (length - 1) for stride, length in zip(self.strides, self.shape, strict=True))


# ---------------------------------------------------------------- files


def _found_in(path: Path) -> tuple[list[_InPyTorch], list[str]]:
    """The tensors of a file, and the names of what is none.

    Raises:
        CheckpointError: the file is damaged, or holds code.
    """
    with open(path, "rb") as file:
        begin = file.read(len(LEGACY_MAGIC))
    with _refusing(path):
        if begin.startswith(zips.MAGIC):
            value, steps = _unzipped(path)
        elif begin == LEGACY_MAGIC:
            value, steps = _legacy(path)
        else:
            raise CheckpointError(f"{visible(path.name)} is not a file of torch.save: {_kind_of(path, begin)}.")
        return _named(path, value, steps)


def tensor_within(path: Path, begin: int, length: int) -> Stored:
    """The tensor that a part of a file has, which is what `torch.save` wrote of it.

    Args:
        path: the file.
        begin: where the part begins.
        length: how many bytes it has.

    Raises:
        CheckpointError: it is damaged, or holds code, or something else than a tensor.
        OSError: it cannot be read.
    """
    with _refusing(path):
        tensors, _ = _named(path, *_unzipped(path, begin, length))
    if len(tensors) != 1:
        raise CheckpointError(f"{visible(path.name)} is damaged: it has no tensor at {begin}.")
    return tensors[0]


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns the errors of pickles into those of files."""
    try:
        yield
    except pickles.NamedError as error:
        raise CheckpointError(
            f"{visible(path.name)} is refused: its pickle names {error}, which is no part of weights, and which "
            "loading it would run. Nothing was run. If you trust the file, load it yourself, and save its state dict: "
            "torch.save(model.state_dict(), ...)."
        ) from None
    except pickles.PickleError as error:
        raise CheckpointError(f"{visible(path.name)} cannot be read: {error}.") from None


def _kind_of(path: Path, begin: bytes) -> str:
    """What a file is that is none of `torch.save`."""
    if not begin:
        return "it is empty"
    if begin[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "it is a plain pickle"
    if tarfile.is_tarfile(path):
        return "it is a tar file, as PyTorch wrote them before 2017, or another program's"
    return "it begins with other bytes"


def _expected(name: Name) -> bool:
    """Whether weights may name this."""
    is_dtype = name.module == "torch" and DTYPE.fullmatch(name.name) is not None
    return is_dtype or name.name in _NAMES.get(name.module, ())


def _unzipped(path: Path, begin: int = 0, length: int | None = None) -> tuple[Any, int]:
    """What the pickle of a zip file says, and how many opcodes it has."""
    members = zips.members_of(path, begin, length)
    roots = [name.removesuffix("/data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError(
            f"{visible(path.name)} is not a file of torch.save: it has no data.pkl in its only folder."
        )
    root = roots[0]
    code = next((name for name in members if name.startswith((f"{root}/code/", f"{root}/constants.pkl"))), None)
    if code is not None:
        raise CheckpointError(
            f"{visible(path.name)} is refused: it is a program of TorchScript ({visible(code)}). Save its state dict."
        )
    order = members.get(f"{root}/byteorder")
    if order is not None and order.read(16) != b"little":
        raise CheckpointError(f"{visible(path.name)} is not read: its numbers are big-endian.")
    storages: dict[str, _Storage] = {}

    def persistent(identifier: Any) -> _Storage:
        key, storage = _storage_of(identifier, storages)
        member = members.get(f"{root}/data/{key}")
        if member is None:
            raise pickles.PickleError(f"it has no storage {shown(key)}, which its pickle names")
        storage.opened, storage.nbytes = member.opened, member.size
        return storage

    pickle = members[f"{root}/data.pkl"]
    return pickles.load(pickle.read(_MOST_PICKLE_BYTES), _expected, persistent)


def _legacy(path: Path) -> tuple[Any, int]:
    """What the pickles of a file from before PyTorch 1.6 say, and how many opcodes the largest one has."""
    storages: dict[str, _Storage] = {}

    def persistent(identifier: Any) -> _Storage:
        if isinstance(identifier, tuple) and len(identifier) == 6 and identifier[-1] is not None:
            raise pickles.PickleError("it has a view of a storage, as only PyTorch before 0.4 wrote them")
        return _storage_of(identifier, storages)[1]

    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        stream = zips.window(file, 0, end)
        for _ in range(2):  # the magic number, which has been seen, and the version of the protocol
            pickles.load(stream, _expected)
        system, _ = pickles.load(stream, _expected)
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise CheckpointError(f"{visible(path.name)} is not read: its numbers are big-endian.")
        value, steps = pickles.load(stream, _expected, persistent)
        keys, _ = pickles.load(stream, _expected)
        if not isinstance(keys, list) or set(map(str, keys)) != set(storages) or len(keys) != len(storages):
            raise pickles.PickleError("it lists other storages than its tensors have")
        position = stream.tell()
        for key in map(str, keys):
            storage = storages[key]
            stream.seek(position)
            count = int.from_bytes(stream.read(8), "little", signed=True)
            position += 8
            storage.nbytes = count * storage.width
            if count != storage.count or position + storage.nbytes > end:
                raise pickles.PickleError(f"it ends too early, or its storage {shown(key)} has another size")
            storage.opened = _opens(path, position)
            position += storage.nbytes
    return value, steps


def _opens(path: Path, begin: int) -> Callable[[], AbstractContextManager[tuple[IO[bytes], int]]]:
    @contextmanager
    def opened() -> Iterator[tuple[IO[bytes], int]]:
        with open(path, "rb") as file:
            yield file, begin

    return opened


def _storage_of(identifier: Any, storages: dict[str, _Storage]) -> tuple[str, _Storage]:
    """The storage that a persistent identifier stands for, by its key: one object for each key."""
    match identifier:
        case ("storage", Name(_, kind), str() as key, _, int() as count, *_) if kind in _STORAGES and count >= 0:
            found = storages.setdefault(key, _Storage(_STORAGES[kind], count))
            if (found.dtype_name, found.count) != (_STORAGES[kind], count):
                raise pickles.PickleError(f"its storage {shown(key)} has two dtypes or sizes")
            return key, found
    raise pickles.PickleError(f"it has no storage but {shown(identifier)[:80]}")


# ---------------------------------------------------------------- values


def _named(path: Path, value: Any, steps: int) -> tuple[list[_InPyTorch], list[str]]:
    """The tensors within containers, by the names of the way to them, and the names of what holds none."""
    tensors: dict[str, _InPyTorch] = {}
    other: list[str] = []
    left = _MOST_SHARED * steps
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        name, each, depth = waiting.pop()
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise pickles.PickleError("its containers are within one another too often")
        items = _items(each)
        if items is not None:
            waiting += [(f"{name}.{key}" if name else key, item, depth + 1) for key, item in reversed(items)]
            continue
        geometry = _geometry(each)
        if geometry is None:
            other.append(name or "value")
            continue
        _check_geometry(name, geometry)
        name = name or "tensor"
        if name in tensors:
            raise pickles.PickleError(f"it has {shown(name)} twice")
        tensors[name] = _InPyTorch(path, name, geometry)
    return list(tensors.values()), other


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """The items of a container that may hold tensors, by their names; None for everything else."""
    if isinstance(value, dict) and value:
        return [(key if isinstance(key, str) else str(key)[:200], item) for key, item in value.items()]
    if isinstance(value, (list, tuple)) and any(isinstance(each, (dict, list, tuple, Made)) for each in value):
        return [(str(number), item) for number, item in enumerate(value)]
    return None


def _geometry(value: Any) -> _Geometry | None:
    """Where a tensor's elements are; None for what is no tensor, or one without elements in a storage."""
    for _ in range(_DEEPEST):
        if not isinstance(value, Made):
            return None
        name = value.by.name
        if name == "_rebuild_from_type_v2" and len(value.arguments) == 4 and isinstance(value.arguments[0], Name):
            function, _, arguments, _ = value.arguments
            value = Made(function, arguments if isinstance(arguments, tuple) else ())
        elif name in _WRAPPERS and value.arguments:
            value = value.arguments[0]
        elif name in _TENSORS:
            return _strided(name, value.arguments)
        else:
            return None
    return None


def _strided(name: str, arguments: tuple[Any, ...]) -> _Geometry | None:
    """The geometry that these arguments of a function that rebuilds tensors say."""
    arguments = tuple(
        each.arguments[0] if isinstance(each, Made) and each.by.name == "Size" and each.arguments else each
        for each in arguments
    )
    match arguments:
        case (_Storage() as storage, int() as start, tuple() as shape, tuple() as strides, *rest):
            pass
        case _:
            raise pickles.PickleError(f"it calls {name} with other arguments than PyTorch does")
    if len(shape) != len(strides) or len(shape) > MAX_RANK or not all(map(_is_count, (start, *shape, *strides))):
        raise pickles.PickleError(f"it has no shape and strides but {shown(shape)} and {shown(strides)}")
    dtype_name, further = storage.dtype_name, rest[2:]
    if name == "_rebuild_tensor_v3":
        if not further or not isinstance(further[0], Name):
            raise pickles.PickleError("it has a tensor without a dtype")
        dtype_name, further = further[0].name, further[1:]
    views = further[0] if further and isinstance(further[0], dict) else {}
    return _Geometry(storage, dtype_name, start, shape, strides, bool(views.get("conj")), bool(views.get("neg")))


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _check_geometry(name: str, geometry: _Geometry) -> None:
    """Raises an error if the storage does not have all elements, or a tensor shows few of them too often."""
    dtype = numpy_dtype(geometry.dtype_name)
    storage = geometry.storage
    width = storage.width if dtype is None else dtype.itemsize
    if storage.nbytes != storage.count * storage.width:
        raise pickles.PickleError(
            f"the storage of {shown(name)} has {storage.nbytes} bytes, and should have {storage.count * storage.width}"
        )
    if dtype is not None and (geometry.start + geometry.reach) * width > storage.nbytes:
        raise pickles.PickleError(
            f"{shown(name)} of shape {shown(geometry.shape)} reaches past its storage of {readable(storage.nbytes)}"
        )
    size = math.prod(geometry.shape)
    if dtype is not None and size > max(_MOST_EXPANDED, storage.nbytes // width):
        raise pickles.PickleError(
            f"{shown(name)} shows {storage.nbytes // width} {plural(storage.nbytes // width, 'element')} as {size} "
            "by strides of 0, more than fanin reads"
        )
