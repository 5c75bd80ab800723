"""Warnings name the line that calls fanin, from every framework: never a file of fanin's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin

SOURCES = str(Path(fanin.__file__).parent)


def blamed(use: Callable[[], Any]) -> list[str]:
    """The files that the warnings of a use name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    return [each.filename for each in caught if "unseeded" in str(each.message) or "JAX replaces" in str(each.message)]


def of_torch() -> Any:
    """A tensor is filled twice, without a seed."""
    torch = pytest.importorskip("torch")
    from fanin.torch import fill_

    initializer = fanin.RandomNormal()
    return lambda: [fill_(torch.empty(3), initializer) for _ in range(2)]


def of_keras(name: str) -> Any:
    """An initializer of this framework is called twice, without a seed."""

    def use() -> Any:
        module = pytest.importorskip(f"fanin.{name}", exc_type=ImportError).RandomNormal
        initializer = module()
        return lambda: [initializer((3,)) for _ in range(2)]

    return use


def of_jax_function() -> Any:
    """A float64 array where JAX has none, by `as_jax`."""
    jax = pytest.importorskip("jax")
    import fanin.jax

    init = fanin.jax.as_jax(fanin.HeNormal(seed=1))
    return lambda: init(jax.random.key(0), (2, 2), "float64")


def of_jax_array() -> Any:
    """The same by `make_array`."""
    pytest.importorskip("jax")
    import fanin.jax

    return lambda: fanin.jax.make_array(fanin.HeNormal(seed=1), (2, 2), "float64")


def of_calls(call: Callable[[fanin.Initializer], Any]) -> Callable[[], Any]:
    """A use of one unseeded initializer, twice."""

    def use() -> Any:
        initializer = fanin.RandomNormal()
        return lambda: [call(initializer) for _ in range(2)]

    return use


USES: dict[str, Callable[[], Any]] = {
    "call": of_calls(lambda each: each((3,))),
    "call with out": of_calls(lambda each: each((3,), out=np.empty(3, np.float32))),
    "next_weight": of_calls(lambda each: each.next_weight((3,))),
    "torch": of_torch,
    "keras": of_keras("keras"),
    "tf_keras": of_keras("tf_keras"),
    "as_jax": of_jax_function,
    "make_array": of_jax_array,
}


@pytest.mark.parametrize("use", USES)
def test_warnings_name_the_callers_line(use: str) -> None:
    """One warning, of this file."""
    assert blamed(USES[use]()) == [__file__]


def of_keras_layers() -> Any:
    """Two Keras layers share an unseeded initializer."""
    keras = pytest.importorskip("keras")
    import fanin.keras

    initializer = fanin.keras.RandomNormal()
    return lambda: [keras.layers.Dense(3, kernel_initializer=initializer).build((2, 3)) for _ in range(2)]


def of_flax_layers() -> Any:
    """A flax layer has float64 parameters where JAX has none."""
    jax = pytest.importorskip("jax")
    linen = pytest.importorskip("flax.linen")
    import fanin.jax

    layer = linen.Dense(3, kernel_init=fanin.jax.as_jax(fanin.HeNormal(seed=1)), param_dtype="float64")
    return lambda: layer.init(jax.random.key(0), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("use", [of_keras_layers, of_flax_layers], ids=["keras", "flax"])
def test_warnings_of_layers_name_no_file_of_fanin(use: Callable[[], Any]) -> None:
    """Where a framework calls fanin, a line of the framework is named."""
    files = blamed(use())
    assert files
    assert not [file for file in files if file.startswith(SOURCES)]
