"""`patch`, which makes Keras 3 use fanin's classes wherever it looks up an initializer."""

from __future__ import annotations

import sys
from typing import Any

import keras

from fanin import utils
from fanin._core.patches import Hold, Patch
from fanin._keras.patching import NamedClasses
from fanin.keras.classes import STATE, left_to_python
from fanin.keras.lookups import OURS


def _arguments(initializer: Any) -> dict[str, Any]:
    """The arguments of one of Keras's own initializers, as it uses them now."""
    arguments = initializer.get_config()
    if isinstance(getattr(initializer, "seed", None), keras.random.SeedGenerator):
        arguments["seed"] = initializer.seed  # itself, since its calls advance it
    if isinstance(initializer, keras.initializers.Identity):
        arguments["gain"] = initializer.gain  # which Keras leaves out
    return arguments


_named = NamedClasses(OURS, _arguments, left_to_python)
_set_their_seed: Any = keras.utils.set_random_seed


def _set_both_seeds(seed: int) -> None:
    """Sets the seeds of Keras and of fanin's unseeded initializers."""
    utils.set_random_seed(seed)
    _set_their_seed(seed)


def _install() -> None:
    _named.replace()
    _replace_everywhere(_set_their_seed, _set_both_seeds)


def _remove() -> None:
    _replace_everywhere(_set_both_seeds, _set_their_seed)
    _named.restore()


def _replace_everywhere(before: Any, after: Any) -> None:
    """Replaces a function in every module of Keras that has it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "keras" and getattr(module, "set_random_seed", None) == before:
            module.set_random_seed = after  # pyright: ignore[reportAttributeAccessIssue]


_patch = Patch(STATE, _install, _remove)


def patch() -> Hold:
    """Makes Keras use fanin's classes wherever it looks up an initializer: unchanged scripts get tf_keras's weights.

    From then on, in all threads, Keras's names of initializers ("he_normal" and all others), the defaults of its
    layers, and the initializers in configurations and files refer to this module's classes. Objects of Keras's own
    classes, which a script names itself (`keras.initializers.HeNormal(seed=1)`), remain, but their calls return this
    module's values, also if they were made before. Objects of classes that a script derives from Keras's keep their own
    values, and so does a `Constant` of an array. Calls repeat their values, as in Keras, whatever
    `fanin.config.call_semantics` says. `keras.utils.set_random_seed` also gives the calling thread's unseeded
    initializers tf_keras's sequence of seeds, so that the same script gets the same weights on every backend, and in
    tf_keras.

    Returns:
        A context manager that ends the patch with its block; without a block, the patch lasts until `unpatch`. Also a
        decorator of functions: `@fanin.keras.patch()` puts the patch in force during each call.

    >>> import fanin.keras, keras
    >>> with fanin.keras.patch():
    ...     keras.layers.Dense(3).kernel_initializer
    fanin.keras.GlorotUniform(seed=None)
    """
    return _patch.hold()


def unpatch() -> None:
    """Ends the patch; does nothing if it is not in force."""
    _patch.let_go()
