"""Which initializer made each variable of a tf_keras or Keras 3 model: its layers are built once more, and watched."""

from __future__ import annotations

import contextlib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from fanin._core.messages import class_name, shown, visible
from fanin._core.types import Shape
from fanin._keras.describe import Framework, Scan, visits
from fanin._keras.readings import Reader
from fanin.models.parameters import Model, Parameter, Written
from fanin.models.registry import tensors_hint
from fanin.recipes.entry import Placement
from fanin.recipes.readings import Reading, Readings, Unreadable, UnreadableError, placements_of
from fanin.recipes.recipe import Recipe

# What is told of each variable that is created: the variable, its initializer, shape and dtype.
Note: TypeAlias = Callable[[Any, Any, Shape, Any], None]
Outcome: TypeAlias = tuple[Reading, ...] | str  # the readings, or why there are none
# The likely inputs that a layer is built for if it does not say which it was built for.
_MOST_AXES, _MOST_LENGTHS = 5, 8


@dataclass(frozen=True)
class Origins:
    """How the variables of a framework are watched as they are made.

    Attributes:
        framework: the framework.
        reader: reads its initializers.
        watching: a context in which a function is told of each variable that this thread creates.
        valueless: a context in which variables are made without values.
        inner: a function that returns the variable that was created, of one that may wrap it.
    """

    framework: Framework
    reader: Reader
    watching: Callable[[Note], AbstractContextManager[Any]]
    valueless: Callable[[], AbstractContextManager[Any]]
    inner: Callable[[Any], Any]

    def recipe_of(self, model: Any, seed: int, unreadable: Unreadable) -> Recipe:
        """The implementation of `fanin.keras.recipe_of` and `fanin.tf_keras.recipe_of`."""
        layer_class, log = self.framework.layer_class, _Log(self)
        if not isinstance(model, (layer_class, type)) and callable(model):
            with log.watching():
                model = model()
        package = layer_class.__module__.partition(".")[0]
        if not isinstance(model, layer_class):
            raise TypeError(
                f"`model` must be a model or layer of {package}, or a function without arguments that makes one. "
                f"Received: {shown(model)[:100]} (of type {class_name(type(model))}).{tensors_hint(model)}"
            )
        scan = Scan(model, self.framework)
        unbuilt = [visit.path or visit.layer.name for visit in visits(model) if self._lacks_variables(visit.layer)]
        if unbuilt:
            raise ValueError(
                "The model must be built, since a recipe needs the shapes of its variables. Received: "
                f"{visible(scan.root.name)}, in which {visible(', '.join(unbuilt[:10]))} "
                f"{'is' if len(unbuilt) == 1 else 'are'} not built. Call it on an input, or `build` it."
            )
        twins = _Twins(self)
        outcomes = {each.path: log.outcome(scan, each) or twins.outcome(scan, each) for each in scan.parameters}
        read = {path: each for path, each in outcomes.items() if not isinstance(each, str)}
        unread = {path: each for path, each in outcomes.items() if isinstance(each, str)}
        described = replace(scan.model(), written=_written(outcomes.__getitem__))
        return Readings(described, read, unread, "variable").recipe(seed, unreadable)

    def _lacks_variables(self, layer: Any) -> bool:
        """Whether a layer is not built, and may make variables when it is: if its class has a `build` of its own."""
        return not layer.built and type(layer).build is not self.framework.layer_class.build

    def describe(self, scan: Scan) -> Model:
        """The description of a model whose own code can be asked what it makes of each variable."""
        twins, parameters = _Twins(self), {each.path: each for each in scan.parameters}
        return replace(scan.model(), written=_written(lambda path: twins.outcome(scan, parameters[path])))


def _written(outcome: Callable[[str], Outcome]) -> Written:
    """What makes the placements of a variable from its readings."""

    def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
        found = outcome(parameter.path)
        if isinstance(found, str):
            raise ValueError(found)
        return placements_of(parameter, name, found, seed)

    return written


