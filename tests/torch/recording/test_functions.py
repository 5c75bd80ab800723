"""Every function of torch.nn.init, and PyTorch's own changes of weights: what is read of them."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import init  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from fanin.torch.recording.expressions import Constant, Draw, Operation, Seen, Table, Unit  # noqa: E402
from fanin.torch.recording.recorder import watching  # noqa: E402
from recorder_kit import Tensor, numpy_key, of, read  # noqa: E402


def bounds(expression: Draw) -> tuple[float, float]:
    """The bounds of a uniform draw."""
    return expression.origin, expression.origin + expression.scale


UNIFORM = {
    "uniform_": (lambda t: init.uniform_(t, -1.0, 3.0), (-1.0, 3.0)),
    "xavier_uniform_": (lambda t: init.xavier_uniform_(t, gain=2.0), (-2 * math.sqrt(6 / 30), 2 * math.sqrt(6 / 30))),
    "kaiming_uniform_": (
        lambda t: init.kaiming_uniform_(t, nonlinearity="relu"),
        (-math.sqrt(6 / 20), math.sqrt(6 / 20)),
    ),
}
NORMAL = {
    "normal_": (lambda t: init.normal_(t, 1.0, 0.5), (1.0, 0.5)),
    "xavier_normal_": (init.xavier_normal_, (0.0, math.sqrt(2 / 30))),
    "kaiming_normal_": (lambda t: init.kaiming_normal_(t, mode="fan_out"), (0.0, math.sqrt(2 / 10))),
    "a wide trunc_normal_": (lambda t: init.trunc_normal_(t, std=0.02), (0.0, 0.02)),
}


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform(name: str) -> None:
    """A uniform draw, with the bounds of the formula."""
    write, expected = UNIFORM[name]
    found = read(lambda: write(torch.empty(10, 20)))
    assert found.source.unit == Unit("uniform")
    assert bounds(found) == pytest.approx(expected)


@pytest.mark.parametrize("name", NORMAL)
def test_normal(name: str) -> None:
    """A normal draw, with the mean and the standard deviation of the formula."""
    write, expected = NORMAL[name]
    found = read(lambda: write(torch.empty(10, 20)))
    assert found.source.unit == Unit("normal")
    assert (found.origin, found.scale) == pytest.approx(expected)


def test_trunc_normal() -> None:
    """The bounds are in standard deviations."""
    found = read(lambda: init.trunc_normal_(torch.empty(10, 20), 1.0, 2.0, -3.0, 4.0))
    assert found.source.unit == Unit("truncated", (-2.0, 1.5))
    assert (found.origin, found.scale) == (1.0, 2.0)


def test_old_trunc_normal() -> None:
    """A uniform variable, its inverse error function, an affine change and a clamp are a truncated normal variable."""

    def make() -> Tensor:
        low, high = (math.erf(bound / math.sqrt(2)) for bound in (-2.0, 2.0))
        tensor = torch.empty(10, 20).uniform_(low, high)
        return tensor.erfinv_().mul_(0.5 * math.sqrt(2)).add_(1.0).clamp_(0.0, 2.0)

    found = read(make)
    assert found.source.unit.kind == "truncated"
    assert found.source.unit.arguments == pytest.approx((-2.0, 2.0))
    assert (found.origin, found.scale) == pytest.approx((1.0, 0.5))


def test_orthogonal() -> None:
    """The gain is the scale; the dtype may be any."""
    found = read(lambda: init.orthogonal_(torch.empty(4, 3, 2, dtype=torch.bfloat16), gain=3.0))
    assert (found.source.unit, found.scale, found.shape) == (Unit("orthogonal"), 3.0, (4, 3, 2))


def test_orthogonal_of_a_vector() -> None:
    """The error is PyTorch's own."""
    with pytest.raises(ValueError, match="2 or more dimensions"):
        read(lambda: init.orthogonal_(torch.empty(4)))


def test_sparse() -> None:
    """The share of zeros and the standard deviation."""
    found = read(lambda: init.sparse_(torch.empty(10, 20), sparsity=0.25, std=0.5))
    assert found.source.unit == Unit("sparse", (0.25, 0.5))


