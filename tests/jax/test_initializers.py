"""fanin.jax.initializers: the names, arguments and laws of JAX's and flax's, with the bytes of fanin's classes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

import fanin
import jax_doors
import jax_started
from catalogue import CATALOGUE, fresh, shape_for
from fanin.jax import as_jax, initializers
from jax_doors import CASES
from jax_processes import same

PEERS = ("jax.nn.initializers", "flax.linen.initializers", "flax.nnx.nn.initializers")
OF_NO_USE = ("DtypeLikeInexact",)  # a type that flax.nnx imports
KEY = jax.random.key(7)

each_case = pytest.mark.parametrize("name", CASES)


def public(module: ModuleType) -> list[str]:
    """The public names of a library's module, without the modules that it imports."""
    named = {name: value for name, value in vars(module).items() if name[0] != "_" and name not in OF_NO_USE}
    return [name for name, value in named.items() if not isinstance(value, ModuleType) and name != "annotations"]


NAMES = [(peer, name) for peer in PEERS[:1] for name in public(importlib.import_module(peer))]


# Names


@pytest.mark.parametrize("peer", PEERS)
def test_every_name_is_there(peer: str) -> None:
    """A name that JAX or flax has is a name here."""
    pytest.importorskip(peer.partition(".")[0])
    assert set(public(importlib.import_module(peer))) <= set(initializers.__all__)


def test_no_other_name() -> None:
    """What is public here is in JAX's list or in flax's."""
    pytest.importorskip("flax")
    theirs = {name for peer in PEERS for name in public(importlib.import_module(peer))}
    assert set(initializers.__all__) == theirs


@pytest.mark.parametrize(("peer", "name"), NAMES)
def test_signatures(peer: str, name: str) -> None:
    """The parameters have JAX's names, order, kinds and defaults."""
    theirs = inspect.signature(getattr(importlib.import_module(peer), name)).parameters.values()
    ours = inspect.signature(getattr(initializers, name)).parameters.values()
    assert [(each.name, each.kind, each.default) for each in ours] == [
        (each.name, each.kind, each.default) for each in theirs
    ]


@each_case
def test_signatures_of_what_they_return(name: str) -> None:
    """An initializer takes what JAX's takes, and is one by JAX's protocol."""
    ours, theirs = (CASES[name].build(each) for each in (initializers, jax.nn.initializers))
    assert isinstance(ours, jax.nn.initializers.Initializer)
    for one, other in zip(*(inspect.signature(each).parameters.values() for each in (ours, theirs)), strict=True):
        assert (one.name, one.kind, one.default) == (other.name, other.kind, other.default)


def test_every_function_is_a_case() -> None:
    """Every function of the module is tested by its cases."""
    functions = {name.partition(",")[0] for name in CASES}
    aliases = {"kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "zeros_init", "ones_init"}
    assert functions | aliases | {"Initializer"} == set(initializers.__all__)


def test_aliases() -> None:
    """The other names of a function are the function itself."""
    assert initializers.kaiming_normal is initializers.he_normal
    assert initializers.kaiming_uniform is initializers.he_uniform
    assert initializers.xavier_normal is initializers.glorot_normal
    assert initializers.xavier_uniform is initializers.glorot_uniform
    assert initializers.zeros_init() is initializers.zeros
    assert initializers.ones_init() is initializers.ones
    assert initializers.Initializer is jax.nn.initializers.Initializer


# Values


@each_case
def test_bytes_of_the_class(name: str) -> None:
    """The array is that of fanin's class with the key folded in: eager, compiled, and with a shape that jit fixes."""
    case = CASES[name]
    init, expected = case.build(initializers), same(as_jax(case.source)(KEY, case.shape, case.dtype))
    made = init(KEY, case.shape, case.dtype)
    assert (made.shape, made.dtype) == (case.shape, case.dtype)
    assert same(made) == expected
    assert same(jax.jit(init, static_argnums=(1, 2))(KEY, case.shape, case.dtype)) == expected
    assert same(jax.jit(lambda key: init(key, case.shape, case.dtype))(KEY)) == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.dtype == "float32"])
