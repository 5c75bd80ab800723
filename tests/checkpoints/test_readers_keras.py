"""Keras's files: every weight as tf_keras and Keras 3 load it, under the names that plans have, and within the file."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")

import h5py

from fanin._core.shapes import chunks
from fanin.checkpoints import check
from fanin.checkpoints.contained import contents_of
from fanin.checkpoints.stored import Stored

pytestmark = pytest.mark.filterwarnings("ignore")


def whole(stored: Stored, most: int = 7) -> np.ndarray:
    """A tensor put together from regions of a few elements."""
    array = np.empty(stored.shape, stored.dtype)
    for region, part in stored.parts(tuple(slice(*each) for each in chunk) for chunk in chunks(stored.shape, most)):
        array[region] = part
    return array


def network(keras: Any) -> Any:
    """A model of layers with variables of many kinds, some of which have names of their own."""
    layers = keras.layers
    inputs = keras.Input((8, 6))
    x = layers.Conv1D(4, 3, name="first")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.MultiHeadAttention(2, 2)(x, x)
    x = layers.LayerNormalization()(x)
    x = layers.SeparableConv1D(3, 2)(x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(3, use_bias=False)(x)
    return keras.Model(inputs, layers.Dense(2)(x))


def values_of(model: Any) -> dict[str, np.ndarray]:
    """The values of a model's variables by the paths that plans have."""
    from fanin.models import registry

    home = registry.home_of(model)
    assert home is not None
    values = registry.registered(home).values
    assert values is not None
    return {name: np.asarray(each) for name, each in values(model).items()}


@pytest.mark.parametrize(
    ("package", "suffix"),
    [
        *(("tf_keras", suffix) for suffix in (".h5", ".weights.h5", ".keras", "-weights.h5")),
        *(
            ("keras", suffix) for suffix in (".h5", ".weights.h5", ".keras")
        ),  # of weights, Keras 3 takes no other suffix
    ],
)
def test_as_loaded(tmp_path: Path, package: str, suffix: str) -> None:
    """All weights that the library itself loads, bit for bit."""
    keras = pytest.importorskip(package)
    keras.utils.set_random_seed(1)
    model = network(keras)
    path = tmp_path / f"model{suffix}"
    if suffix.endswith("weights.h5"):
        model.save_weights(path)
        model.load_weights(path)
        loaded = model
    else:
        model.save(path)
        loaded = keras.models.load_model(path)
    contents = contents_of(path)
    assert contents.broken == {}
    found = {name: whole(stored) for name, stored in contents.tensors.items()}
    expected = values_of(loaded)
    if package == "tf_keras" and suffix in (".weights.h5", ".keras"):  # which have classes in the place of names
        assert sorted(each.tobytes() for each in found.values()) == sorted(each.tobytes() for each in expected.values())
        assert {"conv1d.kernel", "lstm.cell.recurrent_kernel", "dense_1.bias"} <= set(found)
        return
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_bfloat16(tmp_path: Path, suffix: str) -> None:
    """Keras 3 keeps it as bytes of no kind."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype="bfloat16", name="d")])
    path = tmp_path / f"model{suffix}"
    model.save_weights(path) if "weights" in suffix else model.save(path)
    stored = contents_of(path).tensors["d.kernel"]
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(model.layers[0].kernel, "float32"))
    assert stored.dtype is not None
    assert stored.dtype.name == "bfloat16"
    assert whole(stored).astype("float32").tobytes() == kernel.tobytes()


def test_models_within_models(tmp_path: Path) -> None:
    """The names of both are in the path, as in plans."""
    keras = pytest.importorskip("tf_keras")
    inner = keras.Sequential([keras.layers.Dense(3, name="d", input_shape=(2,))], name="inner")
    model = keras.Sequential([inner, keras.layers.Dense(1, name="e")])
    model.save_weights(tmp_path / "a.h5")
    found = {name: whole(stored) for name, stored in contents_of(tmp_path / "a.h5").tensors.items()}
    expected = values_of(model)
    assert {name: each.tobytes() for name, each in found.items()} == {
        name: each.tobytes() for name, each in expected.items()
    }


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_optimizers_are_no_weights(tmp_path: Path, suffix: str) -> None:
    """Their states are named apart."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="d")])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
    path = tmp_path / f"model{suffix}"
    model.save_weights(path) if "weights" in suffix else model.save(path)
    contents = contents_of(path)
    assert list(contents.tensors) == ["d.kernel", "d.bias"]
    assert contents.other[0].startswith("optimizer")


def test_check_against_a_plan(tmp_path: Path) -> None:
    """`fanin check` compares every bit of a Keras file with a plan."""
    keras = pytest.importorskip("keras")
    import fanin.keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d"), keras.layers.BatchNormalization()])
    recipe = fanin.Recipe.preset("keras", seed=1)
    fanin.keras.initialize(model, recipe)
    model.save(tmp_path / "model.keras")
    report = check(tmp_path / "model.keras", recipe.plan(model))
    assert (bool(report), report.format, len(report.exact)) == (True, "keras", 6)


