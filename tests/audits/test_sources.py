"""What audits are given: files, mappings and live models become the same tensors, with the values that they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanin._core.shapes import chunks
from fanin.audits.sources import tensors_of
from fanin.checkpoints.stored import Stored


def whole(stored: Stored, most: int = 5) -> np.ndarray:
    """A tensor put together from regions of a few elements."""
    array = np.empty(stored.shape, stored.dtype)
    for region, part in stored.parts(tuple(slice(*each) for each in chunk) for chunk in chunks(stored.shape, most)):
        array[region] = part
    return array


def arrays_of(source: Any) -> dict[str, np.ndarray]:
    """Every tensor of a source."""
    return {name: whole(stored) for name, stored in tensors_of(source).tensors.items()}


def assert_equal(source: Any, expected: dict[str, Any]) -> None:
    """A source has these arrays in this order, bit for bit."""
    found = arrays_of(source)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == np.asarray(array).tobytes(), name


def test_nested_mappings() -> None:
    """Names are the ways to the arrays; what is no array is named apart."""
    kernel, bias, scale = np.arange(6.0).reshape(2, 3), np.ones(3, "float16"), np.float32(2)
    source = {"a": {"kernel": kernel, "steps": [bias, 3]}, "scale": scale}
    contents = tensors_of(source)
    assert_equal(source, {"a.kernel": kernel, "a.steps.0": bias, "scale": np.asarray(scale)})
    assert (contents.format, contents.other) == ("memory", ("a.steps.1",))


def test_views_of_numpy() -> None:
    """Arrays in any order of memory are read as they look."""
    array = np.arange(24, dtype="int32").reshape(4, 6)
    assert_equal({"t": array.T, "s": array[::2, ::-1]}, {"t": array.T, "s": array[::2, ::-1]})


def test_shared_memory_is_a_tie() -> None:
    """The same elements under two names, and no more than that."""
    array = np.ones((2, 3))
    assert tensors_of({"a": array, "b": array, "c": array.T, "d": array.copy()}).ties == {"b": "a"}


def test_a_name_that_comes_up_twice() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match=r"Each name may come up once\. Received: 'a\.b' twice"):
        tensors_of({"a.b": np.ones(1), "a": {"b": np.ones(1)}})


def test_arrays_of_texts() -> None:
    """They are refused by name."""
    with pytest.raises(TypeError, match=r"Arrays must have numbers\. Received: 'a'"):
        tensors_of({"a": np.array(["x"])})


@pytest.mark.parametrize("source", [3, None, object(), np.ones(3)])
def test_no_source(source: Any) -> None:
    """Neither a path, nor a mapping, nor a model."""
    with pytest.raises(TypeError, match="There must be a path, a mapping of names to arrays, or a model"):
        tensors_of(source)


def test_files(tmp_path: Path) -> None:
    """A path, as text or not."""
    array = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", w=array)
    assert_equal(tmp_path / "a.npz", {"w": array})
    assert_equal(str(tmp_path), {"w": array})


def test_damaged_files(tmp_path: Path) -> None:
    """They are noted, and others are read."""
    (tmp_path / "a.npz").write_bytes(b"no zip file")
    np.savez(tmp_path / "b.npz", w=np.ones(3))
    contents = tensors_of(tmp_path)
    assert list(contents.broken) == ["a.npz"]
    assert list(contents.tensors) == ["w"]


# ---------------------------------------------------------------- PyTorch


def test_torch_modules() -> None:
    """Parameters and buffers of any dtype, with ties, region by region."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Module()
    module.a = torch.nn.Linear(3, 5)
    module.b = torch.nn.Linear(3, 5, bias=False)
    module.b.weight = module.a.weight
    module.register_buffer("low", torch.randn(4, 2).bfloat16())
    contents = tensors_of(module)
    assert list(contents.tensors) == ["a.weight", "a.bias", "b.weight", "low"]
    assert contents.ties == {"b.weight": "a.weight"}
    assert whole(contents.tensors["b.weight"]).tobytes() == module.a.weight.detach().numpy().tobytes()
    half = whole(contents.tensors["low"])
    assert half.dtype.name == "bfloat16"
    assert half.astype("float32").tobytes() == module.low.float().numpy().tobytes()


