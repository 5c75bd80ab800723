"""Trees of JAX described as parameters, and made: flax.nnx and equinox modules, variables of flax.linen, any tree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from fanin import _dtypes
from fanin._arrays import allocate
from fanin._models import no_model, role_of_name
from fanin._models.jax_layers import LAYERS, cell_of_names, equinox_layer, flax_cell, flax_layer
from fanin._models.report import Execution, Report, chosen
from fanin._parameters import Parameter, stripped
from fanin._tensors import to_jax, to_sharded_jax
from fanin.plans import Entry, Found, PlanError


@dataclass(frozen=True)
class Layer:
    """What is known of a layer of flax.

    Attributes:
        type: its class.
        info: the attributes that say what its arrays are.
        known: the class of flax's that it is, or is derived from.
    """

    type: str
    info: Mapping[str, Any] = field(default_factory=dict)
    known: str = ""


@dataclass
class Leaf:
    """One array of a tree."""

    path: str
    value: Any
    parameter: Parameter | None
    make: Callable[[int], Any] | None = None  # for random states: from the recipe's seed


class Tree:
    """The arrays of a tree, and how it is put together again."""

    model = "a tree"

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []

    def rebuilt(self, values: list[Any]) -> Any:
        """The tree with these values in the place of its leaves."""
        raise NotImplementedError

    def add(self, leaf: Leaf) -> None:
        """Takes a leaf in; a path that is there already gets a number."""
        count = sum(each.path.partition("#")[0] == leaf.path for each in self.leaves)
        if count:
            leaf.path = f"{leaf.path}#{count + 1}"
            leaf.parameter = None if leaf.parameter is None else replace(leaf.parameter, path=leaf.path)
        self.leaves.append(leaf)

    def found(self) -> Found:
        """The description for a plan."""
        parameters = tuple(leaf.parameter for leaf in self.leaves if leaf.parameter is not None)
        others = [
            leaf for leaf in self.leaves if leaf.parameter is None and leaf.make is None and _is_array(leaf.value)
        ]
        left = {leaf.path: f"an array of {leaf.value.dtype}" for leaf in others}
        return Found(parameters, self.model, left=left)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_key(value: Any) -> bool:
    return _is_array(value) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def _is_drawn(value: Any) -> bool:
    """Whether a recipe is about an array: about floats, and about integers that could be a table's."""
    return _is_array(value) and not _is_key(value) and jax.numpy.issubdtype(value.dtype, np.inexact)


def _parameter(path: str, value: Any, layer: Layer, within: tuple[str, ...], what: dict[str, Any]) -> Parameter:
    dtype = _dtypes.resolve(value.dtype)
    kinds = (layer.known,) if layer.known not in ("", layer.type) else ()
    return Parameter(path, tuple(value.shape), dtype, layer.type, within, kinds=kinds, **what)


