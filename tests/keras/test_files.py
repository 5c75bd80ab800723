"""Models with fanin.keras's initializers in files: on every backend, with and without fanin."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import fanin
from keras3_kit import (
    ARGUMENTS,
    OWN,
    K,
    L,
    SeedGenerator,
    array,
    assert_as_keras,
    assert_holds,
    keras,
    made,
    ours,
)
from keras_kit import BACKENDS, answers
from strategies import assert_same_bits

FILES = ("keras", "h5", "json")
FORMS = (*FILES, "clone")
# layer → the class of its initializer
CLASS_OF = {**{name: name for name in ARGUMENTS}, "generator": "LecunUniform", "einsum": "HeNormal"}


def every_class() -> Any:
    """A model with a layer for each class, of that name; for a SeedGenerator; and for an einsum."""
    inputs, generator = keras.Input((4,)), SeedGenerator(7, name="seeds")
    layers = [L.Dense(3, kernel_initializer=made(ours, name), name=name) for name in ARGUMENTS]
    layers.append(L.Dense(3, kernel_initializer=ours.LecunUniform(seed=generator), name="generator"))
    layers.append(L.EinsumDense("ab,bcd->acd", (2, 3), kernel_initializer=ours.HeNormal(seed=5), name="einsum"))
    return keras.Model(inputs, [layer(inputs) for layer in layers])


def save(model: Any, path: pathlib.Path) -> None:
    """Writes a model, as the name of the file says."""
    if path.suffix == ".json":
        path.write_text(model.to_json())
    else:
        model.save(path)


def come_again(model: Any, form: str, folder: pathlib.Path) -> Any:
    """A model of a file, or a clone."""
    if form == "clone":
        return keras.models.clone_model(model)
    path = folder / f"model.{form}"
    save(model, path)
    return keras.models.model_from_json(path.read_text()) if form == "json" else keras.models.load_model(path)


@pytest.mark.parametrize("patched", [False, True], ids=["plain", "patched"])
@pytest.mark.parametrize("form", FORMS)
def test_models_come_again(form: str, patched: bool, tmp_path: pathlib.Path) -> None:
    """Models of files and clones have fanin's classes, with the patch or without; configurations and bytes stay."""
    model = every_class()
    if patched:
        ours.patch()
    loaded = come_again(model, form, tmp_path)
    assert [layer.name for layer in loaded.layers[1:]] == list(CLASS_OF)
    for layer, again in zip(model.layers[1:], loaded.layers[1:], strict=True):
        found = again.kernel_initializer
        assert type(found) is getattr(ours, CLASS_OF[layer.name])
        assert found.get_config() == layer.kernel_initializer.get_config()
        assert_same_bits(array(layer.kernel), array(again.kernel))


@pytest.mark.parametrize("form", FORMS)
def test_models_of_keras_come_again(form: str, tmp_path: pathlib.Path) -> None:
    """Models of files and clones have Keras's classes where the model has them."""
    layers = [L.Dense(3, kernel_initializer=made(K, name), name=name) for name in ARGUMENTS]
    inputs = keras.Input((4,))
    loaded = come_again(keras.Model(inputs, [layer(inputs) for layer in layers]), form, tmp_path)
    assert [type(layer.kernel_initializer) for layer in loaded.layers[1:]] == [getattr(K, name) for name in ARGUMENTS]


# Layers that Keras makes of configurations


class Nested(L.Layer):  # pyright: ignore[reportUntypedBaseClass]
    """A layer that reads its initializers by Keras's general function."""

    def __init__(self, initializers: Any, **options: Any) -> None:
        super().__init__(**options)
        self.initializers = [keras.saving.deserialize_keras_object(each) for each in initializers]

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer=self.initializers[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initializers": keras.saving.serialize_keras_object(self.initializers)}


def normal() -> Any:
    """An initializer of fanin's for a layer."""
    return ours.RandomNormal(seed=3)


# layer → shape of its input
REBUILT: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(4, kernel_initializer=normal())), (2, 5, 3)),
    "from_config": (lambda: L.GRU.from_config(L.GRU(4, recurrent_initializer=normal()).get_config()), (2, 5, 3)),
    "RNN of cells": (
        lambda: L.RNN.from_config(L.RNN([L.LSTMCell(4, kernel_initializer=normal()), L.GRUCell(3)]).get_config()),
        (2, 5, 3),
    ),
    "TimeDistributed": (
        lambda: L.TimeDistributed.from_config(L.TimeDistributed(L.Dense(4, kernel_initializer=normal())).get_config()),
        (2, 5, 3),
    ),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3, kernel_initializer=normal()), (2, 5, 3)),
    "Nested": (lambda: Nested.from_config(Nested([K.serialize(normal())]).get_config()), (2, 3)),
    "copied by JSON": (
        lambda: L.Dense.from_config(json.loads(json.dumps(L.Dense(4, kernel_initializer=normal()).get_config()))),
        (2, 3),
    ),
}


