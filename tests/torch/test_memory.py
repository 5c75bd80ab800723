"""The memory of tensors: what cannot be written is refused, and what PyTorch allocated stays PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin._core.memory import read_only
from fanin.recipes import PlanError
from fanin.torch import fill_, initialize
from torch_kit import ALL, PRESETS, on_meta, raw, two_layers

linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows a process's pages")


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    """Zeros in a file that is mapped read-only."""
    np.zeros((4, 3), np.float32).tofile(tmp_path / "zeros")
    return np.memmap(tmp_path / "zeros", np.float32, "r", shape=(4, 3))


WAYS: dict[str, Callable[[Any], object]] = {
    "fill_": lambda tensor: fill_(tensor, fanin.HeNormal(seed=1)),
    "out=": lambda tensor: fanin.HeNormal(seed=1)((4, 3), out=tensor),
}


@linux
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("way", WAYS)
def test_read_only_files(way: str, mapped: np.memmap) -> None:
    """A tensor over a file that is mapped read-only is refused; a write would end the process."""
    with pytest.raises(ValueError, match=r"must be writable\. Received: a (tensor over )?read-only"):
        WAYS[way](torch.from_numpy(mapped))


@linux
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_modules_over_read_only_files(mapped: np.memmap) -> None:
    """Before anything is written, with the path."""
    module = two_layers()
    module[0].weight = nn.Parameter(torch.from_numpy(mapped))
    before = raw(module)
    with pytest.raises(PlanError, match=r"0\.weight: Its memory is read-only, such as that of a memory-mapped file\."):
        initialize(module, ALL)
    assert raw(module) == before
    initialize(module, ALL, skip="0.weight")


def test_writable_arrays() -> None:
    """A tensor over an array of one's own is filled."""
    array = np.zeros((4, 3), np.float32)
    fill_(torch.from_numpy(array), fanin.HeNormal(seed=1), layout="keras")
    assert array.tobytes() == fanin.HeNormal(seed=1)((4, 3)).tobytes()


@linux
def test_pages(mapped: np.memmap, tmp_path: Path) -> None:
    """Only what lies in read-only pages is found, wherever it is among others; nothing is, where nothing is shown."""
    writable = np.memmap(tmp_path / "zeros", np.float32, "r+", shape=(4, 3))
    assert read_only([writable, np.zeros(3), np.asarray(mapped), np.zeros((0, 3)), mapped[1:2]]) == [2, 4]
    assert read_only([]) == []


def test_pages_of_other_systems(mapped: np.memmap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the pages are not shown, nothing is found."""

    def no_file(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", no_file)
    assert read_only([mapped]) == []


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("start", ["cpu", "meta"])
def test_storages_stay_resizable(start: str, dtype: torch.dtype) -> None:
    """FSDP frees and resizes the storages of parameters, old and new."""

    def make() -> Any:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(dtype)

    module = on_meta(make) if start == "meta" else make()
    initialize(module, ALL)
    for tensor in [*module.parameters(), *module.buffers()]:
        assert tensor.untyped_storage().resizable()
        assert tensor.data_ptr() % 64 == 0 or start == "cpu"
    module[0].weight.data.resize_(100, 100)


def test_filled_tensors_stay_resizable() -> None:
    """`fill_` and `out=` leave a storage as it is."""
    for way in WAYS.values():
        tensor = torch.zeros(4, 3)
        way(tensor)
        assert tensor.resize_(40, 30).shape == (40, 30)


@pytest.mark.filterwarnings("ignore")  # those of torch.distributed
def test_fsdp_can_gather_what_was_filled(tmp_path: Path) -> None:
    """FSDP1 shards a model of the meta device after it has its values, and shows it whole again."""
    import torch.distributed as distributed
    from torch.distributed.fsdp import FullyShardedDataParallel

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        module, expected = on_meta(two_layers), two_layers()
        initialize(module, PRESETS["torch"])
        initialize(expected, PRESETS["torch"])
        wrapped = FullyShardedDataParallel(module, device_id=torch.device("cpu"))
        with FullyShardedDataParallel.summon_full_params(wrapped):
            assert list(raw(wrapped).values()) == list(raw(expected).values())
    finally:
        distributed.destroy_process_group()