def test_narrow_dtypes(name: str, dtype: str) -> None:
    """The dtypes of 16 bits are fanin's classes', too."""
    case = CASES[name]
    made = case.build(initializers)(KEY, case.shape, dtype)
    assert made.dtype == dtype
    assert same(made) == same(as_jax(case.source)(KEY, case.shape, dtype))


@each_case
def test_vmap(name: str) -> None:
    """Over keys, eager and compiled, each array is the one that its key chooses."""
    case, keys = CASES[name], jax.random.split(KEY, 3)
    init = case.build(initializers)
    expected = b"".join(same(init(key, case.shape, case.dtype)) for key in keys)
    mapped = jax.vmap(lambda key: init(key, case.shape, case.dtype))
    assert same(mapped(keys)) == expected
    assert same(jax.jit(mapped)(keys)) == expected


def parts(array: Any) -> list[np.ndarray]:
    """The real numbers of an array: of a complex one, the real and imaginary parts and absolute values."""
    values: Any = np.asarray(array).reshape(-1)
    return [values.real, values.imag, abs(values)] if np.iscomplexobj(values) else [values]


@each_case
def test_laws(name: str) -> None:
    """The values have the distribution of JAX's: equal where nothing is random, else by a Kolmogorov-Smirnov test."""
    case = CASES[name]
    many = jax.random.split(KEY, max(1, 60_000 // int(np.prod(case.shape))))
    both = [case.build(library) for library in (initializers, jax.nn.initializers)]
    draws = [np.asarray(jax.vmap(lambda key, init=init: init(key, case.shape, case.dtype))(many)) for init in both]
    if len(np.unique(draws[1])) <= 24:
        assert np.array_equal(draws[0], draws[1])
        return
    test: Any = stats.ks_2samp
    for ours, theirs in zip(*map(parts, draws), strict=True):
        assert test(ours, theirs).pvalue > 1e-4
        assert abs(ours.std() / theirs.std() - 1) < 0.02
        assert abs(ours.mean() - theirs.mean()) < 0.02 * theirs.std() + 1e-9


@pytest.mark.parametrize("name", ["orthogonal", "orthogonal, tall", "orthogonal, columns", "orthogonal, complex"])
def test_orthogonal_matrices(name: str) -> None:
    """The columns of the axis, or the rows if there are fewer, are orthonormal, times the scale."""
    case = CASES[name]
    tensor = np.asarray(case.build(initializers)(KEY, case.shape, case.dtype))
    axis = 1 if name.endswith("columns") else -1
    matrix = np.moveaxis(tensor, axis, -1).reshape(-1, case.shape[axis])
    matrix = matrix.T if matrix.shape[0] < matrix.shape[1] else matrix
    scale = getattr(case.source, "gain", 1.0)
    assert abs(matrix.conj().T @ matrix - scale**2 * np.eye(matrix.shape[1])).max() < 1e-5


# Arguments


# Those that are built with a dtype: not initializers themselves, whose dtype is that of a call.
BUILT = [
    name
    for name, case in CASES.items()
    if case.dtype == "float32"
    and name not in ("zeros", "ones", "variance_scaling, zeros")
    and "dtype" in inspect.signature(getattr(initializers, name.partition(",")[0])).parameters
]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", BUILT)
def test_the_dtype_of_the_builder(name: str, dtype: str) -> None:
    """Calls without a dtype have the builder's; a call's own dtype counts for more."""
    with_dtype = _Dtypes(dtype)
    init = CASES[name].build(with_dtype)
    assert init(KEY, CASES[name].shape).dtype == dtype
    assert init(KEY, CASES[name].shape, "float32").dtype == "float32"


class _Dtypes:
    """The functions of the module with a dtype."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: getattr(initializers, name)(*args, **{**kwargs, "dtype": self._dtype})


@pytest.mark.parametrize("function", ["uniform", "normal", "truncated_normal"])
@pytest.mark.parametrize("scalar", [jnp.float32(0.5), np.float64(0.5), jnp.array(0.5), 0.5], ids=repr)
def test_scalar_arrays_do_not_widen(function: str, scalar: Any) -> None:
    """A scalar array as parameter leaves the dtype as it is, and has the values of the number."""
    made = getattr(initializers, function)(scalar, jnp.bfloat16)(KEY, (4, 4))
    assert made.dtype == jnp.bfloat16
    assert same(made) == same(getattr(initializers, function)(0.5)(KEY, (4, 4), jnp.bfloat16))


@pytest.mark.parametrize("function", ["zeros", "ones", "constant", "constant, array"])
@pytest.mark.parametrize("key", [None, 0, "key"])
def test_constants_ignore_their_keys(function: str, key: Any) -> None:
    """As in JAX, what draws nothing takes anything for a key."""
    case = CASES[function]
    expected = same(case.build(jax.nn.initializers)(key, case.shape))
    assert same(case.build(initializers)(key, case.shape)) == expected
    assert same(jax.jit(lambda: case.build(initializers)(key, case.shape))()) == expected


@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", "bfloat16", "complex64", "float8_e4m3fn", "uint8"])
@pytest.mark.parametrize("value", [2, 2.7, 0.1, True, np.float64(1 / 3), np.arange(3), [1.5, 2.5, 3.5]], ids=repr)
def test_constants_are_converted_as_jax_converts_them(value: Any, dtype: str) -> None:
    """The bytes of JAX's constants, of any number and dtype."""
    theirs: Any = jax.nn.initializers.constant(jnp.asarray(value) if isinstance(value, list) else value)
    ours: Any = initializers.constant(value)
    assert same(ours(None, (2, 3), dtype)) == same(theirs(None, (2, 3), dtype))


@pytest.mark.parametrize("name", ["normal", "zeros", "constant"])
def test_a_length_is_a_shape(name: str) -> None:
    """JAX takes the length of a vector as its shape."""
    init = CASES[name].build(initializers)
    assert same(init(KEY, 3)) == same(init(KEY, (3,))) == same(init(KEY, [np.int64(3)]))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 2)])
