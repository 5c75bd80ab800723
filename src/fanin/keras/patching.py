"""`patch`, which makes Keras 3 use fanin's classes wherever it looks up an initializer."""

from __future__ import annotations

import sys
import threading
from typing import Any

import keras
from keras.src import api_export

from fanin import initializers, utils
from fanin._keras.patching import InForce
from fanin.keras.classes import STATE, carriers

_SYMBOLS = api_export.REGISTERED_NAMES_TO_OBJS


class _Patch:
    """The patch of Keras's table of public names and of its function that sets seeds, with their originals."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replaced: dict[str, Any] = {}
        self._set_random_seed: Any = None

    def begin(self) -> bool:
        """Installs the classes; returns False if they are installed already."""
        with self._lock:
            if STATE.in_force:
                return False
            ours = {cls.__name__: carriers.class_for(cls) for cls in initializers.CLASSES}
            theirs = {
                getattr(keras.initializers, name): each
                for name, each in ours.items()
                if hasattr(keras.initializers, name)
            }
            self._replaced = {name: found for name, found in _SYMBOLS.items() if found in theirs}
            _SYMBOLS.update({name: theirs[found] for name, found in self._replaced.items()})
            self._set_random_seed = keras.utils.set_random_seed
            _replace_everywhere(self._set_random_seed, self._set_both_seeds)
            STATE.in_force = True
            return True

    def end(self) -> None:
        """Removes the classes, if they are installed."""
        with self._lock:
            if STATE.in_force:
                _SYMBOLS.update(self._replaced)
                _replace_everywhere(self._set_both_seeds, self._set_random_seed)
                STATE.in_force = False

    def _set_both_seeds(self, seed: int) -> None:
        """Sets the seeds of Keras and of fanin's unseeded initializers."""
        utils.set_random_seed(seed)
        self._set_random_seed(seed)


def _replace_everywhere(before: Any, after: Any) -> None:
    """Replaces a function in every module of Keras that has it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "keras" and getattr(module, "set_random_seed", None) == before:
            module.set_random_seed = after  # pyright: ignore[reportAttributeAccessIssue]


_patch = _Patch()


def patch() -> InForce:
    """Makes Keras use fanin's classes wherever it looks up an initializer: unchanged scripts get tf_keras's weights.

    From then on, in all threads, Keras's names of initializers ("he_normal" and all others), the defaults of its
    layers, and the initializers in configurations and files refer to this module's classes. Calls repeat their values,
    as in Keras, whatever `fanin.config.call_semantics` says. `keras.utils.set_random_seed` also gives the calling
    thread's unseeded initializers tf_keras's sequence of seeds, so that the same script gets the same weights on every
    backend, and in tf_keras. Classes that a script names itself, such as `keras.initializers.HeNormal`, remain Keras's.

    Returns:
        A context manager that ends the patch with its block. Without a block, the patch lasts until `unpatch`.

    >>> import fanin.keras, keras
    >>> with fanin.keras.patch():
    ...     keras.layers.Dense(3).kernel_initializer
    fanin.keras.GlorotUniform(seed=None)
    """
    return InForce(_patch.end if _patch.begin() else None)


def unpatch() -> None:
    """Ends the patch; does nothing if it is not in force."""
    _patch.end()
