"""The values that recorded parameters get: those of the same initializers, and what code computes from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fanin
import fanin.torch
from torch_kit import bits, raw, spawned

SEED = 5


def filled(make: Callable[[], Any], **options: Any) -> Any:
    """A module that was recorded and initialized."""
    with fanin.torch.recording() as recorded:
        module = make()
    fanin.torch.initialize(module, recorded, seed=SEED, **options)
    return module


class Written(nn.Module):
    """A module with one parameter, which a function writes to."""

    def __init__(self, write: Callable[[torch.Tensor], object], *shape: int, dtype: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        with torch.no_grad():
            write(self.weight)


def values(write: Callable[[torch.Tensor], object], *shape: int, **options: Any) -> torch.Tensor:
    """The values of a parameter that code writes to."""
    return filled(lambda: Written(write, *shape, **options)).weight.detach()


@pytest.mark.parametrize(
    ("write", "initializer"),
    [
        (lambda w: w.normal_(1, 0.5), fanin.RandomNormal(1, 0.5)),
        (lambda w: w.uniform_(-1, 0.5), fanin.RandomUniform(-1, 0.5)),
        (lambda w: nn.init.trunc_normal_(w, 0.5, 0.5, -0.5, 1.5), fanin.TruncatedNormal(0.5, 0.5)),
        (lambda w: w.fill_(0.25), fanin.Constant(0.25)),
        (lambda w: nn.init.orthogonal_(w, 2), fanin.Orthogonal(2)),
        (lambda w: nn.init.xavier_uniform_(w), fanin.RandomUniform(-(6**0.5) / 3, 6**0.5 / 3)),
    ],
)
def test_values_are_those_of_the_initializer(write: Any, initializer: fanin.Initializer) -> None:
    """What code draws has the bytes of the same initializer under the parameter's name."""
    with fanin.torch.recording() as recorded:
        module: Any = nn.Sequential(nn.Linear(5, 4, bias=False))
        write(module[0].weight.data)
    fanin.torch.initialize(module, recorded, seed=SEED)
    expected = initializer.with_seed(SEED).spawn("0.weight")((5, 4)).T
    assert bits(module[0].weight) == np.ascontiguousarray(expected).tobytes()


def test_order_changes_nothing() -> None:
    """Layers that are made in another order have the same bytes."""

    class Two(nn.Module):
        def __init__(self, names: str) -> None:
            super().__init__()
            for name in names:
                setattr(self, name, nn.Linear(3, 4))

    assert raw(filled(lambda: Two("ab"))) == raw(filled(lambda: Two("ba")))


def test_a_part_alone_has_the_values_of_the_whole() -> None:
    """A part that is initialized by itself with its prefix has the values that it has in the whole."""
    whole = filled(lambda: nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4)))
    part = filled(lambda: nn.LSTM(4, 4), prefix="1")
    assert raw(whole[1]) == raw(part)


def test_narrow_values_are_rounded_wide_ones() -> None:
    """A bfloat16 model is the float32 model, rounded once."""
    wide = filled(lambda: nn.Linear(30, 40))
    narrow = filled(lambda: nn.Linear(30, 40, dtype=torch.bfloat16))
    assert bits(narrow.weight) == bits(wide.weight.to(torch.bfloat16))


def test_blocks_are_drawn_apart() -> None:
    """Blocks that code draws by themselves are drawn under names of their own."""

    def write(weight: torch.Tensor) -> None:
        for block, scale in zip(weight.chunk(3), (1.0, 2.0, 3.0), strict=True):
            block.normal_(0, scale)

    weight = values(write, 12, 4)
    for number in range(3):
        expected = fanin.RandomNormal(0, number + 1.0, seed=SEED).spawn(f"weight[{4 * number}:{4 * number + 4}]")
        assert bits(weight[4 * number : 4 * number + 4]) == expected((4, 4)).tobytes()


