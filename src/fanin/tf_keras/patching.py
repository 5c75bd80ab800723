"""`patch`, which makes tf_keras use fanin's classes wherever it looks up an initializer."""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.python.util import tf_export  # tf_keras keeps the names of its classes there
from tf_keras.src import initializers as their_initializers

from fanin import initializers
from fanin._core.patches import Hold, Patch
from fanin._keras.patching import NamedClasses
from fanin.tf_keras.classes import STATE, carriers


class _Tables:
    """tf_keras's tables of initializers, with fanin's classes in them or with their originals."""

    def __init__(self) -> None:
        self._by_theirs = {
            getattr(tf_keras.initializers, source_class.__name__): carriers.class_for(source_class)
            for source_class in initializers.CLASSES
            if hasattr(tf_keras.initializers, source_class.__name__)
        }
        self._symbols: dict[str, Any] = {}
        self._populate = their_initializers.populate_deserializable_objects
        self._objects = their_initializers.LOCAL

    def replace(self) -> None:
        """Puts fanin's classes in."""
        # Classes in configurations with a module, as in saved models, are looked up by public name.
        symbols = tf_export._NAME_TO_SYMBOL_MAPPING
        self._symbols = {name: theirs for name, theirs in symbols.items() if self._ours(theirs) is not theirs}
        symbols.update({name: self._ours(theirs) for name, theirs in self._symbols.items()})
        # Bare names are looked up in a table of each thread, which this function fills.
        self._populate = their_initializers.populate_deserializable_objects
        self._objects, their_initializers.LOCAL = their_initializers.LOCAL, threading.local()
        their_initializers.populate_deserializable_objects = self._populate_with_ours

    def restore(self) -> None:
        """Puts the originals back."""
        tf_export._NAME_TO_SYMBOL_MAPPING.update(self._symbols)
        their_initializers.LOCAL = self._objects
        their_initializers.populate_deserializable_objects = self._populate

    def _ours(self, symbol: Any) -> Any:
        return self._by_theirs.get(symbol, symbol) if isinstance(symbol, type) else symbol

    def _populate_with_ours(self) -> None:
        self._populate()
        local: Any = their_initializers.LOCAL  # per thread, and new with each `begin`
        if getattr(local, "with_ours", None) is not local.ALL_OBJECTS:  # every `get` calls this
            local.ALL_OBJECTS.update({name: self._ours(theirs) for name, theirs in local.ALL_OBJECTS.items()})
            local.with_ours = local.ALL_OBJECTS


_tables = _Tables()
# The other classes of tf_keras have fanin's bits anyway; those of its Orthogonal equal fanin's to rounding only.
_named = NamedClasses(
    {tf_keras.initializers.Orthogonal: carriers.class_for(initializers.Orthogonal)},
    lambda initializer: initializer.get_config(),
    tf.autograph.experimental.do_not_convert,
)


def _install() -> None:
    _tables.replace()
    _named.replace()


def _remove() -> None:
    _named.restore()
    _tables.restore()


_patch = Patch(STATE, _install, _remove)


def patch() -> Hold:
    """Makes tf_keras use fanin's classes wherever it looks up an initializer, in scripts that name no class.

    From then on, in all threads, tf_keras's names of initializers ("he_normal" and all others), the defaults of its
    layers, and the initializers in configurations and files refer to this module's classes. Unseeded ones take their
    seeds from tf_keras's own generator, in the same order, and calls repeat their values, as in tf_keras, whatever
    `fanin.config.call_semantics` says. So the weights are the same bits (`Orthogonal`: to rounding).

    Objects of classes that a script names itself, such as `tf_keras.initializers.HeNormal(seed=1)`, remain tf_keras's,
    whose values are these bits already; `Orthogonal` objects return fanin's values. A `Constant` of an array is
    tf_keras's in any case.

    Returns:
        A context manager that ends the patch with its block; without a block, the patch lasts until `unpatch`. Also a
        decorator of functions: `@fanin.tf_keras.patch()` puts the patch in force during each call.

    >>> import fanin.tf_keras, tf_keras
    >>> with fanin.tf_keras.patch():
    ...     tf_keras.layers.Dense(3).kernel_initializer
    fanin.tf_keras.GlorotUniform(seed=None)
    """
    return _patch.hold()


def unpatch() -> None:
    """Ends the patch; does nothing if it is not in force."""
    _patch.let_go()
