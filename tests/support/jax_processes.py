"""Checks of fanin.jax for processes of their own, which test_processes.py starts: many devices, 64 bits, two at once.

    python jax_processes.py GROUP [ADDRESS NUMBER]

prints a JSON object with the error of each check of the group ("" where it holds, and what it needs where that is not
installed) and digests of some results.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import fanin
from catalogue import CATALOGUE, fitted, fresh, shape_for
from fanin._core import streams
from fanin._core.streams import Stream
from fanin.distributions import floats
from fanin.jax import as_jax, initialize, make_array
from fanin.recipes import Entry

GROUPS: dict[str, dict[str, Callable[[], None]]] = {"devices": {}, "pair": {}, "x64": {}}
SPECS = [P(), P("x"), P(None, "y"), P("x", "y"), P("y", "x"), P(("x", "y")), P(None, ("y", "x")), P("x", None)]
SHAPE = (16, 24)
WIDE = ("float64", "int64", "uint64", "complex128")  # JAX has them only where 64 bits are enabled
KEY = np.array([0, 7], np.uint32)  # a legacy key, which is made without JAX: processes join before they use it


def check(group: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enters a check in a group, under its name."""

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        GROUPS[group][function.__name__] = function
        return function

    return enter


def check_each(group: str, cases: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Enters a check of each case in a group, under both names."""

    def enter(function: Callable[[str], None]) -> Callable[[str], None]:
        for case in cases:
            GROUPS[group][f"{function.__name__}: {case}"] = partial(function, case)
        return function

    return enter


def digests() -> dict[str, str]:
    """Digests of what keys choose, the same in every process."""
    made = {}
    for seed in (None, 0, 5, -(2**63)):
        for number in (0, 7):
            for impl in ("threefry2x32", "rbg"):
                key = jax.random.key(number, impl=impl)
                array = as_jax(fanin.TruncatedNormal(seed=seed))(key, (33, 5), jnp.bfloat16)
                made[f"{seed}, {impl} {number}"] = hashlib.sha256(same(array)).hexdigest()
    return made


def same(array: Any) -> bytes:
    """An array's bytes; of a sharded one, all shards together."""
    return np.asarray(array).tobytes()


def in_layout(kernel: np.ndarray, layout: str) -> np.ndarray:
    """A kernel in the order of axes of a layout."""
    return np.moveaxis(kernel, (-1, -2), (0, 1)) if layout == "torch" and kernel.ndim >= 2 else kernel


def meshes() -> list[Any]:
    """All devices in a mesh of two axes, whose shardings the compiler chooses or types say."""
    shape = (jax.device_count() // 2, 2)
    return [jax.make_mesh(shape, ("x", "y"), axis_types=(each,) * 2) for each in (AxisType.Auto, AxisType.Explicit)]


def shardings(specs: list[Any] | None = None) -> Iterator[Any]:
    """Every specification over every mesh."""
    for mesh in meshes():
        for spec in SPECS if specs is None else specs:
            yield NamedSharding(mesh, spec)


def assert_is_whole(array: Any, expected: np.ndarray, sharding: Any) -> None:
    """The array has this sharding, and each of its shards has the bytes of that region."""
    assert array.sharding.is_equivalent_to(sharding, expected.ndim), (array.sharding, sharding)
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    assert len(array.addressable_shards) == jax.local_device_count()
    for shard in array.addressable_shards:
        assert same(shard.data) == expected[shard.index].tobytes(), (sharding, shard.index)


@contextmanager
def kernels_run() -> Iterator[list[tuple[Any, ...]]]:
    """Notes of each run of a kernel in the block: where it starts in its tensor, and the shape that it fills."""
    notes, run = [], streams.run_kernel

    def noting(kernel: str, stream: Stream, out: np.ndarray, shape: Any, region: Any = None, **options: Any) -> None:
        notes.append((tuple(region.starts) if region else (0,) * len(shape), out.shape))
        run(kernel, stream, out, shape, region, **options)

    with mock.patch.object(floats, "run_kernel", noting):
        yield notes


def regions(sharding: Any, shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """The same for the regions of a sharding, one for each device."""
    bounds = [
        [each.indices(length)[:2] for each, length in zip(index, shape, strict=True)]
        for index in sharding.addressable_devices_indices_map(shape).values()
    ]
    return sorted((tuple(start for start, _ in each), tuple(stop - start for start, stop in each)) for each in bounds)


def raises(error: type[Exception], call: Callable[[], Any]) -> str:
    """The message of the error that a call raises."""
    try:
        call()
    except error as caught:
        return str(caught)
    raise AssertionError(f"{error.__name__} was not raised")


# make_array


@check("devices")
def arrays_have_the_bytes_of_the_whole() -> None:
    """Any specification, dtype and layout; it is the first call each time, and counts as none."""
    for dtype in ("float32", "bfloat16"):
        for layout in ("keras", "torch"):
            initializer = fanin.GlorotUniform(seed=3)
            kernel = fanin.GlorotUniform(seed=3)(SHAPE if layout == "keras" else SHAPE[::-1], dtype)
            for sharding in shardings():
                array = make_array(initializer, SHAPE, dtype, sharding, layout=layout)
                assert array.sharding == sharding
                assert_is_whole(array, in_layout(kernel, layout), sharding)
            assert initializer(kernel.shape, dtype).tobytes() == kernel.tobytes()


@check("devices")
def arrays_of_every_class() -> None:
    """Every class and dtype, as matrices and as kernels of convolutions, in both layouts."""
    mesh = meshes()[0]
    for name, (_, dtypes, ranks) in CATALOGUE.items():
        for dtype in dtypes:
            if dtype in WIDE:
                continue
            for shape, spec in (((8, 6), P("x", "y")), ((8, 2, 3, 5), P("x", "y")), ((2, 3, 4, 8), P(None, None, "x"))):
                for layout in ("keras", "torch"):
                    kernel_shape = (*shape[2:], shape[1], shape[0]) if layout == "torch" else shape
                    if len(shape) in ranks and fitted(name, kernel_shape) == kernel_shape:
                        sharding = NamedSharding(mesh, spec)
                        array = make_array(fresh(name), shape, dtype, sharding, layout=layout)
                        assert_is_whole(array, in_layout(fresh(name)(kernel_shape, dtype), layout), sharding)


@check("devices")
def arrays_of_any_rank() -> None:
    """Scalars, vectors and empty arrays."""
    for shape, spec in (((), P()), ((8,), P("x")), ((8,), P(("y", "x"))), ((0, 4), P("x", "y")), ((4, 0), P("x"))):
        sharding = NamedSharding(meshes()[0], spec)
        array = make_array(fanin.HeNormal(seed=3), shape, None, sharding)
        assert_is_whole(array, fanin.HeNormal(seed=3)(shape), sharding)


@check("devices")
def shards_are_made_once_and_alone() -> None:
    """Each distinct region is drawn once, and nothing else is."""
    for sharding in shardings():
        with kernels_run() as notes:
            make_array(fanin.HeNormal(seed=3), SHAPE, None, sharding)
        assert sorted(notes) == sorted(set(regions(sharding, SHAPE))), sharding
        with kernels_run() as notes:
            as_jax(fanin.HeNormal(seed=3))(KEY, SHAPE, jnp.float32, sharding)
        assert sorted(notes) == sorted(set(regions(sharding, SHAPE))), sharding


@check("devices")
def an_unseeded_array_is_one_array() -> None:
    """All shards are of one seed, which later calls have too."""
    for initializer in (fanin.HeNormal(), fanin.RandomNormal()):
        sharding = NamedSharding(meshes()[0], P("x", "y"))
        array = make_array(initializer, SHAPE, None, sharding)
        assert_is_whole(array, initializer(SHAPE), sharding)


@check("devices")
def what_a_sharding_does_not_divide_is_refused() -> None:
    """An error, before anything is drawn."""
    init = as_jax(fanin.HeNormal(seed=3))
    for sharding in shardings([P("x"), P(None, "y"), P(("x", "y"))]):
        with kernels_run() as notes:
            for call in (
                lambda sharding=sharding: make_array(fanin.HeNormal(seed=3), (9, 9), None, sharding),
                lambda sharding=sharding: init(KEY, (9, 9), jnp.float32, sharding),
                lambda sharding=sharding: jax.jit(lambda key: init(key, (9, 9), jnp.float32, sharding))(KEY),
            ):
                message = raises(ValueError, call)
                assert "must divide each axis evenly. Received: " in message
                assert "whose shape is (9, 9)" in message
        assert notes == []


@check("devices")
def one_device_alone() -> None:
    """A sharding of one device, and the default device."""
    device, expected = jax.devices()[5], fanin.HeNormal(seed=3)(SHAPE)
    array = make_array(fanin.HeNormal(seed=3), SHAPE, None, SingleDeviceSharding(device))
    with jax.default_device(device):
        default = make_array(fanin.HeNormal(seed=3), SHAPE)
    for each in (array, default):
        assert each.devices() == {device}
        assert same(each) == expected.tobytes()


@check("devices")
def replicas_can_be_donated() -> None:
    """A program that overwrites its input does so for each replica, and never in memory that another one has."""
    double = jax.jit(lambda array: array * 2 + 1, donate_argnums=0)
    expected = same(jax.jit(lambda array: array * 2 + 1)(fanin.HeNormal(seed=3)((512, 512))))
    for spec in (P(), P("x"), P(None, "y")):
        sharding = NamedSharding(meshes()[0], spec)
        array = make_array(fanin.HeNormal(seed=3), (512, 512), None, sharding)
        doubled = double(array)
        assert array.is_deleted()
        assert_is_whole(doubled, np.frombuffer(expected, np.float32).reshape(512, 512), sharding)


# as_jax


@check("devices")
def keys_choose_sharded_arrays() -> None:
    """With `out_sharding`, a sharding or a specification for the mesh in force, eager and under jit: the same bytes."""
    for layout in ("keras", "torch"):
        init = as_jax(fanin.HeNormal(seed=3), layout=layout)
        expected = np.asarray(init(KEY, SHAPE, jnp.bfloat16))
        for sharding in shardings(None if layout == "keras" else [P("x", "y"), P(None, "x")]):

            def call(key: Any, given: Any = sharding, init: Any = init) -> Any:
                return init(key, SHAPE, jnp.bfloat16, given)

            for function in (call, jax.jit(call)):
                assert_is_whole(function(KEY), expected, sharding)
            with jax.set_mesh(sharding.mesh):
                for function in (call, jax.jit(call, static_argnums=1)):
                    assert_is_whole(function(KEY, sharding.spec), expected, sharding)


@check("devices")
def a_program_makes_each_device_its_shard() -> None:
    """Under jit, each device draws its shard and no more, when the program runs and not before."""
    init = as_jax(fanin.HeNormal(seed=3))
    for sharding in shardings():
        with kernels_run() as notes:
            compiled = (
                jax.jit(lambda key, sharding=sharding: init(key, SHAPE, jnp.float32, sharding)).lower(KEY).compile()
            )
            assert notes == []
            compiled(KEY).block_until_ready()
        assert sorted(notes) == regions(sharding, SHAPE), sharding


@check("devices")
def sharded_arrays_of_many_keys() -> None:
    """`vmap`, `scan` and both, of sharded arrays: those of each key."""
    init, keys = as_jax(fanin.HeNormal(seed=3)), jax.random.split(KEY, 3)
    expected = np.stack([np.asarray(init(key, SHAPE)) for key in keys])
    for sharding in shardings([P("x", "y"), P(None, ("y", "x"))]):

        def call(key: Any, sharding: Any = sharding) -> Any:
            return init(key, SHAPE, jnp.float32, sharding)

        def scanned(keys: Any, call: Any = call) -> Any:
            return jax.lax.scan(lambda carry, key: (carry, call(key)), 0, keys)[1]

        for function in (jax.vmap(call), jax.jit(jax.vmap(call)), jax.jit(scanned)):
            assert same(function(keys)) == expected.tobytes()


@check("devices")
def each_device_has_a_key_of_its_own() -> None:
    """Within `shard_map`, with a mesh in force and without, and `pmap`: a whole tensor of each device's key."""
    init, keys, mesh = (
        as_jax(fanin.HeNormal(seed=3)),
        jax.random.split(KEY, 8),
        jax.make_mesh((8,), ("x",), (AxisType.Auto,)),
    )
    expected = b"".join(same(init(key, (4, 6))) for key in keys)
    mapped = jax.shard_map(lambda keys: init(keys[0], (4, 6))[None], mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    for function in (mapped, jax.jit(mapped), jax.pmap(lambda key: init(key, (4, 6)))):
        assert same(function(keys)) == expected
    with jax.set_mesh(mesh):
        assert same(mapped(keys)) == same(jax.jit(mapped)(keys)) == expected


@check("devices")
def a_mesh_in_force_is_as_for_jax() -> None:
    """Where a mesh is in force, results lie where those of JAX's own initializers do, eager and under jit."""
    init, theirs = as_jax(fanin.HeNormal(seed=3)), jax.nn.initializers.he_normal()
    expected = np.asarray(init(KEY, SHAPE))
    for mesh in meshes():
        with jax.set_mesh(mesh):
            for wrap in (lambda function: function, jax.jit):
                sharding = wrap(lambda key: theirs(key, SHAPE))(KEY).sharding
                assert_is_whole(wrap(lambda key: init(key, SHAPE))(KEY), expected, sharding)


@check("devices")
def sharded_parameters_of_nnx() -> None:
    """Parameters with axes' names are sharded as flax's own, made eagerly or by a program."""
    from flax import nnx

    for mesh in meshes():
        with jax.set_mesh(mesh):

            def make(init: Any) -> Any:
                init = nnx.with_partitioning(init, ("x", "y"))
                return nnx.Linear(16, 24, kernel_init=init, use_bias=False, rngs=nnx.Rngs(0))

            kernels = []
            for wrap in (lambda function: function, nnx.jit):
                ours = wrap(lambda: make(as_jax(fanin.HeNormal(seed=3))))().kernel[...]
                theirs = wrap(lambda: make(jax.nn.initializers.he_normal()))().kernel[...]
                assert ours.sharding.is_equivalent_to(theirs.sharding, 2)
                kernels.append(same(ours))
            assert kernels[0] == kernels[1]


# initialize


RULES = [{"role": "kernel", "initializer": "he_normal"}, {"role": "bias", "initializer": "random_uniform"}]
RECIPE = fanin.Recipe(RULES, seed=3)
Shardings = tuple[Any, Any, Any]  # rows among four devices, rows and columns among eight, all of it on each


def dense(dtype: str = "float32", kernel: Any = None, bias: Any = None) -> dict[str, dict[str, Any]]:
    """The shapes of a dense layer, with shardings."""
    return {
        "fc": {
            "kernel": jax.ShapeDtypeStruct(SHAPE, dtype, sharding=kernel),
            "bias": jax.ShapeDtypeStruct(SHAPE[1:], dtype, sharding=bias),
        }
    }


def three_shardings() -> Shardings:
    """Those of `Shardings`."""
    mesh = jax.make_mesh((4, 2), ("x", "y"))
    return NamedSharding(mesh, P("x")), NamedSharding(mesh, P("x", "y")), NamedSharding(mesh, P())


# A tree, what `shardings` is, the shardings of kernel and bias (None: any), and how many regions each is cut into.
SHARDED: dict[str, Callable[[Any, Any, Any], tuple[Any, Any, Any, Any, tuple[int, int]]]] = {
    "one for all": lambda rows, both, whole: (dense(), rows, rows, rows, (4, 4)),
    "a function": lambda rows, both, whole: (
        dense(),
        lambda each: both if each.role == "kernel" else whole,
        both,
        whole,
        (8, 1),
    ),
    "a function for some": lambda rows, both, whole: (
        dense(),
        lambda each: both if each.role == "kernel" else None,
        both,
        None,
        (8, 1),
    ),
    "a tree": lambda rows, both, whole: (dense(), {"fc": {"kernel": both, "bias": rows}}, both, rows, (8, 4)),
    "those of the shapes": lambda rows, both, whole: (dense("float32", both, whole), None, both, whole, (8, 1)),
    "others than the shapes'": lambda rows, both, whole: (dense("float32", both, whole), rows, rows, rows, (4, 4)),
}


@check_each("devices", SHARDED)
def shardings_of_models(case: str) -> None:
    """The bytes of the whole, of shards that are each made alone, and once."""
    tree, shardings, kernel, bias, counts = SHARDED[case](*three_shardings())
    expected, fill = initialize(dense(), RECIPE)[0]["fc"], Entry.fill
    filled: dict[str, list[Any]] = {"fc.kernel": [], "fc.bias": []}

    def noting(self: Entry, out: Any, region: Any = None) -> None:
        filled[self.path].append((out.shape, region))
        fill(self, out, region)

    with mock.patch.object(Entry, "fill", noting):
        made = initialize(tree, RECIPE, shardings=shardings)[0]["fc"]
    assert made["kernel"].sharding == kernel
    assert bias is None or made["bias"].sharding == bias
    for (path, each), count in zip(filled.items(), counts, strict=True):
        leaf = path.removeprefix("fc.")
        assert len(each) == len(set(map(str, each))) == count
        assert sum(int(np.prod(shape)) for shape, _ in each) == expected[leaf].size  # they are the whole, each once
        assert same(made[leaf]) == same(expected[leaf])
        for shard in made[leaf].addressable_shards:
            assert same(shard.data) == np.asarray(expected[leaf])[shard.index].tobytes()


@check_each("devices", ("bfloat16", "float16", "float8_e4m3fn"))
def narrow_models_are_rounded(dtype: str) -> None:
    """Each shard of a narrow array is that region of the float32 array, rounded once: of uniforms and normals."""
    uniform = fanin.Recipe([{"path": "*", "initializer": "glorot_uniform", "layout": "keras"}], seed=3)
    for recipe in (RECIPE, uniform):
        wide = {leaf: np.asarray(each) for leaf, each in initialize(dense(), recipe)[0]["fc"].items()}
        for sharding in shardings([P("x"), P(None, "y"), P("x", "y"), P(("x", "y")), P()]):
            of_bias = NamedSharding(sharding.mesh, P(*sharding.spec[1:]))
            made = initialize(dense(dtype, sharding, of_bias), recipe)[0]["fc"]
            assert_is_whole(made["kernel"], wide["kernel"].astype(made["kernel"].dtype), sharding)
            assert_is_whole(made["bias"], wide["bias"].astype(made["bias"].dtype), of_bias)


@check_each("devices", ("keras", "flax"))
def shardings_of_gates(preset: str) -> None:
    """Gates in another order than Keras's, cut elsewhere than between them; of 16 bits, the rounded ones."""
    from flax import nnx

    from jax_kit import flat

    def cell(dtype: Any) -> Any:
        return nnx.eval_shape(lambda: nnx.List([nnx.GRUCell(16, 24, param_dtype=dtype, rngs=nnx.Rngs(0))]))

    _, both, _ = three_shardings()
    recipe = fanin.Recipe.preset(preset, seed=3)
    whole = flat(initialize(cell(jnp.float32), recipe)[0])
    for dtype in (jnp.float32, jnp.bfloat16):
        made, _ = initialize(cell(dtype), recipe, shardings=lambda each: both if each.role.endswith("kernel") else None)
        assert made[0].dense_i.kernel[...].sharding == both
        values = flat(made)
        assert values.keys() == whole.keys()
        for path, value in values.items():
            assert value.tobytes() == whole[path].astype(value.dtype).tobytes(), path


@check("devices")
def shardings_of_nnx() -> None:
    """A function of a parameter says the sharding of each of a module's arrays."""
    from flax import nnx

    rows, both, _ = three_shardings()
    linear = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, rngs=nnx.Rngs(0))]))
    made, _ = initialize(linear, RECIPE, shardings=lambda each: both if each.role == "kernel" else rows)
    assert made[0].kernel[...].sharding == both
    assert same(made[0].kernel[...]) == fanin.HeNormal(seed=3).spawn("0.kernel")(SHAPE).tobytes()


