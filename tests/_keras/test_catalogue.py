"""What fanin has beyond the documented classes, in both Kerases: further classes, and further arguments of those."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fresh, shape_for
from keras_kit import Kit, answers, same

# name in the catalogue → what only fanin has, and that makes real numbers
FURTHER = [
    name
    for name, (each, dtypes, _) in CATALOGUE.items()
    if type(each) not in fanin.initializers.KERAS_CLASSES and "float32" in dtypes
]
# what the documented classes take in fanin alone
MORE: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "TruncatedNormal, bounds": ({"stddev": 0.1, "minval": -0.05, "maxval": 0.2, "seed": 3}, (4, 6)),
    "TruncatedNormal, deviations": ({"stddev": 0.1, "lower": -1.0, "upper": 3.0, "seed": 3}, (4, 6)),
    "VarianceScaling, axes": ({"scale": 2.0, "in_axis": 0, "out_axis": [1, 2], "seed": 3}, (4, 3, 5)),
    "VarianceScaling, mean": ({"mode": "fan_geo_avg", "seed": 3}, (4, 6)),
    "HeNormal, experts": ({"seed": 3, "batch_axis": 0}, (3, 4, 6)),
    "GlorotUniform, axes": ({"seed": 3, "in_axis": [0, 1], "out_axis": 2}, (3, 4, 6)),
    "Orthogonal, columns": ({"seed": 3, "column_axis": 0}, (3, 4, 6)),
    "Orthogonal, stack": ({"seed": 3, "batch_axis": 0}, (3, 4, 6)),
    "Orthogonal, groups": ({"seed": 3, "groups": 2}, (3, 6)),
    "Identity, stack": ({"gain": 2.0, "batch_axis": 0}, (3, 4, 4)),
}
WITH_ONLY_FANIN_IMPORTED = """
import importlib, json, sys
name, config, shape = json.loads(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
keras = importlib.import_module(name)
importlib.import_module("fanin." + name)
initializer = keras.initializers.deserialize(config)
values = initializer(shape)
values = values.numpy() if name == "tf_keras" else keras.ops.convert_to_numpy(values)
print(json.dumps([type(initializer).__module__, values.tobytes().hex()]))
"""


def model_of(kit: Kit, initializer: Any, shape: tuple[int, ...]) -> Any:
    """A model with a weight that the initializer makes."""

    class Held(kit.L.Layer):
        """A layer with a weight of a shape."""

        def __init__(self, initializer: Any, lengths: Any, **options: Any) -> None:
            super().__init__(**options)
            self.initializer, self.lengths = kit.keras.initializers.get(initializer), tuple(lengths)

        def build(self, shape: Any) -> None:
            del shape
            self.kernel = self.add_weight(shape=self.lengths, initializer=self.initializer, name="kernel")
            self.built = True

        def call(self, inputs: Any) -> Any:
            return inputs

        def get_config(self) -> dict[str, Any]:
            config = {"initializer": kit.keras.initializers.serialize(self.initializer), "lengths": self.lengths}
            return {**super().get_config(), **config}

    model = kit.keras.Sequential([kit.keras.Input((2,)), Held(initializer, shape, name="held")])
    return model, {"Held": Held}


@pytest.mark.parametrize("name", FURTHER)
def test_layers_take_every_class(name: str, kit: Kit) -> None:
    """A layer's weight has the bytes of the plain class."""
    shape = shape_for(name, 6, 6, 6)
    model, _ = model_of(kit, getattr(kit.ours, f"as_{kit.name}")(fresh(name)), shape)
    (held,) = kit.arrays(model)
    same(held, fresh(name)(shape, "float32"))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("name", FURTHER)
def test_files_keep_every_class(name: str, form: str, kit: Kit, tmp_path: pathlib.Path) -> None:
    """A model that is saved and loaded has the class with its arguments again."""
    adapted = getattr(kit.ours, f"as_{kit.name}")(fresh(name))
    model, layers = model_of(kit, adapted, shape_for(name, 6, 6, 6))
    model.save(tmp_path / f"model.{form}")
    loaded = kit.keras.models.load_model(tmp_path / f"model.{form}", custom_objects=layers)
    found = loaded.get_layer("held").initializer
    assert type(found) is type(adapted)
    assert found.get_config() == adapted.get_config()
    same(kit.arrays(loaded), kit.arrays(model))


@pytest.mark.parametrize("name", FURTHER)
def test_names(name: str, kit: Kit) -> None:
    """`get` takes configurations of every class, as fanin writes them, and every class by its name."""
    plain = fresh(name)
    configuration = fanin.serialize(plain, use_legacy_format=True)
    assert kit.ours.get(configuration).source == plain
    assert type(kit.ours.get(configuration)) is getattr(kit.ours, f"as_{kit.name}")(type(plain))
    names = [each for each, cls in fanin.initializers.NAMES.items() if cls is type(plain)]
    assert names
    required = type(plain).__name__ in ("Sparse", "Table")  # whose arguments have no defaults
    for each in names if not required else ():
        assert type(kit.ours.get(each)) is type(kit.ours.get(configuration))


@pytest.mark.parametrize("name", ["Dirac", "Sparse", "LogNormal"])
def test_other_processes_load_them(name: str, kit: Kit) -> None:
    """Where fanin's module is imported, and nothing else is called, configurations of files give its classes."""
    adapted = getattr(kit.ours, f"as_{kit.name}")(fresh(name))
    config, shape = kit.keras.initializers.serialize(adapted), shape_for(name, 6, 6, 6)
    module, values = answers(WITH_ONLY_FANIN_IMPORTED, kit.name, config, list(shape))
    assert module == f"fanin.{kit.name}"
    assert bytes.fromhex(values) == fresh(name)(shape).tobytes()


# Further arguments of the documented classes


def made(kit: Kit, name: str) -> Any:
    """The framework's object with these arguments."""
    return getattr(kit.ours, name.partition(",")[0])(**MORE[name][0])


def plain(name: str) -> fanin.Initializer:
    """fanin's object with these arguments."""
    return getattr(fanin, name.partition(",")[0])(**MORE[name][0])


@pytest.mark.parametrize("name", MORE)
def test_further_arguments(name: str, kit: Kit) -> None:
    """They are taken, change the values as in plain fanin, and are in the configuration and in copies."""
    adapted, shape = made(kit, name), MORE[name][1]
    same(kit.array(adapted(shape)), plain(name)(shape))
    config = adapted.get_config()
    assert MORE[name][0].items() <= config.items()
    again = type(adapted).from_config(config)
    assert again.get_config() == config
    assert again.source == adapted.source
    assert kit.ours.get(kit.keras.initializers.serialize(adapted)).source == adapted.source


@pytest.mark.parametrize("name", [name for name in MORE if name != "VarianceScaling, mean"])
def test_the_frameworks_classes_refuse_further_arguments(name: str, kit: Kit) -> None:
    """Where fanin is not, configurations with them are errors that name one: they are never lost silently."""
    config = made(kit, name).get_config()
    theirs = getattr(kit.keras.initializers, name.partition(",")[0])
    with pytest.raises(
        TypeError, match=r"unexpected keyword argument '(minval|lower|in_axis|batch_axis|column|groups)"
    ):
        theirs.from_config(config)


def test_the_frameworks_classes_refuse_the_geometric_mean(kit: Kit) -> None:
    """So is fanin's further mode."""
    with pytest.raises(ValueError, match="mode"):
        kit.keras.initializers.VarianceScaling.from_config(made(kit, "VarianceScaling, mean").get_config())


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("name", MORE)
def test_files_keep_further_arguments(name: str, form: str, kit: Kit, tmp_path: pathlib.Path) -> None:
    """Files have them: with fanin.keras they load as they are; tf_keras looks its own class up but under the patch."""
    adapted = made(kit, name)
    model, layers = model_of(kit, adapted, MORE[name][1])
    path = tmp_path / f"model.{form}"
    model.save(path)
    scope: Any = contextlib.nullcontext()
    if kit.name == "tf_keras":
        with pytest.raises((TypeError, ValueError), match=r"unexpected keyword argument|mode"):
            kit.keras.models.load_model(path, custom_objects=layers)
        scope = kit.ours.patch()
    with scope:
        loaded = kit.keras.models.load_model(path, custom_objects=layers).get_layer("held").initializer
    assert type(loaded) is type(adapted)
    assert loaded.source == adapted.source


@pytest.mark.parametrize("name", ["HeNormal", "VarianceScaling"])
@pytest.mark.parametrize("own", [{"in_axis": 0}, {"batch_axis": 0}])
def test_axes_are_named_in_one_way(name: str, own: dict[str, int]) -> None:
    """Keras 3's axes and fanin's exclude each other: a product cannot be both with and without receptive field."""
    kit = Kit("keras")
    with pytest.raises(ValueError, match=f"cannot be combined with fanin's own axes.*{next(iter(own))}"):
        getattr(kit.ours, name)(input_axes=[0], output_axes=[1], **own)


# Short-time Fourier transforms, which Keras 3 and fanin have

SIDES = [{"side": side, "window": window} for side in ("real", "imag") for window in ("hann", "hamming", None)]


@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("arguments", SIDES, ids=str)
def test_stft_is_that_of_keras(arguments: dict[str, Any], scaling: Any) -> None:
    """The values are Keras's to rounding, with the same arguments, defaults and configuration."""
    kit, shape = Kit("keras"), (16, 1, 9)
    ours, theirs = (each(scaling=scaling, **arguments) for each in (kit.ours.STFT, kit.keras.initializers.STFT))
    assert np.abs(kit.array(ours(shape)) - kit.array(theirs(shape))).max() < 5e-6
    same(kit.array(ours(shape)), fanin.STFT(scaling=scaling, **arguments)(shape))
    assert ours.get_config() == theirs.get_config()
    assert isinstance(ours, kit.keras.initializers.STFT)


@pytest.mark.parametrize("window", ["hann", [0.5, 1.0, 1.0, 0.5]], ids=["name", "array"])
def test_stft_goes_to_keras_and_back(window: Any) -> None:
    """Configurations of either are read by the other."""
    kit, shape = Kit("keras"), (4, 1, 5)
    array = window if isinstance(window, str) else np.array(window)
    theirs = kit.keras.initializers.STFT("imag", array, None, True)
    written = kit.keras.initializers.serialize(theirs)
    assert fanin.get(written) == fanin.STFT("imag", window, None, True)
    adapted = kit.ours.get(written)
    assert type(adapted) is kit.ours.STFT
    config = {key: value for key, value in kit.keras.initializers.serialize(adapted).items() if key != "build_config"}
    again = kit.keras.initializers.deserialize(config)
    assert type(again) is kit.keras.initializers.STFT
    assert np.abs(kit.array(again(shape)) - kit.array(theirs(shape))).max() == 0
    assert fanin.serialize(fanin.STFT()) == kit.keras.initializers.serialize(kit.keras.initializers.STFT())


def test_stft_under_the_patch() -> None:
    """The spectrogram of Keras has fanin's values under the patch, also with a window of its own."""
    kit, shape = Kit("keras"), (16, 1, 9)
    theirs = kit.keras.initializers.STFT("real", np.hanning(16))
    with kit.ours.patch():
        values, again = kit.array(theirs(shape)), kit.array(theirs(shape))
        same(kit.array(kit.keras.initializers.get("stft")(shape)), fanin.STFT()(shape))
    same(values, fanin.STFT("real", np.hanning(16))(shape))
    same(again, values)


# Lookups


def test_deserialize(kit: Kit) -> None:
    """`deserialize` reads what `serialize` writes, names, and one's own classes before fanin's."""

    class Mine(kit.ours.Initializer):
        """A class of a user's."""

        def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
            return np.full(shape, 7.0, "float32")

        def get_config(self) -> dict[str, Any]:
            return {}

    ours = kit.ours.HeNormal(seed=3)
    assert kit.ours.deserialize(kit.ours.serialize(ours)) == ours
    assert type(kit.ours.deserialize("dirac")) is type(kit.ours.get("dirac"))
    assert type(kit.ours.deserialize({"class_name": "HeNormal", "config": {}})) is kit.ours.HeNormal
    mine = {"module": None, "class_name": "HeNormal", "config": {}, "registered_name": "HeNormal"}
    assert type(kit.ours.deserialize(mine, custom_objects={"HeNormal": Mine})) is Mine


def test_get_leaves_others_to_the_framework(kit: Kit) -> None:
    """Classes that others have registered are theirs, also under a name that fanin has."""

    @kit.keras.saving.register_keras_serializable(package="others")
    class Dirac(kit.ours.Initializer):  # pyright: ignore[reportUntypedBaseClass]
        """A class of another package."""

        def get_config(self) -> dict[str, Any]:
            return {}

    assert type(kit.ours.get(kit.keras.initializers.serialize(Dirac()))) is Dirac


def test_get_takes_arrays_as_keras_does() -> None:
    """An array is an initializer of its values in Keras 3."""
    kit = Kit("keras")
    values = np.arange(6, dtype="float32").reshape(2, 3)
    same(kit.array(kit.ours.get(values)((2, 3))), values)


@pytest.mark.parametrize("name", ["Dirac", "S4D"])
def test_layers_take_registered_names(name: str, kit: Kit) -> None:
    """Both libraries find a class by the name under which fanin registers it."""
    layer = kit.L.Dense(3, kernel_initializer=f"fanin>{name}")
    assert layer.kernel_initializer.source == getattr(fanin, name)()


def test_constants_of_arrays_lead_to_tables(kit: Kit) -> None:
    """The error names what takes an array."""
    with pytest.raises(TypeError, match=rf"fanin.{kit.name}.as_{kit.name}\(fanin.Table\(array\)\)"):
        kit.ours.Constant(np.arange(3.0))
