"""Values that several tensors, or several parts of one, have in common: equal where the code makes them equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
import fanin.torch
from torch_kit import bits


class Of(nn.Module):
    """A module of the parameters that a function returns."""

    def __init__(self, make: Callable[[], dict[str, torch.Tensor]]) -> None:
        super().__init__()
        with torch.no_grad():
            for name, value in make().items():
                self.register_parameter(name, nn.Parameter(value, requires_grad=value.is_floating_point()))


def filled(make: Callable[[], Any]) -> Any:
    """A module that was recorded and initialized."""
    with fanin.torch.recording() as recorded:
        module = make()
    fanin.torch.initialize(module, recorded, seed=5)
    return module


def values(make: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The values of parameters that code makes."""
    return {name: each.detach() for name, each in filled(lambda: Of(make)).named_parameters()}


def test_blocks_of_one_parameter() -> None:
    """A block that is a copy of another block of its parameter is equal to it."""

    def make() -> nn.Module:
        attention = nn.MultiheadAttention(4, 2)
        query, key, _ = attention.in_proj_weight.data.chunk(3)
        key.copy_(query)
        return attention

    query, key, value = filled(make).in_proj_weight.detach().chunk(3)
    assert bits(query) == bits(key)
    assert bits(query) != bits(value)


def test_scaled_rows_of_one_parameter() -> None:
    """Rows that are other rows, scaled, are these to the last bit."""

    def make() -> dict[str, torch.Tensor]:
        rows = torch.randn(6, 2)
        rows[2:4].copy_(rows[:2]).mul_(-2)
        return {"rows": rows}

    rows = values(make)["rows"]
    assert bits(rows[2:4]) == bits(rows[:2] * -2)
    assert len(torch.unique(rows[[0, 1, 4, 5]])) == 8


def test_transposed_blocks_of_one_parameter() -> None:
    """A block that is the transpose of another is that."""

    def make() -> dict[str, torch.Tensor]:
        rows = torch.randn(6, 2)
        rows[2:4].copy_(rows[:2].t())
        return {"rows": rows}

    rows = values(make)["rows"]
    assert bits(rows[2:4]) == bits(rows[:2].t())


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_transpose(first: str) -> None:
    """A parameter is the transpose of another one, whichever comes first."""

    def make() -> dict[str, torch.Tensor]:
        drawn = torch.randn(4, 3)
        both = {"a": drawn.t().contiguous(), "b": drawn}
        return {first: both.pop(first), **both}

    found = values(make)
    assert bits(found["a"]) == bits(found["b"].t())


@pytest.mark.parametrize("order", ["el", "le"])
def test_copies_with_holes(order: str) -> None:
    """Copies of which different rows were overwritten are equal in all other rows."""

    def make() -> nn.Module:
        layers = {"e": nn.Embedding(5, 3), "l": nn.Linear(3, 5, bias=False)}
        layers["e"].weight.data[2].zero_()
        layers["l"].weight.data.copy_(layers["e"].weight.data)
        layers["l"].weight.data[3].fill_(2)
        return nn.ModuleDict({name: layers[name] for name in order})

    model = filled(make)
    embedding, linear = model["e"].weight.detach(), model["l"].weight.detach()
    assert not embedding[2].any()
    assert not linear[2].any()
    assert (linear[3] == 2).all()
    for row in (0, 1, 4):
        assert bits(embedding[row]) == bits(linear[row])


def test_a_view_that_overlaps_itself() -> None:
    """Elements that a view has twice are equal."""
    found = values(lambda: {"v": torch.randn(12).as_strided((3, 4), (2, 1)).clone()})["v"]
    assert bits(found[:2, 2:]) == bits(found[1:, :2])
    assert len(torch.unique(found)) == 8


def test_values_of_before() -> None:
    """A copy of a parameter that is drawn again afterwards has other values than it."""

    def make() -> nn.Module:
        first = nn.Linear(4, 4)
        second = copy.deepcopy(first)
        nn.init.normal_(first.weight)
        return nn.ModuleList([first, second])

    model = filled(make)
    assert model[1].weight.abs().max() <= 0.5
    assert bits(model[0].weight) != bits(model[1].weight)
    assert bits(model[0].bias) == bits(model[1].bias)


