"""What code may do while it is recorded, what it is told, and what is read."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fanin.torch.recording.expressions import (  # noqa: E402
    Constant,
    Draw,
    Seen,
    Unit,
    Unwritten,
    Values,
)
from fanin.torch.recording.places import RecordingError  # noqa: E402
from fanin.torch.recording.recorder import watching  # noqa: E402
from recorder_kit import Tensor, of, read  # noqa: E402


def values(make: Callable[[], Tensor]) -> Tensor:
    """The values of what is not drawn."""
    found = read(make)
    assert not found.is_drawn
    return Values().of(found)


def _table() -> Tensor:
    table = torch.empty(10, 4)
    position = torch.arange(10).unsqueeze(1)
    rate = torch.exp(torch.arange(0, 4, 2) * -0.5)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


def _rows() -> Tensor:
    table = torch.empty(50, 3)
    for row in range(50):
        table[row] = row
    return table


def _negative_zero() -> Tensor:
    return torch.tensor([0.0, -0.0])


def _large() -> Tensor:
    return torch.tril(torch.ones(300, 300)).mul(0.1).sin()


def _long_loop() -> Tensor:
    table = torch.zeros(600, 100)
    for row in range(600):
        table[row] = row * 0.1
    return table


def _by_numpy() -> Tensor:
    return torch.from_numpy(np.linspace(0, 1, 7)).float().outer(torch.ones(3))


def _control_flow() -> Tensor:
    count = int(torch.tensor([3, 1]).max())
    tensor = torch.zeros(count)
    if tensor.sum() == 0 and 0.0 in tensor and torch.equal(tensor, torch.zeros(3)):
        tensor += float(torch.ones(()).item()) + len(torch.ones(2).tolist())
    return tensor


def _boolean_index() -> Tensor:
    table = torch.arange(12.0).view(3, 4)
    table[table > 5] = -1
    return table[table != 0]


def _overlapping() -> Tensor:
    tensor = torch.arange(6.0)
    tensor[1:] += tensor[:-1].clone()
    return tensor.unfold(0, 2, 1)


def _bits() -> Tensor:
    tensor = torch.ones(4)
    tensor.view(torch.int32)[1] = 7
    return tensor


def _complex() -> Tensor:
    angle = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.1]))
    return torch.view_as_real(torch.polar(torch.ones_like(angle), angle).conj().resolve_conj())


def _out() -> Tensor:
    out = torch.empty(0)
    torch.mul(torch.arange(3.0), 2, out=out)
    return out


def _set() -> Tensor:
    return torch.empty(0).set_(torch.arange(6.0).untyped_storage(), 1, (2, 2), (2, 1))


def _data() -> Tensor:
    tensor = torch.zeros(3)
    tensor.data = torch.arange(3.0)
    tensor.data += 1
    return tensor


def _legacy() -> Tensor:
    tensor = torch.Tensor(2, 2).fill_(3)
    return torch.cat([tensor, torch.FloatTensor([[1, 2]])])


def _sparse() -> Tensor:
    return torch.eye(3).to_sparse().to_dense()


def _printed() -> Tensor:
    tensor = torch.arange(3.0)
    return torch.tensor([len(str(tensor)), len(f"{tensor.sum():.3f}")])


def _lists() -> Tensor:
    tensors = [torch.ones(2), torch.arange(2.0)]
    torch._foreach_mul_(tensors, 3)
    torch._foreach_add_(tensors, tensors)
    return torch.stack(tensors)


def _statistics() -> Tensor:
    norm = nn.BatchNorm1d(3)
    norm(torch.arange(12.0).view(4, 3))
    return norm.running_mean


DETERMINISTIC = [
    _table, _rows, _negative_zero, _large, _long_loop, _by_numpy, _control_flow, _boolean_index, _overlapping, _bits,
    _complex, _out, _set, _data, _legacy, _sparse, _printed, _lists, _statistics,
]  # fmt: skip


@pytest.mark.parametrize("make", DETERMINISTIC, ids=lambda make: make.__name__)
def test_deterministic(make: Callable[[], Tensor]) -> None:
    """The same bytes as for real."""
    found, expected = values(make), make().detach()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.contiguous().view(-1).view(torch.uint8).equal(expected.contiguous().view(-1).view(torch.uint8))


def test_tensors_say_that_they_are_on_the_cpu() -> None:
    """Everywhere, and whatever device the code asks for of those that are there."""
    with watching():
        layer = nn.Linear(2, 2)
        answers = (layer.weight.device.type, layer.weight.is_meta, layer.weight.is_cpu, layer.weight.is_cuda)
        same = layer.weight.to("cpu") is layer.weight and layer.weight.cpu() is layer.weight
        kept = layer.to("cpu").weight is layer.weight
    assert answers == ("cpu", False, True, False)
    assert same
    assert kept
    assert layer.weight.is_meta


def test_addresses_tell_storages_apart() -> None:
    """Ties are found by `data_ptr`, as libraries do it."""
    with watching():
        first, second = torch.ones(4), torch.ones(4)
        assert first.data_ptr() != second.data_ptr()
        assert first[1:].data_ptr() == first.data_ptr() + 4
        assert first.view(2, 2).data_ptr() == first.data_ptr()


QUESTIONS = {
    "item": lambda t: t[0].item(),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.numpy(),
    "bool": lambda t: bool(t[0] > 0),
    "float": lambda t: float(t[0]),
    "int": lambda t: int(t[0]),
    "contains": lambda t: 0.5 in t,
    "equal": lambda t: torch.equal(t, torch.zeros(3)),
    "allclose": lambda t: torch.allclose(t, torch.zeros(3)),
    "index": lambda t: t[t > 0],
    "nonzero": lambda t: t.nonzero(),
    "unique": lambda t: t.unique(),
    "array": lambda t: np.asarray(t),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_about_drawn_values(name: str) -> None:
    """They are refused, with the rule, the line of the code, and what to do."""
    with watching(), pytest.raises(RecordingError) as caught:
        QUESTIONS[name](torch.rand(3))
    message = str(caught.value)
    line = inspect.getsourcelines(QUESTIONS[name])[1]
    assert "must not depend on drawn values" in message
    assert f"{__file__}:{line}" in message
    assert message.endswith("or by its own code.")


def test_the_class_of_the_code_is_named() -> None:
    """The module whose constructor asks."""

    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))
            self.largest = self.weight.max().item()

    with watching(), pytest.raises(RecordingError, match="in Asks"):
        Asks()


def test_questions_about_unwritten_memory() -> None:
    """They are refused, too."""
    with watching(), pytest.raises(RecordingError, match="nothing was written to"):
        torch.empty(3).tolist()


def test_drawn_values_may_be_printed() -> None:
    """As what they are: nothing depends on it."""
    with watching():
        assert str(nn.Linear(2, 3).weight).endswith("tensor(<drawn>, size=(3, 2), dtype=torch.float32)")
        assert repr(torch.empty(2)) == "tensor(<not written>, size=(2,), dtype=torch.float32)"


def test_draws_are_finite() -> None:
    """A check for values that are not numbers is answered."""
    with watching():
        assert not torch.isnan(torch.randn(3)).any()
        assert torch.isfinite(torch.randn(3)).all()


def test_fused_weights_by_slices() -> None:
    """A later write to a slice lies over the earlier one."""

    def make() -> Tensor:
        weight = torch.empty(6, 4).normal_(0, 0.5)
        nn.init.zeros_(weight[2:4])
        weight[4:].mul_(0.1)
        return weight

    found = read(make)
    kinds = [type(write.expression) for write in found.writes]
    assert kinds == [Draw, Constant, Seen]
    part = found.writes[2].expression
    assert part.writes[0].expression.scale == pytest.approx(0.05)
    assert part.sources == found.writes[0].expression.sources


def test_padding_rows() -> None:
    """A row of zeros in a drawn matrix, which scales with it."""

    def make() -> Tensor:
        layer = nn.Embedding(10, 4, padding_idx=2)
        with torch.no_grad():
            layer.weight.mul_(0.5)
        return layer.weight

    found = read(make)
    drawn, zero = (write.expression for write in found.writes)
    assert (drawn.source.unit, drawn.scale, zero.value) == (Unit("normal"), 0.5, 0.0)
    assert found.writes[1].geometry == ((4,), (1,), 8)


def test_forget_gates_through_views() -> None:
    """A bias is set through `data`, `chunk` and a transposition."""

    def make() -> Tensor:
        layer: Any = nn.LSTM(3, 4)
        layer.bias_ih_l0.data.view(4, 4).t()[:, 1].fill_(1)
        return layer.bias_ih_l0

    found = read(make)
    assert [type(write.expression) for write in found.writes] == [Draw, Constant]
    assert found.writes[1].geometry == ((4,), (1,), 4)


def test_part_of_memory_that_nothing_wrote_to() -> None:
    """It is known to be so."""

    def make() -> Tensor:
        weight = torch.empty(4, 4)
        weight[:, 0::2].fill_(1)
        weight[:3, 1::2].normal_()
        return weight

    found = read(make)
    assert not found.is_written
    assert isinstance(read(lambda: torch.empty(3)), Unwritten)
    assert isinstance(read(lambda: make()[0]), Seen)
    assert read(lambda: make()[0]).is_written


def test_interleaved_writes_cover_everything() -> None:
    """Every other column drawn, the others zero."""

    def make() -> Tensor:
        weight = torch.empty(400, 400)
        weight[:, 0::2].normal_()
        weight[:, 1::2].zero_()
        return weight

    assert read(make).is_written


def test_reshaped_draws() -> None:
    """All elements in the same order are a draw of another shape; a transposition is not."""

    def make() -> Tensor:
        return torch.randn(3, 4).view(2, 6)

    found = read(make)
    assert (type(found), found.shape, found.source.shape) == (Draw, (2, 6), (3, 4))
    assert isinstance(read(lambda: torch.randn(3, 4).t()), Seen)
    assert isinstance(read(lambda: torch.randn(3, 4)[1]), Seen)


def test_copies() -> None:
    """Deep copies, `load_state_dict`, pickles and parameters of the same tensor have the same source."""
    with watching() as recorder:
        layer = nn.Linear(3, 3)
        other = nn.Linear(3, 3)
        other.load_state_dict(layer.state_dict())
        copies = [copy.deepcopy(layer), other, pickle.loads(pickle.dumps(layer)), copy.copy(layer)]
        tied = nn.Parameter(layer.weight.data)
        halved = copy.deepcopy(layer).half()
        with torch.no_grad():
            layer.bias.zero_()
    source = of(recorder, layer.weight).source
    assert all(of(recorder, each.weight).source is source for each in (*copies, halved))
    assert of(recorder, tied).source is source
    assert isinstance(of(recorder, copies[0].bias), Draw)
    assert of(recorder, copies[3].bias).value == 0
    assert of(recorder, halved.weight).dtype == torch.float16


def test_equal_copies_are_one_after_copying_a_state() -> None:
    """A tie by `data` writes to both."""
    with watching() as recorder:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight.data = first.weight.data
        nn.init.constant_(first.weight, 2.0)
    assert of(recorder, second.weight).value == 2.0


def test_a_loop_over_parameters() -> None:
    """Later writes win, as they do in the code."""
    with watching() as recorder:
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02 / 2)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    found = {name: of(recorder, parameter) for name, parameter in model.named_parameters()}
    assert found["0.weight"].scale == 0.01
    assert [found[name].value for name in ("0.bias", "1.weight", "1.bias")] == [0.0, 1.0, 0.0]


def test_tensors_of_values_outside() -> None:
    """They are tables; writing to them changes what is read and not their memory."""
    outside = nn.Parameter(torch.arange(4.0))
    unseen = torch.arange(3.0)
    with watching() as recorder:
        before = of(recorder, outside)
        nn.init.normal_(outside)
        inside = nn.Parameter(torch.from_numpy(np.ones(2)))
    assert before.values.tolist() == [0, 1, 2, 3]
    assert of(recorder, outside).source.unit == Unit("normal")
    assert outside.tolist() == [0, 1, 2, 3]
    assert inside.is_meta
    assert of(recorder, inside).value == 1
    assert of(recorder, unseen).values.tolist() == [0, 1, 2]


def test_values_outside_may_change_until_they_are_written_to() -> None:
    """NumPy's memory is looked at when it is used."""
    array = np.zeros(3)
    with watching() as recorder:
        tensor = torch.from_numpy(array)
        tensor.sum().item()
        array[:] = 5
        doubled = tensor * 2
    assert of(recorder, doubled).value == 10


