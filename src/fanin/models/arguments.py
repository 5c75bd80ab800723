"""Models as a command's arguments: a file, or a factory that makes one."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from fanin._core.messages import class_name, shown, suggestion, visible
from fanin.models.files import SUFFIXES, describe_file
from fanin.models.parameters import Model
from fanin.models.registry import describe

# Files of weights that fanin does not read.
_OF_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".keras", ".npz", ".msgpack", ".onnx", ".gguf")


# The context in which a factory is called, if it has loaded PyTorch.
Around: TypeAlias = Callable[[], AbstractContextManager[Any]]


def described_argument(text: str, around: Around | None = None) -> Model:
    """The description of a model that is given as a file, or as a factory, `package.module:function`.

    If a factory raises, its traceback goes to stderr.

    Args:
        text: the argument.
        around: the context in which a factory is called if it has loaded PyTorch, instead of its meta device.

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
    factory = Factory.of(text, rule)
    made = factory.made(around)
    try:
        return describe(made)
    except TypeError as error:
        raise TypeError(f"--model must be a factory that returns a model. Received: {text}. {error}") from error


class Factory(NamedTuple):
    """A function of the user's that makes a model, as the argument of a command.

    Attributes:
        module: its module.
        name: its name there, which may be dotted.
        option: what the argument is called.
    """

    module: str
    name: str
    option: str = "--model"

    @classmethod
    def of(cls, text: str, rule: str, option: str = "--model") -> Factory:
        """The factory of an argument, `package.module:function`.

        Raises:
            ValueError: it is none; the message begins with the rule.
        """
        module, colon, name = text.partition(":")
        if not colon or not name or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            raise ValueError(f"{rule}. Received: {shown(text)}.")
        return cls(module, name, option)

    def function(self) -> Callable[[], Any]:
        """The function itself.

        Raises:
            ValueError: it is not there, needs arguments, or is a model; or its module raises.
        """
        with self._reporting():
            return self._checked(self._found(self._imported()))

    def made(self, around: Around | None = None) -> Any:
        """What the function makes: on PyTorch's meta device, or in the given context, if PyTorch is loaded.

        Raises:
            ValueError: as for `function`, or it raises.
        """
        function = self.function()
        torch = sys.modules.get("torch")
        place = contextlib.nullcontext() if torch is None else around() if around else torch.device("meta")
        with self._reporting(), place:
            return function()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Where the user's code runs: its traceback goes to stderr."""
        sys.path.insert(0, "")  # as with `python -m`
        try:
            yield
        except _NotFoundError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may raise anything, which the user should see
            own = error.__traceback__ and error.__traceback__.tb_next
            lines = "".join(traceback.format_exception(type(error), error, own)).split("\n")
            sys.stderr.write("\n".join(map(visible, lines)))
            raise ValueError(
                f"{self._rule} that can be called without arguments. Received: {self}, which raised "
                f"{traceback.format_exception_only(error)[-1].strip()}"
            ) from error
        finally:
            sys.path.remove("")

    @property
    def _rule(self) -> str:
        return f"{self.option} must be a factory"

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    def _imported(self) -> Any:
        """The module of the factory."""
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self.module}.".startswith(f"{error.name}."):
                raise  # the module is there, and imports one that is not
            raise _NotFoundError(
                f"{self._rule}. Received: {self}, but there is no module {error.name} in this folder or in what is "
                "installed."
            ) from None

    def _found(self, module: Any) -> Any:
        """What the module has under the dotted name."""
        found, place = module, self.module
        for part in self.name.split("."):
            if not hasattr(found, part):
                received = f"Received: {self}, but {place} has no {shown(part)}"
                raise _NotFoundError(f"{self._rule}. {received}.{suggestion(part, dir(found))}")
            found, place = getattr(found, part), f"{place}.{part}" if found is not module else f"{place}:{part}"
        return found

    def _checked(self, factory: Any) -> Any:
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
            raise _NotFoundError(
                f"{self._rule} that can be called without arguments. Received: {self}, which {reason}."
            )
        return factory


class _NotFoundError(ValueError):
    """The error for what is not there, or is no factory."""
