"""fanin.torch.init: the bytes of fanin's initializers, on every device, and the laws of torch.nn.init."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy import stats

import fanin
from fanin.torch import init, shards
from fanin.torch.init import drawn
from init_kit import call
from torch_kit import bits, moved

INF = math.inf
FLOATS = ("float16", "bfloat16", "float32", "float64")


EQUAL: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    "uniform_": (lambda w: init.uniform_(w, -1, 2, seed=5), lambda: fanin.RandomUniform(-1, 2, seed=5)),
    "normal_": (lambda w: init.normal_(w, 1, 2, seed=5), lambda: fanin.RandomNormal(1, 2, seed=5)),
    "trunc_normal_": (
        lambda w: init.trunc_normal_(w, 0.1, 1, -1, 2, seed=5),
        lambda: fanin.TruncatedNormal(0.1, 1, seed=5, minval=-1, maxval=2),
    ),
    "trunc_normal_ of small deviation": (
        lambda w: init.trunc_normal_(w, std=0.02, seed=5),
        lambda: fanin.RandomNormal(0, 0.02, seed=5),
    ),
    "trunc_normal_ without bounds": (
        lambda w: init.trunc_normal_(w, a=-INF, b=INF, seed=5),
        lambda: fanin.RandomNormal(0, 1, seed=5),
    ),
    "trunc_normal_ of one bound": (
        lambda w: init.trunc_normal_(w, a=0.5, b=INF, seed=5),
        lambda: fanin.TruncatedNormal(0, 1, seed=5, minval=0.5),
    ),
    "xavier_uniform_": (lambda w: init.xavier_uniform_(w, seed=5), lambda: fanin.GlorotUniform(seed=5)),
    "xavier_uniform_ with a gain": (
        lambda w: init.xavier_uniform_(w, 1.5, seed=5),
        lambda: fanin.VarianceScaling(2.25, "fan_avg", "uniform", seed=5),
    ),
    "xavier_normal_": (
        lambda w: init.xavier_normal_(w, seed=5),
        lambda: fanin.VarianceScaling(1, "fan_avg", "untruncated_normal", seed=5),
    ),
    "kaiming_uniform_": (lambda w: init.kaiming_uniform_(w, seed=5), lambda: fanin.HeUniform(seed=5)),
    "kaiming_uniform_ of ReLU": (
        lambda w: init.kaiming_uniform_(w, 9, nonlinearity="relu", seed=5),
        lambda: fanin.HeUniform(seed=5),
    ),
    "kaiming_uniform_ of layers": (  # with the slope that nn.Linear and the convolutions have
        lambda w: init.kaiming_uniform_(w, 3**0.5, seed=5),
        lambda: fanin.VarianceScaling(2 / (1 + (3**0.5) ** 2), "fan_in", "uniform", seed=5),
    ),
    "kaiming_normal_": (
        lambda w: init.kaiming_normal_(w, 0.2, "fan_out", seed=5),
        lambda: fanin.VarianceScaling(2 / (1 + 0.2**2), "fan_out", "untruncated_normal", seed=5),
    ),
    "kaiming_normal_ of tanh": (
        lambda w: init.kaiming_normal_(w, nonlinearity="tanh", seed=5),
        lambda: fanin.VarianceScaling((5 / 3) * (5 / 3), "fan_in", "untruncated_normal", seed=5),
    ),
    "orthogonal_": (lambda w: init.orthogonal_(w, 2, seed=5), lambda: fanin.Orthogonal(2, seed=5)),
    "sparse_": (lambda w: init.sparse_(w, 0.3, 0.1, seed=5), lambda: fanin.Sparse(0.3, 0.1, seed=5)),
    "eye_": (lambda w: init.eye_(w), lambda: fanin.Identity()),
    "dirac_": (lambda w: init.dirac_(w, 2), lambda: fanin.Dirac(groups=2)),
    "zeros_": (lambda w: init.zeros_(w), lambda: fanin.Zeros()),
    "ones_": (lambda w: init.ones_(w), lambda: fanin.Ones()),
    "constant_": (lambda w: init.constant_(w, 0.1), lambda: fanin.Constant(0.1)),
}
RANKS = {"sparse_": (2,), "eye_": (2,), "dirac_": (3, 4, 5)}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EQUAL)
def test_values(name: str, dtype: str) -> None:
    """The bytes of fanin's initializer, transposed, in every rank, whatever the strides; none beside the tensor.

    Those of 16 bits are rounded from float32, as PyTorch's are and as those of whole models.
    """
    drawn = dtype if dtype == "float64" else "float32"
    fill, initializer = EQUAL[name]
    for rank in RANKS.get(name, (2, 3, 4)):
        shape = (6, 4, 3, 3, 2)[:rank]
        kernel = initializer()((*shape[2:], shape[1], shape[0]), drawn).astype(dtype)
        room = torch.zeros([2 * each for each in shape], dtype=getattr(torch, dtype))
        turned = torch.empty(shape[::-1], dtype=room.dtype).permute(*range(rank)[::-1])
        for tensor in (torch.empty(shape, dtype=room.dtype), room[(slice(None, None, 2),) * rank], turned):
            assert fill(tensor) is tensor
            assert bits(tensor) == moved(kernel, "torch").tobytes()
        assert not room[(slice(1, None, 2),) * rank].any()


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "constant_"])
def test_few_axes(name: str, shape: tuple[int, ...]) -> None:
    """Tensors of no axis and of one."""
    fill, initializer = EQUAL[name]
    assert bits(fill(torch.empty(shape))) == initializer()(shape).tobytes()


COMPLEX = {
    "normal_": (lambda w: init.normal_(w, std=2, seed=6), lambda shape: 2.0),
    "xavier_normal_": (lambda w: init.xavier_normal_(w, 1.5, seed=6), lambda shape: 1.5 * (2 / sum(shape)) ** 0.5),
    "kaiming_normal_": (
        lambda w: init.kaiming_normal_(w, nonlinearity="relu", seed=6),
        lambda shape: (2 / shape[1]) ** 0.5,
    ),
}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_values(name: str, dtype: str) -> None:
    """Complex numbers: both parts normal, of half of the variance, and independent; so of PyTorch's."""
    fill, stddev = COMPLEX[name]
    values = fill(torch.empty(60, 50, dtype=getattr(torch, dtype))).numpy().ravel()
    scale = stddev((60, 50)) / 2**0.5
    assert stats.kstest(values.real, "norm", (0, scale)).pvalue > 1e-3
    assert stats.kstest(values.imag, "norm", (0, scale)).pvalue > 1e-3
    assert abs(np.corrcoef(values.real, values.imag)[0, 1]) < 4 / len(values) ** 0.5


