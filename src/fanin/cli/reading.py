"""The recipe of a factory's model: what the model's own code makes, read by its framework's module and folded."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from fanin._core.messages import class_name
from fanin.cli.base import recorded_by_torch
from fanin.models.arguments import Factory
from fanin.recipes import Plan, Recipe
from fanin.recipes.folding import recipe_from

# What is recorded of a model of PyTorch while it is made.
Recorded = Any


def recipe_of_factory(factory: str, also: str | None, seed: int) -> Recipe:
    """The recipe of a factory's model, whose numbers also fit another factory's model if one is given.

    Raises:
        ValueError: an argument is no factory, or the model's code cannot be read.
        TypeError: a factory returns no model that can be read.
    """
    plan = _plan(factory, "FACTORY", seed)
    twin = None if also is None else _plan(also, "--also", seed)
    return recipe_from(plan, twin=twin, description=f"{plan.model.name}, as its own code initializes it")


def _plan(text: str, option: str, seed: int) -> Plan:
    """What the code of a factory's model gives each of its parameters."""
    factory = Factory.of(text, f"{option} must be package.module:factory", option)
    recorded: list[Recorded] = []

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with recorded_by_torch() as found:
            yield
        recorded.append(found)

    model = factory.made(around)
    framework = _framework(model)
    if framework is None:
        raise TypeError(
            f"{option} must be a factory that returns a model of PyTorch, Keras 3, tf_keras, flax.nnx or equinox. "
            f"Received: {factory}, which returns an object of type {class_name(type(model))}."
        )
    return _PLANS[framework](model, recorded, factory.function(), seed)


def _framework(model: Any) -> str | None:
    """The package of a model's framework."""
    for package, name in _MODELS:
        module = sys.modules.get(package)
        if module is not None and isinstance(model, getattr(module, name)):
            return package
    return None


# In this order, since on PyTorch's backend a model of Keras 3 is also one of PyTorch.
_MODELS = (
    ("tf_keras", "Model"),
    ("keras", "Model"),
    ("torch.nn", "Module"),
    ("flax.nnx", "Module"),
    ("equinox", "Module"),
)


def _of_torch(model: Any, recorded: list[Recorded], make: Callable[[], Any], seed: int) -> Plan:
    return recorded[0].plan(model, seed=seed)


def _of_keras(model: Any, recorded: list[Recorded], make: Callable[[], Any], seed: int) -> Plan:
    from fanin.keras import recipe_of

    return recipe_of(model, seed).plan(model)


def _of_tf_keras(model: Any, recorded: list[Recorded], make: Callable[[], Any], seed: int) -> Plan:
    from fanin.tf_keras import recipe_of

    return recipe_of(model, seed).plan(model)


def _of_jax(model: Any, recorded: list[Recorded], make: Callable[[], Any], seed: int) -> Plan:
    from fanin.jax import recipe_of

    return recipe_of(make, seed=seed).plan(model)


_PLANS: dict[str, Callable[[Any, list[Recorded], Callable[[], Any], int], Plan]] = {
    "tf_keras": _of_tf_keras,
    "keras": _of_keras,
    "torch.nn": _of_torch,
    "flax.nnx": _of_jax,
    "equinox": _of_jax,
}
