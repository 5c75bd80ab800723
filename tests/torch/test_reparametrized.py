"""Weights that PyTorch computes from other tensors: each becomes that of the plain layer, and its parts fit it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import fanin
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, SEED, bits, on_meta, raw, without_warnings

HOOK, PARAMETRIZATION = torch.nn.utils.weight_norm, parametrizations.weight_norm
LAYERS: dict[str, tuple[Callable[[], Any], str, int | None]] = {
    "Linear": (lambda: nn.Linear(3, 4), "weight", 0),
    "Linear, whole": (lambda: nn.Linear(3, 4), "weight", None),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 5), "weight", 2),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), "weight", 1),
    "LSTM": (lambda: nn.LSTM(3, 5), "weight_hh_l0", 0),
    "bfloat16": (lambda: nn.Linear(3, 4).bfloat16(), "weight", 0),
    "float64": (lambda: nn.Linear(3, 4).double(), "weight", 0),
}


def model_of(layer: Any) -> Any:
    """A model with the layer in it."""
    return nn.ModuleDict({"a": layer, "b": nn.Linear(2, 2)})


def drawn(make: Callable[[], Any]) -> Any:
    """A model of a plain layer with its values."""
    module = model_of(make())
    initialize(module, ALL)
    return module


@pytest.mark.parametrize("start", ["cpu", "meta"])
@pytest.mark.parametrize("norm", [HOOK, PARAMETRIZATION], ids=["hook", "parametrization"])
@pytest.mark.parametrize("case", LAYERS)
def test_weight_norm(case: str, norm: Any, start: str) -> None:
    """The parts are those that weight_norm makes when it is registered on the initialized layer, bit for bit."""
    make, name, dim = LAYERS[case]

    def normed() -> Any:
        return model_of(without_warnings(lambda: norm(make(), name, dim)))

    expected = drawn(make)
    plain = getattr(expected["a"], name).detach().clone()
    without_warnings(lambda: norm(expected["a"], name, dim))
    module = on_meta(normed) if start == "meta" else normed()
    report = initialize(module, ALL)
    assert raw(module) == raw(expected)
    assert f"a.{name}" in report.filled
    with torch.no_grad():
        assert torch.allclose(getattr(module["a"], name), plain, rtol=1e-2 if case == "bfloat16" else 1e-5)


def test_weight_norm_has_the_paths_of_the_weight() -> None:
    """Rules, names, `only=` and plans speak of the weight; its part in the state dict goes by both names."""
    recipe = fanin.Recipe(
        [{"path": "*.weight", "role": "kernel", "initializer": "he_normal"}, {"path": "*", "initializer": "zeros"}]
    )
    module = model_of(without_warnings(lambda: HOOK(nn.Linear(3, 4))))
    report = initialize(module, recipe, only="a.weight")
    entry = report.plan.entry("a.weight_v")
    assert (entry.path, entry.name, entry.rule, entry.fans) == ("a.weight", "a.weight", "rule 1", (3, 4))
    assert report.filled == ("a.weight",)
    assert report.buffers == {"a.weight_g": "The norm of the weight, computed from its drawn values"}
    assert report.plan.model.left["a.weight_g"] == "computed from a.weight"
    assert "a.weight_g" not in report.kept


def test_a_kept_weight_keeps_its_norm() -> None:
    """What is not drawn is not computed from either."""
    module = model_of(PARAMETRIZATION(nn.Linear(3, 4)))
    before = raw(module["a"])
    report = initialize(module, ALL, only="b.*")
    assert raw(module["a"]) == before
    assert not report.buffers


def test_the_weight_of_a_hook_is_fresh() -> None:
    """Before any forward pass, the layer's attribute is the new weight."""
    module = without_warnings(lambda: HOOK(nn.Linear(3, 4)))
    initialize(module, ALL)
    before = module.weight.detach().clone()
    module(torch.ones(3))
    assert torch.equal(module.weight, before)


def test_presets_know_normed_weights() -> None:
    """No rule for everything is needed."""
    for norm in (HOOK, PARAMETRIZATION):
        plan = PRESETS["torch"].plan(without_warnings(lambda norm=norm: norm(nn.Conv1d(4, 6, 5))))
        assert (plan.unmatched, plan.problems) == ((), ())
        assert plan.entry("weight").parameter.layer == "Conv1d"


