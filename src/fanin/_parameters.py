"""Parameters of models as plain data: what a recipe is told of each, in any framework."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fanin._layouts import permuted
from fanin._words import suggestion

# What a parameter does in its layer.
ROLES = {
    "kernel": "what inputs are multiplied by",
    "recurrent_kernel": "what a recurrent layer's own last outputs are multiplied by",
    "depthwise_kernel": "a convolution's kernel that keeps the channels apart",
    "bias": "what is added to a kernel's outputs",
    "recurrent_bias": "what is added to a recurrent kernel's outputs",
    "embedding": "a table of vectors, (tokens, features)",
    "scale": "what a normalized input is multiplied by",
    "offset": "what is added to it then",
    "mean": "a running mean",
    "variance": "a running variance",
    "count": "a counter",
    "other": "anything else, such as a class token",
}
# They have one sensible start, which only a rule that names their role changes.
STATISTICS = {"mean": 0, "variance": 1, "count": 0}
KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel")

# Wrappers put a component of their own into the paths of what they wrap.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_ddp_module"}


class Part(NamedTuple):
    """Says that a parameter is one of the blocks of a tensor that other frameworks keep in one."""

    path: str  # of that tensor
    block: str
    blocks: tuple[str, ...]  # of that tensor, in Keras's order along its last axis


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Attributes:
        path: its path in the model, dotted, without what wrappers put into it.
        shape: its shape, as the framework has it.
        dtype: its dtype.
        layer: the type of the layer that it belongs to, "" where that is not known.
        trainable: whether it is not frozen.
        problem: why nothing can be drawn for it, if that is so.
        kinds: the classes that its type is derived from, which conditions of rules may name, too.
        within: the types of the layers around that one, the outermost first.
        role: one of `ROLES`.
        axes: where Keras's axes are, as `transpose` takes them; None where nobody knows.
        fans: fan-in and fan-out of its layer; None where nobody knows.
        matrix_shape: the shape that matrix decompositions see, where several axes are one in other frameworks.
        blocks: the names of the equal blocks that it is made of, along the last of Keras's axes, as they are stored.
        keras_blocks: the same in Keras's order, which may differ.
        part: of what it is a block itself.
        stacked: how many of its first axes are a stack of layers.
        zero_rows: rows that are zero whatever is drawn (the padding of embeddings).
        known: further numbers for expressions.
        tied: further paths of the same parameter.
        buffer: whether it is a buffer, not a parameter, of its module.
        name: the name under which it is drawn, if that is not its path.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    layer: str = ""
    within: tuple[str, ...] = ()
    role: str = "other"
    axes: tuple[int, ...] | None = None
    fans: tuple[int, int] | None = None
    matrix_shape: tuple[int, ...] | None = None
    blocks: tuple[str, ...] = ()
    keras_blocks: tuple[str, ...] = ()
    part: Part | None = None
    stacked: int = 0
    zero_rows: tuple[int, ...] = ()
    known: Mapping[str, float] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    buffer: bool = False
    name: str = ""
    kinds: tuple[str, ...] = ()
    trainable: bool = True
    problem: str = ""

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """The shape in Keras's order of axes."""
        return permuted(self.shape, self.kernel_axes)

    @property
    def kernel_axes(self) -> tuple[int, ...]:
        """Keras's axes; its own where nobody knows."""
        return tuple(range(len(self.shape))) if self.axes is None else self.axes

    @property
    def layout(self) -> str:
        """ "keras", "torch", or the axes, in words; "" where nobody knows or there is only one order."""
        rank = len(self.shape)
        if self.axes is None or rank < 2:
            return ""
        if self.axes == tuple(range(rank)):
            return "keras"
        return "torch" if self.axes == (*range(2, rank), 1, 0) else str(self.axes)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=object)) if self.shape else 1

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return self.size * self.dtype.itemsize


def kinds_of(cls: type, last: str) -> tuple[str, ...]:
    """The names of a layer's class and of those that it is derived from, up to a framework's own base class.

    Classes that a framework makes of a layer's, such as `ParametrizedLinear`, are passed by.
    """
    names = [each.__name__ for each in cls.__mro__]
    names = names[: names.index(last)] if last in names else names
    made = {f"{prefix}{name}" for prefix in ("Parametrized", "FSDP") for name in names}
    return tuple(name for name in names if name not in made) or (cls.__name__,)


def stripped(path: str) -> str:
    """A dotted path without what wrappers put into it; `:0` behind Keras's names goes, too."""
    path = re.sub(r":\d+$", "", path.replace("/", "."))
    return ".".join(part for part in path.split(".") if part not in WRAPPERS) or path