def test_complex_normal() -> None:
    """Element i has the parts that a stream of floats has at 2 i and 2 i + 1, in Keras's order, with any strides."""
    parts = fanin.RandomNormal(0, 0.5**0.5, seed=5)((4, 3, 2))
    expected = np.ascontiguousarray((parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64).T)
    apart = torch.zeros(3, 8, dtype=torch.complex64)[:, ::2]
    for tensor in (torch.empty(3, 4, dtype=torch.complex64), apart):
        assert bits(init.normal_(tensor, seed=5)) == expected.tobytes()


def test_complex_means_as_in_pytorch() -> None:
    """A mean is that of both parts."""
    ours, theirs = (
        getattr(module, "normal_")(torch.empty(20_000, dtype=torch.complex64), 3, 1, **keywords).mean().item()  # noqa: B009
        for module, keywords in ((init, {"seed": 1}), (torch.nn.init, {}))
    )
    assert abs(ours - theirs) < 0.05
    assert abs(ours - (3 + 3j)) < 0.05


@pytest.mark.parametrize("kind", ["trunc_normal_", "orthogonal_", "sparse_"])
def test_laws_without_complex_numbers(kind: str) -> None:
    """The other laws refuse complex numbers, before anything is drawn."""
    state = torch.get_rng_state()
    with pytest.raises(NotImplementedError, match="real numbers"):
        call(init, kind, torch.empty(3, 4, dtype=torch.complex64))
    assert torch.equal(torch.get_rng_state(), state)


