"""Keras's weights in HDF5: `.h5` of Keras 2, `.weights.h5` of Keras 3, and `.keras`, a zip file with one of them in it.

Names are the paths that the variables have in the model, with dots: `dense.kernel`, `lstm.lstm_cell.bias`. Files of
Keras 2 say them. Those of Keras 3 say the layers and number the variables, which are called here as Keras's own layers
call theirs; of other layers, they keep their numbers.

Nothing that a file refers to outside of itself is read: neither external links and data, nor virtual data sets.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from fanin._core import dtypes
from fanin._core.messages import missing, readable, shown, visible
from fanin._core.types import Array, DType
from fanin.checkpoints import zips
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Contents, Slices, Stored, contents_of_files

SUFFIXES = (".h5", ".hdf5")
KERAS_SUFFIX = ".keras"
MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"
_DEEPEST = 64  # groups within one another
_MOST_COMPRESSED = 1032  # bytes that one byte of a file can stand for, by deflate
_MOST_CHUNK_BYTES = 2**28  # HDF5 reads a chunk as a whole
_SMALL = 2**16  # bytes; smaller data need not be in the file, where it says what fills them
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 6: "scaleoffset", 32000: "lzf"}  # others would load plugins
_HEAP = b"GCOL\x01\0\0\0"  # the signature and the version of a heap
_SUPERBLOCK, _BLOCK = 16, 2**20  # bytes that are read at once
_VARIABLES = "vars"  # the group of a layer's own variables, in files of Keras 3
# The variables of Keras's layers, in their order, by the end of the layer's class or of the attribute that it is.
_NORM = ("gamma", "beta")
_CELL = ("kernel", "recurrent_kernel", "bias")
_OF_LAYERS: dict[str, Sequence[str]] = {
    "dense": ("kernel", "bias"),
    "conv1d": ("kernel", "bias"),
    "conv2d": ("kernel", "bias"),
    "conv3d": ("kernel", "bias"),
    "conv1d_transpose": ("kernel", "bias"),
    "conv2d_transpose": ("kernel", "bias"),
    "conv3d_transpose": ("kernel", "bias"),
    "separable_conv1d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": _NORM,
    "group_normalization": _NORM,
    "rms_normalization": ("scale",),
    "embedding": ("embeddings",),
    "p_re_lu": ("alpha",),
    "cell": _CELL,
}
_WHOLE = ("batch_normalization", "layer_normalization", "group_normalization")  # which may lack any of theirs
_NO_WEIGHTS = ("optimizer", "optimizer_weights", "metrics", "_compile_metrics", "seed_generator", "_seed_generators")
# What h5py raises for damaged files, depending on where they are.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, IndexError, AttributeError)


def read_hdf5(paths: Iterable[Path]) -> Contents:
    """The contents of HDF5 files of Keras, or of any program.

    Raises:
        ImportError: h5py is not installed.
    """
    return _read("hdf5", paths)


def read_keras(paths: Iterable[Path]) -> Contents:
    """The contents of `.keras` files.

    Raises:
        ImportError: h5py is not installed.
    """
    return _read("keras", paths)


def _read(format: str, paths: Iterable[Path]) -> Contents:
    _h5py()
    other: dict[str, None] = {}

    def tensors(path: Path) -> Iterator[Stored]:
        found, names = _found_in(path)
        other.update(dict.fromkeys(names))
        return iter(found)

    contents = contents_of_files(format, paths, tensors)
    contents.other = tuple(other)
    return contents


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing(error, "h5py", "h5py", extra="hdf5") from None
    return h5py


class _InHdf5(Stored):
    """A data set of an HDF5 file."""

    in_c_order = True

    def __init__(self, path: Path, name: str, dataset: Any) -> None:
        self.name, self.file, self.shape = name, path.name, tuple(dataset.shape)
        self.dtype_name, self.dtype = _dtype_of(dataset)
        self._path, self._key = path, dataset.name

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The regions with their elements."""
        dtype = np.dtype(self.dtype)
        with _damage_of(self._path), _opened(self._path) as file:
            dataset = file[self._key]
            for region in regions:
                part = np.asarray(dataset[region])
                part = part.view(dtype) if part.dtype.kind == "V" else part.astype(dtype, copy=False)
                if part.size:
                    yield region, part


def _dtype_of(dataset: Any) -> tuple[str, DType | None]:
    """The dtype of a data set, in words and for NumPy; Keras keeps those that HDF5 lacks as opaque bytes."""
    dtype = dataset.dtype
    if dtype.kind == "V" and dtype.names is None:
        name = next(iter(_texts(dataset, "dtype")), "bfloat16" if dtype.itemsize == 2 else "")
        try:
            found = dtypes.resolve(str(name))
        except (TypeError, ValueError):
            return dtype.str, None
        return (found.name, found) if found.itemsize == dtype.itemsize else (dtype.str, None)
    if dtype.kind not in "biufc" or dtype.itemsize > 16 or dtype == np.longdouble:
        return dtype.str, None
    return dtype.name, dtype.newbyteorder("=")


