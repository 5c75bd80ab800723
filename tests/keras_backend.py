"""What fanin.keras does on one backend of Keras 3. test_keras.py runs this, in a process for each KERAS_BACKEND."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import json
import math
import os
import pathlib
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fanin
import fanin.keras as ours
from catalogue import CATALOGUE, FLOATS
from fanin.initializers import NAMES
from strategies import FILLS, FIXED_SCALINGS, assert_same_bits

keras: Any = importlib.import_module("keras")
theirs: Any = importlib.import_module("keras.src.initializers")
rng_utils: Any = importlib.import_module("keras.src.utils.rng_utils")
framework: Any = importlib.import_module(keras.backend.backend())
K, L, SeedGenerator = keras.initializers, keras.layers, keras.random.SeedGenerator
ON_TENSORFLOW, ON_JAX = framework.__name__ == "tensorflow", framework.__name__ == "jax"
PEER = K if ON_TENSORFLOW else ours  # whose bytes are fanin's
FILES = pathlib.Path(os.environ["FANIN_KERAS_FILES"])  # where the files go that other processes load

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras's own variables
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning"),  # JAX's
]

ARGUMENTS = {type(made).__name__: made.get_config() for made, _, _ in reversed(CATALOGUE.values())}
SEEDED = [name for name in ARGUMENTS if name not in FILLS]
SCALINGS = (*FIXED_SCALINGS, "VarianceScaling")
KERAS_NAMES = {name: cls.__name__ for name, cls in theirs.ALL_OBJECTS_DICT.items() if cls.__name__ in ARGUMENTS}


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    """Ends the patch after each test."""
    yield
    ours.unpatch()


def made(library: Any, name: str, **more: Any) -> Any:
    """A new initializer of a class."""
    return getattr(library, name)(**{**ARGUMENTS[name], **more})


def array(tensor: Any) -> np.ndarray:
    """A tensor or variable of the backend as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def assert_holds(tensor: Any, values: np.ndarray) -> None:
    """A tensor or variable has these bytes; JAX without x64 has float32 for float64."""
    assert_same_bits(values.astype(np.float32) if ON_JAX and values.dtype == np.float64 else values, array(tensor))


def assert_as_keras(name: str, tensor: Any, other: Any) -> None:
    """The bytes of Keras's own class; of Orthogonal the values to rounding."""
    if name == "Orthogonal":
        assert np.abs(array(tensor) - array(other)).max() < 1e-5
    else:
        assert_same_bits(array(tensor), array(other))


def drawn_in_turn(name: str, seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """What a class makes of the states of a SeedGenerator, one for each shape: (seed, 0), (seed, 1), …"""
    return [made(fanin, name).distribution(shape).draw((seed, number)) for number, shape in enumerate(shapes)]


# Calls and layers


@pytest.mark.parametrize("dtype", [None, *FLOATS])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_calls_and_dense_kernels(name: str, dtype: str | None) -> None:
    """Calls, the next one, regions and Dense kernels: tensors of the backend and the dtype with plain fanin's bytes."""
    carrier, plain, named = made(ours, name), made(fanin, name), dtype or "float32"
    for more in ({}, {}, {"region": np.s_[1:, 2]}):
        tensor = carrier((4, 3), dtype=dtype, **more)
        assert isinstance(tensor, framework.Array if ON_JAX else framework.Tensor)
        assert keras.backend.standardize_dtype(tensor.dtype) == ("float32" if ON_JAX and dtype == "float64" else named)
        assert_holds(tensor, plain((4, 3), named, **more))
    their_dtype = getattr(framework.numpy if ON_JAX else framework, named)
    assert_holds(carrier([2, 2], their_dtype), plain((2, 2), named))
    keras.config.set_floatx(named)
    try:
        assert_holds(made(ours, name)((4, 3)), made(fanin, name)((4, 3), named))
    finally:
        keras.config.set_floatx("float32")
    if not ON_JAX:
        with pytest.raises(ValueError, match="`layout` must be None: only the JAX backend has layouts"):
            carrier((2, 2), layout=object())
    for whole in ("int32", "bool", "uint8") if name in ("Zeros", "Ones") else ():
        assert_holds(carrier((2, 0, 3), whole), plain((2, 0, 3), whole))
        assert_holds(carrier((), whole), plain((), whole))
    for policy in (named, f"mixed_{named}") if named in ("float16", "bfloat16") else (named,):
        layer = L.Dense(3, kernel_initializer=made(ours, name), dtype=keras.DTypePolicy(policy))
        layer.build((None, 4))
        assert_holds(layer.kernel, made(fanin, name)((4, 3), "float32" if "mixed" in policy else named))


# layer → (arguments, shape of the input)
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Dense": ({"units": 3}, (2, 4)),
    **{f"Conv{n}D": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": ({"kernel_size": 2, "depth_multiplier": 2}, (1, *(5,) * n, 4)) for n in (1, 2)},
    **{f"SeparableConv{n}D": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2)},
    "Embedding": ({"input_dim": 11, "output_dim": 5}, (2, 6)),
    **{name: ({"units": 3}, (2, 5, 4)) for name in ("SimpleRNN", "LSTM", "GRU")},
    **{name: ({}, (2, 4)) for name in ("BatchNormalization", "LayerNormalization")},
}


