"""A column of the table of bits: what one framework's tensors hold, for every class and floating dtype, as JSON.

python tests/support/bits_column.py fanin.tf_keras
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes  # noqa: F401 (NumPy then knows bfloat16)
import numpy as np

from catalogue import CATALOGUE, FLOATS, KERAS, fresh

SHAPES = {2: ((37, 21),), 4: ((37, 21), (3, 3, 5, 7))}  # by the highest rank to try


def _from_tensorflow(tensor: Any) -> np.ndarray:
    return tensor.numpy()


def _from_torch(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view("bfloat16")
    return tensor.numpy()


def _plain() -> Callable[..., np.ndarray]:
    return lambda initializer, shape, dtype: initializer(shape, dtype)


def _tf_keras_itself() -> Callable[..., np.ndarray]:
    import tf_keras

    def make(initializer: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        theirs = getattr(tf_keras.initializers, type(initializer).__name__)
        return _from_tensorflow(theirs(**initializer.get_config())(shape, dtype))

    return make


def _tf_keras() -> Callable[..., np.ndarray]:
    from fanin.tf_keras import as_tf_keras

    return lambda initializer, shape, dtype: _from_tensorflow(as_tf_keras(initializer)(shape, dtype))


def _keras() -> Callable[..., np.ndarray]:
    """On the backend that the environment names."""
    import keras

    from fanin.keras import as_keras

    convert: dict[str, Callable[[Any], np.ndarray]] = {"tensorflow": _from_tensorflow, "torch": _from_torch}
    to_numpy = convert.get(keras.backend.backend(), np.asarray)
    return lambda initializer, shape, dtype: to_numpy(as_keras(initializer)(shape, dtype))


def _torch() -> Callable[..., np.ndarray]:
    import torch

    from fanin.torch import fill_

    def make(initializer: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        axes = (len(shape) - 1, len(shape) - 2, *range(len(shape) - 2))  # Keras's, in PyTorch's order
        weight = torch.empty([shape[axis] for axis in axes], dtype=getattr(torch, dtype))
        return np.transpose(_from_torch(fill_(weight, initializer)), np.argsort(axes))

    return make


def _jax() -> Callable[..., np.ndarray]:
    from fanin.jax import make_array

    return lambda initializer, shape, dtype: np.asarray(make_array(initializer, shape, dtype))


COLUMNS: dict[str, Callable[[], Callable[..., np.ndarray]]] = {
    "fanin": _plain,
    "tf_keras itself": _tf_keras_itself,
    "fanin.tf_keras": _tf_keras,
    "fanin.keras": _keras,
    "fanin.torch": _torch,
    "fanin.jax": _jax,
}


def column(name: str) -> dict[str, dict[str, list[str] | None]]:
    """For each class and dtype the bytes of its tensors, in hex; None where tf_keras itself refuses. fanin must not."""
    make = COLUMNS[name]()
    refusals: tuple[type[Exception], ...] = (Exception,) if name == "tf_keras itself" else ()
    found: dict[str, dict[str, list[str] | None]] = {}
    for label in KERAS:
        initializer, dtypes, ranks = CATALOGUE[label]
        if not set(FLOATS) <= set(dtypes):
            continue
        cells = found[type(initializer).__name__] = {}
        for dtype in FLOATS:
            try:
                tensors = [make(fresh(label), shape, dtype) for shape in SHAPES[min(4, max(ranks))]]
            except refusals:
                cells[dtype] = None
            else:
                assert all(tensor.dtype == np.dtype(dtype) for tensor in tensors), (name, label, dtype)
                cells[dtype] = [np.ascontiguousarray(tensor).tobytes().hex() for tensor in tensors]
    return found


if __name__ == "__main__":
    print(json.dumps(column(sys.argv[1])))