DETERMINISTIC = {
    "constant_": lambda: init.constant_(torch.empty(3, 4), 0.3),
    "ones_": lambda: init.ones_(torch.empty(3, 4)),
    "zeros_": lambda: init.zeros_(torch.empty(3, 4)),
    "eye_": lambda: init.eye_(torch.empty(3, 4)),
    "dirac_ 1d": lambda: init.dirac_(torch.empty(6, 3, 5), 2),
    "dirac_ 2d": lambda: init.dirac_(torch.empty(4, 6, 3, 2)),
    "dirac_ 3d": lambda: init.dirac_(torch.empty(4, 4, 3, 3, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic(name: str) -> None:
    """The same bytes as for real."""
    found = read(DETERMINISTIC[name])
    assert isinstance(found, (Constant, Table))
    values = torch.full(found.shape, found.value) if isinstance(found, Constant) else found.values
    assert values.equal(DETERMINISTIC[name]())


def test_all_of_torch_nn_init_are_tested() -> None:
    """A function that a new version of PyTorch has is noticed."""
    tested = {
        name.split()[-1] if name.startswith("a ") else name.split()[0] for name in (*UNIFORM, *NORMAL, *DETERMINISTIC)
    }
    public = {name for name in vars(init) if name.endswith("_") and not name.startswith("_")}
    assert public == tested | {"trunc_normal_", "orthogonal_", "sparse_"}


@pytest.mark.parametrize("kind", ["orthogonal", "householder", "cayley", "matrix_exp", "without trivialization"])
def test_orthogonal_parametrization(kind: str) -> None:
    """The base is a program of a drawn weight."""
    maps = {"orthogonal": None, "without trivialization": "householder"}
    with watching() as recorder:
        layer: Any = parametrizations.orthogonal(
            nn.Linear(5, 5), orthogonal_map=maps.get(kind, kind), use_trivialization=kind != "without trivialization"
        )
    part = layer.parametrizations.weight
    found = recorder.read(part.original if kind == "without trivialization" else part[0].base)
    assert found.is_drawn
    assert found.is_written


def test_weight_norm() -> None:
    """The gain is a program of the very source that the direction is drawn from."""
    with watching() as recorder:
        layer: Any = parametrizations.weight_norm(nn.Linear(5, 4))
    gain, direction = (of(recorder, getattr(layer.parametrizations.weight, f"original{number}")) for number in (0, 1))
    assert isinstance(direction, Draw)
    assert gain.sources == (direction.source,)
    assert isinstance(gain, Seen)
    assert isinstance(gain.writes[0].expression, Operation)


def test_names_that_were_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function has its substitute under every name, and its own code afterwards."""
    before = init.orthogonal_.__code__
    mine = init.orthogonal_
    assert isinstance(read(lambda: mine(torch.empty(3, 3))), Draw)
    assert init.orthogonal_.__code__ is before
    assert mine(torch.empty(3, 3)).det().abs().item() == pytest.approx(1, abs=1e-5)


def test_other_threads_run_the_original() -> None:
    """While one thread records, another draws as ever."""
    found: list[Tensor] = []

    def draw() -> None:
        found.append(init.orthogonal_(torch.empty(3, 3)))
        found.append(init.trunc_normal_(torch.empty(3, 3), generator=torch.Generator().manual_seed(1)))

    with watching():
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    assert [tensor.device.type for tensor in found] == ["cpu", "cpu"]
    assert found[0].det().abs().item() == pytest.approx(1, abs=1e-5)
    assert found[1].equal(init.trunc_normal_(torch.empty(3, 3), generator=torch.Generator().manual_seed(1)))


def test_two_threads_record() -> None:
    """Each has its own recorder, and the functions are theirs again when the last one ends."""
    code = init.orthogonal_.__code__
    barrier = threading.Barrier(2, timeout=20)
    kinds: dict[float, Any] = {}

    def record(gain: float) -> None:
        with watching() as recorder:
            barrier.wait()
            tensor = init.orthogonal_(torch.empty(3, 3), gain)
            barrier.wait()
        kinds[gain] = of(recorder, tensor).scale

    threads = [threading.Thread(target=record, args=(gain,)) for gain in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds == {1.0: 1.0, 2.0: 2.0}
    assert init.orthogonal_.__code__ is code


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_is_put_back(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Code objects, generators and defaults, when the code raises."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # parallel runs of tests have a thread of their own
    functions = [
        init._no_grad_trunc_normal_,
        init.sparse_,
        init.dirac_,
        torch.manual_seed,
        torch.Tensor._reduce_ex_internal,
    ]
    codes = [function.__code__ for function in functions]
    rng = np.random.default_rng
    states = (
        torch.get_rng_state(),
        numpy_key(),
        torch.get_default_dtype(),
        torch.get_default_device(),
    )

    def fail() -> None:
        torch.manual_seed(3)
        np.random.seed(3)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        raise error

    with pytest.raises(error), watching():
        fail()
    assert [function.__code__ for function in functions] == codes
    assert np.random.default_rng is rng
    assert torch.get_rng_state().equal(states[0])
    assert numpy_key() == states[1]
    assert (torch.get_default_dtype(), torch.get_default_device()) == states[2:]
    assert torch.ones(2).tolist() == [1, 1]
