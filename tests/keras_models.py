"""Cases of `fanin.tf_keras.initialize` and `fanin.keras.initialize`, for test_keras_models.py to run in processes.

`python keras_models.py tf_keras` or, with KERAS_BACKEND, `python keras_models.py keras` prints for each case a line of
JSON: its name, and "" or what went wrong; and last the hashes of weights that all libraries should agree on. Further
arguments are the names of the cases to run alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
import warnings

import keras_models_applications  # noqa: F401 (which registers its cases)
import keras_models_built  # noqa: F401
import keras_models_layers
import keras_models_names
import keras_models_unbuilt
from keras_kit import BOTH, CASES, Kit, ones

DIFFERENT = (
    "Bidirectional of two",  # tf_keras renames the second one
    "Normalization",  # the counters' dtypes differ
)
IGNORED = (
    ("__array__ implementation", DeprecationWarning),  # of Keras's own variables
    ("Explicitly requested dtype float64", UserWarning),  # JAX's
)


def outcome(name: str, kit: Kit) -> str:
    """What went wrong in a case; "" if nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for message, kind in IGNORED:
                warnings.filterwarnings("ignore", message, kind)
            CASES[name].run(kit)
    except Exception:
        return traceback.format_exc()
    return ""


def hashes(kit: Kit) -> dict[str, str]:
    """The hash of every weight of models of all kinds, by the model and the name under which it is drawn."""
    models = {"picture": keras_models_names.picture(kit)}
    for name, make in keras_models_unbuilt.MODELS.items():
        models[name] = make(kit)
        models[name](ones(1, 4))
    for name, row in keras_models_layers.ROWS.items():
        if row.libraries == BOTH and name not in DIFFERENT:
            models[name] = keras_models_layers.built(kit, name)
    found = {}
    for name, model in models.items():
        kit.initialize(model, keras_models_unbuilt.everything())
        for weight, values in kit.by_name(model).items():
            found[f"{name}: {weight}"] = hashlib.blake2b(values.tobytes(), digest_size=8).hexdigest()
    return found


def main(library: str, *names: str) -> None:
    """Runs the cases of a library, or those named."""
    if library == "tf_keras":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    kit = Kit(library)
    for name in names or [name for name, case in CASES.items() if library in case.libraries]:
        print(json.dumps([name, outcome(name, kit)]), flush=True)
    if not names:
        print(json.dumps(["hashes", hashes(kit)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