class NnxTree(Tree):
    """A module of flax.nnx."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        from flax import nnx

        self.nnx, self.model = nnx, type(module).__name__
        self.graph, self.state = nnx.split(module)
        modules = {tuple(map(str, path)): node for path, node in nnx.iter_graph(module) if isinstance(node, nnx.Module)}
        for path, variable in self.state.flat_state():
            self.add(self._leaf(tuple(map(str, path)), variable, modules))

    def _leaf(self, path: tuple[str, ...], variable: Any, modules: Mapping[tuple[str, ...], Any]) -> Leaf:
        nnx, dotted = self.nnx, ".".join(path)
        if not isinstance(variable, nnx.Variable):
            return Leaf(dotted, variable, None)
        value = variable.get_value()
        if isinstance(variable, nnx.RngKey) and _is_key(value):
            return Leaf(dotted, value, None, lambda seed: _key(seed, dotted, value))
        if isinstance(variable, nnx.RngCount):
            return Leaf(dotted, value, None, lambda _: jax.numpy.zeros(value.shape, value.dtype))
        if not isinstance(variable, (nnx.Param, nnx.BatchStat)) or not _is_drawn(value):
            return Leaf(dotted, value, None)
        owner, parent = modules.get(path[:-1]), modules.get(path[:-2]) if path[:-1] else None
        layer = _flax_class(owner, "flax.nnx")
        what = flax_layer(layer.known, _nnx_info(owner), path[-1], tuple(value.shape))
        if parent is not None:
            what = flax_cell(type(parent).__name__, path[-2], path[-1], ".".join(path[:-2]), what)
        within = tuple(type(modules[path[:end]]).__name__ for end in range(len(path) - 1) if path[:end] in modules)
        if owner is None or not type(owner).__module__.startswith("flax."):
            what = what or _by_name(path[-1], tuple(value.shape))
        return Leaf(dotted, value, _parameter(dotted, value, layer, within, what))

    def rebuilt(self, values: list[Any]) -> Any:
        state = {
            path: variable.replace(value) if isinstance(variable, self.nnx.Variable) else value
            for (path, variable), value in zip(self.state.flat_state(), values, strict=True)
        }
        return self.nnx.merge(self.graph, self.nnx.State.from_flat_path(state))


def _flax_class(layer: Any, package: str) -> Layer:
    """A layer's class, and the class that the table has, which may be one that it is derived from."""
    if layer is None:
        return Layer("")
    names = [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith(package)]
    known = next((name for name in names if name in LAYERS or "Norm" in name), "")
    return Layer(type(layer).__name__, known=known)


def _nnx_info(module: Any) -> dict[str, Any]:
    weight = getattr(module, "kernel", None)
    info: dict[str, Any] = {"kernel_shape": None if weight is None else tuple(weight.shape)}
    ins, outs = (_tuple(getattr(module, f"{each}_features", ())) for each in ("in", "out"))
    if hasattr(module, "batch_axis") and ins and outs:
        batch = dict(module.batch_axis or {})
        info |= {"batch": len(batch), "ins": len(ins), "outs": len(outs), "single": (*batch.values(), *ins, *outs)}
    elif ins and outs:
        info["single"] = _single(module, ins, outs)
    elif hasattr(module, "num_embeddings"):
        info["single"] = (module.num_embeddings, module.features)
    elif getattr(module, "kernel_shape", None) is not None:  # an einsum's
        info["single"] = tuple(module.kernel_shape)
    return info | _info(module)


