"""Folders of torch.distributed.checkpoint (DCP), read without PyTorch and without running what a pickle says.

What is read is what PyTorch 2.13 writes: `torch/distributed/checkpoint/metadata.py` and `filesystem.py`.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fanin._core.messages import shown, visible
from fanin._core.shapes import MAX_RANK, chunks
from fanin._core.types import Array, Shape
from fanin.checkpoints import pickles
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.pickles import Made, Name
from fanin.checkpoints.pytorch import DTYPE, numpy_dtype, tensor_within
from fanin.checkpoints.stored import Contents, Slices, Stored

METADATA = ".metadata"
_REGION = 2**22  # elements that are read at once
_CLASSES = "torch.distributed.checkpoint.metadata"
# All that a description of a checkpoint names, besides PyTorch's dtypes.
_NAMES: Mapping[str, tuple[str, ...]] = {
    _CLASSES: (
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.serialization": ("_get_layout",),
    "torch": ("Size",),
    "pathlib": ("PosixPath",),
    "pathlib._local": ("PosixPath",),
}


class _InDcp(Stored):
    """A tensor of a DCP folder, which has it in chunks."""

    in_c_order = False

    def __init__(self, folder: Path, name: str, tensor: dict[str, Any], places: dict[Shape, dict[str, Any]]) -> None:
        self.name, self.shape, self.file = name, _lengths(tensor["size"]), METADATA
        dtype = _state(tensor["properties"], "TensorProperties")[0]
        if not isinstance(dtype, Name):
            raise ValueError(f"{shown(name)} has no dtype")
        self.dtype_name, self.dtype = dtype.name, numpy_dtype(dtype.name)
        self._chunks = [
            (_lengths(each["offsets"]), _lengths(each["sizes"]))
            for each in (_state(chunk, "ChunkStorageMetadata") for chunk in tensor["chunks"])
        ]
        self._folder, self._places = folder, places

    def _check(self) -> None:
        """Raises an error if the chunks do not lie within the tensor, or do not have all of its elements."""
        for starts, lengths in self._chunks:
            ends = [start + length for start, length in zip(starts, lengths, strict=False)]
            if not len(starts) == len(lengths) == len(self.shape) or any(map(operator.gt, ends, self.shape)):
                raise CheckpointError(f"{METADATA} has a chunk of {shown(self.name)} that lies outside of it.")
        covered = sum(math.prod(lengths) for _, lengths in self._chunks)
        if covered != self.size:
            raise CheckpointError(f"{METADATA} has chunks for {covered} of the {self.size} elements.")

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The chunks of the tensor, each in regions of its own, with their elements."""
        self._check()
        for starts, lengths in self._chunks:
            if 0 in lengths:
                continue
            chunk = self._stored(starts)
            if chunk.shape != lengths or chunk.dtype != self.dtype:
                raise CheckpointError(f"{visible(chunk.file)} has another chunk than {METADATA} says.")
            pieces = (tuple(slice(*each) for each in inner) for inner in chunks(lengths, _REGION))
            for inner, part in chunk.parts(pieces):
                moved = zip(inner, starts, strict=True)
                yield tuple(slice(each.start + start, each.stop + start) for each, start in moved), part

    def _stored(self, starts: Shape) -> Stored:
        """A chunk, as the file has it."""
        place = self._places.get(starts)
        if place is None:
            raise CheckpointError(f"{METADATA} does not say where the chunk {starts} of {shown(self.name)} is.")
        name = place["relative_path"]
        if os.path.basename(name) != name:
            raise CheckpointError(f"{METADATA} names a file that is not in the folder: {shown(name)}.")
        if not (self._folder / name).is_file():
            raise CheckpointError(f"{METADATA} names {shown(name)}, which is not there.")
        if place.get("transform_descriptors"):
            raise CheckpointError(f"{visible(name)} is compressed or encrypted by an extension, which fanin lacks.")
        return tensor_within(self._folder / name, place["offset"], place["length"])


def read_dcp(folder: Path) -> Contents:
    """The contents of a DCP folder.

    Raises:
        CheckpointError: its `.metadata` is damaged.
    """
    contents = Contents("dcp")
    try:
        value, _ = pickles.load((folder / METADATA).read_bytes(), _expected)
        data = _state(value, "Metadata")
        places = _places(data["storage_data"])
        described = {name: each for name, each in data["state_dict_metadata"].items() if isinstance(name, str)}
        for name, each in described.items():
            if isinstance(each, Made) and each.by.name == "TensorStorageMetadata":
                tensor = _state(each, "TensorStorageMetadata")
                contents.tensors[name] = _InDcp(folder, name, tensor, places.get(name, {}))
        contents.other = tuple(name for name in described if name not in contents.tensors)
    except pickles.NamedError as error:
        raise CheckpointError(f"{METADATA} is not what DCP writes: it names {error}, which DCP does not use.") from None
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{METADATA} is not what DCP writes: {visible(reason)}.") from None
    return contents


def _expected(name: Name) -> bool:
    """Whether DCP uses a name."""
    return name.name in _NAMES.get(name.module, ()) or (
        name.module == "torch" and DTYPE.fullmatch(name.name) is not None
    )


def _places(storage_data: Mapping[Any, Any]) -> dict[str, dict[Shape, dict[str, Any]]]:
    """Where each tensor's chunks are, by the tensor's name and the chunk's first element."""
    found: dict[str, dict[Shape, dict[str, Any]]] = {}
    for key, value in storage_data.items():
        index, place = _state(key, "MetadataIndex"), _state(value, "_StorageInfo")
        numbers = place["offset"], place["length"]
        if not isinstance(place["relative_path"], str) or not all(type(each) is int and each >= 0 for each in numbers):
            raise ValueError(f"it does not say where {shown(index['fqn'])} is")
        if index.get("offset") is not None:
            found.setdefault(index["fqn"], {})[_lengths(index["offset"])] = place
    return found


def _state(value: Any, name: str) -> Any:
    """The attributes of what should be an object of this class."""
    if not isinstance(value, Made) or value.by.name != name or value.state is None:
        raise ValueError(f"there is no {name} where one should be")
    return value.state


def _lengths(size: Any) -> Shape:
    """The lengths of a `torch.Size`."""
    lengths = tuple(size.arguments[0] if isinstance(size, Made) else size)
    if len(lengths) > MAX_RANK or not all(type(each) is int and 0 <= each < 2**63 for each in lengths):
        raise ValueError(f"there is no size but {shown(lengths)}")
    return lengths