def test_a_copy_of_rounded_values() -> None:
    """A float32 copy of a half-precision layer has the rounded values."""

    def make() -> nn.Module:
        half = nn.Linear(3, 3).half()
        return nn.ModuleList([half, copy.deepcopy(half).float()])

    model = filled(make)
    assert bits(model[0].weight.float()) == bits(model[1].weight)


def test_sparse_columns() -> None:
    """torch.nn.init.sparse_ zeroes the same number of outputs for each input."""
    found = values(lambda: {"w": nn.init.sparse_(torch.empty(20, 10), 0.3)})["w"]
    assert (found == 0).sum(0).tolist() == [6] * 10
    assert len(set((found == 0).sum(1).tolist())) > 1


def test_sparse_layers() -> None:
    """The same holds for the weight of a layer, whose order of axes is known."""

    def make() -> nn.Module:
        layer = nn.Linear(10, 20)
        nn.init.sparse_(layer.weight, 0.3)
        return layer

    assert (filled(make).weight == 0).sum(0).tolist() == [6] * 10


def test_truth_values() -> None:
    """Parameters of truth values have those of the code."""
    found = values(lambda: {"mask": torch.tensor([True, False, True]), "all": torch.ones(3, dtype=torch.bool)})
    assert found["mask"].tolist() == [True, False, True]
    assert found["all"].tolist() == [True, True, True]


def test_negative_zeros() -> None:
    """A table keeps the sign of its zeros."""
    table = torch.tensor([0.0, -0.0, 0.0])
    assert bits(values(lambda: {"table": table.clone()})["table"]) == bits(table)


@pytest.mark.parametrize("way", ["data", "assign"])
def test_memory_in_common(way: str) -> None:
    """Parameters that are different objects with the same memory are tied."""

    def make() -> nn.Module:
        model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        if way == "data":
            model[1].weight.data = model[0].weight.data
        else:
            model[1].load_state_dict(model[0].state_dict(), assign=True)
        return model

    model = filled(make)
    with torch.no_grad():
        model[0].weight.fill_(7)
    assert (model[1].weight == 7).all()


def test_memory_that_overlaps_is_refused() -> None:
    """Parameters that share a part of their memory are refused, with both paths."""

    def make() -> dict[str, torch.Tensor]:
        flat = torch.randn(12)
        return {"a": flat[:8], "b": flat[4:]}

    with pytest.raises(ValueError, match=r"share all of it\. Received: a and b"):
        values(make)


def test_memory_side_by_side_is_not_shared() -> None:
    """Parameters that are columns of one piece of memory, without an element in common, are not tied."""

    def make() -> dict[str, torch.Tensor]:
        both = torch.zeros(4, 6)
        return {"a": both[:, :3], "b": both[:, 3:]}

    assert set(values(make)) == {"a", "b"}


def test_rows_that_copy_other_rows() -> None:
    """The second half of a tensor that is a copy of the first half is that."""

    def make() -> dict[str, torch.Tensor]:
        rows = torch.empty(6, 4)
        rows[:3].normal_()
        rows[3:].copy_(rows[:3])
        return {"rows": rows}

    rows = values(make)["rows"]
    assert bits(rows[:3]) == bits(rows[3:])


def test_copies_of_regions() -> None:
    """A deep copy of a layer of which some rows are zero is equal to it."""

    def make() -> nn.Module:
        layer = nn.Linear(8, 8)
        layer.weight.data[:4].zero_()
        return nn.ModuleList([layer, copy.deepcopy(layer)])

    model = filled(make)
    assert not model[0].weight[:4].any()
    assert bits(model[0].weight) == bits(model[1].weight)


def test_rows_that_are_means_of_others() -> None:
    """Rows that are the mean of the other rows, as of new tokens, fit these."""

    def make() -> nn.Module:
        embedding = nn.Embedding(6, 3)
        embedding.weight.data[4:] = embedding.weight.data[:4].mean(0, keepdim=True)
        return embedding

    weight = filled(make).weight.detach()
    torch.testing.assert_close(weight[4:], weight[:4].mean(0).expand(2, 3))
    assert bits(weight[4]) == bits(weight[5])


