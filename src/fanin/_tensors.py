"""An array handed to a framework, as its tensor: of the same memory where that is fanin's and fresh, else of a copy.

The array must not be touched afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fanin import _native
from fanin._arrays import allocate
from fanin._dtypes import ML_DTYPES

_BITS = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16)}
# TensorFlow puts a graph's constants into one message of at most 2 GiB. Larger tensors are captured instead.
_LARGEST_CONSTANT = 2**26


def _fresh(array: Any) -> np.ndarray:
    """The array, if it is what `allocate` made, which is aligned and nobody else's; else a copy that is.

    An initializer of a user's own may return anything, and TensorFlow ends the process over memory that is not aligned.
    """
    if isinstance(array, np.ndarray) and isinstance(array.base, _native.Memory):
        return array
    array = np.asarray(array)
    fresh = allocate(array.shape, array.dtype.newbyteorder("="))
    fresh[...] = array
    return fresh


def to_tensorflow(array: np.ndarray) -> Any:
    """A tensor of TensorFlow: eager, of the same memory; in a graph, a constant or, if large, an input captured."""
    import tensorflow as tf

    array = _fresh(array)
    if tf.executing_eagerly():
        return _eager_tensorflow(tf, array)
    # A constant can be lifted out of a function that is compiled while its variables are made; an input cannot.
    if array.nbytes <= _LARGEST_CONSTANT:
        return tf.constant(array)
    with tf.init_scope():
        return _eager_tensorflow(tf, array) if tf.executing_eagerly() else tf.constant(array)


def _eager_tensorflow(tf: Any, array: np.ndarray) -> Any:
    share = tf.experimental.dlpack.from_dlpack
    if array.size and array.dtype.name == "bfloat16":
        return tf.bitcast(share(array.view(np.uint16).__dlpack__()), tf.bfloat16)
    if not array.size or array.dtype.name in ML_DTYPES:  # no memory to share; dtypes that DLPack or bitcast has not
        return tf.constant(array)
    return share(array.__dlpack__())


def to_torch(array: np.ndarray) -> Any:
    """A tensor of PyTorch, of the same memory."""
    import torch

    array = _fresh(array)
    if array.dtype.name not in ML_DTYPES:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(_BITS[array.itemsize])).view(getattr(torch, array.dtype.name))


def to_jax(array: np.ndarray, device: Any = None) -> Any:
    """An array of JAX on a device, or on the default one; of the same memory where that is the CPU's."""
    import jax

    return jax.device_put(_fresh(array), device, may_alias=True)


def to_sharded_jax(
    make: Callable[[tuple[slice, ...]], np.ndarray], shape: tuple[int, ...], dtype: Any, sharding: Any
) -> Any:
    """A sharded array of JAX, of the pieces that this process's devices hold; those that several hold are made once."""
    import jax

    pieces: dict[tuple[tuple[int, int], ...], np.ndarray] = {}
    arrays = []
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        bounds = tuple(entry.indices(length)[:2] for entry, length in zip(index, shape, strict=True))
        if bounds not in pieces:
            pieces[bounds] = make(tuple(slice(*each) for each in bounds))
        arrays.append(to_jax(pieces[bounds], device))
    return jax.make_array_from_single_device_arrays(shape, sharding, arrays, dtype=dtype)
