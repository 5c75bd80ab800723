"""Gets the same weights on every backend of Keras 3. Run it with KERAS_BACKEND set to tensorflow, jax and torch."""

import hashlib
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras

import fanin.keras

with fanin.keras.patch():  # in this block, names and defaults of initializers resolve to fanin's classes
    keras.utils.set_random_seed(42)
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", kernel_initializer="he_normal"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10),
        ]
    )
print(f"on {keras.backend.backend()}")
for weight in model.weights:
    digest = hashlib.sha256(weight.numpy().tobytes()).hexdigest()
    print(f"{weight.path:<24} {weight.shape!s:<18} {digest[:16]}")

# The file contains Keras's own classes, so it loads where fanin is not installed.
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "model.keras")
    loaded = keras.saving.load_model(Path(folder) / "model.keras")
print(loaded.layers[0].get_config()["kernel_initializer"])