def initializer_arguments(name: str) -> list[str]:
    """The arguments of a layer that are initializers."""
    return [key for key in inspect.signature(getattr(L, name)).parameters if key.endswith("_initializer")]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    """Each weight of a layer that has run has the bytes of the initializer that was given for it."""
    (arguments, shape), keys = LAYERS[name], initializer_arguments(name)
    given = {key: ("Orthogonal" if "recurrent" in key else "HeUniform", seed) for seed, key in enumerate(keys)}
    layer = getattr(L, name)(**arguments, **{key: getattr(ours, cls)(seed=seed) for key, (cls, seed) in given.items()})
    layer(np.zeros(shape, "int32" if name == "Embedding" else "float32"))
    assert len(layer.weights) == len(keys)
    for weight in layer.weights:
        cls, seed = given.get(f"{weight.name.removesuffix('_kernel')}_initializer", given[keys[0]])
        plain = getattr(fanin, cls)(seed=seed)
        forget_gate = name == "LSTM" and weight.name == "bias"
        parts = [plain((3,)), fanin.Ones()((3,)), plain((6,))] if forget_gate else [plain(tuple(weight.shape))]
        assert_holds(weight, np.concatenate(parts))


class Network(keras.Model):
    """A model of two layers that are built when it first runs."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.first, self.second = layers

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


# way → (a model of two layers, how it first runs)
WAYS: dict[str, tuple[Any, Any]] = {
    "sequential": (lambda layers: keras.Sequential([keras.Input((4,)), *layers]), None),
    "functional": (lambda layers: keras.Model((x := keras.Input((4,))), layers[1](layers[0](x))), None),
    "called": (keras.Sequential, lambda model, x, _: model(x)),
    "subclassed": (Network, lambda model, x, _: model(x)),
    "predict": (Network, lambda model, x, _: model.predict(x, verbose=0)),
    "train_on_batch": (Network, lambda model, x, y: model.train_on_batch(x, y)),
    "fit": (Network, lambda model, x, y: model.fit(x, y, verbose=0)),
}
if ON_TENSORFLOW:
    WAYS["function"] = (Network, lambda model, x, _: framework.function(lambda x: model.second(model.first(x)))(x))


@pytest.mark.parametrize("seed", ["integer", "none", "generator"])
@pytest.mark.parametrize("way", WAYS)
def test_models(way: str, seed: str) -> None:
    """However a model is built, an initializer of two of its layers makes its first tensor and then its second."""
    fanin.utils.set_random_seed(8)
    plain, (make, run) = fanin.HeNormal(seed=3 if seed == "integer" else None), WAYS[way]
    expected = [plain((4, 5)), plain((5, 2))]
    if seed == "generator":
        expected = drawn_in_turn("HeNormal", 3, (4, 5), (5, 2))
    fanin.utils.set_random_seed(8)
    initializer = ours.HeNormal(seed={"integer": 3, "none": None, "generator": SeedGenerator(3)}[seed])
    model = make([L.Dense(units, kernel_initializer=initializer) for units in (5, 2)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    if run is not None:
        run(model, np.ones((3, 4), "float32"), np.ones((3, 2), "float32"))
    for values, weight in zip(expected, model.get_weights()[::2], strict=True):
        assert_same_bits(values, weight)


# Einsum kernels


def with_fans(name: str, seed: int, shape: tuple[int, ...], axes: Any) -> np.ndarray:
    """A scaling's tensor for Keras 3's fans, by the initializer without fans that it comes down to."""
    rule = made(K, name)
    fan_in, fan_out = theirs.random_initializers.compute_fans(shape, *axes)
    scale = rule.scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[rule.mode]
    if rule.distribution == "uniform":
        return fanin.RandomUniform(-math.sqrt(3 * scale), math.sqrt(3 * scale), seed=seed)(shape)
    if rule.distribution == "untruncated_normal":
        return fanin.RandomNormal(0.0, math.sqrt(scale), seed=seed)(shape)
    return fanin.TruncatedNormal(0.0, math.sqrt(scale) / 0.87962566103423978, seed=seed)(shape)


# equation → (output_shape, shape of the input, input and output axes of the kernel)
EQUATIONS: dict[str, tuple[Any, tuple[int | None, ...], Any]] = {
    "abc,cde->abde": ((None, 4, 6), (None, 3, 5), ([0], [1, 2])),
    "abcd,cde->abe": ((None, 7), (None, 3, 4, 5), ([0, 1], [2])),
    "...x,xy->...y": (6, (None, 3, 5), ([0], [1])),
}


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("name", SCALINGS)
def test_einsum_kernels(name: str, equation: str) -> None:
    """EinsumDense has Keras 3's fans and, on TensorFlow, its weights; a clone of an unseeded one takes its seed."""
    output_shape, input_shape, axes = EQUATIONS[equation]
    kernels, unseeded = [], made(ours, name, seed=None)
    carried = ours.as_keras(made(fanin, name))
    for initializer in (made(ours, name), carried, ours.get(made(fanin, name)), unseeded, made(PEER, name)):
        layer = L.EinsumDense(equation, output_shape, kernel_initializer=initializer)
        layer.build(input_shape)
        kernels.append(layer.kernel)
    assert type(unseeded.seed) is int
    assert unseeded.get_config()["seed"] is None
    for kernel, seed in zip(kernels, [*[ARGUMENTS[name]["seed"]] * 3, unseeded.seed], strict=False):
        assert_holds(kernel, with_fans(name, seed, tuple(kernel.shape), axes))
    assert_as_keras(name, kernels[0], kernels[4])
    assert_holds(unseeded((3, 4)), made(fanin, name, seed=unseeded.seed)((3, 4)))


