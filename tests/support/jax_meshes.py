"""Checks of models on meshes of several axes, on eight devices and in two processes, started by test_meshes.py.

    python jax_meshes.py GROUP [ADDRESS NUMBER]

prints a JSON object with the error of each check of the group, as jax_processes.py does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import fanin
from fanin.jax import as_jax, initialize, layers_of
from fanin.recipes import Entry
from jax_processes import KEY, assert_is_whole, errors_of, raises, same

GROUPS: dict[str, dict[str, Callable[[], None]]] = {"devices": {}, "pair": {}}
KERNEL, BIAS = (16, 32), (32,)
RECIPE = fanin.Recipe(
    [
        {"role": "kernel", "initializer": "he_normal"},
        {"role": "bias", "initializer": "random_uniform"},
        {"role": "scale", "initializer": "ones"},
        {"path": "*", "initializer": "random_normal"},
    ],
    seed=3,
)


def check(*groups: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enters a check in groups, under its name."""

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        for group in groups:
            GROUPS[group][function.__name__] = function
        return function

    return enter


def check_each(cases: dict[str, Any], *groups: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Enters a check of each case in groups, under both names."""

    def enter(function: Callable[[str], None]) -> Callable[[str], None]:
        for case in cases:
            for group in groups:
                GROUPS[group][f"{function.__name__}: {case}"] = partial(function, case)
        return function

    return enter


def mesh_of(types: AxisType = AxisType.Auto, **axes: int) -> Mesh:
    """All devices in a mesh of these axes: by default of data, fsdp and tensor."""
    axes = axes or {"data": 2, "fsdp": 2, "tensor": 2}
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(types,) * len(axes))


def shape(*lengths: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
    """A shape in the place of an array."""
    return jax.ShapeDtypeStruct(lengths, dtype)


@contextmanager
def drawn() -> Iterator[list[tuple[str, str, int]]]:
    """Notes of what is drawn in the block: the path, the region in words, and the number of elements."""
    notes, fill = [], Entry.fill

    def noting(self: Entry, out: Any, region: Any = None) -> None:
        notes.append((self.path, str(region), out.size))
        fill(self, out, region)

    with mock.patch.object(Entry, "fill", noting):
        yield notes


def distinct(sharding: Any, lengths: tuple[int, ...]) -> int:
    """The number of elements in the distinct regions that this process's devices have under a sharding."""
    indices = sharding.addressable_devices_indices_map(lengths).values()
    return len({str(each) for each in indices}) * int(np.prod(sharding.shard_shape(lengths)))


def assert_drawn(notes: list[tuple[str, str, int]], arrays: dict[str, Any]) -> None:
    """Each array's regions were each drawn once, and are those of this process's devices alone."""
    assert len(notes) == len({note[:2] for note in notes})
    for path, array in arrays.items():
        assert sum(size for each, _, size in notes if each == path) == distinct(array.sharding, array.shape), path
    assert {path for path, *_ in notes} == set(arrays)


def flat(tree: Any) -> dict[str, Any]:
    """The arrays of a module, a state or variables, by path."""
    from flax import nnx

    if isinstance(tree, nnx.Module):
        tree = nnx.state(tree)
    if isinstance(tree, nnx.State):
        return {".".join(map(str, path)): each.get_value() for path, each in nnx.to_flat_state(tree)}
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): each for path, each in found}


def data(array: Any) -> Any:
    """An array that NumPy knows: of random keys, their words."""
    return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def assert_same(arrays: dict[str, Any], expected: dict[str, Any]) -> None:
    """The shards of each array have the bytes of that region of the expected one."""
    assert arrays.keys() == expected.keys()
    for path, array in arrays.items():
        whole = np.asarray(data(expected[path]))
        for each in data(array).addressable_shards:
            assert same(each.data) == whole[each.index].tobytes(), path


# Meshes and what is drawn on them

