"""fanin.jax: what keys choose, the same eager, compiled, mapped, sharded and in every process; JAX's libraries."""

from __future__ import annotations

import ctypes
import functools
import gc
import inspect
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from catalogue import CATALOGUE, FLOATS, fresh
from fanin import _random
from strategies import examples, seeds

jax = pytest.importorskip("jax")
processes = pytest.importorskip("jax_processes")
jnp, as_jax, make_array, same, drawn = (
    jax.numpy,
    processes.as_jax,
    processes.make_array,
    processes.same,
    processes.drawn,
)

HE = fanin.HeNormal(seed=3)
KEYS: dict[str, Callable[[], Any]] = {
    "typed": lambda: jax.random.key(7),
    "legacy": lambda: jax.random.PRNGKey(7),
    "numpy": lambda: np.array([0, 7], np.uint32),
    "folded": lambda: jax.random.fold_in(jax.random.key(7), 2**31),
    "rbg": lambda: jax.random.key(7, impl="rbg"),
    "unsafe_rbg": lambda: jax.random.key(7, impl="unsafe_rbg"),
    "legacy rbg": lambda: jax.random.PRNGKey(7, impl="rbg"),
}


def expected(initializer: Any, key: Any, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """What a key chooses: the tensor of a pair of seeds that the words of the key are folded into, two at a time."""
    words = np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)
    pair = (getattr(initializer, "seed", None) or 0, 0)
    for number in words.view(np.uint64).tolist():  # the first word of two is the low one
        pair = _random.fold_in(pair, number)
    return initializer.distribution(shape, dtype).draw(pair)


# Values


def test_the_signature_is_that_of_jax() -> None:
    """Names, order and defaults of JAX's own initializers."""
    ours, theirs = (inspect.signature(each).parameters for each in (as_jax(HE), jax.nn.initializers.he_normal()))
    assert list(ours) == list(theirs) == ["key", "shape", "dtype", "out_sharding"]
    assert [each.kind for each in ours.values()] == [each.kind for each in theirs.values()]
    assert ours["out_sharding"].default is theirs["out_sharding"].default is None
    assert jnp.dtype(ours["dtype"].default) == jnp.float32


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_class(name: str) -> None:
    """Every class, dtype and rank: the bytes that the key chooses, eager and compiled, as an array of JAX."""
    _, dtypes, ranks = CATALOGUE[name]
    init, key = as_jax(fresh(name)), jax.random.key(7)
    compiled = jax.jit(init, static_argnums=(1, 2))
    for dtype in [each for each in dtypes if each not in processes.WIDE]:
        for rank in ranks:
            shape = (5, 3, 4, 2, 2)[:rank]
            for array in (init(key, shape, dtype), init(key, shape, jnp.dtype(dtype)), compiled(key, shape, dtype)):
                assert isinstance(array, jax.Array)
                assert (array.shape, array.dtype) == (shape, jnp.dtype(dtype))
                assert same(array) == expected(fresh(name), key, shape, dtype).tobytes()
    inside = jax.jit(lambda key: init(key, (5, 3), dtypes[0]))(key)  # a shape that the program knows
    assert same(inside) == expected(fresh(name), key, (5, 3), dtypes[0]).tobytes()


@given(data=st.data(), seed=st.none() | seeds, words=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2))
@examples(100)
def test_any_key_and_seed(data: st.DataObject, seed: int | None, words: list[int]) -> None:
    """Any key's words, seed, shape, dtype and layout."""
    shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=4)))
    dtype, layout = data.draw(st.sampled_from(["float16", "bfloat16", "float32"])), data.draw(st.booleans())
    key = np.array(words, np.uint32)
    axes = (*range(2, len(shape)), 1, 0) if layout and len(shape) >= 2 else tuple(range(len(shape)))
    array = as_jax(fanin.LecunNormal(seed), layout="torch" if layout else "keras")(key, shape, dtype)
    kernel = expected(fanin.LecunNormal(seed), key, tuple([shape[axis] for axis in axes]), dtype)
    assert same(jnp.transpose(array, axes)) == kernel.tobytes()


def test_a_key_is_folded_in_as_a_call_is() -> None:
    """The key of words (n, 0) chooses what the documented call number n draws."""
    initializer = fanin.GlorotUniform(seed=-5)
    calls = [initializer((7, 3)).tobytes() for _ in range(6)]
    init = as_jax(initializer)
    assert [same(init(np.array([n, 0], np.uint32), (7, 3))) for n in range(1, 6)] == calls[1:]
    assert initializer((7, 3)).tobytes() not in calls  # and keys do not count


