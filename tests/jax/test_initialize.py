"""Making the arrays of a tree: presets by their names, reports, choices, dtypes, and what is refused."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import SingleDeviceSharding

import fanin
from fanin.jax import initialize
from fanin.recipes import Entry, PlanError, RecipeError
from jax_kit import FLAX, SEED, drawn, flat, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


def dense() -> dict[str, Any]:
    """A dense layer."""
    return {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)}


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
    "shardings": (
        {"shardings": [SingleDeviceSharding(jax.devices()[0])] * 3},
        ValueError,
        "`shardings` must have a sharding for each of the tree's 2 arrays. Received: 3.",
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
    assert re.fullmatch(r"a tree: 1 parameters initialized \(80 bytes\) in \d[\d.e-]* s, seed 3", first)
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
