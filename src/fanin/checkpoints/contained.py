"""The contents of a checkpoint: of a file, or of a folder of files, with or without an index."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fanin._core.messages import shown, visible
from fanin.checkpoints import dcp, npz, safetensors
from fanin.checkpoints.arrangement import INDEX
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Contents, read_npz, read_safetensors
from fanin.models.lists import described_list
from fanin.models.parameters import Model

_READERS = {safetensors.SUFFIX: read_safetensors, npz.SUFFIX: read_npz}


def contents_of(path: Path, listed: Sequence[str] = ()) -> Contents:
    """The contents of a checkpoint.

    Args:
        path: the file or folder.
        listed: the names of the files that the manifest has, if there is one.

    Raises:
        CheckpointError: what lists its tensors is damaged. Files that are damaged are noted.
        ValueError: it is no checkpoint.
        OSError: there is nothing, or it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.is_dir():
        return dcp.read_dcp(path) if (path / dcp.METADATA).exists() else _in_folder(path, listed)
    for suffix, read in _READERS.items():
        if path.name.lower().endswith(suffix):
            return read([path])
    raise ValueError(
        f"A checkpoint must be a {safetensors.SUFFIX} or {npz.SUFFIX} file, or a folder of them or of DCP. "
        f"Received: {shown(str(path))}."
    )


def _in_folder(folder: Path, listed: Sequence[str]) -> Contents:
    """The contents of the files that the index or the manifest has; without either, of all."""
    index = _index(folder) if (folder / INDEX).exists() else {}
    names = sorted({*index.values(), *listed}) or sorted(os.listdir(folder))
    for suffix, read in _READERS.items():
        files = [each for each in names if each.endswith(suffix)]
        if files:
            contents = read([folder / each for each in files])
            _check_index(index, contents)
            if suffix == safetensors.SUFFIX and len(listed) > 1 and not index:
                contents.broken[INDEX] = "it is not there, and nothing else says which of the files has what."
            return contents
    raise ValueError(
        f"A folder must have {safetensors.SUFFIX} or {npz.SUFFIX} files in it, or DCP's {dcp.METADATA}. "
        f"Received: {shown(str(folder))}."
    )


def _index(folder: Path) -> dict[str, str]:
    """The file of each tensor, as the index says."""
    try:
        files = json.loads((folder / INDEX).read_bytes())["weight_map"]
        if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
            raise TypeError("its weight_map has no names of files")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{INDEX} is damaged: {visible(reason)}.") from None
    for each in files.values():
        if os.path.basename(each) != each:
            raise CheckpointError(f"{INDEX} names a file that is not in the folder: {shown(each)}.")
    return files


def _check_index(index: Mapping[str, str], contents: Contents) -> None:
    """Notes where the index is wrong about the files that can be read."""
    wrong = [
        name
        for name, file in index.items()
        if file not in contents.broken and (name not in contents.tensors or contents.tensors[name].file != file)
    ]
    if wrong:
        others = f", nor are {len(wrong) - 1} more where it says" if len(wrong) > 1 else ""
        contents.broken[INDEX] = f"it says that {shown(wrong[0])} is in {index[wrong[0]]}, and it is not{others}."


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
    entries = [
        {"path": name, "shape": list(each.shape), "dtype": each.dtype_name if each.dtype is None else each.dtype.name}
        for name, each in contents.tensors.items()
    ]
    return described_list(entries, os.path.basename(path))
