"""JAX trees as data, and rebuilt with new arrays: flax.nnx and equinox modules, flax.linen variables, any tree."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from fanin._core import dtypes
from fanin._core.streams import derived_seed
from fanin._core.types import Shape
from fanin.jax.annotations import Annotation, annotation_of_box, annotation_of_variable, not_annotated
from fanin.jax.haiku import haiku_traits, is_haiku
from fanin.jax.layers import LAYERS, Layer, cell_of_names, cell_traits, equinox_traits, flax_by_name, flax_traits
from fanin.jax.norms import equinox_norm, is_own_norm, is_scale, is_shifted_nnx, nnx_norm, scale_traits
from fanin.models.names import stripped
from fanin.models.parameters import Model, Parameter
from fanin.models.registry import no_model
from fanin.models.traits import UNKNOWN, Traits, norm


@dataclass
class Leaf:
    """One array of a tree."""

    path: str
    value: Any
    parameter: Parameter | None
    make: Callable[[int, str], Any] | None = None  # makes a random state from the recipe's seed and a path
    annotation: Annotation = not_annotated  # the sharding that flax's metadata have for it
    owner: Any = None  # the module of equinox that has it


class Tree:
    """The arrays of a tree, which can be rebuilt with others."""

    model: str = "a tree"

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self._counts: Counter[str] = Counter()

    def rebuilt(self, values: list[Any]) -> Any:
        """The tree with these values as its leaves."""
        raise NotImplementedError

    def stored(self, values: list[Any]) -> Any:
        """The tree of arrays that a checkpoint has of the tree with these values as its leaves."""
        return self.rebuilt(values)

    def add(self, leaf: Leaf) -> None:
        """Adds a leaf. A path that is already taken gets a number."""
        leaf.path = _numbered(self._counts, leaf.path)
        if leaf.parameter is not None:
            leaf.parameter = replace(leaf.parameter, path=leaf.path)
        self.leaves.append(leaf)

    def paths_of(self, other: Any, is_leaf: Callable[[Any], bool]) -> dict[str, Any]:
        """The leaves of another tree of the same structure, such as one of shardings, by this tree's paths."""
        counts: Counter[str] = Counter()
        found, _ = jax.tree_util.tree_flatten_with_path(other, is_leaf)
        return {_numbered(counts, ".".join(_components(other, keys))): each for keys, each in found}

    def description(self) -> Model:
        """The description of the tree, for a plan."""
        parameters = tuple(leaf.parameter for leaf in self.leaves if leaf.parameter is not None)
        others = [leaf for leaf in self.leaves if leaf.parameter is None and leaf.make is None and is_array(leaf.value)]
        left = {leaf.path: f"an array of {leaf.value.dtype}" for leaf in others}
        return Model(parameters, self.model, left=left)


def _numbered(counts: Counter[str], path: str) -> str:
    """A path, with a number if it has occurred before."""
    counts[path] += 1
    return path if counts[path] == 1 else f"{path}#{counts[path]}"


