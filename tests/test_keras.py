"""fanin.keras on each backend of Keras 3, which a process chooses once: so each has processes of its own."""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

BACKENDS = ("tensorflow", "jax", "torch")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


def run_python(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """What Python returned and printed, run with these arguments and variables."""
    command, variables = [sys.executable, *map(str, arguments)], {**os.environ, **QUIET, **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


def printed(*arguments: object, **environment: str) -> str:
    """What Python printed; it must not have failed."""
    code, output, errors = run_python(*arguments, **environment)
    assert code == 0, output + errors
    return output


def need(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips a test where Keras 3 or the backend is missing."""
    pytest.importorskip(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    pytest.importorskip("keras", minversion="3.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the files go."""
    return tmp_path_factory.mktemp("keras")


@functools.cache
def run_backend(backend: str, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Runs keras_backend.py on a backend, once: where it put its files, and what it printed."""
    path = folder / f"keras_on_{backend}"
    path.mkdir()
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", pathlib.Path(__file__).with_name("keras_backend.py"))
    return path, "".join(run_python(*arguments, KERAS_BACKEND=backend, FANIN_KERAS_FILES=str(path))[1:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_backend(backend: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of keras_backend.py passes on the backend, and none is skipped."""
    need(backend, monkeypatch)
    output = run_backend(backend, folder)[1]
    assert re.search(r"^\d{3,} passed in ", output, re.MULTILINE), output


# Models of the folders that are its arguments, where there is no fanin.
LOADER = """
import sys
sys.modules["fanin"] = None
import pathlib, keras, numpy as np
array = keras.ops.convert_to_numpy
on_tensorflow = keras.backend.backend() == "tensorflow"
def same(name, ours, theirs):
    return abs(ours - theirs).max() < 1e-5 if name == "Orthogonal" else ours.tobytes() == theirs.tobytes()
for path in [pathlib.Path(folder, f"model.{form}") for folder in sys.argv[1:] for form in ("keras", "h5", "json")]:
    kernels = np.load(path.parent / "weights.npz")
    text = path.suffix == ".json"
    model = keras.models.model_from_json(path.read_text()) if text else keras.models.load_model(path)
    assert [layer.name for layer in model.layers[1:]] == kernels.files
    for layer in model.layers[1:]:
        name, made = type(layer.kernel_initializer).__name__, kernels[layer.name]
        assert type(layer.kernel_initializer) is getattr(keras.initializers, name)
        assert layer.name in (name, "generator", "einsum")
        if text and on_tensorflow:
            assert same(name, array(layer.kernel), made), (path, name)
        if not text:
            assert array(layer.kernel).tobytes() == made.tobytes(), (path, name)
        if on_tensorflow and layer.name == name:
            assert same(name, array(layer.kernel_initializer(made.shape)), made), (path, name)
        print(path, layer.name)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_load_without_fanin(backend: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that any backend wrote load on any backend without fanin: Keras's classes, the same weights."""
    for each in BACKENDS:
        need(each, monkeypatch)
    folders = [run_backend(writer, folder)[0] for writer in BACKENDS]
    lines = printed("-c", LOADER, *folders, KERAS_BACKEND=backend, PYTHONPATH="").splitlines()
    assert len(lines) == 3 * 3 * 17


# A script that knows nothing of fanin.
SCRIPT = """
import hashlib
import {keras} as keras
layers = keras.layers
keras.utils.set_random_seed(42)
image = keras.Input((12, 12, 3))
hidden = layers.Conv2D(8, 3, kernel_initializer="he_normal")(image)
hidden = layers.DepthwiseConv2D(3)(layers.BatchNormalization()(hidden))
hidden = layers.Dense(10, kernel_initializer="lecun_uniform")(layers.Flatten()(layers.Dropout(0.3)(hidden)))
first = keras.Model(image, layers.Dense(3, bias_initializer="random_normal")(hidden))
text = keras.Sequential([keras.Input((7,)), layers.Embedding(50, 6)])
text.add(layers.LSTM(5, recurrent_initializer="glorot_uniform"))
text.add(layers.Dense(2, kernel_initializer="TruncatedNormal"))
for layer in first.layers + text.layers:
    for weight in layer.get_weights():
        print(type(layer).__name__, weight.shape, hashlib.sha256(weight.tobytes()).hexdigest())
"""
# The same models, and fanin's classes and seeds by name.
EXPLICIT = SCRIPT
for before, after in {
    "import hashlib": "import fanin, hashlib, fanin.keras as ours",
    "keras.utils.set": "fanin.utils.set",
    '"he_normal"': "ours.HeNormal()",
    '"lecun_uniform"': "ours.LecunUniform()",
    '"glorot_uniform"': "ours.GlorotUniform(), kernel_initializer=ours.GlorotUniform()",
    '"TruncatedNormal"': "ours.TruncatedNormal()",
    'bias_initializer="random_normal"': "ours.GlorotUniform(), ours.RandomNormal()",
    "DepthwiseConv2D(3": "DepthwiseConv2D(3, depthwise_initializer=ours.GlorotUniform()",
    "Embedding(50, 6": "Embedding(50, 6, ours.RandomUniform()",
}.items():
    assert SCRIPT.count(before) == 1
    EXPLICIT = EXPLICIT.replace(before, after)
EXPLICIT = EXPLICIT.replace("Dense(3, ours", "Dense(3, None, True, ours")


@pytest.fixture(scope="module")
def weights_of_tf_keras() -> str:
    """What the script prints with tf_keras alone."""
    pytest.importorskip("tf_keras")
    return printed("-c", SCRIPT.format(keras="tf_keras"))


def test_script_with_tf_keras_patched(weights_of_tf_keras: str) -> None:
    """The script has the weights of tf_keras alone under `fanin.tf_keras.patch()`."""
    begin = "import fanin.tf_keras; fanin.tf_keras.patch()"
    assert printed("-c", begin + SCRIPT.format(keras="tf_keras")) == weights_of_tf_keras
    assert len(weights_of_tf_keras.splitlines()) == 18


@pytest.mark.parametrize("backend", BACKENDS)
def test_script_with_keras(backend: str, weights_of_tf_keras: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script has tf_keras's weights in Keras 3 under the patch, and so has one that names fanin's classes."""
    need(backend, monkeypatch)
    begin = "import fanin.keras; fanin.keras.patch()"
    both = f"{begin}{SCRIPT}\nfanin.keras.unpatch()\n{EXPLICIT}".format(keras="keras")
    assert printed("-c", both, KERAS_BACKEND=backend) == 2 * weights_of_tf_keras


def test_missing_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Keras 3, the import says what to install."""
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "fanin.keras", raising=False)
    with pytest.raises(ImportError, match=re.escape("Keras 3 is not installed: pip install 'fanin[keras]'.")):
        importlib.import_module("fanin.keras")
