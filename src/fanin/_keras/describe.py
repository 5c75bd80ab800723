"""tf_keras and Keras 3 models as data: their layers, at every place, and the variables of each layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fanin._core import dtypes
from fanin._keras.layers import traits_of
from fanin.models.names import class_names
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import STATISTICS


@dataclass(frozen=True)
class Visit:
    """A layer within a model.

    Attributes:
        layer: the layer.
        path: its dotted path of layer names.
        name: the same path, with numbers counted per parent where Keras counts them per process.
        within: the types of the enclosing layers.
    """

    layer: Any
    path: str
    name: str
    within: tuple[str, ...]


def visits(root: Any) -> Iterator[Visit]:
    """Every layer of a model at every place, the outer ones first. Paths do not contain the model's own name."""

    def walk(visit: Visit, above: frozenset[int]) -> Iterator[Visit]:
        yield visit
        if id(visit.layer) in above:
            return
        children = list(visit.layer._flatten_layers(include_self=False, recursive=False))
        names = _own_names(children)
        used: dict[str, int] = {}
        for child, name in zip(children, names, strict=True):
            path = child.name
            used[path] = used.get(path, 0) + 1
            if used[path] > 1:  # two with the same name in a parent
                path = f"{path}#{used[path]}"
            within = (*visit.within, type(visit.layer).__name__)
            inner = Visit(child, _joined(visit.path, path), _joined(visit.name, name), within)
            yield from walk(inner, above | {id(visit.layer)})

    yield from walk(Visit(root, "", "", ()), frozenset())


def _own_names(layers: Sequence[Any]) -> list[str]:
    """The names of layers, with new numbers in the names that Keras generated.

    Keras counts per process, so a second model of the same code has other names. A name that looks generated (the
    class's name and a number) is treated as such, since the two cannot be told apart.
    """
    given = {layer.name for layer in layers if not _is_automatic(layer)}
    names, used = [], set(given)
    for layer in layers:
        name = layer.name
        if name not in given:
            stem = _stem(layer)
            number = 0
            while (name := f"{stem}_{number}" if number else stem) in used:
                number += 1
        elif names.count(name):
            name = f"{name}#{names.count(name) + 1}"
        used.add(name)
        names.append(name)
    return names


def _stem(layer: Any) -> str:
    return re.sub(r"_\d+$", "", layer.name)


def _is_automatic(layer: Any) -> bool:
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", type(layer).__name__))
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    # Bidirectional adds a prefix to the names of its two layers.
    return re.fullmatch(rf"((for|back)ward_)?{re.escape(snake)}(_\d+)?", layer.name) is not None


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@dataclass(frozen=True)
class Framework:
    """The differences between tf_keras and Keras 3.

    Attributes:
        layer_class: the framework's `Layer`.
        own: a function that returns a layer's own variables, without those of its sublayers.
        assign: a function that gives a variable an array's values.
        tensor: a function that converts an array to a tensor, for an initializer to return.
        value: a function that returns a variable's values as an array.
    """

    layer_class: Any
    own: Callable[[Any], list[Any]]
    assign: Callable[[Any, np.ndarray], None]
    tensor: Callable[[np.ndarray], Any]
    value: Callable[[Any], np.ndarray]


def leaf_of(name: str | None) -> str:
    """A variable's name in its layer, without the per-process number in the names that Keras generates."""
    leaf = (name or "variable").rpartition("/")[2].partition(":")[0]
    return "variable" if re.fullmatch(r"[Vv]ariable(_\d+)?", leaf) else leaf


def numbered(leaf: str, before: list[str]) -> str:
    """The name, with a number if the layer already has a variable of that name."""
    count = before.count(leaf) + 1
    return leaf if count == 1 else f"{leaf}#{count}"


class Scan:
    """Every variable of a model, each once.

    Attributes:
        root: the model.
        framework: its framework.
        variables: the variables, by path.
        parameters: the same as parameters, with ties resolved.
        lineages: the layer of each variable and those that contain it, the innermost first, by the variable's path.
        layers: the paths of all layers.
        unbuilt: the paths of those that are not built.
    """

    def __init__(self, root: Any, framework: Framework) -> None:
        self.root: Any = root
        self.framework: Framework = framework
        self.variables: dict[str, Any] = {}
        self.parameters: list[Parameter] = []
        self.lineages: dict[str, tuple[Visit, ...]] = {}
        self.layers: list[str] = []
        self.unbuilt: list[str] = []
        seen: dict[int, int] = {}
        above: list[Visit] = []
        for visit in visits(root):
            above = [*above[: len(visit.within)], visit]
            self.layers.append(visit.path)
            if not visit.layer.built:
                self.unbuilt.append(visit.path or visit.layer.name)
            leaves: list[str] = []
            for variable in framework.own(visit.layer):
                leaves.append(leaf_of(variable.name))
                leaf = numbered(leaves[-1], leaves[:-1])
                parameter = parameter_of(visit, leaf, variable.shape, variable.dtype, trainable=variable.trainable)
                position = seen.setdefault(id(variable), len(self.parameters))
                if position < len(self.parameters):
                    first = self.parameters[position]
                    if parameter.path not in (first.path, *first.tied):
                        self.parameters[position] = replace(first, tied=(*first.tied, parameter.path))
                    continue
                self.parameters.append(parameter)
                self.variables[parameter.path] = variable
                self.lineages[parameter.path] = tuple(reversed(above))

    def values(self) -> dict[str, Any]:
        """The variables by their paths, tied ones under each of theirs."""
        paths = ((path, each.path) for each in self.parameters for path in (each.path, *each.tied))
        return {path: self.variables[first] for path, first in paths}

    def model(self) -> Model:
        """The description of the model, for a plan."""
        layers = tuple(f"{path}." for path in self.layers if path)
        count = len(self.unbuilt)
        notes = (f"{count} {'layer is' if count == 1 else 'layers are'} not built yet",) if count else ()
        return Model(tuple(self.parameters), self.root.name, layers=layers, notes=notes, complete=not self.unbuilt)


def parameter_of(visit: Visit, leaf: str, shape: Any, dtype: Any, *, trainable: bool = True) -> Parameter:
    """A variable of a layer as a parameter.

    Args:
        visit: the layer.
        leaf: the variable's name there.
        shape: its shape.
        dtype: its dtype.
        trainable: whether the variable itself is trained, if its layer is. Statistics, which never are, count as
            their layer.
    """
    lengths = tuple(int(length) for length in shape)
    layer, *bases = class_names(type(visit.layer), "Layer")
    # In a layer with no other kernel, tf_keras's depthwise kernel is called the kernel in Keras 3.
    alone = layer.startswith("Depthwise") and leaf == "depthwise_kernel"
    path = f"{visit.path}.{leaf}" if visit.path else leaf
    name = ".".join(filter(None, [visit.name, "kernel" if alone else leaf]))
    traits = traits_of(visit.layer, leaf.partition("#")[0], lengths)
    trainable = getattr(visit.layer, "trainable", True) and (trainable or traits.role in STATISTICS)
    return Parameter(
        path, lengths, dtypes.resolve(dtype), layer, tuple(bases), visit.within, traits, name=name, trainable=trainable
    )
