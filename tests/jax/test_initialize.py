"""Making the arrays of a tree: presets by their names, reports, choices, dtypes, and what is refused."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

import fanin
from fanin.jax import initialize
from fanin.recipes import Entry, PlanError, RecipeError
from jax_kit import FLAX, SEED, drawn, flat, plain, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


def dense() -> dict[str, Any]:
    """A dense layer."""
    return {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}


def abstractly_sharded() -> dict[str, Any]:
    """A kernel whose sharding is on a mesh without devices."""
    mesh = jax.sharding.AbstractMesh((1,), ("x",))
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    return {"kernel": jax.ShapeDtypeStruct((4, 5), jnp.float32, sharding=sharding)}


NAMES = "bert, flax, gpt2, keras, llama, mup, resnet, t5, torch, vit"
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no preset": (
        {"recipe": "flex"},
        ValueError,
        f"`recipe` must be a fanin.Recipe or the name of a preset: {NAMES}. Received: 'flex'. Did you mean 'flax'?",
    ),
    "a file": ({"recipe": "a.toml"}, ValueError, "Received: 'a.toml'."),
    "no recipe": (
        {"recipe": 3},
        TypeError,
        "`recipe` must be a fanin.Recipe or the name of a preset. Received: 3 (of type int).",
    ),
    "no seed": ({"seed": "3"}, RecipeError, "`seed` must be an integer. Received: seed='3'"),
    "only": ({"only": "nothing.*"}, ValueError, "`only` must match parameters of the model. Received: 'nothing.*'"),
    "skip": ({"skip": "nothing.*"}, ValueError, "`skip` must match parameters of the model. Received: 'nothing.*'"),
    "unmatched": ({"unmatched": "drop"}, ValueError, '`unmatched` must be "error" or "keep". Received: unmatched'),
    "names": ({"names": 3}, TypeError, "`names` must be a mapping of paths to names, or a function of a parameter."),
    "shardings that lack one": (
        {"shardings": {"kernel": None}},
        ValueError,
        "`shardings` must be a sharding, a PartitionSpec, a function of a parameter, or a tree with the model's "
        "structure and a sharding, a PartitionSpec or None for each array. Received: dict; it has none for bias.",
    ),
    "shardings of another structure": (
        {"shardings": {"kernel": None, "bias": None, "scale": SingleDeviceSharding(jax.devices()[0])}},
        ValueError,
        "Received: dict; a tree has no scale.",
    ),
    "shardings that are none": (
        {"shardings": {"kernel": None, "bias": "x"}},
        TypeError,
        "`shardings` must be a jax.sharding.Sharding, or a PartitionSpec for the mesh in force. "
        "Received: shardings='x' for bias.",
    ),
    "shardings without a mesh": (
        {"shardings": PartitionSpec("x")},
        ValueError,
        "`shardings` must be a sharding if no mesh is in force: a PartitionSpec has no devices. "
        f"Received: shardings={PartitionSpec('x')!r} for bias. Write NamedSharding(mesh, spec), or make the call in "
        "`with jax.set_mesh(mesh):`.",
    ),
    "shardings of too many axes": (
        {"shardings": NamedSharding(jax.make_mesh((1,), ("x",)), PartitionSpec(None, "x"))},
        ValueError,
        "`shardings` must have at most one entry for each axis. Received: shardings=NamedSharding(",
    ),
    "a shape's sharding without a mesh": (
        {"model": abstractly_sharded()},
        ValueError,
        f"Received: sharding={PartitionSpec('x')!r} for kernel. Write NamedSharding(mesh, spec)",
    ),
    "complex": (
        {"model": {"kernel": jnp.zeros((2, 2), jnp.complex64)}},
        PlanError,
        "Expected floating point type, got complex64. Use float16, bfloat16, float32 or float64.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name: str) -> None:
    """Each is refused with a message, before anything is drawn."""
    more, error, message = WRONG[name]
    arguments: dict[str, Any] = {"model": dense(), "recipe": FLAX, **more}
    with mock.patch.object(Entry, "fill") as fill, pytest.raises(error) as caught:
        initialize(**arguments)
    assert not fill.called
    assert message in str(caught.value)


# Presets by their names, and reports


def test_presets_by_their_names() -> None:
    """The name of a preset and a seed stand for the preset with this seed."""
    made, report = initialize(dense(), "gpt2", seed=42)
    expected, _ = initialize(dense(), fanin.Recipe.preset("gpt2", seed=42))
    assert same(flat(made), flat(expected))
    assert report.plan.seed == 42
    assert not report.plan.compare(fanin.Recipe.preset("gpt2", seed=42).plan(dense()))


@pytest.mark.parametrize("preset", fanin.recipes.PRESETS)
def test_every_preset_has_a_name(preset: str) -> None:
    """Without a seed, a preset's name stands for it with its own seed."""
    linear = nnx.eval_shape(lambda: nnx.Linear(4, 5, rngs=nnx.Rngs(0)))
    made, _ = initialize(linear, preset)
    expected, _ = initialize(linear, fanin.Recipe.preset(preset))
    assert same(flat(made), flat(expected))