@pytest.mark.parametrize("kind", KEYS)
def test_kinds_of_keys(kind: str) -> None:
    """Typed and legacy keys of each generator: as their words say, eager and compiled; again, the same."""
    key, init = KEYS[kind](), as_jax(HE)
    for array in (init(key, (4, 6)), init(key, (4, 6)), jax.jit(lambda key: init(key, (4, 6)))(key)):
        assert same(array) == expected(HE, key, (4, 6)).tobytes()


def test_keys_and_seeds_matter() -> None:
    """Equal words mean equal values; different keys, seeds and generators different ones; no seed is seed 0."""
    values = {kind: same(as_jax(HE)(make(), (4, 6))) for kind, make in KEYS.items()}
    assert values["typed"] == values["legacy"] == values["numpy"]
    assert values["rbg"] == values["unsafe_rbg"] == values["legacy rbg"]
    assert len(set(values.values())) == 3
    many = jax.random.split(jax.random.key(0), 200)
    assert len({same(as_jax(HE)(key, (4, 6))) for key in many}) == 200
    by_seed = {seed: same(as_jax(fanin.HeNormal(seed))(many[0], (4, 6))) for seed in (None, 0, 1, -1, 2**63 - 1)}
    assert by_seed[None] == by_seed[0]
    assert len(set(by_seed.values())) == 4


NO_KEYS: dict[str, Callable[[], Any]] = {
    "several": lambda: jax.random.split(jax.random.key(0), 3),
    "several legacy": lambda: jax.random.split(jax.random.PRNGKey(0), 3),
    "one in an array": lambda: jax.random.split(jax.random.key(0), 1),
    "half": lambda: jnp.zeros(3, jnp.uint32),
    "none": lambda: jnp.zeros(0, jnp.uint32),
    "floats": lambda: jnp.zeros(2),
    "a number": lambda: 3,
    "nothing": lambda: None,
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", NO_KEYS)
def test_what_is_no_key_is_refused(kind: str, compiled: bool) -> None:
    """TypeError or ValueError that names the key, before a program runs."""
    init = as_jax(HE)
    function = jax.jit(lambda key: init(key, (4, 6))) if compiled else lambda key: init(key, (4, 6))
    with pytest.raises((TypeError, ValueError), match="`key` must be"):
        function(NO_KEYS[kind]())


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_maps_loops_and_gradients(layout: str) -> None:
    """`vmap` (of maps, too), `scan` and rematerialised gradients have the values of a loop over the keys."""
    init, keys = as_jax(HE, layout=layout), jax.random.split(jax.random.key(1), 6)
    loop = np.stack([np.asarray(init(key, (4, 6))) for key in keys])

    def one(key: Any) -> Any:
        return init(key, (4, 6))

    def scan(keys: Any) -> Any:
        return jax.lax.scan(lambda carry, key: (carry, one(key)), 0, keys)[1]

    for function in (jax.vmap(one), scan, functools.partial(jax.lax.map, one)):
        assert same(function(keys)) == same(jax.jit(function)(keys)) == loop.tobytes()
    grid = jax.vmap(jax.vmap(one))(keys.reshape(2, 3))
    assert (grid.shape, same(grid)) == ((2, 3, 4, 6), loop.tobytes())
    gradient = jax.grad(jax.checkpoint(lambda factor: (factor * one(keys[0])).sum()))
    assert float(jax.jit(gradient)(2.0)) == pytest.approx(loop[0].sum(), rel=1e-5)


def test_nothing_is_drawn_before_a_program_runs() -> None:
    """Shapes, jaxprs and compiled programs draw nothing; each run does, once."""
    init, key = as_jax(HE), jax.random.key(7)
    with drawn() as notes:
        shaped = jax.eval_shape(lambda key: init(key, (4, 6), jnp.bfloat16), key)
        assert (shaped.shape, shaped.dtype) == ((4, 6), jnp.bfloat16)
        jax.make_jaxpr(lambda key: init(key, (4, 6)))(key)
        compiled = jax.jit(lambda key: init(key, (4, 6))).lower(key).compile()
        assert notes == []
        for _ in range(2):
            compiled(key).block_until_ready()
        assert notes == [((0, 0), (4, 6))] * 2


def test_no_values_are_in_a_program() -> None:
    """A program is as long for 10**8 elements as for ten."""
    init, key = as_jax(HE), jax.random.key(7)
    texts = [
        stage.as_text()
        for shape in ((2, 5), (10**4, 10**4))
        for lowered in [jax.jit(lambda key, shape=shape: init(key, shape)).lower(key)]
        for stage in (lowered, lowered.compile())
    ]
    assert all(abs(len(small) - len(large)) < 200 for small, large in zip(texts[:2], texts[2:], strict=True))
    baked = jax.jit(lambda: jnp.asarray(HE((30, 30)))).lower().as_text()  # the check can fail
    assert len(baked) > len(texts[0]) + 200


@pytest.mark.parametrize(("wide", "narrow"), [("float64", "float32"), ("int64", "int32"), ("complex128", "complex64")])
def test_64_bits_are_32_with_a_warning(wide: str, narrow: str) -> None:
    """Without `jax_enable_x64` the narrow dtype's own values are made, and a warning at the caller's line says so."""
    initializer = fanin.RandomUniform(-7, 8, seed=1) if "complex" not in wide else fanin.Ones()
    init, key = as_jax(initializer), jax.random.key(7)
    message = f"^JAX replaces {wide} with {narrow}. Set jax_enable_x64 to keep {wide}.$"
    for call in (lambda dtype: init(key, (4, 6), dtype), lambda dtype: make_array(initializer, (4, 6), dtype)):
        with pytest.warns(UserWarning, match=message) as caught:
            array = call(wide)
        assert [each.filename for each in caught] == [__file__]
        assert array.dtype == jnp.dtype(narrow)
        assert same(array) == same(call(narrow))


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="modes are set by the numbers of x86"
)
def test_modes_of_the_processor_reach_no_value() -> None:
    """However this thread rounds, and though JAX's own threads flush subnormals, the bytes are the same."""
    libm, key = ctypes.CDLL("libm.so.6"), jax.random.key(7)
    for initializer in (fanin.RandomNormal(stddev=1e-39, seed=1), fanin.TruncatedNormal(0.1, 0.7, seed=1)):
        init = as_jax(initializer)
        compiled = jax.jit(lambda key, init=init: init(key, (1000,)))
        for mode in (0, 0x400, 0x800, 0xC00):
            assert libm.fesetround(mode) == 0
            try:
                arrays = [init(key, (1000,)), compiled(key)]
                jax.block_until_ready(arrays)
            finally:
                libm.fesetround(0)
            for array in arrays:
                assert same(array) == expected(initializer, key, (1000,)).tobytes()


