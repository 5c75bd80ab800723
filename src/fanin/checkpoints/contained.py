"""The contents of a checkpoint: of a file, or of a folder of files, with or without an index."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanin._core.messages import shown, visible
from fanin.checkpoints import dcp, hdf5, npz, pytorch, safetensors, zips
from fanin.checkpoints.arrangement import INDEX
from fanin.checkpoints.files import CheckpointError, is_weights
from fanin.checkpoints.stored import Contents, read_npz, read_safetensors
from fanin.models.lists import described_list
from fanin.models.parameters import Model

_PYTORCH_INDEX = "pytorch_model.bin.index.json"


@dataclass(frozen=True)
class _Kind:
    """A kind of file.

    Attributes:
        suffixes: what the names of such files end with.
        read: reads files of the kind.
        index: the name of the file that lists the tensors of several; "" if there is none.
        is_sure: whether every file of such a name has weights.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Iterable[Path]], Contents]
    index: str = ""
    is_sure: bool = True

    def has(self, name: str) -> bool:
        """Whether a file of this name is of the kind."""
        return name.lower().endswith(self.suffixes)

    def takes(self, name: str) -> bool:
        """Whether a file of this name in a folder is read, if nothing lists the files."""
        return self.has(name) and (self.is_sure or is_weights(name))


# In the order in which a folder's files are taken.
_KINDS = (
    _Kind((safetensors.SUFFIX,), read_safetensors, INDEX),
    _Kind((npz.SUFFIX,), read_npz),
    _Kind((".bin",), pytorch.read_pytorch, _PYTORCH_INDEX, is_sure=False),
    _Kind((".pt", ".pth"), pytorch.read_pytorch),
    _Kind((".ckpt",), pytorch.read_pytorch),
    _Kind((hdf5.KERAS_SUFFIX,), hdf5.read_keras),
    _Kind(hdf5.SUFFIXES, hdf5.read_hdf5),
)
_SUFFIXES = tuple(suffix for kind in _KINDS for suffix in kind.suffixes)


def contents_of(path: Path, listed: Sequence[str] = ()) -> Contents:
    """The contents of a checkpoint.

    Args:
        path: the file or folder.
        listed: the names of the files that the manifest has, if there is one.

    Raises:
        CheckpointError: what lists its tensors is damaged. Files that are damaged are noted.
        ValueError: it is no checkpoint, or a pipe or device, which may be endless.
        ImportError: a library that its format needs is not installed.
        OSError: there is nothing, or it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.is_dir():
        return dcp.read_dcp(path) if (path / dcp.METADATA).exists() else _in_folder(path, listed)
    _check_regular(path)
    for kind in _KINDS:
        if kind.has(path.name):
            return kind.read([path])
    read = _by_content(path)
    if read is None:
        raise ValueError(
            f"A checkpoint must be a {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file, or a folder of them or of "
            f"DCP. Received: {shown(str(path))}."
        )
    return read([path])


def _check_regular(path: Path) -> None:
    """Raises for what is there and no file: to open a pipe would wait for whoever writes to it."""
    if path.exists() and not path.is_file():
        raise ValueError(f"Tensors must be in a regular file. Received: {shown(str(path))}.")


def _by_content(path: Path) -> Callable[[Iterable[Path]], Contents] | None:
    """The reader of a file whose name does not say what it is, by its first bytes; None if they do not, either."""
    with open(path, "rb") as file:
        begin = file.read(len(pytorch.LEGACY_MAGIC))
    if begin == pytorch.LEGACY_MAGIC:
        return pytorch.read_pytorch
    if begin.startswith(hdf5.MAGIC):
        return hdf5.read_hdf5
    if begin.startswith(zips.MAGIC):
        names = zips.members_of(path)
        if hdf5.KERAS_MEMBER in names:
            return hdf5.read_keras
        return read_npz if all(each.endswith(".npy") for each in names) else pytorch.read_pytorch
    return read_safetensors if begin[8:9] == b"{" else None


def _in_folder(folder: Path, listed: Sequence[str]) -> Contents:
    """The contents of the files that the index or the manifest has; without either, of all of the first kind."""
    there = sorted(os.listdir(folder))
    for kind in _KINDS:
        index = _index(folder / kind.index) if kind.index in there else {}
        names = sorted({*index.values(), *listed})
        files = [each for each in names if kind.has(each)] if names else [each for each in there if kind.takes(each)]
        if files:
            for each in files:
                _check_regular(folder / each)
            contents = kind.read([folder / each for each in files])
            _check_index(kind.index, index, contents)
            if kind.index == INDEX and len(listed) > 1 and not index:
                contents.broken[INDEX] = "it is not there, and nothing else says which of the files has what."
            known = {*files, *([kind.index] if index else ())}
            contents.beside = tuple(name for name in there if is_weights(name) and name not in known)
            return contents
    raise ValueError(
        f"A folder must have {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} files in it, or DCP's {dcp.METADATA}. "
        f"Received: {shown(str(folder))}."
    )


def _index(path: Path) -> dict[str, str]:
    """The file of each tensor, as the index says."""
    name = path.name
    try:
        files = json.loads(path.read_bytes())["weight_map"]
        if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
            raise TypeError("its weight_map has no names of files")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{name} is damaged: {visible(reason)}.") from None
    for each in files.values():
        if os.path.basename(each) != each:
            raise CheckpointError(f"{name} names a file that is not in the folder: {shown(each)}.")
    return files


def _check_index(name: str, index: Mapping[str, str], contents: Contents) -> None:
    """Notes where the index is wrong about the files that can be read."""
    wrong = [
        tensor
        for tensor, file in index.items()
        if file not in contents.broken and (tensor not in contents.tensors or contents.tensors[tensor].file != file)
    ]
    if wrong:
        others = f", nor are {len(wrong) - 1} more where it says" if len(wrong) > 1 else ""
        contents.broken[name] = (
            f"it says that {shown(wrong[0])} is in {visible(index[wrong[0]])}, and it is not{others}."
        )


def model_of(path: str | os.PathLike[str]) -> Model:
    """A model of the names, shapes and dtypes of a checkpoint's tensors, for the plan of a recipe.

    It lacks the types of layers, and so their layouts and fans, and it lacks whatever the checkpoint lacks.

    Raises:
        CheckpointError: a file is damaged.
        ValueError, TypeError: it is no checkpoint, or has a dtype that fanin lacks.
    """
    contents = contents_of(Path(path))
    for why in contents.broken.values():
        raise CheckpointError(why)
    return described_contents(contents, os.path.basename(path))


def described_contents(contents: Contents, name: str = "a list of tensors") -> Model:
    """A model of the names, shapes and dtypes of tensors.

    Args:
        contents: the tensors.
        name: what to call them.

    Raises:
        ValueError, TypeError: a tensor has a dtype that fanin lacks.
    """
    entries = [
        {"path": name, "shape": list(each.shape), "dtype": each.dtype_name if each.dtype is None else each.dtype.name}
        for name, each in contents.tensors.items()
    ]
    return described_list(entries, name)
