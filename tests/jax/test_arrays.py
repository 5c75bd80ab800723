"""fanin.jax: what keys choose, the same eager, compiled and mapped; arrays of one device; JAX's libraries."""

from __future__ import annotations

import ctypes
import functools
import gc
import inspect
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

import fanin
from catalogue import CATALOGUE, FLOATS, fitted, fresh, shape_for
from fanin._core.streams import Stream
from fanin.jax import as_jax, make_array
from jax_processes import WIDE, kernels_run, same
from strategies import examples, seeds

HE = fanin.HeNormal(seed=3)
KEYS: dict[str, Callable[[], Any]] = {
    "typed": lambda: jax.random.key(7),
    "zero": lambda: jax.random.key(0),
    "legacy": lambda: jax.random.PRNGKey(7),
    "numpy": lambda: np.array([0, 7], np.uint32),
    "folded": lambda: jax.random.fold_in(jax.random.key(7), 2**31),
    "rbg": lambda: jax.random.key(7, impl="rbg"),
    "unsafe_rbg": lambda: jax.random.key(7, impl="unsafe_rbg"),
    "legacy rbg": lambda: jax.random.PRNGKey(7, impl="rbg"),
}


def expected(initializer: Any, key: Any, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """What a key chooses: the tensor of a stream that the words of the key are folded into, two at a time."""
    words = np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)
    stream = Stream(getattr(initializer, "seed", None) or 0)
    for number in words.view(np.uint64).tolist():  # the first word of two is the low one
        stream = stream.fold_in_wide(number)
    return fanin.Weight(initializer.distribution(shape, dtype), stream).make()


# Values


def test_the_signature_is_that_of_jax() -> None:
    """Names, order and defaults of JAX's own initializers."""
    ours, theirs = (inspect.signature(each).parameters for each in (as_jax(HE), jax.nn.initializers.he_normal()))
    assert list(ours) == list(theirs) == ["key", "shape", "dtype", "out_sharding"]
    assert [each.kind for each in ours.values()] == [each.kind for each in theirs.values()]
    assert ours["out_sharding"].default is theirs["out_sharding"].default is None
    assert jnp.dtype(ours["dtype"].default) == jnp.float32


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name, (_, dtypes, _) in CATALOGUE.items() for dtype in dtypes if dtype not in WIDE],
)
def test_every_class(name: str, dtype: str) -> None:
    """Every class, dtype and rank: the bytes that the key chooses, eager and compiled, as an array of JAX."""
    init, key = as_jax(fresh(name)), jax.random.key(7)
    compiled = jax.jit(init, static_argnums=(1, 2))
    for rank in CATALOGUE[name][2]:
        shape = fitted(name, (5, 3, 4, 2, 2)[:rank])
        for array in (init(key, shape, dtype), init(key, shape, jnp.dtype(dtype)), compiled(key, shape, dtype)):
            assert isinstance(array, jax.Array)
            assert (array.shape, array.dtype) == (shape, jnp.dtype(dtype))
            assert same(array) == expected(fresh(name), key, shape, dtype).tobytes(), shape


@pytest.mark.parametrize("name", CATALOGUE)
def test_shapes_that_a_program_knows(name: str) -> None:
    """A program may give the shape itself."""
    init, key, dtype = as_jax(fresh(name)), jax.random.key(7), CATALOGUE[name][1][0]
    shape = shape_for(name, 5, 3, 2)
    inside = jax.jit(lambda key: init(key, shape, dtype))(key)
    assert same(inside) == expected(fresh(name), key, shape, dtype).tobytes()


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


def test_equal_words_are_equal_keys() -> None:
    """Keys of equal words choose equal values, of whatever kind they are; other words choose others."""
    values = {kind: same(as_jax(HE)(make(), (4, 6))) for kind, make in KEYS.items()}
    assert values["typed"] == values["legacy"] == values["numpy"]
    assert values["rbg"] == values["unsafe_rbg"] == values["legacy rbg"]
    assert len(set(values.values())) == 4


