"""`get`, `serialize`, `deserialize` and `from_config`, without Keras (with it: test_against_*.py)."""

import json
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fresh
from fanin.initializers import CLASSES, KERAS_CLASSES, NAMES

ALIASES = {"uniform": "RandomUniform", "normal": "RandomNormal", "one": "Ones", "zero": "Zeros"}
SNAKE = {
    "RandomNormal": "random_normal",
    "RandomUniform": "random_uniform",
    "TruncatedNormal": "truncated_normal",
    "Zeros": "zeros",
    "Ones": "ones",
    "GlorotNormal": "glorot_normal",
    "GlorotUniform": "glorot_uniform",
    "HeNormal": "he_normal",
    "HeUniform": "he_uniform",
    "Identity": "identity",
    "Orthogonal": "orthogonal",
    "Constant": "constant",
    "VarianceScaling": "variance_scaling",
    "LecunNormal": "lecun_normal",
    "LecunUniform": "lecun_uniform",
}
MORE = {
    "Exponential": "exponential",
    "LogNormal": "log_normal",
    "Bernoulli": "bernoulli",
    "Sparse": "sparse",
    "Table": "table",
    "ComplexGlorot": "complex_glorot",
    "ComplexHe": "complex_he",
    "ComplexNormal": "complex_normal",
    "ComplexVarianceScaling": "complex_variance_scaling",
    "DeltaOrthogonal": "delta_orthogonal",
    "Unitary": "unitary",
    "Bilinear": "bilinear",
    "Dirac": "dirac",
    "Hippo": "hippo",
    "Rotary": "rotary",
    "S4D": "s4d",
    "Sinusoidal": "sinusoidal",
    "STFT": "stft",
}
NEEDED = {"Sparse": {"sparsity": 0.5}, "Table": {"values": [1]}}  # arguments without a default
# PyTorch's names of laws that are Keras's, names that early versions of Keras 3 wrote, and one spelled as classes are
OTHERS = {
    "xavier_uniform": "GlorotUniform",
    "kaiming_uniform": "HeUniform",
    "OrthogonalInitializer": "Orthogonal",
    "IdentityInitializer": "Identity",
    "STFTInitializer": "STFT",
    "Stft": "STFT",
}
OLD = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")


