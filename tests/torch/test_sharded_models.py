"""Models that FSDP2 and others have sharded: what wraps them, holds them, or has run before makes no difference."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.recipes import PlanError
from fanin.torch import Shard, fill_, initialize
from torch_kit import ALL, SEED, bits, on_meta, two_layers

pytestmark = pytest.mark.filterwarnings("ignore")  # those of torch.distributed
RECIPE = fanin.Recipe([{"role": "scale", "initializer": "ones"}, {"path": "*", "initializer": "normal"}], seed=SEED)


def sharded(module: Any, mesh: Any, **options: Any) -> Any:
    """As FSDP2 shards it."""
    from torch.distributed.fsdp import fully_shard

    return fully_shard(module, mesh=mesh, **options)


def whole(tensor: Any) -> bytes:
    """The bytes of a tensor, gathered if it is sharded."""
    return bits(tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor)


def assert_equal(model: Any, expected: Any, recipe: Any = RECIPE) -> None:
    """Both get the same values under the same paths."""
    initialize(model, recipe, prefix="")
    initialize(expected, recipe, prefix="")
    wanted = {**dict(expected.named_parameters()), **dict(expected.named_buffers())}
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert found.keys() == wanted.keys()
    for path, tensor in wanted.items():
        assert whole(found[path]) == bits(tensor), path


def test_what_holds_a_parameter_is_said(mesh: Any) -> None:
    """A parameter that PyTorch cannot give memory is refused before anything is written."""
    model = sharded(on_meta(two_layers), mesh)
    reference = weakref.ref(model[0].weight)
    with pytest.raises(PlanError, match="weak reference"):
        initialize(model, ALL)
    assert all(each.is_meta for each in model.parameters())
    assert reference() is model[0].weight


def test_views_that_hold_a_parameter_are_said(mesh: Any) -> None:
    """What only swapping finds out comes out of the call, with the parameter's path."""
    model = sharded(on_meta(two_layers), mesh)
    view = model[0].weight.view_as(model[0].weight)
    with pytest.raises(RuntimeError, match="must not be referred to") as caught:
        initialize(model, ALL)
    assert "0.weight" in "".join(caught.value.__notes__)
    del view


class OwnNorm(nn.Module):
    """A norm of another package, which draws random numbers when it is made."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The normalized input, scaled."""
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class OwnRMSNorm(OwnNorm):
    """The same, under a norm's name."""


def test_norms_that_are_sharded_themselves(mesh: Any) -> None:
    """A foreign norm that `fully_shard` is called with is still a norm, and its constructor is not run."""
    model, expected = (nn.Sequential(nn.Linear(8, 8), OwnRMSNorm(8)) for _ in range(2))
    sharded(model[1], mesh)
    state = torch.get_rng_state()
    assert_equal(model, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert whole(model[1].weight) == bits(torch.ones(8))


def test_wrappers_that_are_sharded_themselves(mesh: Any) -> None:
    """The paths within wrappers are those of the model inside."""
    peft = pytest.importorskip("peft")
    from torch.optim.swa_utils import AveragedModel

    for wrap in (
        lambda model: AveragedModel(model),
        lambda model: peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0"])),
    ):
        torch.manual_seed(0)
        model, expected = (wrap(two_layers()) for _ in range(2))
        sharded(model, mesh)
        assert_equal(model, expected)


def test_a_model_that_has_run_before(mesh: Any) -> None:
    """After a step, a move to the meta device and `initialize`, FSDP2 runs with the new values."""
    model = sharded(two_layers(), mesh)
    inputs = torch.ones(2, 3)
    model(inputs)
    model.to("meta")
    expected = two_layers()
    assert_equal(model, expected)
    assert torch.equal(model(inputs), expected(inputs))


@pytest.mark.parametrize("fill", [lambda each: fill_(each.weight, fanin.Zeros()), lambda each: initialize(each, ALL)])
def test_graphs_notice_the_write(fill: Any, mesh: Any) -> None:
    """A graph that has saved a DTensor raises in its backward pass, as PyTorch's own writes make it."""
    from torch.distributed.tensor import Replicate, distribute_tensor

    module = nn.Module()
    module.weight = nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, [Replicate()]))
    result = (module.weight * module.weight).sum()
    fill(module)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