def test_recordings_within_recordings() -> None:
    """They are refused, and the outer one goes on."""
    with watching() as recorder:
        with pytest.raises(RuntimeError, match="must not begin within another one"), watching():
            pass
        layer = nn.Linear(2, 2)
    assert isinstance(of(recorder, layer.weight), Draw)


def test_reading_within_the_context() -> None:
    """The recorder answers at any time what a tensor has then."""
    with watching() as recorder:
        tensor = torch.zeros(3)
        first = of(recorder, tensor)
        tensor.normal_()
        second = of(recorder, tensor)
    assert (first.value, second.source.unit) == (0.0, Unit("normal"))


def test_nothing_is_allocated() -> None:
    """A tensor of a terabyte."""
    found = read(lambda: nn.init.trunc_normal_(torch.empty(2**19, 2**19)))
    assert found.size == 2**38


def test_random_numbers_of_no_distribution() -> None:
    """Nothing is known of them, which is noted; a forward pass may throw them away."""
    with watching() as recorder:
        unknown = torch.poisson(torch.ones(3))
        shape = nn.Sequential(nn.Linear(3, 4), nn.RReLU())(torch.ones(2, 3)).shape
    assert shape == (2, 4)
    assert not recorder.read(unknown).is_written
    assert [note.text.split()[0] for note in recorder.notes] == ["poisson", "rrelu_with_noise"]