@check("devices")
def shardings_of_boxes() -> None:
    """What flax.linen keeps beside an array stays there."""
    from fanin.jax import layers_of
    from jax_kit import FLAX, SMALL_INPUT, Small

    _, _, whole = three_shardings()
    variables, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers, shardings=whole)
    assert made["params"]["fc"]["kernel"].names == ("a", "b")


@check("devices")
def models_of_a_mesh_in_force() -> None:
    """Where a mesh is in force, abstract arrays have its shardings and axes' names; the arrays have them, too."""
    from flax import nnx

    mesh = jax.make_mesh((4, 2), ("x", "y"))
    with jax.set_mesh(mesh):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("x", "y"))
        abstract = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, kernel_init=init, rngs=nnx.Rngs(0))]))
        made, _ = initialize(abstract, RECIPE)
    assert made[0].kernel.get_metadata() == abstract[0].kernel.get_metadata()
    assert same(made[0].kernel[...]) == fanin.HeNormal(seed=3).spawn("0.kernel")(SHAPE).tobytes()
    assert made[0].kernel[...].sharding.is_equivalent_to(NamedSharding(mesh, P("x", "y")), 2)


# Programs


def partitioned() -> Any:
    """A layer of nnx whose metadata say how its kernel is sharded."""
    from flax import nnx

    init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("x", "y"))
    return nnx.List([nnx.Linear(16, 24, kernel_init=init, rngs=nnx.Rngs(0))])


