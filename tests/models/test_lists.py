"""Models that are lists of shapes: what names say by themselves, and what is no list."""

from typing import Any

import pytest

import fanin
from fanin.models.lists import described_list
from fanin.recipes import Blocks, Recipe, Traits
from recipe_kit import NORMAL, planned

ROLES = {
    "embedding": "a.embedding b.embeddings",
    "kernel": "a.kernel a/kernel:0",
    "recurrent_kernel": "a.recurrent_kernel",
    "bias": "a.bias bias",
    "scale": "a.gamma a.scale a.weight",
    "offset": "a.beta",
    "mean": "a.running_mean a.moving_mean",
    "variance": "a.running_var a.moving_variance",
    "count": "a.num_batches_tracked",
    "other": "a.w a.biases cls_token",
}


@pytest.mark.parametrize("role", list(ROLES))
def test_roles_of_names(role: str) -> None:
    """The roles that names say by themselves, where a list has none."""
    for path in ROLES[role].split():
        assert planned([NORMAL], path).entries[0].parameter.role == role
    assert planned([NORMAL], {"path": "a.weight", "shape": [2, 2]}).entries[0].parameter.role == "other"
    assert planned([NORMAL], {"path": "a.bias", "shape": [2], "role": "scale"}).entries[0].parameter.role == "scale"


# Entries of a list, and what is said of them.
ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"rol": 1}, "Unknown key 'rol'. Did you mean 'role'?"),
    ({"qqq": 1}, "Unknown key 'qqq'. Known keys: path, shape, dtype, layer, role, layout, fan_in, fan_out, "),
    ({"role": "kernl"}, "Unknown role 'kernl'. Did you mean 'kernel'?"),
    ({"shape": 2}, "`shape` must be a sequence of non-negative integers. Received: shape=2. Write (2,)."),
    ({"shape": [-2]}, "`shape` must be a sequence of non-negative integers. Received: shape=[-2], which contains -2."),
    ({"dtype": "flaot32"}, "Cannot convert value 'flaot32' to a dtype. Did you mean 'float32'?"),
    (
        {"layout": "tourch"},
        "`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout='tourch'.",
    ),
    ({"layout": [0, 0]}, "`layout` must have each of the tensor's 2 axes once. Received: layout=[0, 0]."),
    ({"layer": 3}, "`layer` must be"),
    ({"role": ["kernel"]}, "`role` must be a string. Received: ['kernel']."),
    ({"fan_in": "x", "fan_out": 2}, "`fan_in` must be"),
    ({"tied": "abc"}, "`tied` must be"),
    ({"blocks": "ab"}, "`blocks` must be"),
    ({"blocks": ["a", "a"]}, "`blocks` must be"),
]
W = {"path": "w", "shape": [4, 4]}
LISTS: list[tuple[list[Any], str]] = [
    ([{"path": "w"}], "Entry 1 of the list, 'w': `shape` is missing."),
    ([W, {**W, "path": 3}], "Entry 2 of the list, 3: `path` must be a string. Received: 3."),
    ([W, {**W, "path": ""}], "Entry 2 of the list, '': `path` must not be empty."),
    ([W, {**W, "path": "_orig_mod.w"}], "Each path must occur only once. Received: 'w' twice."),
    ([W, {"shape": [2]}], "Entry 2 of the list, '?': `path` is missing."),
    ([W, 3], "Entry 2 of the list must be a dict with `path` and `shape`. Received: 3."),
    ([], "A plan needs a model: "),
    *(([{**W, **entry}], f"Entry 1 of the list, 'w': {said}") for entry, said in ENTRIES),
]


@pytest.mark.parametrize(("model", "message"), LISTS, ids=[str(number) for number in range(len(LISTS))])
def test_bad_lists(model: list[Any], message: str) -> None:
    """What is no list of shapes, with the entry's number and path."""
    with pytest.raises((ValueError, TypeError)) as caught:
        Recipe([{"layer": "*", "initializer": "zeros"}]).plan(model)
    assert str(caught.value).startswith(message)


def test_what_a_list_says() -> None:
    """Paths, shapes, dtypes, layers, roles, layouts, fans, blocks and ties, as a description has them."""
    entry = {
        "path": "_orig_mod/enc/w:0",
        "shape": [6, 2, 3],
        "dtype": "bfloat16",
        "layer": "Conv1d",
        "role": "kernel",
        "layout": "torch",
        "fan_out": 7,
        "blocks": ["a", "b"],
        "tied": ["dec/w:0"],
    }
    model = described_list([entry, {"path": "x", "shape": ()}], "a name")
    first, second = model.parameters
    assert (first.path, first.shape, first.dtype.name, first.layer) == ("enc.w", (6, 2, 3), "bfloat16", "Conv1d")
    assert first.traits == Traits("kernel", (2, 1, 0), 6, 7, blocks=Blocks.of("a", "b"))
    assert (first.tied, first.layout, first.kernel_shape) == (("dec.w",), "torch", (3, 2, 6))
    assert (first.size, first.nbytes, first.trainable, first.problem) == (36, 72, True, "")
    assert (second.shape, second.dtype.name, second.traits, second.layout) == ((), "float32", Traits("other"), "")
    assert (model.name, model.left, model.notes, model.configs) == ("a name", {}, (), {})
    assert described_list([entry]).name == "a list of shapes"
    with fanin.config.using(floatx="float16"):
        assert described_list([{"path": "x", "shape": [2]}]).parameters[0].dtype.name == "float16"


@pytest.mark.parametrize(
    ("layout", "shape", "shown"),
    [
        ("keras", [2, 3], "keras"),
        ("torch", [2, 3], "torch"),
        ([2, 3, 1, 0], [2, 3, 4, 5], "torch"),
        ([0, 1], [2, 3], "keras"),
        ([1, 2, 0], [2, 3, 4], "(1, 2, 0)"),
        ("torch", [2], ""),
    ],
)
def test_layouts_in_words(layout: Any, shape: list[int], shown: str) -> None:
    """Permutations that have a name are called by it; vectors have one order alone."""
    (parameter,) = described_list([{"path": "w", "shape": shape, "layout": layout}]).parameters
    assert parameter.layout == shown
