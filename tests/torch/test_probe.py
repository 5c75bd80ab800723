"""`fanin.torch.probe`: statistics against numbers worked out by hand or by NumPy, of every kind of module."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from scipy import stats  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fanin  # noqa: E402
import fanin.torch  # noqa: E402
from torch_kit import without_warnings  # noqa: E402


def normal(*shape: int, seed: int = 7) -> Any:
    """Standard normal numbers."""
    return torch.from_numpy(fanin.RandomNormal(stddev=1.0, seed=seed)(shape))


def by_hand() -> Any:
    """Two inputs, three hidden units of which one is dead, one output."""
    model: Any = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[1.0, -1.0, 3.0]]))
        model[2].bias.fill_(0.5)
    return model


BATCH = [[1.0, 1.0], [3.0, 1.0]]  # hidden: 1 2 -2 and 3 2 -4; then 1 2 0 and 3 2 0; outputs: -0.5 and 1.5


def test_moments_by_hand() -> None:
    """Mean, standard deviation, share of zeros and dead units of a network that fits a sheet of paper."""
    hidden, relu, output = fanin.torch.probe(by_hand(), torch.tensor(BATCH)).layers
    assert (hidden.path, hidden.layer, hidden.output.shape) == ("0", "Linear", (2, 3))
    assert hidden.output.mean == pytest.approx(2 / 6)  # before the ReLU writes to it
    assert hidden.output.std == pytest.approx(math.sqrt(38 / 6 - 1 / 9))
    assert (hidden.output.zeros, hidden.output.dead) == (0.0, 0)
    assert relu.output.mean == pytest.approx(8 / 6)
    assert (relu.output.zeros, relu.output.dead, relu.output.units) == (2 / 6, 1, 3)
    assert (output.output.mean, output.output.std) == (0.5, 1.0)


def test_gradients_by_hand() -> None:
    """The gradient of the sum of squares: 2y at the output, and backwards through weights and the ReLU's mask."""
    hidden, relu, output = fanin.torch.probe(by_hand(), torch.tensor(BATCH), loss=lambda y: (y**2).sum()).layers
    at_output = np.array([-1.0, 3.0])
    at_relu = at_output[:, None] * np.array([1.0, -1.0, 3.0])
    at_hidden = at_relu * np.array([1.0, 1.0, 0.0])
    assert output.gradient is not None
    assert output.gradient.std == pytest.approx(at_output.std())
    assert relu.gradient is not None
    assert relu.gradient.std == pytest.approx(at_relu.std())
    assert hidden.gradient is not None
    assert hidden.gradient.std == pytest.approx(at_hidden.std())
    weight = hidden.parameters["weight"]
    assert weight.values.std == pytest.approx(np.array([1, 0, 0, 2, -1, -1.0]).std())
    assert weight.gradient is not None
    assert weight.gradient.std == pytest.approx((at_hidden.T @ np.array(BATCH)).std())


def test_expected_by_hand() -> None:
    """fan_in · E[w²] · E[x²] + E[b²], of a layer with three inputs and a bias of a half."""
    *_, output = fanin.torch.probe(by_hand(), torch.tensor(BATCH)).layers
    assert output.expected == pytest.approx(math.sqrt(3 * (11 / 3) * (18 / 6) + 0.25))
    assert output.ratio == pytest.approx(math.sqrt(1.25) / math.sqrt(33.25))


def test_effective_rank() -> None:
    """The exponential of SciPy's entropy of the singular values of all outputs."""
    model, batch = nn.Linear(20, 16), normal(40, 20)
    [layer] = fanin.torch.probe(model, batch).layers
    singular = np.linalg.svd(model(batch).detach().numpy(), compute_uv=False)
    assert layer.output.rank == pytest.approx(math.exp(stats.entropy(singular)), rel=1e-5)
    assert layer.output.rank_limit == 16


def test_channels_are_the_units_of_convolutions() -> None:
    """A channel that is zero everywhere is one dead unit, also behind activations and pools."""
    convolution = nn.Conv2d(2, 4, 3)
    with torch.no_grad():
        convolution.bias[1] = -1e3  # pyright: ignore[reportOptionalSubscript]
    model = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))
    layers = fanin.torch.probe(model, normal(5, 2, 8, 8)).layers
    assert [(each.output.dead, each.output.units) for each in layers] == [(0, 4), (1, 4), (1, 4)]