@pytest.mark.parametrize("seed", ["integer", "generator"])
@pytest.mark.parametrize("name", ["GlorotUniform", "HeNormal", "RandomNormal", "VarianceScaling"])
def test_attention(name: str, seed: str) -> None:
    """MultiHeadAttention's kernels have Keras 3's fans and, on TensorFlow, all of its weights are Keras's own."""
    layers = []
    for library in (ours, PEER):
        initializer = made(library, name, seed=SeedGenerator(9) if seed == "generator" else 9)
        layers.append(L.MultiHeadAttention(4, 16, value_dim=8, kernel_initializer=initializer))
        layers[-1].build((None, 5, 32), (None, 5, 32))
    assert [weight.name for weight in layers[0].weights] == ["kernel", "bias"] * 4
    for weight, other in zip(layers[0].weights, layers[1].weights, strict=True):
        axes, shape = ([0, 1], [2]) if "attention_output" in weight.path else ([0], [1, 2]), tuple(weight.shape)
        if weight.name == "kernel":
            plain = made(fanin, name, seed=9)(shape)
            assert_holds(weight, with_fans(name, 9, shape, axes) if name in SCALINGS else plain)
        assert_as_keras(name, weight, other)


@pytest.mark.parametrize("axes", [([0], [1, 2]), ((0, -1), (1,)), ([2], None), (None, None)])
@pytest.mark.parametrize("name", SCALINGS)
def test_axes(name: str, axes: Any) -> None:
    """`input_axes` and `output_axes` come last, are attributes and config keys, survive copies and change the fans."""
    more = dict(zip(("input_axes", "output_axes"), axes, strict=True))
    carrier, other = made(ours, name, **more), made(K, name, **more)
    copies = [carrier.clone(), copy.deepcopy(carrier), ours.as_keras(carrier), ours.get(K.serialize(other))]
    for each in (carrier, getattr(ours, name)(*ARGUMENTS[name].values(), *axes), *copies):
        assert each.get_config() == other.get_config()
        attributes = {"scale", "mode", "distribution", "seed", *more}
        assert all(getattr(each, key) == getattr(other, key) for key in attributes)
        assert_holds(each((3, 4, 5)), with_fans(name, ARGUMENTS[name]["seed"], (3, 4, 5), axes))
    calls = (made(library, name, **more)((3, 4, 5), "float16") for library in (ours, PEER))
    assert_as_keras(name, *calls)
    assert list(inspect.signature(type(carrier)).parameters)[-3:] == ["seed", *more]


