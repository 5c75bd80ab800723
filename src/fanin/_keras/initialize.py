"""`initialize` for tf_keras and Keras 3, which fills a model's variables now, or when its layers are built."""

from __future__ import annotations

import inspect
import threading
import weakref
from dataclasses import replace
from typing import Any, ClassVar

from fanin._keras.describe import Framework, Scan, Visit, leaf_of, numbered, parameter_of, visits
from fanin._keras.origins import Origins
from fanin.models.parameters import Model
from fanin.models.registry import tensors_hint
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import PlanError
from fanin.recipes.recipe import Recipe, recipe_of


def initialize(origins: Origins, model: Any, recipe: Recipe | str, seed: int | None, options: Options) -> Report:
    """The implementation of `fanin.keras.initialize` and `fanin.tf_keras.initialize`."""
    recipe, framework = recipe_of(recipe, seed), origins.framework
    if not isinstance(model, framework.layer_class):
        package = framework.layer_class.__module__.partition(".")[0]
        raise TypeError(
            f"`model` must be a model or layer of {package}. Received: model of type {type(model).__name__}."
            f"{tensors_hint(model)}"
        )
    scan = Scan(model, framework)
    execution = Execution(origins.describe(scan), recipe, options)
    variables = {options.placed(path): variable for path, variable in scan.variables.items()}

    def fill(entry: Entry) -> None:
        variable = variables[entry.path]
        framework.assign(variable, entry.make() if entry.covers else entry.over(framework.value(variable)))

    execution.run(fill)
    if scan.unbuilt:
        _Waiting(framework, model, recipe, options)
    return execution.report(tuple(scan.unbuilt))


class _Waiting:
    """A recipe that waits for a model to be built, whose layers get their values as they create their variables.

    For this, `add_weight` of the framework's `Layer` is wrapped. The wrapper does not affect the layers of models that
    no recipe waits for.
    """

    _models: ClassVar[weakref.WeakKeyDictionary[Any, _Waiting]] = weakref.WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, framework: Framework, model: Any, recipe: Recipe, options: Options) -> None:
        self.framework, self.recipe, self.options = framework, recipe, options
        with self._lock:
            self._models[model] = self
            _watch(framework.layer_class)

    @classmethod
    def initializer_for(cls, layer: Any, leaf: str, shape: Any, dtype: Any) -> Any:
        """The initializer of a variable that a layer is creating; None if no recipe waits for the layer."""
        with cls._lock:
            waiting = list(cls._models.items())
        for model, each in waiting:
            layers = list(visits(model))
            places = [visit for visit in layers if visit.layer is layer]
            if places:
                return each._initializer(model, places, leaf, shape, dtype)
            if all(visit.layer.built for visit in layers):  # nothing is left to wait for
                with cls._lock:
                    cls._models.pop(model, None)
        return None

    def _initializer(self, model: Any, places: list[Visit], leaf: str, shape: Any, dtype: Any) -> Any:
        leaf = numbered(leaf, [leaf_of(variable.name) for variable in self.framework.own(places[0].layer)])
        parameter, *others = (parameter_of(visit, leaf, shape, dtype) for visit in places)
        parameter = replace(parameter, tied=tuple(each.path for each in others))
        layers = tuple(f"{each.path}." for each in visits(model) if each.path)
        try:
            part = Model((parameter,), model.name, layers=layers, complete=False)
            execution = Execution(part, self.recipe, self.options)
        except PlanError as error:
            text = str(error).replace("nothing has been written", "the layers that were built before have their values")
            raise PlanError(text) from None
        entries = execution.plan.entries
        if not entries or not entries[0].placements:
            return None
        entry, tensor = entries[0], self.framework.tensor
        if not entry.covers:
            raise PlanError(
                f"{entry.path}: {entry.rule} keeps some of its blocks, which have no values before the model is built; "
                "the layers that were built before have their values. Build the model, and call `initialize` then."
            )

        def planned(shape: Any, dtype: Any = None) -> Any:
            del shape, dtype  # the same as in the plan
            return tensor(entry.make())

        return planned


_watched: set[Any] = set()


def _watch(layer_class: Any) -> None:
    """Makes `add_weight` of a framework's layers check whether a recipe waits for them."""
    if layer_class in _watched:
        return
    theirs = layer_class.add_weight
    signature = inspect.signature(theirs)

    def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = _normalized(signature, self, args, kwargs)
        if arguments is not None:
            dtype = arguments.get("dtype") or getattr(self, "variable_dtype", None)
            shape = arguments.get("shape")
            leaf = leaf_of(arguments.get("name"))
            initializer = _Waiting.initializer_for(self, leaf, () if shape is None else shape, dtype)
            if initializer is not None:
                return theirs(self, **{**arguments, "initializer": initializer})
        return theirs(self, *args, **kwargs)

    add_weight.__doc__, add_weight.__wrapped__ = theirs.__doc__, theirs  # pyright: ignore[reportFunctionMemberAccess]
    layer_class.add_weight = add_weight
    _watched.add(layer_class)  # last: an interrupt before it does no harm


def _normalized(signature: inspect.Signature, layer: Any, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """The arguments by name; None if Keras will refuse them."""
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