MESHES: dict[str, Callable[[], list[NamedSharding]]] = {
    f"{name}, {types.name}": partial(
        lambda types, axes, specs: [NamedSharding(mesh_of(types, **axes), spec) for spec in specs], types, axes, specs
    )
    for types in (AxisType.Auto, AxisType.Explicit)
    for name, axes, specs in (
        ("two axes", {"data": 4, "fsdp": 2}, [P(), P("fsdp"), P(("data", "fsdp")), P(None, ("fsdp", "data"))]),
        (
            "three axes",
            {"data": 2, "fsdp": 2, "tensor": 2},
            [P(), P("fsdp", "tensor"), P(("data", "fsdp"), "tensor"), P("tensor", ("fsdp", "data")), P(None, "tensor")],
        ),
        (
            "four axes",
            {"data": 1, "fsdp": 2, "expert": 2, "tensor": 2},
            [P("expert", ("data", "fsdp"), "tensor"), P("expert", None, "tensor"), P(None, ("tensor", "expert"))],
        ),
    )
}


@check_each(MESHES, "devices", "pair")
def meshes(case: str) -> None:
    """Any axes, types of axes and dtypes: the bytes of the whole, of which each process draws its own, once."""
    for sharding in MESHES[case]():
        for dtype in ("float32", "bfloat16"):
            lengths = (4, *KERNEL) if "four" in case else KERNEL
            tree = {"weight": shape(*lengths, dtype=dtype)}
            with drawn() as notes:
                made, _ = initialize(tree, RECIPE, shardings=sharding)
            assert_drawn(notes, made)
            assert_is_whole(made["weight"], np.asarray(initialize(tree, RECIPE)[0]["weight"]), sharding)


@check("devices", "pair")
def shards_are_taken_without_a_copy() -> None:
    """JAX's buffers are the aligned memory that fanin filled: one for each distinct region, shared by replicas."""
    made: dict[int, Any] = {}
    make = Entry.make

    def noting(self: Entry, region: Any = None) -> Any:
        array = make(self, region)
        made[array.ctypes.data] = array
        return array

    for spec in (P(), P("fsdp"), P(("data", "fsdp"), "tensor"), P(None, "tensor")):
        made.clear()
        for dtype in ("float32", "bfloat16"):
            with mock.patch.object(Entry, "make", noting):
                sharding = NamedSharding(mesh_of(), spec)
                array = initialize({"weight": shape(64, 96, dtype=dtype)}, RECIPE, shardings=sharding)[0]["weight"]
            pointers = [each.data.unsafe_buffer_pointer() for each in array.addressable_shards]
            assert set(pointers) <= set(made)
            assert all(pointer % 64 == 0 for pointer in pointers)
            regions = {
                str(each.index): pointer for each, pointer in zip(array.addressable_shards, pointers, strict=True)
            }
            assert len(set(pointers)) == len(regions) == len(set(regions.values()))


@check("devices")
def uneven_shapes_are_refused_as_jax_does() -> None:
    """JAX has no uneven shards: device_put and jit refuse them, and so does `initialize`, before it draws."""
    sharding = NamedSharding(mesh_of(), P(None, ("data", "fsdp")))
    raises(ValueError, lambda: jax.device_put(jnp.zeros((4, 6)), sharding))
    with drawn() as notes:
        message = raises(ValueError, lambda: initialize({"weight": shape(4, 6)}, RECIPE, shardings=sharding))
    assert "`shardings` must divide each axis evenly. Received: " in message
    assert notes == []


@check("devices")
def kinds_of_memory() -> None:
    """Arrays lie in the memory that the sharding says, such as that of the host beside an accelerator's."""
    sharding = NamedSharding(mesh_of(), P("fsdp", "tensor"), memory_kind="pinned_host")
    array = initialize({"weight": shape(*KERNEL)}, RECIPE, shardings=sharding)[0]["weight"]
    assert array.sharding.memory_kind == "pinned_host"
    assert {each.data.sharding.memory_kind for each in array.addressable_shards} == {"pinned_host"}
    assert_same({"weight": array}, initialize({"weight": shape(*KERNEL)}, RECIPE)[0])