def test_torch_state_dicts() -> None:
    """They share memory where their model does, though their tensors are objects of their own."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert tensors_of({"model": model.state_dict()}).ties == {"model.1.weight": "model.0.weight"}


def test_torch_views() -> None:
    """Conjugates, negatives, transposes and inference tensors have the values that PyTorch shows."""
    torch = pytest.importorskip("torch")
    number = torch.randn(3, 4, dtype=torch.complex64)
    with torch.inference_mode():
        inference = torch.ones(2)
    source = {"conj": number.conj(), "neg": number.conj().imag, "t": number.T, "i": inference}
    expected = {name: tensor.resolve_conj().resolve_neg().clone().numpy() for name, tensor in source.items()}
    assert_equal(source, expected)


def test_tensors_on_the_meta_device() -> None:
    """They are refused by name."""
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"Received: '0\.weight' of shape \(3, 2\), which is on the meta device"):
        tensors_of(torch.nn.Sequential(torch.nn.Linear(2, 3, device="meta")))


def test_lazy_parameters() -> None:
    """They are refused by name."""
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"Received: 'weight', a UninitializedParameter\. Call the module"):
        tensors_of(torch.nn.LazyLinear(3))


def test_sparse_tensors() -> None:
    """They are refused by name."""
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"Every tensor must be dense\. Received: 's'"):
        tensors_of({"s": torch.eye(3).to_sparse()})


@pytest.fixture
def mesh() -> Any:
    """A mesh of two processes, of which this is one, without the other."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_sharded_tensors(mesh: Any) -> None:
    """DTensors are read where they are whole, and refused by name where they are not."""
    torch = pytest.importorskip("torch")
    from torch.distributed.tensor import DTensor, Replicate, Shard

    module = torch.nn.Module()
    module.w = torch.nn.Parameter(DTensor.from_local(torch.ones(2, 3), mesh, [Replicate()], run_check=False))
    assert_equal(module, {"w": np.ones((2, 3), "float32")})
    module.w = torch.nn.Parameter(DTensor.from_local(torch.ones(2, 3), mesh, [Shard(0)], run_check=False))
    with pytest.raises(ValueError, match=r"'w', a DTensor of shape \(4, 3\), of which this process has \(2, 3\)"):
        tensors_of(module)


# ---------------------------------------------------------------- JAX


def test_jax_arrays() -> None:
    """Trees of JAX arrays have the names that plans give them."""
    jnp = pytest.importorskip("jax.numpy")
    source = {"params": {"dense": {"kernel": jnp.ones((2, 3), "bfloat16"), "bias": jnp.zeros(3)}}}
    assert list(tensors_of(source).tensors) == ["dense.bias", "dense.kernel"]
    assert whole(tensors_of(source).tensors["dense.kernel"]).dtype.name == "bfloat16"


def test_flax_modules() -> None:
    """Those of flax.nnx, without the keys of their random numbers."""
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    found = arrays_of(model)
    assert found["layers.0.kernel"].tobytes() == np.asarray(model.layers[0].kernel[...]).tobytes()
    assert not any(name.endswith("key") for name in found)


def test_equinox_modules() -> None:
    """Their arrays, by their attributes."""
    eqx, jax = pytest.importorskip("equinox"), pytest.importorskip("jax")
    model = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    assert_equal(model, {"weight": np.asarray(model.weight), "bias": np.asarray(model.bias)})


def test_shapes_without_values() -> None:
    """They are refused by name."""
    jax = pytest.importorskip("jax")
    with pytest.raises(ValueError, match=r"Every tensor must have values\. Received: 'w', a ShapeDtypeStruct"):
        tensors_of({"w": jax.ShapeDtypeStruct((2,), "float32")})


# ---------------------------------------------------------------- Keras


@pytest.mark.filterwarnings("ignore")
def test_tf_keras_models() -> None:
    """The variables of layers, statistics among them."""
    pytest.importorskip("tensorflow")
    keras = pytest.importorskip("tf_keras")
    layers = [keras.layers.Dense(3, input_shape=(2,), name="fc"), keras.layers.BatchNormalization(name="norm")]
    model = keras.Sequential(layers)
    names = ["fc.kernel", "fc.bias"]
    names += [f"norm.{each}" for each in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert_equal(model, dict(zip(names, (each.numpy() for each in model.weights), strict=True)))


@pytest.mark.filterwarnings("ignore")
def test_tensorflow_variables() -> None:
    """In a mapping."""
    tf = pytest.importorskip("tensorflow")
    variable = tf.Variable(tf.random.normal((3, 4)))
    half = tf.cast(variable, tf.bfloat16)
    assert_equal({"v": variable, "h": half}, {"v": variable.numpy(), "h": half.numpy()})


@pytest.mark.filterwarnings("ignore")
def test_keras_models() -> None:
    """Those of Keras 3, on the backend that there is."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="fc", dtype="bfloat16")])
    found = arrays_of(model)
    assert list(found) == ["fc.kernel", "fc.bias"]
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(model.layers[0].kernel, "float32"))
    assert found["fc.kernel"].astype("float32").tobytes() == kernel.tobytes()
    assert arrays_of({"k": model.layers[0].kernel})["k"].tobytes() == found["fc.kernel"].tobytes()
