"""Models as a command's arguments: a file, or a factory that makes one."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from fanin._core.messages import shown, suggestion, visible
from fanin.models.files import SUFFIXES, describe_file
from fanin.models.parameters import Model
from fanin.models.registry import describe

# Files of weights that fanin does not read.
_OF_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".keras", ".npz", ".msgpack", ".onnx", ".gguf")


def described_argument(text: str) -> Model:
    """The description of a model that is given as a file, or as a factory, `package.module:function`.

    A factory is called on PyTorch's meta device if it has loaded PyTorch. If it raises, its traceback goes to stderr.

    Raises:
        ValueError: it is neither, or the factory raises.
        TypeError: the factory returns no model.
        OSError: the file cannot be read.
    """
    if text.lower().endswith(SUFFIXES):
        return describe_file(Path(text))
    rule = f"--model must be a file that ends in {', '.join(SUFFIXES)}, - or package.module:factory"
    suffix = Path(text).suffix.lower()
    if suffix in _OF_WEIGHTS:
        raise ValueError(
            f"{rule}. Received: {shown(text)}. fanin does not read {suffix} files, which say nothing of the layers of "
            "their tensors. Give a factory, which makes the model, or save the weights as .safetensors for a plan of "
            "names and shapes."
        )
    module, colon, name = text.partition(":")
    if not colon or not name or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise ValueError(f"{rule}. Received: {shown(text)}.")
    return describe(_built(module, name))


class _NotFoundError(ValueError):
    """The error for a factory that is not there."""


def _built(module: str, name: str) -> Any:
    """The result of a factory, which is called on PyTorch's meta device if PyTorch is loaded."""
    sys.path.insert(0, "")  # as with `python -m`
    try:
        factory = _found(importlib.import_module(module), module, name)
        torch = sys.modules.get("torch")
        with contextlib.nullcontext() if torch is None else torch.device("meta"):
            return factory()
    except _NotFoundError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything, which the user should see
        own = error.__traceback__ and error.__traceback__.tb_next
        lines = "".join(traceback.format_exception(type(error), error, own)).split("\n")
        sys.stderr.write("\n".join(map(visible, lines)))
        raise ValueError(
            f"--model must be a factory that can be called without arguments. Received: {module}:{name}, which raised "
            f"{traceback.format_exception_only(error)[-1].strip()}"
        ) from error
    finally:
        sys.path.remove("")


def _found(module: Any, path: str, name: str) -> Any:
    """What a module has under a dotted name."""
    found, place = module, path
    for part in name.split("."):
        if not hasattr(found, part):
            rule = f"--model must be a factory. Received: {path}:{name}, but {place} has no {shown(part)}"
            raise _NotFoundError(f"{rule}.{suggestion(part, dir(found))}")
        found, place = getattr(found, part), f"{place}.{part}" if found is not module else f"{place}:{part}"
    return found
