"""`fanin.torch.lsuv_`: deep networks come to unit variance, and what cannot is said before anything is written."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import fanin  # noqa: E402
import fanin.torch  # noqa: E402
from torch_kit import raw  # noqa: E402


def normal(*shape: int) -> Any:
    """Standard normal numbers."""
    return torch.from_numpy(fanin.RandomNormal(stddev=1.0, seed=7)(shape))


def dense(depth: int = 20) -> Any:
    """Dense layers with ReLUs."""
    return nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU(inplace=True)) for _ in range(depth)])


def convolutional() -> Any:
    """Twenty convolutions of several kinds."""
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=1 + each % 2), nn.ReLU()) for each in range(18)]
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *blocks, nn.ConvTranspose2d(8, 4, 2, stride=2))


class Residual(nn.Module):
    """Ten blocks of two layers, added to what goes in."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(10))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = x + block(x)
        return x


def stds(model: Any, batch: Any) -> list[float]:
    """The standard deviations of what dense layers and convolutions return, by hooks of this test."""
    found: list[float] = []
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    handles = [
        each.register_forward_hook(lambda module, args, output: found.append(output.double().std(correction=0).item()))
        for each in model.modules()
        if isinstance(each, kinds)
    ]
    with torch.no_grad():
        model(batch)
    for each in handles:
        each.remove()
    return found


@pytest.mark.parametrize(
    ("make", "shape"),
    [(dense, (256, 64)), (convolutional, (32, 3, 10, 10)), (Residual, (256, 32))],
    ids=["dense", "convolutional", "residual"],
)
def test_twenty_layers(make: Any, shape: Any) -> None:
    """All twenty layers come to 1 ± 0.02, from defaults under which most are far from it."""
    model, batch, tolerance = make(), normal(*shape), 0.02
    before = stds(model, batch)
    report = fanin.torch.lsuv_(model, batch, tolerance=tolerance)
    after = stds(model, batch)
    assert len(after) == 20
    assert all(abs(each - 1) <= tolerance + 1e-5 for each in after)
    assert any(abs(each - 1) > 0.3 for each in before)
    assert [each.before for each in report.layers] == pytest.approx(before, rel=1e-5)
    assert [each.after for each in report.layers] == pytest.approx(after, rel=1e-5)
    assert not report.missed


def test_weights_are_orthogonal_and_scaled() -> None:
    """Each is a multiple of the orthogonal matrix of its name."""
    model = dense(3)
    report = fanin.torch.lsuv_(model, normal(64, 64), seed=4)
    for each in report.layers:
        start = fanin.Orthogonal(seed=4).spawn(f"{each.path}.weight")((64, 64)).T
        weight = model.get_parameter(f"{each.path}.weight").detach().numpy()
        assert np.allclose(weight, start * each.scale, rtol=1e-5, atol=1e-7)


def test_from_what_weights_are() -> None:
    """Without an orthogonal start, weights are multiplied and nothing else."""
    model = dense(3)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    report = fanin.torch.lsuv_(model, normal(64, 64), orthogonal=False)
    for each in report.layers:
        weight = model.get_parameter(f"{each.path}.weight")
        assert torch.allclose(weight, before[f"{each.path}.weight"] * each.scale)
        assert torch.equal(model.get_parameter(f"{each.path}.bias"), before[f"{each.path}.bias"])


def test_it_repeats_itself() -> None:
    """The weights are a function of model, batch and seed, whatever they were before; dropout is the same each time."""
    models: Any = [nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.5), nn.Linear(32, 8)) for _ in range(2)]
    models[1].load_state_dict({name: 3 * each for name, each in models[0].state_dict().items()})
    for each in models:
        nn.init.zeros_(each[0].bias)
        nn.init.zeros_(each[2].bias)
        assert not fanin.torch.lsuv_(each, normal(128, 16), tolerance=0.001).missed
    assert raw(models[0]) == raw(models[1])


