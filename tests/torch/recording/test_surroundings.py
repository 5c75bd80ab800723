"""What is around recorded code: generators, other threads, NumPy's memory, files, lazy modules."""

from __future__ import annotations

import contextlib
import inspect
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fanin.torch.recording.expressions import (  # noqa: E402
    Table,
)
from fanin.torch.recording.recorder import watching  # noqa: E402
from recorder_kit import numpy_key, of  # noqa: E402


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda: torch.manual_seed(1), "PyTorch's generator is seeded"),
        (lambda: torch.rand(3, generator=torch.Generator()), "a generator of the code's own"),
        (lambda: torch.tensor(np.random.rand(3)), "NumPy's generator"),
        (lambda: torch.full((3,), random.random()), "Python's generator"),
        (lambda: np.random.default_rng(), "a generator of NumPy's"),
    ],
    ids=["seed", "generator", "numpy", "python", "numpy's own"],
)
def test_notes(use: Callable[[], object], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Randomness that cannot be read is noted once for each line of the code, and the generators are put back."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # parallel runs of tests have a thread of their own
    before = (torch.get_rng_state(), numpy_key(), random.getstate())

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for _ in range(3):
                use()

    with watching() as recorder:
        Own()
    (found,) = recorder.notes
    assert found.text.startswith(text)
    assert found.module == "Own"
    assert found.place == f"{__file__}:{inspect.getsourcelines(use)[1]}" or found.place.startswith(__file__)
    assert str(found) == f"{found.place} (Own): {found.text}"
    assert before[0].equal(torch.get_rng_state())
    assert before[1:] == (numpy_key(), random.getstate())


def test_refusals_are_noted() -> None:
    """In case that the code goes on."""
    with watching() as recorder, contextlib.suppress(RuntimeError):
        torch.rand(3).max().item()
    assert "which was refused" in recorder.notes[0].text


@pytest.mark.parametrize("seed", [3, 4], ids=["its own seed", "another one"])
def test_the_generator_itself_is_seeded(seed: int) -> None:
    """It is put back, and noted."""
    with torch.random.fork_rng(()):
        torch.manual_seed(3)
        torch.rand(5)
        before = torch.get_rng_state()
        with watching() as recorder:
            torch.default_generator.manual_seed(seed)
        assert torch.get_rng_state().equal(before)
    assert recorder.notes[0].text.startswith("PyTorch's generator is seeded")


def test_other_threads_may_draw() -> None:
    """What they draw from PyTorch's generator is neither put back nor taken for a seed."""
    with torch.random.fork_rng(()):
        torch.manual_seed(3)
        expected = torch.rand(1), torch.rand(1)
        torch.manual_seed(3)
        drawn: list[Any] = []
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(1)))
        with watching() as recorder:
            thread.start()
            thread.join()
        assert (*drawn, torch.rand(1)) == expected
    assert not recorder.notes


def test_other_threads_may_use_the_generators() -> None:
    """They draw on where they were, and nobody is blamed."""
    drawn: list[float] = []
    go, ready = threading.Event(), threading.Event()

    def draw() -> None:
        drawn.append(random.random())
        ready.set()
        go.wait(20)

    thread = threading.Thread(target=draw)
    random.seed(5)
    with watching() as recorder:
        thread.start()
        ready.wait(20)
    drawn.append(random.random())
    go.set()
    thread.join()
    random.seed(5)
    assert drawn == [random.random(), random.random()]
    assert not recorder.notes


def test_parameters_of_other_threads() -> None:
    """They were drawn for real, which is noted."""
    with watching() as recorder:
        made: list[nn.Module] = []
        thread = threading.Thread(target=lambda: made.append(nn.Linear(2, 2)))
        thread.start()
        thread.join()
        model: Any = nn.Sequential(*made)
        assert isinstance(recorder.read(model[0].weight), Table)
    assert "another thread made a parameter" in recorder.notes[0].text


def test_lazy_modules() -> None:
    """They get their shapes from an input."""
    with watching() as recorder:
        model: Any = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
        model(torch.zeros(2, 4))
    assert of(recorder, model[0].weight).scale == pytest.approx(2 / 4**0.5)
    assert recorder.read(model[1].running_mean).is_written


def test_arrays_that_share_memory() -> None:
    """What NumPy writes to a tensor's memory is read, and what the code writes to NumPy's memory arrives there."""
    array = np.zeros(3, np.float32)
    with watching() as recorder:
        tensor = torch.zeros(2, 3)
        tensor.numpy()[0, 1] = 5
        tensor[1, 1] = 6
        second = np.asarray(tensor)
        second[1, 2] = tensor.sum().item()
        torch.from_numpy(array)[0] = 2
    assert of(recorder, tensor).values.tolist() == [[0, 5, 0], [0, 6, 11]]
    assert array.tolist() == [2, 0, 0]


def test_arrays_of_large_tensors() -> None:
    """They may be read, but writing to them is refused by NumPy."""
    with watching():
        array = torch.zeros(2**26 + 1, dtype=torch.int8).numpy()
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_files(tmp_path: Path) -> None:
    """Values from a checkpoint are tables."""
    first = nn.Linear(3, 2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    with watching() as recorder:
        second = nn.Linear(3, 2)
        second.load_state_dict(torch.load(tmp_path / "state.pt"))
        assigned = nn.Linear(3, 2)
        assigned.load_state_dict(torch.load(tmp_path / "state.pt", mmap=True), assign=True)
    assert of(recorder, second.weight).values.equal(first.weight)
    assert of(recorder, assigned.weight).values.equal(first.weight)


def test_safetensors(tmp_path: Path) -> None:
    """Likewise."""
    safetensors = pytest.importorskip("safetensors.torch")
    first = nn.Linear(3, 2)
    safetensors.save_file(first.state_dict(), tmp_path / "state.safetensors")
    with watching() as recorder:
        second = nn.Linear(3, 2)
        second.load_state_dict(safetensors.load_file(tmp_path / "state.safetensors"))
    assert of(recorder, second.weight).values.equal(first.weight)