# ---------------------------------------------------------------- files


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Turns what h5py raises for damaged files into an error that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not the library's
            raise
        reason = visible(str(error).partition("\n")[0])[:120]
        raise CheckpointError(f"{visible(path.name)} is not a whole HDF5 file: {reason}.") from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file that a path is, or that is in it."""
    with _source(path) as source, _h5py().File(source, "r") as file:
        yield file


@contextmanager
def _source(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of that file."""
    with open(path, "rb") as file:
        if file.read(len(zips.MAGIC)) != zips.MAGIC:
            yield file
            return
    with _within(path) as inner:
        yield inner


@contextmanager
def _within(path: Path) -> Iterator[IO[bytes]]:
    """The weights of a `.keras` file as a file of its own; compressed ones by way of a temporary file."""
    member = zips.members_of(path).get(KERAS_MEMBER)
    if member is None:
        raise CheckpointError(f"{visible(path.name)} is not a whole .keras file: it has no {KERAS_MEMBER}.")
    with member.opened() as (stream, start):
        if member.start is not None:
            yield zips.window(stream, start, start + member.size)
            return
        with tempfile.TemporaryFile() as copy:
            while data := stream.read(2**20):
                copy.write(data)
            copy.seek(0)
            yield copy


def _check_heaps(path: Path, file: IO[bytes]) -> None:
    """Raises an error if a heap of texts has free space of no size, over which HDF5's library never comes to an end.

    The layout is that of "Disk Format: Level 1E - Global Heap" in the HDF5 File Format Specification 3.0.
    """
    file.seek(0)
    begin = file.read(_SUPERBLOCK)
    sizes = begin[13:15] if begin[8:9] in (b"\0", b"\1") else begin[9:11]  # of addresses and lengths
    if not begin.startswith(MAGIC) or sizes != b"\x08\x08":
        raise CheckpointError(f"{visible(path.name)} is not a whole HDF5 file: it does not begin as one of Keras does.")
    position = 0
    while len(block := _at(file, position, _BLOCK)) > len(_HEAP):
        found = block.find(_HEAP)
        while found >= 0:
            _check_heap(path, file, position + found)
            found = block.find(_HEAP, found + 1)
        position += len(block) - len(_HEAP) + 1