@check("devices")
def eager_transformations_under_a_mesh() -> None:
    """`vmap` and `grad` without `jit` find the mesh in force, which JAX does not tell them."""
    init = as_jax("he_normal")
    keys = jax.random.split(KEY, 3)
    expected = np.stack([np.asarray(init(key, KERNEL)) for key in keys])
    for types in (AxisType.Auto, AxisType.Explicit):
        with jax.set_mesh(mesh_of(types)):
            for spec in (None, P("fsdp", "tensor")):
                many = jax.vmap(lambda key, spec=spec: init(key, KERNEL, jnp.float32, spec))(keys)
                assert same(many) == expected.tobytes()
            total = jax.grad(lambda x: (x * initialize({"weight": shape(8)}, RECIPE)[0]["weight"]).sum())(2.0)
            assert float(total) == float(initialize({"weight": shape(8)}, RECIPE)[0]["weight"].sum())


# flax.nnx


def block(names: tuple[Any, Any] = ("fsdp", "tensor"), **metadata: Any) -> Any:
    """A block of flax.nnx: a layer with annotations, one without, a norm, and random states."""
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            init = nnx.with_partitioning(nnx.initializers.lecun_normal(), names, **metadata)
            self.fc = nnx.Linear(*KERNEL, kernel_init=init, rngs=rngs)
            self.out = nnx.Linear(*KERNEL[::-1], rngs=rngs)
            self.norm = nnx.LayerNorm(KERNEL[0], rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.out(self.drop(nnx.relu(self.fc(self.norm(x)))))

    return Block(nnx.Rngs(0))


def abstract(make: Callable[[], Any]) -> Any:
    """An abstract module, made where no mesh is in force yet."""
    from flax import nnx

    with nnx.use_eager_sharding(False):
        return nnx.eval_shape(make)


def in_force(tree: Any, mesh: Any, shardings: Any = None, rules: Any = ()) -> Any:
    """The tree that `initialize` makes where a mesh and rules are in force."""
    from flax import nnx

    with jax.set_mesh(mesh), nnx.logical_axis_rules(rules):
        return initialize(tree, RECIPE, shardings=shardings)[0]


def within(mesh: Any, make: Callable[[], Any]) -> Any:
    """What a function makes where a mesh is in force."""
    with jax.set_mesh(mesh):
        return make()


def nnx_cases() -> dict[str, Callable[[Any], Any]]:
    """How people have the shardings of a module of flax.nnx; each case makes it on a mesh."""
    from flax import nnx

    rules = (("embed", "fsdp"), ("mlp", "tensor"))
    logical = partial(block, ("embed", "mlp"))

    def named(mesh: Any) -> Any:
        module = abstract(block)
        return initialize(module, RECIPE, shardings=nnx.get_named_sharding(nnx.state(module), mesh))[0]

    def specs(mesh: Any) -> Any:
        module = abstract(block)
        return in_force(module, mesh, nnx.get_partition_spec(nnx.state(module)))

    return {
        "a mesh in force": lambda mesh: in_force(abstract(block), mesh),
        "a mesh in force from the start": lambda mesh: in_force(within(mesh, lambda: nnx.eval_shape(block)), mesh),
        "nnx.get_named_sharding": named,
        "nnx.get_partition_spec": specs,
        "nnx.state": lambda mesh: in_force(nnx.state(abstract(block)), mesh),
        "nnx.as_abstract": lambda mesh: in_force(within(mesh, lambda: nnx.as_abstract(abstract(block))), mesh),
        "nnx.get_abstract_model": lambda mesh: initialize(nnx.get_abstract_model(block, mesh)[1], RECIPE)[0],
        "logical names": lambda mesh: in_force(abstract(logical), mesh, rules=rules),
        "logical names with rules of their own": lambda mesh: in_force(
            abstract(partial(logical, sharding_rules=rules)), mesh
        ),
        "a program": lambda mesh: within(mesh, nnx.jit(lambda: initialize(block(), RECIPE)[0])),
        "a concrete module": lambda mesh: in_force(_unplaced(block), mesh),
    }


def _unplaced(make: Callable[[], Any]) -> Any:
    """A module whose arrays nobody has placed yet."""
    from flax import nnx

    with nnx.use_eager_sharding(False):
        return make()


NNX = dict.fromkeys(
    [
        "a mesh in force",
        "a mesh in force from the start",
        "nnx.get_named_sharding",
        "nnx.get_partition_spec",
        "nnx.state",
        "nnx.as_abstract",
        "nnx.get_abstract_model",
        "logical names",
        "logical names with rules of their own",
        "a program",
        "a concrete module",
    ]
)


@check_each(NNX, "devices", "pair")
def metadata_of_nnx(case: str) -> None:
    """The annotated kernel is sharded, all else is on every device, and all of it has the bytes of a single device."""
    expected = flat(initialize(abstract(block), RECIPE)[0])
    for types in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(types)
        with drawn() as notes:
            arrays = flat(nnx_cases()[case](mesh))
        assert_same(arrays, expected)
        for path, array in arrays.items():
            spec = P("fsdp", "tensor") if path == "fc.kernel" else P()
            assert array.sharding.is_equivalent_to(NamedSharding(mesh, spec), array.ndim), path
        if case != "a program":  # in which each device calls back by itself
            assert_drawn(notes, {path: each for path, each in arrays.items() if "rngs" not in path})


@check("devices")
def named_shardings_in_metadata_of_nnx() -> None:
    """The metadata may be a whole sharding."""
    from flax import nnx

    sharding = NamedSharding(mesh_of(), P("fsdp", "tensor"))
    layer = nnx.eval_shape(
        lambda: nnx.Linear(*KERNEL, kernel_metadata={"out_sharding": sharding}, rngs=nnx.Rngs(0)),
    )
    assert initialize(layer, RECIPE)[0].kernel[...].sharding == sharding


@check("devices")
def names_without_rules() -> None:
    """Names that the mesh does not have, and no rule translates, are refused with a hint."""
    message = raises(ValueError, lambda: in_force(abstract(partial(block, ("embed", "mlp"))), mesh_of()))
    assert "must have only axes of the mesh in force, data, fsdp, tensor. Received: sharding=" in message
    assert "nnx.logical_axis_rules" in message


@check("devices")
def arrays_that_have_a_place() -> None:
    """An array that someone has placed keeps its place; one that nobody has follows its metadata and the mesh."""
    placed = jax.device_put(jnp.zeros(KERNEL), SingleDeviceSharding(jax.devices()[3]))
    with jax.set_mesh(mesh_of()):
        made, _ = initialize({"placed": placed, "shape": shape(*KERNEL)}, RECIPE)
    assert made["placed"].devices() == {jax.devices()[3]}
    assert made["shape"].sharding == NamedSharding(mesh_of(), P())


@check("devices")
def random_states_have_places() -> None:
    """One sharding for all does not cut random states; those of a tree of shardings, or of shapes, hold for them."""
    mesh = mesh_of()
    rows = NamedSharding(mesh, P("fsdp"))
    made, _ = initialize(abstract(block), RECIPE, shardings=rows)
    assert flat(made)["fc.bias"].sharding == rows
    assert flat(made)["drop.rngs.key"].sharding == NamedSharding(mesh, P())


# Stacks of layers


def scanned(name: str | None) -> tuple[Any, Any]:
    """Four layers of flax.linen in one, by nn.scan, whose new axis has a name."""
    from flax import linen as nn

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            init = nn.with_logical_partitioning(nn.initializers.lecun_normal(), ("embed", "mlp"))
            return nn.Dense(16, kernel_init=init)(x), None

    class Layers(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            many = nn.scan(
                Layer,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=4,
                metadata_params={nn.PARTITION_NAME: name},
            )
            return many(name="layers")(x, None)[0]

    return layers_of(Layers(), shape(2, 16))


@check("devices", "pair")
def stacks_of_linen() -> None:
    """Layers of nn.scan: the axis of the layers is sharded as its name says, and the bytes are the same."""
    from flax import linen as nn

    for name, first in ((None, None), ("layers", "data"), ("layers", None)):
        variables, layers = scanned(name)
        rules = (("embed", "fsdp"), ("mlp", "tensor"), ("layers", first))
        mesh = mesh_of()
        with jax.set_mesh(mesh), nn.logical_axis_rules(rules), drawn() as notes:
            made, _ = initialize(variables, RECIPE, layers=layers)
        kernel = made["params"]["layers"]["Dense_0"]["kernel"].value
        whole = initialize(variables, RECIPE, layers=layers)[0]["params"]["layers"]["Dense_0"]["kernel"].value
        spec = P(first if name else None, "fsdp", "tensor")
        assert_is_whole(kernel, np.asarray(whole), NamedSharding(mesh, spec))
        assert_drawn([note for note in notes if "kernel" in note[0]], {"layers.Dense_0.kernel": kernel})


@check("devices", "pair")
def stacks_of_nnx() -> None:
    """Layers of nnx.vmap, which nnx.scan runs through: as their axis says, with the same bytes, and they run."""
    from flax import nnx

    for name in (None, "data"):

        @nnx.split_rngs(splits=4)
        @nnx.vmap(in_axes=(0,), out_axes=0, transform_metadata={nnx.PARTITION_NAME: name})
        def stack(rngs: Any) -> Any:
            init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("fsdp", "tensor"))
            return nnx.Linear(16, 16, kernel_init=init, rngs=rngs)

        module = abstract(lambda stack=stack: stack(nnx.Rngs(0)))
        made, mesh = in_force(module, mesh_of()), mesh_of()
        whole = np.asarray(initialize(module, RECIPE)[0].kernel[...])
        assert_is_whole(made.kernel[...], whole, NamedSharding(mesh, P(name, "fsdp", "tensor")))

        @nnx.jit
        def run(layers: Any, x: Any) -> Any:
            return nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, layers)

        with jax.set_mesh(mesh):
            assert run(made, jnp.ones((2, 16))).shape == (2, 16)