class _Log:
    """The variables that were created within a context, and what each was made with."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._created: dict[int, tuple[Any, Any, Shape, Any]] = {}  # which keeps the variables, whose ids are its keys

    def watching(self) -> AbstractContextManager[Any]:
        """The context."""

        def note(variable: Any, initializer: Any, shape: Shape, dtype: Any) -> None:
            self._created[id(variable)] = variable, initializer, shape, dtype

        return self._origins.watching(note)

    def outcome(self, scan: Scan, parameter: Parameter) -> Outcome | None:
        """The readings of a variable, or why there are none; None if it was not created within the context."""
        created = self._created.get(id(self._origins.inner(scan.variables[parameter.path])))
        if created is None:
            return None
        try:
            return self._origins.reader.read(*created[1:])
        except UnreadableError as error:
            return str(error)


@dataclass(frozen=True)
class _Twin:
    """A layer that was built once more.

    Attributes:
        shapes: the shapes of its variables, by their names within it.
        outcomes: the readings of each, or why there are none.
        reason: why the layer could not be built.
    """

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    reason: str = ""


class _Twins:
    """Layers built once more from their configurations, one at a time.

    A layer tells by itself what made its variables. If it cannot be built by itself, the one that contains it is built.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._known: dict[tuple[int, bool], _Twin] = {}

    def outcome(self, scan: Scan, parameter: Parameter) -> Outcome:
        """The readings of a variable, or why there are none."""
        reasons = []
        lineage = scan.lineages[parameter.path]
        for visit in lineage:
            twin = self._twin_of(visit.layer, has_it=visit is lineage[0])
            name = parameter.name.removeprefix(f"{visit.name}.") if visit.name else parameter.name
            if twin.shapes.get(name) == parameter.shape:
                return twin.outcomes[name]
            reasons.append(twin.reason or "then it makes other variables")
        return (
            f"what made it is not known, since its layer cannot be built again from its configuration ({reasons[0]}). "
            "Pass a function without arguments that makes the model"
        )

    def _twin_of(self, layer: Any, has_it: bool) -> _Twin:
        """The twin of a layer that has a variable itself, or of one that contains such a layer."""
        key = id(layer), has_it
        if key not in self._known:
            # A thread of its own has none of the scopes, counted names and seeds of the caller's.
            with _undisturbed(), ThreadPoolExecutor(1) as pool:
                self._known[key] = pool.submit(self._built_again, layer, has_it).result()
        return self._known[key]

    def _built_again(self, layer: Any, has_it: bool) -> _Twin:
        wanted, reason = _shapes(Scan(layer, self._origins.framework)), ""
        for valueless in (self._origins.valueless, contextlib.nullcontext):
            for unbuilt in (_by_configuration, _with_its_objects, _by_arguments):
                for built_for in _inputs(layer, wanted if has_it else {}):
                    log, twin = _Log(self._origins), None
                    try:
                        with valueless(), log.watching():
                            twin = unbuilt(layer)
                            _build(twin, built_for)
                        scan = Scan(twin, self._origins.framework)
                    except Exception as error:  # foreign code can raise anything; no handler runs in this thread
                        reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
                        if twin is None:  # which other inputs do not change
                            break
                        continue
                    if wanted.items() <= _shapes(scan).items():
                        return _Twin(_all_shapes(scan), {each.name: _seen(log, scan, each) for each in scan.parameters})
        return _Twin(reason=reason)


def _seen(log: _Log, scan: Scan, parameter: Parameter) -> Outcome:
    return log.outcome(scan, parameter) or "no initializer made it"


def _shapes(scan: Scan) -> dict[str, Shape]:
    """The shapes of a layer's own variables, or of those within it if it has none, by their names."""
    own = {each.name: each.shape for each in scan.parameters if len(scan.lineages[each.path]) == 1}
    return own or _all_shapes(scan)


def _all_shapes(scan: Scan) -> dict[str, Shape]:
    return {each.name: each.shape for each in scan.parameters}


def _inputs(layer: Any, shapes: Mapping[str, Shape]) -> Iterator[Any]:
    """The configurations that a layer may have been built for: its own, or else those of likely inputs."""
    yield layer.get_build_config()
    lengths = list(dict.fromkeys(length for shape in shapes.values() for length in shape))[:_MOST_LENGTHS]
    yield from ({"input_shape": (*(None,) * axes, each)} for each in lengths for axes in range(1, _MOST_AXES))


def _by_configuration(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _with_its_objects(layer: Any) -> Any:
    """The same with the functions and objects that the layer has, which their names alone may not give again."""
    return type(layer).from_config(_objects(layer))


def _by_arguments(layer: Any) -> Any:
    """The same by a constructor that does not take all that every layer has, such as `trainable`."""
    taken = inspect.signature(type(layer).__init__).parameters
    return type(layer)(**{name: value for name, value in _objects(layer).items() if name in taken})


def _objects(layer: Any) -> dict[str, Any]:
    config = layer.get_config()
    held = {name: getattr(layer, name, None) for name, value in config.items() if isinstance(value, (str, dict))}
    return {**config, **{name: each for name, each in held.items() if callable(each) and not hasattr(each, "built")}}


def _build(layer: Any, config: Any) -> None:
    """Builds a layer, unless its constructor has."""
    if config and not layer.built:
        layer.build_from_config(config)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Gives Python's and NumPy's generators, from which seeds come, their states back, and passes no warnings on."""
    states = random.getstate(), np.random.get_state()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
