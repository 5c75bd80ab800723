"""Cases of `fanin.tf_keras.initialize` and `fanin.keras.initialize`, for test_keras_models.py to run in processes.

`python keras_models.py tf_keras` or, with KERAS_BACKEND, `python keras_models.py keras` prints for each case a line of
JSON: its name, and "" or what went wrong. Further arguments are the names of the cases to run.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings

import keras_models_applications  # noqa: F401 (which register their cases)
import keras_models_built  # noqa: F401
import keras_models_layers  # noqa: F401
import keras_models_names  # noqa: F401
import keras_models_unbuilt  # noqa: F401
from keras_kit import CASES, Kit

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


def main(library: str, *names: str) -> None:
    """Runs the cases of a library, or those named."""
    if library == "tf_keras":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    kit = Kit(library)
    for name in names or [name for name, case in CASES.items() if library in case.libraries]:
        print(json.dumps([name, outcome(name, kit)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