# flax.linen


def linen_cases() -> dict[str, Callable[[Any], Any]]:
    """How people have the shardings of flax.linen's variables; each case makes them on a mesh."""
    from flax import linen as nn
    from flax.linen import spmd

    def dense(wrap: Any, names: Any) -> Any:
        return layers_of(nn.Dense(32, kernel_init=wrap(nn.initializers.lecun_normal(), names)), shape(1, 16))

    rules = (("embed", "fsdp"), ("mlp", "tensor"))
    boxed = dense(nn.with_partitioning, ("fsdp", "tensor"))
    logical = dense(nn.with_logical_partitioning, ("embed", "mlp"))

    def by_rules(mesh: Any) -> Any:
        with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
            return initialize(logical, RECIPE)[0]

    def translated(mesh: Any) -> Any:
        specs = nn.get_partition_spec(logical[0])
        return initialize(logical, RECIPE, shardings=spmd.logical_to_mesh_sharding(specs, mesh, rules))[0]

    def unboxed(mesh: Any) -> Any:
        variables, layers = boxed
        shardings = nn.get_sharding(variables, mesh)
        return initialize(nn.meta.unbox(variables), RECIPE, layers=layers, shardings=shardings)[0]

    return {
        "boxes": lambda mesh: within(mesh, lambda: initialize(boxed, RECIPE)[0]),
        "logical names": by_rules,
        "nn.logical_to_mesh_sharding": translated,
        "nn.get_sharding": unboxed,
        "a program": lambda mesh: within(mesh, jax.jit(lambda: initialize(boxed, RECIPE)[0])),
    }