class Odd(nn.Module):
    """Layers that may be scaled, and all kinds that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.first, self.same = nn.Linear(16, 16), nn.Linear(16, 16)
        self.same.weight = self.first.weight
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.unused = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)

    def forward(self, tokens: Any) -> Any:
        x = self.normed(self.frozen(self.same(self.first(self.norm(self.embedding(tokens))))))
        return self.head(x)


TOKENS = torch.arange(20).repeat(4)


def test_what_is_skipped_is_said() -> None:
    """Tied, frozen, parametrized and unused layers stay as they are, each with its reason."""
    model = Odd()
    before = raw(model)
    report = fanin.torch.lsuv_(model, TOKENS)
    assert [each.path for each in report.layers] == ["first"]
    assert dict(report.skipped) == {
        "head": "it shares its weight with embedding.weight",
        "same": "it shares its weight with first.weight",
        "frozen": "it is frozen",
        "normed": "its weight is computed from other tensors",
        "unused": "the batch does not reach it",
    }
    changed = {name for name, each in raw(model).items() if each != before[name]}
    assert changed == {"first.weight", "same.weight"}


@pytest.mark.parametrize("path", ["head", "normed", "unused"])
def test_layers_by_name_are_refused(path: str) -> None:
    """A layer that is asked for by its path and cannot be scaled is an error, before anything is written."""
    model = Odd()
    before = raw(model)
    with pytest.raises(ValueError, match=rf"The layers to scale must be ones that can be. Received: {path}: "):
        fanin.torch.lsuv_(model, TOKENS, layers=["first", path])
    assert raw(model) == before


def test_layers_by_globs() -> None:
    """Only the layers that match are scaled; frozen ones, too, if they are asked for."""
    model = Odd()
    before = raw(model)
    report = fanin.torch.lsuv_(model, TOKENS, layers="f*")
    assert {each.path for each in report.layers} == {"frozen", "first"}
    assert raw(model)["unused.weight"] == before["unused.weight"]


def test_what_cannot_reach_one_is_said() -> None:
    """A layer whose bias alone is too large, and one without inputs, say so; the others reach it."""
    model: Any = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4, bias=False))
    with torch.no_grad():
        model[0].bias.copy_(torch.linspace(-9, 9, 16))
        model[1].bias.fill_(-1e6)
    report = fanin.torch.lsuv_(model, normal(64, 16), iterations=3)
    assert [each.path for each in report.missed] == ["0", "3"]
    assert "after 3 iterations, and its bias alone has one of 5.53" in report.missed[0].problem
    assert report.missed[1].problem == "its outputs are all the same"


@pytest.mark.parametrize("factor", [math.nan, 1e38, None], ids=["nan", "overflow", "empty"])
def test_batches_that_say_nothing_are_refused(factor: float | None) -> None:
    """Where no layer has outputs that are all finite, the weights stay as they are."""
    model = dense(3)
    before = raw(model)
    batch = normal(0, 64) if factor is None else 1e3 * factor * normal(16, 64)
    with pytest.raises(ValueError, match=r"none of 3 layers has such, first 0\S*: its outputs are not all finite"):
        fanin.torch.lsuv_(model, batch)
    assert raw(model) == before


def test_layers_that_inputs_do_not_reach_keep_their_weights() -> None:
    """Behind a dead activation only the bias has a size, and no factor of the weight changes it."""
    model: Any = nn.Sequential(nn.Linear(16, 16), nn.Threshold(1e9, 0.0), nn.Linear(16, 16))
    before = raw(model)
    report = fanin.torch.lsuv_(model, normal(64, 16))
    [missed] = report.missed
    assert (missed.path, missed.scale) == ("2", 1.0)
    assert "times an orthogonal one" in missed.problem
    assert {name for name, each in raw(model).items() if each != before[name]} == {"0.weight"}


def test_weights_come_back_if_it_fails() -> None:
    """If the model raises half way, all weights are what they were."""
    model, calls = dense(4), []

    def fail(module: Any, args: Any, output: Any) -> None:
        calls.append(module)
        if len(calls) > 3:
            raise RuntimeError("as told")

    model[2].register_forward_hook(fail)
    before = raw(model)
    with pytest.raises(RuntimeError, match="as told"):
        fanin.torch.lsuv_(model, normal(64, 64))
    assert raw(model) == before
    assert len(model[2]._forward_hooks) == 1


def test_nothing_else_changes() -> None:
    """Not the statistics of norms, gradients, modes and generators."""
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8))
    model[0].weight.grad = torch.ones(8, 8)
    before, state = raw(model), torch.get_rng_state()
    fanin.torch.lsuv_(model, normal(32, 8))
    assert {name for name, each in raw(model).items() if each != before[name]} == {"0.weight", "2.weight"}
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model[0].weight.grad is not None
    assert model[2].weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: Any) -> None:
    """Weights of 16 bits are rounded once."""
    model = dense(6).to(dtype)
    assert not fanin.torch.lsuv_(model, normal(128, 64).to(dtype)).missed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 0}, "`tolerance` must be between 0 and 1"),
        ({"iterations": 0}, "`iterations` must be a positive integer"),
        ({"layers": "9"}, r"`layers` must match layers of the model. Received: '9'"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    """Arguments out of range are errors, as is a model without layers to scale, or without values."""
    with pytest.raises(ValueError, match=message):
        fanin.torch.lsuv_(dense(2), normal(4, 64), **arguments)
    with pytest.raises(ValueError, match="Received: a model without one"):
        fanin.torch.lsuv_(nn.ReLU(), normal(4, 64))
    with pytest.raises(ValueError, match="weight, which has no values"):
        fanin.torch.lsuv_(nn.Linear(2, 2, device="meta"), normal(4, 2))


def test_report() -> None:
    """It is a table, data and a figure."""
    report = fanin.torch.lsuv_(Odd(), TOKENS)
    assert "skipped unused: the batch does not reach it" in str(report)
    assert "<table" in report._repr_html_()
    assert json.loads(json.dumps(report.as_dict()))["layers"][0]["path"] == "first"
    pytest.importorskip("matplotlib")
    [axes] = report.plot().axes
    lines = [
        np.asarray(each.get_ydata(), float).tolist() for each in axes.lines if each.get_label() in ("before", "after")
    ]
    sizes = [[each.before for each in report.layers], [each.after for each in report.layers]]
    assert lines == [[float(f"{size:.6g}") for size in each] for each in sizes]