def test_seeds_of_recipes() -> None:
    """`seed` takes the place of a recipe's own, which stays what it is; random states are made from it, too."""
    module = nnx.eval_shape(lambda: nnx.List([nnx.Linear(4, 5, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]))
    made, _ = initialize(module, FLAX, seed=8)
    expected, _ = initialize(module, FLAX.with_seed(8))
    assert same(flat(made), flat(expected))
    assert FLAX.seed == SEED


def test_reports_in_full() -> None:
    """The text says how many, how large, how long and from which seed, and then what stayed, a line each."""
    _, report = initialize(dense(), FLAX, skip="bias")
    first, *more = str(report).splitlines()
    assert re.fullmatch(r"a tree: 1 parameter initialized \(80 bytes\) in \d[\d.e-]* s, seed 3", first)
    assert more == ["kept: bias (selected by `skip`)"]


def test_reports_in_short() -> None:
    """The repr is one line, however long the report is, in which repeated layers share a line."""
    tree = {f"layer_{number}": dense() for number in range(50)}
    assert repr(initialize(tree, FLAX)[1]) == "<Report on a tree: 100 parameters initialized>"
    _, report = initialize(tree, FLAX, only="layer_7.*")
    assert repr(report) == "<Report on a tree: 2 parameters initialized, 98 kept>"
    assert len(str(report).splitlines()) == 3


def test_reports_on_random_states() -> None:
    """They count as restored."""
    module = nnx.eval_shape(lambda: nnx.List([nnx.Linear(4, 5, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]))
    assert repr(initialize(module, FLAX)[1]) == "<Report on List: 2 parameters initialized, 2 restored>"


def test_reports_in_notebooks() -> None:
    """Paths are text in the report's HTML, whatever they are; the text of the report is all there."""
    _, report = initialize({"<b>&amp;": dense(), "plain": dense()}, FLAX, only="plain.*")
    html = report._repr_html_()
    assert "<b>" not in html
    assert "kept: &lt;b&gt;&amp;amp;.kernel (not selected by `only`)" in html
    texts = re.sub(r"<[^>]*>", "\n", html).splitlines()
    assert [unescape(text) for text in texts if text and text != "details"] == str(report).splitlines()


# Dtypes and choices


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype: str) -> None:
    """Each array has its own dtype, and the float32 array's values, rounded."""
    shapes = {
        name: {"kernel": jax.ShapeDtypeStruct((40, 5), each)} for name, each in (("fc", dtype), ("wide", "float32"))
    }
    made, _ = initialize(shapes, FLAX)
    assert made["fc"]["kernel"].dtype == dtype
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "fc.kernel", (40, 5)).astype(jnp.dtype(dtype)))
    assert same(made["wide"]["kernel"], drawn(fanin.LecunNormal, "wide.kernel", (40, 5)))


def two_kernels() -> dict[str, Any]:
    """An array, and a shape."""
    return {"a": {"kernel": jnp.zeros((4, 5))}, "b": {"kernel": jax.ShapeDtypeStruct((4, 5), jnp.float32)}}


