"""`prefix=`: a part of a model, initialized by itself, has the values that it has in the whole."""

from __future__ import annotations

from typing import Any

import pytest

import fanin
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import Part, Traits
from fanin.recipes import Options

RECIPE = fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": "0.1 * (1 + depth)"}], seed=5)
PLACED = {None: "w", "": "w", "a": "a.w", "a.": "a.w", "a/b": "a.b.w", "_orig_mod.a": "a.w"}


@pytest.mark.parametrize("prefix", PLACED)
def test_paths(prefix: str | None) -> None:
    """A prefix is a path, with dots or slashes, and without what wrappers insert."""
    assert Options(prefix=prefix).placed("w") == PLACED[prefix]


def test_no_path() -> None:
    """Anything else is refused."""
    with pytest.raises(TypeError, match=r"`prefix` must be a path\. Received: prefix=3\."):
        Options(prefix=3).placed("w")  # pyright: ignore[reportArgumentType]


def test_models() -> None:
    """Every path of a model is longer then, also those of ties, fused tensors, buffers and blocks."""
    dtype = fanin.HeNormal(seed=1).weight((1, 1), "float32").dtype
    traits = Traits(part=Part("qkv", "query", ("query",)))
    model = Model(
        (Parameter("q", (1,), dtype, traits=traits, tied=("r",), name="s"), Parameter("t", (1,), dtype)),
        "model",
        left={"u": "a buffer"},
        layers=("v.",),
    )
    first, second = model.placed("a.b").parameters
    assert (first.path, first.tied, first.name, first.traits.part) == (
        "a.b.q",
        ("a.b.r",),
        "a.b.s",
        Part("a.b.qkv", "query", ("query",)),
    )
    assert (second.path, second.name) == ("a.b.t", "")
    assert (model.placed("a").left, model.placed("a").layers) == ({"a.u": "a buffer"}, ("a.v.",))
    assert model.placed("") is model


def check(whole: dict[str, Any], part: dict[str, Any], report: Any) -> None:
    """A part's arrays are those of the whole, and its report has the whole's paths."""
    assert part
    assert {path: whole[path].tobytes() for path in part} == {path: each.tobytes() for path, each in part.items()}
    assert set(report.filled) == set(part)


def test_torch() -> None:
    """A layer of a module of PyTorch."""
    pytest.importorskip("torch")
    import torch

    from fanin.torch import initialize

    whole, layer = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4)), torch.nn.Linear(3, 4)
    initialize(whole, RECIPE)
    report = initialize(layer, RECIPE, prefix="1")
    check(
        {path: each.detach().numpy() for path, each in whole.named_parameters()},
        {f"1.{path}": each.detach().numpy() for path, each in layer.named_parameters()},
        report,
    )


def test_torch_layer_by_layer() -> None:
    """A loop over all modules, each with its path, is one call for the whole."""
    pytest.importorskip("torch")
    import torch

    from fanin.torch import initialize

    def make() -> Any:
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.Linear(3, 3)))

    whole, each = make(), make()
    recipe = fanin.Recipe.preset("torch", seed=5)
    initialize(whole, recipe)
    for path, module in each.named_modules():
        if any(True for _ in module.parameters()):
            initialize(module, recipe, prefix=path)
    for one, other in zip(whole.parameters(), each.parameters(), strict=True):
        assert torch.equal(one, other)


def test_only_and_skip() -> None:
    """Globs are of the whole's paths."""
    pytest.importorskip("torch")
    import torch

    from fanin.torch import initialize

    report = initialize(torch.nn.Linear(3, 4), RECIPE, prefix="a.3", only="a.*", skip="*.bias")
    assert report.filled == ("a.3.weight",)
    assert report.kept == {"a.3.bias": "selected by `skip`"}


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@pytest.mark.parametrize("built", [True, False])
def test_keras(package: str, built: bool) -> None:
    """A layer of a Keras model, built or not."""
    keras = pytest.importorskip(package)
    initialize = pytest.importorskip(f"fanin.{package}").initialize

    def model(*names: str) -> Any:
        return keras.Sequential([keras.layers.Dense(3, name=name) for name in names])

    whole, part = model("first", "second"), model("second")
    whole.build((None, 3))
    initialize(whole, fanin.Recipe.preset("keras", seed=5), prefix="net")
    if built:
        part.build((None, 3))
    initialize(part, fanin.Recipe.preset("keras", seed=5), prefix="net")
    part.build((None, 3))
    assert [each.tobytes() for each in whole.layers[1].get_weights()] == [each.tobytes() for each in part.get_weights()]
    assert whole.layers[0].get_weights()[0].tobytes() != part.get_weights()[0].tobytes()


def test_jax() -> None:
    """A branch of a tree, with its arrays and its random states."""
    jax, nnx = pytest.importorskip("jax"), pytest.importorskip("flax.nnx")
    initialize = pytest.importorskip("fanin.jax").initialize

    class Block(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.linear, self.dropout = nnx.Linear(3, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    class Whole(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.block = Block(rngs)

    whole, _ = initialize(nnx.eval_shape(lambda: Whole(nnx.Rngs(0))), "flax")
    part, report = initialize(nnx.eval_shape(lambda: Block(nnx.Rngs(0))), "flax", prefix="block")
    assert report.filled == ("block.linear.bias", "block.linear.kernel")
    assert report.buffers
    assert all(path.startswith("block.dropout.") for path in report.buffers)
    states = [jax.tree.leaves(nnx.state(each)) for each in (whole.block, part)]
    assert all(bool((one == other).all()) for one, other in zip(*states, strict=True))
