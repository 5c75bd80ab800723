"""Models of tf_keras and Keras 3 described as parameters, and initialized: now, or when they are built."""

from __future__ import annotations

import inspect
import re
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fanin import _dtypes
from fanin._arrays import allocate
from fanin._models.keras_layers import Visit, described, visits
from fanin._models.report import Execution, Report, chosen
from fanin._parameters import Parameter, kinds_of
from fanin.plans import Entry, Found, PlanError


@dataclass(frozen=True)
class Framework:
    """What the two have differently.

    Attributes:
        layer_class: their `Layer`.
        own: a layer's own variables, without those of the layers in it.
        assign: gives a variable an array's values.
        tensor: an array as a tensor, for an initializer to return.
    """

    layer_class: Any
    own: Callable[[Any], list[Any]]
    assign: Callable[[Any, np.ndarray], None]
    tensor: Callable[[np.ndarray], Any]


def _leaf(name: str | None) -> str:
    """A variable's name in its layer; Keras counts those that it makes itself through the process."""
    leaf = (name or "variable").rpartition("/")[2].partition(":")[0]
    return "variable" if re.fullmatch(r"[Vv]ariable(_\d+)?", leaf) else leaf


def _numbered(leaf: str, before: list[str]) -> str:
    """The name again, with a number if the layer has one of that name already."""
    count = before.count(leaf) + 1
    return leaf if count == 1 else f"{leaf}#{count}"


class Scan:
    """Every variable of a model, each once."""

    def __init__(self, root: Any, framework: Framework) -> None:
        self.root, self.framework = root, framework
        self.variables: dict[str, Any] = {}
        self.parameters: list[Parameter] = []
        self.layers: list[str] = []
        self.unbuilt: list[str] = []
        seen: dict[int, int] = {}
        for visit in visits(root):
            self.layers.append(visit.path)
            if not visit.layer.built:
                self.unbuilt.append(visit.path or visit.layer.name)
            leaves: list[str] = []
            for variable in framework.own(visit.layer):
                leaves.append(_leaf(variable.name))
                leaf = _numbered(leaves[-1], leaves[:-1])
                parameter = parameter_of(visit, leaf, variable.shape, variable.dtype)
                position = seen.setdefault(id(variable), len(self.parameters))
                if position < len(self.parameters):
                    first = self.parameters[position]
                    if parameter.path not in (first.path, *first.tied):
                        self.parameters[position] = replace(first, tied=(*first.tied, parameter.path))
                    continue
                self.parameters.append(parameter)
                self.variables[parameter.path] = variable

    def found(self) -> Found:
        """The description for a plan."""
        layers = tuple(f"{path}." for path in self.layers if path)
        notes = (f"{len(self.unbuilt)} layers are not built yet",) if self.unbuilt else ()
        return Found(tuple(self.parameters), self.root.name, layers=layers, notes=notes)


def parameter_of(visit: Visit, leaf: str, shape: Any, dtype: Any) -> Parameter:
    """A variable of a layer as a parameter."""
    lengths = tuple(int(length) for length in shape)
    layer, *kinds = kinds_of(type(visit.layer), "Layer")
    # What tf_keras calls the depthwise kernel of a layer that has no other is the kernel in Keras 3.
    alone = layer.startswith("Depthwise") and leaf == "depthwise_kernel"
    path = f"{visit.path}.{leaf}" if visit.path else leaf
    name = ".".join(filter(None, [visit.name, "kernel" if alone else leaf]))
    what = described(visit.layer, leaf.partition("#")[0], lengths)
    more = {"name": name, "kinds": tuple(kinds), "trainable": getattr(visit.layer, "trainable", True)}
    return Parameter(path, lengths, _dtypes.resolve(dtype), layer, visit.within, **more, **what)


def initialize(
    framework: Framework,
    model: Any,
    recipe: Any,
    *,
    only: Any,
    skip: Any,
    names: Any,
    unmatched: str,
    progress: bool | None,
) -> Report:
    """What `fanin.keras.initialize` and `fanin.tf_keras.initialize` do."""
    if not isinstance(model, framework.layer_class):
        package = framework.layer_class.__module__.partition(".")[0]
        raise TypeError(
            f"`model` must be a model or layer of {package}. Received: model of type {type(model).__name__}."
        )
    scan = Scan(model, framework)
    plan = recipe.plan_of(scan.found(), names=names)
    waiting = bool(scan.unbuilt)
    plan, passed = chosen(plan, only, skip, complete=not waiting)
    plan.check(unmatched)
    execution = Execution(plan, progress)
    execution.kept.update(passed)
    for entry in execution.entries():
        framework.assign(scan.variables[entry.path], drawn(entry))
    if waiting:
        _Waiting(framework, model, recipe, only, skip, names, unmatched)
    return replace(execution.report(), waiting=tuple(scan.unbuilt))