def test_scaled_copies_of_matrices() -> None:
    """A scaled copy of a sparse matrix is the scaled matrix."""

    def make() -> nn.Module:
        first = nn.Linear(4, 8, bias=False)
        nn.init.sparse_(first.weight, 0.3)
        second = copy.deepcopy(first)
        second.weight.data.mul_(2)
        return nn.ModuleList([first, second])

    model = filled(make)
    assert bits(model[1].weight) == bits(model[0].weight.detach() * 2)


def test_ties_of_real_memory() -> None:
    """Tied parameters that were made outside of the recording are tied on meta, and have their values."""
    table = nn.Parameter(torch.arange(12.0).view(4, 3))

    def make() -> nn.Module:
        model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
        model[0].weight = model[1].weight = table
        return model

    model = filled(make)
    assert model[0].weight is model[1].weight
    assert bits(model[0].weight) == bits(table)


def test_ties_made_afterwards() -> None:
    """A tie that is made after the recording has the values of the tensor that is tied."""
    with fanin.torch.recording() as recorded:
        model = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Embedding(5, 3))
    model[0].weight = model[1].weight
    assert str(recorded.of(model)["0.weight"]) == "normal(mean=0, stddev=1)"
    fanin.torch.initialize(model, recorded, seed=5)
    assert bits(model[0].weight) == fanin.RandomNormal(0, 1, seed=5).spawn("0.weight")((5, 3)).tobytes()


def test_formulas_that_write_to_constants() -> None:
    """An operator that changes a constant by drawn values makes a formula."""
    found = values(lambda: {"w": torch.full((4,), 2.0).lerp_(torch.rand(4), 0.5)})["w"]
    drawn = torch.tensor(fanin.RandomUniform(0, 1, seed=5).spawn("w")((4,)))
    torch.testing.assert_close(found, 2 + 0.5 * (drawn - 2))


def test_children_put_in_by_hand() -> None:
    """A module that is put into another one's table of modules is a part of it."""
    with fanin.torch.recording() as recorded:
        model = nn.Sequential(nn.Linear(2, 3))
        model._modules["0"] = nn.Linear(2, 3)
    assert recorded.model is model
    assert list(recorded) == ["0.weight", "0.bias"]


def test_sparse_buffers_stay() -> None:
    """A sparse buffer keeps its values."""

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))
            self.register_buffer("edges", torch.eye(3).to_sparse())

    model = filled(Graph)
    assert torch.equal(model.edges.to_dense(), torch.eye(3))


def test_copies_of_what_is_outside_of_a_part() -> None:
    """A part whose layers are copies of layers before it has, with its prefix, the values that it has in the whole."""

    def make() -> Any:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 3)

    whole = filled(make)
    with fanin.torch.recording() as recorded:
        model = make()
    fanin.torch.initialize(model.layers[1], recorded, seed=5, prefix="layers.1")
    for path, each in model.layers[1].named_parameters():
        assert bits(each) == bits(whole.get_parameter(f"layers.1.{path}")), path


def test_copies_of_what_is_kept_are_warned_of() -> None:
    """A copy of a parameter that stays as it is may not fit it, which a warning and the report say."""

    def make() -> Any:
        first = nn.Linear(3, 3)
        return nn.ModuleList([first, copy.deepcopy(first)])

    with fanin.torch.recording() as recorded:
        model = make()
    model[0].to_empty(device="cpu")
    with pytest.warns(UserWarning, match=r"1\.weight gets values that follow from those that 0\.weight would be given"):
        report = fanin.torch.initialize(model, recorded, seed=5, skip="0.*")
    assert report.copied["1.weight"] == "those that 0.weight has where its own code initializes it"


def test_tensors_as_plain_attributes() -> None:
    """Tensors that are attributes, or in lists, tuples and dicts, have their values; parameters are the parameters."""

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.table = torch.arange(3.0)
            self.anchors = [torch.ones(2), torch.zeros(2)]
            self.pair = (torch.full((1,), 2.0), 3)
            self.named = {"noise": torch.randn(4)}
            self.weights = [self.layer.weight]

    model = filled(Keeping)
    assert model.table.tolist() == [0, 1, 2]
    assert [each.tolist() for each in model.anchors] == [[1, 1], [0, 0]]
    assert model.pair[0].tolist() == [2]
    assert bits(model.named["noise"]) == fanin.RandomNormal(0, 1, seed=5).spawn("named['noise']")((4,)).tobytes()
    assert model.weights[0] is model.layer.weight