LINEN = dict.fromkeys(["boxes", "logical names", "nn.logical_to_mesh_sharding", "nn.get_sharding", "a program"])


@check_each(LINEN, "devices", "pair")
def metadata_of_linen(case: str) -> None:
    """The annotated kernel is sharded and the bias is on every device, with the bytes of a single device."""
    from flax import linen as nn

    expected = initialize({"kernel": shape(*KERNEL), "bias": shape(*BIAS)}, RECIPE)[0]
    for types in (AxisType.Auto, AxisType.Explicit):
        mesh = mesh_of(types)
        params = nn.meta.unbox(linen_cases()[case](mesh))["params"]
        assert_is_whole(params["kernel"], np.asarray(expected["kernel"]), NamedSharding(mesh, P("fsdp", "tensor")))
        assert_is_whole(params["bias"], np.asarray(expected["bias"]), NamedSharding(mesh, P()))


# Training


@check("devices", "pair")
def training_of_nnx() -> None:
    """An optimizer's moments lie as their parameters do; a step that donates the arrays works; the losses fall."""
    import optax
    from flax import nnx

    mesh = mesh_of()
    with jax.set_mesh(mesh):
        model = in_force(abstract(block), mesh)
        optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
        moments = flat(nnx.state(optimizer))
        assert moments["opt_state.0.mu.fc.kernel"].sharding.spec == P("fsdp", "tensor")

        @nnx.jit(donate_argnums=(0, 1))
        def step(model: Any, optimizer: Any, x: Any) -> Any:
            loss, gradient = nnx.value_and_grad(lambda model: ((model(x) - 1) ** 2).mean())(model)
            optimizer.update(model, gradient)
            return loss

        x = jax.jit(lambda: jnp.arange(128.0).reshape(8, 16), out_shardings=NamedSharding(mesh, P("data")))()
        losses = [float(step(model, optimizer, x)) for _ in range(20)]
    assert losses[-1] < losses[0]


