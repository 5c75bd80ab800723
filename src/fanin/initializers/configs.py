"""Configurations written by tf_keras and Keras 3, translated to arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fanin._core.messages import class_name, shown, suggestion

# Keras 3 writes these for every variance scaling; axes other than the last two would give other fans.
_AXES = ("input_axes", "output_axes")
_ARRAYS = ("value", "window")  # arguments that Keras stores as tensors if they are arrays


def translated_config(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a class for a configuration written by tf_keras, Keras 3 or fanin."""
    if not isinstance(config, Mapping):
        raise TypeError(f"`config` must be a dict, as `get_config` returns it. Received: config={shown(config)}.")
    arguments = dict(config)
    arguments.pop("dtype", None)
    parameters = _parameters(cls)
    for name in _AXES:
        if name in arguments and name not in parameters and arguments.pop(name) is not None:
            raise ValueError(
                f"`{name}` must be None: fans are taken from the last two axes. Received: {name}={shown(config[name])}."
            )
    if isinstance(arguments.get("seed"), Mapping):
        arguments["seed"] = _first_seed(arguments["seed"])
    for name in _ARRAYS:
        if isinstance(arguments.get(name), Mapping):
            arguments[name] = stored_value(name, arguments[name])
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [name for name in arguments if name not in parameters]
    if unknown and not takes_any:
        raise TypeError(
            f"Unknown config keys for {class_name(cls)}: {shown(unknown)}. Allowed config keys: {list(parameters)}."
            f"{suggestion(unknown[0], parameters)}"
        )
    return arguments


@lru_cache(maxsize=256)
def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class, cached because inspecting them takes longer than the rest of `from_config`."""
    return inspect.signature(cls).parameters


def _first_seed(generator: Mapping[str, Any]) -> int | None:
    """The seed of a Keras 3 SeedGenerator, whose first values are those of the seed itself."""
    config = generator.get("config")
    if generator.get("class_name") != "SeedGenerator" or not isinstance(config, Mapping) or "seed" not in config:
        raise ValueError(
            f"`seed` must be an integer, None or a SeedGenerator's config. Received: seed={shown(generator)}."
        )
    return config["seed"]


def stored_value(name: str, stored: Any) -> Any:
    """An argument, out of `{"class_name": "__tensor__", "config": {"value": …}}` if Keras has stored an array."""
    if not isinstance(stored, Mapping):
        return stored
    config = stored.get("config")
    if stored.get("class_name") not in ("__tensor__", "__numpy__") or not isinstance(config, Mapping):
        raise ValueError(f"`{name}` must be a scalar or a stored tensor. Received: {name}={shown(stored)}.")
    return config.get("value")