def test_indices_in_lists() -> None:
    """Lists and arrays keep their values."""

    def make() -> Tensor:
        tensor = torch.zeros(6, 4)
        tensor[[1, 2], [1, 3]] = torch.tensor([5.0, 6.0])
        tensor[np.array([4])] = 3
        tensor[[True, False, False, False, False, True]] = 1
        return tensor[[0, 1, 2, 4]]

    assert values(make).equal(make())


def test_sparse_layouts() -> None:
    """Sparse tensors are computed at once."""
    with watching() as recorder:
        made = (torch.eye(3).to_sparse() * 2).to_dense()
    assert of(recorder, made).values.equal(torch.eye(3) * 2)


def test_copies_are_equal() -> None:
    """As far as they are surely so."""
    with watching():
        layer = nn.Linear(3, 3)
        assert torch.equal(layer.weight, copy.deepcopy(layer).weight)


def test_shapes_by_a_forward_pass() -> None:
    """A constructor may run its layers to see what comes out."""
    with watching() as recorder:
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        head = nn.Linear(layers(torch.zeros(2, 3, 8, 8)).shape[1], 2)
    assert head.in_features == 4 * 36
    assert isinstance(of(recorder, head.weight), Draw)


def test_long_chains() -> None:
    """Of more operators than functions may call one another."""

    def make() -> Tensor:
        first, second = torch.randn(3), torch.ones(3) * 2
        for _ in range(1500):
            second.mul_(0.99).add_(first, alpha=0.01)
        return second

    found = read(make)
    unit = Values(lambda draw: torch.full(draw.shape, 5.0)).of(found)
    assert unit.tolist() == pytest.approx([5.0] * 3, abs=1e-3)