# Seed generators and placeholders


@pytest.mark.parametrize("name", SEEDED)
def test_seed_generators(name: str) -> None:
    """A SeedGenerator advances at each call and is written as by Keras; the values are Keras's own on TensorFlow."""
    generator = SeedGenerator(77)
    carrier, other = made(ours, name, seed=generator), made(K, name, seed=generator)
    peer = made(PEER, name, seed=SeedGenerator(77))
    shapes = [(4, 3), (4, 3), (2, 5)]
    expected = drawn_in_turn(name, 77, *shapes)
    for shape, values in zip(shapes, expected, strict=True):
        tensor = carrier(shape)
        assert_holds(tensor, values)
        assert_as_keras(name, tensor, peer(shape))
    assert array(generator.state).tolist() == [77, 3]
    assert K.serialize(carrier) == K.serialize(other)
    described = json.loads(json.dumps(K.serialize(carrier)))
    for each in (carrier.clone(), type(carrier)(**described["config"]), ours.get(described)):
        assert type(each) is type(carrier)
        for shape, values in zip(shapes, expected, strict=True):
            assert_holds(each(shape), values)
    assert carrier.seed is copy.copy(carrier).seed is ours.as_keras(carrier).seed is generator


@pytest.mark.parametrize("seed", ["integer", "none", "generator"])
@pytest.mark.parametrize("name", ["HeNormal", "RandomNormal", "Orthogonal"])
def test_placeholders(name: str, seed: str) -> None:
    """Calls in a stateless scope neither count, warn, draw a seed nor advance a generator; the variable is as ever."""
    generator = SeedGenerator(6)
    idle, initializer = (made(ours, name, seed={"integer": 6, "none": None}.get(seed, generator)) for _ in range(2))
    fanin.utils.set_random_seed(31)
    with keras.StatelessScope():
        variable = keras.Variable(initializer, (4, 3))
        for _ in range(2):
            shapes = {tuple(each.shape) for each in (idle((4, 3)), initializer((4, 3)), variable.value)}
            assert shapes == {(4, 3)}
    assert array(generator.state).tolist() == [6, int(seed == "generator")]
    fanin.utils.set_random_seed(31)
    plain = made(fanin, name, seed=None if seed == "none" else 6)
    assert_holds(variable, plain((4, 3)))
    if seed == "integer":
        assert_holds(initializer((4, 3)), plain((4, 3)))


# Layouts

