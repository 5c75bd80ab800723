"""Uses fanin in tf_keras: for all layers of an unchanged script, and for one layer by name."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tf_keras

import fanin.tf_keras


def network():
    """A model that does not mention fanin. The default initializer of its Dense layer is "glorot_uniform"."""
    tf_keras.utils.set_random_seed(42)
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Conv2D(16, 3, activation="relu", kernel_initializer="he_normal", input_shape=(28, 28, 1)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


theirs = network()
with fanin.tf_keras.patch():
    ours = network()
for before, after in zip(theirs.weights, ours.weights, strict=True):
    assert before.numpy().tobytes() == after.numpy().tobytes()
    print(f"{before.name:<16} {before.shape!s:<18} the same bits")

# One layer, by name. A saved model contains tf_keras's own class, so it loads where fanin is not installed.
layer = tf_keras.layers.Dense(3, kernel_initializer=fanin.tf_keras.HeNormal(seed=1))
layer.build((None, 4))
print(layer.get_config()["kernel_initializer"])
