"""Arrays converted to framework tensors, without a copy if `allocate` made the array and with one otherwise.

The array must not be used afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fanin import _native
from fanin._core.dtypes import ML_DTYPES
from fanin._core.memory import allocate

_BITS = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16)}
# TensorFlow puts a graph's constants into one message of at most 2 GiB. Larger tensors are captured instead.
_LARGEST_CONSTANT = 2**26


def _fresh(array: Any) -> np.ndarray:
    """The array if `allocate` made it, so that it is aligned and not shared; otherwise a copy that is.

    A user-defined initializer may return anything, and TensorFlow aborts the process if memory is not aligned.
    """
    if isinstance(array, np.ndarray) and isinstance(array.base, _native.Memory):
        return array
    array = np.asarray(array)
    fresh = allocate(array.shape, array.dtype.newbyteorder("="))
    fresh[...] = array
    return fresh


def to_tensorflow(array: np.ndarray) -> Any:
    """A TensorFlow tensor: eagerly, of the same memory; in a graph, a constant or, if large, a captured input."""
    import tensorflow as tf

    array = _fresh(array)
    if tf.executing_eagerly():
        return _eager_tensorflow(tf, array)
    # A constant can be lifted out of a function that creates variables while it is compiled; an input cannot.
    if array.nbytes <= _LARGEST_CONSTANT:
        return tf.constant(array)
    with tf.init_scope():
        return _eager_tensorflow(tf, array) if tf.executing_eagerly() else tf.constant(array)


def _eager_tensorflow(tf: Any, array: np.ndarray) -> Any:
    share = tf.experimental.dlpack.from_dlpack
    if array.size and array.dtype.name == "bfloat16":
        return tf.bitcast(share(array.view(np.uint16).__dlpack__()), tf.bfloat16)
    if not array.size or array.dtype.name in ML_DTYPES:  # nothing to share, or a dtype without DLPack or bitcast
        return tf.constant(array)
    return share(array.__dlpack__())


def to_torch(array: np.ndarray) -> Any:
    """A PyTorch tensor of the same memory."""
    import torch

    array = _fresh(array)
    if array.dtype.name not in ML_DTYPES:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(_BITS[array.itemsize])).view(getattr(torch, array.dtype.name))


def to_jax(array: np.ndarray, device: Any = None) -> Any:
    """A JAX array on a device (given alone or as a sharding) or on the default one; on the CPU, of the same memory."""
    import jax

    return jax.device_put(_fresh(array), device, may_alias=True)


def to_sharded_jax(
    pieces: Callable[[Iterable[Any]], Sequence[np.ndarray]], shape: tuple[int, ...], dtype: Any, sharding: Any
) -> Any:
    """A sharded JAX array of the regions that this process's devices hold, each made once and then placed.

    Args:
        pieces: a function that makes the arrays of regions, such as `Weight.pieces`.
        shape: the shape of the whole array.
        dtype: its dtype.
        sharding: a `jax.sharding.Sharding`.
    """
    import jax

    devices: dict[Any, list[Any]] = {}  # by the bounds of their region
    regions: dict[Any, Any] = {}
    for device, region in sharding.addressable_devices_indices_map(shape).items():
        bounds = tuple((each.start, each.stop) for each in region)
        devices.setdefault(bounds, []).append(device)
        regions[bounds] = region
    shards = []
    for bounds, region in regions.items():
        (array,) = pieces([region])  # one at a time: devices with memory of their own need no second one of the host's
        for device in devices[bounds]:
            place = jax.sharding.SingleDeviceSharding(device, memory_kind=sharding.memory_kind)
            shards.append(to_jax(array, place))
    return jax.make_array_from_single_device_arrays(shape, sharding, shards, dtype=dtype)