@check("devices", "pair")
def training_of_linen() -> None:
    """A TrainState is made from new parameters by a program, whose shardings the abstract TrainState has."""
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState

    model = nn.Dense(32, kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), ("fsdp", "tensor")))
    variables, layers = layers_of(model, shape(1, 16))
    optimizer = optax.adam(1e-2)

    def state_of(params: Any) -> Any:
        return TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)

    with jax.set_mesh(mesh_of()):
        shardings = nn.get_sharding(jax.eval_shape(state_of, variables["params"]), mesh_of())
        made, _ = initialize(variables, RECIPE, layers=layers)
        kernel = np.asarray(initialize(variables, RECIPE, layers=layers, shardings=P())[0]["params"]["kernel"].value)
        state = jax.jit(state_of, out_shardings=shardings, donate_argnums=0)(made["params"])
    assert_is_whole(state.params["kernel"].value, kernel, NamedSharding(mesh_of(), P("fsdp", "tensor")))
    assert state.opt_state[0].mu["kernel"].value.sharding.spec == P("fsdp", "tensor")


# Kept blocks

PARTIAL = fanin.Recipe(
    [
        {"path": "*", "blocks": ["query", "key"], "block": "query", "initializer": "keep"},
        {"path": "*", "blocks": ["query", "key"], "initializer": "random_normal"},
    ],
    seed=3,
)


@check("devices", "pair")
def blocks_that_a_rule_keeps() -> None:
    """Of each shard, the kept part is the present one, though no process has the whole array; the rest is drawn."""
    whole = {"kernel": jnp.arange(512.0).reshape(KERNEL)}
    expected = np.asarray(initialize(whole, PARTIAL)[0]["kernel"])
    specs = (P("fsdp", "tensor"), P(None, ("data", "fsdp", "tensor")), P())
    for sharding in (
        NamedSharding(mesh_of(types), spec) for types in (AxisType.Auto, AxisType.Explicit) for spec in specs
    ):
        present = jax.make_array_from_callback(KERNEL, sharding, lambda index: np.asarray(whole["kernel"])[index])
        assert_is_whole(initialize({"kernel": present}, PARTIAL)[0]["kernel"], expected, sharding)


@check("devices")
def kept_blocks_move() -> None:
    """Where one process has all present values, another sharding is given to them."""
    whole = jnp.arange(512.0).reshape(KERNEL)
    expected = np.asarray(initialize({"kernel": whole}, PARTIAL)[0]["kernel"])
    for types in (AxisType.Auto, AxisType.Explicit):
        rows, both = (NamedSharding(mesh_of(types), spec) for spec in (P("fsdp"), P("data", ("fsdp", "tensor"))))
        made, _ = initialize({"kernel": jax.device_put(whole, rows)}, PARTIAL, shardings=both)
        assert_is_whole(made["kernel"], expected, both)