@pytest.mark.parametrize(
    ("activation", "count"),
    [
        (nn.Tanh(), lambda y: (y.abs() > 0.99).sum()),
        (nn.Sigmoid(), lambda y: ((y < 0.005) | (y > 0.995)).sum()),
        (nn.Hardtanh(-2, 2), lambda y: (y.abs() > 1.98).sum()),
        (nn.Hardsigmoid(), lambda y: ((y < 0.005) | (y > 0.995)).sum()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_saturation(activation: Any, count: Any) -> None:
    """The share of outputs that are nearer to an end of the range than a two-hundredth of it."""
    batch = 3 * normal(64, 32)
    [layer] = fanin.torch.probe(activation, batch).layers
    assert layer.output.saturated == pytest.approx(float(count(activation(batch))) / batch.numel())
    assert 0.05 < (layer.output.saturated or 0) < 1


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(8, 64, 5, padding=2),
        nn.Conv2d(8, 64, 3, padding=1, stride=2),
        nn.Conv2d(8, 64, 3, padding="same", dilation=2),
        nn.Conv2d(8, 64, 3, padding=1, groups=4),
        nn.Conv2d(8, 64, 3, padding=1, padding_mode="circular"),
        nn.ConvTranspose2d(8, 64, 4, stride=2, padding=1),
        nn.ConvTranspose1d(8, 64, 3, stride=2),
        nn.Linear(8, 64),
    ],
    ids=str,
)
def test_theory_is_right_for_random_weights(layer: Any) -> None:
    """What theory expects of independent inputs is there, where windows hang over the edge, too."""
    dims = len(getattr(layer, "kernel_size", ()))
    batch = normal(*((64, 8, *[9] * dims) if dims else (512, 8)))
    [probed] = fanin.torch.probe(layer, batch).layers
    assert probed.ratio == pytest.approx(1, abs=0.04)


def test_the_cotangent() -> None:
    """Without a loss the gradient at the output is a draw of fanin's, whose seed is the argument."""
    model = nn.Linear(3, 5)
    [layer] = fanin.torch.probe(model, normal(4, 3), seed=9).layers
    drawn = fanin.RandomNormal(stddev=1.0, seed=9).spawn("cotangent")((4, 5)).astype(float)
    assert layer.gradient is not None
    assert layer.gradient.std == pytest.approx(drawn.std())


def test_loss_with_a_target() -> None:
    """A loss of two arguments gets the target; its own parameters gain no gradients."""
    model, target = nn.Linear(3, 5), torch.tensor([1, 2, 0, 4])
    temperature = nn.Parameter(torch.ones(()))

    def loss(y: Any, t: Any) -> Any:
        return nn.functional.cross_entropy(y * temperature, t)

    [layer] = fanin.torch.probe(model, normal(4, 3), loss=loss, target=target).layers
    output = model(normal(4, 3)).detach().requires_grad_()
    nn.functional.cross_entropy(output, target).backward()
    assert layer.gradient is not None
    assert output.grad is not None
    assert layer.gradient.std == pytest.approx(output.grad.double().std(correction=0).item(), rel=1e-5)
    assert temperature.grad is None


class Heads(nn.Module):
    """A module with two outputs, in a container."""

    def __init__(self, container: Any) -> None:
        super().__init__()
        self.first, self.second, self.container = nn.Linear(4, 4), nn.Linear(4, 4), container

    def forward(self, x: Any) -> Any:
        return self.container([self.first(x), self.second(x)])


@pytest.mark.parametrize(
    "container", [tuple, list, lambda two: {"a": two[0], "b": two[1]}], ids=["tuple", "list", "dict"]
)
def test_several_outputs(container: Any) -> None:
    """The gradient begins at each of them, with other numbers: no head seems cut off."""
    first, second = fanin.torch.probe(Heads(container), normal(64, 4)).layers
    assert first.gradient is not None
    assert second.gradient is not None
    assert second.verdict.is_ok
    assert first.gradient.std == pytest.approx(1, abs=0.2)
    assert second.gradient.std == pytest.approx(1, abs=0.2)
    assert first.gradient.std != second.gradient.std


class Twice(nn.Module):
    """A module that calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.shared(torch.relu(self.shared(self.first(x))))


def test_a_module_that_is_called_twice() -> None:
    """It has a row for each call, with the gradients of each; its weight's is the sum."""
    model, batch = Twice(), normal(6, 4)
    probe = fanin.torch.probe(model, batch, loss=lambda y: y.square().sum())
    assert [each.name for each in probe.layers] == ["first", "shared", "shared#2"]
    inner = model.shared(model.first(batch))
    inner.retain_grad()
    model.shared(torch.relu(inner)).square().sum().backward()
    gradient = probe["shared"].gradient
    assert gradient is not None
    assert gradient.std == pytest.approx(inner.grad.double().std(correction=0).item(), rel=1e-5)
    of_weight = probe["shared#2"].parameters["weight"].gradient
    assert of_weight is not None
    assert model.shared.weight.grad is not None
    assert of_weight.std == pytest.approx(model.shared.weight.grad.double().std(correction=0).item(), rel=1e-5)


class Checkpointed(nn.Module):
    """Layers whose activations are not kept but computed again, one of them in two segments."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.reentrant = reentrant

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for _ in range(2):
            if self.reentrant is None:
                x = torch.tanh(self.second(x))
            else:
                x = checkpoint(lambda y: torch.tanh(self.second(y)), x, use_reentrant=self.reentrant)
        return self.third(x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers(reentrant: bool) -> None:
    """They have the rows and gradients that they have without checkpoints."""
    torch.manual_seed(1)
    plain = Checkpointed(None)
    other = Checkpointed(reentrant)
    other.load_state_dict(plain.state_dict())
    expected, found = (fanin.torch.probe(each, normal(5, 4)).as_dict()["layers"] for each in (plain, other))
    assert len(found) == 4
    for theirs, ours in zip(expected, found, strict=True):
        assert ours["path"] == theirs["path"]
        assert ours["std"] == theirs["std"]
        assert ours["gradient_std"] == pytest.approx(theirs["gradient_std"], rel=1e-5)
        for name, each in theirs["parameters"].items():
            assert ours["parameters"][name]["gradient_std"] == pytest.approx(each["gradient_std"], rel=1e-5), name


def test_outputs_that_are_no_tensors() -> None:
    """A recurrent layer counts by its outputs, attention by its values, a mapping by its first tensor."""
    lstm = nn.LSTM(4, 6, batch_first=True)
    [layer] = fanin.torch.probe(lstm, normal(3, 5, 4)).layers
    assert layer.output.shape == (3, 5, 6)
    assert layer.output.std == pytest.approx(lstm(normal(3, 5, 4))[0].std(correction=0).item(), rel=1e-5)
    assert set(layer.parameters) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert all(each.gradient is not None for each in layer.parameters.values())
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    [layer] = fanin.torch.probe(attention, (normal(2, 5, 8),) * 3).layers
    assert layer.output.shape == (2, 5, 8)
    assert layer.gradient is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_dtypes(dtype: Any) -> None:
    """Models of other precisions are measured in double precision."""
    model, batch = without_warnings(lambda: nn.Linear(16, 32).to(dtype)), normal(64, 16).to(dtype)
    [layer] = fanin.torch.probe(model, batch).layers
    values = model(batch).detach()
    parts = torch.view_as_real(values) if values.is_complex() else values
    assert layer.output.std == pytest.approx(parts.double().std(correction=0).item(), rel=1e-9)
    assert layer.gradient is not None
    assert layer.gradient.std == pytest.approx(1, abs=0.35)


def test_large_tensors_are_read_in_blocks() -> None:
    """Statistics of a million elements, cut along several axes, are NumPy's."""
    batch = normal(3, 2, 700, 300)
    [layer] = fanin.torch.probe(nn.ReLU(), batch).layers
    values = np.maximum(batch.numpy().astype(np.float64), 0)
    assert layer.output.mean == pytest.approx(values.mean(), rel=1e-12)
    assert layer.output.std == pytest.approx(values.std(), rel=1e-12)
    assert layer.output.zeros == (values == 0).mean()


def test_what_is_not_finite() -> None:
    """NaN and infinities are counted, said, and kept out of the moments."""
    batch = torch.tensor([[1.0, math.nan], [3.0, math.inf]])
    [layer] = fanin.torch.probe(nn.Identity(), batch).layers
    assert (layer.output.nonfinite, layer.output.mean, layer.output.rank) == (2, 2.0, None)
    assert layer.verdict.word == "not finite"
    json.dumps(fanin.torch.probe(nn.Identity(), batch).as_dict(), allow_nan=False)


def stack(gain: float, depth: int = 12) -> Any:
    """A stack of layers with ReLUs, whose weights are He's times a gain."""
    layers: Any = [nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU()) for _ in range(depth)]
    for seed, each in enumerate(layers):
        fanin.torch.fill_(each[0].weight, fanin.RandomNormal(stddev=gain * math.sqrt(2 / 64), seed=seed))
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("gain", "way"), [(1.5, "explodes"), (0.6, "vanishes")])
def test_verdicts_of_signals_and_gradients(gain: float, way: str) -> None:
    """A gain beyond He's multiplies both by itself at each layer, and the verdict says so."""
    words = {each.word: each.sentence for each in fanin.torch.probe(stack(gain), normal(128, 64)).verdicts}
    assert {f"signal {way}", f"gradient {way}"} <= words.keys()
    factor = float(words[f"signal {way}"].split()[1])
    assert factor == pytest.approx(gain, rel=0.1)


