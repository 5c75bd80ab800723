"""Layouts of Keras 3's distributions, on the JAX backend: each device's shard is made alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import FLOATS
from fanin.distributions.weight import Weight
from keras3_kit import ARGUMENTS, L, SeedGenerator, array, assert_holds, framework, keras, made, ours
from strategies import assert_same_bits

pytestmark = pytest.mark.backend("jax")

# (shape of the mesh, axes of the layout, number of distinct regions)
LAYOUTS = [
    ((8,), (None, "model"), 8),
    ((2, 4), (None, "model"), 4),
    ((2, 4), ("batch", "model"), 8),
    ((4, 2), ("batch", None), 4),
    ((4, 2), (None, None), 1),
]


def mesh(*lengths: int) -> Any:
    """A mesh of the eight devices."""
    names = ["batch", "model"][-len(lengths) :]
    return keras.distribution.DeviceMesh(lengths, names, keras.distribution.list_devices())


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tensors and regions of tensors that are filled from here on."""
    seen: list[str] = []
    fill = Weight.fill

    def noted(self: Weight, out: np.ndarray, region: Any = None) -> None:
        seen.append(f"{self.shape} {region} {out.shape}")
        fill(self, out, region)

    monkeypatch.setattr(Weight, "fill", noted)
    return seen


@pytest.mark.parametrize(("lengths", "axes", "number"), LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_layouts(name: str, dtype: str, lengths: Any, axes: Any, number: int, filled: list[str]) -> None:
    """A sharded array has the unsharded bytes and the sharding asked for; each distinct region is made once."""
    layout = keras.distribution.TensorLayout(axes, mesh(*lengths))
    for given in (layout, layout.backend_layout):
        filled.clear()
        tensor = made(ours, name)((8, 16), dtype, layout=given)
        assert len(filled) == len(set(filled)) == number
        assert tensor.sharding == layout.backend_layout
        assert_holds(tensor, made(fanin, name)((8, 16), dtype))


@pytest.mark.parametrize("seed", ["integer", "none", "generator"])
def test_layouts_change_no_sequence(seed: str) -> None:
    """Sharded or on one device, the first and second tensor of a seed are those without a layout."""
    layout = keras.distribution.TensorLayout(("batch", "model"), mesh(2, 4))
    tensors = []
    for given in (None, layout, framework.sharding.SingleDeviceSharding(framework.devices()[5])):
        fanin.utils.set_random_seed(5)
        initializer = ours.HeNormal(seed={"integer": 5, "none": None, "generator": SeedGenerator(5)}[seed])
        tensors.append([array(initializer((8, 16), layout=given)) for _ in range(2)])
    for whole, sharded, alone in zip(*tensors, strict=True):
        assert_same_bits(whole, sharded)
        assert_same_bits(whole, alone)


@pytest.mark.parametrize("kind", ["ModelParallel", "DataParallel"])
def test_distributions(kind: str, filled: list[str]) -> None:
    """A distributed model has the unsharded bytes, sharded as its layouts say, each region made once, and trains."""
    layouts = keras.distribution.LayoutMap(mesh(2, 4))
    layouts[".*kernel"], layouts[".*bias"] = (None, "model"), ("model",)
    distribution, specs, number = keras.distribution.DataParallel(), [(), (), ()], 1
    if kind == "ModelParallel":
        distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
        specs, number = [(None, "model"), ("model",), (None, "model")], 4
    names, shapes = ("HeNormal", "RandomUniform", "GlorotUniform"), ((6, 16), (16,), (16, 8))
    kernel, bias, einsum = (made(ours, name) for name in names)
    with distribution.scope():
        dense = L.Dense(16, kernel_initializer=kernel, bias_initializer=bias)
        second = L.EinsumDense("ab,bc->ac", 8, kernel_initializer=einsum)
        model = keras.Sequential([keras.Input((6,)), dense, second])
        assert len(filled) == len(set(filled)) == 3 * number
        for name, shape, spec, weight in zip(names, shapes, specs, model.weights, strict=True):
            wanted = framework.sharding.PartitionSpec(*spec)
            wanted = framework.sharding.NamedSharding(distribution.device_mesh.backend_mesh, wanted)
            assert weight.value.sharding.is_equivalent_to(wanted, len(shape))
            assert_holds(weight, made(fanin, name)(shape))
        model.compile("sgd", "mse")
        before = model.get_weights()
        model.fit(np.ones((16, 6)), np.ones((16, 8)), batch_size=8, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