class Table(nn.Module):
    """A layer, and a buffer of its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("numbers", torch.arange(4.0), persistent=False)


def test_buffers_after_distribute_module(mesh: Any) -> None:
    """`distribute_module`, which makes DTensors of buffers, does not hide the code that makes them."""
    from torch.distributed.tensor import distribute_module

    model = on_meta(Table)
    distribute_module(model, mesh)
    assert_equal(model, Table())


def test_buffers_of_replicas(mesh: Any) -> None:
    """Nor do replicas, whose class is derived from the model's."""
    from torch.distributed._composable.replicate import replicate

    model: Any = Table()
    replicate(model)
    model.numbers.zero_()
    initialize(model, ALL, remake_buffers=True)
    assert torch.equal(model.numbers, torch.arange(4.0))


def test_an_empty_shard_where_there_should_be_elements(mesh: Any) -> None:
    """A DTensor that lacks what its placements say is refused."""
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor import Shard as Split

    lacking = DTensor.from_local(
        torch.zeros(0, 4), mesh, [Split(0)], run_check=False, shape=torch.Size((4, 4)), stride=(4, 1)
    )
    module = nn.Module()
    module.weight = nn.Parameter(lacking)
    with pytest.raises(PlanError, match=r"should hold \(4, 4\), but holds \(0, 4\)"):
        initialize(module, ALL)


def test_shards_of_a_dtensor(mesh: Any) -> None:
    """A DTensor says itself what this process holds."""
    model = sharded(two_layers(), mesh)
    with pytest.raises(PlanError, match="It is a DTensor, which says itself"):
        initialize(model, ALL, shards={"0.weight": Shard((4, 3))})


@pytest.mark.parametrize("device", ["cpu", None])
def test_inference_mode(device: Any, mesh: Any) -> None:
    """Shards are filled in inference mode, too."""
    model, expected = sharded(on_meta(two_layers), mesh), two_layers()
    initialize(expected, ALL, prefix="")
    with torch.inference_mode():
        initialize(model, ALL, device=device, prefix="")
    for path, tensor in expected.named_parameters():
        assert whole(dict(model.named_parameters())[path]) == bits(tensor)


# Given shards.


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
        self.b.weight = self.a.weight


def test_shards_of_tied_parameters() -> None:
    """A shard may be named under any of a parameter's paths, and must be the same under all."""
    expected = nn.Module()
    expected.a = nn.Linear(4, 6, bias=False)
    initialize(expected, ALL, prefix="")
    part = Shard((6, 4), (slice(3, 6), None))
    model = Tied()
    initialize(model, ALL, shards={"b.weight": part}, prefix="")
    assert bits(model.a.weight) == bits(expected.a.weight[3:])
    with pytest.raises(PlanError, match="different parts of it"):
        initialize(Tied(), ALL, shards={"a.weight": Shard((6, 4), (slice(0, 3), None)), "b.weight": part})


LAYERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "LayerNorm": (lambda: nn.LayerNorm(8), lambda: nn.LayerNorm(4), {"*": Shard((8,), (slice(4, 8),))}),
    "RMSNorm": (lambda: nn.RMSNorm(8), lambda: nn.RMSNorm(4), {"*": Shard((8,), (slice(4, 8),))}),
    "GroupNorm": (lambda: nn.GroupNorm(2, 8), lambda: nn.GroupNorm(1, 4), {"*": Shard((8,), (slice(4, 8),))}),
    "BatchNorm": (
        lambda: nn.BatchNorm1d(8),
        lambda: nn.BatchNorm1d(4),
        {f"*{name}": Shard((8,), (slice(4, 8),)) for name in ("weight", "bias", "mean", "var")},
    ),
    "Conv1d": (
        lambda: nn.Conv1d(6, 8, 3),
        lambda: nn.Conv1d(6, 4, 3),
        {"weight": Shard((8, 6, 3), (slice(4, 8), None, None)), "bias": Shard((8,), (slice(4, 8),))},
    ),
    "depthwise": (
        lambda: nn.Conv1d(8, 8, 3, groups=8),
        lambda: nn.Conv1d(4, 4, 3, groups=4),
        {"weight": Shard((8, 1, 3), (slice(4, 8), None, None)), "bias": Shard((8,), (slice(4, 8),))},
    ),
    "transposed": (
        lambda: nn.ConvTranspose1d(6, 8, 3),
        lambda: nn.ConvTranspose1d(6, 4, 3),
        {"weight": Shard((6, 8, 3), (None, slice(4, 8), None)), "bias": Shard((8,), (slice(4, 8),))},
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_hold_a_part(name: str) -> None:
    """A layer of a part of the outputs is drawn with the sizes of the whole."""
    make_whole, make_part, shards = LAYERS[name]
    recipe = fanin.Recipe.preset("torch", seed=SEED)
    expected, model = make_whole(), make_part()
    initialize(expected, recipe, prefix="")
    initialize(model, recipe, shards=shards, prefix="")
    found = model.state_dict()
    for path, tensor in expected.state_dict().items():
        if not tensor.ndim:
            continue
        part = tensor.narrow(1 if name == "transposed" and tensor.ndim > 1 else 0, 4, 4)
        assert bits(found[path]) == bits(part), path


def test_layers_whose_sizes_are_unknown() -> None:
    """A part of a layer whose sizes do not follow from one weight is refused, without the advice that was followed."""
    with pytest.raises(PlanError, match="are not known here") as caught:
        initialize(nn.Bilinear(3, 4, 5), ALL, shards={"weight": Shard((10, 3, 4), (slice(0, 5), None, None))})
    assert "say what this process holds" not in str(caught.value)


class Sinusoids(nn.Module):
    """A frozen table that the constructor makes."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        table = torch.arange(float(rows * columns)).reshape(rows, columns).sin()
        self.weight = nn.Parameter(table, requires_grad=False)


def test_a_part_of_a_frozen_table() -> None:
    """A part of a table that the module's own code makes stays as it is, or is made again."""
    shards = {"weight": Shard((8, 4), (slice(4, 8), None))}
    table = Sinusoids(8, 4)
    expected = bits(table.weight[4:])
    for device in ("cpu", "meta"):
        table = Sinusoids(8, 4)
        table.weight = nn.Parameter(table.weight[4:].clone().to(device), requires_grad=False)
        initialize(table, ALL, shards=shards)
        assert bits(table.weight) == expected, device


def test_padding_of_flat_pieces_without_values() -> None:
    """The padding of a piece that comes from the meta device is zero."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.empty(8, device="meta"))
    initialize(module, ALL, shards={"weight": Shard((2, 3), flat=(0, 6))})
    assert bits(module.weight[6:]) == bytes(8)


FIELDS: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "floats": ({"region": (slice(0.7, 2.9), None)}, TypeError),
    "texts": ({"region": (slice("0", "2"), None)}, TypeError),
    "a number": ({"region": (1, None)}, TypeError),
    "dots": ({"region": (..., None)}, TypeError),
    "one slice": ({"region": slice(0, 2)}, ValueError),
    "one flat number": ({"flat": 5}, TypeError),
    "three flat numbers": ({"flat": (0, 1, 2)}, TypeError),
    "floats in flat": ({"flat": (0.5, 3.2)}, TypeError),
    "no stop": ({"flat": (0, None)}, TypeError),
    "not a tensor": ({"tensor": "weight"}, TypeError),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_shards(name: str) -> None:
    """What is no part of a tensor is refused at once."""
    fields, error = FIELDS[name]
    with pytest.raises(error, match="Received: "):
        Shard((4, 3), **fields)


def test_fields_are_plain_data() -> None:
    """Iterators and lists become tuples; shards can be compared and hashed."""
    region: Any = ((each for each in (slice(0, 1), slice(2, 3))), [slice(0, 3)])
    shard = Shard((4, 3), region)
    assert shard.region == ((slice(0, 1), slice(2, 3)), (slice(0, 3),))
    assert shard.local_shape == (2, 3)
    assert shard == Shard((4, 3), ([slice(0, 1), slice(2, 3)], None))
    assert len({shard, Shard((4, 3), flat=[0, 4])}) == 2  # pyright: ignore[reportArgumentType]