def test_results_have_memory_of_their_own() -> None:
    """Nothing that comes later changes a result: other calls, a donated result, arrays that are written to."""
    init, key = as_jax(HE), jax.random.key(7)
    double = jax.jit(lambda array: array * 2 + 1, donate_argnums=0)
    results = [init(key, (64, 64)), jax.jit(lambda key: init(key, (64, 64)))(key), make_array(HE, (64, 64))]
    results.append(make_array(HE, (64, 64), layout="torch"))
    before = [same(result) for result in results]
    for make in (lambda: init(key, (64, 64)), lambda: make_array(HE, (64, 64))):
        given = make()
        assert given.unsafe_buffer_pointer() not in [result.unsafe_buffer_pointer() for result in results]
        changed = double(given)
        assert given.is_deleted()
        assert same(changed) == same(jax.jit(lambda array: array * 2 + 1)(make()))
    for _ in range(20):
        HE((64, 64)).fill(-1)
        jax.block_until_ready(init(jax.random.key(8), (64, 64)) + 1)
    gc.collect()
    assert [same(result) for result in results] == before


# make_array on one device


def test_arrays_of_one_device() -> None:
    """The bytes of the first call, whatever came before, in any layout; the default dtype is fanin's."""
    initializer = fanin.GlorotUniform(seed=3)
    first = initializer((5, 7))
    for dtype in (*FLOATS[:3], None):
        kernel = fanin.GlorotUniform(seed=3)((5, 7), dtype)
        for layout, moved in (("keras", kernel), ("torch", kernel.T), ((1, 0), kernel.T)):
            array = make_array(initializer, moved.shape, dtype, layout=layout)
            assert isinstance(array, jax.Array)
            assert (array.dtype, same(array)) == (kernel.dtype, moved.tobytes())
    with fanin.config.using(floatx="bfloat16"):
        assert make_array(initializer, (2, 2)).dtype == jnp.bfloat16
    reference = fanin.GlorotUniform(seed=3)
    assert reference((5, 7)).tobytes() == first.tobytes()
    assert initializer((5, 7)).tobytes() == reference((5, 7)).tobytes()  # the second call


# Initializers that are none, or of one's own


