"""Keras 3's lookup of initializers in configurations: fanin's class for an object of fanin's, and under the patch."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras.src.saving import serialization_lib  # Keras looks every class of a configuration up there

from fanin import initializers
from fanin.keras.classes import MARK, STATE, carriers

_MODULE = "keras.initializers"  # in the configurations of Keras's own initializers, and of fanin's
OURS: dict[type, Any] = {
    getattr(keras.initializers, source_class.__name__): carriers.class_for(source_class)
    for source_class in initializers.CLASSES
    if hasattr(keras.initializers, source_class.__name__)
}


def is_marked(config: Any) -> bool:
    """Whether a configuration is one that Keras wrote for an object of fanin's."""
    return isinstance(config, dict) and config.get("module") == _MODULE and MARK.items() <= config.items()


def install() -> None:
    """Makes Keras look initializers up here, in every thread, from now on.

    Configurations without fanin's mark give Keras's classes as before, unless the patch is in force.
    """
    deserialize = serialization_lib.deserialize_keras_object
    retrieve = serialization_lib._retrieve_class_or_fn

    @functools.wraps(deserialize)
    def deserialize_keras_object(config: Any, custom_objects: Any = None, safe_mode: Any = True, **kwargs: Any) -> Any:
        if is_marked(config):
            kwargs.pop("module_objects", None)  # for which only the class's name would count
        return deserialize(config, custom_objects, safe_mode, **kwargs)

    @functools.wraps(retrieve)
    def retrieve_class_or_fn(
        name: Any, registered_name: Any, module: Any, obj_type: Any, full_config: Any, custom_objects: Any = None
    ) -> Any:
        found = retrieve(name, registered_name, module, obj_type, full_config, custom_objects)
        if (STATE.in_force and module == _MODULE) or is_marked(full_config):
            return OURS.get(found, found)
        return found

    serialization_lib.deserialize_keras_object = deserialize_keras_object
    serialization_lib._retrieve_class_or_fn = retrieve_class_or_fn