def test_forget_gates_lie_over_uniform_values() -> None:
    """A forget gate's bias of one leaves the rest of the bias as it is in a plain LSTM."""

    def make() -> Any:
        lstm: Any = nn.LSTM(3, 4)
        with torch.no_grad():
            lstm.bias_ih_l0[4:8].fill_(1)
        return lstm

    plain, gated = filled(lambda: nn.LSTM(3, 4)).bias_ih_l0.detach(), filled(make).bias_ih_l0.detach()
    assert bits(gated[4:8]) == bits(torch.ones(4))
    assert bits(gated[:4]) + bits(gated[8:]) == bits(plain[:4]) + bits(plain[8:])


def test_rows_of_zeros_lie_over_an_embedding() -> None:
    """A row of padding is zero, and the other rows are those of an embedding without padding."""
    padded, plain = (filled(lambda row=row: nn.Embedding(6, 3, padding_idx=row)).weight.detach() for row in (2, None))
    assert not padded[2].any()
    assert bits(padded[:2]) + bits(padded[3:]) == bits(plain[:2]) + bits(plain[3:])


def test_padding_that_is_overwritten_is_drawn() -> None:
    """A model that draws all of an embedding after its padding was zeroed has no row of zeros."""

    def make() -> nn.Module:
        embedding = nn.Embedding(6, 3, padding_idx=2)
        nn.init.normal_(embedding.weight)
        return embedding

    assert filled(make).weight.detach()[2].all()


def test_ties_stay() -> None:
    """Tied parameters are one parameter before and after."""

    def make() -> nn.Module:
        model = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 6, bias=False))
        model[1].weight = model[0].weight
        return model

    model = filled(make)
    assert model[0].weight is model[1].weight


def test_copies_have_the_values_of_their_original() -> None:
    """A deep copy, as of a teacher or a target network, begins with the values of its original."""

    def make() -> nn.Module:
        student = nn.Linear(4, 4)
        return nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student)})

    model = filled(make)
    assert raw(model["student"]) == raw(model["teacher"])
    assert model["student"].weight is not model["teacher"].weight


def test_scaled_copies_fit_their_original() -> None:
    """A copy that was scaled has the scaled values."""

    def make() -> nn.Module:
        model: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        with torch.no_grad():
            model[1].weight.copy_(model[0].weight * 2)
        return model

    model = filled(make)
    assert bits(model[1].weight) == bits(model[0].weight.detach() * 2)


def test_halves_of_a_drawn_tensor_are_two_draws() -> None:
    """Two parameters that take different halves of a drawn tensor are drawn under their own names."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            both = torch.randn(6, 4)
            self.first, self.second = nn.Parameter(both[:3].clone()), nn.Parameter(both[3:].clone())

    model = filled(Halves)
    for name in ("first", "second"):
        expected = fanin.RandomNormal(0, 1, seed=SEED).spawn(name)((3, 4))
        assert bits(getattr(model, name)) == expected.tobytes()


def test_overlapping_parts_of_a_drawn_tensor_agree() -> None:
    """Two parameters that take overlapping parts of a drawn tensor have the same values where they overlap."""

    class Overlapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            both = torch.randn(6, 4)
            self.first, self.second = nn.Parameter(both[:4].clone()), nn.Parameter(both[2:].clone())

    model = filled(Overlapping)
    assert bits(model.first[2:]) == bits(model.second[:2])
    assert len(torch.unique(torch.cat([model.first[:2], model.second]))) == 24


def dt_bias(weight: torch.Tensor) -> None:
    """The bias of Mamba's time steps: the inverse softplus of steps that are uniform on a logarithmic scale."""
    step = torch.exp(torch.rand(weight.shape) * (np.log(0.1) - np.log(0.001)) + np.log(0.001)).clamp(min=1e-4)
    weight.copy_(step + torch.log(-torch.expm1(-step)))


def test_a_formula_has_the_values_of_its_draw() -> None:
    """A formula is computed from the values that its draw has under the parameter's name."""
    weight = values(dt_bias, 500)
    ends = float(np.log(0.001)), float(np.log(0.1))
    drawn = fanin.RandomUniform(0, 1, seed=SEED).spawn("weight")((500,)).astype(np.float64)
    step = np.exp(drawn * (ends[1] - ends[0]) + ends[0]).clip(1e-4)
    np.testing.assert_allclose(weight, step + np.log(-np.expm1(-step)), rtol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 499), st.integers(1, 500))
