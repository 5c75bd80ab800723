"""`probe` for flax: what a batch does in each layer of a linen or nnx module."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from fanin._core.messages import shown, visible
from fanin._core.spies import spy_jax
from fanin._core.types import Globs, Shape
from fanin.jax.trees import is_array
from fanin.models.names import chosen_layers
from fanin.theory.batches import check_samples, not_finite
from fanin.theory.probes import Probe, ProbedLayer, ProbedParameter, unreached
from fanin.theory.records import FanIn, Record, normal_cotangent
from fanin.theory.signals import Values, measure, taps


def probe(
    model: Any,
    batch: Any,
    *,
    variables: Any = None,
    loss: Callable[..., Any] | None = None,
    target: Any = None,
    gradients: bool = True,
    seed: int = 0,
    layers: Globs | None = None,
) -> Probe:
    """Measures what a batch does in each layer of a flax module: signal and gradient by depth, and effective rank.

    The module runs once, and once back, outside of `jax.jit`. Neither it nor its variables change: an nnx module runs
    as a copy, with the states of generators that it has, and what a linen module would write to its collections is
    dropped.

    A layer is a module with parameters of its own, or without others in it, whose `__call__` runs. Functions such as
    `nn.relu` are not modules, and not seen. Layers in compiled loops (`nn.scan`) stand for several at once, and are
    left out, with a note.

    Args:
        model: a module of flax.linen or flax.nnx.
        batch: what it is called with: an array, a tuple of arguments, or a mapping of keyword arguments, which may
            have other things than arrays, such as `{"x": x, "train": True}`.
        variables: the variables of a linen module, as its `init` returns them.
        loss: a function that makes one number of the module's output, and of `target` if that is given. Without one,
            the gradient begins with independent standard normal numbers at the first output.
        target: the second argument of the loss.
        gradients: whether to measure gradients. They take the memory of a step of training.
        seed: the seed of the gradient's beginning, and of a linen module's generators, such as that of dropout.
        layers: globs of the paths of modules to watch. Without it, all layers are.

    Returns:
        A report, which prints as a table.

    Raises:
        ValueError: the batch has no samples, a linen module comes without variables, no layer ran, or `layers` matches
            none.
        TypeError: `model` is no module of flax.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    >>> import fanin, fanin.jax
    >>> from flax import nnx
    >>> model = nnx.Sequential(nnx.Linear(64, 256, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(256, 10, rngs=nnx.Rngs(1)))
    >>> batch = fanin.RandomNormal(stddev=1.0, seed=2)((128, 64))
    >>> [(each.path, each.layer, each.output.shape) for each in fanin.jax.probe(model, batch).layers]
    [('layers.0', 'Linear', (128, 256)), ('layers.2', 'Linear', (128, 10))]
    """
    args, kwargs = _arguments(batch)
    wrong = _checked(args, kwargs)
    watch = _Watch()
    weights, run = _runner(model, variables, watch, seed)

    def value_of(weights: Any, arrays: Any) -> Any:
        output = run(weights, *_with_arrays((args, kwargs), arrays))
        if not gradients:
            return ()
        if loss is not None:
            return loss(output) if target is None else loss(output, target)
        first = _first_array(output)
        if first is None:
            raise ValueError(
                "A gradient must be able to begin at the model's output. Received: an output of type "
                f"{type(output).__name__} without arrays of floats. Give a `loss`, or `gradients=False`."
            )
        return first

    arrays = [each for each in jax.tree.leaves((args, kwargs)) if _is_float(each)]
    found: Any = None
    if gradients:
        value, back = jax.vjp(value_of, weights, arrays)
        shape = tuple(value.shape)
        upstream = np.ones(shape, np.float32) if loss is not None else normal_cotangent(shape, seed)
        found, _ = back(jax.numpy.asarray(upstream, value.dtype))
    else:
        value_of(weights, arrays)
    jax.effects_barrier()
    rows, notes = watch.rows(_by_path(weights), _by_path(found), layers, asked=gradients)
    if not rows:
        raise ValueError(
            "A layer of the model must run and return an array of floats. Received: a batch for which none did. "
            "Choose others with `layers=`."
        )
    return Probe(rows, type(model).__name__, gradients, notes, wrong)


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (batch if type(batch) is tuple else (batch,)), {}


def _checked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What is wrong with the values of a batch; "" if nothing is. Raises an error if it has no samples."""
    given = [each for each in jax.tree.leaves((args, kwargs)) if is_array(each)]
    check_samples(tuple(each.shape) for each in given)
    return not_finite([Values.of(each) for each in given if _is_float(each)])


def _is_float(value: Any) -> bool:
    return is_array(value) and jax.numpy.issubdtype(value.dtype, np.floating)


def _with_arrays(tree: Any, arrays: Sequence[Any]) -> Any:
    """A tree with other arrays of floats in their places."""
    rest = iter(arrays)
    return jax.tree.map(lambda each: next(rest) if _is_float(each) else each, tree)


def _first_array(value: Any) -> Any:
    return next((each for each in jax.tree.leaves(value) if _is_float(each)), None)


def _by_path(tree: Any) -> dict[tuple[str, ...], Any]:
    """The arrays of a nested dict, by the keys that lead to them."""
    if not isinstance(tree, Mapping):
        return {} if tree is None else {(): tree}
    return {(str(key), *rest): array for key, inner in tree.items() for rest, array in _by_path(inner).items()}


# ---------------------------------------------------------------- linen and nnx

_Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def _runner(model: Any, variables: Any, watch: _Watch, seed: int) -> tuple[Any, _Run]:
    """The weights of a module as a tree, and a function that runs it with others."""
    from flax import linen, nnx

    if isinstance(model, linen.Module):
        if not isinstance(variables, Mapping) or "params" not in variables:
            raise ValueError(
                "A module of flax.linen must come with its variables. Received: "
                f"variables={shown(variables)[:80]}. Pass what its `init` returns: `probe(model, x, variables=…)`."
            )
        return _plain(variables["params"]), _linen_run(model, variables, watch, seed)
    if isinstance(model, nnx.Module):
        graph, parameters, rest = nnx.split(model, nnx.Param, ...)

        def run(weights: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            state = nnx.merge_state(_filled(parameters, weights), rest)
            copy = nnx.merge(graph, state, copy=True)
            with _telling(copy, watch):
                return copy(*args, **kwargs)

        return _values(parameters), run
    raise TypeError(
        "`model` must be a module of flax.linen or flax.nnx. Received: model of type "
        f"{visible(type(model).__name__)}. Modules of other libraries for JAX cannot tell what they return."
    )


def _plain(tree: Any) -> Any:
    """A tree of dicts of arrays, without boxes of metadata."""
    from flax.core import meta, unfreeze

    return unfreeze(meta.unbox(tree))


def _linen_run(model: Any, variables: Any, watch: _Watch, seed: int) -> _Run:
    from flax import linen

    key = jax.random.key(seed)
    rngs = {"params": key, "dropout": jax.random.fold_in(key, 1)}
    rest = {name: _plain(each) for name, each in variables.items() if name != "params"}

    def tell(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return method(*args, **kwargs)
        return watch.call(tuple(context.module.path), context.module, method, args, kwargs)

    def run(weights: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with linen.intercept_methods(tell):
            output = model.apply({"params": weights, **rest}, *args, rngs=rngs, mutable=list(rest), **kwargs)
        return output[0]

    return run


def _values(state: Any) -> Any:
    """The arrays of a state of nnx as nested dicts."""
    from flax import nnx

    nested: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(state):
        place = nested
        for each in path[:-1]:
            place = place.setdefault(str(each), {})
        place[str(path[-1])] = variable.get_value()
    return nested


def _filled(state: Any, weights: Any) -> Any:
    """A state of nnx with other arrays."""
    from flax import nnx

    found = _by_path(weights)
    flat = [(path, variable.replace(found[tuple(map(str, path))])) for path, variable in nnx.to_flat_state(state)]
    return nnx.from_flat_state(flat)


@contextlib.contextmanager
def _telling(model: Any, watch: _Watch) -> Iterator[None]:
    """Has the modules of an nnx module tell of their calls, through the `__call__` of their classes."""
    from flax import nnx

    paths: dict[int, tuple[str, ...]] = {}
    owners: set[type] = set()
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Module) and callable(node):
            paths.setdefault(id(node), tuple(map(str, path)))
            owners.add(next(cls for cls in type(node).__mro__ if "__call__" in vars(cls)))
    before = {cls: vars(cls)["__call__"] for cls in owners}
    try:
        for cls, method in before.items():
            cls.__call__ = _told(method, paths, watch)  # pyright: ignore[reportAttributeAccessIssue]
        yield
    finally:
        for cls, method in before.items():
            cls.__call__ = method  # pyright: ignore[reportAttributeAccessIssue]


def _told(method: Any, paths: Mapping[int, tuple[str, ...]], watch: _Watch) -> Any:
    under_way: list[int] = []

    @functools.wraps(method)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in paths or id(self) in under_way:  # a call of a base class's method by that of its own
            return method(self, *args, **kwargs)
        under_way.append(id(self))
        try:
            return watch.call(paths[id(self)], self, functools.partial(method, self), args, kwargs)
        finally:
            under_way.pop()

    return told


# ---------------------------------------------------------------- what is told


@dataclass
class _Watch:
    """The calls of modules."""

    records: list[tuple[tuple[str, ...], Record]] = field(default_factory=list)

    def call(self, path: tuple[str, ...], module: Any, method: Any, args: Any, kwargs: Any) -> Any:
        """Calls a module's method, with what it takes and returns told."""
        record = Record(
            ".".join(path),
            type(module).__name__,
            1 + sum(each == path for each, _ in self.records),
            fan_in=_fan_in(module),
        )
        if record.fan_in is not None and args and _is_float(args[0]):
            args = (spy_jax(args[0], record.note_input), *args[1:])
        output = method(*args, **kwargs)
        leaves, structure = jax.tree.flatten(output)
        place = next((number for number, each in enumerate(leaves) if _is_float(each)), None)
        if place is None:
            return output
        self.records.append((path, record))
        leaves[place] = spy_jax(leaves[place], record.note_output, record.note_gradient)
        return jax.tree.unflatten(structure, leaves)

    def rows(
        self, weights: Mapping[Any, Any], gradients: Mapping[Any, Any], layers: Globs | None, *, asked: bool
    ) -> tuple[tuple[ProbedLayer, ...], tuple[str, ...]]:
        """The rows of the report, and what is to be said besides."""
        own: dict[tuple[str, ...], dict[str, ProbedParameter]] = {}
        for keys, array in weights.items():
            gradient = gradients.get(keys)
            of_gradient = None if gradient is None else measure(Values.of(gradient), rank=False)
            parameter = ProbedParameter(measure(Values.of(array), rank=False), of_gradient)
            own.setdefault(keys[:-1], {})[keys[-1]] = parameter
        paths = {path for path, _ in self.records}
        above = {path[:end] for path in paths for end in range(len(path))}
        if layers is None:
            wanted = {path for path in paths if path in own or path not in above}
        else:
            chosen = chosen_layers(layers, [".".join(path) for path, _ in self.records])
            wanted = {path for path in paths if ".".join(path) in chosen}
        kept = [(path, record) for path, record in self.records if path in wanted]
        found = [record.probed(own.get(path, {}), asked=asked) for path, record in kept]
        looped = dict.fromkeys(record.path for _, record in kept if record.is_looped)
        notes = tuple(f"{path} is left out: it runs within a compiled loop, several times at once" for path in looped)
        asleep = [
            ".".join(path)
            for path, parameters in own.items()
            if asked and layers is None and path not in paths | above and _is_unused(parameters.values())
        ]
        return tuple(each for each in found if each is not None), (*notes, *unreached(asleep))


def _is_unused(parameters: Iterable[ProbedParameter]) -> bool:
    """Whether parameters are in no computation: the gradients of what is not used are zeros."""
    gradients = [each.gradient for each in parameters if each.gradient is not None]
    return bool(gradients) and not any(each.second_moment for each in gradients)


def _fan_in(module: Any) -> FanIn | None:
    """The fan-in of a module as a function of the shapes of its inputs and outputs; None if theory has none for it."""
    names = {cls.__name__ for cls in type(module).__mro__ if cls.__module__.partition(".")[0] == "flax"}
    if names & {"Dense", "Linear"}:
        return lambda inputs, outputs: inputs[-1]
    if (
        names & {"DenseGeneral", "LinearGeneral"}
        and not getattr(module, "batch_dims", ())
        and not getattr(module, "batch_axis", ())
    ):
        axes = module.axis if isinstance(module.axis, Sequence) else (module.axis,)
        return lambda inputs, outputs: math.prod(inputs[axis] for axis in axes)
    if "Conv" in names and "ConvTranspose" not in names:
        return functools.partial(_fan_in_of_convolution, module)
    return None


def _fan_in_of_convolution(module: Any, inputs: Shape, outputs: Shape) -> float | None:
    sizes = [module.kernel_size] if isinstance(module.kernel_size, int) else list(module.kernel_size)
    count = len(sizes)
    if any(each != 1 for each in _each(module.input_dilation, count)) or len(inputs) < count + 1:
        return None
    strides, dilations = _each(module.strides, count), _each(module.kernel_dilation, count)
    fan_in = inputs[-1] / module.feature_group_count
    for dim, size in enumerate(sizes):
        length, positions = inputs[dim - count - 1], outputs[dim - count - 1]
        reach = dilations[dim] * (size - 1)
        before = _padding(module.padding, dim, reach, max((positions - 1) * strides[dim] + reach + 1 - length, 0))
        inside = (
            size if before is None else taps(positions, length, size, strides[dim], before, dilations[dim]) / positions
        )
        fan_in *= inside
    return fan_in


def _each(value: Any, count: int) -> list[int]:
    return [1] * count if value is None else [value] * count if isinstance(value, int) else list(value)


def _padding(padding: Any, dim: int, reach: int, total: int) -> int | None:
    """The zeros before an axis; None if the padding has other values."""
    if padding in ("CIRCULAR", "REFLECT"):
        return None
    if isinstance(padding, str):
        return {"SAME": total // 2, "CAUSAL": reach}.get(padding, 0)
    each = padding if isinstance(padding, int) else padding[dim]
    return each if isinstance(each, int) else each[0]