class Scaled(fanin.Initializer):
    """A user's own initializer."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> np.ndarray:
        """Ones, times the gain."""
        return self.gain * fanin.Ones()(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """The gain."""
        return {"gain": self.gain}


def test_every_name() -> None:
    """The names are those that the specification lists, no others, and mean the classes."""
    expected = {"Initializer": "Initializer", "initializer": "Initializer"} | ALIASES | OTHERS
    for name, shortcut in SNAKE.items():
        expected |= {name: name, shortcut: name, name + "V2": name}
        if shortcut in OLD:
            expected[shortcut + "V2"] = name
    for name, shortcut in MORE.items():
        expected |= {name: name, shortcut: name}
    assert {name: cls.__name__ for name, cls in NAMES.items()} == expected
    assert (*KERAS_CLASSES, *(getattr(fanin, name) for name in MORE)) == CLASSES
    assert len(KERAS_CLASSES) == 15
    for name, cls in expected.items():
        assert type(fanin.get({"class_name": name, "config": NEEDED.get(cls, {})})).__name__ == cls


def test_shortcuts_are_the_classes() -> None:
    """The lower-case names are the classes themselves, in `fanin` and in `fanin.initializers`."""
    for name, shortcut in (SNAKE | MORE).items():
        assert getattr(fanin, shortcut) is getattr(fanin, name) is getattr(fanin.initializers, shortcut)


def test_get() -> None:
    """None, names, dicts, classes, instances and callables."""
    assert fanin.get(None) is None
    assert type(fanin.get("he_normal")) is fanin.HeNormal
    assert fanin.get({"class_name": "Constant", "config": {"value": 3}}) == fanin.Constant(3)
    assert type(fanin.get(fanin.Ones)) is fanin.Ones
    initializer = fanin.Ones()
    assert fanin.get(initializer) is initializer
    assert fanin.get(len) is len
    assert fanin.initializers.get is fanin.get


@pytest.mark.parametrize("name", list(CATALOGUE))
@pytest.mark.parametrize("legacy", [False, True])
def test_round_trip(name: str, legacy: bool) -> None:
    """What serialize writes is plain JSON, and deserialize makes the same initializer of it."""
    initializer = fresh(name)
    written = fanin.serialize(initializer, use_legacy_format=legacy)
    assert written is not None
    assert json.loads(json.dumps(written)) == written
    assert list(written) == (
        ["class_name", "config"] if legacy else ["module", "class_name", "config", "registered_name"]
    )
    assert fanin.deserialize(written) == initializer
    assert fanin.deserialize(written, use_legacy_format=not legacy) == initializer
    assert fanin.get(written) == initializer


def test_the_format() -> None:
    """Both formats to the letter."""
    assert fanin.serialize(fanin.GlorotUniform(seed=3)) == {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": 3},
        "registered_name": None,
    }
    assert fanin.serialize(fanin.Zeros(), use_legacy_format=True) == {"class_name": "Zeros", "config": {}}
    assert fanin.serialize(fanin.Exponential(seed=3)) == {
        "module": "fanin.keras",
        "class_name": "Exponential",
        "config": {"rate": 1.0, "seed": 3},
        "registered_name": "fanin>Exponential",
    }
    assert fanin.serialize(None) is None
    assert fanin.deserialize(None) is None
    assert fanin.VarianceScaling(2, "fan_out", "Normal", 3).get_config() == {
        "scale": 2, "mode": "fan_out", "distribution": "truncated_normal", "seed": 3
    }  # fmt: skip


def test_configs_of_keras_3() -> None:
    """Extra keys that change nothing are taken; others are refused with the reason."""
    config = {
        "scale": 1.0,
        "mode": "fan_in",
        "distribution": "uniform",
        "seed": 3,
        "input_axes": None,
        "output_axes": None,
    }
    expected = fanin.VarianceScaling(1.0, "fan_in", "uniform", 3)
    assert fanin.deserialize({"module": "whatever", "class_name": "VarianceScaling", "config": config}) == expected
    generator = {
        "module": "keras.random",
        "class_name": "SeedGenerator",
        "config": {"seed": 3, "name": "seed_generator"},
        "registered_name": None,
    }
    assert fanin.VarianceScaling.from_config({**config, "seed": generator}) == expected
    with pytest.raises(ValueError, match=r"`input_axes` must be None.*Received: input_axes=\[0\]"):
        fanin.VarianceScaling.from_config({**config, "input_axes": [0]})
    with pytest.raises(ValueError, match=r"`seed` must be an integer, None or a SeedGenerator's config"):
        fanin.VarianceScaling.from_config({**config, "seed": {"class_name": "os.system", "config": {}}})
    stored = {"class_name": "__tensor__", "config": {"value": 2.5, "dtype": "float32"}}
    assert fanin.Constant.from_config({"value": stored}) == fanin.Constant(2.5)
    with pytest.raises(ValueError, match="`value` must be a scalar or a stored tensor"):
        fanin.Constant.from_config({"value": {"class_name": "eval", "config": {"value": 1}}})


def test_from_config_leaves_the_config_alone() -> None:
    """`dtype` is dropped, and the dict that was passed keeps it."""
    config = {"dtype": "float32", "seed": 4}
    assert fanin.HeNormal.from_config(config) == fanin.HeNormal(4)
    assert config == {"dtype": "float32", "seed": 4}


def test_users_classes() -> None:
    """They come by name from custom_objects, before fanin's own; nothing is imported for a config."""
    written = fanin.serialize(Scaled(2.0))
    assert written == {
        "module": __name__,
        "class_name": "Scaled",
        "config": {"gain": 2.0},
        "registered_name": "Scaled",
    }
    assert written is not None
    assert fanin.deserialize(written, {"Scaled": Scaled}) == Scaled(2.0)
    assert fanin.deserialize({**written, "registered_name": "mine>Scaled"}, {"mine>Scaled": Scaled}) == Scaled(2.0)
    assert type(fanin.deserialize("Ones", {"Ones": type("Ones", (fanin.Ones,), {})})) is not fanin.Ones
    assert fanin.deserialize({"class_name": "draw", "config": {}}, {"draw": len}) is len
    with pytest.raises(
        ValueError, match=r"Unknown initializer: 'Scaled'\. Pass your own classes in `custom_objects`\."
    ):
        fanin.deserialize(written)


DIFFERENT = {
    "xavier_normal": ("scale=1, mode='fan_avg'", "glorot_normal"),
    "kaiming_normal": ("scale=2, mode='fan_in'", "he_normal"),
}


