"""Initializers from names and configurations, and back: `get`, `serialize`, `deserialize`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fanin._core.messages import shown
from fanin.initializers.base import Initializer, SeededInitializer
from fanin.initializers.complex import ComplexGlorot, ComplexHe, ComplexNormal, ComplexVarianceScaling
from fanin.initializers.constants import Constant, Ones, Table, Zeros
from fanin.initializers.convolutions import STFT, Bilinear, Dirac
from fanin.initializers.matrices import DeltaOrthogonal, Identity, Orthogonal, Sparse, Unitary
from fanin.initializers.names import ALIASES, name_hint
from fanin.initializers.positions import Rotary, Sinusoidal
from fanin.initializers.random import Bernoulli, Exponential, LogNormal, RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)
from fanin.initializers.state_space import S4D, Hippo

# The classes of Keras 2, whose configurations and names every Keras knows.
KERAS_CLASSES: tuple[type[Initializer], ...] = (
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    Zeros,
    Ones,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    Orthogonal,
    Constant,
    VarianceScaling,
    LecunNormal,
    LecunUniform,
)
CLASSES: tuple[type[Initializer], ...] = (
    *(*KERAS_CLASSES, Exponential, LogNormal, Bernoulli, Sparse, Table),
    *(ComplexGlorot, ComplexHe, ComplexNormal, ComplexVarianceScaling, DeltaOrthogonal, Unitary),
    *(Bilinear, Dirac, Hippo, Rotary, S4D, Sinusoidal, STFT),
)


def _names() -> dict[str, type[Initializer]]:
    """The classes by every name that fanin and tf_keras have for them, and by other packages' names."""
    names: dict[str, type[Initializer]] = {"Initializer": Initializer, "initializer": Initializer}
    for cls in CLASSES:
        name = cls.__name__
        snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        names |= {name: cls, snake_case: cls}
        if cls in KERAS_CLASSES:
            names[name + "V2"] = cls
        if issubclass(cls, SeededInitializer) and not cls.repeats:  # the six that old files may name so
            names[snake_case + "V2"] = cls
    for alias, name in {"uniform": "RandomUniform", "normal": "RandomNormal", "one": "Ones", "zero": "Zeros"}.items():
        names[alias] = names[name]
    return names | {alias: names[name] for alias, name in ALIASES.items()}


NAMES = _names()


def get(identifier: Any) -> Any:
    """An initializer from a name, a configuration, a class or a callable.

    Args:
        identifier: None (which stays None), a name such as "he_normal" or "HeNormal", a dict as `serialize` returns, a
            class (which is instantiated), or any callable (which is returned). PyTorch's "xavier_uniform" and
            "kaiming_uniform" are names, too; its normal distributions are not Keras's, which are truncated.

    Raises:
        ValueError: the identifier is none of these, or an unknown name.

    >>> import fanin
    >>> fanin.get("he_normal")
    HeNormal(seed=None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier):
        return identifier
    raise ValueError(
        f"Could not interpret initializer identifier: {shown(identifier)}. "
        "It must be None, a name, a dict, a class or a callable."
    )


def serialize(initializer: Any, use_legacy_format: bool = False) -> dict[str, Any] | None:
    """The configuration from which `deserialize`, tf_keras and Keras 3 recreate an initializer.

    Args:
        initializer: an initializer, or None, which stays None.
        use_legacy_format: whether to return only class name and config.

    >>> import fanin
    >>> fanin.serialize(fanin.GlorotUniform(seed=3), use_legacy_format=True)
    {'class_name': 'GlorotUniform', 'config': {'seed': 3}}
    """
    if initializer is None:
        return None
    if not hasattr(initializer, "get_config") or isinstance(initializer, type):
        raise TypeError(f"`initializer` must be an initializer with `get_config`. Received: {shown(initializer)}.")
    cls = type(initializer)
    described = {"class_name": cls.__name__, "config": initializer.get_config()}
    if use_legacy_format:
        return described
    if cls in (*KERAS_CLASSES, STFT):  # which Keras 3 alone has
        return {"module": "keras.initializers", **described, "registered_name": None}
    ours = cls in CLASSES  # registered in Keras by `fanin.keras.as_keras`
    return {
        "module": "fanin.keras" if ours else cls.__module__,
        **described,
        "registered_name": f"fanin>{cls.__name__}" if ours else cls.__name__,
    }


def deserialize(
    config: Any,
    custom_objects: Mapping[str, Callable[..., Any]] | None = None,
    use_legacy_format: bool = False,
) -> Any:
    """An initializer from a configuration written by fanin, tf_keras or Keras 3. No framework is imported.

    Args:
        config: a dict of either format, a name, or None, which stays None.
        custom_objects: your own classes by name; they come before fanin's.
        use_legacy_format: ignored, since both formats are always read; tf_keras has it.

    Raises:
        ValueError: the configuration is malformed, has an unknown name or a Keras 3 setting that changes the values.
        TypeError: the config has keys that the class does not have.

    >>> import fanin
    >>> fanin.deserialize({"class_name": "RandomNormal", "config": {"stddev": 1.0, "seed": 3}})
    RandomNormal(mean=0.0, stddev=1.0, seed=3)
    """
    del use_legacy_format
    if config is None:
        return None
    if isinstance(config, str):
        config = {"class_name": config, "config": {}}
    if not isinstance(config, Mapping) or "class_name" not in config or not isinstance(config.get("config"), Mapping):
        raise ValueError(
            f"Improper config format for {shown(config)}. It must be a dict with `class_name` and `config`."
        )
    known = {**NAMES, **(custom_objects or {})}
    name, registered = config["class_name"], config.get("registered_name")
    found = known.get(registered) if isinstance(registered, str) and registered in (custom_objects or {}) else None
    if found is None and isinstance(name, str):
        found = known.get(name)
    if found is None:
        raise ValueError(
            f"Unknown initializer: {shown(name)}. Pass your own classes in `custom_objects`.{name_hint(name, known)}"
        )
    if not isinstance(found, type):
        return found  # a user-defined function
    from_config: Any = getattr(found, "from_config", None)
    return from_config(dict(config["config"])) if from_config is not None else found(**config["config"])