# Laws, against SciPy

LAWS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "uniform_": (lambda w: init.uniform_(w, -2, 1), stats.uniform(-2, 3)),
    "normal_": (lambda w: init.normal_(w, 1, 0.5), stats.norm(1, 0.5)),
    "trunc_normal_": (lambda w: init.trunc_normal_(w, 1, 2, -1, 2), stats.truncnorm(-1, 0.5, 1, 2)),
    "trunc_normal_ of negative deviation": (
        lambda w: init.trunc_normal_(w, 1, -2, -1, 2),
        stats.truncnorm(-1, 0.5, 1, 2),
    ),
    "xavier_uniform_": (lambda w: init.xavier_uniform_(w, 2), stats.uniform(-0.4, 0.8)),
    "xavier_normal_": (lambda w: init.xavier_normal_(w, 2), stats.norm(0, 2 * (2 / 150) ** 0.5)),
    "kaiming_uniform_": (lambda w: init.kaiming_uniform_(w, 1), stats.uniform(-(0.06**0.5), 2 * 0.06**0.5)),
    "kaiming_normal_": (lambda w: init.kaiming_normal_(w, nonlinearity="selu"), stats.norm(0, 0.75 / 50**0.5)),
}


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAWS)
def test_laws(name: str, dtype: str) -> None:
    """Values follow the law that SciPy has by that name: Kolmogorov and Smirnov's test of 5000."""
    fill, law = LAWS[name]
    torch.manual_seed(1)
    values = fill(torch.empty(100, 50, dtype=getattr(torch, dtype))).double().numpy().ravel()
    assert stats.kstest(values, law.cdf).pvalue > 1e-3


def test_sparse_columns() -> None:
    """Each column has the zeros that PyTorch's function puts there."""
    values = init.sparse_(torch.empty(20, 30), 0.33, seed=1)
    assert ((values == 0).sum(0) == math.ceil(0.33 * 20)).all()
    assert stats.kstest(values[values != 0].numpy(), "norm", (0, 0.01)).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (6, 2, 2, 2), (4, 5, 3)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_orthogonal_matrices(dtype: str, shape: tuple[int, ...]) -> None:
    """Rows, or columns if there are fewer of them, are orthonormal, up to the gain."""
    matrix = init.orthogonal_(torch.empty(shape, dtype=getattr(torch, dtype)), 2, seed=1).flatten(1).double()
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    tolerance = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert torch.allclose(matrix @ matrix.T, 4 * torch.eye(len(matrix), dtype=torch.float64), atol=tolerance)


# Devices, by way of memory that does not count as the CPU's


@pytest.mark.parametrize("name", EQUAL)
def test_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the CPU's memory gets the same bytes, in pieces of a bounded size."""
    fill, _ = EQUAL[name]
    shape = (6, 4, 3) if name == "dirac_" else (6, 4)
    expected = bits(fill(torch.empty(shape)))

    def elsewhere(fill: Any, shard: Any, local: Any, *, covers: bool = True, at_once: bool = False) -> None:
        for region, view in shard.parts(local.detach()):
            if at_once:
                shards._fill_around(fill, [shards.Part(region, view)], covers)
            else:
                shards._fill_in_pieces(fill, region, view, covers)

    monkeypatch.setattr(shards, "_PIECE", 20)
    monkeypatch.setattr(drawn, "_checked", lambda tensor: None)
    monkeypatch.setattr(drawn, "fill_shard", elsewhere)
    tensor = torch.empty(shape)
    version = tensor._version
    assert bits(fill(tensor)) == expected
    assert tensor._version > version