# (shape of the mesh, axes of the layout, number of distinct pieces)
LAYOUTS = [
    ((8,), (None, "model"), 8),
    ((2, 4), (None, "model"), 4),
    ((2, 4), ("batch", "model"), 8),
    ((4, 2), ("batch", None), 4),
    ((4, 2), (None, None), 1),
]
if ON_JAX:

    def mesh(*lengths: int) -> Any:
        """A mesh of the eight devices."""
        names = ["batch", "model"][-len(lengths) :]
        return keras.distribution.DeviceMesh(lengths, names, keras.distribution.list_devices())

    @pytest.fixture
    def pieces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The tensors and pieces of tensors that are made from here on."""
        seen: list[str] = []
        room: Any = fanin.distributions.Distribution.room

        def noted(self: Any, region: Any = None, out: Any = None) -> np.ndarray:
            seen.append(f"{self.shape}{region}")
            return room(self, region, out)

        monkeypatch.setattr(fanin.distributions.Distribution, "room", noted)
        return seen

    @pytest.mark.parametrize(("lengths", "axes", "number"), LAYOUTS)
    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_layouts(name: str, lengths: Any, axes: Any, number: int, pieces: list[str]) -> None:
        """A sharded array has the unsharded bytes and the sharding asked for; each distinct piece is made once."""
        layout = keras.distribution.TensorLayout(axes, mesh(*lengths))
        for dtype, given in zip(FLOATS, [layout, layout.backend_layout] * 2, strict=True):
            pieces.clear()
            tensor = made(ours, name)((8, 16), dtype, layout=given)
            assert len(pieces) == len(set(pieces)) == number
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
    def test_distributions(kind: str, pieces: list[str]) -> None:
        """A distributed model has the unsharded bytes, sharded as its layouts say, each piece made once, and trains."""
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
            assert len(pieces) == len(set(pieces)) == 3 * number
            for name, shape, spec, weight in zip(names, shapes, specs, model.weights, strict=True):
                wanted = framework.sharding.PartitionSpec(*spec)
                wanted = framework.sharding.NamedSharding(distribution.device_mesh.backend_mesh, wanted)
                assert weight.value.sharding.is_equivalent_to(wanted, len(shape))
                assert_holds(weight, made(fanin, name)(shape))
            model.compile("sgd", "mse")
            before = model.get_weights()
            model.fit(np.ones((16, 6)), np.ones((16, 8)), batch_size=8, verbose=0)
        assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


# Files


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configurations(name: str) -> None:
    """What Keras writes for an initializer is what it writes for its own, but for Identity's gain, after calls too."""
    for more in ({}, {"seed": None}) if name in SEEDED else ({},):
        carrier, other = made(ours, name, **more), made(K, name, **more)
        assert isinstance(carrier, type(other))
        for calls in (0, 1):
            for _ in range(calls):
                carrier((3, 3))
            for write in (K.serialize, keras.saving.serialize_keras_object, lambda each: each.get_config()):
                expected = write(other)
                if name == "Identity":
                    expected.get("config", expected)["gain"] = -0.3
                assert write(carrier) == json.loads(json.dumps(write(carrier))) == expected


FORMS = ("keras", "h5", "json", "clone")