@pytest.mark.parametrize("name", ["normal", "he_normal", "truncated_normal", "orthogonal", "zeros", "glorot_uniform"])
def test_empty_arrays(name: str, shape: tuple[int, ...]) -> None:
    """Arrays without elements are made, also where JAX divides by their lengths."""
    made = CASES[name].build(initializers)(KEY, shape, "float32")
    assert (made.shape, made.dtype) == (shape, "float32")


def test_default_dtype() -> None:
    """The default dtype is JAX's: float32 where 64 bits are not enabled."""
    assert initializers.he_normal()(KEY, (2, 2)).dtype == jnp.float32
    assert initializers.zeros(KEY, (2,)).dtype == jnp.float32


# Errors: JAX's types

ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "mode": (lambda library: library.variance_scaling(1.0, "fan", "normal")(KEY, (2, 2)), ValueError, "`mode`"),
    "distribution": (
        lambda library: library.variance_scaling(1.0, "fan_in", "untruncated_normal")(KEY, (2, 2)),
        ValueError,
        "`distribution` must be one of .*'normal'",
    ),
    "vector": (lambda library: library.he_normal()(KEY, (5,)), ValueError, "at least two axes.*rank 1"),
    "scalar": (lambda library: library.he_normal()(KEY, ()), ValueError, "at least two axes.*rank 0"),
    "in_axis": (lambda library: library.he_normal(in_axis=2)(KEY, (2, 2)), IndexError, r"`in_axis`.*\[2\]"),
    "out_axis": (lambda library: library.he_normal(out_axis=(0, -3))(KEY, (2, 2)), IndexError, r"`out_axis`.*-3"),
    "batch_axis": (lambda library: library.he_normal(batch_axis=[5])(KEY, (2, 2)), IndexError, "`batch_axis`"),
    "column_axis": (lambda library: library.orthogonal(column_axis=2)(KEY, (2, 2)), IndexError, "`column_axis`"),
    "orthogonal vector": (lambda library: library.orthogonal()(KEY, (2,)), ValueError, "two-dimensional"),
    "delta rank": (
        lambda library: library.delta_orthogonal()(KEY, (2, 2)),
        ValueError,
        "three, four or five|rank|axes",
    ),
    "delta narrow": (
        lambda library: library.delta_orthogonal()(KEY, (3, 4, 2)),
        ValueError,
        "(?i)input|last|axis|channels",
    ),
    "uniform integers": (lambda library: library.uniform(10)(KEY, (2,), "int32"), ValueError, "floating point"),
    "uniform complex": (lambda library: library.uniform()(KEY, (2,), "complex64"), ValueError, "floating point"),
    "normal integers": (lambda library: library.normal()(KEY, (2,), "int32"), ValueError, "floating point"),
    "truncated complex": (lambda library: library.truncated_normal()(KEY, (2,), "complex64"), ValueError, "floating"),
    "he integers": (lambda library: library.he_normal()(KEY, (2, 2), "int32"), ValueError, "floating point"),
    "constant shape": (lambda library: library.constant(np.arange(3))(KEY, (2, 2)), ValueError, "broadcast"),
    "no key": (lambda library: library.normal()(None, (2,)), TypeError, "`key` must be a JAX key"),
    "keys": (lambda library: library.normal()(jax.random.split(KEY), (2,)), ValueError, "must be one key"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_the_types_of_jax(name: str) -> None:
    """What JAX refuses is refused by an error of the same type, whose message says the rule."""
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message) as caught:
        call(initializers)
    assert type(caught.value) is kind
    with pytest.raises(kind):
        call(jax.nn.initializers)