def in_linen() -> tuple[Any, Any]:
    """The variables and layers of a dense layer of linen whose kernel is in a box with the names of its axes."""
    from flax import linen as nn

    from fanin.jax import layers_of

    init = nn.with_partitioning(nn.initializers.lecun_normal(), ("x", "y"))
    return layers_of(nn.Dense(24, kernel_init=init), jax.ShapeDtypeStruct((1, 16), jnp.float32))


KERNELS: dict[str, Callable[[], Any]] = {
    "nnx, abstract": lambda: _nnx_kernel(abstract=True),
    "nnx, made by the program": lambda: _nnx_kernel(abstract=False),
    "nnx, without eager sharding": lambda: _lazy_kernel(),
}


def _nnx_kernel(abstract: bool) -> Any:
    from flax import nnx

    made, _ = initialize(nnx.eval_shape(partitioned) if abstract else partitioned(), RECIPE)
    return made[0].kernel[...]


def _lazy_kernel() -> Any:
    from flax import nnx

    with nnx.use_eager_sharding(False):
        return _nnx_kernel(abstract=True)


@check_each("devices", KERNELS)
def annotations_of_nnx_in_programs(case: str) -> None:
    """A program shards each array as flax's metadata say, makes each shard by itself, and has none of its values."""
    expected = fanin.HeNormal(seed=3).spawn("0.kernel")(SHAPE)
    for mesh in meshes():
        with jax.set_mesh(mesh):
            compiled = jax.jit(KERNELS[case])
            with kernels_run() as notes:
                kernel = compiled().block_until_ready()
            assert {shape for _, shape in notes} == {(SHAPE[0] // 4, SHAPE[1] // 2)}
            assert_is_whole(kernel, expected, NamedSharding(mesh, P("x", "y")))
            assert_is_whole(KERNELS["nnx, abstract"](), expected, NamedSharding(mesh, P("x", "y")))


@check("devices")
def annotations_of_linen_in_programs() -> None:
    """A program shards an array as its box says, eagerly and compiled."""
    variables, layers = in_linen()
    expected = fanin.HeNormal(seed=3).spawn("kernel")(SHAPE)
    for mesh in meshes():
        with jax.set_mesh(mesh):

            def make() -> Any:
                return initialize(variables, RECIPE, layers=layers)[0]

            for function in (make, jax.jit(make)):
                kernel = function()["params"]["kernel"].value
                assert_is_whole(kernel, expected, NamedSharding(mesh, P("x", "y")))


@check("devices")
def annotations_of_linen_by_rules() -> None:
    """Logical names of axes are looked up in flax's rules."""
    from flax import linen as nn

    from fanin.jax import layers_of

    init = nn.with_logical_partitioning(nn.initializers.lecun_normal(), ("embed", "mlp"))
    variables, layers = layers_of(nn.Dense(24, kernel_init=init), jax.ShapeDtypeStruct((1, 16), jnp.float32))
    mesh = meshes()[0]
    with jax.set_mesh(mesh), nn.logical_axis_rules((("embed", None), ("mlp", "y"))):
        made, _ = initialize(variables, RECIPE, layers=layers)
    kernel = made["params"]["kernel"].value
    assert_is_whole(kernel, fanin.HeNormal(seed=3).spawn("kernel")(SHAPE), NamedSharding(mesh, P(None, "y")))


def kernel_alone(shardings: Any) -> Any:
    """A kernel with a sharding."""
    return initialize(dense(), RECIPE, only="*.kernel", shardings=shardings)[0]["fc"]["kernel"]


@check("devices")
def shardings_in_programs() -> None:
    """`shardings` says where a program has its arrays, with a mesh in force and without."""
    expected = fanin.HeNormal(seed=3).spawn("fc.kernel")(SHAPE)
    for sharding in shardings():
        assert_is_whole(jax.jit(partial(kernel_alone, sharding))(), expected, sharding)
        with jax.set_mesh(sharding.mesh):
            assert_is_whole(jax.jit(partial(kernel_alone, sharding.spec))(), expected, sharding)


@check("devices")
def arrays_in_programs() -> None:
    """`make_array` in a program makes each shard when the program runs."""
    for sharding in shardings():
        compiled = jax.jit(lambda sharding=sharding: make_array(fanin.HeNormal(seed=3), SHAPE, None, sharding))
        assert_is_whole(compiled(), fanin.HeNormal(seed=3)(SHAPE), sharding)


@check("devices")
def specifications_of_the_mesh_in_force() -> None:
    """Each function takes a PartitionSpec where a mesh is in force."""
    for sharding in shardings():
        with jax.set_mesh(sharding.mesh):
            array = make_array(fanin.HeNormal(seed=3), SHAPE, None, sharding.spec)
            kernel = kernel_alone(sharding.spec)
        assert_is_whole(array, fanin.HeNormal(seed=3)(SHAPE), sharding)
        assert_is_whole(kernel, fanin.HeNormal(seed=3).spawn("fc.kernel")(SHAPE), sharding)


@check("devices")
def axes_that_the_mesh_lacks() -> None:
    """The message has the mesh's axes."""
    with jax.set_mesh(meshes()[0]):
        message = raises(ValueError, lambda: make_array(fanin.HeNormal(seed=3), SHAPE, None, P("z")))
    assert message.startswith("`sharding` must have only axes of the mesh in force, x, y. Received: sharding=")


# 64 bits


@check("x64")
def sixty_four_bits() -> None:
    """Where JAX has 64 bits, float64 and the like are themselves, eager and under jit; float32 stays the default."""
    for name, (_, dtypes, _) in CATALOGUE.items():
        init, shape = as_jax(fresh(name)), shape_for(name, 5, 3, 2)
        for dtype in ("float64", *dtypes):
            if dtype in dtypes:
                eager, compiled = init(KEY, shape, dtype), jax.jit(init, static_argnums=(1, 2))(KEY, shape, dtype)
                assert eager.dtype == compiled.dtype == jnp.dtype(dtype)
                assert same(eager) == same(compiled)
                assert same(make_array(fresh(name), shape, dtype)) == fresh(name)(shape, dtype).tobytes()
    assert as_jax(fanin.HeNormal())(KEY, (2,)).dtype == jnp.float32
    values = np.asarray(as_jax(fanin.HeNormal(seed=3))(KEY, (50, 50), jnp.float64))
    assert (values != values.astype(np.float32)).any()


@check("x64")
def models_of_sixty_four_bits() -> None:
    """Arrays of a tree that are float64 are drawn in float64."""
    kernel = initialize(dense("float64"), RECIPE)[0]["fc"]["kernel"]
    assert kernel.dtype == jnp.float64
    assert same(kernel) == fanin.HeNormal(seed=3).spawn("fc.kernel")(SHAPE, "float64").tobytes()


# Two processes


@check("pair")
def each_process_makes_its_own_shards() -> None:
    """Shards are those of the whole; each process draws its own, once; together they are all of it."""
    from jax.experimental import multihost_utils

    assert jax.process_count() == 2
    assert jax.device_count() == 2 * jax.local_device_count() == 8
    whole, init = fanin.HeNormal(seed=3)(SHAPE), as_jax(fanin.HeNormal(seed=3))
    chosen = np.asarray(init(KEY, SHAPE))
    for sharding in shardings():
        for expected, make in (
            (whole, lambda sharding=sharding: make_array(fanin.HeNormal(seed=3), SHAPE, None, sharding)),
            (chosen, lambda sharding=sharding: init(KEY, SHAPE, jnp.float32, sharding)),
        ):
            with kernels_run() as notes:
                array = make()
            assert sorted(notes) == sorted(set(regions(sharding, SHAPE))), sharding
            assert_is_whole(array, expected, sharding)
            assert multihost_utils.process_allgather(array, tiled=True).tobytes() == expected.tobytes()


@check("pair")
def processes_need_a_seed() -> None:
    """An unseeded array is refused, as each process would choose a seed of its own; what is not random needs none."""
    for sharding in (NamedSharding(meshes()[0], P("x")), None):
        message = raises(ValueError, lambda sharding=sharding: make_array(fanin.HeNormal(), SHAPE, None, sharding))
        assert message == (
            "An initializer must have a seed when several processes make one array. Received: HeNormal(seed=None) in "
            f"process {jax.process_index()} of 2."
        )
    sharding = NamedSharding(meshes()[0], P("x"))
    assert_is_whole(make_array(fanin.Ones(), SHAPE, None, sharding), np.ones(SHAPE, np.float32), sharding)
    assert_is_whole(make_array(fanin.HeNormal(seed=0), SHAPE, None, sharding), fanin.HeNormal(0)(SHAPE), sharding)
    unseeded = as_jax(fanin.HeNormal())  # whose seed is 0
    assert_is_whole(
        unseeded(KEY, SHAPE, jnp.float32, sharding), np.asarray(as_jax(fanin.HeNormal(0))(KEY, SHAPE)), sharding
    )


def errors_of(checks: dict[str, Callable[[], None]]) -> dict[str, str]:
    """The error of each check, "" where it holds, and what it needs where that is not installed."""
    errors = {}
    for name, function in checks.items():
        try:
            function()
            errors[name] = ""
        except Exception as error:
            lacking = error.name if isinstance(error, ModuleNotFoundError) else ""
            errors[name] = f"needs {lacking}" if lacking in ("flax", "optax", "orbax") else traceback.format_exc()
    return errors


def main(group: str, address: str = "", number: str = "0") -> None:
    """Runs a group's checks, and prints what came of them."""
    warnings.simplefilter("error")
    if group == "pair":
        jax.distributed.initialize(address, 2, int(number))
    print(json.dumps({"errors": errors_of(GROUPS[group]), "digests": digests()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