def _single(layer: Any, ins: tuple[int, ...], outs: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one layer's kernel: a dense one, or one with a window."""
    window = _tuple(getattr(layer, "kernel_size", None) or ())
    if not window:
        return (*ins, *outs)
    if getattr(layer, "transpose_kernel", False):
        return (*window, *outs, *ins)
    return (*window, ins[0] // getattr(layer, "feature_group_count", 1), *outs)


def _info(layer: Any) -> dict[str, Any]:
    """What linen and nnx call the same."""
    return {
        "groups": getattr(layer, "feature_group_count", 1),
        "transposed": getattr(layer, "transpose_kernel", False),
        "equation": getattr(layer, "einsum_str", "") or "",
    }


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _key(seed: int, path: str, like: Any) -> Any:
    """A key of JAX that depends on the recipe's seed and the key's path alone."""
    from fanin.initializers import RandomNormal

    spawned = RandomNormal(seed=seed).spawn(path)._seed or 0
    kinds: list[Any] = []
    jax.eval_shape(lambda keys: kinds.append(jax.random.key_impl(keys)), like)  # of shapes, too
    key = jax.random.key(spawned & 0xFFFFFFFF, impl=kinds[0])
    return key if not like.shape else jax.random.split(key, like.shape)


class PytreeTree(Tree):
    """Any other tree: of equinox, of flax.linen, or of dicts and lists."""

    def __init__(self, tree: Any, layers: Mapping[str, Layer] | None) -> None:
        super().__init__()
        self.equinox = sys.modules.get("equinox")
        self.tree, self.layers = tree, layers or {}
        if self._is_equinox(tree):
            self.model = type(tree).__name__
        found, self.structure = jax.tree_util.tree_flatten_with_path(tree)
        paths = [self._components(path) for path, _ in found]
        self.siblings: dict[tuple[str, ...], set[str]] = {}
        for path in paths:
            for end in range(len(path)):
                self.siblings.setdefault(path[:end], set()).add(path[end])
        for (keys, value), path in zip(found, paths, strict=True):
            self.add(self._leaf(keys, path, value))

    def _is_equinox(self, node: Any) -> bool:
        return self.equinox is not None and isinstance(node, self.equinox.Module)

    def _components(self, keys: tuple[Any, ...]) -> tuple[str, ...]:
        names = [_name(key) for key in keys]
        boxed = keys and isinstance(keys[-1], jax.tree_util.GetAttrKey) and names[-1] == "value"
        if boxed and type(self._nodes(keys)[-1]).__module__.startswith("flax."):
            names.pop()  # of what flax keeps beside an array, such as its axes' names
        if len(names) > 1 and isinstance(self.tree, Mapping) and "params" in self.tree:
            names = names[1:]  # the collection
        return tuple(stripped(name) for name in names) if names else ("array",)

    def _nodes(self, keys: tuple[Any, ...]) -> list[Any]:
        """What is around a leaf, the outermost first."""
        nodes = [self.tree]
        for key in keys[:-1]:
            nodes.append(_child(nodes[-1], key))
        return nodes

    def _leaf(self, keys: tuple[Any, ...], path: tuple[str, ...], value: Any) -> Leaf:
        dotted, nodes = ".".join(path), self._nodes(keys)
        if not _is_drawn(value) or any(type(node).__module__.partition(".")[0] == "optax" for node in nodes):
            return Leaf(dotted, value, None)  # optimizers keep moments under the names of parameters
        shape = tuple(value.shape)
        owners = [node for node in nodes if self._is_equinox(node)]
        if owners:
            layer, within, what = self._of_equinox(owners, path[-1], shape)
        else:
            layer, within, what = self._of_flax(path, shape)
        return Leaf(dotted, value, _parameter(dotted, value, layer, within, what))

    def _of_equinox(
        self, owners: list[Any], leaf: str, shape: tuple[int, ...]
    ) -> tuple[Layer, tuple[str, ...], dict[str, Any]]:
        names = [cls.__name__ for cls in type(owners[-1]).__mro__ if cls.__module__.startswith("equinox.nn")]
        what = equinox_layer(owners[-1], names[0], leaf, shape) if names else {}
        layer = Layer(type(owners[-1]).__name__, known=names[0] if names else "")
        return layer, tuple(type(each).__name__ for each in owners[:-1]), what

    def _of_flax(self, path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[Layer, tuple[str, ...], dict[str, Any]]:
        owner, leaf = ".".join(path[:-1]), path[-1]
        layer = self.layers.get(owner)
        above = [self.layers.get(".".join(path[:end])) for end in range(len(path) - 1)]
        within = tuple(each.type for each in above if each is not None)
        if layer is not None:
            what = flax_layer(layer.known, layer.info, leaf, shape) or _by_name(leaf, shape)
        else:
            what = self._by_names(path, shape)
        if len(path) > 2:
            cell = above[-1].type if above[-1] is not None else cell_of_names(self.siblings[path[:-2]])
            # What flax.linen calls OptimizedLSTMCell keeps its gates apart, too.
            cell = {"OptimizedLSTMCell": "LSTMCell"}.get(cell, cell)
            what = flax_cell(cell, path[-2], leaf, ".".join(path[:-2]), what)
        return layer or Layer(""), within, what

    def _by_names(self, path: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, Any]:
        """Where nobody has said which layers there are, what flax's names say by themselves."""
        leaf, name = path[-1], path[-2] if len(path) > 1 else ""
        beside = self.siblings.get(path[:-1], set())
        if beside & {"scale", "mean"} and "kernel" not in beside:
            return flax_layer("Norm", {}, leaf, shape)
        if leaf == "kernel" and len(shape) == 3:
            attention = {"query", "key", "value", "out"} <= self.siblings.get(path[:-2], set())
            if not attention:  # a convolution over one axis, or a dense layer of several
                return {"role": "kernel"}
            axes = {"batch": 0, "ins": 2, "outs": 1} if name == "out" else {"batch": 0, "ins": 1, "outs": 2}
            return flax_layer("DenseGeneral", axes, leaf, shape)
        return _by_name(leaf, shape)

    def rebuilt(self, values: list[Any]) -> Any:
        return jax.tree_util.tree_unflatten(self.structure, values)


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def _child(node: Any, key: Any) -> Any:
    if isinstance(key, jax.tree_util.GetAttrKey):
        return getattr(node, key.name)
    try:
        return node[getattr(key, "key", getattr(key, "idx", None))]
    except (KeyError, IndexError, TypeError):
        return None


def _by_name(leaf: str, shape: tuple[int, ...]) -> dict[str, Any]:
    role = role_of_name(leaf, shape)
    role = {"var": "variance"}.get(leaf, role)
    if role in ("kernel", "embedding") and len(shape) > 1:
        layer = "Embed" if role == "embedding" else "Dense" if len(shape) == 2 else "Conv"
        return flax_layer(layer, {}, leaf, shape) or {"role": role}
    return {"role": role} if role != "other" else {}


def tree_of(tree: Any, layers: Mapping[str, Layer] | None = None) -> Tree:
    """The arrays of a module or tree.

    Raises:
        TypeError: there are none.
    """
    flax = sys.modules.get("flax.nnx")
    of_nnx = flax is not None and isinstance(tree, (flax.Module, flax.Pytree))
    found = NnxTree(tree) if of_nnx else PytreeTree(tree, layers)
    if not any(_is_array(leaf.value) for leaf in found.leaves):
        raise no_model(tree)
    return found


def describe(tree: Any, layers: Mapping[str, Layer] | None = None) -> Found:
    """A tree's arrays."""
    return tree_of(tree, layers).found()


def layers_of(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Layer]]:
    """The abstract variables of a flax.linen module, and its layers by their paths."""
    from flax import linen

    found: dict[str, Layer] = {}

    def note(method: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        layer = context.module
        path = ".".join(layer.path)
        if path not in found:
            known = _flax_class(layer, "flax.linen")
            found[path] = replace(known, info=_linen_info(layer, known.known, arguments))
        return method(*arguments, **keywords)

    traced = [number for number, each in enumerate(args) if _is_array(each) or isinstance(each, (list, tuple, dict))]

    def init(*arrays: Any) -> Any:
        given = list(args)
        for number, each in zip(traced, arrays, strict=True):
            given[number] = each
        return module.init(jax.random.key(0), *given, **kwargs)

    with linen.intercept_methods(note):
        variables = jax.eval_shape(init, *(args[number] for number in traced))
    shapes = {
        leaf.path: tuple(leaf.value.shape) for leaf in PytreeTree(variables, None).leaves if _is_array(leaf.value)
    }
    for path, layer in found.items():
        shape = shapes.get(f"{path}.kernel" if path else "kernel")
        found[path] = replace(layer, info={**layer.info, "kernel_shape": shape})
    return variables, found


def _linen_info(layer: Any, known: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """What matters of a layer of linen, and the shape of its kernel by what it is called with."""
    info = _info(layer)
    inputs = tuple(arguments[0].shape) if arguments and _is_array(arguments[0]) else None
    if hasattr(layer, "batch_dims"):
        batch, axes, outs = (_tuple(each) for each in (layer.batch_dims, layer.axis, layer.features))
        info |= {"batch": len(batch), "ins": len(axes), "outs": len(outs)}
        if inputs is not None:
            info["single"] = (*(inputs[axis] for axis in (*batch, *axes)), *outs)
    elif known == "Embed":
        info["single"] = (layer.num_embeddings, layer.features)
    elif known == "Einsum":
        info["single"] = tuple(layer.shape)
    elif inputs and hasattr(layer, "features"):
        info["single"] = _single(layer, (inputs[-1],), (layer.features,))
    return info


def initialize(
    tree: Any,
    recipe: Any,
    *,
    layers: Mapping[str, Layer] | None,
    only: Any,
    skip: Any,
    names: Any,
    shardings: Any,
    unmatched: str,
    progress: bool | None,
) -> tuple[Any, Report]:
    """What `fanin.jax.initialize` does."""
    held = tree_of(tree, layers)
    plan = recipe.plan_of(held.found(), names=names)
    plan, passed = chosen(plan, only, skip)
    plan.check(unmatched)
    given = _shardings(tree, held, shardings)
    _refuse_abstract(held, plan, passed)
    execution = Execution(plan, progress)
    execution.kept.update(passed)
    values = {leaf.path: leaf.value for leaf in held.leaves}
    for entry in execution.entries():
        values[entry.path] = _made(entry, given.get(entry.path) or _abstract_sharding(values[entry.path]))
    for leaf in held.leaves:
        if leaf.make is not None:
            values[leaf.path] = leaf.make(recipe.seed)
            execution.buffers[leaf.path] = "a random state, from the seed and its path"
    return held.rebuilt([values[leaf.path] for leaf in held.leaves]), execution.report()


def _refuse_abstract(held: Tree, plan: Any, passed: Mapping[str, str]) -> None:
    """What stays as it is must be something."""
    kept = {entry.path for entry in plan.entries if not entry.draws}
    shapes = [
        leaf.path
        for leaf in held.leaves
        if isinstance(leaf.value, jax.ShapeDtypeStruct)
        and leaf.make is None
        and (leaf.parameter is None or (leaf.path in kept and leaf.path not in passed))
    ]
    if shapes:
        raise PlanError(
            f"Of {held.model}, what no rule draws must be arrays, not shapes; nothing has been made.\n"
            + "".join(f"  {path}\n" for path in shapes)
            + "  Put values there, or leave these out of the tree."
        )


def _shardings(tree: Any, held: Tree, shardings: Any) -> dict[str, Any]:
    """The sharding of each array: one for all, a function of a parameter, or a tree like the arrays'."""
    if shardings is None:
        return {}
    if isinstance(shardings, jax.sharding.Sharding):
        return {leaf.path: shardings for leaf in held.leaves}
    if callable(shardings):
        return {leaf.path: shardings(leaf.parameter) for leaf in held.leaves if leaf.parameter is not None}
    flat = jax.tree_util.tree_leaves(shardings, is_leaf=lambda each: isinstance(each, jax.sharding.Sharding))
    if len(flat) != len(held.leaves):
        raise ValueError(
            f"`shardings` must have a sharding for each of the tree's {len(held.leaves)} arrays. Received: {len(flat)}."
        )
    return {leaf.path: sharding for leaf, sharding in zip(held.leaves, flat, strict=True)}


def _abstract_sharding(value: Any) -> Any:
    """The sharding that an array has, or that an abstract one wants, on the mesh in force if it names none itself."""
    sharding: Any = getattr(value, "sharding", None)
    if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh):
        mesh = jax.sharding.get_mesh()
        return None if mesh.empty else jax.sharding.NamedSharding(mesh, sharding.spec)
    return sharding


def _made(entry: Entry, sharding: Any) -> Any:
    parameter = entry.parameter

    def piece(index: tuple[slice, ...]) -> np.ndarray:
        bounds = [each.indices(length)[:2] for each, length in zip(index, parameter.shape, strict=True)]
        array = allocate(tuple(end - start for start, end in bounds), parameter.dtype)
        entry.fill(array, index)
        return array

    if sharding is not None:
        return to_sharded_jax(piece, parameter.shape, parameter.dtype, sharding)
    return to_jax(piece(tuple(slice(None) for _ in parameter.shape)))