def test_only() -> None:
    """Other arrays stay as they are, shapes among them; `names` are what is drawn under."""
    tree = two_kernels()
    made, report = initialize(tree, FLAX, only="a.*", names={"a.*": "c.*"})
    assert same(made["a"]["kernel"], drawn(fanin.LecunNormal, "c.kernel", (4, 5)))
    assert (made["b"]["kernel"] is tree["b"]["kernel"], report.kept) == (True, {"b.kernel": "not selected by `only`"})


def test_skip() -> None:
    """What is skipped stays as it is, the others are made."""
    tree = two_kernels()
    made, report = initialize(tree, FLAX, skip=["a.*"])
    assert (made["a"]["kernel"] is tree["a"]["kernel"], report.kept) == (True, {"a.kernel": "selected by `skip`"})
    assert same(made["b"]["kernel"], drawn(fanin.LecunNormal, "b.kernel", (4, 5)))


def three_kernels(order: str) -> dict[str, Any]:
    """Three arrays in an order."""
    return {name: {"kernel": jnp.zeros((6, 4 + "abc".index(name)))} for name in order}


def test_order_does_not_matter() -> None:
    """The same arrays in another order of the tree: the same bytes for each."""
    values = flat(initialize(three_kernels("abc"), FLAX)[0])
    turned = flat(initialize(three_kernels("cab"), FLAX)[0])
    assert same(values, {path: turned[path] for path in values})


def test_neighbours_do_not_matter() -> None:
    """An array alone has the bytes that it has among others."""
    values = flat(initialize(three_kernels("abc"), FLAX)[0])
    assert same(flat(initialize(three_kernels("b"), FLAX)[0]), {"b.kernel": values["b.kernel"]})


# Programs