def come_again(model: Any, form: str, folder: pathlib.Path) -> Any:
    """A model of a file, or a clone."""
    path = folder / f"model.{form}"
    if form == "clone":
        return keras.models.clone_model(model)
    if form == "json":
        path.write_text(model.to_json())
        return keras.models.model_from_json(path.read_text())
    model.save(path)
    return keras.models.load_model(path)


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_models_come_again(form: str, patched: bool, tmp_path: pathlib.Path) -> None:
    """Models of files and clones have Keras's own classes, under the patch fanin's; configurations and bytes stay."""
    inputs, generator = keras.Input((4,)), SeedGenerator(7, name="seeds")
    layers = [L.Dense(3, kernel_initializer=made(ours, name), name=name) for name in ARGUMENTS]
    layers.append(L.Dense(3, kernel_initializer=ours.LecunUniform(seed=generator), name="generator"))
    layers.append(L.EinsumDense("ab,bcd->acd", (2, 3), kernel_initializer=ours.HeNormal(seed=5), name="einsum"))
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    if patched:
        ours.patch()
    else:
        kernels: dict[str, Any] = {layer.name: array(layer.kernel) for layer in layers}
        np.savez(FILES / "weights.npz", **kernels)
    loaded = come_again(model, form, tmp_path if patched else FILES)
    for layer, again in zip(layers, loaded.layers[1:], strict=True):
        name, found = type(layer.kernel_initializer).__name__, again.kernel_initializer
        assert type(found) is getattr(ours if patched else K, name)
        config = {"gain": found.gain} if name == "Identity" else found.get_config()
        assert config == layer.kernel_initializer.get_config()
        if patched or form in ("keras", "h5"):
            assert_same_bits(array(layer.kernel), array(again.kernel))
        elif ON_TENSORFLOW:
            assert_as_keras(name, layer.kernel, again.kernel)


# Users' own classes