class Halved(fanin.Initializer):
    """An initializer of one's own that overrides `__call__`, as its base class's documentation shows it."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:  # pyright: ignore
        return fanin.HeNormal(seed=3)(shape, dtype) / 2


class Bounded(fanin.SeededInitializer):
    """An initializer of one's own that says what to draw."""

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        return fanin.RandomUniform(-0.1, 0.1).distribution(shape, dtype)


def test_initializers_of_ones_own() -> None:
    """One that says what to draw is as good as any; of one that overrides `__call__` alone, no key can choose."""
    key, uniform = jax.random.key(7), fanin.RandomUniform(-0.1, 0.1, seed=3)
    assert same(as_jax(Bounded(3))(key, (5, 7))) == same(as_jax(uniform)(key, (5, 7)))
    assert same(make_array(Bounded(3), (5, 7))) == uniform((5, 7)).tobytes()
    with pytest.raises(
        TypeError, match=r"its method `distribution`. Received: one of class Halved, which overrides `__call__`"
    ):
        as_jax(Halved())


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_arrays_of_initializers_that_override_calls(layout: str) -> None:
    """`make_array` refuses one that overrides `__call__` alone, or obeys it; it never returns memory as it was."""
    try:
        array = make_array(Halved(), (6, 6), layout=layout)
    except TypeError:
        return
    assert same(array) == (Halved()((6, 6)) if layout == "keras" else Halved()((6, 6)).T).tobytes()


@pytest.mark.parametrize("make", [as_jax, lambda initializer: make_array(initializer, (2, 3))])
@pytest.mark.parametrize("initializer", ["he_normal", None, fanin.HeNormal, jax.nn.initializers.he_normal()])
def test_what_is_no_initializer(make: Callable[[Any], Any], initializer: Any) -> None:
    """TypeError with an example."""
    with pytest.raises(TypeError, match=r"`initializer` must be a fanin initializer, such as fanin.HeNormal\(seed=1\)"):
        make(initializer)


def test_bad_shapes_dtypes_and_layouts() -> None:
    """fanin's own messages, also within a program that does not know a shape."""
    key, init = jax.random.key(7), as_jax(HE)
    with pytest.raises(TypeError, match="`shape` must be a sequence of non-negative integers"):
        jax.jit(lambda key, length: init(key, (length, 2)))(key, 3)
    with pytest.raises(ValueError, match="Expected floating point type, got int32"):
        init(key, (2, 3), jnp.int32)
    for function in (
        lambda layout: as_jax(HE, layout=layout)(key, (2, 3)),
        lambda each: make_array(HE, (2, 3), layout=each),
    ):
        with pytest.raises(ValueError, match=r"`layout` must be .* Did you mean 'keras'\?"):
            function("kears")
        with pytest.raises(ValueError, match="`layout` must have each of the tensor's 2 axes once"):
            function((0, 0))


def test_without_jax() -> None:
    """The error says what to install."""
    script = "import sys; sys.modules['jax'] = None; import fanin.jax"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ImportError: JAX is not installed: pip install 'fanin[jax]'." in run.stderr


# JAX's libraries


