"""Models as a command's arguments: a file, or a factory that makes one."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from fanin._core.messages import class_name, shown, suggestion, visible
from fanin.models.files import SUFFIXES, describe_file
from fanin.models.parameters import Model
from fanin.models.registry import describe

# Files of weights that fanin does not read.
_OF_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".keras", ".npz", ".msgpack", ".onnx", ".gguf")


def described_argument(text: str) -> Model:
    """The description of a model that is given as a file, or as a factory, `package.module:function`.

    A factory is called on PyTorch's meta device if it has loaded PyTorch. If it raises, its traceback goes to stderr.

    Raises:
        ValueError: it is neither, it cannot be read, or the factory raises.
        TypeError: the factory returns no model.
    """
    if text.lower().endswith(SUFFIXES):
        try:
            return describe_file(Path(text))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"--model must be a file that can be read. Received: {shown(text)} ({reason}).") from error
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
    made = _built(module, name)
    try:
        return describe(made)
    except TypeError as error:
        raise TypeError(f"--model must be a factory that returns a model. Received: {text}. {error}") from error


class _NotFoundError(ValueError):
    """The error for what is not there, or is no factory."""


def _built(module: str, name: str) -> Any:
    """The result of a factory, which is called on PyTorch's meta device if PyTorch is loaded."""
    sys.path.insert(0, "")  # as with `python -m`
    try:
        factory = _checked(_found(_imported(module, name), module, name), f"{module}:{name}")
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


def _imported(module: str, name: str) -> Any:
    """The module of a factory."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        raise _NotFoundError(
            f"--model must be a factory. Received: {module}:{name}, but there is no module {error.name} in this folder "
            "or in what is installed."
        ) from None


def _checked(factory: Any, text: str) -> Any:
    """The same factory, if it can be called without arguments, and is no model itself."""
    reason = ""
    if not callable(factory):
        reason = f"is of type {class_name(type(factory))} and cannot be called"
    elif not isinstance(factory, type) and hasattr(factory, "named_parameters"):
        reason = "is a model itself. Give a function that makes it"
    else:
        with contextlib.suppress(ValueError):  # of callables whose arguments are not known
            signature = inspect.signature(factory)
            try:
                signature.bind()
            except TypeError as error:
                reason = f"needs arguments ({error}). Give a function without any that calls it"
    if reason:
        rule = "--model must be a factory that can be called without arguments"
        raise _NotFoundError(f"{rule}. Received: {text}, which {reason}.")
    return factory


def _found(module: Any, path: str, name: str) -> Any:
    """What a module has under a dotted name."""
    found, place = module, path
    for part in name.split("."):
        if not hasattr(found, part):
            rule = f"--model must be a factory. Received: {path}:{name}, but {place} has no {shown(part)}"
            raise _NotFoundError(f"{rule}.{suggestion(part, dir(found))}")
        found, place = getattr(found, part), f"{place}.{part}" if found is not module else f"{place}:{part}"
    return found