@check("pair")
def kept_blocks_cannot_move() -> None:
    """Where other processes have the present values, another sharding is refused before anything is drawn."""
    mesh = mesh_of()
    zeros = jax.jit(lambda: jnp.zeros(KERNEL), out_shardings=NamedSharding(mesh, P(("data", "fsdp"))))()
    other = NamedSharding(mesh, P(None, ("data", "tensor")))
    with drawn() as notes:
        message = raises(ValueError, lambda: initialize({"kernel": zeros}, PARTIAL, shardings=other))
    assert "it must keep its sharding. Received: " in message
    assert notes == []


@check("devices", "pair")
def a_mesh_of_some_devices() -> None:
    """Processes without a device of the mesh draw nothing."""
    mesh = Mesh(np.array(jax.devices()[:4]), ("x",))
    with drawn() as notes:
        array = initialize({"weight": shape(*KERNEL)}, RECIPE, shardings=NamedSharding(mesh, P("x")))[0]["weight"]
    mine = [each for each in mesh.devices if each.process_index == jax.process_index()]
    assert len(array.addressable_shards) == len(mine)
    assert sum(size for *_, size in notes) == len(mine) * KERNEL[0] * KERNEL[1] // 4


# Orbax


@check("devices", "pair")
def orbax_checkpoints() -> None:
    """A plan is written by all processes, each of which draws its own shards once; it restores to `initialize`'s bytes.

    With the shardings that it was written with, and with others.
    """
    import orbax.checkpoint as ocp

    from fanin.jax.orbax import save

    mesh = mesh_of()
    folder = Path(shared_folder()) / "checkpoint"
    made = in_force(abstract(block), mesh)
    with jax.set_mesh(mesh), drawn() as notes:
        report = save(folder, abstract(block), RECIPE)
    arrays = flat(made)
    assert_drawn(notes, {path: each for path, each in arrays.items() if "rngs" not in path})
    assert set(report.filled) == {path for path in arrays if "rngs" not in path}

    from flax import nnx

    state = nnx.state(made)
    expected = flat(initialize(abstract(block), RECIPE)[0])
    for spec in (None, P(), P("tensor")):

        def target(each: Any, spec: Any = spec) -> Any:
            other = spec if spec is not None and each.ndim else P()
            sharding = each.sharding if spec is None else NamedSharding(mesh, other)
            return jax.ShapeDtypeStruct(each.shape, each.dtype, sharding=sharding)

        wanted = jax.tree.map(target, state)
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(folder, wanted)
        assert_same(flat(restored), expected)
        found = flat(restored)
        assert all(found[path].sharding == each.sharding for path, each in flat(wanted).items())
        with ocp.PyTreeCheckpointer() as checkpointer:
            restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
            assert_same(flat(checkpointer.restore(folder, item=wanted, restore_args=restore_args)), expected)


@check("pair")
def orbax_wants_shardings() -> None:
    """In several processes, an array without a sharding over them is refused before anything is drawn."""
    from fanin.jax.orbax import save

    with drawn() as notes:
        message = raises(ValueError, lambda: save("/nowhere", {"weight": shape(*KERNEL)}, RECIPE))
    assert "must have a sharding over all processes if there are several. Received: sharding=None for weight" in message
    assert notes == []


def shared_folder() -> str:
    """A new folder, the same in all processes."""
    if jax.process_count() == 1:
        return tempfile.mkdtemp()
    from jax.experimental import multihost_utils

    name = np.zeros(256, np.uint8)
    if jax.process_index() == 0:
        text = tempfile.mkdtemp().encode()
        name[: len(text)] = list(text)
    return bytes(multihost_utils.broadcast_one_to_all(name)).rstrip(b"\0").decode()


def main(group: str, address: str = "", number: str = "0") -> None:
    """Runs a group's checks, and prints what came of them."""
    warnings.simplefilter("error")
    if group == "pair":
        jax.distributed.initialize(address, 2, int(number))
    print(json.dumps({"errors": errors_of(GROUPS[group])}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