def test_regions_of_a_formula_equal_slices(start: int, length: int) -> None:
    """A region of a formula has the bytes that it has in the whole."""
    with fanin.torch.recording() as recorded:
        module = Written(dt_bias, 500)
    entry = recorded.plan(module, seed=SEED).entries[0]
    assert entry.make(np.s_[start : start + length]).tobytes() == entry.make()[start : start + length].tobytes()


def test_a_formula_keeps_to_bounds() -> None:
    """A clamped normal has its bounds, and the share of values at them that a normal has."""
    weight = values(lambda w: w.normal_().clamp_(-1, 1), 200, 200)
    assert weight.abs().max() == 1
    assert abs(float((weight.abs() == 1).double().mean()) - 0.3173) < 0.01


def test_moments_of_a_formula() -> None:
    """A plan says the mean and standard deviation of a formula: log(u) for u in [0, 1) has -1 and 1."""
    with fanin.torch.recording() as recorded:
        module = Written(lambda w: w.uniform_().log_(), 10, 10)
    entry = recorded.plan(module).entries[0]
    assert entry.mean == pytest.approx(-1, abs=0.01)
    assert entry.stddev == pytest.approx(1, abs=0.01)


def test_weight_norm_fits_its_direction() -> None:
    """The gain of a weight norm is the norm of the very values that its direction gets."""
    layer = filled(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(30, 4)))
    gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert bits(gain) == bits(torch.norm_except_dim(direction.detach(), 2, 0))


def test_programs_are_computed_from_rounded_values() -> None:
    """The gain of a bfloat16 layer is the norm of its bfloat16 values."""

    def make() -> nn.Module:
        return nn.utils.parametrizations.weight_norm(nn.Linear(30, 4, dtype=torch.bfloat16))

    layer = filled(make)
    gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert bits(gain) == bits(torch.norm_except_dim(direction.detach(), 2, 0))


def test_tables_are_the_code_s() -> None:
    """A table has the values that the code computes."""
    table = torch.linspace(0, 1, 12).view(4, 3).sin()
    assert bits(values(lambda w: w.copy_(torch.linspace(0, 1, 12).view(4, 3).sin()), 4, 3)) == bits(table)


def test_drawn_buffers_are_filled() -> None:
    """Buffers that are drawn, as random features are, get values by their paths as parameters do."""

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("features", torch.randn(8, 3) * 2)
            self.register_buffer("positions", torch.arange(5))

    model = filled(Features)
    assert bits(model.features) == (fanin.RandomNormal(0, 2, seed=SEED).spawn("features")((8, 3))).tobytes()
    assert model.positions.tolist() == [0, 1, 2, 3, 4]


def test_statistics_are_as_recorded() -> None:
    """Running statistics get what the code wrote."""

    def make() -> nn.Module:
        norm: Any = nn.BatchNorm1d(3)
        norm.running_var.fill_(4)
        return norm

    model = filled(make)
    assert model.running_var.tolist() == [4, 4, 4]
    assert model.num_batches_tracked.item() == 0


def test_what_nothing_initializes_is_refused() -> None:
    """A parameter that no code writes to is refused with its path, before anything is written."""
    with fanin.torch.recording() as recorded:
        model = nn.Sequential(nn.Linear(2, 2), Written(lambda w: None, 3))
    with pytest.raises(fanin.recipes.PlanError, match=r"1\.weight: No code of the model initializes it"):
        fanin.torch.initialize(model, recorded, seed=SEED)
    assert model[0].weight.is_meta


def test_a_parameter_made_afterwards_is_refused() -> None:
    """A layer that was added after the recording is refused with its path."""
    with fanin.torch.recording() as recorded:
        model = nn.Sequential(nn.Linear(2, 2))
    model.append(nn.Linear(2, 2))
    with pytest.raises(fanin.recipes.PlanError, match=r"1\.weight: The recording does not know it"):
        fanin.torch.initialize(model, recorded, seed=SEED)