# ---------------------------------------------------------------- HDF5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a file that a test writes."""
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (3, 4)},
        {"chunks": (3, 4), "compression": "gzip"},
        {"chunks": (5, 7), "compression": "lzf", "shuffle": True},
        {"chunks": (2, 2), "fletcher32": True, "scaleoffset": None},
    ],
)
def test_ways_to_store(path: Path, options: dict[str, Any]) -> None:
    """Contiguous, in chunks, compressed."""
    array = np.arange(5 * 7, dtype="float32").reshape(5, 7)
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=array, **options)
    assert whole(contents_of(path).tensors["w"]).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", "i1", "u2", "i8", "?", ">f4"])
def test_dtypes(path: Path, dtype: str) -> None:
    """Those of NumPy; numbers of the other order are turned."""
    array = np.arange(6).astype(dtype)
    with h5py.File(path, "w") as file:
        file["w"] = array
    found = whole(contents_of(path).tensors["w"])
    assert (found.dtype, found.tolist()) == (array.dtype.newbyteorder("="), array.tolist())


def test_texts_are_no_tensors(path: Path) -> None:
    """They are named apart."""
    with h5py.File(path, "w") as file:
        file["w"], file["note"] = np.ones(3), "text"
    assert contents_of(path).other == ("note",)


def test_links_out_of_the_file(path: Path) -> None:
    """They are not followed, and neither are soft ones."""
    with h5py.File(path.with_name("b.h5"), "w") as file:
        file["w"] = np.ones(3)
    with h5py.File(path, "w") as file:
        file["out"] = h5py.ExternalLink("b.h5", "/w")
        file["w"] = np.zeros(2)
        file["soft"] = h5py.SoftLink("/w")
    assert list(contents_of(path).tensors) == ["w"]


def test_data_out_of_the_file(path: Path) -> None:
    """External and virtual data sets are refused."""
    path.with_name("secret").write_bytes(bytes(24))
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (3,), "f8", external=[(str(path.with_name("secret")), 0, 24)])
    assert "the data of '/w' are in other files" in contents_of(path).broken["a.h5"]
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(path), "w", (3,))
    with h5py.File(path.with_name("v.h5"), "w") as file:
        file.create_virtual_dataset("v", layout)
    assert "are in other files" in contents_of(path.with_name("v.h5")).broken["v.h5"]


def test_data_that_are_not_there(path: Path) -> None:
    """A data set that claims 2**60 elements and was never written is refused."""
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (2**60,), "f4", chunks=(2**10,))
    assert "cannot have 4 EiB" in contents_of(path).broken["a.h5"]


def test_groups_within_one_another(path: Path) -> None:
    """A circle of groups has no end."""
    with h5py.File(path, "w") as file:
        file.create_group("a/b")
        file["a/b/c"] = file["a"]
    assert "groups within one another" in contents_of(path).broken["a.h5"]


def test_a_heap_without_an_end(path: Path) -> None:
    """Free space of no size, on which HDF5's library never comes to an end, is seen before."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense"]
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 40 : heap + 56] = bytes(16)
    path.write_bytes(data)
    assert "free bytes" in contents_of(path).broken["a.h5"]


def test_a_compressed_keras_file(path: Path) -> None:
    """A `.keras` file that another program has packed again."""
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.eye(3)
    packed = path.with_name("a.keras")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, "model.weights.h5")
    assert whole(contents_of(packed).tensors["dense.kernel"]).tolist() == np.eye(3).tolist()


def test_a_keras_file_without_weights(path: Path) -> None:
    """It is said what is missing."""
    with zipfile.ZipFile(path.with_name("a.keras"), "w") as file:
        file.writestr("config.json", "{}")
    assert "it has no model.weights.h5" in contents_of(path.with_name("a.keras")).broken["a.keras"]


@pytest.mark.parametrize("name", ["weights", "packed"])
def test_files_without_a_suffix(path: Path, name: str) -> None:
    """The first bytes say what they are."""
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.eye(3)
    if name == "packed":
        with zipfile.ZipFile(path.with_name(name), "w") as file:
            file.write(path, "model.weights.h5")
    else:
        path.rename(path.with_name(name))
    assert list(contents_of(path.with_name(name)).tensors) == ["dense.kernel"]


def test_without_h5py(path: Path) -> None:
    """The error says what to install."""
    path.write_bytes(b"")
    code = (
        "import sys; sys.modules['h5py'] = None\nfrom pathlib import Path\n"
        f"from fanin.checkpoints.contained import contents_of; contents_of(Path({str(path)!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: h5py is not installed: pip install 'fanin[hdf5]'" in run.stderr