def test_a_healthy_network() -> None:
    """He's initialization has nothing to remark."""
    [verdict] = fanin.torch.probe(stack(1.0, 6), normal(128, 64)).verdicts
    assert verdict.is_ok, verdict


def test_dead_units_have_a_verdict() -> None:
    """A bias that is far too low kills a layer, and the layers before it get no gradient."""
    model = stack(1.0, 6)
    model[2][0].bias = nn.Parameter(torch.full((64,), -100.0))
    probe = fanin.torch.probe(model, normal(128, 64))
    assert probe["2.1"].verdict.word == "zero"
    assert probe["0.0"].verdict.word == "no gradient"
    assert "zero" in [each.word for each in probe.verdicts]


def test_a_layer_of_zeros_is_the_cause() -> None:
    """A bias far below zero in the middle is named before what it does to the gradient."""
    model: Any = nn.Sequential(*stack(1.0, 24), nn.Linear(64, 10))
    model[10][0].bias = nn.Parameter(torch.full((64,), -100.0))
    first, second, *_ = fanin.torch.probe(model, normal(128, 64)).verdicts
    assert first.word == "zero"
    assert ", first 10.1: all outputs are zero" in first.sentence
    assert second.word == "no gradient"


class Detached(nn.Module):
    """A stack whose first half is cut off from the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = stack(1.0, 5), stack(1.0, 5)

    def forward(self, x: Any) -> Any:
        """Runs the halves without a gradient between them."""
        return self.second(self.first(x).detach())


def test_a_cut_of_what_is_trained() -> None:
    """A detached half that is trained gets no gradient, which is wrong."""
    model = Detached()
    first, *_ = fanin.torch.probe(model, normal(128, 64)).verdicts
    assert (first.word, first.sentence) == ("no gradient", "10 of 20 layers, first first.0.0: no gradient reaches it")


def test_a_frozen_part_is_no_cut() -> None:
    """Nobody asks for a gradient where tokens, which have none, pass through frozen layers."""
    model: Any = nn.Sequential(nn.Embedding(50, 64), *stack(1.0, 10))
    model[:6].requires_grad_(False)
    probe = fanin.torch.probe(model, torch.arange(128) % 50)
    assert [each.word for each in (*probe.verdicts, *probe.remarks)] == ["ok"]


@pytest.mark.parametrize(("is_trained", "words"), [(False, []), (True, ["no gradient"])])
def test_a_part_without_a_graph(is_trained: bool, words: list[str]) -> None:
    """A frozen part whose code takes no gradient needs none; one that is trained does."""
    model = Detached()
    model.first.requires_grad_(is_trained)
    model.first.forward = torch.no_grad()(model.first.forward)
    probe = fanin.torch.probe(model, normal(128, 64))
    assert [each.word for each in (*probe.verdicts, *probe.remarks) if each.word == "no gradient"] == words


@pytest.mark.parametrize("batch", [lambda x: x, lambda x: (x,), lambda x: {"input": x}], ids=["one", "tuple", "dict"])
def test_a_batch_that_is_not_finite(batch: Any) -> None:
    """It is told first, before the layers that it spoils."""
    first, *_ = fanin.torch.probe(stack(1.0, 6), batch(normal(128, 64) * math.inf)).verdicts
    assert first.sentence.startswith("the batch itself has 8,192 of 8,192 numbers that are NaN or infinite; ")
    with pytest.raises(ValueError, match=r"`batch` must have samples\. Received: a batch of shape \(0, 64\)"):
        fanin.torch.probe(stack(1.0, 2), batch(torch.zeros(0, 64)))


def test_layers_by_globs() -> None:
    """`layers` chooses modules of any kind, blocks among them."""
    probe = fanin.torch.probe(stack(1.0, 3), normal(8, 64), layers=["1", "2.*"])
    assert [each.path for each in probe.layers] == ["1", "2.0", "2.1"]
    with pytest.raises(ValueError, match=r"`layers` must match layers of the model. Received: '3.\*'"):
        fanin.torch.probe(stack(1.0, 3), normal(8, 64), layers="3.*")


def test_frozen_models_have_gradients_of_activations() -> None:
    """Also under no_grad and in inference mode, without parameters that require gradients."""
    model = stack(1.0, 2).requires_grad_(False)
    with torch.no_grad():
        first = fanin.torch.probe(model, normal(8, 64)).as_dict()
    with torch.inference_mode():
        second = fanin.torch.probe(model, normal(8, 64)).as_dict()
    assert first == second
    assert all(each["gradient_std"] for each in first["layers"])


def test_models_of_inference_tensors() -> None:
    """A model that was made in inference mode can be probed, buffers and batch included."""
    with torch.inference_mode():
        model: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        batch = torch.ones(8, 4).cumsum(0)
    before = model[1].running_mean.clone()
    assert all(each.gradient is not None for each in fanin.torch.probe(model, batch).layers)
    assert torch.equal(model[1].running_mean, before)


def test_without_gradients() -> None:
    """The batch passes forwards alone."""
    probe = fanin.torch.probe(stack(1.0, 2), normal(8, 64), gradients=False)
    assert not probe.has_gradients
    assert all(each.gradient is None for each in probe.layers)
    assert "gradient" not in probe.table().heads


def test_autocast_around_it() -> None:
    """Layers run in the precision that autocast gives them."""
    model = nn.Linear(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        [layer] = fanin.torch.probe(model, normal(16, 8)).layers
        expected = model(normal(16, 8)).double().std(correction=0).item()
    assert layer.output.std == pytest.approx(expected, rel=1e-9)


def test_compiled_models() -> None:
    """The original runs, with its layers, also where only a part is compiled."""
    model = stack(1.0, 2)
    expected = fanin.torch.probe(model, normal(8, 64)).as_dict()
    compiled = torch.compile(model, backend="eager")
    assert fanin.torch.probe(compiled, normal(8, 64)).as_dict() == expected
    model[0].compile(backend="eager")
    assert fanin.torch.probe(model, normal(8, 64)).as_dict() == expected


def test_parametrized_layers() -> None:
    """Spectral norms iterate once, as in a plain run, and their layers are rows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.ReLU())
    probe = fanin.torch.probe(model, normal(8, 4))
    assert [each.path for each in probe.layers] == ["0", "1"]
    assert probe.layers[0].expected is None
    assert probe.layers[0].output.std == pytest.approx(model[0](normal(8, 4)).std(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(2, 2, device="meta"), "weight, which has no values"),
        (lambda: nn.Sequential(without_warnings(lambda: nn.LazyLinear(2))), "0.weight, which a lazy module"),
        (lambda: nn.Sequential(), "A layer of the model must run"),
    ],
    ids=["meta", "lazy", "empty"],
)
def test_refusals(make: Any, message: str) -> None:
    """Models that no batch can pass through are refused by the name of what hinders it."""
    with pytest.raises(ValueError, match=message):
        fanin.torch.probe(make(), torch.ones(1, 2))