def test_a_changed_shape_is_refused() -> None:
    """A parameter whose shape has changed since is refused with both shapes."""
    with fanin.torch.recording() as recorded:
        model = nn.Linear(2, 3)
    model.weight = nn.Parameter(torch.empty(5, 2, device="meta"))
    with pytest.raises(fanin.recipes.PlanError, match=r"shape \(5, 2\), but was recorded with the shape \(3, 2\)"):
        fanin.torch.initialize(model, recorded, seed=SEED)


def test_the_report_names_own_code() -> None:
    """The report says which parameters the model's own code computes, and which are copies."""

    def make() -> nn.Module:
        student = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False))
        return nn.ModuleDict({"a": student, "b": copy.deepcopy(student)})

    with fanin.torch.recording() as recorded:
        model = make()
    report = fanin.torch.initialize(model, recorded, seed=SEED)
    assert list(report.computed) == ["a.parametrizations.weight.original0", "b.parametrizations.weight.original0"]
    assert report.copied == {"b.parametrizations.weight.original1": "the values of a.parametrizations.weight.original1"}
    assert "computed by the model's own code" in str(report)


def test_the_second_module_alone() -> None:
    """Names are those of the model that is initialized, also for a part of the recorded one."""
    with fanin.torch.recording() as recorded:
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    fanin.torch.initialize(model[1], recorded, seed=SEED)
    expected = spawned(lambda seed: fanin.RandomUniform(-0.5, 0.5, seed), "weight", (4, 4)).T  # pyright: ignore
    assert bits(model[1].weight) == np.ascontiguousarray(expected).tobytes()
    assert model[0].weight.is_meta


def test_a_part_whose_whole_is_gone() -> None:
    """The recording of a model of which only a part is kept is that of the part."""
    with fanin.torch.recording() as recorded:
        part = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))[1]
    assert list(recorded) == ["weight", "bias"]
    assert recorded.model is part


def test_within_the_context() -> None:
    """In the context, the recording is empty, and nothing can be initialized."""
    with fanin.torch.recording() as recorded:
        model = nn.Linear(2, 2)
        assert (list(recorded), len(recorded), bool(recorded)) == ([], 0, False)
        assert "its context has not ended" in str(recorded)
        with pytest.raises(KeyError, match="its context has not ended"):
            recorded["weight"]
        with pytest.raises(fanin.recipes.PlanError, match="after the context has ended"):
            fanin.torch.initialize(model, recorded, seed=SEED)
    assert len(recorded) == 2


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_a_recipe_of_computed_weights(norm: Any) -> None:
    """A recipe of a layer whose weight is computed has the plan of the recording, by the paths of what is stored."""
    with fanin.torch.recording() as recorded:
        model = norm(nn.Linear(5, 4))
    plan, recipe = recorded.plan(seed=SEED), recorded.recipe(seed=SEED)
    assert [each.path for each in recipe.plan(model).entries] == [each.path for each in plan.entries]
    fanin.torch.initialize(model, recorded, seed=SEED, prefix="")
    expected = raw(model)
    fanin.torch.initialize(model, recipe, prefix="")
    assert raw(model) == expected


def test_a_recipe_of_layers_that_are_not_what_they_say() -> None:
    """A recipe of a layer whose weight has another shape than its attributes say asks the layer's own code."""

    class Norm(nn.LayerNorm):
        def __init__(self) -> None:
            super().__init__(8)
            self.weight = nn.Parameter(torch.ones(4, 8))

    with fanin.torch.recording() as recorded:
        model = nn.Sequential(Norm(), nn.Linear(8, 8))
    plan = recorded.recipe(seed=SEED).plan(model)
    assert not plan.problems
    assert [each.make().tobytes() for each in plan.entries] == [
        each.make().tobytes() for each in recorded.plan(seed=SEED).entries
    ]


def test_another_model_is_refused() -> None:
    """A model that the recording knows nothing of is refused in one sentence."""
    with fanin.torch.recording() as recorded:
        kept = nn.Linear(2, 2)
    with pytest.raises(fanin.recipes.PlanError, match="must be the model that was recorded") as caught:
        fanin.torch.initialize(nn.Sequential(nn.Linear(2, 2)), recorded, seed=SEED)
    assert "the recording, of Linear, knows no parameter" in str(caught.value)
    assert kept.weight.is_meta