@pytest.mark.parametrize("parameter", [jnp.arange(2.0), "x", float("nan")], ids=repr)
@pytest.mark.parametrize("function", ["uniform", "normal", "truncated_normal", "orthogonal", "delta_orthogonal"])
def test_parameters_are_finite_numbers(function: str, parameter: Any) -> None:
    """Anything else is refused when the initializer is made."""
    with pytest.raises((TypeError, ValueError), match="must be"):
        getattr(initializers, function)(parameter)


# Layers that use them


def test_layers_of_flax() -> None:
    """Layers of linen and nnx take them, compiled, and have the values of their own keys."""
    linen, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
    init = initializers.lecun_normal()
    dense = linen.Dense(8, kernel_init=init, bias_init=initializers.zeros_init())
    eager, compiled = (each(KEY, jnp.ones((1, 4))) for each in (dense.init, jax.jit(dense.init)))
    assert same(eager["params"]["kernel"]) == same(compiled["params"]["kernel"])
    embed = linen.Embed(16, 8, embedding_init=initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0))
    assert embed.init(KEY, jnp.zeros(1, jnp.int32))["params"]["embedding"].shape == (16, 8)
    made = nnx.Linear(4, 8, kernel_init=init, rngs=nnx.Rngs(3))
    assert same(made.kernel[...]) == same(init(nnx.Rngs(3).params(), (4, 8), jnp.float32))


# Many devices, and 64 bits


@pytest.mark.parametrize(
    ("group", "check"), [(group, check) for group, checks in jax_doors.GROUPS.items() for check in checks]
)
def test_in_other_processes(group: str, check: str) -> None:
    """Each check of jax_doors.py holds, on eight devices or with 64 bits."""
    (outcome,) = jax_started.outcomes(jax_doors.__file__, group, 8 if group == "devices" else 1, group == "x64")
    error = outcome["errors"].get(check, "did not run")
    assert not error, error


# Names and configurations


@pytest.mark.parametrize("name", CATALOGUE)
def test_as_jax_takes_every_configuration(name: str) -> None:
    """`as_jax` takes each class by a configuration with its arguments, and by every name that fanin has for it."""
    plain, shape, dtype = fresh(name), shape_for(name, 6, 6, 6), CATALOGUE[name][1][0]
    expected = same(as_jax(plain)(KEY, shape, dtype))
    configuration: Any = fanin.serialize(plain, use_legacy_format=True)
    assert same(as_jax(configuration)(KEY, shape, dtype)) == expected
    if type(plain).__name__ not in ("Sparse", "Table"):  # whose arguments have no defaults
        names = [each for each, cls in fanin.initializers.NAMES.items() if cls is type(plain)]
        assert names
        assert all(callable(as_jax(each)) for each in names)