def depths(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """For each path in a list of repeated blocks, the number of its block and how many there are.

    The outermost list counts: of `encoder.block.3.layer.0.wq` it is `encoder.block`. (But a list that is the model
    itself gives way to a longer one within it: it may be a container of models.) Blocks are numbered components, such
    as `h.3`, or names with a number behind an underscore, `block_3`, where all from 0 on are there.
    """
    split = {path: path.split(".") for path in paths}
    lists: dict[tuple[str, ...], set[int]] = {}
    for parts in split.values():
        for position, part in enumerate(parts[:-1]):
            stem, number = _numbered(part)
            if number is not None:
                lists.setdefault((*parts[:position], stem), set()).add(number)
    found = {}
    for path, parts in split.items():
        candidates = []
        for position, part in enumerate(parts[:-1]):
            stem, number = _numbered(part)
            if number is None:
                continue
            numbers = lists[(*parts[:position], stem)]
            if not stem or (len(numbers) > 1 and numbers == set(range(len(numbers)))):
                candidates.append((position, number, len(numbers)))
        if not candidates:
            continue
        first, *others = candidates
        if first[0] == 0 and parts[0].isdecimal() and others and others[0][2] > first[2]:
            first = others[0]  # the root is a container of models
        found[path] = first[1:]
    return found


def _numbered(part: str) -> tuple[str, int | None]:
    if part.isdecimal():
        return "", int(part)
    match = re.fullmatch(r"(.+)_(\d+)", part)
    return (match[1], int(match[2])) if match else (part, None)


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern of paths, in which `*` stands for any text, dots among it; `/` may be written for dots."""
    return re.compile(fnmatch.translate(pattern.replace("/", ".")))


Names = Mapping[str, str] | Callable[[Parameter], str] | None


class NameMap:
    """The names under which parameters are drawn: their paths, unless something else is said.

    Args:
        names: a mapping of globs to names, in which each `*` stands for what it stands for in the glob; or a function
            of a `Parameter`; or None. A key such as `"*.in_proj_weight[query]"` names one block alone.
    """

    def __init__(self, names: Names) -> None:
        self._function = names if callable(names) else None
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        if names is None or callable(names):
            return
        if not isinstance(names, Mapping):
            raise TypeError(
                "`names` must be a mapping of paths to names, or a function of a parameter. "
                f"Received: names of type {type(names).__name__}."
            )
        for key, value in names.items():
            if not isinstance(key, str) or not isinstance(value, str) or value.count("*") > key.count("*"):
                raise ValueError(
                    "`names` must map paths to names, and a name can have as many * as its path. "
                    f"Received: {key!r}: {value!r}."
                )
            pieces = re.split(r"(\*)", key.replace("/", "."))
            text = "".join("(.*)" if piece == "*" else re.escape(piece) for piece in pieces)
            self._patterns.append((re.compile(text), value.replace("/", ".")))

    def of(self, parameter: Parameter, path: str) -> str:
        """The name of a parameter, or of the whole that it is a part of, at this path."""
        if self._function is not None:
            name = self._function(parameter)
            if not isinstance(name, str):
                raise TypeError(f"`names` must return a string. Received: {name!r} for {path!r}.")
            return stripped(name)
        own = parameter.name if path == parameter.path else ""
        return self.mapped(path) or own or path

    def mapped(self, path: str) -> str | None:
        """What a mapping says for a path, or for a block of one, if anything. Keys of blocks have brackets."""
        for pattern, name in self._patterns:
            match = pattern.fullmatch(path) if ("[" in path) == (r"\[" in pattern.pattern) else None
            if match:
                pieces = iter(match.groups())
                return re.sub(r"\*", lambda _, pieces=pieces: next(pieces), name)
        return None


def selector(option: str, patterns: Any, paths: Iterable[str] | None) -> Callable[[Parameter], bool]:
    """What chooses parameters by `only=` or `skip=`: globs, each of which must match one of these paths, if given."""
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in patterns):
        raise TypeError(f"`{option}` must be a glob of paths, or several. Received: {option}={patterns!r}.")
    compiled = [glob(pattern) for pattern in patterns]
    paths = None if paths is None else list(paths)
    for pattern, expression in zip(patterns, compiled, strict=True):
        if paths is not None and not any(expression.match(path) for path in paths):
            raise ValueError(
                f"`{option}` must match parameters of the model. Received: {pattern!r}, which matches none."
                f"{suggestion(pattern, paths)}"
            )
    return lambda each: any(pattern.match(path) for pattern in compiled for path in (each.path, *each.tied))