def drawn(entry: Entry) -> np.ndarray:
    """A new array with a parameter's values."""
    array = allocate(entry.parameter.shape, entry.parameter.dtype)
    entry.fill(array)
    return array


class _Waiting:
    """A recipe for a model that is not built: its layers get their values as they make their variables.

    The layers' method `add_weight` is asked for that, of the class and so of every layer; models that wait for nothing
    are none of its business.
    """

    _models: ClassVar[weakref.WeakKeyDictionary[Any, _Waiting]] = weakref.WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(
        self, framework: Framework, model: Any, recipe: Any, only: Any, skip: Any, names: Any, unmatched: str
    ) -> None:
        self.framework, self.recipe, self.names, self.unmatched = framework, recipe, names, unmatched
        self.only, self.skip = only, skip
        with self._lock:
            self._models[model] = self
            _watch(framework.layer_class)

    @classmethod
    def initializer_for(cls, layer: Any, leaf: str, shape: Any, dtype: Any) -> Any:
        """What initializes a variable that a layer is making; None where nothing waits for the layer."""
        with cls._lock:
            waiting = list(cls._models.items())
        for model, each in waiting:
            layers = list(visits(model))
            places = [visit for visit in layers if visit.layer is layer]
            if places:
                return each._initializer(model, places, leaf, shape, dtype)
            if all(visit.layer.built for visit in layers):  # it waits for nothing any more
                with cls._lock:
                    cls._models.pop(model, None)
        return None

    def _initializer(self, model: Any, places: list[Visit], leaf: str, shape: Any, dtype: Any) -> Any:
        leaf = _numbered(leaf, [_leaf(variable.name) for variable in self.framework.own(places[0].layer)])
        parameter, *others = (parameter_of(visit, leaf, shape, dtype) for visit in places)
        parameter = replace(parameter, tied=tuple(each.path for each in others))
        layers = tuple(f"{each.path}." for each in visits(model) if each.path)
        found = Found((parameter,), model.name, layers=layers)
        plan, _ = chosen(self.recipe.plan_of(found, names=self.names), self.only, self.skip, complete=False)
        try:
            plan.check(self.unmatched)
        except PlanError as error:
            text = str(error).replace("nothing has been written", "what was built before has its values")
            raise PlanError(text) from None
        if not plan.entries or not plan.entries[0].draws:
            return None
        entry, tensor = plan.entries[0], self.framework.tensor

        def planned(shape: Any, dtype: Any = None) -> Any:
            del shape, dtype  # they are those of the plan
            return tensor(drawn(entry))

        return planned


_watched: set[Any] = set()


def _watch(layer_class: Any) -> None:
    """Has `add_weight` of a framework's layers ask what waits for them."""
    if layer_class in _watched:
        return
    _watched.add(layer_class)
    theirs = layer_class.add_weight
    signature = inspect.signature(theirs)

    def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = _normalized(signature, self, args, kwargs)
        if arguments is not None:
            dtype = arguments.get("dtype") or getattr(self, "variable_dtype", None)
            shape = arguments.get("shape")
            leaf = _leaf(arguments.get("name"))
            initializer = _Waiting.initializer_for(self, leaf, () if shape is None else shape, dtype)
            if initializer is not None:
                return theirs(self, **{**arguments, "initializer": initializer})
        return theirs(self, *args, **kwargs)

    add_weight.__doc__, add_weight.__wrapped__ = theirs.__doc__, theirs  # pyright: ignore[reportFunctionMemberAccess]
    layer_class.add_weight = add_weight


def _normalized(signature: inspect.Signature, layer: Any, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """The arguments by name; None where Keras will refuse them."""
    try:
        bound = dict(signature.bind(layer, *args, **kwargs).arguments)
    except TypeError:
        return None
    bound.pop("self", None)
    rest, more = bound.pop("args", ()), bound.pop("kwargs", {})
    by_position = dict(zip(("shape", "initializer", "dtype"), rest, strict=False))  # as Keras 3 takes them
    if len(rest) > 3 or isinstance(by_position.get("shape"), str) or by_position.keys() & bound.keys():
        return None
    return {**bound, **more, **by_position}