@pytest.mark.parametrize("spelled", ["{}", "{}_", "{camel}", "{}l"])
@pytest.mark.parametrize("name", DIFFERENT)
def test_names_of_untruncated_normals(name: str, spelled: str) -> None:
    """PyTorch's normals are not Keras's: no aliases, but what they are, and how Keras's differ."""
    arguments, keras = DIFFERENT[name]
    written = spelled.format(name, camel=name.title().replace("_", ""))
    with pytest.raises(ValueError, match="Unknown initializer: ") as caught:
        fanin.get(written)
    assert str(caught.value) == (
        f"Unknown initializer: {written!r}. Pass your own classes in `custom_objects`. PyTorch's {name} is "
        f"'variance_scaling' with {arguments}, distribution='untruncated_normal'. {keras!r} has the same variance, but "
        f"is truncated at two standard deviations, as JAX's {name} is."
    )


BAD: list[tuple[Any, type[Exception], str]] = [
    ("he_norml", ValueError, "Unknown initializer: 'he_norml'. Pass your own classes in `custom_objects`. Did you mean 'he_normal'?"),
    ("HENORMAL", ValueError, "Unknown initializer: 'HENORMAL'."),
    ("", ValueError, "Unknown initializer: ''."),
    ("xavier_uniform_", ValueError, "Unknown initializer: 'xavier_uniform_'. Pass your own classes in `custom_objects`. Did you mean 'xavier_uniform'?"),
    ("KaimingUniform", ValueError, "Unknown initializer: 'KaimingUniform'. Pass your own classes in `custom_objects`. Did you mean 'kaiming_uniform'?"),
    ("eye_", ValueError, "Unknown initializer: 'eye_'. Pass your own classes in `custom_objects`. Did you mean 'identity'?"),
    ("normal_", ValueError, "Unknown initializer: 'normal_'. Pass your own classes in `custom_objects`. PyTorch's normal_ is 'random_normal' with stddev=1"),
    ("uniform_", ValueError, "Unknown initializer: 'uniform_'. Pass your own classes in `custom_objects`. PyTorch's uniform_ is 'random_uniform' with minval=0"),
    ("trunc_normal_", ValueError, "Unknown initializer: 'trunc_normal_'. Pass your own classes in `custom_objects`. PyTorch's trunc_normal is 'truncated_normal' with stddev=1, minval=-2, maxval=2"),
    ("timm.layers.variance_scaling_", ValueError, "timm's variance_scaling_ is 'variance_scaling' with distribution='untruncated_normal'"),
    ("nn.init.xavier_normal_", ValueError, "PyTorch's xavier_normal is 'variance_scaling' with scale=1"),
    ("RoPE", ValueError, "Did you mean 'rotary'?"),
    ("positional_encoding", ValueError, "Did you mean 'sinusoidal'?"),
    ("A_log", ValueError, "Mamba's A_log is 's4d' with variant='real', part='log_real'."),
    ("complex_he_normal", ValueError, "Did you mean 'complex_he'?"),
    ("complex_glorot_normal", ValueError, "Did you mean 'complex_glorot'?"),
    ("calculate_gain", ValueError, "`fanin.gain` has its numbers."),
    ({"class_name": "Ones"}, ValueError, "Improper config format for {'class_name': 'Ones'}."),
    ({"config": {}}, ValueError, "Improper config format for {'config': {}}."),
    ({"class_name": "Ones", "config": 3}, ValueError, "Improper config format for"),
    ({"class_name": ["Ones"], "config": {}}, ValueError, "Unknown initializer: ['Ones']."),
    ({"class_name": "HeNormal", "config": {"sed": 3}}, TypeError, "Unknown config keys for HeNormal: ['sed']. Allowed config keys: ['seed', 'in_axis', 'out_axis', 'batch_axis']. Did you mean 'seed'?"),
    ({"class_name": "Zeros", "config": {"seed": 3}}, TypeError, "Unknown config keys for Zeros: ['seed']."),
    (3, ValueError, "Could not interpret initializer identifier: 3"),
    (["he_normal"], ValueError, "Could not interpret initializer identifier: ['he_normal']"),
]  # fmt: skip


@pytest.mark.parametrize(("identifier", "error", "message"), BAD)
def test_bad_identifiers(identifier: Any, error: type[Exception], message: str) -> None:
    """Each with its message."""
    with pytest.raises(error) as caught:
        fanin.get(identifier)
    assert message in str(caught.value)


def test_only_initializers_are_serialized() -> None:
    """Anything else is a TypeError."""
    for bad in (3, "he_normal", fanin.HeNormal, len):
        with pytest.raises(TypeError, match="`initializer` must be an initializer with `get_config`"):
            fanin.serialize(bad)