def _at(file: IO[bytes], position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _check_heap(path: Path, file: IO[bytes], start: int) -> None:
    end = start + int.from_bytes(_at(file, start + 8, 8), "little")
    position = start + 16
    while position + 16 <= end and len(head := _at(file, position, 16)) == 16:
        size = int.from_bytes(head[8:], "little")
        is_free = head[:2] == b"\0\0"
        if is_free and size != end - position:
            raise CheckpointError(f"{visible(path.name)} is damaged: its heap at {start} has {size} free bytes.")
        position += size if is_free else 16 + -(-size // 8) * 8


def _found_in(path: Path) -> tuple[list[Stored], list[str]]:
    """The tensors of a file, and the names of what is none of its weights."""
    with _damage_of(path), _source(path) as source:
        _check_heaps(path, source)
    with _damage_of(path), _opened(path) as file:
        root = file.get("model_weights", file)
        datasets = _legacy(root) if "layer_names" in root.attrs else _numbered(root)
        other = [name for name in file if name in _NO_WEIGHTS]
        tensors: dict[str, Stored] = {}
        for name, dataset in datasets:
            if name in tensors:  # a layer of the same name in another container
                name = dataset.name.strip("/").replace("/", ".")
            if dataset.shape is None or dataset.dtype.kind in "OSU":
                other.append(name)
                continue
            _check_dataset(path, dataset, os.path.getsize(path))
            tensors[name] = _InHdf5(path, name, dataset)
        return list(tensors.values()), other


def _check_dataset(path: Path, dataset: Any, file_size: int) -> None:
    """Raises an error if data are elsewhere, or a data set claims more than the file can hold."""
    name, key = visible(path.name), shown(dataset.name)
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{name} is refused: the data of {key} are in other files, which are not read.")
    filters = dataset.id.get_create_plist()
    kinds = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
    if not all(kind in _FILTERS for kind in kinds):
        known = ", ".join(_FILTERS.values())
        raise CheckpointError(f"{name} is not read: {key} has a filter that is none of {known}.")
    nbytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    there = dataset.id.get_storage_size()
    ratio = _MOST_COMPRESSED if kinds else 1
    if nbytes > max(_SMALL, ratio * min(there, file_size)) or there > file_size:
        raise CheckpointError(
            f"{name} is damaged: {key} of shape {shown(dataset.shape)} cannot have {readable(nbytes)}, since it takes "
            f"{readable(there)} in the file."
        )
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
    if chunk > max(_SMALL, min(_MOST_CHUNK_BYTES, ratio * file_size)):
        raise CheckpointError(f"{name} is not read: {key} has chunks of {readable(chunk)}, more than it should have.")


# ---------------------------------------------------------------- names


def _legacy(root: Any) -> Iterator[tuple[str, Any]]:
    """The data sets of a file of Keras 2 with their names, in the order of the layers."""
    for layer in _texts(root, "layer_names"):
        group = _item(root, layer)
        for weight in _texts(group, "weight_names"):
            parts = weight.partition(":")[0].split("/")
            # Keras 3 begins with the model's name, and tf_keras leaves out that of a model within the model.
            parts = parts[parts.index(layer) :] if layer in parts else [layer, *parts]
            yield ".".join(parts), _item(group, weight)
    top = root.get("top_level_model_weights", getlink=True)
    if top is not None:
        group = _item(root, "top_level_model_weights")
        for weight in _texts(group, "weight_names"):
            yield weight.partition(":")[0].replace("/", "."), _item(group, weight)


def _texts(item: Any, name: str) -> list[str]:
    """The texts of an attribute, one or several; none if there is no such attribute.

    Attributes of other kinds are left alone: on a damaged kind, HDF5's library ends the process.
    """
    h5py = _h5py()
    if name not in item.attrs or not isinstance(item.attrs.get_id(name).get_type(), h5py.h5t.TypeStringID):
        return []
    found = item.attrs[name]
    values = [found] if isinstance(found, (str, bytes)) else list(found)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in values]


def _item(group: Any, path: str) -> Any:
    """What is at a path in a group, if every step to it stays in the file."""
    h5py = _h5py()
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise CheckpointError(
                f"{visible(os.path.basename(group.file.filename))} lacks {shown(path)}, which it lists."
            )
        group = group[part]
    return group


def _numbered(root: Any) -> Iterator[tuple[str, Any]]:
    """The data sets of any other file with their names: those of Keras 3 by their layers."""
    h5py = _h5py()
    seen: set[Any] = set()
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    while waiting:
        name, group, depth = waiting.pop()
        if depth > _DEEPEST or group.id in seen:
            raise CheckpointError(f"{visible(os.path.basename(root.file.filename))} has groups within one another.")
        seen.add(group.id)
        links = {key: group.get(key, getlink=True) for key in group}
        items = {key: group[key] for key, link in links.items() if isinstance(link, h5py.HardLink)}
        for key, item in items.items():
            if isinstance(item, h5py.Dataset):
                yield _joined(name, key), item
        own = items.get(_VARIABLES)
        if isinstance(own, h5py.Group):
            yield from _of_layer(name, group, own)
        for key, item in reversed(items.items()):
            if isinstance(item, h5py.Group) and key != _VARIABLES and not (depth == 0 and key in _NO_WEIGHTS):
                waiting.append((_joined(name, _layer_name(key, item)), item, depth + 1))


def _joined(name: str, key: str) -> str:
    return ".".join(filter(None, (name, key)))


def _layer_name(key: str, group: Any) -> str:
    """What the model calls a layer; "" for a container of layers, which has no variables."""
    h5py = _h5py()
    own = group.get(_VARIABLES, getlink=True)
    if own is None:
        return "" if any(isinstance(group.get(each, getclass=True), type(h5py.Group)) for each in group) else key
    variables = group[_VARIABLES] if isinstance(own, h5py.HardLink) else None
    return next(iter([] if variables is None else _texts(variables, "name")), "") or key


def _of_layer(name: str, layer: Any, own: Any) -> Iterator[tuple[str, Any]]:
    """The variables of a layer of Keras 3, which are numbered in its file."""
    h5py = _h5py()
    datasets = [
        (key, own[key])
        for key in sorted(own, key=lambda each: (len(each), each))
        if isinstance(own.get(key, getlink=True), h5py.HardLink) and isinstance(own[key], h5py.Dataset)
    ]
    names = _variable_names(layer.name.rpartition("/")[2], len(datasets))
    for position, (key, dataset) in enumerate(datasets):
        yield _joined(name, names[position] if names and key == str(position) else key), dataset


def _variable_names(key: str, count: int) -> Sequence[str]:
    """The names of a layer's variables, as its key says by its class: `dense_1`, `query_dense`; none if unknown."""
    stem, _, number = key.rpartition("_")
    stem = stem if number.isdigit() and stem else key
    for end in sorted(_OF_LAYERS, key=len, reverse=True):
        if stem == end or stem.endswith(f"_{end}"):
            names = _OF_LAYERS[end]
            is_sure = count == len(names) if end in _WHOLE else count <= len(names)
            return names if is_sure else ()
    return ()