def test_keys_matter() -> None:
    """Different keys choose different values."""
    keys = jax.random.split(jax.random.key(0), 200)
    assert len({same(as_jax(HE)(key, (4, 6))) for key in keys}) == 200


def test_seeds_matter() -> None:
    """Different seeds make different values of one key; no seed is seed 0."""
    seeds, key = (None, 0, 1, -1, 2**63 - 1), jax.random.key(0)
    values = {seed: same(as_jax(fanin.HeNormal(seed))(key, (4, 6))) for seed in seeds}
    assert values[None] == values[0]
    assert len(set(values.values())) == 4


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


def scan(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of many keys, by a loop within a program."""
    return lambda keys: jax.lax.scan(lambda carry, key: (carry, function(key)), 0, keys)[1]


LOOPS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "vmap": jax.vmap,
    "vmap of vmap": lambda function: lambda keys: jax.vmap(jax.vmap(function))(keys.reshape(2, 3)),
    "scan": scan,
    "map": lambda function: functools.partial(jax.lax.map, function),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("layout", ["keras", "torch"])
@pytest.mark.parametrize("loop", LOOPS)
def test_maps_and_loops(loop: str, layout: Any, compiled: bool) -> None:
    """They have the values of a loop over the keys."""
    init, keys = as_jax(HE, layout=layout), jax.random.split(jax.random.key(1), 6)
    values = np.stack([np.asarray(init(key, (4, 6))) for key in keys])
    function = LOOPS[loop](lambda key: init(key, (4, 6)))
    result = (jax.jit(function) if compiled else function)(keys)
    assert result.shape == ((2, 3, 4, 6) if loop == "vmap of vmap" else (6, 4, 6))
    assert same(result) == values.tobytes()


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_gradients(layout: Any) -> None:
    """A gradient for which the values are made again has the same values."""
    init, key = as_jax(HE, layout=layout), jax.random.key(1)
    gradient = jax.grad(jax.checkpoint(lambda factor: (factor * init(key, (4, 6))).sum()))
    assert float(jax.jit(gradient)(2.0)) == pytest.approx(np.asarray(init(key, (4, 6))).sum(), rel=1e-5)


def test_nothing_is_drawn_before_a_program_runs() -> None:
    """Shapes, jaxprs and compiled programs draw nothing; each run does, once."""
    init, key = as_jax(HE), jax.random.key(7)
    with kernels_run() as notes:
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
    texts: list[Any] = [
        stage.as_text()
        for shape in ((2, 5), (10**4, 10**4))
        for lowered in [jax.jit(lambda key, shape=shape: init(key, shape)).lower(key)]
        for stage in (lowered, lowered.compile())
    ]
    assert all(abs(len(small) - len(large)) < 200 for small, large in zip(texts[:2], texts[2:], strict=True))
    baked = jax.jit(lambda: jnp.asarray(HE((30, 30)))).lower().as_text()  # the check can fail
    assert len(baked) > len(texts[0]) + 200


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "as_jax": lambda initializer, dtype: as_jax(initializer)(jax.random.key(7), (4, 6), dtype),
    "make_array": lambda initializer, dtype: make_array(initializer, (4, 6), dtype),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("wide", "narrow"), [("float64", "float32"), ("int64", "int32"), ("complex128", "complex64")])
def test_64_bits_are_32_with_a_warning(wide: str, narrow: str, maker: str) -> None:
    """Without `jax_enable_x64` the narrow dtype's own values are made, and a warning at the caller's line says so."""
    initializer = fanin.RandomUniform(-7, 8, seed=1) if "complex" not in wide else fanin.Ones()
    make = MAKERS[maker]
    message = f"^JAX replaces {wide} with {narrow}. Set jax_enable_x64 to keep {wide}.$"
    with pytest.warns(UserWarning, match=message) as caught:
        array = make(initializer, wide)
    assert [each.filename for each in caught] == [__file__]
    assert array.dtype == jnp.dtype(narrow)
    assert same(array) == same(make(initializer, narrow))


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="modes are set by the numbers of x86"
)
@pytest.mark.parametrize("mode", [0, 0x400, 0x800, 0xC00])
@pytest.mark.parametrize(
    "initializer", [fanin.RandomNormal(stddev=1e-39, seed=1), fanin.TruncatedNormal(0.1, 0.7, seed=1)], ids=repr
)
def test_modes_of_the_processor_reach_no_value(initializer: Any, mode: int) -> None:
    """However this thread rounds, and though JAX's own threads flush subnormals, the bytes are the same."""
    libm, key, init = ctypes.CDLL("libm.so.6"), jax.random.key(7), as_jax(initializer)
    compiled = jax.jit(lambda key: init(key, (1000,)))
    compiled(key).block_until_ready()
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


@pytest.mark.parametrize("dtype", [*FLOATS[:3], None])
@pytest.mark.parametrize("layout", ["keras", "torch", (1, 0)])
def test_arrays_of_one_device(layout: Any, dtype: str | None) -> None:
    """The bytes of the first call, in any layout; the default dtype is fanin's."""
    kernel = fanin.GlorotUniform(seed=3)((5, 7), dtype)
    moved = kernel if layout == "keras" else kernel.T
    array = make_array(fanin.GlorotUniform(seed=3), moved.shape, dtype, layout=layout)
    assert isinstance(array, jax.Array)
    assert (array.dtype, same(array)) == (kernel.dtype, moved.tobytes())


def test_dtypes_of_the_settings() -> None:
    """Without a dtype, that of the settings in force."""
    with fanin.config.using(floatx="bfloat16"):
        assert make_array(HE, (2, 2)).dtype == jnp.bfloat16


def test_arrays_are_no_calls() -> None:
    """An array is that of the first call, whatever came before, and does not count as one."""
    initializer, reference = fanin.GlorotUniform(seed=3), fanin.GlorotUniform(seed=3)
    first = reference((5, 7)).tobytes()
    assert initializer((5, 7)).tobytes() == first
    for layout in ("keras", "torch"):
        assert make_array(initializer, (7, 5), layout=layout).shape == (7, 5)
    assert same(make_array(initializer, (5, 7))) == first
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


def test_keys_of_initializers_of_ones_own() -> None:
    """One that says what to draw is as good as any."""
    key, uniform = jax.random.key(7), fanin.RandomUniform(-0.1, 0.1, seed=3)
    assert same(as_jax(Bounded(3))(key, (5, 7))) == same(as_jax(uniform)(key, (5, 7)))


def test_arrays_of_initializers_of_ones_own() -> None:
    """`make_array` takes it, too."""
    assert same(make_array(Bounded(3), (5, 7))) == fanin.RandomUniform(-0.1, 0.1, seed=3)((5, 7)).tobytes()


def test_keys_of_initializers_that_override_calls() -> None:
    """Of one that overrides `__call__` alone, no key can choose."""
    message = r"must override `distribution`. Received: an initializer of class Halved, which overrides only `__call__`"
    with pytest.raises(TypeError, match=message):
        as_jax(Halved())


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_arrays_of_initializers_that_override_calls(layout: Any) -> None:
    """`make_array` refuses one that overrides `__call__` alone, or obeys it; it never returns memory as it was."""
    try:
        array = make_array(Halved(), (6, 6), layout=layout)
    except TypeError:
        return
    assert same(array) == (Halved()((6, 6)) if layout == "keras" else Halved()((6, 6)).T).tobytes()


ENTRIES: dict[str, Callable[..., Any]] = {
    "as_jax": lambda initializer, **options: as_jax(initializer, **options)(jax.random.key(7), (2, 3)),
    "make_array": lambda initializer, **options: make_array(initializer, (2, 3), **options),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("initializer", [None, 3, dict, jax.nn.initializers.he_normal()])
def test_what_is_no_initializer(entry: str, initializer: Any) -> None:
    """TypeError with an example."""
    with pytest.raises(TypeError, match=r"`initializer` must be a fanin initializer, such as fanin.HeNormal\(seed=1\)"):
        ENTRIES[entry](initializer)


NAMED: dict[str, Any] = {
    "a name": "he_normal",
    "a class's name": "HeNormal",
    "a configuration": {"class_name": "HeNormal", "config": {"seed": None}},
    "a class": fanin.HeNormal,
}


@pytest.mark.parametrize("kind", NAMED)
def test_what_stands_for_an_initializer(kind: str) -> None:
    """A name, a configuration or a class, as for `fanin.get`."""
    key = jax.random.key(7)
    assert same(as_jax(NAMED[kind])(key, (5, 7))) == same(as_jax(fanin.HeNormal())(key, (5, 7)))


@pytest.mark.parametrize("entry", ENTRIES)
def test_names_of_no_initializer(entry: str) -> None:
    """The message has a suggestion."""
    with pytest.raises(ValueError, match="Did you mean 'he_normal'"):
        ENTRIES[entry]("he_norml")


def test_configurations_have_their_seeds() -> None:
    """`make_array` draws with the seed of a configuration."""
    config = fanin.serialize(fanin.HeNormal(seed=3))
    assert config is not None
    assert same(make_array(config, (5, 7))) == fanin.HeNormal(seed=3)((5, 7)).tobytes()


def test_specifications_without_a_mesh() -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="`sharding` must be a sharding") as caught:
        make_array(HE, (4, 4), sharding=jax.sharding.PartitionSpec("x"))
    assert str(caught.value) == (
        "`sharding` must be a sharding if no mesh is in force: a PartitionSpec has no devices. "
        f"Received: sharding={jax.sharding.PartitionSpec('x')!r}. Write NamedSharding(mesh, spec), or make the call in "
        "`with jax.set_mesh(mesh):`."
    )


def test_arrays_in_programs() -> None:
    """`make_array` draws when the program runs, and the program has none of the values."""
    compiled = jax.jit(lambda: make_array(HE, (512, 512)))
    assert len(compiled.lower().as_text()) < 2000
    assert same(compiled()) == HE.weight((512, 512)).make().tobytes()


def test_known_keys_in_programs() -> None:
    """A key that is known while a program is made leaves no values in it, either."""
    key, init = jax.random.key(7), as_jax(HE)
    compiled = jax.jit(lambda: init(key, (512, 512)))
    assert len(compiled.lower().as_text()) < 2000
    assert same(compiled()) == same(init(key, (512, 512)))


def test_a_function_is_refused_before_it_is_called() -> None:
    """`as_jax` itself refuses what is no initializer."""
    with pytest.raises(TypeError, match="`initializer` must be a fanin initializer"):
        as_jax(jax.nn.initializers.he_normal())  # pyright: ignore[reportArgumentType]


def test_a_call_without_a_key() -> None:
    """haiku calls initializers so; the error says what to write there."""
    for init in (as_jax(HE), fanin.jax.initializers.he_normal()):
        with pytest.raises(TypeError, match="haiku passes no key"):
            init((3, 4), jnp.dtype("float32"))


def test_a_shape_that_a_program_does_not_know() -> None:
    """fanin's own message, before the program runs."""
    init = as_jax(HE)
    with pytest.raises(TypeError, match="`shape` must be a sequence of non-negative integers"):
        jax.jit(lambda key, length: init(key, (length, 2)))(jax.random.key(7), 3)


def test_a_dtype_that_an_initializer_does_not_make() -> None:
    """fanin's own message."""
    with pytest.raises(ValueError, match="Expected floating point type, got int32"):
        as_jax(HE)(jax.random.key(7), (2, 3), jnp.int32)


LAYOUTS = {
    "kears": r"`layout` must be .* Did you mean 'keras'\?",
    (0, 0): "`layout` must have each of the tensor's 2 axes once",
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bad_layouts(entry: str, layout: Any) -> None:
    """fanin's own messages."""
    with pytest.raises(ValueError, match=LAYOUTS[layout]):
        ENTRIES[entry](HE, layout=layout)


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