SPECTRAL: dict[str, Callable[[Any], Any]] = {
    "hook": torch.nn.utils.spectral_norm,
    "parametrization": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("start", ["cpu", "meta"])
@pytest.mark.parametrize("kind", SPECTRAL)
@pytest.mark.parametrize("layer", [lambda: nn.Linear(30, 20), lambda: nn.Conv2d(8, 6, 3)])
def test_spectral_norm(layer: Callable[[], Any], kind: str, start: str) -> None:
    """The original is the plain layer's weight; u and v are its singular vectors, so that the norm is one."""

    def normed() -> Any:
        return model_of(SPECTRAL[kind](layer()))

    module = on_meta(normed) if start == "meta" else normed()
    initialize(module, ALL)
    found = module["a"].eval()
    expected = drawn(layer)["a"].weight
    original = found.weight_orig if kind == "hook" else found.parametrizations["weight"].original
    assert bits(original) == bits(expected)
    with torch.no_grad():
        found(torch.ones(2, 30) if isinstance(found, nn.Linear) else torch.ones(1, 8, 5, 5))
        sigma = torch.linalg.matrix_norm(found.weight.flatten(1), 2)
    assert abs(sigma.item() - 1) < 0.02


@pytest.mark.parametrize("kind", SPECTRAL)
def test_spectral_norm_follows_from_the_seed(kind: str) -> None:
    """From one seed come the same u and v, whatever they were before, whatever PyTorch's generator did."""
    modules = []
    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        modules.append(SPECTRAL[kind](nn.Linear(30, 20)))
        state = torch.random.get_rng_state()
        initialize(modules[-1], ALL)
        assert torch.equal(torch.random.get_rng_state(), state)
    assert raw(modules[0]) == raw(modules[1])


def test_planning_runs_no_power_iteration() -> None:
    """A plan changes nothing."""
    module = model_of(parametrizations.spectral_norm(nn.Linear(3, 4)))
    before = raw(module)
    PRESETS["torch"].plan(module)
    assert raw(module) == before


def test_spectral_norm_of_a_vector() -> None:
    """It has no u and no v."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(5))
    initialize(parametrizations.spectral_norm(module), ALL)
    assert module.parametrizations["weight"].original.std() > 0  # pyright: ignore


def test_pruned_weights() -> None:
    """What is pruned stays so, and the rest is the plain layer's: a winning ticket goes back to its start."""
    module: Any = nn.Linear(30, 20)
    plain = nn.Linear(30, 20)
    torch.manual_seed(1)
    prune.random_unstructured(module, "weight", 0.5)
    for each in (module, plain):
        initialize(each, ALL)
    assert bits(module.weight_orig) == bits(plain.weight)
    assert torch.equal(module.weight, plain.weight * module.weight_mask)


class Symmetric(nn.Module):
    """A parametrization of one's own."""

    def forward(self, weight: Any) -> Any:
        """Half of it twice."""
        return weight.triu() + weight.triu(1).T


def symmetric() -> Any:
    """A layer with it."""
    module = nn.Linear(3, 3)
    torch.nn.utils.parametrize.register_parametrization(module, "weight", Symmetric())
    return module


def twice() -> Any:
    """A layer with two parametrizations, one of which is known."""
    module = parametrizations.spectral_norm(nn.Linear(3, 3))
    torch.nn.utils.parametrize.register_parametrization(module, "weight", Symmetric())
    return module


UNKNOWN: dict[str, Callable[[], Any]] = {
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(3, 4)),
    "of one's own": symmetric,
    "two": twice,
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("recipe", [ALL, PRESETS["torch"]], ids=["all", "torch"])
def test_unknown_parametrizations(case: str, recipe: Any) -> None:
    """They are refused before anything is written, and no rule for everything is recommended."""
    module = model_of(UNKNOWN[case]())
    before = raw(module)
    with pytest.raises(PlanError, match=r"It belongs to a parametrization\. Remove the parametrization") as caught:
        initialize(module, recipe)
    assert 'path = "*"' not in str(caught.value)
    assert raw(module) == before


def test_norms_need_a_dtype_that_has_them() -> None:
    """A norm that PyTorch cannot compute is refused before anything is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = HOOK(nn.Linear(3, 4))
    module.weight_v.data = module.weight_v.data.to(torch.float8_e4m3fn)
    with pytest.raises(PlanError, match=r"weight: The norm of the weight cannot be computed in torch.float8_e4m3fn"):
        initialize(module, ALL)


def wav2vec2() -> Any:
    """Wav2Vec2, whose convolution of positions has weight_norm."""
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Wav2Vec2Config(
        **sizes, intermediate_size=64, conv_dim=[32] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4
    )
    return transformers.Wav2Vec2Model(config)


@pytest.mark.filterwarnings("ignore")  # those of transformers
def test_wav2vec2() -> None:
    """From the meta device or not, the same bytes, and a weight with the plan's standard deviation."""
    recipe = fanin.Recipe.preset("torch", seed=SEED).extend(
        [{"path": "masked_spec_embed", "initializer": "random_uniform", "minval": 0, "maxval": 1}]
    )
    model, meta = wav2vec2(), on_meta(wav2vec2)
    plan = initialize(model, recipe).plan
    initialize(meta, recipe)
    assert raw(model) == raw(meta)
    path = "encoder.pos_conv_embed.conv.weight"
    weight, expected = model.encoder.pos_conv_embed.conv.weight, plan.entry(path).stddev
    assert expected is not None
    assert abs(weight.std().item() / expected - 1) < 0.05
    with torch.no_grad():
        assert meta.eval()(torch.linspace(-1, 1, 16000)[None])[0].isfinite().all()


ZEROS = fanin.Recipe([{"path": "*", "initializer": "zeros"}])
IDENTITY = fanin.Recipe([{"path": "weight", "initializer": "identity"}, *ZEROS.rules])
NORMS: dict[str, Callable[[Any], Any]] = {
    "weight_norm": HOOK,
    "weight_norm, parametrization": PARAMETRIZATION,
    "spectral_norm": torch.nn.utils.spectral_norm,
    "spectral_norm, parametrization": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("norm", NORMS)
def test_weights_without_a_norm(norm: str) -> None:
    """A weight of zeros would be divided by its norm, so it is refused before anything is written."""
    module = without_warnings(lambda: NORMS[norm](nn.Linear(3, 4)))
    before = raw(module)
    with pytest.raises(PlanError, match=r"weight: The .* of the weight would be zero, and the layer would d"):
        initialize(module, ZEROS)
    assert raw(module) == before


def test_a_row_without_a_norm() -> None:
    """weight_norm divides each row by its own norm."""
    module = PARAMETRIZATION(nn.Linear(2, 3))
    with pytest.raises(PlanError, match="The norm of the weight would be zero"):
        initialize(module, IDENTITY)
    initialize(PARAMETRIZATION(nn.Linear(3, 2)), IDENTITY)


@pytest.mark.parametrize("norm", NORMS)
def test_within_the_meta_device(norm: str) -> None:
    """The device that PyTorch makes tensors on makes no difference."""

    def make() -> Any:
        return without_warnings(lambda: NORMS[norm](nn.Linear(3, 4)))

    expected = make()
    initialize(expected, ALL)
    with torch.device("meta"):
        module = make()
        initialize(module, ALL, prefix="")
    assert raw(module) == raw(expected)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("lacking", [False, True], ids=["the weight", "the rest"])
def test_half_of_a_weight(norm: str, lacking: bool) -> None:
    """A weight that was loaded in part would be changed, or not fit the rest: it is refused."""
    module = without_warnings(lambda: NORMS[norm](nn.Linear(3, 4)))
    before = raw(module)
    drawn = ("weight_v", "weight_orig", "original1", "original")
    if norm == "spectral_norm":
        drawn = drawn[1:]  # its weight_v is a singular vector
    keys = [key for key in module.state_dict() if key.endswith(drawn) != lacking]
    assert initialize(module, ALL, only_missing=module.state_dict()).filled == ()
    with pytest.raises(PlanError, match=r"must be loaded as a whole, or not at all; nothing has been written"):
        initialize(module, ALL, only_missing=keys)
    assert raw(module) == before


def test_what_stays_without_values() -> None:
    """A weight that is left on the meta device leaves all of its parts there."""
    module = on_meta(lambda: parametrizations.spectral_norm(nn.Linear(3, 4)))
    with pytest.warns(UserWarning, match="Not every tensor of the model has values"):
        report = initialize(module, ALL, skip="weight")
    inside = "parametrizations.weight"
    assert set(report.empty) == {"weight", f"{inside}.0._u", f"{inside}.0._v"}
