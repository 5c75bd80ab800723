"""fanin.tf_keras in files, with fanin and without."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from strategies import CLASSES
from tf_keras_kit import (
    FORMATS,
    HDF5,
    Bounded,
    F,
    K,
    L,
    assert_all_same,
    assert_same,
    of,
    tf_keras,
)

their_module: Any = importlib.import_module("tf_keras.src.initializers")
backend: Any = importlib.import_module("tf_keras.src.backend")


def every_class(library: Any) -> Any:
    """A model with a layer for each class, of that name."""
    layers = [L.Dense(3, kernel_initializer=of(library, name), name=name) for name in CLASSES]
    model = tf_keras.Sequential(layers, name="every_class")
    model.build((None, 3))
    return model


def own_class() -> Any:
    """A model with a class of one's own."""
    model = tf_keras.Sequential([L.Dense(3, kernel_initializer=F.as_tf_keras(Bounded)(0.5, seed=3), name="own")])
    model.build((None, 3))
    return model


WITHOUT_FANIN = """
import json, sys
sys.modules["fanin"] = None
import numpy as np, tf_keras

def initializer(made, keys):
    return [type(made).__module__, type(made).__name__, {key: getattr(made, key) for key in keys},
            np.asarray(made((3, 3))).tobytes().hex()]

def layers(model):
    return {each.name: [initializer(each.kernel_initializer, configs[each.name]["config"]),
                        np.asarray(each.kernel).tobytes().hex(), each.get_config()] for each in model.layers}

def outcome(make):
    try:
        return make()
    except Exception as error:
        return str(error)

files, configs = map(json.loads, sys.argv[1:])
found = {}
for name in files:
    model = tf_keras.models.load_model("every-" + name)
    found["loaded " + name] = layers(model)
    found["cloned " + name] = layers(tf_keras.models.clone_model(model))
    found["own " + name] = outcome(lambda: repr(tf_keras.models.load_model("own-" + name).layers[0].kernel_initializer))
import keras
for name in files[:2]:
    found["keras " + name] = layers(keras.models.load_model("every-" + name, compile=False))
found["configs"] = {name: initializer(keras.initializers.deserialize(config), config["config"])
                    for name, config in configs.items()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def without_fanin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process without fanin finds in saved models, and Keras 3 in them and in configurations."""
    pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("files")
    for name in FORMATS:
        every_class(F).save(folder / f"every-{name}")
        own_class().save(folder / f"own-{name}")
    configs = {name: K.serialize(of(F, name)) for name in CLASSES}
    command = [sys.executable, "-c", WITHOUT_FANIN, json.dumps(FORMATS), json.dumps(configs)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["KERAS_BACKEND"] = "tensorflow"
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.filterwarnings(HDF5)
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("file", FORMATS)
def test_files_load_without_fanin(file: str, name: str, without_fanin: dict[str, Any]) -> None:
    """Where fanin is not installed, class, configuration, draws and weights are tf_keras's, saved and of a clone."""
    theirs, kernel = of(K, name), of(fanin, name)((3, 3))
    for action in ("loaded", "cloned"):
        initializer, weights, config = without_fanin[f"{action} {file}"][name]
        assert initializer == [
            type(theirs).__module__, name, theirs.get_config(), theirs((3, 3)).numpy().tobytes().hex()
        ]  # fmt: skip
        assert config == L.Dense(3, kernel_initializer=theirs, name=name).get_config()
        weights = np.frombuffer(bytes.fromhex(weights), "f4").reshape(3, 3)
        assert_same(weights, kernel, name if action == "cloned" else "")


@pytest.mark.filterwarnings(HDF5)
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("file", FORMATS[:2])
def test_files_open_in_keras_3(file: str, name: str, without_fanin: dict[str, Any]) -> None:
    """Keras 3 finds its own class in the files and in a configuration, with the same arguments and draws."""
    kernel = of(fanin, name)((3, 3))
    initializer, weights, _ = without_fanin[f"keras {file}"][name]
    assert weights == kernel.tobytes().hex()
    for module, found, arguments, drawn in (initializer, without_fanin["configs"][name]):
        assert module.startswith("keras.src.initializers.")
        assert (found, arguments) == (name, of(K, name).get_config())
        assert_same(np.frombuffer(bytes.fromhex(drawn), "f4").reshape(3, 3), kernel, name)


@pytest.mark.filterwarnings(HDF5)
@pytest.mark.parametrize("file", FORMATS)
def test_own_classes_in_files(file: str, tmp_path: Path, without_fanin: dict[str, Any]) -> None:
    """A class of one's own loads from every format where it is registered; elsewhere tf_keras says what is missing."""
    model = own_class()
    model.save(tmp_path / file)
    loaded = tf_keras.models.load_model(tmp_path / file)
    assert loaded.layers[0].kernel_initializer == model.layers[0].kernel_initializer == F.as_tf_keras(Bounded(0.5, 3))
    models = loaded, tf_keras.models.clone_model(loaded)
    assert_all_same([each.layers[0].kernel for each in models], [Bounded(0.5, seed=3)((3, 3))] * 2)
    missing = "Unknown initializer: 'Bounded'"
    if file == "model":  # tf_keras restores such a layer without its arguments
        assert without_fanin[f"own {file}"].endswith("object has no attribute 'kernel_initializer'")
        return
    assert missing in without_fanin[f"own {file}"]
    with pytest.MonkeyPatch.context() as unregistered:  # though fanin.tf_keras is there
        for name in ("Bounded", "fanin>Bounded"):
            unregistered.delitem(tf_keras.saving.get_custom_objects(), name)
        with pytest.raises((TypeError, ValueError), match=missing):
            tf_keras.models.load_model(tmp_path / file)


@pytest.mark.parametrize("name", CLASSES)
def test_configurations_of_layers(name: str) -> None:
    """A layer's whole configuration, and an initializer's in both formats, is what tf_keras writes for its own."""
    for seed in (3, None):
        ours, theirs = of(F, name, seed), of(K, name, seed)
        layers = [L.Dense(3, kernel_initializer=each, bias_initializer=each, name="dense") for each in (ours, theirs)]
        assert json.dumps(layers[0].get_config()) == json.dumps(layers[1].get_config())
        for legacy in (False, True):
            assert json.dumps(K.serialize(ours, legacy)) == json.dumps(K.serialize(theirs, legacy))
            assert type(K.deserialize(K.serialize(ours, legacy), use_legacy_format=legacy)) is type(theirs)


@pytest.mark.filterwarnings(HDF5)
@pytest.mark.parametrize("file", FORMATS)
def test_files_load_with_fanin(file: str, tmp_path: Path) -> None:
    """Files load as tf_keras's classes, or as fanin's while the patch is in force; in them is nothing of fanin."""
    every_class(F).save(tmp_path / file)
    for library, force in ((K, nullcontext), (F, F.patch), (K, nullcontext)):
        with force():
            loaded = tf_keras.models.load_model(tmp_path / file)
            for layer in (*loaded.layers, *tf_keras.models.model_from_json(loaded.to_json()).layers):
                assert type(layer.kernel_initializer) is getattr(library, layer.name)
    if file == "model.keras":
        with zipfile.ZipFile(tmp_path / file) as written:
            config = written.read("config.json")
        every_class(K).save(tmp_path / file)
        with zipfile.ZipFile(tmp_path / file) as written:
            assert written.read("config.json") == config
