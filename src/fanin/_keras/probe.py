"""`probe` for tf_keras and Keras 3: layers that tell what they return while a batch passes through them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fanin._core.messages import visible
from fanin._core.types import Globs
from fanin._keras.describe import Framework, Scan, Visit, leaf_of, numbered, visits
from fanin._keras.fan_in import ends_of, fan_in_of, units_axis
from fanin.models.names import chosen_layers
from fanin.models.registry import tensors_hint
from fanin.theory.batches import check_samples, not_finite
from fanin.theory.probes import Probe, ProbedLayer, ProbedParameter, unreached
from fanin.theory.records import Record, normal_cotangent
from fanin.theory.signals import Values, measure

Spy = Callable[..., Any]
Root = Callable[[Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Backend:
    """What a backend of Keras does in its own way.

    Attributes:
        framework: tf_keras or Keras 3.
        is_tensor: whether something is a tensor of floats.
        convert: a function that turns the arrays of a batch into tensors.
        spy: passes a tensor through, and tells its value and its gradient: `spy(tensor, note, note_gradient)`.
        array: a tensor as an array.
        run: `run(forward, batch, variables, root)`: calls `forward(batch)` and, if there is a `root`, the gradients of
            what it returns: a tensor and its cotangent, or a number and None. Returns the gradient of each variable,
            which may be None.
        generators: a context after which the backend's generators have the states that they had.
    """

    framework: Framework
    is_tensor: Callable[[Any], bool]
    convert: Callable[[Any], Any]
    spy: Spy
    array: Callable[[Any], np.ndarray]
    run: Callable[[Callable[[Any], Any], Any, Sequence[Any], Root | None], Sequence[Any]]
    generators: Callable[[int], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Wishes:
    """The arguments of `probe`, besides the model and the batch."""

    loss: Callable[..., Any] | None
    target: Any
    gradients: bool
    training: bool
    seed: int
    layers: Globs | None


def probe(backend: Backend, model: Any, batch: Any, wishes: Wishes) -> Probe:
    """The implementation of `fanin.keras.probe` and `fanin.tf_keras.probe`."""
    _check(backend, model)
    given = backend.convert(batch)
    wrong = _checked(backend, given)
    watch = _Watch(backend, _watched(backend.framework, model, wishes.layers))
    variables = _own_variables(backend.framework, watch.layers)
    arguments: dict[str, Any] = {"training": wishes.training} if _takes_training(model) else {}

    def root(output: Any) -> tuple[Any, Any]:
        if wishes.loss is not None:
            return (wishes.loss(output) if wishes.target is None else wishes.loss(output, wishes.target)), None
        first = _first_tensor(backend, output)
        if first is None:
            raise ValueError(
                "A gradient must be able to begin at the model's output. Received: an output of type "
                f"{type(output).__name__} without tensors of floats. Give a `loss`, or `gradients=False`."
            )
        return first, normal_cotangent(tuple(first.shape), wishes.seed)

    unique = list({id(each): each for each in variables.values()}.values())
    with _restored(backend, model, wishes.seed), watch.telling():
        found = backend.run(lambda taken: model(taken, **arguments), given, unique, root if wishes.gradients else None)
    gradients = dict(zip(map(id, unique), found, strict=True)) if wishes.gradients else {}
    rows = watch.rows(gradients, asked=wishes.gradients)
    if not rows:
        raise ValueError(
            "A layer of the model must run and return a tensor of floats. Received: a batch for which none did. "
            "Choose others with `layers=`."
        )
    notes = unreached(watch.unreached(gradients)) if wishes.gradients else ()
    return Probe(rows, type(model).__name__, wishes.gradients, notes, wrong)


def _check(backend: Backend, model: Any) -> None:
    framework = backend.framework
    if not isinstance(model, framework.layer_class):
        package = framework.layer_class.__module__.partition(".")[0]
        raise TypeError(
            f"`model` must be a model or layer of {package}. Received: model of type {type(model).__name__}."
            f"{tensors_hint(model)}"
        )
    unbuilt = Scan(model, framework).unbuilt
    if unbuilt:
        raise ValueError(
            f"The model must be built, since a batch would build it. Received: {visible(model.name)}, of which "
            f"{visible(', '.join(unbuilt[:5]))} {'is' if len(unbuilt) == 1 else 'are'} not. Build it first "
            "(`model.build(shape)`), or call it once."
        )


def _checked(backend: Backend, batch: Any) -> str:
    """What is wrong with the values of a batch; "" if nothing is. Raises an error if it has no samples."""
    given = list(_tensors(batch))
    check_samples(tuple(each.shape) for each in given)
    return not_finite([Values.of(backend.array(each)) for each in given if backend.is_tensor(each)])


def _tensors(batch: Any) -> Iterator[Any]:
    """The tensors of a batch whose shapes are known, one after another."""
    if isinstance(batch, (Mapping, list, tuple)):
        for each in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(each)
    elif all(isinstance(length, int) for length in getattr(batch, "shape", None) or (None,)):
        yield batch


def _takes_training(model: Any) -> bool:
    parameters = inspect.signature(model.call).parameters
    return "training" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _watched(framework: Framework, model: Any, layers: Globs | None) -> dict[int, Visit]:
    """The layers to watch, by id: those that compute something themselves, or those that are chosen."""
    by_path = {visit.path: visit.layer for visit in visits(model)}
    every = [visit for visit in visits(model) if not _in_loop(visit.path, by_path)]
    if layers is not None:
        paths = chosen_layers(layers, [visit.path for visit in every])
        every = [visit for visit in every if visit.path in paths]
    else:
        every = [visit for visit in every if _computes(framework, visit.layer)]
    found: dict[int, Visit] = {}
    for visit in every:
        found.setdefault(id(visit.layer), visit)
    return found


def _computes(framework: Framework, layer: Any) -> bool:
    if type(layer).__name__ == "InputLayer":
        return False
    inner = list(layer._flatten_layers(include_self=False, recursive=False))
    return bool(framework.own(layer)) or not inner or hasattr(layer, "cell")


def _in_loop(path: str, layers: Mapping[str, Any]) -> bool:
    """Whether a layer runs within the loop of a recurrent layer, which counts as a whole."""
    parts = path.split(".")
    return any(hasattr(layers[".".join(parts[:end])], "cell") for end in range(1, len(parts)))


def _own_variables(framework: Framework, layers: Mapping[int, Visit]) -> dict[tuple[int, str], Any]:
    """The variables of floats of each layer, by the layer's id and the variable's name."""
    found: dict[tuple[int, str], Any] = {}
    for key, visit in layers.items():
        owners = [visit.layer, getattr(visit.layer, "cell", None)]
        leaves: list[str] = []
        for owner in owners:
            for variable in framework.own(owner) if isinstance(owner, framework.layer_class) else ():
                leaves.append(leaf_of(variable.name))
                if "float" in str(variable.dtype):
                    found[key, numbered(leaves[-1], leaves[:-1])] = variable
    return found


def _first_tensor(backend: Backend, value: Any) -> Any:
    """The first tensor of floats in what a layer takes or returns."""
    if backend.is_tensor(value):
        return value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return next((found for found in (_first_tensor(backend, each) for each in inner) if found is not None), None)


def _replaced(value: Any, old: Any, new: Any) -> Any:
    """A structure with a tensor in the place of another one."""
    if value is old:
        return new
    if isinstance(value, Mapping):
        return type(value)({name: _replaced(each, old, new) for name, each in value.items()})  # pyright: ignore
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_replaced(each, old, new) for each in value))
    return type(value)(_replaced(each, old, new) for each in value) if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def _restored(backend: Backend, model: Any, seed: int) -> Iterator[None]:
    """Puts back the values of variables that are not trained, such as moving means, and the states of generators."""
    value, assign = backend.framework.value, backend.framework.assign
    saved = [(each, np.array(value(each))) for each in model.non_trainable_variables]
    states = random.getstate(), np.random.get_state()
    try:
        with backend.generators(seed):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for variable, array in saved:
            if value(variable).tobytes() != array.tobytes():
                assign(variable, array)


class _Watch:
    """Layers that tell of their calls."""

    def __init__(self, backend: Backend, layers: Mapping[int, Visit]) -> None:
        self.backend = backend
        self.layers = layers
        self.records: list[Record] = []
        self._before_activation: list[bool] = []  # for each call under way, whether its activation told of its input

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Has the layers tell of their calls while the context lasts."""
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        try:
            for visit in self.layers.values():
                own = vars(visit.layer)
                for name, wrapper in self._wrappers(visit).items():
                    replaced.append((own, name, own.get(name, _MISSING)))
                    own[name] = wrapper
            yield
        finally:
            for own, name, before in reversed(replaced):
                if before is _MISSING:
                    own.pop(name, None)
                else:
                    own[name] = before

    def _wrappers(self, visit: Visit) -> dict[str, Any]:
        layer = visit.layer
        wrappers: dict[str, Any] = {"call": self._telling_call(visit, layer.call)}
        activation = vars(layer).get("activation")
        is_function = callable(activation) and not isinstance(activation, self.backend.framework.layer_class)
        if is_function and self.backend.framework.own(layer) and getattr(activation, "__name__", "") != "linear":
            wrappers["activation"] = self._telling_activation(visit, activation)
        return wrappers

    def _telling_call(self, visit: Visit, call: Any) -> Any:
        layer = visit.layer

        @functools.wraps(call)
        def told(*args: Any, **kwargs: Any) -> Any:
            record = self._record(visit)
            given = _first_tensor(self.backend, [*args, kwargs])
            if given is not None and record.fan_in is not None:
                spied = self.backend.spy(given, record.note_input)
                args, kwargs = _replaced(args, given, spied), _replaced(kwargs, given, spied)
            self.records.append(record)
            self._before_activation.append(False)
            try:
                output = call(*args, **kwargs)
            finally:
                has_told = self._before_activation.pop()
            if has_told:
                record = self._record(visit, activation=layer.activation)
                self.records.append(record)
            return self._spied(output, record)

        return told

    def _telling_activation(self, visit: Visit, activation: Any) -> Any:
        @functools.wraps(activation)
        def told(x: Any, *args: Any, **kwargs: Any) -> Any:
            if self._before_activation and not self._before_activation[-1] and self.backend.is_tensor(x):
                self._before_activation[-1] = True
                x = self._spied(x, self.records[-1])
            return activation(x, *args, **kwargs)

        return told

    def _record(self, visit: Visit, activation: Any = None) -> Record:
        path, name = visit.path, type(visit.layer).__name__
        if activation is not None:
            path, name = f"{path}.activation" if path else "activation", getattr(activation, "__name__", "activation")
        return Record(
            path,
            name,
            1 + sum(each.path == path for each in self.records),
            ends=ends_of(visit.layer, activation),
            fan_in=None if activation is not None else fan_in_of(visit.layer),
            array=self.backend.array,
            owner=None if activation is not None else visit.layer,
        )

    def _spied(self, output: Any, record: Record) -> Any:
        tensor = _first_tensor(self.backend, output)
        if tensor is None:
            return output
        record.axis = units_axis(record.owner, len(tensor.shape), self._axes_of(record))
        return _replaced(output, tensor, self.backend.spy(tensor, record.note_output, record.note_gradient))

    def _axes_of(self, record: Record) -> int:
        """The axis of units of the layer before, which activations have, too."""
        place = next(number for number, each in enumerate(self.records) if each is record)
        return self.records[place - 1].axis if place else -1

    def rows(self, gradients: Mapping[int, Any], *, asked: bool) -> tuple[ProbedLayer, ...]:
        """The rows of the report."""
        variables = _own_variables(self.backend.framework, self.layers)
        known: dict[int, ProbedParameter] = {}
        rows: list[ProbedLayer] = []
        for record in self.records:
            parameters: dict[str, ProbedParameter] = {}
            for (key, name), variable in variables.items():
                if record.owner is not None and key == id(record.owner):
                    if id(variable) not in known:
                        known[id(variable)] = self._parameter(variable, gradients.get(id(variable)))
                    parameters[name] = known[id(variable)]
            kernel = "depthwise_kernel" if "depthwise_kernel" in parameters else "kernel"
            row = record.probed(parameters, kernel, asked=asked)
            if row is not None:
                rows.append(row)
        return tuple(rows)

    def unreached(self, gradients: Mapping[int, Any]) -> list[str]:
        """The paths of layers that did not run, and whose trainable variables have no gradient either."""
        ran = {id(record.owner) for record in self.records}
        owned: dict[int, list[Any]] = {}
        for (key, _), variable in _own_variables(self.backend.framework, self.layers).items():
            if key not in ran and variable.trainable:
                owned.setdefault(key, []).append(variable)
        return [
            self.layers[key].path
            for key, own in owned.items()
            if not any(self._is_reached(gradients.get(id(each))) for each in own)
        ]

    def _is_reached(self, gradient: Any) -> bool:
        """Whether a gradient is there, and not all zero, as JAX has those of what is not used."""
        return gradient is not None and bool(np.any(self.backend.array(gradient)))

    def _parameter(self, variable: Any, gradient: Any) -> ProbedParameter:
        values = measure(Values.of(self.backend.framework.value(variable)), rank=False)
        if gradient is None:
            return ProbedParameter(values)
        return ProbedParameter(values, measure(Values.of(self.backend.array(gradient)), rank=False))


_MISSING: Any = object()