class Smaller(fanin.Initializer):
    """A class that makes its values itself, by Keras 3's plainest signature."""

    def __init__(self, gain: float, **options: int) -> None:
        self.gain, self.options = gain, options

    def __call__(self, shape: Any, dtype: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return fanin.RandomNormal(0.0, self.gain, seed=sum(self.options.values()))(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **self.options}


class Rule(fanin.VarianceScaling):
    """A class that says what to draw, with keyword arguments alone."""

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__(3.0, "fan_out", "uniform", seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


OWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "Smaller": (Smaller, {"gain": 0.1, "more": 3}),
    "Rule": (Rule, {"seed": 3}),
}


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


@pytest.mark.parametrize("name", ["Dense", "Adam", "STFT", "Initializer", *sorted(KERAS_NAMES)])
def test_names_of_keras_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of one's own with a name that Keras looks up would load where Keras's is meant."""
    monkeypatch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", {})
    own = type(name, (fanin.Zeros,), {})
    for given in (own, own()):
        with pytest.raises(ValueError, match="A class of your own must not have"):
            ours.as_keras(given)


@pytest.mark.filterwarnings("ignore:The initializer .* is unseeded:UserWarning")
@pytest.mark.parametrize("name", [*ARGUMENTS, *OWN])
def test_copies_and_comparisons(name: str) -> None:
    """copy, deepcopy, pickle and as_keras keep seed and count; ==, hash and repr go by class and configuration."""
    cls, config = OWN[name] if name in OWN else (getattr(fanin, name), ARGUMENTS[name])
    for arguments in [config, {**config, "seed": None}] if "seed" in config else [config]:
        carrier, again = (ours.as_keras(cls(**arguments)) for _ in range(2))
        assert (carrier == again) is (arguments.get("seed", 0) is not None)
        assert carrier == carrier != ours.Constant(17)
        assert hash(carrier) == hash(again)
        assert repr(carrier) == f"fanin.keras.{cls(**arguments)!r}"
        first = array(carrier((3, 3)))
        copies = [copy.copy(carrier), copy.deepcopy(carrier), pickle.loads(pickle.dumps(carrier))]
        copies += [ours.as_keras(carrier), ours.as_keras(carrier.source)]
        second = array(carrier((3, 3)))
        assert (first.tobytes() != second.tobytes()) is (name in FIXED_SCALINGS)
        for each in copies:
            assert type(each) is type(carrier)
            assert each.get_config() == carrier.get_config()
            assert_holds(each((3, 3)), second)
    for wrong in ("he_normal", 3, None, int, len, K.HeNormal, K.HeNormal(seed=1)):
        with pytest.raises(TypeError, match="must be a fanin initializer"):
            ours.as_keras(wrong)


@pytest.mark.parametrize("identifier", sorted(set(NAMES) - {"Initializer", "initializer"}))
def test_get(identifier: str) -> None:
    """Every name that fanin knows, a configuration, classes and instances give this module's class."""
    cls = NAMES[identifier]
    name, described = cls.__name__, {"class_name": identifier, "config": ARGUMENTS[cls.__name__]}
    for given in (identifier, cls, getattr(ours, name), described, fanin.get(described), made(ours, name)):
        found = ours.get(given)
        assert type(found) is getattr(ours, name)
        assert found.get_config().keys() == getattr(ours, name)().get_config().keys()
    assert_holds(ours.get(described)((3, 4)), made(fanin, name)((3, 4)))
    assert ours.get(None) is None


# The patch


def assert_in_force(library: Any) -> None:
    """Names, configurations and defaults mean this library's classes, and `set_random_seed` is as it should be."""
    for name, cls in KERAS_NAMES.items():
        described = {"class_name": name, "config": ARGUMENTS[cls]}
        written = {"module": "keras.initializers", "class_name": cls, "config": ARGUMENTS[cls], "registered_name": None}
        found = [K.get(described), K.deserialize(written), keras.saving.deserialize_keras_object(written)]
        if cls != "Constant" or library is ours:  # for which Keras wants a value
            found += [K.get(name), L.Dense(1, bias_initializer=name).bias_initializer]
        assert {type(each) for each in found} == {getattr(library, cls)}
        assert type(K.get(getattr(K, cls))) is getattr(K, cls)  # a class that is named itself
    for name, (arguments, _) in LAYERS.items():
        layer = getattr(L, name)(**arguments)
        for key in initializer_arguments(name):
            default = getattr(getattr(layer, "cell", layer), key)
            assert type(default) is getattr(library, type(default).__name__)
    assert keras.utils.set_random_seed == rng_utils.set_random_seed
    assert inspect.isfunction(keras.utils.set_random_seed) is (library is K)


def test_patch() -> None:
    """What Keras looks up is fanin's in a block, nested, repeated, raising or ended within, and Keras's after it."""
    function = keras.utils.set_random_seed
    ours.unpatch()  # nothing to end
    assert_in_force(K)
    with contextlib.suppress(KeyError), ours.patch():
        assert_in_force(ours)
        with ours.patch():
            pass
        assert_in_force(ours)
        raise KeyError
    assert_in_force(K)
    for _ in range(2):
        ours.patch()
    with ours.patch():
        pass
    assert_in_force(ours)
    with ours.patch():
        ours.unpatch()
        assert_in_force(K)
    assert_in_force(K)
    assert keras.utils.set_random_seed is function


def test_patch_sets_both_seeds() -> None:
    """Under the patch, `keras.utils.set_random_seed` gives fanin's sequence, and Keras's own state as without it."""

    def state() -> list[Any]:
        keras.utils.set_random_seed(42)
        uniform = array(keras.random.uniform((3,))).tolist()
        return [rng_utils.get_random_seed(), random.random(), float(np.random.rand()), uniform]

    expected = state()
    fanin.utils.set_random_seed(42)
    plain = [fanin.GlorotUniform()((4, 5)), fanin.RandomUniform()((7, 3)), fanin.HeNormal()((5, 2))]
    with ours.patch():
        assert state() == expected
        keras.utils.set_random_seed(42)
        layers = [L.Dense(5), L.Embedding(7, 3), L.Dense(2, kernel_initializer="he_normal")]
        for layer, values in zip(layers, plain, strict=True):
            layer.build((None, values.shape[0]))
            assert_same_bits(values, layer.get_weights()[0])
    assert state() == expected


def test_patch_repeats_calls() -> None:
    """Under the patch a call repeats the one before, in every thread, whatever the setting; after it, no longer."""
    initializer, plain = ours.HeNormal(seed=3), fanin.HeNormal(seed=3)
    first, _, third = (plain((4, 3)) for _ in range(3))
    with ours.patch(), fanin.config.using(call_semantics="documented"):
        assert_holds(initializer((4, 3)), first)
        with ThreadPoolExecutor(1) as pool:
            assert_holds(pool.submit(initializer, (4, 3)).result(), first)
        assert fanin.config.call_semantics == "documented"
    assert_holds(initializer((4, 3)), third)