@pytest.mark.parametrize("name", REBUILT)
def test_rebuilt_layers(name: str) -> None:
    """Layers that are rebuilt from configurations have fanin's bits wherever an object of fanin's was given."""
    make, shape = REBUILT[name]
    layer = make()
    layer.build(*[shape] * (2 if name == "MultiHeadAttention" else 1))
    shapes = {tuple(variable.shape) for variable in layer.variables}
    drawn = {fanin.RandomNormal(seed=3)(each).tobytes() for each in shapes}
    found = [array(variable).tobytes() for variable in layer.variables]
    expected = {"Bidirectional": 2, "MultiHeadAttention": 4}.get(name, 1)
    assert sum(each in drawn for each in found) == expected


def test_marks_of_others() -> None:
    """A configuration with the mark is fanin's, of every class that Keras has; without mark or module it is Keras's."""
    stft = {"module": "keras.initializers", "class_name": "STFT", "config": {}, "registered_name": None}
    assert type(K.get({**stft, "build_config": {}})) is ours.STFT
    assert type(K.get(stft)) is K.STFT
    assert type(K.get({"class_name": "HeNormal", "config": {"seed": 1}, "build_config": {}})) is K.HeNormal


# Files that this backend has written, on each backend, where there is no fanin

LOADER = """
import json, pathlib, sys
sys.modules["fanin"] = None
import keras

def held(tensor):
    return keras.ops.convert_to_numpy(tensor).tobytes().hex()

nested = json.loads(sys.argv[2])  # which Keras's general function reads
classes = {name: type(keras.saving.deserialize_keras_object(config)).__module__ for name, config in nested.items()}

def described(layer):
    made, shape = layer.kernel_initializer, tuple(layer.kernel.shape)
    theirs = getattr(keras.initializers, type(made).__name__, None)
    return {"class": type(made).__name__, "is Keras's": type(made) is theirs, "kernel": held(layer.kernel),
            "call": held(made(shape))}

found = {}
for file in map(pathlib.Path, json.loads(sys.argv[1])):
    is_json = file.suffix == ".json"
    model = keras.models.model_from_json(file.read_text()) if is_json else keras.models.load_model(file)
    found[file.suffix[1:]] = {layer.name: described(layer) for layer in model.layers[1:]}
print(json.dumps({**found, "nested": classes}))
"""
Found = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], list[str]]:
    """The kernels of a model, by layer, and the files with it."""
    model, folder = every_class(), tmp_path_factory.mktemp("files")
    paths = [folder / f"model.{form}" for form in FILES]
    for path in paths:
        save(model, path)
    return {layer.name: array(layer.kernel) for layer in model.layers[1:]}, list(map(str, paths))


@pytest.fixture(scope="module", params=BACKENDS)
def loaded(request: pytest.FixtureRequest, written: tuple[Any, list[str]]) -> Found:
    """A backend, and what a process on it that cannot import fanin finds in the files, by form and layer."""
    pytest.importorskip(request.param)
    nested = {name: keras.saving.serialize_keras_object(made(ours, name)) for name in ARGUMENTS}
    return request.param, answers(LOADER, written[1], nested, KERAS_BACKEND=request.param, PYTHONPATH="")


@pytest.mark.parametrize("name", CLASS_OF)
@pytest.mark.parametrize("form", FILES)
def test_files_load_without_fanin(form: str, name: str, loaded: Found, written: tuple[dict[str, Any], Any]) -> None:
    """Models that any backend wrote load on any backend without fanin: Keras's classes, the same weights."""
    (backend, found), kernel = loaded, written[0][name]
    assert list(found[form]) == list(CLASS_OF)
    layer = found[form][name]
    assert layer["class"] == CLASS_OF[name]
    assert layer["is Keras's"]

    def values(key: str) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(layer[key]), kernel.dtype).reshape(kernel.shape)

    if form != "json":
        assert_same_bits(values("kernel"), kernel)
    elif backend == "tensorflow":  # where Keras's own classes draw fanin's bytes
        assert_as_keras(name, values("kernel"), kernel)
    if backend == "tensorflow" and name in ARGUMENTS:
        assert_as_keras(name, values("call"), kernel)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configurations_load_without_fanin(name: str, loaded: Found) -> None:
    """So do single configurations, by Keras's general function."""
    assert loaded[1]["nested"][name].startswith("keras.src.initializers.")


# Users' own classes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OWN)
def test_own_classes(name: str, form: str, tmp_path: pathlib.Path) -> None:
    """A class of one's own is registered, draws its values and comes back from files under its name."""
    own, config = OWN[name]
    carrier_class = ours.as_keras(own)
    assert carrier_class is ours.as_keras(own)
    assert issubclass(carrier_class, K.Initializer)
    assert keras.saving.get_registered_name(carrier_class) == f"fanin>{name}"
    layer = L.Dense(3, kernel_initializer=carrier_class(**config))
    again = come_again(keras.Sequential([keras.Input((4,)), layer]), form, tmp_path).layers[0]
    assert type(again.kernel_initializer) is carrier_class
    assert again.kernel_initializer.get_config().items() >= config.items()
    for kernel in (layer.kernel, again.kernel, ours.as_keras(own(**config))((4, 3))):
        assert_holds(kernel, own(**config)((4, 3)))