def test_earlier_recordings() -> None:
    """A module of another recording has its reading."""
    with watching():
        first = nn.Linear(2, 2)
    with watching() as recorder:
        model: Any = nn.Sequential(first, nn.Linear(2, 2))
    assert isinstance(recorder.read(model[0].weight), Draw)


def test_reshaped_transpositions() -> None:
    """They are views of their copies."""

    def make() -> Tensor:
        return torch.randn(4, 4).view(2, 2, 4).transpose(0, 1).reshape(4, 4) * 2

    found = read(make)
    values = Values(lambda draw: torch.arange(16.0).view(draw.shape) * draw.scale).of(found)
    assert values.equal(torch.arange(16.0).view(2, 2, 4).transpose(0, 1).reshape(4, 4) * 2)


def test_sharding_within_a_recording(mesh: Any) -> None:
    """It is refused, with what to do."""
    from torch.distributed.fsdp import fully_shard

    with watching():
        layer = nn.Linear(4, 4)
        with pytest.raises(RecordingError, match="after its recording"):
            fully_shard(layer, mesh=mesh)


def test_fake_tensors() -> None:
    """A recording among them is refused."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(), pytest.raises(RecordingError, match="follows plain tensors"), watching():
        pass


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors_of_drawn_values(layout: str) -> None:
    """They are refused, with what to do."""
    with watching(), pytest.raises(RecordingError, match="sparse or quantized after the recording"):
        getattr(torch.randn(3, 3), layout)()


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda w: w.uniform_(-0.5, 0.25), "uniform(minval=-0.5, maxval=0.25)"),
        (lambda w: w.normal_(0.5, 2.0), "normal(mean=0.5, stddev=1.41421)"),
        (torch.nn.init.xavier_uniform_, "uniform(minval=-0.866025, maxval=0.866025)"),
    ],
    ids=["uniform", "normal", "xavier"],
)
def test_complex_numbers_of_any_spread(fill: Any, words: str) -> None:
    """Both parts have the bounds, or the mean and half of the variance, that the code gives; as PyTorch draws them."""
    from fanin.torch import recording

    with recording() as recorded:
        layer = torch.nn.Bilinear(1, 1, 1, bias=False)
        layer.weight = torch.nn.Parameter(torch.empty(4, 4, dtype=torch.complex64))
        fill(layer.weight.data)
    assert str(recorded["weight"]).startswith(f"view_as_complex({words})")