class Spy:
    """An initializer for JAX that notes the keys it gets."""

    def __init__(self, initializer: Any) -> None:
        self.keys: list[Any] = []
        self.init = as_jax(initializer)

    def __call__(self, key: Any, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> Any:
        self.keys.append(key)
        return self.init(key, shape, dtype, out_sharding)


def test_flax_linen() -> None:
    """Kernels of dense and convolutional layers are what their keys choose, eager and compiled."""
    nn = pytest.importorskip("flax.linen")
    for layer, shape, kernel in (
        (lambda init: nn.Dense(6, kernel_init=init), (1, 4), (4, 6)),
        (lambda init: nn.Conv(6, (3, 2), feature_group_count=2, kernel_init=init), (1, 9, 9, 4), (3, 2, 2, 6)),
        (lambda init: nn.Dense(6, kernel_init=init, param_dtype=jnp.bfloat16), (1, 4), (4, 6)),
    ):
        spy = Spy(HE)
        eager = layer(spy).init(jax.random.key(0), jnp.ones(shape))["params"]["kernel"]
        assert len(spy.keys) == 1
        assert same(eager) == expected(HE, spy.keys[0], kernel, eager.dtype).tobytes()
        compiled = jax.jit(layer(as_jax(HE)).init)(jax.random.key(0), jnp.ones(shape))["params"]["kernel"]
        assert (compiled.dtype, same(compiled)) == (eager.dtype, same(eager))


def test_flax_linen_scan() -> None:
    """Layers of `nn.scan` whose keys are split have values of their own, the same eager and compiled."""
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(4, kernel_init=as_jax(HE))(x), None

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()(x, None)[0]

    kernels = [
        init(jax.random.key(0), jnp.ones((1, 4)))["params"]["ScanBlock_0"]["Dense_0"]["kernel"]
        for init in (Model().init, jax.jit(Model().init))
    ]
    assert kernels[0].shape == (5, 4, 4)
    assert len({same(each) for each in kernels[0]}) == 5
    assert same(kernels[0]) == same(kernels[1])


def test_flax_nnx() -> None:
    """Kernels of nnx's layers are what their keys choose, eager and compiled; every leaf is an array of JAX."""
    nnx = pytest.importorskip("flax.nnx")
    for layer, kernel in (
        (lambda init: nnx.Linear(4, 6, kernel_init=init, rngs=nnx.Rngs(0)), (4, 6)),
        (lambda init: nnx.Conv(4, 6, (3, 2), kernel_init=init, rngs=nnx.Rngs(0)), (3, 2, 4, 6)),
    ):
        spy = Spy(HE)
        eager, compiled = layer(spy), nnx.jit(lambda layer=layer: layer(as_jax(HE)))()
        assert same(eager.kernel[...]) == expected(HE, spy.keys[0], kernel).tobytes()
        assert same(eager.kernel[...]) == same(compiled.kernel[...])
        for model in (eager, compiled):
            leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
            assert len(leaves) == 2
            assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_haiku() -> None:
    """A layer of haiku, whose initializers take no key, with the next of its keys."""
    hk = pytest.importorskip("haiku")
    spy = Spy(HE)
    model = hk.transform(lambda x: hk.Linear(6, w_init=lambda shape, dtype: spy(hk.next_rng_key(), shape, dtype))(x))
    eager = model.init(jax.random.key(0), jnp.ones((1, 4)))["linear"]["w"]
    assert same(eager) == expected(HE, spy.keys[0], (4, 6)).tobytes()
    assert same(jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 4)))["linear"]["w"]) == same(eager)


def test_equinox() -> None:
    """A layer of equinox, whose weight has PyTorch's order of axes: the transpose of the same key's kernel."""
    eqx = pytest.importorskip("equinox")
    key, init = jax.random.key(7), as_jax(HE, layout="torch")
    for layer, kernel in (
        (eqx.nn.Linear(4, 6, key=key), (4, 6)),
        (eqx.nn.Conv2d(4, 6, (3, 2), key=key), (3, 2, 4, 6)),
        (eqx.nn.ConvTranspose1d(4, 6, 3, key=key), (3, 4, 6)),  # whose weight is (out, in, …) in equinox
    ):
        for function in (init, jax.jit(init, static_argnums=1)):
            filled = eqx.tree_at(lambda layer: layer.weight, layer, function(key, layer.weight.shape))
            assert filled.weight.shape == layer.weight.shape
            assert same(filled.weight) == np.moveaxis(expected(HE, key, kernel), (-1, -2), (0, 1)).tobytes()
    assert same(as_jax(HE)(key, (4, 6))) == same(init(key, (6, 4)).T)


# Processes of their own


def started(group: str, *arguments: str, devices: int, x64: bool = False) -> subprocess.Popen[str]:
    """A process that runs a group of checks with so many devices."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_ENABLE_X64": str(int(x64)),
        "PYTHONPATH": os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", "")))),
    }
    command, pipe = [sys.executable, processes.__file__, group, *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@functools.cache
def outcomes(group: str) -> list[dict[str, Any]]:
    """What each process of a group printed."""
    if group == "pair":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        running = [started(group, address, str(number), devices=4) for number in range(2)]
    else:
        running = [started(group, devices=8 if group == "devices" else 1, x64=group == "x64")]
    found = []
    try:
        for process in running:
            output, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
            found.append(json.loads(output.splitlines()[-1]))
    finally:
        for process in running:
            process.kill()
    return found


@pytest.mark.parametrize(
    ("group", "check"), [(group, check) for group, checks in processes.GROUPS.items() for check in checks]
)
def test_in_processes_of_their_own(group: str, check: str) -> None:
    """Each check of jax_processes.py holds, in each process that runs it."""
    for outcome in outcomes(group):
        error = outcome["errors"].get(check, "did not run")
        assert not error, error


@pytest.mark.parametrize("group", processes.GROUPS)
def test_keys_mean_the_same_in_every_process(group: str) -> None:
    """On many devices, with 64 bits, next to another process: the bytes of this one."""
    for outcome in outcomes(group):
        assert outcome["digests"] == processes.digests()