def test_several_models() -> None:
    """A recording of two models lists both, and tells them apart by the model."""
    with fanin.torch.recording() as recorded:
        first, second = nn.Linear(2, 2), nn.LayerNorm(3)
    assert [line for line in str(recorded).splitlines() if line.endswith(":")] == ["Linear:", "LayerNorm:"]
    assert list(recorded.of(second)) == ["weight", "bias"]
    with pytest.raises(ValueError, match="must have one model"):
        list(recorded)
    fanin.torch.initialize(first, recorded, seed=SEED)
    assert second.weight.is_meta


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Linear, None), "Received: the class Linear. Pass an instance"),
        ((nn.Linear(2, 2), fanin.torch.recording()), "Received: the context itself"),
    ],
)
def test_mistakes(arguments: Any, message: str) -> None:
    """A class in place of a model, and a context in place of a recording, are refused with what to do."""
    with pytest.raises(TypeError, match=message):
        fanin.torch.initialize(*arguments, seed=SEED)


def test_deep_formulas_have_short_words() -> None:
    """The words of an expression that uses what it computed again and again are not many."""

    def write(weight: torch.Tensor) -> None:
        value = torch.rand(weight.shape)
        for _ in range(200):
            value = (value * value + value).sin()
        weight.copy_(value)

    with fanin.torch.recording() as recorded:
        module = Written(write, 4)
    assert len(str(recorded["weight"])) < 10_000
    assert "…" in str(recorded["weight"])
    fanin.torch.initialize(module, recorded, seed=SEED)


def test_buffers_after_to_empty() -> None:
    """Buffers whose memory was made without values get their recorded values, persistent or not."""

    class Buffers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.register_buffer("table", torch.arange(3.0), persistent=False)
            self.register_buffer("noise", torch.randn(3))

    expected = filled(Buffers)
    with fanin.torch.recording() as recorded:
        model: Any = Buffers()
    model.to_empty(device="cpu")
    model.table.fill_(7)
    fanin.torch.initialize(model, recorded, seed=SEED, prefix="")
    assert raw(model) == raw(expected)
    assert model.table.tolist() == [0, 1, 2]


def test_the_recording_of_another_model_is_refused() -> None:
    """A model is not initialized by a recording that it was not made in."""
    with fanin.torch.recording():
        model = nn.Linear(2, 2)
    with fanin.torch.recording() as other:
        kept = nn.Linear(2, 2)
    with pytest.raises(fanin.recipes.PlanError, match="must be the model that was recorded"):
        fanin.torch.initialize(model, other, seed=SEED)
    assert kept.weight.is_meta


def test_a_model_that_exists_keeps_its_values() -> None:
    """A model that existed before keeps its values until it is initialized, and then what the code does not write."""
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    before = raw(model)
    with fanin.torch.recording(model) as recorded:
        nn.init.normal_(model[1].weight, std=0.5)
    assert raw(model) == before
    fanin.torch.initialize(model, recorded, seed=SEED)
    after = raw(model)
    assert [path for path, each in after.items() if each != before[path]] == ["1.weight"]
    expected = fanin.RandomNormal(0, 0.5, seed=SEED).spawn("1.weight")((3, 3)).T
    assert after["1.weight"] == np.ascontiguousarray(expected).tobytes()


def test_formulas_that_use_a_step_again_and_again() -> None:
    """The moments of a formula take a time that grows with its steps, not with the ways through them."""

    def write(weight: torch.Tensor) -> None:
        value = torch.rand(weight.shape)
        for _ in range(30):
            value = (value * value + value).sin()
        weight.copy_(value)

    with fanin.torch.recording() as recorded:
        module = Written(write, 10_000)
    (entry,) = recorded.plan(module).entries
    assert recorded["weight"].kind == "formula"
    assert entry.stddev == pytest.approx(np.std(entry.make()), rel=0.05)
