"""Folders of torch.distributed.checkpoint (DCP), read without running what a pickle says."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fanin._core import dtypes
from fanin._core.memory import as_numpy
from fanin._core.messages import missing, shown, visible
from fanin._core.types import Array
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Contents, Slices, Stored

METADATA = ".metadata"


class _InDcp(Stored):
    """A tensor of a DCP folder, which has it in chunks."""

    in_c_order = False

    def __init__(self, folder: Path, name: str, tensor: Any, places: dict[tuple[int, ...], Any]) -> None:
        self.name, self.shape, self.file = name, tuple(tensor.size), METADATA
        self.dtype_name = str(tensor.properties.dtype).removeprefix("torch.")
        try:
            self.dtype = dtypes.resolve(tensor.properties.dtype)
        except TypeError:
            self.dtype = None
        self._folder, self._chunks, self._places = folder, tensor.chunks, places

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The chunks of the tensor, each as a whole, with their elements."""
        covered = 0
        for chunk in self._chunks:
            starts, lengths = tuple(chunk.offsets), tuple(chunk.sizes)
            place = self._places.get(starts)
            if place is None:
                raise CheckpointError(f"{METADATA} does not say where the chunk {starts} of {shown(self.name)} is.")
            array = self._array(place)
            if array.shape != lengths or array.dtype != self.dtype:
                raise CheckpointError(f"{visible(place.relative_path)} has another chunk than {METADATA} says.")
            covered += array.size
            if array.size:
                yield tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True)), array
        if covered != self.size:
            raise CheckpointError(f"{METADATA} has chunks for {covered} of the {self.size} elements.")

    def _array(self, place: Any) -> Array:
        """The elements of a chunk."""
        import torch

        name = str(place.relative_path)
        if os.path.basename(name) != name:
            raise CheckpointError(f"{METADATA} names a file that is not in the folder: {shown(name)}.")
        if getattr(place, "transform_descriptors", None):
            raise CheckpointError(f"{visible(name)} is compressed or encrypted by an extension, which fanin lacks.")
        with open(self._folder / name, "rb") as file:
            file.seek(place.offset)
            data = file.read(place.length)
        if len(data) < place.length:
            raise CheckpointError(f"{visible(name)} ends too early.")
        try:
            tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            return as_numpy(tensor)
        except (RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
            reason = visible(str(error).partition("\n")[0])
            raise CheckpointError(f"{visible(name)} is damaged: {reason}.") from None


def read_dcp(folder: Path) -> Contents:
    """The contents of a DCP folder.

    Raises:
        CheckpointError: its `.metadata` is damaged.
        ImportError: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing(ModuleNotFoundError(name="torch"), "torch", "PyTorch", extra="torch")
    contents = Contents("dcp")
    try:
        with open(folder / METADATA, "rb") as file:
            data = _Unpickler(file).load()
        places: dict[str, dict[tuple[int, ...], Any]] = {}
        for index, place in data.storage_data.items():
            if index.offset is not None:
                places.setdefault(index.fqn, {})[tuple(index.offset)] = place
        tensors = {name: each for name, each in data.state_dict_metadata.items() if hasattr(each, "chunks")}
        for name, each in tensors.items():
            contents.tensors[name] = _InDcp(folder, name, each, places.get(name, {}))
        contents.other = tuple(name for name in data.state_dict_metadata if name not in tensors)
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError, ImportError, IndexError) as error:
        raise CheckpointError(f"{METADATA} is not what DCP writes: {visible(str(error)) or 'it ends early'}.") from None
    return contents


# All that a description of a checkpoint names, besides PyTorch's dtypes.
_NAMES = {
    "torch.distributed.checkpoint.metadata": (
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


class _Unpickler(pickle.Unpickler):
    """Reads DCP's description of a checkpoint, whose pickle may name nothing but what DCP puts into it."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name stands for, if DCP uses it."""
        import torch

        is_dtype = module_name == "torch" and isinstance(getattr(torch, global_name, None), torch.dtype)
        if not is_dtype and global_name not in _NAMES.get(module_name, ()):
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which DCP does not use")
        return super().find_class(module_name, global_name)