def is_array(value: Any) -> bool:
    """Whether this is an array, or the shape of one."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_key(value: Any) -> bool:
    return is_array(value) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def _is_drawn(value: Any) -> bool:
    """Whether recipes apply to an array: they apply to floats and complex numbers."""
    return is_array(value) and not _is_key(value) and jax.numpy.issubdtype(value.dtype, np.inexact)


def _parameter(path: str, value: Any, layer: Layer, within: tuple[str, ...], traits: Traits) -> Parameter:
    bases = (layer.known,) if layer.known not in ("", layer.type) else ()
    return Parameter(path, tuple(value.shape), dtypes.resolve(value.dtype), layer.type, bases, within, traits)


class NnxTree(Tree):
    """A module of flax.nnx."""

    nnx: Any
    model: str
    graph: Any
    state: Any

    def __init__(self, module: Any) -> None:
        super().__init__()
        from flax import nnx

        self.nnx, self.model = nnx, type(module).__name__
        self.graph, self.state = nnx.split(module)
        modules = {tuple(map(str, path)): node for path, node in nnx.iter_graph(module) if isinstance(node, nnx.Module)}
        for path, variable in self.nnx.to_flat_state(self.state):
            self.add(self._leaf(tuple(map(str, path)), variable, modules))

    def _leaf(self, path: tuple[str, ...], variable: Any, modules: Mapping[tuple[str, ...], Any]) -> Leaf:
        nnx, dotted = self.nnx, ".".join(path)
        if not isinstance(variable, nnx.Variable):
            return Leaf(dotted, variable, None)
        value = variable.get_value()
        if (make := _random_state(variable)) is not None:
            return Leaf(dotted, value, None, make, annotation_of_variable(variable))
        if not _is_drawn_variable(variable):
            return Leaf(dotted, value, None)
        annotation = annotation_of_variable(variable)
        owner, parent = modules.get(path[:-1]), modules.get(path[:-2]) if path[:-1] else None
        layer = _nnx_layer(owner)
        within = tuple(type(modules[path[:end]]).__name__ for end in range(len(path) - 1) if path[:end] in modules)
        if is_scale(path[-1]) and is_own_norm(owner, "flax"):
            traits = scale_traits(nnx_norm(owner, path[-1]), path[-1])
            return Leaf(dotted, value, _parameter(dotted, value, layer, within, traits), annotation=annotation)
        traits = flax_traits(layer, path[-1], tuple(value.shape))
        if parent is not None:
            traits = cell_traits(type(parent).__name__, path[-2], path[-1], ".".join(path[:-2]), traits)
        if traits == UNKNOWN and (owner is None or not type(owner).__module__.startswith("flax.")):
            traits = flax_by_name(path[-1], tuple(value.shape))
            if owner is not None and traits.role == "scale" and is_shifted_nnx(owner, path[-1]):
                traits = UNKNOWN
        return Leaf(dotted, value, _parameter(dotted, value, layer, within, traits), annotation=annotation)

    def rebuilt(self, values: list[Any]) -> Any:
        return self.nnx.merge(self.graph, self.stored(values))

    def stored(self, values: list[Any]) -> Any:
        state = {
            path: variable.replace(value) if isinstance(variable, self.nnx.Variable) else value
            for (path, variable), value in zip(self.nnx.to_flat_state(self.state), values, strict=True)
        }
        return self.nnx.from_flat_state(state)


def _random_state(variable: Any) -> Callable[[int, str], Any] | None:
    """What makes the random state that a variable of flax.nnx holds, from a seed and a path; None for other values."""
    from flax import nnx

    value = variable.get_value()
    if isinstance(variable, nnx.RngKey) and _is_key(value):
        return lambda seed, path: _key(seed, path, value)
    if isinstance(variable, nnx.RngCount):
        return lambda *_: jax.numpy.zeros(value.shape, value.dtype)
    return None


def _is_drawn_variable(variable: Any) -> bool:
    """Whether recipes apply to a variable of flax.nnx: not to caches, and not to the states of optimizers."""
    from flax import nnx

    return isinstance(variable, (nnx.Param, nnx.BatchStat)) and _is_drawn(variable.get_value())


def flax_layer(layer: Any, package: str) -> Layer:
    """A flax layer as data: its class, the class or base class that the table has, and its settings."""
    if layer is None:
        return Layer()
    names = [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith(package)]
    known = next((name for name in names if name in LAYERS or "Norm" in name), "")
    return Layer(
        type(layer).__name__,
        known,
        groups=getattr(layer, "feature_group_count", 1),
        transposed=getattr(layer, "transpose_kernel", False),
        equation=getattr(layer, "einsum_str", "") or "",
    )


def _nnx_layer(module: Any) -> Layer:
    """An nnx layer as data, with the shapes that its attributes give."""
    layer = flax_layer(module, "flax.nnx")
    weight = getattr(module, "kernel", None)
    layer = replace(layer, kernel_shape=None if weight is None else tuple(weight.shape))
    ins, outs = (as_tuple(getattr(module, f"{each}_features", ())) for each in ("in", "out"))
    if hasattr(module, "batch_axis") and ins and outs:
        batch = dict(module.batch_axis or {})
        return replace(layer, batch=len(batch), ins=len(ins), single=(*batch.values(), *ins, *outs))
    if ins and outs:
        return replace(layer, single=single_shape(module, ins, outs))
    if hasattr(module, "num_embeddings"):
        return replace(layer, single=(module.num_embeddings, module.features))
    if getattr(module, "kernel_shape", None) is not None:  # an einsum's
        return replace(layer, single=tuple(module.kernel_shape))
    return layer


def single_shape(layer: Any, ins: Shape, outs: Shape) -> Shape:
    """The shape of a single layer's kernel, dense or with a window."""
    window = as_tuple(getattr(layer, "kernel_size", None) or ())
    if not window:
        return (*ins, *outs)
    if getattr(layer, "transpose_kernel", False):
        return (*window, *outs, *ins)
    return (*window, ins[0] // getattr(layer, "feature_group_count", 1), *outs)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A sequence as a tuple, anything else as a tuple of one."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _key(seed: int, path: str, like: Any) -> Any:
    """A JAX key that depends only on the recipe's seed and the key's path."""
    kinds: list[Any] = []
    jax.eval_shape(lambda keys: kinds.append(jax.random.key_impl(keys)), like)  # works for shapes, too
    key = jax.random.key(derived_seed(seed, path) & 0xFFFFFFFF, impl=kinds[0])
    return key if not like.shape else jax.random.split(key, like.shape)


class PytreeTree(Tree):
    """Any other tree: an equinox module, flax.linen variables, or dicts and lists."""

    equinox: Any
    tree: Any
    layers: Mapping[str, Layer]
    of_haiku: bool
    model: str
    structure: Any

    def __init__(self, tree: Any, layers: Mapping[str, Layer] | None) -> None:
        super().__init__()
        self.equinox = sys.modules.get("equinox")
        self.tree, self.layers = tree, layers or {}
        self.of_haiku = not self.layers and is_haiku(tree)
        if self._is_equinox(tree):
            self.model = type(tree).__name__
        found, self.structure = jax.tree_util.tree_flatten_with_path(tree)
        paths = [_components(tree, keys) for keys, _ in found]
        self.siblings: dict[tuple[str, ...], set[str]] = {}
        for path in paths:
            for end in range(len(path)):
                self.siblings.setdefault(path[:end], set()).add(path[end])
        for (keys, value), path in zip(found, paths, strict=True):
            self.add(self._leaf(keys, path, value))

    def _is_equinox(self, node: Any) -> bool:
        return self.equinox is not None and isinstance(node, self.equinox.Module)

    def _leaf(self, keys: tuple[Any, ...], path: tuple[str, ...], value: Any) -> Leaf:
        dotted, nodes = ".".join(path), _nodes(self.tree, keys)
        variable = nodes[-1] if self._is_variable(nodes[-1]) else None  # in a state of flax.nnx
        if variable is not None and (make := _random_state(variable)) is not None:
            return Leaf(dotted, value, None, make, annotation_of_variable(variable))
        if variable is not None and not _is_drawn_variable(variable):
            return Leaf(dotted, value, None)
        if not _is_drawn(value) or any(type(node).__module__.partition(".")[0] == "optax" for node in nodes):
            return Leaf(dotted, value, None)  # optimizers keep moments under the names of parameters
        shape = tuple(value.shape)
        owners = [node for node in nodes if self._is_equinox(node)]
        if owners:
            layer, within, traits = self._of_equinox(owners, path[-1], shape)
        elif self.of_haiku and (known := haiku_traits(_name(keys[0]), path[-1], self.tree[keys[0].key])) is not None:
            layer, within, traits = Layer(), (), known
        else:
            layer, within, traits = self._of_flax(path, shape)
        annotation = annotation_of_box(nodes[-1]) if _is_box(nodes[-1], keys) else not_annotated
        annotation = annotation if variable is None else annotation_of_variable(variable)
        parameter = _parameter(dotted, value, layer, within, traits)
        return Leaf(dotted, value, parameter, annotation=annotation, owner=owners[-1] if owners else None)

    def _is_variable(self, node: Any) -> bool:
        nnx = sys.modules.get("flax.nnx")
        return nnx is not None and isinstance(node, nnx.Variable)

    def _of_equinox(self, owners: list[Any], leaf: str, shape: Shape) -> tuple[Layer, tuple[str, ...], Traits]:
        names = [cls.__name__ for cls in type(owners[-1]).__mro__ if cls.__module__.startswith("equinox.nn")]
        if is_scale(leaf) and is_own_norm(owners[-1], "equinox"):
            traits = scale_traits(equinox_norm(owners[-1], leaf), leaf)
        else:
            traits = equinox_traits(owners[-1], names[0], leaf, shape) if names else UNKNOWN
        layer = Layer(type(owners[-1]).__name__, known=names[0] if names else "")
        return layer, tuple(type(each).__name__ for each in owners[:-1]), traits

    def _of_flax(self, path: tuple[str, ...], shape: Shape) -> tuple[Layer, tuple[str, ...], Traits]:
        owner, leaf = ".".join(path[:-1]), path[-1]
        layer = self.layers.get(owner)
        above = [self.layers.get(".".join(path[:end])) for end in range(len(path) - 1)]
        within = tuple(each.type for each in above if each is not None)
        if layer is None:
            traits = self._by_names(path, shape)
        elif layer.scales is not None and is_scale(leaf):
            traits = norm(leaf) or UNKNOWN if leaf in layer.scales else UNKNOWN
        elif (traits := flax_traits(layer, leaf, shape)) == UNKNOWN:
            traits = flax_by_name(leaf, shape)
        if len(path) > 2:
            cell = above[-1].type if above[-1] is not None else cell_of_names(self.siblings[path[:-2]])
            # flax.linen's OptimizedLSTMCell has separate gates, too.
            cell = {"OptimizedLSTMCell": "LSTMCell"}.get(cell, cell)
            traits = cell_traits(cell, path[-2], leaf, ".".join(path[:-2]), traits)
        return layer or Layer(), within, traits

    def _by_names(self, path: tuple[str, ...], shape: Shape) -> Traits:
        """The traits that flax's names imply, for unknown layers."""
        leaf, name = path[-1], path[-2] if len(path) > 1 else ""
        beside = self.siblings.get(path[:-1], set())
        if beside & {"scale", "mean"} and "kernel" not in beside:
            return norm(leaf) or UNKNOWN
        if leaf == "kernel" and len(shape) == 3:
            attention = {"query", "key", "value", "out"} <= self.siblings.get(path[:-2], set())
            if not attention:  # a convolution over one axis, or a dense layer over several
                return Traits("kernel")
            return flax_traits(Layer(known="DenseGeneral", ins=2 if name == "out" else 1), leaf, shape)
        return flax_by_name(leaf, shape)

    def rebuilt(self, values: list[Any]) -> Any:
        return jax.tree_util.tree_unflatten(self.structure, values)


def _components(tree: Any, keys: tuple[Any, ...]) -> tuple[str, ...]:
    """The components of a leaf's path, without flax's boxes and collections."""
    names = [_name(key) for key in keys]
    if keys and _is_box(_nodes(tree, keys)[-1], keys):
        names.pop()
    if len(names) > 1 and isinstance(tree, Mapping) and "params" in tree:
        names = names[1:]  # the collection
    return tuple(stripped(name) for name in names) if names else ("array",)


def _is_box(node: Any, keys: tuple[Any, ...]) -> bool:
    """Whether the node around a leaf is a box of flax, which holds an array and its metadata, such as axis names."""
    boxed = keys and isinstance(keys[-1], jax.tree_util.GetAttrKey) and keys[-1].name == "value"
    return bool(boxed) and type(node).__module__.startswith("flax.")


def _nodes(tree: Any, keys: tuple[Any, ...]) -> list[Any]:
    """The nodes around a leaf, the outermost first."""
    nodes = [tree]
    for key in keys[:-1]:
        nodes.append(_child(nodes[-1], key))
    return nodes


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def _child(node: Any, key: Any) -> Any:
    if isinstance(key, jax.tree_util.GetAttrKey):
        return getattr(node, key.name)
    try:
        return node[getattr(key, "key", getattr(key, "idx", None))]
    except (KeyError, IndexError, TypeError):
        return None


def tree_of(tree: Any, layers: Mapping[str, Layer] | None = None) -> Tree:
    """The arrays of a module or tree, or of the variables and layers that `layers_of` returns.

    Raises:
        TypeError: it has no arrays, has tensors of PyTorch, or is a tuple of a model and of something else.
    """
    if layers is None and _is_pair(tree):
        tree, layers = tree
    elif type(tree) is tuple:
        _refuse_others(tree)
    torch, flax = sys.modules.get("torch"), sys.modules.get("flax.nnx")
    if torch is not None and any(isinstance(leaf, torch.Tensor) for leaf in jax.tree_util.tree_leaves(tree)):
        raise no_model(tree)
    of_nnx = flax is not None and isinstance(tree, (flax.Module, flax.Pytree))
    held = NnxTree(tree) if of_nnx else PytreeTree(tree, layers)
    if not any(is_array(leaf.value) for leaf in held.leaves):
        raise no_model(tree)
    return held


def _is_pair(tree: Any) -> bool:
    """Whether this is what `layers_of` returns: variables, and their layers by path."""
    if type(tree) is not tuple or len(tree) != 2 or not isinstance(tree[1], Mapping) or not tree[1]:
        return False
    return all(isinstance(each, Layer) for each in tree[1].values())


def _refuse_others(several: tuple[Any, ...]) -> None:
    """Raises if something in a tuple is no tree of arrays, such as a configuration beside a model.

    A part of a tuple is named `0.…`, so a model would be drawn under other names than by itself.
    """
    for number, each in enumerate(several):
        leaves = jax.tree_util.tree_leaves(each)
        if leaves and not any(map(is_array, leaves)) and not all(isinstance(leaf, (int, float)) for leaf in leaves):
            raise TypeError(
                "A tuple must have only trees of arrays, or be the pair of variables and layers that "
                f"fanin.jax.layers_of returns. Received: one of type {type(each).__name__} at position {number}. "
                "Return the model alone."
            )


def describe(tree: Any, layers: Mapping[str, Layer] | None = None) -> Model:
    """The description of a tree's arrays."""
    return tree_of(tree, layers).description()


def values_of(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their paths, without keys of random numbers."""
    leaves = tree_of(tree).leaves
    return {leaf.path: leaf.value for leaf in leaves if is_array(leaf.value) and not _is_key(leaf.value)}