def test_sharded_models_are_refused(mesh: Any) -> None:
    """A DTensor is refused, since this process does not have the whole."""
    from torch.distributed.tensor import Replicate, distribute_tensor

    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(distribute_tensor(model.weight.detach(), mesh, [Replicate()]))
    with pytest.raises(ValueError, match=r"Received: weight, of which this process holds a part\."):
        fanin.torch.probe(model, torch.ones(1, 2))


def test_losses_that_are_none() -> None:
    """A loss must be one number that depends on the output."""
    with pytest.raises(ValueError, match="`loss` must return one number"):
        fanin.torch.probe(nn.Linear(2, 2), torch.ones(1, 2), loss=lambda y: y)
    with pytest.raises(TypeError, match=r"`model` must be a torch\.nn\.Module"):
        fanin.torch.probe("model", torch.ones(1, 2))  # pyright: ignore[reportArgumentType]


def test_table_html_and_plot() -> None:
    """The report is a table in a terminal and in a notebook, and a figure."""
    probe = fanin.torch.probe(stack(1.0, 6), normal(64, 64))
    lines = str(probe).splitlines()
    assert lines[0].split()[:2] == ["layer", "type"]
    assert len([each for each in lines if " Linear " in each]) == 6
    assert "<table" in probe._repr_html_()
    assert "5.1" in probe._repr_html_()
    pytest.importorskip("matplotlib")
    signal, gradient = probe.plot().axes
    for axes, sizes in (
        (signal, [each.output.std for each in probe.layers]),
        (gradient, [each.gradient.std for each in probe.layers if each.gradient is not None]),
    ):
        line, *_ = axes.lines
        assert np.asarray(line.get_ydata(), float).tolist() == [float(f"{size:.6g}") for size in sizes]