def linear() -> Any:
    """An abstract layer of nnx with a random state."""
    return nnx.eval_shape(lambda: nnx.List([nnx.Linear(64, 48, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]))


PROGRAMS: dict[str, Any] = {
    "nnx.jit of shapes": lambda: nnx.jit(lambda: initialize(linear(), FLAX)[0]),
    "nnx.jit of a module": lambda: nnx.jit(lambda: initialize(nnx.List([*built()]), FLAX)[0]),
    "jit": lambda: jax.jit(lambda: nnx.state(initialize(linear(), FLAX)[0])),
}


def built() -> list[Any]:
    """The same layers, made by nnx."""
    return [nnx.Linear(64, 48, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_make_what_is_made_eagerly(program: str) -> None:
    """A compiled function has the same bytes."""
    made = PROGRAMS[program]()()
    values = {".".join(map(str, path)): plain(each.get_value()) for path, each in nnx.to_flat_state(nnx.state(made))}
    assert same(values, flat(initialize(linear(), FLAX)[0]))


@pytest.mark.parametrize("shape", [(512, 512), (8, 8)])
def test_programs_have_no_values(shape: tuple[int, int]) -> None:
    """A program's text has the same few lines, however large its arrays are."""
    tree = {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)}
    text = jax.jit(lambda: initialize(tree, FLAX)[0]).lower().as_text()
    assert len(text) < 2000
    assert "callback" in text


def test_programs_draw_only_when_they_run() -> None:
    """Compiling draws nothing; each run draws anew."""
    compiled = jax.jit(lambda: initialize(dense(), FLAX, only="kernel")[0]["kernel"]).lower().compile()
    with mock.patch.object(Entry, "fill", autospec=True, side_effect=Entry.fill) as fill:
        assert fill.call_count == 0
        jax.block_until_ready([compiled(), compiled()])
        assert fill.call_count == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn"])
def test_dtypes_of_programs(dtype: str) -> None:
    """Narrow dtypes are rounded as eagerly."""
    tree = {"kernel": jax.ShapeDtypeStruct((40, 5), dtype)}
    compiled = jax.jit(lambda: initialize(tree, FLAX)[0])()
    assert compiled["kernel"].dtype == dtype
    assert same(flat(compiled), flat(initialize(tree, FLAX)[0]))


def test_shardings_of_programs() -> None:
    """A program cannot put an array onto one device: the message says what to write."""
    sharding = SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(TypeError) as caught:
        jax.jit(lambda: initialize(dense(), FLAX, shardings=sharding)[0])()
    assert str(caught.value).startswith(
        "`shardings` must be a NamedSharding or a PartitionSpec in a function that JAX compiles. Received: shardings="
    )
    assert "or leave the placement to `out_shardings` of jax.jit." in str(caught.value)


def test_initializing_each_device_s_own_tree() -> None:
    """Within `shard_map`, each device makes all of its own tree."""
    mesh = jax.make_mesh((1,), ("x",))

    def make() -> Any:
        return initialize({"kernel": jax.ShapeDtypeStruct((4, 5), jnp.float32)}, FLAX)[0]["kernel"]

    mapped = jax.shard_map(make, mesh=mesh, in_specs=(), out_specs=PartitionSpec("x"), check_vma=False)
    assert same(jax.jit(mapped)(), drawn(fanin.LecunNormal, "kernel", (4, 5)))


# Blocks that stay

PARTLY = fanin.Recipe(
    [
        {"path": "*", "blocks": ["query", "key"], "block": "query", "initializer": "keep"},
        {"path": "*", "initializer": "ones"},
    ]
)


def test_blocks_that_a_rule_keeps() -> None:
    """They have the values that they had, and the others have new ones."""
    made, _ = initialize({"kernel": jnp.full((2, 4), 7.0)}, PARTLY)
    assert np.asarray(made["kernel"]).tolist() == [[7, 7, 1, 1]] * 2


def test_blocks_of_a_shape_that_a_rule_keeps() -> None:
    """A shape has no values to keep."""
    with pytest.raises(PlanError, match="must be arrays, not shapes; nothing has been made"):
        initialize({"kernel": jax.ShapeDtypeStruct((2, 4), jnp.float32)}, PARTLY)


def test_blocks_that_a_rule_keeps_in_programs() -> None:
    """The values are not known while the program is made."""
    with pytest.raises(PlanError, match="Rules that keep some blocks of an array need its values"):
        jax.jit(lambda tree: initialize(tree, PARTLY)[0])({"kernel": jnp.ones((2, 4))})


# States of optimizers


def optimizer(abstract: bool) -> Any:
    """An optimizer of flax.nnx, which has moments under the names of parameters."""
    optax = pytest.importorskip("optax")
    make = functools.partial(nnx.Optimizer, tx=optax.adam(1e-3), wrt=nnx.Param)
    if abstract:
        return nnx.eval_shape(lambda: make(nnx.Linear(4, 5, rngs=nnx.Rngs(0))))
    return make(nnx.Linear(4, 5, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("of", [lambda optimizer: optimizer, nnx.state], ids=["the optimizer", "its state"])
def test_moments_are_not_drawn(of: Callable[[Any], Any]) -> None:
    """They are no parameters, whatever their names are: arrays stay as they are."""
    made, report = initialize(of(optimizer(abstract=False)), FLAX)
    assert report.filled == ()
    assert not any(np.asarray(each).any() for each in jax.tree.leaves(nnx.state(made) if of is not nnx.state else made))


@pytest.mark.parametrize("of", [lambda optimizer: optimizer, nnx.state], ids=["the optimizer", "its state"])
def test_moments_that_are_shapes(of: Callable[[Any], Any]) -> None:
    """They are refused, and the message says what makes them."""
    with pytest.raises(PlanError, match=r"opt_state\.0\.mu\.kernel\n(.|\n)*An optimizer makes its state itself"):
        initialize(of(optimizer(abstract=True)), FLAX)


# States of flax.nnx


def test_states_of_nnx() -> None:
    """The state of a module, and a part of it, get the module's values, random states among them."""
    module = nnx.eval_shape(lambda: nnx.List([nnx.Linear(4, 5, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0))]))
    expected = flat(initialize(module, FLAX)[0])
    graph, params, others = nnx.split(module, nnx.Param, ...)
    whole, report = initialize(nnx.state(module), FLAX)
    assert set(report.buffers) == {"1.rngs.count", "1.rngs.key"}
    parts = [initialize(each, FLAX)[0] for each in (params, others)]
    for state in (whole, nnx.merge_state(*parts)):
        assert same(flat(nnx.merge(graph, state)), expected)