def test_hugging_face_models() -> None:
    """A small GPT-2 with labels: the gradient begins with its own loss, and theory is right about its layers."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_embd=64, n_head=2, vocab_size=96, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    tokens = torch.arange(64).reshape(2, 32) % 96
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probe = fanin.torch.probe(model, {"input_ids": tokens, "labels": tokens})
    paths = [each.path for each in probe.layers]
    assert paths[0] == "transformer.wte"
    assert paths[-1] == "lm_head"
    assert "transformer.h.1.mlp.c_fc" in paths
    for each in probe.weighted:
        if "attn.c_proj" not in each.path:  # whose inputs are means, which are alike
            assert each.ratio == pytest.approx(1, abs=0.15), each.path
    tied = probe["lm_head"].parameters["weight"].gradient
    model(input_ids=tokens, labels=tokens).loss.backward()
    assert tied is not None
    assert tied.std == pytest.approx(model.lm_head.weight.grad.double().std(correction=0).item(), rel=1e-4)


@pytest.mark.skipif("FANIN_TIMM" not in os.environ, reason="FANIN_TIMM is not the folder of timm and torchvision")
def test_a_vision_model() -> None:
    """ResNet-18 as torchvision initializes it: theory is right about each convolution, padding included."""
    code = (
        "import json, torch, timm_models, fanin, fanin.torch\n"
        "batch = torch.from_numpy(fanin.RandomNormal(stddev=1.0, seed=7)((4, 3, 64, 64)))\n"
        'print(json.dumps(fanin.torch.probe(timm_models.made("torchvision\'s resnet18"), batch).as_dict()))'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.environ["FANIN_TIMM"]])}
    command = [sys.executable, "-W", "ignore", "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    layers = {each["path"]: each for each in report["layers"]}
    convolutions = [each for each in report["layers"] if each["type"] == "Conv2d"]
    assert len(convolutions) == 20
    assert all(0.85 < each["ratio"] < 1.15 for each in convolutions)
    assert layers["bn1"]["std"] == pytest.approx(1, abs=1e-3)
    assert 0.3 < layers["relu"]["zeros"] < 0.7
    assert [each["word"] for each in report["verdicts"]] == ["ok"]


class Forgetful(nn.Module):
    """A norm that its code does not call, and weights that another module uses without a call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.used = nn.Linear(8, 8).requires_grad_(False)

    def forward(self, x: Any) -> Any:
        """Uses a weight as it is."""
        return self.fc(x) @ self.used.weight


@pytest.mark.parametrize("gradients", [True, False])
def test_layers_that_do_not_run(gradients: bool) -> None:
    """A layer that neither runs nor gets a gradient has a note; without gradients, nothing is known of it."""
    notes = fanin.torch.probe(Forgetful(), normal(32, 8), gradients=gradients).notes
    assert len(notes) == gradients
    assert not gradients or notes[0].startswith("norm did not run, and no gradient comes to its parameters")


def test_a_jump_that_is_a_bias() -> None:
    """Where the signal is gone, what a bias makes of it is said to be the bias."""
    model: Any = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(5)), nn.Linear(64, 64))
    with torch.no_grad():
        for layer in model:
            layer.weight.mul_(1e-2)
        model[5].bias.normal_()
    verdicts = {each.word: each.sentence for each in fanin.torch.probe(model, normal(32, 64)).verdicts}
    assert " in 5 (by its bias), from " in verdicts["signal jumps"]
